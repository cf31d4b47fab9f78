//! Many keys, one round trip, one load.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use super::{Cache, erase};
use crate::entry::Entry;
use crate::error::Error;
use crate::key::{Key, ToKey};
use crate::source::{BoxError, Each};
use crate::strategy::together::AskMany;

impl<K, V> Cache<K, V>
where
    K: ToKey + ?Sized,
    V: Send + Sync + 'static,
{
    /// Returns the entries for `keys`, in their order; `None` where near and far have no fresh one.
    /// Never loads.
    ///
    /// # Cost
    /// Round trips to far for each 512 keys: 0 if near has all, else 1; 1 more for tags that loaders learned.
    ///
    /// # Errors
    /// [`ErrorKind::Key`](crate::ErrorKind::Key) if any of the keys is too long.
    pub async fn get_many<'a, I>(&self, keys: I) -> Result<Vec<Option<Entry<V>>>, Error>
    where
        I: IntoIterator<Item = &'a K>,
        K: 'a,
    {
        let calls = keys.into_iter().map(|key| self.call(key, true));
        let calls = calls.collect::<Result<Vec<_>, Error>>()?;
        let answers = self.shared.tiers.get_many(&calls).await;
        let entry = |answer: Option<_>| answer.and_then(|answer| self.entry_of(&answer));
        Ok(answers.into_iter().map(entry).collect())
    }

    /// Returns the entry for each of `keys`, in their order, asking `loader` once for all that neither
    /// near nor far have. A key that the loader's answer does not name is one the source has no value
    /// for: `None`, and remembered like any other "there is none".
    ///
    /// Each key is cached, shared with other callers, and fails, as if it were asked for alone. The
    /// loader is called again for keys whose load was somebody else's and failed, and once for every 512
    /// of `keys`, which go one batch after the other.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
    /// # let larder = larder::Larder::builder("doc").open().await?;
    /// let names: larder::Cache<u64, String> = larder.cache("names").shared()?;
    /// let found = names.get_or_load_many(&[1, 2, 3], |missing| async move {
    ///     // select id, name from users where id = any(missing)
    ///     let rows = missing.into_iter().filter(|id| *id != 2).map(|id| (id, format!("user {id}")));
    ///     Ok::<_, std::io::Error>(rows.collect::<Vec<_>>())
    /// });
    /// let found = found.await.into_iter().collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(*found[0].as_ref().unwrap(), "user 1".to_owned());
    /// assert!(found[1].is_none());
    /// # Ok(()) }
    /// ```
    ///
    /// # Cost
    /// Round trips to far for each 512 keys: 0 if near has all, 1 if far has the rest, 3 if some are loaded, 1
    /// more for new tags.
    ///
    /// # Errors
    /// In each key's place, as of [`get_or_load`](Self::get_or_load). The loader may fail as a whole, or
    /// for a key: see [`Each`].
    #[must_use = "each key's failure is in its place"]
    pub async fn get_or_load_many<'a, I, L, Loading, Answers, Answer, E>(
        &self,
        keys: I,
        loader: L,
    ) -> Vec<Result<Option<Entry<V>>, Error>>
    where
        I: IntoIterator<Item = &'a K>,
        K: ToOwned<Owned: Send + Sync> + 'static,
        L: Fn(Vec<K::Owned>) -> Loading + Send + Sync + 'static,
        Loading: Future<Output = Result<Answers, E>> + Send + 'static,
        Answers: IntoIterator<Item = (K::Owned, Answer)>,
        Answer: Into<Each<V>>,
        E: Into<BoxError>,
    {
        let (mut owned, mut calls, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            places.push(self.call(key, true).map(|call| {
                owned.push(key.to_owned());
                calls.push(call);
            }));
        }
        let names: Vec<Key> = calls.iter().map(|call| call.key.clone()).collect();
        let ask = self.ask_many(owned, names, loader);
        let mut answers = self.shared.tiers.get_or_load_many(calls, ask).await.into_iter();
        let answer = |place: Result<(), Error>| match place.map(|()| answers.next()) {
            Ok(Some(answer)) => answer.map(|answer| self.entry_of(&answer)),
            Ok(None) => Ok(None), // not so: there is one for each
            Err(why) => Err(why),
        };
        places.into_iter().map(answer).collect()
    }

    /// `loader`, for keys that are known by their places.
    fn ask_many<L, Loading, Answers, Answer, E>(
        &self,
        keys: Vec<K::Owned>,
        names: Vec<Key>,
        loader: L,
    ) -> AskMany
    where
        K: ToOwned<Owned: Send + Sync> + 'static,
        L: Fn(Vec<K::Owned>) -> Loading + Send + Sync + 'static,
        Loading: Future<Output = Result<Answers, E>> + Send + 'static,
        Answers: IntoIterator<Item = (K::Owned, Answer)>,
        Answer: Into<Each<V>>,
        E: Into<BoxError>,
    {
        let (this, keys, loader) = (self.clone(), Arc::new(keys), Arc::new(loader));
        let names = Arc::new(names);
        Arc::new(move |places| {
            let missing = places.iter().map(|at| keys[*at].borrow().to_owned()).collect();
            let loading = loader(missing);
            let (this, names) = (this.clone(), names.clone());
            Box::pin(async move {
                let said = loading.await.map_err(|why| Arc::from(why.into()))?;
                // A key may have been asked for twice.
                let mut asked: HashMap<&Key, Vec<usize>> = HashMap::new();
                for at in places {
                    asked.entry(&names[at]).or_default().push(at);
                }
                let mut by_place = Vec::new();
                for (key, one) in said {
                    let Ok(name) = this.name(key.borrow()) else { continue };
                    let Some(at) = asked.remove(&Key::new(&name)) else { continue };
                    let Each(one) = one.into();
                    let one = one.map(erase).map_err(Arc::from);
                    by_place.extend(at.into_iter().map(|at| (at, one.clone())));
                }
                Ok(by_place)
            })
        })
    }
}
