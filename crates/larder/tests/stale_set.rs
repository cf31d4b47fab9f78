//! What was loaded before an invalidation never gets in after it.
//!
//! The usual cache loses this race: a loader reads the old row, a writer commits and deletes the key,
//! the loader stores the old row, and it stays until its TTL.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::time::Duration;

use larder::{Cache, Larder, Loaded, SECOND, Tag};
use support::{Process, Proxy, Server, Source, World, reading_of, stepped, until};

#[test]
fn other_process() {
    support::process::obey();
}

#[tokio::test]
async fn a_load_that_an_invalidation_overtook_is_not_stored() {
    let server = Server::start();
    let (here, mut there) = (World::on(&server.url()).await, Process::start(&server.url()));
    let (mut step, load) = stepped();
    let reading = here.reading_by("k", load);
    step.begins().await;
    assert_eq!(there.ask("invalidate k"), "ok");
    step.answers("old");
    assert_eq!(*reading.await.unwrap().unwrap(), "old", "its call overlapped the invalidation");
    assert_eq!(here.ear.count("StoreRefused"), 1);
    assert_eq!(there.ask("read k new"), "new loaded");
    assert_eq!(here.has("k").await, "new far");
}

#[tokio::test]
async fn a_load_that_a_tag_overtook_is_not_served_to_anyone_else() {
    let server = Server::start();
    let (here, mut there) = (World::on(&server.url()).await, Process::start(&server.url()));
    let (mut step, load) = stepped();
    let words = here.words.tagged(["list"]);
    let reading = reading_of(&words, "k", load);
    step.begins().await;
    assert_eq!(there.ask("tag list"), "ok");
    step.answers("old");
    assert_eq!(*reading.await.unwrap().unwrap(), "old", "its call overlapped the invalidation");
    assert_eq!(there.ask("read k new tag=list"), "new loaded");
    here.larder.sync().await.unwrap();
    let entry =
        words.get_or_load("k", || async { Err::<String, _>(std::io::Error::other("asked")) });
    assert_eq!(*entry.await.unwrap(), "new");
}

#[tokio::test]
async fn a_load_that_the_end_of_a_users_part_overtook_is_not_served() {
    let server = Server::start();
    let here = World::on(&server.url()).await;
    let there = World::on(&server.url()).await;
    let pages = |world: &World| world.larder.cache::<u32, String>("pages").per_user().unwrap();
    let (mut step, load) = stepped();
    let reading = {
        let mine = pages(&here).of("ada");
        tokio::spawn(async move { mine.get_or_load(&1, move || load).await })
    };
    step.begins().await;
    there.larder.invalidate([pages(&there).of("ada").all()]).await.unwrap();
    step.answers("old");
    assert_eq!(*reading.await.unwrap().unwrap(), "old");
    assert!(pages(&there).of("ada").get(&1).await.unwrap().is_none());
    here.larder.sync().await.unwrap();
    assert!(pages(&here).of("ada").get(&1).await.unwrap().is_none());
}

/// One process loads, is overtaken, and loads again: two loads of one client. A fence that names the
/// client takes the first for the second.
#[tokio::test]
async fn an_older_load_of_the_same_process_does_not_store_under_the_lease_of_a_newer_one() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let ((mut first, load), (mut second, load_again)) = (stepped(), stepped());
    let reading = here.reading_by("k", load);
    first.begins().await;
    here.words.invalidate("k").await.unwrap();
    let reading_again = here.reading_by("k", load_again);
    second.begins().await;
    first.answers("old");
    assert_eq!(*reading.await.unwrap().unwrap(), "old");
    assert_eq!(there.has("k").await, "nothing");
    second.answers("new");
    assert_eq!(*reading_again.await.unwrap().unwrap(), "new");
    assert_eq!(there.has("k").await, "new far");
    assert_eq!(here.has("k").await, "new near");
}

/// A process stops in the middle of its load, and goes on long after its lease has run out and another
/// has loaded and stored.
#[tokio::test]
async fn a_load_that_outlived_its_lease_does_not_store() {
    let server = Server::start();
    let (here, mut there) = (World::on(&server.url()).await, Process::start(&server.url()));
    there.say("read k late takes=300");
    until("the lease of the other process", || async { !server.keys().is_empty() }).await;
    there.pause();
    here.source.set("k", "in time");
    assert_eq!(*here.read("k").await.unwrap(), "in time");
    there.resume();
    assert_eq!(there.answer(), "late loaded", "its own caller is answered");
    here.larder.invalidate_tag("nothing of note").await.unwrap();
    let other = World::on(&server.url()).await;
    assert_eq!(other.has("k").await, "in time far");
}

/// A caller who began after `invalidate` had returned does not board a load that began before it.
#[tokio::test]
async fn nobody_boards_a_load_from_before_an_invalidation() {
    for server in [None, Some(Server::start())] {
        let here = match &server {
            None => World::embedded().await,
            Some(server) => World::on(&server.url()).await,
        };
        let (mut step, load) = stepped();
        let before = here.reading_by("k", load);
        step.begins().await;
        here.words.invalidate("k").await.unwrap();
        here.source.set("k", "new");
        assert_eq!(*here.read("k").await.unwrap(), "new");
        step.answers("old");
        assert_eq!(*before.await.unwrap().unwrap(), "old");
        assert_eq!(here.has("k").await, "new near");
    }
}

