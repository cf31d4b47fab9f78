//! How a cache is opened: the one place where its defaults are written down.

use std::any::{TypeId, type_name};
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Cache, Shared, Tagger, UserCache};
use crate::entry::{Codec, Compression, Shape, Value};
use crate::error::{Error, ErrorKind};
use crate::key::{Tag, ToKey};
use crate::larder::{Larder, Settings, TaggedBy};
use crate::policy::{Lifetime, Policy, RefreshAhead, Stale, WriteBehind};
use crate::strategy::write_behind::Backstage;

/// The first shape of a value.
const SCHEMA: u32 = 1;

/// Settles how one cache behaves. Ends with [`per_user`](Self::per_user) or, asked for by name,
/// [`shared`](Self::shared).
#[must_use]
pub struct CacheBuilder<K: ?Sized, V> {
    larder: Larder,
    name: String,
    schema: Option<u32>,
    codec: Codec,
    compression: Compression,
    policy: Policy,
    tagger: Option<Tagger<K>>,
    tagged_by: Option<TaggedBy>,
    value: PhantomData<fn() -> V>,
}

impl<K: ?Sized, V> std::fmt::Debug for CacheBuilder<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Larder {
    /// Opens a cache under a name: see [`CacheBuilder`].
    pub fn cache<K: ?Sized, V>(&self, name: impl Into<String>) -> CacheBuilder<K, V> {
        CacheBuilder::new(self.clone(), name.into())
    }
}

impl<K: ?Sized, V> CacheBuilder<K, V> {
    fn new(larder: Larder, name: String) -> CacheBuilder<K, V> {
        CacheBuilder {
            larder,
            name,
            schema: None,
            codec: Codec::default(),
            compression: Compression::default(),
            policy: Policy {
                lifetime: Lifetime::fresh_for(Duration::from_secs(60)),
                stale: Stale::default(),
                refresh_ahead: RefreshAhead::off(),
                backoff: Duration::from_millis(100),
                max_load: Duration::from_secs(30),
                guard_time: Duration::from_secs(10),
                soft_deadline: None,
                loads_max: 256,
                loads_waiting_max: 4096,
                value_bytes_max: 8 << 20,
                key_bytes_max: 1 << 10,
                #[cfg(feature = "structures")]
                member_index: false,
                write_behind: None,
            },
            tagger: None,
            tagged_by: None,
            value: PhantomData,
        }
    }

    /// The number of the value's shape. 1, and for `Codec::Postcard` to be told; count it up by one with
    /// every change of the type that old bytes cannot be read as: entries of another number are never
    /// looked at, so two versions of a service can run side by side. An invalidation by key ends the
    /// entries of the numbers next to its own as well; a tag ends those of all.
    pub fn schema(mut self, number: u32) -> CacheBuilder<K, V> {
        self.schema = Some(number);
        self
    }

    /// How long entries may be used. A minute, "there is none" for a tenth of it, jitter a tenth.
    pub fn lifetime(mut self, lifetime: Lifetime) -> CacheBuilder<K, V> {
        self.policy.lifetime = lifetime;
        self
    }

    /// What a stale entry is good for, where the lifetime has a `stale_for`. Served at once and refreshed
    /// in the background; choose [`Stale::InNeed`] where a caller would rather wait than see an old value.
    pub fn stale(mut self, stale: Stale) -> CacheBuilder<K, V> {
        self.policy.stale = stale;
        self
    }

    /// When an entry is renewed in the background though it is still fresh, so that nobody waits when its time
    /// is over. Off. A fresh entry near its end is served, near or far, and its reader's loader asked behind its back.
    pub fn refresh_ahead(mut self, when: RefreshAhead) -> CacheBuilder<K, V> {
        self.policy.refresh_ahead = when;
        self
    }

    /// How values become bytes. MessagePack, by field names.
    pub fn codec(mut self, codec: Codec) -> CacheBuilder<K, V> {
        self.codec = codec;
        self
    }

    /// After a load failed: how long nobody in the fleet tries again, and everyone gets the error at
    /// once. 100 ms, so that a source in trouble is not stampeded; zero: the next call asks it.
    pub fn backoff(mut self, time: Duration) -> CacheBuilder<K, V> {
        self.policy.backoff = time;
        self
    }

