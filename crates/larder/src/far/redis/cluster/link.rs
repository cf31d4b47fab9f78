//! Reads and loads over a cluster: one link for each load, whatever nodes it asks.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Value, cmd};

use super::super::{accepted, bytes, calls, claim, generation, ms, restamped, states, was_done};
use super::{asks, is_try_again, unlink};
use crate::clock::Moment;
use crate::entry::{Answered, Generation, Incarnation, Nonce, Token, envelope};
use crate::error::FarError;
use crate::far::{Claim, Generations, Got, Link, Read, Reply, Restamped, TagState, pending_claim};
use crate::key::slot::Slot;
use crate::key::{Key, Tag};
use crate::pulse::Pulse;
use crate::redis::cluster::{Answer, Effort, Question, Route, Waiting, all_of};
use crate::redis::{Answers, Line};

/// The connections that one load goes over.
pub(super) struct ClusterLink(Route);

/// What one node is asked to read: places among the keys, and among the tags.
struct Part {
    line: Arc<Line>,
    keys: Vec<usize>,
    tags: Vec<usize>,
}

/// Bytes under a value's name; what is no string reads as nothing.
fn answered(answer: Answer) -> Result<Option<Answered>, FarError> {
    let by = answer.by;
    Ok(bytes(answer.value)?.map(|bytes| Answered { bytes, by }))
}

/// Pairs of GET and PTTL.
fn states_of(mut answers: impl Iterator<Item = Answer>) -> Result<Vec<Option<TagState>>, FarError> {
    let mut all = Vec::new();
    while let (Some(get), Some(pttl)) = (answers.next(), answers.next()) {
        all.extend(states([get.value, pttl.value].into_iter(), get.by)?);
    }
    Ok(all)
}

impl ClusterLink {
    pub(super) fn new(route: Route) -> ClusterLink {
        ClusterLink(route)
    }

    async fn ask(&self, questions: &[Question]) -> Result<Vec<Answer>, FarError> {
        self.0.ask(questions, Effort::Once, self.0.deadline()).await
    }

    /// Nobody waits for it.
    async fn aside(&self, question: Question, within: Duration) -> Result<bool, FarError> {
        let answer = self.0.ask(&[question], Effort::Aside, within).await?.pop();
        Ok(was_done(&accepted(answer.map_or(Value::Nil, |answer| answer.value))?))
    }

    async fn script(&self, slot: Slot, call: Cmd) -> Result<bool, FarError> {
        let answer = self.ask(&[asks(slot, call)]).await?.pop();
        Ok(was_done(&accepted(answer.map_or(Value::Nil, |answer| answer.value))?))
    }

    fn get_tag(&self, tag: &Tag) -> Question {
        let mut get = cmd("GET");
        get.arg(tag.redis_name(self.0.app()));
        asks(tag.slot(), get)
    }

    fn get_states(&self, tags: &[Tag]) -> impl Iterator<Item = Question> {
        tags.iter().flat_map(|tag| {
            let mut pttl = cmd("PTTL");
            pttl.arg(tag.redis_name(self.0.app()));
            [self.get_tag(tag), asks(tag.slot(), pttl)]
        })
    }

    /// Keys and tags by the nodes that have them; and whether there are some that nobody has.
    fn parts(&self, keys: &[Key], tags: &[Tag]) -> (Vec<Part>, bool) {
        let (mut parts, mut some_are_away): (Vec<Part>, bool) = (Vec::new(), false);
        let slots = keys.iter().map(Key::slot).chain(tags.iter().map(Tag::slot));
        for (at, slot) in slots.enumerate() {
            let Some(line) = self.0.reads(slot) else {
                some_are_away = true;
                continue;
            };
            let known = parts.iter().position(|part| Arc::ptr_eq(&part.line, &line));
            let place = known.unwrap_or(parts.len());
            if known.is_none() {
                parts.push(Part { line, keys: Vec::new(), tags: Vec::new() });
            }
            if let Some(part) = parts.get_mut(place) {
                match at.checked_sub(keys.len()) {
                    None => part.keys.push(at),
                    Some(tag) => part.tags.push(tag),
                }
            }
        }
        (parts, some_are_away)
    }

