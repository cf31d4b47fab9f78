//! Many keys, one call of the loader.
//!
//! Each key goes its own way, with a flight and a lease of its own; what it shares with the others is
//! the call to the source. A key that is to be loaded takes its [`Seat`] and asks; one that was found, or
//! whose value another process or flight is loading, leaves. When every seat has done either, the loader
//! is called once, with all that asked. A key that left and must ask after all (the other's load failed)
//! is loaded in a later call, together with those that come at the same time.
//!
//! All of them share one of the places for loads, for as long as any of them may load.
//!
//! The call runs in a task of its own and is stopped when nobody waits for it any more.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, oneshot};

use super::Owned;
use super::load::{Any, Failed};
use super::places::{Place, SharedPlace};
use crate::error::Cause;

/// What the source said of some of the keys, by their places; it has none for the rest.
pub(crate) type Said = Vec<(usize, Result<Any, Cause>)>;
/// A load of many under way.
pub(crate) type LoadingMany = Pin<Box<dyn Future<Output = Result<Said, Cause>> + Send>>;
/// Loads the keys at these places.
pub(crate) type AskMany = Arc<dyn Fn(Vec<usize>) -> LoadingMany + Send + Sync>;

type Answer = Result<Any, Failed>;

/// A load that several keys share.
pub(super) struct Together {
    /// Held to take or leave a seat.
    state: Mutex<State>,
    ask: AskMany,
    runtime: Handle,
}

struct State {
    /// Seats that have neither asked nor left.
    undecided: usize,
    asking: Vec<(usize, oneshot::Sender<Answer>)>,
    /// A task is about to take those that ask.
    is_called: bool,
    /// The place that the keys share, while one of them holds it.
    place: Weak<OnceCell<Place>>,
}

/// One key's place.
pub(crate) struct Seat {
    together: Arc<Together>,
    at: usize,
    has_decided: AtomicBool,
}

impl Together {
    /// A seat for each of the keys at `places`.
    pub(super) fn seats(ask: &AskMany, places: &[usize], runtime: &Handle) -> Vec<Arc<Seat>> {
        let (undecided, asking, place) = (places.len(), Vec::new(), Weak::new());
        let state = State { undecided, asking, is_called: false, place };
        let (state, ask, runtime) = (Mutex::new(state), ask.clone(), runtime.clone());
        let together = Arc::new(Together { state, ask, runtime });
        let seat = |at: &usize| {
            let (together, has_decided) = (together.clone(), AtomicBool::new(false));
            Arc::new(Seat { together, at: *at, has_decided })
        };
        places.iter().map(seat).collect()
    }

    fn call_if_all_decided(self: &Arc<Self>, state: &mut State) {
        if state.undecided > 0 || state.asking.is_empty() || state.is_called {
            return;
        }
        state.is_called = true;
        let this = self.clone();
        self.runtime.spawn(async move { this.call().await });
    }

    async fn call(self: Arc<Self>) {
        // Those who come late come together: another process' lease has run out.
        tokio::task::yield_now().await;
        let asking = {
            let mut state = self.state.lock();
            state.is_called = false;
            std::mem::take(&mut state.asking)
        };
        let (places, mut answers): (Vec<usize>, Vec<_>) = asking.into_iter().unzip();
        let (ask, asked) = (self.ask.clone(), places.clone());
        let mut work = Owned(self.runtime.spawn(async move { ask(asked).await }));
        let said = tokio::select! {
            biased;
            said = &mut work.0 => said,
            () = all_gone(&mut answers) => return,
        };
        let mut said = match said {
            Ok(Ok(said)) => said,
            Ok(Err(cause)) => return fail(answers, &Failed::Source(cause)),
            Err(why) => return fail(answers, &Failed::of(why)),
        };
        said.sort_by_key(|(at, _)| *at);
        let mut said = said.into_iter().peekable();
        let mut waiting: Vec<_> = places.into_iter().zip(answers).collect();
        waiting.sort_by_key(|(at, _)| *at);
        for (place, answer) in waiting {
            while said.next_if(|(at, _)| *at < place).is_some() {}
            let one = match said.next_if(|(at, _)| *at == place) {
                Some((_, one)) => one.map_err(Failed::Source),
                None => Ok(Any::new(None)),
            };
            let _ = answer.send(one);
        }
    }
}

async fn all_gone(answers: &mut [oneshot::Sender<Answer>]) {
    for answer in answers {
        answer.closed().await;
    }
}

fn fail(answers: Vec<oneshot::Sender<Answer>>, why: &Failed) {
    for answer in answers {
        let _ = answer.send(Err(why.clone()));
    }
}

impl Seat {
    /// The place of all: taken already, or to be taken by the first who needs it.
    pub(super) fn place(&self) -> SharedPlace {
        let mut state = self.together.state.lock();
        if let Some(place) = state.place.upgrade() {
            return place;
        }
        let place = SharedPlace::default();
        state.place = Arc::downgrade(&place);
        place
    }

    /// The others need not wait for this one.
    pub(super) fn leaves(&self) {
        if !self.has_decided.swap(true, Ordering::AcqRel) {
            let mut state = self.together.state.lock();
            state.undecided -= 1;
            self.together.call_if_all_decided(&mut state);
        }
    }

    /// What the source says of this one.
    pub(super) async fn asks(&self) -> Answer {
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.together.state.lock();
            if !self.has_decided.swap(true, Ordering::AcqRel) {
                state.undecided -= 1;
            }
            state.asking.push((self.at, answer));
            self.together.call_if_all_decided(&mut state);
        }
        answered.await.unwrap_or(Err(Failed::Stopped))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leaves();
    }
}
