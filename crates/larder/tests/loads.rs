//! A source that is slow, or asked for more than it stands: nobody waits longer than was said, no more loads run than
//! may, and what is stale stands in, never what was ended.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::time::Duration;

use larder::{
    Cache, CacheBuilder, Clock, Entry, Error, ErrorKind, HOUR, Larder, Lifetime, MINUTE, Origin,
    SECOND, SharedMemory, Stale,
};
use support::{Server, Source, World, reading_of, soon, stepped, until};
use tokio::task::JoinHandle;

type Texts = Cache<str, String>;

const LIFETIME: Lifetime = Lifetime::fresh_for(MINUTE).stale_for(HOUR).jitter(0.0);

/// As many processes as are wanted on one far side, in time that stands still while something is to be done.
struct Fleet {
    memory: SharedMemory,
    source: Source,
}

impl Fleet {
    fn new() -> Fleet {
        let memory = SharedMemory::new(1 << 20, Clock::of_runtime(7));
        Fleet { memory, source: Source::default() }
    }

    async fn process(&self) -> World {
        World::of(Larder::builder("test").shared_memory(&self.memory), &self.source).await
    }

    /// A process that has an entry `k` which is stale by now: a caller waits for the source, if it may.
    async fn gone_stale(
        &self,
        settings: impl FnOnce(CacheBuilder<str, String>) -> CacheBuilder<str, String>,
    ) -> (World, Texts) {
        let world = self.process().await;
        let texts = texts(&world, settings);
        self.source.set("k", "old");
        read(&texts, &self.source, "k").await.unwrap();
        tokio::time::advance(MINUTE + SECOND).await;
        self.source.set("k", "new");
        (world, texts)
    }
}

fn texts(
    world: &World,
    settings: impl FnOnce(CacheBuilder<str, String>) -> CacheBuilder<str, String>,
) -> Texts {
    let cache = world.larder.cache("texts").lifetime(LIFETIME).stale(Stale::InNeed);
    settings(cache.tagged_by(|_: &str| ["list"])).shared().unwrap()
}

async fn read(texts: &Texts, source: &Source, key: &str) -> Result<Entry<String>, Error> {
    let loading = source.load(key);
    texts.get_or_load(key, move || loading).await
}

/// Reads in a task of its own.
fn reading(texts: &Texts, source: &Source, key: &str) -> JoinHandle<Result<Entry<String>, Error>> {
    let (texts, source, key) = (texts.clone(), source.clone(), key.to_owned());
    tokio::spawn(async move { read(&texts, &source, &key).await })
}

fn is(entry: &Entry<String>, value: &str, stale: bool) -> bool {
    (entry.as_str(), entry.is_stale()) == (value, stale)
}

/// All that can be done without time going on is done.
async fn idle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_soft_deadline_what_is_stale_is_served_and_the_load_goes_on() {
    let fleet = Fleet::new();
    let (_world, texts) = fleet.gone_stale(|cache| cache.soft_deadline(SECOND)).await;
    fleet.source.takes(10 * SECOND);
    let began = tokio::time::Instant::now();
    let reads: Vec<_> = (0..100).map(|_| reading(&texts, &fleet.source, "k")).collect();
    for read in reads {
        assert!(is(&read.await.unwrap().unwrap(), "old", true));
    }
    assert_eq!(began.elapsed().as_secs(), 1);
    // A later caller waits for the same load, and no longer than for its own soft deadline.
    assert!(is(&read(&texts, &fleet.source, "k").await.unwrap(), "old", true));
    assert_eq!((texts.stats().stood_in, texts.stats().stood_in_slow), (101, 101));
    tokio::time::sleep(9 * SECOND).await;
    let entry = texts.get("k").await.unwrap().unwrap();
    assert!(is(&entry, "new", false), "stored, though nobody waited for it");
    assert_eq!(fleet.source.loads(), 2);
}

