//! A source that may say "unchanged": the entry lives on, its value stays where it is, and nothing that was ended
//! comes back by it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::{Arc, Mutex};

use larder::{
    Cache, CacheBuilder, Clock, Entry, Error, ErrorKind, HOUR, Larder, Lifetime, Loaded, MINUTE,
    Origin, Refreshed, SECOND, SharedMemory, Stale,
};
use support::{Cluster, PATIENT, Server, until};
use tokio::sync::Semaphore;

type Texts = Cache<str, String>;

/// A source that tells what it was shown, and answers as it is told.
#[derive(Clone)]
struct Source {
    shown: Arc<Mutex<Vec<Option<String>>>>,
    answer: Arc<Mutex<Refreshed<String>>>,
    gate: Arc<Semaphore>,
}

impl Source {
    fn new() -> Source {
        Source {
            shown: Arc::default(),
            answer: Arc::new(Mutex::new(Refreshed::Unchanged)),
            gate: Arc::new(Semaphore::new(1 << 20)),
        }
    }

    fn says(&self, answer: impl Into<Refreshed<String>>) {
        *self.answer.lock().unwrap() = answer.into();
    }

    fn is_unchanged(&self) {
        *self.answer.lock().unwrap() = Refreshed::Unchanged;
    }

    fn hold(&self) {
        self.gate.forget_permits(usize::MAX);
    }

    fn let_go(&self) {
        self.gate.add_permits(1 << 20);
    }

    /// What the loads were shown since this was last asked.
    fn shown(&self) -> Vec<Option<String>> {
        std::mem::take(&mut self.shown.lock().unwrap())
    }

    async fn read(&self, cache: &Texts) -> Result<Entry<String>, Error> {
        let this = self.clone();
        let load = |old: Option<Arc<String>>| async move {
            this.shown.lock().unwrap().push(old.map(|old| old.to_string()));
            this.gate.acquire().await.unwrap().forget();
            this.gate.add_permits(1);
            Ok::<_, std::io::Error>(this.answer.lock().unwrap().clone())
        };
        cache.get_or_refresh("k", load).await
    }
}

/// What [`Source::shown`] tells of one load.
fn one(shown: Option<&str>) -> Vec<Option<String>> {
    vec![shown.map(str::to_owned)]
}

fn memory() -> SharedMemory {
    SharedMemory::new(4 << 20, Clock::of_runtime(7))
}

async fn beside(memory: &SharedMemory) -> Larder {
    Larder::builder("test").shared_memory(memory).open().await.unwrap()
}

fn texts(larder: &Larder) -> CacheBuilder<str, String> {
    let lifetime = Lifetime::fresh_for(MINUTE).stale_for(HOUR).jitter(0.0);
    larder.cache("texts").lifetime(lifetime).tagged_by(|_: &str| ["list"])
}

async fn others_run() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

