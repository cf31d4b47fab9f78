//! One side is stopped and the connection stays open (SIGSTOP): nobody is served beyond the bound B, nobody
//! waits for good, and once it goes on all is coherent again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::{ErrorKind, Larder, Origin};
use support::{Process, Server, Source, Versions, World, stepped, until};

const BOUND: Duration = Duration::from_millis(400);

#[test]
fn other_process() {
    support::process::obey();
}

async fn impatient(server: &Server) -> World {
    let builder = Larder::builder("test").redis(server.url()).bound(BOUND);
    World::of(builder.far_deadline(Duration::from_millis(100)), &Source::default()).await
}

/// Two processes read and one of them writes while the server is stopped and goes on, three times. In the one that
/// wrote, nothing is served that it ended, confirmed or not; in the other nothing that was confirmed longer
/// than B ago; after `sync` nothing that was confirmed at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_and_goes_on_leaves_nothing_stale() {
    let server = Server::start();
    let (here, there) = (impatient(&server).await, impatient(&server).await);
    let versions = Arc::new(Versions::default());
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = [&here, &there]
        .into_iter()
        .map(|world| {
            let (world, versions, done) = (world.clone(), versions.clone(), done.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    versions.read_within(&world, BOUND).await;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        })
        .collect();
    for round in 1..=3 {
        assert!(versions.write(&here, here.words.entry("k")).await.is_some());
        until("it is near in both", || async {
            versions.read(&here).await.1.origin() == Origin::Near
                && versions.read(&there).await.1.origin() == Origin::Near
        })
        .await;
        server.pause();
        let version = versions.commit();
        let ending = tokio::spawn({
            let words = here.words.clone();
            async move { words.invalidate("k").await }
        });
        until("the writer's own reads see it", || async {
            versions.read(&here).await.0 >= version
        })
        .await;
        for world in [&here, &there] {
            world.ear.hears("Disconnected", round).await;
            assert!(versions.read(world).await.0 >= version, "near is gone: the source was asked");
        }
        server.resume();
        // It may have been answered in time after all; both are true to the caller.
        let _ = ending.await.unwrap();
        for world in [&here, &there] {
            world.ear.hears("Connected { again: true }", round).await;
            until("far answers", || async { world.larder.sync().await.is_ok() }).await;
        }
        until("nothing waits", || async { here.larder.stats().unconfirmed_waiting == 0 }).await;
        there.larder.sync().await.unwrap();
        let (version, entry) = versions.read(&there).await;
        assert_eq!(version, versions.committed(), "{}", entry.origin());
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
}

/// The server is stopped while a load runs: its caller and whoever boarded get the value, the lease is nobody's when
/// the server goes on, and the next load is stored.
#[tokio::test]
async fn a_load_that_ends_while_the_server_is_stopped_is_handed_out() {
    let server = Server::start();
    let (here, there) = (impatient(&server).await, impatient(&server).await);
    let (mut step, load) = stepped();
    let reading = here.reading_by("k", load);
    step.begins().await;
    let boarding = here.reading("k");
    there.source.set("k", "two");
    let waiting = there.reading("k");
    there.ear.hears("Wait", 1).await;
    server.pause();
    step.answers("one");
    assert_eq!(*reading.await.unwrap().unwrap(), "one");
    assert_eq!(*support::soon("an answer", boarding).await.unwrap().unwrap(), "one");
    let waited = support::soon("an answer", waiting).await.unwrap().unwrap();
    assert!(["one", "two"].contains(&waited.as_str()));
    server.resume();
    for world in [&here, &there] {
        until("far answers", || async { world.larder.sync().await.is_ok() }).await;
    }
    // Stored after all, or given back: in either case nobody holds it.
    until("the lease has ended", || async { !server.keys().iter().any(|key| key.contains(":l:")) })
        .await;
    here.source.set("k", "two");
    until("it is near", || async { here.read("k").await.unwrap().origin() == Origin::Near }).await;
}

/// A process is stopped with an entry near, and the tag it carries ends elsewhere: its first answer after is not what it
/// held, whatever waits in its sockets.
#[tokio::test]
async fn the_first_read_of_a_process_that_was_stopped_is_not_what_it_held() {
    let server = Server::start();
    let here = World::on(&server.url()).await;
    let mut other = Process::start(&server.url());
    for (round, by) in ["key", "tag", "tag"].into_iter().enumerate() {
        let (old, new) = (format!("old{round}"), format!("new{round}"));
        let read = |value: &str| format!("read k {value} tag=list");
        assert_eq!(other.ask(&read(&old)), format!("{old} loaded"));
        assert_eq!(other.ask(&read("not-asked")), format!("{old} near"));
        other.pause();
        match by {
            "key" => here.words.invalidate("k").await.unwrap(),
            _ => here.larder.invalidate_tag("list").await.unwrap(),
        }
        here.larder.settled().await;
        other.say(&read(&new));
        other.resume();
        let answer = other.answer();
        assert!(answer.starts_with(&format!("{new} ")), "{answer}");
        here.words.invalidate("k").await.unwrap();
        // It dials anew first.
        let deadline = std::time::Instant::now() + support::NEVER;
        while other.ask("sync") != "ok" {
            assert!(std::time::Instant::now() < deadline, "it never came back");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Stopped for good from larder's point of view: ends are `Unconfirmed` each time, and `close` says how many are left.
#[tokio::test]
async fn what_a_stopped_server_was_not_told_is_counted() {
    let server = Server::start();
    let builder = Larder::builder("test").redis(server.url()).bound(BOUND);
    let deadline = Duration::from_millis(100);
    let larder = builder.invalidate_deadline(deadline).open().await.unwrap();
    let words: larder::Cache<str, String> = larder.cache("words").shared().unwrap();
    server.pause();
    for key in ["a", "b", "a"] {
        let error = words.invalidate(key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unconfirmed, "{error}");
    }
    assert_eq!(larder.stats().unconfirmed_waiting, 2);
    server.resume();
    until("they are confirmed", || async { larder.stats().unconfirmed_waiting == 0 }).await;
    assert_eq!(larder.close(support::NEVER).await, 0);
}
