//! Near copies, generation cells and flights of one process, and what its tracked connection tells it.
//!
//! The server makes pushes and replies in the order of what happened; the driver reads them in this order.
//! A task that was answered goes on later, and that is where most variants fail: a push may come between.
//!
//! The bound B has no clock here. A heartbeat that is sent when nothing is on the wire is answered with
//! nothing before its answer; so whenever the wire is empty, near and flights must show every end that ran.
//! Until then they need to show only what this process ended itself.

mod process;
mod server;
mod state;

use super::case::{Case, Depth};
use super::search::{Steps, World};
use state::{State, TASKS, Wrong};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    AsWritten,
    StoreNotReread,
    GrantNotReread,
    ExtendNotReread,
    NoEpochCheck,
    CellFilledWithoutEpoch,
    EmptyCellNotBumped,
    OwnSetNotReread,
    OwnPexpireNotReread,
    CellKeptUnderOwnWrite,
    FilledBesideOwnWrite,
    OwnReadIgnoredWhenMoved,
    MissingTagTaken,
    TagEndOnTracked,
    OwnCellNotBumped,
    CellBumpedBeforeOnly,
    KeyForgottenBeforeOnly,
    FlightLandsAnyway,
    UncachedBoardedAfterPush,
    PushesThroughChannel,
    NullPushIgnored,
    DisconnectNotBumped,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tagged {
    Yes,
    No,
}

#[derive(Clone, Copy)]
struct Near {
    rule: Rule,
    tag: Tagged,
    looks: u8,
    loads: u8,
    lengthens: u8,
    foreign_ends: u8,
    foreign_stores: u8,
    faults: u8,
    /// Whether another process writes through.
    writer: bool,
}

impl World for Near {
    type State = State;

    fn start(&self) -> State {
        State {
            looks: self.looks,
            loads: self.loads,
            lengthens: self.lengthens,
            foreign_ends: self.foreign_ends,
            foreign_stores: self.foreign_stores,
            faults: self.faults,
            ..State::default()
        }
    }

    fn steps(&self, from: &State, next: &mut Steps<State>) {
        self.begin(from, next);
        (0..TASKS).for_each(|task| self.task(task, from, next));
        self.own_end(from, next);
        self.run_own_end(from, next);
        self.run(from, next);
        self.drive(from, next);
        self.channel(from, next);
        self.others(from, next);
        self.disconnect(from, next);
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        let State { near, cell, .. } = *state;
        let current = self.tag == Tagged::No || (cell != 0 && near.generation == cell);
        if near.version > 0 && current && near.version - 1 < state.floor() {
            return Some(if near.version - 1 < state.own_ok {
                "a call begun after our own end was Ok is served the old value from near"
            } else {
                "G2: every change is applied, as an answered heartbeat proves, and near serves the old value"
            });
        }
        match state.wrong {
            Wrong::Nothing => None,
            Wrong::Stale => Some(
                "G2: a caller that began after an end boards a flight from before it, and is served",
            ),
            Wrong::DeadLoad => Some(
                "G2: every change is applied, and a caller boards a load whose lease was ended",
            ),
        }
    }
}

const VALUES: Near = Near {
    rule: Rule::AsWritten,
    tag: Tagged::No,
    looks: 2,
    loads: 1,
    lengthens: 0,
    foreign_ends: 1,
    foreign_stores: 1,
    faults: 1,
    writer: false,
};
const CELLS: Near = Near {
    tag: Tagged::Yes,
    looks: 2,
    loads: 0,
    lengthens: 1,
    foreign_ends: 1,
    foreign_stores: 2,
    faults: 0,
    ..VALUES
};
const FLIGHTS: Near = Near {
    tag: Tagged::Yes,
    looks: 1,
    loads: 1,
    foreign_ends: 1,
    foreign_stores: 1,
    faults: 0,
    ..VALUES
};

const GUARDS: Near = Near { looks: 1, foreign_stores: 0, faults: 0, writer: true, ..VALUES };