async fn passes(time: std::time::Duration) {
    tokio::time::advance(time).await;
    others_run().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_unchanged_lives_anew_in_the_whole_fleet() {
    let (memory, source) = (memory(), Source::new());
    let (one_of, other) = (beside(&memory).await, beside(&memory).await);
    let (ours, theirs) = (texts(&one_of).shared().unwrap(), texts(&other).shared().unwrap());
    source.says("text".to_owned());
    source.read(&ours).await.unwrap();
    assert_eq!(source.shown(), one(None));
    source.is_unchanged();
    for round in 1..=3 {
        passes(61 * SECOND).await;
        let entry = source.read(&ours).await.unwrap();
        assert!(entry.is_stale() && *entry == "text");
        others_run().await;
        assert_eq!(source.shown(), one(Some("text")));
        assert_eq!(ours.stats().unchanged, round);
        let entry = ours.get("k").await.unwrap().unwrap();
        assert_eq!(
            (entry.as_str(), entry.origin(), entry.age().as_secs()),
            ("text", Origin::Near, 0)
        );
        let entry = theirs.get("k").await.unwrap().unwrap();
        assert_eq!(
            (entry.as_str(), entry.origin(), entry.age().as_secs()),
            ("text", Origin::Far, 0)
        );
        assert_eq!(theirs.ttl("k").await.unwrap().map(|left| left.as_secs()), Some(60));
    }
    source.says("other".to_owned());
    passes(61 * SECOND).await;
    source.read(&ours).await.unwrap();
    others_run().await;
    assert_eq!(*theirs.get("k").await.unwrap().unwrap(), "other");
    assert_eq!(ours.stats().unchanged, 3);
    passes(HOUR + 2 * MINUTE).await;
    source.says("last".to_owned());
    assert_eq!(*source.read(&ours).await.unwrap(), "last");
    assert_eq!(source.shown(), [Some("text".to_owned()), None], "what is gone is not shown");
}

/// Where callers wait for the source, and after a soft end by key and by tag: the old one is shown, and "unchanged"
/// makes it fresh again.
#[tokio::test(start_paused = true)]
async fn what_was_expired_is_shown_and_is_fresh_again_when_it_is_unchanged() {
    let (memory, source) = (memory(), Source::new());
    let larder = beside(&memory).await;
    let cache: Texts = texts(&larder).stale(Stale::InNeed).shared().unwrap();
    source.says("text".to_owned());
    source.read(&cache).await.unwrap();
    source.shown();
    source.is_unchanged();
    for ended in ["by time", "by key", "by tag"] {
        match ended {
            "by time" => passes(61 * SECOND).await,
            "by key" => cache.expire("k").await.unwrap(),
            _ => larder.expire_tag("list").await.unwrap(),
        }
        assert!(cache.get("k").await.unwrap().is_none(), "{ended}");
        let entry = source.read(&cache).await.unwrap();
        assert_eq!((entry.as_str(), entry.origin()), ("text", Origin::Loaded), "{ended}");
        assert_eq!(source.shown(), one(Some("text")), "{ended}");
        assert!(cache.get("k").await.unwrap().is_some(), "{ended}");
        let anew: Texts = texts(&beside(&memory).await).stale(Stale::InNeed).shared().unwrap();
        assert_eq!(anew.get("k").await.unwrap().unwrap().origin(), Origin::Far, "{ended}");
    }
    assert_eq!(cache.stats().unchanged, 3);
}

#[tokio::test(start_paused = true)]
async fn what_was_ended_is_not_shown_and_nothing_cannot_be_unchanged() {
    let (memory, source) = (memory(), Source::new());
    let (larder, other) = (beside(&memory).await, beside(&memory).await);
    let cache: Texts = texts(&larder).backoff(std::time::Duration::ZERO).shared().unwrap();
    let theirs: Texts = texts(&other).backoff(std::time::Duration::ZERO).shared().unwrap();
    for ended in ["by key", "by tag"] {
        for stale in [false, true] {
            source.says("text".to_owned());
            source.read(&cache).await.unwrap();
            if stale {
                passes(61 * SECOND).await;
            }
            match ended {
                "by key" => theirs.invalidate("k").await.unwrap(),
                _ => other.invalidate_tag("list").await.unwrap(),
            }
            source.shown();
            source.is_unchanged();
            let error = source.read(&cache).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Source, "{ended}, stale: {stale}");
            assert!(error.cause::<std::io::Error>().is_none());
            assert_eq!(source.shown(), one(None), "{ended}, stale: {stale}");
        }
    }
    assert_eq!(cache.stats().unchanged, 0);
}

/// A tag that ends when a stale entry has been served, and before the lease over it is granted: the old value is
/// not shown any more.
#[tokio::test(start_paused = true)]
async fn what_a_tag_has_ended_before_the_lease_was_granted_is_not_shown() {
    let (memory, source) = (memory(), Source::new());
    let (larder, other) = (beside(&memory).await, beside(&memory).await);
    let cache: Texts = texts(&larder).shared().unwrap();
    source.says("text".to_owned());
    source.read(&cache).await.unwrap();
    passes(61 * SECOND).await;
    source.shown();
    // The end is on its way, and comes before what the read leaves in the background.
    let (ended, read) = tokio::join!(other.invalidate_tag("list"), source.read(&cache));
    ended.unwrap();
    assert!(read.unwrap().is_stale());
    others_run().await;
    assert_eq!(source.shown(), one(None));
}

