//! One master of the cluster: its two connections, and what a heartbeat must bring before they are
//! believed.
//!
//! A master that was replaced goes on answering, and believes in itself until it hears of it. So each
//! heartbeat asks for a key in a slot that should be its own, which only a master in a working cluster
//! answers, and for the slots that it has. What lies in a slot that it has lost goes from near: of the
//! loss itself no key tells. And a connection is believed only after another node has named this one master,
//! asked after the connection was made ([`Line::vouch`]).

use std::fmt;
use std::sync::Arc;

use ::redis::{Pipeline, RedisError, ServerErrorKind, Value};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::super::connect::{Access, NoConnection, Role};
use super::super::supervisor::{Line, Pushed, Supervisor, Terms};
use super::super::whereabouts::{Asked, Spot, Vouched, Whereabouts};
use super::topology::{Member, slots_of, spans};
use crate::clock::Moment;
use crate::error::Error;
use crate::key::slot::{SharedSlots, Slot, Slots};

/// Where it is told that news were lost of what lies in these slots: inline, like any news.
pub(crate) type Lost = Arc<dyn Fn(&Slots) + Send + Sync>;

/// What is known of a node, whichever of its connections is meant.
pub(super) struct Standing {
    pub(super) member: Member,
    access: Access,
    app: Arc<str>,
    bound: std::time::Duration,
    lost: Lost,
    kick: Arc<Notify>,
    /// The slots that were asked for over the tracked connection as its own.
    heard: SharedSlots,
    /// Those that were asked for on their way to it.
    visited: SharedSlots,
    /// Its slots as we take them to be.
    expected: Mutex<Slots>,
    probe: Mutex<Probe>,
}

/// A name in a slot that a node should have.
struct Probe {
    slot: Slot,
    name: Vec<u8>,
}

impl Probe {
    /// Begins like all of the app's names, so that a user who may touch no others may ask for it; and is
    /// none of them.
    fn into(slot: Slot, app: &str) -> Probe {
        let mut number = 0_u32;
        while Slot::of(number.to_string().as_bytes()) != slot {
            number += 1;
        }
        Probe { slot, name: format!("{app}:p:{{{number}}}").into_bytes() }
    }
}

impl Standing {
    pub(super) fn new(
        member: Member,
        slots: Slots,
        access: Access,
        terms: &Terms,
        lost: &Lost,
        kick: &Arc<Notify>,
    ) -> Standing {
        let slot = slots.iter().next().unwrap_or(Slot::of(b""));
        Standing {
            member,
            access,
            app: terms.app.clone(),
            bound: terms.bound,
            lost: lost.clone(),
            kick: kick.clone(),
            heard: SharedSlots::none(),
            visited: SharedSlots::none(),
            probe: Mutex::new(Probe::into(slot, &terms.app)),
            expected: Mutex::new(slots),
        }
    }

    pub(super) fn hears_of(&self, slot: Slot, on_its_way: bool) {
        if on_its_way { self.visited.add(slot) } else { self.heard.add(slot) }
    }

    pub(super) fn expect(&self, slots: Slots) {
        *self.expected.lock() = slots;
    }

    /// News were lost of all that was ever asked for here.
    fn lose_all(&self) {
        for slots in [&self.heard, &self.visited] {
            let lost = slots.take_outside(&Slots::none());
            if !lost.is_empty() {
                (self.lost)(&lost);
            }
        }
    }
}

/// One connection's part in it.
pub(super) struct Post {
    pub(super) standing: Arc<Standing>,
    pub(super) role: Role,
}

impl fmt::Display for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.standing.access.fmt(f)
    }
}

impl Whereabouts for Post {
    fn spot(&self) -> Asked<'_, Result<Spot, NoConnection>> {
        let access = self.standing.access.clone();
        Box::pin(async {
            Ok(Spot { access, tenure: 0, vouched: Arc::new(Vouched::up_to(Moment::NEVER)) })
        })
    }

    fn ask(&self, heartbeat: &mut Pipeline) {
        heartbeat.cmd("EXISTS").arg(&self.standing.probe.lock().name);
        heartbeat.cmd("CLUSTER").arg("SLOTS");
    }

    fn judge(&self, spot: &Spot, sent: Moment, answers: &[Value]) -> Result<(), String> {
        let standing = &*self.standing;
        let judged = self.has(answers);
        let own = judged.inspect_err(|_| standing.kick.notify_one())?;
        if self.role == Role::Tracked {
            // Before the heartbeat counts: it must not prove anything of them.
            let lost = standing.heard.take_outside(&own);
            if !lost.is_empty() {
                (standing.lost)(&lost);
            }
        }
        let mut probe = standing.probe.lock();
        if let Some(slot) = own.iter().next().filter(|_| !own.has(probe.slot)) {
            *probe = Probe::into(slot, &standing.app);
        }
        drop(probe);
        if *standing.expected.lock() != own {
            standing.kick.notify_one();
        }
        if spot.vouched.is_given() {
            spot.vouched.covers_until(sent.plus(standing.bound));
        }
        Ok(())
    }
}

