//! Which keys are likely to be nowhere: a guess that saves a round trip, never a promise.
//!
//! A key that was ended, or changed under our eyes, is asked for with READ at once, which can grant the lease, instead of
//! with a plain GET first. A fixed table of hashes: a collision costs one script where a GET would
//! have done.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;

const PLACES: usize = 4096;

pub(crate) struct Absent(Box<[AtomicU64]>);

impl Default for Absent {
    fn default() -> Absent {
        Absent((0..PLACES).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Absent {
    pub(crate) fn mark(&self, name: &[u8]) {
        let (place, hash) = self.place(name);
        place.store(hash, Ordering::Relaxed);
    }

    /// Was it marked? The guess is used up.
    pub(crate) fn take(&self, name: &[u8]) -> bool {
        let (place, hash) = self.place(name);
        place.compare_exchange(hash, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn place(&self, name: &[u8]) -> (&AtomicU64, u64) {
        let hash = FixedState::default().hash_one(name) | 1;
        // Bounded by the modulus.
        (&self.0[(hash >> 20) as usize % PLACES], hash)
    }
}
