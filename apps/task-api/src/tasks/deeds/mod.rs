//! What users did to their tasks, and what follows from it once it is committed.
//!
//! Each deed goes into the [feed](Feed) of its user, which lives in Redis alone: it is told for a month, and no
//! database could tell it anew. So what is lost is lost: a deed that Redis does not take is logged, and the
//! write that it followed holds all the same. A deed that is told twice stands in the feed once. What is closed
//! counts in the [standings] of the week. That a task was created is [announced] as well, for a worker to make sure of.
//!
//! What follows a write runs in the write's own task, beside its invalidation, and before its answer: so a user's
//! deeds stand in the order of his answers. If the process dies between commit and deed, the deed is not told. Only
//! announcements have a worker, which [`close`](Deeds::close) stops.

use std::time::Duration;

use jiff::Timestamp;
use larder::structures::{Feed, FeedPage, ItemId};
use larder::{DAY, ErrorKind, Larder};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{Changed, Task, TaskId, UserId};
use crate::problem::Problem;

mod announced;
pub(super) mod routes;
mod standings;

use announced::Announcements;
use standings::{Standings, Week};

/// How many deeds of each user are told, and for how long after the last.
const DEEDS_MAX: usize = 200;
const TOLD_FOR_DAYS: u32 = 30;

/// What a user did to one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Deed {
    pub(crate) what: What,
    pub(crate) task: TaskId,
    /// What the task was called then.
    #[schema(example = "buy milk")]
    pub(crate) title: String,
    #[schema(value_type = String, format = DateTime, example = "2026-11-26T08:00:00Z")]
    pub(crate) at: Timestamp,
}

/// Kinds of deeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    Created,
    Changed,
    /// It is done now, and was not.
    Closed,
    /// It was done, and is not any more.
    Reopened,
    Deleted,
}

impl What {
    fn as_str(self) -> &'static str {
        match self {
            What::Created => "created",
            What::Changed => "changed",
            What::Closed => "closed",
            What::Reopened => "reopened",
            What::Deleted => "deleted",
        }
    }
}

impl Deed {
    pub(super) fn created(task: &Task) -> Deed {
        Deed::of(What::Created, task, task.created)
    }

    pub(super) fn changed(changed: &Changed) -> Deed {
        let what = match changed.closes() {
            1 => What::Closed,
            -1 => What::Reopened,
            _ => What::Changed,
        };
        Deed::of(what, &changed.task, changed.task.updated)
    }

    pub(super) fn deleted(task: &Task) -> Deed {
        Deed::of(What::Deleted, task, super::model::now())
    }

    fn of(what: What, task: &Task, at: Timestamp) -> Deed {
        Deed { what, task: task.id, title: task.title.clone(), at }
    }

    /// How many more tasks are closed by it. One that is created done was nobody's work here.
    fn closes(&self) -> i64 {
        match self.what {
            What::Closed => 1,
            What::Reopened => -1,
            What::Created | What::Changed | What::Deleted => 0,
        }
    }

    /// The same however often it is told. A task is created and deleted once; of two changes in one
    /// millisecond the feed tells the first.
    fn name(&self) -> (TaskId, &'static str, i64) {
        (self.task, self.what.as_str(), self.at.as_millisecond())
    }
}

/// What is told of each user. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Deeds {
    feed: Feed<Deed>,
    standings: Standings,
    announcements: Announcements,
}

impl Deeds {
    /// To be called in a runtime: it begins to work on what was announced.
    ///
    /// # Errors
    /// If names or bounds cannot be meant.
    pub(super) fn open(larder: &Larder) -> Result<Deeds, larder::Error> {
        let feed = larder.feed("activity").items_max(DEEDS_MAX).expire_after(TOLD_FOR_DAYS * DAY);
        let feed = feed.open()?;
        Ok(Deeds {
            announcements: Announcements::open(larder, feed.clone())?,
            standings: Standings::open(larder)?,
            feed,
        })
    }

