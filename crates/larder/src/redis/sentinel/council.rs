//! What each sentinel said last, and what a majority of them says.
//!
//! Pure: it is told what was said and when, and asked. A sentinel never goes back to a master that it
//! has given up, save by another failover; so while a majority names one server, no other majority can
//! have named the next one before.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use crate::clock::Moment;

/// A host and a port, as sentinels call it: not always how it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let At { host, port } = self;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

/// What one sentinel answered.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// Whom it names as master.
    pub(super) names: At,
    /// Since when it has named that one, at the latest.
    pub(super) since: Moment,
    /// The number of the failover that made it master: the greater the later.
    pub(super) epoch: u64,
    /// When it was asked.
    pub(super) asked: Moment,
    /// The other sentinels it knows: what they are called, and where they are.
    pub(super) others: Vec<(String, At)>,
}

/// Whom a majority names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) at: At,
    /// Since when a majority has named it, at the latest.
    pub(super) since: Moment,
    /// The number of the failover that made it master.
    pub(super) epoch: u64,
    /// When the majority was asked.
    pub(super) asked: Moment,
}

/// The sentinels of one master, each by the name it gives itself.
#[derive(Default)]
pub(super) struct Council {
    words: HashMap<String, Word>,
    /// Who answered last at an address.
    names: HashMap<At, String>,
    /// How many there are at the least: those that the URL names.
    least: usize,
}

impl Council {
    /// Of so many at the least.
    pub(super) fn of(least: usize) -> Council {
        Council { least, ..Council::default() }
    }

    /// The word of the one at `at`. Under another name than before it is the same: one that changes its name
    /// with each connection must not speak for many.
    pub(super) fn hear(&mut self, sentinel: String, at: &At, word: Word) {
        let before = self.names.insert(at.clone(), sentinel.clone());
        if let Some(before) = before.filter(|before| *before != sentinel) {
            self.words.remove(&before);
        }
        self.words.insert(sentinel, word);
    }

    /// Forgets what was said before `moment`, and with it those who do not answer and are not known
    /// to any other.
    pub(super) fn forget_before(&mut self, moment: Moment) {
        self.words.retain(|_, word| word.asked >= moment);
        self.names.retain(|_, name| self.words.contains_key(name));
    }

    /// How many there are: all who have answered or are known to one who has, and not fewer than the URL names. One
    /// that invents others makes a majority harder to get, never easier; one that has forgotten the others is no
    /// majority of itself.
    pub(super) fn size(&self) -> usize {
        let mut all: BTreeSet<&str> = self.words.keys().map(String::as_str).collect();
        all.extend(self.words.values().flat_map(|word| &word.others).map(|(name, _)| &**name));
        all.len().max(self.least)
    }

    /// Has nobody answered yet?
    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    fn majority(&self) -> usize {
        self.size() / 2 + 1
    }

    /// How many were asked after `moment` and have answered.
    pub(super) fn answered_since(&self, moment: Moment) -> usize {
        self.words.values().filter(|word| word.asked >= moment).count()
    }

    /// Where the sentinels are that somebody knows, with their names.
    pub(super) fn known(&self) -> impl Iterator<Item = &(String, At)> {
        self.words.values().flat_map(|word| &word.others)
    }

    /// Since when a majority vouches for the one at `at`: the moment after which it was asked. However
    /// long ago that is.
    pub(super) fn vouches(&self, at: &At) -> Option<Moment> {
        let words = self.words.values().filter(|word| word.names == *at);
        let mut asked: Vec<Moment> = words.map(|word| word.asked).collect();
        asked.sort_unstable();
        asked.iter().rev().nth(self.majority() - 1).copied()
    }

