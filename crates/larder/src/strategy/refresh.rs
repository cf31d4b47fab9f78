//! Stale entries, renewed behind their callers' backs.
//!
//! A caller that is served a stale entry leaves its loader here. One refresh runs for each key in this
//! process, and one load in the fleet: the lease is asked for over the stale envelope, and whoever does
//! not get it leaves the work to the one who did. What fails is tried again by the next caller, after
//! the cache's back-off; until its end the stale entry is served.
//!
//! Bounded: while too many are under way, further ones are left to later callers. They stop with the
//! handle; what was under way is lost, and its leases given back.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::load::Ask;
use super::read_through::Lead;
use super::{Call, Tiers};
use crate::entry::Token;
use crate::far::Claim;
use crate::key::Key;
use crate::observe::Event;

/// How many run at once in a process. A source that hangs holds this many loads and no more.
const REFRESHES_MAX: usize = 512;

/// The refreshes of this process.
pub(crate) struct Refreshes {
    /// Those under way; `None` once there will be none. Locked for a look-up.
    keys: Mutex<Option<HashSet<Key, FixedState>>>,
    /// Locked to begin one. Not held together with `keys`: a task that ends takes that.
    tasks: Mutex<JoinSet<()>>,
    runtime: Handle,
}

/// A key's place among those under way, whatever becomes of its task.
struct Place {
    refreshes: Arc<Refreshes>,
    key: Key,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(keys) = &mut *self.refreshes.keys.lock() {
            keys.remove(&self.key);
        }
    }
}

impl Refreshes {
    pub(crate) fn new(runtime: Handle) -> Arc<Refreshes> {
        let keys = Mutex::new(Some(HashSet::default()));
        Arc::new(Refreshes { keys, tasks: Mutex::default(), runtime })
    }

    /// Ends all, and begins no more.
    pub(crate) fn stop(&self) {
        *self.keys.lock() = None;
        self.tasks.lock().abort_all();
    }

    /// Runs `work` unless the key's is under way, or too many are.
    fn begin<F>(self: &Arc<Self>, key: &Key, work: impl FnOnce() -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let has_place = self.keys.lock().as_mut().is_some_and(|keys| {
            keys.len() < REFRESHES_MAX && !keys.contains(key) && keys.insert(key.clone())
        });
        if !has_place {
            return;
        }
        let place = Place { refreshes: self.clone(), key: key.clone() };
        let work = work();
        let task = async move {
            let _place = place;
            work.await;
        };
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
    }
}

impl Tiers {
    /// Renews the entry whose envelope is `seen`, in the background.
    pub(super) fn refresh(&self, call: &Call, ask: Ask, seen: Option<Token>) {
        self.refreshes.begin(&call.key, || {
            let (tiers, call) = (self.clone(), call.clone());
            async move {
                if !tiers.refreshed(&call, ask, seen).await {
                    // Another process is at it, or the source fails: not asked for again at once.
                    tiers.clock.sleep(call.policy.backoff).await;
                }
            }
        });
    }

    async fn refreshed(&self, call: &Call, ask: Ask, seen: Option<Token>) -> bool {
        let Ok(link) = self.far.link() else { return false };
        let asked = self.asked(call);
        let lease = self.leases.ask(&call.key, link.clone(), asked.at);
        let read = link.read(&call.key, lease.token(), lease.time(), seen, &call.tags).await;
        // Perhaps granted, and we shall never know: dropping the lease gives it back.
        let Ok(read) = read else { return false };
        let generations: Vec<_> = read.tags.iter().map(|t| t.map(|t| t.generation)).collect();
        self.learn(&asked.watched, &generations);
        match read.claim {
            Claim::Granted => {
                let lease = lease.granted(self.far.clone());
                let (states, watched) = (read.tags, asked.watched);
                let lead = Lead { lease, states, watched, stale: None };
                let landed = self.lead(call, lead, ask, || {}).await;
                let ok = landed.answer.is_ok();
                self.observe.tell(Event::Refresh { cache: self.observe.cache(), ok });
                if let Err(why) = landed.answer {
                    tracing::warn!(key = %call.key, %why, "a refresh failed: the stale entry is served on");
                }
                ok
            }
            // Renewed already.
            Claim::Value(bytes) => {
                lease.not_granted();
                self.take(call, &link, asked, &bytes, &generations).await.is_ok()
            }
            Claim::Held(_) | Claim::Failed(..) | Claim::Foreign => {
                lease.not_granted();
                false
            }
        }
    }
}
