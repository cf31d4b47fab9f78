//! What proves larder right.
//!
//! `sim model` explores the protocol as a model, exhaustively: see [`model`]. `sim fleet` runs real processes on a
//! real server, under each fault: see [`fleet`].
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to people")]

mod chance;
mod fleet;
mod model;

use std::env;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask sim model [--only NAME] [--deep] [--list]              the protocol as a model, exhaustively
cargo xtask sim fleet [--fault NAME] [--seconds N] [--seed S]      real processes on a real server, under each fault
";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.split_first() {
        Some((command, rest)) if command == "model" => model::run(rest),
        Some((command, rest)) if command == "fleet" => fleet::run(rest),
        Some((command, rest)) if command == "fleet-worker" => fleet::run_worker(rest),
        _ => {
            eprint!("{HELP}");
            ExitCode::FAILURE
        }
    }
}
