//! What an entry weighs: in Redis, and in this process.

use std::time::{Duration, Instant};

use larder::Lifetime;
use redis::Connection;
use tokio::runtime::Runtime;

use crate::peers::{self, larder::TAG};
use crate::report::{Goal, Section, Table, number};
use crate::server::Server;
use crate::workload::{Payload, keys};
use crate::{Outcome, Plan, counted};

pub(super) fn run(plan: &Plan) -> Outcome<Section> {
    let count = plan.pick(10_000, 100_000);
    let (keys, value) = (keys(count), Payload::of(100));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut section = Section::new(
        "bytes",
        "What an entry weighs",
        "Keys of 32 bytes, values of 100, MessagePack in Redis (+ 9 bytes). In Redis: how much `used_memory` \
         grew, by entry, all under names of the same length. In the process: how much what the allocator handed \
         out grew, by entry, key and value included, each cache with room for a quarter more than is in it.",
    );
    far(&runtime, &keys, &value, &mut section)?;
    near(&runtime, plan, &keys, &value, &mut section)?;
    let emptied = freed(&runtime)?;
    section.notes.push(format!(
        "All of it freed: 1,000 tagged entries with a lifetime of 300 ms, and everything beside them, were gone \
         from Redis {} s after they had been stored.",
        number(emptied.as_secs_f64())
    ));
    Ok(section)
}

fn far(runtime: &Runtime, keys: &[String], value: &Payload, section: &mut Section) -> Outcome<()> {
    let server = Server::start()?;
    let count = keys.len() as f64;
    let grown = |fill: &mut dyn FnMut(&mut Connection) -> Outcome<()>| -> Outcome<f64> {
        server.empty()?;
        let mut client = server.client()?;
        let before = server.used_memory()?;
        fill(&mut client)?;
        Ok((server.used_memory()? - before) as f64 / count)
    };
    let mut entries = Vec::new();
    let standing = grown(&mut |client| {
        let larder = runtime.block_on(peers::larder::open(&server.url(), 1024))?;
        let cache = peers::larder::cache::<Payload>(&larder, "tagged")?;
        runtime.block_on(peers::larder::fill(&cache, keys, value))?;
        drop((cache, larder));
        entries = values(client)?;
        Ok(())
    })?;
    if entries.len() != keys.len() {
        return Err(format!("{} of {} entries are in Redis", entries.len(), keys.len()).into());
    }
    let plain = value.encoded();
    let envelopes = grown(&mut |client| set(client, &entries, |bytes| bytes, false))?;
    let alone = grown(&mut |client| set(client, &entries, |_| &plain, false))?;
    let member = grown(&mut |client| set(client, &entries, |_| &plain, true))?;
    let envelope = entries.first().map_or(0, |(_, bytes)| bytes.len());
    let mut table =
        Table::captioned("In Redis", &["", "bytes an entry", "more than the plain one"]);
    for (name, bytes) in [
        ("SET", alone),
        ("SET, SADD to a tag's set", member),
        ("larder, one tag", envelopes),
        ("the same, and what Redis notes of who read it", standing),
    ] {
        table.row([name.into(), number(bytes), number(bytes - alone)]);
    }
    section.tables.push(table);
    section.goals.push(Goal::at_most(
        "in Redis: more than the plain entry",
        120.0,
        envelopes - alone,
        "B",
    ));
    section.notes.push(format!(
        "An envelope takes {envelope} bytes. Redis' note of who read a key (client tracking) is one for all \
         clients, of a size that no client can choose, and goes with the first change."
    ));
    Ok(())
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// Larder's entries as they lie there, without leases and tags.
fn values(client: &mut Connection) -> Outcome<Entries> {
    let names: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*:v:*").query(client)?;
    let mut entries = Vec::with_capacity(names.len());
    for names in names.chunks(1000) {
        let values: Vec<Vec<u8>> = redis::cmd("MGET").arg(names).query(client)?;
        entries.extend(names.iter().cloned().zip(values));
    }
    Ok(entries)
}

fn set<'a>(
    client: &mut Connection,
    entries: &'a Entries,
    value: impl Fn(&'a Vec<u8>) -> &'a Vec<u8>,
    add: bool,
) -> Outcome<()> {
    for entries in entries.chunks(1000) {
        let mut pipeline = redis::pipe();
        for (name, bytes) in entries {
            let set = pipeline.cmd("SET").arg(name).arg(value(bytes)).arg("PX");
            set.arg(peers::LIFETIME.as_millis() as u64).ignore();
            if add {
                pipeline.cmd("SADD").arg(TAG).arg(name).ignore();
            }
        }
        pipeline.query::<()>(client)?;
    }
    Ok(())
}

fn near(
    runtime: &Runtime,
    plan: &Plan,
    keys: &[String],
    value: &Payload,
    section: &mut Section,
) -> Outcome<()> {
    let room = keys.len() * 5 / 4;
    let mut table = Table::captioned("In this process", &["", "bytes an entry"]);
    let count = keys.len() as f64;
    for make in peers::NEAR {
        let (grown, kept) = counted::growth(|| {
            let peer = make(runtime.handle(), room)?;
            peer.fill(keys, value)?;
            Outcome::Ok(peer)
        });
        let peer = kept?;
        if plan.takes(peer.name()) {
            table.row([peer.name().into(), number(grown as f64 / count)]);
        }
    }
    // Last: its connections give back their buffers some time after it was dropped.
    let server = Server::start()?;
    let (grown, kept) = counted::growth(|| {
        runtime.block_on(async {
            // Its room is bytes: what it charges an entry of this size, and a quarter more.
            let larder = peers::larder::open(&server.url(), 600 * room as u64).await?;
            let cache = peers::larder::cache::<Payload>(&larder, "tagged")?;
            peers::larder::fill(&cache, keys, value).await?;
            Outcome::Ok((larder, cache))
        })
    });
    let (larder, cache) = kept?;
    let looked = async {
        for key in keys {
            cache.get(key).await?;
        }
        Outcome::Ok(larder.stats().hits_near as f64)
    };
    let part = 100.0 * runtime.block_on(looked)? / count;
    table.row(["larder, one tag".into(), number(grown as f64 / count)]);
    section.tables.push(table);
    section.notes.push(format!("Of larder's entries {} % were near.", number(part)));
    Ok(())
}

/// Until a server on which everything has a short life is empty.
fn freed(runtime: &Runtime) -> Outcome<Duration> {
    let server = Server::start()?;
    let began = runtime.block_on(async {
        let larder = peers::larder::open(&server.url(), 1 << 20).await?;
        let short = Duration::from_millis(300);
        let builder = larder.cache::<str, Payload>("short").lifetime(Lifetime::fresh_for(short));
        let cache = builder.max_load(short).tagged_by(|_: &str| [TAG]).shared()?;
        peers::larder::fill(&cache, &keys(1000), &Payload::of(100)).await?;
        Outcome::Ok(Instant::now())
    })?;
    let mut client = server.client()?;
    while began.elapsed() < Duration::from_secs(30) {
        let left: u64 = redis::cmd("DBSIZE").query(&mut client)?;
        if left == 0 {
            return Ok(began.elapsed());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err("something outlives its lifetime".into())
}
