//! What a change must pass, the same by hand and in CI.
//!
//! `cargo xtask check` is quick and needs nothing but Rust; `cargo xtask test` runs every test and sees
//! to it that there is a Redis to run them against, and a MongoDB where one is to be had. Whatever could not be run is said in a closing
//! line of its own, `NOT RUN: ..`, and never counted as passed.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to people")]

mod bench;
mod check;
mod interleavings;
mod links;
mod mongo;
mod redis;
mod sim;
mod test;
mod tools;

use std::env;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask check            format, lints, each feature alone, unit tests, docs, links, licences
cargo xtask check --install  the same, and cargo-deny is installed first if it is missing (minutes)
cargo xtask test             every test, doc tests too; needs redis-server and redis-cli, 7.0 or newer, and
                             for MongoDB MONGODB_URL, or mongod, ferretdb 1.x or Go 1.22 on PATH
cargo xtask sim SEED         replays one seed of the simulation, and prints what happened
cargo xtask sim --seeds N    the library's own code under faults drawn from seeds; [--from M]
cargo xtask sim conform      the embedded side and a real server answer the same steps alike; [--steps N]
cargo xtask sim fleet        real processes on a real server under each fault; [--fault NAME] [--seconds N]
cargo xtask sim model        the protocol as a model, exhaustively; [--only NAME] [--deep] [--list]
cargo xtask interleavings    near and the flights under a scheduler, in one order of steps after the other
cargo xtask bench            everything beside its peers, minutes; writes bench/RESULTS.md
cargo xtask bench ROW.. [--quick] [--only PART]   some of it, and writes nothing
cargo xtask help             this text
";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["check"] => check::run(check::Missing::Leave),
        ["check", "--install"] => check::run(check::Missing::Install),
        ["test"] => test::run(),
        ["sim", ref words @ ..] => sim::run(words),
        ["interleavings"] => interleavings::run(),
        ["bench", ref words @ ..] => bench::run(words),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(format!("there is no `cargo xtask {}`\n\n{HELP}", words.join(" "))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
