//! How the one handle is opened: the one place where its defaults are written down.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{Inner, Larder};
use crate::clock::{Clock, SECOND};
use crate::coordination::flight::Flights;
use crate::coordination::lease::Leases;
use crate::error::{Error, ErrorKind};
#[cfg(feature = "structures")]
use crate::far::members::Members;
use crate::far::memory::{MemoryFar, Shelf};
use crate::far::{Changes, Far};
use crate::invalidation::replay::Replay;
use crate::invalidation::{Ends, coherence};
use crate::key::Namespace;
use crate::near::Near;
use crate::observe::{Observe, Observer};
use crate::policy::AfterFailover;
use crate::resilience::behind::{BEHIND_MAX, Behind, WRITES_MAX};
use crate::strategy::{Loads, Tiers};
#[cfg(feature = "structures")]
use crate::structures::{Ground, Shelves, Side};

/// Each is looked at ten times a second.
const WARM_KEYS_MOST: usize = 1 << 20;
/// How often near gives back the memory of what is past its time.
const SWEEP: Duration = Duration::from_secs(30);

/// Settles how a [`Larder`] works. Every default is here.
#[must_use]
pub struct LarderBuilder {
    app: String,
    redis: Option<String>,
    #[cfg(feature = "redis")]
    credentials: Option<crate::redis::Ask>,
    #[cfg(feature = "redis")]
    sentinel_credentials: Option<crate::redis::Ask>,
    #[cfg(feature = "redis")]
    address_map: Option<crate::redis::AddressMap>,
    #[cfg(feature = "tls")]
    tls: Option<crate::redis::Tls>,
    #[cfg(feature = "redis")]
    breaker: crate::policy::BreakerSettings,
    connect_deadline: Duration,
    tcp_keepalive: Duration,
    required: bool,
    after_failover: AfterFailover,
    bound: Duration,
    far_deadline: Duration,
    invalidate_deadline: Duration,
    lease_time: Duration,
    near_bytes_max: u64,
    warm_keys_max: usize,
    memory_bytes_max: usize,
    observer: Option<Arc<dyn Observer>>,
    #[cfg(feature = "test-support")]
    shelf: Option<crate::far::contract::SharedMemory>,
    #[cfg(feature = "test-support")]
    network: Option<crate::far::drawn::Network>,
    #[cfg(feature = "test-support")]
    clock: Option<Clock>,
}

/// Without its settings: the address may hold a password.
impl std::fmt::Debug for LarderBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LarderBuilder").field("app", &self.app).finish_non_exhaustive()
    }
}

