//! One loader per key in the fleet.
//!
//! A lease is asked for under a token that names this one load and is sent in one READ only. Whatever
//! becomes of the load, the lease does not outlive it here: dropped before its store was sent, it is
//! given back, on the connection it was asked for and after the asking, also when the answer to that
//! never came. (Otherwise everyone would wait for a lease that nobody knows to be theirs.)
//!
//! Storing and giving back run in tasks of their own, also when nobody waits for them; lost with the process,
//! or not begun since too many are under way, the lease runs out by itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::flight::Flights;
use crate::clock::{Clock, Moment};
use crate::entry::{Incarnation, Token};
use crate::error::{Error, FarError};
use crate::far::{Far, Link, Restamped};
use crate::key::Key;
use crate::resilience::behind::Behind;

/// Draws tokens, and knows how leases are kept.
pub(crate) struct Leases {
    /// 64 random bits, drawn at the start of the process.
    process: [u8; 8],
    count: AtomicU64,
    pub(crate) time: Duration,
    failures: Failures,
    flights: Arc<Flights>,
    pub(crate) behind: Arc<Behind>,
}

impl Leases {
    pub(crate) fn new(
        time: Duration,
        flights: Arc<Flights>,
        clock: &Clock,
        behind: Arc<Behind>,
    ) -> Leases {
        let mut process = [0; 8];
        process.copy_from_slice(&clock.nonce()[..8]);
        let (count, failures) = (AtomicU64::new(1), Failures::default());
        Leases { process, count, time, failures, flights, behind }
    }

    /// A token that was never drawn before.
    pub(crate) fn token(&self) -> Token {
        let mut token = [0; 16];
        token[..8].copy_from_slice(&self.process);
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        token[8..].copy_from_slice(&count.to_be_bytes());
        token
    }

    /// This process, as its tokens name it.
    pub(crate) fn process(&self) -> String {
        hex(self.process)
    }

    /// Why a load of this process failed, as long as it is remembered.
    pub(crate) fn failure(&self, token: &Token) -> Option<Error> {
        self.failures.of(token)
    }

    /// To be told before the fleet is: callers of this process then get the source's own error.
    pub(crate) fn failed(&self, lease: &Lease, error: &Error) {
        self.failures.remember(lease.token, error);
    }

    /// To be made before READ is sent.
    pub(crate) fn ask(&self, key: &Key, link: Arc<dyn Link>, asked: Moment) -> Lease {
        Lease {
            key: key.clone(),
            token: self.token(),
            asked,
            link,
            granted_by: None,
            by: 0,
            time: self.time,
            flights: self.flights.clone(),
            behind: self.behind.clone(),
            to_give_back: true,
        }
    }
}

/// The process that drew a token.
pub(crate) fn process_of(token: &Token) -> String {
    hex(token.first_chunk().copied().unwrap_or_default())
}

fn hex(process: [u8; 8]) -> String {
    format!("{:016x}", u64::from_be_bytes(process))
}

/// What failed here a moment ago: while the source is backed off from, callers of this process still
/// get its own error. Bounded; the oldest is forgotten.
#[derive(Default)]
struct Failures(Mutex<VecDeque<(Token, Error)>>);

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

/// What became of a new header.
pub(crate) enum Restamp {
    Done,
    /// The lease was lost.
    Lost,
    /// There is another value, or none: this is the lease to store one under.
    Gone(Box<Lease>),
}

/// A lease asked for, and perhaps granted. Dropped, it is given back.
pub(crate) struct Lease {
    key: Key,
    token: Token,
    /// A moment before READ was sent.
    asked: Moment,
    link: Arc<dyn Link>,
    /// Where it is given back when the connection it was asked for on is gone. Only once READ was
    /// answered: before that, giving back elsewhere could overtake it.
    granted_by: Option<Arc<dyn Far>>,
    /// The server process that granted it.
    by: Incarnation,
    time: Duration,
    flights: Arc<Flights>,
    behind: Arc<Behind>,
    to_give_back: bool,
}

impl Lease {
    pub(crate) fn token(&self) -> Token {
        self.token
    }

    pub(crate) fn asked(&self) -> Moment {
        self.asked
    }

    /// READ was answered, by this process of far: it is ours.
    pub(crate) fn granted(mut self, far: Arc<dyn Far>, by: Incarnation) -> Lease {
        (self.granted_by, self.by) = (Some(far), by);
        self
    }

    pub(crate) fn by(&self) -> Incarnation {
        self.by
    }

