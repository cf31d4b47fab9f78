//! The process: its driver, its tasks, and what it ends itself.

use super::super::search::Steps;
use super::state::{
    Answer, Command, Message, Own, Stage, State, TASKS, Task, Value, Want, What, Wrong, pop, push,
};
use super::{Near, Rule, Tagged};

const TASK: [&str; TASKS] = ["task 1", "task 2"];
const DRIVER: &str = "the driver";
const OWN: &str = "our end";

impl Near {
    /// The driver reads one message: pushes are applied inline, replies wake their task.
    pub(super) fn drive(&self, from: &State, next: &mut Steps<State>) {
        let mut to = *from;
        let message = pop(&mut to.replies);
        let what = match message {
            Message::None => return,
            Message::Value(task, value) => {
                let task = &mut to.tasks[usize::from(task)];
                task.value = value;
                if self.tag == Tagged::No {
                    task.stage = Stage::Ready;
                }
                "reads the reply to GET V"
            }
            Message::Tag(task, tag) => {
                let task = &mut to.tasks[usize::from(task)];
                task.tag = tag;
                task.stage = Stage::Ready;
                "reads the reply to GET T"
            }
            Message::Lease(task, answer) => {
                let task = &mut to.tasks[usize::from(task)];
                match answer {
                    Answer::Value => *task = Task::default(),
                    Answer::Lease => task.stage = Stage::Granted,
                    Answer::Guarded => {
                        task.stage = Stage::Loads;
                        task.uncached = true;
                    }
                }
                "reads the reply to READ"
            }
            Message::Stored(task, stored) => {
                let task = &mut to.tasks[usize::from(task)];
                task.stage = if stored { Stage::Stored } else { Stage::Refused };
                "reads the reply to STORE"
            }
            pushed if self.rule == Rule::PushesThroughChannel => {
                if !push(&mut to.channel, pushed) {
                    return;
                }
                "reads a push, and hands it to a channel"
            }
            pushed => {
                self.apply(pushed, &mut to);
                match pushed {
                    Message::ValuePushed => "applies the push on V",
                    Message::TagPushed => "applies the push on T",
                    Message::LeasePushed => "applies the push on L",
                    _ => "applies the null push",
                }
            }
        };
        next.add(DRIVER, what, to);
    }

    /// Only where a rule is broken: another task applies what the driver read.
    pub(super) fn channel(&self, from: &State, next: &mut Steps<State>) {
        if from.channel[0] != Message::None {
            let mut to = *from;
            let pushed = pop(&mut to.channel);
            self.apply(pushed, &mut to);
            next.add("the channel", "applies a push", to);
        }
    }

    fn apply(&self, pushed: Message, to: &mut State) {
        let everything = pushed == Message::AllPushed && self.rule != Rule::NullPushIgnored;
        if pushed == Message::ValuePushed || everything {
            to.near = Value::default();
            to.bump_stripe();
        }
        let ends_tag = pushed == Message::TagPushed || everything;
        if ends_tag && (to.cell != 0 || self.rule != Rule::EmptyCellNotBumped) {
            to.end_cell(0);
        }
        if matches!(pushed, Message::ValuePushed | Message::LeasePushed) || everything {
            to.tell_flights();
        }
    }

