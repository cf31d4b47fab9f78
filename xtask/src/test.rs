//! `cargo xtask test`: every test there is, counted.
//!
//! Tests that need a MongoDB are in modules called `on_mongodb`. Where none is to be had they are left out,
//! and the last line says so.
//!
//! Cargo's output goes through us, line by line and at once, so that the closing lines can say how
//! many tests ran in all; what cargo answers in the end still decides.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::interleavings;
use crate::mongo;
use crate::redis;
use crate::sim;
use crate::tools::{cargo, shown};

/// How long to wait for more lines once cargo has ended.
const LAST_LINES: Duration = Duration::from_millis(300);

/// The tests that a MongoDB is needed for, as words for cargo.
pub(crate) const WITHOUT_MONGODB: &str = "-- --skip on_mongodb::";

pub(crate) fn run() -> Result<(), String> {
    redis::ensure()?;
    let mongo = mongo::find();
    let ran = all(mongo.as_ref());
    let proven = proven();
    if mongo.is_none() {
        println!("{}", mongo::NOT_RUN);
    }
    ran.and(proven)
}

/// What runs beside the tests, each a minute or so.
const PROOFS: [&[&str]; 4] =
    [&["model"], &["--seeds", "5000"], &["conform"], &["fleet", "--seconds", "5"]];

/// All of them, also when one fails.
fn proven() -> Result<(), String> {
    let mut all = Ok(());
    for words in PROOFS {
        println!("test: cargo xtask sim {} ...", words.join(" "));
        let one = sim::run(words);
        all = all.and(one);
    }
    println!("test: cargo xtask interleavings ...");
    all.and(interleavings::run())
}

fn all(mongo: Option<&mongo::Mongo>) -> Result<(), String> {
    let all = "test --workspace --all-features --no-fail-fast";
    let mut command = match mongo {
        Some(mongo) => {
            let mut command = cargo(all);
            command.env("MONGODB_URL", &mongo.url);
            command
        }
        None => cargo(&format!("{all} {WITHOUT_MONGODB}")),
    };
    let name = shown(&command);
    println!("test: {name} ...");
    // One pipe for both streams: the name of a suite comes on the one, its result on the other.
    let cannot = |cause: io::Error| format!("cannot run `{name}`: {cause}");
    let (reader, writer) = io::pipe().map_err(cannot)?;
    command.stdout(writer.try_clone().map_err(cannot)?).stderr(writer);
    let child = command.spawn().map_err(cannot)?;
    drop(command); // and with it our ends of the pipe
    let mut tally = Tally::default();
    let status = follow(child, lines_of(reader), &mut tally).map_err(cannot)?;
    tally.close();
    if tally.failed() > 0 {
        return Err(format!("{} tests failed", tally.failed()));
    }
    if !status.success() {
        return Err(format!("`{name}` ended with {status}"));
    }
    if tally.passed() == 0 { Err(format!("`{name}` ran no test")) } else { Ok(()) }
}

fn lines_of(reader: io::PipeReader) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    lines
}

/// Prints and counts what comes until cargo ends. Not until the pipe is closed: a server that some
/// test left behind would hold it open.
fn follow(mut child: Child, lines: Receiver<String>, tally: &mut Tally) -> io::Result<ExitStatus> {
    loop {
        match lines.recv_timeout(LAST_LINES) {
            Ok(line) => {
                println!("{line}");
                tally.read(&line);
            }
            Err(RecvTimeoutError::Disconnected) => return child.wait(),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(status) = child.try_wait()? {
                    return Ok(status);
                }
            }
        }
    }
}

/// The suites that ran, read off what cargo and libtest print.
#[derive(Default)]
struct Tally {
    suites: Vec<Suite>,
    failures: Vec<String>,
}

