//! One key whose slot moves to another node of a Cluster, key by key, while it is used.
//!
//! While the slot moves, a script with both keys runs only where both are; else it is told TRYAGAIN, and
//! nothing ran. What is then done in halves is this subject. A key may move back once.

mod half;
mod people;
mod slot;

use super::case::{Case, Depth};
use super::search::{Steps, World};
use people::{Doing, End, Load, Stage, Writer};
use slot::{Item, Key, Lock, Node, Phase, SOURCE, Slot, TARGET, Value};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    AsWritten,
    FinUnlinksFirst,
    EndValueFirst,
    EndLockOnly,
    EndValueOnly,
    ExpireValueFirst,
    GuardValueFirst,
    FinishValueFirst,
    StoreSplit,
    PutSplit,
    PutSplitFinAfter,
    EndForGuard,
    AskNotRepeated,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Kind {
    #[default]
    Key,
    Expire,
}

#[derive(Clone, Copy)]
struct Scene {
    loads: usize,
    writers: usize,
    ends: &'static [Kind],
    puts: u8,
    /// How often a key may move back.
    moves_back: u8,
    /// How often a MIGRATE may time out, and land all the same.
    faults: u8,
    trust: Trust,
    migrate: Migrate,
}

/// What a copy does that lands late, where the key is already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Migrate {
    /// It is refused: BUSYKEY.
    Refused,
    /// MIGRATE .. REPLACE.
    Replaces,
}

/// Whether a node is believed what another said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// `accept`: shows more than `distrust`, where no message is late.
    All,
    /// `distrust`.
    Own,
}

struct Migration {
    rule: Rule,
    scene: Scene,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct State {
    newest: u8,
    /// The oldest version that may still be served.
    floor: u8,
    slot: Slot,
    loads: [Load; 2],
    writers: [Writer; 2],
    end: End,
    put: End,
    moves_back: u8,
    late: Node,
    faults: u8,
}

const SERVER: &str = "the server";
const OPERATOR: &str = "the operator";

impl World for Migration {
    type State = State;

    fn start(&self) -> State {
        let Scene { moves_back, faults, .. } = self.scene;
        State { moves_back, faults, ..State::default() }
    }

    fn steps(&self, from: &State, next: &mut Steps<State>) {
        (0..self.scene.loads).for_each(|load| self.load(load, *from, next));
        (0..self.scene.writers).for_each(|writer| self.writer(writer, *from, next));
        self.end(*from, next);
        if self.scene.puts > 0 {
            self.put(*from, next);
        }
        self.operate(*from, next);
        self.late(*from, next);
        self.time(*from, next);
    }

    fn tidy(&self, state: &mut State) {
        // A lease that nobody will use any more is like any other of that kind.
        for node in &mut state.slot.nodes {
            if let Lock::Lease(token) = node.lock
                && (token == 9 || state.loads[usize::from(token)].doing == Doing::Done)
            {
                node.lock = Lock::Lease(9);
            }
        }
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        let (value, at) = state.slot.served();
        let served = value.version > 0 && !value.marked && self.believes(value, at);
        (served && value.version - 1 < state.floor).then_some(
            "G1: V is older than a write or an end that was Ok, or committed under its guard",
        )
    }
}

impl Migration {
    /// How a node is called in an envelope. Where everybody is believed the names make no difference.
    fn named(&self, node: usize) -> u8 {
        if self.scene.trust == Trust::All { 0 } else { node as u8 }
    }

    fn believes(&self, value: Value, node: usize) -> bool {
        value.by == self.named(node)
    }

    /// Moves the slot, key by key.
    fn operate(&self, from: State, next: &mut Steps<State>) {
        if from.slot.phase == Phase::AtSource {
            let mut to = from;
            to.slot.phase = Phase::Migrating;
            next.add(OPERATOR, "the slot begins to move", to);
        }
        if from.slot.is_moved() {
            let mut to = from;
            to.slot.phase = Phase::AtTarget;
            next.add(OPERATOR, "the slot has moved", to);
        }
        for (key, there, back) in [
            (Key::Value, "moves V to the target", "moves V back to the source"),
            (Key::Lock, "moves L to the target", "moves L back to the source"),
        ] {
            let mut to = from;
            if to.slot.migrate(key, SOURCE, TARGET) {
                next.add(OPERATOR, there, to);
            }
            if from.faults > 0
                && from.late == Node::default()
                && let Some(copy) = from.slot.copy(key)
            {
                let to = State { late: copy, faults: from.faults - 1, ..from };
                next.add(OPERATOR, "a MIGRATE times out: a copy is on its way to the target", to);
            }
            let mut to = from;
            if from.moves_back > 0 && to.slot.migrate(key, TARGET, SOURCE) {
                to.moves_back -= 1;
                next.add(OPERATOR, back, to);
            }
        }
    }

    /// The copy of a MIGRATE that had timed out.
    fn late(&self, from: State, next: &mut Steps<State>) {
        let mut to = State { late: Node::default(), ..from };
        if to.slot.land(from.late, self.scene.migrate == Migrate::Replaces) {
            next.add("the wire", "the copy lands at the target", to);
        }
    }

