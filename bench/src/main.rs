//! `larder-bench [--quick] [--only PART] [--write FILE] [ROW..]`

use std::process::ExitCode;
use std::time::Instant;

use larder_bench::counted::Counted;
use larder_bench::report::{self, Section};
use larder_bench::{Outcome, Plan, http, machine, process, rows};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

const HELP: &str = "\
larder-bench [ROW..]     runs these rows, or all, and prints the report
  --quick                fewer and shorter rounds
  --only PART            only contenders whose names contain PART: for a profiler
  --write FILE           writes the report there as well; only of all rows, in full
";

fn main() -> ExitCode {
    match obey() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn obey() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [process::FLAG, url] => rows::child::obey(url),
        [http::app::FLAG, kind] => http::app::obey(kind),
        ["--help" | "-h"] => {
            print!("{}", help());
            Ok(())
        }
        _ => run(words.into_iter()),
    }
}

fn run(mut words: impl Iterator<Item = String>) -> Outcome<()> {
    let mut plan = Plan { quick: false, only: None };
    let (mut chosen, mut write) = (Vec::new(), None);
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or(format!("{word} wants a word after it\n\n{}", help()));
        match word.as_str() {
            "--quick" => plan.quick = true,
            "--only" => plan.only = Some(next()?),
            "--write" => write = Some(next()?),
            name => {
                let row = rows::ALL.iter().find(|(row, _)| *row == name);
                chosen.push(*row.ok_or(format!("there is no row {name}\n\n{}", help()))?);
            }
        }
    }
    if write.is_some() && (plan.quick || plan.only.is_some() || !chosen.is_empty()) {
        return Err(format!("--write wants all rows, in full\n\n{}", help()).into());
    }
    let machine = machine::describe();
    let rows = if chosen.is_empty() { rows::ALL } else { &chosen };
    let sections = rows.iter().map(|row| section(&plan, row)).collect::<Outcome<Vec<Section>>>()?;
    let report = report::whole(&machine, &sections);
    println!("{report}");
    if let Some(file) = write {
        std::fs::write(&file, report).map_err(|why| format!("cannot write {file}: {why}"))?;
    }
    Ok(())
}

fn section(plan: &Plan, (name, run): &rows::Row) -> Outcome<Section> {
    eprintln!("bench: {name} ...");
    let began = Instant::now();
    let section = run(plan).map_err(|why| format!("{name}: {why}"))?;
    eprintln!("bench: {name}: {:.0} s", began.elapsed().as_secs_f32());
    Ok(section)
}

fn help() -> String {
    let names: Vec<&str> = rows::ALL.iter().map(|(name, _)| *name).collect();
    format!("{HELP}rows: {}\n", names.join(" "))
}
