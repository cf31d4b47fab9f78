//! A hit near allocates nothing: what a service asks for most costs no memory, whatever its key is.
//!
//! Counted on the thread that asks. A hit does not wait for anything either: it is there at the first poll.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use larder::{
    Cache, Entry, Error, Larder, Lifetime, Origin, RefreshAhead, Tag, ToKey, UserCache, cached,
};
use support::{PATIENT, Server};

/// What is there at the first poll, and how often it allocated.
fn at_once<F: Future>(ask: impl FnOnce() -> F) -> (F::Output, u64) {
    let mut answer = None;
    let counted = allocation_counter::measure(|| {
        let mut asking = pin!(ask());
        let polled = asking.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(there) = polled {
            answer = Some(there);
        }
    });
    (answer.unwrap_or_else(|| panic!("a hit near had to wait")), counted.count_total)
}

async fn load() -> Result<String, std::io::Error> {
    Ok("v".to_owned())
}

fn is_near(entry: &Entry<String>) {
    assert_eq!((entry.as_str(), entry.origin()), ("v", Origin::Near));
}

/// Loads `key` once, and then asks for it in each way there is.
async fn costs_nothing<K: ToKey + Sync + ?Sized>(what: &str, cache: &Cache<K, String>, key: &K) {
    cache.get_or_load(key, load).await.unwrap();
    let (loaded, count): (Result<Entry<String>, Error>, u64) =
        at_once(|| cache.get_or_load(key, load));
    is_near(&loaded.unwrap());
    assert_eq!(count, 0, "get_or_load, {what}");
    let (got, count) = at_once(|| cache.get(key));
    is_near(&got.unwrap().unwrap());
    assert_eq!(count, 0, "get, {what}");
    let find = || async { Ok::<_, std::io::Error>(Some("v".to_owned())) };
    let (found, count) = at_once(|| cache.find_or_load(key, find));
    is_near(&found.unwrap().unwrap());
    assert_eq!(count, 0, "find_or_load, {what}");
    let (left, count) = at_once(|| cache.ttl(key));
    assert!(left.unwrap().is_some());
    assert_eq!(count, 0, "ttl, {what}");
}

async fn every_kind_of_key(larder: &Larder) {
    let texts: Cache<str, String> = larder.cache("texts").shared().unwrap();
    costs_nothing("str", &texts, "key").await;
    costs_nothing("a tag asked for", &texts.tagged(["list"]), "tagged").await;
    let strings: Cache<String, String> = larder.cache("strings").shared().unwrap();
    costs_nothing("String", &strings, &"a key of some length".repeat(4)).await;
    let numbers: Cache<u64, String> = larder.cache("numbers").shared().unwrap();
    costs_nothing("u64", &numbers, &u64::MAX).await;
    let pairs: Cache<(u64, String, Option<u32>), String> = larder.cache("pairs").shared().unwrap();
    costs_nothing("a tuple", &pairs, &(7, "page".to_owned(), None)).await;
    let tagger = |number: &u64| [Tag::new("list"), Tag::from_parts(&("number", *number))];
    let tagged: Cache<u64, String> = larder.cache("tagged").tagged_by(tagger).shared().unwrap();
    costs_nothing("tags by key", &tagged, &17).await;
    let owned: UserCache<u64, String> = larder.cache("owned").per_user().unwrap();
    costs_nothing("a user's", &owned.of("ada"), &17).await;
    let (entry, count) = at_once(|| async { owned.of("ada").get_or_load(&17, load).await });
    is_near(&entry.unwrap());
    assert_eq!(count, 0, "the way to a user's part too");
}

/// A function with a cache in front of it.
#[derive(Clone)]
struct Texts {
    cache: UserCache<(u64, u32), String>,
}

impl Texts {
    #[cached(cache = self.cache, user = *user, key = (id, page), fails_with = std::io::Error)]
    async fn text(&self, user: &str, id: u64, page: u32) -> Result<Entry<String>, Error> {
        let _ = (self, user, id, page);
        load().await
    }
}

#[tokio::test]
async fn a_hit_through_a_cached_function_allocates_nothing() {
    let larder = Larder::builder("test").open().await.unwrap();
    let texts = Texts { cache: larder.cache("texts").per_user().unwrap() };
    texts.text("ada", 17, 1).await.unwrap();
    let (entry, count) = at_once(|| texts.text("ada", 17, 1));
    is_near(&entry.unwrap());
    assert_eq!(count, 0);
}

#[tokio::test]
async fn a_hit_near_allocates_nothing() {
    every_kind_of_key(&Larder::builder("test").open().await.unwrap()).await;
}

#[tokio::test]
async fn a_hit_near_allocates_nothing_with_redis_behind_it() {
    let server = Server::start();
    let builder = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
    every_kind_of_key(&builder.open().await.unwrap()).await;
}

/// Near its end each hit of an entry that is renewed ahead draws lots, and that costs no memory either. A
/// load of 300 ms is thought of from six seconds before the end on, so here from the first hit; that one of them
/// is drawn happens once in sixty million.
#[tokio::test]
async fn a_hit_that_is_considered_for_renewal_allocates_nothing() {
    let larder = Larder::builder("test").open().await.unwrap();
    let lifetime = Lifetime::fresh_for(Duration::from_millis(5_900)).jitter(0.0);
    let ahead = larder.cache("ahead").lifetime(lifetime).refresh_ahead(RefreshAhead::early(1.0));
    let ahead: Cache<str, String> = ahead.shared().unwrap();
    let slowly = || async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        load().await
    };
    ahead.get_or_load("key", slowly).await.unwrap();
    costs_nothing("to be renewed ahead", &ahead, "key").await;
    assert_eq!(ahead.stats().refreshes_ahead, 0);
}

/// The count is true: what does allocate is counted.
#[tokio::test]
async fn what_is_not_near_is_counted() {
    let larder = Larder::builder("test").open().await.unwrap();
    let texts: Cache<str, String> = larder.cache("texts").shared().unwrap();
    let counted = allocation_counter::measure(|| {
        let mut asking = pin!(texts.get_or_load("key", load));
        let _ = asking.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    });
    assert!(counted.count_total > 0);
}
