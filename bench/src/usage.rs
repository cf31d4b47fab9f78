//! What the process took: processor time, and the clock that all processes of a machine share.

use std::collections::HashSet;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

use crate::Outcome;

/// Processor time of this process so far, user and system.
pub fn cpu() -> Duration {
    moment(ClockId::ProcessCPUTime)
}

/// Processor time of this thread so far: a turn that the scheduler gave to others is not in it.
pub fn own_cpu() -> Duration {
    moment(ClockId::ThreadCPUTime)
}

/// The same instant in every process of this machine.
pub fn shared_now() -> Duration {
    moment(ClockId::Monotonic)
}

fn moment(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Processor time of another process and of all that descend from it, so far, user and system. The
/// kernel tells it in hundredths of a second.
pub fn cpu_of(id: u32) -> Outcome<Duration> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        // One that ended meanwhile is none.
        let stat = std::fs::read_to_string(entry?.path().join("stat"));
        all.extend(stat.ok().and_then(|stat| Taken::of(&stat)));
    }
    let mut family = HashSet::from([id]);
    let mut known = 0;
    while known < family.len() {
        known = family.len();
        let children = all.iter().filter(|one| family.contains(&one.parent)).map(|one| one.id);
        let children: Vec<u32> = children.collect();
        family.extend(children);
    }
    let ticks: u64 = all.iter().filter(|one| family.contains(&one.id)).map(|one| one.ticks).sum();
    Ok(Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
}

/// What a process took, as `/proc` tells it.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    id: u32,
    parent: u32,
    ticks: u64,
}

impl Taken {
    /// The name of the program may hold anything, but no line has a bracket after it.
    fn of(stat: &str) -> Option<Taken> {
        let id = stat.split(' ').next()?.parse().ok()?;
        let words: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| words.get(at)?.parse::<u64>().ok();
        let parent = words.get(1)?.parse().ok()?;
        Some(Taken { id, parent, ticks: number(11)? + number(12)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_took_is_read_whatever_its_name() {
        let stat = "77 (a ) b) S 5 77 77 0 -1 4194560 1 2 3 4 130 20 9 9 20 0 1 0 55 1000 10";
        assert_eq!(Taken::of(stat), Some(Taken { id: 77, parent: 5, ticks: 150 }));
        assert_eq!(Taken::of("77 (sh"), None);
    }

    #[test]
    fn what_this_process_took_is_told_of_it_from_outside() {
        let took = cpu_of(std::process::id());
        assert!(took.is_ok_and(|took| took <= cpu() + Duration::from_millis(20)));
    }
}
