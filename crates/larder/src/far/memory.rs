//! The far side in this process: the embedded default, and the one that tests own.
//!
//! It keeps bytes like Redis does, with the same answers, and is bounded: over its budget it forgets
//! what was written longest ago, which every reader must stand anyway. A change is told to everyone
//! before the call that made it ends, so what it answers may always be believed.
//!
//! When the process dies, all of it is gone: that is what embedded means.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use foldhash::fast::FixedState;
use parking_lot::Mutex;

use crate::clock::{Clock, Moment};
use crate::entry::{Answered, Ended, Generation, Incarnation, Nonce, SoftHalf, Token, envelope};
use crate::error::FarError;
use crate::key::{Key, Tag};
use crate::pulse::Pulse;

use super::guards::{GUARDS_MAX, Guards};
use super::{
    Change, Changes, Claim, Far, Finish, Generations, Got, Link, Read, Reply, Restamped, TagState,
};

mod backlog;
#[cfg(feature = "test-support")]
pub(super) mod faults;

/// Bytes of bookkeeping that come with each name.
const OVERHEAD: usize = 160;

/// What several [`MemoryFar`]s share: one shelf, as if they were processes on one Redis.
pub(crate) struct Shelf {
    /// Held for one command, and while its changes are told.
    state: Mutex<State>,
    listeners: Mutex<Vec<(usize, Changes)>>,
    bytes_max: usize,
    clock: Clock,
    /// In whose name it answers.
    by: AtomicU64,
    #[cfg(feature = "test-support")]
    faults: faults::Faults,
}

#[derive(Clone)]
struct State {
    items: HashMap<Arc<[u8]>, Item, FixedState>,
    by_end: BTreeSet<(Moment, Arc<[u8]>)>,
    by_write: BTreeMap<u64, Arc<[u8]>>,
    /// How many there were.
    written: u64,
    bytes: usize,
    /// Those that wait for their source.
    writes: backlog::Writes,
}

#[derive(Clone)]
struct Item {
    bytes: Vec<u8>,
    ends: Moment,
    written: u64,
}

impl Shelf {
    pub(crate) fn new(bytes_max: usize, clock: Clock) -> Arc<Shelf> {
        Arc::new(Shelf {
            state: Mutex::new(State::new(&clock)),
            listeners: Mutex::default(),
            bytes_max,
            clock,
            by: AtomicU64::new(0),
            #[cfg(feature = "test-support")]
            faults: faults::Faults::default(),
        })
    }

    /// What it holds is from now on told by another process, as after a failover.
    #[cfg(feature = "test-support")]
    pub(crate) fn answers_as(&self, by: Incarnation) {
        self.by.store(by, Ordering::Release);
    }

    /// What is kept ends by this.
    fn now(&self) -> Moment {
        let now = self.clock.now();
        #[cfg(feature = "test-support")]
        let now = self.faults.now(now);
        now
    }

    /// One command: `run` changes the state and names what it changed.
    fn step<T>(&self, from: Option<usize>, run: impl FnOnce(&mut Step<'_>) -> T) -> T {
        let mut state = self.state.lock();
        let now = self.now();
        let mut changed = Vec::new();
        state.expire(now, &mut changed);
        // Like Redis: what runs out is told to all but the one whose own command came upon it.
        self.tell(&changed, from);
        changed.clear();
        let by = self.by.load(Ordering::Acquire);
        let mut step = Step { shelf: self, state: &mut state, now, by, own: Vec::new() };
        let answer = run(&mut step);
        let own = step.own;
        state.shrink(self.bytes_max, &mut changed);
        self.tell(&changed, None);
        // What came over a tracked connection is not told to the one it came from.
        self.tell(&own, from);
        answer
    }

    // Told under the shelf's lock: listeners never call back, and so everyone hears of changes in the
    // order in which they happened, as over one wire.
    fn tell(&self, names: &[Arc<[u8]>], but: Option<usize>) {
        if names.is_empty() {
            return;
        }
        for (id, listener) in self.listeners.lock().iter() {
            if Some(*id) != but {
                names.iter().for_each(|name| listener(Change::Name(name)));
            }
        }
    }
}

impl State {
    fn new(clock: &Clock) -> State {
        State {
            items: HashMap::with_hasher(clock.hasher()),
            by_end: BTreeSet::new(),
            by_write: BTreeMap::new(),
            written: 0,
            bytes: 0,
            writes: backlog::Writes::default(),
        }
    }

