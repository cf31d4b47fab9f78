//! The structures, opened by the one handle.

use super::Larder;
use crate::far::members::TagMembers;
use crate::key::Tag;
use crate::structures::{
    FeedBuilder, FifoBuilder, Ground, LeaderboardBuilder, Limit, LockBuilder, ObjectBuilder,
    QueueBuilder, RateLimiterBuilder, SetBuilder,
};

impl Larder {
    fn ground(&self) -> Ground {
        self.inner.ground.of(self.inner.clone())
    }

    /// Opens a feed under a name: the newest items of each owner. See [`FeedBuilder`].
    pub fn feed(&self, name: impl Into<String>) -> FeedBuilder {
        FeedBuilder::new(self.ground(), name.into())
    }

    /// Opens a leaderboard under a name: members in the order of their scores. See
    /// [`Leaderboard`](crate::structures::Leaderboard).
    pub fn leaderboard(&self, name: impl Into<String>) -> LeaderboardBuilder {
        LeaderboardBuilder::new(self.ground(), name.into())
    }

    /// Opens objects under a name: a struct for each key, kept field by field. See [`ObjectBuilder`].
    pub fn object(&self, name: impl Into<String>) -> ObjectBuilder {
        ObjectBuilder::new(self.ground(), name.into())
    }

    /// Opens sets under a name: members without order for each key. See [`SetBuilder`].
    pub fn set(&self, name: impl Into<String>) -> SetBuilder {
        SetBuilder::new(self.ground(), name.into())
    }

    /// The entries that carry a tag, of the caches that [write them down](crate::CacheBuilder::member_index).
    ///
    /// For people to look at: one that is listed may have ended by other ways, and one whose note was lost is not
    /// listed.
    pub fn members(&self, tag: impl Into<Tag>) -> TagMembers {
        TagMembers::new(self.inner.ends.members.clone(), tag.into())
    }

    /// Opens a rate limiter under a name: how often somebody may do something, in the whole fleet. What is checked is
    /// under all of the `limits`. See [`RateLimiter`](crate::structures::RateLimiter).
    pub fn rate_limiter(
        &self,
        name: impl Into<String>,
        limits: impl IntoIterator<Item = Limit>,
    ) -> RateLimiterBuilder {
        let limits = limits.into_iter().collect();
        RateLimiterBuilder::new(self.ground(), name.into(), limits)
    }

    /// Begins with the name of a plain list: first in, first out, for other languages to read.
    pub fn fifo(&self, name: &str) -> FifoBuilder {
        FifoBuilder::new(self.ground(), name)
    }

    /// Begins with the name of a lock: one holder at a time in the fleet, with a fence.
    pub fn lock(&self, name: &str) -> LockBuilder {
        LockBuilder::new(self.ground(), name)
    }

    /// Begins with the name of a queue: jobs that are done at least once.
    pub fn queue(&self, name: &str) -> QueueBuilder {
        QueueBuilder::new(self.ground(), name)
    }
}
