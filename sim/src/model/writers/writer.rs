//! write-through(K, value), step by step.

use super::super::search::Steps;
use super::server::{Late, State, Step, Writer};
use super::{Rule, Tagged, Writers};

const WHO: [&str; 2] = ["writer 1", "writer 2"];

impl Writers {
    pub(super) fn writer(&self, at: usize, from: State, next: &mut Steps<State>) {
        let writer = from.writers[at];
        // They are alike: the second never begins before the first.
        if at > 0 && writer.phase == Step::Tags && from.writers[at - 1].phase == Step::Tags {
            return;
        }
        match writer.phase {
            Step::Tags => {
                let mut to = from;
                if self.scene.tag == Tagged::Yes && self.rule != Rule::GenerationAfterCommit {
                    to.writers[at].generation = to.see_to_tag(50 + at as u8);
                }
                to.writers[at].phase = Step::Guard;
                next.add(WHO[at], "begins: reads or makes T", to);
            }
            Step::Guard => self.guard(at, from, next),
            Step::Sink => self.sink(at, from, next),
            Step::Finish => self.finish(at, from, next),
            Step::End => {
                let mut to = from;
                self.run_end(Some(token(at, writer)), &mut to);
                to.floor = to.floor.max(writer.version);
                to.writers[at] = Writer { phase: Step::Done, ..Writer::default() };
                next.add(WHO[at], "END token: acknowledged", to);
            }
            Step::EndEntry => self.end_entry(at, Step::Left, from, next),
            Step::EndEntryEarly => {
                self.end_entry(at, Step::LeftEarly, from, next);
                self.late_commit(at, Step::EndEntry, from, next);
            }
            Step::LeftEarly => self.late_commit(at, Step::Left, from, next),
            Step::Left | Step::Done => {}
        }
    }

    fn guard(&self, at: usize, from: State, next: &mut Steps<State>) {
        let token = token(at, from.writers[at]);
        let mut to = from;
        self.run_guard(token, &mut to);
        to.writers[at].is_guarded = true;
        to.writers[at].phase = Step::Sink;
        next.add(WHO[at], "GUARD: 1", to);
        let again =
            matches!(self.rule, Rule::GuardRetriedWithItsToken | Rule::BothRetriedWithTheirToken);
        let mut to = from;
        if from.faults > 0 && from.writers[at].draw == 0 && to.leave(Late::Guard(token)) {
            if !again {
                to.writers[at].draw = 1;
            }
            next.add(
                WHO[at],
                "GUARD: no reply in time; asks again, the first is still on its way",
                to,
            );
        }
    }

    fn sink(&self, at: usize, from: State, next: &mut Steps<State>) {
        let mut committed = from;
        committed.newest += 1;
        let writer = &mut committed.writers[at];
        writer.version = committed.newest;
        // Whatever becomes of the writer: under its guard it leaves nothing stale.
        if writer.is_guarded {
            committed.floor = committed.newest;
        }
        writer.is_guarded = false;

        let mut to = committed;
        to.writers[at].phase = Step::Finish;
        next.add(WHO[at], "the sink commits", to);
        let mut to = committed;
        to.writers[at].phase = Step::EndEntry;
        next.add(WHO[at], "the sink commits, and its answer is lost", to);
        let mut to = from;
        to.writers[at].phase = Step::End;
        to.writers[at].is_guarded = false;
        next.add(WHO[at], "the sink fails: not written", to);
        let mut to = from;
        to.writers[at].phase = Step::EndEntryEarly;
        next.add(WHO[at], "the sink fails, and its statement goes on", to);
    }

    /// The end of one who does not know: its guard is left to its deadline.
    fn end_entry(&self, at: usize, then: Step, from: State, next: &mut Steps<State>) {
        let writer = from.writers[at];
        let mut to = from;
        let (token, what) = match self.rule {
            Rule::FailedSinkEndsItsGuard => (Some(token(at, writer)), "END token: acknowledged"),
            _ => (None, "END, and the guard is left: acknowledged"),
        };
        self.run_end(token, &mut to);
        to.floor = to.floor.max(writer.version);
        to.writers[at].phase = then;
        to.writers[at].version = 0;
        next.add(WHO[at], what, to);
    }

    /// The statement of a sink that has failed commits: nobody hears of it. Once the guard's deadline has passed it
    /// is promised nothing.
    fn late_commit(&self, at: usize, then: Step, from: State, next: &mut Steps<State>) {
        let mut to = from;
        to.newest += 1;
        let writer = &mut to.writers[at];
        writer.phase = then;
        if then == Step::EndEntry {
            writer.version = to.newest;
        }
        if writer.is_guarded || self.rule == Rule::LateCommitIsPromised {
            to.floor = to.newest;
        }
        writer.is_guarded = false;
        next.add(WHO[at], "what the sink had begun commits", to);
    }

    fn finish(&self, at: usize, from: State, next: &mut Steps<State>) {
        let writer = from.writers[at];
        let token = token(at, writer);
        let mut to = from;
        let generation = match (self.scene.tag, self.rule) {
            (Tagged::Yes, Rule::GenerationAfterCommit) => to.see_to_tag(50 + at as u8),
            _ => writer.generation,
        };
        let stored = self.run_finish(token, writer.version, generation, &mut to);
        to.floor = to.floor.max(writer.version);
        to.writers[at] = Writer { phase: Step::Done, ..Writer::default() };
        next.add(WHO[at], if stored { "FINISH: 1, stored" } else { "FINISH: 0" }, to);
        let mut to = from;
        let late = Late::Finish { token, version: writer.version, generation };
        if from.faults > 0 && to.leave(late) {
            let mut what = "FINISH: no reply in time, it is still on its way; will send END";
            if self.rule == Rule::BothRetriedWithTheirToken {
                what = "FINISH: no reply in time; sends it again, the first is still on its way";
            } else {
                to.writers[at].phase = Step::End;
            }
            next.add(WHO[at], what, to);
        }
    }

    /// What nobody waits for any more lands.
    pub(super) fn late(&self, from: State, next: &mut Steps<State>) {
        for at in 0..from.late.len() {
            let mut to = from;
            to.late[at] = Late::Nothing;
            // Empty places are behind the others.
            to.late[at..].rotate_left(1);
            match from.late[at] {
                Late::Nothing => {}
                Late::Guard(token) => {
                    self.run_guard(token, &mut to);
                    next.add("the wire", "the late GUARD lands", to);
                }
                Late::Finish { token, version, generation } => {
                    let _nobody = self.run_finish(token, version, generation, &mut to);
                    next.add("the wire", "the late FINISH lands", to);
                }
                Late::End => {
                    self.run_end(None, &mut to);
                    next.add("the wire", "the late END lands", to);
                }
            }
        }
    }
}

/// Two a writer.
fn token(at: usize, writer: Writer) -> u8 {
    at as u8 * 2 + writer.draw
}
