//! The read path, top to bottom.
//!
//! Near, without waiting. Then one flight of this process: far, and, when far has nothing, one lease
//! of the fleet. Whoever holds it asks the source and stores; the others wait until they are told.
//! Whenever far cannot be asked, the source is: a caller is never worse off than without a cache.
//!
//! What is compared must have been read after it could have changed: near's epoch and the tags'
//! cells are taken before far is asked ([`Asked`]), and what comes back goes into near only if they
//! still stand.

use std::sync::Arc;
use std::time::Duration;

use super::{Answer, Ask, Call, Tags, Tiers, Times};
use crate::clock::Moment;
use crate::coordination::flight::{Flight, Landing, Signal};
use crate::coordination::lease::Lease;
use crate::entry::{Held, Origin, Token, Value};
use crate::error::{Error, ErrorKind, FarError};
use crate::far::{Claim, Found, Link, TagState};
use crate::invalidation::by_tag::{self, Verdict};
use crate::key::Tag;
use crate::near::{Epoch, Kept, Looked, Watched};
use crate::observe::{Event, NotStored, WokenBy};
use crate::source::Loaded;

/// How often a caller boards other people's flights before it goes alone.
const ROUNDS: usize = 4;
/// How often far's answers are rejected before the source is asked without it.
const TRIES: usize = 8;
/// Waiters do not all wake at once when a lease runs out.
const SPREAD: Duration = Duration::from_millis(20);

