//! Many tasks into an empty database, by one of several processes.
//!
//! MongoDB does this in one step only where there are transactions, so a claim is made first: a document
//! whose id is unique. Whoever has it looks whether there are tasks, and writes if there are none;
//! the others wait until it is gone, and look for themselves. A claim that stands unchanged for too long
//! is of a process that died; it is taken away.
//!
//! If the process dies in the middle, a part of the tasks is there, and no later seed adds the rest.

use std::time::Duration;

use mongodb::bson::{Uuid, doc};
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::document::TaskDocument;
use super::{failed, in_time, is_duplicate};
use crate::tasks::model::Task;
use crate::tasks::repository::RepositoryError;

/// The collection of claims.
const CLAIMS: &str = "claims";
const SEED: &str = "seed";
/// How long a claim may stand while we watch. No clocks are compared.
pub(super) const CLAIM_WAIT: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[derive(Serialize, Deserialize)]
struct Claim {
    #[serde(rename = "_id")]
    of: String,
    token: Uuid,
}

pub(super) async fn seed(
    database: &Database,
    tasks: &Collection<TaskDocument>,
    seeds: Vec<Task>,
    claim_wait: Duration,
) -> Result<bool, RepositoryError> {
    let claims = database.collection::<Claim>(CLAIMS);
    let token = claim(&claims, claim_wait).await?;
    let seeded = fill(tasks, seeds).await;
    release(&claims, token).await?;
    seeded
}

/// Waits until the claim is ours.
async fn claim(claims: &Collection<Claim>, wait: Duration) -> Result<Uuid, RepositoryError> {
    let ours = Uuid::new();
    let mut seen = (ours, Instant::now());
    loop {
        let claim = Claim { of: SEED.to_owned(), token: ours };
        let made = tokio::time::timeout(super::ANSWER_WAIT, claims.insert_one(claim)).await;
        match made {
            Ok(Ok(_)) => return Ok(ours),
            Ok(Err(why)) if is_duplicate(&why) => {}
            Ok(Err(why)) => return Err(failed(&why)),
            Err(_) => return Err(RepositoryError::Away("no answer to a claim".to_owned())),
        }
        let Some(theirs) = in_time(claims.find_one(doc! { "_id": SEED })).await? else { continue };
        if seen.0 != theirs.token {
            seen = (theirs.token, Instant::now());
        } else if seen.1.elapsed() > wait {
            tracing::warn!("a process that was filling the database is gone");
            release(claims, theirs.token).await?;
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn release(claims: &Collection<Claim>, token: Uuid) -> Result<(), RepositoryError> {
    in_time(claims.delete_one(doc! { "_id": SEED, "token": token })).await.map(drop)
}

async fn fill(tasks: &Collection<TaskDocument>, seeds: Vec<Task>) -> Result<bool, RepositoryError> {
    if in_time(tasks.find_one(doc! {})).await?.is_some() {
        return Ok(false);
    }
    if seeds.is_empty() {
        return Ok(true);
    }
    let ids: Vec<Uuid> = seeds.iter().map(|task| super::id_of(task.id)).collect();
    let documents = seeds.into_iter().map(TaskDocument::from);
    let filled = in_time(tasks.insert_many(documents)).await;
    if filled.is_err() {
        // As a whole or not at all, as far as it is in our hands.
        let _ = in_time(tasks.delete_many(doc! { "_id": { "$in": ids } })).await;
    }
    filled.map(|_| true)
}
