//! What every far side must do, as tests; for those who test with larder's embedded side as well.

use std::sync::Arc;

use crate::clock::Clock;
use crate::far::memory::Shelf;

/// One embedded far side for several handles, as if each were a process on one Redis.
#[derive(Clone)]
pub struct SharedMemory {
    shelf: Arc<Shelf>,
    clock: Clock,
}

impl SharedMemory {
    /// Bounded by `bytes_max`; its time is `clock`'s.
    pub fn new(bytes_max: usize, clock: Clock) -> SharedMemory {
        SharedMemory { shelf: Shelf::new(bytes_max, clock.clone()), clock }
    }

    pub(crate) fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }
}
