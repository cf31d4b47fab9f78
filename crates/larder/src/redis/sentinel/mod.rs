//! Who is master, by a majority of sentinels.
//!
//! A master that was replaced goes on answering, takes writes for seconds and believes in itself, so
//! nothing it says proves that it is one. Each sentinel is asked four times in each bound B, and each
//! tells us at once when it changes its mind (`+switch-master`): whoever is first to say so ends our
//! connections to the old one. They are made anew where a majority points.
//!
//! A majority's word is good for B from when it was asked. While it stands, answers of that master are
//! believed; without it they are not, whoever answers: reads ask the loader, ends are not confirmed.
//! A new master is used only when every word that others may still have for the one before has run
//! out: B, and a hundredth for clocks that run unevenly, after a majority named it. So no two processes
//! ever believe two masters at the same time, and what one of them confirmed the other cannot miss.
//! The proof is in `docs/decisions/0010-who-is-master.md`.
//!
//! One task for each sentinel, and one that looks after them; they end with the handle. What is lost
//! with them is the word, and with the word the belief.

mod attend;
mod council;
mod url;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::{Pipeline, Value};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use self::council::{At, Council, Named, Word};
use super::connect::{Access, AddressMap, NoConnection, Whom, Wishes};
use super::whereabouts::{Asked, Spot, Vouched, Whereabouts};
use crate::clock::{Clock, Moment};
use crate::error::Error;

/// A sentinel that was not heard for so long is no part of the majority any more, unless others know it.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// As many are asked. Three or five are usual.
const SENTINELS_MAX: usize = 32;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// The bound B.
    pub(crate) bound: Duration,
    /// The longest that anybody waits for an answer of the master.
    pub(crate) deadline: Duration,
}

/// The sentinels of one master.
pub(crate) struct Sentinels {
    master: String,
    seeds: Vec<At>,
    /// The way into the master, wherever it is.
    way: Access,
    /// The way into each sentinel.
    to_sentinels: Access,
    map: Option<AddressMap>,
    patience: Duration,
    times: Times,
    clock: Clock,
    /// Held while what was heard is noted and what follows from it is done.
    room: Mutex<Room>,
    /// Rung when there may be another answer to who is master, or to who is to be asked.
    news: watch::Sender<()>,
    /// All are to be asked at once.
    ask_now: Notify,
    /// Once is loud enough.
    said_slow: AtomicBool,
}

#[derive(Default)]
struct Room {
    council: Council,
    /// The master in use.
    seat: Option<(At, Spot)>,
    /// A master that one sentinel has given up, and from when on others are believed that name it.
    left: Option<(At, Moment)>,
    /// Where each is that is connected.
    attended: HashMap<String, At>,
    /// What stands in the way of those that are not.
    trouble: BTreeMap<At, NoConnection>,
}

impl Sentinels {
    /// Nobody is asked before [`watch`](Whereabouts::watch) runs.
    pub(crate) fn new(
        wishes: &Wishes,
        app: &str,
        times: Times,
        clock: Clock,
    ) -> Result<Sentinels, Error> {
        let asked = url::Asked::parse(&wishes.url)?;
        let seeds = asked.sentinels.into_iter().map(|(host, port)| At { host, port });
        let seeds: Vec<At> = seeds.collect();
        let room = Room { council: Council::of(seeds.len()), ..Room::default() };
        Ok(Sentinels {
            master: asked.master,
            seeds,
            way: Access::of(Whom::Redis, asked.way, wishes, app)?,
            to_sentinels: Access::of(Whom::Sentinel, asked.to_sentinels, wishes, app)?,
            map: wishes.address_map.clone(),
            patience: wishes.patience,
            times,
            clock,
            room: Mutex::new(room),
            news: watch::Sender::new(()),
            ask_now: Notify::new(),
            said_slow: AtomicBool::new(false),
        })
    }

    /// The way to one that calls itself `at`.
    fn reach(&self, way: &Access, at: &At) -> Result<Access, NoConnection> {
        match &self.map {
            None => way.at(&at.host, at.port),
            Some(map) => {
                let (host, port) = map(&at.host, at.port);
                way.at(&host, port)
            }
        }
    }

