//! What a change elsewhere does here.
//!
//! Called inline by the connection's driver, in wire order, never by a task or over a channel: a
//! reply that is seen later must find the change applied. So it is quick, and calls nobody back.

use std::sync::Arc;

use crate::clock::Clock;
use crate::coordination::flight::Flights;
use crate::far::{Change, Changes};
use crate::key::{Named, parse};
use crate::near::Near;

use super::replay::Replay;

/// The listener to give to far.
pub(crate) fn listener(
    near: Arc<Near>,
    flights: Arc<Flights>,
    replay: Arc<Replay>,
    clock: Clock,
) -> Changes {
    Arc::new(move |change| match change {
        Change::Lost => replay.lost(clock.now()),
        Change::Another => replay.falls_due(),
        Change::Gap => {
            near.drop_all();
            flights.all_changed();
        }
        #[cfg(feature = "redis")]
        Change::Slots(slots) => {
            near.drop_slots(slots);
            flights.slots_changed(slots);
        }
        Change::Name(name) => match parse(name) {
            Named::Value(name) => {
                // Ended or run out, most of the time. What was stale here has more likely been refreshed.
                let gone = near.drop_key(name);
                if gone.is_none_or(|kept| kept.held.is_fresh(clock.now())) {
                    near.absent.mark(name);
                }
                flights.changed(name);
            }
            Named::Lease(name) => flights.changed(&name),
            Named::Tag(tag) => near.generations.empty(&tag),
            Named::Other => {}
        },
    })
}
