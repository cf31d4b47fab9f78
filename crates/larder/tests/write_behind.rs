//! Writes that the source hears of later: acknowledged when Redis has them, read by everyone from then on, told to
//! the source in order, and lost with no process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot set its scene has failed; other processes answer by printing"
)]

mod support;

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder::{
    Cache, ErrorKind, Larder, LarderBuilder, Leased, Lifetime, MINUTE, Origin, Outcome, SECOND,
    WhenFull, Workers, WriteBehind,
};
use support::{
    Cluster, Database, Ear, FenceSink, NEVER, PATIENT, PlainSink, Proxy, Server, VersionSink, Way,
    soon, until,
};

type Words = Cache<String, String>;

fn builder(url: &str) -> LarderBuilder {
    Larder::builder("test").redis(url).far_deadline(PATIENT).invalidate_deadline(PATIENT)
}

fn words_of(larder: &Larder, settings: WriteBehind) -> Words {
    let lifetime = Lifetime::fresh_for(MINUTE).jitter(0.0);
    larder.cache("words").lifetime(lifetime).write_behind(settings).shared().unwrap()
}

/// A process: its handle, its cache, and what it heard.
struct Scene {
    larder: Larder,
    words: Words,
    ear: Ear,
}

impl Scene {
    async fn on(url: &str) -> Scene {
        Scene::with(url, WriteBehind::partitions(4)).await
    }

    async fn with(url: &str, settings: WriteBehind) -> Scene {
        let ear = Ear::default();
        let larder = builder(url).observer(ear.observer()).open().await.unwrap();
        let words = words_of(&larder, settings);
        Scene { larder, words, ear }
    }

    async fn write(&self, key: &str, value: &str) {
        self.words.write_behind(&key.to_owned(), value.to_owned()).await.unwrap();
    }

    /// What a read gives that must not ask the source, and where it was found.
    async fn reads(&self, key: &str) -> String {
        let unasked = || async { Err::<String, _>(std::io::Error::other("the source was asked")) };
        match self.words.get_or_load(&key.to_owned(), unasked).await {
            Ok(entry) => format!("{} {}", *entry, entry.origin()),
            Err(why) => why.to_string(),
        }
    }

    /// Waits until nothing waits for the source.
    async fn is_flushed(&self) {
        until("all to be flushed", || async { self.words.backlog().await.unwrap().waiting == 0 })
            .await;
    }
}

/// Workers that are quick to notice, since tests wait for them.
fn quick(workers: Workers<String, String>) -> Workers<String, String> {
    let milli = Duration::from_millis(1);
    workers.poll(10 * milli).lease_time(500 * milli).backoff(milli, 20 * milli)
}

fn names_of(server: &Server, kind: &str) -> Vec<String> {
    let kind = format!(":{kind}:{{.");
    server.keys().into_iter().filter(|key| key.contains(&kind)).collect()
}

fn remove(server: &Server, kind: &str) {
    let names = names_of(server, kind);
    assert!(!names.is_empty(), "nothing to take away");
    names.iter().for_each(|name| server.ask(&format!("DEL {name}")));
}

/// Embedded too: written, read back, and told to the source.
#[tokio::test]
async fn what_was_written_is_read_at_once_and_reaches_the_source() {
    let (redis, rows) = (Server::start(), Server::start());
    let database = Database::at(&rows.url());
    let embedded = Larder::builder("test").open().await.unwrap();
    let behind = words_of(&embedded, WriteBehind::partitions(4));
    let embedded = Scene { words: behind, larder: embedded, ear: Ear::default() };
    for (scene, place) in [(Scene::on(&redis.url()).await, "redis"), (embedded, "embedded")] {
        let key = format!("key in {place}");
        scene.write(&key, "one").await;
        assert_eq!(scene.reads(&key).await, "one far");
        assert_eq!(scene.words.backlog().await.unwrap().waiting, 1);
        quick(scene.words.workers(PlainSink(database.clone()))).start().await.unwrap();
        database.has(&key, "one").await;
        scene.write(&key, "two").await;
        database.has(&key, "two").await;
        scene.is_flushed().await;
        assert_eq!(scene.reads(&key).await, "two far");
        scene.words.remove_behind(&key).await.unwrap();
        until("it is removed", || async { database.value(&key).await.is_none() }).await;
        assert_eq!(scene.words.get(&key).await.unwrap().map(|entry| entry.to_string()), None);
        assert_eq!(database.log(&key).await, ["one", "two", "removed"]);
        let backlog = scene.words.backlog().await.unwrap();
        assert_eq!((backlog.waiting, backlog.dead, backlog.oldest), (0, 0, None));
        assert_eq!(scene.larder.close(NEVER).await, 0);
    }
    assert!(names_of(&redis, "d").is_empty(), "no pending write is left");
}

