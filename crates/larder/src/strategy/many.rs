//! Many keys at once: what is not near is asked for in one trip, and what is nowhere in one call of the
//! loader.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::load::Ask;
use super::lookup::Seen;
use super::read_through::{Hit, Known};
use super::together::{AskMany, Together};
use super::{Answer, Call, Tiers};
use crate::entry::Origin;
use crate::error::{Error, ErrorKind};
use crate::observe::Event;

/// How many keys go together. Each READ and each STORE has a deadline of its own, and so have all values that
/// come in one answer: more of them at once would be late for no fault of Redis.
const TOGETHER_MAX: usize = 512;

/// What became of one key of many.
enum One {
    Found(Answer),
    /// To be served, and refreshed.
    Stale(Answer),
    Missed(Known),
}

impl Tiers {
    /// Near, then far; never the source. Fresh entries, in the order of `calls`.
    pub(crate) async fn get_many(&self, calls: &[Call]) -> Vec<Option<Answer>> {
        let fresh = |one| match one {
            One::Found(answer) => Some(answer),
            One::Stale(_) | One::Missed(_) => None,
        };
        let mut answers = Vec::with_capacity(calls.len());
        for some in calls.chunks(TOGETHER_MAX) {
            let (ones, far) = self.look_for_many(some, |_| true).await;
            if let Err(why) = far {
                self.skipped(&why);
            } else {
                let missed = ones.iter().filter(|one| !matches!(one, One::Found(_)));
                missed.for_each(|_| self.observe.tell(Event::Miss { cache: self.observe.cache() }));
            }
            answers.extend(ones.into_iter().map(fresh));
        }
        answers
    }

    /// For each key near, far, or the source, as if each were asked for alone.
    pub(crate) async fn get_or_load_many(
        &self,
        calls: Vec<Call>,
        ask: AskMany,
    ) -> Vec<Result<Answer, Error>> {
        let mut answers = Vec::with_capacity(calls.len());
        let mut calls = calls.into_iter();
        loop {
            let some: Vec<Call> = calls.by_ref().take(TOGETHER_MAX).collect();
            if some.is_empty() {
                return answers;
            }
            let ask = counted_from(answers.len(), ask.clone());
            answers.extend(self.get_or_load_some(some, ask).await);
        }
    }

    async fn get_or_load_some(&self, calls: Vec<Call>, ask: AskMany) -> Vec<Result<Answer, Error>> {
        let likely = |call: &Call| !self.near.absent.take(call.key.v());
        let (ones, _) = self.look_for_many(&calls, likely).await;
        let places = |is: fn(&One) -> bool| -> Vec<usize> {
            ones.iter().enumerate().filter(|(_, one)| is(one)).map(|(at, _)| at).collect()
        };
        let stale = places(|one| matches!(one, One::Stale(_)));
        let missed = places(|one| matches!(one, One::Missed(_)));
        let mut refreshing = Together::seats(&ask, &stale, &self.runtime).into_iter();
        let mut loading = Together::seats(&ask, &missed, &self.runtime).into_iter();
        let mut answers: Vec<Result<Answer, Error>> = Vec::with_capacity(calls.len());
        let mut loads = JoinSet::new();
        for (at, (one, call)) in ones.into_iter().zip(calls).enumerate() {
            // Told only if a load's task ends without its answer.
            let gone = || Err(Error::new(ErrorKind::Closed, "the runtime stopped").at(&call.key));
            answers.push(match one {
                One::Found(answer) => Ok(answer),
                One::Stale(answer) => match refreshing.next() {
                    Some(seat) => Ok(self.serve_stale(&call, answer, Ask::Together(seat))),
                    None => Ok(answer),
                },
                One::Missed(known) => {
                    let unanswered = gone();
                    if let Some(seat) = loading.next() {
                        let tiers = self.clone();
                        let load = async move {
                            let ask = Ask::Together(seat);
                            (at, tiers.load_together(&call, ask, known).await)
                        };
                        loads.spawn_on(load, &self.runtime);
                    }
                    unanswered
                }
            });
        }
        // Dropped with this call, and each of them leaves its flight.
        while let Some(load) = loads.join_next().await {
            if let Ok((at, answer)) = load {
                answers[at] = answer;
            }
        }
        answers
    }

    /// Near, then far in one trip for those that are `likely` to be there. `Err`: why far was not asked.
    async fn look_for_many(
        &self,
        calls: &[Call],
        likely: impl Fn(&Call) -> bool,
    ) -> (Vec<One>, Result<(), String>) {
        let mut ones: Vec<One> = calls.iter().map(|call| self.look_near(call)).collect();
        let asked: Vec<usize> = (0..calls.len())
            .filter(|at| match &mut ones[*at] {
                One::Missed(known) if !likely(&calls[*at]) => {
                    known.missed = Some(None);
                    false
                }
                one => matches!(one, One::Missed(_)),
            })
            .collect();
        if asked.is_empty() {
            return (ones, Ok(()));
        }
        let wanted: Vec<&Call> = asked.iter().map(|at| &calls[*at]).collect();
        match self.get_many_far(&wanted).await {
            Ok(seen) => {
                for (at, seen) in asked.into_iter().zip(seen) {
                    if matches!(seen, Seen::Alive(..)) {
                        self.observe.tell(Event::HitFar { cache: self.observe.cache() });
                    }
                    ones[at] = one_of(&calls[at], seen);
                }
                (ones, Ok(()))
            }
            Err(why) => {
                let why = why.to_string();
                for at in asked {
                    ones[at] = One::Missed(Known { missed: None, away: Some(why.clone()) });
                }
                (ones, Err(why))
            }
        }
    }

    fn look_near(&self, call: &Call) -> One {
        match self.hit_near(call) {
            Hit::Fresh(answer) => One::Found(answer),
            Hit::Stale(answer) if call.serves_at_once(&answer.0) => One::Stale(answer),
            Hit::Stale(_) | Hit::Nothing => One::Missed(Known::default()),
        }
    }
}

/// `ask`, for keys whose places are counted from the one at `first`.
fn counted_from(first: usize, ask: AskMany) -> AskMany {
    Arc::new(move |places| {
        let loading = ask(places.into_iter().map(|at| first + at).collect());
        Box::pin(async move {
            let said = loading.await?;
            Ok(said.into_iter().map(|(at, one)| (at - first, one)).collect())
        })
    })
}

fn one_of(call: &Call, seen: Seen) -> One {
    match seen {
        Seen::Alive(held, _) => One::Found((held, Origin::Far)),
        Seen::Stale(held, _) if call.serves_at_once(&held) => One::Stale((held, Origin::Far)),
        // Near has it now, for the flight to find.
        Seen::Stale(..) => One::Missed(Known::default()),
        Seen::Rejected(id) => One::Missed(Known { missed: Some(id), away: None }),
    }
}
