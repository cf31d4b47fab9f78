//! The server: what a command does, and whom it tells. Tracking is per key, and ends with the push that it
//! causes; a write on the tracked connection itself ends it without one (NOLOOP).

use super::super::search::Steps;
use super::state::{Answer, Command, Message, Own, State, Value, What, Writer, pop, push};
use super::{Near, Rule, Tagged};

const FLEET: &str = "the fleet";
const SERVER: &str = "the server";

impl Near {
    /// The next command of the tracked connection runs.
    pub(super) fn run(&self, from: &State, next: &mut Steps<State>) {
        let mut to = *from;
        let command = pop(&mut to.requests);
        let mut room = true;
        let what = match command {
            Command::None => return,
            Command::GetValue(task) => {
                to.tracks_value = true;
                room = push(&mut to.replies, Message::Value(task, from.value));
                "runs GET V"
            }
            Command::GetTag(task) => {
                to.tracks_tag = true;
                room = push(&mut to.replies, Message::Tag(task, from.tag));
                "runs GET T"
            }
            Command::SetTag(task) => {
                if to.tag == 0 {
                    to.tag = 10 * from.tasks[usize::from(task)].makes;
                    to.tracks_tag = false;
                }
                if self.rule == Rule::OwnSetNotReread {
                    // Its GET told what was there, or that the nonce is.
                    room = push(&mut to.replies, Message::Tag(task, to.tag));
                }
                "runs SET T NX GET"
            }
            Command::PexpireTag => {
                if to.tag != 0 {
                    to.tracks_tag = false;
                }
                "runs PEXPIRE T GT"
            }
            Command::Read(task) => {
                let dead = self.tag == Tagged::Yes && from.value.generation != from.tag;
                let (answer, said) = if from.value.version > 0 && !dead {
                    (Answer::Value, "runs READ: {1, v}")
                } else if from.is_guarded() {
                    to.tracks_lease = true;
                    (Answer::Guarded, "runs READ: {3, l}, guards")
                } else {
                    to.leased = true;
                    to.tracks_lease = self.rule != Rule::GrantNotReread;
                    (Answer::Lease, "runs READ: {2}, the lease")
                };
                room = push(&mut to.replies, Message::Lease(task, answer));
                said
            }
            Command::Extend => {
                if to.leased {
                    to.tracks_lease = self.rule != Rule::ExtendNotReread;
                }
                "runs EXTEND"
            }
            Command::Store(task) => {
                let stored = from.leased;
                if stored {
                    to.value = from.tasks[usize::from(task)].value;
                    to.leased = false;
                    to.tracks_lease = false;
                    to.tracks_value = self.rule != Rule::StoreNotReread;
                }
                room = push(&mut to.replies, Message::Stored(task, stored));
                if stored { "runs STORE: 1" } else { "runs STORE: 0" }
            }
            Command::UnlinkTag => {
                // On the tracked connection NOLOOP swallows its push.
                if let Own::Tracked(version) = to.own {
                    to.ended = to.ended.max(version);
                    to.own = Own::Ran(version);
                }
                to.tag = 0;
                to.tracks_tag = false;
                "runs UNLINK T, of the tracked connection"
            }
        };
        if room {
            next.add(SERVER, what, to);
        }
    }

    /// Our own end, on the connection that is not tracked.
    pub(super) fn run_own_end(&self, from: &State, next: &mut Steps<State>) {
        let Own::Sent(version) = from.own else { return };
        if from.own_what == What::Tag && self.rule == Rule::TagEndOnTracked {
            return;
        }
        let mut to = *from;
        to.ended = to.ended.max(version);
        to.own = Own::Ran(version);
        let what = match from.own_what {
            What::Key => "runs our END",
            What::Tag => "runs our UNLINK T",
        };
        if end(from.own_what, &mut to) {
            next.add(SERVER, what, to);
        }
    }

