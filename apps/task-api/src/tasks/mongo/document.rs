//! A task as MongoDB keeps it.
//!
//! The id is `_id`, a UUID of 16 bytes, so it is unique for all users, and greater for later tasks.
//! Times are MongoDB's own, in milliseconds; a day is the text `2026-11-03`.

use jiff::Timestamp;
use mongodb::bson::{DateTime, Uuid};
use serde::{Deserialize, Serialize};

use crate::tasks::model::{Status, Task, TaskId, UserId};

#[derive(Serialize, Deserialize)]
pub(super) struct TaskDocument {
    #[serde(rename = "_id")]
    id: Uuid,
    user: String,
    title: String,
    description: Option<String>,
    status: String,
    due: Option<String>,
    created: DateTime,
    updated: DateTime,
}

pub(super) fn id_of(id: TaskId) -> Uuid {
    Uuid::from_bytes(id.0.into_bytes())
}

pub(super) fn moment(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.as_millisecond())
}

impl From<Task> for TaskDocument {
    fn from(task: Task) -> TaskDocument {
        TaskDocument {
            id: id_of(task.id),
            user: task.user.as_str().to_owned(),
            title: task.title,
            description: task.description,
            status: task.status.as_str().to_owned(),
            due: task.due.map(|day| day.to_string()),
            created: moment(task.created),
            updated: moment(task.updated),
        }
    }
}

/// What another program wrote there is an error that names the task and the field.
impl TryFrom<TaskDocument> for Task {
    type Error = String;

    fn try_from(found: TaskDocument) -> Result<Task, String> {
        let id = TaskId(uuid::Uuid::from_bytes(found.id.bytes()));
        let unread = |name: &str| {
            format!("task {id}: {name} holds something that this program did not write")
        };
        let timestamp = |name: &str, at: DateTime| {
            Timestamp::from_millisecond(at.timestamp_millis()).map_err(|_| unread(name))
        };
        let due = found.due.map(|day| day.parse().map_err(|_| unread("due"))).transpose()?;
        Ok(Task {
            id,
            user: UserId::new(&found.user).ok_or_else(|| unread("user"))?,
            title: found.title,
            description: found.description,
            status: Status::parse(&found.status).ok_or_else(|| unread("status"))?,
            due,
            created: timestamp("created", found.created)?,
            updated: timestamp("updated", found.updated)?,
        })
    }
}

/// What is known of a user, under the user's name.
#[derive(Serialize, Deserialize)]
pub(super) struct UserDocument {
    #[serde(rename = "_id")]
    user: String,
    last_seen: DateTime,
}

impl UserDocument {
    /// # Errors
    /// When another program wrote there.
    pub(super) fn last_seen(&self) -> Result<Timestamp, String> {
        Timestamp::from_millisecond(self.last_seen.timestamp_millis())
            .map_err(|_| "a user's last_seen is out of all time".to_owned())
    }
}
