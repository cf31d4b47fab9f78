//! Nobody waits when an entry's time is over, and of what has not changed only a header travels.
//!
//! `cargo run -p larder --example refresh_ahead`, with a Redis: `-- redis://127.0.0.1`
#![allow(clippy::print_stdout, reason = "it is here to be looked at")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::{Cache, Larder, Lifetime, RefreshAhead, Refreshed};

/// What a page of the origin is, and by what the origin knows whether it has changed.
#[derive(serde::Serialize, serde::Deserialize)]
struct Page {
    etag: u64,
    text: String,
}

/// The origin: slow, with a new page every four seconds.
async fn ask_the_origin(
    old: Option<Arc<Page>>,
    began: Instant,
) -> Result<Refreshed<Page>, std::io::Error> {
    tokio::time::sleep(Duration::from_millis(300)).await;
    let etag = began.elapsed().as_secs() / 4;
    Ok(match old {
        Some(old) if old.etag == etag => Refreshed::Unchanged,
        _ => Refreshed::from(Page { etag, text: "so much to read. ".repeat(1_000) }),
    })
}

#[tokio::main]
async fn main() -> Result<(), larder::Error> {
    let mut builder = Larder::builder("example");
    if let Some(url) = std::env::args().nth(1) {
        builder = builder.redis(url);
    }
    let larder = builder.open().await?;
    let pages: Cache<str, Page> = larder
        .cache("pages")
        .lifetime(Lifetime::fresh_for(Duration::from_secs(2)).jitter(0.0))
        .refresh_ahead(RefreshAhead::early(1.0))
        .shared()?;

    let began = Instant::now();
    let mut last_age = Duration::MAX;
    while began.elapsed() < Duration::from_secs(9) {
        let asked = Instant::now();
        let page = pages.get_or_refresh("/", move |old| ask_the_origin(old, began)).await?;
        // Younger than it was: it has been renewed in between.
        if page.age() < last_age {
            println!(
                "{:>5} ms: page {} of {} bytes, asked for {} ms",
                began.elapsed().as_millis(),
                page.etag,
                page.text.len(),
                asked.elapsed().as_millis()
            );
        }
        last_age = page.age();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let stats = pages.stats();
    println!(
        "{} reads near; {} loads, {} of them ahead; unchanged {} times",
        stats.hits_near, stats.loads, stats.refreshes_ahead, stats.unchanged
    );
    Ok(())
}
