//! The road of one load, or of one call: each command to the node of its slot, and on from there where that
//! node sends it.
//!
//! A route holds the map as it was when it was made. What began on a connection never goes on over its
//! successor: once that is lost, its slots are out of reach of this route, and whoever asks again makes
//! another. A redirect is followed, and its slot then stays with the node that answered.
//!
//! Commands of one node go in one pipeline, in the order they came in; nodes do not wait for one another. A
//! command that was sent elsewhere did not run, so it alone is sent again. One that finds its slot on its way
//! to another node is sent there behind an ASKING, in one write.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Pipeline, RedisError, ServerErrorKind, Value, pipe};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::super::connect::Role;
use super::super::supervisor::Line;
use super::lines::{Lines, Master};
use super::node::Standing;
use super::topology::{Place, Redirect};
use super::{Cluster, Waiting, all_of};
use crate::clock::{Moment, Pauses};
use crate::entry::Incarnation;
use crate::error::FarError;
use crate::key::slot::Slot;
use crate::pulse::Pulse;

/// How often a command is sent on. A map that changes under our hands needs one or two.
const HOPS: usize = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// One command, all of whose names are in one slot.
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) slot: Slot,
    pub(crate) command: Cmd,
}

/// What was answered, a refusal perhaps.
pub(crate) struct Answer {
    pub(crate) value: Value,
    /// The server process that gave it.
    pub(crate) by: Incarnation,
    /// Its slot is on its way from one node to another, and it was the latter that answered.
    pub(crate) on_its_way: bool,
}

/// How much is done for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// If nobody takes it just now, it is left; and while a node's breaker is open nobody does.
    Once,
    /// The same, whatever the breaker says, and unheard by it.
    Aside,
    /// It is tried until the deadline.
    ToTheEnd,
    /// The same, whatever the breaker says.
    Insist,
}

impl Effort {
    fn waits(self) -> bool {
        matches!(self, Effort::ToTheEnd | Effort::Insist)
    }
}

/// See the [module](self).
pub(crate) struct Route {
    cluster: Arc<Cluster>,
    role: Role,
    /// Replaced only by those who wait for better times.
    lines: Mutex<Arc<Lines>>,
    /// Slots that were not where the map has them.
    turns: Mutex<SmallVec<[Turn; 2]>>,
}

/// Where a slot was found instead.
#[derive(Clone)]
struct Turn {
    slot: Slot,
    to: Stop,
    on_its_way: bool,
}

/// A connection, and what is known of its node.
#[derive(Clone)]
struct Stop {
    line: Arc<Line>,
    standing: Arc<Standing>,
}

/// Where a command is to be sent next.
#[derive(Clone)]
enum Next {
    Owner,
    Moved(Place),
    Visit(Place),
}

/// What goes to one node in one write.
struct Batch {
    stop: Stop,
    pipeline: Pipeline,
    /// The question, and whether an ASKING stands before it.
    asked: Vec<(usize, bool)>,
}

impl Batch {
    async fn send(&self, effort: Effort, deadline: Duration) -> Result<Vec<Value>, FarError> {
        let (line, pipeline) = (&self.stop.line, &self.pipeline);
        match effort {
            Effort::Once | Effort::ToTheEnd => line.ask(pipeline, deadline).await,
            Effort::Aside => line.ask_aside(pipeline, deadline).await,
            Effort::Insist => line.insist(pipeline, deadline).await,
        }
    }
}

impl Route {
    pub(super) fn new(cluster: Arc<Cluster>, lines: Arc<Lines>, role: Role) -> Route {
        Route { cluster, role, lines: Mutex::new(lines), turns: Mutex::default() }
    }

    pub(crate) fn app(&self) -> &str {
        self.cluster.app()
    }

    /// How long one call may take.
    pub(crate) fn deadline(&self) -> Duration {
        self.cluster.deadline()
    }

    /// Whether the slot's master would be asked now, by its breaker. One that is not there turns nobody away.
    pub(crate) fn admits(&self, slot: Slot) -> bool {
        let lines = self.lines.lock();
        let line = lines.master(slot).and_then(|master| master.line(self.role));
        line.is_none_or(|line| line.is_worth_asking())
    }

