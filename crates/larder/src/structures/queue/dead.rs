//! Dead letters: jobs that were given up, for people to look at.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Inner, Place, Pushed, Queue, Record};
use crate::error::{Error, ErrorKind};

/// A job that was given up.
#[non_exhaustive]
#[derive(Debug)]
pub struct DeadLetter<T> {
    /// Its place among the dead letters: what to replay or remove it by.
    pub id: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was given up.
    pub error: String,
    /// When it was pushed, by the server's clock.
    pub pushed_at: SystemTime,
    /// What was pushed; an error when that cannot be read.
    pub body: Result<T, Error>,
}

/// What became of a dead letter that was to be tried again.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It is a job again, with all its attempts before it.
    Pushed,
    /// There is no such letter.
    Gone,
}

impl Inner {
    async fn dead(&self, after: Option<&str>, most: usize) -> Result<Vec<Record>, Error> {
        self.is_open()?;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(stream) => stream.dead(after, most).await,
            Place::Memory(desk) => Ok(desk.dead(after, most)),
        }
    }

    async fn replay(&self, id: &str) -> Result<Pushed, Error> {
        self.is_open()?;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(stream) => stream.replay(id, &self.rules).await,
            Place::Memory(desk) => Ok(desk.replay(id, &self.rules, self.clock())),
        }
    }

    async fn remove(&self, id: &str) -> Result<bool, Error> {
        self.is_open()?;
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(stream) => stream.remove(id).await,
            Place::Memory(desk) => Ok(desk.remove(id)),
        }
    }

    /// An id that is none is a mistake of the caller's, which no server needs to be asked about.
    fn check_id(&self, id: &str) -> Result<(), Error> {
        let digits = |part: &str| part.parse::<u64>().is_ok();
        if id.split_once('-').is_some_and(|(one, other)| digits(one) && digits(other)) {
            return Ok(());
        }
        let shown: String = id.chars().take(64).collect();
        let text = format!("{shown:?} is no dead letter of {}", self.shape);
        Err(Error::new(ErrorKind::Key, text))
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Dead letters after this one (from the beginning without), oldest first, 1,000 at most.
    ///
    /// # Cost
    /// One round trip; O(letters) in Redis.
    ///
    /// # Errors
    /// [`ErrorKind::Far`], [`ErrorKind::Closed`]; [`ErrorKind::Key`] when `after` is no letter's id.
    pub async fn dead_letters(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<DeadLetter<T>>, Error> {
        if let Some(after) = after {
            self.inner.check_id(after)?;
        }
        let records = self.inner.dead(after, most.min(1000)).await?;
        let codec = self.inner.rules.codec;
        let letter = |record: Record| DeadLetter {
            body: codec.decode(&record.body),
            id: record.id,
            attempts: record.failed,
            error: record.error.unwrap_or_default(),
            pushed_at: UNIX_EPOCH + Duration::from_millis(record.pushed_ms),
        };
        Ok(records.into_iter().map(letter).collect())
    }

    /// Makes a dead letter a job again, with all its attempts before it. One round trip.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`]: the queue is full. [`ErrorKind::Unconfirmed`]: it may have been done; to repeat it is
    /// harmless. [`ErrorKind::Far`], [`ErrorKind::Closed`], [`ErrorKind::Key`].
    pub async fn replay(&self, id: &str) -> Result<Replayed, Error> {
        self.inner.check_id(id)?;
        match self.inner.replay(id).await? {
            Pushed::Done => Ok(Replayed::Pushed),
            Pushed::Known => Ok(Replayed::Gone),
            Pushed::Full | Pushed::Crowded => Err(self.full("jobs")),
        }
    }

    /// Removes a dead letter for good; whether there was one. One round trip.
    ///
    /// # Errors
    /// As [`replay`](Self::replay).
    pub async fn remove(&self, id: &str) -> Result<bool, Error> {
        self.inner.check_id(id)?;
        self.inner.remove(id).await
    }
}
