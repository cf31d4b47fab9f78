//! Stale entries: served at once while one loader refreshes them, standing in when the source fails, and
//! never once they were ended.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder::{
    Cache, Clock, Entry, Error, ErrorKind, HOUR, Larder, Leased, Lifetime, MINUTE, Origin, SECOND,
    SharedMemory, Stale, Stored,
};
use support::Server;
use support::{PATIENT, Source, World, reading_of, stepped, until};

const LIFETIME: Lifetime = Lifetime::fresh_for(MINUTE).stale_for(HOUR).jitter(0.0);
const BACKOFF: Duration = Duration::from_millis(100);

/// Two processes on one far side, in time that stands still.
struct Fleet {
    one: World,
    other: World,
    source: Source,
}

impl Fleet {
    async fn new() -> Fleet {
        let memory = SharedMemory::new(1 << 20, Clock::of_runtime(7));
        let source = Source::default();
        let open = async || {
            let builder = Larder::builder("test").shared_memory(&memory);
            World::of(builder, &source).await
        };
        Fleet { one: open().await, other: open().await, source }
    }

    /// With an entry `k` of both that is stale by now.
    async fn gone_stale(stale: Stale) -> (Fleet, Cache<str, String>, Cache<str, String>) {
        let fleet = Fleet::new().await;
        let (one, other) = (texts(&fleet.one, stale), texts(&fleet.other, stale));
        fleet.source.set("k", "old");
        read(&one, &fleet.source).await.unwrap();
        read(&other, &fleet.source).await.unwrap();
        tokio::time::advance(MINUTE + SECOND).await;
        fleet.source.set("k", "new");
        (fleet, one, other)
    }
}

fn texts(world: &World, stale: Stale) -> Cache<str, String> {
    let cache = world.larder.cache("texts").lifetime(LIFETIME).stale(stale);
    cache.tagged_by(|_: &str| ["list"]).shared().unwrap()
}

async fn read(cache: &Cache<str, String>, source: &Source) -> Result<Entry<String>, Error> {
    let loading = source.load("k");
    cache.get_or_load("k", move || loading).await
}

/// A source in trouble, counted.
async fn read_failing(
    cache: &Cache<str, String>,
    asked: &Arc<AtomicUsize>,
) -> Result<Entry<String>, Error> {
    let asked = asked.clone();
    let fails = || async move {
        asked.fetch_add(1, Ordering::SeqCst);
        Err::<String, _>(std::io::Error::other("the database is down"))
    };
    cache.get_or_load("k", fails).await
}

#[tokio::test(start_paused = true)]
async fn a_stale_entry_is_served_at_once_and_one_loader_of_the_fleet_refreshes_it() {
    let (fleet, one, other) = Fleet::gone_stale(Stale::AtOnce).await;
    fleet.source.hold();
    for _ in 0..100 {
        for cache in [&one, &other] {
            let entry = read(cache, &fleet.source).await.unwrap();
            assert_eq!(
                (entry.as_str(), entry.is_stale(), entry.origin()),
                ("old", true, Origin::Near)
            );
        }
    }
    fleet.source.held(1).await;
    for _ in 0..20 {
        tokio::time::advance(SECOND / 2).await; // and it stays one, however long the load takes
        tokio::task::yield_now().await;
    }
    read(&other, &fleet.source).await.unwrap();
    assert_eq!(fleet.source.loads(), 2, "the first load, and one refresh");
    fleet.source.let_go();
    until("it is fresh", || async { !read(&one, &fleet.source).await.unwrap().is_stale() }).await;
    until("elsewhere too", || async { !read(&other, &fleet.source).await.unwrap().is_stale() })
        .await;
    assert_eq!(*read(&one, &fleet.source).await.unwrap(), "new");
    assert_eq!(*read(&other, &fleet.source).await.unwrap(), "new");
    assert_eq!(fleet.source.loads(), 2);
    let (one, other) = (one.stats(), other.stats());
    assert_eq!((one.refreshes + other.refreshes, one.refreshes_failed), (1, 0));
    assert!(one.hits_stale >= 100 && other.hits_stale >= 101);
}

