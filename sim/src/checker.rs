//! What must hold of a history: the promises of the library, each by its name.
//!
//! A value was *born* when the source was asked for it, or when it was put. An *end* is an invalidation, or
//! a put. Whatever was born before an end began is dead after the end has returned `Ok`: for far at once,
//! for near copies and shared flights in other processes after the bound B, and in the process that ended
//! it at once. A line's number is its time.

use std::collections::BTreeMap;

use crate::history::{
    Birth, Call, Ended, Fault, From, History, Life, Line, Op, Said, Stop, Thing, Value, What, Why,
    Written,
};
use crate::plan::{BACKOFF, Climate, Lives, Plan};

/// Waiters do not all wake at once: the spread, and the clock's grain.
const TAKEOVER_MS: u64 = 20 + 2;

/// A promise that was broken, and the line at which it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) line: usize,
    pub(crate) what: String,
}

struct Born {
    thing: Thing,
    line: usize,
    life: Life,
    /// By a load; else it was put.
    call: Option<Call>,
    /// Its load told of a tag of its own.
    told: bool,
    /// For one that was put: when that was confirmed, or refused.
    put: Option<(usize, Said)>,
}

/// One thing's end.
struct End {
    thing: Thing,
    /// Of all that carries the tag that loads tell of, alone.
    of_told_only: bool,
    /// What was born before may still stand in, and is said to be stale.
    softly: bool,
    /// Of the thing's own name: on the server, what it ended is gone.
    by_name: bool,
    life: Life,
    began: usize,
    /// When its process knew that it was done, or under way at least: from then on it is bound by it.
    returned: usize,
    /// When everybody was.
    confirmed: Option<usize>,
}

/// A guard that was open, and until when.
struct Guarding {
    thing: Thing,
    opened: usize,
    until_ms: u64,
    committed: Option<usize>,
}

impl End {
    fn by_name(
        thing: Thing,
        life: Life,
        began: usize,
        returned: usize,
        confirmed: Option<usize>,
    ) -> End {
        let (of_told_only, softly, by_name) = (false, false, true);
        End { thing, of_told_only, softly, by_name, life, began, returned, confirmed }
    }
}

struct Asking {
    began: usize,
    life: Life,
    op: Op,
    said: Option<(usize, Said)>,
}

struct Checker<'a> {
    plan: &'a Plan,
    history: &'a History,
    born: BTreeMap<Birth, Born>,
    ends: Vec<End>,
    calls: BTreeMap<Call, Asking>,
    /// Each sync that came back: whose, when it began, when it returned.
    syncs: Vec<(Life, usize, usize)>,
    guards: BTreeMap<Call, Guarding>,
    broken: Vec<Broken>,
}

/// All that does not hold.
pub(crate) fn check(plan: &Plan, history: &History) -> Vec<Broken> {
    let mut checker = Checker {
        plan,
        history,
        born: BTreeMap::new(),
        ends: Vec::new(),
        calls: BTreeMap::new(),
        syncs: Vec::new(),
        guards: BTreeMap::new(),
        broken: Vec::new(),
    };
    checker.read();
    checker.read_dead_writers();
    checker.answers();
    checker.server();
    checker.one_load_each();
    checker.takeovers();
    checker.broken
}

