//! Many keys at once: one trip to far, one call of the loader for all that miss, and each key as if it
//! were asked for alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::{
    Cache, Clock, Each, Entry, Error, ErrorKind, HOUR, Larder, Lifetime, Loaded, MINUTE, Origin,
    SECOND, SharedMemory,
};
use support::{Server, World, soon, until};
use tokio::sync::{Semaphore, watch};

/// A table of texts by number that remembers what it was asked for, and can be held.
#[derive(Clone)]
struct Table {
    rows: Arc<Mutex<HashMap<u32, String>>>,
    calls: Arc<Mutex<Vec<Vec<u32>>>>,
    gate: Arc<Semaphore>,
    held: watch::Sender<usize>,
}

impl Table {
    fn of(ids: impl IntoIterator<Item = u32>) -> Table {
        let rows = ids.into_iter().map(|id| (id, format!("row {id}"))).collect();
        let gate = Arc::new(Semaphore::new(1000));
        let held = watch::Sender::new(0);
        Table { rows: Arc::new(Mutex::new(rows)), calls: Arc::default(), gate, held }
    }

    fn hold(&self) {
        self.gate.forget_permits(1000);
    }

    fn let_go(&self) {
        self.gate.add_permits(1000);
    }

    async fn is_asked(&self, times: usize) {
        let mut held = self.held.subscribe();
        soon("the table is asked", held.wait_for(|held| *held >= times)).await.unwrap();
    }

    /// What it was asked for, each call sorted.
    fn calls(&self) -> Vec<Vec<u32>> {
        let mut calls = self.calls.lock().unwrap().clone();
        calls.iter_mut().for_each(|call| call.sort_unstable());
        calls
    }

    fn select(
        &self,
        ids: Vec<u32>,
    ) -> impl Future<Output = Result<Vec<(u32, String)>, std::io::Error>> + Send + use<> {
        let this = self.clone();
        async move {
            this.calls.lock().unwrap().push(ids.clone());
            let found = {
                let rows = this.rows.lock().unwrap();
                ids.iter().filter_map(|id| Some((*id, rows.get(id)?.clone()))).collect()
            };
            this.held.send_modify(|held| *held += 1);
            this.gate.acquire().await.unwrap().forget();
            this.gate.add_permits(1);
            Ok(found)
        }
    }
}

type Rows = Cache<u32, String>;

fn rows(world: &World) -> Rows {
    let lifetime = Lifetime::fresh_for(MINUTE).stale_for(HOUR).jitter(0.0);
    let cache = world.larder.cache("rows").lifetime(lifetime).backoff(Duration::ZERO);
    cache.tagged_by(|id: &u32| [format!("parity{}", id % 2)]).shared().unwrap()
}

async fn read_many(
    rows: &Rows,
    table: &Table,
    ids: &[u32],
) -> Vec<Result<Option<Entry<String>>, Error>> {
    let table = table.clone();
    rows.get_or_load_many(ids, move |missing| table.select(missing)).await
}

fn texts(found: Vec<Result<Option<Entry<String>>, Error>>) -> Vec<Option<String>> {
    found.into_iter().map(|one| one.unwrap().map(|entry| entry.to_string())).collect()
}

fn wanted(ids: &[u32], there: impl Fn(u32) -> bool) -> Vec<Option<String>> {
    ids.iter().map(|id| there(*id).then(|| format!("row {id}"))).collect()
}

async fn two_on(server: &Server) -> (World, World) {
    let one = World::on(&server.url()).await;
    let other = World::beside(&server.url(), &one.source).await;
    (one, other)
}

