//! One row of the table: a world to explore, and how that has to end.

use super::search::{Explored, Step, Verdict, World, explore};

/// How far one looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Bounds that fit into the tests of the project.
    Test,
    /// Larger ones, by hand.
    Deep,
}

/// How an exploration has to end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Must {
    /// The protocol as it is written.
    Hold,
    /// A variant that is known to be wrong: if it holds, the model does not see what it should.
    Fail,
}

pub(crate) struct Case {
    pub(crate) subject: &'static str,
    pub(crate) name: &'static str,
    /// The sentence of the protocol that this variant does not follow.
    pub(crate) breaks: &'static str,
    pub(crate) must: Must,
    explore: Box<dyn Fn(usize) -> Explored + Send + Sync>,
}

impl Case {
    /// The protocol itself, in one scene.
    pub(crate) fn holds<W>(subject: &'static str, scene: &'static str, world: W) -> Self
    where
        W: World + Send + Sync + 'static,
    {
        let explore = Box::new(move |states_max| explore(&world, states_max));
        Self { subject, name: scene, breaks: "", must: Must::Hold, explore }
    }

    /// A variant that breaks the sentence `breaks`.
    pub(crate) fn fails<W>(
        subject: &'static str,
        name: &'static str,
        breaks: &'static str,
        world: W,
    ) -> Self
    where
        W: World + Send + Sync + 'static,
    {
        let explore = Box::new(move |states_max| explore(&world, states_max));
        Self { subject, name, breaks, must: Must::Fail, explore }
    }

    pub(crate) fn explore(&self, states_max: usize) -> Explored {
        (self.explore)(states_max)
    }

    /// Whether it ended as it has to.
    pub(crate) fn is_well(&self, explored: &Explored) -> bool {
        match (self.must, &explored.verdict) {
            (Must::Hold, Verdict::Holds) => true,
            (Must::Fail, Verdict::Fails { trace, .. }) => !trace.is_empty(),
            _ => false,
        }
    }
}

/// A trace for people: a line a step.
pub(crate) fn shown(trace: &[Step]) -> String {
    let width = trace.iter().map(|step| step.who.len()).max().unwrap_or(0);
    let lines = trace.iter().enumerate();
    let lines = lines.map(|(at, step)| {
        let Step { who, what } = step;
        format!("  {:>2}  {who:<width$}  {what}\n", at + 1)
    });
    lines.collect()
}
