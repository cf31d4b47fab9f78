//! A queue in Redis: a stream with one group, a sorted set of what comes later, a stream of dead letters.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Batch, Buried, Claimed, Failed, Figures, Push, Pushed, Record, Rules};
use crate::clock::{Clock, Moment};
use crate::error::{Error, FarError};
use crate::key::{Name, Shape};
use crate::redis::{Call, Commands, Private, Reply, Script};
use crate::structures::bounds::ms;
use crate::structures::{not_done, not_read};

pub(crate) static PUSH: Script = Script::new(include_str!("push.lua"));
pub(crate) static CLAIM: Script = Script::new(include_str!("claim.lua"));
pub(crate) static FINISH: Script = Script::new(include_str!("finish.lua"));
pub(crate) static FAIL: Script = Script::new(include_str!("fail.lua"));
pub(crate) static EXTEND: Script = Script::new(include_str!("extend.lua"));
pub(crate) static REPLAY: Script = Script::new(include_str!("replay.lua"));
pub(crate) static STATS: Script = Script::new(include_str!("stats.lua"));
pub(crate) static TIDY: Script = Script::new(include_str!("tidy.lua"));

const GROUP: &str = "larder";
/// Where a look for jobs of workers that are gone begins.
const BEGINNING: &str = "0-0";
/// A consumer that was not seen for so long and holds nothing is forgotten.
const GONE_AFTER: Duration = Duration::from_secs(60 * 60);
/// How often one looks for such.
const TIDY_EVERY: Duration = Duration::from_secs(10 * 60);

pub(super) struct Stream {
    commands: Commands,
    shape: Shape,
    jobs: Name,
    later: Name,
    dead: Name,
    once: Name,
    /// Our name in the group: nobody else's, in no other process.
    consumer: String,
    /// Where the last look for the gone ended, and when consumers were last tidied.
    looked: Mutex<(String, Moment)>,
    /// One at a time waits at the server; the others of the process wait for their turn.
    seat: Semaphore,
    /// The connection of whoever has the seat.
    private: Mutex<Option<Private>>,
}

impl Stream {
    pub(super) fn new(commands: Commands, shape: Shape) -> Stream {
        let nonce = commands.clock().nonce();
        let consumer = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
        Stream {
            jobs: shape.part("jobs"),
            later: shape.part("later"),
            dead: shape.part("dead"),
            once: shape.part("once"),
            looked: Mutex::new((BEGINNING.to_owned(), commands.clock().now())),
            commands,
            shape,
            consumer,
            seat: Semaphore::new(1),
            private: Mutex::new(None),
        }
    }

    fn clock(&self) -> &Clock {
        self.commands.clock()
    }

    fn on_all(&self, script: &Script) -> Call {
        Call::script(script, &[&self.jobs, &self.later, &self.dead])
    }

    /// A script that does something to a job that is still ours.
    fn on(&self, script: &Script, names: &[&Name], job: &Claimed) -> Call {
        let call = Call::script(script, names).arg(GROUP).arg(&self.consumer);
        call.arg(&job.entry).arg(job.deliveries)
    }

    async fn number(&self, call: Call, doing: &str) -> Result<i64, Error> {
        let answer = self.commands.ask(call).await;
        let answer = answer.map_err(|why| not_done(&self.shape, doing, why))?;
        Reply::from(answer).whole().ok_or_else(|| self.rubbish(doing))
    }

    fn rubbish(&self, doing: &str) -> Error {
        not_read(&self.shape, doing, FarError::Refused("an answer that is none".to_owned()))
    }

    pub(super) async fn push(&self, push: Push<'_>, rules: &Rules) -> Result<Pushed, Error> {
        let due = match push.due {
            super::Due::Now => String::new(),
            super::Due::In(time) => format!("+{}", time.as_millis()),
            super::Due::At(ms) => ms.to_string(),
        };
        let call = Call::script(&PUSH, &[&self.jobs, &self.later, &self.once])
            .arg(push.job)
            .arg(push.body)
            .arg(rules.jobs_max)
            .arg(due)
            .arg(push.once.unwrap_or_default())
            .arg(ms(rules.once_for));
        Ok(match self.number(call, "push to").await? {
            1 => Pushed::Done,
            2 => Pushed::Known,
            3 => Pushed::Crowded,
            _ => Pushed::Full,
        })
    }

