//! Entries that are stale, or near their end, renewed behind their callers' backs.
//!
//! A caller that is served one leaves its loader here. One refresh runs for each key in this
//! process, and one load in the fleet: the lease is asked for over the envelope that is there, and whoever does
//! not get it leaves the work to the one who did. What fails, or gives what cannot be kept, is tried again by the
//! next caller, after the cache's back-off; until its end the stale entry is served.
//!
//! Bounded: while too many are under way, or the places for loads are for callers, further ones are left to later
//! callers. They stop with the handle; what was under way is lost, and its leases given back.
//!
//! Beside them here are kept the seats of callers that did not wait to the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::load::Ask;
use super::lookup::{Asking, Seen, TagsRead};
use super::places::Taken;
use super::read_through::Lead;
use super::{Call, Tiers};
use crate::clock::{Clock, Moment};
use crate::coordination::flight::Passenger;
use crate::entry::Held;
use crate::far::Claim;
use crate::key::Key;
use crate::observe::Event;

/// How many run at once in a process. A source that hangs holds this many loads and no more.
const REFRESHES_MAX: usize = 512;
/// How many keys are remembered as left alone for a while, before those whose while is over are forgotten.
const RESTING_MAX: usize = 8192;

/// How many seats are kept at once in a process: with a source that hangs, so many loads go on unwatched.
const SEATS_MAX: usize = 512;

/// The refreshes of this process.
pub(crate) struct Refreshes {
    /// `None` once there will be none. Locked for a look-up.
    keys: Mutex<Option<Keys>>,
    /// Locked to begin one. A task that ends takes `keys`, never this.
    tasks: Mutex<JoinSet<()>>,
    /// Free places for kept seats.
    seats: Arc<Semaphore>,
    clock: Clock,
    runtime: Handle,
}

#[derive(Default)]
struct Keys {
    by_key: HashMap<Key, State, FixedState>,
    running: usize,
}

#[derive(Clone, Copy)]
enum State {
    Running,
    /// Another process is at it, or the source has failed, or its value was not kept: not asked for again before this.
    Resting(Moment),
}

/// A key among those that run, whatever becomes of its task.
struct Run {
    refreshes: Arc<Refreshes>,
    key: Key,
    /// How long it is left alone after this.
    rest: Duration,
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(keys) = &mut *self.refreshes.keys.lock() {
            keys.end(&self.key, self.rest, self.refreshes.clock.now());
        }
    }
}

impl Keys {
    fn begin(&mut self, key: &Key, now: Moment) -> bool {
        let is_left_alone = match self.by_key.get(key) {
            None => false,
            Some(State::Running) => true,
            Some(State::Resting(until)) => now < *until,
        };
        if is_left_alone || self.running >= REFRESHES_MAX {
            return false;
        }
        self.by_key.insert(key.clone(), State::Running);
        self.running += 1;
        true
    }

    fn end(&mut self, key: &Key, rest: Duration, now: Moment) {
        self.running -= 1;
        self.by_key.remove(key);
        if rest.is_zero() {
            return;
        }
        if self.by_key.len() >= RESTING_MAX {
            let is_over = |state: &State| matches!(state, State::Resting(until) if *until <= now);
            self.by_key.retain(|_, state| !is_over(state));
        }
        // Where there is no room, Redis' own record of the failure holds it back.
        if self.by_key.len() < RESTING_MAX {
            self.by_key.insert(key.clone(), State::Resting(now.plus(rest)));
        }
    }
}

impl Refreshes {
    pub(crate) fn new(clock: Clock, runtime: Handle) -> Arc<Refreshes> {
        let keys = Mutex::new(Some(Keys::default()));
        let seats = Arc::new(Semaphore::new(SEATS_MAX));
        Arc::new(Refreshes { keys, tasks: Mutex::default(), seats, clock, runtime })
    }

    /// Ends all, and begins no more.
    pub(crate) fn stop(&self) {
        let mut tasks = self.tasks.lock();
        *self.keys.lock() = None;
        tasks.abort_all();
    }

    /// Whether the key is being renewed by this process.
    pub(super) fn is_running(&self, key: &Key) -> bool {
        let keys = self.keys.lock();
        let state = keys.as_ref().and_then(|keys| keys.by_key.get(key));
        matches!(state, Some(State::Running))
    }

    /// Keeps a seat on a flight until it lands, so that it goes on: one is enough for each flight.
    pub(super) fn keep_seat(&self, passenger: Passenger) {
        let Ok(kept) = self.seats.clone().try_acquire_owned() else { return };
        if !passenger.is_first_kept() {
            return;
        }
        let mut tasks = self.tasks.lock();
        if self.keys.lock().is_none() {
            return;
        }
        while tasks.try_join_next().is_some() {}
        let landing = async move {
            passenger.lands().await;
            drop(kept);
        };
        tasks.spawn_on(landing, &self.runtime);
    }