    fn expire(&mut self, now: Moment, changed: &mut Vec<Arc<[u8]>>) {
        while let Some((ends, name)) = self.by_end.first().cloned() {
            if ends > now {
                return;
            }
            self.remove(&name);
            changed.push(name);
        }
    }

    fn shrink(&mut self, bytes_max: usize, changed: &mut Vec<Arc<[u8]>>) {
        // One that could never fit goes alone, instead of taking all the others with it.
        let last = self.by_write.last_key_value().map(|(_, name)| name.clone());
        let too_large = |name: &Arc<[u8]>| {
            let item = self.items.get(name);
            item.is_some_and(|item| OVERHEAD + name.len() + item.bytes.len() > bytes_max)
        };
        if let Some(name) = last.filter(too_large) {
            self.remove(&name);
            changed.push(name);
        }
        while self.bytes > bytes_max {
            let Some((_, name)) = self.by_write.first_key_value() else { return };
            let name = name.clone();
            self.remove(&name);
            changed.push(name);
        }
    }

    fn remove(&mut self, name: &[u8]) -> bool {
        let Some((name, item)) = self.items.remove_entry(name) else { return false };
        self.bytes -= OVERHEAD + name.len() + item.bytes.len();
        self.by_write.remove(&item.written);
        self.by_end.remove(&(item.ends, name));
        true
    }

    fn set(&mut self, name: &[u8], bytes: Vec<u8>, ends: Moment) -> Arc<[u8]> {
        self.remove(name);
        let name: Arc<[u8]> = Arc::from(name);
        self.written += 1;
        self.bytes += OVERHEAD + name.len() + bytes.len();
        self.by_write.insert(self.written, name.clone());
        self.by_end.insert((ends, name.clone()));
        self.items.insert(name.clone(), Item { bytes, ends, written: self.written });
        name
    }
}

/// The inside of one command, in the words of Redis.
struct Step<'a> {
    #[cfg_attr(not(feature = "test-support"), allow(dead_code, reason = "simulations look on"))]
    shelf: &'a Shelf,
    state: &'a mut State,
    now: Moment,
    by: Incarnation,
    /// Changed by this command.
    own: Vec<Arc<[u8]>>,
}

