//! Writes that go through the cache: the sink is told, and what the cache has is never older.
//!
//! In order: the generations of the tags and a guard, side by side; the sink; then FINISH, which keeps the new
//! value only where nobody else wrote or ended the key since the guard was opened. Of two writers that overlap
//! neither is kept: which of them committed last only the sink knows.
//!
//! A write runs in a task of its own, and the sink in another, so that a caller who hangs up stops neither. At
//! `guard_time` the caller is told that nothing is known; the sink goes on for `max_load` more, and whatever
//! comes of it, the key is ended again.
//!
//! A sink that fails may commit yet: its driver gave up waiting, the database did not. Then the entry is ended and
//! the guard is not: like that of a process that dies it runs out, and what is loaded meanwhile is kept nowhere. Only
//! [`NotWritten`] ends it at once.
//!
//! The sink's answer and the cache's are told apart: [`ErrorKind::Unconfirmed`] is the only error after a commit.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::store::Times;
use super::{Call, Owned, Tiers, load};
use crate::clock::SECOND;
use crate::entry::{Incarnation, Tagged, Value, Written};
use crate::error::{Cause, Error, ErrorKind, FarError};
use crate::far::Link;
use crate::invalidation::Ends;
use crate::invalidation::guard::Guard;
use crate::observe::{Event, NotStored};
use crate::policy::Lifetime;
use crate::source::{BoxError, Loaded, NotWritten};

/// What a write does while no guard can be had, because Redis is down or does not answer.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unguarded {
    /// It goes to the sink, and the key is ended after it; an end that is not confirmed is queued, and says so:
    /// [`ErrorKind::Unconfirmed`]. Only what a guard adds is lost: a process that dies between its commit and its
    /// end may leave an older value to its lifetime.
    #[default]
    Write,
    /// It fails with [`ErrorKind::Far`], and the sink is not asked.
    Refuse,
}

/// The sink, told once.
pub(crate) type Telling = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// One write, whatever its types.
pub(crate) struct Write {
    pub(crate) call: Call,
    /// `None`: there is none any more.
    pub(crate) loaded: Loaded<Option<Value>>,
    pub(crate) tell: Box<dyn FnOnce() -> Telling + Send>,
    pub(crate) unguarded: Unguarded,
}

/// All that was read before the commit.
struct Before {
    link: Arc<dyn Link>,
    by: Incarnation,
    tagged: Vec<Tagged>,
}

impl Tiers {
    pub(crate) async fn write_through(&self, ends: &Ends, write: Write) -> Result<Written, Error> {
        lifetime(&write.call, &write.loaded).check()?;
        let key = write.call.key.clone();
        let Some(room) = ends.writes.room() else {
            let text = "cannot write: nothing was written, too many writes are under way";
            return Err(Error::new(ErrorKind::Overloaded, text).at(key));
        };
        let (answer, answered) = oneshot::channel();
        let (this, ends) = (self.clone(), ends.clone());
        room.run(async move { this.write_to_its_end(&ends, write, answer).await });
        answered.await.unwrap_or_else(|_| {
            let text = "the runtime stopped: whether it was written is not known";
            Err(Error::new(ErrorKind::Closed, text).at(key))
        })
    }

    async fn write_to_its_end(
        &self,
        ends: &Ends,
        write: Write,
        answer: oneshot::Sender<Result<Written, Error>>,
    ) {
        let _under_way = ends.one_under_way();
        let Write { call, loaded, tell, unguarded } = write;
        let (tags, (mut guard, opened)) = tokio::join!(
            self.tags_of(&call, &loaded),
            ends.claim(call.key.clone(), call.policy.guard_time)
        );
        let before = match opened {
            Ok(by) => tags.map(|(link, tagged)| Before { link, by, tagged }),
            Err(why) if why == FarError::Closed || unguarded == Unguarded::Refuse => {
                let text = "cannot guard a write: nothing was written";
                let error = Error::new(why.kind(), text).at(&call.key).because(why);
                self.answer(answer, Err(error));
                return;
            }
            Err(_) => None,
        };
        guard.commits();
        let mut telling = Owned(self.runtime.spawn(async move { tell().await }));
        let guard_time = call.policy.guard_time;
        let (told, answer) = match self.clock.within(guard_time, &mut telling.0).await {
            Some(told) => (told, Some(answer)),
            None => {
                let text = format!(
                    "the sink took longer than guard_time ({guard_time:?}): whether it wrote is not known"
                );
                self.answer(answer, Err(Error::new(ErrorKind::Deadline, text).at(&call.key)));
                // It may commit yet, and what was loaded since the guard ran out would be older.
                let Some(told) = self.clock.within(call.policy.max_load, &mut telling.0).await
                else {
                    telling.0.abort();
                    let _ = self.clock.within(SECOND, &mut telling.0).await;
                    let _ = guard.end_here().await;
                    return;
                };
                (told, None)
            }
        };
        if is_settled(&told) {
            guard.settled();
        }
        let said = match told {
            Ok(Ok(())) => self.committed(&call, &loaded, guard, before).await,
            failed => {
                // An end that is not confirmed is queued.
                let _ = guard.end_here().await;
                Err(failure(failed).at(&call.key))
            }
        };
        if let Some(answer) = answer {
            self.answer(answer, said);
        }
    }

