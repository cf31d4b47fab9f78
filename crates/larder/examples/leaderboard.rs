//! A board of this week and one of the last, with ties and neighbours.
//!
//! `cargo run -p larder --example leaderboard -- redis://127.0.0.1`; without an address in this process.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use larder::Larder;
use larder::structures::{BoardPage, Leaderboard, Season};

#[tokio::main]
async fn main() -> Result<(), larder::Error> {
    let builder = Larder::builder("example");
    let larder = match std::env::args().nth(1) {
        Some(url) => builder.redis(url).require_far().open().await?,
        None => builder.open().await?,
    };
    let wins: Leaderboard<String> =
        larder.leaderboard("wins").season(Season::Weekly).members_max(100).open()?;
    let before = wins.seasons_ago(1);
    wins.clear().await?;
    before.clear().await?;

    before.submit("mia", 40).await?;
    for who in ["zoe", "ann", "bob", "cid", "mia"] {
        wins.increment(who, 3).await?;
    }
    let placed = wins.increment("cid", 2).await?;
    println!("cid has {} wins and rank {:?}", placed.score, placed.rank);
    wins.submit_best("ann", 2).await?; // she had three: nothing changes

    show(&format!("{}, top", wins.season()), &wins.top(3).await?);
    show("around bob", &wins.around("bob", 1).await?);
    show(&format!("{}, top", before.season()), &before.top(3).await?);
    Ok(())
}

fn show(what: &str, page: &BoardPage<String>) {
    println!("{what} (of {}):", page.count);
    for one in &page.standings {
        println!("  {:2}. {:5} {}", one.rank, one.member, one.score);
    }
}
