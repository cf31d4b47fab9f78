//! Writes that wait, in Redis: the same commands to one server, and to the nodes of a cluster.
//!
//! All names of a partition are in one slot, so each question has one place to go to. While that slot is on its
//! way from one node to another, what names several of them runs nowhere (TRYAGAIN), and is sent again, the same
//! bytes, until its deadline.

use std::time::Duration;

use ::redis::{Cmd, Value, cmd};

use super::calls::{EXTEND, RELEASE, ms};
use super::{accepted, alone, bytes, left, was_done};
use crate::clock::Pauses;
use crate::entry::{Token, WriteId};
use crate::error::FarError;
use crate::far::Reply;
use crate::far::backlog::{
    Backlog, Claimed, Dead, Depth, Done, Durability, Of, Queued, Replayed, Write,
};
use crate::key::slot::Slot;
use crate::key::{Key, Partition};
use crate::redis::Script;

static WRITE: Script = Script::new(include_str!("scripts/write.lua"));
static HOLD: Script = Script::new(include_str!("scripts/hold.lua"));
static CLAIM: Script = Script::new(include_str!("scripts/claim.lua"));
static CLEAR: Script = Script::new(include_str!("scripts/clear.lua"));
static REBASE: Script = Script::new(include_str!("scripts/rebase.lua"));
static BURY: Script = Script::new(include_str!("scripts/bury.lua"));
static REPLAY: Script = Script::new(include_str!("scripts/replay.lua"));

/// Those of this file, for who connects.
pub(super) static SCRIPTS: [&Script; 7] = [&WRITE, &HOLD, &CLAIM, &CLEAR, &REBASE, &BURY, &REPLAY];

/// The consumer group of all workers.
const GROUP: &str = "larder";

/// Sends commands to where their slot is.
pub(super) trait Sends: Send + Sync {
    /// What was answered to each, refusals among them; none of them is sent twice, but where it did not run.
    fn send<'a>(&'a self, questions: Vec<(Slot, Cmd)>) -> Reply<'a, Vec<Value>>;
}

fn odd(what: &str) -> FarError {
    FarError::Refused(format!("{what} gave an answer that cannot be read"))
}

/// The partition of a key that has one, as all have that come here.
fn place(key: &Key) -> Result<(Partition, &[u8]), FarError> {
    key.in_partition().ok_or_else(|| odd("a name outside every partition"))
}

fn names(key: &Key, partition: &Partition) -> [Vec<u8>; 4] {
    [key.v().to_vec(), key.l(), key.d().unwrap_or_default(), partition.q().to_vec()]
}

fn slices<const N: usize>(names: &[Vec<u8>; N]) -> [&[u8]; N] {
    names.each_ref().map(Vec::as_slice)
}

impl dyn Sends + '_ {
    async fn one(&self, slot: Slot, command: Cmd) -> Result<Value, FarError> {
        let answers = self.send(vec![(slot, command)]).await?;
        accepted(answers.into_iter().next().unwrap_or(Value::Nil))
    }
}

impl<S: Sends> Backlog for S {
    fn write<'a>(&'a self, write: Write<'a>) -> Reply<'a, Queued> {
        Box::pin(async move {
            let (partition, k) = place(write.key)?;
            let names = names(write.key, &partition);
            let mut call = WRITE.call(&slices(&names));
            call.arg(&write.token[..]).arg(write.envelope).arg(ms(write.keep)).arg(k);
            call.arg(write.bound).arg(write.typed);
            let answer = (self as &dyn Sends).one(partition.slot(), call).await?;
            let Value::Array(parts) = answer else { return Err(odd("WRITE")) };
            let mut parts = parts.into_iter();
            match (parts.next(), parts.next()) {
                (Some(Value::Int(0)), _) => Ok(Queued::Full),
                (Some(Value::Int(1)), Some(id)) => Ok(Queued::At(write_id(id)?)),
                _ => Err(odd("WRITE")),
            }
        })
    }

