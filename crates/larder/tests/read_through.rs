//! A call is answered with what the source says: once for all who ask, typed errors and all, whatever
//! becomes of the callers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use larder::{
    Cache, CacheBuilder, Codec, Compression, Entry, Error, ErrorKind, Larder, Leased, Lifetime,
    Loaded, MINUTE, Origin, SECOND, Stale, Stored,
};
use support::{Ear, PATIENT, Server, World, stepped, until};
use tokio::sync::{Barrier, oneshot};

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("row {0} is locked")]
struct Locked(u32);

/// Both far sides, one after the other.
async fn each(mut scene: impl AsyncFnMut(World)) {
    scene(World::embedded().await).await;
    let server = Server::start();
    scene(World::on(&server.url()).await).await;
}

#[tokio::test]
async fn an_entry_says_where_it_was_found_and_how_old_it_is() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    here.source.set("k", "one");
    let loaded = here.read("k").await.unwrap();
    assert_eq!(loaded.origin(), Origin::Loaded);
    assert_eq!(here.read("k").await.unwrap().origin(), Origin::Near);
    let far = there.read("k").await.unwrap();
    assert_eq!((far.origin(), far.as_str()), (Origin::Far, "one"));
    assert!(far.age() < MINUTE);
    assert_eq!(there.source.loads(), 0);
    assert_eq!(serde_json::to_string(&far).unwrap(), r#""one""#, "it serialises as the value");
}

#[tokio::test]
async fn a_near_hit_hands_out_the_very_value_that_was_loaded() {
    each(async |world| {
        world.source.set("k", "one");
        let loaded = world.read("k").await.unwrap().into_inner();
        let near = world.read("k").await.unwrap().into_inner();
        assert!(Arc::ptr_eq(&loaded, &near), "nothing was decoded or copied");
    })
    .await;
}

#[tokio::test]
async fn the_loaders_own_error_comes_back_to_everyone_who_waited() {
    each(async |world| {
        let (begin, mut began) = tokio::sync::mpsc::channel::<()>(1);
        let (go, gone) = tokio::sync::watch::channel(false);
        let mut reads = Vec::new();
        for _ in 0..20 {
            let (words, begin, mut gone) = (world.words.clone(), begin.clone(), gone.clone());
            reads.push(tokio::spawn(async move {
                let load = async move {
                    let _ = begin.send(()).await;
                    let _ = gone.wait_for(|gone| *gone).await;
                    Err::<String, _>(Locked(7))
                };
                words.get_or_load("k", move || load).await
            }));
        }
        began.recv().await.unwrap();
        go.send(true).unwrap();
        let mut causes = Vec::new();
        for read in reads {
            let error = read.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Source);
            assert_eq!(error.cause::<Locked>(), Some(&Locked(7)));
            assert!(error.to_string().contains("row 7 is locked"), "{error}");
            causes.push(std::ptr::from_ref(error.cause::<Locked>().unwrap()) as usize);
        }
        causes.dedup();
        assert_eq!(causes.len(), 1, "they share the one cause");
        assert_eq!(world.words.stats().loads, 1);
    })
    .await;
}

/// A source in trouble is asked once per back-off, by the whole fleet.
#[tokio::test]
async fn a_failed_load_keeps_the_fleet_from_asking_again_at_once() {
    let server = Server::start();
    let open = async || {
        let world = World::on(&server.url()).await;
        let words: Cache<str, String> =
            world.larder.cache("patient").backoff(30 * SECOND).shared().unwrap();
        (world, words)
    };
    let ((_here, words), (_there, elsewhere)) = (open().await, open().await);
    let fail = || async { Err::<String, _>(Locked(1)) };
    assert!(words.get_or_load("k", fail).await.is_err());
    let again = words.get_or_load("k", || async { Ok::<_, Locked>("asked".to_owned()) }).await;
    assert_eq!(again.unwrap_err().cause::<Locked>(), Some(&Locked(1)), "its own error, remembered");
    let other = elsewhere.get_or_load("k", || async { Ok::<_, Locked>("asked".to_owned()) }).await;
    let other = other.unwrap_err();
    assert_eq!((other.kind(), other.cause::<Locked>()), (ErrorKind::Source, None));
    words.invalidate("k").await.unwrap();
    let after = elsewhere.get_or_load("k", || async { Ok::<_, Locked>("new".to_owned()) }).await;
    assert_eq!(*after.unwrap(), "new", "an invalidation ends the back-off too");
}