/// By one call alone; and where there is nothing stale, or the source is quick, it changes nothing.
#[tokio::test(start_paused = true)]
async fn a_soft_deadline_may_be_one_calls_own() {
    let fleet = Fleet::new();
    let (_world, patient) = fleet.gone_stale(|cache| cache).await;
    let hasty = patient.soft_deadline(SECOND);
    fleet.source.takes(10 * SECOND);
    let waiting = reading(&patient, &fleet.source, "k");
    idle().await;
    assert!(is(&read(&hasty, &fleet.source, "k").await.unwrap(), "old", true));
    assert!(is(&waiting.await.unwrap().unwrap(), "new", false));
    fleet.source.set("other", "v");
    assert!(is(&read(&hasty, &fleet.source, "other").await.unwrap(), "v", false));
    tokio::time::advance(2 * MINUTE).await;
    fleet.source.takes(SECOND / 2);
    fleet.source.set("k", "newer");
    assert!(is(&read(&hasty, &fleet.source, "k").await.unwrap(), "newer", false));
    assert_eq!(patient.stats().stood_in, 1);
}

/// By key and by tag, here and elsewhere, before the load and while it runs.
#[tokio::test(start_paused = true)]
async fn what_was_ended_does_not_stand_in_at_the_soft_deadline() {
    for by_tag in [false, true] {
        for here in [false, true] {
            for before in [false, true] {
                let fleet = Fleet::new();
                let (world, ours) = fleet.gone_stale(|cache| cache.soft_deadline(SECOND)).await;
                let other = fleet.process().await;
                let theirs = texts(&other, |cache| cache.soft_deadline(SECOND));
                fleet.source.takes(10 * SECOND);
                let end = async || match (by_tag, here) {
                    (false, true) => ours.invalidate("k").await.unwrap(),
                    (false, false) => theirs.invalidate("k").await.unwrap(),
                    (true, true) => world.larder.invalidate_tag("list").await.unwrap(),
                    (true, false) => other.larder.invalidate_tag("list").await.unwrap(),
                };
                if before {
                    end().await;
                }
                let waiting = reading(&ours, &fleet.source, "k");
                idle().await;
                if !before {
                    end().await;
                }
                let entry = waiting.await.unwrap().unwrap();
                assert!(is(&entry, "new", false), "tag {by_tag}, here {here}, before {before}");
                assert_eq!(ours.stats().stood_in, 0);
            }
        }
    }
}

/// Another process loads, and is slow; this one has nothing near and reads what is stale from far.
#[tokio::test(start_paused = true)]
async fn who_waits_for_another_process_has_a_soft_deadline_too() {
    let fleet = Fleet::new();
    let (_world, ours) = fleet.gone_stale(|cache| cache.soft_deadline(SECOND)).await;
    let other = fleet.process().await;
    let theirs = texts(&other, |cache| cache.soft_deadline(SECOND));
    fleet.source.takes(10 * SECOND);
    let loading = reading(&ours, &fleet.source, "k");
    idle().await;
    let waiting = reading(&theirs, &fleet.source, "k");
    other.ear.hears("Wait", 1).await;
    assert!(is(&waiting.await.unwrap().unwrap(), "old", true));
    loading.await.unwrap().unwrap();
    until("it is told of the load", || async {
        theirs.get("k").await.unwrap().is_some_and(|entry| is(&entry, "new", false))
    })
    .await;
    assert_eq!(fleet.source.loads(), 2);
}

