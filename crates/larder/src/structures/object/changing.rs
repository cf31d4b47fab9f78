//! Some fields changed in one step.

use std::fmt;

use serde::Serialize;

use super::change::{Change, When, Written};
use super::{One, fields};
use crate::error::Error;

/// A change of some fields, which is made when it is [sent](Self::send).
#[must_use = "nothing is changed until it is sent"]
pub struct ObjectChange {
    one: One,
    change: Result<Change, Error>,
}

impl fmt::Debug for ObjectChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ObjectChange").field(&self.one.inner.shape.to_string()).finish()
    }
}

impl ObjectChange {
    pub(super) fn of(one: One) -> ObjectChange {
        ObjectChange { one, change: Ok(Change::default()) }
    }

    /// The field becomes this. One that is nothing is removed; the last word on a field counts.
    pub fn set<F: Serialize + ?Sized>(mut self, field: &str, value: &F) -> ObjectChange {
        let written = self.one.inner.field(field).and_then(|name| {
            let bytes = fields::to_bytes(name, value)?;
            Ok((name, bytes))
        });
        self.take(written);
        self
    }

    /// The field is removed.
    pub fn remove(mut self, field: &str) -> ObjectChange {
        let removed = self.one.inner.field(field).map(|name| (name, None));
        self.take(removed);
        self
    }

    fn take(&mut self, field: Result<(&'static str, Option<Vec<u8>>), Error>) {
        match (&mut self.change, field) {
            (Ok(change), Ok((name, bytes))) => change.field(name, bytes),
            (Ok(_), Err(why)) => self.change = Err(why),
            (Err(_), _) => {} // the first is told
        }
    }

    /// Only if the object is there.
    pub fn if_there(mut self) -> ObjectChange {
        if let Ok(change) = &mut self.change {
            change.when = When::There;
        }
        self
    }

    /// Only if the object is not there.
    pub fn if_absent(mut self) -> ObjectChange {
        if let Ok(change) = &mut self.change {
            change.when = When::Absent;
        }
        self
    }

    /// Makes the change, all of it or nothing. One of no field at all is made without asking anybody.
    ///
    /// # Cost
    /// One round trip; O(fields that are changed).
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config): there is no such field. [`ErrorKind::Encode`](crate::ErrorKind::Encode): one cannot be written, or takes more
    /// than one MiB. [`ErrorKind::Unconfirmed`](crate::ErrorKind::Unconfirmed): no answer came, and it may have been made; it can be repeated
    /// without harm, if nobody else changes the same fields. [`ErrorKind::Far`](crate::ErrorKind::Far): it was not made.
    pub async fn send(self) -> Result<Written, Error> {
        let change = self.change?;
        if change.set.is_empty() && change.removed.is_empty() {
            return Ok(Written::Done);
        }
        self.one.write(&change).await
    }
}
