//! Time and chance as values.
//!
//! Everything that asks what time it is, waits, or draws lots asks a [`Clock`]. So a test can own
//! time, and a simulation can own both; `tests/layers.rs` holds the rest of the crate to it.
//!
//! The clock counts the time a machine was suspended: a laptop that slept, or a virtual machine that
//! was paused, must not serve from near what it has not been told about meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// A second.
pub const SECOND: Duration = Duration::from_secs(1);
/// A minute.
pub const MINUTE: Duration = Duration::from_secs(60);
/// An hour.
pub const HOUR: Duration = Duration::from_secs(60 * 60);
/// A day.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A point in time on this machine's clock; never compared with another machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Before everything.
    pub(crate) const NEVER: Moment = Moment(0);

    pub(crate) fn plus(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(nanos(time)))
    }

    pub(crate) fn minus(self, time: Duration) -> Moment {
        Moment(self.0.saturating_sub(nanos(time)))
    }

    /// How long ago `earlier` was; zero when it is still to come.
    #[inline]
    pub(crate) fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// The same, in nanoseconds.
    #[inline]
    pub(crate) fn nanos_since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole milliseconds, counted as the clock counts: for what speaks in them, as Redis does.
    pub(crate) fn ms(self) -> u64 {
        self.0 / 1_000_000
    }

    /// For keeping a moment in an atomic.
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Moment {
        Moment(bits)
    }
}

/// All there are of a time, as far as they can be counted.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[derive(Clone)]
enum Time {
    /// Monotonic, and counts suspend.
    Boot,
    /// Follows the runtime's clock, which a test may pause and advance.
    #[cfg(feature = "test-support")]
    Runtime(tokio::time::Instant),
}

/// Where time and chance come from. Cheap to clone.
#[cfg_attr(
    not(feature = "test-support"),
    allow(unreachable_pub, reason = "handed on to those who test their own service")
)]
#[derive(Clone)]
pub struct Clock {
    time: Time,
    chance: Arc<Chance>,
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}

impl Clock {
    /// The machine's clock, and chance from the operating system.
    pub(crate) fn system() -> Result<Clock, Error> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|cause| {
            Error::new(ErrorKind::Config, "cannot draw random numbers from the operating system")
                .because(cause)
        })?;
        let chance = Chance { state: AtomicU64::new(u64::from_le_bytes(seed)), seeded: false };
        Ok(Clock { time: Time::Boot, chance: Arc::new(chance) })
    }

    /// The runtime's clock, which `tokio::time::pause` stops, and chance from `seed`.
    ///
    /// For tests with the embedded far side: with a real socket a paused clock jumps while a reply
    /// is awaited, and fires every deadline.
    #[cfg(feature = "test-support")]
    pub fn of_runtime(seed: u64) -> Clock {
        let chance = Chance { state: AtomicU64::new(seed), seeded: true };
        Clock { time: Time::Runtime(tokio::time::Instant::now()), chance: Arc::new(chance) }
    }

    #[inline]
    pub(crate) fn now(&self) -> Moment {
        match &self.time {
            Time::Boot => boot(),
            #[cfg(feature = "test-support")]
            // An hour in, so that no moment of a test lies before the beginning of time.
            Time::Runtime(start) => Moment(nanos(start.elapsed() + HOUR)),
        }
    }

    /// Milliseconds since 1970, as this machine's clock has them: for dates that people read. It may jump.
    #[cfg(feature = "structures")]
    pub(crate) fn unix_ms(&self) -> u64 {
        match &self.time {
            Time::Boot => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
            }
            // A day of its own, the same in every run.
            #[cfg(feature = "test-support")]
            Time::Runtime(start) => {
                const SOME_DAY_MS: u64 = 1_800_000_000_000;
                SOME_DAY_MS + u64::try_from(start.elapsed().as_millis()).unwrap_or(0)
            }
        }
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// `None` when `future` did not end within `time`.
    pub(crate) async fn within<F: Future>(&self, time: Duration, future: F) -> Option<F::Output> {
        tokio::time::timeout(time, future).await.ok()
    }

    /// Uniform in `0.0..1.0`.
    pub(crate) fn fraction(&self) -> f64 {
        (self.chance.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Somewhere between nothing and `most`.
    pub(crate) fn up_to(&self, most: Duration) -> Duration {
        most.mul_f64(self.fraction())
    }

    /// For maps whose keys come from outside: who chooses keys must not know how they are spread.
    pub(crate) fn hasher(&self) -> foldhash::fast::FixedState {
        foldhash::fast::FixedState::with_seed(self.chance.next())
    }

    /// Sixteen bytes that nobody else drew.
    pub(crate) fn nonce(&self) -> [u8; 16] {
        let mut nonce = [0; 16];
        // The seeded stream stands in when the system has none to give: unique still, only no longer
        // beyond guessing, which nothing here rests on.
        if self.chance.seeded || getrandom::fill(&mut nonce).is_err() {
            nonce[..8].copy_from_slice(&self.chance.next().to_le_bytes());
            nonce[8..].copy_from_slice(&self.chance.next().to_le_bytes());
        }
        nonce
    }
}

/// Pauses between tries: each twice as long as the one before, up to a longest, and its second half left
/// to chance.
pub(crate) struct Pauses {
    next: Duration,
    longest: Duration,
    clock: Clock,
}

impl Pauses {
    pub(crate) fn new(clock: &Clock, first: Duration, longest: Duration) -> Pauses {
        Pauses { next: first, longest, clock: clock.clone() }
    }

    pub(crate) async fn pause(&mut self) {
        let half = self.next / 2;
        self.clock.sleep(half + self.clock.up_to(half)).await;
        self.next = (self.next * 2).min(self.longest);
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[inline]
fn boot() -> Moment {
    moment(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
}

// macOS counts suspend in its monotonic clock; elsewhere it is the nearest there is.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn boot() -> Moment {
    moment(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))
}

#[inline]
fn moment(time: rustix::time::Timespec) -> Moment {
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Moment(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
struct Chance {
    state: AtomicU64,
    seeded: bool,
}

impl Chance {
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_forward_and_chance_stays_in_bounds() {
        let clock = Clock::system().unwrap();
        let first = clock.now();
        assert!(clock.now() >= first);
        for _ in 0..1000 {
            assert!((0.0..1.0).contains(&clock.fraction()));
            assert!(clock.up_to(SECOND) < SECOND);
        }
        assert_ne!(clock.nonce(), clock.nonce());
    }

    #[test]
    fn milliseconds_are_whole_ones() {
        assert_eq!(Moment(1_999_999).ms(), 1);
        assert_eq!(Moment::NEVER.plus(SECOND).ms(), 1000);
    }

    #[test]
    fn a_moment_never_wraps() {
        assert_eq!(Moment::NEVER.since(Moment(5)), Duration::ZERO);
        assert_eq!(Moment(5).plus(Duration::MAX), Moment(u64::MAX));
    }
}