#[tokio::test]
async fn without_a_back_off_the_next_call_asks_the_source() {
    each(async |world| {
        let words: Cache<str, String> =
            world.larder.cache("eager").backoff(Duration::ZERO).shared().unwrap();
        let fail = || async { Err::<String, _>(Locked(1)) };
        assert!(words.get_or_load("k", fail).await.is_err());
        let load = || async { Ok::<_, Locked>("second".to_owned()) };
        assert_eq!(*words.get_or_load("k", load).await.unwrap(), "second");
    })
    .await;
}

#[tokio::test]
async fn a_loader_that_panics_is_an_error_to_all_and_gives_the_lease_back() {
    each(async |world| {
        let words: Cache<str, String> =
            world.larder.cache("bold").backoff(Duration::ZERO).shared().unwrap();
        let barrier = Arc::new(Barrier::new(1));
        let panics = |barrier: Arc<Barrier>| async move {
            barrier.wait().await;
            if true {
                panic!("out of cheese");
            }
            Ok::<String, Locked>(String::new())
        };
        let reads: Vec<_> = (0..5)
            .map(|_| {
                let (words, barrier) = (words.clone(), barrier.clone());
                tokio::spawn(async move { words.get_or_load("k", move || panics(barrier)).await })
            })
            .collect();
        for read in reads {
            let error = read.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Panicked);
            assert!(error.to_string().contains("out of cheese"), "{error}");
        }
        let load = || async { Ok::<_, Locked>("well".to_owned()) };
        assert_eq!(*words.get_or_load("k", load).await.unwrap(), "well");
    })
    .await;
}

/// The caller that began the load hangs up; the others never notice.
#[tokio::test]
async fn a_caller_that_hangs_up_strands_nobody() {
    each(async |world| {
        let (mut step, load) = stepped();
        let leader = world.reading_by("k", load);
        step.begins().await;
        let others: Vec<_> = (0..10).map(|_| world.reading("k")).collect();
        tokio::task::yield_now().await;
        leader.abort();
        assert!(leader.await.unwrap_err().is_cancelled());
        step.answers("for all");
        for other in others {
            assert_eq!(*other.await.unwrap().unwrap(), "for all");
        }
        assert_eq!(world.words.stats().loads, 1);
        assert_eq!(world.has("k").await, "for all near");
    })
    .await;
}

/// Tells when it is dropped.
struct Dropped(Option<oneshot::Sender<()>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.take().unwrap().send(());
    }
}

#[tokio::test]
async fn with_its_last_caller_a_load_is_stopped_and_its_lease_given_back() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let (begin, began) = oneshot::channel();
    let (drop_it, dropped) = oneshot::channel();
    let load = async move {
        let _guard = Dropped(Some(drop_it));
        let _ = begin.send(());
        std::future::pending::<Result<String, Locked>>().await
    };
    let words = world.words.clone();
    let reading = tokio::spawn(async move { words.get_or_load("k", move || load).await });
    began.await.unwrap();
    assert_eq!(server.keys(), ["test:words:1:l:{.1.k}"]);
    reading.abort();
    support::soon("the loader is dropped", dropped).await.unwrap();
    until("the lease is given back", || async { server.keys().is_empty() }).await;
    world.source.set("k", "next");
    assert_eq!(*world.read("k").await.unwrap(), "next", "nobody waits for a lease to run out");
    assert_eq!(world.ear.count("Wait"), 0);
}

#[tokio::test]
async fn a_loader_past_max_load_is_stopped() {
    each(async |world| {
        let words: Cache<str, String> =
            world.larder.cache("hasty").max_load(Duration::from_millis(50)).shared().unwrap();
        let (drop_it, dropped) = oneshot::channel();
        let load = async move {
            let _guard = Dropped(Some(drop_it));
            std::future::pending::<Result<String, Locked>>().await
        };
        let error = words.get_or_load("k", move || load).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline);
        support::soon("the loader is dropped", dropped).await.unwrap();
    })
    .await;
}

