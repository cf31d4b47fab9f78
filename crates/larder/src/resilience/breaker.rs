//! Leaves a server alone that only costs time.
//!
//! Closed, every call goes; what became of it is counted over a sliding window. When too many have failed or
//! were slow, it opens: calls are turned away at once, so that nobody waits for one deadline after another.
//! After a while it is half open: a few calls are tried, and as they fare it closes or opens again.
//!
//! [`Circuit`] is the state machine, and takes `now`. [`Breaker`] is its shell, shared by all that ask one
//! server: a call's [`Ticket`] tells it what became of the call, also of one that was dropped. What began
//! before the last turn says nothing about the state after it, and is not counted: a late answer from before
//! it opened is no probe.
//!
//! It runs no task. Heartbeats do not pass it, nor does what nobody waits for (giving a lease back, renewing
//! it); ends are sent whatever it says, by those who send them again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{Clock, Moment};
use crate::observe::{Event, Observe};
use crate::policy::BreakerSettings;

/// Parts of the window, which fall away one by one.
const PARTS: usize = 10;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fared {
    /// It was answered.
    Answered,
    /// It failed at once.
    Failed,
    /// It was given up when its time was over.
    Late,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    calls: u32,
    failed: u32,
    slow: u32,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        self.slow = self.slow.saturating_add(other.slow);
    }

    /// Of `calls`, are these too many?
    fn is_bad(&self, calls: u32, settings: &BreakerSettings) -> bool {
        let reaches =
            |some: u32, share: f64| some > 0 && f64::from(some) >= share * f64::from(calls);
        reaches(self.failed, settings.failed_share) || reaches(self.slow, settings.slow_share)
    }
}

/// The last calls, by when they ended.
#[derive(Default)]
struct Window {
    parts: [(u64, Counts); PARTS],
}

impl Window {
    /// Counts `one`, and gives all that are not yet too long ago.
    fn count(&mut self, one: Counts, now: Moment, window: Duration) -> Counts {
        let part_nanos = (crate::clock::nanos(window) / PARTS as u64).max(1);
        let number = now.nanos_since(Moment::NEVER) / part_nanos;
        // Bounded by the modulus.
        let part = &mut self.parts[(number % PARTS as u64) as usize];
        if part.0 != number {
            *part = (number, Counts::default());
        }
        part.1.add(one);
        let mut all = Counts::default();
        let is_recent = |of: u64| of <= number && number - of < PARTS as u64;
        for (_, counts) in self.parts.iter().filter(|(of, _)| is_recent(*of)) {
            all.add(*counts);
        }
        all
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Moment },
    HalfOpen { sent: u32, seen: Counts, until: Moment },
}

/// A change of state, to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Opened { again: bool, seen: Counts },
    HalfOpened,
    Closed,
}

/// The state machine.
struct Circuit {
    settings: BreakerSettings,
    /// From when on an answer is slow.
    slow_after: Duration,
    state: State,
    window: Window,
    /// Counts the turns: a call belongs to the state in which it was sent.
    turns: u64,
}

impl Circuit {
    fn new(settings: BreakerSettings, deadline: Duration) -> Circuit {
        let slow_after = settings.slow_after.unwrap_or(deadline / 2);
        Circuit { settings, slow_after, state: State::Closed, window: Window::default(), turns: 0 }
    }

    fn turn(&mut self, to: State) {
        self.state = to;
        self.turns += 1;
        self.window = Window::default();
    }

    fn open(&mut self, again: bool, seen: Counts, now: Moment) -> Turn {
        self.turn(State::Open { until: now.plus(self.settings.open_for) });
        Turn::Opened { again, seen }
    }

    fn half_open(&mut self, now: Moment) -> Turn {
        let until = now.plus(self.settings.open_for);
        self.turn(State::HalfOpen { sent: 0, seen: Counts::default(), until });
        Turn::HalfOpened
    }

    /// Would a call be let through?
    fn admits(&self, now: Moment) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until } => now >= until,
            // Those that were let through and never came back must not keep it so for ever.
            State::HalfOpen { sent, until, .. } => sent < self.settings.probes || now >= until,
        }
    }

    /// A call wants to go: whether it may, and what has turned by that.
    fn admit(&mut self, now: Moment) -> (bool, Option<Turn>) {
        if !self.admits(now) {
            return (false, None);
        }
        (true, self.sends(now))
    }

    /// A call goes, admitted or not.
    fn sends(&mut self, now: Moment) -> Option<Turn> {
        let is_due = match self.state {
            State::Closed => false,
            State::Open { until } => now >= until,
            State::HalfOpen { sent, until, .. } => sent >= self.settings.probes && now >= until,
        };
        let turned = is_due.then(|| self.half_open(now));
        if let State::HalfOpen { sent, .. } = &mut self.state {
            *sent = sent.saturating_add(1);
        }
        turned
    }

    /// A call that nobody knows the end of makes room for another.
    fn took_back(&mut self, turns: u64) {
        if let State::HalfOpen { sent, .. } = &mut self.state
            && turns == self.turns
        {
            *sent = sent.saturating_sub(1);
        }
    }

    /// A call that was sent after so many turns has ended.
    fn ended(&mut self, turns: u64, fared: Fared, took: Duration, now: Moment) -> Option<Turn> {
        if turns != self.turns || !self.settings.is_on {
            return None;
        }
        let slow = fared == Fared::Late || took >= self.slow_after;
        let failed = fared != Fared::Answered;
        let one = Counts { calls: 1, failed: u32::from(failed), slow: u32::from(slow) };
        match &mut self.state {
            State::Closed => {
                let all = self.window.count(one, now, self.settings.window);
                let is_bad =
                    all.calls >= self.settings.calls_min && all.is_bad(all.calls, &self.settings);
                is_bad.then(|| self.open(false, all, now))
            }
            State::Open { .. } => None,
            State::HalfOpen { seen, .. } => {
                seen.add(one);
                let seen = *seen;
                if seen.is_bad(self.settings.probes, &self.settings) {
                    return Some(self.open(true, seen, now));
                }
                (seen.calls >= self.settings.probes).then(|| {
                    self.turn(State::Closed);
                    Turn::Closed
                })
            }
        }
    }

    /// The server was reached anew: what was counted is of the past.
    fn reached(&mut self, now: Moment) -> Option<Turn> {
        match self.state {
            State::Closed => {
                self.turn(State::Closed);
                None
            }
            State::Open { .. } => Some(self.half_open(now)),
            State::HalfOpen { .. } => {
                self.half_open(now);
                None
            }
        }
    }
}

