//! What a cache written by hand gets wrong, and that it is not so here: a test for each.
//!
//! Races of a load with an invalidation are in `stale_set.rs`, an absent Redis in `outage.rs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::time::Duration;

use larder::{Cache, Larder, Lifetime, Origin, UserCache};
use support::{PATIENT, Process, Server, Source, World, stepped, until};

#[test]
fn other_process() {
    support::process::obey();
}

async fn load(value: &'static str) -> Result<String, std::io::Error> {
    Ok(value.to_owned())
}

/// The mistake: pages of a list are cached under keys nobody remembers, so that a new row shows on some of
/// them after their TTL. Here every entry of a user carries his tag, and there is no way around it.
#[tokio::test]
async fn no_page_of_a_list_is_forgotten() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let pages: UserCache<(u32, String), String> = world.larder.cache("pages").per_user().unwrap();
    let page = |n: u32, filter: &str| (n, filter.to_owned());
    let shown = [page(1, ""), page(2, ""), page(1, "open"), page(9, "done")];
    for page in &shown {
        pages.of("ada").get_or_load(page, || load("before")).await.unwrap();
    }
    pages.of("ada").put(&page(3, ""), "before".to_owned()).await.unwrap();
    world.larder.invalidate([pages.of("ada").all()]).await.unwrap();
    for page in shown.iter().chain([&page(3, "")]) {
        assert!(pages.of("ada").get(page).await.unwrap().is_none(), "{page:?}");
    }
}

/// The mistake: an update writes the new value into the cache. Two updates commit in one order and write in the
/// other, and the older value stays. Here an update ends the entry, in whatever order.
#[tokio::test]
async fn two_updates_that_cross_leave_no_older_value() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    here.source.set("k", "first"); // the first commit
    here.source.set("k", "second"); // the second one, of the other process
    there.words.invalidate("k").await.unwrap(); // and the second's end comes first
    assert_eq!(*here.read("k").await.unwrap(), "second");
    here.words.invalidate("k").await.unwrap();
    assert_eq!(*here.read("k").await.unwrap(), "second");
}

/// The mistake: a lock is deleted by whoever thinks it is still his. Here a load that comes back after its lease
/// ran out leaves the lease of its successor alone.
#[tokio::test]
async fn a_lease_is_not_ended_by_one_who_no_longer_holds_it() {
    let server = Server::start();
    let mut late = Process::start(&server.url());
    let here = World::on(&server.url()).await;
    late.say("read k late takes=200");
    until("the lease of the other process", || async { !server.keys().is_empty() }).await;
    late.pause();
    let (mut step, loading) = stepped();
    let reading = here.reading_by("k", loading);
    step.begins().await; // the lease ran out, and is ours
    let ours: Vec<u8> = server.ask("GET test:words:1:l:{.1.k}");
    late.resume();
    assert_eq!(late.answer(), "late loaded");
    let still: Vec<u8> = server.ask("GET test:words:1:l:{.1.k}");
    assert_eq!(ours, still);
    step.answers("in time");
    assert_eq!(*reading.await.unwrap().unwrap(), "in time");
    assert_eq!(here.has("k").await, "in time near", "and it was good for the store");
}

/// The mistake: whoever does not get the lock or an answer tries again, for ever. Here what cannot be had is
/// given up: the source is asked.
#[tokio::test]
async fn nobody_tries_without_end() {
    let server = Server::start();
    let builder = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
    let builder = builder.lease_time(Duration::from_millis(200));
    let world = World::of(builder, &Source::default()).await;
    let words: Cache<str, String> =
        world.larder.cache("short").max_load(Duration::from_millis(200)).shared().unwrap();
    // Held by nobody, for ten minutes.
    let record = format!("SET test:short:1:l:{{.1.k}} T{} PX 600000", "x".repeat(16));
    let _: String = server.ask(&record);
    let entry = words.get_or_load("k", || load("asked all the same")).await.unwrap();
    assert_eq!(*entry, "asked all the same");
    assert!(words.stats().waits < 10, "{:?}", words.stats());
    // And one that would never run out is no lease.
    let _: i64 = server.ask("PERSIST test:short:1:l:{.1.k}");
    words.get_or_load("k", || load("v")).await.unwrap();
    assert_eq!(words.get("k").await.unwrap().unwrap().origin(), Origin::Near);
}

