//! Writes that the source hears of later, and those who tell it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::{Cache, erase};
use crate::entry::{Answered, Codec, Encoded, Value, WriteId};
use crate::error::{Error, ErrorKind};
use crate::far::backlog::{Dead, Replayed};
use crate::invalidation::by_tag;
use crate::key::{Key, ToKey};
use crate::policy::Flushing;
use crate::source::{
    Applied, BoxError, Fence, Fenced, FencedSink, Loaded, PendingWrite, Sink, Version,
    VersionedSink,
};
use crate::strategy::write_behind::{Backstage, Batch, Flush, Outcome, Telling, Worker, Writing};

/// How many calls of a plain sink one worker has under way: each for another key.
const CALLS_AT_ONCE: usize = 16;

/// How much of what was written behind waits.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Backlog {
    /// Writes that the source does not have yet, over all partitions.
    pub waiting: u64,
    /// The most that wait in one partition: at `backlog_max` its writes are pushed back.
    pub waiting_most: u64,
    /// How long the oldest of them has waited, by the server's clock.
    pub oldest: Option<Duration>,
    /// Dead letters.
    pub dead: u64,
}

/// A write that was given up: the source refused it as often as it was tried.
#[derive(Debug)]
pub struct DeadLetter<K, V> {
    /// Whose value it was; an error if the key cannot be read as a `K` any more.
    pub key: Result<K, Error>,
    /// The value; `None`: that there is none any more. An error if it cannot be read.
    pub value: Result<Option<Arc<V>>, Error>,
    /// What the source said last.
    pub reason: String,
    /// How long ago it was given up, by the server's clock.
    pub age: Duration,
    name: Key,
    id: WriteId,
}

/// The writes of a cache that were given up. They are kept until somebody has looked at them.
pub struct DeadLetters<K, V>(Cache<K, V>);

impl<K, V> fmt::Debug for DeadLetters<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeadLetters({:?})", self.0)
    }
}

