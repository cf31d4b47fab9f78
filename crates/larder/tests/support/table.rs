//! A table of a database that is read and written through a cache; a write of it can be led by hand.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use larder::{BoxError, Cache, Loaded, Sink, Source, Through};
use tokio::sync::oneshot;

use super::soon;

/// Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Table(Arc<Inner>);

pub type Rows = Through<str, String, Table>;

#[derive(Default)]
struct Inner {
    /// What it holds, and every value that was committed, in that order: one commit changes both.
    rows: Mutex<(HashMap<String, String>, Vec<String>)>,
    /// What will become of the next writes.
    next: Mutex<VecDeque<Hand>>,
    loads: AtomicUsize,
    queries: AtomicUsize,
    writes: AtomicUsize,
}

/// The inside of a write that is led by hand.
struct Hand {
    begin: oneshot::Sender<()>,
    commit: oneshot::Receiver<()>,
    committed: oneshot::Sender<()>,
    answer: oneshot::Receiver<Result<(), io::Error>>,
}

/// A write of the table, led by hand. Its call may be answered before it is committed. Dropped, its sink hangs for
/// ever.
pub struct Writing {
    began: oneshot::Receiver<()>,
    commit: Option<oneshot::Sender<()>>,
    committed: oneshot::Receiver<()>,
    answer: Option<oneshot::Sender<Result<(), io::Error>>>,
}

impl Writing {
    /// Waits until the sink is asked.
    pub async fn begins(&mut self) {
        soon("the sink is asked", &mut self.began).await.unwrap();
    }

    /// Lets it commit, and comes back when it has.
    pub async fn commits(&mut self) {
        self.commit.take().unwrap().send(()).unwrap();
        soon("a commit", &mut self.committed).await.unwrap();
    }

    pub fn answers(&mut self, answer: Result<(), io::Error>) {
        let _ = self.answer.take().unwrap().send(answer);
    }

    /// From the beginning to the end.
    pub async fn goes_on(mut self) {
        self.commits().await;
        self.answers(Ok(()));
    }
}

impl Table {
    pub fn through(&self, cache: &Cache<str, String>) -> Rows {
        cache.through(self.clone())
    }

    /// The next write is led by hand.
    pub fn next_write(&self) -> Writing {
        let (begin, began) = oneshot::channel();
        let (may_commit, commit) = oneshot::channel();
        let (tell, committed) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        let hand = Hand { begin, commit, committed: tell, answer: answered };
        self.0.next.lock().unwrap().push_back(hand);
        Writing { began, commit: Some(may_commit), committed, answer: Some(answer) }
    }

    /// Committed by someone who knows of no cache.
    pub fn set(&self, key: &str, value: &str) {
        let mut rows = self.0.rows.lock().unwrap();
        rows.0.insert(key.to_owned(), value.to_owned());
        rows.1.push(value.to_owned());
    }

    pub fn row(&self, key: &str) -> Option<String> {
        self.0.rows.lock().unwrap().0.get(key).cloned()
    }

    /// The place of a value among all that were committed.
    pub fn place(&self, value: &str) -> usize {
        let place = self.0.rows.lock().unwrap().1.iter().position(|commit| commit == value);
        place.unwrap()
    }

    /// How many keys were loaded, with how many queries.
    pub fn loads(&self) -> usize {
        self.0.loads.load(Ordering::SeqCst)
    }

    pub fn queries(&self) -> usize {
        self.0.queries.load(Ordering::SeqCst)
    }

    /// How often it was told.
    pub fn writes(&self) -> usize {
        self.0.writes.load(Ordering::SeqCst)
    }

    async fn tell(&self, commit: impl FnOnce() + Send + 'static) -> Result<(), BoxError> {
        self.0.writes.fetch_add(1, Ordering::SeqCst);
        let hand = self.0.next.lock().unwrap().pop_front();
        let Some(Hand { begin, commit: may, committed, answer }) = hand else {
            tokio::task::yield_now().await;
            commit();
            return Ok(());
        };
        let _ = begin.send(());
        // As in a database: whoever waits for a statement may give it up, and it goes on.
        tokio::spawn(async move {
            if may.await.is_ok() {
                commit();
                let _ = committed.send(());
            }
        });
        match answer.await {
            Ok(answer) => Ok(answer?),
            Err(_) => std::future::pending().await,
        }
    }
}

impl Source<str, String> for Table {
    async fn load(&self, key: &str) -> Result<Loaded<Option<String>>, BoxError> {
        self.0.loads.fetch_add(1, Ordering::SeqCst);
        self.0.queries.fetch_add(1, Ordering::SeqCst);
        let row = self.row(key);
        tokio::task::yield_now().await;
        Ok(row.into())
    }

    async fn load_many(
        &self,
        keys: Vec<String>,
    ) -> Result<Vec<(String, larder::Each<String>)>, BoxError> {
        self.0.loads.fetch_add(keys.len(), Ordering::SeqCst);
        self.0.queries.fetch_add(1, Ordering::SeqCst);
        let row = |key: String| self.row(&key).map(|row| (key, row.into()));
        Ok(keys.into_iter().filter_map(row).collect())
    }
}

impl Sink<str, String> for Table {
    async fn write(&self, key: &str, value: &String) -> Result<(), BoxError> {
        let (table, key, value) = (self.clone(), key.to_owned(), value.clone());
        self.tell(move || table.set(&key, &value)).await
    }

    async fn remove(&self, key: &str) -> Result<(), BoxError> {
        let (table, key) = (self.clone(), key.to_owned());
        self.tell(move || drop(table.0.rows.lock().unwrap().0.remove(&key))).await
    }
}
