//! One load per key, per process.
//!
//! The first caller to miss a key *leads*: it opens a flight. Later callers board and share its
//! answer. The flight is a task of its own, so one cancelled request never strands the rest; when the
//! last caller is gone it is cancelled. Counting the last one out and closing the doors are one step
//! under the map's lock: a later caller opens a new flight.
//!
//! A change to the key closes the doors of a flight that has asked, so that nobody who comes after the
//! change gets an answer from before it. A flight that only waits for another process asks again
//! anyway: a change wakes it, and its doors stay open.
//!
//! A flight forgets its value on landing. Remembering is the work of near. With the process die the
//! loads under way; their leases run out.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::hash::BuildHasher;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::clock::{Clock, Moment};
use crate::entry::{Held, Origin};
use crate::error::{Error, ErrorKind};
#[cfg(feature = "redis")]
use crate::key::slot::Slots;
use crate::key::{Key, Tag};
use crate::pulse::Pulse;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, Notify, OnceLock, SHARDS, Spawner, watch};

/// What a flight brings to its passengers.
#[derive(Clone)]
pub(crate) struct Landing {
    pub(crate) answer: Result<(Arc<Held>, Origin), Error>,
    /// It was overtaken by a change: good for the one who led, whose call overlapped the change.
    /// Those who boarded ask again.
    overtaken: bool,
    /// Whoever boarded later than this asks again as well.
    open_until: Option<Moment>,
}

/// What a flight has come to. Whether it was overtaken is asked when its doors are closed: nobody may
/// board between the question and the landing.
pub(crate) struct Landed {
    pub(crate) answer: Result<(Arc<Held>, Origin), Error>,
    pub(crate) is_overtaken: Box<dyn FnOnce() -> bool + Send>,
    /// Since when nobody would have told of every change that it may rest on: a tag was learned that
    /// was not watched. Like anything of which we may not be told, it is good for the bound B.
    pub(crate) unwatched_since: Option<Moment>,
}

/// Hears of changes to one key, from before it asks until it is dropped.
pub(crate) struct Signal {
    changes: watch::Sender<u64>,
    /// Set while it has nothing out that a change could overtake.
    waiting: AtomicBool,
}

impl Signal {
    fn new() -> Arc<Signal> {
        Arc::new(Signal { changes: watch::Sender::new(0), waiting: AtomicBool::new(false) })
    }

    /// To be taken before asking: what comes after it wakes.
    pub(crate) fn listen(&self) -> watch::Receiver<u64> {
        self.waiting.store(false, Ordering::SeqCst);
        self.changes.subscribe()
    }

    /// From here to the next `listen` a change only wakes.
    pub(crate) fn waits(&self) {
        self.waiting.store(true, Ordering::SeqCst);
    }

