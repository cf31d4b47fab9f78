//! A far side that is down, slow, full, restarting or answering rubbish is never an error of a read.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use larder::{ErrorKind, Larder, Origin, SECOND};
use support::{Ear, PATIENT, Process, Proxy, Server, Source, World, server::free_port, until};

const V: &str = "test:words:1:v:{.1.k}";

#[test]
fn other_process() {
    support::process::obey();
}

#[tokio::test]
async fn where_nobody_listens_it_starts_and_asks_the_source() {
    let port = free_port();
    let world = World::on(&format!("redis://127.0.0.1:{port}")).await;
    world.source.set("k", "one");
    assert_eq!(*world.read("k").await.unwrap(), "one");
    assert_eq!(world.has("k").await, "nothing");
    assert!(!world.larder.is_far_up());
    assert_eq!(world.ear.count("Disconnected"), 1, "said once: {:?}", world.ear.all());
    assert!(world.words.stats().far_skipped >= 2);
    let builder = Larder::builder("test").redis(format!("redis://127.0.0.1:{port}"));
    let error = builder.require_far().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Far);
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

/// Readers and a writer run on while Redis is killed, stays away and comes back empty: no read fails, none
/// sees a value older than the last write that was over when it began, and hits come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_be_killed_and_restarted_in_mid_traffic() {
    let mut server = Server::start();
    let source = Source::default();
    let builder = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
    let world = World::of(builder, &source).await;
    let written = Arc::new(AtomicUsize::new(0));
    source.set("k", "0");
    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (world, written, stop) = (world.clone(), written.clone(), stop.clone());
            let reads = reads.clone();
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let least = written.load(Ordering::SeqCst);
                    let value: usize = world.read("k").await.unwrap().parse().unwrap();
                    assert!(value >= least, "{value} was served after the write of {least}");
                    reads.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();
    let write = async |value: usize| {
        source.set("k", &value.to_string());
        let confirmed = world.words.invalidate("k").await;
        // Not confirmed: this process does not serve the old value all the same.
        written.store(value, Ordering::SeqCst);
        confirmed.is_ok()
    };
    let goes_on = async |what: &str| {
        let before = reads.load(Ordering::SeqCst);
        until(what, || async { reads.load(Ordering::SeqCst) > before + 100 }).await;
    };
    assert!(write(1).await);
    goes_on("reads before").await;
    server.kill();
    world.ear.hears("Disconnected", 1).await;
    assert!(!write(2).await, "nobody was there to confirm it");
    goes_on("reads without redis").await;
    assert!(!write(3).await);
    server.start_again();
    world.ear.hears("Connected { again: true }", 1).await;
    world.ear.hears("Confirmed { waiting: 0 }", 1).await;
    until("a write that is confirmed", || write(4)).await;
    goes_on("reads after").await;
    until("hits are back", || async { world.read("k").await.unwrap().origin() == Origin::Near })
        .await;
    stop.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
}

