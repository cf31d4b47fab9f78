//! One holder at a time, with a number that tells holders apart: [`Lock`].
//!
//! Who takes it gets a **fence**, greater than any before. The lock is held for a time and renewed by a task of its
//! own, every third of it; a holder that dies loses it when that time is over, and one that was only paused is told,
//! by its own clock, which counts from before the request was sent. Nobody can be told in time in every case: between
//! the last look at the clock and the write that follows, a process may be paused for longer than the lock lasts.
//! So a lock is safe only where the thing it protects looks at the fence: `docs/concepts/locks.md`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::clock::{Clock, DAY, HOUR, MINUTE, Moment, Pauses, SECOND};
use crate::error::{Error, ErrorKind};
use crate::key::{Shape, ToKey};
use crate::structures::{Ground, Side};

mod memory;
#[cfg(feature = "redis")]
pub(super) mod redis;

/// For how long the last number is kept after the lock: until then it grows by itself, and after it by the server's
/// clock.
#[cfg(feature = "redis")]
const FENCE_KEPT: Duration = DAY;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = SECOND;

/// Settles how a [`Lock`] works. Every default is here.
#[must_use]
pub struct LockBuilder {
    ground: Ground,
    name: String,
    rules: Rules,
}

#[derive(Clone, Debug)]
struct Rules {
    time: Duration,
    renew_for: Duration,
    look_every: Duration,
}

impl fmt::Debug for LockBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LockBuilder {
    pub(crate) fn new(ground: Ground, name: &str) -> LockBuilder {
        let rules = Rules { time: 10 * SECOND, renew_for: DAY, look_every: SECOND };
        LockBuilder { ground, name: name.to_owned(), rules }
    }

    /// For how long it is held without a word of its holder: how soon one that died is replaced. Ten seconds; from
    /// 100 ms to an hour. It is renewed every third of it. Shorter survives shorter pauses of the living.
    pub fn time(mut self, time: Duration) -> LockBuilder {
        self.rules.time = time;
        self
    }

    /// For how long it is renewed, at most: a holder that hangs loses it then. A day; from nothing to 30 days.
    pub fn renew_for(mut self, time: Duration) -> LockBuilder {
        self.rules.renew_for = time;
        self
    }

    /// How often who waits looks, without being told. One second; from 10 ms to a minute.
    pub fn look_every(mut self, time: Duration) -> LockBuilder {
        self.rules.look_every = time;
        self
    }

    /// Opens it. Asks nobody: no round trip.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: a setting is out of its bounds, or the name is not 1 to 64 of `A-Z a-z 0-9 _ . -`.
    pub fn open(self) -> Result<Lock, Error> {
        let milli = Duration::from_millis(1);
        let times = [
            ("time", self.rules.time, 100 * milli, HOUR),
            ("renew_for", self.rules.renew_for, Duration::ZERO, 30 * DAY),
            ("look_every", self.rules.look_every, 10 * milli, MINUTE),
        ];
        for (what, time, least, most) in times {
            if time < least || time > most {
                let name = &self.name;
                let text =
                    format!("lock {name}: {what} is from {least:?} to {most:?}, not {time:?}");
                return Err(Error::new(ErrorKind::Config, text));
            }
        }
        let base = self.ground.shape("lock", &self.name)?;
        let shape = base.of(self.name.as_str())?;
        Lock::new(self.ground, &self.name, base, shape, self.rules)
    }
}

/// One holder at a time. Cheap to clone; all clones are one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
/// use larder::structures::Released;
/// use larder::{Larder, SECOND};
///
/// let larder = Larder::builder("shop").open().await?; // .redis("redis://..") for a fleet
/// let nightly = larder.lock("nightly").open()?;
/// if let Some(held) = nightly.try_acquire().await? {
///     tokio::select! {
///         () = held.lost() => {} // stop: another may be at it
///         () = async { /* tell the database held.fence() with every write */ } => {}
///     }
///     assert_eq!(held.release().await?, Released::Done);
/// }
/// # Ok(()) }
/// ```
///
/// It is not reentrant: who holds it and asks again waits for itself. Two handles on one name are one lock; each
/// holds it for the time that it was opened with.
#[derive(Clone)]
pub struct Lock {
    inner: Arc<Inner>,
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("name", &self.inner.shape.to_string()).finish_non_exhaustive()
    }
}

