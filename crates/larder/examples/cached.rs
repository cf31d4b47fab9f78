//! A function with a cache in front of its body. Embedded, or on the Redis of the first argument:
//!
//! ```sh
//! cargo run -p larder --example cached -- redis://127.0.0.1
//! ```
#![allow(clippy::print_stdout, reason = "it is there to be watched")]

use std::time::{Duration, Instant};

use larder::{Entry, Larder, ToKey, UserCache, cached};

/// Each field counts: a page of another list is another entry.
#[derive(ToKey)]
struct Page {
    list: String,
    number: u32,
}

/// Handles, cheap to clone: a load takes a clone of it along.
#[derive(Clone)]
struct Tasks {
    pages: UserCache<Page, Vec<String>>,
}

impl Tasks {
    #[cached(
        cache = self.pages,
        user = user,
        key = Page { list, number },
        tags = ["list:{list}"],
        fresh_for = "5m",
        fails_with = std::io::Error
    )]
    async fn page(
        &self,
        user: &str,
        list: String,
        number: u32,
    ) -> Result<Option<Entry<Vec<String>>>, larder::Error> {
        println!("    (the database is asked for page {number} of {user}'s {list})");
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok((list == "inbox").then(|| vec![format!("water {user}'s plants")]))
    }
}

#[tokio::main]
async fn main() -> Result<(), larder::Error> {
    let mut builder = Larder::builder("cached-example");
    if let Some(url) = std::env::args().nth(1) {
        builder = builder.redis(url).require_far();
    }
    let larder = builder.open().await?;
    let tasks = Tasks { pages: larder.cache("pages").per_user()? };
    // Of a run before, where there is a Redis.
    larder.invalidate([tasks.pages.of("ann").all(), tasks.pages.of("bob").all()]).await?;

    show(&tasks, "ann", "inbox").await?;
    show(&tasks, "ann", "inbox").await?;
    show(&tasks, "bob", "inbox").await?;
    show(&tasks, "bob", "attic").await?;
    show(&tasks, "bob", "attic").await?;

    println!("a commit changed the inboxes: the tag list:inbox is ended");
    larder.invalidate_tag("list:inbox").await?;
    show(&tasks, "ann", "inbox").await?;
    show(&tasks, "bob", "attic").await?;
    let unconfirmed = larder.close(Duration::from_secs(1)).await;
    println!("closed, {unconfirmed} invalidations unconfirmed");
    Ok(())
}

async fn show(tasks: &Tasks, user: &str, list: &str) -> Result<(), larder::Error> {
    let start = Instant::now();
    let page = tasks.page(user, list.to_owned(), 1).await?;
    let took = start.elapsed();
    match page {
        Some(page) => println!("{user}, {list}: {:?}, {} in {took:.1?}", *page, page.origin()),
        None => println!("{user}, {list}: there is none, in {took:.1?}"),
    }
    Ok(())
}
