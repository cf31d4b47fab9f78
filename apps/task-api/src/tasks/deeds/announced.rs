//! New tasks, announced through a queue to a worker.
//!
//! The write only queues the announcement; a worker of some process of the fleet, perhaps a moment later, does what
//! is to follow: today it tells the feed. An announcement is worked on at least once, and whatever is done for
//! it must bear being done twice: the feed knows a deed by its name.
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
    pub(super) async fn announce(&self, user: &UserId, deed: Deed) -> Result<(), larder::Error> {
        // A task is created once, and so announced once however often this is tried.
        let name = deed.task.to_string();
        self.queue.push_once(&name, &Announcement { user: user.clone(), deed }).await.map(drop)
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
