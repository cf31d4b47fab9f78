//! The ways a call goes through the house.
//!
//! [`Tiers`] is what they all work with, made once for each cache. [`read_through`] is the read path,
//! top to bottom; [`by_hand`] is the same road for those who load themselves.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::clock::{Clock, Moment};
use crate::coordination::flight::Flights;
use crate::coordination::lease::Leases;
use crate::entry::envelope::{self, Header};
use crate::entry::{Encoded, Generation, Held, Origin, Shape, Tagged, Token, Value};
use crate::error::{Error, ErrorKind};
use crate::far::{Far, Link, TagState};
use crate::key::{Key, Tag};
use crate::near::{Near, Watched};
use crate::observe::{Event, NotStored, Observe};
use crate::policy::{Lifetime, Policy};
use crate::source::{Loaded, Loading};

pub(crate) mod by_hand;
mod put;
pub(crate) mod read_through;

/// What all ways work with.
#[derive(Clone)]
pub(crate) struct Tiers {
    pub(crate) near: Arc<Near>,
    pub(crate) far: Arc<dyn Far>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) failures: Arc<Failures>,
    pub(crate) observe: Observe,
    pub(crate) clock: Clock,
    pub(crate) runtime: Handle,
}

/// One call, whatever its types.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) key: Key,
    /// All that its entry must carry.
    pub(crate) tags: Arc<[Tag]>,
    pub(crate) shape: Arc<Shape>,
    pub(crate) policy: Arc<Policy>,
    /// Whether "there is none" is an answer.
    pub(crate) takes_none: bool,
}

impl Call {
    /// How long a tag must be there for an entry of this lifetime, from before its load.
    fn need(&self, lifetime: Lifetime) -> Duration {
        lifetime.longest() + self.policy.max_load
    }

    fn takes(&self, held: &Held) -> bool {
        self.takes_none || held.value.is_some()
    }
}

/// An entry, and where it was found.
pub(crate) type Answer = (Arc<Held>, Origin);

/// A loader for a value of any type; `None` in it: there is none.
pub(crate) type Ask = Box<dyn FnOnce() -> Loading<Option<Value>> + Send>;

/// What failed here a moment ago: while the source is backed off from, callers of this process still
/// get its own error. Bounded; the oldest is forgotten.
#[derive(Default)]
pub(crate) struct Failures(Mutex<VecDeque<(Token, Error)>>);

const FAILURES_MAX: usize = 256;

impl Failures {
    fn remember(&self, token: Token, error: &Error) {
        let mut failures = self.0.lock();
        if failures.len() == FAILURES_MAX {
            failures.pop_front();
        }
        failures.push_back((token, error.clone()));
    }

    fn of(&self, token: &Token) -> Option<Error> {
        self.0.lock().iter().find(|(of, _)| of == token).map(|(_, error)| error.clone())
    }
}

/// How often a tag is made: again when something else stood under its name, or it ended at once.
const CREATE_TRIES: usize = 2;