    /// Runs `work`, if there is any to do, unless the key's is under way, or rests, or too many are. It says
    /// how long the key is left alone afterwards. Says whether it runs.
    fn begin<F>(self: &Arc<Self>, key: &Key, work: impl FnOnce() -> Option<F>) -> bool
    where
        F: Future<Output = Duration> + Send + 'static,
    {
        let mut tasks = self.tasks.lock();
        let now = self.clock.now();
        if !self.keys.lock().as_mut().is_some_and(|keys| keys.begin(key, now)) {
            return false;
        }
        let run = Run { refreshes: self.clone(), key: key.clone(), rest: Duration::ZERO };
        let Some(work) = work() else { return false };
        let task = async move {
            let mut run = run;
            run.rest = work.await;
        };
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
        true
    }
}

impl Tiers {
    /// Renews `held`, in the background; says whether that has begun.
    pub(super) fn refresh(&self, call: &Call, ask: Ask, held: &Arc<Held>) -> bool {
        let mut is_left = false;
        let is_begun = self.loads.refreshes.begin(&call.key, || {
            let place = self.place_for_a_refresh(ask.seat().as_deref());
            is_left = place.is_none();
            let (place, tiers, call) = (place?, self.clone(), call.clone());
            let held = held.clone();
            Some(async move { tiers.refreshed(&call, ask, &held, place).await })
        });
        if is_left {
            self.observe.tell(Event::RefreshLeft { cache: self.observe.cache() });
        }
        is_begun
    }

    /// Says how long the key is to be left alone.
    async fn refreshed(&self, call: &Call, ask: Ask, held: &Arc<Held>, place: Taken) -> Duration {
        let backoff = call.policy.backoff;
        let Ok(link) = self.far.link() else { return backoff };
        let Ok(asking) = self.ask_for_lease(call, &link, held.id).await else { return backoff };
        let Asking { asked, lease, read, generations } = asking;
        match read.claim {
            Claim::Granted => {
                let lease = lease.granted(self.far.clone(), read.by);
                let (states, watched) = (read.tags, asked.watched);
                let replaces = read.is_there;
                let old = replaces.then(|| held.clone());
                let lead = Lead { lease, states, watched, replaces, stale: None, old };
                let landed = self.lead(call, lead, ask, Some(place), || {}).await;
                let ok = landed.answer.is_ok();
                self.observe.tell(Event::Refresh { cache: self.observe.cache(), ok });
                match landed.answer {
                    Ok((held, _)) if held.id.is_some() => Duration::ZERO,
                    // It was kept nowhere, and what is there is as old as before: without a rest the next hit
                    // would begin a load in vain again.
                    Ok(_) => backoff,
                    Err(why) => {
                        tracing::warn!(key = %call.key, %why, "a refresh failed: what is there is served on");
                        backoff
                    }
                }
            }
            // Renewed already: near has it now, if it may be served.
            Claim::Value(answered) => {
                lease.not_granted();
                let tags = TagsRead { generations: &generations, in_order: read.in_order };
                match self.take(call, &link, asked, &answered, tags, self.clock.now()).await {
                    Ok(Seen::Alive(..)) => Duration::ZERO,
                    _ => backoff,
                }
            }
            Claim::Held(left) => {
                lease.not_granted();
                left.min(backoff)
            }
            _ => {
                lease.not_granted();
                backoff
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;

    fn key(number: usize) -> Key {
        Key::new(format!("k{number}").as_bytes())
    }

    #[test]
    fn no_more_run_than_may() {
        let (mut keys, now) = (Keys::default(), Moment::NEVER);
        assert!((0..REFRESHES_MAX).all(|number| keys.begin(&key(number), now)));
        assert!(!keys.begin(&key(REFRESHES_MAX), now));
        keys.end(&key(0), Duration::ZERO, now);
        assert!(keys.begin(&key(REFRESHES_MAX), now));
    }

    #[test]
    fn no_more_rest_than_may_and_those_whose_time_is_over_make_room() {
        let (mut keys, now) = (Keys::default(), Moment::NEVER);
        for number in 0..2 * RESTING_MAX {
            assert!(keys.begin(&key(number), now));
            keys.end(&key(number), SECOND, now);
        }
        assert_eq!(keys.by_key.len(), RESTING_MAX);
        assert!(!keys.begin(&key(0), now), "left alone");
        assert!(keys.begin(&key(2 * RESTING_MAX - 1), now), "there was no room for its rest");
        let later = now.plus(SECOND);
        keys.end(&key(2 * RESTING_MAX - 1), SECOND, later);
        assert_eq!(keys.by_key.len(), 1);
    }
}
