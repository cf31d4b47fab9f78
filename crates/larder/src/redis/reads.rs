//! Reads that wait at the same time go together.
//!
//! A read that finds no other on its way is sent at once, by its own caller. While one is on its way
//! the next ones queue; a task takes what is queued, lets everyone who is about to ask do so, and
//! sends it as one `MGET`. So one caller alone pays for nothing, and many share the cost of a command.
//!
//! The task is nobody's caller: a caller that is dropped, or not polled any more, never holds up the
//! rest. It ends with its answer or the deadline; with the process dies a read that has no answer yet.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::redis::{Pipeline, Value, pipe};
use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::supervisor::Line;
use crate::error::FarError;

/// Names in one command: more would keep others waiting on the server.
const NAMES_MAX: usize = 128;

/// What one caller wants to know: `first` is read before `then`.
pub(crate) struct Names {
    pub(crate) first: Vec<Vec<u8>>,
    pub(crate) then: Vec<Vec<u8>>,
}

/// What lies under the names: a string, or nothing. What is no string counts as nothing.
pub(crate) struct Answers {
    pub(crate) first: Vec<Value>,
    pub(crate) then: Vec<Value>,
}

type Reply = Result<Answers, FarError>;

/// The reads of one connection.
#[derive(Default)]
pub(super) struct Reads {
    queue: Mutex<Queue>,
    on_their_way: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<(Names, oneshot::Sender<Reply>)>,
    /// A task is about to take what waits.
    is_taken_care_of: bool,
}

/// Counts a command, whatever becomes of it.
struct OnItsWay<'a>(&'a AtomicUsize);

impl<'a> OnItsWay<'a> {
    fn begin(count: &'a AtomicUsize) -> OnItsWay<'a> {
        count.fetch_add(1, Ordering::AcqRel);
        OnItsWay(count)
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Takes care of what waits, once. Dropped before, with its task, it drops what waits, and whoever waited
/// is told.
struct Care<'a>(Option<&'a Reads>);

impl Care<'_> {
    fn take(mut self) -> Vec<(Names, oneshot::Sender<Reply>)> {
        self.0.take().map_or_else(Vec::new, Reads::take)
    }
}

impl Drop for Care<'_> {
    fn drop(&mut self) {
        self.0.take().map(Reads::take);
    }
}

impl Reads {
    fn take(&self) -> Vec<(Names, oneshot::Sender<Reply>)> {
        let mut queue = self.queue.lock();
        queue.is_taken_care_of = false;
        std::mem::take(&mut queue.waiting)
    }
}

impl Line {
    /// Reads strings, each caller's `first` before its `then`. One round trip.
    pub(crate) async fn read(self: &Arc<Self>, names: Names) -> Reply {
        if self.reads.on_their_way.load(Ordering::Acquire) == 0 {
            let _counted = OnItsWay::begin(&self.reads.on_their_way);
            let asked = [names];
            return self.read_all(&asked).await?.pop().ok_or(FarError::Slow);
        }
        let (answer, answered) = oneshot::channel();
        let nobody_cares = {
            let mut queue = self.reads.queue.lock();
            queue.waiting.push((names, answer));
            !std::mem::replace(&mut queue.is_taken_care_of, true)
        };
        if nobody_cares {
            let line = self.clone();
            self.runtime.spawn(async move { line.read_what_waits().await });
        }
        // Dropped without an answer: the runtime is stopping.
        answered.await.unwrap_or(Err(FarError::Closed))
    }

    async fn read_what_waits(self: &Arc<Self>) {
        let _counted = OnItsWay::begin(&self.reads.on_their_way);
        let care = Care(Some(&self.reads));
        // Whoever was woken together with the first to wait now joins it.
        tokio::task::yield_now().await;
        let waiting = care.take();
        // Who has gone meanwhile wants no answer.
        let here = waiting.into_iter().filter(|(_, answer)| !answer.is_closed());
        let (asked, answers): (Vec<Names>, Vec<_>) = here.unzip();
        match self.read_all(&asked).await {
            Ok(replies) => {
                for (answer, reply) in answers.into_iter().zip(replies) {
                    let _ = answer.send(Ok(reply));
                }
            }
            Err(why) => {
                for answer in answers {
                    let _ = answer.send(Err(why.clone()));
                }
            }
        }
    }