/// What near looked like before far was asked.
pub(super) struct Asked {
    epoch: Epoch,
    watched: Vec<Watched>,
}

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
                        Some(ask) => tiers.fly(&call, ask, &flight).await,
                        None => alone_without_loader(),
                    }
                }
            });
            let landing = passenger.lands().await;
            if passenger.led {
                return landing.answer;
            }
            match landing.answer {
                Ok((held, _)) if landing.overtaken || !call.takes(&held) => {}
                answer if landing.overtaken => drop(answer),
                answer => return answer,
            }
        }
        // Not reached: a caller that has gone alone has led.
        Err(Error::new(ErrorKind::Overloaded, "too many rounds").at(&call.key))
    }

    async fn fly(&self, call: &Call, ask: Ask, flight: &Arc<Flight>) -> Landing {
        match self.decide(call, &flight.signal, Some(flight)).await {
            // A tag of it may have ended while it was on its way: it is for the one who led, and
            // who asked before that.
            Decision::Found(held, origin, watched) => {
                landed(Ok((held, origin)), !watched.iter().all(Watched::is_current))
            }
            Decision::Failed(error) => landed(Err(error), false),
            Decision::Lead(lease, states, watched) => {
                self.lead(call, lease, &states, watched, ask, flight).await
            }
            Decision::Alone(why) => {
                self.observe.tell(Event::FarSkipped { cache: self.observe.cache(), why: &why });
                flight.asks(self.clock.now(), None);
                let before = self.before(&call.tags);
                match self.load(call, ask, std::future::pending(), || {}).await {
                    Ok(loaded) => {
                        let overtaken = before.is_overtaken(&self.near, &loaded.tags);
                        let held = Arc::new(self.passing(call, loaded));
                        landed(Ok((held, Origin::Loaded)), overtaken)
                    }
                    Err(error) => landed(Err(error), false),
                }
            }
        }
    }

    /// A value that is handed out and kept nowhere.
    pub(super) fn passing(&self, call: &Call, loaded: Loaded<Option<Value>>) -> Held {
        let fresh = call.policy.lifetime.draw(loaded.value.is_none(), &self.clock);
        self.held(loaded.value, Vec::new(), fresh, 0)
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
            Looked::Recheck(held) => recheck = Some(held),
            Looked::Expired => try_hit = false,
            _ => try_hit = !self.near.absent.take(name),
        }
        let patience = self.clock.now().plus(call.policy.max_load + self.leases.time);
        let mut tries = 0;
        loop {
            tries += 1;
            let link = match self.far.link() {
                Ok(link) => link,
                Err(why) => return Decision::Alone(why.to_string()),
            };
            if tries > TRIES || self.clock.now() > patience {
                return Decision::Alone("far gives no usable answer".to_owned());
            }
            let mut changes = signal.listen();
            if let Some(flight) = flight {
                flight.asks(self.clock.now(), Some(link.pulse()));
            }
            if let Some(held) = recheck.take() {
                match self.recheck(call, &link, held).await {
                    Ok(Some((held, watched))) if call.takes(&held) => {
                        self.observe.tell(Event::HitNear { cache: self.observe.cache() });
                        return Decision::Found(held, Origin::Near, watched);
                    }
                    Ok(_) => {}
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
            let lease = self.leases.ask(&call.key, link.clone());
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
                    let most = left.min(call.policy.max_load) + self.clock.up_to(SPREAD);
                    let woken = self.clock.within(most, changes.changed()).await;
                    let by = if woken.is_some() { WokenBy::Push } else { WokenBy::Timer };
                    self.observe.tell(Event::Woken { cache: self.observe.cache(), by });
                    // The other's answer is there now, if all went well.
                    try_hit = woken.is_some();
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

    pub(super) fn asked(&self, call: &Call) -> Asked {
        Asked { epoch: self.near.epoch(call.key.v()), watched: self.watch(&call.tags) }
    }

    /// Far alone: the value, then its tags.
    pub(super) async fn get_far(
        &self,
        call: &Call,
        link: &Arc<dyn Link>,
    ) -> Result<Seen, FarError> {
        let asked = self.asked(call);
        let mut got = link.get(std::slice::from_ref(&call.key), &call.tags).await?;
        self.learn(&asked.watched, &got.generations);
        match got.values.pop().unwrap_or(Found::Nothing) {
            Found::Nothing => Ok(Seen::Rejected(None)),
            Found::Foreign => self.discard(call, link, "not a string").await,
            Found::Bytes(bytes) => self.take(call, link, asked, &bytes, &got.generations).await,
        }
    }

    /// Bytes that cannot be read go before the next load.
    async fn discard(
        &self,
        call: &Call,
        link: &Arc<dyn Link>,
        why: &str,
    ) -> Result<Seen, FarError> {
        self.observe.tell(Event::Unreadable { cache: self.observe.cache(), why });
        link.discard(&call.key).await?;
        Ok(Seen::Rejected(None))
    }

    /// Judges bytes from far and, if they are good, keeps them near.
    pub(super) async fn take(
        &self,
        call: &Call,
        link: &Arc<dyn Link>,
        mut asked: Asked,
        bytes: &[u8],
        generations: &[Option<[u8; 16]>],
    ) -> Result<Seen, FarError> {
        let opened = match by_tag::open(bytes, &call.key, &call.shape) {
            Ok(opened) => opened,
            Err(why) => return self.discard(call, link, &why.to_string()).await,
        };
        let (mut tags, mut generations) = (call.tags.to_vec(), generations.to_vec());
        let unknown = opened.unknown_tags(&tags);
        if !unknown.is_empty() {
            // Tags that a loader learned: read after the value, like the others.
            let watched = self.watch(&unknown);
            let read = link.generations(&unknown).await?;
            self.learn(&watched, &read);
            asked.watched.extend(watched);
            generations.extend(read);
            tags.extend(unknown);
        }
        let (id, now) = (opened.header.id, self.clock.now());
        let verdict =
            opened.judge(&tags, &generations, &call.tags, &call.shape, link.server_now_ms(), now);
        match verdict {
            Ok(Verdict::Alive(held)) if call.takes(&held) => {
                let held = Arc::new(held);
                let kept = kept(&held, link, &tags, &asked.watched);
                self.near.keep(&call.key, kept, asked.epoch);
                self.observe.tell(Event::HitFar { cache: self.observe.cache() });
                Ok(Seen::Alive(held, asked.watched))
            }
            Ok(Verdict::Alive(_)) => Ok(Seen::Rejected(Some(id))),
            Ok(Verdict::Dead(id)) => Ok(Seen::Rejected(Some(id))),
            Err(why) => self.discard(call, link, &why.to_string()).await,
        }
    }

    /// A near entry whose tags may have been ended: the tags alone are read anew.
    async fn recheck(
        &self,
        call: &Call,
        link: &Arc<dyn Link>,
        held: Arc<Held>,
    ) -> Result<Option<(Arc<Held>, Vec<Watched>)>, FarError> {
        let tags: Vec<Tag> = held.tags.iter().map(|tagged| tagged.tag.clone()).collect();
        let asked = Asked { epoch: self.near.epoch(call.key.v()), watched: self.watch(&tags) };
        // Looked at once more under the epoch: what is not there now may have changed before it.
        let still = matches!(
            self.near.get(call.key.v(), &call.tags, self.clock.now()),
            Looked::Recheck(now) | Looked::Fresh(now) if Arc::ptr_eq(&now, &held)
        );
        if !still {
            return Ok(None);
        }
        let read = link.generations(&tags).await?;
        self.learn(&asked.watched, &read);
        let current = held.tags.iter().zip(&read).all(|(t, read)| *read == Some(t.generation));
        if !current {
            return Ok(None);
        }
        let kept = kept(&held, link, &tags, &asked.watched);
        // Changed meanwhile: far knows better.
        Ok(self.near.keep(&call.key, kept, asked.epoch).then_some((held, asked.watched)))
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
    ) -> Landing {
        let need = call.need(call.policy.lifetime);
        let tags = self.ready(&call.tags, need, lease.link(), states, watched).await;
        let before = self.before(&call.tags);
        let began = self.clock.now();
        let renewal = lease.renewal(self.clock.clone());
        let lost = || self.flights.close_doors(&call.key, flight);
        match self.load(call, ask, renewal, lost).await {
            Ok(loaded) => {
                let kept = self.try_keep(call, lease, tags, &loaded, began).await;
                let (held, overtaken) = kept.unwrap_or_else(|why| {
                    self.not_stored(why);
                    let overtaken = before.is_overtaken(&self.near, &loaded.tags);
                    (Arc::new(self.passing(call, loaded)), overtaken)
                });
                landed(Ok((held, Origin::Loaded)), overtaken)
            }
            Err(error) => {
                self.failures.remember(lease.token(), &error);
                lease.fail(error.kind().code(), call.policy.backoff).await;
                landed(Err(error), false)
            }
        }
    }

    /// Stores what was loaded under `lease`, and keeps it near. Also says whether it was overtaken.
    pub(super) async fn try_keep(
        &self,
        call: &Call,
        lease: Lease,
        tags: Option<Tags>,
        loaded: &Loaded<Option<Value>>,
        began: Moment,
    ) -> Result<(Arc<Held>, bool), NotStored> {
        // Not ready: the lease goes, and is given back.
        let ready = self.ready_to_store(call, &lease, tags, loaded, began).await?;
        let (tags, envelope, weight, fresh) = ready;
        let held = Arc::new(self.held(loaded.value.clone(), tags.tagged.clone(), fresh, weight));
        let names: Vec<Tag> = tags.tagged.iter().map(|tagged| tagged.tag.clone()).collect();
        let kept = kept(&held, lease.link(), &names, &tags.watched);
        let epoch = self.near.epoch(call.key.v());
        match lease.store(envelope, fresh).await {
            Ok(true) => {
                self.near.keep_own(&call.key, kept, epoch);
                Ok((held, !tags.are_current()))
            }
            Ok(false) => {
                self.observe.tell(Event::StoreRefused { cache: self.observe.cache() });
                Ok((held, true))
            }
            Err(_) => Err(NotStored::Far),
        }
    }

    async fn ready_to_store(
        &self,
        call: &Call,
        lease: &Lease,
        tags: Option<Tags>,
        loaded: &Loaded<Option<Value>>,
        began: Moment,
    ) -> Result<(Tags, Vec<u8>, u64, Duration), NotStored> {
        let mut tags = tags.ok_or(NotStored::Far)?;
        let lifetime = loaded.lifetime.unwrap_or(call.policy.lifetime);
        if let Err(why) = lifetime.check() {
            tracing::warn!(key = %call.key, %why, "a loader's lifetime is refused");
            return Err(NotStored::Lifetime);
        }
        let mut all_known = true;
        for tag in &loaded.tags {
            if !tags.tagged.iter().any(|tagged| tagged.tag == *tag) {
                all_known &= self.learned(call, lease.link(), tag, began, &mut tags).await;
            }
        }
        if !all_known {
            return Err(NotStored::NewTag);
        }
        if lifetime.longest() > call.policy.lifetime.longest() && !tags.tagged.is_empty() {
            let prolonged = self.prolong(&mut tags, call.need(lifetime), lease.link()).await;
            prolonged.ok_or(NotStored::Far)?;
        }
        let fresh = lifetime.draw(loaded.value.is_none(), &self.clock);
        let times = Times {
            fresh,
            server_now_ms: lease.link().server_now_ms(),
            cost: self.clock.now().since(began),
        };
        let (envelope, weight) = self.envelope(call, lease.token(), loaded, &tags.tagged, times)?;
        Ok((tags, envelope, weight, fresh))
    }
}

/// What far's bytes were worth.
pub(super) enum Seen {
    /// It may be served, and rests on these.
    Alive(Arc<Held>, Vec<Watched>),
    /// Nothing there, or nothing that may be served: its id, if it has one.
    Rejected(Option<Token>),
}

/// An entry with the cells it rests on, in the order of its tags.
fn kept(held: &Arc<Held>, link: &Arc<dyn Link>, tags: &[Tag], watched: &[Watched]) -> Kept {
    let cell = |tagged: &crate::entry::Tagged| {
        let at = tags.iter().position(|tag| *tag == tagged.tag)?;
        watched.get(at).cloned()
    };
    let watched = held.tags.iter().filter_map(cell).collect();
    Kept { held: held.clone(), pulse: link.pulse().clone(), watched }
}

fn landed(answer: Result<Answer, Error>, overtaken: bool) -> Landing {
    Landing { answer, overtaken }
}

fn alone_without_loader() -> Landing {
    landed(Err(Error::new(ErrorKind::Overloaded, "a loader is asked at most once")), false)
}
