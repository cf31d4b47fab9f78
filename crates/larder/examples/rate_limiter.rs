//! Three ways of counting, and what they allow of the same twelve requests.
//!
//! `cargo run -p larder --example rate_limiter -- redis://127.0.0.1`; without an address in this process.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use larder::structures::{Limit, Rate, RateLimiter};
use larder::{Larder, SECOND};

#[tokio::main]
async fn main() -> Result<(), larder::Error> {
    let builder = Larder::builder("example");
    let larder = match std::env::args().nth(1) {
        Some(url) => builder.redis(url).require_far().open().await?,
        None => builder.open().await?,
    };
    let open = |name: &str, limit: Limit| larder.rate_limiter(name, [limit]).open();
    let all = [
        ("log of 5 in 1 s", open("log", Limit::sliding_log(5, SECOND))?),
        ("counter of 5 in 1 s", open("counter", Limit::sliding_counter(5, SECOND))?),
        ("bucket of 2, 5 a second", open("bucket", Limit::token_bucket(Rate::per_second(5), 2))?),
    ];
    for (name, limiter) in &all {
        limiter.reset("ann").await?;
        println!("{name:24} {}", requests(limiter).await?);
    }
    let verdict = all[0].1.check("ann").await?;
    println!("and now: {verdict:?}");
    Ok(())
}

/// One each 120 ms: `+` was allowed, `-` was not.
async fn requests(limiter: &RateLimiter) -> Result<String, larder::Error> {
    let mut seen = String::new();
    for _ in 0..12 {
        seen.push(if limiter.check("ann").await?.allowed { '+' } else { '-' });
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    Ok(seen)
}
