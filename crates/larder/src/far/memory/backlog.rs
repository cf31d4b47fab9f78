//! Writes that wait, in this process: the same answers as Redis gives, and gone with the process.
//!
//! They are not forgotten when the shelf is over its budget: what bounds them is that each queue is full at some
//! length.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::{MemoryFar, Step, ready};
use crate::clock::Moment;
use crate::entry::{Pending, Stamp, Token, WriteId};
use crate::error::FarError;
use crate::far::Reply;
use crate::far::backlog::{
    Backlog, Claimed, Dead, Depth, Done, Durability, Of, Queued, Replayed, Write,
};
use crate::key::{Key, Partition};

/// All that waits on a shelf.
#[derive(Clone, Default)]
pub(super) struct Writes {
    /// D, by its name.
    pending: HashMap<Vec<u8>, Vec<u8>>,
    queues: HashMap<Partition, Queue>,
}

#[derive(Clone, Default)]
struct Queue {
    last: WriteId,
    entries: BTreeMap<WriteId, Of>,
    /// Of these, those that a worker has.
    claimed: BTreeSet<WriteId>,
    /// Who works on it, and until when.
    holder: Option<(Token, Moment)>,
    dead: BTreeMap<WriteId, Dead>,
    last_dead: WriteId,
}

impl Writes {
    pub(super) fn pending(&self, d: &[u8]) -> Option<&[u8]> {
        self.pending.get(d).map(Vec::as_slice)
    }
}

/// The next id: the clock's, or the one above the last.
fn after(last: &mut WriteId, now: Moment) -> WriteId {
    *last = WriteId { ms: now.ms(), seq: 0 }.max(last.next());
    *last
}

impl Queue {
    fn add(&mut self, of: Of, now: Moment) -> WriteId {
        let id = after(&mut self.last, now);
        self.entries.insert(id, of);
        id
    }

    fn is_held_by(&self, token: &Token, now: Moment) -> bool {
        matches!(&self.holder, Some((held, until)) if held == token && *until > now)
    }

    fn remove(&mut self, entries: &[WriteId]) {
        for id in entries {
            self.entries.remove(id);
            self.claimed.remove(id);
        }
    }
}

impl Step<'_> {
    fn queue(&mut self, partition: &Partition) -> &mut Queue {
        self.state.writes.queues.entry(partition.clone()).or_default()
    }

    fn set_pending(&mut self, d: Vec<u8>, stamp: &Stamp, envelope: &[u8]) {
        self.own.push(Arc::from(d.as_slice()));
        self.state.writes.pending.insert(d, Pending::write(stamp, envelope));
    }

    /// Removes D, if it is this write.
    fn take_pending(&mut self, key: &Key, stamp: &Stamp) -> Option<Pending> {
        let d = key.d()?;
        let pending = Pending::read(self.state.writes.pending(&d)?)?;
        if pending.stamp != *stamp {
            return None;
        }
        self.state.writes.pending.remove(&d);
        self.own.push(Arc::from(d.as_slice()));
        Some(pending)
    }
}

impl MemoryFar {
    fn backlog_step<'a, T: Send + 'a>(
        &self,
        key: &Key,
        run: impl FnOnce(&mut Step<'_>, Partition, &[u8]) -> T,
    ) -> Reply<'a, T> {
        match key.in_partition() {
            Some((partition, k)) => self.link.untracked(|step| run(step, partition, k)),
            None => {
                let odd = FarError::Refused("a name outside every partition".to_owned());
                Box::pin(std::future::ready(Err(odd)))
            }
        }
    }
}

impl Backlog for MemoryFar {
    fn write<'a>(&'a self, write: Write<'a>) -> Reply<'a, Queued> {
        let Write { key, token, envelope, keep, typed, bound } = write;
        self.backlog_step(key, |step, partition, _| {
            let (now, d) = (step.now, key.d().unwrap_or_default());
            let queue = step.queue(&partition);
            if queue.entries.len() >= bound {
                return Queued::Full;
            }
            let id = queue.add(Of { key: key.clone(), token, typed: typed.to_vec() }, now);
            step.set_pending(d, &Stamp { token, id }, envelope);
            step.set(key.v(), envelope.to_vec(), keep);
            step.unlink(&key.l());
            Queued::At(id)
        })
    }