    /// What expires, on either node.
    fn time(&self, from: State, next: &mut Steps<State>) {
        for at in [SOURCE, TARGET] {
            if from.slot.nodes[at].has(Key::Value) {
                let mut to = from;
                to.slot.nodes[at].value = Value::default();
                next.add(SERVER, "V expires", to);
            }
            if matches!(from.slot.nodes[at].lock, Lock::Lease(_)) {
                let mut to = from;
                to.slot.nodes[at].lock = Lock::Absent;
                next.add(SERVER, "the lease expires", to);
            }
        }
        for (writer, what) in [(0, "writer 1's deadline passes"), (1, "writer 2's deadline passes")]
        {
            let mut to = from;
            to.lapse(writer);
            if to != from {
                next.add(SERVER, what, to);
            }
        }
    }
}

impl State {
    /// A deadline passes, wherever the guard is.
    fn lapse(&mut self, writer: usize) {
        let mut was_there = false;
        for node in &mut self.slot.nodes {
            if let Lock::Guards(mut list) = node.lock
                && list.items[writer] == Item::Live
            {
                was_there = true;
                list.items[writer] = Item::Lapsed;
                let any = list.items.contains(&Item::Live);
                node.lock = if any { Lock::Guards(list) } else { Lock::Absent };
            }
        }
        let writer = &mut self.writers[writer];
        let guards = matches!(writer.stage, Stage::GuardFirst | Stage::GuardSecond);
        writer.has_lapsed |= was_there && guards;
        writer.is_guarded = false;
    }
}

const LOADS: Scene = Scene {
    loads: 2,
    writers: 0,
    ends: &[Kind::Key, Kind::Expire],
    puts: 0,
    moves_back: 1,
    faults: 0,
    trust: Trust::All,
    migrate: Migrate::Refused,
};
const WRITER: Scene = Scene { loads: 1, writers: 1, ..LOADS };
const WRITERS: Scene = Scene { loads: 1, writers: 2, ends: &[], moves_back: 0, ..LOADS };
const PUT: Scene = Scene { ends: &[], puts: 1, ..LOADS };
const LATE: Scene = Scene { moves_back: 0, faults: 1, trust: Trust::Own, ..WRITER };
const LATE_LOADS: Scene = Scene { moves_back: 0, faults: 1, trust: Trust::Own, ..LOADS };

pub(crate) fn cases(depth: Depth) -> Vec<Case> {
    let holds =
        |name, scene| Case::holds("migration", name, Migration { rule: Rule::AsWritten, scene });
    let fails = |name, rule, scene, breaks| {
        Case::fails("migration", name, breaks, Migration { rule, scene })
    };
    let mut cases = vec![
        holds("two loads, an end", LOADS),
        holds("a load, a writer, an end", WRITER),
        holds("a load, two writers", WRITERS),
        holds("put", PUT),
        holds("a copy lands late: a writer, distrust", LATE),
        holds("a copy lands late: two loads, distrust", LATE_LOADS),
        fails(
            "limit: a copy lands late, accept",
            Rule::AsWritten,
            Scene { trust: Trust::All, ..LATE_LOADS },
            "nothing: accept may serve it until its TTL",
        ),
        fails(
            "limit: MIGRATE REPLACE lands late over a guard",
            Rule::AsWritten,
            Scene { loads: 2, migrate: Migrate::Replaces, ..LATE },
            "nothing: guards are not promised to survive a copy that replaces them (docs/the-model.md)",
        ),
        fails(
            "limit: a late copy is moved back, distrust",
            Rule::AsWritten,
            Scene { moves_back: 1, ..LATE_LOADS },
            "nothing: not covered even in distrust",
        ),
        fails(
            "fin with UNLINK first",
            Rule::FinUnlinksFirst,
            WRITER,
            "In a script no key is touched after it was removed. Overwrite instead",
        ),
        fails(
            "END split V first",
            Rule::EndValueFirst,
            LOADS,
            "END: fin(token) on L alone; wait for the reply; UNLINK V",
        ),
        fails(
            "only one half of END: L",
            Rule::EndLockOnly,
            LOADS,
            "END: .. either half alone is a hole too",
        ),
        fails(
            "only one half of END: V",
            Rule::EndValueOnly,
            LOADS,
            "END: .. either half alone is a hole too",
        ),
        fails(
            "EXPIRE split V first",
            Rule::ExpireValueFirst,
            Scene { ends: &[Kind::Expire], ..LOADS },
            "EXPIRE: fin('') on L alone; reply; then on V alone",
        ),
        fails(
            "GUARD split V first",
            Rule::GuardValueFirst,
            WRITER,
            "GUARD1; reply; UNLINK V; reply. Only now is it a guard",
        ),
        fails(
            "FINISH split V first",
            Rule::FinishValueFirst,
            WRITER,
            "FINISH: on TRYAGAIN fin(token), reply, UNLINK V",
        ),
        fails(
            "STORE split",
            Rule::StoreSplit,
            LOADS,
            "STORE: never split (GET L, SET V is a hole)",
        ),
        fails("PUT split", Rule::PutSplit, PUT, "PUT: never split"),
        fails(
            "PUT split, another fin after it",
            Rule::PutSplitFinAfter,
            PUT,
            "PUT: never split (another fin after it does not help)",
        ),
        fails(
            "END before the sink in place of a guard",
            Rule::EndForGuard,
            WRITER,
            "END before the sink in place of a guard is a hole",
        ),
        fails(
            "a half redirected by ASK is not repeated",
            Rule::AskNotRepeated,
            LOADS,
            "A half answered through ASK is sent once more from the start, following ASK again",
        ),
    ];
    if depth == Depth::Deep {
        cases.push(holds("a load, two writers, an end", Scene { writers: 2, ..WRITER }));
        cases.push(holds("a copy lands late: two loads, a writer", Scene { loads: 2, ..LATE }));
        cases.push(holds("keys move back three times", Scene { moves_back: 3, ..WRITER }));
    }
    cases
}