impl<K, V> Cache<K, V>
where
    K: ToKey + Serialize + DeserializeOwned + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Keeps a value that the source will hear of: acknowledged as soon as Redis has it, and from then on what
    /// everybody reads. [Workers](Self::workers) tell the source soon after, the newest value of each key, in order.
    ///
    /// Only in a cache that [writes behind](super::CacheBuilder::write_behind). Goes on to its end when the caller
    /// is dropped.
    ///
    /// # Cost
    /// One round trip; two with tags; one more for new tags, and once for each server.
    ///
    /// # Errors
    /// [`ErrorKind::Unconfirmed`]: sent once and not answered, it may have been kept, or may be later, over a newer
    /// one: read before you write again. [`ErrorKind::Overloaded`]: as many writes wait as may, and nothing was
    /// changed. [`ErrorKind::Far`]: Redis is not there, and nothing was changed. [`ErrorKind::Encode`]: too large, or
    /// no bytes. [`ErrorKind::Config`]: the cache does not write behind, or Redis throws away what it is given.
    pub async fn write_behind(&self, key: &K, value: impl Into<Loaded<V>>) -> Result<(), Error> {
        self.queue(key, erase(value.into())).await
    }

    /// The same for a value that is to go: readers are told that there is none, and the source will be told to
    /// [remove](Sink::remove) it.
    ///
    /// # Cost, errors
    /// As [`write_behind`](Self::write_behind).
    pub async fn remove_behind(&self, key: &K) -> Result<(), Error> {
        self.queue(key, Loaded::new(None)).await
    }

    async fn queue(&self, key: &K, loaded: Loaded<Option<Value>>) -> Result<(), Error> {
        let backstage = self.backstage()?;
        let call = self.call(key, true)?;
        let bound = self.shared.policy.value_bytes_max;
        let typed = match self.shared.codec.encode_readable(key, bound)? {
            Encoded::Bytes(bytes) => bytes,
            Encoded::TooLarge => {
                let text = format!("a key is longer than {bound} bytes for its sink");
                return Err(Error::new(ErrorKind::Encode, text).at(&call.key));
            }
        };
        let ends = self.shared.larder.ends();
        self.shared.tiers.write_behind(ends, backstage, call, loaded, typed).await
    }

    fn backstage(&self) -> Result<&Arc<Backstage>, Error> {
        self.shared.backstage.as_ref().ok_or_else(|| {
            let text = format!(
                "cache {} does not write behind: say so when it is opened, by CacheBuilder::write_behind",
                self.shared.name
            );
            Error::new(ErrorKind::Config, text)
        })
    }

    /// Workers that tell `sink` what was written behind, by this process or any other: see [`Workers`].
    ///
    /// With a plain sink each key's writes arrive in order and none that was acknowledged is lost, **while one
    /// worker at a time can reach the database**. A worker that was stopped in the middle of a call (`SIGSTOP`, a
    /// suspended machine), or killed with a query on its way, can land that call after another has taken its place,
    /// and leave the older value for good. The next one waits for the lease and the sink's deadline, so this is
    /// rare, and not impossible: where it matters, see [`workers_versioned`](Self::workers_versioned).
    pub fn workers<S: Sink<K, V>>(&self, sink: S) -> Workers<K, V> {
        let (sink, reads) = (Arc::new(sink), self.reads());
        Workers::new(self, Arc::new(Plain { sink, reads }))
    }

    /// Workers for a sink that keeps a version with each value: late calls are refused, whatever happens to workers.
    pub fn workers_versioned<S: VersionedSink<K, V>>(&self, sink: S) -> Workers<K, V> {
        let (sink, reads) = (Arc::new(sink), self.reads());
        Workers::new(self, Arc::new(Versioned { sink, reads }))
    }

    /// Workers for a sink that keeps a fence for each partition: the same promise.
    pub fn workers_fenced<S: FencedSink<K, V>>(&self, sink: S) -> Workers<K, V> {
        let (sink, reads) = (Arc::new(sink), self.reads());
        Workers::new(self, Arc::new(Guarded { sink, reads }))
    }

    fn reads(&self) -> Reads<K, V> {
        Reads { codec: self.shared.codec, types: PhantomData }
    }

    /// How much waits for the source: alarm on all of it.
    ///
    /// # Cost
    /// One round trip.
    ///
    /// # Errors
    /// [`ErrorKind::Far`], [`ErrorKind::Config`].
    pub async fn backlog(&self) -> Result<Backlog, Error> {
        let (backstage, tiers) = (self.backstage()?, &self.shared.tiers);
        let mut backlog = Backlog::default();
        let depths = tiers.depths(backstage).await?;
        for (partition, depth) in backstage.partitions().iter().zip(depths) {
            backlog.waiting += depth.waiting;
            backlog.waiting_most = backlog.waiting_most.max(depth.waiting);
            backlog.dead += depth.dead;
            let age = depth.oldest.map(|oldest| tiers.age_of(partition, oldest));
            backlog.oldest = backlog.oldest.max(age);
        }
        Ok(backlog)
    }

    /// The writes that were given up.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: the cache does not write behind.
    pub fn dead_letters(&self) -> Result<DeadLetters<K, V>, Error> {
        self.backstage()?;
        Ok(DeadLetters(self.clone()))
    }
}

