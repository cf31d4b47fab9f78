//! A Redis that only costs time is left alone, and asked again when it is well; and no invalidation is lost by that.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::{BreakerSettings, ErrorKind, HOUR, Larder, Lifetime, MINUTE, Origin, Stale};
use support::{NEVER, PATIENT, Proxy, Server, Source, World, until};

const DEADLINE: Duration = Duration::from_millis(20);

/// Behind a wire; heartbeats have all the time there is, so that the connection stays.
async fn behind(wire: &Proxy, breaker: BreakerSettings) -> World {
    let builder = Larder::builder("test").redis(wire.url()).bound(NEVER).far_deadline(DEADLINE);
    World::of(builder.breaker(breaker), &Source::default()).await
}

/// Reads keys that are nowhere, each for the first time, until the breaker has opened.
async fn opens(world: &World) {
    let times = world.ear.count("BreakerOpened") + 1;
    let mut number = 0;
    until("the breaker opens", || {
        number += 1;
        let key = format!("{times}-{number}");
        world.source.set(&key, "v");
        async move {
            assert_eq!(*world.read(&key).await.unwrap(), "v");
            world.ear.count("BreakerOpened") >= times
        }
    })
    .await;
}

fn asked(server: &Server) -> u64 {
    ["mget", "evalsha", "unlink"].iter().map(|command| server.calls(command)).sum()
}

/// Redis takes what it is told and its answers do not come: after some deadlines nobody waits for one any more, and
/// nothing is sent. What heartbeats have proven is served on.
#[tokio::test]
async fn while_it_is_open_redis_is_not_asked() {
    let server = Server::start();
    let wire = Proxy::to(&server);
    let world = behind(&wire, BreakerSettings::new().open_for(HOUR)).await;
    world.source.set("near", "kept");
    until("it is near", || async { world.read("near").await.unwrap().origin() == Origin::Near })
        .await;
    wire.hold(0);
    opens(&world).await;
    assert!(!world.larder.is_far_up());
    let (before, skipped) = (asked(&server), world.words.stats().far_skipped);
    world.source.set("k", "v");
    for _ in 0..50 {
        assert_eq!(*world.read("k").await.unwrap(), "v");
        assert!(world.words.get("k").await.unwrap().is_none());
    }
    assert!(world.words.get_many(["k", "l"]).await.unwrap().iter().all(Option::is_none));
    assert_eq!(world.words.put("k", "v".to_owned()).await.unwrap_err().kind(), ErrorKind::Far);
    assert_eq!(asked(&server), before, "nothing of it was sent");
    assert!(world.words.stats().far_skipped >= skipped + 100, "and each is counted");
    assert_eq!(world.has("near").await, "kept near");
    let stats = world.larder.stats();
    assert_eq!((stats.breaker_opened, stats.breaker_closed, stats.disconnects), (1, 0, 0));
    wire.let_go();
}

/// It opens for the time that is set; then a few calls are tried, and when they go well everything is as before.
#[tokio::test]
async fn it_closes_when_what_is_tried_goes_well() {
    let server = Server::start();
    let wire = Proxy::to(&server);
    let settings = BreakerSettings::new().open_for(Duration::from_millis(50)).slow_after(PATIENT);
    let builder = Larder::builder("test").redis(wire.url()).bound(NEVER);
    let builder = builder.far_deadline(Duration::from_millis(200));
    let world = World::of(builder.breaker(settings.calls_min(4)), &Source::default()).await;
    wire.hold(0);
    opens(&world).await;
    // Nothing has changed: what is tried goes badly.
    world.source.set("k", "v");
    until("it opens again", || async {
        world.read("k").await.unwrap();
        world.ear.count("BreakerOpened { again: true") > 0
    })
    .await;
    wire.let_go();
    until("it closes", || async {
        world.read("k").await.unwrap();
        world.words.get("other").await.unwrap();
        world.ear.count("BreakerClosed") > 0
    })
    .await;
    assert!(world.ear.count("BreakerHalfOpen") >= 2);
    assert!(world.larder.is_far_up());
    until("hits are back", || async { world.read("k").await.unwrap().origin() == Origin::Near })
        .await;
    let stats = world.larder.stats();
    assert_eq!((stats.breaker_opened, stats.breaker_closed), (1, 1));
}

