//! The consistency protocol as a model, explored exhaustively.
//!
//! The protocol is told as data and small steps, split by subject so that each exploration stays small. A
//! step is one that nobody can look into: a script on the server, a message that lands, a decision of a
//! process. Everything else may come in between any two of them; there is no time, so whatever may
//! expire may do so at any moment, and a process that died is one that is never heard of again.
//!
//! Two things are shown, and both must be so:
//! - the protocol as it is written keeps its promises in every state within the bounds;
//! - every variant that is known to be wrong breaks one, and its shortest trace says how. This tests the
//!   model: one that lets a wrong variant pass does not see what it should.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to people")]

mod case;
mod search;

mod callers;
mod loads;
mod migration;
mod near;
mod restart;
mod write_behind;
mod writers;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use case::{Case, Depth, Must, shown};
use search::{Explored, Verdict};

/// Beyond this a bound was chosen too large for the machine: about 10 GB.
const STATES_MAX: usize = 30_000_000;

const HELP: &str = "\
sim model               explores the protocol and every variant that is known to be wrong
sim model --only NAME   only what has NAME in its subject or name; may be given again
sim model --deep        larger bounds: minutes, and gigabytes
sim model --list        what there is
";

/// Runs it as `args` say. Fails if the protocol fails, or a wrong variant does not.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let wish = match Wish::read(args) {
        Ok(wish) => wish,
        Err(message) => {
            eprintln!("sim: {message}\n\n{HELP}");
            return ExitCode::FAILURE;
        }
    };
    let mut cases = all(wish.depth);
    cases.retain(|case| wish.wants(case));
    if cases.is_empty() {
        eprintln!("sim: nothing is called that; `sim model --list` says what there is");
        return ExitCode::FAILURE;
    }
    if wish.list {
        cases.iter().for_each(|case| println!("{:<14} {}", case.subject, case.name));
        return ExitCode::SUCCESS;
    }
    let start = Instant::now();
    let mut rows = Vec::new();
    explore_all(&cases, |case, explored| {
        tell(case, &explored);
        rows.push(Row::of(case, &explored));
    });
    table(&rows);
    close(&rows, start)
}

fn all(depth: Depth) -> Vec<Case> {
    let subjects = [
        loads::cases,
        callers::cases,
        near::cases,
        writers::cases,
        migration::cases,
        write_behind::cases,
        restart::cases,
    ];
    subjects.iter().flat_map(|cases| cases(depth)).collect()
}

struct Wish {
    depth: Depth,
    only: Vec<String>,
    list: bool,
}

impl Wish {
    fn read(args: &[String]) -> Result<Self, String> {
        let mut wish = Self { depth: Depth::Test, only: Vec::new(), list: false };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--deep" => wish.depth = Depth::Deep,
                "--list" => wish.list = true,
                "--only" => wish.only.push(args.next().ok_or("--only wants a name")?.clone()),
                other => return Err(format!("`sim model` knows no `{other}`")),
            }
        }
        Ok(wish)
    }

    fn wants(&self, case: &Case) -> bool {
        let full = format!("{}: {}", case.subject, case.name).to_lowercase();
        let named = |name: &String| full.contains(&name.to_lowercase());
        self.only.is_empty() || self.only.iter().any(named)
    }
}

/// Explores `cases` on every core, and hands each on in their order.
fn explore_all(cases: &[Case], mut told: impl FnMut(&Case, Explored)) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let (done, results) = channel();
    thread::scope(|scope| {
        for _ in 0..cores.min(cases.len()) {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                while let Some((at, case)) =
                    cases.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed))
                {
                    // The receiver outlives us: it is on the stack of the scope.
                    let _ = done.send((at, case.explore(STATES_MAX)));
                }
            });
        }
        drop(done);
        let mut early = std::collections::BTreeMap::new();
        let mut due = 0;
        for (at, explored) in results {
            early.insert(at, explored);
            while let Some(explored) = early.remove(&due) {
                told(&cases[due], explored);
                due += 1;
            }
        }
    });
}

fn tell(case: &Case, explored: &Explored) {
    let Case { subject, name, breaks, .. } = case;
    match &explored.verdict {
        Verdict::Holds if case.must == Must::Hold => {
            println!(
                "{subject}: {name}: holds in {} states, up to {} steps deep\n",
                explored.states, explored.depth
            );
        }
        Verdict::Holds => {
            println!(
                "{subject}: {name}: NOT CAUGHT in {} states\n  breaks: {breaks}\n",
                explored.states
            );
        }
        Verdict::Unfinished => {
            println!("{subject}: {name}: UNFINISHED: more than {} states\n", explored.states);
        }
        Verdict::Fails { promise, trace } => {
            let heading = match case.must {
                Must::Hold => "THE PROTOCOL FAILS".to_owned(),
                Must::Fail => format!("fails, as it must\n  breaks: {breaks}"),
            };
            println!("{subject}: {name}: {heading}\n  promise: {promise}\n{}", shown(trace));
        }
    }
}

struct Row {
    subject: &'static str,
    name: &'static str,
    states: usize,
    /// What the last column says.
    outcome: String,
    is_well: bool,
    must: Must,
}

impl Row {
    fn of(case: &Case, explored: &Explored) -> Self {
        let outcome = match &explored.verdict {
            Verdict::Holds => "holds".to_owned(),
            Verdict::Fails { trace, .. } => format!("fails in {} steps", trace.len()),
            Verdict::Unfinished => "unfinished".to_owned(),
        };
        let is_well = case.is_well(explored);
        let (subject, name, must) = (case.subject, case.name, case.must);
        Self { subject, name, states: explored.states, outcome, is_well, must }
    }
}

fn table(rows: &[Row]) {
    println!("{:<14} {:<60} {:>10}  outcome", "subject", "variant", "states");
    for row in rows {
        let Row { subject, name, states, outcome, is_well, must } = row;
        let name =
            if *must == Must::Hold { format!("the protocol: {name}") } else { (*name).to_owned() };
        let wrong = if *is_well { "" } else { "  <- WRONG" };
        println!("{subject:<14} {name:<60} {states:>10}  {outcome}{wrong}");
    }
}

fn close(rows: &[Row], start: Instant) -> ExitCode {
    let count = |must| rows.iter().filter(|row| row.must == must).count();
    let states: usize = rows.iter().map(|row| row.states).sum();
    let wrong = rows.iter().filter(|row| !row.is_well).count();
    println!(
        "\nmodel: the protocol in {} scenes, {} wrong variants, {states} states in {:.1} s; {wrong} not as they must be",
        count(Must::Hold),
        count(Must::Fail),
        start.elapsed().as_secs_f32()
    );
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
