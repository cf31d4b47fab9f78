//! `cargo xtask interleavings`: near and the flights under a scheduler that says who goes next.
//!
//! The package stands outside the workspace, with a lock of its own: larder knows nothing of the scheduler.
//! [`check`] holds a change to its lock and its format; `cargo xtask test` plays the scenes.

use crate::tools::{cargo, run as run_command};

const MANIFEST: &str = "--manifest-path interleavings/Cargo.toml";

/// Every scene in many orders, over larder as it stands and over each known fault. Not with `--release`: the
/// profile is optimised as far as it pays, and is built in half the time.
pub(crate) fn run() -> Result<(), String> {
    run_command(cargo(&format!("test --quiet --locked {MANIFEST} --no-fail-fast")))
}

/// That its lock is the one its manifest asks for, and that it is formatted. Nothing is fetched but the index.
pub(crate) fn check() -> Result<(), String> {
    run_command(cargo(&format!("fmt --all {MANIFEST} --check")))?;
    run_command(cargo(&format!("update --quiet --workspace --locked {MANIFEST}")))
}
