//! A writer's claim on a key for the length of its commit.
//!
//! From the moment it is open until it ends, or its time is over, nobody stores an entry for the key:
//! callers load it, and keep it nowhere. So a writer that dies between its commit and its invalidation
//! leaves nothing stale behind: what was there went when the guard was opened, and what is loaded after
//! its time is loaded after the commit, if that fell inside.
//!
//! Several writers may hold guards on one key; each ends its own. An end is sent like any other: in a
//! task of its own, and again until it is confirmed. With the process die the guards that it holds: they
//! run out. So does one whose writer cannot tell whether it may commit yet.

use std::fmt;
use std::time::Duration;

use super::Ends;
use crate::entry::{Ended, Incarnation, Token};
use crate::error::{Error, ErrorKind, FarError};
use crate::far::Finish;
use crate::key::Key;

/// A writer's claim on a key. Ended by [`end`](Self::end); dropped, it is ended all the same, by a task of
/// its own that nobody waits for.
#[must_use = "it keeps the key from being cached: end it after the commit"]
pub struct Guard {
    ends: Ends,
    key: Key,
    token: Token,
    /// False: surely not, and there is none to end.
    is_sent: bool,
    owed: Owed,
}

/// What a guard still has to end.
enum Owed {
    Nothing,
    /// The entry, and the guard with it.
    Both,
    /// The entry. The guard stands to its deadline, and keeps out what is loaded before a commit that is late.
    Entry,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Guard {
    /// After the commit, and also when there was none: ends the entry everywhere, and the guard with it.
    ///
    /// # Order, errors
    /// As [`Larder::invalidate`](crate::Larder::invalidate).
    pub async fn end(mut self) -> Result<(), Error> {
        let ended = vec![self.as_ended()];
        self.owed = Owed::Nothing;
        self.ends.end(ended).await
    }

    fn as_ended(&self) -> Ended {
        match self.owed {
            Owed::Both if self.is_sent => Ended::Guarded(self.key.clone(), self.token),
            // Ends of one key that wait are one, however many writers they are of.
            _ => Ended::Key(self.key.clone()),
        }
    }

    /// From now on its writer may commit at any time: until that is [settled](Self::settled) no end of it ends the
    /// guard, which is left to run out. Nobody waits for that.
    pub(crate) fn commits(&mut self) {
        self.owed = Owed::Entry;
    }

    /// It has committed, or surely never will.
    pub(crate) fn settled(&mut self) {
        self.owed = Owed::Both;
    }

    /// The same for one who runs in a task that nobody stops.
    pub(crate) async fn end_here(mut self) -> Result<(), Error> {
        let ended = self.ends.end_all(vec![self.as_ended()]).await;
        self.owed = Owed::Nothing;
        ended
    }

    /// Ends it, and keeps what its writer committed; false: another wrote or ended the key, and nothing is kept.
    /// The error is that of an end, queued where it was not confirmed: whether anything was kept is not known, and
    /// it will not stay.
    pub(crate) async fn finish(mut self, envelope: &[u8], keep: Duration) -> Result<bool, Error> {
        let ended = [self.as_ended()];
        self.ends.forget(&ended);
        self.ends.replay.remember(&ended, self.ends.clock.now());
        let beside: Vec<Key> = self.key.beside().collect();
        let (key, token) = (&self.key, self.token);
        let finish = Finish { key, beside: &beside, token, envelope, keep };
        let answer = self.ends.far.finish(finish).await;
        self.ends.forget(&ended);
        match answer {
            Ok(kept) => {
                self.owed = Owed::Nothing;
                Ok(kept)
            }
            // Never again: over a guard that came late it would keep what is old by then.
            Err(_) => self.end_here().await.map(|()| false),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !matches!(self.owed, Owed::Nothing) {
            let ended = vec![self.as_ended()];
            // Where it is not sent it is queued, and says so to nobody.
            let _ = self.ends.end_behind(ended);
        }
    }
}

impl Ends {
    /// Opens a guard. Goes on to its end when the caller is dropped; then the guard ends as well.
    pub(crate) async fn guard(&self, key: Key, time: Duration) -> Result<Guard, Error> {
        let this = self.clone();
        let Some(room) = self.behind.room() else {
            let text = "cannot open a guard: after the commit, invalidate all the same";
            return Err(Error::new(ErrorKind::Overloaded, text)
                .at(&key)
                .because(FarError::Crowded));
        };
        let opening = room.run(async move { this.open_guard(key, time).await });
        opening.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "the runtime stopped")))
    }

    /// A guard, and who opened it; or why it is not known to stand. Then too its end is owed, and ends what a
    /// commit made old.
    pub(crate) async fn claim(
        &self,
        key: Key,
        time: Duration,
    ) -> (Guard, Result<Incarnation, FarError>) {
        let ended = [Ended::Key(key.clone())];
        self.forget(&ended);
        // The other version of a rolling deploy keeps entries of its own.
        let keys: Vec<Key> = std::iter::once(key.clone()).chain(key.beside()).collect();
        let (ends, token) = (self.clone(), self.clock.nonce());
        let mut guard = Guard { ends, key, token, is_sent: true, owed: Owed::Both };
        let answer = self.far.guard(&keys, guard.token, time).await;
        self.forget(&ended);
        if let Err(FarError::Away | FarError::Closed | FarError::TurnedAway | FarError::Crowded) =
            answer
        {
            (guard.is_sent, guard.owed) = (false, Owed::Nothing);
        }
        (guard, answer)
    }

    async fn open_guard(&self, key: Key, time: Duration) -> Result<Guard, Error> {
        let (guard, answer) = self.claim(key, time).await;
        match answer {
            Ok(_) => Ok(guard),
            // It may stand, and nobody would end it: dropped here, it is.
            Err(why) => {
                let text = "cannot open a guard: after the commit, invalidate all the same";
                Err(Error::new(why.kind(), text).at(&guard.key).because(why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Cache, Larder, Origin};

    /// By a runtime that stops, or a panic. Only of a writer that is not at its commit it is known what it did.
    #[tokio::test]
    async fn dropped_while_its_writer_may_commit_it_stands() {
        let larder = Larder::builder("test").open().await.unwrap();
        let cache: Cache<str, String> = larder.cache("words").shared().unwrap();
        let load = || async { Ok::<_, std::io::Error>("loaded".to_owned()) };
        for (begins, ends, then) in [
            (false, false, Origin::Near),
            (true, true, Origin::Near),
            (true, false, Origin::Loaded),
        ] {
            let mut guard = cache.guard("k").await.unwrap();
            if begins {
                guard.commits();
            }
            if ends {
                guard.settled();
            }
            drop(guard);
            while larder.ends().under_way() > 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(cache.get_or_load("k", load).await.unwrap().origin(), Origin::Loaded);
            let origin = cache.get_or_load("k", load).await.unwrap().origin();
            assert_eq!(origin, then, "begun: {begins}, settled: {ends}");
        }
    }
}
