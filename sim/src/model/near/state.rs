//! What a state of this world is.

/// V, or a copy of it. A version of 0: there is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Value {
    /// Of the database, plus one.
    pub(super) version: u8,
    pub(super) generation: u8,
}

/// What a task of the process wants.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Want {
    #[default]
    Nothing,
    /// GET V, GET T, in this order.
    Both,
    /// T alone: the entry is near, its cell is empty.
    Tag,
    /// PEXPIRE T GT, GET T.
    Lengthen,
    /// A flight: READ, SET T NX GET, GET T, the loader, STORE.
    Load,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Stage {
    #[default]
    Sent,
    /// The last reply is here; what follows is done by the task, when it runs.
    Ready,
    /// A load that was granted the lease, and waits for T.
    Granted,
    /// A load whose loader runs.
    Loads,
    /// STORE was sent.
    Stores,
    /// STORE was answered: stored, or refused.
    Stored,
    Refused,
}

/// Something of the process that waits for replies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Task {
    pub(super) want: Want,
    pub(super) stage: Stage,
    /// The stripe's epoch is not what it was when the read (or STORE) was sent.
    pub(super) stripe_moved: bool,
    /// The cell's epoch is not what it was when T was asked for.
    pub(super) cell_moved: bool,
    pub(super) value: Value,
    /// What GET T answered.
    pub(super) tag: u8,
    /// Of a load: it was told of a change of V or L, so nobody boards it any more.
    pub(super) told: bool,
    /// Of a load: its tag has ended since it began, or may have.
    pub(super) tag_ended: bool,
    /// Of a load: L held guards, so it has no lease and is kept nowhere.
    pub(super) uncached: bool,
    /// Of a load: it has renewed its lease.
    pub(super) renewed: bool,
    /// Of a load: how often it made a generation.
    pub(super) makes: u8,
    /// Of a load: somebody boarded, who must not be given less than this (plus one). 0: nobody.
    pub(super) joined: u8,
}

impl Task {
    /// It has written T, or is about to, and the read behind it has not come back.
    pub(super) fn writes_tag(&self) -> bool {
        match self.want {
            Want::Lengthen => true,
            Want::Load => self.makes > 0 && matches!(self.stage, Stage::Sent | Stage::Ready),
            Want::Nothing | Want::Both | Want::Tag => false,
        }
    }
}

/// What the tracked connection carries to the server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Command {
    #[default]
    None,
    GetValue(u8),
    GetTag(u8),
    /// SET T nonce NX GET.
    SetTag(u8),
    PexpireTag,
    Read(u8),
    Extend,
    Store(u8),
    UnlinkTag,
}

/// What it carries back: pushes and replies, in the order in which the server made them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Message {
    #[default]
    None,
    ValuePushed,
    TagPushed,
    LeasePushed,
    AllPushed,
    Value(u8, Value),
    Tag(u8, u8),
    Lease(u8, Answer),
    Stored(u8, bool),
}

/// What READ answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Answer {
    #[default]
    Value,
    Lease,
    /// Guards: load, and keep it nowhere.
    Guarded,
}

/// Another process that writes through.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Writer {
    #[default]
    NotBegun,
    Guards {
        touched: bool,
    },
    Committed {
        touched: bool,
        version: u8,
    },
    Done,
}

/// An end by this process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Own {
    #[default]
    NotBegun,
    /// Committed as this version, forgotten once; the command is on its way.
    Sent(u8),
    /// Only where a rule is broken: it was put on the tracked connection.
    Tracked(u8),
    /// It ran.
    Ran(u8),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum What {
    #[default]
    Key,
    Tag,
}

/// A caller boarded a flight, and that was wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Wrong {
    #[default]
    Nothing,
    Stale,
    DeadLoad,
}

