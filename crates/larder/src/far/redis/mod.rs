//! The seam over Redis: each call is one pipeline on one of two connections.
//!
//! Reads and loads go over the tracked connection, whose pushes tell of changes; what ends entries
//! goes over the other, so that its pushes come back to us in wire order like anyone's.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Pipeline, Value, pipe};
use smallvec::SmallVec;
use tokio::task::JoinSet;

use super::backlog::Backlog;
use super::{
    Change, Changes, Claim, Far, Finish, Generations, Got, Link, Read, Reply, Restamped, TagState,
    pending_claim, read_lease,
};
use crate::clock::{Clock, Moment};
use crate::entry::{Answered, Ended, Generation, Incarnation, Nonce, SoftHalf, Token};
use crate::error::{Error, ErrorKind, FarError};
use crate::key::{Key, Tag};
use crate::observe::Observe;
use crate::policy::{AfterFailover, BreakerSettings};
use crate::pulse::Pulse;
#[cfg(feature = "structures")]
use crate::redis::Commands;
use crate::redis::{
    Access, Fixed, Line, NoConnection, Pushed, Reading, Role, Script, Sentinels, Supervisor, Terms,
    Times, Whereabouts, Wishes, string,
};
use crate::resilience::breaker::Breaker;

mod backlog;
mod calls;
mod cluster;

use calls::ms;
use cluster::ClusterFar;

/// How to reach Redis, and how long to wait for it.
pub(crate) struct Settings {
    pub(crate) wishes: Wishes,
    pub(crate) bound: Duration,
    pub(crate) deadline: Duration,
    pub(crate) end_deadline: Duration,
    /// Nobody listening is an error.
    pub(crate) required: bool,
    /// Whether what another server process said is believed.
    pub(crate) after_failover: AfterFailover,
    pub(crate) breaker: BreakerSettings,
    /// Those of others who use the same connections.
    pub(crate) scripts: &'static [&'static Script],
}

/// The shared side in Redis.
pub(crate) struct RedisFar {
    tracked: Arc<Supervisor>,
    untracked: Arc<Supervisor>,
    end_deadline: Duration,
    breaker: Arc<Breaker>,
    /// The two supervisors' tasks; they stop with `close`, or with this.
    tasks: parking_lot::Mutex<JoinSet<()>>,
}

/// Connects to what the URL names.
pub(crate) async fn open(
    settings: Settings,
    app: &str,
    changes: Changes,
    clock: Clock,
    observe: Observe,
) -> Result<Opened, Error> {
    #[cfg(feature = "structures")]
    let (at, deadline) = (clock.clone(), settings.deadline.max(settings.end_deadline));
    if settings.wishes.names_a_cluster() {
        let far = ClusterFar::open(settings, app, changes, clock, observe).await?;
        return Ok(Opened {
            #[cfg(feature = "structures")]
            commands: Commands::of_cluster(far.cluster(), at, deadline),
            far: Arc::new(far),
        });
    }
    let far = RedisFar::open(settings, app, changes, clock, observe).await?;
    Ok(Opened {
        #[cfg(feature = "structures")]
        commands: Commands::of_one(far.untracked.clone(), at, deadline),
        far: Arc::new(far),
    })
}

/// A shared side, and the road of others who use the same connections.
pub(crate) struct Opened {
    pub(crate) far: Arc<dyn Far>,
    #[cfg(feature = "structures")]
    pub(crate) commands: Commands,
}

