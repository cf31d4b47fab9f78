//! That a seed replays, and that what is wrong is seen: both of the checker alone, over histories written by
//! hand, and of the whole, over a server that does what no server may.

use crate::checker::check;
use crate::history::{
    Ended, Fault, From, History, Life, Line, Op, Said, Stop, Value, What, Why, Written,
};
use crate::plan::{Climate, Lives, Plan};
use crate::seeds::{LAWLESS, first_broken, outcome};

#[test]
fn a_seed_is_the_same_history_twice() {
    for seed in 0..12 {
        let (first, again) = (outcome(seed, None), outcome(seed, None));
        assert!(first.history.0.len() > 20, "seed {seed} is empty");
        assert_eq!(first.history.hash(), again.history.hash(), "seed {seed}");
        assert_eq!(first.history, again.history, "seed {seed}");
        assert_eq!(first.broken, [], "seed {seed}");
    }
}

/// Each of these breaks what larder rests on. Were none of them seen, the simulation would see nothing.
#[test]
fn what_no_server_may_do_is_seen() {
    for lawless in LAWLESS {
        // A few are enough; which it is changes with everything.
        assert!(first_broken(lawless, 300).is_some(), "{lawless:?} is not seen");
    }
}

const ONE: Life = Life { process: 0, number: 1 };
const OTHER: Life = Life { process: 1, number: 1 };

/// Two items under one tag, one user with two things, one pot.
fn plan(climate: Climate) -> Plan {
    let (items, tags, users, pots) = (2, 1, 1, 1);
    let bound = std::time::Duration::from_millis(200);
    let lease = std::time::Duration::from_millis(300);
    let (lives, source_is_odd, callers_leave) = (Lives::Long, false, false);
    let guard = std::time::Duration::from_millis(400);
    Plan {
        climate,
        items,
        tags,
        users,
        pots,
        bound,
        lease,
        lives,
        source_is_odd,
        callers_leave,
        guard,
        ..Plan::of(0, None)
    }
}

fn history(lines: Vec<(u64, What)>) -> History {
    History(lines.into_iter().map(|(at_ms, what)| Line { at_ms, what }).collect())
}

fn found(climate: Climate, lines: Vec<(u64, What)>) -> Vec<String> {
    let broken = check(&plan(climate), &history(lines));
    broken.into_iter().map(|broken| broken.what).collect()
}

fn is_seen(promise: &str, climate: Climate, lines: Vec<(u64, What)>) {
    let found = found(climate, lines);
    assert!(found.iter().any(|what| what.starts_with(promise)), "{promise} is not in {found:?}");
}

fn value(birth: usize, thing: usize) -> Value {
    Value { birth, thing, version: 0 }
}

fn given(call: usize, birth: usize, from: From) -> What {
    What::Ends(call, Said::Value(value(birth, 0), from))
}

/// One loads thing 0 (born in line 1); it is ended by `ender` in lines 4 and 5.
fn loaded_and_ended(ender: Life) -> Vec<(u64, What)> {
    vec![
        (0, What::Begins(ONE, Op::Load(0))),
        (0, What::Asked { life: ONE, call: 0, thing: 0 }),
        (1, What::Answered(1, Some(0))),
        (1, given(0, 1, From::Loaded)),
        (10, What::Begins(ender, Op::End(vec![Ended::Thing(0)]))),
        (11, What::Ends(4, Said::Done)),
    ]
}

fn then(mut lines: Vec<(u64, What)>, more: Vec<(u64, What)>) -> Vec<(u64, What)> {
    lines.extend(more);
    lines
}

fn asked_at(at_ms: u64, from: From) -> Vec<(u64, What)> {
    vec![(at_ms, What::Begins(ONE, Op::Load(0))), (at_ms, given(6, 1, from))]
}

#[test]
fn what_was_ended_is_not_served_by_the_process_that_ended_it() {
    let lines = then(loaded_and_ended(ONE), asked_at(12, From::Near));
    is_seen("G1, in the process", Climate::Wild, lines);
}

#[test]
fn what_was_ended_elsewhere_is_not_served_from_far() {
    is_seen("G1, from far", Climate::Wild, then(loaded_and_ended(OTHER), asked_at(12, From::Far)));
}

#[test]
fn what_was_ended_elsewhere_is_served_from_near_up_to_the_bound() {
    let within = then(loaded_and_ended(OTHER), asked_at(210, From::Near));
    assert_eq!(found(Climate::Wild, within), Vec::<String>::new());
    let later = then(loaded_and_ended(OTHER), asked_at(211, From::Near));
    is_seen("G2, later", Climate::Wild, later);
}

#[test]
fn what_was_ended_elsewhere_is_not_served_after_a_sync() {
    let lines = vec![
        (12, What::Begins(ONE, Op::Sync)),
        (13, What::Ends(6, Said::Done)),
        (14, What::Begins(ONE, Op::Load(0))),
        (14, given(8, 1, From::Near)),
    ];
    is_seen("G2, after a sync", Climate::Wild, then(loaded_and_ended(OTHER), lines));
}