struct Inner {
    ground: Ground,
    name: String,
    /// Of the name alone, without a key.
    base: Shape,
    shape: Shape,
    rules: Rules,
    place: Place,
    /// One of this process at a time waits at the server, the others in this line.
    turn: Semaphore,
}

enum Place {
    #[cfg(feature = "redis")]
    Redis(Box<redis::Names>),
    Memory(Arc<memory::Desk>),
}

/// One of those that may wait at the server, of all locks of the process: each has a connection for as long.
struct Seat<'a> {
    #[cfg(feature = "redis")]
    names: &'a redis::Names,
    #[cfg(not(feature = "redis"))]
    _none: std::convert::Infallible,
    _one: tokio::sync::SemaphorePermit<'a>,
}

#[cfg(feature = "redis")]
impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.names.rest();
    }
}

/// What came of asking for it.
enum Try {
    /// It is ours, with this fence.
    Ours(u64),
    /// Another's, for so long at most.
    Others(Duration),
}

/// Whether a lock was still ours to give back.
#[must_use = "what was done under a lock that was lost may have been done twice"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// It was ours to the end.
    Done,
    /// It was lost before: another may have had it meanwhile.
    Lost,
}

impl Inner {
    fn clock(&self) -> &Clock {
        self.ground.clock()
    }

    async fn acquire(&self, token: &str) -> Result<Try, Error> {
        self.ground.check_open(&self.shape)?;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(names) => names.acquire(token, self.rules.time, self.fence_kept()).await,
            Place::Memory(desk) => {
                Ok(desk.acquire(&self.shape, token, self.rules.time, self.clock()))
            }
        }
    }

    async fn renew(&self, token: &str, fence: u64) -> Result<bool, Error> {
        self.ground.check_open(&self.shape)?;
        let _ = fence;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(names) => names.renew(token, fence, self.rules.time).await,
            Place::Memory(desk) => {
                Ok(desk.renew(&self.shape, token, self.rules.time, self.clock()))
            }
        }
    }

    async fn release(&self, token: &str) -> Result<bool, Error> {
        self.ground.check_open(&self.shape)?;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(names) => names.release(token).await,
            Place::Memory(desk) => Ok(desk.release(&self.shape, token, self.clock())),
        }
    }

    async fn wait<'a>(&'a self, wait: Duration, seat: &mut Option<Seat<'a>>) {
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(names) => {
                if seat.is_none() {
                    let one = self.ground.seats().try_acquire().ok();
                    *seat = one.map(|one| Seat { names, _one: one });
                }
                match seat {
                    Some(_) => names.wait(wait).await,
                    None => self.clock().sleep(wait).await,
                }
            }
            Place::Memory(desk) => {
                let _ = seat;
                desk.wait(&self.shape, wait, self.clock()).await;
            }
        }
    }

    /// Longer than anybody can hold it.
    #[cfg(feature = "redis")]
    fn fence_kept(&self) -> Duration {
        self.rules.renew_for + self.rules.time + FENCE_KEPT
    }

    /// Until when it is ours for sure, if the server was asked at `sent`: less what two clocks may drift apart.
    fn until(&self, sent: Moment) -> Moment {
        let time = self.rules.time;
        sent.plus(time - time / 100).minus(Duration::from_millis(2))
    }
}