    /// To the caller, who may be gone.
    fn answer(&self, to: oneshot::Sender<Result<Written, Error>>, said: Result<Written, Error>) {
        let kept = matches!(said, Ok(Written::Kept));
        self.observe.tell(Event::Write { cache: self.observe.cache(), ok: said.is_ok(), kept });
        let _ = to.send(said);
    }

    /// The tags' generations as they are before the commit. `None`: far would not, and nothing will be kept.
    async fn tags_of(
        &self,
        call: &Call,
        loaded: &Loaded<Option<Value>>,
    ) -> Option<(Arc<dyn Link>, Vec<Tagged>)> {
        let link = self.far.link().ok()?;
        // A sink that takes longer than a load may: its tags end early, and what it wrote with them.
        let need = call.need(lifetime(call, loaded));
        let tagged = self.tags_before(call, &loaded.tags, need, &link).await.ok()?;
        Some((link, tagged))
    }

    /// The sink has it: what the cache has goes, and the new value takes its place if it may.
    async fn committed(
        &self,
        call: &Call,
        loaded: &Loaded<Option<Value>>,
        guard: Guard,
        before: Option<Before>,
    ) -> Result<Written, Error> {
        let drawn = lifetime(call, loaded).draw(loaded.value.is_none(), &self.clock);
        let envelope = before.ok_or(NotStored::Far).and_then(|before| {
            let server_now_ms = before.link.server_ms_at(self.clock.now(), &call.key);
            let cost = std::time::Duration::ZERO;
            let times = Times { drawn, server_now_ms, cost, by: before.by };
            let id = self.leases.token();
            let written = self.envelope(call, id, loaded, &before.tagged, times)?;
            Ok((written.envelope, before.tagged))
        });
        let ended = match envelope {
            Ok((envelope, tagged)) => {
                let kept = guard.finish(&envelope, drawn.whole).await;
                if matches!(kept, Ok(true)) {
                    self.note(&call.key, &tagged, drawn.whole);
                }
                kept
            }
            Err(why) => {
                self.not_stored(why);
                guard.end_here().await.map(|()| false)
            }
        };
        match ended {
            Ok(true) => Ok(Written::Kept),
            Ok(false) => Ok(Written::Ended),
            Err(why) => {
                let text = "it is written, and an older entry is not known to be gone";
                Err(Error::new(ErrorKind::Unconfirmed, text).at(&call.key).because(why))
            }
        }
    }
}

fn lifetime(call: &Call, loaded: &Loaded<Option<Value>>) -> Lifetime {
    loaded.lifetime.unwrap_or(call.policy.lifetime)
}

type Told = Result<Result<(), BoxError>, tokio::task::JoinError>;

/// Whether it says what became of the write, once for all. Only the outermost error counts: further down it may be
/// the reason of another try, whose end nobody knows.
fn is_settled(told: &Told) -> bool {
    match told {
        Ok(Ok(())) => true,
        Ok(Err(why)) => why.is::<NotWritten>(),
        Err(_) => false,
    }
}

fn failure(told: Told) -> Error {
    match told {
        Ok(said) => {
            let error = Error::new(ErrorKind::Source, "the sink failed");
            match said {
                Err(cause) => error.caused_by(Cause::from(cause)),
                Ok(()) => error, // not so
            }
        }
        Err(why) => match why.try_into_panic() {
            Ok(panic) => {
                let text = format!("the sink panicked: {}", load::said(&*panic));
                Error::new(ErrorKind::Panicked, text)
            }
            Err(_) => {
                let text = "the runtime stopped: whether it was written is not known";
                Error::new(ErrorKind::Closed, text)
            }
        },
    }
}