impl LarderBuilder {
    pub(super) fn new(app: String) -> LarderBuilder {
        LarderBuilder {
            app,
            redis: None,
            #[cfg(feature = "redis")]
            credentials: None,
            #[cfg(feature = "redis")]
            sentinel_credentials: None,
            #[cfg(feature = "redis")]
            address_map: None,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "redis")]
            breaker: crate::policy::BreakerSettings::new(),
            connect_deadline: SECOND,
            tcp_keepalive: 30 * SECOND,
            required: false,
            after_failover: AfterFailover::default(),
            bound: SECOND,
            far_deadline: Duration::from_millis(50),
            invalidate_deadline: SECOND,
            lease_time: 3 * SECOND,
            near_bytes_max: 64 << 20,
            warm_keys_max: 4096,
            memory_bytes_max: 256 << 20,
            observer: None,
            #[cfg(feature = "test-support")]
            shelf: None,
            #[cfg(feature = "test-support")]
            network: None,
            #[cfg(feature = "test-support")]
            clock: None,
        }
    }

    /// The far side is Redis, 7.0 or newer. Without it the far side is in this process, and dies with it.
    ///
    /// | URL | reaches it |
    /// |---|---|
    /// | `redis://user:password@host:6379/0` | over TCP; all but the host may be left out |
    /// | `rediss://user:password@host:6379/0` | over TLS, with the feature `tls` |
    /// | `redis+unix:///run/redis.sock?db=0&user=..&pass=..` | over a unix socket; all but the path may be left out |
    /// | `redis+sentinel://user:password@host:26379,host:26379/master-name/0` | over TCP, whoever is master; one sentinel that answers is enough, the rest are found. `?sentinel_user=..&sentinel_pass=..` is the login of the sentinels |
    /// | `rediss+sentinel://..` | the same over TLS, to sentinels and master |
    /// | `redis+cluster://user:password@host:6379,host:6379` | a cluster, by any of its nodes; `rediss+cluster://` over TLS |
    ///
    /// What is special in a URL is percent-encoded in user name and password: `@` is `%40`, `/` is `%2F`.
    /// Neither is ever part of an error or a line in the log.
    ///
    /// Where nobody listens larder starts all the same, asks loaders, and keeps trying; see
    /// [`require_far`](Self::require_far).
    #[cfg(feature = "redis")]
    pub fn redis(mut self, url: impl Into<String>) -> LarderBuilder {
        self.redis = Some(url.into());
        self
    }

    /// Asks `ask` who we are, before each connection that is made: a password that is changed while the
    /// service runs is used from the next one on. The URL then names neither user nor password.
    ///
    /// It may take ten seconds. When it fails, or what it gives is refused while the service runs, it is asked
    /// again, with growing pauses of at most two seconds. Its error is logged: keep secrets out of it.
    ///
    /// ```
    /// # async fn from_vault() -> Result<String, std::io::Error> { Ok("s3cret".into()) }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
    /// use larder::{Credentials, Larder};
    ///
    /// let builder = Larder::builder("shop").redis("redis://127.0.0.1:1/0").redis_credentials(|| async {
    ///     Ok::<_, std::io::Error>(Credentials::password(from_vault().await?).user("shop"))
    /// });
    /// let larder = builder.open().await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "redis")]
    pub fn redis_credentials<F, Asking, E>(mut self, ask: F) -> LarderBuilder
    where
        F: Fn() -> Asking + Send + Sync + 'static,
        Asking: Future<Output = Result<crate::redis::Credentials, E>> + Send + 'static,
        E: Into<crate::source::BoxError> + 'static,
    {
        self.credentials = Some(Arc::new(move || {
            let asking = ask();
            Box::pin(async move { asking.await.map_err(Into::into) })
        }));
        self
    }

    /// As [`redis_credentials`](Self::redis_credentials), for the sentinels of a `redis+sentinel://` URL: they
    /// have users of their own. The URL then has neither `sentinel_user=` nor `sentinel_pass=`.
    #[cfg(feature = "redis")]
    pub fn sentinel_credentials<F, Asking, E>(mut self, ask: F) -> LarderBuilder
    where
        F: Fn() -> Asking + Send + Sync + 'static,
        Asking: Future<Output = Result<crate::redis::Credentials, E>> + Send + 'static,
        E: Into<crate::source::BoxError> + 'static,
    {
        self.sentinel_credentials = Some(Arc::new(move || {
            let asking = ask();
            Box::pin(async move { asking.await.map_err(Into::into) })
        }));
        self
    }

    /// Where servers are to be reached that call themselves by an address which means nothing here: behind
    /// NAT, or in a network of containers. `map` is given the host and the port by which sentinels know a
    /// master or one another, or by which nodes of a cluster do, and gives those to dial. It must be quick, and
    /// must not block.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
    /// let builder = larder::Larder::builder("shop")
    ///     .redis("redis+cluster://127.0.0.1:1")
    ///     .redis_address_map(|host, port| match host {
    ///         "10.0.0.7" => ("redis-a.example".into(), port),
    ///         host => (host.into(), port),
    ///     });
    /// # builder.open().await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "redis")]
    pub fn redis_address_map(
        mut self,
        map: impl Fn(&str, u16) -> (String, u16) + Send + Sync + 'static,
    ) -> LarderBuilder {
        // A panic of theirs would end the task that dials, for good.
        let map = move |host: &str, port: u16| {
            let mapping = std::panic::AssertUnwindSafe(|| map(host, port));
            std::panic::catch_unwind(mapping).unwrap_or_else(|_| {
                tracing::error!(
                    host,
                    port,
                    "redis_address_map panicked: the address is taken as it is"
                );
                (host.to_owned(), port)
            })
        };
        self.address_map = Some(Arc::new(map));
        self
    }

    /// Whom a `rediss://` connection trusts, and what it shows of itself. What the operating system
    /// trusts, and nothing.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::redis::Tls) -> LarderBuilder {
        self.tls = Some(tls);
        self
    }

    /// How long a connection to Redis may take to be made, and then to answer for the first time. One
    /// second; from 10 ms to a minute. More if Redis is far away; no read waits for it.
    #[cfg(feature = "redis")]
    pub fn connect_deadline(mut self, deadline: Duration) -> LarderBuilder {
        self.connect_deadline = deadline;
        self
    }

    /// After how long a silence the operating system probes a TCP connection to Redis. 30 seconds; from one
    /// second to two hours. It is for what stands between and forgets silent connections: that Redis is gone
    /// is noticed by heartbeat, within the [`bound`](Self::bound).
    #[cfg(feature = "redis")]
    pub fn tcp_keepalive(mut self, after: Duration) -> LarderBuilder {
        self.tcp_keepalive = after;
        self
    }

    /// Makes it an error to open while nobody listens.
    pub fn require_far(mut self) -> LarderBuilder {
        self.required = true;
        self
    }

    /// Whether what another Redis process kept is believed. [`AfterFailover::Distrust`]; accept it only where a
    /// cold cache would do more harm than an old value. All processes of a fleet should choose alike: what a
    /// process that accepts has stored, one that does not loads anew.
    pub fn after_failover(mut self, choice: AfterFailover) -> LarderBuilder {
        self.after_failover = choice;
        self
    }

    /// The bound B: how old a near copy may be when every message is lost. One second; from 100 ms to
    /// a minute. A heartbeat goes out four times in it, so a short one costs traffic, a long one staleness
    /// in a network that swallows messages.
    pub fn bound(mut self, bound: Duration) -> LarderBuilder {
        self.bound = bound;
        self
    }

    /// How long one far call of a read may take before the loader is asked instead. 50 ms; more only
    /// if your network is slow, since this is what a hanging Redis adds to a read.
    pub fn far_deadline(mut self, deadline: Duration) -> LarderBuilder {
        self.far_deadline = deadline;
        self
    }

    /// When Redis is left alone for a while because it fails or is slow, and when it is asked again. On: it opens
    /// when half of at least 20 calls in ten seconds failed, or all of them were slow, and tries ten calls after
    /// five seconds; where these numbers come from is said at [`BreakerSettings`](crate::BreakerSettings).
    ///
    /// While it is open, reads do not wait for Redis: near serves what heartbeats prove, then the loader is
    /// asked, once in this process. An invalidation is [`ErrorKind::Unconfirmed`] at once, and is sent by the
    /// queue without waiting for the breaker.
    #[cfg(feature = "redis")]
    pub fn breaker(mut self, settings: crate::policy::BreakerSettings) -> LarderBuilder {
        self.breaker = settings;
        self
    }

    /// How long an invalidation or a put waits to be confirmed before it is
    /// [`ErrorKind::Unconfirmed`]. One second.
    pub fn invalidate_deadline(mut self, deadline: Duration) -> LarderBuilder {
        self.invalidate_deadline = deadline;
        self
    }

    /// How long a lease outlives a loader that died. Three seconds; renewed every third while the
    /// loader runs. Shorter replaces the dead sooner, and survives shorter pauses of the living.
    pub fn lease_time(mut self, time: Duration) -> LarderBuilder {
        self.lease_time = time;
        self
    }

    /// What near may weigh: encoded values and about 250 bytes each. 64 MiB.
    pub fn near_bytes_max(mut self, bytes: u64) -> LarderBuilder {
        self.near_bytes_max = bytes;
        self
    }

    /// How many keys this process [keeps warm](crate::RefreshAhead::keep_warm), over all its caches. 4,096, at most a
    /// million. Each costs a look ten times a second and what its source view holds; past this further ones are
    /// renewed only when they are read.
    pub fn warm_keys_max(mut self, keys: usize) -> LarderBuilder {
        self.warm_keys_max = keys;
        self
    }

    /// What the embedded far side may weigh. 256 MiB. With Redis it is Redis' `maxmemory` that counts.
    pub fn memory_bytes_max(mut self, bytes: usize) -> LarderBuilder {
        self.memory_bytes_max = bytes;
        self
    }

    /// Hears of everything that happens.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> LarderBuilder {
        self.observer = Some(observer);
        self
    }

    /// The embedded far side is one that other handles of this process use too, as if each were a
    /// process of its own.
    #[cfg(feature = "test-support")]
    pub fn shared_memory(mut self, memory: &crate::far::contract::SharedMemory) -> LarderBuilder {
        self.clock = Some(memory.clock().clone());
        self.shelf = Some(memory.clone());
        self
    }

    /// The far side is at the other end of a network that is drawn from a seed: for simulations, on one
    /// thread with a paused clock.
    #[cfg(feature = "test-support")]
    #[doc(hidden)]
    pub fn network(mut self, network: &crate::far::drawn::Network) -> LarderBuilder {
        self.network = Some(network.clone());
        self
    }

    /// A clock that you own.
    #[cfg(feature = "test-support")]
    pub fn clock(mut self, clock: Clock) -> LarderBuilder {
        self.clock = Some(clock);
        self
    }

    fn check(&self) -> Result<(), Error> {
        let milli = Duration::from_millis(1);
        let within = |name: &str, time: Duration, least: Duration, most: Duration| {
            if time >= least && time <= most {
                return Ok(());
            }
            let text = format!("{name} is from {least:?} to {most:?}, not {time:?}");
            Err(Error::new(ErrorKind::Config, text))
        };
        within("bound", self.bound, 100 * milli, 60 * SECOND)?;
        within("far_deadline", self.far_deadline, milli, 60 * SECOND)?;
        within("invalidate_deadline", self.invalidate_deadline, milli, 60 * SECOND)?;
        within("connect_deadline", self.connect_deadline, 10 * milli, 60 * SECOND)?;
        within("tcp_keepalive", self.tcp_keepalive, SECOND, 7200 * SECOND)?;
        within("lease_time", self.lease_time, 100 * milli, 600 * SECOND)?;
        if self.warm_keys_max > WARM_KEYS_MOST {
            let (most, keys) = (WARM_KEYS_MOST, self.warm_keys_max);
            let text = format!("warm_keys_max is at most {most}, not {keys}");
            return Err(Error::new(ErrorKind::Config, text));
        }
        if self.near_bytes_max < 1024 || self.memory_bytes_max < 1024 {
            let text = "near_bytes_max and memory_bytes_max are at least 1024";
            return Err(Error::new(ErrorKind::Config, text));
        }
        if self.required && self.redis.is_none() {
            let text = "require_far asks for a far side outside this process: give the builder a redis URL";
            return Err(Error::new(ErrorKind::Config, text));
        }
        #[cfg(feature = "redis")]
        self.breaker.check()?;
        #[cfg(feature = "redis")]
        if self.redis.is_none() && self.credentials.is_some() {
            let text = "redis_credentials are for Redis: give the builder a redis URL";
            return Err(Error::new(ErrorKind::Config, text));
        }
        #[cfg(feature = "tls")]
        if self.redis.is_none() && self.tls.is_some() {
            let text = "tls is for Redis: give the builder a rediss:// URL";
            return Err(Error::new(ErrorKind::Config, text));
        }
        Namespace::new(&self.app, "any", 1).map(drop)
    }

    fn make_clock(&self) -> Result<Clock, Error> {
        #[cfg(feature = "test-support")]
        if let Some(clock) = &self.clock {
            return Ok(clock.clone());
        }
        Clock::system()
    }

    /// Connects, and starts.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for what will not pass by itself, with what to do: a wrong URL, password
    /// or database, a certificate that is refused, a server below 7.0, something that is not Redis; and when called outside a tokio
    /// runtime. [`ErrorKind::Far`] when nobody listens and [`require_far`](Self::require_far) was said.
    pub async fn open(self) -> Result<Larder, Error> {
        self.check()?;
        let runtime = Handle::try_current().map_err(|_| {
            Error::new(ErrorKind::Config, "larder must be opened inside a tokio runtime")
        })?;
        let clock = self.make_clock()?;
        let near = Arc::new(Near::new(self.near_bytes_max, &clock));
        let flights = Flights::new(self.bound, clock.clone(), runtime.clone());
        let observe = Observe::new(self.observer.clone());
        let waiting = Arc::new(Notify::new());
        let replay = Arc::new(Replay::new(self.after_failover, waiting.clone()));
        let changes =
            coherence::listener(near.clone(), flights.clone(), replay.clone(), clock.clone());
        let Opened {
            far,
            #[cfg(feature = "structures")]
            side,
        } = self.open_far(changes, &clock, &observe).await?;
        #[cfg(feature = "structures")]
        let (members, to_do) = Members::new(
            &self.app,
            #[cfg(feature = "redis")]
            side.commands(),
            far.clone(),
            clock.clone(),
        )?;
        let behind = Behind::new(BEHIND_MAX, runtime.clone());
        let leases = Leases::new(self.lease_time, flights.clone(), &clock, behind.clone());
        let leases = Arc::new(leases);
        let ends = Ends {
            near: near.clone(),
            flights: flights.clone(),
            far: far.clone(),
            observe: observe.clone(),
            clock: clock.clone(),
            behind,
            writes: Behind::new(WRITES_MAX, runtime.clone()),
            waiting,
            replay,
            resending: Arc::default(),
            under_way: Arc::default(),
            #[cfg(feature = "structures")]
            members: members.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(ends.clone().send_again());
        tasks.spawn(sweep(Arc::downgrade(&near), clock.clone()));
        #[cfg(feature = "structures")]
        {
            tasks.spawn(members.clone().write_down(to_do.to_note));
            tasks.spawn(members.free(to_do.to_free));
        }
        let loads = Loads::new(self.warm_keys_max, clock.clone(), runtime.clone());
        let (app, bound) = (self.app, self.bound);
        #[cfg(feature = "structures")]
        let ground = Ground::new(&app, side, clock.clone());
        let tiers = Tiers {
            near,
            far,
            flights,
            leases,
            loads,
            observe,
            clock,
            runtime,
            #[cfg(feature = "structures")]
            members: None,
        };
        let (caches, tasks) = (Mutex::default(), Mutex::new(tasks));
        Ok(Larder {
            inner: Arc::new(Inner {
                app,
                tiers,
                ends,
                bound,
                #[cfg(feature = "structures")]
                ground,
                caches,
                tasks,
                workers: Arc::default(),
            }),
        })
    }

    async fn open_far(
        &self,
        changes: Changes,
        clock: &Clock,
        observe: &Observe,
    ) -> Result<Opened, Error> {
        #[cfg(feature = "redis")]
        if let Some(url) = &self.redis {
            let settings = crate::far::redis::Settings {
                wishes: crate::redis::Wishes {
                    url: url.clone(),
                    credentials: self.credentials.clone(),
                    sentinel_credentials: self.sentinel_credentials.clone(),
                    address_map: self.address_map.clone(),
                    #[cfg(feature = "tls")]
                    tls: self.tls.clone(),
                    patience: self.connect_deadline,
                    keepalive: self.tcp_keepalive,
                },
                bound: self.bound,
                deadline: self.far_deadline,
                end_deadline: self.invalidate_deadline,
                required: self.required,
                after_failover: self.after_failover,
                breaker: self.breaker.clone(),
                #[cfg(feature = "structures")]
                scripts: crate::structures::SCRIPTS,
                #[cfg(not(feature = "structures"))]
                scripts: &[],
            };
            let opening = crate::far::redis::open(
                settings,
                &self.app,
                changes,
                clock.clone(),
                observe.clone(),
            );
            let opened = opening.await?;
            return Ok(Opened {
                far: opened.far,
                #[cfg(feature = "structures")]
                side: Side::Redis(opened.commands),
            });
        }
        #[cfg(feature = "test-support")]
        if let Some(network) = &self.network {
            use crate::far::drawn::{DrawnFar, Settings};
            let settings = Settings {
                bound: self.bound,
                deadline: self.far_deadline,
                end_deadline: self.invalidate_deadline,
                connect_deadline: self.connect_deadline,
            };
            let (clock, observe) = (clock.clone(), observe.clone());
            let opening = DrawnFar::open(network, &settings, &self.app, changes, clock, observe);
            return Ok(Opened::in_memory(Arc::new(opening.await)));
        }
        let _ = observe;
        #[cfg(feature = "test-support")]
        if let Some(memory) = &self.shelf {
            let far = MemoryFar::new(memory.shelf().clone(), &self.app, changes);
            return Ok(Opened::in_memory(Arc::new(far)));
        }
        let shelf = Shelf::new(self.memory_bytes_max, clock.clone());
        Ok(Opened::in_memory(Arc::new(MemoryFar::new(shelf, &self.app, changes))))
    }
}

/// The shared side, and where structures are.
struct Opened {
    far: Arc<dyn Far>,
    #[cfg(feature = "structures")]
    side: Side,
}

impl Opened {
    fn in_memory(far: Arc<dyn Far>) -> Opened {
        Opened {
            far,
            #[cfg(feature = "structures")]
            side: Side::Memory(Shelves::default()),
        }
    }
}

/// Slowly: what is past its time is not served anyway.
async fn sweep(near: std::sync::Weak<Near>, clock: Clock) {
    loop {
        clock.sleep(SWEEP).await;
        let Some(near) = near.upgrade() else { return };
        near.sweep(clock.now());
    }
}
