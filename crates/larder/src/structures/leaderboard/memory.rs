//! A board in this process: rows in order, and where each member is.
//!
//! A rank is found by halving. To move a row is to move those between, so a board here is for thousands of
//! members, not for millions.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Better, Ranked, Reached, SCORE_MOST, Scoring};
use crate::structures::kept::Row;

/// Without a bound of its own a board in this process keeps so many, the best.
pub(super) const MEMBERS_MAX: usize = 100_000;

/// What a row costs beside its member: its place in the order, in the map, and their pointers.
const ROW_BYTES: usize = 112;

#[derive(Default)]
pub(super) struct Board {
    better: Better,
    /// The best first.
    rows: Vec<Place>,
    places: HashMap<Arc<[u8]>, (i64, u64)>,
    /// How many orders were given.
    given: u64,
    bytes: usize,
}

struct Place {
    score: i64,
    order: u64,
    member: Arc<[u8]>,
}

impl Row for Board {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A board that is not there yet is as whoever asks first would have it.
impl Board {
    /// It was opened the other way round before.
    pub(super) fn turn(&mut self, better: Better) {
        if self.better != better {
            self.better = better;
            self.rows.sort_by_key(|row| better.key(row.score, row.order));
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.rows.len() as u64
    }

    fn rank(&self, score: i64, order: u64) -> usize {
        let wanted = self.better.key(score, order);
        self.rows.partition_point(|row| self.better.key(row.score, row.order) < wanted)
    }

    pub(super) fn standing(&self, member: &[u8]) -> Option<(i64, u64)> {
        let (score, order) = *self.places.get(member)?;
        Some((score, self.rank(score, order) as u64))
    }

    /// From rank `first`, from 0; each with its member's bytes.
    pub(super) fn page(&self, first: u64, count: usize) -> Vec<Ranked> {
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let rows = self.rows.iter().enumerate().skip(first).take(count);
        let ranked = |(at, row): (usize, &Place)| Ranked {
            rank: at as u64,
            member: row.member.to_vec(),
            score: row.score,
        };
        rows.map(ranked).collect()
    }

    pub(super) fn remove(&mut self, member: &[u8]) -> Option<i64> {
        let (score, order) = self.places.remove(member)?;
        self.rows.remove(self.rank(score, order));
        self.bytes -= member.len() + ROW_BYTES;
        Some(score)
    }

    /// `Err`: which pair would pass the bound of scores; nothing was done.
    pub(super) fn submit(
        &mut self,
        how: Scoring,
        most: usize,
        pairs: &[(Vec<u8>, i64)],
    ) -> Result<Vec<Reached>, usize> {
        if how == Scoring::Add {
            let mut sums: HashMap<&[u8], i64> = HashMap::new();
            for (at, (member, by)) in pairs.iter().enumerate() {
                let was = || self.places.get(&member[..]).map_or(0, |place| place.0);
                let sum = sums.entry(member).or_insert_with(was);
                *sum += by;
                if sum.abs() > SCORE_MOST {
                    return Err(at);
                }
            }
        }
        let reached = pairs.iter().map(|(member, given)| {
            let was = self.places.get(&member[..]).map(|place| place.0);
            let score = match (how, was) {
                (Scoring::Add, _) => was.unwrap_or(0) + given,
                (Scoring::Best, Some(was))
                    if self.better.key(was, 0) <= self.better.key(*given, 0) =>
                {
                    was
                }
                _ => *given,
            };
            if was != Some(score) {
                self.put(member, score);
            }
            Reached { score, was, rank: None }
        });
        let mut reached: Vec<Reached> = reached.collect();
        while self.rows.len() > most {
            let Some(worst) = self.rows.pop() else { break };
            self.bytes -= worst.member.len() + ROW_BYTES;
            self.places.remove(&worst.member);
        }
        for (one, (member, _)) in reached.iter_mut().zip(pairs) {
            one.rank = self.standing(member).map(|(_, rank)| rank);
        }
        Ok(reached)
    }

    fn put(&mut self, member: &[u8], score: i64) {
        self.remove(member);
        self.given += 1;
        let (order, member): (u64, Arc<[u8]>) = (self.given, member.into());
        let at = self.rank(score, order);
        self.bytes += member.len() + ROW_BYTES;
        self.places.insert(member.clone(), (score, order));
        self.rows.insert(at, Place { score, order, member });
    }
}

impl Better {
    /// The less the better.
    fn key(self, score: i64, order: u64) -> (i64, u64) {
        match self {
            Better::Higher => (-score, order),
            Better::Lower => (score, order),
        }
    }
}
