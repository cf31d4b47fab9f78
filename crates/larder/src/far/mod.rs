//! The one seam to the shared side: values, leases, tag generations, changes.
//!
//! Two implementations today: [`memory::MemoryFar`] in this process, and `redis::RedisFar`. What a
//! far side must do is written once, as tests, in [`contract`]; both run them.
//!
//! A read, and everything that belongs to one load, goes over a [`Link`]: the tracked connection that
//! was in use when the load began. Changes to what was read over it are told to the [`Changes`] given
//! at the start, in order with the replies, before any later reply is seen. What ends entries goes over
//! [`Far`] itself, on a connection of its own, so that its changes come back to us like anyone's.
//!
//! Far never decides policy: it does what it is told, and says when it could not.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::clock::Moment;
use crate::entry::{Answered, Ended, Generation, Incarnation, Nonce, Pending, SoftHalf, Token};
use crate::error::FarError;
#[cfg(feature = "redis")]
use crate::key::slot::Slots;
use crate::key::{Key, Tag};
use crate::pulse::Pulse;

pub(crate) mod backlog;
#[cfg(feature = "test-support")]
pub mod contract;
#[cfg(feature = "test-support")]
pub mod drawn;
pub(crate) mod guards;
#[cfg(feature = "structures")]
pub(crate) mod members;
pub(crate) mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;

/// A call to the shared side under way.
pub(crate) type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, FarError>> + Send + 'a>>;

/// News that something is no longer what we were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// The value, lease or generation under this name.
    Name(&'a [u8]),
    /// News were lost: it may be anything.
    Gap,
    /// Nobody confirms ends any more, for now.
    Lost,
    /// Another server process than before answers, and is believed: it may not know of our latest ends.
    Another,
    /// News were lost of what lies in these slots.
    #[cfg(feature = "redis")]
    Slots(&'a Slots),
}

/// Where changes are told: inline, in wire order, so it must be quick and never call back.
pub(crate) type Changes = Arc<dyn Fn(Change<'_>) + Send + Sync>;

/// The bytes of values, then the generations of tags, as they were when the values had been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Got {
    /// What is no string is not ours, and reads as nothing: [`Link::read`] removes it before a load.
    pub(crate) values: SmallVec<[Option<Answered>; 1]>,
    pub(crate) generations: Generations,
    /// False where the generations may have been read before the values: then a generation is no proof
    /// that a value is dead before it was read once more.
    pub(crate) in_order: bool,
}

/// What tags' names hold, in the order asked: one or two as a rule.
pub(crate) type Generations = SmallVec<[Option<Generation>; 2]>;

/// A tag as a load must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TagState {
    pub(crate) generation: Generation,
    /// How long it will still be there.
    pub(crate) keeps: Duration,
}

/// What READ answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A value that is not the one rejected.
    Value(Answered),
    /// The lease is ours.
    Granted,
    /// Somebody else's, for at most this long.
    Held(Duration),
    /// The source failed a moment ago: its token and code.
    Failed(Token, Vec<u8>),
    /// A writer is about to change it: load, and keep it nowhere.
    Guarded,
    /// A write that its source does not have yet, of a cache that writes behind: the truth, whatever its tags
    /// or its age, and no lease is granted beside it. The name of who answered is of no matter.
    Pending(Vec<u8>),
    /// Something we do not know how to read: load, and keep it nowhere.
    Foreign,
    /// The key is being moved to another server, which grants no lease before it has arrived: load, and
    /// keep it nowhere.
    #[cfg(feature = "redis")]
    Moving,
}

/// READ's answer, and the tags as they were after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) claim: Claim,
    /// The rejected value is still there: nobody has ended it.
    pub(crate) is_there: bool,
    /// Who answered.
    pub(crate) by: Incarnation,
    pub(crate) tags: Vec<Option<TagState>>,
    /// As [`Got::in_order`].
    pub(crate) in_order: bool,
}

