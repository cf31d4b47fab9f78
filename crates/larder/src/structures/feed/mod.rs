//! A list of the newest for each owner: what a user sees first when they look.
//!
//! Each feed is a stream that is kept short. An item has an id that only grows, and pages are turned by ids, so
//! that what is pushed between two pages neither shows an item twice nor hides one. (A Redis list knows offsets
//! only, and they move with every push.) Steps on one feed happen one after another, on its server.
//!
//! Nothing is started here. A fan-out that is dropped half-way was done in some of its feeds.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::kept::Kept;
use super::{Ground, Removal, Side, bounds};
use crate::entry::{Codec, Encoded};
use crate::error::{Error, ErrorKind};
use crate::key::{KeyBuf, Shape, ToKey};
#[cfg(feature = "redis")]
use crate::redis::Reply;
#[cfg(feature = "redis")]
use crate::structures::{not_done, not_read};

mod builder;
mod item;
mod memory;
#[cfg(feature = "redis")]
pub(super) mod redis;

pub use builder::FeedBuilder;
pub use item::{FanOut, FeedItem, FeedPage, ItemId, Pushed};
use memory::{Items, Push, Which};

/// The most that one item may take. One MiB.
const ITEM_BYTES_MAX: usize = 1 << 20;
/// The most items of one page.
const PAGE_MAX: usize = 1000;
/// The most that the name of an item may take.
const NAME_BYTES_MAX: usize = 1024;
/// How many feeds are asked in one pipeline.
const TOGETHER: usize = 128;

/// The newest items of each owner. Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
/// # let larder = larder::Larder::builder("doc").open().await?;
/// use larder::DAY;
/// use larder::structures::Feed;
///
/// let feed: Feed<String> = larder.feed("activity").items_max(100).expire_after(30 * DAY).open()?;
/// let (ann, bob) = (7_u64, 8_u64);
/// feed.of(&ann).push(&"bought milk".to_owned()).await?;
/// let told = feed.push_to_many([ann, bob], &"the shop closes at six".to_owned()).await?;
/// assert!(told.is_complete());
///
/// let page = feed.of(&ann).newest(20).await?;
/// assert_eq!(page.items[0].value, "the shop closes at six");
/// assert_eq!(page.items[1].value, "bought milk");
/// # Ok(()) }
/// ```
pub struct Feed<T> {
    inner: Arc<Inner>,
    item: PhantomData<fn() -> T>,
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Feed<T> {
        Feed { inner: self.inner.clone(), item: PhantomData }
    }
}

impl<T> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Feed").field(&self.inner.shape.to_string()).finish()
    }
}

struct Inner {
    ground: Ground,
    shape: Shape,
    items_max: usize,
    expire_after: Option<Duration>,
    codec: Codec,
    /// When there is no Redis.
    memory: Option<Arc<Kept<Items>>>,
}

