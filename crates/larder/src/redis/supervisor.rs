//! One connection kept alive.
//!
//! A task of its own dials, watches, and dials again: the first try at once, then with growing,
//! jittered pauses of at most two seconds, for as long as the process lives. A heartbeat (`TIME`)
//! goes out four times in each bound B; one that is not answered within B ends the connection for
//! good, since a late answer would prove what is no longer so. With it goes the question what the
//! server may have [forgotten](super::forgotten) without telling us.
//!
//! Pushes are applied by the connection's own driver, inline and in wire order, before any later
//! reply is seen: they pass through no channel and no task. Nothing is lost with the task but the
//! connection; callers then find none, and ask the loader.
//!
//! Where it dials, and whether the server is still what it is taken for, its
//! [whereabouts](super::whereabouts) know.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Arg, Cmd, Pipeline, PushInfo, PushKind, RedisError, ServerErrorKind, Value, pipe};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

#[cfg(feature = "structures")]
use super::connect::Access;
use super::connect::{self, Dialled, Driver, NoConnection, Role, all, dial, server_ms};
use super::forgotten::Forgotten;
use super::reads::Reads;
use super::script::Script;
use super::whereabouts::{Spot, Whereabouts};
use crate::clock::{Clock, Moment, Pauses};
use crate::entry::Incarnation;
use crate::error::FarError;
use crate::observe::{Event, Observe};
use crate::policy::AfterFailover;
use crate::pulse::Pulse;
use crate::resilience::breaker::{Breaker, Fared, Ticket};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What the server pushed.
pub(crate) enum Pushed<'a> {
    /// A key that we had read was changed.
    Key(&'a [u8]),
    /// News may have been lost.
    Gap,
    /// The connection that ends entries is gone.
    Lost,
    /// Another server process than before answers, and is believed.
    Another,
}

/// How several names are read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// By a command for all.
    Together,
    /// By one for each: a node of a cluster takes no command whose names are in several slots.
    Apart,
}