/// The same for a tag, of which the flights know nothing: whoever boarded is sent back.
#[tokio::test]
async fn whoever_boards_a_load_from_before_the_end_of_a_tag_is_sent_back() {
    for server in [None, Some(Server::start())] {
        let here = match &server {
            None => World::embedded().await,
            Some(server) => World::on(&server.url()).await,
        };
        let (mut step, load) = stepped();
        let words: Cache<str, String> = here.words.tagged(["list"]);
        let before = reading_of(&words, "k", load);
        step.begins().await;
        here.larder.invalidate_tag("list").await.unwrap();
        here.source.set("k", "new");
        let after = here.reading_tagged("k", "list");
        step.answers("old");
        assert_eq!(*before.await.unwrap().unwrap(), "old");
        assert_eq!(*after.await.unwrap().unwrap(), "new");
    }
}

/// Nothing is loaded here: far's answer is on the wire when the tag ends. Whoever asks after that boards the
/// flight that waits for it, and is sent back.
#[tokio::test]
async fn whoever_boards_an_answer_from_before_the_end_of_a_tag_is_sent_back() {
    let server = Server::start();
    let (other, wire) = (World::on(&server.url()).await, Proxy::to(&server));
    other.source.set("k", "old");
    other.read_tagged("k", "list").await.unwrap();
    let builder = Larder::builder("test").redis(wire.url()).bound(support::NEVER);
    let here = World::of(builder.far_deadline(support::NEVER), &other.source).await;
    wire.hold(0);
    let asked = server.calls("mget");
    let first = here.reading_tagged("k", "list");
    until("far is asked", || async { server.calls("mget") == asked + 1 }).await;
    let before = here.reading_tagged("k", "list");
    until("and once more, by a flight", || async { server.calls("mget") == asked + 2 }).await;
    here.larder.invalidate_tag("list").await.unwrap();
    here.source.set("k", "new");
    let after = here.reading_tagged("k", "list");
    tokio::task::yield_now().await;
    wire.let_go();
    assert_eq!(*first.await.unwrap().unwrap(), "old", "it asked before the tag ended");
    assert_eq!(*before.await.unwrap().unwrap(), "old", "and so did this one");
    assert_eq!(*after.await.unwrap().unwrap(), "new");
}

/// A tag that only the load tells of, and that ended while the load ran.
#[tokio::test]
async fn whoever_boards_a_load_whose_learned_tag_has_ended_is_sent_back() {
    let here = World::embedded().await;
    let (mut step, load) = stepped();
    let learns = async move { load.await.map(|value| Loaded::new(value).tag("learned")) };
    let before = reading_of(&here.words, "k", learns);
    step.begins().await;
    here.larder.invalidate_tag("learned").await.unwrap();
    here.source.set("k", "new");
    let after = here.reading("k");
    step.answers("old");
    assert_eq!(*before.await.unwrap().unwrap(), "old");
    assert_eq!(*after.await.unwrap().unwrap(), "new");
}

/// A caller asks for a tag that the load under way does not carry.
#[tokio::test]
async fn nobody_boards_a_load_that_lacks_a_tag_he_asks_for() {
    let here = World::embedded().await;
    let (mut step, load) = stepped();
    let untagged = here.reading_by("k", load);
    step.begins().await;
    here.larder.invalidate_tag(Tag::new("list")).await.unwrap();
    here.source.set("k", "new");
    let tagged = here.reading_tagged("k", "list");
    here.ear.hears("Wait", 1).await; // the lease is the other load's
    step.answers("old");
    assert_eq!(*untagged.await.unwrap().unwrap(), "old");
    assert_eq!(*tagged.await.unwrap().unwrap(), "new");
}

/// Two handles, one embedded far side: the same races without a server.
#[tokio::test]
async fn the_embedded_far_side_refuses_an_overtaken_load_too() {
    let clock = larder::Clock::of_runtime(3);
    let memory = larder::SharedMemory::new(1 << 20, clock);
    let open = || Larder::builder("test").shared_memory(&memory);
    let here = World::of(open(), &Source::default()).await;
    let there = World::of(open(), &here.source).await;
    let (mut step, load) = stepped();
    let reading = here.reading_by("k", load);
    step.begins().await;
    there.words.invalidate("k").await.unwrap();
    step.answers("old");
    assert_eq!(*reading.await.unwrap().unwrap(), "old");
    assert_eq!(there.has("k").await, "nothing");
    assert_eq!(here.has("k").await, "nothing");
}