    fn tell(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

/// One load of this process, from its first caller to its last.
pub(crate) struct Flight {
    pub(crate) signal: Arc<Signal>,
    /// What its answer will carry: it is no answer for one who asks for more.
    tags: Arc<[Tag]>,
    landed: OnceLock<Landing>,
    /// Rung when it has. Those who wait are woken in the order in which they came: a `watch` would draw lots.
    lands: Notify,
    cancelled: watch::Sender<bool>,
    /// Read and written under the shard's lock.
    doors: Mutex<Doors>,
}

struct Doors {
    aboard: usize,
    /// A seat is kept for one who did not wait to the end.
    is_kept: bool,
    /// When it last asked, and over which connection.
    asked: Moment,
    pulse: Option<Arc<Pulse>>,
}

impl Flight {
    /// It asks (again): from now its answer is as old as this moment at most.
    pub(crate) fn asks(&self, now: Moment, pulse: Option<&Arc<Pulse>>) {
        let mut doors = self.doors.lock();
        doors.asked = now;
        doors.pulse = pulse.cloned();
    }
}

#[derive(Default)]
struct Gate {
    /// The flight that may be boarded.
    boarding: Option<Arc<Flight>>,
    /// All that must hear of changes, boarding or not.
    signals: Vec<Arc<Signal>>,
}

type Shard = Mutex<HashMap<Key, Gate, FixedState>>;

/// All flights of this process.
pub(crate) struct Flights {
    shards: Box<[Shard]>,
    bound: Duration,
    clock: Clock,
    spawner: Spawner,
}

/// A caller's seat. Dropping it is leaving.
pub(crate) struct Passenger {
    flights: Arc<Flights>,
    key: Key,
    flight: Arc<Flight>,
    boarded: Moment,
    pub(crate) led: bool,
}

impl Flights {
    pub(crate) fn new(bound: Duration, clock: Clock, spawner: Spawner) -> Arc<Flights> {
        let shard = |_| Mutex::new(HashMap::with_hasher(clock.hasher()));
        let shards = (0..SHARDS).map(shard).collect();
        Arc::new(Flights { shards, bound, clock, spawner })
    }

    fn shard(&self, name: &[u8]) -> &Shard {
        // Bounded by the modulus.
        &self.shards[FixedState::default().hash_one(name) as usize % SHARDS]
    }

    /// Boards the key's flight, or opens one that `fly` flies. `alone`: not to be joined by others.
    pub(crate) fn board<F, Flying>(
        self: &Arc<Self>,
        key: &Key,
        tags: &[Tag],
        alone: bool,
        fly: F,
    ) -> Passenger
    where
        F: FnOnce(Arc<Flight>) -> Flying,
        Flying: Future<Output = Landed> + Send + 'static,
    {
        let now = self.clock.now();
        let mut shard = self.shard(key.v()).lock();
        let gate = shard.entry(key.clone()).or_default();
        let suits = |flight: &&Arc<Flight>| tags.iter().all(|tag| flight.tags.contains(tag));
        if let Some(flight) = gate.boarding.as_ref().filter(|_| !alone).filter(suits) {
            let mut doors = flight.doors.lock();
            if flight.signal.waiting.load(Ordering::SeqCst) || self.may_board(&doors, now) {
                doors.aboard += 1;
                drop(doors);
                return self.passenger(key, flight.clone(), now, false);
            }
        }
        let flight = Arc::new(Flight {
            signal: Signal::new(),
            tags: tags.into(),
            landed: OnceLock::new(),
            lands: Notify::new(),
            cancelled: watch::Sender::new(false),
            doors: Mutex::new(Doors { aboard: 1, is_kept: false, asked: now, pulse: None }),
        });
        gate.signals.push(flight.signal.clone());
        if !alone {
            gate.boarding = Some(flight.clone());
        }
        drop(shard);
        self.take_off(key, &flight, fly(flight.clone()));
        self.passenger(key, flight, now, true)
    }

    /// One that waits for its turn, or for another process, asks later, and may always be joined. Else an answer may
    /// be shared for as long as near could have served it: while the connection it
    /// comes over is covered by a heartbeat, and for the bound B after it was asked for.
    fn may_board(&self, doors: &Doors, now: Moment) -> bool {
        now < doors.asked.plus(self.bound) || doors.pulse.as_ref().is_some_and(|p| p.covers(now))
    }

    /// Is there a flight for the key that its callers would board?
    pub(crate) fn is_boarding(&self, name: &[u8]) -> bool {
        self.shard(name).lock().get(name).is_some_and(|gate| gate.boarding.is_some())
    }

    fn passenger(
        self: &Arc<Self>,
        key: &Key,
        flight: Arc<Flight>,
        boarded: Moment,
        led: bool,
    ) -> Passenger {
        Passenger { flights: self.clone(), key: key.clone(), flight, boarded, led }
    }

    fn take_off<Flying>(self: &Arc<Self>, key: &Key, flight: &Arc<Flight>, flying: Flying)
    where
        Flying: Future<Output = Landed> + Send + 'static,
    {
        let mut cancelled = flight.cancelled.subscribe();
        // Lands in its drop, so that passengers get an answer whatever becomes of the task.
        let mut landing =
            Lands { flights: self.clone(), key: key.clone(), flight: flight.clone(), with: None };
        self.spawner.spawn(async move {
            tokio::select! {
                biased;
                landed = flying => landing.with = Some(landed),
                _ = cancelled.wait_for(|cancelled| *cancelled) => {}
            }
            drop(landing);
        });
    }

    /// The key has changed.
    pub(crate) fn changed(&self, name: &[u8]) {
        if let Some(gate) = self.shard(name).lock().get_mut(name) {
            gate.changed();
        }
    }

    /// A lease of this process on the key was used or given back. The far side does not tell us of
    /// what we do ourselves, and another flight of ours may be waiting for just that.
    pub(super) fn wake(&self, name: &[u8]) {
        if let Some(gate) = self.shard(name).lock().get(name) {
            gate.signals.iter().for_each(|signal| signal.tell());
        }
    }

    /// The key was ended here: who comes now must not board what began before.
    pub(crate) fn detach(&self, name: &[u8]) {
        if let Some(gate) = self.shard(name).lock().get_mut(name) {
            gate.boarding = None;
        }
    }

    /// Who comes from now on boards nothing that has asked before.
    pub(crate) fn close_all_doors(&self) {
        for shard in &self.shards {
            shard.lock().values_mut().for_each(Gate::close_if_asked);
        }
    }

    /// News were lost of what lies in these slots.
    #[cfg(feature = "redis")]
    pub(crate) fn slots_changed(&self, slots: &Slots) {
        for shard in &self.shards {
            for (key, gate) in shard.lock().iter_mut() {
                if slots.has(key.slot()) {
                    gate.changed();
                }
            }
        }
    }

    /// News were lost: it may be any key.
    pub(crate) fn all_changed(&self) {
        for shard in &self.shards {
            shard.lock().values_mut().for_each(Gate::changed);
        }
    }

    /// The doors of this flight close: its lease was lost.
    pub(crate) fn close_doors(&self, key: &Key, flight: &Arc<Flight>) {
        if let Some(gate) = self.shard(key.v()).lock().get_mut(key) {
            gate.close(flight);
        }
    }

    /// Listens to a key without a flight: for a lease taken by hand.
    pub(crate) fn watch(self: &Arc<Self>, key: &Key) -> Watching {
        let signal = Signal::new();
        let mut shard = self.shard(key.v()).lock();
        shard.entry(key.clone()).or_default().signals.push(signal.clone());
        Watching { flights: self.clone(), key: key.clone(), signal }
    }

    fn forget(&self, key: &Key, signal: &Arc<Signal>, flight: Option<&Arc<Flight>>) {
        if let Slot::Occupied(mut slot) = self.shard(key.v()).lock().entry(key.clone()) {
            let gate = slot.get_mut();
            gate.signals.retain(|other| !Arc::ptr_eq(other, signal));
            if let Some(flight) = flight {
                gate.close(flight);
            }
            if gate.signals.is_empty() && gate.boarding.is_none() {
                slot.remove();
            }
        }
    }
}

impl Gate {
    fn changed(&mut self) {
        self.close_if_asked();
        self.signals.iter().for_each(|signal| signal.tell());
    }

    fn close_if_asked(&mut self) {
        let waits = |flight: &Arc<Flight>| flight.signal.waiting.load(Ordering::SeqCst);
        if self.boarding.as_ref().is_some_and(|flight| !waits(flight)) {
            self.boarding = None;
        }
    }

    fn close(&mut self, flight: &Arc<Flight>) {
        if self.boarding.as_ref().is_some_and(|boarding| Arc::ptr_eq(boarding, flight)) {
            self.boarding = None;
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Panicked, "the load ended without an answer")
}

struct Lands {
    flights: Arc<Flights>,
    key: Key,
    flight: Arc<Flight>,
    with: Option<Landed>,
}

impl Drop for Lands {
    fn drop(&mut self) {
        // Doors first: nobody may board what has landed.
        self.flights.forget(&self.key, &self.flight.signal, Some(&self.flight));
        let landing = match self.with.take() {
            Some(Landed { answer, is_overtaken, unwatched_since }) => Landing {
                answer,
                overtaken: is_overtaken(),
                open_until: unwatched_since.map(|since| since.plus(self.flights.bound)),
            },
            None => Landing { answer: Err(gone()), overtaken: false, open_until: None },
        };
        // It lands once: this is all that a flight's task holds of it.
        let _ = self.flight.landed.set(landing);
        self.flight.lands.notify_waiters();
    }
}

impl Passenger {
    /// What the flight brings.
    pub(crate) async fn lands(&self) -> Landing {
        loop {
            let mut lands = pin!(self.flight.lands.notified());
            lands.as_mut().enable();
            if let Some(landing) = self.flight.landed.get() {
                return landing.clone();
            }
            lands.await;
        }
    }

    /// Is this the first seat of the flight that is kept for one who did not wait to the end? More than one
    /// makes no difference.
    pub(crate) fn is_first_kept(&self) -> bool {
        !std::mem::replace(&mut self.flight.doors.lock().is_kept, true)
    }

    /// Is what landed an answer for this one? For the one who led it always is.
    pub(crate) fn may_take(&self, landing: &Landing) -> bool {
        let late = landing.open_until.is_some_and(|until| self.boarded > until);
        self.led || (!landing.overtaken && !late)
    }
}

impl Drop for Passenger {
    fn drop(&mut self) {
        let mut shard = self.flights.shard(self.key.v()).lock();
        let mut doors = self.flight.doors.lock();
        doors.aboard -= 1;
        if doors.aboard == 0 {
            if let Some(gate) = shard.get_mut(&self.key) {
                gate.close(&self.flight);
            }
            self.flight.cancelled.send_replace(true);
        }
    }
}

/// A listener's place at a key. Dropping it is leaving.
pub(crate) struct Watching {
    flights: Arc<Flights>,
    key: Key,
    pub(crate) signal: Arc<Signal>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.flights.forget(&self.key, &self.signal, None);
    }
}
