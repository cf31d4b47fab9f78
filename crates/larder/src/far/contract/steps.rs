//! The same random steps on the embedded side and on Redis: all answers must be alike.
//!
//! No time passes that matters: everything is kept for hours, and what is left of it is compared by
//! the hour. What is told is compared as far as it must be: of what a process read and still watches,
//! Redis tells no less than the embedded side, which tells everything; and it tells nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use super::SharedMemory;
use super::scene::{LONG, Process, SOFT, Scene, Told, envelope};
use crate::clock::Clock;
use crate::entry::{Ended, Nonce, Pending, Stamp, Token, WriteId};
use crate::far::backlog::{Dead, Done, Queued, Write};
use crate::far::{Claim, Finish, Restamped, TagState};
use crate::key::{Key, Tag};

type Names = BTreeSet<Vec<u8>>;

/// One command of a process.
#[derive(Clone, Debug)]
enum Step {
    Get(Vec<Key>, Vec<Tag>),
    Read(Key, Token, Duration, Option<Token>, Vec<Tag>),
    Discard(Key),
    Generations(Vec<Tag>),
    TagStates(Vec<Tag>),
    Create(Vec<(Tag, Nonce)>, Duration),
    Prolong(Vec<Tag>, Duration),
    Store(Key, Token, Vec<u8>, Duration),
    Restamp(Key, Token, Token, Vec<u8>, Duration),
    Fail(Key, Token, Duration),
    Release(Key, Token),
    Extend(Key, Token, Duration),
    End(Vec<Ended>),
    Guard(Vec<Key>, Token, Duration),
    Finish(Key, Vec<Key>, Token, Vec<u8>, Duration),
    Put(Key, Vec<u8>, Duration),
    /// Of a cache that writes behind; and what is done with a write, by its place among all so far.
    Write(Key, Token, Vec<u8>, Duration, usize),
    Pending(Vec<Key>),
    Clear(Key, usize, bool),
    Rebase(Key, usize),
    Bury(Key, usize),
    Replay(Key, usize),
    Depth(Key),
}

/// What one side has answered that names a place in a queue: the sides count for themselves.
#[derive(Default)]
struct Places {
    written: Vec<Stamp>,
}

impl Places {
    fn at(&self, at: usize) -> Stamp {
        let nobody = Stamp { token: [0; 16], id: WriteId { ms: 1, seq: 0 } };
        self.written.get(at % self.written.len().max(1)).copied().unwrap_or(nobody)
    }
}

/// Drives an embedded side and the Redis at `url` with the same steps, drawn from `seed`.
///
/// # Panics
/// When an answer differs, or a change is not told; with the seed and the last steps.
pub async fn conforms(url: &str, seed: u64, steps: usize) {
    let redis = Scene::redis(url).await;
    let memory = SharedMemory::new(64 << 20, Clock::of_runtime(seed));
    let memory = Scene::on(&memory, &redis.app);
    let mut draw = Draw::new(&redis, seed);
    let mut watched = [Names::new(), Names::new()];
    let (mut there, mut here) = (Places::default(), Places::default());
    let mut history: Vec<String> = Vec::new();
    for number in 0..steps {
        let (who, step) = (draw.below(2), draw.step());
        history.push(format!("{number}: process {who}: {step:?}"));
        let last = || {
            let last = history[number.saturating_sub(12)..].join("\n");
            format!("seed {seed}, steps\n{last}")
        };
        let answer = run(&redis, who, &step, &mut watched[who], &mut there).await;
        let expected = run(&memory, who, &step, &mut Names::new(), &mut here).await;
        assert_eq!(answer, expected, "redis, memory; {}", last());
        for (who, watched) in watched.iter_mut().enumerate() {
            let told = names(process(&redis, who)).await;
            let all = names(process(&memory, who)).await;
            let must: Names = all.intersection(watched).cloned().collect();
            let missed = show_names(must.difference(&told));
            assert_eq!(missed, "", "not told to process {who}; {}", last());
            let odd = show_names(told.difference(&all));
            assert_eq!(odd, "", "told to process {who} and not changed; {}", last());
            watched.retain(|name| !told.contains(name));
        }
    }
}

fn process(scene: &Scene, number: usize) -> &Process {
    [&scene.one, &scene.other][number]
}

async fn names(process: &Process) -> Names {
    let name = |told| match told {
        Told::Name(name) => name,
        Told::Gap => panic!("a gap, with nobody near the connection"),
    };
    process.told().await.into_iter().map(name).collect()
}

