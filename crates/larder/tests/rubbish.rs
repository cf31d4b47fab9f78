//! Whatever stands under our names, whoever put it there: a miss that is counted, never another value, never a loop
//! without end, and the entry works after it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use larder::{Leased, Origin, Stored};
use support::{Server, World, reading_of, soon, stepped};

const V: &str = "test:words:1:v:{.1.k}";
const L: &str = "test:words:1:l:{.1.k}";
const T: &str = "test:t:{.list}";

/// A thing of each type that Redis has, made under a name.
const TYPES: [&str; 6] = [
    "RPUSH NAME a b",
    "HSET NAME a b",
    "XADD NAME * a b",
    "SADD NAME a b",
    "ZADD NAME 1 a",
    "SET NAME rubbish",
];

/// What a caller may do.
const CALLS: [&str; 7] =
    ["read", "get", "get_many", "put", "invalidate", "invalidate_tag", "lease"];

/// In place of what is there.
fn plant(server: &Server, kind: &str, name: &str) {
    let _: i64 = server.ask(&format!("DEL {name}"));
    let _: redis::Value = server.ask(&kind.replace("NAME", name));
}

async fn call(world: &World, call: &str, scene: &str) {
    let words = world.words.tagged(["list"]);
    let calling = async {
        match call {
            "read" => {
                assert_eq!(*world.read_tagged("k", "list").await.unwrap(), "v", "{scene}");
            }
            "get" => drop(words.get("k").await.unwrap()),
            "get_many" => drop(words.get_many(["k", "j"]).await.unwrap()),
            "put" => {
                words.put("k", "v".to_owned()).await.unwrap();
            }
            "invalidate" => words.invalidate("k").await.unwrap(),
            "invalidate_tag" => world.larder.invalidate_tag("list").await.unwrap(),
            _ => match words.lease("k").await.unwrap() {
                Leased::Held(lease) => drop(lease.store("v".to_owned()).await),
                Leased::Found(entry) => assert_eq!(*entry, "v", "{scene}"),
                Leased::Nothing => panic!("nobody said so: {scene}"),
            },
        }
    };
    soon(scene, calling).await;
}

/// A read stores, and another process finds it.
async fn works(server: &Server, world: &World, scene: &str) {
    assert_eq!(*soon(scene, world.read_tagged("k", "list")).await.unwrap(), "v", "{scene}");
    // News of a put or an end of its own may come after it, and take what is near once more.
    support::until(scene, || async {
        let entry = world.read_tagged("k", "list").await.unwrap();
        assert_eq!(*entry, "v", "{scene}");
        entry.origin() == Origin::Near
    })
    .await;
    let other = World::on(&server.url()).await;
    let far = other.words.tagged(["list"]).get("k").await.unwrap();
    assert_eq!(
        far.map(|entry| (entry.to_string(), entry.origin())),
        Some(("v".to_owned(), Origin::Far)),
        "{scene}"
    );
}

/// Each type at each name, met by each call: from a process that knows nothing, and from one that had it near.
#[tokio::test]
async fn a_thing_of_another_type_is_a_miss_and_gives_way() {
    let server = Server::start();
    for name in [V, L, T] {
        for kind in TYPES {
            for how in CALLS {
                for known in [false, true] {
                    let scene = format!("{how} on {kind} at {name}, known: {known}");
                    let _: String = server.ask("FLUSHALL");
                    let world = World::on(&server.url()).await;
                    world.source.set("k", "v");
                    if known {
                        world.read_tagged("k", "list").await.unwrap();
                    }
                    plant(&server, kind, name);
                    world.larder.sync().await.unwrap();
                    let (scripts, loads) = (server.calls("evalsha"), world.source.loads());
                    call(&world, how, &scene).await;
                    let scripts = server.calls("evalsha") - scripts;
                    assert!(scripts <= 6, "{scripts} scripts: {scene}");
                    assert!(world.source.loads() - loads <= 1, "{scene}");
                    works(&server, &world, &scene).await;
                }
            }
        }
    }
}

