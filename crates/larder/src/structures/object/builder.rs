//! How objects are opened: the one place where their defaults are written down.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{FromFields, HashObject, Inner, Object, ToFields, flat, memory};
use crate::error::{Error, ErrorKind};
use crate::structures::kept::Kept;
use crate::structures::{Ground, Side, bounds};

/// The most fields of one object.
const FIELDS_MAX: usize = 1000;
/// The most that the name of a field may take.
const NAME_BYTES_MAX: usize = 256;

/// Settles how an [`Object`] works. Every default is here.
#[must_use]
pub struct ObjectBuilder {
    ground: Ground,
    name: String,
    expire_after: Option<Duration>,
}

impl fmt::Debug for ObjectBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ObjectBuilder {
    pub(crate) fn new(ground: Ground, name: String) -> ObjectBuilder {
        ObjectBuilder { ground, name, expire_after: None }
    }

    /// How long after its last change an object is forgotten. Never; from a millisecond to ten years.
    pub fn expire_after(mut self, time: Duration) -> ObjectBuilder {
        self.expire_after = Some(time);
        self
    }

    /// Opens it for a type that says itself what its fields are: by `#[derive(HashObject)]`, or by hand. Nothing
    /// is asked of Redis.
    ///
    /// Two handles on one name with other settings each follow their own.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a setting is out of its bounds, the name is not 1 to 64 of `A-Z a-z 0-9 _ . -`,
    /// or the fields are not 1 to 1000 of different names of 1 to 256 bytes.
    pub fn open<T: HashObject>(self) -> Result<Object<T>, Error> {
        let (to, from) = (T::to_fields as ToFields<T>, T::from_fields as FromFields<T>);
        self.of_fields(T::FIELDS, to, from)
    }

    /// Opens it for a struct whose fields serde knows by name, without a macro of ours.
    ///
    /// A field is text if it is a number, a string, a bool or an enum without fields, and MessagePack otherwise;
    /// one that is `None` is absent. `#[serde(rename)]`, `default` and `skip` mean what they always do;
    /// `#[serde(flatten)]` is refused, and so is a field that is `untagged`, when it is read.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when the type is no struct with named fields.
    pub fn serde<T: Serialize + DeserializeOwned>(self) -> Result<Object<T>, Error> {
        let names = flat::names_of::<T>()?;
        self.of_fields(names, flat::to_fields::<T>, flat::from_fields::<T>)
    }

    fn of_fields<T>(
        self,
        names: &'static [&'static str],
        to: ToFields<T>,
        from: FromFields<T>,
    ) -> Result<Object<T>, Error> {
        let shape = self.ground.shape("object", &self.name)?;
        if let Some(time) = self.expire_after {
            bounds::check_time(&shape, "expire_after", time)?;
        }
        bounds::check(&shape, "the number of fields", names.len(), 1..=FIELDS_MAX)?;
        for (at, name) in names.iter().enumerate() {
            bounds::check(&shape, "a field's name in bytes", name.len(), 1..=NAME_BYTES_MAX)?;
            if names.iter().skip(at + 1).any(|other| other == name) {
                let text = format!("{shape}: two fields are called {name}");
                return Err(Error::new(ErrorKind::Config, text));
            }
        }
        let memory = match self.ground.side() {
            Side::Memory(shelves) => Some(shelves.get::<Kept<memory::Fields>>(&shape)?),
            #[cfg(feature = "redis")]
            Side::Redis(_) => None,
        };
        let ObjectBuilder { ground, expire_after, .. } = self;
        let inner = Inner { ground, shape, names, expire_after, memory };
        Ok(Object { inner: Arc::new(inner), to, from })
    }
}
