//! An entry in this process, and the look at it where it lies.
//!
//! The engine hands out clones of its values, and to clone an owner and to give it back are two locked
//! writes that a hit would wait for. What it compares on the way, its keys, it shows where they lie, under
//! its lock. So an entry is a part of its key ([`Slot`]), the engine's value is nothing, and a look
//! ([`Look`]) takes from the entry what it needs in the moment the names agree.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::Equivalent;
use smallvec::SmallVec;

use super::Watched;
use crate::clock::{Moment, nanos};
use crate::entry::{Held, Value};
use crate::key::Key;
use crate::pulse::Pulse;

/// An entry in this process, with what it rests on.
///
/// What a hit looks at lies side by side, in two lines of memory, copied from `held`, which never changes.
#[repr(C)]
pub(crate) struct Kept {
    /// Of the connection that answered it.
    pub(crate) pulse: Arc<Pulse>,
    /// Up to here it is served without a thought: it is fresh, and too young to be renewed. In nanoseconds, and
    /// moved on by whoever begins to renew it, so that others do not.
    plain_until: AtomicU64,
    /// Its tags' generations, each as it was when compared; in the order of `held.tags`.
    pub(crate) watched: SmallVec<[Watched; 1]>,
    value: Option<Value>,
    received: Moment,
    /// How old it was then, in nanoseconds.
    age: u64,
    pub(crate) held: Arc<Held>,
    /// When a read of it was last noted, where that is done; in nanoseconds.
    noted: AtomicU64,
}

/// How often a read is noted at the most.
const NOTED: Duration = Duration::from_secs(1);

impl Kept {
    pub(crate) fn new(
        held: &Arc<Held>,
        pulse: Arc<Pulse>,
        watched: impl IntoIterator<Item = Watched>,
        plain_until: Moment,
    ) -> Kept {
        let Held { fresh_until, received, age, .. } = **held;
        Kept {
            pulse,
            plain_until: AtomicU64::new(plain_until.min(fresh_until).to_bits()),
            watched: watched.into_iter().collect(),
            value: held.value.clone(),
            received,
            age: nanos(age),
            held: held.clone(),
            noted: AtomicU64::new(0),
        }
    }

