//! A struct's fields as serde tells them, without a macro of ours.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, Visitor};
use serde::{Deserializer, Serialize, Serializer, de, forward_to_deserialize_any, ser};

use super::fields::{FieldReader, FieldWriter};
use crate::entry::codec::plain::{Fault, Plain};
use crate::error::{Error, ErrorKind};

/// What the fields of a struct are called.
///
/// # Errors
/// `Config` unless it is a struct with named fields, none of them flattened.
pub(super) fn names_of<T: DeserializeOwned>() -> Result<&'static [&'static str], Error> {
    let mut names = None;
    // It ends with an error in any case: it only listens for what is asked.
    let _ = T::deserialize(Listening(&mut names));
    names.ok_or_else(|| {
        let text = format!(
            "{} cannot be kept field by field: serde must know it as a struct with named fields, none of them flattened",
            std::any::type_name::<T>()
        );
        Error::new(ErrorKind::Config, text)
    })
}

pub(super) fn to_fields<T: Serialize>(value: &T) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
    let cannot = |why| Error::new(ErrorKind::Encode, "cannot write object").because(why);
    let out = value.serialize(Struct).map_err(cannot)?;
    Ok(out.into_fields())
}

pub(super) fn from_fields<T: DeserializeOwned>(fields: &mut FieldReader<'_>) -> Result<T, Error> {
    let cannot = |why| Error::new(ErrorKind::Encode, "cannot read object").because(why);
    T::deserialize(Hash(fields)).map_err(cannot)
}

/// Hears which fields a struct asks for.
struct Listening<'a>(&'a mut Option<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Listening<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(de::Error::custom("it is no struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Fault> {
        *self.0 = Some(fields);
        Err(de::Error::custom("heard"))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Reads a struct from a hash.
struct Hash<'a, 'f>(&'a mut FieldReader<'f>);

impl<'f> Deserializer<'f> for Hash<'_, 'f> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'f>>(self, _: V) -> Result<V::Value, Fault> {
        Err(de::Error::custom("it is no struct with named fields"))
    }

    fn deserialize_struct<V: Visitor<'f>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_map(Rest { fields: self.0.all(), value: None })
    }

    fn deserialize_newtype_struct<V: Visitor<'f>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        <V: Visitor<'f>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The fields that are still to be read.
struct Rest<'f> {
    fields: &'f [(&'static str, Vec<u8>)],
    value: Option<(&'static str, &'f [u8])>,
}

impl<'f> MapAccess<'f> for Rest<'f> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'f>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let Some(((name, bytes), rest)) = self.fields.split_first() else { return Ok(None) };
        self.fields = rest;
        self.value = Some((name, bytes));
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'f>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let (name, bytes) = self.value.take().unwrap_or_default();
        let read = seed.deserialize(Plain(bytes));
        read.map_err(|why| de::Error::custom(format_args!("field {name}: {why}")))
    }
}

/// Writes a struct's fields apart.
struct Struct;

/// Those that were written so far.
struct Fields(FieldWriter);

impl ser::SerializeStruct for Fields {
    type Ok = FieldWriter;
    type Error = Fault;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.0.put(name, value).map_err(ser::Error::custom)
    }

    fn end(self) -> Result<FieldWriter, Fault> {
        Ok(self.0)
    }
}

macro_rules! no_struct {
    ($($method:ident ($($type:ty),*) $($ok:ident)?),* $(,)?) => {$(
        fn $method(self $(, _: $type)*) -> Result<no_struct!(@ $($ok)?), Fault> {
            Err(ser::Error::custom("it is no struct with named fields"))
        }
    )*};
    (@) => { FieldWriter };
    (@ $ok:ident) => { Self::$ok };
}

impl Serializer for Struct {
    type Ok = FieldWriter;
    type Error = Fault;
    type SerializeSeq = ser::Impossible<FieldWriter, Fault>;
    type SerializeTuple = ser::Impossible<FieldWriter, Fault>;
    type SerializeTupleStruct = ser::Impossible<FieldWriter, Fault>;
    type SerializeTupleVariant = ser::Impossible<FieldWriter, Fault>;
    type SerializeMap = ser::Impossible<FieldWriter, Fault>;
    type SerializeStruct = Fields;
    type SerializeStructVariant = ser::Impossible<FieldWriter, Fault>;

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields, Fault> {
        Ok(Fields(FieldWriter::new()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<FieldWriter, Fault> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<FieldWriter, Fault> {
        self.serialize_none()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<FieldWriter, Fault> {
        self.serialize_none()
    }

    no_struct! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64),
        serialize_u8(u8), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64), serialize_f32(f32),
        serialize_f64(f64), serialize_char(char), serialize_str(&str), serialize_bytes(&[u8]),
        serialize_none(), serialize_unit(), serialize_unit_struct(&'static str),
        serialize_unit_variant(&'static str, u32, &'static str),
        serialize_seq(Option<usize>) SerializeSeq,
        serialize_tuple(usize) SerializeTuple,
        serialize_tuple_struct(&'static str, usize) SerializeTupleStruct,
        serialize_tuple_variant(&'static str, u32, &'static str, usize) SerializeTupleVariant,
        serialize_map(Option<usize>) SerializeMap,
        serialize_struct_variant(&'static str, u32, &'static str, usize) SerializeStructVariant,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Profile {
        name: String,
        #[serde(rename = "years")]
        age: Option<u8>,
        #[serde(default)]
        visits: i64,
        tags: Vec<String>,
    }

    #[test]
    fn a_struct_falls_apart_into_its_fields_and_comes_together_again() {
        assert_eq!(names_of::<Profile>().unwrap(), ["name", "years", "visits", "tags"]);
        let ann = Profile {
            name: "Ann".into(),
            age: None,
            visits: -3,
            tags: vec!["a".into(), "b".into()],
        };
        let fields = to_fields(&ann).unwrap();
        let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["name", "visits", "tags"], "what is nothing is not kept");
        assert_eq!(fields[1].1, b"-3");
        assert_eq!(from_fields::<Profile>(&mut FieldReader::new(&fields)).unwrap(), ann);
        let older: Vec<_> = fields.into_iter().filter(|(name, _)| *name != "visits").collect();
        let read: Profile = from_fields(&mut FieldReader::new(&older)).unwrap();
        assert_eq!(read.visits, 0, "serde's default");
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_named() {
        let why = from_fields::<Profile>(&mut FieldReader::new(&[])).unwrap_err();
        assert!(why.to_string().contains("name"), "{why}");
        let fields = [("name", b"Ann".to_vec()), ("years", b"old".to_vec())];
        let why = from_fields::<Profile>(&mut FieldReader::new(&fields)).unwrap_err();
        assert_eq!(why.kind(), ErrorKind::Encode);
        assert!(why.to_string().contains("field years"), "{why}");
    }

    #[test]
    fn only_flat_structs_are_known_by_their_fields() {
        #[derive(Serialize, Deserialize)]
        struct Wrapped(Profile);
        #[derive(Debug, Serialize, Deserialize)]
        struct Flattened {
            id: u8,
            #[serde(flatten)]
            rest: Profile,
        }
        assert!(names_of::<Wrapped>().is_ok());
        assert_eq!(names_of::<Flattened>().unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(names_of::<Vec<u8>>().unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(names_of::<u64>().unwrap_err().kind(), ErrorKind::Config);
        assert!(to_fields(&17).is_err());
    }
}
