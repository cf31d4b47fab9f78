//! Feeds, objects and sets.

use larder::structures::{Feed, Object, Set};
use larder::{HOUR, Larder};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, cmd};
use serde::{Deserialize, Serialize};

use super::{Pair, op};
use crate::Outcome;

/// How many owners, objects and sets there are.
const KEYS: usize = 1000;
const ITEM: &str = "closed task 17: buy milk, and bread if there is any";

#[derive(Clone, Serialize, Deserialize)]
struct Profile {
    name: String,
    visits: i64,
    balance: f64,
    motto: Option<String>,
}

pub(super) async fn pairs(larder: &Larder, plain: &MultiplexedConnection) -> Outcome<Vec<Pair>> {
    let mut pairs = feeds(larder, plain).await?;
    pairs.extend(objects(larder, plain).await?);
    pairs.extend(sets(larder, plain).await?);
    Ok(pairs)
}

/// Sends a command, and takes whatever is answered.
async fn send(mut plain: MultiplexedConnection, cmd: Cmd) -> Outcome<()> {
    let answer: redis::Value = cmd.query_async(&mut plain).await?;
    answer.extract_error()?;
    Ok(())
}

async fn feeds(larder: &Larder, plain: &MultiplexedConnection) -> Outcome<Vec<Pair>> {
    let feed: Feed<String> = larder.feed("bench").items_max(100).expire_after(HOUR).open()?;
    for owner in 0..KEYS {
        for _ in 0..20 {
            feed.of(&owner).push(&ITEM.to_owned()).await?;
        }
    }
    let mut filling = redis::pipe();
    for owner in 0..KEYS {
        for _ in 0..20 {
            filling.cmd("LPUSH").arg(format!("list:{owner}")).arg(ITEM).ignore();
        }
    }
    filling.query_async::<()>(&mut plain.clone()).await?;
    let (push, page, many) = (feed.clone(), feed.clone(), feed);
    let (list, range, lists) = (plain.clone(), plain.clone(), plain.clone());
    Ok(vec![
        Pair {
            call: "feed push",
            larder: op(move |number| {
                let mine = push.of(&(number % KEYS));
                async move { Ok(mine.push(&ITEM.to_owned()).await.map(drop)?) }
            }),
            commands: "LPUSH",
            bare: op(move |number| {
                let mut call = cmd("LPUSH");
                call.arg(format!("pushed:{}", number % KEYS)).arg(ITEM);
                send(list.clone(), call)
            }),
        },
        Pair {
            call: "feed newest(20)",
            larder: op(move |number| {
                let mine = page.of(&(number % KEYS));
                async move { Ok(mine.newest(20).await.map(drop)?) }
            }),
            commands: "LRANGE 0 19",
            bare: op(move |number| {
                let mut call = cmd("LRANGE");
                call.arg(format!("list:{}", number % KEYS)).arg(0).arg(19);
                send(range.clone(), call)
            }),
        },
        Pair {
            call: "feed push_to_many of 100",
            larder: op(move |_| {
                let feed = many.clone();
                async move {
                    let told = feed.push_to_many(0..100_usize, &ITEM.to_owned()).await?;
                    if told.is_complete() { Ok(()) } else { Err("a push failed".into()) }
                }
            }),
            commands: "100 LPUSH in a pipeline",
            bare: op(move |_| {
                let mut plain = lists.clone();
                async move {
                    let mut all = redis::pipe();
                    for owner in 0..100 {
                        all.cmd("LPUSH").arg(format!("many:{owner}")).arg(ITEM).ignore();
                    }
                    Ok(all.query_async::<()>(&mut plain).await?)
                }
            }),
        },
    ])
}

async fn objects(larder: &Larder, plain: &MultiplexedConnection) -> Outcome<Vec<Pair>> {
    let profiles: Object<Profile> = larder.object("bench").serde()?;
    let ann = Profile { name: "Ann".into(), visits: 0, balance: 1.5, motto: None };
    for key in 0..KEYS {
        profiles.of(&key).set_all(&ann).await?;
        let mut call = cmd("HSET");
        call.arg(format!("hash:{key}")).arg(&["name", "Ann", "visits", "0", "balance", "1.5"]);
        send(plain.clone(), call).await?;
    }
    let (get, count, set) = (profiles.clone(), profiles.clone(), profiles);
    let (hmget, hincrby, hset) = (plain.clone(), plain.clone(), plain.clone());
    Ok(vec![
        Pair {
            call: "object get_all",
            larder: op(move |number| {
                let one = get.of(&(number % KEYS));
                async move { Ok(one.get_all().await.map(drop)?) }
            }),
            commands: "HMGET of 4",
            bare: op(move |number| {
                let mut call = cmd("HMGET");
                call.arg(format!("hash:{}", number % KEYS));
                call.arg(&["name", "visits", "balance", "motto"]);
                send(hmget.clone(), call)
            }),
        },
        Pair {
            call: "object increment",
            larder: op(move |number| {
                let one = count.of(&(number % KEYS));
                async move { Ok(one.increment("visits", 1).await.map(drop)?) }
            }),
            commands: "HINCRBY",
            bare: op(move |number| {
                let mut call = cmd("HINCRBY");
                call.arg(format!("hash:{}", number % KEYS)).arg("visits").arg(1);
                send(hincrby.clone(), call)
            }),
        },
        Pair {
            call: "object set",
            larder: op(move |number| {
                let one = set.of(&(number % KEYS));
                async move { Ok(one.set("name", "Anna").await?) }
            }),
            commands: "HSET",
            bare: op(move |number| {
                let mut call = cmd("HSET");
                call.arg(format!("hash:{}", number % KEYS)).arg("name").arg("Anna");
                send(hset.clone(), call)
            }),
        },
    ])
}

async fn sets(larder: &Larder, plain: &MultiplexedConnection) -> Outcome<Vec<Pair>> {
    let set: Set<u64> = larder.set("bench").open()?;
    for key in 0..KEYS {
        let _ = set.of(&key).add_many(0..20).await?;
        let mut call = cmd("SADD");
        call.arg(format!("set:{key}")).arg((0..20).collect::<Vec<u64>>());
        send(plain.clone(), call).await?;
    }
    let (add, contains) = (set.clone(), set);
    let (sadd, sismember) = (plain.clone(), plain.clone());
    Ok(vec![
        Pair {
            call: "set add",
            larder: op(move |number| {
                let one = add.of(&(number % KEYS));
                async move { Ok(one.add(&(number as u64 % 50)).await.map(drop)?) }
            }),
            commands: "SADD",
            bare: op(move |number| {
                let mut call = cmd("SADD");
                call.arg(format!("set:{}", number % KEYS)).arg(number % 50);
                send(sadd.clone(), call)
            }),
        },
        Pair {
            call: "set contains",
            larder: op(move |number| {
                let one = contains.of(&(number % KEYS));
                async move { Ok(one.contains(&(number as u64 % 50)).await.map(drop)?) }
            }),
            commands: "SISMEMBER",
            bare: op(move |number| {
                let mut call = cmd("SISMEMBER");
                call.arg(format!("set:{}", number % KEYS)).arg(number % 50);
                send(sismember.clone(), call)
            }),
        },
    ])
}
