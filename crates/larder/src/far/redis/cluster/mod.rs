//! The seam over a cluster: each command goes to the node of its slot.
//!
//! A key's value and lease share a slot, a tag's generation lies in one of its own. So what is one round
//! trip on one server is one here too, to several nodes at once; only the order between nodes is lost, and
//! the answers say so ([`Got::in_order`](crate::far::Got::in_order)).
//!
//! While a slot is on its way from one node to another, a command on value and lease runs nowhere
//! (TRYAGAIN), save where both are in one place. What each call does then:
//!
//! | call | does |
//! |---|---|
//! | READ | reads the value alone; if there is none, no lease is granted: [`Claim::Moving`](crate::far::Claim::Moving) |
//! | STORE, RESTAMP | is refused; the lease is given back |
//! | END, EXPIRE | ends the lease alone, then the value alone. In the other order a load could store between the two |
//! | GUARD | the same |
//! | FINISH | ends the guard alone, then the value alone: the write is committed, and not kept |
//! | PUT | waits for the slot to have moved, to its deadline, and is refused then |
//! | WRITE, and what its workers do | the same |
//!
//! All others have one name, and follow it. What was ended where a slot is on its way to is ended once more from
//! where it comes: the name may have come back in between.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, ServerErrorKind, Value, cmd};

use super::{Settings, accepted, backlog, calls, was_done};
use crate::clock::{Clock, Pauses};
use crate::entry::{Ended, EndedName, Incarnation, SoftHalf, Token, envelope};
use crate::error::{Error, FarError};
use crate::far::backlog::Backlog;
use crate::far::{Change, Changes, Far, Finish, Link, Reply};
use crate::key::Key;
use crate::key::slot::{Slot, Slots};
use crate::observe::Observe;
use crate::redis::cluster::{Answer, Cluster, Effort, Question, Route};
use crate::redis::{Access, Fixed, Pushed, Reading, Role, Terms};
use crate::resilience::breaker::Breaker;

mod link;

use link::ClusterLink;

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// Between two tries of what does not run while its slot is on its way.
pub(super) const PAUSES: (Duration, Duration) = (FIRST_PAUSE, LONGEST_PAUSE);

/// The shared side in a cluster.
pub(super) struct ClusterFar {
    cluster: Arc<Cluster>,
    end_deadline: Duration,
    clock: Clock,
}

impl Drop for ClusterFar {
    fn drop(&mut self) {
        // Its tasks hold the map, and would never end by themselves.
        self.cluster.close();
    }
}

impl ClusterFar {
    /// Connects twice to each master.
    pub(super) async fn open(
        settings: Settings,
        app: &str,
        changes: Changes,
        clock: Clock,
        observe: Observe,
    ) -> Result<ClusterFar, Error> {
        let access = Access::new(&settings.wishes, app)?;
        let told = changes.clone();
        let terms = Terms {
            whereabouts: Arc::new(Fixed::new(access.clone())),
            app: Arc::from(app),
            scripts: calls::ALL
                .iter()
                .chain(&calls::HALVES)
                .chain(calls::OF_MEMBERS)
                .chain(&backlog::SCRIPTS)
                .chain(settings.scripts)
                .copied()
                .collect(),
            reading: Reading::Apart,
            bound: settings.bound,
            deadline: settings.deadline,
            after_failover: settings.after_failover,
            clock: clock.clone(),
            observe: observe.clone(),
            // Each node gets one of its own, like this.
            breaker: Arc::new(Breaker::new(
                settings.breaker,
                settings.deadline,
                access.to_string(),
                clock.clone(),
                observe,
            )),
            pushed: Arc::new(move |pushed| match pushed {
                Pushed::Key(name) => changes(Change::Name(name)),
                Pushed::Gap => changes(Change::Gap),
                Pushed::Lost => changes(Change::Lost),
                Pushed::Another => changes(Change::Another),
            }),
        };
        let lost = Arc::new(move |slots: &Slots| told(Change::Slots(slots)));
        let map = settings.wishes.address_map;
        let cluster = Cluster::open(access, map, terms, lost, settings.required).await?;
        Ok(ClusterFar { cluster, end_deadline: settings.end_deadline, clock })
    }

