//! Names of groups.

use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

#[cfg(feature = "redis")]
use super::slot::Slot;
use super::{KeyBuf, KeyWriter, ToKey, UserPart};

/// The name of a group of entries that end together. Cheap to clone.
///
/// A tag belongs to the app: entries of several caches may carry it, and one invalidation ends them
/// all.
///
/// ```
/// use larder::Tag;
///
/// let all_lists = Tag::new("lists");
/// let lists_of_a_project = Tag::from_parts(&("lists", 17));
/// assert_ne!(all_lists, lists_of_a_project);
/// ```
///
/// Any text is a tag. One of more than 255 bytes is replaced by its hash; should two ever meet there,
/// each is ended with the other, and nothing stale is served.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<[u8]>);

/// The most a tag's name may take: an envelope gives its length in one byte.
const NAME_BYTES_MAX: usize = 255;

/// What begins with an `@` is not a plain name. The byte behind it says what it is:
/// `@` a plain name that begins with an `@` itself, `p` parts, `u` a user of a cache, `h` the hash of
/// any of these.
const MARK: u8 = b'@';

impl Tag {
    /// The tag of this name.
    pub fn new(name: impl AsRef<str>) -> Tag {
        let name = name.as_ref().as_bytes();
        if name.first() != Some(&MARK) {
            return Tag::bounded(name);
        }
        let mut escaped = KeyBuf::from_slice(&[MARK]);
        escaped.extend_from_slice(name);
        Tag::bounded(&escaped)
    }

    /// A tag of several parts, which never equals another tag whatever the parts contain.
    pub fn from_parts<T: ToKey + ?Sized>(parts: &T) -> Tag {
        let mut name = KeyBuf::from_slice(b"@p");
        parts.to_key(&mut KeyWriter::new(&mut name, usize::MAX));
        Tag::bounded(&name)
    }

    /// The tag that all entries of one user in one cache carry.
    pub(crate) fn of_user(cache: &str, user: &UserPart) -> Tag {
        let mut name = KeyBuf::from_slice(b"@u");
        cache.to_key(&mut KeyWriter::new(&mut name, usize::MAX));
        name.extend_from_slice(user.as_bytes());
        Tag::bounded(&name)
    }

    /// The tag whose name, as it stands in an envelope or in Redis, is `name`.
    pub(crate) fn from_name(name: &[u8]) -> Option<Tag> {
        (name.len() <= NAME_BYTES_MAX).then(|| Tag(name.into()))
    }

    /// At most 255 bytes.
    pub(crate) fn name(&self) -> &[u8] {
        &self.0
    }

    /// Where its generation lies in Redis.
    pub(crate) fn redis_name(&self, app: &str) -> Vec<u8> {
        [app.as_bytes(), b":t:{.", &self.0, b"}"].concat()
    }

    /// Where on a cluster. The app's name has no brace in it, and so no say in it.
    #[cfg(feature = "redis")]
    pub(crate) fn slot(&self) -> Slot {
        Slot::of(&self.redis_name(""))
    }

    fn bounded(name: &[u8]) -> Tag {
        if name.len() <= NAME_BYTES_MAX {
            return Tag(name.into());
        }
        Tag(format!("@h{:032x}", xxh3_128(name)).into_bytes().into())
    }
}

/// As its name, in bytes: what a value says of the tags of another.
impl serde::Serialize for Tag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Tag {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Tag, D::Error> {
        struct Name;

        impl<'de> serde::de::Visitor<'de> for Name {
            type Value = Tag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "the name of a tag, of at most {NAME_BYTES_MAX} bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, name: &[u8]) -> Result<Tag, E> {
                Tag::from_name(name).ok_or_else(|| E::invalid_length(name.len(), &self))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Tag, A::Error> {
                let mut name = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    if name.len() > NAME_BYTES_MAX {
                        break;
                    }
                    name.push(byte);
                }
                self.visit_bytes(&name)
            }
        }

        deserializer.deserialize_bytes(Name)
    }
}

impl From<&str> for Tag {
    fn from(name: &str) -> Tag {
        Tag::new(name)
    }
}

impl From<&String> for Tag {
    fn from(name: &String) -> Tag {
        Tag::new(name)
    }
}

impl From<&Tag> for Tag {
    fn from(tag: &Tag) -> Tag {
        tag.clone()
    }
}

impl From<String> for Tag {
    fn from(name: String) -> Tag {
        Tag::new(name)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}
