//! What goes on when an answer has left: refreshes, bodies that are read to their end, stores.
//!
//! All of it ends with the layer: when its last service is dropped, and the last body that is still read,
//! what is under way is stopped, its leases are given back, and what was not stored is not. At most one
//! refresh runs for a page in this process; one that another process is at is left alone for a second.
//! While too much runs, further refreshes are left to later requests, and bodies to their clients.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::layer::UserId;
use crate::pages::Place;
use crate::request_key::RequestKey;

/// As many refreshes run at once in a process.
const REFRESHES_MAX: usize = 256;
/// As many bodies are read at once by tasks: each may hold as much as is stored of one.
const READS_MAX: usize = 256;

type PageOf = (Option<UserId>, Arc<RequestKey>);

pub(crate) struct Background {
    /// Locked to begin one.
    tasks: Mutex<JoinSet<()>>,
    reads: Arc<Semaphore>,
    /// The pages that are being refreshed. Locked for a look-up.
    refreshing: Arc<Mutex<HashSet<PageOf>>>,
}

/// A page's place among those that are refreshed, whatever becomes of the task.
pub(crate) struct Refreshing {
    all: Arc<Mutex<HashSet<PageOf>>>,
    page: PageOf,
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.all.lock().remove(&self.page);
    }
}

impl Background {
    pub(crate) fn new() -> Background {
        Background {
            tasks: Mutex::default(),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            refreshing: Arc::default(),
        }
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// The right to read a body. `None`: too many are read.
    pub(crate) fn read(&self) -> Option<OwnedSemaphorePermit> {
        self.reads.clone().try_acquire_owned().ok()
    }

    /// `None`: it is being refreshed, or too many are.
    pub(crate) fn refresh(&self, place: &Place) -> Option<Refreshing> {
        let page = (place.user.clone(), place.key.clone());
        let mut all = self.refreshing.lock();
        if all.len() >= REFRESHES_MAX || !all.insert(page.clone()) {
            return None;
        }
        Some(Refreshing { all: self.refreshing.clone(), page })
    }
}
