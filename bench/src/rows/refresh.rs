//! What refresh-ahead costs a hit, and what a header alone saves: 64 KiB values that the source says are unchanged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::{Cache, Larder, Lifetime, RefreshAhead, Refreshed, Stale};
use tokio::runtime::{Builder, Runtime};

use crate::peers;
use crate::report::{Section, Table, nanos, number};
use crate::rounds::{Contender, Series, alternate, percentile};
use crate::server::Server;
use crate::workload::{KEYS, Payload, keys, uniform};
use crate::{Outcome, Plan, counted, usage};

const VALUE_BYTES: usize = 64 << 10;
/// So few that all are near, so many that each is stale again when its turn comes.
const LARGE: usize = 200;

/// What the source says of a value that it is shown.
#[derive(Clone, Copy)]
enum Says {
    Unchanged,
    /// The same again, as if it were another.
    New,
}

pub(super) fn run(plan: &Plan) -> Outcome<Section> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let server = Server::start()?;
    let handle = runtime.block_on(peers::larder::open(&server.url(), 64 << 20))?;
    let mut section = Section::new(
        "refresh",
        "Refresh ahead",
        "A hit near with refresh-ahead off, with lots that are not drawn yet, and with lots drawn at every hit; 2,000 keys, 100 \
         bytes each, one thread. Then a refresh of 64 KiB that compression does not make smaller, over an entry that is near \
         and stale: lease and store, two round trips, one at a time; the loader answers at once.",
    );
    section.tables.push(hits(plan, &runtime, &handle)?);
    section.tables.push(refreshes(plan, &runtime, &handle)?);
    Ok(section)
}

/// Nanoseconds and allocations a hit.
fn hits(plan: &Plan, runtime: &Runtime, handle: &Larder) -> Outcome<Table> {
    let keys: Arc<[String]> = keys(KEYS).into();
    let order: Arc<[u32]> = uniform(KEYS, plan.pick(200_000, 500_000), 11).into();
    // With a lifetime of 39 seconds and loads of two the lots of the last begin with the first hit, and
    // none is drawn: once in three hundred million, and the lifetime is over before that.
    let kinds = [
        ("off", RefreshAhead::off(), peers::LIFETIME, Duration::ZERO),
        ("early, not due", RefreshAhead::early(1.0), peers::LIFETIME, Duration::ZERO),
        (
            "early, drawn for",
            RefreshAhead::early(1.0),
            Duration::from_secs(39),
            Duration::from_secs(2),
        ),
    ];
    let mut contenders = Vec::new();
    for (number, (name, when, fresh_for, cost)) in kinds.into_iter().enumerate() {
        let lifetime = Lifetime::fresh_for(fresh_for).jitter(0.0);
        let cache = handle.cache(format!("hits{number}")).lifetime(lifetime).refresh_ahead(when);
        let cache: Cache<str, Payload> = cache.loads_max(KEYS).shared()?;
        let (keys, order) = (keys.clone(), order.clone());
        contenders.push(Contender::new(name, move || {
            runtime.block_on(hits_of(&cache, &keys, &order, cost))
        }));
    }
    let mut table =
        Table::captioned("a hit near", &["", "ns a hit", "least to most", "allocations a hit"]);
    for one in &alternate(plan, plan.pick(3, 7), contenders)? {
        table.row([
            one.name.clone(),
            nanos(one.median(0)),
            format!("{} to {}", nanos(one.least(0)), nanos(one.most(0))),
            number(one.median(1)),
        ]);
    }
    Ok(table)
}

async fn hits_of(
    cache: &Cache<str, Payload>,
    keys: &[String],
    order: &[u32],
    cost: Duration,
) -> Outcome<[f64; 2]> {
    let load = move || async move {
        tokio::time::sleep(cost).await;
        Ok::<_, std::io::Error>(Payload::of(100))
    };
    if cost > Duration::ZERO {
        // Anew in each round, so that all have their whole lifetime before them.
        cache_all(cache, keys, cost).await?;
    } else {
        peers::larder::fill(cache, keys, &Payload::of(100)).await?;
    }
    let (calls, own) = (counted::calls(), usage::own_cpu());
    let mut found = 0;
    for at in order {
        let entry = cache.get_or_load(&keys[*at as usize], load).await?;
        found += usize::from(entry.origin() == larder::Origin::Near);
    }
    let took = usage::own_cpu() - own;
    // Each may be asked for far once: when the news of its own end came only after its load.
    if found + keys.len() < order.len() {
        return Err(format!("{found} hits of {}", order.len()).into());
    }
    let hits = order.len() as f64;
    Ok([took.as_nanos() as f64 / hits, (counted::calls() - calls) as f64 / hits])
}