    /// Its value, and how old it is, in nanoseconds.
    #[inline]
    pub(crate) fn value<V: Send + Sync + 'static>(&self, now: Moment) -> Option<(Arc<V>, u64)> {
        let value = self.value.clone()?.downcast().ok()?;
        Some((value, self.age.saturating_add(now.nanos_since(self.received))))
    }

    /// How much longer it is fresh.
    pub(crate) fn fresh_for(&self, now: Moment) -> Duration {
        self.held.fresh_until.since(now)
    }

    /// Fresh, and too young to be renewed.
    #[inline]
    pub(crate) fn is_plain(&self, now: Moment) -> bool {
        now < Moment::from_bits(self.plain_until.load(Ordering::Relaxed))
    }

    /// True for the one who is to note that it was read: once in a while, so that readers do not write where others
    /// read.
    #[inline]
    pub(crate) fn is_noted(&self, now: Moment) -> bool {
        let then = self.noted.load(Ordering::Relaxed);
        if now.since(Moment::from_bits(then)) < NOTED {
            return false;
        }
        let (order, now) = (Ordering::Relaxed, now.to_bits());
        self.noted.compare_exchange(then, now, order, order).is_ok()
    }

    /// True for the one who is to renew it; to all others it is plain again for `rest`, while it is fresh.
    pub(crate) fn claims_renewal(&self, now: Moment, rest: Duration) -> bool {
        let until = now.plus(rest).min(self.held.fresh_until).to_bits();
        let then = self.plain_until.load(Ordering::Relaxed);
        then <= now.to_bits()
            && self
                .plain_until
                .compare_exchange(then, until, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

/// What the engine calls a key: equal to another by its name alone. One that is inserted under a name that
/// is there takes its place whole.
pub(super) struct Slot {
    pub(super) key: Key,
    pub(super) kept: Arc<Kept>,
}

impl PartialEq for Slot {
    fn eq(&self, other: &Slot) -> bool {
        self.key == other.key
    }
}

impl Eq for Slot {}

impl Hash for Slot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

// Sound because `Eq` and `Hash` above are those of the name, and `Key`'s are those of its bytes.
impl Borrow<[u8]> for Slot {
    fn borrow(&self) -> &[u8] {
        self.key.v()
    }
}

/// A name that is looked for, and what is done with the entry when it is found: under the engine's lock,
/// so nothing that waits, nor asks the engine.
pub(super) struct Look<'a> {
    pub(super) name: &'a [u8],
    pub(super) see: &'a dyn Fn(&Arc<Kept>),
}

impl Hash for Look<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Equivalent<Slot> for Look<'_> {
    #[inline]
    fn equivalent(&self, slot: &Slot) -> bool {
        let same = slot.key.v() == self.name;
        if same {
            (self.see)(&slot.kept);
        }
        same
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Looked, Near};
    use super::*;
    use crate::clock::{Clock, DAY, SECOND};
    use crate::entry::Tagged;
    use crate::key::Tag;

    struct Scene {
        clock: Clock,
        near: Near,
        key: Key,
        tag: Tag,
    }

    fn scene() -> Scene {
        let clock = Clock::system().unwrap();
        let near = Near::new(1 << 20, &clock);
        Scene { clock, near, key: Key::new(b"todo:tasks:1:v:{.17;}"), tag: Tag::new("lists") }
    }

    impl Scene {
        fn keep(&self, value: Option<u32>, fresh_for: Duration) {
            self.keep_plain(value, fresh_for, self.clock.now().plus(fresh_for));
        }

        fn keep_plain(&self, value: Option<u32>, fresh_for: Duration, plain_until: Moment) {
            let now = self.clock.now();
            let held = Held {
                value: value.map(|value| Arc::new(value) as Value),
                tags: [Tagged { tag: self.tag.clone(), generation: [7; 16].into() }].into(),
                received: now,
                age: SECOND,
                fresh_until: now.plus(fresh_for),
                cost: Duration::ZERO,
                kept_until: now.plus(60 * SECOND),
                in_need: false,
                weight: 4,
                id: None,
                print: None,
            };
            let watched = [self.near.generations.watch(&self.tag)];
            let (held, pulse) = (Arc::new(held), Arc::new(Pulse::always()));
            let kept = Kept::new(&held, pulse, watched, plain_until);
            assert!(self.near.keep(&self.key, Arc::new(kept), self.near.epoch(self.key.v())));
        }

        fn take(&self) -> Result<(u32, u64), Looked> {
            let now = self.clock.now();
            let take = |kept: &Kept| kept.value::<u32>(now).map(|(value, age)| (*value, age));
            self.near.take(self.key.v(), &[], now, take)
        }
    }

    /// The entry is a part of what the engine calls its key: were that left as it was when the same name
    /// comes again, the old value would be served on.
    #[test]
    fn an_entry_kept_again_is_the_one_that_is_seen_from_then_on() {
        let scene = scene();
        for value in [1, 2, 3] {
            scene.keep(Some(value), 30 * SECOND);
            let (seen, age) = scene.take().unwrap_or_else(|_| panic!("{value} is not near"));
            assert_eq!(seen, value);
            assert!(age >= nanos(SECOND), "its age began elsewhere");
        }
        let gone = scene.near.drop_key(scene.key.v());
        assert!(gone.is_some_and(|kept| kept.value::<u32>(scene.clock.now()).is_some()));
        assert!(matches!(scene.take(), Err(Looked::Nothing)));
    }

    #[test]
    fn what_is_due_is_left_to_one_reader_and_plain_to_the_others() {
        let scene = scene();
        let now = scene.clock.now();
        scene.keep_plain(Some(1), 30 * SECOND, now);
        let Err(Looked::Fresh(due)) = scene.take() else { panic!("taken without a thought") };
        assert!(due.claims_renewal(scene.clock.now(), 10 * SECOND));
        assert!(!due.claims_renewal(scene.clock.now(), 10 * SECOND));
        assert!(scene.take().is_ok(), "plain again");
        assert!(!due.is_plain(now.plus(20 * SECOND)), "for a while");
        assert!(due.claims_renewal(now.plus(20 * SECOND), DAY));
        assert!(!due.is_plain(now.plus(31 * SECOND)), "and never past its time");
    }

    #[test]
    fn nothing_is_taken_from_what_may_not_be_served() {
        let scene = scene();
        scene.keep(None, 30 * SECOND);
        assert!(matches!(scene.take(), Err(Looked::Fresh(_))), "remembered: there is none");
        scene.keep(Some(1), Duration::ZERO);
        assert!(matches!(scene.take(), Err(Looked::Stale(_))));
        scene.keep(Some(1), 30 * SECOND);
        scene.near.generations.empty(&scene.tag);
        assert!(matches!(scene.take(), Err(Looked::Recheck(_))));
    }
}
