//! A set in Redis.

use super::together::How;
use crate::error::FarError;
use crate::key::Name;
use crate::redis::{Call, Reply, Script, odd};

pub(in crate::structures) static ADD: Script = Script::new(include_str!("add.lua"));
pub(in crate::structures) static TOGETHER: Script = Script::new(include_str!("together.lua"));

pub(super) fn add(set: &Name, members: &[Vec<u8>], members_max: usize, expire_ms: u64) -> Call {
    let call = Call::script(&ADD, &[set]).arg(members_max).arg(expire_ms);
    with(call, members)
}

pub(super) fn with(call: Call, members: &[Vec<u8>]) -> Call {
    members.iter().fold(call, |call, member| call.arg(member.as_slice()))
}

pub(super) fn numbers(reply: Reply) -> Result<Vec<i64>, FarError> {
    reply.list()?.into_iter().map(Reply::number).collect()
}

pub(super) fn members(reply: Reply) -> Result<Vec<Vec<u8>>, FarError> {
    reply.list()?.into_iter().map(Reply::bytes).collect()
}

pub(super) fn page(set: &Name, cursor: u64, count: usize) -> Call {
    Call::new("SSCAN", set).arg(cursor).arg("COUNT").arg(count)
}

/// The next cursor, and what was found.
pub(super) fn paged(reply: Reply) -> Result<(u64, Vec<Vec<u8>>), FarError> {
    let (cursor, found) = reply.pair()?;
    let cursor = cursor.text()?.parse().map_err(|_| odd())?;
    Ok((cursor, members(found)?))
}

pub(super) fn together(sets: &[&Name], how: How, most: usize) -> Call {
    let word = match how {
        How::Union => "SUNION",
        How::Intersection => "SINTER",
        How::Difference => "SDIFF",
    };
    Call::script(&TOGETHER, sets).arg(word).arg(most)
}

/// The members; or how many there are, if they are too many.
pub(super) fn put_together(reply: Reply) -> Result<Result<Vec<Vec<u8>>, usize>, FarError> {
    let (done, found) = reply.pair()?;
    match done.number()? {
        1 => members(found).map(Ok),
        _ => found.count().map(Err),
    }
}

/// How many are in all of them, counted up to a limit.
pub(super) fn common(sets: &[&Name], limit: usize) -> Option<Call> {
    let (first, rest) = sets.split_first()?;
    let call = Call::with_verb("SINTERCARD", &sets.len().to_string(), first);
    let call = rest.iter().fold(call, |call, set| call.arg(set.bytes()));
    Some(call.arg("LIMIT").arg(limit))
}
