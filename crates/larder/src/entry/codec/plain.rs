//! Values as people write them: numbers, strings and bools as text, so that `redis-cli` reads them and
//! Redis can count with them; all else as MessagePack.
//!
//! The type that is read decides which of the two the bytes are: they do not say it themselves. So a type
//! that asks its bytes what they are (`#[serde(untagged)]`, `serde_json::Value`) cannot be read.

use std::fmt;

use serde::de::{DeserializeOwned, Visitor, value::BorrowedStrDeserializer};
use serde::{Deserializer, Serialize, Serializer, de, ser};

use super::{Capped, nesting};
use crate::error::{Error, ErrorKind};

/// What stood in the way.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fault(String);

impl ser::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Fault {
        Fault(text.to_string())
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Fault {
        Fault(text.to_string())
    }
}

/// The bytes of a value; `None` for one that is nothing.
///
/// # Errors
/// `Encode` when the type cannot be written, or its bytes would be more than `bytes_max`.
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, Error> {
    let cannot = || Error::new(ErrorKind::Encode, "cannot write value");
    let too_large = || {
        let text = format!("cannot write value: it is larger than {bytes_max} bytes");
        Error::new(ErrorKind::Encode, text)
    };
    match value.serialize(Words) {
        Ok(Written::Nothing) => Ok(None),
        Ok(Written::Text(bytes)) if bytes.len() > bytes_max => Err(too_large()),
        Ok(Written::Text(bytes)) => Ok(Some(bytes)),
        Err(NotPlain::Compound) => {
            let mut out = Capped { bytes: Vec::new(), max: bytes_max, passed: false };
            // As the text above: a type that knows two ways to be written is written for people in both.
            let serializer = rmp_serde::Serializer::new(&mut out).with_struct_map();
            let written = value.serialize(&mut serializer.with_human_readable());
            if out.passed {
                return Err(too_large());
            }
            written.map_err(|cause| cannot().because(cause))?;
            nesting::check_message_pack(&out.bytes).map_err(|fault| cannot().because(fault))?;
            Ok(Some(out.bytes))
        }
        Err(NotPlain::Fault(text)) => Err(cannot().because(Fault(text))),
    }
}

/// # Errors
/// `Encode` when the bytes are no value of this type.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let cannot = |fault| Error::new(ErrorKind::Encode, "cannot read value").because(fault);
    T::deserialize(Plain(bytes)).map_err(cannot)
}

/// Writes what is no list, map or struct.
struct Words;

enum Written {
    Nothing,
    Text(Vec<u8>),
}

#[derive(Debug)]
enum NotPlain {
    Compound,
    Fault(String),
}

