//! A write that goes through the cache: the sink has it first, and nothing older is ever found after it.
//!
//! What other writers, loads and invalidations do meanwhile is led by hand. What faults do to it stands in
//! `write_faults`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder::{
    BoxError, Cache, ErrorKind, Larder, Lifetime, Loaded, MINUTE, NotWritten, Origin, SECOND,
    SharedMemory, Sink, Stored, Unguarded, UserCache, Written,
};
use support::table::Rows;
use support::{NEVER, Server, Source, Table, World, soon, stepped, until};

/// Two processes on one Redis, one table behind both.
struct Fleet {
    one: World,
    other: World,
    table: Table,
    _server: Server,
}

impl Fleet {
    async fn new() -> Fleet {
        let (server, source) = (Server::start(), Source::default());
        let one = World::beside(&server.url(), &source).await;
        let other = World::beside(&server.url(), &source).await;
        Fleet { one, other, table: Table::default(), _server: server }
    }

    fn here(&self) -> Rows {
        self.table.through(&self.one.words)
    }

    fn there(&self) -> Rows {
        self.table.through(&self.other.words)
    }
}

async fn read(rows: &Rows, key: &str) -> (Option<String>, Origin) {
    let found = soon("an answer", rows.look_up(key)).await.unwrap();
    (found.entry.map(|entry| entry.to_string()), found.origin)
}

fn some(value: &str, origin: Origin) -> (Option<String>, Origin) {
    (Some(value.to_owned()), origin)
}

/// Begins a write in a task of its own.
fn writing(
    rows: &Rows,
    key: &str,
    value: &str,
) -> tokio::task::JoinHandle<Result<Written, larder::Error>> {
    let (rows, key, value) = (rows.clone(), key.to_owned(), value.to_owned());
    tokio::spawn(async move { rows.write(&key, value).await })
}

#[tokio::test]
async fn what_is_written_is_found_by_everybody_without_a_load() {
    let fleet = Fleet::new().await;
    let (here, there) = (fleet.here(), fleet.there());
    fleet.table.set("k", "old");
    for rows in [&here, &there] {
        assert_eq!(read(rows, "k").await.0.unwrap(), "old");
    }
    let loads = fleet.table.loads();
    assert_eq!(here.write("k", "new".to_owned()).await.unwrap(), Written::Kept);
    assert_eq!(fleet.table.row("k").unwrap(), "new");
    fleet.other.larder.sync().await.unwrap();
    for rows in [&here, &there] {
        assert_eq!(read(rows, "k").await, some("new", Origin::Far));
    }
    assert_eq!(fleet.table.loads(), loads);
    let stats = here.stats();
    assert_eq!((stats.writes, stats.writes_kept, stats.writes_failed), (1, 1, 0));
}

#[tokio::test]
async fn what_is_removed_is_remembered_as_none() {
    let fleet = Fleet::new().await;
    let (here, there) = (fleet.here(), fleet.there());
    here.write("k", "old".to_owned()).await.unwrap();
    assert_eq!(read(&there, "k").await.0.unwrap(), "old");
    assert_eq!(here.remove("k").await.unwrap(), Written::Kept);
    assert_eq!(fleet.table.row("k"), None);
    fleet.other.larder.sync().await.unwrap();
    for rows in [&here, &there] {
        assert_eq!(read(rows, "k").await, (None, Origin::Far));
    }
    assert_eq!(fleet.table.loads(), 0);
}

/// Which of the two committed last only the sink knows.
#[tokio::test]
async fn of_writes_that_overlap_none_is_kept() {
    let fleet = Fleet::new().await;
    let (here, there) = (fleet.here(), fleet.there());
    let mut first = fleet.table.next_write();
    let one = writing(&here, "k", "one");
    first.begins().await;
    first.commits().await;
    assert_eq!(there.write("k", "other".to_owned()).await.unwrap(), Written::Ended);
    // It read after both commits, and is kept nowhere while the first is under way.
    for _ in 0..2 {
        assert_eq!(read(&there, "k").await, some("other", Origin::Loaded));
    }
    first.answers(Ok(()));
    assert_eq!(one.await.unwrap().unwrap(), Written::Ended);
    fleet.other.larder.sync().await.unwrap();
    assert_eq!(read(&there, "k").await, some("other", Origin::Loaded));
    assert_eq!(read(&here, "k").await, some("other", Origin::Far));
}

