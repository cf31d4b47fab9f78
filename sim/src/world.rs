//! One seed, from its first line to its last: a server, a fleet on it, and what befalls them.
//!
//! Everything runs on one thread under a paused clock: when all wait, the clock goes on to the next who is
//! due. Time and chance come from the seed, each party with lots of its own, so the same seed is the same
//! run, line by line.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder::drawn::{Network, Server, Weather};
use larder::observe::{Event, Observer};
use larder::{Cache, CacheBuilder, Clock, Compression, Larder, Lifetime, Stale, Tag, UserCache};
use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::chance::Chance;
use crate::faults;
use crate::history::{Fault, History, Life, Pen, Stop, Thing, Value, What, Written};
use crate::plan::{BACKOFF, FAR_DEADLINE, Lives, Plan};
use crate::workload;

/// More than any of the plans writes.
const SERVER_BYTES: usize = 64 << 20;

/// How long a fleet may take, in calm weather, to have every end confirmed: longer than any pause between tries.
const CLEARED: Duration = Duration::from_secs(10);

/// What a seed came to: its history, and what was found wrong while it ran.
pub(crate) struct Run {
    pub(crate) history: History,
    pub(crate) found: Vec<String>,
}

/// The whole of it.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) pen: Pen,
    pub(crate) server: Server,
    versions: Mutex<Vec<u64>>,
    processes: Mutex<Vec<Option<Process>>>,
    lives: Mutex<Vec<usize>>,
    is_over: AtomicBool,
    found: Mutex<Vec<String>>,
}

/// One process, from outside.
struct Process {
    inside: Arc<Inside>,
    network: Network,
    clients: JoinSet<()>,
}

/// One process, as its own code sees it.
pub(crate) struct Inside {
    pub(crate) life: Life,
    pub(crate) larder: Larder,
    pub(crate) items: Cache<u64, String>,
    pub(crate) mine: UserCache<u64, String>,
    pub(crate) pots: Cache<u64, String>,
    pub(crate) gate: Arc<Gate>,
}

/// Whether a process runs.
#[derive(Default)]
pub(crate) struct Gate {
    is_paused: AtomicBool,
    is_dead: AtomicBool,
    opened: Notify,
}

