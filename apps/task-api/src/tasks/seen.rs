//! When users were last here, by write-behind.
//!
//! Every request of a user would write to the database for nothing but that it came. So the moment is written to
//! Redis, from where everybody reads it, and workers tell the database soon after: of many moments the newest, and
//! those of several users together. The database never goes back to an earlier one, so what workers say late or
//! twice does no harm; no version is needed for that.
//!
//! A user is noted once a minute by each process. A note runs in a task of its own, and no request waits for it:
//! they are bounded, and end with [`close`](Seen::close) or are lost with the process. Redis away: what is not
//! noted is not noted, and the next request after a minute tries again. A Redis that may throw away what it was
//! given (`maxmemory-policy allkeys-*`) is no place for writes that wait: then nothing is noted at all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use larder::{BoxError, Cache, ErrorKind, Larder, Lifetime, MINUTE, Sink, WriteBehind};
use tokio::sync::Semaphore;

use super::model::{UserId, now};
use super::repository::{Repository, RepositoryError};

/// How often a user is noted by one process.
const NOTED_EVERY: Duration = MINUTE;
/// How many users one process remembers to have noted.
const NOTED_MAX: usize = 10_000;
/// How many notes may be under way.
const NOTES_MAX: u32 = 256;
/// Few: a moment is little, and each part has a worker that looks for it.
const PARTITIONS: u32 = 2;

/// Notes users, and says when they were here. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Seen {
    /// None: Redis is no place for it.
    moments: Option<Cache<UserId, Timestamp>>,
    source: Arc<dyn Repository>,
    noted: Arc<Mutex<Noted>>,
    notes: Arc<Semaphore>,
}

/// What workers tell.
struct Database(Arc<dyn Repository>);

impl Sink<UserId, Timestamp> for Database {
    async fn write(&self, user: &UserId, at: &Timestamp) -> Result<(), BoxError> {
        Ok(self.0.saw(vec![(user.clone(), *at)]).await?)
    }

    /// Nobody forgets a user.
    async fn remove(&self, _: &UserId) -> Result<(), BoxError> {
        Ok(())
    }
}

impl Seen {
    /// Begins to tell the database what was noted.
    ///
    /// # Errors
    /// If the name or a number here cannot be meant.
    pub(super) async fn open(
        larder: &Larder,
        source: Arc<dyn Repository>,
    ) -> Result<Seen, larder::Error> {
        let moments: Cache<UserId, Timestamp> = larder
            .cache("seen")
            .lifetime(Lifetime::fresh_for(MINUTE))
            .write_behind(WriteBehind::partitions(PARTITIONS))
            .shared()?;
        let started = moments.workers(Database(source.clone())).start().await;
        let moments = match started {
            Ok(()) => Some(moments),
            Err(why) if why.kind() == ErrorKind::Config => {
                tracing::warn!(%why, "users are not noted when they are here");
                None
            }
            Err(why) => return Err(why),
        };
        let notes = Arc::new(Semaphore::new(NOTES_MAX as usize));
        Ok(Seen { moments, source, noted: Arc::default(), notes })
    }

    /// The user is here. Returns at once.
    pub(crate) fn note(&self, user: &UserId) {
        let Some(moments) = &self.moments else { return };
        let Ok(permit) = self.notes.clone().try_acquire_owned() else { return };
        let is_due = self.noted.lock().is_ok_and(|mut noted| noted.is_due(user, Instant::now()));
        if !is_due {
            return;
        }
        let (moments, user) = (moments.clone(), user.clone());
        tokio::spawn(async move {
            if let Err(why) = moments.write_behind(&user, now()).await {
                tracing::debug!(%why, "a user is not noted");
            }
            drop(permit);
        });
    }

    /// When the user was last noted; None if never.
    ///
    /// # Errors
    /// When neither Redis nor the database says.
    pub(crate) async fn last(&self, user: &UserId) -> Result<Option<Timestamp>, RepositoryError> {
        let Some(moments) = &self.moments else { return self.source.last_seen(user).await };
        let (source, of) = (self.source.clone(), user.clone());
        let load = move || async move { source.last_seen(&of).await };
        let found = moments.find_or_load(user, load).await.map_err(super::cached::failed)?;
        Ok(found.map(|moment| *moment))
    }

    /// Waits for notes that are under way, for at most `deadline`; more are not taken.
    pub(super) async fn close(&self, deadline: Duration) {
        let _ = tokio::time::timeout(deadline, self.notes.acquire_many(NOTES_MAX)).await;
        self.notes.close();
    }
}

/// Who was noted, and when.
#[derive(Default)]
struct Noted(HashMap<UserId, Instant>);

impl Noted {
    /// Is it time to note the user? Then it is noted from now on.
    fn is_due(&mut self, user: &UserId, now: Instant) -> bool {
        if self.0.get(user).is_some_and(|at| now.duration_since(*at) < NOTED_EVERY) {
            return false;
        }
        if self.0.len() >= NOTED_MAX {
            self.0.retain(|_, at| now.duration_since(*at) < NOTED_EVERY);
        }
        // Too many in one minute: to note some twice is cheaper than to remember all.
        if self.0.len() >= NOTED_MAX {
            self.0.clear();
        }
        self.0.insert(user.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_noted_once_a_minute_and_the_list_is_bounded() {
        let (mut noted, begun) = (Noted::default(), Instant::now());
        let user = |nth: usize| UserId::new(&format!("user {nth}")).unwrap();
        assert!(noted.is_due(&user(0), begun));
        assert!(!noted.is_due(&user(0), begun + NOTED_EVERY - Duration::from_millis(1)));
        assert!(noted.is_due(&user(0), begun + NOTED_EVERY));
        for nth in 0..3 * NOTED_MAX {
            assert!(noted.is_due(&user(nth + 1), begun + NOTED_EVERY));
            assert!(noted.0.len() <= NOTED_MAX);
        }
    }
}
