//! What one user stores no other can read, at every door.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::collections::BTreeSet;

use larder::{Leased, Stored, UserCache};
use support::{Server, World};

type Pages = UserCache<(String, u32), String>;

/// Ids made to be taken for one another: empty, of delimiters, prefixes of each other, braces, what the
/// encoding itself is made of.
const USERS: &[&str] = &[
    "",
    "a",
    "a|b",
    "a:b",
    "b",
    "1",
    "1.a",
    "3|1.a",
    "|",
    "}",
    "{",
    "{.",
    "{a}",
    "a\0",
    "\0a",
    "a\n",
    "A",
    "anonymous",
    "ａ",
    "*",
    "?",
];

async fn pages(world: &World) -> Pages {
    world.larder.cache("pages").per_user().unwrap()
}

async fn asked_in_vain() -> Result<String, std::io::Error> {
    Err(std::io::Error::other("the source was asked"))
}

#[tokio::test]
async fn what_one_user_stores_no_other_reads_at_any_door() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let (ours, theirs) = (pages(&here).await, pages(&there).await);
    let key = ("inbox".to_owned(), 1);
    for user in USERS {
        let load = async move { Ok::<_, std::io::Error>(format!("of {user:?}")) };
        let entry = ours.of(*user).get_or_load(&key, move || load).await.unwrap();
        assert_eq!(*entry, format!("of {user:?}"), "it was not another's entry that was found");
    }
    for user in USERS {
        let own = format!("of {user:?}");
        for part in [ours.of(*user), theirs.of(*user)] {
            assert_eq!(*part.get(&key).await.unwrap().unwrap(), own);
            assert_eq!(*part.get_or_load(&key, asked_in_vain).await.unwrap(), own);
            let many = part.get_many([&key, &("inbox".to_owned(), 2)]).await.unwrap();
            assert_eq!(many[0].as_deref(), Some(&own));
            assert!(many[1].is_none());
            assert!(
                matches!(part.lease(&key).await.unwrap(), Leased::Found(entry) if *entry == own)
            );
        }
    }
    let names: BTreeSet<String> =
        server.keys().into_iter().filter(|key| key.contains(":v:")).collect();
    assert_eq!(names.len(), USERS.len(), "each has an entry of his own");
}

#[tokio::test]
async fn ending_one_users_part_leaves_the_others_alone() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let (ours, theirs) = (pages(&here).await, pages(&there).await);
    let other: Pages = here.larder.cache("other").per_user().unwrap();
    let keys = [("inbox".to_owned(), 1), ("inbox".to_owned(), 2), ("done".to_owned(), 1)];
    for user in USERS {
        for key in &keys {
            for cache in [&ours, &other] {
                let load = async { Ok::<_, std::io::Error>("v".to_owned()) };
                cache.of(*user).get_or_load(key, move || load).await.unwrap();
            }
        }
    }
    for ended in USERS {
        there.larder.invalidate([theirs.of(*ended).all()]).await.unwrap();
        here.larder.sync().await.unwrap();
        for user in USERS {
            for key in &keys {
                let there = ours.of(*user).get(key).await.unwrap().is_some();
                assert_eq!(there, user != ended, "{user:?} after the end of {ended:?}");
                assert!(other.of(*user).get(key).await.unwrap().is_some(), "another cache");
            }
        }
        for key in &keys {
            let load = async { Ok::<_, std::io::Error>("v".to_owned()) };
            ours.of(*ended).get_or_load(key, move || load).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_put_and_a_lease_of_one_user_are_not_another_users() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let pages = pages(&world).await;
    let key = ("inbox".to_owned(), 1);
    pages.of("a").put(&key, "of a".to_owned()).await.unwrap();
    assert!(pages.of("b").get(&key).await.unwrap().is_none());
    let Leased::Held(lease) = pages.of("b").lease(&key).await.unwrap() else { panic!("not held") };
    pages.of("a").invalidate(&key).await.unwrap();
    assert_eq!(lease.store("of b".to_owned()).await, Stored::Stored, "another's end is not his");
    assert_eq!(*pages.of("b").get(&key).await.unwrap().unwrap(), "of b");
    assert!(pages.of("a").get(&key).await.unwrap().is_none());
}

/// A cache that was shared and is per user now does not hand the old entries to anyone.
#[tokio::test]
async fn what_was_shared_before_is_nobodys_afterwards() {
    let server = Server::start();
    let (before, after) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let shared: larder::Cache<str, String> = before.larder.cache("c").shared().unwrap();
    let per_user: UserCache<str, String> = after.larder.cache("c").per_user().unwrap();
    for key in ["k", "1.k", "1.u1.k", "3|1.u1.k"] {
        shared.put(key, "shared".to_owned()).await.unwrap();
        assert!(per_user.of("u").get(key).await.unwrap().is_none());
    }
}
