//! How much is allowed in how long, and by which way of counting.

use std::fmt;
use std::time::Duration;

use crate::clock::{DAY, HOUR, MINUTE, SECOND};
use crate::error::Error;
use crate::key::Shape;
use crate::structures::bounds::check;

/// A log keeps a mark for each that it counts: so many at most.
const LOG_QUOTA_MAX: u32 = 10_000;
const QUOTA_MAX: u32 = 1_000_000_000;
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(31 * DAY.as_secs());

/// So many in so long: how fast a bucket fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    period: Duration,
}

impl Rate {
    /// `count` in each `period`.
    pub const fn per(count: u32, period: Duration) -> Rate {
        Rate { count, period }
    }

    /// So many a second.
    pub const fn per_second(count: u32) -> Rate {
        Rate::per(count, SECOND)
    }

    /// So many a minute.
    pub const fn per_minute(count: u32) -> Rate {
        Rate::per(count, MINUTE)
    }

    /// So many an hour.
    pub const fn per_hour(count: u32) -> Rate {
        Rate::per(count, HOUR)
    }
}

/// How much is allowed in how long.
///
/// | | exact | kept for each key | a burst after silence |
/// |---|---|---|---|
/// | [`sliding_log`](Self::sliding_log) | yes: never more than the quota in any window | a mark of about 30 bytes for each that counts, 130 when there are more than 128 | the quota |
/// | [`sliding_counter`](Self::sliding_counter) | less than twice the quota in the worst window, the quota when requests come evenly | three numbers | the quota |
/// | [`token_bucket`](Self::token_bucket) | never more than the burst and what the rate gives meanwhile | two numbers | the burst, whatever the rate |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    way: Way,
    quota: u32,
    period: Duration,
    /// Tokens a period.
    rate: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Way {
    Log,
    Counter,
    Bucket,
}

impl Limit {
    /// At most `quota` in any `window`, exactly: the time of each is kept until it is a window ago.
    ///
    /// `quota` is from 1 to 10,000, `window` from 10 ms to 31 days.
    pub const fn sliding_log(quota: u32, window: Duration) -> Limit {
        Limit { way: Way::Log, quota, period: window, rate: 0 }
    }

    /// About `quota` in any `window`, from two counters: those of this window, and those of the one before by
    /// the part of it that is less than a window ago.
    ///
    /// It takes for granted that those before came evenly. When they all came at its end, the worst window
    /// passes `quota` by those before times the part of this window that is over: always less than twice the
    /// quota, and never more than the quota between two full windows. When they all came at its beginning, it
    /// refuses as many too early. Cloudflare, who describe it ("How we built rate limiting capable of scaling to
    /// millions of domains", 2017), found 0.003 % of 400 million requests wrongly let through or refused.
    ///
    /// `quota` is from 1 to 1,000,000,000, `window` from 10 ms to 31 days.
    pub const fn sliding_counter(quota: u32, window: Duration) -> Limit {
        Limit { way: Way::Counter, quota, period: window, rate: 0 }
    }

    /// A bucket of `burst` tokens that fills at `rate`; each takes one.
    ///
    /// In any time `t` at most `burst + rate × t` are allowed. It is the leaky bucket of Turner ("New directions in
    /// communications", 1986) as a meter, and gives the answers of the ATM Forum's generic cell rate algorithm
    /// (Traffic Management 4.0, 1996), with the tokens that are left kept in place of the time when the next
    /// is due.
    ///
    /// `burst` is from 1 to 1,000,000,000, and so is the rate's count; its period is from 10 ms to 31 days, and
    /// an empty bucket is full again in at most 31 days.
    pub const fn token_bucket(rate: Rate, burst: u32) -> Limit {
        Limit { way: Way::Bucket, quota: burst, period: rate.period, rate: rate.count }
    }

    /// The most that may come at once: the quota, or the burst.
    pub fn quota(&self) -> u64 {
        self.quota.into()
    }

