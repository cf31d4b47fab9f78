//! A MongoDB to test against, wherever one is to be had.
//!
//! Looked for in this order: the one that `MONGODB_URL` names; `mongod` on PATH; `ferretdb` 1.x on PATH;
//! and where there is Go, FerretDB built from `xtask/ferretdb`, once, and kept under the target folder.
//! What we start, we end, and its data goes with it; if we are killed, it ends too, and the next run
//! sweeps the data.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::tools::{command, output};
use data::Data;

mod data;
mod ferretdb;
mod one_at_a_time;
mod tied;
mod wire;

/// What to say where there is none.
pub(crate) const NOT_RUN: &str = "NOT RUN: MongoDB contract (set MONGODB_URL)";

/// How long a server may take until it answers.
const START_WAIT: Duration = Duration::from_secs(60);

/// A MongoDB that answers, until it is dropped.
pub(crate) struct Mongo {
    /// May hold a password.
    pub(crate) url: String,
    _server: Option<Server>,
}

/// Finds or starts one, and says which. None where there is none, after saying why.
pub(crate) fn find() -> Option<Mongo> {
    if let Ok(url) = env::var("MONGODB_URL")
        && !url.is_empty()
    {
        println!("test: MongoDB: the one that MONGODB_URL names");
        return Some(Mongo { url, _server: None });
    }
    for start in [mongod, ferretdb_on_path, ferretdb_by_go] {
        match start() {
            Ok(Some((shown, mongo))) => {
                println!("test: MongoDB: {shown}");
                return Some(mongo);
            }
            Ok(None) => {}
            Err(why) => println!("test: MongoDB: {why}"),
        }
    }
    println!("test: MongoDB: none is to be had: no mongod, no ferretdb 1.x, no Go 1.22 or newer");
    None
}

/// What was started, and how it is called; None if it is not there.
type Started = Result<Option<(String, Mongo)>, String>;

fn mongod() -> Started {
    let Some(version) = output(command("mongod", "--version")) else { return Ok(None) };
    let shown = version.lines().next().unwrap_or_default();
    let shown = format!("mongod {}", shown.trim_start_matches("db version "));
    let server = Server::start(|port, data| {
        let mut mongod = command("mongod", "--bind_ip 127.0.0.1 --quiet --logpath mongod.log");
        mongod.args(["--port", &port.to_string(), "--dbpath"]).arg(data).current_dir(data);
        mongod
    })?;
    let url = url(server.address);
    Ok(Some((shown, Mongo { url, _server: Some(server) })))
}

fn ferretdb_on_path() -> Started {
    let Some(version) = output(command("ferretdb", "--version")) else { return Ok(None) };
    let Some(version) = version.split_whitespace().find(|word| word.starts_with("v1.")) else {
        return Err("the ferretdb on PATH is not of version 1".to_owned());
    };
    let server = Server::start(|port, data| {
        let words = "--handler=sqlite --sqlite-url=file:./ --debug-addr=- --telemetry=disable";
        let mut ferretdb = command("ferretdb", words);
        ferretdb.arg(format!("--listen-addr=127.0.0.1:{port}")).current_dir(data);
        ferretdb
    })?;
    let url = url(one_at_a_time::relay(server.address).map_err(cannot_relay)?);
    Ok(Some((format!("ferretdb {version}"), Mongo { url, _server: Some(server) })))
}

fn ferretdb_by_go() -> Started {
    let Some(program) = ferretdb::program()? else { return Ok(None) };
    let server = Server::start_telling(|data| {
        let mut ferretdb = Command::new(&program);
        ferretdb.current_dir(data);
        ferretdb
    })?;
    let url = url(one_at_a_time::relay(server.address).map_err(cannot_relay)?);
    let shown = "FerretDB on SQLite, built from xtask/ferretdb".to_owned();
    Ok(Some((shown, Mongo { url, _server: Some(server) })))
}

fn url(address: SocketAddr) -> String {
    format!("mongodb://{address}/")
}

fn cannot_relay(why: std::io::Error) -> String {
    format!("cannot listen for FerretDB: {why}")
}

/// One server with its data. Killed when dropped; then its data is removed.
struct Server {
    child: Child,
    address: SocketAddr,
    _data: Data,
}

impl Server {
    /// On a free port, which `with` is given.
    fn start(with: impl Fn(u16, &Path) -> Command) -> Result<Server, String> {
        // Somebody may take the port between our asking and its listening.
        let mut last = String::new();
        for _ in 0..3 {
            let port = free_port().map_err(|why| format!("there is no free port: {why}"))?;
            let data = Data::new()?;
            let mut server = tied::tied(&with(port, &data.path));
            let child = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            match child.map_err(|why| why.to_string()) {
                Ok(child) => match (Server { child, address, _data: data }).answering() {
                    Ok(server) => return Ok(server),
                    Err(why) => last = why,
                },
                Err(why) => return Err(format!("it cannot be started: {why}")),
            }
        }
        Err(last)
    }

    /// On a port that it chooses, and tells on its first line.
    fn start_telling(with: impl Fn(&Path) -> Command) -> Result<Server, String> {
        let data = Data::new()?;
        // It ends when its standard input does: also when we are killed.
        let child = with(&data.path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let child = child.map_err(|why| format!("FerretDB cannot be started: {why}"))?;
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let mut server = Server { child, address, _data: data };
        let mut line = String::new();
        if let Some(out) = server.child.stdout.take() {
            let _ = BufReader::new(out).read_line(&mut line);
        }
        let told = line.trim().trim_start_matches("mongodb://").trim_end_matches('/');
        server.address =
            told.parse().map_err(|_| "FerretDB does not say where it listens".to_owned())?;
        server.answering()
    }

    /// Waits until it answers.
    fn answering(mut self) -> Result<Server, String> {
        let began = Instant::now();
        while began.elapsed() < START_WAIT {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended at its start, with {status}"));
            }
            if wire::answers(self.address) {
                return Ok(self);
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(format!("it does not answer after {START_WAIT:?}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        tied::end(&mut self.child);
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A folder beside what cargo builds.
fn kept(name: &str) -> Result<PathBuf, String> {
    let here = env::current_exe().map_err(|why| format!("cannot say where we are: {why}"))?;
    // <target>/debug/xtask
    let target = here.ancestors().nth(2).ok_or("there is no target folder")?;
    let folder = target.join(name);
    fs::create_dir_all(&folder).map_err(|why| format!("cannot make a folder: {why}"))?;
    Ok(folder)
}