    /// Answers to all, in order. A refusal is an answer, save one that names another node.
    pub(crate) async fn ask(
        &self,
        questions: &[Question],
        effort: Effort,
        deadline: Duration,
    ) -> Result<Vec<Answer>, FarError> {
        let clock = &self.cluster.terms.clock;
        let until = clock.now().plus(deadline);
        let mut pauses = Pauses::new(clock, FIRST_PAUSE, LONGEST_PAUSE);
        let mut answers: Vec<Option<Answer>> = questions.iter().map(|_| None).collect();
        let mut todo: Vec<(usize, Next)> =
            (0..questions.len()).map(|at| (at, Next::Owner)).collect();
        // Why it is not done yet: what was sent was answered, and did not run.
        let (mut hops, mut why) = (0, FarError::Slow);
        while !todo.is_empty() {
            let left = until.since(clock.now());
            if left.is_zero() {
                return Err(why);
            }
            let (batches, mut waiting) = self.batches(questions, std::mem::take(&mut todo));
            if !waiting.is_empty() {
                why = FarError::Away;
                if !effort.waits() {
                    return Err(why);
                }
            }
            let mut replies = send(&batches, effort, left).await?.into_iter();
            for batch in batches {
                let Some(reply) = replies.next() else { break };
                let host = &batch.stop.standing.member.place.host;
                for ((at, visits), value) in batch.asked.into_iter().zip(reply) {
                    let slot = questions[at].slot;
                    match Redirect::of(&value, host) {
                        Some(Redirect::Moved(place)) => {
                            self.cluster.moved(slot, &place);
                            todo.push((at, Next::Moved(place)));
                            continue;
                        }
                        Some(Redirect::Ask(place)) => {
                            todo.push((at, Next::Visit(place)));
                            continue;
                        }
                        None => {}
                    }
                    if effort.waits()
                        && let Some(refused) = is_no_time_for_it(&value)
                    {
                        why = FarError::Refused(refused);
                        self.cluster.kick.notify_one();
                        waiting.push(at);
                        continue;
                    }
                    self.turn(slot, &batch.stop, visits);
                    let by = batch.stop.line.by();
                    answers[at] = Some(Answer { value, by, on_its_way: visits });
                }
            }
            hops += 1;
            if hops >= HOPS && !todo.is_empty() {
                let text = "its slot is said to be elsewhere, again and again";
                why = FarError::Refused(text.to_owned());
                if !effort.waits() {
                    return Err(why);
                }
            }
            if !waiting.is_empty() || hops >= HOPS {
                let pause = pauses.pause();
                clock.within(until.since(clock.now()), pause).await;
                let lines = self.cluster.lines();
                if lines.is_closed {
                    return Err(FarError::Closed);
                }
                *self.lines.lock() = lines;
                self.turns.lock().clear();
                todo.extend(waiting.into_iter().map(|at| (at, Next::Owner)));
                // As they came in: one may rest on the one before it.
                todo.sort_by_key(|(at, _)| *at);
            }
        }
        let all: Option<Vec<Answer>> = answers.into_iter().collect();
        all.ok_or_else(|| FarError::Refused("it gave fewer answers than were asked".to_owned()))
    }

    /// What goes where; and what nobody takes now.
    fn batches(
        &self,
        questions: &[Question],
        todo: Vec<(usize, Next)>,
    ) -> (Vec<Batch>, Vec<usize>) {
        let (mut batches, mut waiting): (Vec<Batch>, _) = (Vec::new(), Vec::new());
        for (at, next) in todo {
            let Question { slot, command } = &questions[at];
            let visits = matches!(next, Next::Visit(_));
            let Some(stop) = self.stop(*slot, &next) else {
                self.cluster.kick.notify_one();
                waiting.push(at);
                continue;
            };
            stop.standing.hears_of(*slot, visits);
            let same = |batch: &&mut Batch| Arc::ptr_eq(&batch.stop.line, &stop.line);
            let batch = match batches.iter_mut().find(same) {
                Some(batch) => batch,
                None => {
                    let batch = Batch { stop, pipeline: pipe(), asked: Vec::new() };
                    batches.push(batch);
                    match batches.last_mut() {
                        Some(batch) => batch,
                        None => continue, // not reached: it was just put there
                    }
                }
            };
            if visits {
                batch.pipeline.cmd("ASKING");
            }
            batch.pipeline.add_command(command.clone());
            batch.asked.push((at, visits));
        }
        (batches, waiting)
    }

    /// The connection to send it over, if it is believed.
    fn stop(&self, slot: Slot, next: &Next) -> Option<Stop> {
        let stop = match next {
            Next::Owner => self.owner(slot)?,
            Next::Moved(place) | Next::Visit(place) => {
                let known = of(self.lines.lock().at(place), self.role);
                // It may have become known since this route was made.
                known.or_else(|| of(self.cluster.lines().at(place), self.role))?
            }
        };
        let now = self.cluster.terms.clock.now();
        stop.line.is_usable(now).then_some(stop)
    }

