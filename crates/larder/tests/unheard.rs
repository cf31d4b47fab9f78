//! Redis tells nobody of what it forgets in the course of that one's own command (NOLOOP goes by who is being served, not
//! by who changed the key): near must not rest on it for longer than the bound.
//!
//! What happened: a server that evicts at random was stale in one process, after `sync` and for as long as the entry
//! lived. Its own read had come upon the full memory, the entry was evicted in the middle of that, and from then on
//! nobody told it of the key.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::collections::HashSet;

use larder::Origin;
use support::{Server, World};

const KEYS: usize = 300;

fn v(n: usize) -> String {
    let key = format!("k{n}");
    format!("test:words:1:v:{{.{}.{key}}}", key.len())
}

/// Loads them one after another, so that nobody but this process sends anything.
async fn load_all(world: &World) {
    for n in 0..KEYS {
        let key = format!("k{n}");
        world.source.set(&key, &"old".repeat(300));
        world.read(&key).await.unwrap();
    }
}

/// The first so many are ended by the other process; nothing of them may be near here, once `heard`.
async fn ends(there: &World, many: usize, here: &World, heard: impl Future<Output = ()>) {
    for n in 0..many {
        there.words.invalidate(&format!("k{n}")).await.unwrap();
    }
    heard.await;
    let mut stale = Vec::new();
    for n in 0..many {
        let found = here.words.get(&format!("k{n}")).await.unwrap();
        if found.is_some_and(|entry| entry.origin() == Origin::Near) {
            stale.push(n);
        }
    }
    assert!(stale.is_empty(), "{} ended entries are still near: {stale:?}", stale.len());
}

/// Either way of being sure: asking, or waiting for the bound.
async fn heard(world: &World, by_asking: bool) {
    match by_asking {
        true => world.larder.sync().await.unwrap(),
        false => world.larder.settled().await,
    }
}

fn little_room(server: &Server) {
    let info: String = server.ask("INFO memory");
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    let limit = used.parse::<u64>().unwrap() + (200 << 10);
    let _: String = server.ask(&format!("CONFIG SET maxmemory {limit}"));
}

/// The count begins anew, at less than it was.
#[tokio::test]
async fn an_eviction_is_seen_after_the_servers_counts_were_reset() {
    let server = Server::with(&["--maxmemory-policy", "allkeys-random"]);
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    little_room(&server);
    for n in KEYS..5 * KEYS {
        let key = format!("k{n}");
        here.source.set(&key, &"old".repeat(300));
        here.read(&key).await.unwrap();
    }
    here.larder.sync().await.unwrap();
    let _: String = server.ask("CONFIG RESETSTAT");
    load_all(&here).await;
    ends(&there, KEYS, &here, heard(&here, true)).await;
}

#[tokio::test]
async fn what_is_evicted_by_a_read_of_ones_own_is_not_near_after_its_end() {
    for by_asking in [true, false] {
        let server = Server::with(&["--maxmemory-policy", "allkeys-random"]);
        let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
        little_room(&server);
        load_all(&here).await;
        let kept: HashSet<String> = server.keys().into_iter().collect();
        let lost = (0..KEYS).filter(|n| !kept.contains(&v(*n))).count();
        assert!(lost > 10, "{lost} were evicted");
        ends(&there, KEYS, &here, heard(&here, by_asking)).await;
    }
}

/// The server keeps track of so many names and no more. When there are more it forgets one, and says so; but not to the
/// one whose command made it one too many.
#[tokio::test]
async fn what_the_server_does_not_track_any_more_is_not_near_after_its_end() {
    for by_asking in [true, false] {
        let server = Server::with(&["--tracking-table-max-keys", "200"]);
        let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
        load_all(&here).await;
        ends(&there, 60, &here, heard(&here, by_asking)).await;
    }
}
