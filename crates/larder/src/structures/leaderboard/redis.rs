//! A board in Redis: a sorted set and a hash, and a script for each step.

use super::{Better, Expiry, Ranked, Reached, Scoring};
use crate::error::FarError;
use crate::key::{Name, Shape};
use crate::redis::{Call, Reply, Script, odd};

pub(in crate::structures) static AROUND: Script = Script::new(include_str!("around.lua"));
pub(in crate::structures) static PAGE: Script = Script::new(include_str!("page.lua"));
pub(in crate::structures) static REMOVE: Script = Script::new(include_str!("remove.lua"));
pub(in crate::structures) static STANDINGS: Script = Script::new(include_str!("standings.lua"));
pub(in crate::structures) static SUBMIT: Script = Script::new(include_str!("submit.lua"));

/// The digits that stand before a member, and say who of two with one score came first.
const ORDER_BYTES: usize = 16;

/// One season of one board: its two names.
pub(super) struct Names {
    scores: Name,
    orders: Name,
}

impl Names {
    pub(super) fn of(board: &Shape, season: &str) -> Names {
        let part = |part: &str| board.part(&format!("{part}.{season}"));
        Names { scores: part("scores"), orders: part("orders") }
    }

    fn call(&self, script: &Script) -> Call {
        Call::script(script, &[&self.scores, &self.orders])
    }

    pub(super) fn submit(
        &self,
        how: Scoring,
        better: Better,
        most: usize,
        expiry: Expiry,
        pairs: &[(Vec<u8>, i64)],
    ) -> Call {
        let how = match how {
            Scoring::Set => "set",
            Scoring::Best => "best",
            Scoring::Add => "add",
        };
        let call = self.call(&SUBMIT).arg(how).arg(word(better)).arg(most);
        let call = match expiry {
            Expiry::Never => call.arg("never").arg(0),
            Expiry::At(ms) => call.arg("at").arg(ms),
            Expiry::Idle(ms) => call.arg("idle").arg(ms),
        };
        pairs.iter().fold(call, |call, (member, score)| call.arg(*score).arg(&member[..]))
    }

    pub(super) fn remove(&self, members: &[Vec<u8>]) -> Call {
        members.iter().fold(self.call(&REMOVE), |call, member| call.arg(&member[..]))
    }

    pub(super) fn page(&self, better: Better, first: u64, count: usize) -> Call {
        let end = i64::try_from(first).unwrap_or(i64::MAX).saturating_add(count as i64);
        self.call(&PAGE).arg(word(better)).arg(first).arg(end - 1)
    }

    pub(super) fn around(&self, better: Better, member: &[u8], beside: usize) -> Call {
        self.call(&AROUND).arg(word(better)).arg(member).arg(beside)
    }

    pub(super) fn standings(&self, better: Better, members: &[Vec<u8>]) -> Call {
        let call = self.call(&STANDINGS).arg(word(better));
        members.iter().fold(call, |call, member| call.arg(&member[..]))
    }

    pub(super) fn clear(&self) -> Call {
        Call::new("UNLINK", &self.scores).arg(self.orders.bytes())
    }
}

fn word(better: Better) -> &'static str {
    match better {
        Better::Higher => "higher",
        Better::Lower => "lower",
    }
}

/// `Err` of a place: which pair would pass the bound of scores.
pub(super) fn submitted(reply: Reply) -> Result<Result<Vec<Reached>, usize>, FarError> {
    if let Reply::Number(pair) = reply {
        return Ok(Err(usize::try_from(pair).map_err(|_| odd())?.saturating_sub(1)));
    }
    let each = threes(reply.list()?).map(|(score, was, rank)| {
        let score = score_of(score)?.ok_or_else(odd)?;
        Ok(Reached { score, was: score_of(was)?, rank: rank_of(rank)? })
    });
    each.collect::<Result<_, _>>().map(Ok)
}

pub(super) fn removed(reply: Reply) -> Result<Vec<Option<i64>>, FarError> {
    reply.list()?.into_iter().map(score_of).collect()
}

/// How many there are, and rows.
pub(super) fn paged(reply: Reply, first: u64) -> Result<(u64, Vec<Ranked>), FarError> {
    let mut parts = reply.list()?.into_iter();
    let count = parts.next().ok_or_else(odd)?.count()? as u64;
    Ok((count, ranked(parts, first)?))
}

/// The same, around a member; no rows when it is not there.
pub(super) fn surrounded(reply: Reply) -> Result<(u64, Vec<Ranked>), FarError> {
    let mut parts = reply.list()?.into_iter();
    let count = parts.next().ok_or_else(odd)?.count()? as u64;
    match rank_of(parts.next().ok_or_else(odd)?)? {
        Some(first) => Ok((count, ranked(parts, first)?)),
        None => Ok((count, Vec::new())),
    }
}

pub(super) fn standing(reply: Reply) -> Result<Vec<Option<(i64, u64)>>, FarError> {
    let mut parts = reply.list()?.into_iter();
    let mut all = Vec::with_capacity(parts.len() / 2);
    while let (Some(score), Some(rank)) = (parts.next(), parts.next()) {
        all.push(score_of(score)?.zip(rank_of(rank)?));
    }
    Ok(all)
}

fn ranked(mut parts: impl Iterator<Item = Reply>, first: u64) -> Result<Vec<Ranked>, FarError> {
    let mut all = Vec::new();
    while let (Some(member), Some(score)) = (parts.next(), parts.next()) {
        let member = member.bytes()?;
        // What is shorter is not of ours; as no bytes it cannot be read, and is counted as that.
        let member = member.get(ORDER_BYTES..).unwrap_or_default().to_vec();
        let (rank, score) = (first + all.len() as u64, score_of(score)?.ok_or_else(odd)?);
        all.push(Ranked { rank, member, score });
    }
    Ok(all)
}

/// Of digits; of somebody else's fraction what is whole of it.
fn score_of(reply: Reply) -> Result<Option<i64>, FarError> {
    let text = reply.text()?;
    match text.is_empty() {
        true => Ok(None),
        false => text.parse::<f64>().map(|score| Some(score as i64)).map_err(|_| odd()),
    }
}

fn rank_of(reply: Reply) -> Result<Option<u64>, FarError> {
    Ok(u64::try_from(reply.number()?).ok())
}

fn threes(parts: Vec<Reply>) -> impl Iterator<Item = (Reply, Reply, Reply)> {
    let mut parts = parts.into_iter();
    std::iter::from_fn(move || Some((parts.next()?, parts.next()?, parts.next()?)))
}
