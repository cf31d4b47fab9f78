//! Where the server refuses to tell of changes, nothing is served for longer than a lost message would cost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::time::Duration;

use larder::{Cache, HOUR, Lifetime, SECOND};
use support::{Server, World, reading_of, stepped};

/// Two processes whose user may not turn tracking on.
async fn untracked(server: &Server) -> (World, World) {
    let _: String = server.ask("ACL SETUSER app on >s3cret ~* &* +@all -client|tracking");
    let url = format!("redis://app:s3cret@127.0.0.1:{}/0", server.port());
    (World::on(&url).await, World::on(&url).await)
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
