//! Guesses that save work: which keys are likely to be nowhere, and which somebody is reading already.
//!
//! Both are fixed tables of hashes, so neither grows, and a collision costs a little work, never a wrong
//! answer.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;

const PLACES: usize = 4096;
const NOBODY: u64 = 0;

struct Places(Box<[AtomicU64]>);

impl Default for Places {
    fn default() -> Places {
        Places((0..PLACES).map(|_| AtomicU64::new(NOBODY)).collect())
    }
}

impl Places {
    fn of(&self, name: &[u8]) -> (&AtomicU64, u64) {
        let hash = FixedState::default().hash_one(name) | 1;
        // Bounded by the modulus.
        (&self.0[(hash >> 20) as usize % PLACES], hash)
    }
}

/// Keys that are likely to be nowhere.
///
/// A key that was ended, or changed under our eyes, is asked for with READ at once, which can grant the
/// lease, instead of with a plain read first.
#[derive(Default)]
pub(crate) struct Absent(Places);

impl Absent {
    pub(crate) fn mark(&self, name: &[u8]) {
        let (place, hash) = self.0.of(name);
        place.store(hash, Ordering::Relaxed);
    }

    pub(crate) fn is_marked(&self, name: &[u8]) -> bool {
        let (place, hash) = self.0.of(name);
        place.load(Ordering::Relaxed) == hash
    }

    /// Was it marked? The guess is used up.
    pub(crate) fn take(&self, name: &[u8]) -> bool {
        let (place, hash) = self.0.of(name);
        place.compare_exchange(hash, NOBODY, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Keys that somebody is reading from far: whoever comes second boards a flight, which a third can share,
/// so that a large value is not decoded once for each of a thousand callers.
#[derive(Default)]
pub(crate) struct Reading(Places);

/// A key's place among those that are read. Dropped, it is free.
pub(crate) struct Read<'a>(Option<&'a AtomicU64>);

impl Reading {
    /// `None`: somebody is reading it.
    pub(crate) fn begin(&self, name: &[u8]) -> Option<Read<'_>> {
        let (place, hash) = self.0.of(name);
        match place.compare_exchange(NOBODY, hash, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Some(Read(Some(place))),
            Err(other) if other == hash => None,
            // Another key's place: this one is read unseen.
            Err(_) => Some(Read(None)),
        }
    }
}

impl Drop for Read<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.store(NOBODY, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reads_a_key_and_the_next_may_when_it_is_done() {
        let reading = Reading::default();
        let first = reading.begin(b"k");
        assert!(first.is_some() && reading.begin(b"k").is_none());
        drop(first);
        assert!(reading.begin(b"k").is_some());
    }

    #[test]
    fn a_guess_is_good_once() {
        let absent = Absent::default();
        absent.mark(b"k");
        assert!(absent.is_marked(b"k") && absent.take(b"k"));
        assert!(!absent.take(b"k") && !absent.is_marked(b"k"));
    }
}
