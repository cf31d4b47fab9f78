//! Entries renewed before their time is over: nobody waits, one load of the fleet, and nothing that was ended
//! comes back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder::{
    AfterFailover, Clock, ErrorKind, Freshness, Larder, LarderBuilder, Lifetime, MINUTE, Origin,
    RefreshAhead, SECOND, SharedMemory,
};
use support::process::renewed_ahead;
use support::{Cluster, PATIENT, Process, Server, Source, World, until};

#[test]
fn other_process() {
    support::process::obey();
}

const BACKOFF: Duration = Duration::from_millis(100);

/// Processes on one far side, in time that stands still unless it is told to go on.
struct Fleet {
    memory: SharedMemory,
    source: Source,
}

impl Fleet {
    fn new(seed: u64) -> Fleet {
        let memory = SharedMemory::new(1 << 20, Clock::of_runtime(seed));
        let source = Source::default();
        source.set("k", "old");
        Fleet { memory, source }
    }

    async fn process(&self, when: RefreshAhead) -> World {
        let builder = Larder::builder("test").shared_memory(&self.memory);
        ahead(World::of(builder, &self.source).await, MINUTE, when)
    }
}

/// The same world, its words renewed ahead.
fn ahead(world: World, fresh_for: Duration, when: RefreshAhead) -> World {
    let lifetime = Lifetime::fresh_for(fresh_for).jitter(0.0);
    let words = world.larder.cache("ahead").lifetime(lifetime).refresh_ahead(when);
    let words = words.tagged_by(|_: &str| ["list"]).shared().unwrap();
    World { words, ..world }
}

/// Lets what runs in the background come to where it waits for time or for a gate.
async fn others_run() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

async fn passes(time: Duration) {
    tokio::time::advance(time).await;
    others_run().await;
}

