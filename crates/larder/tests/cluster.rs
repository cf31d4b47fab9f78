//! Redis Cluster: each command at the node of its slot, and every promise as on one server.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a scene that cannot be set has failed"
)]

mod support;

use larder::Tag;
use support::{Cluster, Source, World};

/// Names that are meant to fall apart, or into a slot that is not theirs.
const HOSTILE: [&str; 8] = ["", "}x", "{", "}", "{}", "{a}b", "a{b}c{d}", "x}{y"];

#[tokio::test]
async fn what_is_loaded_by_one_is_found_by_another_and_ended_for_both() {
    let cluster = Cluster::of_masters();
    let source = Source::default();
    let here = World::beside(&cluster.url(), &source).await;
    let there = World::beside(&cluster.url(), &source).await;
    let keys: Vec<String> = (0..60).map(|number| format!("k{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).chain(HOSTILE).collect();
    for key in &keys {
        source.set(key, "old");
        assert_eq!(*here.read_tagged(key, "list").await.unwrap(), "old");
        assert_eq!(here.has(key).await, "old near", "{key}");
        assert_eq!(there.has(key).await, "old far", "{key}");
        assert_eq!(there.has(key).await, "old near", "{key}");
    }
    assert_eq!(source.loads(), keys.len());
    for node in &cluster.nodes {
        assert!(!node.keys().is_empty(), "a node was left out");
    }
    for key in &keys {
        here.words.invalidate(*key).await.unwrap();
    }
    there.larder.sync().await.unwrap();
    for key in &keys {
        assert_eq!(there.has(key).await, "nothing", "{key}");
        source.set(key, "new");
        assert_eq!(*there.read_tagged(key, "list").await.unwrap(), "new");
    }
    there.larder.invalidate([Tag::new("list"), Tag::new("}")]).await.unwrap();
    here.larder.sync().await.unwrap();
    for key in &keys {
        assert_eq!(here.has(key).await, "nothing", "{key}");
    }
}
