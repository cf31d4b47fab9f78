//! One job in the hands of a worker.
//!
//! While it is held a task of its own renews the claim, every third of the visibility; it ends with the job, and
//! what is lost with the process is the claim alone, which runs out.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::AbortHandle;

use super::{Buried, Claimed, Failed, Inner};
use crate::error::{Error, ErrorKind};

/// What is kept of an error.
const ERROR_BYTES_MAX: usize = 1000;

/// What a job is called, from its push to its end: the same in every attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobId(pub(super) String);

impl JobId {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which job it is, and the how manieth attempt.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The same in every attempt: by it work that was done already can be told.
    pub id: JobId,
    /// 1 for the first.
    pub attempt: u32,
    /// When it was pushed, by the server's clock.
    pub pushed_at: SystemTime,
}

/// Whether a job was still ours to finish.
#[must_use = "a job that was lost is another's, and may be done twice"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It is done and gone.
    Done,
    /// Another has it, or it is gone already: its visibility was over. It was not touched.
    Lost,
}

/// What became of a job that failed.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It comes again, in so long.
    In(Duration),
    /// It was tried often enough and is a dead letter.
    Dead,
    /// Another has it, or it is gone already. It was not touched.
    Lost,
}

/// Whether a job is still ours.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    /// It is, for another visibility.
    Held,
    /// Another has it, or it is gone already.
    Lost,
}

/// A job that is ours until it is finished, failed, or its visibility is over.
///
/// One that is dropped without a word is handed out again when its visibility is over; to be quicker,
/// [`give_back`](Self::give_back).
pub struct Job<T> {
    body: T,
    hold: Hold,
}

impl<T: fmt::Debug> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("id", &self.hold.claimed.record.id).finish_non_exhaustive()
    }
}

/// The claim, without what was claimed.
pub(super) struct Hold {
    inner: Arc<Inner>,
    claimed: Arc<Claimed>,
    lost: Arc<AtomicBool>,
    /// Renews the claim; stopped when this is dropped.
    heart: AbortHandle,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

impl<T> Job<T> {
    pub(super) fn new(inner: &Arc<Inner>, body: T, claimed: Claimed) -> Job<T> {
        let (claimed, lost) = (Arc::new(claimed), Arc::new(AtomicBool::new(false)));
        let beating = beat(inner.clone(), claimed.clone(), lost.clone());
        let heart = tokio::spawn(beating).abort_handle();
        Job { body, hold: Hold { inner: inner.clone(), claimed, lost, heart } }
    }

    /// What was pushed.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// Which job it is, and the how manieth attempt.
    pub fn delivery(&self) -> Delivery {
        self.hold.delivery()
    }

    /// Has another taken it over, as far as we have heard? What is done now may be done twice.
    pub fn is_lost(&self) -> bool {
        self.hold.lost.load(Ordering::Acquire)
    }

    /// It is done: it is taken out of the queue, if it is still ours.
    ///
    /// # Cost
    /// One round trip; O(log n) in Redis.
    ///
    /// # Errors
    /// [`ErrorKind::Far`]: it was not taken out; try again. [`ErrorKind::Unconfirmed`]: it may have been: to finish again is
    /// harmless, and says [`Finished::Lost`] if the first time was heard. [`ErrorKind::Closed`] after `close`.
    pub async fn finish(&self) -> Result<Finished, Error> {
        self.hold.finish().await
    }

    /// It did not succeed: it comes again after a pause ([`backoff`](super::QueueBuilder::backoff)), or becomes a
    /// dead letter with this error, when it was tried often enough
    /// ([`attempts_max`](super::QueueBuilder::attempts_max)). Of the error the first 1,000 bytes are kept.
    ///
    /// # Errors
    /// As [`finish`](Self::finish). To fail again is harmless. With a full memory it is [`ErrorKind::Far`], and the job
    /// stays claimed.
    pub async fn fail(&self, error: impl fmt::Display) -> Result<Retried, Error> {
        self.hold.fail(&error.to_string()).await
    }

