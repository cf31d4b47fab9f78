//! An object in Redis: a hash.

use super::change::{Change, Written};
use crate::error::FarError;
use crate::key::Name;
use crate::redis::{Call, Reply, Script};

pub(in crate::structures) static WRITE: Script = Script::new(include_str!("write.lua"));
pub(in crate::structures) static INCREMENT: Script = Script::new(include_str!("increment.lua"));

pub(super) fn write(object: &Name, change: &Change, expire_ms: u64) -> Call {
    let mut call = Call::script(&WRITE, &[object]).arg(change.when.word()).arg(expire_ms);
    call = call.arg(change.set.len());
    for (field, bytes) in &change.set {
        call = call.arg(*field).arg(bytes.as_slice());
    }
    change.removed.iter().fold(call, |call, field| call.arg(*field))
}

pub(super) fn written(reply: Reply, change: &Change) -> Result<Written, FarError> {
    Ok(match reply.number()? {
        0 => change.when.refusal(),
        _ => Written::Done,
    })
}

pub(super) fn increment(object: &Name, how: &str, field: &str, by: String, expire_ms: u64) -> Call {
    Call::script(&INCREMENT, &[object]).arg(how).arg(field).arg(by).arg(expire_ms)
}

/// What the server says when there is no sum: anything else went wrong otherwise.
pub(super) fn has_no_sum(why: &FarError) -> bool {
    let FarError::Refused(text) = why else { return false };
    let words = ["value is not a", "would overflow", "NaN or Infinity"];
    words.iter().any(|words| text.contains(words))
}

pub(super) fn read(object: &Name, fields: &[&'static str]) -> Call {
    fields.iter().fold(Call::new("HMGET", object), |call, field| call.arg(*field))
}

/// Those that are there, by their names.
pub(super) fn fields(
    reply: Reply,
    names: &[&'static str],
) -> Result<Vec<(&'static str, Vec<u8>)>, FarError> {
    let mut found = Vec::with_capacity(names.len());
    for (name, value) in names.iter().zip(reply.list()?) {
        if let Some(bytes) = value.maybe_bytes()? {
            found.push((*name, bytes));
        }
    }
    Ok(found)
}
