//! The one place where a key becomes a name, and a name is taken apart again.
//!
//! Whoever asks whether one user can reach what is another's needs to read this file and
//! [`to_key`](super::to_key).

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::{Key, KeyBuf, KeyWriter, Tag, ToKey};
use crate::error::{Error, ErrorKind};

/// The most an app's or a cache's name may take.
const NAME_BYTES_MAX: usize = 64;
/// The most of a key that is shown to people.
const SHOWN_MAX: usize = 120;

/// App, cache and schema: what all names of one cache begin with.
#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    /// `<app>:<cache>:<schema>:v:{.`
    opening: Arc<[u8]>,
    cache: Arc<str>,
    /// Of a cache that writes behind: into how many parts its keys are dealt. 0: each key is a part of its own.
    partitions: u32,
}

/// A part of the keys of a cache that writes behind: all its names are in one slot of a cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Partition {
    /// `<ns>:q:{.<p>}`
    queue: Arc<[u8]>,
}

impl Partition {
    /// The stream of writes that wait.
    pub(crate) fn q(&self) -> &[u8] {
        &self.queue
    }

    /// The lease of whoever works on them.
    pub(crate) fn w(&self) -> Vec<u8> {
        of_kind(&self.queue, b'w')
    }

    /// The stream of dead letters.
    pub(crate) fn x(&self) -> Vec<u8> {
        of_kind(&self.queue, b'x')
    }

