//! What a state of this world is.

/// V, or what a call read of it. An id of 0: there is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Envelope {
    /// Of the source, when the load asked it.
    pub(super) version: u8,
    pub(super) id: u8,
    pub(super) generation: Generation,
    /// Bit 7 of the flags: soft-expired.
    pub(super) marked: bool,
}

/// T, or what an envelope carries of it. A hard half of 0: there is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Generation {
    pub(super) hard: u8,
    pub(super) soft: u8,
}

/// L.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Lease {
    #[default]
    Absent,
    /// `T` and a token.
    Held(u8),
    /// `E`: the source failed.
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Phase {
    #[default]
    Idle,
    /// Read T; V comes next. Only where the order was not kept.
    TagFirst,
    /// Read V; T comes next.
    Judge,
    /// Rejected an envelope; READ(seen) comes next.
    Again,
    /// Has the lease; sees to T.
    Tags,
    /// Has the lease; the source comes next.
    Source,
    /// Has the value; STORE comes next.
    Store,
}

/// A call, and its load.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Call {
    pub(super) phase: Phase,
    /// What was confirmed when the call began: it may not be served older from far.
    pub(super) floor: u8,
    /// The same of what may not even stand in when the source fails.
    pub(super) hard_floor: u8,
    /// What was read, or what is being made.
    pub(super) entry: Envelope,
    /// The id of the envelope that was rejected.
    pub(super) seen: u8,
    /// The version of a soft-expired envelope, plus one.
    pub(super) stand_in: u8,
    pub(super) token: u8,
    /// L has held something else than its token since it was granted.
    pub(super) lost: bool,
    /// How many tokens were drawn here so far.
    pub(super) drawn: u8,
}

impl Call {
    /// Over; what is left is what may not happen twice.
    pub(super) fn over(self) -> Self {
        Self { drawn: self.drawn, ..Self::default() }
    }
}

/// How an entry is ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Kind {
    #[default]
    Key,
    Tag,
    Expire,
    ExpireTag,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Progress {
    #[default]
    NotBegun,
    /// Committed to the database as this version; the cache is not told yet.
    Committed(u8),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct End {
    pub(super) kind: Kind,
    pub(super) progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Put {
    pub(super) over: bool,
    /// The version that this value became when PUT ran first; 0: not yet.
    pub(super) version: u8,
}

/// A command that nobody waits for any more, and that lands some time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Late {
    #[default]
    Nothing,
    Read {
        token: u8,
        seen: u8,
    },
    Store {
        token: u8,
        entry: Envelope,
        lost: bool,
    },
    End(Kind),
    Put(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Wrong {
    #[default]
    Nothing,
    Stale,
    StoodIn,
    Needless,
    LateStore,
}

impl Wrong {
    pub(super) fn promise(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Stale => Some(
                "G1: a call is served from far what was loaded before an end that was Ok before the call",
            ),
            Self::StoodIn => Some("what was hard-invalidated never stands in"),
            Self::LateStore => {
                Some("G5, I1: a store succeeds only if L held its token from grant to store")
            }
            Self::Needless => Some("G3: one load per key and invalidation (a good V was there)"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct State {
    /// The newest version that is committed, in the database or by a put.
    pub(super) newest: u8,
    /// The newest version whose end was confirmed.
    pub(super) floor: u8,
    pub(super) hard_floor: u8,
    pub(super) value: Envelope,
    pub(super) lease: Lease,
    pub(super) tag: Generation,
    pub(super) calls: [Call; 3],
    pub(super) ends: [End; 3],
    pub(super) puts: [Put; 2],
    pub(super) late: Late,
    pub(super) faults: u8,
    pub(super) wrong: Wrong,
}

impl State {
    /// Whether a load, or what it sent, may still store with this token.
    pub(super) fn uses(&self, token: u8) -> bool {
        let loads = matches!(self.late, Late::Store { token: late, .. } if late == token);
        loads || self.calls.iter().any(|call| call.token == token)
    }

    /// `fin('')`, where no guards are: a lease and a record of failure go.
    pub(super) fn fin(&mut self) {
        self.lease = Lease::Absent;
    }

    /// `STORE V L | token envelope`.
    pub(super) fn store(&mut self, token: u8, entry: Envelope) {
        if self.lease == Lease::Held(token) {
            self.value = entry;
            self.lease = Lease::Absent;
        }
    }

    /// Takes note of leases that are lost. Called after every step.
    pub(super) fn note_lost(&mut self) {
        let lease = self.lease;
        for call in &mut self.calls {
            let leads = matches!(call.phase, Phase::Tags | Phase::Source | Phase::Store);
            call.lost |= leads && lease != Lease::Held(call.token);
        }
        if let Late::Store { token, lost, .. } = &mut self.late {
            *lost |= lease != Lease::Held(*token);
        }
    }
}