impl<K, V> DeadLetters<K, V>
where
    K: ToKey + Serialize + DeserializeOwned + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// At most so many, the oldest of each partition first.
    ///
    /// # Cost
    /// A round trip for each partition.
    ///
    /// # Errors
    /// [`ErrorKind::Far`].
    pub async fn list(&self, most: usize) -> Result<Vec<DeadLetter<K, V>>, Error> {
        let (backstage, tiers) = (self.0.backstage()?, &self.0.shared.tiers);
        let mut letters = Vec::new();
        for partition in backstage.partitions() {
            let left = most - letters.len();
            if left == 0 {
                break;
            }
            let found = tiers.dead_letters(partition, WriteId::default(), left).await?;
            letters.extend(found.into_iter().map(|dead| {
                let age = tiers.age_of(partition, dead.id);
                self.letter(dead, age)
            }));
        }
        Ok(letters)
    }

    fn letter(&self, dead: Dead, age: Duration) -> DeadLetter<K, V> {
        let Dead { id, key: name, typed, envelope, reason } = dead;
        let (shape, tiers) = (&self.0.shared.shape, &self.0.shared.tiers);
        let unreadable = |why: String| Error::new(ErrorKind::Encode, why).at(&name);
        let answered = Answered::from(envelope);
        let value = by_tag::open(&answered, &name, shape, &[])
            .map_err(|why| unreadable(why.to_string()))
            .and_then(|opened| opened.whatever_its_age(shape, 0, tiers.clock.now()))
            .and_then(|held| typed_value(held.value).map_err(unreadable));
        let key = self.0.shared.codec.decode::<K>(&typed);
        let reason = String::from_utf8_lossy(&reason).into_owned();
        DeadLetter { key, value, reason, age, name, id }
    }

    /// Queues it again, as the newest write of its key: readers have it from now on. It goes over whatever was
    /// written since and has reached the source; false when a newer write waits, or when somebody else was first.
    ///
    /// # Cost
    /// One round trip.
    ///
    /// # Errors
    /// [`ErrorKind::Far`].
    pub async fn replay(&self, letter: &DeadLetter<K, V>) -> Result<bool, Error> {
        let (backstage, shared) = (self.0.backstage()?, &self.0.shared);
        let ends = shared.larder.ends();
        let replaying = shared.tiers.replay_dead(ends, backstage, &letter.name, letter.id);
        Ok(replaying.await? == Replayed::Queued)
    }

    /// Removes it for good; false when it is not there any more.
    ///
    /// # Cost, errors
    /// As [`replay`](Self::replay).
    pub async fn remove(&self, letter: &DeadLetter<K, V>) -> Result<bool, Error> {
        self.0.shared.tiers.remove_dead(&letter.name, letter.id).await
    }
}

/// What flushes a cache that writes behind: settled, then [started](Self::start).
///
/// Every process that starts them takes part; of all, one at a time has a partition, and holds it by a lease in
/// Redis. A process may write and start none, or start some and not write.
#[must_use = "nothing is flushed before start"]
pub struct Workers<K, V> {
    cache: Cache<K, V>,
    sink: Arc<dyn Flush>,
    settings: Flushing,
}

impl<K, V> fmt::Debug for Workers<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workers({:?}, {:?})", self.cache, self.settings)
    }
}

impl<K, V> Workers<K, V>
where
    K: ToKey + Serialize + DeserializeOwned + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn new(cache: &Cache<K, V>, sink: Arc<dyn Flush>) -> Workers<K, V> {
        Workers { cache: cache.clone(), sink, settings: Flushing::default() }
    }

    /// The most keys in one call of the sink. 128; from 1 to 1,000. A plain sink is called for each key alone, 16 at
    /// a time.
    pub fn batch_max(mut self, keys: usize) -> Workers<K, V> {
        self.settings.batch_max = keys;
        self
    }

    /// How long a batch may take; then it has failed, and is tried again. Ten seconds; from 1 ms to an hour. With a
    /// plain sink the next worker waits this much longer, so **the sink's own time-outs should be shorter**.
    pub fn sink_deadline(mut self, time: Duration) -> Workers<K, V> {
        self.settings.sink_deadline = time;
        self
    }

    /// How long a partition stays with a worker that is heard of no more. Five seconds; from 100 ms to an hour.
    /// Renewed every third of it.
    pub fn lease_time(mut self, time: Duration) -> Workers<K, V> {
        self.settings.lease = time;
        self
    }

    /// How often a write is tried before it becomes a [dead letter](Cache::dead_letters). 100; with the default
    /// pauses that is after half an hour and more, so that an outage of the source is no reason. A worker that takes
    /// over counts anew.
    pub fn tries(mut self, tries: u32) -> Workers<K, V> {
        self.settings.tries = tries;
        self
    }

    /// How long to wait between tries of one write: at first, and at most; half of it left to chance. 100 ms and
    /// 30 seconds.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Workers<K, V> {
        self.settings.backoff = (first, longest);
        self
    }

    /// How often an empty queue is looked at: how long a write of another process waits. 100 ms; from 1 ms to a
    /// minute. One of this process is seen at once. Each look is a round trip.
    pub fn poll(mut self, time: Duration) -> Workers<K, V> {
        self.settings.poll = time;
        self
    }

    /// Starts one worker for each partition. They work until [`Larder::close`](crate::Larder::close), which waits
    /// for them to flush what is there; or until the last clone of the handle is gone, and then what they had in
    /// hand is for the next.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: a number that cannot be meant, a cache that does not write behind, a Redis that
    /// throws away what it is given (`maxmemory-policy` `allkeys-*`). [`ErrorKind::Closed`]. A Redis that is not
    /// there is no error: they begin when it is.
    pub async fn start(self) -> Result<(), Error> {
        let Workers { cache, sink, settings } = self;
        settings.check()?;
        let (backstage, shared) = (cache.backstage()?, &cache.shared);
        if let Err(why) = shared.tiers.approve(backstage, backstage.partitions()).await
            && why.kind() != ErrorKind::Far
        {
            return Err(why);
        }
        for partition in backstage.partitions() {
            let worker = Worker {
                tiers: shared.tiers.clone(),
                backstage: backstage.clone(),
                partition: partition.clone(),
                sink: sink.clone(),
                shape: shared.shape.clone(),
                settings,
            };
            let begun = |member| worker.run(member);
            if !shared.larder.workers().begin(&shared.tiers.runtime, begun) {
                return Err(Error::new(ErrorKind::Closed, "larder was closed"));
            }
        }
        Ok(())
    }
}

