//! A queue in this process, by the same rules. It dies with the process.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Batch, Buried, Claimed, Due, Failed, Figures, Push, Pushed, Record, Rules};
use crate::clock::{Clock, Moment};

/// How many names jobs were pushed once under are kept.
const ONCE_MAX: usize = 1_000_000;

/// All handles on one name have the same.
#[derive(Default)]
pub(super) struct Desk {
    /// Whole jobs go from one place of it to another in one step.
    all: Mutex<All>,
    /// Rings when there is a job for somebody.
    bell: Notify,
}

#[derive(Default)]
struct All {
    last: u64,
    waiting: BTreeMap<u64, (Moment, Record)>,
    claimed: BTreeMap<u64, Held>,
    later: BTreeMap<(Moment, u64), Record>,
    dead: BTreeMap<u64, Record>,
    once: HashMap<Vec<u8>, Moment>,
}

struct Held {
    since: Moment,
    deliveries: u32,
    heard: Moment,
    record: Record,
}

impl All {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn wait(&mut self, now: Moment, job: Record) {
        let at = self.next();
        self.waiting.insert(at, (now, job));
    }

    fn count(&self) -> usize {
        self.waiting.len() + self.claimed.len() + self.later.len()
    }

    fn is_full(&self, rules: &Rules) -> bool {
        self.count() as u64 >= rules.jobs_max
    }

    fn bury(&mut self, mut job: Record, error: &str, dead_max: u64) {
        job.error = Some(error.to_owned());
        let at = self.next();
        self.dead.insert(at, job);
        while self.dead.len() as u64 > dead_max {
            self.dead.pop_first();
        }
    }

    /// The job, if it is still claimed as it was.
    fn held(&mut self, job: &Claimed) -> Option<u64> {
        let at = job.entry.parse().ok()?;
        let held = self.claimed.get(&at)?;
        (held.deliveries == job.deliveries).then_some(at)
    }
}

/// What a dead letter's id means: as in Redis it has two parts.
fn place(id: &str) -> Option<u64> {
    id.split_once('-')?.0.parse().ok()
}

impl Desk {
    pub(super) fn push(&self, push: Push<'_>, rules: &Rules, clock: &Clock) -> Pushed {
        let now = clock.now();
        let due = match push.due {
            Due::Now => now,
            Due::In(time) => now.plus(time),
            Due::At(ms) => now.plus(Duration::from_millis(ms.saturating_sub(clock.unix_ms()))),
        };
        let job = Record {
            id: push.job.to_owned(),
            failed: 0,
            pushed_ms: clock.unix_ms(),
            body: push.body.into(),
            error: None,
        };
        let mut all = self.all.lock();
        if let Some(once) = push.once {
            if all.once.get(once).is_some_and(|till| *till > now) {
                return Pushed::Known;
            }
            if all.once.len() >= ONCE_MAX {
                all.once.retain(|_, till| *till > now);
            }
        }
        if all.is_full(rules) {
            return Pushed::Full;
        }
        if let Some(once) = push.once {
            if all.once.len() >= ONCE_MAX {
                return Pushed::Crowded;
            }
            all.once.insert(once.to_vec(), now.plus(rules.once_for));
        }
        if due > now {
            let at = all.next();
            all.later.insert((due, at), job);
        } else {
            all.wait(now, job);
        }
        drop(all);
        self.bell.notify_one();
        Pushed::Done
    }