    /// Whom a majority names that was asked within `bound` of `now`. Of `left` only the word of those
    /// counts that were asked after the moment beside it.
    pub(super) fn named(
        &self,
        now: Moment,
        bound: Duration,
        left: Option<&(At, Moment)>,
    ) -> Option<Named> {
        let counts = |word: &&Word| {
            let is_new = left.is_none_or(|(at, after)| word.names != *at || word.asked >= *after);
            word.asked.plus(bound) > now && is_new
        };
        let at = self.words.values().filter(counts).map(|word| &word.names).find(|at| {
            let naming = self.words.values().filter(counts).filter(|word| word.names == **at);
            naming.count() >= self.majority()
        })?;
        let naming = self.words.values().filter(counts).filter(|word| word.names == *at);
        let epoch = naming.clone().map(|word| word.epoch).max()?;
        let (mut asked, mut since): (Vec<Moment>, Vec<Moment>) =
            naming.map(|word| (word.asked, word.since)).unzip();
        asked.sort_unstable();
        since.sort_unstable();
        let last = self.majority() - 1;
        Some(Named {
            at: at.clone(),
            epoch,
            since: *since.get(last)?,
            asked: *asked.iter().rev().nth(last)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;

    fn at(port: u16) -> At {
        At { host: "h".into(), port }
    }

    fn second(number: u32) -> Moment {
        Moment::NEVER.plus(1000 * SECOND + number * SECOND)
    }

    fn word(names: u16, since: u32, asked: u32, others: &[&str]) -> Word {
        let others = others.iter().map(|name| ((*name).to_owned(), at(9))).collect();
        Word { names: at(names), since: second(since), epoch: 0, asked: second(asked), others }
    }

    /// Each at a place of its own.
    fn hears(council: &mut Council, name: &str, word: Word) {
        council.hear(name.into(), &At { host: name.into(), port: 1 }, word);
    }

    fn council(words: &[(&str, Word)]) -> Council {
        let mut council = Council::default();
        words.iter().for_each(|(name, word)| hears(&mut council, name, word.clone()));
        council
    }

    #[test]
    fn one_of_three_is_no_majority_and_two_are() {
        let mut council = council(&[("a", word(1, 0, 10, &["b", "c"]))]);
        assert_eq!(council.size(), 3);
        assert_eq!(council.named(second(10), SECOND, None), None);
        hears(&mut council, "b", word(1, 4, 10, &["a", "c"]));
        let named = council.named(second(10), SECOND, None).unwrap();
        assert_eq!((named.at, named.since), (at(1), second(4)), "the second is what made it one");
        assert_eq!(council.named(second(11), SECOND, None), None, "asked too long ago");
        assert_eq!(council.vouches(&at(1)), Some(second(10)));
    }

    #[test]
    fn a_majority_is_as_old_as_the_oldest_word_it_needs() {
        let all = ["a", "b", "c"];
        let words =
            [("a", word(1, 0, 12, &all)), ("b", word(1, 0, 11, &all)), ("c", word(1, 0, 7, &all))];
        let mut council = council(&words);
        assert_eq!(council.vouches(&at(1)), Some(second(11)));
        hears(&mut council, "a", word(2, 12, 13, &all));
        assert_eq!(council.vouches(&at(1)), Some(second(7)), "two still do, one of them long ago");
        assert_eq!(council.named(second(12), 2 * SECOND, None), None);
        hears(&mut council, "b", word(2, 12, 13, &all));
        assert_eq!(council.vouches(&at(1)), None);
        assert_eq!(council.named(second(13), SECOND, None).unwrap().at, at(2));
    }

    #[test]
    fn who_invents_sentinels_makes_it_harder_and_who_is_forgotten_easier() {
        let mut council = council(&[
            ("a", word(1, 0, 10, &["b"])),
            ("b", word(1, 0, 10, &["a"])),
            ("liar", word(2, 0, 10, &["a", "b", "x", "y", "z"])),
        ]);
        assert_eq!(council.size(), 6);
        assert_eq!(council.named(second(10), SECOND, None), None);
        hears(&mut council, "a", word(1, 0, 70, &["b"]));
        hears(&mut council, "b", word(1, 0, 70, &["a"]));
        council.forget_before(second(60));
        assert_eq!(council.size(), 2);
        assert_eq!(council.named(second(70), SECOND, None).unwrap().at, at(1));
    }

    #[test]
    fn a_master_that_one_has_left_needs_new_words() {
        let all = ["a", "b", "c"];
        let words = all.map(|name| (name, word(1, 0, 10, &all)));
        let council = council(&words);
        let left = (at(1), second(11));
        assert_eq!(council.named(second(10), SECOND, Some(&left)), None);
        assert!(council.named(second(10), SECOND, Some(&(at(2), second(11)))).is_some());
        assert!(council.named(second(10), SECOND, Some(&(at(1), second(10)))).is_some());
    }

    /// Its list of the others was reset, or it was cut off with the old master.
    #[test]
    fn one_of_those_that_the_url_names_is_no_majority_of_itself() {
        let mut council = Council::of(3);
        hears(&mut council, "a", word(1, 0, 10, &[]));
        assert_eq!(council.named(second(10), SECOND, None), None);
        hears(&mut council, "b", word(1, 0, 10, &[]));
        assert_eq!(council.named(second(10), SECOND, None).map(|named| named.at), Some(at(1)));
    }

    #[test]
    fn one_that_changes_its_name_speaks_for_one() {
        let mut council = Council::of(3);
        for name in ["a", "b", "c", "d"] {
            council.hear(name.into(), &at(9), word(1, 0, 10, &[]));
        }
        assert_eq!(council.named(second(10), SECOND, None), None);
    }
}
