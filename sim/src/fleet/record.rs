//! What one process did, a line each: how it reaches the one who judges.
//!
//! Times are microseconds of the machine's monotonic clock, which all processes share.

use std::fmt;
use std::str::FromStr;

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Near,
    Far,
    Loaded,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// A read, and the version that it was answered with.
    Read { key: usize, start: u64, end: u64, version: u64, from: From },
    /// A read that failed.
    Failed { key: usize, start: u64 },
    /// A commit, and the end of the entry after it: confirmed at `end`, or not.
    Ended { key: usize, version: u64, start: u64, end: u64, confirmed: bool },
    /// The source was asked.
    Loaded { key: usize, at: u64 },
    /// The process asks its source and is never answered: it holds a lease.
    Holds { at: u64 },
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Record::Read { key, start, end, version, from } => {
                let from = match from {
                    From::Near => 'n',
                    From::Far => 'f',
                    From::Loaded => 'l',
                };
                write!(f, "R {key} {start} {end} {version} {from}")
            }
            Record::Failed { key, start } => write!(f, "F {key} {start}"),
            Record::Ended { key, version, start, end, confirmed } => {
                write!(f, "E {key} {version} {start} {end} {}", u8::from(*confirmed))
            }
            Record::Loaded { key, at } => write!(f, "L {key} {at}"),
            Record::Holds { at } => write!(f, "H {at}"),
        }
    }
}

impl FromStr for Record {
    type Err = ();

    fn from_str(line: &str) -> Result<Record, ()> {
        let mut words = line.split(' ');
        let kind = words.next().ok_or(())?;
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).ok_or(());
        let record = match kind {
            "R" => {
                let (key, start, end, version) =
                    (number()? as usize, number()?, number()?, number()?);
                let from = match words.next() {
                    Some("n") => From::Near,
                    Some("f") => From::Far,
                    Some("l") => From::Loaded,
                    _ => return Err(()),
                };
                Record::Read { key, start, end, version, from }
            }
            "F" => Record::Failed { key: number()? as usize, start: number()? },
            "E" => Record::Ended {
                key: number()? as usize,
                version: number()?,
                start: number()?,
                end: number()?,
                confirmed: number()? == 1,
            },
            "L" => Record::Loaded { key: number()? as usize, at: number()? },
            "H" => Record::Holds { at: number()? },
            _ => return Err(()),
        };
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let records = [
            Record::Read { key: 1, start: 2, end: 3, version: 4, from: From::Far },
            Record::Failed { key: 1, start: 2 },
            Record::Ended { key: 1, version: 2, start: 3, end: 4, confirmed: true },
            Record::Loaded { key: 1, at: 2 },
            Record::Holds { at: 5 },
        ];
        for record in records {
            assert_eq!(record.to_string().parse(), Ok(record));
        }
        assert_eq!("R 1 2".parse::<Record>(), Err(()), "cut off when the process was killed");
    }
}
