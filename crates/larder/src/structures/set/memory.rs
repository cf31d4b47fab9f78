//! A set in this process.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use crate::clock::Clock;
use crate::structures::kept::{BYTES_MAX, Kept, Row, Time};

/// What a member costs beside its bytes.
const MEMBER_BYTES: usize = 48;

/// The members of one set, in the order of their bytes.
#[derive(Default)]
pub(super) struct Members {
    members: BTreeSet<Vec<u8>>,
    bytes: usize,
}

impl Row for Members {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

fn time(expire_after: Option<Duration>) -> Time {
    match expire_after {
        Some(time) => Time::Anew(Some(time)),
        None => Time::AsItWas,
    }
}

/// For each: 1: added, 0: it was there, 2: there is no room for it.
pub(super) fn add(
    kept: &Kept<Members>,
    set: &[u8],
    clock: &Clock,
    members: &[Vec<u8>],
    members_max: usize,
    expire_after: Option<Duration>,
) -> Vec<i64> {
    kept.write(set, clock.now(), |row| {
        let mut add = |member: &Vec<u8>| {
            if row.members.contains(member) {
                return 0;
            }
            // One alone takes no more than all together may.
            if row.members.len() >= members_max || row.bytes >= BYTES_MAX {
                return 2;
            }
            row.bytes += MEMBER_BYTES + member.len();
            row.members.insert(member.clone());
            1
        };
        let told: Vec<i64> = members.iter().map(&mut add).collect();
        let changed = told.iter().any(|code| *code != 2);
        (told, if changed { time(expire_after) } else { Time::AsItWas })
    })
}

pub(super) fn remove(
    kept: &Kept<Members>,
    set: &[u8],
    clock: &Clock,
    members: &[Vec<u8>],
) -> usize {
    kept.write(set, clock.now(), |row| {
        let mut removed = 0;
        for member in members {
            if row.members.remove(member) {
                row.bytes -= MEMBER_BYTES + member.len();
                removed += 1;
            }
        }
        (removed, Time::AsItWas)
    })
}

pub(super) fn contains(
    kept: &Kept<Members>,
    set: &[u8],
    clock: &Clock,
    members: &[Vec<u8>],
) -> Vec<bool> {
    kept.read(set, clock.now(), |row| {
        members.iter().map(|member| row.members.contains(member)).collect()
    })
}

pub(super) fn size(kept: &Kept<Members>, set: &[u8], clock: &Clock) -> usize {
    kept.read(set, clock.now(), |row| row.members.len())
}

/// Those behind one, in order; and whether there are more.
pub(super) fn page(
    kept: &Kept<Members>,
    set: &[u8],
    clock: &Clock,
    after: Option<&Vec<u8>>,
    count: usize,
) -> (Vec<Vec<u8>>, bool) {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    kept.read(set, clock.now(), |row| {
        let mut rest = row.members.range::<Vec<u8>, _>((from, Bound::Unbounded));
        let found = rest.by_ref().take(count).cloned().collect();
        (found, rest.next().is_some())
    })
}

/// Different ones, each as likely as the others: Vitter, "Random Sampling with a Reservoir", 1985, algorithm R.
pub(super) fn random(
    kept: &Kept<Members>,
    set: &[u8],
    clock: &Clock,
    count: usize,
) -> Vec<Vec<u8>> {
    kept.read(set, clock.now(), |row| {
        let mut drawn: Vec<&Vec<u8>> = Vec::with_capacity(count.min(row.members.len()));
        for (at, member) in row.members.iter().enumerate() {
            if drawn.len() < count {
                drawn.push(member);
                continue;
            }
            let place = (clock.fraction() * (at + 1) as f64) as usize;
            if let Some(drawn) = drawn.get_mut(place) {
                *drawn = member;
            }
        }
        drawn.into_iter().cloned().collect()
    })
}

/// All, if they are not too many; else how many there are.
pub(super) fn all(
    kept: &Kept<Members>,
    set: &[u8],
    clock: &Clock,
    most: usize,
) -> Result<Vec<Vec<u8>>, usize> {
    kept.read(set, clock.now(), |row| match row.members.len() {
        size if size > most => Err(size),
        _ => Ok(row.members.iter().cloned().collect()),
    })
}
