//! The ways a call goes through the house.
//!
//! [`Tiers`] is what they all work with, made once for each cache. [`read_through`] is the read path,
//! top to bottom; [`refresh`] renews what is stale behind it, and [`ahead`] says what is renewed before that,
//! [`warm`] without a reader;
//! [`by_hand`] is the same road for those who load themselves; [`write_through`] tells the source first, and
//! [`write_behind`] later;
//! [`explain`] looks at what they would find. All stand on five pieces: [`lookup`] asks near and
//! far, [`places`] says how many loads may run, [`load`] asks the source, [`tags`] makes a load's tags ready,
//! [`store`] keeps what was loaded.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::coordination::flight::Flights;
use crate::coordination::lease::Leases;
use crate::entry::{Held, Origin, Shape};
use crate::far::Far;
use crate::key::{Key, Tag};
use crate::near::Near;
use crate::observe::Observe;
use crate::policy::{Lifetime, Policy, Stale};

mod ahead;
mod alone;
pub(crate) mod by_hand;
pub(crate) mod explain;
mod load;
mod lookup;
mod many;
mod pending;
mod places;
mod put;
mod read_through;
mod refresh;
mod soft;
mod store;
mod tags;
pub(crate) mod together;
mod warm;
pub(crate) mod write_behind;
pub(crate) mod write_through;

pub(crate) use load::Ask;
pub(crate) use places::Loads;
pub(crate) use read_through::NearHit;
pub(crate) use warm::Again;
pub(crate) use write_through::{Unguarded, Write};

/// What all ways work with.
#[derive(Clone)]
pub(crate) struct Tiers {
    pub(crate) near: Arc<Near>,
    pub(crate) far: Arc<dyn Far>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) loads: Arc<Loads>,
    pub(crate) observe: Observe,
    pub(crate) clock: Clock,
    pub(crate) runtime: Handle,
    /// Where those are written down who carry tags, if the cache is to.
    #[cfg(feature = "structures")]
    pub(crate) members: Option<Arc<crate::far::members::Members>>,
}

/// One call, whatever its types.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) key: Key,
    /// All that its entry must carry.
    pub(crate) tags: SmallVec<[Tag; 2]>,
    pub(crate) shape: Arc<Shape>,
    pub(crate) policy: Arc<Policy>,
    /// When its caller would rather have a stale entry.
    pub(crate) soft_deadline: Option<Duration>,
    /// Whether "there is none" is an answer.
    pub(crate) takes_none: bool,
    /// Whether its entry's bytes are to be known by their print.
    pub(crate) prints: Prints,
    /// What else an entry must be to be an answer; one that is not is as good as none.
    pub(crate) accepts: Option<Accepts>,
}

/// Whether an entry read or stored is to remember the print of its bytes: what puts a new header before them must
/// know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prints {
    /// Only if the envelope says it anyway.
    WhereGiven,
    /// It is taken: a source may say "unchanged".
    Taken,
}

/// Whether an entry is what a caller can use.
pub(crate) type Accepts = Arc<dyn Fn(&Held) -> bool + Send + Sync>;

impl Call {
    /// How long a tag must be there for an entry of this lifetime, from before its load.
    fn need(&self, lifetime: Lifetime) -> Duration {
        lifetime.longest() + self.policy.max_load
    }

    fn takes(&self, held: &Held) -> bool {
        self.finds(held) && self.accepts.as_ref().is_none_or(|accepts| accepts(held))
    }

    /// Is it an entry at all, to this call?
    fn finds(&self, held: &Held) -> bool {
        self.takes_none || held.value.is_some()
    }

    /// May a stale entry be served as it is, and refreshed behind the caller's back?
    fn serves_at_once(&self, held: &Held) -> bool {
        self.policy.stale == Stale::AtOnce && !held.in_need
    }
}

/// An entry, and where it was found.
pub(crate) type Answer = (Arc<Held>, Origin);

/// A task that ends with its owner.
struct Owned<T>(JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