impl Lock {
    fn new(
        ground: Ground,
        name: &str,
        base: Shape,
        shape: Shape,
        rules: Rules,
    ) -> Result<Lock, Error> {
        let place = match ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                Place::Redis(Box::new(redis::Names::new(commands.clone(), shape.clone())))
            }
            Side::Memory(shelves) => Place::Memory(shelves.get::<memory::Desk>(&base)?),
        };
        let (name, turn) = (name.to_owned(), Semaphore::new(1));
        let inner = Inner { ground, name, base, shape, rules, place, turn };
        Ok(Lock { inner: Arc::new(inner) })
    }

    /// The one of a key, by the same settings: of an order, of a user. Keep it while it is used often: those who wait
    /// in this process are served in order only on clones of one handle.
    ///
    /// # Errors
    /// [`ErrorKind::Key`]: the key is longer than 1024 bytes.
    pub fn of<K: ToKey + ?Sized>(&self, key: &K) -> Result<Lock, Error> {
        let Inner { ground, name, base, rules, .. } = &*self.inner;
        let shape = base.of(&(name.as_str(), key))?;
        Lock::new(ground.clone(), name, base.clone(), shape, rules.clone())
    }

    /// Takes it if it is free. `None`: another has it.
    ///
    /// # Cost
    /// One round trip; O(1) in Redis.
    ///
    /// # Errors
    /// [`ErrorKind::Far`]: Redis did not answer, or refused. If it was taken all the same it is given back in the
    /// background, or is free when its time is over. [`ErrorKind::Closed`] after `close`. [`ErrorKind::Config`] outside
    /// a tokio runtime.
    pub async fn try_acquire(&self) -> Result<Option<Held>, Error> {
        let attempt = Attempt::new(&self.inner)?;
        attempt.once().await.map(|taken| taken.ok())
    }

    /// Takes it; waits for it as long as `wait`. `None`: another had it all that time.
    ///
    /// Those who wait in this process on clones of this handle are served in order; between processes it is whoever
    /// comes first. While Redis is away it is asked again, until the wait is over.
    ///
    /// # Cost
    /// One round trip if it is free. While it waits, the one who waits in this process for this lock holds a connection of
    /// its own, 16 for all locks of the process at most; the others only look. It looks when it is given back, when its holder's time is over, and every [`look_every`](LockBuilder::look_every).
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire), when the wait is over.
    pub async fn acquire(&self, wait: Duration) -> Result<Option<Held>, Error> {
        let inner = &self.inner;
        let clock = inner.clock();
        let until = clock.now().plus(wait);
        let Some(Ok(_turn)) = clock.within(wait, inner.turn.acquire()).await else {
            return Ok(None);
        };
        let mut seat = None;
        let mut attempt = Attempt::new(inner)?;
        let mut pauses = Pauses::new(clock, FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let tried = attempt.once().await;
            let left = until.since(clock.now());
            match tried {
                Ok(Ok(held)) => return Ok(Some(held)),
                Ok(Err(_)) if left.is_zero() => return Ok(None),
                Ok(Err((again, theirs))) => {
                    attempt = again;
                    // Not all who wait at the same moment.
                    let every = inner.rules.look_every;
                    let look = (every / 2 + clock.up_to(every / 2)).min(left);
                    let over = theirs + clock.up_to(Duration::from_millis(10));
                    inner.wait(look.min(over).max(Duration::from_millis(1)), &mut seat).await;
                }
                Err(why) if why.kind() != ErrorKind::Far || left.is_zero() => return Err(why),
                Err(_) => {
                    attempt = Attempt::new(inner)?;
                    let _ = clock.within(left, pauses.pause()).await;
                }
            }
        }
    }
}

/// One try for it. Dropped before it is known what came of it, it gives back what it may have taken.
struct Attempt {
    inner: Arc<Inner>,
    token: String,
    runtime: Handle,
    /// Sent, and not known to be another's.
    may_be_ours: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.may_be_ours {
            let (inner, token) = (self.inner.clone(), std::mem::take(&mut self.token));
            // It ends with its answer or its deadline. Unheard, the time of the lock ends it.
            self.runtime.spawn(async move { inner.release(&token).await });
        }
    }
}

impl Attempt {
    fn new(inner: &Arc<Inner>) -> Result<Attempt, Error> {
        let runtime = Handle::try_current().map_err(|_| {
            let text = format!("{}: a lock is acquired in a tokio runtime", inner.shape);
            Error::new(ErrorKind::Config, text)
        })?;
        let nonce = inner.clock().nonce();
        let token = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Attempt { inner: inner.clone(), token, runtime, may_be_ours: false })
    }

    /// The lock, or the try itself and for how long it is another's.
    async fn once(mut self) -> Result<Result<Held, (Attempt, Duration)>, Error> {
        // Its time is counted from before it can have begun.
        let sent = self.inner.clock().now();
        self.may_be_ours = true;
        match self.inner.acquire(&self.token).await? {
            Try::Ours(fence) => {
                self.may_be_ours = false;
                Ok(Ok(Held::new(&self, fence, sent)))
            }
            Try::Others(left) => {
                self.may_be_ours = false;
                Ok(Err((self, left)))
            }
        }
    }
}

/// The lock is ours, until it is released, dropped or lost.
///
/// Dropped it is given back in the background.
#[must_use = "the lock is given back when this is dropped"]
pub struct Held {
    fence: u64,
    state: Arc<State>,
    clock: Clock,
    /// Ends the task that renews; with somebody to tell, or without.
    end: oneshot::Sender<oneshot::Sender<Result<Released, Error>>>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("fence", &self.fence).finish_non_exhaustive()
    }
}