/// The tag that the load turns out to carry was ended in another process, and this one had no reason to be told
/// of it: it had never read the tag. Whoever asks after `sync` does not board the load.
#[tokio::test]
async fn nobody_boards_a_load_from_before_a_sync() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let (mut step, load) = stepped();
    let learns = async move { load.await.map(|value| Loaded::new(value).tag("learned")) };
    let before = reading_of(&here.words, "k", learns);
    step.begins().await;
    there.larder.invalidate_tag("learned").await.unwrap();
    here.larder.sync().await.unwrap();
    here.source.set("k", "new");
    let after = here.reading("k");
    here.ear.hears("Wait", 1).await; // a flight of its own, and the lease is the other's
    step.answers("old");
    assert_eq!(*before.await.unwrap().unwrap(), "old");
    assert_eq!(*after.await.unwrap().unwrap(), "new");
}

/// The same without `sync`, with a load that takes longer than the bound: after it nobody is given what may have
/// ended unheard.
#[tokio::test(start_paused = true)]
async fn after_the_bound_nobody_boards_a_load_of_unheard_tags() {
    let memory = larder::SharedMemory::new(1 << 20, larder::Clock::of_runtime(3));
    let open = || Larder::builder("test").shared_memory(&memory);
    let here = World::of(open(), &Source::default()).await;
    let there = World::of(open(), &here.source).await;
    let (mut step, load) = stepped();
    let learns = async move { load.await.map(|value| Loaded::new(value).tag("learned")) };
    let before = reading_of(&here.words, "k", learns);
    step.begins().await;
    there.larder.invalidate_tag("learned").await.unwrap();
    there.larder.settled().await;
    here.source.set("k", "new");
    let after = here.reading("k");
    tokio::task::yield_now().await;
    step.answers("old");
    assert_eq!(*before.await.unwrap().unwrap(), "old");
    assert_eq!(*after.await.unwrap().unwrap(), "new");
}

/// A flight that waited for another's lease until its patience was over, and loads alone: a change closes its doors
/// like any other's.
#[tokio::test]
async fn nobody_boards_a_load_that_went_alone_before_an_invalidation() {
    let server = Server::start();
    let builder = Larder::builder("test").redis(server.url()).far_deadline(support::PATIENT);
    let builder = builder.lease_time(Duration::from_millis(100)).bound(support::NEVER);
    let here = World::of(builder, &Source::default()).await;
    let there = World::on(&server.url()).await;
    let cache = |world: &World| -> Cache<str, String> {
        let builder = world.larder.cache("short").max_load(SECOND);
        builder.shared().unwrap()
    };
    let (ours, theirs) = (cache(&here), cache(&there));
    // Held by nobody, for ten minutes.
    let record = format!("SET test:short:1:l:{{.1.k}} T{} PX 600000", "x".repeat(16));
    let _: String = server.ask(&record);
    let (mut step, load) = stepped();
    let before = reading_of(&ours, "k", load);
    here.ear.hears("FarSkipped", 1).await;
    step.begins().await;
    theirs.invalidate("k").await.unwrap();
    here.larder.sync().await.unwrap();
    let new = || async { Ok::<_, std::io::Error>("new".to_owned()) };
    assert_eq!(*ours.get_or_load("k", new).await.unwrap(), "new");
    step.answers("old");
    assert_eq!(*before.await.unwrap().unwrap(), "old");
}

/// The store has been accepted; its answer, and behind it the news that the entry has ended, are on the wire.
#[tokio::test]
async fn what_ended_right_after_our_store_does_not_get_near() {
    let server = Server::start();
    let wire = Proxy::to(&server);
    let builder = Larder::builder("test").redis(wire.url()).bound(support::NEVER);
    let here = World::of(builder.far_deadline(support::NEVER), &Source::default()).await;
    let (mut step, load) = stepped();
    let reading = here.reading_by("k", load);
    step.begins().await;
    wire.hold(0);
    step.answers("old");
    let v = "test:words:1:v:{.1.k}";
    until("the store", || async { server.keys() == [v] }).await;
    let _: i64 = server.ask(&format!("DEL {v}"));
    wire.let_go();
    assert_eq!(*reading.await.unwrap().unwrap(), "old");
    here.larder.sync().await.unwrap();
    assert_eq!(here.has("k").await, "nothing");
}

/// Loads of a tag that ends all the time: whoever was sent back four times asks the source himself, and nobody
/// queues behind sixty others for a lease. (Paused time: what is measured is the order of things.)
#[tokio::test(start_paused = true)]
async fn a_tag_that_ends_all_the_time_makes_nobody_queue() {
    let builder = Larder::builder("test").clock(larder::Clock::of_runtime(5));
    let here = World::of(builder, &Source::default()).await;
    here.source.set("k", "v");
    here.source.takes(Duration::from_millis(50));
    let larder = here.larder.clone();
    let ending = tokio::spawn(async move {
        loop {
            larder.invalidate_tag("list").await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let began = tokio::time::Instant::now();
    let reads: Vec<_> = (0..60).map(|_| here.reading_tagged("k", "list")).collect();
    for read in reads {
        read.await.unwrap().unwrap();
    }
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    ending.abort();
}