    /// What other processes do, and what the server does on its own.
    pub(super) fn others(&self, from: &State, next: &mut Steps<State>) {
        if from.foreign_ends > 0 {
            for what in [What::Key, What::Tag] {
                if what == What::Tag && self.tag == Tagged::No {
                    continue;
                }
                let mut to = *from;
                to.foreign_ends -= 1;
                to.newest += 1;
                to.ended = to.newest;
                let said = match what {
                    What::Key => "commits, invalidates the key: END runs",
                    What::Tag => "commits, invalidates the tag: UNLINK T runs",
                };
                if end(what, &mut to) {
                    next.add(FLEET, said, to);
                }
            }
        }
        let dead = self.tag == Tagged::Yes && from.value.generation != from.tag;
        let free = !from.leased && !from.is_guarded();
        if from.foreign_stores > 0 && free && (from.value.version == 0 || dead) {
            let mut to = *from;
            let mut room = true;
            if self.tag == Tagged::Yes && to.tag == 0 {
                to.tag = 1 + to.foreign_stores;
                room &= tell(&mut to.replies, &mut to.tracks_tag, Message::TagPushed);
            }
            to.foreign_stores -= 1;
            to.value = Value { version: to.newest + 1, generation: to.tag };
            room &= tell(&mut to.replies, &mut to.tracks_value, Message::ValuePushed);
            if room {
                next.add(FLEET, "loads and stores V", to);
            }
        }
        if self.writer {
            write(from, next);
        }
        if from.faults > 0 {
            self.faults(from, next);
        }
    }

    fn faults(&self, from: &State, next: &mut Steps<State>) {
        let fault = State { faults: from.faults - 1, ..*from };
        let mut to = State { value: Value::default(), tag: 0, leased: false, ..fault };
        (to.tracks_value, to.tracks_tag, to.tracks_lease) = (false, false, false);
        if push(&mut to.replies, Message::AllPushed) {
            next.add(SERVER, "FLUSHALL", to);
        }
        let mut to = fault;
        if from.tag != 0 {
            to.tag = 0;
            if tell(&mut to.replies, &mut to.tracks_tag, Message::TagPushed) {
                next.add(SERVER, "T is evicted", to);
            }
        }
        let mut to = fault;
        if from.leased {
            to.leased = false;
            if tell(&mut to.replies, &mut to.tracks_lease, Message::LeasePushed) {
                next.add(SERVER, "L expires", to);
            }
        }
    }
}

/// Another process writes through: GUARD, its sink, FINISH.
fn write(from: &State, next: &mut Steps<State>) {
    let mut to = *from;
    let mut room = true;
    if to.value.version > 0 && from.writer != Writer::Done {
        room &= tell(&mut to.replies, &mut to.tracks_value, Message::ValuePushed);
    }
    let what = match from.writer {
        Writer::NotBegun => {
            if to.leased {
                room &= tell(&mut to.replies, &mut to.tracks_lease, Message::LeasePushed);
            }
            to.value = Value::default();
            to.leased = false;
            to.writer = Writer::Guards { touched: false };
            "writes through: GUARD"
        }
        Writer::Guards { touched } => {
            to = *from;
            to.newest += 1;
            to.writer = Writer::Committed { touched, version: to.newest };
            "the sink of the write commits"
        }
        Writer::Committed { touched, version } => {
            room &= tell(&mut to.replies, &mut to.tracks_lease, Message::LeasePushed);
            to.value = Value::default();
            if !touched {
                to.value.version = version + 1;
            }
            to.ended = to.ended.max(version);
            to.writer = Writer::Done;
            "FINISH of the write"
        }
        Writer::Done => return,
    };
    if room {
        next.add(FLEET, what, to);
    }
}

/// A command of a connection that is not ours: whoever tracks the key is told.
fn end(what: What, to: &mut State) -> bool {
    let mut room = true;
    match what {
        What::Key => {
            if to.value.version > 0 {
                room &= tell(&mut to.replies, &mut to.tracks_value, Message::ValuePushed);
            }
            if to.leased || to.is_guarded() {
                room &= tell(&mut to.replies, &mut to.tracks_lease, Message::LeasePushed);
            }
            match &mut to.writer {
                Writer::Guards { touched } | Writer::Committed { touched, .. } => *touched = true,
                Writer::NotBegun | Writer::Done => {}
            }
            (to.value, to.leased) = (Value::default(), false);
        }
        What::Tag => {
            if to.tag != 0 {
                room &= tell(&mut to.replies, &mut to.tracks_tag, Message::TagPushed);
            }
            to.tag = 0;
        }
    }
    room
}

fn tell(replies: &mut [Message; 8], tracks: &mut bool, message: Message) -> bool {
    let tells = *tracks;
    *tracks = false;
    !tells || push(replies, message)
}
