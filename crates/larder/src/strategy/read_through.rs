//! The read path, top to bottom.
//!
//! Near, without waiting. Then far, asked by the caller itself: a hit needs no more. Then one flight of
//! this process, and one lease of the fleet: whoever holds it asks the source and stores; the others
//! wait until they are told. A stale entry is served on the way, or kept in hand for a source that
//! fails ([`Stale`](crate::policy::Stale)). Whenever far cannot be asked, the source is: a caller is
//! never worse off than without a cache.

use std::sync::Arc;
use std::time::Duration;

use super::load::Ask;
use super::lookup::{Asking, Rechecked, Seen, TagsRead};
use super::places::Taken;
use super::soft::Waited;
use super::store::Outcome;
use super::together::Seat;
use super::{Answer, Call, Tiers};
use crate::clock::Moment;
use crate::coordination::flight::{Flight, Landed, Signal};
use crate::coordination::lease::Lease;
use crate::entry::{Held, Origin, Standing, Token};
use crate::error::{Error, ErrorKind};
use crate::far::{Claim, Link, TagState};
use crate::key::Tag;
use crate::near::{Kept, Looked, Watched, Watches};
use crate::observe::{Event, StoodIn, WokenBy};

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

/// An entry with the tags it rests on, and where it was found.
pub(super) struct OnHand {
    pub(super) kept: Arc<Kept>,
    pub(super) origin: Origin,
}

impl OnHand {
    pub(super) fn answer(&self) -> Answer {
        (self.kept.held.clone(), self.origin)
    }

    fn held(&self) -> &Held {
        &self.kept.held
    }

    /// Whether none of its tags, read anew, has ended for good since it was stored. That its key was not ended is for the
    /// caller to know. One round trip, when the source has failed.
    async fn stands(&self, link: &Arc<dyn Link>) -> bool {
        let read = link.generations(&self.held().tag_names()).await;
        read.is_ok_and(|read| self.held().standing(&read) != Standing::Ended)
    }

    // A tag of it may end while it is on its way: then it is for the one who led, and who asked before
    // that.
    pub(super) fn landed(self) -> Landed {
        landed(Ok(self.answer()), move || self.kept.watched.iter().any(Watched::has_ended))
    }
}

/// What a caller learned before it boarded.
#[derive(Default)]
pub(super) enum Known {
    /// Nothing.
    #[default]
    Nothing,
    /// Far has nothing that may be served, or only what is named here.
    Missed(Option<Token>),
    /// Far cannot be asked.
    Away(String),
}

/// What near has.
pub(crate) enum NearHit {
    Fresh,
    /// Fresh, and old enough that its reader may renew it.
    Due(Arc<Kept>),
    /// To be served if the cache serves what is stale, and to be refreshed.
    Stale(Arc<Kept>),
    /// Something that may not be served as it is.
    Unsure,
    Nothing,
}

/// What looking at near, or at far, gave a caller that is in no flight.
pub(super) enum Hit {
    Fresh(Answer),
    /// Fresh, and drawn: to be served, and to be renewed.
    Due(OnHand),
    /// To be served, and to be refreshed.
    Stale(Answer),
    /// With what a flight should know.
    Missed(Known),
}

impl Hit {
    /// What is fresh, for those who have no loader.
    pub(super) fn fresh(self) -> Option<Answer> {
        match self {
            Hit::Fresh(answer) => Some(answer),
            Hit::Due(found) => Some(found.answer()),
            Hit::Stale(_) | Hit::Missed(_) => None,
        }
    }
}

/// A load that is for this call to make.
pub(super) struct Lead {
    pub(super) lease: Lease,
    pub(super) states: Vec<Option<TagState>>,
    pub(super) watched: Watches,
    /// What was looked past is still there: nothing has ended it.
    pub(super) replaces: bool,
    /// Stands in if the load fails.
    pub(super) stale: Option<OnHand>,
    /// What is to be replaced, for a source that wants to see it: still there, whether it may stand in or not.
    pub(super) old: Option<Arc<Held>>,
}

/// What became of looking for an entry.
pub(super) enum Decision {
    /// It was found.
    Found(OnHand),
    /// A stale one was found, and whoever asked for it at once is to refresh it.
    Stale(OnHand),
    Lead(Box<Lead>),
    /// Far cannot help: load, and keep it nowhere.
    Alone(String),
    /// A writer is about to change it: load, and keep it nowhere.
    Guarded,
    /// The source failed a moment ago.
    Failed(Error),
}

