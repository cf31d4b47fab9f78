//! From a struct to the fields of a hash and back, one field at a time.

use serde::de::{DeserializeOwned, Visitor, value::Error as Missing};
use serde::{Deserializer, Serialize, de, forward_to_deserialize_any};

use crate::entry::codec::plain;
#[cfg(feature = "json")]
use crate::entry::{Codec, Encoded};
use crate::error::{Error, ErrorKind};

/// The most one field may take. One MiB.
pub(crate) const FIELD_BYTES_MAX: usize = 1 << 20;

/// A struct that is kept field by field. Derive it with `#[derive(HashObject)]`, or let
/// [`serde`](super::ObjectBuilder::serde) do for a struct whose fields are plain.
///
/// A field that is nothing (`None`) is not kept: it is absent. Numbers, strings, bools and enums without fields
/// are text; all else is MessagePack.
///
/// ```
/// # fn main() -> Result<(), larder::Error> {
/// use larder::Error;
/// use larder::structures::{FieldReader, FieldWriter, HashObject};
///
/// #[derive(Debug, PartialEq)]
/// struct Profile {
///     name: String,
///     visits: u64,
/// }
///
/// impl HashObject for Profile {
///     const FIELDS: &'static [&'static str] = &["name", "visits"];
///
///     fn to_fields(&self) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
///         let mut out = FieldWriter::new();
///         out.put("name", &self.name)?;
///         out.put("visits", &self.visits)?;
///         Ok(out.into_fields())
///     }
///
///     fn from_fields(fields: &mut FieldReader<'_>) -> Result<Profile, Error> {
///         Ok(Profile { name: fields.take("name")?, visits: fields.take_or_default("visits")? })
///     }
/// }
///
/// let ann = Profile { name: "Ann".into(), visits: 3 };
/// let fields = ann.to_fields()?;
/// assert_eq!(fields[1], ("visits", b"3".to_vec()));
/// assert_eq!(Profile::from_fields(&mut FieldReader::new(&fields))?, ann);
/// # Ok(()) }
/// ```
pub trait HashObject: Sized {
    /// What the fields are called in Redis. At most a thousand, each name once.
    const FIELDS: &'static [&'static str];

    /// The fields that are something, by their names.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] when a field cannot be written, or takes more than one MiB.
    fn to_fields(&self) -> Result<Vec<(&'static str, Vec<u8>)>, Error>;

    /// The struct, of the fields that are there.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] when one that must be there is not, or cannot be read.
    fn from_fields(fields: &mut FieldReader<'_>) -> Result<Self, Error>;
}

/// Takes the fields of a [`HashObject`] that is written.
#[derive(Debug, Default)]
pub struct FieldWriter {
    fields: Vec<(&'static str, Vec<u8>)>,
}

impl FieldWriter {
    /// One without fields.
    pub fn new() -> FieldWriter {
        FieldWriter::default()
    }

    /// Writes a field. One that is nothing is left out.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] when its type cannot be written, or it takes more than one MiB.
    pub fn put<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        if let Some(bytes) = to_bytes(name, value)? {
            self.fields.push((name, bytes));
        }
        Ok(())
    }

    /// Writes a field as JSON, whatever its type: to be read with [`FieldReader::take_json`].
    ///
    /// # Errors
    /// As [`put`](Self::put).
    #[cfg(feature = "json")]
    pub fn put_json<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        match Codec::Json
            .encode(value, FIELD_BYTES_MAX)
            .map_err(|why| cannot("write", name, why))?
        {
            Encoded::Bytes(bytes) => self.fields.push((name, bytes)),
            Encoded::TooLarge => {
                let text =
                    format!("cannot write field {name}: it is larger than {FIELD_BYTES_MAX} bytes");
                return Err(Error::new(ErrorKind::Encode, text));
            }
        }
        Ok(())
    }

    /// What was written, in order.
    pub fn into_fields(self) -> Vec<(&'static str, Vec<u8>)> {
        self.fields
    }
}

/// The bytes of one field; `None` when it is nothing.
pub(super) fn to_bytes<T: Serialize + ?Sized>(
    name: &str,
    value: &T,
) -> Result<Option<Vec<u8>>, Error> {
    plain::encode(value, FIELD_BYTES_MAX).map_err(|why| cannot("write", name, why))
}

/// Gives the fields of a [`HashObject`] that is read.
#[derive(Debug)]
pub struct FieldReader<'a> {
    fields: &'a [(&'static str, Vec<u8>)],
}

impl<'a> FieldReader<'a> {
    /// Of the fields that are there.
    pub fn new(fields: &'a [(&'static str, Vec<u8>)]) -> FieldReader<'a> {
        FieldReader { fields }
    }

    pub(super) fn all(&self) -> &'a [(&'static str, Vec<u8>)] {
        self.fields
    }

    fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, bytes)| bytes.as_slice())
    }

    /// Reads a field. One that is not there is `None` where the type has it.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] when it is not there, or is of another type.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Error> {
        match self.bytes(name) {
            Some(bytes) => plain::decode(bytes).map_err(|why| cannot("read", name, why)),
            None => T::deserialize(Nothing).map_err(|_| {
                Error::new(ErrorKind::Encode, format!("cannot read field {name}: it is not there"))
            }),
        }
    }

    /// Reads a field; the default of its type when it is not there.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] when it is of another type.
    pub fn take_or_default<T: DeserializeOwned + Default>(
        &mut self,
        name: &str,
    ) -> Result<T, Error> {
        match self.bytes(name) {
            Some(_) => self.take(name),
            None => Ok(T::default()),
        }
    }

    /// Reads a field that was written as JSON. One that is not there is `None` where the type has it.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    #[cfg(feature = "json")]
    pub fn take_json<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Error> {
        match self.bytes(name) {
            Some(bytes) => Codec::Json.decode(bytes).map_err(|why| cannot("read", name, why)),
            None => self.take(name),
        }
    }
}

fn cannot(doing: &str, name: &str, why: Error) -> Error {
    Error::new(ErrorKind::Encode, format!("cannot {doing} field {name}")).because(why)
}

/// What a field is read from that is not there.
struct Nothing;

impl<'de> Deserializer<'de> for Nothing {
    type Error = Missing;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Missing> {
        Err(de::Error::custom("it is not there"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Missing> {
        visitor.visit_none()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
