//! How many round trips each call costs, counted by the server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use larder::{Cache, Larder, Loaded, Origin, Tag, UserCache};
use support::{PATIENT, Server, Source, Table, World};

/// Counts what the server reads off its sockets: one for each pipeline that is sent, as long as nobody else talks.
struct Meter {
    client: redis::Connection,
    read: u64,
}

impl Meter {
    fn on(server: &Server) -> Meter {
        let mut meter = Meter { client: server.client(), read: 0 };
        meter.trips();
        meter
    }

    /// Since the last time; this question is not counted.
    fn trips(&mut self) -> u64 {
        let info: String = redis::cmd("INFO").arg("stats").query(&mut self.client).unwrap();
        let read = info.lines().find_map(|line| line.strip_prefix("total_reads_processed:"));
        let read = read.unwrap().parse().unwrap();
        std::mem::replace(&mut self.read, read).abs_diff(read) - 1
    }
}

/// A process without heartbeats, for as long as the test runs.
async fn quiet(server: &Server, source: &Source) -> World {
    let builder = Larder::builder("test").redis(server.url()).bound(support::NEVER);
    World::of(builder.far_deadline(PATIENT), source).await
}

#[tokio::test]
async fn each_call_costs_the_round_trips_it_says() {
    let server = Server::start();
    let source = Source::default();
    let (here, there) = (quiet(&server, &source).await, quiet(&server, &source).await);
    let mut meter = Meter::on(&server);
    for key in ["a", "b", "c", "d"] {
        source.set(key, "v");
    }

    here.read("a").await.unwrap();
    assert_eq!(meter.trips(), 3, "a miss that was not expected: value, lease, store");
    here.read("a").await.unwrap();
    assert_eq!(meter.trips(), 0, "near");
    there.read("a").await.unwrap();
    assert_eq!(meter.trips(), 1, "far");
    here.words.invalidate("a").await.unwrap();
    assert_eq!(meter.trips(), 1, "an end");
    here.read("a").await.unwrap();
    assert_eq!(meter.trips(), 2, "a miss that was expected: lease, store");

    here.read_tagged("b", "list").await.unwrap();
    assert_eq!(meter.trips(), 4, "a new tag is one more");
    here.read_tagged("c", "list").await.unwrap();
    assert_eq!(meter.trips(), 3, "a known one is none");
    there.larder.invalidate([Tag::new("list"), Tag::new("other")]).await.unwrap();
    assert_eq!(meter.trips(), 1, "the ends of several");
    here.larder.sync().await.unwrap();
    assert_eq!(meter.trips(), 1, "sync");
    here.read_tagged("b", "list").await.unwrap();
    assert_eq!(meter.trips(), 4, "near, and its tag has ended: tags, lease, new tag, store");

    let words: Cache<str, String> = here.words.clone();
    words.put("d", "v".to_owned()).await.unwrap();
    assert_eq!(meter.trips(), 1, "put");
    words.tagged(["list"]).put("d", "v".to_owned()).await.unwrap();
    assert_eq!(meter.trips(), 2, "put, with a tag");
    there.words.get_many(["a", "b", "c", "d", "nowhere"]).await.unwrap();
    assert_eq!(meter.trips(), 2, "many: the values, and the tags that they turned out to carry");
}

/// What a load learns, and what belongs to a user, costs what it says as well.
#[tokio::test]
async fn learned_tags_and_users_cost_the_round_trips_they_say() {
    let server = Server::start();
    let source = Source::default();
    let (here, there) = (quiet(&server, &source).await, quiet(&server, &source).await);
    let owned = |world: &World| -> UserCache<u32, String> {
        world.larder.cache("owned").per_user().unwrap()
    };
    let (ours, theirs) = (owned(&here), owned(&there));
    let value = || async { Ok::<_, std::io::Error>("v".to_owned()) };
    let mut meter = Meter::on(&server);

    ours.of("ada").get_or_load(&1, value).await.unwrap();
    assert_eq!(meter.trips(), 4, "a user's first entry: the user's tag is new");
    ours.of("ada").get_or_load(&2, value).await.unwrap();
    assert_eq!(meter.trips(), 3, "and the next");
    ours.of("ada").get(&1).await.unwrap().unwrap();
    assert_eq!(meter.trips(), 0, "near");
    theirs.of("ada").get(&1).await.unwrap().unwrap();
    assert_eq!(meter.trips(), 1, "far: the value and the user's tag in one");

    let learns = || async { Ok::<_, std::io::Error>(Loaded::new("v".to_owned()).tag("row")) };
    here.words.get_or_load("k", learns).await.unwrap(); // the tag is new: not stored yet
    here.words.get_or_load("k", learns).await.unwrap();
    assert_eq!(here.words.get("k").await.unwrap().unwrap().origin(), Origin::Near);
    meter.trips();
    there.words.get("k").await.unwrap().unwrap();
    assert_eq!(meter.trips(), 2, "far, with a tag that only the value tells of");
    there.words.get("k").await.unwrap().unwrap();
    assert_eq!(meter.trips(), 0, "and then it is near");
}

/// One before the sink, with the tags' beside it, and one after.
#[tokio::test]
async fn a_write_and_a_read_through_cost_the_round_trips_they_say() {
    let server = Server::start();
    let here = quiet(&server, &Source::default()).await;
    let rows = here.words.through(Table::default());
    let tagged = rows.tagged(["list"]);
    let mut meter = Meter::on(&server);
    let value = || "v".to_owned();

    rows.write("a", value()).await.unwrap();
    assert_eq!(meter.trips(), 2, "guard, finish");
    rows.read("a").await.unwrap().unwrap();
    assert_eq!(meter.trips(), 1, "far: what was written here is not near");
    rows.read("a").await.unwrap().unwrap();
    assert_eq!(meter.trips(), 0, "near");
    tagged.write("b", value()).await.unwrap();
    assert_eq!(meter.trips(), 4, "the tag is new, and made while the guard is opened");
    tagged.write("b", value()).await.unwrap();
    assert_eq!(meter.trips(), 3, "it is read while the guard is opened");
    rows.remove("a").await.unwrap();
    assert_eq!(meter.trips(), 2, "remove");
    assert!(rows.read("a").await.unwrap().is_none());
    assert_eq!(meter.trips(), 1, "there is none, far");
    rows.read_many(["a", "c", "d"]).await.into_iter().for_each(|one| drop(one.unwrap()));
    assert_eq!(meter.trips(), 3, "many: what far has, leases, stores");
}

/// A hit runs no script: at `maxmemory` it would be refused.
#[tokio::test]
async fn an_expected_hit_runs_no_script() {
    let server = Server::start();
    let source = Source::default();
    let (here, there) = (quiet(&server, &source).await, quiet(&server, &source).await);
    source.set("k", "v");
    here.read_tagged("k", "list").await.unwrap();
    let scripts = server.calls("evalsha");
    there.read_tagged("k", "list").await.unwrap();
    assert_eq!(server.calls("evalsha"), scripts);
    assert_eq!(there.words.stats().hits_far, 1);
}
