//! Soft ends: no longer fresh anywhere, and there to stand in when the source fails.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use larder::{Cache, Entry, Error, ErrorKind, HOUR, Larder, Lifetime, Origin, SECOND, Stale};
use support::{Server, Source, World, soon, stepped, until};

const LIFETIME: Lifetime = Lifetime::fresh_for(HOUR).stale_for(HOUR);

/// Two processes on one Redis, both with `k` near.
struct Fleet {
    one: World,
    other: World,
    source: Source,
    _server: Server,
}

impl Fleet {
    async fn new() -> Fleet {
        let (server, source) = (Server::start(), Source::default());
        let open = async || World::of(builder(&server), &source).await;
        let (one, other) = (open().await, open().await);
        source.set("k", "old");
        let fleet = Fleet { one, other, source, _server: server };
        for world in fleet.both() {
            fleet.read(world).await.unwrap();
        }
        fleet
    }

    fn both(&self) -> [&World; 2] {
        [&self.one, &self.other]
    }

    async fn read(&self, world: &World) -> Result<Entry<String>, Error> {
        let loading = self.source.load("k");
        soon("an answer", texts(world).get_or_load("k", move || loading)).await
    }

    async fn read_failing(&self, world: &World, asked: &Arc<AtomicUsize>) -> String {
        let asked = asked.clone();
        let fails = || async move {
            asked.fetch_add(1, Ordering::SeqCst);
            Err::<String, _>(std::io::Error::other("the database is down"))
        };
        match texts(world).get_or_load("k", fails).await {
            Ok(entry) => format!("{} {}", *entry, if entry.is_stale() { "stale" } else { "fresh" }),
            Err(why) => format!("{:?}", why.kind()),
        }
    }
}

fn builder(server: &Server) -> larder::LarderBuilder {
    Larder::builder("test")
        .redis(server.url())
        .far_deadline(support::PATIENT)
        .invalidate_deadline(support::PATIENT)
}

fn texts(world: &World) -> Cache<str, String> {
    let cache = world.larder.cache("texts").lifetime(LIFETIME).stale(Stale::AtOnce);
    let cache = cache.backoff(std::time::Duration::ZERO);
    cache.tagged_by(|_: &str| ["list"]).shared().unwrap()
}

#[derive(Clone, Copy, Debug)]
enum By {
    Key,
    Tag,
}

async fn expire(world: &World, by: By) {
    match by {
        By::Key => texts(world).expire("k").await.unwrap(),
        By::Tag => world.larder.expire_tag("list").await.unwrap(),
    }
}

/// Also where near had it, and though the policy would serve what is merely past its time at once.
#[tokio::test]
async fn what_was_expired_is_served_to_nobody_while_the_source_answers() {
    for by in [By::Key, By::Tag] {
        let fleet = Fleet::new().await;
        fleet.source.set("k", "new");
        expire(&fleet.one, by).await;
        assert_eq!(*fleet.read(&fleet.one).await.unwrap(), "new", "{by:?}");
        fleet.other.larder.sync().await.unwrap();
        let entry = fleet.read(&fleet.other).await.unwrap();
        assert_eq!((entry.as_str(), entry.is_stale()), ("new", false), "{by:?}");
        assert_eq!(fleet.source.loads(), 2, "{by:?}: one before, one for both after");
    }
}

#[tokio::test]
async fn what_was_expired_stands_in_for_a_source_that_fails() {
    for by in [By::Key, By::Tag] {
        let fleet = Fleet::new().await;
        expire(&fleet.one, by).await;
        fleet.other.larder.sync().await.unwrap();
        let asked = Arc::default();
        for world in fleet.both() {
            assert_eq!(fleet.read_failing(world, &asked).await, "old stale", "{by:?}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2, "{by:?}: each asked the source first");
        // A hard end leaves nothing to stand in.
        match by {
            By::Key => texts(&fleet.one).invalidate("k").await.unwrap(),
            By::Tag => fleet.one.larder.invalidate_tag("list").await.unwrap(),
        }
        fleet.other.larder.sync().await.unwrap();
        for world in fleet.both() {
            assert_eq!(fleet.read_failing(world, &asked).await, "Source", "{by:?}");
        }
    }
}

/// It had read the source before the change that was followed by the end.
#[tokio::test]
async fn a_load_that_began_before_it_is_not_served_as_fresh() {
    for by in [By::Key, By::Tag] {
        let fleet = Fleet::new().await;
        texts(&fleet.one).invalidate("k").await.unwrap();
        let (mut step, load) = stepped();
        let reading = support::reading_of(&texts(&fleet.one), "k", load);
        step.begins().await;
        fleet.source.set("k", "new");
        expire(&fleet.other, by).await;
        step.answers("old");
        assert_eq!(*reading.await.unwrap().unwrap(), "old", "{by:?}: it overlapped");
        for world in fleet.both() {
            world.larder.sync().await.unwrap();
            assert_eq!(*fleet.read(world).await.unwrap(), "new", "{by:?}");
        }
    }
}

/// Nobody confirms it: it waits like any other end, and this process asks the source meanwhile.
#[tokio::test]
async fn one_that_is_not_confirmed_is_sent_again() {
    let (server, source) = (Server::start(), Source::default());
    source.set("k", "old");
    let builder = builder(&server).invalidate_deadline(SECOND / 10);
    let world = World::of(builder, &source).await;
    let read = async || {
        let loading = source.load("k");
        texts(&world).get_or_load("k", move || loading).await.unwrap()
    };
    read().await;
    server.pause();
    source.set("k", "new");
    let error = texts(&world).expire("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed);
    assert_eq!(world.larder.stats().unconfirmed_waiting, 1);
    server.resume();
    until("its confirmation", async || world.larder.stats().unconfirmed_waiting == 0).await;
    let entry = read().await;
    assert_eq!((entry.as_str(), entry.origin()), ("new", Origin::Loaded));
}
