//! How a set is opened: the one place where its defaults are written down.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::{Inner, Set, memory};
use crate::error::Error;
use crate::structures::kept::Kept;
use crate::structures::{Ground, Side, bounds};

/// Settles how a [`Set`] works. Every default is here.
#[must_use]
pub struct SetBuilder {
    ground: Ground,
    name: String,
    members_max: usize,
    expire_after: Option<Duration>,
}

impl fmt::Debug for SetBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SetBuilder {
    pub(crate) fn new(ground: Ground, name: String) -> SetBuilder {
        SetBuilder { ground, name, members_max: 100_000, expire_after: None }
    }

    /// How many members each set may have; what comes then is [refused](super::Added::NoRoom). 100,000; from 1 to
    /// 10,000,000.
    pub fn members_max(mut self, members: usize) -> SetBuilder {
        self.members_max = members;
        self
    }

    /// How long after the last member came, or came again, a set is forgotten, whole. Never; from a millisecond to
    /// ten years.
    pub fn expire_after(mut self, time: Duration) -> SetBuilder {
        self.expire_after = Some(time);
        self
    }

    /// Opens it. Nothing is asked of Redis.
    ///
    /// A member is text if it is a number, a string, a bool or an enum without fields, and MessagePack otherwise.
    /// Two handles on one name with other settings each follow their own.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when a setting is out of its bounds, or the name is not 1 to 64 of `A-Z a-z 0-9 _ . -`.
    pub fn open<M>(self) -> Result<Set<M>, Error> {
        let shape = self.ground.shape("set", &self.name)?;
        bounds::check(&shape, "members_max", self.members_max, 1..=10_000_000)?;
        if let Some(time) = self.expire_after {
            bounds::check_time(&shape, "expire_after", time)?;
        }
        let memory = match self.ground.side() {
            Side::Memory(shelves) => Some(shelves.get::<Kept<memory::Members>>(&shape)?),
            #[cfg(feature = "redis")]
            Side::Redis(_) => None,
        };
        let SetBuilder { ground, members_max, expire_after, .. } = self;
        let inner = Inner { ground, shape, members_max, expire_after, memory };
        Ok(Set { inner: Arc::new(inner), member: PhantomData })
    }
}
