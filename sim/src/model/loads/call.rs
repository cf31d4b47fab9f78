//! get_or_load, step by step.

use super::super::search::Steps;
use super::state::{Call, Envelope, Generation, Late, Lease, Phase, State, Wrong};
use super::{Loads, Rule, Sees, Tagged};

const WHO: [&str; 3] = ["A.1", "A.2", "B"];

/// What READ answers.
enum Answer {
    Value,
    Lease,
    Wait,
}

impl Loads {
    pub(super) fn call(&self, slot: usize, from: &State, next: &mut Steps<State>) {
        let call = from.calls[slot];
        match call.phase {
            Phase::Idle => {
                // A call that began earlier would ask for less: it begins with its first read.
                let mut begun = *from;
                begun.calls[slot].floor = from.floor;
                begun.calls[slot].hard_floor = from.hard_floor;
                if self.rule == Rule::NoSecondLook {
                    self.tag_first(slot, begun, next);
                } else {
                    self.get(slot, begun, next);
                }
                self.read(slot, begun, next);
            }
            Phase::TagFirst => self.value_second(slot, *from, next),
            Phase::Judge => self.judge(slot, *from, next),
            Phase::Again => self.read(slot, *from, next),
            Phase::Tags => self.tags(slot, *from, next),
            Phase::Source => self.source(slot, *from, next),
            Phase::Store => self.store(slot, *from, next),
        }
        if matches!(call.phase, Phase::Tags | Phase::Source | Phase::Store) && from.faults > 0 {
            let mut to = *from;
            to.faults -= 1;
            to.calls[slot] = call.over();
            next.add(WHO[slot], "dies", to);
        }
    }

    /// An expected hit: V, and then the tags' T.
    fn get(&self, slot: usize, mut to: State, next: &mut Steps<State>) {
        if to.value.id != 0 {
            self.found(slot, &mut to);
            next.add(WHO[slot], "begins: GET V: there is one", to);
        }
    }

    fn tag_first(&self, slot: usize, mut to: State, next: &mut Steps<State>) {
        to.calls[slot].entry.generation = to.tag;
        to.calls[slot].phase = Phase::TagFirst;
        next.add(WHO[slot], "begins: GET T", to);
    }

    fn value_second(&self, slot: usize, mut to: State, next: &mut Steps<State>) {
        let generation = to.calls[slot].entry.generation;
        if to.value.id == 0 {
            to.calls[slot] = to.calls[slot].over();
            next.add(WHO[slot], "GET V: there is none", to);
        } else {
            self.hold_against(slot, generation, to.value, &mut to);
            next.add(WHO[slot], "GET V, and judges it by the T it read before", to);
        }
    }

    /// V was read: without a tag it is judged at once.
    fn found(&self, slot: usize, to: &mut State) {
        let entry = to.value;
        if self.scene.tag == Tagged::Yes {
            to.calls[slot].phase = Phase::Judge;
            to.calls[slot].entry = entry;
        } else {
            self.hold_against(slot, entry.generation, entry, to);
        }
    }

    fn judge(&self, slot: usize, mut to: State, next: &mut Steps<State>) {
        let entry = to.calls[slot].entry;
        self.hold_against(slot, to.tag, entry, &mut to);
        let what = if to.calls[slot].phase == Phase::Idle {
            "GET T: the generations are equal, serves V"
        } else {
            "GET T: rejects V"
        };
        next.add(WHO[slot], what, to);
    }

    /// Serves `entry` if it is alive by `current` and fresh, else goes on to READ(seen).
    fn hold_against(&self, slot: usize, current: Generation, entry: Envelope, to: &mut State) {
        let call = &mut to.calls[slot];
        let alive = self.scene.tag == Tagged::No
            || (entry.generation.hard == current.hard && current.hard != 0);
        if alive && !entry.marked && entry.generation.soft == current.soft {
            if entry.version < call.floor {
                to.wrong = Wrong::Stale;
            }
            *call = call.over();
            return;
        }
        call.phase = Phase::Again;
        call.seen = entry.id;
        let stands_in = alive || self.rule == Rule::DeadStandsIn;
        call.stand_in = if stands_in { entry.version + 1 } else { 0 };
        call.entry = Envelope::default();
    }

    /// READ V L | token lease_ms seen.
    fn read(&self, slot: usize, from: State, next: &mut Steps<State>) {
        let call = from.calls[slot];
        if call.drawn == self.scene.draws {
            return;
        }
        let token = self.token(slot, call.drawn);
        let mut to = from;
        match self.run_read(token, call.seen, &mut to) {
            Answer::Value => {
                self.found(slot, &mut to);
                next.add(WHO[slot], "READ: {1, v}", to);
            }
            Answer::Wait => {
                let failed = to.lease == Lease::Failed && call.stand_in > 0;
                if failed && call.stand_in - 1 < call.hard_floor {
                    to.wrong = Wrong::StoodIn;
                }
                to.calls[slot] = call.over();
                next.add(WHO[slot], "READ: {3, l}: waits, or stands in", to);
            }
            Answer::Lease => {
                let id = name(slot, call.drawn);
                let taken = &mut to.calls[slot];
                taken.token = token;
                taken.drawn += 1;
                // What it loads is newer than its call. Only what may stand in is held against a floor.
                taken.floor = 0;
                if taken.stand_in == 0 {
                    taken.hard_floor = 0;
                }
                taken.seen = 0;
                taken.entry = Envelope { id, ..Envelope::default() };
                taken.phase = match (self.scene.tag, self.rule) {
                    (Tagged::No, _) | (_, Rule::GenerationAfterLoad) => Phase::Source,
                    (Tagged::Yes, _) => Phase::Tags,
                };
                next.add(WHO[slot], "READ: {2}, the lease", to);
            }
        }
        if from.faults > 0 && from.late == Late::Nothing {
            let mut to = from;
            to.faults -= 1;
            to.late = Late::Read { token, seen: call.seen };
            // A retry draws a new token: this one may still land.
            if self.rule != Rule::ReadRetriedWithItsToken {
                to.calls[slot].drawn += 1;
            }
            next.add(
                WHO[slot],
                "READ: no reply in time; asks again, and the first is still on its way",
                to,
            );
        }
    }

