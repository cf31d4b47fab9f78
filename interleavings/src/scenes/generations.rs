//! What those who read a tag's generation, those who write it, and the connection's driver do to its cell at
//! the same time.

use std::sync::Mutex as NoStep;

use shuttle::sync::Mutex;
use shuttle::thread;

use super::*;
use crate::clock::{DAY, SECOND};
use crate::entry::Generation;

/// A tag in Redis and in this process, and the tracked connection between the two.
struct Scene {
    cells: Generations,
    tag: Tag,
    began: Moment,
    /// What one pipeline of this process does, others of this process do not cut through.
    wire: Mutex<()>,
    /// One command, and the push that it makes, are one step: a reply that is seen later finds it applied.
    redis: Mutex<Redis>,
    /// What was learned, and under which version: what near's entries rest on.
    learned: NoStep<Vec<(Watched, u8)>>,
    /// Under which version an own write has begun that is not on the wire yet.
    begun: NoStep<Option<Watched>>,
}

struct Redis {
    /// The tag's generation.
    drawn: u8,
    /// Are we told of its next change?
    tracked: bool,
}

fn scene(cells_max: usize) -> Arc<Scene> {
    let clock = Clock::of_runtime(1);
    Arc::new(Scene {
        cells: Generations::new(cells_max, &clock),
        tag: Tag::new("lists"),
        began: clock.now(),
        wire: Mutex::new(()),
        redis: Mutex::new(Redis { drawn: 1, tracked: false }),
        learned: NoStep::default(),
        begun: NoStep::default(),
    })
}

fn generation(drawn: u8) -> Option<Generation> {
    Some([drawn; 16].into())
}

impl Scene {
    fn get(&self) -> u8 {
        let mut redis = self.redis.lock().unwrap();
        redis.tracked = true;
        redis.drawn
    }

    /// A caller reads the generation.
    fn read(&self) {
        let watched = self.cells.watch(&self.tag);
        let drawn = {
            let _mine = self.wire.lock().unwrap();
            self.get()
        };
        watched.learn(generation(drawn), self.began);
        self.learned.lock().unwrap().push((watched, drawn));
    }

    /// A load of this process prolongs the tag: its own write ends our tracking, untold; the read behind it
    /// begins it anew.
    fn prolong(&self) {
        let watched = self.begin();
        self.go_on(watched);
    }

    fn begin(&self) -> Watched {
        self.cells.unsettle(&self.tag);
        self.cells.watch(&self.tag)
    }

    fn go_on(&self, watched: Watched) {
        let drawn = {
            let _mine = self.wire.lock().unwrap();
            self.redis.lock().unwrap().tracked = false;
            self.get()
        };
        watched.learn_own(generation(drawn), self.began);
        self.learned.lock().unwrap().push((watched, drawn));
    }

    /// The same by one that had begun before.
    fn prolong_begun(&self) {
        let begun = self.begun.lock().unwrap().take();
        self.go_on(begun.unwrap());
    }

    /// Another process ends the tag, and a load of its own draws the next generation.
    fn end_elsewhere(&self) {
        let mut redis = self.redis.lock().unwrap();
        redis.drawn += 1;
        if std::mem::take(&mut redis.tracked) {
            self.cells.empty(&self.tag);
        }
    }

    /// When all replies are in.
    fn rests_on_nothing_old(&self) {
        let now = self.redis.lock().unwrap().drawn;
        for (watched, drawn) in self.learned.lock().unwrap().iter() {
            assert!(
                !watched.is_current() || *drawn == now,
                "an entry of generation {drawn} is current under {now}"
            );
        }
        let known = self.cells.known_before(&self.tag, self.began.plus(SECOND));
        assert!(known.is_none() || known == generation(now), "the cell knows an old generation");
    }
}

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

/// The push comes while a reply is on its way, also to a cell that knows nothing yet.
pub fn a_reply_meets_a_push() {
    let scene = scene(8);
    at_once(&scene, &[Scene::read, Scene::end_elsewhere, Scene::read]);
    scene.rests_on_nothing_old();
}

/// One reply and one push: few enough steps for every order there is.
pub fn one_reply_and_one_push() {
    let scene = scene(8);
    at_once(&scene, &[Scene::read, Scene::end_elsewhere]);
    scene.rests_on_nothing_old();
}

/// The tag ends between an own write and the read behind it, when nobody tells us.
pub fn own_writes_meet_an_end_that_nobody_tells() {
    meet_an_end_that_nobody_tells(&[Scene::prolong_begun, Scene::end_elsewhere, Scene::prolong]);
}

/// The same, and a caller reads beside them.
pub fn a_reader_meets_an_end_that_nobody_tells() {
    meet_an_end_that_nobody_tells(&[Scene::prolong_begun, Scene::end_elsewhere, Scene::read]);
}

fn meet_an_end_that_nobody_tells(threads: &[fn(&Scene)]) {
    let scene = scene(8);
    scene.read();
    let before = scene.cells.watch(&scene.tag);
    *scene.begun.lock().unwrap() = Some(scene.begin());
    at_once(&scene, threads);
    scene.rests_on_nothing_old();
    assert!(before.has_ended(), "who boarded before the end takes an answer from before it");
}

/// Two loads of this process write to a tag that nobody ends.
pub fn own_writes_meet_each_other() {
    let scene = scene(8);
    scene.read();
    let before = scene.cells.watch(&scene.tag);
    at_once(&scene, &[Scene::prolong, Scene::prolong]);
    scene.rests_on_nothing_old();
    assert!(!before.has_ended(), "an answer is loaded anew that was good");
}

/// The map is full, and other tags want a cell while an entry rests on this one.
pub fn a_full_map_meets_who_watches() {
    let scene = scene(1);
    fn other(scene: &Scene) {
        scene.cells.watch(&Tag::new("other"));
        scene.cells.watch(&Tag::new("another"));
    }
    at_once(&scene, &[Scene::read, other, Scene::end_elsewhere, Scene::read]);
    scene.rests_on_nothing_old();
}

/// Two ask for a tag that has no cell yet, and it ends.
pub fn two_ask_for_a_tag_that_is_new() {
    let scene = scene(8);
    at_once(&scene, &[Scene::read, Scene::read]);
    scene.end_elsewhere();
    scene.rests_on_nothing_old();
}

/// A load learns of its tag too late to watch it: it counts ends instead. Its caller joined it after the end.
pub fn an_end_is_counted_before_it_is_told() {
    let scene = scene(8);
    let before = scene.cells.ends();
    let other = {
        let scene = scene.clone();
        thread::spawn(move || {
            scene.redis.lock().unwrap().drawn += 1;
            scene.cells.empty(&scene.tag);
            assert_ne!(scene.cells.ends(), before, "the end is over, and nobody counted it");
        })
    };
    let watched = scene.cells.watch(&scene.tag);
    let drawn = scene.get();
    watched.learn(generation(drawn), scene.began.plus(DAY));
    if drawn == 1 && !watched.is_current() {
        assert_ne!(scene.cells.ends(), before, "the cell has heard of an end that is not counted");
    }
    other.join().unwrap();
}