    /// Reads each at its node. Of many keys those are read that can be; one counts as nothing whose node cannot be
    /// asked, and whoever asks for it next is told why.
    async fn read_apart(&self, keys: &[Key], tags: &[Tag]) -> Result<Got, FarError> {
        let (parts, some_are_away) = self.parts(keys, tags);
        let one_is_enough = keys.len() > 1;
        if parts.is_empty() || (some_are_away && !one_is_enough) {
            return if keys.is_empty() && tags.is_empty() {
                Ok(Got { in_order: true, ..Got::default() })
            } else {
                Err(FarError::Away)
            };
        }
        let mut got = Got {
            values: (0..keys.len()).map(|_| None).collect(),
            generations: (0..tags.len()).map(|_| None).collect(),
            in_order: parts.len() == 1 && !some_are_away,
        };
        let reading = parts.iter().map(|part| {
            let keys: Vec<Key> = part.keys.iter().map(|at| keys[*at].clone()).collect();
            let tags: Vec<Tag> = part.tags.iter().map(|at| tags[*at].clone()).collect();
            Box::pin(async move { part.line.read_together(&keys, &tags).await })
                as Waiting<'_, Result<Answers, FarError>>
        });
        let (mut elsewhere, mut failed) = (Vec::new(), None);
        let (mut answered, mut tags_read) = (0, 0);
        for (part, answers) in parts.iter().zip(all_of(reading.collect()).await) {
            let answers = match answers {
                Ok(answers) => answers,
                Err(why) => {
                    failed.get_or_insert(why);
                    continue;
                }
            };
            answered += 1;
            tags_read += part.tags.len();
            let by = part.line.by();
            for (at, value) in part.keys.iter().zip(answers.values) {
                got.values[*at] = value.map(|bytes| Answered { bytes, by });
            }
            for (at, tag) in part.tags.iter().zip(answers.tags) {
                got.generations[*at] = tag.map(|nonce| Generation { nonce, by });
            }
            let places = part.keys.iter().copied();
            let places: Vec<usize> =
                places.chain(part.tags.iter().map(|at| keys.len() + at)).collect();
            elsewhere.extend(answers.refused.iter().filter_map(|(at, _)| places.get(*at).copied()));
        }
        // A tag that could not be read must not be taken for one that has ended.
        if tags_read < tags.len() {
            return Err(failed.unwrap_or(FarError::Away));
        }
        if let Some(why) = failed {
            if answered == 0 || !one_is_enough {
                return Err(why);
            }
            got.in_order = false;
        }
        self.read_elsewhere(keys, tags, elsewhere, &mut got).await?;
        Ok(got)
    }

    /// Those that their nodes did not answer are asked for alone, and followed.
    async fn read_elsewhere(
        &self,
        keys: &[Key],
        tags: &[Tag],
        places: Vec<usize>,
        got: &mut Got,
    ) -> Result<(), FarError> {
        if places.is_empty() {
            return Ok(());
        }
        got.in_order = false;
        let question = |at: &usize| match at.checked_sub(keys.len()) {
            None => {
                let mut get = cmd("GET");
                get.arg(keys[*at].v());
                asks(keys[*at].slot(), get)
            }
            Some(tag) => self.get_tag(&tags[tag]),
        };
        let questions: Vec<Question> = places.iter().map(question).collect();
        for (at, answer) in places.into_iter().zip(self.ask(&questions).await?) {
            match at.checked_sub(keys.len()) {
                None => got.values[at] = answered(answer)?,
                Some(tag) => got.generations[tag] = generation(answer.value, answer.by)?,
            }
        }
        Ok(())
    }

    /// What READ does while the slot is on its way: a value will do, and there is no lease.
    async fn read_on_its_way(&self, key: &Key, seen: Option<Token>) -> Result<Claim, FarError> {
        let mut get = cmd("GET");
        get.arg(key.v());
        let answer = self.ask(&[asks(key.slot(), get)]).await?.pop();
        Ok(match answer.map(answered).transpose()?.flatten() {
            Some(value) if seen.is_none() || envelope::id(&value.bytes) != seen => {
                Claim::Value(value)
            }
            // Where a write waits for its source, the source is not to be asked.
            _ => match key.d() {
                None => Claim::Moving,
                Some(d) => {
                    let mut get = cmd("GET");
                    get.arg(d);
                    let answer = self.ask(&[asks(key.slot(), get)]).await?.pop();
                    match answer.map(answered).transpose()?.flatten() {
                        Some(record) => pending_claim(&record.bytes),
                        None => Claim::Moving,
                    }
                }
            },
        })
    }
}

impl Link for ClusterLink {
    fn pulse(&self, key: &Key, tags: &[Tag]) -> Arc<Pulse> {
        self.0.pulse(std::iter::once(key.slot()).chain(tags.iter().map(Tag::slot)))
    }

    fn tells_changes(&self) -> bool {
        self.0.tells_changes()
    }

    fn believed(&self, asked: Moment, key: &Key, tags: &[Tag]) -> Arc<Pulse> {
        match self.0.tells_changes() {
            true => self.pulse(key, tags),
            false => Arc::new(Pulse::up_to(asked.plus(self.0.bound()))),
        }
    }

    fn incarnation(&self, key: &Key) -> Incarnation {
        self.0.incarnation(key.slot())
    }

    fn server_ms_at(&self, now: Moment, key: &Key) -> u64 {
        self.0.server_ms_at(now, key.slot())
    }

