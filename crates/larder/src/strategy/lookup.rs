//! What near and far have: asked for, judged, and kept near.
//!
//! What is compared must have been read after it could have changed: near's epoch and the tags' cells
//! are taken before far is asked ([`Asked`]), and what comes back goes into near only if they still
//! stand.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::{Call, Prints, Tiers};
use crate::clock::Moment;
use crate::coordination::lease::Lease;
use crate::entry::{Answered, Generation, Held, Standing, Tagged, Token};
use crate::error::FarError;
use crate::far::{self, Generations, Link};
use crate::invalidation::by_tag::{self, Verdict};
use crate::key::{Key, Tag};
use crate::near::{Epoch, Kept, Looked, Watched, Watches};
use crate::observe::Event;
use crate::pulse::Pulse;

/// What near looked like before far was asked.
pub(super) struct Asked {
    pub(super) at: Moment,
    epoch: Epoch,
    pub(super) watched: Watches,
    /// Its end had not been confirmed: what far answers may be from before it, though it be confirmed when
    /// the answer comes.
    is_bypassed: bool,
}

/// Tags, as they were read, and the cells as they were before.
#[derive(Default)]
struct Read {
    tags: Vec<Tag>,
    watched: Watches,
    generations: Generations,
}

/// The same, of which only a look is needed.
#[derive(Clone, Copy)]
struct AsRead<'a> {
    tags: &'a [Tag],
    watched: &'a [Watched],
    generations: &'a [Option<Generation>],
}

impl AsRead<'_> {
    const NONE: AsRead<'static> = AsRead { tags: &[], watched: &[], generations: &[] };
}

/// The generations of a call's tags, as far answered them beside the value.
#[derive(Clone, Copy)]
pub(super) struct TagsRead<'a> {
    pub(super) generations: &'a [Option<Generation>],
    /// As [`far::Got::in_order`].
    pub(super) in_order: bool,
}

impl Read {
    fn as_read(&self) -> AsRead<'_> {
        AsRead { tags: &self.tags, watched: &self.watched, generations: &self.generations }
    }

    /// Those of `tags` that are known.
    fn only<'a>(known: &ByTag, tags: impl Iterator<Item = &'a Tag>) -> Read {
        let mut read = Read::default();
        for tag in tags {
            if let Some((watched, generation)) = known.get(tag) {
                read.tags.push(tag.clone());
                read.watched.push(watched.clone());
                read.generations.push(*generation);
            }
        }
        read
    }

    fn each(self) -> impl Iterator<Item = (Tag, (Watched, Option<Generation>))> {
        self.tags.into_iter().zip(self.watched.into_iter().zip(self.generations))
    }

    /// Those that are known, then these.
    fn behind(self, known: AsRead<'_>) -> Read {
        Read {
            tags: known.tags.iter().cloned().chain(self.tags).collect(),
            watched: known.watched.iter().cloned().chain(self.watched).collect(),
            generations: known.generations.iter().copied().chain(self.generations).collect(),
        }
    }
}

type ByTag = HashMap<Tag, (Watched, Option<Generation>), FixedState>;

fn distinct<'a>(tags: impl IntoIterator<Item = &'a Tag>) -> Vec<Tag> {
    let mut seen = HashSet::with_hasher(FixedState::default());
    let first = tags.into_iter().filter(|tag| seen.insert(Tag::clone(tag)));
    first.cloned().collect()
}

/// What far's bytes were worth.
pub(super) enum Seen {
    /// It may be served.
    Alive(Arc<Kept>),
    /// It is alive, and due for refresh.
    Stale(Arc<Kept>),
    /// Nothing there, or nothing that may be served: its id, if it has one.
    Rejected(Option<Token>),
}

/// What READ answered, and what was noted before it was sent.
pub(super) struct Asking {
    pub(super) asked: Asked,
    /// Granted or not, as the answer says.
    pub(super) lease: Lease,
    pub(super) read: far::Read,
    pub(super) generations: Generations,
}

/// What reading its tags anew says of a near entry.
pub(super) enum Rechecked {
    /// It may be served.
    Stands(Arc<Kept>),
    /// A tag of it has ended: the envelope of this id is dead.
    Ended(Option<Token>),
    /// It is not near any more, or not to be served from there.
    Gone,
}