    async fn read_all(&self, asked: &[Names]) -> Result<Vec<Answers>, FarError> {
        let batch = Batch::of(asked);
        if batch.names.is_empty() {
            return Ok(batch.dealt(asked, Vec::new()));
        }
        let mut values = Vec::with_capacity(batch.names.len());
        for answer in self.ask(&batch.pipeline(), self.deadline()).await? {
            match answer.extract_error() {
                Ok(Value::Array(some)) => values.extend(some),
                Ok(_) => return Err(FarError::Refused("MGET gave no list".to_owned())),
                Err(why) => return Err(FarError::Refused(why.to_string())),
            }
        }
        if values.len() != batch.names.len() {
            return Err(FarError::Refused("MGET gave a list of another length".to_owned()));
        }
        Ok(batch.dealt(asked, values))
    }
}

/// Everyone's names in one list: all `first`, then all `then`, the latter once each, since many
/// entries share a tag.
struct Batch<'a> {
    names: Vec<&'a [u8]>,
    /// How many of them are `first`.
    first: usize,
    /// Where each `then` stands behind them, in the order of the callers.
    then: Vec<usize>,
}

impl<'a> Batch<'a> {
    fn of(asked: &'a [Names]) -> Batch<'a> {
        let mut names: Vec<&[u8]> =
            asked.iter().flat_map(|names| &names.first).map(Vec::as_slice).collect();
        let (first, mut then) = (names.len(), Vec::new());
        let mut places = HashMap::with_hasher(FixedState::default());
        for name in asked.iter().flat_map(|names| &names.then) {
            let place = places.entry(name.as_slice()).or_insert_with(|| {
                names.push(name);
                names.len() - 1 - first
            });
            then.push(*place);
        }
        Batch { names, first, then }
    }

    fn pipeline(&self) -> Pipeline {
        let mut pipeline = pipe();
        for some in self.names.chunks(NAMES_MAX) {
            pipeline.cmd("MGET").arg(some);
        }
        pipeline
    }

    /// To each caller what it asked for. There is a value for each name.
    fn dealt(&self, asked: &[Names], mut values: Vec<Value>) -> Vec<Answers> {
        let later = values.split_off(self.first.min(values.len()));
        let (mut first, mut places) = (values.into_iter(), self.then.iter());
        let deal = |names: &Names| Answers {
            first: first.by_ref().take(names.first.len()).collect(),
            then: places
                .by_ref()
                .take(names.then.len())
                .map(|place| later.get(*place).cloned().unwrap_or(Value::Nil))
                .collect(),
        };
        asked.iter().map(deal).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(first: &[&str], then: &[&str]) -> Names {
        let bytes = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect();
        Names { first: bytes(first), then: bytes(then) }
    }

    /// What a server that holds `name -> NAME` would answer.
    fn answered(batch: &Batch<'_>) -> Vec<Value> {
        batch.names.iter().map(|name| Value::BulkString(name.to_ascii_uppercase())).collect()
    }

    #[test]
    fn each_caller_gets_its_own_and_a_shared_tag_is_asked_for_once() {
        let asked = [names(&["a", "b"], &["t"]), names(&[], &["u", "t"]), names(&["c"], &[])];
        let batch = Batch::of(&asked);
        assert_eq!(batch.names, [&b"a"[..], b"b", b"c", b"t", b"u"], "values before tags");
        let dealt = batch.dealt(&asked, answered(&batch));
        let said = |values: &[Value]| -> Vec<String> {
            values.iter().map(|v| ::redis::from_redis_value_ref(v).unwrap()).collect()
        };
        let said: Vec<_> = dealt.iter().map(|d| (said(&d.first), said(&d.then))).collect();
        let strings = |s: &[&str]| s.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        assert_eq!(said[0], (strings(&["A", "B"]), strings(&["T"])));
        assert_eq!(said[1], (strings(&[]), strings(&["U", "T"])));
        assert_eq!(said[2], (strings(&["C"]), strings(&[])));
    }

    #[test]
    fn no_command_names_more_than_its_share() {
        let many: Vec<String> = (0..300).map(|i| i.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let asked = [names(&many, &[])];
        assert_eq!(Batch::of(&asked).pipeline().len(), 3);
    }
}