/// While it is open the source fails: what near has that is stale stands in, and what was ended does not.
#[tokio::test]
async fn while_it_is_open_what_is_stale_and_near_stands_in() {
    let server = Server::start();
    let wire = Proxy::to(&server);
    let world = behind(&wire, BreakerSettings::new().open_for(HOUR)).await;
    let lifetime = Lifetime::fresh_for(Duration::from_millis(1)).stale_for(HOUR);
    let cache = world.larder.cache("texts").lifetime(lifetime).stale(Stale::InNeed);
    let texts: larder::Cache<str, String> = cache.shared().unwrap();
    let load = |answer: Result<&str, &str>| {
        let answer = answer.map(str::to_owned).map_err(|why| std::io::Error::other(why.to_owned()));
        move || async move { answer }
    };
    for key in ["kept", "ended"] {
        texts.get_or_load(key, load(Ok("old"))).await.unwrap();
        until("it is stale", || async { texts.get_near(key).is_none() }).await;
    }
    wire.hold(0);
    opens(&world).await;
    assert_eq!(texts.invalidate("ended").await.unwrap_err().kind(), ErrorKind::Unconfirmed);
    let entry = texts.get_or_load("kept", load(Err("down"))).await.unwrap();
    assert!(entry.as_str() == "old" && entry.is_stale() && entry.origin() == Origin::Near);
    let error = texts.get_or_load("ended", load(Err("down"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source);
    assert_eq!(*texts.get_or_load("kept", load(Ok("new"))).await.unwrap(), "new");
    assert_eq!(texts.stats().stood_in, 1);
    wire.let_go();
}

/// Every answer comes, and each is slow.
#[tokio::test]
async fn it_opens_on_slowness_alone() {
    let server = Server::start();
    let slow = BreakerSettings::new().open_for(HOUR).slow_after(Duration::from_nanos(1));
    let builder = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
    let world = World::of(builder.breaker(slow), &Source::default()).await;
    opens(&world).await;
    world.ear.hears("failed: 0, slow: 20", 1).await;
    // The same, where slowness is no reason.
    let settled = BreakerSettings::off().slow_after(Duration::from_nanos(1));
    let builder = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
    let world = World::of(builder.breaker(settled), &Source::default()).await;
    for n in 0..100 {
        world.words.get(&format!("{n}")).await.unwrap();
    }
    assert_eq!(world.words.stats().far_skipped, 0);
}

/// While it is open an invalidation does not wait, and is not lost: Redis hears of it at once, from the queue.
#[tokio::test]
async fn an_invalidation_is_unconfirmed_at_once_and_sent_all_the_same() {
    let server = Server::start();
    let wire = Proxy::to(&server);
    let world = behind(&wire, BreakerSettings::new().open_for(HOUR)).await;
    world.source.set("k", "old");
    world.read_tagged("k", "list").await.unwrap();
    world.source.set("other", "old");
    world.read("other").await.unwrap();
    wire.hold(0);
    opens(&world).await;
    let by_key = world.words.invalidate("k").await.unwrap_err();
    let by_tag = world.larder.invalidate_tag("list").await.unwrap_err();
    assert_eq!((by_key.kind(), by_tag.kind()), (ErrorKind::Unconfirmed, ErrorKind::Unconfirmed));
    assert!(by_key.to_string().contains("breaker"), "{by_key}");
    until("both are ended", || async { world.larder.stats().unconfirmed_waiting == 0 }).await;
    let left = server.keys();
    assert!(!left.iter().any(|key| key.contains(".1.k}") || key.contains(":t:")), "{left:?}");
    assert!(!world.larder.is_far_up(), "it was open all the while");
    assert_eq!(world.larder.stats().breaker_closed, 0);
    wire.let_go();
}

/// Ends are tried as well as reads, and tell when Redis is well again: also where nobody reads.
#[tokio::test]
async fn ends_alone_close_it() {
    let server = Server::start();
    let wire = Proxy::to(&server);
    let settings = BreakerSettings::new().open_for(Duration::from_millis(20)).slow_after(PATIENT);
    let world = behind(&wire, settings).await;
    wire.hold(0);
    opens(&world).await;
    wire.let_go();
    until("it closes", || async {
        let _ = world.words.invalidate("k").await;
        world.ear.count("BreakerClosed") > 0
    })
    .await;
    world.words.invalidate("k").await.unwrap();
}

/// A load that began before it opened is handed out and not stored, and its lease is given back: nobody waits for it.
#[tokio::test]
async fn a_lease_held_when_it_opens_is_given_back() {
    let server = Server::start();
    let wire = Proxy::to(&server);
    let builder = Larder::builder("test").redis(wire.url()).bound(NEVER).far_deadline(DEADLINE);
    let builder = builder.breaker(BreakerSettings::new().open_for(HOUR)).lease_time(10 * MINUTE);
    let world = World::of(builder, &Source::default()).await;
    let (mut step, load) = support::stepped();
    let reading = world.reading_by("k", load);
    step.begins().await;
    wire.hold(0);
    opens(&world).await;
    wire.let_go();
    step.answers("v");
    assert_eq!(*reading.await.unwrap().unwrap(), "v");
    until("the lease is nobody's", || async {
        !server.keys().iter().any(|key| key.contains(":l:{.1.k}"))
    })
    .await;
    assert!(!server.keys().iter().any(|key| key.contains(":v:{.1.k}")));
}

/// A server that says that it serves nothing has failed, however quickly it says so; one that is full has not.
#[tokio::test]
async fn it_opens_on_a_server_that_serves_nothing_and_not_on_one_that_is_full() {
    let server = Server::start();
    let open = || Larder::builder("test").redis(server.url()).bound(NEVER).far_deadline(PATIENT);
    let full = World::of(open(), &Source::default()).await;
    let _: String = server.ask("CONFIG SET maxmemory 1");
    for n in 0..100 {
        let key = format!("{n}");
        full.source.set(&key, "v");
        full.read(&key).await.unwrap();
    }
    assert_eq!(full.larder.stats().breaker_opened, 0);
    assert!(full.words.stats().far_skipped >= 100, "it refused each of them");
    let _: String = server.ask("CONFIG SET maxmemory 0");
    let _: String = server.ask("CONFIG SET busy-reply-threshold 1");
    let world = World::of(open(), &Source::default()).await;
    let mut client = server.client();
    let busy = std::thread::spawn(move || {
        let _: redis::RedisResult<()> =
            redis::cmd("EVAL").arg("while true do end").arg(0).query(&mut client);
    });
    opens(&world).await;
    let _: String = server.ask("SCRIPT KILL");
    busy.join().unwrap();
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One warning when it opens and one line when it closes, however often it is tried in between.
#[tokio::test]
async fn it_is_said_once_that_it_opens_and_once_that_it_closes() {
    let log = Log::default();
    let writer = log.clone();
    // The process' own: what other tests of this file say is in it too, of other addresses.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let server = Server::start();
    let wire = Proxy::to(&server);
    let settings = BreakerSettings::new().open_for(Duration::from_millis(20)).slow_after(PATIENT);
    let world = behind(&wire, settings.probes(2)).await;
    wire.hold(0);
    opens(&world).await;
    until("it is tried in vain", || async {
        world.words.get("k").await.unwrap();
        world.ear.count("BreakerOpened { again: true") >= 3
    })
    .await;
    wire.let_go();
    until("it closes", || async {
        world.words.get("k").await.unwrap();
        world.ear.count("BreakerClosed") > 0
    })
    .await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let ours = text.lines().filter(|line| line.contains(&wire.url()));
    let said: Vec<&str> = ours.filter(|line| line.contains("breaker")).collect();
    assert_eq!(said.len(), 2, "{text}");
    assert!(said[0].contains("WARN") && said[0].contains("breaker opens"), "{text}");
    assert!(said[1].contains("INFO") && said[1].contains("breaker closes"), "{text}");
}
