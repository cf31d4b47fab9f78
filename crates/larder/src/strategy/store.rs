//! What was loaded: stored under its lease, and kept near.
//!
//! A value that cannot be stored (too large, a tag that is new, far does not answer) is handed out all
//! the same, and counted.

use std::sync::Arc;
use std::time::Duration;

use super::load::is_unchanged;
use super::tags::Tags;
use super::{Call, Prints, Tiers};
use crate::clock::Moment;
use crate::coordination::lease::{Lease, Restamp};
use crate::entry::envelope::{self, Header};
use crate::entry::{Encoded, Held, Incarnation, Payload, Print, Tagged, Token, Value, Way};
use crate::far::Link;
use crate::key::{Key, Tag};
use crate::near::Epoch;
use crate::observe::{Event, NotStored};
use crate::policy::Drawn;
use crate::source::Loaded;

/// What became of a store that was sent.
pub(super) enum Outcome {
    /// It is there, under these tags.
    Stored(Arc<Held>, Tags),
    /// An invalidation or another load came between.
    Refused(Arc<Held>),
}

/// What a store goes by.
struct Ready {
    tags: Tags,
    times: Times,
}

/// An entry as bytes, and what is inside.
pub(super) struct InBytes {
    pub(super) envelope: Vec<u8>,
    weight: u64,
    print: Option<Print>,
}

/// What an entry is known by, beside its value.
struct Inside {
    weight: u64,
    id: Token,
    print: Option<Print>,
    cost: Duration,
}

#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) drawn: Drawn,
    pub(super) server_now_ms: u64,
    pub(super) cost: Duration,
    pub(super) by: Incarnation,
}

/// Near, as it was before the store was sent.
struct NearPlace {
    link: Arc<dyn Link>,
    asked: Moment,
    epoch: Epoch,
    /// How long it is kept.
    keep: Duration,
}

impl NearPlace {
    fn before(tiers: &Tiers, call: &Call, lease: &Lease, keep: Duration) -> NearPlace {
        let (link, asked) = (lease.link().clone(), lease.asked());
        NearPlace { link, asked, epoch: tiers.near.epoch(call.key.v()), keep }
    }
}

/// What became of a new header.
enum Restamped {
    Settled(Outcome),
    /// It cannot be had: to be stored whole, under this lease.
    Whole(Ready, Box<Lease>),
}

impl Tiers {
    /// Stores what was loaded under `lease`, and keeps it near. Where it is `old` unchanged, only its header is written.
    pub(super) async fn store(
        &self,
        call: &Call,
        lease: Lease,
        tags: Option<Tags>,
        loaded: &Loaded<Option<Value>>,
        old: Option<&Held>,
        began: Moment,
    ) -> Result<Outcome, NotStored> {
        // Not ready: the lease goes, and is given back.
        let ready = self.ready_to_store(call, &lease, tags, loaded, began).await?;
        let old = old.filter(|old| is_unchanged(loaded, old));
        let (ready, lease) = match old {
            None => (ready, lease),
            Some(old) => match self.restamp(call, lease, ready, old).await? {
                Restamped::Settled(outcome) => return Ok(outcome),
                Restamped::Whole(ready, lease) => (ready, *lease),
            },
        };
        let Ready { tags, times } = ready;
        let InBytes { envelope, weight, print } =
            self.envelope(call, lease.token(), loaded, &tags.tagged, times)?;
        let inside = Inside { weight, id: lease.token(), print, cost: times.cost };
        let held = self.held(loaded.value.clone(), tags.tagged.clone(), times.drawn, Some(inside));
        let place = NearPlace::before(self, call, &lease, times.drawn.whole);
        let stored = lease.store(envelope, times.drawn.whole).await;
        self.settle(call, stored.map_err(|_| NotStored::Far)?, Arc::new(held), tags, place)
    }

    /// A new header for what is there.
    async fn restamp(
        &self,
        call: &Call,
        lease: Lease,
        ready: Ready,
        old: &Held,
    ) -> Result<Restamped, NotStored> {
        let Ready { tags, times } = ready;
        let (Some(seen), Some(print)) = (old.id, old.print) else {
            return Ok(Restamped::Whole(Ready { tags, times }, Box::new(lease)));
        };
        // Of other tags it would be of another length.
        let same_tags = tags.tagged.len() == old.tags.len()
            && tags.tagged.iter().all(|tagged| old.carries(&tagged.tag));
        if !same_tags {
            return Ok(Restamped::Whole(Ready { tags, times }, Box::new(lease)));
        }
        let header = self.header(call, lease.token(), print.way, &tags.tagged, times);
        let head = envelope::head(&header, &call.key, print.sum).map_err(|why| {
            tracing::warn!(key = %call.key, %why, "a value cannot be stored");
            NotStored::Encode
        })?;
        let inside =
            Inside { weight: old.weight, id: lease.token(), print: Some(print), cost: times.cost };
        let held = self.held(old.value.clone(), tags.tagged.clone(), times.drawn, Some(inside));
        let place = NearPlace::before(self, call, &lease, times.drawn.whole);
        let is_stored = match lease.restamp(seen, head, times.drawn.whole).await {
            Ok(Restamp::Done) => {
                self.observe.tell(Event::Unchanged { cache: self.observe.cache() });
                true
            }
            Ok(Restamp::Lost) => false,
            Ok(Restamp::Gone(lease)) => return Ok(Restamped::Whole(Ready { tags, times }, lease)),
            Err(_) => return Err(NotStored::Far),
        };
        let settled = self.settle(call, is_stored, Arc::new(held), tags, place);
        settled.map(Restamped::Settled)
    }

