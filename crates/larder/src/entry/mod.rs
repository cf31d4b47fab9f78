//! A value with its lifetime and tags.
//!
//! [`Entry`] is what callers hold: it reads as the value and clones like an `Arc`. [`Held`] is the
//! same inside, whatever the type of the value, so that near, flights and the read path are written
//! once. An [`envelope`] is an entry as bytes.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::clock::{Moment, nanos};
use crate::error::{Error, ErrorKind};
use crate::key::{Key, Tag};

pub(crate) mod codec;
pub(crate) mod compression;
pub(crate) mod envelope;
mod pending;

pub use codec::Codec;
pub(crate) use codec::Encoded;
pub use compression::Compression;
pub(crate) use compression::{Payload, Way};
pub(crate) use pending::{Pending, Stamp, WriteId};

/// Names one load or one write.
pub(crate) type Token = [u8; 16];
/// What nobody else drew.
pub(crate) type Nonce = [u8; 16];
/// Which server process answered: a hash of the id that it drew when it started. 0: whichever, all are
/// believed.
pub(crate) type Incarnation = u64;

/// The random nonce that all entries of a tag carry, as one server process told it. What another told is
/// another generation: it may come from before an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Generation {
    pub(crate) nonce: Nonce,
    pub(crate) by: Incarnation,
}

impl From<Nonce> for Generation {
    fn from(nonce: Nonce) -> Generation {
        Generation { nonce, by: 0 }
    }
}

/// Bytes under a value's name, and who answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) bytes: Vec<u8>,
    pub(crate) by: Incarnation,
}

impl From<Vec<u8>> for Answered {
    fn from(bytes: Vec<u8>) -> Answered {
        Answered { bytes, by: 0 }
    }
}

/// Is what was kept when `then` answered still believed, now that `now` does?
pub(crate) fn is_believed(then: Incarnation, now: Incarnation) -> bool {
    now == 0 || then == now
}
/// A value of any type.
pub(crate) type Value = Arc<dyn Any + Send + Sync>;

/// A tag with the generation an entry was stored under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tagged {
    pub(crate) tag: Tag,
    pub(crate) generation: Generation,
}

/// What a tag's generation, read anew, makes of an entry that carries the tag. The worst counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It is the very one the entry was stored under.
    Current,
    /// The tag was ended softly since: no longer fresh.
    Soft,
    /// The tag was ended since, or is missing, or another process than then says that it was not.
    Ended,
}

/// Where the soft half begins.
const HARD_BYTES: usize = size_of::<Nonce>() - size_of::<SoftHalf>();

impl Tagged {
    pub(crate) fn standing(&self, read: Option<Generation>) -> Standing {
        let Generation { nonce, by } = self.generation;
        match read {
            Some(read) if !is_believed(by, read.by) => Standing::Ended,
            Some(read) if read.nonce == nonce => Standing::Current,
            Some(read) if read.nonce[..HARD_BYTES] == nonce[..HARD_BYTES] => Standing::Soft,
            _ => Standing::Ended,
        }
    }
}

/// What a cache knows of the type of its values, for those who do not.
pub(crate) struct Shape {
    pub(crate) codec: u8,
    pub(crate) schema: u32,
    pub(crate) compression: Compression,
    /// No value of more bytes is made of what far has.
    pub(crate) bytes_max: usize,
    pub(crate) encode: EncodeValue,
    pub(crate) decode: DecodeValue,
}

impl Shape {
    /// As bytes. A panic in the type's own code is an error like any other.
    pub(crate) fn encoded(&self, value: &Value, bytes_max: usize) -> Result<Encoded, Error> {
        unwinding(|| (self.encode)(value, bytes_max))
    }

    /// From what stands in an envelope, likewise.
    pub(crate) fn decoded(&self, way: Way, payload: &[u8]) -> Result<Value, Error> {
        unwinding(|| {
            let bytes = way.inflate(payload, self.bytes_max).map_err(|fault| {
                Error::new(ErrorKind::Encode, "cannot inflate value").because(fault)
            })?;
            (self.decode)(&bytes)
        })
    }
}

fn unwinding<T>(run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Encode, "the type's own (de)serialisation panicked"))
    })
}

pub(crate) type EncodeValue = Box<dyn Fn(&Value, usize) -> Result<Encoded, Error> + Send + Sync>;
pub(crate) type DecodeValue = Box<dyn Fn(&[u8]) -> Result<Value, Error> + Send + Sync>;

/// The second half of a generation: drawn anew, all entries of its tag are no longer fresh.
pub(crate) type SoftHalf = [u8; 8];

/// A name whose entries are ended, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ended {
    /// Never served again.
    Key(Key),
    /// The same, and with it the guard of this token.
    Guarded(Key, Token),
    Tag(Tag),
    /// No longer fresh, and left to stand in for a source that fails.
    SoftKey(Key),
    SoftTag(Tag),
}