/// The value was evicted, or its tag ended: the pending write is the truth at every door, and it is kept nowhere.
#[tokio::test]
async fn a_pending_write_is_read_at_every_door_whatever_became_of_the_value() {
    let server = Server::start();
    let (writer, reader) = (Scene::on(&server.url()).await, Scene::on(&server.url()).await);
    let key = "k".to_owned();
    writer.write("k", "written").await;
    remove(&server, "v");
    for scene in [&writer, &reader] {
        assert_eq!(scene.words.get_near(&key).map(|entry| entry.to_string()), None);
        for _ in 0..2 {
            assert_eq!(scene.reads("k").await, "written far");
            let found = scene.words.get(&key).await.unwrap().unwrap();
            assert_eq!((found.as_str(), found.origin()), ("written", Origin::Far));
        }
        let many = scene.words.get_many(&[key.clone(), "absent".to_owned()]).await.unwrap();
        assert_eq!(many[0].as_ref().map(|entry| entry.to_string()).as_deref(), Some("written"));
        assert!(many[1].is_none());
        let keys = [key.clone()];
        let loaded = scene.words.get_or_load_many(&keys, |_| async {
            Err::<Vec<(String, String)>, _>(std::io::Error::other("the source was asked"))
        });
        let loaded: Vec<_> = loaded.await.into_iter().map(Result::unwrap).collect();
        assert_eq!(**loaded[0].as_ref().unwrap(), "written");
        let Leased::Found(found) = scene.words.lease(&key).await.unwrap() else {
            panic!("a lease beside a pending write");
        };
        assert_eq!(*found, "written");
        let Leased::Held(lease) = scene.words.lease_unless(&key, |_| false).await.unwrap() else {
            panic!("it is not good");
        };
        assert!(!lease.is_held(), "nothing may be stored beside a pending write");
        assert!(scene.words.try_lease_unless(&key, |_| false).await.unwrap().is_none());
        let found = scene.words.try_lease_unless(&key, |_| true).await.unwrap();
        assert!(matches!(found, Some(Leased::Found(_))));
        let explanation = scene.larder.explain(scene.words.entry(&key)).await.unwrap();
        assert_eq!(explanation.outcome, Outcome::Pending);
        assert!(explanation.pending.is_some() && explanation.to_string().contains("pending"));
        assert_eq!(scene.words.get_near(&key).map(|entry| entry.to_string()), None, "kept near");
    }
    assert!(names_of(&server, "l").is_empty(), "a lease was granted");
    // An invalidation ends the value, and never the write.
    writer.words.tagged(["tag"]).write_behind(&key, "again".to_owned()).await.unwrap();
    assert_eq!(reader.reads("k").await, "again far");
    writer.larder.invalidate_tag("tag").await.unwrap();
    writer.words.invalidate(&key).await.unwrap();
    assert_eq!(reader.reads("k").await, "again far");
}

/// Held in the sink, three writes of a key become one call more; each key's arrive in order.
#[tokio::test]
async fn writes_of_one_key_are_coalesced_and_arrive_in_order() {
    let (redis, rows) = (Server::start(), Server::start());
    let database = Database::at(&rows.url());
    let scene = Scene::with(&redis.url(), WriteBehind::partitions(1)).await;
    database.set("hold", "before").await;
    quick(scene.words.workers(PlainSink(database.clone()))).start().await.unwrap();
    scene.write("k", "1").await;
    database.is_called(1).await;
    for value in ["2", "3", "4"] {
        scene.write("k", value).await;
        assert_eq!(scene.reads("k").await, format!("{value} far"));
    }
    database.set("hold", "").await;
    scene.is_flushed().await;
    assert_eq!(database.log("k").await, ["1", "4"]);
    let stats = scene.words.stats();
    assert_eq!((stats.writes_queued, stats.writes_flushed, stats.writes_coalesced), (4, 4, 2));
}

