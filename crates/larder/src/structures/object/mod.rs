//! A struct kept field by field, in a hash.
//!
//! Two who change different fields at once do not undo each other's work: nothing is read, changed here and
//! written back. Each change of an object is one step on its server, whatever fields it sets and removes.
//!
//! Nothing is started here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::kept::Kept;
use super::{Ground, Removal, Side, bounds};
use crate::error::{Error, ErrorKind};
use crate::key::{Shape, ToKey};
#[cfg(feature = "redis")]
use crate::redis::{Call, Reply};
#[cfg(feature = "redis")]
use crate::structures::{not_done, not_read};

mod builder;
mod change;
mod changing;
mod fields;
mod flat;
mod memory;
#[cfg(feature = "redis")]
pub(super) mod redis;

pub use builder::ObjectBuilder;
pub use change::Written;
use change::{Change, When};
pub use changing::ObjectChange;
pub use fields::{FieldReader, FieldWriter, HashObject};

type ToFields<T> = fn(&T) -> Result<Vec<(&'static str, Vec<u8>)>, Error>;
type FromFields<T> = fn(&mut FieldReader<'_>) -> Result<T, Error>;

/// A struct for each key, kept field by field. Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
/// # let larder = larder::Larder::builder("doc").open().await?;
/// use larder::DAY;
/// use larder::structures::Object;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Profile {
///     name: String,
///     #[serde(default)]
///     visits: u64,
///     motto: Option<String>,
/// }
///
/// let profiles: Object<Profile> = larder.object("profile").expire_after(90 * DAY).serde()?;
/// let ann = profiles.of(&7);
/// ann.set_all(&Profile { name: "Ann".into(), visits: 0, motto: None }).await?;
/// ann.increment("visits", 1).await?;
/// ann.change().set("motto", "carpe diem").set("name", "Anna").send().await?;
///
/// assert_eq!(ann.get::<u64>("visits").await?, Some(1));
/// let all = ann.get_all().await?.unwrap();
/// assert_eq!(all, Profile { name: "Anna".into(), visits: 1, motto: Some("carpe diem".into()) });
/// # Ok(()) }
/// ```
pub struct Object<T> {
    inner: Arc<Inner>,
    to: ToFields<T>,
    from: FromFields<T>,
}

impl<T> Clone for Object<T> {
    fn clone(&self) -> Object<T> {
        Object { inner: self.inner.clone(), to: self.to, from: self.from }
    }
}

impl<T> fmt::Debug for Object<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Object").field(&self.inner.shape.to_string()).finish()
    }
}

struct Inner {
    ground: Ground,
    shape: Shape,
    names: &'static [&'static str],
    expire_after: Option<Duration>,
    /// When there is no Redis.
    memory: Option<Arc<Kept<memory::Fields>>>,
}

impl Inner {
    /// A field's name, if it has one of that name.
    fn field(&self, name: &str) -> Result<&'static str, Error> {
        self.names.iter().find(|field| **field == name).copied().ok_or_else(|| {
            let all = self.names.join(", ");
            let text = format!("{} has no field {name:?}: it has {all}", self.shape);
            Error::new(ErrorKind::Config, text)
        })
    }

    fn memory(&self) -> Result<&Kept<memory::Fields>, Error> {
        self.ground.check_open(&self.shape)?;
        // Only who has no Redis asks.
        self.memory.as_deref().ok_or_else(|| Error::new(ErrorKind::Far, "not kept in this process"))
    }
}

impl<T> Object<T> {
    /// The one under this key. A key that is too long is told by what is asked of it.
    pub fn of<K: ToKey + ?Sized>(&self, key: &K) -> ObjectOf<T> {
        let one = One { inner: self.inner.clone(), shape: self.inner.shape.of(key) };
        ObjectOf { one, to: self.to, from: self.from }
    }
}

/// One object of a name, whatever its type.
#[derive(Clone)]
struct One {
    inner: Arc<Inner>,
    shape: Result<Shape, Error>,
}

/// The object under one key. Cheap to clone.
pub struct ObjectOf<T> {
    one: One,
    to: ToFields<T>,
    from: FromFields<T>,
}