    /// Where a slot is, as far as this route knows.
    fn owner(&self, slot: Slot) -> Option<Stop> {
        let turned = self.turns.lock().iter().find(|turn| turn.slot == slot).cloned();
        match turned {
            // Not for good: the next command asks the one that it is taken from.
            Some(turn) if !turn.on_its_way => Some(turn.to),
            _ => of(self.lines.lock().master(slot), self.role),
        }
    }

    /// Remembers who answered, unless it is who the map says.
    fn turn(&self, slot: Slot, by: &Stop, visited: bool) {
        let expected = of(self.lines.lock().master(slot), self.role);
        let is_expected = expected.is_some_and(|stop| Arc::ptr_eq(&stop.line, &by.line));
        let mut turns = self.turns.lock();
        turns.retain(|turn| turn.slot != slot);
        if !is_expected || visited {
            turns.push(Turn { slot, to: by.clone(), on_its_way: visited });
        }
    }

    /// How long changes to what is in these slots are told in time, over the connections that answered, or
    /// would now. Not at all while a slot is on its way: whose pushes count is about to change.
    pub(crate) fn pulse(&self, slots: impl IntoIterator<Item = Slot>) -> Arc<Pulse> {
        Pulse::all(slots.into_iter().map(|slot| {
            let on_its_way =
                self.turns.lock().iter().any(|turn| turn.slot == slot && turn.on_its_way);
            match self.owner(slot) {
                Some(stop) if !on_its_way => stop.line.pulse.clone(),
                _ => Arc::new(Pulse::new()),
            }
        }))
    }

    /// Whether all nodes tell of changes.
    pub(crate) fn tells_changes(&self) -> bool {
        let lines = self.lines.lock();
        lines.masters.iter().filter_map(|master| master.line(self.role)).all(|line| line.tracks())
    }

    pub(crate) fn bound(&self) -> Duration {
        self.cluster.terms.bound
    }

    /// Who will most likely answer for what is in a slot.
    pub(crate) fn incarnation(&self, slot: Slot) -> Incarnation {
        // While it is nobody's there is nothing that anybody could believe.
        self.owner(slot).map_or(Incarnation::MAX, |stop| stop.line.by())
    }

    /// The clock of the server that has the slot; of any, if nobody has it now.
    pub(crate) fn server_ms_at(&self, now: Moment, slot: Slot) -> u64 {
        let any = || {
            let lines = self.lines.lock();
            lines.masters.iter().find_map(|master| of(Some(master), self.role))
        };
        let stop = self.owner(slot).or_else(any);
        stop.map_or(0, |stop| stop.line.server_ms_at(now))
    }

    /// The connection that a slot is read over, with word that it was.
    pub(crate) fn reads(&self, slot: Slot) -> Option<Arc<Line>> {
        let stop = self.stop(slot, &Next::Owner)?;
        stop.standing.hears_of(slot, false);
        Some(stop.line)
    }

    /// Every change that was acknowledged anywhere before is applied here when it comes back.
    pub(crate) async fn sync(&self, deadline: Duration) -> Result<(), FarError> {
        // Of a node without a connection nothing is near.
        let lines: Vec<Arc<Line>> = {
            let lines = self.lines.lock();
            lines.masters.iter().filter_map(|master| master.line(self.role).cloned()).collect()
        };
        let syncing = lines.iter().map(|line| Box::pin(line.sync(deadline)) as Waiting<'_, _>);
        all_of(syncing.collect()).await.into_iter().collect()
    }
}

fn of(master: Option<&Master>, role: Role) -> Option<Stop> {
    let master = master?;
    let line = master.line(role)?.clone();
    Some(Stop { line, standing: master.standing.clone() })
}

/// Replies to each batch, without those to ASKING.
async fn send(
    batches: &[Batch],
    effort: Effort,
    deadline: Duration,
) -> Result<Vec<Vec<Value>>, FarError> {
    let replies = match batches {
        [one] => vec![one.send(effort, deadline).await],
        many => {
            let sending =
                many.iter().map(|batch| Box::pin(batch.send(effort, deadline)) as Waiting<'_, _>);
            all_of(sending.collect()).await
        }
    };
    let without_asking = |(batch, reply): (&Batch, Result<Vec<Value>, FarError>)| {
        let mut reply = reply?.into_iter();
        let each = batch.asked.iter().map_while(|(_, visits)| {
            if *visits {
                reply.next();
            }
            reply.next()
        });
        Ok(each.collect())
    };
    batches.iter().zip(replies).map(without_asking).collect()
}

/// It did not run, and may a moment later: what was said.
fn is_no_time_for_it(answer: &Value) -> Option<String> {
    let Value::ServerError(why) = answer else { return None };
    let may = matches!(
        why.kind()?,
        ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::BusyLoading
    );
    may.then(|| RedisError::from(why.clone()).to_string())
}