/// It is tried as often as was said, keeps nobody waiting, and is then for people to look at.
#[tokio::test]
async fn what_the_source_never_takes_becomes_a_dead_letter() {
    let (redis, rows) = (Server::start(), Server::start());
    let database = Database::at(&rows.url());
    let scene = Scene::with(&redis.url(), WriteBehind::partitions(1)).await;
    for key in ["bad", "worse"] {
        database.poison(key).await;
        scene.write(key, "poison").await;
    }
    scene.write("good", "fine").await;
    quick(scene.words.workers_versioned(VersionSink(database.clone())))
        .tries(3)
        .start()
        .await
        .unwrap();
    database.has("good", "fine").await;
    scene.ear.hears("WriteGivenUp", 2).await;
    scene.is_flushed().await;
    assert!(scene.words.stats().writes_retried >= 4, "two before each was given up");
    let backlog = scene.words.backlog().await.unwrap();
    assert_eq!((backlog.waiting, backlog.dead), (0, 2));
    // Undone for readers: the source is asked.
    let of_source = || async { Ok::<_, std::io::Error>("the source's".to_owned()) };
    let loaded = scene.words.get_or_load(&"bad".to_owned(), of_source).await.unwrap();
    assert_eq!(*loaded, "the source's");
    let letters = scene.words.dead_letters().unwrap();
    let mut listed = letters.list(10).await.unwrap();
    listed.sort_by_key(|letter| letter.key.clone().unwrap());
    let [bad, worse] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((bad.key.as_ref().unwrap().as_str(), bad.reason.as_str()), ("bad", "poison"));
    assert_eq!(bad.value.as_ref().unwrap().as_deref().map(String::as_str), Some("poison"));
    assert_eq!(letters.list(1).await.unwrap().len(), 1);
    assert!(letters.remove(worse).await.unwrap());
    assert!(!letters.remove(worse).await.unwrap() && !letters.replay(worse).await.unwrap());
    database.cure("bad").await;
    assert!(letters.replay(bad).await.unwrap());
    database.has("bad", "poison").await;
    scene.is_flushed().await;
    assert!(letters.list(10).await.unwrap().is_empty());
    let read = scene.reads("bad").await;
    assert!(read.contains("the source was asked"), "it is flushed: {read}");
}

/// A dead letter does not take a newer write's place.
#[tokio::test]
async fn a_dead_letter_is_not_replayed_over_a_newer_write_that_waits() {
    let (redis, rows) = (Server::start(), Server::start());
    let database = Database::at(&rows.url());
    let scene = Scene::with(&redis.url(), WriteBehind::partitions(1)).await;
    database.poison("k").await;
    scene.write("k", "old").await;
    quick(scene.words.workers(PlainSink(database.clone()))).tries(1).start().await.unwrap();
    scene.ear.hears("WriteGivenUp", 1).await;
    database.set("hold", "before").await;
    scene.write("k", "new").await;
    let letters = scene.words.dead_letters().unwrap();
    let listed = letters.list(1).await.unwrap();
    assert!(!letters.replay(&listed[0]).await.unwrap());
    assert_eq!(scene.reads("k").await, "new far");
    assert_eq!(letters.list(9).await.unwrap().len(), 1, "it stays where it is");
}

