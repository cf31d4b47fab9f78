//! The tags of one load: known before it begins, and there for longer than what it stores.
//!
//! A generation in an envelope was read before its load began. What comes between (another process
//! ends the tag) shows in the cells of [`near`](crate::near::Generations): a watch taken before a
//! read tells afterwards whether anything was heard since.
//!
//! Our own writes to a tag end our tracking of it without a word. Each is followed by a read of the
//! tag, and until that has come back nothing may rest on the cell ([`OwnWrite`]).

use std::sync::Arc;
use std::time::Duration;

use super::{Call, Tiers};
use crate::clock::Moment;
use crate::entry::{Generation, Tagged};
use crate::error::FarError;
use crate::far::{Link, TagState};
use crate::key::Tag;
use crate::near::{Near, Watched, Watches};
use crate::observe::NotStored;

/// How often a tag is made: again when something else stood under its name, or it ended at once.
const CREATE_TRIES: usize = 2;
/// What an envelope has room for.
const TAGS_MAX: usize = 255;

/// The tags of one load: their generations as they were before it began.
#[derive(Default)]
pub(super) struct Tags {
    pub(super) tagged: Vec<Tagged>,
    pub(super) watched: Watches,
    /// How long each will be there, at the least, from when it was read.
    keeps: Vec<Duration>,
}

impl Tags {
    pub(super) fn has_ended(&self) -> bool {
        self.watched.iter().any(Watched::has_ended)
    }

    fn push(&mut self, tag: Tag, generation: Generation, watched: Watched, keeps: Duration) {
        self.tagged.push(Tagged { tag, generation });
        self.watched.push(watched);
        self.keeps.push(keeps);
    }
}

/// How the tags stood before a load: whoever boarded it after one of them ended must ask again.
pub(super) struct Before {
    watched: Watches,
    /// For tags that only the load tells of, which nobody watched.
    ends: u64,
}

impl Before {
    pub(super) fn is_overtaken(&self, near: &Near, learned: bool) -> bool {
        let ended = learned && near.generations.ends() != self.ends;
        ended || self.watched.iter().any(Watched::has_ended)
    }
}

/// An own write to tags is under way. Whatever became of it and of the read behind it: a tag whose answer was
/// not learned may have ended unheard, and counts as ended.
struct OwnWrite<'a> {
    near: &'a Near,
    tags: &'a [Tag],
    watched: Watches,
    learned: bool,
}

impl<'a> OwnWrite<'a> {
    fn begin(near: &'a Near, tags: &'a [Tag]) -> OwnWrite<'a> {
        tags.iter().for_each(|tag| near.generations.unsettle(tag));
        let watched = tags.iter().map(|tag| near.generations.watch(tag)).collect();
        OwnWrite { near, tags, watched, learned: false }
    }

    /// What the read behind the write brought.
    fn learn(mut self, read: &[Option<Generation>], now: Moment) -> Watches {
        for (watched, read) in self.watched.iter().zip(read) {
            watched.learn_own(*read, now);
        }
        self.learned = read.len() == self.watched.len();
        self.watched.clone()
    }
}

impl Drop for OwnWrite<'_> {
    fn drop(&mut self) {
        if !self.learned {
            self.tags.iter().for_each(|tag| self.near.generations.empty(tag));
        }
    }
}

impl Tiers {
    pub(super) fn watch(&self, tags: &[Tag]) -> Watches {
        tags.iter().map(|tag| self.near.generations.watch(tag)).collect()
    }

    pub(super) fn learn(
        &self,
        watched: &[Watched],
        generations: &[Option<Generation>],
        now: Moment,
    ) {
        for (watched, generation) in watched.iter().zip(generations) {
            watched.learn(*generation, now);
        }
    }

    pub(super) fn before(&self, tags: &[Tag]) -> Before {
        Before { watched: self.watch(tags), ends: self.near.generations.ends() }
    }

    /// Makes sure that each tag has a generation, and one that will be there for `need`. `states` were
    /// read under `watched`. `None`: far would not.
    pub(super) async fn ready(
        &self,
        names: &[Tag],
        need: Duration,
        link: &Arc<dyn Link>,
        states: &[Option<TagState>],
        watched: Watches,
    ) -> Option<Tags> {
        let mut tags = Tags::default();
        let mut missing: Vec<Tag> = Vec::new();
        for ((tag, state), watched) in names.iter().zip(states).zip(watched) {
            match state {
                Some(state) => tags.push(tag.clone(), state.generation, watched, state.keeps),
                None => missing.push(tag.clone()),
            }
        }
        self.prolong(&mut tags, need, link).await?;
        self.create(&mut tags, missing, need, link).await?;
        Some(tags)
    }

