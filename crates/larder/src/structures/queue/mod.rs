//! Jobs that are done at least once: [`Queue`].
//!
//! A job is pushed, claimed by one worker at a time, and gone when that worker says that it is finished. A worker
//! that dies, or is silent for longer than the visibility, loses it to another; one that comes late cannot finish
//! what another has. Every change is one script on one server, so two who push or claim at once never see half
//! of the other's step. When a job is handed out next, and what becomes of one that fails again and again, is
//! decided in those scripts; how long to wait, and when to look again, here.
//!
//! In Redis a queue is a stream with a group, a sorted set of what comes later, and a stream of dead letters, all
//! of one slot: `docs/concepts/queues.md`. What waits in a process' memory is only who waits: a process that dies
//! leaves nothing behind but its claims, which run out.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::entry::{Codec, Encoded};
use crate::error::{Error, ErrorKind};
use crate::key::Shape;
use crate::structures::{Ground, bounds};

mod builder;
mod dead;
mod job;
mod memory;
#[cfg(feature = "redis")]
pub(super) mod redis;
mod worker;

pub use builder::QueueBuilder;
pub use dead::{DeadLetter, Replayed};
pub use job::{Delivery, Extended, Finished, Job, JobId, Retried};
pub use worker::Worker;

/// The most that one call takes.
const CLAIM_MAX: usize = 100;
/// Why a job died that nobody said anything about.
const NO_WORD: &str = "no worker that took it has said how it ended";

/// Jobs that are done at least once. Cheap to clone; all clones are one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
/// use larder::structures::{Finished, Queue};
/// use larder::{Larder, SECOND};
///
/// let larder = Larder::builder("shop").open().await?; // .redis("redis://..") for a fleet
/// let mails: Queue<String> = larder.queue("mails").open()?;
/// mails.push(&"to ann".to_owned()).await?;
///
/// let job = mails.claim(SECOND).await?.expect("the one that was pushed");
/// assert_eq!(job.body(), "to ann");
/// assert_eq!(job.finish().await?, Finished::Done);
/// # Ok(()) }
/// ```
///
/// # What at least once means
/// A job whose push was `Ok` is handed out until a worker has finished it, failed it for good, or somebody
/// removed it. It is handed out twice when a worker dies after its work and before `finish`, when it is silent for
/// longer than the visibility (and goes on all the same), or when Redis loses the `finish` (a failover, a restart
/// without persistence). So what a worker does must bear being done twice: look at [`Delivery::id`], which
/// stays the same. It is lost only with Redis' own memory.
///
/// # Two handles on one name
/// share the jobs. Settings belong to the handle: bounds hold for who pushes, visibility and attempts for who claims.
/// Give them the same.
pub struct Queue<T> {
    inner: Arc<Inner>,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Queue<T> {
        Queue { inner: self.inner.clone(), of: PhantomData }
    }
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("name", &self.inner.shape.to_string()).finish_non_exhaustive()
    }
}

struct Inner {
    ground: Ground,
    shape: Shape,
    rules: Rules,
    place: Place,
}

enum Place {
    #[cfg(feature = "redis")]
    Redis(Box<redis::Stream>),
    Memory(Arc<memory::Desk>),
}

/// What was settled: see [`QueueBuilder`], where the defaults are.
#[derive(Clone, Debug)]
struct Rules {
    jobs_max: u64,
    body_bytes_max: usize,
    visibility: Duration,
    renew_for: Duration,
    attempts_max: u32,
    backoff: (Duration, Duration),
    once_for: Duration,
    dead_max: u64,
    look_every: Duration,
    codec: Codec,
}

/// A job as it is kept.
#[derive(Clone, Debug)]
struct Record {
    /// Of the job; of a dead letter its place.
    id: String,
    /// How many attempts have failed, those of this claim not counted.
    failed: u32,
    pushed_ms: u64,
    body: Arc<[u8]>,
    error: Option<String>,
}