/// Makes a step, and notes what its process watches after it and what no longer: a name it wrote
/// itself over its link and did not read again. The answer as text, times by the hour.
async fn run(
    scene: &Scene,
    who: usize,
    step: &Step,
    watched: &mut Names,
    places: &mut Places,
) -> String {
    let (process, link) = (process(scene, who), process(scene, who).link());
    let names = |tags: &[Tag]| tags.iter().map(|tag| scene.t(tag)).collect::<Names>();
    match step.clone() {
        Step::Get(keys, tags) => {
            watched.extend(keys.iter().map(|key| key.v().to_vec()));
            watched.extend(names(&tags));
            // In what order is for each side to say.
            show(link.get(&keys, &tags).await.map(|got| (got.values, got.generations)))
        }
        Step::Read(key, token, lease, seen, tags) => {
            let mut read = link.read(&key, token, lease, seen, &tags).await.unwrap();
            watched.insert(key.v().to_vec());
            watched.extend(names(&tags));
            if !matches!(read.claim, Claim::Value(_)) {
                watched.extend(key.d());
            }
            if !matches!(read.claim, Claim::Value(_) | Claim::Pending(_)) {
                watched.insert(key.l());
            }
            if let Claim::Held(left) = &mut read.claim {
                *left = by_the_hour(*left);
            }
            read.tags = states(read.tags);
            read.in_order = true;
            show(read)
        }
        Step::Discard(key) => show(process.far.discard(std::slice::from_ref(&key)).await),
        Step::Generations(tags) => {
            watched.extend(names(&tags));
            show(link.generations(&tags).await)
        }
        Step::TagStates(tags) => {
            watched.extend(names(&tags));
            show(states(link.tag_states(&tags).await.unwrap()))
        }
        Step::Create(tags, keep) => {
            let made = link.create(&tags, keep).await.unwrap();
            for ((tag, _), made) in tags.iter().zip(&made) {
                match made {
                    Some(_) => watched.insert(scene.t(tag)),
                    None => watched.remove(&scene.t(tag)),
                };
            }
            show(made)
        }
        Step::Prolong(tags, keep) => {
            watched.extend(names(&tags));
            show(link.prolong(&tags, keep).await)
        }
        Step::Store(key, token, bytes, keep) => {
            let stored = link.store(&key, token, &bytes, keep).await.unwrap();
            if stored {
                watched.insert(key.v().to_vec());
                watched.remove(&key.l());
            }
            show(stored)
        }
        Step::Restamp(key, token, seen, head, keep) => {
            let restamped = link.restamp(&key, token, seen, &head, keep).await.unwrap();
            if restamped == Restamped::Done {
                watched.insert(key.v().to_vec());
                watched.remove(&key.l());
            }
            show(restamped)
        }
        Step::Fail(key, token, backoff) => {
            watched.remove(&key.l());
            show(link.fail(&key, token, "code", backoff).await)
        }
        Step::Release(key, token) => {
            watched.remove(&key.l());
            show(link.release(&key, token, LONG).await)
        }
        Step::Extend(key, token, lease) => {
            let extended = link.extend(&key, token, lease).await.unwrap();
            if extended {
                watched.insert(key.l());
            }
            show(extended)
        }
        Step::End(ended) => show(process.far.end(&ended, SOFT).await),
        Step::Guard(keys, token, time) => show(process.far.guard(&keys, token, time).await),
        Step::Finish(key, beside, token, envelope, keep) => {
            let (key, beside, envelope) = (&key, &beside[..], &envelope[..]);
            show(process.far.finish(Finish { key, beside, token, envelope, keep }).await)
        }
        Step::Put(key, bytes, keep) => show(process.far.put(&key, &bytes, keep).await),
        step => work(process, step, places).await,
    }
}

