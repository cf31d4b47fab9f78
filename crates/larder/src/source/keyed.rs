//! A source that is told once how it is asked and told: by key.
//!
//! [`Source`] is asked, [`Sink`] is told; most types that stand for a table in a database are both. They know
//! nothing of caches, and may be called from any task, for any number of keys at once.

use std::borrow::Borrow;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use super::{BoxError, Each, Loaded};

/// How many keys are asked for at once, where each is asked for alone.
const AT_ONCE: usize = 16;

/// What a source says of many keys, each with its own.
pub type EachOf<K, V> = Vec<(K, Each<V>)>;

type Asking<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where values are loaded from, by their keys.
///
/// Write `load` as an `async fn`; `Loaded` is made of what you found by `into`, and takes tags and a lifetime
/// that only the source knows. A closure from an owned key to an `Option` of a value is a `Source` as well.
///
/// ```
/// use larder::{BoxError, Loaded, Source};
/// # #[derive(Clone)] struct Task; struct Db;
/// # impl Db { async fn task(&self, _: u64) -> Result<Option<Task>, std::io::Error> { Ok(None) } }
/// impl Source<u64, Task> for Db {
///     async fn load(&self, id: &u64) -> Result<Loaded<Option<Task>>, BoxError> {
///         Ok(self.task(*id).await?.into())
///     }
/// }
/// ```
pub trait Source<K, V>: Send + Sync + 'static
where
    K: ToOwned<Owned: Send + Sync> + Sync + ?Sized + 'static,
    V: Send + 'static,
{
    /// The value, or that there is none.
    fn load(&self, key: &K) -> impl Future<Output = Result<Loaded<Option<V>>, BoxError>> + Send;

    /// The values of many keys: with each the key it belongs to, in any order. What is not named does not
    /// exist. Asks for each alone, 16 at once, unless you can ask for all in one query.
    ///
    /// An error of the whole is every key's; one key's alone is an [`Each`] made of it.
    fn load_many(
        &self,
        keys: Vec<K::Owned>,
    ) -> impl Future<Output = Result<EachOf<K::Owned, V>, BoxError>> + Send {
        async move {
            let load = |key: K::Owned| -> Asking<'_, (K::Owned, Result<_, BoxError>)> {
                Box::pin(async move {
                    let said = self.load(key.borrow()).await;
                    (key, said)
                })
            };
            let mut all = Vec::with_capacity(keys.len());
            for (key, said) in some_at_once(keys.into_iter().map(load)).await {
                match said.map(Loaded::transpose) {
                    Ok(Some(loaded)) => all.push((key, Each(Ok(loaded)))),
                    Ok(None) => {}
                    Err(why) => all.push((key, Each(Err(why)))),
                }
            }
            Ok(all)
        }
    }
}

/// Where values are written to, by their keys.
///
/// Both calls must be safe to repeat: a writer whose answer was lost asks again. When a call comes back with
/// `Ok`, what it wrote must be what a later load finds.
///
/// An error, or a panic, leaves it open whether it was written, or will be: a driver that gave up waiting does not stop the
/// database. So the key is ended, and until [`guard_time`](crate::CacheBuilder::guard_time) is over it is loaded and
/// kept nowhere; a commit that is later than that is one that nobody ends anything for. Where it is certain that nothing
/// was written, and that nothing will be (a constraint, a value that is not valid, no such row), say so with
/// [`NotWritten`](super::NotWritten): then the key can be kept at once.
///
/// Each call runs in a task of its own, whatever becomes of the caller, and is stopped `max_load` after `guard_time`.
///
/// ```
/// use larder::{BoxError, Sink};
/// # struct Task; struct Db;
/// # impl Db { async fn upsert(&self, _: u64, _: &Task) -> Result<(), std::io::Error> { Ok(()) } async fn delete(&self, _: u64) -> Result<(), std::io::Error> { Ok(()) } }
/// impl Sink<u64, Task> for Db {
///     async fn write(&self, id: &u64, task: &Task) -> Result<(), BoxError> {
///         Ok(self.upsert(*id, task).await?)
///     }
///     async fn remove(&self, id: &u64) -> Result<(), BoxError> {
///         Ok(self.delete(*id).await?)
///     }
/// }
/// ```
pub trait Sink<K, V>: Send + Sync + 'static
where
    K: ?Sized,
{
    /// From now on this is the value.
    fn write(&self, key: &K, value: &V) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// From now on there is none. That there was none before is no error.
    fn remove(&self, key: &K) -> impl Future<Output = Result<(), BoxError>> + Send;
}

