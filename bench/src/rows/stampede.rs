//! Eight processes, fifty tasks each, one missing key, a load of 100 ms.

use std::time::Duration;

use crate::process::Process;
use crate::report::{Goal, Section, Table, number};
use crate::rounds::{Contender, Series, alternate, median, percentile};
use crate::server::Server;
use crate::{Outcome, Plan, usage};

const PROCESSES: usize = 8;
const TASKS: usize = 50;
const LOAD_MS: u64 = 100;

const LOADS: usize = 0;
const P50: usize = 1;
const P99: usize = 2;
const MOST: usize = 3;

const LARDER: &str = "larder";
const POLL: &str = "lock and poll every 100 ms";

pub(super) fn run(plan: &Plan) -> Outcome<Section> {
    let server = Server::start()?;
    let mut fleet = Vec::new();
    for _ in 0..PROCESSES {
        fleet.push(Process::start(&server.url())?);
    }
    let fleet = std::cell::RefCell::new(fleet);
    let mut number = 0;
    let mut contenders = Vec::new();
    for (name, how) in [(LARDER, "larder"), (POLL, "poll")] {
        let fleet = &fleet;
        let first = number;
        number += 1_000_000;
        let mut key = first;
        contenders.push(Contender::new(name, move || {
            key += 1;
            round(&mut fleet.borrow_mut(), how, key)
        }));
    }
    Ok(section(&alternate(plan, plan.pick(3, 20), contenders)?))
}

/// Loads in the whole fleet; waits beyond the load's own 100 ms, in milliseconds.
fn round(fleet: &mut [Process], how: &str, key: u32) -> Outcome<[f64; 4]> {
    let at = usage::shared_now() + Duration::from_millis(50);
    for process in fleet.iter_mut() {
        let at = at.as_nanos();
        process.say(&format!("stampede {how} stampede:{how}:{key} {TASKS} {LOAD_MS} {at}"))?;
    }
    let (mut loads, mut waits) = (0.0, Vec::new());
    for process in fleet {
        let answer = process.answer()?;
        let mut words = answer.split_whitespace();
        loads += words.next().ok_or("no answer")?.parse::<f64>()?;
        for word in words {
            waits.push(word.parse::<f64>()? / 1e6 - LOAD_MS as f64);
        }
    }
    waits.sort_by(f64::total_cmp);
    Ok([loads, percentile(&waits, 0.5), percentile(&waits, 0.99), percentile(&waits, 1.0)])
}

fn section(all: &[Series<4>]) -> Section {
    let mut section = Section::new(
        "stampede",
        "A stampede",
        "8 processes with 50 tasks each ask for one missing key at the same moment; the load takes 100 ms. How \
         often it was loaded in the whole fleet, and how much longer than the load the tasks waited: in each \
         round over its 400 tasks, then the median of the rounds. All on this machine's cores: most of a \
         millisecond is 400 tasks taking their turns.",
    );
    let mut table = Table::new(&[
        "",
        "loads",
        "most loads in a round",
        "p50 beyond the load, ms",
        "p99, ms",
        "slowest, ms",
        "slowest of all rounds, ms",
    ]);
    for one in all {
        table.row([
            one.name.clone(),
            number(one.median(LOADS)),
            number(one.most(LOADS)),
            number(one.median(P50)),
            number(one.median(P99)),
            number(one.median(MOST)),
            number(one.most(MOST)),
        ]);
    }
    section.tables.push(table);
    let most = all.iter().find(|one| one.name == LARDER).map_or(f64::NAN, |one| one.most(LOADS));
    section.goals = vec![
        Goal::at_most("loads in any round", 1.0, most, ""),
        Goal::at_most("p99 of the wait beyond the load", 10.0, median(all, LARDER, P99), "ms"),
    ];
    section
}