#[tokio::test]
async fn past_its_bound_the_backlog_pushes_back() {
    let (redis, rows) = (Server::start(), Server::start());
    let database = Database::at(&rows.url());
    let settings = WriteBehind::partitions(1).backlog_max(2);
    let scene = Scene::with(&redis.url(), settings).await;
    scene.write("a", "1").await;
    scene.write("b", "1").await;
    let refused = scene.words.write_behind(&"a".to_owned(), "2".to_owned()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Overloaded, "{refused}");
    assert_eq!(scene.reads("a").await, "1 far", "nothing was changed");
    assert_eq!(scene.words.backlog().await.unwrap().waiting_most, 2);
    assert_eq!(scene.words.stats().writes_turned_away, 1);
    // Another process would rather wait: it gets its place when a worker has made room.
    let patient = builder(&redis.url()).open().await.unwrap();
    let patient = words_of(&patient, settings.when_full(WhenFull::Wait(NEVER)));
    let waiting =
        tokio::spawn(async move { patient.write_behind(&"a".to_owned(), "2".to_owned()).await });
    quick(scene.words.workers(PlainSink(database.clone()))).start().await.unwrap();
    soon("a write that waits for room", waiting).await.unwrap().unwrap();
    database.has("a", "2").await;
    let impatient = builder(&redis.url()).open().await.unwrap();
    let wait = WhenFull::Wait(Duration::from_millis(30));
    let impatient = words_of(&impatient, settings.backlog_max(1).when_full(wait));
    database.set("hold", "before").await;
    scene.is_flushed().await;
    scene.write("b", "2").await;
    let refused = impatient.write_behind(&"c".to_owned(), "1".to_owned()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
}

#[tokio::test]
async fn a_redis_that_throws_away_what_it_is_given_is_refused() {
    let server = Server::with(&["--maxmemory-policy", "allkeys-lru"]);
    let rows = Server::start();
    let scene = Scene::on(&server.url()).await;
    let workers = scene.words.workers(PlainSink(Database::at(&rows.url())));
    let refused = [
        scene.words.write_behind(&"k".to_owned(), "v".to_owned()).await.unwrap_err(),
        workers.start().await.unwrap_err(),
    ];
    for why in refused {
        assert_eq!(why.kind(), ErrorKind::Config);
        assert!(why.to_string().contains("allkeys-lru"), "{why}");
    }
    assert!(server.keys().is_empty());
    let _: String = server.ask("CONFIG SET maxmemory-policy volatile-lru");
    scene.write("k", "v").await;
}

#[tokio::test]
async fn a_cache_that_writes_behind_is_written_in_no_other_way() {
    let larder = Larder::builder("test").open().await.unwrap();
    let words = words_of(&larder, WriteBehind::partitions(4));
    let key = "k".to_owned();
    let kinds = [
        words.put(&key, "v".to_owned()).await.unwrap_err().kind(),
        words.guard(&key).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Config; 2]);
    let through = words.through(PlainSink(Database::at("redis://127.0.0.1:1")));
    let kinds = [
        through.write(&key, "v".to_owned()).await.unwrap_err().kind(),
        through.remove(&key).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Config; 2]);
    let plain: Cache<String, String> = larder.cache("plain").shared().unwrap();
    assert_eq!(
        plain.write_behind(&key, "v".to_owned()).await.unwrap_err().kind(),
        ErrorKind::Config
    );
    assert_eq!(plain.backlog().await.unwrap_err().kind(), ErrorKind::Config);
    let per_user = larder.cache::<String, String>("own").write_behind(WriteBehind::partitions(1));
    assert_eq!(per_user.per_user().unwrap_err().kind(), ErrorKind::Config);
    let lifetime = Lifetime::fresh_for(MINUTE).jitter(0.0);
    let other = larder.cache::<String, String>("words").lifetime(lifetime);
    let why = other.write_behind(WriteBehind::partitions(8)).shared().unwrap_err().to_string();
    assert!(why.contains("write_behind is Some(") && why.contains("partitions: 8"), "{why}");
}

/// What the database has was written under an id that Redis does not know any more: the write goes above it.
#[tokio::test]
async fn after_a_flush_a_write_goes_above_what_the_source_has() {
    let (redis, rows) = (Server::start(), Server::start());
    let database = Database::at(&rows.url());
    let scene = Scene::with(&redis.url(), WriteBehind::partitions(1)).await;
    let far_ahead = u64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis())
        .unwrap()
        + 3_600_000;
    database.set("version:k", &format!("{far_ahead:016x}{:016x}{:032x}", 7, 0)).await;
    database.set("value:k", "of before").await;
    scene.write("k", "after").await;
    quick(scene.words.workers_versioned(VersionSink(database.clone()))).start().await.unwrap();
    database.has("k", "after").await;
    assert!(database.count("refused").await >= 1);
    scene.is_flushed().await;
    // What comes after goes above that of its own accord.
    scene.write("k", "later").await;
    database.has("k", "later").await;
    let _: String = redis.ask("FLUSHALL");
    scene.write("k", "after a flush").await;
    database.has("k", "after a flush").await;
    scene.is_flushed().await;
    assert_eq!(database.log("k").await, ["after", "later", "after a flush"]);
}

/// It drains what is there, also what is tried again; and says so by coming back.
#[tokio::test]
async fn close_waits_for_what_was_written() {
    let (redis, rows) = (Server::start(), Server::start());
    let database = Database::at(&rows.url());
    let scene = Scene::on(&redis.url()).await;
    database.set("hold", "before").await;
    quick(scene.words.workers(PlainSink(database.clone()))).start().await.unwrap();
    for number in 0..20 {
        scene.write(&format!("key {number}"), "v").await;
    }
    database.is_called(1).await;
    let larder = scene.larder.clone();
    let closing = tokio::spawn(async move { larder.close(NEVER).await });
    tokio::task::yield_now().await;
    assert!(!closing.is_finished());
    database.set("hold", "").await;
    assert_eq!(soon("the handle closes", closing).await.unwrap(), 0);
    for number in 0..20 {
        assert_eq!(database.value(&format!("key {number}")).await.as_deref(), Some("v"));
    }
    assert!(names_of(&redis, "d").is_empty() && names_of(&redis, "w").is_empty());
    let why = scene.words.workers(PlainSink(database)).start().await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Closed);
}

