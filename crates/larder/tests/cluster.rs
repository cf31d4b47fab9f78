//! Redis Cluster: each command at the node of its slot, and every promise as on one server.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a scene that cannot be set has failed"
)]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::{
    AfterFailover, BreakerSettings, ErrorKind, HOUR, Larder, LarderBuilder, Origin, SECOND, Stored,
    Tag,
};
use support::{Cluster, NEVER, PATIENT, Proxy, Server, Source, Way, World, until};

/// Names that are meant to fall apart, or into a slot that is not theirs.
const HOSTILE: [&str; 8] = ["", "}x", "{", "}", "{}", "{a}b", "a{b}c{d}", "x}{y"];

fn builder(cluster: &Cluster) -> LarderBuilder {
    Larder::builder("test").redis(cluster.url()).far_deadline(PATIENT).require_far()
}

/// Which master has the value of a key of `words`.
fn of_key(cluster: &Cluster, key: &str) -> usize {
    let name = format!("test:words:1:v:{{.{}.{key}}}", key.len());
    cluster.master_of(cluster.slot(name.as_bytes()))
}

/// Which has a tag.
fn of_tag(cluster: &Cluster, tag: &str) -> usize {
    cluster.master_of(cluster.slot(format!("test:t:{{.{tag}}}").as_bytes()))
}

/// A tag whose generation lies on that master.
fn tag_on(cluster: &Cluster, master: usize) -> String {
    let tags = (0..).map(|number| format!("t{number}"));
    tags.into_iter().find(|tag| of_tag(cluster, tag) == master).unwrap()
}

/// As a process sees it that reaches one of the masters through a wire.
async fn through(cluster: &Cluster, master: usize, wire: &Proxy, bound: Duration) -> World {
    let (announced, port) = (cluster.nodes[master].port(), wire.port());
    let builder = builder(cluster).bound(bound).redis_address_map(move |host, given| {
        (host.to_owned(), if given == announced { port } else { given })
    });
    World::of(builder, &Source::default()).await
}

#[tokio::test]
async fn what_is_loaded_by_one_is_found_by_another_and_ended_for_both() {
    let cluster = Cluster::of_masters();
    let source = Source::default();
    let here = World::of(builder(&cluster), &source).await;
    // Any one node is enough to begin with.
    let one = format!("redis+cluster://127.0.0.1:{}", cluster.nodes[2].port());
    let there = World::beside(&one, &source).await;
    let keys: Vec<String> = (0..60).map(|number| format!("k{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).chain(HOSTILE).collect();
    for key in &keys {
        source.set(key, "old");
        assert_eq!(*here.read_tagged(key, "list").await.unwrap(), "old");
        assert_eq!(here.has(key).await, "old near", "{key}");
        assert_eq!(there.has(key).await, "old far", "{key}");
        assert_eq!(there.has(key).await, "old near", "{key}");
    }
    assert_eq!(source.loads(), keys.len());
    for node in &cluster.nodes {
        assert!(!node.keys().is_empty(), "a node was left out");
        assert_eq!(node.larders().len(), 4, "two connections for each process");
    }
    for key in &keys {
        here.words.invalidate(*key).await.unwrap();
    }
    there.larder.sync().await.unwrap();
    for key in &keys {
        assert_eq!(there.has(key).await, "nothing", "{key}");
        source.set(key, "new");
        assert_eq!(*there.read_tagged(key, "list").await.unwrap(), "new");
    }
    there.larder.invalidate([Tag::new("list"), Tag::new("}")]).await.unwrap();
    here.larder.sync().await.unwrap();
    for key in &keys {
        assert_eq!(here.has(key).await, "nothing", "{key}");
    }
    let _ = (here.larder.close(SECOND).await, there.larder.close(SECOND).await);
    until("all connections are closed", || async {
        cluster.nodes.iter().all(|node| node.larders().is_empty())
    })
    .await;
}

/// No command ever named keys of two slots, whatever the keys and tags; and none was refused.
#[tokio::test]
async fn no_key_and_no_tag_makes_a_command_cross_slots() {
    let cluster = Cluster::of_masters();
    let (world, other) =
        (World::of(builder(&cluster), &Source::default()).await, builder(&cluster));
    let other = World::of(other, &world.source).await;
    for key in HOSTILE {
        world.source.set(key, "v");
        for tag in HOSTILE {
            world.read_tagged(key, tag).await.unwrap();
            other.words.get(key).await.unwrap();
            world.words.tagged([tag]).put(key, "w".to_owned()).await.unwrap();
            world.words.expire(key).await.unwrap();
            world.larder.expire_tag(tag).await.unwrap();
        }
        let guard = world.words.guard(key).await.unwrap();
        world.read(key).await.unwrap();
        guard.end().await.unwrap();
    }
    let entries = HOSTILE.iter().map(|key| world.words.entry(*key));
    let tags = HOSTILE.iter().map(|tag| Tag::new(tag).into());
    world.larder.invalidate(entries.chain(tags)).await.unwrap();
    let loaded = |keys: Vec<String>| async move {
        Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key.clone(), key)).collect::<Vec<_>>())
    };
    let answers = world.words.tagged(HOSTILE).get_or_load_many(HOSTILE, loaded).await;
    for (key, answer) in HOSTILE.iter().zip(answers) {
        assert_eq!(*answer.unwrap().unwrap(), *key);
    }
    let found = other.words.tagged(HOSTILE).get_many(HOSTILE).await.unwrap();
    for (key, found) in HOSTILE.iter().zip(found) {
        let found = found.unwrap_or_else(|| panic!("{key} is not there"));
        assert_eq!((found.as_str(), found.origin()), (*key, Origin::Far));
    }
    for node in &cluster.nodes {
        // ERR is what the test's own client hears when it says who it is.
        let errors: String = node.ask("INFO errorstats");
        let refused: Vec<&str> =
            errors.lines().filter(|line| line.starts_with("errorstat_")).collect();
        assert!(refused.iter().all(|line| line.starts_with("errorstat_ERR:")), "{refused:?}");
        let commands: String = node.ask("INFO commandstats");
        let well = |line: &&str| line.contains("rejected_calls=0,failed_calls=0");
        let failed: Vec<&str> =
            commands.lines().filter(|line| line.starts_with("cmdstat_") && !well(line)).collect();
        assert!(failed.is_empty(), "{failed:?}");
    }
}

