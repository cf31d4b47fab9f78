//! Callers that give up: one process, its flights for one key, and the lease each asks for.
//!
//! What a connection carries arrives in order; two connections know nothing of each other. A flight learns
//! what became of its READ only when the reply arrives, and it may be cancelled before.

use super::case::{Case, Depth};
use super::search::{Steps, World};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    AsWritten,
    ReleaseOnAnotherConnection,
    ReleaseOnlyWhenGranted,
    DetachInASecondStep,
}

struct Callers {
    rule: Rule,
    callers: usize,
    flights: usize,
}

const CALLER: [&str; 4] = ["caller 1", "caller 2", "caller 3", "caller 4"];
const FLIGHT: [&str; 3] = ["flight 1", "flight 2", "flight 3"];

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Caller {
    #[default]
    Away,
    /// On board of this flight.
    Waits(u8),
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Phase {
    #[default]
    NotYet,
    /// READ was sent.
    Asked,
    /// Another holds the lease.
    Waits,
    /// The lease was granted, and the reply has come: the loader runs.
    Loads,
    /// After this nothing is cancelled.
    StoreSent,
    Landed,
    Cancelled,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Reply {
    #[default]
    None,
    Value,
    Lease,
    Wait,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Flight {
    phase: Phase,
    /// Callers on board.
    count: u8,
    /// Nobody was on board, and what follows from that is still to be done.
    leaving: bool,
    reply: Reply,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Command {
    #[default]
    None,
    /// Each with its token: the number of its flight. A flight asks once, so one token is enough for it.
    Read(u8),
    Release(u8),
    Store(u8),
}

/// A connection, towards the server.
type Wire = [Command; 6];

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct State {
    callers: [Caller; 4],
    flights: [Flight; 3],
    /// The flight that callers board, plus one.
    doors: u8,
    tracked: Wire,
    other: Wire,
    value: bool,
    /// The token that L holds, plus one.
    lease: u8,
    ended: bool,
}

fn send(wire: &mut Wire, command: Command) {
    if let Some(place) = wire.iter_mut().find(|place| **place == Command::None) {
        *place = command;
    }
}

fn take(wire: &mut Wire) -> Command {
    let first = wire[0];
    wire.rotate_left(1);
    wire[wire.len() - 1] = Command::None;
    first
}

impl World for Callers {
    type State = State;

    fn start(&self) -> State {
        State::default()
    }

    fn steps(&self, from: &State, next: &mut Steps<State>) {
        for at in 0..self.callers {
            match from.callers[at] {
                Caller::Away => self.board(at, *from, next),
                Caller::Waits(flight) => self.hang_up(at, flight.into(), *from, next),
                Caller::Gone => {}
            }
        }
        (0..self.flights).for_each(|flight| self.flight(flight, *from, next));
        let mut to = *from;
        if from.tracked[0] != Command::None {
            let command = take(&mut to.tracked);
            run(command, to, next);
        }
        let mut to = *from;
        if from.other[0] != Command::None {
            let command = take(&mut to.other);
            run(command, to, next);
        }
        next.add("the server", "L expires", State { lease: 0, ..*from });
        next.add("the server", "V expires", State { value: false, ..*from });
        if !from.ended {
            let ended = State { ended: true, value: false, lease: 0, doors: 0, ..*from };
            next.add("the process", "invalidates: END, and the flight is detached", ended);
        }
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        let phase = |flight: u8| state.flights[usize::from(flight)].phase;
        let stranded = |caller: &Caller| matches!(*caller, Caller::Waits(flight) if phase(flight) == Phase::Cancelled);
        if state.callers.iter().any(stranded) {
            return Some("a flight is cancelled only when nobody waits for it");
        }
        if state.lease > 0 && phase(state.lease - 1) == Phase::Cancelled {
            let token = state.lease - 1;
            let comes = |command: &Command| *command == Command::Release(token);
            if !state.tracked.iter().chain(&state.other).any(comes) {
                return Some("a lease that nobody needs is given back, not left to run out");
            }
        }
        None
    }
}

impl Callers {
    fn board(&self, caller: usize, mut to: State, next: &mut Steps<State>) {
        if to.doors > 0 {
            let flight = to.doors - 1;
            to.flights[usize::from(flight)].count += 1;
            to.callers[caller] = Caller::Waits(flight);
            next.add(CALLER[caller], "boards the flight under way", to);
            return;
        }
        let fresh = to.flights[..self.flights].iter().position(|it| it.phase == Phase::NotYet);
        if let Some(flight) = fresh {
            to.flights[flight] = Flight { phase: Phase::Asked, count: 1, ..Flight::default() };
            to.callers[caller] = Caller::Waits(flight as u8);
            to.doors = flight as u8 + 1;
            send(&mut to.tracked, Command::Read(flight as u8));
            next.add(CALLER[caller], "opens a flight, which sends READ", to);
        }
    }

    /// The last caller out and the end of the flight are one step.
    fn hang_up(&self, caller: usize, flight: usize, mut to: State, next: &mut Steps<State>) {
        to.callers[caller] = Caller::Gone;
        to.flights[flight].count -= 1;
        if to.flights[flight].count > 0 {
            next.add(CALLER[caller], "hangs up; others are on board", to);
        } else if self.rule == Rule::DetachInASecondStep {
            to.flights[flight].leaving = true;
            next.add(CALLER[caller], "hangs up, and was the last", to);
        } else {
            self.cancel(flight, &mut to);
            next.add(
                CALLER[caller],
                "hangs up, was the last; the flight is detached and cancelled",
                to,
            );
        }
    }

    fn cancel(&self, flight: usize, to: &mut State) {
        let granted = to.flights[flight].phase == Phase::Loads;
        if !matches!(to.flights[flight].phase, Phase::Asked | Phase::Waits | Phase::Loads) {
            return;
        }
        if usize::from(to.doors) == flight + 1 {
            to.doors = 0;
        }
        to.flights[flight] = Flight { phase: Phase::Cancelled, ..Flight::default() };
        let release = Command::Release(flight as u8);
        match self.rule {
            Rule::ReleaseOnAnotherConnection => send(&mut to.other, release),
            Rule::ReleaseOnlyWhenGranted if !granted => {}
            _ => send(&mut to.tracked, release),
        }
    }

    fn flight(&self, at: usize, from: State, next: &mut Steps<State>) {
        let flight = from.flights[at];
        if flight.leaving {
            let mut to = from;
            to.flights[at].leaving = false;
            self.cancel(at, &mut to);
            next.add(FLIGHT[at], "is detached and cancelled: its last caller had left", to);
        }
        let mut to = from;
        match (flight.phase, flight.reply) {
            (Phase::Asked, Reply::Value) => {
                land(at, &mut to);
                next.add(FLIGHT[at], "the reply to READ comes: the value", to);
            }
            (Phase::Asked, Reply::Lease) => {
                to.flights[at].phase = Phase::Loads;
                next.add(FLIGHT[at], "the reply to READ comes: the lease", to);
            }
            (Phase::Asked, Reply::Wait) => {
                to.flights[at].phase = Phase::Waits;
                next.add(FLIGHT[at], "the reply to READ comes: the lease is held elsewhere", to);
            }
            (Phase::Waits, _) if from.lease == 0 => {
                land(at, &mut to);
                next.add(FLIGHT[at], "sees L gone; its callers ask again", to);
            }
            (Phase::Loads, _) => {
                to.flights[at].phase = Phase::StoreSent;
                send(&mut to.tracked, Command::Store(at as u8));
                next.add(FLIGHT[at], "the loader is done, sends STORE", to);
            }
            _ => {}
        }
    }
}

/// Everybody on board is answered.
fn land(at: usize, to: &mut State) {
    to.flights[at] = Flight { phase: Phase::Landed, ..Flight::default() };
    if usize::from(to.doors) == at + 1 {
        to.doors = 0;
    }
    for caller in &mut to.callers {
        if *caller == Caller::Waits(at as u8) {
            *caller = Caller::Gone;
        }
    }
}

/// The server runs what arrived.
fn run(command: Command, mut to: State, next: &mut Steps<State>) {
    match command {
        Command::None => {}
        Command::Read(token) => {
            let reply = if to.value {
                Reply::Value
            } else if to.lease > 0 {
                Reply::Wait
            } else {
                to.lease = token + 1;
                Reply::Lease
            };
            let flight = &mut to.flights[usize::from(token)];
            if flight.phase == Phase::Asked {
                flight.reply = reply;
            }
            next.add("the server", "runs READ", to);
        }
        Command::Release(token) => {
            if to.lease == token + 1 {
                to.lease = 0;
            }
            next.add("the server", "runs RELEASE", to);
        }
        Command::Store(token) => {
            if to.lease == token + 1 {
                to.lease = 0;
                to.value = true;
            }
            land(token.into(), &mut to);
            next.add("the server", "runs STORE", to);
        }
    }
}

pub(crate) fn cases(depth: Depth) -> Vec<Case> {
    let (callers, flights) = if depth == Depth::Deep { (4, 3) } else { (3, 3) };
    let fails = |name, rule, breaks| {
        Case::fails("callers", name, breaks, Callers { rule, callers, flights })
    };
    vec![
        Case::holds("callers", "giving up", Callers { rule: Rule::AsWritten, callers, flights }),
        fails(
            "RELEASE on another connection",
            Rule::ReleaseOnAnotherConnection,
            "send RELEASE on READ's connection, after READ",
        ),
        fails(
            "RELEASE only when granted",
            Rule::ReleaseOnlyWhenGranted,
            "send RELEASE .. also when READ's reply is not known",
        ),
        fails(
            "last caller and detach in two steps",
            Rule::DetachInASecondStep,
            "counting the last caller out and detaching the flight are one step",
        ),
    ]
}
