//! What must hold of a history: the promises of the library, each by its name.
//!
//! A value was *born* when the source was asked for it, or when it was put. An *end* is an invalidation, or
//! a put. Whatever was born before an end began is dead after the end has returned `Ok`: for far at once,
//! for near copies and shared flights in other processes after the bound B, and in the process that ended
//! it at once. A line's number is its time.

use std::collections::BTreeMap;

use crate::history::{
    Birth, Call, Ended, Fault, From, History, Life, Line, Op, Said, Thing, Value, What, Why,
};
use crate::plan::{Climate, Plan};

mod server;

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
    /// By a load, or by a write; else it was put.
    call: Option<Call>,
    /// It was written: born when the sink committed it.
    written: bool,
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
                    if let Op::Write(_, birth) = op
                        && let Some(born) = self.born.get_mut(birth)
                    {
                        (born.line, born.call, born.written) = (usize::MAX, Some(at), true);
                    }
                    let asking = Asking { began: at, life: *life, op: op.clone(), said: None };
                    self.calls.insert(at, asking);
                }
                What::Asked { life, call, thing } => {
                    let born = Born {
                        thing: *thing,
                        line: at,
                        life: *life,
                        call: Some(*call),
                        written: false,
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
                        written: false,
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
                    if let Some(Asking { op: Op::Write(_, birth), .. }) = self.calls.get(call)
                        && let Some(born) = self.born.get_mut(birth)
                    {
                        born.line = at;
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
            Op::Guard(thing) | Op::Write(thing, _) => {
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
        let Some(Asking { life, op: Op::Guard(thing) | Op::Write(thing, _), began, .. }) =
            self.calls.get(&call)
        else {
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
}
