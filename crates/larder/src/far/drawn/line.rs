//! The commands of one connection: each goes over its wire, is run by the server when it arrives there, and
//! is answered over the wire.
//!
//! What a command reads the server tells us of from then on, once; what it writes on the tracked
//! connection ends that without a word, as Redis does under NOLOOP.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::supervisor::{Role, Terms};
use super::wire::{Answer, Command, Served, Wire};
use super::{Lawless, Road};
use crate::clock::{Clock, Moment};
use crate::entry::{Ended, Generation, Incarnation, Nonce, SoftHalf, Token};
use crate::error::FarError;
use crate::far::{Claim, Far, Finish, Generations, Got, Link, Read, Reply, Restamped, TagState};
use crate::key::{Key, Tag};
use crate::pulse::Pulse;

/// One connection, from its first heartbeat to its end.
pub(super) struct Line {
    road: Arc<Road>,
    wire: Wire,
    pub(super) pulse: Arc<Pulse>,
    role: Role,
    /// The server's clock less ours, in milliseconds.
    ahead_ms: AtomicI64,
    /// Who answered the first heartbeat.
    by: AtomicU64,
    clock: Clock,
    bound: Duration,
    deadline: Duration,
}

/// May a command be acted upon twice? Those that larder sends once only may not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Twice {
    May,
    Never,
}

impl Line {
    pub(super) fn new(role: Role, terms: &Terms) -> Option<Line> {
        let pulse = Arc::new(Pulse::new());
        let wire = Wire::new(&terms.road, &terms.app, role, &pulse, &terms.changes)?;
        Some(Line {
            road: terms.road.clone(),
            wire,
            pulse,
            role,
            ahead_ms: AtomicI64::new(0),
            by: AtomicU64::new(0),
            clock: terms.clock.clone(),
            bound: terms.bound,
            deadline: terms.deadline,
        })
    }

    pub(super) async fn lost(&self) {
        self.wire.lost().is_so().await;
    }

    /// `run` at the server, and its answer within `deadline`.
    async fn ask<T: Send + 'static>(
        &self,
        deadline: Duration,
        twice: Twice,
        run: impl Fn(&Served) -> Result<T, FarError> + Send + Sync + 'static,
    ) -> Result<T, FarError> {
        let (answer, mut answered) = oneshot::channel();
        let answer = Mutex::new(Some(answer));
        let command: Command = Arc::new(move |served| -> Answer {
            let said = run(served);
            // The second time nobody waits.
            let answer = answer.lock().take();
            Box::new(move || {
                if let Some(answer) = answer {
                    let _ = answer.send(said);
                }
            })
        });
        let asking = async {
            self.road.runs().await;
            if self.road.is_dead() {
                return Err(FarError::Closed);
            }
            self.wire.send(command, twice == Twice::May);
            tokio::select! {
                biased;
                said = &mut answered => said.unwrap_or_else(|_| Err(broken())),
                () = self.lost() => Err(broken()),
            }
        };
        self.clock.within(deadline, asking).await.unwrap_or(Err(FarError::Slow))
    }

    async fn command<T: Send + 'static>(
        &self,
        twice: Twice,
        run: impl Fn(&Served) -> Result<T, FarError> + Send + Sync + 'static,
    ) -> Result<T, FarError> {
        self.ask(self.deadline, twice, run).await
    }

    /// One round trip, behind all that was told before it; the server's clock.
    pub(super) async fn prove(&self, deadline: Duration) -> Result<u64, FarError> {
        let run = |served: &Served| {
            let by = served.core.shelf.answers_by();
            Ok((served.core.shelf.server_ms(), by))
        };
        let (server_ms, by) = self.ask(deadline, Twice::Never, run).await?;
        self.by.store(by, Ordering::Release);
        Ok(server_ms)
    }

    /// A heartbeat was answered: all changes before `sent` are applied.
    pub(super) fn beat(&self, sent: Moment, server_ms: u64) {
        let took = self.clock.now().since(sent);
        let middle = sent.plus(took / 2).ms();
        let ahead = i64::try_from(i128::from(server_ms) - i128::from(middle)).unwrap_or(0);
        self.ahead_ms.store(ahead, Ordering::Relaxed);
        if self.role == Role::Tracked {
            self.pulse.proven_until(sent.plus(self.bound));
        }
    }

    pub(super) async fn end(
        &self,
        ended: Vec<Ended>,
        soft: SoftHalf,
        deadline: Duration,
    ) -> Result<(), FarError> {
        // A soft half that came once more, over a later one, would make fresh what that one had ended.
        let is_soft = |ended: &Ended| matches!(ended, Ended::SoftKey(_) | Ended::SoftTag(_));
        let twice = if ended.iter().any(is_soft) { Twice::Never } else { Twice::May };
        let run = move |served: &Served| match served.core.weather().lawless {
            Some(Lawless::EndsNothing) if served.core.chance(2_000) => Ok(()),
            _ => at_once(served.far.end(&ended, soft)),
        };
        self.ask(deadline, twice, run).await
    }

    pub(super) async fn guard(
        &self,
        keys: Vec<Key>,
        token: Token,
        time: Duration,
        deadline: Duration,
    ) -> Result<Incarnation, FarError> {
        let run = move |served: &Served| at_once(served.far.guard(&keys, token, time));
        self.ask(deadline, Twice::Never, run).await
    }

    pub(super) async fn finish(
        &self,
        finish: Finish<'_>,
        deadline: Duration,
    ) -> Result<bool, FarError> {
        let (key, beside) = (finish.key.clone(), finish.beside.to_vec());
        let (token, envelope, keep) = (finish.token, finish.envelope.to_vec(), finish.keep);
        let run = move |served: &Served| {
            let (key, beside, envelope) = (&key, &beside[..], &envelope[..]);
            at_once(served.far.finish(Finish { key, beside, token, envelope, keep }))
        };
        self.ask(deadline, Twice::Never, run).await
    }

    pub(super) async fn put(
        &self,
        key: Key,
        envelope: Vec<u8>,
        keep: Duration,
        deadline: Duration,
    ) -> Result<bool, FarError> {
        let run = move |served: &Served| at_once(served.far.put(&key, &envelope, keep));
        self.ask(deadline, Twice::Never, run).await
    }

    pub(super) async fn discard(&self, keys: Vec<Key>) -> Result<(), FarError> {
        self.command(Twice::May, move |served| at_once(served.far.discard(&keys))).await
    }
}

