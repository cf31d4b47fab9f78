//! Where the truth lives, how it is asked, and how it is told.
//!
//! A [`Loader`] belongs to one call; [`keyed`] is for those who say once how a source is asked and told.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;

use crate::key::Tag;
use crate::policy::Lifetime;

mod behind;
mod keyed;
mod not_written;

pub use behind::{Applied, Fence, Fenced, FencedSink, PendingWrite, Version, VersionedSink};
pub use keyed::{EachOf, Sink, Source};
pub use not_written::NotWritten;

/// What a loader may fail with.
pub type BoxError = Box<dyn StdError + Send + Sync>;
/// A load under way.
pub type Loading<T> = Pin<Box<dyn Future<Output = Result<Loaded<T>, BoxError>> + Send>>;

/// Asks the source of truth for one value. Called at most once.
///
/// Every `FnOnce() -> impl Future<Output = Result<T, E>>` is one, so a closure is what you write;
/// `Box<dyn Loader<T>>` is there for those who keep theirs in a table.
pub trait Loader<T>: Send + 'static {
    /// Begins the load.
    fn load(self: Box<Self>) -> Loading<T>;
}

impl<T, F, Asked, Answer, E> Loader<T> for F
where
    F: FnOnce() -> Asked + Send + 'static,
    Asked: Future<Output = Result<Answer, E>> + Send + 'static,
    Answer: Into<Loaded<T>>,
    E: Into<BoxError>,
{
    fn load(self: Box<Self>) -> Loading<T> {
        Box::pin(async move {
            match self().await {
                Ok(value) => Ok(value.into()),
                Err(cause) => Err(cause.into()),
            }
        })
    }
}

impl<T: 'static> Loader<T> for Box<dyn Loader<T>> {
    fn load(self: Box<Self>) -> Loading<T> {
        (*self).load()
    }
}

/// A value from the source, with what only the load could tell about it.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    pub(crate) value: T,
    pub(crate) tags: Vec<Tag>,
    pub(crate) lifetime: Option<Lifetime>,
}

impl<T> Loaded<T> {
    /// The value, with the cache's own tags and lifetime.
    pub fn new(value: T) -> Loaded<T> {
        Loaded { value, tags: Vec::new(), lifetime: None }
    }

    /// Adds a tag that is known only now.
    ///
    /// # Cost
    /// When this process has never seen the tag before, the value is handed out and **not stored**:
    /// a tag's generation must have been read before the load began, or an invalidation during the
    /// load would be missed. The next load is stored. Where the tag follows from the key, use
    /// `tagged_by`, which costs nothing.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<Tag>) -> Loaded<T> {
        self.tags.push(tag.into());
        self
    }

    /// A lifetime for this value alone. One that cannot be meant (zero, years) is refused: the value
    /// is handed out, and not stored.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Lifetime) -> Loaded<T> {
        self.lifetime = Some(lifetime);
        self
    }

    pub(crate) fn map<U>(self, with: impl FnOnce(T) -> U) -> Loaded<U> {
        Loaded { value: with(self.value), tags: self.tags, lifetime: self.lifetime }
    }
}

impl<T> Loaded<Option<T>> {
    pub(crate) fn transpose(self) -> Option<Loaded<T>> {
        let Loaded { value, tags, lifetime } = self;
        value.map(|value| Loaded { value, tags, lifetime })
    }
}

/// What the source says of a value that it was shown: see `Cache::get_or_refresh`.
#[derive(Clone, Debug)]
pub enum Refreshed<T> {
    /// It is what it was.
    Unchanged,
    /// It is another, or there was none to show.
    New(Loaded<T>),
}

impl<T> From<T> for Refreshed<T> {
    fn from(value: T) -> Refreshed<T> {
        Refreshed::New(Loaded::new(value))
    }
}

impl<T> From<Loaded<T>> for Refreshed<T> {
    fn from(loaded: Loaded<T>) -> Refreshed<T> {
        Refreshed::New(loaded)
    }
}

/// What the source says of one key of many: a value, or why there is none for now. Made of a `T`, a
/// [`Loaded<T>`], or a `Result` of either.
#[derive(Debug)]
pub struct Each<T>(pub(crate) Result<Loaded<T>, BoxError>);

impl<T> From<T> for Each<T> {
    fn from(value: T) -> Each<T> {
        Each(Ok(Loaded::new(value)))
    }
}

impl<T> From<Loaded<T>> for Each<T> {
    fn from(loaded: Loaded<T>) -> Each<T> {
        Each(Ok(loaded))
    }
}

impl<T, E: Into<BoxError>> From<Result<T, E>> for Each<T> {
    fn from(answer: Result<T, E>) -> Each<T> {
        Each(answer.map(Loaded::new).map_err(Into::into))
    }
}

impl<T, E: Into<BoxError>> From<Result<Loaded<T>, E>> for Each<T> {
    fn from(answer: Result<Loaded<T>, E>) -> Each<T> {
        Each(answer.map_err(Into::into))
    }
}

impl<T> From<T> for Loaded<T> {
    fn from(value: T) -> Loaded<T> {
        Loaded::new(value)
    }
}