impl<T> Feed<T> {
    /// The feed of one owner. A key that is too long is told by what is asked of it.
    pub fn of<K: ToKey + ?Sized>(&self, owner: &K) -> FeedOf<T> {
        FeedOf { inner: self.inner.clone(), shape: self.inner.shape.of(owner), item: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> Feed<T> {
    /// Pushes one item into the feeds of many owners.
    ///
    /// Those that fail do not keep it from the others, and are told by their numbers: push to them once more.
    /// Dropped half-way it was done for some. Do it in a task of your own if the owners are many, or by a queue
    /// if it must outlive this process.
    ///
    /// # Cost
    /// One round trip for 128 owners, to all nodes of a cluster at once.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] when the item cannot be written: nothing was sent. All else is in the answer.
    pub async fn push_to_many<I>(&self, owners: I, item: &T) -> Result<FanOut, Error>
    where
        I: IntoIterator,
        I::Item: ToKey,
    {
        let bytes = self.inner.encode(item)?;
        Ok(self.inner.to_many(owners, &Step::Push { bytes: &bytes, name: None }).await)
    }

    /// As [`push_to_many`](Self::push_to_many), once for each owner: see [`FeedOf::push_once`]. A fan-out that
    /// failed can be done all over.
    ///
    /// # Errors
    /// As [`push_to_many`](Self::push_to_many); [`ErrorKind::Key`] when the name takes more than 1024 bytes.
    pub async fn push_once_to_many<I, N>(
        &self,
        owners: I,
        name: &N,
        item: &T,
    ) -> Result<FanOut, Error>
    where
        I: IntoIterator,
        I::Item: ToKey,
        N: ToKey + ?Sized,
    {
        let (bytes, name) = (self.inner.encode(item)?, self.inner.name(name)?);
        Ok(self.inner.to_many(owners, &Step::Push { bytes: &bytes, name: Some(&name) }).await)
    }
}

impl<T> Feed<T> {
    /// Takes an item that was pushed with a name out of the feeds of many owners: a post that was deleted.
    /// Harmless to repeat.
    ///
    /// # Cost
    /// As [`push_to_many`](Self::push_to_many).
    ///
    /// # Errors
    /// [`ErrorKind::Key`] when the name takes more than 1024 bytes. All else is in the answer.
    pub async fn withdraw_from_many<I, N>(&self, owners: I, name: &N) -> Result<FanOut, Error>
    where
        I: IntoIterator,
        I::Item: ToKey,
        N: ToKey + ?Sized,
    {
        let name = self.inner.name(name)?;
        Ok(self.inner.to_many(owners, &Step::Withdraw { name: &name }).await)
    }
}

/// What is done to many feeds.
enum Step<'a> {
    Push { bytes: &'a [u8], name: Option<&'a [u8]> },
    Withdraw { name: &'a [u8] },
}

impl Inner {
    fn encode<T: Serialize + DeserializeOwned>(&self, item: &T) -> Result<Vec<u8>, Error> {
        match self.codec.encode_readable(item, ITEM_BYTES_MAX)? {
            Encoded::Bytes(bytes) => Ok(bytes),
            Encoded::TooLarge => {
                let text =
                    format!("{}: an item takes more than {ITEM_BYTES_MAX} bytes", self.shape);
                Err(Error::new(ErrorKind::Encode, text))
            }
        }
    }

    fn name<N: ToKey + ?Sized>(&self, name: &N) -> Result<KeyBuf, Error> {
        let encoded = self.shape.encoded("an item's name", name, NAME_BYTES_MAX)?;
        if encoded.is_empty() {
            // In the scripts it stands for none.
            let text = format!("an item's name is empty ({})", self.shape);
            return Err(Error::new(ErrorKind::Key, text));
        }
        Ok(encoded)
    }

    fn push<'a>(&self, bytes: &'a [u8], name: Option<&'a [u8]>) -> Push<'a> {
        Push { bytes, name, items_max: self.items_max, expire_after: self.expire_after }
    }

    async fn to_many<I>(&self, owners: I, step: &Step<'_>) -> FanOut
    where
        I: IntoIterator,
        I::Item: ToKey,
    {
        let mut all = FanOut::default();
        let mut feeds: Vec<(usize, Shape)> = Vec::with_capacity(TOGETHER);
        let mut owners = owners.into_iter().enumerate().peekable();
        while owners.peek().is_some() {
            feeds.clear();
            for (at, owner) in owners.by_ref().take(TOGETHER) {
                match self.shape.of(&owner) {
                    Ok(feed) => feeds.push((at, feed)),
                    Err(why) => all.failed.push((at, why)),
                }
            }
            for ((at, _), done) in feeds.iter().zip(self.each(&feeds, step).await) {
                match done {
                    Ok(()) => all.done += 1,
                    Err(why) => all.failed.push((*at, why)),
                }
            }
        }
        all
    }

    async fn each(&self, feeds: &[(usize, Shape)], step: &Step<'_>) -> Vec<Result<(), Error>> {
        match self.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let call = |(_, feed): &(usize, Shape)| match step {
                    Step::Push { bytes, name } => redis::push(feed, &self.push(bytes, *name)),
                    Step::Withdraw { name } => redis::remove(feed, &Which::Name(name)),
                };
                let answers = commands.ask_apart(feeds.iter().map(call).collect()).await;
                let done = |answer: Result<_, _>| match step {
                    Step::Push { .. } => redis::pushed(Reply::from(answer?)).map(drop),
                    Step::Withdraw { .. } => redis::removed(Reply::from(answer?)).map(drop),
                };
                let told = |why| not_done(&self.shape, "push to many of", why);
                answers.into_iter().map(|answer| done(answer).map_err(told)).collect()
            }
            Side::Memory(_) => feeds.iter().map(|(_, feed)| self.in_memory(feed, step)).collect(),
        }
    }

    fn in_memory(&self, feed: &Shape, step: &Step<'_>) -> Result<(), Error> {
        let (kept, clock) = (self.memory()?, self.ground.clock());
        let feed = feed.part("items");
        match step {
            Step::Push { bytes, name } => {
                memory::push(kept, feed.bytes(), clock, &self.push(bytes, *name));
            }
            Step::Withdraw { name } => {
                memory::remove(kept, feed.bytes(), clock, &Which::Name(name));
            }
        }
        Ok(())
    }

    fn memory(&self) -> Result<&Kept<Items>, Error> {
        self.ground.check_open(&self.shape)?;
        // Only who has no Redis asks.
        self.memory.as_deref().ok_or_else(|| Error::new(ErrorKind::Far, "not kept in this process"))
    }
}

/// The feed of one owner. Cheap to clone.
pub struct FeedOf<T> {
    inner: Arc<Inner>,
    shape: Result<Shape, Error>,
    item: PhantomData<fn() -> T>,
}

impl<T> Clone for FeedOf<T> {
    fn clone(&self) -> FeedOf<T> {
        FeedOf { inner: self.inner.clone(), shape: self.shape.clone(), item: PhantomData }
    }
}

impl<T> fmt::Debug for FeedOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FeedOf").field(&self.inner.shape.to_string()).finish()
    }
}