    /// Callers come.
    pub(super) fn begin(&self, from: &State, next: &mut Steps<State>) {
        let Some(at) = from.tasks.iter().position(|task| task.want == Want::Nothing) else {
            return;
        };
        let name = at as u8;
        let mut start = |want, commands: &[Command], what, spent: fn(&mut State)| {
            let mut to = *from;
            spent(&mut to);
            let stage = if commands.is_empty() { Stage::Granted } else { Stage::Sent };
            to.tasks[at] = Task { want, stage, ..Task::default() };
            if commands.iter().all(|command| push(&mut to.requests, *command)) {
                next.add(TASK[at], what, to);
            }
        };
        if from.looks > 0 {
            match self.tag {
                Tagged::Yes => {
                    let both = [Command::GetValue(name), Command::GetTag(name)];
                    start(Want::Both, &both, "sends GET V, GET T", |to| to.looks -= 1);
                }
                Tagged::No => {
                    let value = [Command::GetValue(name)];
                    start(Want::Both, &value, "sends GET V", |to| to.looks -= 1);
                }
            }
            if from.near.version > 0 && from.cell == 0 && self.tag == Tagged::Yes {
                let tag = [Command::GetTag(name)];
                let what = "has the entry, an empty cell: sends GET T";
                start(Want::Tag, &tag, what, |to| to.looks -= 1);
            }
        }
        if from.lengthens > 0 && from.cell != 0 {
            let both = [Command::PexpireTag, Command::GetTag(name)];
            let what = "sends PEXPIRE T GT, GET T";
            match self.rule {
                Rule::OwnPexpireNotReread => {
                    let what = "sends PEXPIRE T GT";
                    start(Want::Lengthen, &both[..1], what, |to| to.lengthens -= 1);
                }
                Rule::CellKeptUnderOwnWrite => {
                    start(Want::Lengthen, &both, what, |to| to.lengthens -= 1);
                }
                // Sending it is another step: somebody may read T in between.
                _ => {
                    let what = "is about to send PEXPIRE T GT, GET T: empties the cell";
                    start(Want::Lengthen, &[], what, |to| {
                        to.lengthens -= 1;
                        to.unsettle();
                    });
                }
            }
        }
        if from.loads > 0 {
            let read = [Command::Read(name)];
            start(Want::Load, &read, "opens a flight, sends READ", |to| to.loads -= 1);
        }
    }

    pub(super) fn task(&self, at: usize, from: &State, next: &mut Steps<State>) {
        let task = from.tasks[at];
        let mut to = *from;
        match (task.want, task.stage) {
            (Want::Both, Stage::Ready) => {
                let alive = self.tag == Tagged::No || task.value.generation == task.tag;
                let unmoved = !task.stripe_moved || self.rule == Rule::NoEpochCheck;
                if alive && task.value.version > 0 && unmoved {
                    to.near = task.value;
                }
                self.fill(at, &mut to);
                to.tasks[at] = Task::default();
                next.add(TASK[at], "keeps near what it read, if its epochs stand", to);
            }
            (Want::Tag | Want::Lengthen, Stage::Ready) => {
                self.fill(at, &mut to);
                to.tasks[at] = Task::default();
                next.add(TASK[at], "fills the cell, if its epoch stands", to);
            }
            (Want::Lengthen, Stage::Granted) => {
                to.tasks[at].stage = Stage::Sent;
                let name = at as u8;
                if push(&mut to.requests, Command::PexpireTag)
                    && push(&mut to.requests, Command::GetTag(name))
                {
                    next.add(TASK[at], "sends PEXPIRE T GT, GET T", to);
                }
            }
            // Without the GET there is no reply to wait for.
            (Want::Lengthen, Stage::Sent) if self.rule == Rule::OwnPexpireNotReread => {
                to.tasks[at] = Task::default();
                next.add(TASK[at], "goes on", to);
            }
            (Want::Load, _) => self.load(at, from, next),
            _ => {}
        }
    }