/// From before the commit until after the end of it nobody keeps what they load: it may be either.
#[tokio::test]
async fn a_load_beside_a_write_or_from_before_it_is_kept_nowhere() {
    let fleet = Fleet::new().await;
    let (here, there) = (fleet.here(), fleet.there());
    fleet.table.set("k", "old");
    let (mut before, load) = stepped();
    let overtaken = support::reading_of(&fleet.other.words, "k", load);
    before.begins().await;
    let mut hand = fleet.table.next_write();
    let write = writing(&here, "k", "new");
    hand.begins().await;
    fleet.other.larder.sync().await.unwrap();
    for rows in [&here, &there] {
        assert_eq!(read(rows, "k").await, some("old", Origin::Loaded));
        assert_eq!(rows.get("k").await.unwrap().as_deref(), None);
    }
    let (mut beside, load) = stepped();
    let reading = support::reading_of(&fleet.other.words, "k", load);
    beside.begins().await;
    hand.goes_on().await;
    assert_eq!(write.await.unwrap().unwrap(), Written::Kept);
    for (step, reading) in [(before, overtaken), (beside, reading)] {
        step.answers("old");
        assert_eq!(*reading.await.unwrap().unwrap(), "old", "its call overlapped the write");
    }
    fleet.other.larder.sync().await.unwrap();
    for rows in [&here, &there] {
        assert_eq!(read(rows, "k").await, some("new", Origin::Far));
    }
}

#[tokio::test]
async fn an_end_or_a_put_beside_a_write_keeps_it_from_being_kept() {
    let fleet = Fleet::new().await;
    let (here, there) = (fleet.here(), fleet.there());
    for (number, is_end) in [(1, true), (2, false)] {
        let mut hand = fleet.table.next_write();
        let write = writing(&here, "k", &format!("new {number}"));
        hand.begins().await;
        if is_end {
            there.invalidate("k").await.unwrap();
        } else {
            assert_eq!(there.put("k", "put".to_owned()).await.unwrap(), Stored::Refused);
        }
        hand.goes_on().await;
        assert_eq!(write.await.unwrap().unwrap(), Written::Ended);
        assert_eq!(read(&here, "k").await, some(&format!("new {number}"), Origin::Loaded));
    }
}

/// Its generation was read before the commit: an end of the tag in between ends what was written, too.
#[tokio::test]
async fn a_tag_ended_beside_a_write_or_after_it_ends_what_was_written() {
    let fleet = Fleet::new().await;
    let (here, there) = (fleet.here(), fleet.there());
    let (here, there) = (here.tagged(["list"]), there.tagged(["list"]));
    let mut hand = fleet.table.next_write();
    let write = writing(&here, "k", "new");
    hand.begins().await;
    fleet.other.larder.invalidate_tag("list").await.unwrap();
    hand.goes_on().await;
    assert_eq!(write.await.unwrap().unwrap(), Written::Kept, "under a tag that has ended");
    assert_eq!(read(&there, "k").await, some("new", Origin::Loaded));
    // And a tag that the value alone tells of.
    let value = Loaded::new("newer".to_owned()).tag("row").lifetime(Lifetime::fresh_for(MINUTE));
    assert_eq!(here.write("k", value).await.unwrap(), Written::Kept);
    fleet.other.larder.sync().await.unwrap();
    assert_eq!(read(&there, "k").await, some("newer", Origin::Far));
    for tag in ["row", "list"] {
        fleet.one.larder.invalidate_tag(tag).await.unwrap();
        fleet.other.larder.sync().await.unwrap();
        assert_eq!(read(&there, "k").await, some("newer", Origin::Loaded), "{tag}");
    }
}

/// A request was cancelled. The write it had begun goes to its end, and so does what the cache owes it.
#[tokio::test]
async fn a_caller_who_hangs_up_stops_no_write() {
    let fleet = Fleet::new().await;
    let here = fleet.here();
    fleet.table.set("k", "old");
    let mut hand = fleet.table.next_write();
    let write = writing(&here, "k", "new");
    hand.begins().await;
    write.abort();
    assert!(write.await.unwrap_err().is_cancelled());
    hand.goes_on().await;
    until("its end", async || here.stats().writes == 1).await;
    assert_eq!(read(&fleet.there(), "k").await, some("new", Origin::Far));
}

