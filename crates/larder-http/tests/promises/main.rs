//! What the layer promises, a file for each promise.
//!
//! All in one test program: each would take longer to link than to run.

mod attacks;
mod changes;
mod etags;
mod far_down;
mod first_steps;
mod freshness_over_the_wire;
mod no_vary_search;
mod purge;
mod ranges;
mod rate_limit;
mod stack;
mod stale;
mod stampede;
mod status;
mod streaming;
mod tags;
mod validation;
mod variants;

#[path = "../support/door.rs"]
mod door;
#[path = "../support/far.rs"]
mod far;
#[path = "../support/stage.rs"]
mod stage;
#[path = "../support/mod.rs"]
mod support;