/// Another process: this test binary, run again as one of these.
struct Other {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
}

const ROLE: &str = "LARDER_TEST_BEHIND";

impl Other {
    /// `role`: `write KEYS`, or `plain`, `versioned` or `fenced` for workers.
    fn start(role: &str, redis: &str, rows: &Server) -> Other {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "other_process", "--nocapture"]);
        command.env(ROLE, format!("{role}|{redis}|{}", rows.url()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let says = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut other = Other { child, says };
        assert_eq!(other.hear().as_deref(), Some("ready"));
        other
    }

    /// The next thing it says; `None` when it is gone.
    fn hear(&mut self) -> Option<String> {
        loop {
            let line = self.says.next()?.ok()?;
            if let Some((_, said)) = line.split_once("=> ") {
                return Some(said.to_owned());
            }
        }
    }

    /// Comes back when it does nothing any more.
    async fn pause(&self) {
        self.signal("-STOP");
        let id = self.child.id();
        // The state stands behind the name, which is in brackets.
        let is_stopped = || async {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
            stat.rsplit_once(") ").unwrap().1.starts_with('T')
        };
        until("a process that is stopped", is_stopped).await;
    }

    fn signal(&self, signal: &str) {
        support::process::signal(self.child.id(), signal);
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.signal("-CONT");
        self.kill();
    }
}

/// The body of the other process; in the test's own it does nothing.
#[test]
fn other_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let [role, redis, rows] = role.split('|').collect::<Vec<_>>()[..] else { panic!("{role}") };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let scene = Scene::on(redis).await;
        let database = Database::at(rows);
        if let Some(keys) = role.strip_prefix("write ") {
            println!("=> ready");
            let keys: u64 = keys.parse().unwrap();
            for number in 0u64.. {
                let key = format!("key {}", number % keys);
                match scene.words.write_behind(&key, number.to_string()).await {
                    Ok(()) => println!("=> {key}={number}"),
                    Err(why) => println!("=> error {why}"),
                }
            }
        }
        // A deadline that does not end a call which is to come late.
        let workers = |workers| quick(workers).sink_deadline(30 * SECOND);
        match role {
            "plain" => quick(scene.words.workers(PlainSink(database))).sink_deadline(SECOND),
            "versioned" => workers(scene.words.workers_versioned(VersionSink(database))),
            "fenced" => workers(scene.words.workers_fenced(FenceSink(database))),
            other => panic!("{other}"),
        }
        .start()
        .await
        .unwrap();
        println!("=> ready");
        std::future::pending::<()>().await;
    });
}

fn number(value: &str) -> u64 {
    value.parse().unwrap()
}

/// Everything acknowledged is there, and each key's numbers only ever grew, but for what was told twice.
async fn nothing_is_lost(database: &Database, acknowledged: &[(String, u64)]) {
    let mut newest = std::collections::BTreeMap::new();
    for (key, number) in acknowledged {
        let of_key = newest.entry(key).or_insert(*number);
        *of_key = (*of_key).max(*number);
    }
    for (key, newest) in newest {
        let stored = database.value(key).await.map(|value| number(&value));
        assert!(stored >= Some(newest), "{key}: {stored:?} is stored, {newest} was acknowledged");
        let log: Vec<u64> = database.log(key).await.iter().map(|value| number(value)).collect();
        assert!(log.is_sorted(), "{key}: {log:?}");
    }
}

