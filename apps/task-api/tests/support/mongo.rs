//! A database of the test's own, in the MongoDB that `MONGODB_URL` names. Dropped when dropped.
//!
//! The program's own tests take this file in as well.

use std::thread;

use mongodb::Client;

/// A database nobody else uses.
pub(crate) struct Mongo {
    pub(crate) url: String,
    name: String,
}

impl Mongo {
    pub(crate) fn new() -> Mongo {
        let Ok(server) = std::env::var("MONGODB_URL") else {
            panic!("MONGODB_URL is not set: run `cargo xtask test`, or name a MongoDB for tests")
        };
        let name = format!("task-api-test-{}", uuid::Uuid::now_v7());
        Mongo { url: named(&server, &name), name }
    }
}

/// The same servers and options, another database.
fn named(url: &str, database: &str) -> String {
    let (servers, options) = url.split_once('?').unwrap_or((url, ""));
    let begin = servers.find("://").map_or(0, |at| at + 3);
    let end = servers[begin..].find('/').map_or(servers.len(), |at| begin + at);
    let mut url = format!("{}/{database}", &servers[..end]);
    let was = servers[end..].trim_start_matches('/');
    let mut options = options.to_owned();
    // Where the user is known follows from the database, unless it is said.
    if servers[begin..end].contains('@') && !options.contains("authSource=") {
        let source = if was.is_empty() { "admin" } else { was };
        options = format!("authSource={source}&{options}");
    }
    if !options.is_empty() {
        url = format!("{url}?{}", options.trim_end_matches('&'));
    }
    url
}

impl Drop for Mongo {
    fn drop(&mut self) {
        let (url, name) = (self.url.clone(), self.name.clone());
        // Not on this thread: it may be one of a runtime, where nothing may be waited for.
        let dropping = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let Ok(client) = Client::with_uri_str(&url).await else { return };
                let _ = client.database(&name).drop().await;
            });
        });
        let _ = dropping.join();
    }
}