/// The same over Redis, where nothing is near: it is read anew.
#[tokio::test]
async fn over_redis_what_is_stale_is_read_at_the_soft_deadline() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let brief = Lifetime::fresh_for(Duration::from_millis(1)).stale_for(HOUR);
    let soft = Duration::from_millis(20);
    let cache = |world: &World| texts(world, |cache| cache.lifetime(brief).soft_deadline(soft));
    let ours = cache(&world);
    world.source.set("k", "old");
    read(&ours, &world.source, "k").await.unwrap();
    let other = World::beside(&server.url(), &world.source).await;
    let theirs = cache(&other);
    until("it is stale", || async { theirs.get("k").await.unwrap().is_none() }).await;
    world.source.set("k", "new");
    world.source.hold();
    let entry = soon("an answer", read(&theirs, &world.source, "k")).await.unwrap();
    assert!(is(&entry, "old", true));
    world.source.held(1).await;
    let entry = soon("an answer", read(&ours, &world.source, "k")).await.unwrap();
    assert!(is(&entry, "old", true), "who waits for the other process");
    world.source.let_go();
    until("it is stored", || async {
        let bytes: Vec<u8> = server.ask("GET test:texts:1:v:{.1.k}");
        bytes.windows(3).any(|three| three == b"new")
    })
    .await;
}

/// Where nobody tells of changes a near copy ends with the bound: at a later soft deadline it is read anew.
#[tokio::test]
async fn where_nobody_tells_of_changes_what_is_stale_is_read_anew() {
    let server = Server::start();
    let _: String = server.ask("ACL SETUSER app on >s3cret ~* &* +@all -client|tracking");
    let url = format!("redis://app:s3cret@127.0.0.1:{}/0", server.port());
    let bound = Duration::from_millis(100);
    let builder = Larder::builder("test").redis(url).far_deadline(support::PATIENT).bound(bound);
    let world = World::of(builder, &Source::default()).await;
    let brief = Lifetime::fresh_for(Duration::from_millis(1)).stale_for(HOUR);
    let texts = texts(&world, |cache| cache.lifetime(brief).soft_deadline(3 * bound));
    world.source.set("k", "old");
    read(&texts, &world.source, "k").await.unwrap();
    until("it is stale", || async { texts.get("k").await.unwrap().is_none() }).await;
    world.source.hold();
    let entry = soon("an answer", read(&texts, &world.source, "k")).await.unwrap();
    assert!(is(&entry, "old", true) && entry.origin() == Origin::Far);
    world.source.let_go();
}

/// What goes on for nobody ends with the handle.
#[tokio::test(start_paused = true)]
async fn close_stops_what_went_on_past_the_soft_deadline() {
    let fleet = Fleet::new();
    let (world, texts) = fleet.gone_stale(|cache| cache.soft_deadline(SECOND).max_load(HOUR)).await;
    fleet.source.hold();
    assert!(is(&read(&texts, &fleet.source, "k").await.unwrap(), "old", true));
    assert_eq!(fleet.source.waiting(), 1);
    assert_eq!(world.larder.close(SECOND).await, 0);
    until("the load has ended", || async { fleet.source.waiting() == 0 }).await;
}

/// At the hard deadline the load is stopped: its waiters are told, here and elsewhere, and the next load is made at
/// once where no back-off is wanted.
#[tokio::test(start_paused = true)]
async fn at_the_hard_deadline_a_load_is_given_up() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let hasty = |cache: CacheBuilder<str, String>| cache.max_load(5 * SECOND);
    let (ours, theirs) = (texts(&here, hasty), texts(&there, hasty));
    fleet.source.set("k", "v");
    fleet.source.hold();
    let waiting: Vec<_> =
        [&ours, &ours, &theirs].iter().map(|texts| reading(texts, &fleet.source, "k")).collect();
    for read in waiting {
        let error = read.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline, "{error}");
    }
    assert_eq!((fleet.source.loads(), fleet.source.waiting()), (1, 0), "it is stopped");
    let counted = |stats: larder::Stats| (stats.loads_failed, stats.loads_given_up);
    let (ours_counted, theirs_counted) = (counted(ours.stats()), counted(theirs.stats()));
    assert_eq!((ours_counted.0 + theirs_counted.0, ours_counted.1 + theirs_counted.1), (1, 1));
    fleet.source.let_go();
    tokio::time::advance(SECOND).await; // the back-off
    assert!(is(&read(&theirs, &fleet.source, "k").await.unwrap(), "v", false));
    // One that is stale stands in, also for those who would wait.
    tokio::time::advance(2 * MINUTE).await;
    fleet.source.hold();
    assert!(is(&read(&theirs, &fleet.source, "k").await.unwrap(), "v", true));
    assert_eq!(theirs.stats().stood_in, 1);
}

