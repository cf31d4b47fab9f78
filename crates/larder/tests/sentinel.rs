//! Who is master is what a majority of sentinels says: real ones, and real failovers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a scene that cannot be set has failed; how long a recovery takes is told"
)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::{Cache, ErrorKind, HOUR, Larder, LarderBuilder, Lifetime, Origin, SECOND};
use support::sentinel::{MASTER, ended, is_near};
use support::{Fleet, PATIENT, Rider, Rows, Source, Traffic, World, until};

/// Below the sentinels' `down-after-milliseconds`, as it should be.
const BOUND: Duration = Duration::from_millis(500);

fn builder(url: &str) -> LarderBuilder {
    Larder::builder("test").redis(url).bound(BOUND).far_deadline(PATIENT).connect_deadline(PATIENT)
}

async fn world(url: &str) -> World {
    World::of(builder(url).require_far(), &Source::default()).await
}

/// One address is enough: the other sentinels are found, and a majority of them is asked.
#[tokio::test]
async fn any_one_sentinel_is_enough_to_begin_with() {
    let fleet = Fleet::start().await;
    for sentinel in 0..3 {
        let world = world(&fleet.url_of(sentinel)).await;
        world.source.set("k", "v");
        ended(&world, "k").await;
        is_near(&world, "k", "v").await;
        assert_eq!(fleet.nodes[0].larders().len(), 2, "on the master, tracked and untracked");
        for other in &fleet.sentinels {
            until("all sentinels are asked", || async {
                let clients: String = other.ask("CLIENT LIST");
                clients.matches("name=larder:test:sentinel").count() == 1
            })
            .await;
        }
        let _ = world.larder.close(SECOND).await;
        until("the connections are gone", || async { fleet.nodes[0].larders().is_empty() }).await;
        for other in &fleet.sentinels {
            let is_gone = || async { !other.ask::<String>("CLIENT LIST").contains("name=larder") };
            until("those to the sentinels too", is_gone).await;
        }
    }
}

/// Two processes that read and write, and one that reads far alone.
async fn riders(fleet: &Fleet) -> (Vec<Rider>, Vec<Rider>) {
    let mut riders = Vec::new();
    for number in 0..3 {
        let builder = builder(&fleet.url()).invalidate_deadline(SECOND);
        riders.push(Rider::open(number, builder, BOUND, number < 2).await);
    }
    let alone = riders.split_off(2);
    (riders, alone)
}

/// Waits until every process has an end confirmed, and says how long that took.
async fn recovered(rows: &Rows, riders: &[Rider], since: Instant) -> Duration {
    for rider in riders {
        until("a confirmed end", || rider.write(rows, 0)).await;
    }
    since.elapsed()
}

/// Waits until this many more answers came from far.
async fn far_again(traffic: &Traffic) {
    let before = traffic.counts.of(&traffic.counts.far);
    until("answers from far", || async { traffic.counts.of(&traffic.counts.far) > before + 100 })
        .await;
}

/// Reads go on from the loader, and nothing that was ended comes back with the replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_killed_under_load_is_followed_by_another_and_nothing_is_stale() {
    let mut fleet = Fleet::start().await;
    let (rows, (riders, alone)) = (Arc::new(Rows::default()), riders(&fleet).await);
    let traffic = Traffic::begin(&rows, &riders, &alone);
    far_again(&traffic).await;
    let old = fleet.nodes[0].port();
    fleet.nodes[0].kill();
    let killed = Instant::now();
    let loaded = traffic.counts.of(&traffic.counts.loaded);
    // Whoever is started now starts too, and finds the next master.
    let late = World::of(builder(&fleet.url()), &Source::default()).await;
    let new = fleet.named_after(0, old).await;
    let named = killed.elapsed();
    let recovered = recovered(&rows, &riders, killed).await;
    far_again(&traffic).await;
    until("the late one is connected", || async { late.larder.is_far_up() }).await;
    let counts = traffic.end().await;
    assert!(counts.of(&counts.loaded) > loaded, "the loader answered meanwhile");
    assert!(fleet.node(new).larders().len() >= 8, "all are there, tracked and untracked");
    println!(
        "killed: another is named after {named:?}, ends are confirmed after {recovered:?}; {counts}"
    );
}

