//! Which cores a server may use, and which who asks it.
//!
//! Servers differ in how many threads they need: Varnish holds one for each busy connection. Held to one
//! core each they have the same to work with, and none takes time from who asks. Where there is one core,
//! all share it.

use std::process::Command;

use crate::Outcome;

/// Of the cores that this process may use the last is the servers', the others are for who asks.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    Server,
    Asker,
}

/// Held to its side's cores from its first moment on, and its children with it.
#[cfg(target_os = "linux")]
pub fn hold(command: &mut Command, side: Side) -> Outcome<()> {
    use std::os::unix::process::CommandExt;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    let ours = sched_getaffinity(None)?;
    let Some(last) = (0..CpuSet::MAX_CPU).rev().find(|core| ours.is_set(*core)) else {
        return Ok(());
    };
    let mut cores = ours;
    match side {
        Side::Server => {
            cores.clear();
            cores.set(last);
        }
        Side::Asker if ours.count() > 1 => cores.unset(last),
        Side::Asker => {}
    }
    // SAFETY: between fork and exec it makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(move || Ok(sched_setaffinity(None, &cores)?));
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub fn hold(_: &mut Command, _: Side) -> Outcome<()> {
    Ok(())
}
