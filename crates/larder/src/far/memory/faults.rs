//! What may happen to a server, done to a shelf: for simulations.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Shelf, State};
use crate::clock::Moment;
use crate::entry::Incarnation;
use crate::far::Change;

/// Sees every write: the name, the bytes, and how long they are kept.
pub(crate) type Tap = Arc<dyn Fn(&[u8], &[u8], Duration) + Send + Sync>;

/// What is done to one shelf.
#[derive(Default)]
pub(super) struct Faults {
    /// How far the server's clock is ahead of ours, in milliseconds.
    ahead_ms: AtomicI64,
    tap: Mutex<Option<Tap>>,
    snapshot: Mutex<Option<State>>,
}

impl Faults {
    pub(super) fn now(&self, now: Moment) -> Moment {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        Moment::from_bits(now.to_bits().saturating_add_signed(ahead_ms.saturating_mul(1_000_000)))
    }

    pub(super) fn written(&self, name: &[u8], bytes: &[u8], keep: Duration) {
        if let Some(tap) = &*self.tap.lock() {
            tap(name, bytes, keep);
        }
    }
}

impl Shelf {
    /// Who answers.
    pub(crate) fn answers_by(&self) -> Incarnation {
        self.by.load(Ordering::Acquire)
    }

    /// The server's clock, in milliseconds.
    pub(crate) fn server_ms(&self) -> u64 {
        self.now().ms()
    }

    /// What has run out goes, and all are told. (A command that comes upon it tells all but its own
    /// connection, as Redis does of the key that the command names.)
    pub(crate) fn expire(&self) {
        self.step(None, |_| ());
    }

    /// Its clock was set: what is kept ends by the new one.
    pub(crate) fn jump(&self, by_ms: i64) {
        self.faults.ahead_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    pub(crate) fn tap(&self, tap: Tap) {
        *self.faults.tap.lock() = Some(tap);
    }

    /// Everything is forgotten, and nobody told: the server began anew.
    pub(crate) fn restart(&self) {
        *self.state.lock() = State::new(&self.clock);
        self.another_answers();
    }

    /// What it holds now is what it will hold after [`fall_back`](Self::fall_back).
    pub(crate) fn keep_snapshot(&self) {
        *self.faults.snapshot.lock() = Some(self.state.lock().clone());
    }

    /// Another takes over, or it began anew, and knows what there was when the last snapshot was kept.
    pub(crate) fn fall_back(&self) {
        let then = self.faults.snapshot.lock().clone();
        *self.state.lock() = then.unwrap_or_else(|| State::new(&self.clock));
        self.another_answers();
    }

    fn another_answers(&self) {
        let mut by = [0; 8];
        by.copy_from_slice(&self.clock.nonce()[..8]);
        self.answers_as(u64::from_le_bytes(by));
    }

    /// Everything is forgotten, and everybody told so.
    pub(crate) fn flush(&self) {
        let mut state = self.state.lock();
        *state = State::new(&self.clock);
        self.listeners.lock().iter().for_each(|(_, listener)| listener(Change::Gap));
    }

    /// One name is forgotten, as when memory is short: the one at `at`, in the order of their writing.
    pub(crate) fn evict(&self, at: usize) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        let count = state.by_write.len().max(1);
        let name = state.by_write.values().nth(at % count)?.clone();
        state.remove(&name);
        self.tell(std::slice::from_ref(&name), None);
        Some(name.to_vec())
    }

    /// All that is there, and how much longer.
    pub(crate) fn names(&self) -> Vec<(Vec<u8>, Duration)> {
        let now = self.now();
        let state = self.state.lock();
        let there = state.by_end.iter().filter(|(ends, _)| *ends > now);
        there.map(|(ends, name)| (name.to_vec(), ends.since(now))).collect()
    }
}
