//! What happened, told once, where it happened.
//!
//! Everyone tells, and is asked nothing. What is told is counted for [`Stats`], and then handed as
//! an [`Event`] to the [`Observer`], when there is one. An observer is called where the thing happens, on the hot
//! path too: it must be quick and must not block.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

mod stats;

pub(crate) use stats::Counters;
pub use stats::Stats;

/// One thing that happened. `cache` is the name the cache was opened under.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// Served from this process.
    HitNear {
        /// Which cache.
        cache: &'a str,
    },
    /// Served from the shared side.
    HitFar {
        /// Which cache.
        cache: &'a str,
    },
    /// Served though it is past its fresh time; it is being refreshed.
    HitStale {
        /// Which cache.
        cache: &'a str,
    },
    /// A stale entry was served in the place of what the source would have said.
    StoodIn {
        /// Which cache.
        cache: &'a str,
        /// What was the matter with the source.
        why: StoodIn,
    },
    /// A load was begun in the background, over an entry that is fresh and near its end.
    RefreshAhead {
        /// Which cache.
        cache: &'a str,
    },
    /// A load in the background, over an entry that was there, has ended.
    Refresh {
        /// Which cache.
        cache: &'a str,
        /// Whether it gave a value.
        ok: bool,
    },
    /// Neither side had it.
    Miss {
        /// Which cache.
        cache: &'a str,
    },
    /// The loader was asked, and answered or failed.
    Load {
        /// Which cache.
        cache: &'a str,
        /// How long it took.
        took: Duration,
        /// Whether it gave a value.
        ok: bool,
    },
    /// The source said "unchanged", and only a header was stored.
    Unchanged {
        /// Which cache.
        cache: &'a str,
    },
    /// A load took longer than `max_load` and was stopped.
    LoadGivenUp {
        /// Which cache.
        cache: &'a str,
    },
    /// So many loads run that this one waits for its turn.
    LoadQueued {
        /// Which cache.
        cache: &'a str,
        /// How many wait now.
        waiting: usize,
    },
    /// A call fails with `Overloaded`: too many loads waited already, or its turn did not come in time.
    LoadTurnedAway {
        /// Which cache.
        cache: &'a str,
    },
    /// A refresh was not begun, so that callers find places for their loads.
    RefreshLeft {
        /// Which cache.
        cache: &'a str,
    },
    /// Another process is loading: this one waits for its answer.
    Wait {
        /// Which cache.
        cache: &'a str,
    },
    /// A wait is over.
    Woken {
        /// Which cache.
        cache: &'a str,
        /// What ended it.
        by: WokenBy,
    },
    /// A load was overtaken by an invalidation, or outlived its lease: its value was not stored.
    StoreRefused {
        /// Which cache.
        cache: &'a str,
    },
    /// A value was handed out and not stored.
    NotStored {
        /// Which cache.
        cache: &'a str,
        /// Why.
        why: NotStored,
    },
    /// A write went through to the sink, or did not.
    Write {
        /// Which cache.
        cache: &'a str,
        /// Whether it is known that the sink has it and that nothing older is kept.
        ok: bool,
        /// Whether the cache keeps what was written.
        kept: bool,
    },
    /// A value was written behind: readers have it, and its source will.
    WriteQueued {
        /// Which cache.
        cache: &'a str,
    },
    /// A write behind found as many waiting as may, and failed.
    WriteTurnedAway {
        /// Which cache.
        cache: &'a str,
    },
    /// The source was told of what had been written behind.
    WritesFlushed {
        /// Which cache.
        cache: &'a str,
        /// How many keys it has now.
        keys: usize,
        /// How many writes these were.
        writes: usize,
        /// How long it took.
        took: Duration,
    },
    /// The source did not take a write; it will be tried again.
    WriteRetried {
        /// Which cache.
        cache: &'a str,
        /// What it said.
        why: &'a str,
    },
    /// A write was given up: it is a dead letter, and readers have it no more.
    WriteGivenUp {
        /// Which cache.
        cache: &'a str,
        /// What the source said last.
        why: &'a str,
    },
    /// Bytes under one of our keys could not be read, or were not ours: a miss.
    Unreadable {
        /// Which cache.
        cache: &'a str,
        /// What was wrong with them.
        why: &'a str,
    },
    /// A writer's guard is open on the key: the loader was asked, and its answer kept nowhere.
    Guarded {
        /// Which cache.
        cache: &'a str,
    },
    /// The shared side could not be asked: the loader was.
    FarSkipped {
        /// Which cache.
        cache: &'a str,
        /// What stood in the way.
        why: &'a str,
    },
    /// A connection to the shared side is in use.
    Connected {
        /// Whether there was one before.
        again: bool,
    },
    /// The connection to the shared side is gone; near is empty until there is another.
    Disconnected {
        /// What was seen.
        why: &'a str,
    },
    /// The shared side may have forgotten something without telling us: near is empty.
    Gap,
    /// The breaker has opened: too many calls to the shared side failed or were slow, and it is not asked for
    /// a while.
    BreakerOpened {
        /// It was half open, and what was tried did not go well.
        again: bool,
        /// How many calls were looked at.
        calls: u32,
        /// How many of them failed.
        failed: u32,
        /// How many of them were slow.
        slow: u32,
    },
    /// The breaker is half open: a few calls are tried.
    BreakerHalfOpen,
    /// The breaker has closed: the shared side is asked again.
    BreakerClosed,
    /// An invalidation was not confirmed: it is queued, and near is bypassed for it.
    Unconfirmed {
        /// How many are waiting now.
        waiting: usize,
    },
    /// Queued invalidations were confirmed.
    Confirmed {
        /// How many are still waiting.
        waiting: usize,
    },
    /// A heartbeat was answered: changes made before it are applied here.
    Lag {
        /// How long the answer took.
        took: Duration,
    },
}

