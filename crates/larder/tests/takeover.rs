//! A loader that dies is replaced, by one.

mod support;

use support::{Process, Server, World};

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
    let timers = here.ear.count("by: Timer") + there.ear.count("by: Timer");
    assert!(timers >= 1, "the lease ran out, and no push tells of that in time");
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