/// The source is asked by the cache: once for all that neither side has, and for what does not exist only once.
#[tokio::test]
async fn a_cache_that_knows_its_source_asks_it_once_for_all_that_miss() {
    let fleet = Fleet::new().await;
    let (here, there) = (fleet.here(), fleet.there());
    fleet.table.set("a", "A");
    fleet.table.set("b", "B");
    assert_eq!(read(&here, "a").await, some("A", Origin::Loaded));
    assert_eq!(read(&here, "a").await, some("A", Origin::Near));
    let all = async |rows: &Rows| {
        let entries = rows.read_many(["b", "nowhere", "a", "b"]).await.into_iter();
        entries.map(|entry| entry.unwrap().map(|entry| entry.to_string())).collect::<Vec<_>>()
    };
    let expected = [Some("B"), None, Some("A"), Some("B")].map(|one| one.map(str::to_owned));
    for rows in [&here, &here, &there] {
        assert_eq!(all(rows).await, expected);
    }
    assert_eq!((fleet.table.queries(), fleet.table.loads()), (2, 1 + 2), "b and nowhere in one");
    assert_eq!(read(&there, "nowhere").await, (None, Origin::Near));
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("row {0} is locked")]
struct Locked(u32);

/// Asked one by one where it knows no other way: each key fails or is missing by itself, and what it alone knows
/// of a value is heeded.
#[tokio::test]
async fn a_closure_is_a_source() {
    let world = World::embedded().await;
    let source = |key: String| async move {
        match key.as_str() {
            "locked" => Err(Locked(17)),
            "nowhere" => Ok(Loaded::new(None)),
            _ => Ok(Loaded::new(Some(key.clone())).tag(key)),
        }
    };
    let rows = world.words.through(source);
    let error = rows.read("locked").await.unwrap_err();
    assert_eq!((error.kind(), error.cause()), (ErrorKind::Source, Some(&Locked(17))));
    let read = async || {
        let mut many = rows.read_many(["a", "nowhere", "locked", "b"]).await.into_iter();
        let mut next = || many.next().unwrap();
        assert_eq!(next().unwrap().as_deref(), Some(&"a".to_owned()));
        assert!(next().unwrap().is_none());
        assert_eq!(next().unwrap_err().kind(), ErrorKind::Source);
        assert_eq!(next().unwrap().as_deref(), Some(&"b".to_owned()));
    };
    read().await; // the tags are new: not kept yet
    read().await;
    assert_eq!(rows.read("a").await.unwrap().unwrap().origin(), Origin::Near);
    world.larder.invalidate_tag("a").await.unwrap();
    assert_eq!(rows.read("a").await.unwrap().unwrap().origin(), Origin::Loaded);
    assert_eq!(rows.read("b").await.unwrap().unwrap().origin(), Origin::Near);
    // With a sink of its own beside it.
    let table = Table::default();
    let both = world.words.through((source, table.clone()));
    assert_eq!(both.write("c", "C".to_owned()).await.unwrap(), Written::Kept);
    assert_eq!(both.read("c").await.unwrap().as_deref(), Some(&"C".to_owned()));
    assert_eq!(table.row("c").unwrap(), "C");
}

/// What becomes of a call to this sink.
#[derive(Clone, Copy)]
enum Goes {
    Refused,
    Lost,
    Panics,
}

impl Sink<str, String> for Goes {
    async fn write(&self, _: &str, _: &String) -> Result<(), BoxError> {
        match self {
            Goes::Refused => Err(NotWritten::because(Locked(17)).into()),
            Goes::Lost => Err(Locked(17).into()),
            Goes::Panics => panic!("on purpose"),
        }
    }

    async fn remove(&self, key: &str) -> Result<(), BoxError> {
        self.write(key, &String::new()).await
    }
}