    /// The generations of all tags that something will carry that is not there yet: those of its call, and those
    /// that its maker names. One round trip, and one more for those that are new or short-lived.
    pub(super) async fn tags_before(
        &self,
        call: &Call,
        named: &[Tag],
        need: Duration,
        link: &Arc<dyn Link>,
    ) -> Result<Vec<Tagged>, FarError> {
        let mut names: Vec<Tag> = call.tags.to_vec();
        for tag in named {
            if !names.contains(tag) {
                names.push(tag.clone());
            }
        }
        let watched = self.watch(&names);
        let states = link.tag_states(&names).await?;
        let tags = self.ready(&names, need, link, &states, watched).await;
        tags.map(|tags| tags.tagged).ok_or(FarError::Slow)
    }

    /// Gives each of `missing` a generation and adds it to `tags`.
    async fn create(
        &self,
        tags: &mut Tags,
        mut missing: Vec<Tag>,
        need: Duration,
        link: &Arc<dyn Link>,
    ) -> Option<()> {
        for _ in 0..CREATE_TRIES {
            if missing.is_empty() {
                break;
            }
            let drawn: Vec<_> =
                missing.iter().map(|tag| (tag.clone(), self.clock.nonce())).collect();
            let writing = OwnWrite::begin(&self.near, &missing);
            let read = link.create(&drawn, 2 * need).await.ok()?;
            let watched = writing.learn(&read, self.clock.now());
            let mut still = Vec::new();
            for ((tag, watched), read) in missing.into_iter().zip(watched).zip(read) {
                match read {
                    // Another may have made it, for less than we need: then the next load lengthens it.
                    Some(generation) => tags.push(tag, generation, watched, need),
                    None => still.push(tag),
                }
            }
            missing = still;
        }
        missing.is_empty().then_some(())
    }

    /// Lengthens the time of those that would not be there for `need`.
    pub(super) async fn prolong(
        &self,
        tags: &mut Tags,
        need: Duration,
        link: &Arc<dyn Link>,
    ) -> Option<()> {
        let short: Vec<usize> = (0..tags.keeps.len()).filter(|at| tags.keeps[*at] < need).collect();
        if short.is_empty() {
            return Some(());
        }
        let names: Vec<Tag> = short.iter().map(|at| tags.tagged[*at].tag.clone()).collect();
        let writing = OwnWrite::begin(&self.near, &names);
        let read = link.prolong(&names, 2 * need).await.ok()?;
        let watched = writing.learn(&read, self.clock.now());
        for ((at, watched), read) in short.into_iter().zip(watched).zip(read) {
            tags.keeps[at] = 2 * need;
            // The same as before: it has not ended in between. One that has keeps its old watch, which
            // is not current any more, and its old generation, which nobody will believe.
            if read == Some(tags.tagged[at].generation) {
                tags.watched[at] = watched;
            }
        }
        Some(())
    }

    /// Adds the tags that only the load told of: usable if their generations were known before the load
    /// began. Else they are made ready for the next load, and this one is not stored.
    ///
    /// One round trip for all, and one more for those that are new or short-lived.
    pub(super) async fn add_learned(
        &self,
        call: &Call,
        link: &Arc<dyn Link>,
        learned: &[Tag],
        began: Moment,
        need: Duration,
        tags: &mut Tags,
    ) -> Result<(), NotStored> {
        let mut names: Vec<Tag> = Vec::new();
        for tag in learned {
            if !call.tags.contains(tag) && !names.contains(tag) {
                names.push(tag.clone());
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        if tags.tagged.len() + names.len() > TAGS_MAX {
            return Err(NotStored::TooManyTags);
        }
        let known: Vec<_> =
            names.iter().map(|tag| self.near.generations.known_before(tag, began)).collect();
        let watched = self.watch(&names);
        let states = link.tag_states(&names).await.map_err(|_| NotStored::Far)?;
        let read: Vec<_> = states.iter().map(|state| state.map(|state| state.generation)).collect();
        self.learn(&watched, &read, self.clock.now());
        let all_known =
            known.iter().zip(&read).all(|(known, read)| known.is_some() && known == read);
        let ready = self.ready(&names, need, link, &states, watched).await.ok_or(NotStored::Far)?;
        if !all_known {
            return Err(NotStored::NewTag);
        }
        tags.tagged.extend(ready.tagged);
        tags.watched.extend(ready.watched);
        tags.keeps.extend(ready.keeps);
        Ok(())
    }
}
