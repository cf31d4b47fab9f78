//! The read path, top to bottom.
//!
//! Near, without waiting. Then one flight of this process: far, and, when far has nothing, one lease
//! of the fleet. Whoever holds it asks the source and stores; the others wait until they are told.
//! Whenever far cannot be asked, the source is: a caller is never worse off than without a cache.

use std::sync::Arc;
use std::time::Duration;

use super::lookup::{Rechecked, Seen};
use super::store::Outcome;
use super::{Answer, Ask, Call, Tiers};
use crate::coordination::flight::{Flight, Landed, Signal};
use crate::coordination::lease::Lease;
use crate::entry::{Held, Origin, Token};
use crate::error::{Error, ErrorKind};
use crate::far::{Claim, TagState};
use crate::key::Tag;
use crate::near::{Looked, Watched};
use crate::observe::{Event, WokenBy};

/// How often a caller boards other people's flights before it goes alone.
const ROUNDS: usize = 4;
/// Then it asks for no lease either: all who came this far would wait for one another.
const OVERTAKEN: &str = "its loads were overtaken by changes, again and again";
/// How often far's answers are rejected before the source is asked without it.
const TRIES: usize = 8;
/// Waiters do not all wake at once when a lease runs out.
const SPREAD: Duration = Duration::from_millis(20);
/// Where far tells of no changes, waiters look again after this.
const POLL: Duration = Duration::from_millis(30);

/// What became of looking for an entry.
pub(super) enum Decision {
    /// It was found, and rests on these.
    Found(Arc<Held>, Origin, Vec<Watched>),
    /// It is for this call to load.
    Lead(Lease, Vec<Option<TagState>>, Vec<Watched>),
    /// Far cannot help: load, and keep it nowhere.
    Alone(String),
    /// The source failed a moment ago.
    Failed(Error),
}

impl Tiers {
    /// Near alone: no waiting, no network.
    pub(crate) fn near_hit(
        &self,
        name: &[u8],
        wanted: &[Tag],
        takes_none: bool,
    ) -> Option<Arc<Held>> {
        match self.near.get(name, wanted, self.clock.now()) {
            Looked::Fresh(held) if takes_none || held.value.is_some() => {
                self.observe.tell(Event::HitNear { cache: self.observe.cache() });
                Some(held)
            }
            _ => None,
        }
    }

    /// Near, far, or the source: for all who miss the same key at once, one load.
    pub(crate) async fn get_or_load(&self, call: &Call, ask: Ask) -> Result<Answer, Error> {
        let mut ask = Some(ask);
        for round in 0.. {
            if round > 0
                && let Some(held) = self.near_hit(call.key.v(), &call.tags, call.takes_none)
            {
                return Ok((held, Origin::Near));
            }
            let alone = round >= ROUNDS;
            let passenger = self.flights.board(&call.key, &call.tags, alone, |flight| {
                let (tiers, call, ask) = (self.clone(), call.clone(), ask.take());
                async move {
                    match ask {
                        Some(ask) if alone => tiers.fly_alone(&call, ask, &flight, OVERTAKEN).await,
                        Some(ask) => tiers.fly(&call, ask, &flight).await,
                        None => alone_without_loader(),
                    }
                }
            });
            let landing = passenger.lands().await;
            if !passenger.may_take(&landing) {
                continue;
            }
            match landing.answer {
                Ok((held, _)) if !passenger.led && !call.takes(&held) => {}
                answer => return answer,
            }
        }
        // Not reached: a caller that has gone alone has led.
        Err(Error::new(ErrorKind::Overloaded, "too many rounds").at(&call.key))
    }

