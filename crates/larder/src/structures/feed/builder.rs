//! How a feed is opened: the one place where its defaults are written down.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::memory::Items;
use super::{Feed, Inner};
use crate::entry::Codec;
use crate::error::{Error, ErrorKind};
use crate::structures::kept::Kept;
use crate::structures::{Ground, Side, bounds};

/// Settles how a [`Feed`] works. Every default is here.
#[must_use]
pub struct FeedBuilder {
    ground: Ground,
    name: String,
    items_max: usize,
    expire_after: Option<Duration>,
    codec: Codec,
}

impl fmt::Debug for FeedBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FeedBuilder {
    pub(crate) fn new(ground: Ground, name: String) -> FeedBuilder {
        let codec = Codec::default();
        FeedBuilder { ground, name, items_max: 1000, expire_after: None, codec }
    }

    /// How many items each feed keeps; the oldest make room. 1000; from 1 to 100,000.
    pub fn items_max(mut self, items: usize) -> FeedBuilder {
        self.items_max = items;
        self
    }

    /// How long after the last push a feed is forgotten. Never; from a millisecond to ten years. Set it wherever
    /// owners come and go.
    pub fn expire_after(mut self, time: Duration) -> FeedBuilder {
        self.expire_after = Some(time);
        self
    }

    /// How items are written. MessagePack; JSON where others are to read them. Not Postcard: its bytes do not say
    /// of which version they are.
    pub fn codec(mut self, codec: Codec) -> FeedBuilder {
        self.codec = codec;
        self
    }

    /// Opens it. Nothing is asked of Redis.
    ///
    /// Two handles on one name with other settings each follow their own: the shorter of two bounds wins with
    /// its next push.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a setting is out of its bounds, or the name is not 1 to 64 of `A-Z a-z 0-9 _ . -`.
    pub fn open<T>(self) -> Result<Feed<T>, Error> {
        let shape = self.ground.shape("feed", &self.name)?;
        bounds::check(&shape, "items_max", self.items_max, 1..=100_000)?;
        if let Some(time) = self.expire_after {
            bounds::check_time(&shape, "expire_after", time)?;
        }
        if self.codec.needs_schema() {
            let text = format!(
                "{shape}: codec is Postcard, whose bytes do not say of which version they are"
            );
            return Err(Error::new(ErrorKind::Config, text));
        }
        let memory = match self.ground.side() {
            Side::Memory(shelves) => Some(shelves.get::<Kept<Items>>(&shape)?),
            #[cfg(feature = "redis")]
            Side::Redis(_) => None,
        };
        let FeedBuilder { ground, items_max, expire_after, codec, .. } = self;
        let inner = Inner { ground, shape, items_max, expire_after, codec, memory };
        Ok(Feed { inner: Arc::new(inner), item: PhantomData })
    }
}
