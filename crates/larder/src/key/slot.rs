//! Which keys a cluster keeps together.
//!
//! A cluster cuts all names into 16384 slots, and a slot lies on one node. What decides is the part of a
//! name between its first `{` and the next `}`; where there is no such part, or nothing in it, the whole
//! name does.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many there are.
pub(crate) const SLOTS: u16 = 16384;
const WORDS: usize = SLOTS as usize / 64;

/// The part of the keys that goes by one number; always less than [`SLOTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(u16);

/// CRC-16/XMODEM, of each byte alone.
const REMAINDERS: [u16; 256] = {
    let (mut all, mut byte) = ([0; 256], 0);
    while byte < 256 {
        let (mut crc, mut bit) = ((byte as u16) << 8, 0);
        while bit < 8 {
            crc = (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 };
            bit += 1;
        }
        all[byte] = crc;
        byte += 1;
    }
    all
};

impl Slot {
    /// That of a name.
    pub(crate) fn of(name: &[u8]) -> Slot {
        let next =
            |crc: u16, byte: &u8| (crc << 8) ^ REMAINDERS[usize::from((crc >> 8) as u8 ^ byte)];
        Slot(decisive(name).iter().fold(0, next) % SLOTS)
    }

    /// `None` when there is no such slot.
    pub(crate) fn numbered(number: u16) -> Option<Slot> {
        (number < SLOTS).then_some(Slot(number))
    }

    pub(crate) fn number(self) -> u16 {
        self.0
    }

    pub(crate) fn all() -> impl Iterator<Item = Slot> {
        (0..SLOTS).map(Slot)
    }

    /// The word it stands in, and its bit there.
    fn place(self) -> (usize, u64) {
        (usize::from(self.0) / 64, 1 << (self.0 % 64))
    }
}

fn decisive(name: &[u8]) -> &[u8] {
    let opened = name.iter().position(|byte| *byte == b'{');
    let inside = opened.and_then(|at| name.get(at + 1..)).unwrap_or_default();
    match inside.iter().position(|byte| *byte == b'}') {
        Some(length @ 1..) => &inside[..length],
        _ => name,
    }
}

/// Some of the slots.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Slots(Box<[u64; WORDS]>);

impl Slots {
    pub(crate) fn none() -> Slots {
        Slots(Box::new([0; WORDS]))
    }

    pub(crate) fn add(&mut self, slot: Slot) {
        let (word, bit) = slot.place();
        self.0[word] |= bit;
    }

    pub(crate) fn has(&self, slot: Slot) -> bool {
        let (word, bit) = slot.place();
        self.0[word] & bit != 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot> {
        Slot::all().filter(|slot| self.has(*slot))
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Slot::number)).finish()
    }
}

/// A set of slots that many add to at once.
pub(crate) struct SharedSlots(Box<[AtomicU64; WORDS]>);

impl SharedSlots {
    pub(crate) fn none() -> SharedSlots {
        SharedSlots(Box::new(std::array::from_fn(|_| AtomicU64::new(0))))
    }

    pub(crate) fn add(&self, slot: Slot) {
        let (word, bit) = slot.place();
        // Almost always there already: then nobody's line of memory is taken away from them.
        if self.0[word].load(Ordering::Acquire) & bit == 0 {
            self.0[word].fetch_or(bit, Ordering::AcqRel);
        }
    }

    /// Takes those out that are not among `keep`.
    pub(crate) fn take_outside(&self, keep: &Slots) -> Slots {
        let mut taken = Slots::none();
        for ((word, keep), taken) in self.0.iter().zip(keep.0.iter()).zip(taken.0.iter_mut()) {
            if word.load(Ordering::Acquire) & !keep != 0 {
                *taken = word.fetch_and(*keep, Ordering::AcqRel) & !keep;
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `CLUSTER KEYSLOT` of Redis 7.0.15 answers.
    #[test]
    fn slots_are_those_of_redis() {
        for (name, slot) in [
            ("", 0),
            ("foo", 12182),
            ("bar", 5061),
            ("123456789", 12739),
            ("foo{bar}", 5061),
            ("{foo}bar{bar}", 12182),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar", 15278),
            ("foo}bar{", 11073),
            ("{", 4092),
            ("}", 12090),
        ] {
            assert_eq!(Slot::of(name.as_bytes()).number(), slot, "{name}");
        }
    }

    #[test]
    fn what_is_not_kept_is_taken_once() {
        let (shared, mut keep) = (SharedSlots::none(), Slots::none());
        let slots = [0, 63, 64, 16383].map(|number| Slot::numbered(number).unwrap());
        slots.iter().for_each(|slot| shared.add(*slot));
        keep.add(slots[1]);
        keep.add(Slot::numbered(7).unwrap());
        let taken = shared.take_outside(&keep);
        assert_eq!(taken.iter().collect::<Vec<_>>(), [slots[0], slots[2], slots[3]]);
        assert!(shared.take_outside(&keep).is_empty());
        assert_eq!(shared.take_outside(&Slots::none()).iter().collect::<Vec<_>>(), [slots[1]]);
        assert_eq!(Slot::numbered(SLOTS), None);
    }
}
