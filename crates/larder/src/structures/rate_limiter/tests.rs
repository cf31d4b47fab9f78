//! What the arithmetic promises, over drawn requests.

use proptest::prelude::*;

use super::*;
use crate::clock::{DAY, SECOND};
use crate::structures::Rate;

const START: u64 = 1_000_000_000;

fn at(us: u64) -> Moment {
    Moment::NEVER.plus(Duration::from_micros(us))
}

/// Asks at each moment, and gives when how much was allowed.
fn allowed(limits: &[Limit], requests: &[(u64, u32)]) -> Vec<(u64, u32)> {
    let (table, mut now, mut all) = (Table::default(), START, Vec::new());
    for (later, cost) in requests {
        now += later;
        if judge(&table, b"k", limits, at(now), *cost, Taking::Yes).0 {
            all.push((now, *cost));
        }
    }
    all
}

/// The most that was allowed in any window, which ends with one that was.
fn most_within(allowed: &[(u64, u32)], window: u64) -> u64 {
    let within = |end: u64| {
        let in_it = |one: &&(u64, u32)| one.0 <= end && one.0 + window > end;
        allowed.iter().filter(in_it).map(|one| u64::from(one.1)).sum()
    };
    allowed.iter().map(|one| within(one.0)).max().unwrap_or(0)
}

/// Bursts and pauses, within and across windows of a second.
fn requests() -> impl Strategy<Value = Vec<(u64, u32)>> {
    let later = prop_oneof![0..200_u64, 0..100_000_u64, 0..1_500_000_u64];
    prop::collection::vec((later, 1..4_u32), 1..200)
}

/// Two handles with other limits had one row of one name. Its time was that of the one who came last, and was over
/// when theirs was at rest: five a day were five in two seconds, once the other had asked. Now each limit is kept as
/// long as it counts.
#[test]
fn one_who_asks_under_other_limits_forgets_nothing() {
    let table = Table::default();
    let daily = [Limit::sliding_log(5, DAY)];
    let fast = [Limit::token_bucket(Rate::per_second(10), 10)];
    let ask = |limits: &[Limit], secs: u64, cost: u32| {
        judge(&table, b"k", limits, at(START + secs * 1_000_000), cost, Taking::Yes).0
    };
    assert!(ask(&daily, 0, 5));
    for secs in [0, 2, 60, 3600] {
        assert!(ask(&fast, secs, 1));
        assert!(!ask(&daily, secs + 1, 1), "after {secs} s");
    }
    assert!(ask(&daily, 24 * 3600, 5));
}

/// A burst that somebody else opened smaller does not cut what this one has.
#[test]
fn a_quota_that_changed_is_that_of_who_asks() {
    let table = Table::default();
    let of = |burst: u32| [Limit::token_bucket(Rate::per_hour(1), burst)];
    assert!(judge(&table, b"k", &of(3), at(START), 1, Taking::Yes).0);
    assert!(!judge(&table, b"k", &of(9), at(START), 3, Taking::Yes).0, "two were left");
    let (_, each) = judge(&table, b"k", &of(9), at(START + 5 * 3_600_000_000), 1, Taking::No);
    assert_eq!(each[0].remaining, 7, "and five came since");
}

