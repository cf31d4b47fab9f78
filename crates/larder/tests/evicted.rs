//! Redis forgets what it likes: a value, a lease or a tag may be evicted at any point of a load. Never is anything
//! stale served, nobody waits in vain, and loads stay few.
//!
//! Here each is taken away by hand at one point after another; under real eviction and load it is in `history.rs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::time::Duration;

use larder::{Cache, Lifetime, Loaded, MINUTE, Origin, Stored};
use support::{Server, World, reading_of, stepped, until};

const V: &str = "test:words:1:v:{.1.k}";
const L: &str = "test:words:1:l:{.1.k}";
const T: &str = "test:t:{.list}";

/// What is lost, and whether anything was there to lose.
const LOSSES: [&[&str]; 5] = [&[V], &[L], &[T], &[L, T], &[V, L, T]];

fn lose(server: &Server, names: &[&str]) {
    let _: i64 = server.ask(&format!("DEL {}", names.join(" ")));
}

/// Two processes with one source.
async fn fleet(server: &Server) -> (World, World) {
    let here = World::on(&server.url()).await;
    let there = World::beside(&server.url(), &here.source).await;
    (here, there)
}

async fn heard_of(world: &World) {
    world.larder.sync().await.unwrap();
}

/// Both read `value` until it is near in both; says how many loads that took.
async fn settles(worlds: [&World; 2], value: &str) -> usize {
    let before = worlds[0].source.loads();
    for world in worlds {
        until("it is near", || async {
            let entry = world.read_tagged("k", "list").await.unwrap();
            assert_eq!(*entry, value);
            entry.origin() == Origin::Near
        })
        .await;
    }
    worlds[0].source.loads() - before
}

/// Before the load: whatever is gone, the next read answers, and one load fills both processes again.
#[tokio::test]
async fn what_is_lost_at_rest_is_loaded_once() {
    for lost in LOSSES {
        let server = Server::start();
        let (here, there) = fleet(&server).await;
        here.source.set("k", "one");
        assert_eq!(settles([&here, &there], "one").await, 1);
        lose(&server, lost);
        heard_of(&here).await;
        heard_of(&there).await;
        let gone = lost.contains(&V) || lost.contains(&T);
        here.source.set("k", "two");
        let value = if gone { "two" } else { "one" };
        let loads = settles([&there, &here], value).await;
        assert_eq!(loads, usize::from(gone), "{lost:?}");
        here.larder.invalidate_tag("list").await.unwrap();
        heard_of(&there).await;
        assert!(there.words.tagged(["list"]).get("k").await.unwrap().is_none(), "{lost:?}");
    }
}

/// While the loader runs, with one waiting beside it and one elsewhere, and an end of the entry after the loss: the
/// overtaken value goes to the one who led, and to nobody else, now or later.
#[tokio::test]
async fn what_is_lost_under_a_load_brings_no_overtaken_value_back() {
    for lost in LOSSES {
        for by in ["key", "tag"] {
            for end_first in [true, false] {
                let server = Server::start();
                let (here, there) = fleet(&server).await;
                let (mut step, load) = stepped();
                let words = here.words.tagged(["list"]);
                let leading = reading_of(&words, "k", load);
                step.begins().await;
                here.source.set("k", "new");
                let boarded = here.reading_tagged("k", "list");
                let waiting = there.reading_tagged("k", "list");
                there.ear.hears("Wait", 1).await;
                if !end_first {
                    lose(&server, lost);
                }
                match by {
                    "key" => there.words.invalidate("k").await.unwrap(),
                    _ => there.larder.invalidate_tag("list").await.unwrap(),
                }
                if end_first {
                    lose(&server, lost);
                }
                heard_of(&here).await;
                step.answers("old");
                let scene = format!("{lost:?}, ended by {by}, first: {end_first}");
                assert_eq!(*leading.await.unwrap().unwrap(), "old", "{scene}");
                for read in [boarded, waiting] {
                    let read = support::soon(&scene, read).await.unwrap().unwrap();
                    assert_eq!(*read, "new", "{scene}");
                }
                settles([&here, &there], "new").await;
                let loads = here.source.loads();
                assert!(loads <= 4, "{loads} loads: {scene}");
                until("no lease is left", || async { !server.keys().iter().any(|key| key == L) })
                    .await;
            }
        }
    }
}

/// The same with no end of the entry: everyone is answered, at most one load takes the place of the one whose lease
/// was lost, and what is stored then is good.
#[tokio::test]
async fn what_is_lost_under_a_load_strands_nobody() {
    for lost in LOSSES {
        let server = Server::start();
        let (here, there) = fleet(&server).await;
        here.source.set("k", "v");
        let (mut step, load) = stepped();
        let words = here.words.tagged(["list"]);
        let leading = reading_of(&words, "k", load);
        step.begins().await;
        let boarded: Vec<_> = (0..5).map(|_| here.reading_tagged("k", "list")).collect();
        let waiting: Vec<_> = (0..5).map(|_| there.reading_tagged("k", "list")).collect();
        there.ear.hears("Wait", 1).await;
        lose(&server, lost);
        if lost.contains(&L) {
            // They are told, and one of them loads without waiting for the first to end.
            for read in waiting {
                assert_eq!(*support::soon("an answer", read).await.unwrap().unwrap(), "v");
            }
            step.answers("v");
        } else {
            step.answers("v");
            for read in waiting {
                assert_eq!(*support::soon("an answer", read).await.unwrap().unwrap(), "v");
            }
        }
        for read in boarded.into_iter().chain([leading]) {
            assert_eq!(*support::soon("an answer", read).await.unwrap().unwrap(), "v");
        }
        assert_eq!(there.ear.count("by: Timer"), 0, "{lost:?}: nobody waited for a time-out");
        settles([&here, &there], "v").await;
        let loads = here.source.loads();
        assert!(loads <= 2, "{loads} loads beside the first: {lost:?}");
    }
}

