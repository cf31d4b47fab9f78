//! Who closed most tasks this week.
//!
//! A board in Redis for each ISO week, in UTC. A close adds one, and a task that is opened again takes one back, in
//! the week in which that is done. The board is of what was closed, not of what is: a task that is deleted
//! stays counted, and one that was created done never was. What Redis does not take is not counted, and one
//! that it may have taken is not sent again: a close counts once or not at all.

use larder::Larder;
use larder::structures::{Leaderboard, Season, Standing};

use super::super::model::UserId;

/// How many users a week has.
const USERS_MAX: usize = 100_000;
/// How many weeks are kept, this one among them.
const WEEKS: u32 = 4;

/// The boards. Cheap to clone.
#[derive(Clone)]
pub(super) struct Standings {
    board: Leaderboard<UserId>,
}

/// This week, as one of its users sees it.
pub(super) struct Week {
    /// `2026-W48`.
    pub(super) name: String,
    pub(super) best: Vec<Standing<UserId>>,
    /// None: nothing closed.
    pub(super) own: Option<Standing<UserId>>,
}

impl Standings {
    /// # Errors
    /// If the name or the bounds cannot be meant.
    pub(super) fn open(larder: &Larder) -> Result<Standings, larder::Error> {
        let board = larder.leaderboard("closed").season(Season::Weekly).seasons_kept(WEEKS);
        Ok(Standings { board: board.members_max(USERS_MAX).open()? })
    }

    /// # Errors
    /// When Redis does not count it, or does not say so.
    pub(super) async fn count(&self, user: &UserId, closed: i64) -> Result<(), larder::Error> {
        self.board.increment(user, closed).await.map(drop)
    }

    /// The best of this week, and this user: two questions at once, each of its own moment.
    ///
    /// # Errors
    /// When Redis does not say.
    pub(super) async fn week(&self, user: &UserId, best: usize) -> Result<Week, larder::Error> {
        let name = self.board.season();
        let (best, own) = tokio::join!(self.board.top(best), self.board.around(user, 0));
        let own = own?.standings.into_iter().next();
        Ok(Week { name, best: best?.standings, own })
    }
}