/// What each node reads off its sockets: one for each pipeline that is sent to it.
struct Meters(Vec<(redis::Connection, u64)>);

impl Meters {
    async fn on(cluster: &Cluster) -> Meters {
        let mut meters =
            Meters(cluster.nodes.iter().map(|node: &Server| (node.client(), 0)).collect());
        // The last looks at the map, before the two have settled.
        let mut silent = 0;
        while silent < 5 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            silent = if meters.trips() == [0; 3] { silent + 1 } else { 0 };
        }
        meters
    }

    /// Since the last time, by node; these questions are not counted.
    fn trips(&mut self) -> Vec<u64> {
        let read = |(client, read): &mut (redis::Connection, u64)| {
            let info: String = redis::cmd("INFO").arg("stats").query(client).unwrap();
            let now = info.lines().find_map(|line| line.strip_prefix("total_reads_processed:"));
            let now: u64 = now.unwrap().parse().unwrap();
            std::mem::replace(read, now).abs_diff(now) - 1
        };
        self.0.iter_mut().map(read).collect()
    }
}

/// What is one trip on one server is one here, to each node that has a part in it, and to no other.
#[tokio::test]
async fn each_call_costs_each_node_the_round_trips_it_says() {
    let cluster = Cluster::of_masters();
    let source = Source::default();
    let quiet = || World::of(builder(&cluster).bound(NEVER), &source);
    let (here, there) = (quiet().await, quiet().await);
    let v = of_key(&cluster, "k");
    let (t, other) = ((v + 1) % 3, (v + 2) % 3);
    let tag = tag_on(&cluster, t);
    source.set("k", "v");
    let mut meters = Meters::on(&cluster).await;
    let mut expect = |what: &str, at_v: u64, at_t: u64| {
        let mut expected = vec![0; 3];
        (expected[v], expected[t], expected[other]) = (at_v, at_t, 0);
        assert_eq!(meters.trips(), expected, "{what}; value on {v}, tag on {t}");
    };
    here.read("k").await.unwrap();
    expect("a miss that was not expected: value, lease, store", 3, 0);
    here.read("k").await.unwrap();
    expect("near", 0, 0);
    there.read("k").await.unwrap();
    expect("far", 1, 0);
    here.words.invalidate("k").await.unwrap();
    expect("an end", 1, 0);
    here.read("k").await.unwrap();
    expect("a miss that was expected: lease, store", 2, 0);
    here.words.invalidate("k").await.unwrap();
    expect("an end", 1, 0);
    here.read_tagged("k", &tag).await.unwrap();
    expect("with a new tag: read with the lease, and made", 2, 2);
    there.read_tagged("k", &tag).await.unwrap();
    expect("far, the value here and its tag there", 1, 1);
    there.larder.invalidate([there.words.entry("k"), Tag::new(&tag).into()]).await.unwrap();
    expect("the ends of both", 1, 1);
    here.larder.sync().await.unwrap();
    assert_eq!(meters.trips(), [1, 1, 1], "sync asks all");
}

