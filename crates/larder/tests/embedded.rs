//! Without a Redis the far side is in this process: bounded, and with the same promises.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use larder::{Cache, Clock, Compression, Larder, Lifetime, MINUTE, Origin, SECOND};
use support::{Source, World};

async fn load(value: String) -> Result<String, std::io::Error> {
    Ok(value)
}

/// A hundred thousand keys into a small budget: it stays small, and what was written last is there.
#[tokio::test]
async fn it_keeps_to_its_budget() {
    let builder = Larder::builder("test").memory_bytes_max(256 << 10).near_bytes_max(64 << 10);
    let larder = builder.open().await.unwrap();
    let words: Cache<u32, String> = larder.cache("words").shared().unwrap();
    for n in 0..5_000 {
        words.get_or_load(&n, move || load("x".repeat(200))).await.unwrap();
    }
    let mut found = 0;
    for n in 0..5_000 {
        found += usize::from(words.get(&n).await.unwrap().is_some());
    }
    assert!(found > 100 && found < 1_200, "{found} entries of about 560 bytes in 256 KiB");
    assert!(words.get(&4_999).await.unwrap().is_some());
}

#[tokio::test]
async fn a_value_that_could_never_fit_takes_no_other_with_it() {
    let builder = Larder::builder("test").memory_bytes_max(64 << 10).near_bytes_max(4 << 10);
    let larder = builder.open().await.unwrap();
    let words = larder.cache("words").compression(Compression::none()); // or it would fit
    let words: Cache<u32, String> = words.shared().unwrap();
    for n in 0..20 {
        words.get_or_load(&n, move || load("x".repeat(200))).await.unwrap();
    }
    words.get_or_load(&100, move || load("x".repeat(100 << 10))).await.unwrap();
    assert!(words.get(&100).await.unwrap().is_none());
    for n in 0..20 {
        assert!(words.get(&n).await.unwrap().is_some(), "{n}");
    }
}

/// An entry past its time is loaded anew, by one of those who ask, and nobody is kept waiting by what ran out.
#[tokio::test(start_paused = true)]
async fn an_entry_past_its_time_is_loaded_anew_once() {
    let builder = Larder::builder("test").clock(Clock::of_runtime(5));
    let world = World::of(builder, &Source::default()).await;
    let lifetime = Lifetime::fresh_for(MINUTE).jitter(0.0);
    let words: Cache<str, String> =
        world.larder.cache("aging").lifetime(lifetime).shared().unwrap();
    for round in 0..5 {
        let began = tokio::time::Instant::now();
        let value = format!("v{round}");
        let (one, two) = tokio::join!(
            words.get_or_load("k", {
                let value = value.clone();
                move || load(value)
            }),
            words.get_or_load("k", {
                let value = value.clone();
                move || load(value)
            }),
        );
        assert_eq!(
            (one.unwrap().as_str(), two.unwrap().as_str()),
            (value.as_str(), value.as_str())
        );
        assert!(began.elapsed() < SECOND, "waited for {:?}", began.elapsed());
        assert_eq!(words.stats().loads, round + 1);
        tokio::time::advance(MINUTE - SECOND).await;
        assert_eq!(words.get("k").await.unwrap().unwrap().origin(), Origin::Near);
        tokio::time::advance(2 * SECOND).await;
        assert!(words.get("k").await.unwrap().is_none());
    }
    assert_eq!(world.ear.count("by: Timer"), 0);
}
