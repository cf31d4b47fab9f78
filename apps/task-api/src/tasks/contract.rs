//! What every [`Repository`] promises, as tests that each of them runs.
//!
//! A database that is added later passes this suite unchanged: one line in [`promises`] for each test,
//! and one invocation for each database.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::date;
use tokio::task::JoinSet;

use super::model::{Changed, NewTask, PageKey, Status, Task, TaskChange, TaskId, UserId};
use super::repository::{Repository, RepositoryError};
use super::sqlite::{Place, Sqlite};

/// How many handles try to seed one empty database at the same moment.
const SEEDS_AT_ONCE: usize = 8;

/// A database under test, and what must outlive it.
struct Scene {
    tasks: Arc<dyn Repository>,
    directory: Option<Directory>,
    #[cfg(feature = "mongodb")]
    database: Option<mongo::Mongo>,
}

#[cfg(feature = "mongodb")]
#[path = "../../tests/support/mongo.rs"]
pub(super) mod mongo;

impl Scene {
    fn of(tasks: Arc<dyn Repository>) -> Scene {
        Scene {
            tasks,
            directory: None,
            #[cfg(feature = "mongodb")]
            database: None,
        }
    }

    /// One more handle on the same database, as another process would have it. What is in memory has
    /// no other, so there it is the same.
    async fn another(&self) -> Arc<dyn Repository> {
        if let Some(directory) = &self.directory {
            return Arc::new(Sqlite::open(directory.place()).await.unwrap());
        }
        #[cfg(feature = "mongodb")]
        if let Some(database) = &self.database {
            return Arc::new(super::Mongo::open(&database.url).await.unwrap());
        }
        self.tasks.clone()
    }
}

/// A directory that goes with the test.
struct Directory(std::path::PathBuf);

impl Directory {
    fn place(&self) -> Place {
        Place::File(self.0.join("tasks.db"))
    }
}

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
            changes_of_two_processes_both_hold
            two_processes_share_a_database
            what_was_deleted_is_gone
            a_change_tells_how_far_the_task_was
            when_a_user_was_here_never_goes_back
            many_may_note_one_user_at_once
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
    let directory = Directory(path);
    let tasks = Arc::new(Sqlite::open(directory.place()).await.unwrap());
    Scene { directory: Some(directory), ..Scene::of(tasks) }
}

#[cfg(feature = "mongodb")]
async fn on_mongodb() -> Scene {
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
    assert_eq!(scene.tasks.delete(&grace, task.id).await.unwrap(), None);
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
    let after = scene.tasks.update(&before.user, before.id, change).await.unwrap().unwrap().task;
    assert!(after.updated >= before.updated);
    let expected =
        Task { status: Status::Done, due: None, updated: after.updated, ..before.clone() };
    assert_eq!(after, expected);
    assert_eq!(scene.tasks.find(&before.user, before.id).await.unwrap(), Some(after));
    assert_eq!(scene.tasks.update(&before.user, TaskId::now(), titled("x")).await.unwrap(), None);
}

/// One changes the title alone, the other the description alone. Whoever reads the whole task and then
/// writes it puts back what the other has changed in between.
async fn changes_of_two_processes_both_hold(scene: Scene) {
    let task = task("ada", "milk", Status::Todo);
    scene.tasks.create(task.clone()).await.unwrap();
    let (here, there) = (scene.tasks.clone(), scene.another().await);
    let described = |text: &str| TaskChange {
        description: Some(Some(text.to_owned())),
        ..TaskChange::default()
    };
    for round in 0..60 {
        let one_after_the_other = async |handle: &Arc<dyn Repository>, changes: [TaskChange; 3]| {
            for change in changes {
                let after = handle.update(&task.user, task.id, change).await.unwrap();
                assert!(after.is_some());
            }
        };
        let texts = [0, 1, 2].map(|nth| format!("change {nth} of round {round}"));
        tokio::join!(
            one_after_the_other(&here, texts.each_ref().map(|text| titled(text))),
            one_after_the_other(&there, texts.each_ref().map(|text| described(text))),
        );
        let after = here.find(&task.user, task.id).await.unwrap().unwrap();
        let last = texts[2].as_str();
        assert_eq!((after.title.as_str(), after.description.as_deref()), (last, Some(last)));
    }
}

async fn what_was_deleted_is_gone(scene: Scene) {
    let task = task("ada", "milk", Status::Todo);
    scene.tasks.create(task.clone()).await.unwrap();
    assert_eq!(scene.tasks.delete(&task.user, task.id).await.unwrap(), Some(task.clone()));
    assert_eq!(scene.tasks.delete(&task.user, task.id).await.unwrap(), None);
    assert_eq!(scene.tasks.find(&task.user, task.id).await.unwrap(), None);
    assert_eq!(scene.tasks.page(&task.user, page(1, 10)).await.unwrap().tasks, []);
}

