//! One holder at a time, with a fence: three who want it, and one that is too slow.
//!
//! `cargo run -p larder --example lock -- redis://127.0.0.1`; without an address, in this process.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use larder::structures::Released;
use larder::{Larder, MINUTE};

const TENTH: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> Result<(), larder::Error> {
    let mut builder = Larder::builder("example");
    if let Some(url) = std::env::args().nth(1) {
        builder = builder.redis(url).require_far();
    }
    let larder = builder.open().await?;
    let report = larder.lock("report").open()?;

    let mut tasks = Vec::new();
    for who in ["ann", "bob", "cyd"] {
        let report = report.clone();
        tasks.push(tokio::spawn(async move {
            let Some(held) = report.acquire(MINUTE).await? else { return Ok(()) };
            println!("{who} has it, fence {}", held.fence());
            tokio::time::sleep(TENTH).await;
            println!("{who} gives it back: {:?}", held.release().await?);
            Ok::<_, larder::Error>(())
        }));
    }
    for task in tasks {
        if let Ok(done) = task.await {
            done?;
        }
    }

    // One that is not renewed, as if it were paused: it is told, and its fence is behind.
    let slow = larder.lock("report").time(2 * TENTH).renew_for(Duration::ZERO).open()?;
    let Some(late) = slow.acquire(MINUTE).await? else { return Ok(()) };
    println!("the slow one has it, fence {}", late.fence());
    late.lost().await;
    println!("the slow one lost it");
    let Some(next) = report.acquire(MINUTE).await? else { return Ok(()) };
    println!("the next has it, fence {}: {} more", next.fence(), next.fence() - late.fence());
    assert_eq!(late.release().await?, Released::Lost);
    assert_eq!(next.release().await?, Released::Done);
    Ok(())
}
