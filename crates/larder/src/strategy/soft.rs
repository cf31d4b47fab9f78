//! Callers that do not wait for a slow source to the end.
//!
//! At its soft deadline a caller looks for a stale entry, and takes it. Its seat on the flight is kept for it in
//! the background, one for all callers of the flight, so that the load goes on and is stored. Bounded: when too
//! many are kept, the caller is answered all the same, and the load ends with its last caller.

use super::lookup::Seen;
use super::{Answer, Call, Tiers};
use crate::clock::Moment;
use crate::coordination::flight::{Landing, Passenger};
use crate::entry::Origin;
use crate::near::Looked;
use crate::observe::{Event, StoodIn};

/// How a wait for a flight ended.
pub(super) enum Waited {
    Landed(Passenger, Landing),
    /// What is there was taken, and the flight goes on.
    Left(Answer),
}

impl Tiers {
    /// What the flight brings; or, at the soft deadline of a call that began at `began`, what is there.
    pub(super) async fn lands(&self, call: &Call, passenger: Passenger, began: Moment) -> Waited {
        if let Some(soft) = call.soft_deadline {
            let left = began.plus(soft).since(self.clock.now());
            let in_time = self.clock.within(left, passenger.lands()).await;
            if let Some(landing) = in_time {
                return Waited::Landed(passenger, landing);
            }
            tokio::select! {
                biased;
                landing = passenger.lands() => return Waited::Landed(passenger, landing),
                Some(answer) = self.there_is(call) => {
                    self.loads.refreshes.keep_seat(passenger);
                    return Waited::Left(answer);
                }
                else => {}
            }
        }
        let landing = passenger.lands().await;
        Waited::Landed(passenger, landing)
    }

    /// An entry that may be served now, stale or fresh: from near, or else read anew.
    async fn there_is(&self, call: &Call) -> Option<Answer> {
        if let Some(answer) = self.stale_near(call) {
            self.stood_in(StoodIn::Slow);
            return Some(answer);
        }
        let link = self.far.link().ok()?;
        match self.get_far(call, &link, self.clock.now()).await.ok()? {
            Seen::Stale(kept) if !kept.held.in_need => {
                self.stood_in(StoodIn::Slow);
                Some((kept.held.clone(), Origin::Far))
            }
            Seen::Alive(kept) => {
                self.observe.tell(Event::HitFar { cache: self.observe.cache() });
                Some((kept.held.clone(), Origin::Far))
            }
            // What was expired waits for the source to fail; slow is not failed.
            Seen::Stale(_) | Seen::Rejected(_) => None,
        }
    }

    /// What near has that is stale and that nobody has ended, as far as it was told.
    pub(super) fn stale_near(&self, call: &Call) -> Option<Answer> {
        match self.near.get(call.key.v(), &call.tags, self.clock.now()) {
            Looked::Stale(kept) if call.takes(&kept.held) && !kept.held.in_need => {
                Some((kept.held.clone(), Origin::Near))
            }
            _ => None,
        }
    }
}
