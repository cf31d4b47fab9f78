//! Writes that wait for their source, as readers find them.
//!
//! While there is one, it is the truth, whatever its tags or its age: it is served, kept neither near nor far, and
//! not refreshed, and no lease is granted beside it. Only where the value has gone or may not be served is it
//! looked for: the value of the newest write stands there first.

use std::sync::Arc;

use super::{Answer, Call, Tiers};
use crate::entry::{Answered, Origin, Pending};
use crate::error::FarError;
use crate::far::Link;
use crate::invalidation::by_tag;
use crate::key::Key;
use crate::near::Kept;
use crate::observe::Event;
use crate::pulse::Pulse;

impl Tiers {
    /// The entry of a pending write. `None`: it cannot be read.
    pub(super) fn pending(
        &self,
        call: &Call,
        link: &Arc<dyn Link>,
        envelope: Vec<u8>,
    ) -> Option<Arc<Kept>> {
        let answered = Answered::from(envelope);
        let now = self.clock.now();
        let opened = by_tag::open(&answered, &call.key, &call.shape, &call.tags);
        let held = opened.map_err(|why| why.to_string()).and_then(|opened| {
            let server_now_ms = link.server_ms_at(now, &call.key);
            opened.whatever_its_age(&call.shape, server_now_ms, now).map_err(|why| why.to_string())
        });
        match held {
            // Rests on nothing: it is kept nowhere.
            Ok(held) => {
                let (nothing, until) = (Arc::new(Pulse::new()), held.fresh_until);
                Some(Arc::new(Kept::new(&Arc::new(held), nothing, std::iter::empty(), until)))
            }
            Err(why) => {
                self.observe.tell(Event::Unreadable { cache: self.observe.cache(), why: &why });
                None
            }
        }
    }

    /// Pending writes of those whose value is not there, or may not be served. One round trip; none for caches that
    /// do not write behind.
    pub(super) async fn pending_of(
        &self,
        calls: &[&Call],
        link: &Arc<dyn Link>,
    ) -> Result<Vec<Option<Answer>>, FarError> {
        let names: Vec<Option<Key>> =
            calls.iter().map(|call| call.key.d().map(Key::from)).collect();
        let asked: Vec<Key> = names.iter().flatten().cloned().collect();
        if asked.is_empty() {
            return Ok(calls.iter().map(|_| None).collect());
        }
        let mut records = link.get(&asked, &[]).await?.values.into_iter();
        let mut answer = |call: &Call, name: &Option<Key>| {
            name.as_ref()?;
            let pending = Pending::read(&records.next()??.bytes)?;
            let kept = self.pending(call, link, pending.envelope)?;
            self.observe.tell(Event::HitFar { cache: self.observe.cache() });
            Some((kept.held.clone(), Origin::Far))
        };
        Ok(calls.iter().zip(&names).map(|(call, name)| answer(call, name)).collect())
    }
}
