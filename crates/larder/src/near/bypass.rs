//! What must not be served from near, because its end has not been confirmed.
//!
//! The names that wait to be sent again are also the queue: each once, bounded. A name that is ended
//! again while it waits gets a new number, so that a confirmation of the earlier end does not count
//! for the later one.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::hash::Hash;

use foldhash::fast::FixedState;

use crate::entry::{Ended, EndedName, Tagged};
use crate::key::{Key, Tag};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// The most ends that may wait: about 20 MB of names.
const WAITING_MAX: usize = 100_000;

/// Ends that wait for confirmation.
#[derive(Default)]
pub(crate) struct Bypass {
    /// How many wait: so that a hit pays one load when none do.
    waiting: AtomicUsize,
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    ended: HashMap<Ended, u64, FixedState>,
    /// How many ends of each wait.
    keys: HashMap<Key, usize, FixedState>,
    tags: HashMap<Tag, usize, FixedState>,
    number: u64,
}

impl Names {
    fn add(&mut self, name: &Ended) {
        self.number += 1;
        if self.ended.insert(name.clone(), self.number).is_some() {
            return;
        }
        match name.name() {
            EndedName::Key(key) => *self.keys.entry(key.clone()).or_default() += 1,
            EndedName::Tag(tag) => *self.tags.entry(tag.clone()).or_default() += 1,
        }
    }

    fn remove(&mut self, name: &Ended, number: u64) {
        if self.ended.get(name) != Some(&number) {
            return;
        }
        self.ended.remove(name);
        match name.name() {
            EndedName::Key(key) => one_less(&mut self.keys, key),
            EndedName::Tag(tag) => one_less(&mut self.tags, tag),
        }
    }
}

fn one_less<N: Hash + Eq + Clone>(counts: &mut HashMap<N, usize, FixedState>, name: &N) {
    if let Slot::Occupied(mut slot) = counts.entry(name.clone()) {
        *slot.get_mut() -= 1;
        if *slot.get() == 0 {
            slot.remove();
        }
    }
}

impl Bypass {
    /// Adds all or, when there is no room, none.
    pub(crate) fn add(&self, ended: &[Ended]) -> bool {
        let mut names = self.names.lock();
        if names.ended.len() + ended.len() > WAITING_MAX {
            return false;
        }
        ended.iter().for_each(|name| names.add(name));
        self.waiting.store(names.ended.len(), Ordering::Release);
        true
    }

    /// Those that were confirmed go, unless they were ended again meanwhile.
    pub(crate) fn remove(&self, confirmed: &[(Ended, u64)]) {
        let mut names = self.names.lock();
        confirmed.iter().for_each(|(name, number)| names.remove(name, *number));
        self.waiting.store(names.ended.len(), Ordering::Release);
    }

    /// Those of a key that wait: a value put there meanwhile would be ended by them.
    pub(crate) fn of_key(&self, key: &Key) -> Vec<(Ended, u64)> {
        if self.is_empty() {
            return Vec::new();
        }
        let names = self.names.lock();
        if !names.keys.contains_key(key) {
            return Vec::new();
        }
        let of_key = |(name, _): &(&Ended, &u64)| name.name() == EndedName::Key(key);
        names.ended.iter().filter(of_key).map(|(name, number)| (name.clone(), *number)).collect()
    }

    /// Up to `most` of those that wait, the longest first, with their numbers.
    pub(crate) fn some(&self, most: usize) -> Vec<(Ended, u64)> {
        let names = self.names.lock();
        let mut numbers: Vec<(u64, &Ended)> =
            names.ended.iter().map(|(name, number)| (*number, name)).collect();
        if most < numbers.len() {
            numbers.select_nth_unstable_by_key(most, |(number, _)| *number);
            numbers.truncate(most);
        }
        numbers.into_iter().map(|(number, name)| (name.clone(), number)).collect()
    }

    /// This one is refused: the others go before it from now on.
    pub(crate) fn postpone(&self, name: &Ended) {
        let mut names = self.names.lock();
        names.number += 1;
        let number = names.number;
        if let Some(place) = names.ended.get_mut(name) {
            *place = number;
        }
    }

    /// How many more may wait.
    pub(crate) fn room(&self) -> usize {
        WAITING_MAX.saturating_sub(self.len())
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// To be asked first: then a hit need not look for its tags.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn covers(&self, name: &[u8], tags: &[Tagged]) -> bool {
        self.covers_any(name, tags.iter().map(|tagged| &tagged.tag))
    }

    /// Does the name wait, or one of the tags?
    pub(crate) fn covers_any<'a>(
        &self,
        name: &[u8],
        mut tags: impl Iterator<Item = &'a Tag>,
    ) -> bool {
        if self.is_empty() {
            return false;
        }
        let names = self.names.lock();
        names.keys.contains_key(name) || tags.any(|tag| names.tags.contains_key(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An invalidation fails; while its retry is on the way a second one for the same tag fails too;
    /// the retry's confirmation came from before the second commit and must not stand for it.
    #[test]
    fn a_confirmation_counts_only_for_the_end_it_answers() {
        let bypass = Bypass::default();
        let list = Ended::Tag(Tag::new("list"));
        assert!(bypass.add(std::slice::from_ref(&list)));
        let sent = bypass.some(10);
        assert!(bypass.add(std::slice::from_ref(&list)));
        bypass.remove(&sent);
        assert_eq!(bypass.len(), 1);
        bypass.remove(&bypass.some(10));
        assert_eq!(bypass.len(), 0);
    }

    #[test]
    fn the_queue_is_bounded_and_says_so() {
        let bypass = Bypass::default();
        let many: Vec<_> =
            (0..WAITING_MAX).map(|i| Ended::Tag(Tag::new(format!("t{i}")))).collect();
        assert!(bypass.add(&many));
        assert!(!bypass.add(&[Ended::Tag(Tag::new("one more"))]));
        assert_eq!(bypass.len(), WAITING_MAX);
    }
}
