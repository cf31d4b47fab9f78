//! The parts that larder's own `sync.rs` names, made so that a scheduler may let another go first at each.
//!
//! Memory is that of one thread at a time: an order that is too weak for its use is not found here.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use shuttle::future::{JoinHandle, block_on};

pub(crate) mod atomic {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}

use atomic::{AtomicBool, Ordering};

/// Few, so that a sweep over all of them leaves steps for others; two, so that there is another one.
pub(crate) const SHARDS: usize = 2;
pub(crate) const STRIPES: usize = 2;

/// A lock, in the shape of `parking_lot`.
#[derive(Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
        // Poisoned: the scene has failed already, and says why.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Where the scheduler may let another go first. What comes behind it, to the next one, is one step: so
/// what others built (`std`, `tokio`) is taken for what it says it is, each call of it a step.
#[derive(Default)]
struct Step(AtomicBool);

impl Step {
    fn here(&self) {
        self.0.load(Ordering::SeqCst);
    }
}

pub(crate) struct OnceLock<T> {
    inner: std::sync::OnceLock<T>,
    step: Step,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> OnceLock<T> {
        OnceLock { inner: std::sync::OnceLock::new(), step: Step::default() }
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        self.step.here();
        self.inner.set(value)
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.step.here();
        self.inner.get()
    }
}

pub(crate) struct Notify {
    inner: tokio::sync::Notify,
    step: Step,
}

pub(crate) struct Notified<'a> {
    inner: Pin<Box<tokio::sync::futures::Notified<'a>>>,
    step: &'a Step,
}

impl Notify {
    pub(crate) fn new() -> Notify {
        Notify { inner: tokio::sync::Notify::new(), step: Step::default() }
    }

    pub(crate) fn notified(&self) -> Notified<'_> {
        self.step.here();
        Notified { inner: Box::pin(self.inner.notified()), step: &self.step }
    }

    pub(crate) fn notify_waiters(&self) {
        self.step.here();
        self.inner.notify_waiters();
    }
}

impl Notified<'_> {
    pub(crate) fn enable(self: Pin<&mut Self>) -> bool {
        self.step.here();
        self.get_mut().inner.as_mut().enable()
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.step.here();
        self.get_mut().inner.as_mut().poll(cx)
    }
}

pub(crate) mod watch {
    use super::{Arc, Step};
    use tokio::sync::watch;

    pub(crate) struct Sender<T> {
        inner: watch::Sender<T>,
        step: Arc<Step>,
    }

    pub(crate) struct Receiver<T> {
        inner: watch::Receiver<T>,
        step: Arc<Step>,
    }

    impl<T> Sender<T> {
        pub(crate) fn new(value: T) -> Sender<T> {
            Sender { inner: watch::Sender::new(value), step: Arc::default() }
        }

        pub(crate) fn subscribe(&self) -> Receiver<T> {
            self.step.here();
            Receiver { inner: self.inner.subscribe(), step: self.step.clone() }
        }

        pub(crate) fn send_modify(&self, modify: impl FnOnce(&mut T)) {
            self.step.here();
            self.inner.send_modify(modify);
        }

        pub(crate) fn send_replace(&self, value: T) -> T {
            self.step.here();
            self.inner.send_replace(value)
        }
    }

    impl<T> Receiver<T> {
        /// Is the sender gone?
        pub(crate) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
            self.step.here();
            self.inner.changed().await
        }

        pub(crate) async fn wait_for(
            &mut self,
            is: impl FnMut(&T) -> bool,
        ) -> Result<(), watch::error::RecvError> {
            self.step.here();
            self.inner.wait_for(is).await.map(drop)
        }
    }
}

shuttle::thread_local! {
    static DIES: Cell<bool> = Cell::new(false);
}

/// What never ends: the task that awaits it is dropped where it stands, as a runtime drops one that
/// panicked or was cut off. (A real panic would unwind through steps of the scheduler, to which the whole
/// scene has failed then.)
pub(crate) async fn dies() {
    DIES.with(|dies| dies.set(true));
    std::future::pending().await
}

struct Mortal(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Future for Mortal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(task) = self.0.as_mut() else { return Poll::Ready(()) };
        if task.as_mut().poll(cx).is_pending() && !DIES.with(Cell::get) {
            return Poll::Pending;
        }
        self.0 = None;
        Poll::Ready(())
    }
}

/// Starts tasks, and knows them.
#[derive(Clone, Default)]
pub(crate) struct Spawner(Arc<std::sync::Mutex<Vec<JoinHandle<()>>>>);

impl Spawner {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let handle = shuttle::future::spawn(Mortal(Some(Box::pin(task))));
        self.tasks().push(handle);
    }

    /// Waits for all of them; one that never ends is a deadlock to the scheduler.
    pub(crate) fn all_end(&self) {
        loop {
            let Some(task) = self.tasks().pop() else { return };
            block_on(task).expect("nobody aborts a task here");
        }
    }

    /// Never held over a step.
    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
