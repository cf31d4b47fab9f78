//! New tasks, announced through a queue to a worker.
//!
//! The write tells the feed itself, and queues the announcement at the same time; a worker of some process of the
//! fleet makes sure that the feed has it. So a creation that the feed did not take, or whose process died on its way
//! there, is told all the same, only later. An announcement is worked on at least once, and whatever is done for it
//! must bear being done twice: the feed knows a deed by its name.
//!
//! What is lost: an announcement that the queue did not take, because its process died between commit and push, or
//! Redis was away. One that was taken is not lost with the process that worked on it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::Larder;
use larder::structures::{Feed, Queue, Worker};
use serde::{Deserialize, Serialize};

use super::super::model::UserId;
use super::Deed;

/// How many announcements one process works on at once.
const AT_ONCE: usize = 8;
/// How many may wait in the fleet; more are not announced.
const WAITING_MAX: u64 = 10_000;

#[derive(Serialize, Deserialize)]
struct Announcement {
    user: UserId,
    deed: Deed,
}

/// What announces, and works on what was announced. Cheap to clone.
#[derive(Clone)]
pub(super) struct Announcements {
    queue: Queue<Announcement>,
    /// Taken out by who stops it.
    worker: Arc<Mutex<Option<Worker>>>,
}

impl Announcements {
    /// Begins to work on what was announced; to be called in a runtime.
    ///
    /// # Errors
    /// If the name or the bounds cannot be meant.
    pub(super) fn open(larder: &Larder, feed: Feed<Deed>) -> Result<Announcements, larder::Error> {
        let queue = larder.queue("created").jobs_max(WAITING_MAX).open::<Announcement>()?;
        let worker = queue.run(AT_ONCE, move |Announcement { user, deed }, _| {
            let feed = feed.of(&user);
            async move { feed.push_once(&deed.name(), &deed).await.map(drop) }
        })?;
        Ok(Announcements { queue, worker: Arc::new(Mutex::new(Some(worker))) })
    }

    /// # Errors
    /// When the queue does not take it, or does not say so.
    pub(super) async fn announce(&self, user: &UserId, deed: &Deed) -> Result<(), larder::Error> {
        // A task is created once, and so announced once however often this is tried.
        let name = deed.task.to_string();
        let announcement = Announcement { user: user.clone(), deed: deed.clone() };
        self.queue.push_once(&name, &announcement).await.map(drop)
    }

    /// Waits for what is worked on, for at most `deadline`. What is not ended then is another's in half a minute.
    pub(super) async fn stop(&self, deadline: Duration) {
        let worker = self.worker.lock().ok().and_then(|mut worker| worker.take());
        let Some(worker) = worker else { return };
        let left = worker.stop(deadline).await;
        if left > 0 {
            tracing::warn!(left, "closing while announcements are worked on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::model::{NewTask, Status};

    /// Nobody else tells it, as when its process died; and a worker died after its work and before it said so.
    #[tokio::test]
    async fn what_was_announced_is_told_and_told_once_however_often_it_is_worked_on() {
        let larder = Larder::builder("test").open().await.unwrap();
        let feed: Feed<Deed> = larder.feed("activity").open().unwrap();
        let announcements = Announcements::open(&larder, feed.clone()).unwrap();
        let ada = UserId::new("ada").unwrap();
        let new =
            NewTask { title: "milk".into(), description: None, status: Status::Todo, due: None };
        let deed = Deed::created(&new.of(ada.clone()));
        for _ in 0..2 {
            announcements.announce(&ada, &deed).await.unwrap();
        }
        for _ in 0..3 {
            let again = Announcement { user: ada.clone(), deed: deed.clone() };
            announcements.queue.push(&again).await.unwrap();
        }
        let all_done = async {
            loop {
                let stats = announcements.queue.stats().await.unwrap();
                assert_eq!(stats.dead + stats.later, 0, "none failed");
                if stats.waiting + stats.claimed == 0 {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all_done).await.unwrap();
        let told = feed.of(&ada).newest(10).await.unwrap().items;
        assert_eq!(told.into_iter().map(|item| item.value).collect::<Vec<_>>(), [deed]);
        announcements.stop(Duration::from_secs(20)).await;
    }
}