pub(crate) fn cases(depth: Depth) -> Vec<Case> {
    let holds = |name, world| Case::holds("near", name, world);
    let fails =
        |name, rule, scene: Near, breaks| Case::fails("near", name, breaks, Near { rule, ..scene });
    let mut cases = vec![
        holds("values and flights", VALUES),
        holds("generation cells", CELLS),
        holds("flights and tags", FLIGHTS),
        holds("flights beside a writer", GUARDS),
        fails(
            "a load beside a writer, boarded after the push",
            Rule::UncachedBoardedAfterPush,
            GUARDS,
            "`W`: it may be joined only until L or V is pushed",
        ),
        fails(
            "no re-track: STORE",
            Rule::StoreNotReread,
            VALUES,
            "I13, STORE: EXISTS V (re-track)",
        ),
        fails(
            "no re-track: READ's grant",
            Rule::GrantNotReread,
            VALUES,
            "I13, READ: EXISTS L (re-track)",
        ),
        fails(
            "no re-track: EXTEND",
            Rule::ExtendNotReread,
            VALUES,
            "I13, EXTEND: EXISTS L, else callers join a dead load",
        ),
        fails(
            "no epoch check",
            Rule::NoEpochCheck,
            VALUES,
            "I8: near insert only under an unchanged epoch",
        ),
        fails(
            "null push ignored",
            Rule::NullPushIgnored,
            VALUES,
            "a null push means FLUSHALL: drop everything",
        ),
        fails(
            "disconnect without bump",
            Rule::DisconnectNotBumped,
            VALUES,
            "On disconnect: stop serving near, bump all epochs",
        ),
        fails(
            "pushes handed to a channel",
            Rule::PushesThroughChannel,
            VALUES,
            "Pushes are handled inline in the connection's driver, in wire order",
        ),
        fails(
            "cell filled without epoch",
            Rule::CellFilledWithoutEpoch,
            CELLS,
            "A GET T reply fills it only if its epoch is what it was before the GET was sent",
        ),
        fails(
            "push on an empty cell without bump",
            Rule::EmptyCellNotBumped,
            CELLS,
            "A push on T empties the cell and bumps its epoch, also when it is empty",
        ),
        fails(
            "own PEXPIRE of T not re-read",
            Rule::OwnPexpireNotReread,
            CELLS,
            "PEXPIRE T 2*need GT followed by GET T in the same pipeline",
        ),
        fails(
            "cell believed while an own PEXPIRE is under way",
            Rule::CellKeptUnderOwnWrite,
            CELLS,
            "our own write ended our tracking of T; only that GET fills the cell",
        ),
        fails(
            "cell filled beside an own PEXPIRE",
            Rule::FilledBesideOwnWrite,
            CELLS,
            "our own write ended our tracking of T; only that GET fills the cell",
        ),
        fails(
            "the read behind an own PEXPIRE ignored when the cell moved",
            Rule::OwnReadIgnoredWhenMoved,
            CELLS,
            "PEXPIRE T .. followed by GET T: what it shows is held against what is known",
        ),
        fails(
            "T missing behind our own SET is taken",
            Rule::MissingTagTaken,
            FLIGHTS,
            "I5: absence never means valid",
        ),
        fails(
            "own SET of T not re-read",
            Rule::OwnSetNotReread,
            FLIGHTS,
            "SET T nonce NX GET PX .. always followed by GET T in the same pipeline",
        ),
        fails(
            "invalidate_tag dropped on the tracked connection",
            Rule::TagEndOnTracked,
            CELLS,
            "invalidate_tag goes on the untracked connection and runs to its end in a task of its own",
        ),
        fails(
            "own cell not bumped around invalidate_tag",
            Rule::OwnCellNotBumped,
            CELLS,
            "invalidate_tag: empty t's cell and bump its epoch; UNLINK T; empty and bump again, then Ok",
        ),
        fails(
            "a flight lands under a bumped epoch",
            Rule::FlightLandsAnyway,
            FLIGHTS,
            "a flight landing under a bumped epoch sends its joiners back",
        ),
        fails(
            "own key forgotten before END only",
            Rule::KeyForgottenBeforeOnly,
            VALUES,
            "invalidate: bump the stripe epoch, drop near; END V L ''; bump and drop again",
        ),
        fails(
            "own cell bumped before UNLINK T only",
            Rule::CellBumpedBeforeOnly,
            CELLS,
            "invalidate_tag: .. empty and bump again, then Ok",
        ),
    ];
    if depth == Depth::Deep {
        cases.extend([
            holds("values and flights, two ends", Near { foreign_ends: 2, ..VALUES }),
            holds("generation cells, a fault, three looks", Near { looks: 3, faults: 1, ..CELLS }),
            holds("flights and tags, two ends", Near { foreign_ends: 2, ..FLIGHTS }),
        ]);
    }
    cases
}
