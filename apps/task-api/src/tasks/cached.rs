//! Tasks through the cache. Beside `responses.rs` the only file that knows there is one.
//!
//! **Reads** go through larder. A task is kept for a minute, a page of a user's tasks for half of one,
//! both in the user's own part of the cache. When Redis is away the database is asked, and nobody
//! notices but the database.
//!
//! **Writes** commit first and invalidate then, in one trip: the task, and all pages of its user, each by a tag
//! that the [responses](super::responses) made of it carry as well. A load that began before the commit may still bring the old value; the invalidation ends it, and what
//! that load would store later is refused. Were it the other way round, a load between the two
//! would bring the old value back, and nothing would end it for a minute. Both run in a task of
//! their own, so a client that hangs up cannot come between them. If the process dies between them
//! the invalidation is lost, and the old copies live to their end: a minute at most.
//!
//! Who may do what is not cached. A task is only ever looked for in the part of the user that asks.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use larder::{Entry, ErrorKind, KeyWriter, Larder, Lifetime, MINUTE, Origin, SECOND};
use larder::{Target, ToKey, UserCache};
use tokio::sync::Semaphore;

use super::deeds::{Deed, Deeds};
use super::model::{NewTask, Page, PageKey, Status, Task, TaskChange, TaskId, UserId};
use super::repository::{Repository, RepositoryError};
use super::responses::{Responses, pages_tag, task_tag};
use super::seen::Seen;

#[cfg(test)]
mod tests;

/// How many writes may be under way. More are turned away, so that no crowd of hung-up clients leaves
/// an endless crowd of tasks behind.
const WRITES_MAX: u32 = 1024;

impl ToKey for UserId {
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        self.as_str().to_key(out);
    }
}

impl ToKey for TaskId {
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        self.0.to_key(out);
    }
}

impl ToKey for PageKey {
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        (self.number, self.per_page, self.status.map(Status::as_str)).to_key(out);
    }
}

/// The tasks of all users, read through the cache. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CachedTasks {
    source: Arc<dyn Repository>,
    larder: Larder,
    tasks: UserCache<TaskId, Task>,
    pages: UserCache<PageKey, Page>,
    responses: Responses,
    deeds: Deeds,
    seen: Seen,
    /// One permit for each write under way.
    writes: Arc<Semaphore>,
}

impl CachedTasks {
    /// # Errors
    /// If the names or lifetimes below cannot be meant.
    pub(crate) async fn open(
        source: Arc<dyn Repository>,
        larder: Larder,
    ) -> Result<Self, larder_http::Error> {
        let seen = Seen::open(&larder, source.clone()).await?;
        Ok(CachedTasks {
            source,
            tasks: larder.cache("tasks").lifetime(Lifetime::fresh_for(MINUTE)).per_user()?,
            pages: larder.cache("pages").lifetime(Lifetime::fresh_for(30 * SECOND)).per_user()?,
            responses: Responses::open(&larder)?,
            deeds: Deeds::open(&larder)?,
            seen,
            larder,
            writes: Arc::new(Semaphore::new(WRITES_MAX as usize)),
        })
    }

    /// What keeps the responses that are made of what is read here.
    pub(super) fn responses(&self) -> &Responses {
        &self.responses
    }

    /// When users were here.
    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// What users did.
    pub(super) fn deeds(&self) -> &Deeds {
        &self.deeds
    }

    /// A user's task, or the knowledge that there is none: both are cached.
    pub(crate) async fn find(
        &self,
        user: &UserId,
        id: TaskId,
    ) -> Result<Answer<Option<Arc<Task>>>, RepositoryError> {
        let began = Instant::now();
        let database = Timed::default();
        let load = {
            let (source, user, database) = (self.source.clone(), user.clone(), database.clone());
            move || async move { database.time(source.find(&user, id)).await }
        };
        let tasks = self.tasks.of(user).tagged([task_tag(user, id)]);
        let found = tasks.look_up(&id, load).await.map_err(failed)?;
        let way = Way { origin: found.origin, took: began.elapsed(), database: database.took() };
        Ok(Answer { value: found.entry.map(Entry::into_inner), way })
    }