/// A tag that was read before the value, and made anew in between, says nothing against it.
#[tokio::test]
async fn a_tag_that_was_read_before_the_value_ends_nothing_by_itself() {
    let cluster = Cluster::of_masters();
    let there = World::of(builder(&cluster), &Source::default()).await;
    let v = of_key(&cluster, "k");
    let t = (v + 1) % 3;
    let tag = tag_on(&cluster, t);
    there.source.set("k", "old");
    there.read_tagged("k", &tag).await.unwrap();
    let wire = Proxy::to(&cluster.nodes[v]);
    let here = through(&cluster, v, &wire, NEVER).await;
    let read = cluster.nodes[t].calls("get");
    wire.hold_all_up();
    let getting = tokio::spawn({
        let words = here.words.tagged([tag.as_str()]);
        async move { words.get("k").await.unwrap().map(|entry| (entry.to_string(), entry.origin())) }
    });
    until("the tag is read", || async { cluster.nodes[t].calls("get") > read }).await;
    there.larder.invalidate_tag(Tag::new(&tag)).await.unwrap();
    there.source.set("k", "new");
    assert_eq!(*there.read_tagged("k", &tag).await.unwrap(), "new");
    wire.let_go();
    assert_eq!(getting.await.unwrap(), Some(("new".to_owned(), Origin::Far)));
}