/// Its own error comes back typed, whatever it says of what was written.
async fn write_and_remove_fail(rows: &Cache<str, String>, goes: Goes, kind: ErrorKind) {
    let rows = rows.through(goes);
    for error in
        [rows.write("k", "new".to_owned()).await.unwrap_err(), rows.remove("k").await.unwrap_err()]
    {
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.cause(), (kind == ErrorKind::Source).then_some(&Locked(17)));
        assert_eq!(error.cause::<NotWritten>().is_some(), matches!(goes, Goes::Refused));
        assert!(error.to_string().contains("sink"), "{error}");
    }
}

/// It says so itself: its guard is over at once, and what is loaded is kept.
#[tokio::test]
async fn a_sink_that_surely_did_not_write_lets_the_key_be_kept_at_once() {
    let fleet = Fleet::new().await;
    let (here, there) = (fleet.here(), fleet.there());
    fleet.table.set("k", "old");
    write_and_remove_fail(&fleet.one.words, Goes::Refused, ErrorKind::Source).await;
    fleet.other.larder.sync().await.unwrap();
    assert_eq!(read(&there, "k").await, some("old", Origin::Loaded));
    fleet.one.larder.sync().await.unwrap();
    assert_eq!(read(&here, "k").await, some("old", Origin::Far));
    assert_eq!(fleet.one.words.stats().writes_failed, 2);
}

/// Nobody knows whether it will commit yet: what is loaded is kept nowhere, until its guard has run out by itself.
#[tokio::test(start_paused = true)]
async fn a_sink_that_fails_or_panics_leaves_its_guard_to_run_out() {
    let world = in_the_runtimes_time().await;
    let cache = world.larder.cache("brief").guard_time(SECOND).shared().unwrap();
    let table = Table::default();
    let rows = table.through(&cache);
    table.set("k", "old");
    for (goes, kind) in [(Goes::Lost, ErrorKind::Source), (Goes::Panics, ErrorKind::Panicked)] {
        write_and_remove_fail(&cache, goes, kind).await;
        for _ in 0..3 {
            assert_eq!(read(&rows, "k").await, some("old", Origin::Loaded));
        }
        tokio::time::sleep(SECOND).await;
        assert_eq!(read(&rows, "k").await, some("old", Origin::Loaded));
        assert_eq!(read(&rows, "k").await, some("old", Origin::Near), "it is kept again");
    }
    assert_eq!(world.larder.close(Duration::ZERO).await, 0, "and nothing is under way");
}

/// A driver gave up after five seconds, and the statement got its row lock after six. Its error ended the guard at
/// once: a reader in between was granted a lease, loaded the old value and kept it to its lifetime, everywhere. Now
/// such an error leaves the guard where it is.
#[tokio::test]
async fn a_sink_that_fails_and_commits_later_leaves_nothing_stale() {
    let fleet = Fleet::new().await;
    let guarded = |world: &World| -> Cache<str, String> {
        world.larder.cache("guarded").guard_time(5 * MINUTE).shared().unwrap()
    };
    let [one, other] = [&fleet.one, &fleet.other].map(guarded);
    let (here, there) = (fleet.table.through(&one), fleet.table.through(&other));
    fleet.table.set("k", "old");
    assert_eq!(read(&there, "k").await.0.unwrap(), "old");
    let mut hand = fleet.table.next_write();
    let write = writing(&here, "k", "new");
    hand.begins().await;
    hand.answers(Err(std::io::Error::other("timed out")));
    let error = write.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source, "{error}");
    assert!(error.cause::<std::io::Error>().is_some());
    for _ in 0..2 {
        for (rows, world) in [(&there, &fleet.other), (&here, &fleet.one)] {
            world.larder.sync().await.unwrap();
            assert_eq!(read(rows, "k").await, some("old", Origin::Loaded));
        }
    }
    // Nor does one that asked before the commit store after it.
    let (mut between, load) = stepped();
    let reading = support::reading_of(&other, "k", load);
    between.begins().await;
    hand.commits().await;
    between.answers("old");
    assert_eq!(*reading.await.unwrap().unwrap(), "old", "its call overlapped the commit");
    for (rows, world) in [(&there, &fleet.other), (&here, &fleet.one)] {
        world.larder.sync().await.unwrap();
        assert_eq!(read(rows, "k").await, some("new", Origin::Loaded));
    }
    // Nor does it let another writer keep what it overlapped.
    assert_eq!(there.write("k", "newer".to_owned()).await.unwrap(), Written::Ended);
    assert_eq!(read(&here, "k").await, some("newer", Origin::Loaded));
}

