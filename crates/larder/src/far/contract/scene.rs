//! Where every case begins: two processes on one shared side, each with what it was told.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::SharedMemory;
#[cfg(feature = "redis")]
use crate::clock::MINUTE;
use crate::clock::{Clock, HOUR};
use crate::entry::{Answered, Ended, Generation, SoftHalf, Token};
use crate::far::memory::MemoryFar;
use crate::far::{Change, Changes, Claim, Far, Link, TagState};
use crate::key::{Key, KeyBuf, Namespace, Tag};

/// Longer than any test runs.
pub(super) const LONG: Duration = HOUR;
/// Soon over; then [`Scene::until`] waits for what comes of it.
pub(super) const SHORT: Duration = Duration::from_millis(30);
/// What a tag's soft half becomes when it ends softly.
pub(super) const SOFT: SoftHalf = [9; 8];
/// How often [`Scene::until`] looks, a few milliseconds apart: many times longer than anything takes.
const LOOKS: usize = 10_000;

/// Two processes on one shared side.
pub struct Scene {
    pub(super) one: Process,
    pub(super) other: Process,
    pub(super) clock: Clock,
    pub(super) app: Arc<str>,
}

/// One of them: its far side, and the changes it was told, in order.
pub(super) struct Process {
    pub(super) far: Arc<dyn Far>,
    told: Arc<Mutex<Vec<Told>>>,
    clock: Clock,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    Name(Vec<u8>),
    Gap,
}

impl Scene {
    /// Embedded, on the runtime's clock: a test may pause it.
    pub fn memory() -> Scene {
        Scene::memory_of(64 << 20)
    }

    pub(super) fn memory_of(bytes_max: usize) -> Scene {
        Scene::on(&SharedMemory::new(bytes_max, Clock::of_runtime(7)), "contract")
    }

    pub(super) fn on(memory: &SharedMemory, app: &str) -> Scene {
        let process = || {
            Process::new(memory.clock(), |changes| {
                Arc::new(MemoryFar::new(memory.shelf().clone(), app, changes))
            })
        };
        let (one, other) = (process(), process());
        Scene { one, other, clock: memory.clock().clone(), app: Arc::from(app) }
    }

    /// On the Redis at `url`, under an app of its own: scenes on one server do not meet.
    #[cfg(feature = "redis")]
    pub async fn redis(url: &str) -> Scene {
        // Two busy cores must not look like a lost connection.
        Scene::redis_within(url, MINUTE).await
    }

    /// The same, with another bound B.
    #[cfg(feature = "redis")]
    pub async fn redis_within(url: &str, bound: Duration) -> Scene {
        let clock = Clock::system().unwrap();
        let app = format!("contract-{:032x}", u128::from_be_bytes(clock.nonce()));
        let one = Process::on_redis(url, bound, &clock, &app).await;
        let other = Process::on_redis(url, bound, &clock, &app).await;
        Scene { one, other, clock, app: Arc::from(app) }
    }

    pub(super) fn key(&self, key: &str) -> Key {
        let mut name = KeyBuf::new();
        let namespace = Namespace::new(&self.app, "c", 1).unwrap();
        namespace.shared(key, 512, &mut name).unwrap();
        Key::new(&name)
    }

    /// One of a cache that writes behind, in one partition.
    pub(super) fn behind(&self, key: &str) -> Key {
        let mut name = KeyBuf::new();
        let namespace = Namespace::behind(&self.app, "b", 1, 1).unwrap();
        namespace.shared(key, 512, &mut name).unwrap();
        Key::new(&name)
    }

    /// The name of a tag's generation, as it stands on the shared side.
    pub(super) fn t(&self, tag: &Tag) -> Vec<u8> {
        tag.redis_name(&self.app)
    }

    /// What nobody else drew: a token, a generation.
    pub(super) fn draw(&self) -> [u8; 16] {
        self.clock.nonce()
    }

    /// Looks again and again until `is` holds.
    pub(super) async fn until<F, Looking>(&self, what: &str, mut is: F)
    where
        F: FnMut() -> Looking,
        Looking: Future<Output = bool>,
    {
        for _ in 0..LOOKS {
            if is().await {
                return;
            }
            self.clock.sleep(Duration::from_millis(5)).await;
        }
        panic!("waited in vain for: {what}");
    }
}

impl Process {
    fn new(clock: &Clock, open: impl FnOnce(Changes) -> Arc<dyn Far>) -> Process {
        let told = Arc::new(Mutex::new(Vec::new()));
        let far = open(ear(&told));
        Process { far, told, clock: clock.clone() }
    }

    #[cfg(feature = "redis")]
    async fn on_redis(url: &str, bound: Duration, clock: &Clock, app: &str) -> Process {
        use crate::clock::SECOND;
        use crate::far::redis::{Settings, open};
        use crate::policy::AfterFailover;
        use crate::redis::Wishes;

        let told = Arc::new(Mutex::new(Vec::new()));
        let settings = Settings {
            wishes: Wishes {
                url: url.to_owned(),
                credentials: None,
                sentinel_credentials: None,
                address_map: None,
                #[cfg(feature = "tls")]
                tls: None,
                patience: 10 * SECOND,
                keepalive: 30 * SECOND,
            },
            bound,
            deadline: 10 * SECOND,
            end_deadline: 10 * SECOND,
            required: true,
            // As the embedded side: answers are compared.
            after_failover: AfterFailover::Accept,
            breaker: crate::policy::BreakerSettings::new(),
            scripts: &[],
        };
        let observe = crate::observe::Observe::new(None);
        let opening = open(settings, app, ear(&told), clock.clone(), observe);
        let far = opening.await.unwrap().far;
        told.lock().clear(); // a new connection is a gap
        Process { far, told, clock: clock.clone() }
    }