/// One node costs only time: it alone is left alone. Its ends wait for nobody and are not lost; what the others have is
/// served, stored and ended as ever.
#[tokio::test]
async fn a_breaker_is_one_nodes_alone() {
    let cluster = Cluster::of_masters();
    let bad = of_key(&cluster, "k");
    let wire = Proxy::to(&cluster.nodes[bad]);
    let (announced, port) = (cluster.nodes[bad].port(), wire.port());
    let patience = BreakerSettings::new().open_for(HOUR);
    let builder = builder(&cluster).bound(NEVER).breaker(patience);
    let builder = builder.redis_address_map(move |host, given| {
        (host.to_owned(), if given == announced { port } else { given })
    });
    let world =
        World::of(builder.far_deadline(Duration::from_millis(200)), &Source::default()).await;
    world.source.set("k", "v");
    world.read("k").await.unwrap();
    let keys = |at: usize| {
        let cluster = &cluster;
        (0..).map(|n| format!("n{n}")).filter(move |key| of_key(cluster, key) == at)
    };
    let good = keys((bad + 1) % 3).next().unwrap();
    world.source.set(&good, "v");
    world.read(&good).await.unwrap();
    // All its connections, whichever was made first.
    (0..100).for_each(|connection| wire.hold(connection));
    for key in keys(bad).take(100) {
        world.source.set(&key, "v");
        assert_eq!(*world.read(&key).await.unwrap(), "v");
        if world.ear.count("BreakerOpened") > 0 {
            break;
        }
    }
    assert_eq!(world.ear.count("BreakerOpened"), 1);
    let error = world.words.invalidate("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed);
    assert!(error.to_string().contains("breaker is open"), "nobody waits for it: {error}");
    let there = World::of(self::builder(&cluster), &world.source).await;
    world.source.set(&good, "new");
    world.words.invalidate(&good).await.unwrap();
    assert_eq!(*world.read(&good).await.unwrap(), "new");
    assert_eq!(there.has(&good).await, "new far", "stored, and ended before that");
    assert_eq!(world.ear.count("BreakerOpened"), 1);
    wire.let_go();
    until("the end has come", || async { world.larder.stats().unconfirmed_waiting == 0 }).await;
    assert_eq!(there.has("k").await, "nothing");
    assert_eq!(world.larder.stats().breaker_closed, 0, "it was open all the while");
}

/// What rests on two nodes is served from near while both are heard of; what rests on others does not care.
#[tokio::test]
async fn near_serves_nothing_whose_tag_lies_where_nobody_is_heard_any_more() {
    let cluster = Cluster::of_masters();
    let there = World::of(builder(&cluster), &Source::default()).await;
    let v = of_key(&cluster, "k");
    let t = (v + 1) % 3;
    let tag = tag_on(&cluster, t);
    let wire = Proxy::to(&cluster.nodes[t]);
    let here = through(&cluster, t, &wire, SECOND).await;
    let beside = (0..).map(|n| format!("b{n}")).find(|key| of_key(&cluster, key) == v).unwrap();
    there.source.set("k", "old");
    there.source.set(&beside, "old");
    there.read_tagged("k", &tag).await.unwrap();
    there.read(&beside).await.unwrap();
    for key in ["k", &beside] {
        assert_eq!(here.has(key).await, "old far");
        assert_eq!(here.has(key).await, "old near");
    }
    wire.swallow_all(Way::Down);
    there.larder.invalidate_tag(Tag::new(&tag)).await.unwrap();
    there.larder.settled().await;
    assert_eq!(here.has("k").await, "nothing", "its tag has ended, and nobody could tell");
    assert_eq!(here.has(&beside).await, "old near", "its own node is heard");
    wire.heal();
    here.source.set("k", "new");
    until("it is kept again", || async {
        here.read_tagged("k", &tag).await.unwrap();
        here.has("k").await == "new near"
    })
    .await;
    assert_eq!(here.has(&beside).await, "old near");
}

/// Redis tells nobody of keys that go with their slot. The node's own word does.
#[tokio::test]
async fn near_forgets_what_lies_in_a_slot_that_was_taken_away_with_its_keys_left_behind() {
    let cluster = Cluster::of_masters();
    let (here, there) = (builder(&cluster), builder(&cluster));
    let here = World::of(here, &Source::default()).await;
    let there = World::of(there, &here.source).await;
    for (key, tag) in [("k", None), ("l", Some("tag"))] {
        here.source.set(key, "old");
        let slot = match tag {
            None => {
                here.read(key).await.unwrap();
                cluster.slot(format!("test:words:1:v:{{.{}.{key}}}", key.len()).as_bytes())
            }
            Some(tag) => {
                here.read_tagged(key, tag).await.unwrap();
                cluster.slot(format!("test:t:{{.{tag}}}").as_bytes())
            }
        };
        assert_eq!(here.has(key).await, "old near");
        let from = cluster.master_of(slot);
        cluster.take_away(slot, from, (from + 1) % 3);
        match tag {
            None => there.words.invalidate(key).await.unwrap(),
            Some(tag) => there.larder.invalidate_tag(Tag::new(tag)).await.unwrap(),
        }
        here.larder.sync().await.unwrap();
        assert_eq!(
            here.has(key).await,
            "nothing",
            "{key}: what was near is of a node that has it no longer"
        );
    }
}

/// While value and lease may lie in two places a put waits, and is refused when that takes too long; what is ended or
/// expired or guarded is so in both.
#[tokio::test]
async fn on_a_slot_on_its_way_each_call_does_what_it_can() {
    let cluster = Cluster::of_masters();
    let source = Source::default();
    // What has moved already is believed, so that it can be seen to be found.
    let believing = || builder(&cluster).after_failover(AfterFailover::Accept);
    let world = || World::of(believing(), &source);
    let (here, patient, third) = (world().await, world().await, world().await);
    let impatient = believing().invalidate_deadline(SECOND / 4).open().await.unwrap();
    let name = b"test:words:1:v:{.1.k}";
    let slot = cluster.slot(name);
    let from = cluster.master_of(slot);
    let to = (from + 1) % 3;
    here.source.set("k", "old");
    here.words.invalidate("k").await.unwrap();
    third.read("k").await.unwrap();
    cluster.begin_to_move(slot, from, to);

    // Asked for the lease at once, since it was ended here: there is none to be had, and a value all the same.
    assert_eq!(here.read("k").await.unwrap().origin(), Origin::Far);
    assert_eq!(source.loads(), 1);

    // The value here, no lease anywhere: it is served, expired, and loaded anew without being kept.
    assert_eq!(patient.has("k").await, "old far");
    assert_eq!(patient.has("k").await, "old near");
    cluster.move_key(name, from, to);
    until("its way is heard of", || async { patient.has("k").await != "old near" }).await;
    assert_eq!(patient.has("k").await, "old far");
    assert_eq!(patient.has("k").await, "old far", "not near: whose news count is about to change");
    here.words.expire("k").await.unwrap();
    assert_eq!(patient.has("k").await, "nothing", "no longer fresh");
    here.source.set("k", "new");
    assert_eq!(here.read("k").await.unwrap().origin(), Origin::Loaded);
    here.words.invalidate("k").await.unwrap();
    assert_eq!(cluster.nodes[to].calls("del"), 0);
    for at in [from, to] {
        let found: Vec<String> =
            cluster.nodes[at].keys().into_iter().filter(|key| key.contains(".1.k}")).collect();
        assert!(found.is_empty(), "left on {at}: {found:?}");
    }

    // A guard is a guard.
    let guard = here.words.guard("k").await.unwrap();
    let record: Vec<u8> = {
        let mut client = cluster.nodes[to].client();
        let _: String = redis::cmd("ASKING").query(&mut client).unwrap();
        redis::cmd("GET").arg("test:words:1:l:{.1.k}").query(&mut client).unwrap()
    };
    assert!(record.starts_with(b"W="), "{}", record.escape_ascii());
    assert_eq!(patient.read("k").await.unwrap().origin(), Origin::Loaded);
    assert_eq!(patient.has("k").await, "nothing", "and kept nowhere");
    guard.end().await.unwrap();

    // A put cannot be split.
    let words = impatient
        .cache::<str, String>("words")
        .lifetime(larder::Lifetime::fresh_for(larder::MINUTE).jitter(0.0))
        .shared()
        .unwrap();
    let refused = words.put("k", "late".to_owned()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Far, "nothing was changed: {refused}");
    let putting = tokio::spawn({
        let words = patient.words.clone();
        async move { words.put("k", "put".to_owned()).await }
    });
    let before = cluster.nodes[to].calls("asking");
    until("the put has been tried", || async { cluster.nodes[to].calls("asking") > before + 2 })
        .await;
    while cluster.move_keys(slot, from, to, 100) > 0 {}
    cluster.end_move(slot, from, to);
    assert_eq!(putting.await.unwrap().unwrap(), Stored::Stored);
    assert_eq!(here.has("k").await, "put far");
}

/// The line that people copy from docs/running-it.md, and what a cluster adds to it, for our app and password.
fn documented() -> String {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/running-it.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let rule = docs.lines().find(|line| line.starts_with("ACL SETUSER larder on ")).unwrap();
    let more = docs.lines().find(|line| line.starts_with("**A user's rights**")).unwrap();
    let more = more.split('`').nth(1).unwrap();
    let rule = rule.replace(">password", ">s3cret").replace("~todo:*", "~test:*");
    format!("{rule} {more}")
}

/// With the rights that are documented all of it works over TLS, slots on their way included; with one less `open`
/// says which.
#[cfg(feature = "tls")]
#[tokio::test]
async fn over_tls_as_a_user_with_the_least_rights() {
    use larder::Tls;
    use support::Authority;

    let authority = Authority::new();
    let paper = authority.issues(&["127.0.0.1"]);
    let [ca, certificate, key] = authority.files(&paper);
    let settings = [
        ["--tls-port", "{free}"],
        ["--tls-ca-cert-file", &ca],
        ["--tls-cert-file", &certificate],
        ["--tls-key-file", &key],
        ["--tls-auth-clients", "no"],
        ["--tls-cluster", "yes"],
        ["--tls-replication", "yes"],
    ];
    let cluster = Cluster::with(0, &settings.concat());
    let rule = documented();
    for node in &cluster.nodes {
        let _: String = node.ask(&rule);
    }
    let url = cluster.tls_url_as("larder:s3cret@");
    let open = || {
        let builder = Larder::builder("test").redis(&url).tls(Tls::new().ca_pem(authority.pem()));
        builder.far_deadline(PATIENT).connect_deadline(PATIENT).require_far()
    };
    let source = Source::default();
    let (here, there) = (World::of(open(), &source).await, World::of(open(), &source).await);
    source.set("k", "one");
    here.read_tagged("k", "list").await.unwrap();
    assert_eq!(there.has("k").await, "one far");
    assert_eq!(there.has("k").await, "one near");
    here.larder.invalidate_tag("list").await.unwrap();
    there.larder.sync().await.unwrap();
    assert_eq!(there.has("k").await, "nothing", "the change was pushed");
    let slot = cluster.slot(b"test:words:1:v:{.1.k}");
    let from = cluster.master_of(slot);
    cluster.begin_to_move(slot, from, (from + 1) % 3);
    here.words.invalidate("k").await.unwrap();
    assert_eq!(here.read("k").await.unwrap().origin(), Origin::Loaded);
    here.words.expire("k").await.unwrap();
    here.words.guard("k").await.unwrap().end().await.unwrap();
    for node in &cluster.nodes {
        let odd: Vec<String> = node.refusals();
        let odd = odd.iter().filter(|refused| !refused.contains("config"));
        assert_eq!(odd.collect::<Vec<_>>(), Vec::<&String>::new());
    }
    for missing in ["cluster|slots", "cluster|info", "cluster|myid", "exists", "info"] {
        for node in &cluster.nodes {
            let _: String = node.ask(&format!("ACL SETUSER larder -{missing}"));
        }
        let error = open().open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{missing}: {error}");
        let text = error.to_string();
        assert!(text.contains("permission") && text.contains(missing), "{missing}: {text}");
        for node in &cluster.nodes {
            let _: String = node.ask(&format!("ACL SETUSER larder +{missing}"));
        }
    }
    let wrong = url.replace("s3cret", "hunter2");
    let error = Larder::builder("test").redis(wrong).tls(Tls::new().ca_pem(authority.pem()));
    let error = error.open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.contains("user name or password") && !text.contains("hunter2"), "{text}");
}

