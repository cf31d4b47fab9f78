//! What a history may not show, and what it shows else.
//!
//! A commit makes a version, and an end follows it. From the moment that end is `Ok` on, nobody may be served an
//! older version from far, and nobody but by a copy, or by a joined load, that is at most the bound B old. The
//! process that ended it may not be served an older one at all, whether the end was confirmed or is queued.

use std::fmt;
use std::time::Duration;

use super::record::{From, Record};

/// All records of one process, in any order.
pub(super) type History = Vec<Record>;

/// What is wrong, or worth knowing.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    pub(super) reads: u64,
    pub(super) from_near: u64,
    pub(super) from_far: u64,
    pub(super) loads: u64,
    pub(super) ends: u64,
    pub(super) unconfirmed: u64,
    /// Never: each with its story.
    pub(super) stale_far: Vec<String>,
    pub(super) stale_own: Vec<String>,
    pub(super) failed: u64,
    /// How long after an end copies elsewhere still showed, in microseconds: those that did.
    pub(super) old_for: Vec<u64>,
    pub(super) too_old: Vec<String>,
}

/// The ends of one key that count, by the time at which they began to.
struct Ends(Vec<(u64, u64)>);

impl Ends {
    fn of(mut ends: Vec<(u64, u64)>) -> Ends {
        ends.sort_unstable();
        // From here on each stands for the highest version up to it.
        let mut highest = 0;
        for (_, version) in &mut ends {
            highest = highest.max(*version);
            *version = highest;
        }
        Ends(ends)
    }

    /// The least version that may be served to a read that begins at `start`.
    fn least(&self, start: u64) -> u64 {
        let before = self.0.partition_point(|(at, _)| *at < start);
        before.checked_sub(1).map_or(0, |last| self.0[last].1)
    }

    /// Since when `version` is old.
    fn old_since(&self, version: u64) -> Option<u64> {
        let at = self.0.partition_point(|(_, least)| *least <= version);
        self.0.get(at).map(|(at, _)| *at)
    }
}

/// Judges the histories of all processes over `keys` keys, under the bound B.
pub(super) fn judge(histories: &[History], keys: usize, bound: Duration) -> Verdict {
    let mut verdict = Verdict::default();
    let everyone: Vec<Ends> =
        (0..keys).map(|key| ends(histories.iter().flatten(), key, |confirmed| confirmed)).collect();
    for history in histories {
        let own: Vec<Ends> = (0..keys).map(|key| ends(history.iter(), key, |_| true)).collect();
        for record in history {
            verdict.count(record);
            if let Record::Read { key, start, version, from, .. } = *record {
                let story = |least: u64| {
                    format!(
                        "key {key}: version {version} from {from:?} at {start}, {least} was ended"
                    )
                };
                let (least, own_least) = (everyone[key].least(start), own[key].least(start));
                if version < own_least {
                    verdict.stale_own.push(story(own_least));
                }
                if version >= least {
                    continue;
                }
                let since = everyone[key].old_since(version).unwrap_or(start);
                if from == From::Far && !may_have_joined(history, record, since) {
                    verdict.stale_far.push(story(least));
                    continue;
                }
                let old_for = start.saturating_sub(since);
                verdict.old_for.push(old_for);
                if old_for > bound.as_micros() as u64 {
                    verdict.too_old.push(format!("{} for {old_for} us", story(least)));
                }
            }
        }
    }
    verdict.old_for.sort_unstable();
    verdict
}

/// Whether it may have been answered by what another read of its process had asked far for, before the end.
fn may_have_joined(history: &History, late: &Record, since: u64) -> bool {
    let Record::Read { key, start: late_start, version, .. } = *late else { return false };
    history.iter().any(|record| match *record {
        Record::Read { key: of, start, end, version: read, .. } => {
            of == key && read == version && start <= since && end >= late_start
        }
        _ => false,
    })
}

fn ends<'a>(
    records: impl Iterator<Item = &'a Record>,
    key: usize,
    counts: impl Fn(bool) -> bool,
) -> Ends {
    let end = |record: &Record| match *record {
        Record::Ended { key: of, version, end, confirmed, .. }
            if of == key && counts(confirmed) =>
        {
            Some((end, version))
        }
        _ => None,
    };
    Ends::of(records.filter_map(end).collect())
}

impl Verdict {
    fn count(&mut self, record: &Record) {
        match record {
            Record::Read { from, .. } => {
                self.reads += 1;
                match from {
                    From::Near => self.from_near += 1,
                    From::Far => self.from_far += 1,
                    From::Loaded => {}
                }
            }
            Record::Failed { .. } => self.failed += 1,
            Record::Ended { confirmed: true, .. } => self.ends += 1,
            Record::Ended { confirmed: false, .. } => self.unconfirmed += 1,
            Record::Loaded { .. } => self.loads += 1,
            Record::Holds { .. } => {}
        }
    }

