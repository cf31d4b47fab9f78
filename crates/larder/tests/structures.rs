//! Redis' own shapes: each keeps its promises embedded, on one server and on a cluster, and under faults.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a scene that cannot be set has failed"
)]

mod support;

#[path = "structures/leaderboard.rs"]
mod leaderboard;
#[path = "structures/rate_limiter.rs"]
mod rate_limiter;
#[path = "structures/scene.rs"]
mod scene;

#[path = "structures/feed.rs"]
mod feed;

#[path = "structures/object.rs"]
mod object;

#[path = "structures/set.rs"]
mod set;

#[path = "structures/fifo.rs"]
mod fifo;
#[path = "structures/lock.rs"]
mod lock;
#[path = "structures/members.rs"]
mod members;
#[path = "structures/queue.rs"]
mod queue;
#[path = "structures/queue_faults.rs"]
mod queue_faults;
#[path = "structures/sentinel.rs"]
mod sentinel;

/// What the test binary does as another process: see `support/process.rs`.
#[test]
fn other_process() {
    support::process::obey();
}
