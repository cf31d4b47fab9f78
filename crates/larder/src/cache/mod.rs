//! The typed face.
//!
//! [`Cache<K, V>`] is a view: it turns keys and values into what the rest of the house works with, and
//! holds nothing itself. A [`UserCache`] gives one [`Cache`] a user, and is the only way to its
//! entries. Views are clones of one another; they are made by [`builder`].

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use smallvec::SmallVec;

use crate::clock::Moment;
use crate::entry::{Codec, Ended, Entry, Origin, Shape, Value};
use crate::error::{Error, ErrorKind};
use crate::invalidation::Target;
use crate::invalidation::guard::Guard;
use crate::key::{Key, KeyBuf, Namespace, Tag, ToKey, UserPart};
use crate::larder::Larder;
use crate::near::Kept;
use crate::observe::Stats;
use crate::policy::Policy;
use crate::source::{Loaded, Loader};
use crate::strategy::write_behind::Backstage;
use crate::strategy::{Answer, Ask, Call, NearHit, Tiers};

mod batch;
mod behind;
mod builder;
mod by_hand;
mod refresh;
mod through;
mod user;

pub use behind::{Backlog, DeadLetter, DeadLetters, Workers};
pub use builder::CacheBuilder;
pub use by_hand::{Lease, Leased};
pub use through::Through;
pub use user::{Scoped, UserCache};

/// Which tags an entry carries, by its key.
type Tagger<K> = Arc<dyn Fn(&K) -> Vec<Tag> + Send + Sync>;

/// Who looks at what is near.
#[derive(Clone, Copy)]
enum Reader {
    /// Somebody with a loader, who can renew what is due.
    Loads,
    /// Somebody who comes again with a loader where nothing is served without a thought.
    LoadsNext,
    /// Somebody without.
    Looks,
}

/// What all views of one name share.
struct Shared<K: ?Sized, V> {
    namespace: Namespace,
    name: String,
    codec: Codec,
    policy: Arc<Policy>,
    shape: Arc<Shape>,
    tagger: Option<Tagger<K>>,
    tiers: Tiers,
    larder: Larder,
    /// Of a cache that writes behind.
    backstage: Option<Arc<Backstage>>,
    /// Somebody loads with a look at the old value.
    is_shown: AtomicBool,
    value: PhantomData<fn() -> V>,
}

/// What looking for a value that may not exist gave.
#[derive(Debug)]
pub struct Found<V> {
    /// The value, or the knowledge that there is none.
    pub entry: Option<Entry<V>>,
    /// Where that was found.
    pub origin: Origin,
}

impl<V> Clone for Found<V> {
    fn clone(&self) -> Found<V> {
        Found { entry: self.entry.clone(), origin: self.origin }
    }
}

/// A cache of `V` by `K`: a typed view of near and far. Cheap to clone.
///
/// Opened by [`Larder::cache`]. One that belongs to users is a [`UserCache`]; its
/// [`of`](UserCache::of) gives one of these.
pub struct Cache<K: ?Sized, V> {
    shared: Arc<Shared<K, V>>,
    user: Option<Result<UserPart, Error>>,
    /// Asked for by this view, beyond the cache's own.
    extra: Arc<[Tag]>,
    /// Of this view, in the place of the cache's own.
    soft_deadline: Option<Duration>,
}

impl<K: ?Sized, V> Clone for Cache<K, V> {
    fn clone(&self) -> Cache<K, V> {
        Cache {
            shared: self.shared.clone(),
            user: self.user.clone(),
            extra: self.extra.clone(),
            soft_deadline: self.soft_deadline,
        }
    }
}

impl<K: ?Sized, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl<K: ?Sized, V> Cache<K, V> {
    fn of(shared: Arc<Shared<K, V>>) -> Cache<K, V> {
        Cache { shared, user: None, extra: Arc::from([]), soft_deadline: None }
    }

    /// A view whose entries carry these tags as well: an entry without them is loaded anew.
    #[must_use]
    pub fn tagged(&self, tags: impl IntoIterator<Item = impl Into<Tag>>) -> Cache<K, V> {
        let more = tags.into_iter().map(Into::into);
        let extra = self.extra.iter().cloned().chain(more).collect();
        Cache { extra, ..self.clone() }
    }

    /// A view whose calls take a stale entry, if there is one, when they have waited this long for the source: as
    /// [`CacheBuilder::soft_deadline`], for some calls. Of no use past `max_load`.
    #[must_use]
    pub fn soft_deadline(&self, time: Duration) -> Cache<K, V> {
        Cache { soft_deadline: Some(time), ..self.clone() }
    }