#[tokio::test(start_paused = true)]
async fn past_the_cap_loads_wait_for_their_turn() {
    let fleet = Fleet::new();
    let world = fleet.process().await;
    let texts = texts(&world, |cache| cache.loads_max(2));
    fleet.source.hold();
    let reads: Vec<_> = (0..10)
        .map(|n| {
            fleet.source.set(&n.to_string(), "v");
            reading(&texts, &fleet.source, &n.to_string())
        })
        .collect();
    world.ear.hears("LoadQueued", 8).await;
    idle().await;
    assert_eq!((fleet.source.loads(), fleet.source.waiting()), (2, 2));
    // Callers of a key that waits already wait with it.
    let same = reading(&texts, &fleet.source, "9");
    idle().await;
    assert_eq!(world.ear.count("LoadQueued"), 8);
    fleet.source.let_go();
    for read in reads.into_iter().chain([same]) {
        assert!(is(&read.await.unwrap().unwrap(), "v", false));
    }
    assert_eq!((fleet.source.loads(), texts.stats().loads_queued), (10, 8));
}

#[tokio::test(start_paused = true)]
async fn past_the_queue_a_call_fails_at_once() {
    let fleet = Fleet::new();
    let world = fleet.process().await;
    let texts = texts(&world, |cache| cache.loads_max(2).loads_waiting_max(1));
    fleet.source.hold();
    let _busy = ["a", "b"].map(|key| reading(&texts, &fleet.source, key));
    fleet.source.held(2).await;
    let queued = reading(&texts, &fleet.source, "c");
    world.ear.hears("LoadQueued { cache: \"texts\", waiting: 1 }", 1).await;
    let error = read(&texts, &fleet.source, "d").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert!(error.to_string().contains("2 loads of this cache run, and 1 wait already"), "{error}");
    assert_eq!(texts.stats().loads_turned_away, 1);
    // One whose caller has hung up does not wait any more.
    queued.abort();
    assert!(queued.await.unwrap_err().is_cancelled());
    idle().await;
    let queued = reading(&texts, &fleet.source, "e");
    world.ear.hears("LoadQueued { cache: \"texts\", waiting: 1 }", 2).await;
    fleet.source.set("e", "v");
    fleet.source.let_go();
    assert!(is(&queued.await.unwrap().unwrap(), "v", false));
}

/// A source that hangs: those whose turn comes are given up in their time, and who has waited as long as a load may
/// take without its turn coming is told why.
#[tokio::test(start_paused = true)]
async fn in_the_queue_patience_ends() {
    let fleet = Fleet::new();
    let world = fleet.process().await;
    let texts = texts(&world, |cache| cache.loads_max(2).max_load(10 * SECOND));
    fleet.source.hold();
    let busy = ["a", "b"].map(|key| reading(&texts, &fleet.source, key));
    fleet.source.held(2).await;
    tokio::time::advance(SECOND).await;
    let queued = ["c", "d", "e"].map(|key| reading(&texts, &fleet.source, key));
    let mut kinds = Vec::new();
    for read in busy.into_iter().chain(queued) {
        let error = read.await.unwrap().unwrap_err();
        kinds.push(error.kind());
        assert_eq!(
            error.to_string().contains("none ended within 10s"),
            error.kind() == ErrorKind::Overloaded,
            "{error}"
        );
    }
    let given_up = kinds.iter().filter(|kind| **kind == ErrorKind::Deadline).count();
    assert_eq!((given_up, kinds.len(), kinds[4]), (4, 5, ErrorKind::Overloaded));
    assert_eq!(texts.stats().loads_turned_away, 1);
}