    /// Says now that work goes on, instead of waiting for the task that does.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub async fn extend(&self) -> Result<Extended, Error> {
        self.hold.extend().await
    }

    /// Leaves it to others, at once, as if it had not been claimed: the attempt is not counted.
    ///
    /// # Errors
    /// As [`finish`](Self::finish). It is let go of whatever the answer is.
    pub async fn give_back(self) -> Result<Extended, Error> {
        self.hold.give_back().await
    }

    pub(super) fn into_parts(self) -> (T, Hold) {
        (self.body, self.hold)
    }
}

impl Hold {
    pub(super) fn delivery(&self) -> Delivery {
        let Claimed { deliveries, record, .. } = &*self.claimed;
        Delivery {
            id: JobId(record.id.clone()),
            attempt: record.failed.saturating_add(*deliveries),
            pushed_at: UNIX_EPOCH + Duration::from_millis(record.pushed_ms),
        }
    }

    pub(super) async fn finish(&self) -> Result<Finished, Error> {
        let done = self.inner.finish(&self.claimed).await?;
        Ok(if self.ends(done) { Finished::Done } else { Finished::Lost })
    }

    pub(super) async fn fail(&self, error: &str) -> Result<Retried, Error> {
        let again_in = self.pause();
        let rules = &self.inner.rules;
        let end = (0..=ERROR_BYTES_MAX).rev().find(|at| error.is_char_boundary(*at));
        let why = error.get(..end.unwrap_or(0).min(error.len())).unwrap_or_default();
        let failed =
            Failed { again_in, attempts_max: rules.attempts_max, dead_max: rules.dead_max, why };
        let buried = self.inner.fail(&self.claimed, failed).await?;
        self.ends(!matches!(buried, Buried::Lost));
        Ok(match buried {
            Buried::No => Retried::In(again_in),
            Buried::Yes => Retried::Dead,
            Buried::Lost => Retried::Lost,
        })
    }

    async fn extend(&self) -> Result<Extended, Error> {
        let held = self.inner.extend(&self.claimed, Duration::ZERO).await?;
        if !held {
            self.ends(false);
        }
        Ok(if held { Extended::Held } else { Extended::Lost })
    }

    pub(super) async fn give_back(self) -> Result<Extended, Error> {
        self.heart.abort(); // or it could renew what was given back
        let held = self.inner.extend(&self.claimed, self.inner.rules.visibility).await?;
        Ok(if held { Extended::Held } else { Extended::Lost })
    }

    /// It is no longer ours: by our own doing, or another's.
    fn ends(&self, ours: bool) -> bool {
        self.heart.abort();
        if !ours {
            self.lost.store(true, Ordering::Release);
        }
        ours
    }

    /// Twice as long with each attempt, the second half left to chance: jobs that failed together are not tried
    /// again together.
    fn pause(&self) -> Duration {
        let (first, longest) = self.inner.rules.backoff;
        let attempt = self.delivery().attempt;
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        let half = first.saturating_mul(doubled).min(longest) / 2;
        half + self.inner.clock().up_to(half)
    }
}

/// Renews a claim for as long as it is told to.
async fn beat(inner: Arc<Inner>, claimed: Arc<Claimed>, lost: Arc<AtomicBool>) {
    let clock = inner.clock().clone();
    let until = clock.now().plus(inner.rules.renew_for);
    let third = inner.rules.visibility / 3;
    let mut pause = third;
    while clock.now().plus(pause) < until {
        clock.sleep(pause).await;
        pause = match inner.extend(&claimed, Duration::ZERO).await {
            Ok(true) => third,
            Ok(false) => {
                lost.store(true, Ordering::Release);
                return;
            }
            Err(why) if why.kind() == ErrorKind::Closed => return,
            // Sooner than the next beat: two thirds of the time are left at best.
            Err(_) => third / 4 + clock.up_to(third / 4),
        };
    }
}
