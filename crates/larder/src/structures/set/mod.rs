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

mod memory;
#[cfg(feature = "redis")]
pub(super) mod redis;
mod together;

use together::How;

/// The most that one member may take. 64 KiB.
const MEMBER_BYTES_MAX: usize = 64 << 10;
/// How many members go in one call; and the most of one page.
const TOGETHER: usize = 1000;
/// How many members are looked at, at most, when sets are put together.
const LOOKED_AT_MAX: usize = 10_000;
/// How many sets are put together at most.
const SETS_MAX: usize = 16;

/// Settles how a [`Set`] works. Every default is here.
#[must_use]
pub struct SetBuilder {
    ground: Ground,
    name: String,
    members_max: usize,
    expire_after: Option<Duration>,
}

impl fmt::Debug for SetBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SetBuilder {
    pub(crate) fn new(ground: Ground, name: String) -> SetBuilder {
        SetBuilder { ground, name, members_max: 100_000, expire_after: None }
    }

    /// How many members each set may have; what comes then is [refused](Added::NoRoom). 100,000; from 1 to
    /// 10,000,000.
    pub fn members_max(mut self, members: usize) -> SetBuilder {
        self.members_max = members;
        self
    }

    /// How long after the last member came, or came again, a set is forgotten, whole. Never; from a millisecond to
    /// ten years.
    pub fn expire_after(mut self, time: Duration) -> SetBuilder {
        self.expire_after = Some(time);
        self
    }

    /// Opens it. Nothing is asked of Redis.
    ///
    /// A member is text if it is a number, a string, a bool or an enum without fields, and MessagePack otherwise.
    /// Two handles on one name with other settings each follow their own.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a setting is out of its bounds, or the name is not 1 to 64 of `A-Z a-z 0-9 _ . -`.
    pub fn open<M>(self) -> Result<Set<M>, Error> {
        let shape = self.ground.shape("set", &self.name)?;
        bounds::check(&shape, "members_max", self.members_max, 1..=10_000_000)?;
        if let Some(time) = self.expire_after {
            bounds::check_time(&shape, "expire_after", time)?;
        }
        let memory = match self.ground.side() {
            Side::Memory(shelves) => Some(shelves.get::<Kept<memory::Members>>(&shape)?),
            #[cfg(feature = "redis")]
            Side::Redis(_) => None,
        };
        let SetBuilder { ground, members_max, expire_after, .. } = self;
        let inner = Inner { ground, shape, members_max, expire_after, memory };
        Ok(Set { inner: Arc::new(inner), member: PhantomData })
    }
}

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

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is in the set now.
    New,
    /// It was in it.
    AlreadyThere,
    /// There are as many members as the set may have: it is not in it.
    NoRoom,
}

/// What became of many members.
#[must_use = "members there was no room for are only told here"]
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddedMany {
    /// How many are in the set now that were not.
    pub new: usize,
    /// How many were in it.
    pub already_there: usize,
    /// For which there is no room, by their numbers among those that were given.
    pub no_room: Vec<usize>,
}

/// Members that were found.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members<M> {
    /// In no order.
    pub members: Vec<M>,
    /// How many more there are that are no `M`.
    pub unreadable: usize,
}

/// Some members, and where to go on.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct SetPage<M> {
    /// In no order.
    pub members: Vec<M>,
    /// How many more there are that are no `M`.
    pub unreadable: usize,
    /// Where the next page begins; `None` after the last.
    pub next: Option<SetCursor>,
}

/// Where a page of a set begins. It means something to the set it is of, for as long as that is on one server.
#[derive(Clone, Debug)]
pub struct SetCursor(Place);

#[derive(Clone, Debug)]
enum Place {
    #[cfg(feature = "redis")]
    Scan(u64),
    Behind(Vec<u8>),
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

    /// Who is in this set, or in one of the others.
    ///
    /// Sets under one key share a server, whatever their names: `online.of(&room)` and `muted.of(&room)`. They are
    /// put together there, at one moment. Others are put together here, each as it was when it was asked.
    ///
    /// # Cost
    /// One round trip, or one for each set if they have different keys; O(members of all).
    ///
    /// # Errors
    /// As said above; [`ErrorKind::Overloaded`]: the sets have more than 10,000 members together, turn their
    /// pages instead; [`ErrorKind::Config`]: more than 15 others.
    pub async fn union(&self, others: &[&SetOf<M>]) -> Result<Members<M>, Error> {
        self.put_together(How::Union, others).await.map(|found| decoded(&found))
    }

