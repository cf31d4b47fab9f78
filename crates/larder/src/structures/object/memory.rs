//! An object in this process.

use std::collections::HashMap;
use std::time::Duration;

use super::change::{Change, Written};
use crate::clock::Moment;
use crate::structures::kept::{Kept, Row, Time};

/// What a field costs beside its bytes.
const FIELD_BYTES: usize = 64;

/// The fields of one object.
#[derive(Default)]
pub(super) struct Fields {
    fields: HashMap<&'static str, Vec<u8>>,
    bytes: usize,
}

impl Row for Fields {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl Fields {
    fn set(&mut self, name: &'static str, bytes: Vec<u8>) {
        self.bytes += FIELD_BYTES + bytes.len();
        if let Some(before) = self.fields.insert(name, bytes) {
            self.bytes -= FIELD_BYTES + before.len();
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(before) = self.fields.remove(name) {
            self.bytes -= FIELD_BYTES + before.len();
        }
    }
}

/// A time, where writing gives one; as it was, where it gives none.
fn time(expire_after: Option<Duration>) -> Time {
    match expire_after {
        Some(time) => Time::Anew(Some(time)),
        None => Time::AsItWas,
    }
}

pub(super) fn write(
    kept: &Kept<Fields>,
    object: &[u8],
    now: Moment,
    change: &Change,
    expire_after: Option<Duration>,
) -> Written {
    kept.write(object, now, |row| {
        if !change.when.allows(!row.is_empty()) {
            return (change.when.refusal(), Time::AsItWas);
        }
        for (name, bytes) in &change.set {
            row.set(name, bytes.clone());
        }
        for name in &change.removed {
            row.remove(name);
        }
        (Written::Done, time(expire_after))
    })
}

pub(super) fn read(
    kept: &Kept<Fields>,
    object: &[u8],
    now: Moment,
    names: &[&'static str],
) -> Vec<(&'static str, Vec<u8>)> {
    let field = |row: &Fields, name: &&'static str| Some((*name, row.fields.get(name)?.clone()));
    kept.read(object, now, |row| names.iter().filter_map(|name| field(row, name)).collect())
}

/// Adds to a number, by the rules of Redis; `None` when it is none, or there is no sum.
pub(super) fn increment<N: ToString>(
    kept: &Kept<Fields>,
    object: &[u8],
    now: Moment,
    name: &'static str,
    expire_after: Option<Duration>,
    sum: impl FnOnce(&str) -> Option<N>,
) -> Option<N> {
    kept.write(object, now, |row| {
        let bytes = row.fields.get(name).map_or(b"0".as_slice(), Vec::as_slice);
        let sum = std::str::from_utf8(bytes).ok().and_then(sum);
        match sum {
            Some(sum) => {
                row.set(name, sum.to_string().into_bytes());
                (Some(sum), time(expire_after))
            }
            None => (None, Time::AsItWas),
        }
    })
}

pub(super) fn expire(kept: &Kept<Fields>, object: &[u8], now: Moment, after: Duration) -> bool {
    kept.write(object, now, |row| (!row.is_empty(), Time::Anew(Some(after))))
}

pub(super) fn exists(kept: &Kept<Fields>, object: &[u8], now: Moment) -> bool {
    kept.read(object, now, |row| !row.is_empty())
}
