//! Why an entry is served as it is, or is not: for people who were woken by it.
//!
//! Looks and changes nothing: no lease is asked for, nothing is loaded or kept. What was seen may have changed
//! by the time it is read. Of the value itself nothing is told but its length.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Tiers;
use crate::entry::envelope::{self, Header};
use crate::entry::{Answered, Generation, Pending, Standing, Tagged, Token, is_believed};
use crate::far::guards::Guards;
use crate::far::{Claim, Link, read_lease};
use crate::key::{Key, Tag};
use crate::near::{Kept, Watched};

/// What is known of one entry, and what would become of a read now.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// Cache, schema and key, for people.
    pub key: String,
    /// What a read that began now would do, as far as the entry itself says: of the caller's own tags, codec and
    /// settings nothing is known here.
    pub outcome: Outcome,
    /// Why, in sentences: the first is what decided.
    pub why: Vec<String>,
    /// This process' copy.
    pub near: Option<NearCopy>,
    /// Whether near may serve at all: the connection to far has answered a heartbeat within the bound.
    pub near_is_coherent: bool,
    /// An end of it, or of one of its tags, waits to be confirmed by far.
    pub end_is_waiting: bool,
    /// A load of this process that a caller would join.
    pub load_is_under_way: bool,
    /// What the shared side has.
    pub far: FarCopy,
    /// A write that the source does not have yet, in a cache that writes behind.
    pub pending: Option<PendingCopy>,
    /// Who may store there.
    pub lease: LeaseHolder,
    /// The tags it carries in far, each with its generations.
    pub tags: Vec<TagStanding>,
    /// This process, as leases name it.
    pub this_process: String,
}

/// What a read would do.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Be answered from this process.
    NearHit,
    /// Be answered from the shared side.
    FarHit,
    /// Be answered with a write that the source does not have yet: it is the truth, whatever its tags or its age.
    Pending,
    /// Find an entry that is no longer fresh: by the cache's choice it is served and refreshed, or stands in if
    /// the source fails.
    Stale,
    /// Wait for the load of another process.
    Wait,
    /// Ask the source.
    Load,
}

/// A copy in this process.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
pub struct NearCopy {
    /// Since it was stored, as far as clocks agree.
    pub age: Duration,
    /// How much longer it is fresh.
    pub fresh_for: Duration,
    /// How much longer it may be used at all.
    pub kept_for: Duration,
    /// "There is none" was remembered.
    pub is_none: bool,
    /// Its connection is the one in use, and covered by a heartbeat.
    pub is_covered: bool,
    /// Nothing was heard of its tags since they were compared.
    pub tags_are_sure: bool,
    /// Which load it came from.
    pub id: Option<String>,
}

/// What the shared side has.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FarCopy {
    /// It cannot be asked.
    Away {
        /// What stands in the way.
        why: String,
    },
    /// Nothing.
    Nothing,
    /// Bytes that cannot be read: a miss.
    Unreadable {
        /// What is wrong with them.
        why: String,
        /// How many.
        bytes: usize,
    },
    /// An entry.
    Entry {
        /// Since it was stored.
        age: Duration,
        /// How long it is fresh, from then.
        fresh_for: Duration,
        /// How long it is kept, from then.
        kept_for: Duration,
        /// "There is none".
        is_none: bool,
        /// It was expired softly.
        is_soft_expired: bool,
        /// It was kept by the Redis process that answers now, or any is believed.
        is_believed: bool,
        /// How long the source took.
        load_cost: Duration,
        /// Of the whole envelope.
        bytes: usize,
        /// Which load it came from.
        id: String,
    },
}

/// A write that the source does not have yet.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PendingCopy {
    /// Since it was written, by the server's clock.
    pub age: Duration,
    /// Its place in the queue.
    pub id: String,
}