/// It committed, and its answer was lost on the way.
#[tokio::test]
async fn a_sink_that_fails_after_its_commit_leaves_nothing_stale() {
    let fleet = Fleet::new().await;
    let (here, there) = (fleet.here(), fleet.there());
    fleet.table.set("k", "old");
    assert_eq!(read(&there, "k").await.0.unwrap(), "old");
    let mut hand = fleet.table.next_write();
    let write = writing(&here, "k", "new");
    hand.begins().await;
    hand.commits().await;
    hand.answers(Err(std::io::Error::other("connection reset")));
    let error = write.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source);
    assert!(error.cause::<std::io::Error>().is_some());
    fleet.other.larder.sync().await.unwrap();
    assert_eq!(read(&there, "k").await, some("new", Origin::Loaded));
}

/// Too large to be kept: the database has it all the same, and the cache nothing older.
#[tokio::test]
async fn what_cannot_be_kept_is_written_all_the_same() {
    let fleet = Fleet::new().await;
    let small: Cache<str, String> =
        fleet.one.larder.cache("small").value_bytes_max(8).shared().unwrap();
    let small = fleet.table.through(&small);
    assert_eq!(small.write("k", "short".to_owned()).await.unwrap(), Written::Kept);
    let long = "much longer than that".to_owned();
    assert_eq!(small.write("k", long.clone()).await.unwrap(), Written::Ended);
    assert_eq!(read(&small, "k").await, (Some(long), Origin::Loaded));
    let odd = Loaded::new("v".to_owned()).lifetime(Lifetime::fresh_for(Duration::ZERO));
    let error = small.write("k", odd).await.unwrap_err();
    assert_eq!((error.kind(), fleet.table.writes()), (ErrorKind::Config, 2), "{error}");
}

/// Each user's part is its own, and ends with all that is theirs.
#[tokio::test]
async fn what_a_user_writes_is_theirs() {
    let larder = Larder::builder("test").open().await.unwrap();
    let cache: UserCache<str, String> = larder.cache("owned").per_user().unwrap();
    let (adas, bobs) = (Table::default(), Table::default());
    let (ada, bob) = (adas.through(&cache.of("ada")), bobs.through(&cache.of("bob")));
    assert_eq!(ada.write("k", "hers".to_owned()).await.unwrap(), Written::Kept);
    assert_eq!(read(&bob, "k").await, (None, Origin::Loaded));
    assert_eq!(read(&ada, "k").await, some("hers", Origin::Far));
    larder.invalidate([cache.of("ada").all()]).await.unwrap();
    assert_eq!(read(&ada, "k").await, some("hers", Origin::Loaded));
}

/// What the other version of a rolling deploy keeps is not what was written.
#[tokio::test]
async fn a_write_ends_what_the_other_version_of_a_deploy_keeps() {
    let server = Server::start();
    let (old, new) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let table = Table::default();
    let rows = |world: &World, schema| {
        table.through(&world.larder.cache("rows").schema(schema).shared().unwrap())
    };
    let (old, new) = (rows(&old, 1), rows(&new, 2));
    table.set("k", "old");
    assert_eq!(read(&old, "k").await, some("old", Origin::Loaded));
    assert_eq!(new.write("k", "new".to_owned()).await.unwrap(), Written::Kept);
    assert!(server.keys().iter().all(|key| !key.contains(":1:")), "{:?}", server.keys());
    until("the news", async || old.get_near("k").is_none()).await;
    assert_eq!(read(&old, "k").await, some("new", Origin::Loaded));
}

/// The process that answered the guard is not the one that finished it: what it dated nobody believes.
#[tokio::test]
async fn what_is_finished_by_another_server_process_is_not_believed() {
    let memory = SharedMemory::new(1 << 20, larder::Clock::of_runtime(7));
    memory.fails_over(1);
    let builder = Larder::builder("test").shared_memory(&memory);
    let world = World::of(builder, &Source::default()).await;
    let table = Table::default();
    let rows = table.through(&world.words);
    assert_eq!(rows.write("k", "one".to_owned()).await.unwrap(), Written::Kept);
    assert_eq!(read(&rows, "k").await, some("one", Origin::Far));
    let mut hand = table.next_write();
    let write = writing(&rows, "k", "two");
    hand.begins().await;
    memory.fails_over(2);
    hand.goes_on().await;
    assert_eq!(write.await.unwrap().unwrap(), Written::Kept);
    assert_eq!(read(&rows, "k").await, some("two", Origin::Loaded));
}

