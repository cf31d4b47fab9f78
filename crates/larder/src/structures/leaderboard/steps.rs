//! What can be done with a board: each step here or in Redis.

use std::borrow::Borrow;

#[cfg(feature = "redis")]
use super::redis as in_redis;
use super::*;

impl<M: Serialize + DeserializeOwned> Leaderboard<M> {
    /// The board of this key, one of many of the same name: of a league, a level, a group. Each has a place of its
    /// own in a cluster.
    ///
    /// # Errors
    /// [`ErrorKind::Key`]: the key is longer than 1024 bytes.
    pub fn of<K: ToKey + ?Sized>(&self, key: &K) -> Result<Leaderboard<M>, Error> {
        // Framed, so that none is the board of no key.
        Ok(Leaderboard { of: self.inner.shape.of(&("of", key))?, ..self.clone() })
    }

    /// The board of so many seasons before this one, for as long as it is kept. What is submitted to it goes there.
    /// Where seasons are not of the calendar, the board itself.
    pub fn seasons_ago(&self, seasons: u32) -> Leaderboard<M> {
        Leaderboard { back: seasons, ..self.clone() }
    }

    /// What the season is called: `2026-W48`; `all` for an endless one.
    pub fn season(&self) -> String {
        let name = self.period().name;
        name.strip_prefix("n-").map_or(name.clone(), str::to_owned)
    }