fn acked(said: &str) -> Option<(String, u64)> {
    let (key, value) = said.split_once('=')?;
    Some((key.to_owned(), number(value)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_killed_loses_nothing_that_was_acknowledged() {
    let (redis, rows) = (Server::start(), Server::start());
    let database = Database::at(&rows.url());
    let scene = Scene::on(&redis.url()).await;
    let mut acknowledged = Vec::new();
    let mut writer = Other::start("write 5", &redis.url(), &rows);
    while acknowledged.len() < 200 {
        acknowledged.extend(acked(&writer.hear().unwrap()));
    }
    writer.kill();
    while let Some(said) = writer.hear() {
        acknowledged.extend(acked(&said));
    }
    quick(scene.words.workers(PlainSink(database.clone()))).start().await.unwrap();
    scene.is_flushed().await;
    nothing_is_lost(&database, &acknowledged).await;
}

/// Killed before its query changed anything, after it and before the queue heard of it, and wherever it happens to
/// be: the next one goes on where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_at_any_step_is_followed_by_another() {
    for kind in ["plain", "versioned", "fenced"] {
        let (redis, rows) = (Server::start(), Server::start());
        let database = Database::at(&rows.url());
        let scene = Scene::on(&redis.url()).await;
        let mut acknowledged = Vec::new();
        for (round, hold) in ["before", "after", "", ""].into_iter().enumerate() {
            database.set("hold", hold).await;
            let calls = database.count("calls").await;
            let mut worker = Other::start(kind, &redis.url(), &rows);
            for number in 0..50u64 {
                let number = 100 * round as u64 + number;
                let key = format!("key {}", number % 5);
                scene.write(&key, &number.to_string()).await;
                acknowledged.push((key, number));
            }
            database.is_called(calls + 1 + (round as u64 % 2)).await;
            worker.kill();
            database.set("hold", "").await;
        }
        let _worker = Other::start(kind, &redis.url(), &rows);
        scene.is_flushed().await;
        nothing_is_lost(&database, &acknowledged).await;
        assert_eq!(scene.words.backlog().await.unwrap().dead, 0);
    }
}

/// With an append-only file that is synced before each answer. Nobody has flushed anything, and no key is written twice:
/// what the server lost would be missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_keeps_what_was_acknowledged() {
    let mut redis = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let rows = Server::start();
    let database = Database::at(&rows.url());
    let mut acknowledged = Vec::new();
    let mut writer = Other::start("write 1000000", &redis.url(), &rows);
    for _ in 0..3 {
        let enough = acknowledged.len() + 100;
        while acknowledged.len() < enough {
            acknowledged.extend(acked(&writer.hear().unwrap()));
        }
        redis.start_again();
    }
    writer.kill();
    while let Some(said) = writer.hear() {
        acknowledged.extend(acked(&said));
    }
    // Workers outlive a server, too: this one dies while they are at it.
    let _worker = Other::start("versioned", &redis.url(), &rows);
    database.is_called(1).await;
    redis.start_again();
    let scene = Scene::on(&redis.url()).await;
    scene.is_flushed().await;
    nothing_is_lost(&database, &acknowledged).await;
}

/// A worker is stopped with its query on its way, and another takes its place; then the old query lands.
async fn late_call(kind: &str) -> (Database, Vec<String>, Scene, [Server; 2]) {
    let (redis, rows) = (Server::start(), Server::start());
    let database = Database::at(&rows.url());
    let scene = Scene::on(&redis.url()).await;
    database.set("hold", "before").await;
    scene.write("k", "old").await;
    let late = Other::start(kind, &redis.url(), &rows);
    database.is_called(1).await;
    late.pause().await;
    database.set("hold", "").await;
    scene.write("k", "new").await;
    let _next = Other::start(kind, &redis.url(), &rows);
    database.has("k", "new").await;
    scene.is_flushed().await;
    late.signal("-CONT");
    let landed = || async {
        database.count("refused").await > 0 || database.value("k").await.as_deref() == Some("old")
    };
    until("the late call lands", landed).await;
    let log = database.log("k").await;
    (database, log, scene, [redis, rows])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_with_versions_or_a_fence_refuses_a_late_call() {
    for kind in ["versioned", "fenced"] {
        let (database, log, scene, _servers) = late_call(kind).await;
        assert_eq!(database.value("k").await.as_deref(), Some("new"), "{kind}");
        assert_eq!(log, ["new"], "{kind}");
        scene.is_flushed().await;
    }
}

/// What the docs say of it: a plain sink cannot tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_sink_takes_a_late_call() {
    let (database, log, _scene, _servers) = late_call("plain").await;
    assert_eq!(database.value("k").await.as_deref(), Some("old"));
    assert_eq!(log, ["new", "old"]);
}

/// Written and flushed while a slot of theirs moves, and back: nothing is lost, and reads find every write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_slots_move_under_writes() {
    let cluster = Cluster::of_masters();
    let rows = Server::start();
    let database = Database::at(&rows.url());
    let scene = Scene::on(&cluster.url()).await;
    let reader = Scene::on(&cluster.url()).await;
    quick(scene.words.workers(PlainSink(database.clone()))).start().await.unwrap();
    let (mut acknowledged, mut number) = (Vec::new(), 0);
    for at in 0..5 {
        scene.write(&format!("key {at}"), "0").await;
    }
    scene.is_flushed().await;
    for partition in 0..2 {
        let slot = cluster.slot(format!("test:words:1~4:v:{{.{partition}}}").as_bytes());
        let from = cluster.master_of(slot);
        let to = (from + 1) % 3;
        cluster.begin_to_move(slot, from, to);
        let mut moved = false;
        for round in 0..10 {
            for at in 0..5 {
                number += 1;
                let key = format!("key {at}");
                match scene.words.write_behind(&key, number.to_string()).await {
                    Ok(()) => {
                        acknowledged.push((key.clone(), number));
                        reader.larder.sync().await.unwrap();
                        for process in [&scene, &reader] {
                            let read = process.reads(&key).await;
                            assert_eq!(
                                read.split(' ').next().unwrap(),
                                number.to_string(),
                                "{read}"
                            );
                        }
                    }
                    // Nothing ran: it is refused until the slot has moved.
                    Err(why) => assert_eq!(why.kind(), ErrorKind::Far, "{why}"),
                }
                if round == 1 && !moved {
                    while cluster.move_keys(slot, from, to, 100) > 0 {}
                    cluster.end_move(slot, from, to);
                    moved = true;
                }
            }
        }
    }
    assert!(acknowledged.len() > 50, "{}", acknowledged.len());
    scene.is_flushed().await;
    nothing_is_lost(&database, &acknowledged).await;
    for node in &cluster.nodes {
        let errors: String = node.ask("INFO errorstats");
        assert!(!errors.contains("CROSSSLOT"), "{errors}");
    }
}