/// `close` waits for it, and what comes after is refused before the sink is asked.
#[tokio::test]
async fn closing_waits_for_a_write_under_way_and_refuses_the_next() {
    let fleet = Fleet::new().await;
    let here = fleet.here();
    let mut hand = fleet.table.next_write();
    let write = writing(&here, "k", "new");
    hand.begins().await;
    let larder = fleet.one.larder.clone();
    let closing = tokio::spawn(async move { larder.close(NEVER).await });
    for _ in 0..20 {
        fleet.other.larder.sync().await.unwrap();
        assert!(!closing.is_finished());
    }
    hand.goes_on().await;
    assert_eq!(write.await.unwrap().unwrap(), Written::Kept);
    assert_eq!(closing.await.unwrap(), 0);
    let error = here.write("k", "late".to_owned()).await.unwrap_err();
    assert_eq!((error.kind(), fleet.table.writes()), (ErrorKind::Closed, 1), "{error}");
    assert_eq!(read(&fleet.there(), "k").await, some("new", Origin::Far));
}

/// Embedded, by a clock that a test may pause.
async fn in_the_runtimes_time() -> World {
    let memory = SharedMemory::new(1 << 20, larder::Clock::of_runtime(7));
    World::of(Larder::builder("test").shared_memory(&memory), &Source::default()).await
}

/// At `guard_time` the caller is told that nothing is known. The sink is not stopped, and when it has committed
/// what was loaded meanwhile goes.
#[tokio::test(start_paused = true)]
async fn a_sink_slower_than_its_guard_is_told_of_and_leaves_nothing_stale() {
    let world = in_the_runtimes_time().await;
    let cache = world.larder.cache("slow").guard_time(SECOND).shared().unwrap();
    let table = Table::default();
    let rows = table.through(&cache);
    table.set("k", "old");
    let mut hand = table.next_write();
    let write = writing(&rows, "k", "new");
    hand.begins().await;
    let error = write.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline, "{error}");
    assert!(error.to_string().contains("guard_time (1s)"), "{error}");
    assert_eq!(read(&rows, "k").await, some("old", Origin::Loaded));
    until("the guard to be over", async || read(&rows, "k").await.1 == Origin::Near).await;
    hand.goes_on().await;
    until("the new one", async || read(&rows, "k").await.0.unwrap() == "new").await;
    assert_eq!((rows.stats().writes, rows.stats().writes_failed), (1, 1));
}

/// Nor does it hold its place for ever.
#[tokio::test(start_paused = true)]
async fn a_sink_that_never_answers_is_given_up_after_max_load_more() {
    let world = in_the_runtimes_time().await;
    let cache = world.larder.cache("slow").guard_time(SECOND).max_load(3 * SECOND);
    let table = Table::default();
    let rows = table.through(&cache.shared().unwrap());
    let mut hand = table.next_write();
    let write = writing(&rows, "k", "new");
    hand.begins().await;
    assert_eq!(write.await.unwrap().unwrap_err().kind(), ErrorKind::Deadline);
    // It commits, and hangs before it can say so: when it is given up the key is ended once more.
    until("the guard to be over", async || read(&rows, "k").await.1 == Origin::Near).await;
    hand.commits().await;
    assert_eq!(read(&rows, "k").await, (None, Origin::Near), "nobody has told of it yet");
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(read(&rows, "k").await, some("new", Origin::Loaded));
    assert_eq!(world.larder.close(Duration::ZERO).await, 0, "and nothing is under way");
    drop(hand);
}