/// A load of many lease times, with another process waiting: the lease is renewed.
#[tokio::test]
async fn a_load_slower_than_its_lease_keeps_it() {
    let server = Server::start();
    let open = async |source: &support::Source| {
        let builder = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
        World::of(builder.lease_time(Duration::from_millis(300)), source).await
    };
    let here = open(&Default::default()).await;
    let there = open(&here.source).await;
    here.source.set("k", "slow");
    here.source.takes(Duration::from_millis(1500));
    let first = here.reading("k");
    there.ear.hears("Connected", 1).await;
    until("the lease", || async { !server.keys().is_empty() }).await;
    let second = there.reading("k");
    assert_eq!(*first.await.unwrap().unwrap(), "slow");
    assert_eq!(*second.await.unwrap().unwrap(), "slow");
    assert_eq!(here.source.loads(), 1);
}

#[tokio::test]
async fn there_is_none_is_remembered_for_a_time_of_its_own() {
    each(async |world| {
        let lifetime = Lifetime::fresh_for(MINUTE).none_for(10 * SECOND).jitter(0.0);
        let words: Cache<str, String> =
            world.larder.cache("maybe").lifetime(lifetime).shared().unwrap();
        let find = || async { Ok::<Option<String>, Locked>(None) };
        assert!(words.find_or_load("k", find).await.unwrap().is_none());
        let asked = || async { Ok::<_, Locked>(Some("asked".to_owned())) };
        assert!(words.find_or_load("k", asked).await.unwrap().is_none());
        assert!(words.get("k").await.unwrap().is_none());
        assert!(words.ttl("k").await.unwrap().unwrap() <= 10 * SECOND);
        let found = words.look_up("k", asked).await.unwrap();
        assert_eq!((found.entry.is_none(), found.origin), (true, Origin::Near));
        // Who asks for a value is not answered with "there is none": the source is asked.
        let value = words.get_or_load("k", || async { Ok::<_, Locked>("made".to_owned()) }).await;
        assert_eq!(*value.unwrap(), "made");
    })
    .await;
}

#[tokio::test]
async fn a_value_over_its_cap_is_handed_out_and_not_stored() {
    each(async |world| {
        let words: Cache<str, String> =
            world.larder.cache("small").value_bytes_max(16).shared().unwrap();
        let load = || async { Ok::<_, Locked>("x".repeat(100)) };
        assert_eq!(words.get_or_load("k", load).await.unwrap().len(), 100);
        assert!(words.get("k").await.unwrap().is_none());
        assert_eq!((words.stats().not_stored, words.stats().loads), (1, 1));
        let error = words.put("k", "x".repeat(100)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encode);
    })
    .await;
}

#[tokio::test]
async fn a_loader_decides_on_lifetime_and_tags() {
    each(async |world| {
        let long = Lifetime::fresh_for(30 * MINUTE).jitter(0.0);
        let load = move |tag: &'static str| async move {
            Ok::<_, Locked>(Loaded::new("v".to_owned()).lifetime(long).tag(tag))
        };
        let first = world.words.get_or_load("k", move || load("learned")).await.unwrap();
        assert_eq!(*first, "v");
        assert_eq!(world.has("k").await, "nothing", "a tag nobody had seen costs the first store");
        assert_eq!(world.ear.count("NewTag"), 1);
        world.words.get_or_load("k", move || load("learned")).await.unwrap();
        assert_eq!(world.has("k").await, "v near");
        let left = world.words.ttl("k").await.unwrap().unwrap();
        assert!(left > 29 * MINUTE && left <= 30 * MINUTE, "{left:?}");
        world.larder.invalidate_tag("learned").await.unwrap();
        assert_eq!(world.has("k").await, "nothing");
        let absurd = || async {
            Ok::<_, Locked>(
                Loaded::new("v".to_owned()).lifetime(Lifetime::fresh_for(Duration::ZERO)),
            )
        };
        assert_eq!(*world.words.get_or_load("z", absurd).await.unwrap(), "v");
        assert_eq!((world.has("z").await.as_str(), world.ear.count("Lifetime")), ("nothing", 1));
    })
    .await;
}

