//! The same road for those who load themselves: cache-aside, fenced.

use super::lookup::{Asking, Seen, TagsRead};
use super::read_through::{Decision, Known, Lead, Looking};
use super::store::Outcome;
use super::tags::Tags;
use super::{Answer, Call, Owned, Tiers};
use crate::clock::Moment;
use crate::coordination::lease::Lease;
use crate::entry::{Origin, Value};
use crate::error::Error;
use crate::far::Claim;
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
    right: Option<Right>,
}

/// A lease, and what goes with it.
struct Right {
    lease: Lease,
    /// Of what will be stored.
    tags: Option<Tags>,
    /// An entry was there when it was granted.
    replaces: bool,
    _renewing: Owned<()>,
}

/// How often an entry that cannot be used is looked past before the lease is left to others.
const LOOKS: usize = 3;

impl Tiers {
    /// Near, then far; never the source.
    pub(crate) async fn get(&self, call: &Call) -> Option<Answer> {
        if let Some(answer) = self.hit_near(call).fresh() {
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
                    match self.pending_of(&[call], &link).await.map(|mut found| found.pop()) {
                        Ok(Some(Some(answer))) => return Some(answer),
                        Ok(_) => {
                            self.observe.tell(Event::Miss { cache: self.observe.cache() });
                            return None;
                        }
                        Err(why) => why,
                    }
                }
                Err(why) => why,
            },
        };
        self.skipped(&why.to_string());
        None
    }

    /// An entry, or the right to load it; waits while another loads.
    pub(crate) async fn lease(&self, call: Call) -> Result<Leased, Error> {
        if let Some(answer) = self.hit_near(&call).fresh() {
            return Ok(Leased::Found(answer));
        }
        let watching = self.flights.watch(&call.key);
        let looking = Looking { signal: &watching.signal, flight: None, seat: None, by_hand: true };
        let right = match self.decide(&call, looking, Known::Nothing, &mut None).await {
            Decision::Found(found) | Decision::Stale(found) => {
                return Ok(Leased::Found(found.answer()));
            }
            Decision::Failed(error) => return Err(error),
            Decision::Alone(why) => {
                self.skipped(&why);
                None
            }
            Decision::Guarded => None,
            Decision::Lead(lead) => Some(self.right(&call, *lead).await),
        };
        Ok(Leased::Held(self.hand(call, right)))
    }

    /// The same without waiting. `None`: another has the lease, or far cannot be asked for it.
    pub(crate) async fn try_lease(&self, call: Call) -> Option<Leased> {
        if let Some(answer) = self.hit_near(&call).fresh() {
            return Some(Leased::Found(answer));
        }
        let mut seen = self.near.get(call.key.v(), &call.tags, self.clock.now()).id();
        for _ in 0..LOOKS {
            let link = self.far.link().ok()?;
            let Asking { asked, lease, read, generations } =
                self.ask_for_lease(&call, &link, seen).await.ok()?;
            match read.claim {
                Claim::Granted => {
                    let lease = lease.granted(self.far.clone(), read.by);
                    let (states, watched) = (read.tags, asked.watched);
                    let replaces = read.is_there;
                    let lead = Lead { lease, states, watched, replaces, stale: None, old: None };
                    let right = self.right(&call, lead).await;
                    return Some(Leased::Held(self.hand(call, Some(right))));
                }
                Claim::Value(answered) => {
                    lease.not_granted();
                    let now = self.clock.now();
                    let tags = TagsRead { generations: &generations, in_order: read.in_order };
                    match self.take(&call, &link, asked, &answered, tags, now).await.ok()? {
                        Seen::Alive(kept) => {
                            return Some(Leased::Found((kept.held.clone(), Origin::Far)));
                        }
                        Seen::Stale(kept) => seen = kept.held.id,
                        Seen::Rejected(id) => seen = id,
                    }
                }
                Claim::Pending(envelope) => {
                    lease.not_granted();
                    let kept = self.pending(&call, &link, envelope)?;
                    let good = call.takes(&kept.held);
                    return good.then(|| Leased::Found((kept.held.clone(), Origin::Far)));
                }
                _ => {
                    lease.not_granted();
                    return None;
                }
            }
        }
        None
    }

    /// Makes the tags ready, and has the lease renewed.
    async fn right(&self, call: &Call, lead: Lead) -> Right {
        let Lead { lease, states, watched, replaces, stale: _, old: _ } = lead;
        let need = call.need(call.policy.lifetime);
        let tags = self.ready(&call.tags, need, lease.link(), &states, watched).await;
        let renewal = lease.renewal(self.clock.clone());
        let (clock, most) = (self.clock.clone(), call.policy.max_load);
        let renewing = self.runtime.spawn(async move {
            // Lost or out of time: the store will be refused, and says so.
            let _ = clock.within(most, renewal).await;
        });
        Right { lease, tags, replaces, _renewing: Owned(renewing) }
    }

    fn hand(&self, call: Call, right: Option<Right>) -> Box<HandLease> {
        Box::new(HandLease { tiers: self.clone(), began: self.clock.now(), call, right })
    }
}

impl HandLease {
    /// Whether far has granted it, and all is ready.
    pub(crate) fn is_held(&self) -> bool {
        self.right.as_ref().is_some_and(|right| right.tags.is_some())
    }

    pub(crate) fn replaces(&self) -> bool {
        self.right.as_ref().is_some_and(|right| right.replaces)
    }

    /// True when the value was stored, and is alive.
    pub(crate) async fn store(self, loaded: Loaded<Option<Value>>) -> bool {
        let HandLease { tiers, call, began, right } = self;
        let Some(Right { lease, tags, replaces: _, _renewing: renewing }) = right else {
            return false;
        };
        // Renewed until the store's answer is there.
        let outcome = tiers.store(&call, lease, tags, &loaded, None, began).await;
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
