//! One server for several handles of a process, each behind a network drawn from a seed: for simulations.
//!
//! The server is a `Shelf`. Between it and each handle lie two connections, as with Redis, each kept
//! alive by a heartbeat of its own (`supervisor`). A connection carries what is sent in order, both ways
//! (`wire`): changes and replies come in the order in which the server wrote them. Whatever else a
//! network may do it does, as its [`Weather`] says: messages are late, stall those behind them, come twice,
//! are swallowed with all that follows, or are lost with the connection.
//!
//! Everything comes from the seed and from the order of the calls: on one thread with a paused clock the
//! same seed gives the same run. Tasks of a wire belong to the server and end when both ends are gone.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::clock::{Clock, Moment};
use crate::entry::{Ended, Incarnation, SoftHalf, Token};
use crate::error::FarError;
use crate::far::memory::Shelf;
use crate::far::{Changes, Far, Finish, Link, Reply};
use crate::key::Key;
use crate::observe::Observe;

mod line;
mod supervisor;
mod wire;

use supervisor::{Role, Supervisor};

/// What a network does to messages. Chances are in ten thousand, for each message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Each message is on its way for up to this many milliseconds.
    pub delay_ms_max: u64,
    /// It is held up, and all behind it with it, for up to `stall_ms_max`.
    pub stalls: u64,
    /// How long a stall takes at the most.
    pub stall_ms_max: u64,
    /// The connection is lost with it, before or after it was acted upon.
    pub cuts: u64,
    /// It is swallowed, and so is all that follows in its direction.
    pub swallows: u64,
    /// It is acted upon once more, later.
    pub repeats: u64,
    /// A connection cannot be made.
    pub refusals: u64,
    /// What no network and no server may do: for checking that it is noticed.
    pub lawless: Option<Lawless>,
}

/// What larder does not stand, because Redis and TCP do not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lawless {
    /// A READ is acted upon twice.
    RepeatsReads,
    /// A change is not told, though the connection lives on.
    LosesChanges,
    /// A store is done whoever holds the lease.
    StoresForAll,
    /// An end reports success and leaves what it should have ended.
    EndsNothing,
}

/// One server, and what may happen to it.
#[derive(Clone)]
pub struct Server(Arc<Core>);

struct Core {
    shelf: Arc<Shelf>,
    clock: Clock,
    weather: Mutex<Weather>,
    /// Counts its lives: a connection belongs to one.
    lives: Mutex<u64>,
    is_away: AtomicBool,
    ended: Notify,
    /// Everything on its way to or from it.
    tasks: Mutex<JoinSet<()>>,
    runtime: Handle,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// Empty, its time and all chance from `clock`. To be called inside the runtime it runs on.
    pub fn new(bytes_max: usize, clock: Clock, weather: Weather) -> Server {
        Server(Arc::new(Core {
            shelf: Shelf::new(bytes_max, clock.clone()),
            clock,
            weather: Mutex::new(weather),
            lives: Mutex::new(0),
            is_away: AtomicBool::new(false),
            ended: Notify::new(),
            tasks: Mutex::default(),
            runtime: Handle::current(),
        }))
    }

    /// The road of one process to it.
    pub fn network(&self) -> Network {
        let road = Road {
            core: self.0.clone(),
            is_dead: AtomicBool::new(false),
            is_held: AtomicBool::new(false),
            released: Notify::new(),
        };
        Network(Arc::new(road))
    }

    /// From now on messages fare like this.
    pub fn set_weather(&self, weather: Weather) {
        *self.0.weather.lock() = weather;
    }

    /// Begins anew, empty: every connection is lost.
    pub fn restart(&self) {
        self.end_life();
        self.0.shelf.restart();
    }

    /// What it holds now is what it will hold after [`falls_back`](Self::falls_back).
    pub fn keeps_snapshot(&self) {
        self.0.shelf.keep_snapshot();
    }

    /// Begins anew from its last snapshot, or another takes over that had not heard of what came after it:
    /// every connection is lost.
    pub fn falls_back(&self) {
        self.end_life();
        self.0.shelf.fall_back();
    }

    /// Every connection is lost, and none can be made until [`comes_back`](Self::comes_back).
    pub fn goes_away(&self) {
        self.0.is_away.store(true, Ordering::Release);
        self.end_life();
    }

    /// Connections can be made again.
    pub fn comes_back(&self) {
        self.0.is_away.store(false, Ordering::Release);
    }

    fn end_life(&self) {
        *self.0.lives.lock() += 1;
        self.0.ended.notify_waiters();
    }

    /// As by FLUSHALL.
    pub fn flush(&self) {
        self.0.shelf.flush();
    }

    /// Forgets one name for want of memory; says which.
    pub fn evict(&self, at: usize) -> Option<Vec<u8>> {
        self.0.shelf.evict(at)
    }

    /// Its clock is set forward, or back.
    pub fn jump(&self, by_ms: i64) {
        self.0.shelf.jump(by_ms);
    }

    /// `see` is called with each write: the name, the bytes, and how long they are kept. It must be quick
    /// and not call back.
    pub fn on_write(&self, see: impl Fn(&[u8], &[u8], Duration) + Send + Sync + 'static) {
        self.0.shelf.tap(Arc::new(see));
    }

    /// All that is there, and how much longer.
    pub fn names(&self) -> Vec<(Vec<u8>, Duration)> {
        self.0.shelf.names()
    }
}

