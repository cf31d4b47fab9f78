//! An entry in this process, and the look at it where it lies.
//!
//! The engine hands out clones of its values, and to clone an owner and to give it back are two locked
//! writes that a hit would wait for. What it compares on the way, its keys, it shows where they lie, under
//! its lock. So an entry is a part of its key ([`Slot`]), the engine's value is nothing, and a look
//! ([`Look`]) takes from the entry what it needs in the moment the names agree.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
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
    pub(super) fresh_until: Moment,
    /// Its tags' generations, each as it was when compared; in the order of `held.tags`.
    pub(crate) watched: SmallVec<[Watched; 1]>,
    value: Option<Value>,
    received: Moment,
    /// How old it was then, in nanoseconds.
    age: u64,
    pub(crate) held: Arc<Held>,
}

impl Kept {
    pub(crate) fn new(
        held: &Arc<Held>,
        pulse: Arc<Pulse>,
        watched: impl IntoIterator<Item = Watched>,
    ) -> Kept {
        let Held { fresh_until, received, age, .. } = **held;
        Kept {
            pulse,
            fresh_until,
            watched: watched.into_iter().collect(),
            value: held.value.clone(),
            received,
            age: nanos(age),
            held: held.clone(),
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
        self.fresh_until.since(now)
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
    use crate::clock::{Clock, SECOND};
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
            let now = self.clock.now();
            let held = Held {
                value: value.map(|value| Arc::new(value) as Value),
                tags: [Tagged { tag: self.tag.clone(), generation: [7; 16].into() }].into(),
                received: now,
                age: SECOND,
                fresh_until: now.plus(fresh_for),
                kept_until: now.plus(60 * SECOND),
                in_need: false,
                weight: 4,
                id: None,
            };
            let watched = [self.near.generations.watch(&self.tag)];
            let kept = Kept::new(&Arc::new(held), Arc::new(Pulse::always()), watched);
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
