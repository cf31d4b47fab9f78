//! A `redis-server` of the test's own: on a free port, in a folder of its own, gone with the test.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

static SERVERS: AtomicUsize = AtomicUsize::new(0);

pub struct Server {
    child: Child,
    port: u16,
    folder: PathBuf,
    settings: Vec<String>,
}

impl Server {
    pub fn start() -> Server {
        Server::with(&[])
    }

    /// `settings` as on the command line: `["--requirepass", "secret"]`. `{free}` stands for a port that is
    /// free, `{folder}` for the server's own folder.
    pub fn with(settings: &[&str]) -> Server {
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("larder-test-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let settings: Vec<String> = settings.iter().map(|word| (*word).to_owned()).collect();
        // Another process may take a free port before the server does: then the next one.
        for _ in 0..20 {
            let port = free_port();
            if let Some(child) = launch(port, &folder, &settings) {
                return Server { child, port, folder, settings };
            }
        }
        panic!(
            "redis-server did not start: is it on PATH? (Debian, Ubuntu: apt-get install redis-server)"
        );
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// That of `--tls-port`.
    pub fn tls_port(&self) -> u16 {
        let (_, port): (String, u16) = self.ask("CONFIG GET tls-port");
        port
    }

    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// What the server calls each connection of larder's, and the rest it says of it, in order.
    pub fn larders(&self) -> Vec<String> {
        let list: String = self.ask("CLIENT LIST");
        let mut named: Vec<String> = list
            .lines()
            .filter_map(|line| Some(line[line.find("name=larder:")? + 5..].to_owned()))
            .collect();
        named.sort();
        named
    }

    /// What was refused since the server began.
    pub fn refusals(&self) -> Vec<String> {
        let log: Vec<std::collections::HashMap<String, redis::Value>> = self.ask("ACL LOG");
        let word = |entry: &std::collections::HashMap<String, redis::Value>, field: &str| {
            redis::from_redis_value_ref::<String>(&entry[field]).unwrap()
        };
        log.iter()
            .map(|entry| format!("{} {}", word(entry, "reason"), word(entry, "object")))
            .collect()
    }

    /// How many connections were ever made.
    pub fn connections(&self) -> u64 {
        let info: String = self.ask("INFO stats");
        let made = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        made.unwrap().parse().unwrap()
    }

    /// Ends all connections but the one that asks.
    pub fn hangs_up(&self) {
        let _: i64 = self.ask("CLIENT KILL TYPE normal");
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// On the same port, and empty.
    pub fn start_again(&mut self) {
        self.kill();
        let started = (0..50).find_map(|_| launch(self.port, &self.folder, &self.settings));
        self.child = started.expect("redis-server does not come back on its port");
    }

    /// Stops answering and keeps its connections, until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        super::process::signal(self.child.id(), signal);
    }

    /// A connection that is nobody's: what redis-cli would do.
    pub fn client(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    /// One command, as text: `server.ask("GET key")`. Words stand apart by spaces.
    pub fn ask<T: redis::FromRedisValue>(&self, command: &str) -> T {
        asked(&mut self.client(), command)
    }

    /// As [`ask`](Self::ask), where a password is required.
    pub fn ask_as<T: redis::FromRedisValue>(&self, password: &str, command: &str) -> T {
        let url = format!("redis://:{password}@127.0.0.1:{}", self.port);
        asked(&mut redis::Client::open(url).unwrap().get_connection().unwrap(), command)
    }

    /// All keys, in order.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<Vec<u8>> = self.ask("KEYS *");
        keys.sort();
        keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    /// How often the server ran a command since its statistics were last reset.
    pub fn calls(&self, command: &str) -> u64 {
        let info: String = self.ask("INFO commandstats");
        let start = format!("cmdstat_{}:calls=", command.to_lowercase());
        let line = info.lines().find_map(|line| line.strip_prefix(start.as_str()));
        line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
    }

    /// How many clients are connected, this question not counted.
    pub fn clients(&self) -> usize {
        let list: String = self.ask("CLIENT LIST");
        list.lines().filter(|line| !line.contains("cmd=client|list")).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.resume();
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn asked<T: redis::FromRedisValue>(client: &mut redis::Connection, command: &str) -> T {
    let mut words = command.split_whitespace();
    let mut cmd = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        cmd.arg(word);
    });
    cmd.query(client).unwrap()
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `None` when it ended instead of answering.
fn launch(port: u16, folder: &PathBuf, settings: &[String]) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(folder);
    for word in settings {
        let word = word.replace("{folder}", &folder.display().to_string());
        match word.contains("{free}") {
            true => command.arg(word.replace("{free}", &free_port().to_string())),
            false => command.arg(word),
        };
    }
    // Written once the port is its own: another test's server may answer there before ours has failed.
    let pid = folder.join("pid");
    let _ = std::fs::remove_file(&pid);
    command.arg("--pidfile").arg(&pid);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if pid.exists() && answers_with(port, Duration::from_secs(1)) {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// Whether a server answers there within `patience`.
pub fn answers_with(port: u16, patience: Duration) -> bool {
    use std::io::{Read, Write};
    let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = socket.set_read_timeout(Some(patience));
    let mut start = [0; 5];
    // A server that asks for a password answers too.
    socket.write_all(b"PING\r\n").is_ok()
        && socket.read_exact(&mut start).is_ok()
        && (start.starts_with(b"+PONG") || start.starts_with(b"-NOAU"))
}