impl Step<'_> {
    fn get(&self, name: &[u8]) -> Option<&Item> {
        self.state.items.get(name)
    }

    fn bytes(&self, name: &[u8]) -> Option<&[u8]> {
        self.get(name).map(|item| item.bytes.as_slice())
    }

    fn left(&self, name: &[u8]) -> Option<Duration> {
        self.get(name).map(|item| item.ends.since(self.now))
    }

    fn set(&mut self, name: &[u8], bytes: Vec<u8>, keep: Duration) {
        #[cfg(feature = "test-support")]
        self.shelf.faults.written(name, &bytes, keep);
        let name = self.state.set(name, bytes, self.now.plus(keep));
        self.own.push(name);
    }

    fn unlink(&mut self, name: &[u8]) {
        if self.state.remove(name) {
            self.own.push(Arc::from(name));
        }
    }

    fn keep(&mut self, name: &[u8], keep: Duration) {
        if let Some(item) = self.get(name) {
            let bytes = item.bytes.clone();
            self.set(name, bytes, keep);
        }
    }

    fn generation(&self, name: &[u8]) -> Option<Generation> {
        let nonce: Nonce = self.bytes(name)?.try_into().ok()?;
        Some(Generation { nonce, by: self.by })
    }

    fn answered(&self, name: &[u8]) -> Option<Answered> {
        let bytes = self.bytes(name).or_else(|| self.state.writes.pending(name))?;
        Some(Answered { bytes: bytes.to_vec(), by: self.by })
    }

    /// The write of a key that waits for its source.
    fn pending(&self, key: &Key) -> Option<&[u8]> {
        self.state.writes.pending(&key.d()?)
    }

    /// The guards of writers on a key, if any is open.
    fn guards(&self, key: &Key) -> Option<Guards> {
        Guards::read(self.bytes(&key.l())?, self.now.ms())
    }

    /// The value goes, and the lease; guards stay, but for `own`, and are told.
    fn end(&mut self, key: &Key, own: Option<&Token>) {
        self.unlink(key.v());
        self.end_loads(key, own);
    }

    fn end_loads(&mut self, key: &Key, own: Option<&Token>) {
        match self.guards(key).and_then(|guards| guards.without(own)) {
            Some(guards) => self.keep_guards(key, Guards { touched: true, ..guards }),
            None => self.unlink(&key.l()),
        }
    }

    fn keep_guards(&mut self, key: &Key, guards: Guards) {
        let left = guards.latest().saturating_sub(self.now.ms());
        self.set(&key.l(), guards.write(), Duration::from_millis(left));
    }

    /// The value is marked, and stays for as long as it would have; loads end all the same.
    fn end_softly(&mut self, key: &Key) {
        self.end_loads(key, None);
        let Some((mut bytes, left)) = self.bytes_and_left(key.v()) else { return };
        match envelope::mark_soft_expired(&mut bytes) {
            true => self.set(key.v(), bytes, left),
            false => self.unlink(key.v()),
        }
    }

    fn end_tag_softly(&mut self, name: &[u8], soft: SoftHalf) {
        let Some((mut bytes, left)) = self.bytes_and_left(name) else { return };
        match bytes.len() {
            // As good as none, to Redis' STRLEN.
            0 => {}
            16 => {
                bytes[8..].copy_from_slice(&soft);
                self.set(name, bytes, left);
            }
            _ => self.unlink(name),
        }
    }

    fn bytes_and_left(&self, name: &[u8]) -> Option<(Vec<u8>, Duration)> {
        Some((self.bytes(name)?.to_vec(), self.left(name)?))
    }

    fn guard(&mut self, key: &Key, token: Token, time: Duration) -> Result<(), FarError> {
        self.unlink(key.v());
        let mut guards = self.guards(key).unwrap_or_default();
        guards.open.retain(|(open, _)| *open != token);
        if guards.open.len() >= GUARDS_MAX {
            let text = "256 writers guard this key already";
            return Err(FarError::Refused(text.to_owned()));
        }
        if guards.open.is_empty() {
            guards.touched = false;
        }
        guards.open.push((token, self.now.ms() + duration_ms(time)));
        self.keep_guards(key, guards);
        Ok(())
    }

    fn finish(&mut self, finish: Finish<'_>) -> bool {
        let Finish { key, token, .. } = finish;
        let record = self.bytes(&key.l());
        let is_alone = record.is_some_and(|record| Guards::is_alone(record, &token));
        if is_alone {
            self.set(key.v(), finish.envelope.to_vec(), finish.keep);
            self.unlink(&key.l());
        } else {
            self.end(key, Some(&token));
        }
        is_alone
    }

    fn holds(&self, lease: &[u8], token: &Token) -> bool {
        self.bytes(lease).and_then(|held| held.strip_prefix(b"T")) == Some(token)
    }
}

/// One process' connection to a shelf.
pub(crate) struct MemoryFar {
    link: Arc<MemoryLink>,
}

struct MemoryLink {
    closed: AtomicBool,
    shelf: Arc<Shelf>,
    app: Arc<str>,
    id: usize,
    pulse: Arc<Pulse>,
}

impl MemoryFar {
    pub(crate) fn new(shelf: Arc<Shelf>, app: &str, changes: Changes) -> MemoryFar {
        let id = {
            let mut listeners = shelf.listeners.lock();
            let id = listeners.last().map_or(0, |(id, _)| id + 1);
            listeners.push((id, changes));
            id
        };
        let pulse = Arc::new(Pulse::always());
        let closed = AtomicBool::new(false);
        MemoryFar { link: Arc::new(MemoryLink { closed, shelf, app: Arc::from(app), id, pulse }) }
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        self.shelf.listeners.lock().retain(|(id, _)| *id != self.id);
    }
}