    fn run_read(&self, token: u8, seen: u8, to: &mut State) -> Answer {
        let told = match self.rule {
            Rule::NoSeen => seen == 0,
            _ => seen == 0 || to.value.id != seen,
        };
        if to.value.id != 0 && told {
            return Answer::Value;
        }
        if to.lease != Lease::Absent {
            return Answer::Wait;
        }
        let current = self.scene.tag == Tagged::No || to.value.generation == to.tag;
        if to.value.id != 0 && !to.value.marked && current {
            to.wrong = Wrong::Needless;
        }
        to.lease = Lease::Held(token);
        Answer::Lease
    }

    /// For every missing T, SET T nonce NX GET, and GET T, before the loader runs.
    fn tags(&self, slot: usize, mut to: State, next: &mut Steps<State>) {
        let what = if to.tag.hard != 0 {
            "GET T: notes the generation"
        } else if self.rule == Rule::LazyGeneration {
            "GET T: there is none, and leaves it so"
        } else {
            let nonce = to.calls[slot].entry.id;
            to.tag = Generation { hard: nonce, soft: nonce };
            "SET T NX GET, GET T: makes a generation and notes it"
        };
        let call = &mut to.calls[slot];
        call.entry.generation = to.tag;
        call.phase = match self.rule {
            Rule::GenerationAfterLoad => Phase::Store,
            _ => Phase::Source,
        };
        next.add(WHO[slot], what, to);
    }

    fn source(&self, slot: usize, from: State, next: &mut Steps<State>) {
        let mut to = from;
        let call = &mut to.calls[slot];
        call.entry.version = from.newest;
        (call.stand_in, call.hard_floor) = (0, 0);
        call.phase = match (self.scene.tag, self.rule) {
            (Tagged::Yes, Rule::GenerationAfterLoad) => Phase::Tags,
            _ => Phase::Store,
        };
        next.add(WHO[slot], "the loader reads the source", to);

        let mut to = from;
        let call = from.calls[slot];
        if to.lease == Lease::Held(call.token) {
            to.lease = Lease::Failed;
        }
        if call.stand_in > 0 && call.stand_in - 1 < call.hard_floor {
            to.wrong = Wrong::StoodIn;
        }
        to.calls[slot] = call.over();
        next.add(WHO[slot], "the loader fails: FAIL, and what is stale stands in", to);
    }

    fn store(&self, slot: usize, from: State, next: &mut Steps<State>) {
        let Call { token, mut entry, lost, .. } = from.calls[slot];
        let mut to = from;
        to.calls[slot] = to.calls[slot].over();
        if self.scene.tag == Tagged::Yes && entry.generation.hard == 0 {
            // Only a generation that is made lazily is missing here.
            if to.tag.hard == 0 {
                to.tag = Generation { hard: entry.id, soft: entry.id };
            }
            entry.generation = to.tag;
        }
        let stored = to.lease == Lease::Held(token);
        match self.rule {
            Rule::PollAndLock => {
                to.value = entry;
                to.lease = Lease::Absent;
            }
            Rule::OwnedLock => {
                to.value = entry;
                if stored {
                    to.lease = Lease::Absent;
                }
            }
            _ => to.store(token, entry),
        }
        let stored = stored || to.value == entry;
        self.late_store(stored && lost, &mut to);
        next.add(WHO[slot], if stored { "STORE: 1" } else { "STORE: 0, refused" }, to);
        if from.faults > 0 && from.late == Late::Nothing {
            let mut to = from;
            to.faults -= 1;
            to.calls[slot] = to.calls[slot].over();
            to.late = Late::Store { token, entry, lost };
            next.add(WHO[slot], "STORE: no reply in time, it is still on its way", to);
        }
    }

    fn late_store(&self, late: bool, to: &mut State) {
        if late && self.sees == Sees::Stores {
            to.wrong = Wrong::LateStore;
        }
    }

    fn token(&self, slot: usize, drawn: u8) -> u8 {
        match self.rule {
            Rule::TokenPerClient => 100 + u8::from(slot == 2),
            _ => name(slot, drawn),
        }
    }

    /// What nobody waits for any more lands.
    pub(super) fn wire(&self, from: &State, next: &mut Steps<State>) {
        let mut to = State { late: Late::Nothing, ..*from };
        match from.late {
            Late::Nothing => {}
            Late::Read { token, seen } => {
                let _nobody = self.run_read(token, seen, &mut to);
                next.add("the wire", "the late READ lands", to);
            }
            Late::Store { token, entry, lost } => {
                let stores = to.lease == Lease::Held(token);
                to.store(token, entry);
                self.late_store(stores && lost, &mut to);
                next.add("the wire", "the late STORE lands", to);
            }
            Late::End(kind) => {
                self.run_end(kind, 9, &mut to);
                next.add("the wire", "the late copy of the end lands", to);
            }
            Late::Put(put) => {
                self.run_put(usize::from(put), &mut to);
                next.add("the wire", "the late PUT lands", to);
            }
        }
    }
}

/// Names one load; also the envelope and the nonce it makes.
fn name(slot: usize, drawn: u8) -> u8 {
    1 + slot as u8 * 10 + drawn
}
