//! Writes that their source does not have yet: what caches that write behind ask of the shared side.
//!
//! A [write](Backlog::write) stands in two places: as D beside the value, which is what readers are answered
//! with until the source has it, and as an entry in its partition's stream, which is what workers go by. One
//! worker at a time [holds](Backlog::hold) a partition. It [claims](Backlog::claim) entries **first**, and reads
//! D **after** that: so whatever D is then, each entry that was claimed is older or its own, and a newer write
//! has an entry of its own. What the source has is [cleared](Backlog::clear), D only if it is still that write.
//!
//! Nothing here is told in whose name it was kept: D and the stream are believed across failovers.

use std::time::Duration;

use super::Reply;
use crate::entry::{Stamp, Token, WriteId};
use crate::key::{Key, Partition};

/// One write to be queued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write<'a> {
    pub(crate) key: &'a Key,
    pub(crate) token: Token,
    pub(crate) envelope: &'a [u8],
    pub(crate) keep: Duration,
    /// The caller's own key as bytes, for the sink.
    pub(crate) typed: &'a [u8],
    /// No more entries than this in its partition's stream.
    pub(crate) bound: usize,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    At(WriteId),
    /// As many wait as may; nothing was changed.
    Full,
}

/// An entry of a stream, as its worker has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) id: WriteId,
    /// What stands in it; an entry that somebody removed is empty.
    pub(crate) of: Option<Of>,
}

/// Which write an entry is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Of {
    pub(crate) key: Key,
    pub(crate) token: Token,
    pub(crate) typed: Vec<u8>,
}

/// What is done with: the write, if there is one, and the entries that were claimed before it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done<'a> {
    pub(crate) key: &'a Key,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) entries: &'a [WriteId],
}

/// A write that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dead {
    /// In the stream of dead letters.
    pub(crate) id: WriteId,
    pub(crate) key: Key,
    pub(crate) typed: Vec<u8>,
    pub(crate) envelope: Vec<u8>,
    /// Why, for people.
    pub(crate) reason: Vec<u8>,
}

/// What became of a dead letter that was to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replayed {
    /// It is pending again, as the newest write of its key.
    Queued,
    /// A newer write of its key waits: it stays where it is.
    Newer,
    /// There is none under this id.
    Gone,
}

/// How much waits in a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Depth {
    /// Entries in the stream.
    pub(crate) waiting: u64,
    /// Dead letters.
    pub(crate) dead: u64,
    /// When the oldest entry was queued.
    pub(crate) oldest: Option<WriteId>,
}

/// What the server does with what it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Durability {
    /// What it throws away when memory is short; empty when it would not say.
    pub(crate) policy: String,
    /// Whether writes are logged to disk; `None` when it would not say.
    pub(crate) logs: Option<bool>,
}

/// The names of all that is asked for together are in one partition.
pub(crate) trait Backlog: Send + Sync {
    /// Keeps a value that its source does not have yet, queues it, and ends older loads. Sent once: without an
    /// answer it may have happened, or may happen later, over a newer one.
    fn write<'a>(&'a self, write: Write<'a>) -> Reply<'a, Queued>;

    /// Takes a partition's lease, if nobody has it or this token does; else how much longer it is held.
    fn hold<'a>(
        &'a self,
        partition: &'a Partition,
        token: Token,
        time: Duration,
    ) -> Reply<'a, Result<(), Duration>>;

    /// Renews it; false when it is no longer ours.
    fn renew<'a>(
        &'a self,
        partition: &'a Partition,
        token: Token,
        time: Duration,
    ) -> Reply<'a, bool>;

    /// Gives it back, if it is ours.
    fn give_back<'a>(&'a self, partition: &'a Partition, token: Token) -> Reply<'a, bool>;

    /// The next entries, oldest first: those that nobody had claimed, or, `after` an id, those that were claimed by
    /// whoever held the partition, ourselves or one before us. `None`: the lease is not ours, nothing was claimed.
    fn claim<'a>(
        &'a self,
        partition: &'a Partition,
        token: Token,
        after: Option<WriteId>,
        most: usize,
    ) -> Reply<'a, Option<Vec<Claimed>>>;

    /// D of each, raw.
    fn pending<'a>(&'a self, keys: &'a [Key]) -> Reply<'a, Vec<Option<Vec<u8>>>>;

    /// The source has them: removes each D that is still the write named, and all the entries. Says of each whether
    /// its D went.
    fn clear<'a>(&'a self, partition: &'a Partition, done: &'a [Done<'a>]) -> Reply<'a, Vec<bool>>;

    /// Queues a write anew above `above`, if D still is of this token; its new place.
    fn rebase<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        above: WriteId,
        typed: &'a [u8],
    ) -> Reply<'a, Option<WriteId>>;

    /// Gives a write up: if D is still the one named, it moves to the dead letters, and readers have it no more.
    /// Says whether it did.
    fn bury<'a>(&'a self, done: Done<'a>, typed: &'a [u8], reason: &'a str) -> Reply<'a, bool>;

    /// Dead letters, oldest first.
    fn dead<'a>(
        &'a self,
        partition: &'a Partition,
        after: WriteId,
        most: usize,
    ) -> Reply<'a, Vec<Dead>>;

    /// Queues a dead letter again, as a write of this token.
    fn replay<'a>(&'a self, key: &'a Key, id: WriteId, token: Token) -> Reply<'a, Replayed>;

    /// Removes a dead letter for good; false when there is none.
    fn forget_dead<'a>(&'a self, partition: &'a Partition, id: WriteId) -> Reply<'a, bool>;

    /// How much waits in each.
    fn depths<'a>(&'a self, partitions: &'a [Partition]) -> Reply<'a, Vec<Depth>>;

    /// What the server of a partition does with what it keeps.
    fn durability<'a>(&'a self, partition: &'a Partition) -> Reply<'a, Durability>;
}
