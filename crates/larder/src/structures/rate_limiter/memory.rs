//! The limits in this process: the same arithmetic as `judge.lua`, to the last bit.

use std::collections::VecDeque;
use std::time::Duration;

use super::Taking;
use super::limit::{Limit, LimitStanding, Wait, Way};
use crate::clock::Moment;
use crate::structures::kept::{Kept, Row, Time};

/// What all keys of one limiter have taken.
pub(super) type Table = Kept<Taken>;

/// What one key has taken, under each limit.
#[derive(Default)]
pub(super) struct Taken(Vec<(Limit, State)>);

/// Times are microseconds.
enum State {
    Log(VecDeque<u64>),
    Counter { window: u64, count: f64, before: f64 },
    Bucket { tokens: f64, at: u64 },
}

impl Row for Taken {
    fn bytes(&self) -> usize {
        let log = |state: &State| match state {
            State::Log(marks) => 8 * marks.capacity(),
            _ => 0,
        };
        let one = size_of::<(Limit, State)>();
        self.0.iter().map(|(_, state)| one + log(state)).sum()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Taken {
    fn state(&mut self, limit: &Limit, now: u64) -> &mut State {
        let same = |one: &Limit| one.goes_on(limit);
        let at = self.0.iter().position(|(one, _)| same(one)).unwrap_or_else(|| {
            self.0.push((*limit, State::new(limit, now)));
            self.0.len() - 1
        });
        let (kept, state) = &mut self.0[at];
        *kept = *limit;
        state
    }
}

impl State {
    fn new(limit: &Limit, now: u64) -> State {
        match limit.way() {
            Way::Log => State::Log(VecDeque::new()),
            Way::Counter => State::Counter { window: 0, count: 0.0, before: 0.0 },
            Way::Bucket => State::Bucket { tokens: limit.quota() as f64, at: now },
        }
    }

    /// What is left, how long to wait for `cost`, and until nothing is taken, in microseconds.
    fn judge(&mut self, limit: &Limit, now: u64, cost: f64) -> (f64, Option<f64>, f64) {
        let (quota, period) = (limit.quota() as f64, limit.period_us() as f64);
        let never = cost > quota;
        let (free, wait, rest) = match self {
            State::Log(marks) => {
                let over = now.saturating_sub(limit.period_us());
                while marks.front().is_some_and(|mark| *mark <= over) {
                    marks.pop_front();
                }
                let free = quota - marks.len() as f64;
                let until = |mark: Option<&u64>| {
                    mark.map_or(0.0, |mark| *mark as f64 + period - now as f64)
                };
                let wait = match cost > free && !never {
                    true => until(marks.get((cost - free) as usize - 1)),
                    false => 0.0,
                };
                (free, wait, until(marks.back()))
            }
            State::Counter { window, count, before } => {
                let (is, passed) = (now / limit.period_us(), (now % limit.period_us()) as f64);
                (*count, *before) = match is.saturating_sub(*window) {
                    0 => (*count, *before),
                    1 => (0.0, *count),
                    _ => (0.0, 0.0),
                };
                *window = is;
                let left = period - passed;
                let free = quota - *count - *before * left / period;
                let wait = match cost > free + 1e-9 && !never {
                    false => 0.0,
                    true if *count + cost <= quota => {
                        (left - (quota - *count - cost) * period / *before).max(1.0)
                    }
                    true => (left + (period - (quota - cost) * period / *count).max(0.0)).max(1.0),
                };
                let rest = match (*count > 0.0, *before > 0.0) {
                    (true, _) => left + period,
                    (false, true) => left,
                    _ => 0.0,
                };
                (free, wait, rest)
            }
            State::Bucket { tokens, at } => {
                let rate = f64::from(limit.rate());
                *tokens = quota.min(*tokens + now.saturating_sub(*at) as f64 * rate / period);
                *at = now;
                let us = |missing: f64| missing * period / rate;
                let wait = match cost > *tokens + 1e-9 && !never {
                    true => us(cost - *tokens).max(1.0),
                    false => 0.0,
                };
                (*tokens, wait, us(quota - *tokens))
            }
        };
        (free, (!never).then_some(wait), rest)
    }

    fn take(&mut self, now: u64, cost: u32) {
        match self {
            State::Log(marks) => marks.extend((0..cost).map(|_| now)),
            State::Counter { count, .. } => *count += f64::from(cost),
            State::Bucket { tokens, .. } => *tokens = (*tokens - f64::from(cost)).max(0.0),
        }
    }
}

/// Judges, and takes from every limit or from none.
pub(super) fn judge(
    table: &Table,
    name: &[u8],
    limits: &[Limit],
    now: Moment,
    cost: u32,
    taking: Taking,
) -> (bool, Vec<LimitStanding>) {
    let us = now.nanos_since(Moment::NEVER) / 1000;
    table.write(name, now, |taken| {
        let mut standings = Vec::with_capacity(limits.len());
        for limit in limits {
            let judged = taken.state(limit, us).judge(limit, us, f64::from(cost));
            standings.push(standing(limit, judged));
        }
        let allowed = standings.iter().all(|one| one.wait == Wait::Not);
        if allowed && taking == Taking::Yes {
            for (limit, standing) in limits.iter().zip(&mut standings) {
                let state = taken.state(limit, us);
                state.take(us, cost);
                *standing = LimitStanding { wait: Wait::Not, ..standing_now(state, limit, us) };
            }
        }
        // Others may have opened the name with limits of their own: what they count stays, and as long as it counts.
        taken.0.retain_mut(|(limit, state)| state.judge(limit, us, 0.0).2 > 0.0);
        let longest = taken.0.iter().map(|(limit, _)| 2 * limit.window()).max();
        ((allowed, standings), Time::Anew(longest))
    })
}

fn standing_now(state: &mut State, limit: &Limit, now: u64) -> LimitStanding {
    standing(limit, state.judge(limit, now, 0.0))
}

fn standing(limit: &Limit, (free, wait, rest): (f64, Option<f64>, f64)) -> LimitStanding {
    // Whole microseconds, as Redis gives them.
    let time = |us: f64| Duration::from_micros(us.ceil().max(0.0) as u64);
    LimitStanding {
        limit: *limit,
        remaining: (free + 1e-9).floor().max(0.0) as u64,
        wait: match wait {
            None => Wait::Forever,
            Some(us) if us > 0.0 => Wait::For(time(us)),
            Some(_) => Wait::Not,
        },
        reset_after: time(rest),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
