//! Nothing grows without end: what cannot be done at once is bounded, and says so when it is full.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use larder::{
    BreakerSettings, Cache, Clock, ErrorKind, HOUR, Larder, Lifetime, MINUTE, SECOND, SharedMemory,
    Stale,
};
use support::{NEVER, Server, Source, World, soon, until};

/// Begins, and hangs up.
fn begin_and_leave(future: impl Future) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(pin!(future).poll(&mut context), Poll::Pending));
}

/// Redis hangs and callers come, begin an invalidation and hang up: what is under way is bounded, and past it an end is
/// queued at once. None of them is lost; and what is sent once is refused.
#[tokio::test]
async fn ends_under_way_have_an_end_and_none_is_lost() {
    const BEHIND_MAX: usize = 16_384;
    let server = Server::start();
    let builder = Larder::builder("test").redis(server.url()).bound(NEVER).far_deadline(NEVER);
    let builder = builder.breaker(BreakerSettings::off()).invalidate_deadline(NEVER);
    let world = World::of(builder, &Source::default()).await;
    // Longer than any test waits: what is gone by then was ended.
    let words: Cache<str, String> =
        world.larder.cache("long").lifetime(Lifetime::fresh_for(HOUR)).shared().unwrap();
    for key in ["first", "last"] {
        words.put(key, "v".to_owned()).await.unwrap();
    }
    server.pause();
    begin_and_leave(words.invalidate("first"));
    for number in 1..BEHIND_MAX {
        begin_and_leave(words.invalidate(&format!("{number}")));
    }
    let error = soon("an answer", words.invalidate("last")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed);
    assert!(error.to_string().contains("too many calls wait"), "{error}");
    let put = soon("an answer", words.put("other", "v".to_owned())).await.unwrap_err();
    assert_eq!(put.kind(), ErrorKind::Overloaded, "{put}");
    let guard = soon("an answer", words.guard("other")).await.unwrap_err();
    assert_eq!(guard.kind(), ErrorKind::Overloaded, "{guard}");
    server.resume();
    until("all are confirmed", || async { world.larder.stats().unconfirmed_waiting == 0 }).await;
    until("all are ended", || async { server.keys().is_empty() }).await;
    until("there is room", || async { words.put("k", "v".to_owned()).await.is_ok() }).await;
    assert_eq!(world.larder.close(NEVER).await, 0);
}

/// A source that hangs, and six hundred callers that go on with what is stale: so many loads go on, and no more.
#[tokio::test(start_paused = true)]
async fn loads_that_go_on_for_nobody_have_an_end() {
    let memory = SharedMemory::new(16 << 20, Clock::of_runtime(7));
    let source = Source::default();
    let world = World::of(Larder::builder("test").shared_memory(&memory), &source).await;
    let lifetime = Lifetime::fresh_for(MINUTE).stale_for(HOUR).jitter(0.0);
    let cache = world.larder.cache("texts").lifetime(lifetime).stale(Stale::InNeed);
    let texts: Cache<u32, String> =
        cache.soft_deadline(SECOND).loads_max(1000).max_load(HOUR).shared().unwrap();
    let read = async |key: u32| {
        let loading = source.load("k");
        texts.get_or_load(&key, move || loading).await.unwrap()
    };
    source.set("k", "v");
    for key in 0..600 {
        read(key).await;
    }
    tokio::time::advance(MINUTE + SECOND).await;
    source.hold();
    let mut reading = tokio::task::JoinSet::new();
    for key in 0..600 {
        let (texts, loading) = (texts.clone(), source.load("k"));
        reading.spawn(async move { texts.get_or_load(&key, move || loading).await });
    }
    let mut stale = 0;
    while let Some(entry) = reading.join_next().await {
        stale += usize::from(entry.unwrap().unwrap().is_stale());
    }
    assert_eq!(stale, 600);
    until("the others have ended", || async { source.waiting() == 512 }).await;
}

#[tokio::test]
async fn a_handle_remembers_so_many_names() {
    let world = World::embedded().await;
    let open = |name: &str| world.larder.cache::<u32, u32>(name).shared().map(drop);
    let names: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
    let opened = names.iter().take_while(|name| open(name).is_ok()).count();
    assert_eq!(opened, 4095, "and `words`");
    let error = open("one more").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("4096 names"), "{error}");
    open("17").unwrap(); // known already
}