    #[cfg(feature = "structures")]
    pub(super) fn cluster(&self) -> Arc<Cluster> {
        self.cluster.clone()
    }

    /// The road of what ends entries.
    fn ends(&self) -> Result<Route, FarError> {
        self.cluster.route(Role::Untracked)
    }

    /// Ends all, each in one command where that can be.
    async fn end_within(
        &self,
        ended: &[Ended],
        soft: SoftHalf,
        left: impl Fn() -> Duration,
    ) -> Result<(), FarError> {
        let route = self.ends()?;
        let end = |ended: &Ended| asks(slot_of(ended), calls::end_of(ended, route.app(), soft));
        let questions: Vec<Question> = ended.iter().map(end).collect();
        let answers = route.ask(&questions, Effort::Insist, left()).await?;
        let mut steps = Vec::new();
        for (ended, Answer { value, on_its_way, .. }) in ended.iter().zip(answers) {
            if on_its_way || is_try_again(&value) {
                steps.push(steps_of(ended, route.app(), soft));
            } else {
                accepted(value)?;
            }
        }
        in_steps(&route, steps, Effort::Insist, left).await
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Each at the node of its slot, on the untracked connections: what was answered, refusals among them.
    pub(super) async fn ask_writers(
        &self,
        commands: &[&(Slot, Cmd)],
        deadline: Duration,
    ) -> Result<Vec<Value>, FarError> {
        let questions: Vec<Question> =
            commands.iter().map(|(slot, command)| asks(*slot, command.clone())).collect();
        let answers = self.ends()?.ask(&questions, Effort::ToTheEnd, deadline).await?;
        Ok(answers.into_iter().map(|answer| answer.value).collect())
    }

    /// How much is left, from now on, of the time that an end has.
    pub(super) fn left(&self) -> impl Fn() -> Duration {
        let until = self.clock.now().plus(self.end_deadline);
        move || until.since(self.clock.now())
    }
}

fn asks(slot: Slot, command: Cmd) -> Question {
    Question { slot, command }
}

fn unlink(slot: Slot, names: &[&[u8]]) -> Question {
    let mut command = cmd("UNLINK");
    command.arg(names);
    asks(slot, command)
}

pub(super) fn is_try_again(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(why) if why.kind() == Some(ServerErrorKind::TryAgain))
}

fn slot_of(ended: &Ended) -> Slot {
    match ended.name() {
        EndedName::Key(key) => key.slot(),
        EndedName::Tag(tag) => tag.slot(),
    }
}

/// The same as [`end_of`](calls::end_of) in steps, for a slot that is on its way: each begins when the one before was answered.
///
/// The lease first: whoever held it could store behind the end of the value.
fn steps_of(ended: &Ended, app: &str, soft: SoftHalf) -> Vec<Question> {
    let end_lease = |key: &Key, guard: &[u8]| asks(key.slot(), calls::end_lease(key, guard));
    match ended {
        Ended::Key(key) => vec![end_lease(key, b""), unlink(key.slot(), &[key.v()])],
        Ended::Guarded(key, token) => {
            vec![end_lease(key, token), unlink(key.slot(), &[key.v()])]
        }
        Ended::SoftKey(key) => {
            vec![end_lease(key, b""), asks(key.slot(), calls::expire_value(key))]
        }
        Ended::Tag(_) | Ended::SoftTag(_) => {
            vec![asks(slot_of(ended), calls::end_of(ended, app, soft))]
        }
    }
}

/// Takes the steps of each, all of them side by side.
async fn in_steps(
    route: &Route,
    mut steps: Vec<Vec<Question>>,
    effort: Effort,
    left: impl Fn() -> Duration,
) -> Result<(), FarError> {
    steps.iter_mut().for_each(|steps| steps.reverse());
    loop {
        let mut now: Vec<Question> = steps.iter_mut().filter_map(Vec::pop).collect();
        // What was answered at the other end of the way is sent once more, from this one: the name may have
        // come back in between.
        for _ in 0..2 {
            if now.is_empty() {
                return Ok(());
            }
            let answers = route.ask(&now, effort, left()).await?;
            let mut again = Vec::new();
            for (question, answer) in now.into_iter().zip(answers) {
                accepted(answer.value)?;
                if answer.on_its_way {
                    again.push(question);
                }
            }
            now = again;
            if now.is_empty() {
                break;
            }
        }
    }
}