    /// Who is in this set and in all the others: see [`union`](Self::union).
    ///
    /// # Cost, errors
    /// As [`union`](Self::union).
    pub async fn intersection(&self, others: &[&SetOf<M>]) -> Result<Members<M>, Error> {
        self.put_together(How::Intersection, others).await.map(|found| decoded(&found))
    }

    /// Who is in this set and in none of the others: see [`union`](Self::union).
    ///
    /// # Cost, errors
    /// As [`union`](Self::union).
    pub async fn difference(&self, others: &[&SetOf<M>]) -> Result<Members<M>, Error> {
        self.put_together(How::Difference, others).await.map(|found| decoded(&found))
    }

    /// How many are in this set and in all the others, counted up to `limit`: 0 for no limit.
    ///
    /// # Cost
    /// Of sets under one key: one round trip; O(members of the smallest), less where the limit is reached soon.
    /// Of others as [`union`](Self::union).
    ///
    /// # Errors
    /// As [`union`](Self::union); of sets under one key however many members they have.
    pub async fn intersection_len(
        &self,
        others: &[&SetOf<M>],
        limit: usize,
    ) -> Result<usize, Error> {
        #[cfg(feature = "redis")]
        if let Side::Redis(commands) = self.inner.ground.side() {
            let names = self.with_others(others)?;
            if share_a_slot(&names)
                && let Some(call) = redis::common(&names, limit)
            {
                let count = commands.ask(call).await.map(Reply::from).and_then(Reply::count);
                return count.map_err(|why| not_read(&self.inner.shape, "intersect", why));
            }
        }
        let common = self.put_together(How::Intersection, others).await?.len();
        Ok(if limit == 0 { common } else { common.min(limit) })
    }

    async fn put_together(&self, how: How, others: &[&SetOf<M>]) -> Result<Vec<Vec<u8>>, Error> {
        let names = self.with_others(others)?;
        let too_many = |count: usize| {
            let text = format!(
                "cannot {} {}: its sets have {count} members and more, and {LOOKED_AT_MAX} are looked at",
                how.word(),
                self.inner.shape
            );
            Error::new(ErrorKind::Overloaded, text)
        };
        #[cfg(feature = "redis")]
        if let Side::Redis(commands) = self.inner.ground.side() {
            let ask = async |sets: &[&Name], how: How, most: usize| {
                let answer = commands.ask(redis::together(sets, how, most)).await;
                let found = answer.map(Reply::from).and_then(redis::put_together);
                found.map_err(|why| not_read(&self.inner.shape, how.word(), why))?.map_err(too_many)
            };
            if share_a_slot(&names) {
                return ask(&names, how, LOOKED_AT_MAX).await;
            }
            let (mut sets, mut left) = (Vec::with_capacity(names.len()), LOOKED_AT_MAX);
            for name in names {
                let set = ask(&[name], How::Union, left).await?;
                left -= set.len().min(left);
                sets.push(set);
            }
            return Ok(how.of(sets));
        }
        let clock = self.inner.ground.clock();
        let (mut sets, mut left) = (Vec::with_capacity(names.len()), LOOKED_AT_MAX);
        let inners = std::iter::once(&self.inner).chain(others.iter().map(|set| &set.inner));
        for (inner, name) in inners.zip(names) {
            let set = memory::all(inner.memory()?, name.bytes(), clock, left).map_err(too_many)?;
            left -= set.len().min(left);
            sets.push(set);
        }
        Ok(how.of(sets))
    }

    fn with_others<'a>(&'a self, others: &[&'a SetOf<M>]) -> Result<Vec<&'a Name>, Error> {
        bounds::check(&self.inner.shape, "the number of sets", others.len() + 1, 1..=SETS_MAX)?;
        std::iter::once(self.name()).chain(others.iter().map(|set| set.name())).collect()
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

#[cfg(feature = "redis")]
fn share_a_slot(names: &[&Name]) -> bool {
    names.windows(2).all(|pair| pair[0].slot() == pair[1].slot())
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
