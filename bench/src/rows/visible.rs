//! From an invalidation in one process to the moment another one's near has it no longer.

use std::time::Duration;

use crate::peers::larder::TAG;
use crate::process::Process;
use crate::report::{Goal, Section, Table, number};
use crate::rounds::percentile;
use crate::rows::child;
use crate::server::Server;
use crate::{Outcome, Plan, peers, usage};

pub(super) fn run(plan: &Plan) -> Outcome<Section> {
    let server = Server::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let larder = runtime.block_on(peers::larder::open(&server.url(), 64 << 20))?;
    let cache = runtime.block_on(async { child::open(&larder) })?;
    let mut other = Process::start(&server.url())?;
    let count = plan.pick(100, 1000);
    let mut section = Section::new(
        "visible",
        "An invalidation, seen elsewhere",
        "One process invalidates; another asks its near for the entry as often as it can. Milliseconds until \
         it is no longer served there: from the call's beginning, and from its `Ok` (none: it was gone there \
         before). Both processes read one clock.",
    );
    let mut table = Table::new(&[
        "",
        "p50 from the call, ms",
        "p99, ms",
        "slowest, ms",
        "p50 from `Ok`, ms",
        "p99, ms",
        "slowest, ms",
    ]);
    for what in ["invalidate", "invalidate_tag"] {
        let (mut called, mut confirmed) = (Vec::new(), Vec::new());
        for round in 0..count {
            let key = format!("visible:{}", round % 7);
            other.ask(&format!("hold {key}"))?;
            other.say(&format!("watch {key}"))?;
            // The watcher is to be at it; its turn is not to be in step with ours.
            std::thread::sleep(Duration::from_micros(500 + 37 * (round % 20)));
            let (began, ended) = runtime.block_on(async {
                let began = usage::shared_now();
                match what {
                    "invalidate" => cache.invalidate(&key).await?,
                    _ => larder.invalidate_tag(TAG).await?,
                }
                Outcome::Ok((began, usage::shared_now()))
            })?;
            let seen = Duration::from_nanos(other.answer()?.parse()?);
            let ms = |since: Duration| seen.saturating_sub(since).as_secs_f64() * 1e3;
            called.push(ms(began));
            confirmed.push(ms(ended));
        }
        called.sort_by(f64::total_cmp);
        confirmed.sort_by(f64::total_cmp);
        let cells = [&called, &confirmed]
            .map(|all| [0.5, 0.99, 1.0].map(|part| number(percentile(all, part))));
        let [[a, b, c], [d, e, f]] = cells;
        table.row([what.to_owned(), a, b, c, d, e, f]);
        section.goals.push(Goal::at_most(
            format!("{what}: p99, from the call"),
            5.0,
            percentile(&called, 0.99),
            "ms",
        ));
        section.goals.push(Goal::at_most(
            format!("{what}: the slowest, against the bound B"),
            1000.0,
            percentile(&called, 1.0),
            "ms",
        ));
    }
    section.tables.push(table);
    section.notes.push(format!("{count} rounds each."));
    Ok(section)
}
