//! A hit in this process: 32-byte keys, 2,000 of them, all there, 100-byte values.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Runtime;

use crate::peers::by_hand::Least;
use crate::peers::larder::{Door, Face};
use crate::peers::{self, Near};
use crate::report::{Goal, Section, Table, nanos, number, ratio};
use crate::rounds::{Contender, Series, alternate, median};
use crate::server::Server;
use crate::workload::{KEYS, Payload, keys, uniform};
use crate::{Outcome, Plan, counted, usage};

const OURS: &str = "larder get_or_load";

pub(super) fn run(plan: &Plan) -> Outcome<Section> {
    let server = Server::start()?;
    // One thread for connections and timers; the work runs on the threads that measure it.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let all = contestants(&runtime, &server)?;
    let keys = keys(KEYS);
    let value = Payload::of(100);
    for peer in &all {
        peer.fill(&keys, &value)?;
        let every: Vec<u32> = (0..KEYS as u32).collect();
        // Loads that met while their tag was new are far, not near: the first look brings them here.
        peer.hits(&keys, &every);
        let found = peer.hits(&keys, &every);
        if found != KEYS {
            return Err(format!("{} keeps {found} of {KEYS} keys", peer.name()).into());
        }
    }
    let rounds = plan.pick(5, 15);
    let one = alternate(plan, rounds, contenders(&all, &keys, 1, plan))?;
    let two = alternate(plan, rounds, contenders(&all, &keys, 2, plan))?;
    section(&all, &one, &two)
}

fn contestants(runtime: &Runtime, server: &Server) -> Outcome<Vec<Box<dyn Near>>> {
    let mut all: Vec<Box<dyn Near>> = Vec::new();
    let handle = runtime.handle();
    let larder = runtime.block_on(peers::larder::open(&server.url(), 64 << 20))?;
    let cache = peers::larder::cache(&larder, "near")?;
    for door in [Door::GetOrLoad, Door::Get] {
        all.push(Box::new(Face { cache: cache.clone(), runtime: handle.clone(), door }));
    }
    // Twice the room, so that nobody evicts.
    all.push(Box::new(Least::new(2 * KEYS)));
    for make in peers::NEAR {
        all.push(make(handle, 2 * KEYS)?);
    }
    Ok(all)
}

/// Nanoseconds a hit, and allocations a hit.
fn contenders<'a>(
    all: &'a [Box<dyn Near>],
    keys: &'a [String],
    threads: usize,
    plan: &Plan,
) -> Vec<Contender<'a, 2>> {
    let hits = plan.pick(200_000, 500_000);
    let orders: Vec<Vec<u32>> =
        (0..threads).map(|thread| uniform(KEYS, hits, 11 + thread as u64)).collect();
    let orders = Arc::new(orders);
    let contender = |peer: &'a dyn Near| {
        let orders = orders.clone();
        Contender::new(peer.name(), move || {
            let work = |order: &[u32]| {
                let (calls, wall, own) = (counted::calls(), Instant::now(), usage::own_cpu());
                let found = peer.hits(keys, order);
                // Alone, a thread waits for nobody but the scheduler, whose turns for others are not ours.
                // Two wait for one another, and that is part of a hit.
                let took = if threads == 1 { usage::own_cpu() - own } else { wall.elapsed() };
                if found != order.len() {
                    return Err(format!("{found} hits of {}", order.len()));
                }
                Ok((took.as_nanos() as f64, (counted::calls() - calls) as f64))
            };
            let done: Vec<_> = std::thread::scope(|scope| {
                let others: Vec<_> =
                    orders[1..].iter().map(|order| scope.spawn(move || work(order))).collect();
                let own = work(&orders[0]);
                let joined = others.into_iter().map(|other| other.join());
                let others = joined.map(|done| done.unwrap_or(Err("a thread panicked".into())));
                std::iter::once(own).chain(others).collect()
            });
            let (mut nanos, mut calls) = (0.0, 0.0);
            for one in done {
                let one = one?;
                nanos += one.0;
                calls += one.1;
            }
            let all = (hits * threads) as f64;
            Ok([nanos / all, calls / all])
        })
    };
    all.iter().map(|peer| contender(peer.as_ref())).collect()
}

fn section(all: &[Box<dyn Near>], one: &[Series<2>], two: &[Series<2>]) -> Outcome<Section> {
    let ours = median(one, OURS, 0);
    let mut table = Table::new(&[
        "",
        "ns a hit, 1 thread",
        "least to most",
        "ratio",
        "allocations a hit",
        "2 threads",
        "a hit checks",
    ]);
    for (one, two) in one.iter().zip(two) {
        let peer = all.iter().find(|peer| peer.name() == one.name);
        table.row([
            one.name.clone(),
            nanos(one.median(0)),
            format!("{} to {}", nanos(one.least(0)), nanos(one.most(0))),
            ratio(one.median(0) / ours),
            number(one.median(1)),
            nanos(two.median(0)),
            peer.map_or("", |peer| peer.hit()).into(),
        ]);
    }
    let mut section = Section::new(
        "near_hit",
        "A hit near",
        "2,000 keys of 32 bytes, all there, drawn uniformly; values of 100 bytes, each entry its own. \
         larder's far side is a real Redis; each of its entries carries a tag whose generation every hit \
         compares. The floor is `quick_cache` under a name made of namespace and key, one look at the \
         clock, one generation compared. One thread is measured by its processor time, two by the wall \
         clock. The ratio is to `larder get_or_load`.",
    );
    section.tables.push(table);
    let slower = |name: &str| median(one, name, 0) / ours;
    section.goals = vec![
        Goal::at_most("a hit through the typed face", 100.0, ours, "ns"),
        Goal::at_most("allocations of a hit", 0.0, median(one, OURS, 1), ""),
        Goal::at_least("times as fast as cachet", 2.0, slower("cachet"), "x"),
        Goal::at_least("times as fast as moka async", 2.0, slower("moka async"), "x"),
    ];
    Ok(section)
}