/// What a writer leaves behind after its commit.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    pub(crate) key: &'a Key,
    /// Guarded under the same token, and only ended: what the other version of a rolling deploy keeps.
    pub(crate) beside: &'a [Key],
    pub(crate) token: Token,
    pub(crate) envelope: &'a [u8],
    pub(crate) keep: Duration,
}

/// What became of a new header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restamped {
    /// It is there, and the lease is given up.
    Done,
    /// The lease was lost: nothing changed.
    Lost,
    /// Another envelope is there, or none: nothing changed, and the lease stands.
    Gone,
}

/// The connection a load began on.
pub(crate) trait Link: Send + Sync {
    /// How long changes to a key and to tags are sure to be told in time, if they are asked for over it.
    fn pulse(&self, key: &Key, tags: &[Tag]) -> Arc<Pulse>;

    /// Whether changes are told at all. Where they are not, who waits looks again and again.
    fn tells_changes(&self) -> bool;

    /// How long what was answered of a key and of tags may be served from near, if it was asked for at
    /// `asked`: while the connections that answered beat. Where no changes are told, it ends by itself, as
    /// early as a lost one would cost.
    fn believed(&self, asked: Moment, key: &Key, tags: &[Tag]) -> Arc<Pulse>;

    /// Who will most likely answer for this key: what a value that is put is dated by. One that another
    /// answers for is not believed.
    fn incarnation(&self, key: &Key) -> Incarnation;

    /// The clock at `now` of the server that has the key, as last estimated, in milliseconds since 1970.
    fn server_ms_at(&self, now: Moment, key: &Key) -> u64;

    /// Reads values, then generations. One round trip.
    fn get<'a>(&'a self, keys: &'a [Key], tags: &'a [Tag]) -> Reply<'a, Got>;

    /// Reads the value or, when there is none or it is the rejected one (`seen`), asks for the
    /// lease; then the tags. One round trip. A token is sent in at most one call.
    fn read<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        lease: Duration,
        seen: Option<Token>,
        tags: &'a [Tag],
    ) -> Reply<'a, Read>;

    /// Reads generations. One round trip.
    fn generations<'a>(&'a self, tags: &'a [Tag]) -> Reply<'a, Generations>;

    /// Reads generations and how long they will be there. One round trip.
    fn tag_states<'a>(&'a self, tags: &'a [Tag]) -> Reply<'a, Vec<Option<TagState>>>;

    /// Gives each tag that has none the generation drawn for it, to be kept for `keep`, and reads
    /// what it then is. One round trip.
    ///
    /// What stands under a tag's name and is no generation is removed, and answered with `None`: try
    /// again with another generation, never with the same. (Between the two the tag may have been
    /// made, read and ended.)
    fn create<'a>(
        &'a self,
        tags: &'a [(Tag, Nonce)],
        keep: Duration,
    ) -> Reply<'a, Vec<Option<Generation>>>;

    /// Lengthens the time tags are kept, never shortens it, and reads them. One round trip.
    fn prolong<'a>(&'a self, tags: &'a [Tag], keep: Duration)
    -> Reply<'a, Vec<Option<Generation>>>;

    /// Keeps an envelope and ends the lease, if the lease still holds the token.
    fn store<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        envelope: &'a [u8],
        keep: Duration,
    ) -> Reply<'a, bool>;

    /// Puts a new header before the payload that is there, keeps both for `keep` and ends the lease, if the lease still holds
    /// the token and the envelope is the one `seen`. The header is as long as the one it replaces.
    fn restamp<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        seen: Token,
        head: &'a [u8],
        keep: Duration,
    ) -> Reply<'a, Restamped>;

    /// Leaves word that the source failed, if the lease still holds the token; false when it does not.
    fn fail<'a>(
        &'a self,
        key: &'a Key,
        token: Token,
        code: &'a str,
        backoff: Duration,
    ) -> Reply<'a, bool>;

    /// Gives the lease back, if it still holds the token; false when it does not. Few wait for it, so it may take as long as
    /// the lease itself would: a command that is given up while it waits for its turn is never sent.
    fn release<'a>(&'a self, key: &'a Key, token: Token, within: Duration) -> Reply<'a, bool>;

    /// Renews the lease; false when it is no longer ours.
    fn extend<'a>(&'a self, key: &'a Key, token: Token, lease: Duration) -> Reply<'a, bool>;

    /// Comes back when every change acknowledged before the call has been told.
    fn sync(&self) -> Reply<'_, ()>;
}

