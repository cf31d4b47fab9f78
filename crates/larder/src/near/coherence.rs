//! Striped epochs: may this insert happen?
//!
//! Keys share a fixed number of stripes. A change bumps its stripe; an insert is refused when its
//! stripe was bumped since before the value was asked for. Two keys in one stripe cost each other an
//! insert now and then, never a wrong answer.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, STRIPES};

/// The state of a stripe at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

#[derive(Default)]
pub(super) struct Stripe {
    epoch: AtomicU64,
    /// Makes "check the epoch and insert" one step, and "bump and remove" another.
    gate: Mutex<()>,
}

impl Stripe {
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    pub(super) fn bump(&self, remove: impl FnOnce()) {
        let _one_step = self.gate.lock();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        remove();
    }

    pub(super) fn if_unchanged(&self, since: Epoch, insert: impl FnOnce()) -> bool {
        let _one_step = self.gate.lock();
        let unchanged = self.epoch() == since;
        if unchanged {
            insert();
        }
        unchanged
    }

    pub(super) fn if_unchanged_then_bump(&self, since: Epoch, insert: impl FnOnce()) -> bool {
        let _one_step = self.gate.lock();
        let unchanged = self.epoch() == since;
        self.epoch.fetch_add(1, Ordering::AcqRel);
        if unchanged {
            insert();
        }
        unchanged
    }
}

pub(super) struct Stripes(Box<[Stripe]>);

impl Stripes {
    pub(super) fn new() -> Stripes {
        Stripes((0..STRIPES).map(|_| Stripe::default()).collect())
    }

    pub(super) fn of(&self, name: &[u8]) -> &Stripe {
        let hash = FixedState::default().hash_one(name);
        // Bounded by the modulus.
        &self.0[(hash as usize) % STRIPES]
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Stripe> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_between_asking_and_inserting_refuses_the_insert() {
        let stripes = Stripes::new();
        let stripe = stripes.of(b"todo:tasks:1:v:{.17}");
        let asked = stripe.epoch();
        assert!(stripe.if_unchanged(asked, || {}));
        stripe.bump(|| {});
        assert!(!stripe.if_unchanged(asked, || panic!("an overtaken value got in")));
    }

    #[test]
    fn an_own_store_is_a_change_to_those_who_asked_before() {
        let stripes = Stripes::new();
        let stripe = stripes.of(b"k");
        let asked = stripe.epoch();
        assert!(stripe.if_unchanged_then_bump(asked, || {}));
        assert!(!stripe.if_unchanged(asked, || panic!("an older read got in over the store")));
    }
}
