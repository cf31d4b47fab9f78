//! The process' one handle.
//!
//! [`Larder`] owns what all caches of a process share: the far side and its two connections, near and
//! its budget, the flights, the queue of unconfirmed ends. It is cheap to clone and made once.
//!
//! Its tasks (a supervisor for each connection, the sender of unconfirmed ends, near's sweep, refreshes
//! in the background) stop
//! with [`close`](Larder::close), or with the last clone.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::entry::Ended;
use crate::error::{Error, ErrorKind, FarError};
use crate::invalidation::{Ends, Target};
use crate::key::{Namespace, Tag};
use crate::observe::Stats;
use crate::policy::{Policy, WriteBehind};
use crate::strategy::Tiers;
use crate::strategy::explain::Explanation;
use crate::strategy::write_behind::Crew;
#[cfg(feature = "structures")]
use crate::structures::Ground;

mod builder;
mod settings;
#[cfg(feature = "structures")]
mod structures;

pub use builder::LarderBuilder;
pub(crate) use settings::{Settings, TaggedBy};

/// How many names of caches a handle remembers, with the settings and the counters of each.
const CACHES_MAX: usize = 4096;

/// The one handle of a process. Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
/// use larder::{Cache, Larder, Lifetime, MINUTE};
///
/// let larder = Larder::builder("shop").open().await?; // no address: embedded, in this process
/// let prices: Cache<u64, f64> =
///     larder.cache("prices").lifetime(Lifetime::fresh_for(MINUTE)).shared()?;
/// let price = prices.get_or_load(&17, || async { Ok::<_, std::io::Error>(9.99) }).await?;
/// assert_eq!(*price, 9.99);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Larder {
    inner: Arc<Inner>,
}

struct Inner {
    app: String,
    tiers: Tiers,
    ends: Ends,
    bound: Duration,
    #[cfg(feature = "structures")]
    ground: Ground,
    caches: Mutex<HashMap<String, Opened>>,
    tasks: Mutex<JoinSet<()>>,
    /// Those that flush what was written behind.
    workers: Arc<Crew>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.workers.stop();
        self.tiers.loads.stop();
        self.tiers.far.close();
        #[cfg(feature = "structures")]
        self.ground.close();
    }
}

impl std::fmt::Debug for Larder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Larder").field("app", &self.inner.app).finish_non_exhaustive()
    }
}

impl Larder {
    /// Begins with the app's name: what all its keys in Redis begin with, so that several apps can
    /// share one server. Of `A-Z a-z 0-9 _ . -`, 1 to 64.
    pub fn builder(app: impl Into<String>) -> LarderBuilder {
        LarderBuilder::new(app.into())
    }

    /// Ends entries, users' parts and tags, all in one trip. Call it after the database commit,
    /// always: a load that begins between the two would bring the old value back.
    ///
    /// # Order
    /// Once it has returned `Ok`, no call that starts later, in any process, is served from far a
    /// value whose load began before it. Near copies in other processes follow after about one
    /// one-way delay, and no later than the bound B: see [`settled`](Self::settled).
    ///
    /// It runs to its end when the caller is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Unconfirmed`]: the far side did not confirm it; it is queued and sent again until
    /// it does, and this process' near does not serve the keys meanwhile.
    /// [`ErrorKind::Overloaded`]: the same, but 100,000 names wait already, and it was **not** queued.
    /// [`ErrorKind::Closed`]: after [`close`](Self::close) nothing is sent.
    /// [`ErrorKind::Key`]: one of the keys is too long; nothing was ended.
    pub async fn invalidate<I>(&self, targets: I) -> Result<(), Error>
    where
        I: IntoIterator,
        I::Item: Into<Target>,
    {
        let ended = targets.into_iter().map(|target| target.into().0);
        self.inner.ends.end(ended.collect::<Result<Vec<Ended>, Error>>()?).await
    }