#[tokio::test(start_paused = true)]
async fn past_the_cap_what_is_stale_is_served() {
    let fleet = Fleet::new();
    let (world, texts) = fleet.gone_stale(|cache| cache.loads_max(2)).await;
    fleet.source.hold();
    let busy = ["a", "b"].map(|key| reading(&texts, &fleet.source, key));
    fleet.source.held(2).await;
    for _ in 0..3 {
        assert!(is(&read(&texts, &fleet.source, "k").await.unwrap(), "old", true));
    }
    assert_eq!((texts.stats().stood_in, texts.stats().stood_in_crowded), (3, 3));
    assert_eq!(world.ear.count("LoadQueued"), 0);
    texts.invalidate("k").await.unwrap();
    let waiting = reading(&texts, &fleet.source, "k");
    world.ear.hears("LoadQueued", 1).await;
    fleet.source.let_go();
    assert!(is(&waiting.await.unwrap().unwrap(), "new", false), "what was ended is gone");
    for read in busy {
        assert_eq!(read.await.unwrap().unwrap_err().kind(), ErrorKind::Source);
    }
}

/// What waits for its turn holds no lease: another process loads meanwhile, and its answer is taken.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_turn_keeps_nobody_waiting() {
    let fleet = Fleet::new();
    let (here, there) = (fleet.process().await, fleet.process().await);
    let capped = |cache: CacheBuilder<str, String>| cache.loads_max(2);
    let (ours, theirs) = (texts(&here, capped), texts(&there, capped));
    fleet.source.hold();
    let busy = ["a", "b"].map(|key| reading(&ours, &fleet.source, key));
    fleet.source.held(2).await;
    let waiting = reading(&ours, &fleet.source, "k");
    here.ear.hears("LoadQueued", 1).await;
    let load = || async { Ok::<_, std::io::Error>("theirs".to_owned()) };
    let entry = soon("the other's load", theirs.get_or_load("k", load)).await.unwrap();
    assert!(is(&entry, "theirs", false));
    fleet.source.let_go();
    let entry = waiting.await.unwrap().unwrap();
    assert!(is(&entry, "theirs", false) && entry.origin() == Origin::Far);
    for read in busy {
        read.await.unwrap().unwrap_err();
    }
    assert_eq!(fleet.source.loads(), 2);
}

/// A hundred keys that are loaded by one call take one place; and wait for one.
#[tokio::test(start_paused = true)]
async fn keys_that_are_loaded_together_take_one_place() {
    let fleet = Fleet::new();
    let world = fleet.process().await;
    let rows: Cache<u32, String> = world.larder.cache("rows").loads_max(2).shared().unwrap();
    let read_many = |from: u32, load: &'static str| {
        let rows = rows.clone();
        tokio::spawn(async move {
            let keys: Vec<u32> = (from..from + 100).collect();
            let load = move |keys: Vec<u32>| async move {
                tokio::time::sleep(10 * SECOND).await;
                let rows: Vec<_> = keys.into_iter().map(|key| (key, load.to_owned())).collect();
                Ok::<_, std::io::Error>(rows)
            };
            rows.get_or_load_many(&keys, load).await
        })
    };
    let began = tokio::time::Instant::now();
    let first = read_many(0, "first");
    let second = read_many(100, "second");
    idle().await;
    assert_eq!(world.ear.count("LoadQueued"), 0, "two places for two");
    let third = read_many(200, "third");
    world.ear.hears("LoadQueued", 1).await;
    for (read, value) in [(first, "first"), (second, "second"), (third, "third")] {
        let found = read.await.unwrap();
        assert_eq!(found.len(), 100);
        assert!(found.iter().all(|one| one.as_ref().unwrap().as_ref().unwrap().as_str() == value));
    }
    assert_eq!(began.elapsed().as_secs(), 20);
    assert_eq!(world.ear.count("LoadQueued"), 1);
}