#[tokio::test]
async fn all_that_miss_are_asked_for_in_one_call_and_far_in_one_command() {
    let server = Server::start();
    let (here, there) = two_on(&server).await;
    let (ours, theirs, table) = (rows(&here), rows(&there), Table::of(0..40));
    assert_eq!(texts(read_many(&theirs, &table, &[2, 4, 6]).await), wanted(&[2, 4, 6], |_| true));
    assert_eq!(texts(read_many(&ours, &table, &[6, 8]).await), wanted(&[6, 8], |_| true));
    // 8 is near, 2 and 4 are far, 1 and 3 are in the table alone, 99 is nowhere.
    let ids = [99, 8, 3, 2, 1, 4];
    let before = server.calls("mget");
    let found = read_many(&ours, &table, &ids).await;
    let origins: Vec<_> =
        found.iter().map(|one| one.as_ref().unwrap().as_ref().map(Entry::origin)).collect();
    use Origin::{Far, Loaded, Near};
    assert_eq!(origins, [None, Some(Near), Some(Loaded), Some(Far), Some(Loaded), Some(Far)]);
    assert_eq!(texts(found), wanted(&ids, |id| id < 40));
    assert_eq!(server.calls("mget") - before, 1);
    assert_eq!(table.calls(), [vec![2, 4, 6], vec![8], vec![1, 3, 99]]);
    // Each is cached on its own, "there is none" as well: now nobody asks the table.
    assert_eq!(texts(read_many(&ours, &table, &ids).await), wanted(&ids, |id| id < 40));
    assert_eq!(texts(read_many(&theirs, &table, &ids).await), wanted(&ids, |id| id < 40));
    assert_eq!(*theirs.get(&3).await.unwrap().unwrap(), "row 3");
    assert_eq!(table.calls().len(), 3);
}

/// More than can be answered in time together go in batches, of 512.
#[tokio::test]
async fn a_thousand_keys_are_two_loads_and_then_two_trips() {
    let server = Server::start();
    let (here, there) = two_on(&server).await;
    let table = Table::of(0..1000);
    let ids: Vec<u32> = (0..1000).rev().collect();
    assert_eq!(texts(read_many(&rows(&here), &table, &ids).await), wanted(&ids, |_| true));
    let calls: Vec<_> = table.calls().iter().map(|call| (call[0], call.len())).collect();
    assert_eq!(calls, [(488, 512), (0, 488)]);
    let before = server.calls("mget");
    assert_eq!(texts(read_many(&rows(&there), &table, &ids).await), wanted(&ids, |_| true));
    // 512 values and 2 tags, then 488 and 2: at most 128 a command, each batch sent together.
    assert_eq!(server.calls("mget") - before, 5 + 4);
    assert_eq!(table.calls().len(), 2);
}

#[tokio::test]
async fn a_key_asked_for_twice_is_loaded_once() {
    let world = World::embedded().await;
    let table = Table::of(0..4);
    let ids = [1, 2, 1, 3, 2];
    assert_eq!(texts(read_many(&rows(&world), &table, &ids).await), wanted(&ids, |_| true));
    assert_eq!(table.calls(), [[1, 2, 3]]);
}

/// What is being loaded elsewhere is not loaded again, and the rest does not wait for it.
#[tokio::test]
async fn what_another_loads_is_waited_for_alone() {
    let server = Server::start();
    let (here, there) = two_on(&server).await;
    let (ours, theirs) = (rows(&here), rows(&there));
    let (slow, table) = (Table::of(0..10), Table::of(0..10));
    slow.hold();
    let of_theirs = tokio::spawn({
        let (theirs, slow) = (theirs.clone(), slow.clone());
        async move { texts(read_many(&theirs, &slow, &[1, 2]).await) }
    });
    slow.is_asked(1).await;
    let of_ours = tokio::spawn({
        let (ours, table) = (ours.clone(), table.clone());
        async move { texts(read_many(&ours, &table, &[1, 2, 3, 4]).await) }
    });
    table.is_asked(1).await;
    assert_eq!(table.calls(), [[3, 4]], "asked for while 1 and 2 are still on their way");
    until("3 is there", || async { theirs.get(&3).await.unwrap().is_some() }).await;
    slow.let_go();
    assert_eq!(of_theirs.await.unwrap(), wanted(&[1, 2], |_| true));
    assert_eq!(of_ours.await.unwrap(), wanted(&[1, 2, 3, 4], |_| true));
    assert_eq!((slow.calls().len(), table.calls().len()), (1, 1));
}

/// The other process' load fails: then it is ours to make, in a later call.
#[tokio::test]
async fn what_another_failed_to_load_is_asked_for_later() {
    let server = Server::start();
    let (here, there) = two_on(&server).await;
    let (ours, theirs, table) = (rows(&here), rows(&there), Table::of(0..10));
    let (mut step, load) = support::stepped();
    let failing = tokio::spawn(async move {
        let load = async move {
            load.await?;
            Err::<String, _>(std::io::Error::other("the database is down"))
        };
        theirs.get_or_load(&1, move || load).await
    });
    step.begins().await;
    let of_ours = tokio::spawn({
        let (ours, table) = (ours.clone(), table.clone());
        async move { texts(read_many(&ours, &table, &[1, 2]).await) }
    });
    table.is_asked(1).await;
    step.answers("");
    assert!(failing.await.unwrap().is_err());
    assert_eq!(of_ours.await.unwrap(), wanted(&[1, 2], |_| true));
    assert_eq!(table.calls(), [[2], [1]]);
}

