//! Write-behind: what was written is the truth before the database has it, and no worker may lose it.
//!
//! The versions count the writes in the order in which they ran. A worker that is paused, or killed with a
//! call to the database under way, is one whose next step comes late or never.

use super::case::{Case, Depth};
use super::search::{Steps, World};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    AsWritten,
    LeaseOverSeenDespiteD,
    ReadIgnoresD,
    ReadsDBeforeClaim,
    FenceAfterGetD,
    WriteKeepsLease,
    WriteRetried,
    ClearsAnyD,
    DropsWhenNewer,
}

/// What the database does about a call that comes late.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sink {
    Plain,
    Versioned,
    Fenced,
}

/// Where one looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sees {
    /// At what a mistake comes to.
    Harm,
    /// At leases too, where some begin.
    Leases,
}

#[derive(Clone, Copy)]
struct WriteBehind {
    rule: Rule,
    sees: Sees,
    sink: Sink,
    writes: usize,
    loads: usize,
    workers: usize,
    takeovers: u8,
    /// Messages that are late.
    faults: u8,
    /// Times that everything is lost, and the stream's ids go back.
    resets: u8,
}

/// V. A version of 0: there is none; the first value of the database counts as 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Value {
    version: u8,
    /// Its tag was invalidated.
    dead: bool,
}

