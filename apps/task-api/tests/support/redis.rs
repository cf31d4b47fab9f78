//! A Redis of the test's own, on a free port.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use redis::{Client, Commands, Connection};

use super::{Directory, signal, until};

/// One `redis-server`. Killed when dropped.
pub(crate) struct Redis {
    server: Child,
    port: u16,
    password: Option<&'static str>,
    directory: Directory,
}

impl Redis {
    pub(crate) fn start() -> Redis {
        Redis::start_with(None)
    }

    /// One that asks for a password.
    pub(crate) fn start_with(password: Option<&'static str>) -> Redis {
        loop {
            let directory = Directory::new();
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let server = spawn(port, password, &directory);
            let mut redis = Redis { server, port, password, directory };
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

    /// At once, as when the machine dies.
    pub(crate) fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// Again, on the same port, and empty.
    pub(crate) fn restart(&mut self) {
        self.server = spawn(self.port, self.password, &self.directory);
        assert!(self.is_up());
    }

    /// It still has its connections, and answers nothing.
    pub(crate) fn freeze(&self) {
        signal("STOP", self.server.id());
    }

    pub(crate) fn thaw(&self) {
        signal("CONT", self.server.id());
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

fn spawn(port: u16, password: Option<&str>, directory: &Directory) -> Child {
    let mut server = Command::new("redis-server");
    server.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    server.args(["--save", "", "--appendonly", "no"]).arg("--dir").arg(directory.path());
    if let Some(password) = password {
        server.args(["--requirepass", password]);
    }
    server.stdout(Stdio::null()).spawn().unwrap_or_else(|why| {
        panic!("cannot run redis-server: {why}; install Redis 7.0 or newer (apt-get install redis-server)")
    })
}
