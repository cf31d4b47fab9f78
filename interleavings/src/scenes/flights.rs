//! What callers, flights, ends and changes do to the map of flights at the same time.

use std::future::poll_fn;
use std::task::Poll;

use shuttle::future::block_on;
use shuttle::sync::atomic::AtomicU64;
use shuttle::thread;

use super::*;
use crate::clock::{DAY, SECOND};
use crate::entry::Value;
use crate::sync::dies;

const OLD: u64 = 0;
const NEW: u64 = 1;
/// So many times a caller asks again before it would go alone.
const ROUNDS: usize = 4;

/// One key, its truth, and the flights to it.
struct Scene {
    flights: Arc<Flights>,
    spawner: Spawner,
    clock: Clock,
    key: Key,
    truth: AtomicU64,
    /// How often a tag has ended.
    ends: AtomicU64,
    loads: AtomicU64,
    /// Who has boarded so far.
    aboard: AtomicU64,
}

fn scene() -> Arc<Scene> {
    scene_within(DAY)
}

fn scene_within(bound: Duration) -> Arc<Scene> {
    let (clock, spawner) = (Clock::of_runtime(1), Spawner::default());
    Arc::new(Scene {
        flights: Flights::new(bound, clock.clone(), spawner.clone()),
        spawner,
        clock,
        key: Key::new(b"todo:tasks:1:v:{.17}"),
        truth: AtomicU64::new(OLD),
        ends: AtomicU64::new(0),
        loads: AtomicU64::new(0),
        aboard: AtomicU64::new(0),
    })
}

fn landed(scene: &Scene, value: u64) -> Landed {
    let now = scene.clock.now();
    let held = Held {
        value: Some(Arc::new(value) as Value),
        tags: [].into(),
        received: now,
        age: SECOND,
        fresh_until: now.plus(DAY),
        cost: Duration::ZERO,
        kept_until: now.plus(DAY),
        in_need: false,
        weight: 8,
        id: None,
        print: None,
    };
    let answer = Ok((Arc::new(held), Origin::Loaded));
    Landed { answer, is_overtaken: Box::new(|| false), unwatched_since: None }
}

impl Scene {
    fn board<Flying>(
        self: &Arc<Self>,
        alone: bool,
        fly: fn(Arc<Scene>, Arc<Flight>) -> Flying,
    ) -> Passenger
    where
        Flying: Future<Output = Landed> + Send + 'static,
    {
        self.flights.board(&self.key, &[], alone, |flight| fly(self.clone(), flight))
    }

    /// What a caller gets that asks again as often as it must.
    fn call<Flying>(self: &Arc<Self>, fly: fn(Arc<Scene>, Arc<Flight>) -> Flying) -> Result<u64, Error>
    where
        Flying: Future<Output = Landed> + Send + 'static,
    {
        for _ in 0..ROUNDS {
            let passenger = self.board(false, fly);
            let landing = block_on(passenger.lands());
            if passenger.may_take(&landing) {
                let (held, _) = landing.answer?;
                return Ok(*held.value.clone().unwrap().downcast::<u64>().unwrap());
            }
        }
        panic!("overtaken {ROUNDS} times, and there was one end");
    }

    fn key_changes(&self) {
        self.flights.changed(self.key.v());
    }

    /// When all callers are gone.
    fn leaves_nothing(&self) {
        self.spawner.all_end();
        let gates: usize = self.flights.shards.iter().map(|shard| shard.lock().len()).sum();
        assert_eq!(gates, 0, "a gate is left, and nobody is at it");
    }
}

/// Not ready once, so that a flight may be cancelled meanwhile. (Shuttle's own `yield_now` would let all
/// others go first, each time.)
async fn on_its_way() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// Asks once, and lands.
async fn load(scene: Arc<Scene>, flight: Arc<Flight>) -> Landed {
    drop(flight.signal.listen());
    flight.asks(scene.clock.now(), None);
    scene.loads.fetch_add(1, Ordering::SeqCst);
    let value = scene.truth.load(Ordering::SeqCst);
    on_its_way().await;
    landed(&scene, value)
}

