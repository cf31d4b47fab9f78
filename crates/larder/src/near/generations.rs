//! The generations this process knows, one cell a tag.
//!
//! A cell is tracked like a value: a push on the tag empties it and bumps its version, also when it
//! is empty, so that a reply that was on its way cannot fill it. A near entry remembers the version
//! under which its generation was compared; while the version stands, the entry is current, and
//! finding that out is one atomic load.
//!
//! Bounded: when full, cells that nobody holds are forgotten; when none can be, a cell is handed out
//! that no push reaches and that is therefore never current. Its entries cost a round trip each time.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use crate::clock::{Clock, Moment};
use crate::entry::Generation;
use crate::key::Tag;
#[cfg(feature = "redis")]
use crate::key::slot::Slots;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The version of a cell that is in no map: nothing bumps it, so nothing may rest on it.
const UNTRACKED: u64 = u64::MAX;

struct Cell {
    /// Counts whatever makes what is known of the tag unsure.
    version: AtomicU64,
    /// Counts how often the tag has ended, or may have; in a cell that is in no map, how often any has.
    ends: Arc<AtomicU64>,
    /// What was read last, and when; `None` since the last push.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    sure: Option<(Generation, Moment)>,
    /// The last that was read since the last end, sure or not: another one after it is an end.
    last: Option<Generation>,
}

impl Known {
    fn may_be(&self, read: Generation) -> bool {
        self.last.is_none_or(|last| last == read)
    }
}

impl Cell {
    fn new(version: u64, ends: Arc<AtomicU64>) -> Arc<Cell> {
        Arc::new(Cell { version: AtomicU64::new(version), ends, known: Mutex::default() })
    }

    fn end(&self) {
        self.ended(&mut self.known.lock(), None);
    }

    /// `read`: what was read since, to be learned by the next who reads it.
    fn ended(&self, known: &mut Known, read: Option<Generation>) {
        (known.sure, known.last) = (None, read);
        self.version.fetch_add(1, Ordering::AcqRel);
        self.ends.fetch_add(1, Ordering::AcqRel);
    }

    /// Holds what was read against what is known: anything else is an end.
    fn agrees(&self, known: &mut Known, read: Option<Generation>) -> bool {
        match (known.sure, read) {
            (None, Some(generation)) if known.may_be(generation) => known.last = read,
            (Some((sure, _)), Some(generation)) if sure == generation => {}
            _ => {
                self.ended(known, read);
                return false;
            }
        }
        true
    }

    /// From now on what was read is sure, unless it is an end.
    fn settle(&self, known: &mut Known, read: Option<Generation>, now: Moment) {
        if self.agrees(known, read) && known.sure.is_none() {
            known.sure = read.map(|generation| (generation, now));
        }
    }

    fn unsettle(&self) {
        let mut known = self.known.lock();
        known.sure = None;
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

/// A cell as it was at one moment.
#[derive(Clone)]
pub(crate) struct Watched {
    cell: Arc<Cell>,
    version: u64,
    ends: u64,
}

/// The cells of one entry or one call: one or two as a rule.
pub(crate) type Watches = SmallVec<[Watched; 2]>;

impl Watched {
    fn of(cell: Arc<Cell>) -> Watched {
        let version = cell.version.load(Ordering::Acquire);
        let ends = cell.ends.load(Ordering::Acquire);
        Watched { cell, version, ends }
    }

    /// Is what was learned of the tag still sure?
    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        self.version != UNTRACKED && self.cell.version.load(Ordering::Acquire) == self.version
    }

    /// May the tag have ended since?
    pub(crate) fn has_ended(&self) -> bool {
        self.cell.ends.load(Ordering::Acquire) != self.ends
    }

    /// A reply to a read that was sent after `self` was taken, and what it proves.
    ///
    /// A generation that differs from the known one, or is missing, is a change whose push may not
    /// have been for us (our own write had ended our tracking): it counts as a push. Also when nothing
    /// was known: a reply from before the change may still be on its way to whoever asked beside us.
    pub(crate) fn learn(&self, generation: Option<Generation>, now: Moment) {
        let mut known = self.cell.known.lock();
        if self.is_current() {
            self.cell.settle(&mut known, generation, now);
        }
    }

    /// The same for the read behind a write of our own. What came between the two nobody told us, so
    /// its reply counts also when the cell has moved on since: not to be believed, but to be held
    /// against what is.
    pub(crate) fn learn_own(&self, generation: Option<Generation>, now: Moment) {
        let mut known = self.cell.known.lock();
        if self.is_current() {
            self.cell.settle(&mut known, generation, now);
        } else if self.version != UNTRACKED {
            self.cell.agrees(&mut known, generation);
        }
    }
}

/// All cells of this process.
pub(crate) struct Generations {
    /// Held for one look-up, or for one sweep when it is full.
    cells: Mutex<Cells>,
    cells_max: usize,
    /// How often any tag has ended: for those that learn of their tags too late to watch them.
    ends: Arc<AtomicU64>,
}

struct Cells {
    by_tag: HashMap<Tag, Arc<Cell>, FixedState>,
    /// Calls until the next sweep may be tried, once one has freed little.
    rest: usize,
}

impl Generations {
    pub(crate) fn new(cells_max: usize, clock: &Clock) -> Generations {
        let by_tag = HashMap::with_hasher(clock.hasher());
        let cells = Mutex::new(Cells { by_tag, rest: 0 });
        Generations { cells, cells_max, ends: Arc::default() }
    }

