//! Members without order, each once, for each key.
//!
//! Members are compared by their bytes: equal values must be written alike, which all types do whose serde
//! form has no maps without order (`HashMap`, `HashSet`) in it. Each step on one set happens on its server at one moment.
//!
//! Nothing is started here.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::kept::Kept;
use super::{Ground, Side, bounds};
use crate::entry::codec::plain;
use crate::error::{Error, ErrorKind};
use crate::key::{Name, Shape, ToKey};
#[cfg(feature = "redis")]
use crate::redis::{Call, Reply};
#[cfg(feature = "redis")]
use crate::structures::{not_done, not_read};

mod builder;
mod found;
mod memory;
#[cfg(feature = "redis")]
pub(super) mod redis;
mod together;

pub use builder::SetBuilder;
use found::Place;
pub use found::{Added, AddedMany, Members, SetCursor, SetPage};

/// The most that one member may take. 64 KiB.
const MEMBER_BYTES_MAX: usize = 64 << 10;
/// How many members go in one call; and the most of one page.
const TOGETHER: usize = 1000;

/// Members without order for each key. Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
/// # let larder = larder::Larder::builder("doc").open().await?;
/// use larder::structures::{Added, Set};
///
/// let readers: Set<u64> = larder.set("readers").open()?;
/// let post = readers.of("post:1");
/// assert_eq!(post.add(&7).await?, Added::New);
/// assert_eq!(post.add(&7).await?, Added::AlreadyThere);
/// let _ = post.add_many([8, 9]).await?;
/// assert!(post.contains(&8).await?);
///
/// let other = readers.of("post:2");
/// let _ = other.add_many([9, 10]).await?;
/// assert_eq!(post.intersection(&[&other]).await?.members, [9]);
/// # Ok(()) }
/// ```
pub struct Set<M> {
    inner: Arc<Inner>,
    member: PhantomData<fn() -> M>,
}

impl<M> Clone for Set<M> {
    fn clone(&self) -> Set<M> {
        Set { inner: self.inner.clone(), member: PhantomData }
    }
}

impl<M> fmt::Debug for Set<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Set").field(&self.inner.shape.to_string()).finish()
    }
}

struct Inner {
    ground: Ground,
    shape: Shape,
    members_max: usize,
    expire_after: Option<Duration>,
    /// When there is no Redis.
    memory: Option<Arc<Kept<memory::Members>>>,
}

impl Inner {
    fn memory(&self) -> Result<&Kept<memory::Members>, Error> {
        self.ground.check_open(&self.shape)?;
        // Only who has no Redis asks.
        self.memory.as_deref().ok_or_else(|| Error::new(ErrorKind::Far, "not kept in this process"))
    }
}

impl<M> Set<M> {
    /// The one under this key. A key that is too long is told by what is asked of it.
    pub fn of<K: ToKey + ?Sized>(&self, key: &K) -> SetOf<M> {
        let name = self.inner.shape.of(key).map(|shape| shape.part("v"));
        SetOf { inner: self.inner.clone(), name, member: PhantomData }
    }
}

/// The set under one key. Cheap to clone.
pub struct SetOf<M> {
    inner: Arc<Inner>,
    name: Result<Name, Error>,
    member: PhantomData<fn() -> M>,
}

impl<M> Clone for SetOf<M> {
    fn clone(&self) -> SetOf<M> {
        SetOf { inner: self.inner.clone(), name: self.name.clone(), member: PhantomData }
    }
}

impl<M> fmt::Debug for SetOf<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SetOf").field(&self.inner.shape.to_string()).finish()
    }
}

/// Errors of all: [`ErrorKind::Encode`]: a member cannot be written, is nothing, or takes more than 64 KiB.
/// [`ErrorKind::Far`]: it was not done; of what only looks: no answer came, ask again.
/// [`ErrorKind::Unconfirmed`], of what changes something: no answer came, and it may have been done; it can be
/// repeated without harm.
impl<M: Serialize + DeserializeOwned> SetOf<M> {
    /// Adds a member, if there is room for it.
    ///
    /// # Cost
    /// One round trip; O(1).
    ///
    /// # Errors
    /// As said above.
    pub async fn add(&self, member: &M) -> Result<Added, Error> {
        let told = self.add_encoded(&[encoded(member)?]).await?;
        Ok(match told.first() {
            Some(1) => Added::New,
            Some(0) => Added::AlreadyThere,
            _ => Added::NoRoom,
        })
    }

