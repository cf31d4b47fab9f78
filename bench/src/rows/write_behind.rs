//! A write behind, beside the bare commands it is made of: 1 KiB values, each task on keys of its own, and nobody who
//! flushes.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::{Cache, Lifetime, WriteBehind};
use redis::aio::MultiplexedConnection;

use crate::peers::{self, redis as plain};
use crate::report::{Section, Table, number};
use crate::rounds::{Contender, Series, alternate, percentile};
use crate::server::Server;
use crate::workload::{KEYS, Payload, keys};
use crate::{Outcome, Plan};

const TASKS: [usize; 3] = [1, 16, 64];
const VALUE_BYTES: usize = 1024;
const PARTITIONS: u32 = 16;

/// Operations a second, p50 and p99 in microseconds.
const MEASURES: usize = 3;

trait Writes: Clone + Send + Sync + 'static {
    fn write(&self, key: &String) -> impl Future<Output = Outcome<()>> + Send;
}

/// Value, pending write and queue, in one script.
#[derive(Clone)]
struct Behind(Cache<String, Payload>, Payload);

impl Writes for Behind {
    async fn write(&self, key: &String) -> Outcome<()> {
        Ok(self.0.write_behind(key, self.1.clone()).await?)
    }
}

/// A value and an entry in a stream, in one transaction; no bound, no load ended, nothing for a value that is evicted.
#[derive(Clone)]
struct SetAndAdd(MultiplexedConnection, Payload);

impl Writes for SetAndAdd {
    async fn write(&self, key: &String) -> Outcome<()> {
        let mut connection = self.0.clone();
        let mut both = redis::pipe();
        both.atomic();
        let set = both.cmd("SET").arg(key).arg(self.1.encoded());
        set.arg("PX").arg(peers::LIFETIME.as_millis() as u64).ignore();
        both.cmd("XADD").arg("queue").arg("*").arg("k").arg(key).ignore();
        Ok(both.query_async(&mut connection).await?)
    }
}

pub(super) fn run(plan: &Plan) -> Outcome<Section> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = Server::start()?;
    let (handle, plain) = runtime.block_on(async {
        let handle = peers::larder::open(&server.url(), 64 << 20).await?;
        Outcome::Ok((handle, plain::connect(&server.url()).await?))
    })?;
    let value = Payload::of(VALUE_BYTES);
    let cache = runtime.block_on(async {
        let lifetime = Lifetime::fresh_for(peers::LIFETIME);
        let behind = WriteBehind::partitions(PARTITIONS).backlog_max(10_000_000);
        Outcome::Ok(handle.cache("behind").lifetime(lifetime).write_behind(behind).shared()?)
    })?;
    let keys: Arc<[String]> = keys(KEYS).into();
    let mut section = Section::new(
        "write_behind",
        "A write behind",
        "Values of 1 KiB, one core, keys that no two tasks share; nobody flushes, so the queue grows. A write is one \
         script: the value, the pending write beside it, an entry in the queue. Beside it a SET and an XADD in one \
         transaction, which lose the write when the value is evicted and let an old load store over it.",
    );
    for tasks in TASKS {
        let time = Duration::from_millis(plan.pick(150, 400));
        let (runtime, server) = (&runtime, &server);
        let empty = || Outcome::Ok(redis::cmd("FLUSHALL").query::<()>(&mut server.client()?)?);
        let (behind, bare) =
            (Behind(cache.clone(), value.clone()), SetAndAdd(plain.clone(), value.clone()));
        let (one, other) = (keys.clone(), keys.clone());
        let contenders: Vec<Contender<'_, MEASURES>> = vec![
            Contender::new("larder write_behind", move || {
                empty()?;
                runtime.block_on(round(&behind, &one, tasks, time))
            }),
            Contender::new("redis SET, XADD", move || {
                empty()?;
                runtime.block_on(round(&bare, &other, tasks, time))
            }),
        ];
        section.tables.push(table(tasks, &alternate(plan, plan.pick(3, 7), contenders)?));
    }
    Ok(section)
}

/// Each task writes again as soon as it is answered, until the time is over.
async fn round(
    writer: &impl Writes,
    keys: &Arc<[String]>,
    tasks: usize,
    time: Duration,
) -> Outcome<[f64; MEASURES]> {
    let began = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let (writer, keys) = (writer.clone(), keys.clone());
        running.spawn(async move {
            let mut all = Vec::new();
            for key in keys.iter().skip(task).step_by(tasks).cycle() {
                let sent = Instant::now();
                if sent.duration_since(began) >= time {
                    break;
                }
                writer.write(key).await?;
                all.push(sent.elapsed());
            }
            Outcome::Ok(all)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = running.join_next().await {
        all.extend(done??);
    }
    let took = began.elapsed();
    all.sort_unstable();
    let us = |part| percentile(&all, part).as_secs_f64() * 1e6;
    Ok([all.len() as f64 / took.as_secs_f64(), us(0.5), us(0.99)])
}

fn table(tasks: usize, all: &[Series<MEASURES>]) -> Table {
    let caption = if tasks == 1 { "1 task".to_owned() } else { format!("{tasks} tasks") };
    let mut table =
        Table::captioned(caption, &["", "a second", "least to most", "p50, us", "p99, us"]);
    for one in all {
        table.row([
            one.name.clone(),
            number(one.median(0)),
            format!("{} to {}", number(one.least(0)), number(one.most(0))),
            number(one.median(1)),
            number(one.median(2)),
        ]);
    }
    table
}