    fn load(&self, at: usize, from: &State, next: &mut Steps<State>) {
        let task = from.tasks[at];
        let name = at as u8;
        let mut to = *from;
        let load = &mut to.tasks[at];
        match task.stage {
            Stage::Granted if self.tag == Tagged::No => {
                load.stage = Stage::Loads;
                next.add(TASK[at], "has the lease", to);
            }
            Stage::Granted => {
                to.unsettle();
                let load = &mut to.tasks[at];
                load.stage = Stage::Sent;
                load.cell_moved = false;
                load.makes += 1;
                let reread = self.rule != Rule::OwnSetNotReread;
                let room = push(&mut to.requests, Command::SetTag(name))
                    && (!reread || push(&mut to.requests, Command::GetTag(name)));
                if room {
                    next.add(TASK[at], "has the lease: sends SET T NX GET, GET T", to);
                }
            }
            Stage::Ready if task.tag == 0 && task.makes == 2 => {
                self.fill(at, &mut to);
                to.tasks[at] = Task::default();
                next.add(TASK[at], "there is no T again: gives the lease up", to);
            }
            Stage::Ready if task.tag == 0 && self.rule != Rule::MissingTagTaken => {
                // It ended between the two: that nobody told us, and nobody will tell of the next end.
                load.stage = Stage::Granted;
                self.fill(at, &mut to);
                next.add(TASK[at], "there is no T: it has ended, makes one again", to);
            }
            Stage::Ready => {
                self.fill(at, &mut to);
                let load = &mut to.tasks[at];
                load.stage = Stage::Loads;
                load.value.generation = task.tag;
                next.add(TASK[at], "notes the generation, fills the cell if its epoch stands", to);
            }
            Stage::Loads if task.value.version == 0 => {
                load.value.version = from.newest + 1;
                next.add(TASK[at], "the loader reads the database", to);
            }
            Stage::Loads if task.uncached => self.land_uncached(at, from, next),
            Stage::Loads => {
                load.stage = Stage::Stores;
                to.bump_stripe();
                to.tasks[at].stripe_moved = false;
                if push(&mut to.requests, Command::Store(name)) {
                    next.add(TASK[at], "sends STORE", to);
                }
            }
            Stage::Stored | Stage::Refused => self.land(at, from, next),
            _ => {}
        }
        if task.stage == Stage::Loads && !task.renewed && !task.uncached {
            let mut to = *from;
            to.tasks[at].renewed = true;
            if push(&mut to.requests, Command::Extend) {
                next.add(TASK[at], "sends EXTEND", to);
            }
        }
        // A flight is boarded unless it was told of a change.
        if !self.is_told(task) && task.joined == 0 {
            let mut to = *from;
            to.tasks[at].joined = 1 + from.floor();
            let needs_lease = matches!(task.stage, Stage::Ready | Stage::Granted | Stage::Loads);
            if needs_lease && !task.uncached && from.is_quiet() && !from.leased {
                to.wrong = Wrong::DeadLoad;
            }
            next.add("a caller", "boards the flight", to);
        }
    }

    /// The joiners are served if the load was stored, and neither its key nor its tag has moved.
    fn land(&self, at: usize, from: &State, next: &mut Steps<State>) {
        let task = from.tasks[at];
        let mut to = *from;
        let stored = task.stage == Stage::Stored;
        let unmoved = !task.stripe_moved || self.rule == Rule::NoEpochCheck;
        if stored && unmoved {
            to.near = task.value;
        }
        let overtaken = task.tag_ended && self.rule != Rule::FlightLandsAnyway;
        let serves = stored && !task.told && !overtaken;
        if serves && task.joined > 0 && task.value.version - 1 < task.joined - 1 {
            to.wrong = Wrong::Stale;
        }
        to.tasks[at] = Task::default();
        let what = if serves {
            "lands: keeps near, serves those on board"
        } else {
            "lands: those on board ask again"
        };
        next.add(TASK[at], what, to);
    }

    fn is_told(&self, task: Task) -> bool {
        task.told && !(task.uncached && self.rule == Rule::UncachedBoardedAfterPush)
    }

    /// What was loaded beside a writer is kept nowhere; those on board are served if nothing was pushed.
    fn land_uncached(&self, at: usize, from: &State, next: &mut Steps<State>) {
        let task = from.tasks[at];
        let mut to = *from;
        if !self.is_told(task) && task.joined > 0 && task.value.version - 1 < task.joined - 1 {
            to.wrong = Wrong::Stale;
        }
        to.tasks[at] = Task::default();
        next.add(
            TASK[at],
            "lands, kept nowhere: serves those on board unless it was told of a change",
            to,
        );
    }

