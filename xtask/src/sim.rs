//! `cargo xtask sim`: what proves the protocol and the library without a network.

use crate::tools::{cargo, run as run_command};

/// Builds `sim`, optimised, and hands `words` on to it.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let mut sim = cargo("run --quiet --release --package sim --");
    sim.args(words);
    run_command(sim)
}
