//! Members in the order of their scores, and of two with one score the first to reach it before the other.
//!
//! In Redis a board is two names of one slot. The sorted set has each member behind an order of 16 digits, so that
//! equal scores stand as they were reached; the hash knows each member's order, so that its rank is found in
//! O(log n). Every step is one script. If Redis evicts one of the two, the other is no board any more: reads find
//! nothing, and the next submission begins anew.
//!
//! A call that changes something and whose answer was lost is `Unconfirmed`. To submit a score or the best again is
//! harmless; to increment again may count twice.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bounds::{check, check_time, ms};
use super::kept::{Kept, Time};
use super::{Ground, Side};
#[cfg(feature = "redis")]
use super::{not_done, not_read};
use crate::entry::{Codec, Encoded};
use crate::error::{Error, ErrorKind};
use crate::key::{Shape, ToKey};

mod memory;
#[cfg(feature = "redis")]
pub(super) mod redis;
mod season;

pub use season::Season;

use memory::Board;
use season::Period;

/// Scores are whole numbers that a double has exactly: Redis keeps no others.
const SCORE_MOST: i64 = (1 << 53) - 1;
const MEMBER_BYTES_MAX: usize = 512;
const MEMBERS_MOST: usize = 100_000_000;
/// How many members one call may name or ask for.
const BATCH_MAX: usize = 1000;

/// Which score is the better one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Better {
    /// Points.
    #[default]
    Higher,
    /// Times, strokes.
    Lower,
}

/// What a submitted score does to the one a member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scoring {
    /// It takes its place.
    Set,
    /// It takes its place if it is better.
    Best,
    /// It is added to it, and to 0 where there is none.
    Add,
}

/// A member of a board.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing<M> {
    /// From 1: the best has rank 1, and no two share one.
    pub rank: u64,
    /// Who.
    pub member: M,
    /// With which score.
    pub score: i64,
}

/// A part of a board, the best first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BoardPage<M> {
    /// Those asked for. The rank of one that cannot be read is missing here.
    pub standings: Vec<Standing<M>>,
    /// How many could not be read, since they are of another type. They keep their ranks.
    pub unreadable: usize,
    /// How many members the whole board has.
    pub count: u64,
}

/// What became of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placed {
    /// The member's rank now, from 1. `None`: the board keeps only the best, and it is not among them.
    pub rank: Option<u64>,
    /// Its score now; what it reached, if it fell off the board.
    pub score: i64,
    /// Its score before, if it had one.
    pub was: Option<i64>,
}

/// Inside ranks are from 0.
struct Ranked {
    rank: u64,
    member: Vec<u8>,
    score: i64,
}

struct Reached {
    score: i64,
    was: Option<i64>,
    rank: Option<u64>,
}

/// When a season is forgotten, in milliseconds.
#[derive(Clone, Copy)]
enum Expiry {
    Never,
    /// Since 1970.
    At(u64),
    /// After the last submission.
    Idle(u64),
}

/// Settles how a [`Leaderboard`] works. Every default is here.
#[must_use]
#[derive(Clone)]
pub struct LeaderboardBuilder {
    ground: Ground,
    name: String,
    better: Better,
    season: Season,
    seasons_kept: u32,
    members_max: Option<usize>,
    expire_after: Option<Duration>,
    codec: Codec,
}

impl fmt::Debug for LeaderboardBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaderboardBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LeaderboardBuilder {
    pub(crate) fn new(ground: Ground, name: String) -> LeaderboardBuilder {
        LeaderboardBuilder {
            ground,
            name,
            better: Better::Higher,
            season: Season::Endless,
            seasons_kept: 1,
            members_max: None,
            expire_after: None,
            codec: Codec::default(),
        }
    }

    /// Which score is the better one. [`Better::Higher`]. All that open the name must say the same: it is part of
    /// how ties are kept.
    pub fn better(mut self, better: Better) -> LeaderboardBuilder {
        self.better = better;
        self
    }

    /// When a new, empty board begins. [`Season::Endless`].
    pub fn season(mut self, season: Season) -> LeaderboardBuilder {
        self.season = season;
        self
    }

    /// For how many seasons after its end one can still be read. 1: until the next has ended too; at most 1000. For
    /// seasons of the calendar. Nothing is submitted to one that is no longer kept.
    pub fn seasons_kept(mut self, count: u32) -> LeaderboardBuilder {
        self.seasons_kept = count;
        self
    }

