//! A search of everything that can happen, breadth first.
//!
//! A [`World`] says how it starts, and what may happen next in a given state; the search visits every
//! state that can be reached, each once, and asks of each whether a promise is broken in it. Breadth first
//! means that the first broken state is one of those with the fewest steps, so its trace is the shortest.
//!
//! States are small and `Copy`. They lie in one vector in the order in which they were found, and a table
//! of their indexes tells which are known: nothing is allocated for a state but its own bytes and twelve more.

use std::hash::{Hash, Hasher};

/// What is explored.
pub(crate) trait World {
    /// Everything that matters, as a few bytes: two states that are equal have the same future.
    type State: Copy + Eq + Hash;

    fn start(&self) -> Self::State;

    /// Adds everything that may happen next.
    fn steps(&self, from: &Self::State, next: &mut Steps<Self::State>);

    /// Makes states alike that differ in nothing that matters any more.
    fn tidy(&self, _state: &mut Self::State) {}

    /// The promise that does not hold in `state`.
    fn broken(&self, state: &Self::State) -> Option<&'static str>;
}

/// One line of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) who: &'static str,
    pub(crate) what: &'static str,
}

/// What may happen next, as it is collected.
pub(crate) struct Steps<S> {
    found: Vec<(Step, S)>,
}

impl<S> Steps<S> {
    pub(crate) fn add(&mut self, who: &'static str, what: &'static str, state: S) {
        self.found.push((Step { who, what }, state));
    }
}

/// How a search ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every state within the bounds was visited, and every promise holds in each.
    Holds,
    /// A promise does not hold at the end of this trace.
    Fails { promise: &'static str, trace: Vec<Step> },
    /// There are more states than one wanted to visit: nothing is proven.
    Unfinished,
}

/// A search that is over.
#[derive(Debug)]
pub(crate) struct Explored {
    /// How many states were found, each counted once.
    pub(crate) states: usize,
    /// How many steps the farthest of them is away from the start.
    pub(crate) depth: usize,
    pub(crate) verdict: Verdict,
}

/// Explores `world`, `states_max` states of it at most.
pub(crate) fn explore<W: World>(world: &W, states_max: usize) -> Explored {
    let mut known = Known::new();
    let mut next = Steps { found: Vec::new() };
    known.insert(world.start(), 0);
    let mut at = 0;
    let (mut depth, mut level_end) = (0, 1);
    while at < known.states.len() {
        if at == level_end {
            depth += 1;
            level_end = known.states.len();
        }
        let from = known.states[at];
        if let Some(promise) = world.broken(&from) {
            let trace = trace(world, &known, at);
            let verdict = Verdict::Fails { promise, trace };
            return Explored { states: known.states.len(), depth, verdict };
        }
        world.steps(&from, &mut next);
        for (_, mut state) in next.found.drain(..) {
            world.tidy(&mut state);
            known.insert(state, at as u32);
        }
        if known.states.len() > states_max {
            return Explored { states: known.states.len(), depth, verdict: Verdict::Unfinished };
        }
        at += 1;
    }
    Explored { states: known.states.len(), depth, verdict: Verdict::Holds }
}

/// The steps to the state at index `end`. Only where each state came from was kept; what happened is found
/// by letting it happen again.
fn trace<W: World>(world: &W, known: &Known<W::State>, mut end: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut next = Steps { found: Vec::new() };
    while end != 0 {
        let parent = known.parents[end] as usize;
        world.steps(&known.states[parent], &mut next);
        let happened = next.found.drain(..).find_map(|(step, mut state)| {
            world.tidy(&mut state);
            (state == known.states[end]).then_some(step)
        });
        steps.extend(happened);
        end = parent;
    }
    steps.reverse();
    steps
}

/// The states found so far, in order.
struct Known<S> {
    states: Vec<S>,
    /// For each state, the index of the one it was found from.
    parents: Vec<u32>,
    /// Open addressing: half a hash, and the index of the state plus one; zero is an empty place. The half
    /// hash spares most looks at the states themselves.
    table: Vec<(u32, u32)>,
}

impl<S: Copy + Eq + Hash> Known<S> {
    fn new() -> Self {
        Self { states: Vec::new(), parents: Vec::new(), table: vec![(0, 0); 1 << 12] }
    }

