//! Rounds that alternate: one of each contender in turn, so that a slow minute is slow for all.

use crate::{Outcome, Plan};

/// Somebody who does the work. A round gives `M` measures.
pub struct Contender<'a, const M: usize> {
    name: String,
    round: Box<dyn FnMut() -> Outcome<[f64; M]> + 'a>,
}

impl<'a, const M: usize> Contender<'a, M> {
    pub fn new(
        name: impl Into<String>,
        round: impl FnMut() -> Outcome<[f64; M]> + 'a,
    ) -> Contender<'a, M> {
        Contender { name: name.into(), round: Box::new(round) }
    }
}

/// What one contender measured, round by round.
pub struct Series<const M: usize> {
    pub name: String,
    rounds: Vec<[f64; M]>,
}

impl<const M: usize> Series<M> {
    fn sorted(&self, measure: usize) -> Vec<f64> {
        let mut values: Vec<f64> = self.rounds.iter().map(|round| round[measure]).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    pub fn median(&self, measure: usize) -> f64 {
        let values = self.sorted(measure);
        values[values.len() / 2]
    }

    pub fn least(&self, measure: usize) -> f64 {
        self.sorted(measure)[0]
    }

    pub fn most(&self, measure: usize) -> f64 {
        self.sorted(measure)[self.rounds.len() - 1]
    }
}

/// A warm-up that is not counted, then `rounds` of each, alternating. At least one.
pub fn alternate<const M: usize>(
    plan: &Plan,
    rounds: usize,
    mut contenders: Vec<Contender<'_, M>>,
) -> Outcome<Vec<Series<M>>> {
    contenders.retain(|contender| plan.takes(&contender.name));
    let names = contenders.iter().map(|contender| contender.name.clone());
    let mut all: Vec<Series<M>> =
        names.map(|name| Series { name, rounds: Vec::with_capacity(rounds) }).collect();
    for round in 0..=rounds.max(1) {
        for (contender, series) in contenders.iter_mut().zip(&mut all) {
            let measures = (contender.round)().map_err(|why| format!("{}: {why}", series.name))?;
            if round > 0 {
                series.rounds.push(measures);
            }
        }
    }
    Ok(all)
}

/// The median of one of them; not a number when it was not run.
pub fn median<const M: usize>(all: &[Series<M>], name: &str, measure: usize) -> f64 {
    let found = all.iter().find(|series| series.name == name);
    found.map_or(f64::NAN, |series| series.median(measure))
}

/// The value below which `part` of the sorted `values` lie.
pub fn percentile<T: Copy + Default>(values: &[T], part: f64) -> T {
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * part).round() as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn rounds_alternate_and_the_first_is_not_counted() {
        let order = RefCell::new(String::new());
        let contender = |name: &'static str| {
            let order = &order;
            let mut measure = 0.0;
            Contender::new(name, move || {
                order.borrow_mut().push_str(name);
                measure += 1.0;
                Ok([measure])
            })
        };
        let plan = Plan { quick: true, only: None };
        let all = alternate(&plan, 3, vec![contender("a"), contender("b")]);
        let all = all.unwrap_or_default();
        assert_eq!(order.borrow().as_str(), "abababab");
        assert_eq!((all[0].least(0), all[1].median(0), all[1].most(0)), (2.0, 3.0, 4.0));
        assert!(median(&all, "c", 0).is_nan());
    }

    #[test]
    fn percentiles_are_of_those_that_are_there() {
        let values: Vec<u32> = (1..=100).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|part| percentile(&values, part)), [1, 51, 99, 100]);
        assert_eq!(percentile::<u32>(&[], 0.5), 0);
    }
}
