//! What a value costs on its way, and what its bytes may do to a reader: nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]
#![cfg(all(feature = "postcard", feature = "zstd"))]

mod support;

use larder::{Cache, CacheBuilder, Codec, Compression, ErrorKind, Larder, Origin};
use serde::{Deserialize, Serialize};
use support::{Ear, PATIENT, Server};
use xxhash_rust::xxh3::xxh3_64;

/// One process: its handle, its ear, its texts.
struct Process {
    larder: Larder,
    ear: Ear,
    texts: Cache<u32, String>,
}

type Builder = CacheBuilder<u32, String>;

impl Process {
    async fn on(server: &Server, choose: impl FnOnce(Builder) -> Builder) -> Process {
        let ear = Ear::default();
        let builder = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
        let larder = builder.observer(ear.observer()).open().await.unwrap();
        let texts = choose(larder.cache("texts")).shared().unwrap();
        Process { larder, ear, texts }
    }

    async fn reads(&self, key: u32, source: &str) -> (String, Origin) {
        let source = source.to_owned();
        let load = || async { Ok::<_, std::io::Error>(source) };
        let entry = self.texts.get_or_load(&key, load).await.unwrap();
        (entry.to_string(), entry.origin())
    }

    fn unreadable(&self) -> u64 {
        self.larder.stats().unreadable
    }
}

fn line() -> String {
    "milk, bread and butter; ".repeat(100)
}

fn name(key: u32) -> String {
    format!("test:texts:1:v:{{.{key};}}")
}

fn stored_bytes(server: &Server, key: u32) -> usize {
    server.ask(&format!("STRLEN {}", name(key)))
}

/// Puts an altered envelope in the place of what is there, with a checksum that fits.
fn forge(server: &Server, key: u32, alter: impl FnOnce(&mut Vec<u8>, usize)) {
    let mut client = server.client();
    let mut bytes: Vec<u8> = redis::cmd("GET").arg(name(key)).query(&mut client).unwrap();
    let sum_at = 53 + 2 + name(key).len(); // it has no tags
    alter(&mut bytes, sum_at + 4);
    let sum = xxh3_64(&[&bytes[..sum_at], &bytes[sum_at + 4..]].concat()).to_le_bytes();
    bytes[sum_at..sum_at + 4].copy_from_slice(&sum[..4]);
    redis::cmd("SET").arg(name(key)).arg(bytes).arg("KEEPTTL").exec(&mut client).unwrap();
}

#[tokio::test]
async fn what_is_large_takes_less_in_redis_and_is_read_by_everyone() {
    let server = Server::start();
    let usual = Process::on(&server, |texts| texts).await;
    let hard =
        Process::on(&server, |texts| texts.compression(Compression::zstd().over_bytes(1 << 10)))
            .await;
    let plain = Process::on(&server, |texts| texts.compression(Compression::none())).await;
    let all = [&usual, &hard, &plain];
    for (key, writer) in (1..).zip(all) {
        writer.reads(key, &line()).await;
    }
    for key in 1..=3 {
        for reader in all {
            let (text, origin) = reader.reads(key, "from the source").await;
            assert_eq!((text, origin == Origin::Loaded), (line(), false), "{key}");
        }
    }
    assert!(stored_bytes(&server, 1) < 300 && stored_bytes(&server, 2) < 300);
    assert!(stored_bytes(&server, 3) > line().len());
    assert!(all.iter().all(|process| process.unreadable() == 0));
}

/// A handful of bytes in Redis that would be four gigabytes here: nothing is reserved for them.
#[tokio::test]
async fn a_bomb_is_a_miss_and_is_counted() {
    let server = Server::start();
    let writer = Process::on(&server, |texts| texts).await;
    for (key, claim) in (1..).zip([u32::MAX, (8 << 20) + 1, 100_000, 2_402, 0]) {
        writer.reads(key, &line()).await;
        forge(&server, key, |bytes, payload| {
            bytes[payload..payload + 4].copy_from_slice(&claim.to_le_bytes());
        });
        let reader = Process::on(&server, |texts| texts).await;
        let (text, origin) = reader.reads(key, "anew").await;
        assert_eq!((text.as_str(), origin), ("anew", Origin::Loaded), "claims {claim}");
        assert_eq!(reader.unreadable(), 1, "{:?}", reader.ear.all());
        // And it is gone: the next one finds what was loaded.
        let next = Process::on(&server, |texts| texts).await;
        assert_eq!(next.reads(key, "no").await, ("anew".to_owned(), Origin::Far));
    }
}