    fn hold<'a>(
        &'a self,
        partition: &'a Partition,
        token: Token,
        time: Duration,
    ) -> Reply<'a, Result<(), Duration>> {
        Box::pin(async move {
            let (w, slot) = (partition.w(), partition.slot());
            let (mut hold, mut pttl) = (HOLD.call(&[&w]), cmd("PTTL"));
            hold.arg(&token[..]).arg(ms(time));
            pttl.arg(&w);
            let mut answers = self.send(vec![(slot, hold), (slot, pttl)]).await?.into_iter();
            // A refusal is no other's lease.
            let ours = was_done(&accepted(answers.next().unwrap_or(Value::Nil))?);
            let left = left(&accepted(answers.next().unwrap_or(Value::Nil))?);
            Ok(if ours { Ok(()) } else { Err(left) })
        })
    }

    fn renew<'a>(
        &'a self,
        partition: &'a Partition,
        token: Token,
        time: Duration,
    ) -> Reply<'a, bool> {
        Box::pin(async move {
            let mut call = EXTEND.call(&[&partition.w()]);
            call.arg(&token[..]).arg(ms(time));
            Ok(was_done(&(self as &dyn Sends).one(partition.slot(), call).await?))
        })
    }

    fn give_back<'a>(&'a self, partition: &'a Partition, token: Token) -> Reply<'a, bool> {
        Box::pin(async move {
            let mut call = RELEASE.call(&[&partition.w()]);
            call.arg(&token[..]);
            Ok(was_done(&(self as &dyn Sends).one(partition.slot(), call).await?))
        })
    }

    fn claim<'a>(
        &'a self,
        partition: &'a Partition,
        token: Token,
        after: Option<WriteId>,
        most: usize,
    ) -> Reply<'a, Option<Vec<Claimed>>> {
        Box::pin(async move {
            let mut call = CLAIM.call(&[&partition.w(), partition.q()]);
            let after = after.map_or(">".to_owned(), |id| id.to_string());
            call.arg(&token[..]).arg(GROUP).arg(after).arg(most);
            let answer = (self as &dyn Sends).one(partition.slot(), call).await?;
            let Value::Array(parts) = answer else { return Err(odd("CLAIM")) };
            let mut parts = parts.into_iter();
            match (parts.next(), parts.next()) {
                (Some(Value::Int(0)), _) => Ok(None),
                (Some(Value::Int(1)), Some(Value::Array(entries))) => {
                    let claimed = |entry| claimed(partition, entry);
                    entries.into_iter().map(claimed).collect::<Result<_, _>>().map(Some)
                }
                _ => Err(odd("CLAIM")),
            }
        })
    }

    fn pending<'a>(&'a self, keys: &'a [Key]) -> Reply<'a, Vec<Option<Vec<u8>>>> {
        Box::pin(async move {
            // Each alone: while their slot is on its way, each is where it is.
            let get = |key: &Key| {
                let mut get = cmd("GET");
                get.arg(key.d().unwrap_or_default());
                (key.slot(), get)
            };
            self.send(keys.iter().map(get).collect()).await?.into_iter().map(bytes).collect()
        })
    }

    fn clear<'a>(&'a self, partition: &'a Partition, done: &'a [Done<'a>]) -> Reply<'a, Vec<bool>> {
        Box::pin(async move {
            let clear = |done: &Done<'_>| {
                let d = done.key.d().unwrap_or_default();
                let mut call = CLEAR.call(&[&d, partition.q()]);
                call.arg(GROUP);
                match &done.stamp {
                    Some(stamp) => call.arg(&stamp.token[..]).arg(stamp.id.to_string()),
                    None => call.arg("").arg(""),
                };
                done.entries.iter().for_each(|id| {
                    call.arg(id.to_string());
                });
                (partition.slot(), call)
            };
            let answers = self.send(done.iter().map(clear).collect()).await?;
            answers.into_iter().map(|answer| Ok(was_done(&accepted(answer)?))).collect()
        })
    }

    fn rebase<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        above: WriteId,
        typed: &'a [u8],
    ) -> Reply<'a, Option<WriteId>> {
        Box::pin(async move {
            let (partition, k) = place(key)?;
            let mut call = REBASE.call(&[&key.d().unwrap_or_default(), partition.q()]);
            call.arg(&token[..]).arg(above.next().to_string()).arg(k).arg(typed);
            match (self as &dyn Sends).one(partition.slot(), call).await? {
                Value::Int(0) => Ok(None),
                id => write_id(id).map(Some),
            }
        })
    }

    fn bury<'a>(&'a self, done: Done<'a>, typed: &'a [u8], reason: &'a str) -> Reply<'a, bool> {
        Box::pin(async move {
            let ((partition, k), Some(stamp)) = (place(done.key)?, done.stamp) else {
                return Ok(false);
            };
            let [v, l, d, q] = names(done.key, &partition);
            let mut call = BURY.call(&slices(&[v, l, d, q, partition.x()]));
            call.arg(GROUP).arg(&stamp.token[..]).arg(stamp.id.to_string()).arg(k);
            call.arg(typed).arg(reason);
            done.entries.iter().for_each(|id| {
                call.arg(id.to_string());
            });
            Ok(was_done(&(self as &dyn Sends).one(partition.slot(), call).await?))
        })
    }

    fn dead<'a>(
        &'a self,
        partition: &'a Partition,
        after: WriteId,
        most: usize,
    ) -> Reply<'a, Vec<Dead>> {
        Box::pin(async move {
            let mut range = cmd("XRANGE");
            range.arg(partition.x()).arg(format!("({after}")).arg("+").arg("COUNT").arg(most);
            let answer = (self as &dyn Sends).one(partition.slot(), range).await?;
            let Value::Array(entries) = answer else { return Err(odd("XRANGE")) };
            // One that is none of ours is not shown; it is in nobody's way.
            Ok(entries.into_iter().filter_map(|entry| dead(partition, entry)).collect())
        })
    }

    fn replay<'a>(&'a self, key: &'a Key, id: WriteId, token: Token) -> Reply<'a, Replayed> {
        Box::pin(async move {
            let (partition, _) = place(key)?;
            let [v, l, d, q] = names(key, &partition);
            let mut call = REPLAY.call(&slices(&[v, l, d, q, partition.x()]));
            call.arg(id.to_string()).arg(&token[..]);
            match (self as &dyn Sends).one(partition.slot(), call).await? {
                Value::Int(0) => Ok(Replayed::Gone),
                Value::Int(1) => Ok(Replayed::Queued),
                Value::Int(2) => Ok(Replayed::Newer),
                _ => Err(odd("REPLAY")),
            }
        })
    }

    fn forget_dead<'a>(&'a self, partition: &'a Partition, id: WriteId) -> Reply<'a, bool> {
        Box::pin(async move {
            let mut remove = cmd("XDEL");
            remove.arg(partition.x()).arg(id.to_string());
            Ok(was_done(&(self as &dyn Sends).one(partition.slot(), remove).await?))
        })
    }

    fn depths<'a>(&'a self, partitions: &'a [Partition]) -> Reply<'a, Vec<Depth>> {
        Box::pin(async move {
            let ask = |partition: &Partition| {
                let (mut waiting, mut dead, mut oldest) = (cmd("XLEN"), cmd("XLEN"), cmd("XRANGE"));
                waiting.arg(partition.q());
                dead.arg(partition.x());
                oldest.arg(partition.q()).arg("-").arg("+").arg("COUNT").arg(1);
                let slot = partition.slot();
                [waiting, dead, oldest].map(|command| (slot, command))
            };
            let answers = self.send(partitions.iter().flat_map(ask).collect()).await?;
            let mut answers = answers.into_iter().map(accepted);
            let mut next = || answers.next().unwrap_or(Ok(Value::Nil));
            let mut depths = Vec::with_capacity(partitions.len());
            for _ in partitions {
                let (waiting, dead) = (number(&next()?), number(&next()?));
                let Value::Array(first) = next()? else { return Err(odd("XRANGE")) };
                let oldest = first.into_iter().next().and_then(|entry| id_of(&entry));
                depths.push(Depth { waiting, dead, oldest });
            }
            Ok(depths)
        })
    }

    fn durability<'a>(&'a self, partition: &'a Partition) -> Reply<'a, Durability> {
        Box::pin(async move {
            let info = |section: &str| {
                let mut info = cmd("INFO");
                info.arg(section);
                (partition.slot(), info)
            };
            let answers = self.send(vec![info("memory"), info("persistence")]).await?;
            // Who may not ask is told nothing.
            let text = |answer: Value| match answer {
                Value::VerbatimString { text, .. } => text,
                answer => match bytes(answer) {
                    Ok(Some(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
                    _ => String::new(),
                },
            };
            let mut texts = answers.into_iter().map(text);
            let (memory, persistence) =
                (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
            let policy = field(&memory, "maxmemory_policy").unwrap_or_default().to_owned();
            Ok(Durability { policy, logs: field(&persistence, "aof_enabled").map(|on| on == "1") })
        })
    }
}

fn field<'t>(info: &'t str, name: &str) -> Option<&'t str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn number(answer: &Value) -> u64 {
    match answer {
        Value::Int(number) => u64::try_from(*number).unwrap_or(0),
        _ => 0,
    }
}

