//! The scripts, and each of their calls as one command: the same for one server and for a cluster.
//!
//! Names and arguments of a script are put in order here and nowhere else (those of writes that wait in
//! [`backlog`](super::backlog)); who is asked, and what the answer means, is for those who send them.

use std::time::Duration;

use ::redis::Cmd;

use crate::entry::{Ended, SoftHalf, Token};
use crate::far::Finish;
use crate::key::Key;
use crate::redis::Script;

static READ: Script = Script::new(include_str!("scripts/read.lua"));
static STORE: Script = Script::new(include_str!("scripts/store.lua"));
static RESTAMP: Script = Script::new(include_str!("scripts/restamp.lua"));
static FAIL: Script = Script::new(include_str!("scripts/fail.lua"));
pub(super) static RELEASE: Script = Script::new(include_str!("scripts/release.lua"));
pub(super) static EXTEND: Script = Script::new(include_str!("scripts/extend.lua"));
static PUT: Script =
    Script::new(concat!(include_str!("scripts/guards.lua"), include_str!("scripts/put.lua")));
static END: Script =
    Script::new(concat!(include_str!("scripts/guards.lua"), include_str!("scripts/end.lua")));
static GUARD: Script =
    Script::new(concat!(include_str!("scripts/guards.lua"), include_str!("scripts/guard.lua")));
static FINISH: Script =
    Script::new(concat!(include_str!("scripts/guards.lua"), include_str!("scripts/finish.lua")));
static EXPIRE: Script =
    Script::new(concat!(include_str!("scripts/guards.lua"), include_str!("scripts/expire.lua")));
static EXPIRE_TAG: Script = Script::new(include_str!("scripts/expire_tag.lua"));
/// What a connection has loaded before it is used.
pub(super) static ALL: [&Script; 12] = [
    &READ,
    &STORE,
    &RESTAMP,
    &FAIL,
    &RELEASE,
    &EXTEND,
    &PUT,
    &END,
    &GUARD,
    &FINISH,
    &EXPIRE,
    &EXPIRE_TAG,
];

/// What lists the members of tags, and frees them.
#[cfg(feature = "structures")]
pub(super) static OF_MEMBERS: &[&Script] = &crate::far::members::SCRIPTS;
#[cfg(not(feature = "structures"))]
pub(super) static OF_MEMBERS: &[&Script] = &[];

// Halves of the above, for a slot that is on its way between two nodes.
static END_LEASE: Script =
    Script::new(concat!(include_str!("scripts/guards.lua"), include_str!("scripts/end_lease.lua")));
static GUARD_LEASE: Script = Script::new(concat!(
    include_str!("scripts/guards.lua"),
    include_str!("scripts/guard_lease.lua")
));
static EXPIRE_VALUE: Script = Script::new(concat!(
    include_str!("scripts/guards.lua"),
    include_str!("scripts/expire_value.lua")
));
/// What a node of a cluster is told besides.
pub(super) static HALVES: [&Script; 3] = [&END_LEASE, &GUARD_LEASE, &EXPIRE_VALUE];

/// The value, if it is another than the one `seen`; else the lease, under `token`.
pub(super) fn read(key: &Key, token: &Token, lease: Duration, seen: Option<&Token>) -> Cmd {
    let mut call = match key.d() {
        None => READ.call(&[key.v(), &key.l()]),
        Some(d) => READ.call(&[key.v(), &key.l(), &d]),
    };
    call.arg(&token[..]).arg(ms(lease)).arg(seen.map_or(&[][..], |id| &id[..]));
    call
}

pub(super) fn store(key: &Key, token: &Token, envelope: &[u8], keep: Duration) -> Cmd {
    let mut call = STORE.call(&[key.v(), &key.l()]);
    call.arg(&token[..]).arg(envelope).arg(ms(keep));
    call
}

/// A new header before what is there, if that is the envelope `seen`.
pub(super) fn restamp(key: &Key, token: &Token, seen: &Token, head: &[u8], keep: Duration) -> Cmd {
    let mut call = RESTAMP.call(&[key.v(), &key.l()]);
    call.arg(&token[..]).arg(&seen[..]).arg(head).arg(ms(keep));
    call
}

pub(super) fn fail(key: &Key, token: &Token, code: &str, backoff: Duration) -> Cmd {
    let mut call = FAIL.call(&[&key.l()]);
    call.arg(&token[..]).arg(code).arg(ms(backoff));
    call
}

pub(super) fn release(key: &Key, token: &Token) -> Cmd {
    let mut call = RELEASE.call(&[&key.l()]);
    call.arg(&token[..]);
    call
}

pub(super) fn extend(key: &Key, token: &Token, lease: Duration) -> Cmd {
    let mut call = EXTEND.call(&[&key.l()]);
    call.arg(&token[..]).arg(ms(lease));
    call
}

pub(super) fn put(key: &Key, envelope: &[u8], keep: Duration) -> Cmd {
    let mut call = PUT.call(&[key.v(), &key.l()]);
    call.arg(envelope).arg(ms(keep));
    call
}

pub(super) fn guard(key: &Key, token: &Token, time: Duration) -> Cmd {
    let mut call = GUARD.call(&[key.v(), &key.l()]);
    call.arg(&token[..]).arg(ms(time));
    call
}

/// [`guard`] without the value.
pub(super) fn guard_lease(key: &Key, token: &Token, time: Duration) -> Cmd {
    let mut call = GUARD_LEASE.call(&[&key.l()]);
    call.arg(&token[..]).arg(ms(time));
    call
}

/// Ends the entry: by its writer's guard, or whoever's.
pub(super) fn end_at(key: &Key, guard: &[u8]) -> Cmd {
    let mut call = END.call(&[key.v(), &key.l()]);
    call.arg(guard);
    call
}

pub(super) fn finish(finish: Finish<'_>) -> Cmd {
    let mut call = FINISH.call(&[finish.key.v(), &finish.key.l()]);
    call.arg(&finish.token[..]).arg(finish.envelope).arg(ms(finish.keep));
    call
}

/// The one command that ends it.
pub(super) fn end_of(name: &Ended, app: &str, soft: SoftHalf) -> Cmd {
    match name {
        Ended::Key(key) => end_at(key, b""),
        Ended::Guarded(key, token) => end_at(key, token),
        Ended::SoftKey(key) => EXPIRE.call(&[key.v(), &key.l()]),
        Ended::Tag(tag) => {
            let mut call = ::redis::cmd("UNLINK");
            call.arg(tag.redis_name(app));
            call
        }
        Ended::SoftTag(tag) => {
            let mut call = EXPIRE_TAG.call(&[&tag.redis_name(app)]);
            call.arg(&soft[..]);
            call
        }
    }
}

/// Ends what is under the lease's name: all loads, and the guard of that token.
pub(super) fn end_lease(key: &Key, guard: &[u8]) -> Cmd {
    let mut call = END_LEASE.call(&[&key.l()]);
    call.arg(guard);
    call
}

/// Marks the value as expired.
pub(super) fn expire_value(key: &Key) -> Cmd {
    EXPIRE_VALUE.call(&[key.v()])
}

/// At least a millisecond: Redis refuses zero.
pub(super) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
