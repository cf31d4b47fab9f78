//! What Redis forgets without a word to us.
//!
//! It tells every process that tracks a key when the key goes, but not the one whose own command it is
//! running just then (NOLOOP asks who is being served, not who made the change). So a read of ours that
//! comes upon a full memory may have one of our own entries evicted, or one too many in the tracking
//! table may push one of our own keys out of it, and we are never told of that key again. The server
//! counts both: each heartbeat and each `sync` asks, and where it may have happened all that is near goes, as after
//! any other gap. Whatever was lost after the last answer is thereby older than the bound B at most.
//!
//! Evictions are counted for ever. The tracking table says only how full it is, so it is taken to have been too full
//! from half of its limit on: to fill the other half and be emptied again between two heartbeats takes
//! more than a server can do.

use ::redis::Value;
use parking_lot::Mutex;

/// What Redis tracks when nobody says otherwise, or nobody may ask.
const TRACKED_MAX: u64 = 1_000_000;

/// What one connection knows of it.
pub(super) struct Forgotten {
    /// Evictions so far; held while what follows from another number is done, so that no later answer is believed
    /// before that.
    evicted: Mutex<Option<u64>>,
    /// The most names that the server tracks; zero: any number.
    tracked_max: u64,
}

impl Forgotten {
    /// `stats`: the answer to `INFO stats`; `limit`: the one to `CONFIG GET tracking-table-max-keys`, which may
    /// be a refusal.
    pub(super) fn new(stats: Option<&Value>, limit: Option<&Value>) -> Forgotten {
        let limit = limit.and_then(|limit| {
            let pairs: Vec<(String, String)> = ::redis::from_redis_value_ref(limit).ok()?;
            pairs.first()?.1.parse().ok()
        });
        let evicted = stats.and_then(text).and_then(|text| number(&text, "evicted_keys"));
        Forgotten { evicted: Mutex::new(evicted), tracked_max: limit.unwrap_or(TRACKED_MAX) }
    }

    /// Looks at the answer to `INFO stats`, alone or among others, and calls `lost` before it returns where something of ours may have been
    /// forgotten. Numbers that cannot be read prove nothing.
    pub(super) fn look(&self, stats: Option<&Value>, lost: impl FnOnce()) {
        let stats = stats.and_then(text).unwrap_or_default();
        let mut evicted = self.evicted.lock();
        let now = number(&stats, "evicted_keys");
        let tracked = number(&stats, "tracking_total_keys");
        let all_tracked =
            self.tracked_max == 0 || tracked.is_some_and(|tracked| tracked < self.tracked_max / 2);
        // Less is as bad as more: somebody has reset the count, or answers are looked at in another order
        // than they were given in.
        if now.is_none() || now != *evicted || !all_tracked {
            lost();
        }
        *evicted = now;
    }
}

fn text(answer: &Value) -> Option<String> {
    ::redis::from_redis_value_ref(answer).ok()
}

fn number(stats: &str, name: &str) -> Option<u64> {
    let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(evicted: u64, tracked: u64) -> Value {
        let text =
            format!("# Stats\r\nevicted_keys:{evicted}\r\ntracking_total_keys:{tracked}\r\n");
        Value::BulkString(text.into_bytes())
    }

    fn limit(most: &str) -> Value {
        Value::Map(vec![(
            Value::BulkString(b"tracking-table-max-keys".to_vec()),
            Value::BulkString(most.as_bytes().to_vec()),
        )])
    }

    fn is_lost(forgotten: &Forgotten, answer: Option<&Value>) -> bool {
        let mut lost = false;
        forgotten.look(answer, || lost = true);
        lost
    }

    #[test]
    fn an_eviction_is_seen_in_whatever_order_answers_come_and_after_a_reset() {
        let forgotten = Forgotten::new(Some(&stats(7, 0)), None);
        assert!(!is_lost(&forgotten, Some(&stats(7, 0))));
        assert!(is_lost(&forgotten, Some(&stats(9, 0))));
        assert!(!is_lost(&forgotten, Some(&stats(9, 0))), "seen");
        assert!(is_lost(&forgotten, Some(&stats(8, 0))), "an answer from before costs a gap");
        assert!(is_lost(&forgotten, Some(&stats(0, 0))), "CONFIG RESETSTAT");
        assert!(is_lost(&forgotten, Some(&stats(1, 0))), "and what comes after it is seen");
    }

    #[test]
    fn a_tracking_table_that_is_half_full_may_have_been_full() {
        let given = Forgotten::new(Some(&stats(0, 0)), Some(&limit("100")));
        assert!(!is_lost(&given, Some(&stats(0, 49))));
        assert!(is_lost(&given, Some(&stats(0, 50))));
        assert!(is_lost(&given, Some(&stats(0, 50))), "each time");
        assert!(!is_lost(&given, Some(&stats(0, 49))));
        let without_limit = Forgotten::new(Some(&stats(0, 0)), Some(&limit("0")));
        assert!(!is_lost(&without_limit, Some(&stats(0, 100_000_000))));
        let refused = Forgotten::new(Some(&stats(0, 0)), Some(&Value::Nil));
        assert!(!is_lost(&refused, Some(&stats(0, 499_999))));
        assert!(is_lost(&refused, Some(&stats(0, 500_000))));
    }

    #[test]
    fn what_cannot_be_read_proves_nothing() {
        let forgotten = Forgotten::new(None, None);
        assert!(
            is_lost(&forgotten, Some(&stats(0, 0))),
            "how many there were before, nobody knows"
        );
        assert!(!is_lost(&forgotten, Some(&stats(0, 0))));
        assert!(is_lost(&forgotten, None));
        assert!(is_lost(&forgotten, Some(&Value::Okay)));
        assert!(is_lost(&forgotten, Some(&stats(0, 0))), "nobody knows what was in between");
        assert!(!is_lost(&forgotten, Some(&stats(0, 0))));
    }
}
