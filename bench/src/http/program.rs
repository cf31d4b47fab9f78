//! A server that is a program of its own: on a free port, with a folder of its own, gone with its owner.
//!
//! It leads a group of processes, so that its workers end with it even if it does not end them.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::cores::{Side, hold};
use super::{PATH, Server, get};
use crate::{Outcome, server};

pub struct Program {
    child: Child,
    port: u16,
    /// After the child: it goes when nobody writes there any more.
    _folder: Folder,
}

impl Program {
    /// `command` writes what it needs into the folder, and listens on the port.
    ///
    /// # Errors
    /// When it cannot be started, or does not answer with the page; with what it said.
    pub fn start(name: &str, command: impl Fn(&Path, u16) -> Outcome<Command>) -> Outcome<Program> {
        let mut said = String::new();
        // Another process may take a free port before the server does: then the next one.
        for _ in 0..3 {
            let folder = Folder::make(name)?;
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let mut command = command(&folder.0, port)?;
            let log = folder.0.join("said");
            let out = File::create(&log)?;
            command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).process_group(0);
            server::end_with_us(&mut command);
            hold(&mut command, Side::Server)?;
            let child = command.spawn().map_err(|why| format!("cannot start {name}: {why}"))?;
            let mut program = Program { child, port, _folder: folder };
            if program.comes_up()? {
                return Ok(program);
            }
            said = std::fs::read_to_string(&log).unwrap_or_default();
        }
        Err(format!("{name} does not come up: {said}").into())
    }

    fn comes_up(&mut self) -> Outcome<bool> {
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until && self.child.try_wait()?.is_none() {
            if get(self.port, PATH).is_ok_and(|answer| answer.is_ok()) {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(false)
    }

    fn ended_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Server for Program {
    fn port(&self) -> u16 {
        self.port
    }

    fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        let _ = kill_process_group(group, Signal::TERM);
        let ended = self.ended_within(Duration::from_secs(5));
        // Those of its workers that it left behind; mostly there are none.
        let _ = kill_process_group(group, Signal::KILL);
        if !ended {
            let _ = self.child.wait();
        }
    }
}

/// In memory where the system has such a place, and removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn make(name: &str) -> Outcome<Folder> {
        let shared = Path::new("/dev/shm");
        let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let folder = parent.join(format!("larder-bench-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Folder(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