/// A server that is no node of a cluster says so, and what to do.
#[tokio::test]
async fn what_is_no_cluster_is_named() {
    let server = Server::start();
    let url = format!("redis+cluster://127.0.0.1:{}", server.port());
    let error = Larder::builder("test").redis(url).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("redis://"), "{error}");
    let nobody = format!("redis+cluster://127.0.0.1:{}", support::server::free_port());
    let larder = Larder::builder("test").redis(&nobody).open().await.unwrap();
    assert!(!larder.is_far_up(), "started without it");
    let error = Larder::builder("test").redis(&nobody).require_far().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Far, "{error}");
}

/// A shard without a master costs what lies there, and no more: of many keys the rest is found.
#[tokio::test]
async fn many_keys_are_found_as_far_as_their_masters_are_there() {
    let mut cluster = Cluster::with(0, &["--cluster-require-full-coverage", "no"]);
    let source = Source::default();
    let (here, there) = (builder(&cluster), builder(&cluster));
    let (here, there) = (World::of(here, &source).await, World::of(there, &source).await);
    let keys: Vec<String> = (0..30).map(|number| format!("k{number}")).collect();
    let dead = of_key(&cluster, "k0");
    let (lost, found): (Vec<&str>, Vec<&str>) =
        keys.iter().map(String::as_str).partition(|key| of_key(&cluster, key) == dead);
    for key in &keys {
        source.set(key, "old");
        there.read(key).await.unwrap();
    }
    cluster.nodes[dead].kill();
    here.ear.hears("Disconnected", 1).await;
    let far = here.words.get_many(keys.iter().map(String::as_str)).await.unwrap();
    for (key, far) in keys.iter().zip(far) {
        let is_found = far.map(|entry| (entry.to_string(), entry.origin()));
        let expected = found.contains(&key.as_str()).then(|| ("old".to_owned(), Origin::Far));
        assert_eq!(is_found, expected, "{key}");
    }
    let loaded = |keys: Vec<String>| async move {
        let new = |key: String| (key, "new".to_owned());
        Ok::<_, std::io::Error>(keys.into_iter().map(new).collect::<Vec<_>>())
    };
    let all = keys.iter().map(String::as_str);
    let answers = here.words.get_or_load_many(all, loaded).await;
    for (key, answer) in keys.iter().zip(answers) {
        let expected = if lost.contains(&key.as_str()) { "new" } else { "old" };
        assert_eq!(*answer.unwrap().unwrap(), expected, "{key}");
    }
    for key in &found {
        here.words.invalidate(*key).await.unwrap();
    }
    assert!(here.larder.is_far_up(), "two of three");
}

