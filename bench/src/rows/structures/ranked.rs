//! Rate limiters and leaderboards.

use larder::structures::{Leaderboard, Limit, Rate};
use larder::{HOUR, Larder};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, cmd};

use super::{Pair, op};
use crate::Outcome;

/// How many users there are, and members of a board.
const KEYS: usize = 1000;

/// As many as nobody asks for here: every check is allowed, and a log is no longer than it has to be.
const QUOTA: u32 = 10_000;

pub(super) async fn pairs(larder: &Larder, plain: &MultiplexedConnection) -> Outcome<Vec<Pair>> {
    let mut pairs = limiters(larder, plain)?;
    pairs.extend(boards(larder, plain).await?);
    Ok(pairs)
}

/// Sends a command, and takes whatever is answered.
async fn send(mut plain: MultiplexedConnection, cmd: Cmd) -> Outcome<()> {
    let answer: redis::Value = cmd.query_async(&mut plain).await?;
    answer.extract_error()?;
    Ok(())
}

fn limiters(larder: &Larder, plain: &MultiplexedConnection) -> Outcome<Vec<Pair>> {
    let ways = [
        ("rate limiter, sliding log", "INCR", Limit::sliding_log(QUOTA, HOUR)),
        ("rate limiter, sliding counter", "INCR again", Limit::sliding_counter(QUOTA, HOUR)),
        (
            "rate limiter, token bucket",
            "INCR once more",
            Limit::token_bucket(Rate::per_hour(QUOTA), QUOTA),
        ),
    ];
    let mut pairs = Vec::new();
    for (at, (call, commands, limit)) in ways.into_iter().enumerate() {
        let limiter =
            larder.rate_limiter(format!("bench{at}"), [limit]).deadline(larder::MINUTE).open()?;
        let plain = plain.clone();
        pairs.push(Pair {
            call,
            larder: op(move |number| {
                let limiter = limiter.clone();
                async move { Ok(limiter.check(&(number % KEYS)).await.map(drop)?) }
            }),
            commands,
            bare: op(move |number| {
                let mut call = cmd("INCR");
                call.arg(format!("counted{at}:{}", number % KEYS));
                send(plain.clone(), call)
            }),
        });
    }
    Ok(pairs)
}

async fn boards(larder: &Larder, plain: &MultiplexedConnection) -> Outcome<Vec<Pair>> {
    let board: Leaderboard<u64> = larder.leaderboard("bench").open()?;
    for member in 0..KEYS as u64 {
        board.submit(&member, member as i64).await?;
        let mut call = cmd("ZADD");
        call.arg("board").arg(member).arg(member);
        send(plain.clone(), call).await?;
    }
    let (add, rank, top) = (board.clone(), board.clone(), board);
    let (zincrby, zrevrank, zrange) = (plain.clone(), plain.clone(), plain.clone());
    Ok(vec![
        Pair {
            call: "leaderboard increment",
            larder: op(move |number| {
                let board = add.clone();
                async move { Ok(board.increment(&((number % KEYS) as u64), 1).await.map(drop)?) }
            }),
            commands: "ZINCRBY",
            bare: op(move |number| {
                let mut call = cmd("ZINCRBY");
                call.arg("board").arg(1).arg(number % KEYS);
                send(zincrby.clone(), call)
            }),
        },
        Pair {
            call: "leaderboard rank",
            larder: op(move |number| {
                let board = rank.clone();
                async move { Ok(board.rank(&((number % KEYS) as u64)).await.map(drop)?) }
            }),
            commands: "ZREVRANK",
            bare: op(move |number| {
                let mut call = cmd("ZREVRANK");
                call.arg("board").arg(number % KEYS);
                send(zrevrank.clone(), call)
            }),
        },
        Pair {
            call: "leaderboard top(10)",
            larder: op(move |_| {
                let board = top.clone();
                async move { Ok(board.top(10).await.map(drop)?) }
            }),
            commands: "ZRANGE 0 9 REV WITHSCORES",
            bare: op(move |_| {
                let mut call = cmd("ZRANGE");
                call.arg("board").arg(0).arg(9).arg("REV").arg("WITHSCORES");
                send(zrange.clone(), call)
            }),
        },
    ])
}
