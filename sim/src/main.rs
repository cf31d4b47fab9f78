//! What proves larder right without a network.
//!
//! `sim model` explores the protocol as a model, exhaustively: see [`model`].
#![allow(clippy::print_stderr, reason = "a command speaks to people")]

mod model;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.split_first() {
        Some((command, rest)) if command == "model" => model::run(rest),
        _ => {
            eprintln!("sim: say `sim model [--only NAME] [--deep] [--list]`");
            ExitCode::FAILURE
        }
    }
}