    /// Ends every entry that carries the tag, in all caches: one command, whatever their number.
    ///
    /// # Errors
    /// As [`invalidate`](Self::invalidate).
    pub async fn invalidate_tag(&self, tag: impl Into<Tag>) -> Result<(), Error> {
        self.inner.ends.end(vec![Ended::Tag(tag.into())]).await
    }

    /// Ends entries, users' parts and tags softly: they are no longer fresh, and stay to stand in for a
    /// source that fails. For what is better old than missing; what must not be seen again is
    /// [invalidated](Self::invalidate).
    ///
    /// # Order
    /// Once it has returned `Ok`, nothing whose load began before is served as fresh, by the same rules.
    ///
    /// # Errors
    /// As [`invalidate`](Self::invalidate).
    pub async fn expire<I>(&self, targets: I) -> Result<(), Error>
    where
        I: IntoIterator,
        I::Item: Into<Target>,
    {
        let ended = targets.into_iter().map(|target| target.into().0.map(Ended::softly));
        self.inner.ends.end(ended.collect::<Result<Vec<Ended>, Error>>()?).await
    }

    /// Ends softly every entry that carries the tag, in all caches: one command, whatever their number.
    ///
    /// # Order, errors
    /// As [`expire`](Self::expire).
    pub async fn expire_tag(&self, tag: impl Into<Tag>) -> Result<(), Error> {
        self.expire([tag.into()]).await
    }

    /// Counted over all caches.
    pub fn stats(&self) -> Stats {
        self.inner.tiers.observe.stats_of_all()
    }

    /// Why an entry is served as it is, or is not: where it is, how old, who may store, which tag ended it, and
    /// what a read would do now. Looks, and changes nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
    /// # use larder::Outcome;
    /// # let larder = larder::Larder::builder("doc").open().await?;
    /// # let prices: larder::Cache<u64, f64> = larder.cache("prices").shared()?;
    /// let explanation = larder.explain(prices.entry(&17)).await?;
    /// assert_eq!(explanation.outcome, Outcome::Load);
    /// println!("{explanation}"); // prices:v1:{17;}: a read now would be loaded, because far has nothing ..
    /// # Ok(()) }
    /// ```
    ///
    /// Nothing of the value is told but its length. In a cache kept per user only `of(user)` makes the entry that is
    /// asked for.
    ///
    /// # Cost
    /// At most two round trips.
    ///
    /// # Errors
    /// [`ErrorKind::Key`]: the key is too long, or this is a tag or a user's part, and no entry.
    pub async fn explain(&self, entry: impl Into<Target>) -> Result<Explanation, Error> {
        match entry.into().0? {
            Ended::Key(key) => Ok(self.inner.tiers.explain(&key).await),
            _ => Err(Error::new(
                ErrorKind::Key,
                "cannot explain a tag: ask for an entry, cache.entry(key)",
            )),
        }
    }

    /// Waits until no near copy anywhere can be older than this call: the bound B, and a hundredth
    /// for clocks that run unevenly.
    pub async fn settled(&self) {
        self.inner.tiers.clock.sleep(self.inner.bound.mul_f64(1.01)).await;
    }

    /// Comes back when every change that was acknowledged anywhere before the call is applied here:
    /// read your writes across processes. One round trip. Loads under way are not joined by calls that
    /// begin afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::Far`] when the far side did not answer: try again, or wait for
    /// [`settled`](Self::settled).
    pub async fn sync(&self) -> Result<(), Error> {
        let failed = |why: FarError| Error::new(why.kind(), "cannot sync").because(why);
        let tiers = &self.inner.tiers;
        let link = tiers.far.link().map_err(failed)?;
        link.sync().await.map_err(failed)?;
        if !link.tells_changes() {
            tiers.near.drop_all(); // nothing was told: nothing is known
        }
        // A load may turn out to carry a tag whose end nobody told us of.
        tiers.flights.close_all_doors();
        Ok(())
    }

    /// Is the far side connected now, and its breaker not open?
    pub fn is_far_up(&self) -> bool {
        self.inner.tiers.far.link().is_ok()
    }