impl RedisFar {
    /// Connects twice: one tracked and one untracked connection, whoever comes first later.
    async fn open(
        settings: Settings,
        app: &str,
        changes: Changes,
        clock: Clock,
        observe: Observe,
    ) -> Result<RedisFar, Error> {
        let whereabouts = whereabouts(&settings, app, &clock)?;
        let pushed: Arc<dyn Fn(Pushed<'_>) + Send + Sync> = Arc::new(move |pushed| match pushed {
            Pushed::Key(name) => changes(Change::Name(name)),
            Pushed::Gap => changes(Change::Gap),
            Pushed::Lost => changes(Change::Lost),
            Pushed::Another => changes(Change::Another),
        });
        let breaker = Arc::new(Breaker::new(
            settings.breaker,
            settings.deadline,
            whereabouts.to_string(),
            clock.clone(),
            observe.clone(),
        ));
        let terms = Terms {
            whereabouts: whereabouts.clone(),
            app: Arc::from(app),
            scripts: calls::ALL
                .iter()
                .chain(calls::OF_MEMBERS)
                .chain(&backlog::SCRIPTS)
                .chain(settings.scripts)
                .copied()
                .collect(),
            reading: Reading::Together,
            bound: settings.bound,
            deadline: settings.deadline,
            after_failover: settings.after_failover,
            clock,
            observe: observe.clone(),
            pushed,
            breaker: breaker.clone(),
        };
        let tracked = Supervisor::new(Role::Tracked, terms.clone());
        let untracked = Supervisor::new(Role::Untracked, terms);
        let mut tasks = JoinSet::new();
        tasks.spawn(whereabouts.clone().watch());
        for supervisor in [&tracked, &untracked] {
            let first = match supervisor.connect_first().await {
                Ok(line) => {
                    supervisor.resume(&line);
                    Ok(line)
                }
                Err(NoConnection::HungUp(why) | NoConnection::Wrong(why)) => return Err(why),
                Err(NoConnection::Away(why)) if settings.required => {
                    let text = format!("cannot reach redis, and it is required: {why}");
                    return Err(Error::new(ErrorKind::Far, text));
                }
                Err(NoConnection::Away(why)) => {
                    if Arc::ptr_eq(supervisor, &tracked) {
                        tracing::warn!(redis = %whereabouts, %why, "redis is not there: starting without it, loaders are asked");
                        observe.tell(crate::observe::Event::Disconnected { why: &why });
                    }
                    Err(why)
                }
            };
            tasks.spawn(supervisor.clone().run(first));
        }
        Ok(RedisFar {
            tracked,
            untracked,
            end_deadline: settings.end_deadline,
            breaker,
            tasks: parking_lot::Mutex::new(tasks),
        })
    }
}

fn whereabouts(
    settings: &Settings,
    app: &str,
    clock: &Clock,
) -> Result<Arc<dyn Whereabouts>, Error> {
    let wishes = &settings.wishes;
    if wishes.names_sentinels() {
        let deadline = settings.deadline.max(settings.end_deadline);
        let times = Times { bound: settings.bound, deadline };
        return Ok(Arc::new(Sentinels::new(wishes, app, times, clock.clone())?));
    }
    Ok(Arc::new(Fixed::new(Access::new(wishes, app)?)))
}

impl RedisFar {
    fn is_worth_asking(&self) -> Result<(), FarError> {
        if self.breaker.admits() { Ok(()) } else { Err(FarError::TurnedAway) }
    }
}

impl Far for RedisFar {
    fn link(&self) -> Result<Arc<dyn Link>, FarError> {
        let line = self.tracked.line()?;
        self.is_worth_asking()?;
        line.vouched()?;
        Ok(line)
    }

    fn admits(&self, _: &[Ended]) -> Result<(), FarError> {
        self.is_worth_asking()
    }

    fn end<'a>(&'a self, ended: &'a [Ended], soft: SoftHalf) -> Reply<'a, ()> {
        Box::pin(async move {
            let (line, mut pipeline) = (self.writer()?, pipe());
            for name in ended {
                pipeline.add_command(calls::end_of(name, line.app(), soft));
            }
            if pipeline.is_empty() {
                return Ok(()); // the client refuses to send nothing
            }
            all_done(line.insist(&pipeline, self.end_deadline).await?)
        })
    }