    /// A page of a user's tasks.
    pub(crate) async fn page(
        &self,
        user: &UserId,
        key: PageKey,
    ) -> Result<Answer<Arc<Page>>, RepositoryError> {
        let began = Instant::now();
        let database = Timed::default();
        let load = {
            let (source, user, database) = (self.source.clone(), user.clone(), database.clone());
            move || async move { database.time(source.page(&user, key)).await }
        };
        let pages = self.pages.of(user).tagged([pages_tag(user)]);
        let entry = pages.get_or_load(&key, load).await.map_err(failed)?;
        let way = Way { origin: entry.origin(), took: began.elapsed(), database: database.took() };
        Ok(Answer { value: entry.into_inner(), way })
    }

    pub(crate) async fn create(
        &self,
        user: &UserId,
        new: NewTask,
    ) -> Result<Task, RepositoryError> {
        let task = new.of(user.clone());
        let source = self.source.clone();
        let id = task.id;
        let commit = async move {
            source.create(task.clone()).await?;
            Ok(task)
        };
        self.write(user, id, commit, |task| Some(Deed::created(task))).await
    }

    /// The task as it then is; None if the user has no such task.
    pub(crate) async fn update(
        &self,
        user: &UserId,
        id: TaskId,
        change: TaskChange,
    ) -> Result<Option<Task>, RepositoryError> {
        let (source, owner) = (self.source.clone(), user.clone());
        let commit = async move { source.update(&owner, id, change).await };
        let changed = self.write(user, id, commit, |changed| changed.as_ref().map(Deed::changed));
        Ok(changed.await?.map(|changed| changed.task))
    }

    /// Whether there was such a task.
    pub(crate) async fn delete(&self, user: &UserId, id: TaskId) -> Result<bool, RepositoryError> {
        let (source, owner) = (self.source.clone(), user.clone());
        let commit = async move { source.delete(&owner, id).await };
        let deleted = self.write(user, id, commit, |deleted| deleted.as_ref().map(Deed::deleted));
        Ok(deleted.await?.is_some())
    }

