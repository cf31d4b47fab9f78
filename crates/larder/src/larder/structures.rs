//! The structures, opened by the one handle.

use super::Larder;
use crate::structures::{FeedBuilder, Ground, ObjectBuilder, SetBuilder};

impl Larder {
    fn ground(&self) -> Ground {
        self.inner.ground.of(self.inner.clone())
    }

    /// Opens a feed under a name: the newest items of each owner. See [`FeedBuilder`].
    pub fn feed(&self, name: impl Into<String>) -> FeedBuilder {
        FeedBuilder::new(self.ground(), name.into())
    }

    /// Opens objects under a name: a struct for each key, kept field by field. See [`ObjectBuilder`].
    pub fn object(&self, name: impl Into<String>) -> ObjectBuilder {
        ObjectBuilder::new(self.ground(), name.into())
    }

    /// Opens sets under a name: members without order for each key. See [`SetBuilder`].
    pub fn set(&self, name: impl Into<String>) -> SetBuilder {
        SetBuilder::new(self.ground(), name.into())
    }
}