/// What every connection of one process shares.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) whereabouts: Arc<dyn Whereabouts>,
    /// Tags stand under it.
    pub(crate) app: Arc<str>,
    pub(crate) scripts: Arc<[&'static Script]>,
    pub(crate) reading: Reading,
    /// The bound B.
    pub(crate) bound: Duration,
    /// How long one call may take.
    pub(crate) deadline: Duration,
    pub(crate) after_failover: AfterFailover,
    pub(crate) clock: Clock,
    pub(crate) observe: Observe,
    pub(crate) pushed: Arc<dyn Fn(Pushed<'_>) + Send + Sync>,
    /// Of the one server that all these connections lead to.
    pub(crate) breaker: Arc<Breaker>,
}

/// One connection, from its first heartbeat to its end.
pub(crate) struct Line {
    pub(super) me: Weak<Line>,
    connection: MultiplexedConnection,
    _driver: Driver,
    pub(crate) pulse: Arc<Pulse>,
    tracks: bool,
    /// The server process at its other end. It cannot become another within one connection.
    process: Incarnation,
    history: Option<String>,
    forgotten: Forgotten,
    /// Once is loud enough.
    said_gap: AtomicBool,
    /// When the last heartbeat that was answered was sent.
    heard: AtomicU64,
    /// The server's clock less ours, in milliseconds.
    ahead_ms: AtomicI64,
    lost: Arc<Notify>,
    pub(super) reads: Reads,
    pub(super) runtime: Handle,
    spot: Spot,
    terms: Terms,
}

impl Line {
    /// Would its breaker let a call through now?
    pub(crate) fn is_worth_asking(&self) -> bool {
        self.terms.breaker.admits()
    }

    /// All answers, a refusal among them, within `deadline`; nothing is sent while the breaker is open. Not
    /// believed when the word for the server has run out meanwhile.
    pub(crate) async fn ask(
        &self,
        pipeline: &Pipeline,
        deadline: Duration,
    ) -> Result<Vec<Value>, FarError> {
        let ticket = self.terms.breaker.admit().ok_or(FarError::TurnedAway)?;
        self.ask_under(ticket, pipeline, deadline).await
    }

    /// The same, for what must be sent whatever the breaker says: it hears what becomes of it.
    pub(crate) async fn insist(
        &self,
        pipeline: &Pipeline,
        deadline: Duration,
    ) -> Result<Vec<Value>, FarError> {
        self.ask_under(self.terms.breaker.note(), pipeline, deadline).await
    }

    async fn ask_under(
        &self,
        ticket: Ticket<'_>,
        pipeline: &Pipeline,
        deadline: Duration,
    ) -> Result<Vec<Value>, FarError> {
        let answers = self.ask_anyone(pipeline, deadline).await;
        ticket.fared(match &answers {
            Ok(answers) if answers.iter().any(serves_nothing) => Fared::Failed,
            Ok(_) => Fared::Answered,
            Err(FarError::Slow) => Fared::Late,
            Err(_) => Fared::Failed,
        });
        let answers = answers?;
        self.vouched()?;
        Ok(answers)
    }

    /// Past the breaker, and unheard by it: for what nobody waits for.
    pub(crate) async fn ask_aside(
        &self,
        pipeline: &Pipeline,
        deadline: Duration,
    ) -> Result<Vec<Value>, FarError> {
        let answers = self.ask_anyone(pipeline, deadline).await?;
        self.vouched()?;
        Ok(answers)
    }

    /// Somebody else says that the server is what it should be, and was asked after this connection was
    /// made: from now on it is believed, as far as its own heartbeats reach.
    pub(super) fn vouch(&self) {
        if !self.spot.vouched.is_given() {
            let heard = Moment::from_bits(self.heard.load(Ordering::Acquire));
            let until = heard.plus(self.terms.bound);
            self.spot.vouched.covers_until(until);
            if self.tracks {
                self.pulse.proven_until(until);
            }
        }
    }

    /// Would an answer be believed at `now`?
    pub(super) fn is_usable(&self, now: Moment) -> bool {
        self.spot.vouched.covers(now)
    }

    /// Does somebody vouch for the server, now?
    pub(crate) fn vouched(&self) -> Result<(), FarError> {
        match self.spot.vouched.covers(self.terms.clock.now()) {
            true => Ok(()),
            false => Err(FarError::Unvouched),
        }
    }

    /// Past the breaker, and whoever it is that answers: for heartbeats. What the server has forgotten of our scripts
    /// it is told again, once.
    pub(super) async fn ask_anyone(
        &self,
        pipeline: &Pipeline,
        deadline: Duration,
    ) -> Result<Vec<Value>, FarError> {
        let asking = async {
            let mut connection = self.connection.clone();
            let answers = all(&mut connection, pipeline).await?;
            if !answers.iter().any(is_no_script) {
                return Ok(answers);
            }
            let mut load = pipe();
            for script in &*self.terms.scripts {
                load.add_command(script.load());
            }
            all(&mut connection, &load).await?;
            again(&mut connection, pipeline, answers).await
        };
        match self.terms.clock.within(deadline, asking).await {
            Some(Ok(answers)) => Ok(answers),
            Some(Err(why)) => Err(self.broken(&why)),
            None => Err(FarError::Slow),
        }
    }

    fn broken(&self, why: &RedisError) -> FarError {
        if why.is_io_error() || why.is_unrecoverable_error() {
            return FarError::Broken(why.to_string());
        }
        FarError::Refused(why.to_string())
    }

    pub(super) fn reading(&self) -> Reading {
        self.terms.reading
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.terms.clock
    }

    pub(crate) fn app(&self) -> &str {
        &self.terms.app
    }

    /// In whose name its answers are kept and believed.
    pub(crate) fn by(&self) -> Incarnation {
        match self.terms.after_failover {
            AfterFailover::Distrust => self.process,
            AfterFailover::Accept => 0,
        }
    }

    /// Is the server at its other end the one at `other`'s, as far as the two say who they are?
    pub(crate) fn meets(&self, other: &Line) -> bool {
        self.history.is_none() || other.history.is_none() || self.process == other.process
    }

    /// The way to the server at its other end.
    #[cfg(feature = "structures")]
    pub(super) fn access(&self) -> &Access {
        &self.spot.access
    }

    /// Given up, and made anew.
    pub(crate) fn abandon(&self) {
        self.lost.notify_one();
    }

    pub(crate) fn tracks(&self) -> bool {
        self.tracks
    }

    pub(crate) fn bound(&self) -> Duration {
        self.terms.bound
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.terms.deadline
    }

    /// The server's clock at `now`, as estimated by the last heartbeat.
    pub(crate) fn server_ms_at(&self, now: Moment) -> u64 {
        now.ms().saturating_add_signed(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// One round trip after which every change that was acknowledged anywhere before it is applied here.
    pub(crate) async fn sync(&self, deadline: Duration) -> Result<(), FarError> {
        self.prove(deadline).await?;
        self.vouched()
    }

    /// The same, of a server that may no longer be the one to ask. The server's clock, if the answer says so.
    async fn prove(&self, deadline: Duration) -> Result<Option<u64>, FarError> {
        let mut asked = pipe();
        asked.cmd("TIME");
        asked.cmd("INFO").arg("replication");
        if self.tracks {
            asked.cmd("INFO").arg("stats");
        }
        self.terms.whereabouts.ask(&mut asked);
        let sent = self.terms.clock.now();
        let answers = self.ask_anyone(&asked, deadline).await?;
        let mut answers = answers.into_iter();
        let time = answers.next().map(Value::extract_error).transpose();
        let time = time.map_err(|why| FarError::Refused(why.to_string()))?;
        let info = answers.next();
        let text =
            info.as_ref().and_then(|info| ::redis::from_redis_value_ref::<String>(info).ok());
        let history = text.and_then(|text| connect::history(&text));
        if history.is_some() && history != self.history {
            let text = "the server has begun another history of its data: it was a replica, or has got its first one";
            return Err(FarError::Refused(text.to_owned()));
        }
        if self.tracks {
            let gap = || {
                (self.terms.pushed)(Pushed::Gap);
                self.terms.observe.tell(Event::Gap);
                if !self.said_gap.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        redis = %self.spot.access,
                        "the server evicts, or tracks about as many keys as it can: near is emptied whenever it may have forgotten one; said once, see Stats::gaps"
                    );
                }
            };
            self.forgotten.look(answers.next().as_ref(), gap);
        }
        let judged = self.terms.whereabouts.judge(&self.spot, sent, answers.as_slice());
        judged.map_err(FarError::Refused)?;
        Ok(time.as_ref().and_then(server_ms))
    }

    /// A heartbeat was answered: all changes before `sent` are applied.
    fn beat(&self, sent: Moment, server_ms: u64) {
        let now = self.terms.clock.now();
        let took = now.since(sent);
        let middle = sent.plus(took / 2).ms();
        let ahead = i64::try_from(i128::from(server_ms) - i128::from(middle)).unwrap_or(0);
        self.ahead_ms.store(ahead, Ordering::Relaxed);
        self.heard.store(sent.to_bits(), Ordering::Release);
        if self.tracks {
            // No further than the word for the server reaches.
            let proven = sent.plus(self.terms.bound);
            self.pulse.proven_until(proven.min(self.spot.vouched.until()));
        }
    }

    /// Beats until the connection is lost or an answer is overdue; says which.
    async fn live(&self, first: Moment, role: Role) -> String {
        let terms = &self.terms;
        let mut last = first;
        loop {
            let due = last.plus(terms.bound / 4).since(terms.clock.now());
            tokio::select! {
                biased;
                () = self.lost.notified() => return "connection closed".to_owned(),
                why = self.spot.vouched.ended() => return why,
                () = terms.clock.sleep(due) => {}
            }
            let sent = terms.clock.now();
            let patience = last.plus(terms.bound).since(sent);
            if patience.is_zero() {
                // We were stopped ourselves. What is on the wire now may be from any time since.
                return "a heartbeat is overdue".to_owned();
            }
            let answer = tokio::select! {
                biased;
                () = self.lost.notified() => return "connection closed".to_owned(),
                why = self.spot.vouched.ended() => return why,
                answer = self.prove(patience) => answer,
            };
            match answer {
                Ok(Some(server_ms)) => {
                    self.beat(sent, server_ms);
                    if role == Role::Tracked {
                        terms.observe.tell(Event::Lag { took: terms.clock.now().since(sent) });
                    }
                    last = sent;
                }
                Ok(None) => return "a heartbeat was refused".to_owned(),
                Err(why) => return format!("a heartbeat failed: {why}"),
            }
        }
    }
}

/// Sends once more what did not run, and what goes with it: reads that must come after it, ASKING before it. A
/// script that ran is not run twice: others may have changed what it did meanwhile.
async fn again(
    connection: &mut MultiplexedConnection,
    pipeline: &Pipeline,
    mut answers: Vec<Value>,
) -> Result<Vec<Value>, RedisError> {
    let (mut rest, mut places) = (pipe(), Vec::new());
    for (at, command) in pipeline.cmd_iter().enumerate() {
        let ran = |at: usize, command: &Cmd| {
            is_script(command) && answers.get(at).is_some_and(|answer| !is_no_script(answer))
        };
        // An ASKING is for the command behind it, and would else be for another's.
        let is_asking = matches!(command.args_iter().next(), Some(Arg::Simple(b"ASKING")));
        let next = pipeline.cmd_iter().nth(at + 1).filter(|_| is_asking);
        if !ran(at, command) && !next.is_some_and(|next| ran(at + 1, next)) {
            rest.add_command(command.clone());
            places.push(at);
        }
    }
    for (at, answer) in places.into_iter().zip(all(connection, &rest).await?) {
        if let Some(place) = answers.get_mut(at) {
            *place = answer;
        }
    }
    Ok(answers)
}

fn is_script(command: &Cmd) -> bool {
    matches!(command.args_iter().next(), Some(Arg::Simple(b"EVALSHA")))
}

fn is_no_script(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(why) if why.kind() == Some(ServerErrorKind::NoScript))
}

