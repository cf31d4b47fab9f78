//! What the structures are called in Redis.
//!
//! ```text
//! <app>:s:<kind>.<name>:<part>:{.<K>}
//! ```
//!
//! All parts of one structure that have the same K share a slot. No cache has such a name: where a cache's
//! schema stands, here is a word with a dot in it.

use std::fmt;
use std::sync::Arc;

use super::namespace::check_name;
#[cfg(feature = "redis")]
use super::slot::Slot;
use super::{KeyBuf, KeyWriter, ToKey};
use crate::error::{Error, ErrorKind};

/// The most a structure's key may take.
const KEY_BYTES_MAX: usize = 1024;

/// One structure, or one kind of them before it is known whose: what its names begin with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    /// `<app>:s:<kind>.<name>:`
    opening: Arc<[u8]>,
    /// `:{.<K>}`
    closing: Arc<[u8]>,
}

impl Shape {
    /// `kind` is one of our words; `name` is given by people.
    ///
    /// # Errors
    /// `Config` unless the name is 1 to 64 of `A-Z a-z 0-9 _ . -`.
    pub(crate) fn new(app: &str, kind: &'static str, name: &str) -> Result<Shape, Error> {
        check_name(kind, name)?;
        let opening = format!("{app}:s:{kind}.{name}:").into_bytes().into();
        Ok(Shape { opening, closing: b":{.}".as_slice().into() })
    }

    /// The one of this key: of a user, a season, a post.
    ///
    /// # Errors
    /// `Key` when the key is longer than 1024 bytes.
    pub(crate) fn of<K: ToKey + ?Sized>(&self, key: &K) -> Result<Shape, Error> {
        let encoded = self.encoded("key", key, KEY_BYTES_MAX)?;
        let closing = [b":{.", &encoded[..], b"}"].concat().into();
        Ok(Shape { opening: self.opening.clone(), closing })
    }

    /// A key as bytes, for what goes into a structure by a name of its own. `what` says which key it is.
    ///
    /// # Errors
    /// `Key` when it is longer than `bytes_max`.
    pub(crate) fn encoded<K: ToKey + ?Sized>(
        &self,
        what: &str,
        key: &K,
        bytes_max: usize,
    ) -> Result<KeyBuf, Error> {
        let mut encoded = KeyBuf::new();
        let mut out = KeyWriter::new(&mut encoded, bytes_max);
        key.to_key(&mut out);
        let length = out.length();
        if length > bytes_max {
            let text = format!(
                "{what} of {length} bytes is longer than the bound of {bytes_max} ({self})"
            );
            return Err(Error::new(ErrorKind::Key, text));
        }
        Ok(encoded)
    }

    /// The name of one of its parts. `part` is one of our words, or a checked one of people's.
    pub(crate) fn part(&self, part: &str) -> Name {
        let bytes: Arc<[u8]> =
            [&self.opening[..], part.as_bytes(), &self.closing[..]].concat().into();
        Name {
            #[cfg(feature = "redis")]
            slot: Slot::of(&bytes),
            bytes,
        }
    }
}

/// For people: `board.weekly`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.opening.splitn(3, |byte| *byte == b':').nth(2).unwrap_or_default();
        write!(f, "{}", name.strip_suffix(b":").unwrap_or(name).escape_ascii())
    }
}

/// The name of a part, and where it is on a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    bytes: Arc<[u8]>,
    #[cfg(feature = "redis")]
    slot: Slot,
}

impl Name {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[cfg(feature = "redis")]
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Named, parse};

    #[test]
    fn parts_share_a_slot_and_no_name_is_a_caches() {
        let board = Shape::new("app", "board", "1").unwrap();
        for key in ["", "}", "a}b{c", "17"] {
            let one = board.of(key).unwrap();
            let (v, l) = (one.part("v"), one.part("l"));
            assert_ne!(v, l);
            #[cfg(feature = "redis")]
            assert_eq!(v.slot(), l.slot(), "{key}");
            assert_eq!(parse(v.bytes()), Named::Other);
        }
        assert_eq!(board.part("all").bytes(), b"app:s:board.1:all:{.}");
        assert_eq!(board.to_string(), "board.1");
    }

    #[test]
    fn two_keys_have_two_names_and_a_long_one_is_refused() {
        let feed = Shape::new("app", "feed", "changes").unwrap();
        assert_ne!(
            feed.of(&("a", "bc")).unwrap().part("x"),
            feed.of(&("ab", "c")).unwrap().part("x")
        );
        let why = feed.of("x".repeat(1025).as_str()).unwrap_err();
        assert_eq!(why.kind(), ErrorKind::Key);
        assert!(why.to_string().contains("feed.changes"), "{why}");
        assert_eq!(Shape::new("app", "feed", "a:b").unwrap_err().kind(), ErrorKind::Config);
    }
}