    fn get<'a>(&'a self, keys: &'a [Key], tags: &'a [Tag]) -> Reply<'a, Got> {
        Box::pin(self.read_apart(keys, tags))
    }

    fn read<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        lease: Duration,
        seen: Option<Token>,
        tags: &'a [Tag],
    ) -> Reply<'a, Read> {
        Box::pin(async move {
            let call = calls::read(key, &token, lease, seen.as_ref());
            let questions: Vec<Question> =
                std::iter::once(asks(key.slot(), call)).chain(self.get_states(tags)).collect();
            let mut answers = self.ask(&questions).await?.into_iter();
            let Some(Answer { value, by, .. }) = answers.next() else {
                return Err(FarError::Refused("READ gave no answer".to_owned()));
            };
            let tags = states_of(answers)?;
            if is_try_again(&value) {
                let claim = self.read_on_its_way(key, seen).await?;
                return Ok(Read { claim, is_there: false, by, tags, in_order: false });
            }
            let answer = accepted(value)?;
            // The last part of every answer but a value.
            let is_there =
                matches!(&answer, Value::Array(parts) if parts.last() == Some(&Value::Int(1)));
            Ok(Read { claim: claim(answer, by)?, is_there, by, tags, in_order: false })
        })
    }

    fn tag_states<'a>(&'a self, tags: &'a [Tag]) -> Reply<'a, Vec<Option<TagState>>> {
        Box::pin(async move {
            let questions: Vec<Question> = self.get_states(tags).collect();
            states_of(self.ask(&questions).await?.into_iter())
        })
    }

    fn generations<'a>(&'a self, tags: &'a [Tag]) -> Reply<'a, Generations> {
        Box::pin(async move { Ok(self.read_apart(&[], tags).await?.generations) })
    }

    fn create<'a>(
        &'a self,
        tags: &'a [(Tag, Nonce)],
        keep: Duration,
    ) -> Reply<'a, Vec<Option<Generation>>> {
        Box::pin(async move {
            let app = self.0.app();
            let questions: Vec<Question> = tags
                .iter()
                .flat_map(|(tag, nonce)| {
                    let mut set = cmd("SET");
                    set.arg(tag.redis_name(app)).arg(&nonce[..]);
                    set.arg("NX").arg("PX").arg(ms(keep));
                    // Our own SET ended our tracking of the tag: only this GET may fill a cell.
                    [asks(tag.slot(), set), self.get_tag(tag)]
                })
                .collect();
            let mut answers = self.ask(&questions).await?.into_iter();
            let (mut made, mut in_the_way) = (Vec::with_capacity(tags.len()), Vec::new());
            for (tag, _) in tags {
                let (Some(set), Some(get)) = (answers.next(), answers.next()) else {
                    return Err(FarError::Refused("SET and GET gave no answer".to_owned()));
                };
                accepted(set.value)?;
                let nothing = get.value == Value::Nil;
                let generation = generation(get.value, get.by)?;
                if generation.is_none() && !nothing {
                    in_the_way.push(unlink(tag.slot(), &[&tag.redis_name(app)]));
                }
                made.push(generation);
            }
            self.ask(&in_the_way).await?;
            Ok(made)
        })
    }

    fn prolong<'a>(
        &'a self,
        tags: &'a [Tag],
        keep: Duration,
    ) -> Reply<'a, Vec<Option<Generation>>> {
        Box::pin(async move {
            let questions: Vec<Question> = tags
                .iter()
                .flat_map(|tag| {
                    let mut expire = cmd("PEXPIRE");
                    expire.arg(tag.redis_name(self.0.app())).arg(ms(keep)).arg("GT");
                    [asks(tag.slot(), expire), self.get_tag(tag)]
                })
                .collect();
            let answers = self.ask(&questions).await?;
            let read = answers.into_iter().skip(1).step_by(2);
            read.map(|answer| generation(answer.value, answer.by)).collect()
        })
    }

    fn store<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        envelope: &'a [u8],
        keep: Duration,
    ) -> Reply<'a, bool> {
        Box::pin(
            async move { self.script(key.slot(), calls::store(key, &token, envelope, keep)).await },
        )
    }

    fn restamp<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        seen: Token,
        head: &'a [u8],
        keep: Duration,
    ) -> Reply<'a, Restamped> {
        Box::pin(async move {
            let call = calls::restamp(key, &token, &seen, head, keep);
            let answer = self.ask(&[asks(key.slot(), call)]).await?.pop();
            restamped(&accepted(answer.map_or(Value::Nil, |answer| answer.value))?)
        })
    }

    fn fail<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        code: &'a str,
        backoff: Duration,
    ) -> Reply<'a, bool> {
        Box::pin(
            async move { self.script(key.slot(), calls::fail(key, &token, code, backoff)).await },
        )
    }

    fn release<'a>(&'a self, key: &'a Key, token: Token, within: Duration) -> Reply<'a, bool> {
        Box::pin(
            async move { self.aside(asks(key.slot(), calls::release(key, &token)), within).await },
        )
    }

    fn extend<'a>(&'a self, key: &'a Key, token: Token, lease: Duration) -> Reply<'a, bool> {
        Box::pin(async move {
            let extend = asks(key.slot(), calls::extend(key, &token, lease));
            self.aside(extend, self.0.deadline()).await
        })
    }

    fn sync(&self) -> Reply<'_, ()> {
        Box::pin(self.0.sync(self.0.deadline()))
    }
}