    /// Stops. Waits up to `deadline` for invalidations that are not confirmed yet, and for the workers of this process
    /// to flush what was written behind, then ends the connections; from then on calls go to the loader, and invalidations fail. Says how many
    /// invalidations were left unconfirmed.
    #[must_use = "these invalidations were not confirmed: others may serve what they should have ended"]
    pub async fn close(&self, deadline: Duration) -> usize {
        let near = &self.inner.tiers.near;
        let clock = &self.inner.tiers.clock;
        let until = clock.now().plus(deadline);
        let unconfirmed = || near.bypass.len() + self.inner.ends.under_way();
        self.inner.workers.drain();
        while (unconfirmed() > 0 || self.inner.workers.work()) && clock.now() < until {
            clock.sleep(Duration::from_millis(10)).await;
        }
        let left = unconfirmed();
        self.inner.workers.stop();
        self.inner.tasks.lock().abort_all();
        self.inner.tiers.loads.stop();
        self.inner.tiers.far.close();
        #[cfg(feature = "structures")]
        self.inner.ground.close();
        near.drop_all();
        left
    }

    pub(crate) fn namespace(
        &self,
        cache: &str,
        schema: u32,
        write_behind: Option<WriteBehind>,
    ) -> Result<Namespace, Error> {
        let app = &self.inner.app;
        match write_behind {
            None => Namespace::new(app, cache, schema),
            Some(settings) => Namespace::behind(app, cache, schema, settings.partitions),
        }
    }

    pub(crate) fn workers(&self) -> &Arc<Crew> {
        &self.inner.workers
    }

    pub(crate) fn tiers(&self, cache: &str, policy: &Policy) -> Result<Tiers, Error> {
        {
            let caches = self.inner.caches.lock();
            if caches.len() >= CACHES_MAX && !caches.contains_key(cache) {
                let text = format!(
                    "cache {cache} is not opened: {CACHES_MAX} names are open, and each is remembered; what varies belongs into the key"
                );
                return Err(Error::new(ErrorKind::Config, text));
            }
        }
        let mut tiers = self.inner.tiers.clone();
        tiers.observe = tiers.observe.of_cache(cache);
        tiers.loads = tiers.loads.of_cache(policy);
        #[cfg(feature = "structures")]
        if policy.member_index {
            let members = self.inner.ends.members.clone();
            members.is_used();
            tiers.members = Some(members);
        }
        Ok(tiers)
    }

    pub(crate) fn ends(&self) -> &Ends {
        &self.inner.ends
    }

    /// Notes what a name was opened as. The same again gives what the first gave, for as long as a
    /// view of it is alive.
    pub(crate) fn note<T: Any + Send + Sync>(
        &self,
        name: &str,
        types: String,
        settings: Settings,
        opened: Arc<T>,
    ) -> Result<Arc<T>, Error> {
        let view = TypeId::of::<T>();
        let mut caches = self.inner.caches.lock();
        if let Some(known) = caches.get_mut(name) {
            // Also when no view is left: near and far still hold what was kept under the name.
            let other = match known.view == view {
                false => Some(format!("types: it is {} there and {types} here", known.types)),
                true => known.settings.differences(&settings).map(|all| format!("settings: {all}")),
            };
            if let Some(other) = other {
                let text =
                    format!("cache {name} is open with other {other}; open it once, and clone it");
                return Err(Error::new(ErrorKind::Config, text));
            }
            if let Some(Ok(shared)) = known.shared.upgrade().map(Arc::downcast) {
                return Ok(shared);
            }
        }
        // Weak, since every view holds the handle: a circle would keep both alive for ever.
        let shared: Weak<T> = Arc::downgrade(&opened);
        caches.insert(name.to_owned(), Opened { view, types, settings, shared });
        Ok(opened)
    }
}

/// What a name was opened as.
struct Opened {
    view: TypeId,
    /// Its key and its value, for people.
    types: String,
    settings: Settings,
    shared: Weak<dyn Any + Send + Sync>,
}