/// A job that is ours, as long as it is at this entry and was handed out so many times.
#[derive(Clone, Debug)]
struct Claimed {
    entry: String,
    deliveries: u32,
    record: Record,
}

#[derive(Clone, Copy, Debug)]
enum Due {
    Now,
    In(Duration),
    /// Milliseconds since 1970.
    At(u64),
}

struct Push<'a> {
    job: &'a str,
    body: &'a [u8],
    due: Due,
    once: Option<&'a [u8]>,
}

enum Pushed {
    Done,
    /// It was before; of a dead letter: there is none.
    Known,
    Full,
    /// Too many names that jobs were pushed once under.
    Crowded,
}

struct Batch {
    jobs: Vec<Claimed>,
    /// In how long the next job is due that comes later.
    next: Option<Duration>,
    buried: usize,
}

struct Failed<'a> {
    again_in: Duration,
    attempts_max: u32,
    dead_max: u64,
    why: &'a str,
}

enum Buried {
    Yes,
    No,
    Lost,
}

struct Figures {
    waiting: u64,
    claimed: u64,
    later: u64,
    dead: u64,
    oldest: Option<Duration>,
}

/// How much there is in a queue.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// Jobs that nobody has claimed yet.
    pub waiting: u64,
    /// Jobs that a worker has, or had when it died.
    pub claimed: u64,
    /// Jobs that are due later: delayed ones, and those that failed.
    pub later: u64,
    /// Jobs that were given up.
    pub dead: u64,
    /// For how long the oldest job that is waiting or claimed has been there since it was due. The figure to watch.
    pub oldest: Option<Duration>,
}

/// What became of a push under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushedOnce {
    /// It was pushed.
    Pushed(JobId),
    /// A job was pushed under this name within the window: nothing was done.
    Known,
}

impl Inner {
    fn clock(&self) -> &Clock {
        self.ground.clock()
    }

    fn is_open(&self) -> Result<(), Error> {
        self.ground.check_open(&self.shape)
    }