    /// What GET T answered, held against what is known of it.
    fn fill(&self, at: usize, to: &mut State) {
        let task = to.tasks[at];
        if task.tag == 0 && self.rule == Rule::MissingTagTaken {
            return;
        }
        let unmoved = !task.cell_moved || self.rule == Rule::CellFilledWithoutEpoch;
        // What came between an own write and the read behind it nobody told us: that reply counts in any case,
        // not to be believed, but to be held against what is.
        let own = task.writes_tag() && self.rule != Rule::OwnReadIgnoredWhenMoved;
        if (unmoved || own) && !to.agrees(task.tag) {
            return;
        }
        // Nothing may rest on the cell until the read behind an own write has come back.
        let beside = to.writes_beside(at) && self.rule != Rule::FilledBesideOwnWrite;
        if unmoved && !beside {
            to.cell = task.tag;
        }
    }

    /// invalidate, invalidate_tag: forget, send, forget again after the reply, Ok.
    pub(super) fn own_end(&self, from: &State, next: &mut Steps<State>) {
        match from.own {
            Own::NotBegun => {
                for what in [What::Key, What::Tag] {
                    if what == What::Tag && self.tag == Tagged::No {
                        continue;
                    }
                    let mut to = *from;
                    to.newest += 1;
                    to.own = Own::Sent(to.newest);
                    to.own_what = what;
                    self.forget(what, &mut to);
                    let said = match what {
                        What::Key => "commits; forgets the key, sends END",
                        What::Tag => "commits; empties the cell, will send UNLINK T",
                    };
                    next.add(OWN, said, to);
                }
            }
            Own::Sent(version)
                if self.rule == Rule::TagEndOnTracked && from.own_what == What::Tag =>
            {
                let mut to = State { own: Own::Tracked(version), ..*from };
                if push(&mut to.requests, Command::UnlinkTag) {
                    next.add(OWN, "its UNLINK T goes on the tracked connection", to);
                }
            }
            Own::Sent(_) | Own::Tracked(_) | Own::Done => {}
            Own::Ran(_) if self.rule == Rule::TagEndOnTracked && from.own_what == What::Tag => {
                let to = State { own: Own::Done, own_what: What::Key, ..*from };
                next.add(OWN, "its caller was dropped: nobody reads the reply", to);
            }
            Own::Ran(version) => {
                let mut to = *from;
                let once = match from.own_what {
                    What::Key => self.rule == Rule::KeyForgottenBeforeOnly,
                    What::Tag => self.rule == Rule::CellBumpedBeforeOnly,
                };
                if !once {
                    self.forget(from.own_what, &mut to);
                }
                to.own_ok = version;
                to.own = Own::Done;
                to.own_what = What::Key;
                next.add(OWN, "the reply comes: forgets again, Ok", to);
            }
        }
    }

    fn forget(&self, what: What, to: &mut State) {
        match what {
            What::Key => {
                to.near = Value::default();
                to.bump_stripe();
                to.tell_flights();
            }
            What::Tag if self.rule == Rule::OwnCellNotBumped => {}
            What::Tag => to.end_cell(0),
        }
    }

    /// The tracked connection breaks: what it carried is lost, and so is what it would have told us.
    pub(super) fn disconnect(&self, from: &State, next: &mut Steps<State>) {
        if from.faults == 0 {
            return;
        }
        let mut to = State { faults: from.faults - 1, ..*from };
        // Those that wait for a reply get an error; what was answered is still with its task.
        for task in &mut to.tasks {
            if matches!(task.stage, Stage::Sent | Stage::Stores) {
                *task = Task::default();
            }
        }
        to.requests = Default::default();
        to.replies = Default::default();
        (to.tracks_value, to.tracks_tag, to.tracks_lease) = (false, false, false);
        if self.rule != Rule::DisconnectNotBumped {
            to.bump_stripe();
            to.end_cell(0);
        }
        to.tell_flights();
        to.near = Value::default();
        to.cell = 0;
        if to.own_what == What::Tag && self.rule == Rule::TagEndOnTracked {
            return;
        }
        next.add(DRIVER, "the connection breaks: forgets everything, begins anew", to);
    }
}
