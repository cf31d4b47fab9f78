//! Mixed traffic of several processes on one Redis, and nothing in its history that was ruled out.
//!
//! A writer commits a version and ends the entry, by key or by tag. What is checked of every read:
//! in the process that ended it, nothing older than the last end that was over when the read began;
//! elsewhere the same, once `sync` has come back. Beside that the server is disturbed: scripts and data flushed,
//! connections killed, entries deleted by hand; or it has too little memory and evicts at random; or it is stopped
//! and goes on. No read may fail.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use larder::{Cache, Larder, Lifetime, Loaded, MINUTE, Tag, Target};
use support::{PATIENT, Server};

const PROCESSES: usize = 3;
const KEYS: usize = 4;
const TASKS: usize = 12;

/// A source of versions, and who has ended what.
#[derive(Default)]
struct Truth {
    committed: [AtomicU64; KEYS],
    /// The version that the last end that was `Ok` stood for: in all, and by process.
    ended: [AtomicU64; KEYS],
    ended_by: [[AtomicU64; KEYS]; PROCESSES],
    reads: AtomicUsize,
    writes: AtomicUsize,
}

/// SplitMix64, so that a seed gives the same choices each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }
}

#[derive(Clone)]
struct Process {
    number: usize,
    larder: Larder,
    cache: Cache<usize, u64>,
}

impl Process {
    async fn open(url: &str, number: usize) -> Process {
        let builder = Larder::builder("test").redis(url).far_deadline(PATIENT);
        let larder = builder.invalidate_deadline(PATIENT).open().await.unwrap();
        let cache = larder
            .cache("versions")
            .lifetime(Lifetime::fresh_for(MINUTE))
            .tagged_by(|key: &usize| [tag_of(*key)])
            .shared()
            .unwrap();
        Process { number, larder, cache }
    }
}

fn tag_of(key: usize) -> Tag {
    Tag::from_parts(&("key", key))
}

/// Of two keys each; only the load tells of it.
fn learned_tag_of(key: usize) -> Tag {
    Tag::from_parts(&("pair", key / 2))
}

async fn read(truth: &Arc<Truth>, process: &Process, key: usize, chance: &mut Chance) {
    let synced = chance.below(3) == 0;
    let mut least = truth.ended_by[process.number][key].load(Ordering::SeqCst);
    if synced {
        let all = truth.ended[key].load(Ordering::SeqCst);
        if process.larder.sync().await.is_ok() {
            least = least.max(all);
        }
    }
    let (source, slow) = (truth.clone(), chance.below(4));
    let load = move || async move {
        let version = source.committed[key].load(Ordering::SeqCst);
        for _ in 0..slow * 3 {
            tokio::task::yield_now().await;
        }
        Ok::<_, std::io::Error>(Loaded::new(version).tag(learned_tag_of(key)))
    };
    let entry = process.cache.get_or_load(&key, load).await.unwrap();
    assert!(
        *entry >= least,
        "process {} was served version {} of key {key} ({}), and {least} was over; synced: {synced}",
        process.number,
        *entry,
        entry.origin(),
    );
    truth.reads.fetch_add(1, Ordering::SeqCst);
}

async fn write(truth: &Truth, process: &Process, key: usize, chance: &mut Chance) {
    let version = truth.committed[key].fetch_add(1, Ordering::SeqCst) + 1;
    let target: Target = match chance.below(3) {
        0 => process.cache.entry(&key),
        1 => tag_of(key).into(),
        _ => learned_tag_of(key).into(),
    };
    if process.larder.invalidate([target]).await.is_ok() {
        truth.ended[key].fetch_max(version, Ordering::SeqCst);
        truth.ended_by[process.number][key].fetch_max(version, Ordering::SeqCst);
        truth.writes.fetch_add(1, Ordering::SeqCst);
    }
}

/// What is done to the server now and then.
type Disturbance = fn(&Server, &mut Chance);

fn leave_alone(_: &Server, _: &mut Chance) {}

fn break_things(server: &Server, chance: &mut Chance) {
    match chance.below(4) {
        0 => drop(server.ask::<redis::Value>("SCRIPT FLUSH")),
        1 => drop(server.ask::<redis::Value>("FLUSHALL")),
        2 => drop(server.ask::<redis::Value>("CLIENT KILL TYPE normal SKIPME yes")),
        _ => {
            for key in server.keys() {
                if chance.below(2) == 0 {
                    let _: i64 = redis::cmd("DEL").arg(key).query(&mut server.client()).unwrap();
                }
            }
        }
    }
}

