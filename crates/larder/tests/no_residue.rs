//! What this library writes to Redis ends by itself, whatever becomes of those who wrote it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use larder::{Cache, ErrorKind, Larder, Leased, Lifetime, Loaded, Tag, UserCache};
use support::{PATIENT, Server, soon, until};

const SHORT: Duration = Duration::from_millis(400);
/// Loads that are at once must not look slow on two busy cores.
const LOAD: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Process {
    larder: Larder,
    words: Cache<u64, String>,
    owned: UserCache<u64, String>,
}

impl Process {
    async fn open(url: &str) -> Process {
        let builder = Larder::builder("test").redis(url).far_deadline(PATIENT);
        let larder = builder.lease_time(SHORT).open().await.unwrap();
        let lifetime = Lifetime::fresh_for(SHORT);
        let words = larder.cache("words").lifetime(lifetime).max_load(LOAD);
        let words = words.tagged_by(|n: &u64| [Tag::from_parts(&("of", n % 5))]).shared().unwrap();
        let owned = larder.cache("owned").lifetime(lifetime).max_load(LOAD).per_user().unwrap();
        Process { larder, words, owned }
    }

    /// One call, of a kind that `n` chooses.
    async fn calls(&self, n: u64) {
        let key = n % 31;
        let value = move || async move { Ok::<_, std::io::Error>(n.to_string()) };
        match n % 11 {
            0 => drop(self.words.get_or_load(&key, value).await.unwrap()),
            1 => {
                let learned = Loaded::new(n.to_string()).tag(Tag::from_parts(&("learned", n % 3)));
                let load = move || async move { Ok::<_, std::io::Error>(learned) };
                drop(self.words.get_or_load(&key, load).await.unwrap());
            }
            // Not confirmed when its connection is killed: it is sent again.
            2 => drop(self.words.put(&key, n.to_string()).await),
            3 => drop(self.larder.invalidate([self.words.entry(&key)]).await),
            4 => drop(self.larder.invalidate_tag(Tag::from_parts(&("of", key % 5))).await),
            5 => {
                let fails = || async { Err::<String, _>(std::io::Error::other("no")) };
                let failed = self.words.get_or_load(&(1000 + key), fails).await;
                assert_eq!(failed.unwrap_err().kind(), ErrorKind::Source);
            }
            // Hung up on, with the load under way.
            6 => {
                let hangs = std::future::pending::<Result<String, std::io::Error>>;
                let key = 2000 + n;
                let asking = self.words.get_or_load(&key, hangs);
                let _ = tokio::time::timeout(Duration::from_millis(n % 8), asking).await;
            }
            // A loader that is too slow.
            7 if n % 35 == 7 => {
                let hangs = std::future::pending::<Result<String, std::io::Error>>;
                let failed = self.words.get_or_load(&(3000 + n), hangs).await;
                assert!(failed.is_err());
            }
            8 => {
                let load = || async { Ok::<_, std::io::Error>(None) };
                let none = self.owned.of(&key).find_or_load(&n, load).await.unwrap();
                assert!(none.is_none());
            }
            9 => match self.words.lease(&(4000 + n)).await.unwrap() {
                Leased::Held(lease) if n % 4 < 2 => drop(lease.store(n.to_string()).await),
                _ => {} // dropped: given back
            },
            _ => drop(self.owned.of(&key).get_or_load(&(n % 3), value).await.unwrap()),
        }
    }
}

/// Names that would be there for ever.
fn endless(server: &Server) -> Vec<String> {
    let mut client = server.client();
    let mut endless = Vec::new();
    for name in server.keys() {
        let left: i64 = redis::cmd("PTTL").arg(&name).query(&mut client).unwrap();
        if left == -1 {
            endless.push(name);
        }
    }
    endless
}

/// Loads, learned tags, puts, ends, failures, callers that hang up, loaders that hang, leases by hand; connections are
/// killed all the while. Every key has an end, and after the last one there is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_soak_nothing_outlives_its_end() {
    let server = Arc::new(Server::start());
    let mut tasks = Vec::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let mut processes = Vec::new();
    for number in 0..3_u64 {
        let process = Process::open(&server.url()).await;
        for task in 0..4_u64 {
            let (process, calls) = (process.clone(), calls.clone());
            tasks.push(tokio::spawn(async move {
                for n in 0..250 {
                    process.calls(n * 12 + number * 4 + task).await;
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            }));
        }
        processes.push(process);
    }
    let running = Arc::new(AtomicBool::new(true));
    let killing = {
        let (server, running) = (server.clone(), running.clone());
        std::thread::spawn(move || {
            let mut seen = 0;
            while running.load(Ordering::SeqCst) {
                let _: i64 = server.ask("CLIENT KILL TYPE normal SKIPME yes");
                assert_eq!(endless(&server), [""; 0]);
                seen = seen.max(server.keys().len());
                std::thread::sleep(Duration::from_millis(150));
            }
            seen
        })
    };
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(soon("the traffic to end", task).await);
    }
    running.store(false, Ordering::SeqCst);
    let seen = killing.join().unwrap();
    outcomes.into_iter().for_each(|outcome| outcome.unwrap());
    assert_eq!(calls.load(Ordering::SeqCst), 3 * 4 * 250);
    assert!(seen > 20, "there was something to leave behind: {seen} keys at once");
    assert_eq!(endless(&server), [""; 0]);
    for process in &processes {
        until("nothing waits", || async { process.larder.stats().unconfirmed_waiting == 0 }).await;
    }
    // The processes live on, and have nothing left to say to it.
    until("the server is empty", || async { server.ask::<u64>("DBSIZE") == 0 }).await;
}
