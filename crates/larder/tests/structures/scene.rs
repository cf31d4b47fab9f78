//! Where a structure is tried: embedded, on one server, on a cluster of three masters.
//!
//! Servers are shared by the tests that run at the same time, and end with the last of them; each scene has
//! an app of its own, so that no test sees another's names. Who breaks a server starts one of their own.

#![allow(dead_code, unused_imports, reason = "each promise uses a part")]
#![allow(unused_macros, reason = "until the first structure has its promises")]
#![allow(unreachable_pub, reason = "as support: it has no door")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use larder::{Larder, LarderBuilder};

use crate::support::{Cluster, PATIENT, Server};

static SCENES: AtomicUsize = AtomicUsize::new(0);
static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static CLUSTER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// A handle, and what it stands on.
pub struct Scene {
    pub larder: Larder,
    pub app: String,
    pub place: Place,
}

pub enum Place {
    Memory,
    Single(Arc<Server>),
    Cluster(Arc<Cluster>),
}

impl Scene {
    pub async fn memory() -> Scene {
        Scene::at(Place::Memory).await
    }

    pub async fn single() -> Scene {
        Scene::at(Place::Single(shared(&SERVER, Server::start))).await
    }

    pub async fn cluster() -> Scene {
        Scene::at(Place::Cluster(shared(&CLUSTER, Cluster::of_masters))).await
    }

    /// On a server that is this test's to break.
    pub async fn on(server: Server) -> Scene {
        Scene::at(Place::Single(Arc::new(server))).await
    }

    /// On a cluster that is this test's to break.
    pub async fn on_cluster(cluster: Cluster) -> Scene {
        Scene::at(Place::Cluster(Arc::new(cluster))).await
    }

    async fn at(place: Place) -> Scene {
        let app = format!("t{}", SCENES.fetch_add(1, Ordering::Relaxed));
        let larder = builder(&app, &place).open().await.unwrap();
        Scene { larder, app, place }
    }

    /// Another process' handle on the same. Embedded there is none: a clone of the one.
    pub async fn another(&self) -> Larder {
        match self.place {
            Place::Memory => self.larder.clone(),
            _ => builder(&self.app, &self.place).open().await.unwrap(),
        }
    }

    /// The address of what it stands on. Embedded there is none.
    pub fn url(&self) -> Option<String> {
        match &self.place {
            Place::Memory => None,
            Place::Single(server) => Some(server.url()),
            Place::Cluster(cluster) => Some(cluster.url()),
        }
    }

    /// The server that has the name. Embedded there is none.
    pub fn server_of(&self, name: &[u8]) -> Option<&Server> {
        match &self.place {
            Place::Memory => None,
            Place::Single(server) => Some(server),
            Place::Cluster(cluster) => cluster.nodes.get(cluster.master_of(cluster.slot(name))),
        }
    }

    /// What redis-cli would say: one command on a name. Embedded nobody is asked, and it is `None`.
    pub fn says<T: redis::FromRedisValue>(
        &self,
        command: &str,
        name: &[u8],
        args: &[&str],
    ) -> Option<T> {
        let server = self.server_of(name)?;
        let mut asked = redis::cmd(command);
        asked.arg(name).arg(args);
        Some(asked.query(&mut server.client()).unwrap())
    }

    /// All names of this scene's app, in order. Embedded there are none.
    pub fn names(&self) -> Vec<String> {
        let opening = format!("{}:", self.app);
        let mut names: Vec<String> = match &self.place {
            Place::Memory => Vec::new(),
            Place::Single(server) => server.keys(),
            Place::Cluster(cluster) => cluster.nodes.iter().flat_map(Server::keys).collect(),
        };
        names.retain(|name| name.starts_with(&opening));
        names.sort();
        names
    }
}

/// As every scene opens its handle.
pub fn builder(app: &str, place: &Place) -> LarderBuilder {
    let builder = Larder::builder(app).far_deadline(PATIENT).invalidate_deadline(PATIENT);
    match place {
        Place::Memory => builder,
        Place::Single(server) => builder.redis(server.url()).require_far(),
        Place::Cluster(cluster) => builder.redis(cluster.url()).require_far(),
    }
}

fn shared<T>(kept: &Mutex<Weak<T>>, start: impl FnOnce() -> T) -> Arc<T> {
    // Held while it starts, so that one is started and not as many as there are tests.
    let mut kept = kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    kept.upgrade().unwrap_or_else(|| {
        let started = Arc::new(start());
        *kept = Arc::downgrade(&started);
        started
    })
}

/// Runs each promise, an `async fn(&Scene)` of the module, embedded, on one server and on a cluster:
/// `on_every_side! { a_promise, another }`.
macro_rules! on_every_side {
    ($($promise:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test] async fn $promise() {
                super::$promise(&crate::scene::Scene::memory().await).await;
            })*
        }
        mod single {
            $(#[tokio::test] async fn $promise() {
                super::$promise(&crate::scene::Scene::single().await).await;
            })*
        }
        mod cluster {
            $(#[tokio::test] async fn $promise() {
                super::$promise(&crate::scene::Scene::cluster().await).await;
            })*
        }
    };
}

pub(crate) use on_every_side;
