//! Keys that are kept warm: renewed though nobody reads them in that moment, as long as somebody did not long ago.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use larder::{
    Cache, Clock, ErrorKind, HOUR, Larder, LarderBuilder, Lifetime, MINUTE, Origin, RefreshAhead,
    SECOND, SharedMemory, Source as Asked,
};
use support::{PATIENT, Server, Source, until};

const WARM: RefreshAhead = RefreshAhead::at_fraction(0.5).keep_warm(Duration::from_secs(10 * 60));

fn memory() -> SharedMemory {
    SharedMemory::new(4 << 20, Clock::of_runtime(7))
}

fn beside(memory: &SharedMemory) -> LarderBuilder {
    Larder::builder("test").shared_memory(memory)
}

fn words(larder: &Larder, fresh_for: Duration, when: RefreshAhead) -> Cache<str, String> {
    let lifetime = Lifetime::fresh_for(fresh_for).jitter(0.0);
    larder.cache("words").lifetime(lifetime).refresh_ahead(when).shared().unwrap()
}

fn source() -> Source {
    let source = Source::default();
    for key in ["k", "l", "m"] {
        source.set(key, "old");
    }
    source
}

/// What a view asks: the same source, by key.
fn asked(source: &Source) -> impl Asked<str, String> + use<> {
    let source = source.clone();
    move |key: String| {
        let source = source.clone();
        async move { source.load(&key).await.map(Some) }
    }
}

