//! The road of what is no cache entry: calls to the server that has their names, whatever the topology.
//!
//! They go over the connections that end entries, so that a change of one of their names is no business of
//! near's. Each is sent once: who gets no answer does not know whether it ran ([`is_unsure`]). What
//! surely did not run, since its slot is on its way to another node or its node is being replaced, waits for
//! better times, up to the deadline.
//!
//! A call that blocks would hold up all others, and has a connection of its own: [`Private`].

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Pipeline, ServerErrorKind, ToRedisArgs, Value, pipe};

use super::cluster::{Cluster, Effort, Question, Waiting, all_of};
use super::connect::{Driver, NoConnection, Role, all, greet};
use super::script::Script;
use super::supervisor::{Line, Supervisor};
use crate::clock::{Clock, Pauses};
use crate::error::FarError;
use crate::key::Name;
use crate::key::slot::Slot;

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// One command or script, all of whose names are in one slot.
#[derive(Clone)]
pub(crate) struct Call {
    slot: Slot,
    command: Cmd,
    is_script: bool,
}

impl Call {
    /// A command on one name.
    pub(crate) fn new(command: &str, name: &Name) -> Call {
        let mut call = ::redis::cmd(command);
        call.arg(name.bytes());
        Call { slot: name.slot(), command: call, is_script: false }
    }

    /// A command that has something before the name, as `XINFO GROUPS name`.
    pub(crate) fn with_verb(command: &str, verb: &str, name: &Name) -> Call {
        let mut call = ::redis::cmd(command);
        call.arg(verb).arg(name.bytes());
        Call { slot: name.slot(), command: call, is_script: false }
    }

    /// A command whose name stands somewhere among its arguments, as in `XREAD STREAMS name 0`: they all follow.
    pub(crate) fn around(command: &str, name: &Name) -> Call {
        Call { slot: name.slot(), command: ::redis::cmd(command), is_script: false }
    }

    /// A script on some names of one slot; its arguments follow. The slot is that of the first.
    pub(crate) fn script(script: &Script, names: &[&Name]) -> Call {
        let bytes: Vec<&[u8]> = names.iter().map(|name| name.bytes()).collect();
        let slot = names.first().map_or(Slot::of(b""), |name| name.slot());
        debug_assert!(names.iter().all(|name| name.slot() == slot), "names of one slot");
        Call { slot, command: script.call(&bytes), is_script: true }
    }

    pub(crate) fn arg(mut self, arg: impl ToRedisArgs) -> Call {
        self.command.arg(arg);
        self
    }
}

/// See the [module](self). Cheap to clone.
#[derive(Clone)]
pub(crate) struct Commands {
    road: Road,
    clock: Clock,
    deadline: Duration,
}

#[derive(Clone)]
enum Road {
    One(Arc<Supervisor>),
    Many(Arc<Cluster>),
}

impl Commands {
    /// Over one server, whoever it is. `deadline`: how long a call may take.
    pub(crate) fn of_one(untracked: Arc<Supervisor>, clock: Clock, deadline: Duration) -> Commands {
        Commands { road: Road::One(untracked), clock, deadline }
    }

