//! A `redis-server` of the benchmark's own: on a free port, keeping nothing on disk, gone with its owner.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// # Errors
    /// When `redis-server` is not on PATH, or does not come up.
    pub fn start() -> Outcome<Server> {
        // Another process may take a free port before the server does: then the next one.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let mut command = Command::new("redis-server");
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
            command.args(["--appendonly", "no", "--dir"]).arg(std::env::temp_dir());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            end_with_us(&mut command);
            let child =
                command.spawn().map_err(|why| format!("cannot start redis-server: {why}"))?;
            let mut server = Server { child, port };
            if server.comes_up()? {
                return Ok(server);
            }
        }
        Err("redis-server does not come up".into())
    }

    fn comes_up(&mut self) -> Outcome<bool> {
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            if self.answers() {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(false)
    }

    /// Only to its own name: who else took the port answers with another process id.
    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            socket.write_all(b"INFO server\r\n")?;
            let mut answer = [0; 4096];
            let length = socket.read(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
        };
        let own = format!("process_id:{}\r\n", self.child.id());
        ask().is_ok_and(|answer| answer.contains(&own))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// A connection that is nobody's.
    pub fn client(&self) -> Outcome<redis::Connection> {
        Ok(redis::Client::open(self.url())?.get_connection()?)
    }

    pub fn empty(&self) -> Outcome<()> {
        Ok(redis::cmd("FLUSHALL").query(&mut self.client()?)?)
    }

    /// What the server says its data takes.
    pub fn used_memory(&self) -> Outcome<i64> {
        let info: String = redis::cmd("INFO").arg("memory").query(&mut self.client()?)?;
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        Ok(line.ok_or("INFO memory tells no used_memory")?.trim().parse()?)
    }
}

/// Also when we are killed and drop nothing. Rows start their servers on the main thread, since it is the
/// thread's end that counts.
#[cfg(target_os = "linux")]
pub fn end_with_us(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    use rustix::process::{Signal, set_parent_process_death_signal};
    // SAFETY: between fork and exec it makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
    }
}

#[cfg(not(target_os = "linux"))]
pub fn end_with_us(_: &mut Command) {}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
