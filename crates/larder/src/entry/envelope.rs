//! An entry as bytes.
//!
//! The layout is in `docs/wire-format.md`, byte by byte; files written by each version stand in
//! `tests/golden`. What cannot be read is a miss, never an error and never a panic: bytes in Redis may
//! be of another version, cut off, or anybody's.
//!
//! An envelope does not say whether its entry is still true. Its lifetime in Redis and the generations
//! of its tags do.

use std::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{Generation, Incarnation, Tagged, Token, Way};
use crate::error::{Error, ErrorKind};
use crate::key::{Key, Tag};

#[cfg(test)]
mod tests;

/// Neither UTF-8 nor MessagePack has this byte.
const MAGIC: u8 = 0xC1;
const VERSION: u8 = 1;

/// Where the flags stand, and what they mean.
const FLAGS_AT: usize = 2;
const NEGATIVE: u8 = 1;
const COMPRESSION: u8 = 0b110;
const COMPRESSION_AT: u32 = 1;
/// The checksum is over the header and the payload's own sum.
const IN_PARTS: u8 = 1 << 3;
/// Set in place on the server, and so the one bit that the checksum does not cover.
const SOFT_EXPIRED: u8 = 1 << 7;

const ID_AT: usize = 8;
/// With the schema behind it.
const CODEC_AT: usize = 24;
const BY_AT: usize = 45;
/// Up to the first tag.
const FIXED_BYTES: usize = BY_AT + size_of::<Incarnation>();
/// A tag without its name.
const TAG_BYTES: usize = 1 + 8 + 16;
const CHECKSUM_BYTES: usize = 4;

/// What an envelope says about its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The token of the load it came from.
    pub(crate) id: Token,
    /// There is none: the payload means nothing.
    pub(crate) negative: bool,
    /// Marked in Redis as no longer fresh.
    pub(crate) soft_expired: bool,
    /// How the payload is compressed.
    pub(crate) way: Way,
    /// How long Redis was told to keep it.
    pub(crate) hard_ms: u32,
    pub(crate) fresh_ms: u32,
    /// By the server's clock, since 1970.
    pub(crate) stored_at_ms: u64,
    pub(crate) load_cost_us: u32,
    pub(crate) codec: u8,
    pub(crate) schema: u32,
    /// Which server process answered before the load began.
    pub(crate) by: Incarnation,
    /// Of the payload alone, where the checksum is made of it: the header was put before a value that was there.
    pub(crate) sum: Option<u64>,
    pub(crate) tags: Vec<Tagged>,
}

/// Why bytes are not the envelope that was asked for. Always a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It ends before it says it does.
    Truncated,
    /// It is no envelope.
    Magic,
    /// Of a version that this program does not know.
    Version(u8),
    /// Its bytes have changed.
    Checksum,
    /// A flag that this program does not know is set.
    Flags(u8),
    /// Compressed in a way that this program does not know.
    Compression(u8),
    /// Written with another codec.
    Codec(u8),
    /// Written under another schema.
    Schema(u32),
    /// The entry of another key.
    Key,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Truncated => f.write_str("envelope is cut off"),
            Unreadable::Magic => f.write_str("not an envelope"),
            Unreadable::Version(version) if *version > VERSION => {
                write!(f, "envelope version {version} is newer than {VERSION}")
            }
            Unreadable::Version(version) => write!(f, "envelope version {version} is not known"),
            Unreadable::Checksum => f.write_str("envelope was altered: wrong checksum"),
            Unreadable::Flags(flags) => write!(f, "envelope flags {flags:#010b} are not known"),
            Unreadable::Compression(way) => write!(f, "compression {way} is not known"),
            Unreadable::Codec(codec) => write!(f, "written with codec {codec}"),
            Unreadable::Schema(schema) => write!(f, "written under schema {schema}"),
            Unreadable::Key => f.write_str("envelope of another key"),
        }
    }
}

/// # Errors
/// `Encode` when there are more than 255 tags, or a name is longer than the layout has room for.
pub(crate) fn encode(header: &Header, key: &Key, payload: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = before_checksum(header, key, payload.len())?;
    let sum = match header.sum {
        None => checksum(&out, payload),
        Some(sum) => checksum(&out, &sum.to_le_bytes()),
    };
    out.extend(sum.to_le_bytes());
    out.extend(payload);
    Ok(out)
}