impl<T> Clone for ObjectOf<T> {
    fn clone(&self) -> ObjectOf<T> {
        ObjectOf { one: self.one.clone(), to: self.to, from: self.from }
    }
}

impl<T> fmt::Debug for ObjectOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ObjectOf").field(&self.one.inner.shape.to_string()).finish()
    }
}

/// Writing. Errors of all: [`ErrorKind::Unconfirmed`]: no answer came, and it may have been done; unless said
/// otherwise it can be repeated without harm. [`ErrorKind::Far`]: it was not done. [`ErrorKind::Encode`]: a
/// field cannot be written, or takes more than one MiB. [`ErrorKind::Config`]: there is no such field.
impl<T> ObjectOf<T> {
    /// Sets all fields. Those that are `None` are removed; what is no field of `T` (of another version of it)
    /// stays.
    ///
    /// # Cost
    /// One round trip; O(fields).
    ///
    /// # Errors
    /// As said above.
    pub async fn set_all(&self, value: &T) -> Result<(), Error> {
        self.write_all(value, When::Any).await.map(drop)
    }

    /// Sets all fields, unless the object is there. Repeated after [`ErrorKind::Unconfirmed`] it may be
    /// [`AlreadyThere`](Written::AlreadyThere) by its own first try.
    ///
    /// # Cost, errors
    /// As [`set_all`](Self::set_all).
    pub async fn create(&self, value: &T) -> Result<Written, Error> {
        self.write_all(value, When::Absent).await
    }

    /// Sets all fields, if the object is there.
    ///
    /// # Cost, errors
    /// As [`set_all`](Self::set_all).
    pub async fn replace(&self, value: &T) -> Result<Written, Error> {
        self.write_all(value, When::There).await
    }

    async fn write_all(&self, value: &T, when: When) -> Result<Written, Error> {
        let mut change = Change { when, ..Change::default() };
        change.removed.extend(self.one.inner.names);
        for (name, bytes) in (self.to)(value)? {
            change.field(self.one.inner.field(name)?, Some(bytes));
        }
        self.one.write(&change).await
    }

    /// Sets one field. As [`change`](Self::change) of one.
    ///
    /// # Cost, errors
    /// As [`set_all`](Self::set_all); O(1).
    pub async fn set<F: Serialize + ?Sized>(&self, field: &str, value: &F) -> Result<(), Error> {
        self.change().set(field, value).send().await.map(drop)
    }

    /// Begins a change of some fields: all of them in one step, and no other is touched.
    pub fn change(&self) -> ObjectChange {
        ObjectChange::of(self.one.clone())
    }

