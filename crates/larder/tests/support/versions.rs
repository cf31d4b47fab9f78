//! A source of versions, and what a read that begins now may not be older than.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use larder::{Entry, Target};

use super::World;

/// One row of a source, under `k` of a world's words: each commit is a greater number.
#[derive(Default)]
pub struct Versions {
    committed: AtomicU64,
    /// Ends that were confirmed, and when.
    ended: Mutex<Vec<(Instant, u64)>>,
}

impl Versions {
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::SeqCst)
    }

    /// Commits the next version without ending the one before.
    pub fn commit(&self) -> u64 {
        self.committed.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Commits, then ends `target`. `None`: the end was not confirmed.
    pub async fn write(&self, world: &World, target: impl Into<Target>) -> Option<u64> {
        let version = self.commit();
        world.larder.invalidate([target.into()]).await.ok()?;
        self.ended.lock().unwrap().push((Instant::now(), version));
        Some(version)
    }

    /// The newest version whose end was confirmed longer than `ago` before `began`.
    pub fn least(&self, began: Instant, ago: Duration) -> u64 {
        let ended = self.ended.lock().unwrap();
        let over = ended.iter().filter(|(when, _)| *when + ago < began);
        over.map(|(_, version)| *version).max().unwrap_or(0)
    }

    /// Reads `k`; a load gives what is committed when it runs.
    pub async fn read(self: &std::sync::Arc<Self>, world: &World) -> (u64, Entry<String>) {
        let source = self.clone();
        let load = || async move { Ok::<_, std::io::Error>(source.committed().to_string()) };
        let words = world.words.tagged(["list"]);
        let entry = super::soon("an answer", words.get_or_load("k", load)).await.unwrap();
        (entry.parse().unwrap(), entry)
    }

    /// Reads, and holds the answer against the bound B: nothing that was ended longer ago than that.
    pub async fn read_within(self: &std::sync::Arc<Self>, world: &World, bound: Duration) {
        let began = Instant::now();
        let least = self.least(began, bound + bound / 100);
        let (version, entry) = self.read(world).await;
        let origin = entry.origin();
        assert!(version >= least, "served {version} ({origin}), {least} was ended before B");
    }
}
