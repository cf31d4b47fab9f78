//! The seam over a cluster: each command goes to the node of its slot.
//!
//! A key's value and lease share a slot, a tag's generation lies in one of its own. So what is one round
//! trip on one server is one here too, to several nodes at once; only the order between nodes is lost, and
//! the answers say so ([`Got::in_order`]).
//!
//! While a slot is on its way from one node to another, a command on value and lease runs nowhere
//! (TRYAGAIN), save where both are in one place. What each call does then:
//!
//! | call | does |
//! |---|---|
//! | READ | reads the value alone; if there is none, no lease is granted: [`Claim::Moving`] |
//! | STORE | is refused; the lease is given back |
//! | END, EXPIRE | ends the lease alone, then the value alone. In the other order a load could store between the two |
//! | GUARD | the same |
//! | PUT | waits for the slot to have moved, to its deadline, and is refused then |
//!
//! All others have one name, and follow it. What was ended where a slot is on its way to is ended once more from
//! where it comes: the name may have come back in between.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, ServerErrorKind, Value, cmd};

use super::{
    END, EXPIRE, EXPIRE_TAG, EXTEND, FAIL, GUARD, PUT, READ, RELEASE, STORE, Settings, accepted,
    bytes, claim, end_of, generation, ms, states, was_done,
};
use crate::clock::{Clock, Moment, Pauses};
use crate::entry::{
    Answered, Ended, EndedName, Generation, Incarnation, Nonce, SoftHalf, Token, envelope,
};
use crate::error::{Error, FarError};
use crate::far::{Change, Changes, Claim, Far, Generations, Got, Link, Read, Reply, TagState};
use crate::key::slot::{Slot, Slots};
use crate::key::{Key, Tag};
use crate::observe::Observe;
use crate::pulse::Pulse;
use crate::redis::cluster::{Answer, Cluster, Patience, Question, Route, Waiting, all_of};
use crate::redis::{Access, Answers, Fixed, Line, Pushed, Reading, Role, Script, Terms};
use crate::resilience::breaker::Breaker;

static END_LEASE: Script =
    Script::new(concat!(include_str!("scripts/guards.lua"), include_str!("scripts/end_lease.lua")));
static GUARD_LEASE: Script = Script::new(concat!(
    include_str!("scripts/guards.lua"),
    include_str!("scripts/guard_lease.lua")
));
static EXPIRE_VALUE: Script = Script::new(concat!(
    include_str!("scripts/guards.lua"),
    include_str!("scripts/expire_value.lua")
));
static ALL: [&Script; 13] = [
    &READ,
    &STORE,
    &FAIL,
    &RELEASE,
    &EXTEND,
    &PUT,
    &END,
    &GUARD,
    &EXPIRE,
    &EXPIRE_TAG,
    &END_LEASE,
    &GUARD_LEASE,
    &EXPIRE_VALUE,
];

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

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
            scripts: &ALL,
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
                Pushed::Another => changes(Change::Another),
            }),
        };
        let lost = Arc::new(move |slots: &Slots| told(Change::Slots(slots)));
        let map = settings.wishes.address_map;
        let cluster = Cluster::open(access, map, terms, lost, settings.required).await?;
        Ok(ClusterFar { cluster, end_deadline: settings.end_deadline, clock })
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
        let end = |ended: &Ended| asks(slot_of(ended), end_of(ended, route.app(), soft));
        let questions: Vec<Question> = ended.iter().map(end).collect();
        let answers = route.ask(&questions, Patience::ToTheEnd, left()).await?;
        let mut steps = Vec::new();
        for (ended, Answer { value, on_its_way, .. }) in ended.iter().zip(answers) {
            if on_its_way || is_try_again(&value) {
                steps.push(steps_of(ended, route.app(), soft));
            } else {
                accepted(value)?;
            }
        }
        in_steps(&route, steps, left).await
    }

    /// How much is left, from now on, of the time that an end has.
    fn left(&self) -> impl Fn() -> Duration {
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

fn is_try_again(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(why) if why.kind() == Some(ServerErrorKind::TryAgain))
}

fn slot_of(ended: &Ended) -> Slot {
    match ended.name() {
        EndedName::Key(key) => key.slot(),
        EndedName::Tag(tag) => tag.slot(),
    }
}

