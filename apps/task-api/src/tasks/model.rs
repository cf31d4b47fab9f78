//! What a task is. Plain values: no I/O, no HTTP, no cache.
//!
//! The same shape goes to clients as JSON and into the cache as MessagePack. Add a field with
//! `#[serde(default)]` and old cache entries still read; change one, and the cache needs a new schema
//! number (`tasks/cached.rs`).

use std::fmt;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Whose a task is: the `sub` of a verified token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, example = "ada")]
pub(crate) struct UserId(String);

/// The longest user id, in bytes. It is part of every cache key.
const USER_BYTES_MAX: usize = 128;

impl UserId {
    /// None unless `text` is 1 to 128 bytes without control characters.
    pub(crate) fn new(text: &str) -> Option<UserId> {
        let fits =
            (1..=USER_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        fits.then(|| UserId(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names one task. A UUID v7, so that later tasks have greater ids.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = Uuid, example = "0198f1f0-9d2c-7cc0-8000-000000000000")]
pub(crate) struct TaskId(pub(crate) Uuid);

impl TaskId {
    /// A new one, greater than all that this process drew before.
    pub(crate) fn now() -> TaskId {
        TaskId(Uuid::now_v7())
    }

    /// None unless `text` is a UUID as it is usually written, with its hyphens.
    pub(crate) fn parse(text: &str) -> Option<TaskId> {
        let id = Uuid::try_parse(text).ok()?;
        (text.len() == uuid::fmt::Hyphenated::LENGTH).then_some(TaskId(id))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Todo,
    Doing,
    Done,
}

impl Status {
    pub(crate) const ALL: [Status; 3] = [Status::Todo, Status::Doing, Status::Done];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::Todo => "todo",
            Status::Doing => "doing",
            Status::Done => "done",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// One task, as it is kept and as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) user: UserId,
    #[schema(example = "buy milk")]
    pub(crate) title: String,
    #[schema(required)]
    pub(crate) description: Option<String>,
    pub(crate) status: Status,
    /// The day by which it should be done.
    #[schema(required, value_type = Option<String>, format = Date, example = "2026-11-30")]
    pub(crate) due: Option<Date>,
    #[schema(value_type = String, format = DateTime, example = "2026-11-26T08:00:00Z")]
    pub(crate) created: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime, example = "2026-11-26T08:00:00Z")]
    pub(crate) updated: Timestamp,
}

/// What a client says of a task that is to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NewTask {
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    pub(crate) status: Status,
    pub(crate) due: Option<Date>,
}

impl NewTask {
    /// The task it becomes, now.
    pub(crate) fn of(self, user: UserId) -> Task {
        let now = now();
        let NewTask { title, description, status, due } = self;
        Task {
            id: TaskId::now(),
            user,
            title,
            description,
            status,
            due,
            created: now,
            updated: now,
        }
    }
}

/// What a client wants changed. None leaves a field as it is; `Some(None)` empties it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TaskChange {
    pub(crate) title: Option<String>,
    pub(crate) description: Option<Option<String>>,
    pub(crate) status: Option<Status>,
    pub(crate) due: Option<Option<Date>>,
}

impl TaskChange {
    /// Applies the change; `updated` never goes back, whatever the clock does.
    pub(crate) fn apply(self, task: &mut Task, now: Timestamp) {
        let TaskChange { title, description, status, due } = self;
        task.title = title.unwrap_or_else(|| std::mem::take(&mut task.title));
        task.description = description.unwrap_or_else(|| task.description.take());
        task.status = status.unwrap_or(task.status);
        task.due = due.unwrap_or(task.due);
        task.updated = task.updated.max(now);
    }
}

/// A task that was changed, and how far it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) task: Task,
    pub(crate) was: Status,
}

impl Changed {
    /// How many more tasks are done by it: one, none, or one less.
    pub(crate) fn closes(&self) -> i64 {
        i64::from(self.task.status == Status::Done) - i64::from(self.was == Status::Done)
    }
}

/// The clock, in whole milliseconds: what the database keeps.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// Which page of a user's tasks, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageKey {
    /// From 1.
    pub(crate) number: u32,
    pub(crate) per_page: u32,
    /// Only tasks of this status.
    pub(crate) status: Option<Status>,
}

/// One page of a user's tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Page {
    /// Newest first. Behind the last page there are none.
    pub(crate) tasks: Vec<Task>,
    /// Which page it is, from 1.
    #[schema(example = 1)]
    pub(crate) page: u32,
    #[schema(example = 10)]
    pub(crate) per_page: u32,
    /// How many tasks there are on all pages.
    pub(crate) total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let new = NewTask {
            title: "buy milk".into(),
            description: Some("two".into()),
            status: Status::Todo,
            due: None,
        };
        let before = new.of(UserId::new("ada").unwrap());
        let mut after = before.clone();
        let change = TaskChange { description: Some(None), ..TaskChange::default() };
        change.apply(&mut after, Timestamp::UNIX_EPOCH);
        assert_eq!(after, Task { description: None, ..before });
    }

    #[test]
    fn an_id_is_written_in_one_way() {
        let id = TaskId::now();
        assert_eq!(TaskId::parse(&id.to_string()), Some(id));
        for text in ["", "17", &id.0.simple().to_string(), &id.0.urn().to_string()] {
            assert_eq!(TaskId::parse(text), None);
        }
    }

    #[test]
    fn later_ids_are_greater() {
        let ids: Vec<_> = (0..1000).map(|_| TaskId::now()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_user_is_named_by_something() {
        let long = "x".repeat(USER_BYTES_MAX + 1);
        assert!(UserId::new("").is_none() && UserId::new(&long).is_none());
        assert!(UserId::new("a\0b").is_none());
        assert!(UserId::new("auth0|ada:{1}").is_some());
    }
}
