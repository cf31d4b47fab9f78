//! What the process took: processor time, and the clock that all processes of a machine share.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

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