impl Tiers {
    /// What stands before far is asked; it is asked after `at`.
    fn asked_of(&self, call: &Call, tags: &[Tag], at: Moment) -> Asked {
        let is_bypassed = self.near.bypass.covers_any(call.key.v(), call.tags.iter());
        let (epoch, watched) = (self.near.epoch(call.key.v()), self.watch(tags));
        Asked { at, epoch, watched, is_bypassed }
    }

    /// The value, or the lease to load it, also over the envelope that was `seen` and rejected.
    ///
    /// Without an answer the lease was perhaps granted, and we shall never know: it is dropped here, and
    /// so given back.
    pub(super) async fn ask_for_lease(
        &self,
        call: &Call,
        link: &Arc<dyn Link>,
        seen: Option<Token>,
    ) -> Result<Asking, FarError> {
        let asked = self.asked_of(call, &call.tags, self.clock.now());
        let lease = self.leases.ask(&call.key, link.clone(), asked.at);
        let read = link.read(&call.key, lease.token(), lease.time(), seen, &call.tags).await?;
        let generations: Generations = read.tags.iter().map(|t| t.map(|t| t.generation)).collect();
        self.learn(&asked.watched, &generations, self.clock.now());
        Ok(Asking { asked, lease, read, generations })
    }

    /// Far alone: the value, then its tags. `now`, as the clock said a moment ago.
    pub(super) async fn get_far(
        &self,
        call: &Call,
        link: &Arc<dyn Link>,
        now: Moment,
    ) -> Result<Seen, FarError> {
        let asked = self.asked_of(call, &call.tags, now);
        let mut got = link.get(std::slice::from_ref(&call.key), &call.tags).await?;
        let now = self.clock.now();
        self.learn(&asked.watched, &got.generations, now);
        match got.values.pop().flatten() {
            None => Ok(Seen::Rejected(None)),
            Some(answered) => {
                let tags = TagsRead { generations: &got.generations, in_order: got.in_order };
                self.take(call, link, asked, &answered, tags, now).await
            }
        }
    }

    /// Bytes that cannot be read go before the next load.
    async fn discard(&self, call: &Call, why: &str) -> Result<Seen, FarError> {
        self.observe.tell(Event::Unreadable { cache: self.observe.cache(), why });
        self.far.discard(std::slice::from_ref(&call.key)).await?;
        Ok(Seen::Rejected(None))
    }

    /// Judges bytes from far, answered at `now`, and, if they are good, keeps them near.
    pub(super) async fn take(
        &self,
        call: &Call,
        link: &Arc<dyn Link>,
        mut asked: Asked,
        answered: &Answered,
        tags: TagsRead<'_>,
        now: Moment,
    ) -> Result<Seen, FarError> {
        let opened = match by_tag::open(answered, &call.key, &call.shape, &call.tags) {
            Ok(opened) => opened,
            Err(why) => return self.discard(call, &why.to_string()).await,
        };
        let TagsRead { generations, in_order } = tags;
        let watched = std::mem::take(&mut asked.watched);
        let known = AsRead { tags: &call.tags, watched: &watched, generations };
        // Read before the value, they say nothing against it.
        let (known, asked_for) = match in_order || opened.agrees(&call.tags, generations) {
            true => (known, &call.tags[..]),
            false => (AsRead::NONE, &[][..]),
        };
        let unknown = opened.unknown_tags(asked_for);
        asked.is_bypassed |= self.near.bypass.covers_any(call.key.v(), unknown.iter());
        // Tags that a loader learned: read after the value, like the others. That took its time.
        let learned = match unknown.is_empty() {
            true => None,
            false => Some((self.read_tags(link, unknown).await?.behind(known), self.clock.now())),
        };
        let (read, now) =
            learned.as_ref().map_or((known, now), |(read, now)| (read.as_read(), *now));
        match self.judge(call, link, &asked, opened, read, now) {
            Ok(seen) => Ok(seen),
            Err(why) => self.discard(call, &why).await,
        }
    }

