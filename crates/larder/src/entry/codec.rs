//! From a value to bytes and back.
//!
//! Writing stops as soon as a value passes its cap, so that a giant costs no more memory than the
//! cap. Reading trusts nothing: how deep bytes nest and how long they claim to be is known before a
//! value is made of them ([`nesting`]), and bytes left over are an error.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind};

mod nesting;
#[cfg(test)]
mod tests;

/// How values are written. One cache has one codec; bytes of another are a miss.
///
/// Both know one kind of nothing: `Some(None)` comes back as `None`. A value nested deeper than 127
/// lists or maps is refused when it is written, because it would be when it is read.
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
        };
        if out.passed {
            return Ok(Encoded::TooLarge);
        }
        written?;
        let nested = match self {
            Codec::MessagePack => nesting::check_message_pack(&out.bytes),
            #[cfg(feature = "json")]
            Codec::Json => nesting::check_json(&out.bytes),
        };
        nested.map_err(|fault| self.cannot("write").because(fault))?;
        Ok(Encoded::Bytes(out.bytes))
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
        }
    }

    fn cannot(self, doing: &str) -> Error {
        let name = match self {
            Codec::MessagePack => "MessagePack",
            #[cfg(feature = "json")]
            Codec::Json => "JSON",
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
