//! What this process holds.
//!
//! Entries are kept as values: a hit decodes and copies nothing. An entry is served only while three
//! things hold: it is fresh by its own lifetime, the connection that answered it is covered by a
//! heartbeat ([`Pulse`]), and the generation of each of its tags is the one that was last read
//! ([`Generations`]).
//!
//! Two things that happen at once: an insert goes through only if no change has touched the key's
//! stripe since before the value was asked for ([`Epoch`]); the check and the insert are one step
//! under the stripe's lock, as are a change's bump and its removal. So whichever comes second wins,
//! and a value that was overtaken never gets in.
//!
//! Near never awaits, and never asks the network: it says that a tag must be read anew
//! ([`Looked::Recheck`]) and leaves that to the read path.

use std::cell::Cell;
use std::sync::Arc;

use foldhash::fast::FixedState;
use quick_cache::sync::Cache as Engine;
use quick_cache::{OptionsBuilder, Weighter, sync::DefaultLifecycle};

use crate::clock::{Clock, Moment};
use crate::entry::Token;
#[cfg(feature = "redis")]
use crate::key::slot::Slots;
use crate::key::{Key, Tag};

mod absent;
mod bypass;
mod coherence;
mod generations;
mod kept;

pub(crate) use bypass::Bypass;
pub(crate) use coherence::Epoch;
pub(crate) use generations::{Generations, Watched, Watches};
pub(crate) use kept::Kept;

use absent::{Absent, Reading};
use coherence::Stripes;
use kept::{Look, Slot};

/// What near has to say.
pub(crate) enum Looked {
    /// Serve it.
    Fresh(Arc<Kept>),
    /// Past its fresh time, and kept for need.
    Stale(Arc<Kept>),
    /// Serve it if its tags, read anew, are still of the same generation.
    Recheck(Arc<Kept>),
    /// It is past all its time: far will have it no longer either.
    Expired,
    /// Not here.
    Nothing,
}

/// As [`Looked`], while it is looked at.
enum Fate {
    Fresh,
    /// Fresh, and old enough that its reader may renew it.
    Due,
    Stale,
    Recheck,
    Expired,
    Nothing,
}

impl Fate {
    #[cold]
    fn of(self, kept: &Arc<Kept>) -> Looked {
        match self {
            Fate::Fresh | Fate::Due => Looked::Fresh(kept.clone()),
            Fate::Stale => Looked::Stale(kept.clone()),
            Fate::Recheck => Looked::Recheck(kept.clone()),
            Fate::Expired => Looked::Expired,
            Fate::Nothing => Looked::Nothing,
        }
    }
}

#[derive(Clone)]
struct ByWeight;

/// As many tags as there may be entries, and this many at the least, are watched for changes.
const CELLS_LEAST: usize = 1 << 16;
/// Bytes of bookkeeping that come with each entry, as counted over 50,000 of eight bytes each.
const OVERHEAD: u64 = 380;

impl Weighter<Slot, ()> for ByWeight {
    fn weight(&self, Slot { key, kept }: &Slot, (): &()) -> u64 {
        OVERHEAD + key.v().len() as u64 + kept.held.weight + 96 * kept.watched.len() as u64
    }
}

impl Looked {
    /// Of the envelope that is here, usable or not.
    pub(crate) fn id(&self) -> Option<Token> {
        match self {
            Looked::Fresh(kept) | Looked::Stale(kept) | Looked::Recheck(kept) => kept.held.id,
            Looked::Expired | Looked::Nothing => None,
        }
    }
}

/// The in-process store, bounded by weight.
pub(crate) struct Near {
    entries: Engine<Slot, (), ByWeight, FixedState>,
    stripes: Stripes,
    pub(crate) generations: Generations,
    pub(crate) bypass: Bypass,
    pub(crate) absent: Absent,
    /// Keys that somebody is reading from far.
    pub(crate) reading: Reading,
}

impl Near {
    pub(crate) fn new(bytes_max: u64, clock: &Clock) -> Near {
        let expected = usize::try_from(bytes_max / 512).unwrap_or(usize::MAX).clamp(16, 1 << 20);
        let entries = match OptionsBuilder::new()
            .estimated_items_capacity(expected)
            .weight_capacity(bytes_max)
            .build()
        {
            Ok(options) => {
                Engine::with_options(options, ByWeight, clock.hasher(), DefaultLifecycle::default())
            }
            // Both capacities are given above, which is all that `build` asks for.
            Err(_) => Engine::with(
                expected,
                bytes_max,
                ByWeight,
                clock.hasher(),
                DefaultLifecycle::default(),
            ),
        };
        Near {
            entries,
            stripes: Stripes::new(),
            generations: Generations::new(expected.max(CELLS_LEAST), clock),
            bypass: Bypass::default(),
            absent: Absent::default(),
            reading: Reading::default(),
        }
    }

