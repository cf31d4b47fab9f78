//! How often somebody may do something, counted for the whole fleet.
//!
//! Every check is one script on the server that has the key, by the server's clock: of two that come at once
//! one is first, and the other sees what it took. Under several limits it takes from all or from none.
//!
//! When Redis does not judge, the choice of [`WhenDown`] does; a check is an error only when the caller or the
//! handle is to blame. A check whose answer was lost may have taken its cost: it counts against its key, never
//! for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::bounds::check;
#[cfg(feature = "redis")]
use super::not_done;
use super::{Ground, Side};
use crate::clock::SECOND;
use crate::error::{Error, ErrorKind};
use crate::key::{Shape, ToKey};

mod limit;
mod memory;
#[cfg(feature = "redis")]
pub(super) mod redis;

pub use limit::{Judge, Limit, LimitStanding, Rate, Verdict, Wait, WhenDown};

use memory::Table;

const LIMITS_MAX: usize = 8;

/// Settles how a [`RateLimiter`] works. Every default is here.
#[must_use]
#[derive(Clone)]
pub struct RateLimiterBuilder {
    ground: Ground,
    name: String,
    limits: Vec<Limit>,
    when_down: WhenDown,
    deadline: Duration,
}

impl fmt::Debug for RateLimiterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiterBuilder")
            .field("name", &self.name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl RateLimiterBuilder {
    pub(crate) fn new(ground: Ground, name: String, limits: Vec<Limit>) -> RateLimiterBuilder {
        let (when_down, deadline) = (WhenDown::Local { processes: 1 }, SECOND / 10);
        RateLimiterBuilder { ground, name, limits, when_down, deadline }
    }

    /// What is done when Redis does not judge. This process counts for itself, and allows the whole limit:
    /// `WhenDown::Local { processes: 1 }`.
    pub fn when_down(mut self, choice: WhenDown) -> RateLimiterBuilder {
        self.when_down = choice;
        self
    }

    /// How long a check waits for Redis before [`when_down`](Self::when_down) decides. 100 ms; from 1 ms to a
    /// minute. This is what a hanging Redis adds to a request, until the breaker of its connection is open.
    pub fn deadline(mut self, deadline: Duration) -> RateLimiterBuilder {
        self.deadline = deadline;
        self
    }

    /// Opens it. Nothing is sent.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: a name that is none, no limit or more than 8, two that count alike (the same way
    /// in the same window), a number out of its bounds.
    pub fn open(self) -> Result<RateLimiter, Error> {
        let shape = self.ground.shape("limit", &self.name)?;
        check(&shape, "the number of limits", self.limits.len(), 1..=LIMITS_MAX)?;
        for (at, limit) in self.limits.iter().enumerate() {
            limit.check(&shape)?;
            if self.limits.iter().take(at).any(|other| other.goes_on(limit)) {
                let text =
                    format!("{shape}: two limits count alike ({limit}): leave one of them out");
                return Err(Error::new(ErrorKind::Config, text));
            }
        }
        if let WhenDown::Local { processes } = self.when_down {
            check(&shape, "processes of WhenDown::Local", processes, 1..=1_000_000)?;
        }
        let milli = Duration::from_millis(1);
        if !(milli..=60 * SECOND).contains(&self.deadline) {
            let text = format!("{shape}: deadline is {:?}; it is from 1ms to 60s", self.deadline);
            return Err(Error::new(ErrorKind::Config, text));
        }
        let shares = match self.when_down {
            WhenDown::Local { processes } => {
                self.limits.iter().map(|limit| limit.shared_by(processes)).collect()
            }
            _ => Vec::new(),
        };
        let table = match self.ground.side() {
            Side::Memory(shelves) => shelves.get(&shape)?,
            #[cfg(feature = "redis")]
            Side::Redis(_) => Arc::default(),
        };
        let RateLimiterBuilder { ground, limits, when_down, deadline, .. } = self;
        let inner = Inner { ground, shape, limits, shares, when_down, deadline, table };
        Ok(RateLimiter(Arc::new(inner)))
    }
}

/// How often somebody may do something. Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
/// use larder::structures::{Limit, Rate};
/// use larder::{HOUR, Larder};
///
/// let larder = Larder::builder("shop").open().await?; // .redis("redis://..") for a fleet
/// let limits = [Limit::token_bucket(Rate::per_second(10), 2), Limit::sliding_counter(1000, HOUR)];
/// let searches = larder.rate_limiter("searches", limits).open()?;
///
/// let user = 17_u64;
/// assert!(searches.check(&user).await?.allowed);
/// assert!(searches.check(&user).await?.allowed);
/// let verdict = searches.check(&user).await?;
/// assert!(!verdict.allowed && verdict.retry_after.is_some()); // the burst of two is over
/// assert!(searches.check(&18_u64).await?.allowed); // another's is not
/// # Ok(()) }
/// ```
///
/// # One name, two handles
/// All that open a name share what was counted, whatever their limits: a limit of the same way and window goes on
/// from what was counted under another quota. So a quota can be changed while the fleet runs; until all
/// processes are new, each judges by its own.
///
/// # What Redis forgets
/// A key that is evicted, flushed, or lost with a server that keeps no log begins anew: its owner has the
/// whole quota again. Under `maxmemory` prefer a policy that evicts what is not used (`volatile-lru`).
#[derive(Clone)]
pub struct RateLimiter(Arc<Inner>);

struct Inner {
    ground: Ground,
    shape: Shape,
    limits: Vec<Limit>,
    /// What this process allows by itself, under [`WhenDown::Local`].
    shares: Vec<Limit>,
    when_down: WhenDown,
    deadline: Duration,
    /// What was counted in this process: all of it where there is no Redis.
    table: Arc<Table>,
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("name", &format_args!("{}", self.0.shape))
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

/// Is anything taken?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    Yes,
    /// It is only looked at.
    No,
}

impl RateLimiter {
    /// May this key's owner do one more? If so, it is counted.
    ///
    /// # Cost
    /// One round trip, whatever the number of limits. O(log n) for a sliding log of n, O(1) for the others.
    ///
    /// # Errors
    /// [`ErrorKind::Key`]: the key is longer than 1024 bytes. [`ErrorKind::Closed`]: the handle is.
    /// [`ErrorKind::Far`]: something of another type lies under the limiter's name in Redis. That Redis is down is
    /// none: see [`when_down`](RateLimiterBuilder::when_down), and [`Verdict::judge`].
    pub async fn check<K: ToKey + ?Sized>(&self, key: &K) -> Result<Verdict, Error> {
        self.check_n(key, 1).await
    }

    /// The same for what counts as `cost`. What costs more than a limit ever has is never allowed, and has no
    /// [`retry_after`](Verdict::retry_after).
    ///
    /// # Cost
    /// As [`check`](Self::check); a sliding log keeps `cost` marks, so O(cost log n).
    ///
    /// # Errors
    /// As [`check`](Self::check), and [`ErrorKind::Config`] for a cost of 0: to look, [`peek`](Self::peek).
    pub async fn check_n<K: ToKey + ?Sized>(&self, key: &K, cost: u32) -> Result<Verdict, Error> {
        if cost == 0 {
            let text = format!("{}: cost is 0; it is at least 1, and peek looks", self.0.shape);
            return Err(Error::new(ErrorKind::Config, text));
        }
        self.judge(self.0.shape.of(key)?, cost, Taking::Yes).await
    }

    /// What [`check`](Self::check) would say now. Takes nothing.
    ///
    /// # Cost, errors
    /// As [`check`](Self::check).
    pub async fn peek<K: ToKey + ?Sized>(&self, key: &K) -> Result<Verdict, Error> {
        self.judge(self.0.shape.of(key)?, 1, Taking::No).await
    }

    /// Forgets what this key's owner has taken: here and in Redis, not what other processes counted for themselves
    /// while Redis was down.
    ///
    /// # Cost
    /// One round trip, O(n) for a sliding log of n, in the server's background.
    ///
    /// # Errors
    /// [`ErrorKind::Far`], [`ErrorKind::Unconfirmed`]: Redis did not do it, or did not say so. Repeating it is
    /// harmless.
    pub async fn reset<K: ToKey + ?Sized>(&self, key: &K) -> Result<(), Error> {
        let inner = &*self.0;
        let of = inner.shape.of(key)?;
        inner.ground.check_open(&inner.shape)?;
        inner.table.remove(of.part("all").bytes(), inner.ground.clock().now());
        match inner.ground.side() {
            Side::Memory(_) => Ok(()),
            #[cfg(feature = "redis")]
            Side::Redis(commands) => match redis::reset(&of, &inner.limits) {
                Some(call) => {
                    let asked = commands.ask(call).await;
                    asked.map(drop).map_err(|why| not_done(&of, "reset", why))
                }
                None => Ok(()),
            },
        }
    }

    /// The limits, in the order in which they were given.
    pub fn limits(&self) -> &[Limit] {
        &self.0.limits
    }

    /// What is done when Redis does not judge.
    pub fn when_down(&self) -> WhenDown {
        self.0.when_down
    }

    async fn judge(&self, of: Shape, cost: u32, taking: Taking) -> Result<Verdict, Error> {
        let inner = &*self.0;
        inner.ground.check_open(&inner.shape)?;
        match inner.ground.side() {
            Side::Memory(_) => Ok(inner.here(&of, &inner.limits, Judge::Shared, cost, taking)),
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let clock = inner.ground.clock();
                let call = redis::judge(&of, &inner.limits, cost, taking, &clock.nonce());
                let asked = clock.within(inner.deadline, commands.ask(call)).await;
                let answered = asked.unwrap_or(Err(crate::error::FarError::Slow));
                let judged =
                    answered.and_then(|answer| redis::judged(answer.into(), &inner.limits));
                match judged {
                    Ok((allowed, each)) => Ok(Verdict::of(allowed, Judge::Shared, each)),
                    Err(crate::error::FarError::Closed) => {
                        Err(not_done(&of, "check", crate::error::FarError::Closed))
                    }
                    Err(why) if redis::is_wrong_type(&why) => Err(not_done(&of, "check", why)),
                    Err(why) => {
                        tracing::debug!(limiter = %inner.shape, %why, "redis did not judge");
                        Ok(inner.alone(&of, cost, taking))
                    }
                }
            }
        }
    }
}