    /// The member has this score, whatever it had.
    ///
    /// # Cost
    /// One round trip, O(log n).
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: a score of 2⁵³ or more, or a season that is no longer kept. [`ErrorKind::Encode`]: the member cannot be written, or is more
    /// than 512 bytes. [`ErrorKind::Far`]: Redis did not do it. [`ErrorKind::Unconfirmed`]: it did not say
    /// whether; repeating it is harmless, but a tie may then be another's. [`ErrorKind::Closed`]: the handle is.
    pub async fn submit<Q>(&self, member: &Q, score: i64) -> Result<Placed, Error>
    where
        M: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.submit_one(Scoring::Set, member, score).await
    }

    /// The member has this score, unless it had a better one.
    ///
    /// # Cost, errors
    /// As [`submit`](Self::submit).
    pub async fn submit_best<Q>(&self, member: &Q, score: i64) -> Result<Placed, Error>
    where
        M: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.submit_one(Scoring::Best, member, score).await
    }

    /// The member has so much more than it had, or less; one that had nothing begins at 0.
    ///
    /// # Cost, errors
    /// As [`submit`](Self::submit); but after [`ErrorKind::Unconfirmed`] it may count twice if it is repeated.
    pub async fn increment<Q>(&self, member: &Q, by: i64) -> Result<Placed, Error>
    where
        M: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.submit_one(Scoring::Add, member, by).await
    }

    /// Many at once, in order: all of them or, on an error that is not [`ErrorKind::Unconfirmed`], none.
    ///
    /// # Cost
    /// One round trip, O(log n) each.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), and [`ErrorKind::Config`] for more than 1000.
    pub async fn submit_many<'a, Q>(
        &self,
        how: Scoring,
        scores: impl IntoIterator<Item = (&'a Q, i64)>,
    ) -> Result<Vec<Placed>, Error>
    where
        M: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        let mut pairs = Vec::new();
        for (member, score) in scores {
            check(&self.inner.shape, "a score", score, -SCORE_MOST..=SCORE_MOST)?;
            pairs.push((self.encoded(member)?, score));
        }
        check(&self.inner.shape, "the number of members", pairs.len(), 0..=BATCH_MAX)?;
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        self.submit_pairs(how, &pairs).await
    }

    /// The member leaves the board. Gives the score that it had.
    ///
    /// # Cost
    /// One round trip, O(log n).
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub async fn remove<Q>(&self, member: &Q) -> Result<Option<i64>, Error>
    where
        M: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let members = [self.encoded(member)?];
        let removed = match self.road()? {
            Road::Memory(kept, name) => kept.write(&name, self.now(), |board| {
                let [member] = &members;
                (vec![board.remove(member)], Time::AsItWas)
            }),
            #[cfg(feature = "redis")]
            Road::Redis(commands, names) => {
                let asked = commands.ask(names.remove(&members)).await;
                let removed = asked.and_then(|answer| in_redis::removed(answer.into()));
                removed.map_err(|why| not_done(&self.of, "remove a member of", why))?
            }
        };
        Ok(removed.into_iter().next().flatten())
    }

    /// All members leave it.
    ///
    /// # Cost
    /// One round trip, O(1); the server frees the memory in its background.
    ///
    /// # Errors
    /// As [`submit`](Self::submit). Repeating it is harmless.
    pub async fn clear(&self) -> Result<(), Error> {
        match self.road()? {
            Road::Memory(kept, name) => drop(kept.remove(&name, self.now())),
            #[cfg(feature = "redis")]
            Road::Redis(commands, names) => {
                let asked = commands.ask(names.clear()).await;
                asked.map_err(|why| not_done(&self.of, "clear", why))?;
            }
        }
        Ok(())
    }

    /// The best `count`.
    ///
    /// # Cost
    /// One round trip, O(log n + `count`).
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: more than 1000. [`ErrorKind::Far`]: Redis did not say; it can be asked again.
    /// [`ErrorKind::Closed`]: the handle is.
    pub async fn top(&self, count: usize) -> Result<BoardPage<M>, Error> {
        self.page(1, count).await
    }

    /// `count` members from a rank on, the first of which is 1.
    ///
    /// # Cost, errors
    /// As [`top`](Self::top), and [`ErrorKind::Config`] for a rank of 0.
    pub async fn page(&self, rank: u64, count: usize) -> Result<BoardPage<M>, Error> {
        check(&self.inner.shape, "the first rank", rank, 1..=u64::MAX)?;
        check(&self.inner.shape, "the number of members", count, 0..=BATCH_MAX)?;
        let (better, first) = (self.inner.settings.better, rank - 1);
        let (all, rows) = match self.road()? {
            Road::Memory(kept, name) => {
                kept.read(&name, self.now(), |board| (board.count(), board.page(first, count)))
            }
            #[cfg(feature = "redis")]
            Road::Redis(commands, names) => {
                let asked = commands.ask(names.page(better, first, count)).await;
                let paged = asked.and_then(|answer| in_redis::paged(answer.into(), first));
                paged.map_err(|why| not_read(&self.of, "read", why))?
            }
        };
        let _ = better;
        Ok(self.read(all, rows))
    }

    /// The member, and up to `beside` on either side. No members when it is not on the board.
    ///
    /// # Cost, errors
    /// As [`top`](Self::top), for at most 500 on either side.
    pub async fn around<Q>(&self, member: &Q, beside: usize) -> Result<BoardPage<M>, Error>
    where
        M: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        check(&self.inner.shape, "the number on either side", beside, 0..=BATCH_MAX / 2)?;
        let member = self.encoded(member)?;
        let (all, rows) = match self.road()? {
            Road::Memory(kept, name) => kept.read(&name, self.now(), |board| {
                let rows = board.standing(&member).map_or(Vec::new(), |(_, rank)| {
                    let first = rank.saturating_sub(beside as u64);
                    board.page(first, (rank - first) as usize + 1 + beside)
                });
                (board.count(), rows)
            }),
            #[cfg(feature = "redis")]
            Road::Redis(commands, names) => {
                let better = self.inner.settings.better;
                let asked = commands.ask(names.around(better, &member, beside)).await;
                let read = asked.and_then(|answer| in_redis::surrounded(answer.into()));
                read.map_err(|why| not_read(&self.of, "read", why))?
            }
        };
        Ok(self.read(all, rows))
    }

    /// The rank of a member, from 1.
    ///
    /// # Cost
    /// One round trip, O(log n).
    ///
    /// # Errors
    /// As [`top`](Self::top), and [`ErrorKind::Encode`] for a member that cannot be written.
    pub async fn rank<Q>(&self, member: &Q) -> Result<Option<u64>, Error>
    where
        M: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let standings = self.standing_of(vec![self.encoded(member)?]).await?;
        Ok(standings.into_iter().next().flatten().map(|(_, rank)| rank + 1))
    }

    /// Score and rank of each of these, `None` for one that is not on the board; all of one moment.
    ///
    /// # Cost
    /// One round trip, O(log n) each.
    ///
    /// # Errors
    /// As [`rank`](Self::rank), and [`ErrorKind::Config`] for more than 1000.
    pub async fn standings<I>(&self, members: I) -> Result<Vec<Option<Standing<M>>>, Error>
    where
        I: IntoIterator<Item = M>,
    {
        let members: Vec<M> = members.into_iter().collect();
        check(&self.inner.shape, "the number of members", members.len(), 0..=BATCH_MAX)?;
        let encoded = members.iter().map(|member| self.encoded(member));
        let encoded: Vec<Vec<u8>> = encoded.collect::<Result<_, _>>()?;
        if encoded.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.standing_of(encoded).await?;
        let each = members.into_iter().zip(found).map(|(member, found)| {
            found.map(|(score, rank)| Standing { rank: rank + 1, member, score })
        });
        Ok(each.collect())
    }

    /// How many members there are.
    ///
    /// # Cost
    /// One round trip, O(1).
    ///
    /// # Errors
    /// As [`top`](Self::top).
    pub async fn count(&self) -> Result<u64, Error> {
        Ok(self.page(1, 0).await?.count)
    }

    async fn submit_one<Q>(&self, how: Scoring, member: &Q, score: i64) -> Result<Placed, Error>
    where
        M: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let placed = self.submit_many(how, [(member, score)]).await?;
        placed.into_iter().next().ok_or_else(|| self.not_written(0))
    }

    async fn submit_pairs(
        &self,
        how: Scoring,
        pairs: &[(Vec<u8>, i64)],
    ) -> Result<Vec<Placed>, Error> {
        let settings = &self.inner.settings;
        // Once: a season that ends meanwhile must not give its end to the next.
        let period = self.period();
        let expiry = self.expiry(&period)?;
        let reached = match self.road_to(&period)? {
            Road::Memory(kept, name) => kept.write(&name, self.now(), |board| {
                board.turn(settings.better);
                let most = settings.members_max.unwrap_or(memory::MEMBERS_MAX);
                let reached = board.submit(how, most, pairs);
                let left = match expiry {
                    _ if reached.is_err() => return (reached, Time::AsItWas),
                    Expiry::Never => None,
                    Expiry::Idle(ms) => Some(Duration::from_millis(ms)),
                    Expiry::At(ms) => {
                        let now = settings.ground.clock().unix_ms();
                        Some(Duration::from_millis(ms.saturating_sub(now)))
                    }
                };
                (reached, Time::Anew(left))
            }),
            #[cfg(feature = "redis")]
            Road::Redis(commands, names) => {
                let most = settings.members_max.unwrap_or(0);
                let call = names.submit(how, settings.better, most, expiry, pairs);
                let asked = commands.ask(call).await;
                let submitted = asked.and_then(|answer| in_redis::submitted(answer.into()));
                submitted.map_err(|why| not_done(&self.of, "submit to", why))?
            }
        };
        let reached = reached.map_err(|pair| self.not_written(pair))?;
        let placed = |one: Reached| Placed {
            rank: one.rank.map(|rank| rank + 1),
            score: one.score,
            was: one.was,
        };
        Ok(reached.into_iter().map(placed).collect())
    }

    async fn standing_of(&self, members: Vec<Vec<u8>>) -> Result<Vec<Option<(i64, u64)>>, Error> {
        match self.road()? {
            Road::Memory(kept, name) => Ok(kept.read(&name, self.now(), |board| {
                members.iter().map(|member| board.standing(member)).collect()
            })),
            #[cfg(feature = "redis")]
            Road::Redis(commands, names) => {
                let better = self.inner.settings.better;
                let asked = commands.ask(names.standings(better, &members)).await;
                let read = asked.and_then(|answer| in_redis::standing(answer.into()));
                read.map_err(|why| not_read(&self.of, "read", why))
            }
        }
    }

    fn read(&self, count: u64, rows: Vec<Ranked>) -> BoardPage<M> {
        let mut page =
            BoardPage { standings: Vec::with_capacity(rows.len()), unreadable: 0, count };
        for Ranked { rank, member, score } in rows {
            match self.inner.settings.codec.decode(&member) {
                Ok(member) => page.standings.push(Standing { rank: rank + 1, member, score }),
                Err(_) => page.unreadable += 1,
            }
        }
        page
    }

    fn encoded<Q: Serialize + ?Sized>(&self, member: &Q) -> Result<Vec<u8>, Error> {
        let of = |text: String| Error::new(ErrorKind::Encode, text);
        let shape = &self.inner.shape;
        match self.inner.settings.codec.encode(member, MEMBER_BYTES_MAX)? {
            Encoded::Bytes(bytes) if bytes.is_empty() => {
                Err(of(format!("a member of {shape} is written as nothing at all")))
            }
            Encoded::Bytes(bytes) => Ok(bytes),
            Encoded::TooLarge => Err(of(format!(
                "a member of {shape} is more than {MEMBER_BYTES_MAX} bytes as it is written"
            ))),
        }
    }

    fn not_written(&self, pair: usize) -> Error {
        let text = format!(
            "nothing was submitted to {}: the score of number {} would be 2^53 or more",
            self.inner.shape,
            pair + 1
        );
        Error::new(ErrorKind::Config, text)
    }
}