/// A full server takes no write, and its workers make room: also one that has yet to take its partition, and with a
/// write that is given up.
#[tokio::test]
async fn a_full_server_refuses_writes_and_is_drained() {
    let (server, rows) = (Server::start(), Server::start());
    let database = Database::at(&rows.url());
    let scene = Scene::with(&server.url(), WriteBehind::partitions(1)).await;
    database.poison("bad").await;
    for key in ["good", "bad"] {
        scene.write(key, "v").await;
    }
    let _: String = server.ask("CONFIG SET maxmemory 1");
    let refused = scene.words.write_behind(&"k".to_owned(), "v".to_owned()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Far, "{refused}");
    quick(scene.words.workers(PlainSink(database.clone()))).tries(2).start().await.unwrap();
    scene.is_flushed().await;
    assert_eq!(database.value("good").await.as_deref(), Some("v"));
    assert_eq!(scene.words.backlog().await.unwrap().dead, 1);
    assert_eq!(scene.larder.close(NEVER).await, 0);
    assert!(names_of(&server, "w").is_empty());
}

/// One script for a write; none for a read that finds the value.
#[tokio::test]
async fn a_write_is_one_script_and_a_read_of_it_none() {
    let server = Server::start();
    let (writer, reader) = (Scene::on(&server.url()).await, Scene::on(&server.url()).await);
    writer.write("warm", "v").await;
    let _: String = server.ask("CONFIG RESETSTAT");
    writer.write("k", "v").await;
    assert_eq!(server.calls("evalsha"), 1);
    assert_eq!(reader.reads("k").await, "v far");
    assert_eq!(reader.reads("k").await, "v near");
    assert_eq!((server.calls("evalsha"), server.calls("mget")), (1, 1));
}

/// A sink that contradicts itself keeps no worker busy for ever, nor fills the queue.
#[tokio::test]
async fn a_sink_that_always_has_something_newer_is_given_up() {
    struct Newer(u64);
    impl larder::VersionedSink<String, String> for Newer {
        async fn apply(
            &self,
            writes: &[larder::PendingWrite<String, String>],
        ) -> Result<Vec<larder::Applied>, larder::BoxError> {
            let mut newest = [0; 32];
            newest[..8].copy_from_slice(&self.0.to_be_bytes());
            newest[8..16].copy_from_slice(&self.0.to_be_bytes());
            let newest = larder::Version::from_bytes(newest);
            Ok(writes.iter().map(|_| larder::Applied::Newer(newest)).collect())
        }
    }
    for newest in [1, u64::MAX] {
        let server = Server::start();
        let scene = Scene::on(&server.url()).await;
        scene.write("k", "v").await;
        quick(scene.words.workers_versioned(Newer(newest))).tries(2).start().await.unwrap();
        scene.ear.hears("WriteGivenUp", 1).await;
        scene.is_flushed().await;
        assert_eq!(scene.words.backlog().await.unwrap().dead, 1);
    }
}