    /// How many members are kept, the best. Whoever falls off is forgotten, and an increment then begins at 0.
    /// In Redis any number unless told, and a million members are about 200 MB; in this process 100,000.
    pub fn members_max(mut self, count: usize) -> LeaderboardBuilder {
        self.members_max = Some(count);
        self
    }

    /// The board is forgotten when nothing was submitted to it for so long. Never unless told. For endless and named
    /// seasons: those of the calendar end by it.
    pub fn expire_after(mut self, idle: Duration) -> LeaderboardBuilder {
        self.expire_after = Some(idle);
        self
    }

    /// How members are written. [`Codec::MessagePack`], in which a text can be read behind its length; JSON is
    /// plain. Equal members must be written alike: no maps without an order.
    pub fn codec(mut self, codec: Codec) -> LeaderboardBuilder {
        self.codec = codec;
        self
    }

    /// Opens it. Nothing is sent.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: a name that is none, a number out of its bounds, an expiry that the season has
    /// already.
    pub fn open<M>(self) -> Result<Leaderboard<M>, Error>
    where
        M: Serialize + DeserializeOwned,
    {
        let shape = self.ground.shape("board", &self.name)?;
        self.season.check(&self.ground)?;
        check(&shape, "seasons_kept", self.seasons_kept, 0..=1000)?;
        if let Some(most) = self.members_max {
            check(&shape, "members_max", most, 1..=MEMBERS_MOST)?;
        }
        if let Some(idle) = self.expire_after {
            check_time(&shape, "expire_after", idle)?;
            if !matches!(self.season, Season::Endless | Season::Named(_)) {
                let text = format!(
                    "{shape}: expire_after is for endless and named seasons; how long one of the calendar is kept is seasons_kept"
                );
                return Err(Error::new(ErrorKind::Config, text));
            }
        }
        let kept = match self.ground.side() {
            Side::Memory(shelves) => Some(shelves.get(&shape)?),
            #[cfg(feature = "redis")]
            Side::Redis(_) => None,
        };
        let of = shape.of("")?;
        let inner = Arc::new(Inner { settings: self, shape, kept });
        Ok(Leaderboard { inner, of, back: 0, members: PhantomData })
    }
}

/// Members in the order of their scores. Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
/// use larder::Larder;
/// use larder::structures::{Leaderboard, Season};
///
/// let larder = Larder::builder("game").open().await?; // .redis("redis://..") for a fleet
/// let board: Leaderboard<String> =
///     larder.leaderboard("wins").season(Season::Weekly).members_max(1000).open()?;
///
/// board.increment("ann", 3).await?;
/// board.increment("bob", 5).await?;
/// let placed = board.increment("ann", 2).await?;
/// assert_eq!((placed.rank, placed.score), (Some(2), 5)); // bob had five first
/// assert_eq!(board.top(1).await?.standings[0].member, "bob");
/// # Ok(()) }
/// ```
///
/// # Limits
/// Scores are whole numbers between -2⁵³ and 2⁵³, which Redis keeps exactly; times are scores as milliseconds. A member
/// is at most 512 bytes as it is written. A board's order of ties is exact for 2⁵³ changes of scores.
///
/// # What Redis forgets
/// A board that is evicted, flushed, or lost with a server that keeps no log is an empty one. Where it must last,
/// keep it under a `maxmemory-policy` that does not evict it and with a log on disk, or build it again from what it
/// counts.
pub struct Leaderboard<M> {
    inner: Arc<Inner>,
    /// Which of the boards of this name.
    of: Shape,
    /// How many seasons ago.
    back: u32,
    members: PhantomData<fn(M) -> M>,
}

struct Inner {
    settings: LeaderboardBuilder,
    shape: Shape,
    /// Where there is no Redis.
    kept: Option<Arc<Kept<Board>>>,
}

impl<M> Clone for Leaderboard<M> {
    fn clone(&self) -> Leaderboard<M> {
        let (inner, of) = (self.inner.clone(), self.of.clone());
        Leaderboard { inner, of, back: self.back, members: PhantomData }
    }
}

impl<M> fmt::Debug for Leaderboard<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format_args!("{}", self.inner.shape);
        f.debug_struct("Leaderboard").field("name", &name).finish_non_exhaustive()
    }
}

mod steps;
