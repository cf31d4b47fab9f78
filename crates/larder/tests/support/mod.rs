//! What the tests in this folder share: servers, other processes, and the scene they all start from.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unused_imports, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a scene that cannot be set has failed"
)]
#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "the one fails a test, the other answers it"
)]
#![allow(unreachable_pub, reason = "it is a module of each test file, and none of them has a door")]

pub mod authority;
pub mod cluster;
pub mod database;
pub mod ear;
pub mod false_sentinel;
pub mod process;
pub mod proxy;
pub mod sentinel;
pub mod server;
pub mod table;
pub mod traffic;
pub mod versions;
pub mod world;

pub use authority::{Authority, Paper};
pub use cluster::Cluster;
pub use database::{Database, FenceSink, PlainSink, VersionSink};
pub use ear::{Ear, Heard};
pub use false_sentinel::FalseSentinel;
pub use process::Process;
pub use proxy::{Proxy, Way};
pub use sentinel::Fleet;
pub use server::Server;
pub use table::{Table, Writing};
pub use traffic::{Rider, Rows, Traffic};
pub use versions::Versions;
pub use world::{Source, World, reading_of, stepped};

use std::future::Future;
use std::time::Duration;

/// Far deadline in tests: two busy cores must not look like a slow Redis.
pub const PATIENT: Duration = Duration::from_secs(5);

/// Nothing that a test waits for takes this long, unless it never comes.
pub const NEVER: Duration = Duration::from_secs(60);

/// Waits for `future`, and fails with `what` when it does not come.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(NEVER, future).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited in vain for: {what}"),
    }
}

/// Asks again and again until `is` holds.
pub async fn until<F, Asked>(what: &str, mut is: F)
where
    F: FnMut() -> Asked,
    Asked: Future<Output = bool>,
{
    soon(what, async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
