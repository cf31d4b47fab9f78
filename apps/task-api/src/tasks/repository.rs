//! The source of truth, as a trait: what may be asked of a database.
//!
//! Each call is one step: it holds as a whole or not at all, and calls of several processes on one
//! database come one after the other. A call that has answered holds. A task is only ever found
//! through its user, so a caller cannot reach another's by guessing its id. What every
//! implementation promises is the suite in `contract.rs`, which each of them runs.

use std::future::Future;
use std::pin::Pin;

use jiff::Timestamp;

use super::model::{Changed, Page, PageKey, Task, TaskChange, TaskId, UserId};

/// A question under way. Boxed, so that `main` can choose the database when the process starts.
pub(crate) type Asked<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, RepositoryError>> + Send + 'a>>;

/// A database of tasks.
pub(crate) trait Repository: Send + Sync + 'static {
    /// Keeps a task under its own id, which must be new.
    fn create(&self, task: Task) -> Asked<'_, ()>;

    /// A user's task. Another user's is not found.
    fn find(&self, user: &UserId, id: TaskId) -> Asked<'_, Option<Task>>;

    /// One page of a user's tasks, newest first. Behind the last page there are none.
    fn page(&self, user: &UserId, key: PageKey) -> Asked<'_, Page>;

    /// Changes a user's task and gives it as it then is, with what it was; None if there is no such task.
    fn update(&self, user: &UserId, id: TaskId, change: TaskChange) -> Asked<'_, Option<Changed>>;

    /// The task that there was, if there was one; now there is none.
    fn delete(&self, user: &UserId, id: TaskId) -> Asked<'_, Option<Task>>;

    /// Notes when users were here. What is noted never goes back: it may be said again, late, and in any order.
    fn saw(&self, users: Vec<(UserId, Timestamp)>) -> Asked<'_, ()>;

    /// When a user was last noted to be here.
    fn last_seen(&self, user: &UserId) -> Asked<'_, Option<Timestamp>>;

    /// Keeps these tasks if there are none at all, of any user. Says whether it did; of several
    /// processes that try at once, one does.
    fn seed(&self, tasks: Vec<Task>) -> Asked<'_, bool>;

    /// Answers when the database does.
    fn ping(&self) -> Asked<'_, ()>;

    /// Ends what was begun, then closes the database. Calls made later fail.
    fn close(&self) -> Asked<'_, ()>;
}

/// Why a database did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RepositoryError {
    /// Too much is asked of it just now. Nothing was done: try again.
    #[error("the database has too much to do")]
    Busy,
    /// It was closed. What was under way may have been done.
    #[error("the database is closed")]
    Closed,
    /// It cannot be reached, or does not answer. What was under way may have been done.
    #[error("the database is away: {0}")]
    #[cfg_attr(not(feature = "mongodb"), allow(dead_code, reason = "SQLite is in this process"))]
    Away(String),
    /// It failed, and said why. What was under way may have been done.
    #[error("the database failed: {0}")]
    Failed(String),
}