/// Does it say that it can serve nothing now? Other refusals are answers to what was asked.
fn serves_nothing(answer: &Value) -> bool {
    const NOTHING: [&str; 4] = ["LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN"];
    matches!(answer, Value::ServerError(why) if NOTHING.contains(&why.code()))
}

/// Keeps one connection of a role alive.
pub(crate) struct Supervisor {
    /// `Away` while there is none, `Closed` once there will be none.
    current: Mutex<Result<Arc<Line>, FarError>>,
    up: watch::Sender<bool>,
    role: Role,
    terms: Terms,
    /// Connections made so far.
    made: AtomicUsize,
    /// Once is loud enough.
    said_untracked: AtomicBool,
    /// Who answered last; 0 at first.
    process: AtomicU64,
}

impl Supervisor {
    pub(crate) fn new(role: Role, terms: Terms) -> Arc<Supervisor> {
        let up = watch::Sender::new(false);
        let made = AtomicUsize::new(0);
        let current = Mutex::new(Err(FarError::Away));
        let said_untracked = AtomicBool::new(false);
        let process = AtomicU64::new(0);
        Arc::new(Supervisor { current, up, role, terms, made, said_untracked, process })
    }

    fn pauses(&self) -> Pauses {
        Pauses::new(&self.terms.clock, FIRST_PAUSE, LONGEST_PAUSE)
    }