    /// Adds many members, for which there is room.
    ///
    /// # Cost
    /// A round trip for each thousand; each thousand is one step.
    ///
    /// # Errors
    /// As said above: of thousands before the one that failed all were added.
    pub async fn add_many<I>(&self, members: I) -> Result<AddedMany, Error>
    where
        I: IntoIterator,
        I::Item: std::borrow::Borrow<M>,
    {
        let mut all = AddedMany::default();
        let mut given = 0;
        for some in all_encoded(members)?.chunks(TOGETHER) {
            for (at, code) in self.add_encoded(some).await?.into_iter().enumerate() {
                match code {
                    1 => all.new += 1,
                    0 => all.already_there += 1,
                    _ => all.no_room.push(given + at),
                }
            }
            given += some.len();
        }
        Ok(all)
    }

    async fn add_encoded(&self, members: &[Vec<u8>]) -> Result<Vec<i64>, Error> {
        let (inner, name) = (&self.inner, self.name()?);
        match inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let expire_ms = bounds::ms(inner.expire_after);
                let call = redis::add(name, members, inner.members_max, expire_ms);
                let told = commands.ask(call).await.map(Reply::from).and_then(redis::numbers);
                told.map_err(|why| not_done(&inner.shape, "add to", why))
            }
            Side::Memory(_) => {
                let (kept, clock) = (inner.memory()?, inner.ground.clock());
                let (most, expire) = (inner.members_max, inner.expire_after);
                Ok(memory::add(kept, name.bytes(), clock, members, most, expire))
            }
        }
    }

    /// Removes members; how many of them were there.
    ///
    /// # Cost
    /// A round trip for each thousand; O(members given).
    ///
    /// # Errors
    /// As said above.
    pub async fn remove<I>(&self, members: I) -> Result<usize, Error>
    where
        I: IntoIterator,
        I::Item: std::borrow::Borrow<M>,
    {
        let (inner, name) = (&self.inner, self.name()?);
        let mut removed = 0;
        for some in all_encoded(members)?.chunks(TOGETHER) {
            removed += match inner.ground.side() {
                #[cfg(feature = "redis")]
                Side::Redis(commands) => {
                    let call = redis::with(Call::new("SREM", name), some);
                    let count = commands.ask(call).await.map(Reply::from).and_then(Reply::count);
                    count.map_err(|why| not_done(&inner.shape, "remove from", why))?
                }
                Side::Memory(_) => {
                    memory::remove(inner.memory()?, name.bytes(), inner.ground.clock(), some)
                }
            };
        }
        Ok(removed)
    }

    /// Is it a member?
    ///
    /// # Cost, errors
    /// One round trip; O(1). Errors as said above.
    pub async fn contains(&self, member: &M) -> Result<bool, Error> {
        let told = self.contains_encoded(&[encoded(member)?]).await?;
        Ok(told.first().copied().unwrap_or(false))
    }

    /// Which of these are members, in their order?
    ///
    /// # Cost, errors
    /// A round trip for each thousand; O(members given). Errors as said above.
    pub async fn contains_many<I>(&self, members: I) -> Result<Vec<bool>, Error>
    where
        I: IntoIterator,
        I::Item: std::borrow::Borrow<M>,
    {
        let mut told = Vec::new();
        for some in all_encoded(members)?.chunks(TOGETHER) {
            told.extend(self.contains_encoded(some).await?);
        }
        Ok(told)
    }

    async fn contains_encoded(&self, members: &[Vec<u8>]) -> Result<Vec<bool>, Error> {
        let (inner, name) = (&self.inner, self.name()?);
        match inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let call = redis::with(Call::new("SMISMEMBER", name), members);
                let told = commands.ask(call).await.map(Reply::from).and_then(redis::numbers);
                let told = told.map_err(|why| not_read(&inner.shape, "look into", why))?;
                Ok(told.into_iter().map(|code| code == 1).collect())
            }
            Side::Memory(_) => {
                Ok(memory::contains(inner.memory()?, name.bytes(), inner.ground.clock(), members))
            }
        }
    }

    /// Some members, in no order: the first of several pages.
    ///
    /// Who is a member from the first page to the last is in at least one of them; who comes or goes meanwhile
    /// may be; one may be in two. A page has about `count` members, none perhaps; small sets (512 numbers, 128
    /// short strings) come in one, whatever `count` is. When the set changes its server between two pages (failover, a slot that
    /// moves), begin again: members may be missing.
    ///
    /// # Cost
    /// One round trip; O(count).
    ///
    /// # Errors
    /// As said above; [`ErrorKind::Config`]: `count` is not from 1 to 1000.
    pub async fn page(&self, count: usize) -> Result<SetPage<M>, Error> {
        self.page_at(None, count).await
    }

    /// The page that begins where another ended: see [`page`](Self::page).
    ///
    /// # Cost, errors
    /// As [`page`](Self::page).
    pub async fn page_from(&self, at: &SetCursor, count: usize) -> Result<SetPage<M>, Error> {
        self.page_at(Some(&at.0), count).await
    }

    async fn page_at(&self, at: Option<&Place>, count: usize) -> Result<SetPage<M>, Error> {
        let (inner, name) = (&self.inner, self.name()?);
        bounds::check(&inner.shape, "count", count, 1..=TOGETHER)?;
        let (found, next) = match inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let cursor = match at {
                    Some(Place::Scan(cursor)) => *cursor,
                    _ => 0,
                };
                let answer = commands.ask(redis::page(name, cursor, count)).await;
                let page = answer.map(Reply::from).and_then(redis::paged);
                let (cursor, found) = page.map_err(|why| not_read(&inner.shape, "read", why))?;
                (found, Some(Place::Scan(cursor)).filter(|_| cursor != 0))
            }
            Side::Memory(_) => {
                let after = match at {
                    Some(Place::Behind(member)) => Some(member),
                    _ => None,
                };
                let (kept, clock) = (inner.memory()?, inner.ground.clock());
                let (found, more) = memory::page(kept, name.bytes(), clock, after, count);
                let next = found.last().cloned().filter(|_| more).map(Place::Behind);
                (found, next)
            }
        };
        let Members { members, unreadable } = decoded(&found);
        Ok(SetPage { members, unreadable, next: next.map(SetCursor) })
    }

    /// Different members, drawn by lot; all of them if there are no more than `count`.
    ///
    /// # Cost
    /// One round trip; O(count) in Redis, O(members) in this process.
    ///
    /// # Errors
    /// As said above; [`ErrorKind::Config`]: `count` is not from 1 to 1000.
    pub async fn random(&self, count: usize) -> Result<Members<M>, Error> {
        let (inner, name) = (&self.inner, self.name()?);
        bounds::check(&inner.shape, "count", count, 1..=TOGETHER)?;
        let found = match inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let answer = commands.ask(Call::new("SRANDMEMBER", name).arg(count)).await;
                let found = answer.map(Reply::from).and_then(redis::members);
                found.map_err(|why| not_read(&inner.shape, "draw from", why))?
            }
            Side::Memory(_) => {
                memory::random(inner.memory()?, name.bytes(), inner.ground.clock(), count)
            }
        };
        Ok(decoded(&found))
    }
}