/// The same as [`end_of`] in steps, for a slot that is on its way: each begins when the one before was answered.
///
/// The lease first: whoever held it could store behind the end of the value.
fn steps_of(ended: &Ended, app: &str, soft: SoftHalf) -> Vec<Question> {
    let end_lease = |key: &Key, guard: &[u8]| {
        let mut call = END_LEASE.call(&[&key.l()]);
        call.arg(guard);
        asks(key.slot(), call)
    };
    match ended {
        Ended::Key(key) => vec![end_lease(key, b""), unlink(key.slot(), &[key.v()])],
        Ended::Guarded(key, token) => {
            vec![end_lease(key, token), unlink(key.slot(), &[key.v()])]
        }
        Ended::SoftKey(key) => {
            vec![end_lease(key, b""), asks(key.slot(), EXPIRE_VALUE.call(&[key.v()]))]
        }
        Ended::Tag(_) | Ended::SoftTag(_) => vec![asks(slot_of(ended), end_of(ended, app, soft))],
    }
}

/// Takes the steps of each, all of them side by side.
async fn in_steps(
    route: &Route,
    mut steps: Vec<Vec<Question>>,
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
            let answers = route.ask(&now, Patience::ToTheEnd, left()).await?;
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
        Ok(Arc::new(ClusterLink(self.cluster.route(Role::Tracked)?)))
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

    fn guard<'a>(&'a self, keys: &'a [Key], token: Token, time: Duration) -> Reply<'a, ()> {
        Box::pin(async move {
            let (route, left) = (self.ends()?, self.left());
            let guard = |script: &Script, key: &Key, names: &[&[u8]]| {
                let mut call = script.call(names);
                call.arg(&token[..]).arg(ms(time));
                asks(key.slot(), call)
            };
            let questions: Vec<Question> =
                keys.iter().map(|key| guard(&GUARD, key, &[key.v(), &key.l()])).collect();
            let answers = route.ask(&questions, Patience::ToTheEnd, left()).await?;
            let mut moving: Vec<(&Key, Question)> = Vec::new();
            for (key, Answer { value, on_its_way, .. }) in keys.iter().zip(answers) {
                if on_its_way || is_try_again(&value) {
                    // The lease first, as in an end.
                    moving.push((key, guard(&GUARD_LEASE, key, &[&key.l()])));
                } else {
                    accepted(value)?;
                }
            }
            // A token is claimed under once, wherever it was answered.
            let (of, claims): (Vec<&Key>, Vec<Question>) = moving.into_iter().unzip();
            for answer in route.ask(&claims, Patience::ToTheEnd, left()).await? {
                accepted(answer.value)?;
            }
            let steps = of.iter().map(|key| vec![unlink(key.slot(), &[key.v()])]);
            in_steps(&route, steps.collect(), left).await
        })
    }

    fn put<'a>(&'a self, key: &'a Key, envelope: &'a [u8], keep: Duration) -> Reply<'a, bool> {
        Box::pin(async move {
            let mut call = PUT.call(&[key.v(), &key.l()]);
            call.arg(envelope).arg(ms(keep));
            let put = [asks(key.slot(), call)];
            let mut pauses = Pauses::new(&self.clock, FIRST_PAUSE, LONGEST_PAUSE);
            let (route, left) = (self.ends()?, self.left());
            loop {
                let answer = route.ask(&put, Patience::ToTheEnd, left()).await?.pop();
                let value = answer.map_or(Value::Nil, |answer| answer.value);
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
            let answers = route.ask(&questions, Patience::None, route.deadline()).await?;
            answers.into_iter().try_for_each(|answer| accepted(answer.value).map(drop))
        })
    }

    fn is_back(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.cluster.is_back())
    }

    fn close(&self) {
        self.cluster.close();
    }
}

/// The connections that one load goes over.
struct ClusterLink(Route);

/// What one node is asked to read: places among the keys, and among the tags.
struct Part {
    line: Arc<Line>,
    keys: Vec<usize>,
    tags: Vec<usize>,
}

/// Bytes under a value's name; what is no string reads as nothing.
fn answered(answer: Answer) -> Result<Option<Answered>, FarError> {
    let by = answer.by;
    Ok(bytes(answer.value)?.map(|bytes| Answered { bytes, by }))
}

