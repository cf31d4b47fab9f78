//! `#[derive(HashObject)]`: two versions of a service keep one struct, each the fields that it knows.
//!
//! `cargo run -p larder --example hash_object -- redis://127.0.0.1`; without an address, in this process.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use larder::Larder;
use larder::structures::{HashObject, Object};

/// Of the first version.
#[derive(Debug, HashObject)]
struct Profile {
    name: String,
    visits: u64,
}

/// Of the second.
#[derive(Debug, HashObject)]
struct ProfileWithPets {
    name: String,
    #[field(rename = "visits")]
    visits_counted: u64,
    motto: Option<String>,
    /// The first version writes none.
    #[field(default)]
    pets: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<(), larder::Error> {
    let mut builder = Larder::builder("hash-object-example");
    if let Some(url) = std::env::args().nth(1) {
        builder = builder.redis(url).require_far();
    }
    let larder = builder.open().await?;
    // Two names for the same objects, as two processes have them while a deploy is under way.
    let old: Object<Profile> = larder.object("profile").open()?;
    let new: Object<ProfileWithPets> = larder.object("profile").open()?;
    let (by_old, by_new) = (old.of("ann"), new.of("ann"));
    by_old.remove().await?;

    by_old.set_all(&Profile { name: "Ann".into(), visits: 3 }).await?;
    println!("the old wrote, the new reads:  {:?}", by_new.get_all().await?);

    by_new.change().set("pets", &["a cat"]).set("motto", "carpe diem").send().await?;
    by_old.set_all(&Profile { name: "Anna".into(), visits: 3 }).await?;
    println!("the old writes all it knows:   {:?}", by_new.get_all().await?);

    // One step in Redis, whoever does it: nothing is read back to be written.
    println!("counted by the old: {}", by_old.increment("visits", 1).await?);
    println!("counted by the new: {}", by_new.increment("visits", 1).await?);
    println!("the old reads what it knows:   {:?}", by_old.get_all().await?);
    if let Err(why) = by_old.increment("pets", 1).await {
        println!("no field of the old: {why}");
    }
    Ok(())
}