impl Checker<'_> {
    fn at_ms(&self, line: usize) -> u64 {
        self.history.0.get(line).map_or(0, |line| line.at_ms)
    }

    fn say(&mut self, line: usize, what: String) {
        self.broken.push(Broken { line, what });
    }

    /// Sorts the lines: births, calls, ends.
    fn read(&mut self) {
        let mut unconfirmed: Vec<(Life, usize)> = Vec::new();
        for (at, line) in self.history.0.iter().enumerate() {
            match &line.what {
                What::Begins(life, op) => {
                    let asking = Asking { began: at, life: *life, op: op.clone(), said: None };
                    self.calls.insert(at, asking);
                }
                What::Asked { life, call, thing } => {
                    let born = Born {
                        thing: *thing,
                        line: at,
                        life: *life,
                        call: Some(*call),
                        told: false,
                        put: None,
                    };
                    self.born.insert(at, born);
                }
                What::Thought { life, thing } => {
                    let born = Born {
                        thing: *thing,
                        line: at,
                        life: *life,
                        call: None,
                        told: false,
                        put: None,
                    };
                    self.born.insert(at, born);
                }
                What::Told(birth, _) => {
                    if let Some(born) = self.born.get_mut(birth) {
                        born.told = true;
                    }
                }
                What::Ends(call, said) => {
                    let Some(asking) = self.calls.get_mut(call) else { continue };
                    asking.said = Some((at, said.clone()));
                    let (began, life, op) = (asking.began, asking.life, asking.op.clone());
                    self.read_end(at, began, life, op, said, &mut unconfirmed);
                }
                What::Guarded(call) => self.read_guard(at, *call),
                What::Committed(call) => {
                    if let Some(guard) = self.guards.get_mut(call) {
                        guard.committed = Some(at);
                    }
                }
                What::Confirmed(life) => {
                    for (whose, end) in unconfirmed.extract_if(.., |(whose, _)| whose == life) {
                        debug_assert_eq!(whose, *life);
                        self.ends[end].confirmed = Some(at);
                    }
                }
                _ => {}
            }
        }
    }

    fn read_end(
        &mut self,
        at: usize,
        began: usize,
        life: Life,
        op: Op,
        said: &Said,
        unconfirmed: &mut Vec<(Life, usize)>,
    ) {
        let confirmed = match said {
            Said::Done => Some(at),
            Said::Failed(Why::Unconfirmed) => None,
            _ => {
                if let Op::Put(_, birth) = op
                    && let Some(born) = self.born.get_mut(&birth)
                {
                    born.put = Some((at, said.clone()));
                }
                return;
            }
        };
        match op {
            Op::Sync if confirmed.is_some() => self.syncs.push((life, began, at)),
            Op::Put(thing, birth) => {
                if let Some(born) = self.born.get_mut(&birth) {
                    born.put = Some((at, said.clone()));
                }
                // One that is not confirmed may never have been.
                if confirmed.is_some() {
                    self.ends.push(End::by_name(thing, life, began, at, confirmed));
                }
            }
            Op::Guard(thing) => {
                if confirmed.is_none() {
                    unconfirmed.push((life, self.ends.len()));
                }
                // What was loaded before the commit is ended; what was committed, before it was to be ended.
                let lines = &self.history.0[began..at];
                let committed = lines.iter().position(|line| line.what == What::Committed(began));
                let began = began + committed.unwrap_or(0);
                self.ends.push(End::by_name(thing, life, began, at, confirmed));
            }
            Op::End(ref ended) | Op::Expire(ref ended) => {
                let softly = matches!(op, Op::Expire(_));
                for thing in 0..self.plan.things() {
                    let ends = |told| ended.iter().any(|of| self.plan.ends(*of, thing, told));
                    if !ends(true) {
                        continue;
                    }
                    if confirmed.is_none() {
                        unconfirmed.push((life, self.ends.len()));
                    }
                    let (of_told_only, by_name) =
                        (!ends(false), ended.contains(&Ended::Thing(thing)));
                    let returned = at;
                    self.ends.push(End {
                        thing,
                        of_told_only,
                        softly,
                        by_name,
                        life,
                        began,
                        returned,
                        confirmed,
                    });
                }
            }
            _ => {}
        }
    }

    /// What was there went when the guard was opened.
    fn read_guard(&mut self, at: usize, call: Call) {
        let Some(Asking { life, op: Op::Guard(thing), began, .. }) = self.calls.get(&call) else {
            return;
        };
        let guard_ms = u64::try_from(self.plan.guard.as_millis()).unwrap_or(u64::MAX);
        let (thing, until_ms) = (*thing, self.at_ms(*began) + guard_ms);
        self.ends.push(End::by_name(thing, *life, *began, at, Some(at)));
        self.guards.insert(call, Guarding { thing, opened: at, until_ms, committed: None });
    }

    /// A writer that dies after a commit inside its guard leaves nothing behind once the guard is over.
    fn read_dead_writers(&mut self) {
        if self.plan.climate != Climate::Crashes {
            return;
        }
        let way_ms = self.plan.weather.delay_ms_max + 2;
        let mut ends = Vec::new();
        for (call, guard) in &self.guards {
            let Some(Asking { life, said: None, .. }) = self.calls.get(call) else { continue };
            let Some(committed) = guard.committed else { continue };
            if self.at_ms(committed) >= guard.until_ms {
                continue;
            }
            let until_ms = guard.until_ms + way_ms;
            let is_over = |line: &Line| line.at_ms > until_ms;
            let Some(over) = self.history.0.iter().position(is_over) else { continue };
            ends.push(End::by_name(guard.thing, *life, committed, over, Some(over)));
        }
        self.ends.extend(ends);
    }

    /// Was it dead for all who begin after `end` has returned?
    fn is_killed(&self, born: &Born, end: &End) -> bool {
        if end.thing != born.thing || (end.of_told_only && !born.told) {
            return false;
        }
        match (&born.put, born.call) {
            (_, Some(_)) => born.line < end.began,
            // A put that was not confirmed may land at any time.
            (Some((returned, Said::Done)), None) => *returned < end.began,
            _ => false,
        }
    }

    fn answers(&mut self) {
        let calls: Vec<_> = self.calls.keys().copied().collect();
        for call in calls {
            let Some(asking) = self.calls.get(&call) else { continue };
            let Some((at, said)) = asking.said.clone() else { continue };
            let took = self.at_ms(at) - self.at_ms(asking.began);
            let patience = self.plan.patience().as_millis();
            let things = match &asking.op {
                Op::Load(thing) | Op::Get(thing) | Op::GetNear(thing) | Op::Lease(thing) => {
                    vec![*thing]
                }
                Op::LoadMany(things) => things.clone(),
                _ => Vec::new(),
            };
            let is_load = matches!(asking.op, Op::Load(_) | Op::LoadMany(_));
            let is_one = matches!(asking.op, Op::Load(_));
            if is_load && u128::from(took) > patience && !self.was_paused(asking.life) {
                self.say(at, format!("G7: call {call} took {took} ms"));
            }
            if is_one
                && let Some(most_ms) = self.plan.calm_patience_ms()
                && took > most_ms
            {
                self.say(at, format!("a lease is nobody's: call {call} took {took} ms"));
            }
            let each = match said {
                Said::Each(each) => each,
                one => vec![one],
            };
            for (thing, said) in things.into_iter().zip(each) {
                match said {
                    Said::Value(value, from) => self.answer(call, at, thing, value, from, false),
                    Said::Stale(value, from) => self.answer(call, at, thing, value, from, true),
                    Said::Failed(why) if is_load => self.failure(call, at, thing, why),
                    _ => {}
                }
            }
        }
    }

    fn was_paused(&self, life: Life) -> bool {
        self.history.0.iter().any(|line| line.what == What::Fault(Fault::Pause(life)))
    }

    fn was_any_paused(&self) -> bool {
        let is_pause = |line: &Line| matches!(line.what, What::Fault(Fault::Pause(_)));
        self.history.0.iter().any(is_pause)
    }

    /// A load fails when the source does, and never for want of the server.
    fn failure(&mut self, call: Call, at: usize, thing: Thing, why: Why) {
        // The clock of a process that is stopped goes on; all who wait for its load are told.
        let is_late = why == Why::Deadline && self.was_any_paused();
        let is_odd = matches!(why, Why::Source | Why::Deadline) && self.plan.source_is_odd;
        if !is_odd && !is_late {
            self.say(at, format!("G7: call {call} for {thing} failed with {why:?}"));
        }
    }

    /// Is it an answer that this call may be given?
    fn answer(
        &mut self,
        call: Call,
        at: usize,
        thing: Thing,
        value: Value,
        from: From,
        is_stale: bool,
    ) {
        let (Some(born), Some(asking)) = (self.born.get(&value.birth), self.calls.get(&call))
        else {
            return self.say(at, format!("call {call} was given a value that nobody made"));
        };
        if value.thing != thing || born.thing != thing {
            let what = format!("call {call} for {thing} was given what is of {}", born.thing);
            return self.say(at, what);
        }
        if born.line > at {
            return self.say(at, format!("call {call} was given what was not made yet"));
        }
        if matches!(born.put, Some((_, Said::Failed(Why::Far) | Said::Refused))) {
            return self.say(at, format!("call {call} was given a put that changed nothing"));
        }
        let (began, life) = (asking.began, asking.life);
        let alone = from == From::Far && self.is_alone(call, thing);
        let kills = |end: &&End| self.is_killed(born, end) && !(end.softly && is_stale);
        let worst = self.ends.iter().filter(kills).find_map(|end| {
            let since = match end.life == life {
                true => Some(end.returned),
                false => end.confirmed,
            };
            let since = since.filter(|since| *since < began)?;
            let rule = self.rule(end, since, began, life, alone)?;
            Some((rule, end.began, since))
        });
        if let Some((rule, ended, since)) = worst {
            let what = format!(
                "{rule}: call {call} was given {value:?}, from {from:?}; it was ended at {ended}, and that returned at {since}"
            );
            self.say(at, what);
        }
    }

    /// The promise that binds this call to that end, if one does.
    fn rule(
        &self,
        end: &End,
        since: usize,
        began: usize,
        life: Life,
        alone: bool,
    ) -> Option<&'static str> {
        if end.life == life {
            return Some("G1, in the process that ended it");
        }
        if alone {
            return Some("G1, from far");
        }
        let bound_ms = u64::try_from(self.plan.bound.as_millis()).unwrap_or(u64::MAX);
        if self.at_ms(began) >= self.at_ms(since) + bound_ms {
            return Some("G2, later than the bound");
        }
        let is_synced = |(whose, asked, back): &(Life, usize, usize)| {
            *whose == life && since < *asked && *back < began
        };
        self.syncs.iter().any(is_synced).then_some("G2, after a sync")
    }

    /// Nobody else in the process was at the thing when the call began: it has shared no flight.
    fn is_alone(&self, call: Call, thing: Thing) -> bool {
        let Some(asking) = self.calls.get(&call) else { return false };
        let life = asking.life;
        let beside = |(other, at): (&Call, &Asking)| {
            let is_of = match &at.op {
                Op::Load(of) | Op::Get(of) | Op::Lease(of) => *of == thing,
                Op::LoadMany(of) => of.contains(&thing),
                _ => false,
            };
            let overlaps = at.said.as_ref().is_none_or(|(ended, _)| *ended > call);
            is_of && *other < call && at.life == life && overlaps
        };
        !self.calls.range(..call).any(beside)
    }

    /// What the server may be given to keep.
    fn server(&mut self) {
        let (_, whole) = self.plan.lifetime();
        let most = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut kept: BTreeMap<Thing, Birth> = BTreeMap::new();
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

    fn stored(&mut self, at: usize, value: Value, kept: &mut BTreeMap<Thing, Birth>) {
        let Some(born) = self.born.get(&value.birth) else {
            return self.say(at, "the server was given a value that nobody made".to_owned());
        };
        if born.call.is_none() {
            return;
        }
        let (thing, line) = (born.thing, born.line);
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
        let before = kept.insert(thing, value.birth).filter(|before| *before > value.birth);
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
    fn one_load_each(&mut self) {
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
    fn takeovers(&mut self) {
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
        let lines = &self.history.0[born.line..by];
        born.call.is_none()
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
        let asked_again = self.born.values().any(|of| of.thing == thing && is_in_time(of.line));
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
