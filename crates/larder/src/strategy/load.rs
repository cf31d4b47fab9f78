//! The source, asked once: in a task of its own, up to a deadline, its panics caught.

use std::sync::Arc;

use super::places::Taken;
use super::together::Seat;
use super::{Call, Owned, Tiers};
use crate::entry::Value;
use crate::error::{Cause, Error, ErrorKind};
use crate::observe::Event;
use crate::source::{Loaded, Loading};

/// A value of any type; `None`: there is none.
pub(super) type Any = Loaded<Option<Value>>;

/// Why there is none.
#[derive(Clone)]
pub(super) enum Failed {
    /// The source's own error.
    Source(Cause),
    /// What the loader said when it panicked.
    Panicked(Arc<str>),
    /// Nothing runs any more.
    Stopped,
}

/// One call's loader.
pub(crate) enum Ask {
    /// For one key.
    Alone(Box<dyn FnOnce() -> Loading<Option<Value>> + Send>),
    /// For one of many, in one call.
    Together(Arc<Seat>),
}

impl Ask {
    pub(crate) fn alone(begin: impl FnOnce() -> Loading<Option<Value>> + Send + 'static) -> Ask {
        Ask::Alone(Box::new(begin))
    }

    pub(super) fn seat(&self) -> Option<Arc<Seat>> {
        match self {
            Ask::Alone(_) => None,
            Ask::Together(seat) => Some(seat.clone()),
        }
    }

    async fn asked(self) -> Result<Any, Failed> {
        match self {
            Ask::Alone(begin) => begin().await.map_err(|why| Failed::Source(Arc::from(why))),
            Ask::Together(seat) => seat.asks().await,
        }
    }
}

impl Failed {
    pub(super) fn of(why: tokio::task::JoinError) -> Failed {
        match why.try_into_panic() {
            Ok(panic) => Failed::Panicked(Arc::from(said(&*panic))),
            Err(_) => Failed::Stopped,
        }
    }

    fn into_error(self) -> Error {
        match self {
            Failed::Source(cause) => {
                Error::new(ErrorKind::Source, "the source failed").caused_by(cause)
            }
            Failed::Panicked(said) => {
                Error::new(ErrorKind::Panicked, format!("the loader panicked: {said}"))
            }
            Failed::Stopped => Error::new(ErrorKind::Closed, "the runtime stopped"),
        }
    }
}

impl Tiers {
    /// Asks the source, in a task of its own that ends with this call, or at `max_load`; then its `place` is free.
    /// `lease_lost` is called once when `renewal` ends.
    pub(super) async fn load(
        &self,
        call: &Call,
        ask: Ask,
        _place: Option<Taken>,
        renewal: impl Future<Output = ()>,
        lease_lost: impl FnOnce(),
    ) -> Result<Any, Error> {
        let began = self.clock.now();
        let mut work = Owned(self.runtime.spawn(ask.asked()));
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
            Some(Ok(Err(why))) => Err(why.into_error().at(&call.key)),
            Some(Err(why)) => Err(Failed::of(why).into_error().at(&call.key)),
            None => {
                self.observe.tell(Event::LoadGivenUp { cache: self.observe.cache() });
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
pub(super) fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
