//! Real processes on a real server, under each fault by itself: what they did is written down, and judged
//! when they are done.
//!
//! The fleet is this program, started again as [`worker`]; each process reaches the server over a [`wire`] of
//! its own. The source of truth is a second server, which nobody disturbs. `cargo xtask sim fleet`.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fault::{ALL, Fault};
use judge::{HEADER, History, Verdict, judge};
use record::Record;
use server::Server;
use wire::Wire;

use crate::chance::Chance;

mod fault;
mod judge;
mod record;
mod server;
mod wire;
mod worker;

const PROCESSES: usize = 3;
const TASKS: usize = 6;
const KEYS: usize = 12;
/// The bound of a handle, unless it is set.
const BOUND: Duration = Duration::from_secs(1);
const LEASE_MS: u64 = 600;
/// How often a holder of a lease is killed, to see how long others wait.
const TAKEOVERS: usize = 5;

const HELP: &str = "\
cargo xtask sim fleet [--fault NAME] [--seconds N] [--seed S]

Real processes on a real redis-server, under each fault for N seconds (5), or under one.
";

/// What is being run.
struct Wanted {
    faults: Vec<Fault>,
    time: Duration,
    seed: u64,
}

/// The door of `sim fleet`.
pub(crate) fn run(words: &[String]) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some(wanted) = wanted(&words) else {
        eprint!("{HELP}");
        for fault in ALL.into_iter().chain([Fault::Mix]) {
            eprintln!("  {:<14} {}", fault.name(), fault.is());
        }
        return ExitCode::FAILURE;
    };
    match with_runtime(all(&wanted)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("sim fleet: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The door of a process of the fleet.
pub(crate) fn run_worker(words: &[String]) -> ExitCode {
    match worker::run(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("a process of the fleet: {why}");
            ExitCode::FAILURE
        }
    }
}

fn wanted(words: &[&str]) -> Option<Wanted> {
    let mut wanted = Wanted { faults: ALL.to_vec(), time: Duration::from_secs(5), seed: 1 };
    let mut pairs = words.chunks_exact(2);
    for pair in &mut pairs {
        match pair {
            ["--fault", name] => {
                let mut all = ALL.into_iter().chain([Fault::Mix]);
                wanted.faults = vec![all.find(|fault| fault.name() == *name)?];
            }
            ["--seconds", count] => wanted.time = Duration::from_secs(count.parse().ok()?),
            ["--seed", seed] => wanted.seed = seed.parse().ok()?,
            _ => return None,
        }
    }
    pairs.remainder().is_empty().then_some(wanted)
}

fn with_runtime<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.map_err(|why| why.to_string())?.block_on(work)
}

async fn all(wanted: &Wanted) -> Result<bool, String> {
    println!(
        "{PROCESSES} processes of {TASKS} tasks over {KEYS} keys, bound {BOUND:?}, seed {}",
        wanted.seed
    );
    println!("{:<14}{}", "", HEADER.replace('\n', "\n              "));
    let mut right = true;
    for fault in &wanted.faults {
        let verdict = under(*fault, wanted).await?;
        let mark = if verdict.is_right() { "" } else { "   WRONG" };
        println!("{:<14}{verdict}{mark}", fault.name());
        for story in verdict.stories() {
            println!("    {story}");
        }
        right &= verdict.is_right() && verdict.reads > 0;
    }
    let worst = takeovers().await?;
    // The lease, and time enough for a busy machine.
    right &= worst < 2 * LEASE_MS;
    println!(
        "a lease of {LEASE_MS} ms whose holder is killed: the next load began {worst} ms after the kill, the worst of {TAKEOVERS}"
    );
    println!("{}", if right { "nothing that was ruled out" } else { "WRONG" });
    Ok(right)
}

/// The fleet under one fault, from its start to its judgement.
async fn under(fault: Fault, wanted: &Wanted) -> Result<Verdict, String> {
    let mut scene = Scene::set(fault, wanted.seed).await?;
    let mut chance = Chance::of(wanted.seed, 1_000);
    let began = Instant::now();
    let mut memory = Memory::default();
    while began.elapsed() < wanted.time {
        fault.strike(&mut scene, &mut chance).await?;
        tokio::time::sleep(fault.rests(&mut chance)).await;
        memory.look(&scene.workers[1..], began.elapsed().as_secs_f64() / wanted.time.as_secs_f64());
    }
    if fault == Fault::Mix {
        println!("    {memory}");
    }
    scene.histories().map(|histories| judge(&histories, KEYS, BOUND))
}

/// A fleet and its servers.
struct Scene {
    server: Server,
    replica: Option<Server>,
    source: Server,
    wires: Vec<Wire>,
    workers: Vec<Worker>,
    /// What those did that were killed.
    gone: Vec<History>,
    seed: u64,
    is_mixed: bool,
}

/// What the processes take that live to the end, in KiB: the most in each tenth of the time.
#[derive(Default)]
struct Memory([u64; 10]);

impl Memory {
    fn look(&mut self, workers: &[Worker], share: f64) {
        let tenth = ((share * 10.0) as usize).min(9);
        for kib in workers.iter().filter_map(Worker::resident_kib) {
            self.0[tenth] = self.0[tenth].max(kib);
        }
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "memory of the two that lived, the larger, MiB, by tenths of the time:")?;
        self.0.iter().try_for_each(|kib| write!(f, " {:.1}", *kib as f64 / 1024.0))
    }
}