/// The same, and two may be aboard first.
async fn load_slowly(scene: Arc<Scene>, flight: Arc<Flight>) -> Landed {
    let mut changes = flight.signal.listen();
    flight.signal.waits();
    while scene.aboard.load(Ordering::SeqCst) < 2 {
        let _ = changes.changed().await;
    }
    load(scene, flight).await
}

/// Waits for another process, and is told when it is done.
async fn wait_for_another(scene: Arc<Scene>, flight: Arc<Flight>) -> Landed {
    loop {
        let mut changes = flight.signal.listen();
        flight.asks(scene.clock.now(), None);
        let value = scene.truth.load(Ordering::SeqCst);
        if value != OLD {
            return landed(&scene, value);
        }
        flight.signal.waits();
        let _ = changes.changed().await;
    }
}

/// A tag of what it loads may end.
async fn load_tagged(scene: Arc<Scene>, flight: Arc<Flight>) -> Landed {
    let before = scene.ends.load(Ordering::SeqCst);
    let landed = load(scene.clone(), flight).await;
    let is_overtaken = Box::new(move || scene.ends.load(Ordering::SeqCst) != before);
    Landed { is_overtaken, ..landed }
}

async fn load_and_die(_: Arc<Scene>, _: Arc<Flight>) -> Landed {
    dies().await;
    unreachable!("it is dropped where it stands")
}