impl fmt::Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotPlain::Compound => f.write_str("it has parts"),
            NotPlain::Fault(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for NotPlain {}

impl ser::Error for NotPlain {
    fn custom<T: fmt::Display>(text: T) -> NotPlain {
        NotPlain::Fault(text.to_string())
    }
}

macro_rules! in_words {
    ($($method:ident $type:ty),* $(,)?) => {$(
        fn $method(self, value: $type) -> Result<Written, NotPlain> {
            Ok(Written::Text(value.to_string().into_bytes()))
        }
    )*};
}

impl Serializer for Words {
    type Ok = Written;
    type Error = NotPlain;
    type SerializeSeq = ser::Impossible<Written, NotPlain>;
    type SerializeTuple = ser::Impossible<Written, NotPlain>;
    type SerializeTupleStruct = ser::Impossible<Written, NotPlain>;
    type SerializeTupleVariant = ser::Impossible<Written, NotPlain>;
    type SerializeMap = ser::Impossible<Written, NotPlain>;
    type SerializeStruct = ser::Impossible<Written, NotPlain>;
    type SerializeStructVariant = ser::Impossible<Written, NotPlain>;

    in_words! {
        serialize_bool bool, serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64,
        serialize_i128 i128, serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64,
        serialize_u128 u128, serialize_char char, serialize_str &str,
    }

    fn serialize_f32(self, value: f32) -> Result<Written, NotPlain> {
        // As Debug writes it: with an exponent where Display would write hundreds of digits.
        Ok(Written::Text(format!("{value:?}").into_bytes()))
    }

    fn serialize_f64(self, value: f64) -> Result<Written, NotPlain> {
        Ok(Written::Text(format!("{value:?}").into_bytes()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Written, NotPlain> {
        Ok(Written::Text(value.to_vec()))
    }

    fn serialize_none(self) -> Result<Written, NotPlain> {
        Ok(Written::Nothing)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Written, NotPlain> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Written, NotPlain> {
        Err(NotPlain::Compound)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Written, NotPlain> {
        Err(NotPlain::Compound)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Written, NotPlain> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Written, NotPlain> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Written, NotPlain> {
        Err(NotPlain::Compound)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, NotPlain> {
        Err(NotPlain::Compound)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, NotPlain> {
        Err(NotPlain::Compound)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, NotPlain> {
        Err(NotPlain::Compound)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, NotPlain> {
        Err(NotPlain::Compound)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, NotPlain> {
        Err(NotPlain::Compound)
    }

    fn serialize_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStruct, NotPlain> {
        Err(NotPlain::Compound)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, NotPlain> {
        Err(NotPlain::Compound)
    }
}

/// Reads what [`encode`] wrote.
pub(crate) struct Plain<'de>(pub(crate) &'de [u8]);

impl<'de> Plain<'de> {
    fn text(&self) -> Result<&'de str, Fault> {
        std::str::from_utf8(self.0).map_err(|_| Fault("it is no text".to_owned()))
    }

    fn parsed<T: std::str::FromStr>(&self, what: &str) -> Result<T, Fault> {
        // Not what stands there: it may be somebody's.
        self.text()?.parse().map_err(|_| Fault(format!("it is not {what}")))
    }

    /// Its reader, for what has parts.
    fn parts<V>(
        self,
        read: impl FnOnce(
            &mut rmp_serde::Deserializer<
                rmp_serde::decode::ReadRefReader<'de, [u8]>,
                rmp_serde::config::HumanReadableConfig<rmp_serde::config::DefaultConfig>,
            >,
        ) -> Result<V, rmp_serde::decode::Error>,
    ) -> Result<V, Fault> {
        nesting::check_message_pack(self.0).map_err(de::Error::custom)?;
        let mut reader = rmp_serde::Deserializer::from_read_ref(self.0).with_human_readable();
        read(&mut reader).map_err(de::Error::custom)
    }
}

macro_rules! from_words {
    ($($method:ident $visit:ident $what:literal),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit(self.parsed($what)?)
        }
    )*};
}

macro_rules! from_parts {
    ($($method:ident ($($arg:ident: $type:ty),*)),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, Fault> {
            self.parts(|reader| reader.$method($($arg,)* visitor))
        }
    )*};
}

impl<'de> Deserializer<'de> for Plain<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        let text = "its type asks the bytes what they are (untagged enums, values of any kind), and these do not say it";
        Err(Fault(text.to_owned()))
    }

    from_words! {
        deserialize_bool visit_bool "true or false",
        deserialize_i8 visit_i8 "a number of its type",
        deserialize_i16 visit_i16 "a number of its type",
        deserialize_i32 visit_i32 "a number of its type",
        deserialize_i64 visit_i64 "a number of its type",
        deserialize_i128 visit_i128 "a number of its type",
        deserialize_u8 visit_u8 "a number of its type",
        deserialize_u16 visit_u16 "a number of its type",
        deserialize_u32 visit_u32 "a number of its type",
        deserialize_u64 visit_u64 "a number of its type",
        deserialize_u128 visit_u128 "a number of its type",
        deserialize_f32 visit_f32 "a number",
        deserialize_f64 visit_f64 "a number",
        deserialize_char visit_char "one character",
    }

    from_parts! {
        deserialize_unit(),
        deserialize_unit_struct(name: &'static str),
        deserialize_seq(),
        deserialize_tuple(len: usize),
        deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_map(),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_bytes(self.0)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self) // nothing has no bytes
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        // A variant with a field is a map of one: its first byte (0x81) begins no text.
        match self.text() {
            Ok(word) => visitor.visit_enum(BorrowedStrDeserializer::new(word)),
            Err(_) => self.parts(|reader| reader.deserialize_enum(name, variants, visitor)),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum State {
        Open,
        Waits { of: u32 },
        Closed(String),
        Moved(u8, u8),
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Id(u64);

    fn both<T>(value: &T) -> Vec<u8>
    where
        T: Serialize + DeserializeOwned + PartialEq + fmt::Debug,
    {
        let bytes = encode(value, 1 << 16).unwrap().unwrap();
        assert_eq!(&decode::<T>(&bytes).unwrap(), value);
        bytes
    }

    #[test]
    fn what_is_no_compound_is_text_and_comes_back() {
        assert_eq!(both(&17_u64), b"17");
        assert_eq!(both(&i128::MIN), i128::MIN.to_string().as_bytes());
        assert_eq!(both(&true), b"true");
        assert_eq!(both(&1.5_f64), b"1.5");
        assert_eq!(both(&f64::MIN_POSITIVE), b"2.2250738585072014e-308");
        assert_eq!(both(&'}'), b"}");
        assert_eq!(both(&"milk \u{1f95b}".to_owned()), "milk \u{1f95b}".as_bytes());
        assert_eq!(both(&Id(7)), b"7");
        assert_eq!(both(&Some(7)), b"7");
        assert_eq!(both(&State::Open), b"Open");
        assert_eq!(both(&uuid::Uuid::nil()).len(), 36);
        assert_eq!(both(&std::net::IpAddr::from([127, 0, 0, 1])), b"127.0.0.1");
        assert!(encode(&None::<u8>, 100).unwrap().is_none());
    }

    #[test]
    fn what_has_parts_comes_back() {
        both(&vec![1, 2, 3]);
        both(&("a".to_owned(), 2));
        both(&BTreeMap::from([("a".to_owned(), vec![uuid::Uuid::nil()])]));
        both(&());
        for state in [State::Waits { of: 3 }, State::Closed("done".into()), State::Moved(1, 2)] {
            both(&state);
        }
    }

    #[test]
    fn what_cannot_be_read_or_written_says_so_and_tells_no_value() {
        let why = decode::<u64>(b"secret").unwrap_err();
        assert_eq!(why.kind(), ErrorKind::Encode);
        assert!(!why.to_string().contains("secret"), "{why}");
        for bytes in [b"256".as_slice(), b"", b"-1", &[0xff]] {
            assert!(decode::<u8>(bytes).is_err(), "{bytes:?}");
        }
        assert!(decode::<Vec<u8>>(&[0x93, 1]).is_err());
        assert!(decode::<State>(b"Ajar").is_err());
        assert!(decode::<serde_json::Value>(b"1").is_err());
        assert!(encode("12345", 4).unwrap_err().to_string().contains("4 bytes"));
        assert!(encode(&vec![7_u8; 100], 50).unwrap_err().to_string().contains("50 bytes"));
    }
}