    /// Its place among all of them.
    pub(crate) fn number(&self) -> u32 {
        let digits = split(&self.queue).and_then(|(head, _)| self.queue.get(head.len() + 2..));
        let digits = digits.and_then(|digits| digits.strip_suffix(b"}")).unwrap_or_default();
        std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The entry whose encoded key is `k`.
    pub(crate) fn key(&self, k: &[u8]) -> Key {
        let mut name = of_kind(&self.queue, b'v');
        name.extend_from_slice(k);
        Key::from(name)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn slot(&self) -> super::slot::Slot {
        super::slot::Slot::of(&self.queue)
    }
}

/// What stands between the schema's number and that of the partitions.
const BEHIND: u8 = b'~';

/// Which of the partitions an encoded key is in. It is where things are stored: never to be changed.
fn partition_of(k: &[u8], partitions: u32) -> u32 {
    // Less than `partitions`, so it fits.
    (xxh3_64(k) % u64::from(partitions.max(1))) as u32
}

/// The partition that a name lies in, and the encoded key; `None` where each key is a part of its own.
pub(super) fn in_partition(name: &[u8]) -> Option<(Partition, &[u8])> {
    let head = name.get(..brace(name)?)?;
    if !head.contains(&BEHIND) {
        return None;
    }
    let (_, k) = split(name)?;
    let queue = of_kind(name.get(..name.len() - k.len())?, b'q');
    Some((Partition { queue: queue.into() }, k))
}

/// A user, encoded once for all of their keys. In place while it is short, as a UUID is: it is made for
/// each request, and a hit near should allocate nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UserPart(SmallVec<[u8; 48]>);

impl UserPart {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// `<length>|<user>`. The length in front keeps (user `a`, key `b c`) and (user `a b`, key `c`)
    /// apart even where the user's own type breaks the rule of [`ToKey`]: a slip there must not open
    /// one user's entries to another. No part begins with digits and a `|`, so a cache that was
    /// shared before it was kept per user finds none of its old entries.
    fn write(&self, out: &mut KeyWriter<'_>) {
        out.number(self.0.len() as u128, b'|');
        out.raw(&self.0);
    }
}

impl Namespace {
    /// # Errors
    /// `Config` unless both names are 1 to 64 of `A-Z a-z 0-9 _ . -`. A colon in them would make one
    /// namespace of app `a:b`, cache `c` and app `a`, cache `b:c`; a brace would move the hash tag.
    pub(crate) fn new(app: &str, cache: &str, schema: u32) -> Result<Namespace, Error> {
        check_name("app", app)?;
        check_name("cache", cache)?;
        Ok(Namespace {
            opening: format!("{app}:{cache}:{schema}:v:{{.").into_bytes().into(),
            cache: cache.into(),
            partitions: 0,
        })
    }

    /// The same of a cache that writes behind: their number is part of what its names begin with, since it says
    /// where each key is.
    pub(crate) fn behind(
        app: &str,
        cache: &str,
        schema: u32,
        partitions: u32,
    ) -> Result<Namespace, Error> {
        let plain = Namespace::new(app, cache, schema)?;
        let opening = format!("{app}:{cache}:{schema}{}{partitions}:v:{{.", char::from(BEHIND));
        Ok(Namespace { opening: opening.into_bytes().into(), partitions, ..plain })
    }

    /// Those of a cache that writes behind.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = Partition> {
        (0..self.partitions).map(|number| {
            let name = [&self.opening[..], number.to_string().as_bytes(), b"}"].concat();
            Partition { queue: of_kind(&name, b'q').into() }
        })
    }

    /// Writes the name of `key`'s entry into `out`, in place of what was there.
    ///
    /// # Errors
    /// `Key` when the encoded key is longer than `bound`; `out` is then empty.
    pub(crate) fn shared<K: ToKey + ?Sized>(
        &self,
        key: &K,
        bound: usize,
        out: &mut KeyBuf,
    ) -> Result<(), Error> {
        self.write(bound, out, |out| key.to_key(out))
    }

    /// As [`shared`](Self::shared), for an entry of `user` alone; `bound` counts both.
    pub(crate) fn per_user<K: ToKey + ?Sized>(
        &self,
        user: &UserPart,
        key: &K,
        bound: usize,
        out: &mut KeyBuf,
    ) -> Result<(), Error> {
        self.write(bound, out, |out| {
            user.write(out);
            key.to_key(out);
        })
    }

    /// # Errors
    /// `Key` when the user alone is longer than `bound`.
    pub(crate) fn user_prefix<U: ToKey + ?Sized>(
        &self,
        user: &U,
        bound: usize,
    ) -> Result<UserPart, Error> {
        let mut encoded = KeyBuf::new();
        let mut out = KeyWriter::new(&mut encoded, bound);
        user.to_key(&mut out);
        if out.length() > bound {
            return Err(self.too_long(out.length(), bound));
        }
        Ok(UserPart(SmallVec::from_slice(&encoded)))
    }

    // Always inlined, as are the commonest keys: a call for each piece of a name would be most of its cost.
    #[inline(always)]
    fn write(
        &self,
        bound: usize,
        out: &mut KeyBuf,
        key: impl FnOnce(&mut KeyWriter<'_>),
    ) -> Result<(), Error> {
        out.clear();
        out.extend_from_slice(&self.opening);
        let mut writer = KeyWriter::new(out, bound);
        key(&mut writer);
        let length = writer.length();
        if length > bound {
            // What was stored is a part of the key, and so the name of another one.
            out.clear();
            return Err(self.too_long(length, bound));
        }
        if self.partitions != 0 {
            self.write_partition(out);
            return Ok(());
        }
        out.push(b'}');
        Ok(())
    }

    /// `<p>}` in front of the encoded key.
    #[inline(never)]
    fn write_partition(&self, out: &mut KeyBuf) {
        let at = self.opening.len();
        let number = partition_of(out.get(at..).unwrap_or_default(), self.partitions);
        let mut text = KeyBuf::new();
        KeyWriter::new(&mut text, usize::MAX).number(number.into(), b'}');
        out.insert_from_slice(at, &text);
    }

    #[cold]
    fn too_long(&self, length: usize, bound: usize) -> Error {
        let cache = &self.cache;
        let text =
            format!("key of {length} bytes is longer than the bound of {bound} (cache {cache})");
        Error::new(ErrorKind::Key, text)
    }
}

pub(super) fn check_name(what: &str, name: &str) -> Result<(), Error> {
    if is_name(name.as_bytes()) {
        return Ok(());
    }
    let shown: String = name.chars().take(NAME_BYTES_MAX + 1).collect();
    let text = format!(
        "name of {what} must be 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 _ . - and is {shown:?}"
    );
    Err(Error::new(ErrorKind::Config, text))
}

fn is_name(name: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.iter().all(allowed)
}

/// What a name in Redis is the name of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    /// An entry: the name itself.
    Value(&'a [u8]),
    /// A lease: the name of the entry it is for.
    Lease(Vec<u8>),
    /// The generation of a tag.
    Tag(Tag),
    /// Nothing of ours.
    Other,
}

/// Reads a name that came from Redis. Exactly the names that larder writes are recognised.
pub(crate) fn parse(name: &[u8]) -> Named<'_> {
    let Some((head, inside)) = split(name) else { return Named::Other };
    let parts: SmallVec<[&[u8]; 6]> = head.splitn(6, |byte| *byte == b':').collect();
    match parts.as_slice() {
        [app, b"t", b""] if is_name(app) => Tag::from_name(inside).map_or(Named::Other, Named::Tag),
        [app, cache, schema, kind, b""]
            if is_name(app) && is_name(cache) && is_schema(schema, name, inside) =>
        {
            match *kind {
                b"v" => Named::Value(name),
                b"l" => Named::Lease(of_kind(name, b'v')),
                _ => Named::Other,
            }
        }
        _ => Named::Other,
    }
}

/// What stands before the braces, and the encoded key or tag: in them behind the dot, or behind them where a
/// partition is in them.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, braced) = name.split_at_checked(brace(name)?)?;
    let inside = braced.strip_prefix(b"{.")?;
    if head.contains(&BEHIND) {
        let end = inside.iter().position(|byte| *byte == b'}')?;
        return Some((head, inside.get(end + 1..)?));
    }
    Some((head, inside.strip_suffix(b"}")?))
}