#[test]
fn an_end_that_is_not_confirmed_binds_its_own_process_alone() {
    let unconfirmed = |ender| {
        let mut lines = loaded_and_ended(ender);
        lines[5] = (11, What::Ends(4, Said::Failed(Why::Unconfirmed)));
        then(lines, asked_at(2_000, From::Far))
    };
    is_seen("G1, in the process", Climate::Wild, unconfirmed(ONE));
    assert_eq!(found(Climate::Wild, unconfirmed(OTHER)), Vec::<String>::new());
}

#[test]
fn what_was_ended_is_not_stored() {
    let written = What::Written { what: Written::Value(value(1, 0)), keep_ms: 10 };
    is_seen("G1: ", Climate::Wild, then(loaded_and_ended(OTHER), vec![(20, written)]));
}

#[test]
fn one_load_for_each_end() {
    let again = |at_ms| {
        vec![
            (at_ms, What::Begins(ONE, Op::Load(0))),
            (at_ms, What::Asked { life: ONE, call: 6, thing: 0 }),
        ]
    };
    let once = then(loaded_and_ended(ONE), again(20));
    assert_eq!(found(Climate::Calm, once.clone()), Vec::<String>::new());
    is_seen("G3", Climate::Calm, then(once, again(30)));
}

#[test]
fn who_waits_for_the_dead_is_served_within_the_lease() {
    let died = |answered| {
        vec![
            (0, What::Begins(OTHER, Op::Load(0))),
            (0, What::Asked { life: OTHER, call: 0, thing: 0 }),
            (5, What::Begins(ONE, Op::Load(0))),
            (10, What::Stops(OTHER, Stop::Crash)),
            (answered, What::Asked { life: ONE, call: 2, thing: 0 }),
            (5_000, What::Stops(ONE, Stop::Close)),
        ]
    };
    assert_eq!(found(Climate::Crashes, died(330)), Vec::<String>::new());
    is_seen("G4", Climate::Crashes, died(1_000));
}

#[test]
fn an_older_load_is_not_stored_over_a_younger() {
    let written = |birth| What::Written { what: Written::Value(value(birth, 0)), keep_ms: 10 };
    let lines = vec![
        (0, What::Begins(ONE, Op::Load(0))),
        (0, What::Asked { life: ONE, call: 0, thing: 0 }),
        (0, What::Asked { life: ONE, call: 0, thing: 0 }),
        (5, written(2)),
        (6, written(1)),
    ];
    is_seen("G5", Climate::Wild, lines);
}

#[test]
fn what_is_kept_for_ever_is_seen() {
    for keep_ms in [0, 60_001] {
        let what = Written::Value(value(1, 0));
        let lines = vec![
            (0, What::Begins(ONE, Op::Load(0))),
            (0, What::Asked { life: ONE, call: 0, thing: 0 }),
            (5, What::Written { what, keep_ms }),
        ];
        is_seen("G6", Climate::Wild, lines);
    }
}

#[test]
fn a_load_that_fails_for_want_of_the_server_or_takes_too_long_is_seen() {
    let ended =
        |at_ms, said| vec![(0, What::Begins(ONE, Op::Load(0))), (at_ms, What::Ends(0, said))];
    is_seen("G7", Climate::Wild, ended(5, Said::Failed(Why::Far)));
    is_seen("G7", Climate::Wild, ended(600_000, Said::Nothing));
    let paused = vec![(0, What::Fault(Fault::Pause(ONE)))];
    let late = then(ended(600_000, Said::Nothing), paused);
    assert_eq!(found(Climate::Wild, late), Vec::<String>::new(), "a stopped process is late");
}

#[test]
fn what_is_of_another_thing_or_of_nobody_is_seen() {
    let lines = |birth| {
        vec![
            (0, What::Begins(ONE, Op::Load(1))),
            (0, What::Asked { life: ONE, call: 0, thing: 1 }),
            (1, What::Begins(OTHER, Op::Load(0))),
            (1, given(2, birth, From::Far)),
        ]
    };
    is_seen("call 2 for 0 was given what is of 1", Climate::Wild, lines(1));
    is_seen("call 2 was given a value that nobody made", Climate::Wild, lines(7));
}

#[test]
fn a_put_ends_what_was_loaded_and_put_before_it() {
    // The pot is thing 4.
    let value = |birth| Said::Value(Value { birth, thing: 4, version: 0 }, From::Far);
    let lines = |birth| {
        vec![
            (0, What::Thought { life: OTHER, thing: 4 }),
            (0, What::Begins(OTHER, Op::Put(4, 0))),
            (1, What::Ends(1, Said::Done)),
            (2, What::Thought { life: OTHER, thing: 4 }),
            (2, What::Begins(OTHER, Op::Put(4, 3))),
            (3, What::Ends(4, Said::Done)),
            (4, What::Begins(ONE, Op::Get(4))),
            (5, What::Ends(6, value(birth))),
        ]
    };
    assert_eq!(found(Climate::Wild, lines(3)), Vec::<String>::new());
    is_seen("G1, from far", Climate::Wild, lines(0));
}