    fn hold<'a>(
        &'a self,
        partition: &'a Partition,
        token: Token,
        time: Duration,
    ) -> Reply<'a, Result<(), Duration>> {
        self.link.untracked(|step| {
            let now = step.now;
            let queue = step.queue(partition);
            match &queue.holder {
                Some((held, until)) if *held != token && *until > now => Err(until.since(now)),
                _ => {
                    queue.holder = Some((token, now.plus(time)));
                    Ok(())
                }
            }
        })
    }

    fn renew<'a>(
        &'a self,
        partition: &'a Partition,
        token: Token,
        time: Duration,
    ) -> Reply<'a, bool> {
        self.link.untracked(|step| {
            let now = step.now;
            let queue = step.queue(partition);
            let ours = queue.is_held_by(&token, now);
            if ours {
                queue.holder = Some((token, now.plus(time)));
            }
            ours
        })
    }

    fn give_back<'a>(&'a self, partition: &'a Partition, token: Token) -> Reply<'a, bool> {
        self.link.untracked(|step| {
            let now = step.now;
            let queue = step.queue(partition);
            let ours = queue.is_held_by(&token, now);
            if ours {
                queue.holder = None;
            }
            ours
        })
    }

    fn claim<'a>(
        &'a self,
        partition: &'a Partition,
        token: Token,
        after: Option<WriteId>,
        most: usize,
    ) -> Reply<'a, Option<Vec<Claimed>>> {
        self.link.untracked(|step| {
            let now = step.now;
            let queue = step.queue(partition);
            if !queue.is_held_by(&token, now) {
                return None;
            }
            let ids: Vec<WriteId> = match after {
                Some(after) => {
                    let claimed = queue.claimed.range(after.next()..);
                    claimed.take(most).copied().collect()
                }
                None => {
                    let free = queue.entries.keys().filter(|id| !queue.claimed.contains(id));
                    free.take(most).copied().collect()
                }
            };
            queue.claimed.extend(&ids);
            let claimed = |id: WriteId| Claimed { id, of: queue.entries.get(&id).cloned() };
            Some(ids.into_iter().map(claimed).collect())
        })
    }

    fn pending<'a>(&'a self, keys: &'a [Key]) -> Reply<'a, Vec<Option<Vec<u8>>>> {
        self.link.untracked(|step| {
            let pending = |key: &Key| step.state.writes.pending(&key.d()?).map(<[u8]>::to_vec);
            keys.iter().map(pending).collect()
        })
    }

    fn clear<'a>(&'a self, partition: &'a Partition, done: &'a [Done<'a>]) -> Reply<'a, Vec<bool>> {
        self.link.untracked(|step| {
            let mut cleared = Vec::with_capacity(done.len());
            for Done { key, stamp, entries } in done {
                let stamp = stamp.as_ref();
                cleared.push(stamp.is_some_and(|stamp| step.take_pending(key, stamp).is_some()));
                step.queue(partition).remove(entries);
            }
            cleared
        })
    }

    fn rebase<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        above: WriteId,
        typed: &'a [u8],
    ) -> Reply<'a, Option<WriteId>> {
        self.backlog_step(key, |step, partition, _| {
            let (now, d) = (step.now, key.d()?);
            let pending = Pending::read(step.state.writes.pending(&d)?)?;
            if pending.stamp.token != token {
                return None;
            }
            let of = Of { key: key.clone(), token, typed: typed.to_vec() };
            let queue = step.queue(&partition);
            let id = if above.next() > queue.last {
                queue.last = above.next();
                queue.entries.insert(queue.last, of);
                queue.last
            } else {
                queue.add(of, now)
            };
            step.set_pending(d, &Stamp { token, id }, &pending.envelope);
            Some(id)
        })
    }

    fn bury<'a>(&'a self, done: Done<'a>, typed: &'a [u8], reason: &'a str) -> Reply<'a, bool> {
        self.backlog_step(done.key, |step, partition, _| {
            let now = step.now;
            let taken = done.stamp.and_then(|stamp| step.take_pending(done.key, &stamp));
            let buried = taken.is_some();
            if let Some(pending) = taken {
                step.unlink(done.key.v());
                step.unlink(&done.key.l());
                let queue = step.queue(&partition);
                let id = after(&mut queue.last_dead, now);
                let (key, envelope) = (done.key.clone(), pending.envelope);
                let (typed, reason) = (typed.to_vec(), reason.as_bytes().to_vec());
                queue.dead.insert(id, Dead { id, key, typed, envelope, reason });
            }
            step.queue(&partition).remove(done.entries);
            buried
        })
    }

    fn dead<'a>(
        &'a self,
        partition: &'a Partition,
        after: WriteId,
        most: usize,
    ) -> Reply<'a, Vec<Dead>> {
        self.link.untracked(|step| {
            let dead = step.queue(partition).dead.range(after.next()..);
            dead.take(most).map(|(_, dead)| dead.clone()).collect()
        })
    }

    fn replay<'a>(&'a self, key: &'a Key, id: WriteId, token: Token) -> Reply<'a, Replayed> {
        self.backlog_step(key, |step, partition, _| {
            let (now, d) = (step.now, key.d().unwrap_or_default());
            let newer = step.state.writes.pending(&d).is_some();
            let queue = step.queue(&partition);
            if !queue.dead.contains_key(&id) {
                return Replayed::Gone;
            }
            if newer {
                return Replayed::Newer;
            }
            let Some(dead) = queue.dead.remove(&id) else { return Replayed::Gone };
            let id = queue.add(Of { key: dead.key, token, typed: dead.typed }, now);
            step.set_pending(d, &Stamp { token, id }, &dead.envelope);
            step.unlink(key.v());
            step.unlink(&key.l());
            Replayed::Queued
        })
    }

    fn forget_dead<'a>(&'a self, partition: &'a Partition, id: WriteId) -> Reply<'a, bool> {
        self.link.untracked(|step| step.queue(partition).dead.remove(&id).is_some())
    }

    fn depths<'a>(&'a self, partitions: &'a [Partition]) -> Reply<'a, Vec<Depth>> {
        self.link.untracked(|step| {
            let mut depth = |partition: &Partition| {
                let queue = step.queue(partition);
                let (waiting, dead) = (queue.entries.len() as u64, queue.dead.len() as u64);
                Depth { waiting, dead, oldest: queue.entries.keys().next().copied() }
            };
            partitions.iter().map(&mut depth).collect()
        })
    }

    fn durability<'a>(&'a self, _: &'a Partition) -> Reply<'a, Durability> {
        // Nothing of it is thrown away, and none of it is on disk.
        ready(Durability { policy: "noeviction".to_owned(), logs: Some(false) })
    }
}
