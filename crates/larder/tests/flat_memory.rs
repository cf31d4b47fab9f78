//! A process does not grow with what it has seen: keys, each with a tag of its own, and callers who wait come by the
//! million, and what is kept of them is bounded.
//!
//! Counted are the bytes that are allocated and not given back, and not the size of the process, which depends on the
//! allocator. What is bounded fills up and is swept, so it is the peaks that are compared: that of the first part,
//! by whose end everything has been full at least twice, with that of the rest. All runs on one thread, since that is
//! what is counted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use larder::{Cache, Clock, ErrorKind, Larder, Leased, Lifetime, Loaded, Tag, UserCache, contract};

/// Numbers of as many digits each.
const FIRST: u64 = 1_000_000;
/// As many tags, and as many callers who wait.
const KEYS: u64 = 1_000_000;
const WARM: u64 = 150_000;
const ABREAST: u64 = 4;
const BLOCK: u64 = 100;
/// A byte and a quarter for each key of the rest would be more.
const GROWTH_MAX: i64 = 1 << 20;

struct Scene {
    /// Two processes on one far side.
    here: Larder,
    numbers: Cache<u64, u64>,
    there: Cache<u64, u64>,
    owned: UserCache<u64, u64>,
    met: AtomicU64,
}

fn tag_of(n: u64) -> Tag {
    Tag::from_parts(&("of", n))
}

fn numbers(larder: &Larder) -> Cache<u64, u64> {
    let lifetime = Lifetime::fresh_for(Duration::from_secs(60));
    let numbers = larder.cache("numbers").lifetime(lifetime).tagged_by(|n: &u64| [tag_of(*n)]);
    numbers.shared().unwrap()
}

impl Scene {
    async fn set() -> Scene {
        let far = contract::SharedMemory::new(1 << 19, Clock::of_runtime(1));
        let open = || Larder::builder("test").shared_memory(&far).near_bytes_max(1 << 18);
        let (here, there) = (open().open().await.unwrap(), open().open().await.unwrap());
        let owned = here.cache("owned").per_user().unwrap();
        let (numbers, there) = (numbers(&here), numbers(&there));
        Scene { here, numbers, there, owned, met: AtomicU64::new(0) }
    }

    /// A key that nobody has asked for before, and one of what can happen to it.
    async fn meets(&self, n: u64) {
        let load = move || async move {
            tokio::task::yield_now().await; // so that others come to wait
            Ok::<_, std::io::Error>(n)
        };
        match n / (BLOCK / 4) % 8 {
            // One waits for the other's load in this process, or in the other one.
            0 => {
                let both = tokio::join!(
                    self.numbers.get_or_load(&n, load),
                    self.numbers.get_or_load(&n, load)
                );
                assert_eq!((*both.0.unwrap(), *both.1.unwrap()), (n, n));
            }
            1 => {
                let both = tokio::join!(
                    self.numbers.get_or_load(&n, load),
                    self.there.get_or_load(&n, load)
                );
                assert_eq!((*both.0.unwrap(), *both.1.unwrap()), (n, n));
            }
            2 => {
                let fails = || async { Err::<u64, _>(std::io::Error::other("no")) };
                let failed = self.numbers.get_or_load(&n, fails).await.unwrap_err();
                assert_eq!(failed.kind(), ErrorKind::Source);
            }
            3 => {
                let learned = Loaded::new(n).tag(Tag::from_parts(&("learned", n)));
                let load = move || async move { Ok::<_, std::io::Error>(learned) };
                assert_eq!(*self.numbers.get_or_load(&n, load).await.unwrap(), n);
                let ends = [self.numbers.entry(&n), tag_of(n).into()];
                self.here.invalidate(ends).await.unwrap();
            }
            4 => {
                // Hung up on.
                let mut asking = Box::pin(self.numbers.get_or_load(&n, load));
                let mut context = Context::from_waker(Waker::noop());
                let _ = asking.as_mut().poll(&mut context);
            }
            5 => assert_eq!(*self.owned.of(&n).get_or_load(&1, load).await.unwrap(), n),
            6 => match self.numbers.lease(&n).await.unwrap() {
                Leased::Held(lease) => drop(lease.store(n).await),
                _ => panic!("nobody has asked for {n} before"),
            },
            _ => {
                self.numbers.put(&n, n).await.unwrap();
                assert!(self.there.get(&(n + FIRST)).await.unwrap().is_none());
            }
        }
    }

    /// A block of keys, each with a tag of its own: all are asked for, three callers each wait for some, a few are
    /// loaded, and all are ended.
    async fn meets_all(&self, block: Range<u64>) {
        let keys: Vec<u64> = block.collect();
        let found = self.numbers.get_many(&keys).await.unwrap();
        assert!(found.iter().all(Option::is_none));
        // Two of the three board, and all three hang up.
        for key in keys.iter().step_by(3) {
            let hangs = std::future::pending::<Result<u64, std::io::Error>>;
            let mut context = Context::from_waker(Waker::noop());
            let mut callers: Vec<_> =
                (0..3).map(|_| Box::pin(self.numbers.get_or_load(key, hangs))).collect();
            for caller in &mut callers {
                assert!(caller.as_mut().poll(&mut context).is_pending());
            }
        }
        for key in keys.iter().step_by(BLOCK as usize / 4) {
            self.meets(*key).await;
        }
        // The other process meets them all too, or what it watches would fill up later than what we do.
        self.there.get_many(&keys).await.unwrap();
        let entries = keys.iter().map(|key| self.numbers.entry(key));
        let ends = entries.chain(keys.iter().map(|key| tag_of(*key).into()));
        self.here.invalidate(ends).await.unwrap();
        self.met.fetch_add(keys.len() as u64, Ordering::Relaxed);
    }

    async fn meet(self: &Arc<Self>, keys: Range<u64>) {
        let mut lanes = tokio::task::JoinSet::new();
        for lane in 0..ABREAST {
            let (scene, keys) = (self.clone(), keys.clone());
            lanes.spawn(async move {
                let blocks = keys.step_by(BLOCK as usize).skip(lane as usize);
                for first in blocks.step_by(ABREAST as usize) {
                    scene.meets_all(first..first + BLOCK).await;
                }
            });
        }
        while let Some(lane) = lanes.join_next().await {
            lane.unwrap();
        }
    }
}

#[test]
fn a_million_keys_tags_and_waiters_leave_no_more_than_the_first() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scene = Arc::new(runtime.block_on(Scene::set()));
    let meet = |from, to| runtime.block_on(scene.meet(FIRST + from..FIRST + to));
    let warm = allocation_counter::measure(|| meet(0, WARM));
    let rest = allocation_counter::measure(|| meet(WARM, KEYS));
    assert_eq!(scene.met.load(Ordering::Relaxed), KEYS);
    let (before, after) = (peak(0, &warm), peak(warm.bytes_current, &rest));
    let grown = after - before;
    assert!(grown < GROWTH_MAX, "{before} bytes for {WARM} keys at most, {after} for {KEYS}");
}

/// The most that was allocated at once, `before` included.
fn peak(before: i64, measured: &allocation_counter::AllocationInfo) -> i64 {
    before + i64::try_from(measured.bytes_max).unwrap()
}
