//! A network that swallows what one side says, while the connection looks good: near is never older than the
//! bound B, and nobody waits.
//!
//! What is checked is a matter of order and not of speed: a read that *began* later than B (and 1 %) after an
//! invalidation was confirmed is not served what that had ended, wherever it came from.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::{Larder, Origin, Tag};
use support::{Proxy, Server, Source, Versions, Way, World, until};

const BOUND: Duration = Duration::from_millis(400);

async fn behind(url: &str) -> World {
    let builder = Larder::builder("test").redis(url).bound(BOUND);
    World::of(builder.far_deadline(Duration::from_millis(100)), &Source::default()).await
}

struct Scene {
    _server: Server,
    wire: Proxy,
    /// Behind the wire.
    here: World,
    /// Beside it.
    there: World,
    versions: Arc<Versions>,
}

impl Scene {
    /// Version 0 is near on both sides.
    async fn set() -> Scene {
        let server = Server::start();
        let wire = Proxy::to(&server);
        let (here, there) = (behind(&wire.url()).await, World::on(&server.url()).await);
        let versions = Arc::new(Versions::default());
        let scene = Scene { _server: server, wire, here, there, versions };
        scene.is_well().await;
        scene
    }

    /// Far answers, and what is newest is near.
    async fn is_well(&self) {
        for world in [&self.here, &self.there] {
            until("far answers", || async { world.larder.sync().await.is_ok() }).await;
            until("an end is confirmed", || async { world.words.invalidate("z").await.is_ok() })
                .await;
        }
        self.versions.write(&self.there, self.there.words.entry("k")).await.unwrap();
        for world in [&self.here, &self.there] {
            until("the newest is near", || async {
                world.larder.sync().await.is_ok() && {
                    let (version, entry) = self.versions.read(world).await;
                    assert_eq!(version, self.versions.committed());
                    entry.origin() == Origin::Near
                }
            })
            .await;
        }
    }

    /// Reads on while `meanwhile` goes on.
    async fn reads_while(&self, meanwhile: impl Future<Output = ()>) {
        let done = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (world, versions, done) =
                    (self.here.clone(), self.versions.clone(), done.clone());
                tokio::spawn(async move {
                    while !done.load(Ordering::SeqCst) {
                        versions.read_within(&world, BOUND).await;
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                })
            })
            .collect();
        meanwhile.await;
        done.store(true, Ordering::SeqCst);
        for reader in readers {
            reader.await.unwrap();
        }
    }

    /// Versions are committed and ended beside the wire until `over`, by key and by tag in turn.
    async fn writes_until(&self, over: impl AsyncFn() -> bool) {
        let mut ended = 0;
        while !over().await || ended < 6 {
            let written = if ended % 2 == 0 {
                self.versions.write(&self.there, self.there.words.entry("k")).await
            } else {
                self.versions.write(&self.there, Tag::new("list")).await
            };
            assert!(written.is_some(), "nothing is wrong beside the wire");
            ended += 1;
            tokio::time::sleep(BOUND / 4).await;
        }
    }
}

/// The connection over which near hears of changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn near_ends_with_the_bound_whoever_is_not_heard() {
    for way in [Way::Down, Way::Up] {
        let scene = Scene::set().await;
        scene
            .reads_while(async {
                scene.wire.swallow(0, way);
                let again = "Connected { again: true }";
                scene.writes_until(async || scene.here.ear.count(again) > 0).await;
            })
            .await;
        scene.is_well().await;
    }
}

/// The connection over which ends are sent: they are not `Ok`, near does not serve what they ended all the same, and
/// they are sent again until they are heard of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_is_swallowed_is_not_confirmed_and_comes_later() {
    for way in [Way::Down, Way::Up] {
        let scene = Scene::set().await;
        let builder = Larder::builder("test").redis(scene.wire.url()).bound(BOUND);
        let builder = builder.invalidate_deadline(Duration::from_millis(100));
        let (first, ear) = (4, support::Ear::default()); // two connections of a handle, then two of this
        let writer = builder.observer(ear.observer()).open().await.unwrap();
        let words: larder::Cache<str, String> = writer.cache("words").shared().unwrap();
        let load = |version: u64| {
            let load = async move { Ok::<_, std::io::Error>(version.to_string()) };
            move || load
        };
        words.get_or_load("own", load(0)).await.unwrap();
        assert_eq!(words.get("own").await.unwrap().unwrap().origin(), Origin::Near);
        scene.wire.swallow(first - 1, way);
        scene.wire.swallow(first - 3, way); // and the reader's own
        scene
            .reads_while(async {
                let ended = writer.invalidate([words.entry("own")]).await;
                assert_eq!(ended.unwrap_err().kind(), larder::ErrorKind::Unconfirmed, "{way:?}");
                // Far still has it where the end did not get there; near is not asked.
                let read = words.get_or_load("own", load(1)).await.unwrap();
                assert_ne!(read.origin(), Origin::Near, "{way:?}");
                scene.writes_until(async || ear.count("Confirmed { waiting: 0 }") > 0).await;
            })
            .await;
        let found = words.get("own").await.unwrap();
        assert!(found.is_none_or(|own| *own == "1"), "ended is ended, once it is confirmed");
        scene.is_well().await;
    }
}

/// Nothing gets through, not even to connect anew; then the network heals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_gone_one_way_and_heals_leaves_nothing_behind() {
    for way in [Way::Down, Way::Up] {
        let scene = Scene::set().await;
        scene
            .reads_while(async {
                scene.wire.swallow_all(way);
                let gone = async || scene.here.ear.count("Disconnected") > 0;
                scene.writes_until(gone).await;
                scene.wire.heal();
                let again = "Connected { again: true }";
                scene.writes_until(async || scene.here.ear.count(again) > 0).await;
            })
            .await;
        scene.is_well().await;
    }
}

/// Without tracking nobody tells of changes anyway; what was read is no older than the bound either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tracking_the_bound_holds_too() {
    for way in [Way::Down, Way::Up] {
        let server = Server::start();
        let _: String = server.ask("ACL SETUSER app on >s3cret ~* &* +@all -client|tracking");
        let wire = Proxy::to(&server);
        let url = wire.url().replace("redis://", "redis://app:s3cret@");
        let here = behind(&url).await;
        let there = World::on(&server.url()).await;
        let versions = Arc::new(Versions::default());
        let scene = Scene { _server: server, wire, here, there, versions };
        scene
            .reads_while(async {
                scene.writes_until(async || scene.here.words.stats().hits_near > 0).await;
                scene.wire.swallow(0, way);
                let again = "Connected { again: true }";
                scene.writes_until(async || scene.here.ear.count(again) > 0).await;
            })
            .await;
    }
}
