//! Code that is not ours runs in our tasks: loaders, observers, the types' own serialisation. When it
//! panics it takes nothing of ours with it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use larder::observe::{Event, Observer};
use larder::{Cache, Larder, Origin};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use support::{PATIENT, Server, World, until};

struct Clumsy(AtomicBool);

impl Observer for Clumsy {
    fn event(&self, event: &Event<'_>) {
        self.0.store(true, Ordering::SeqCst);
        panic!("cannot count {event:?}");
    }
}

/// It hears of heartbeats too, in the task that keeps the connection alive.
#[tokio::test]
async fn an_observer_that_panics_stops_nothing() {
    let mut server = Server::start();
    let clumsy = Arc::new(Clumsy(AtomicBool::new(false)));
    let builder = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
    let larder = builder.observer(clumsy.clone()).open().await.unwrap();
    let words: Cache<str, String> = larder.cache("words").shared().unwrap();
    let load = || async { Ok::<_, std::io::Error>("v".to_owned()) };
    words.get_or_load("k", load).await.unwrap();
    assert_eq!(words.get("k").await.unwrap().unwrap().origin(), Origin::Near);
    server.start_again();
    until("the connection is back", || async { larder.sync().await.is_ok() }).await;
    words.get_or_load("k", load).await.unwrap();
    until("ends are confirmed again", || async { words.invalidate("k").await.is_ok() }).await;
    assert!(clumsy.0.load(Ordering::SeqCst));
}

/// A type that cannot be written, or cannot be read, and says so with a panic.
#[derive(Debug, PartialEq)]
struct Brittle(&'static str);

impl Serialize for Brittle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, "unwritable");
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Brittle {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Brittle, D::Error> {
        panic!("unreadable")
    }
}

#[tokio::test]
async fn a_value_that_panics_when_written_is_handed_out_and_not_stored() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let brittle: Cache<str, Brittle> = world.larder.cache("brittle").shared().unwrap();
    let load = || async { Ok::<_, std::io::Error>(Brittle("unwritable")) };
    assert_eq!(brittle.get_or_load("k", load).await.unwrap().0, "unwritable");
    assert_eq!(world.ear.count("why: Encode"), 1);
    until("nothing is left behind", || async { server.keys().is_empty() }).await;
}

#[tokio::test]
async fn bytes_that_panic_when_read_are_a_miss() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let cache =
        |world: &World| -> Cache<str, Brittle> { world.larder.cache("brittle").shared().unwrap() };
    let (ours, theirs) = (cache(&here), cache(&there));
    let load = || async { Ok::<_, std::io::Error>(Brittle("unreadable")) };
    ours.get_or_load("k", load).await.unwrap();
    assert!(theirs.get("k").await.unwrap().is_none());
    assert_eq!(theirs.stats().unreadable, 1);
    assert_eq!(theirs.get_or_load("k", load).await.unwrap().origin(), Origin::Loaded);
}