async fn a_change_tells_how_far_the_task_was(scene: Scene) {
    let task = task("ada", "milk", Status::Todo);
    scene.tasks.create(task.clone()).await.unwrap();
    for (to, was, closes) in [
        (Some(Status::Doing), Status::Todo, 0),
        (Some(Status::Done), Status::Doing, 1),
        (Some(Status::Done), Status::Done, 0),
        (None, Status::Done, 0),
        (Some(Status::Todo), Status::Done, -1),
    ] {
        let change = TaskChange { status: to, ..titled("oats") };
        let changed = scene.tasks.update(&task.user, task.id, change).await.unwrap().unwrap();
        assert_eq!((changed.was, changed.closes()), (was, closes));
        let found = scene.tasks.find(&task.user, task.id).await.unwrap().unwrap();
        assert_eq!(changed, Changed { task: found, was });
    }
}

/// It may be said late, twice, and in another order.
async fn when_a_user_was_here_never_goes_back(scene: Scene) {
    let at = |ms: i64| Timestamp::from_millisecond(1_790_000_000_000 + ms).unwrap();
    let (ada, grace) = (user("ada"), user("o'brien|{1}.$x"));
    assert_eq!(scene.tasks.last_seen(&ada).await.unwrap(), None);
    scene.tasks.saw(Vec::new()).await.unwrap();
    let both = vec![(ada.clone(), at(5)), (grace.clone(), at(1)), (ada.clone(), at(3))];
    scene.tasks.saw(both).await.unwrap();
    for (ms, then) in [(4, 5), (5, 5), (9, 9), (0, 9)] {
        scene.tasks.saw(vec![(ada.clone(), at(ms))]).await.unwrap();
        assert_eq!(scene.another().await.last_seen(&ada).await.unwrap(), Some(at(then)));
    }
    assert_eq!(scene.tasks.last_seen(&grace).await.unwrap(), Some(at(1)));
}

async fn many_may_note_one_user_at_once(scene: Scene) {
    let (ada, other) = (user("ada"), scene.another().await);
    let at = |nth: i64| Timestamp::from_second(1_790_000_000 + nth).unwrap();
    let mut notes = JoinSet::new();
    for nth in 0..40 {
        let tasks = if nth % 2 == 0 { scene.tasks.clone() } else { other.clone() };
        let noted = vec![(ada.clone(), at(nth))];
        notes.spawn(async move { tasks.saw(noted).await });
    }
    assert!(notes.join_all().await.iter().all(Result::is_ok));
    assert_eq!(scene.tasks.last_seen(&ada).await.unwrap(), Some(at(39)));
}

/// Many handles, each with a seed of its own, at the same moment: the whole of one falls, and of the others
/// nothing.
async fn a_seed_falls_only_on_empty_ground(scene: Scene) {
    let owners = ["ada", "grace"].map(user);
    let seed = || (0..20).map(|nth| task(owners[nth % 2].as_str(), "seed", Status::Todo)).collect();
    let mut handles = vec![scene.tasks.clone()];
    for _ in 1..SEEDS_AT_ONCE {
        handles.push(scene.another().await);
    }
    for _ in 0..3 {
        // Whoever has to connect first comes too late to be in the way.
        for handle in &handles {
            handle.ping().await.unwrap();
        }
        let seeds = handles.iter().cloned().map(|handle| {
            let seed: Vec<Task> = seed();
            let ids: Vec<TaskId> = seed.iter().map(|task| task.id).collect();
            async move { (handle.seed(seed).await.unwrap(), ids) }
        });
        let answers = seeds.collect::<JoinSet<_>>().join_all().await;
        let mut fell = answers.into_iter().filter_map(|(fell, ids)| fell.then_some(ids));
        let mut expected = fell.next().unwrap();
        assert!(fell.next().is_none(), "two seeds fell");

        let mut there = Vec::new();
        for owner in &owners {
            let page = scene.tasks.page(owner, page(1, 100)).await.unwrap();
            there.extend(page.tasks);
        }
        let mut ids: Vec<_> = there.iter().map(|task| task.id).collect();
        ids.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ids, expected);
        assert!(!scene.tasks.seed(seed()).await.unwrap());
        for task in there {
            assert!(scene.tasks.delete(&task.user, task.id).await.unwrap().is_some());
        }
    }
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

async fn two_processes_share_a_database(scene: Scene) {
    let other = scene.another().await;
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