/// All of an envelope that stands before its payload, of which only `sum` is known. As long as the one of any other
/// envelope of this key and these tags.
///
/// # Errors
/// As [`encode`].
pub(crate) fn head(header: &Header, key: &Key, sum: u64) -> Result<Vec<u8>, Error> {
    encode(&Header { sum: Some(sum), ..header.clone() }, key, &[])
}

fn before_checksum(header: &Header, key: &Key, more_bytes: usize) -> Result<Vec<u8>, Error> {
    let tags = header.tags.len();
    let tag_count = u8::try_from(tags)
        .map_err(|_| refuse(format!("an entry carries at most 255 tags, not {tags}")))?;
    let key = key.v();
    let key_length = u16::try_from(key.len())
        .map_err(|_| refuse(format!("a name of {} bytes does not fit an envelope", key.len())))?;
    let names: usize = header.tags.iter().map(|tagged| tagged.tag.name().len()).sum();
    let length = FIXED_BYTES + tags * TAG_BYTES + names + 2 + key.len() + CHECKSUM_BYTES;
    let mut out = Vec::with_capacity(length + more_bytes);

    let negative = if header.negative { NEGATIVE } else { 0 };
    let soft_expired = if header.soft_expired { SOFT_EXPIRED } else { 0 };
    let in_parts = if header.sum.is_some() { IN_PARTS } else { 0 };
    let flags = negative | soft_expired | in_parts | (header.way.id() << COMPRESSION_AT);
    out.extend([MAGIC, VERSION, flags, tag_count]);
    out.extend(header.hard_ms.to_le_bytes());
    out.extend(header.id);
    out.push(header.codec);
    out.extend(header.schema.to_le_bytes());
    out.extend(header.stored_at_ms.to_le_bytes());
    out.extend(header.fresh_ms.to_le_bytes());
    out.extend(header.load_cost_us.to_le_bytes());
    out.extend(header.by.to_le_bytes());
    for Tagged { tag, generation } in &header.tags {
        let name_length = u8::try_from(tag.name().len())
            .map_err(|_| refuse("a tag's name does not fit an envelope".into()))?;
        out.push(name_length);
        out.extend(tag.name());
        out.extend(generation.by.to_le_bytes());
        out.extend(generation.nonce);
    }
    out.extend(key_length.to_le_bytes());
    out.extend(key);
    Ok(out)
}

fn refuse(text: String) -> Error {
    Error::new(ErrorKind::Encode, text)
}

/// Reads the envelope of `key`, as written with `codec` under `schema`. Tags that are among `likely` are
/// clones of those.
pub(crate) fn decode<'a>(
    bytes: &'a [u8],
    key: &Key,
    codec: u8,
    schema: u32,
    likely: &[Tag],
) -> Result<(Header, &'a [u8]), Unreadable> {
    let mut rest = Rest(bytes);
    let [magic, version] = rest.array().map_err(|_| Unreadable::Magic)?;
    if magic != MAGIC {
        return Err(Unreadable::Magic);
    }
    if version != VERSION {
        return Err(Unreadable::Version(version));
    }
    let [flags, tag_count] = rest.array()?;
    let mut header = Header {
        negative: flags & NEGATIVE != 0,
        soft_expired: flags & SOFT_EXPIRED != 0,
        way: Way::None,
        hard_ms: u32::from_le_bytes(rest.array()?),
        id: rest.array()?,
        codec: u8::from_le_bytes(rest.array()?),
        schema: u32::from_le_bytes(rest.array()?),
        stored_at_ms: u64::from_le_bytes(rest.array()?),
        fresh_ms: u32::from_le_bytes(rest.array()?),
        load_cost_us: u32::from_le_bytes(rest.array()?),
        by: Incarnation::from_le_bytes(rest.array()?),
        sum: None,
        tags: Vec::new(),
    };
    // Read over once, and made only when the checksum has vouched for them.
    let tags = rest;
    for _ in 0..tag_count {
        rest.tag()?;
    }
    let key_length = u16::from_le_bytes(rest.array()?);
    let stored_key = rest.take(key_length.into())?;
    let covered = bytes.len() - rest.0.len();
    let stored_sum = u32::from_le_bytes(rest.array()?);
    let payload = rest.0;

    let covered = bytes.get(..covered).ok_or(Unreadable::Truncated)?;
    header.sum = (flags & IN_PARTS != 0).then(|| sum(payload));
    let right_sum = match header.sum {
        None => checksum(covered, payload),
        Some(sum) => checksum(covered, &sum.to_le_bytes()),
    };
    if right_sum != stored_sum {
        return Err(Unreadable::Checksum);
    }
    if flags & !(NEGATIVE | COMPRESSION | IN_PARTS | SOFT_EXPIRED) != 0 {
        return Err(Unreadable::Flags(flags));
    }
    let way = (flags & COMPRESSION) >> COMPRESSION_AT;
    header.way = Way::of_id(way).ok_or(Unreadable::Compression(way))?;
    if header.codec != codec {
        return Err(Unreadable::Codec(header.codec));
    }
    if header.schema != schema {
        return Err(Unreadable::Schema(header.schema));
    }
    if stored_key != key.v() {
        return Err(Unreadable::Key);
    }
    header.tags = all_tags(tags, tag_count, likely)?;
    Ok((header, payload))
}