    pub(crate) fn link(&self) -> &Arc<dyn Link> {
        &self.link
    }

    pub(crate) fn time(&self) -> Duration {
        self.time
    }

    /// Another holds it: there is nothing to give back.
    pub(crate) fn not_granted(mut self) {
        self.to_give_back = false;
    }

    /// Keeps the value under it. Sent to its end whatever becomes of the caller.
    pub(crate) async fn store(
        mut self,
        envelope: Vec<u8>,
        keep: Duration,
    ) -> Result<bool, FarError> {
        let behind = self.behind.clone();
        let room = behind.room().ok_or(FarError::Crowded)?;
        self.to_give_back = false;
        let storing = room.run(async move {
            let mut lease = self;
            let stored = lease.link.store(&lease.key, lease.token, &envelope, keep).await;
            // Unknown: if it was not stored, the lease is still there, and nobody's.
            lease.to_give_back = stored.is_err();
            lease.wake();
            stored
        });
        storing.await.unwrap_or(Err(FarError::Slow))
    }

    /// Puts a new header before the value that is there, if that is still the envelope `seen`. Sent to its end whatever
    /// becomes of the caller; where another is there, or none, the lease comes back.
    pub(crate) async fn restamp(
        mut self,
        seen: Token,
        head: Vec<u8>,
        keep: Duration,
    ) -> Result<Restamp, FarError> {
        let behind = self.behind.clone();
        let room = behind.room().ok_or(FarError::Crowded)?;
        self.to_give_back = false;
        let restamping = room.run(async move {
            let mut lease = self;
            let answer = lease.link.restamp(&lease.key, lease.token, seen, &head, keep).await;
            // Unknown, as for a store; or not used up.
            lease.to_give_back = !matches!(answer, Ok(Restamped::Done | Restamped::Lost));
            match answer? {
                Restamped::Gone => Ok(Restamp::Gone(Box::new(lease))),
                Restamped::Done => {
                    lease.wake();
                    Ok(Restamp::Done)
                }
                Restamped::Lost => {
                    lease.wake();
                    Ok(Restamp::Lost)
                }
            }
        });
        restamping.await.unwrap_or(Err(FarError::Slow))
    }

    /// Leaves word that the source failed; without a back-off, gives the lease back. Done also when
    /// nobody waits for it. Says whether the lease was ours to the last: then nothing has ended the
    /// entry since it was granted.
    pub(crate) fn fail(
        mut self,
        code: &'static str,
        backoff: Duration,
    ) -> impl Future<Output = bool> + Send + 'static {
        let behind = self.behind.clone();
        let telling = behind.room().map(|room| {
            self.to_give_back = false;
            room.run(self.telling(code, backoff))
        });
        async move {
            match telling {
                Some(telling) => telling.await.unwrap_or(false),
                None => false,
            }
        }
    }

    async fn telling(mut self, code: &'static str, backoff: Duration) -> bool {
        let told = match backoff.is_zero() {
            true => self.link.release(&self.key, self.token, self.time).await,
            false => self.link.fail(&self.key, self.token, code, backoff).await,
        };
        self.to_give_back = told.is_err();
        self.wake();
        told.unwrap_or(false)
    }

    /// Renews it every third of its time, for as long as it is polled. Ends when it is lost.
    pub(crate) fn renewal(&self, clock: Clock) -> impl Future<Output = ()> + Send + 'static {
        let (key, token, link, time) = (self.key.clone(), self.token, self.link.clone(), self.time);
        async move {
            loop {
                clock.sleep(time / 3).await;
                // Slow or broken: the next try may still be in time.
                if let Ok(false) = link.extend(&key, token, time).await {
                    return;
                }
            }
        }
    }

    /// Far does not tell us of what we do ourselves, and another flight of this process may wait for it.
    fn wake(&self) {
        self.flights.wake(self.key.v());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.to_give_back {
            return;
        }
        let (key, token, link) = (self.key.clone(), self.token, self.link.clone());
        let (flights, time) = (self.flights.clone(), self.time);
        let granted_by = self.granted_by.take();
        let Some(room) = self.behind.room() else { return self.wake() };
        room.run(async move {
            let told = link.release(&key, token, time).await;
            if let (Err(_), Some(Ok(now))) = (told, granted_by.map(|far| far.link())) {
                // Not told here either: it runs out.
                let _ = now.release(&key, token, time).await;
            }
            flights.wake(key.v());
        });
    }
}