/// What is done to writes that wait.
async fn work(process: &Process, step: Step, places: &mut Places) -> String {
    let backlog = process.far.backlog().unwrap();
    let part = |key: &Key| key.in_partition().unwrap().0;
    match step {
        Step::Write(key, token, envelope, keep, bound) => {
            let (key, envelope) = (&key, envelope.as_slice());
            let write = Write { key, token, envelope, keep, typed: b"typed", bound };
            match backlog.write(write).await.unwrap() {
                Queued::At(id) => {
                    let grows = places.written.last().is_none_or(|last| last.id < id);
                    places.written.push(Stamp { token, id });
                    format!("queued, above the last: {grows}")
                }
                Queued::Full => "full".to_owned(),
            }
        }
        Step::Pending(keys) => {
            let records = backlog.pending(&keys).await.unwrap().into_iter();
            let known = |record: Vec<u8>| {
                let pending = Pending::read(&record).unwrap();
                let at = places.written.iter().position(|stamp| *stamp == pending.stamp);
                (at, pending.envelope)
            };
            show(records.map(|record| record.map(known)).collect::<Vec<_>>())
        }
        Step::Clear(key, at, named) => {
            let stamp = places.at(at);
            let entries = [stamp.id];
            let done = [Done { key: &key, stamp: named.then_some(stamp), entries: &entries }];
            show(backlog.clear(&part(&key), &done).await)
        }
        Step::Rebase(key, at) => {
            let Stamp { token, id } = places.at(at);
            let above = WriteId { ms: id.ms + 1, ..id };
            let moved = backlog.rebase(&key, token, above, b"typed").await.unwrap();
            if let Some(id) = moved {
                places.written.push(Stamp { token, id });
            }
            show(moved.map(|id| id > above))
        }
        Step::Bury(key, at) => {
            let stamp = places.at(at);
            let done = Done { key: &key, stamp: Some(stamp), entries: &[stamp.id] };
            show(backlog.bury(done, b"typed", "why").await)
        }
        Step::Replay(key, at) => {
            let dead = backlog.dead(&part(&key), WriteId::default(), 100).await.unwrap();
            let told = |dead: &Dead| (dead.key.clone(), dead.envelope.clone(), dead.reason.clone());
            let id = dead.get(at % dead.len().max(1)).map(|dead| dead.id);
            // Another's letter under this key would not be ours to replay.
            let id = id.filter(|id| dead.iter().any(|dead| dead.id == *id && dead.key == key));
            let id = id.unwrap_or(WriteId { ms: 1, seq: 0 });
            // A token of each side's own would do, and would have to be told apart below.
            let token = places.at(at).token;
            let replayed = backlog.replay(&key, id, token).await.unwrap();
            show((dead.iter().map(told).collect::<Vec<_>>(), replayed))
        }
        Step::Depth(key) => {
            let depth = backlog.depths(&[part(&key)]).await.unwrap()[0];
            let oldest = depth
                .oldest
                .map(|oldest| places.written.iter().position(|stamp| stamp.id == oldest));
            show((depth.waiting, depth.dead, oldest))
        }
        other => panic!("{other:?} is for those who read"),
    }
}

fn show(answer: impl std::fmt::Debug) -> String {
    format!("{answer:?}")
}

