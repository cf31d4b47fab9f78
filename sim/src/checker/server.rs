//! What must hold of the server, and of the fleet as a whole.

use std::collections::BTreeMap;

use super::{Asking, Born, Broken, Checker};
use crate::history::{Call, Fault, Life, Line, Op, Stop, Thing, Value, What, Written};
use crate::plan::{BACKOFF, Climate, Lives};

/// Waiters do not all wake at once: the spread, and the clock's grain.
const TAKEOVER_MS: u64 = 20 + 2;

impl Checker<'_> {
    /// What the server may be given to keep.
    pub(super) fn server(&mut self) {
        let (_, whole) = self.plan.lifetime();
        let most = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut kept: BTreeMap<Thing, usize> = BTreeMap::new();
        let is_jump = |line: &Line| matches!(line.what, What::Fault(Fault::Jump(_)));
        let is_clock_set = self.history.0.iter().any(is_jump);
        for at in 0..self.history.0.len() {
            let What::Written { what, keep_ms } = self.history.0[at].what else { continue };
            let most_ms = match what {
                Written::Value(_) | Written::Marked(_) => most(whole),
                Written::Lease => most(self.plan.lease),
                Written::Failure => most(BACKOFF),
                Written::Guards => most(self.plan.guard),
                Written::Generation => most(self.plan.tag_time()),
                Written::Other => 0,
            };
            // What is written anew keeps the time it had, by a clock that was set meanwhile.
            let is_kept_on =
                matches!(what, Written::Marked(_) | Written::Generation | Written::Guards);
            if keep_ms == 0 || (keep_ms > most_ms && !(is_kept_on && is_clock_set)) {
                self.say(at, format!("G6: {what:?} is kept for {keep_ms} ms"));
            }
            if let Written::Value(value) = what {
                self.stored(at, value, &mut kept);
            }
        }
    }

    fn stored(&mut self, at: usize, value: Value, kept: &mut BTreeMap<Thing, usize>) {
        let Some(born) = self.born.get(&value.birth) else {
            return self.say(at, "the server was given a value that nobody made".to_owned());
        };
        if born.call.is_none() {
            return;
        }
        let (thing, line) = (born.thing, born.line);
        if line > at {
            return self.say(at, format!("{value:?} was stored before it was committed"));
        }
        // Another took over that had not heard of it all: whom it believes is not to be believed.
        let is_fall = |line: &Line| line.what == What::Fault(Fault::Fall);
        if self.history.0[line..at].iter().any(is_fall) {
            return;
        }
        let dead = self.ends.iter().find(|end| {
            end.by_name
                && end.confirmed.is_some_and(|confirmed| confirmed < at)
                && self.is_killed(born, end)
        });
        let dead = dead.map(|end| end.began);
        if let Some(ended) = dead {
            let what =
                format!("G1: {value:?} was stored, ended at {ended} by an end that was confirmed");
            self.say(at, what);
        }
        if self.plan.climate != Climate::Wild && self.is_guarded(thing, at) {
            self.say(at, format!("{value:?} was stored under a guard"));
        }
        let before = kept.insert(thing, line).filter(|before| *before > line);
        if let Some(before) = before {
            self.say(at, format!("G5: {value:?} was stored over the younger {before}"));
        }
    }

    /// Is a guard open that its writer has not begun to end?
    fn is_guarded(&self, thing: Thing, at: usize) -> bool {
        let now_ms = self.at_ms(at);
        self.guards.iter().any(|(call, guard)| {
            let said = self.calls.get(call).and_then(|asking| asking.said.as_ref());
            let is_ending = guard.committed.is_some_and(|committed| committed < at)
                || said.is_some_and(|(ended, _)| *ended < at);
            guard.thing == thing && guard.opened < at && now_ms < guard.until_ms && !is_ending
        })
    }

    /// G3: without faults one load for each end of a thing, and everybody is woken by a change.
    pub(super) fn one_load_each(&mut self) {
        let is_exact = self.plan.climate == Climate::Calm && !self.plan.callers_leave;
        if !is_exact || self.plan.lives != Lives::Long {
            return;
        }
        for thing in 0..self.plan.things() {
            let loads = self.born.values().filter(|of| of.thing == thing && of.call.is_some());
            let ends = self.ends.iter().filter(|end| end.thing == thing && !end.of_told_only);
            let (loads, ends) = (loads.count(), ends.count());
            if loads > ends + 1 {
                let last = self.born.values().rfind(|of| of.thing == thing).map_or(0, |of| of.line);
                self.say(last, format!("G3: {thing} was loaded {loads} times, and ended {ends}"));
            }
        }
    }

    /// G4: where only processes die, whoever waits for a dead one's load goes on within its lease.
    pub(super) fn takeovers(&mut self) {
        if self.plan.climate != Climate::Crashes {
            return;
        }
        let lease_ms = u64::try_from(self.plan.lease.as_millis()).unwrap_or(u64::MAX);
        // A command and its answer, before the wait and after it, and a tag to be made ready.
        let way_ms = 10 * (self.plan.weather.delay_ms_max + 1);
        for (at, line) in self.history.0.iter().enumerate() {
            let What::Stops(dead, Stop::Crash) = line.what else { continue };
            let until_ms = line.at_ms + lease_ms + TAKEOVER_MS + way_ms;
            let under_way: Vec<Thing> = self
                .born
                .values()
                .filter(|born| born.life == dead && born.line < at && !self.is_answered(born, at))
                .map(|born| born.thing)
                .collect();
            for thing in under_way {
                if let Some(waiter) = self.left_waiting(thing, at, dead, until_ms) {
                    let what = format!(
                        "G4: call {waiter} for {thing} waits on for the load that died at {at}"
                    );
                    self.broken.push(Broken { line: at, what });
                }
            }
        }
    }

    fn is_answered(&self, born: &Born, by: usize) -> bool {
        let lines = self.history.0.get(born.line..by).unwrap_or_default();
        born.call.is_none()
            || born.written
            || lines
                .iter()
                .any(|line| matches!(line.what, What::Answered(of, _) if of == born.line))
    }

    /// A call that was waiting when the loader died, and neither has an answer in time, nor anybody who
    /// asks the source again.
    fn left_waiting(&self, thing: Thing, died: usize, dead: Life, until_ms: u64) -> Option<Call> {
        if self.history.0.last().is_none_or(|last| last.at_ms <= until_ms) {
            return None;
        }
        let is_in_time = |line: usize| line > died && self.at_ms(line) <= until_ms;
        let is_asked = |of: &Born| of.thing == thing && !of.written && is_in_time(of.line);
        let asked_again = self.born.values().any(is_asked);
        if asked_again {
            return None;
        }
        let waits = |(_, at): &(&Call, &Asking)| {
            let lives_on =
                !self.history.0.iter().any(
                    |line| matches!(line.what, What::Stops(life, Stop::Crash) if life == at.life),
                );
            at.op == Op::Load(thing)
                && at.life != dead
                && lives_on
                && at.began < died
                && at.said.as_ref().is_none_or(|(ended, _)| *ended > died && !is_in_time(*ended))
        };
        self.calls.iter().find(waits).map(|(call, _)| *call)
    }
}
