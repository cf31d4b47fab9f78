//! A cluster that is disturbed under traffic: slots moved, masters killed, stopped and replaced.
//!
//! What is checked of every answer stands in `support/traffic.rs`: nothing that was ended, by the one that ended it
//! or read from far, and nothing anywhere that was ended longer ago than the bound. How long a recovery takes is
//! told, and not held against a clock.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a scene that cannot be set has failed; how long a recovery takes is told"
)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::{AfterFailover, Larder, LarderBuilder, Origin, SECOND};
use support::{Cluster, NEVER, PATIENT, Rider, Rows, Traffic, until};

/// Below the nodes' time-out, as it should be.
const BOUND: Duration = SECOND;
/// As many as there are in the traffic.
const ROWS: usize = 6;

fn builder(cluster: &Cluster) -> LarderBuilder {
    let builder = Larder::builder("test").redis(cluster.url()).require_far();
    builder.far_deadline(PATIENT).invalidate_deadline(2 * SECOND)
}

/// Two processes that read and write, and one that reads far alone.
async fn riders(cluster: &Cluster) -> (Vec<Rider>, Vec<Rider>) {
    riders_of(|| builder(cluster)).await
}

async fn riders_of(builder: impl Fn() -> LarderBuilder) -> (Vec<Rider>, Vec<Rider>) {
    let mut riders = Vec::new();
    for number in 0..3 {
        riders.push(Rider::open(number, builder(), BOUND, number < 2).await);
    }
    let alone = riders.split_off(2);
    (riders, alone)
}

/// The slots of a row's value and of its tag, in this order.
async fn slots_of(cluster: &Cluster, rider: &Rider, rows: &Arc<Rows>, row: usize) -> [u16; 2] {
    let keys = || cluster.nodes.iter().flat_map(|node| node.keys()).collect::<Vec<_>>();
    for node in &cluster.nodes[..3] {
        let _: String = node.ask("FLUSHALL");
    }
    // What was near has gone when it comes back.
    until("all masters", || async { rider.larder.sync().await.is_ok() }).await;
    rider.read(rows, row, false).await;
    let keys = keys();
    ["test:rows:1:v:", "test:t:"].map(|kind| {
        let name = keys.iter().find(|key| key.starts_with(kind));
        cluster.slot(name.unwrap_or_else(|| panic!("no {kind} among {keys:?}")).as_bytes())
    })
}

/// Waits until this many more answers came from far.
async fn far_again(traffic: &Traffic) {
    let before = traffic.counts.of(&traffic.counts.far);
    until("answers from far", || async { traffic.counts.of(&traffic.counts.far) > before + 100 })
        .await;
}

/// Waits until a row is found far by one who has nothing near.
async fn is_found(rider: &Rider, rows: &Arc<Rows>, row: usize) {
    until("the row is far", || async { rider.read(rows, row, true).await == Origin::Far }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_moved_under_traffic_and_nothing_is_stale_nor_unconfirmed() {
    slots_are_moved(AfterFailover::Distrust).await;
}

/// What has moved is believed: so it rests on what is ended on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_for_those_who_believe_what_has_moved() {
    slots_are_moved(AfterFailover::Accept).await;
}

/// First the slot of a row's value, then that of its tag, moves from one master to another and back.
async fn slots_are_moved(believed: AfterFailover) {
    let cluster = Cluster::of_masters();
    let rows = Arc::new(Rows::default());
    let (riders, alone) = riders_of(|| builder(&cluster).after_failover(believed)).await;
    let slots = slots_of(&cluster, &riders[0], &rows, 0).await;
    let traffic = Traffic::begin(&rows, &riders, &alone);
    far_again(&traffic).await;
    for slot in slots.into_iter().chain(slots) {
        let from = cluster.master_of(slot);
        let to = (from + 1) % 3;
        is_found(&alone[0], &rows, 0).await;
        cluster.begin_to_move(slot, from, to);
        for round in 0..30 {
            // Some of it is here and some there, and what is written meanwhile is ended in both.
            if round % 3 == 2 {
                cluster.move_keys(slot, from, to, 1);
            }
            for rider in &riders {
                assert!(rider.write(&rows, 0).await, "an end while slot {slot} is on its way");
                rider.read(&rows, 0, false).await;
            }
        }
        while cluster.move_keys(slot, from, to, 100) > 0 {}
        cluster.end_move(slot, from, to);
        far_again(&traffic).await;
    }
    let counts = traffic.end().await;
    is_found(&alone[0], &rows, 0).await;
    println!("moved four times ({believed:?}): {counts}");
    assert_eq!(counts.of(&counts.unconfirmed), 0);
    for node in &cluster.nodes {
        let errors: String = node.ask("INFO errorstats");
        assert!(!errors.contains("CROSSSLOT"), "{errors}");
    }
}

/// Where value and lease can be in two places nobody gets a lease: what is not there is loaded and kept nowhere.
#[tokio::test]
async fn what_is_missing_in_a_slot_on_its_way_is_loaded_and_kept_when_it_has_arrived() {
    let cluster = Cluster::of_masters();
    let rows = Arc::new(Rows::default());
    let rider = Rider::open(0, builder(&cluster), BOUND, true).await;
    let [slot, _] = slots_of(&cluster, &rider, &rows, 0).await;
    let (from, to) = (cluster.master_of(slot), (cluster.master_of(slot) + 1) % 3);
    cluster.begin_to_move(slot, from, to);
    assert!(rider.write(&rows, 0).await);
    for _ in 0..3 {
        assert_eq!(rider.read(&rows, 0, true).await, Origin::Loaded, "and kept nowhere");
    }
    let keys: Vec<String> = cluster.nodes.iter().flat_map(|node| node.keys()).collect();
    assert!(!keys.iter().any(|key| key.contains(":v:") || key.contains(":l:")), "{keys:?}");
    while cluster.move_keys(slot, from, to, 100) > 0 {}
    cluster.end_move(slot, from, to);
    until("it is kept", || async { rider.read(&rows, 0, true).await == Origin::Near }).await;
}

/// Rows by the master that has both their value and their tag; those of two masters belong to none.
async fn rows_by_master(cluster: &Cluster, rider: &Rider, rows: &Arc<Rows>) -> Vec<[usize; 2]> {
    let mut all = Vec::new();
    for row in 0..ROWS {
        all.push(slots_of(cluster, rider, rows, row).await.map(|slot| cluster.master_of(slot)));
    }
    all
}

/// What is done to the master of a row.
struct Fall<'a> {
    what: &'a str,
    /// Whether shards go on whose masters stand, while one has none.
    settings: &'a [&'a str],
    falls: &'a dyn Fn(&mut Cluster, usize),
    /// Once another has taken its place.
    rises: &'a dyn Fn(&mut Cluster, usize),
}