    /// Changes whenever any tag ends.
    pub(crate) fn ends(&self) -> u64 {
        self.ends.load(Ordering::Acquire)
    }

    /// To be taken before the tag's generation is asked for.
    pub(crate) fn watch(&self, tag: &Tag) -> Watched {
        let mut cells = self.cells.lock();
        if let Some(cell) = cells.by_tag.get(tag) {
            return Watched::of(cell.clone());
        }
        if cells.by_tag.len() >= self.cells_max && !cells.make_room(self.cells_max) {
            return Watched::of(Cell::new(UNTRACKED, self.ends.clone()));
        }
        let cell = Cell::new(0, Arc::default());
        cells.by_tag.insert(tag.clone(), cell.clone());
        Watched::of(cell)
    }

    /// The generation that was known before `moment` and has not changed since, as far as was heard.
    /// It may have been read over a connection that is gone, and nobody tells of its changes any more:
    /// to be compared with what is read anew.
    pub(crate) fn known_before(&self, tag: &Tag, moment: Moment) -> Option<Generation> {
        let cells = self.cells.lock();
        let cell = cells.by_tag.get(tag)?;
        let known = cell.known.lock();
        let (generation, at) = known.sure?;
        (at < moment).then_some(generation)
    }

    /// The tag has ended, or is about to.
    pub(crate) fn empty(&self, tag: &Tag) {
        self.ends.fetch_add(1, Ordering::AcqRel);
        if let Some(cell) = self.cells.lock().by_tag.get(tag) {
            cell.end();
        }
    }

    /// Nothing may rest on what is known of the tag, until it is read anew.
    pub(crate) fn unsettle(&self, tag: &Tag) {
        if let Some(cell) = self.cells.lock().by_tag.get(tag) {
            cell.unsettle();
        }
    }

    /// News were lost of what lies in these slots.
    #[cfg(feature = "redis")]
    pub(crate) fn empty_slots(&self, slots: &Slots) {
        self.ends.fetch_add(1, Ordering::AcqRel);
        for (tag, cell) in &self.cells.lock().by_tag {
            if slots.has(tag.slot()) {
                cell.end();
            }
        }
    }