    /// The connection in use.
    pub(crate) fn line(&self) -> Result<Arc<Line>, FarError> {
        self.current.lock().clone()
    }

    /// Ends once there is a connection.
    pub(crate) async fn is_up(&self) {
        let mut up = self.up.subscribe();
        // The sender lives as long as `self`, so this ends only when the wish is met.
        let _ = up.wait_for(|up| *up).await;
    }

    /// The first try. Whoever hangs up without a word gets a second and a third chance.
    pub(crate) async fn connect_first(&self) -> Result<Arc<Line>, NoConnection> {
        let mut pauses = self.pauses();
        for _ in 0..2 {
            match self.connect().await {
                Err(NoConnection::HungUp(_)) => pauses.pause().await,
                answer => return answer,
            }
        }
        self.connect().await
    }

    /// One try, with its answer.
    async fn connect(&self) -> Result<Arc<Line>, NoConnection> {
        let spot = self.terms.whereabouts.spot().await?;
        self.connect_at(&spot).await
    }

    async fn connect_at(&self, spot: &Spot) -> Result<Arc<Line>, NoConnection> {
        let pulse = Arc::new(Pulse::new());
        let lost = Arc::new(Notify::new());
        let heard = {
            let (pulse, lost) = (pulse.clone(), lost.clone());
            let (pushed, role) = (self.terms.pushed.clone(), self.role);
            move |push: PushInfo| hear(&push, role, &pulse, &lost, &*pushed)
        };
        let terms = &self.terms;
        let away = |why: String| NoConnection::Away(format!("{}: {why}", spot.access));
        let more = |first: &mut Pipeline| terms.whereabouts.ask(first);
        let dialling =
            dial(&spot.access, spot.tenure, self.role, &terms.scripts, more, &terms.clock, heard);
        let dialled = tokio::select! {
            biased;
            why = spot.vouched.ended() => return Err(away(why)),
            dialled = dialling => dialled?,
        };
        let Dialled {
            connection,
            driver,
            sent,
            server_ms,
            process,
            history,
            tracks,
            forgotten,
            answered,
        } = dialled;
        terms.whereabouts.judge(spot, sent, &answered).map_err(away)?;
        if self.role == Role::Tracked
            && !tracks
            && !self.said_untracked.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                redis = %spot.access,
                "the server refuses CLIENT TRACKING: near copies end with the bound, and waiters poll; grant +client|tracking"
            );
        }
        let (ahead_ms, heard) = (AtomicI64::new(0), AtomicU64::new(Moment::NEVER.to_bits()));
        let terms = terms.clone();
        let (reads, runtime) = (Reads::default(), Handle::current());
        let line = Arc::new_cyclic(|me| Line {
            me: me.clone(),
            connection,
            _driver: driver,
            pulse,
            tracks,
            process,
            history,
            forgotten,
            said_gap: AtomicBool::new(false),
            heard,
            ahead_ms,
            lost,
            reads,
            runtime,
            spot: spot.clone(),
            terms,
        });
        line.beat(sent, server_ms);
        Ok(line)
    }

    /// Runs until the process stops it. `first` is what the first try gave, in use already; why it
    /// failed has been told.
    pub(crate) async fn run(self: Arc<Self>, first: Result<Arc<Line>, String>) {
        let mut pauses = self.pauses();
        let mut line = match first {
            Ok(line) => line,
            Err(told) => {
                pauses.pause().await;
                self.dial_until_made(told, &mut pauses).await
            }
        };
        loop {
            let began = self.terms.clock.now();
            let why = line.live(began, self.role).await;
            self.give_up(&line, &why);
            // One that is made and lost at once must not be made again at once.
            if self.terms.clock.now().since(began) > self.terms.bound {
                pauses = self.pauses();
            } else {
                pauses.pause().await;
            }
            line = self.dial_until_made(String::new(), &mut pauses).await;
        }
    }

    /// `told`: what people know already, and need not be told again.
    async fn dial_until_made(&self, mut told: String, pauses: &mut Pauses) -> Arc<Line> {
        loop {
            let spot = self.terms.whereabouts.spot().await;
            let made = match &spot {
                Ok(spot) => self.connect_at(spot).await,
                Err(why) => Err(why.clone()),
            };
            let why = match made {
                Ok(line) => {
                    self.resume(&line);
                    return line;
                }
                Err(NoConnection::Away(why)) => why,
                Err(NoConnection::HungUp(why) | NoConnection::Wrong(why)) => why.to_string(),
            };
            if why != told {
                match self.role {
                    Role::Tracked => tracing::warn!(%why, "cannot connect to redis; trying on"),
                    // The same server: one voice is enough.
                    Role::Untracked => tracing::debug!(%why, "cannot connect to redis; trying on"),
                }
                told = why;
            }
            let Ok(spot) = spot else {
                pauses.pause().await;
                continue;
            };
            let moved = tokio::select! {
                biased;
                _ = spot.vouched.ended() => true,
                () = pauses.pause() => false,
            };
            if moved {
                // There is another to dial. Not at once: whoever says so may say it again and again.
                *pauses = self.pauses();
                pauses.pause().await;
            }
        }
    }

    /// For good: nothing is asked any more.
    pub(crate) fn shut(&self) {
        if let Ok(line) = std::mem::replace(&mut *self.current.lock(), Err(FarError::Closed)) {
            line.pulse.end();
        }
    }

    /// To be called once with each connection, before it is used.
    pub(crate) fn resume(&self, line: &Arc<Line>) {
        let again = self.made.fetch_add(1, Ordering::Relaxed) > 0;
        if self.role == Role::Tracked {
            (self.terms.pushed)(Pushed::Gap);
            self.terms.breaker.reached();
            self.terms.observe.tell(Event::Connected { again });
            tracing::info!(redis = %line.spot.access, again, "connected");
        }
        let before = self.process.swap(line.process, Ordering::AcqRel);
        let is_another = before != 0 && before != line.process;
        if is_another && self.role == Role::Untracked {
            match self.terms.after_failover {
                AfterFailover::Accept => {
                    tracing::warn!(redis = %line.spot.access, "another redis process answers, and what it kept is believed (accept): our latest ends are sent again");
                    (self.terms.pushed)(Pushed::Another);
                }
                AfterFailover::Distrust => {
                    tracing::warn!(redis = %line.spot.access, "another redis process answers: what the one before kept is not believed, and is loaded anew");
                }
            }
        }
        self.replace(Ok(line.clone()));
        self.up.send_replace(true);
    }

    fn replace(&self, with: Result<Arc<Line>, FarError>) {
        let mut current = self.current.lock();
        // A task that is being stopped may still get here.
        if !matches!(*current, Err(FarError::Closed)) {
            *current = with;
        }
    }

    fn give_up(&self, line: &Line, why: &str) {
        line.pulse.end();
        self.replace(Err(FarError::Away));
        self.up.send_replace(false);
        if self.role == Role::Untracked {
            (self.terms.pushed)(Pushed::Lost);
        }
        if self.role == Role::Tracked {
            (self.terms.pushed)(Pushed::Gap);
            self.terms.observe.tell(Event::Disconnected { why });
            tracing::warn!(redis = %line.spot.access, why, "disconnected; reads go to the loader");
        }
    }
}

/// Called by the connection's driver, in wire order.
fn hear(
    push: &PushInfo,
    role: Role,
    pulse: &Pulse,
    lost: &Notify,
    pushed: &(dyn Fn(Pushed<'_>) + Send + Sync),
) {
    match push.kind {
        PushKind::Invalidate if role == Role::Tracked => match push.data.first() {
            Some(Value::Array(keys)) => {
                for key in keys {
                    match key {
                        Value::BulkString(key) => pushed(Pushed::Key(key)),
                        Value::SimpleString(key) => pushed(Pushed::Key(key.as_bytes())),
                        _ => pushed(Pushed::Gap),
                    }
                }
            }
            // Null: everything was flushed. Anything else we cannot read: as bad.
            _ => pushed(Pushed::Gap),
        },
        PushKind::Disconnection => {
            pulse.end();
            if role == Role::Tracked {
                pushed(Pushed::Gap);
            }
            lost.notify_one();
        }
        _ => {}
    }
}