    /// The hard deadline: when a load is given up and stopped. All who wait for it get
    /// [`ErrorKind::Deadline`], or a stale entry if one may stand in; its lease goes. 30 seconds.
    ///
    /// For one call that should not wait as long, a time-out around it is enough: the load goes on for the
    /// others.
    pub fn max_load(mut self, time: Duration) -> CacheBuilder<K, V> {
        self.policy.max_load = time;
        self
    }

    /// How long a writer's [guard](Cache::guard) stands when nobody ends it: the writer died, or its sink failed
    /// and may [commit yet](crate::NotWritten). Ten seconds; more than the longest commit, since what is loaded after
    /// it may be stored. Meanwhile the key is not cached.
    pub fn guard_time(mut self, time: Duration) -> CacheBuilder<K, V> {
        self.policy.guard_time = time;
        self
    }

    /// The soft deadline: a caller that has waited this long for the source, here or in another process, takes a
    /// stale entry if there is one, and the load goes on in the background and is stored. Off; it is for
    /// lifetimes with a `stale_for`, and where [`Stale::AtOnce`] does not serve what is stale without waiting
    /// anyway. For some calls only: [`Cache::soft_deadline`].
    pub fn soft_deadline(mut self, time: Duration) -> CacheBuilder<K, V> {
        self.policy.soft_deadline = Some(time);
        self
    }

    /// How many loads of this cache run at once in this process; a load of many keys is one. 256, which is more
    /// than a pool of database connections has; choose what yours stands.
    ///
    /// Past it a call is answered with a stale entry, if there is one; or it [waits](Self::loads_waiting_max)
    /// for its turn, at most `max_load`, and then fails with [`ErrorKind::Overloaded`]. Refreshes in the
    /// background take three quarters of the places at most, and never wait: they are left to later callers.
    /// Leases by hand take none. A loader that asks the same cache for another key needs a second place while
    /// it holds its own: where loaders do that, leave room for it.
    pub fn loads_max(mut self, loads: usize) -> CacheBuilder<K, V> {
        self.policy.loads_max = loads;
        self
    }

    /// How many loads may wait for their turn; past it a call fails with [`ErrorKind::Overloaded`] at once.
    /// 4,096. Callers of one key wait together, as one.
    pub fn loads_waiting_max(mut self, loads: usize) -> CacheBuilder<K, V> {
        self.policy.loads_waiting_max = loads;
        self
    }

    /// How values are made smaller before they are stored. LZ4 for those of more than 1 KiB, where the
    /// feature `lz4` is on; it is one of the defaults.
    ///
    /// Readers do not go by this but by what each entry says, so it can be changed at any time.
    pub fn compression(mut self, compression: Compression) -> CacheBuilder<K, V> {
        self.compression = compression;
        self
    }

    /// A value that takes more bytes is handed out, not stored, and counted. 8 MiB.
    ///
    /// Counted is what the codec writes, before compression; writing stops there, so that a giant costs
    /// no more memory than this. Also the most that is read: an entry that is longer, or says that
    /// it inflates to more, is a miss, [counted](crate::Stats::unreadable) before anything is reserved
    /// for it. All processes of a fleet should have the same.
    pub fn value_bytes_max(mut self, bytes: usize) -> CacheBuilder<K, V> {
        self.policy.value_bytes_max = bytes;
        self
    }

    /// A key that takes more bytes (the user's included) is refused, never cut. 1 KiB.
    pub fn key_bytes_max(mut self, bytes: usize) -> CacheBuilder<K, V> {
        self.policy.key_bytes_max = bytes;
        self
    }

    /// Makes it a cache that writes behind: [`write_behind`](Cache::write_behind) keeps a value in Redis, in order
    /// and for good, and workers tell the source of it soon after. Off. Such a cache is written in no other way:
    /// what else would write a value is refused.
    ///
    /// It is for everyone, not [per user](Self::per_user): a user is part of the key where one is needed.
    pub fn write_behind(mut self, settings: WriteBehind) -> CacheBuilder<K, V> {
        self.policy.write_behind = Some(settings);
        self
    }

