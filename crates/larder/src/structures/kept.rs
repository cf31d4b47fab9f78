//! What a structure without Redis keeps in this process: a row for each key.
//!
//! All rows of one structure stand under one lock, held for one step. They are bounded together: when they
//! weigh more than [`BYTES_MAX`] those go that were written the longest ago, as Redis would evict them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Moment;

/// What all rows of one structure may weigh. 64 MiB.
pub(super) const BYTES_MAX: usize = 64 << 20;

/// What a row costs beside its own weight: its name twice over, and its place in two maps.
const ROW_BYTES: usize = 160;

/// One key's part of a structure.
pub(super) trait Row: Default {
    /// What it weighs, in bytes, known without counting.
    fn bytes(&self) -> usize;
    /// Is there nothing in it? Then it does not exist.
    fn is_empty(&self) -> bool;
}

/// What a step did to the time a row has left.
pub(super) enum Time {
    /// It begins anew, with as much as is given; without end if nothing is.
    Anew(Option<Duration>),
    /// It is as it was.
    AsItWas,
}

pub(super) struct Kept<R>(Mutex<Rows<R>>);

impl<R> Default for Kept<R> {
    fn default() -> Kept<R> {
        let (rows, by_age) = (HashMap::new(), BTreeMap::new());
        Kept(Mutex::new(Rows { rows, by_age, steps: 0, bytes: 0 }))
    }
}

struct Rows<R> {
    rows: HashMap<Arc<[u8]>, Standing<R>>,
    /// By the step that wrote them last.
    by_age: BTreeMap<u64, Arc<[u8]>>,
    steps: u64,
    bytes: usize,
}

struct Standing<R> {
    row: R,
    written: u64,
    until: Option<Moment>,
    bytes: usize,
}

impl<R> Standing<R> {
    fn has_ended(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl<R: Row> Kept<R> {
    pub(super) fn read<A>(&self, name: &[u8], now: Moment, step: impl FnOnce(&R) -> A) -> A {
        let rows = self.0.lock();
        match rows.rows.get(name).filter(|standing| !standing.has_ended(now)) {
            Some(standing) => step(&standing.row),
            None => step(&R::default()),
        }
    }

    pub(super) fn write<A>(
        &self,
        name: &[u8],
        now: Moment,
        step: impl FnOnce(&mut R) -> (A, Time),
    ) -> A {
        let mut rows = self.0.lock();
        let taken = rows.take(name).filter(|standing| !standing.has_ended(now));
        let (mut row, until) = taken.map_or((R::default(), None), |was| (was.row, was.until));
        let (answer, time) = step(&mut row);
        let until = match time {
            Time::Anew(time) => time.map(|time| now.plus(time)),
            Time::AsItWas => until,
        };
        if !row.is_empty() && until.is_none_or(|until| until > now) {
            rows.put(name, row, until);
        }
        answer
    }

    /// Was it there?
    pub(super) fn remove(&self, name: &[u8], now: Moment) -> bool {
        self.0.lock().take(name).is_some_and(|standing| !standing.has_ended(now))
    }
}

impl<R: Row> Rows<R> {
    fn take(&mut self, name: &[u8]) -> Option<Standing<R>> {
        let standing = self.rows.remove(name)?;
        self.by_age.remove(&standing.written);
        self.bytes -= standing.bytes;
        Some(standing)
    }

    fn put(&mut self, name: &[u8], row: R, until: Option<Moment>) {
        let name: Arc<[u8]> = name.into();
        let bytes = row.bytes() + name.len() + ROW_BYTES;
        self.steps += 1;
        self.bytes += bytes;
        self.by_age.insert(self.steps, name.clone());
        self.rows.insert(name, Standing { row, written: self.steps, until, bytes });
        // Never the one just written: alone it is bounded by what its structure keeps.
        while self.bytes > BYTES_MAX && self.rows.len() > 1 {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            self.take(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Bytes(usize);

    impl Row for Bytes {
        fn bytes(&self) -> usize {
            self.0
        }

        fn is_empty(&self) -> bool {
            self.0 == 0
        }
    }

    fn put(kept: &Kept<Bytes>, name: &str, bytes: usize, now: Moment, time: Time) {
        kept.write(name.as_bytes(), now, |row| (row.0 = bytes, time));
    }

    fn weight(kept: &Kept<Bytes>, name: &str, now: Moment) -> usize {
        kept.read(name.as_bytes(), now, |row| row.0)
    }

    #[test]
    fn what_was_written_the_longest_ago_goes_first() {
        let (kept, now) = (Kept::default(), Moment::NEVER);
        for name in ["a", "b", "c"] {
            put(&kept, name, BYTES_MAX / 4, now, Time::AsItWas);
        }
        put(&kept, "a", BYTES_MAX / 4, now, Time::AsItWas);
        put(&kept, "d", BYTES_MAX / 4, now, Time::AsItWas);
        assert_eq!(weight(&kept, "b", now), 0, "the oldest is gone");
        for name in ["a", "c", "d"] {
            assert!(weight(&kept, name, now) > 0, "{name}");
        }
        let rows = kept.0.lock();
        assert!(rows.bytes <= BYTES_MAX);
        assert_eq!(rows.rows.len(), rows.by_age.len());
    }

    #[test]
    fn a_row_ends_with_its_time_and_an_empty_one_is_none() {
        let (kept, now) = (Kept::default(), Moment::NEVER.plus(Duration::from_secs(9)));
        put(&kept, "a", 1, now, Time::Anew(Some(Duration::from_secs(1))));
        let later = now.plus(Duration::from_millis(999));
        assert_eq!(weight(&kept, "a", later), 1);
        put(&kept, "a", 2, later, Time::AsItWas);
        assert_eq!(weight(&kept, "a", now.plus(Duration::from_secs(1))), 0);
        assert!(!kept.remove(b"a", now.plus(Duration::from_secs(1))));
        put(&kept, "b", 0, now, Time::AsItWas);
        let rows = kept.0.lock();
        assert_eq!((rows.rows.len(), rows.bytes), (0, 0));
    }
}
