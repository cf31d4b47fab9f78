//! All that may vary from cache to cache, as one plain value.

use std::time::Duration;

use crate::clock::{DAY, HOUR};
use crate::error::{Error, ErrorKind};

mod ahead;
#[cfg(feature = "redis")]
mod breaker;
pub(crate) mod lifetime;
mod write_behind;

pub use ahead::RefreshAhead;
pub(crate) use ahead::Span;
#[cfg(feature = "redis")]
pub use breaker::BreakerSettings;
pub(crate) use lifetime::Drawn;
pub use lifetime::Lifetime;
pub(crate) use write_behind::Flushing;
pub use write_behind::{WhenFull, WriteBehind};

/// What a stale entry is good for: see [`Lifetime::stale_for`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stale {
    /// It is served at once, and refreshed in the background by one loader of the fleet. Callers never
    /// wait for the source while there is one; if the source fails, it is served until its end.
    #[default]
    AtOnce,
    /// Callers wait for the source. The stale entry stands in only when the source fails, or failed a
    /// moment ago.
    InNeed,
}

/// Whether what another Redis process said is believed: after a failover, a restart from a snapshot, or
/// when a part of a cluster has moved.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterFailover {
    /// No: an invalidation that was acknowledged may have been lost with the old process. What that one kept
    /// is loaded anew, one load a key.
    #[default]
    Distrust,
    /// Yes: the cache stays warm. This process sends its invalidations of the last 60 seconds again; one of
    /// another process that is gone, or an older one, may have been lost, and then **what it ended is served
    /// again until its lifetime is over**.
    Accept,
}

/// How one cache behaves. Two views of one name must agree in all of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Policy {
    pub(crate) lifetime: Lifetime,
    pub(crate) stale: Stale,
    pub(crate) refresh_ahead: RefreshAhead,
    /// How long a failed load keeps others from trying; zero: not at all.
    pub(crate) backoff: Duration,
    /// A load that takes longer is stopped.
    pub(crate) max_load: Duration,
    /// How long a writer's guard stands when nobody ends it.
    pub(crate) guard_time: Duration,
    /// A caller that has waited this long takes a stale entry, if one may stand in.
    pub(crate) soft_deadline: Option<Duration>,
    /// How many loads run at once in a process.
    pub(crate) loads_max: usize,
    /// How many more wait for their turn.
    pub(crate) loads_waiting_max: usize,
    /// A value that is longer as bytes, before compression, is handed out, and neither stored nor
    /// read from far.
    pub(crate) value_bytes_max: usize,
    /// A key that is longer as bytes is refused.
    pub(crate) key_bytes_max: usize,
    /// Whether it is written down who carries a tag.
    #[cfg(feature = "structures")]
    pub(crate) member_index: bool,
    /// Writes are kept until the source has them.
    pub(crate) write_behind: Option<WriteBehind>,
}

/// The most a value may take in an envelope: what Redis takes in one string.
const VALUE_BYTES_MOST: usize = 512 * 1024 * 1024 - 64 * 1024;
/// The most a key may take, so that the names around it always fit.
const KEY_BYTES_MOST: usize = 32 * 1024;
/// One for a caller, one for a refresh.
const LOADS_LEAST: usize = 2;
const LOADS_MOST: usize = 1 << 20;

impl Policy {
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.lifetime.check()?;
        self.refresh_ahead.check()?;
        if self.backoff > HOUR {
            return refuse(format!("backoff is at most an hour, not {:?}", self.backoff));
        }
        if self.max_load < Duration::from_millis(1) || self.max_load > DAY {
            return refuse(format!("max_load is from 1 ms to a day, not {:?}", self.max_load));
        }
        if self.guard_time < Duration::from_millis(100) || self.guard_time > HOUR {
            return refuse(format!(
                "guard_time is from 100 ms to an hour, not {:?}",
                self.guard_time
            ));
        }
        if let Some(soft) = self.soft_deadline
            && soft >= self.max_load
        {
            let hard = self.max_load;
            return refuse(format!("soft_deadline is less than max_load ({hard:?}), not {soft:?}"));
        }
        if !(LOADS_LEAST..=LOADS_MOST).contains(&self.loads_max) {
            let max = self.loads_max;
            return refuse(format!("loads_max is from {LOADS_LEAST} to {LOADS_MOST}, not {max}"));
        }
        if self.loads_waiting_max > LOADS_MOST {
            let max = self.loads_waiting_max;
            return refuse(format!("loads_waiting_max is at most {LOADS_MOST}, not {max}"));
        }
        if self.value_bytes_max == 0 || self.value_bytes_max > VALUE_BYTES_MOST {
            let max = self.value_bytes_max;
            return refuse(format!("value_bytes_max is from 1 to {VALUE_BYTES_MOST}, not {max}"));
        }
        if self.key_bytes_max == 0 || self.key_bytes_max > KEY_BYTES_MOST {
            let max = self.key_bytes_max;
            return refuse(format!("key_bytes_max is from 1 to {KEY_BYTES_MOST}, not {max}"));
        }
        self.write_behind.map_or(Ok(()), |settings| settings.check())
    }
}

fn refuse(text: String) -> Result<(), Error> {
    Err(Error::new(ErrorKind::Config, text))
}
