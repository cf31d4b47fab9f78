//! What goes wrong between a write's guard and its end: writers that are killed, answers that are lost, servers that
//! are full, forget, restart, or give the slot away. Nothing older than the commit is found afterwards.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::path::PathBuf;

use larder::{Cache, Error, ErrorKind, HOUR, Larder, Origin, SECOND, Through, Written};
use support::process::{File, guarded};
use support::table::Rows;
use support::{
    Cluster, PATIENT, Process, Proxy, Server, Source, Table, Way, World, Writing, soon, until,
};
use tokio::task::JoinHandle;

/// How long a killed writer's guard stands.
const GUARD_MS: u64 = 1500;
/// How long those of others do: what is waited for does not come because one ran out.
const LONG_MS: u64 = 3_600_000;

#[test]
fn other_process() {
    support::process::obey();
}

type Shared = Through<str, String, File>;

/// Two processes that read, and a file that they share with one that writes.
struct Crash {
    server: Server,
    file: PathBuf,
    worlds: [World; 2],
    readers: [Shared; 2],
}

impl Crash {
    async fn new() -> Crash {
        let server = Server::start();
        let file = server.folder().join("row");
        let worlds = [World::on(&server.url()).await, World::on(&server.url()).await];
        let readers =
            [&worlds[0], &worlds[1]].map(|w| guarded(w, GUARD_MS).through(File::new(&file, "")));
        File::new(&file, "").commit("old");
        let crash = Crash { server, file, worlds, readers };
        crash.everybody_reads("old").await;
        crash
    }

    fn write(&self, stop: &str) -> String {
        format!("write k new {GUARD_MS} {} {stop}", self.file.display())
    }

    fn row(&self) -> String {
        File::new(&self.file, "").row().unwrap()
    }

    async fn everybody_reads(&self, value: &str) {
        for (world, reader) in self.worlds.iter().zip(&self.readers) {
            world.larder.sync().await.unwrap();
            let entry = soon("an answer", reader.read("k")).await.unwrap().unwrap();
            assert_eq!(*entry, value, "from {}", entry.origin());
        }
    }

    /// From now until the guard of the dead writer is over, and after it.
    async fn nothing_is_stale(&self) {
        let row = self.row();
        self.everybody_reads(&row).await;
        for reader in &self.readers {
            until("a cache that keeps", async || {
                let entry = reader.read("k").await.unwrap().unwrap();
                assert_eq!(*entry, row, "from {}", entry.origin());
                entry.origin() != Origin::Loaded
            })
            .await;
        }
        self.everybody_reads(&row).await;
    }
}

#[tokio::test]
async fn a_writer_that_is_killed_before_or_after_its_commit_leaves_nothing_stale() {
    for (stop, row) in [("before", "old"), ("after", "new")] {
        let crash = Crash::new().await;
        let mut writer = Process::start(&crash.server.url());
        assert_eq!(writer.ask(&crash.write(stop)), format!("at {stop}"));
        // Beside the guard everybody loads, and nobody keeps.
        crash.everybody_reads(row).await;
        for reader in &crash.readers {
            assert!(reader.get("k").await.unwrap().is_none());
        }
        writer.kill();
        assert_eq!(crash.row(), row);
        crash.nothing_is_stale().await;
    }
}

/// The server has done what it was asked, and nobody hears of it.
#[tokio::test]
async fn a_writer_that_is_killed_before_it_hears_of_its_guard_or_its_end_leaves_nothing_stale() {
    // Its guard.
    let crash = Crash::new().await;
    let wire = Proxy::to(&crash.server);
    let mut writer = Process::start(&wire.url());
    wire.hold(1);
    writer.say(&crash.write("never"));
    let lease = |key: &String| key.contains(":guarded:1:l:");
    until("the guard", async || crash.server.keys().iter().any(lease)).await;
    writer.kill();
    assert_eq!(crash.row(), "old");
    crash.nothing_is_stale().await;
    // Its end.
    let crash = Crash::new().await;
    let wire = Proxy::to(&crash.server);
    let mut writer = Process::start(&wire.url());
    writer.say(&crash.write("go"));
    until("the guard", async || crash.server.keys().iter().any(lease)).await;
    crash.server.ask::<String>("PING");
    let go = crash.file.with_extension("go");
    until("the sink", async || go.with_extension("asked").exists()).await;
    wire.hold(1);
    std::fs::write(&go, "").unwrap();
    let value = |key: &String| key.contains(":guarded:1:v:");
    until("the value", async || crash.server.keys().iter().any(value)).await;
    writer.kill();
    assert_eq!(crash.row(), "new");
    crash.everybody_reads("new").await;
    crash.nothing_is_stale().await;
}