    /// What can be had at once.
    pub(super) async fn take(&self, most: usize, rules: &Rules) -> Result<Batch, Error> {
        let cursor = self.looked.lock().0.clone();
        let call = self
            .on_all(&CLAIM)
            .arg(GROUP)
            .arg(&self.consumer)
            .arg(most)
            .arg(ms(rules.visibility))
            .arg(rules.attempts_max)
            .arg(rules.dead_max)
            .arg(cursor);
        let answer = self.commands.ask(call).await;
        // What was claimed for us and did not get here comes again when its visibility is over.
        let answer = answer.map_err(|why| not_read(&self.shape, "claim from", why))?;
        let mut parts = Reply::from(answer).parts().into_iter();
        let jobs = parts.next().unwrap_or(Reply::Nothing).parts();
        let jobs = jobs.into_iter().filter_map(claimed).collect();
        let cursor = parts.next().and_then(Reply::shown);
        self.looked.lock().0 = cursor.unwrap_or_else(|| BEGINNING.to_owned());
        let next = parts.next().and_then(|next| next.whole());
        let next = next.and_then(|next| u64::try_from(next).ok()).map(Duration::from_millis);
        let buried = parts.next().and_then(|buried| buried.whole()).unwrap_or(0);
        self.tidy().await;
        Ok(Batch { jobs, next, buried: usize::try_from(buried).unwrap_or(0) })
    }

    /// Waits at the server until there is a job, or for as long as `wait`. Comes back with nothing when it
    /// cannot wait there.
    pub(super) async fn wait(&self, most: usize, wait: Duration) -> Vec<Claimed> {
        let clock = self.clock();
        let until = clock.now().plus(wait);
        let Some(Ok(_seat)) = clock.within(wait, self.seat.acquire()).await else {
            return Vec::new();
        };
        // A connection that was let go of in the middle of a wait is of no use: it is taken out, and put back
        // when it has answered.
        let kept = self.private.lock().take();
        let private = match kept {
            Some(private) => Ok(private),
            None => {
                let left = until.since(clock.now());
                let made = clock.within(left, self.commands.private(&self.jobs)).await;
                made.unwrap_or(Err(FarError::Slow))
            }
        };
        let left = until.since(clock.now());
        let waited = match private {
            Ok(private) if !left.is_zero() => self.wait_over(private, most, left).await,
            Ok(private) => {
                *self.private.lock() = Some(private);
                return Vec::new();
            }
            Err(why) => Err(why),
        };
        match waited {
            Ok(jobs) => jobs,
            Err(why) => {
                tracing::debug!(queue = %self.shape, %why, "cannot wait for jobs at the server");
                let pause = left.min(Duration::from_millis(100));
                clock.sleep(pause / 2 + clock.up_to(pause / 2)).await;
                Vec::new()
            }
        }
    }

    async fn wait_over(
        &self,
        mut private: Private,
        most: usize,
        left: Duration,
    ) -> Result<Vec<Claimed>, FarError> {
        let call = Call::around("XREADGROUP", &self.jobs)
            .arg("GROUP")
            .arg(GROUP)
            .arg(&self.consumer)
            .arg("COUNT")
            .arg(most)
            .arg("BLOCK")
            .arg(ms(left).max(1))
            .arg("STREAMS")
            .arg(self.jobs.bytes())
            .arg(">");
        let answer = match private.ask(call, left).await {
            // No group, since there is no stream: the next to push makes the one, the next to claim the other.
            // Somebody who was here first could not wait for it.
            Err(FarError::Refused(why)) if why.contains("NOGROUP") => {
                let make = Call::with_verb("XGROUP", "CREATE", &self.jobs);
                let make = make.arg(GROUP).arg(BEGINNING).arg("MKSTREAM");
                let _ = self.commands.ask(make).await; // another may have made it: then it is there as well
                *self.private.lock() = Some(private);
                return Ok(Vec::new());
            }
            answer => Reply::from(answer?),
        };
        *self.private.lock() = Some(private);
        // A stream is a pair of its name and its entries; in the older protocol a list of such pairs.
        let mut parts = answer.parts();
        if let [Reply::List(_)] = parts[..] {
            parts = parts.swap_remove(0).parts();
        }
        let entries = parts.into_iter().nth(1).map(Reply::parts).unwrap_or_default();
        Ok(entries.into_iter().filter_map(fresh).collect())
    }

    async fn tidy(&self) {
        let clock = self.clock();
        {
            let mut looked = self.looked.lock();
            if clock.now().since(looked.1) < TIDY_EVERY {
                return;
            }
            looked.1 = clock.now();
        }
        let call = Call::script(&TIDY, &[&self.jobs]).arg(GROUP).arg(ms(GONE_AFTER));
        if let Err(why) = self.commands.ask(call).await {
            tracing::debug!(queue = %self.shape, %why, "consumers that are gone were not forgotten");
        }
    }

    pub(super) async fn finish(&self, job: &Claimed) -> Result<bool, Error> {
        let call = self.on(&FINISH, &[&self.jobs], job);
        Ok(self.number(call, "finish a job of").await? == 1)
    }