    fn guard<'a>(
        &'a self,
        keys: &'a [Key],
        token: Token,
        time: Duration,
    ) -> Reply<'a, Incarnation> {
        Box::pin(async move {
            let (line, mut pipeline) = (self.writer()?, pipe());
            for key in keys {
                pipeline.add_command(calls::guard(key, &token, time));
            }
            if !pipeline.is_empty() {
                all_done(line.ask(&pipeline, self.end_deadline).await?)?;
            }
            Ok(line.by())
        })
    }

    fn finish<'a>(&'a self, finish: Finish<'a>) -> Reply<'a, bool> {
        Box::pin(async move {
            let (line, mut pipeline) = (self.writer()?, alone(calls::finish(finish)));
            for key in finish.beside {
                pipeline.add_command(calls::end_at(key, &finish.token));
            }
            // Nobody would believe it: then its guards are ended, and nothing is kept.
            let dated = crate::entry::envelope::by(finish.envelope);
            if dated.is_some_and(|by| by != 0 && by != line.by()) {
                return Err(FarError::Away);
            }
            let mut answers = line.ask(&pipeline, self.end_deadline).await?.into_iter();
            let stored = was_done(&accepted(answers.next().unwrap_or(Value::Nil))?);
            all_done(answers.collect())?;
            Ok(stored)
        })
    }

    fn put<'a>(&'a self, key: &'a Key, envelope: &'a [u8], keep: Duration) -> Reply<'a, bool> {
        Box::pin(async move {
            let call = calls::put(key, envelope, keep);
            let line = self.writer()?;
            // Nobody would believe it.
            if crate::entry::envelope::by(envelope).is_some_and(|by| by != 0 && by != line.by()) {
                return Err(FarError::Away);
            }
            Ok(was_done(&one(line.ask(&alone(call), self.end_deadline).await?)?))
        })
    }

    // Not on the tracked connection: our own UNLINK there would end our tracking of the name without a word,
    // and a good value that had just been stored and kept near would never be heard of again.
    fn discard<'a>(&'a self, keys: &'a [Key]) -> Reply<'a, ()> {
        Box::pin(async move {
            let mut pipeline = pipe();
            for key in keys {
                pipeline.cmd("UNLINK").arg(key.v());
            }
            let line = self.untracked.line()?;
            all_done(line.ask(&pipeline, line.deadline()).await?)
        })
    }

    fn backlog(&self) -> Option<&dyn Backlog> {
        Some(self)
    }

    fn is_back(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.untracked.is_up())
    }

    fn close(&self) {
        self.tasks.lock().abort_all();
        self.tracked.shut();
        self.untracked.shut();
    }
}

impl RedisFar {
    /// The connection that ends entries: of the server that is read from, or of none. One address may lead to
    /// another server than it did a moment ago; what one of the two confirms is no news to the other.
    fn writer(&self) -> Result<Arc<Line>, FarError> {
        let line = self.untracked.line()?;
        if let Ok(reader) = self.tracked.line()
            && !line.meets(&reader)
        {
            line.abandon();
            reader.abandon();
            return Err(FarError::Away);
        }
        Ok(line)
    }
}

fn all_done(answers: Vec<Value>) -> Result<(), FarError> {
    answers.into_iter().try_for_each(|answer| accepted(answer).map(drop))
}

fn get_states(pipeline: &mut Pipeline, tags: &[Tag], app: &str) {
    for tag in tags {
        let name = tag.redis_name(app);
        pipeline.cmd("GET").arg(&name).cmd("PTTL").arg(&name);
    }
}

impl Link for Line {
    fn pulse(&self, _key: &Key, _tags: &[Tag]) -> Arc<Pulse> {
        self.pulse.clone()
    }

    fn tells_changes(&self) -> bool {
        self.tracks()
    }

    fn believed(&self, asked: Moment, _key: &Key, _tags: &[Tag]) -> Arc<Pulse> {
        match self.tracks() {
            true => self.pulse.clone(),
            false => Arc::new(Pulse::up_to(asked.plus(self.bound()))),
        }
    }

    fn incarnation(&self, _key: &Key) -> Incarnation {
        self.by()
    }

    fn server_ms_at(&self, now: Moment, _key: &Key) -> u64 {
        Line::server_ms_at(self, now)
    }

