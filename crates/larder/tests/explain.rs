//! Answers to "why is this stale?", for every reason there is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use larder::{
    Cache, Clock, ErrorKind, Explanation, FarCopy, Fate, HOUR, Larder, LeaseHolder, Lifetime,
    MINUTE, Outcome, SECOND, SharedMemory, Tag,
};
use support::{Server, Source, World, reading_of, stepped};

struct Fleet {
    one: World,
    other: World,
    memory: SharedMemory,
}

impl Fleet {
    async fn new() -> Fleet {
        let memory = SharedMemory::new(1 << 20, Clock::of_runtime(7));
        let source = Source::default();
        source.set("k", "a secret");
        let open =
            async || World::of(Larder::builder("test").shared_memory(&memory), &source).await;
        Fleet { one: open().await, other: open().await, memory }
    }

    async fn read(&self, world: &World) {
        let loading = world.source.load("k");
        texts(world).get_or_load("k", move || loading).await.unwrap();
    }
}

fn texts(world: &World) -> Cache<str, String> {
    let lifetime = Lifetime::fresh_for(MINUTE).stale_for(HOUR).jitter(0.0);
    let cache = world.larder.cache("texts").lifetime(lifetime);
    cache.tagged_by(|_: &str| ["list"]).shared().unwrap()
}

async fn explain(world: &World) -> Explanation {
    let explanation = world.larder.explain(texts(world).entry("k")).await.unwrap();
    let shown = format!("{explanation}{explanation:?}");
    assert!(!shown.contains("secret"), "the value is nobody's business: {shown}");
    explanation
}

/// The outcome, and that the first reason says `part`.
fn says(explanation: &Explanation, outcome: Outcome, part: &str) {
    let why = explanation.why.join("; ");
    assert_eq!(explanation.outcome, outcome, "{explanation}");
    assert!(why.contains(part), "{part}: {explanation}");
}

#[tokio::test(start_paused = true)]
async fn what_is_there_and_good_is_said_to_be_served() {
    let fleet = Fleet::new().await;
    says(&explain(&fleet.one).await, Outcome::Load, "far has nothing");
    fleet.read(&fleet.one).await;
    tokio::time::advance(10 * SECOND).await;
    let near = explain(&fleet.one).await;
    says(&near, Outcome::NearHit, "fresh for 50s more");
    assert_eq!(near.near.as_ref().unwrap().age, 10 * SECOND);
    assert!(near.near_is_coherent);
    let far = explain(&fleet.other).await;
    says(&far, Outcome::FarHit, "fresh for 50s more");
    let FarCopy::Entry { age, fresh_for, kept_for, .. } = far.far else { panic!("{far}") };
    assert_eq!((age, fresh_for, kept_for), (10 * SECOND, MINUTE, MINUTE + HOUR));
    assert_eq!(far.lease, LeaseHolder::Nobody);
    assert_eq!(far.tags[0].fate, Fate::Current);
}

/// Explaining is no reading: nothing is kept near, no load begins, no lease is taken.
#[tokio::test(start_paused = true)]
async fn looking_changes_nothing() {
    let fleet = Fleet::new().await;
    explain(&fleet.one).await;
    assert_eq!(explain(&fleet.one).await.lease, LeaseHolder::Nobody);
    fleet.read(&fleet.one).await;
    explain(&fleet.other).await;
    assert!(texts(&fleet.other).get_near("k").is_none());
}

#[tokio::test(start_paused = true)]
async fn the_tag_that_ended_an_entry_is_named() {
    let fleet = Fleet::new().await;
    fleet.read(&fleet.one).await;
    fleet.one.larder.expire_tag("list").await.unwrap();
    let soft = explain(&fleet.other).await;
    says(&soft, Outcome::Stale, "expired softly, by tag: list");
    assert!(soft.tags[0].now.is_some());
    fleet.one.larder.invalidate_tag("list").await.unwrap();
    let ended = explain(&fleet.other).await;
    says(&ended, Outcome::Load, "by tag: list");
    assert_eq!((ended.tags[0].fate, &ended.tags[0].now), (Fate::Ended, &None));
}

#[tokio::test(start_paused = true)]
async fn age_soft_ends_and_failovers_are_told_apart() {
    let fleet = Fleet::new().await;
    fleet.read(&fleet.one).await;
    tokio::time::advance(2 * MINUTE).await;
    says(&explain(&fleet.one).await, Outcome::Stale, "120s old, and was fresh for 60s");
    texts(&fleet.one).invalidate("k").await.unwrap();
    fleet.read(&fleet.one).await;
    texts(&fleet.one).expire("k").await.unwrap();
    says(&explain(&fleet.one).await, Outcome::Stale, "expired softly, by its key");
    fleet.memory.fails_over(9);
    says(&explain(&fleet.other).await, Outcome::Load, "another Redis process");
}

#[tokio::test(start_paused = true)]
async fn who_may_store_is_named() {
    let fleet = Fleet::new().await;
    let (mut step, load) = stepped();
    let reading = reading_of(&texts(&fleet.one), "k", load);
    step.begins().await;
    let here = explain(&fleet.one).await;
    let there = explain(&fleet.other).await;
    says(&there, Outcome::Wait, "is loading it");
    assert_eq!(there.lease, LeaseHolder::Loading { process: here.this_process.clone() });
    assert_ne!(there.this_process, here.this_process);
    assert!(here.load_is_under_way && !there.load_is_under_way);
    drop(step); // the source fails
    reading.await.unwrap().unwrap_err();
    says(&explain(&fleet.other).await, Outcome::Load, "failed a moment ago (source)");
    let guard = texts(&fleet.one).guard("k").await.unwrap();
    let guarded = explain(&fleet.other).await;
    says(&guarded, Outcome::Load, "writers guard it: 1");
    assert_eq!(guarded.lease, LeaseHolder::Guarded { writers: 1, left: 10 * SECOND });
    guard.end().await.unwrap();
}

#[tokio::test]
async fn an_end_that_waits_and_a_far_side_that_is_away_are_said() {
    let mut server = Server::start();
    let world = World::on(&server.url()).await;
    world.source.set("k", "a secret");
    let loading = world.source.load("k");
    texts(&world).get_or_load("k", move || loading).await.unwrap();
    server.kill();
    support::until("the news", async || !world.larder.is_far_up()).await;
    texts(&world).invalidate("k").await.unwrap_err();
    let explanation = explain(&world).await;
    says(&explanation, Outcome::Load, "waits to be confirmed");
    assert!(explanation.end_is_waiting && !explanation.near_is_coherent);
    assert!(matches!(explanation.far, FarCopy::Away { .. }));
    assert_eq!(explanation.lease, LeaseHolder::Unknown);
}

#[tokio::test]
async fn bytes_that_are_no_entry_are_said_to_be_a_miss() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let _: String = server.ask("SET test:texts:1:v:{.1.k} rubbish EX 60");
    let explanation = explain(&world).await;
    let stored = server.keys();
    assert_eq!(stored.len(), 1, "{stored:?}");
    says(&explanation, Outcome::Load, "far's bytes are a miss");
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_no_entry() {
    let fleet = Fleet::new().await;
    let error = fleet.one.larder.explain(Tag::new("list")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Key);
}
