//! Two versions of a service at once, with two shapes of one value: neither disturbs the other, and
//! what one of them wrote to the database ends what the other kept of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use larder::{Cache, ErrorKind, Larder, Lifetime, MINUTE, Origin, UserCache};
use serde::Serialize;
use serde::de::DeserializeOwned;
use support::{Ear, PATIENT, Server, stepped, until};

/// One version of the service: its handle, its ear, its view of the cache.
struct Version<V> {
    larder: Larder,
    ear: Ear,
    tasks: Cache<u32, V>,
}

type Old = u32;
/// Not to be read as the old one was written, nor the other way round.
type New = (String, bool);

impl<V: Serialize + DeserializeOwned + Send + Sync + 'static> Version<V> {
    async fn on(server: &Server, schema: u32) -> Version<V> {
        let (ear, larder) = handle(server).await;
        let lifetime = Lifetime::fresh_for(MINUTE).jitter(0.0);
        let tasks = larder.cache("tasks").schema(schema).lifetime(lifetime);
        let tasks = tasks.tagged_by(|_: &u32| ["list"]).shared().unwrap();
        Version { larder, ear, tasks }
    }

    async fn reads(&self, value: V) -> Origin {
        let load = || async { Ok::<_, std::io::Error>(value) };
        self.tasks.get_or_load(&17, load).await.unwrap().origin()
    }

    async fn has_one(&self) -> bool {
        self.tasks.get(&17).await.unwrap().is_some()
    }
}

async fn handle(server: &Server) -> (Ear, Larder) {
    let ear = Ear::default();
    let builder = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
    let builder = builder.invalidate_deadline(PATIENT).observer(ear.observer());
    (ear, builder.open().await.unwrap())
}

async fn both(server: &Server) -> (Version<Old>, Version<New>) {
    (Version::on(server, 1).await, Version::on(server, 2).await)
}

fn new(title: &str) -> New {
    (title.to_owned(), true)
}

#[tokio::test]
async fn two_schemas_side_by_side_neither_read_nor_end_each_others_entries() {
    let server = Server::start();
    let (old, new_one) = both(&server).await;
    for round in 0..20 {
        let (from_old, from_new) = (old.reads(1).await, new_one.reads(new("milk")).await);
        let expected = if round == 0 { Origin::Loaded } else { Origin::Near };
        assert_eq!((from_old, from_new), (expected, expected), "round {round}");
    }
    // And in processes that come later, with nothing near.
    let (old_too, new_too) = both(&server).await;
    assert_eq!(*old_too.tasks.get(&17).await.unwrap().unwrap(), 1);
    assert_eq!(*new_too.tasks.get(&17).await.unwrap().unwrap(), new("milk"));
    for stats in [old.larder.stats(), new_one.larder.stats()] {
        assert_eq!((stats.loads, stats.unreadable, stats.stores_refused), (1, 0, 0));
    }
    let values = server.keys().into_iter().filter(|key| key.contains(":v:")).collect::<Vec<_>>();
    assert_eq!(values, ["test:tasks:1:v:{.17;}", "test:tasks:2:v:{.17;}"]);
}

#[tokio::test]
async fn a_tag_ends_the_entries_of_both_schemas() {
    let server = Server::start();
    let (old, new_one) = both(&server).await;
    old.reads(1).await;
    new_one.reads(new("milk")).await;
    new_one.larder.invalidate_tag("list").await.unwrap();
    old.larder.sync().await.unwrap();
    assert!(!old.has_one().await && !new_one.has_one().await);
}

/// The mistake: each version ends its own entry after a write, and the other serves what it kept of the
/// row until its time is up. Either may be the one that writes.
#[tokio::test]
async fn an_invalidation_by_key_ends_the_entry_of_the_other_schema() {
    let server = Server::start();
    let (old, new_one) = both(&server).await;
    old.reads(1).await;
    new_one.reads(new("milk")).await;
    new_one.tasks.invalidate(&17).await.unwrap();
    old.larder.sync().await.unwrap();
    assert!(!old.has_one().await && !new_one.has_one().await);

    old.reads(2).await;
    new_one.reads(new("bread")).await;
    old.larder.invalidate([old.tasks.entry(&17)]).await.unwrap();
    new_one.larder.sync().await.unwrap();
    assert!(!old.has_one().await && !new_one.has_one().await);
}

/// A load that read the row before the write may not store after it, whichever version wrote.
#[tokio::test]
async fn an_invalidation_by_key_ends_the_load_of_the_other_schema() {
    let server = Server::start();
    let (old, new_one) = both(&server).await;
    let (mut step, loading) = stepped();
    let reading = {
        let tasks = old.tasks.clone();
        tokio::spawn(async move {
            let load = || async { loading.await.map(|text| text.len() as u32) };
            tasks.get_or_load(&17, load).await
        })
    };
    step.begins().await;
    new_one.tasks.invalidate(&17).await.unwrap();
    step.answers("before");
    assert_eq!(
        *reading.await.unwrap().unwrap(),
        6,
        "it overlapped the write, and gets what it read"
    );
    assert!(!old.has_one().await, "but nobody after it does");
    assert_eq!(old.ear.count("StoreRefused"), 1);
}

/// Of a user, and what another user has is left alone.
#[tokio::test]
async fn an_invalidation_crosses_schemas_within_one_user() {
    let server = Server::start();
    let ((_, here), (_, there)) = (handle(&server).await, handle(&server).await);
    let old: UserCache<u32, Old> = here.cache("tasks").schema(7).per_user().unwrap();
    let new_one: UserCache<u32, New> = there.cache("tasks").schema(8).per_user().unwrap();
    for user in ["ada", "bob"] {
        let load = || async { Ok::<_, std::io::Error>(1) };
        old.of(user).get_or_load(&17, load).await.unwrap();
    }
    new_one.of("ada").invalidate(&17).await.unwrap();
    here.sync().await.unwrap();
    assert!(old.of("ada").get(&17).await.unwrap().is_none());
    assert!(old.of("bob").get(&17).await.unwrap().is_some());
}

/// A schema further away is of a version that no longer runs.
#[tokio::test]
async fn schemas_that_are_not_next_to_each_other_are_left_alone() {
    let server = Server::start();
    let (old, much_later) =
        (Version::<Old>::on(&server, 1).await, Version::<New>::on(&server, 3).await);
    old.reads(1).await;
    much_later.tasks.invalidate(&17).await.unwrap();
    old.larder.sync().await.unwrap();
    assert!(old.has_one().await);
}

/// Refused at first, the end waits; when it is sent again it reaches the other version too.
#[tokio::test]
async fn an_end_that_was_not_confirmed_reaches_the_other_schema_as_well() {
    let server = Server::start();
    let may = |what: &str| server.ask::<()>(&format!("ACL SETUSER new {what}"));
    may("on >secret ~* &* +@all");
    let url = server.url().replace("redis://", "redis://new:secret@");
    let here = Larder::builder("test").redis(url).far_deadline(PATIENT).open().await.unwrap();
    let new_one: Cache<u32, New> = here.cache("tasks").schema(2).shared().unwrap();
    let old = Version::<Old>::on(&server, 1).await;
    old.reads(1).await;
    may("-unlink");
    assert_eq!(new_one.invalidate(&17).await.unwrap_err().kind(), ErrorKind::Unconfirmed);
    assert_eq!(here.stats().unconfirmed_waiting, 1, "it is counted once");
    assert!(old.has_one().await);
    may("+unlink");
    until("it is confirmed", || async { here.stats().unconfirmed_waiting == 0 }).await;
    old.larder.sync().await.unwrap();
    assert!(!old.has_one().await);
}
