//! Reads that wait at the same time go together.
//!
//! A read that finds no other on its way is sent at once, by its own caller. While one is on its way
//! the next ones queue; a task takes what is queued, lets everyone who is about to ask do so, and
//! sends it as one `MGET`. So one caller alone pays for nothing, and many share the cost of a command.
//!
//! Many would soon all share the same one, and the server and we would wait for one another by turns. So
//! they go in two halves: while the server reads for one, we work on the other.
//!
//! The task is nobody's caller: a caller that is dropped, or not polled any more, never holds up the
//! rest. It ends with its answer or the deadline; with the process dies a read that has no answer yet.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::redis::{Cmd, Pipeline, Value};
use foldhash::fast::FixedState;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::{Notify, oneshot};

use super::supervisor::{Line, Reading};
use crate::error::FarError;
use crate::key::{Key, Tag};

/// Names in one command: more would keep others waiting on the server.
const NAMES_MAX: usize = 128;
/// So many callers go in two halves.
const MANY: usize = 16;
/// How many callers wait at once. Each has a deadline; past this a call is refused, and the loader asked.
const WAITING_MAX: usize = 65_536;
/// How long one half lets the other go first.
const TURN: Duration = Duration::from_millis(2);

/// What one caller wants to know: the values of keys, and then what their tags hold.
#[derive(Clone, Copy)]
struct Asked<'a> {
    keys: &'a [Key],
    tags: &'a [Tag],
}

/// The same, for a caller that waits.
struct Waiting {
    keys: SmallVec<[Key; 1]>,
    tags: SmallVec<[Tag; 2]>,
    answer: oneshot::Sender<Reply>,
}

impl Waiting {
    fn asked(&self) -> Asked<'_> {
        Asked { keys: &self.keys, tags: &self.tags }
    }
}

/// What lies under the names. What is no string, or of a tag not of sixteen bytes, counts as nothing.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) values: SmallVec<[Option<Vec<u8>>; 1]>,
    pub(crate) tags: SmallVec<[Option<[u8; 16]>; 2]>,
    /// Where names are read [apart](super::Reading::Apart) each may be refused by itself. It counts as
    /// nothing above, and its refusal stands here, by its place among the keys and then the tags.
    pub(crate) refused: Vec<(usize, Value)>,
}

type Reply = Result<Answers, FarError>;

/// The reads of one connection.
#[derive(Default)]
pub(super) struct Reads {
    queue: Mutex<Queue>,
    /// Callers whose names were sent.
    on_their_way: AtomicUsize,
    /// Tells that one has come back.
    back: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Calls until it is looked again for those that have gone, once few had.
    rest: usize,
    /// A task is about to take what waits.
    is_taken_care_of: bool,
}

impl Queue {
    fn push(&mut self, one: Waiting) -> Result<(), FarError> {
        if self.waiting.len() == self.waiting.capacity() && self.rest == 0 {
            // Nobody takes them, it may be: the queue is as long as there are callers, not calls.
            let before = self.waiting.len();
            self.waiting.retain(|one| !one.answer.is_closed());
            if before >= WAITING_MAX && before - self.waiting.len() < WAITING_MAX / 8 {
                self.rest = WAITING_MAX / 8; // not for each one that comes
            }
        }
        self.rest = self.rest.saturating_sub(1);
        if self.waiting.len() >= WAITING_MAX {
            return Err(FarError::Crowded);
        }
        self.waiting.push(one);
        Ok(())
    }
}

/// Counts the callers of a command, whatever becomes of it.
struct OnItsWay<'a> {
    reads: &'a Reads,
    callers: usize,
}

impl<'a> OnItsWay<'a> {
    fn begin(reads: &'a Reads, callers: usize) -> OnItsWay<'a> {
        reads.on_their_way.fetch_add(callers, Ordering::AcqRel);
        OnItsWay { reads, callers }
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.reads.on_their_way.fetch_sub(self.callers, Ordering::AcqRel);
        self.reads.back.notify_waiters();
    }
}

/// A task that takes care of what waits, once. Dropped before, it drops what waits, and whoever waited is
/// told.
struct Care {
    line: Arc<Line>,
    took: bool,
}

impl Care {
    fn of(line: Arc<Line>) -> Care {
        Care { line, took: false }
    }