/// Loads each key anew, all at once, since each takes its time.
async fn cache_all(cache: &Cache<str, Payload>, keys: &[String], cost: Duration) -> Outcome<()> {
    let mut loads = tokio::task::JoinSet::new();
    for key in keys {
        let (cache, key) = (cache.clone(), key.clone());
        loads.spawn(async move {
            cache.invalidate(&key).await?;
            let load = move || async move {
                tokio::time::sleep(cost).await;
                Ok::<_, std::io::Error>(Payload::of(100))
            };
            cache.get_or_load(&key, load).await.map(drop)
        });
    }
    while let Some(loaded) = loads.join_next().await {
        loaded??;
    }
    Ok(())
}

/// Refreshes a second, p50 and p99 in microseconds.
fn refreshes(plan: &Plan, runtime: &Runtime, handle: &Larder) -> Outcome<Table> {
    let (keys, value) = (keys(LARGE), Payload::of(VALUE_BYTES));
    let time = Duration::from_millis(plan.pick(300, 1_000));
    let mut contenders = Vec::new();
    let kinds = [("the header alone", Says::Unchanged), ("the whole value", Says::New)];
    for (number, (name, says)) in kinds.into_iter().enumerate() {
        let lifetime = Lifetime::fresh_for(Duration::from_millis(1)).stale_for(peers::LIFETIME);
        let cache = handle.cache(format!("refreshes{number}")).lifetime(lifetime.jitter(0.0));
        let cache: Cache<str, Payload> = cache.stale(Stale::InNeed).shared()?;
        let (keys, value) = (keys.clone(), value.clone());
        contenders.push(Contender::new(name, move || {
            runtime.block_on(refreshes_of(&cache, &keys, &value, says, time))
        }));
    }
    let head = ["", "refreshes a second", "least to most", "p50, us", "p99, us"];
    let mut table = Table::captioned("a refresh of 64 KiB", &head);
    for one in &alternate::<3>(plan, plan.pick(3, 7), contenders)? {
        table.row(cells(one));
    }
    Ok(table)
}

fn cells(one: &Series<3>) -> [String; 5] {
    [
        one.name.clone(),
        number(one.median(0)),
        format!("{} to {}", number(one.least(0)), number(one.most(0))),
        number(one.median(1)),
        number(one.median(2)),
    ]
}

async fn refreshes_of(
    cache: &Cache<str, Payload>,
    keys: &[String],
    value: &Payload,
    says: Says,
    time: Duration,
) -> Outcome<[f64; 3]> {
    let refresh = async |key: &str| {
        let value = value.clone();
        let load = move |old: Option<Arc<Payload>>| async move {
            Ok::<_, std::io::Error>(match (says, old) {
                (Says::Unchanged, Some(_)) => Refreshed::Unchanged,
                _ => Refreshed::from(value),
            })
        };
        cache.get_or_refresh(key, load).await
    };
    for key in keys {
        refresh(key).await?;
    }
    let before = cache.stats();
    let (began, mut all) = (Instant::now(), Vec::new());
    for key in keys.iter().cycle() {
        let asked = Instant::now();
        if asked - began >= time {
            break;
        }
        refresh(key).await?;
        all.push(asked.elapsed());
    }
    let (after, took) = (cache.stats(), began.elapsed());
    // One that was still fresh was no refresh.
    let loads = after.loads - before.loads;
    let headers = after.unchanged - before.unchanged;
    let expected = if matches!(says, Says::Unchanged) { loads } else { 0 };
    if loads < all.len() as u64 * 9 / 10 || headers != expected {
        let all = all.len();
        return Err(format!("{loads} loads and {headers} headers in {all} refreshes").into());
    }
    all.sort_unstable();
    let us = |part| percentile(&all, part).as_secs_f64() * 1e6;
    Ok([loads as f64 / took.as_secs_f64(), us(0.5), us(0.99)])
}
