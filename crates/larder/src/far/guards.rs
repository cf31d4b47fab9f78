//! The guards of writers on one key, as they stand in a lease's place.
//!
//! `scripts/guards.lua` reads and writes the same in Redis. Here it is for the embedded side, and for
//! whoever is asked what stands in the way of a store.

use crate::entry::Token;

const MARKED: usize = 2;
const DEADLINE: usize = 13;
/// A token, and a deadline in thirteen digits.
const GUARD: usize = size_of::<Token>() + DEADLINE;

/// The most that may be open on one key.
pub(crate) const GUARDS_MAX: usize = 256;

/// Those that are open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guards {
    /// An end came between since the first of them was opened.
    pub(crate) touched: bool,
    /// With their deadlines, in milliseconds by the server's clock.
    pub(crate) open: Vec<(Token, u64)>,
}

impl Guards {
    /// `None` when none is open at `now_ms`.
    pub(crate) fn read(record: &[u8], now_ms: u64) -> Option<Guards> {
        let (mark, guards) = record.split_at_checked(MARKED)?;
        let touched = match mark {
            b"W=" => false,
            b"W!" => true,
            _ => return None,
        };
        let (guards, _) = guards.as_chunks::<GUARD>();
        let open: Vec<_> = guards
            .iter()
            .filter_map(|guard| {
                let (token, deadline) = guard.split_first_chunk()?;
                let digits = deadline.iter().all(u8::is_ascii_digit);
                let deadline = std::str::from_utf8(deadline).ok()?.parse().ok()?;
                (digits && deadline > now_ms).then_some((*token, deadline))
            })
            .collect();
        (!open.is_empty()).then_some(Guards { touched, open })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut record = if self.touched { b"W!".to_vec() } else { b"W=".to_vec() };
        for (token, deadline) in &self.open {
            record.extend(token);
            record.extend(format!("{deadline:0width$}", width = DEADLINE).bytes());
        }
        record
    }

    /// The others, if there are any.
    pub(crate) fn without(mut self, own: Option<&Token>) -> Option<Guards> {
        self.open.retain(|(token, _)| Some(token) != own);
        (!self.open.is_empty()).then_some(self)
    }

    /// Is this one the only one, and did nothing come between? One that has run out counts: its writer may be
    /// dead, and have committed.
    pub(crate) fn is_alone(record: &[u8], own: &Token) -> bool {
        record.len() == MARKED + GUARD
            && record.strip_prefix(b"W=").is_some_and(|guards| guards.starts_with(own))
    }

    pub(crate) fn latest(&self) -> u64 {
        self.open.iter().map(|(_, deadline)| *deadline).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let open = vec![([7; 16], 1_700_000_000_000), ([8; 16], 12)];
        let guards = Guards { touched: true, open };
        assert_eq!(Guards::read(&guards.write(), 11), Some(guards));
    }

    #[test]
    fn a_guard_past_its_deadline_is_not_open() {
        let guards = Guards { touched: false, open: vec![([7; 16], 12)] };
        assert_eq!(Guards::read(&guards.write(), 12), None);
    }

    #[test]
    fn only_one_guard_that_nothing_came_between_is_alone() {
        let record =
            |touched, open: &[(Token, u64)]| Guards { touched, open: open.to_vec() }.write();
        let (own, other) = (([7; 16], 12), ([8; 16], 1));
        assert!(Guards::is_alone(&record(false, &[own]), &own.0));
        assert!(!Guards::is_alone(&record(true, &[own]), &own.0), "an end came between");
        assert!(!Guards::is_alone(&record(false, &[other]), &own.0));
        for both in [[own, other], [other, own]] {
            assert!(!Guards::is_alone(&record(false, &both), &own.0));
        }
        assert!(!Guards::is_alone(b"W=", &own.0));
    }

    #[test]
    fn other_records_are_no_guards() {
        for record in [&b""[..], b"W", b"T0123456789abcdef", b"W=short", b"W?"] {
            assert_eq!(Guards::read(record, 0), None, "{record:?}");
        }
    }
}