    /// Counted for this name.
    pub fn stats(&self) -> Stats {
        self.shared.tiers.observe.stats()
    }
}

impl<K, V> Cache<K, V>
where
    K: ToKey + ?Sized,
    V: Send + Sync + 'static,
{
    /// Returns the entry for `key`, if near has a fresh one: without waiting, and without a future. What is
    /// not near may be far, which [`get`](Self::get) asks.
    ///
    /// # Cost
    /// No round trip, and no allocation for a key of usual length.
    pub fn get_near(&self, key: &K) -> Option<Entry<V>> {
        self.glance(key, false, Reader::Looks, Kept::value).ok().flatten().map(Entry::near)
    }

    /// As [`get_near`](Self::get_near), for one who asks `get_or_load` next: nothing also where the entry is due
    /// to be renewed [ahead](CacheBuilder::refresh_ahead), since only there, with a loader, are lots drawn.
    #[doc(hidden)]
    pub fn get_near_plain(&self, key: &K) -> Option<Entry<V>> {
        self.glance(key, false, Reader::LoadsNext, Kept::value).ok().flatten().map(Entry::near)
    }

    /// Returns the entry for `key`, if near or far have a fresh one. Never loads; where "there is
    /// none" was remembered, this is `None` as well.
    ///
    /// # Cost
    /// Round trips to far: 0 if near is fresh, else 1; 1 more for tags that a loader learned.
    ///
    /// # Errors
    /// [`ErrorKind::Key`](crate::ErrorKind::Key). A far side that is down is no error: `None`.
    pub async fn get(&self, key: &K) -> Result<Option<Entry<V>>, Error> {
        if let Ok(entry) = self.glance(key, true, Reader::Looks, Kept::value) {
            return Ok(entry.map(Entry::near));
        }
        let answer = self.far(key).await?;
        Ok(answer.and_then(|answer| self.entry_of(&answer)))
    }

    /// Returns the entry for `key`, asking `loader` when no fresh one is held near or far.
    ///
    /// Calls for one key share one load in this process, and one in the fleet; dropping one of them
    /// never fails the rest. The loader runs in a task of its own, at most once, and is stopped when
    /// its last caller is gone.
    ///
    /// # Cost
    /// Round trips to far: 0 if near is fresh, 1 if far is fresh, 2 or 3 if neither is, 1 more for
    /// new tags. A hit near does not yield to the runtime: a task that does nothing else should now and
    /// then.
    ///
    /// # Order
    /// In this process, a call begun after [`invalidate`](Self::invalidate) returned never sees the old
    /// value. Elsewhere it may, until the change arrives: no later than the bound B.
    ///
    /// # Errors
    /// [`ErrorKind::Source`](crate::ErrorKind::Source) if the loader failed, here or in the process
    /// that loaded for all; its own error is [`Error::cause`].
    /// [`ErrorKind::Panicked`](crate::ErrorKind::Panicked) and
    /// [`ErrorKind::Deadline`](crate::ErrorKind::Deadline) if it panicked or took longer than
    /// `max_load`. [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded) if too many loads of this cache run
    /// and wait. A far side that is down is no error here: the loader is asked.
    pub async fn get_or_load<L: Loader<V>>(&self, key: &K, loader: L) -> Result<Entry<V>, Error> {
        let none = || Error::new(ErrorKind::Source, "the source has no such value");
        let near = match self.near(key, false) {
            Ok(entry) => return entry.ok_or_else(none),
            Err(near) => near,
        };
        let ask = Ask::alone(move || {
            let loading = Box::new(loader).load();
            Box::pin(async move { Ok(loading.await?.map(some)) })
        });
        self.beyond(key, false, near, ask).await?.entry.ok_or_else(none)
    }

    /// As [`get_or_load`](Self::get_or_load), for a source that may have none: that is remembered
    /// too, for the lifetime's `none_for`, so that asking for what is not there is as cheap.
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn find_or_load<L: Loader<Option<V>>>(
        &self,
        key: &K,
        loader: L,
    ) -> Result<Option<Entry<V>>, Error> {
        Ok(self.look_up(key, loader).await?.entry)
    }

    /// As [`find_or_load`](Self::find_or_load), and says where the answer was found when it is "there
    /// is none".
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn look_up<L: Loader<Option<V>>>(
        &self,
        key: &K,
        loader: L,
    ) -> Result<Found<V>, Error> {
        let near = match self.near(key, true) {
            Ok(entry) => return Ok(Found { entry, origin: Origin::Near }),
            Err(near) => near,
        };
        let ask = Ask::alone(move || {
            let loading = Box::new(loader).load();
            Box::pin(async move { Ok(loading.await?.map(|value| value.and_then(some))) })
        });
        self.beyond(key, true, near, ask).await
    }

    /// What far or the source has.
    async fn beyond(
        &self,
        key: &K,
        takes_none: bool,
        near: NearHit,
        ask: Ask,
    ) -> Result<Found<V>, Error> {
        let tiers = &self.shared.tiers;
        let call = self.call(key, takes_none)?;
        let answer = tiers.get_or_load(&call, near, tiers.clock.now(), ask).await?;
        Ok(Found { entry: self.entry_of(&answer), origin: answer.1 })
    }

    /// Ends the entry for `key`, everywhere. Call it after the database commit, always.
    ///
    /// # Order, errors
    /// As [`Larder::invalidate`].
    pub async fn invalidate(&self, key: &K) -> Result<(), Error> {
        self.shared.larder.invalidate([self.entry(key)]).await
    }

    /// Ends the entry for `key` softly, everywhere: it is no longer fresh, and stays to stand in for a
    /// source that fails.
    ///
    /// # Order, errors
    /// As [`Larder::expire`].
    pub async fn expire(&self, key: &K) -> Result<(), Error> {
        self.shared.larder.expire([self.entry(key)]).await
    }

    /// Claims `key` for the length of a commit: from here to [`Guard::end`] nobody keeps an entry for it, so
    /// that a writer that dies after its commit leaves nothing stale. What is there goes now.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
    /// # let larder = larder::Larder::builder("doc").open().await?;
    /// # let tasks: larder::Cache<u64, String> = larder.cache("tasks").shared()?;
    /// # async fn commit() {}
    /// let guard = tasks.guard(&17).await?;
    /// commit().await;
    /// guard.end().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// It stands for [`guard_time`](super::CacheBuilder::guard_time) at most; meanwhile callers load the key and
    /// keep it nowhere. Tags are not guarded: end them with the others after the commit.
    ///
    /// # Cost
    /// One round trip, and one for its end.
    ///
    /// # Errors
    /// [`ErrorKind::Far`](crate::ErrorKind::Far), or [`Overloaded`](crate::ErrorKind::Overloaded): it is not open, or
    /// not known to be. Commit all the same, and [`invalidate`](Self::invalidate): only the promise for a writer that
    /// dies is lost. [`ErrorKind::Key`](crate::ErrorKind::Key), [`Closed`](crate::ErrorKind::Closed).
    pub async fn guard(&self, key: &K) -> Result<Guard, Error> {
        let key = Key::new(&self.name(key)?);
        self.is_not_behind("guard")?;
        self.shared.larder.ends().guard(key, self.shared.policy.guard_time).await
    }

    /// Takes away what was [put](Self::put). The same as [`invalidate`](Self::invalidate), in the words of
    /// those for whom the cache is the only home of a value.
    ///
    /// # Errors
    /// As [`Larder::invalidate`].
    pub async fn remove(&self, key: &K) -> Result<(), Error> {
        self.invalidate(key).await
    }

    /// The entry for `key`, as something to end by [`Larder::invalidate`], with others in one trip.
    pub fn entry(&self, key: &K) -> Target {
        Target(self.name(key).map(|name| Ended::Key(Key::new(&name))))
    }

    /// How much longer the entry for `key` will be served; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Key`](crate::ErrorKind::Key).
    pub async fn ttl(&self, key: &K) -> Result<Option<Duration>, Error> {
        if let Ok(left) =
            self.glance(key, true, Reader::Looks, |kept, now| Some(kept.fresh_for(now)))
        {
            return Ok(left);
        }
        let answer = self.far(key).await?;
        Ok(answer.map(|(held, _)| held.fresh_until.since(self.shared.tiers.clock.now())))
    }

    /// What far has.
    async fn far(&self, key: &K) -> Result<Option<Answer>, Error> {
        Ok(self.shared.tiers.get(&self.call(key, true)?).await)
    }

    /// What `take` makes of what is near and fresh, `None` where "there is none" was remembered; or what
    /// near has else. Nothing of it lies in the future that a caller holds, above all no name: what is
    /// not near pays for its name twice. A key that has none is not near, and hears of it there.
    ///
    /// Always inlined, as all that it calls up to the engine: handed on through memory, the few words that
    /// it gives cost more than the checks.
    #[inline(always)]
    fn glance<T>(
        &self,
        key: &K,
        takes_none: bool,
        reader: Reader,
        take: impl Fn(&Kept, Moment) -> Option<T>,
    ) -> Result<Option<T>, NearHit> {
        let mut name = KeyBuf::new();
        if self.write_name(key, &mut name).is_err() {
            return Err(NearHit::Unsure);
        }
        let tiers = &self.shared.tiers;
        let now = tiers.clock.now();
        match tiers.near_take(&name, &self.extra, takes_none, now, |kept| take(kept, now)) {
            Ok(taken) => Ok(Some(taken)),
            Err(NearHit::Fresh) => Ok(None),
            // Whoever is drawn renews it; to all others it is fresh like any.
            Err(NearHit::Due(kept))
                if match reader {
                    Reader::Loads => !tiers.is_drawn(&self.shared.policy, &kept, now),
                    Reader::LoadsNext => false,
                    Reader::Looks => true,
                } =>
            {
                tiers.observe.hit_near();
                Ok(take(&kept, now))
            }
            Err(near) => Err(near),
        }
    }

    /// The entry that is near and fresh, for one who could load it.
    #[inline(always)]
    fn near(&self, key: &K, takes_none: bool) -> Result<Option<Entry<V>>, NearHit> {
        Ok(self.glance(key, takes_none, Reader::Loads, Kept::value)?.map(Entry::near))
    }

    /// The same, and what is near is shown to `see`.
    #[inline(always)]
    fn near_seen(
        &self,
        key: &K,
        takes_none: bool,
        see: impl Fn(&Kept, Moment),
    ) -> Result<Option<Entry<V>>, NearHit> {
        let take = |kept: &Kept, now| {
            see(kept, now);
            kept.value(now)
        };
        Ok(self.glance(key, takes_none, Reader::Loads, take)?.map(Entry::near))
    }

    /// Into what the caller holds: a buffer that is handed back is copied.
    #[inline(always)]
    fn write_name(&self, key: &K, name: &mut KeyBuf) -> Result<(), Error> {
        let (namespace, bound) = (&self.shared.namespace, self.shared.policy.key_bytes_max);
        match &self.user {
            None => namespace.shared(key, bound, name),
            Some(Ok(user)) => namespace.per_user(user, key, bound, name),
            Some(Err(why)) => Err(why.clone()),
        }
    }

    fn name(&self, key: &K) -> Result<KeyBuf, Error> {
        let mut name = KeyBuf::new();
        self.write_name(key, &mut name)?;
        Ok(name)
    }

    fn call(&self, key: &K, takes_none: bool) -> Result<Call, Error> {
        let name = self.name(key)?;
        let mut tags = SmallVec::new();
        let user = self.user.iter().flatten();
        let own = user.map(|user| Tag::of_user(&self.shared.name, user));
        let by_key = self.shared.tagger.iter().flat_map(|tagger| tagger(key));
        for tag in own.chain(by_key).chain(self.extra.iter().cloned()) {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Ok(Call {
            key: Key::new(&name),
            tags,
            shape: self.shared.shape.clone(),
            policy: self.shared.policy.clone(),
            soft_deadline: self.soft_deadline.or(self.shared.policy.soft_deadline),
            takes_none,
            prints: self.prints(),
            accepts: None,
        })
    }

    /// # Errors
    /// `Config` where writes are kept until the source has them: what else would write is refused.
    fn is_not_behind(&self, what: &str) -> Result<(), Error> {
        if self.shared.backstage.is_none() {
            return Ok(());
        }
        let text = format!(
            "cannot {what} in cache {}, which writes behind: write_behind is the one way to write there",
            self.shared.name
        );
        Err(Error::new(ErrorKind::Config, text))
    }

    fn entry_of(&self, (held, origin): &Answer) -> Option<Entry<V>> {
        Entry::of(held, *origin, self.shared.tiers.clock.now())
    }
}

fn some<V: Send + Sync + 'static>(value: V) -> Option<Value> {
    Some(Arc::new(value))
}

fn erase<V: Send + Sync + 'static>(loaded: Loaded<V>) -> Loaded<Option<Value>> {
    loaded.map(some)
}
