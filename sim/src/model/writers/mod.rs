//! Write-through and guards: writers of one key, and loads and invalidations that come between.
//!
//! A version is a commit to the database. It has to be seen from the moment on when its writer says so; or
//! at once, when it was committed while the writer's guard was open: then the writer may die, or be told by its
//! sink that it failed. Hits are not
//! steps here: what V holds is what any call that begins now would be served.

mod server;
mod writer;

use super::case::{Case, Depth};
use super::search::{Steps, World};
use server::{Kind, Late, Load, Lock, Phase, Progress, State};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    AsWritten,
    GenerationAfterCommit,
    GuardRetriedWithItsToken,
    BothRetriedWithTheirToken,
    FinishKeepsLease,
    FinishDoesNotMark,
    FinishDropsGuards,
    FinishLeavesItsGuard,
    EndDropsGuards,
    EndDoesNotMark,
    FailedSinkEndsItsGuard,
    /// As written, and asked for more.
    LateCommitIsPromised,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tagged {
    Yes,
    No,
}

/// Whether a deadline may pass while its writer is alive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guards {
    Lapse,
    Hold,
}

#[derive(Clone, Copy)]
struct Scene {
    writers: usize,
    loads: usize,
    ends: usize,
    kinds: &'static [Kind],
    tag: Tagged,
    guards: Guards,
    faults: u8,
}

struct Writers {
    rule: Rule,
    scene: Scene,
}

impl World for Writers {
    type State = State;

    fn start(&self) -> State {
        State { faults: self.scene.faults, ..State::default() }
    }

    fn steps(&self, from: &State, next: &mut Steps<State>) {
        (0..self.scene.writers).for_each(|writer| self.writer(writer, *from, next));
        (0..self.scene.loads).for_each(|load| self.load(load, *from, next));
        (0..self.scene.ends).for_each(|end| self.end(end, *from, next));
        self.late(*from, next);
        self.time(*from, next);
    }

    fn tidy(&self, state: &mut State) {
        if let Lock::Lease(token) = state.lock
            && !state.may_store(token)
        {
            state.lock = Lock::Lease(0);
        }
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        let value = state.value;
        let alive = self.scene.tag == Tagged::No || value.generation == state.tag;
        if value.version > 0 && alive && value.version - 1 < state.floor {
            return Some(
                "G1: V is older than a write or an invalidation that was Ok, or committed under its guard",
            );
        }
        let quiet = state.faults == self.scene.faults;
        if quiet && state.lock.is_left_by(&state.writers) {
            return Some("I10: the last to finish removes L: nobody waits for a time-out");
        }
        None
    }
}

const WHO: [&str; 2] = ["load 1", "load 2"];
const END: [&str; 2] = ["end 1", "end 2"];

impl Writers {
    /// A load, with nothing but its lease: what `loads` shows is not shown again.
    fn load(&self, at: usize, mut to: State, next: &mut Steps<State>) {
        let load = to.loads[at];
        let token = 1 + at as u8;
        match load.phase {
            Phase::Idle if to.value.version == 0 && to.lock == Lock::Absent => {
                to.lock = Lock::Lease(token);
                to.loads[at].phase = Phase::Source;
                if self.scene.tag == Tagged::Yes {
                    to.loads[at].generation = to.see_to_tag(token);
                }
                next.add(WHO[at], "READ: {2}, the lease; notes T", to);
            }
            Phase::Idle => {}
            Phase::Source => {
                to.loads[at].version = to.newest;
                to.loads[at].phase = Phase::Store;
                next.add(WHO[at], "the loader reads the database", to);
            }
            Phase::Store => {
                to.loads[at] = Load { phase: Phase::Done, ..Load::default() };
                if to.lock == Lock::Lease(token) {
                    to.lock = Lock::Absent;
                    to.keep(load.version, load.generation);
                    next.add(WHO[at], "STORE: 1", to);
                } else {
                    next.add(WHO[at], "STORE: 0, refused", to);
                }
            }
            Phase::Done => {}
        }
    }

    /// Somebody else commits, and ends the entry.
    fn end(&self, at: usize, from: State, next: &mut Steps<State>) {
        match from.ends[at].progress {
            Progress::NotBegun => {
                if at > 0 && from.ends[at - 1].progress == Progress::NotBegun {
                    return;
                }
                for &kind in self.scene.kinds {
                    let mut to = from;
                    to.newest += 1;
                    to.ends[at].kind = kind;
                    to.ends[at].progress = Progress::Committed(to.newest);
                    next.add(END[at], "commits without a guard", to);
                }
            }
            Progress::Committed(version) => {
                let mut to = from;
                let kind = from.ends[at].kind;
                to.ends[at].kind = Kind::Key;
                to.ends[at].progress = Progress::Done;
                to.floor = to.floor.max(version);
                let what = match kind {
                    Kind::Key => {
                        self.run_end(None, &mut to);
                        "END: Ok"
                    }
                    Kind::Tag => {
                        to.tag = 0;
                        "UNLINK T: Ok"
                    }
                    Kind::Expire => {
                        self.run_expire(&mut to);
                        "EXPIRE: Ok"
                    }
                };
                next.add(END[at], what, to);
                if from.faults > 0 && kind == Kind::Key && to.leave(Late::End) {
                    next.add(END[at], "Ok of a retry; the first copy is still on its way", to);
                }
            }
            Progress::Done => {}
        }
    }