/// Redis hangs: reads are answered by the source after one far deadline; an invalidation is `Unconfirmed`,
/// near is bypassed for its key, and it is sent again until Redis has heard of it.
#[tokio::test]
async fn an_invalidation_that_is_not_confirmed_is_sent_until_it_is() {
    let server = Server::start();
    let ear = Ear::default();
    let builder = Larder::builder("test").redis(server.url()).bound(30 * SECOND);
    let builder = builder.far_deadline(Duration::from_millis(200)).observer(ear.observer());
    let larder = builder.invalidate_deadline(Duration::from_millis(200)).open().await.unwrap();
    let words: larder::Cache<str, String> = larder.cache("words").shared().unwrap();
    let load = |value: &str| {
        let value = value.to_owned();
        move || async move { Ok::<_, std::io::Error>(value) }
    };
    assert_eq!(*words.get_or_load("k", load("one")).await.unwrap(), "one");
    assert_eq!(words.get("k").await.unwrap().unwrap().origin(), Origin::Near);
    let mut other = Process::start(&server.url());
    server.pause();
    let error = words.invalidate("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed, "{error}");
    assert_eq!(larder.stats().unconfirmed_waiting, 1);
    assert_eq!(*words.get_or_load("k", load("two")).await.unwrap(), "two", "near is bypassed");
    server.resume();
    ear.hears("Confirmed { waiting: 0 }", 1).await;
    assert_eq!(larder.stats().unconfirmed_waiting, 0);
    other.ask("sync");
    assert_ne!(other.ask("get k"), "one far");
    until("near serves it again", || async {
        words.get_or_load("k", load("three")).await.unwrap().origin() == Origin::Near
    })
    .await;
}

/// The server does what it is told, and its answer is lost: nobody knows, so it is not `Ok`, and it is said again.
#[tokio::test]
async fn an_end_whose_answer_is_lost_is_not_confirmed() {
    let server = Server::start();
    let wire = Proxy::to(&server);
    let ear = Ear::default();
    let builder = Larder::builder("test").redis(wire.url()).bound(30 * SECOND);
    let builder = builder.invalidate_deadline(Duration::from_millis(100)).observer(ear.observer());
    let larder = builder.open().await.unwrap();
    let words: larder::Cache<str, String> = larder.cache("words").shared().unwrap();
    wire.hold(1);
    let asked = server.calls("unlink");
    assert_eq!(words.invalidate("k").await.unwrap_err().kind(), ErrorKind::Unconfirmed);
    until("it is said again", || async { server.calls("unlink") > asked + 1 }).await;
    assert!(words.put("k", "v".to_owned()).await.is_err());
    wire.let_go();
    ear.hears("Confirmed { waiting: 0 }", 1).await;
    words.invalidate("k").await.unwrap();
}

/// `close` waits for what is not confirmed yet, no longer than it is told to.
#[tokio::test]
async fn close_says_what_it_could_not_get_confirmed() {
    let mut server = Server::start();
    let world = World::on(&server.url()).await;
    server.kill();
    world.ear.hears("Disconnected", 1).await;
    assert!(world.words.invalidate("k").await.is_err());
    assert!(world.larder.invalidate_tag("t").await.is_err());
    assert_eq!(world.larder.close(Duration::from_millis(50)).await, 2);
}

/// No memory left under `noeviction`: hits are served, misses loaded and handed out, ends work.
#[tokio::test]
async fn a_full_redis_serves_what_it_has_and_stops_nobody() {
    let server = Server::with(&["--maxmemory-policy", "noeviction"]);
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    here.source.set("k", "kept");
    here.read_tagged("k", "list").await.unwrap();
    let _: String = server.ask("CONFIG SET maxmemory 1");
    assert_eq!(there.has("k").await, "kept far");
    there.source.set("new", "passing");
    for _ in 0..3 {
        assert_eq!(*there.read("new").await.unwrap(), "passing");
    }
    there.source.set("tagged", "passing");
    assert_eq!(*there.read_tagged("tagged", "another").await.unwrap(), "passing");
    assert_eq!(there.has("new").await, "nothing");
    assert!(there.words.put("p", "x".to_owned()).await.is_err());
    there.larder.invalidate_tag("list").await.unwrap();
    there.words.invalidate("new").await.unwrap();
    here.larder.sync().await.unwrap();
    assert!(here.words.tagged(["list"]).get("k").await.unwrap().is_none());
    assert_eq!(server.keys(), [V], "no lease and no tag was left behind");
    let _: String = server.ask("CONFIG SET maxmemory 0");
    assert_eq!(*there.read("new").await.unwrap(), "passing");
    assert_eq!(there.has("new").await, "passing near");
}

/// Anything at all may stand under our names. It is a miss, counted if it is a string, and the next load is stored over
/// it; wrong types at the lease and at the tag as well.
#[tokio::test]
async fn rubbish_under_our_keys_is_a_miss_and_gives_way() {
    let server = Server::start();
    let (l, t) = ("test:words:1:l:{.1.k}", "test:t:{.list}");
    for plant in [
        format!("SET {V} rubbish"),
        format!("RPUSH {V} a b"),
        format!("SADD {l} a b"),
        format!("HSET {t} a b"),
        format!("SET {t} short"),
    ] {
        let _: String = server.ask("FLUSHALL");
        let _: redis::Value = server.ask(&plant);
        let world = World::on(&server.url()).await;
        world.source.set("k", "v");
        assert_eq!(*world.read_tagged("k", "list").await.unwrap(), "v", "{plant}");
        let other = World::on(&server.url()).await;
        let entry = other.words.tagged(["list"]).get("k").await.unwrap();
        assert_eq!(entry.map(|entry| entry.origin()), Some(Origin::Far), "{plant}");
        let unreadable = u64::from(plant.starts_with("SET") && plant.contains(V));
        assert_eq!(world.words.stats().unreadable, unreadable, "{plant}");
    }
    // A lease in a form that this version does not know: the source is asked, nothing is stored.
    let _: String = server.ask("FLUSHALL");
    let _: String = server.ask(&format!("SET {l} Zsomething PX 600000"));
    let world = World::on(&server.url()).await;
    world.source.set("k", "v");
    assert_eq!(*world.read("k").await.unwrap(), "v");
    assert_eq!(server.keys(), [l]);
}

/// What another program of ours wrote for another key, or with other settings, is no answer.
#[tokio::test]
async fn the_envelope_of_another_key_is_a_miss() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    world.source.set("a", "of a");
    world.source.set("k", "of k");
    world.read("a").await.unwrap();
    let _: i64 = server.ask(&format!("COPY test:words:1:v:{{.1.a}} {V}"));
    assert_eq!(*world.read("k").await.unwrap(), "of k");
    assert_eq!(world.words.stats().unreadable, 1);
}

