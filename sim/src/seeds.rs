//! Seeds, run until one fails; and one seed, replayed.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use larder::drawn::Lawless;

use crate::checker::{Broken, check};
use crate::history::{History, What};
use crate::plan::Plan;
use crate::world;

/// How many lines before the one that is wrong are shown; `cargo xtask sim SEED` shows all.
const SHOWN_BEFORE: usize = 40;
/// Every so many seeds one is run twice, and must come out the same.
const TWICE_EVERY: u64 = 500;

pub(crate) const LAWLESS: [Lawless; 4] =
    [Lawless::StoresForAll, Lawless::EndsNothing, Lawless::LosesChanges, Lawless::RepeatsReads];
const LAWLESS_SEEDS_MAX: u64 = 10_000;

/// What one seed came to.
pub(crate) struct Outcome {
    pub(crate) history: History,
    pub(crate) broken: Vec<Broken>,
}

/// Runs one seed, and holds its history against the promises.
pub(crate) fn outcome(seed: u64, lawless: Option<Lawless>) -> Outcome {
    let plan = Plan::of(seed, lawless);
    let run = world::run(&plan);
    let mut broken = check(&plan, &run.history);
    let last = run.history.0.len().saturating_sub(1);
    broken.extend(run.found.into_iter().map(|what| Broken { line: last, what }));
    Outcome { history: run.history, broken }
}

/// What many seeds came to.
#[derive(Default)]
struct Sum {
    lines: AtomicU64,
    calls: AtomicU64,
    twice: AtomicU64,
}

/// Runs `count` seeds from `from` on, on every core, until one fails.
pub(crate) fn run(from: u64, count: u64) -> ExitCode {
    let (start, next, has_failed) = (Instant::now(), AtomicU64::new(from), AtomicBool::new(false));
    let (sum, failed) = (Sum::default(), Mutex::new(Vec::new()));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !has_failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        return;
                    }
                    if let Some(what) = run_one(seed, &sum) {
                        has_failed.store(true, Ordering::Relaxed);
                        if let Ok(mut failed) = failed.lock() {
                            failed.push((seed, what));
                        }
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_default();
    failed.sort();
    for (seed, what) in &failed {
        println!("{what}\nsim: seed {seed} FAILED; replay it with `cargo xtask sim {seed}`\n");
    }
    if !failed.is_empty() {
        return ExitCode::FAILURE;
    }
    println!(
        "sim: {count} seeds passed: {} calls, {} lines of history; {} seeds ran twice, and came out the same; {:.1} s",
        sum.calls.load(Ordering::Relaxed),
        sum.lines.load(Ordering::Relaxed),
        sum.twice.load(Ordering::Relaxed),
        start.elapsed().as_secs_f32(),
    );
    ExitCode::SUCCESS
}

/// What is wrong with it, if anything is.
fn run_one(seed: u64, sum: &Sum) -> Option<String> {
    let Outcome { history, broken } = outcome(seed, None);
    let calls = history.0.iter().filter(|line| matches!(line.what, What::Begins(..))).count();
    sum.calls.fetch_add(calls as u64, Ordering::Relaxed);
    sum.lines.fetch_add(history.0.len() as u64, Ordering::Relaxed);
    if !broken.is_empty() {
        return Some(shown(&history, &broken, SHOWN_BEFORE));
    }
    if !seed.is_multiple_of(TWICE_EVERY) {
        return None;
    }
    sum.twice.fetch_add(1, Ordering::Relaxed);
    let again = outcome(seed, None).history;
    (again != history).then(|| {
        let same = again.0.iter().zip(&history.0).take_while(|(one, other)| one == other).count();
        let line = |of: &History| of.0.get(same).map_or("nothing".to_owned(), ToString::to_string);
        format!(
            "not deterministic: line {same} is\n{}\nthe first time, and\n{}\nthe second",
            line(&history),
            line(&again)
        )
    })
}

/// What no server and no network may do, and how many seeds it takes to be seen.
pub(crate) fn lawless() -> ExitCode {
    let mut all_seen = true;
    for lawless in LAWLESS {
        match first_broken(lawless, LAWLESS_SEEDS_MAX) {
            Some((seed, what)) => println!("{lawless:?}: seen with seed {seed}: {what}"),
            None => {
                println!("{lawless:?}: NOT seen in {LAWLESS_SEEDS_MAX} seeds");
                all_seen = false;
            }
        }
    }
    if all_seen { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The first seed, below `most`, with which it is seen, and by what.
pub(crate) fn first_broken(lawless: Lawless, most: u64) -> Option<(u64, String)> {
    (0..most).find_map(|seed| {
        let broken = outcome(seed, Some(lawless)).broken.into_iter().next()?;
        Some((seed, broken.what))
    })
}

/// What is wrong, with what came before it.
fn shown(history: &History, broken: &[Broken], before: usize) -> String {
    let mut text = String::new();
    let first = broken.iter().map(|broken| broken.line).min().unwrap_or(0);
    let lines = history.0.iter().enumerate().take(first + 1).skip(first.saturating_sub(before));
    lines.for_each(|(at, line)| text.push_str(&format!("{at:>6} {line}\n")));
    for Broken { line, what } in broken.iter().take(20) {
        text.push_str(&format!("BROKEN at {line}: {what}\n"));
    }
    text
}

/// Prints all of a seed's history, and what is wrong with it.
pub(crate) fn replay(seed: u64) -> ExitCode {
    println!("{:#?}", Plan::of(seed, None));
    let Outcome { history, broken } = outcome(seed, None);
    for (at, line) in history.0.iter().enumerate() {
        println!("{at:>6} {line}");
    }
    for Broken { line, what } in &broken {
        println!("BROKEN at {line}: {what}");
    }
    println!("sim: seed {seed}: {} lines, hash {:016x}", history.0.len(), history.hash());
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a seed's hash alone.
pub(crate) fn hash(seed: u64) -> ExitCode {
    println!("{:016x}", outcome(seed, None).history.hash());
    ExitCode::SUCCESS
}
