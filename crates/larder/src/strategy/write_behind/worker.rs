//! Tells the source what was written behind, one partition a worker.
//!
//! A worker holds its partition by a lease, renewed every third of it. It claims entries of the queue **first** and
//! reads the pending write D of each key **after** that: so D is of the newest entry it has, or newer, and what is
//! newer has an entry of its own that will be claimed later. All entries of a key that it has are one call of the
//! sink, and one key is never in two calls at once. What the sink has is cleared: D only if it is still that write.
//!
//! What the sink does not take is tried again, alone and with growing pauses, and in the end given up: it becomes a
//! dead letter. What far does not answer is tried again as well; the sink may hear of a write twice.
//!
//! Taken over: whoever holds the lease next finds in the queue what the last one had claimed. The last one's call may
//! still be on its way. The sinks that know versions or fences refuse it when it lands; for a plain one the lease
//! outlives its holder's last renewal by the sink's deadline, after which a living process has given the call up.

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use parking_lot::Mutex;

use super::crew::Member;
use super::{Backstage, Tiers};
use crate::clock::{Moment, Pauses};
use crate::entry::{Answered, Pending, Shape, Stamp, Token, Value, WriteId};
use crate::error::FarError;
use crate::far::backlog::{Backlog, Claimed, Done};
use crate::invalidation::by_tag;
use crate::key::{Key, Partition};
use crate::observe::Event;
use crate::policy::Flushing;
use crate::source::BoxError;

/// How many keys a worker has in its hands, in batches: those that fail must not keep the others waiting.
const HANDS: usize = 8;
/// How many entries one answer names at most.
const ENTRIES_MAX: usize = 1000;
/// How much of what a source said is kept with a dead letter.
const REASON_MAX: usize = 512;
/// After far failed, or the lease went.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One write as a sink is told of it, whatever its types.
pub(crate) struct Writing {
    /// The caller's key, as bytes.
    pub(crate) typed: Vec<u8>,
    pub(crate) value: Option<Value>,
    pub(crate) stamp: Stamp,
}

/// Some writes of one partition, each of another key.
pub(crate) struct Batch {
    pub(crate) partition: u32,
    /// What [`Flush::raise`] gave.
    pub(crate) fence: Option<u64>,
    pub(crate) writes: Vec<Writing>,
}

/// What a sink said of a write.
pub(crate) enum Outcome {
    /// It is there.
    Done,
    /// Something is there that was written later: at this place.
    Newer(WriteId),
    /// Another worker has the partition.
    Passed,
    /// It is not known to be there.
    Failed(String),
}

/// A call of a sink under way.
pub(crate) type Telling<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A sink, whatever its kind and types.
pub(crate) trait Flush: Send + Sync {
    /// Can it tell a late call from a new one? Else nobody takes over before a call's deadline.
    fn refuses_late_calls(&self) -> bool;

    /// A worker takes a partition over; `None` where the sink has no fences.
    fn raise(&self, partition: u32) -> Telling<'_, Result<Option<u64>, BoxError>>;

    /// An outcome for each write, in their order.
    fn flush(&self, batch: Batch) -> Telling<'_, Vec<Outcome>>;
}

/// One partition's worker.
pub(crate) struct Worker {
    pub(crate) tiers: Tiers,
    pub(crate) backstage: Arc<Backstage>,
    pub(crate) partition: Partition,
    pub(crate) sink: Arc<dyn Flush>,
    pub(crate) shape: Arc<Shape>,
    pub(crate) settings: Flushing,
}

/// What a worker has of one key.
struct InHand {
    /// Claimed, and not cleared. The pending write's own, if it is among them, is the last.
    entries: BTreeSet<WriteId>,
    /// As the newest entry has it.
    typed: Vec<u8>,
    /// Which write was tried last, and how often.
    tried: Token,
    tries: u32,
    not_before: Moment,
    /// It failed together with others: it is tried alone.
    alone: bool,
}

/// Why a worker stops.
enum Over {
    /// Nothing waits, and it was told to end then.
    Drained,
    /// It does not have the partition any more.
    Lost,
}

/// A time of holding a partition.
struct Tenure {
    token: Token,
    /// When its last renewal was sent, and so until when it is ours.
    until: Mutex<Moment>,
}