/// What is ended, however.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndedName<'a> {
    Key(&'a Key),
    Tag(&'a Tag),
}

impl Ended {
    pub(crate) fn name(&self) -> EndedName<'_> {
        match self {
            Ended::Key(key) | Ended::Guarded(key, _) | Ended::SoftKey(key) => EndedName::Key(key),
            Ended::Tag(tag) | Ended::SoftTag(tag) => EndedName::Tag(tag),
        }
    }

    /// The same end of another key; of a tag, nothing.
    pub(crate) fn of_key(&self, other: Key) -> Option<Ended> {
        match self {
            Ended::Key(_) => Some(Ended::Key(other)),
            Ended::Guarded(_, token) => Some(Ended::Guarded(other, *token)),
            Ended::SoftKey(_) => Some(Ended::SoftKey(other)),
            Ended::Tag(_) | Ended::SoftTag(_) => None,
        }
    }

    /// The same for those who have no guard there.
    pub(crate) fn without_guard(self) -> Ended {
        match self {
            Ended::Guarded(key, _) => Ended::Key(key),
            other => other,
        }
    }

    /// Left to stand in.
    pub(crate) fn softly(self) -> Ended {
        match self {
            Ended::Key(key) => Ended::SoftKey(key),
            Ended::Tag(tag) => Ended::SoftTag(tag),
            other => other,
        }
    }
}

/// What became of a value that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is there.
    Stored,
    /// It is not: an invalidation came between, a writer's guard is open, the lease ran out, or far did not
    /// answer. The value itself is as good as it was.
    Refused,
}

/// What became of a write: whichever it is, the sink has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The cache has it too: a read finds it far.
    Kept,
    /// The cache has nothing under the key: another writer or an invalidation came between, or far could not take
    /// it. A read asks the source.
    Ended,
}

/// A value as it stands in an envelope, known without having it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Print {
    /// Of its bytes.
    pub(crate) sum: u64,
    /// How they are compressed.
    pub(crate) way: Way,
}

/// An entry inside larder: typed only at the door.
#[derive(Clone)]
pub(crate) struct Held {
    /// `None`: the source said that there is none.
    pub(crate) value: Option<Value>,
    pub(crate) tags: Box<[Tagged]>,
    /// When it came here, how old it was then, and until when it is fresh.
    pub(crate) received: Moment,
    pub(crate) age: Duration,
    pub(crate) fresh_until: Moment,
    /// How long its load took.
    pub(crate) cost: Duration,
    /// Until when it may be used at all.
    pub(crate) kept_until: Moment,
    /// It was marked as no longer fresh: it stands in for a source that fails, and is not served
    /// otherwise.
    pub(crate) in_need: bool,
    /// Bytes it is charged for.
    pub(crate) weight: u64,
    /// Of the envelope it came from or went into, if there is one.
    pub(crate) id: Option<Token>,
    /// Of the value in that envelope, where somebody may want it.
    pub(crate) print: Option<Print>,
}

impl Held {
    pub(crate) fn is_fresh(&self, now: Moment) -> bool {
        now < self.fresh_until
    }

    /// Fresh or stale.
    pub(crate) fn is_kept(&self, now: Moment) -> bool {
        now < self.kept_until
    }

    pub(crate) fn tag_names(&self) -> Vec<Tag> {
        self.tags.iter().map(|tagged| tagged.tag.clone()).collect()
    }

    /// What these generations, read in the order of its tags, make of it.
    pub(crate) fn standing(&self, generations: &[Option<Generation>]) -> Standing {
        let pairs = self.tags.iter().zip(generations);
        pairs.map(|(tagged, read)| tagged.standing(*read)).max().unwrap_or(Standing::Current)
    }

    pub(crate) fn carries(&self, tag: &Tag) -> bool {
        self.tags.iter().any(|carried| carried.tag == *tag)
    }

    pub(crate) fn age(&self, now: Moment) -> Duration {
        self.age + now.since(self.received)
    }

    /// How long it is fresh, from when it was stored.
    pub(crate) fn fresh_for(&self) -> Duration {
        self.age + self.fresh_until.since(self.received)
    }
}

/// Where an entry was found.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// In this process.
    Near,
    /// In Redis.
    Far,
    /// At the source: it was loaded for this call, or for one that ran beside it.
    Loaded,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Near => "near",
            Origin::Far => "far",
            Origin::Loaded => "loaded",
        })
    }
}

/// Whether an entry is used as a matter of course, or only in need.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// Within its `fresh_for`, or just loaded.
    Fresh,
    /// Past it, and within its `stale_for`: the source is being asked, or has failed.
    Stale,
}