/// It is put there while a load runs that will store, and while another process waits for that.
#[tokio::test]
async fn a_thing_of_another_type_under_a_load_strands_nobody() {
    for name in [V, L, T] {
        for kind in TYPES {
            let server = Server::start();
            let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
            let scene = format!("{kind} at {name}");
            let (mut step, load) = stepped();
            let words = here.words.tagged(["list"]);
            let leading = reading_of(&words, "k", load);
            step.begins().await;
            there.source.set("k", "v");
            let waiting = there.reading_tagged("k", "list");
            there.ear.hears("Wait", 1).await;
            plant(&server, kind, name);
            step.answers("v");
            for read in [leading, waiting] {
                assert_eq!(*soon(&scene, read).await.unwrap().unwrap(), "v", "{scene}");
            }
            here.source.set("k", "v");
            works(&server, &here, &scene).await;
        }
    }
}

/// One bit or all of one byte of an entry is another, at each place in turn; or its end is missing, or there is more.
/// What is read is what the source has, and the reader counts it; the next reader finds a good one.
#[tokio::test]
async fn an_entry_whose_bytes_were_changed_is_never_another_value() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    world.source.set("k", "a value of some length");
    world.read_tagged("k", "list").await.unwrap();
    let mut client = server.client();
    let good: Vec<u8> = redis::cmd("GET").arg(V).query(&mut client).unwrap();
    let flipped = (0..good.len()).flat_map(|at| {
        let masks = [1_u8 << (at % 8), 0x80, 0xff];
        let good = &good;
        masks.into_iter().map(move |mask| {
            let mut bytes = good.clone();
            bytes[at] ^= mask;
            // Bit 7 of the flags is set in place, and so not covered by the checksum.
            let may_be_read = (at, mask) == (2, 0x80);
            (format!("byte {at} ^ {mask:#x}"), bytes, may_be_read)
        })
    });
    let cut =
        (0..good.len()).step_by(7).map(|n| (format!("cut at {n}"), good[..n].to_vec(), false));
    let longer = [1, 1000].map(|n| (format!("{n} more"), [&good[..], &vec![7; n]].concat(), false));
    let changed: Vec<_> = flipped.chain(cut).chain(longer).collect();
    let reader = World::on(&server.url()).await;
    for (n, (scene, bytes, may_be_read)) in changed.into_iter().enumerate() {
        // Only the source has this; only the bytes before they were changed had the other.
        let truth = format!("loaded for {n}");
        reader.source.set("k", &truth);
        redis::cmd("SET").arg(V).arg(&bytes).arg("PX").arg(600_000).exec(&mut client).unwrap();
        reader.larder.sync().await.unwrap();
        let unreadable = reader.words.stats().unreadable;
        let entry = soon(&scene, reader.read_tagged("k", "list")).await.unwrap();
        if may_be_read && entry.origin() == Origin::Far {
            assert_eq!(*entry, "a value of some length", "{scene}");
            continue;
        }
        assert_eq!((entry.as_str(), entry.origin()), (truth.as_str(), Origin::Loaded), "{scene}");
        if !may_be_read {
            assert_eq!(reader.words.stats().unreadable, unreadable + 1, "{scene}");
        }
        assert_eq!(reader.has("k").await, format!("{truth} near"), "{scene}");
    }
    world.larder.sync().await.unwrap();
    let last = world.words.tagged(["list"]).get("k").await.unwrap().unwrap();
    assert!(last.starts_with("loaded for") && last.origin() == Origin::Far, "{}", *last);
}

/// A load by hand is stored over what stands there, or refused; it never fails.
#[tokio::test]
async fn a_lease_by_hand_meets_things_of_another_type() {
    for (name, stored) in [(V, Stored::Stored), (L, Stored::Refused), (T, Stored::Refused)] {
        for kind in TYPES {
            let server = Server::start();
            let world = World::on(&server.url()).await;
            let words = world.words.tagged(["list"]);
            let Leased::Held(lease) = words.lease("k").await.unwrap() else {
                panic!("nothing is there yet")
            };
            plant(&server, kind, name);
            world.larder.sync().await.unwrap();
            let scene = format!("{kind} at {name}");
            assert_eq!(soon(&scene, lease.store("v".to_owned())).await, stored, "{scene}");
            world.source.set("k", "v");
            works(&server, &world, &scene).await;
        }
    }
}