    /// Adds to a number, and gives what it is then. A field that is not there is 0, and an object that is not
    /// there begins with it. **Not** to be repeated after [`ErrorKind::Unconfirmed`]: it may add twice.
    ///
    /// # Cost
    /// One round trip; O(1).
    ///
    /// # Errors
    /// As said above; [`ErrorKind::Encode`] also when the field is no number that fits into 64 bits, or would no
    /// longer be: it stays as it was.
    pub async fn increment(&self, field: &str, by: i64) -> Result<i64, Error> {
        let (one, field) = (&self.one, self.one.inner.field(field)?);
        let object = one.shape()?.part("v");
        match one.inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(_) => {
                let sum = one.increment("HINCRBY", field, by.to_string()).await?;
                let sum = sum.text().and_then(|text| text.parse().map_err(|_| crate::redis::odd()));
                sum.map_err(|why| not_done(&one.inner.shape, "increment in", why))
            }
            Side::Memory(_) => {
                let (kept, now) = (one.inner.memory()?, one.inner.ground.clock().now());
                let sum = |text: &str| {
                    let number: i64 = text.parse().ok()?;
                    // Redis takes a number in one way of writing it only.
                    (number.to_string() == text).then(|| number.checked_add(by))?
                };
                let expire = one.inner.expire_after;
                let sum = memory::increment(kept, object.bytes(), now, field, expire, sum);
                sum.ok_or_else(|| one.no_sum(field))
            }
        }
    }

    /// The same for a number with a fraction. Redis counts with 17 digits.
    ///
    /// # Cost, errors
    /// As [`increment`](Self::increment); [`ErrorKind::Encode`] also when the sum is no finite number.
    pub async fn increment_float(&self, field: &str, by: f64) -> Result<f64, Error> {
        let (one, field) = (&self.one, self.one.inner.field(field)?);
        let object = one.shape()?.part("v");
        match one.inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(_) => {
                let sum = one.increment("HINCRBYFLOAT", field, format!("{by:?}")).await?;
                let sum = sum.text().and_then(|text| text.parse().map_err(|_| crate::redis::odd()));
                sum.map_err(|why| not_done(&one.inner.shape, "increment in", why))
            }
            Side::Memory(_) => {
                let (kept, now) = (one.inner.memory()?, one.inner.ground.clock().now());
                let sum = |text: &str| {
                    let number: f64 = text.parse().ok()?;
                    Some(number + by).filter(|sum| sum.is_finite())
                };
                let expire = one.inner.expire_after;
                let sum = memory::increment(kept, object.bytes(), now, field, expire, sum);
                sum.ok_or_else(|| one.no_sum(field))
            }
        }
    }

    /// The object is forgotten after this time, unless something is changed that gives it another.
    ///
    /// # Cost, errors
    /// One round trip; O(1). Errors as said above; [`ErrorKind::Config`]: not from a millisecond to ten years.
    pub async fn expire_in(&self, time: Duration) -> Result<Written, Error> {
        let shape = self.one.shape()?;
        bounds::check_time(shape, "expire_in", time)?;
        let object = shape.part("v");
        let was_there = match self.one.inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let call = Call::new("PEXPIRE", &object).arg(bounds::ms(Some(time)));
                let set = commands.ask(call).await.and_then(|answer| Reply::from(answer).number());
                set.map_err(|why| not_done(shape, "expire", why))? == 1
            }
            Side::Memory(_) => {
                let (kept, clock) = (self.one.inner.memory()?, self.one.inner.ground.clock());
                memory::expire(kept, object.bytes(), clock.now(), time)
            }
        };
        Ok(if was_there { Written::Done } else { Written::NotThere })
    }

    /// Removes the object, with all its fields.
    ///
    /// # Cost, errors
    /// One round trip; its memory is freed in the background. Errors as said above.
    pub async fn remove(&self) -> Result<Removal, Error> {
        let shape = self.one.shape()?;
        let object = shape.part("v");
        let was_there = match self.one.inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let removing = commands.ask(Call::new("UNLINK", &object)).await;
                let removed = removing.and_then(|answer| Reply::from(answer).number());
                removed.map_err(|why| not_done(shape, "remove", why))? == 1
            }
            Side::Memory(_) => {
                let (kept, clock) = (self.one.inner.memory()?, self.one.inner.ground.clock());
                kept.remove(object.bytes(), clock.now())
            }
        };
        Ok(if was_there { Removal::Removed } else { Removal::NotThere })
    }
}

/// Reading. Errors of all: [`ErrorKind::Far`]: no answer came; ask again. [`ErrorKind::Encode`]: a field cannot be
/// read, or one that must be there is not. [`ErrorKind::Config`]: there is no such field.
impl<T> ObjectOf<T> {
    /// All fields of `T`; `None` when none of them is there. An object whose fields are all `None` is one of which
    /// nothing is kept.
    ///
    /// # Cost
    /// One round trip; O(fields of `T`), whatever else is in the hash.
    ///
    /// # Errors
    /// As said above.
    pub async fn get_all(&self) -> Result<Option<T>, Error> {
        let fields = self.one.read(self.one.inner.names).await?;
        if fields.is_empty() {
            return Ok(None);
        }
        let read = (self.from)(&mut FieldReader::new(&fields));
        read.map(Some).map_err(|why| why.at(&self.one.inner.shape))
    }

    /// One field; `None` when it is not there.
    ///
    /// # Cost, errors
    /// As [`get_all`](Self::get_all); O(1).
    pub async fn get<F: DeserializeOwned>(&self, field: &str) -> Result<Option<F>, Error> {
        self.get_some(&[field]).await?.take(field)
    }

