//! When an entry is renewed though it is still fresh.

use std::time::Duration;

use crate::clock::{Clock, DAY};
use crate::error::{Error, ErrorKind};

/// The most that `early` takes: a hundred loads ahead of the end.
const BETA_MOST: f64 = 100.0;
/// `-ln` of a draw is above this once in half a milliard draws: before that many loads ahead of the end, none
/// is made.
const DRAW_MOST: f64 = 20.0;
/// Of what is left after `at_fraction`, so much is left to chance.
const SPREAD: f64 = 0.1;
/// Twice as early as lots would have it, on the average: half of all loads take longer than that one.
const WITHOUT_LOTS: f64 = 2.0;
/// As long as an entry can live.
const WARM_MOST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// When an entry is renewed in the background though it is still fresh, so that nobody has to wait when its
/// time is over. Off unless told.
///
/// Renewed is only what is read: by the reader's own loader, once in the fleet, while the reader is served what
/// is there. "There is none" is not renewed ahead.
///
/// ```
/// use larder::{MINUTE, Lifetime, RefreshAhead};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
/// # let larder = larder::Larder::builder("doc").open().await?;
/// let prices: larder::Cache<u64, u32> = larder
///     .cache("prices")
///     .lifetime(Lifetime::fresh_for(5 * MINUTE))
///     .refresh_ahead(RefreshAhead::early(1.0))
///     .shared()?;
/// # let _ = prices; Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RefreshAhead {
    when: When,
    warm: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum When {
    #[default]
    Off,
    Early {
        beta: f64,
    },
    AtFraction {
        part: f64,
    },
}

/// What is known of an entry's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// How long it is fresh, from when it was stored.
    pub(crate) fresh_for: Duration,
    /// How long its load took.
    pub(crate) cost: Duration,
}

impl RefreshAhead {
    /// Not at all: an entry is loaded anew when its time is over.
    pub const fn off() -> RefreshAhead {
        RefreshAhead { when: When::Off, warm: None }
    }

    /// Each read near the end draws lots, and the nearer the end and the slower the load, the more likely it
    /// renews: where `age + cost * beta * -ln(rand) >= fresh_for`, `cost` being how long the last load took and `rand`
    /// uniform from 0 to 1. 1.0 is what to begin with; more renews earlier. Above 0.0, at most 100.0.
    ///
    /// So what is read often, or loads slowly, is renewed early enough that nobody waits, and what is hardly read
    /// is left to run out. A read earlier than twenty times `cost * beta` before the end draws nothing. The rule is
    /// XFetch: Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015.
    ///
    /// What was written or put, not loaded, has no cost, so no read renews it: for a cache of such entries use
    /// [`at_fraction`](Self::at_fraction).
    pub const fn early(beta: f64) -> RefreshAhead {
        RefreshAhead { when: When::Early { beta }, warm: None }
    }

    /// The first read after this part of the time that it is fresh renews it: 0.8, when a fifth is left. Between
    /// 0.0 and 1.0, both excluded.
    ///
    /// Each process begins a little later, by chance up to a tenth of what is left, so that not all ask for the
    /// lease at once.
    pub const fn at_fraction(part: f64) -> RefreshAhead {
        RefreshAhead { when: When::AtFraction { part }, warm: None }
    }

    /// Keys that were read within the last `read_within` are renewed even if nobody reads them when they are due; then
    /// they are left to run out. From a second to 30 days; goes with [`early`](Self::early) or
    /// [`at_fraction`](Self::at_fraction).
    ///
    /// For what is read through a view that knows its source, so that it can be asked again without a caller:
    /// `Through::read`, found near or not. With `early` they are renewed twice `cost * beta` before the end, without lots. What was ended, or
    /// evicted, is not brought back: the next reader loads it. A process keeps so many keys warm and no more:
    /// [`LarderBuilder::warm_keys_max`](crate::LarderBuilder::warm_keys_max).
    #[must_use]
    pub const fn keep_warm(mut self, read_within: Duration) -> RefreshAhead {
        self.warm = Some(read_within);
        self
    }

    /// How long after its last read a key is kept warm.
    pub(crate) fn keeps_warm_for(&self) -> Option<Duration> {
        self.warm
    }