const EACH_FOR_ITSELF: [&str; 2] = ["--cluster-require-full-coverage", "no"];

/// The shard of one row goes to its replica; the others must not notice.
async fn through(fall: Fall<'_>) {
    let mut cluster = Cluster::with(3, fall.settings);
    let (rows, (riders, alone)) = (Arc::new(Rows::default()), riders(&cluster).await);
    let [slot, _] = slots_of(&cluster, &riders[0], &rows, 0).await;
    let masters = rows_by_master(&cluster, &riders[0], &rows).await;
    let old = cluster.master_of(slot);
    let elsewhere: Vec<usize> = (0..ROWS).filter(|row| !masters[*row].contains(&old)).collect();
    assert!(!elsewhere.is_empty(), "no row is wholly elsewhere: {masters:?}");
    let traffic = Traffic::begin(&rows, &riders, &alone);
    far_again(&traffic).await;
    let loaded = traffic.counts.of(&traffic.counts.loaded);
    (fall.falls)(&mut cluster, old);
    let fallen = Instant::now();
    let (mut again, mut in_a_row) = (None, 0);
    while again.is_none() || cluster.master_of(slot) == old {
        let all = fallen.elapsed() < NEVER;
        let now = cluster.master_of(slot);
        assert!(all, "slot {slot} was {old}'s and is {now}'s; ends were confirmed after {again:?}");
        if !fall.settings.is_empty() {
            for row in &elsewhere {
                assert!(riders[0].write(&rows, *row).await, "an end on another shard");
            }
        }
        // Some are of the row's tag, which lies elsewhere.
        in_a_row = if riders[1].write(&rows, 0).await { in_a_row + 1 } else { 0 };
        if in_a_row == 3 {
            again.get_or_insert(fallen.elapsed());
        }
    }
    is_found(&alone[0], &rows, 0).await;
    let found = fallen.elapsed();
    assert_ne!(cluster.master_of(slot), old);
    (fall.rises)(&mut cluster, old);
    far_again(&traffic).await;
    cluster.is_settled();
    far_again(&traffic).await;
    let counts = traffic.end().await;
    assert!(counts.of(&counts.loaded) > loaded, "the loader answered meanwhile");
    println!(
        "{}: ends are confirmed after {:?}, the row is found far after {found:?}; {counts}",
        fall.what,
        again.unwrap_or_default(),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_killed_is_followed_by_its_replica_and_other_shards_are_unharmed() {
    let fall = Fall {
        what: "killed",
        settings: &EACH_FOR_ITSELF,
        falls: &|cluster, master| cluster.nodes[master].kill(),
        rises: &|cluster, master| cluster.nodes[master].start_again(),
    };
    through(fall).await;
}

/// As a cluster is unless told otherwise: while one shard has no master all are down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_down_while_one_shard_is_comes_back_as_a_whole() {
    let fall = Fall {
        what: "killed, and all down with it",
        settings: &[],
        falls: &|cluster, master| cluster.nodes[master].kill(),
        rises: &|_, _| {},
    };
    through(fall).await;
}

/// It goes on where it stopped, and believes that it is master.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_stopped_and_wakes_after_another_took_over_is_not_believed() {
    let fall = Fall {
        what: "stopped",
        settings: &EACH_FOR_ITSELF,
        falls: &|cluster, master| cluster.nodes[master].pause(),
        rises: &|cluster, master| cluster.nodes[master].resume(),
    };
    through(fall).await;
}

/// The old master keeps its connections and goes on answering; then it is what it was, with what the other had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_is_followed_there_and_back() {
    let fall = Fall {
        what: "planned, from when the other is master",
        settings: &EACH_FOR_ITSELF,
        falls: &|cluster, master| cluster.fail_over_to(master + 3),
        rises: &|cluster, master| {
            cluster.is_settled();
            cluster.fail_over_to(master);
        },
    };
    through(fall).await;
}