    fn get<'a>(&'a self, keys: &'a [Key], tags: &'a [Tag]) -> Reply<'a, Got> {
        Box::pin(async move {
            let answers = self.read_together(keys, tags).await?;
            let answered = |bytes| Answered { bytes, by: self.by() };
            let values = answers.values.into_iter().map(|bytes| bytes.map(answered)).collect();
            Ok(Got { values, generations: self.told(answers.tags), in_order: true })
        })
    }

    fn read<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        lease: Duration,
        seen: Option<Token>,
        tags: &'a [Tag],
    ) -> Reply<'a, Read> {
        Box::pin(async move {
            let mut pipeline = alone(calls::read(key, &token, lease, seen.as_ref()));
            get_states(&mut pipeline, tags, self.app());
            let mut answers = ask(self, &pipeline).await?.into_iter();
            let answer = accepted(answers.next().unwrap_or(Value::Nil))?;
            // The last part of every answer but a value.
            let is_there =
                matches!(&answer, Value::Array(parts) if parts.last() == Some(&Value::Int(1)));
            let (claim, tags) = (claim(answer, self.by())?, states(answers, self.by())?);
            Ok(Read { claim, is_there, by: self.by(), tags, in_order: true })
        })
    }

    fn tag_states<'a>(&'a self, tags: &'a [Tag]) -> Reply<'a, Vec<Option<TagState>>> {
        Box::pin(async move {
            let mut pipeline = pipe();
            get_states(&mut pipeline, tags, self.app());
            states(ask(self, &pipeline).await?.into_iter(), self.by())
        })
    }

    fn generations<'a>(&'a self, tags: &'a [Tag]) -> Reply<'a, Generations> {
        Box::pin(async move { Ok(self.told(self.read_together(&[], tags).await?.tags)) })
    }

    fn create<'a>(
        &'a self,
        tags: &'a [(Tag, Nonce)],
        keep: Duration,
    ) -> Reply<'a, Vec<Option<Generation>>> {
        Box::pin(async move {
            let mut pipeline = pipe();
            for (tag, nonce) in tags {
                let name = tag.redis_name(self.app());
                let set = pipeline.cmd("SET").arg(&name).arg(&nonce[..]);
                set.arg("NX").arg("PX").arg(ms(keep));
                // Our own SET ended our tracking of the tag: only this GET may fill a cell.
                pipeline.cmd("GET").arg(&name);
            }
            let mut answers = ask(self, &pipeline).await?.into_iter();
            let (mut made, mut in_the_way) = (Vec::with_capacity(tags.len()), pipe());
            for (tag, _) in tags {
                accepted(answers.next().unwrap_or(Value::Nil))?;
                let get = answers.next().unwrap_or(Value::Nil);
                let nothing = get == Value::Nil;
                let generation = generation(get, self.by())?;
                if generation.is_none() && !nothing {
                    in_the_way.cmd("UNLINK").arg(tag.redis_name(self.app()));
                }
                made.push(generation);
            }
            if !in_the_way.is_empty() {
                ask(self, &in_the_way).await?;
            }
            Ok(made)
        })
    }

    fn prolong<'a>(
        &'a self,
        tags: &'a [Tag],
        keep: Duration,
    ) -> Reply<'a, Vec<Option<Generation>>> {
        Box::pin(async move {
            let mut pipeline = pipe();
            for tag in tags {
                let name = tag.redis_name(self.app());
                pipeline.cmd("PEXPIRE").arg(&name).arg(ms(keep)).arg("GT");
                pipeline.cmd("GET").arg(&name);
            }
            let answers = ask(self, &pipeline).await?;
            let read = answers.into_iter().skip(1).step_by(2);
            read.map(|answer| generation(answer, self.by())).collect()
        })
    }

    fn store<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        envelope: &'a [u8],
        keep: Duration,
    ) -> Reply<'a, bool> {
        Box::pin(async move { script(self, calls::store(key, &token, envelope, keep)).await })
    }

    fn restamp<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        seen: Token,
        head: &'a [u8],
        keep: Duration,
    ) -> Reply<'a, Restamped> {
        Box::pin(async move {
            let call = calls::restamp(key, &token, &seen, head, keep);
            restamped(&one(ask(self, &alone(call)).await?)?)
        })
    }

    fn fail<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        code: &'a str,
        backoff: Duration,
    ) -> Reply<'a, bool> {
        Box::pin(async move { script(self, calls::fail(key, &token, code, backoff)).await })
    }

    fn release<'a>(&'a self, key: &'a Key, token: Token, within: Duration) -> Reply<'a, bool> {
        Box::pin(async move {
            let call = calls::release(key, &token);
            Ok(was_done(&one(self.ask_aside(&alone(call), within).await?)?))
        })
    }

    fn extend<'a>(&'a self, key: &'a Key, token: Token, lease: Duration) -> Reply<'a, bool> {
        Box::pin(async move {
            let call = calls::extend(key, &token, lease);
            // Nobody waits for it, and without it a load that goes on would lose its lease.
            Ok(was_done(&one(self.ask_aside(&alone(call), self.deadline()).await?)?))
        })
    }

    fn sync(&self) -> Reply<'_, ()> {
        Box::pin(async move { Line::sync(self, self.deadline()).await })
    }
}