/// The shared side.
pub(crate) trait Far: Send + Sync {
    /// The connection in use. `Away` when there is none, `Closed` when there will be none, `TurnedAway`
    /// while its breaker is open.
    fn link(&self) -> Result<Arc<dyn Link>, FarError>;

    /// Would a call about these be sent now? `TurnedAway` while the breaker of a server that has one of them is
    /// open: whoever is waited for should not try.
    fn admits(&self, ended: &[Ended]) -> Result<(), FarError> {
        let _ = ended;
        Ok(())
    }

    /// Ends entries by key (value and lease, or the guard named) and by tag; what ends softly is marked and
    /// stays, its tags under the soft half given. One round trip for all. Sent whatever the breaker says: who
    /// would not wait for that asks [`admits`](Self::admits) first.
    fn end<'a>(&'a self, ended: &'a [Ended], soft: SoftHalf) -> Reply<'a, ()>;

    /// A writer claims keys for the length of its commit: until it ends ([`Ended::Guarded`]), or the time is
    /// over, no load stores there. What is there goes. Who answered for the first of them: what
    /// [`finish`](Self::finish) keeps is dated by it. One round trip for all; a token is sent in at most one call.
    fn guard<'a>(&'a self, keys: &'a [Key], token: Token, time: Duration)
    -> Reply<'a, Incarnation>;

    /// Ends a writer's guards after its commit, and keeps what it wrote if they were the only ones and nothing
    /// came between; false: it did, and then nothing of this write is there, and no load begun before it and no
    /// guard that is open can store. One round trip. Sent once: after an error end the guards
    /// ([`Ended::Guarded`]).
    fn finish<'a>(&'a self, finish: Finish<'a>) -> Reply<'a, bool>;

    /// Keeps a value whose only home is the cache, and ends older loads; false when a writer's guard stands
    /// there, and then nothing is kept. Sent once.
    fn put<'a>(&'a self, key: &'a Key, envelope: &'a [u8], keep: Duration) -> Reply<'a, bool>;

    /// The side of it that keeps writes until their source has them; `None` where there is none.
    fn backlog(&self) -> Option<&dyn backlog::Backlog> {
        None
    }

    /// Removes bytes under values' names that cannot be read. One round trip for all, waited for no
    /// longer than a read is.
    fn discard<'a>(&'a self, keys: &'a [Key]) -> Reply<'a, ()>;

    /// Ends once a connection that was lost is back.
    fn is_back(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Stops all that runs on its own. From then on every call is answered with `Closed`.
    fn close(&self);
}

/// What a lease's record says, with the time it has left.
///
/// `T` and a token: somebody is loading. `E`, a token and a code: the source failed. `W`: a writer, or
/// several, are about to change the entry.
pub(crate) fn read_lease(record: &[u8], left: Duration) -> Claim {
    match record.split_first() {
        Some((b'T', token)) if token.len() == 16 => Claim::Held(left),
        Some((b'E', rest)) => match rest.split_first_chunk::<16>() {
            Some((token, code)) => Claim::Failed(*token, code.to_vec()),
            None => Claim::Foreign,
        },
        Some((b'W', [b'=' | b'!', ..])) => Claim::Guarded,
        _ => Claim::Foreign,
    }
}

/// What a pending write's record says.
pub(crate) fn pending_claim(record: &[u8]) -> Claim {
    Pending::read(record).map_or(Claim::Foreign, |pending| Claim::Pending(pending.envelope))
}