    /// Does what is to follow a commit. Never fails: the commit holds, whatever becomes of this.
    pub(super) async fn follow(&self, user: &UserId, deed: Deed) {
        let (what, closes) = (deed.what, deed.closes());
        let feed = self.feed.of(user);
        let tell = async { feed.push_once(&deed.name(), &deed).await };
        // At the same time: if the push is lost, or this process is, the worker pushes it; if not, the worker finds it
        // there. The push does not wait for the worker, or a change could be told before the creation.
        let announce = async {
            match what {
                What::Created => self.announcements.announce(user, &deed).await,
                _ => Ok(()),
            }
        };
        let count =
            async { if closes == 0 { Ok(()) } else { self.standings.count(user, closes).await } };
        let (told, announced, counted) = tokio::join!(tell, announce, count);
        let is_announced = what == What::Created && announced.is_ok();
        if let Err(why) = told {
            tracing::warn!(%why, what = what.as_str(), is_announced, "a deed is not told now");
        }
        if let Err(why) = announced {
            tracing::warn!(%why, "nobody makes sure that a new task is told");
        }
        if let Err(why) = counted {
            tracing::warn!(%why, closes, "what was closed is not counted");
        }
    }

    /// Waits for what was announced and is worked on, for at most `deadline`.
    pub(super) async fn close(&self, deadline: Duration) {
        self.announcements.stop(deadline).await;
    }

    /// The best of this week, and where the user stands.
    async fn week(&self, user: &UserId, best: usize) -> Result<Week, larder::Error> {
        self.standings.week(user, best).await
    }

    /// A page of what a user did, newest first: of all, or of what came before one of them.
    async fn page(
        &self,
        user: &UserId,
        before: Option<ItemId>,
        count: usize,
    ) -> Result<FeedPage<Deed>, larder::Error> {
        let feed = self.feed.of(user);
        match before {
            None => feed.newest(count).await,
            Some(before) => feed.before(before, count).await,
        }
    }
}

/// What lives in Redis alone cannot be told without it.
fn not_told(why: &larder::Error) -> Problem {
    match why.kind() {
        ErrorKind::Far | ErrorKind::Unconfirmed | ErrorKind::Deadline | ErrorKind::Overloaded => {
            tracing::warn!(%why, "not told");
            Problem::busy(
                "what tells of this does not answer just now; tasks are not affected: try again",
            )
        }
        ErrorKind::Closed => Problem::busy("the service is stopping: try again"),
        _ => Problem::internal(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::model::{NewTask, Status};

    /// It once was the worker alone that told creations: a change was told before the creation it followed.
    #[tokio::test]
    async fn a_creation_is_told_before_what_follows_it_and_waits_for_no_worker() {
        let larder = Larder::builder("test").open().await.unwrap();
        let deeds = Deeds::open(&larder).unwrap();
        deeds.close(Duration::from_secs(20)).await;
        let ada = UserId::new("ada").unwrap();
        let new =
            NewTask { title: "milk".into(), description: None, status: Status::Todo, due: None };
        let task = new.of(ada.clone());
        let in_order = [Deed::created(&task), Deed::deleted(&task)];
        for deed in &in_order {
            deeds.follow(&ada, deed.clone()).await;
        }
        let told = deeds.page(&ada, None, 10).await.unwrap().items.into_iter().rev();
        assert_eq!(told.map(|item| item.value).collect::<Vec<_>>(), in_order);
    }

    #[test]
    fn a_change_is_told_by_what_became_of_the_task() {
        let user = UserId::new("ada").unwrap();
        let new =
            NewTask { title: "milk".into(), description: None, status: Status::Done, due: None };
        let done = new.of(user);
        let todo = Task { status: Status::Todo, ..done.clone() };
        for (task, was, what) in [
            (&done, Status::Doing, What::Closed),
            (&done, Status::Done, What::Changed),
            (&todo, Status::Done, What::Reopened),
            (&todo, Status::Doing, What::Changed),
        ] {
            assert_eq!(Deed::changed(&Changed { task: task.clone(), was }).what, what);
        }
        assert_ne!(Deed::created(&done).name(), Deed::deleted(&done).name());
    }
}