    /// Keeps `state` unless it is known.
    fn insert(&mut self, state: S, parent: u32) {
        if self.states.len() * 2 >= self.table.len() {
            self.grow();
        }
        let hash = hash_of(&state);
        let mask = self.table.len() - 1;
        let mut place = hash as usize & mask;
        let half = (hash >> 32) as u32;
        loop {
            match self.table[place] {
                (_, 0) => break,
                (other, index) if other == half && self.states[index as usize - 1] == state => {
                    return;
                }
                _ => place = (place + 1) & mask,
            }
        }
        self.states.push(state);
        self.parents.push(parent);
        self.table[place] = (half, self.states.len() as u32);
    }

    fn grow(&mut self) {
        let mask = self.table.len() * 2 - 1;
        let mut table = vec![(0, 0); mask + 1];
        for (index, state) in self.states.iter().enumerate() {
            let hash = hash_of(state);
            let mut place = hash as usize & mask;
            while table[place].1 != 0 {
                place = (place + 1) & mask;
            }
            table[place] = ((hash >> 32) as u32, index as u32 + 1);
        }
        self.table = table;
    }
}

fn hash_of<S: Hash>(state: &S) -> u64 {
    let mut mix = Mix { hash: 0, gathered: 1 };
    state.hash(&mut mix);
    mix.finish()
}

/// Quick, the same in every run, and good enough for states of our own making. Their fields are single
/// bytes: seven are gathered before they are mixed.
struct Mix {
    hash: u64,
    /// Under a leading one, so that zeroes count.
    gathered: u64,
}

impl Mix {
    fn mix(&mut self) {
        self.hash = (self.hash.rotate_left(23) ^ self.gathered).wrapping_mul(0x517c_c1b7_2722_0a95);
        self.gathered = 1;
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u8(byte));
    }

    fn write_u8(&mut self, byte: u8) {
        self.gathered = self.gathered << 8 | u64::from(byte);
        if self.gathered >> 56 != 0 {
            self.mix();
        }
    }

    /// What the derived hash of an enum says of its variant; they are few.
    fn write_isize(&mut self, variant: isize) {
        self.write_u8(variant as u8);
    }

    /// The length of an array, always the same here.
    fn write_usize(&mut self, length: usize) {
        self.write_u8(length as u8);
    }

    fn finish(&self) -> u64 {
        // The table takes the low bits, which a product mixes least.
        let mixed = (self.hash ^ self.gathered).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 32)).wrapping_mul(0x517c_c1b7_2722_0a95) ^ (mixed >> 29)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two people go up a stair of `top` steps, the second only while the first is not at its foot;
    /// `forbidden` is where they may not stand at the same time.
    struct Stair {
        top: u8,
        forbidden: Option<(u8, u8)>,
    }

    impl World for Stair {
        type State = (u8, u8);

        fn start(&self) -> (u8, u8) {
            (0, 0)
        }

        fn steps(&self, &(one, two): &(u8, u8), next: &mut Steps<(u8, u8)>) {
            if one < self.top {
                next.add("one", "up", (one + 1, two));
            }
            if two < self.top && one > 0 {
                next.add("two", "up", (one, two + 1));
            }
            next.add("one", "down", (one.saturating_sub(1), two));
        }

        fn broken(&self, state: &(u8, u8)) -> Option<&'static str> {
            (Some(*state) == self.forbidden).then_some("never both there")
        }
    }

    #[test]
    fn every_state_is_found_once() {
        let explored = explore(&Stair { top: 99, forbidden: None }, usize::MAX);
        assert_eq!(explored.states, 100 * 100);
        assert_eq!(explored.depth, 99 + 99);
        assert_eq!(explored.verdict, Verdict::Holds);
    }

    #[test]
    fn the_trace_is_the_shortest_and_leads_there() {
        let stair = Stair { top: 50, forbidden: Some((2, 3)) };
        let explored = explore(&stair, usize::MAX);
        let Verdict::Fails { promise, trace } = explored.verdict else {
            panic!("it holds");
        };
        assert_eq!(promise, "never both there");
        assert_eq!(trace.len(), 5);
        let mut at = stair.start();
        for step in &trace {
            let mut next = Steps { found: Vec::new() };
            stair.steps(&at, &mut next);
            at = next.found.iter().find(|(may, _)| may == step).expect("it cannot happen").1;
        }
        assert_eq!(at, (2, 3));
    }

    #[test]
    fn a_search_that_was_cut_short_proves_nothing() {
        let explored = explore(&Stair { top: 99, forbidden: Some((99, 99)) }, 1000);
        assert_eq!(explored.verdict, Verdict::Unfinished);
    }
}
