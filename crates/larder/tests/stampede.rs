//! However many miss a key at once, in however many processes, the source is asked once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::time::Duration;

use larder::{Clock, Larder};
use support::{Process, Server, Source, World};

#[test]
fn other_process() {
    support::process::obey();
}

/// Two hundred readers miss at the same moment; the source is asked once.
#[tokio::test(start_paused = true)]
async fn a_stampede_in_one_process_loads_once() {
    let source = Source::default();
    let builder = Larder::builder("test").clock(Clock::of_runtime(7));
    let world = World::of(builder, &source).await;
    source.set("task:1", "buy milk");
    source.takes(Duration::from_secs(2));
    let reads: Vec<_> = (0..200).map(|_| world.reading("task:1")).collect();
    for read in reads {
        assert_eq!(*read.await.unwrap().unwrap(), "buy milk");
    }
    assert_eq!(source.loads(), 1);
}

/// Eight processes of fifty tasks each miss at the same moment: one load in all of them together, and
/// those who waited were told, they did not poll.
#[test]
fn a_stampede_of_a_fleet_loads_once_and_wakes_by_push() {
    let server = Server::start();
    let mut fleet: Vec<Process> = (0..8).map(|_| Process::start(&server.url())).collect();
    for (number, process) in fleet.iter_mut().enumerate() {
        process.say(&format!("many hot 50 from-{number} takes=300"));
    }
    let answers: Vec<String> = fleet.iter_mut().map(Process::answer).collect();
    let mut loads = 0;
    let mut values = std::collections::BTreeSet::new();
    for answer in &answers {
        let words: Vec<&str> = answer.split(' ').collect();
        loads += words[0].parse::<usize>().unwrap();
        values.extend(words[2..].iter().copied());
    }
    assert_eq!(loads, 1, "{answers:?}");
    assert_eq!(values.len(), 1, "all were given what the one loader gave: {answers:?}");
    let heard = |process: &mut Process, part: &str| {
        process.ask(&format!("heard {part}")).parse::<usize>().unwrap()
    };
    let pushed: usize = fleet.iter_mut().map(|process| heard(process, "Push")).sum();
    let timed: usize = fleet.iter_mut().map(|process| heard(process, "Timer")).sum();
    assert!(pushed >= 7, "seven processes waited and were woken by a push, not {pushed}");
    assert_eq!(timed, 0, "nobody waited for a lease to run out");
}

/// The same with a source that has no such thing: "there is none" is an answer like any other.
#[tokio::test]
async fn a_stampede_on_what_does_not_exist_loads_once() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    world.source.takes(Duration::from_millis(100));
    let finds: Vec<_> = (0..50)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move {
                let finding = world.source.find("nowhere");
                world.words.find_or_load("nowhere", move || finding).await
            })
        })
        .collect();
    for find in finds {
        assert!(find.await.unwrap().unwrap().is_none());
    }
    assert_eq!(world.source.loads(), 1);
    let finding = world.source.find("nowhere");
    assert!(world.words.find_or_load("nowhere", move || finding).await.unwrap().is_none());
    assert_eq!(world.source.loads(), 1, "a cached none is no miss");
}