    /// What waits; or, when many do and few are on their way, the half of it: then the other half is
    /// still to be taken care of.
    fn take(mut self, halve: bool) -> (Vec<Waiting>, Option<Care>) {
        self.took = true;
        let mut queue = self.line.reads.queue.lock();
        let waiting = queue.waiting.len();
        if halve && waiting >= MANY && self.line.reads.on_their_way() < waiting / 2 {
            let half = queue.waiting.len() / 2;
            let later = queue.waiting.split_off(half);
            let now = std::mem::replace(&mut queue.waiting, later);
            return (now, Some(Care::of(self.line.clone())));
        }
        queue.is_taken_care_of = false;
        (std::mem::take(&mut queue.waiting), None)
    }

    fn begin(self) {
        let runtime = self.line.runtime.clone();
        runtime.spawn(self.read());
    }

    async fn read(self) {
        let line = self.line.clone();
        // Whoever was woken together with the first to wait now joins it.
        tokio::task::yield_now().await;
        let back = line.reads.back.notified();
        let turns = line.reads.on_their_way() >= MANY / 2 && line.reads.waiting() >= MANY / 2;
        if turns {
            line.clock().within(TURN, back).await;
        }
        let (mut waiting, later) = self.take(!turns);
        let on_its_way = OnItsWay::begin(&line.reads, waiting.len());
        if let Some(later) = later {
            later.begin();
        }
        // Who has gone meanwhile wants no answer.
        waiting.retain(|one| !one.answer.is_closed());
        let asked: Vec<Asked<'_>> = waiting.iter().map(Waiting::asked).collect();
        let replies = line.read_all(&asked).await;
        drop(asked);
        drop(on_its_way);
        if line.reads.waiting() > 0 {
            // The other half is on the wire before this one is worked on.
            tokio::task::yield_now().await;
        }
        match replies {
            Ok(replies) => {
                for (one, reply) in waiting.into_iter().zip(replies) {
                    let _ = one.answer.send(Ok(reply));
                }
            }
            Err(why) => {
                for one in waiting {
                    let _ = one.answer.send(Err(why.clone()));
                }
            }
        }
    }
}

impl Drop for Care {
    fn drop(&mut self) {
        if !self.took {
            let mut queue = self.line.reads.queue.lock();
            queue.is_taken_care_of = false;
            let gone = std::mem::take(&mut queue.waiting);
            // Whoever is woken by this may ask again at once.
            drop(queue);
            drop(gone);
        }
    }
}

impl Reads {
    fn waiting(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    fn on_their_way(&self) -> usize {
        self.on_their_way.load(Ordering::Acquire)
    }
}

impl Line {
    /// Reads the values of keys, and then what their tags hold. One round trip.
    pub(crate) async fn read_together(&self, keys: &[Key], tags: &[Tag]) -> Reply {
        if self.reads.on_their_way() == 0 {
            let _counted = OnItsWay::begin(&self.reads, 1);
            let mut answers = self.read_all(&[Asked { keys, tags }]).await?;
            return answers.next().ok_or(FarError::Slow);
        }
        // There for as long as somebody holds it, as whoever called us does.
        let line = self.me.upgrade().ok_or(FarError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { keys: keys.into(), tags: tags.into(), answer };
        let nobody_cares = {
            let mut queue = self.reads.queue.lock();
            queue.push(waiting)?;
            !std::mem::replace(&mut queue.is_taken_care_of, true)
        };
        if nobody_cares {
            Care::of(line).begin();
        }
        // Its turn, a command and a script that is told again. Care has the same deadline, but on another
        // runtime than this caller's, perhaps, and that one may not be driven any more.
        let patience = 2 * self.deadline() + TURN;
        match self.clock().within(patience, answered).await {
            Some(answer) => answer.unwrap_or(Err(FarError::Closed)),
            None => Err(FarError::Slow),
        }
    }

    /// To each caller what it asked for.
    async fn read_all(
        &self,
        asked: &[Asked<'_>],
    ) -> Result<impl Iterator<Item = Answers> + use<>, FarError> {
        let batch = Batch::of(asked, self.app(), self.reading());
        if batch.names == 0 {
            return Ok(batch.dealt(Vec::new()));
        }
        let answers = self.ask(&batch.commands, self.deadline()).await?;
        if self.reading() == Reading::Apart {
            return match answers.len() == batch.names {
                true => Ok(batch.dealt(answers)),
                false => {
                    Err(FarError::Refused("GET gave other answers than were asked".to_owned()))
                }
            };
        }
        let mut values = Vec::with_capacity(batch.names);
        for answer in answers {
            match answer.extract_error() {
                Ok(Value::Array(some)) => values.extend(some),
                Ok(_) => return Err(FarError::Refused("MGET gave no list".to_owned())),
                Err(why) => return Err(FarError::Refused(why.to_string())),
            }
        }
        if values.len() != batch.names {
            return Err(FarError::Refused("MGET gave a list of another length".to_owned()));
        }
        Ok(batch.dealt(values))
    }
}

/// Everyone's names in one list: all keys, then all tags, the latter once each, since many entries
/// share a tag.
struct Batch {
    commands: Pipeline,
    names: usize,
    /// How many of them are keys.
    keys: usize,
    /// How many keys and tags each caller asked for.
    callers: Vec<(usize, usize)>,
    /// Where each caller's tags stand behind the keys.
    places: Vec<usize>,
}

impl Batch {
    fn of(asked: &[Asked<'_>], app: &str, reading: Reading) -> Batch {
        let keys = asked.iter().map(|asked| asked.keys.len()).sum();
        let (mut names, mut places) = (Names::of(reading), Vec::with_capacity(asked.len()));
        for key in asked.iter().flat_map(|asked| asked.keys) {
            names.add(key.v());
        }
        let mut known: HashMap<&Tag, usize, FixedState> = HashMap::default();
        for tag in asked.iter().flat_map(|asked| asked.tags) {
            let next = known.len();
            places.push(*known.entry(tag).or_insert_with(|| {
                names.add(&tag.redis_name(app));
                next
            }));
        }
        let callers = asked.iter().map(|asked| (asked.keys.len(), asked.tags.len())).collect();
        let (names, commands) = names.commands();
        Batch { commands, names, keys, callers, places }
    }

    /// To each caller what it asked for. There is a value for each name.
    fn dealt(self, mut values: Vec<Value>) -> impl Iterator<Item = Answers> + use<> {
        let tags = values.split_off(self.keys.min(values.len()));
        let tags: Vec<Result<Option<[u8; 16]>, Value>> = tags
            .into_iter()
            .map(|tag| said(tag).map(|bytes| bytes.and_then(|bytes| bytes.try_into().ok())))
            .collect();
        let (mut values, mut places) = (values.into_iter(), self.places.into_iter());
        self.callers.into_iter().map(move |(keys, of_tags)| {
            let mut answers = Answers::default();
            for (at, value) in values.by_ref().take(keys).enumerate() {
                let value = said(value);
                answers.values.push(value.unwrap_or_else(|why| {
                    answers.refused.push((at, why));
                    None
                }));
            }
            for (at, place) in places.by_ref().take(of_tags).enumerate() {
                answers.tags.push(match tags.get(place) {
                    Some(Ok(tag)) => *tag,
                    Some(Err(why)) => {
                        answers.refused.push((keys + at, why.clone()));
                        None
                    }
                    None => None,
                });
            }
            answers
        })
    }
}

/// The commands that ask for them.
struct Names {
    reading: Reading,
    full: Pipeline,
    last: Option<Cmd>,
    count: usize,
}

impl Names {
    fn of(reading: Reading) -> Names {
        Names { reading, full: Pipeline::default(), last: None, count: 0 }
    }

    fn add(&mut self, name: &[u8]) {
        if self.reading == Reading::Apart {
            self.full.cmd("GET").arg(name);
            self.count += 1;
            return;
        }
        if self.count.is_multiple_of(NAMES_MAX)
            && let Some(full) = self.last.take()
        {
            self.full.add_command(full);
        }
        self.last.get_or_insert_with(|| ::redis::cmd("MGET")).arg(name);
        self.count += 1;
    }

    fn commands(self) -> (usize, Pipeline) {
        let mut commands = self.full;
        self.last.map(|last| commands.add_command(last));
        (self.count, commands)
    }
}

/// What lies there, if it is a string; the refusal, if it says nothing of what lies there.
fn said(answer: Value) -> Result<Option<Vec<u8>>, Value> {
    match answer {
        Value::ServerError(why) if why.code() != "WRONGTYPE" => Err(Value::ServerError(why)),
        answer => Ok(string(answer)),
    }
}

/// What an answer holds, if it is a string.
pub(crate) fn string(answer: Value) -> Option<Vec<u8>> {
    match answer {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        Value::Okay => Some(b"OK".to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> Vec<Key> {
        names.iter().map(|name| Key::new(name.as_bytes())).collect()
    }

    fn tags(names: &[&str]) -> Vec<Tag> {
        names.iter().map(Tag::new).collect()
    }

    #[test]
    fn each_caller_gets_its_own_and_a_shared_tag_is_asked_for_once() {
        let asked = [
            (keys(&["a", "b"]), tags(&["t"])),
            (keys(&[]), tags(&["u", "t"])),
            (keys(&["c"]), tags(&[])),
        ];
        let asked: Vec<_> = asked.iter().map(|(keys, tags)| Asked { keys, tags }).collect();
        let batch = Batch::of(&asked, "app", Reading::Together);
        let said = String::from_utf8(batch.commands.get_packed_pipeline()).unwrap();
        let said: Vec<&str> = said.lines().skip(2).step_by(2).collect();
        let expected = ["MGET", "a", "b", "c", "app:t:{.t}", "app:t:{.u}"];
        assert_eq!(said, expected, "values before tags");
        // What a server would answer, with a number for each name, and no string for `b`.
        let nonce = |byte| Value::BulkString(vec![byte; 16]);
        let bytes = |byte| Value::BulkString(vec![byte]);
        let answers = vec![bytes(1), Value::Int(2), bytes(3), nonce(4), nonce(5)];
        let dealt: Vec<_> = batch.dealt(answers).map(|one| (one.values, one.tags)).collect();
        assert_eq!(dealt.len(), 3);
        assert_eq!(
            (&dealt[0].0[..], &dealt[0].1[..]),
            (&[Some(vec![1]), None][..], &[Some([4; 16])][..])
        );
        assert_eq!(
            (&dealt[1].0[..], &dealt[1].1[..]),
            (&[][..], &[Some([5; 16]), Some([4; 16])][..])
        );
        assert_eq!((&dealt[2].0[..], &dealt[2].1[..]), (&[Some(vec![3])][..], &[][..]));
    }

    /// Whoever takes the queue is not driven any more, say: it does not grow for ever, and who has gone makes room.
    #[test]
    fn the_queue_has_an_end() {
        let mut queue = Queue::default();
        let mut wait = || {
            let (answer, answered) = oneshot::channel();
            let waiting = Waiting { keys: SmallVec::new(), tags: SmallVec::new(), answer };
            queue.push(waiting).map(|()| answered)
        };
        let mut callers: Vec<_> = (0..WAITING_MAX).map_while(|_| wait().ok()).collect();
        assert_eq!(callers.len(), WAITING_MAX);
        assert_eq!(wait().err(), Some(FarError::Crowded));
        callers.truncate(10);
        let one_more = (0..=WAITING_MAX).find_map(|_| wait().ok());
        assert!(one_more.is_some(), "those who have gone wait no more");
        assert_eq!(queue.waiting.len(), 11);
    }

    #[test]
    fn no_command_names_more_than_its_share() {
        let many: Vec<String> = (0..300).map(|i| i.to_string()).collect();
        let many = keys(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let batch = Batch::of(&[Asked { keys: &many, tags: &[] }], "app", Reading::Together);
        assert_eq!((batch.names, batch.commands.len()), (300, 3));
    }
}
