//! A Redis of the test's own, on a free port.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use redis::{Client, Cmd, Commands, Connection, FromRedisValue};

use super::{Directory, signal, until};

/// One `redis-server`. Killed when dropped.
pub(crate) struct Redis {
    server: Child,
    port: u16,
    password: Option<&'static str>,
    /// Used if there are papers.
    tls_port: u16,
    /// Where the server's certificates are, if it has any.
    papers: Option<PathBuf>,
    directory: Directory,
}

impl Redis {
    pub(crate) fn start() -> Redis {
        Redis::start_with(None)
    }

    /// One that has a port for TLS too: its `ca.pem`, `server.pem` and `server.key` are in `papers`, and it
    /// asks for a certificate of the same authority.
    pub(crate) fn start_over_tls(papers: &Path) -> Redis {
        Redis::start_as(None, Some(papers.to_owned()))
    }

    /// One that asks for a password.
    pub(crate) fn start_with(password: Option<&'static str>) -> Redis {
        Redis::start_as(password, None)
    }

    fn start_as(password: Option<&'static str>, papers: Option<PathBuf>) -> Redis {
        loop {
            let directory = Directory::new();
            let [port, tls_port] = free_ports();
            let server = spawn(port, password, tls_port, papers.as_deref(), &directory);
            let papers = papers.clone();
            let mut redis = Redis { server, port, password, tls_port, papers, directory };
            // Somebody may have taken the port between our asking and Redis' listening.
            if redis.is_up() {
                return redis;
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        let password = self.password.map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{password}127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}/0", self.tls_port)
    }

    /// At once, as when the machine dies.
    pub(crate) fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// Again, on the same port, and empty.
    pub(crate) fn restart(&mut self) {
        self.server =
            spawn(self.port, self.password, self.tls_port, self.papers.as_deref(), &self.directory);
        assert!(self.is_up());
    }

    /// It still has its connections, and answers nothing.
    pub(crate) fn freeze(&self) {
        signal("STOP", self.server.id());
    }

    pub(crate) fn thaw(&self) {
        signal("CONT", self.server.id());
    }

    /// From now on it does as it is told.
    pub(crate) fn set(&self, setting: &str, value: &str) {
        let mut connection = self.connection().unwrap();
        redis::cmd("CONFIG").arg("SET").arg(setting).arg(value).exec(&mut connection).unwrap();
    }

    /// What it says to a command.
    pub(crate) fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = Cmd::new();
        command.arg(words);
        command.query(&mut self.connection().unwrap()).unwrap()
    }

    /// Every key, and how many milliseconds it has to live; -1: for ever.
    pub(crate) fn keys(&self) -> Vec<(String, i64)> {
        let mut connection = self.connection().unwrap();
        let names: Vec<Vec<u8>> = connection.scan().unwrap().map(Result::unwrap).collect();
        let lives = |name: Vec<u8>| {
            let ms: i64 = connection.pttl(&name).unwrap();
            (String::from_utf8_lossy(&name).into_owned(), ms)
        };
        names.into_iter().map(lives).collect()
    }

    fn connection(&self) -> redis::RedisResult<Connection> {
        Client::open(self.url())?.get_connection()
    }

    /// Waits until it answers; false if it ended.
    fn is_up(&mut self) -> bool {
        let mut lives = true;
        until("redis answers", || {
            lives = self.server.try_wait().unwrap().is_none();
            !lives || self.connection().is_ok_and(|mut redis| redis.ping::<String>().is_ok())
        });
        lives
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Both held before either is let go, so that they are two.
fn free_ports() -> [u16; 2] {
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|held| held.local_addr().unwrap().port())
}

fn spawn(
    port: u16,
    password: Option<&str>,
    tls_port: u16,
    papers: Option<&Path>,
    directory: &Directory,
) -> Child {
    let mut server = Command::new("redis-server");
    server.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    server.args(["--save", "", "--appendonly", "no"]).arg("--dir").arg(directory.path());
    if let Some(password) = password {
        server.args(["--requirepass", password]);
    }
    if let Some(papers) = papers {
        server.args(["--tls-port", &tls_port.to_string()]);
        server.arg("--tls-ca-cert-file").arg(papers.join("ca.pem"));
        server.arg("--tls-cert-file").arg(papers.join("server.pem"));
        server.arg("--tls-key-file").arg(papers.join("server.key"));
    }
    server.stdout(Stdio::null()).spawn().unwrap_or_else(|why| {
        panic!("cannot run redis-server: {why}; install Redis 7.0 or newer (apt-get install redis-server)")
    })
}