/// What the envelope of `key` says, whatever its codec and schema.
pub(crate) fn peek(bytes: &[u8], key: &Key) -> Result<Header, Unreadable> {
    let codec = bytes.get(CODEC_AT).copied().unwrap_or_default();
    let schema = bytes.get(CODEC_AT + 1..).and_then(|rest| rest.first_chunk());
    let schema = u32::from_le_bytes(schema.copied().unwrap_or_default());
    decode(bytes, key, codec, schema, &[]).map(|(header, _)| header)
}

fn all_tags(mut rest: Rest<'_>, count: u8, likely: &[Tag]) -> Result<Vec<Tagged>, Unreadable> {
    let mut tags = Vec::with_capacity(count.into());
    for _ in 0..count {
        let (name, generation) = rest.tag()?;
        let likely = likely.iter().find(|tag| tag.name() == name).cloned();
        let tag = likely.or_else(|| Tag::from_name(name)).ok_or(Unreadable::Truncated)?;
        tags.push(Tagged { tag, generation });
    }
    Ok(tags)
}

/// Marks it as no longer fresh, as `expire.lua` does; false when it is too short to be marked.
pub(crate) fn mark_soft_expired(bytes: &mut [u8]) -> bool {
    match bytes.get_mut(FLAGS_AT) {
        Some(flags) => *flags |= SOFT_EXPIRED,
        None => return false,
    }
    true
}

/// In whose name an envelope was written, whatever else is wrong with the bytes.
pub(crate) fn by(bytes: &[u8]) -> Option<Incarnation> {
    let by = bytes.get(BY_AT..)?.first_chunk().copied()?;
    Some(Incarnation::from_le_bytes(by))
}

/// The id of an envelope, found as `read.lua` finds it: whatever else is wrong with the bytes.
pub(crate) fn id(bytes: &[u8]) -> Option<Token> {
    bytes.get(ID_AT..)?.first_chunk().copied()
}

/// Of a payload alone.
pub(crate) fn sum(payload: &[u8]) -> u64 {
    xxh3_64(payload)
}

/// Over all but itself, the soft-expired bit taken as clear.
fn checksum(before: &[u8], payload: &[u8]) -> u32 {
    let mut hash = Xxh3::new();
    if let Some((opening, [flags, rest @ ..])) = before.split_at_checked(FLAGS_AT) {
        hash.update(opening);
        hash.update(&[flags & !SOFT_EXPIRED]);
        hash.update(rest);
    }
    hash.update(payload);
    hash.digest() as u32
}

/// What is still to be read.
#[derive(Clone, Copy)]
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Unreadable::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Unreadable::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn tag(&mut self) -> Result<(&'a [u8], Generation), Unreadable> {
        let [length] = self.array()?;
        let name = self.take(length.into())?;
        let by = Incarnation::from_le_bytes(self.array()?);
        Ok((name, Generation { by, nonce: self.array()? }))
    }
}