/// A value from the cache: reads and serialises as `V`, clones like an `Arc`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
/// # let larder = larder::Larder::builder("doc").open().await?;
/// # let cache: larder::Cache<str, String> = larder.cache("words").shared()?;
/// let word = cache.get_or_load("en", || async { Ok::<_, std::io::Error>("larder".to_string()) }).await?;
/// assert_eq!(word.len(), 6); // a String's own method
/// assert_eq!(word.origin(), larder::Origin::Loaded);
/// # Ok(()) }
/// ```
pub struct Entry<V> {
    value: Arc<V>,
    mark: Mark,
}

/// Where an entry was found, how fresh, and how old it was then, in one word: an entry of two words goes
/// from hand to hand in registers, one of three through memory, which a hit feels.
///
/// From the lowest: two bits of origin, one of freshness; the rest is the age in nanoseconds, up to 73 years.
#[derive(Clone, Copy)]
struct Mark(u64);

impl Mark {
    const AGE_MAX: u64 = u64::MAX >> 3;

    #[inline]
    fn new(origin: Origin, freshness: Freshness, age: u64) -> Mark {
        let origin = match origin {
            Origin::Near => 0,
            Origin::Far => 1,
            Origin::Loaded => 2,
        };
        let freshness = match freshness {
            Freshness::Fresh => 0,
            Freshness::Stale => 1,
        };
        Mark(age.min(Mark::AGE_MAX) << 3 | freshness << 2 | origin)
    }

    #[inline]
    fn origin(self) -> Origin {
        match self.0 & 3 {
            0 => Origin::Near,
            1 => Origin::Far,
            _ => Origin::Loaded,
        }
    }

    #[inline]
    fn freshness(self) -> Freshness {
        if self.0 & 4 == 0 { Freshness::Fresh } else { Freshness::Stale }
    }

    #[inline]
    fn age(self) -> Duration {
        Duration::from_nanos(self.0 >> 3)
    }
}

impl<V: Send + Sync + 'static> Entry<V> {
    /// `None` when `held` says that there is none, or is of another type.
    pub(crate) fn of(held: &Held, origin: Origin, now: Moment) -> Option<Entry<V>> {
        let value = held.value.clone()?.downcast().ok()?;
        let fresh = origin == Origin::Loaded || held.is_fresh(now);
        let freshness = if fresh { Freshness::Fresh } else { Freshness::Stale };
        Some(Entry { value, mark: Mark::new(origin, freshness, nanos(held.age(now))) })
    }

    /// Of what near has fresh.
    #[inline]
    pub(crate) fn near((value, age): (Arc<V>, u64)) -> Entry<V> {
        Entry { value, mark: Mark::new(Origin::Near, Freshness::Fresh, age) }
    }
}

impl<V> Entry<V> {
    /// Where it was found.
    pub fn origin(&self) -> Origin {
        self.mark.origin()
    }

    /// Whether it was still fresh when it was handed out.
    pub fn freshness(&self) -> Freshness {
        self.mark.freshness()
    }

    /// Past its `fresh_for`, and served all the same: see [`Lifetime::stale_for`](crate::Lifetime).
    pub fn is_stale(&self) -> bool {
        self.freshness() == Freshness::Stale
    }

    /// How long ago it was stored, at the moment it was handed out.
    pub fn age(&self) -> Duration {
        self.mark.age()
    }

    /// The value, to be kept for longer than the entry.
    pub fn into_inner(self) -> Arc<V> {
        self.value
    }
}

impl<V> Deref for Entry<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

impl<V> AsRef<V> for Entry<V> {
    fn as_ref(&self) -> &V {
        &self.value
    }
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Entry<V> {
        Entry { value: self.value.clone(), mark: self.mark }
    }
}

impl<V: fmt::Debug> fmt::Debug for Entry<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("value", &self.value)
            .field("origin", &self.origin())
            .field("freshness", &self.freshness())
            .field("age", &self.age())
            .finish()
    }
}

impl<V: fmt::Display> fmt::Display for Entry<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<V: PartialEq> PartialEq<V> for Entry<V> {
    fn eq(&self, other: &V) -> bool {
        *self.value == *other
    }
}

impl<V: Serialize> Serialize for Entry<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_gives_back_what_was_put_into_it() {
        for origin in [Origin::Near, Origin::Far, Origin::Loaded] {
            for freshness in [Freshness::Fresh, Freshness::Stale] {
                for age in [0, 1, 1_000_000_007, Mark::AGE_MAX] {
                    let mark = Mark::new(origin, freshness, age);
                    let back = (mark.origin(), mark.freshness(), mark.age());
                    assert_eq!(back, (origin, freshness, Duration::from_nanos(age)));
                }
            }
        }
        let oldest = Mark::new(Origin::Far, Freshness::Stale, Mark::AGE_MAX + 1);
        assert_eq!(oldest.age(), Duration::from_nanos(Mark::AGE_MAX), "bounded, not wrapped");
        assert_eq!((oldest.origin(), oldest.freshness()), (Origin::Far, Freshness::Stale));
    }
}