    pub(super) fn is_right(&self) -> bool {
        self.stale_far.is_empty()
            && self.stale_own.is_empty()
            && self.too_old.is_empty()
            && self.failed == 0
    }

    /// The worst copy, and the hundredth worst of a hundred.
    fn old_ms(&self, share: f64) -> f64 {
        let at = (self.old_for.len() as f64 * share) as usize;
        let us = self.old_for.get(at.min(self.old_for.len().saturating_sub(1)));
        us.map_or(0.0, |us| *us as f64 / 1000.0)
    }

    pub(super) fn stories(&self) -> impl Iterator<Item = String> {
        let told = |what: &'static str, stories: &[String]| {
            stories.iter().take(5).map(move |story| format!("{what}: {story}")).collect::<Vec<_>>()
        };
        let far = told("stale from far", &self.stale_far);
        let own = told("its own end was not seen", &self.stale_own);
        let old = told("older than the bound", &self.too_old);
        far.into_iter().chain(own).chain(old)
    }
}

/// One row of the table.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ends, loads) = (self.ends + self.unconfirmed, self.loads as f64);
        write!(
            f,
            "{:>7} {:>6} {:>6} {:>6} {:>6.2} {:>9} {:>9} {:>8} {:>8} {:>9.1} {:>9.1}",
            self.reads,
            self.from_far,
            self.ends,
            self.unconfirmed,
            loads / ends.max(1) as f64,
            self.stale_far.len(),
            self.stale_own.len(),
            self.failed,
            self.old_for.len(),
            self.old_ms(0.99),
            self.old_ms(1.0),
        )
    }
}

pub(super) const HEADER: &str = "  reads    far   ends unconf  loads stale far stale own   failed  old near   p99 ms   worst ms\n                                  /end";

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(1);

    fn ended(version: u64, end: u64, confirmed: bool) -> Record {
        Record::Ended { key: 0, version, start: end - 1, end, confirmed }
    }

    fn read(version: u64, start: u64, from: From) -> Record {
        Record::Read { key: 0, start, end: start + 1, version, from }
    }

    fn judged(one: &[Record], other: &[Record]) -> Verdict {
        judge(&[one.to_vec(), other.to_vec()], 1, BOUND)
    }

    #[test]
    fn a_far_answer_older_than_an_end_is_stale() {
        let wrong = judged(&[ended(2, 10, true)], &[read(1, 11, From::Far)]);
        assert_eq!((wrong.stale_far.len(), wrong.is_right()), (1, false));
        for fine in [read(1, 10, From::Far), read(2, 11, From::Far)] {
            assert!(judged(&[ended(2, 10, true)], &[fine]).is_right(), "{fine}");
        }
    }

    /// The one who led asked far before the end was over. It is as old as a copy.
    #[test]
    fn a_far_answer_that_was_joined_is_as_old_as_who_asked_for_it() {
        let led = Record::Read { key: 0, start: 9, end: 20, version: 1, from: From::Far };
        let joined = read(1, 11, From::Far);
        let verdict = judged(&[ended(2, 10, true)], &[led, joined]);
        assert_eq!((verdict.is_right(), verdict.old_for), (true, vec![1]));
        let over = Record::Read { key: 0, start: 5, end: 10, version: 1, from: From::Far };
        assert!(!judged(&[ended(2, 10, true)], &[over, joined]).is_right());
    }

    #[test]
    fn a_copy_may_be_as_old_as_the_bound_and_not_older() {
        let ends = [ended(2, 10, true), ended(3, 500_000, true)];
        let fine = judged(&ends, &[read(1, 1_000_000, From::Near)]);
        assert!(fine.is_right());
        assert_eq!(fine.old_for, [999_990]);
        assert!(!judged(&ends, &[read(1, 1_000_011, From::Near)]).is_right());
        assert!(judged(&ends, &[read(2, 1_000_011, From::Near)]).is_right());
    }

    #[test]
    fn who_ended_it_never_sees_it_again_also_while_the_end_is_queued() {
        for confirmed in [true, false] {
            for from in [From::Near, From::Far, From::Loaded] {
                let own = [ended(2, 10, confirmed), read(1, 11, from)];
                assert!(!judged(&own, &[]).is_right(), "{confirmed} {from:?}");
            }
        }
        let others = judged(&[ended(2, 10, false)], &[read(1, 11, From::Far)]);
        assert!(others.is_right(), "nobody has confirmed it to them");
    }

    /// Two ends are confirmed in another order than their commits.
    #[test]
    fn the_highest_version_counts_whatever_the_order_of_the_ends() {
        let ends = [ended(3, 10, true), ended(2, 20, true)];
        assert!(!judged(&ends, &[read(2, 30, From::Far)]).is_right());
    }

    #[test]
    fn a_read_that_fails_is_wrong() {
        assert!(!judged(&[Record::Failed { key: 0, start: 1 }], &[]).is_right());
    }
}
