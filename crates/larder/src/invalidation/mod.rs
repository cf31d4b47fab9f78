//! How an entry ends before its time: by key, by tag, by news from elsewhere.
//!
//! It ends for good, or softly: then it is no longer fresh, and stays to stand in for a source that fails.
//! A writer that opens a [guard](guard) first keeps every load out until its commit is behind it.
//!
//! An end is told to near and to the flights before it is sent and again after it was confirmed, so
//! that no caller who begins after `Ok` is served what it ended. One that is not confirmed waits in
//! near's [bypass](crate::near::Bypass), is sent again until it is, and meanwhile near does not serve
//! the key. While the breaker is open it waits there from the start, so that its caller need not: it is sent
//! all the same. An end by key reaches the schemas next to its own: the other version of a rolling
//! deploy. What waits is lost with the process: its entries then live to their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::clock::{Clock, Pauses};
use crate::coordination::flight::Flights;
use crate::entry::{Ended, EndedName, SoftHalf};
use crate::error::{Error, ErrorKind, FarError};
use crate::far::Far;
use crate::key::Tag;
use crate::near::Near;
use crate::observe::{Event, Observe};
use crate::resilience::behind::Behind;

use replay::Replay;

pub(crate) mod by_tag;
pub(crate) mod coherence;
pub(crate) mod guard;
pub(crate) mod replay;

/// How many ends go in one trip when they are sent again.
const BATCH: usize = 512;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// As far is told: a key is ended under the schemas next to its own as well.
///
/// While a service is deployed its old and its new version run side by side, each with entries of its own.
/// A version knows what its number is, and not which other is out there; what one of them wrote to the
/// database must not live on in the entries of the other. A tag stands under no schema.
fn with_neighbours(ended: &[Ended]) -> Vec<Ended> {
    let mut all = Vec::with_capacity(3 * ended.len());
    for name in ended {
        all.push(name.clone());
        if let EndedName::Key(key) = name.name() {
            all.extend(key.beside().filter_map(|key| name.of_key(key)));
        }
    }
    all
}

/// Something to end: an entry, a user's part of a cache, a tag.
#[derive(Clone, Debug)]
#[must_use = "ends nothing by itself: pass it to `Larder::invalidate`"]
pub struct Target(pub(crate) Result<Ended, Error>);

impl From<Tag> for Target {
    fn from(tag: Tag) -> Target {
        Target(Ok(Ended::Tag(tag)))
    }
}

/// Ends entries.
#[derive(Clone)]
pub(crate) struct Ends {
    pub(crate) near: Arc<Near>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) far: Arc<dyn Far>,
    pub(crate) observe: Observe,
    pub(crate) clock: Clock,
    pub(crate) behind: Arc<Behind>,
    /// Of those that write through.
    pub(crate) writes: Arc<Behind>,
    /// Rung when something waits.
    pub(crate) waiting: Arc<Notify>,
    pub(crate) replay: Arc<Replay>,
    /// Held while ends that waited are sent, so that none of them is on its way behind a put's back.
    pub(crate) resending: Arc<tokio::sync::Mutex<()>>,
    /// Names whose end was sent, or is about to be, and has no answer yet.
    pub(crate) under_way: Arc<AtomicUsize>,
    /// Who carries the tags that end.
    #[cfg(feature = "structures")]
    pub(crate) members: Arc<crate::far::members::Members>,
}

/// Counts names among those under way, whatever becomes of the task.
pub(crate) struct UnderWay(Arc<AtomicUsize>, usize);

impl UnderWay {
    fn begin(count: &Arc<AtomicUsize>, names: usize) -> UnderWay {
        count.fetch_add(names, Ordering::AcqRel);
        UnderWay(count.clone(), names)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::AcqRel);
    }
}

