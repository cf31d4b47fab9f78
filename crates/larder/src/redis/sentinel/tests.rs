use super::*;
use crate::clock::{HOUR, SECOND};

const ALL: [&str; 3] = ["a", "b", "c"];

/// Three sentinels of a master, with a clock of the test's own.
struct Scene(Sentinels);

impl Scene {
    fn new() -> Scene {
        let wishes = Wishes {
            url: "redis+sentinel://h:1,h:2,h:3/main".to_owned(),
            credentials: None,
            sentinel_credentials: None,
            address_map: None,
            #[cfg(feature = "tls")]
            tls: None,
            patience: SECOND,
            keepalive: 30 * SECOND,
        };
        let times = Times { bound: SECOND, deadline: SECOND };
        Scene(Sentinels::new(&wishes, "app", times, Clock::of_runtime(1)).unwrap())
    }

    /// Each of `who` answers now that it has named this one for so long.
    fn say(&self, who: &[&str], port: u16, age: Duration, epoch: u64) {
        let (now, at) = (self.0.clock.now(), |port| At { host: "h".to_owned(), port });
        for name in who {
            let others = ALL.iter().filter(|other| *other != name);
            self.0.hear(
                name,
                &At { host: (*name).to_owned(), port: 1 },
                Word {
                    names: at(port),
                    since: now.minus(age),
                    epoch,
                    asked: now,
                    others: others.map(|other| ((*other).to_owned(), at(9))).collect(),
                },
            );
        }
    }

    fn seat(&self) -> Option<Spot> {
        self.0.seat(self.0.clock.now()).map(|spot| spot.unwrap())
    }

    fn covers(&self, spot: &Spot) -> bool {
        spot.vouched.covers(self.0.clock.now())
    }
}

/// Somebody else may have asked a moment before the majority went over, and believes the old master for B.
#[tokio::test(start_paused = true)]
async fn a_new_master_is_used_when_nobody_can_believe_the_old_one_any_more() {
    let scene = Scene::new();
    scene.say(&ALL, 7001, HOUR, 0);
    let old = scene.seat().expect("named for an hour: nobody believes another");
    assert!(scene.covers(&old));
    scene.say(&["a"], 7002, Duration::ZERO, 1);
    assert!(scene.covers(&old), "one is no majority");
    scene.say(&["b"], 7002, Duration::ZERO, 1);
    assert!(!scene.covers(&old));
    assert!(old.vouched.ended().await.contains("another is master: the sentinels name h:7002"));
    assert!(scene.seat().is_none(), "it was named this moment");
    tokio::time::advance(SECOND).await;
    scene.say(&["a", "b"], 7002, SECOND, 1);
    assert!(scene.seat().is_none(), "clocks run unevenly");
    tokio::time::advance(SECOND / 100).await;
    let new = scene.seat().expect("the word for the old one has run out everywhere");
    assert_eq!((new.access.to_string(), new.tenure), ("redis://h:7002/0".to_owned(), 1));
    assert!(scene.covers(&new) && !scene.covers(&old));
}

#[tokio::test(start_paused = true)]
async fn the_word_runs_out_with_the_majority_and_comes_back_with_it() {
    let scene = Scene::new();
    scene.say(&ALL, 7001, HOUR, 0);
    let spot = scene.seat().unwrap();
    for _ in 0..5 {
        tokio::time::advance(SECOND / 2).await;
        scene.say(&["a", "b"], 7001, HOUR, 0);
        assert!(scene.covers(&spot));
    }
    tokio::time::advance(SECOND / 2).await;
    scene.say(&["c"], 7001, HOUR, 0);
    assert!(scene.covers(&spot), "two were asked within a second: the one now, the other before");
    tokio::time::advance(SECOND / 2).await;
    scene.say(&["c"], 7001, HOUR, 0);
    assert!(!scene.covers(&spot), "two were, but one of them a second ago");
    scene.say(&["b"], 7001, HOUR, 0);
    assert!(scene.covers(&spot), "the connection was kept, and is good again");
}