/// The same over Redis, where an entry of one millisecond is stale at once.
#[tokio::test]
async fn over_redis_a_stale_entry_is_served_from_far_while_one_process_refreshes_it() {
    let server = Server::start();
    let one = World::on(&server.url()).await;
    let other = World::beside(&server.url(), &one.source).await;
    let brief = |world: &World| -> Cache<str, String> {
        let lifetime = Lifetime::fresh_for(Duration::from_millis(1)).stale_for(HOUR);
        world.larder.cache("texts").lifetime(lifetime).backoff(MINUTE).shared().unwrap()
    };
    let (ours, theirs) = (brief(&one), brief(&other));
    one.source.set("k", "old");
    read(&ours, &one.source).await.unwrap();
    until("it is stale", || async { ours.get("k").await.unwrap().is_none() }).await;
    one.source.set("k", "new");
    one.source.hold();
    let found = read(&theirs, &one.source).await.unwrap();
    assert_eq!((found.as_str(), found.is_stale(), found.origin()), ("old", true, Origin::Far));
    one.source.held(1).await;
    // On a slow machine the lease is renewed meanwhile: a script as well, and the only one with PEXPIRE.
    let scripts = || server.calls("evalsha") - server.calls("pexpire");
    let asked = scripts();
    for _ in 0..20 {
        let again = read(&theirs, &one.source).await.unwrap();
        assert_eq!((again.as_str(), again.origin()), ("old", Origin::Near));
        assert_eq!(*read(&ours, &one.source).await.unwrap(), "old");
    }
    assert_eq!(one.source.loads(), 2, "one in the fleet is at it");
    one.source.let_go();
    other.ear.hears("Refresh { cache: \"texts\", ok: true }", 1).await;
    assert!(scripts() - asked <= 2, "one STORE, and one READ of who is not at it");
    until("it is here", || async { *read(&ours, &one.source).await.unwrap() == "new" }).await;
}

#[tokio::test(start_paused = true)]
async fn in_need_callers_wait_for_the_source_and_a_stale_entry_stands_in_when_it_fails() {
    let (fleet, one, other) = Fleet::gone_stale(Stale::InNeed).await;
    let asked = Arc::default();
    let stood_in = read_failing(&one, &asked).await.unwrap();
    assert_eq!((stood_in.as_str(), stood_in.is_stale()), ("old", true));
    // The whole fleet is told, and leaves the source alone for a while.
    assert_eq!(*read_failing(&other, &asked).await.unwrap(), "old");
    assert_eq!(*read_failing(&one, &asked).await.unwrap(), "old");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!((one.stats().stood_in, other.stats().stood_in), (2, 1));
    tokio::time::advance(BACKOFF).await;
    assert_eq!(*read_failing(&other, &asked).await.unwrap(), "old");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    tokio::time::advance(BACKOFF).await;
    let fresh = read(&one, &fleet.source).await.unwrap();
    assert_eq!(
        (fresh.as_str(), fresh.is_stale()),
        ("new", false),
        "they wait for it if it answers"
    );
    tokio::time::advance(MINUTE + HOUR).await;
    let gone = read_failing(&one, &asked).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Source, "past its stale time there is nothing to stand in");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_asked_once_per_backoff_and_the_stale_entry_is_served_on() {
    let (_fleet, one, other) = Fleet::gone_stale(Stale::AtOnce).await;
    let asked: Arc<AtomicUsize> = Arc::default();
    for round in 1..=3 {
        for _ in 0..50 {
            assert!(read_failing(&one, &asked).await.unwrap().is_stale());
            assert!(read_failing(&other, &asked).await.unwrap().is_stale());
            tokio::task::yield_now().await;
        }
        assert_eq!(asked.load(Ordering::SeqCst), round);
        tokio::time::advance(BACKOFF).await;
        tokio::time::advance(BACKOFF).await;
    }
    let failed = one.stats().refreshes_failed + other.stats().refreshes_failed;
    assert_eq!(failed, 3);
}