/// Pairs of GET and PTTL.
fn states_of(mut answers: impl Iterator<Item = Answer>) -> Result<Vec<Option<TagState>>, FarError> {
    let mut all = Vec::new();
    while let (Some(get), Some(pttl)) = (answers.next(), answers.next()) {
        all.extend(states([get.value, pttl.value].into_iter(), get.by)?);
    }
    Ok(all)
}

impl ClusterLink {
    async fn ask(&self, questions: &[Question]) -> Result<Vec<Answer>, FarError> {
        self.0.ask(questions, Patience::None, self.0.deadline()).await
    }

    async fn script(&self, slot: Slot, call: Cmd) -> Result<bool, FarError> {
        let answer = self.ask(&[asks(slot, call)]).await?.pop();
        Ok(was_done(&accepted(answer.map_or(Value::Nil, |answer| answer.value))?))
    }

    fn get_tag(&self, tag: &Tag) -> Question {
        let mut get = cmd("GET");
        get.arg(tag.redis_name(self.0.app()));
        asks(tag.slot(), get)
    }

    fn get_states(&self, tags: &[Tag]) -> impl Iterator<Item = Question> {
        tags.iter().flat_map(|tag| {
            let mut pttl = cmd("PTTL");
            pttl.arg(tag.redis_name(self.0.app()));
            [self.get_tag(tag), asks(tag.slot(), pttl)]
        })
    }

    /// Keys and tags by the nodes that have them; and whether there are some that nobody has.
    fn parts(&self, keys: &[Key], tags: &[Tag]) -> (Vec<Part>, bool) {
        let (mut parts, mut some_are_away): (Vec<Part>, bool) = (Vec::new(), false);
        let slots = keys.iter().map(Key::slot).chain(tags.iter().map(Tag::slot));
        for (at, slot) in slots.enumerate() {
            let Some(line) = self.0.reads(slot) else {
                some_are_away = true;
                continue;
            };
            let known = parts.iter().position(|part| Arc::ptr_eq(&part.line, &line));
            let place = known.unwrap_or(parts.len());
            if known.is_none() {
                parts.push(Part { line, keys: Vec::new(), tags: Vec::new() });
            }
            if let Some(part) = parts.get_mut(place) {
                match at.checked_sub(keys.len()) {
                    None => part.keys.push(at),
                    Some(tag) => part.tags.push(tag),
                }
            }
        }
        (parts, some_are_away)
    }

    /// Reads each at its node. Of many keys those are read that can be; one counts as nothing whose node cannot be
    /// asked, and whoever asks for it next is told why.
    async fn read_apart(&self, keys: &[Key], tags: &[Tag]) -> Result<Got, FarError> {
        let (parts, some_are_away) = self.parts(keys, tags);
        let one_is_enough = keys.len() > 1;
        if parts.is_empty() || (some_are_away && !one_is_enough) {
            return if keys.is_empty() && tags.is_empty() {
                Ok(Got { in_order: true, ..Got::default() })
            } else {
                Err(FarError::Away)
            };
        }
        let mut got = Got {
            values: (0..keys.len()).map(|_| None).collect(),
            generations: (0..tags.len()).map(|_| None).collect(),
            in_order: parts.len() == 1 && !some_are_away,
        };
        let reading = parts.iter().map(|part| {
            let keys: Vec<Key> = part.keys.iter().map(|at| keys[*at].clone()).collect();
            let tags: Vec<Tag> = part.tags.iter().map(|at| tags[*at].clone()).collect();
            Box::pin(async move { part.line.read_together(&keys, &tags).await })
                as Waiting<'_, Result<Answers, FarError>>
        });
        let (mut elsewhere, mut failed) = (Vec::new(), None);
        let mut answered = 0;
        for (part, answers) in parts.iter().zip(all_of(reading.collect()).await) {
            let answers = match answers {
                Ok(answers) => answers,
                Err(why) => {
                    failed.get_or_insert(why);
                    continue;
                }
            };
            answered += 1;
            let by = part.line.by();
            for (at, value) in part.keys.iter().zip(answers.values) {
                got.values[*at] = value.map(|bytes| Answered { bytes, by });
            }
            for (at, tag) in part.tags.iter().zip(answers.tags) {
                got.generations[*at] = tag.map(|nonce| Generation { nonce, by });
            }
            let places = part.keys.iter().copied();
            let places: Vec<usize> =
                places.chain(part.tags.iter().map(|at| keys.len() + at)).collect();
            elsewhere.extend(answers.refused.iter().filter_map(|(at, _)| places.get(*at).copied()));
        }
        if let Some(why) = failed {
            if answered == 0 || !one_is_enough {
                return Err(why);
            }
            got.in_order = false;
        }
        self.read_elsewhere(keys, tags, elsewhere, &mut got).await?;
        Ok(got)
    }

