//! What people do: read, write and forget, all at once.
//!
//! A client is one task of one process. It commits to the source before it ends what the cache knows, and
//! its loaders take their time, fail, hang, or tell of a tag that nobody knew; some of its calls are given
//! up before they are answered.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use larder::{BoxError, Cache, Entry, Error, Leased, Loaded, Sink, Stored, Target, Unguarded};
use tokio::time::timeout;

use crate::chance::Chance;
use crate::history::{Birth, Call, Ended, From, Op, Said, Thing, Value, What, Why};
use crate::plan::{Climate, Place, TOLD_TAG};
use crate::world::{Inside, World, tag, text, value};

type Working<'a> = Pin<Box<dyn Future<Output = Said> + Send + 'a>>;

/// Works until the run is over.
pub(crate) async fn client(world: Arc<World>, inside: Arc<Inside>, mut draw: Chance) {
    let client = Client { world, inside };
    loop {
        client.inside.gate.sleep(draw.ms(0, client.world.plan.think_ms_max)).await;
        if client.world.is_over() {
            return;
        }
        client.call(&mut draw).await;
    }
}

/// How one load will go.
#[derive(Clone, Copy)]
struct Course {
    before: Duration,
    after: Duration,
    fails: bool,
    hangs: bool,
    tells: bool,
}

#[derive(Clone)]
struct Client {
    world: Arc<World>,
    inside: Arc<Inside>,
}

impl Client {
    async fn call(&self, draw: &mut Chance) {
        let (world, inside) = (&self.world, &self.inside);
        let op = self.op(draw);
        let patience = match world.plan.callers_leave && draw.percent(15) {
            true => draw.ms(0, 120),
            false => Duration::from_secs(3600),
        };
        let course = self.course(draw);
        let call = world.pen.note(What::Begins(inside.life, op.clone()));
        let said = timeout(patience, self.work(call, op, course)).await;
        inside.gate.runs().await;
        world.pen.note(What::Ends(call, said.unwrap_or(Said::Dropped)));
    }

    fn op(&self, draw: &mut Chance) -> Op {
        let plan = &self.world.plan;
        let thing = draw.index(plan.things());
        match draw.below(100) {
            0..45 => Op::Load(thing),
            45..52 => {
                Op::LoadMany((0..2 + draw.index(3)).map(|_| draw.index(plan.things())).collect())
            }
            52..60 => Op::Get(thing),
            60..66 => Op::GetNear(thing),
            66..70 => Op::Lease(thing),
            70..82 => Op::End(self.ended_with(thing, draw)),
            82..85 => Op::Expire(self.ended_with(thing, draw)),
            // What is loaded under a guard is kept nowhere: no fault, and yet more loads than ends.
            85..86 if plan.climate != Climate::Calm => Op::Guard(thing),
            // The same, and a pot's values have no other home.
            86..88 if plan.climate != Climate::Calm && !plan.is_pot(thing) => {
                let life = self.inside.life;
                Op::Write(thing, self.world.pen.note(What::Thought { life, thing }))
            }
            86..93 => match plan.place(thing) {
                Place::Pot { .. } => {
                    let life = self.inside.life;
                    Op::Put(thing, self.world.pen.note(What::Thought { life, thing }))
                }
                _ => Op::Load(thing),
            },
            93..98 => Op::Sync,
            _ => Op::Settled,
        }
    }

    /// Something is committed to the source; these are to be ended for it.
    fn ended_with(&self, thing: Thing, draw: &mut Chance) -> Vec<Ended> {
        let plan = &self.world.plan;
        let ended = match (plan.place(thing), draw.below(6)) {
            (Place::Item { tag, .. }, 0 | 1) => vec![Ended::Tag(tag)],
            (Place::Item { .. }, 2) if plan.source_is_odd => vec![Ended::Tag(TOLD_TAG)],
            (Place::Mine { user, .. }, 0 | 1) => vec![Ended::User(user)],
            (Place::Item { tag, .. }, 3) => vec![Ended::Thing(thing), Ended::Tag(tag)],
            _ => vec![Ended::Thing(thing)],
        };
        for thing in 0..plan.things() {
            if ended.iter().any(|ended| plan.ends(*ended, thing, true)) {
                self.world.commit(thing);
            }
        }
        ended
    }