    pub(crate) fn of_cluster(cluster: Arc<Cluster>, clock: Clock, deadline: Duration) -> Commands {
        Commands { road: Road::Many(cluster), clock, deadline }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The answer to one call; a refusal is an error.
    pub(crate) async fn ask(&self, call: Call) -> Result<Value, FarError> {
        let answer = self.ask_each(vec![call]).await?.pop();
        accepted(answer.unwrap_or(Value::Nil))
    }

    /// The answers to all, in order; a refusal is an error.
    pub(crate) async fn ask_all(&self, calls: Vec<Call>) -> Result<Vec<Value>, FarError> {
        self.ask_each(calls).await?.into_iter().map(accepted).collect()
    }

    /// The answers to all, in order, refusals among them. Calls to one server go in one pipeline; one that did not
    /// run does not keep the others from running.
    ///
    /// Scripts and plain commands do not go together: after a `SCRIPT FLUSH` what stands beside a script that is
    /// not known is sent again with it.
    pub(crate) async fn ask_each(&self, calls: Vec<Call>) -> Result<Vec<Value>, FarError> {
        let until = self.clock.now().plus(self.deadline);
        let left = || until.since(self.clock.now());
        let mut answers = Vec::with_capacity(calls.len());
        for alike in calls.chunk_by(|one, next| one.is_script == next.is_script) {
            match &self.road {
                Road::One(supervisor) => {
                    let mut pipeline = pipe();
                    for call in alike {
                        pipeline.add_command(call.command.clone());
                    }
                    answers.extend(supervisor.line()?.ask(&pipeline, left()).await?);
                }
                Road::Many(cluster) => answers.extend(self.over(cluster, alike, &left).await?),
            }
        }
        Ok(answers)
    }

    /// The answers to all, each with a fate of its own: a server that is gone fails those that were its to answer.
    /// Calls to one server go in one pipeline, and servers do not wait for one another.
    pub(crate) async fn ask_apart(&self, calls: Vec<Call>) -> Vec<Result<Value, FarError>> {
        let groups = self.by_server(&calls);
        let is_cluster = matches!(self.road, Road::Many(_));
        let of = |group: &[usize]| group.iter().filter_map(|at| calls.get(*at).cloned()).collect();
        let asking = groups.iter().map(|group| {
            let calls: Vec<Call> = of(group);
            Box::pin(self.ask_each(calls)) as Waiting<'_, _>
        });
        let answers: Vec<Result<Vec<Value>, FarError>> = all_of(asking.collect()).await;
        let mut each: Vec<Result<Value, FarError>> =
            calls.iter().map(|_| Err(FarError::Away)).collect();
        for (group, answers) in groups.iter().zip(answers) {
            let mut answers = answers.map(Vec::into_iter);
            for at in group {
                let answer = match &mut answers {
                    Ok(answers) => accepted(answers.next().unwrap_or(Value::Nil)),
                    // Some of those it was sent with may have run, it among them.
                    Err(why) if is_cluster && group.len() > 1 && *why != FarError::Closed => {
                        Err(FarError::Broken(format!("sent with others that failed: {why}")))
                    }
                    Err(why) => Err(why.clone()),
                };
                if let Some(place) = each.get_mut(*at) {
                    *place = answer;
                }
            }
        }
        each
    }

    /// Which calls one server will most likely answer.
    fn by_server(&self, calls: &[Call]) -> Vec<Vec<usize>> {
        let route = match &self.road {
            Road::Many(cluster) => cluster.route(Role::Untracked).ok(),
            Road::One(_) => None,
        };
        let Some(route) = route else { return vec![(0..calls.len()).collect()] };
        let mut groups: Vec<(Option<Arc<Line>>, Vec<usize>)> = Vec::new();
        for (at, call) in calls.iter().enumerate() {
            let line = route.reads(call.slot);
            let same = |other: &Option<Arc<Line>>| match (other, &line) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (one, other) => one.is_none() && other.is_none(),
            };
            match groups.iter_mut().find(|(other, _)| same(other)) {
                Some((_, group)) => group.push(at),
                None => groups.push((line, vec![at])),
            }
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }

    async fn over(
        &self,
        cluster: &Arc<Cluster>,
        calls: &[Call],
        left: &impl Fn() -> Duration,
    ) -> Result<Vec<Value>, FarError> {
        let question = |call: &Call| Question { slot: call.slot, command: call.command.clone() };
        let mut answers: Vec<Value> = calls.iter().map(|_| Value::Nil).collect();
        let mut todo: Vec<usize> = (0..calls.len()).collect();
        let mut pauses = Pauses::new(&self.clock, FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let questions: Vec<Question> =
                todo.iter().filter_map(|at| calls.get(*at)).map(question).collect();
            let route = cluster.route(Role::Untracked)?;
            let replies = route.ask(&questions, Effort::ToTheEnd, left()).await?;
            // Its names are parted while their slot is on its way: it did not run, and will soon.
            let mut again = Vec::new();
            for (at, answer) in todo.iter().zip(replies) {
                if is_try_again(&answer.value) {
                    again.push(*at);
                }
                if let Some(place) = answers.get_mut(*at) {
                    *place = answer.value;
                }
            }
            if again.is_empty() || left() < LONGEST_PAUSE {
                return Ok(answers);
            }
            todo = again;
            pauses.pause().await;
        }
    }

    /// A connection of one's own to the server that has the name, for calls that block. One or two round trips.
    pub(crate) async fn private(&self, name: &Name) -> Result<Private, FarError> {
        let line = match &self.road {
            Road::One(supervisor) => supervisor.line()?,
            Road::Many(cluster) => {
                let route = cluster.route(Role::Untracked)?;
                route.reads(name.slot()).ok_or(FarError::Away)?
            }
        };
        line.vouched()?;
        let greeted = greet(line.access(), &self.clock, |_| {}).await;
        let greeted = greeted.map_err(|why| match why {
            NoConnection::Away(why) => FarError::Broken(why),
            NoConnection::HungUp(why) | NoConnection::Wrong(why) => {
                FarError::Refused(why.to_string())
            }
        })?;
        let (connection, _driver) = (greeted.connection, greeted.driver);
        Ok(Private {
            connection,
            _driver,
            line,
            clock: self.clock.clone(),
            deadline: self.deadline,
        })
    }
}

/// A connection that nobody else uses. Once a call over it has failed it is of no use.
pub(crate) struct Private {
    connection: ::redis::aio::MultiplexedConnection,
    _driver: Driver,
    /// The one of all calls to the same server: while that is believed, so is this.
    line: Arc<Line>,
    clock: Clock,
    deadline: Duration,
}

impl Private {
    /// The answer to a call that waits on the server for up to `blocks`. A refusal (its name may be another
    /// node's by now) is an error.
    pub(crate) async fn ask(&mut self, call: Call, blocks: Duration) -> Result<Value, FarError> {
        self.line.vouched()?;
        let mut pipeline = Pipeline::new();
        pipeline.add_command(call.command);
        let asking = all(&mut self.connection, &pipeline);
        let answers = match self.clock.within(blocks + self.deadline, asking).await {
            Some(Ok(answers)) => answers,
            Some(Err(why)) => return Err(FarError::Broken(why.to_string())),
            None => return Err(FarError::Slow),
        };
        accepted(answers.into_iter().next().unwrap_or(Value::Nil))
    }
}

/// Was it sent, and may have run for all we know?
pub(crate) fn is_unsure(why: &FarError) -> bool {
    matches!(why, FarError::Slow | FarError::Broken(_) | FarError::Unvouched)
}

fn accepted(answer: Value) -> Result<Value, FarError> {
    answer.extract_error().map_err(|why| FarError::Refused(why.to_string()))
}

fn is_try_again(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(why) if why.kind() == Some(ServerErrorKind::TryAgain))
}