    /// Some fields, as they are at one moment.
    ///
    /// # Cost, errors
    /// As [`get_all`](Self::get_all); O(fields asked for).
    pub async fn get_some(&self, fields: &[&str]) -> Result<SomeFields, Error> {
        let field = |name: &&str| self.one.inner.field(name);
        let names: Vec<&'static str> = fields.iter().map(field).collect::<Result<_, _>>()?;
        let fields = if names.is_empty() { Vec::new() } else { self.one.read(&names).await? };
        Ok(SomeFields { fields, shape: self.one.inner.shape.clone() })
    }

    /// Is any field there, of `T` or not?
    ///
    /// # Cost, errors
    /// As [`get_all`](Self::get_all); O(1).
    pub async fn exists(&self) -> Result<bool, Error> {
        let shape = self.one.shape()?;
        let object = shape.part("v");
        match self.one.inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let answer = commands.ask(Call::new("EXISTS", &object)).await;
                let there = answer.and_then(|answer| Reply::from(answer).number());
                Ok(there.map_err(|why| not_read(shape, "look for", why))? == 1)
            }
            Side::Memory(_) => {
                let (kept, clock) = (self.one.inner.memory()?, self.one.inner.ground.clock());
                Ok(memory::exists(kept, object.bytes(), clock.now()))
            }
        }
    }
}

impl One {
    fn shape(&self) -> Result<&Shape, Error> {
        self.shape.as_ref().map_err(Clone::clone)
    }

    async fn write(&self, change: &Change) -> Result<Written, Error> {
        let shape = self.shape()?;
        let object = shape.part("v");
        match self.inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let expire_ms = bounds::ms(self.inner.expire_after);
                let answer = commands.ask(redis::write(&object, change, expire_ms)).await;
                let told = answer.and_then(|answer| redis::written(Reply::from(answer), change));
                told.map_err(|why| not_done(shape, "write", why))
            }
            Side::Memory(_) => {
                let (kept, now) = (self.inner.memory()?, self.inner.ground.clock().now());
                let expire = self.inner.expire_after;
                Ok(memory::write(kept, object.bytes(), now, change, expire))
            }
        }
    }

    async fn read(&self, names: &[&'static str]) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
        let shape = self.shape()?;
        let object = shape.part("v");
        match self.inner.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let answer = commands.ask(redis::read(&object, names)).await;
                let fields = answer.and_then(|answer| redis::fields(Reply::from(answer), names));
                fields.map_err(|why| not_read(shape, "read", why))
            }
            Side::Memory(_) => {
                let (kept, now) = (self.inner.memory()?, self.inner.ground.clock().now());
                Ok(memory::read(kept, object.bytes(), now, names))
            }
        }
    }

    #[cfg(feature = "redis")]
    async fn increment(&self, how: &str, field: &'static str, by: String) -> Result<Reply, Error> {
        let shape = self.shape()?;
        let Side::Redis(commands) = self.inner.ground.side() else {
            return Err(Error::new(ErrorKind::Far, "not kept in Redis"));
        };
        let expire_ms = bounds::ms(self.inner.expire_after);
        let call = redis::increment(&shape.part("v"), how, field, by, expire_ms);
        match commands.ask(call).await {
            Ok(answer) => Ok(Reply::from(answer)),
            Err(why) if redis::has_no_sum(&why) => Err(self.no_sum(field)),
            Err(why) => Err(not_done(shape, "increment in", why)),
        }
    }

    fn no_sum(&self, field: &str) -> Error {
        let text = format!(
            "cannot increment {field} of {}: it is no number of its kind, or would pass its bounds",
            self.inner.shape
        );
        Error::new(ErrorKind::Encode, text)
    }
}

/// Some fields of an object, as they were at one moment.
#[derive(Clone)]
pub struct SomeFields {
    fields: Vec<(&'static str, Vec<u8>)>,
    shape: Shape,
}

/// Their names: what is in them may be anybody's.
impl fmt::Debug for SomeFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.fields.iter().map(|(name, _)| name)).finish()
    }
}

impl SomeFields {
    /// One of them; `None` when it is not there, or was not asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] when it is of another type.
    pub fn take<F: DeserializeOwned>(&self, field: &str) -> Result<Option<F>, Error> {
        let read = FieldReader::new(&self.fields).take(field);
        read.map_err(|why| why.at(&self.shape))
    }
}
