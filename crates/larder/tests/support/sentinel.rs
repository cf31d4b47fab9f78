//! A master, two replicas and three sentinels of the test's own, each a `redis-server` on a free port.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::server::free_port;
use super::{Server, World, until};

static FLEETS: AtomicUsize = AtomicUsize::new(0);

/// What its sentinels call the master.
pub const MASTER: &str = "main";

pub struct Fleet {
    pub nodes: Vec<Server>,
    pub sentinels: Vec<Sentinel>,
    folder: PathBuf,
}

/// What differs between fleets: lines of configuration.
#[derive(Clone, Default)]
pub struct Settings {
    /// For each node, as on the command line.
    pub node: Vec<String>,
    /// For each sentinel, as in its file. `{tls}` stands for its [`tls_port`](Sentinel::tls_port).
    pub sentinel: Vec<String>,
}

pub struct Sentinel {
    child: Child,
    pub port: u16,
    /// A free one, for TLS where its settings say so.
    pub tls_port: u16,
}

impl Fleet {
    pub async fn start() -> Fleet {
        Fleet::with(&Settings::default()).await
    }

    pub async fn with(settings: &Settings) -> Fleet {
        let number = FLEETS.fetch_add(1, Ordering::Relaxed);
        let folder = format!("larder-sentinels-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut words: Vec<&str> = vec!["--repl-diskless-sync-delay", "0"];
        words.extend(settings.node.iter().map(String::as_str));
        let master = Server::with(&words);
        let port = master.port().to_string();
        words.extend(["--replicaof", "127.0.0.1", &port]);
        let nodes = vec![Server::with(&words), Server::with(&words)];
        let mut fleet = Fleet { nodes, sentinels: Vec::new(), folder };
        fleet.nodes.insert(0, master);
        until("the replicas are there", || async {
            let info: String = fleet.nodes[0].ask("INFO replication");
            info.matches("state=online").count() == 2
        })
        .await;
        for number in 0..3 {
            let sentinel = fleet.launch(number, settings);
            fleet.sentinels.push(sentinel);
        }
        fleet.is_whole().await;
        fleet
    }

    fn launch(&self, number: usize, settings: &Settings) -> Sentinel {
        let port = free_port();
        let path = self.folder.join(format!("{number}.conf"));
        let master = self.nodes[0].port();
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", self.folder.display()),
            format!("sentinel monitor {MASTER} 127.0.0.1 {master} 2"),
            format!("sentinel down-after-milliseconds {MASTER} 1000"),
            format!("sentinel failover-timeout {MASTER} 3000"),
            format!("sentinel parallel-syncs {MASTER} 2"),
        ];
        let tls_port = free_port();
        let more = settings.sentinel.iter();
        lines.extend(more.map(|line| line.replace("{tls}", &tls_port.to_string())));
        std::fs::write(&path, lines.join("\n")).unwrap();
        Sentinel { child: run(&path), port, tls_port }
    }

    /// Ends once every sentinel knows of every replica and every other sentinel.
    pub async fn is_whole(&self) {
        for sentinel in &self.sentinels {
            until("the sentinels know one another", || async {
                let Ok(fields) =
                    sentinel.try_ask::<Vec<String>>(&format!("SENTINEL MASTER {MASTER}"))
                else {
                    return false;
                };
                let is = |name: &str, value: &str| {
                    let at = fields.iter().position(|field| field == name);
                    at.is_some_and(|at| fields[at + 1] == value)
                };
                is("num-slaves", "2") && is("num-other-sentinels", "2") && is("flags", "master")
            })
            .await;
        }
    }

    /// Names all three sentinels.
    pub fn url(&self) -> String {
        let hosts: Vec<String> =
            self.sentinels.iter().map(|one| format!("127.0.0.1:{}", one.port)).collect();
        format!("redis+sentinel://{}/{MASTER}/0", hosts.join(","))
    }

    /// Names one of them.
    pub fn url_of(&self, sentinel: usize) -> String {
        format!("redis+sentinel://127.0.0.1:{}/{MASTER}", self.sentinels[sentinel].port)
    }

    /// Whom a sentinel names.
    pub fn named_by(&self, sentinel: usize) -> u16 {
        let (_, port): (String, u16) =
            self.sentinels[sentinel].ask(&format!("SENTINEL GET-MASTER-ADDR-BY-NAME {MASTER}"));
        port
    }

    pub fn node(&self, port: u16) -> &Server {
        self.nodes.iter().find(|node| node.port() == port).unwrap()
    }

    /// Waits until this sentinel names another than `port`, and says which.
    pub async fn named_after(&self, sentinel: usize, port: u16) -> u16 {
        until("another master", || async { self.named_by(sentinel) != port }).await;
        self.named_by(sentinel)
    }

    /// A planned failover.
    pub fn fail_over(&self) {
        let _: String = self.sentinels[0].ask(&format!("SENTINEL FAILOVER {MASTER}"));
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.sentinels.clear();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Sentinel {
    pub fn ask<T: redis::FromRedisValue>(&self, command: &str) -> T {
        self.try_ask(command).unwrap()
    }

    pub fn try_ask<T: redis::FromRedisValue>(&self, command: &str) -> redis::RedisResult<T> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        let mut words = command.split_whitespace();
        let mut cmd = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            cmd.arg(word);
        });
        cmd.query(&mut client.get_connection()?)
    }

    pub fn pause(&self) {
        super::process::signal(self.child.id(), "-STOP");
    }

    pub fn resume(&self) {
        super::process::signal(self.child.id(), "-CONT");
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.resume();
        self.kill();
    }
}

/// Ends once an end of `key` is confirmed: a word that lasts half a second may run out on a busy machine.
pub async fn ended(world: &World, key: &str) {
    until("a confirmed end", || async { world.words.invalidate(key).await.is_ok() }).await;
}

/// Ends once `key` is served from near, as `value`.
pub async fn is_near(world: &World, key: &str, value: &str) {
    let near = format!("{value} near");
    until("it is served from near", || async {
        *world.read(key).await.unwrap() == value && world.has(key).await == near
    })
    .await;
}

fn run(path: &std::path::Path) -> Child {
    let mut command = Command::new("redis-server");
    command.arg(path).arg("--sentinel");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server is on PATH (Debian, Ubuntu: apt-get install redis-server)")
}