/// The old master takes writes for ten seconds more. What it confirmed is not lost, and nobody asks it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_in_a_planned_failover() {
    let fleet = Fleet::start().await;
    let (rows, (riders, alone)) = (Arc::new(Rows::default()), riders(&fleet).await);
    let traffic = Traffic::begin(&rows, &riders, &alone);
    for round in 1..=2 {
        far_again(&traffic).await;
        let old = fleet.named_by(0);
        fleet.fail_over();
        let begun = Instant::now();
        let new = fleet.named_after(0, old).await;
        let named = begun.elapsed();
        for rider in riders.iter().chain(&alone) {
            rider.ear.hears("another is master", round).await;
        }
        let recovered = recovered(&rows, &riders, begun).await;
        far_again(&traffic).await;
        println!(
            "planned: another is named after {named:?}, ends are confirmed after {recovered:?}; {}",
            traffic.counts
        );
        assert!(fleet.node(old).larders().is_empty(), "nobody is left at the old one");
        assert!(fleet.node(new).larders().len() >= 6);
        fleet.is_whole().await;
    }
    println!("{}", traffic.end().await);
}

/// What the old master confirmed after the new one was promoted the new one never heard of.
#[tokio::test]
async fn an_end_that_only_the_old_master_heard_of_holds() {
    let fleet = Fleet::start().await;
    let (one, other) = (world(&fleet.url()).await, world(&fleet.url()).await);
    let keys: Vec<String> = (0..600).map(|number| format!("k{number}")).collect();
    for key in &keys {
        one.source.set(key, "before");
        one.read(key).await.unwrap();
    }
    until("the other has it too", || async { other.has("k0").await == "before far" }).await;
    // One that nobody ends, and nobody reads again.
    let untouched = || other.words.get_near("untouched");
    other.source.set("untouched", "v");
    is_near(&other, "untouched", "v").await;
    let old = fleet.named_by(0);
    fleet.fail_over();
    let (mut ended, mut late) = (Vec::new(), 0);
    for key in &keys {
        if one.words.invalidate(key).await.is_err() {
            // It was queued, and will be sent to the new one.
            late += 1;
        } else if fleet.named_by(0) != old {
            ended.push(key);
        }
        if late > 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    println!("{} ends were confirmed after a sentinel named another, {late} not", ended.len());
    assert!(late > 3, "the failover came while there was something to end");
    other.ear.hears("another is master", 1).await;
    assert!(untouched().is_none(), "near was emptied");
    until("all are confirmed", || async { one.larder.stats().unconfirmed_waiting == 0 }).await;
    until("the other is connected", || async { other.larder.sync().await.is_ok() }).await;
    for key in &ended {
        assert_eq!(other.has(key).await, "nothing", "{key} was ended");
    }
    // Back to the first one, which is the same process as before, and has by now what the second one has.
    let new = fleet.named_after(0, old).await;
    let back = fleet.node(old);
    let _: String = back.ask(&format!("REPLICAOF 127.0.0.1 {new}"));
    let is_copied =
        || async { back.ask::<String>("INFO replication").contains("master_link_status:up") };
    until("the old one has what the new one has", is_copied).await;
    for node in fleet.nodes.iter().filter(|node| node.port() != old) {
        let _: String = node.ask("CONFIG SET replica-priority 0");
    }
    until("another failover", || async {
        let _ = fleet.sentinels[0].try_ask::<String>(&format!("SENTINEL FAILOVER {MASTER}"));
        fleet.named_by(0) == old
    })
    .await;
    for world in [&one, &other] {
        world.ear.hears("another is master", 2).await;
        until("it is connected", || async { world.larder.sync().await.is_ok() }).await;
    }
    assert!(!back.larders().is_empty());
    for key in &ended {
        assert_eq!(other.has(key).await, "nothing", "{key} was ended");
    }
}

/// One that wakes up takes itself for the master still. Nobody is connected to it any more.
#[tokio::test]
async fn a_master_that_was_stopped_is_never_believed_again() {
    let fleet = Fleet::start().await;
    let (one, other) = (world(&fleet.url()).await, world(&fleet.url()).await);
    for world in [&one, &other] {
        world.source.set("k", "before");
        is_near(world, "k", "before").await;
    }
    let old = fleet.nodes[0].port();
    fleet.nodes[0].pause();
    fleet.named_after(0, old).await;
    for world in [&one, &other] {
        world.source.set("k", "after");
    }
    for world in [&one, &other] {
        ended(world, "k").await;
        until("reads reach it too", || async { world.larder.sync().await.is_ok() }).await;
    }
    fleet.nodes[0].resume();
    for _ in 0..300 {
        for world in [&one, &other] {
            assert_eq!(*world.read("k").await.unwrap(), "after");
        }
        assert!(fleet.nodes[0].larders().is_empty());
    }
    let fresh = world(&fleet.url()).await;
    fresh.source.set("k", "after");
    assert_eq!(*fresh.read("k").await.unwrap(), "after");
    assert!(fleet.nodes[0].larders().is_empty());
}

/// Sentinels name a master by its address; what it is now, only it can tell.
#[tokio::test]
async fn a_master_that_was_made_a_replica_behind_the_sentinels_backs_is_left() {
    let fleet = Fleet::start().await;
    let world = world(&fleet.url()).await;
    let old = &fleet.nodes[0];
    let _: String = old.ask(&format!("REPLICAOF 127.0.0.1 {}", fleet.nodes[1].port()));
    world.ear.hears("it is a replica", 1).await;
    assert!(!world.larder.is_far_up());
    let _: String = old.ask("REPLICAOF NO ONE");
    ended(&world, "k").await;
}

/// Nobody can say who is master: near ends with the bound, far is not believed, ends are not confirmed.
/// The connections stay, and all is as before once a majority answers again.
#[tokio::test]
async fn without_a_majority_nothing_is_believed_and_nothing_is_lost() {
    let fleet = Fleet::start().await;
    // So long that a busy machine does not cost a connection.
    let builder = builder(&fleet.url()).bound(3 * SECOND).require_far();
    let world = World::of(builder, &Source::default()).await;
    world.source.set("k", "v");
    is_near(&world, "k", "v").await;
    // Its own end must not be taken for that of the bound.
    let lasting: Cache<str, String> =
        world.larder.cache("lasting").lifetime(Lifetime::fresh_for(HOUR)).shared().unwrap();
    lasting.get_or_load("k", || async { Ok::<_, Infallible>("v".to_owned()) }).await.unwrap();
    fleet.sentinels[0].pause();
    // Two of three are a majority.
    ended(&world, "k").await;
    is_near(&world, "k", "v").await;
    let connected = fleet.nodes[0].larders().len();
    fleet.sentinels[1].pause();
    until("near ends", || async { lasting.get_near("k").is_none() }).await;
    let loads = world.source.loads();
    assert_eq!(world.read("k").await.unwrap().origin(), Origin::Loaded);
    assert_eq!(world.source.loads(), loads + 1);
    assert!(world.words.get_near("k").is_none(), "what was loaded meanwhile is kept nowhere");
    world.source.set("k", "w");
    let ended = world.words.invalidate("k").await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Unconfirmed, "{ended}");
    assert!(ended.to_string().contains("vouches"), "{ended}");
    assert!(!world.larder.is_far_up(), "it is there, and nothing worth");
    assert_eq!(world.larder.sync().await.unwrap_err().kind(), ErrorKind::Far);
    assert_eq!(fleet.nodes[0].larders().len(), connected, "the connections stay");
    assert_eq!(world.ear.count("Disconnected"), 0);
    fleet.sentinels[1].resume();
    world.ear.hears("Confirmed { waiting: 0 }", 1).await;
    is_near(&world, "k", "w").await;
    assert_eq!(world.ear.count("Disconnected"), 0);
}