impl Core {
    fn weather(&self) -> Weather {
        *self.weather.lock()
    }

    fn life(&self) -> u64 {
        *self.lives.lock()
    }

    fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    fn chance(&self, in_ten_thousand: u64) -> bool {
        in_ten_thousand > 0 && self.clock.fraction() * 10_000.0 < in_ten_thousand as f64
    }

    fn up_to_ms(&self, most: u64) -> Duration {
        Duration::from_millis((self.clock.fraction() * (most + 1) as f64) as u64)
    }

    /// How long one message is on its way.
    fn delay(&self) -> Duration {
        let weather = self.weather();
        match self.chance(weather.stalls) {
            true => self.up_to_ms(weather.stall_ms_max),
            false => self.up_to_ms(weather.delay_ms_max),
        }
    }

    async fn until(&self, due: Moment) {
        let left = due.since(self.clock.now());
        if !left.is_zero() {
            self.clock.sleep(left).await;
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
    }
}

/// The road of one process to the server.
#[derive(Clone)]
pub struct Network(Arc<Road>);

struct Road {
    core: Arc<Core>,
    is_dead: AtomicBool,
    is_held: AtomicBool,
    released: Notify,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Network {
    /// The process is stopped: what comes waits outside, and nothing leaves.
    pub fn hold(&self) {
        self.0.is_held.store(true, Ordering::Release);
    }

    /// The process runs on.
    pub fn release(&self) {
        self.0.is_held.store(false, Ordering::Release);
        self.0.released.notify_waiters();
    }

    /// The process is gone: what it has sent arrives, and nothing else ever leaves or comes.
    pub fn kill(&self) {
        self.0.is_dead.store(true, Ordering::Release);
        self.release();
    }
}

impl Road {
    fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Acquire)
    }

    /// Ends when the process runs.
    async fn runs(&self) {
        loop {
            let mut released = pin!(self.released.notified());
            released.as_mut().enable();
            if !self.is_held.load(Ordering::Acquire) {
                return;
            }
            released.await;
        }
    }
}

/// How a handle uses its road.
pub(crate) struct Settings {
    pub(crate) bound: Duration,
    pub(crate) deadline: Duration,
    pub(crate) end_deadline: Duration,
    pub(crate) connect_deadline: Duration,
}

/// The far side at the other end of a [`Network`].
pub(crate) struct DrawnFar {
    tracked: Arc<Supervisor>,
    untracked: Arc<Supervisor>,
    end_deadline: Duration,
    /// The two supervisors' tasks; they stop with `close`, or with this.
    tasks: Mutex<JoinSet<()>>,
}

impl DrawnFar {
    pub(crate) async fn open(
        network: &Network,
        settings: &Settings,
        app: &str,
        changes: Changes,
        clock: Clock,
        observe: Observe,
    ) -> DrawnFar {
        let terms = supervisor::Terms {
            road: network.0.clone(),
            app: Arc::from(app),
            bound: settings.bound,
            deadline: settings.deadline,
            connect_deadline: settings.connect_deadline,
            clock,
            observe,
            changes,
        };
        let tracked = Supervisor::new(Role::Tracked, terms.clone());
        let untracked = Supervisor::new(Role::Untracked, terms);
        let mut tasks = JoinSet::new();
        for supervisor in [&tracked, &untracked] {
            let first = supervisor.connect().await;
            if let Some(line) = &first {
                supervisor.resume(line);
            }
            tasks.spawn(supervisor.clone().run(first));
        }
        let end_deadline = settings.end_deadline;
        DrawnFar { tracked, untracked, end_deadline, tasks: Mutex::new(tasks) }
    }
}

impl Far for DrawnFar {
    fn link(&self) -> Result<Arc<dyn Link>, FarError> {
        Ok(self.tracked.line()?)
    }

    fn end<'a>(&'a self, ended: &'a [Ended], soft: SoftHalf) -> Reply<'a, ()> {
        Box::pin(async move {
            let (line, ended) = (self.untracked.line()?, ended.to_vec());
            line.end(ended, soft, self.end_deadline).await
        })
    }

    fn guard<'a>(
        &'a self,
        keys: &'a [Key],
        token: Token,
        time: Duration,
    ) -> Reply<'a, Incarnation> {
        Box::pin(async move {
            let line = self.untracked.line()?;
            line.guard(keys.to_vec(), token, time, self.end_deadline).await
        })
    }

    fn finish<'a>(&'a self, finish: Finish<'a>) -> Reply<'a, bool> {
        Box::pin(async move { self.untracked.line()?.finish(finish, self.end_deadline).await })
    }

    fn put<'a>(&'a self, key: &'a Key, envelope: &'a [u8], keep: Duration) -> Reply<'a, bool> {
        Box::pin(async move {
            let line = self.untracked.line()?;
            line.put(key.clone(), envelope.to_vec(), keep, self.end_deadline).await
        })
    }

    fn discard<'a>(&'a self, keys: &'a [Key]) -> Reply<'a, ()> {
        Box::pin(async move { self.untracked.line()?.discard(keys.to_vec()).await })
    }

    fn is_back(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.untracked.is_up())
    }

    fn close(&self) {
        self.tasks.lock().abort_all();
        self.tracked.shut();
        self.untracked.shut();
    }
}