impl Worker {
    pub(crate) async fn run(self, member: Member) {
        let mut pauses = self.pauses();
        loop {
            let Ok(backlog) = self.tiers.backlog() else { return };
            let (token, sent) = (self.tiers.leases.token(), self.tiers.clock.now());
            match backlog.hold(&self.partition, token, self.lease()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) if member.drains() => return, // another's
                Ok(Err(left)) => {
                    // Looked at often enough to follow soon on one that gave it back.
                    let most = left.min(self.settings.lease);
                    let wait = most / 2 + self.tiers.clock.up_to(most / 2) + FIRST_PAUSE;
                    let _ = self.tiers.clock.within(wait, member.told_to_drain()).await;
                    continue;
                }
                Err(FarError::Closed) => return,
                Err(_) => {
                    pauses.pause().await;
                    continue;
                }
            }
            pauses = self.pauses();
            let own = std::slice::from_ref(&self.partition);
            if let Err(why) = self.tiers.approve(&self.backstage, own).await {
                tracing::error!(cache = self.cache(), %why, "a worker flushes from a server that may lose what it is given");
            }
            let until = Mutex::new(sent.plus(self.settings.lease));
            let tenure = Tenure { token, until };
            let over = tokio::select! {
                biased;
                () = self.renew(backlog, &tenure) => Over::Lost,
                over = self.work(backlog, &tenure, &member) => over,
            };
            match over {
                Over::Drained => {
                    let _ = backlog.give_back(&self.partition, token).await;
                    return;
                }
                Over::Lost => {
                    // What a plain sink was told may still be on its way: its time must run out.
                    if self.sink.refuses_late_calls() {
                        let _ = backlog.give_back(&self.partition, token).await;
                    }
                    tracing::warn!(
                        cache = self.cache(),
                        partition = self.partition.number(),
                        "a worker has lost its partition to another, or to a silence of redis"
                    );
                    pauses.pause().await;
                }
            }
        }
    }

    fn cache(&self) -> &str {
        self.tiers.observe.cache()
    }

    fn pauses(&self) -> Pauses {
        Pauses::new(&self.tiers.clock, FIRST_PAUSE, LONGEST_PAUSE)
    }

    /// For how long Redis keeps the lease.
    fn lease(&self) -> Duration {
        match self.sink.refuses_late_calls() {
            true => self.settings.lease,
            false => self.settings.lease + self.settings.sink_deadline,
        }
    }

    /// Ends when the lease is lost.
    async fn renew(&self, backlog: &dyn Backlog, tenure: &Tenure) {
        let clock = &self.tiers.clock;
        loop {
            clock.sleep(self.settings.lease / 3).await;
            let sent = clock.now();
            match backlog.renew(&self.partition, tenure.token, self.lease()).await {
                Ok(true) => *tenure.until.lock() = sent.plus(self.settings.lease),
                Ok(false) => return,
                // Perhaps the next one is answered in time.
                Err(_) if clock.now() < *tenure.until.lock() => {}
                Err(_) => return,
            }
        }
    }

    /// Until nothing is left to do, or the partition is lost.
    async fn work(&self, backlog: &dyn Backlog, tenure: &Tenure, member: &Member) -> Over {
        let fence = self.fence().await;
        let mut hands: HashMap<Key, InHand, FixedState> = HashMap::default();
        // What the one before us had claimed comes first.
        let mut before = Some(WriteId::default());
        // A claim that was sent over a connection that broke may be carried out late, and nobody hears of it: what
        // was claimed is looked at again now and then.
        let (mut looked_back, mut is_sure) = (self.tiers.clock.now(), false);
        let mut pauses = self.pauses();
        // Of large values fewer come in the time that an answer has.
        let mut most = self.settings.batch_max;
        loop {
            let drains = member.drains();
            let mut found = 0;
            if hands.len() < HANDS * self.settings.batch_max {
                let claiming = backlog.claim(&self.partition, tenure.token, before, ENTRIES_MAX);
                match claiming.await {
                    Ok(Some(claimed)) => {
                        found = claimed.len();
                        if let Some(after) = &mut before {
                            match claimed.last() {
                                Some(last) => *after = last.id,
                                None => before = None,
                            }
                        }
                        if let Err(why) = self.take_in_hand(backlog, claimed, &mut hands).await {
                            self.far_failed("clear", &why, &mut pauses).await;
                        }
                        if before.is_some() {
                            continue;
                        }
                    }
                    Ok(None) => return Over::Lost,
                    Err(why) => {
                        // It may have claimed some all the same: they are among those claimed before.
                        before = Some(WriteId::default());
                        self.far_failed("claim", &why, &mut pauses).await;
                        continue;
                    }
                }
            }
            let due = self.due(&hands, most);
            if due.is_empty() {
                let (now, is_idle) = (self.tiers.clock.now(), hands.is_empty() && found == 0);
                if is_idle && drains && is_sure {
                    return Over::Drained;
                }
                if is_idle && (drains || now.since(looked_back) >= self.settings.lease) {
                    (before, looked_back, is_sure) = (Some(WriteId::default()), now, drains);
                    continue;
                }
                self.wait(&hands, member).await;
                continue;
            }
            match self.flush(backlog, tenure, fence, &due, &mut hands).await {
                Ok(true) => {
                    pauses = self.pauses();
                    most = (2 * most).min(self.settings.batch_max);
                }
                Ok(false) => return Over::Lost,
                Err(why) => {
                    most = (most / 2).max(1);
                    self.far_failed("flush", &why, &mut pauses).await;
                }
            }
        }
    }

    async fn far_failed(&self, what: &str, why: &FarError, pauses: &mut Pauses) {
        tracing::warn!(cache = self.cache(), partition = self.partition.number(), %why, "a worker could not {what}: it tries again");
        pauses.pause().await;
    }

    /// Raised before anything is claimed. Tried until it is.
    async fn fence(&self) -> Option<u64> {
        let (first, longest) = self.settings.backoff;
        let mut pauses = Pauses::new(&self.tiers.clock, first, longest);
        loop {
            let raising = self.sink.raise(self.partition.number());
            match self.tiers.clock.within(self.settings.sink_deadline, raising).await {
                Some(Ok(fence)) => return fence,
                Some(Err(why)) => {
                    tracing::warn!(cache = self.cache(), %why, "a sink's fence was not raised: tried again");
                }
                None => {
                    tracing::warn!(
                        cache = self.cache(),
                        "a sink's fence was not raised in time: tried again"
                    );
                }
            }
            pauses.pause().await;
        }
    }

    /// Entries to those of the same key. One that says nothing is cleared at once.
    async fn take_in_hand(
        &self,
        backlog: &dyn Backlog,
        claimed: Vec<Claimed>,
        hands: &mut HashMap<Key, InHand, FixedState>,
    ) -> Result<(), FarError> {
        let mut empty = Vec::new();
        for Claimed { id, of } in claimed {
            let Some(of) = of else {
                empty.push(id);
                continue;
            };
            let in_hand = hands.entry(of.key).or_insert_with(|| InHand {
                entries: BTreeSet::new(),
                typed: Vec::new(),
                tried: Token::default(),
                tries: 0,
                not_before: Moment::NEVER,
                alone: false,
            });
            // Once more what we have already, after an answer that was lost.
            in_hand.entries.insert(id);
            if in_hand.entries.last() == Some(&id) {
                in_hand.typed = of.typed;
            }
        }
        if empty.is_empty() {
            return Ok(());
        }
        let key = self.partition.key(b"");
        let done = [Done { key: &key, stamp: None, entries: &empty }];
        backlog.clear(&self.partition, &done).await.map(drop)
    }

    /// The keys of the next call: all that are due, or one that is to be tried alone.
    fn due(&self, hands: &HashMap<Key, InHand, FixedState>, most: usize) -> Vec<Key> {
        let now = self.tiers.clock.now();
        let mut due: Vec<(&Key, &InHand)> =
            hands.iter().filter(|(_, in_hand)| in_hand.not_before <= now).collect();
        // The oldest first, so that none waits for ever.
        due.sort_by_key(|(_, in_hand)| in_hand.entries.first().copied());
        match due.first() {
            Some((key, first)) if first.alone => vec![(*key).clone()],
            _ => {
                let together = due.into_iter().filter(|(_, in_hand)| !in_hand.alone);
                together.take(most).map(|(key, _)| key.clone()).collect()
            }
        }
    }

    /// For something new, or until something is due.
    async fn wait(&self, hands: &HashMap<Key, InHand, FixedState>, member: &Member) {
        let clock = &self.tiers.clock;
        let now = clock.now();
        let next = hands.values().map(|in_hand| in_hand.not_before.since(now)).min();
        // So that those of a fleet do not all look at the same moment.
        let poll = self.settings.poll / 2 + clock.up_to(self.settings.poll / 2);
        let most = next.map_or(poll, |next| next.min(poll)).max(Duration::from_millis(1));
        let rung = async {
            match self.backstage.bell(&self.partition) {
                Some(bell) => bell.notified().await,
                None => std::future::pending().await,
            }
        };
        let told = async {
            match member.drains() {
                true => std::future::pending().await,
                false => member.told_to_drain().await,
            }
        };
        let _ = clock
            .within(most, async {
                tokio::select! { () = rung => {}, () = told => {} }
            })
            .await;
    }

    /// One round: what is pending of these keys now, to the sink. False: the partition is lost.
    async fn flush(
        &self,
        backlog: &dyn Backlog,
        tenure: &Tenure,
        fence: Option<u64>,
        due: &[Key],
        hands: &mut HashMap<Key, InHand, FixedState>,
    ) -> Result<bool, FarError> {
        let records = backlog.pending(due).await?;
        // Nothing is pending, or nothing that could be told of.
        let (mut cleared, mut writes, mut told) = (Vec::new(), Vec::new(), Vec::new());
        let (mut failed, mut newer) = (Vec::new(), Vec::new());
        for (key, record) in due.iter().zip(records) {
            let Some(in_hand) = hands.get(key) else { continue };
            let Some(record) = record else {
                cleared.push((key.clone(), None));
                continue;
            };
            let Some(Pending { stamp, envelope }) = Pending::read(&record) else {
                tracing::error!(%key, "what stands where a pending write should be is none: its entries are cleared");
                cleared.push((key.clone(), None));
                continue;
            };
            match self.value(key, envelope) {
                Ok(value) => {
                    writes.push(Writing { typed: in_hand.typed.clone(), value, stamp });
                    told.push((key.clone(), stamp));
                }
                Err(why) => failed.push((key.clone(), stamp, why)),
            }
        }
        let unreadable = failed.len();
        let began = self.tiers.clock.now();
        let outcomes = match writes.is_empty() {
            true => Vec::new(),
            // Paused for as long, another has it by now.
            false if began >= *tenure.until.lock() => return Ok(false),
            false => self.tell(fence, writes).await,
        };
        let together = told.len() > 1;
        for ((key, stamp), outcome) in told.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Done => cleared.push((key, Some(stamp))),
                Outcome::Newer(stored) => newer.push((key, stamp, stored)),
                Outcome::Passed => return Ok(false),
                Outcome::Failed(why) => failed.push((key, stamp, why)),
            }
        }
        // What is done first: one that far refuses to move must not keep the others.
        let mut result = self.clear(backlog, cleared, hands, began).await;
        for (key, stamp, stored) in newer {
            result = result.and(self.goes_above(backlog, &key, stamp, stored, hands).await);
        }
        for (at, (key, stamp, why)) in failed.into_iter().enumerate() {
            let was_told = at >= unreadable;
            match hands.get_mut(&key) {
                // One of them spoils the batch; each is told alone before it counts as a try.
                Some(in_hand) if was_told && together && !in_hand.alone => in_hand.alone = true,
                _ => result = result.and(self.fails(backlog, &key, stamp, &why, hands).await),
            }
        }
        result?;
        Ok(true)
    }

    fn value(&self, key: &Key, envelope: Vec<u8>) -> Result<Option<Value>, String> {
        let answered = Answered::from(envelope);
        let opened = by_tag::open(&answered, key, &self.shape, &[]);
        let opened = opened.map_err(|why| format!("a pending write cannot be read: {why}"))?;
        let held = opened.whatever_its_age(&self.shape, 0, self.tiers.clock.now());
        held.map(|held| held.value).map_err(|why| format!("a pending write cannot be read: {why}"))
    }

    /// The sink, by its deadline.
    async fn tell(&self, fence: Option<u64>, writes: Vec<Writing>) -> Vec<Outcome> {
        let count = writes.len();
        let batch = Batch { partition: self.partition.number(), fence, writes };
        let deadline = self.settings.sink_deadline;
        match self.tiers.clock.within(deadline, self.sink.flush(batch)).await {
            Some(outcomes) if outcomes.len() == count => outcomes,
            Some(outcomes) => {
                let text = format!("the sink gave {} answers for {count} writes", outcomes.len());
                (0..count).map(|_| Outcome::Failed(text.clone())).collect()
            }
            None => {
                let text = format!("the sink took longer than sink_deadline ({deadline:?})");
                (0..count).map(|_| Outcome::Failed(text.clone())).collect()
            }
        }
    }

    /// Those that the source has, and those of which nothing is pending.
    async fn clear(
        &self,
        backlog: &dyn Backlog,
        cleared: Vec<(Key, Option<Stamp>)>,
        hands: &mut HashMap<Key, InHand, FixedState>,
        began: Moment,
    ) -> Result<(), FarError> {
        let entries_of = |key: &Key| -> Vec<WriteId> {
            hands
                .get(key)
                .map(|in_hand| in_hand.entries.iter().copied().collect())
                .unwrap_or_default()
        };
        let all: Vec<Vec<WriteId>> = cleared.iter().map(|(key, _)| entries_of(key)).collect();
        let mut done = Vec::with_capacity(cleared.len());
        for ((key, stamp), entries) in cleared.iter().zip(&all) {
            // The pending write goes with its own entry, in the last part.
            let mut parts = entries.chunks(ENTRIES_MAX).peekable();
            while let Some(entries) = parts.next() {
                let stamp = if parts.peek().is_none() { *stamp } else { None };
                done.push(Done { key, stamp, entries });
            }
        }
        if done.is_empty() {
            return Ok(());
        }
        backlog.clear(&self.partition, &done).await?;
        let flushed = cleared.iter().filter(|(_, stamp)| stamp.is_some());
        let (mut keys, mut writes) = (0, 0);
        for (key, _) in flushed {
            keys += 1;
            writes += hands.get(key).map_or(0, |in_hand| in_hand.entries.len());
        }
        cleared.iter().for_each(|(key, _)| {
            hands.remove(key);
        });
        if keys > 0 {
            let took = self.tiers.clock.now().since(began);
            let cache = self.cache();
            self.tiers.observe.tell(Event::WritesFlushed { cache, keys, writes, took });
        }
        Ok(())
    }

    /// What the source has was written later, or so its id says: ids may have gone back, after a flush or a failover.
    async fn goes_above(
        &self,
        backlog: &dyn Backlog,
        key: &Key,
        stamp: Stamp,
        stored: WriteId,
        hands: &mut HashMap<Key, InHand, FixedState>,
    ) -> Result<(), FarError> {
        let Some(in_hand) = hands.get_mut(key) else { return Ok(()) };
        if stored < stamp.id {
            let why = format!("the sink has {stored}, and calls it newer than {}", stamp.id);
            return self.fails(backlog, key, stamp, &why, hands).await;
        }
        match backlog.rebase(key, stamp.token, stored, &in_hand.typed).await? {
            Some(id) if id <= stored => {
                in_hand.entries.insert(id);
                let why = format!("the sink has {stored}, and nothing can be written above that");
                return self.fails(backlog, key, Stamp { id, ..stamp }, &why, hands).await;
            }
            // Its new entry goes with the others, and it is told again, under its new place.
            Some(id) => drop(in_hand.entries.insert(id)),
            // It is another by now, which has an entry of its own.
            None => {
                let cleared = vec![(key.clone(), None)];
                self.clear(backlog, cleared, hands, self.tiers.clock.now()).await?;
            }
        }
        Ok(())
    }

    /// Once more later; or never again.
    async fn fails(
        &self,
        backlog: &dyn Backlog,
        key: &Key,
        stamp: Stamp,
        why: &str,
        hands: &mut HashMap<Key, InHand, FixedState>,
    ) -> Result<(), FarError> {
        let Some(in_hand) = hands.get_mut(key) else { return Ok(()) };
        if in_hand.tried != stamp.token {
            // What was wrong with an older write is not held against this one.
            (in_hand.tried, in_hand.tries) = (stamp.token, 0);
        }
        in_hand.tries += 1;
        let (cache, clock) = (self.cache(), &self.tiers.clock);
        if in_hand.tries < self.settings.tries {
            let (first, longest) = self.settings.backoff;
            let doubled = first.saturating_mul(1 << (in_hand.tries - 1).min(20)).min(longest);
            let pause = doubled / 2 + clock.up_to(doubled / 2);
            in_hand.not_before = clock.now().plus(pause);
            in_hand.alone = true;
            self.tiers.observe.tell(Event::WriteRetried { cache, why });
            return Ok(());
        }
        // Should far refuse to move it, it waits, and keeps no other.
        in_hand.not_before = clock.now().plus(self.settings.backoff.1);
        in_hand.alone = true;
        let mut end = why.len().min(REASON_MAX);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        let entries: Vec<WriteId> = in_hand.entries.iter().copied().collect();
        // Its own entry goes with it, after the others.
        let (others, last) = entries.split_at(entries.len().saturating_sub(1));
        for entries in others.chunks(ENTRIES_MAX) {
            backlog.clear(&self.partition, &[Done { key, stamp: None, entries }]).await?;
        }
        let done = Done { key, stamp: Some(stamp), entries: last };
        if backlog.bury(done, &in_hand.typed, &why[..end]).await? {
            tracing::error!(%key, why, tries = in_hand.tries, "a write was given up: it is a dead letter");
            self.tiers.observe.tell(Event::WriteGivenUp { cache, why });
        }
        hands.remove(key);
        Ok(())
    }
}
