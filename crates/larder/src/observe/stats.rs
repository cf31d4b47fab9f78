//! The counters, and the snapshot that people and tests read.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Event;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often each thing happened since the process began.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Default)]
        pub(crate) struct Counters {
            $($name: AtomicU64,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }

        }

        impl Stats {
            pub(crate) fn plus(self, other: Stats) -> Stats {
                Stats { $($name: self.$name + other.$name,)* }
            }
        }
    };
}

counters! {
    /// Served from this process.
    hits_near,
    /// Served from the shared side.
    hits_far,
    /// Served past their fresh time, while they were refreshed.
    hits_stale,
    /// Served past their fresh time, because the source failed, was slow, or had too much to do.
    stood_in,
    /// Of these, those served at the soft deadline, while the load went on.
    stood_in_slow,
    /// Of these, those served because as many loads as may were under way.
    stood_in_crowded,
    /// Loads in the background, over an entry that was there: a stale one, or one near its end.
    refreshes,
    /// Of these, those that failed.
    refreshes_failed,
    /// Loads begun in the background over an entry that was fresh and near its end.
    refreshes_ahead,
    /// Neither side had it.
    misses,
    /// Loaders asked: once for each key, also where one call of a loader is for many.
    loads,
    /// Loaders that failed, panicked or were too slow.
    loads_failed,
    /// Loads to which the source said "unchanged", and of which only a header was stored.
    unchanged,
    /// Of `loads_failed`, those that were stopped at `max_load`.
    loads_given_up,
    /// Loads that had to wait for their turn.
    loads_queued,
    /// Calls that failed since too many loads waited, or their turn did not come.
    loads_turned_away,
    /// Refreshes that were not begun, so that callers find places for their loads.
    refreshes_left,
    /// Waits for a load of another process.
    waits,
    /// Waits ended by a push.
    woken_by_push,
    /// Waits ended by the end of a lease.
    woken_by_timer,
    /// Stores refused because an invalidation or another load came between.
    stores_refused,
    /// Values handed out and not stored: too large, a new tag, no encoding, no far side.
    not_stored,
    /// Writes that went through to the sink, or tried to.
    writes,
    /// Of these, those whose value the cache keeps.
    writes_kept,
    /// Of these, those that failed, or are not confirmed.
    writes_failed,
    /// Values written behind.
    writes_queued,
    /// Writes behind that failed because too many waited.
    writes_turned_away,
    /// Of what was written behind, by any process: writes that workers of this one told the source of.
    writes_flushed,
    /// Of these, those that a newer write of the same key took along.
    writes_coalesced,
    /// Tries that the source did not take.
    writes_retried,
    /// Writes that were given up: dead letters.
    writes_given_up,
    /// Entries whose bytes could not be read.
    unreadable,
    /// Calls that found a writer's guard on their key, and loaded without keeping.
    guarded,
    /// Calls for which the shared side could not be asked.
    far_skipped,
    /// Connections made, the first not counted.
    reconnects,
    /// Connections lost.
    disconnects,
    /// Times near was emptied because the shared side may have forgotten something without telling us: it
    /// evicts, or its tracking table is half full.
    gaps,
    /// Times the breaker opened, not counting those it opened again from half open.
    breaker_opened,
    /// Times it closed. One less than `breaker_opened`: it is open or half open now.
    breaker_closed,
    /// Invalidations that were not confirmed at once.
    unconfirmed,
    /// Invalidations that wait for confirmation now.
    unconfirmed_waiting,
    /// What the last heartbeat took, in microseconds.
    lag_us,
}

impl Counters {
    #[inline]
    pub(crate) fn hit_near(&self) {
        self.hits_near.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self, event: &Event<'_>) {
        use super::{StoodIn, WokenBy};
        let add = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let set = |counter: &AtomicU64, to: usize| counter.store(to as u64, Ordering::Relaxed);
        match event {
            Event::HitNear { .. } => self.hit_near(),
            Event::HitFar { .. } => add(&self.hits_far),
            Event::HitStale { .. } => add(&self.hits_stale),
            Event::StoodIn { why, .. } => {
                add(&self.stood_in);
                match why {
                    StoodIn::Failed => {}
                    StoodIn::Slow => add(&self.stood_in_slow),
                    StoodIn::Crowded => add(&self.stood_in_crowded),
                }
            }
            Event::Refresh { ok, .. } => {
                add(&self.refreshes);
                if !ok {
                    add(&self.refreshes_failed);
                }
            }
            Event::RefreshAhead { .. } => add(&self.refreshes_ahead),
            Event::Miss { .. } => add(&self.misses),
            Event::Load { ok, .. } => {
                add(&self.loads);
                if !ok {
                    add(&self.loads_failed);
                }
            }
            Event::Unchanged { .. } => add(&self.unchanged),
            Event::LoadGivenUp { .. } => add(&self.loads_given_up),
            Event::LoadQueued { .. } => add(&self.loads_queued),
            Event::LoadTurnedAway { .. } => add(&self.loads_turned_away),
            Event::RefreshLeft { .. } => add(&self.refreshes_left),
            Event::Wait { .. } => add(&self.waits),
            Event::Woken { by: WokenBy::Push, .. } => add(&self.woken_by_push),
            Event::Woken { by: WokenBy::Timer, .. } => add(&self.woken_by_timer),
            Event::StoreRefused { .. } => add(&self.stores_refused),
            Event::NotStored { .. } => add(&self.not_stored),
            Event::Write { ok, kept, .. } => {
                add(&self.writes);
                if *kept {
                    add(&self.writes_kept);
                }
                if !ok {
                    add(&self.writes_failed);
                }
            }
            Event::WriteQueued { .. } => add(&self.writes_queued),
            Event::WriteTurnedAway { .. } => add(&self.writes_turned_away),
            Event::WritesFlushed { keys, writes, .. } => {
                let more = |counter: &AtomicU64, by: usize| {
                    counter.fetch_add(by as u64, Ordering::Relaxed);
                };
                more(&self.writes_flushed, *writes);
                more(&self.writes_coalesced, writes.saturating_sub(*keys));
            }
            Event::WriteRetried { .. } => add(&self.writes_retried),
            Event::WriteGivenUp { .. } => add(&self.writes_given_up),
            Event::Unreadable { .. } => add(&self.unreadable),
            Event::Guarded { .. } => add(&self.guarded),
            Event::FarSkipped { .. } => add(&self.far_skipped),
            Event::Connected { again: true } => add(&self.reconnects),
            Event::Connected { again: false } => {}
            Event::Disconnected { .. } => add(&self.disconnects),
            Event::Gap => add(&self.gaps),
            Event::BreakerOpened { again: false, .. } => add(&self.breaker_opened),
            Event::BreakerOpened { again: true, .. } | Event::BreakerHalfOpen => {}
            Event::BreakerClosed => add(&self.breaker_closed),
            Event::Unconfirmed { waiting } => {
                add(&self.unconfirmed);
                set(&self.unconfirmed_waiting, *waiting);
            }
            Event::Confirmed { waiting } => set(&self.unconfirmed_waiting, *waiting),
            Event::Lag { took } => {
                set(&self.lag_us, took.as_micros().min(u64::MAX.into()) as usize)
            }
        }
    }
}