/// To where the board is.
enum Road<'a> {
    Memory(&'a Kept<Board>, Vec<u8>),
    #[cfg(feature = "redis")]
    Redis(&'a crate::redis::Commands, in_redis::Names),
}

impl<M> Leaderboard<M> {
    fn road(&self) -> Result<Road<'_>, Error> {
        self.road_to(&self.period())
    }

    fn road_to(&self, period: &Period) -> Result<Road<'_>, Error> {
        let ground = &self.inner.settings.ground;
        ground.check_open(&self.inner.shape)?;
        let season = &period.name;
        match (ground.side(), &self.inner.kept) {
            #[cfg(feature = "redis")]
            (Side::Redis(commands), _) => {
                Ok(Road::Redis(commands, in_redis::Names::of(&self.of, season)))
            }
            (_, Some(kept)) => Ok(Road::Memory(kept, self.of.part(season).bytes().to_vec())),
            (Side::Memory(_), None) => {
                let text = format!("{} has no place", self.inner.shape);
                Err(Error::new(ErrorKind::Config, text))
            }
        }
    }

    fn now(&self) -> crate::clock::Moment {
        self.inner.settings.ground.clock().now()
    }

    fn period(&self) -> Period {
        let settings = &self.inner.settings;
        let now = settings.ground.clock().unix_ms();
        settings.season.period(now, self.back, settings.seasons_kept)
    }

    /// # Errors
    /// `Config`: it is over, and so is the time that it was kept for.
    fn expiry(&self, period: &Period) -> Result<Expiry, Error> {
        let settings = &self.inner.settings;
        match (period.expires_ms, settings.expire_after) {
            (Some(at), _) if at <= settings.ground.clock().unix_ms() => {
                let text = format!(
                    "nothing is submitted to {} of {}: it is no longer kept (seasons_kept is {})",
                    self.inner.shape, period.name, settings.seasons_kept
                );
                Err(Error::new(ErrorKind::Config, text))
            }
            (Some(at), _) => Ok(Expiry::At(at)),
            (None, Some(_)) => Ok(Expiry::Idle(ms(settings.expire_after))),
            (None, None) => Ok(Expiry::Never),
        }
    }
}