impl Far for ClusterFar {
    fn link(&self) -> Result<Arc<dyn Link>, FarError> {
        Ok(Arc::new(ClusterLink::new(self.cluster.route(Role::Tracked)?)))
    }

    // The breaker of another node is no reason: it has nothing of these.
    fn admits(&self, ended: &[Ended]) -> Result<(), FarError> {
        let route = self.ends()?;
        let turned_away = ended.iter().any(|ended| !route.admits(slot_of(ended)));
        if turned_away { Err(FarError::TurnedAway) } else { Ok(()) }
    }

    fn end<'a>(&'a self, ended: &'a [Ended], soft: SoftHalf) -> Reply<'a, ()> {
        Box::pin(async move {
            let left = self.left();
            let mut pauses = Pauses::new(&self.clock, FIRST_PAUSE, LONGEST_PAUSE);
            loop {
                let ending = self.end_within(ended, soft, &left).await;
                // Once more does no harm, and another connection may be there by now.
                let (Err(FarError::Away | FarError::Broken(_) | FarError::Unvouched), true) =
                    (&ending, left() > LONGEST_PAUSE)
                else {
                    return ending;
                };
                pauses.pause().await;
            }
        })
    }

    fn guard<'a>(
        &'a self,
        keys: &'a [Key],
        token: Token,
        time: Duration,
    ) -> Reply<'a, Incarnation> {
        Box::pin(async move {
            let (route, left) = (self.ends()?, self.left());
            let guard = |key: &Key| asks(key.slot(), calls::guard(key, &token, time));
            let questions: Vec<Question> = keys.iter().map(guard).collect();
            let answers = route.ask(&questions, Effort::ToTheEnd, left()).await?;
            let mut moving: Vec<(&Key, Question)> = Vec::new();
            let mut first_by = None;
            for (key, Answer { value, by, on_its_way }) in keys.iter().zip(answers) {
                let to_try = is_try_again(&value);
                if !to_try {
                    accepted(value)?;
                }
                if on_its_way || to_try {
                    // The lease first, as in an end.
                    let claim = calls::guard_lease(key, &token, time);
                    moving.push((key, asks(key.slot(), claim)));
                } else {
                    first_by.get_or_insert(by);
                }
            }
            // A token is claimed under once, wherever it was answered.
            let (of, claims): (Vec<&Key>, Vec<Question>) = moving.into_iter().unzip();
            let claiming = async {
                let mut by = first_by;
                for answer in route.ask(&claims, Effort::ToTheEnd, left()).await? {
                    accepted(answer.value)?;
                    by.get_or_insert(answer.by);
                }
                let steps = of.iter().map(|key| vec![unlink(key.slot(), &[key.v()])]);
                in_steps(&route, steps.collect(), Effort::ToTheEnd, &left).await?;
                Ok(by.unwrap_or_default())
            };
            // Something was sent by now: a guard may stand, and must be ended.
            claiming.await.map_err(|why| match why {
                FarError::Away | FarError::TurnedAway => FarError::Unvouched,
                other => other,
            })
        })
    }

    fn finish<'a>(&'a self, finish: Finish<'a>) -> Reply<'a, bool> {
        Box::pin(async move {
            let (route, left) = (self.ends()?, self.left());
            let Finish { key, beside, token, .. } = finish;
            // Nobody would believe it: then its guards are ended, and nothing is kept.
            let dated = envelope::by(finish.envelope).filter(|by| *by != 0);
            if dated.is_some_and(|by| by != route.incarnation(key.slot())) {
                return Err(FarError::Away);
            }
            let mut questions = vec![asks(key.slot(), calls::finish(finish))];
            questions.extend(beside.iter().map(|key| asks(key.slot(), calls::end_at(key, &token))));
            let answers = route.ask(&questions, Effort::ToTheEnd, left()).await?;
            let (mut stored, mut steps) = (false, Vec::new());
            let keys = std::iter::once(key).chain(beside);
            for (at, (key, Answer { value, on_its_way, .. })) in keys.zip(answers).enumerate() {
                // It did not run, or where a name may still come back from: not kept is always right.
                if on_its_way || is_try_again(&value) {
                    let ended = Ended::Guarded(key.clone(), token);
                    steps.push(steps_of(&ended, route.app(), SoftHalf::default()));
                } else {
                    let done = was_done(&accepted(value)?);
                    stored |= done && at == 0;
                }
            }
            in_steps(&route, steps, Effort::ToTheEnd, left).await?;
            Ok(stored)
        })
    }

    fn put<'a>(&'a self, key: &'a Key, envelope: &'a [u8], keep: Duration) -> Reply<'a, bool> {
        Box::pin(async move {
            let put = [asks(key.slot(), calls::put(key, envelope, keep))];
            let mut pauses = Pauses::new(&self.clock, FIRST_PAUSE, LONGEST_PAUSE);
            let (route, left) = (self.ends()?, self.left());
            // In another's name nobody would believe it.
            let dated = envelope::by(envelope).filter(|by| *by != 0);
            let is_of = |by: Incarnation| dated.is_none_or(|dated| dated == by);
            loop {
                if !is_of(route.incarnation(key.slot())) {
                    return Err(FarError::Away);
                }
                let answer = route.ask(&put, Effort::ToTheEnd, left()).await?.pop();
                let by = answer.as_ref().map_or(0, |answer| answer.by);
                let value = answer.map_or(Value::Nil, |answer| answer.value);
                if !is_try_again(&value) && !is_of(by) {
                    return Err(FarError::Unvouched);
                }
                // It did not run. (In steps it could be lost to a lease that is granted between them.)
                if !is_try_again(&value) || left() < LONGEST_PAUSE {
                    return Ok(was_done(&accepted(value)?));
                }
                pauses.pause().await;
            }
        })
    }

    fn discard<'a>(&'a self, keys: &'a [Key]) -> Reply<'a, ()> {
        Box::pin(async move {
            let route = self.ends()?;
            let questions: Vec<_> = keys.iter().map(|key| unlink(key.slot(), &[key.v()])).collect();
            let answers = route.ask(&questions, Effort::Once, route.deadline()).await?;
            answers.into_iter().try_for_each(|answer| accepted(answer.value).map(drop))
        })
    }

    fn backlog(&self) -> Option<&dyn Backlog> {
        Some(self)
    }

    fn is_back(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.cluster.is_back())
    }

    fn close(&self) {
        self.cluster.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Tag;

    fn names_of(question: &Question) -> Vec<String> {
        let said = String::from_utf8_lossy(&question.command.get_packed_command()).into_owned();
        said.lines().filter(|line| line.starts_with("a:")).map(str::to_owned).collect()
    }

    /// A load could store between the end of a value and that of its lease.
    #[test]
    fn what_is_ended_in_steps_is_ended_lease_first_and_each_step_names_one_key() {
        let (key, tag) = (Key::new(b"a:c:1:v:{.1.k}"), Tag::new("t"));
        for ended in
            [Ended::Key(key.clone()), Ended::Guarded(key.clone(), [1; 16]), Ended::SoftKey(key)]
        {
            let steps = steps_of(&ended, "a", [2; 8]);
            let names: Vec<_> = steps.iter().map(names_of).collect();
            assert_eq!(names, [["a:c:1:l:{.1.k}"], ["a:c:1:v:{.1.k}"]], "{ended:?}");
        }
        for ended in [Ended::Tag(tag.clone()), Ended::SoftTag(tag)] {
            let steps = steps_of(&ended, "a", [2; 8]);
            let names: Vec<_> = steps.iter().map(names_of).collect();
            assert_eq!(names, [["a:t:{.t}"]], "{ended:?}");
        }
    }
}