/// What stands where leases do.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseHolder {
    /// It cannot be asked.
    Unknown,
    /// Nobody: the next to miss may load.
    Nobody,
    /// Somebody is loading.
    Loading {
        /// Which process; compare with [`Explanation::this_process`].
        process: String,
    },
    /// The source failed a moment ago.
    Failed {
        /// Whose load it was.
        process: String,
        /// What kind of failure.
        code: String,
    },
    /// Writers are about to change it: everybody loads, nobody keeps.
    Guarded {
        /// How many.
        writers: usize,
        /// Until the last of them runs out.
        left: Duration,
    },
    /// Something that is not ours.
    Foreign,
}

/// A tag of an entry: under which generation it was stored, and which one stands now.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
pub struct TagStanding {
    /// Its name.
    pub tag: String,
    /// In the entry.
    pub stored_under: String,
    /// In far, now. `None`: ended, evicted, or run out.
    pub now: Option<String>,
    /// What follows.
    pub fate: Fate,
}

/// What a tag's generation makes of the entry.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The tag has not ended since the entry was loaded.
    Current,
    /// The tag was expired softly since.
    ExpiredSoftly,
    /// The tag was ended since.
    Ended,
}

impl Tiers {
    /// Two round trips at most; none where far cannot be asked.
    pub(crate) async fn explain(&self, key: &Key) -> Explanation {
        let mut explanation = Explanation {
            key: key.to_string(),
            outcome: Outcome::Load,
            why: Vec::new(),
            near: None,
            near_is_coherent: false,
            end_is_waiting: false,
            load_is_under_way: self.flights.is_boarding(key.v()),
            far: FarCopy::Nothing,
            pending: None,
            lease: LeaseHolder::Unknown,
            tags: Vec::new(),
            this_process: self.leases.process(),
        };
        let now = self.clock.now();
        let near = self.near.look_at(key.v());
        let near_tags = near.as_ref().map_or(&[][..], |kept| &kept.held.tags);
        explanation.end_is_waiting = self.near.bypass.covers(key.v(), near_tags);
        explanation.near = near.as_ref().map(|kept| NearCopy {
            age: kept.held.age(now),
            fresh_for: kept.held.fresh_until.since(now),
            kept_for: kept.held.kept_until.since(now),
            is_none: kept.held.value.is_none(),
            is_covered: kept.pulse.covers(now),
            tags_are_sure: kept.watched.iter().all(Watched::is_current),
            id: kept.held.id.as_ref().map(hex),
        });
        explanation.near_is_coherent = near.as_ref().is_some_and(|kept| kept.pulse.covers(now));
        match self.far.link() {
            Err(why) => explanation.far = FarCopy::Away { why: why.to_string() },
            Ok(link) => {
                explanation.near_is_coherent |= link.pulse(key, &[]).covers(now);
                if let Err(why) = self.explain_far(key, &link, &mut explanation).await {
                    explanation.far = FarCopy::Away { why };
                }
            }
        }
        self.conclude(near.as_deref(), &mut explanation);
        explanation
    }

    async fn explain_far(
        &self,
        key: &Key,
        link: &Arc<dyn Link>,
        explanation: &mut Explanation,
    ) -> Result<(), String> {
        let mut names = vec![key.clone(), Key::new(&key.l())];
        names.extend(key.d().map(Key::from));
        let got = link.get(&names, &[]).await.map_err(|why| why.to_string())?;
        let mut values = got.values.into_iter();
        let (value, lease) = (values.next().flatten(), values.next().flatten());
        let server_ms = link.server_ms_at(self.clock.now(), key);
        let pending = values.next().flatten().and_then(|record| Pending::read(&record.bytes));
        explanation.pending = pending.map(|Pending { stamp, .. }| PendingCopy {
            age: Duration::from_millis(server_ms.saturating_sub(stamp.id.ms)),
            id: stamp.id.to_string(),
        });
        explanation.lease = lease.map_or(LeaseHolder::Nobody, |record| holder(&record, server_ms));
        let Some(value) = value else { return Ok(()) };
        let header = match envelope::peek(&value.bytes, key) {
            Ok(header) => header,
            Err(why) => {
                let bytes = value.bytes.len();
                explanation.far = FarCopy::Unreadable { why: why.to_string(), bytes };
                return Ok(());
            }
        };
        explanation.end_is_waiting |= self.near.bypass.covers(key.v(), &header.tags);
        let tags: Vec<Tag> = header.tags.iter().map(|tagged| tagged.tag.clone()).collect();
        let read = match tags.is_empty() {
            true => Default::default(),
            false => link.generations(&tags).await.map_err(|why| why.to_string())?,
        };
        let pairs = header.tags.iter().zip(&read);
        explanation.tags = pairs.map(|(tagged, read)| standing(tagged, *read)).collect();
        explanation.far = copy(&header, &value, server_ms);
        Ok(())
    }

