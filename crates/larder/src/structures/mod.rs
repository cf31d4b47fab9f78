//! Shapes that live in Redis and are not cached: the truth is in them.
//!
//! Each is a type of its own, opened by the one handle under a name, and stands on its connections: in Redis
//! on one key, or on a few that share a slot, so that every step is one script or command on one server and
//! holds on a cluster as it does on one. Without a Redis address a structure lives in this process, by the
//! same rules, and dies with it.
//!
//! A structure never meets a cache. What is asked of one has an error when Redis has none to give, unlike a
//! read of a cache: there is no source behind it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::clock::Clock;
#[cfg(feature = "redis")]
use crate::error::FarError;
use crate::error::{Error, ErrorKind};
use crate::key::Shape;
#[cfg(feature = "redis")]
use crate::redis::{Commands, Script, is_unsure};

mod bounds;
mod feed;
mod fifo;
mod kept;
mod leaderboard;
mod lock;
mod object;
mod queue;
mod rate_limiter;
mod set;

pub use feed::{FanOut, Feed, FeedBuilder, FeedItem, FeedOf, FeedPage, ItemId, Pushed};
pub use fifo::{Fifo, FifoBuilder, FifoStats, Item};
#[cfg(feature = "macros")]
pub use larder_macros::HashObject;
pub use leaderboard::{
    Better, BoardPage, Leaderboard, LeaderboardBuilder, Placed, Scoring, Season, Standing,
};
pub use lock::{Held, Lock, LockBuilder, Released};
pub use object::{
    FieldReader, FieldWriter, HashObject, Object, ObjectBuilder, ObjectChange, ObjectOf,
    SomeFields, Written,
};
pub use queue::{
    DeadLetter, Delivery, Extended, Finished, Job, JobId, PushedOnce, Queue, QueueBuilder,
    QueueStats, Replayed, Retried, Worker,
};
pub use rate_limiter::{
    Judge, Limit, LimitStanding, Rate, RateLimiter, RateLimiterBuilder, Verdict, Wait, WhenDown,
};
pub use set::{Added, AddedMany, Members, Set, SetBuilder, SetCursor, SetOf, SetPage};

/// All scripts of the structures: a server is told them when a connection is made.
#[cfg(feature = "redis")]
pub(crate) static SCRIPTS: &[&Script] = &[
    &feed::redis::PUSH,
    &feed::redis::REMOVE,
    &leaderboard::redis::AROUND,
    &leaderboard::redis::PAGE,
    &leaderboard::redis::REMOVE,
    &leaderboard::redis::STANDINGS,
    &leaderboard::redis::SUBMIT,
    &object::redis::INCREMENT,
    &object::redis::WRITE,
    &fifo::redis::PUSH,
    &fifo::redis::PUT_BACK,
    &fifo::redis::RECOVER,
    &fifo::redis::REJECT,
    &fifo::redis::TAKE,
    &lock::redis::ACQUIRE,
    &lock::redis::RELEASE,
    &lock::redis::RENEW,
    &queue::redis::CLAIM,
    &queue::redis::EXTEND,
    &queue::redis::FAIL,
    &queue::redis::FINISH,
    &queue::redis::PUSH,
    &queue::redis::REPLAY,
    &queue::redis::STATS,
    &queue::redis::TIDY,
    &rate_limiter::redis::JUDGE,
    &set::redis::ADD,
    &set::redis::TOGETHER,
];

/// Was there something to remove?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone now.
    Removed,
    /// It was not there.
    NotThere,
}

/// How many waits of locks hold a connection of their own.
const SEATS: usize = 16;

/// What all structures of a process stand on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ground {
    app: Arc<str>,
    side: Side,
    clock: Clock,
    /// By `close`. In Redis the connections say so themselves; what is in this process has none.
    closed: Arc<AtomicBool>,
    /// How many locks of the process may wait at the server at once.
    seats: Arc<tokio::sync::Semaphore>,
    /// The handle it was opened by. As of a cache: while there is a view there is what it looks at.
    _handle: Option<Arc<dyn Any + Send + Sync>>,
}

/// Where structures are.
#[derive(Clone)]
pub(crate) enum Side {
    #[cfg(feature = "redis")]
    Redis(Commands),
    /// In this process.
    Memory(Shelves),
}

impl Side {
    /// The road to Redis, if it is there.
    #[cfg(feature = "redis")]
    pub(crate) fn commands(&self) -> Option<Commands> {
        match self {
            Side::Redis(commands) => Some(commands.clone()),
            Side::Memory(_) => None,
        }
    }
}

/// The structures of a process, by name: all handles on one name have the same.
#[derive(Clone, Default)]
pub(crate) struct Shelves(Arc<Mutex<HashMap<Shape, Arc<dyn Any + Send + Sync>>>>);

impl Shelves {
    /// The one under this name, made when it is asked for first.
    ///
    /// # Errors
    /// `Config` when the name is taken by one of other types.
    pub(crate) fn get<T: Any + Send + Sync + Default>(
        &self,
        shape: &Shape,
    ) -> Result<Arc<T>, Error> {
        let mut all = self.0.lock();
        let kept = all.entry(shape.clone()).or_insert_with(|| Arc::new(T::default())).clone();
        kept.downcast().map_err(|_| {
            let text =
                format!("{shape} is open with other types; open it with the same everywhere");
            Error::new(ErrorKind::Config, text)
        })
    }
}

impl Ground {
    pub(crate) fn new(app: &str, side: Side, clock: Clock) -> Ground {
        Ground {
            app: app.into(),
            side,
            clock,
            closed: Arc::default(),
            seats: Arc::new(tokio::sync::Semaphore::new(SEATS)),
            _handle: None,
        }
    }

    /// The same for a structure that is opened, which keeps the handle alive.
    pub(crate) fn of(&self, handle: Arc<dyn Any + Send + Sync>) -> Ground {
        Ground { _handle: Some(handle), ..self.clone() }
    }

    #[cfg(feature = "redis")]
    pub(crate) fn seats(&self) -> &tokio::sync::Semaphore {
        &self.seats
    }

    /// From now on [`check_open`](Self::check_open) fails.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// For what is in this process: what is in Redis is told by its connection.
    ///
    /// # Errors
    /// `Closed` after the handle was closed.
    pub(crate) fn check_open(&self, shape: &Shape) -> Result<(), Error> {
        if !self.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Closed, format!("{shape} is not used: larder was closed")))
    }

    /// What a structure of this kind and name is called.
    ///
    /// # Errors
    /// `Config` unless the name is 1 to 64 of `A-Z a-z 0-9 _ . -`.
    pub(crate) fn shape(&self, kind: &'static str, name: &str) -> Result<Shape, Error> {
        Shape::new(&self.app, kind, name)
    }

    pub(crate) fn side(&self) -> &Side {
        &self.side
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// The error of a call that changes nothing: it can be asked again.
#[cfg(feature = "redis")]
pub(crate) fn not_read(shape: &Shape, doing: &str, why: FarError) -> Error {
    Error::new(why.kind(), format!("cannot {doing} {shape}")).because(why)
}

/// The error of a call that changes something: `Unconfirmed` when it may have, all the same.
#[cfg(feature = "redis")]
pub(crate) fn not_done(shape: &Shape, doing: &str, why: FarError) -> Error {
    let kind = if is_unsure(&why) { ErrorKind::Unconfirmed } else { why.kind() };
    Error::new(kind, format!("cannot {doing} {shape}")).because(why)
}
