//! Writes that the source hears of later: kept far, in order and for good, until workers have told it.
//!
//! A write is acknowledged when it stands in Redis: as the value, as the pending write D beside it, and in the
//! queue of its partition. From then on it is what everybody reads, and it is not lost with any process of ours.
//! [`worker`]s take it from there; one at a time has a partition, so one key's writes reach the source one after
//! the other. What waits is bounded: past that, writes are pushed back.
//!
//! A write goes on to its end when its caller is dropped. It is sent once: repeated after a lost answer, it could
//! land over a newer one.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::store::Times;
use super::{Call, Tiers};
use crate::clock::Pauses;
use crate::entry::{Ended, Incarnation, Tagged, Token, Value, WriteId};
use crate::error::{Error, ErrorKind, FarError};
use crate::far::backlog::{Backlog, Dead, Depth, Queued, Replayed, Write};
use crate::invalidation::Ends;
use crate::key::{Key, Partition};
use crate::observe::{Event, NotStored};
use crate::policy::{WhenFull, WriteBehind};
use crate::source::Loaded;

mod crew;
mod worker;

pub(crate) use crew::Crew;
pub(crate) use worker::{Batch, Flush, Outcome, Telling, Worker, Writing};

/// While a queue is full: how long a writer waits before it tries again.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How many servers are remembered as fit to keep writes; a cluster has fewer.
const APPROVED_MAX: usize = 1024;

/// What writers and workers of one cache share in a process.
pub(crate) struct Backstage {
    settings: WriteBehind,
    partitions: Vec<Partition>,
    /// One for each: rung when a writer of this process has queued something.
    bells: Vec<Notify>,
    /// Servers that keep what they are given. Locked for a look.
    approved: Mutex<Vec<Incarnation>>,
}

impl Backstage {
    pub(crate) fn new(settings: WriteBehind, partitions: Vec<Partition>) -> Backstage {
        let bells = partitions.iter().map(|_| Notify::new()).collect();
        Backstage { settings, partitions, bells, approved: Mutex::default() }
    }

    pub(crate) fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    fn bell(&self, partition: &Partition) -> Option<&Notify> {
        self.bells.get(partition.number() as usize)
    }

    fn ring(&self, partition: &Partition) {
        if let Some(bell) = self.bell(partition) {
            bell.notify_one();
        }
    }
}

/// A write as it will be sent.
struct Made {
    key: Key,
    token: Token,
    envelope: Vec<u8>,
    keep: Duration,
    tagged: Vec<Tagged>,
    typed: Vec<u8>,
}

fn failed(what: &str, why: FarError) -> Error {
    Error::new(why.kind(), format!("cannot {what}")).because(why)
}

/// Was it perhaps done?
fn is_in_doubt(why: &FarError) -> bool {
    matches!(why, FarError::Slow | FarError::Broken(_) | FarError::Unvouched)
}

impl Tiers {
    pub(crate) fn backlog(&self) -> Result<&dyn Backlog, Error> {
        let none = || Error::new(ErrorKind::Config, "this far side keeps no writes");
        self.far.backlog().ok_or_else(none)
    }

