//! `cargo xtask bench`: larder beside its peers, and the report of it.
//!
//! The benchmark stands outside the workspace, with a lock and a rust-version of its own, so that its peers
//! are the newest there are. Building them takes minutes: a change is only held to the lock and the format
//! of it ([`check`]), not to a build.
//!
//! Nothing goes without redis-server. The row of hits over HTTP wants wrk, nginx and varnishd too, and where
//! one is not on PATH the report says so in its place.

use crate::tools::{cargo, command, output, run as run_command};

const MANIFEST: &str = "--manifest-path bench/Cargo.toml";
const REPORT: &str = "bench/RESULTS.md";

/// With no words everything, in full, and the report is written; else as the words say, and printed only.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    if output(command("redis-server", "--version")).is_none() {
        return Err("cannot run redis-server: it is not on PATH (Debian, Ubuntu: apt-get install \
                    redis-server)"
            .into());
    }
    let mut bench = cargo(&format!("run --release --locked {MANIFEST} --"));
    if words.is_empty() {
        bench.args(["--write", REPORT]);
    }
    bench.args(words);
    run_command(bench)
}

/// That its lock is the one its manifest asks for, and that it is formatted. Two seconds, and nothing is
/// fetched but the index.
pub(crate) fn check() -> Result<(), String> {
    run_command(cargo(&format!("fmt {MANIFEST} --check")))?;
    run_command(cargo(&format!("update --quiet --workspace --locked {MANIFEST}")))
}
