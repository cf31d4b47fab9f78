//! A list in Redis, and for each consumer one of what it has taken.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{FifoStats, REJECTED_MAX, Rules};
use crate::clock::Moment;
use crate::error::{Error, ErrorKind, FarError};
use crate::key::{Name, Shape};
use crate::redis::{Call, Commands, Private, Reply, Script};
use crate::structures::bounds::ms;
use crate::structures::{not_done, not_read};

pub(crate) static PUSH: Script = Script::new(include_str!("push.lua"));
pub(crate) static TAKE: Script = Script::new(include_str!("take.lua"));
pub(crate) static PUT_BACK: Script = Script::new(include_str!("put_back.lua"));
pub(crate) static REJECT: Script = Script::new(include_str!("reject.lua"));
pub(crate) static RECOVER: Script = Script::new(include_str!("recover.lua"));

/// A consumer that was not seen for so long, or for four times the silence, is forgotten once what it had is put back.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// How many items one look at what we have taken ourselves sees.
const OWN_MAX: usize = 1000;
/// How many consumers one look sees.
const CONSUMERS_MAX: usize = 1000;

pub(super) struct List {
    commands: Commands,
    shape: Shape,
    items: Name,
    consumers: Name,
    rejected: Name,
    lease: Name,
    taken: Name,
    /// Our name: nobody else's, in no other process.
    consumer: String,
    /// When we looked for consumers that are gone.
    looked: Mutex<Moment>,
    /// Where the next look at the consumers begins.
    page: AtomicUsize,
    /// What somebody in this process has in hand, and how often.
    in_hand: Mutex<HashMap<Vec<u8>, usize>>,
    /// What stood in our list and was in nobody's hand when we last looked.
    astray: Mutex<HashMap<Vec<u8>, usize>>,
    /// One at a time waits at the server; the others of the process wait for their turn.
    seat: Semaphore,
    private: Mutex<Option<Private>>,
}

impl List {
    pub(super) fn new(commands: Commands, shape: Shape) -> List {
        let nonce = commands.clock().nonce();
        let consumer: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
        List {
            items: shape.part("items"),
            consumers: shape.part("consumers"),
            rejected: shape.part("rejected"),
            lease: shape.part(&format!("lease.{consumer}")),
            taken: shape.part(&format!("taken.{consumer}")),
            looked: Mutex::new(Moment::NEVER),
            page: AtomicUsize::new(0),
            in_hand: Mutex::default(),
            astray: Mutex::default(),
            commands,
            shape,
            consumer,
            seat: Semaphore::new(1),
            private: Mutex::new(None),
        }
    }

    async fn number(&self, call: Call, doing: &str) -> Result<i64, Error> {
        let answer = self.commands.ask(call).await;
        let answer = answer.map_err(|why| not_done(&self.shape, doing, why))?;
        Ok(Reply::from(answer).whole().unwrap_or(0))
    }

    pub(super) async fn push(&self, item: &[u8], rules: &Rules) -> Result<bool, Error> {
        let call = Call::script(&PUSH, &[&self.items]).arg(item).arg(rules.items_max);
        Ok(self.number(call, "push to").await? == 1)
    }

    fn about_us(&self, rules: &Rules, what: &str) -> Call {
        let names = [&self.items, &self.consumers, &self.lease, &self.taken];
        Call::script(&TAKE, &names).arg(&self.consumer).arg(ms(rules.silence)).arg(what)
    }

    /// What can be had at once.
    pub(super) async fn take(&self, rules: &Rules) -> Result<Option<Vec<u8>>, Error> {
        self.recover(rules).await;
        let answer = self.commands.ask(self.about_us(rules, "take")).await;
        // What was moved for us and did not get here is put back when we are gone.
        let answer = answer.map_err(|why| not_read(&self.shape, "take from", why))?;
        Ok(Reply::from(answer).bytes().ok())
    }

    /// Says that we live.
    pub(super) async fn hold(&self, rules: &Rules) -> Result<(), FarError> {
        self.commands.ask(self.about_us(rules, "hold")).await.map(drop)
    }

