//! What is sent again when another server process answers and is believed.
//!
//! A failover is asynchronous: the new process may not have heard of ends that the old one acknowledged. Those
//! of the last minute that came from here are remembered, and queued again like ends that were never
//! confirmed. What other processes ended is theirs to send, and lost with them.
//!
//! Only where [`AfterFailover::Accept`](crate::AfterFailover) was chosen: else nothing is remembered, since
//! nothing of the old process is believed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::{MINUTE, Moment};
use crate::entry::Ended;
use crate::policy::AfterFailover;

/// How far back, from when the old process was last heard of.
const BACK: Duration = MINUTE;
/// The most that are remembered; the oldest are forgotten. About 20 MB of names.
const REMEMBERED_MAX: usize = 100_000;

/// Ends of the last minute.
pub(crate) struct Replay {
    remembers: bool,
    recent: Mutex<Recent>,
    due: AtomicBool,
    /// Rung when it is due.
    waiting: Arc<Notify>,
}

#[derive(Default)]
struct Recent {
    /// Each name once, with when it was last ended.
    names: HashMap<Ended, Moment, FixedState>,
    /// When the process that confirms ends was lost, until another is there and was told.
    lost: Option<Moment>,
}

impl Recent {
    /// What is older than this was confirmed long before the old process was lost.
    fn since(&self, now: Moment) -> Moment {
        self.lost.unwrap_or(now).minus(BACK)
    }

    fn make_room(&mut self, now: Moment) {
        let since = self.since(now);
        self.names.retain(|_, at| *at >= since);
        if self.names.len() < REMEMBERED_MAX {
            return;
        }
        let mut moments: Vec<Moment> = self.names.values().copied().collect();
        let middle = moments.len() / 2;
        let (_, middle, _) = moments.select_nth_unstable(middle);
        let middle = *middle;
        self.names.retain(|_, at| *at > middle);
    }
}

impl Replay {
    pub(crate) fn new(after_failover: AfterFailover, waiting: Arc<Notify>) -> Replay {
        let remembers = after_failover == AfterFailover::Accept;
        Replay { remembers, recent: Mutex::default(), due: AtomicBool::new(false), waiting }
    }

    /// They are about to be sent.
    pub(super) fn remember(&self, ended: &[Ended], now: Moment) {
        if !self.remembers {
            return;
        }
        let mut recent = self.recent.lock();
        for name in ended {
            if recent.names.len() >= REMEMBERED_MAX {
                recent.make_room(now);
            }
            recent.names.insert(name.clone().without_guard(), now);
        }
    }

    /// The process that confirms ends is not heard of any more.
    pub(super) fn lost(&self, now: Moment) {
        self.recent.lock().lost.get_or_insert(now);
    }

    /// Called by the connection's driver: what is to be done is done by the one who sends again.
    pub(super) fn falls_due(&self) {
        self.due.store(true, Ordering::Release);
        self.waiting.notify_one();
    }

    /// What is to be sent again now, if it is due: the latest first.
    pub(super) fn take_due(&self, now: Moment) -> Vec<Ended> {
        if !self.due.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        let mut recent = self.recent.lock();
        let since = recent.since(now);
        recent.lost = None;
        let still = recent.names.iter().filter(|(_, at)| **at >= since);
        let mut still: Vec<(Moment, Ended)> = still.map(|(name, at)| (*at, name.clone())).collect();
        still.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
        still.into_iter().map(|(_, name)| name).collect()
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

    /// A minute before the old process was lost, however long nobody answered since.
    #[test]
    fn the_last_minute_of_the_old_process_is_sent_again_once_when_it_is_due() {
        let replay = Replay::new(AfterFailover::Accept, Arc::default());
        let now = Clock::system().unwrap().now();
        replay.remember(&[tag(1)], now);
        replay.remember(&[tag(2)], now.plus(30 * SECOND));
        replay.remember(&[tag(3)], now.plus(31 * SECOND));
        replay.lost(now.plus(70 * SECOND));
        let later = now.plus(300 * SECOND);
        assert_eq!(replay.take_due(later), []);
        replay.falls_due();
        assert_eq!(replay.take_due(later), [tag(3), tag(2)]);
        assert_eq!(replay.take_due(later), []);
    }

    #[test]
    fn it_is_bounded_and_keeps_the_latest() {
        let replay = Replay::new(AfterFailover::Accept, Arc::default());
        let now = Clock::system().unwrap().now();
        for number in 0..REMEMBERED_MAX + 10 {
            replay.remember(&[tag(number)], now.plus(Duration::from_micros(number as u64)));
        }
        assert!(replay.recent.lock().names.len() <= REMEMBERED_MAX);
        replay.falls_due();
        assert_eq!(replay.take_due(now.plus(SECOND))[0], tag(REMEMBERED_MAX + 9));
    }

    #[test]
    fn one_name_ended_again_and_again_takes_one_place() {
        let replay = Replay::new(AfterFailover::Accept, Arc::default());
        let now = Clock::system().unwrap().now();
        (0..1000).for_each(|_| replay.remember(&[tag(1)], now));
        assert_eq!(replay.recent.lock().names.len(), 1);
    }

    #[test]
    fn where_no_other_process_is_believed_nothing_is_remembered() {
        let replay = Replay::new(AfterFailover::Distrust, Arc::default());
        replay.remember(&[tag(1)], Clock::system().unwrap().now());
        assert!(replay.recent.lock().names.is_empty());
    }
}