    /// Keeps a value that its source does not have yet; `None`: that there is none any more. `typed` is the caller's
    /// key, for the sink.
    pub(crate) async fn write_behind(
        &self,
        ends: &Ends,
        backstage: &Arc<Backstage>,
        call: Call,
        loaded: Loaded<Option<Value>>,
        typed: Vec<u8>,
    ) -> Result<(), Error> {
        loaded.lifetime.unwrap_or(call.policy.lifetime).check()?;
        let Some((partition, _)) = call.key.in_partition() else {
            let text = "cannot write behind: the key is in no partition";
            return Err(Error::new(ErrorKind::Config, text).at(&call.key));
        };
        self.approve(backstage, std::slice::from_ref(&partition)).await?;
        let made = self.make(&call, &loaded, typed).await?;
        let made = Arc::new(made);
        let until = self.clock.now().plus(match backstage.settings.when_full {
            WhenFull::Refuse => Duration::ZERO,
            WhenFull::Wait(time) => time,
        });
        let mut pauses = Pauses::new(&self.clock, FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let bound = backstage.settings.backlog_max;
            match self.queue_to_its_end(ends, made.clone(), bound).await? {
                Queued::At(_) => {
                    self.observe.tell(Event::WriteQueued { cache: self.observe.cache() });
                    backstage.ring(&partition);
                    return Ok(());
                }
                // It did not run, so the same may be sent again.
                Queued::Full if self.clock.now() < until => pauses.pause().await,
                Queued::Full => {
                    self.observe.tell(Event::WriteTurnedAway { cache: self.observe.cache() });
                    let text = format!(
                        "nothing was written: {bound} writes of its partition wait for the source already"
                    );
                    return Err(Error::new(ErrorKind::Overloaded, text).at(&call.key));
                }
            }
        }
    }

    /// The envelope, and the tags' generations in it as they are before the value is there.
    async fn make(
        &self,
        call: &Call,
        loaded: &Loaded<Option<Value>>,
        typed: Vec<u8>,
    ) -> Result<Made, Error> {
        let unwritten = |why| failed("write behind: nothing was changed", why).at(&call.key);
        let link = self.far.link().map_err(unwritten)?;
        let lifetime = loaded.lifetime.unwrap_or(call.policy.lifetime);
        let need = call.need(lifetime);
        let tagged = self.tags_before(call, &loaded.tags, need, &link).await.map_err(unwritten)?;
        let drawn = lifetime.draw(loaded.value.is_none(), &self.clock);
        let (server_now_ms, by) =
            (link.server_ms_at(self.clock.now(), &call.key), link.incarnation(&call.key));
        let times = Times { drawn, server_now_ms, cost: Duration::ZERO, by };
        let token = self.leases.token();
        let envelope = self.envelope(call, token, loaded, &tagged, times);
        let written = envelope.map_err(|why| {
            self.not_stored(why);
            let text = match why {
                NotStored::TooLarge => format!(
                    "a value longer than value_bytes_max ({}) was not written",
                    call.policy.value_bytes_max
                ),
                _ => "a value was not written: it cannot be turned into bytes, or carries more than 255 tags".to_owned(),
            };
            Error::new(ErrorKind::Encode, text).at(&call.key)
        })?;
        let (key, envelope) = (call.key.clone(), written.envelope);
        Ok(Made { key, token, envelope, keep: drawn.whole, tagged, typed })
    }