/// What is written is born when the sink commits it, and ends what was asked of the source before that.
#[test]
fn a_written_value_is_as_old_as_its_commit() {
    // A load in lines 0 to 3, a write in 4 to 8 with an end beside it, and a read.
    let lines = |ended_first: bool, birth| {
        let mut beside =
            [(6, What::Begins(OTHER, Op::End(vec![Ended::Thing(0)]))), (6, What::Committed(5))];
        if !ended_first {
            beside.reverse();
        }
        let [first, second] = beside;
        let end = if ended_first { 6 } else { 7 };
        vec![
            (0, What::Begins(ONE, Op::Load(0))),
            (0, What::Asked { life: ONE, call: 0, thing: 0 }),
            (1, What::Answered(1, Some(0))),
            (1, given(0, 1, From::Loaded)),
            (2, What::Thought { life: OTHER, thing: 0 }),
            (2, What::Begins(OTHER, Op::Write(0, 4))),
            first,
            second,
            (7, What::Ends(end, Said::Done)),
            (8, What::Ends(5, Said::Done)),
            (9, What::Begins(ONE, Op::Load(0))),
            (9, given(10, birth, From::Far)),
        ]
    };
    assert_eq!(found(Climate::Wild, lines(true, 4)), Vec::<String>::new());
    is_seen("G1, from far", Climate::Wild, lines(false, 4));
    // An end that stands later than the commit is not needed to be rid of what was loaded before.
    let mut alone = lines(true, 1);
    alone[6] = (6, What::Fault(Fault::Back));
    alone[8] = (7, What::Fault(Fault::Back));
    is_seen("G1, from far", Climate::Wild, alone);
    // A value that is read and was never committed.
    let mut never = lines(true, 4);
    never[7] = (6, What::Fault(Fault::Back));
    assert!(found(Climate::Wild, never).iter().any(|what| what.contains("not made yet")));
}

/// What was ended softly may stand in, and says that it is stale.
#[test]
fn what_was_ended_softly_is_served_as_stale_alone() {
    let lines = |said| {
        let mut lines = loaded_and_ended(ONE);
        lines[4] = (10, What::Begins(ONE, Op::Expire(vec![Ended::Thing(0)])));
        then(lines, vec![(12, What::Begins(ONE, Op::Load(0))), (12, What::Ends(6, said))])
    };
    let stale = lines(Said::Stale(value(1, 0), From::Far));
    assert_eq!(found(Climate::Wild, stale), Vec::<String>::new());
    is_seen("G1", Climate::Wild, lines(Said::Value(value(1, 0), From::Far)));
}

/// A guard is opened in lines 0 and 1, and its writer commits in line 4 and dies.
fn guarded(more: Vec<(u64, What)>) -> Vec<(u64, What)> {
    let lines = vec![
        (0, What::Begins(OTHER, Op::Guard(0))),
        (1, What::Guarded(0)),
        (2, What::Begins(ONE, Op::Load(0))),
        (2, What::Asked { life: ONE, call: 2, thing: 0 }),
        (3, What::Committed(0)),
        (4, What::Stops(OTHER, Stop::Crash)),
        (5, given(2, 3, From::Loaded)),
    ];
    then(lines, more)
}

#[test]
fn a_writer_that_dies_under_its_guard_leaves_nothing_stale() {
    let later = |at_ms| {
        guarded(vec![
            (500, What::Fault(Fault::Back)),
            (at_ms, What::Begins(ONE, Op::Load(0))),
            (at_ms, given(8, 3, From::Near)),
        ])
    };
    assert_eq!(found(Climate::Crashes, later(600)), Vec::<String>::new());
    is_seen("G2", Climate::Crashes, later(1_000));
}

#[test]
fn nothing_is_stored_under_a_guard() {
    let stored = |committed: bool| {
        let mut lines = guarded(Vec::new());
        if !committed {
            lines[4] = (3, What::Fault(Fault::Back));
        }
        let what = Written::Value(value(3, 0));
        then(lines, vec![(20, What::Written { what, keep_ms: 10 })])
    };
    let is_guarded =
        |lines| found(Climate::Lossy, lines).iter().any(|what| what.contains("under a guard"));
    assert!(is_guarded(stored(false)));
    assert!(!is_guarded(stored(true)), "its writer may have ended it");
}

#[test]
fn who_waits_for_a_lease_that_nobody_holds_is_seen() {
    let lines =
        |at_ms| vec![(0, What::Begins(ONE, Op::Load(0))), (at_ms, What::Ends(0, Said::Nothing))];
    let long =
        Plan { lease: std::time::Duration::from_secs(3), load_ms_max: 3, ..plan(Climate::Calm) };
    let most_ms = long.calm_patience_ms().unwrap();
    assert_eq!(check(&long, &history(lines(most_ms))), []);
    assert_eq!(check(&long, &history(lines(most_ms + 1))).len(), 1);
}
