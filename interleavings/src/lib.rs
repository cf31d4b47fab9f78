//! Near and the flights of larder, under a scheduler that tries one order of steps after the other.
//!
//! The files of `crates/larder/src` stand in this package a second time, as they are, over a `sync.rs` of
//! its own: locks, counters, bells and tasks of [`shuttle`], which runs one thread at a time and lets a
//! scheduler say who goes next wherever two of them could meet. A *scene* is a few threads that do what
//! callers, flights and the connection's driver do, and says what must hold in every order.
//!
//! - [`sound`]: larder as it stands; `tests/` plays each scene over it.
//! - Every other module: larder with one fault, told in `build/wrong.rs`. For each `tests/` names the scene
//!   that finds it, and fails if it does not: so no scene is one that cannot fail.
//!
//! What a scene cannot show: orders of memory that are weaker than one thread at a time (a `Relaxed` where
//! it should be `Acquire`), and what happens within `tokio` and `quick_cache`, which are taken at their word.
//!
//! A failure prints its schedule; [`replay`] plays it again, with what the scene prints.
// Larder's own unit tests stand in the same files, and need threads that nobody schedules.
#![cfg(not(test))]
#![allow(clippy::duplicate_mod, reason = "the scenes are played over each copy")]

#[path = "../../crates/larder/src/clock.rs"]
#[allow(dead_code)]
mod clock;
#[path = "../../crates/larder/src/entry/mod.rs"]
#[allow(dead_code, unused_imports)]
mod entry;
#[path = "../../crates/larder/src/error.rs"]
#[allow(dead_code)]
mod error;
#[path = "../../crates/larder/src/key/mod.rs"]
#[allow(dead_code, unused_imports)]
mod key;
#[path = "../../crates/larder/src/pulse.rs"]
#[allow(dead_code)]
mod pulse;
#[allow(dead_code)]
mod sync;

include!(concat!(env!("OUT_DIR"), "/rooms.rs"));

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

pub use shuttle::{check_uncontrolled_nondeterminism, replay};

/// The same orders on every machine.
const SEED: u64 = 17;
/// How often PCT takes the turn from the thread whose it is.
const TURNS: usize = 3;

/// Plays `scene` in so many orders drawn at random, and in as many with few changes of turn.
pub fn in_many_orders(scene: fn(), orders: usize) {
    play(scene, RandomScheduler::new_from_seed(SEED, orders));
    play(scene, PctScheduler::new_from_seed(SEED, TURNS, orders));
}

/// Plays `scene` in every order there is, and returns how many there are.
pub fn in_every_order(scene: fn()) -> usize {
    play(scene, DfsScheduler::new(None, false))
}

fn play(scene: fn(), scheduler: impl Scheduler + 'static) -> usize {
    Runner::new(scheduler, Config::default()).run(scene)
}