impl<K, V, F, Asked, Answer, E> Source<K, V> for F
where
    K: ToOwned<Owned: Send + Sync> + Sync + ?Sized + 'static,
    V: Send + 'static,
    F: Fn(K::Owned) -> Asked + Send + Sync + 'static,
    Asked: Future<Output = Result<Answer, E>> + Send,
    Answer: Into<Loaded<Option<V>>>,
    E: Into<BoxError>,
{
    fn load(&self, key: &K) -> impl Future<Output = Result<Loaded<Option<V>>, BoxError>> + Send {
        let asked = self(key.to_owned());
        async move { asked.await.map(Into::into).map_err(Into::into) }
    }
}

impl<K, V, S> Source<K, V> for Arc<S>
where
    K: ToOwned<Owned: Send + Sync> + Sync + ?Sized + 'static,
    V: Send + 'static,
    S: Source<K, V>,
{
    fn load(&self, key: &K) -> impl Future<Output = Result<Loaded<Option<V>>, BoxError>> + Send {
        S::load(self, key)
    }

    fn load_many(
        &self,
        keys: Vec<K::Owned>,
    ) -> impl Future<Output = Result<EachOf<K::Owned, V>, BoxError>> + Send {
        S::load_many(self, keys)
    }
}

impl<K: ?Sized, V, S: Sink<K, V>> Sink<K, V> for Arc<S> {
    fn write(&self, key: &K, value: &V) -> impl Future<Output = Result<(), BoxError>> + Send {
        S::write(self, key, value)
    }

    fn remove(&self, key: &K) -> impl Future<Output = Result<(), BoxError>> + Send {
        S::remove(self, key)
    }
}

/// One that is asked, and another that is told.
impl<K, V, A, B> Source<K, V> for (A, B)
where
    K: ToOwned<Owned: Send + Sync> + Sync + ?Sized + 'static,
    V: Send + 'static,
    A: Source<K, V>,
    B: Send + Sync + 'static,
{
    fn load(&self, key: &K) -> impl Future<Output = Result<Loaded<Option<V>>, BoxError>> + Send {
        self.0.load(key)
    }

    fn load_many(
        &self,
        keys: Vec<K::Owned>,
    ) -> impl Future<Output = Result<EachOf<K::Owned, V>, BoxError>> + Send {
        self.0.load_many(keys)
    }
}

/// One that is asked, and another that is told.
impl<K: ?Sized, V, A: Send + Sync + 'static, B: Sink<K, V>> Sink<K, V> for (A, B) {
    fn write(&self, key: &K, value: &V) -> impl Future<Output = Result<(), BoxError>> + Send {
        self.1.write(key, value)
    }

    fn remove(&self, key: &K) -> impl Future<Output = Result<(), BoxError>> + Send {
        self.1.remove(key)
    }
}

/// Runs all of them, [`AT_ONCE`] side by side. Their answers, in no order.
async fn some_at_once<T>(mut all: impl Iterator<Item = Asking<'_, T>>) -> Vec<T> {
    let (mut running, mut answers) = (Vec::with_capacity(AT_ONCE), Vec::new());
    poll_fn(|context| {
        loop {
            while running.len() < AT_ONCE
                && let Some(next) = all.next()
            {
                running.push(next);
            }
            let before = answers.len();
            running.retain_mut(|one| match one.as_mut().poll(context) {
                Poll::Ready(answer) => {
                    answers.push(answer);
                    false
                }
                Poll::Pending => true,
            });
            // Those who take a free place must be polled as well, or nobody would wake us for them.
            if answers.len() == before {
                return if running.is_empty() { Poll::Ready(()) } else { Poll::Pending };
            }
        }
    })
    .await;
    answers
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Each says its number, when as many as may be are under way, or the last of them are.
    #[tokio::test]
    async fn many_are_asked_for_one_by_one_and_not_all_at_once() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counted = (now.clone(), most.clone());
        let source = move |key: u64| {
            let (now, most) = counted.clone();
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..1 + key % 5 {
                    tokio::task::yield_now().await;
                }
                now.fetch_sub(1, Ordering::SeqCst);
                match key % 10 {
                    7 => Err(std::io::Error::other("seven")),
                    8 => Ok(None),
                    _ => Ok(Some(key)),
                }
            }
        };
        let keys: Vec<u64> = (0..100).collect();
        let mut said = Source::<u64, u64>::load_many(&source, keys).await.unwrap();
        said.sort_by_key(|(key, _)| *key);
        assert_eq!(said.len(), 90, "one in ten does not exist");
        for (key, Each(one)) in said {
            match key % 10 {
                7 => assert!(one.is_err()),
                _ => assert_eq!(one.unwrap().value, key),
            }
        }
        assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
    }
}
