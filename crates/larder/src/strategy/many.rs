//! Many keys at once: what is not near is asked for in one trip, and what is nowhere in one call of the
//! loader.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::load::Ask;
use super::read_through::{Hit, Known};
use super::together::{AskMany, Together};
use super::{Answer, Call, Tiers};
use crate::error::{Error, ErrorKind};
use crate::observe::Event;

/// How many keys go together. Each READ and each STORE has a deadline of its own, and so have all values that
/// come in one answer: more of them at once would be late for no fault of Redis.
const TOGETHER_MAX: usize = 512;

impl Tiers {
    /// Near, then far; never the source. Fresh entries, in the order of `calls`.
    pub(crate) async fn get_many(&self, calls: &[Call]) -> Vec<Option<Answer>> {
        let mut answers = Vec::with_capacity(calls.len());
        for some in calls.chunks(TOGETHER_MAX) {
            let (mut hits, mut far) = self.look_for_many(some, |_| true).await;
            if far.is_ok() {
                far = self.look_for_pending(some, &mut hits).await;
            }
            if let Err(why) = far {
                self.skipped(&why);
            } else {
                let missed = hits.iter().filter(|hit| !matches!(hit, Hit::Fresh(_) | Hit::Due(_)));
                missed.for_each(|_| self.observe.tell(Event::Miss { cache: self.observe.cache() }));
            }
            answers.extend(hits.into_iter().map(Hit::fresh));
        }
        answers
    }

    /// Of those that were not found, the writes that wait for their source.
    async fn look_for_pending(&self, calls: &[Call], hits: &mut [Hit]) -> Result<(), String> {
        let missed =
            |at: &usize| !matches!(hits[*at], Hit::Fresh(_)) && calls[*at].key.d().is_some();
        let places: Vec<usize> = (0..calls.len()).filter(missed).collect();
        if places.is_empty() {
            return Ok(());
        }
        let link = self.far.link().map_err(|why| why.to_string())?;
        let wanted: Vec<&Call> = places.iter().map(|at| &calls[*at]).collect();
        let found = self.pending_of(&wanted, &link).await.map_err(|why| why.to_string())?;
        for (at, answer) in places.into_iter().zip(found) {
            if let Some(answer) = answer {
                hits[at] = Hit::Fresh(answer);
            }
        }
        Ok(())
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
        let (hits, _) = self.look_for_many(&calls, likely).await;
        let places = |is: fn(&Hit) -> bool| -> Vec<usize> {
            hits.iter().enumerate().filter(|(_, hit)| is(hit)).map(|(at, _)| at).collect()
        };
        let to_refresh = places(|hit| matches!(hit, Hit::Stale(_) | Hit::Due(_)));
        let missed = places(|hit| matches!(hit, Hit::Missed(_)));
        let mut refreshing = Together::seats(&ask, &to_refresh, &self.runtime).into_iter();
        let mut loading = Together::seats(&ask, &missed, &self.runtime).into_iter();
        let mut answers: Vec<Result<Answer, Error>> = Vec::with_capacity(calls.len());
        let mut loads = JoinSet::new();
        for (at, (hit, call)) in hits.into_iter().zip(calls).enumerate() {
            answers.push(match hit {
                Hit::Fresh(answer) => Ok(answer),
                Hit::Due(found) => match refreshing.next() {
                    Some(seat) => {
                        let ask = Ask::Together(seat);
                        Ok(self.serve_due(&call, &found.kept, found.origin, ask))
                    }
                    None => Ok(found.answer()),
                },
                Hit::Stale(answer) => match refreshing.next() {
                    Some(seat) => Ok(self.serve_stale(&call, answer, Ask::Together(seat))),
                    None => Ok(answer),
                },
                Hit::Missed(known) => {
                    // Told only if the load's task ends without its answer.
                    let gone = Error::new(ErrorKind::Closed, "the runtime stopped").at(&call.key);
                    if let Some(seat) = loading.next() {
                        let tiers = self.clone();
                        let load = async move {
                            let ask = Ask::Together(seat);
                            (at, tiers.load_together(&call, ask, known).await)
                        };
                        loads.spawn_on(load, &self.runtime);
                    }
                    Err(gone)
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
    ) -> (Vec<Hit>, Result<(), String>) {
        let mut hits: Vec<Hit> = calls.iter().map(|call| self.hit_near(call)).collect();
        let asked: Vec<usize> = (0..calls.len())
            .filter(|at| match &mut hits[*at] {
                Hit::Missed(known) if !likely(&calls[*at]) => {
                    *known = Known::Missed(None);
                    false
                }
                hit => matches!(hit, Hit::Missed(_)),
            })
            .collect();
        if asked.is_empty() {
            return (hits, Ok(()));
        }
        let wanted: Vec<&Call> = asked.iter().map(|at| &calls[*at]).collect();
        match self.get_many_far(&wanted).await {
            Ok(seen) => {
                for (at, seen) in asked.into_iter().zip(seen) {
                    hits[at] = self.hit_of(&calls[at], seen);
                }
                (hits, Ok(()))
            }
            Err(why) => {
                let why = why.to_string();
                for at in asked {
                    hits[at] = Hit::Missed(Known::Away(why.clone()));
                }
                (hits, Err(why))
            }
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