/// One that writes, by a wire or a cluster of its own, and one that reads.
struct Pair {
    writer: World,
    reader: World,
    table: Table,
}

impl Pair {
    async fn of(writer: World, url: &str) -> Pair {
        let pair = Pair {
            reader: World::beside(url, &writer.source).await,
            writer,
            table: Table::default(),
        };
        pair.table.set("k", "old");
        assert_eq!(read(&pair.reads(), "k").await.0, "old");
        pair
    }

    fn writes(&self) -> Rows {
        self.table.through(&guarded(&self.writer, LONG_MS))
    }

    fn reads(&self) -> Rows {
        self.table.through(&guarded(&self.reader, LONG_MS))
    }

    /// A write whose guard is open.
    async fn begun(&self) -> (Writing, JoinHandle<Result<Written, Error>>) {
        begun(&self.table, &self.writes()).await
    }

    /// Whatever waits is confirmed, and then both find what was committed: loaded or kept, and kept in the end.
    async fn all_is_well(&self, value: &str) {
        until("all ends", async || {
            self.writer.larder.stats().unconfirmed_waiting == 0 && self.writer.larder.is_far_up()
        })
        .await;
        self.reads_right(value).await;
        for rows in [self.writes(), self.reads()] {
            until("a cache that keeps", async || {
                let (found, origin) = read(&rows, "k").await;
                assert_eq!(found, value, "from {origin}");
                origin != Origin::Loaded
            })
            .await;
        }
    }

    async fn reads_right(&self, value: &str) {
        for (world, rows) in [(&self.writer, self.writes()), (&self.reader, self.reads())] {
            until("a connection", async || world.larder.sync().await.is_ok()).await;
            let (found, origin) = read(&rows, "k").await;
            assert_eq!(found, value, "from {origin}");
        }
    }

    /// The reader loads what is not committed yet, and keeps it, since the server knows of no guard any more.
    async fn reader_keeps(&self, value: &str) {
        until("a value that is kept", async || {
            let (found, origin) = read(&self.reads(), "k").await;
            assert_eq!(found, value);
            origin != Origin::Loaded
        })
        .await;
    }
}

async fn begun(table: &Table, rows: &Rows) -> (Writing, JoinHandle<Result<Written, Error>>) {
    let mut hand = table.next_write();
    let rows = rows.clone();
    let write = tokio::spawn(async move { rows.write("k", "new".to_owned()).await });
    hand.begins().await;
    (hand, write)
}

async fn read(rows: &Rows, key: &str) -> (String, Origin) {
    let entry = soon("an answer", rows.read(key)).await.unwrap().unwrap();
    (entry.to_string(), entry.origin())
}

/// The write of whoever is not heard by its server for long.
async fn by_a_wire(server: &Server) -> (Proxy, World) {
    let wire = Proxy::to(server);
    let builder = Larder::builder("test").redis(wire.url()).far_deadline(PATIENT);
    let larder = builder.invalidate_deadline(SECOND / 2).open().await.unwrap();
    let words = larder.cache("words").lifetime(larder::Lifetime::fresh_for(larder::MINUTE));
    let words: Cache<str, String> = words.shared().unwrap();
    (wire, World { words, larder, source: Source::default(), ear: support::Ear::default() })
}

#[tokio::test]
async fn an_end_whose_answer_is_lost_is_sent_until_it_is_confirmed() {
    let server = Server::start();
    let (wire, writer) = by_a_wire(&server).await;
    let pair = Pair::of(writer, &server.url()).await;
    let (hand, write) = pair.begun().await;
    wire.hold(1);
    hand.goes_on().await;
    let error = write.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed, "{error}");
    assert!(error.to_string().contains("it is written"), "{error}");
    assert_eq!(pair.writer.larder.stats().unconfirmed_waiting, 1);
    // The server has it. Whoever sent it cannot know, and serves neither side.
    assert_eq!(read(&pair.writes(), "k").await, ("new".to_owned(), Origin::Loaded));
    pair.reader.larder.sync().await.unwrap();
    assert_eq!(read(&pair.reads(), "k").await.0, "new");
    wire.let_go();
    pair.all_is_well("new").await;
}

