//! What entries and tags are called.
//!
//! A user's key is any [`ToKey`]. A [`Namespace`] turns it into the one name its entry has everywhere:
//! in near, in flights, in Redis. Two different keys never share a name, whatever bytes people put
//! into them; a key that is too long is refused, never cut. In a cache kept per user the user is part
//! of the name ([`UserPart`]), so that no key reaches another user's entry.
//!
//! The names in Redis, where K is the encoded key and `ns` is `app:cache:schema`:
//!
//! ```text
//! V = <ns>:v:{.<K>}     an entry
//! L = <ns>:l:{.<K>}     its lease
//! T = <app>:t:{.<t>}    the generation of tag t
//! ```
//!
//! In a cache that writes behind K stands behind the braces, and its [`Partition`] p, of P, in them: one stream
//! takes the writes of many keys. Its `ns` is `app:cache:schema~P`.
//!
//! ```text
//! V, L = <ns>:v:{.<p>}<K>, <ns>:l:{.<p>}<K>     as above
//! D    = <ns>:d:{.<p>}<K>                       a write that its source does not have yet
//! Q    = <ns>:q:{.<p>}                          the order of those writes
//! W, X = <ns>:w:{.<p>}, <ns>:x:{.<p>}           who works on them; those that were given up
//! ```
//!
//! The braces put V and L on one node of a cluster. The dot is there because a cluster goes by what
//! stands between the first `{` and the first `}`, and by the whole name when that is nothing: without
//! it a key that is empty or begins with a `}` would part V from L.
//!
//! Everything here is a plain value. What is done under a name is the work of others.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

mod namespace;
#[cfg(feature = "structures")]
mod shape;
#[cfg(feature = "redis")]
pub(crate) mod slot;
mod tag;
mod to_key;

pub(crate) use namespace::{Named, Namespace, Partition, UserPart, parse};
#[cfg(feature = "structures")]
pub(crate) use shape::{Name, Shape};
pub use tag::Tag;
pub(crate) use to_key::KeyBuf;
pub use to_key::{KeyWriter, ToKey};

#[cfg(test)]
mod tests;

/// The full name of one entry, V. Cheap to clone; looked up by its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(Arc<[u8]>);

impl Key {
    /// `name` is one that a [`Namespace`] wrote.
    pub(crate) fn new(name: &[u8]) -> Key {
        Key(name.into())
    }

    /// The name its entry has in Redis.
    pub(crate) fn v(&self) -> &[u8] {
        &self.0
    }

    /// The name of its lease in Redis.
    pub(crate) fn l(&self) -> Vec<u8> {
        namespace::of_kind(&self.0, b'l')
    }

    /// The name of a write that waits for its source, in a cache that writes behind.
    pub(crate) fn d(&self) -> Option<Vec<u8>> {
        self.in_partition().map(|_| namespace::of_kind(&self.0, b'd'))
    }

    /// Where it waits, and the encoded key.
    pub(crate) fn in_partition(&self) -> Option<(Partition, &[u8])> {
        namespace::in_partition(&self.0)
    }

    /// Where all its names are on a cluster.
    #[cfg(feature = "redis")]
    pub(crate) fn slot(&self) -> slot::Slot {
        slot::Slot::of(&self.0)
    }

    /// The names of the same key's entries under the schemas next to its own: the one before, and the
    /// one that comes after.
    pub(crate) fn beside(&self) -> impl Iterator<Item = Key> {
        namespace::beside(&self.0).map(Key::from)
    }

    /// The encoded key alone.
    #[cfg(test)]
    pub(crate) fn k(&self) -> &[u8] {
        namespace::inside(&self.0)
    }
}

impl From<Vec<u8>> for Key {
    fn from(name: Vec<u8>) -> Key {
        Key(name.into())
    }
}

// Sound because the derived `Eq`, `Ord` and `Hash` are those of the bytes.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// For people: `tasks:v3:{7|5.alice17;}`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        namespace::show(&self.0, f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0.escape_ascii())
    }
}