/// Sent once: without an answer nobody knows, and it is not sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_without_an_answer_is_unconfirmed_and_not_repeated() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let larder = Larder::builder("test").redis(proxy.url()).far_deadline(PATIENT);
    let larder = larder.invalidate_deadline(Duration::from_millis(300));
    let larder = larder.open().await.unwrap();
    let words = words_of(&larder, WriteBehind::partitions(1));
    words.write_behind(&"warm".to_owned(), "v".to_owned()).await.unwrap();
    // Its writer's connection is the second that was made.
    proxy.swallow(1, Way::Down);
    let written = words.write_behind(&"k".to_owned(), "v".to_owned()).await.unwrap_err();
    assert_eq!(written.kind(), ErrorKind::Unconfirmed, "{written}");
    assert_eq!(names_of(&server, "d").len(), 2, "it was kept");
    // Over the connection that comes after it nothing is sent again.
    let again = || async { words.write_behind(&"later".to_owned(), "v".to_owned()).await.is_ok() };
    until("a write over another connection", again).await;
    let entries: Vec<(String, Vec<Vec<u8>>)> = server.ask("XRANGE test:words:1~1:q:{.0} - +");
    let of_k = entries.iter().filter(|(_, fields)| fields[1] == b"1.k").count();
    assert_eq!(of_k, 1, "{entries:?}");
}

/// With what `docs/running-it.md` says that a user needs.
#[tokio::test]
async fn the_least_rights_are_enough() {
    let (server, rows) = (Server::start(), Server::start());
    let database = Database::at(&rows.url());
    let _: String = server.ask(
        "ACL SETUSER larder on >password ~test:* resetchannels -@all +get +mget +set +del +unlink +exists +pexpire +pttl +getrange +setrange +strlen +evalsha +script|load +info +time +client|tracking +xadd +xlen +xrange +xdel +xack +xreadgroup +xgroup|create +persist",
    );
    let scene = Scene::on(&format!("redis://larder:password@127.0.0.1:{}/0", server.port())).await;
    database.poison("bad").await;
    for key in ["good", "bad"] {
        scene.write(key, "v").await;
    }
    quick(scene.words.workers(PlainSink(database.clone()))).tries(1).start().await.unwrap();
    database.has("good", "v").await;
    scene.ear.hears("WriteGivenUp", 1).await;
    let letters = scene.words.dead_letters().unwrap();
    let listed = letters.list(1).await.unwrap();
    database.cure("bad").await;
    assert!(letters.replay(&listed[0]).await.unwrap());
    database.has("bad", "v").await;
    scene.is_flushed().await;
    assert_eq!(scene.larder.close(NEVER).await, 0);
    let refused: Vec<String> =
        server.refusals().into_iter().filter(|what| !what.contains("config|get")).collect();
    assert_eq!(refused, [""; 0]);
}

/// A panic in a sink is a failed try, and ends no worker.
#[tokio::test]
async fn a_sink_that_panics_or_hangs_is_tried_again() {
    struct Rude(Database, AtomicUsize);
    impl larder::Sink<String, String> for Rude {
        async fn write(&self, key: &String, value: &String) -> Result<(), larder::BoxError> {
            match self.1.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("on purpose"),
                1 => std::future::pending().await,
                _ => PlainSink(self.0.clone()).write(key, value).await,
            }
        }
        async fn remove(&self, _: &String) -> Result<(), larder::BoxError> {
            Ok(())
        }
    }
    let (redis, rows) = (Server::start(), Server::start());
    let database = Database::at(&rows.url());
    let scene = Scene::on(&redis.url()).await;
    scene.write("k", "v").await;
    let workers = quick(scene.words.workers(Rude(database.clone(), AtomicUsize::new(0))));
    workers.sink_deadline(Duration::from_millis(300)).start().await.unwrap();
    database.has("k", "v").await;
    scene.is_flushed().await;
    let heard = scene.ear.all().join("\n");
    assert!(heard.contains("panicked") && heard.contains("sink_deadline"), "{heard}");
}