    /// In how long the quota comes back: the window, or the time in which an empty bucket is full.
    pub fn window(&self) -> Duration {
        match self.way {
            Way::Log | Way::Counter => self.period,
            Way::Bucket => {
                let periods = f64::from(self.quota) / f64::from(self.rate.max(1));
                let secs = self.period.as_secs_f64() * periods;
                Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX)
            }
        }
    }

    pub(super) fn way(&self) -> Way {
        self.way
    }

    pub(super) fn period_us(&self) -> u64 {
        u64::try_from(self.period.as_micros()).unwrap_or(u64::MAX)
    }

    /// Tokens a period.
    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// A share of it: what one of so many processes may allow.
    pub(super) fn shared_by(mut self, processes: u32) -> Limit {
        let processes = processes.max(1);
        self.quota = self.quota.div_ceil(processes).max(1);
        if self.way == Way::Bucket {
            // The same rate, and not one that is rounded: in a time that is longer.
            self.period *= processes;
        }
        self
    }

    /// What its counts are called. Without the quota, so that a quota that is changed goes on from what was
    /// counted under the one before.
    pub(super) fn part(&self) -> String {
        let period = self.period_us();
        match self.way {
            Way::Log => format!("log-{period}"),
            Way::Counter => format!("counter-{period}"),
            Way::Bucket => format!("bucket-{}-{period}", self.rate),
        }
    }

    /// Do both count as one? As [`part`](Self::part) says.
    pub(super) fn goes_on(&self, other: &Limit) -> bool {
        (self.way, self.period, self.rate) == (other.way, other.period, other.rate)
    }

    pub(super) fn check(&self, shape: &Shape) -> Result<(), Error> {
        let time = |setting: &str, given: Duration, least: Duration| {
            let secs = |time: Duration| time.as_secs_f64();
            let setting = format!("{setting}, in seconds,");
            check(shape, &setting, secs(given), secs(least)..=secs(LONGEST))
        };
        match self.way {
            Way::Log => {
                check(shape, "quota of a sliding_log", self.quota, 1..=LOG_QUOTA_MAX)?;
                time("window of a sliding_log", self.period, SHORTEST)
            }
            Way::Counter => {
                check(shape, "quota of a sliding_counter", self.quota, 1..=QUOTA_MAX)?;
                time("window of a sliding_counter", self.period, SHORTEST)
            }
            Way::Bucket => {
                check(shape, "burst of a token_bucket", self.quota, 1..=QUOTA_MAX)?;
                check(shape, "rate of a token_bucket", self.rate, 1..=QUOTA_MAX)?;
                time("rate's period of a token_bucket", self.period, SHORTEST)?;
                time("time to fill of a token_bucket", self.window(), Duration::ZERO)
            }
        }
    }
}

/// For people: `100 in 60s`, `10 in 1s, bursts of 50`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.way {
            Way::Log | Way::Counter => write!(f, "{} in {:?}", self.quota, self.period),
            Way::Bucket => {
                write!(f, "{} in {:?}, bursts of {}", self.rate, self.period, self.quota)
            }
        }
    }
}

/// What is done when Redis does not judge: it is down, slow, full or refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenDown {
    /// All is allowed: the limit is there for fairness, and being served matters more.
    Open,
    /// Nothing is allowed: the limit protects something that would break.
    Closed,
    /// This process counts for itself. Each allows the part of the limit that is its own when there are so many
    /// `processes`; with 1, each allows the whole.
    Local {
        /// How many there are, at least 1.
        processes: u32,
    },
}

/// Whose word a [`Verdict`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// Redis', for the whole fleet; or this process', where there is no Redis.
    Shared,
    /// This process' for itself, since Redis did not judge.
    Local,
    /// Nobody's: Redis did not judge, and the choice was [`WhenDown::Open`] or [`WhenDown::Closed`].
    Nobody,
}

/// Whether it may go on, and what is left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// May it go on? If so its cost was taken from every limit, and otherwise from none.
    pub allowed: bool,
    /// What is left now under the limit that has least.
    pub remaining: u64,
    /// When the same may be tried again. `None` when it is allowed, and when it never will be, since it costs
    /// more than a limit ever has.
    pub retry_after: Option<Duration>,
    /// The limit that decided: the one to wait for longest, or the one that has least left.
    pub limit: Limit,
    /// When that limit is as if nothing had ever been taken, if nothing more is.
    pub reset_after: Duration,
    /// Whose word this is.
    pub judge: Judge,
    /// How each limit stands, in the order in which they were given.
    pub standings: Vec<LimitStanding>,
}

/// How one limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitStanding {
    /// Which.
    pub limit: Limit,
    /// What is left.
    pub remaining: u64,
    /// How long to wait until this limit allows it.
    pub wait: Wait,
    /// When it is as if nothing had ever been taken.
    pub reset_after: Duration,
}

/// How long until a limit allows something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// It does now.
    Not,
    /// So long.
    For(Duration),
    /// It never will: it has never so much.
    Forever,
}

impl Verdict {
    /// `standings` are never none.
    pub(super) fn of(allowed: bool, judge: Judge, standings: Vec<LimitStanding>) -> Verdict {
        let first = LimitStanding {
            limit: Limit::sliding_log(0, Duration::ZERO),
            remaining: 0,
            wait: Wait::Not,
            reset_after: Duration::ZERO,
        };
        let strictness = |one: &&LimitStanding| (one.wait, std::cmp::Reverse(one.remaining));
        let decided = standings.iter().max_by_key(strictness).copied().unwrap_or(first);
        Verdict {
            allowed,
            remaining: standings.iter().map(|one| one.remaining).min().unwrap_or(0),
            retry_after: match decided.wait {
                Wait::For(time) if !allowed => Some(time),
                _ => None,
            },
            limit: decided.limit,
            reset_after: decided.reset_after,
            judge,
            standings,
        }
    }
}