/// Others write to it as well, and it has room for about a hundred keys: each that comes takes a random one's place.
fn crowd(server: &Server, chance: &mut Chance) {
    let mut others = redis::pipe();
    for _ in 0..40 {
        let name = format!("other:{}", chance.below(400));
        others.cmd("SET").arg(name).arg("x".repeat(1000)).ignore();
    }
    // Refused when there is nothing left to evict: it is full all the same.
    let _: Result<(), _> = others.query(&mut server.client());
}

/// Stopped for up to a third of the bound B; what was sent to it meanwhile it does afterwards.
fn stop(server: &Server, chance: &mut Chance) {
    server.pause();
    std::thread::sleep(std::time::Duration::from_millis(chance.below(330)));
    server.resume();
    std::thread::sleep(std::time::Duration::from_millis(50));
}

fn count(server: &Server, what: &str) -> u64 {
    let info: String = server.ask("INFO");
    let line = info.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    line.unwrap().parse().unwrap()
}

async fn traffic(seed: u64, rounds: usize, disturb: Disturbance) -> Arc<Truth> {
    traffic_on(Arc::new(Server::start()), seed, rounds, disturb).await
}

async fn traffic_on(
    server: Arc<Server>,
    seed: u64,
    rounds: usize,
    disturb: Disturbance,
) -> Arc<Truth> {
    let mut processes = Vec::new();
    for number in 0..PROCESSES {
        processes.push(Process::open(&server.url(), number).await);
    }
    let truth = Arc::new(Truth::default());
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (truth, process) = (truth.clone(), processes[task % PROCESSES].clone());
            let mut chance = Chance(seed ^ (task as u64) << 32);
            tokio::spawn(async move {
                for _ in 0..rounds {
                    let key = chance.below(KEYS as u64) as usize;
                    match chance.below(5) {
                        0 => write(&truth, &process, key, &mut chance).await,
                        _ => read(&truth, &process, key, &mut chance).await,
                    }
                }
            })
        })
        .collect();
    let running = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let disturbing = {
        let (server, running) = (server.clone(), running.clone());
        std::thread::spawn(move || {
            let mut chance = Chance(seed);
            while running.load(Ordering::SeqCst) {
                disturb(&server, &mut chance);
                std::thread::sleep(std::time::Duration::from_millis(5 + chance.below(30)));
            }
        })
    };
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(support::soon("the traffic to end", task).await);
    }
    running.store(false, Ordering::SeqCst);
    disturbing.join().unwrap();
    outcomes.into_iter().for_each(|outcome| outcome.unwrap());
    truth
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_sees_nothing_that_was_ended() {
    let truth = traffic(17, 400, leave_alone).await;
    assert!(truth.reads.load(Ordering::SeqCst) > 3_000);
    assert!(truth.writes.load(Ordering::SeqCst) > 600, "every end was confirmed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_on_a_disturbed_server_sees_nothing_that_was_ended() {
    let truth = traffic(4, 1_500, break_things).await;
    assert!(truth.reads.load(Ordering::SeqCst) > 10_000);
    assert!(truth.writes.load(Ordering::SeqCst) > 100);
}

/// V, L and T are evicted at whatever point of a load it happens to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_on_a_server_that_evicts_at_random_sees_nothing_that_was_ended() {
    let server = Arc::new(Server::with(&["--maxmemory-policy", "allkeys-random"]));
    // Our scripts take room as well, and are there once somebody has connected.
    let first = Larder::builder("app").redis(server.url()).require_far().open().await.unwrap();
    let limit = count(&server, "used_memory") + (512 << 10);
    drop(first);
    let _: String = server.ask(&format!("CONFIG SET maxmemory {limit}"));
    let truth = traffic_on(server.clone(), 9, 1_500, crowd).await;
    assert!(truth.reads.load(Ordering::SeqCst) > 10_000);
    assert!(truth.writes.load(Ordering::SeqCst) > 2_000, "ends need no memory: all were confirmed");
    let evicted = count(&server, "evicted_keys");
    assert!(evicted > 200, "{evicted} keys were evicted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_on_a_server_that_is_stopped_and_goes_on_sees_nothing_that_was_ended() {
    let truth = traffic(23, 400, stop).await;
    assert!(truth.reads.load(Ordering::SeqCst) > 3_000);
    assert!(truth.writes.load(Ordering::SeqCst) > 100);
}
