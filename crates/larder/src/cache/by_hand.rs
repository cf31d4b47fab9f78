//! Cache-aside by hand, and values whose only home is the cache.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{Cache, erase};
use crate::entry::{Entry, Held, Origin, Stored};
use crate::error::Error;
use crate::key::ToKey;
use crate::source::Loaded;
use crate::strategy::Call;
use crate::strategy::by_hand::{self, HandLease};

/// What [`Cache::lease`] gave.
#[must_use = "it may hold a lease, which is given back when dropped"]
#[derive(Debug)]
pub enum Leased<V> {
    /// There is an entry.
    Found(Entry<V>),
    /// It is known that there is none.
    Nothing,
    /// Yours to load: then [`Lease::store`].
    Held(Lease<V>),
}

/// The right to store one value. Renewed until it is used, dropped, or `max_load` old; dropped, it is
/// given back, and the next caller gets it.
#[must_use = "dropped, it is given back"]
pub struct Lease<V> {
    hand: Box<HandLease>,
    value: PhantomData<fn(V)>,
}

impl<V> fmt::Debug for Lease<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}

impl<V: Send + Sync + 'static> Lease<V> {
    /// Keeps what was loaded, if nothing ended the entry since the lease was granted.
    #[must_use = "it says whether the value was kept"]
    pub async fn store(self, value: impl Into<Loaded<V>>) -> Stored {
        stored(self.hand.store(erase(value.into())).await)
    }

    /// False: far could not be asked for it, and nothing will be stored.
    pub fn is_held(&self) -> bool {
        self.hand.is_held()
    }

    /// Whether it was granted over an entry that was there, of no use to the caller: then nothing had
    /// ended that one.
    pub fn replaces(&self) -> bool {
        self.hand.replaces()
    }

    /// Remembers that there is none.
    #[must_use = "it says whether the value was kept"]
    pub async fn store_none(self) -> Stored {
        stored(self.hand.store(Loaded::new(None)).await)
    }
}

fn stored(is: bool) -> Stored {
    if is { Stored::Stored } else { Stored::Refused }
}

impl<K, V> Cache<K, V>
where
    K: ToKey + ?Sized,
    V: Send + Sync + 'static,
{
    /// Returns the entry for `key`, or the right to load it: cache-aside by hand, without its races.
    /// Waits while another loads. Where a closure will do, [`get_or_load`](Self::get_or_load) is the
    /// same in one call.
    ///
    /// # Cost
    /// Round trips to far: as [`get_or_load`](Self::get_or_load), the last of them in `store`.
    ///
    /// # Errors
    /// [`ErrorKind::Source`](crate::ErrorKind::Source) if a load failed a moment ago. A far side that is
    /// down is no error: the lease you get then stores nothing.
    pub async fn lease(&self, key: &K) -> Result<Leased<V>, Error> {
        let call = self.call(key, true)?;
        Ok(self.leased(self.shared.tiers.lease(call).await?))
    }

    /// Returns the entry for `key` if it is `good`, or the right to replace it: [`lease`](Self::lease)
    /// for those who can tell that an entry is of no use to them while to others it may be. Waits while
    /// another loads, and looks at what that one stored.
    ///
    /// # Cost, errors
    /// As [`lease`](Self::lease); one trip less where near has the entry that is not good.
    pub async fn lease_unless<Good>(&self, key: &K, good: Good) -> Result<Leased<V>, Error>
    where
        Good: Fn(&Entry<V>) -> bool + Send + Sync + 'static,
    {
        let call = self.call_unless(key, good)?;
        Ok(self.leased(self.shared.tiers.lease(call).await?))
    }

    /// The same without waiting. `None`: another has the lease, or far cannot be asked.
    ///
    /// # Cost
    /// Round trips to far: 0 if near has a good entry, else 1; 1 more where far has another one that is
    /// not good.
    ///
    /// # Errors
    /// [`ErrorKind::Key`](crate::ErrorKind::Key).
    pub async fn try_lease_unless<Good>(
        &self,
        key: &K,
        good: Good,
    ) -> Result<Option<Leased<V>>, Error>
    where
        Good: Fn(&Entry<V>) -> bool + Send + Sync + 'static,
    {
        let call = self.call_unless(key, good)?;
        Ok(self.shared.tiers.try_lease(call).await.map(|leased| self.leased(leased)))
    }

    fn call_unless<Good>(&self, key: &K, good: Good) -> Result<Call, Error>
    where
        Good: Fn(&Entry<V>) -> bool + Send + Sync + 'static,
    {
        let clock = self.shared.tiers.clock.clone();
        let accepts = move |held: &Held| {
            Entry::of(held, Origin::Near, clock.now()).is_some_and(|entry| good(&entry))
        };
        Ok(Call { accepts: Some(Arc::new(accepts)), ..self.call(key, false)? })
    }

    fn leased(&self, leased: by_hand::Leased) -> Leased<V> {
        match leased {
            by_hand::Leased::Found(answer) => match self.entry_of(&answer) {
                Some(entry) => Leased::Found(entry),
                None => Leased::Nothing,
            },
            by_hand::Leased::Held(hand) => Leased::Held(Lease { hand, value: PhantomData }),
        }
    }

    /// Keeps a value whose only home is the cache: a session, a computed thing. The last writer wins,
    /// in Redis' order, and loads begun before do not store over it. For another lifetime or more
    /// tags give a [`Loaded`]. [`Stored::Refused`] when a writer's [guard](Self::guard) is open there:
    /// then nothing is kept, and what was there is gone.
    ///
    /// **Not for what a database holds**: there is no order between a `put` and a commit, and of two
    /// writers the older value may stay. After a commit call [`invalidate`](Self::invalidate).
    ///
    /// # Cost
    /// One round trip; two with tags; one more for new tags.
    ///
    /// # Errors
    /// [`ErrorKind::Unconfirmed`](crate::ErrorKind::Unconfirmed): sent once and not answered, it may have
    /// landed, or may land later, over a newer one. [`ErrorKind::Far`](crate::ErrorKind::Far): nothing
    /// was changed. [`ErrorKind::Encode`](crate::ErrorKind::Encode): too large, or no bytes.
    pub async fn put(&self, key: &K, value: impl Into<Loaded<V>>) -> Result<Stored, Error> {
        let call = self.call(key, true)?;
        self.is_not_behind("put")?;
        self.shared.tiers.put(self.shared.larder.ends(), call, erase(value.into())).await
    }
}
