//! Tasks in MongoDB, by its official driver.
//!
//! Every question is about one document, which MongoDB reads and changes in one step; no transaction is
//! needed, so a single server does as well as a replica set. Changes say what becomes of each field, and
//! nothing is read first: two at once both hold. Only [`seed`](mod@seed) is many steps.
//!
//! Whatever the URL says, reads go to the primary and writes wait for the majority: a replica that lags
//! would fill the cache with what was just ended, and a write that is rolled back was shown to clients.
//!
//! A page and its total are two questions. What is written between them shows in one and not in the
//! other; its own invalidation ends the page.
//!
//! Questions run side by side, so many at most; more are [`RepositoryError::Busy`]. If the process dies,
//! what was under way may have been done.

use std::future::IntoFuture;
use std::time::Duration;

use jiff::Timestamp;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::ReturnDocument;
use mongodb::{Client, Collection, Database};
use tokio::sync::{Semaphore, TryAcquireError};

use super::model::{Changed, Page, PageKey, Status, Task, TaskChange, TaskId, UserId, now};
use super::repository::{Asked, Repository, RepositoryError};

mod document;
mod open;
mod seed;
#[cfg(test)]
mod tests;

use document::{TaskDocument, UserDocument, id_of, moment};

/// How many questions may be under way.
const QUESTIONS_MAX: u32 = 1024;
/// How long a question may take, its wait for a connection included.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// A [`Repository`] in MongoDB.
pub(crate) struct Mongo {
    client: Client,
    database: Database,
    tasks: Collection<TaskDocument>,
    users: Collection<UserDocument>,
    /// One permit for each question under way; closed when the database is.
    questions: Semaphore,
}

impl Mongo {
    /// Connects, and makes the indexes that are not there.
    ///
    /// # Errors
    /// In words for the operator, never with the URL's password: it cannot be read, or nothing answers.
    pub(crate) async fn open(url: &str) -> Result<Mongo, String> {
        let (client, database) = open::open(url).await?;
        let (tasks, users) = (database.collection(open::TASKS), database.collection(open::USERS));
        let questions = Semaphore::new(QUESTIONS_MAX as usize);
        Ok(Mongo { client, database, tasks, users, questions })
    }

    /// Asks, if there is room, and waits no longer than is good.
    async fn ask<T>(
        &self,
        question: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T, RepositoryError> {
        let _permit = self.permit()?;
        in_time(question).await
    }

    fn permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>, RepositoryError> {
        self.questions.try_acquire().map_err(|why| match why {
            TryAcquireError::NoPermits => RepositoryError::Busy,
            TryAcquireError::Closed => RepositoryError::Closed,
        })
    }
}

impl Repository for Mongo {
    fn create(&self, task: Task) -> Asked<'_, ()> {
        Box::pin(async move {
            self.ask(self.tasks.insert_one(TaskDocument::from(task))).await.map(drop)
        })
    }

