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

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::ReturnDocument;
use mongodb::{Client, Collection, Database};
use tokio::sync::{Semaphore, TryAcquireError};

use super::model::{Page, PageKey, Status, Task, TaskChange, TaskId, UserId, now};
use super::repository::{Asked, Repository, RepositoryError};

mod document;
mod open;
mod seed;
#[cfg(test)]
mod tests;

use document::{TaskDocument, id_of, moment};

/// How many questions may be under way.
const QUESTIONS_MAX: u32 = 1024;
/// How long a question may take, its wait for a connection included.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// A [`Repository`] in MongoDB.
pub(crate) struct Mongo {
    client: Client,
    database: Database,
    tasks: Collection<TaskDocument>,
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
        let tasks = database.collection(open::TASKS);
        Ok(Mongo { client, database, tasks, questions: Semaphore::new(QUESTIONS_MAX as usize) })
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

    fn update(&self, user: &UserId, id: TaskId, change: TaskChange) -> Asked<'_, Option<Task>> {
        let the_one = the_one(user, id);
        let step = self
            .tasks
            .find_one_and_update(the_one, changed(change))
            .return_document(ReturnDocument::After);
        Box::pin(async move { read(self.ask(step).await?) })
    }

    fn delete(&self, user: &UserId, id: TaskId) -> Asked<'_, bool> {
        let the_one = the_one(user, id);
        Box::pin(
            async move { Ok(self.ask(self.tasks.delete_one(the_one)).await?.deleted_count > 0) },
        )
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
fn changed(change: TaskChange) -> Document {
    let TaskChange { title, description, status, due } = change;
    let fields = [
        ("title", title.map(Bson::from)),
        ("description", description.map(Bson::from)),
        ("status", status.map(Status::as_str).map(Bson::from)),
        ("due", due.map(|due| Bson::from(due.map(|day| day.to_string())))),
    ];
    let named = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let named = Document::from_iter(named);
    let mut step = doc! { "$max": { "updated": moment(now()) } };
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
