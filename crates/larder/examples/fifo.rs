//! A plain list: two who take from it, one who thinks better of it, and a script that only knows Redis.
//!
//! `cargo run -p larder --example fifo -- redis://127.0.0.1`; without an address, in this process.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use larder::structures::Fifo;
use larder::{Larder, SECOND};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    number: u32,
    of: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1);
    let mut builder = Larder::builder("example");
    if let Some(url) = &url {
        builder = builder.redis(url).require_far();
    }
    let larder = builder.open().await?;
    let orders: Fifo<Order> = larder.fifo("orders").open()?;

    for (number, of) in (1..).zip(["apples", "pears", "plums", "quinces"]) {
        orders.push(&Order { number, of: of.to_owned() }).await?;
    }
    if let Some(url) = &url {
        // As a script does that has never heard of larder: LPUSH, and JSON.
        let mut script = redis::Client::open(url.as_str())?.get_connection()?;
        let name = "example:s:fifo.orders:items:{.6.orders}";
        let waiting: u64 = redis::cmd("LPUSH")
            .arg(name)
            .arg(r#"{"number": 5, "of": "medlars"}"#)
            .query(&mut script)?;
        println!("LPUSH {name}: {waiting} wait");
    }

    if let Some(mut order) = orders.take(SECOND).await? {
        let put_back = order.put_back().await?;
        println!("taken, and put back ({put_back:?}): {:?}", order.body());
    }
    let at_work = ["ann", "bob"].map(|who| tokio::spawn(work(who, orders.clone())));
    for worker in at_work {
        worker.await??;
    }
    println!("left: {:?}", orders.stats().await?);
    Ok(())
}

/// Takes until nothing comes for a moment. What it holds when it dies is put back by who is left.
async fn work(who: &'static str, orders: Fifo<Order>) -> Result<(), larder::Error> {
    while let Some(mut order) = orders.take(Duration::from_millis(300)).await? {
        println!("{who} has {:?}", order.body());
        tokio::time::sleep(Duration::from_millis(20)).await;
        let done = order.done().await?;
        println!("{who}: number {} is {done:?}", order.body().number);
    }
    Ok(())
}
