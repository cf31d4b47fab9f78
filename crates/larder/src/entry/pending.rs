//! A write that its source does not have yet, as it stands beside the value: D.
//!
//! ```text
//! token 16 B | its entry in the queue, as text | '|' | the envelope
//! ```

use std::fmt;

use super::Token;

/// Where an entry stands in a stream: the order of writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WriteId {
    /// Milliseconds of the server's clock, or more where that went back.
    pub(crate) ms: u64,
    /// Among those of the same millisecond.
    pub(crate) seq: u64,
}

impl WriteId {
    /// As Redis writes it: `1700000000000-3`.
    pub(crate) fn parse(text: &[u8]) -> Option<WriteId> {
        let (ms, seq) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(WriteId { ms: ms.parse().ok()?, seq: seq.parse().ok()? })
    }

    /// The one right above it.
    pub(crate) fn next(self) -> WriteId {
        match self.seq.checked_add(1) {
            Some(seq) => WriteId { seq, ..self },
            None => WriteId { ms: self.ms.saturating_add(1), seq: 0 },
        }
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// Which write it is, and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) token: Token,
    pub(crate) id: WriteId,
}

/// A write that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) stamp: Stamp,
    pub(crate) envelope: Vec<u8>,
}

impl Pending {
    /// `None`: it is no such record.
    pub(crate) fn read(record: &[u8]) -> Option<Pending> {
        let (token, rest) = record.split_first_chunk::<16>()?;
        let bar = rest.iter().position(|byte| *byte == b'|')?;
        let id = WriteId::parse(&rest[..bar])?;
        Some(Pending { stamp: Stamp { token: *token, id }, envelope: rest[bar + 1..].to_vec() })
    }

    /// As it stands in Redis.
    pub(crate) fn write(stamp: &Stamp, envelope: &[u8]) -> Vec<u8> {
        [&stamp.token[..], stamp.id.to_string().as_bytes(), b"|", envelope].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_rubbish_is_none() {
        // Tokens are random: a bar in one is no end.
        let stamp = Stamp { token: [b'|'; 16], id: WriteId { ms: 17, seq: 3 } };
        let record = Pending::write(&stamp, b"|envelope|");
        assert_eq!(record, b"||||||||||||||||17-3||envelope|");
        assert_eq!(
            Pending::read(&record),
            Some(Pending { stamp, envelope: b"|envelope|".to_vec() })
        );
        for rubbish in
            [&b""[..], b"short", &record[..19], b"0123456789abcdef17|", b"0123456789abcdefx-1|"]
        {
            assert_eq!(Pending::read(rubbish), None, "{}", rubbish.escape_ascii());
        }
    }

    #[test]
    fn ids_are_ordered_as_redis_orders_them() {
        let id = |text: &str| WriteId::parse(text.as_bytes()).unwrap();
        assert!(id("9-10") < id("10-0") && id("10-2") < id("10-10"));
        assert_eq!(id("5-18446744073709551615").next(), id("6-0"));
        assert_eq!(id("5-1").next().to_string(), "5-2");
    }
}