impl Ends {
    /// Ends all, in one trip. Goes on to its end when the caller is dropped.
    pub(crate) async fn end(&self, ended: Vec<Ended>) -> Result<(), Error> {
        if ended.is_empty() {
            return Ok(());
        }
        let ending = self.end_behind(ended)?;
        ending.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "the runtime stopped")))
    }

    /// The same for those who cannot wait. Where too many are under way they are queued at once.
    fn end_behind(&self, ended: Vec<Ended>) -> Result<JoinHandle<Result<(), Error>>, Error> {
        let Some(room) = self.behind.room() else {
            self.forget(&ended);
            return Err(self.queue(&ended, FarError::Crowded));
        };
        let (this, under_way) = (self.clone(), UnderWay::begin(&self.under_way, ended.len()));
        Ok(room.run(async move {
            let answer = this.end_all(ended).await;
            drop(under_way);
            answer
        }))
    }

    fn soft_half(&self) -> SoftHalf {
        let mut half = SoftHalf::default();
        let most = half.len();
        half.copy_from_slice(&self.clock.nonce()[..most]);
        half
    }

    /// One name more that has no answer yet, for as long as this is held.
    pub(crate) fn one_under_way(&self) -> UnderWay {
        UnderWay::begin(&self.under_way, 1)
    }

    /// How many names wait for their first answer.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Acquire)
    }

    async fn end_all(&self, ended: Vec<Ended>) -> Result<(), Error> {
        self.forget(&ended);
        // Before it is sent: its answer may come from a server that is lost before we look at it.
        self.replay.remember(&ended, self.clock.now());
        // Nobody waits for a server that is known to be in trouble: it is told by `send_again`, and at once.
        let answer = match self.far.admits(&ended) {
            Ok(()) => self.far.end(&with_neighbours(&ended), self.soft_half()).await,
            Err(why) => Err(why),
        };
        let Err(why) = answer else {
            // Our own news come over the other connection, and may be later than the reply.
            self.forget(&ended);
            self.free(&ended);
            return Ok(());
        };
        if why == FarError::Closed {
            self.forget(&ended);
            let text = "an invalidation was not sent: larder was closed";
            return Err(Error::new(ErrorKind::Closed, text));
        }
        Err(self.queue(&ended, why))
    }

    /// To be sent again, and not to be served meanwhile. The error says so.
    fn queue(&self, ended: &[Ended], why: FarError) -> Error {
        if !self.near.bypass.add(ended) {
            self.forget(ended);
            tracing::error!(ends = ended.len(), %why, "an invalidation was not confirmed, and not queued: too many wait");
            let text = "an invalidation was not confirmed, and too many wait already: it was not queued, send it again";
            return Error::new(ErrorKind::Overloaded, text).because(why);
        }
        // After the bypass stands: whatever got in between is not served.
        self.forget(ended);
        self.observe.tell(Event::Unconfirmed { waiting: self.near.bypass.len() });
        self.waiting.notify_one();
        let text =
            "an invalidation was not confirmed by redis: it is queued and sent again until it is";
        Error::new(ErrorKind::Unconfirmed, text).because(why)
    }

    /// Here, now: no near copy, no known generation, no flight to board.
    pub(crate) fn forget(&self, ended: &[Ended]) {
        for name in ended {
            match name.name() {
                EndedName::Key(key) => {
                    self.near.drop_key(key.v());
                    // What ended softly is still there.
                    if !matches!(name, Ended::SoftKey(_)) {
                        self.near.absent.mark(key.v());
                    }
                    self.flights.detach(key.v());
                }
                EndedName::Tag(tag) => self.near.generations.empty(tag),
            }
        }
    }

    /// What the tags among them ended is of no use any more: its memory is given back in the background.
    fn free(&self, ended: &[Ended]) {
        #[cfg(feature = "structures")]
        for name in ended {
            if let Ended::Tag(tag) = name {
                self.members.ended(tag);
            }
        }
        #[cfg(not(feature = "structures"))]
        let _ = ended;
    }

    /// Sends again what was not confirmed, until it is. Runs until the process stops it.
    pub(crate) async fn send_again(self) {
        let first = || Pauses::new(&self.clock, FIRST_PAUSE, LONGEST_PAUSE);
        let mut pauses = first();
        let mut batch = BATCH;
        loop {
            self.replay();
            if self.near.bypass.is_empty() {
                self.waiting.notified().await;
                pauses = first();
                continue;
            }
            self.far.is_back().await;
            // Looked at only now: while we waited a put may have taken a name's place.
            let turn = self.resending.lock().await;
            let some = self.near.bypass.some(batch);
            let answer = self.end_waiting(&some).await;
            drop(turn);
            match (answer, some.as_slice()) {
                (Ok(()), _) => {
                    batch = (2 * batch).min(BATCH);
                    pauses = first();
                    continue;
                }
                (Err(FarError::Closed), _) => {}
                // The others need not wait for it.
                (Err(_), [(name, _)]) => self.near.bypass.postpone(name),
                // One of them may be refused, or lie where nobody answers; or all may be too many for the time
                // there is.
                (Err(_), _) => {
                    batch = (some.len() / 2).max(1);
                    continue;
                }
            }
            pauses.pause().await;
        }
    }

    /// Sends ends that wait, and takes those out that are confirmed. With [`resending`](Self::resending) held.
    pub(crate) async fn end_waiting(&self, some: &[(Ended, u64)]) -> Result<(), FarError> {
        let names: Vec<Ended> = some.iter().map(|(name, _)| name.clone()).collect();
        self.replay.remember(&names, self.clock.now());
        self.far.end(&with_neighbours(&names), self.soft_half()).await?;
        self.forget(&names);
        self.free(&names);
        self.near.bypass.remove(some);
        self.observe.tell(Event::Confirmed { waiting: self.near.bypass.len() });
        Ok(())
    }

    /// Queues what another server process may not have heard of.
    fn replay(&self) {
        let mut again = self.replay.take_due(self.clock.now());
        let lost = again.split_off(again.len().min(self.near.bypass.room()));
        if !lost.is_empty() {
            tracing::error!(
                ends = lost.len(),
                "some ends of the last minute are not sent again to the redis process that took over: too many wait already"
            );
        }
        if self.near.bypass.add(&again) {
            self.forget(&again);
        }
    }
}