    async fn push(&self, push: Push<'_>) -> Result<Pushed, Error> {
        self.is_open()?;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(stream) => stream.push(push, &self.rules).await,
            Place::Memory(desk) => Ok(desk.push(push, &self.rules, self.clock())),
        }
    }

    async fn take(&self, most: usize) -> Result<Batch, Error> {
        self.is_open()?;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(stream) => stream.take(most, &self.rules).await,
            Place::Memory(desk) => Ok(desk.take(most, &self.rules, self.clock())),
        }
    }

    async fn wait(&self, most: usize, wait: Duration) -> Vec<Claimed> {
        let _ = most;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(stream) => stream.wait(most, wait).await,
            Place::Memory(desk) => {
                desk.wait(wait, self.clock()).await;
                Vec::new()
            }
        }
    }

    async fn finish(&self, job: &Claimed) -> Result<bool, Error> {
        self.is_open()?;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(stream) => stream.finish(job).await,
            Place::Memory(desk) => Ok(desk.finish(job)),
        }
    }

    async fn fail(&self, job: &Claimed, failed: Failed<'_>) -> Result<Buried, Error> {
        self.is_open()?;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(stream) => stream.fail(job, failed).await,
            Place::Memory(desk) => Ok(desk.fail(job, failed, self.clock())),
        }
    }

    async fn extend(&self, job: &Claimed, idle: Duration) -> Result<bool, Error> {
        self.is_open()?;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(stream) => stream.extend(job, idle).await,
            Place::Memory(desk) => Ok(desk.extend(job, idle, self.clock())),
        }
    }

    async fn stats(&self) -> Result<Figures, Error> {
        self.is_open()?;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(stream) => stream.stats().await,
            Place::Memory(desk) => Ok(desk.stats(self.clock())),
        }
    }

    /// Waits for jobs, up to `most`, for as long as `wait`.
    async fn claim(&self, most: usize, wait: Duration) -> Result<Vec<Claimed>, Error> {
        let until = self.clock().now().plus(wait);
        loop {
            let batch = self.take(most).await?;
            if batch.buried > 0 {
                tracing::warn!(queue = %self.shape, jobs = batch.buried, "given up: {NO_WORD}");
            }
            let left = until.since(self.clock().now());
            if !batch.jobs.is_empty() || left.is_zero() {
                return Ok(batch.jobs);
            }
            // Nobody tells us when a job becomes due that was pushed meanwhile, or that a worker is gone: so we
            // look again, and not all at the same moment.
            let every = self.rules.look_every;
            let look = every / 2 + self.clock().up_to(every / 2);
            let look = look.min(left).min(batch.next.unwrap_or(look).max(Duration::from_millis(1)));
            let jobs = self.wait(most, look).await;
            if !jobs.is_empty() {
                return Ok(jobs);
            }
        }
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Puts a job at the end.
    ///
    /// # Cost
    /// One round trip; O(log n) in Redis.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`]: the queue is full, and nothing was pushed. [`ErrorKind::Encode`]: the body cannot
    /// be written, or is larger than [`body_bytes_max`](QueueBuilder::body_bytes_max). [`ErrorKind::Far`]: nothing
    /// was pushed. [`ErrorKind::Unconfirmed`]: it may have been; to push again may do the job twice, unless it goes by
    /// [`push_once`](Self::push_once). [`ErrorKind::Closed`] after `close`.
    pub async fn push(&self, body: &T) -> Result<JobId, Error> {
        self.push_due(body, Due::Now).await
    }

    /// As [`push`](Self::push), for a job that is to be done not before `delay` is over, by the server's clock.
    ///
    /// Workers that wait see it within [`look_every`](QueueBuilder::look_every) of that.
    ///
    /// # Errors
    /// As `push`.
    pub async fn push_in(&self, delay: Duration, body: &T) -> Result<JobId, Error> {
        self.push_due(body, Due::In(delay)).await
    }

    /// As [`push_in`](Self::push_in), for a point in time, which the server's clock decides about. What is past is
    /// due now.
    ///
    /// # Errors
    /// As `push`.
    pub async fn push_at(&self, at: SystemTime, body: &T) -> Result<JobId, Error> {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.push_due(body, Due::At(bounds::ms(since))).await
    }

    /// As [`push`](Self::push), and only if nothing was pushed under this name within the window
    /// ([`once_for`](QueueBuilder::once_for)): also when that job is done by now. To repeat it is harmless.
    ///
    /// # Errors
    /// As `push`; [`ErrorKind::Overloaded`] also when a million names are kept. [`ErrorKind::Key`]: the name is empty or
    /// longer than 255 bytes.
    pub async fn push_once(&self, name: &str, body: &T) -> Result<PushedOnce, Error> {
        if name.is_empty() || name.len() > 255 {
            let text = format!(
                "cannot push to {}: the name is of 1 to 255 bytes, not {}",
                self.inner.shape,
                name.len()
            );
            return Err(Error::new(ErrorKind::Key, text));
        }
        let pushed = self.push_as(body, Due::Now, Some(name.as_bytes())).await?;
        Ok(pushed.map_or(PushedOnce::Known, PushedOnce::Pushed))
    }

    async fn push_due(&self, body: &T, due: Due) -> Result<JobId, Error> {
        let pushed = self.push_as(body, due, None).await?;
        pushed.ok_or_else(|| self.full("an answer that is none"))
    }

    async fn push_as(
        &self,
        body: &T,
        due: Due,
        once: Option<&[u8]>,
    ) -> Result<Option<JobId>, Error> {
        let inner = &self.inner;
        let bytes_max = inner.rules.body_bytes_max;
        let body = match inner.rules.codec.encode_readable(body, bytes_max)? {
            Encoded::Bytes(bytes) => bytes,
            Encoded::TooLarge => {
                let shape = &inner.shape;
                let text = format!("cannot push to {shape}: the body is larger than {bytes_max}");
                return Err(Error::new(ErrorKind::Encode, text));
            }
        };
        let nonce = inner.clock().nonce();
        let job: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
        match inner.push(Push { job: &job, body: &body, due, once }).await? {
            Pushed::Done => Ok(Some(JobId(job))),
            Pushed::Known => Ok(None),
            Pushed::Full => Err(self.full("jobs")),
            Pushed::Crowded => Err(self.full("names that jobs are pushed once under")),
        }
    }

    fn full(&self, of: &str) -> Error {
        let Inner { shape, rules, .. } = &*self.inner;
        let text =
            format!("cannot push to {shape}: it is full of {of}, {} at most", rules.jobs_max);
        Error::new(ErrorKind::Overloaded, text)
    }

    /// Takes a job; waits for one for as long as `wait`, which may be zero. `None`: there was none.
    ///
    /// While the [`Job`] is held its claim is renewed. A job that cannot be read becomes a dead letter and is told
    /// in the log; the next one is taken.
    ///
    /// # Cost
    /// One round trip when there is a job. While it waits, the one who waits in this process holds a connection of
    /// its own, and looks again every [`look_every`](QueueBuilder::look_every).
    ///
    /// # Dropping the future
    /// A job that was on its way to it is handed out again when its visibility is over.
    ///
    /// # Errors
    /// [`ErrorKind::Far`]: Redis did not answer, or refused; what it may have handed out comes again.
    /// [`ErrorKind::Closed`] after `close`.
    pub async fn claim(&self, wait: Duration) -> Result<Option<Job<T>>, Error> {
        Ok(self.claim_many(1, wait).await?.pop())
    }

    /// As [`claim`](Self::claim), up to `most` at once, 100 at most. Waits for the first, not for all.
    ///
    /// # Errors
    /// As `claim`.
    pub async fn claim_many(&self, most: usize, wait: Duration) -> Result<Vec<Job<T>>, Error> {
        let until = self.inner.clock().now().plus(wait);
        loop {
            let left = until.since(self.inner.clock().now());
            let claimed = self.inner.claim(most.clamp(1, CLAIM_MAX), left).await?;
            let had = !claimed.is_empty();
            let mut jobs = Vec::with_capacity(claimed.len());
            for one in claimed {
                match self.inner.rules.codec.decode(&one.record.body) {
                    Ok(body) => jobs.push(Job::new(&self.inner, body, one)),
                    Err(why) => self.inner.bury(&one, &why).await,
                }
            }
            // Nothing but what cannot be read: there may be more behind it.
            if !had || !jobs.is_empty() || left.is_zero() {
                return Ok(jobs);
            }
        }
    }

    /// How much there is. One round trip; O(consumers) in Redis.
    ///
    /// # Errors
    /// [`ErrorKind::Far`], [`ErrorKind::Closed`].
    pub async fn stats(&self) -> Result<QueueStats, Error> {
        let Figures { waiting, claimed, later, dead, oldest } = self.inner.stats().await?;
        Ok(QueueStats { waiting, claimed, later, dead, oldest })
    }
}

impl Inner {
    /// Gives up what cannot be read: tried again it would be no better.
    async fn bury(&self, job: &Claimed, why: &Error) {
        let why = format!("cannot be read: {why}");
        let dead_max = self.rules.dead_max;
        let failed = Failed { again_in: Duration::ZERO, attempts_max: 0, dead_max, why: &why };
        let id = &job.record.id;
        match self.fail(job, failed).await {
            Ok(_) => tracing::warn!(queue = %self.shape, job = %id, %why, "given up"),
            Err(error) => tracing::warn!(
                queue = %self.shape, job = %id, %why, %error, "could not be given up, and comes again"
            ),
        }
    }
}