    /// Many at once: the values and their calls' tags in one round trip, and in one more the tags that
    /// loaders learned. What was seen, in the order of `calls`.
    pub(super) async fn get_many_far(&self, calls: &[&Call]) -> Result<Vec<Seen>, FarError> {
        let link = self.far.link()?;
        let keys: Vec<Key> = calls.iter().map(|call| call.key.clone()).collect();
        let tags = distinct(calls.iter().flat_map(|call| call.tags.iter()));
        let asked: Vec<_> = {
            let now = self.clock.now();
            calls.iter().map(|call| self.asked_of(call, &[], now)).collect()
        };
        let watched = self.watch(&tags);
        let got = link.get(&keys, &tags).await?;
        self.learn(&watched, &got.generations, self.clock.now());
        let mut known = ByTag::with_hasher(FixedState::default());
        known.extend(Read { tags, watched, generations: got.generations }.each());
        let opened: Vec<_> = calls
            .iter()
            .zip(&got.values)
            .map(|(call, answered)| {
                let opened = by_tag::open(answered.as_ref()?, &call.key, &call.shape, &call.tags);
                Some(opened.map_err(|why| why.to_string()))
            })
            .collect();
        let opened_well = || opened.iter().flatten().flatten();
        let asked: Vec<Asked> = asked
            .into_iter()
            .zip(calls)
            .zip(&opened)
            .map(|((asked, call), opened)| {
                let tags = opened.iter().flatten().flat_map(by_tag::Opened::tags);
                let waits = self.near.bypass.covers_any(call.key.v(), tags);
                Asked { is_bypassed: asked.is_bypassed || waits, ..asked }
            })
            .collect();
        if !got.in_order {
            // Read before a value, they say nothing against it.
            for opened in opened_well() {
                for tagged in &opened.header.tags {
                    let differs = |(_, read): &(Watched, _)| *read != Some(tagged.generation);
                    if known.get(&tagged.tag).is_some_and(differs) {
                        known.remove(&tagged.tag);
                    }
                }
            }
        }
        let carried = opened_well().flat_map(by_tag::Opened::tags);
        let unknown = distinct(carried.filter(|tag| !known.contains_key(*tag)));
        if !unknown.is_empty() {
            match self.read_tags(&link, unknown).await {
                Ok(more) => known.extend(more.each()),
                // Without an answer their entries count as dead; the others stand.
                Err(why) => self.skipped(&why.to_string()),
            }
        }
        let now = self.clock.now();
        let (mut seen, mut unreadable) = (Vec::with_capacity(calls.len()), Vec::new());
        for ((call, asked), opened) in calls.iter().zip(&asked).zip(opened) {
            let judged = opened.map(|opened| {
                let opened = opened?;
                let read = Read::only(&known, opened.tags());
                self.judge(call, &link, asked, opened, read.as_read(), now)
            });
            seen.push(match judged {
                Some(Ok(seen)) => seen,
                None => Seen::Rejected(None),
                Some(Err(why)) => {
                    self.observe.tell(Event::Unreadable { cache: self.observe.cache(), why: &why });
                    unreadable.push(call.key.clone());
                    Seen::Rejected(None)
                }
            });
        }
        if !unreadable.is_empty() {
            // Nobody waits for it, and where there is no room it is left: a load of one of them removes it first.
            if let Some(room) = self.leases.behind.room() {
                let far = self.far.clone();
                room.run(async move { far.discard(&unreadable).await });
            }
        }
        Ok(seen)
    }

    pub(super) fn skipped(&self, why: &str) {
        self.observe.tell(Event::FarSkipped { cache: self.observe.cache(), why });
    }

    async fn read_tags(&self, link: &Arc<dyn Link>, tags: Vec<Tag>) -> Result<Read, FarError> {
        let watched = self.watch(&tags);
        let generations = link.generations(&tags).await?;
        self.learn(&watched, &generations, self.clock.now());
        Ok(Read { tags, watched, generations })
    }