/// Second by second, so that what is due finds its time.
async fn passes(time: Duration) {
    for _ in 0..time.as_secs() {
        tokio::time::advance(SECOND).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_not_long_ago_is_there_and_fresh_whenever_somebody_comes() {
    for when in [WARM, RefreshAhead::early(1.0).keep_warm(10 * MINUTE)] {
        let (memory, source) = (memory(), source());
        let larder = beside(&memory).open().await.unwrap();
        let words = words(&larder, MINUTE, when).through(asked(&source));
        source.takes(2 * SECOND);
        assert_eq!(words.look_up("k").await.unwrap().origin, Origin::Loaded);
        source.set("k", "new");
        passes(9 * MINUTE).await;
        let loads = source.loads();
        assert!((9..25).contains(&loads), "{when:?}: {loads} loads in nine minutes");
        let found = words.look_up("k").await.unwrap();
        assert_eq!((found.origin, found.entry.unwrap().as_str()), (Origin::Near, "new"));
        // Read again: ten more minutes. Then it is left to run out.
        passes(9 * MINUTE).await;
        assert_eq!(words.get_near("k").as_deref().map(String::as_str), Some("new"));
        passes(3 * MINUTE).await;
        assert!(words.get("k").await.unwrap().is_none());
        let loads = source.loads();
        passes(10 * MINUTE).await;
        assert_eq!(source.loads(), loads, "nobody reads it");
        assert_eq!(words.look_up("k").await.unwrap().origin, Origin::Loaded);
    }
}

/// What another call has brought near is kept warm from the first read by the view on.
#[tokio::test(start_paused = true)]
async fn a_hit_near_is_noted_too() {
    let (memory, source) = (memory(), source());
    let larder = beside(&memory).open().await.unwrap();
    let cache = words(&larder, MINUTE, WARM);
    let load = source.load("k");
    cache.get_or_load("k", move || load).await.unwrap();
    assert_eq!(cache.through(asked(&source)).look_up("k").await.unwrap().origin, Origin::Near);
    passes(5 * MINUTE).await;
    assert!(cache.get_near("k").is_some());
}

#[tokio::test(start_paused = true)]
async fn what_was_ended_is_not_brought_back() {
    let (memory, source) = (memory(), source());
    let (larder, other) =
        (beside(&memory).open().await.unwrap(), beside(&memory).open().await.unwrap());
    let cache = words(&larder, MINUTE, WARM);
    let view = cache.through(asked(&source));
    view.read("k").await.unwrap();
    passes(2 * MINUTE).await;
    assert!(cache.get_near("k").is_some());
    words(&other, MINUTE, WARM).invalidate("k").await.unwrap();
    let loads = source.loads();
    passes(5 * MINUTE).await;
    assert_eq!(source.loads(), loads);
    assert!(cache.get("k").await.unwrap().is_none());
    view.read("k").await.unwrap();
    passes(5 * MINUTE).await;
    assert!(cache.get_near("k").is_some(), "until somebody reads it");
}

/// Three processes that keep the same key warm load it as often as one.
#[tokio::test(start_paused = true)]
async fn a_fleet_keeps_it_warm_with_one_load_at_a_time() {
    let (memory, source) = (memory(), source());
    source.takes(3 * SECOND);
    let mut views = Vec::new();
    for _ in 0..3 {
        let larder = beside(&memory).open().await.unwrap();
        views.push(words(&larder, MINUTE, WARM).through(asked(&source)));
    }
    for view in &views {
        view.read("k").await.unwrap();
    }
    passes(9 * MINUTE).await;
    let loads = source.loads();
    assert!((15..=20).contains(&loads), "{loads} loads in eighteen halves of a lifetime");
    for view in &views {
        assert_ne!(view.look_up("k").await.unwrap().origin, Origin::Loaded);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_keys_are_kept_warm_than_may_be() {
    let (memory, source) = (memory(), source());
    let larder = beside(&memory).warm_keys_max(2).open().await.unwrap();
    let view = words(&larder, MINUTE, WARM).through(asked(&source));
    for key in ["k", "l", "m"] {
        view.read(key).await.unwrap();
    }
    passes(3 * MINUTE).await;
    let there = |key: &str| view.get_near(key).is_some();
    assert_eq!([there("k"), there("l"), there("m")], [true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_asked_again_while_the_entry_lasts() {
    let (memory, source) = (memory(), Source::default());
    let larder = beside(&memory).open().await.unwrap();
    let cache = words(&larder, MINUTE, WARM);
    let view = cache.through(asked(&source));
    source.set("k", "old");
    view.read("k").await.unwrap();
    source.forget("k");
    passes(40 * SECOND).await;
    let loads = source.loads();
    assert!(loads > 10, "{loads}");
    assert!(cache.get_near("k").is_some());
    source.set("k", "new");
    passes(5 * SECOND).await;
    assert_eq!(*cache.get_near("k").unwrap(), "new");
    source.forget("k");
    passes(2 * MINUTE).await;
    let loads = source.loads();
    passes(MINUTE).await;
    assert_eq!(source.loads(), loads, "what is gone is not asked for");
}

/// The entry runs out while its renewal is still under way.
#[tokio::test(start_paused = true)]
async fn a_renewal_that_comes_after_the_end_keeps_it_warm_all_the_same() {
    let (memory, source) = (memory(), source());
    let larder = beside(&memory).open().await.unwrap();
    let when = RefreshAhead::at_fraction(0.9).keep_warm(10 * MINUTE);
    let view = words(&larder, MINUTE, when).through(asked(&source));
    view.read("k").await.unwrap();
    source.takes(20 * SECOND);
    passes(65 * SECOND).await;
    assert!(view.get_near("k").is_none());
    for minute in 1..=5 {
        passes(MINUTE).await;
        assert!(source.loads() > minute, "minute {minute}: {} loads", source.loads());
    }
}

/// It stops with the handle, whether that is closed or let go of, and keeps nothing alive.
#[tokio::test(start_paused = true)]
async fn it_stops_with_the_handle() {
    for closed in [true, false] {
        let (memory, source) = (memory(), source());
        let larder = beside(&memory).open().await.unwrap();
        let held = Arc::new(());
        let view = words(&larder, MINUTE, WARM).through({
            let (source, held) = (source.clone(), held.clone());
            move |key: String| {
                let (source, _held) = (source.clone(), held.clone());
                async move { source.load(&key).await.map(Some) }
            }
        });
        view.read("k").await.unwrap();
        passes(2 * MINUTE).await;
        let loads = source.loads();
        assert!(loads > 1);
        if closed {
            assert_eq!(larder.close(SECOND).await, 0);
        }
        drop((view, larder));
        passes(5 * MINUTE).await;
        assert_eq!(source.loads(), loads);
        assert_eq!(Arc::strong_count(&held), 1, "closed: {closed}");
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let larder = Larder::builder("test").open().await.unwrap();
    let refused = |when: RefreshAhead| {
        let error = larder.cache::<str, String>("odd").refresh_ahead(when).shared().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    assert!(refused(RefreshAhead::off().keep_warm(MINUTE)).contains("at_fraction"));
    let short = refused(RefreshAhead::early(1.0).keep_warm(SECOND / 2));
    assert!(short.contains("keep_warm") && short.contains("500ms"), "{short}");
    assert!(refused(RefreshAhead::early(1.0).keep_warm(1_000 * HOUR)).contains("30 days"));
    let error = Larder::builder("test").warm_keys_max(usize::MAX).open().await.unwrap_err();
    assert!(error.to_string().contains("warm_keys_max"), "{error}");
}

/// The same over Redis: nobody reads, and what the source says now is found.
#[tokio::test]
async fn over_redis_it_is_renewed_without_a_reader() {
    let (server, source) = (Server::start(), source());
    let open = async || {
        let builder = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
        builder.open().await.unwrap()
    };
    let (larder, other) = (open().await, open().await);
    let brief = RefreshAhead::at_fraction(0.01).keep_warm(10 * MINUTE);
    let view = words(&larder, 20 * SECOND, brief).through(asked(&source));
    view.read("k").await.unwrap();
    source.set("k", "new");
    let theirs = words(&other, 20 * SECOND, brief);
    let is_new = || async { theirs.get("k").await.unwrap().is_some_and(|entry| *entry == "new") };
    until("it is renewed", is_new).await;
}
