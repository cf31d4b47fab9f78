//! A plain list that other languages read: [`Fifo`].
//!
//! Items are pushed on the left and taken from the right; what is taken moves to a list of its consumer's own, and
//! is removed from there when it is done. A consumer says that it lives by a key with a time to live; what one had
//! that is gone is put back by whoever takes next. There is no count of attempts, no delay and no dead letter beside
//! the list of what cannot be read: for those there is [`Queue`](super::Queue).
//!
//! One task for each handle that has taken something says that the process lives, and puts back what went astray on
//! its way to it; it ends with the handle.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
#[cfg(feature = "redis")]
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::Finished;
use crate::clock::{Clock, DAY, SECOND};
use crate::entry::{Codec, Encoded};
use crate::error::{Error, ErrorKind};
use crate::key::Shape;
use crate::structures::{Ground, Side};

mod memory;
#[cfg(feature = "redis")]
pub(super) mod redis;

/// How many items that cannot be read are kept for people to look at.
const REJECTED_MAX: usize = 1000;
/// How often who waits looks, without being told.
const LOOK_EVERY: Duration = SECOND;

/// Settles how a [`Fifo`] works. Every default is here.
#[must_use]
pub struct FifoBuilder {
    ground: Ground,
    name: String,
    rules: Rules,
}

#[derive(Clone, Debug)]
struct Rules {
    items_max: u64,
    item_bytes_max: usize,
    silence: Duration,
    codec: Codec,
}

impl fmt::Debug for FifoBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FifoBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FifoBuilder {
    pub(crate) fn new(ground: Ground, name: &str) -> FifoBuilder {
        #[cfg(feature = "json")]
        let codec = Codec::Json;
        #[cfg(not(feature = "json"))]
        let codec = Codec::default();
        let (items_max, item_bytes_max) = (100_000, 1 << 20);
        let rules = Rules { items_max, item_bytes_max, silence: 30 * SECOND, codec };
        FifoBuilder { ground, name: name.to_owned(), rules }
    }

    /// How many items may wait. 100,000; from 1 to 100,000,000. A push beyond it is [`ErrorKind::Overloaded`]. Who
    /// pushes without larder is not held to it.
    pub fn items_max(mut self, items: u64) -> FifoBuilder {
        self.rules.items_max = items;
        self
    }

    /// How large one item may be when written. 1 MiB; from 1 to 64 MiB.
    pub fn item_bytes_max(mut self, bytes: usize) -> FifoBuilder {
        self.rules.item_bytes_max = bytes;
        self
    }

    /// For how long a process may be silent before what it has taken is put back. 30 seconds; from 100 ms to a day.
    pub fn silence(mut self, time: Duration) -> FifoBuilder {
        self.rules.silence = time;
        self
    }

    /// How items are written: with the feature `json` as JSON text, for others to read; without, as
    /// [`Codec::MessagePack`].
    pub fn codec(mut self, codec: Codec) -> FifoBuilder {
        self.rules.codec = codec;
        self
    }

    /// Opens it. Asks nobody: no round trip.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: a setting is out of its bounds, or the name is not 1 to 64 of `A-Z a-z 0-9 _ . -`.
    pub fn open<T>(self) -> Result<Fifo<T>, Error> {
        let Rules { items_max, item_bytes_max, silence, .. } = self.rules;
        let least = Duration::from_millis(100);
        let wrong = if !(1..=100_000_000).contains(&items_max) {
            Some(format!("items_max is from 1 to 100000000, not {items_max}"))
        } else if !(1..=64 << 20).contains(&item_bytes_max) {
            Some(format!("item_bytes_max is from 1 to {}, not {item_bytes_max}", 64 << 20))
        } else if !(least..=DAY).contains(&silence) {
            Some(format!("silence is from {least:?} to {DAY:?}, not {silence:?}"))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            return Err(Error::new(ErrorKind::Config, format!("fifo {}: {wrong}", self.name)));
        }
        let shape = self.ground.shape("fifo", &self.name)?.of(self.name.as_str())?;
        let place = match self.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                Place::Redis(Box::new(redis::List::new(commands.clone(), shape.clone())))
            }
            Side::Memory(shelves) => Place::Memory(shelves.get::<memory::Desk>(&shape)?),
        };
        let inner = Inner {
            ground: self.ground,
            shape,
            rules: self.rules,
            place,
            #[cfg(feature = "redis")]
            lives: AtomicBool::new(false),
        };
        Ok(Fifo { inner: Arc::new(inner), of: PhantomData })
    }
}

