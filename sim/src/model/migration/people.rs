//! Who works on the key while its slot moves: loads, writers, ends and puts.
//!
//! Each sends its script with both keys; TRYAGAIN means that nothing ran, and then it goes in halves.

use super::super::search::Steps;
use super::half::{Half, Way};
use super::slot::{Lock, Value};
use super::{Kind, Migration, Rule, State};

const LOAD: [&str; 2] = ["load 1", "load 2"];
const WRITER: [&str; 2] = ["writer 1", "writer 2"];
const END: &str = "end";
const PUT: &str = "put";

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Doing {
    #[default]
    Idle,
    Source,
    Store,
    /// Only where a rule is broken: L was seen to hold the token, SET V comes.
    Set,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Load {
    pub(super) doing: Doing,
    pub(super) version: u8,
    /// The node that granted the lease.
    pub(super) by: u8,
    pub(super) way: Way,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Stage {
    #[default]
    Guard,
    /// The halves of GUARD.
    GuardFirst,
    GuardSecond,
    Sink,
    Finish,
    FinishFirst,
    FinishSecond,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Writer {
    pub(super) stage: Stage,
    pub(super) way: Way,
    /// Its guard stands, and its deadline has not passed.
    pub(super) is_guarded: bool,
    pub(super) has_lapsed: bool,
    pub(super) version: u8,
    /// The node that answered GUARD.
    pub(super) by: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Progress {
    #[default]
    NotBegun,
    Whole,
    First,
    Second,
    /// Only where a rule is broken.
    Third,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct End {
    pub(super) kind: Kind,
    pub(super) progress: Progress,
    pub(super) way: Way,
    pub(super) version: u8,
}

impl Migration {
    pub(super) fn load(&self, at: usize, from: State, next: &mut Steps<State>) {
        let load = from.loads[at];
        let token = at as u8;
        let mut to = from;
        match load.doing {
            Doing::Idle => {
                if let Some(node) = self.grants(&from) {
                    to.slot.nodes[node].lock = Lock::Lease(token);
                    to.loads[at].by = self.named(node);
                    to.loads[at].doing = Doing::Source;
                    next.add(LOAD[at], "READ: {2}, the lease", to);
                }
            }
            Doing::Source => {
                to.loads[at].version = from.newest;
                to.loads[at].doing = Doing::Store;
                next.add(LOAD[at], "the loader reads the source", to);
            }
            // TRYAGAIN: sends the same again, or gives up, which is never to come back.
            Doing::Store => {
                if let Some(node) = from.slot.both() {
                    to.loads[at] = Load { doing: Doing::Done, ..Load::default() };
                    let node = &mut to.slot.nodes[node];
                    if node.lock == Lock::Lease(token) {
                        *node = super::slot::Node::default();
                        node.value =
                            Value { version: load.version + 1, marked: false, by: load.by };
                        next.add(LOAD[at], "STORE: 1", to);
                    } else {
                        next.add(LOAD[at], "STORE: 0, refused", to);
                    }
                } else if self.rule == Rule::StoreSplit {
                    let holds = |node: &super::slot::Node| node.lock == Lock::Lease(token);
                    let held = from.slot.nodes.iter().any(holds);
                    to.loads[at].doing = if held { Doing::Set } else { Doing::Done };
                    next.add(LOAD[at], "STORE: TRYAGAIN; GET L, to SET V if it is ours", to);
                }
            }
            Doing::Set => {
                let mut way = load.way;
                let (what, done) = self.half(Half::Set(load.version), &mut way, &mut to);
                to.loads[at].way = way;
                if done {
                    to.loads[at] = Load { doing: Doing::Done, ..Load::default() };
                }
                next.add(LOAD[at], what, to);
            }
            Doing::Done => {}
        }
    }

    pub(super) fn writer(&self, at: usize, from: State, next: &mut Steps<State>) {
        let writer = from.writers[at];
        let token = at as u8;
        let mut to = from;
        let swapped = |rule| self.rule == rule;
        match writer.stage {
            Stage::Guard => {
                if at > 0 && from.writers[at - 1].stage == Stage::Guard {
                    return;
                }
                if let Some(node) = from.slot.both() {
                    to.writers[at].by = self.named(node);
                    let node = &mut to.slot.nodes[node];
                    node.value = Value::default();
                    node.guard(token);
                    self.guarded(at, &mut to);
                    next.add(WRITER[at], "GUARD: 1", to);
                } else {
                    to.writers[at].stage = Stage::GuardFirst;
                    next.add(WRITER[at], "GUARD: TRYAGAIN", to);
                }
            }
            Stage::GuardFirst | Stage::GuardSecond => {
                let first = writer.stage == Stage::GuardFirst;
                let on_lock = first != swapped(Rule::GuardValueFirst);
                let half = match (on_lock, self.rule) {
                    (true, Rule::EndForGuard) => Half::Fin(None),
                    (true, _) => Half::Guard(token),
                    (false, _) => Half::Unlink,
                };
                let what = self.writer_half(at, half, &mut to, |to| {
                    if first {
                        to.writers[at].stage = Stage::GuardSecond;
                    } else {
                        self.guarded(at, to);
                    }
                });
                next.add(WRITER[at], what, to);
            }
            Stage::Sink => {
                to.newest += 1;
                let writer = &mut to.writers[at];
                writer.version = to.newest;
                writer.stage = Stage::Finish;
                // Whatever becomes of the writer: under its guard it leaves nothing stale.
                if writer.is_guarded {
                    to.floor = to.newest;
                }
                writer.is_guarded = false;
                next.add(WRITER[at], "the sink commits", to);
            }
            Stage::Finish => {
                if let Some(node) = from.slot.both() {
                    to.slot.nodes[node].finish(token, writer.version, writer.by);
                    self.finished(at, &mut to);
                    next.add(WRITER[at], "FINISH: Ok", to);
                } else {
                    to.writers[at].stage = Stage::FinishFirst;
                    next.add(WRITER[at], "FINISH: TRYAGAIN", to);
                }
            }
            Stage::FinishFirst | Stage::FinishSecond => {
                let first = writer.stage == Stage::FinishFirst;
                let on_lock = first != swapped(Rule::FinishValueFirst);
                let half = if on_lock { Half::Fin(Some(token)) } else { Half::Unlink };
                let what = self.writer_half(at, half, &mut to, |to| {
                    if first {
                        to.writers[at].stage = Stage::FinishSecond;
                    } else {
                        self.finished(at, to);
                    }
                });
                next.add(WRITER[at], what, to);
            }
            Stage::Done => {}
        }
    }

    /// Where READ grants the lease: V is of no use, and L is absent.
    fn grants(&self, from: &State) -> Option<usize> {
        let at = from.slot.at_rest()?;
        let node = &from.slot.nodes[at];
        let used = node.value.version > 0 && !node.value.marked && self.believes(node.value, at);
        (!used && node.lock == Lock::Absent).then_some(at)
    }

    fn writer_half(
        &self,
        at: usize,
        half: Half,
        to: &mut State,
        done: impl Fn(&mut State),
    ) -> &'static str {
        let mut way = to.writers[at].way;
        let (what, is_done) = self.half(half, &mut way, to);
        to.writers[at].way = way;
        if is_done {
            done(to);
        }
        what
    }

    fn guarded(&self, at: usize, to: &mut State) {
        let writer = &mut to.writers[at];
        writer.stage = Stage::Sink;
        writer.is_guarded = !writer.has_lapsed;
    }

    fn finished(&self, at: usize, to: &mut State) {
        to.floor = to.floor.max(to.writers[at].version);
        to.writers[at] = Writer { stage: Stage::Done, ..Writer::default() };
    }

    pub(super) fn end(&self, from: State, next: &mut Steps<State>) {
        let end = from.end;
        let mut to = from;
        match end.progress {
            Progress::NotBegun => {
                for &kind in self.scene.ends {
                    let mut to = from;
                    to.newest += 1;
                    to.end = End {
                        kind,
                        progress: Progress::Whole,
                        way: Way::First,
                        version: to.newest,
                    };
                    next.add(END, "commits without a guard", to);
                }
            }
            Progress::Whole => match from.slot.both() {
                Some(node) => {
                    let node = &mut to.slot.nodes[node];
                    match end.kind {
                        Kind::Key => node.value = Value::default(),
                        Kind::Expire => node.value.marked = node.value.version > 0,
                    }
                    node.fin(None);
                    self.ended(&mut to);
                    let what = if end.kind == Kind::Key { "END: Ok" } else { "EXPIRE: Ok" };
                    next.add(END, what, to);
                }
                None => {
                    to.end.progress = Progress::First;
                    let what =
                        if end.kind == Kind::Key { "END: TRYAGAIN" } else { "EXPIRE: TRYAGAIN" };
                    next.add(END, what, to);
                }
            },
            Progress::First | Progress::Second => {
                let first = end.progress == Progress::First;
                let on_value = match end.kind {
                    Kind::Key => Half::Unlink,
                    Kind::Expire => Half::Mark,
                };
                let swapped = match end.kind {
                    Kind::Key => self.rule == Rule::EndValueFirst,
                    Kind::Expire => self.rule == Rule::ExpireValueFirst,
                };
                let half = if first == swapped { on_value } else { Half::Fin(None) };
                let only = match self.rule {
                    Rule::EndLockOnly => first,
                    Rule::EndValueOnly => !first,
                    _ => true,
                };
                let mut way = end.way;
                let (mut what, mut done) = ("leaves this half out", true);
                if only {
                    (what, done) = self.half(half, &mut way, &mut to);
                }
                to.end.way = way;
                if done && first {
                    to.end.progress = Progress::Second;
                } else if done {
                    self.ended(&mut to);
                }
                next.add(END, what, to);
            }
            Progress::Third | Progress::Done => {}
        }
    }

    fn ended(&self, to: &mut State) {
        to.floor = to.floor.max(to.end.version);
        to.end = End { progress: Progress::Done, ..End::default() };
    }

    /// A value whose only home is the cache: it becomes the newest when it is set.
    pub(super) fn put(&self, from: State, next: &mut Steps<State>) {
        let mut to = from;
        match from.put.progress {
            Progress::NotBegun | Progress::Whole => match from.slot.both() {
                Some(node) => {
                    to.newest += 1;
                    to.floor = to.newest;
                    to.put = End { progress: Progress::Done, ..End::default() };
                    let node = &mut to.slot.nodes[node];
                    node.value = Value { version: to.newest + 1, ..Value::default() };
                    node.lock = Lock::Absent;
                    next.add(PUT, "PUT: stored", to);
                }
                // Never split: the same bytes again.
                None if matches!(self.rule, Rule::PutSplit | Rule::PutSplitFinAfter) => {
                    to.put.progress = Progress::First;
                    next.add(PUT, "PUT: TRYAGAIN", to);
                }
                None => {}
            },
            Progress::First => self.put_half(Half::Fin(None), Progress::Second, to, next),
            Progress::Second => {
                let after = match self.rule {
                    Rule::PutSplitFinAfter => Progress::Third,
                    _ => Progress::Done,
                };
                self.put_half(Half::Set(from.newest + 1), after, to, next);
            }
            Progress::Third => self.put_half(Half::Fin(None), Progress::Done, to, next),
            Progress::Done => {}
        }
    }

    fn put_half(&self, half: Half, then: Progress, mut to: State, next: &mut Steps<State>) {
        let mut way = to.put.way;
        let ran = to.slot;
        let (what, done) = self.half(half, &mut way, &mut to);
        to.put.way = way;
        if let Half::Set(version) = half
            && ran != to.slot
        {
            to.newest = version;
            to.put.version = version;
        }
        if done {
            to.put.progress = then;
        }
        if to.put.progress == Progress::Done {
            to.floor = to.put.version;
        }
        next.add(PUT, what, to);
    }
}