impl MemoryLink {
    /// A command on the tracked connection.
    fn tracked<T>(&self, run: impl FnOnce(&mut Step<'_>) -> T) -> T {
        self.shelf.step(Some(self.id), run)
    }

    /// A command on the untracked connection: we hear of its changes like anyone.
    fn untracked<'a, T: Send + 'a>(&self, run: impl FnOnce(&mut Step<'_>) -> T) -> Reply<'a, T> {
        if let Err(closed) = self.open() {
            return Box::pin(std::future::ready(Err(closed)));
        }
        ready(self.shelf.step(None, run))
    }

    fn open(&self) -> Result<(), FarError> {
        if self.closed.load(Ordering::Acquire) { Err(FarError::Closed) } else { Ok(()) }
    }

    fn states_of(&self, step: &Step<'_>, tags: &[Tag]) -> Vec<Option<TagState>> {
        let state = |tag: &Tag| {
            let name = tag.redis_name(&self.app);
            let generation = step.generation(&name)?;
            Some(TagState { generation, keeps: step.left(&name)? })
        };
        tags.iter().map(state).collect()
    }

    fn generations_of(&self, step: &Step<'_>, tags: &[Tag]) -> Generations {
        tags.iter().map(|tag| step.generation(&tag.redis_name(&self.app))).collect()
    }
}

/// At least one, as Redis wants it.
fn duration_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn ready<'a, T: Send + 'a>(answer: T) -> Reply<'a, T> {
    Box::pin(std::future::ready(Ok(answer)))
}

impl Link for MemoryLink {
    fn pulse(&self, _key: &Key, _tags: &[Tag]) -> Arc<Pulse> {
        self.pulse.clone()
    }

    fn tells_changes(&self) -> bool {
        true
    }

    fn believed(&self, _asked: Moment, _key: &Key, _tags: &[Tag]) -> Arc<Pulse> {
        self.pulse.clone()
    }

    fn incarnation(&self, _key: &Key) -> Incarnation {
        self.shelf.by.load(Ordering::Acquire)
    }

    fn server_ms_at(&self, now: Moment, _key: &Key) -> u64 {
        // Any clock will do that all readers of this shelf share.
        now.ms()
    }

    fn get<'a>(&'a self, keys: &'a [Key], tags: &'a [Tag]) -> Reply<'a, Got> {
        ready(self.tracked(|step| {
            let values = keys.iter().map(|key| step.answered(key.v())).collect();
            Got { values, generations: self.generations_of(step, tags), in_order: true }
        }))
    }

    fn read<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        lease: Duration,
        seen: Option<Token>,
        tags: &'a [Tag],
    ) -> Reply<'a, Read> {
        ready(self.tracked(|step| {
            let claim = match step.answered(key.v()) {
                Some(v) if seen.is_none() || envelope::id(&v.bytes) != seen => Claim::Value(v),
                _ => match (step.pending(key), step.bytes(&key.l())) {
                    (Some(record), _) => super::pending_claim(record),
                    (None, Some(l)) => {
                        super::read_lease(l, step.left(&key.l()).unwrap_or_default())
                    }
                    (None, None) => {
                        step.set(&key.l(), [b"T", token.as_slice()].concat(), lease);
                        Claim::Granted
                    }
                },
            };
            let rejected = !matches!(claim, Claim::Value(_) | Claim::Pending(_));
            let is_there = rejected && step.bytes(key.v()).is_some();
            Read { claim, is_there, by: step.by, tags: self.states_of(step, tags), in_order: true }
        }))
    }

    fn generations<'a>(&'a self, tags: &'a [Tag]) -> Reply<'a, Generations> {
        ready(self.tracked(|step| self.generations_of(step, tags)))
    }

    fn tag_states<'a>(&'a self, tags: &'a [Tag]) -> Reply<'a, Vec<Option<TagState>>> {
        ready(self.tracked(|step| self.states_of(step, tags)))
    }

    fn create<'a>(
        &'a self,
        tags: &'a [(Tag, Nonce)],
        keep: Duration,
    ) -> Reply<'a, Vec<Option<Generation>>> {
        ready(self.tracked(|step| {
            let (mut made, mut in_the_way) = (Vec::with_capacity(tags.len()), Vec::new());
            for (tag, nonce) in tags {
                let name = tag.redis_name(&self.app);
                if step.bytes(&name).is_none() {
                    step.set(&name, nonce.to_vec(), keep);
                }
                let generation = step.generation(&name);
                if generation.is_none() {
                    in_the_way.push(name);
                }
                made.push(generation);
            }
            // At the end: a second nonce for the same tag must not take its place either.
            in_the_way.iter().for_each(|name| step.unlink(name));
            made
        }))
    }

    fn prolong<'a>(
        &'a self,
        tags: &'a [Tag],
        keep: Duration,
    ) -> Reply<'a, Vec<Option<Generation>>> {
        ready(self.tracked(|step| {
            for tag in tags {
                let name = tag.redis_name(&self.app);
                if step.left(&name).is_some_and(|left| left < keep) {
                    step.keep(&name, keep);
                }
            }
            self.generations_of(step, tags).into_vec()
        }))
    }

    fn store<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        envelope: &'a [u8],
        keep: Duration,
    ) -> Reply<'a, bool> {
        ready(self.tracked(|step| {
            let ours = step.holds(&key.l(), &token);
            if ours {
                step.set(key.v(), envelope.to_vec(), keep);
                step.unlink(&key.l());
            }
            ours
        }))
    }

    fn restamp<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        seen: Token,
        head: &'a [u8],
        keep: Duration,
    ) -> Reply<'a, Restamped> {
        ready(self.tracked(|step| {
            if !step.holds(&key.l(), &token) {
                return Restamped::Lost;
            }
            match step.bytes(key.v()).filter(|bytes| envelope::id(bytes) == Some(seen)) {
                None => Restamped::Gone,
                Some(bytes) => {
                    let payload = bytes.get(head.len()..).unwrap_or_default();
                    let bytes = [head, payload].concat();
                    step.set(key.v(), bytes, keep);
                    step.unlink(&key.l());
                    Restamped::Done
                }
            }
        }))
    }

    fn fail<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        code: &'a str,
        backoff: Duration,
    ) -> Reply<'a, bool> {
        ready(self.tracked(|step| {
            let ours = step.holds(&key.l(), &token);
            if ours {
                let record = [b"E", token.as_slice(), code.as_bytes()].concat();
                step.set(&key.l(), record, backoff);
            }
            ours
        }))
    }

    fn release<'a>(&'a self, key: &'a Key, token: Token, _within: Duration) -> Reply<'a, bool> {
        ready(self.tracked(|step| {
            let ours = step.holds(&key.l(), &token);
            if ours {
                step.unlink(&key.l());
            }
            ours
        }))
    }

    fn extend<'a>(&'a self, key: &'a Key, token: Token, lease: Duration) -> Reply<'a, bool> {
        ready(self.tracked(|step| {
            let ours = step.holds(&key.l(), &token);
            if ours {
                step.keep(&key.l(), lease);
            }
            ours
        }))
    }

    fn sync(&self) -> Reply<'_, ()> {
        ready(())
    }
}

