//! A loop that claims jobs and hands them to a function.
//!
//! One task claims, and owns a task for each job under way. It ends with its [`Worker`]; jobs that were under way
//! then are handed out again when their visibility is over.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::job::{Delivery, Finished, Hold, Job};
use super::{CLAIM_MAX, Queue};
use crate::clock::{Clock, Pauses};
use crate::error::{Error, ErrorKind};

const AT_ONCE_MAX: usize = 1000;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long one claim waits: a stop waits for it too.
const CLAIM_WAIT: Duration = Duration::from_secs(1);
/// How often the end of a job is told before it is left to come again.
const TELL_TRIES: usize = 5;

/// Jobs are being worked on, until it is [stopped](Self::stop) or dropped.
#[must_use = "the work stops when this is dropped"]
#[derive(Debug)]
pub struct Worker {
    stop: watch::Sender<bool>,
    running: watch::Receiver<usize>,
    claiming: JoinHandle<()>,
    clock: Clock,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.claiming.abort();
    }
}

impl Worker {
    /// How many jobs are under way now.
    pub fn under_way(&self) -> usize {
        *self.running.borrow()
    }

    /// Claims no more, and waits for what is under way up to `deadline`. Says how many jobs were left: their work is
    /// dropped where it waits, and they are handed out again when their visibility is over.
    pub async fn stop(mut self, deadline: Duration) -> usize {
        let _ = self.stop.send(true);
        match self.clock.clone().within(deadline, &mut self.claiming).await {
            Some(_) => 0,
            None => self.under_way(),
        }
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Queue<T> {
    /// Works on jobs, up to `at_once` at the same time, until the [`Worker`] is stopped or dropped.
    ///
    /// `work` is given the body and the [`Delivery`]. When it is `Ok` the job is finished; when it fails or panics
    /// the job has failed, and comes again or becomes a dead letter. While Redis is away it is asked again, with
    /// growing pauses of at most five seconds.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
    /// # let larder = larder::Larder::builder("doc").open().await?;
    /// use larder::structures::Queue;
    ///
    /// let mails: Queue<String> = larder.queue("mails").open()?;
    /// let worker = mails.run(8, |mail, delivery| async move {
    ///     println!("{}: {mail}", delivery.id);
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// mails.push(&"to ann".to_owned()).await?;
    /// assert_eq!(worker.stop(larder::MINUTE).await, 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: `at_once` is not from 1 to 1,000, or this is not called in a tokio runtime.
    pub fn run<F, Working, E>(&self, at_once: usize, work: F) -> Result<Worker, Error>
    where
        F: Fn(T, Delivery) -> Working + Send + Sync + 'static,
        Working: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let shape = &self.inner.shape;
        if !(1..=AT_ONCE_MAX).contains(&at_once) {
            let text = format!("{shape}: at_once is from 1 to {AT_ONCE_MAX}, not {at_once}");
            return Err(Error::new(ErrorKind::Config, text));
        }
        let runtime = Handle::try_current().map_err(|_| {
            Error::new(ErrorKind::Config, format!("{shape}: run is called in a tokio runtime"))
        })?;
        let (stop, stopped) = watch::channel(false);
        let (count, running) = watch::channel(0);
        let queue = self.clone();
        let claiming = async move { queue.work_on(at_once, Arc::new(work), stopped, count).await };
        let clock = self.inner.clock().clone();
        Ok(Worker { stop, running, claiming: runtime.spawn(claiming), clock })
    }

    async fn work_on<F, Working, E>(
        self,
        at_once: usize,
        work: Arc<F>,
        mut stopped: watch::Receiver<bool>,
        count: watch::Sender<usize>,
    ) where
        F: Fn(T, Delivery) -> Working + Send + Sync + 'static,
        Working: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let clock = self.inner.clock().clone();
        let pauses = || Pauses::new(&clock, FIRST_PAUSE, LONGEST_PAUSE);
        let mut pausing = pauses();
        let mut under_way = JoinSet::new();
        let is_stopped = |stopped: &watch::Receiver<bool>| *stopped.borrow();
        while !is_stopped(&stopped) {
            while under_way.try_join_next().is_some() {}
            count.send_replace(under_way.len());
            if under_way.len() >= at_once {
                tokio::select! {
                    _ = under_way.join_next() => {}
                    _ = stopped.changed() => {}
                }
                continue;
            }
            // Never dropped while it waits: what was on its way would have to wait for its visibility.
            let room = (at_once - under_way.len()).min(CLAIM_MAX);
            match self.claim_many(room, CLAIM_WAIT).await {
                Ok(jobs) => {
                    pausing = pauses();
                    for job in jobs {
                        if is_stopped(&stopped) {
                            let _ = job.give_back().await; // or it comes again by itself
                            continue;
                        }
                        let (work, queue) = (work.clone(), self.clone());
                        under_way.spawn(async move { queue.work(job, work).await });
                    }
                }
                Err(why) if why.kind() == ErrorKind::Closed => break,
                Err(why) => {
                    tracing::warn!(queue = %self.inner.shape, %why, "cannot claim jobs, tried again");
                    tokio::select! {
                        () = pausing.pause() => {}
                        _ = stopped.changed() => {}
                    }
                }
            }
        }
        while under_way.join_next().await.is_some() {
            count.send_replace(under_way.len());
        }
        count.send_replace(0);
    }

    async fn work<F, Working, E>(&self, job: Job<T>, work: Arc<F>)
    where
        F: Fn(T, Delivery) -> Working + Send + Sync + 'static,
        Working: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let (body, hold) = job.into_parts();
        let delivery = hold.delivery();
        // In a set of its own, so that a panic is its and it is dropped with us.
        let mut alone = JoinSet::new();
        alone.spawn(async move { work(body, delivery).await });
        let failed = match alone.join_next().await {
            Some(Ok(Ok(()))) => None,
            Some(Ok(Err(why))) => Some(why.to_string()),
            Some(Err(why)) if why.is_panic() => Some("the work panicked".to_owned()),
            Some(Err(_)) | None => return, // the runtime is ending
        };
        self.tell(&hold, failed.as_deref()).await;
    }

    /// Says how it ended, a few times if need be.
    async fn tell(&self, hold: &Hold, failed: Option<&str>) {
        let mut pauses = Pauses::new(self.inner.clock(), FIRST_PAUSE, LONGEST_PAUSE);
        let (shape, id) = (&self.inner.shape, hold.delivery().id);
        for tries in 1..=TELL_TRIES {
            let told = match failed {
                None => hold.finish().await.map(|finished| finished == Finished::Lost),
                Some(why) => hold.fail(why).await.map(|_| false),
            };
            match told {
                Ok(true) if tries == 1 => {
                    tracing::warn!(queue = %shape, job = %id, "was another's when its work was done");
                    return;
                }
                Ok(_) => return, // lost at a later try: the one before may have been heard
                Err(why) if why.kind() == ErrorKind::Closed || tries == TELL_TRIES => {
                    tracing::warn!(queue = %shape, job = %id, %why, "its end was not told, it comes again");
                    return;
                }
                Err(_) => pauses.pause().await,
            }
        }
    }
}