impl Inner {
    /// What this process has counted.
    fn here(
        &self,
        of: &Shape,
        limits: &[Limit],
        judge: Judge,
        cost: u32,
        taking: Taking,
    ) -> Verdict {
        let (name, now) = (of.part("all"), self.ground.clock().now());
        let (allowed, each) = memory::judge(&self.table, name.bytes(), limits, now, cost, taking);
        Verdict::of(allowed, judge, each)
    }

    /// Without Redis.
    #[cfg(feature = "redis")]
    fn alone(&self, of: &Shape, cost: u32, taking: Taking) -> Verdict {
        let nobody = |allowed: bool| {
            let standing = |limit: &Limit| LimitStanding {
                limit: *limit,
                remaining: if allowed { limit.quota() } else { 0 },
                // By then it may have been found again.
                wait: if allowed { Wait::Not } else { Wait::For(SECOND) },
                reset_after: Duration::ZERO,
            };
            Verdict::of(allowed, Judge::Nobody, self.limits.iter().map(standing).collect())
        };
        match self.when_down {
            WhenDown::Open => nobody(true),
            WhenDown::Closed => nobody(false),
            WhenDown::Local { .. } => self.for_itself(of, cost, taking),
        }
    }

    /// This process' share. What is more than that and not more than the whole is allowed again when Redis is back,
    /// which may be soon.
    #[cfg(feature = "redis")]
    fn for_itself(&self, of: &Shape, cost: u32, taking: Taking) -> Verdict {
        let mut verdict = self.here(of, &self.shares, Judge::Local, cost, taking);
        for (standing, whole) in verdict.standings.iter_mut().zip(&self.limits) {
            if standing.wait == Wait::Forever && u64::from(cost) <= whole.quota() {
                standing.wait = Wait::For(SECOND);
            }
        }
        Verdict::of(verdict.allowed, Judge::Local, verdict.standings)
    }
}
