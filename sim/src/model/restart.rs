//! A node that comes back with less than it had acknowledged: a restart from a snapshot, or a replica that
//! lagged and was promoted.
//!
//! The key and its tag may lie on different nodes, and one of them, or both, comes back. An envelope and the
//! generations in it carry which process said so, its incarnation.

use super::case::{Case, Depth};
use super::search::{Steps, World};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// `distrust`.
    AsWritten,
    Accept,
    /// The envelope carries the process that stored it.
    OfTheStore,
    /// A generation is believed whoever answers it.
    TagBelieved,
}

struct Restart {
    rule: Rule,
    loads: usize,
    ends: usize,
}

/// What a process said of a tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Said {
    incarnation: u8,
    /// 0: there is no T.
    generation: u8,
}

/// V. A version of 0: there is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Value {
    version: u8,
    incarnation: u8,
    tag: Said,
}

/// L.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Lock {
    #[default]
    Absent,
    Lease(u8),
    Guard {
        touched: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Doing {
    #[default]
    Idle,
    Tags,
    Source,
    Store,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Load {
    doing: Doing,
    entry: Value,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Writing {
    #[default]
    Tags,
    Guard,
    Sink,
    Finish,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Writer {
    writing: Writing,
    entry: Value,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum What {
    #[default]
    Key,
    Tag,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Progress {
    #[default]
    NotBegun,
    Committed(What, u8),
    Done,
}

/// What is on the two nodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Nodes {
    value: Value,
    lock: Lock,
    tag: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Copied {
    #[default]
    NotYet,
    Held(Nodes),
    Restored,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct State {
    newest: u8,
    floor: u8,
    now: Nodes,
    /// Of the node of the key, and of that of the tag: 0, or 1 once it came back.
    key_incarnation: u8,
    tag_incarnation: u8,
    copied: Copied,
    loads: [Load; 2],
    writer: Writer,
    ends: [Progress; 2],
}

const LOAD: [&str; 2] = ["load 1", "load 2"];
const END: [&str; 2] = ["end 1", "end 2"];
const WRITER: &str = "writer";
const SERVER: &str = "the server";

impl World for Restart {
    type State = State;

    fn start(&self) -> State {
        State::default()
    }

    fn steps(&self, from: &State, next: &mut Steps<State>) {
        (0..self.loads).for_each(|load| self.load(load, *from, next));
        (0..self.ends).for_each(|at| end(at, *from, next));
        self.writer(*from, next);
        server(*from, next);
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        let value = state.now.value;
        (self.believes(state, value) && value.version - 1 < state.floor)
            .then_some("G1: V is believed, and older than a write or an invalidation that was Ok")
    }
}

impl Restart {
    /// Whether a call that begins now would serve it.
    fn believes(&self, state: &State, value: Value) -> bool {
        let generation = state.now.tag != 0 && value.tag.generation == state.now.tag;
        let process = value.incarnation == state.key_incarnation || self.rule == Rule::Accept;
        let tag_process = value.tag.incarnation == state.tag_incarnation
            || matches!(self.rule, Rule::Accept | Rule::TagBelieved);
        value.version > 0 && generation && process && tag_process
    }

    /// Who stores says which process granted the lease, or answered GUARD.
    fn stored(&self, to: &mut State, entry: Value) {
        let mut entry = entry;
        if self.rule == Rule::OfTheStore {
            entry.incarnation = to.key_incarnation;
        }
        to.now.value = entry;
        to.now.lock = Lock::Absent;
    }

    fn load(&self, at: usize, from: State, next: &mut Steps<State>) {
        let load = from.loads[at];
        let token = at as u8;
        let mut to = from;
        match load.doing {
            Doing::Idle => {
                // A V that is not believed is what READ was told to have seen.
                if !self.believes(&from, from.now.value) && from.now.lock == Lock::Absent {
                    to.now.lock = Lock::Lease(token);
                    to.loads[at].doing = Doing::Tags;
                    to.loads[at].entry.incarnation = from.key_incarnation;
                    next.add(LOAD[at], "READ: {2}, the lease", to);
                }
            }
            Doing::Tags => {
                to.loads[at].entry.tag = see_to_tag(1 + token, &mut to);
                to.loads[at].doing = Doing::Source;
                next.add(LOAD[at], "reads or makes T", to);
            }
            Doing::Source => {
                to.loads[at].entry.version = from.newest + 1;
                to.loads[at].doing = Doing::Store;
                next.add(LOAD[at], "the loader reads the database", to);
            }
            Doing::Store => {
                to.loads[at] = Load { doing: Doing::Done, ..Load::default() };
                if from.now.lock == Lock::Lease(token) {
                    self.stored(&mut to, load.entry);
                    next.add(LOAD[at], "STORE: 1", to);
                } else {
                    next.add(LOAD[at], "STORE: 0, refused", to);
                }
            }
            Doing::Done => {}
        }
    }

    fn writer(&self, from: State, next: &mut Steps<State>) {
        let mut to = from;
        let writer = &mut to.writer;
        match from.writer.writing {
            Writing::Tags => {
                writer.writing = Writing::Guard;
                to.writer.entry.tag = see_to_tag(9, &mut to);
                next.add(WRITER, "begins: reads or makes T", to);
            }
            Writing::Guard => {
                writer.writing = Writing::Sink;
                writer.entry.incarnation = from.key_incarnation;
                to.now.value = Value::default();
                to.now.lock = Lock::Guard { touched: false };
                next.add(WRITER, "GUARD: 1", to);
            }
            Writing::Sink => {
                to.newest += 1;
                writer.writing = Writing::Finish;
                writer.entry.version = to.newest + 1;
                next.add(WRITER, "the sink commits", to);
            }
            Writing::Finish => {
                let entry = from.writer.entry;
                *writer = Writer { writing: Writing::Done, ..Writer::default() };
                to.floor = to.floor.max(entry.version - 1);
                if from.now.lock == (Lock::Guard { touched: false }) {
                    self.stored(&mut to, entry);
                    next.add(WRITER, "FINISH: 1, stored", to);
                } else {
                    (to.now.value, to.now.lock) = (Value::default(), Lock::Absent);
                    next.add(WRITER, "FINISH: 0", to);
                }
            }
            Writing::Done => {}
        }
    }
}

/// SET T nonce NX GET, GET T, and who said so.
fn see_to_tag(nonce: u8, to: &mut State) -> Said {
    if to.now.tag == 0 {
        to.now.tag = nonce;
    }
    Said { incarnation: to.tag_incarnation, generation: to.now.tag }
}

fn end(at: usize, from: State, next: &mut Steps<State>) {
    let mut to = from;
    match from.ends[at] {
        Progress::NotBegun if at > 0 && from.ends[at - 1] == Progress::NotBegun => {}
        Progress::NotBegun => {
            for (what, said) in [
                (What::Key, "commits, will invalidate the key"),
                (What::Tag, "commits, will invalidate the tag"),
            ] {
                let mut to = from;
                to.newest += 1;
                to.ends[at] = Progress::Committed(what, to.newest);
                next.add(END[at], said, to);
            }
        }
        Progress::Committed(what, version) => {
            to.ends[at] = Progress::Done;
            to.floor = to.floor.max(version);
            let said = match what {
                What::Key => {
                    to.now.value = Value::default();
                    to.now.lock = match from.now.lock {
                        Lock::Guard { .. } => Lock::Guard { touched: true },
                        _ => Lock::Absent,
                    };
                    "END: Ok"
                }
                What::Tag => {
                    to.now.tag = 0;
                    "UNLINK T: Ok"
                }
            };
            next.add(END[at], said, to);
        }
        Progress::Done => {}
    }
}

fn server(from: State, next: &mut Steps<State>) {
    let mut to = from;
    to.now.value = Value::default();
    next.add(SERVER, "V expires", to);
    let mut to = from;
    to.now.lock = Lock::Absent;
    next.add(SERVER, "L expires", to);
    let mut to = from;
    to.now.tag = 0;
    next.add(SERVER, "T expires", to);
    match from.copied {
        Copied::NotYet => {
            let to = State { copied: Copied::Held(from.now), ..from };
            next.add(SERVER, "saves a snapshot, or the replica has come so far", to);
        }
        Copied::Held(Nodes { value, lock, tag }) => {
            let back = State { copied: Copied::Restored, ..from };
            let mut key = back;
            (key.now.value, key.now.lock, key.key_incarnation) = (value, lock, 1);
            next.add(SERVER, "the key's node comes back with what it had then", key);
            let mut to = back;
            (to.now.tag, to.tag_incarnation) = (tag, 1);
            next.add(SERVER, "the tag's node comes back with what it had then", to);
            (key.now.tag, key.tag_incarnation) = (tag, 1);
            next.add(SERVER, "the node of both comes back with what it had then", key);
        }
        Copied::Restored => {}
    }
}

pub(crate) fn cases(depth: Depth) -> Vec<Case> {
    let (loads, ends) = if depth == Depth::Deep { (2, 2) } else { (2, 1) };
    let fails =
        |name, rule, breaks| Case::fails("restart", name, breaks, Restart { rule, loads, ends });
    vec![
        Case::holds("restart", "distrust", Restart { rule: Rule::AsWritten, loads, ends }),
        fails(
            "limit: accept, and what was lost resurfaces",
            Rule::Accept,
            "nothing: accept says in its docs what can resurface",
        ),
        fails(
            "the incarnation of the process that stored",
            Rule::OfTheStore,
            "envelopes carry the run_id of the process that answered; write-through: that answered GUARD",
        ),
        fails(
            "generations without an incarnation",
            Rule::TagBelieved,
            "I6: equality of (incarnation, generation), never order",
        ),
    ]
}