    async fn fly(&self, call: &Call, ask: Ask, flight: &Arc<Flight>) -> Landed {
        match self.decide(call, &flight.signal, Some(flight)).await {
            // A tag of it may end while it is on its way: then it is for the one who led, and who asked
            // before that.
            Decision::Found(held, origin, watched) => {
                landed(Ok((held, origin)), move || watched.iter().any(Watched::has_ended))
            }
            Decision::Failed(error) => landed(Err(error), || false),
            Decision::Lead(lease, states, watched) => {
                self.lead(call, lease, &states, watched, ask, flight).await
            }
            Decision::Alone(why) => self.fly_alone(call, ask, flight, &why).await,
        }
    }

    /// Without far: the source is asked, and its answer kept nowhere.
    async fn fly_alone(&self, call: &Call, ask: Ask, flight: &Arc<Flight>, why: &str) -> Landed {
        self.skipped(why);
        flight.asks(self.clock.now(), None);
        let (before, near) = (self.before(&call.tags), self.near.clone());
        match self.load(call, ask, std::future::pending(), || {}).await {
            Ok(loaded) => {
                let learned = !loaded.tags.is_empty();
                let held = Arc::new(self.passing(call, loaded));
                let is_overtaken = move || before.is_overtaken(&near, learned);
                landed(Ok((held, Origin::Loaded)), is_overtaken)
            }
            Err(error) => landed(Err(error), || false),
        }
    }

    /// Looks near and far, waits for another's load, until there is an entry or a lease.
    pub(super) async fn decide(
        &self,
        call: &Call,
        signal: &Arc<Signal>,
        flight: Option<&Arc<Flight>>,
    ) -> Decision {
        let (mut seen, mut try_hit) = (None, true);
        let name = call.key.v();
        let mut recheck = None;
        match self.near.get(name, &call.tags, self.clock.now()) {
            Looked::Recheck(kept) => recheck = Some(kept),
            Looked::Expired => try_hit = false,
            _ => try_hit = !self.near.absent.take(name),
        }
        let patience = self.clock.now().plus(call.policy.max_load + self.leases.time);
        let mut tries = 0;
        loop {
            tries += 1;
            // Before any way out: a flight that goes on alone has asked, and a change closes its doors.
            let mut changes = signal.listen();
            let link = match self.far.link() {
                Ok(link) => link,
                Err(why) => return Decision::Alone(why.to_string()),
            };
            if tries > TRIES || self.clock.now() > patience {
                return Decision::Alone("far gives no usable answer".to_owned());
            }
            if let Some(flight) = flight {
                flight.asks(self.clock.now(), Some(link.pulse()));
            }
            if let Some(kept) = recheck.take() {
                match self.recheck(call, &link, &kept).await {
                    Ok(Rechecked::Stands(held, on)) if call.takes(&held) => {
                        self.observe.tell(Event::HitNear { cache: self.observe.cache() });
                        return Decision::Found(held, Origin::Near, on);
                    }
                    Ok(Rechecked::Ended(id)) => (seen, try_hit) = (id, id.is_none()),
                    Ok(Rechecked::Stands(..) | Rechecked::Gone) => {}
                    Err(why) => return Decision::Alone(why.to_string()),
                }
            }
            if try_hit {
                match self.get_far(call, &link).await {
                    Ok(Seen::Alive(held, on)) => return Decision::Found(held, Origin::Far, on),
                    Ok(Seen::Rejected(id)) => seen = id,
                    Err(why) => return Decision::Alone(why.to_string()),
                }
            }
            try_hit = false;
            let asked = self.asked(call);
            let lease = self.leases.ask(&call.key, link.clone(), asked.at);
            let read = link.read(&call.key, lease.token(), lease.time(), seen, &call.tags).await;
            let read = match read {
                Ok(read) => read,
                // Perhaps granted, and we shall never know: dropping the lease gives it back.
                Err(why) => return Decision::Alone(why.to_string()),
            };
            let generations: Vec<_> = read.tags.iter().map(|t| t.map(|t| t.generation)).collect();
            self.learn(&asked.watched, &generations);
            match read.claim {
                Claim::Granted => {
                    let lease = lease.granted(self.far.clone());
                    self.observe.tell(Event::Miss { cache: self.observe.cache() });
                    return Decision::Lead(lease, read.tags, asked.watched);
                }
                Claim::Value(bytes) => {
                    lease.not_granted();
                    match self.take(call, &link, asked, &bytes, &generations).await {
                        Ok(Seen::Alive(held, on)) => {
                            return Decision::Found(held, Origin::Far, on);
                        }
                        Ok(Seen::Rejected(id)) => seen = id,
                        Err(why) => return Decision::Alone(why.to_string()),
                    }
                }
                Claim::Held(left) => {
                    lease.not_granted();
                    tries = 0;
                    self.observe.tell(Event::Wait { cache: self.observe.cache() });
                    signal.waits();
                    let told = link.tells_changes();
                    let most = left.min(if told { call.policy.max_load } else { POLL });
                    let most = most + self.clock.up_to(SPREAD);
                    let woken = self.clock.within(most, changes.changed()).await;
                    let by = if woken.is_some() { WokenBy::Push } else { WokenBy::Timer };
                    self.observe.tell(Event::Woken { cache: self.observe.cache(), by });
                    // The other's answer is there now, if all went well.
                    try_hit = woken.is_some() || !told;
                }
                Claim::Failed(token, code) => {
                    lease.not_granted();
                    return Decision::Failed(self.failure(call, &token, &code));
                }
                Claim::Foreign => {
                    lease.not_granted();
                    return Decision::Alone("the lease's name holds something else".to_owned());
                }
            }
        }
    }