/// Who looks.
#[derive(Clone, Copy)]
pub(super) struct Looking<'a> {
    pub(super) signal: &'a Arc<Signal>,
    pub(super) flight: Option<&'a Arc<Flight>>,
    /// A place at a load of many keys, to be told when this one waits for another process.
    pub(super) seat: Option<&'a Seat>,
    /// Wants the lease even where a stale entry would do, and takes that if another has it.
    pub(super) by_hand: bool,
}

impl Tiers {
    /// Near alone: no waiting, no network, and for what is fresh no allocation, nor any copy but what
    /// `take` makes. Where it takes nothing, [`NearHit::Fresh`] says so.
    #[inline(always)]
    pub(crate) fn near_take<T>(
        &self,
        name: &[u8],
        wanted: &[Tag],
        takes_none: bool,
        now: Moment,
        take: impl Fn(&Kept) -> Option<T>,
    ) -> Result<T, NearHit> {
        match self.near.take(name, wanted, now, take) {
            Ok(taken) => {
                self.observe.hit_near();
                Ok(taken)
            }
            Err(looked) => Err(self.near_hit(looked, takes_none, now)),
        }
    }

    fn near_hit(&self, looked: Looked, takes_none: bool, now: Moment) -> NearHit {
        match looked {
            Looked::Fresh(kept) if kept.held.value.is_some() && !kept.is_plain(now) => {
                NearHit::Due(kept)
            }
            Looked::Fresh(kept) if takes_none || kept.held.value.is_some() => {
                self.observe.hit_near();
                NearHit::Fresh
            }
            Looked::Stale(kept) if takes_none || kept.held.value.is_some() => NearHit::Stale(kept),
            Looked::Nothing => NearHit::Nothing,
            _ => NearHit::Unsure,
        }
    }

    /// The same, for one call whatever its types.
    pub(super) fn hit_near(&self, call: &Call) -> Hit {
        let now = self.clock.now();
        match self.near.get(call.key.v(), &call.tags, now) {
            Looked::Fresh(kept) if call.takes(&kept.held) => {
                self.observe.hit_near();
                self.hit_fresh(call, OnHand { kept, origin: Origin::Near }, now)
            }
            Looked::Stale(kept) if call.takes(&kept.held) && call.serves_at_once(&kept.held) => {
                Hit::Stale((kept.held.clone(), Origin::Near))
            }
            _ => Hit::Missed(Known::Nothing),
        }
    }

    /// What far's answer is to a caller that is in no flight.
    pub(super) fn hit_of(&self, call: &Call, seen: Seen) -> Hit {
        match seen {
            Seen::Alive(kept) => {
                self.observe.tell(Event::HitFar { cache: self.observe.cache() });
                self.hit_fresh(call, OnHand { kept, origin: Origin::Far }, self.clock.now())
            }
            Seen::Stale(kept) if call.serves_at_once(&kept.held) => {
                Hit::Stale((kept.held.clone(), Origin::Far))
            }
            // Near has it now, for the flight to find.
            Seen::Stale(_) => Hit::Missed(Known::Nothing),
            Seen::Rejected(id) => Hit::Missed(Known::Missed(id)),
        }
    }

    fn hit_fresh(&self, call: &Call, found: OnHand, now: Moment) -> Hit {
        match self.is_drawn(&call.policy, &found.kept, now) {
            true => Hit::Due(found),
            false => Hit::Fresh(found.answer()),
        }
    }

    /// Near, far, or the source: for all who miss the same key at once, one load.
    /// `near` is what near had of it a moment ago, at `now`.
    pub(crate) async fn get_or_load(
        &self,
        call: &Call,
        near: NearHit,
        now: Moment,
        ask: Ask,
    ) -> Result<Answer, Error> {
        let hit = match near {
            NearHit::Due(kept) => {
                self.observe.hit_near();
                Hit::Due(OnHand { kept, origin: Origin::Near })
            }
            NearHit::Stale(kept) if call.serves_at_once(&kept.held) => {
                Hit::Stale((kept.held.clone(), Origin::Near))
            }
            NearHit::Nothing => self.hit_far(call, now).await,
            _ => Hit::Missed(Known::Nothing),
        };
        match hit {
            Hit::Fresh(answer) => Ok(answer),
            Hit::Due(found) => Ok(self.serve_due(call, &found.kept, found.origin, ask)),
            Hit::Stale(answer) => Ok(self.serve_stale(call, answer, ask)),
            Hit::Missed(known) => self.load_together(call, ask, known).await,
        }
    }

    /// What is stale, at once; and a load behind the caller's back.
    pub(super) fn serve_stale(&self, call: &Call, answer: Answer, ask: Ask) -> Answer {
        self.observe.tell(Event::HitStale { cache: self.observe.cache() });
        self.refresh(call, ask, &answer.0);
        answer
    }