/// What ended a wait for another process' load.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WokenBy {
    /// Redis told us.
    Push,
    /// The lease ran out: its holder is gone, or slow.
    Timer,
}

/// Why a stale entry was served to one who would have waited for the source.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoodIn {
    /// It failed.
    Failed,
    /// It had not answered by the soft deadline.
    Slow,
    /// As many loads as may were under way.
    Crowded,
}

/// Why a value was handed out and not stored.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// Longer than `value_bytes_max`.
    TooLarge,
    /// It carries a tag this process had not seen before the load; the next load is stored.
    NewTag,
    /// It could not be turned into bytes.
    Encode,
    /// The loader gave it a lifetime that cannot be meant.
    Lifetime,
    /// The shared side did not answer.
    Far,
    /// It carries more than 255 tags.
    TooManyTags,
}

/// Hears of every [`Event`].
pub trait Observer: Send + Sync + 'static {
    /// Called where it happens: be quick, never block.
    fn event(&self, event: &Event<'_>);
}

/// Where everyone tells: counters first, then the observer.
#[derive(Clone)]
pub(crate) struct Observe {
    cache: Arc<str>,
    /// Of this cache alone: each thing is counted once, since counting costs more than a look-up when two
    /// threads do it.
    own: Arc<Counters>,
    /// Of the handle and of every cache it has opened, to be added up when somebody asks.
    all: Arc<Mutex<HashMap<Arc<str>, Arc<Counters>>>>,
    observer: Option<Arc<dyn Observer>>,
}

impl Observe {
    pub(crate) fn new(observer: Option<Arc<dyn Observer>>) -> Observe {
        let (cache, own) = (Arc::<str>::from(""), Arc::new(Counters::default()));
        let all = HashMap::from([(cache.clone(), own.clone())]);
        Observe { cache, own, all: Arc::new(Mutex::new(all)), observer }
    }

    /// The same ear, for one cache: counted for it and for the whole.
    pub(crate) fn of_cache(&self, cache: &str) -> Observe {
        let cache = Arc::<str>::from(cache);
        // One that is opened again goes on counting.
        let own = self.all.lock().entry(cache.clone()).or_default().clone();
        Observe { cache, own, all: self.all.clone(), observer: self.observer.clone() }
    }

    pub(crate) fn cache(&self) -> &str {
        &self.cache
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        self.own.count(&event);
        self.hand_on(&event);
    }

    /// Tells of [`Event::HitNear`], on the shortest way there is.
    #[inline]
    pub(crate) fn hit_near(&self) {
        self.own.hit_near();
        if self.observer.is_some() {
            self.hand_on(&Event::HitNear { cache: &self.cache });
        }
    }

    fn hand_on(&self, event: &Event<'_>) {
        if let Some(observer) = &self.observer {
            // A panic of theirs would end a task of ours, and with it the heartbeat or the retries.
            let telling = AssertUnwindSafe(|| observer.event(event));
            if catch_unwind(telling).is_err() {
                tracing::error!(?event, "the observer panicked");
            }
        }
    }

    /// Of this cache.
    pub(crate) fn stats(&self) -> Stats {
        self.own.snapshot()
    }

    /// Of all.
    pub(crate) fn stats_of_all(&self) -> Stats {
        self.all
            .lock()
            .values()
            .map(|counters| counters.snapshot())
            .fold(Stats::default(), Stats::plus)
    }
}
