//! Who is master is what a majority of sentinels says: real ones, and real failovers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use larder::{Larder, LarderBuilder, SECOND};
use support::{Fleet, PATIENT, Source, World, until};

/// A bound below the sentinels' `down-after-milliseconds`, as it should be.
fn builder(url: &str) -> LarderBuilder {
    Larder::builder("test").redis(url).bound(SECOND / 2).far_deadline(PATIENT)
}

async fn world(url: &str) -> World {
    World::of(builder(url).require_far(), &Source::default()).await
}

/// One address is enough: the other sentinels are found, and a majority of them is asked.
#[tokio::test]
async fn any_one_sentinel_is_enough_to_begin_with() {
    let fleet = Fleet::start().await;
    for sentinel in 0..3 {
        let world = world(&fleet.url_of(sentinel)).await;
        world.source.set("k", "v");
        world.words.invalidate("k").await.unwrap();
        assert_eq!(*world.read("k").await.unwrap(), "v");
        assert_eq!(world.has("k").await, "v near");
        assert_eq!(world.source.loads(), 1);
        assert_eq!(fleet.nodes[0].larders().len(), 2, "on the master, tracked and untracked");
        for other in &fleet.sentinels {
            until("all sentinels are asked", || async {
                let clients: String = other.ask("CLIENT LIST");
                clients.matches("name=larder:test:sentinel").count() == 1
            })
            .await;
        }
        let _ = world.larder.close(SECOND).await;
        until("the connections are gone", || async { fleet.nodes[0].larders().is_empty() }).await;
    }
}
