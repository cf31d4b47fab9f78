//! A real Redis of the test's own, and what is in it.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a scene that cannot be set has failed"
)]
#![allow(unreachable_pub, reason = "it is a module of each test file, and none of them has a door")]

#[path = "../../../larder/tests/support/server.rs"]
mod server;

/// What the server above asks of its neighbour.
mod process {
    use std::process::{Command, Stdio};

    pub fn signal(pid: u32, signal: &str) {
        let pid = pid.to_string();
        let _ = Command::new("kill").args([signal, &pid]).stderr(Stdio::null()).status();
    }
}

use std::time::Duration;

use larder::Larder;
pub use server::Server;

/// Far deadline in tests: two busy cores must not look like a slow Redis.
const PATIENT: Duration = Duration::from_secs(5);

/// A handle of its own on this Redis, as another process would have it.
pub async fn on(server: &Server) -> Larder {
    let larder = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
    larder.connect_deadline(PATIENT).require_far().open().await.unwrap()
}

/// Every name in Redis, and every value that is text, as they are there.
pub fn contents(server: &Server) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut client = server.client();
    let names: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut client).unwrap();
    let value = |name: &Vec<u8>, client: &mut redis::Connection| {
        redis::cmd("GET").arg(name).query::<Option<Vec<u8>>>(client).ok().flatten()
    };
    names
        .into_iter()
        .map(|name| {
            let value = value(&name, &mut client).unwrap_or_default();
            (name, value)
        })
        .collect()
}

/// Puts other bytes in a value's place, and leaves its time to live.
pub fn replace(server: &Server, name: &[u8], value: &[u8]) {
    let mut set = redis::cmd("SET");
    set.arg(name).arg(value).arg("KEEPTTL");
    let _: () = set.query(&mut server.client()).unwrap();
}

/// Whether these letters stand anywhere in Redis.
pub fn holds(server: &Server, text: &str) -> bool {
    let inside = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    contents(server).iter().any(|(name, value)| inside(name) || inside(value))
}