    /// News were lost.
    pub(crate) fn empty_all(&self) {
        self.ends.fetch_add(1, Ordering::AcqRel);
        let mut cells = self.cells.lock();
        cells.rest = 0; // near is emptied as well, and with it most cells are free
        for cell in cells.by_tag.values() {
            cell.end();
        }
    }
}

impl Cells {
    fn make_room(&mut self, cells_max: usize) -> bool {
        if self.rest > 0 {
            self.rest -= 1;
            return false;
        }
        // A cell that only the map holds is watched by no entry and awaited by no reply.
        self.by_tag.retain(|_, cell| Arc::strong_count(cell) > 1);
        let freed = cells_max.saturating_sub(self.by_tag.len());
        if freed < cells_max / 8 {
            self.rest = cells_max / 8;
        }
        freed > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;

    const CELLS: usize = 100;

    fn scene() -> (Generations, Tag, Moment) {
        let clock = Clock::system().unwrap();
        (Generations::new(CELLS, &clock), Tag::new("list"), clock.now())
    }

    #[test]
    fn a_push_empties_a_cell_and_refuses_the_reply_that_was_on_its_way() {
        let (cells, tag, now) = scene();
        let asked = cells.watch(&tag);
        cells.empty(&tag); // the push overtakes the reply, and the cell was empty already
        asked.learn(Some([1; 16].into()), now);
        assert!(!asked.is_current());
        assert!(cells.known_before(&tag, now.plus(SECOND)).is_none());
    }

    #[test]
    fn a_generation_read_after_the_load_began_is_not_known_before_it() {
        let (cells, tag, now) = scene();
        cells.watch(&tag).learn(Some([1; 16].into()), now.plus(SECOND));
        assert!(cells.known_before(&tag, now).is_none());
        assert!(cells.known_before(&tag, now.plus(2 * SECOND)).is_some());
    }

    #[test]
    fn another_generation_than_the_known_one_counts_as_a_push() {
        let (cells, tag, now) = scene();
        let entry = cells.watch(&tag);
        entry.learn(Some([1; 16].into()), now);
        assert!(entry.is_current());
        cells.watch(&tag).learn(Some([2; 16].into()), now);
        assert!(!entry.is_current());
    }

    /// Two loads prolong a tag at once, and another process ends it between the two, unheard: our own
    /// second write had ended our tracking. The second load's reply (there is none) is seen first; the
    /// first one's, from before the end, must not fill the cell.
    #[test]
    fn a_reply_from_before_the_end_cannot_fill_a_cell_that_was_told_of_it() {
        let (cells, tag, now) = scene();
        let (first, second) = (cells.watch(&tag), cells.watch(&tag));
        second.learn(None, now);
        first.learn(Some([1; 16].into()), now);
        assert!(cells.known_before(&tag, now.plus(SECOND)).is_none());
        assert!(!first.is_current());
    }

    /// Two loads write to a tag at once. The one whose write came last on the wire began first: its reply (there is
    /// none) is from after an end that nobody told us of, and finds the cell moved on. What another reader
    /// made of it meanwhile goes all the same.
    #[test]
    fn a_reply_behind_a_write_of_our_own_counts_also_when_the_cell_has_moved_on() {
        for last in [None, Some([2; 16].into())] {
            let (cells, tag, now) = scene();
            let first = cells.watch(&tag);
            cells.unsettle(&tag); // the second write begins
            let second = cells.watch(&tag);
            second.learn_own(Some([1; 16].into()), now);
            let reader = cells.watch(&tag);
            reader.learn(Some([1; 16].into()), now);
            assert!(reader.is_current());
            first.learn_own(last, now);
            assert!(!reader.is_current() && reader.has_ended(), "{last:?}");
        }
        // And in the other order: the reader's reply is handled last, and was on the wire before.
        let (cells, tag, now) = scene();
        let first = cells.watch(&tag);
        cells.unsettle(&tag);
        let reader = cells.watch(&tag);
        first.learn_own(Some([2; 16].into()), now);
        reader.learn(Some([1; 16].into()), now);
        assert!(!reader.is_current());
    }

    #[test]
    fn writes_side_by_side_that_read_the_same_are_no_end() {
        let (cells, tag, now) = scene();
        let first = cells.watch(&tag);
        cells.unsettle(&tag);
        let second = cells.watch(&tag);
        first.learn_own(Some([1; 16].into()), now);
        second.learn_own(Some([1; 16].into()), now);
        assert!(second.is_current());
        assert!(!first.has_ended() && !second.has_ended());
    }

    /// Ended and made anew while an own write kept us from hearing of it.
    #[test]
    fn another_generation_after_a_write_of_our_own_is_an_end() {
        let (cells, tag, now) = scene();
        let entry = cells.watch(&tag);
        entry.learn(Some([1; 16].into()), now);
        cells.unsettle(&tag);
        cells.watch(&tag).learn_own(Some([2; 16].into()), now);
        assert!(entry.has_ended());
    }

    #[test]
    fn the_generation_after_an_end_that_was_heard_is_no_second_end() {
        let (cells, tag, now) = scene();
        cells.watch(&tag).learn(Some([1; 16].into()), now);
        cells.empty(&tag);
        let entry = cells.watch(&tag);
        entry.learn(Some([2; 16].into()), now);
        assert!(entry.is_current() && !entry.has_ended());
    }

    /// A cell that no push reaches cannot say whether its tag has ended, but whether any has.
    #[test]
    fn without_a_cell_of_its_own_a_tag_ends_with_any_other() {
        let (cells, tag, _) = scene();
        let held: Vec<_> = (0..CELLS).map(|i| cells.watch(&Tag::new(format!("t{i}")))).collect();
        let entry = cells.watch(&tag);
        assert!(!entry.is_current() && !entry.has_ended());
        cells.empty(&tag);
        assert!(entry.has_ended());
        drop(held);
    }

    #[test]
    fn a_full_map_forgets_what_nobody_holds_and_never_what_somebody_does() {
        let (cells, tag, now) = scene();
        let entry = cells.watch(&tag);
        entry.learn(Some([1; 16].into()), now);
        for i in 0..CELLS + 10 {
            cells.watch(&Tag::new(format!("t{i}")));
        }
        assert!(cells.cells.lock().by_tag.len() <= CELLS);
        assert!(entry.is_current());
        cells.empty(&tag);
        assert!(!entry.is_current(), "a push must still reach the cell");
    }
}