impl Far for MemoryFar {
    fn link(&self) -> Result<Arc<dyn Link>, FarError> {
        self.link.open()?;
        Ok(self.link.clone())
    }

    fn end<'a>(&'a self, ended: &'a [Ended], soft: SoftHalf) -> Reply<'a, ()> {
        self.link.untracked(|step| {
            for name in ended {
                match name {
                    Ended::Key(key) => step.end(key, None),
                    Ended::Guarded(key, token) => step.end(key, Some(token)),
                    Ended::Tag(tag) => step.unlink(&tag.redis_name(&self.link.app)),
                    Ended::SoftKey(key) => step.end_softly(key),
                    Ended::SoftTag(tag) => {
                        step.end_tag_softly(&tag.redis_name(&self.link.app), soft);
                    }
                }
            }
        })
    }

    fn guard<'a>(
        &'a self,
        keys: &'a [Key],
        token: Token,
        time: Duration,
    ) -> Reply<'a, Incarnation> {
        let guarding = self.link.untracked(move |step| {
            let all = keys.iter().map(|key| step.guard(key, token, time));
            all.fold(Ok(()), Result::and).map(|()| step.by)
        });
        Box::pin(async move { guarding.await? })
    }

    fn finish<'a>(&'a self, finish: Finish<'a>) -> Reply<'a, bool> {
        self.link.untracked(|step| {
            finish.beside.iter().for_each(|key| step.end(key, Some(&finish.token)));
            step.finish(finish)
        })
    }

    fn put<'a>(&'a self, key: &'a Key, envelope: &'a [u8], keep: Duration) -> Reply<'a, bool> {
        self.link.untracked(|step| {
            if step.guards(key).is_some() {
                step.end(key, None);
                return false;
            }
            step.set(key.v(), envelope.to_vec(), keep);
            step.unlink(&key.l());
            true
        })
    }

    fn discard<'a>(&'a self, keys: &'a [Key]) -> Reply<'a, ()> {
        self.link.untracked(|step| keys.iter().for_each(|key| step.unlink(key.v())))
    }

    fn backlog(&self) -> Option<&dyn super::backlog::Backlog> {
        Some(self)
    }

    fn is_back(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    fn close(&self) {
        self.link.closed.store(true, Ordering::Release);
        self.link.pulse.end();
    }
}