/// An end that comes while the source is asked: what it says may be from before it.
#[tokio::test(start_paused = true)]
async fn unchanged_is_not_stored_when_an_end_came_between() {
    for ended in ["by key", "by tag", "softly by key"] {
        let (memory, source) = (memory(), Source::new());
        let (larder, other) = (beside(&memory).await, beside(&memory).await);
        let cache: Texts = texts(&larder).shared().unwrap();
        let theirs: Texts = texts(&other).shared().unwrap();
        source.says("text".to_owned());
        source.read(&cache).await.unwrap();
        passes(61 * SECOND).await;
        source.is_unchanged();
        source.hold();
        assert!(source.read(&cache).await.unwrap().is_stale());
        others_run().await;
        assert_eq!(source.shown().last().unwrap().as_deref(), Some("text"));
        match ended {
            "by key" => theirs.invalidate("k").await.unwrap(),
            "by tag" => other.invalidate_tag("list").await.unwrap(),
            _ => theirs.expire("k").await.unwrap(),
        }
        source.let_go();
        others_run().await;
        for cache in [&cache, &theirs] {
            assert!(cache.get("k").await.unwrap().is_none(), "{ended}");
        }
        let after = source.read(&theirs).await;
        match ended {
            "softly by key" => assert_eq!(*after.unwrap(), "text"),
            _ => assert_eq!(after.unwrap_err().kind(), ErrorKind::Source, "{ended}"),
        }
    }
}

/// Stored by a call that does not look at the old value, nobody knows its bytes: the first time it is sent whole.
#[tokio::test(start_paused = true)]
async fn what_nobody_took_the_print_of_is_stored_whole_once() {
    let (memory, source) = (memory(), Source::new());
    let larder = beside(&memory).await;
    let cache: Texts = texts(&larder).shared().unwrap();
    cache.get_or_load("k", || async { Ok::<_, std::io::Error>("text".to_owned()) }).await.unwrap();
    for (round, headers) in [(1, 0), (2, 1), (3, 2)] {
        passes(61 * SECOND).await;
        source.read(&cache).await.unwrap();
        others_run().await;
        assert_eq!(cache.get("k").await.unwrap().unwrap().age().as_secs(), 0, "round {round}");
        assert_eq!(cache.stats().unchanged, headers, "round {round}");
    }
}

/// Tags that the loader told stay with it.
#[tokio::test(start_paused = true)]
async fn what_is_unchanged_keeps_its_tags() {
    let (memory, source) = (memory(), Source::new());
    let larder = beside(&memory).await;
    let cache: Texts = texts(&larder).shared().unwrap();
    source.says(Loaded::new("text".to_owned()).tag("told"));
    source.read(&cache).await.unwrap(); // its tag is new: not stored
    passes(SECOND).await;
    source.read(&cache).await.unwrap();
    source.is_unchanged();
    for round in 1..=2 {
        passes(61 * SECOND).await;
        assert!(source.read(&cache).await.unwrap().is_stale());
        others_run().await;
        assert_eq!(cache.stats().unchanged, round);
        assert!(cache.get("k").await.unwrap().is_some());
    }
    larder.invalidate_tag("told").await.unwrap();
    assert!(cache.get("k").await.unwrap().is_none());
    let anew: Texts = texts(&beside(&memory).await).shared().unwrap();
    assert!(anew.get("k").await.unwrap().is_none());
}

/// Text that no compression makes much smaller.
fn long() -> String {
    let mut state = 7_u64;
    let mut letter = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + (state >> 33) as u8 % 90)
    };
    (0..64 << 10).map(|_| letter()).collect()
}

async fn on(url: &str) -> Larder {
    let builder = Larder::builder("test").redis(url).far_deadline(PATIENT);
    builder.invalidate_deadline(PATIENT).open().await.unwrap()
}