    /// What a sentinel answered.
    fn hear(&self, sentinel: &str, at: &At, word: Word) {
        let now = self.clock.now();
        let mut room = self.room.lock();
        room.council.hear(sentinel.to_owned(), at, word);
        let bound = self.times.bound;
        if let Some((at, spot)) = &room.seat {
            match room.council.named(now, bound, None) {
                // The same may have been another's replica in between.
                Some(named) if named.at != *at || named.epoch > spot.tenure => {
                    spot.vouched
                        .end(&format!("another is master: the sentinels name {}", named.at));
                    room.seat = None;
                }
                _ => {
                    if let Some(asked) = room.council.vouches(at) {
                        spot.vouched.covers_until(asked.plus(bound));
                    }
                }
            }
        }
        drop(room);
        self.news.send_replace(());
    }

    /// A sentinel told us, unasked, that another is master now: `name old-host old-port new-host new-port`.
    fn hear_switch(&self, told: &str) {
        let words: Vec<&str> = told.split(' ').collect();
        let [name, host, port, new_host, new_port] = words[..] else { return };
        if name != self.master {
            return;
        }
        {
            let mut room = self.room.lock();
            let is_old = |at: &At| at.host == host && at.port.to_string() == port;
            // Who is late tells us of a master that we have left already.
            let Some((at, spot)) = room.seat.take_if(|(at, _)| is_old(at)) else { return };
            spot.vouched.end(&format!(
                "another is master: a sentinel says that it is {new_host}:{new_port} now, and no longer {at}"
            ));
            // The others will say the same. Until they had the time to, the word of those who do not is
            // not enough to go back.
            room.left = Some((at, self.clock.now().plus(self.times.bound)));
        }
        self.ask_now.notify_waiters();
        self.news.send_replace(());
    }

    /// The one to dial, if a majority names one, and from when on.
    fn named(&self) -> Option<(Named, Moment)> {
        self.named_in(&self.room.lock())
    }

    fn named_in(&self, room: &Room) -> Option<(Named, Moment)> {
        let now = self.clock.now();
        let named = room.council.named(now, self.times.bound, room.left.as_ref())?;
        let from = named.since.plus(self.times.bound.mul_f64(1.01));
        Some((named, from))
    }

    /// Takes the one named into use; `None` when there is none any more, or not yet.
    fn seat(&self, now: Moment) -> Option<Result<Spot, NoConnection>> {
        // In one step with what a sentinel may tell us meanwhile.
        let mut room = self.room.lock();
        let (named, from) = self.named_in(&room)?;
        if now < from {
            return None;
        }
        if let Some((at, spot)) = &room.seat
            && *at == named.at
            && spot.tenure >= named.epoch
        {
            return Some(Ok(spot.clone()));
        }
        let access = match self.reach(&self.way, &named.at) {
            Ok(access) => access,
            Err(why) => return Some(Err(why)),
        };
        let vouched = Vouched::up_to(named.asked.plus(self.times.bound));
        let spot = Spot { access, tenure: named.epoch, vouched: Arc::new(vouched) };
        room.left = None;
        if let Some((_, before)) = room.seat.replace((named.at.clone(), spot.clone())) {
            before.vouched.end(&format!("another is master: the sentinels name {}", named.at));
        }
        Some(Ok(spot))
    }

    /// Why nobody is named.
    fn trouble(&self) -> NoConnection {
        let now = self.clock.now();
        let room = self.room.lock();
        let wrong = room.trouble.values().find(|why| matches!(why, NoConnection::Wrong(_)));
        let first = || room.trouble.values().next();
        let (size, answered) = (
            room.council.size().max(self.seeds.len()),
            room.council.answered_since(now.minus(self.times.bound)),
        );
        match wrong {
            // Enough have answered, and do not agree: what stands in the way of another is not the reason.
            Some(wrong) if answered <= size / 2 => return wrong.clone(),
            _ => {}
        }
        let mut text = format!("{self}: {answered} of {size} sentinels answer");
        match first() {
            _ if answered > size / 2 => text.push_str(", and no majority names the same master"),
            Some(NoConnection::Away(why)) => text.push_str(&format!("; {why}")),
            Some(NoConnection::HungUp(why) | NoConnection::Wrong(why)) => {
                text.push_str(&format!("; {why}"));
            }
            None => {}
        }
        NoConnection::Away(text)
    }

    /// All that the URL names have refused us, and no other is known: there is nothing to wait for.
    fn is_hopeless(&self) -> bool {
        let room = self.room.lock();
        let refused = |at| matches!(room.trouble.get(at), Some(NoConnection::Wrong(_)));
        room.council.is_empty() && self.seeds.iter().all(refused)
    }