pub(super) const TASKS: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct State {
    // The database, and what is to be seen of it.
    pub(super) newest: u8,
    /// The newest version whose end ran on the server.
    pub(super) ended: u8,
    /// The newest version whose end returned Ok in this process.
    pub(super) own_ok: u8,

    // The server.
    pub(super) value: Value,
    pub(super) tag: u8,
    /// Our load holds the lease.
    pub(super) leased: bool,
    pub(super) writer: Writer,
    pub(super) tracks_value: bool,
    pub(super) tracks_tag: bool,
    pub(super) tracks_lease: bool,

    // The tracked connection.
    pub(super) requests: [Command; 6],
    pub(super) replies: [Message; 8],

    // The process.
    pub(super) near: Value,
    /// The generation it knows; 0: empty.
    pub(super) cell: u8,
    /// The last that was read since the last end, sure or not.
    pub(super) last: u8,
    pub(super) tasks: [Task; TASKS],
    /// Pushes that were read and not applied yet. Only where they are handed to a channel.
    pub(super) channel: [Message; 3],

    // What may still be done.
    pub(super) own: Own,
    pub(super) own_what: What,
    pub(super) looks: u8,
    pub(super) loads: u8,
    pub(super) lengthens: u8,
    pub(super) foreign_ends: u8,
    pub(super) foreign_stores: u8,
    pub(super) faults: u8,
    pub(super) wrong: Wrong,
}

/// Puts `item` at the end of a queue; false: there is no room.
pub(super) fn push<T: Default + PartialEq, const N: usize>(queue: &mut [T; N], item: T) -> bool {
    let place = queue.iter_mut().find(|place| **place == T::default());
    place.map(|place| *place = item).is_some()
}

/// Takes the first.
pub(super) fn pop<T: Default + Copy, const N: usize>(queue: &mut [T; N]) -> T {
    let first = queue[0];
    queue.rotate_left(1);
    queue[N - 1] = T::default();
    first
}

impl State {
    /// What a call that begins now may not be served less than, from near or by boarding a flight. With
    /// nothing on the wire a heartbeat that is sent now would be answered next: all changes are applied.
    pub(super) fn floor(&self) -> u8 {
        if self.is_quiet() { self.ended } else { self.own_ok }
    }

    /// Nothing is on the wire, in either direction: a read that waits would be answered before the heartbeat.
    pub(super) fn is_quiet(&self) -> bool {
        self.replies[0] == Message::None && self.requests[0] == Command::None
    }

    /// L holds the guard of another process.
    pub(super) fn is_guarded(&self) -> bool {
        matches!(self.writer, Writer::Guards { .. } | Writer::Committed { .. })
    }

    pub(super) fn bump_stripe(&mut self) {
        for task in &mut self.tasks {
            task.stripe_moved |= task.want != Want::Nothing;
        }
    }

    /// The tag has ended, or may have; `read` is what was read since.
    pub(super) fn end_cell(&mut self, read: u8) {
        (self.cell, self.last) = (0, read);
        self.bump_cell();
    }

    /// Holds what was read of T against what is known: none, or another, is an end whose push was not for us.
    /// Also when nothing is sure: a reply from before it may be with another task.
    pub(super) fn agrees(&mut self, read: u8) -> bool {
        let known = if self.cell != 0 { self.cell } else { self.last };
        if read == 0 || (known != 0 && known != read) {
            self.end_cell(read);
            return false;
        }
        if self.cell == 0 {
            self.last = read;
        }
        true
    }

    fn bump_cell(&mut self) {
        for task in &mut self.tasks {
            task.cell_moved |= task.want != Want::Nothing;
            task.tag_ended |= task.want == Want::Load;
        }
    }

    /// An own write of T is about to be sent: nothing rests on the cell until the read behind it is back.
    pub(super) fn unsettle(&mut self) {
        self.cell = 0;
        for task in &mut self.tasks {
            task.cell_moved |= task.want != Want::Nothing;
        }
    }

    /// Another task than `at` has an own write of T under way, and not yet the reply to the read behind it.
    pub(super) fn writes_beside(&self, at: usize) -> bool {
        self.tasks.iter().enumerate().any(|(other, task)| other != at && task.writes_tag())
    }

    pub(super) fn tell_flights(&mut self) {
        for task in &mut self.tasks {
            task.told |= task.want == Want::Load;
        }
    }
}
