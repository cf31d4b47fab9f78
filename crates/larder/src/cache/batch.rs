//! Many keys, one round trip.

use super::Cache;
use crate::entry::Entry;
use crate::error::Error;
use crate::key::ToKey;

impl<K, V> Cache<K, V>
where
    K: ToKey + ?Sized,
    V: Send + Sync + 'static,
{
    /// Returns the entries for `keys`, in their order; `None` where near and far have no fresh one.
    /// Never loads.
    ///
    /// # Cost
    /// Round trips to far: 0 if near has all, else 1; 1 more for tags that loaders learned.
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
}