fn at_once(scene: &Arc<Scene>, threads: &[fn(Arc<Scene>)]) {
    let threads: Vec<_> = threads
        .iter()
        .map(|run| {
            let (run, scene) = (*run, scene.clone());
            thread::spawn(move || run(scene))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    scene.leaves_nothing();
}

fn stays(scene: Arc<Scene>) {
    scene.call(load).unwrap();
}

fn hangs_up(scene: Arc<Scene>) {
    drop(scene.board(false, load));
}

/// Whoever leaves last cancels the flight; another is about to board it.
pub fn the_last_caller_leaves_while_another_boards() {
    at_once(&scene(), &[hangs_up, stays, hangs_up]);
}

/// Callers come while a flight lands.
pub fn callers_board_while_it_lands() {
    at_once(&scene(), &[stays, stays, stays]);
}

/// Two callers come at once, and the load waits for both of them.
pub fn two_board_at_once() {
    let scene = scene();
    fn caller(scene: Arc<Scene>) {
        let passenger = scene.board(false, load_slowly);
        scene.aboard.fetch_add(1, Ordering::SeqCst);
        scene.flights.wake(scene.key.v());
        block_on(passenger.lands()).answer.unwrap();
    }
    at_once(&scene, &[caller, caller]);
    assert_eq!(scene.loads.load(Ordering::SeqCst), 1, "each has loaded for itself");
}

/// Callers are under way; the key is ended here, and another caller comes after it.
pub fn a_caller_comes_after_an_end() {
    fn ends(scene: Arc<Scene>) {
        scene.truth.store(NEW, Ordering::SeqCst);
        scene.flights.detach(scene.key.v());
        assert_eq!(scene.call(load).unwrap(), NEW, "an answer from before the end");
    }
    at_once(&scene(), &[stays, ends, stays]);
}

/// The same, and the end comes from elsewhere.
pub fn a_caller_comes_after_a_change() {
    fn changes(scene: Arc<Scene>) {
        scene.truth.store(NEW, Ordering::SeqCst);
        scene.key_changes();
        assert_eq!(scene.call(load).unwrap(), NEW, "an answer from before the change");
    }
    at_once(&scene(), &[stays, changes, stays]);
}

/// The same, and all that is known is that news were lost; or `sync` was called.
pub fn a_caller_comes_after_a_gap() {
    fn gap(scene: Arc<Scene>) {
        scene.truth.store(NEW, Ordering::SeqCst);
        scene.flights.all_changed();
        assert_eq!(scene.call(load).unwrap(), NEW, "an answer from before the gap");
    }
    fn sync(scene: Arc<Scene>) {
        scene.truth.store(NEW, Ordering::SeqCst);
        scene.flights.close_all_doors();
        assert_eq!(scene.call(load).unwrap(), NEW, "an answer from before the sync");
    }
    fn lost_slots(scene: Arc<Scene>) {
        let mut slots = Slots::none();
        slots.add(scene.key.slot());
        scene.truth.store(NEW, Ordering::SeqCst);
        scene.flights.slots_changed(&slots);
        assert_eq!(scene.call(load).unwrap(), NEW, "an answer from before the gap");
    }
    at_once(&scene(), &[stays, gap]);
    at_once(&scene(), &[stays, lost_slots]);
    at_once(&scene(), &[stays, sync]);
}

/// A flight waits for another process, is told, and asks again; the key changes once more, and a caller comes.
pub fn a_waiting_flight_asks_again_while_the_key_changes() {
    fn waits(scene: Arc<Scene>) {
        assert_ne!(scene.call(wait_for_another).unwrap(), OLD);
    }
    fn changes(scene: Arc<Scene>) {
        for value in [NEW, NEW + 1] {
            scene.truth.store(value, Ordering::SeqCst);
            scene.key_changes();
        }
        let answer = scene.call(wait_for_another).unwrap();
        assert_eq!(answer, NEW + 1, "an answer from before the last change");
    }
    at_once(&scene(), &[waits, changes]);
}

/// A flight waits for another process; it is told of one change, and the news of the next are lost. No answer
/// may be older than the bound, here none at all: so a caller shares only what is asked for after it came.
pub fn a_caller_joins_a_flight_that_waits_while_news_are_lost() {
    fn waits(scene: Arc<Scene>) {
        scene.call(wait_for_another).unwrap();
    }
    fn changes(scene: Arc<Scene>) {
        scene.truth.store(NEW, Ordering::SeqCst);
        scene.key_changes();
        scene.truth.store(NEW + 1, Ordering::SeqCst);
        let answer = scene.call(wait_for_another).unwrap();
        assert_eq!(answer, NEW + 1, "an answer older than the bound");
    }
    at_once(&scene_within(Duration::ZERO), &[waits, changes]);
}

/// A flight waits for a lease of this process, of which far tells nothing.
pub fn a_waiting_flight_is_woken_by_a_lease_that_is_given_back() {
    fn waits(scene: Arc<Scene>) {
        scene.call(wait_for_another).unwrap();
    }
    fn gives_back(scene: Arc<Scene>) {
        scene.truth.store(NEW, Ordering::SeqCst);
        scene.flights.wake(scene.key.v());
    }
    at_once(&scene(), &[waits, gives_back, waits]);
}

/// A tag ends while a flight lands, and a caller comes after it.
pub fn a_caller_comes_after_the_end_of_a_tag() {
    fn caller(scene: Arc<Scene>) {
        scene.call(load_tagged).unwrap();
    }
    fn ends(scene: Arc<Scene>) {
        scene.truth.store(NEW, Ordering::SeqCst);
        scene.ends.fetch_add(1, Ordering::SeqCst);
        assert_eq!(scene.call(load_tagged).unwrap(), NEW, "an answer from before the tag's end");
    }
    at_once(&scene(), &[caller, ends]);
}

/// The load dies under its passengers.
pub fn a_load_dies() {
    fn caller(scene: Arc<Scene>) {
        let error = scene.call(load_and_die).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
    }
    at_once(&scene(), &[caller, caller, caller]);
}

/// A load by hand listens, one goes alone, and one flies with others; all leave.
pub fn listeners_and_flights_leave() {
    fn listens(scene: Arc<Scene>) {
        drop(scene.flights.watch(&scene.key));
    }
    fn goes_alone(scene: Arc<Scene>) {
        let passenger = scene.board(true, load);
        block_on(passenger.lands()).answer.unwrap();
    }
    at_once(&scene(), &[listens, goes_alone, hangs_up]);
}