#[tokio::test]
async fn one_caller_and_many_share_a_flight() {
    let world = World::embedded().await;
    let (rows, table) = (rows(&world), Table::of(0..10));
    table.hold();
    let many = tokio::spawn({
        let (rows, table) = (rows.clone(), table.clone());
        async move { texts(read_many(&rows, &table, &[1, 2]).await) }
    });
    table.is_asked(1).await;
    let one = tokio::spawn({
        let rows = rows.clone();
        let never = || async { Ok::<String, std::io::Error>("a second load".to_owned()) };
        async move { rows.get_or_load(&1, never).await.unwrap().to_string() }
    });
    until("it has boarded", || async { world.ear.count("Miss") == 2 }).await;
    table.let_go();
    assert_eq!(one.await.unwrap(), "row 1");
    assert_eq!(many.await.unwrap(), wanted(&[1, 2], |_| true));
}

#[tokio::test]
async fn a_load_that_fails_fails_each_key_it_was_for_and_no_other() {
    let world = World::embedded().await;
    let (rows, table) = (rows(&world), Table::of(0..10));
    read_many(&rows, &table, &[1]).await;
    #[derive(Debug, PartialEq)]
    struct Down(u8);
    impl std::fmt::Display for Down {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the database is down")
        }
    }
    impl std::error::Error for Down {}
    let fails = |_| async { Err::<Vec<(u32, String)>, _>(Down(7)) };
    let found = rows.get_or_load_many(&[1, 2, 3], fails).await;
    assert_eq!(**found[0].as_ref().unwrap().as_ref().unwrap(), "row 1");
    for failed in &found[1..] {
        let error = failed.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source);
        assert_eq!(error.cause::<Down>(), Some(&Down(7)), "the loader's own error, typed");
    }
    // One row of several: only its key fails.
    let torn = |ids: Vec<u32>| async move {
        let row = |id| if id == 3 { Err(Down(3)) } else { Ok(format!("row {id}")) };
        Ok::<_, Down>(ids.into_iter().map(|id| (id, row(id))).collect::<Vec<_>>())
    };
    let found = rows.get_or_load_many(&[2, 3], torn).await;
    assert_eq!(**found[0].as_ref().unwrap().as_ref().unwrap(), "row 2");
    assert_eq!(found[1].as_ref().unwrap_err().cause::<Down>(), Some(&Down(3)));
    let panics = |_| async { panic!("row 5 is torn") };
    #[allow(unreachable_code, reason = "it names the types")]
    let panics = move |ids| async move {
        let rows: Vec<(u32, Each<String>)> = panics(ids).await;
        Ok::<_, Down>(rows)
    };
    let found = rows.get_or_load_many(&[2, 5], panics).await;
    assert_eq!(**found[0].as_ref().unwrap().as_ref().unwrap(), "row 2");
    let error = found[1].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert!(error.to_string().contains("row 5 is torn"), "{error}");
    assert_eq!(texts(read_many(&rows, &table, &[5]).await), wanted(&[5], |_| true));
}

#[tokio::test]
async fn a_key_that_is_refused_fails_in_its_place() {
    let world = World::embedded().await;
    let (short, long) = ("a".to_owned(), "x".repeat(2000));
    let load = |keys: Vec<String>| async move {
        Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key.clone(), key)).collect::<Vec<_>>())
    };
    let found = world.words.get_or_load_many([&*short, &*long, "b"], load).await;
    assert_eq!(*found[0].as_ref().unwrap().as_ref().unwrap().clone(), "a");
    assert_eq!(found[1].as_ref().unwrap_err().kind(), ErrorKind::Key);
    assert_eq!(*found[2].as_ref().unwrap().as_ref().unwrap().clone(), "b");
    assert!(world.words.get_or_load_many([], load).await.is_empty());
}

