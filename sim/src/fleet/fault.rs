//! What is done to a fleet and its server while they work.

use std::time::Duration;

use super::Scene;
use crate::chance::Chance;

/// One kind of trouble, again and again for as long as a run lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    KillServer,
    StopServer,
    KillProcess,
    StopProcess,
    ClientKill,
    ClientPause,
    ScriptFlush,
    FlushAll,
    Evict,
    Swallow,
    Snapshot,
    Failover,
    /// Any of them, one after the other.
    Mix,
}

/// What a mix is of.
const MIXED: [Fault; 12] = [
    Fault::KillServer,
    Fault::StopServer,
    Fault::KillProcess,
    Fault::StopProcess,
    Fault::ClientKill,
    Fault::ClientPause,
    Fault::ScriptFlush,
    Fault::FlushAll,
    Fault::Evict,
    Fault::Swallow,
    Fault::Snapshot,
    Fault::Failover,
];

pub(super) const ALL: [Fault; 13] = [
    Fault::None,
    Fault::KillServer,
    Fault::StopServer,
    Fault::KillProcess,
    Fault::StopProcess,
    Fault::ClientKill,
    Fault::ClientPause,
    Fault::ScriptFlush,
    Fault::FlushAll,
    Fault::Evict,
    Fault::Swallow,
    Fault::Snapshot,
    Fault::Failover,
];

impl Fault {
    pub(super) fn name(self) -> &'static str {
        match self {
            Fault::None => "none",
            Fault::KillServer => "kill-server",
            Fault::StopServer => "stop-server",
            Fault::KillProcess => "kill-process",
            Fault::StopProcess => "stop-process",
            Fault::ClientKill => "client-kill",
            Fault::ClientPause => "client-pause",
            Fault::ScriptFlush => "script-flush",
            Fault::FlushAll => "flushall",
            Fault::Evict => "evict",
            Fault::Swallow => "swallow",
            Fault::Snapshot => "snapshot",
            Fault::Failover => "failover",
            Fault::Mix => "mix",
        }
    }

    pub(super) fn is(self) -> &'static str {
        match self {
            Fault::None => "nothing is done",
            Fault::KillServer => "kill -9 of the server, back empty",
            Fault::StopServer => "SIGSTOP of the server, up to twice the bound",
            Fault::KillProcess => {
                "kill -9 of a process that loads, waits and writes; another takes its place"
            }
            Fault::StopProcess => "SIGSTOP of a process, up to twice the bound",
            Fault::ClientKill => "CLIENT KILL of every connection",
            Fault::ClientPause => "CLIENT PAUSE, of all commands or of writes",
            Fault::ScriptFlush => "SCRIPT FLUSH",
            Fault::FlushAll => "FLUSHALL",
            Fault::Evict => "tiny maxmemory with allkeys-random, and others who write",
            Fault::Swallow => {
                "what the server says to one process is swallowed, its connection lives"
            }
            Fault::Snapshot => "SAVE, then kill -9, and back with what was saved",
            Fault::Failover => "a replica that lacks the latest writes is promoted",
            Fault::Mix => {
                "any of these, one after the other; two processes live to the end, and their memory is told"
            }
        }
    }

    /// The server it is done to.
    pub(super) fn settings(self) -> &'static [&'static str] {
        match self {
            Fault::Evict | Fault::Mix => &["--maxmemory-policy", "allkeys-random"],
            _ => &[],
        }
    }

    /// Once; then it rests a while.
    pub(super) async fn strike(self, scene: &mut Scene, chance: &mut Chance) -> Result<(), String> {
        match self {
            Fault::None => {}
            Fault::KillServer => {
                scene.server.kill();
                tokio::time::sleep(chance.ms(0, 300)).await;
                scene.server.start_again()?;
            }
            Fault::StopServer => {
                super::server::signal(scene.server.id(), "-STOP");
                tokio::time::sleep(chance.ms(10, 2000)).await;
                super::server::signal(scene.server.id(), "-CONT");
            }
            Fault::KillProcess => {
                // In a mix the others live to the end.
                let at = if scene.is_mixed { 0 } else { chance.index(scene.workers.len()) };
                scene.replace(at).await?;
            }
            Fault::StopProcess => {
                let at = chance.index(scene.workers.len());
                let process = scene.workers[at].id();
                super::server::signal(process, "-STOP");
                tokio::time::sleep(chance.ms(10, 2000)).await;
                super::server::signal(process, "-CONT");
            }
            Fault::ClientKill => scene.server.tell("CLIENT KILL TYPE normal SKIPME yes"),
            Fault::ClientPause => {
                let kind = chance.one_of(&["ALL", "WRITE"]);
                scene.server.tell(&format!("CLIENT PAUSE {} {kind}", 10 + chance.below(1_500)));
            }
            Fault::ScriptFlush => scene.server.tell("SCRIPT FLUSH"),
            Fault::FlushAll => scene.server.tell("FLUSHALL"),
            Fault::Evict => crowd(scene, chance),
            Fault::Swallow => {
                let at = chance.index(scene.wires.len());
                scene.wires[at].swallow(true);
                tokio::time::sleep(chance.ms(10, 2000)).await;
                // What was lost in the middle of an answer cannot be mended.
                scene.wires[at].cut();
                scene.wires[at].swallow(false);
            }
            Fault::Snapshot => {
                scene.server.tell("SAVE");
                tokio::time::sleep(chance.ms(20, 400)).await;
                scene.server.start_again()?;
            }
            Fault::Failover => scene.fail_over(chance.ms(20, 400)).await,
            Fault::Mix => return Box::pin(chance.one_of(&MIXED).strike(scene, chance)).await,
        }
        Ok(())
    }

    pub(super) fn rests(self, chance: &mut Chance) -> Duration {
        match self {
            Fault::Evict | Fault::ScriptFlush | Fault::FlushAll => chance.ms(5, 60),
            Fault::ClientKill => chance.ms(20, 300),
            _ => chance.ms(200, 900),
        }
    }
}

/// Others write to the same server: each that comes takes a random one's place.
fn crowd(scene: &Scene, chance: &mut Chance) {
    let Ok(mut connection) = scene.server.connection() else { return };
    let mut others = redis::pipe();
    for _ in 0..300 {
        let name = format!("other:{}", chance.below(4_000));
        others.cmd("SET").arg(name).arg("x".repeat(1000)).ignore();
    }
    // Refused when there is nothing left to evict: it is full all the same.
    let _: Result<(), _> = others.query(&mut connection);
}
