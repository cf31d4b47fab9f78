//! A cache that asks and tells its source itself.

use std::borrow::Borrow;
use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::{Cache, Found, some};
use crate::entry::{Entry, Origin, Written};
use crate::error::Error;
use crate::key::{Tag, ToKey};
use crate::source::{Loaded, Sink, Source};
use crate::strategy::{Ask, Unguarded, Write};

/// A [`Cache`] that knows its source: read-through by [`read`](Self::read), write-through by
/// [`write`](Self::write). Cheap to clone; made by [`Cache::through`]. All that a cache can do it can, too.
///
/// What it can do follows from what the source is: without a [`Source`] there is no `read`, without a [`Sink`] no
/// `write`.
///
/// ```compile_fail
/// # async fn scene(names: larder::Cache<u64, String>) {
/// let names = names.through(|id: u64| async move { Ok::<_, std::io::Error>(Some(id.to_string())) });
/// names.read(&1).await;
/// names.write(&1, String::new()).await; // a closure is no sink
/// # }
/// ```
pub struct Through<K: ?Sized, V, S> {
    cache: Cache<K, V>,
    source: Arc<S>,
    unguarded: Unguarded,
}

impl<K: ?Sized, V, S> Clone for Through<K, V, S> {
    fn clone(&self) -> Through<K, V, S> {
        let (cache, source) = (self.cache.clone(), self.source.clone());
        Through { cache, source, unguarded: self.unguarded }
    }
}

impl<K: ?Sized, V, S> fmt::Debug for Through<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Through({:?})", self.cache)
    }
}

impl<K: ?Sized, V, S> Deref for Through<K, V, S> {
    type Target = Cache<K, V>;

    fn deref(&self) -> &Cache<K, V> {
        &self.cache
    }
}

impl<K: ?Sized, V> Cache<K, V> {
    /// A view that asks and tells `source` itself. A type that is both a [`Source`] and a [`Sink`] stands for
    /// both; so does a pair of one and the other, and an `Arc` of either.
    ///
    /// Of a [`UserCache`](crate::UserCache) it is `tasks.of(&user).through(..)`, with a source that knows whose it
    /// is: keys have no user in them. Views are cheap, one for each request will do.
    ///
    /// ```
    /// use larder::{BoxError, Cache, Larder, Loaded, Sink, Source, Written};
    /// # use std::{collections::HashMap, sync::Mutex};
    /// # #[derive(Default)] struct Db(Mutex<HashMap<u64, String>>);
    /// impl Source<u64, String> for Db {
    ///     async fn load(&self, id: &u64) -> Result<Loaded<Option<String>>, BoxError> {
    ///         Ok(self.0.lock().unwrap().get(id).cloned().into()) // a query
    ///     }
    /// }
    ///
    /// impl Sink<u64, String> for Db {
    ///     async fn write(&self, id: &u64, name: &String) -> Result<(), BoxError> {
    ///         self.0.lock().unwrap().insert(*id, name.clone()); // an upsert
    ///         Ok(())
    ///     }
    ///     async fn remove(&self, id: &u64) -> Result<(), BoxError> {
    ///         self.0.lock().unwrap().remove(id);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
    /// # let larder = Larder::builder("doc").open().await?;
    /// let names: Cache<u64, String> = larder.cache("names").shared()?;
    /// let names = names.through(Db::default());
    /// assert!(names.read(&1).await?.is_none());
    /// assert_eq!(names.write(&1, "Ada".to_owned()).await?, Written::Kept);
    /// assert_eq!(*names.read(&1).await?.unwrap(), "Ada");
    /// # Ok(()) }
    /// ```
    pub fn through<S>(&self, source: S) -> Through<K, V, S> {
        Through { cache: self.clone(), source: Arc::new(source), unguarded: Unguarded::default() }
    }
}

impl<K: ?Sized, V, S> Through<K, V, S> {
    /// As [`Cache::tagged`], of the same source.
    #[must_use]
    pub fn tagged(&self, tags: impl IntoIterator<Item = impl Into<Tag>>) -> Through<K, V, S> {
        Through { cache: self.cache.tagged(tags), ..self.clone() }
    }

    /// As [`Cache::soft_deadline`], of the same source.
    #[must_use]
    pub fn soft_deadline(&self, time: Duration) -> Through<K, V, S> {
        Through { cache: self.cache.soft_deadline(time), ..self.clone() }
    }

    /// What this view's writes do while Redis is down. [`Unguarded::Write`]: the database is the truth, and goes
    /// on without a cache.
    #[must_use]
    pub fn unguarded(mut self, does: Unguarded) -> Through<K, V, S> {
        self.unguarded = does;
        self
    }
}

/// One load of one key.
fn asks<K, V, S>(source: &Arc<S>, key: Arc<K::Owned>) -> Ask
where
    K: ToKey + ToOwned<Owned: Send + Sync> + Sync + ?Sized + 'static,
    V: Send + Sync + 'static,
    S: Source<K, V>,
{
    let source = source.clone();
    let begin = move || -> crate::source::Loading<_> {
        Box::pin(async move {
            let loaded = source.load((*key).borrow()).await?;
            Ok(loaded.map(|value| value.and_then(some)))
        })
    };
    Ask::alone(begin)
}