    pub(super) async fn fail(&self, job: &Claimed, failed: Failed<'_>) -> Result<Buried, Error> {
        let call = self.on(&FAIL, &[&self.jobs, &self.later, &self.dead], job);
        let call = call.arg(ms(failed.again_in)).arg(failed.attempts_max);
        let call = call.arg(failed.dead_max).arg(failed.why);
        Ok(match self.number(call, "fail a job of").await? {
            1 => Buried::No,
            2 => Buried::Yes,
            _ => Buried::Lost,
        })
    }

    /// `idle`: zero extends; the visibility gives it back.
    pub(super) async fn extend(&self, job: &Claimed, idle: Duration) -> Result<bool, Error> {
        let call = self.on(&EXTEND, &[&self.jobs], job).arg(ms(idle).to_string());
        Ok(self.number(call, "extend a job of").await? == 1)
    }

    pub(super) async fn stats(&self) -> Result<Figures, Error> {
        let answer = self.commands.ask(self.on_all(&STATS).arg(GROUP)).await;
        let answer = answer.map_err(|why| not_read(&self.shape, "count", why))?;
        let numbers: Vec<i64> =
            Reply::from(answer).parts().iter().filter_map(Reply::whole).collect();
        let [all, claimed, later, dead, age] = numbers[..] else {
            return Err(self.rubbish("count"));
        };
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(Figures {
            waiting: count(all - claimed),
            claimed: count(claimed),
            later: count(later),
            dead: count(dead),
            oldest: u64::try_from(age).ok().map(Duration::from_millis),
        })
    }

    /// Dead letters after this one, oldest first.
    pub(super) async fn dead(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<Record>, Error> {
        let from = after.map_or("-".to_owned(), |after| format!("({after}"));
        let call = Call::new("XRANGE", &self.dead).arg(from).arg("+").arg("COUNT").arg(most);
        let answer = self.commands.ask(call).await;
        let answer =
            answer.map_err(|why| not_read(&self.shape, "list the dead letters of", why))?;
        Ok(Reply::from(answer).parts().into_iter().filter_map(letter).collect())
    }

    pub(super) async fn replay(&self, id: &str, rules: &Rules) -> Result<Pushed, Error> {
        let call = self.on_all(&REPLAY).arg(id).arg(rules.jobs_max);
        Ok(match self.number(call, "replay a dead letter of").await? {
            1 => Pushed::Done,
            2 => Pushed::Known,
            _ => Pushed::Full,
        })
    }

    pub(super) async fn remove(&self, id: &str) -> Result<bool, Error> {
        let call = Call::new("XDEL", &self.dead).arg(id);
        Ok(self.number(call, "remove a dead letter of").await? == 1)
    }
}

/// As `claim.lua` tells it.
fn claimed(reply: Reply) -> Option<Claimed> {
    let mut parts = reply.parts().into_iter();
    let entry = parts.next()?.shown()?;
    let id = parts.next()?.shown()?;
    let failed = number(parts.next())?;
    let deliveries = number(parts.next())?;
    let pushed_ms = parts.next()?.whole().and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0);
    let body: Arc<[u8]> = parts.next()?.bytes().ok()?.into();
    Some(Claimed { entry, deliveries, record: Record { id, failed, pushed_ms, body, error: None } })
}

fn number(reply: Option<Reply>) -> Option<u32> {
    Some(u32::try_from(reply?.whole()?).unwrap_or(u32::MAX))
}

/// An entry as the stream has it, handed out for the first time.
fn fresh(reply: Reply) -> Option<Claimed> {
    let (entry, record) = read_entry(reply)?;
    Some(Claimed { entry, deliveries: 1, record })
}

fn letter(reply: Reply) -> Option<Record> {
    let (entry, job) = read_entry(reply)?;
    Some(Record { id: entry, ..job })
}

fn read_entry(reply: Reply) -> Option<(String, Record)> {
    let mut parts = reply.parts().into_iter();
    let entry = parts.next()?.shown()?;
    let mut job =
        Record { id: "0".to_owned(), failed: 0, pushed_ms: 0, body: Arc::from([]), error: None };
    let mut fields = parts.next()?.parts().into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match name.bytes().ok().as_deref() {
            Some(b"j") => job.id = value.shown().unwrap_or_default(),
            Some(b"n") => job.failed = number(Some(value)).unwrap_or(0),
            Some(b"t") => {
                job.pushed_ms = value.whole().and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0);
            }
            Some(b"b") => job.body = value.bytes().ok().unwrap_or_default().into(),
            Some(b"e") => job.error = value.shown(),
            _ => {} // what a later version writes
        }
    }
    Some((entry, job))
}
