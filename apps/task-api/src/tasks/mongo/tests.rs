//! What MongoDB alone promises; what it has in common with SQLite is in `contract.rs`.

use std::collections::BTreeSet;
use std::future::{pending, ready};
use std::net::TcpListener;

use tokio::time::{Instant, sleep};

use super::*;

/// No server is needed: there is none.
#[tokio::test]
async fn a_server_that_is_away_is_named_without_the_password() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let why = Mongo::open(&format!("mongodb://ada:hunter2@{address}/shop")).await.err().unwrap();
    assert!(why.contains(&address.to_string()) && why.contains("database shop"), "{why}");
    assert!(!why.contains("hunter2") && !why.contains("ada"), "{why}");
}

#[test]
fn a_change_without_fields_sets_none() {
    let step = changed(TaskChange::default(), now());
    assert_eq!(step.keys().collect::<Vec<_>>(), ["$max"]);
    let emptied = changed(TaskChange { due: Some(None), ..TaskChange::default() }, now());
    assert_eq!(emptied.get("$set"), Some(&Bson::from(doc! { "due": Bson::Null })));
}

/// What is asked for, then the order, are the keys of an index, in this sequence: MongoDB then walks it
/// from where the user begins, and sorts nothing.
#[test]
fn pages_are_read_from_an_index_and_never_sorted() {
    let ada = UserId::new("ada").unwrap();
    for status in [None, Some(Status::Done)] {
        let (of, order) = shown(&ada, status);
        let asked: Vec<_> = of.keys().chain(order.keys()).cloned().collect();
        let fits = |keys: &Document| {
            let keys_are = keys.keys().cloned().collect::<Vec<_>>() == asked;
            keys_are && order.iter().all(|(name, way)| keys.get(name) == Some(way))
        };
        assert!(open::indexes().iter().any(|index| fits(&index.keys)), "{asked:?}");
    }
}

/// The clock stands still but for what the test lets pass, so a limit is met to the millisecond.
mod in_its_time {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);
    const MOMENT: Duration = Duration::from_millis(1);

    type Answer = mongodb::error::Result<u32>;

    async fn after(wait: Duration) -> Answer {
        sleep(wait).await;
        Ok(7)
    }

    fn away() -> Result<u32, RepositoryError> {
        Err(RepositoryError::Away("no answer in 5s".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_comes_is_away_after_the_limit_and_not_before() {
        let asked_at = Instant::now();
        let asking = tokio::spawn(in_time(pending::<Answer>()));
        sleep(LIMIT - MOMENT).await;
        assert!(!asking.is_finished(), "given up after {:?}", asked_at.elapsed());
        sleep(2 * MOMENT).await;
        assert!(asking.is_finished(), "waited for after {:?}", asked_at.elapsed());
        assert_eq!(asking.await.unwrap(), away());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_comes_in_time_is_handed_through() {
        assert_eq!(in_time(ready(Answer::Ok(7))).await, Ok(7));
        assert_eq!(in_time(after(LIMIT - MOMENT)).await, Ok(7));
        assert_eq!(in_time(after(LIMIT + MOMENT)).await, away());
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_that_comes_in_time_keeps_its_words() {
        let cut = std::io::Error::other("the wire is cut");
        let Err(RepositoryError::Away(why)) = in_time(ready(Answer::Err(cut.into()))).await else {
            panic!("it was taken for something else")
        };
        assert!(why.contains("the wire is cut"), "{why}");
    }
}

/// These need a server: `MONGODB_URL`.
mod on_mongodb {
    use super::*;
    use crate::tasks::contract::{mongo, task};

    async fn open(database: &mongo::Mongo) -> Mongo {
        Mongo::open(&database.url).await.unwrap()
    }

    #[tokio::test]
    async fn many_may_make_the_indexes_at_once() {
        let database = mongo::Mongo::new();
        let mut opening = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let url = database.url.clone();
            opening.spawn(async move { Mongo::open(&url).await.map(drop) });
        }
        assert!(opening.join_all().await.iter().all(Result::is_ok));
        let names = open(&database).await.tasks.list_index_names().await.unwrap();
        let names: BTreeSet<_> = names.iter().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(["_id_", "tasks_by_status", "tasks_by_user"]));
    }

    /// A cache filled from a replica that lags would show what was just ended.
    #[tokio::test]
    async fn the_primary_is_read_and_the_majority_written_whatever_the_url_says() {
        let database = mongo::Mongo::new();
        let joint = if database.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{joint}readPreference=secondary&w=1", database.url);
        let tasks = Mongo::open(&url).await.unwrap().tasks;
        let primary = mongodb::options::ReadPreference::Primary;
        assert_eq!(tasks.selection_criteria(), Some(&primary.into()));
        let majority = Some(mongodb::options::Acknowledgment::Majority);
        assert_eq!(tasks.write_concern().map(|wanted| wanted.w.clone()), Some(majority));
    }

    #[tokio::test]
    async fn an_id_is_unique_for_all_users() {
        let database = mongo::Mongo::new();
        let mongo = open(&database).await;
        let first = task("ada", "first", Status::Todo);
        let second = Task { id: first.id, ..task("grace", "second", Status::Todo) };
        mongo.create(first.clone()).await.unwrap();
        let refused = mongo.create(second).await;
        assert!(matches!(refused, Err(RepositoryError::Failed(_))), "{refused:?}");
        assert_eq!(mongo.find(&first.user, first.id).await, Ok(Some(first)));
    }

    #[tokio::test]
    async fn what_another_program_wrote_is_named() {
        let database = mongo::Mongo::new();
        let mongo = open(&database).await;
        let task = task("ada", "milk", Status::Todo);
        mongo.create(task.clone()).await.unwrap();
        for (field, value) in [("status", "late"), ("due", "tomorrow")] {
            let the_one = the_one(&task.user, task.id);
            let wrong = doc! { "$set": { field: value } };
            mongo.tasks.update_one(the_one, wrong).await.unwrap();
            let Err(RepositoryError::Failed(why)) = mongo.find(&task.user, task.id).await else {
                panic!("{field}: {value} was read")
            };
            assert!(why.contains(field) && why.contains(&task.id.to_string()), "{why}");
            let change = TaskChange { status: Some(Status::Done), ..TaskChange::default() };
            let _ = mongo.update(&task.user, task.id, change).await;
        }
    }

    /// A process claimed the empty database, and died before it wrote.
    #[tokio::test]
    async fn a_claim_of_the_dead_is_taken_away() {
        let database = mongo::Mongo::new();
        let mongo = open(&database).await;
        let claims = mongo.database.collection::<Document>("claims");
        let token = mongodb::bson::Uuid::new();
        claims.insert_one(doc! { "_id": "seed", "token": token }).await.unwrap();
        let seeds = vec![task("ada", "milk", Status::Todo)];
        let wait = Duration::from_millis(100);
        assert_eq!(seed::seed(&mongo.database, &mongo.tasks, seeds, wait).await, Ok(true));
        assert_eq!(claims.count_documents(doc! {}).await.unwrap(), 0);
    }

    /// All room is taken; the next question is turned away at once.
    #[tokio::test]
    async fn a_full_house_turns_away_at_once() {
        let database = mongo::Mongo::new();
        let mongo = open(&database).await;
        let all = mongo.questions.try_acquire_many(QUESTIONS_MAX).unwrap();
        assert_eq!(mongo.ping().await, Err(RepositoryError::Busy));
        drop(all);
        assert_eq!(mongo.ping().await, Ok(()));
    }
}
