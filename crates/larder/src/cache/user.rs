//! Caches that belong to users.

use std::fmt;
use std::ops::Deref;

use super::Cache;
use crate::entry::Ended;
use crate::error::{Error, ErrorKind};
use crate::invalidation::Target;
use crate::key::{Tag, ToKey};
use crate::observe::Stats;

/// A cache in which every entry belongs to a user. Cheap to clone.
///
/// [`of`](Self::of) is the only way to an entry, so a key without a user cannot be written:
///
/// ```compile_fail
/// # async fn scene(tasks: larder::UserCache<u64, String>) {
/// tasks.get(&17).await; // whose?
/// # }
/// ```
pub struct UserCache<K: ?Sized, V>(Cache<K, V>);

impl<K: ?Sized, V> Clone for UserCache<K, V> {
    fn clone(&self) -> UserCache<K, V> {
        UserCache(self.0.clone())
    }
}

impl<K: ?Sized, V> fmt::Debug for UserCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserCache({:?})", self.0)
    }
}

/// One user's part of a [`UserCache`].
pub struct Scoped<K: ?Sized, V>(Cache<K, V>);

impl<K: ?Sized, V> UserCache<K, V> {
    pub(super) fn new(cache: Cache<K, V>) -> UserCache<K, V> {
        UserCache(cache)
    }

    /// The part of `user`: their id, never a name that may be given to another.
    pub fn of<U: ToKey + ?Sized>(&self, user: &U) -> Scoped<K, V> {
        let shared = &self.0.shared;
        let user = shared.namespace.user_prefix(user, shared.policy.key_bytes_max);
        Scoped(Cache { user: Some(user), ..self.0.clone() })
    }

    /// Counted for this name, over all users.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }
}

impl<K: ?Sized, V> Scoped<K, V> {
    /// All of this user's entries in this cache, as something to end.
    pub fn all(&self) -> Target {
        match &self.0.user {
            Some(Ok(user)) => Target(Ok(Ended::Tag(Tag::of_user(&self.0.shared.name, user)))),
            Some(Err(why)) => Target(Err(why.clone())),
            // Not made: `of` gives every one of these a user.
            None => Target(Err(Error::new(ErrorKind::Key, "no user"))),
        }
    }
}

impl<K: ?Sized, V> Clone for Scoped<K, V> {
    fn clone(&self) -> Scoped<K, V> {
        Scoped(self.0.clone())
    }
}

impl<K: ?Sized, V> fmt::Debug for Scoped<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scoped({:?})", self.0)
    }
}

impl<K: ?Sized, V> Deref for Scoped<K, V> {
    type Target = Cache<K, V>;

    fn deref(&self) -> &Cache<K, V> {
        &self.0
    }
}
