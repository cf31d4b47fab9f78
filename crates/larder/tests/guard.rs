//! Guards: while a writer commits, nobody keeps an entry for what it changes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use larder::{Cache, ErrorKind, Larder, Leased, Origin, SECOND, Stored};
use support::{
    PATIENT, Process, Proxy, Server, Source, World, process::guarded, reading_of, soon, stepped,
    until,
};

const MINUTE_MS: u64 = 60_000;

#[test]
fn other_process() {
    support::process::obey();
}

struct Fleet {
    one: World,
    other: World,
    server: Server,
}

impl Fleet {
    async fn new() -> Fleet {
        let server = Server::start();
        let one = World::on(&server.url()).await;
        let other = World::beside(&server.url(), &one.source).await;
        one.source.set("k", "old");
        Fleet { one, other, server }
    }

    fn both(&self) -> [&World; 2] {
        [&self.one, &self.other]
    }
}

fn texts(world: &World) -> Cache<str, String> {
    guarded(world, MINUTE_MS)
}

async fn read(world: &World) -> (String, Origin) {
    let loading = world.source.load("k");
    let entry = soon("an answer", texts(world).get_or_load("k", move || loading)).await.unwrap();
    (entry.to_string(), entry.origin())
}

/// Neither what was there, nor what loads read before the commit, nor what they read beside it.
#[tokio::test]
async fn while_a_writer_commits_everybody_loads_and_nobody_keeps() {
    let fleet = Fleet::new().await;
    for world in fleet.both() {
        read(world).await;
    }
    let guard = texts(&fleet.one).guard("k").await.unwrap();
    fleet.other.larder.sync().await.unwrap();
    let before = fleet.one.source.loads();
    for _ in 0..3 {
        for world in fleet.both() {
            assert_eq!(read(world).await, ("old".to_owned(), Origin::Loaded));
        }
    }
    assert_eq!(fleet.one.source.loads() - before, 6);
    assert_eq!(fleet.one.larder.stats().guarded, 3);
    assert_eq!(fleet.one.larder.stats().far_skipped, 0, "far is well");
    fleet.one.source.set("k", "new");
    guard.end().await.unwrap();
    for (world, origin) in fleet.both().into_iter().zip([Origin::Loaded, Origin::Far]) {
        assert_eq!(read(world).await, ("new".to_owned(), origin));
    }
}

#[tokio::test]
async fn a_load_that_began_before_a_guard_or_beside_it_stores_nothing() {
    let fleet = Fleet::new().await;
    let cache = texts(&fleet.other);
    let (mut before, load) = stepped();
    let reading = reading_of(&cache, "k", load);
    before.begins().await;
    let guard = texts(&fleet.one).guard("k").await.unwrap();
    let (mut beside, load) = stepped();
    fleet.other.larder.sync().await.unwrap();
    let reading_beside = reading_of(&cache, "k", load);
    beside.begins().await;
    fleet.one.source.set("k", "new");
    guard.end().await.unwrap();
    before.answers("old");
    beside.answers("old");
    for reading in [reading, reading_beside] {
        assert_eq!(*reading.await.unwrap().unwrap(), "old", "its call overlapped the commit");
    }
    for world in fleet.both() {
        world.larder.sync().await.unwrap();
        assert_eq!(read(world).await.0, "new");
    }
}

/// It read the source before the commit.
#[tokio::test]
async fn who_comes_after_a_guard_has_ended_boards_no_load_from_beside_it() {
    let fleet = Fleet::new().await;
    let cache = texts(&fleet.other);
    let guard = texts(&fleet.one).guard("k").await.unwrap();
    let (mut beside, load) = stepped();
    let first = reading_of(&cache, "k", load);
    beside.begins().await;
    guard.end().await.unwrap();
    fleet.other.larder.sync().await.unwrap();
    let (mut after, load) = stepped();
    let second = reading_of(&cache, "k", load);
    after.begins().await;
    after.answers("new");
    assert_eq!(*second.await.unwrap().unwrap(), "new");
    beside.answers("old");
    assert_eq!(*first.await.unwrap().unwrap(), "old");
}

#[tokio::test]
async fn an_invalidation_beside_a_guard_leaves_it_open() {
    let fleet = Fleet::new().await;
    let guard = texts(&fleet.one).guard("k").await.unwrap();
    texts(&fleet.other).invalidate("k").await.unwrap();
    assert_eq!(read(&fleet.other).await.1, Origin::Loaded);
    assert_eq!(texts(&fleet.other).get("k").await.unwrap().as_deref(), None);
    guard.end().await.unwrap();
}

