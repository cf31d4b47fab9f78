//! A list in this process, by the same rules. It dies with the process.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{FifoStats, REJECTED_MAX, Rules};
use crate::clock::Clock;

/// All handles on one name have the same.
#[derive(Default)]
pub(super) struct Desk {
    /// Items go from one place of it to another in one step.
    all: Mutex<All>,
    /// Rings when there is an item for somebody.
    bell: Notify,
}

#[derive(Default)]
struct All {
    items: VecDeque<Vec<u8>>,
    taken: Vec<Vec<u8>>,
    rejected: VecDeque<Vec<u8>>,
}

impl All {
    fn end(&mut self, item: &[u8]) -> Option<Vec<u8>> {
        let at = self.taken.iter().position(|taken| taken == item)?;
        Some(self.taken.swap_remove(at))
    }
}

impl Desk {
    pub(super) fn push(&self, item: Vec<u8>, rules: &Rules) -> bool {
        let mut all = self.all.lock();
        if all.items.len() as u64 >= rules.items_max {
            return false;
        }
        all.items.push_front(item);
        drop(all);
        self.bell.notify_one();
        true
    }

    pub(super) fn take(&self) -> Option<Vec<u8>> {
        let mut all = self.all.lock();
        let item = all.items.pop_back()?;
        all.taken.push(item.clone());
        if !all.items.is_empty() {
            self.bell.notify_one(); // for the next who waits
        }
        Some(item)
    }

    /// Until there may be something.
    pub(super) async fn wait(&self, wait: Duration, clock: &Clock) {
        clock.within(wait, self.bell.notified()).await;
    }

    pub(super) fn done(&self, item: &[u8]) -> bool {
        self.all.lock().end(item).is_some()
    }

    pub(super) fn put_back(&self, item: &[u8]) -> bool {
        let mut all = self.all.lock();
        let Some(item) = all.end(item) else { return false };
        all.items.push_back(item);
        drop(all);
        self.bell.notify_one();
        true
    }

    pub(super) fn reject(&self, item: &[u8]) -> bool {
        let mut all = self.all.lock();
        let Some(item) = all.end(item) else { return false };
        all.rejected.push_front(item);
        all.rejected.truncate(REJECTED_MAX);
        true
    }

    pub(super) fn stats(&self) -> FifoStats {
        let all = self.all.lock();
        FifoStats {
            waiting: all.items.len() as u64,
            taken: all.taken.len() as u64,
            rejected: all.rejected.len() as u64,
        }
    }
}
