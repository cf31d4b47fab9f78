//! A Redis that is full and evicts nothing (`noeviction`): hits are served, misses are loaded and handed out, ends
//! end, no lease is left behind; and once there is room, all is cached again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use larder::{ErrorKind, Loaded, Origin, Stored};
use support::{Server, World, reading_of, stepped, until};

/// A server that will have room for little, and nothing in it yet.
fn small() -> Server {
    Server::with(&["--maxmemory-policy", "noeviction"])
}

/// Sets a limit a little above what is in use, and writes until a write is refused. Some of the memory in use is that
/// of connections and comes and goes: so the limit is lowered until nothing gets in.
fn fill(server: &Server) {
    let info: String = server.ask("INFO memory");
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    let used: u64 = used.parse().unwrap();
    let limit = used + (256 << 10);
    let _: String = server.ask(&format!("CONFIG SET maxmemory {limit}"));
    let mut client = server.client();
    for n in 0.. {
        let name = format!("filler:{n}");
        let set = redis::cmd("SET").arg(name).arg("x".repeat(4 << 10)).exec(&mut client);
        if let Err(why) = set {
            assert!(why.to_string().contains("OOM"), "{why}");
            break;
        }
        assert!(n < 10_000, "it is never full");
    }
    let _: String = server.ask(&format!("CONFIG SET maxmemory {}", limit / 2));
}

/// The fillers go, and the limit is one that nobody reaches.
fn empty(server: &Server) {
    let _: String = server.ask("CONFIG SET maxmemory 0");
    for name in server.keys().iter().filter(|name| name.starts_with("filler:")) {
        let _: i64 = server.ask(&format!("DEL {name}"));
    }
}

fn ours(server: &Server) -> Vec<String> {
    server.keys().into_iter().filter(|name| !name.starts_with("filler:")).collect()
}

async fn fleet(server: &Server) -> (World, World) {
    let here = World::on(&server.url()).await;
    (here.clone(), World::beside(&server.url(), &here.source).await)
}

#[tokio::test]
async fn what_is_there_is_served_and_what_is_not_is_loaded_and_handed_out() {
    let server = small();
    let (here, there) = fleet(&server).await;
    here.source.set("kept", "kept");
    here.source.set("new", "passing");
    here.read_tagged("kept", "list").await.unwrap();
    let before = ours(&server);
    fill(&server);
    assert_eq!(here.has("kept").await, "kept near");
    assert_eq!(there.read_tagged("kept", "list").await.unwrap().origin(), Origin::Far);
    assert_eq!(there.read_tagged("kept", "list").await.unwrap().origin(), Origin::Near);
    for world in [&here, &there] {
        for tag in [None, Some("list"), Some("another")] {
            // Several at once, who must not wait for a lease that nobody could take.
            let reads: Vec<_> = (0..5)
                .map(|_| match tag {
                    Some(tag) => world.reading_tagged("new", tag),
                    None => world.reading("new"),
                })
                .collect();
            for read in reads {
                let entry = support::soon("an answer", read).await.unwrap().unwrap();
                assert_eq!((entry.as_str(), entry.origin()), ("passing", Origin::Loaded));
            }
            assert_eq!(world.has("new").await, "nothing");
        }
        assert_eq!(world.ear.count("Wait"), 0, "{:?}", world.ear.all());
        assert!(world.words.stats().far_skipped + world.words.stats().not_stored > 0);
    }
    assert_eq!(ours(&server), before, "no lease and no tag was left behind");
    empty(&server);
    here.read_tagged("new", "another").await.unwrap();
    assert_eq!(here.has("new").await, "passing near");
    let found = there.words.tagged(["another"]).get("new").await.unwrap().unwrap();
    assert_eq!((found.as_str(), found.origin()), ("passing", Origin::Far), "cached again");
}