    /// The tags that follow from a key: ending one of them ends the entry. Costs nothing on a hit.
    #[track_caller]
    pub fn tagged_by<F, T>(mut self, tags: F) -> CacheBuilder<K, V>
    where
        F: Fn(&K) -> T + Send + Sync + 'static,
        T: IntoIterator<Item: Into<Tag>>,
    {
        let (closure, at) = (TypeId::of::<F>(), Location::caller());
        self.tagged_by = Some(TaggedBy { closure, at });
        self.tagger = Some(Arc::new(move |key| tags(key).into_iter().map(Into::into).collect()));
        self
    }
}

impl<K, V> CacheBuilder<K, V>
where
    K: ToKey + ?Sized + 'static,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// A cache in which every entry belongs to a user.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: a name or a number that cannot be meant, or a name that is open with
    /// other settings or types.
    pub fn per_user(self) -> Result<UserCache<K, V>, Error> {
        self.open(true).map(UserCache::new)
    }

    /// A cache whose entries everyone may see: what is in it must not depend on who asks.
    ///
    /// # Errors
    /// As [`per_user`](Self::per_user).
    pub fn shared(self) -> Result<Cache<K, V>, Error> {
        self.open(false)
    }

    /// Writes down which entries carry a tag, so that people can list them ([`Larder::members`]), and the memory of
    /// a tag's entries is freed when it ends, and not when their time is over. Off.
    ///
    /// Such a cache takes no [`put`](crate::Cache::put): what is freed must have a source.
    ///
    /// Nothing rests on it: a tag ends by its generation all the same. It is written in the background after
    /// an entry is stored; what is written down and not yet sent is lost with the process, or when Redis is away.
    ///
    /// # Cost
    /// A script for each stored entry and tag, O(log n), beside the store: nobody waits for it. In Redis about
    /// 100 bytes and the entry's name for each entry and tag, as long as the entry is kept; a million entries of one tag at most.
    #[cfg(feature = "structures")]
    pub fn member_index(mut self) -> CacheBuilder<K, V> {
        self.policy.member_index = true;
        self
    }

    fn open(self, per_user: bool) -> Result<Cache<K, V>, Error> {
        self.policy.check()?;
        if self.schema.is_none() && self.codec.needs_schema() {
            let text = format!(
                "cache {} is written as {:?}, which a changed type would misread: give it a schema, and count that up with every change",
                self.name, self.codec
            );
            return Err(Error::new(ErrorKind::Config, text));
        }
        if per_user && self.policy.write_behind.is_some() {
            let text = format!(
                "cache {} writes behind and is kept per user: a worker would not know whose a write is; make the user a part of the key",
                self.name
            );
            return Err(Error::new(ErrorKind::Config, text));
        }
        let schema = self.schema.unwrap_or(SCHEMA);
        let settings = Settings {
            policy: self.policy.clone(),
            schema,
            codec: self.codec,
            compression: self.compression,
            per_user,
            tagged_by: self.tagged_by,
        };
        let bytes_max = self.policy.value_bytes_max;
        let tiers = self.larder.tiers(&self.name, &self.policy)?;
        let namespace = self.larder.namespace(&self.name, schema, self.policy.write_behind)?;
        let backstage = self
            .policy
            .write_behind
            .map(|settings| Arc::new(Backstage::new(settings, namespace.partitions().collect())));
        let shared = Shared::<K, V> {
            namespace,
            codec: self.codec,
            backstage,
            policy: Arc::new(self.policy),
            shape: Arc::new(shape::<V>(self.codec, schema, self.compression, bytes_max)),
            tagger: self.tagger,
            tiers,
            larder: self.larder.clone(),
            name: self.name.clone(),
            is_shown: AtomicBool::new(false),
            value: PhantomData,
        };
        let types = format!("{} => {}", type_name::<K>(), type_name::<V>());
        self.larder.note(&self.name, types, settings, Arc::new(shared)).map(Cache::of)
    }
}

fn shape<V>(codec: Codec, schema: u32, compression: Compression, bytes_max: usize) -> Shape
where
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    Shape {
        codec: codec.id(),
        schema,
        compression,
        bytes_max,
        encode: Box::new(move |value, bytes_max| match value.downcast_ref::<V>() {
            Some(value) => codec.encode_readable(value, bytes_max),
            None => Err(Error::new(ErrorKind::Encode, "a value of another type")),
        }),
        decode: Box::new(move |bytes| {
            let value: Value = Arc::new(codec.decode::<V>(bytes)?);
            Ok(value)
        }),
    }
}