impl<T: Serialize + DeserializeOwned> FeedOf<T> {
    /// Pushes an item, and says where it is. The oldest makes room when there are more than the feed keeps.
    ///
    /// # Cost
    /// One round trip; O(1), and O(log n) for each item that makes room, of which one call drops a hundred at most.
    ///
    /// # Errors
    /// [`ErrorKind::Unconfirmed`]: no answer came; it may have been pushed, and once more may push it twice:
    /// see [`push_once`](Self::push_once). [`ErrorKind::Far`]: it was not pushed.
    /// [`ErrorKind::Encode`]: it cannot be written, or takes more than one MiB.
    pub async fn push(&self, item: &T) -> Result<ItemId, Error> {
        let bytes = self.inner.encode(item)?;
        self.send(&bytes, None).await.map(Pushed::id)
    }

    /// Pushes an item that has a name, unless one of that name is in the feed: harmless to repeat.
    ///
    /// An item that the feed no longer keeps is not remembered, and may be pushed again. Under memory pressure
    /// Redis may evict the names and leave the items: then it is pushed twice.
    ///
    /// # Cost, errors
    /// As [`push`](Self::push), and [`ErrorKind::Key`] when the name takes no byte, or more than 1024.
    pub async fn push_once<N: ToKey + ?Sized>(&self, name: &N, item: &T) -> Result<Pushed, Error> {
        let (bytes, name) = (self.inner.encode(item)?, self.inner.name(name)?);
        self.send(&bytes, Some(&name)).await
    }

