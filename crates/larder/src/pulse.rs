//! How long what one connection told us may be believed.
//!
//! Redis writes pushes before a later reply, so an answered heartbeat proves that every change made
//! before it was sent has been applied here. From its *send* time the proof holds for the bound B.
//! A process that was stopped, paused or cut off fences itself that way: its clock runs on.
//!
//! One [`Pulse`] for each connection, never used again for another: a late answer on a connection
//! that was given up can prove nothing about its successor.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clock::Moment;

/// The proof of one connection.
#[derive(Debug)]
pub(crate) struct Pulse {
    alive: AtomicBool,
    until: AtomicU64,
}

impl Pulse {
    /// Of a connection that has proven nothing yet.
    pub(crate) fn new() -> Pulse {
        Pulse { alive: AtomicBool::new(true), until: AtomicU64::new(Moment::NEVER.to_bits()) }
    }

    /// Of one answer whose changes nobody will tell of.
    pub(crate) fn up_to(moment: Moment) -> Pulse {
        Pulse { alive: AtomicBool::new(true), until: AtomicU64::new(moment.to_bits()) }
    }

    /// Of a far side in this process: its changes are applied before the call that made them ends.
    pub(crate) fn always() -> Pulse {
        Pulse { alive: AtomicBool::new(true), until: AtomicU64::new(u64::MAX) }
    }

    /// A heartbeat was answered. Only the connection's own supervisor calls this.
    pub(crate) fn proven_until(&self, until: Moment) {
        self.until.store(until.to_bits(), Ordering::Release);
    }

    /// How far the proof reaches, if it was not ended.
    pub(crate) fn until(&self) -> Moment {
        Moment::from_bits(self.until.load(Ordering::Acquire))
    }

    /// The connection is given up, for good.
    pub(crate) fn end(&self) {
        self.alive.store(false, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// May what this connection answered be served from near at `now`?
    #[inline]
    pub(crate) fn covers(&self, now: Moment) -> bool {
        self.is_alive() && now < self.until()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SECOND};

    #[test]
    fn a_pulse_covers_up_to_its_bound_and_never_again_once_ended() {
        let now = Clock::system().unwrap().now();
        let pulse = Pulse::new();
        assert!(!pulse.covers(now), "nothing is proven before the first heartbeat");
        pulse.proven_until(now.plus(SECOND));
        assert!(pulse.covers(now));
        assert!(!pulse.covers(now.plus(SECOND)));
        pulse.end();
        pulse.proven_until(now.plus(SECOND)); // a late answer
        assert!(!pulse.covers(now), "a connection that was given up proves nothing");
    }
}
