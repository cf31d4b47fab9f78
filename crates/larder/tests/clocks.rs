//! The clocks of machines differ, and jump: how fresh an entry is may shift by that, and what was ended is served to
//! nobody all the same.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::time::Duration;

use larder::{Cache, Clock, HOUR, Larder, Lifetime, MINUTE, Origin};
use support::{PATIENT, Proxy, Server, Source, World, until};

const DAY: i64 = 24 * 60 * 60;
const BOUND: Duration = Duration::from_millis(200);

fn texts(world: &World) -> Cache<str, String> {
    let lifetime = Lifetime::fresh_for(MINUTE).stale_for(HOUR).jitter(0.0);
    let cache = world.larder.cache("texts").lifetime(lifetime);
    cache.tagged_by(|_: &str| ["list"]).shared().unwrap()
}

async fn read(texts: &Cache<str, String>, source: &Source) -> larder::Entry<String> {
    let loading = source.load("k");
    texts.get_or_load("k", move || loading).await.unwrap()
}

/// What one process stores is stamped by a server clock that is days off, and another reads it by the right one: it is
/// taken for due, and refreshed or loaded anew. And whatever either of them ends, by key or by tag, is ended for both.
#[tokio::test]
async fn a_servers_clock_that_jumps_brings_nothing_back() {
    let server = Server::start();
    let wire = Proxy::to(&server);
    let source = Source::default();
    let builder = Larder::builder("test").redis(wire.url()).bound(BOUND).far_deadline(PATIENT);
    let here = World::of(builder, &source).await;
    let there = World::beside(&server.url(), &source).await;
    let (ours, theirs) = (texts(&here), texts(&there));
    let mut version = 0;
    for ahead in [DAY, -DAY, 5, 0, -5, 20_000 * DAY, 0] {
        wire.clock_is_ahead(ahead);
        here.larder.settled().await; // heartbeats have told of it
        for end in 0..4 {
            version += 1;
            source.set("k", &version.to_string());
            match end {
                0 => ours.invalidate("k").await.unwrap(),
                1 => theirs.invalidate("k").await.unwrap(),
                2 => here.larder.invalidate_tag("list").await.unwrap(),
                _ => there.larder.invalidate_tag("list").await.unwrap(),
            }
            for world in [&here, &there] {
                world.larder.sync().await.unwrap();
            }
            let due = || theirs.stats().hits_stale + theirs.stats().loads;
            let before = due();
            for texts in [&ours, &theirs, &ours, &theirs] {
                let entry = read(texts, &source).await;
                assert_eq!(*entry, version.to_string(), "{ahead} s ahead, end {end}");
            }
            if ahead.abs() >= DAY {
                assert!(due() > before, "{ahead} s ahead: what ours stored did not look it");
            }
        }
    }
    until("it is near, and fresh", || async {
        let (ours, theirs) = (read(&ours, &source).await, read(&theirs, &source).await);
        let is_well =
            |entry: &larder::Entry<String>| entry.origin() == Origin::Near && !entry.is_stale();
        is_well(&ours) && is_well(&theirs)
    })
    .await;
}

/// Two machines that were started at different times: neither clock is ever held against the other.
#[tokio::test]
async fn processes_whose_clocks_began_apart_agree() {
    let server = Server::start();
    let source = Source::default();
    let builder = || Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
    let here = World::of(builder().clock(Clock::of_runtime(3)), &source).await;
    let there = World::of(builder(), &source).await;
    let (ours, theirs) = (texts(&here), texts(&there));
    for version in ["one", "two", "three"] {
        source.set("k", version);
        ours.invalidate("k").await.unwrap();
        there.larder.sync().await.unwrap();
        let entry = read(&ours, &source).await;
        assert!(*entry == version && !entry.is_stale());
        let entry = read(&theirs, &source).await;
        assert!(*entry == version && !entry.is_stale() && entry.age() < MINUTE);
    }
    assert_eq!((source.loads(), theirs.stats().hits_stale), (3, 0));
}
