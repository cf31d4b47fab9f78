//! What callers, this process's own stores and the connection's driver do to near at the same time.

use std::sync::OnceLock;
use std::time::Duration;

use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::thread;

use super::*;
use crate::clock::{DAY, SECOND};
use crate::entry::{Ended, Generation, Held, Tagged, Value};
use crate::pulse::Pulse;

const OLD: u64 = 0;
const NEW: u64 = 1;

/// One key in near, and the far side as far as it is about it.
struct Scene {
    near: Near,
    clock: Clock,
    key: Key,
    tag: Tag,
    pulse: Arc<Pulse>,
    /// The value that far has, and the generation of its tag.
    far: AtomicU64,
    generation: AtomicU64,
    /// The ends that are sent again.
    sent: OnceLock<Vec<(Ended, u64)>>,
}

fn scene() -> Arc<Scene> {
    let clock = Clock::of_runtime(1);
    Arc::new(Scene {
        near: Near::new(1 << 20, &clock),
        clock,
        key: Key::new(b"todo:tasks:1:v:{.17}"),
        tag: Tag::new("lists"),
        pulse: Arc::new(Pulse::always()),
        far: AtomicU64::new(OLD),
        generation: AtomicU64::new(OLD),
        sent: OnceLock::new(),
    })
}