    /// Looks without waiting. `tags` are those that this call asks for beyond the cache's own.
    pub(crate) fn get(&self, name: &[u8], tags: &[Tag], now: Moment) -> Looked {
        let seen = Cell::new(Looked::Nothing);
        self.see(name, &|kept| seen.set(self.judge(name, kept, tags, now).of(kept)));
        seen.into_inner()
    }

    /// As [`get`](Self::get), and the shortest way to what is fresh: `take` is shown it where it lies, and
    /// nothing else of it is copied, unless it takes nothing. What is due to be renewed it is not shown.
    #[inline(always)]
    pub(crate) fn take<T>(
        &self,
        name: &[u8],
        tags: &[Tag],
        now: Moment,
        take: impl Fn(&Kept) -> Option<T>,
    ) -> Result<T, Looked> {
        let (taken, seen) = (Cell::new(None), Cell::new(Looked::Nothing));
        self.see(name, &|kept| {
            let fate = self.judge(name, kept, tags, now);
            if let Fate::Fresh = fate
                && let Some(part) = take(kept)
            {
                taken.set(Some(part));
            } else {
                seen.set(fate.of(kept));
            }
        });
        taken.into_inner().ok_or_else(|| seen.into_inner())
    }

    /// What is here, whether it may be served or not.
    pub(crate) fn look_at(&self, name: &[u8]) -> Option<Arc<Kept>> {
        let seen = Cell::new(None);
        self.see(name, &|kept| seen.set(Some(kept.clone())));
        seen.into_inner()
    }

    fn see(&self, name: &[u8], see: &dyn Fn(&Arc<Kept>)) {
        self.entries.get(&Look { name, see });
    }

    #[inline]
    fn judge(&self, name: &[u8], kept: &Kept, tags: &[Tag], now: Moment) -> Fate {
        if !kept.pulse.covers(now) {
            return Fate::Nothing;
        }
        if !self.bypass.is_empty() && self.bypass.covers(name, &kept.held.tags) {
            return Fate::Nothing;
        }
        let plain = kept.is_plain(now);
        let fresh = plain || kept.held.is_fresh(now);
        if !fresh && !kept.held.is_kept(now) {
            return Fate::Expired;
        }
        if !tags.iter().all(|tag| kept.held.carries(tag)) {
            return Fate::Nothing;
        }
        if !kept.watched.iter().all(Watched::is_current) {
            return Fate::Recheck;
        }
        match (plain, fresh) {
            (true, _) => Fate::Fresh,
            (false, true) => Fate::Due,
            (false, false) => Fate::Stale,
        }
    }

    /// The state of the key's stripe: to be read before the value is asked for.
    pub(crate) fn epoch(&self, name: &[u8]) -> Epoch {
        self.stripes.of(name).epoch()
    }

    /// Keeps what far answered, unless a change came since `epoch`.
    pub(crate) fn keep(&self, key: &Key, kept: Arc<Kept>, epoch: Epoch) -> bool {
        self.stripes.of(key.v()).if_unchanged(epoch, || {
            self.insert(key, kept);
        })
    }

    /// Keeps what this process stored itself, unless a change came since `epoch`, which was read
    /// before the store was sent. A store is a change to everyone who asked before it.
    pub(crate) fn keep_own(&self, key: &Key, kept: Arc<Kept>, epoch: Epoch) -> bool {
        self.stripes.of(key.v()).if_unchanged_then_bump(epoch, || {
            self.insert(key, kept);
        })
    }

    fn insert(&self, key: &Key, kept: Arc<Kept>) {
        self.entries.insert(Slot { key: key.clone(), kept }, ());
    }

    /// The entry has changed: it goes, and nothing that was asked for before comes in.
    pub(crate) fn drop_key(&self, name: &[u8]) -> Option<Arc<Kept>> {
        let mut gone = None;
        self.stripes.of(name).bump(|| gone = self.entries.remove(name));
        gone.map(|(slot, ())| slot.kept)
    }

    /// News were lost: everything goes.
    pub(crate) fn drop_all(&self) {
        for stripe in self.stripes.all() {
            stripe.bump(|| {});
        }
        self.generations.empty_all();
        // Cleared after the bumps: what was inserted before its stripe's bump is cleared here, and
        // after it nothing that was asked for earlier comes in.
        self.entries.clear();
    }

    /// News were lost of what lies in these slots: it goes. So does what is known of all tags there, and
    /// nothing that was asked for before comes in.
    #[cfg(feature = "redis")]
    pub(crate) fn drop_slots(&self, slots: &Slots) {
        // Stripes know nothing of slots: what was asked for elsewhere must be asked for again, too.
        for stripe in self.stripes.all() {
            stripe.bump(|| {});
        }
        self.generations.empty_slots(slots);
        // After the bumps, as in `drop_all`.
        self.entries.retain(|Slot { key, .. }, ()| !slots.has(key.slot()));
    }

    /// Gives back the memory of what is past its time.
    pub(crate) fn sweep(&self, now: Moment) {
        self.entries
            .retain(|Slot { kept, .. }, ()| kept.pulse.is_alive() && kept.held.is_kept(now));
    }
}
