//! Ending a tag that 100,000 entries carry, and what others feel of it meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::Connection;

use crate::peers::{self, larder::TAG};
use crate::report::{Goal, Section, Table, number};
use crate::rounds::{Contender, Series, alternate, median};
use crate::server::Server;
use crate::workload::{Payload, keys};
use crate::{Outcome, Plan};

const TOOK: usize = 0;
const PING: usize = 1;
const QUIET: usize = 2;

const LARDER: &str = "larder invalidate_tag";

/// In one go, so that nobody adds a member in between: what one writes who has seen that race.
const SCRIPT: &str = "\
local members = redis.call('SMEMBERS', KEYS[1])
for at = 1, #members, 1000 do
  redis.call('DEL', unpack(members, at, math.min(at + 999, #members)))
end
redis.call('DEL', KEYS[1])
return #members";

pub(super) fn run(plan: &Plan) -> Outcome<Section> {
    let members = plan.pick(10_000, 100_000);
    let server = Server::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Room near for a few only: what ends is far.
    let larder = runtime.block_on(peers::larder::open(&server.url(), 1 << 20))?;
    let cache = runtime.block_on(async { peers::larder::cache::<Payload>(&larder, "tagged") })?;
    let (keys, value) = (keys(members), Payload::of(100));
    let contenders: Vec<Contender<'_, 3>> = vec![
        Contender::new(LARDER, || {
            runtime.block_on(peers::larder::fill(&cache, &keys, &value))?;
            felt(&server, || Ok(runtime.block_on(larder.invalidate_tag(TAG))?))
        }),
        Contender::new("SMEMBERS, then DEL", || {
            let mut client = server.client()?;
            set_and_add(&mut client, &keys, &value)?;
            felt(&server, || smembers_del(&mut client))
        }),
        Contender::new("the same as a Lua script", || {
            let mut client = server.client()?;
            set_and_add(&mut client, &keys, &value)?;
            felt(&server, || {
                redis::cmd("EVAL").arg(SCRIPT).arg(1).arg("members").query::<()>(&mut client)?;
                Ok(())
            })
        }),
    ];
    Ok(section(members, &alternate(plan, plan.pick(1, 3), contenders)?))
}

/// Plain entries, each a member of one set.
fn set_and_add(client: &mut Connection, keys: &[String], value: &Payload) -> Outcome<()> {
    let bytes = value.encoded();
    for keys in keys.chunks(1000) {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.cmd("SET").arg(key).arg(&bytes).arg("PX").arg(21_600_000).ignore();
            pipeline.cmd("SADD").arg("members").arg(key).ignore();
        }
        pipeline.query::<()>(client)?;
    }
    Ok(())
}

fn smembers_del(client: &mut Connection) -> Outcome<()> {
    let members: Vec<Vec<u8>> = redis::cmd("SMEMBERS").arg("members").query(client)?;
    for members in members.chunks(1000) {
        redis::cmd("DEL").arg(members).query::<()>(client)?;
    }
    Ok(redis::cmd("DEL").arg("members").query(client)?)
}

/// How long `work` took, and the slowest PING of another client during it and during a quiet spell
/// before, in milliseconds.
fn felt(server: &Server, work: impl FnOnce() -> Outcome<()>) -> Outcome<[f64; 3]> {
    let mut client = server.client()?;
    let (working, over) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let pings = scope.spawn(|| -> Outcome<[f64; 2]> {
            let mut slowest = [0.0_f64; 2];
            while !over.load(Ordering::SeqCst) {
                let began = Instant::now();
                redis::cmd("PING").query::<()>(&mut client)?;
                // A ping belongs to the work if the work ran when its answer came.
                let during = usize::from(working.load(Ordering::SeqCst));
                slowest[during] = slowest[during].max(began.elapsed().as_secs_f64() * 1e3);
            }
            Ok(slowest)
        });
        std::thread::sleep(Duration::from_millis(50));
        working.store(true, Ordering::SeqCst);
        let began = Instant::now();
        let done = work();
        let took = began.elapsed().as_secs_f64() * 1e3;
        std::thread::sleep(Duration::from_millis(5));
        over.store(true, Ordering::SeqCst);
        let [quiet, during] = pings.join().map_err(|_| "the pings panicked")??;
        done.map(|()| [took, during, quiet])
    })
}

fn section(members: usize, all: &[Series<3>]) -> Section {
    let mut section = Section::new(
        "tag",
        "The end of a tag",
        "Many entries of 100 bytes carry one tag, and it ends. How long the call takes, and the slowest PING of \
         another client from its beginning to 5 ms after its end; beside it the slowest in the 50 ms before, \
         which is what this machine's scheduler does to a PING.",
    );
    let mut table = Table::captioned(
        format!("{} members", number(members as f64)),
        &["", "the call, ms", "least to most", "slowest PING meanwhile, ms", "before, ms"],
    );
    for one in all {
        table.row([
            one.name.clone(),
            number(one.median(TOOK)),
            format!("{} to {}", number(one.least(TOOK)), number(one.most(TOOK))),
            number(one.median(PING)),
            number(one.median(QUIET)),
        ]);
    }
    section.tables.push(table);
    section.goals = vec![
        Goal::at_most("the call", 1.0, median(all, LARDER, TOOK), "ms"),
        Goal::at_most("slowest PING meanwhile", 5.0, median(all, LARDER, PING), "ms"),
    ];
    section
}
