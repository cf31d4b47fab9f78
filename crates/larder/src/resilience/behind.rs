//! What goes on without its caller, and never too much of it.
//!
//! An invalidation under way, a put, a lease that is given back: each runs to its end in a task of its own,
//! also when its caller has hung up. Callers that come and go faster than the server answers would leave any
//! number of them behind, so each needs [`Room`] first, and does something else where there is none.
//!
//! Each task ends with its answer or its deadline; what is lost with the process is said by those who begin it.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

/// How many there are at once in a process: a few megabytes of tasks.
pub(crate) const BEHIND_MAX: usize = 16_384;

/// How many writes go on at once in a process, each with its own sink: as many calls to a database as nobody means.
pub(crate) const WRITES_MAX: usize = 4_096;

/// Begins them.
pub(crate) struct Behind {
    free: Arc<Semaphore>,
    runtime: Handle,
}

/// For one more.
pub(crate) struct Room<'a> {
    one: OwnedSemaphorePermit,
    runtime: &'a Handle,
}

impl Behind {
    pub(crate) fn new(most: usize, runtime: Handle) -> Arc<Behind> {
        Arc::new(Behind { free: Arc::new(Semaphore::new(most)), runtime })
    }

    /// `None`: as many as may are under way.
    pub(crate) fn room(&self) -> Option<Room<'_>> {
        let one = self.free.clone().try_acquire_owned().ok()?;
        Some(Room { one, runtime: &self.runtime })
    }
}

impl Room<'_> {
    /// Runs `task` to its end.
    pub(crate) fn run<T: Send + 'static>(
        self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let Room { one, runtime } = self;
        runtime.spawn(async move {
            let answer = task.await;
            drop(one);
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_is_room_again_when_one_has_ended_however_it_ended() {
        let behind = Behind::new(2, Handle::current());
        let ends = behind.room().unwrap().run(async { 1 });
        let panics = behind.room().unwrap().run(async { panic!("on purpose") });
        assert!(behind.room().is_none());
        assert_eq!(ends.await.unwrap(), 1);
        let _: () = panics.await.unwrap_err().try_into_panic().map(drop).unwrap();
        let hangs = behind.room().unwrap().run(std::future::pending::<()>());
        let unused = behind.room();
        assert!(unused.is_some() && behind.room().is_none());
        drop(unused);
        assert!(behind.room().is_some());
        hangs.abort();
        assert!(hangs.await.unwrap_err().is_cancelled());
        assert!(behind.room().is_some() && behind.free.available_permits() == 2);
    }
}
