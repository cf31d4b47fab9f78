//! Sinks that are told later, by workers: those that can tell an old call from a new one.
//!
//! A worker may be stopped in the middle of a call and go on when another has long taken its place; its query may
//! be on its way when it is killed. A plain [`Sink`](super::Sink) then writes what is old over what is new. The
//! two here refuse it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::BoxError;

/// What a source is to be told of one key.
#[derive(Debug)]
pub struct PendingWrite<K, V> {
    /// Whose value it is.
    pub key: K,
    /// The newest value; `None`: there is none any more.
    pub value: Option<Arc<V>>,
    /// The order of all writes of this key.
    pub version: Version,
}

impl<K: Clone, V> Clone for PendingWrite<K, V> {
    fn clone(&self) -> PendingWrite<K, V> {
        let (key, value) = (self.key.clone(), self.value.clone());
        PendingWrite { key, value, version: self.version }
    }
}

/// Where a write stands in the order of all writes of its key: 32 bytes that are compared as bytes, so a
/// `bytea` or a `blob` column will do.
///
/// Eight bytes of the server's milliseconds and eight of a number among those, most significant first; then the
/// token of the write, by which a database that has one of the same place tells whether it is the same write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version([u8; 32]);

impl Version {
    pub(crate) fn new(ms: u64, seq: u64, token: [u8; 16]) -> Version {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&ms.to_be_bytes());
        bytes[8..16].copy_from_slice(&seq.to_be_bytes());
        bytes[16..].copy_from_slice(&token);
        Version(bytes)
    }

    /// Of what a database has stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Version {
        Version(bytes)
    }

    /// To be stored beside the value.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Milliseconds, and the number among those.
    pub(crate) fn place(&self) -> (u64, u64) {
        let number = |at: usize| {
            let bytes = self.0.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_be_bytes)
        };
        (number(0), number(8))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ms, seq) = self.place();
        write!(f, "Version({ms}-{seq})")
    }
}

/// What a [`VersionedSink`] did with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// What is stored is this write: now, or it was already.
    Applied,
    /// What is stored is of a greater version, this one: nothing was changed.
    Newer(Version),
}

/// A source that keeps with each value the version it was written under, and refuses an older one.
///
/// Promised with it: no acknowledged write is lost, you read your writes, and each key's writes arrive in order,
/// whether workers live, are stopped or are killed.
pub trait VersionedSink<K, V>: Send + Sync + 'static {
    /// For each write, in one step with the look at what is stored (one statement, or one transaction): nothing is
    /// stored, or of a smaller version: this value and its version are. Of the same version: it is done already. Of
    /// a greater one: nothing is changed, and the answer is [`Applied::Newer`]. A removal keeps its version too: an
    /// old write must not bring the value back.
    ///
    /// No key is in `writes` twice. An answer for each, in their order. An error is all of theirs, and any of them
    /// may have been stored; each is then tried alone.
    fn apply(
        &self,
        writes: &[PendingWrite<K, V>],
    ) -> impl Future<Output = Result<Vec<Applied>, BoxError>> + Send;
}

/// Whose turn it is: a number that grows with every worker that takes a part of the keys over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Which part.
    pub partition: u32,
    /// As the source itself counted it.
    pub number: u64,
}

/// What a [`FencedSink`] did with some writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// All are stored.
    Applied,
    /// Another worker has raised the fence since: nothing was changed.
    Passed,
}

/// A source that keeps a number for each part of the keys, and refuses whoever comes with an older one.
///
/// Promised with it: the same as with a [`VersionedSink`], at the price of a row that each call looks at.
pub trait FencedSink<K, V>: Send + Sync + 'static {
    /// A worker takes the part over: adds one to its number, durably, and answers what it is now. The source counts
    /// for itself, since a number kept in Redis could go back.
    fn raise(&self, partition: u32) -> impl Future<Output = Result<u64, BoxError>> + Send;

    /// Stores all, in one transaction with a look at the part's number: when that is not the fence's,
    /// nothing. An error is all of theirs, and they may have been stored; each is then tried alone.
    fn apply(
        &self,
        fence: Fence,
        writes: &[PendingWrite<K, V>],
    ) -> impl Future<Output = Result<Fenced, BoxError>> + Send;
}

impl<K: Sync + 'static, V: Send + Sync + 'static, S: VersionedSink<K, V>> VersionedSink<K, V>
    for Arc<S>
{
    fn apply(
        &self,
        writes: &[PendingWrite<K, V>],
    ) -> impl Future<Output = Result<Vec<Applied>, BoxError>> + Send {
        S::apply(self, writes)
    }
}

impl<K: Sync + 'static, V: Send + Sync + 'static, S: FencedSink<K, V>> FencedSink<K, V> for Arc<S> {
    fn raise(&self, partition: u32) -> impl Future<Output = Result<u64, BoxError>> + Send {
        S::raise(self, partition)
    }

    fn apply(
        &self,
        fence: Fence,
        writes: &[PendingWrite<K, V>],
    ) -> impl Future<Output = Result<Fenced, BoxError>> + Send {
        S::apply(self, fence, writes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_bytes_by_time_and_number() {
        let version = |ms, seq, token| Version::new(ms, seq, [token; 16]);
        assert!(version(255, 9, 9) < version(256, 0, 0), "most significant first");
        assert!(version(1, 255, 9) < version(1, 256, 0));
        assert_eq!(version(17, 3, 1).place(), (17, 3));
        let again = Version::from_bytes(*version(17, 3, 1).as_bytes());
        assert_eq!((again, format!("{again:?}").as_str()), (version(17, 3, 1), "Version(17-3)"));
    }
}
