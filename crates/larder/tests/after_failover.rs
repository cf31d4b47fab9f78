//! Another Redis process answers: restarted from a snapshot, or a replica that took over. What it says of
//! the time before is not believed, unless the service chose to.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use larder::{AfterFailover, Larder, LarderBuilder, Origin, SharedMemory};
use support::{PATIENT, Server, Source, World, until};

fn builder(server: &Server, choice: AfterFailover) -> LarderBuilder {
    Larder::builder("test").redis(server.url()).far_deadline(PATIENT).after_failover(choice)
}

/// Of this key, under its tag: what a call that may load got, and where it was.
async fn read(world: &World, key: &str) -> (String, Origin) {
    let entry = world.read_tagged(key, "list").await.unwrap();
    (entry.to_string(), entry.origin())
}

/// The server with what it held at its last SAVE, and the process connected to it again.
async fn back_to_snapshot(server: &mut Server, world: &World) {
    let before = world.larder.stats().reconnects;
    server.start_again();
    until("a connection", async || world.larder.stats().reconnects > before).await;
    until("one that ends", async || world.words.invalidate("other").await.is_ok()).await;
}

/// `a` was changed and invalidated after the snapshot, `b` under a tag that ended after it; `c` was left
/// alone.
async fn three_stories(server: &Server, world: &World) {
    for key in ["a", "b", "c"] {
        world.source.set(key, "old");
        read(world, key).await;
    }
    let _: String = server.ask("SAVE");
    world.source.set("a", "new");
    world.words.invalidate("a").await.unwrap();
}

#[tokio::test]
async fn what_was_ended_after_a_snapshot_does_not_come_back_with_it() {
    let mut server = Server::start();
    let world = World::of(builder(&server, AfterFailover::Distrust), &Source::default()).await;
    three_stories(&server, &world).await;
    back_to_snapshot(&mut server, &world).await;
    assert_eq!(world.words.get("a").await.unwrap().as_deref(), None);
    assert_eq!(read(&world, "a").await, ("new".to_owned(), Origin::Loaded));
    // Nobody can say of `c` that it was left alone: it is loaded as well, once.
    let loads = world.source.loads();
    let other = World::of(builder(&server, AfterFailover::Distrust), &world.source).await;
    assert_eq!(read(&world, "c").await, ("old".to_owned(), Origin::Loaded));
    assert_eq!(read(&other, "c").await, ("old".to_owned(), Origin::Far));
    assert_eq!(world.source.loads() - loads, 1);
}

/// A tag's end was lost with the old process. The generation that came back is no proof, also for an entry
/// that the new process was given.
#[tokio::test]
async fn a_generation_from_a_snapshot_is_not_the_one_it_was() {
    let mut server = Server::start();
    let world = World::of(builder(&server, AfterFailover::Distrust), &Source::default()).await;
    three_stories(&server, &world).await;
    world.source.set("b", "new");
    world.larder.invalidate_tag("list").await.unwrap();
    back_to_snapshot(&mut server, &world).await;
    assert_eq!(read(&world, "b").await, ("new".to_owned(), Origin::Loaded));
    assert_eq!(
        world.words.tagged(["list"]).get("b").await.unwrap().as_deref(),
        Some(&"new".into())
    );
    world.larder.invalidate_tag("list").await.unwrap();
    world.source.set("b", "newer");
    assert_eq!(read(&world, "b").await, ("newer".to_owned(), Origin::Loaded));
}

/// Warm after a restart, and what this process ended in the last minute is ended again.
#[tokio::test]
async fn where_it_is_accepted_the_cache_is_warm_and_our_latest_ends_are_sent_again() {
    let mut server = Server::start();
    let world = World::of(builder(&server, AfterFailover::Accept), &Source::default()).await;
    three_stories(&server, &world).await;
    back_to_snapshot(&mut server, &world).await;
    until("the replay", async || {
        world.larder.stats().unconfirmed_waiting == 0
            && world.words.get("a").await.unwrap().as_deref().is_none()
    })
    .await;
    assert_eq!(read(&world, "a").await, ("new".to_owned(), Origin::Loaded));
    assert_eq!(read(&world, "c").await, ("old".to_owned(), Origin::Far));
}

/// The same process after a mere loss of the connection: nothing is cold.
#[tokio::test]
async fn a_connection_that_was_lost_and_made_again_is_to_the_same_process() {
    let server = Server::start();
    let world = World::of(builder(&server, AfterFailover::Distrust), &Source::default()).await;
    three_stories(&server, &world).await;
    server.hangs_up();
    until("a connection", async || world.larder.stats().reconnects > 0).await;
    until("an answer", async || world.larder.sync().await.is_ok()).await;
    assert_eq!(read(&world, "c").await, ("old".to_owned(), Origin::Far));
}

/// On the embedded side, where a failover happens between two calls.
#[tokio::test(start_paused = true)]
async fn no_entry_and_no_tag_outlives_the_process_that_told_of_it() {
    let memory = SharedMemory::new(1 << 20, larder::Clock::of_runtime(7));
    let source = Source::default();
    let open = async || World::of(Larder::builder("test").shared_memory(&memory), &source).await;
    memory.fails_over(1);
    let (one, other) = (open().await, open().await);
    source.set("k", "old");
    assert_eq!(read(&one, "k").await.1, Origin::Loaded);
    assert_eq!(read(&other, "k").await.1, Origin::Far);
    memory.fails_over(2);
    let third = open().await;
    source.set("k", "new");
    assert_eq!(read(&third, "k").await, ("new".to_owned(), Origin::Loaded));
    let fourth = open().await;
    assert_eq!(read(&fourth, "k").await, ("new".to_owned(), Origin::Far));
}

/// A fails over to B, which lacks the latest end, and back: A then has B's data, in its own name.
///
/// It happened in traffic of several processes: entries that A had ended were served again, since their
/// envelopes named A's process, and so did every answer. A process that was a replica in between calls the
/// history of its data by another name (`master_replid`), and counts as another.
#[tokio::test]
async fn a_server_that_was_a_replica_in_between_is_not_believed_either() {
    let (a, b) = (Server::start(), Server::start());
    let world = World::of(builder(&a, AfterFailover::Distrust), &Source::default()).await;
    let _: String = b.ask(&format!("REPLICAOF 127.0.0.1 {}", a.port()));
    let (keys_of, synced) = (|server: &Server| server.keys().len(), "the replica to catch up");
    until("the first replica to be noticed", async || world.larder.stats().reconnects > 0).await;
    until("a connection", async || world.larder.sync().await.is_ok()).await;
    world.source.set("a", "old");
    assert_eq!(read(&world, "a").await.1, Origin::Loaded);
    until(synced, async || keys_of(&b) == 2).await;
    let _: String = b.ask("REPLICAOF NO ONE");
    world.source.set("a", "new");
    world.words.invalidate("a").await.unwrap();
    let before = world.larder.stats().reconnects;
    let _: String = a.ask(&format!("REPLICAOF 127.0.0.1 {}", b.port()));
    until(synced, async || keys_of(&a) == 2).await;
    let _: String = a.ask("REPLICAOF NO ONE");
    until("a connection", async || world.larder.stats().reconnects > before).await;
    until("an answer", async || world.larder.sync().await.is_ok()).await;
    assert_eq!(world.words.get("a").await.unwrap().as_deref(), None);
    assert_eq!(read(&world, "a").await, ("new".to_owned(), Origin::Loaded));
}