    pub(super) fn link(&self) -> Arc<dyn Link> {
        self.far.link().unwrap()
    }

    /// What it was told since it was last asked, every change acknowledged before now among it.
    pub(super) async fn told(&self) -> Vec<Told> {
        self.link().sync().await.unwrap();
        self.told_so_far()
    }

    pub(super) fn told_so_far(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock())
    }

    /// Was it told of all these names since it was last asked?
    pub(super) async fn is_told(&self, names: &[&[u8]]) -> bool {
        let told = self.told().await;
        names.iter().all(|name| told.contains(&Told::Name(name.to_vec())))
    }

    /// What READ says to one who rejected nothing and asks for no tags, under a token never sent.
    pub(super) async fn claim(&self, key: &Key) -> Claim {
        self.claim_over(key, None).await
    }

    pub(super) async fn claim_over(&self, key: &Key, seen: Option<Token>) -> Claim {
        let token = self.clock.nonce();
        self.link().read(key, token, LONG, seen, &[]).await.unwrap().claim
    }

    /// A token never sent.
    pub(super) fn far_token(&self) -> Token {
        self.clock.nonce()
    }

    /// Takes the lease of a key that has neither value nor lease.
    pub(super) async fn granted(&self, key: &Key, lease: Duration) -> Token {
        let token = self.clock.nonce();
        let read = self.link().read(key, token, lease, None, &[]).await.unwrap();
        assert_eq!(read.claim, Claim::Granted);
        token
    }

    pub(super) async fn store(&self, key: &Key, token: Token, bytes: &[u8]) -> bool {
        self.link().store(key, token, bytes, LONG).await.unwrap()
    }

    pub(super) async fn put(&self, key: &Key, bytes: &[u8]) {
        self.far.put(key, bytes, LONG).await.unwrap();
    }

    pub(super) async fn end_key(&self, key: &Key) {
        self.far.end(&[Ended::Key(key.clone())], SOFT).await.unwrap();
    }

    pub(super) async fn end_tag(&self, tag: &Tag) {
        self.far.end(&[Ended::Tag(tag.clone())], SOFT).await.unwrap();
    }

    pub(super) async fn value(&self, key: &Key) -> Option<Vec<u8>> {
        self.bytes(key.v()).await
    }

    /// The lease's record, raw.
    pub(super) async fn lease(&self, key: &Key) -> Option<Vec<u8>> {
        self.bytes(&key.l()).await
    }

    /// What lies under any name.
    pub(super) async fn bytes(&self, name: &[u8]) -> Option<Vec<u8>> {
        let got = self.link().get(&[Key::new(name)], &[]).await.unwrap();
        got.values.into_iter().next().unwrap().map(|answered| answered.bytes)
    }

    pub(super) async fn generation(&self, tag: &Tag) -> Option<Generation> {
        self.link().generations(std::slice::from_ref(tag)).await.unwrap().pop().unwrap()
    }

    pub(super) async fn state(&self, tag: &Tag) -> Option<TagState> {
        self.link().tag_states(std::slice::from_ref(tag)).await.unwrap().pop().unwrap()
    }

    /// Makes a tag that is not there.
    pub(super) async fn made(&self, tag: &Tag, keep: Duration) -> Generation {
        let nonce = self.clock.nonce();
        let made = self.link().create(&[(tag.clone(), nonce)], keep).await.unwrap();
        assert_eq!(made, [Some(nonce.into())]);
        nonce.into()
    }
}

/// States of tags without their times.
pub(super) fn generations(states: &[Option<TagState>]) -> Vec<Option<Generation>> {
    states.iter().map(|state| state.map(|state| state.generation)).collect()
}

fn ear(told: &Arc<Mutex<Vec<Told>>>) -> Changes {
    let told = told.clone();
    Arc::new(move |change| {
        let change = match change {
            Change::Name(name) => Told::Name(name.to_vec()),
            Change::Gap | Change::Another => Told::Gap,
            #[cfg(feature = "redis")]
            Change::Slots(_) => Told::Gap,
            Change::Lost => return,
        };
        told.lock().push(change);
    })
}

/// The bytes of an entry with this id, as far as a far side looks into them.
pub(super) fn envelope(id: Token, text: &str) -> Vec<u8> {
    [b"\xC1\x01\0\0\0\0\0\0", id.as_slice(), text.as_bytes()].concat()
}

pub(super) fn bytes(of: &[u8]) -> Option<Vec<u8>> {
    Some(of.to_vec())
}

/// What a side that is believed answered.
pub(super) fn answered(of: &[u8]) -> Option<Answered> {
    Some(of.to_vec().into())
}

pub(super) fn is_held(claim: &Claim) -> bool {
    matches!(claim, Claim::Held(left) if !left.is_zero())
}