/// A reader every second for half an hour, and a source that takes three: each answer but the first is there at
/// once, and each is fresh.
async fn nobody_waits(seed: u64, when: RefreshAhead) {
    let fleet = Fleet::new(seed);
    let world = fleet.process(when).await;
    fleet.source.takes(3 * SECOND);
    world.read("k").await.unwrap();
    for second in 0..30 * 60 {
        passes(SECOND).await;
        let began = tokio::time::Instant::now();
        let entry = world.read("k").await.unwrap();
        assert_ne!(entry.origin(), Origin::Loaded, "{when:?} of seed {seed}, second {second}");
        assert_eq!(entry.freshness(), Freshness::Fresh);
        assert!(entry.age() < MINUTE);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
    passes(5 * SECOND).await; // the last reader's renewal is counted as well
    let stats = world.words.stats();
    assert_eq!(
        stats.refreshes_ahead as usize,
        fleet.source.loads() - 1,
        "all but the first were ahead"
    );
    let loads = fleet.source.loads();
    assert!((30..90).contains(&loads), "{when:?} of seed {seed}: {loads} loads in thirty minutes");
}

/// With beta 4 and three seconds a load, a read at six seconds before the end renews with six in ten, so that all
/// of a minute's last readers pass it by once in a million years.
#[tokio::test(start_paused = true)]
async fn who_reads_all_the_time_never_waits_when_renewals_are_drawn_early() {
    for seed in 1..4 {
        nobody_waits(seed, RefreshAhead::early(4.0)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_reads_all_the_time_never_waits_when_renewals_begin_at_a_part_of_the_time() {
    for seed in 1..4 {
        nobody_waits(seed, RefreshAhead::at_fraction(0.8)).await;
    }
}

/// The counterpart, without which the two above could not fail.
#[tokio::test(start_paused = true)]
async fn without_it_readers_wait_for_the_source() {
    let fleet = Fleet::new(1);
    let world = fleet.process(RefreshAhead::off()).await;
    world.read("k").await.unwrap();
    passes(MINUTE - SECOND).await;
    assert_eq!(world.read("k").await.unwrap().origin(), Origin::Near);
    passes(SECOND).await;
    assert_eq!(world.read("k").await.unwrap().origin(), Origin::Loaded);
    assert_eq!(world.words.stats().refreshes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_part_of_the_time_goes_by_before_anything_is_asked() {
    let fleet = Fleet::new(1);
    let world = fleet.process(RefreshAhead::at_fraction(0.5)).await;
    world.read("k").await.unwrap();
    fleet.source.set("k", "new");
    passes(29 * SECOND).await;
    assert_eq!(*world.read("k").await.unwrap(), "old");
    others_run().await;
    assert_eq!(fleet.source.loads(), 1);
    passes(5 * SECOND).await; // half the time, and the most that chance adds to it
    assert_eq!(*world.read("k").await.unwrap(), "old", "what is there, at once");
    others_run().await;
    assert_eq!(fleet.source.loads(), 2);
    let entry = world.read("k").await.unwrap();
    assert_eq!(
        (entry.as_str(), entry.origin(), entry.age()),
        ("new", Origin::Near, Duration::ZERO)
    );
}

/// An age at which `-ln(rand)` would have to be above 20: no read of many is drawn. And at the end nearly all are.
#[tokio::test(start_paused = true)]
async fn an_early_draw_is_not_made_long_before_the_end() {
    let fleet = Fleet::new(1);
    let world = fleet.process(RefreshAhead::early(1.0)).await;
    fleet.source.takes(SECOND);
    world.read("k").await.unwrap();
    passes(38 * SECOND).await;
    for _ in 0..10_000 {
        world.read("k").await.unwrap();
    }
    others_run().await;
    assert_eq!(world.words.stats().refreshes_ahead, 0);
    passes(21 * SECOND).await;
    for _ in 0..100 {
        world.read("k").await.unwrap();
    }
    assert_eq!(
        world.words.stats().refreshes_ahead,
        1,
        "drawn by one, and left alone by the others"
    );
}

#[tokio::test(start_paused = true)]
async fn all_processes_read_and_one_of_them_renews() {
    let fleet = Fleet::new(1);
    let worlds = [
        fleet.process(RefreshAhead::at_fraction(0.5)).await,
        fleet.process(RefreshAhead::at_fraction(0.5)).await,
        fleet.process(RefreshAhead::at_fraction(0.5)).await,
    ];
    for world in &worlds {
        world.read("k").await.unwrap();
    }
    assert_eq!(fleet.source.loads(), 1);
    passes(40 * SECOND).await;
    fleet.source.set("k", "new");
    fleet.source.hold();
    for _ in 0..100 {
        for world in &worlds {
            assert_eq!(*world.read("k").await.unwrap(), "old");
        }
        others_run().await;
    }
    fleet.source.held(1).await;
    assert_eq!(fleet.source.loads(), 2);
    fleet.source.let_go();
    others_run().await;
    for world in &worlds {
        assert_eq!(*world.read("k").await.unwrap(), "new");
    }
    assert_eq!(fleet.source.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_renewed_is_served_to_its_end_and_asked_for_again_after_the_back_off() {
    let fleet = Fleet::new(1);
    let world = fleet.process(RefreshAhead::at_fraction(0.5)).await;
    world.read("k").await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let read = || {
        let asked = asked.clone();
        world.words.get_or_load("k", || async move {
            asked.fetch_add(1, Ordering::SeqCst);
            Err::<String, _>(std::io::Error::other("the database is down"))
        })
    };
    passes(40 * SECOND).await;
    for tries in 1..=10 {
        for _ in 0..20 {
            assert_eq!(*read().await.unwrap(), "old");
        }
        others_run().await;
        assert_eq!(asked.load(Ordering::SeqCst), tries);
        passes(2 * BACKOFF).await;
    }
    let stats = world.words.stats();
    assert_eq!((stats.refreshes_ahead, stats.refreshes_failed), (10, 10));
    passes(20 * SECOND).await;
    assert_eq!(
        read().await.unwrap_err().kind(),
        ErrorKind::Source,
        "without a stale time its end is its end"
    );
}

#[tokio::test(start_paused = true)]
async fn who_has_no_loader_is_served_what_is_due_and_renews_nothing() {
    let fleet = Fleet::new(1);
    let world = fleet.process(RefreshAhead::at_fraction(0.5)).await;
    world.read("k").await.unwrap();
    passes(40 * SECOND).await;
    assert_eq!(world.has("k").await, "old near");
    assert_eq!(*world.words.get_near("k").unwrap(), "old");
    assert_eq!(world.words.ttl("k").await.unwrap(), Some(20 * SECOND));
    assert!(world.words.get_many(["k"]).await.unwrap()[0].is_some());
    let cold = fleet.process(RefreshAhead::at_fraction(0.5)).await;
    assert_eq!(cold.has("k").await, "old far");
    others_run().await;
    for world in [&world, &cold] {
        assert_eq!(world.words.stats().refreshes_ahead, 0);
    }
    assert_eq!(fleet.source.loads(), 1);
    assert_eq!(world.words.stats().hits_near, 4);
}

/// A process that has just started finds far what is near its end, alone and among many.
#[tokio::test(start_paused = true)]
async fn what_is_found_far_is_renewed_as_well_and_many_at_once_in_one_load() {
    let fleet = Fleet::new(1);
    let when = RefreshAhead::at_fraction(0.5);
    fleet.source.set("l", "old");
    let first = fleet.process(when).await;
    first.read("k").await.unwrap();
    first.read("l").await.unwrap();
    passes(40 * SECOND).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let many = |world: &World| {
        let (words, calls) = (world.words.clone(), calls.clone());
        async move {
            let load = move |keys: Vec<String>| {
                calls.fetch_add(1, Ordering::SeqCst);
                async move {
                    let each = keys.into_iter().map(|key| (key, "new".to_owned()));
                    Ok::<_, std::io::Error>(each.collect::<Vec<_>>())
                }
            };
            let keys = ["k".to_owned(), "l".to_owned()];
            let found = words.get_or_load_many(keys.iter().map(String::as_str), load).await;
            found.into_iter().map(|entry| entry.unwrap().unwrap().to_string()).collect::<Vec<_>>()
        }
    };
    let second = fleet.process(when).await;
    assert_eq!(many(&second).await, ["old", "old"]);
    others_run().await;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(second.words.stats().refreshes_ahead, 2);
    assert_eq!(many(&second).await, ["new", "new"]);
    let third = fleet.process(when).await;
    passes(40 * SECOND).await;
    fleet.source.set("k", "newest");
    assert_eq!(*third.read("k").await.unwrap(), "new");
    others_run().await;
    assert_eq!(third.has("k").await, "newest near");
}

#[tokio::test(start_paused = true)]
async fn that_there_is_none_is_not_renewed_ahead() {
    let fleet = Fleet::new(1);
    let world = fleet.process(RefreshAhead::at_fraction(0.5)).await;
    let find = || {
        let finding = fleet.source.find("none");
        world.words.find_or_load("none", move || finding)
    };
    assert!(find().await.unwrap().is_none());
    passes(5 * SECOND).await;
    assert!(find().await.unwrap().is_none());
    others_run().await;
    assert_eq!(fleet.source.loads(), 1);
}

/// A renewal that read the source before an invalidation must not bring back what that ended.
#[tokio::test(start_paused = true)]
async fn a_renewal_overtaken_by_an_invalidation_stores_nothing() {
    for by_tag in [false, true] {
        let fleet = Fleet::new(1);
        let when = RefreshAhead::at_fraction(0.5);
        let (world, other) = (fleet.process(when).await, fleet.process(when).await);
        world.read("k").await.unwrap();
        passes(40 * SECOND).await;
        fleet.source.hold();
        world.read("k").await.unwrap();
        fleet.source.held(1).await; // it has read what is old
        fleet.source.set("k", "new");
        match by_tag {
            true => other.larder.invalidate([larder::Tag::new("list")]).await.unwrap(),
            false => other.words.invalidate("k").await.unwrap(),
        }
        fleet.source.let_go();
        others_run().await;
        for world in [&world, &other] {
            assert_eq!(*world.read("k").await.unwrap(), "new", "by tag: {by_tag}");
        }
    }
}

/// Two openings of one name must agree, and nonsense is refused.
#[tokio::test]
async fn it_is_a_setting_like_any_other() {
    let larder = Larder::builder("test").open().await.unwrap();
    let open =
        |when: RefreshAhead| larder.cache::<str, String>("words").refresh_ahead(when).shared();
    let _words = open(RefreshAhead::early(1.0)).unwrap();
    assert!(open(RefreshAhead::early(1.0)).is_ok());
    let error = open(RefreshAhead::at_fraction(0.8)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("refresh_ahead"), "{error}");
    let error =
        larder.cache::<str, String>("odd").refresh_ahead(RefreshAhead::early(-1.0)).shared();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("beta") && error.contains("-1.0"), "{error}");
}

/// A process whose words are renewed by about every twentieth read: see `renewed_ahead`.
async fn process(builder: LarderBuilder, source: &Source) -> World {
    let world = World::of(builder.far_deadline(PATIENT), source).await;
    World { words: renewed_ahead(&world), ..world }
}

fn on(url: &str) -> LarderBuilder {
    Larder::builder("test").redis(url)
}

/// Two processes on one far side, in which all have `old` near; the source has `new`, and is held.
async fn read_by_two(builder: impl Fn() -> LarderBuilder) -> (World, World, Source) {
    let source = Source::default();
    source.set("k", "old");
    let (one, other) = (process(builder(), &source).await, process(builder(), &source).await);
    source.takes(SECOND);
    one.read("k").await.unwrap();
    assert_eq!(*other.read("k").await.unwrap(), "old");
    source.set("k", "new");
    source.hold();
    (one, other, source)
}

/// Reads until a renewal has begun; all that is read is what was there.
async fn one_is_drawn(worlds: &[&World], source: &Source) {
    until("one is drawn", || async {
        for world in worlds {
            assert_eq!(*world.read("k").await.unwrap(), "old");
        }
        source.waiting() > 0
    })
    .await;
}

async fn all_become_new(worlds: &[&World]) {
    for world in worlds {
        until("it is new", || async { *world.read("k").await.unwrap() == "new" }).await;
    }
}

/// Two processes read as fast as they can; a renewal is begun by whoever is drawn first, and it is one load for
/// both.
async fn one_process_renews(url: &str) {
    let (one, other, source) = read_by_two(|| on(url)).await;
    one_is_drawn(&[&one, &other], &source).await;
    for _ in 0..2_000 {
        for world in [&one, &other] {
            assert_eq!(*world.read("k").await.unwrap(), "old");
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(source.loads(), 2, "the first load, and one renewal");
    source.let_go();
    all_become_new(&[&one, &other]).await;
}

#[tokio::test]
async fn over_redis_one_process_renews_and_the_other_is_told() {
    let server = Server::start();
    one_process_renews(&server.url()).await;
}

#[tokio::test]
async fn in_a_cluster_one_process_renews_and_the_other_is_told() {
    let cluster = Cluster::of_masters();
    one_process_renews(&cluster.url()).await;
}

/// `kill -9` in the middle of a renewal: the others are served what is there, and one of them renews it once the
/// lease has run out.
#[tokio::test]
async fn when_the_process_that_renews_is_killed_another_does() {
    let server = Server::start();
    let (one, other, source) = read_by_two(|| on(&server.url())).await;
    let mut killed = Process::start(&server.url());
    assert_eq!(killed.ask("renew k"), "old");
    for _ in 0..500 {
        for world in [&one, &other] {
            assert_eq!(*world.read("k").await.unwrap(), "old");
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(source.loads(), 1, "its lease holds");
    killed.kill();
    one_is_drawn(&[&one, &other], &source).await;
    source.let_go();
    all_become_new(&[&one, &other]).await;
    assert_eq!(source.loads(), 2);
}

/// Evicted, or lost with a restart, in the middle of a renewal: what is lost is loaded, and nobody fails.
#[tokio::test]
async fn what_redis_loses_during_a_renewal_is_loaded() {
    let mut server = Server::start();
    let (one, other, source) = read_by_two(|| on(&server.url())).await;
    one_is_drawn(&[&one, &other], &source).await;
    let value = server.keys().into_iter().find(|key| key.contains(":v:")).unwrap();
    let removed: u64 = server.ask(&format!("DEL {value}"));
    assert_eq!(removed, 1);
    source.let_go();
    all_become_new(&[&one, &other]).await;
    source.set("k", "newer");
    server.kill();
    server.start_again();
    for world in [&one, &other] {
        until("it is newer", || async { *world.read("k").await.unwrap() == "newer" }).await;
    }
}

/// The slot of an entry is on its way to another node: no lease is granted, what is there is served, and it is renewed
/// when the slot has arrived.
#[tokio::test]
async fn what_is_on_its_way_to_another_node_is_renewed_when_it_has_arrived() {
    let cluster = Cluster::of_masters();
    let believing = || on(&cluster.url()).after_failover(AfterFailover::Accept);
    let (one, other, source) = read_by_two(believing).await;
    let keys: Vec<String> = cluster.nodes.iter().flat_map(|node| node.keys()).collect();
    let value = keys.into_iter().find(|key| key.contains(":v:")).unwrap();
    let slot = cluster.slot(value.as_bytes());
    let from = cluster.master_of(slot);
    let to = (from + 1) % 3;
    cluster.begin_to_move(slot, from, to);
    for _ in 0..1_000 {
        for world in [&one, &other] {
            assert_eq!(*world.read("k").await.unwrap(), "old");
        }
        tokio::task::yield_now().await;
    }
    let drawn = one.words.stats().refreshes_ahead + other.words.stats().refreshes_ahead;
    assert!(drawn > 0, "they were drawn, and got no lease");
    assert_eq!(source.loads(), 1);
    cluster.move_keys(slot, from, to, 10);
    cluster.end_move(slot, from, to);
    source.let_go();
    all_become_new(&[&one, &other]).await;
}