/// Of a version that knows more, or built with more features.
#[tokio::test]
async fn a_way_of_compressing_that_is_not_known_is_a_miss_once() {
    let server = Server::start();
    let process = Process::on(&server, |texts| texts).await;
    process.reads(1, &line()).await;
    forge(&server, 1, |bytes, _| bytes[2] |= 0b110);
    let reader = Process::on(&server, |texts| texts).await;
    assert_eq!(reader.reads(1, "anew").await, ("anew".to_owned(), Origin::Loaded));
    let said = "compression 3 is not known";
    assert_eq!((reader.unreadable(), reader.ear.count(said)), (1, 1), "{:?}", reader.ear.all());
    let next = Process::on(&server, |texts| texts).await;
    assert_eq!(next.reads(1, "no").await, ("anew".to_owned(), Origin::Far));
}

/// To the byte, as the codec writes it: what compression makes of it does not count.
#[tokio::test]
async fn the_cap_counts_bytes_before_compression() {
    let server = Server::start();
    let encoded = line().len() + 3; // as MessagePack
    for (cap, stored) in [(encoded, true), (encoded - 1, false)] {
        let key = cap as u32;
        let writer = Process::on(&server, |texts| texts.value_bytes_max(cap)).await;
        assert_eq!(writer.reads(key, &line()).await, (line(), Origin::Loaded));
        assert_eq!(stored_bytes(&server, key) > 0, stored, "cap {cap}");
        assert_eq!(writer.larder.stats().not_stored, u64::from(!stored));
        let put = writer.texts.put(&key, line()).await;
        assert_eq!(put.is_ok(), stored);
    }
}

/// A process with a smaller cap neither reads nor ends what is longer; it stores over it what it may.
#[tokio::test]
async fn an_entry_over_the_cap_is_left_to_those_who_take_it() {
    let server = Server::start();
    let encoded = line().len() + 3;
    let large = Process::on(&server, |texts| texts).await;
    let plain = Process::on(&server, |texts| texts.compression(Compression::none())).await;
    large.reads(1, &line()).await;
    plain.reads(2, &line()).await;
    let fits = Process::on(&server, |texts| texts.value_bytes_max(encoded)).await;
    let small = Process::on(&server, |texts| texts.value_bytes_max(encoded - 1)).await;
    for key in [1, 2] {
        let before = stored_bytes(&server, key);
        for _ in 0..2 {
            assert_eq!(small.reads(key, &line()).await, (line(), Origin::Loaded));
        }
        assert_eq!(stored_bytes(&server, key), before);
        assert_eq!(fits.reads(key, "no").await, (line(), Origin::Far));
        assert_eq!(small.reads(key, "short").await, ("short".to_owned(), Origin::Loaded));
        let next = Process::on(&server, |texts| texts).await;
        assert_eq!(next.reads(key, "no").await, ("short".to_owned(), Origin::Far));
    }
    assert_eq!(small.ear.count("value_bytes_max is"), 6, "{:?}", small.ear.all());
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    id: u32,
    title: String,
    done: bool,
}

/// Its bytes name nothing: under a schema nobody counts, a changed type would misread them.
#[tokio::test]
async fn postcard_is_opened_only_with_a_schema_of_its_own() {
    let server = Server::start();
    let larder = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
    let larder = larder.open().await.unwrap();
    let tasks = || larder.cache::<u32, Task>("tasks").codec(Codec::Postcard);
    let error = tasks().shared().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = "cache tasks is written as Postcard, which a changed type would misread: give it a schema, and count that up with every change";
    assert_eq!(error.to_string(), text);

    let milk = Task { id: 17, title: "milk".into(), done: false };
    let stored = milk.clone();
    let cache = tasks().schema(1).shared().unwrap();
    cache.get_or_load(&17, || async { Ok::<_, std::io::Error>(stored) }).await.unwrap();
    let other = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
    let other = other.open().await.unwrap();
    let there = other.cache::<u32, Task>("tasks").codec(Codec::Postcard).schema(1);
    assert_eq!(*there.shared().unwrap().get(&17).await.unwrap().unwrap(), milk);
}