    /// Sends it once, in a task of its own.
    async fn queue_to_its_end(
        &self,
        ends: &Ends,
        made: Arc<Made>,
        bound: usize,
    ) -> Result<Queued, Error> {
        let behind = self.leases.behind.clone();
        let Some(room) = behind.room() else {
            let error = Error::new(ErrorKind::Overloaded, "nothing was written");
            return Err(error.at(&made.key).because(FarError::Crowded));
        };
        let (this, ends) = (self.clone(), ends.clone());
        let writing = room.run(async move {
            let ended = [Ended::Key(made.key.clone())];
            ends.forget(&ended);
            let Made { key, token, envelope, keep, tagged, typed } = &*made;
            let (token, keep) = (*token, *keep);
            let answer = match this.backlog() {
                Ok(backlog) => {
                    backlog.write(Write { key, token, envelope, keep, typed, bound }).await
                }
                Err(why) => return Err(why),
            };
            ends.forget(&ended);
            if matches!(answer, Ok(Queued::At(_))) {
                this.note(key, tagged, keep);
            }
            answer.map_err(|why| match is_in_doubt(&why) {
                true => {
                    let text = "a write was not confirmed by redis: it may have been kept, or may be later";
                    Error::new(ErrorKind::Unconfirmed, text).at(key).because(why)
                }
                false => failed("write behind: nothing was changed", why).at(key),
            })
        });
        writing.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "the runtime stopped")))
    }

    /// Refuses a server that throws away what it is given. Asked once of each, and again of the one that follows it.
    pub(crate) async fn approve(
        &self,
        backstage: &Backstage,
        partitions: &[Partition],
    ) -> Result<(), Error> {
        for partition in partitions {
            let unasked = |why| failed("learn how redis keeps writes: nothing was changed", why);
            let by = self.far.link().map_err(unasked)?.incarnation(&partition.key(b""));
            if backstage.approved.lock().contains(&by) {
                continue;
            }
            let kept = self.backlog()?.durability(partition).await.map_err(unasked)?;
            if kept.policy.starts_with("allkeys") {
                let text = format!(
                    "cannot write behind: redis has maxmemory-policy {}, under which it throws away writes that the source does not have yet; set noeviction",
                    kept.policy
                );
                return Err(Error::new(ErrorKind::Config, text));
            }
            let cache = self.observe.cache();
            if kept.policy.is_empty() {
                tracing::warn!(
                    cache,
                    "redis does not say (INFO memory) whether it evicts keys without an end: under maxmemory-policy allkeys-* writes are lost"
                );
            }
            if kept.logs != Some(true) {
                tracing::warn!(
                    cache,
                    "what is written behind is in memory only (no append-only file, or the far side is embedded): with the server, writes that the source does not have yet are lost"
                );
            }
            let mut approved = backstage.approved.lock();
            if approved.len() >= APPROVED_MAX {
                approved.clear();
            }
            approved.push(by);
        }
        Ok(())
    }

    /// How much waits, by partition.
    pub(crate) async fn depths(&self, backstage: &Backstage) -> Result<Vec<Depth>, Error> {
        let asking = self.backlog()?.depths(&backstage.partitions);
        asking.await.map_err(|why| failed("see what waits", why))
    }

    /// How old an entry of a queue is, by the clock of its server.
    pub(crate) fn age_of(&self, partition: &Partition, id: WriteId) -> Duration {
        let now = self.clock.now();
        let server_ms = self.far.link().map(|link| link.server_ms_at(now, &partition.key(b"")));
        Duration::from_millis(server_ms.unwrap_or(0).saturating_sub(id.ms))
    }

    /// Dead letters of a partition, oldest first.
    pub(crate) async fn dead_letters(
        &self,
        partition: &Partition,
        after: WriteId,
        most: usize,
    ) -> Result<Vec<Dead>, Error> {
        let asking = self.backlog()?.dead(partition, after, most);
        asking.await.map_err(|why| failed("list dead letters", why))
    }

    /// Queues one again, as the newest write of its key.
    pub(crate) async fn replay_dead(
        &self,
        ends: &Ends,
        backstage: &Backstage,
        key: &Key,
        id: WriteId,
    ) -> Result<Replayed, Error> {
        let ended = [Ended::Key(key.clone())];
        ends.forget(&ended);
        let replayed = self.backlog()?.replay(key, id, self.leases.token()).await;
        ends.forget(&ended);
        if let Some((partition, _)) = key.in_partition() {
            backstage.ring(&partition);
        }
        replayed.map_err(|why| match is_in_doubt(&why) {
            true => {
                let text = "a replay was not confirmed by redis: list the dead letters to see";
                Error::new(ErrorKind::Unconfirmed, text).at(key).because(why)
            }
            false => failed("replay a dead letter", why).at(key),
        })
    }

    /// Removes one for good; false when it is not there.
    pub(crate) async fn remove_dead(&self, key: &Key, id: WriteId) -> Result<bool, Error> {
        let Some((partition, _)) = key.in_partition() else { return Ok(false) };
        let removing = self.backlog()?.forget_dead(&partition, id);
        removing.await.map_err(|why| failed("remove a dead letter", why).at(key))
    }
}
