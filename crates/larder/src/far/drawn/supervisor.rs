//! One connection kept alive, by the rules of `redis/supervisor.rs`.
//!
//! A heartbeat goes out four times in each bound B; one that is not answered within B ends the connection
//! for good. The first try to make another is made at once, then with growing, jittered pauses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Road;
use super::line::Line;
use crate::clock::{Clock, Pauses};
use crate::error::FarError;
use crate::far::{Change, Changes};
use crate::observe::{Event, Observe};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Tracked,
    Untracked,
}

/// What both connections of one process share.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) road: Arc<Road>,
    pub(super) app: Arc<str>,
    pub(super) bound: Duration,
    pub(super) deadline: Duration,
    pub(super) connect_deadline: Duration,
    pub(super) clock: Clock,
    pub(super) observe: Observe,
    pub(super) changes: Changes,
}

/// Keeps one connection of a role alive.
pub(super) struct Supervisor {
    current: Mutex<Result<Arc<Line>, FarError>>,
    up: watch::Sender<bool>,
    role: Role,
    terms: Terms,
    was_connected: AtomicBool,
}

impl Supervisor {
    pub(super) fn new(role: Role, terms: Terms) -> Arc<Supervisor> {
        let (current, up) = (Mutex::new(Err(FarError::Away)), watch::Sender::new(false));
        let was_connected = AtomicBool::new(false);
        Arc::new(Supervisor { current, up, role, terms, was_connected })
    }

    fn pauses(&self) -> Pauses {
        Pauses::new(&self.terms.clock, FIRST_PAUSE, LONGEST_PAUSE)
    }

    pub(super) fn line(&self) -> Result<Arc<Line>, FarError> {
        self.current.lock().clone()
    }

    pub(super) async fn is_up(&self) {
        let mut up = self.up.subscribe();
        // The sender lives as long as `self`, so this ends only when the wish is met.
        let _ = up.wait_for(|up| *up).await;
    }

    /// One try: `None` when nobody answers.
    pub(super) async fn connect(&self) -> Option<Arc<Line>> {
        let core = &self.terms.road.core;
        self.terms.clock.sleep(core.delay()).await;
        if core.is_away() || core.chance(core.weather().refusals) {
            return None;
        }
        let line = Line::new(self.role, &self.terms)?;
        let sent = self.terms.clock.now();
        let server_ms = line.prove(self.terms.connect_deadline).await.ok()?;
        line.beat(sent, server_ms);
        Some(Arc::new(line))
    }

    pub(super) async fn run(self: Arc<Self>, first: Option<Arc<Line>>) {
        let mut pauses = self.pauses();
        let mut line = match first {
            Some(line) => line,
            None => {
                pauses.pause().await;
                self.dial_until_made(&mut pauses).await
            }
        };
        loop {
            let began = self.terms.clock.now();
            let why = self.live(&line).await;
            self.give_up(&line, why);
            if self.terms.clock.now().since(began) > self.terms.bound {
                pauses = self.pauses();
            } else {
                pauses.pause().await;
            }
            line = self.dial_until_made(&mut pauses).await;
        }
    }

    async fn dial_until_made(&self, pauses: &mut Pauses) -> Arc<Line> {
        loop {
            if let Some(line) = self.connect().await {
                self.resume(&line);
                return line;
            }
            pauses.pause().await;
        }
    }

    /// Beats until the connection is lost or an answer is overdue; says which. While the process is stopped
    /// it does neither: it finds out when it runs again, and others may run before it.
    async fn live(&self, line: &Line) -> &'static str {
        let terms = &self.terms;
        let mut last = terms.clock.now();
        loop {
            let due = last.plus(terms.bound / 4).since(terms.clock.now());
            tokio::select! {
                biased;
                () = line.lost() => return "connection closed",
                () = terms.clock.sleep(due) => {}
            }
            terms.road.runs().await;
            let sent = terms.clock.now();
            let patience = last.plus(terms.bound).since(sent);
            if patience.is_zero() {
                return "a heartbeat is overdue";
            }
            let answer = tokio::select! {
                biased;
                () = line.lost() => return "connection closed",
                answer = line.prove(patience) => answer,
            };
            terms.road.runs().await;
            let Ok(server_ms) = answer else { return "a heartbeat failed" };
            line.beat(sent, server_ms);
            if self.role == Role::Tracked {
                terms.observe.tell(Event::Lag { took: terms.clock.now().since(sent) });
            }
            last = sent;
        }
    }

    pub(super) fn shut(&self) {
        if let Ok(line) = std::mem::replace(&mut *self.current.lock(), Err(FarError::Closed)) {
            line.pulse.end();
        }
    }

    /// To be called once with each connection, before it is used.
    pub(super) fn resume(&self, line: &Arc<Line>) {
        let again = self.was_connected.swap(true, Ordering::AcqRel);
        if self.role == Role::Tracked {
            (self.terms.changes)(Change::Gap);
            self.terms.observe.tell(Event::Connected { again });
        }
        self.replace(Ok(line.clone()));
        self.up.send_replace(true);
    }

    fn replace(&self, with: Result<Arc<Line>, FarError>) {
        let mut current = self.current.lock();
        // A task that is being stopped may still get here.
        if !matches!(*current, Err(FarError::Closed)) {
            *current = with;
        }
    }

    fn give_up(&self, line: &Line, why: &str) {
        line.pulse.end();
        self.replace(Err(FarError::Away));
        self.up.send_replace(false);
        if self.role == Role::Tracked {
            (self.terms.changes)(Change::Gap);
            self.terms.observe.tell(Event::Disconnected { why });
        }
    }
}
