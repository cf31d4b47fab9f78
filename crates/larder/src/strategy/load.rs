//! The source, asked once: in a task of its own, up to a deadline, its panics caught.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::places::Taken;
use super::together::Seat;
use super::{Call, Owned, Tiers};
use crate::entry::{Held, Value};
use crate::error::{Cause, Error, ErrorKind};
use crate::observe::Event;
use crate::source::{BoxError, Loaded, Loading};

/// A value of any type; `None`: there is none.
pub(crate) type Any = Loaded<Option<Value>>;

/// A load that was shown a value; `None`: it is unchanged.
pub(crate) type LoadingOver = Pin<Box<dyn Future<Output = Result<Option<Any>, BoxError>> + Send>>;

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
    /// For one key, shown what is to be replaced.
    Over(Box<dyn FnOnce(Option<Value>) -> LoadingOver + Send>),
    /// For one of many, in one call.
    Together(Arc<Seat>),
}

impl Ask {
    pub(crate) fn alone(begin: impl FnOnce() -> Loading<Option<Value>> + Send + 'static) -> Ask {
        Ask::Alone(Box::new(begin))
    }

    pub(crate) fn over(begin: impl FnOnce(Option<Value>) -> LoadingOver + Send + 'static) -> Ask {
        Ask::Over(Box::new(begin))
    }

    pub(super) fn seat(&self) -> Option<Arc<Seat>> {
        match self {
            Ask::Alone(_) | Ask::Over(_) => None,
            Ask::Together(seat) => Some(seat.clone()),
        }
    }

    /// Says of `old` that it is unchanged by giving that very value back.
    async fn asked(self, old: Option<Arc<Held>>) -> Result<Any, Failed> {
        let failed = |why: BoxError| Failed::Source(Arc::from(why));
        match self {
            Ask::Alone(begin) => begin().await.map_err(failed),
            Ask::Over(begin) => {
                let value = old.as_ref().and_then(|old| old.value.clone());
                match (begin(value).await.map_err(failed)?, old) {
                    (Some(loaded), _) => Ok(loaded),
                    (None, Some(old)) => Ok(unchanged(&old)),
                    (None, None) => Err(failed(UNCHANGED_TO_NOTHING.into())),
                }
            }
            Ask::Together(seat) => seat.asks().await,
        }
    }
}

const UNCHANGED_TO_NOTHING: &str = "the loader says unchanged, and was shown no value";

/// The same again; which of its tags the call knows is for the store to see.
fn unchanged(old: &Held) -> Any {
    Any { value: old.value.clone(), tags: old.tag_names(), lifetime: None }
}

/// Whether the source said "unchanged": it is this very value, not one that is equal.
pub(super) fn is_unchanged(loaded: &Any, old: &Held) -> bool {
    let of = |value: &Option<Value>| value.as_ref().map(|value| Arc::as_ptr(value).cast::<()>());
    of(&loaded.value).is_some() && of(&loaded.value) == of(&old.value)
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
    /// Asks the source, which is shown `old` if it wants it, in a task of its own that ends with this call, or at `max_load`; then its `place` is free.
    /// `lease_lost` is called once when `renewal` ends.
    pub(super) async fn load(
        &self,
        call: &Call,
        ask: Ask,
        old: Option<Arc<Held>>,
        _place: Option<Taken>,
        renewal: impl Future<Output = ()>,
        lease_lost: impl FnOnce(),
    ) -> Result<Any, Error> {
        let began = self.clock.now();
        let mut work = Owned(self.runtime.spawn(ask.asked(old)));
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