#[tokio::test]
async fn a_put_and_a_lease_beside_a_guard_keep_nothing() {
    let fleet = Fleet::new().await;
    let (cache, guard) = (texts(&fleet.other), texts(&fleet.one).guard("k").await.unwrap());
    assert_eq!(cache.put("k", "put".to_owned()).await.unwrap(), Stored::Refused);
    let Leased::Held(lease) = cache.lease("k").await.unwrap() else { panic!("nothing is there") };
    assert!(!lease.is_held());
    assert_eq!(lease.store("stored".to_owned()).await, Stored::Refused);
    guard.end().await.unwrap();
    assert_eq!(cache.put("k", "put".to_owned()).await.unwrap(), Stored::Stored);
}

/// It commits, and is killed before it can invalidate: what was there went when the guard was opened, and
/// nothing is kept until its time is over.
#[tokio::test]
async fn a_writer_that_is_killed_after_its_commit_leaves_nothing_stale() {
    let fleet = Fleet::new().await;
    for world in fleet.both() {
        read(world).await;
    }
    let mut writer = Process::start(&fleet.server.url());
    assert_eq!(writer.ask("guard k 1500"), "open");
    // Between the two everybody loads what is not committed yet, and nobody keeps it.
    for world in fleet.both() {
        world.larder.sync().await.unwrap();
        assert_eq!(read(world).await, ("old".to_owned(), Origin::Loaded));
    }
    fleet.one.source.set("k", "new"); // its commit
    writer.kill();
    for world in fleet.both() {
        assert_eq!(read(world).await.0, "new");
    }
    until("its end", async || read(&fleet.one).await.1 != Origin::Loaded).await;
    assert_eq!(read(&fleet.other).await.0, "new");
}

/// A request was cancelled between its commit and its end.
#[tokio::test]
async fn a_guard_that_is_dropped_is_ended() {
    let fleet = Fleet::new().await;
    drop(texts(&fleet.one).guard("k").await.unwrap());
    let cache = texts(&fleet.one);
    until("its end", async || cache.put("k", "put".to_owned()).await.unwrap() == Stored::Stored)
        .await;
}

/// Far does not answer: the writer is told, commits all the same, and its invalidation is queued.
#[tokio::test]
async fn without_far_a_guard_is_an_error_and_leaves_nothing_behind() {
    let (mut server, source) = (Server::start(), Source::default());
    let builder = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
    let world = World::of(builder, &source).await;
    source.set("k", "old");
    server.kill();
    until("the news", async || !world.larder.is_far_up()).await;
    let error = soon("an error", texts(&world).guard("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Far);
    assert!(error.to_string().contains("invalidate all the same"), "{error}");
    server.start_again();
    until("a connection", async || world.larder.is_far_up()).await;
    let cache = texts(&world);
    until("a cache that keeps", async || {
        matches!(cache.put("k", "put".to_owned()).await, Ok(Stored::Stored))
    })
    .await;
    assert!(world.larder.stats().unconfirmed_waiting == 0, "nothing was sent, so nothing waits");
}

/// A guard's end was done, and its answer lost: it waits to be sent again, and would end what was put since.
#[tokio::test]
async fn a_put_outlives_a_guard_s_end_that_waits_to_be_sent_again() {
    let server = Server::start();
    let wire = Proxy::to(&server);
    let builder = Larder::builder("test").redis(wire.url()).far_deadline(PATIENT);
    let larder = builder.invalidate_deadline(SECOND / 2).open().await.unwrap();
    let cache: Cache<str, String> = larder.cache("texts").shared().unwrap();
    let guard = cache.guard("k").await.unwrap();
    wire.hold(1);
    assert_eq!(guard.end().await.unwrap_err().kind(), ErrorKind::Unconfirmed);
    wire.let_go();
    until("the put", async || matches!(cache.put("k", "put".to_owned()).await, Ok(Stored::Stored)))
        .await;
    until("the queue to be empty", async || larder.stats().unconfirmed_waiting == 0).await;
    larder.sync().await.unwrap();
    assert_eq!(cache.get("k").await.unwrap().as_deref(), Some(&"put".to_owned()));
}