/// A master that is cut off must have noticed it before another takes over, or we would go on believing it.
#[tokio::test]
async fn a_bound_that_is_not_below_the_time_out_of_the_nodes_is_warned_of() {
    let log = Log::begin();
    let cluster = Cluster::of_masters();
    let about_it = |line: &str| {
        line.contains(&cluster.url()) && line.contains("bound is not below cluster-node-timeout")
    };
    for (bound, warnings) in [(SECOND, 0), (2 * SECOND, 1)] {
        let larder = builder(&cluster).bound(bound).open().await.unwrap();
        let _ = larder.close(SECOND).await;
        assert_eq!(log.text().lines().filter(|line| about_it(line)).count(), warnings, "{bound:?}");
    }
}

/// All that is logged in this test binary: a process has one log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin() -> Log {
        let log = Log::default();
        let writer = log.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// A node that hangs is left alone by itself: its breaker is not that of the others.
#[tokio::test]
async fn a_node_that_hangs_is_left_alone_and_the_others_are_asked() {
    let cluster = Cluster::with(0, &["--cluster-require-full-coverage", "no"]);
    let there = World::of(builder(&cluster), &Source::default()).await;
    let keys: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
    for key in &keys {
        there.source.set(key, "old");
        there.read(key).await.unwrap();
    }
    let dead = of_key(&cluster, &keys[0]);
    let (hung, good): (Vec<&String>, Vec<&String>) =
        keys.iter().partition(|key| of_key(&cluster, key) == dead);
    // Its heartbeats have time: only what is asked of it tells that it hangs.
    let here = builder(&cluster).bound(NEVER).far_deadline(Duration::from_millis(100));
    let here = World::of(here.near_bytes_max(1024), &Source::default()).await;
    cluster.nodes[dead].pause();
    while here.ear.count("BreakerOpened") == 0 {
        for key in &hung {
            assert_eq!(here.has(key).await, "nothing");
        }
    }
    assert_eq!(here.has(hung[0]).await, "nothing");
    let turned_away = || here.ear.count("its breaker is open");
    let before = turned_away();
    assert!(before > 0, "{:?}", here.ear.all());
    for key in &good {
        until("the others answer", || async { here.has(key).await == "old far" }).await;
    }
    assert_eq!(turned_away(), before, "the others are not it");
    cluster.nodes[dead].resume();
    until("it is tried, and good again", || async { here.has(hung[0]).await == "old far" }).await;
}

