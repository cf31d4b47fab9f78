use super::*;
use crate::clock::SECOND;

const DEADLINE: Duration = Duration::from_millis(50);
const QUICK: Duration = Duration::from_millis(1);
const SLOW: Duration = Duration::from_millis(25);

fn at(seconds: u64) -> Moment {
    Moment::NEVER.plus(SECOND * u32::try_from(seconds).unwrap())
}

fn circuit() -> Circuit {
    Circuit::new(BreakerSettings::new().probes(4), DEADLINE)
}

/// A call, from its beginning to its end.
fn call(circuit: &mut Circuit, fared: Fared, took: Duration, now: Moment) -> Option<Turn> {
    let (admitted, turned) = circuit.admit(now);
    assert!(admitted, "turned away");
    let turns = circuit.turns;
    circuit.ended(turns, fared, took, now).or(turned)
}

fn calls(circuit: &mut Circuit, count: usize, fared: Fared, now: Moment) -> Option<Turn> {
    (0..count).filter_map(|_| call(circuit, fared, QUICK, now)).last()
}

/// Open since second 100.
fn opened() -> Circuit {
    let mut circuit = circuit();
    let turned = calls(&mut circuit, 20, Fared::Failed, at(100));
    assert!(matches!(turned, Some(Turn::Opened { again: false, .. })), "{turned:?}");
    circuit
}

#[test]
fn it_opens_when_half_of_enough_calls_failed() {
    let mut circuit = circuit();
    assert_eq!(calls(&mut circuit, 10, Fared::Answered, at(100)), None);
    assert_eq!(calls(&mut circuit, 9, Fared::Failed, at(101)), None);
    let seen = Counts { calls: 20, failed: 10, slow: 0 };
    let turned = call(&mut circuit, Fared::Failed, QUICK, at(101));
    assert_eq!(turned, Some(Turn::Opened { again: false, seen }));
    assert!(!circuit.admits(at(105)));
    assert!(circuit.admits(at(106)));
}

#[test]
fn a_few_calls_say_nothing_however_they_fare() {
    let mut circuit = circuit();
    assert_eq!(calls(&mut circuit, 19, Fared::Late, at(100)), None);
    assert_eq!(circuit.state, State::Closed);
}

#[test]
fn it_opens_when_all_were_slow_though_none_failed() {
    let mut circuit = circuit();
    for n in 0..20 {
        assert!(circuit.admits(at(100)), "{n}");
        call(&mut circuit, Fared::Answered, SLOW, at(100));
    }
    assert!(matches!(circuit.state, State::Open { .. }));
    let mut one_was_quick = Circuit::new(BreakerSettings::new(), DEADLINE);
    call(&mut one_was_quick, Fared::Answered, QUICK, at(100));
    for _ in 0..100 {
        call(&mut one_was_quick, Fared::Answered, SLOW, at(100));
    }
    assert_eq!(one_was_quick.state, State::Closed);
    let settings = BreakerSettings::new().slow_share(0.9);
    let mut share = Circuit::new(settings.slow_after(Duration::from_millis(5)), DEADLINE);
    for n in 0..20 {
        let took = if n < 2 { QUICK } else { Duration::from_millis(5) };
        call(&mut share, Fared::Answered, took, at(100));
    }
    assert!(matches!(share.state, State::Open { .. }), "both are settings");
}

#[test]
fn what_is_past_the_window_is_forgotten_part_by_part() {
    let mut circuit = circuit();
    calls(&mut circuit, 15, Fared::Failed, at(100));
    assert_eq!(calls(&mut circuit, 10, Fared::Failed, at(111)), None, "the 15 are too long ago");
    assert_eq!(calls(&mut circuit, 9, Fared::Failed, at(125)), None, "and so are the 10");
    // 19 in the window, spread over it.
    let mut spread = Circuit::new(BreakerSettings::new(), DEADLINE);
    for second in 100..109 {
        assert_eq!(calls(&mut spread, 2, Fared::Failed, at(second)), None);
    }
    assert_eq!(calls(&mut spread, 1, Fared::Failed, at(109)), None);
    assert_eq!(calls(&mut spread, 2, Fared::Failed, at(110)), None, "the first two have gone");
    assert!(calls(&mut spread, 1, Fared::Failed, at(110)).is_some());
}

