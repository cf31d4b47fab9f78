//! Near is coherent, or it is not served.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::time::Duration;

use larder::{Larder, Origin};
use support::{PATIENT, Process, Proxy, Server, Source, World, until};

#[test]
fn other_process() {
    support::process::obey();
}

const V: &str = "test:words:1:v:{.1.k}";

/// A process with `k` near.
async fn with_k_near(server: &Server, value: &str) -> World {
    let world = World::on(&server.url()).await;
    world.source.set("k", value);
    world.read("k").await.unwrap();
    assert_eq!(world.has("k").await, format!("{value} near"));
    world
}

/// What is near at `world` after all that was acknowledged before.
async fn after_sync(world: &World) -> String {
    world.larder.sync().await.unwrap();
    world.has("k").await
}

#[tokio::test]
async fn an_invalidation_in_another_process_is_seen_here() {
    let server = Server::start();
    let world = with_k_near(&server, "one").await;
    let mut other = Process::start(&server.url());
    assert_eq!(other.ask("get k"), "one far");
    assert_eq!(other.ask("invalidate k"), "ok");
    assert_eq!(after_sync(&world).await, "nothing");
    assert_eq!(other.ask("read k two"), "two loaded");
    assert_eq!(after_sync(&world).await, "two far");
    world.words.invalidate("k").await.unwrap();
    assert_eq!(other.ask("sync"), "ok");
    assert_eq!(other.ask("get k"), "nothing");
}

#[tokio::test]
async fn after_settled_no_process_serves_the_old_value() {
    let server = Server::start();
    let world = with_k_near(&server, "one").await;
    let mut other = Process::start(&server.url());
    assert_eq!(other.ask("get k"), "one far");
    assert_eq!(other.ask("get k"), "one near");
    world.words.invalidate("k").await.unwrap();
    world.larder.settled().await;
    assert_eq!(other.ask("get k"), "nothing");
}

#[tokio::test]
async fn a_deletion_by_hand_is_seen_here() {
    let server = Server::start();
    let world = with_k_near(&server, "one").await;
    let _: i64 = server.ask(&format!("DEL {V}"));
    assert_eq!(after_sync(&world).await, "nothing");
}

/// NOLOOP: a write of our own on the tracked connection ends our tracking of the key, silently. After
/// each of them a foreign change must still be heard.
#[tokio::test]
async fn a_foreign_change_after_a_write_of_our_own_is_seen_here() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    for round in 0..3 {
        let value = format!("v{round}");
        world.source.set("k", &value);
        assert_eq!(world.read("k").await.unwrap().origin(), Origin::Loaded, "our own store");
        assert_eq!(world.has("k").await, format!("{value} near"));
        let _: i64 = server.ask(&format!("UNLINK {V}"));
        assert_eq!(after_sync(&world).await, "nothing");
    }
}

#[tokio::test]
async fn a_flush_of_the_whole_server_is_seen_here() {
    let server = Server::start();
    let world = with_k_near(&server, "one").await;
    world.read_tagged("t", "list").await.unwrap_err();
    let _: String = server.ask("FLUSHALL");
    assert_eq!(after_sync(&world).await, "nothing");
    world.source.set("k", "two");
    assert_eq!(*world.read("k").await.unwrap(), "two");
}

/// The connection is cut, and while it is gone the key changes: what was near is not believed any more.
#[tokio::test]
async fn what_was_near_goes_with_the_connection_that_answered_it() {
    let server = Server::start();
    let world = with_k_near(&server, "one").await;
    let mut client = server.client();
    let mut both = redis::pipe();
    both.cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
    both.cmd("DEL").arg(V);
    let (killed, deleted): (i64, i64) = both.query(&mut client).unwrap();
    assert_eq!((killed, deleted), (2, 1));
    world.ear.hears("Disconnected", 1).await;
    world.ear.hears("Connected { again: true }", 1).await;
    until("a far side that answers", || async { world.larder.sync().await.is_ok() }).await;
    assert_eq!(world.has("k").await, "nothing");
    world.source.set("k", "two");
    assert_eq!(*world.read("k").await.unwrap(), "two");
    until("near again", || async { world.read("k").await.unwrap().origin() == Origin::Near }).await;
    assert_eq!(world.larder.stats().reconnects, 1);
}

/// A server that says nothing any more (SIGSTOP; no connection breaks): near serves for the bound B at
/// most, and then the source is asked.
#[tokio::test]
async fn without_a_heartbeat_near_serves_no_longer_than_the_bound() {
    let server = Server::start();
    let source = Source::default();
    let builder = Larder::builder("test").redis(server.url()).bound(Duration::from_millis(400));
    let world = World::of(builder.far_deadline(PATIENT), &source).await;
    source.set("k", "one");
    world.read("k").await.unwrap();
    assert_eq!(world.has("k").await, "one near");
    server.pause();
    source.set("k", "two");
    world.ear.hears("Disconnected", 1).await;
    assert_eq!(*world.read("k").await.unwrap(), "two");
    server.resume();
    world.ear.hears("Connected { again: true }", 1).await;
}

/// Every message to us is swallowed, and nothing tells us so: near ends with the bound all the same.
#[tokio::test]
async fn when_every_push_is_lost_near_ends_with_the_bound() {
    let server = Server::start();
    let wire = Proxy::to(&server);
    let source = Source::default();
    let builder = Larder::builder("test").redis(wire.url()).bound(Duration::from_millis(400));
    let world = World::of(builder, &source).await;
    source.set("k", "one");
    world.read("k").await.unwrap();
    wire.hold(0);
    let _: i64 = server.ask(&format!("DEL {V}"));
    source.set("k", "two");
    world.larder.settled().await;
    assert_eq!(*world.read("k").await.unwrap(), "two");
    wire.let_go();
}

/// A process that was stopped for longer than B does not serve what it held, not even at once after.
#[tokio::test]
async fn a_process_that_was_stopped_fences_itself() {
    let server = Server::start();
    let here = World::on(&server.url()).await;
    let mut other = Process::start(&server.url());
    assert_eq!(other.ask("read k one"), "one loaded");
    assert_eq!(other.ask("get k"), "one near");
    other.pause();
    here.words.invalidate("k").await.unwrap();
    here.source.set("k", "two");
    assert_eq!(*here.read("k").await.unwrap(), "two");
    here.larder.settled().await;
    other.say("read k two");
    other.resume();
    let answer = other.answer();
    assert!(answer.starts_with("two "), "{answer}");
}

/// An entry of two tags; the end of either is heard, and a tag that is back is not the old one.
#[tokio::test]
async fn a_tag_that_ended_is_asked_for_anew() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let words = here.words.tagged(["a", "b"]);
    for (round, tag) in ["a", "b", "a"].into_iter().enumerate() {
        let value = format!("v{round}");
        let load = async move { Ok::<_, std::io::Error>(value) };
        let entry = words.get_or_load("k", move || load).await.unwrap();
        assert_eq!(
            (entry.as_str(), entry.origin()),
            (format!("v{round}").as_str(), Origin::Loaded)
        );
        assert_eq!(words.get("k").await.unwrap().unwrap().origin(), Origin::Near);
        there.larder.invalidate_tag(tag).await.unwrap();
        here.larder.sync().await.unwrap();
    }
    assert!(words.get("k").await.unwrap().is_none());
}
