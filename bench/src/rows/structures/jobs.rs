//! Queues, plain lists and locks: each operation a whole turn, so that nothing piles up.

use std::time::Duration;

use larder::structures::{Fifo, Queue};
use larder::{Larder, MINUTE};
use redis::aio::MultiplexedConnection;
use redis::cmd;

use super::{Pair, op};
use crate::Outcome;

/// Its id, its fields and their values.
type Entry = (String, Vec<String>);

const BODY: &str = "to ann: your order is on its way, and will be there on Tuesday";
/// How many locks there are: more than tasks, so that nobody waits.
const LOCKS: usize = 1000;

pub(super) async fn pairs(larder: &Larder, plain: &MultiplexedConnection) -> Outcome<Vec<Pair>> {
    Ok(vec![queue(larder, plain).await?, fifo(larder, plain)?, lock(larder, plain)?])
}

async fn queue(larder: &Larder, plain: &MultiplexedConnection) -> Outcome<Pair> {
    let queue: Queue<String> = larder.queue("bench").open()?;
    let mut making = cmd("XGROUP");
    making.arg("CREATE").arg("bare:stream").arg("g").arg("0").arg("MKSTREAM");
    making.query_async::<()>(&mut plain.clone()).await?;
    let plain = plain.clone();
    Ok(Pair {
        call: "queue: push, claim, finish",
        larder: op(move |_| {
            let queue = queue.clone();
            async move {
                queue.push(&BODY.to_owned()).await?;
                // With several tasks another may have had ours: then there was one of another's.
                if let Some(job) = queue.claim(Duration::ZERO).await? {
                    let _ = job.finish().await?;
                }
                Ok(())
            }
        }),
        commands: "XADD, XREADGROUP, XACK and XDEL",
        bare: op(move |_| {
            let mut plain = plain.clone();
            async move {
                let mut add = cmd("XADD");
                add.arg("bare:stream").arg("*").arg("b").arg(BODY);
                add.query_async::<()>(&mut plain).await?;
                let mut read = cmd("XREADGROUP");
                read.arg("GROUP").arg("g").arg("c").arg("COUNT").arg(1);
                read.arg("STREAMS").arg("bare:stream").arg(">");
                let read: Option<Vec<(String, Vec<Entry>)>> = read.query_async(&mut plain).await?;
                for (id, _) in read.into_iter().flatten().flat_map(|(_, entries)| entries) {
                    let mut done = redis::pipe();
                    done.cmd("XACK").arg("bare:stream").arg("g").arg(&id).ignore();
                    done.cmd("XDEL").arg("bare:stream").arg(&id).ignore();
                    done.query_async::<()>(&mut plain).await?;
                }
                Ok(())
            }
        }),
    })
}

fn fifo(larder: &Larder, plain: &MultiplexedConnection) -> Outcome<Pair> {
    let fifo: Fifo<String> = larder.fifo("bench").open()?;
    let plain = plain.clone();
    Ok(Pair {
        call: "fifo: push, take, done",
        larder: op(move |_| {
            let fifo = fifo.clone();
            async move {
                fifo.push(&BODY.to_owned()).await?;
                if let Some(mut item) = fifo.take(Duration::ZERO).await? {
                    let _ = item.done().await?;
                }
                Ok(())
            }
        }),
        commands: "LPUSH, LMOVE, LREM",
        bare: op(move |_| {
            let mut plain = plain.clone();
            async move {
                let mut push = cmd("LPUSH");
                push.arg("bare:list").arg(BODY).query_async::<()>(&mut plain).await?;
                let mut take = cmd("LMOVE");
                take.arg("bare:list").arg("bare:taken").arg("RIGHT").arg("LEFT");
                let item: Option<String> = take.query_async(&mut plain).await?;
                if let Some(item) = item {
                    let mut done = cmd("LREM");
                    done.arg("bare:taken").arg(1).arg(item).query_async::<()>(&mut plain).await?;
                }
                Ok(())
            }
        }),
    })
}

/// As everybody writes it: it has no fence, and whoever is late is not told.
const UNLOCK: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

fn lock(larder: &Larder, plain: &MultiplexedConnection) -> Outcome<Pair> {
    let lock = larder.lock("bench").time(MINUTE).open()?;
    let locks: Result<Vec<_>, _> = (0..LOCKS).map(|key| lock.of(&key)).collect();
    let (locks, plain) = (locks?, plain.clone());
    Ok(Pair {
        call: "lock: acquire, release",
        larder: op(move |number| {
            let lock = locks[number % LOCKS].clone();
            async move {
                if let Some(held) = lock.try_acquire().await? {
                    let _ = held.release().await?;
                }
                Ok(())
            }
        }),
        commands: "SET NX, a script that compares and deletes",
        bare: op(move |number| {
            let mut plain = plain.clone();
            async move {
                let name = format!("bare:lock:{}", number % LOCKS);
                let mut set = cmd("SET");
                set.arg(&name).arg(number).arg("NX").arg("PX").arg(60_000);
                let taken: Option<String> = set.query_async(&mut plain).await?;
                if taken.is_some() {
                    let unlock = redis::Script::new(UNLOCK);
                    let mut unlock = unlock.prepare_invoke();
                    unlock.key(&name).arg(number).invoke_async::<()>(&mut plain).await?;
                }
                Ok(())
            }
        }),
    })
}
