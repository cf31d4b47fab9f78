//! Loads of one key, by two processes, while it is ended in every way there is.
//!
//! Left out: near and joined flights (see `near`), writers (see `writers`), callers that give up (see
//! `callers`). A hit costs nothing here and leaves no trace, so there may be any number of them between two
//! steps; a waiter is one that asks again later.

mod call;
mod ends;
mod state;

use super::case::{Case, Depth};
use super::search::{Steps, World};
use state::{Kind, Lease, State};

/// What is as the protocol says, or which sentence of it is not followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    AsWritten,
    PollAndLock,
    OwnedLock,
    TokenPerClient,
    GenerationAfterLoad,
    LazyGeneration,
    NoSeen,
    NoSecondLook,
    DeadStandsIn,
    ReadRetriedWithItsToken,
    PutKeepsLease,
    PutRetried,
    ExpireKeepsLease,
}

/// What there is, and how much of it.
#[derive(Clone, Copy)]
struct Scene {
    /// Loads that can be under way at once; the first two are of one process.
    loads: usize,
    /// Tokens each of them can draw.
    draws: u8,
    /// Invalidations, and of which kinds.
    ends: usize,
    kinds: &'static [Kind],
    /// Whether the entry carries a tag.
    tag: Tagged,
    puts: usize,
    faults: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tagged {
    Yes,
    No,
}

/// Where one looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sees {
    /// At what is served: what a mistake comes to.
    Served,
    /// At what is stored as well, which is where it begins.
    Stores,
}

struct Loads {
    rule: Rule,
    scene: Scene,
    sees: Sees,
}

impl World for Loads {
    type State = State;

    fn start(&self) -> State {
        State { faults: self.scene.faults, ..State::default() }
    }

    fn steps(&self, from: &State, next: &mut Steps<State>) {
        (0..self.scene.loads).for_each(|slot| self.call(slot, from, next));
        (0..self.scene.ends).for_each(|end| self.end(end, from, next));
        (0..self.scene.puts).for_each(|put| self.put(put, from, next));
        self.server(from, next);
        self.wire(from, next);
    }

    fn tidy(&self, state: &mut State) {
        state.note_lost();
        // A lease that nobody will ever use is like any other of that kind.
        if let Lease::Held(token) = state.lease
            && !matches!(self.rule, Rule::ReadRetriedWithItsToken | Rule::TokenPerClient)
            && !state.uses(token)
        {
            state.lease = Lease::Held(0);
        }
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        state.wrong.promise()
    }
}

const EVERY: &[Kind] = &[Kind::Key, Kind::Tag, Kind::Expire, Kind::ExpireTag];

/// Three loads at once, two of them of one process.
const KEY: Scene = Scene {
    loads: 3,
    draws: 1,
    ends: 2,
    kinds: &[Kind::Key, Kind::Expire],
    tag: Tagged::No,
    puts: 0,
    faults: 1,
};
/// Two at once, four in all.
const KEY_AGAIN: Scene = Scene { loads: 2, draws: 2, ..KEY };
const TAG: Scene = Scene { loads: 2, kinds: EVERY, tag: Tagged::Yes, ..KEY };
const TAG_AGAIN: Scene = Scene { draws: 2, ends: 1, kinds: &[Kind::Tag, Kind::ExpireTag], ..TAG };
const PUT: Scene = Scene { ends: 1, puts: 2, ..KEY_AGAIN };

pub(crate) fn cases(depth: Depth) -> Vec<Case> {
    let holds = |name, scene| {
        let world = Loads { rule: Rule::AsWritten, scene, sees: Sees::Stores };
        Case::holds("loads", name, world)
    };
    let fails = |name, rule, scene, breaks| {
        Case::fails("loads", name, breaks, Loads { rule, scene, sees: Sees::Served })
    };
    let mut cases = vec![
        holds("one key", KEY),
        holds("one key, loaded again", KEY_AGAIN),
        holds("a key with a tag", TAG),
        holds("a key with a tag, loaded again", TAG_AGAIN),
        holds("put", PUT),
        fails(
            "poll and lock",
            Rule::PollAndLock,
            KEY,
            "STORE: if GET L ~= token: return 0 (here: SET V, and DEL L whose ever it is)",
        ),
        fails(
            "owned lock",
            Rule::OwnedLock,
            KEY,
            "STORE: if GET L ~= token: return 0 (here: SET V, and DEL L if it is ours)",
        ),
        Case::fails(
            "loads",
            "token per client: a late loader overwrites",
            "G5: a late loader never overwrites",
            Loads { rule: Rule::TokenPerClient, scene: KEY, sees: Sees::Stores },
        ),
        fails(
            "token per client",
            Rule::TokenPerClient,
            KEY,
            "Token: unique per load or write, never per client",
        ),
        fails(
            "READ retried with the same token",
            Rule::ReadRetriedWithItsToken,
            KEY,
            "Token: sent in at most one READ or GUARD: a retry draws a new one",
        ),
        fails(
            "EXPIRE keeps L",
            Rule::ExpireKeepsLease,
            KEY,
            "EXPIRE V L: fin(''); if V exists: SETRANGE V 2 ..",
        ),
        fails(
            "no seen",
            Rule::NoSeen,
            TAG_AGAIN,
            "`seen`: the lease is granted only if V is still that envelope",
        ),
        fails(
            "T read before V, no second look",
            Rule::NoSecondLook,
            TAG,
            "where the order was not kept, read T once more before rejecting",
        ),
        fails(
            "what is dead by its tag stands in",
            Rule::DeadStandsIn,
            TAG_AGAIN,
            "What was hard-invalidated never stands in",
        ),
        fails(
            "generation read after the load",
            Rule::GenerationAfterLoad,
            TAG,
            "I3: generations in an envelope were read before its load began",
        ),
        fails(
            "lazily created generation",
            Rule::LazyGeneration,
            TAG,
            "for every missing T, SET T nonce NX GET PX before the loader runs",
        ),
        fails(
            "PUT keeps L",
            Rule::PutKeepsLease,
            PUT,
            "PUT V L: SET V envelope PX hard_ms; UNLINK L; ..",
        ),
        fails(
            "PUT retried",
            Rule::PutRetried,
            PUT,
            "put: sent once: a lost reply is Err(Unconfirmed) and may still land later",
        ),
    ];
    if depth == Depth::Deep {
        cases.extend([
            holds("one key, two faults", Scene { faults: 2, ..KEY }),
            holds("one key, three ends", Scene { draws: 2, ends: 3, loads: 2, ..KEY }),
            holds("a key with a tag, every end, loaded again", Scene { kinds: EVERY, ..TAG_AGAIN }),
            holds("a key with a tag, three loads", Scene { loads: 3, ends: 1, ..TAG }),
        ]);
    }
    cases
}
