//! Without a Redis the far side is in this process: bounded, and with the same promises.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::time::Duration;

use larder::drawn::{Server, Weather};
use larder::{Cache, Clock, Compression, ErrorKind, Larder, Lifetime, MINUTE, Origin, SECOND};
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

/// An invalidation was not confirmed and waited to be sent again. A read of the same process was answered before the
/// retry arrived at the server, and judged after that was confirmed: nothing bypassed the key any more, and the
/// process was served what it had ended itself. Now a read remembers that the key was bypassed when it began.
#[tokio::test(start_paused = true)]
async fn what_waits_to_be_confirmed_is_served_by_no_read_that_began_meanwhile() {
    for seed in 0..40 {
        let weather = Weather { delay_ms_max: 15, ..Weather::default() };
        let server = Server::new(1 << 20, Clock::of_runtime(seed), weather);
        let builder = Larder::builder("test").network(&server.network());
        let larder = builder.clock(Clock::of_runtime(seed + 1_000)).open().await.unwrap();
        let words: Cache<u32, String> = larder.cache("words").shared().unwrap();
        words.get_or_load(&1, || load("old".to_owned())).await.unwrap();
        server.goes_away();
        tokio::time::sleep(Duration::from_millis(40)).await;
        let error = words.invalidate(&1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unconfirmed);
        server.comes_back();
        while larder.stats().unconfirmed_waiting > 0 || !larder.is_far_up() {
            let read = words.get(&1).await.unwrap();
            assert!(read.is_none(), "seed {seed}: it was served what it ended");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(words.get(&1).await.unwrap().is_none(), "seed {seed}");
    }
}