/// From bytes to the types of a sink.
struct Reads<K, V> {
    codec: Codec,
    types: PhantomData<fn() -> (K, V)>,
}

fn typed_value<V: Send + Sync + 'static>(value: Option<Value>) -> Result<Option<Arc<V>>, String> {
    let typed = |value: Value| value.downcast().map_err(|_| "a value of another type".to_owned());
    value.map(typed).transpose()
}

impl<K: DeserializeOwned, V: Send + Sync + 'static> Reads<K, V> {
    fn write(&self, writing: Writing) -> Result<PendingWrite<K, V>, String> {
        let Writing { typed, value, stamp } = writing;
        let key = self.codec.decode(&typed).map_err(|why| why.to_string())?;
        let version = Version::new(stamp.id.ms, stamp.id.seq, stamp.token);
        Ok(PendingWrite { key, value: typed_value(value)?, version })
    }

    /// Those that can be read, with their places; the others have failed.
    fn batch(&self, batch: Batch) -> (Vec<Outcome>, Vec<usize>, Vec<PendingWrite<K, V>>) {
        let (mut outcomes, mut places, mut writes) = (Vec::new(), Vec::new(), Vec::new());
        for (at, writing) in batch.writes.into_iter().enumerate() {
            let outcome = match self.write(writing) {
                Ok(write) => {
                    places.push(at);
                    writes.push(write);
                    "the sink panicked, or its runtime stopped".to_owned()
                }
                Err(why) => why,
            };
            outcomes.push(Outcome::Failed(outcome));
        }
        (outcomes, places, writes)
    }
}

/// Runs a call of a sink in a task of its own, so that a panic in it is not ours; it is stopped with this.
async fn apart<T: Send + 'static>(call: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let mut tasks = JoinSet::new();
    tasks.spawn(call);
    tasks.join_next().await?.ok()
}

fn all(outcomes: &mut [Outcome], places: &[usize], outcome: impl Fn() -> Outcome) {
    for at in places {
        if let Some(place) = outcomes.get_mut(*at) {
            *place = outcome();
        }
    }
}

struct Plain<K, V, S> {
    sink: Arc<S>,
    reads: Reads<K, V>,
}

