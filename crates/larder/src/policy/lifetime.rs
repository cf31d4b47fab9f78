//! How long an entry may be used.

use std::time::Duration;

use crate::clock::{Clock, DAY};
use crate::error::{Error, ErrorKind};

/// The longest an entry may live: what an envelope can say, with room to spare.
const MOST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Redis counts in milliseconds.
const LEAST: Duration = Duration::from_millis(1);

/// How long an entry is fresh, how long it is kept once it is stale, how long "there is none" is
/// remembered, and how far lifetimes are spread.
///
/// ```
/// use larder::{HOUR, Lifetime, MINUTE, SECOND};
/// let lifetime = Lifetime::fresh_for(5 * MINUTE).stale_for(HOUR).none_for(5 * SECOND);
/// # let _ = lifetime;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lifetime {
    fresh: Duration,
    stale: Duration,
    none: Option<Duration>,
    jitter: f64,
}

/// How long one entry is used, chance included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drawn {
    pub(crate) fresh: Duration,
    /// Fresh and stale together: how long it is kept at all.
    pub(crate) whole: Duration,
}

impl Lifetime {
    /// An entry is fresh for this long after it was stored, then loaded anew. From 1 ms to 30 days.
    pub const fn fresh_for(fresh: Duration) -> Lifetime {
        Lifetime { fresh, stale: Duration::ZERO, none: None, jitter: 0.1 }
    }

    /// For how much longer an entry is kept once it is stale. Not at all unless told; at most 30 days
    /// with `fresh_for`.
    ///
    /// A stale entry is served at once while one loader of the fleet refreshes it in the background,
    /// and it stands in when the source fails: see [`Stale`](crate::Stale). An entry that was ended
    /// is never served again, and "there is none" is never stale.
    #[must_use]
    pub const fn stale_for(mut self, stale: Duration) -> Lifetime {
        self.stale = stale;
        self
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

    /// How long an entry is fresh, as it was set: chance is not taken off.
    pub const fn fresh(&self) -> Duration {
        self.fresh
    }

    /// For how much longer it is kept once it is stale.
    pub const fn stale(&self) -> Duration {
        self.stale
    }

    /// Refuses what cannot be meant.
    pub(crate) fn check(&self) -> Result<(), Error> {
        within("fresh_for", self.fresh)?;
        within("fresh_for and stale_for together", self.fresh.saturating_add(self.stale))?;
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

    /// Each part by its name, as it was set.
    pub(crate) fn parts(&self) -> [(&'static str, String); 4] {
        let Lifetime { fresh, stale, none, jitter } = self;
        let none = none.map_or("a tenth of fresh_for".to_owned(), |none| format!("{none:?}"));
        [
            ("fresh_for", format!("{fresh:?}")),
            ("stale_for", format!("{stale:?}")),
            ("none_for", none),
            ("jitter", format!("{jitter:?}")),
        ]
    }

    /// The longest an entry stored under it can live.
    pub(crate) fn longest(&self) -> Duration {
        (self.fresh + self.stale).max(self.none())
    }

    /// How long this one entry is used. Chance shortens the time it is fresh.
    pub(crate) fn draw(&self, negative: bool, clock: &Clock) -> Drawn {
        let (most, stale) =
            if negative { (self.none(), Duration::ZERO) } else { (self.fresh, self.stale) };
        let fresh = most.mul_f64(1.0 - self.jitter * clock.fraction()).max(LEAST);
        Drawn { fresh, whole: fresh + stale }
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
        assert!(refused(Lifetime::fresh_for(DAY).stale_for(30 * DAY)).contains("stale_for"));
        assert!(refused(Lifetime::fresh_for(DAY).stale_for(Duration::MAX)).contains("stale_for"));
        assert!(Lifetime::fresh_for(30 * DAY).jitter(0.5).check().is_ok());
    }

    #[test]
    fn jitter_shortens_by_at_most_its_part_and_spreads() {
        let clock = Clock::system().unwrap();
        let lifetime = Lifetime::fresh_for(100 * SECOND);
        let drawn: Vec<_> = (0..1000).map(|_| lifetime.draw(false, &clock).fresh).collect();
        assert!(drawn.iter().all(|d| *d > 90 * SECOND - LEAST && *d <= 100 * SECOND));
        assert!(drawn.iter().any(|d| *d < 92 * SECOND) && drawn.iter().any(|d| *d > 98 * SECOND));
        assert!(lifetime.draw(true, &clock).fresh <= 10 * SECOND);
    }

    #[test]
    fn the_stale_time_comes_behind_the_fresh_one_and_none_has_none() {
        let clock = Clock::system().unwrap();
        let lifetime = Lifetime::fresh_for(MINUTE).stale_for(DAY);
        let (some, none) = (lifetime.draw(false, &clock), lifetime.draw(true, &clock));
        assert_eq!(some.whole, some.fresh + DAY);
        assert_eq!(none.whole, none.fresh);
        assert_eq!(lifetime.longest(), MINUTE + DAY);
    }
}
