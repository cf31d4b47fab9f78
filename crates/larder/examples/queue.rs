//! Jobs that are done at least once: a worker, one that fails at first, one that never succeeds.
//!
//! `cargo run -p larder --example queue -- redis://127.0.0.1`; without an address, in this process.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use larder::structures::{Queue, Replayed};
use larder::{Larder, MINUTE};

const TENTH: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> Result<(), larder::Error> {
    let mut builder = Larder::builder("example");
    if let Some(url) = std::env::args().nth(1) {
        builder = builder.redis(url).require_far();
    }
    let larder = builder.open().await?;
    let mails: Queue<String> =
        larder.queue("mails").attempts_max(3).backoff(TENTH, 2 * TENTH).look_every(TENTH).open()?;

    for who in ["ann", "bob", "nobody@nowhere"] {
        let id = mails.push(&format!("to {who}")).await?;
        println!("pushed {id}: to {who}");
    }
    mails.push_in(5 * TENTH, &"to ann, half a second later".to_owned()).await?;
    let worker = mails.run(4, |mail, delivery| async move {
        let attempt = delivery.attempt;
        match (mail.as_str(), attempt) {
            ("to nobody@nowhere", _) => Err("no such host"),
            ("to bob", 1) => Err("try again"),
            _ => {
                println!("sent at attempt {attempt}: {mail}");
                Ok(())
            }
        }
    })?;
    loop {
        let stats = mails.stats().await?;
        if stats.waiting + stats.claimed + stats.later == 0 {
            println!("all is done: {stats:?}");
            break;
        }
        tokio::time::sleep(TENTH).await;
    }
    println!("left when it stopped: {}", worker.stop(MINUTE).await);

    for letter in mails.dead_letters(None, 10).await? {
        let body = letter.body?;
        println!("dead after {} attempts: {body}: {}", letter.attempts, letter.error);
        if mails.replay(&letter.id).await? == Replayed::Pushed {
            println!("replayed");
        }
    }
    while let Some(job) = mails.claim(Duration::ZERO).await? {
        println!("by hand, {:?}: {}", job.finish().await?, job.body());
    }
    Ok(())
}