/// Over Redis: 64 KiB are read and stored once, and then only headers travel.
async fn headers_travel(url: &str, received: impl Fn() -> u64) {
    let source = Source::new();
    let (larder, other) = (on(url).await, on(url).await);
    let cache: Texts = texts(&larder).stale(Stale::InNeed).shared().unwrap();
    let theirs: Texts = texts(&other).stale(Stale::InNeed).shared().unwrap();
    source.says(long());
    source.read(&cache).await.unwrap();
    source.is_unchanged();
    let before = received();
    for round in 1..=10 {
        cache.expire("k").await.unwrap();
        let entry = source.read(&cache).await.unwrap();
        assert_eq!((entry.len(), entry.origin()), (64 << 10, Origin::Loaded));
        assert_eq!(cache.stats().unchanged, round);
    }
    let sent = received() - before;
    assert!(sent < 64 << 10, "{sent} bytes were sent for ten headers");
    let entry = theirs.get("k").await.unwrap().unwrap();
    assert_eq!((entry.origin(), *entry == long()), (Origin::Far, true));
    // And what one process put a header before, another can put one before.
    theirs.expire("k").await.unwrap();
    assert_eq!(source.read(&theirs).await.unwrap().len(), 64 << 10);
    assert_eq!(theirs.stats().unchanged, 1);
    assert_eq!(theirs.stats().unreadable + cache.stats().unreadable, 0);
}

fn received(server: &Server) -> u64 {
    let info: String = server.ask("INFO stats");
    let line = info.lines().find_map(|line| line.strip_prefix("total_net_input_bytes:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn of_what_is_unchanged_only_the_header_travels() {
    let server = Server::start();
    headers_travel(&server.url(), || received(&server)).await;
}

#[tokio::test]
async fn of_what_is_unchanged_only_the_header_travels_in_a_cluster() {
    let cluster = Cluster::of_masters();
    let of_all = || cluster.nodes.iter().map(received).sum();
    headers_travel(&cluster.url(), of_all).await;
}

/// Evicted while the source was asked: the lease stands, and the value is stored whole under it.
#[tokio::test]
async fn what_redis_has_lost_meanwhile_is_stored_whole() {
    let (server, source) = (Server::start(), Source::new());
    let larder = on(&server.url()).await;
    let cache: Texts = texts(&larder).stale(Stale::InNeed).shared().unwrap();
    source.says("text".to_owned());
    source.read(&cache).await.unwrap();
    cache.expire("k").await.unwrap();
    source.is_unchanged();
    source.hold();
    source.shown();
    let reading = tokio::spawn({
        let (source, cache) = (source.clone(), cache.clone());
        async move { source.read(&cache).await }
    });
    until("the source is asked", || async { !source.shown.lock().unwrap().is_empty() }).await;
    let value = server.keys().into_iter().find(|key| key.contains(":v:")).unwrap();
    let removed: u64 = server.ask(&format!("DEL {value}"));
    assert_eq!(removed, 1);
    source.let_go();
    assert_eq!(*reading.await.unwrap().unwrap(), "text");
    assert_eq!(source.shown(), one(Some("text")));
    assert_eq!(cache.stats().unchanged, 0);
    let anew: Texts = texts(&on(&server.url()).await).stale(Stale::InNeed).shared().unwrap();
    assert_eq!(anew.get("k").await.unwrap().unwrap().origin(), Origin::Far);
}

/// Without the far side nothing can be kept, and nothing is shown.
#[tokio::test]
async fn without_redis_nothing_is_shown() {
    let (mut server, source) = (Server::start(), Source::new());
    let larder = on(&server.url()).await;
    let cache: Texts = texts(&larder).stale(Stale::InNeed).shared().unwrap();
    source.says("text".to_owned());
    source.read(&cache).await.unwrap();
    cache.expire("k").await.unwrap();
    server.kill();
    until("it is away", || async { !larder.is_far_up() }).await;
    source.shown();
    assert_eq!(*source.read(&cache).await.unwrap(), "text");
    assert_eq!(source.shown(), one(None));
}