/// The guard ran out, a reader kept what it had loaded before the commit, and the end was lost on its way there: the
/// row of the table that nobody can help, until the end is sent again.
#[tokio::test]
async fn an_end_that_is_lost_on_its_way_ends_what_was_kept_when_it_is_sent_again() {
    let server = Server::start();
    let (wire, writer) = by_a_wire(&server).await;
    let pair = Pair::of(writer, &server.url()).await;
    let table = &pair.table;
    let short =
        |world: &World| world.larder.cache("short").guard_time(SECOND / 4).shared().unwrap();
    let [mine, theirs] = [&pair.writer, &pair.reader].map(short);
    let (mine, theirs) = (table.through(&mine), table.through(&theirs));
    let (mut hand, write) = begun(table, &mine).await;
    assert_eq!(write.await.unwrap().unwrap_err().kind(), ErrorKind::Deadline);
    until("the guard to be over", async || read(&theirs, "k").await.1 != Origin::Loaded).await;
    assert_eq!(read(&theirs, "k").await.0, "old");
    wire.swallow(1, Way::Up);
    hand.commits().await;
    hand.answers(Ok(()));
    until("the queue", async || pair.writer.larder.stats().unconfirmed > 0).await;
    assert_eq!(read(&mine, "k").await.0, "new", "not served by who sent it");
    until("its end", async || read(&theirs, "k").await.0 == "new").await;
    until("all ends", async || pair.writer.larder.stats().unconfirmed_waiting == 0).await;
}

/// No guard that is known of: the write goes on all the same, and its end is queued. Also where it was waited for
/// longer than it would have stood: the sink has a time of its own.
#[tokio::test]
async fn a_guard_whose_answer_is_lost_does_not_stand_in_the_way_of_its_write() {
    for guard_time in [HOUR, SECOND / 4] {
        let server = Server::start();
        let (wire, writer) = by_a_wire(&server).await;
        let pair = Pair::of(writer, &server.url()).await;
        let [mine, theirs] = [&pair.writer, &pair.reader].map(|world| {
            let rows = world.larder.cache("rows").guard_time(guard_time).shared().unwrap();
            pair.table.through(&rows)
        });
        assert_eq!(read(&theirs, "k").await.0, "old");
        wire.hold(1);
        let error = mine.write("k", "new".to_owned()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unconfirmed, "{error}");
        assert_eq!(pair.table.row("k").unwrap(), "new");
        assert_eq!(read(&mine, "k").await, ("new".to_owned(), Origin::Loaded));
        wire.let_go();
        until("all ends", async || pair.writer.larder.stats().unconfirmed_waiting == 0).await;
        for rows in [&mine, &theirs] {
            until("a cache that keeps", async || read(rows, "k").await.1 != Origin::Loaded).await;
            pair.reader.larder.sync().await.unwrap();
            assert_eq!(read(rows, "k").await.0, "new");
        }
    }
}

/// Full, it refuses to keep the value. The guard is ended, so nobody waits for its time to be over.
#[tokio::test]
async fn a_full_server_has_nothing_of_a_write_and_no_guard() {
    let server = Server::start();
    let pair = Pair::of(World::on(&server.url()).await, &server.url()).await;
    let (hand, write) = pair.begun().await;
    let _: String = server.ask("CONFIG SET maxmemory 1");
    hand.goes_on().await;
    assert_eq!(write.await.unwrap().unwrap(), Written::Ended);
    let left: Vec<String> = server.keys();
    assert!(left.is_empty(), "{left:?}");
    // Nor can a guard be opened.
    assert_eq!(pair.writes().write("k", "newer".to_owned()).await.unwrap(), Written::Ended);
    pair.reads_right("newer").await;
    let _: String = server.ask("CONFIG SET maxmemory 0");
    pair.all_is_well("newer").await;
    assert_eq!(pair.writes().write("k", "newest".to_owned()).await.unwrap(), Written::Kept);
}

/// The guard is gone before the commit, and a reader has kept what was true until then.
#[tokio::test]
async fn a_guard_that_is_evicted_or_forgotten_leaves_nothing_stale() {
    for command in ["UNLINK test:guarded:1:l:{.1.k}", "FLUSHALL"] {
        let server = Server::start();
        let pair = Pair::of(World::on(&server.url()).await, &server.url()).await;
        let (hand, write) = pair.begun().await;
        let _: redis::Value = server.ask(command);
        pair.reader_keeps("old").await;
        hand.goes_on().await;
        assert_eq!(write.await.unwrap().unwrap(), Written::Ended, "{command}");
        pair.all_is_well("new").await;
    }
}

#[tokio::test]
async fn scripts_and_connections_that_are_lost_on_the_way_are_not_noticed() {
    let server = Server::start();
    let pair = Pair::of(World::on(&server.url()).await, &server.url()).await;
    let (hand, write) = pair.begun().await;
    let _: String = server.ask("SCRIPT FLUSH");
    hand.goes_on().await;
    assert_eq!(write.await.unwrap().unwrap(), Written::Kept);
    pair.all_is_well("new").await;
    let (hand, write) = pair.begun().await;
    let reconnects = pair.writer.larder.stats().reconnects;
    server.hangs_up();
    until("connections", async || pair.writer.larder.stats().reconnects > reconnects).await;
    hand.goes_on().await;
    // By a connection that is there again, or in the queue.
    if let Err(error) = write.await.unwrap() {
        assert_eq!(error.kind(), ErrorKind::Unconfirmed, "{error}");
    }
    pair.all_is_well("new").await;
}