impl Scene {
    fn entry(&self, value: u64, tags: Box<[Tagged]>, watched: Option<Watched>) -> Arc<Kept> {
        let now = self.clock.now();
        let held = Held {
            value: Some(Arc::new(value) as Value),
            tags,
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
        Arc::new(Kept::new(&Arc::new(held), self.pulse.clone(), watched, now.plus(DAY)))
    }

    /// A caller: its epoch, then far, then near.
    fn read(&self) {
        let epoch = self.near.epoch(self.key.v());
        let value = self.far.load(Ordering::SeqCst);
        self.near.keep(&self.key, self.entry(value, [].into(), None), epoch);
    }

    /// A caller of an entry with a tag, whose generation comes with it.
    fn read_tagged(&self) {
        let watched = self.near.generations.watch(&self.tag);
        let epoch = self.near.epoch(self.key.v());
        let drawn = self.generation.load(Ordering::SeqCst);
        let generation = generation(drawn);
        watched.learn(Some(generation), self.clock.now());
        let tags = [Tagged { tag: self.tag.clone(), generation }].into();
        self.near.keep(&self.key, self.entry(drawn, tags, Some(watched)), epoch);
    }

    /// What a caller would be served.
    fn served(&self) -> Option<u64> {
        match self.near.get(self.key.v(), &[], self.clock.now()) {
            Looked::Fresh(kept) => kept.value::<u64>(self.clock.now()).map(|(value, _)| *value),
            _ => None,
        }
    }

    fn serves_nothing_old(&self) {
        let far = self.far.load(Ordering::SeqCst);
        let served = self.served();
        assert!(served.is_none_or(|served| served == far), "{served:?} is served, far has {far}");
    }
}

fn generation(drawn: u64) -> Generation {
    [drawn as u8; 16].into()
}

/// Runs them at once, to their end.
fn at_once(scene: &Arc<Scene>, threads: &[fn(&Scene)]) {
    let threads: Vec<_> = threads
        .iter()
        .map(|run| {
            let (run, scene) = (*run, scene.clone());
            thread::spawn(move || run(&scene))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Two callers read; the value changes, and the driver is told.
pub fn a_reader_meets_a_change() {
    let scene = scene();
    fn change(scene: &Scene) {
        scene.far.store(NEW, Ordering::SeqCst);
        scene.near.drop_key(scene.key.v());
        scene.serves_nothing_old();
    }
    at_once(&scene, &[Scene::read, change, Scene::read]);
    scene.serves_nothing_old();
}

/// One caller reads a value that is near already; it changes.
pub fn a_change_meets_what_is_near() {
    let scene = scene();
    scene.read();
    fn change(scene: &Scene) {
        scene.far.store(NEW, Ordering::SeqCst);
        scene.near.drop_key(scene.key.v());
        scene.serves_nothing_old();
    }
    at_once(&scene, &[change, Scene::read]);
    scene.serves_nothing_old();
}

/// Callers read; the value changes, and the news of it are lost with the connection.
pub fn a_reader_meets_a_gap() {
    let scene = scene();
    fn gap(scene: &Scene) {
        scene.far.store(NEW, Ordering::SeqCst);
        scene.near.drop_all();
        scene.serves_nothing_old();
    }
    at_once(&scene, &[Scene::read, gap, Scene::read]);
    scene.serves_nothing_old();
}

/// The same, and the news that are lost are those of some slots of a cluster.
pub fn a_reader_meets_lost_slots() {
    let scene = scene();
    fn lost(scene: &Scene) {
        let mut slots = Slots::none();
        slots.add(scene.key.slot());
        scene.far.store(NEW, Ordering::SeqCst);
        scene.near.drop_slots(&slots);
        scene.serves_nothing_old();
    }
    at_once(&scene, &[Scene::read, lost, Scene::read]);
    scene.serves_nothing_old();
}

/// One caller and one change: few enough steps for every order there is.
pub fn one_reader_and_one_change() {
    let scene = scene();
    fn change(scene: &Scene) {
        scene.far.store(NEW, Ordering::SeqCst);
        scene.near.drop_key(scene.key.v());
    }
    at_once(&scene, &[Scene::read, change]);
    scene.serves_nothing_old();
}

/// One caller and one own store, likewise.
pub fn one_reader_and_one_own_store() {
    let scene = scene();
    fn store(scene: &Scene) {
        let epoch = scene.near.epoch(scene.key.v());
        scene.far.store(NEW, Ordering::SeqCst);
        scene.near.keep_own(&scene.key, scene.entry(NEW, [].into(), None), epoch);
    }
    at_once(&scene, &[Scene::read, store]);
    scene.serves_nothing_old();
}

/// This process stores what it loaded, of which far tells it nothing; another caller reads.
pub fn a_reader_meets_an_own_store() {
    let scene = scene();
    fn store(scene: &Scene) {
        let epoch = scene.near.epoch(scene.key.v());
        scene.far.store(NEW, Ordering::SeqCst);
        scene.near.keep_own(&scene.key, scene.entry(NEW, [].into(), None), epoch);
        scene.serves_nothing_old();
    }
    at_once(&scene, &[Scene::read, store]);
    scene.serves_nothing_old();
}

/// The same, and another process changes the value.
pub fn an_own_store_meets_a_change() {
    let scene = scene();
    fn store(scene: &Scene) {
        let epoch = scene.near.epoch(scene.key.v());
        // The change has ended its lease: it is refused.
        if scene.far.compare_exchange(OLD, NEW, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            scene.near.keep_own(&scene.key, scene.entry(NEW, [].into(), None), epoch);
        }
    }
    fn change(scene: &Scene) {
        scene.far.store(NEW + 1, Ordering::SeqCst);
        scene.near.drop_key(scene.key.v());
    }
    at_once(&scene, &[store, change, Scene::read]);
    scene.serves_nothing_old();
}

/// A tag ends while callers read an entry that carries it.
pub fn a_reader_meets_the_end_of_a_tag() {
    let scene = scene();
    fn serves_no_dead(scene: &Scene) {
        let now = scene.generation.load(Ordering::SeqCst);
        let served = scene.served();
        assert!(served.is_none_or(|served| served == now), "{served:?} is served under {now}");
    }
    fn end(scene: &Scene) {
        scene.generation.store(NEW, Ordering::SeqCst);
        scene.near.generations.empty(&scene.tag);
        serves_no_dead(scene);
    }
    at_once(&scene, &[Scene::read_tagged, end, Scene::read_tagged]);
    serves_no_dead(&scene);
}

/// A connection is given up while its last heartbeat is answered.
pub fn a_late_heartbeat_meets_the_end_of_its_connection() {
    let clock = Clock::of_runtime(1);
    let pulse = Arc::new(Pulse::new());
    let until = clock.now().plus(DAY);
    let supervisor = thread::spawn({
        let pulse = pulse.clone();
        move || pulse.proven_until(until)
    });
    pulse.end();
    assert!(!pulse.covers(clock.now()));
    supervisor.join().unwrap();
    assert!(!pulse.covers(clock.now()), "a connection that was given up proves something");
}

/// Two connections have answered together; one of them is given up.
pub fn what_two_connections_answered_meets_the_end_of_one() {
    let clock = Clock::of_runtime(1);
    let [one, other] = [(); 2].map(|()| Arc::new(Pulse::up_to(clock.now().plus(DAY))));
    let both = Pulse::all([one.clone(), other.clone()]);
    let now = clock.now();
    let ender = thread::spawn(move || one.end());
    let covered = both.covers(now);
    ender.join().unwrap();
    assert!(!both.covers(now), "what was answered by a connection that was given up is believed");
    assert!(other.covers(now) && (covered || !both.is_alive()));
}

/// An end was not confirmed, and is sent again. While the answer is on its way a second end of the same name
/// is not confirmed either.
pub fn an_unconfirmed_end_meets_the_confirmation_of_an_earlier_one() {
    let scene = scene();
    fn end(scene: &Scene) {
        assert!(scene.near.bypass.add(&[Ended::Key(scene.key.clone())]));
        scene.near.drop_key(scene.key.v());
        assert!(scene.near.bypass.covers(scene.key.v(), &[]), "an end that waits is not heeded");
    }
    fn confirm(scene: &Scene) {
        scene.near.bypass.remove(scene.sent.get().unwrap());
    }
    end(&scene);
    scene.sent.set(scene.near.bypass.some(10)).unwrap();
    at_once(&scene, &[confirm, end]);
    let (waiting, counted) = (scene.near.bypass.some(10), scene.near.bypass.len());
    assert_eq!((waiting.len(), counted), (1, 1), "one waits");
    scene.near.bypass.remove(&waiting);
    assert!(scene.near.bypass.is_empty());
}
