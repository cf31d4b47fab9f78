//! A struct kept field by field: two who change it at once undo nothing.
//!
//! `cargo run -p larder --example object -- redis://127.0.0.1`; without an address, in this process.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use larder::Larder;
use larder::structures::Object;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Profile {
    name: String,
    #[serde(default)]
    visits: i64,
    motto: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), larder::Error> {
    let mut builder = Larder::builder("example");
    if let Some(url) = std::env::args().nth(1) {
        builder = builder.redis(url).require_far();
    }
    let larder = builder.open().await?;
    let profiles: Object<Profile> = larder.object("profile").serde()?;
    let ann = profiles.of("ann");
    ann.remove().await?;

    let new = Profile { name: "Ann".into(), visits: 0, motto: None };
    println!("create: {:?}, and again: {:?}", ann.create(&new).await?, ann.create(&new).await?);
    let visiting = tokio::spawn({
        let ann = ann.clone();
        async move {
            for _ in 0..500 {
                ann.increment("visits", 1).await?;
            }
            Ok::<_, larder::Error>(())
        }
    });
    for number in 0..500 {
        ann.set("motto", &format!("motto {number}")).await?;
        ann.increment("visits", 1).await?;
    }
    if let Ok(visited) = visiting.await {
        visited?;
    }
    println!("two counted to 500 while one changed another field: {:?}", ann.get_all().await?);
    if let Err(why) = ann.increment("name", 1).await {
        println!("no number: {why}");
    }
    Ok(())
}