    /// What a read would find, in the order in which it looks.
    fn conclude(&self, near: Option<&Kept>, all: &mut Explanation) {
        let mut why = Vec::new();
        if all.end_is_waiting {
            why.push(
                "an end waits to be confirmed by far: this process serves it from neither side"
                    .into(),
            );
        }
        if let Some(copy) = near.and(all.near.as_ref()) {
            let usable = copy.is_covered && !all.end_is_waiting;
            if !copy.is_covered {
                why.push("the near copy is not covered by a heartbeat within the bound".to_owned());
            } else if !copy.tags_are_sure {
                why.push(
                    "a tag of the near copy may have ended: its tags are read anew".to_owned(),
                );
            } else if copy.fresh_for.is_zero() {
                why.push("the near copy is no longer fresh".to_owned());
            } else if usable {
                why.push(format!("the near copy is fresh for {:?} more", copy.fresh_for));
                (all.outcome, all.why) = (Outcome::NearHit, why);
                return;
            }
        }
        let found = self.conclude_far(all, &mut why);
        all.outcome = match found {
            Some(outcome) if !all.end_is_waiting => outcome,
            _ if all.pending.is_some() => {
                let ago = all.pending.as_ref().map(|pending| pending.age).unwrap_or_default();
                why.push(format!("pending: a write of {ago:?} ago waits for the source"));
                Outcome::Pending
            }
            _ => match &all.lease {
                LeaseHolder::Loading { process } => {
                    why.push(format!("process {process} is loading it"));
                    Outcome::Wait
                }
                LeaseHolder::Guarded { writers, left } => {
                    why.push(format!(
                        "writers guard it: {writers}, for {left:?} more; nobody keeps it"
                    ));
                    Outcome::Load
                }
                LeaseHolder::Failed { code, .. } => {
                    why.push(format!("the source failed a moment ago ({code}): callers get that error, or what stands in"));
                    Outcome::Load
                }
                _ => Outcome::Load,
            },
        };
        all.why = why;
    }

    fn conclude_far(&self, all: &Explanation, why: &mut Vec<String>) -> Option<Outcome> {
        let (age, fresh_for, soft, believed) = match &all.far {
            FarCopy::Away { why: cause } => {
                why.push(format!("far cannot be asked: {cause}"));
                return None;
            }
            FarCopy::Nothing => {
                why.push("far has nothing: never stored, ended, evicted, or run out".to_owned());
                return None;
            }
            FarCopy::Unreadable { why: cause, .. } => {
                why.push(format!("far's bytes are a miss: {cause}"));
                return None;
            }
            FarCopy::Entry { age, fresh_for, is_soft_expired, is_believed, .. } => {
                (*age, *fresh_for, *is_soft_expired, *is_believed)
            }
        };
        if !believed {
            why.push(
                "far's entry was kept by another Redis process, which is not believed".to_owned(),
            );
            return None;
        }
        let by = |fate: Fate| {
            let named = all.tags.iter().filter(|tag| tag.fate == fate);
            named.map(|tag| tag.tag.clone()).collect::<Vec<_>>().join(", ")
        };
        let (gone, soft_tags) = (by(Fate::Ended), by(Fate::ExpiredSoftly));
        if !gone.is_empty() {
            why.push(format!("far's entry is dead: ended since it was loaded, by tag: {gone}"));
            return None;
        }
        if soft || !soft_tags.is_empty() {
            let by = if soft { "its key".to_owned() } else { format!("tag: {soft_tags}") };
            why.push(format!(
                "far's entry was expired softly, by {by}: it stands in if the source fails"
            ));
            return Some(Outcome::Stale);
        }
        if age >= fresh_for {
            why.push(format!("far's entry is {age:?} old, and was fresh for {fresh_for:?}"));
            return Some(Outcome::Stale);
        }
        why.push(format!("far's entry is fresh for {:?} more", fresh_for - age));
        Some(Outcome::FarHit)
    }
}