#[tokio::test]
async fn a_lease_by_hand_is_fenced() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let held = |leased: Leased<String>| match leased {
        Leased::Held(lease) => lease,
        _ => panic!("the lease was not ours"),
    };
    let lease = held(here.words.lease("k").await.unwrap());
    assert_eq!(lease.store("one".to_owned()).await, Stored::Stored);
    assert_eq!(there.has("k").await, "one far");
    assert!(
        matches!(here.words.lease("k").await.unwrap(), Leased::Found(entry) if *entry == "one")
    );

    here.words.invalidate("k").await.unwrap();
    let lease = held(here.words.lease("k").await.unwrap());
    there.words.invalidate("k").await.unwrap();
    assert_eq!(lease.store("old".to_owned()).await, Stored::Refused);
    assert_eq!(
        (here.has("k").await.as_str(), there.has("k").await.as_str()),
        ("nothing", "nothing")
    );

    let lease = held(here.words.lease("k").await.unwrap());
    let waiting = {
        let words = there.words.clone();
        tokio::spawn(async move { words.lease("k").await })
    };
    there.ear.hears("Wait", 1).await;
    drop(lease);
    let lease = held(waiting.await.unwrap().unwrap());
    assert_eq!(lease.store_none().await, Stored::Stored);
    assert!(matches!(there.words.lease("k").await.unwrap(), Leased::Nothing));
}

#[tokio::test]
async fn a_put_ends_a_load_begun_before_and_the_last_one_wins() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let (mut step, load) = stepped();
    let reading = here.reading_by("k", load);
    step.begins().await;
    there.words.put("k", "put".to_owned()).await.unwrap();
    step.answers("loaded");
    assert_eq!(*reading.await.unwrap().unwrap(), "loaded");
    assert_eq!(there.has("k").await, "put far");
    here.words.put("k", "put again".to_owned()).await.unwrap();
    there.larder.sync().await.unwrap();
    assert_eq!(there.has("k").await, "put again far");
    let short = Loaded::new("short".to_owned()).lifetime(Lifetime::fresh_for(SECOND)).tag("t");
    there.words.put("k", short).await.unwrap();
    assert!(there.words.ttl("k").await.unwrap().unwrap() <= SECOND);
    here.larder.invalidate_tag("t").await.unwrap();
    there.larder.sync().await.unwrap();
    assert_eq!(there.has("k").await, "nothing", "a put carries its tags");
    here.words.put("k", "last".to_owned()).await.unwrap();
    here.words.remove("k").await.unwrap();
    assert_eq!(here.has("k").await, "nothing");
}

#[tokio::test]
async fn many_keys_take_one_trip() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let cache = |world: &World| -> Cache<u32, String> {
        let tags = |key: &u32| [format!("t{}", key % 3)];
        world.larder.cache("numbers").tagged_by(tags).shared().unwrap()
    };
    let (ours, theirs) = (cache(&here), cache(&there));
    for n in 0..10u32 {
        let load = async move { Ok::<_, Locked>(n.to_string()) };
        theirs.get_or_load(&n, move || load).await.unwrap();
    }
    there.larder.invalidate_tag("t1").await.unwrap();
    let text = |entries: Vec<Option<Entry<String>>>| -> Vec<Option<String>> {
        entries.into_iter().map(|entry| entry.map(|entry| entry.to_string())).collect()
    };
    let keys: Vec<u32> = (0..12).collect();
    let wanted: Vec<_> =
        keys.iter().map(|n| (n % 3 != 1 && *n < 10).then(|| n.to_string())).collect();
    let before = (server.calls("mget"), server.calls("get"));
    assert_eq!(text(ours.get_many(&keys).await.unwrap()), wanted);
    assert_eq!((server.calls("mget") - 1, server.calls("get")), before, "one command for all");
    assert_eq!(text(ours.get_many(&keys).await.unwrap()), wanted);
    assert_eq!(ours.stats().hits_far, 7);
    assert_eq!(ours.stats().hits_near, 7, "the second time they were near");
}

/// Reads that wait at the same time share commands; and not all the same one, or the server and we would
/// wait for one another by turns.
#[tokio::test]
async fn many_callers_share_a_few_commands_by_halves() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let keys: Vec<String> = (0..48).map(|n| n.to_string()).collect();
    for key in &keys {
        there.words.put(key.as_str(), key.clone()).await.unwrap();
    }
    let before = server.calls("mget");
    let mut asking = tokio::task::JoinSet::new();
    for key in keys {
        let words = here.words.clone();
        asking.spawn(async move { (words.get(key.as_str()).await.unwrap().unwrap(), key) });
    }
    while let Some(answered) = asking.join_next().await {
        let (entry, key) = answered.unwrap();
        assert_eq!(entry, key, "each caller gets its own");
    }
    // The first asks alone; the others wait, and go in two halves. Some may come late.
    let commands = server.calls("mget") - before;
    assert!((3..=8).contains(&commands), "{commands} commands");
}