/// It has grown past what is kept: loaded in vain, and not by the next reader again as soon as that has ended.
#[tokio::test(start_paused = true)]
async fn a_source_whose_value_cannot_be_kept_is_asked_once_per_backoff() {
    let fleet = Fleet::new().await;
    let small = fleet.one.larder.cache("small").lifetime(LIFETIME).value_bytes_max(16);
    let small: Cache<str, String> = small.shared().unwrap();
    fleet.source.set("k", "old");
    read(&small, &fleet.source).await.unwrap();
    tokio::time::advance(MINUTE + SECOND).await;
    fleet.source.set("k", "what is too long for it");
    for round in 1..=3 {
        for _ in 0..50 {
            let entry = read(&small, &fleet.source).await.unwrap();
            assert!(entry.is_stale() && *entry == "old");
            tokio::task::yield_now().await;
        }
        let stats = small.stats();
        assert_eq!((fleet.source.loads(), stats.not_stored), (1 + round, round as u64));
        tokio::time::advance(2 * BACKOFF).await;
    }
    fleet.source.set("k", "new");
    until("it is kept", async || !read(&small, &fleet.source).await.unwrap().is_stale()).await;
    assert_eq!(*read(&small, &fleet.source).await.unwrap(), "new");
}

/// Ended before, or while the load that fails is under way; by key, or by its tag; here, or elsewhere.
#[tokio::test(start_paused = true)]
async fn what_was_ended_never_stands_in() {
    for stale in [Stale::AtOnce, Stale::InNeed] {
        for by_tag in [false, true] {
            let (fleet, one, other) = Fleet::gone_stale(stale).await;
            match by_tag {
                true => fleet.other.larder.invalidate_tag("list").await.unwrap(),
                false => other.invalidate("k").await.unwrap(),
            }
            let error = read_failing(&one, &Arc::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Source, "{stale:?} {by_tag}");
        }
    }
    for here in [false, true] {
        for by_tag in [false, true] {
            let (fleet, one, other) = Fleet::gone_stale(Stale::InNeed).await;
            let (mut step, load) = stepped();
            let reading = reading_of(&one, "k", async move {
                load.await?;
                Err::<String, _>(std::io::Error::other("the database is down"))
            });
            step.begins().await;
            let (world, cache) = if here { (&fleet.one, &one) } else { (&fleet.other, &other) };
            match by_tag {
                true => world.larder.invalidate_tag("list").await.unwrap(),
                false => cache.invalidate("k").await.unwrap(),
            }
            step.answers("");
            let error = reading.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Source, "here {here}, by tag {by_tag}");
        }
    }
}

/// Over Redis the answer to FAIL is what tells that nobody has ended the entry.
#[tokio::test]
async fn over_redis_what_was_ended_while_the_load_ran_does_not_stand_in() {
    let server = Server::start();
    let one = World::on(&server.url()).await;
    let lifetime = Lifetime::fresh_for(Duration::from_millis(1)).stale_for(HOUR);
    let cache = |world: &World| -> Cache<str, String> {
        let cache = world.larder.cache("texts").lifetime(lifetime).stale(Stale::InNeed);
        cache.tagged_by(|_: &str| ["list"]).backoff(Duration::ZERO).shared().unwrap()
    };
    let other = World::beside(&server.url(), &one.source).await;
    let (ours, theirs) = (cache(&one), cache(&other));
    for ended in ["nothing", "key", "tag"] {
        one.source.set("k", "old");
        read(&ours, &one.source).await.unwrap();
        until("it is stale", || async { ours.get("k").await.unwrap().is_none() }).await;
        let (mut step, load) = stepped();
        let reading = reading_of(&ours, "k", async move {
            load.await?;
            Err::<String, _>(std::io::Error::other("the database is down"))
        });
        step.begins().await;
        match ended {
            "key" => theirs.invalidate("k").await.unwrap(),
            "tag" => other.larder.invalidate_tag("list").await.unwrap(),
            _ => {}
        }
        step.answers("");
        let answer = reading.await.unwrap().map(|entry| entry.is_stale());
        assert_eq!(answer.is_ok(), ended == "nothing", "{ended} was ended: {answer:?}");
        theirs.invalidate("k").await.unwrap();
    }
}