impl<K, V, S> Through<K, V, S>
where
    K: ToKey + ToOwned<Owned: Send + Sync> + Sync + ?Sized + 'static,
    V: Send + Sync + 'static,
    S: Source<K, V>,
{
    /// Returns the value for `key`, asking the source when no fresh one is held near or far. `None`: there is
    /// none, which is remembered as well.
    ///
    /// # Cost, order, errors
    /// As [`Cache::find_or_load`].
    pub async fn read(&self, key: &K) -> Result<Option<Entry<V>>, Error> {
        Ok(self.look_up(key).await?.entry)
    }

    /// As [`read`](Self::read), and says where the answer was found when it is "there is none".
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn look_up(&self, key: &K) -> Result<Found<V>, Error> {
        let is_noted = Cell::new(false);
        let near = self.cache.near_seen(key, true, |kept, now| {
            is_noted.set(self.cache.keeps_warm() && kept.is_noted(now));
        });
        if is_noted.get() {
            self.note(key);
        }
        let near = match near {
            Ok(entry) => return Ok(Found { entry, origin: Origin::Near }),
            Err(near) => near,
        };
        let ask = asks::<K, V, S>(&self.source, Arc::new(key.to_owned()));
        let found = self.cache.beyond(key, true, near, ask).await;
        if self.cache.keeps_warm() && found.is_ok() {
            self.note(key);
        }
        found
    }

    /// To be kept warm.
    #[cold]
    fn note(&self, key: &K) {
        let (source, owned) = (self.source.clone(), Arc::new(key.to_owned()));
        self.cache.note_warm(key, Arc::new(move || asks::<K, V, S>(&source, owned.clone())));
    }

    /// Returns the values for `keys`, in their order, asking the source once for all that neither near nor far
    /// have.
    ///
    /// # Cost, errors
    /// As [`Cache::get_or_load_many`].
    #[must_use = "each key's failure is in its place"]
    pub async fn read_many<'a, I>(&self, keys: I) -> Vec<Result<Option<Entry<V>>, Error>>
    where
        I: IntoIterator<Item = &'a K>,
        K: 'a,
    {
        let source = self.source.clone();
        let load = move |keys| {
            let source = source.clone();
            async move { source.load_many(keys).await }
        };
        self.cache.get_or_load_many(keys, load).await
    }
}

impl<K, V, S> Through<K, V, S>
where
    K: ToKey + ToOwned<Owned: Send + Sync> + Sync + ?Sized + 'static,
    V: Send + Sync + 'static,
    S: Sink<K, V>,
{
    /// Tells the sink, then keeps the value where nobody else wrote or ended the key meanwhile. For another
    /// lifetime or more tags give a [`Loaded`].
    ///
    /// While its guard stands, from before the sink is told to the end, nobody keeps an entry for the key. It runs to its end
    /// when the caller is dropped, and a process that dies at any point of it leaves nothing stale, if its commit
    /// came within [`guard_time`](crate::CacheBuilder::guard_time).
    ///
    /// # Order
    /// Once it has returned `Ok`, no call that starts later, in any process, is served from far a value that is
    /// older than this write. Near copies elsewhere go within the bound B. Of writes that overlap the sink knows which
    /// was last; the cache keeps none of them.
    ///
    /// # Cost
    /// Two round trips and the sink: one before it, with the tags' beside it, and one after. One more for tags that
    /// are new.
    ///
    /// # Errors
    /// What they say of the write itself:
    ///
    /// | kind | the sink | do |
    /// |---|---|---|
    /// | [`Unconfirmed`](crate::ErrorKind::Unconfirmed) | has it | nothing: the end of what is older is queued, and not served here until it is confirmed; its cause says where it is not |
    /// | [`Source`](crate::ErrorKind::Source), [`Panicked`](crate::ErrorKind::Panicked) | failed, and may write yet, unless its [`Error::cause`] is [`NotWritten`](crate::NotWritten) | as it says; the key is ended, and kept by nobody for `guard_time` if it may |
    /// | [`Deadline`](crate::ErrorKind::Deadline) | did not answer within `guard_time` | read it, or write again; it goes on for `max_load`, and the key is ended after it |
    /// | [`Far`](crate::ErrorKind::Far) | was not asked: [`Unguarded::Refuse`] | write again |
    /// | [`Overloaded`](crate::ErrorKind::Overloaded), [`Key`](crate::ErrorKind::Key), [`Config`](crate::ErrorKind::Config) | was not asked | |
    /// | [`Closed`](crate::ErrorKind::Closed) | was not asked, or the runtime stopped meanwhile | |
    ///
    /// A value that cannot be kept, because it is too large or cannot be turned into bytes, is no error:
    /// [`Written::Ended`].
    pub async fn write(&self, key: &K, value: impl Into<Loaded<V>>) -> Result<Written, Error> {
        self.is_not_behind("write through")?;
        let Loaded { value, tags, lifetime } = value.into();
        let value = Arc::new(value);
        let (source, key_of_write, told) = (self.source.clone(), key.to_owned(), value.clone());
        let write = Write {
            call: self.cache.call(key, true)?,
            loaded: Loaded { value: Some(value), tags, lifetime },
            tell: Box::new(move || {
                Box::pin(async move { source.write(key_of_write.borrow(), &told).await })
            }),
            unguarded: self.unguarded,
        };
        self.write_through(write).await
    }

    /// Tells the sink that there is none any more, and remembers that.
    ///
    /// # Order, cost, errors
    /// As [`write`](Self::write).
    pub async fn remove(&self, key: &K) -> Result<Written, Error> {
        self.is_not_behind("write through")?;
        let (source, key_of_write) = (self.source.clone(), key.to_owned());
        let write = Write {
            call: self.cache.call(key, true)?,
            loaded: Loaded::new(None),
            tell: Box::new(move || {
                Box::pin(async move { source.remove(key_of_write.borrow()).await })
            }),
            unguarded: self.unguarded,
        };
        self.write_through(write).await
    }

    async fn write_through(&self, write: Write) -> Result<Written, Error> {
        let shared = &self.cache.shared;
        shared.tiers.write_through(shared.larder.ends(), write).await
    }
}
