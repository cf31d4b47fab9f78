//! A loader that dies is replaced, by one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use support::{Process, Server, World, reading_of};

#[test]
fn other_process() {
    support::process::obey();
}

/// `kill -9` in the middle of a load, with two processes waiting for it: one of them loads, once the
/// lease has run out, and the other is told.
#[tokio::test]
async fn when_a_loader_is_killed_one_of_those_who_wait_loads() {
    let server = Server::start();
    let mut loader = Process::start(&server.url());
    assert_eq!(loader.ask("hold k never"), "loading");
    let here = World::on(&server.url()).await;
    let there = World::beside(&server.url(), &here.source).await;
    here.source.set("k", "taken over");
    let reads: Vec<_> =
        [&here, &there, &here, &there].iter().map(|world| world.reading("k")).collect();
    here.ear.hears("Wait", 1).await;
    there.ear.hears("Wait", 1).await;
    loader.kill();
    for read in reads {
        assert_eq!(*read.await.unwrap().unwrap(), "taken over");
    }
    assert_eq!(here.source.loads(), 1);
    // Redis tells of a lease that ran out when it comes upon it, which may be late: they did not wait for that.
    let woken = here.ear.count("Woken") + there.ear.count("Woken");
    assert!(woken >= 2, "both waited");
}

/// The handle goes in an orderly way while it loads: its lease does not keep others waiting.
#[tokio::test]
async fn a_loader_that_is_dropped_gives_its_lease_back_at_once() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let (mut step, load) = support::stepped();
    let loading = here.reading_by("k", load);
    step.begins().await;
    there.source.set("k", "theirs");
    let reading = there.reading("k");
    there.ear.hears("Wait", 1).await;
    loading.abort();
    assert_eq!(*reading.await.unwrap().unwrap(), "theirs");
    assert_eq!(there.ear.count("by: Push"), 1);
    assert_eq!(there.ear.count("by: Timer"), 0);
}

/// The load fails elsewhere: those who wait get the error at once, and nobody asks again.
#[tokio::test]
async fn when_a_load_fails_elsewhere_those_who_wait_are_told() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let (mut step, load) = support::stepped();
    let loading = here.reading_by("k", load);
    step.begins().await;
    let reading = there.reading("k");
    there.ear.hears("Wait", 1).await;
    drop(step); // the load sees its hand gone, and fails
    assert_eq!(loading.await.unwrap().unwrap_err().kind(), larder::ErrorKind::Source);
    let error = reading.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), larder::ErrorKind::Source);
    assert!(error.to_string().contains("another process"), "{error}");
    assert_eq!(there.source.loads(), 0);
}

/// Far does not tell a process of what it does itself. A load of its own that another of its flights waits for,
/// and that ends without a store, is told of all the same: nobody waits for the lease to run out.
#[tokio::test]
async fn a_flight_that_waits_for_another_one_of_its_own_process_is_woken() {
    for ends in ["stores", "fails", "is dropped", "is too large"] {
        let server = Server::start();
        let world = World::on(&server.url()).await;
        let words: larder::Cache<str, String> = world
            .larder
            .cache("capped")
            .value_bytes_max(100)
            .backoff(std::time::Duration::ZERO)
            .shared()
            .unwrap();
        let (mut step, load) = support::stepped();
        let first = reading_of(&words, "k", load);
        step.begins().await;
        // It asks for a tag that the first load does not carry, and so has a flight of its own.
        let second = {
            let words = words.tagged(["list"]);
            let load = || async { Ok::<_, std::io::Error>("second".to_owned()) };
            tokio::spawn(async move { words.get_or_load("k", load).await })
        };
        world.ear.hears("Wait", 1).await;
        match ends {
            "stores" => step.answers("first"),
            "fails" => drop(step),
            "is dropped" => first.abort(),
            _ => step.answers(&"x".repeat(1000)),
        }
        assert_eq!(*second.await.unwrap().unwrap(), "second", "{ends}");
        assert_eq!(world.ear.count("by: Timer"), 0, "{ends}");
    }
}

/// The connection that the lease was asked for on is gone when the load ends: it is given back over the next.
#[tokio::test]
async fn a_lease_is_given_back_over_the_next_connection() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let (mut step, load) = support::stepped();
    let reading = world.reading_by("k", load);
    step.begins().await;
    let _: i64 = server.ask("CLIENT KILL TYPE normal SKIPME yes");
    world.ear.hears("Connected { again: true }", 1).await;
    support::until("far is back", || async { world.larder.sync().await.is_ok() }).await;
    step.answers("passing");
    assert_eq!(*reading.await.unwrap().unwrap(), "passing");
    world.source.set("k", "next");
    assert_eq!(*world.read("k").await.unwrap(), "next");
    assert_eq!(world.ear.count("by: Timer"), 0, "nobody waited for the lease to run out");
}

/// The answer that would have told of the lease never came, and the caller has gone: it is given back all the same.
#[tokio::test]
async fn a_lease_nobody_knows_to_be_theirs_is_given_back() {
    let server = Server::start();
    let wire = support::Proxy::to(&server);
    let builder = larder::Larder::builder("test").redis(wire.url()).bound(support::NEVER);
    let builder = builder.far_deadline(support::NEVER);
    let world = World::of(builder, &support::Source::default()).await;
    world.words.invalidate("k").await.unwrap(); // so that the lease is the first thing asked for
    world.larder.sync().await.unwrap();
    wire.hold(0);
    let reading = world.reading("k");
    support::until("the lease", || async { !server.keys().is_empty() }).await;
    reading.abort();
    support::until("it is given back", || async { server.keys().is_empty() }).await;
    wire.let_go();
}