/// A put waits for its slot, which has gone to another node in the end. In the old one's name it would be believed by
/// nobody: it is no `Stored`, and the next one is.
#[tokio::test]
async fn a_put_whose_slot_has_gone_to_another_node_is_not_said_to_be_stored() {
    let cluster = Cluster::of_masters();
    let world = World::of(builder(&cluster), &Source::default()).await;
    let name = b"test:words:1:v:{.1.k}";
    let slot = cluster.slot(name);
    let from = cluster.master_of(slot);
    let to = (from + 1) % 3;
    world.words.put("k", "old".to_owned()).await.unwrap();
    cluster.begin_to_move(slot, from, to);
    cluster.move_key(name, from, to);
    let before = cluster.nodes[to].calls("asking");
    let putting = tokio::spawn({
        let words = world.words.clone();
        async move { words.put("k", "put".to_owned()).await }
    });
    until("the put has been tried", || async { cluster.nodes[to].calls("asking") > before + 2 })
        .await;
    cluster.end_move(slot, from, to);
    let answer = putting.await.unwrap();
    assert!(answer.is_err(), "{answer:?}");
    until("a put that is believed", || async {
        matches!(world.words.put("k", "again".to_owned()).await, Ok(Stored::Stored))
            && world.has("k").await.starts_with("again")
    })
    .await;
}