/// It comes back empty: no guard, and a reader keeps what was true before the commit.
#[tokio::test]
async fn a_server_that_restarts_between_guard_and_end_has_nothing_stale() {
    let mut server = Server::start();
    let pair = Pair::of(World::on(&server.url()).await, &server.url()).await;
    let (hand, write) = pair.begun().await;
    server.kill();
    server.start_again();
    pair.reader_keeps("old").await;
    hand.goes_on().await;
    match soon("an answer", write).await.unwrap() {
        Ok(written) => assert_eq!(written, Written::Ended),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unconfirmed, "{error}"),
    }
    pair.all_is_well("new").await;
}

/// With its snapshot: the guard is there again, and the value from before it, which nobody believes.
#[tokio::test]
async fn a_server_that_falls_back_to_a_snapshot_has_nothing_stale() {
    for save_before in [true, false] {
        let mut server = Server::start();
        let pair = Pair::of(World::on(&server.url()).await, &server.url()).await;
        if save_before {
            let _: String = server.ask("SAVE");
        }
        let (hand, write) = pair.begun().await;
        if !save_before {
            let _: String = server.ask("SAVE");
        }
        server.kill();
        server.start_again();
        until("a connection", async || pair.writer.larder.sync().await.is_ok()).await;
        hand.goes_on().await;
        if let Err(error) = soon("an answer", write).await.unwrap() {
            assert_eq!(error.kind(), ErrorKind::Unconfirmed, "{error}");
        }
        pair.all_is_well("new").await;
    }
}

/// Where a slot is when FINISH comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Move {
    /// On its way, and the guard has not moved yet.
    Begun,
    /// On its way, and the guard is at its other end.
    Between,
    /// There.
    Ended,
    /// There, and the guard was opened on the way.
    GuardedOnTheWay,
    /// On its way from before the guard was opened.
    Whole,
}

#[tokio::test]
async fn a_slot_that_moves_between_guard_and_end_has_nothing_stale() {
    let cluster = Cluster::of_masters();
    let name = b"test:guarded:1:v:{.1.k}";
    let slot = cluster.slot(name);
    let open = async || {
        let builder = Larder::builder("test").redis(cluster.url()).require_far();
        World::of(builder.far_deadline(PATIENT), &Source::default()).await
    };
    for (number, moved) in
        [Move::Begun, Move::Between, Move::Ended, Move::GuardedOnTheWay, Move::Whole]
            .into_iter()
            .enumerate()
    {
        let pair = Pair { writer: open().await, reader: open().await, table: Table::default() };
        pair.writes().invalidate("k").await.unwrap();
        pair.table.set("k", "old");
        assert_eq!(read(&pair.reads(), "k").await.0, "old");
        // A load from before the guard, which must not store when all is over.
        pair.writes().invalidate("k").await.unwrap();
        let (mut before, load) = support::stepped();
        let overtaken = support::reading_of(&pair.reads(), "k", load);
        before.begins().await;
        let from = cluster.master_of(slot);
        let to = (from + 1 + number % 2) % 3;
        let on_the_way = matches!(moved, Move::GuardedOnTheWay | Move::Whole);
        if on_the_way {
            cluster.begin_to_move(slot, from, to);
        }
        let (hand, write) = pair.begun().await;
        if !on_the_way {
            cluster.begin_to_move(slot, from, to);
        }
        if !matches!(moved, Move::Begun | Move::Whole) {
            while cluster.move_keys(slot, from, to, 100) > 0 {}
        }
        let arrives = || {
            while cluster.move_keys(slot, from, to, 100) > 0 {}
            cluster.end_move(slot, from, to);
        };
        let is_there = matches!(moved, Move::Ended | Move::GuardedOnTheWay);
        if is_there {
            arrives();
        }
        hand.goes_on().await;
        let written = soon("an answer", write).await.unwrap().unwrap();
        if !is_there && moved != Move::Begun {
            assert_eq!(written, Written::Ended, "{moved:?}");
        }
        before.answers("old");
        assert_eq!(*overtaken.await.unwrap().unwrap(), "old", "its call overlapped the write");
        pair.reads_right("new").await;
        if !is_there {
            arrives();
        }
        pair.all_is_well("new").await;
        let left: Vec<String> = cluster.nodes[from].keys();
        assert!(left.iter().all(|key| !key.contains(".1.k}")), "{moved:?}: {left:?}");
    }
}