/// Views are Clone, Send and Sync whatever the value is.
#[test]
fn views_travel_whatever_the_value_is() {
    fn travels<T: Clone + Send + Sync + 'static>() {}
    travels::<Larder>();
    travels::<Cache<str, String>>();
    travels::<larder::UserCache<(u32, String), std::cell::Cell<u32>>>();
    travels::<Error>();
}

#[tokio::test]
async fn one_name_opened_twice_is_one_cache_or_an_error() {
    let world = World::embedded().await;
    let lifetime = Lifetime::fresh_for(MINUTE).jitter(0.0);
    let again: Cache<str, String> =
        world.larder.cache("words").lifetime(lifetime).shared().unwrap();
    world.source.set("k", "v");
    world.read("k").await.unwrap();
    assert!(again.get("k").await.unwrap().is_some());
    assert_eq!(again.stats(), world.words.stats(), "both count together");
    let other = world.larder.cache::<str, String>("words").shared().unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Config);
    assert!(other.to_string().contains("words is open with other settings"), "{other}");
    let other = world.larder.cache::<str, u64>("words").lifetime(lifetime).shared().unwrap_err();
    assert!(other.to_string().contains("other types"), "{other}");
    let other = world.larder.cache::<str, String>("words").lifetime(lifetime).per_user();
    assert!(other.is_err(), "shared and per user are not the same");
    // What was kept under a name is still there when no view of it is left.
    let numbers: Cache<str, u64> = world.larder.cache("numbers").shared().unwrap();
    numbers.put("k", 17).await.unwrap();
    drop(numbers);
    assert!(world.larder.cache::<str, String>("numbers").shared().is_err());
    let numbers: Cache<str, u64> = world.larder.cache("numbers").shared().unwrap();
    assert_eq!(*numbers.get("k").await.unwrap().unwrap(), 17);
}