proptest! {
    #[test]
    fn a_sliding_log_never_allows_more_than_its_quota(requests in requests(), quota in 1..20_u32) {
        let all = allowed(&[Limit::sliding_log(quota, SECOND)], &requests);
        prop_assert!(most_within(&all, 1_000_000) <= quota.into());
    }

    /// And refuses nothing that fits.
    #[test]
    fn a_sliding_log_refuses_only_what_does_not_fit(requests in requests(), quota in 1..20_u32) {
        let limit = Limit::sliding_log(quota, SECOND);
        let (table, mut now, mut all) = (Table::default(), START, Vec::<(u64, u32)>::new());
        for (later, cost) in requests {
            now += later;
            let held: u32 = all.iter().filter(|one| one.0 + 1_000_000 > now).map(|one| one.1).sum();
            let (allowed, _) = judge(&table, b"k", &[limit], at(now), cost, Taking::Yes);
            prop_assert_eq!(allowed, held + cost <= quota);
            if allowed {
                all.push((now, cost));
            }
        }
    }

    /// The stated bound: the quota, and those before by the part of the window that is over; and never more than the
    /// quota between two full windows.
    #[test]
    fn a_sliding_counter_stays_within_its_bound(requests in requests(), quota in 1..20_u32) {
        let all = allowed(&[Limit::sliding_counter(quota, SECOND)], &requests);
        for (end, _) in &all {
            let sum = |from: u64, to: u64| -> f64 {
                let within = |one: &&(u64, u32)| one.0 >= from && one.0 <= to;
                all.iter().filter(within).map(|one| f64::from(one.1)).sum()
            };
            let (start, passed) = (end - end % 1_000_000, (end % 1_000_000) as f64 / 1e6);
            let before = sum(start - 1_000_000, start - 1);
            let any = sum(end + 1 - 1_000_000, *end);
            prop_assert!(any <= f64::from(quota) + before * passed + 1e-6, "{any} {before} {passed}");
            prop_assert!(any < 2.0 * f64::from(quota) || quota == 1 && any <= 1.0);
            prop_assert!(sum(start, start + 999_999) <= quota.into());
        }
    }

    /// In any time `t` at most the burst and what the rate gives in it.
    #[test]
    fn a_bucket_never_gives_more_than_it_had_and_got(
        requests in requests(), burst in 1..20_u32, rate in 1..50_u32,
    ) {
        let all = allowed(&[Limit::token_bucket(Rate::per_second(rate), burst)], &requests);
        for (first, one) in all.iter().enumerate() {
            let mut sum = 0.0;
            for other in &all[first..] {
                sum += f64::from(other.1);
                let got = (other.0 - one.0) as f64 * f64::from(rate) / 1e6;
                prop_assert!(sum <= f64::from(burst) + got + 1e-6);
            }
        }
    }

    /// Who waits as long as they are told is let in, and a microsecond before they are not.
    #[test]
    fn who_waits_as_told_is_let_in(requests in requests(), way in 0..3_usize, quota in 3..20_u32) {
        let limit = [
            Limit::sliding_log(quota, SECOND),
            Limit::sliding_counter(quota, SECOND),
            Limit::token_bucket(Rate::per_second(7), quota),
        ][way];
        let (table, mut now) = (Table::default(), START);
        for (later, cost) in requests {
            now += later;
            let (_, each) = judge(&table, b"k", &[limit], at(now), cost, Taking::Yes);
            if let Wait::For(wait) = each[0].wait {
                let wait = u64::try_from(wait.as_micros()).unwrap();
                if wait > 1 {
                    let early = judge(&table, b"k", &[limit], at(now + wait - 2), cost, Taking::No);
                    prop_assert!(!early.0, "let in before {wait} us");
                }
                now += wait;
                let (allowed, each) = judge(&table, b"k", &[limit], at(now), cost, Taking::Yes);
                prop_assert!(allowed, "after {wait} us: {:?}", each[0]);
            }
        }
    }

    /// After the time it says, it is as if nothing had ever been taken.
    #[test]
    fn it_rests_when_it_says(requests in requests(), way in 0..3_usize) {
        let limit = [
            Limit::sliding_log(9, SECOND),
            Limit::sliding_counter(9, SECOND),
            Limit::token_bucket(Rate::per_second(7), 9),
        ][way];
        let (table, mut now) = (Table::default(), START);
        let mut rest = Duration::ZERO;
        for (later, cost) in requests {
            now += later;
            rest = judge(&table, b"k", &[limit], at(now), cost, Taking::Yes).1[0].reset_after;
        }
        let rested = at(now).plus(rest);
        let (_, each) = judge(&table, b"k", &[limit], rested, 1, Taking::No);
        prop_assert_eq!((each[0].remaining, each[0].reset_after), (9, Duration::ZERO));
    }
}