/// A source of its own that counts, and says when it was refused.
#[tokio::test]
async fn without_redis_a_write_goes_on_or_is_refused_as_was_chosen() {
    let mut server = Server::start();
    let world = World::on(&server.url()).await;
    let table = Table::default();
    let rows = table.through(&world.words);
    rows.write("k", "old".to_owned()).await.unwrap();
    assert_eq!(read(&rows, "k").await, some("old", Origin::Far));
    server.kill();
    until("the news", async || !world.larder.is_far_up()).await;
    let refused = rows.clone().unguarded(Unguarded::Refuse);
    let error = soon("a refusal", refused.write("k", "no".to_owned())).await.unwrap_err();
    assert_eq!((error.kind(), table.writes()), (ErrorKind::Far, 1), "{error}");
    assert!(error.to_string().contains("nothing was written"), "{error}");
    let error = soon("an answer", rows.write("k", "new".to_owned())).await.unwrap_err();
    assert_eq!((error.kind(), table.row("k").unwrap()), (ErrorKind::Unconfirmed, "new".to_owned()));
    assert!(error.to_string().contains("it is written"), "{error}");
    assert_eq!(read(&rows, "k").await, some("new", Origin::Loaded));
    // However many are written: what waits is one end of one key.
    for _ in 0..200 {
        let error = rows.write("k", "new".to_owned()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unconfirmed, "{error}");
        refused.write("k", "no".to_owned()).await.unwrap_err();
    }
    assert_eq!(world.larder.stats().unconfirmed_waiting, 1);
    server.start_again();
    until("its end", async || {
        world.larder.is_far_up() && world.larder.stats().unconfirmed_waiting == 0
    })
    .await;
    until("a cache that keeps", async || read(&rows, "k").await.1 != Origin::Loaded).await;
    assert_eq!(rows.write("k", "newer".to_owned()).await.unwrap(), Written::Kept);
}

/// Many writers, removers, readers and enders, in two processes. Nothing that a read finds is older than what was
/// written before it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_traffic_nothing_is_older_than_the_last_write_before_it() {
    const WRITERS: usize = 6;
    const ROUNDS: usize = 120;
    let fleet = Fleet::new().await;
    let table = fleet.table.clone();
    table.set("k", "first");
    let (numbers, acknowledged) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let views = [fleet.here(), fleet.there()].map(|rows| rows.tagged(["list"]));
    // Held alone by whoever must not be disturbed.
    let quiet = Arc::new(tokio::sync::RwLock::new(()));
    let mut tasks = Vec::new();
    for task in 0..WRITERS {
        let (rows, table, quiet) = (views[task % 2].clone(), table.clone(), quiet.clone());
        let (numbers, acknowledged) = (numbers.clone(), acknowledged.clone());
        tasks.push(tokio::spawn(async move {
            for round in 0..ROUNDS {
                let value = format!("v{}", numbers.fetch_add(1, Ordering::SeqCst));
                if round % 8 == task {
                    let _alone = quiet.write().await;
                    assert_eq!(rows.write("k", value.clone()).await.unwrap(), Written::Kept);
                    acknowledged.fetch_max(table.place(&value), Ordering::SeqCst);
                    continue;
                }
                let _beside_others = quiet.read().await;
                rows.write("k", value.clone()).await.unwrap();
                acknowledged.fetch_max(table.place(&value), Ordering::SeqCst);
                if round % 3 == task % 3 {
                    rows.invalidate("k").await.unwrap();
                }
            }
        }));
    }
    for (task, larder) in [&fleet.one.larder, &fleet.other.larder].into_iter().enumerate() {
        for _ in 0..2 {
            let (rows, larder, table) = (views[task].clone(), larder.clone(), table.clone());
            let acknowledged = acknowledged.clone();
            tasks.push(tokio::spawn(async move {
                for _ in 0..2 * ROUNDS {
                    let least = acknowledged.load(Ordering::SeqCst);
                    larder.sync().await.unwrap();
                    let entry = rows.read("k").await.unwrap().unwrap();
                    let place = table.place(&entry);
                    assert!(place >= least, "{place} from {}, after {least}", entry.origin());
                }
            }));
        }
    }
    for task in tasks {
        soon("the end of the traffic", task).await.unwrap();
    }
    let last = table.row("k");
    for (rows, world) in views.iter().zip([&fleet.one, &fleet.other]) {
        world.larder.sync().await.unwrap();
        assert_eq!(read(rows, "k").await.0, last);
    }
    assert_eq!(fleet.one.larder.stats().unconfirmed_waiting, 0);
}