    /// Those that their nodes did not answer are asked for alone, and followed.
    async fn read_elsewhere(
        &self,
        keys: &[Key],
        tags: &[Tag],
        places: Vec<usize>,
        got: &mut Got,
    ) -> Result<(), FarError> {
        if places.is_empty() {
            return Ok(());
        }
        got.in_order = false;
        let question = |at: &usize| match at.checked_sub(keys.len()) {
            None => {
                let mut get = cmd("GET");
                get.arg(keys[*at].v());
                asks(keys[*at].slot(), get)
            }
            Some(tag) => self.get_tag(&tags[tag]),
        };
        let questions: Vec<Question> = places.iter().map(question).collect();
        for (at, answer) in places.into_iter().zip(self.ask(&questions).await?) {
            match at.checked_sub(keys.len()) {
                None => got.values[at] = answered(answer)?,
                Some(tag) => got.generations[tag] = generation(answer.value, answer.by)?,
            }
        }
        Ok(())
    }

    /// What READ does while the slot is on its way: a value will do, and there is no lease.
    async fn read_on_its_way(&self, key: &Key, seen: Option<Token>) -> Result<Claim, FarError> {
        let mut get = cmd("GET");
        get.arg(key.v());
        let answer = self.ask(&[asks(key.slot(), get)]).await?.pop();
        Ok(match answer.map(answered).transpose()?.flatten() {
            Some(value) if seen.is_none() || envelope::id(&value.bytes) != seen => {
                Claim::Value(value)
            }
            _ => Claim::Moving,
        })
    }
}

impl Link for ClusterLink {
    fn pulse(&self, key: &Key, tags: &[Tag]) -> Arc<Pulse> {
        self.0.pulse(std::iter::once(key.slot()).chain(tags.iter().map(Tag::slot)))
    }

    fn tells_changes(&self) -> bool {
        self.0.tells_changes()
    }

    fn believed(&self, asked: Moment, key: &Key, tags: &[Tag]) -> Arc<Pulse> {
        match self.0.tells_changes() {
            true => self.pulse(key, tags),
            false => Arc::new(Pulse::up_to(asked.plus(self.0.bound()))),
        }
    }

    fn incarnation(&self, key: &Key) -> Incarnation {
        self.0.incarnation(key.slot())
    }

    fn server_ms_at(&self, now: Moment, key: &Key) -> u64 {
        self.0.server_ms_at(now, key.slot())
    }