/// A loader that names keys nobody asked for, and some twice, fills no other entries.
#[tokio::test]
async fn what_the_loader_says_of_other_keys_is_not_believed() {
    let world = World::embedded().await;
    let (rows, table) = (rows(&world), Table::of(0..10));
    let more = |_| async {
        let said = [(1, "one"), (7, "seven"), (1, "another one")];
        Ok::<_, std::io::Error>(said.map(|(id, text)| (id, text.to_owned())))
    };
    assert_eq!(texts(rows.get_or_load_many(&[1], more).await), [Some("one".to_owned())]);
    assert_eq!(texts(read_many(&rows, &table, &[7]).await), wanted(&[7], |_| true));
}

#[tokio::test]
async fn what_was_ended_while_the_load_ran_is_handed_out_and_not_kept() {
    let server = Server::start();
    let (here, there) = two_on(&server).await;
    let (ours, theirs, table) = (rows(&here), rows(&there), Table::of(0..10));
    table.hold();
    let reading = tokio::spawn({
        let (ours, table) = (ours.clone(), table.clone());
        async move { texts(read_many(&ours, &table, &[1, 2, 4]).await) }
    });
    table.is_asked(1).await;
    theirs.invalidate(&4).await.unwrap();
    there.larder.invalidate_tag("parity1").await.unwrap();
    table.let_go();
    assert_eq!(reading.await.unwrap(), wanted(&[1, 2, 4], |_| true), "asked before they ended");
    let kept = ours.get_many(&[1, 2, 4]).await.unwrap();
    let kept: Vec<_> = kept.iter().map(Option::is_some).collect();
    assert_eq!(kept, [false, true, false]);
}

/// The caller hangs up: the load is stopped, and its leases are given back.
#[tokio::test]
async fn a_caller_that_hangs_up_leaves_nothing_behind() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let (rows, table) = (rows(&world), Table::of(0..10));
    table.hold();
    let reading = tokio::spawn({
        let (rows, table) = (rows.clone(), table.clone());
        async move { texts(read_many(&rows, &table, &[1, 2, 3]).await) }
    });
    table.is_asked(1).await;
    reading.abort();
    until("the load is stopped", || async { Arc::strong_count(&table.gate) == 1 }).await;
    let leases = || server.keys().into_iter().filter(|key| key.contains(":l:")).count();
    until("the leases are given back", || async { leases() == 0 }).await;
}

/// Stale ones are served at once, and refreshed in one call behind the caller's back.
#[tokio::test(start_paused = true)]
async fn stale_keys_are_refreshed_together() {
    let memory = SharedMemory::new(1 << 20, Clock::of_runtime(3));
    let builder = Larder::builder("test").shared_memory(&memory);
    let world = World::of(builder, &support::Source::default()).await;
    let (rows, table) = (rows(&world), Table::of(0..10));
    read_many(&rows, &table, &[1, 2, 3]).await;
    tokio::time::advance(MINUTE + SECOND).await;
    let found = read_many(&rows, &table, &[1, 2, 3, 4]).await;
    let stale: Vec<_> =
        found.iter().map(|one| one.as_ref().unwrap().as_ref().unwrap().is_stale()).collect();
    assert_eq!(stale, [true, true, true, false]);
    until("they are fresh", || async {
        let found = read_many(&rows, &table, &[1, 2, 3]).await;
        found.iter().all(|one| !one.as_ref().unwrap().as_ref().unwrap().is_stale())
    })
    .await;
    let mut calls = table.calls();
    calls.sort();
    assert_eq!(calls, [vec![1, 2, 3], vec![1, 2, 3], vec![4]]);
}

/// A value may carry tags and a lifetime of its own, as with one key.
#[tokio::test]
async fn a_value_of_many_may_carry_its_own_tags() {
    let world = World::embedded().await;
    let rows = rows(&world);
    let learns = |ids: Vec<u32>| async move {
        let row = |id: u32| (id, Loaded::new(format!("row {id}")).tag(format!("list{}", id % 3)));
        Ok::<_, std::io::Error>(ids.into_iter().map(row).collect::<Vec<_>>())
    };
    let ids = [1, 2, 3];
    let first = rows.get_or_load_many(&ids, learns).await;
    assert_eq!(texts(first), wanted(&ids, |_| true)); // the tags are new: the next load is stored
    assert_eq!(texts(rows.get_or_load_many(&ids, learns).await), wanted(&ids, |_| true));
    assert!(rows.get_many(&ids).await.unwrap().iter().all(Option::is_some));
    world.larder.invalidate_tag("list2").await.unwrap();
    let left = rows.get_many(&ids).await.unwrap();
    assert_eq!(left.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
}
