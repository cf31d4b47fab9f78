//! Sets put together: on their server where they share a slot, here where they do not.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "redis")]
use super::redis as wire;
use super::{Members, SetOf, decoded, memory};
use crate::error::{Error, ErrorKind};
use crate::key::Name;
#[cfg(feature = "redis")]
use crate::redis::Reply;
use crate::structures::bounds;
#[cfg(feature = "redis")]
use crate::structures::{Side, not_read};

/// How many members are looked at, at most.
const LOOKED_AT_MAX: usize = 10_000;
/// How many sets are put together at most.
const SETS_MAX: usize = 16;

/// In which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Union,
    Intersection,
    Difference,
}

impl How {
    pub(super) fn word(self) -> &'static str {
        match self {
            How::Union => "unite",
            How::Intersection => "intersect",
            How::Difference => "subtract from",
        }
    }

    pub(super) fn of(self, sets: Vec<Vec<Vec<u8>>>) -> Vec<Vec<u8>> {
        let mut sets = sets.into_iter().map(BTreeSet::from_iter);
        let mut all: BTreeSet<Vec<u8>> = sets.next().unwrap_or_default();
        for set in sets {
            match self {
                How::Union => all.extend(set),
                How::Intersection => all.retain(|member| set.contains(member)),
                How::Difference => all.retain(|member| !set.contains(member)),
            }
        }
        all.into_iter().collect()
    }
}

/// Errors of all are said at the other calls of a set.
impl<M: Serialize + DeserializeOwned> SetOf<M> {
    /// Who is in this set, or in one of the others.
    ///
    /// Sets under one key share a server, whatever their names: `online.of(&room)` and `muted.of(&room)`. They are
    /// put together there, at one moment. Others are put together here, each as it was when it was asked.
    ///
    /// # Cost
    /// One round trip, or one for each set if they have different keys; O(members of all).
    ///
    /// # Errors
    /// As said above; [`ErrorKind::Overloaded`]: the sets have more than 10,000 members together, turn their
    /// pages instead; [`ErrorKind::Config`]: more than 15 others.
    pub async fn union(&self, others: &[&SetOf<M>]) -> Result<Members<M>, Error> {
        self.put_together(How::Union, others).await.map(|found| decoded(&found))
    }

    /// Who is in this set and in all the others: see [`union`](Self::union).
    ///
    /// # Cost, errors
    /// As [`union`](Self::union).
    pub async fn intersection(&self, others: &[&SetOf<M>]) -> Result<Members<M>, Error> {
        self.put_together(How::Intersection, others).await.map(|found| decoded(&found))
    }

    /// Who is in this set and in none of the others: see [`union`](Self::union).
    ///
    /// # Cost, errors
    /// As [`union`](Self::union).
    pub async fn difference(&self, others: &[&SetOf<M>]) -> Result<Members<M>, Error> {
        self.put_together(How::Difference, others).await.map(|found| decoded(&found))
    }

    /// How many are in this set and in all the others, counted up to `limit`: 0 for no limit.
    ///
    /// # Cost
    /// Of sets under one key: one round trip; O(members of the smallest), less where the limit is reached soon.
    /// Of others as [`union`](Self::union).
    ///
    /// # Errors
    /// As [`union`](Self::union); of sets under one key however many members they have.
    pub async fn intersection_len(
        &self,
        others: &[&SetOf<M>],
        limit: usize,
    ) -> Result<usize, Error> {
        #[cfg(feature = "redis")]
        if let Side::Redis(commands) = self.inner.ground.side() {
            let names = self.with_others(others)?;
            if share_a_slot(&names)
                && let Some(call) = wire::common(&names, limit)
            {
                let count = commands.ask(call).await.map(Reply::from).and_then(Reply::count);
                return count.map_err(|why| not_read(&self.inner.shape, "intersect", why));
            }
        }
        let common = self.put_together(How::Intersection, others).await?.len();
        Ok(if limit == 0 { common } else { common.min(limit) })
    }

    async fn put_together(&self, how: How, others: &[&SetOf<M>]) -> Result<Vec<Vec<u8>>, Error> {
        let names = self.with_others(others)?;
        let too_many = |count: usize| {
            let text = format!(
                "cannot {} {}: its sets have {count} members and more, and {LOOKED_AT_MAX} are looked at",
                how.word(),
                self.inner.shape
            );
            Error::new(ErrorKind::Overloaded, text)
        };
        #[cfg(feature = "redis")]
        if let Side::Redis(commands) = self.inner.ground.side() {
            let ask = async |sets: &[&Name], how: How, most: usize| {
                let answer = commands.ask(wire::together(sets, how, most)).await;
                let found = answer.map(Reply::from).and_then(wire::put_together);
                found.map_err(|why| not_read(&self.inner.shape, how.word(), why))?.map_err(too_many)
            };
            if share_a_slot(&names) {
                return ask(&names, how, LOOKED_AT_MAX).await;
            }
            let (mut sets, mut left) = (Vec::with_capacity(names.len()), LOOKED_AT_MAX);
            for name in names {
                let set = ask(&[name], How::Union, left).await?;
                left -= set.len().min(left);
                sets.push(set);
            }
            return Ok(how.of(sets));
        }
        let clock = self.inner.ground.clock();
        let (mut sets, mut left) = (Vec::with_capacity(names.len()), LOOKED_AT_MAX);
        let inners = std::iter::once(&self.inner).chain(others.iter().map(|set| &set.inner));
        for (inner, name) in inners.zip(names) {
            let set = memory::all(inner.memory()?, name.bytes(), clock, left).map_err(too_many)?;
            left -= set.len().min(left);
            sets.push(set);
        }
        Ok(how.of(sets))
    }

    fn with_others<'a>(&'a self, others: &[&'a SetOf<M>]) -> Result<Vec<&'a Name>, Error> {
        bounds::check(&self.inner.shape, "the number of sets", others.len() + 1, 1..=SETS_MAX)?;
        std::iter::once(self.name()).chain(others.iter().map(|set| set.name())).collect()
    }
}

#[cfg(feature = "redis")]
fn share_a_slot(names: &[&Name]) -> bool {
    names.windows(2).all(|pair| pair[0].slot() == pair[1].slot())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_put_together_as_redis_would() {
        let set = |text: &str| text.bytes().map(|byte| vec![byte]).collect::<Vec<_>>();
        let of = |how: How, sets: [&str; 3]| {
            how.of(sets.map(set).to_vec()).concat().escape_ascii().to_string()
        };
        assert_eq!(of(How::Union, ["ab", "bc", "d"]), "abcd");
        assert_eq!(of(How::Intersection, ["abc", "bcd", "cb"]), "bc");
        assert_eq!(of(How::Difference, ["abcd", "b", "dx"]), "ac");
        assert!(How::Union.of(vec![]).is_empty());
    }
}