impl Post {
    /// The slots that it has, if it is a master in a cluster that works.
    fn has(&self, answers: &[Value]) -> Result<Slots, String> {
        let [probe, slots] = answers else { return Err("it gave no answer".to_owned()) };
        let member = &self.standing.member;
        if let Value::ServerError(why) = probe {
            // Of one slot that is on its way, or has just gone, it says where: so the cluster works. Whether
            // this one still is a master the other answer tells.
            match why.kind() {
                Some(ServerErrorKind::Moved | ServerErrorKind::Ask) => {}
                _ => return Err(RedisError::from(why.clone()).to_string()),
            }
        }
        let own = slots_of(&spans(slots, &member.place.host)?, &member.id);
        if own.is_empty() {
            return Err("it is no master of this cluster any more".to_owned());
        }
        Ok(own)
    }
}

/// A master, kept connected twice.
pub(super) struct Node {
    pub(super) standing: Arc<Standing>,
    tracked: Arc<Supervisor>,
    untracked: Arc<Supervisor>,
    /// The two supervisors' tasks; they stop with this.
    tasks: JoinSet<()>,
}

impl Node {
    /// Begins to dial at once. `wrong` is told of what will not pass by itself.
    pub(super) fn start(
        member: Member,
        slots: Slots,
        access: Access,
        terms: &Terms,
        lost: &Lost,
        kick: &Arc<Notify>,
        wrong: &Arc<Mutex<Option<Error>>>,
    ) -> Node {
        let standing = Arc::new(Standing::new(member, slots, access, terms, lost, kick));
        let breaker = Arc::new(terms.breaker.of_another(standing.access.to_string()));
        let supervisor = |role| {
            let (pushed, of) = (terms.pushed.clone(), standing.clone());
            let post = Post { standing: standing.clone(), role };
            let terms = Terms {
                whereabouts: Arc::new(post),
                pushed: Arc::new(move |push| match push {
                    Pushed::Key(_) | Pushed::Another => pushed(push),
                    Pushed::Lost => {
                        pushed(push);
                        of.kick.notify_one();
                    }
                    Pushed::Gap => {
                        of.lose_all();
                        of.kick.notify_one();
                    }
                }),
                breaker: breaker.clone(),
                ..terms.clone()
            };
            Supervisor::new(role, terms)
        };
        let (tracked, untracked) = (supervisor(Role::Tracked), supervisor(Role::Untracked));
        let mut tasks = JoinSet::new();
        for supervisor in [&tracked, &untracked] {
            tasks.spawn(keep(supervisor.clone(), standing.clone(), wrong.clone()));
        }
        Node { standing, tracked, untracked, tasks }
    }

    /// The connections there are, believed or not.
    pub(super) fn lines(&self) -> [Option<Arc<Line>>; 2] {
        [&self.tracked, &self.untracked].map(|supervisor| supervisor.line().ok())
    }

    /// It is no master any more, or all ends.
    pub(super) fn end(&mut self) {
        self.tasks.abort_all();
        self.tracked.shut();
        self.untracked.shut();
        self.standing.lose_all();
    }
}

async fn keep(
    supervisor: Arc<Supervisor>,
    standing: Arc<Standing>,
    wrong: Arc<Mutex<Option<Error>>>,
) {
    let first = match supervisor.connect_first().await {
        Ok(line) => {
            supervisor.resume(&line);
            Ok(line)
        }
        Err(NoConnection::Away(why)) => Err(why),
        Err(NoConnection::HungUp(why) | NoConnection::Wrong(why)) => {
            let text = why.to_string();
            *wrong.lock() = Some(why);
            Err(text)
        }
    };
    if let Err(why) = &first {
        tracing::warn!(node = %standing.access, %why, "cannot connect to a node of the cluster; trying on");
    }
    standing.kick.notify_one();
    supervisor.run(first).await;
}