fn show_names<'a>(names: impl Iterator<Item = &'a Vec<u8>>) -> String {
    names.map(|name| name.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
}

fn by_the_hour(time: Duration) -> Duration {
    let hours = (time + LONG / 2).as_secs() / LONG.as_secs();
    Duration::from_secs(hours * LONG.as_secs())
}

fn states(of: Vec<Option<TagState>>) -> Vec<Option<TagState>> {
    let state = |state: TagState| TagState { keeps: by_the_hour(state.keeps), ..state };
    of.into_iter().map(|of| of.map(state)).collect()
}

/// Draws steps over three keys and two tags.
struct Draw {
    chance: Clock,
    app: std::sync::Arc<str>,
    keys: Vec<Key>,
    /// Of these, those of a cache that writes behind.
    behind: Vec<Key>,
    tags: Vec<Tag>,
    /// Tokens sent in READ, the latest last.
    tokens: Vec<Token>,
    /// What was last stored, and the lease that was last asked for over an envelope that was seen.
    stored: Option<(Key, Token)>,
    over: Option<(Key, Token, Token)>,
    drawn: Duration,
}

impl Draw {
    fn new(scene: &Scene, seed: u64) -> Draw {
        let mut keys = ["", "k", "}{"].map(|key| scene.key(key)).to_vec();
        let behind = ["", "}w{"].map(|key| scene.behind(key)).to_vec();
        keys.extend(behind.iter().cloned());
        let tags = ["s", "t"].map(Tag::new).to_vec();
        Draw {
            chance: Clock::of_runtime(seed),
            app: scene.app.clone(),
            keys,
            behind,
            tags,
            tokens: vec![[0; 16]],
            stored: None,
            over: None,
            drawn: Duration::ZERO,
        }
    }

    fn below(&self, bound: usize) -> usize {
        (self.chance.fraction() * bound as f64) as usize
    }

    fn key(&self) -> Key {
        self.keys[self.below(self.keys.len())].clone()
    }

    fn some_tags(&self) -> Vec<Tag> {
        (0..self.below(3)).map(|_| self.tags[self.below(self.tags.len())].clone()).collect()
    }

    fn some_keys(&self) -> Vec<Key> {
        (0..self.below(4)).map(|_| self.key()).collect()
    }

    /// Some hours, and a little more each time: what is kept longer than what was kept before is so
    /// by a whole millisecond, however coarse a side's clock.
    fn hours(&mut self) -> Duration {
        self.drawn += Duration::from_millis(1);
        LONG * [10, 20, 30, 40][self.below(4)] + self.drawn
    }

    /// One of the last few: the holder's, or one that has lost.
    fn token(&self) -> Token {
        let last = self.tokens.len().saturating_sub(4);
        self.tokens[last + self.below(self.tokens.len() - last)]
    }

    fn value(&self, id: Token) -> Vec<u8> {
        match self.below(8) {
            0 => Vec::new(),
            1 => b"short".to_vec(),
            _ => envelope(id, "value"),
        }
    }

    fn step_of_a_write(&mut self) -> Step {
        let key = self.behind[self.below(self.behind.len())].clone();
        match self.below(12) {
            0..=3 => {
                let token = self.chance.nonce();
                self.tokens.push(token);
                Step::Write(key, token, self.value(token), self.hours(), [3, 100][self.below(2)])
            }
            4 => Step::Pending(self.behind.clone()),
            5..=7 => Step::Clear(key, self.below(1000), self.below(4) > 0),
            8 => Step::Rebase(key, self.below(1000)),
            9 => Step::Bury(key, self.below(1000)),
            10 => Step::Replay(key, self.below(1000)),
            _ => Step::Depth(key),
        }
    }

    fn step(&mut self) -> Step {
        let key = self.key();
        match self.below(36) {
            28..=35 => self.step_of_a_write(),
            0 | 1 => Step::Get(self.some_keys(), self.some_tags()),
            2..=6 => {
                let token = self.chance.nonce();
                let (key, seen) = match (self.below(4), self.stored.take()) {
                    (0 | 1, _) => (key, None),
                    (2, Some((key, id))) => (key, Some(id)),
                    _ => (key, Some(self.token())),
                };
                self.tokens.push(token);
                self.over = seen.map(|seen| (key.clone(), token, seen));
                Step::Read(key, token, self.hours(), seen, self.some_tags())
            }
            7 => Step::Discard(key),
            8 => Step::Generations(self.some_tags()),
            9 => Step::TagStates(self.some_tags()),
            10 | 11 => {
                let tags = self.some_tags();
                let tags = tags.into_iter().map(|tag| (tag, self.chance.nonce())).collect();
                Step::Create(tags, self.hours())
            }
            12 => Step::Prolong(self.some_tags(), self.hours()),
            13 | 14 => {
                let token = self.token();
                self.stored = Some((key.clone(), token));
                Step::Store(key, token, self.value(token), self.hours())
            }
            15 => Step::Fail(key, self.token(), self.hours()),
            16 => Step::Release(key, self.token()),
            17 => Step::Extend(key, self.token(), self.hours()),
            18 => {
                let keys = self.some_keys().into_iter().map(Ended::Key);
                let tags = self.some_tags().into_iter().map(Ended::Tag);
                Step::End(keys.chain(tags).collect())
            }
            19 => {
                let keys = self.some_keys().into_iter().map(Ended::SoftKey);
                let tags = self.some_tags().into_iter().map(Ended::SoftTag);
                Step::End(keys.chain(tags).collect())
            }
            20 => {
                let token = self.chance.nonce();
                self.tokens.push(token);
                Step::Guard(self.some_keys(), token, self.hours())
            }
            21 => {
                let token = self.token();
                let guarded = |key| Ended::Guarded(key, token);
                Step::End(self.some_keys().into_iter().map(guarded).collect())
            }
            22 | 23 => {
                let token = self.token();
                let beside = self.some_keys().into_iter().filter(|beside| *beside != key);
                let beside = beside.collect();
                Step::Finish(key, beside, token, self.value(token), self.hours())
            }
            24..=26 => {
                let any = (key, self.token(), self.token());
                let (key, token, seen) = self.over.take().unwrap_or(any);
                Step::Restamp(key, token, seen, envelope(token, ""), self.hours())
            }
            _ => {
                let odd = self.below(6) == 0;
                // What lies under a tag's name may be anything, too.
                let tag = Key::new(&self.tags[self.below(2)].redis_name(&self.app));
                let id = self.chance.nonce();
                Step::Put(if odd { tag } else { key }, self.value(id), self.hours())
            }
        }
    }
}
