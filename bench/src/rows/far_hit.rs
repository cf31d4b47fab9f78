//! A hit on the shared side, by 1 to 256 tasks on one core: 1 KiB values, all there, none near.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use crate::peers::larder::{Beyond, Bytes};
use crate::peers::{self, Far, by_hand, redis as plain};
use crate::report::{Goal, Section, Table, number, ratio};
use crate::rounds::{Contender, Series, alternate, median, percentile};
use crate::server::Server;
use crate::workload::{KEYS, Payload, keys, text, uniform};
use crate::{Outcome, Plan, usage};

const TASKS: [usize; 4] = [1, 16, 64, 256];
const VALUE_BYTES: usize = 1024;

/// Operations a second, p50 and p99 in microseconds, processor microseconds an operation.
const MEASURES: usize = 4;
const RATE: usize = 0;
const P50: usize = 1;
const P99: usize = 2;
const CPU: usize = 3;

const LARDER: &str = "larder";
const LARDER_BYTES: &str = "larder, raw bytes";
const PLAIN: &str = "redis GET, decoded";
const PLAIN_BYTES: &str = "redis GET, raw bytes";
const FLOOR: &str = "floor, checked, decoded";
const FLOOR_BYTES: &str = "floor, raw bytes";

pub(super) fn run(plan: &Plan) -> Outcome<Section> {
    let one = Builder::new_current_thread().enable_all().build()?;
    let all = rounds(plan, &one, &TASKS)?;
    let two = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let both = rounds(plan, &two, &[64])?;
    Ok(section(&all, &both))
}

type Rounds = Vec<(usize, Vec<Series<MEASURES>>)>;

fn rounds(plan: &Plan, runtime: &Runtime, tasks: &[usize]) -> Outcome<Rounds> {
    let server = Server::start()?;
    let scene = Scene::new(runtime, &server)?;
    let mut all = Vec::new();
    for tasks in tasks {
        all.push((*tasks, alternate(plan, plan.pick(3, 7), scene.contenders(*tasks, plan))?));
    }
    let stats = scene.larder.stats();
    if stats.hits_near * 100 > stats.hits_far {
        return Err(format!("more than a hundredth was answered near: {stats:?}").into());
    }
    Ok(all)
}

/// Everybody's connection, and everybody's values on one server.
struct Scene<'a> {
    runtime: &'a Runtime,
    keys: Arc<[String]>,
    larder: larder::Larder,
    decoded: Beyond<Payload>,
    bytes: Beyond<Bytes>,
    plain: redis::aio::MultiplexedConnection,
    floor: by_hand::Floor,
    sealed: Arc<[String]>,
}

impl<'a> Scene<'a> {
    fn new(runtime: &'a Runtime, server: &Server) -> Outcome<Scene<'a>> {
        let keys: Arc<[String]> = keys(KEYS).into();
        let sealed: Arc<[String]> = keys.iter().map(|key| format!("sealed:{key}")).collect();
        runtime.block_on(async {
            // Near cannot be switched off: the least there is holds none of these values.
            let larder = peers::larder::open(&server.url(), 1024).await?;
            let decoded = peers::larder::cache(&larder, "decoded")?;
            let bytes = peers::larder::cache(&larder, "bytes")?;
            peers::larder::fill(&decoded, &keys, &Payload::of(VALUE_BYTES)).await?;
            let raw = Bytes::from(text(VALUE_BYTES).into_bytes());
            peers::larder::fill(&bytes, &keys, &raw).await?;
            let mut plain = plain::connect(&server.url()).await?;
            let payload = Payload::of(VALUE_BYTES).encoded();
            let mut pipeline = redis::pipe();
            for (key, name) in keys.iter().zip(sealed.iter()) {
                pipeline.set(key, &payload[..]).ignore();
                pipeline.set(name, by_hand::sealed(name, &payload)).ignore();
            }
            pipeline.query_async::<()>(&mut plain).await?;
            let floor = by_hand::Floor::connect(server.port()).await?;
            let (decoded, bytes) = (Beyond(decoded), Beyond(bytes));
            Ok(Scene { runtime, keys, larder, decoded, bytes, plain, floor, sealed })
        })
    }

    fn contenders(&self, tasks: usize, plan: &Plan) -> Vec<Contender<'_, MEASURES>> {
        let time = Duration::from_millis(plan.pick(150, 400));
        vec![
            self.contender(LARDER, &self.decoded, &self.keys, tasks, time),
            self.contender(LARDER_BYTES, &self.bytes, &self.keys, tasks, time),
            self.contender(PLAIN, &plain::Decoded(self.plain.clone()), &self.keys, tasks, time),
            self.contender(PLAIN_BYTES, &plain::Raw(self.plain.clone()), &self.keys, tasks, time),
            self.contender(FLOOR, &by_hand::Checked(self.floor.clone()), &self.sealed, tasks, time),
            self.contender(FLOOR_BYTES, &by_hand::Raw(self.floor.clone()), &self.keys, tasks, time),
        ]
    }