impl Line {
    /// Generations, as this connection's server process told them.
    fn told(&self, read: SmallVec<[Option<Nonce>; 2]>) -> Generations {
        let by = self.by();
        read.into_iter().map(|nonce| nonce.map(|nonce| Generation { nonce, by })).collect()
    }
}

/// Who asks for nothing is answered with nothing: the client refuses to send an empty pipeline.
async fn ask(line: &Line, pipeline: &Pipeline) -> Result<Vec<Value>, FarError> {
    if pipeline.is_empty() {
        return Ok(Vec::new());
    }
    line.ask(pipeline, line.deadline()).await
}

async fn script(line: &Line, call: Cmd) -> Result<bool, FarError> {
    Ok(was_done(&one(ask(line, &alone(call)).await?)?))
}

fn alone(call: Cmd) -> Pipeline {
    let mut pipeline = pipe();
    pipeline.add_command(call);
    pipeline
}

/// What our scripts answer when they did what they are for.
fn was_done(answer: &Value) -> bool {
    matches!(answer, Value::Int(1))
}

fn one(answers: Vec<Value>) -> Result<Value, FarError> {
    accepted(answers.into_iter().next().unwrap_or(Value::Nil))
}

fn restamped(answer: &Value) -> Result<Restamped, FarError> {
    match answer {
        Value::Int(1) => Ok(Restamped::Done),
        Value::Int(0) => Ok(Restamped::Lost),
        Value::Int(2) => Ok(Restamped::Gone),
        _ => Err(FarError::Refused("RESTAMP gave an answer that cannot be read".to_owned())),
    }
}

fn accepted(answer: Value) -> Result<Value, FarError> {
    answer.extract_error().map_err(|why| FarError::Refused(why.to_string()))
}

fn is_wrong_type(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(why) if why.code() == "WRONGTYPE")
}

/// A string; what is none reads as nothing.
fn bytes(answer: Value) -> Result<Option<Vec<u8>>, FarError> {
    if is_wrong_type(&answer) {
        return Ok(None);
    }
    Ok(string(accepted(answer)?))
}

/// A generation; what is not one counts as none, so that what carries the tag is dead.
fn generation(answer: Value, by: Incarnation) -> Result<Option<Generation>, FarError> {
    let nonce = bytes(answer)?.and_then(|bytes| bytes.try_into().ok());
    Ok(nonce.map(|nonce| Generation { nonce, by }))
}

/// Pairs of GET and PTTL.
fn states(
    mut answers: impl Iterator<Item = Value>,
    by: Incarnation,
) -> Result<Vec<Option<TagState>>, FarError> {
    let mut states = Vec::new();
    while let (Some(get), Some(pttl)) = (answers.next(), answers.next()) {
        let keeps = left(&accepted(pttl)?);
        states.push(generation(get, by)?.map(|generation| TagState { generation, keeps }));
    }
    Ok(states)
}

/// What PTTL says. A name that somebody took the end from stays: it needs no lengthening.
fn left(answer: &Value) -> Duration {
    match answer {
        Value::Int(-1) => Duration::MAX,
        Value::Int(ms) => Duration::from_millis(u64::try_from(*ms).unwrap_or(0)),
        _ => Duration::ZERO,
    }
}

fn claim(answer: Value, by: Incarnation) -> Result<Claim, FarError> {
    let odd = || FarError::Refused("READ gave an answer that cannot be read".to_owned());
    let Value::Array(parts) = answer else { return Err(odd()) };
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Value::Int(1)), Some(value), _) => {
            let bytes = bytes(value)?.ok_or_else(odd)?;
            Ok(Claim::Value(Answered { bytes, by }))
        }
        (Some(Value::Int(2)), ..) => Ok(Claim::Granted),
        (Some(Value::Int(3)), Some(lease), Some(ms)) => {
            let record = bytes(lease)?.ok_or_else(odd)?;
            Ok(read_lease(&record, left(&ms)))
        }
        (Some(Value::Int(4)), Some(pending), _) => {
            let record = bytes(pending)?.ok_or_else(odd)?;
            Ok(pending_claim(&record))
        }
        _ => Err(odd()),
    }
}
