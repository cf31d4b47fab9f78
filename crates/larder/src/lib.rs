//! A race-free, typed cache for web services: **near** in the process, **far** in Redis.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # #[derive(Clone, serde::Serialize, serde::Deserialize)] struct Task { title: String }
//! # #[derive(Clone)] struct Db;
//! # impl Db { async fn task(&self, _: u64, _: u64) -> Result<Option<Task>, std::io::Error> { Ok(Some(Task { title: "buy milk".into() })) } }
//! # let (db, user, id) = (Db, 7_u64, 17_u64);
//! use larder::{Larder, Lifetime, MINUTE, UserCache};
//!
//! let larder = Larder::builder("todo").open().await?; // .redis("redis://..") for a fleet
//! let tasks: UserCache<u64, Task> =
//!     larder.cache("tasks").lifetime(Lifetime::fresh_for(MINUTE)).per_user()?;
//!
//! let task = tasks.of(&user).find_or_load(&id, move || async move { db.task(user, id).await }).await?;
//! assert_eq!(task.unwrap().title, "buy milk");
//!
//! larder.invalidate([tasks.of(&user).entry(&id)]).await?; // after the commit, always
//! # Ok(()) }
//! ```
//!
//! # The read path
//! ```text
//! get_or_load ──> near: fresh, and proven so by a heartbeat? ──────────────────────> serve, 0 trips
//!                   └─> one flight of this process
//!                         └─> far: value and tags' generations ────────────────────> serve, 1 trip
//!                               └─> one lease of the fleet
//!                                     ├─ held here: ask the source, store ─────────> serve, 2-3 trips
//!                                     └─ held elsewhere: wait to be told, look again
//! far down, slow or full: the source is asked, whatever stood above
//! ```
//! How each of these behaves is in `docs/concepts`; how entries look in Redis in `docs/wire-format.md`;
//! what to set and to watch in `docs/running-it.md`.
#![cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "what only a far side outside this process can answer")
)]

mod cache;
mod clock;
mod coordination;
mod entry;
mod error;
mod far;
mod invalidation;
mod key;
mod larder;
mod near;
pub mod observe;
mod policy;
mod pulse;
#[cfg(feature = "redis")]
mod redis;
mod resilience;
mod source;
mod strategy;
#[cfg(feature = "structures")]
pub mod structures;
mod sync;

pub use cache::{
    Backlog, Cache, CacheBuilder, DeadLetter, DeadLetters, Found, Lease, Leased, Scoped, Through,
    UserCache, Workers,
};
#[cfg(feature = "test-support")]
pub use clock::Clock;
pub use clock::{DAY, HOUR, MINUTE, SECOND};
pub use entry::{Codec, Compression, Entry, Freshness, Origin, Stored, Written};
pub use error::{Error, ErrorKind};
#[cfg(feature = "test-support")]
pub use far::contract::SharedMemory;
#[cfg(feature = "structures")]
pub use far::members::{MembersCursor, MembersPage, TagMember, TagMembers};
#[cfg(feature = "test-support")]
#[doc(hidden)]
pub use far::{contract, drawn};
pub use invalidation::Target;
pub use invalidation::guard::Guard;
pub use key::{KeyWriter, Tag, ToKey};
pub use larder::{Larder, LarderBuilder};
#[cfg(feature = "macros")]
pub use larder_macros::{ToKey, cached};
pub use observe::Stats;
#[cfg(feature = "redis")]
pub use policy::BreakerSettings;
pub use policy::{AfterFailover, Lifetime, RefreshAhead, Stale, WhenFull, WriteBehind};
#[cfg(feature = "redis")]
pub use redis::Credentials;
#[cfg(feature = "tls")]
pub use redis::Tls;
pub use source::{
    Applied, BoxError, Each, EachOf, Fence, Fenced, FencedSink, Loaded, Loader, Loading,
    NotWritten, PendingWrite, Refreshed, Sink, Source, Version, VersionedSink,
};
pub use strategy::explain::{
    Explanation, FarCopy, Fate, LeaseHolder, NearCopy, Outcome, PendingCopy, TagStanding,
};
pub use strategy::write_through::Unguarded;

/// The examples of the pages, run as tests.
#[cfg(doctest)]
mod pages {
    macro_rules! pages {
        ($($(#[$when:meta])? $name:ident $path:literal)*) => {$(
            $(#[$when])?
            #[doc = include_str!($path)]
            struct $name;
        )*};
    }

    pages! {
        Readme "../../../README.md"
        #[cfg(feature = "tls")]
        RunningIt "../../../docs/running-it.md"
        CacheAside "../../../docs/concepts/cache-aside.md"
        #[cfg(feature = "macros")]
        CachedFunctions "../../../docs/concepts/cached-functions.md"
        Coherence "../../../docs/concepts/coherence.md"
        EndingEntries "../../../docs/concepts/ending-entries.md"
        FailSafe "../../../docs/concepts/fail-safe.md"
        #[cfg(feature = "structures")]
        Feeds "../../../docs/concepts/feeds.md"
        KeysAndUsers "../../../docs/concepts/keys-and-users.md"
        #[cfg(feature = "structures")]
        Leaderboards "../../../docs/concepts/leaderboards.md"
        Lifetimes "../../../docs/concepts/lifetimes.md"
        #[cfg(feature = "structures")]
        Locks "../../../docs/concepts/locks.md"
        ManyKeys "../../../docs/concepts/many-keys.md"
        NearAndFar "../../../docs/concepts/near-and-far.md"
        #[cfg(feature = "structures")]
        Objects "../../../docs/concepts/objects.md"
        #[cfg(feature = "structures")]
        Queues "../../../docs/concepts/queues.md"
        #[cfg(feature = "structures")]
        RateLimits "../../../docs/concepts/rate-limits.md"
        #[cfg(feature = "structures")]
        SetsAndTagMembers "../../../docs/concepts/sets-and-tag-members.md"
        RefreshAhead "../../../docs/concepts/refresh-ahead.md"
        Stampede "../../../docs/concepts/stampede.md"
        Strategies "../../../docs/concepts/strategies.md"
        Tags "../../../docs/concepts/tags.md"
        Values "../../../docs/concepts/values.md"
        WriteBehind "../../../docs/concepts/write-behind.md"
        WriteThrough "../../../docs/concepts/write-through.md"
    }
}