    /// `Err`: what could not be read of it.
    fn judge(
        &self,
        call: &Call,
        link: &Arc<dyn Link>,
        asked: &Asked,
        opened: by_tag::Opened<'_>,
        AsRead { tags, watched, generations }: AsRead<'_>,
        now: Moment,
    ) -> Result<Seen, String> {
        let id = opened.header.id;
        let is_given = opened.header.sum.is_some();
        let print = (is_given || call.prints == Prints::Taken).then(|| opened.print());
        let server_now_ms = link.server_ms_at(now, &call.key);
        let verdict = opened.judge(tags, generations, &call.tags, &call.shape, server_now_ms, now);
        let (held, fresh) = match verdict {
            Ok(Verdict::Alive(held)) if call.finds(&held) => {
                (Arc::new(Held { print, ..held }), true)
            }
            Ok(Verdict::Stale(held)) if call.finds(&held) => {
                (Arc::new(Held { print, ..held }), false)
            }
            Ok(Verdict::Large(why)) => {
                let why = &why.to_string();
                self.observe.tell(Event::Unreadable { cache: self.observe.cache(), why });
                return Ok(Seen::Rejected(Some(id)));
            }
            Ok(_) => return Ok(Seen::Rejected(Some(id))),
            Err(why) => return Err(why.to_string()),
        };
        // Ended here, and far does not know it yet: whoever ended it is not to see it again.
        if asked.is_bypassed || self.near.bypass.covers(call.key.v(), &held.tags) {
            return Ok(Seen::Rejected(Some(id)));
        }
        let kept = self.kept(call, &held, link, asked.at, tags, watched);
        self.near.keep(&call.key, kept.clone(), asked.epoch);
        if !call.takes(&held) {
            return Ok(Seen::Rejected(Some(id)));
        }
        Ok(if fresh { Seen::Alive(kept) } else { Seen::Stale(kept) })
    }

    /// A near entry whose tags may have been ended: the tags alone are read anew.
    pub(super) async fn recheck(
        &self,
        call: &Call,
        link: &Arc<dyn Link>,
        kept: &Kept,
    ) -> Result<Rechecked, FarError> {
        let held = &kept.held;
        let tags = held.tag_names();
        let asked = self.asked_of(call, &tags, self.clock.now());
        // Looked at once more under the epoch: what is not there now may have changed before it.
        let still = match self.near.get(call.key.v(), &call.tags, self.clock.now()) {
            Looked::Recheck(now) | Looked::Stale(now) | Looked::Fresh(now) => {
                Arc::ptr_eq(&now.held, held)
            }
            Looked::Expired | Looked::Nothing => false,
        };
        if !still {
            return Ok(Rechecked::Gone);
        }
        let read = link.generations(&tags).await?;
        self.learn(&asked.watched, &read, self.clock.now());
        match held.standing(&read) {
            Standing::Current => {}
            Standing::Soft => return Ok(Rechecked::Gone), // far has it still, to stand in
            Standing::Ended => return Ok(Rechecked::Ended(held.id)),
        }
        // Its tags are read anew, and it is not: it ends when it would have ended, or with those.
        let believed = link.believed(asked.at, &call.key, &tags);
        let believed = Pulse::all([kept.pulse.clone(), believed]);
        let plain_until = self.plain_until(&call.policy, held);
        let again = Arc::new(Kept::new(held, believed, asked.watched, plain_until));
        if !self.near.keep(&call.key, again.clone(), asked.epoch) {
            return Ok(Rechecked::Gone); // changed meanwhile: far knows better
        }
        Ok(Rechecked::Stands(again))
    }

    /// An entry with what it rests on, its cells in the order of its tags. `asked`: before far was.
    pub(super) fn kept(
        &self,
        call: &Call,
        held: &Arc<Held>,
        link: &Arc<dyn Link>,
        asked: Moment,
        tags: &[Tag],
        watched: &[Watched],
    ) -> Arc<Kept> {
        let cell = |tagged: &Tagged| {
            let at = tags.iter().position(|tag| *tag == tagged.tag)?;
            watched.get(at).cloned()
        };
        let believed = link.believed(asked, &call.key, tags);
        let plain_until = self.plain_until(&call.policy, held);
        Arc::new(Kept::new(held, believed, held.tags.iter().filter_map(cell), plain_until))
    }
}