/// The server forgets our scripts: they are sent again, and nobody notices.
#[tokio::test]
async fn a_flush_of_the_scripts_is_not_noticed() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    for round in 0..3 {
        let _: String = server.ask("SCRIPT FLUSH");
        let key = format!("k{round}");
        world.source.set(&key, "v");
        world.read(&key).await.unwrap();
        assert_eq!(world.has(&key).await, "v near");
    }
    assert_eq!(world.words.stats().far_skipped, 0);
}

/// A Redis that hangs before it has proven anything, with many callers at once: each is answered by a load of
/// this process, and not one load each.
#[tokio::test]
async fn while_redis_hangs_a_process_still_loads_once_for_all_its_callers() {
    let server = Server::start();
    let source = Source::default();
    let builder = Larder::builder("test").redis(server.url()).bound(30 * SECOND);
    let world = World::of(builder.far_deadline(Duration::from_millis(100)), &source).await;
    server.pause();
    source.set("k", "v");
    source.takes(Duration::from_millis(100));
    let reads: Vec<_> = (0..50).map(|_| world.reading("k")).collect();
    for read in reads {
        assert_eq!(*read.await.unwrap().unwrap(), "v");
    }
    assert_eq!(source.loads(), 1);
    server.resume();
}

/// A hundred values that cannot be read, and nobody answers on the connection that would remove them: the answer does
/// not wait for that.
#[tokio::test]
async fn many_unreadable_values_are_removed_without_being_waited_for() {
    let server = Server::start();
    let wire = Proxy::to(&server);
    let builder = Larder::builder("test").redis(wire.url()).bound(support::NEVER);
    let larder = builder.far_deadline(PATIENT).open().await.unwrap();
    let words: larder::Cache<u32, String> = larder.cache("words").shared().unwrap();
    for n in 0..100 {
        let _: String = server.ask(&format!("SET test:words:1:v:{{.{n};}} rubbish"));
    }
    wire.hold(1);
    let keys: Vec<u32> = (0..100).collect();
    let found = support::soon("an answer", words.get_many(&keys)).await.unwrap();
    assert!(found.iter().all(Option::is_none));
    assert_eq!(words.stats().unreadable, 100);
    until("they are removed", || async { server.keys().is_empty() }).await;
    wire.let_go();
}

/// `remove` was not confirmed and waits to be sent again; then the key is put anew. The older end does not take the
/// newer value with it.
#[tokio::test]
async fn a_put_is_not_undone_by_an_end_that_was_waiting() {
    let mut server = Server::start();
    let world = World::on(&server.url()).await;
    server.kill();
    world.ear.hears("Disconnected", 1).await;
    until("the connection for ends is gone too", || async {
        world.words.remove("k").await.is_err()
    })
    .await;
    server.start_again();
    let put = || async { world.words.put("k", "session".to_owned()).await.is_ok() };
    until("a put that is confirmed", put).await;
    until("nothing waits", || async { world.larder.stats().unconfirmed_waiting == 0 }).await;
    world.larder.sync().await.unwrap();
    assert_eq!(world.has("k").await, "session far");
}

/// The caller of an invalidation hangs up while it is on its way: it goes on, and `close` counts it.
#[tokio::test]
async fn an_end_whose_caller_has_gone_goes_on_and_is_counted() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    world.source.set("k", "v");
    world.read("k").await.unwrap();
    let begun = |world: &World| {
        let words = world.words.clone();
        let mut ending = Box::pin(async move { words.invalidate("k").await });
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(ending.as_mut().poll(&mut context).is_pending());
    };
    begun(&world); // and dropped
    until("it is ended", || async { server.keys().is_empty() }).await;
    server.pause();
    begun(&world);
    assert_eq!(world.larder.close(Duration::from_millis(50)).await, 1);
    server.resume();
}