/// A plain list: first in, first out. Cheap to clone; all clones are one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
/// use larder::structures::Fifo;
/// use larder::{Larder, SECOND};
///
/// let larder = Larder::builder("shop").open().await?; // .redis("redis://..") for a fleet
/// let orders: Fifo<u64> = larder.fifo("orders").open()?;
/// orders.push(&17).await?;
/// let mut order = orders.take(SECOND).await?.expect("the one that was pushed");
/// assert_eq!(*order.body(), 17);
/// let _ = order.done().await?;
/// # Ok(()) }
/// ```
///
/// # What it promises
/// An item whose push was `Ok` is taken until somebody was done with it: at least once, as a
/// [`Queue`](super::Queue)'s job, with its exceptions. Weaker is this: an item that kills its consumers comes again
/// for ever; two items of the same bytes are one to `done`; a process that is silent for too long loses all it
/// has taken at once.
///
/// # For other languages
/// The list is `<app>:s:fifo.<name>:items:{.<length of name>.<name>}`: `LPUSH` to push, `RPOP` (or `BLMOVE` to a list of
/// one's own) to take. Items are JSON text with the feature `json`.
pub struct Fifo<T> {
    inner: Arc<Inner>,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Fifo<T> {
    fn clone(&self) -> Fifo<T> {
        Fifo { inner: self.inner.clone(), of: PhantomData }
    }
}

impl<T> fmt::Debug for Fifo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fifo").field("name", &self.inner.shape.to_string()).finish_non_exhaustive()
    }
}

struct Inner {
    ground: Ground,
    shape: Shape,
    rules: Rules,
    place: Place,
    /// Was the task begun that says that we live?
    #[cfg(feature = "redis")]
    lives: AtomicBool,
}

enum Place {
    #[cfg(feature = "redis")]
    Redis(Box<redis::List>),
    Memory(Arc<memory::Desk>),
}

/// How much there is in a list.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FifoStats {
    /// Items that nobody has taken.
    pub waiting: u64,
    /// Items that this handle has taken, and not done yet.
    pub taken: u64,
    /// Items that could not be read.
    pub rejected: u64,
}

impl Inner {
    fn clock(&self) -> &Clock {
        self.ground.clock()
    }

    fn is_open(&self) -> Result<(), Error> {
        self.ground.check_open(&self.shape)
    }

    async fn push(&self, item: Vec<u8>) -> Result<bool, Error> {
        self.is_open()?;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(list) => list.push(&item, &self.rules).await,
            Place::Memory(desk) => Ok(desk.push(item, &self.rules)),
        }
    }

    async fn take(self: &Arc<Self>) -> Result<Option<Vec<u8>>, Error> {
        self.is_open()?;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(list) => {
                if !self.lives.swap(true, std::sync::atomic::Ordering::AcqRel) {
                    tokio::spawn(redis::live(Arc::downgrade(self)));
                }
                list.take(&self.rules).await
            }
            Place::Memory(desk) => Ok(desk.take()),
        }
    }

    async fn wait(&self, wait: Duration) -> Option<Vec<u8>> {
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(list) => {
                let until = self.clock().now().plus(wait);
                let item = list.wait(wait).await;
                let left = until.since(self.clock().now()).min(Duration::from_millis(100));
                if item.is_none() && !left.is_zero() {
                    // It could not wait there: not again at once.
                    self.clock().sleep(left / 2 + self.clock().up_to(left / 2)).await;
                }
                item
            }
            Place::Memory(desk) => {
                desk.wait(wait, self.clock()).await;
                None
            }
        }
    }

    async fn done(&self, item: &[u8]) -> Result<bool, Error> {
        self.is_open()?;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(list) => list.done(item).await,
            Place::Memory(desk) => Ok(desk.done(item)),
        }
    }

    async fn put_back(&self, item: &[u8]) -> Result<bool, Error> {
        self.is_open()?;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(list) => list.put_back(item).await,
            Place::Memory(desk) => Ok(desk.put_back(item)),
        }
    }

    /// In this process nothing goes astray: what is taken is in somebody's hand.
    fn is_taken(&self, item: &[u8]) {
        let _ = item;
        #[cfg(feature = "redis")]
        if let Place::Redis(list) = &self.place {
            list.is_taken(item);
        }
    }

    fn is_let_go(&self, item: &[u8]) {
        let _ = item;
        #[cfg(feature = "redis")]
        if let Place::Redis(list) = &self.place {
            list.is_let_go(item);
        }
    }

    async fn reject(&self, item: &[u8]) -> Result<bool, Error> {
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(list) => list.reject(item).await,
            Place::Memory(desk) => Ok(desk.reject(item)),
        }
    }
}

