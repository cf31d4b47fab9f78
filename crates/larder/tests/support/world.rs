//! The scene most tests start from: a handle, a cache of texts, and a source that counts and can be held.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::{Cache, Clock, Entry, Error, Larder, LarderBuilder, Lifetime, Loaded, MINUTE};
use tokio::sync::{Semaphore, oneshot, watch};

use super::{Ear, PATIENT, soon};

/// The source of truth: what a database is to a service. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Source {
    truth: Arc<Mutex<HashMap<String, String>>>,
    loads: Arc<AtomicUsize>,
    takes: Arc<Mutex<Duration>>,
    /// While closed, loads that have read the truth wait before they answer.
    gate: Arc<Semaphore>,
    waiting: watch::Sender<usize>,
}

impl Default for Source {
    fn default() -> Source {
        Source {
            truth: Arc::default(),
            loads: Arc::default(),
            takes: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS >> 1)),
            waiting: watch::Sender::new(0),
        }
    }
}

impl Source {
    pub fn set(&self, key: &str, value: &str) {
        self.truth.lock().unwrap().insert(key.to_owned(), value.to_owned());
    }

    /// From now on it has no such row: loads of it fail.
    pub fn forget(&self, key: &str) {
        self.truth.lock().unwrap().remove(key);
    }

    pub fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    pub fn takes(&self, time: Duration) {
        *self.takes.lock().unwrap() = time;
    }

    /// From now on loads read the truth and then wait, until [`let_go`](Self::let_go).
    pub fn hold(&self) {
        self.gate.forget_permits(usize::MAX);
    }

    pub fn let_go(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS >> 1);
    }

    /// How many loads are held now.
    pub fn waiting(&self) -> usize {
        *self.waiting.borrow()
    }

    /// Waits until as many loads have read the truth and are held.
    pub async fn held(&self, loads: usize) {
        let mut waiting = self.waiting.subscribe();
        let reached = waiting.wait_for(|waiting| *waiting >= loads);
        soon("a load that is held", reached).await.unwrap();
    }

    /// What a loader does: read the truth, take its time, answer.
    pub fn load(
        &self,
        key: &str,
    ) -> impl Future<Output = Result<String, std::io::Error>> + Send + 'static {
        let (this, key) = (self.clone(), key.to_owned());
        async move {
            this.loads.fetch_add(1, Ordering::SeqCst);
            let value = this.truth.lock().unwrap().get(&key).cloned();
            let takes = *this.takes.lock().unwrap();
            if !takes.is_zero() {
                tokio::time::sleep(takes).await;
            }
            let held = Held::begin(&this.waiting);
            this.gate.acquire().await.unwrap().forget();
            this.gate.add_permits(1);
            drop(held);
            value.ok_or_else(|| std::io::Error::other(format!("no {key}")))
        }
    }

    pub fn find(
        &self,
        key: &str,
    ) -> impl Future<Output = Result<Option<String>, std::io::Error>> + Send + 'static {
        let loading = self.load(key);
        async move { Ok(loading.await.ok()) }
    }
}

/// Counts a load among those that wait, for as long as it does.
struct Held(watch::Sender<usize>);

impl Held {
    fn begin(waiting: &watch::Sender<usize>) -> Held {
        waiting.send_modify(|waiting| *waiting += 1);
        Held(waiting.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

/// One load, led by hand: see [`stepped`].
pub struct Step {
    began: oneshot::Receiver<()>,
    go: oneshot::Sender<String>,
}

impl Step {
    /// Waits until the loader is asked.
    pub async fn begins(&mut self) {
        soon("the loader is asked", &mut self.began).await.unwrap();
    }

    /// The load answers, with what it had read before all that happened since.
    pub fn answers(self, value: &str) {
        let _ = self.go.send(value.to_owned());
    }
}

/// A load, and the hand that leads it.
pub fn stepped() -> (Step, impl Future<Output = Result<String, std::io::Error>> + Send + 'static) {
    let (begin, began) = oneshot::channel();
    let (go, gone) = oneshot::channel();
    let load = async move {
        let _ = begin.send(());
        gone.await.map_err(std::io::Error::other)
    };
    (Step { began, go }, load)
}

/// Reads in a task of its own, from any view, with a load that is led by hand.
pub fn reading_of<L: Into<Loaded<String>> + 'static>(
    cache: &Cache<str, String>,
    key: &str,
    load: impl Future<Output = Result<L, std::io::Error>> + Send + 'static,
) -> tokio::task::JoinHandle<Result<Entry<String>, Error>> {
    let (cache, key) = (cache.clone(), key.to_owned());
    tokio::spawn(async move { cache.get_or_load(&key, move || load).await })
}

/// One process' view: its handle, its ear, its cache `words`.
#[derive(Clone)]
pub struct World {
    pub larder: Larder,
    pub words: Cache<str, String>,
    pub source: Source,
    pub ear: Ear,
}

impl World {
    /// On the Redis at `url`.
    pub async fn on(url: &str) -> World {
        World::beside(url, &Source::default()).await
    }

    /// Another process on the same Redis and the same source.
    pub async fn beside(url: &str, source: &Source) -> World {
        World::of(Larder::builder("test").redis(url).far_deadline(PATIENT), source).await
    }

    /// Embedded.
    pub async fn embedded() -> World {
        World::of(Larder::builder("test"), &Source::default()).await
    }

    pub async fn of(builder: LarderBuilder, source: &Source) -> World {
        let ear = Ear::default();
        let builder = builder.invalidate_deadline(PATIENT).observer(ear.observer());
        let larder = builder.open().await.unwrap();
        let lifetime = Lifetime::fresh_for(MINUTE).jitter(0.0);
        let words = larder.cache("words").lifetime(lifetime).shared().unwrap();
        World { larder, words, source: source.clone(), ear }
    }

    /// Reads with a load that is led by hand.
    pub fn reading_by(
        &self,
        key: &str,
        load: impl Future<Output = Result<String, std::io::Error>> + Send + 'static,
    ) -> tokio::task::JoinHandle<Result<Entry<String>, Error>> {
        reading_of(&self.words, key, load)
    }

    /// What near or far have, and where: `"old far"`.
    pub async fn has(&self, key: &str) -> String {
        match self.words.get(key).await.unwrap() {
            Some(entry) => format!("{} {}", *entry, entry.origin()),
            None => "nothing".to_owned(),
        }
    }

    pub async fn read(&self, key: &str) -> Result<Entry<String>, Error> {
        let loading = self.source.load(key);
        self.words.get_or_load(key, move || loading).await
    }

    /// Reads, in a task of its own.
    pub fn reading(&self, key: &str) -> tokio::task::JoinHandle<Result<Entry<String>, Error>> {
        let (this, key) = (self.clone(), key.to_owned());
        tokio::spawn(async move { this.read(&key).await })
    }

    /// As [`read`](Self::read), under tags.
    pub async fn read_tagged(&self, key: &str, tag: &str) -> Result<Entry<String>, Error> {
        let loading = self.source.load(key);
        self.words.tagged([tag]).get_or_load(key, move || loading).await
    }

    pub fn reading_tagged(
        &self,
        key: &str,
        tag: &str,
    ) -> tokio::task::JoinHandle<Result<Entry<String>, Error>> {
        let (this, key, tag) = (self.clone(), key.to_owned(), tag.to_owned());
        tokio::spawn(async move { this.read_tagged(&key, &tag).await })
    }
}