    fn get<'a>(&'a self, keys: &'a [Key], tags: &'a [Tag]) -> Reply<'a, Got> {
        Box::pin(self.read_apart(keys, tags))
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
            let mut call = READ.call(&[key.v(), &key.l()]);
            call.arg(&token[..]).arg(ms(lease)).arg(seen.as_ref().map_or(&[][..], |id| &id[..]));
            let questions: Vec<Question> =
                std::iter::once(asks(key.slot(), call)).chain(self.get_states(tags)).collect();
            let mut answers = self.ask(&questions).await?.into_iter();
            let Some(Answer { value, by, .. }) = answers.next() else {
                return Err(FarError::Refused("READ gave no answer".to_owned()));
            };
            let tags = states_of(answers)?;
            if is_try_again(&value) {
                let claim = self.read_on_its_way(key, seen).await?;
                return Ok(Read { claim, is_there: false, by, tags, in_order: false });
            }
            let answer = accepted(value)?;
            // The last part of every answer but a value.
            let is_there =
                matches!(&answer, Value::Array(parts) if parts.last() == Some(&Value::Int(1)));
            Ok(Read { claim: claim(answer, by)?, is_there, by, tags, in_order: false })
        })
    }

    fn tag_states<'a>(&'a self, tags: &'a [Tag]) -> Reply<'a, Vec<Option<TagState>>> {
        Box::pin(async move {
            let questions: Vec<Question> = self.get_states(tags).collect();
            states_of(self.ask(&questions).await?.into_iter())
        })
    }

    fn generations<'a>(&'a self, tags: &'a [Tag]) -> Reply<'a, Generations> {
        Box::pin(async move { Ok(self.read_apart(&[], tags).await?.generations) })
    }

    fn create<'a>(
        &'a self,
        tags: &'a [(Tag, Nonce)],
        keep: Duration,
    ) -> Reply<'a, Vec<Option<Generation>>> {
        Box::pin(async move {
            let app = self.0.app();
            let questions: Vec<Question> = tags
                .iter()
                .flat_map(|(tag, nonce)| {
                    let mut set = cmd("SET");
                    set.arg(tag.redis_name(app)).arg(&nonce[..]);
                    set.arg("NX").arg("PX").arg(ms(keep));
                    // Our own SET ended our tracking of the tag: only this GET may fill a cell.
                    [asks(tag.slot(), set), self.get_tag(tag)]
                })
                .collect();
            let mut answers = self.ask(&questions).await?.into_iter();
            let (mut made, mut in_the_way) = (Vec::with_capacity(tags.len()), Vec::new());
            for (tag, _) in tags {
                let (Some(set), Some(get)) = (answers.next(), answers.next()) else {
                    return Err(FarError::Refused("SET and GET gave no answer".to_owned()));
                };
                accepted(set.value)?;
                let nothing = get.value == Value::Nil;
                let generation = generation(get.value, get.by)?;
                if generation.is_none() && !nothing {
                    in_the_way.push(unlink(tag.slot(), &[&tag.redis_name(app)]));
                }
                made.push(generation);
            }
            self.ask(&in_the_way).await?;
            Ok(made)
        })
    }

    fn prolong<'a>(
        &'a self,
        tags: &'a [Tag],
        keep: Duration,
    ) -> Reply<'a, Vec<Option<Generation>>> {
        Box::pin(async move {
            let questions: Vec<Question> = tags
                .iter()
                .flat_map(|tag| {
                    let mut expire = cmd("PEXPIRE");
                    expire.arg(tag.redis_name(self.0.app())).arg(ms(keep)).arg("GT");
                    [asks(tag.slot(), expire), self.get_tag(tag)]
                })
                .collect();
            let answers = self.ask(&questions).await?;
            let read = answers.into_iter().skip(1).step_by(2);
            read.map(|answer| generation(answer.value, answer.by)).collect()
        })
    }

    fn store<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        envelope: &'a [u8],
        keep: Duration,
    ) -> Reply<'a, bool> {
        Box::pin(async move {
            let mut call = STORE.call(&[key.v(), &key.l()]);
            call.arg(&token[..]).arg(envelope).arg(ms(keep));
            self.script(key.slot(), call).await
        })
    }

    fn fail<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        code: &'a str,
        backoff: Duration,
    ) -> Reply<'a, bool> {
        Box::pin(async move {
            let mut call = FAIL.call(&[&key.l()]);
            call.arg(&token[..]).arg(code).arg(ms(backoff));
            self.script(key.slot(), call).await
        })
    }

    fn release<'a>(&'a self, key: &'a Key, token: Token, within: Duration) -> Reply<'a, bool> {
        Box::pin(async move {
            let mut call = RELEASE.call(&[&key.l()]);
            call.arg(&token[..]);
            let release = [asks(key.slot(), call)];
            let answer = self.0.ask(&release, Patience::None, within).await?.pop();
            Ok(was_done(&accepted(answer.map_or(Value::Nil, |answer| answer.value))?))
        })
    }

    fn extend<'a>(&'a self, key: &'a Key, token: Token, lease: Duration) -> Reply<'a, bool> {
        Box::pin(async move {
            let mut call = EXTEND.call(&[&key.l()]);
            call.arg(&token[..]).arg(ms(lease));
            self.script(key.slot(), call).await
        })
    }

    fn sync(&self) -> Reply<'_, ()> {
        Box::pin(self.0.sync(self.0.deadline()))
    }
}
