//! What is shared between threads is made of this: locks, counters, bells, and the tasks of flights.
//!
//! Near (but for what it merely guesses), the flights and the pulses take these from here and from nowhere
//! else. So the package `interleavings` can compile the very same source over parts of its own, which let a
//! scheduler choose who goes next at each of them, and try one order of steps after the other.

pub(crate) use parking_lot::Mutex;
pub(crate) use std::sync::{OnceLock, atomic};
pub(crate) use tokio::runtime::Handle as Spawner;
pub(crate) use tokio::sync::{Notify, watch};

/// How many locks the flights are spread over.
pub(crate) const SHARDS: usize = 64;
/// How many epochs near's keys share.
pub(crate) const STRIPES: usize = 1024;