fn broken() -> FarError {
    FarError::Broken("the connection was lost".to_owned())
}

/// The shelf answers without waiting.
fn at_once<T>(reply: Reply<'_, T>) -> Result<T, FarError> {
    match pin!(reply).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => Err(FarError::Slow),
    }
}

impl Served {
    fn watch_tags(&self, tags: &[Tag]) {
        tags.iter().for_each(|tag| self.watch(&tag.redis_name(&self.app)));
    }
}

impl Link for Line {
    fn pulse(&self, _key: &Key, _tags: &[Tag]) -> Arc<Pulse> {
        self.pulse.clone()
    }

    fn tells_changes(&self) -> bool {
        true
    }

    fn believed(&self, _asked: Moment, _key: &Key, _tags: &[Tag]) -> Arc<Pulse> {
        self.pulse.clone()
    }

    fn incarnation(&self, _key: &Key) -> Incarnation {
        self.by.load(Ordering::Acquire)
    }

    fn server_ms_at(&self, now: Moment, _key: &Key) -> u64 {
        now.ms().saturating_add_signed(self.ahead_ms.load(Ordering::Relaxed))
    }

    fn get<'a>(&'a self, keys: &'a [Key], tags: &'a [Tag]) -> Reply<'a, Got> {
        let (keys, tags) = (keys.to_vec(), tags.to_vec());
        Box::pin(self.command(Twice::Never, move |served| {
            keys.iter().for_each(|key| served.watch(key.v()));
            served.watch_tags(&tags);
            at_once(served.link.get(&keys, &tags))
        }))
    }

    fn read<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        lease: Duration,
        seen: Option<Token>,
        tags: &'a [Tag],
    ) -> Reply<'a, Read> {
        let (key, tags) = (key.clone(), tags.to_vec());
        let twice = match self.road.core.weather().lawless {
            Some(Lawless::RepeatsReads) => Twice::May,
            _ => Twice::Never,
        };
        Box::pin(self.command(twice, move |served| {
            let read = at_once(served.link.read(&key, token, lease, seen, &tags))?;
            served.watch(key.v());
            if !matches!(read.claim, Claim::Value(_)) {
                served.watch(&key.l());
            }
            served.watch_tags(&tags);
            Ok(read)
        }))
    }

    fn generations<'a>(&'a self, tags: &'a [Tag]) -> Reply<'a, Generations> {
        let tags = tags.to_vec();
        Box::pin(self.command(Twice::Never, move |served| {
            served.watch_tags(&tags);
            at_once(served.link.generations(&tags))
        }))
    }

    fn tag_states<'a>(&'a self, tags: &'a [Tag]) -> Reply<'a, Vec<Option<TagState>>> {
        let tags = tags.to_vec();
        Box::pin(self.command(Twice::Never, move |served| {
            served.watch_tags(&tags);
            at_once(served.link.tag_states(&tags))
        }))
    }

    fn create<'a>(
        &'a self,
        tags: &'a [(Tag, Nonce)],
        keep: Duration,
    ) -> Reply<'a, Vec<Option<Generation>>> {
        let tags = tags.to_vec();
        Box::pin(self.command(Twice::Never, move |served| {
            let made = at_once(served.link.create(&tags, keep))?;
            for ((tag, _), made) in tags.iter().zip(&made) {
                let name = tag.redis_name(&served.app);
                match made {
                    Some(_) => served.watch(&name),
                    None => served.forget(&name),
                }
            }
            Ok(made)
        }))
    }

    fn prolong<'a>(
        &'a self,
        tags: &'a [Tag],
        keep: Duration,
    ) -> Reply<'a, Vec<Option<Generation>>> {
        let tags = tags.to_vec();
        Box::pin(self.command(Twice::May, move |served| {
            served.watch_tags(&tags);
            at_once(served.link.prolong(&tags, keep))
        }))
    }

    fn store<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        envelope: &'a [u8],
        keep: Duration,
    ) -> Reply<'a, bool> {
        let (key, envelope) = (key.clone(), envelope.to_vec());
        Box::pin(self.command(Twice::May, move |served| {
            if served.core.weather().lawless == Some(Lawless::StoresForAll) {
                at_once(served.far.put(&key, &envelope, keep))?;
                served.watch(key.v());
                return Ok(true);
            }
            let stored = at_once(served.link.store(&key, token, &envelope, keep))?;
            if stored {
                served.watch(key.v());
                served.forget(&key.l());
            }
            Ok(stored)
        }))
    }

    fn restamp<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        seen: Token,
        head: &'a [u8],
        keep: Duration,
    ) -> Reply<'a, Restamped> {
        let (key, head) = (key.clone(), head.to_vec());
        Box::pin(self.command(Twice::May, move |served| {
            let restamped = at_once(served.link.restamp(&key, token, seen, &head, keep))?;
            if restamped == Restamped::Done {
                served.watch(key.v());
                served.forget(&key.l());
            }
            Ok(restamped)
        }))
    }

    fn fail<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        code: &'a str,
        backoff: Duration,
    ) -> Reply<'a, bool> {
        let (key, code) = (key.clone(), code.to_owned());
        Box::pin(self.command(Twice::May, move |served| {
            let told = at_once(served.link.fail(&key, token, &code, backoff))?;
            if told {
                served.forget(&key.l());
            }
            Ok(told)
        }))
    }

    fn release<'a>(&'a self, key: &'a Key, token: Token, within: Duration) -> Reply<'a, bool> {
        let key = key.clone();
        Box::pin(self.ask(within, Twice::May, move |served| {
            let done = at_once(served.link.release(&key, token, within))?;
            if done {
                served.forget(&key.l());
            }
            Ok(done)
        }))
    }

    fn extend<'a>(&'a self, key: &'a Key, token: Token, lease: Duration) -> Reply<'a, bool> {
        let key = key.clone();
        Box::pin(self.command(Twice::May, move |served| {
            let extended = at_once(served.link.extend(&key, token, lease))?;
            if extended {
                served.watch(&key.l());
            }
            Ok(extended)
        }))
    }

    fn sync(&self) -> Reply<'_, ()> {
        Box::pin(async move { self.prove(self.deadline).await.map(drop) })
    }
}