    /// What became of it; stored, it is kept near.
    fn settle(
        &self,
        call: &Call,
        is_stored: bool,
        held: Arc<Held>,
        tags: Tags,
        place: NearPlace,
    ) -> Result<Outcome, NotStored> {
        if !is_stored {
            self.observe.tell(Event::StoreRefused { cache: self.observe.cache() });
            return Ok(Outcome::Refused(held));
        }
        let names: Vec<Tag> = tags.tagged.iter().map(|tagged| tagged.tag.clone()).collect();
        let NearPlace { link, asked, epoch, keep } = place;
        // Only now: it rests on the connection that stored it.
        let kept = self.kept(call, &held, &link, asked, &names, &tags.watched);
        self.near.keep_own(&call.key, kept, epoch);
        self.note(&call.key, &tags.tagged, keep);
        Ok(Outcome::Stored(held, tags))
    }

    async fn ready_to_store(
        &self,
        call: &Call,
        lease: &Lease,
        tags: Option<Tags>,
        loaded: &Loaded<Option<Value>>,
        began: Moment,
    ) -> Result<Ready, NotStored> {
        let mut tags = tags.ok_or(NotStored::Far)?;
        let lifetime = loaded.lifetime.unwrap_or(call.policy.lifetime);
        if let Err(why) = lifetime.check() {
            tracing::warn!(key = %call.key, %why, "a loader's lifetime is refused");
            return Err(NotStored::Lifetime);
        }
        let need = call.need(lifetime);
        self.prolong(&mut tags, need, lease.link()).await.ok_or(NotStored::Far)?;
        self.add_learned(call, lease.link(), &loaded.tags, began, need, &mut tags).await?;
        let now = self.clock.now();
        let times = Times {
            drawn: lifetime.draw(loaded.value.is_none(), &self.clock),
            server_now_ms: lease.link().server_ms_at(now, &call.key),
            cost: now.since(began),
            by: lease.by(),
        };
        Ok(Ready { tags, times })
    }

    /// A value that is handed out and kept nowhere.
    pub(super) fn passing(&self, call: &Call, loaded: Loaded<Option<Value>>) -> Held {
        let drawn = call.policy.lifetime.draw(loaded.value.is_none(), &self.clock);
        self.held(loaded.value, Vec::new(), drawn, None)
    }

    /// A value that was just loaded, as an entry; `inside`, if it goes into an envelope.
    fn held(
        &self,
        value: Option<Value>,
        tagged: Vec<Tagged>,
        drawn: Drawn,
        inside: Option<Inside>,
    ) -> Held {
        let now = self.clock.now();
        let (weight, cost) = inside.as_ref().map_or((0, Duration::ZERO), |i| (i.weight, i.cost));
        Held {
            value,
            tags: tagged.into(),
            received: now,
            age: Duration::ZERO,
            fresh_until: now.plus(drawn.fresh),
            cost,
            kept_until: now.plus(drawn.whole),
            in_need: false,
            weight,
            id: inside.as_ref().map(|inside| inside.id),
            print: inside.and_then(|inside| inside.print),
        }
    }

    /// The entry as bytes, with what is inside.
    pub(super) fn envelope(
        &self,
        call: &Call,
        id: Token,
        loaded: &Loaded<Option<Value>>,
        tagged: &[Tagged],
        times: Times,
    ) -> Result<InBytes, NotStored> {
        let payload = match &loaded.value {
            None => Payload::default(),
            Some(value) => match call.shape.encoded(value, call.policy.value_bytes_max) {
                Ok(Encoded::Bytes(bytes)) => call.shape.compression.pack(bytes),
                Ok(Encoded::TooLarge) => return Err(NotStored::TooLarge),
                Err(why) => {
                    tracing::warn!(key = %call.key, %why, "a value cannot be stored");
                    return Err(NotStored::Encode);
                }
            },
        };
        let negative = loaded.value.is_none();
        let header = Header { negative, ..self.header(call, id, payload.way, tagged, times) };
        let taken = call.prints == Prints::Taken && !negative;
        let print = taken.then(|| Print { sum: envelope::sum(&payload.bytes), way: payload.way });
        match envelope::encode(&header, &call.key, &payload.bytes) {
            Ok(envelope) => Ok(InBytes { envelope, weight: payload.whole_bytes as u64, print }),
            Err(why) => {
                tracing::warn!(key = %call.key, %why, "a value cannot be stored");
                Err(NotStored::Encode)
            }
        }
    }

    /// What is far now carries these tags: written down, if the cache is to.
    pub(super) fn note(&self, key: &Key, tagged: &[Tagged], keep: Duration) {
        #[cfg(feature = "structures")]
        if let Some(members) = &self.members {
            members.note(key, tagged.iter().map(|tagged| tagged.tag.clone()), keep);
        }
        #[cfg(not(feature = "structures"))]
        let _ = (key, tagged, keep);
    }

    /// Of a value that is there.
    fn header(&self, call: &Call, id: Token, way: Way, tagged: &[Tagged], times: Times) -> Header {
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1);
        Header {
            id,
            negative: false,
            soft_expired: false,
            way,
            hard_ms: ms(times.drawn.whole),
            fresh_ms: ms(times.drawn.fresh),
            stored_at_ms: times.server_now_ms,
            load_cost_us: u32::try_from(times.cost.as_micros()).unwrap_or(u32::MAX),
            codec: call.shape.codec,
            schema: call.shape.schema,
            by: times.by,
            sum: None,
            tags: tagged.to_vec(),
        }
    }

    pub(super) fn not_stored(&self, why: NotStored) {
        self.observe.tell(Event::NotStored { cache: self.observe.cache(), why });
    }
}