    fn course(&self, draw: &mut Chance) -> Course {
        let plan = &self.world.plan;
        let (before, after) = (draw.ms(0, plan.load_ms_max), draw.ms(0, plan.load_ms_max));
        let odd = draw.below(100);
        let is_odd = plan.source_is_odd;
        let slow = is_odd && (10..15).contains(&odd);
        Course {
            before,
            after: if slow { after + plan.lease } else { after },
            fails: is_odd && odd < 8,
            hangs: is_odd && (8..10).contains(&odd),
            tells: is_odd && odd >= 80,
        }
    }

    fn work(&self, call: Call, op: Op, course: Course) -> Working<'_> {
        match op {
            Op::Load(thing) => Box::pin(self.load(call, thing, course)),
            Op::LoadMany(things) => Box::pin(self.load_many(call, things, course)),
            Op::Get(thing) => Box::pin(async move {
                let (cache, key) = self.cache(thing);
                or_failed(cache.get(&key).await.map(|entry| entry_said(entry.as_ref())))
            }),
            Op::GetNear(thing) => Box::pin(async move {
                let (cache, key) = self.cache(thing);
                entry_said(cache.get_near(&key).as_ref())
            }),
            Op::Lease(thing) => Box::pin(self.lease(call, thing, course)),
            Op::Put(thing, birth) => Box::pin(async move {
                let version = self.world.commit(thing);
                let (cache, key) = self.cache(thing);
                match cache.put(&key, text(Value { birth, thing, version })).await {
                    Ok(Stored::Stored) => Said::Done,
                    Ok(Stored::Refused) => Said::Refused,
                    Err(why) => Said::Failed(Why::of(why.kind())),
                }
            }),
            Op::End(ended) => {
                Box::pin(
                    async move { done(self.inside.larder.invalidate(self.targets(ended)).await) },
                )
            }
            Op::Expire(ended) => {
                Box::pin(async move { done(self.inside.larder.expire(self.targets(ended)).await) })
            }
            Op::Guard(thing) => Box::pin(self.guard(call, thing, course)),
            Op::Write(thing, birth) => Box::pin(self.write(call, thing, birth, course)),
            Op::Sync => Box::pin(async move { done(self.inside.larder.sync().await) }),
            Op::Settled => Box::pin(async move {
                self.inside.larder.settled().await;
                Said::Done
            }),
        }
    }

    fn cache(&self, thing: Thing) -> (Cache<u64, String>, u64) {
        match self.world.plan.place(thing) {
            Place::Item { key, .. } => (self.inside.items.clone(), key),
            Place::Mine { user, key } => ((*self.inside.mine.of(&(user as u64))).clone(), key),
            Place::Pot { key } => (self.inside.pots.clone(), key),
        }
    }

    async fn load(&self, call: Call, thing: Thing, course: Course) -> Said {
        let (cache, key) = self.cache(thing);
        let this = self.clone();
        let loader = move || async move {
            this.inside.gate.runs().await;
            let birth = this.asked(call, thing);
            this.answered(birth, thing, course).await
        };
        match cache.get_or_load(&key, loader).await {
            Ok(entry) => said(&entry, From::of(entry.origin())),
            Err(why) => Said::Failed(Why::of(why.kind())),
        }
    }

    /// Those that stand in one cache, at least the first.
    async fn load_many(&self, call: Call, things: Vec<Thing>, course: Course) -> Said {
        let plan = &self.world.plan;
        let Some(first) = things.first().copied() else { return Said::Each(Vec::new()) };
        let beside = |thing: &Thing| match (plan.place(first), plan.place(*thing)) {
            (Place::Item { .. }, Place::Item { .. }) | (Place::Pot { .. }, Place::Pot { .. }) => {
                true
            }
            (Place::Mine { user, .. }, Place::Mine { user: other, .. }) => user == other,
            _ => false,
        };
        let is_asked: Vec<bool> = things.iter().map(beside).collect();
        let asked: Vec<Thing> =
            things.iter().zip(&is_asked).filter(|(_, is)| **is).map(|(thing, _)| *thing).collect();
        let keys: Vec<u64> = asked.iter().map(|thing| self.cache(*thing).1).collect();
        let (this, by_key) = (self.clone(), asked.clone());
        let known = keys.clone();
        let loader = move |missing: Vec<u64>| {
            let this = this.clone();
            let things: Vec<(u64, Thing)> = missing
                .into_iter()
                .filter_map(|key| Some((key, by_key[known.iter().position(|at| *at == key)?])))
                .collect();
            async move { this.asked_many(call, things, course).await }
        };
        let answers = self.cache(first).0.get_or_load_many(&keys, loader).await;
        let mut answers = answers.into_iter().map(|answer| match answer {
            Ok(Some(entry)) => said(&entry, From::Somewhere),
            Ok(None) => Said::Nothing,
            Err(why) => Said::Failed(Why::of(why.kind())),
        });
        // In the places of the things that the call names; those of other caches were not asked for.
        let each = is_asked.iter().map(|is| match is {
            true => answers.next().unwrap_or(Said::Nothing),
            false => Said::Nothing,
        });
        Said::Each(each.collect())
    }

    async fn asked_many(
        &self,
        call: Call,
        things: Vec<(u64, Thing)>,
        course: Course,
    ) -> Result<Vec<(u64, Loaded<String>)>, SourceFailed> {
        self.inside.gate.runs().await;
        let births: Vec<_> =
            things.iter().map(|(key, thing)| (*key, *thing, self.asked(call, *thing))).collect();
        let mut loaded = Vec::new();
        for (key, thing, birth) in births {
            let each = Course { hangs: false, ..course };
            loaded.push((key, self.answered(birth, thing, each).await?));
        }
        Ok(loaded)
    }

    fn asked(&self, call: Call, thing: Thing) -> usize {
        self.world.pen.note(What::Asked { life: self.inside.life, call, thing })
    }

    /// What the source says, as `course` has it.
    async fn answered(
        &self,
        birth: usize,
        thing: Thing,
        course: Course,
    ) -> Result<Loaded<String>, SourceFailed> {
        let (world, gate) = (&self.world, &self.inside.gate);
        gate.sleep(course.before).await;
        if course.hangs {
            std::future::pending::<()>().await;
        }
        let version = world.version(thing);
        gate.sleep(course.after).await;
        if course.fails {
            world.pen.note(What::Answered(birth, None));
            return Err(SourceFailed);
        }
        let mut loaded = Loaded::new(text(Value { birth, thing, version }));
        // A pot's value is put as well, and a put tells of no tag.
        if course.tells && matches!(world.plan.place(thing), Place::Item { .. }) {
            world.pen.note(What::Told(birth, TOLD_TAG));
            loaded = loaded.tag(tag(TOLD_TAG));
        }
        world.pen.note(What::Answered(birth, Some(version)));
        Ok(loaded)
    }

    async fn lease(&self, call: Call, thing: Thing, course: Course) -> Said {
        let (cache, key) = self.cache(thing);
        match cache.lease(&key).await {
            Ok(Leased::Found(entry)) => said(&entry, From::of(entry.origin())),
            Ok(Leased::Nothing) => Said::Nothing,
            Ok(Leased::Held(lease)) => {
                let birth = self.asked(call, thing);
                let course = Course { hangs: false, tells: false, ..course };
                // Dropped with the lease, when the source fails or the caller leaves.
                let Ok(loaded) = self.answered(birth, thing, course).await else {
                    return Said::Failed(Why::Source);
                };
                match lease.store(loaded).await {
                    Stored::Stored => Said::Done,
                    Stored::Refused => Said::Refused,
                }
            }
            Err(why) => Said::Failed(Why::of(why.kind())),
        }
    }

    fn targets(&self, ended: Vec<Ended>) -> Vec<Target> {
        let target = |ended| match ended {
            Ended::Thing(thing) => {
                let (cache, key) = self.cache(thing);
                cache.entry(&key)
            }
            Ended::Tag(number) => tag(number).into(),
            Ended::User(user) => self.inside.mine.of(&(user as u64)).all(),
        };
        ended.into_iter().map(target).collect()
    }

    /// Through a sink that commits, takes its time, and may lose its answer.
    async fn write(&self, call: Call, thing: Thing, birth: Birth, course: Course) -> Said {
        let (cache, key) = self.cache(thing);
        // Where guards are counted on, the sink is asked under one or not at all.
        let unguarded = match self.world.plan.climate {
            Climate::Wild => Unguarded::Write,
            _ => Unguarded::Refuse,
        };
        let sink = Commit { this: self.clone(), call, thing, course, unguarded };
        // The number it has if nobody comes between.
        let version = self.world.version(thing) + 1;
        let value = text(Value { birth, thing, version });
        let rows = cache.through(sink).unguarded(unguarded);
        done(rows.write(&key, value).await.map(drop))
    }

    /// Committed under a guard; and ended all the same where none could be opened.
    async fn guard(&self, call: Call, thing: Thing, course: Course) -> Said {
        let (cache, key) = self.cache(thing);
        let guard = cache.guard(&key).await.ok();
        if guard.is_some() {
            self.world.pen.note(What::Guarded(call));
        }
        self.inside.gate.sleep(course.before).await;
        self.world.commit(thing);
        self.world.pen.note(What::Committed(call));
        self.inside.gate.sleep(course.after).await;
        done(match guard {
            Some(guard) => guard.end().await,
            None => cache.invalidate(&key).await,
        })
    }
}