    /// Far alone, asked by the caller itself: a flight costs more than a hit. Not when it is likely to
    /// miss, and not when others ask for the same: then a flight is what saves work.
    async fn hit_far(&self, call: &Call, now: Moment) -> Hit {
        let name = call.key.v();
        if self.flights.is_boarding(name) || self.near.absent.is_marked(name) {
            return Hit::Missed(Known::Nothing);
        }
        let Some(_reading) = self.near.reading.begin(name) else {
            return Hit::Missed(Known::Nothing);
        };
        // A flight finds that out, and says it.
        let Ok(link) = self.far.link() else { return Hit::Missed(Known::Nothing) };
        match self.get_far(call, &link, now).await {
            Ok(seen) => self.hit_of(call, seen),
            Err(why) => Hit::Missed(Known::Away(why.to_string())),
        }
    }

    /// A flight of this process: opened, or boarded.
    pub(super) async fn load_together(
        &self,
        call: &Call,
        ask: Ask,
        known: Known,
    ) -> Result<Answer, Error> {
        let began = self.clock.now();
        let mut first = Some((ask, known));
        for round in 0.. {
            if let Some((_, known)) = first.as_mut().filter(|_| round > 0) {
                *known = Known::Nothing; // that was a while ago
            }
            match self.hit_near(call) {
                Hit::Fresh(answer) => return Ok(answer),
                Hit::Due(found) => {
                    return Ok(match first.take() {
                        Some((ask, _)) => self.serve_due(call, &found.kept, found.origin, ask),
                        None => found.answer(),
                    });
                }
                Hit::Stale(answer) => {
                    return Ok(match first.take() {
                        Some((ask, _)) => self.serve_stale(call, answer, ask),
                        None => answer,
                    });
                }
                Hit::Missed(_) => {}
            }
            let alone = round >= ROUNDS;
            let passenger = self.flights.board(&call.key, &call.tags, alone, |flight| {
                let (tiers, call, first) = (self.clone(), call.clone(), first.take());
                async move {
                    match first {
                        Some((ask, _)) if alone => {
                            tiers.fly_alone(&call, ask, None, &flight, OVERTAKEN).await
                        }
                        Some((ask, known)) => tiers.fly(&call, ask, known, &flight).await,
                        None => alone_without_loader(),
                    }
                }
            });
            if let Some((Ask::Together(seat), _)) = &first {
                seat.leaves(); // another's flight
            }
            let (passenger, landing) = match self.lands(call, passenger, began).await {
                Waited::Landed(passenger, landing) => (passenger, landing),
                Waited::Left(answer) => return Ok(answer),
            };
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

    async fn fly(&self, call: &Call, ask: Ask, known: Known, flight: &Arc<Flight>) -> Landed {
        let seat = ask.seat();
        let looking = Looking {
            signal: &flight.signal,
            flight: Some(flight),
            seat: seat.as_deref(),
            by_hand: false,
        };
        let mut place = None;
        match self.decide(call, looking, known, &mut place).await {
            Decision::Found(found) => {
                drop(place);
                self.renew_if_drawn(call, &found, ask);
                found.landed()
            }
            Decision::Stale(found) => {
                drop(place);
                self.serve_stale(call, found.answer(), ask);
                found.landed()
            }
            Decision::Failed(error) => landed(Err(error), || false),
            Decision::Lead(lead) => {
                let lost = || self.flights.close_doors(&call.key, flight);
                self.lead(call, *lead, ask, place, lost).await
            }
            Decision::Alone(why) => self.fly_alone(call, ask, place, flight, &why).await,
            // Joined until the writer is done: READ saw to it that we are told.
            Decision::Guarded => self.fly_unkept(call, ask, place).await,
        }
    }

    /// Looks near and far, waits for another's load, until there is an entry or a lease. A flight's `place` is
    /// there before the lease is asked for.
    pub(super) async fn decide(
        &self,
        call: &Call,
        looking: Looking<'_>,
        known: Known,
        place: &mut Option<Taken>,
    ) -> Decision {
        let name = call.key.v();
        let (mut seen, mut try_hit) = match known {
            Known::Missed(id) => (id, false),
            Known::Nothing | Known::Away(_) => (None, true),
        };
        let mut look_near = try_hit;
        let patience = self.clock.now().plus(call.policy.max_load + self.leases.time);
        let mut tries = 0;
        loop {
            tries += 1;
            // Before any way out: a flight that goes on alone has asked, and a change closes its doors.
            let mut changes = looking.signal.listen();
            if let Known::Away(why) = &known {
                return Decision::Alone(why.clone());
            }
            let link = match self.far.link() {
                Ok(link) => link,
                Err(why) => return Decision::Alone(why.to_string()),
            };
            if tries > TRIES || self.clock.now() > patience {
                return Decision::Alone("far gives no usable answer".to_owned());
            }
            if let Some(flight) = looking.flight {
                flight.asks(self.clock.now(), Some(&link.pulse(&call.key, &call.tags)));
            }
            let mut stale: Option<OnHand> = None;
            if std::mem::take(&mut look_near) {
                match self.near.get(name, &call.tags, self.clock.now()) {
                    Looked::Recheck(kept) => match self.recheck(call, &link, &kept).await {
                        Ok(Rechecked::Stands(kept)) if call.takes(&kept.held) => {
                            let fresh = kept.held.is_fresh(self.clock.now());
                            let found = OnHand { kept, origin: Origin::Near };
                            if fresh {
                                self.observe.tell(Event::HitNear { cache: self.observe.cache() });
                                return Decision::Found(found);
                            }
                            stale = Some(found);
                        }
                        Ok(Rechecked::Ended(id)) => (seen, try_hit) = (id, id.is_none()),
                        Ok(Rechecked::Stands(_) | Rechecked::Gone) => try_hit = true,
                        Err(why) => return Decision::Alone(why.to_string()),
                    },
                    Looked::Stale(kept) if call.takes(&kept.held) => {
                        stale = Some(OnHand { kept, origin: Origin::Near });
                    }
                    // Far is asked for another, or for the lease over this one.
                    Looked::Stale(kept) | Looked::Fresh(kept)
                        if !call.takes(&kept.held) && kept.held.id.is_some() =>
                    {
                        (seen, try_hit) = (kept.held.id, false);
                    }
                    Looked::Expired => try_hit = false,
                    _ => try_hit = !self.near.absent.take(name),
                }
            }
            if try_hit && stale.is_none() {
                match self.get_far(call, &link, self.clock.now()).await {
                    Ok(Seen::Alive(kept)) => return self.found_far(kept),
                    Ok(Seen::Stale(kept)) => stale = Some(OnHand { kept, origin: Origin::Far }),
                    Ok(Seen::Rejected(id)) => seen = id,
                    Err(why) => return Decision::Alone(why.to_string()),
                }
            }
            let has_looked_far = std::mem::take(&mut try_hit);
            if let Some(found) = stale.take() {
                if call.serves_at_once(found.held()) && !looking.by_hand {
                    return Decision::Stale(found);
                }
                seen = found.held().id;
                stale = Some(found);
            }
            if looking.flight.is_some() && place.is_none() {
                *place = self.place(looking.seat);
            }
            if looking.flight.is_some() && place.is_none() {
                // What was expired waits for the source to fail, or to be out of reach.
                let in_need = stale.as_ref().is_some_and(|found| found.held().in_need);
                if let Some(found) = stale.take_if(|_| !in_need) {
                    self.stood_in(StoodIn::Crowded);
                    return Decision::Found(found);
                }
                if !has_looked_far {
                    try_hit = true; // nowhere was a guess
                    continue;
                }
                looking.signal.waits();
                match self.wait_for_place(call, looking.seat).await {
                    Ok(taken) => *place = Some(taken),
                    Err(error) => return Decision::Failed(error),
                }
                // It may have been loaded meanwhile, by another.
                (tries, look_near) = (0, true);
                continue;
            }
            let asking = match self.ask_for_lease(call, &link, seen).await {
                Ok(asking) => asking,
                Err(why) => return Decision::Alone(why.to_string()),
            };
            let Asking { asked, lease, read, generations } = asking;
            let stale = stale.filter(|_| read.is_there);
            match read.claim {
                Claim::Granted => {
                    let lease = lease.granted(self.far.clone(), read.by);
                    self.observe.tell(Event::Miss { cache: self.observe.cache() });
                    let (states, watched) = (read.tags, asked.watched);
                    let replaces = read.is_there;
                    let old = stale.as_ref().map(|found| found.kept.held.clone());
                    let lead = Lead { lease, states, watched, replaces, stale, old };
                    return Decision::Lead(Box::new(lead));
                }
                Claim::Value(answered) => {
                    lease.not_granted();
                    let tags = TagsRead { generations: &generations, in_order: read.in_order };
                    match self.take(call, &link, asked, &answered, tags, self.clock.now()).await {
                        Ok(Seen::Alive(kept)) => return self.found_far(kept),
                        // Near has it now, if nothing came between.
                        Ok(Seen::Stale(kept)) => (seen, look_near) = (kept.held.id, true),
                        Ok(Seen::Rejected(id)) => seen = id,
                        Err(why) => return Decision::Alone(why.to_string()),
                    }
                }
                Claim::Held(left) => {
                    lease.not_granted();
                    *place = None;
                    look_near = stale.is_some();
                    if let Some(found) = stale
                        && call.serves_at_once(found.held())
                        && found.stands(&link).await
                    {
                        return Decision::Found(found);
                    }
                    tries = 0;
                    self.observe.tell(Event::Wait { cache: self.observe.cache() });
                    looking.signal.waits();
                    if let Some(seat) = looking.seat {
                        seat.leaves();
                    }
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
                    if let Some(found) = stale
                        && found.stands(&link).await
                    {
                        self.stood_in(StoodIn::Failed);
                        return Decision::Found(found);
                    }
                    return Decision::Failed(self.failure(call, &token, &code));
                }
                Claim::Guarded => {
                    lease.not_granted();
                    self.observe.tell(Event::Guarded { cache: self.observe.cache() });
                    return Decision::Guarded;
                }
                Claim::Pending(envelope) => {
                    lease.not_granted();
                    return match self.pending(call, &link, envelope) {
                        // One by hand may have no use for it; nothing is to be stored beside it all the same.
                        Some(kept) if !call.takes(&kept.held) && call.finds(&kept.held) => {
                            Decision::Guarded
                        }
                        Some(kept) => self.found_far(kept),
                        None => Decision::Alone("a pending write cannot be read".to_owned()),
                    };
                }
                Claim::Foreign => {
                    lease.not_granted();
                    return Decision::Alone("the lease's name holds something else".to_owned());
                }
                #[cfg(feature = "redis")]
                Claim::Moving => {
                    lease.not_granted();
                    return Decision::Alone("it is being moved to another node".to_owned());
                }
            }
        }
    }

    pub(super) fn stood_in(&self, why: StoodIn) {
        self.observe.tell(Event::StoodIn { cache: self.observe.cache(), why });
    }

    fn found_far(&self, kept: Arc<Kept>) -> Decision {
        self.observe.tell(Event::HitFar { cache: self.observe.cache() });
        Decision::Found(OnHand { kept, origin: Origin::Far })
    }

    fn failure(&self, call: &Call, token: &Token, code: &[u8]) -> Error {
        self.leases.failure(token).unwrap_or_else(|| {
            let text = "the source failed a moment ago, in another process or an earlier load";
            Error::new(ErrorKind::from_code(code), text).at(&call.key)
        })
    }

    /// Holds the lease: asks the source, stores, keeps.
    pub(super) async fn lead(
        &self,
        call: &Call,
        Lead { lease, states, watched, stale, old, replaces: _ }: Lead,
        ask: Ask,
        place: Option<Taken>,
        lost: impl FnOnce(),
    ) -> Landed {
        let need = call.need(call.policy.lifetime);
        // What a tag has ended since is not shown.
        let old = old.filter(|old| {
            call.tags.iter().zip(&states).all(|(tag, state)| {
                let carried = old.tags.iter().find(|tagged| tagged.tag == *tag);
                let read = state.map(|state| state.generation);
                carried.is_none_or(|tagged| tagged.standing(read) != Standing::Ended)
            })
        });
        let tags = self.ready(&call.tags, need, lease.link(), &states, watched).await;
        let (before, near) = (self.before(&call.tags), self.near.clone());
        let began = self.clock.now();
        let renewal = lease.renewal(self.clock.clone());
        let loaded = match self.load(call, ask, old.clone(), place, renewal, lost).await {
            Ok(loaded) => loaded,
            Err(error) => {
                self.leases.failed(&lease, &error);
                let link = lease.link().clone();
                let told = lease.fail(error.kind().code(), call.policy.backoff);
                // It was there when the lease was granted, and the lease was ours to the last: so nobody has
                // ended it by its key.
                if let Some(found) = stale
                    && told.await
                    && found.stands(&link).await
                {
                    self.stood_in(StoodIn::Failed);
                    return found.landed();
                }
                return landed(Err(error), || false);
            }
        };
        match self.store(call, lease, tags, &loaded, old.as_deref(), began).await {
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

pub(super) fn landed(
    answer: Result<Answer, Error>,
    is_overtaken: impl FnOnce() -> bool + Send + 'static,
) -> Landed {
    Landed { answer, is_overtaken: Box::new(is_overtaken), unwatched_since: None }
}

fn alone_without_loader() -> Landed {
    landed(Err(Error::new(ErrorKind::Overloaded, "a loader is asked at most once")), || false)
}