/// The tag is lost while a load is under way that created it, prolongs it or learns it: what is stored under its old
/// generation is served to nobody, the next load is good, and ends with its tag.
#[tokio::test]
async fn a_tag_that_is_lost_while_it_is_made_ready_is_made_anew() {
    for how in ["created", "prolonged", "learned"] {
        for again in [false, true] {
            let server = Server::start();
            let (here, there) = fleet(&server).await;
            let hour = Lifetime::fresh_for(60 * MINUTE).jitter(0.0);
            let open = |world: &World| -> Cache<str, String> {
                world.larder.cache("long").lifetime(hour).shared().unwrap()
            };
            let (long, far) = (open(&here), open(&there));
            if how != "created" {
                // Short-lived: the next one needs it for longer.
                here.source.set("short", "v");
                here.read_tagged("short", "list").await.unwrap();
            }
            let carries = |cache: &Cache<str, String>| match how {
                "learned" => cache.clone(),
                _ => cache.tagged(["list"]),
            };
            let loaded = move |value: &str| {
                let loaded = Loaded::new(value.to_owned());
                if how == "learned" { loaded.tag("list") } else { loaded }
            };
            let (mut step, load) = stepped();
            let loading =
                reading_of(
                    &carries(&long),
                    "k",
                    async move { load.await.map(|value| loaded(&value)) },
                );
            step.begins().await;
            lose(&server, &[T]);
            if again {
                // Somebody else makes it anew meanwhile: another generation.
                there.source.set("other", "v");
                there.read_tagged("other", "list").await.unwrap();
            }
            step.answers("first");
            assert_eq!(*loading.await.unwrap().unwrap(), "first");
            let scene = format!("{how}, made anew elsewhere: {again}");
            let next = move || async move { Ok::<_, std::io::Error>(loaded("next")) };
            until("it is near, of a load after the loss", || async {
                let entry = carries(&long).get_or_load("k", next).await.unwrap();
                assert_eq!(*entry, "next", "{scene}");
                entry.origin() == Origin::Near
            })
            .await;
            let found = carries(&far).get("k").await.unwrap().unwrap();
            assert_eq!((found.as_str(), found.origin()), ("next", Origin::Far), "{scene}");
            let (tag, value): (i64, i64) =
                (server.ask(&format!("PTTL {T}")), server.ask("PTTL test:long:1:v:{.1.k}"));
            assert!(tag > value, "{scene}: a tag outlives its members: {tag} ms, {value} ms");
            there.larder.invalidate_tag("list").await.unwrap();
            heard_of(&here).await;
            assert!(carries(&long).get("k").await.unwrap().is_none(), "{scene}");
            assert!(carries(&far).get("k").await.unwrap().is_none(), "{scene}");
        }
    }
}

/// A lease by hand whose record is lost stores nothing, and neither does it stand in the way of the next.
#[tokio::test]
async fn a_lease_by_hand_that_is_lost_stores_nothing() {
    for lost in LOSSES {
        let server = Server::start();
        let (here, there) = fleet(&server).await;
        let words = here.words.tagged(["list"]);
        let larder::Leased::Held(lease) = words.lease("k").await.unwrap() else {
            panic!("nothing is there yet")
        };
        lose(&server, lost);
        here.source.set("k", "new");
        if lost.contains(&L) {
            assert_eq!(*there.read_tagged("k", "list").await.unwrap(), "new");
        }
        heard_of(&here).await;
        let stored = lease.store("old".to_owned()).await;
        let good = !lost.contains(&L) && !lost.contains(&T);
        assert_eq!(stored == Stored::Stored, good, "{lost:?}");
        settles([&here, &there], if good { "old" } else { "new" }).await;
    }
}

/// The loader outlives its lease, which is lost between two renewals: the renewal finds nobody's lease, and whoever
/// comes then loads anew instead of boarding it.
#[tokio::test]
async fn a_renewal_does_not_revive_a_lease_that_is_lost() {
    let server = Server::start();
    let source = support::Source::default();
    let builder = larder::Larder::builder("test").redis(server.url());
    let builder = builder.far_deadline(support::PATIENT).lease_time(Duration::from_millis(300));
    let here = World::of(builder, &source).await;
    let (mut step, load) = stepped();
    let leading = here.reading_by("k", load);
    step.begins().await;
    let renewed = server.calls("pexpire");
    lose(&server, &[L]);
    let asked = server.calls("evalsha");
    until("it is to be renewed", || async { server.calls("evalsha") > asked }).await;
    heard_of(&here).await;
    assert_eq!(server.calls("pexpire"), renewed, "there was nothing to renew");
    source.set("k", "new");
    until("nobody boards it any more", || async {
        let read = tokio::time::timeout(Duration::from_millis(50), here.read("k")).await;
        read.is_ok_and(|read| *read.unwrap() == "new")
    })
    .await;
    step.answers("old");
    assert_eq!(*leading.await.unwrap().unwrap(), "old");
    assert_eq!(*here.read("k").await.unwrap(), "new");
}