    /// The age at which it is renewed without a reader: not later than two `ticks` before the end, since it is
    /// looked at once in a tick.
    pub(crate) fn renewed_at(&self, span: Span, tick: Duration) -> Duration {
        let Span { fresh_for, cost } = span;
        let at = match self.when {
            When::Off => fresh_for,
            When::Early { beta } => fresh_for.saturating_sub(times(cost, beta * WITHOUT_LOTS)),
            When::AtFraction { part } => fresh_for.mul_f64(part),
        };
        at.min(fresh_for.saturating_sub(2 * tick))
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let least = Duration::from_secs(1);
        let refused = match self.when {
            When::Off if self.warm.is_some() => {
                "keep_warm goes with early or at_fraction, and neither was given".to_owned()
            }
            _ if self.warm.is_some_and(|warm| warm < least || warm > WARM_MOST) => {
                let days = WARM_MOST.as_secs() / DAY.as_secs();
                let given = self.warm.unwrap_or_default();
                format!("keep_warm is from a second to {days} days, not {given:?}")
            }
            When::Early { beta } if !(beta > 0.0 && beta <= BETA_MOST) => {
                format!("early's beta is above 0.0 and at most {BETA_MOST:?}, not {beta:?}")
            }
            When::AtFraction { part } if !(part > 0.0 && part < 1.0) => {
                format!("at_fraction is between 0.0 and 1.0, not {part:?}")
            }
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Config, format!("refresh_ahead: {refused}")))
    }

    /// How old an entry is before it is worth a thought; `None`: it never is.
    pub(crate) fn considered_at(&self, span: Span, clock: &Clock) -> Option<Duration> {
        let Span { fresh_for, cost } = span;
        match self.when {
            When::Off => None,
            When::Early { beta } => Some(fresh_for.saturating_sub(times(cost, beta * DRAW_MOST))),
            When::AtFraction { part } => {
                let part = part + (1.0 - part) * SPREAD * clock.fraction();
                Some(fresh_for.mul_f64(part.min(1.0)))
            }
        }
    }

    /// Whether a read renews it, at an age at which it is [considered](Self::considered_at).
    pub(crate) fn draws(&self, age: Duration, span: Span, clock: &Clock) -> bool {
        match self.when {
            When::Off => false,
            When::Early { beta } => {
                // From above 0.0 up to 1.0: of nothing there is no logarithm.
                let draw = -(1.0 - clock.fraction()).ln();
                age + times(span.cost, beta * draw) >= span.fresh_for
            }
            When::AtFraction { .. } => true,
        }
    }
}

/// Bounded by what is enough for any lifetime.
fn times(cost: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(cost.as_secs_f64() * factor).unwrap_or(Duration::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;

    #[test]
    fn what_cannot_be_meant_is_refused_and_named() {
        let refused = |ahead: RefreshAhead| ahead.check().unwrap_err().to_string();
        for beta in [0.0, -1.0, 100.1, f64::NAN, f64::INFINITY] {
            let text = refused(RefreshAhead::early(beta));
            assert!(text.contains("beta") && text.contains("100"), "{text}");
            assert!(text.contains(&format!("{beta:?}")), "{text}");
        }
        for part in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(refused(RefreshAhead::at_fraction(part)).contains("at_fraction"));
        }
        for good in
            [RefreshAhead::off(), RefreshAhead::early(100.0), RefreshAhead::at_fraction(0.99)]
        {
            assert!(good.check().is_ok());
        }
    }

    /// `age + cost * beta * E >= fresh_for` with E exponential, so at `left` before the end a read renews with
    /// the likelihood `exp(-left / (cost * beta))`.
    #[test]
    fn early_draws_as_often_as_the_paper_says() {
        let clock = Clock::system().unwrap();
        for (beta, left_in_costs) in [(1.0, 0.5_f64), (1.0, 2.0), (2.0, 2.0)] {
            let span = Span { fresh_for: 100 * SECOND, cost: SECOND };
            let age = span.fresh_for - SECOND.mul_f64(left_in_costs);
            let tries = 20_000;
            let drawn = (0..tries).filter(|_| RefreshAhead::early(beta).draws(age, span, &clock));
            let (share, expected) =
                (drawn.count() as f64 / f64::from(tries), (-left_in_costs / beta).exp());
            // Six times the standard deviation.
            let most = 6.0 * (expected * (1.0 - expected) / f64::from(tries)).sqrt();
            assert!((share - expected).abs() < most, "{share} of the reads, {expected} expected");
        }
    }

    #[test]
    fn what_is_past_its_time_is_always_drawn_and_what_costs_nothing_never_before() {
        let clock = Clock::system().unwrap();
        let free = Span { fresh_for: SECOND, cost: Duration::ZERO };
        let early = RefreshAhead::early(1.0);
        assert!((0..1000).all(|_| early.draws(SECOND, free, &clock)));
        assert!((0..1000).all(|_| !early.draws(SECOND - Duration::from_nanos(1), free, &clock)));
        let endless = Span { fresh_for: SECOND, cost: Duration::MAX };
        assert_eq!(early.considered_at(endless, &clock), Some(Duration::ZERO));
    }

    #[test]
    fn a_fraction_begins_where_it_was_set_and_spreads_over_a_tenth_of_the_rest() {
        let clock = Clock::system().unwrap();
        let span = Span { fresh_for: 100 * SECOND, cost: SECOND };
        let begins = || RefreshAhead::at_fraction(0.8).considered_at(span, &clock).unwrap();
        let begun: Vec<_> = (0..1000).map(|_| begins()).collect();
        assert!(begun.iter().all(|age| *age >= 80 * SECOND && *age <= 82 * SECOND));
        assert!(begun.iter().any(|age| *age < SECOND.mul_f64(80.4)));
        assert!(begun.iter().any(|age| *age > SECOND.mul_f64(81.6)));
    }
}
