//! The workers of a process: begun together, drained together, stopped together.
//!
//! What a worker had in its hands when it is stopped is lost for it alone: the queue has it, and the next worker
//! takes it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// All workers of one handle.
#[derive(Default)]
pub(crate) struct Crew {
    /// `None` once there will be no more. Locked to begin one.
    tasks: Mutex<Tasks>,
    state: Arc<State>,
}

#[derive(Default)]
struct Tasks {
    running: JoinSet<()>,
    are_over: bool,
}

#[derive(Default)]
struct State {
    /// Those that have not come to their end.
    working: AtomicUsize,
    drains: watch::Sender<bool>,
    drains_now: AtomicBool,
}

/// One worker's tie to the others.
pub(crate) struct Member {
    state: Arc<State>,
    drains: watch::Receiver<bool>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.state.working.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Member {
    /// Whether it is to end when nothing waits.
    pub(super) fn drains(&self) -> bool {
        self.state.drains_now.load(Ordering::Acquire)
    }

    /// Ends when it is from now on.
    pub(super) async fn told_to_drain(&self) {
        let mut drains = self.drains.clone();
        if drains.wait_for(|drains| *drains).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Crew {
    /// Begins a worker; false when there will be no more.
    pub(crate) fn begin<F>(&self, runtime: &Handle, work: impl FnOnce(Member) -> F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = self.tasks.lock();
        if tasks.are_over || self.state.drains_now.load(Ordering::Acquire) {
            return false;
        }
        self.state.working.fetch_add(1, Ordering::AcqRel);
        let member = Member { state: self.state.clone(), drains: self.state.drains.subscribe() };
        tasks.running.spawn_on(work(member), runtime);
        true
    }

    /// Each ends when it has nothing to do any more.
    pub(crate) fn drain(&self) {
        self.state.drains_now.store(true, Ordering::Release);
        self.state.drains.send_replace(true);
    }

    /// Whether some are at it still.
    pub(crate) fn work(&self) -> bool {
        self.state.working.load(Ordering::Acquire) > 0
    }

    /// Ends all now.
    pub(crate) fn stop(&self) {
        let mut tasks = self.tasks.lock();
        tasks.are_over = true;
        tasks.running.abort_all();
    }
}