    /// What expires, or is evicted.
    fn time(&self, from: State, next: &mut Steps<State>) {
        let mut to = from;
        to.value = Default::default();
        next.add("the server", "V expires, or is evicted", to);
        let to = State { tag: 0, ..from };
        next.add("the server", "T expires, or is evicted", to);
        match from.lock {
            Lock::Absent => {}
            Lock::Lease(_) => {
                next.add("the server", "the lease expires", State { lock: Lock::Absent, ..from });
            }
            Lock::Guards(_) if self.scene.guards == Guards::Hold => {}
            Lock::Guards(list) => {
                for token in 0..list.items.len() {
                    let mut to = from;
                    if to.lapse(token) {
                        next.add("the server", server::LAPSES[token], to);
                    }
                }
            }
        }
        // A guard that is not in L any more has a deadline all the same: then its writer may not rely on it.
        if self.scene.guards == Guards::Lapse {
            for writer in 0..self.scene.writers {
                let mut to = from;
                if to.writers[writer].is_guarded {
                    to.writers[writer].is_guarded = false;
                    if !matches!(from.lock, Lock::Guards(_)) {
                        next.add("the server", "the deadline of a guard that is gone passes", to);
                    }
                }
            }
        }
    }
}

const PLAIN: Scene = Scene {
    writers: 2,
    loads: 1,
    ends: 1,
    kinds: &[Kind::Key, Kind::Expire],
    tag: Tagged::No,
    guards: Guards::Lapse,
    faults: 1,
};
const CROWD: Scene = Scene { loads: 2, ends: 2, faults: 0, ..PLAIN };
const ONE: Scene = Scene { writers: 1, loads: 2, ends: 2, faults: 1, ..PLAIN };
const TAG: Scene =
    Scene { tag: Tagged::Yes, kinds: &[Kind::Key, Kind::Tag], writers: 1, ends: 2, ..PLAIN };
const TWICE: Scene = Scene { guards: Guards::Hold, faults: 2, ..PLAIN };

pub(crate) fn cases(depth: Depth) -> Vec<Case> {
    let holds =
        |name, scene| Case::holds("writers", name, Writers { rule: Rule::AsWritten, scene });
    let fails =
        |name, rule, scene, breaks| Case::fails("writers", name, breaks, Writers { rule, scene });
    let mut cases = vec![
        holds("two writers, one fault", PLAIN),
        holds("two writers, two loads, two ends", CROWD),
        holds("one writer, two loads, two ends", ONE),
        holds("a key with a tag", TAG),
        holds("guards that hold, two faults", TWICE),
        fails(
            "generation read after the commit",
            Rule::GenerationAfterCommit,
            TAG,
            "write-through: tags' T read or created before the commit",
        ),
        fails(
            "GUARD retried with the same token",
            Rule::GuardRetriedWithItsToken,
            PLAIN,
            "A GUARD retry draws a new token",
        ),
        fails(
            "GUARD and FINISH retried with the same token",
            Rule::BothRetriedWithTheirToken,
            TWICE,
            "A GUARD retry draws a new token; never FINISH again",
        ),
        fails(
            "FINISH's refusal keeps a T lease",
            Rule::FinishKeepsLease,
            PLAIN,
            "fin: if s: .. else UNLINK L",
        ),
        fails(
            "FINISH's refusal does not mark other guards",
            Rule::FinishDoesNotMark,
            PLAIN,
            "fin: if s: .. SET L 'W!'..s",
        ),
        fails(
            "FINISH's refusal drops all guards",
            Rule::FinishDropsGuards,
            PLAIN,
            "fin: its items without tok stay; I11: only its owner or its deadline removes a guard",
        ),
        fails(
            "FINISH's refusal leaves its own guard",
            Rule::FinishLeavesItsGuard,
            PLAIN,
            "0: .. its token leaves the list; the last to finish removes L",
        ),
        fails(
            "invalidate drops guards",
            Rule::EndDropsGuards,
            PLAIN,
            "END: fin(token), not UNLINK V L, which would end the guards of writers that have not committed",
        ),
        fails(
            "invalidate does not mark guards",
            Rule::EndDoesNotMark,
            PLAIN,
            "END: fin: SET L 'W!'..s",
        ),
        fails(
            "a failed sink ends its guard",
            Rule::FailedSinkEndsItsGuard,
            PLAIN,
            "a sink that may commit yet: END without its token, and its guard stands to its deadline",
        ),
        fails(
            "limit: a failed sink commits after its guard's deadline",
            Rule::LateCommitIsPromised,
            PLAIN,
            "nothing: a writer that does not answer for its commit is covered by its guard alone (docs/the-model.md)",
        ),
    ];
    if depth == Depth::Deep {
        cases.extend([
            holds("two writers, two faults, two loads", Scene { faults: 2, loads: 2, ..PLAIN }),
            holds("two writers, a tag", Scene { writers: 2, ..TAG }),
        ]);
    }
    cases
}
