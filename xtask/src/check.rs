//! `cargo xtask check`: everything that needs no server.
//!
//! A step that fails does not hide the next: all are run, and the closing lines name the failed ones.

use std::time::Instant;

use crate::test::WITHOUT_MONGODB;
use crate::tools::{cargo, output, run as run_command};
use crate::{bench, interleavings, links};

/// Builds with Rust 1.88 and newer.
const DENY_VERSION: &str = "0.20.2";

/// The features of larder, each of which must stand without the others.
const FEATURES: &[&str] = &[
    "",
    "redis",
    "tls",
    "json",
    "postcard",
    "lz4",
    "zstd",
    "macros",
    "structures",
    "test-support",
];

/// What to do about a tool that is not there.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Missing {
    Leave,
    Install,
}

/// How a step ended that did not fail.
enum Done {
    Passed,
    NotRun(String),
}

pub(crate) fn run(missing: Missing) -> Result<(), String> {
    let mut report = Report::default();
    report.step("format", || passes("fmt --all --check"));
    report
        .step("lints", || passes("clippy --workspace --all-targets --all-features -- -D warnings"));
    for feature in FEATURES {
        let name = if feature.is_empty() { "no feature" } else { feature };
        // Clippy and not `check`: it takes `-D warnings` for our crates alone, where RUSTFLAGS
        // would build every dependency anew.
        report.step(&format!("larder with {name} alone"), || {
            passes(&format!(
                "clippy --package larder --no-default-features --features={feature} -- -D warnings"
            ))
        });
    }
    report.step("larder-http with no feature alone", || {
        passes("clippy --package larder-http --no-default-features -- -D warnings")
    });
    report.step("task-api without MongoDB", || {
        passes("clippy --package task-api --all-targets -- -D warnings")
    });
    report.step("unit tests and floors", || {
        let words = "test --workspace --all-features --lib --bins --test layers --no-fail-fast";
        passes(&format!("{words} --quiet {WITHOUT_MONGODB}"))
    });
    report.step("docs", docs);
    report.step("links", || links::check().map(|()| Done::Passed));
    report.step("bench: format and lock", || bench::check().map(|()| Done::Passed));
    report.step("interleavings: format and lock", || interleavings::check().map(|()| Done::Passed));
    report.step("bans, licences, sources", || deny(missing));
    report.close()
}

fn passes(words: &str) -> Result<Done, String> {
    run_command(cargo(words)).map(|()| Done::Passed)
}

fn docs() -> Result<Done, String> {
    let mut command = cargo("doc --workspace --no-deps --all-features");
    command.env("RUSTDOCFLAGS", "-D warnings -D rustdoc::broken_intra_doc_links");
    run_command(command).map(|()| Done::Passed)
}

fn deny(missing: Missing) -> Result<Done, String> {
    if output(cargo("deny --version")).is_none() {
        let install = format!("install --locked cargo-deny --version {DENY_VERSION}");
        if missing == Missing::Leave {
            return Ok(Done::NotRun(format!("cargo deny (cargo {install})")));
        }
        run_command(cargo(&install))?;
    }
    passes("deny --all-features check --hide-inclusion-graph bans licenses sources")
}

/// What was run so far, and how it went.
#[derive(Default)]
struct Report {
    passed: usize,
    failed: Vec<String>,
    not_run: Vec<String>,
}

impl Report {
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Done, String>) {
        println!("check: {name} ...");
        let start = Instant::now();
        let outcome = work();
        let seconds = start.elapsed().as_secs_f32();
        match outcome {
            Ok(Done::Passed) => {
                self.passed += 1;
                println!("check: {name}: passed in {seconds:.1} s");
            }
            Ok(Done::NotRun(what)) => {
                println!("check: {name}: not run");
                self.not_run.push(what);
            }
            Err(message) => {
                println!("check: {name}: FAILED in {seconds:.1} s: {message}");
                self.failed.push(name.into());
            }
        }
    }

    fn close(self) -> Result<(), String> {
        println!();
        self.not_run.iter().for_each(|what| println!("NOT RUN: {what}"));
        println!("check: {} passed, {} failed", self.passed, self.failed.len());
        if self.failed.is_empty() {
            return Ok(());
        }
        Err(format!("check failed at: {}", self.failed.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_fails_fails_the_whole_and_hides_none() {
        let mut report = Report::default();
        report.step("one", || Err("no".into()));
        report.step("two", || Ok(Done::Passed));
        report.step("three", || Ok(Done::NotRun("three".into())));
        assert_eq!((report.passed, report.failed.len(), report.not_run.len()), (1, 1, 1));
        assert_eq!(report.close(), Err("check failed at: one".into()));
    }

    #[test]
    fn what_was_not_run_is_neither_passed_nor_failed() {
        let mut report = Report::default();
        report.step("one", || Ok(Done::NotRun("one".into())));
        assert_eq!(report.passed, 0);
        assert_eq!(report.close(), Ok(()));
    }
}