/// Redis answers and takes no writes (too few replicas): what could not be ended is served from neither side, by key or
/// by tag, however often far says that it still stands; and it is ended once Redis takes writes again.
#[tokio::test]
async fn what_could_not_be_ended_is_not_served_by_whoever_ended_it() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    world.source.set("key", "v");
    world.source.set("tagged", "v");
    world.read("key").await.unwrap();
    world.read_tagged("tagged", "list").await.unwrap();
    let tagged = world.words.tagged(["list"]);
    assert_eq!(tagged.get("tagged").await.unwrap().unwrap().origin(), Origin::Near);
    let _: String = server.ask("CONFIG SET min-replicas-to-write 1");
    let by_key = world.words.invalidate("key").await.unwrap_err();
    let by_tag = world.larder.invalidate_tag("list").await.unwrap_err();
    assert_eq!((by_key.kind(), by_tag.kind()), (ErrorKind::Unconfirmed, ErrorKind::Unconfirmed));
    world.source.set("key", "new");
    world.source.set("tagged", "new");
    for _ in 0..3 {
        assert_eq!(*world.read("key").await.unwrap(), "new");
        assert_eq!(*world.read_tagged("tagged", "list").await.unwrap(), "new");
        assert!(world.words.get("key").await.unwrap().is_none());
        assert!(tagged.get_many(["key", "tagged"]).await.unwrap().iter().all(Option::is_none));
    }
    let _: String = server.ask("CONFIG SET min-replicas-to-write 0");
    world.ear.hears("Confirmed { waiting: 0 }", 1).await;
    world.larder.sync().await.unwrap();
    assert_eq!(world.has("key").await, "nothing");
    assert!(tagged.get("tagged").await.unwrap().is_none());
}

/// Too few replicas: what is there is served, near and far; what is nowhere is loaded and kept nowhere; and no end is
/// taken for confirmed.
#[tokio::test]
async fn while_replicas_are_missing_hits_are_served() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    here.source.set("k", "v");
    here.read("k").await.unwrap();
    let _: String = server.ask("CONFIG SET min-replicas-to-write 1");
    assert_eq!((here.has("k").await, there.has("k").await), ("v near".into(), "v far".into()));
    there.source.set("new", "v");
    for _ in 0..2 {
        assert_eq!(there.read("new").await.unwrap().origin(), Origin::Loaded);
    }
    let error = there.words.invalidate("other").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed);
    assert_eq!(there.larder.stats().breaker_opened, 0, "it answers");
    let _: String = server.ask("CONFIG SET min-replicas-to-write 0");
    there.ear.hears("Confirmed { waiting: 0 }", 1).await;
}

/// Nobody knows whether it landed: it is not `Ok`, and it is not sent again, since by then it might be the older one.
#[tokio::test]
async fn a_put_whose_answer_is_lost_is_not_confirmed_and_not_sent_again() {
    let server = Server::start();
    let wire = Proxy::to(&server);
    let builder = Larder::builder("test").redis(wire.url()).bound(support::NEVER);
    let builder = builder.invalidate_deadline(Duration::from_millis(100));
    let larder = builder.open().await.unwrap();
    let words: larder::Cache<str, String> = larder.cache("words").shared().unwrap();
    wire.hold(1);
    let asked = server.calls("evalsha");
    let error = words.put("k", "v".to_owned()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed, "{error}");
    until("it has landed", || async { server.keys() == [V] }).await;
    wire.let_go();
    let again = || async { words.put("other", "v".to_owned()).await.is_ok() };
    until("the connection answers", again).await;
    let others = server.calls("evalsha") - asked;
    assert_eq!(words.get("k").await.unwrap().map(|entry| entry.to_string()).as_deref(), Some("v"));
    assert_eq!(others, 2, "each put once");
}

/// Everything is flushed while a load runs: its store is refused, its caller is answered, and the next load is stored.
#[tokio::test]
async fn a_flush_under_a_load_refuses_its_store() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    world.source.set("near", "v");
    world.read("near").await.unwrap();
    let (mut step, load) = support::stepped();
    let reading = world.reading_by("k", load);
    step.begins().await;
    let _: String = server.ask("FLUSHALL");
    world.larder.sync().await.unwrap();
    assert_eq!(world.has("near").await, "nothing");
    step.answers("old");
    assert_eq!(*reading.await.unwrap().unwrap(), "old");
    assert_eq!((world.has("k").await.as_str(), world.words.stats().stores_refused), ("nothing", 1));
    world.source.set("k", "new");
    world.read("k").await.unwrap();
    assert_eq!(world.has("k").await, "new near");
}

/// The runtime on which larder was opened is not driven any more, and its callers are on another: a reader that waits
/// for its turn behind the first has the same deadline as that one.
#[test]
fn a_queued_reader_does_not_wait_for_a_runtime_that_stands_still() {
    let server = Server::start();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (opened_on, callers_on) = (runtime(), runtime());
    let builder = Larder::builder("test").redis(server.url());
    let builder = builder.far_deadline(Duration::from_millis(100));
    let larder = opened_on.block_on(builder.open()).unwrap();
    let words: larder::Cache<u32, String> = larder.cache("words").shared().unwrap();
    callers_on.block_on(async {
        let mut asking = tokio::task::JoinSet::new();
        for n in 0..8 {
            let words = words.clone();
            asking.spawn(async move { words.get(&n).await.unwrap().is_none() });
        }
        while let Some(found) = support::soon("an answer", asking.join_next()).await {
            assert!(found.unwrap());
        }
    });
    assert_eq!(words.stats().far_skipped, 8, "far gave no answer to any of them");
}