#[tokio::test]
async fn what_differs_in_another_opening_is_named_with_both_values() {
    type Builder = CacheBuilder<str, String>;
    type Change = (fn(Builder) -> Builder, &'static str);
    let larder = Larder::builder("test").open().await.unwrap();
    let first = || larder.cache::<str, String>("words");
    let _kept = first().shared().unwrap();
    let text = |change: fn(Builder) -> Builder| {
        let error = change(first()).shared().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    let changes: [Change; 13] = [
        (|cache| cache.lifetime(Lifetime::fresh_for(SECOND)), "fresh_for is 60s there and 1s here"),
        (
            |cache| cache.lifetime(Lifetime::fresh_for(MINUTE).stale_for(SECOND)),
            "stale_for is 0ns there and 1s here",
        ),
        (
            |cache| cache.lifetime(Lifetime::fresh_for(MINUTE).none_for(SECOND)),
            "none_for is a tenth of fresh_for there and 1s here",
        ),
        (
            |cache| cache.lifetime(Lifetime::fresh_for(MINUTE).jitter(0.2)),
            "jitter is 0.1 there and 0.2 here",
        ),
        (|cache| cache.stale(Stale::InNeed), "stale is AtOnce there and InNeed here"),
        (|cache| cache.backoff(SECOND), "backoff is 100ms there and 1s here"),
        (|cache| cache.max_load(SECOND), "max_load is 30s there and 1s here"),
        (|cache| cache.value_bytes_max(7), "value_bytes_max is 8388608 there and 7 here"),
        (|cache| cache.key_bytes_max(7), "key_bytes_max is 1024 there and 7 here"),
        (|cache| cache.schema(2), "schema is 1 there and 2 here"),
        (|cache| cache.codec(Codec::Json), "codec is MessagePack there and Json here"),
        (
            |cache| cache.compression(Compression::none()),
            "compression is Lz4 over 1024 bytes there and None here",
        ),
        (
            |cache| cache.schema(2).backoff(SECOND),
            "backoff is 100ms there and 1s here, schema is 1 there and 2 here",
        ),
    ];
    for (change, named) in changes {
        let whole =
            format!("cache words is open with other settings: {named}; open it once, and clone it");
        assert_eq!(text(change), whole);
    }
    let error = first().per_user().unwrap_err().to_string();
    assert!(error.contains(": the cache is shared there and per user here;"), "{error}");
    let error = text(|cache| cache.tagged_by(|_| ["a"]));
    assert!(error.contains("tagged_by is nothing there and the function given at "), "{error}");
    assert!(error.contains("read_through.rs:"), "{error}");
    let error = larder.cache::<str, u64>("words").shared().unwrap_err().to_string();
    assert!(
        error.contains("it is str => alloc::string::String there and str => u64 here"),
        "{error}"
    );
}

#[tokio::test]
async fn a_key_over_its_bound_is_an_error_and_never_cut() {
    let world = World::embedded().await;
    let error = world.read(&"k".repeat(2000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Key);
    assert!(error.to_string().contains("1024"), "{error}");
    let users: larder::UserCache<str, String> = world.larder.cache("users").per_user().unwrap();
    let error = users.of(&"u".repeat(2000)).get("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Key);
    assert!(world.larder.invalidate([users.of(&"u".repeat(2000)).all()]).await.is_err());
}

#[tokio::test]
async fn settings_that_cannot_be_meant_are_refused_and_named() {
    let world = World::embedded().await;
    let refused = |built: Result<Cache<str, String>, Error>| {
        let error = built.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    let cache = |name: &str| world.larder.cache::<str, String>(name);
    assert!(refused(cache("a:b").shared()).contains("cache"));
    assert!(refused(cache("").shared()).contains("cache"));
    assert!(refused(cache("c{").shared()).contains("cache"));
    let zero = Lifetime::fresh_for(Duration::ZERO);
    assert!(refused(cache("c").lifetime(zero).shared()).contains("fresh_for"));
    assert!(refused(cache("c").value_bytes_max(0).shared()).contains("value_bytes_max"));
    assert!(refused(cache("c").key_bytes_max(1 << 30).shared()).contains("key_bytes_max"));
    assert!(refused(cache("c").max_load(Duration::ZERO).shared()).contains("max_load"));
    assert!(refused(cache("c").backoff(400 * larder::DAY).shared()).contains("backoff"));
    for (builder, named) in [
        (Larder::builder("a:b"), "app"),
        (Larder::builder("app").bound(Duration::ZERO), "bound"),
        (Larder::builder("app").lease_time(Duration::ZERO), "lease_time"),
        (Larder::builder("app").far_deadline(Duration::MAX), "far_deadline"),
        (Larder::builder("app").near_bytes_max(0), "near_bytes_max"),
        (Larder::builder("app").require_far(), "redis"),
    ] {
        let error = builder.open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn a_handle_outside_a_runtime_is_refused() {
    let opening = std::pin::pin!(Larder::builder("app").open());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(opened) = opening.poll(&mut context) else { panic!("it waits") };
    assert!(opened.unwrap_err().to_string().contains("tokio runtime"));
}

/// After `close` calls go to the loader, and ends say that they were not sent.
#[tokio::test]
async fn a_closed_handle_asks_the_loader_and_ends_nothing() {
    each(async |world| {
        world.source.set("k", "one");
        world.read("k").await.unwrap();
        assert_eq!(world.larder.close(SECOND).await, 0);
        world.source.set("k", "two");
        assert_eq!(*world.read("k").await.unwrap(), "two");
        let ended = world.words.invalidate("k").await.unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::Closed);
        assert_eq!(world.larder.sync().await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(
            world.words.put("k", "x".to_owned()).await.unwrap_err().kind(),
            ErrorKind::Closed
        );
    })
    .await;
}

/// The handle, its tasks and its connections go with the last view.
#[tokio::test]
async fn with_the_last_view_the_connections_end() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let words = world.words.clone();
    assert_eq!(server.clients(), 2);
    drop(world);
    assert!(words.get("k").await.unwrap().is_none());
    assert_eq!(words.stats().far_skipped, 0, "a view keeps the handle alive");
    drop(words);
    until("both connections are gone", || async { server.clients() == 0 }).await;
}

#[tokio::test]
async fn a_loader_may_be_an_object() {
    let world = World::embedded().await;
    let one: Box<dyn larder::Loader<String>> =
        Box::new(|| async { Ok::<_, Locked>("boxed".to_owned()) });
    assert_eq!(*world.words.get_or_load("k", one).await.unwrap(), "boxed");
    let _unused: Ear = world.ear;
}
