//! Write-behind: acknowledged by Redis, read at once, told to the source later, also when that fails for a while.
//!
//! ```text
//! cargo run -p larder --example write_behind                             # in this process alone
//! cargo run -p larder --example write_behind -- redis://127.0.0.1
//! ```
#![allow(clippy::print_stdout, reason = "this is what it shows")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder::{BoxError, Cache, Larder, SECOND, Sink, WriteBehind};

/// Stands for a table. Its first two queries time out, and user 13 breaks a constraint.
#[derive(Clone, Default)]
struct Table(Arc<AtomicUsize>);

impl Sink<u64, String> for Table {
    async fn write(&self, user: &u64, seen: &String) -> Result<(), BoxError> {
        let query = self.0.fetch_add(1, Ordering::SeqCst);
        match (query, user) {
            (0 | 1, _) => {
                println!("    table: time-out");
                Err("time-out".into())
            }
            (_, 13) => Err("violates check constraint".into()),
            _ => {
                println!("    table: update users set seen = '{seen}' where id = {user}");
                Ok(())
            }
        }
    }

    async fn remove(&self, user: &u64) -> Result<(), BoxError> {
        println!("    table: delete from users where id = {user}");
        Ok(())
    }
}

async fn until_flushed(seen: &Cache<u64, String>) -> Result<(), larder::Error> {
    while seen.backlog().await?.waiting > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let larder = Larder::builder("write-behind-example");
    let larder = match std::env::args().nth(1) {
        Some(url) => larder.redis(url).open().await?,
        None => larder.open().await?,
    };
    let seen: Cache<u64, String> =
        larder.cache("seen").write_behind(WriteBehind::partitions(1)).shared()?;

    for at in ["09:00", "09:01", "09:02"] {
        seen.write_behind(&1, at.to_owned()).await?;
        let read = seen.get(&1).await?;
        println!("wrote {at}, read {:?}", read.as_deref());
    }
    println!("waiting: {:?}", seen.backlog().await?);

    println!("workers start; the table fails at first:");
    let milli = Duration::from_millis(1);
    let workers = seen.workers(Table::default()).tries(3);
    workers.backoff(20 * milli, 100 * milli).start().await?;
    until_flushed(&seen).await?;
    println!("three writes, one update; what was not the last is skipped");

    println!("a write that the table never takes:");
    seen.write_behind(&13, "10:00".to_owned()).await?;
    until_flushed(&seen).await?;
    let letters = seen.dead_letters()?;
    for letter in letters.list(10).await? {
        println!("    dead letter: user {:?}: {}", letter.key.as_ref().ok(), letter.reason);
        letters.remove(&letter).await?;
    }

    seen.remove_behind(&1).await?;
    println!("removed, read {:?}", seen.get(&1).await?.as_deref());
    let unconfirmed = larder.close(5 * SECOND).await;
    println!("closed: everything was flushed, {unconfirmed} invalidations unconfirmed");
    Ok(())
}