/// A task that ends with its owner.
struct Owned<T>(JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The tags of one load: their generations as they were before it began.
pub(crate) struct Tags {
    tagged: Vec<Tagged>,
    watched: Vec<Watched>,
}

impl Tags {
    /// Has none of them been ended since?
    fn are_current(&self) -> bool {
        self.watched.iter().all(Watched::is_current)
    }
}

/// How the tags stood before a load: whoever boarded it after one of them ended must ask again.
struct Before {
    watched: Vec<Watched>,
    /// For tags that only the load tells of, which nobody watched.
    ends: u64,
}

impl Before {
    fn is_overtaken(&self, near: &Near, learned: &[Tag]) -> bool {
        let ended = !learned.is_empty() && near.generations.ends() != self.ends;
        ended || !self.watched.iter().all(Watched::is_current)
    }
}

impl Tiers {
    fn watch(&self, tags: &[Tag]) -> Vec<Watched> {
        tags.iter().map(|tag| self.near.generations.watch(tag)).collect()
    }

    fn learn(&self, watched: &[Watched], generations: &[Option<Generation>]) {
        let now = self.clock.now();
        for (watched, generation) in watched.iter().zip(generations) {
            watched.learn(*generation, now);
        }
    }

    fn before(&self, tags: &[Tag]) -> Before {
        Before { watched: self.watch(tags), ends: self.near.generations.ends() }
    }

    /// Makes sure that each tag has a generation, and one that will be there for `need`. `None`: far
    /// would not.
    async fn ready(
        &self,
        names: &[Tag],
        need: Duration,
        link: &Arc<dyn Link>,
        states: &[Option<TagState>],
        mut watched: Vec<Watched>,
    ) -> Option<Tags> {
        let mut generations: Vec<Option<Generation>> =
            states.iter().map(|state| state.map(|state| state.generation)).collect();
        let short = |state: &Option<TagState>| state.is_some_and(|state| state.keeps < need);
        let to_prolong: Vec<usize> = at(states, short);
        if !to_prolong.is_empty() {
            let tags: Vec<Tag> = to_prolong.iter().map(|i| names[*i].clone()).collect();
            self.own_write(&tags, &to_prolong, &mut watched);
            let read = link.prolong(&tags, 2 * need).await.ok()?;
            fill(&mut generations, &to_prolong, read);
        }
        for _ in 0..CREATE_TRIES {
            let to_create: Vec<usize> = at(&generations, Option::is_none);
            if to_create.is_empty() {
                break;
            }
            let tags: Vec<Tag> = to_create.iter().map(|i| names[*i].clone()).collect();
            self.own_write(&tags, &to_create, &mut watched);
            let drawn: Vec<_> = tags.into_iter().map(|tag| (tag, self.clock.nonce())).collect();
            let read = link.create(&drawn, 2 * need).await.ok()?;
            fill(&mut generations, &to_create, read);
        }
        self.learn(&watched, &generations);
        let generations: Vec<Generation> = generations.into_iter().collect::<Option<_>>()?;
        let tagged = names.iter().zip(generations);
        let tagged = tagged.map(|(tag, generation)| Tagged { tag: tag.clone(), generation });
        Some(Tags { tagged: tagged.collect(), watched })
    }

    /// Our own write to a tag ends our tracking of it, silently, until the read that follows: until
    /// then nothing may rest on the cell.
    fn own_write(&self, tags: &[Tag], at: &[usize], watched: &mut [Watched]) {
        for (tag, at) in tags.iter().zip(at) {
            self.near.generations.unsettle(tag);
            watched[*at] = self.near.generations.watch(tag);
        }
    }

    /// Lengthens the time the tags are kept: the loader gave a longer lifetime than the cache's.
    async fn prolong(&self, tags: &mut Tags, need: Duration, link: &Arc<dyn Link>) -> Option<()> {
        let names: Vec<Tag> = tags.tagged.iter().map(|tagged| tagged.tag.clone()).collect();
        let all: Vec<usize> = (0..names.len()).collect();
        let mut watched = tags.watched.clone();
        self.own_write(&names, &all, &mut watched);
        let read = link.prolong(&names, 2 * need).await.ok()?;
        self.learn(&watched, &read);
        for (at, read) in read.iter().enumerate() {
            // One that ended meanwhile keeps its old watch, which is not current any more.
            if *read == Some(tags.tagged[at].generation) {
                tags.watched[at] = watched[at].clone();
            }
        }
        Some(())
    }

    /// A tag that only the load told of: usable if its generation was known before the load began.
    /// Else it is made ready for the next load.
    async fn learned(
        &self,
        call: &Call,
        link: &Arc<dyn Link>,
        tag: &Tag,
        began: Moment,
        tags: &mut Tags,
    ) -> bool {
        if let Some((generation, watched)) = self.near.generations.known_before(tag, began) {
            tags.tagged.push(Tagged { tag: tag.clone(), generation });
            tags.watched.push(watched);
            return true;
        }
        let need = call.need(call.policy.lifetime);
        self.near.generations.unsettle(tag);
        let watched = self.near.generations.watch(tag);
        if let Ok(read) = link.create(&[(tag.clone(), self.clock.nonce())], 2 * need).await {
            self.learn(&[watched], &read);
        }
        false
    }

    /// Asks the source, in a task of its own that ends with this call, or at `max_load`.
    /// `lease_lost` is called once when `renewal` ends.
    async fn load(
        &self,
        call: &Call,
        ask: Ask,
        renewal: impl Future<Output = ()>,
        lease_lost: impl FnOnce(),
    ) -> Result<Loaded<Option<Value>>, Error> {
        let began = self.clock.now();
        let mut work = Owned(self.runtime.spawn(async move { ask().await }));
        let waiting = async {
            let finished = async {
                tokio::select! {
                    biased;
                    done = &mut work.0 => return done,
                    () = renewal => lease_lost(),
                }
                (&mut work.0).await
            };
            self.clock.within(call.policy.max_load, finished).await
        };
        let answer = match waiting.await {
            Some(Ok(Ok(loaded))) => Ok(loaded),
            Some(Ok(Err(cause))) => {
                let error = Error::new(ErrorKind::Source, "the source failed").at(&call.key);
                Err(error.caused_by(Arc::from(cause)))
            }
            Some(Err(why)) if why.is_panic() => {
                let text = format!("the loader panicked: {}", said(&*why.into_panic()));
                Err(Error::new(ErrorKind::Panicked, text).at(&call.key))
            }
            Some(Err(_)) => Err(Error::new(ErrorKind::Closed, "the runtime stopped").at(&call.key)),
            None => {
                let text = format!("the loader took longer than {:?}", call.policy.max_load);
                Err(Error::new(ErrorKind::Deadline, text).at(&call.key))
            }
        };
        let took = self.clock.now().since(began);
        self.observe.tell(Event::Load { cache: self.observe.cache(), took, ok: answer.is_ok() });
        answer
    }

    /// A value that was just loaded, as an entry that is fresh for `fresh`.
    fn held(
        &self,
        value: Option<Value>,
        tagged: Vec<Tagged>,
        fresh: Duration,
        weight: u64,
    ) -> Held {
        let now = self.clock.now();
        Held {
            value,
            tags: tagged.into(),
            received: now,
            age: Duration::ZERO,
            fresh_until: now.plus(fresh),
            weight,
        }
    }

    fn not_stored(&self, why: NotStored) {
        self.observe.tell(Event::NotStored { cache: self.observe.cache(), why });
    }

    /// The entry as bytes, with what is inside.
    fn envelope(
        &self,
        call: &Call,
        id: Token,
        loaded: &Loaded<Option<Value>>,
        tagged: &[Tagged],
        times: Times,
    ) -> Result<(Vec<u8>, u64), NotStored> {
        let payload = match &loaded.value {
            None => Vec::new(),
            Some(value) => match (call.shape.encode)(value, call.policy.value_bytes_max) {
                Ok(Encoded::Bytes(bytes)) => bytes,
                Ok(Encoded::TooLarge) => return Err(NotStored::TooLarge),
                Err(why) => {
                    tracing::warn!(key = %call.key, %why, "a value cannot be stored");
                    return Err(NotStored::Encode);
                }
            },
        };
        let fresh_ms = u32::try_from(times.fresh.as_millis()).unwrap_or(u32::MAX).max(1);
        let header = Header {
            id,
            negative: loaded.value.is_none(),
            hard_ms: fresh_ms,
            fresh_ms,
            stored_at_ms: times.server_now_ms,
            load_cost_us: u32::try_from(times.cost.as_micros()).unwrap_or(u32::MAX),
            codec: call.shape.codec,
            schema: call.shape.schema,
            tags: tagged.to_vec(),
        };
        match envelope::encode(&header, &call.key, &payload) {
            Ok(bytes) => Ok((bytes, payload.len() as u64)),
            Err(why) => {
                tracing::warn!(key = %call.key, %why, "a value cannot be stored");
                Err(NotStored::Encode)
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Times {
    fresh: Duration,
    server_now_ms: u64,
    cost: Duration,
}

fn at<T>(all: &[T], is: impl Fn(&T) -> bool) -> Vec<usize> {
    all.iter().enumerate().filter(|(_, one)| is(one)).map(|(i, _)| i).collect()
}

fn fill(into: &mut [Option<Generation>], at: &[usize], with: Vec<Option<Generation>>) {
    for (at, generation) in at.iter().zip(with) {
        into[*at] = generation;
    }
}

/// What a panic said, as far as it is text.
fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