fn write_id(answer: Value) -> Result<WriteId, FarError> {
    let text = bytes(answer)?.unwrap_or_default();
    WriteId::parse(&text).ok_or_else(|| odd("XADD"))
}

fn id_of(entry: &Value) -> Option<WriteId> {
    let Value::Array(parts) = entry else { return None };
    write_id(parts.first()?.clone()).ok()
}

/// Names and values, in their order.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// An entry's id, and its fields, if it has any.
fn entry(entry: Value) -> Option<(WriteId, Fields)> {
    let id = id_of(&entry)?;
    let Value::Array(parts) = entry else { return None };
    let fields = match parts.into_iter().nth(1) {
        Some(Value::Array(fields)) => fields,
        _ => Vec::new(),
    };
    let mut fields = fields.into_iter().map(|field| bytes(field).ok().flatten());
    let mut pairs = Vec::new();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        pairs.push((name?, value?));
    }
    Some((id, pairs))
}

fn take(fields: &mut Fields, name: &[u8]) -> Option<Vec<u8>> {
    let at = fields.iter().position(|(field, _)| field == name)?;
    Some(fields.swap_remove(at).1)
}

fn claimed(partition: &Partition, answer: Value) -> Result<Claimed, FarError> {
    let (id, mut fields) = entry(answer).ok_or_else(|| odd("XREADGROUP"))?;
    let mut of = || {
        let key = partition.key(&take(&mut fields, b"k")?);
        let token = take(&mut fields, b"t")?.try_into().ok()?;
        Some(Of { key, token, typed: take(&mut fields, b"n")? })
    };
    Ok(Claimed { id, of: of() })
}

