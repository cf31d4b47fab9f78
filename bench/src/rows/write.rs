//! A write through the cache, beside the bare commands: 1 KiB values, each task on keys of its own, a sink that has
//! nothing to do.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::{BoxError, Cache, Lifetime, Sink, Through, Written};
use redis::aio::MultiplexedConnection;
use tokio::runtime::{Builder, Runtime};

use crate::peers::{self, redis as plain};
use crate::report::{Section, Table, number};
use crate::rounds::{Contender, Series, alternate, percentile};
use crate::server::Server;
use crate::workload::{KEYS, Payload, keys};
use crate::{Outcome, Plan};

const TASKS: [usize; 3] = [1, 16, 64];
const VALUE_BYTES: usize = 1024;

/// Operations a second, p50 and p99 in microseconds.
const MEASURES: usize = 3;
const RATE: usize = 0;
const P50: usize = 1;
const P99: usize = 2;

/// Somebody who writes.
trait Writes: Clone + Send + Sync + 'static {
    fn write(&self, key: &str) -> impl Future<Output = Outcome<()>> + Send;
}

/// A database without work: what is left is the cache's.
struct Nowhere;

impl Sink<str, Payload> for Nowhere {
    async fn write(&self, _: &str, _: &Payload) -> Result<(), BoxError> {
        Ok(())
    }

    async fn remove(&self, _: &str) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Guard, sink, finish.
#[derive(Clone)]
struct ThroughLarder(Through<str, Payload, Nowhere>, Payload);

impl Writes for ThroughLarder {
    async fn write(&self, key: &str) -> Outcome<()> {
        match self.0.write(key, self.1.clone()).await? {
            Written::Kept => Ok(()),
            Written::Ended => Err("nobody else writes this key, and it was not kept".into()),
        }
    }
}

/// What cache-aside does after its commit.
#[derive(Clone)]
struct Invalidate(Cache<str, Payload>);

impl Writes for Invalidate {
    async fn write(&self, key: &str) -> Outcome<()> {
        Ok(self.0.invalidate(key).await?)
    }
}

/// SET with a lifetime, and nothing else: of two writers the older value may stay.
#[derive(Clone)]
struct Set(MultiplexedConnection, Payload);

impl Writes for Set {
    async fn write(&self, key: &str) -> Outcome<()> {
        let mut connection = self.0.clone();
        let mut set = redis::cmd("SET");
        set.arg(key).arg(self.1.encoded()).arg("PX").arg(peers::LIFETIME.as_millis() as u64);
        Ok(set.query_async(&mut connection).await?)
    }
}

/// DEL: the bare half of cache-aside.
#[derive(Clone)]
struct Del(MultiplexedConnection);

impl Writes for Del {
    async fn write(&self, key: &str) -> Outcome<()> {
        let mut connection = self.0.clone();
        Ok(redis::cmd("DEL").arg(key).query_async(&mut connection).await?)
    }
}

pub(super) fn run(plan: &Plan) -> Outcome<Section> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let server = Server::start()?;
    let (handle, plain) = runtime.block_on(async {
        let handle = peers::larder::open(&server.url(), 64 << 20).await?;
        Outcome::Ok((handle, plain::connect(&server.url()).await?))
    })?;
    let value = Payload::of(VALUE_BYTES);
    let (bare, tagged) = runtime.block_on(async {
        let bare = handle.cache("bare").lifetime(Lifetime::fresh_for(peers::LIFETIME)).shared()?;
        Outcome::Ok((bare, peers::larder::cache::<Payload>(&handle, "tagged")?))
    })?;
    let keys: Arc<[String]> = keys(KEYS).into();
    let mut section = Section::new(
        "write",
        "A write through the cache",
        "Values of 1 KiB, one core, keys that no two tasks share, a sink that does nothing. Through the cache a write is \
         a guard before the sink and FINISH after it, two round trips and two scripts, and the value is read back \
         by nobody. Beside it what it is made of, and the bare commands, which promise nothing.",
    );
    for tasks in TASKS {
        let through =
            |cache: &Cache<str, Payload>| ThroughLarder(cache.through(Nowhere), value.clone());
        let scene = Scene { runtime: &runtime, keys: &keys, tasks, plan };
        let contenders = vec![
            scene.contender("larder write", through(&bare)),
            scene.contender("larder write, one tag", through(&tagged)),
            scene.contender("larder invalidate", Invalidate(bare.clone())),
            scene.contender("redis SET PX", Set(plain.clone(), value.clone())),
            scene.contender("redis DEL", Del(plain.clone())),
        ];
        section.tables.push(table(tasks, &alternate(plan, plan.pick(3, 7), contenders)?));
    }
    Ok(section)
}

struct Scene<'a> {
    runtime: &'a Runtime,
    keys: &'a Arc<[String]>,
    tasks: usize,
    plan: &'a Plan,
}

impl<'a> Scene<'a> {
    fn contender(&self, name: &str, writer: impl Writes) -> Contender<'a, MEASURES> {
        let time = Duration::from_millis(self.plan.pick(150, 400));
        let (runtime, keys, tasks) = (self.runtime, self.keys.clone(), self.tasks);
        Contender::new(name, move || runtime.block_on(round(&writer, &keys, tasks, time)))
    }
}

/// Each task writes again as soon as it is answered, until the time is over.
async fn round(
    writer: &impl Writes,
    keys: &Arc<[String]>,
    tasks: usize,
    time: Duration,
) -> Outcome<[f64; MEASURES]> {
    let began = Instant::now();
    let until = began + time;
    let mut running = tokio::task::JoinSet::new();
    for task in 0..tasks {
        running.spawn(work(writer.clone(), keys.clone(), (task, tasks), until));
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

async fn work(
    writer: impl Writes,
    keys: Arc<[String]>,
    (first, step): (usize, usize),
    until: Instant,
) -> Outcome<Vec<Duration>> {
    let mut all = Vec::new();
    for key in keys.iter().skip(first).step_by(step).cycle() {
        let began = Instant::now();
        if began >= until {
            break;
        }
        writer.write(key).await?;
        all.push(began.elapsed());
    }
    Ok(all)
}

fn table(tasks: usize, all: &[Series<MEASURES>]) -> Table {
    let caption = if tasks == 1 { "1 task".to_owned() } else { format!("{tasks} tasks") };
    let mut table =
        Table::captioned(caption, &["", "a second", "least to most", "p50, us", "p99, us"]);
    for one in all {
        table.row([
            one.name.clone(),
            number(one.median(RATE)),
            format!("{} to {}", number(one.least(RATE)), number(one.most(RATE))),
            number(one.median(P50)),
            number(one.median(P99)),
        ]);
    }
    table
}
