//! What a state of this world is, and what the scripts do to it.

use super::{Rule, Writers};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Value {
    /// Of the database, plus one; 0: there is no V.
    pub(super) version: u8,
    pub(super) generation: u8,
}

/// The guard list in L.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct List {
    /// `!` instead of `=`.
    pub(super) touched: bool,
    /// By token.
    pub(super) items: [Item; 4],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Item {
    #[default]
    Absent,
    Live,
    /// Past its deadline, and still in the list.
    Lapsed,
}

/// L.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Lock {
    #[default]
    Absent,
    Lease(u8),
    Guards(List),
}

impl Lock {
    /// Guards, and none of a writer that is still there to remove it.
    pub(super) fn is_left_by(&self, writers: &[Writer; 2]) -> bool {
        let Self::Guards(list) = self else { return false };
        let live = |token: &usize| list.items[*token] == Item::Live;
        (0..list.items.len()).filter(live).all(|token| writers[token / 2].phase == Step::Done)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Phase {
    #[default]
    Idle,
    Source,
    Store,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Load {
    pub(super) phase: Phase,
    pub(super) version: u8,
    pub(super) generation: u8,
}

/// Where a writer is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Step {
    /// Sees to T.
    #[default]
    Tags,
    Guard,
    Sink,
    Finish,
    /// It is known what the sink did: END token until acknowledged.
    End,
    /// Not known, and nothing is under way any more: END without a token.
    EndEntry,
    /// The same, and its statement may commit yet.
    EndEntryEarly,
    /// That is ended, and its statement may commit yet.
    LeftEarly,
    /// Ended, and the guard left to its deadline.
    Left,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Writer {
    pub(super) phase: Step,
    /// 0 or 1: a retry draws the second.
    pub(super) draw: u8,
    /// Its deadline has not passed.
    pub(super) is_guarded: bool,
    /// 0: not committed.
    pub(super) version: u8,
    pub(super) generation: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Kind {
    #[default]
    Key,
    Tag,
    Expire,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Progress {
    #[default]
    NotBegun,
    Committed(u8),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct End {
    pub(super) kind: Kind,
    pub(super) progress: Progress,
}

/// A command that nobody waits for any more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Late {
    #[default]
    Nothing,
    Guard(u8),
    Finish {
        token: u8,
        version: u8,
        generation: u8,
    },
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct State {
    /// What the database holds.
    pub(super) newest: u8,
    /// The oldest version that may still be served.
    pub(super) floor: u8,
    pub(super) value: Value,
    pub(super) lock: Lock,
    /// T; 0: there is none.
    pub(super) tag: u8,
    pub(super) writers: [Writer; 2],
    pub(super) loads: [Load; 2],
    pub(super) ends: [End; 2],
    pub(super) late: [Late; 2],
    pub(super) faults: u8,
}

pub(super) const LAPSES: [&str; 4] = [
    "the deadline of writer 1's guard passes",
    "the deadline of writer 1's second guard passes",
    "the deadline of writer 2's guard passes",
    "the deadline of writer 2's second guard passes",
];

impl State {
    pub(super) fn keep(&mut self, version: u8, generation: u8) {
        self.value = Value { version: version + 1, generation };
    }

    /// Whether a load that holds this token is still to store.
    pub(super) fn may_store(&self, token: u8) -> bool {
        token > 0
            && matches!(self.loads[usize::from(token) - 1].phase, Phase::Source | Phase::Store)
    }

    /// SET T nonce NX GET, GET T.
    pub(super) fn see_to_tag(&mut self, nonce: u8) -> u8 {
        if self.tag == 0 {
            self.tag = nonce;
        }
        self.tag
    }

    /// Leaves a copy of a command on its way, at the price of a fault.
    pub(super) fn leave(&mut self, late: Late) -> bool {
        let Some(place) = self.late.iter_mut().find(|place| **place == Late::Nothing) else {
            return false;
        };
        *place = late;
        self.late.sort_unstable_by_key(|late| match late {
            Late::Nothing => 9,
            Late::Guard(token) => *token,
            Late::Finish { token, .. } => 4 + token,
            Late::End => 8,
        });
        self.faults -= 1;
        true
    }

    /// The deadline of this token passes. When it was the last, L expires.
    pub(super) fn lapse(&mut self, token: usize) -> bool {
        let Lock::Guards(mut list) = self.lock else { return false };
        if list.items[token] != Item::Live {
            return false;
        }
        let writer = &mut self.writers[token / 2];
        if usize::from(writer.draw) == token % 2 {
            writer.is_guarded = false;
        }
        list.items[token] = Item::Lapsed;
        let any = list.items.contains(&Item::Live);
        self.lock = if any { Lock::Guards(list) } else { Lock::Absent };
        true
    }
}

impl Writers {
    /// `fin(tok)`: what is not a guard goes; the guards of others stay, and are marked.
    fn fin(&self, token: Option<u8>, to: &mut State) {
        let Lock::Guards(list) = to.lock else {
            to.lock = Lock::Absent;
            return;
        };
        to.lock = list
            .without(token)
            .map_or(Lock::Absent, |rest| Lock::Guards(List { touched: true, ..rest }));
    }

    /// END V L | token.
    pub(super) fn run_end(&self, token: Option<u8>, to: &mut State) {
        to.value = Value::default();
        match self.rule {
            Rule::EndDropsGuards => to.lock = Lock::Absent,
            Rule::EndDoesNotMark => {
                let touched = matches!(to.lock, Lock::Guards(List { touched: true, .. }));
                self.fin(token, to);
                if let Lock::Guards(list) = &mut to.lock {
                    list.touched = touched;
                }
            }
            _ => self.fin(token, to),
        }
    }

    /// EXPIRE V L: a marked V is not served as fresh, so here it is gone.
    pub(super) fn run_expire(&self, to: &mut State) {
        self.fin(None, to);
        to.value = Value::default();
    }

    /// GUARD V L | token guard_ms.
    pub(super) fn run_guard(&self, token: u8, to: &mut State) {
        to.value = Value::default();
        let mut list = match to.lock {
            Lock::Guards(list) => list.without(None).unwrap_or_default(),
            _ => List::default(),
        };
        list.items[usize::from(token)] = Item::Live;
        to.lock = Lock::Guards(list);
    }

    /// FINISH V L | token envelope hard_ms. Whether it stored.
    pub(super) fn run_finish(
        &self,
        token: u8,
        version: u8,
        generation: u8,
        to: &mut State,
    ) -> bool {
        if let Lock::Guards(list) = to.lock
            && !list.touched
            && list.is_only(token)
        {
            to.keep(version, generation);
            to.lock = Lock::Absent;
            return true;
        }
        to.value = Value::default();
        match (self.rule, to.lock) {
            (Rule::FinishKeepsLease, Lock::Lease(_)) => {}
            (Rule::FinishLeavesItsGuard, _) => self.fin(None, to),
            (Rule::FinishDropsGuards, _) => to.lock = Lock::Absent,
            (Rule::FinishDoesNotMark, Lock::Guards(list)) => {
                to.lock = list.without(Some(token)).map_or(Lock::Absent, Lock::Guards);
            }
            _ => self.fin(Some(token), to),
        }
        false
    }
}

impl List {
    /// Its live items without that of `token`; none: nothing is left.
    fn without(mut self, token: Option<u8>) -> Option<Self> {
        if let Some(token) = token {
            self.items[usize::from(token)] = Item::Absent;
        }
        for item in &mut self.items {
            if *item == Item::Lapsed {
                *item = Item::Absent;
            }
        }
        self.items.contains(&Item::Live).then_some(self)
    }

    /// Exactly one item, that of `token`. Those past their deadline count, while they are there.
    fn is_only(&self, token: u8) -> bool {
        let mut there = (0..self.items.len()).filter(|at| self.items[*at] != Item::Absent);
        there.next() == Some(usize::from(token)) && there.next().is_none()
    }
}
