//! How long what one connection told us may be believed.
//!
//! Redis writes pushes before a later reply, so an answered heartbeat proves that every change made
//! before it was sent has been applied here. From its *send* time the proof holds for the bound B.
//! A process that was stopped, paused or cut off fences itself that way: its clock runs on.
//!
//! One [`Pulse`] for each connection, never used again for another: a late answer on a connection
//! that was given up can prove nothing about its successor. What several connections answered together (a
//! value, and its tags on another node of a cluster) is believed while each of theirs beats.

use std::sync::Arc;

use crate::clock::Moment;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The proof of one connection.
#[derive(Debug)]
pub(crate) struct Pulse {
    alive: AtomicBool,
    until: AtomicU64,
    /// Those of other connections that it needs as well.
    others: Box<[Arc<Pulse>]>,
}

impl Pulse {
    /// Of a connection that has proven nothing yet.
    pub(crate) fn new() -> Pulse {
        Pulse::up_to(Moment::NEVER)
    }

    /// Of one answer whose changes nobody will tell of.
    pub(crate) fn up_to(moment: Moment) -> Pulse {
        let until = AtomicU64::new(moment.to_bits());
        Pulse { alive: AtomicBool::new(true), until, others: Box::default() }
    }

    /// Of a far side in this process: its changes are applied before the call that made them ends.
    pub(crate) fn always() -> Pulse {
        Pulse::up_to(Moment::from_bits(u64::MAX))
    }

    /// Of all of them together; that of one alone is that one.
    pub(crate) fn all(pulses: impl IntoIterator<Item = Arc<Pulse>>) -> Arc<Pulse> {
        let mut each: Vec<Arc<Pulse>> = Vec::new();
        for pulse in pulses {
            // One that is put together already comes as its parts: it must not grow with each time.
            let parts = match pulse.others.is_empty() {
                true => std::slice::from_ref(&pulse),
                false => &pulse.others,
            };
            for part in parts {
                if !each.iter().any(|known| Arc::ptr_eq(known, part)) {
                    each.push(part.clone());
                }
            }
        }
        match each.as_slice() {
            [] => Arc::new(Pulse::new()),
            [one] => one.clone(),
            _ => Arc::new(Pulse { others: each.into(), ..Pulse::always() }),
        }
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
        self.alive.load(Ordering::Acquire) && self.others.iter().all(|other| other.is_alive())
    }

    /// May what this connection answered be served from near at `now`?
    #[inline]
    pub(crate) fn covers(&self, now: Moment) -> bool {
        self.alive.load(Ordering::Acquire)
            && now < self.until()
            && self.others.iter().all(|other| other.covers(now))
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

    #[test]
    fn what_several_answered_is_believed_while_each_of_them_beats() {
        let now = Clock::system().unwrap().now();
        let [one, two, three] = [(); 3].map(|()| Arc::new(Pulse::up_to(now.plus(SECOND))));
        assert!(Arc::ptr_eq(&Pulse::all([one.clone(), one.clone()]), &one));
        let both = Pulse::all([one.clone(), two.clone()]);
        let all = Pulse::all([both.clone(), three.clone(), both.clone()]);
        assert_eq!(all.others.len(), 3, "it does not grow with each time");
        two.proven_until(now.plus(2 * SECOND));
        assert!(all.covers(now) && both.covers(now));
        assert!(!both.covers(now.plus(SECOND)), "one of them is silent");
        three.end();
        assert!(!all.covers(now) && !all.is_alive());
        assert!(both.covers(now), "which asks nothing of the third");
    }
}
