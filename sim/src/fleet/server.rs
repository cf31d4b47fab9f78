//! A `redis-server` that is ours to kill: on a free port, in a folder of its own, gone with its owner.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

static SERVERS: AtomicUsize = AtomicUsize::new(0);
const START_WAIT: Duration = Duration::from_secs(10);

pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
    folder: PathBuf,
    settings: Vec<String>,
}

impl Server {
    pub(super) fn start(settings: &[&str]) -> Result<Server, String> {
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("larder-sim-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        let settings: Vec<String> = settings.iter().map(|word| (*word).to_owned()).collect();
        // Another may take a free port before the server does: then the next one.
        for _ in 0..20 {
            let port = free_port()?;
            if let Some(child) = launch(port, &folder, &settings)? {
                return Ok(Server { child, port, folder, settings });
            }
        }
        Err("redis-server does not start on any port".to_owned())
    }

    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// On the same port, with what its folder holds of it.
    pub(super) fn start_again(&mut self) -> Result<(), String> {
        self.kill();
        for _ in 0..50 {
            if let Some(child) = launch(self.port, &self.folder, &self.settings)? {
                self.child = child;
                return Ok(());
            }
        }
        Err("redis-server does not come back on its port".to_owned())
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// One command, its words parted by spaces; what it answers is nobody's business.
    pub(super) fn tell(&self, command: &str) {
        let mut words = command.split(' ');
        let mut call = redis::cmd(words.next().unwrap_or_default());
        call.arg(words.collect::<Vec<_>>());
        if let Ok(mut connection) = self.connection() {
            let _: Result<redis::Value, _> = call.query(&mut connection);
        }
    }

    pub(super) fn connection(&self) -> Result<redis::Connection, String> {
        let client = redis::Client::open(self.url()).map_err(|why| why.to_string())?;
        let wait = Duration::from_secs(5);
        client.get_connection_with_timeout(wait).map_err(|why| why.to_string())
    }

    pub(super) fn info(&self, field: &str) -> Option<u64> {
        let info: String = redis::cmd("INFO").query(&mut self.connection().ok()?).ok()?;
        info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.parse().ok())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> Result<u16, String> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    port.map(|address| address.port()).map_err(|why| why.to_string())
}

/// `None`: it ended at once, as it does when its port was taken.
fn launch(port: u16, folder: &PathBuf, settings: &[String]) -> Result<Option<Child>, String> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--appendonly", "no"]);
    command.args(["--save", ""]).arg("--dir").arg(folder).args(settings);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|why| {
        format!("cannot start redis-server: {why} (Debian, Ubuntu: apt-get install redis-server)")
    })?;
    let until = Instant::now() + START_WAIT;
    while Instant::now() < until {
        if let Ok(Some(_)) = child.try_wait() {
            return Ok(None);
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() && pong(port) {
            return Ok(Some(child));
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    Ok(None)
}

/// Whether it has loaded what it begins with.
fn pong(port: u16) -> bool {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}/0"));
    let connection = client.and_then(|client| client.get_connection());
    connection
        .is_ok_and(|mut connection| redis::cmd("PING").query::<String>(&mut connection).is_ok())
}

/// As `kill` with this signal.
pub(super) fn signal(process: u32, signal: &str) {
    let _ = Command::new("kill").args([signal, &process.to_string()]).status();
}