/// The mistake: "there is none" is cached as a null, a null is taken for a miss, and every request for what is
/// not there goes to the database. (Or it is taken for a value.)
#[tokio::test]
async fn a_cached_none_is_neither_a_miss_nor_a_value() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let none = || async { Ok::<Option<String>, std::io::Error>(None) };
    assert!(here.words.find_or_load("k", none).await.unwrap().is_none());
    let found = there.words.look_up("k", none).await.unwrap();
    assert_eq!((found.entry.is_none(), found.origin), (true, Origin::Far));
    assert_eq!(there.words.stats().loads, 0);
    assert_eq!((there.words.stats().hits_far, there.words.stats().misses), (1, 0));
    // And a null that is a value stays one.
    let nulls: Cache<str, Option<String>> = here.larder.cache("nulls").shared().unwrap();
    let null = || async { Ok::<Option<String>, std::io::Error>(None) };
    assert_eq!(*nulls.get_or_load("k", null).await.unwrap(), None);
    assert_eq!(nulls.get("k").await.unwrap().map(|entry| entry.is_none()), Some(true));
}

/// The mistake: the set of a tag's members outlives the members, and grows for ever. Here a tag is one key of a
/// fixed size, and ends.
#[tokio::test]
async fn a_tag_does_not_grow_with_its_members() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let brief = Lifetime::fresh_for(Duration::from_millis(20));
    let words: Cache<u32, String> = world
        .larder
        .cache("brief")
        .lifetime(brief)
        .max_load(Duration::from_millis(200))
        .tagged_by(|_: &u32| ["list"])
        .shared()
        .unwrap();
    words.get_or_load(&0, || load("v")).await.unwrap();
    let size = || server.ask::<u64>("MEMORY USAGE test:t:{.list}");
    let before = size();
    for n in 1..200 {
        words.get_or_load(&n, || load("v")).await.unwrap();
    }
    assert_eq!(size(), before);
    assert!(before <= 150, "{before} bytes");
    until("the tag has ended with its members", || async { server.keys().is_empty() }).await;
}

/// The mistake: the tag's key gets the TTL of whoever stored last, and ends before the entries it should end.
#[tokio::test]
async fn a_short_lived_member_does_not_take_the_tag_with_it() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let cache = |name: &str, time: Duration| -> Cache<u32, String> {
        let builder = world.larder.cache(name).max_load(Duration::from_millis(20));
        let lifetime = Lifetime::fresh_for(time).jitter(0.0);
        builder.lifetime(lifetime).tagged_by(|_: &u32| ["list"]).shared().unwrap()
    };
    let (long, short) = (cache("long", larder::HOUR), cache("short", Duration::from_millis(20)));
    long.get_or_load(&1, || load("v")).await.unwrap();
    short.get_or_load(&1, || load("v")).await.unwrap();
    until("the short-lived one has ended", || async { short.get(&1).await.unwrap().is_none() })
        .await;
    let other = World::on(&server.url()).await;
    let again: Cache<u32, String> =
        other.larder.cache("long").tagged_by(|_: &u32| ["list"]).shared().unwrap();
    assert_eq!(again.get(&1).await.unwrap().unwrap().origin(), Origin::Far);
}

/// The mistake: an entry is cached under the row's id, and whoever names the id gets it. Here a cache of users has
/// no other door than a user's.
#[tokio::test]
async fn an_entry_of_a_user_is_not_found_by_its_id_alone() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let tasks: UserCache<u32, String> = world.larder.cache("tasks").per_user().unwrap();
    tasks.of("ada").get_or_load(&17, || load("of ada")).await.unwrap();
    let grace = tasks.of("grace");
    let none = || async { Ok::<_, std::io::Error>(None) };
    assert!(grace.find_or_load(&17, none).await.unwrap().is_none());
    for key in server.keys().iter().filter(|key| key.contains(":v:")) {
        assert!(key.contains("ada") || key.contains("grace"), "{key} names no user");
    }
}
