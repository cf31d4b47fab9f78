//! Where the server refuses to tell of changes, nothing is served for longer than a lost message would cost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::{Cache, ErrorKind, HOUR, Larder, Lifetime, SECOND};
use support::{Server, World, reading_of, stepped, until};

/// Two processes whose user may not turn tracking on.
async fn untracked(server: &Server) -> (World, World) {
    let _: String = server.ask("ACL SETUSER app on >s3cret ~* &* +@all -client|tracking");
    let url = url(server);
    (World::on(&url).await, World::on(&url).await)
}

fn url(server: &Server) -> String {
    format!("redis://app:s3cret@127.0.0.1:{}/0", server.port())
}

/// Near copies end with the bound by themselves, though nobody says a word: what was ended elsewhere is not near any
/// more, and what was not is read from far. Whichever part of the right is missing.
#[tokio::test]
async fn near_copies_end_with_the_bound() {
    for refused in ["-client|tracking", "-client", "-@connection +hello +auth"] {
        let server = Server::start();
        let _: String = server.ask(&format!("ACL SETUSER app on >s3cret ~* &* +@all {refused}"));
        let (here, there) = (World::on(&url(&server)).await, World::on(&url(&server)).await);
        for key in ["ended", "kept"] {
            here.source.set(key, "old");
            here.read(key).await.unwrap();
            assert_eq!(here.has(key).await, "old near", "{refused}");
        }
        there.words.invalidate("ended").await.unwrap();
        there.larder.settled().await;
        assert_eq!(here.has("ended").await, "nothing", "{refused}");
        assert_eq!(here.has("kept").await, "old far", "{refused}");
        assert_eq!(here.has("kept").await, "old near", "{refused}");
    }
}

/// Nobody tells those who wait that the load is done: they look again, and do not load themselves.
#[tokio::test]
async fn who_waits_looks_again_and_loads_nothing() {
    let server = Server::start();
    let (here, there) = untracked(&server).await;
    let (mut step, load) = stepped();
    let reading = here.reading_by("k", load);
    step.begins().await;
    there.source.set("k", "not asked for");
    let waiting: Vec<_> = (0..10).map(|_| there.reading("k")).collect();
    there.ear.hears("by: Timer", 3).await;
    step.answers("theirs");
    assert_eq!(*reading.await.unwrap().unwrap(), "theirs");
    for read in waiting {
        assert_eq!(*read.await.unwrap().unwrap(), "theirs");
    }
    assert_eq!((there.source.loads(), there.ear.count("by: Push")), (0, 0));
}

/// The right is taken away while the service runs: the next connection goes without. It is said once, aloud, however
/// often it is made anew.
#[tokio::test]
async fn it_is_said_once_that_nobody_tells_of_changes() {
    let log = Log::default();
    let writer = log.clone();
    // The process' own: what other tests of this file say is in it too, of other addresses.
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let server = Server::start();
    let _: String = server.ask("ACL SETUSER app on >s3cret ~* &* +@all");
    let world = World::on(&url(&server)).await;
    let tracked = || server.larders().iter().filter(|line| line.contains("flags=t")).count();
    assert_eq!(tracked(), 1);
    let _: String = server.ask("ACL SETUSER app -client|tracking");
    world.source.set("k", "v");
    for round in 1..=3 {
        server.hangs_up();
        world.ear.hears("Connected { again: true }", round).await;
        until("far answers", || async { world.larder.sync().await.is_ok() }).await;
        world.read("k").await.unwrap();
    }
    assert_eq!(tracked(), 0);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let port = format!(":{}/", server.port());
    let said: Vec<&str> =
        text.lines().filter(|line| line.contains(&port) && line.contains("TRACKING")).collect();
    assert_eq!(said.len(), 1, "{text}");
    assert!(said[0].contains("WARN") && said[0].contains("+client|tracking"), "{}", said[0]);
}

/// A rule that looks complete and is not: all that is missing is named, at once.
#[tokio::test]
async fn all_rights_that_are_missing_are_named() {
    let server = Server::start();
    let rule = "ACL SETUSER app on >s3cret ~* -@all +@read +@write +@scripting";
    let _: String = server.ask(rule);
    let error = Larder::builder("test").redis(url(&server)).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.contains("'info'") && text.contains("'time'"), "{text}");
    assert!(!text.contains("tracking") && !text.contains("s3cret"), "{text}");
    // With these it runs, as well as it can without being told.
    let _: String = server.ask("ACL SETUSER app +info +time");
    let world = World::on(&url(&server)).await;
    world.source.set("k", "v");
    world.read_tagged("k", "list").await.unwrap();
    world.larder.invalidate_tag("list").await.unwrap();
    assert!(world.words.tagged(["list"]).get("k").await.unwrap().is_none());
    assert_eq!(world.words.stats().far_skipped, 0);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A load takes long, and its tag ends while it runs: what it stores is kept near as of when its tags were read.
#[tokio::test]
async fn a_slow_load_is_as_old_as_its_tags() {
    let server = Server::start();
    let (here, there) = untracked(&server).await;
    let (mut step, load) = stepped();
    let words = here.words.tagged(["list"]);
    let reading = reading_of(&words, "k", load);
    step.begins().await;
    there.larder.invalidate_tag("list").await.unwrap();
    there.larder.settled().await;
    step.answers("old");
    assert_eq!(*reading.await.unwrap().unwrap(), "old");
    assert!(words.get("k").await.unwrap().is_none());
}

/// Its tags are read anew time and again, since our own writes make them unsure; the value is not, and ends when it
/// would have ended.
#[tokio::test]
async fn reading_its_tags_anew_makes_no_value_younger() {
    let server = Server::start();
    let (here, there) = untracked(&server).await;
    here.source.set("k", "old");
    here.read_tagged("k", "list").await.unwrap();
    there.words.invalidate("k").await.unwrap();
    here.source.set("k", "new");
    let settled = tokio::spawn(async move { there.larder.settled().await });
    for round in 1.. {
        // Each lives longer than the last, so the tag has to be kept longer: a write of our own.
        let lifetime = Lifetime::fresh_for(HOUR * round).jitter(0.0);
        let name = format!("longer-{round}");
        let longer: Cache<str, String> =
            here.larder.cache(name).lifetime(lifetime).shared().unwrap();
        let load = || async { Ok::<_, std::io::Error>("v".to_owned()) };
        longer.tagged(["list"]).get_or_load("x", load).await.unwrap();
        let over = settled.is_finished();
        let value = here.read_tagged("k", "list").await.unwrap();
        if over {
            assert_eq!(*value, "new");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn sync_and_close_leave_nothing_near_that_may_have_ended() {
    let server = Server::start();
    let (here, there) = untracked(&server).await;
    here.source.set("k", "old");
    here.read("k").await.unwrap();
    there.words.invalidate("k").await.unwrap();
    here.larder.sync().await.unwrap();
    assert_eq!(here.has("k").await, "nothing");
    here.read("k").await.unwrap();
    assert_eq!(here.has("k").await, "old near");
    assert_eq!(here.larder.close(SECOND).await, 0);
    here.source.set("k", "new");
    assert_eq!(*here.read("k").await.unwrap(), "new");
}