/// The mark that says "no longer fresh", set in Redis in place.
#[tokio::test]
async fn an_entry_marked_in_redis_is_loaded_anew_and_stands_in_only_in_need() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    world.source.set("k", "old");
    world.read("k").await.unwrap();
    let _: i64 = server.ask("SETBIT test:words:1:v:{.1.k} 16 1");
    world.larder.sync().await.unwrap();
    assert_eq!(world.has("k").await, "nothing", "it is not fresh");
    let fails = || async { Err::<String, _>(std::io::Error::other("the database is down")) };
    let stood_in = world.words.get_or_load("k", fails).await.unwrap();
    assert_eq!((stood_in.as_str(), stood_in.is_stale()), ("old", true));
    assert_eq!(world.words.stats().stood_in, 1, "the source was waited for");
    world.source.set("k", "new");
    until("the back-off is over", || async { *world.read("k").await.unwrap() == "new" }).await;
    assert!(!world.read("k").await.unwrap().is_stale());
}

#[tokio::test(start_paused = true)]
async fn get_gives_what_is_fresh_and_a_lease_by_hand_goes_to_one_while_the_others_take_the_stale() {
    let (_fleet, one, other) = Fleet::gone_stale(Stale::AtOnce).await;
    assert!(one.get("k").await.unwrap().is_none());
    assert!(one.get_many(["k"]).await.unwrap()[0].is_none());
    let Leased::Held(lease) = one.lease("k").await.unwrap() else { panic!("nobody loads it") };
    for cache in [&one, &other] {
        let Leased::Found(entry) = cache.lease("k").await.unwrap() else {
            panic!("a second lease")
        };
        assert!(entry.is_stale());
    }
    assert_eq!(lease.store("new".to_owned()).await, Stored::Stored);
    let Leased::Found(entry) = other.lease("k").await.unwrap() else { panic!("not stored") };
    assert_eq!((entry.as_str(), entry.is_stale()), ("new", false));
}

#[tokio::test(start_paused = true)]
async fn there_is_none_is_never_stale() {
    let fleet = Fleet::new().await;
    let cache = texts(&fleet.one, Stale::AtOnce);
    let find = |found: Option<&'static str>| {
        let cache = cache.clone();
        async move {
            let load = move || async move { Ok::<_, std::io::Error>(found.map(str::to_owned)) };
            cache.find_or_load("k", load).await.unwrap().map(|entry| entry.to_string())
        }
    };
    assert_eq!(find(None).await, None);
    assert_eq!(find(Some("created")).await, None, "remembered");
    tokio::time::advance(MINUTE / 10).await;
    assert_eq!(find(Some("created")).await, Some("created".to_owned()));
}

/// A refresh that is under way ends with the handle, and its lease is given back.
#[tokio::test]
async fn close_stops_the_refreshes() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let lifetime = Lifetime::fresh_for(Duration::from_millis(1)).stale_for(HOUR);
    let cache: Cache<str, String> =
        world.larder.cache("texts").lifetime(lifetime).shared().unwrap();
    world.source.set("k", "old");
    read(&cache, &world.source).await.unwrap();
    until("it is stale", || async { cache.get("k").await.unwrap().is_none() }).await;
    world.source.hold();
    assert!(read(&cache, &world.source).await.unwrap().is_stale());
    world.source.held(1).await;
    assert_eq!(world.larder.close(PATIENT).await, 0);
    until("the load has ended", || async { world.source.waiting() == 0 }).await;
}