/// The breaker of one server.
pub(crate) struct Breaker {
    /// Not closed: so that a call pays one load for as long as it is.
    is_shut: AtomicBool,
    /// Held to count one call.
    circuit: Mutex<Circuit>,
    /// Whom it is about, for people.
    of: String,
    clock: Clock,
    observe: Observe,
}

/// A call under way. Dropped without a word, it is taken for slow if it was, and else for one that never was.
pub(crate) struct Ticket<'a> {
    breaker: &'a Breaker,
    turns: u64,
    sent: Moment,
    is_told: bool,
}

impl Breaker {
    /// `deadline`: what a call has.
    pub(crate) fn new(
        settings: BreakerSettings,
        deadline: Duration,
        of: String,
        clock: Clock,
        observe: Observe,
    ) -> Breaker {
        let circuit = Mutex::new(Circuit::new(settings, deadline));
        Breaker { is_shut: AtomicBool::new(false), circuit, of, clock, observe }
    }

    /// One with the same settings, for another server.
    #[cfg(feature = "redis")]
    pub(crate) fn of_another(&self, of: String) -> Breaker {
        let Circuit { settings, slow_after, .. } = &*self.circuit.lock();
        let settings = BreakerSettings { slow_after: Some(*slow_after), ..settings.clone() };
        Breaker::new(settings, *slow_after, of, self.clock.clone(), self.observe.clone())
    }

    /// Would a call be let through now? Takes no place.
    pub(crate) fn admits(&self) -> bool {
        !self.is_shut.load(Ordering::Acquire) || self.circuit.lock().admits(self.clock.now())
    }

    /// `None`: the call is not to be sent.
    pub(crate) fn admit(&self) -> Option<Ticket<'_>> {
        let sent = self.clock.now();
        let turns = self.step(|circuit| {
            let (admitted, turned) = circuit.admit(sent);
            (admitted.then_some(circuit.turns), turned)
        })?;
        Some(Ticket { breaker: self, turns, sent, is_told: false })
    }

    /// For a call that is sent whatever the state, and whose end says as much as any.
    pub(crate) fn note(&self) -> Ticket<'_> {
        let sent = self.clock.now();
        let turns = self.step(|circuit| {
            let turned = circuit.sends(sent);
            (circuit.turns, turned)
        });
        Ticket { breaker: self, turns, sent, is_told: false }
    }

    /// There is a new connection.
    pub(crate) fn reached(&self) {
        let now = self.clock.now();
        self.step(|circuit| ((), circuit.reached(now)));
    }

    /// One step of the state machine, and what it turned is told: never under the lock, since an observer may
    /// ask whether far is up.
    fn step<T>(&self, take: impl FnOnce(&mut Circuit) -> (T, Option<Turn>)) -> T {
        let (answer, turned) = {
            let mut circuit = self.circuit.lock();
            let stepped = take(&mut circuit);
            self.is_shut.store(circuit.state != State::Closed, Ordering::Release);
            stepped
        };
        if let Some(turned) = turned {
            self.tell(turned);
        }
        answer
    }

    fn tell(&self, turned: Turn) {
        let redis = &self.of;
        match turned {
            Turn::Opened { again, seen: Counts { calls, failed, slow } } => {
                if again {
                    tracing::debug!(%redis, calls, failed, slow, "the breaker opens again");
                } else {
                    tracing::warn!(
                        %redis, calls, failed, slow,
                        "the breaker opens: redis fails or is slow, and is not asked for a while; reads go to the loader, ends are queued"
                    );
                }
                self.observe.tell(Event::BreakerOpened { again, calls, failed, slow });
            }
            Turn::HalfOpened => self.observe.tell(Event::BreakerHalfOpen),
            Turn::Closed => {
                tracing::info!(%redis, "the breaker closes: redis is asked again");
                self.observe.tell(Event::BreakerClosed);
            }
        }
    }
}

impl Ticket<'_> {
    pub(crate) fn fared(mut self, fared: Fared) {
        self.is_told = true;
        let now = self.breaker.clock.now();
        let took = now.since(self.sent);
        self.breaker.step(|circuit| ((), circuit.ended(self.turns, fared, took, now)));
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.is_told {
            return;
        }
        let now = self.breaker.clock.now();
        let took = now.since(self.sent);
        self.breaker.step(|circuit| {
            if took < circuit.slow_after {
                circuit.took_back(self.turns);
                return ((), None);
            }
            // Its caller's patience was shorter than far's deadline: that it was never met says nothing good.
            ((), circuit.ended(self.turns, Fared::Late, took, now))
        });
    }
}

#[cfg(test)]
mod tests;
