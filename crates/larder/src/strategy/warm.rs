//! Keys that are kept warm: renewed before their time is over though nobody reads them in that moment.
//!
//! A key is noted when it is read by a view that knows its source, once a second at most, and forgotten when nobody has
//! read it for as long as its cache says, or when far has it no longer: what was ended is not brought back.
//! One task looks ten times a second for those that are due, and hands each to
//! [`refresh`](super::refresh), where it takes its turn like a reader's. It knows when a key is due
//! from the entry itself, which may have been renewed by another process.
//!
//! Bounded: past so many keys further ones are not noted. The task begins with the first key and stops with the
//! handle; lost with the process is only that nobody renews them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::load::Ask;
use super::lookup::Seen;
use super::{Call, Owned, Tiers};
use crate::clock::{Clock, Moment, SECOND};
use crate::key::Key;
use crate::near::{Kept, Looked};

/// How often the task looks.
const TICK: Duration = Duration::from_millis(100);
/// Where far cannot be asked, or a renewal has not come: when to look again.
const AGAIN: Duration = SECOND;

/// The keys of this process that are kept warm.
pub(crate) struct Warm {
    /// `None` once there will be none. Locked for a look-up, or for one walk through all.
    keys: Mutex<Option<HashMap<Key, Warmed, FixedState>>>,
    /// Locked to begin it and to end it.
    task: Mutex<Option<Owned<()>>>,
    keys_max: usize,
    clock: Clock,
    runtime: Handle,
}

/// Asks the same source for the same key once more.
pub(crate) type Again = Arc<dyn Fn() -> Ask + Send + Sync>;

#[derive(Clone)]
struct Warmed {
    tiers: Tiers,
    call: Call,
    again: Again,
    read: Moment,
    due: Moment,
}

impl Warm {
    pub(crate) fn new(keys_max: usize, clock: Clock, runtime: Handle) -> Arc<Warm> {
        let keys = Mutex::new(Some(HashMap::with_hasher(clock.hasher())));
        Arc::new(Warm { keys, task: Mutex::default(), keys_max, clock, runtime })
    }

    /// Ends it, and begins no more.
    pub(crate) fn stop(&self) {
        // Each of these let go of outside its lock: what they hold may be the last of a handle, which comes here.
        let keys = self.keys.lock().take();
        drop(keys);
        let task = self.task.lock().take();
        drop(task);
    }

    /// False where the key is not known.
    fn is_read_again(&self, key: &Key, now: Moment) -> bool {
        let mut keys = self.keys.lock();
        let known = keys.as_mut().and_then(|keys| keys.get_mut(key));
        known.map(|warmed| warmed.read = now).is_some()
    }

    fn note(self: &Arc<Self>, warmed: Warmed) {
        {
            let mut keys = self.keys.lock();
            let Some(keys) = keys.as_mut().filter(|keys| keys.len() < self.keys_max) else {
                return;
            };
            keys.insert(warmed.call.key.clone(), warmed);
        }
        let mut task = self.task.lock();
        if task.is_none() && self.keys.lock().is_some() {
            let this = self.clone();
            *task = Some(Owned(self.runtime.spawn(async move { this.look_after().await })));
        }
    }

    async fn look_after(self: Arc<Self>) {
        loop {
            self.clock.sleep(TICK).await;
            let Some(due) = self.due() else { return };
            for warmed in due {
                let next = warmed.renewed().await;
                self.is_due_next(&warmed.call.key, next);
            }
        }
    }

    /// Those that are due; those that nobody reads any more are forgotten. `None`: it is over.
    fn due(&self) -> Option<Vec<Warmed>> {
        let now = self.clock.now();
        let (mut due, mut cold) = (Vec::new(), Vec::new());
        {
            let mut keys = self.keys.lock();
            let keys = keys.as_mut()?;
            for (key, warmed) in keys.iter() {
                let kept_for = warmed.call.policy.refresh_ahead.keeps_warm_for();
                if now.since(warmed.read) >= kept_for.unwrap_or_default() {
                    cold.push(key.clone());
                } else if warmed.due <= now {
                    due.push(warmed.clone());
                }
            }
        }
        for key in cold {
            self.is_due_next(&key, None);
        }
        Some(due)
    }

    fn is_due_next(&self, key: &Key, next: Option<Moment>) {
        let gone = {
            let mut keys = self.keys.lock();
            match (keys.as_mut(), next) {
                (None, _) => None,
                (Some(keys), None) => keys.remove(key),
                (Some(keys), Some(next)) => {
                    keys.entry(key.clone()).and_modify(|warmed| warmed.due = next);
                    None
                }
            }
        };
        // Outside the lock: it may be the last of a handle.
        drop(gone);
    }
}

impl Warmed {
    /// When it is to be looked at next, renewed if that is due; `None`: there is nothing to be kept warm.
    async fn renewed(&self) -> Option<Moment> {
        let Warmed { tiers, call, again, .. } = self;
        let now = tiers.clock.now();
        let kept = match tiers.near.get(call.key.v(), &call.tags, now) {
            Looked::Fresh(kept) => kept,
            _ => match self.far().await {
                Ok(Some(kept)) => kept,
                // It has run out under a renewal that was slow, or it was ended.
                Ok(None) if tiers.loads.refreshes.is_running(&call.key) => {
                    return Some(now.plus(TICK));
                }
                Ok(None) => return None,
                Err(()) => return Some(now.plus(AGAIN)),
            },
        };
        let held = &kept.held;
        held.value.as_ref()?;
        let (span, now) = (held.span(), tiers.clock.now());
        let due_at = call.policy.refresh_ahead.renewed_at(span, TICK);
        let due = held.received.plus(due_at.saturating_sub(held.age));
        if due > now {
            return Some(due);
        }
        tiers.renew_warm(call, &kept, again());
        // Not before the back-off: it has come by then, or failed, or was left.
        Some(now.plus(call.policy.backoff.max(TICK)))
    }

    /// What far has; `Err`: it cannot be asked.
    async fn far(&self) -> Result<Option<Arc<Kept>>, ()> {
        let link = self.tiers.far.link().map_err(drop)?;
        match self.tiers.get_far(&self.call, &link, self.tiers.clock.now()).await {
            Ok(Seen::Alive(kept) | Seen::Stale(kept)) => Ok(Some(kept)),
            Ok(Seen::Rejected(_)) => Ok(None),
            Err(_) => Err(()),
        }
    }
}

impl Tiers {
    /// The key was read by somebody who can ask its source again; `call` only if that is news.
    pub(crate) fn note_warm(&self, key: &Key, call: impl FnOnce() -> Option<(Call, Again)>) {
        let (warm, now) = (&self.loads.warm, self.clock.now());
        if warm.is_read_again(key, now) {
            return;
        }
        if let Some((call, again)) = call() {
            let due = Moment::NEVER; // it is seen at the next look
            warm.note(Warmed { tiers: self.clone(), call, again, read: now, due });
        }
    }
}
