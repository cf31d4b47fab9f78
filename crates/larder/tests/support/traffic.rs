//! Processes that read and write for as long as they are told to, and hold each answer against what was
//! confirmed before it was asked for.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use larder::{Cache, Larder, LarderBuilder, Lifetime, MINUTE, Origin};

use super::{Ear, soon};

const KEYS: usize = 6;
/// Longer than any near is: what holds it is read from far.
const PADDING: usize = 4096;

/// Rows of a source, and what was confirmed of them.
#[derive(Default)]
pub struct Rows([Row; KEYS]);

#[derive(Default)]
struct Row {
    committed: AtomicU64,
    /// Ends that were confirmed: when, by whom, of which version.
    ended: Mutex<Vec<(Instant, usize, u64)>>,
}

impl Row {
    /// The newest version whose end was over before `moment`, in the process `by` or in any.
    fn over(&self, moment: Option<Instant>, by: Option<usize>) -> u64 {
        let Some(moment) = moment else { return 0 };
        let ended = self.ended.lock().unwrap();
        let before = ended.iter().filter(|(when, _, _)| *when <= moment);
        let before = before.filter(|(_, process, _)| by.is_none_or(|by| by == *process));
        before.map(|(_, _, version)| *version).max().unwrap_or(0)
    }
}

/// One process among those that read and write.
#[derive(Clone)]
pub struct Rider {
    number: usize,
    pub larder: Larder,
    cache: Cache<usize, String>,
    pub ear: Ear,
    bound: Duration,
}

impl Rider {
    /// With room near for what it reads, or for nothing.
    pub async fn open(number: usize, builder: LarderBuilder, bound: Duration, near: bool) -> Rider {
        let ear = Ear::default();
        let builder = builder.bound(bound).observer(ear.observer());
        let builder = if near { builder } else { builder.near_bytes_max(1024) };
        let larder = builder.open().await.unwrap();
        let lifetime = Lifetime::fresh_for(10 * MINUTE).jitter(0.0);
        let cache = larder
            .cache("rows")
            .lifetime(lifetime)
            .tagged_by(|key: &usize| [larder::Tag::from_parts(&("row", *key))]);
        Rider { number, larder, cache: cache.shared().unwrap(), ear, bound }
    }

    /// Reads, and says from where. Panics over an answer that cannot be.
    pub async fn read(&self, rows: &Arc<Rows>, key: usize, alone: bool) -> Origin {
        let began = Instant::now();
        let row = &rows.0[key];
        let everywhere = row.over(Some(began), None);
        let here = row.over(Some(began), Some(self.number));
        let long_ago = row.over(began.checked_sub(self.bound + self.bound / 100), None);
        let source = rows.clone();
        let load = move || async move {
            let version = source.0[key].committed.load(Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok::<_, std::io::Error>(format!("{version} {}", "x".repeat(PADDING)))
        };
        let entry = soon("an answer", self.cache.get_or_load(&key, load)).await;
        let entry = entry.unwrap();
        let version: u64 = entry.split_once(' ').unwrap().0.parse().unwrap();
        // A flight that is joined may be as old as a near copy: only who is alone asks far itself.
        let least = match entry.origin() {
            Origin::Far if alone => everywhere,
            _ => here.max(long_ago),
        };
        assert!(
            version >= least,
            "process {} was served version {version} of row {key} ({}), and {least} was over",
            self.number,
            entry.origin(),
        );
        entry.origin()
    }

    /// Commits, and ends the row; true when that was confirmed.
    pub async fn write(&self, rows: &Rows, key: usize) -> bool {
        let row = &rows.0[key];
        let version = row.committed.fetch_add(1, Ordering::SeqCst) + 1;
        let ended = match version % 3 {
            0 => self.larder.invalidate_tag(larder::Tag::from_parts(&("row", key))).await,
            _ => self.larder.invalidate([self.cache.entry(&key)]).await,
        };
        if ended.is_ok() {
            row.ended.lock().unwrap().push((Instant::now(), self.number, version));
        }
        ended.is_ok()
    }
}

/// What came of it.
#[derive(Default)]
pub struct Counts {
    pub near: AtomicUsize,
    pub far: AtomicUsize,
    pub loaded: AtomicUsize,
    pub confirmed: AtomicUsize,
    pub unconfirmed: AtomicUsize,
}

impl Counts {
    pub fn of(&self, count: &AtomicUsize) -> usize {
        count.load(Ordering::SeqCst)
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} near, {} far, {} loaded, {} ends confirmed, {} not",
            self.of(&self.near),
            self.of(&self.far),
            self.of(&self.loaded),
            self.of(&self.confirmed),
            self.of(&self.unconfirmed)
        )
    }
}

/// Traffic under way.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    pub counts: Arc<Counts>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Traffic {
    /// Each of `riders` reads and writes in three tasks, and each of `alone` reads in one.
    pub fn begin(rows: &Arc<Rows>, riders: &[Rider], alone: &[Rider]) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Counts::default());
        let mut traffic = Traffic { stop, counts, tasks: Vec::new() };
        for (task, rider) in riders.iter().flat_map(|rider| [rider; 3]).enumerate() {
            traffic.spawn(rows, rider, task, false);
        }
        for (task, rider) in alone.iter().enumerate() {
            traffic.spawn(rows, rider, task, true);
        }
        traffic
    }

    fn spawn(&mut self, rows: &Arc<Rows>, rider: &Rider, task: usize, alone: bool) {
        let (rows, rider) = (rows.clone(), rider.clone());
        let (stop, counts) = (self.stop.clone(), self.counts.clone());
        self.tasks.push(tokio::spawn(async move {
            let mut step = task;
            while !stop.load(Ordering::SeqCst) {
                // Strides without a common measure: every task gets to every row.
                step += 7;
                let key = step % KEYS;
                let count = if !alone && step.is_multiple_of(5) {
                    match rider.write(&rows, key).await {
                        true => &counts.confirmed,
                        false => &counts.unconfirmed,
                    }
                } else {
                    match rider.read(&rows, key, alone).await {
                        Origin::Near => &counts.near,
                        Origin::Far => &counts.far,
                        _ => &counts.loaded,
                    }
                };
                count.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }));
    }

    /// Fails if a task has.
    pub async fn end(self) -> Arc<Counts> {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            soon("the traffic to end", task).await.unwrap();
        }
        self.counts
    }
}
