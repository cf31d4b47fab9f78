//! What is sent again when another server process answers and is believed.
//!
//! A failover is asynchronous: the new process may not have heard of ends that the old one acknowledged. Those
//! of the last minute that came from here are remembered, and queued again like ends that were never
//! confirmed. What other processes ended is theirs to send, and lost with them.
//!
//! Only where [`AfterFailover::Accept`](crate::AfterFailover) was chosen: else nothing is remembered, since
//! nothing of the old process is believed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::{MINUTE, Moment};
use crate::entry::Ended;
use crate::policy::AfterFailover;

/// How far back.
const BACK: Duration = MINUTE;
/// The most that are remembered; the oldest are forgotten. About 20 MB of names.
const REMEMBERED_MAX: usize = 100_000;

/// Ends of the last minute.
pub(crate) struct Replay {
    remembers: bool,
    recent: Mutex<VecDeque<(Moment, Ended)>>,
    due: AtomicBool,
    /// Rung when it is due.
    waiting: Arc<Notify>,
}

impl Replay {
    pub(crate) fn new(after_failover: AfterFailover, waiting: Arc<Notify>) -> Replay {
        let remembers = after_failover == AfterFailover::Accept;
        Replay { remembers, recent: Mutex::default(), due: AtomicBool::new(false), waiting }
    }

    /// They were confirmed.
    pub(super) fn remember(&self, ended: &[Ended], now: Moment) {
        if !self.remembers {
            return;
        }
        let mut recent = self.recent.lock();
        while recent.front().is_some_and(|(at, _)| now.since(*at) > BACK) {
            recent.pop_front();
        }
        for name in ended {
            if recent.len() == REMEMBERED_MAX {
                recent.pop_front();
            }
            recent.push_back((now, name.clone().without_guard()));
        }
    }

    /// Called by the connection's driver: what is to be done is done by the one who sends again.
    pub(super) fn is_due(&self) {
        self.due.store(true, Ordering::Release);
        self.waiting.notify_one();
    }

    /// What is to be sent again now, if it is due.
    pub(super) fn take_due(&self, now: Moment) -> Vec<Ended> {
        if !self.due.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        let recent = self.recent.lock();
        let still = recent.iter().filter(|(at, _)| now.since(*at) <= BACK);
        still.map(|(_, name)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SECOND};
    use crate::key::Tag;

    fn tag(number: usize) -> Ended {
        Ended::Tag(Tag::new(format!("t{number}")))
    }

    #[test]
    fn the_last_minute_is_sent_again_once_when_it_is_due() {
        let replay = Replay::new(AfterFailover::Accept, Arc::default());
        let now = Clock::system().unwrap().now();
        replay.remember(&[tag(1)], now);
        replay.remember(&[tag(2)], now.plus(30 * SECOND));
        let later = now.plus(70 * SECOND);
        assert_eq!(replay.take_due(later), []);
        replay.is_due();
        assert_eq!(replay.take_due(later), [tag(2)]);
        assert_eq!(replay.take_due(later), []);
    }

    #[test]
    fn it_is_bounded_by_number_and_by_age() {
        let replay = Replay::new(AfterFailover::Accept, Arc::default());
        let now = Clock::system().unwrap().now();
        let many: Vec<_> = (0..REMEMBERED_MAX + 10).map(tag).collect();
        replay.remember(&many, now);
        assert_eq!(replay.recent.lock().len(), REMEMBERED_MAX);
        replay.remember(&[tag(0)], now.plus(2 * MINUTE));
        assert_eq!(replay.recent.lock().len(), 1);
    }

    #[test]
    fn where_no_other_process_is_believed_nothing_is_remembered() {
        let replay = Replay::new(AfterFailover::Distrust, Arc::default());
        replay.remember(&[tag(1)], Clock::system().unwrap().now());
        assert!(replay.recent.lock().is_empty());
    }
}
