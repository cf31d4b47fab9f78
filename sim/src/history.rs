//! What happened, in the order in which it happened: for the checker, and for people.
//!
//! Everything runs on one thread, so the order is total, and each line's place in it is its time for the
//! checker. The milliseconds are those of the paused clock.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder::{ErrorKind, Origin};
use tokio::time::Instant;

/// Something the source knows.
pub(crate) type Thing = usize;
/// One load, or one value that was put: the number of its line.
pub(crate) type Birth = usize;
/// One call: the number of its line.
pub(crate) type Call = usize;

/// One process' life. After a crash a new one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Life {
    pub(crate) process: usize,
    pub(crate) number: usize,
}

/// What can be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ended {
    Thing(Thing),
    Tag(usize),
    User(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Load(Thing),
    LoadMany(Vec<Thing>),
    Get(Thing),
    GetNear(Thing),
    Lease(Thing),
    Put(Thing, Birth),
    End(Vec<Ended>),
    /// Softly: what was there may stand in for a source that fails.
    Expire(Vec<Ended>),
    /// A guard, a commit, and its end.
    Guard(Thing),
    /// A write through the cache, of this value: it is born when the sink commits it.
    Write(Thing, Birth),
    Sync,
    Settled,
}

/// A value that a caller was given, or that the server was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Value {
    pub(crate) birth: Birth,
    pub(crate) thing: Thing,
    pub(crate) version: u64,
}

/// The answer of one call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Said {
    Value(Value, From),
    /// A value that is past its time, and said to be.
    Stale(Value, From),
    Nothing,
    Done,
    Refused,
    Failed(Why),
    /// Each of many, in the order asked.
    Each(Vec<Said>),
    /// The caller went away.
    Dropped,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum From {
    Near,
    Far,
    Loaded,
    /// One of many: any of the above.
    Somewhere,
}

impl From {
    pub(crate) fn of(origin: Origin) -> From {
        match origin {
            Origin::Near => From::Near,
            Origin::Far => From::Far,
            _ => From::Loaded,
        }
    }
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Why {
    Source,
    Deadline,
    Unconfirmed,
    Far,
    Closed,
    Other,
}

impl Why {
    pub(crate) fn of(kind: ErrorKind) -> Why {
        match kind {
            ErrorKind::Source => Why::Source,
            ErrorKind::Deadline => Why::Deadline,
            ErrorKind::Unconfirmed => Why::Unconfirmed,
            ErrorKind::Far => Why::Far,
            ErrorKind::Closed => Why::Closed,
            _ => Why::Other,
        }
    }
}

/// What was written on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Written {
    Value(Value),
    /// The same, marked as ended softly.
    Marked(Value),
    Lease,
    Failure,
    Guards,
    Generation,
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Starts(Life),
    /// At a stroke, or by `close`.
    Stops(Life, Stop),
    Begins(Life, Op),
    Ends(Call, Said),
    /// The source was asked for a thing, as this call's loader.
    Asked {
        life: Life,
        call: Call,
        thing: Thing,
    },
    /// A value to be put or written has been thought of.
    Thought {
        life: Life,
        thing: Thing,
    },
    /// What the source said: a version, or that it could not.
    Answered(Birth, Option<u64>),
    /// The tags that a load told of itself.
    Told(Birth, usize),
    /// The guard of this call is open.
    Guarded(Call),
    /// What it was for is committed.
    Committed(Call),
    /// Every end that a process had not seen confirmed is confirmed now.
    Confirmed(Life),
    Written {
        what: Written,
        keep_ms: u64,
    },
    Fault(Fault),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stop {
    Crash,
    Close,
}

/// What befell the server, or a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    Restart,
    /// What is there now is there again after a fall.
    Snapshot,
    /// Back to what there was when the last snapshot was taken.
    Fall,
    Away,
    Back,
    Flush,
    Evict(String),
    Jump(i64),
    Pause(Life),
    Resume(Life),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    pub(crate) at_ms: u64,
    pub(crate) what: What,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7} ms  {:?}", self.at_ms, self.what)
    }
}

/// Everything that happened under one seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History(pub(crate) Vec<Line>);

impl History {
    /// The same for the same history, in any process built by the same compiler.
    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }
}

/// Where it is written down.
#[derive(Clone)]
pub(crate) struct Pen {
    history: Arc<Mutex<History>>,
    began: Instant,
}

impl Pen {
    pub(crate) fn new() -> Pen {
        Pen { history: Arc::default(), began: Instant::now() }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        // One thread: a panic that poisoned it has been told already.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line, and gives its number.
    pub(crate) fn note(&self, what: What) -> usize {
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut history = self.history();
        history.0.push(Line { at_ms, what });
        history.0.len() - 1
    }

    pub(crate) fn take(&self) -> History {
        std::mem::take(&mut *self.history())
    }
}
