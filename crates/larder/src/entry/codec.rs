//! From a value to bytes and back.
//!
//! Writing stops as soon as a value passes its cap, so that a giant costs no more memory than the
//! cap. Reading trusts nothing: how deep bytes nest and how long they claim to be is known before a
//! value is made of them ([`nesting`]) or watched while one is (`bounded`), and bytes left over are
//! an error.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind};

#[cfg(feature = "postcard")]
mod bounded;
mod nesting;
#[cfg(feature = "structures")]
pub(crate) mod plain;
#[cfg(test)]
mod tests;

/// How values are written. One cache has one codec; bytes of another are a miss.
///
/// The first two know one kind of nothing: `Some(None)` comes back as `None`. A value nested deeper than 127
/// lists or maps (and, in Postcard, options) is refused when it is written, because it would be when it
/// is read.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// [MessagePack](https://msgpack.org) with named fields: small, fast, and a field added with
    /// `#[serde(default)]` still reads what was stored before.
    #[default]
    MessagePack,
    /// JSON, for people and other languages to read. A float that is not a number is stored as
    /// `null`, and cannot be read as a float again.
    #[cfg(feature = "json")]
    Json,
    /// [Postcard](https://postcard.jamesmunns.com): values without names, in order. The smallest and
    /// fastest, and the strictest: a field added, moved or given another type makes other bytes, which
    /// an old program might take for a value. So a cache must be told its
    /// [`schema`](crate::CacheBuilder::schema), and that be counted up with **every** change of the type.
    ///
    /// Types that need names to be read do not fit: `#[serde(flatten)]`, `untagged`, `tag` and
    /// `skip_serializing_if`. A value is read back before it is stored, so most of them are found out
    /// by [`NotStored::Encode`](crate::observe::NotStored::Encode).
    #[cfg(feature = "postcard")]
    Postcard,
}

/// A value as bytes, if it is small enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Encoded {
    Bytes(Vec<u8>),
    TooLarge,
}

impl Codec {
    /// What an envelope calls it.
    pub(crate) fn id(self) -> u8 {
        match self {
            Codec::MessagePack => 1,
            #[cfg(feature = "json")]
            Codec::Json => 2,
            #[cfg(feature = "postcard")]
            Codec::Postcard => 3,
        }
    }

    /// # Errors
    /// `Encode` when the type cannot be written, or the value could not be read again.
    pub(crate) fn encode<V: Serialize + ?Sized>(
        self,
        value: &V,
        bytes_max: usize,
    ) -> Result<Encoded, Error> {
        let mut out = Capped { bytes: Vec::new(), max: bytes_max, passed: false };
        let written = match self {
            Codec::MessagePack => {
                let mut serializer = rmp_serde::Serializer::new(&mut out).with_struct_map();
                value
                    .serialize(&mut serializer)
                    .map_err(|cause| self.cannot("write").because(cause))
            }
            #[cfg(feature = "json")]
            Codec::Json => serde_json::to_writer(&mut out, value)
                .map_err(|cause| self.cannot("write").because(cause)),
            #[cfg(feature = "postcard")]
            Codec::Postcard => postcard::to_io(value, &mut out)
                .map(|_| ())
                .map_err(|cause| self.cannot("write").because(cause)),
        };
        if out.passed {
            return Ok(Encoded::TooLarge);
        }
        written?;
        let nested = match self {
            Codec::MessagePack => nesting::check_message_pack(&out.bytes),
            #[cfg(feature = "json")]
            Codec::Json => nesting::check_json(&out.bytes),
            // Its bytes can be followed by their type alone: see `encode_readable`.
            #[cfg(feature = "postcard")]
            Codec::Postcard => Ok(()),
        };
        nested.map_err(|fault| self.cannot("write").because(fault))?;
        Ok(Encoded::Bytes(out.bytes))
    }

    /// As [`encode`](Self::encode), for what will be read as the same type.
    pub(crate) fn encode_readable<V: Serialize + DeserializeOwned>(
        self,
        value: &V,
        bytes_max: usize,
    ) -> Result<Encoded, Error> {
        let encoded = self.encode(value, bytes_max)?;
        #[cfg(feature = "postcard")]
        if let (Codec::Postcard, Encoded::Bytes(bytes)) = (self, &encoded) {
            // Written and not to be read, it would be a miss for ever.
            self.decode::<V>(bytes).map_err(|cause| self.cannot("write").because(cause))?;
        }
        Ok(encoded)
    }

    /// Do its bytes mean something else when the type has changed?
    pub(crate) fn needs_schema(self) -> bool {
        match self {
            Codec::MessagePack => false,
            #[cfg(feature = "json")]
            Codec::Json => false,
            #[cfg(feature = "postcard")]
            Codec::Postcard => true,
        }
    }

    /// # Errors
    /// `Encode` when the bytes are not one whole value of this type. To a caller that is a miss.
    pub(crate) fn decode<V: DeserializeOwned>(self, bytes: &[u8]) -> Result<V, Error> {
        match self {
            Codec::MessagePack => {
                nesting::check_message_pack(bytes)
                    .map_err(|fault| self.cannot("read").because(fault))?;
                rmp_serde::from_slice(bytes).map_err(|cause| self.cannot("read").because(cause))
            }
            #[cfg(feature = "json")]
            Codec::Json => {
                serde_json::from_slice(bytes).map_err(|cause| self.cannot("read").because(cause))
            }
            #[cfg(feature = "postcard")]
            Codec::Postcard => {
                let bounds = bounded::Bounds::of(bytes.len());
                let mut reader = postcard::Deserializer::from_bytes(bytes);
                let read = V::deserialize(bounded::Bounded { inner: &mut reader, bounds: &bounds });
                let rest = reader.finalize();
                if let Some(fault) = bounds.fault() {
                    return Err(self.cannot("read").because(fault));
                }
                let value = read.map_err(|cause| self.cannot("read").because(cause))?;
                match rest.map_err(|cause| self.cannot("read").because(cause))?.len() {
                    0 => Ok(value),
                    left => Err(self.cannot("read").because(nesting::Fault::Long(left))),
                }
            }
        }
    }

    fn cannot(self, doing: &str) -> Error {
        let name = match self {
            Codec::MessagePack => "MessagePack",
            #[cfg(feature = "json")]
            Codec::Json => "JSON",
            #[cfg(feature = "postcard")]
            Codec::Postcard => "Postcard",
        };
        Error::new(ErrorKind::Encode, format!("cannot {doing} value as {name}"))
    }
}

/// A buffer that refuses what does not fit.
struct Capped {
    bytes: Vec<u8>,
    max: usize,
    passed: bool,
}

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.bytes.len().saturating_add(bytes.len());
        if length > self.max {
            self.passed = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        if length > self.bytes.capacity() {
            // By itself a Vec doubles, and would reserve up to twice the cap.
            let capacity = length.max(2 * self.bytes.capacity()).max(128).min(self.max);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
