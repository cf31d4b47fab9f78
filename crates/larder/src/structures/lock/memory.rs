//! Locks in this process, by the same rules.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Try;
use crate::clock::{Clock, Moment};
use crate::key::Shape;

/// How many are kept before those that nobody holds are forgotten.
const FIRST_PRUNE: usize = 1024;

/// All locks of one name, with all their keys. All handles on the name have the same.
#[derive(Default)]
pub(super) struct Desk {
    /// Who holds what and until when, and the last fence: checked and changed in one step.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    locks: HashMap<Shape, One>,
    prune_at: usize,
    /// One for all of them, so that a lock may be forgotten and its numbers grow all the same.
    fence: u64,
}

#[derive(Default)]
struct One {
    held: Option<(String, Moment, u64)>,
    bell: Arc<Notify>,
}

impl One {
    fn is_of_use(&self, now: Moment) -> bool {
        let is_held = self.held.as_ref().is_some_and(|(_, until, _)| *until > now);
        is_held || Arc::strong_count(&self.bell) > 1
    }
}

impl State {
    fn prune(&mut self, now: Moment) {
        if self.locks.len() >= self.prune_at.max(FIRST_PRUNE) {
            self.locks.retain(|_, one| one.is_of_use(now));
            self.prune_at = 2 * self.locks.len();
        }
    }
}

impl Desk {
    pub(super) fn acquire(&self, shape: &Shape, token: &str, time: Duration, clock: &Clock) -> Try {
        let now = clock.now();
        let mut state = self.state.lock();
        state.prune(now);
        let fence = clock.unix_ms().saturating_mul(1000).max(state.fence + 1);
        let one = state.locks.entry(shape.clone()).or_default();
        match &mut one.held {
            Some((holder, until, _)) if *until > now && holder != token => {
                return Try::Others(until.since(now));
            }
            Some((_, until, fence)) if *until > now => {
                *until = now.plus(time);
                return Try::Ours(*fence);
            }
            _ => one.held = Some((token.to_owned(), now.plus(time), fence)),
        }
        state.fence = fence;
        Try::Ours(fence)
    }

    pub(super) fn renew(&self, shape: &Shape, token: &str, time: Duration, clock: &Clock) -> bool {
        let now = clock.now();
        let mut state = self.state.lock();
        match state.locks.get_mut(shape).and_then(|one| one.held.as_mut()) {
            Some((holder, until, _)) if holder == token && *until > now => {
                *until = now.plus(time);
                true
            }
            _ => false,
        }
    }

    pub(super) fn release(&self, shape: &Shape, token: &str, clock: &Clock) -> bool {
        let now = clock.now();
        let mut state = self.state.lock();
        let Some(one) = state.locks.get_mut(shape) else { return false };
        if !matches!(&one.held, Some((holder, until, _)) if holder == token && *until > now) {
            return false;
        }
        one.held = None;
        one.bell.notify_one();
        true
    }

    pub(super) async fn wait(&self, shape: &Shape, wait: Duration, clock: &Clock) {
        let bell = self.state.lock().locks.entry(shape.clone()).or_default().bell.clone();
        clock.within(wait, bell.notified()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_that_nobody_holds_are_forgotten_and_fences_grow() {
        let (desk, clock) = (Desk::default(), Clock::system().unwrap());
        let base = Shape::new("app", "lock", "l").unwrap();
        let held = base.of("held").unwrap();
        let mut last = 0;
        assert!(matches!(
            desk.acquire(&held, "me", Duration::from_secs(600), &clock),
            Try::Ours(_)
        ));
        for key in 0..10_000_u32 {
            let shape = base.of(&key).unwrap();
            let taken = desk.acquire(&shape, "me", Duration::from_secs(600), &clock);
            let Try::Ours(fence) = taken else { panic!("it is free") };
            assert!(fence > last);
            last = fence;
            assert!(desk.release(&shape, "me", &clock));
        }
        let kept = desk.state.lock().locks.len();
        assert!(kept <= 2 * FIRST_PRUNE, "{kept}");
        assert!(matches!(
            desk.acquire(&held, "you", Duration::from_secs(1), &clock),
            Try::Others(_)
        ));
    }
}