impl Scene {
    async fn set(fault: Fault, seed: u64) -> Result<Scene, String> {
        let (server, source) = (Server::start(fault.settings())?, Server::start(&[])?);
        if matches!(fault, Fault::Evict | Fault::Mix) {
            let limit = server.info("used_memory").unwrap_or(0) + (4 << 20);
            server.tell(&format!("CONFIG SET maxmemory {limit}"));
        }
        let replica = match fault {
            Fault::Failover | Fault::Mix => {
                let replica = Server::start(fault.settings())?;
                replica.tell(&format!("REPLICAOF 127.0.0.1 {}", server.port));
                Some(replica)
            }
            _ => None,
        };
        let (wires, workers, gone) = (Vec::new(), Vec::new(), Vec::new());
        let is_mixed = fault == Fault::Mix;
        let mut scene = Scene { server, replica, source, wires, workers, gone, seed, is_mixed };
        for _ in 0..PROCESSES {
            scene.wires.push(Wire::to(scene.server.port).await?);
        }
        for at in 0..PROCESSES {
            let worker = scene.worker(at, "traffic")?;
            scene.workers.push(worker);
        }
        Ok(scene)
    }

    fn worker(&mut self, wire: usize, does: &str) -> Result<Worker, String> {
        self.seed += 1;
        Worker::start(&self.wires[wire].url(), &self.source.url(), self.seed, does)
    }

    /// As `kill -9`, and another in its place.
    async fn replace(&mut self, at: usize) -> Result<(), String> {
        let other = self.worker(at, "traffic")?;
        let killed = std::mem::replace(&mut self.workers[at], other);
        self.gone.push(killed.kill()?);
        Ok(())
    }

    /// The replica hears no more of the primary, which goes on for `lag`; then the fleet is led to the replica.
    async fn fail_over(&mut self, lag: Duration) {
        let Some(mut replica) = self.replica.take() else { return };
        replica.tell("REPLICAOF NO ONE");
        tokio::time::sleep(lag).await;
        self.wires.iter().for_each(|wire| wire.lead_to(replica.port));
        std::mem::swap(&mut replica, &mut self.server);
        replica.tell(&format!("REPLICAOF 127.0.0.1 {}", self.server.port));
        self.replica = Some(replica);
    }

    fn histories(self) -> Result<Vec<History>, String> {
        let mut histories = self.gone;
        for worker in self.workers {
            histories.push(worker.kill()?);
        }
        Ok(histories)
    }
}

/// A process of the fleet, and what it has said so far.
struct Worker {
    child: Child,
    _stdin: Option<ChildStdin>,
    heard: Option<JoinHandle<History>>,
}

impl Worker {
    fn start(redis: &str, source: &str, seed: u64, does: &str) -> Result<Worker, String> {
        let program = std::env::current_exe().map_err(|why| why.to_string())?;
        let mut command = Command::new(program);
        command.arg("fleet-worker").args(["redis", redis, "source", source, "does", does]);
        for (name, number) in
            [("keys", KEYS as u64), ("tasks", TASKS as u64), ("seed", seed), ("lease_ms", LEASE_MS)]
        {
            command.args([name, &number.to_string()]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|why| format!("a process of the fleet: {why}"))?;
        let stdin = child.stdin.take();
        let out = child.stdout.take().ok_or("a process of the fleet has no output")?;
        let heard = std::thread::spawn(move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            // The last line of one that was killed may be cut off.
            lines.filter_map(|line| line.parse::<Record>().ok()).collect()
        });
        Ok(Worker { child, _stdin: stdin, heard: Some(heard) })
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it takes of the machine's memory.
    fn resident_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        kib.trim().strip_suffix(" kB")?.parse().ok()
    }

    fn kill(mut self) -> Result<History, String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("a process of the fleet ended by itself: {status}"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let heard = self.heard.take().map(JoinHandle::join);
        heard.and_then(Result::ok).ok_or_else(|| "what a process did was not heard".to_owned())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The longest, in milliseconds, that a key had no loader after its loader was killed.
async fn takeovers() -> Result<u64, String> {
    let mut worst = 0;
    for _ in 0..TAKEOVERS {
        let (server, source) = (Server::start(&[])?, Server::start(&[])?);
        let start = |does| Worker::start(&server.url(), &source.url(), 1, does);
        let holder = start("hold")?;
        until("a lease", || has_keys(&server)).await?;
        let waiter = start("wait")?;
        // It has asked for the lease when its scripts have run; a moment more does no harm.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let killed_at = worker::now_us();
        holder.kill()?;
        tokio::time::sleep(Duration::from_millis(3 * LEASE_MS)).await;
        let history = waiter.kill()?;
        let loaded = history.iter().find_map(|record| match record {
            Record::Loaded { at, .. } => Some(*at),
            _ => None,
        });
        let loaded = loaded.ok_or("a loader that was killed was never replaced")?;
        worst = worst.max(loaded.saturating_sub(killed_at) / 1000);
    }
    Ok(worst)
}

fn has_keys(server: &Server) -> bool {
    let size = || redis::cmd("DBSIZE").query::<u64>(&mut server.connection().ok()?).ok();
    size().is_some_and(|size| size > 0)
}

async fn until(what: &str, is: impl Fn() -> bool) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        if is() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err(format!("waited in vain for {what}"))
}
