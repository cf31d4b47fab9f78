//! The same road for those who load themselves: cache-aside, fenced.

use super::lookup::Seen;
use super::read_through::{Decision, Hit, Known, Lead, Looking};
use super::store::Outcome;
use super::tags::Tags;
use super::{Answer, Call, Owned, Tiers};
use crate::clock::Moment;
use crate::coordination::lease::Lease;
use crate::entry::{Origin, Value};
use crate::error::Error;
use crate::observe::Event;
use crate::source::Loaded;

/// What asking for a lease gave.
pub(crate) enum Leased {
    Found(Answer),
    /// Load, then store under it.
    Held(Box<HandLease>),
}

/// The right to store one value, or the news that nothing can be stored now.
pub(crate) struct HandLease {
    tiers: Tiers,
    call: Call,
    began: Moment,
    right: Option<(Lease, Option<Tags>, Owned<()>)>,
}

impl Tiers {
    /// Near, then far; never the source.
    pub(crate) async fn get(&self, call: &Call) -> Option<Answer> {
        if let Hit::Fresh(answer) = self.hit_near(call) {
            return Some(answer);
        }
        let why = match self.far.link() {
            Err(why) => why,
            Ok(link) => match self.get_far(call, &link, self.clock.now()).await {
                Ok(Seen::Alive(kept)) => {
                    self.observe.tell(Event::HitFar { cache: self.observe.cache() });
                    return Some((kept.held.clone(), Origin::Far));
                }
                Ok(Seen::Stale(..) | Seen::Rejected(_)) => {
                    self.observe.tell(Event::Miss { cache: self.observe.cache() });
                    return None;
                }
                Err(why) => why,
            },
        };
        self.skipped(&why.to_string());
        None
    }

    /// An entry, or the right to load it; waits while another loads.
    pub(crate) async fn lease(&self, call: Call) -> Result<Leased, Error> {
        if let Hit::Fresh(answer) = self.hit_near(&call) {
            return Ok(Leased::Found(answer));
        }
        let watching = self.flights.watch(&call.key);
        let looking = Looking { signal: &watching.signal, flight: None, seat: None, by_hand: true };
        let right = match self.decide(&call, looking, Known::Nothing).await {
            Decision::Found(found) | Decision::Stale(found) => {
                return Ok(Leased::Found(found.answer()));
            }
            Decision::Failed(error) => return Err(error),
            Decision::Alone(why) => {
                self.skipped(&why);
                None
            }
            Decision::Lead(lead) => {
                let Lead { lease, states, watched, stale: _ } = *lead;
                let need = call.need(call.policy.lifetime);
                let tags = self.ready(&call.tags, need, lease.link(), &states, watched).await;
                let renewal = lease.renewal(self.clock.clone());
                let (clock, most) = (self.clock.clone(), call.policy.max_load);
                let renewing = self.runtime.spawn(async move {
                    // Lost or out of time: the store will be refused, and says so.
                    let _ = clock.within(most, renewal).await;
                });
                Some((lease, tags, Owned(renewing)))
            }
        };
        Ok(Leased::Held(Box::new(HandLease {
            tiers: self.clone(),
            began: self.clock.now(),
            call,
            right,
        })))
    }
}

impl HandLease {
    /// True when the value was stored, and is alive.
    pub(crate) async fn store(self, loaded: Loaded<Option<Value>>) -> bool {
        let HandLease { tiers, call, began, right } = self;
        let Some((lease, tags, renewing)) = right else {
            return false;
        };
        // Renewed until the store's answer is there.
        let outcome = tiers.store(&call, lease, tags, &loaded, began).await;
        drop(renewing);
        match outcome {
            Ok(Outcome::Stored(_, tags)) => !tags.has_ended(),
            Ok(Outcome::Refused(_)) => false,
            Err(why) => {
                tiers.not_stored(why);
                false
            }
        }
    }
}
