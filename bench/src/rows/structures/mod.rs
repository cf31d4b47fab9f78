//! Structures beside the bare commands that do the same: one task, and 64 that ask again as soon as they are
//! answered, on one core.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use crate::peers::{self, redis as plain};
use crate::report::{Section, Table, number, ratio};
use crate::rounds::{Contender, Series, alternate};
use crate::server::Server;
use crate::{Outcome, Plan};

mod jobs;
mod keyed;
mod ranked;

const TASKS: [usize; 2] = [1, 64];

/// One operation, given a number that grows.
pub(super) type Doing = Pin<Box<dyn Future<Output = Outcome<()>> + Send>>;
pub(super) type Op = Arc<dyn Fn(usize) -> Doing + Send + Sync>;

/// The same work by larder and by hand.
pub(super) struct Pair {
    /// As it is called with larder.
    pub(super) call: &'static str,
    pub(super) larder: Op,
    /// The bare commands.
    pub(super) commands: &'static str,
    pub(super) bare: Op,
}

pub(super) fn op<F, D>(doing: F) -> Op
where
    F: Fn(usize) -> D + Send + Sync + 'static,
    D: Future<Output = Outcome<()>> + Send + 'static,
{
    Arc::new(move |number| Box::pin(doing(number)))
}

pub(super) fn run(plan: &Plan) -> Outcome<Section> {
    let server = Server::start()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let pairs = runtime.block_on(async {
        let larder = peers::larder::open(&server.url(), 1 << 20).await?;
        let plain = plain::connect(&server.url()).await?;
        let mut pairs = keyed::pairs(&larder, &plain).await?;
        pairs.extend(jobs::pairs(&larder, &plain).await?);
        pairs.extend(ranked::pairs(&larder, &plain).await?);
        Outcome::Ok(pairs)
    })?;
    let mut section = Section::new(
        "structures",
        "Structures",
        "Redis' own shapes through larder, beside the bare commands over one multiplexed connection that all tasks \
         share. larder's steps are scripts where they bound, name or give a time to what they write; the bare commands \
         do none of that.",
    );
    let time = Duration::from_millis(plan.pick(100, 400));
    for tasks in TASKS {
        let contenders = pairs.iter().flat_map(|pair| {
            let of = |name: &str, op: &Op| contender(&runtime, name, op.clone(), tasks, time);
            [of(pair.call, &pair.larder), of(pair.commands, &pair.bare)]
        });
        let all = alternate(plan, plan.pick(1, 5), contenders.collect())?;
        section.tables.push(table(tasks, &pairs, &all));
    }
    Ok(section)
}

fn contender<'a>(
    runtime: &'a Runtime,
    name: &str,
    op: Op,
    tasks: usize,
    time: Duration,
) -> Contender<'a, 1> {
    Contender::new(name, move || runtime.block_on(round(&op, tasks, time)))
}

async fn round(op: &Op, tasks: usize, time: Duration) -> Outcome<[f64; 1]> {
    let began = Instant::now();
    let until = began + time;
    let mut running = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let op = op.clone();
        running.spawn(async move {
            let mut done = 0;
            while Instant::now() < until {
                op(task + done * tasks).await?;
                done += 1;
            }
            Outcome::Ok(done)
        });
    }
    let mut all = 0;
    while let Some(done) = running.join_next().await {
        all += done??;
    }
    Ok([all as f64 / began.elapsed().as_secs_f64()])
}

fn table(tasks: usize, pairs: &[Pair], all: &[Series<1>]) -> Table {
    let plural = if tasks == 1 { "" } else { "s" };
    let mut table = Table::captioned(
        format!("{tasks} task{plural}, one thread"),
        &["larder", "a second", "least to most", "bare", "a second", "larder to bare"],
    );
    for pair in pairs {
        let of = |name: &str| all.iter().find(|series| series.name == name);
        let (Some(larder), Some(bare)) = (of(pair.call), of(pair.commands)) else { continue };
        table.row([
            pair.call.to_owned(),
            number(larder.median(0)),
            format!("{} to {}", number(larder.least(0)), number(larder.most(0))),
            pair.commands.to_owned(),
            number(bare.median(0)),
            ratio(larder.median(0) / bare.median(0)),
        ]);
    }
    table
}
