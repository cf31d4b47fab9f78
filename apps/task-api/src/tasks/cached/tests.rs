use std::future::ready;

use super::super::delayed::Delayed;
use super::super::sqlite::{Place, Sqlite};
use super::*;

const MS: Duration = Duration::from_millis(1);

/// Far less than what is cached lives: only an invalidation can explain what is seen by then.
const SOON: Duration = Duration::from_secs(10);

struct Scene {
    source: Arc<dyn Repository>,
    tasks: CachedTasks,
    ada: UserId,
}

async fn scene(delay: Duration) -> Scene {
    let sqlite = Arc::new(Sqlite::open(Place::Memory).await.unwrap());
    let source = Delayed::wrap(sqlite, delay);
    let larder = Larder::builder("test").open().await.unwrap();
    let tasks = CachedTasks::open(source.clone(), larder).await.unwrap();
    Scene { source, tasks, ada: UserId::new("ada").unwrap() }
}

fn new(title: &str) -> NewTask {
    NewTask { title: title.into(), description: None, status: Status::Todo, due: None }
}

fn titled(title: &str) -> TaskChange {
    TaskChange { title: Some(title.into()), ..TaskChange::default() }
}

const FIRST: PageKey = PageKey { number: 1, per_page: 10, status: None };

impl Scene {
    async fn title(&self, id: TaskId) -> (String, &'static str) {
        let answer = self.tasks.find(&self.ada, id).await.unwrap();
        (answer.value.unwrap().title.clone(), answer.way.x_cache())
    }
}

#[tokio::test]
async fn a_read_is_kept_and_a_write_ends_it_and_all_pages() {
    let scene = scene(Duration::ZERO).await;
    let id = scene.tasks.create(&scene.ada, new("milk")).await.unwrap().id;
    assert_eq!(scene.title(id).await, ("milk".into(), "MISS"));
    assert_eq!(scene.title(id).await, ("milk".into(), "HIT"));
    let done = PageKey { status: Some(Status::Todo), ..FIRST };
    for key in [FIRST, done, FIRST, done] {
        scene.tasks.page(&scene.ada, key).await.unwrap();
    }
    scene.tasks.update(&scene.ada, id, titled("oats")).await.unwrap();
    assert_eq!(scene.title(id).await, ("oats".into(), "MISS"));
    for key in [FIRST, done] {
        let page = scene.tasks.page(&scene.ada, key).await.unwrap();
        assert_eq!((page.value.tasks[0].title.as_str(), page.way.x_cache()), ("oats", "MISS"));
    }
}

/// The client hangs up as soon as the write began. The commit goes on, and so must its invalidation,
/// or everyone else would see the old task for a minute.
#[tokio::test]
async fn a_write_runs_to_its_end_when_its_client_hangs_up() {
    let scene = scene(50 * MS).await;
    let id = scene.tasks.create(&scene.ada, new("milk")).await.unwrap().id;
    scene.title(id).await;
    tokio::select! {
        biased;
        _ = scene.tasks.update(&scene.ada, id, titled("oats")) => panic!("it takes 50 ms"),
        () = ready(()) => {}
    }
    let seen = async {
        while scene.title(id).await.0 != "oats" {
            tokio::task::yield_now().await; // a hit does not wait for anything
        }
    };
    tokio::time::timeout(SOON, seen).await.unwrap();
}

/// A client that hung up keeps its permit until its write has ended, so `close` waits for it.
#[tokio::test]
async fn closing_waits_for_writes_nobody_waits_for() {
    let scene = scene(50 * MS).await;
    tokio::select! {
        biased;
        _ = scene.tasks.create(&scene.ada, new("milk")) => panic!("it takes 50 ms"),
        () = ready(()) => {}
    }
    let writes = scene.tasks.writes.clone();
    scene.tasks.close(SOON).await;
    assert!(writes.is_closed());
    let refused = scene.tasks.create(&scene.ada, new("oats")).await;
    assert_eq!(refused, Err(RepositoryError::Busy));
    assert_eq!(scene.tasks.unconfirmed_waiting(), 0);
}

/// Redis is away, the database is not: the client is told what holds, and reads ask the database.
#[tokio::test]
async fn a_commit_holds_whatever_becomes_of_its_invalidation() {
    let Scene { source, ada, .. } = scene(Duration::ZERO).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let larder = Larder::builder("test").redis(format!("redis://{nobody}"));
    let tasks = CachedTasks::open(source, larder.open().await.unwrap()).await.unwrap();
    let scene = Scene { source: tasks.source.clone(), tasks, ada };
    let id = scene.tasks.create(&scene.ada, new("milk")).await.unwrap().id;
    assert_eq!(scene.tasks.unconfirmed_waiting(), 2, "the task, and the pages");
    assert_eq!(scene.title(id).await, ("milk".into(), "MISS"));
    scene.tasks.update(&scene.ada, id, titled("oats")).await.unwrap();
    assert_eq!(scene.title(id).await, ("oats".into(), "MISS"));
    assert!(!scene.tasks.is_far_up());
}

#[tokio::test]
async fn a_failed_load_says_why_the_database_failed() {
    let scene = scene(Duration::ZERO).await;
    scene.source.close().await.unwrap();
    let failed = scene.tasks.page(&scene.ada, FIRST).await.err();
    assert_eq!(failed, Some(RepositoryError::Closed));
    // For a moment it is not asked again, and the answer is the same.
    let failed = scene.tasks.page(&scene.ada, FIRST).await.err();
    assert_eq!(failed, Some(RepositoryError::Closed));
}

#[tokio::test]
async fn the_database_is_timed_by_the_load_that_asked_it() {
    let scene = scene(50 * MS).await;
    let (leader, beside) =
        tokio::join!(scene.tasks.page(&scene.ada, FIRST), scene.tasks.page(&scene.ada, FIRST),);
    let (leader, beside) = (leader.unwrap().way, beside.unwrap().way);
    assert_eq!((leader.x_cache(), beside.x_cache()), ("MISS", "MISS"));
    assert!(leader.database.unwrap() >= 50 * MS && leader.database.unwrap() <= leader.took);
    assert!(beside.database.is_none(), "one load for both");
    let hit = scene.tasks.page(&scene.ada, FIRST).await.unwrap().way;
    assert!(hit.server_timing().starts_with("cache;desc=\"near\";dur="));
    assert!(!hit.server_timing().contains("db"));
}

#[tokio::test]
async fn a_seed_ends_what_was_known_of_an_older_database() {
    let scene = scene(Duration::ZERO).await;
    assert_eq!(scene.tasks.page(&scene.ada, FIRST).await.unwrap().value.total, 0);
    let tasks = vec![new("milk").of(scene.ada.clone())];
    assert!(scene.tasks.seed(tasks).await.unwrap());
    assert_eq!(scene.tasks.page(&scene.ada, FIRST).await.unwrap().value.total, 1);
}

#[test]
fn a_way_is_told_in_two_headers() {
    let way = Way { origin: Origin::Loaded, took: 51 * MS, database: Some(50 * MS) };
    assert_eq!(way.x_cache(), "MISS");
    assert_eq!(way.server_timing(), "cache;desc=\"loaded\";dur=51.00, db;dur=50.00");
    let way = Way { origin: Origin::Far, took: MS, database: None };
    assert_eq!(way.x_cache(), "HIT");
    assert_eq!(way.server_timing(), "cache;desc=\"far\";dur=1.00");
}
