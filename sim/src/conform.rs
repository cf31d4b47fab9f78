//! The embedded far side, on which everything here stands, answers as a real Redis does.
//!
//! The same random steps go to both, and every answer and every change told is compared: see
//! `larder::contract`. The server is our own, on a free port, and gone when we are done.

use std::env;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;

/// What is run when nothing else is said.
pub(crate) const STEPS: u64 = 100_000;
/// So many under one seed: then two new processes begin.
const STEPS_A_SEED: u64 = 2_000;
/// How long the server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

struct Server {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn start() -> Result<Server, String> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let port = port.map_err(|why| format!("no free port: {why}"))?.port();
    let folder = env::temp_dir().join(format!("larder-sim-{}", std::process::id()));
    fs::create_dir_all(&folder)
        .map_err(|why| format!("cannot make {}: {why}", folder.display()))?;
    let child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .arg("--dir")
        .arg(&folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|why| {
            format!("cannot run redis-server: {why} (Debian, Ubuntu: apt-get install redis-server)")
        })?;
    let server = Server { child, port, folder };
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > until {
            return Err("redis-server does not listen".to_owned());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(server)
}

/// Takes `steps` steps on both. What differs ends it, with the seed and the last steps.
pub(crate) fn run(steps: u64) -> ExitCode {
    let begun = Instant::now();
    let server = match start() {
        Ok(server) => server,
        Err(why) => {
            eprintln!("sim: {why}");
            return ExitCode::FAILURE;
        }
    };
    let url = format!("redis://127.0.0.1:{}/0", server.port);
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("sim: no runtime: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut left = steps;
    for seed in 1.. {
        let now = left.min(STEPS_A_SEED);
        if now == 0 {
            break;
        }
        let Ok(steps) = usize::try_from(now) else { break };
        runtime.block_on(larder::contract::conforms(&url, seed, steps));
        left -= now;
    }
    let seconds = begun.elapsed().as_secs_f32();
    println!("sim: {steps} steps, answered alike by redis and in memory; {seconds:.1} s");
    ExitCode::SUCCESS
}