impl<T: Serialize + DeserializeOwned> Fifo<T> {
    /// Puts an item at the end.
    ///
    /// # Cost
    /// One round trip; O(1) in Redis.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`]: the list is full. [`ErrorKind::Encode`]: the item cannot be written, or is too large.
    /// [`ErrorKind::Far`]: nothing was pushed. [`ErrorKind::Unconfirmed`]: it may have been; to push again may push it twice.
    /// [`ErrorKind::Closed`] after `close`.
    pub async fn push(&self, body: &T) -> Result<(), Error> {
        let Inner { rules, shape, .. } = &*self.inner;
        let item = match rules.codec.encode_readable(body, rules.item_bytes_max)? {
            Encoded::Bytes(bytes) => bytes,
            Encoded::TooLarge => {
                let most = rules.item_bytes_max;
                let text = format!("cannot push to {shape}: the item is larger than {most}");
                return Err(Error::new(ErrorKind::Encode, text));
            }
        };
        if self.inner.push(item).await? {
            return Ok(());
        }
        let text = format!("cannot push to {shape}: it is full, {} at most", rules.items_max);
        Err(Error::new(ErrorKind::Overloaded, text))
    }

    /// Takes the oldest item; waits for one for as long as `wait`, which may be zero. `None`: there was none. One that
    /// cannot be read is set aside and told in the log; the next one is taken.
    ///
    /// # Cost
    /// One round trip when there is one; every half [`silence`](FifoBuilder::silence) two more, to look for consumers that
    /// are gone. While it waits, the one who waits in this process holds a connection of its own.
    ///
    /// # Dropping the future
    /// An item that was on its way to it is put back when it was in nobody's hand for two thirds of the
    /// [`silence`](FifoBuilder::silence).
    ///
    /// # Errors
    /// [`ErrorKind::Far`], also with a full memory: to take is to write. [`ErrorKind::Closed`] after `close`.
    pub async fn take(&self, wait: Duration) -> Result<Option<Item<T>>, Error> {
        let inner = &self.inner;
        let until = inner.clock().now().plus(wait);
        loop {
            let mut item = inner.take().await?;
            let left = until.since(inner.clock().now());
            if item.is_none() && !left.is_zero() {
                let look = LOOK_EVERY / 2 + inner.clock().up_to(LOOK_EVERY / 2);
                item = inner.wait(look.min(left)).await;
            }
            match item.map(|bytes| (inner.rules.codec.decode(&bytes), bytes)) {
                Some((Ok(body), bytes)) => {
                    let (inner, runtime) = (inner.clone(), Handle::current());
                    inner.is_taken(&bytes);
                    return Ok(Some(Item { body, bytes, inner, runtime, ended: false }));
                }
                Some((Err(why), bytes)) => {
                    tracing::warn!(fifo = %inner.shape, %why, "an item cannot be read and is set aside");
                    inner.reject(&bytes).await?;
                }
                None if left.is_zero() => return Ok(None),
                None => {}
            }
        }
    }

    /// How much there is. One round trip; O(1) in Redis.
    ///
    /// # Errors
    /// [`ErrorKind::Far`], [`ErrorKind::Closed`].
    pub async fn stats(&self) -> Result<FifoStats, Error> {
        self.inner.is_open()?;
        match &self.inner.place {
            #[cfg(feature = "redis")]
            Place::Redis(list) => list.stats().await,
            Place::Memory(desk) => Ok(desk.stats()),
        }
    }
}

/// An item that was taken. Dropped before it is [done](Self::done), it is put back in the background, to be taken next.
pub struct Item<T> {
    body: T,
    bytes: Vec<u8>,
    inner: Arc<Inner>,
    runtime: Handle,
    ended: bool,
}

impl<T: fmt::Debug> fmt::Debug for Item<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item").field("body", &self.body).finish_non_exhaustive()
    }
}

impl<T> Drop for Item<T> {
    fn drop(&mut self) {
        self.inner.is_let_go(&self.bytes);
        if !self.ended {
            let (inner, bytes) = (self.inner.clone(), std::mem::take(&mut self.bytes));
            // It ends with its answer or its deadline. Unheard, the task that says that we live finds it.
            self.runtime.spawn(async move { inner.put_back(&bytes).await });
        }
    }
}

impl<T> Item<T> {
    /// What was pushed.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// It is done, and removed for good, if it is still ours.
    ///
    /// # Cost
    /// One round trip; O(taken by this handle) in Redis.
    ///
    /// # Errors
    /// [`ErrorKind::Far`]: try again. [`ErrorKind::Unconfirmed`]: it may have been removed; to repeat it is harmless, unless this
    /// handle has taken another of the same bytes. [`ErrorKind::Closed`] after `close`.
    pub async fn done(&mut self) -> Result<Finished, Error> {
        let done = self.inner.done(&self.bytes).await?;
        self.ended = true;
        Ok(if done { Finished::Done } else { Finished::Lost })
    }

    /// Leaves it to others, and says whether it was still ours: it is the next to be taken.
    ///
    /// # Errors
    /// As [`done`](Self::done).
    pub async fn put_back(&mut self) -> Result<Finished, Error> {
        let done = self.inner.put_back(&self.bytes).await?;
        self.ended = true;
        Ok(if done { Finished::Done } else { Finished::Lost })
    }
}