    /// Waits until a majority names a master that may be used.
    async fn find(&self) -> Result<Spot, NoConnection> {
        let mut news = self.news.subscribe();
        let mut until = self.clock.now().plus(self.patience);
        loop {
            news.borrow_and_update();
            let now = self.clock.now();
            if let Some(spot) = self.seat(now) {
                return spot;
            }
            if let Some((_, from)) = self.named()
                && from > now
            {
                // That it is named is all that there is to be patient for.
                until = from.plus(self.patience);
                tokio::select! {
                    biased;
                    () = self.clock.sleep(from.since(now)) => {}
                    _ = news.changed() => {}
                }
                continue;
            }
            let left = until.since(now);
            if left.is_zero() || self.is_hopeless() {
                return Err(self.trouble());
            }
            let _ = self.clock.within(left, news.changed()).await;
        }
    }

    /// Says once when a setting cannot do what it is for.
    fn look_at(&self, down_after: Duration) {
        let Times { bound, deadline } = self.times;
        if down_after > bound.max(deadline) || self.said_slow.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(
            sentinels = %self,
            ?down_after,
            ?bound,
            ?deadline,
            "the bound and all deadlines should be shorter than the sentinels' down-after-milliseconds: \
             as it is, another may be master before we have given up the one that hangs"
        );
    }
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the master {} of the sentinels", self.master)?;
        for (number, at) in self.seeds.iter().enumerate() {
            let between = if number == 0 { " at " } else { ", " };
            write!(f, "{between}{at}")?;
        }
        Ok(())
    }
}

impl Whereabouts for Sentinels {
    fn spot(&self) -> Asked<'_, Result<Spot, NoConnection>> {
        Box::pin(self.find())
    }

    fn ask(&self, heartbeat: &mut Pipeline) {
        heartbeat.cmd("ROLE");
    }

    /// A majority's word is not enough: what it names may not have taken its place yet, or may have been
    /// restarted as something else.
    fn judge(&self, _spot: &Spot, _sent: Moment, answers: &[Value]) -> Result<(), String> {
        let role = match answers.first() {
            Some(Value::Array(parts)) => parts.first().cloned().and_then(super::string),
            _ => None,
        };
        match role.as_deref() {
            Some(b"master") => Ok(()),
            Some(b"slave") => Err("it is a replica".to_owned()),
            _ => Err("it does not tell its role".to_owned()),
        }
    }

    fn watch(self: Arc<Self>) -> Asked<'static, ()> {
        Box::pin(self.look_after())
    }
}

impl Sentinels {
    /// Sees to it that every sentinel that is known is asked.
    async fn look_after(self: Arc<Self>) {
        let mut news = self.news.subscribe();
        let (mut tasks, mut asked) = (JoinSet::new(), HashSet::new());
        let mut vouched = true;
        loop {
            news.borrow_and_update();
            for at in self.to_be_asked() {
                if asked.len() < SENTINELS_MAX && asked.insert(at.clone()) {
                    let this = self.clone();
                    tasks.spawn(async move {
                        attend::attend(&this, &at).await;
                        at
                    });
                }
            }
            self.tell(&mut vouched);
            tokio::select! {
                Some(ended) = tasks.join_next() => {
                    if let Ok(at) = ended {
                        asked.remove(&at);
                    }
                }
                _ = self.clock.within(self.times.bound / 4, news.changed()) => {}
            }
        }
    }

    /// Everyone whom the URL names or a sentinel knows, and who is not connected by another name.
    fn to_be_asked(&self) -> Vec<At> {
        let now = self.clock.now();
        let mut room = self.room.lock();
        room.council.forget_before(now.minus(FORGOTTEN_AFTER));
        let known = room.council.known().filter(|(name, _)| !room.attended.contains_key(name));
        let mut all = self.seeds.clone();
        all.extend(known.map(|(_, at)| at.clone()));
        all
    }

    /// Tells people when the word runs out, and when it is given again.
    fn tell(&self, vouched: &mut bool) {
        let now = self.clock.now();
        let is = match &self.room.lock().seat {
            Some((_, spot)) => spot.vouched.covers(now),
            None => return,
        };
        if is != *vouched {
            *vouched = is;
            match is {
                true => {
                    tracing::info!(sentinels = %self, "a majority vouches for the master again")
                }
                false => {
                    let why = match self.trouble() {
                        NoConnection::Away(why) => why,
                        NoConnection::HungUp(why) | NoConnection::Wrong(why) => why.to_string(),
                    };
                    tracing::warn!(
                        %why,
                        "no majority of sentinels vouches for the master: what it answers is not believed, reads go to the loader"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
