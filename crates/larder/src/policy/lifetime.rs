//! How long an entry may be used.

use std::time::Duration;

use crate::clock::{Clock, DAY};
use crate::error::{Error, ErrorKind};

/// The longest an entry may live: what an envelope can say, with room to spare.
const MOST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Redis counts in milliseconds.
const LEAST: Duration = Duration::from_millis(1);

/// How long an entry is fresh, how long "there is none" is, and how far lifetimes are spread.
///
/// ```
/// use larder::{Lifetime, MINUTE, SECOND};
/// let lifetime = Lifetime::fresh_for(5 * MINUTE).none_for(5 * SECOND);
/// # let _ = lifetime;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lifetime {
    fresh: Duration,
    none: Option<Duration>,
    jitter: f64,
}

impl Lifetime {
    /// An entry is served for this long after it was stored, then loaded anew. From 1 ms to 30 days.
    pub const fn fresh_for(fresh: Duration) -> Lifetime {
        Lifetime { fresh, none: None, jitter: 0.1 }
    }

    /// How long "there is none" is remembered; a tenth of `fresh_for` unless told.
    ///
    /// Keep it short: what is created elsewhere without an invalidation stays hidden this long.
    #[must_use]
    pub const fn none_for(mut self, none: Duration) -> Lifetime {
        self.none = Some(none);
        self
    }

    /// The part of a lifetime that is left to chance, 0.0 to 0.5; 0.1 unless told.
    ///
    /// Each store draws anew and only ever shortens, so that what was loaded together is not all
    /// due together.
    #[must_use]
    pub const fn jitter(mut self, part: f64) -> Lifetime {
        self.jitter = part;
        self
    }

    /// Refuses what cannot be meant.
    pub(crate) fn check(&self) -> Result<(), Error> {
        within("fresh_for", self.fresh)?;
        within("none_for", self.none())?;
        if !(0.0..=0.5).contains(&self.jitter) {
            let text =
                format!("a lifetime's jitter is a part from 0.0 to 0.5, not {}", self.jitter);
            return Err(Error::new(ErrorKind::Config, text));
        }
        Ok(())
    }

    fn none(&self) -> Duration {
        self.none.unwrap_or((self.fresh / 10).max(LEAST))
    }

    /// The longest an entry stored under it can live.
    pub(crate) fn longest(&self) -> Duration {
        self.fresh.max(self.none())
    }

    /// How long this one entry is fresh.
    pub(crate) fn draw(&self, negative: bool, clock: &Clock) -> Duration {
        let whole = if negative { self.none() } else { self.fresh };
        whole.mul_f64(1.0 - self.jitter * clock.fraction()).max(LEAST)
    }
}

impl Default for Lifetime {
    /// A minute.
    fn default() -> Lifetime {
        Lifetime::fresh_for(Duration::from_secs(60))
    }
}

fn within(name: &str, time: Duration) -> Result<(), Error> {
    if time >= LEAST && time <= MOST {
        return Ok(());
    }
    let days = MOST.as_secs() / DAY.as_secs();
    let text = format!("a lifetime's {name} is from 1 ms to {days} days, not {time:?}");
    Err(Error::new(ErrorKind::Config, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{MINUTE, SECOND};

    #[test]
    fn what_cannot_be_meant_is_refused_and_named() {
        let refused = |lifetime: Lifetime| lifetime.check().unwrap_err().to_string();
        assert!(refused(Lifetime::fresh_for(Duration::ZERO)).contains("fresh_for"));
        assert!(refused(Lifetime::fresh_for(400 * DAY)).contains("30 days"));
        assert!(refused(Lifetime::fresh_for(MINUTE).none_for(Duration::ZERO)).contains("none_for"));
        assert!(refused(Lifetime::fresh_for(MINUTE).jitter(f64::NAN)).contains("jitter"));
        assert!(Lifetime::fresh_for(30 * DAY).jitter(0.5).check().is_ok());
    }

    #[test]
    fn jitter_shortens_by_at_most_its_part_and_spreads() {
        let clock = Clock::system().unwrap();
        let lifetime = Lifetime::fresh_for(100 * SECOND);
        let drawn: Vec<_> = (0..1000).map(|_| lifetime.draw(false, &clock)).collect();
        assert!(drawn.iter().all(|d| *d > 90 * SECOND - LEAST && *d <= 100 * SECOND));
        assert!(drawn.iter().any(|d| *d < 92 * SECOND) && drawn.iter().any(|d| *d > 98 * SECOND));
        assert!(lifetime.draw(true, &clock) <= 10 * SECOND);
    }
}