#[test]
fn half_open_it_tries_a_few_and_closes_when_they_go_well() {
    let mut circuit = opened();
    assert_eq!(circuit.admit(at(104)), (false, None));
    assert_eq!(circuit.admit(at(105)), (true, Some(Turn::HalfOpened)));
    for _ in 1..4 {
        assert_eq!(circuit.admit(at(105)), (true, None));
    }
    assert_eq!(circuit.admit(at(105)), (false, None), "four are enough");
    let turns = circuit.turns;
    for _ in 1..4 {
        assert_eq!(circuit.ended(turns, Fared::Answered, QUICK, at(105)), None);
    }
    assert_eq!(circuit.ended(turns, Fared::Answered, QUICK, at(105)), Some(Turn::Closed));
    assert_eq!(calls(&mut circuit, 19, Fared::Failed, at(106)), None, "it begins anew");
}

#[test]
fn half_open_it_opens_again_as_soon_as_too_many_went_badly() {
    for (fared, took) in [(Fared::Failed, QUICK), (Fared::Late, DEADLINE)] {
        let mut circuit = opened();
        for _ in 0..4 {
            assert!(circuit.admit(at(105)).0);
        }
        let turns = circuit.turns;
        assert_eq!(circuit.ended(turns, fared, took, at(105)), None);
        let turned = circuit.ended(turns, fared, took, at(105));
        assert!(matches!(turned, Some(Turn::Opened { again: true, .. })), "{turned:?}");
        assert_eq!(circuit.state, State::Open { until: at(110) }, "its time begins anew");
        // What was tried beside them comes too late to say anything.
        assert_eq!(circuit.ended(turns, Fared::Answered, QUICK, at(106)), None);
        assert_eq!(circuit.state, State::Open { until: at(110) });
    }
}

#[test]
fn an_answer_from_before_it_opened_is_no_probe() {
    let mut circuit = circuit();
    assert!(circuit.admit(at(100)).0);
    let before = circuit.turns;
    calls(&mut circuit, 20, Fared::Failed, at(100));
    assert_eq!(circuit.admit(at(105)), (true, Some(Turn::HalfOpened)));
    for _ in 0..4 {
        circuit.ended(before, Fared::Answered, QUICK, at(105));
    }
    assert!(matches!(circuit.state, State::HalfOpen { sent: 1, .. }));
}

#[test]
fn a_new_connection_is_tried_at_once() {
    let mut circuit = opened();
    assert_eq!(circuit.reached(at(100)), Some(Turn::HalfOpened));
    assert!(circuit.admit(at(100)).0);
    assert_eq!(circuit.reached(at(100)), None);
    let mut closed = Circuit::new(BreakerSettings::new(), DEADLINE);
    calls(&mut closed, 19, Fared::Failed, at(100));
    assert_eq!(closed.reached(at(100)), None);
    assert_eq!(call(&mut closed, Fared::Failed, QUICK, at(100)), None, "that was another one");
}

#[test]
fn one_that_is_off_never_opens() {
    let mut circuit = Circuit::new(BreakerSettings::off(), DEADLINE);
    assert_eq!(calls(&mut circuit, 1000, Fared::Late, at(100)), None);
    assert_eq!(circuit.state, State::Closed);
}

/// In its shell: a caller that hangs up gives its place back, unless it had waited for long.
#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_slow_or_never_was() {
    let clock = Clock::of_runtime(1);
    let settings = BreakerSettings::new().calls_min(1).probes(1);
    let observe = Observe::new(None);
    let breaker =
        Breaker::new(settings, DEADLINE, "here".to_owned(), clock.clone(), observe.clone());
    drop(breaker.admit().unwrap());
    assert!(breaker.admits());
    let ticket = breaker.admit().unwrap();
    clock.sleep(SLOW).await;
    drop(ticket);
    assert!(!breaker.admits() && breaker.admit().is_none());
    clock.sleep(5 * SECOND).await;
    let probe = breaker.admit().unwrap();
    assert!(!breaker.admits() && breaker.admit().is_none(), "one at a time");
    drop(probe);
    let probe = breaker.admit().unwrap();
    assert!(breaker.admit().is_none());
    // What is sent whatever it says counts as well.
    breaker.note().fared(Fared::Answered);
    assert!(breaker.admits(), "closed");
    probe.fared(Fared::Failed);
    assert!(breaker.admits(), "that was before");
    let stats = observe.stats_of_all();
    assert_eq!((stats.breaker_opened, stats.breaker_closed), (1, 1));
}

/// A caller that holds its future and never polls it again must not keep all others out.
#[test]
fn tries_that_never_come_back_keep_it_half_open_for_no_longer_than_it_was_open() {
    let mut circuit = opened();
    for _ in 0..4 {
        assert!(circuit.admit(at(106)).0);
    }
    assert!(!circuit.admits(at(110)));
    assert!(circuit.admits(at(111)));
    calls(&mut circuit, 4, Fared::Answered, at(111));
    assert_eq!(circuit.state, State::Closed);
}