    pub(super) fn take(&self, most: usize, rules: &Rules, clock: &Clock) -> Batch {
        let now = clock.now();
        let mut all = self.all.lock();
        while let Some(first) = all.later.first_entry().filter(|first| first.key().0 <= now) {
            let job = first.remove();
            all.wait(now, job);
        }
        let (mut jobs, mut buried) = (Vec::new(), 0);
        let gone: Vec<u64> = all
            .claimed
            .iter()
            .filter(|(_, held)| now.since(held.heard) >= rules.visibility)
            .map(|(at, _)| *at)
            .take(most)
            .collect();
        for at in gone {
            let Some(mut held) = all.claimed.remove(&at) else { continue };
            held.deliveries += 1;
            if held.record.failed + held.deliveries > rules.attempts_max {
                held.record.failed += held.deliveries - 1;
                all.bury(held.record, super::NO_WORD, rules.dead_max);
                buried += 1;
                continue;
            }
            jobs.push(Claimed {
                entry: at.to_string(),
                deliveries: held.deliveries,
                record: held.record.clone(),
            });
            held.heard = now;
            all.claimed.insert(at, held);
        }
        while jobs.len() < most {
            let Some((at, (since, job))) = all.waiting.pop_first() else { break };
            jobs.push(Claimed { entry: at.to_string(), deliveries: 1, record: job.clone() });
            all.claimed.insert(at, Held { since, deliveries: 1, heard: now, record: job });
        }
        let next = all.later.first_key_value().map(|((due, _), _)| due.since(now));
        let more = !all.waiting.is_empty();
        drop(all);
        if more {
            self.bell.notify_one(); // for the next who waits
        }
        Batch { jobs, next, buried }
    }

    /// Until there may be something.
    pub(super) async fn wait(&self, wait: Duration, clock: &Clock) {
        clock.within(wait, self.bell.notified()).await;
    }

    pub(super) fn finish(&self, job: &Claimed) -> bool {
        let mut all = self.all.lock();
        all.held(job).and_then(|at| all.claimed.remove(&at)).is_some()
    }

    pub(super) fn fail(&self, job: &Claimed, failed: Failed<'_>, clock: &Clock) -> Buried {
        let mut all = self.all.lock();
        let Some(mut held) = all.held(job).and_then(|at| all.claimed.remove(&at)) else {
            return Buried::Lost;
        };
        held.record.failed += held.deliveries;
        if held.record.failed >= failed.attempts_max {
            all.bury(held.record, failed.why, failed.dead_max);
            return Buried::Yes;
        }
        let at = all.next();
        all.later.insert((clock.now().plus(failed.again_in), at), held.record);
        drop(all);
        self.bell.notify_one(); // it may be due before what they wait for
        Buried::No
    }

    pub(super) fn extend(&self, job: &Claimed, idle: Duration, clock: &Clock) -> bool {
        let mut all = self.all.lock();
        let Some(at) = all.held(job) else { return false };
        let Some(held) = all.claimed.get_mut(&at) else { return false };
        held.heard = clock.now().minus(idle);
        if !idle.is_zero() {
            held.deliveries = held.deliveries.saturating_sub(1);
            drop(all);
            self.bell.notify_one();
        }
        true
    }

    pub(super) fn stats(&self, clock: &Clock) -> Figures {
        let now = clock.now();
        let all = self.all.lock();
        let waiting = all.waiting.values().map(|(since, _)| *since).next();
        let claimed = all.claimed.values().map(|held| held.since).next();
        let oldest = waiting.into_iter().chain(claimed).min();
        Figures {
            waiting: all.waiting.len() as u64,
            claimed: all.claimed.len() as u64,
            later: all.later.len() as u64,
            dead: all.dead.len() as u64,
            oldest: oldest.map(|since| now.since(since)),
        }
    }

    pub(super) fn dead(&self, after: Option<&str>, most: usize) -> Vec<Record> {
        let after = after.and_then(place).unwrap_or(0);
        let all = self.all.lock();
        let letters = all.dead.range(after + 1..).take(most);
        letters.map(|(at, job)| Record { id: format!("{at}-0"), ..job.clone() }).collect()
    }

    pub(super) fn replay(&self, id: &str, rules: &Rules, clock: &Clock) -> Pushed {
        let mut all = self.all.lock();
        let Some(at) = place(id).filter(|at| all.dead.contains_key(at)) else {
            return Pushed::Known;
        };
        if all.is_full(rules) {
            return Pushed::Full;
        }
        let Some(job) = all.dead.remove(&at) else { return Pushed::Known };
        all.wait(clock.now(), Record { failed: 0, error: None, ..job });
        drop(all);
        self.bell.notify_one();
        Pushed::Done
    }

    pub(super) fn remove(&self, id: &str) -> bool {
        place(id).is_some_and(|at| self.all.lock().dead.remove(&at).is_some())
    }
}