    fn contender<P: Far>(
        &self,
        name: &str,
        peer: &P,
        keys: &Arc<[String]>,
        tasks: usize,
        time: Duration,
    ) -> Contender<'_, MEASURES> {
        let orders: Vec<Arc<[u32]>> =
            (0..tasks).map(|task| uniform(KEYS, 4096, task as u64).into()).collect();
        let (peer, keys) = (peer.clone(), keys.clone());
        Contender::new(name, move || self.runtime.block_on(round(&peer, &keys, &orders, time)))
    }
}

/// Each task asks again as soon as it is answered, until the time is over.
async fn round<P: Far>(
    peer: &P,
    keys: &Arc<[String]>,
    orders: &[Arc<[u32]>],
    time: Duration,
) -> Outcome<[f64; MEASURES]> {
    let (began, cpu) = (Instant::now(), usage::cpu());
    let until = began + time;
    let mut running = tokio::task::JoinSet::new();
    for order in orders {
        running.spawn(work(peer.clone(), keys.clone(), order.clone(), until));
    }
    let mut all = Vec::new();
    while let Some(done) = running.join_next().await {
        all.extend(done??);
    }
    let (took, cpu) = (began.elapsed(), usage::cpu() - cpu);
    all.sort_unstable();
    let micros = |part: f64| f64::from(percentile(&all, part)) / 1e3;
    let count = all.len() as f64;
    Ok([count / took.as_secs_f64(), micros(0.5), micros(0.99), cpu.as_secs_f64() * 1e6 / count])
}

async fn work<P: Far>(
    peer: P,
    keys: Arc<[String]>,
    order: Arc<[u32]>,
    until: Instant,
) -> Outcome<Vec<u32>> {
    let mut took = Vec::with_capacity(1 << 14);
    for at in order.iter().cycle() {
        let start = Instant::now();
        if start >= until {
            break;
        }
        if peer.hit(&keys[*at as usize]).await? < VALUE_BYTES {
            return Err("a value is too short".into());
        }
        took.push(start.elapsed().as_nanos() as u32);
    }
    Ok(took)
}

fn section(all: &Rounds, both: &Rounds) -> Section {
    let mut section = Section::new(
        "far_hit",
        "A hit far",
        "2,000 keys of 32 bytes, values of 1 KiB, none of them near; tasks that ask again as soon as they are \
         answered, against a redis-server on the same machine. larder reads through its typed face: envelope, \
         checksum, key and one tag checked, the value decoded. `redis GET` is a multiplexed connection with its \
         defaults, shared by all tasks. The floor is a hand-written MGET of all that wait, which checks a \
         checksum and the key and nothing else. Processor time is that of this process, user and system; the \
         server's is not counted.",
    );
    for (tasks, series) in all {
        let plural = if *tasks == 1 { "" } else { "s" };
        section.tables.push(table(format!("{tasks} task{plural}, one thread"), series));
    }
    for (tasks, series) in both {
        section.tables.push(table(format!("{tasks} tasks, two threads"), series));
    }
    for (tasks, series) in all {
        let of = |name, measure| median(series, name, measure);
        match tasks {
            1 => section.goals.push(Goal::at_most(
                "1 task: p50, to redis GET's",
                1.1,
                of(LARDER, P50) / of(PLAIN, P50),
                "x",
            )),
            64 => {
                section.goals.push(Goal::at_least(
                    "64 tasks, one thread: reads a second, to redis GET's",
                    3.0,
                    of(LARDER, RATE) / of(PLAIN, RATE),
                    "x",
                ));
                section.goals.push(Goal::at_most(
                    "64 tasks, raw bytes: processor time, to the floor's",
                    1.5,
                    of(LARDER_BYTES, CPU) / of(FLOOR_BYTES, CPU),
                    "x",
                ));
            }
            _ => {}
        }
    }
    section
}

fn table(caption: String, series: &[Series<MEASURES>]) -> Table {
    let (plain, floor) = (median(series, PLAIN, RATE), median(series, FLOOR, CPU));
    let mut table = Table::captioned(
        caption,
        &[
            "",
            "reads a second",
            "least to most",
            "to redis GET",
            "p50, us",
            "p99, us",
            "processor a read, us",
            "to the floor",
        ],
    );
    for one in series {
        table.row([
            one.name.clone(),
            number(one.median(RATE)),
            format!("{} to {}", number(one.least(RATE)), number(one.most(RATE))),
            ratio(one.median(RATE) / plain),
            number(one.median(P50)),
            number(one.median(P99)),
            number(one.median(CPU)),
            ratio(one.median(CPU) / floor),
        ]);
    }
    table
}
