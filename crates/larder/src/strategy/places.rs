//! How many loads of one cache run at once.
//!
//! A load needs a [`Place`] before it asks for the lease: whoever holds a lease loads, and does not keep the
//! fleet waiting for its turn in a process that is busy. Where none is free the call is answered with a stale
//! entry, or waits, in the order of coming, for as long as its load might take; when too many wait already, it
//! fails. Keys that are loaded together share a place. Refreshes have places of their own among these, fewer
//! than there are, and take one or go without.
//!
//! Places are counted; nothing runs here. What waits is dropped with its flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Handle;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, SetError};

use super::refresh::Refreshes;
use super::together::Seat;
use super::warm::Warm;
use super::{Call, Tiers};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::observe::Event;
use crate::policy::Policy;

/// Of the places, these are not for refreshes: a quarter, one at least.
fn kept_for_callers(places: usize) -> usize {
    places.div_ceil(4)
}

/// The loads of one cache: how many at once, and those behind their callers' backs.
pub(crate) struct Loads {
    /// Free places.
    places: Arc<Semaphore>,
    /// Of these, those that refreshes may take.
    for_refreshes: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    places_max: usize,
    /// Of the whole process.
    pub(super) refreshes: Arc<Refreshes>,
    /// The same.
    pub(super) warm: Arc<Warm>,
}

/// The right to run one load. Dropped, it is free.
pub(super) struct Place {
    _one: OwnedSemaphorePermit,
    _of_refreshes: Option<OwnedSemaphorePermit>,
}

/// A load's place: its own, or that of the keys it is loaded with.
pub(super) enum Taken {
    Own { _place: Place },
    Shared { _place: SharedPlace },
}

/// A place of several keys, once the first of them has taken it; free when none of them holds it.
pub(super) type SharedPlace = Arc<OnceCell<Place>>;

/// There is no place, and this is why there will be none.
enum Crowded {
    TooManyWait(usize),
    Slow,
}

/// One of those that wait, for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Loads {
    /// Of the handle, for no cache.
    pub(crate) fn new(warm_keys_max: usize, clock: Clock, runtime: Handle) -> Arc<Loads> {
        let warm = Warm::new(warm_keys_max, clock.clone(), runtime.clone());
        Loads::with(Refreshes::new(clock, runtime), warm, 0, 0)
    }

    /// Of one cache.
    pub(crate) fn of_cache(&self, policy: &Policy) -> Arc<Loads> {
        let (refreshes, warm) = (self.refreshes.clone(), self.warm.clone());
        Loads::with(refreshes, warm, policy.loads_max, policy.loads_waiting_max)
    }

    fn with(
        refreshes: Arc<Refreshes>,
        warm: Arc<Warm>,
        places_max: usize,
        waiting_max: usize,
    ) -> Arc<Loads> {
        let for_refreshes = places_max - kept_for_callers(places_max);
        Arc::new(Loads {
            places: Arc::new(Semaphore::new(places_max)),
            for_refreshes: Arc::new(Semaphore::new(for_refreshes)),
            waiting: AtomicUsize::new(0),
            waiting_max,
            places_max,
            refreshes,
            warm,
        })
    }

    /// Ends what runs behind callers' backs, and begins no more.
    pub(crate) fn stop(&self) {
        self.refreshes.stop();
        self.warm.stop();
    }

    fn one(&self) -> Option<Place> {
        let one = self.places.clone().try_acquire_owned().ok()?;
        Some(Place { _one: one, _of_refreshes: None })
    }

    fn one_for_a_refresh(&self) -> Option<Place> {
        let of_refreshes = self.for_refreshes.clone().try_acquire_owned().ok()?;
        let place = self.one()?;
        Some(Place { _of_refreshes: Some(of_refreshes), ..place })
    }

    /// `None`: too many wait already.
    fn begin_to_wait(&self) -> Option<Waiting<'_>> {
        let room = |waiting: usize| (waiting < self.waiting_max).then_some(waiting + 1);
        let begun = self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, room);
        begun.ok().map(|_| Waiting(&self.waiting))
    }
}

impl Tiers {
    /// A place for a load, if one is free.
    pub(super) fn place(&self, seat: Option<&Seat>) -> Option<Taken> {
        match seat {
            None => self.loads.one().map(|place| Taken::Own { _place: place }),
            Some(seat) => shared(seat, || self.loads.one()),
        }
    }

    /// A place for a refresh, if one is free that callers do not need.
    pub(super) fn place_for_a_refresh(&self, seat: Option<&Seat>) -> Option<Taken> {
        match seat {
            None => self.loads.one_for_a_refresh().map(|place| Taken::Own { _place: place }),
            Some(seat) => shared(seat, || self.loads.one_for_a_refresh()),
        }
    }

    /// A place for a load, when it is its turn.
    pub(super) async fn wait_for_place(
        &self,
        call: &Call,
        seat: Option<&Seat>,
    ) -> Result<Taken, Error> {
        let waited = match seat {
            None => self.in_turn(call).await.map(|place| Taken::Own { _place: place }),
            Some(seat) => {
                let place = seat.place();
                let taken = place.get_or_try_init(|| self.in_turn(call)).await.map(drop);
                taken.map(|()| Taken::Shared { _place: place })
            }
        };
        waited.map_err(|why| {
            self.observe.tell(Event::LoadTurnedAway { cache: self.observe.cache() });
            let (places, most) = (self.loads.places_max, call.policy.max_load);
            let text = match why {
                Crowded::TooManyWait(waiting) => format!(
                    "cannot load: {places} loads of this cache run, and {waiting} wait already"
                ),
                Crowded::Slow => format!(
                    "cannot load: {places} loads of this cache run, and none ended within {most:?} for this one's turn to come"
                ),
            };
            Error::new(ErrorKind::Overloaded, text).at(&call.key)
        })
    }

    async fn in_turn(&self, call: &Call) -> Result<Place, Crowded> {
        if let Some(place) = self.loads.one() {
            return Ok(place);
        }
        let max = self.loads.waiting_max;
        let _waiting = self.loads.begin_to_wait().ok_or(Crowded::TooManyWait(max))?;
        let waiting = self.loads.waiting.load(Ordering::Acquire);
        self.observe.tell(Event::LoadQueued { cache: self.observe.cache(), waiting });
        let one = self.loads.places.clone().acquire_owned();
        match self.clock.within(call.policy.max_load, one).await {
            // Never closed, so an error does not come; if it did, there would be no place either.
            Some(Ok(one)) => Ok(Place { _one: one, _of_refreshes: None }),
            Some(Err(_)) | None => Err(Crowded::Slow),
        }
    }
}

/// The keys' place, taken now if none of them has it.
fn shared(seat: &Seat, take: impl FnOnce() -> Option<Place>) -> Option<Taken> {
    let place = seat.place();
    if !place.initialized() {
        match place.set(take()?) {
            // Another of them was faster.
            Ok(()) | Err(SetError::AlreadyInitializedError(_)) => {}
            // Another of them waits in the queue: for both.
            Err(SetError::InitializingError(_)) => return None,
        }
    }
    Some(Taken::Shared { _place: place })
}