impl<K, V, S> Flush for Plain<K, V, S>
where
    K: DeserializeOwned + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Sink<K, V>,
{
    fn refuses_late_calls(&self) -> bool {
        false
    }

    fn raise(&self, _: u32) -> Telling<'_, Result<Option<u64>, BoxError>> {
        Box::pin(async { Ok(None) })
    }

    fn flush(&self, batch: Batch) -> Telling<'_, Vec<Outcome>> {
        let (mut outcomes, places, writes) = self.reads.batch(batch);
        let mut shares: Vec<Vec<(usize, PendingWrite<K, V>)>> = Vec::new();
        shares.resize_with(CALLS_AT_ONCE.min(writes.len()), Vec::new);
        for (number, one) in places.into_iter().zip(writes).enumerate() {
            let share = number % CALLS_AT_ONCE;
            if let Some(share) = shares.get_mut(share) {
                share.push(one);
            }
        }
        Box::pin(async move {
            let mut tasks = JoinSet::new();
            for share in shares {
                let sink = self.sink.clone();
                tasks.spawn(async move {
                    let mut said = Vec::with_capacity(share.len());
                    for (at, PendingWrite { key, value, .. }) in share {
                        let told = match value {
                            Some(value) => sink.write(&key, &value).await,
                            None => sink.remove(&key).await,
                        };
                        said.push((
                            at,
                            match told {
                                Ok(()) => Outcome::Done,
                                Err(why) => Outcome::Failed(why.to_string()),
                            },
                        ));
                    }
                    said
                });
            }
            while let Some(said) = tasks.join_next().await {
                for (at, outcome) in said.unwrap_or_default() {
                    all(&mut outcomes, &[at], || match &outcome {
                        Outcome::Failed(why) => Outcome::Failed(why.clone()),
                        _ => Outcome::Done,
                    });
                }
            }
            outcomes
        })
    }
}

struct Versioned<K, V, S> {
    sink: Arc<S>,
    reads: Reads<K, V>,
}

impl<K, V, S> Flush for Versioned<K, V, S>
where
    K: DeserializeOwned + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: VersionedSink<K, V>,
{
    fn refuses_late_calls(&self) -> bool {
        true
    }

    fn raise(&self, _: u32) -> Telling<'_, Result<Option<u64>, BoxError>> {
        Box::pin(async { Ok(None) })
    }

    fn flush(&self, batch: Batch) -> Telling<'_, Vec<Outcome>> {
        let (mut outcomes, places, writes) = self.reads.batch(batch);
        let sink = self.sink.clone();
        Box::pin(async move {
            let count = writes.len();
            if count == 0 {
                return outcomes;
            }
            match apart(async move { sink.apply(&writes).await }).await {
                Some(Ok(applied)) if applied.len() == count => {
                    for (at, applied) in places.into_iter().zip(applied) {
                        all(&mut outcomes, &[at], || match applied {
                            Applied::Applied => Outcome::Done,
                            Applied::Newer(stored) => {
                                let (ms, seq) = stored.place();
                                Outcome::Newer(WriteId { ms, seq })
                            }
                        });
                    }
                }
                Some(Ok(applied)) => {
                    let given = applied.len();
                    all(&mut outcomes, &places, || {
                        Outcome::Failed(format!("the sink gave {given} answers for {count} writes"))
                    });
                }
                Some(Err(why)) => {
                    all(&mut outcomes, &places, || Outcome::Failed(why.to_string()));
                }
                None => {}
            }
            outcomes
        })
    }
}

struct Guarded<K, V, S> {
    sink: Arc<S>,
    reads: Reads<K, V>,
}

impl<K, V, S> Flush for Guarded<K, V, S>
where
    K: DeserializeOwned + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: FencedSink<K, V>,
{
    fn refuses_late_calls(&self) -> bool {
        true
    }

    fn raise(&self, partition: u32) -> Telling<'_, Result<Option<u64>, BoxError>> {
        let sink = self.sink.clone();
        Box::pin(async move {
            let raised = apart(async move { sink.raise(partition).await }).await;
            raised.unwrap_or_else(|| Err("the sink panicked".into())).map(Some)
        })
    }

    fn flush(&self, batch: Batch) -> Telling<'_, Vec<Outcome>> {
        let fence = Fence { partition: batch.partition, number: batch.fence.unwrap_or_default() };
        let (mut outcomes, places, writes) = self.reads.batch(batch);
        let sink = self.sink.clone();
        Box::pin(async move {
            if writes.is_empty() {
                return outcomes;
            }
            match apart(async move { sink.apply(fence, &writes).await }).await {
                Some(Ok(Fenced::Applied)) => all(&mut outcomes, &places, || Outcome::Done),
                Some(Ok(Fenced::Passed)) => all(&mut outcomes, &places, || Outcome::Passed),
                Some(Err(why)) => {
                    all(&mut outcomes, &places, || Outcome::Failed(why.to_string()));
                }
                None => {}
            }
            outcomes
        })
    }
}
