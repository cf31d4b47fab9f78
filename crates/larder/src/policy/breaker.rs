//! When the shared side is left alone for a while, and when it is asked again.

use std::time::Duration;

use super::refuse;
use crate::error::Error;

/// When the breaker opens, and when it closes again: see [`LarderBuilder::breaker`](crate::LarderBuilder::breaker).
///
/// A call fails when it is not answered within its deadline, when its connection breaks under it, or when the
/// server says that it can serve nothing (`LOADING`, `BUSY`, `MASTERDOWN`, `CLUSTERDOWN`). Any other refusal,
/// like one for want of memory, is an answer.
///
/// ```
/// use larder::{BreakerSettings, Larder, SECOND};
///
/// # let _ =
/// Larder::builder("shop").breaker(BreakerSettings::new().open_for(2 * SECOND).calls_min(50));
/// # let _ =
/// Larder::builder("shop").breaker(BreakerSettings::off());
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct BreakerSettings {
    pub(crate) is_on: bool,
    pub(crate) window: Duration,
    pub(crate) calls_min: u32,
    pub(crate) failed_share: f64,
    pub(crate) slow_share: f64,
    pub(crate) slow_after: Option<Duration>,
    pub(crate) open_for: Duration,
    pub(crate) probes: u32,
}

impl Default for BreakerSettings {
    fn default() -> BreakerSettings {
        BreakerSettings::new()
    }
}

impl BreakerSettings {
    /// On, with the defaults that each setting names.
    pub const fn new() -> BreakerSettings {
        BreakerSettings {
            is_on: true,
            window: Duration::from_secs(10),
            calls_min: 20,
            failed_share: 0.5,
            slow_share: 1.0,
            slow_after: None,
            open_for: Duration::from_secs(5),
            probes: 10,
        }
    }

    /// No breaker: every call is tried, and waits for its deadline.
    pub const fn off() -> BreakerSettings {
        let mut off = BreakerSettings::new();
        off.is_on = false;
        off
    }

    /// Over how long calls are counted, in ten parts that fall away one by one. Ten seconds, as in Hystrix
    /// (`metrics.rollingStats.timeInMilliseconds`, `numBuckets`).
    pub const fn window(mut self, time: Duration) -> BreakerSettings {
        self.window = time;
        self
    }

    /// How many calls there must have been in the window before their shares mean anything. 20, as in Hystrix
    /// (`circuitBreaker.requestVolumeThreshold`); resilience4j and Polly wait for 100. A call is a round trip,
    /// however many reads share it.
    pub const fn calls_min(mut self, calls: u32) -> BreakerSettings {
        self.calls_min = calls;
        self
    }

    /// It opens when this share of the calls has failed. 0.5, as in Hystrix
    /// (`circuitBreaker.errorThresholdPercentage`) and resilience4j (`failureRateThreshold`).
    pub const fn failed_share(mut self, share: f64) -> BreakerSettings {
        self.failed_share = share;
        self
    }

    /// It opens when this share of the calls was slow, failed ones that were among them. 1.0, as in
    /// resilience4j (`slowCallRateThreshold`): where some answers are still quick, far is still worth asking.
    pub const fn slow_share(mut self, share: f64) -> BreakerSettings {
        self.slow_share = share;
        self
    }

    /// What a slow call is. Half of the handle's `far_deadline`. (Resilience4j says a minute, which is for calls
    /// between services; here a call that takes longer than the whole deadline has failed.)
    pub const fn slow_after(mut self, time: Duration) -> BreakerSettings {
        self.slow_after = Some(time);
        self
    }

    /// How long it stays open before a few calls are tried. Five seconds, as in Hystrix
    /// (`circuitBreaker.sleepWindowInMilliseconds`) and Polly (`BreakDuration`). A new connection ends it sooner.
    pub const fn open_for(mut self, time: Duration) -> BreakerSettings {
        self.open_for = time;
        self
    }

    /// How many calls are tried then, before it closes; the others go on without far. It opens again as soon as
    /// too many of these have failed or were slow. Ten, as in resilience4j
    /// (`permittedNumberOfCallsInHalfOpenState`).
    pub const fn probes(mut self, calls: u32) -> BreakerSettings {
        self.probes = calls;
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let hour = Duration::from_secs(60 * 60);
        for (name, time) in [("window", self.window), ("open_for", self.open_for)] {
            if time < Duration::from_millis(10) || time > hour {
                return refuse(format!("breaker: {name} is from 10 ms to an hour, not {time:?}"));
            }
        }
        for (name, share) in [("failed_share", self.failed_share), ("slow_share", self.slow_share)]
        {
            // Written so that what is no number is refused as well.
            if !(share > 0.0 && share <= 1.0) {
                return refuse(format!("breaker: {name} is over 0 and at most 1, not {share}"));
            }
        }
        if self.slow_after.is_some_and(|time| time.is_zero()) {
            return refuse("breaker: slow_after is over 0".to_owned());
        }
        if self.calls_min == 0 || self.probes == 0 {
            return refuse("breaker: calls_min and probes are at least 1".to_owned());
        }
        Ok(())
    }
}