impl Gate {
    /// Ends when it does. A dead one never runs again.
    pub(crate) async fn runs(&self) {
        loop {
            let mut opened = pin!(self.opened.notified());
            opened.as_mut().enable();
            if self.is_dead.load(Ordering::Acquire) {
                std::future::pending::<()>().await;
            }
            if !self.is_paused.load(Ordering::Acquire) {
                return;
            }
            opened.await;
        }
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        sleep(time).await;
        self.runs().await;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // One thread: a panic that poisoned it has been told already.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a seed to its end.
pub(crate) fn run(plan: &Plan) -> Run {
    let runtime = match Builder::new_current_thread().enable_time().start_paused(true).build() {
        Ok(runtime) => runtime,
        Err(why) => {
            return Run { history: History::default(), found: vec![format!("no runtime: {why}")] };
        }
    };
    runtime.block_on(async {
        let world = World::new(plan);
        world.live().await;
        let left = world.end().await;
        let history = world.pen.take();
        let mut found = std::mem::take(&mut *locked(&world.found));
        found.extend(left);
        Run { history, found }
    })
}

impl World {
    fn new(plan: &Plan) -> Arc<World> {
        let (pen, clock) = (Pen::new(), Clock::of_runtime(plan.seed));
        let server = Server::new(SERVER_BYTES, clock, plan.weather);
        let seen = pen.clone();
        server.on_write(move |name, bytes, keep| {
            // Less than a millisecond is something.
            let keep_ms = u64::try_from(keep.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
            seen.note(What::Written { what: written(name, bytes), keep_ms });
        });
        Arc::new(World {
            plan: plan.clone(),
            pen,
            server,
            versions: Mutex::new(vec![0; plan.things()]),
            processes: Mutex::new((0..plan.processes).map(|_| None).collect()),
            lives: Mutex::new(vec![0; plan.processes]),
            is_over: AtomicBool::new(false),
            found: Mutex::default(),
        })
    }

    async fn live(self: &Arc<World>) {
        for process in 0..self.plan.processes {
            self.start(process).await;
        }
        let faults = tokio::spawn(faults::befall(self.clone()));
        sleep(self.plan.length).await;
        self.is_over.store(true, Ordering::Release);
        if timeout(Duration::from_secs(60), faults).await.is_err() {
            self.find("the faults did not end".to_owned());
        }
    }

    /// Closes everything, and says what was left over.
    async fn end(self: &Arc<World>) -> Vec<String> {
        let mut left = Vec::new();
        // The weather clears: what waited to be sent again must arrive now.
        self.server.set_weather(Weather { delay_ms_max: 1, ..Weather::default() });
        let processes: Vec<_> = locked(&self.processes).iter_mut().map(Option::take).collect();
        for mut process in processes.into_iter().flatten() {
            let life = process.inside.life;
            let ending = async {
                let mut panics = 0;
                while let Some(ended) = process.clients.join_next().await {
                    panics += usize::from(ended.is_err_and(|why| why.is_panic()));
                }
                panics
            };
            match timeout(self.plan.patience(), ending).await {
                Ok(0) => {}
                Ok(panics) => left.push(format!("G7: {panics} callers in {life:?} panicked")),
                Err(_) => {
                    left.push(format!("G7: a call in {life:?} has no answer"));
                    process.clients.abort_all();
                }
            }
            let unconfirmed = process.inside.larder.close(CLEARED).await;
            if unconfirmed > 0 {
                left.push(format!("{unconfirmed} ends in {life:?} are never confirmed"));
            }
            self.pen.note(What::Stops(life, Stop::Close));
        }
        // What is kept longest, and as much as the server's clock may have been set back.
        sleep(self.plan.tag_time() + Duration::from_secs(900)).await;
        for (name, keeps) in self.server.names() {
            let name = String::from_utf8_lossy(&name).into_owned();
            left.push(format!("G6: {name} is still there, for {keeps:?}"));
        }
        match Handle::current().metrics().num_alive_tasks() {
            0 => {}
            tasks => left.push(format!("{tasks} tasks are left after everything was closed")),
        }
        left
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    pub(crate) fn find(&self, what: String) {
        locked(&self.found).push(what);
    }

    /// What the source knows of a thing.
    pub(crate) fn version(&self, thing: Thing) -> u64 {
        locked(&self.versions)[thing]
    }

    /// The source is told of something new.
    pub(crate) fn commit(&self, thing: Thing) -> u64 {
        let mut versions = locked(&self.versions);
        versions[thing] += 1;
        versions[thing]
    }

    /// A process begins, or begins again.
    pub(crate) async fn start(self: &Arc<World>, process: usize) {
        let number = {
            let mut lives = locked(&self.lives);
            lives[process] += 1;
            lives[process]
        };
        let life = Life { process, number };
        let network = self.server.network();
        match self.open(life, &network).await {
            Ok(inside) => {
                self.pen.note(What::Starts(life));
                let inside = Arc::new(inside);
                let mut clients = JoinSet::new();
                for client in 0..self.plan.clients {
                    let who = ((process << 16) + (number << 8) + client + 1_000) as u64;
                    let draw = Chance::of(self.plan.seed, who);
                    clients.spawn(workload::client(self.clone(), inside.clone(), draw));
                }
                locked(&self.processes)[process] = Some(Process { inside, network, clients });
            }
            Err(why) => self.find(format!("{life:?} cannot begin: {why}")),
        }
    }

    async fn open(&self, life: Life, network: &Network) -> Result<Inside, larder::Error> {
        let plan = &self.plan;
        let who = ((life.process << 8) + life.number + 10) as u64;
        let clock = Clock::of_runtime(Chance::of(plan.seed, who).next());
        let larder = Larder::builder("sim")
            .network(network)
            .clock(clock)
            .bound(plan.bound)
            .far_deadline(FAR_DEADLINE)
            .invalidate_deadline(plan.end_deadline)
            .lease_time(plan.lease)
            .near_bytes_max(plan.near_bytes)
            .observer(Arc::new(Ear { life, pen: self.pen.clone() }))
            .open()
            .await?;
        let (fresh, whole) = plan.lifetime();
        let lifetime = Lifetime::fresh_for(fresh).stale_for(whole - fresh).none_for(fresh);
        let stale = match plan.lives {
            Lives::StaleInNeed => Stale::InNeed,
            _ => Stale::AtOnce,
        };
        let as_planned = |cache: CacheBuilder<u64, String>| {
            let cache = cache.lifetime(lifetime).stale(stale).max_load(plan.max_load);
            let cache = cache.backoff(BACKOFF).guard_time(plan.guard);
            cache.compression(Compression::none())
        };
        let tags = plan.tags as u64;
        Ok(Inside {
            life,
            items: as_planned(larder.cache("items"))
                .tagged_by(move |key: &u64| [tag((key % tags) as usize)])
                .shared()?,
            mine: as_planned(larder.cache("mine")).per_user()?,
            pots: as_planned(larder.cache("pots")).shared()?,
            larder,
            gate: Arc::default(),
        })
    }

    /// A process ends at a stroke: nothing of it runs any more, and nothing it has not sent is sent.
    pub(crate) fn crash(&self, process: usize) -> bool {
        let Some(mut process) = locked(&self.processes)[process].take() else { return false };
        self.pen.note(What::Stops(process.inside.life, Stop::Crash));
        process.network.kill();
        process.inside.gate.is_dead.store(true, Ordering::Release);
        process.clients.abort_all();
        true
    }

    /// Nothing of it runs until [`resume`](Self::resume); its clock goes on.
    pub(crate) fn pause(&self, process: usize) -> bool {
        let processes = locked(&self.processes);
        let Some(process) = &processes[process] else { return false };
        process.inside.gate.is_paused.store(true, Ordering::Release);
        process.network.hold();
        self.pen.note(What::Fault(Fault::Pause(process.inside.life)));
        true
    }

    pub(crate) fn resume(&self, process: usize) {
        let processes = locked(&self.processes);
        let Some(process) = &processes[process] else { return };
        self.pen.note(What::Fault(Fault::Resume(process.inside.life)));
        // Its clients first: what they are served they are served before it knows how long it has slept.
        process.inside.gate.is_paused.store(false, Ordering::Release);
        process.inside.gate.opened.notify_waiters();
        process.network.release();
    }
}

pub(crate) fn tag(number: usize) -> Tag {
    Tag::new(format!("t{number}"))
}

struct Ear {
    life: Life,
    pen: Pen,
}

impl Observer for Ear {
    fn event(&self, event: &Event<'_>) {
        if let Event::Confirmed { waiting: 0 } = event {
            self.pen.note(What::Confirmed(self.life));
        }
    }
}

/// A value as text: what it is can be read off the bytes that the server holds.
pub(crate) fn text(value: Value) -> String {
    format!("@{:08}/{:08}/{:08}@", value.birth, value.thing, value.version)
}

pub(crate) fn value(text: &str) -> Option<Value> {
    let inner = text.strip_prefix('@')?.strip_suffix('@')?;
    let mut parts = inner.split('/').map(str::parse::<usize>);
    let mut next = || parts.next()?.ok();
    Some(Value { birth: next()?, thing: next()?, version: next()? as u64 })
}

/// As long as every text is.
const TEXT_BYTES: usize = 28;

/// Where an envelope says that it was ended softly: see the page on the wire format.
const FLAGS: usize = 2;
const SOFT_EXPIRED: u8 = 0x80;

fn written(name: &[u8], bytes: &[u8]) -> Written {
    let is = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    if is(b":t:{") {
        return Written::Generation;
    }
    if is(b":l:{") {
        return match bytes.first() {
            Some(b'W') => Written::Guards,
            Some(b'T') => Written::Lease,
            Some(b'E') => Written::Failure,
            _ => Written::Other,
        };
    }
    let texts = bytes.windows(TEXT_BYTES).filter_map(|text| std::str::from_utf8(text).ok());
    let is_marked = bytes.get(FLAGS).is_some_and(|flags| flags & SOFT_EXPIRED != 0);
    match texts.filter_map(value).next() {
        Some(value) if is_marked => Written::Marked(value),
        Some(value) => Written::Value(value),
        None => Written::Other,
    }
}