struct State {
    /// Until when it is ours for sure.
    until: AtomicU64,
    lost: watch::Sender<bool>,
}

impl State {
    fn until(&self) -> Moment {
        Moment::from_bits(self.until.load(Ordering::Acquire))
    }

    fn is_held(&self, clock: &Clock) -> bool {
        !*self.lost.borrow() && clock.now() < self.until()
    }
}

impl Held {
    fn new(attempt: &Attempt, fence: u64, sent: Moment) -> Held {
        let inner = attempt.inner.clone();
        let until = AtomicU64::new(inner.until(sent).to_bits());
        let state = Arc::new(State { until, lost: watch::Sender::new(false) });
        let (end, ended) = oneshot::channel();
        let clock = inner.clock().clone();
        let token = attempt.token.clone();
        attempt.runtime.spawn(keep(inner, token, fence, state.clone(), ended));
        Held { fence, state, clock, end }
    }

    /// Greater than that of any who held it before, unless Redis lost the last one (kept a day longer than the lock can be)
    /// *and* its clock stands behind what it was: after a failover to a replica whose clock is late. Give it to what the lock protects, and let that refuse what comes
    /// with a smaller one.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Is it ours for sure, by our own clock? It may cease to be right after.
    pub fn is_held(&self) -> bool {
        self.state.is_held(&self.clock)
    }

    /// Comes back when it is no longer ours for sure: another took it, or Redis did not confirm it in time.
    pub async fn lost(&self) {
        let mut lost = self.state.lost.subscribe();
        while self.is_held() {
            let left = self.state.until().since(self.clock.now());
            let _ = self.clock.within(left, lost.changed()).await;
        }
    }

    /// Gives it back, and says whether it was ours to the end. One round trip.
    ///
    /// # Errors
    /// [`ErrorKind::Unconfirmed`], [`ErrorKind::Far`]: it is free when its time is over, if not now.
    /// [`ErrorKind::Closed`] after `close`: the same.
    pub async fn release(self) -> Result<Released, Error> {
        let (answer, answered) = oneshot::channel();
        let was_held = self.is_held();
        if self.end.send(answer).is_err() {
            return Ok(Released::Lost); // its task had ended: it was lost
        }
        match answered.await {
            // By our own clock it was over, whatever the server says of it.
            Ok(Ok(_)) if !was_held => Ok(Released::Lost),
            Ok(answer) => answer,
            Err(_) => Ok(Released::Lost), // it was lost at this moment
        }
    }
}

/// Renews the lock until it is lost or given back, and gives it back.
async fn keep(
    inner: Arc<Inner>,
    token: String,
    fence: u64,
    state: Arc<State>,
    mut ended: oneshot::Receiver<oneshot::Sender<Result<Released, Error>>>,
) {
    let clock = inner.clock().clone();
    let third = inner.rules.time / 3;
    let renewed_until = clock.now().plus(inner.rules.renew_for);
    let mut pause = third;
    loop {
        // Woken at the latest when it is over by our clock.
        let left = state.until().since(clock.now());
        let asked = clock.within(pause.min(left), &mut ended).await;
        if let Some(asked) = asked {
            let done = inner.release(&token).await;
            let done = done.map(|ours| if ours { Released::Done } else { Released::Lost });
            if let Ok(answer) = asked {
                let _ = answer.send(done);
            }
            return;
        }
        if state.is_held(&clock) && clock.now() < renewed_until {
            let sent = clock.now();
            match inner.renew(&token, fence).await {
                // What was over by our clock once stays so: its holder may have been told.
                Ok(true) if state.is_held(&clock) => {
                    state.until.store(inner.until(sent).to_bits(), Ordering::Release);
                    pause = third;
                    continue;
                }
                Err(why) if why.kind() != ErrorKind::Closed && state.is_held(&clock) => {
                    pause = third / 8 + clock.up_to(third / 8);
                    continue;
                }
                _ => {}
            }
        } else if state.is_held(&clock) {
            // No longer renewed: it is ours until its time is over.
            pause = left;
            continue;
        }
        state.lost.send_replace(true);
        let _ = inner.release(&token).await; // if it is ours on the server still
        return;
    }
}