    async fn send(&self, bytes: &[u8], name: Option<&[u8]>) -> Result<Pushed, Error> {
        let (feed, push) = (self.shape()?, self.inner.push(bytes, name));
        match self.inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let answer = commands.ask(redis::push(feed, &push)).await;
                let pushed = answer.and_then(|answer| redis::pushed(Reply::from(answer)));
                pushed.map_err(|why| not_done(feed, "push to", why))
            }
            Side::Memory(_) => {
                let (kept, clock) = (self.inner.memory()?, self.inner.ground.clock());
                Ok(memory::push(kept, feed.part("items").bytes(), clock, &push))
            }
        }
    }

    /// The newest items: the first page.
    ///
    /// # Cost
    /// One round trip; O(count).
    ///
    /// # Errors
    /// [`ErrorKind::Far`]: no answer came; ask again. [`ErrorKind::Config`]: `count` is not from 1 to 1000.
    pub async fn newest(&self, count: usize) -> Result<FeedPage<T>, Error> {
        self.page(None, count).await
    }

    /// The items that come before this one: the page after the one whose [`next`](FeedPage::next) it is. It does
    /// not need to be in the feed any more.
    ///
    /// # Cost, errors
    /// As [`newest`](Self::newest); O(log n + count).
    pub async fn before(&self, item: ItemId, count: usize) -> Result<FeedPage<T>, Error> {
        self.page(Some(item), count).await
    }

    async fn page(&self, before: Option<ItemId>, count: usize) -> Result<FeedPage<T>, Error> {
        let feed = self.shape()?;
        bounds::check(feed, "count", count, 1..=PAGE_MAX)?;
        // One more, to know whether there is one more.
        let mut found = match self.inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let answer = commands.ask(redis::page(feed, before, count + 1)).await;
                let items = answer.and_then(|answer| redis::items(Reply::from(answer)));
                items.map_err(|why| not_read(feed, "read", why))?
            }
            Side::Memory(_) => {
                let (kept, clock) = (self.inner.memory()?, self.inner.ground.clock());
                memory::page(kept, feed.part("items").bytes(), clock, before, count + 1)
            }
        };
        let has_more = found.len() > count;
        found.truncate(count);
        let next = found.last().map(|(id, _)| *id).filter(|_| has_more);
        let mut page =
            FeedPage { items: Vec::with_capacity(found.len()), next, unreadable: vec![] };
        for (id, bytes) in found {
            match self.inner.codec.decode(&bytes) {
                Ok(value) => page.items.push(FeedItem { id, value }),
                Err(_) => page.unreadable.push(id),
            }
        }
        Ok(page)
    }
}

impl<T> FeedOf<T> {
    /// How many items there are.
    ///
    /// # Cost, errors
    /// One round trip; O(1). [`ErrorKind::Far`]: no answer came; ask again.
    pub async fn len(&self) -> Result<usize, Error> {
        let feed = self.shape()?;
        match self.inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let answer = commands.ask(redis::length(feed)).await;
                let length = answer.and_then(|answer| Reply::from(answer).count());
                length.map_err(|why| not_read(feed, "count", why))
            }
            Side::Memory(_) => {
                let (kept, clock) = (self.inner.memory()?, self.inner.ground.clock());
                Ok(memory::length(kept, feed.part("items").bytes(), clock))
            }
        }
    }

    /// Is there no item?
    ///
    /// # Cost, errors
    /// As [`len`](Self::len).
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }

    /// Takes one item out. Harmless to repeat.
    ///
    /// # Cost, errors
    /// One round trip; O(log n). [`ErrorKind::Unconfirmed`]: no answer came, and it may be gone.
    /// [`ErrorKind::Far`]: it was not asked.
    pub async fn remove(&self, item: ItemId) -> Result<Removal, Error> {
        self.take(&Which::Id(item)).await
    }

    /// Takes out the item that was pushed with this name. Harmless to repeat.
    ///
    /// # Cost, errors
    /// As [`remove`](Self::remove).
    pub async fn withdraw<N: ToKey + ?Sized>(&self, name: &N) -> Result<Removal, Error> {
        self.take(&Which::Name(&self.inner.name(name)?)).await
    }

    async fn take(&self, which: &Which<'_>) -> Result<Removal, Error> {
        let feed = self.shape()?;
        match self.inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let answer = commands.ask(redis::remove(feed, which)).await;
                let removed = answer.and_then(|answer| redis::removed(Reply::from(answer)));
                removed.map_err(|why| not_done(feed, "remove from", why))
            }
            Side::Memory(_) => {
                let (kept, clock) = (self.inner.memory()?, self.inner.ground.clock());
                Ok(memory::remove(kept, feed.part("items").bytes(), clock, which))
            }
        }
    }

    /// Takes all items out. Harmless to repeat.
    ///
    /// # Cost, errors
    /// One round trip; the memory is freed in the background. Errors as [`remove`](Self::remove).
    pub async fn clear(&self) -> Result<(), Error> {
        let feed = self.shape()?;
        match self.inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let answer = commands.ask(redis::clear(feed)).await;
                answer.map(drop).map_err(|why| not_done(feed, "clear", why))
            }
            Side::Memory(_) => {
                let (kept, clock) = (self.inner.memory()?, self.inner.ground.clock());
                kept.remove(feed.part("items").bytes(), clock.now());
                Ok(())
            }
        }
    }

    fn shape(&self) -> Result<&Shape, Error> {
        self.shape.as_ref().map_err(Clone::clone)
    }
}