/// A number, or two of them where `name` lies in a partition: then it is the right one for `k`.
fn is_schema(schema: &[u8], name: &[u8], k: &[u8]) -> bool {
    let Some(at) = schema.iter().position(|byte| *byte == BEHIND) else { return is_number(schema) };
    let (number, partitions) = (&schema[..at], &schema[at + 1..]);
    if !is_number(number) || !is_number(partitions) {
        return false;
    }
    let partitions = std::str::from_utf8(partitions).ok().and_then(|text| text.parse().ok());
    let head = name.get(..name.len() - k.len()).unwrap_or_default();
    partitions.is_some_and(|partitions: u32| {
        let right = format!("{{.{}}}", partition_of(k, partitions));
        partitions > 0 && head.ends_with(right.as_bytes())
    })
}

/// No namespace has a brace in it, so the first one is ours.
fn brace(name: &[u8]) -> Option<usize> {
    name.iter().position(|byte| *byte == b'{')
}

/// As a `u32` is written, and in no other way.
fn is_number(text: &[u8]) -> bool {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u32>().ok());
    number.is_some_and(|number| number.to_string().as_bytes() == text)
}

/// The name of another kind (`v`, `l`) for the same key.
pub(super) fn of_kind(name: &[u8], kind: u8) -> Vec<u8> {
    let mut name = name.to_vec();
    let at = brace(&name).and_then(|brace| brace.checked_sub(2));
    if let Some(byte) = at.and_then(|at| name.get_mut(at)) {
        *byte = kind;
    }
    name
}

/// The names of the same key under the schemas next to its own.
pub(super) fn beside(name: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut parts = name.splitn(4, |byte| *byte == b':');
    let mut part = || parts.next().unwrap_or_default();
    let (app, cache, schema, rest) = (part(), part(), part(), part());
    // With the number of partitions, of a cache that writes behind: next to it are those of as many.
    let digits = schema.iter().position(|byte| *byte == BEHIND).unwrap_or(schema.len());
    let (schema, partitions) = schema.split_at_checked(digits).unwrap_or_default();
    let schema = std::str::from_utf8(schema).ok().and_then(|text| text.parse::<u32>().ok());
    let next = schema.map(|schema| [schema.checked_sub(1), schema.checked_add(1)]);
    next.into_iter().flatten().flatten().map(move |schema| {
        let schema = [schema.to_string().as_bytes(), partitions].concat();
        [app, cache, &schema, rest].join(&b':')
    })
}

/// The encoded key in a name.
#[cfg(test)]
pub(super) fn inside(name: &[u8]) -> &[u8] {
    split(name).map_or(&[], |(_, inside)| inside)
}

/// `<cache>:v<schema>:{<K>}`, K escaped and, if it is long, cut.
pub(super) fn show(name: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some((head, inside)) = split(name) else { return write!(f, "{}", name.escape_ascii()) };
    let mut parts = head.split(|byte| *byte == b':').skip(1);
    let mut part = || parts.next().unwrap_or_default().escape_ascii();
    write!(f, "{}:v{}:{{", part(), part())?;
    let mut escaped = inside.escape_ascii();
    for byte in escaped.by_ref().take(SHOWN_MAX) {
        write!(f, "{}", char::from(byte))?;
    }
    f.write_str(if escaped.next().is_some() { "..}" } else { "}" })
}
