//! What every [`Repository`] promises, as tests that each of them runs.
//!
//! A database that is added later passes this suite unchanged: one line in [`promises`] for each test,
//! and one invocation for each database.

use std::sync::Arc;

use jiff::civil::date;
use tokio::task::JoinSet;

use super::model::{NewTask, PageKey, Status, Task, TaskChange, TaskId, UserId};
use super::repository::{Repository, RepositoryError};
use super::sqlite::{Place, Sqlite};

/// A database under test, and what must outlive it.
pub(super) struct Scene {
    tasks: Arc<dyn Repository>,
    _directory: Option<Directory>,
    #[cfg(feature = "mongodb")]
    pub(super) database: Option<mongo::Mongo>,
}

#[cfg(feature = "mongodb")]
#[path = "../../tests/support/mongo.rs"]
pub(super) mod mongo;

impl Scene {
    fn of(tasks: Arc<dyn Repository>) -> Scene {
        Scene {
            tasks,
            _directory: None,
            #[cfg(feature = "mongodb")]
            database: None,
        }
    }
}

/// A directory that goes with the test.
struct Directory(std::path::PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs every promise against the database that `$open` makes.
macro_rules! promises {
    ($database:ident, $open:path, [$($promise:ident)*]) => {
        mod $database {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise($open().await).await;
            })*
        }
    };
    ($database:ident, $open:path) => {
        promises!($database, $open, [
            what_was_created_is_found
            a_task_is_found_by_its_owner_alone
            an_id_is_given_once
            pages_are_newest_first_and_leave_out_nothing
            a_page_shows_one_user_and_one_status
            a_change_touches_what_it_names
            two_changes_at_once_both_hold
            what_was_deleted_is_gone
            a_seed_falls_only_on_empty_ground
            strange_text_comes_back_as_it_went
            after_its_end_it_answers_with_an_error
        ]);
    };
}

promises!(in_memory, super::in_memory);
promises!(on_a_file, super::on_a_file);
#[cfg(feature = "mongodb")]
promises!(on_mongodb, super::on_mongodb);

async fn in_memory() -> Scene {
    let tasks = Arc::new(Sqlite::open(Place::Memory).await.unwrap());
    Scene::of(tasks)
}

