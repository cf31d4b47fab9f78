//! What was loaded: stored under its lease, and kept near.
//!
//! A value that cannot be stored (too large, a tag that is new, far does not answer) is handed out all
//! the same, and counted.

use std::sync::Arc;
use std::time::Duration;

use super::tags::Tags;
use super::{Call, Tiers};
use crate::clock::Moment;
use crate::coordination::lease::Lease;
use crate::entry::envelope::{self, Header};
use crate::entry::{Encoded, Held, Incarnation, Payload, Tagged, Token, Value};
use crate::key::{Key, Tag};
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

/// All that a store needs.
struct Ready {
    tags: Tags,
    envelope: Vec<u8>,
    weight: u64,
    drawn: Drawn,
    cost: Duration,
}

#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) drawn: Drawn,
    pub(super) server_now_ms: u64,
    pub(super) cost: Duration,
    pub(super) by: Incarnation,
}

impl Tiers {
    /// Stores what was loaded under `lease`, and keeps it near.
    pub(super) async fn store(
        &self,
        call: &Call,
        lease: Lease,
        tags: Option<Tags>,
        loaded: &Loaded<Option<Value>>,
        began: Moment,
    ) -> Result<Outcome, NotStored> {
        // Not ready: the lease goes, and is given back.
        let Ready { tags, envelope, weight, drawn, cost } =
            self.ready_to_store(call, &lease, tags, loaded, began).await?;
        let (value, tagged) = (loaded.value.clone(), tags.tagged.clone());
        let held = Arc::new(self.held(value, tagged, drawn, weight, Some((lease.token(), cost))));
        let names: Vec<Tag> = tags.tagged.iter().map(|tagged| tagged.tag.clone()).collect();
        let (link, asked) = (lease.link().clone(), lease.asked());
        let epoch = self.near.epoch(call.key.v());
        match lease.store(envelope, drawn.whole).await {
            Ok(true) => {
                // Only now: it rests on the connection that stored it.
                let kept = self.kept(call, &held, &link, asked, &names, &tags.watched);
                self.near.keep_own(&call.key, kept, epoch);
                self.note(&call.key, &tags.tagged, drawn.whole);
                Ok(Outcome::Stored(held, tags))
            }
            Ok(false) => {
                self.observe.tell(Event::StoreRefused { cache: self.observe.cache() });
                Ok(Outcome::Refused(held))
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
        let drawn = lifetime.draw(loaded.value.is_none(), &self.clock);
        let now = self.clock.now();
        let cost = now.since(began);
        let times = Times {
            drawn,
            server_now_ms: lease.link().server_ms_at(now, &call.key),
            cost,
            by: lease.by(),
        };
        let (envelope, weight) = self.envelope(call, lease.token(), loaded, &tags.tagged, times)?;
        Ok(Ready { tags, envelope, weight, drawn, cost })
    }

    /// A value that is handed out and kept nowhere.
    pub(super) fn passing(&self, call: &Call, loaded: Loaded<Option<Value>>) -> Held {
        let drawn = call.policy.lifetime.draw(loaded.value.is_none(), &self.clock);
        self.held(loaded.value, Vec::new(), drawn, 0, None)
    }

    /// A value that was just loaded, as an entry. `stored`: under which id, and what its load took.
    fn held(
        &self,
        value: Option<Value>,
        tagged: Vec<Tagged>,
        drawn: Drawn,
        weight: u64,
        stored: Option<(Token, Duration)>,
    ) -> Held {
        let now = self.clock.now();
        Held {
            value,
            tags: tagged.into(),
            received: now,
            age: Duration::ZERO,
            fresh_until: now.plus(drawn.fresh),
            cost: stored.map_or(Duration::ZERO, |(_, cost)| cost),
            kept_until: now.plus(drawn.whole),
            in_need: false,
            weight,
            id: stored.map(|(id, _)| id),
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
    ) -> Result<(Vec<u8>, u64), NotStored> {
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
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1);
        let header = Header {
            id,
            negative: loaded.value.is_none(),
            soft_expired: false,
            way: payload.way,
            hard_ms: ms(times.drawn.whole),
            fresh_ms: ms(times.drawn.fresh),
            stored_at_ms: times.server_now_ms,
            load_cost_us: u32::try_from(times.cost.as_micros()).unwrap_or(u32::MAX),
            codec: call.shape.codec,
            schema: call.shape.schema,
            by: times.by,
            tags: tagged.to_vec(),
        };
        match envelope::encode(&header, &call.key, &payload.bytes) {
            Ok(bytes) => Ok((bytes, payload.whole_bytes as u64)),
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

    pub(super) fn not_stored(&self, why: NotStored) {
        self.observe.tell(Event::NotStored { cache: self.observe.cache(), why });
    }
}