/// The first one's news end it. Whoever has not heard of it yet does not bring it back at once; a majority that
/// goes on naming it does.
#[tokio::test(start_paused = true)]
async fn one_announcement_ends_it_and_it_takes_a_majority_to_go_back() {
    let scene = Scene::new();
    scene.say(&ALL, 7001, HOUR, 0);
    let spot = scene.seat().unwrap();
    for of_no_meaning in ["other h 7001 h 7002", "main h 7009 h 7002", "main h 7001", ""] {
        scene.0.hear_switch(of_no_meaning);
        assert!(scene.covers(&spot), "{of_no_meaning:?}");
    }
    scene.0.hear_switch("main h 7001 h 7002");
    assert!(!scene.covers(&spot));
    scene.say(&["b", "c"], 7001, HOUR, 0);
    assert!(scene.seat().is_none(), "they had no time to hear of it");
    tokio::time::advance(SECOND).await;
    scene.say(&["b", "c"], 7001, HOUR, 0);
    let again = scene.seat().expect("they had, and do not agree");
    assert!(scene.covers(&again) && !scene.covers(&spot));
    scene.0.hear_switch("main h 7001 h 7002");
    scene.say(&["b", "c"], 7002, HOUR, 1);
    assert!(scene.seat().is_some(), "to go on takes no time");
}

#[tokio::test(start_paused = true)]
async fn the_same_server_after_another_failover_is_another_master() {
    let scene = Scene::new();
    scene.say(&ALL, 7001, HOUR, 4);
    let first = scene.seat().unwrap();
    scene.say(&ALL, 7001, HOUR, 6);
    assert!(!scene.covers(&first), "we did not hear of the one between");
    let second = scene.seat().unwrap();
    assert_eq!((first.tenure, second.tenure), (4, 6));
}

#[test]
fn only_a_master_is_taken_for_one() {
    let scene = Scene::new();
    let spot = Spot {
        access: scene.0.way.clone(),
        tenure: 0,
        vouched: Arc::new(Vouched::up_to(Moment::NEVER)),
    };
    let role = |role: &str| [Value::Array(vec![Value::BulkString(role.into()), Value::Int(0)])];
    assert_eq!(scene.0.judge(&spot, Moment::NEVER, &role("master")), Ok(()));
    assert_eq!(
        scene.0.judge(&spot, Moment::NEVER, &role("slave")),
        Err("it is a replica".to_owned())
    );
    for answer in [&role("sentinel")[..], &[Value::Nil], &[]] {
        assert!(scene.0.judge(&spot, Moment::NEVER, answer).is_err());
    }
}

/// The ticks of a history; B is a little less than two of them.
const TICKS: u32 = 4;
const TICK: Duration = Duration::from_millis(600);

/// Whom a process believes at the extremes of all its histories.
#[derive(Default)]
struct Belief {
    /// Until when the old master, at the latest.
    old: Option<Moment>,
    /// From when on the new one, at the earliest.
    new: Option<Moment>,
}

impl Belief {
    /// One history: at each tick those sentinels answer that are in its mask. From tick `turns[one]` on that one
    /// names the new master.
    async fn add(&mut self, turns: [u32; 3], masks: u32) {
        let scene = Scene::new();
        for now in 0..TICKS {
            for (one, turn) in turns.iter().enumerate() {
                if masks >> (3 * now as usize + one) & 1 == 0 {
                    continue;
                }
                match now.checked_sub(*turn) {
                    None => scene.say(&ALL[one..=one], 7001, HOUR, 0),
                    Some(ago) => scene.say(&ALL[one..=one], 7002, TICK * ago, 1),
                }
            }
            scene.seat();
            self.note(&scene);
            tokio::time::advance(TICK).await;
        }
    }

    fn note(&mut self, scene: &Scene) {
        let seat = scene.0.room.lock().seat.clone();
        let Some((at, spot)) = seat.filter(|(_, spot)| scene.covers(spot)) else { return };
        if at.port == 7001 {
            self.old = self.old.max(Some(spot.vouched.until()));
        } else if let Some((_, from)) = scene.0.named() {
            // It may have been taken at any time since the tick before.
            self.new = Some(self.new.map_or(from, |new| new.min(from)));
        }
    }
}

/// Whenever each sentinel goes over to the new master, and whoever gets which answers when: nobody believes
/// the new one before everybody has ceased to believe the old one.
#[tokio::test(start_paused = true)]
async fn no_two_processes_ever_believe_two_masters() {
    let mut both = 0;
    for a in 1..=TICKS {
        for b in a..=TICKS {
            for c in b..=TICKS {
                // At TICKS: never, as far as these histories go.
                let mut belief = Belief::default();
                for later in 0..1 << (3 * (TICKS - 1)) {
                    // At first it has heard all of them, or has just been started and none.
                    for first in [0b000, 0b111] {
                        belief.add([a, b, c], later << 3 | first).await;
                    }
                }
                if let (Some(old), Some(new)) = (belief.old, belief.new) {
                    both += 1;
                    assert!(old <= new, "they turn at {a}, {b}, {c}: {old:?}, {new:?}");
                }
            }
        }
    }
    assert!(both > 0, "no history got as far as the new master");
}
