//! The limits in Redis: one script, which has the server's time.

use std::time::Duration;

use super::Taking;
use super::limit::{Limit, LimitStanding, Wait, Way};
use crate::error::FarError;
use crate::key::{Name, Shape};
use crate::redis::{Call, Reply, Script, odd};

pub(in crate::structures) static JUDGE: Script = Script::new(include_str!("judge.lua"));

/// `mark`: bytes that no other call has.
pub(super) fn judge(
    of: &Shape,
    limits: &[Limit],
    cost: u32,
    taking: Taking,
    mark: &[u8; 16],
) -> Call {
    let names: Vec<Name> = limits.iter().map(|limit| of.part(&limit.part())).collect();
    let names: Vec<&Name> = names.iter().collect();
    let mut call = Call::script(&JUDGE, &names)
        .arg(cost)
        .arg(u8::from(taking == Taking::Yes))
        .arg(mark.as_slice());
    for limit in limits {
        let way = match limit.way() {
            Way::Log => "log",
            Way::Counter => "counter",
            Way::Bucket => "bucket",
        };
        call = call.arg(way).arg(limit.quota()).arg(limit.period_us()).arg(limit.rate());
    }
    call
}

pub(super) fn judged(
    reply: Reply,
    limits: &[Limit],
) -> Result<(bool, Vec<LimitStanding>), FarError> {
    let mut numbers = reply.list()?.into_iter().map(Reply::number);
    let mut next = || numbers.next().unwrap_or_else(|| Err(odd()));
    let allowed = next()? == 1;
    let us = |number: i64| Duration::from_micros(u64::try_from(number).unwrap_or(0));
    let mut standings = Vec::with_capacity(limits.len());
    for limit in limits {
        let (remaining, wait, rest) = (next()?, next()?, next()?);
        standings.push(LimitStanding {
            limit: *limit,
            remaining: u64::try_from(remaining).unwrap_or(0),
            wait: match wait {
                0 => Wait::Not,
                1.. => Wait::For(us(wait)),
                _ => Wait::Forever,
            },
            reset_after: us(rest),
        });
    }
    Ok((allowed, standings))
}

/// Forgets all that a key has taken.
pub(super) fn reset(of: &Shape, limits: &[Limit]) -> Option<Call> {
    let names: Vec<Name> = limits.iter().map(|limit| of.part(&limit.part())).collect();
    let (first, rest) = names.split_first()?;
    Some(rest.iter().fold(Call::new("UNLINK", first), |call, name| call.arg(name.bytes())))
}

/// Something of another type lies under our name: no limit will ever be judged by it, so people are told.
pub(super) fn is_wrong_type(why: &FarError) -> bool {
    matches!(why, FarError::Refused(text) if text.contains("WRONGTYPE"))
}