    fn failure(&self, call: &Call, token: &Token, code: &[u8]) -> Error {
        if self.leases.is_ours(token)
            && let Some(error) = self.failures.of(token)
        {
            return error;
        }
        let text = "the source failed a moment ago, in another process or an earlier load";
        Error::new(ErrorKind::from_code(code), text).at(&call.key)
    }

    /// Holds the lease: asks the source, stores, keeps.
    async fn lead(
        &self,
        call: &Call,
        lease: Lease,
        states: &[Option<TagState>],
        watched: Vec<Watched>,
        ask: Ask,
        flight: &Arc<Flight>,
    ) -> Landed {
        let need = call.need(call.policy.lifetime);
        let tags = self.ready(&call.tags, need, lease.link(), states, watched).await;
        let (before, near) = (self.before(&call.tags), self.near.clone());
        let began = self.clock.now();
        let renewal = lease.renewal(self.clock.clone());
        let lost = || self.flights.close_doors(&call.key, flight);
        let loaded = match self.load(call, ask, renewal, lost).await {
            Ok(loaded) => loaded,
            Err(error) => {
                self.failures.remember(lease.token(), &error);
                lease.fail(error.kind().code(), call.policy.backoff);
                return landed(Err(error), || false);
            }
        };
        match self.store(call, lease, tags, &loaded, began).await {
            Ok(Outcome::Stored(held, tags)) => {
                landed(Ok((held, Origin::Loaded)), move || tags.has_ended())
            }
            Ok(Outcome::Refused(held)) => landed(Ok((held, Origin::Loaded)), || true),
            Err(why) => {
                self.not_stored(why);
                let learned = !loaded.tags.is_empty();
                let held = Arc::new(self.passing(call, loaded));
                let is_overtaken = move || before.is_overtaken(&near, learned);
                let landed = landed(Ok((held, Origin::Loaded)), is_overtaken);
                Landed { unwatched_since: learned.then_some(began), ..landed }
            }
        }
    }
}

fn landed(
    answer: Result<Answer, Error>,
    is_overtaken: impl FnOnce() -> bool + Send + 'static,
) -> Landed {
    Landed { answer, is_overtaken: Box::new(is_overtaken), unwatched_since: None }
}

fn alone_without_loader() -> Landed {
    landed(Err(Error::new(ErrorKind::Overloaded, "a loader is asked at most once")), || false)
}