#[tokio::test]
async fn ends_work_and_are_heard_of() {
    let server = small();
    let (here, there) = fleet(&server).await;
    for key in ["by-key", "by-tag", "removed"] {
        here.source.set(key, "old");
        here.read_tagged(key, "list").await.unwrap();
        there.read_tagged(key, "list").await.unwrap();
    }
    fill(&server);
    there.words.invalidate("by-key").await.unwrap();
    there.words.remove("removed").await.unwrap();
    here.larder.sync().await.unwrap();
    assert_eq!(here.has("by-key").await, "nothing");
    assert_eq!(here.has("removed").await, "nothing");
    let words = here.words.tagged(["list"]);
    assert_eq!(words.get("by-tag").await.unwrap().unwrap().origin(), Origin::Near);
    there.larder.invalidate_tag("list").await.unwrap();
    here.larder.sync().await.unwrap();
    assert!(words.get("by-tag").await.unwrap().is_none());
    for key in ["by-key", "by-tag", "removed"] {
        here.source.set(key, "new");
        assert_eq!(*here.read_tagged(key, "list").await.unwrap(), "new");
        assert_eq!(*there.read_tagged(key, "list").await.unwrap(), "new");
    }
    assert_eq!(there.larder.stats().unconfirmed, 0);
    let put = here.words.put("put", "v".to_owned()).await.unwrap_err();
    assert_eq!(put.kind(), ErrorKind::Far, "nothing was changed, and it says so: {put}");
    empty(&server);
    here.words.put("put", "v".to_owned()).await.unwrap();
    assert_eq!(there.has("put").await, "v far");
}

/// The lease was granted while there was room, and memory fills up under the load: the value is handed out, told of as
/// not stored, and the lease goes at once, so that whoever waits elsewhere does not wait for its end.
#[tokio::test]
async fn a_load_under_which_memory_fills_up_gives_its_lease_back() {
    for ends in ["value", "tagged", "learned", "failure", "dropped", "by hand"] {
        let server = small();
        let (here, there) = fleet(&server).await;
        here.source.set("k", "theirs");
        let words = match ends {
            "tagged" => here.words.tagged(["list"]),
            _ => here.words.clone(),
        };
        let (mut step, load) = stepped();
        let mut by_hand = None;
        let mut leading = None;
        if ends == "by hand" {
            let larder::Leased::Held(lease) = words.lease("k").await.unwrap() else {
                panic!("nothing is there yet")
            };
            by_hand = Some(lease);
        } else {
            let learned = ends == "learned";
            leading = Some(reading_of(&words, "k", async move {
                let loaded = Loaded::new(load.await?);
                Ok(if learned { loaded.tag("another") } else { loaded })
            }));
            step.begins().await;
        }
        let waiting = there.reading("k");
        there.ear.hears("Wait", 1).await;
        fill(&server);
        match ends {
            "failure" => drop(step),
            "dropped" => leading.take().unwrap().abort(),
            "by hand" => {
                let stored = by_hand.take().unwrap().store("mine".to_owned()).await;
                assert_eq!(stored, Stored::Refused);
            }
            _ => step.answers("mine"),
        }
        if let Some(leading) = leading {
            match leading.await.unwrap() {
                Ok(entry) => assert_eq!(*entry, "mine"),
                Err(why) => assert_eq!((ends, why.kind()), ("failure", ErrorKind::Source)),
            }
        }
        if ["value", "tagged"].contains(&ends) {
            here.ear.hears("NotStored", 1).await;
        }
        let waited = support::soon("an answer", waiting).await.unwrap();
        assert_eq!(*waited.unwrap(), "theirs", "{ends}");
        assert_eq!(there.ear.count("by: Timer"), 0, "{ends}: it was told, and did not wait it out");
        until("no lease is left", || async {
            !server.keys().iter().any(|key| key.contains(":l:"))
        })
        .await;
        empty(&server);
        here.source.set("k", "new");
        assert_eq!(*here.read("k").await.unwrap(), "new", "{ends}");
        assert_eq!(there.has("k").await, "new far", "{ends}: cached again");
    }
}
