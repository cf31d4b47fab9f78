//! Without far: the source is asked, and its answer kept nowhere.
//!
//! Near is not asked for what is fresh, since whoever comes here has been there; but what it has that is stale
//! stands in when the source fails, or has too much to do. Near is told of every end, or knows that it is not.

use std::sync::Arc;

use super::load::Ask;
use super::places::Taken;
use super::read_through::{OnHand, landed};
use super::{Call, Tiers};
use crate::coordination::flight::{Flight, Landed};
use crate::entry::Origin;
use crate::near::Looked;
use crate::observe::StoodIn;

impl Tiers {
    /// Without far: once there is a place, the source is asked. What near has that is stale stands in.
    pub(super) async fn fly_alone(
        &self,
        call: &Call,
        ask: Ask,
        place: Option<Taken>,
        flight: &Arc<Flight>,
        why: &str,
    ) -> Landed {
        self.skipped(why);
        let seat = ask.seat();
        let place = match place.or_else(|| self.place(seat.as_deref())) {
            Some(place) => place,
            None => {
                if let Some(landed) = self.stands_in_near(call, StoodIn::Crowded) {
                    return landed;
                }
                flight.signal.waits();
                let place = self.wait_for_place(call, seat.as_deref()).await;
                drop(flight.signal.listen()); // a change closes the doors again
                match place {
                    Ok(place) => place,
                    Err(error) => return landed(Err(error), || false),
                }
            }
        };
        flight.asks(self.clock.now(), None);
        let landed = self.fly_unkept(call, ask, Some(place)).await;
        match landed.answer {
            Ok(_) => landed,
            Err(_) => self.stands_in_near(call, StoodIn::Failed).unwrap_or(landed),
        }
    }

    /// The source is asked, and its answer kept nowhere.
    pub(super) async fn fly_unkept(&self, call: &Call, ask: Ask, place: Option<Taken>) -> Landed {
        let (before, near) = (self.before(&call.tags), self.near.clone());
        match self.load(call, ask, None, place, std::future::pending(), || {}).await {
            Ok(loaded) => {
                let learned = !loaded.tags.is_empty();
                let held = Arc::new(self.passing(call, loaded));
                let is_overtaken = move || before.is_overtaken(&near, learned);
                landed(Ok((held, Origin::Loaded)), is_overtaken)
            }
            Err(error) => landed(Err(error), || false),
        }
    }

    /// Where far cannot be asked: near is told of every end, or knows that it is not.
    fn stands_in_near(&self, call: &Call, why: StoodIn) -> Option<Landed> {
        match self.near.get(call.key.v(), &call.tags, self.clock.now()) {
            // What was expired waits for the source to fail; crowded is not failed.
            Looked::Stale(kept)
                if call.takes(&kept.held) && (why == StoodIn::Failed || !kept.held.in_need) =>
            {
                self.stood_in(why);
                Some(OnHand { kept, origin: Origin::Near }.landed())
            }
            _ => None,
        }
    }
}