    /// Commits, then invalidates and does what follows of the `deed`, whatever becomes of the caller.
    async fn write<T: Send + 'static>(
        &self,
        user: &UserId,
        id: TaskId,
        commit: impl Future<Output = Result<T, RepositoryError>> + Send + 'static,
        deed: fn(&T) -> Option<Deed>,
    ) -> Result<T, RepositoryError> {
        let permit = self.writes.clone().try_acquire_owned();
        let permit = permit.map_err(|_| RepositoryError::Busy)?;
        let (this, user) = (self.clone(), user.clone());
        let writing = tokio::spawn(async move {
            let answer = commit.await;
            // An error too may come from a commit that held; only this one says that none was tried.
            if !matches!(answer, Err(RepositoryError::Busy)) {
                let deed = answer.as_ref().ok().and_then(deed);
                let follow = async {
                    if let Some(deed) = deed {
                        this.deeds.follow(&user, deed).await;
                    }
                };
                let end = this.end([task_tag(&user, id), pages_tag(&user)].map(Target::from));
                tokio::join!(end, follow);
            }
            drop(permit);
            answer
        });
        writing.await.unwrap_or_else(|why| Err(RepositoryError::Failed(why.to_string())))
    }

    /// The commit holds, so its client is told so whatever happens here. Larder itself sends an
    /// unconfirmed invalidation again until Redis confirms it.
    async fn end<const N: usize>(&self, targets: [Target; N]) {
        let Err(why) = self.larder.invalidate(targets).await else { return };
        if why.kind() == ErrorKind::Unconfirmed {
            tracing::warn!(%why, "a commit holds, its invalidation is sent again until it does");
        } else {
            tracing::error!(%why, "a commit holds, old copies of it live until they expire");
        }
    }

    /// Keeps these tasks if the database has none; says whether it did.
    pub(crate) async fn seed(&self, tasks: Vec<Task>) -> Result<bool, RepositoryError> {
        let mut users: Vec<UserId> = tasks.iter().map(|task| task.user.clone()).collect();
        users.dedup();
        let seeded = self.source.seed(tasks).await?;
        if seeded {
            // Of a database that stood here before, Redis may still know.
            for user in users {
                let (tasks, pages) = (self.tasks.of(&user).all(), self.pages.of(&user).all());
                self.end([tasks, pages, self.responses.all(&user)]).await;
            }
        }
        Ok(seeded)
    }

    /// Answers when the database does.
    pub(crate) async fn ping(&self) -> Result<(), RepositoryError> {
        self.source.ping().await
    }

    /// Is the cache's shared side connected? The service works without it, more slowly.
    pub(crate) fn is_far_up(&self) -> bool {
        self.larder.is_far_up()
    }

    /// How many invalidations wait for Redis to confirm them now: names, of which a commit ends two.
    pub(crate) fn unconfirmed_waiting(&self) -> u64 {
        self.larder.stats().unconfirmed_waiting
    }

    /// How many writes are committing, or tell the cache of it.
    pub(crate) fn writes_under_way(&self) -> usize {
        (WRITES_MAX as usize).saturating_sub(self.writes.available_permits())
    }

    /// Waits for writes, for what follows them and for invalidations, each for at most `deadline`, then closes
    /// the cache, which tells the database what waits for it, and the database.
    pub(crate) async fn close(&self, deadline: Duration) {
        let writes = self.writes.acquire_many(WRITES_MAX);
        if tokio::time::timeout(deadline, writes).await.is_err() {
            tracing::warn!("closing while writes are under way");
        }
        self.writes.close();
        tokio::join!(self.deeds.close(deadline), self.seen.close(deadline));
        let left = self.larder.close(deadline).await;
        if left > 0 {
            tracing::warn!(left, "closing with invalidations that were never confirmed");
        }
        if let Err(why) = self.source.close().await {
            tracing::warn!(%why, "cannot close the database");
        }
    }
}

/// What a failed read means: the database's own error, if it is known here.
pub(super) fn failed(why: larder::Error) -> RepositoryError {
    if let Some(cause) = why.cause::<RepositoryError>() {
        return cause.clone();
    }
    match why.kind() {
        // In another process, or a moment ago: the next try asks the database again.
        ErrorKind::Source | ErrorKind::Deadline | ErrorKind::Overloaded => RepositoryError::Busy,
        _ => RepositoryError::Failed(why.to_string()),
    }
}

/// How long the database took, if it was this caller's load that asked it.
#[derive(Clone, Default)]
struct Timed(Arc<OnceLock<Duration>>);

impl Timed {
    async fn time<T>(self, query: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let answer = query.await;
        let _ = self.0.set(began.elapsed());
        answer
    }

    fn took(&self) -> Option<Duration> {
        self.0.get().copied()
    }
}

/// A value, and the way it came.
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    pub(crate) way: Way,
}

/// Where an answer was found, and how long that took.
pub(crate) struct Way {
    origin: Origin,
    took: Duration,
    /// None where no database was asked, or another caller's load asked it for both.
    database: Option<Duration>,
}

impl Way {
    /// For the header `X-Cache`.
    pub(crate) fn x_cache(&self) -> &'static str {
        match self.origin {
            Origin::Near | Origin::Far => "HIT",
            Origin::Loaded => "MISS",
            _ => "BYPASS",
        }
    }

    /// For the header `Server-Timing`: `cache;desc="loaded";dur=50.31, db;dur=50.12`.
    pub(crate) fn server_timing(&self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let cache = format!("cache;desc=\"{}\";dur={:.2}", self.origin, ms(self.took));
        match self.database {
            Some(took) => format!("{cache}, db;dur={:.2}", ms(took)),
            None => cache,
        }
    }
}