fn hex(token: &Token) -> String {
    format!("{:032x}", u128::from_be_bytes(*token))
}

fn generation(of: Generation) -> String {
    format!("{}@{:016x}", hex(&of.nonce), of.by)
}

fn copy(header: &Header, value: &Answered, server_ms: u64) -> FarCopy {
    FarCopy::Entry {
        age: Duration::from_millis(server_ms.saturating_sub(header.stored_at_ms)),
        fresh_for: Duration::from_millis(header.fresh_ms.into()),
        kept_for: Duration::from_millis(header.hard_ms.into()),
        is_none: header.negative,
        is_soft_expired: header.soft_expired,
        is_believed: is_believed(header.by, value.by),
        load_cost: Duration::from_micros(header.load_cost_us.into()),
        bytes: value.bytes.len(),
        id: hex(&header.id),
    }
}

fn standing(tagged: &Tagged, read: Option<Generation>) -> TagStanding {
    TagStanding {
        tag: tagged.tag.name().escape_ascii().to_string(),
        stored_under: generation(tagged.generation),
        now: read.map(generation),
        fate: match tagged.standing(read) {
            Standing::Current => Fate::Current,
            Standing::Soft => Fate::ExpiredSoftly,
            Standing::Ended => Fate::Ended,
        },
    }
}

fn holder(record: &Answered, server_ms: u64) -> LeaseHolder {
    let record = record.bytes.as_slice();
    let process = |token: &Token| crate::coordination::lease::process_of(token);
    match read_lease(record, Duration::ZERO) {
        Claim::Failed(token, code) => {
            LeaseHolder::Failed { process: process(&token), code: code.escape_ascii().to_string() }
        }
        Claim::Held(_) => match record.last_chunk() {
            Some(token) => LeaseHolder::Loading { process: process(token) },
            None => LeaseHolder::Foreign,
        },
        Claim::Guarded => match Guards::read(record, server_ms) {
            Some(guards) => LeaseHolder::Guarded {
                writers: guards.open.len(),
                left: Duration::from_millis(guards.latest().saturating_sub(server_ms)),
            },
            None => LeaseHolder::Nobody,
        },
        _ => LeaseHolder::Foreign,
    }
}

/// For people, a line for each thing.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::NearHit => "served from near",
            Outcome::FarHit => "served from far",
            Outcome::Pending => "served from a pending write",
            Outcome::Stale => "found stale",
            Outcome::Wait => "waits for another process",
            Outcome::Load => "loaded",
        };
        writeln!(f, "{}: a read now would be {outcome}", self.key)?;
        for why in &self.why {
            writeln!(f, "  because {why}")?;
        }
        if let Some(pending) = &self.pending {
            writeln!(f, "  pending {:?} old, {}", pending.age, pending.id)?;
        }
        match &self.near {
            None => writeln!(f, "  near    nothing")?,
            Some(near) => writeln!(
                f,
                "  near    {:?} old, fresh for {:?}, covered {}, tags sure {}",
                near.age, near.fresh_for, near.is_covered, near.tags_are_sure
            )?,
        }
        writeln!(f, "  coherent now: {}", self.near_is_coherent)?;
        writeln!(f, "  far     {:?}", self.far)?;
        writeln!(f, "  lease   {:?} (this is process {})", self.lease, self.this_process)?;
        for tag in &self.tags {
            let now = tag.now.as_deref().unwrap_or("none");
            writeln!(
                f,
                "  tag     {}: {:?}, stored under {}, now {now}",
                tag.tag, tag.fate, tag.stored_under
            )?;
        }
        Ok(())
    }
}
