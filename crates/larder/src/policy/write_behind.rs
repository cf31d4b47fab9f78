//! How a cache writes behind, as plain values.

use std::time::Duration;

use crate::clock::{HOUR, SECOND};
use crate::error::{Error, ErrorKind};

/// More of them are more streams and leases, and no more order.
const PARTITIONS_MOST: u32 = 1024;
const BACKLOG_MOST: usize = 10_000_000;

/// How a cache keeps writes until its source has them: given to
/// [`CacheBuilder::write_behind`](crate::CacheBuilder::write_behind).
///
/// ```
/// use larder::{WhenFull, WriteBehind, SECOND};
///
/// let settings = WriteBehind::partitions(16).backlog_max(50_000).when_full(WhenFull::Wait(SECOND));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteBehind {
    pub(crate) partitions: u32,
    pub(crate) backlog_max: usize,
    pub(crate) when_full: WhenFull,
}

/// What a write does when as many wait as may.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It fails at once, with [`ErrorKind::Overloaded`].
    #[default]
    Refuse,
    /// It waits this long for room, and fails then.
    Wait(Duration),
}

impl WriteBehind {
    /// Into how many parts the keys are dealt, from 1 to 1,024. Each has its own queue, and one worker of the fleet
    /// at a time, which flushes its writes batch by batch: so this is how many batches the source gets at once. On
    /// a cluster a part lies on one node. 16 is a good number.
    ///
    /// It is part of every name: another number is another cache, which does not see what waits under the old one.
    /// To change it, stop the writers and let the workers drain first.
    #[must_use]
    pub fn partitions(partitions: u32) -> WriteBehind {
        WriteBehind { partitions, backlog_max: 10_000, when_full: WhenFull::default() }
    }

    /// How many writes may wait in each part. 10,000; from 1 to ten million. Every one of them takes its key and
    /// about 100 bytes; values take their room once for each key.
    #[must_use]
    pub fn backlog_max(mut self, writes: usize) -> WriteBehind {
        self.backlog_max = writes;
        self
    }

    /// What a write does past that. [`WhenFull::Refuse`].
    #[must_use]
    pub fn when_full(mut self, choice: WhenFull) -> WriteBehind {
        self.when_full = choice;
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |text: String| Err(Error::new(ErrorKind::Config, text));
        let WriteBehind { partitions, backlog_max, when_full } = self;
        if !(1..=PARTITIONS_MOST).contains(partitions) {
            return refuse(format!("partitions are from 1 to {PARTITIONS_MOST}, not {partitions}"));
        }
        if !(1..=BACKLOG_MOST).contains(backlog_max) {
            return refuse(format!("backlog_max is from 1 to {BACKLOG_MOST}, not {backlog_max}"));
        }
        match when_full {
            WhenFull::Wait(time) if time.is_zero() || *time > HOUR => refuse(format!(
                "when_full waits more than nothing and at most an hour, not {time:?}"
            )),
            _ => Ok(()),
        }
    }
}

/// How writes are flushed: the choices of [`Workers`](crate::Workers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flushing {
    /// The most writes in one call of the sink.
    pub(crate) batch_max: usize,
    /// How long one call of the sink may take.
    pub(crate) sink_deadline: Duration,
    /// How long a part stays with a worker that is heard of no more.
    pub(crate) lease: Duration,
    /// How often a write is tried.
    pub(crate) tries: u32,
    /// Between tries, growing from the first to the second.
    pub(crate) backoff: (Duration, Duration),
    /// How often a queue is looked at that was empty.
    pub(crate) poll: Duration,
}

impl Default for Flushing {
    fn default() -> Flushing {
        Flushing {
            batch_max: 128,
            sink_deadline: 10 * SECOND,
            lease: 5 * SECOND,
            tries: 100,
            backoff: (Duration::from_millis(100), 30 * SECOND),
            poll: Duration::from_millis(100),
        }
    }
}

impl Flushing {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Flushing { batch_max, sink_deadline, lease, tries, backoff: (first, longest), poll } =
            self;
        let milli = Duration::from_millis(1);
        let within = |name: &str, time: Duration, least: Duration, most: Duration| {
            if (least..=most).contains(&time) {
                return Ok(());
            }
            let text = format!("{name} is from {least:?} to {most:?}, not {time:?}");
            Err(Error::new(ErrorKind::Config, text))
        };
        let counted = |name: &str, number: u64, most: u64| {
            if (1..=most).contains(&number) {
                return Ok(());
            }
            Err(Error::new(ErrorKind::Config, format!("{name} is from 1 to {most}, not {number}")))
        };
        counted("batch_max", *batch_max as u64, 1000)?;
        counted("tries", (*tries).into(), 1_000_000)?;
        within("sink_deadline", *sink_deadline, milli, HOUR)?;
        within("lease_time", *lease, 100 * milli, HOUR)?;
        within("poll", *poll, milli, 60 * SECOND)?;
        within("the first backoff", *first, milli, HOUR)?;
        within("the longest backoff", *longest, *first, HOUR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused_by_name_with_its_bounds() {
        let said = |checked: Result<(), Error>| checked.unwrap_err().to_string();
        assert!(WriteBehind::partitions(16).check().is_ok() && Flushing::default().check().is_ok());
        for number in [0, PARTITIONS_MOST + 1] {
            let text = said(WriteBehind::partitions(number).check());
            assert_eq!(text, format!("partitions are from 1 to 1024, not {number}"));
        }
        let text = said(WriteBehind::partitions(1).backlog_max(0).check());
        assert_eq!(text, "backlog_max is from 1 to 10000000, not 0");
        let waits = WriteBehind::partitions(1).when_full(WhenFull::Wait(Duration::ZERO));
        assert!(said(waits.check()).starts_with("when_full"));
        let odd = |flushing: Flushing| said(flushing.check());
        let good = Flushing::default();
        assert!(odd(Flushing { batch_max: 0, ..good }).starts_with("batch_max"));
        assert!(odd(Flushing { batch_max: 1001, ..good }).contains("1 to 1000, not 1001"));
        assert!(odd(Flushing { tries: 0, ..good }).starts_with("tries"));
        assert!(
            odd(Flushing { sink_deadline: Duration::ZERO, ..good }).starts_with("sink_deadline")
        );
        assert!(odd(Flushing { lease: Duration::ZERO, ..good }).starts_with("lease_time"));
        assert!(odd(Flushing { poll: Duration::ZERO, ..good }).starts_with("poll"));
        assert!(
            odd(Flushing { backoff: (2 * SECOND, SECOND), ..good }).contains("longest backoff")
        );
    }
}
