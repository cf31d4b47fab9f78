//! What proves larder right.
//!
//! `sim model` explores the protocol as a model, exhaustively: see [`model`]. `sim 42` runs larder's own code,
//! several processes of it on one server, under faults drawn from a seed, in time that stands still: see [`world`].
//! `sim fleet` runs real processes on a real server, under each fault: see [`fleet`].
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to people")]

mod chance;
mod checker;
mod conform;
mod faults;
mod fleet;
mod history;
mod model;
mod plan;
mod seeds;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that goes wrong has failed")]
mod tests;
mod workload;
mod world;

use std::env;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask sim model [--only NAME] [--deep] [--list]              the protocol as a model, exhaustively
cargo xtask sim SEED                                               replays one seed, and prints its history
cargo xtask sim --seeds N [--from M]                               runs N seeds, 0 or M first, until one fails
cargo xtask sim lawless                                            shows that a server that breaks its word is seen
cargo xtask sim conform [--steps N]                                the embedded side and a real server, alike
cargo xtask sim fleet [--fault NAME] [--seconds N] [--seed S]      real processes on a real server, under each fault
";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.split_first() {
        Some((command, rest)) if command == "model" => return model::run(rest),
        Some((command, rest)) if command == "fleet" => return fleet::run(rest),
        Some((command, rest)) if command == "fleet-worker" => return fleet::run_worker(rest),
        _ => {}
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["--seeds", count] => number(count).map_or_else(misread, |count| seeds::run(0, count)),
        ["--seeds", count, "--from", from] => match (number(count), number(from)) {
            (Some(count), Some(from)) => seeds::run(from, count),
            _ => misread(),
        },
        ["conform"] => conform::run(conform::STEPS),
        ["conform", "--steps", steps] => number(steps).map_or_else(misread, conform::run),
        ["lawless"] => seeds::lawless(),
        ["--hash", seed] => number(seed).map_or_else(misread, seeds::hash),
        [seed] => number(seed).map_or_else(misread, seeds::replay),
        _ => misread(),
    }
}

fn number(word: &str) -> Option<u64> {
    word.replace('_', "").parse().ok()
}

fn misread() -> ExitCode {
    eprint!("{HELP}");
    ExitCode::FAILURE
}
