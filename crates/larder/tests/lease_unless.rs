//! An entry that is of no use to one caller may be of use to another: whoever wants a better one takes the lease over
//! it, and all others are served it meanwhile.

#![allow(clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use larder::{Leased, MINUTE, Stored};
use support::{NEVER, Server, World, soon};

fn held(leased: Leased<String>) -> larder::Lease<String> {
    match leased {
        Leased::Held(lease) => lease,
        found => panic!("the lease was not ours: {found:?}"),
    }
}

fn found(leased: Leased<String>) -> String {
    match leased {
        Leased::Found(entry) => entry.to_string(),
        other => panic!("nothing was found: {other:?}"),
    }
}

/// Near has it, far has it, neither has it: a good entry is handed out, any other is looked past, and the lease granted over
/// it while it is served on.
#[tokio::test]
async fn the_lease_is_granted_over_an_entry_that_is_not_good() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let good = |entry: &larder::Entry<String>| entry.starts_with("good");
    let lease = held(here.words.lease_unless("k", good).await.unwrap());
    assert_eq!(lease.store("bad".to_owned()).await, Stored::Stored);
    let before = server.calls("mget");
    let lease = held(here.words.lease_unless("k", good).await.unwrap());
    assert_eq!(server.calls("mget"), before, "near knows which one is looked past");
    assert_eq!(
        (here.has("k").await, there.has("k").await),
        ("bad near".to_owned(), "bad far".to_owned())
    );
    assert_eq!(lease.store("good one".to_owned()).await, Stored::Stored);
    assert_eq!(found(here.words.lease_unless("k", good).await.unwrap()), "good one");
    there.larder.sync().await.unwrap();
    assert_eq!(found(there.words.lease_unless("k", good).await.unwrap()), "good one");
    // What far has is looked past as well.
    let better = |entry: &larder::Entry<String>| entry.starts_with("better");
    there.words.invalidate("other").await.unwrap();
    let third = World::on(&server.url()).await;
    let lease = held(third.words.lease_unless("k", better).await.unwrap());
    assert_eq!(lease.store("better".to_owned()).await, Stored::Stored);
    there.larder.sync().await.unwrap();
    assert_eq!(there.words.lease("k").await.map(found).unwrap(), "better");
}

/// A caller waits for another's load, and looks at what that one stored: what is not good to it is not its answer, and the
/// lease is then its own.
#[tokio::test]
async fn who_waits_is_given_what_is_good_to_it_and_else_the_lease() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let one = |entry: &larder::Entry<String>| entry.contains("one");
    let two = |entry: &larder::Entry<String>| entry.contains("two");
    let lease = held(here.words.lease_unless("k", one).await.unwrap());
    let waiting = |world: &World, good: fn(&larder::Entry<String>) -> bool| {
        let words = world.words.clone();
        tokio::spawn(async move { words.lease_unless("k", good).await.unwrap() })
    };
    let (with, without) = (waiting(&there, one), waiting(&here, two));
    there.ear.hears("Wait", 1).await;
    here.ear.hears("Wait", 1).await;
    assert_eq!(lease.store("one".to_owned()).await, Stored::Stored);
    assert_eq!(found(soon("the entry", with).await.unwrap()), "one");
    let lease = held(soon("the lease", without).await.unwrap());
    assert_eq!(lease.store("one two".to_owned()).await, Stored::Stored);
}

/// Without waiting: the lease if it is free, nothing if another has it, and nothing if far is away.
#[tokio::test]
async fn trying_never_waits() {
    let mut server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let never = |_: &larder::Entry<String>| false;
    let lease = held(here.words.try_lease_unless("k", never).await.unwrap().unwrap());
    assert!(there.words.try_lease_unless("k", never).await.unwrap().is_none());
    assert!(here.words.try_lease_unless("k", never).await.unwrap().is_none());
    assert_eq!(lease.store("v".to_owned()).await, Stored::Stored);
    let any = |_: &larder::Entry<String>| true;
    assert_eq!(found(there.words.try_lease_unless("k", any).await.unwrap().unwrap()), "v");
    let lease = held(there.words.try_lease_unless("k", never).await.unwrap().unwrap());
    // It was ended meanwhile: what comes later does not count.
    here.words.invalidate("k").await.unwrap();
    assert_eq!(lease.store("late".to_owned()).await, Stored::Refused);
    server.kill();
    there.ear.hears("Disconnected", 1).await;
    let tried = tokio::time::timeout(NEVER.min(MINUTE), there.words.try_lease_unless("k", never));
    assert!(tried.await.unwrap().unwrap().is_none());
}

/// What was looked past is ended before the lease is granted: whoever gets it is told that there is nothing that it
/// replaces. Near keeps what is looked past, for those to whom it is good.
#[tokio::test]
async fn a_lease_over_what_was_ended_replaces_nothing() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let never = |_: &larder::Entry<String>| false;
    here.words.put("k", "v".to_owned()).await.unwrap();
    let lease = held(there.words.lease_unless("k", never).await.unwrap());
    assert!(lease.is_held() && lease.replaces());
    assert_eq!(there.has("k").await, "v near", "to others it is good");
    drop(lease);
    here.words.invalidate("k").await.unwrap();
    let lease = held(there.words.lease_unless("k", never).await.unwrap());
    assert!(!lease.replaces());
}