/// An entry of one millisecond, for need alone, that is stale by now; and how to fail over it.
async fn stale_on(world: &World, tagged: bool) -> Cache<str, String> {
    let lifetime = Lifetime::fresh_for(Duration::from_millis(1)).stale_for(HOUR);
    let cache = world.larder.cache("texts").lifetime(lifetime).stale(Stale::InNeed);
    let cache = cache.backoff(Duration::ZERO);
    let cache: Cache<str, String> = match tagged {
        true => cache.tagged_by(|_: &str| ["list"]).shared().unwrap(),
        false => cache.shared().unwrap(),
    };
    world.source.set("k", "old");
    read(&cache, &world.source).await.unwrap();
    until("it is stale", || async { cache.get("k").await.unwrap().is_none() }).await;
    cache
}

/// Where the server tells of no changes, what READ says of the entry and a look at its tags is all there is.
#[tokio::test]
async fn what_was_ended_does_not_stand_in_where_nobody_tells_of_it() {
    let server = Server::start();
    let _: String = server.ask("ACL SETUSER app on >s3cret ~* &* +@all -client|tracking");
    let url = format!("redis://app:s3cret@127.0.0.1:{}/0", server.port());
    for ended in ["nothing", "key", "tag"] {
        let (here, there) = (World::on(&url).await, World::on(&url).await);
        let (ours, theirs) = (stale_on(&here, true).await, stale_on(&there, true).await);
        match ended {
            "key" => theirs.invalidate("k").await.unwrap(),
            "tag" => there.larder.invalidate_tag("list").await.unwrap(),
            _ => {}
        }
        let answer = read_failing(&ours, &Arc::default()).await;
        assert_eq!(answer.is_ok(), ended == "nothing", "{ended} was ended: {answer:?}");
        theirs.invalidate("k").await.unwrap();
    }
}

/// The loader that was waited for is gone without a word, and the load that follows fails.
#[tokio::test]
async fn a_stale_entry_is_not_forgotten_while_another_loads() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let cache = stale_on(&world, false).await;
    let _: String = server.ask("SET test:texts:1:l:{.1.k} Tabcdefghijklmnop PX 300");
    let stood_in = read_failing(&cache, &Arc::default()).await.unwrap();
    assert!(stood_in.is_stale());
    assert_eq!(cache.stats().woken_by_timer, 1, "it waited for the other");
}

/// The server may have forgotten something meanwhile: what near knew of the tags is gone, and they are asked for.
#[tokio::test]
async fn a_tagged_entry_stands_in_over_a_gap() {
    let server = Server::with(&["--tracking-table-max-keys", "2"]);
    let world = World::on(&server.url()).await;
    let cache = stale_on(&world, true).await;
    let (mut step, load) = stepped();
    let reading = reading_of(&cache, "k", async move {
        load.await?;
        Err::<String, _>(std::io::Error::other("the database is down"))
    });
    step.begins().await;
    world.ear.hears("Gap", world.ear.count("Gap") + 1).await;
    step.answers("");
    assert!(reading.await.unwrap().unwrap().is_stale());
}

/// Another process has the lease, and does nothing with it: when it is over, the next caller's loader is asked, however
/// long the back-off.
#[tokio::test]
async fn a_refresh_that_another_did_not_make_is_made_when_its_lease_is_over() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let lifetime = Lifetime::fresh_for(Duration::from_millis(1)).stale_for(HOUR);
    let cache = world.larder.cache("texts").lifetime(lifetime).backoff(HOUR);
    let cache: Cache<str, String> = cache.shared().unwrap();
    world.source.set("k", "old");
    read(&cache, &world.source).await.unwrap();
    until("it is stale", || async { cache.get("k").await.unwrap().is_none() }).await;
    let _: String = server.ask("SET test:texts:1:l:{.1.k} Tabcdefghijklmnop PX 200");
    world.source.set("k", "new");
    assert_eq!(*read(&cache, &world.source).await.unwrap(), "old");
    until("it is refreshed", || async { *read(&cache, &world.source).await.unwrap() == "new" })
        .await;
}
