//! A dropped generation ends every entry that carries it.
//!
//! An entry is alive while each of its tags has the very generation it was stored under; where only the
//! second half of one is another, it is no longer fresh, and stands in for a source that fails. One command
//! ends any number of entries; a tag that is missing ends them too, so that eviction, a flush or an
//! empty restart never bring anything back.

use std::time::Duration;

use crate::clock::Moment;
use crate::entry::compression::Fault;
use crate::entry::envelope::{self, Header, Unreadable};
use crate::entry::{Answered, Generation, Held, Print, Shape, Standing, Tagged, is_believed};
use crate::error::Error;
use crate::key::{Key, Tag};

/// An envelope that could be read: true to its key, schema and checksum.
pub(crate) struct Opened<'a> {
    pub(crate) header: Header,
    payload: &'a [u8],
    /// Whether the server process that answered is the one it was kept by, or any is believed.
    believed: bool,
}

/// What is to be done with an envelope.
pub(crate) enum Verdict {
    Alive(Held),
    /// Alive, and due for refresh.
    Stale(Held),
    /// A tag was ended, or its time is up: the next load must be given leave over this very one.
    Dead,
    /// It is longer than this cache takes: left to those who take it, and loaded over if need be.
    Large(Fault),
}

/// More than this ahead of our estimate, a time of storing says nothing.
const AHEAD_MAX_MS: u64 = 1_000;

/// `tags`: those it is likely to carry.
pub(crate) fn open<'a>(
    answered: &'a Answered,
    key: &Key,
    shape: &Shape,
    tags: &[Tag],
) -> Result<Opened<'a>, Unreadable> {
    let (header, payload) =
        envelope::decode(&answered.bytes, key, shape.codec, shape.schema, tags)?;
    let believed = is_believed(header.by, answered.by);
    Ok(Opened { header, payload, believed })
}

impl Opened<'_> {
    /// The entry, whatever became of its tags, and however old it is: a write that its source does not have yet is
    /// the truth.
    pub(crate) fn whatever_its_age(
        self,
        shape: &Shape,
        server_now_ms: u64,
        now: Moment,
    ) -> Result<Held, Error> {
        let Header { id, negative, way, hard_ms, fresh_ms, stored_at_ms, tags, .. } = self.header;
        let value = if negative { None } else { Some(shape.decoded(way, self.payload)?) };
        let left = |ms: u32| now.plus(Duration::from_millis(ms.into()));
        Ok(Held {
            value,
            weight: self.payload.len() as u64,
            tags: tags.into(),
            received: now,
            age: Duration::from_millis(server_now_ms.saturating_sub(stored_at_ms)),
            fresh_until: left(fresh_ms),
            kept_until: left(hard_ms.max(fresh_ms)),
            in_need: false,
            cost: Duration::ZERO,
            id: Some(id),
            print: None,
        })
    }

    /// The tags it carries.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.header.tags.iter().map(|tagged| &tagged.tag)
    }

    /// Whether the generations read of the tags asked for are those it was stored under.
    pub(crate) fn agrees(&self, asked: &[Tag], generations: &[Option<Generation>]) -> bool {
        let mut read = asked.iter().zip(generations);
        read.all(|(asked, read)| {
            let carried = self.header.tags.iter().find(|tagged| tagged.tag == *asked);
            carried.is_none_or(|tagged| *read == Some(tagged.generation))
        })
    }

    /// The tags that were not asked for.
    pub(crate) fn unknown_tags(&self, asked: &[Tag]) -> Vec<Tag> {
        self.tags().filter(|tag| !asked.contains(tag)).cloned().collect()
    }

    /// What its value is known by; taken now unless the envelope says it.
    pub(crate) fn print(&self) -> Print {
        let sum = self.header.sum.unwrap_or_else(|| envelope::sum(self.payload));
        Print { sum, way: self.header.way }
    }

    /// Compares with generations that were read after the envelope was, `asked` and `generations`
    /// side by side. What a caller asks for and the entry does not carry ends it as well: it was
    /// stored by someone who did not know of the tag, and the tag's end would pass it by.
    pub(crate) fn judge(
        self,
        asked: &[Tag],
        generations: &[Option<Generation>],
        wanted: &[Tag],
        shape: &Shape,
        server_now_ms: u64,
        now: Moment,
    ) -> Result<Verdict, Error> {
        let Header {
            id,
            negative,
            soft_expired,
            way,
            hard_ms,
            fresh_ms,
            stored_at_ms,
            load_cost_us,
            tags,
            ..
        } = self.header;
        let standing = |tagged: &Tagged| {
            let at = asked.iter().position(|asked| *asked == tagged.tag);
            tagged.standing(at.and_then(|at| *generations.get(at)?))
        };
        let standing = tags.iter().map(standing).max().unwrap_or(Standing::Current);
        let alive = self.believed && standing != Standing::Ended;
        let soft_expired = soft_expired || standing == Standing::Soft;
        let carried = wanted.iter().all(|tag| tags.iter().any(|carried| carried.tag == *tag));
        let age_ms = server_now_ms.saturating_sub(stored_at_ms);
        let ahead = stored_at_ms > server_now_ms.saturating_add(AHEAD_MAX_MS);
        let within = |ms: u32| age_ms < u64::from(ms);
        let fresh = !soft_expired && !ahead && within(fresh_ms) && within(hard_ms);
        // One without a stale time is loaded anew as soon as its age says so, though Redis has it still.
        let stale = soft_expired || (hard_ms > fresh_ms && within(hard_ms));
        if !alive || !carried || !(fresh || stale) {
            return Ok(Verdict::Dead);
        }
        let bytes = way.whole_bytes(self.payload).unwrap_or(self.payload.len());
        if bytes > shape.bytes_max {
            return Ok(Verdict::Large(Fault::Large { bytes, max: shape.bytes_max }));
        }
        let value = if negative { None } else { Some(shape.decoded(way, self.payload)?) };
        let age = Duration::from_millis(age_ms);
        let left = |ms: u32| now.plus(Duration::from_millis(ms.into()).saturating_sub(age));
        let held = Held {
            value,
            weight: bytes as u64,
            tags: tags.into(),
            received: now,
            age,
            id: Some(id),
            fresh_until: if fresh { left(fresh_ms) } else { now },
            cost: Duration::from_micros(load_cost_us.into()),
            kept_until: left(hard_ms.max(fresh_ms)),
            in_need: soft_expired,
            print: None,
        };
        Ok(if fresh { Verdict::Alive(held) } else { Verdict::Stale(held) })
    }
}