#[derive(Default)]
struct Suite {
    name: String,
    docs: bool,
    /// None until its `test result:` line came.
    result: Option<Counts>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Tally {
    fn read(&mut self, line: &str) {
        let words = line.trim_start();
        if let Some(name) = words.strip_prefix("Running ").filter(|name| name.ends_with(')')) {
            self.suites.push(Suite { name: suite_name(name), ..Suite::default() });
        } else if let Some(name) = words.strip_prefix("Doc-tests ") {
            let name = format!("{name} doc tests");
            self.suites.push(Suite { name, docs: true, ..Suite::default() });
        } else if let Some(counts) = line.strip_prefix("test result: ").map(counts)
            && let Some(suite) = self.suites.last_mut()
        {
            suite.ended(counts);
        } else if let Some(test) = line.strip_suffix(" ... FAILED") {
            let suite = self.suites.last().map_or("", |suite| &suite.name);
            self.failures.push(format!("{suite}: {}", test.trim_start_matches("test ")));
        }
    }

    fn sum(&self, count: impl Fn(Counts) -> usize) -> usize {
        self.suites.iter().filter_map(|suite| suite.result).map(count).sum()
    }

    fn passed(&self) -> usize {
        self.sum(|counts| counts.passed)
    }

    /// A suite that ended without a result, killed or aborted, is a failure too.
    fn failed(&self) -> usize {
        let cut_off = self.suites.iter().filter(|suite| suite.result.is_none()).count();
        self.sum(|counts| counts.failed) + cut_off
    }

    fn close(&self) {
        println!();
        for suite in &self.suites {
            match suite.result {
                Some(counts) if counts == Counts::default() => {}
                Some(counts) => println!("test: {}: {}", suite.name, counts.shown()),
                None => println!("test: {}: ended without a result", suite.name),
            }
        }
        self.failures.iter().for_each(|test| println!("FAILED: {test}"));
        let ignored = self.sum(|counts| counts.ignored);
        println!(
            "test: {}",
            Counts { passed: self.passed(), failed: self.failed(), ignored }.shown()
        );
    }
}

impl Suite {
    /// Doc tests print one result for each of their groups. Anything else prints one, the last: those
    /// before it come from a test that ran the suite's own binary again as another process.
    fn ended(&mut self, counts: Counts) {
        let before = self.result.filter(|_| self.docs).unwrap_or_default();
        self.result = Some(Counts {
            passed: before.passed + counts.passed,
            failed: before.failed + counts.failed,
            ignored: before.ignored + counts.ignored,
        });
    }
}

impl Counts {
    fn shown(self) -> String {
        let Counts { passed, failed, ignored } = self;
        let skipped = if ignored > 0 { format!(", {ignored} skipped") } else { String::new() };
        format!("{passed} passed, {failed} failed{skipped}")
    }
}

/// `larder src/lib.rs` from `unittests src/lib.rs (target/debug/deps/larder-0a1b2c)`.
fn suite_name(running: &str) -> String {
    let (file, binary) = running.split_once(" (").unwrap_or((running, ""));
    let binary = binary.rsplit(['/', '\\']).next().unwrap_or_default();
    let package = binary.rsplit_once('-').map_or("", |(package, _)| package);
    format!("{package} {}", file.trim_start_matches("unittests ")).trim().into()
}

/// From `ok. 3 passed; 0 failed; 1 ignored; 0 measured; ..`.
fn counts(result: &str) -> Counts {
    let number = |what: &str| {
        let before = result.split(';').find_map(|part| part.trim_end().strip_suffix(what));
        before.and_then(|text| text.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    };
    Counts { passed: number(" passed"), failed: number(" failed"), ignored: number(" ignored") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.read(line));
        tally
    }

    #[test]
    fn the_suites_of_a_run_are_counted_together() {
        let tally = tally(
            "   Compiling larder v0.1.0\n     Running unittests src/lib.rs (target/debug/deps/larder-0a1b)\n\
             running 3 tests\ntest near::one ... ok\n\
             test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
                  Running tests/tags.rs (target/debug/deps/tags-77)\ntest late ... FAILED\n\
             test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 1s\n\
                Doc-tests larder\ntest result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        );
        let names: Vec<_> = tally.suites.iter().map(|suite| suite.name.as_str()).collect();
        assert_eq!(names, ["larder src/lib.rs", "tags tests/tags.rs", "larder doc tests"]);
        assert_eq!((tally.passed(), tally.failed()), (9, 1));
        assert_eq!(tally.sum(|counts| counts.ignored), 2);
        assert_eq!(tally.failures, ["tags tests/tags.rs: late"]);
    }

    #[test]
    fn a_suite_that_was_cut_off_has_failed() {
        let tally = tally(
            "     Running tests/a.rs (target/debug/deps/a-1)\ntest one ... ok\n\
                  Running tests/b.rs (target/debug/deps/b-1)\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        );
        assert_eq!((tally.passed(), tally.failed()), (2, 1));
    }

    #[test]
    fn a_result_from_a_process_within_a_test_is_not_counted() {
        let tally = tally(
            "     Running tests/a.rs (target/debug/deps/a-1)\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out\n\
             test result: ok. 10 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        );
        assert_eq!((tally.passed(), tally.failed()), (10, 0));
    }
}