    fn find(&self, user: &UserId, id: TaskId) -> Asked<'_, Option<Task>> {
        let the_one = the_one(user, id);
        Box::pin(async move { read(self.ask(self.tasks.find_one(the_one)).await?) })
    }

    fn page(&self, user: &UserId, key: PageKey) -> Asked<'_, Page> {
        let (of, newest_first) = shown(user, key.status);
        let skipped = u64::from(key.number.saturating_sub(1)) * u64::from(key.per_page);
        Box::pin(async move {
            let rows = async {
                let find = self.tasks.find(of.clone()).sort(newest_first);
                let mut rows = find.skip(skipped).limit(i64::from(key.per_page)).await?;
                let mut documents = Vec::new();
                while rows.advance().await? {
                    documents.push(rows.deserialize_current()?);
                }
                Ok(documents)
            };
            let documents = self.ask(Box::pin(rows)).await?;
            let total = self.ask(self.tasks.count_documents(of)).await?;
            let tasks = documents.into_iter().map(Task::try_from).collect::<Result<_, _>>();
            let tasks = tasks.map_err(RepositoryError::Failed)?;
            Ok(Page { tasks, page: key.number, per_page: key.per_page, total })
        })
    }

    /// What it was comes back: what it is follows from that and the change, by the same rules.
    fn update(&self, user: &UserId, id: TaskId, change: TaskChange) -> Asked<'_, Option<Changed>> {
        let (the_one, at) = (the_one(user, id), now());
        let step = self
            .tasks
            .find_one_and_update(the_one, changed(change.clone(), at))
            .return_document(ReturnDocument::Before);
        Box::pin(async move {
            let Some(mut task) = read(self.ask(step).await?)? else { return Ok(None) };
            let was = task.status;
            change.apply(&mut task, at);
            Ok(Some(Changed { task, was }))
        })
    }

    fn delete(&self, user: &UserId, id: TaskId) -> Asked<'_, Option<Task>> {
        let the_one = the_one(user, id);
        Box::pin(async move { read(self.ask(self.tasks.find_one_and_delete(the_one)).await?) })
    }

    fn saw(&self, users: Vec<(UserId, Timestamp)>) -> Asked<'_, ()> {
        Box::pin(async move {
            for (user, at) in users {
                let note = || async {
                    let later = doc! { "$max": { "last_seen": moment(at) } };
                    self.users.update_one(doc! { "_id": user.as_str() }, later).upsert(true).await
                };
                let noted = match self.ask(Box::pin(note())).await {
                    // Two that make one document at once: the second finds it now.
                    Err(RepositoryError::Failed(_)) => self.ask(Box::pin(note())).await,
                    noted => noted,
                };
                noted?;
            }
            Ok(())
        })
    }

    fn last_seen(&self, user: &UserId) -> Asked<'_, Option<Timestamp>> {
        let the_one = doc! { "_id": user.as_str() };
        Box::pin(async move {
            let found = self.ask(self.users.find_one(the_one)).await?;
            let at = found.map(|found| found.last_seen()).transpose();
            at.map_err(RepositoryError::Failed)
        })
    }

    fn seed(&self, tasks: Vec<Task>) -> Asked<'_, bool> {
        Box::pin(async move {
            let _permit = self.permit()?;
            seed::seed(&self.database, &self.tasks, tasks, seed::CLAIM_WAIT).await
        })
    }

    fn ping(&self) -> Asked<'_, ()> {
        Box::pin(
            async move { self.ask(self.database.run_command(doc! { "ping": 1 })).await.map(drop) },
        )
    }

    fn close(&self) -> Asked<'_, ()> {
        Box::pin(async move {
            // Each question ends in its own time, so this wait does too.
            let last = self.questions.acquire_many(QUESTIONS_MAX).await;
            if last.is_ok() {
                self.questions.close();
                self.client.clone().shutdown().immediate(true).await;
            }
            Ok(())
        })
    }
}

/// A task is only ever looked for among its user's.
fn the_one(user: &UserId, id: TaskId) -> Document {
    doc! { "_id": id_of(id), "user": user.as_str() }
}

/// Which tasks a list shows, and in which order: the keys of an index, see `open.rs`.
fn shown(user: &UserId, status: Option<Status>) -> (Document, Document) {
    let mut of = doc! { "user": user.as_str() };
    if let Some(status) = status {
        of.insert("status", status.as_str());
    }
    (of, doc! { "_id": -1 })
}

/// What becomes of each field. `updated` never goes back, whatever the clock does.
fn changed(change: TaskChange, at: Timestamp) -> Document {
    let TaskChange { title, description, status, due } = change;
    let fields = [
        ("title", title.map(Bson::from)),
        ("description", description.map(Bson::from)),
        ("status", status.map(Status::as_str).map(Bson::from)),
        ("due", due.map(|due| Bson::from(due.map(|day| day.to_string())))),
    ];
    let named = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let named = Document::from_iter(named);
    let mut step = doc! { "$max": { "updated": moment(at) } };
    // An empty `$set` is an error on servers before 5.0.
    if !named.is_empty() {
        step.insert("$set", named);
    }
    step
}

fn read(found: Option<TaskDocument>) -> Result<Option<Task>, RepositoryError> {
    found.map(Task::try_from).transpose().map_err(RepositoryError::Failed)
}

async fn in_time<T>(
    question: impl IntoFuture<Output = mongodb::error::Result<T>>,
) -> Result<T, RepositoryError> {
    match tokio::time::timeout(ANSWER_WAIT, question.into_future()).await {
        Ok(answer) => answer.map_err(|why| failed(&why)),
        Err(_) => Err(RepositoryError::Away(format!("no answer in {ANSWER_WAIT:?}"))),
    }
}

fn failed(why: &Error) -> RepositoryError {
    match &*why.kind {
        ErrorKind::Shutdown => RepositoryError::Closed,
        ErrorKind::ServerSelection { .. }
        | ErrorKind::Io(_)
        | ErrorKind::ConnectionPoolCleared { .. } => RepositoryError::Away(words(why)),
        _ => RepositoryError::Failed(words(why)),
    }
}

/// The server's own words, where there are some.
fn words(why: &Error) -> String {
    match &*why.kind {
        ErrorKind::Write(WriteFailure::WriteError(why)) => why.message.clone(),
        ErrorKind::Command(why) => why.message.clone(),
        kind => kind.to_string(),
    }
}

fn is_duplicate(why: &Error) -> bool {
    /// "duplicate key".
    const DUPLICATE: i32 = 11000;
    let write = matches!(&*why.kind, ErrorKind::Write(WriteFailure::WriteError(why)) if why.code == DUPLICATE);
    write || matches!(&*why.kind, ErrorKind::Command(why) if why.code == DUPLICATE)
}