/// D: the token is the version. 0: there is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Pending {
    version: u8,
    id: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Database {
    version: u8,
    /// Of the stream: with versions alone.
    id: u8,
    fence: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Doing {
    #[default]
    Idle,
    Source,
    Store,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Load {
    doing: Doing,
    version: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Stage {
    #[default]
    Idle,
    /// Only where a rule is broken: D was read, the claim comes.
    Claim,
    GetD,
    /// Only where a rule is broken: D was read, the fence comes.
    Fence,
    Call,
    Rebase,
    Clear,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Worker {
    stage: Stage,
    /// Claimed entries, by the bit of their id.
    entries: u32,
    pending: Pending,
    /// 0: it may not call a sink with a fence.
    fence: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Write {
    over: bool,
    version: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct State {
    /// How many writes ran, plus one.
    newest: u8,
    /// The newest version that was acknowledged.
    acknowledged: u8,
    value: Value,
    /// The load that holds the lease, plus one.
    lease: u8,
    pending: Pending,
    /// Entries of the stream, by the bit of their id.
    queue: u32,
    last_id: u8,
    database: Database,
    loads: [Load; 2],
    workers: [Worker; 2],
    writes: [Write; 3],
    /// A WRITE that nobody waits for any more, plus one.
    late: u8,
    faults: u8,
    resets: u8,
    takeovers: u8,
}

const LOAD: [&str; 2] = ["load 1", "load 2"];
const WORKER: [&str; 2] = ["worker A", "worker B"];
const WRITE: [&str; 3] = ["write 1", "write 2", "write 3"];
const SERVER: &str = "the server";

impl World for WriteBehind {
    type State = State;

    fn start(&self) -> State {
        State {
            newest: 1,
            acknowledged: 1,
            database: Database { version: 1, ..Database::default() },
            // Above those that come after a reset: an id that went back is another id.
            last_id: 10 * self.resets,
            faults: self.faults,
            resets: self.resets,
            takeovers: self.takeovers,
            ..State::default()
        }
    }

    fn steps(&self, from: &State, next: &mut Steps<State>) {
        (0..self.writes).for_each(|write| self.write(write, *from, next));
        (0..self.loads).for_each(|load| self.load(load, *from, next));
        (0..self.workers).for_each(|worker| self.worker(worker, *from, next));
        self.server(*from, next);
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        let State { value, pending, acknowledged, .. } = *state;
        if pending.version == 0 && state.database.version < acknowledged {
            return Some(
                "no acknowledged write is lost: D is gone, and the database holds an older value",
            );
        }
        if pending.version > 0 && state.queue & bit(pending.id) == 0 {
            return Some(
                "no acknowledged write is lost: D has no entry in Q, so no worker will come for it",
            );
        }
        if self.sees == Sees::Leases && pending.version > 0 && state.lease > 0 {
            return Some("I12: D is absent whenever a lease is granted");
        }
        let alive = value.version > 0 && !value.dead;
        if alive && value.version < acknowledged {
            return Some("read your writes, order per key: V is older than an acknowledged write");
        }
        if pending.version > 0 && pending.version < acknowledged {
            return Some("order per key: D is older than an acknowledged write");
        }
        None
    }
}

fn bit(id: u8) -> u32 {
    1 << id
}

impl State {
    fn add_entry(&mut self, above: u8) -> u8 {
        self.last_id = self.last_id.max(above) + 1;
        self.queue |= bit(self.last_id);
        self.last_id
    }
}

impl WriteBehind {
    /// WRITE V L D Q | token envelope hard_ms K bound.
    fn run_write(&self, write: usize, to: &mut State) {
        if to.writes[write].version == 0 {
            to.newest += 1;
            to.writes[write].version = to.newest;
        }
        let version = to.writes[write].version;
        let id = to.add_entry(0);
        to.pending = Pending { version, id };
        to.value = Value { version, dead: false };
        if self.rule != Rule::WriteKeepsLease {
            to.lease = 0;
        }
    }

    /// Sent once: a lost reply is an error, and it may land later.
    fn write(&self, write: usize, from: State, next: &mut Steps<State>) {
        if from.writes[write].over || (write > 0 && !from.writes[write - 1].over) {
            return;
        }
        let mut to = from;
        self.run_write(write, &mut to);
        to.writes[write].over = true;
        to.acknowledged = to.writes[write].version;
        next.add(WRITE[write], "WRITE: acknowledged", to);
        if from.faults > 0 && from.late == 0 {
            let mut to = from;
            to.faults -= 1;
            to.late = write as u8 + 1;
            if self.rule == Rule::WriteRetried {
                next.add(WRITE[write], "WRITE: no reply in time; will send it again", to);
            } else {
                to.writes[write].over = true;
                next.add(WRITE[write], "WRITE: no reply in time: Err(Unconfirmed)", to);
            }
        }
    }

    /// READ V L D | token lease_ms seen, the source, STORE.
    fn load(&self, at: usize, from: State, next: &mut Steps<State>) {
        let mut to = from;
        let load = from.loads[at];
        match load.doing {
            Doing::Idle => {
                let seen = from.value.dead;
                let hidden = match self.rule {
                    Rule::ReadIgnoresD => true,
                    Rule::LeaseOverSeenDespiteD => seen,
                    _ => false,
                };
                let pending = from.pending.version > 0 && !hidden;
                let found = from.value.version > 0 && !seen;
                if !found && !pending && from.lease == 0 {
                    to.lease = at as u8 + 1;
                    to.loads[at].doing = Doing::Source;
                    let what =
                        if seen { "READ(seen): {2}, the lease" } else { "READ: {2}, the lease" };
                    next.add(LOAD[at], what, to);
                }
            }
            Doing::Source => {
                to.loads[at] = Load { doing: Doing::Store, version: from.database.version };
                next.add(LOAD[at], "the loader reads the database", to);
            }
            Doing::Store => {
                to.loads[at] = Load { doing: Doing::Done, version: 0 };
                if from.lease == at as u8 + 1 {
                    to.lease = 0;
                    to.value = Value { version: load.version, dead: false };
                    next.add(LOAD[at], "STORE: 1", to);
                } else {
                    next.add(LOAD[at], "STORE: 0, refused", to);
                }
            }
            Doing::Done => {}
        }
    }

    fn worker(&self, at: usize, from: State, next: &mut Steps<State>) {
        let worker = from.workers[at];
        let fenced = self.sink == Sink::Fenced;
        let mut to = from;
        match worker.stage {
            Stage::Idle => {
                let late_fence = self.rule == Rule::FenceAfterGetD;
                if fenced && from.takeovers > 0 && !late_fence {
                    self.set_fence(at, &mut to);
                    next.add(WORKER[at], "takes over: sets the fence", to);
                    to = from;
                }
                if from.queue == 0 || (fenced && worker.fence == 0 && !late_fence) {
                } else if self.rule == Rule::ReadsDBeforeClaim {
                    to.workers[at].pending = from.pending;
                    to.workers[at].stage = Stage::Claim;
                    next.add(WORKER[at], "GET D", to);
                } else {
                    to.workers[at].entries = from.queue;
                    to.workers[at].stage = Stage::GetD;
                    next.add(WORKER[at], "claims what is in Q", to);
                }
            }
            Stage::Claim => {
                to.workers[at].entries = from.queue;
                to.workers[at].stage = after(worker.pending);
                next.add(WORKER[at], "claims what is in Q", to);
            }
            Stage::GetD => {
                to.workers[at].pending = from.pending;
                let unfenced = self.rule == Rule::FenceAfterGetD && worker.fence == 0;
                to.workers[at].stage = if unfenced { Stage::Fence } else { after(from.pending) };
                next.add(WORKER[at], "GET D", to);
            }
            Stage::Fence => {
                if from.takeovers > 0 {
                    self.set_fence(at, &mut to);
                    to.workers[at].stage = after(worker.pending);
                    next.add(WORKER[at], "takes over: sets the fence", to);
                }
            }
            Stage::Call => self.call(at, from, next),
            Stage::Rebase => {
                // REBASE D Q | token above K
                if from.pending.version == worker.pending.version {
                    let id = to.add_entry(from.database.id);
                    to.pending.id = id;
                    to.workers[at].pending = to.pending;
                    to.workers[at].entries |= bit(id);
                    to.workers[at].stage = Stage::Call;
                    next.add(WORKER[at], "REBASE: D is still ours, flushes it again", to);
                } else {
                    to.workers[at].stage = Stage::Clear;
                    next.add(WORKER[at], "REBASE: 0, D is another: drops its own", to);
                }
            }
            Stage::Clear => {
                // CLEAR D Q | group token id entries..
                let ours = from.pending == worker.pending || self.rule == Rule::ClearsAnyD;
                if ours {
                    to.pending = Pending::default();
                }
                to.queue &= !worker.entries;
                to.workers[at] = Worker { fence: worker.fence, ..Worker::default() };
                let what =
                    if ours { "CLEAR: D goes, and the entries" } else { "CLEAR: the entries go" };
                next.add(WORKER[at], what, to);
            }
        }
    }

    fn set_fence(&self, at: usize, to: &mut State) {
        to.takeovers -= 1;
        to.database.fence += 1;
        to.workers[at].fence = to.database.fence;
    }

    /// The call lands in the database, whenever that is.
    fn call(&self, at: usize, from: State, next: &mut Steps<State>) {
        let worker = from.workers[at];
        let Pending { version, id } = worker.pending;
        let mut to = from;
        to.workers[at].stage = Stage::Clear;
        let newer = from.database.id > id;
        match self.sink {
            Sink::Versioned if newer && self.rule == Rule::DropsWhenNewer => {
                next.add(WORKER[at], "the sink: newer is stored; drops its own", to);
            }
            Sink::Versioned if newer => {
                to.workers[at].stage = Stage::Rebase;
                next.add(WORKER[at], "the sink: newer is stored", to);
            }
            Sink::Fenced if worker.fence != from.database.fence => {
                to.workers[at] = Worker::default();
                next.add(WORKER[at], "the sink: the fence is another's: stops", to);
            }
            _ => {
                to.database.version = version;
                if self.sink == Sink::Versioned {
                    to.database.id = id;
                }
                next.add(WORKER[at], "the sink stores D's value", to);
            }
        }
    }

    fn server(&self, from: State, next: &mut Steps<State>) {
        next.add(SERVER, "V expires", State { value: Value::default(), ..from });
        next.add(SERVER, "L expires, or an invalidation", State { lease: 0, ..from });
        if from.value.version > 0 {
            let mut to = from;
            to.value.dead = true;
            next.add("somebody", "invalidates the tag of V", to);
        }
        if from.late > 0 {
            let mut to = from;
            to.late = 0;
            self.run_write(usize::from(from.late) - 1, &mut to);
            next.add("the wire", "the late WRITE lands", to);
        }
        if from.resets > 0 {
            // What was not flushed is lost, and told so.
            let mut to = State { value: Value::default(), lease: 0, queue: 0, last_id: 0, ..from };
            to.resets -= 1;
            to.pending = Pending::default();
            to.acknowledged = 0;
            next.add(SERVER, "FLUSHALL; the ids of the stream begin anew, lower", to);
        }
    }
}

/// No D: CLEAR only acknowledges.
fn after(pending: Pending) -> Stage {
    if pending.version > 0 { Stage::Call } else { Stage::Clear }
}

const PLAIN: WriteBehind = WriteBehind {
    rule: Rule::AsWritten,
    sees: Sees::Leases,
    sink: Sink::Plain,
    writes: 3,
    loads: 2,
    workers: 1,
    takeovers: 0,
    faults: 1,
    resets: 0,
};
const VERSIONED: WriteBehind = WriteBehind { sink: Sink::Versioned, workers: 2, loads: 1, ..PLAIN };
const FENCED: WriteBehind =
    WriteBehind { sink: Sink::Fenced, workers: 2, takeovers: 3, loads: 0, faults: 0, ..PLAIN };
const RESET: WriteBehind = WriteBehind { sink: Sink::Versioned, resets: 1, ..PLAIN };

pub(crate) fn cases(depth: Depth) -> Vec<Case> {
    let holds = |name, world| Case::holds("write_behind", name, world);
    let fails = |name, rule, scene: WriteBehind, breaks| {
        Case::fails("write_behind", name, breaks, WriteBehind { rule, sees: Sees::Harm, ..scene })
    };
    let mut cases = vec![
        holds("plain sink, one worker", PLAIN),
        holds("sink with versions, two workers", VERSIONED),
        holds("sink with a fence, two workers", FENCED),
        holds("sink with versions, the ids go back", RESET),
        fails(
            "two workers on a plain sink",
            Rule::AsWritten,
            WriteBehind { workers: 2, loads: 0, faults: 0, ..PLAIN },
            "Plain sink: the same only while one worker at a time can reach the database",
        ),
        fails(
            "limit: the ids go back under a paused worker",
            Rule::AsWritten,
            WriteBehind { workers: 2, loads: 0, faults: 0, ..RESET },
            "nothing: a call with an id from before the loss lands over a write from after it (docs/the-model.md)",
        ),
        fails(
            "READ(seen) while D exists",
            Rule::LeaseOverSeenDespiteD,
            PLAIN,
            "No lease while D exists, `seen` or not",
        ),
        fails(
            "READ ignores D",
            Rule::ReadIgnoresD,
            PLAIN,
            "READ V L D: d = GET D; if d: return {4, d}",
        ),
        Case::fails(
            "write_behind",
            "READ ignores D: a lease beside D",
            "I12: D is absent whenever a lease is granted",
            WriteBehind { rule: Rule::ReadIgnoresD, ..PLAIN },
        ),
        fails(
            "D read before the claim",
            Rule::ReadsDBeforeClaim,
            PLAIN,
            "Worker: claim entries FIRST, then GET D",
        ),
        fails(
            "fence set after GET D",
            Rule::FenceAfterGetD,
            FENCED,
            "a takeover FIRST sets fence[p] = n in the database, THEN claims, THEN GETs D",
        ),
        fails(
            "WRITE keeps L",
            Rule::WriteKeepsLease,
            PLAIN,
            "WRITE: SET V envelope PX hard_ms; UNLINK L",
        ),
        fails(
            "WRITE retried",
            Rule::WriteRetried,
            PLAIN,
            "WRITE is sent once: a late duplicate lands over a newer acknowledged write",
        ),
        fails(
            "CLEAR removes whatever D is",
            Rule::ClearsAnyD,
            PLAIN,
            "CLEAR: if D is token..id: UNLINK D",
        ),
        fails(
            "an older write is dropped without a look at D",
            Rule::DropsWhenNewer,
            RESET,
            "On Newer: .. D still ours: REBASE above it, flush again",
        ),
    ];
    if depth == Depth::Deep {
        cases.push(holds(
            "sink with versions, two workers, two loads",
            WriteBehind { loads: 2, ..VERSIONED },
        ));
        cases.push(holds(
            "sink with a fence, loads",
            WriteBehind { loads: 2, faults: 1, takeovers: 4, ..FENCED },
        ));
    }
    cases
}