/// The sink of one write.
struct Commit {
    this: Client,
    call: Call,
    thing: Thing,
    course: Course,
    unguarded: Unguarded,
}

impl Sink<u64, String> for Commit {
    async fn write(&self, _: &u64, _: &String) -> Result<(), BoxError> {
        let Commit { this, call, thing, course, unguarded } = self;
        let (pen, gate) = (&this.world.pen, &this.inside.gate);
        gate.runs().await;
        if *unguarded == Unguarded::Refuse {
            pen.note(What::Guarded(*call));
        }
        gate.sleep(course.before).await;
        this.world.commit(*thing);
        pen.note(What::Committed(*call));
        gate.sleep(course.after).await;
        if course.fails { Err(SourceFailed.into()) } else { Ok(()) }
    }

    async fn remove(&self, key: &u64) -> Result<(), BoxError> {
        self.write(key, &String::new()).await
    }
}

fn said(entry: &Entry<String>, from: From) -> Said {
    // What is not of our making is no value: the checker knows no birth of that number.
    let odd = Value { birth: usize::MAX, thing: usize::MAX, version: 0 };
    let value = value(entry).unwrap_or(odd);
    if entry.is_stale() { Said::Stale(value, from) } else { Said::Value(value, from) }
}

fn entry_said(entry: Option<&Entry<String>>) -> Said {
    entry.map_or(Said::Nothing, |entry| said(entry, From::of(entry.origin())))
}

fn or_failed(answer: Result<Said, Error>) -> Said {
    answer.unwrap_or_else(|why| Said::Failed(Why::of(why.kind())))
}

fn done(answer: Result<(), Error>) -> Said {
    or_failed(answer.map(|()| Said::Done))
}

/// The source's own error.
#[derive(Debug)]
struct SourceFailed;

impl std::fmt::Display for SourceFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the source failed, as it was drawn")
    }
}

impl std::error::Error for SourceFailed {}
