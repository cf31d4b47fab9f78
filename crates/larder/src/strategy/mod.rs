//! The ways a call goes through the house.
//!
//! [`Tiers`] is what they all work with, made once for each cache. [`read_through`] is the read path,
//! top to bottom; [`by_hand`] is the same road for those who load themselves. Both stand on three
//! pieces: [`lookup`] asks near and far, [`tags`] makes a load's tags ready, [`store`] keeps what was
//! loaded.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::coordination::flight::Flights;
use crate::coordination::lease::Leases;
use crate::entry::{Held, Origin, Shape, Token, Value};
use crate::error::{Error, ErrorKind};
use crate::far::Far;
use crate::key::{Key, Tag};
use crate::near::Near;
use crate::observe::{Event, Observe};
use crate::policy::{Lifetime, Policy};
use crate::source::{Loaded, Loading};

pub(crate) mod by_hand;
mod lookup;
mod put;
pub(crate) mod read_through;
mod store;
mod tags;

/// What all ways work with.
#[derive(Clone)]
pub(crate) struct Tiers {
    pub(crate) near: Arc<Near>,
    pub(crate) far: Arc<dyn Far>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) failures: Arc<Failures>,
    pub(crate) observe: Observe,
    pub(crate) clock: Clock,
    pub(crate) runtime: Handle,
}

/// One call, whatever its types.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) key: Key,
    /// All that its entry must carry.
    pub(crate) tags: Arc<[Tag]>,
    pub(crate) shape: Arc<Shape>,
    pub(crate) policy: Arc<Policy>,
    /// Whether "there is none" is an answer.
    pub(crate) takes_none: bool,
}

impl Call {
    /// How long a tag must be there for an entry of this lifetime, from before its load.
    fn need(&self, lifetime: Lifetime) -> Duration {
        lifetime.longest() + self.policy.max_load
    }

    fn takes(&self, held: &Held) -> bool {
        self.takes_none || held.value.is_some()
    }
}

/// An entry, and where it was found.
pub(crate) type Answer = (Arc<Held>, Origin);

/// A loader for a value of any type; `None` in it: there is none.
pub(crate) type Ask = Box<dyn FnOnce() -> Loading<Option<Value>> + Send>;

/// What failed here a moment ago: while the source is backed off from, callers of this process still
/// get its own error. Bounded; the oldest is forgotten.
#[derive(Default)]
pub(crate) struct Failures(Mutex<VecDeque<(Token, Error)>>);

const FAILURES_MAX: usize = 256;

impl Failures {
    fn remember(&self, token: Token, error: &Error) {
        let mut failures = self.0.lock();
        if failures.len() == FAILURES_MAX {
            failures.pop_front();
        }
        failures.push_back((token, error.clone()));
    }

    fn of(&self, token: &Token) -> Option<Error> {
        self.0.lock().iter().find(|(of, _)| of == token).map(|(_, error)| error.clone())
    }
}

/// A task that ends with its owner.
struct Owned<T>(JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Tiers {
    /// Asks the source, in a task of its own that ends with this call, or at `max_load`.
    /// `lease_lost` is called once when `renewal` ends.
    async fn load(
        &self,
        call: &Call,
        ask: Ask,
        renewal: impl Future<Output = ()>,
        lease_lost: impl FnOnce(),
    ) -> Result<Loaded<Option<Value>>, Error> {
        let began = self.clock.now();
        let mut work = Owned(self.runtime.spawn(async move { ask().await }));
        let waiting = async {
            let finished = async {
                tokio::select! {
                    biased;
                    done = &mut work.0 => return done,
                    () = renewal => lease_lost(),
                }
                (&mut work.0).await
            };
            self.clock.within(call.policy.max_load, finished).await
        };
        let answer = match waiting.await {
            Some(Ok(Ok(loaded))) => Ok(loaded),
            Some(Ok(Err(cause))) => {
                let error = Error::new(ErrorKind::Source, "the source failed").at(&call.key);
                Err(error.caused_by(Arc::from(cause)))
            }
            Some(Err(why)) if why.is_panic() => {
                let text = format!("the loader panicked: {}", said(&*why.into_panic()));
                Err(Error::new(ErrorKind::Panicked, text).at(&call.key))
            }
            Some(Err(_)) => Err(Error::new(ErrorKind::Closed, "the runtime stopped").at(&call.key)),
            None => {
                let text = format!("the loader took longer than {:?}", call.policy.max_load);
                Err(Error::new(ErrorKind::Deadline, text).at(&call.key))
            }
        };
        let took = self.clock.now().since(began);
        self.observe.tell(Event::Load { cache: self.observe.cache(), took, ok: answer.is_ok() });
        answer
    }
}

/// What a panic said, as far as it is text.
fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
