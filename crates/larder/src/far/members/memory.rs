//! Who carries which tag, in this process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::time::Duration;

use crate::clock::Moment;
use crate::key::{Key, Tag};

/// How many are written down, over all tags. The soonest to end are forgotten first.
const NOTES_MAX: usize = 200_000;
/// How many that are over go with one that comes.
const TRIMMED: usize = 100;

#[derive(Default)]
pub(super) struct Notes {
    of: HashMap<Tag, BTreeMap<Key, Moment>>,
    by_end: BTreeSet<(Moment, Tag, Key)>,
}

impl Notes {
    pub(super) fn note(&mut self, tag: &Tag, key: &Key, until: Moment, now: Moment) {
        for _ in 0..TRIMMED {
            let full = self.by_end.len() >= NOTES_MAX;
            let first = self.by_end.first().filter(|(end, ..)| full || *end <= now).cloned();
            let Some((_, tag, key)) = first else { break };
            self.forget(&tag, &key);
        }
        self.forget(tag, key);
        self.of.entry(tag.clone()).or_default().insert(key.clone(), until);
        self.by_end.insert((until, tag.clone(), key.clone()));
    }

    fn forget(&mut self, tag: &Tag, key: &Key) {
        let Some(members) = self.of.get_mut(tag) else { return };
        if let Some(end) = members.remove(key) {
            self.by_end.remove(&(end, tag.clone(), key.clone()));
        }
        if members.is_empty() {
            self.of.remove(tag);
        }
    }

    /// Those behind one, each with the time it has left; and whether there are more.
    pub(super) fn page(
        &self,
        tag: &Tag,
        after: Option<&Key>,
        count: usize,
        now: Moment,
    ) -> (Vec<(Key, Duration)>, bool) {
        let Some(members) = self.of.get(tag) else { return (Vec::new(), false) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = members
            .range::<Key, _>((from, Bound::Unbounded))
            .filter(|(_, end)| **end > now)
            .map(|(key, end)| (key.clone(), end.since(now)));
        let found = rest.by_ref().take(count).collect();
        let more = rest.next().is_some();
        (found, more)
    }

    /// All of them: the tag ended.
    pub(super) fn take(&mut self, tag: &Tag) -> Vec<Key> {
        let members = self.of.remove(tag).unwrap_or_default();
        for (key, end) in &members {
            self.by_end.remove(&(*end, tag.clone(), key.clone()));
        }
        members.into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes() -> (Notes, Tag, Moment) {
        (Notes::default(), Tag::new("t"), Moment::NEVER.plus(Duration::from_secs(100)))
    }

    fn key(number: usize) -> Key {
        Key::new(format!("app:c:1:v:{{.{number:06};}}").as_bytes())
    }

    #[test]
    fn what_is_over_goes_with_what_comes_and_one_that_comes_again_is_one() {
        let (mut notes, tag, now) = notes();
        let second = Duration::from_secs(1);
        notes.note(&tag, &key(1), now.plus(second), now);
        notes.note(&tag, &key(1), now.plus(3 * second), now);
        notes.note(&tag, &key(2), now.plus(second), now);
        let (found, more) = notes.page(&tag, None, 9, now);
        assert_eq!((found.len(), more), (2, false));
        let later = now.plus(2 * second);
        let (found, _) = notes.page(&tag, None, 9, later);
        assert_eq!(found, [(key(1), second)], "what is over is not shown");
        notes.note(&Tag::new("other"), &key(3), later.plus(second), later);
        assert_eq!(notes.by_end.len(), 2, "and goes, whatever the tag");
        assert_eq!(notes.take(&tag), [key(1)]);
        assert_eq!((notes.of.len(), notes.by_end.len()), (1, 1));
    }

    #[test]
    fn pages_go_on_where_they_ended_and_the_whole_is_bounded() {
        let (mut notes, tag, now) = notes();
        for number in 0..NOTES_MAX + 50 {
            let until = now.plus(Duration::from_millis(1000 + number as u64));
            notes.note(&tag, &key(number), until, now);
        }
        assert_eq!(notes.by_end.len(), NOTES_MAX);
        let (first, more) = notes.page(&tag, None, 2, now);
        assert_eq!((&first[0].0, &first[1].0, more), (&key(50), &key(51), true));
        let (next, _) = notes.page(&tag, Some(&first[1].0), 1, now);
        assert_eq!(next[0].0, key(52));
    }
}