async fn on_a_file() -> Scene {
    let path = std::env::temp_dir().join(format!("task-api-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir(&path).unwrap();
    let place = Place::File(path.join("tasks.db"));
    let tasks = Arc::new(Sqlite::open(place).await.unwrap());
    Scene { _directory: Some(Directory(path)), ..Scene::of(tasks) }
}

#[cfg(feature = "mongodb")]
pub(super) async fn on_mongodb() -> Scene {
    let database = mongo::Mongo::new();
    let tasks = Arc::new(super::Mongo::open(&database.url).await.unwrap());
    Scene { database: Some(database), ..Scene::of(tasks) }
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(super) fn task(owner: &str, title: &str, status: Status) -> Task {
    let due = Some(date(2026, 11, 3));
    NewTask { title: title.into(), description: None, status, due }.of(user(owner))
}

fn page(number: u32, per_page: u32) -> PageKey {
    PageKey { number, per_page, status: None }
}

fn titled(title: &str) -> TaskChange {
    TaskChange { title: Some(title.into()), ..TaskChange::default() }
}

async fn what_was_created_is_found(scene: Scene) {
    let task = Task { description: Some("two".into()), ..task("ada", "milk", Status::Doing) };
    scene.tasks.create(task.clone()).await.unwrap();
    assert_eq!(scene.tasks.find(&task.user, task.id).await.unwrap(), Some(task.clone()));
    assert_eq!(scene.tasks.find(&task.user, TaskId::now()).await.unwrap(), None);
    scene.tasks.ping().await.unwrap();
}

async fn a_task_is_found_by_its_owner_alone(scene: Scene) {
    let (task, grace) = (task("ada", "secret", Status::Todo), user("grace"));
    scene.tasks.create(task.clone()).await.unwrap();
    assert_eq!(scene.tasks.find(&grace, task.id).await.unwrap(), None);
    assert_eq!(scene.tasks.update(&grace, task.id, titled("mine")).await.unwrap(), None);
    assert!(!scene.tasks.delete(&grace, task.id).await.unwrap());
    assert_eq!(scene.tasks.page(&grace, page(1, 10)).await.unwrap().total, 0);
    assert_eq!(scene.tasks.find(&task.user, task.id).await.unwrap(), Some(task.clone()));
}

async fn an_id_is_given_once(scene: Scene) {
    let first = task("ada", "first", Status::Todo);
    let second = Task { id: first.id, ..task("ada", "second", Status::Todo) };
    scene.tasks.create(first.clone()).await.unwrap();
    let refused = scene.tasks.create(second).await;
    assert!(matches!(refused, Err(RepositoryError::Failed(_))), "{refused:?}");
    assert_eq!(scene.tasks.find(&first.user, first.id).await.unwrap(), Some(first.clone()));
}

async fn pages_are_newest_first_and_leave_out_nothing(scene: Scene) {
    let mut created = Vec::new();
    for nth in 0..23 {
        let task = task("ada", &format!("task {nth}"), Status::Todo);
        scene.tasks.create(task.clone()).await.unwrap();
        created.push(task);
    }
    let ada = user("ada");
    let mut seen = Vec::new();
    for (number, expected) in [(1, 10), (2, 10), (3, 3), (4, 0), (u32::MAX, 0)] {
        let page = scene.tasks.page(&ada, page(number, 10)).await.unwrap();
        assert_eq!((page.page, page.per_page, page.total), (number, 10, 23));
        assert_eq!(page.tasks.len(), expected);
        seen.extend(page.tasks);
    }
    created.reverse();
    assert_eq!(seen, created);
}

async fn a_page_shows_one_user_and_one_status(scene: Scene) {
    for (owner, title, status) in [
        ("ada", "a", Status::Todo),
        ("ada", "b", Status::Done),
        ("grace", "c", Status::Done),
        ("ada", "d", Status::Done),
    ] {
        scene.tasks.create(task(owner, title, status)).await.unwrap();
    }
    let done = PageKey { status: Some(Status::Done), ..page(1, 10) };
    let page = scene.tasks.page(&user("ada"), done).await.unwrap();
    let titles: Vec<_> = page.tasks.iter().map(|task| task.title.as_str()).collect();
    assert_eq!((titles, page.total), (vec!["d", "b"], 2));
}

async fn a_change_touches_what_it_names(scene: Scene) {
    let before = task("ada", "milk", Status::Todo);
    scene.tasks.create(before.clone()).await.unwrap();
    let change =
        TaskChange { status: Some(Status::Done), due: Some(None), ..TaskChange::default() };
    let after = scene.tasks.update(&before.user, before.id, change).await.unwrap().unwrap();
    assert!(after.updated >= before.updated);
    let expected =
        Task { status: Status::Done, due: None, updated: after.updated, ..before.clone() };
    assert_eq!(after, expected);
    assert_eq!(scene.tasks.find(&before.user, before.id).await.unwrap(), Some(after));
    assert_eq!(scene.tasks.update(&before.user, TaskId::now(), titled("x")).await.unwrap(), None);
}

async fn two_changes_at_once_both_hold(scene: Scene) {
    let task = task("ada", "milk", Status::Todo);
    scene.tasks.create(task.clone()).await.unwrap();
    let done = TaskChange { status: Some(Status::Done), ..TaskChange::default() };
    let (a, b) = tokio::join!(
        scene.tasks.update(&task.user, task.id, titled("oats")),
        scene.tasks.update(&task.user, task.id, done),
    );
    assert!(a.is_ok() && b.is_ok());
    let after = scene.tasks.find(&task.user, task.id).await.unwrap().unwrap();
    assert_eq!((after.title.as_str(), after.status), ("oats", Status::Done));
}

async fn what_was_deleted_is_gone(scene: Scene) {
    let task = task("ada", "milk", Status::Todo);
    scene.tasks.create(task.clone()).await.unwrap();
    assert!(scene.tasks.delete(&task.user, task.id).await.unwrap());
    assert!(!scene.tasks.delete(&task.user, task.id).await.unwrap());
    assert_eq!(scene.tasks.find(&task.user, task.id).await.unwrap(), None);
    assert_eq!(scene.tasks.page(&task.user, page(1, 10)).await.unwrap().tasks, []);
}

async fn a_seed_falls_only_on_empty_ground(scene: Scene) {
    let tasks = || vec![task("ada", "a", Status::Todo), task("grace", "b", Status::Done)];
    let (a, b) = tokio::join!(scene.tasks.seed(tasks()), scene.tasks.seed(tasks()));
    assert_ne!(a.unwrap(), b.unwrap(), "one of two seeds holds");
    assert_eq!(scene.tasks.page(&user("ada"), page(1, 10)).await.unwrap().total, 1);
    assert!(!scene.tasks.seed(tasks()).await.unwrap());
}

async fn strange_text_comes_back_as_it_went(scene: Scene) {
    for title in ["'; DROP TABLE tasks; --", "naïve 🦀 \u{202e}", "a\0b", "%_\\", &"ä".repeat(200)]
    {
        let owner = user("o'brien|{1}");
        let task = Task { user: owner, ..task("ada", title, Status::Todo) };
        scene.tasks.create(task.clone()).await.unwrap();
        assert_eq!(scene.tasks.find(&task.user, task.id).await.unwrap(), Some(task.clone()));
    }
}

async fn after_its_end_it_answers_with_an_error(scene: Scene) {
    let task = task("ada", "milk", Status::Todo);
    scene.tasks.create(task.clone()).await.unwrap();
    scene.tasks.close().await.unwrap();
    scene.tasks.close().await.unwrap();
    assert_eq!(scene.tasks.ping().await, Err(RepositoryError::Closed));
    assert_eq!(scene.tasks.find(&task.user, task.id).await, Err(RepositoryError::Closed));
}

/// Two handles on one file, as two processes would have it.
#[tokio::test]
async fn two_processes_share_a_file() {
    let scene = on_a_file().await;
    let path = scene._directory.as_ref().unwrap().0.join("tasks.db");
    let other = Arc::new(Sqlite::open(Place::File(path)).await.unwrap());
    two_processes_share(scene, other).await;
}

pub(super) async fn two_processes_share(scene: Scene, other: Arc<dyn Repository>) {
    let task = task("ada", "milk", Status::Todo);
    scene.tasks.create(task.clone()).await.unwrap();
    assert_eq!(other.find(&task.user, task.id).await.unwrap(), Some(task.clone()));

    let mut changes = JoinSet::new();
    for nth in 0..50 {
        let tasks = if nth % 2 == 0 { scene.tasks.clone() } else { other.clone() };
        let (owner, id) = (task.user.clone(), task.id);
        let change = titled(&format!("title {nth}"));
        changes.spawn(async move { tasks.update(&owner, id, change).await });
    }
    let answers = changes.join_all().await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Some(_)))), "{answers:?}");
    let here = scene.tasks.find(&task.user, task.id).await.unwrap();
    assert_eq!(here, other.find(&task.user, task.id).await.unwrap());
}
