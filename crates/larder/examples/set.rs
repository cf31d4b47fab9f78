//! Sets put together, and the members of a tag, listed and freed.
//!
//! `cargo run -p larder --example set -- redis://127.0.0.1`; without an address, in this process.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use larder::structures::Set;
use larder::{Cache, Larder};

#[tokio::main]
async fn main() -> Result<(), larder::Error> {
    let mut builder = Larder::builder("example");
    if let Some(url) = std::env::args().nth(1) {
        builder = builder.redis(url).require_far();
    }
    let larder = builder.open().await?;
    let online: Set<String> = larder.set("online").members_max(4).open()?;
    let muted: Set<String> = larder.set("muted").open()?;
    let (here, quiet) = (online.of("room"), muted.of("room"));
    here.clear().await?;

    let told = here.add_many(["ann", "bob", "cid", "dan", "eve"].map(String::from)).await?;
    println!("{} came, and for {} there was no room", told.new, told.no_room.len());
    quiet.add(&"bob".to_owned()).await?;
    println!("heard: {:?}", here.difference(&[&quiet]).await?.members);
    println!("muted here: {}", here.intersection_len(&[&quiet], 0).await?);

    let pages: Cache<u32, String> =
        larder.cache("pages").tagged_by(|_: &u32| ["lists"]).member_index().shared()?;
    for page in 1..=3 {
        pages
            .get_or_load(&page, || async { Ok::<_, std::io::Error>("buy milk".to_owned()) })
            .await?;
    }
    // Written down in the background: what is listed may lag.
    let members = larder.members("lists");
    for _ in 0..100 {
        if members.page(100).await?.members.len() == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    for member in members.page(100).await?.members {
        println!("carries the tag: {}, for {:?}", member.key, member.expires_in);
    }
    larder.invalidate_tag("lists").await?;
    println!(
        "after its end: {}",
        pages
            .get_or_load(&1, || async { Ok::<_, std::io::Error>("buy bread".to_owned()) })
            .await?
            .as_str()
    );
    Ok(())
}