fn dead(partition: &Partition, answer: Value) -> Option<Dead> {
    let (id, mut fields) = entry(answer)?;
    Some(Dead {
        id,
        key: partition.key(&take(&mut fields, b"k")?),
        typed: take(&mut fields, b"n")?,
        envelope: take(&mut fields, b"v")?,
        reason: take(&mut fields, b"r")?,
    })
}

impl Sends for super::RedisFar {
    fn send<'a>(&'a self, questions: Vec<(Slot, Cmd)>) -> Reply<'a, Vec<Value>> {
        Box::pin(async move {
            let mut questions = questions.into_iter().map(|(_, command)| command);
            let Some(first) = questions.next() else { return Ok(Vec::new()) };
            let mut pipeline = alone(first);
            questions.for_each(|command| {
                pipeline.add_command(command);
            });
            self.writer()?.ask(&pipeline, self.end_deadline).await
        })
    }
}

impl Sends for super::cluster::ClusterFar {
    fn send<'a>(&'a self, questions: Vec<(Slot, Cmd)>) -> Reply<'a, Vec<Value>> {
        Box::pin(async move {
            let (first, longest) = super::cluster::PAUSES;
            let (mut pauses, left) = (Pauses::new(self.clock(), first, longest), self.left());
            let mut answers: Vec<Option<Value>> = questions.iter().map(|_| None).collect();
            let mut open: Vec<usize> = (0..questions.len()).collect();
            loop {
                let some: Vec<_> = open.iter().map(|at| &questions[*at]).collect();
                let said = self.ask_writers(&some, left()).await?;
                let mut again = Vec::new();
                for (at, answer) in open.into_iter().zip(said) {
                    // It did not run.
                    if super::cluster::is_try_again(&answer) && left() > longest {
                        again.push(at);
                    } else {
                        answers[at] = Some(answer);
                    }
                }
                open = again;
                if open.is_empty() {
                    return Ok(answers
                        .into_iter()
                        .map(|answer| answer.unwrap_or(Value::Nil))
                        .collect());
                }
                pauses.pause().await;
            }
        })
    }
}