    /// Somebody has it in hand.
    pub(super) fn is_taken(&self, item: &[u8]) {
        *self.in_hand.lock().entry(item.to_vec()).or_default() += 1;
    }

    /// Nobody has this one in hand any more.
    pub(super) fn is_let_go(&self, item: &[u8]) {
        let mut in_hand = self.in_hand.lock();
        if let Some(count) = in_hand.get_mut(item) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                in_hand.remove(item);
            }
        }
    }

    /// Puts back what stands in our own list, and has been in nobody's hand at this look and the one before: the
    /// answer that brought it was lost, or nobody waited for it any more.
    async fn find_astray(&self) -> Result<(), FarError> {
        let own = Call::new("LRANGE", &self.taken).arg(0).arg(OWN_MAX - 1);
        let own = Reply::from(self.commands.ask(own).await?).parts();
        let mut astray: HashMap<Vec<u8>, usize> = HashMap::new();
        for item in own.into_iter().filter_map(|item| item.bytes().ok()) {
            *astray.entry(item).or_default() += 1;
        }
        {
            let in_hand = self.in_hand.lock();
            astray.retain(|item, count| {
                *count = count.saturating_sub(in_hand.get(item).copied().unwrap_or(0));
                *count > 0
            });
        }
        let before = std::mem::take(&mut *self.astray.lock());
        let mut calls = Vec::new();
        for (item, count) in &astray {
            for _ in 0..before.get(item).copied().unwrap_or(0).min(*count) {
                let call = Call::script(&PUT_BACK, &[&self.items, &self.taken]);
                calls.push(call.arg(item.as_slice()));
            }
        }
        *self.astray.lock() = astray;
        if !calls.is_empty() {
            tracing::info!(fifo = %self.shape, items = calls.len(), "put back what nobody has in hand");
            self.commands.ask_all(calls).await?;
        }
        Ok(())
    }

    /// Puts back what those had who are gone. It is for whoever takes next, and no fault of theirs if it fails.
    async fn recover(&self, rules: &Rules) {
        let clock = self.commands.clock();
        {
            let mut looked = self.looked.lock();
            // Not all of a fleet at the same moment.
            let every = rules.silence / 2;
            if clock.now().since(*looked) < every {
                return;
            }
            *looked = clock.now().minus(clock.up_to(every / 4));
        }
        if let Err(why) = self.try_to_recover(rules).await {
            tracing::debug!(fifo = %self.shape, %why, "what the gone had taken was not put back");
        }
    }

    async fn try_to_recover(&self, rules: &Rules) -> Result<(), FarError> {
        // A page at each look, so that those who cannot be forgotten yet do not hide the others.
        let from = self.page.load(Ordering::Acquire);
        let all = Call::new("ZRANGE", &self.consumers).arg(from).arg(from + CONSUMERS_MAX - 1);
        let all = Reply::from(self.commands.ask(all).await?).parts();
        let next = if all.len() < CONSUMERS_MAX { 0 } else { from + CONSUMERS_MAX };
        self.page.store(next, Ordering::Release);
        let forgotten_after = FORGOTTEN_AFTER.max(rules.silence * 4);
        let mut calls = Vec::new();
        for other in all.into_iter().filter_map(Reply::shown) {
            // It becomes part of a name: nothing but what we wrote ourselves may.
            let is_one = other.len() == 32 && other.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_one || other == self.consumer {
                continue;
            }
            let lease = self.shape.part(&format!("lease.{other}"));
            let taken = self.shape.part(&format!("taken.{other}"));
            let call = Call::script(&RECOVER, &[&self.items, &self.consumers, &lease, &taken]);
            calls.push(call.arg(other).arg(forgotten_after.as_secs()));
        }
        let answers = self.commands.ask_each(calls).await?;
        let back: i64 = answers
            .into_iter()
            .filter_map(|one| Reply::from(one).whole())
            .map(|one| one.max(0))
            .sum();
        if back > 0 {
            tracing::info!(fifo = %self.shape, items = back, "put back what consumers had that are gone");
        }
        Ok(())
    }

    /// Waits at the server for an item, or for as long as `wait`. Comes back with nothing when it cannot wait there.
    pub(super) async fn wait(&self, wait: Duration) -> Option<Vec<u8>> {
        let clock = self.commands.clock();
        let until = clock.now().plus(wait);
        let Some(Ok(_seat)) = clock.within(wait, self.seat.acquire()).await else { return None };
        // Taken out while it is used: one that was let go of in the middle of a wait is of no use.
        let kept = self.private.lock().take();
        let private = match kept {
            Some(private) => Ok(private),
            None => {
                let left = until.since(clock.now());
                let made = clock.within(left, self.commands.private(&self.items)).await;
                made.unwrap_or(Err(FarError::Slow))
            }
        };
        let left = until.since(clock.now());
        let waited = match private {
            Ok(private) => self.wait_over(private, left).await,
            Err(why) => Err(why),
        };
        waited.unwrap_or_else(|why| {
            tracing::debug!(fifo = %self.shape, %why, "cannot wait for items at the server");
            None
        })
    }

    async fn wait_over(
        &self,
        mut private: Private,
        left: Duration,
    ) -> Result<Option<Vec<u8>>, FarError> {
        // To the server nothing is for ever.
        let seconds = left.as_secs_f64().max(0.001);
        let call = Call::new("BLMOVE", &self.items)
            .arg(self.taken.bytes())
            .arg("RIGHT")
            .arg("LEFT")
            .arg(format!("{seconds:.3}"));
        let answer = Reply::from(private.ask(call, left).await?);
        *self.private.lock() = Some(private);
        Ok(answer.bytes().ok())
    }

    pub(super) async fn done(&self, item: &[u8]) -> Result<bool, Error> {
        let call = Call::new("LREM", &self.taken).arg(1).arg(item);
        Ok(self.number(call, "finish an item of").await? == 1)
    }

    pub(super) async fn put_back(&self, item: &[u8]) -> Result<bool, Error> {
        let call = Call::script(&PUT_BACK, &[&self.items, &self.taken]).arg(item);
        Ok(self.number(call, "put back an item of").await? == 1)
    }

    pub(super) async fn reject(&self, item: &[u8]) -> Result<bool, Error> {
        let call = Call::script(&REJECT, &[&self.taken, &self.rejected]).arg(item);
        Ok(self.number(call.arg(REJECTED_MAX), "reject an item of").await? == 1)
    }

    pub(super) async fn stats(&self) -> Result<FifoStats, Error> {
        let calls = vec![
            Call::new("LLEN", &self.items),
            Call::new("LLEN", &self.taken),
            Call::new("LLEN", &self.rejected),
        ];
        let answers = self.commands.ask_all(calls).await;
        let answers = answers.map_err(|why| not_read(&self.shape, "count", why))?;
        let counts: Vec<_> = answers.into_iter().map(|one| Reply::from(one).whole()).collect();
        let [Some(waiting), Some(taken), Some(rejected)] = counts[..] else {
            return Err(Error::new(ErrorKind::Far, format!("cannot count {}", self.shape)));
        };
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(FifoStats { waiting: count(waiting), taken: count(taken), rejected: count(rejected) })
    }
}

/// Says again and again that we live, for as long as the list is used.
pub(super) async fn live(list: std::sync::Weak<super::Inner>) {
    loop {
        let Some(inner) = list.upgrade() else { return };
        let super::Place::Redis(list_here) = &inner.place else { return };
        let clock = inner.ground.clock().clone();
        let told = match list_here.hold(&inner.rules).await {
            Ok(()) => list_here.find_astray().await,
            Err(why) => Err(why),
        };
        let pause = match told {
            Ok(()) => inner.rules.silence / 3,
            Err(FarError::Closed) => return,
            Err(_) => inner.rules.silence / 12,
        };
        drop(inner);
        clock.sleep(pause).await;
    }
}