impl<M> SetOf<M> {
    /// How many members there are.
    ///
    /// # Cost, errors
    /// One round trip; O(1). [`ErrorKind::Far`]: no answer came; ask again.
    pub async fn len(&self) -> Result<usize, Error> {
        let (inner, name) = (&self.inner, self.name()?);
        match inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let answer = commands.ask(Call::new("SCARD", name)).await;
                let count = answer.map(Reply::from).and_then(Reply::count);
                count.map_err(|why| not_read(&inner.shape, "count", why))
            }
            Side::Memory(_) => {
                Ok(memory::size(inner.memory()?, name.bytes(), inner.ground.clock()))
            }
        }
    }

    /// Is there no member?
    ///
    /// # Cost, errors
    /// As [`len`](Self::len).
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }

    /// Removes all members. Harmless to repeat.
    ///
    /// # Cost, errors
    /// One round trip; the memory is freed in the background. [`ErrorKind::Unconfirmed`]: no answer came, and it may
    /// have been done. [`ErrorKind::Far`]: it was not.
    pub async fn clear(&self) -> Result<(), Error> {
        let (inner, name) = (&self.inner, self.name()?);
        match inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let clearing = commands.ask(Call::new("UNLINK", name)).await;
                clearing.map(drop).map_err(|why| not_done(&inner.shape, "clear", why))
            }
            Side::Memory(_) => {
                inner.memory()?.remove(name.bytes(), inner.ground.clock().now());
                Ok(())
            }
        }
    }

    fn name(&self) -> Result<&Name, Error> {
        self.name.as_ref().map_err(Clone::clone)
    }
}

fn encoded<M: Serialize>(member: &M) -> Result<Vec<u8>, Error> {
    let nothing = || Error::new(ErrorKind::Encode, "cannot write member: it is nothing");
    plain::encode(member, MEMBER_BYTES_MAX)?.ok_or_else(nothing)
}

fn all_encoded<M, I>(members: I) -> Result<Vec<Vec<u8>>, Error>
where
    M: Serialize,
    I: IntoIterator,
    I::Item: std::borrow::Borrow<M>,
{
    members.into_iter().map(|member| encoded(std::borrow::Borrow::borrow(&member))).collect()
}

fn decoded<M: DeserializeOwned>(found: &[Vec<u8>]) -> Members<M> {
    let members: Vec<M> = found.iter().filter_map(|bytes| plain::decode(bytes).ok()).collect();
    Members { unreadable: found.len() - members.len(), members }
}
