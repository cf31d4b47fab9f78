//! The newest of what happened, for each who wants to know: pages while items are pushed, and a fan-out.
//!
//! `cargo run -p larder --example feed -- redis://127.0.0.1`; without an address, in this process.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use larder::structures::{Feed, FeedPage};
use larder::{DAY, Larder};

#[tokio::main]
async fn main() -> Result<(), larder::Error> {
    let mut builder = Larder::builder("example");
    if let Some(url) = std::env::args().nth(1) {
        builder = builder.redis(url).require_far();
    }
    let larder = builder.open().await?;
    let feed: Feed<String> = larder.feed("activity").items_max(100).expire_after(DAY).open()?;

    let ann = feed.of("ann");
    ann.clear().await?;
    for number in 1..=5 {
        ann.push(&format!("closed task {number}")).await?;
    }
    let first = ann.newest(3).await?;
    show("the first page", &first);
    ann.push(&"closed task 6, while you read".to_owned()).await?;
    if let Some(next) = first.next {
        show("the second: nothing twice", &ann.before(next, 3).await?);
    }

    let followers: Vec<String> = (0..1000).map(|number| format!("follower {number}")).collect();
    let news = "we are open".to_owned();
    for _ in 0..2 {
        let told = feed.push_once_to_many(&followers, "news:1", &news).await?;
        println!("told {} followers, {} failed", told.done, told.failed.len());
    }
    show("what one of them sees", &feed.of("follower 7").newest(3).await?);
    let gone = feed.withdraw_from_many(&followers, "news:1").await?;
    println!("withdrawn from {} feeds", gone.done);
    Ok(())
}

fn show(what: &str, page: &FeedPage<String>) {
    println!("{what}:");
    for item in &page.items {
        println!("  {}  {}", item.id, item.value);
    }
}
