//! Loads that see what they are about to replace.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Cache, erase};
use crate::entry::{Entry, Value};
use crate::error::{Error, ErrorKind};
use crate::key::{Key, ToKey};
use crate::source::{BoxError, Refreshed};
use crate::strategy::{Again, Ask, Prints};

impl<K: ?Sized, V> Cache<K, V> {
    /// Once the old value is looked at, whoever reads or stores one takes its print: a near copy may come from any
    /// call.
    pub(super) fn prints(&self) -> Prints {
        match self.shared.is_shown.load(Ordering::Relaxed) {
            true => Prints::Taken,
            false => Prints::WhereGiven,
        }
    }

    #[inline]
    pub(super) fn keeps_warm(&self) -> bool {
        self.shared.policy.refresh_ahead.keeps_warm_for().is_some()
    }
}

impl<K, V> Cache<K, V>
where
    K: ToKey + ?Sized,
    V: Send + Sync + 'static,
{
    /// The key was read by one who can ask its source `again`.
    pub(super) fn note_warm(&self, key: &K, again: Again) {
        // A key that has no name was answered with that.
        let Ok(name) = self.name(key) else { return };
        let call = || Some((self.call(key, true).ok()?, again));
        self.shared.tiers.note_warm(&Key::new(&name), call);
    }
}

impl<K, V> Cache<K, V>
where
    K: ToKey + ?Sized,
    V: Send + Sync + 'static,
{
    /// As [`get_or_load`](Self::get_or_load), for a source that can say "unchanged": `loader` is handed the value that
    /// is to be replaced, and may answer [`Refreshed::Unchanged`]. Then the entry's lifetime begins anew, and in the
    /// far side only its header is written.
    ///
    /// It is handed one where there is an entry that nobody has ended: one that is renewed
    /// [ahead](super::CacheBuilder::refresh_ahead), a [stale](crate::Lifetime::stale_for) one, or one that was
    /// [expired](Self::expire). Else it is handed `None`, also where the far side cannot be asked, and has to answer with a
    /// value. Where callers of `get_or_load` share the load, they get what it gives.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
    /// # let larder = larder::Larder::builder("doc").open().await?;
    /// # let pages: larder::Cache<str, (u64, String)> = larder.cache("pages").shared()?;
    /// # async fn version() -> std::io::Result<u64> { Ok(7) }
    /// # async fn text() -> std::io::Result<String> { Ok("hello".to_owned()) }
    /// use larder::Refreshed;
    /// let page = pages.get_or_refresh("/", |old| async move {
    ///     let version = version().await?;
    ///     match old {
    ///         Some(page) if page.0 == version => Ok(Refreshed::Unchanged),
    ///         _ => Ok::<_, std::io::Error>(Refreshed::from((version, text().await?))),
    ///     }
    /// });
    /// assert_eq!(page.await?.1, "hello");
    /// # Ok(()) }
    /// ```
    ///
    /// # Cost
    /// Round trips to far as [`get_or_load`](Self::get_or_load); after "unchanged" the last of them carries as many bytes as the header
    /// has. The whole value is sent where this process read or stored the entry before it first called this, where
    /// its tags are others than before, and, in one trip more, where the far side has lost it meanwhile.
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load); [`ErrorKind::Source`] too if the loader says "unchanged" to nothing.
    pub async fn get_or_refresh<L, Loading, Answer, E>(
        &self,
        key: &K,
        loader: L,
    ) -> Result<Entry<V>, Error>
    where
        L: FnOnce(Option<Arc<V>>) -> Loading + Send + 'static,
        Loading: Future<Output = Result<Answer, E>> + Send + 'static,
        Answer: Into<Refreshed<V>>,
        E: Into<BoxError>,
    {
        let none = || Error::new(ErrorKind::Source, "the source has no such value");
        if !self.shared.is_shown.load(Ordering::Relaxed) {
            self.shared.is_shown.store(true, Ordering::Relaxed);
        }
        let near = match self.near(key, false) {
            Ok(entry) => return entry.ok_or_else(none),
            Err(near) => near,
        };
        let ask = Ask::over(move |old: Option<Value>| {
            let old = old.and_then(|value| value.downcast::<V>().ok());
            let loading = loader(old);
            Box::pin(async move {
                match loading.await.map_err(Into::into)?.into() {
                    Refreshed::Unchanged => Ok(None),
                    Refreshed::New(loaded) => Ok(Some(erase(loaded))),
                }
            })
        });
        let answer = self.beyond(key, false, near, ask).await?;
        answer.entry.ok_or_else(none)
    }
}
