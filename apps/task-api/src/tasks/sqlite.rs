//! Tasks in SQLite, on a thread of their own.
//!
//! SQLite blocks, so no thread of the async runtime ever calls it: a question goes into a bounded queue,
//! the thread answers one after the other, and each answer comes back over a oneshot. A full queue is
//! [`RepositoryError::Busy`] at once. A question whose asker has hung up before its turn is not asked
//! at all; one that was begun is ended. If the process dies, what was answered is on disk, and
//! what was queued never happened.
//!
//! Several processes may share one file: it is in WAL mode, so a reader never waits for another process'
//! writer, and writers wait their turn. What stands behind a waiting write in this queue waits with it.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};

use super::model::{Changed, Page, PageKey, Task, TaskChange, TaskId, UserId};
use super::repository::{Asked, Repository, RepositoryError};

mod queries;
mod schema;

/// How many questions may wait for the thread.
const QUEUE_MAX: usize = 1024;
/// How long a writer waits for another process' commit.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Where the database is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a file, which is made when it is not there.
    File(PathBuf),
    /// In this process; it ends with it.
    Memory,
}

type Question = Box<dyn FnOnce(&mut Connection) + Send>;

enum Job {
    Ask(Question),
    Close(oneshot::Sender<()>),
}

/// A [`Repository`] in SQLite.
pub(crate) struct Sqlite {
    jobs: mpsc::Sender<Job>,
}

impl Sqlite {
    /// Opens the database, makes its tables if it has none, and starts its thread.
    ///
    /// # Errors
    /// In words for the operator: the file cannot be opened, is no database, or is another program's.
    pub(crate) async fn open(place: Place) -> Result<Sqlite, String> {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let (opened, is_open) = oneshot::channel();
        let run = move || match schema::open(&place, LOCK_WAIT) {
            Ok(connection) => {
                if opened.send(Ok(())).is_ok() {
                    answer(connection, queue);
                }
            }
            Err(why) => drop(opened.send(Err(why))),
        };
        let thread = thread::Builder::new().name("sqlite".to_owned()).spawn(run);
        thread.map_err(|why| format!("cannot start the database's thread: {why}"))?;
        is_open.await.unwrap_or_else(|_| Err("the database's thread ended".to_owned()))?;
        Ok(Sqlite { jobs })
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Asked<'_, T> {
        let (reply, answer) = oneshot::channel();
        let job = Job::Ask(Box::new(move |connection| {
            if !reply.is_closed() {
                let _ = reply.send(question(connection));
            }
        }));
        Box::pin(async move {
            self.jobs.try_send(job).map_err(|why| match why {
                mpsc::error::TrySendError::Full(_) => RepositoryError::Busy,
                mpsc::error::TrySendError::Closed(_) => RepositoryError::Closed,
            })?;
            let answer = answer.await.map_err(|_| RepositoryError::Closed)?;
            answer.map_err(|why| match why.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => RepositoryError::Busy,
                _ => RepositoryError::Failed(why.to_string()),
            })
        })
    }
}

/// The thread: one question after the other, until it is told to close or nobody can ask any more.
fn answer(mut connection: Connection, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        match job {
            Job::Ask(question) => question(&mut connection),
            Job::Close(closed) => {
                // The last one out puts the write-ahead log back into the file.
                if let Err((_, why)) = connection.close() {
                    tracing::warn!(%why, "cannot close the database");
                }
                drop(queue);
                let _ = closed.send(());
                return;
            }
        }
    }
}

impl Repository for Sqlite {
    fn create(&self, task: Task) -> Asked<'_, ()> {
        self.ask(move |connection| queries::create(connection, &task))
    }

    fn find(&self, user: &UserId, id: TaskId) -> Asked<'_, Option<Task>> {
        let user = user.clone();
        self.ask(move |connection| queries::find(connection, &user, id))
    }

    fn page(&self, user: &UserId, key: PageKey) -> Asked<'_, Page> {
        let user = user.clone();
        self.ask(move |connection| queries::page(connection, &user, key))
    }

    fn update(&self, user: &UserId, id: TaskId, change: TaskChange) -> Asked<'_, Option<Changed>> {
        let user = user.clone();
        self.ask(move |connection| queries::update(connection, &user, id, change))
    }

    fn delete(&self, user: &UserId, id: TaskId) -> Asked<'_, Option<Task>> {
        let user = user.clone();
        self.ask(move |connection| queries::delete(connection, &user, id))
    }

    fn saw(&self, users: Vec<(UserId, Timestamp)>) -> Asked<'_, ()> {
        self.ask(move |connection| queries::saw(connection, &users))
    }

    fn last_seen(&self, user: &UserId) -> Asked<'_, Option<Timestamp>> {
        let user = user.clone();
        self.ask(move |connection| queries::last_seen(connection, &user))
    }

    fn seed(&self, tasks: Vec<Task>) -> Asked<'_, bool> {
        self.ask(move |connection| queries::seed(connection, &tasks))
    }

    fn ping(&self) -> Asked<'_, ()> {
        self.ask(|connection| queries::ping(connection))
    }

    fn close(&self) -> Asked<'_, ()> {
        Box::pin(async move {
            let (closed, is_closed) = oneshot::channel();
            // Behind all that was asked before.
            if self.jobs.send(Job::Close(closed)).await.is_ok() {
                let _ = is_closed.await;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The thread is held up, so the queue fills; the next question is turned away at once, and the
    /// others are answered when the thread goes on.
    #[tokio::test]
    async fn a_full_queue_turns_away_at_once() {
        let sqlite = Sqlite::open(Place::Memory).await.unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let holder = sqlite.ask(move |_| {
            let _ = begun.send(());
            let _ = held.recv();
            Ok(())
        });
        let test = async {
            has_begun.await.unwrap();
            let (reply, _answer) = oneshot::channel::<()>();
            let mut reply = Some(reply);
            while sqlite.jobs.capacity() > 0 {
                let reply = reply.take();
                let job = Job::Ask(Box::new(move |_| drop(reply)));
                sqlite.jobs.try_send(job).ok().unwrap();
            }
            assert_eq!(sqlite.ping().await, Err(RepositoryError::Busy));
            drop(release);
        };
        let (answered, ()) = tokio::join!(holder, test);
        assert_eq!(answered, Ok(()));
        sqlite.close().await.unwrap();
        assert_eq!(sqlite.ping().await, Err(RepositoryError::Closed));
    }

    #[tokio::test]
    async fn a_question_nobody_waits_for_is_not_asked() {
        let sqlite = Sqlite::open(Place::Memory).await.unwrap();
        let (asked, was_asked) = oneshot::channel::<()>();
        let (reply, answer) = oneshot::channel::<rusqlite::Result<()>>();
        drop(answer);
        let job = Job::Ask(Box::new(move |_| {
            if !reply.is_closed() {
                let _ = asked.send(());
            }
        }));
        sqlite.jobs.try_send(job).ok().unwrap();
        sqlite.ping().await.unwrap();
        assert!(was_asked.await.is_err());
    }
}
