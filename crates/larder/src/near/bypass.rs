//! What must not be served from near, because its end has not been confirmed.
//!
//! The names that wait to be sent again are also the queue: each once, bounded. A name that is ended
//! again while it waits gets a new number, so that a confirmation of the earlier end does not count
//! for the later one.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::FixedState;
use parking_lot::Mutex;

use crate::entry::{Ended, Tagged};
use crate::key::{Key, Tag};

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
    keys: HashMap<Key, u64, FixedState>,
    tags: HashMap<Tag, u64, FixedState>,
    number: u64,
}

impl Names {
    fn len(&self) -> usize {
        self.keys.len() + self.tags.len()
    }
}

impl Bypass {
    /// Adds all or, when there is no room, none.
    pub(crate) fn add(&self, ended: &[Ended]) -> bool {
        let mut names = self.names.lock();
        if names.len() + ended.len() > WAITING_MAX {
            return false;
        }
        for name in ended {
            names.number += 1;
            let number = names.number;
            match name {
                Ended::Key(key) => names.keys.insert(key.clone(), number),
                Ended::Tag(tag) => names.tags.insert(tag.clone(), number),
            };
        }
        self.waiting.store(names.len(), Ordering::Release);
        true
    }

    /// Those that were confirmed go, unless they were ended again meanwhile.
    pub(crate) fn remove(&self, confirmed: &[(Ended, u64)]) {
        let mut names = self.names.lock();
        for (name, number) in confirmed {
            match name {
                Ended::Key(key) => forget(&mut names.keys, key, *number),
                Ended::Tag(tag) => forget(&mut names.tags, tag, *number),
            }
        }
        self.waiting.store(names.len(), Ordering::Release);
    }

    /// The number under which a key waits.
    pub(crate) fn number_of(&self, key: &Key) -> Option<u64> {
        self.names.lock().keys.get(key).copied()
    }

    /// Up to `most` of those that wait, with their numbers.
    pub(crate) fn some(&self, most: usize) -> Vec<(Ended, u64)> {
        let names = self.names.lock();
        let keys = names.keys.iter().map(|(key, number)| (Ended::Key(key.clone()), *number));
        let tags = names.tags.iter().map(|(tag, number)| (Ended::Tag(tag.clone()), *number));
        keys.chain(tags).take(most).collect()
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
        if self.is_empty() {
            return false;
        }
        let names = self.names.lock();
        names.keys.contains_key(name)
            || tags.iter().any(|carried| names.tags.contains_key(&carried.tag))
    }
}

fn forget<K, Q>(names: &mut HashMap<K, u64, FixedState>, name: &Q, number: u64)
where
    K: Hash + Eq + Borrow<Q>,
    Q: Hash + Eq + ?Sized,
{
    if names.get(name) == Some(&number) {
        names.remove(name);
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
