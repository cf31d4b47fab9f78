//! A database that is further away than it is: for trying out what a cache is worth.
//!
//! Each query waits before it is asked, on the async runtime and not in the database's queue: ten
//! queries at once wait ten times at once, as they would on a slow network. Whether the database lives,
//! and its end, are not delayed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::model::{Changed, Page, PageKey, Task, TaskChange, TaskId, UserId};
use super::repository::{Asked, Repository};

/// Adds a delay to every query of another repository.
pub(crate) struct Delayed {
    inner: Arc<dyn Repository>,
    by: Duration,
}

impl Delayed {
    /// As `inner`, later. Without a delay it is `inner` itself.
    pub(crate) fn wrap(inner: Arc<dyn Repository>, by: Duration) -> Arc<dyn Repository> {
        if by.is_zero() { inner } else { Arc::new(Delayed { inner, by }) }
    }

    fn after<'a, T: 'a>(&self, asked: Asked<'a, T>) -> Asked<'a, T> {
        let waited = tokio::time::sleep(self.by);
        Box::pin(async move {
            waited.await;
            asked.await
        })
    }
}

impl Repository for Delayed {
    fn create(&self, task: Task) -> Asked<'_, ()> {
        self.after(self.inner.create(task))
    }

    fn find(&self, user: &UserId, id: TaskId) -> Asked<'_, Option<Task>> {
        self.after(self.inner.find(user, id))
    }

    fn page(&self, user: &UserId, key: PageKey) -> Asked<'_, Page> {
        self.after(self.inner.page(user, key))
    }

    fn update(&self, user: &UserId, id: TaskId, change: TaskChange) -> Asked<'_, Option<Changed>> {
        self.after(self.inner.update(user, id, change))
    }

    fn delete(&self, user: &UserId, id: TaskId) -> Asked<'_, Option<Task>> {
        self.after(self.inner.delete(user, id))
    }

    fn saw(&self, users: Vec<(UserId, Timestamp)>) -> Asked<'_, ()> {
        self.after(self.inner.saw(users))
    }

    fn last_seen(&self, user: &UserId) -> Asked<'_, Option<Timestamp>> {
        self.after(self.inner.last_seen(user))
    }

    fn seed(&self, tasks: Vec<Task>) -> Asked<'_, bool> {
        self.inner.seed(tasks)
    }

    fn ping(&self) -> Asked<'_, ()> {
        self.inner.ping()
    }

    fn close(&self) -> Asked<'_, ()> {
        self.inner.close()
    }
}