/// Ten entries are stale and the source hangs: refreshes leave a place to a caller that has nothing.
#[tokio::test(start_paused = true)]
async fn refreshes_leave_places_to_callers() {
    let fleet = Fleet::new();
    let world = fleet.process().await;
    let texts = texts(&world, |cache| cache.loads_max(4).stale(Stale::AtOnce));
    let keys: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    for key in &keys {
        fleet.source.set(key, "old");
        read(&texts, &fleet.source, key).await.unwrap();
    }
    tokio::time::advance(MINUTE + SECOND).await;
    fleet.source.hold();
    for key in &keys {
        assert!(is(&read(&texts, &fleet.source, key).await.unwrap(), "old", true));
    }
    fleet.source.held(3).await;
    idle().await;
    assert_eq!((fleet.source.waiting(), texts.stats().refreshes_left), (3, 7));
    fleet.source.set("new", "v");
    let caller = reading(&texts, &fleet.source, "new");
    fleet.source.held(4).await;
    assert_eq!(texts.stats().loads_queued, 0);
    fleet.source.let_go();
    caller.await.unwrap().unwrap();
    // What was left is made by a later caller.
    until("all are fresh", || async {
        let mut fresh = 0;
        for key in &keys {
            fresh += usize::from(!read(&texts, &fleet.source, key).await.unwrap().is_stale());
        }
        fresh == keys.len()
    })
    .await;
}

/// Far is away: the cap holds as well, and what near still has may stand in.
#[tokio::test]
async fn without_far_no_more_loads_run_than_may() {
    let url = format!("redis://127.0.0.1:{}", support::server::free_port());
    let world = World::on(&url).await;
    let texts: Texts =
        world.larder.cache("texts").loads_max(2).loads_waiting_max(5).shared().unwrap();
    world.source.hold();
    let reads: Vec<_> = (0..10)
        .map(|n| {
            world.source.set(&n.to_string(), "v");
            reading(&texts, &world.source, &n.to_string())
        })
        .collect();
    world.ear.hears("LoadQueued", 5).await;
    world.ear.hears("LoadTurnedAway", 3).await;
    assert_eq!(world.source.waiting(), 2);
    world.source.let_go();
    let mut turned_away = 0;
    for read in reads {
        match read.await.unwrap() {
            Ok(entry) => assert!(is(&entry, "v", false)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Overloaded);
                turned_away += 1;
            }
        }
    }
    assert_eq!((turned_away, world.source.loads()), (3, 7));
}

/// Nobody who comes after an end boards a load that waited for its turn from before it and began after it: that one
/// is as new as it need be; and one that had begun is not boarded.
#[tokio::test(start_paused = true)]
async fn an_end_while_a_load_waits_for_its_turn_is_heard() {
    let fleet = Fleet::new();
    let world = fleet.process().await;
    let texts = texts(&world, |cache| cache.loads_max(2));
    fleet.source.hold();
    let _busy = ["a", "b"].map(|key| reading(&texts, &fleet.source, key));
    fleet.source.held(2).await;
    let (mut step, load) = stepped();
    let waiting = reading_of(&texts, "k", load);
    world.ear.hears("LoadQueued", 1).await;
    texts.invalidate("k").await.unwrap();
    fleet.source.let_go();
    soon("its turn", step.begins()).await;
    fleet.source.set("k", "new");
    let later = reading(&texts, &fleet.source, "k");
    idle().await;
    texts.invalidate("k").await.unwrap();
    let latest = reading(&texts, &fleet.source, "k");
    idle().await;
    step.answers("old");
    assert!(is(&waiting.await.unwrap().unwrap(), "old", false), "its call overlapped the end");
    assert!(is(&soon("later", later).await.unwrap().unwrap(), "new", false));
    assert!(is(&soon("latest", latest).await.unwrap().unwrap(), "new", false));
}
