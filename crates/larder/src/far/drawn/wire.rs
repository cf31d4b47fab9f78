//! One connection, as bytes on a wire: what is sent in one direction arrives in that order.
//!
//! Two tasks. One is the server's end: it takes commands as they arrive, runs each and sends its reply
//! behind the changes told before it. The other is the driver of our end: it applies changes inline and
//! hands out replies, in the order in which they were written. What was sent before we hang up arrives all
//! the same. What waits on a wire is bounded by those who wait for answers.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::supervisor::Role;
use super::{Core, Lawless, Road};
use crate::clock::Moment;
use crate::far::memory::MemoryFar;
use crate::far::{Change, Changes, Far, Link};
use crate::pulse::Pulse;

/// Names that the server tells this connection of, each once.
type Watched = Mutex<HashSet<Vec<u8>, FixedState>>;

/// Hands a reply to the one who waits for it.
pub(super) type Answer = Box<dyn FnOnce() + Send>;

/// Runs a command at the server.
pub(super) type Command = Arc<dyn Fn(&Served) -> Answer + Send + Sync>;

/// The server's end of a connection.
pub(super) struct Served {
    pub(super) core: Arc<Core>,
    pub(super) far: MemoryFar,
    pub(super) link: Arc<dyn Link>,
    pub(super) app: Arc<str>,
    watched: Arc<Watched>,
}

impl Served {
    /// The server tells of the next change to it.
    pub(super) fn watch(&self, name: &[u8]) {
        self.watched.lock().insert(name.to_vec());
    }

    /// A write of our own: it ends the watching without a word.
    pub(super) fn forget(&self, name: &[u8]) {
        self.watched.lock().remove(name);
    }
}

/// What is on its way up.
struct Sent {
    due: Moment,
    command: Command,
    may_come_twice: bool,
}

/// What is on its way down.
enum Frame {
    Name(Vec<u8>),
    Gap,
    Answer(Answer),
    Lost,
}

/// The way down. Its end is the server's.
struct Down {
    core: Arc<Core>,
    frames: UnboundedSender<(Moment, Frame)>,
    /// When the last of them arrives: no later one arrives before it.
    last: Mutex<Moment>,
    is_swallowed: AtomicBool,
}

impl Down {
    fn send(&self, frame: Frame) {
        if self.core.chance(self.core.weather().swallows) {
            self.is_swallowed.store(true, Ordering::Release);
        }
        if !self.is_swallowed.load(Ordering::Acquire) {
            let due = later(&self.core, &self.last);
            // Our end may be gone.
            let _ = self.frames.send((due, frame));
        }
    }
}

fn later(core: &Core, last: &Mutex<Moment>) -> Moment {
    let mut last = last.lock();
    *last = core.clock.now().plus(core.delay()).max(*last);
    *last
}

/// Our end of a connection.
pub(super) struct Wire {
    core: Arc<Core>,
    sent: UnboundedSender<Sent>,
    last: Mutex<Moment>,
    is_swallowed: AtomicBool,
    lost: Arc<Lost>,
}

/// Whether our end has seen the connection go.
#[derive(Default)]
pub(super) struct Lost {
    is: AtomicBool,
    told: Notify,
}

impl Lost {
    fn tell(&self) {
        self.is.store(true, Ordering::Release);
        self.told.notify_waiters();
    }

    pub(super) async fn is_so(&self) {
        loop {
            let mut told = pin!(self.told.notified());
            told.as_mut().enable();
            if self.is.load(Ordering::Acquire) {
                return;
            }
            told.await;
        }
    }
}

impl Wire {
    pub(super) fn new(
        road: &Arc<Road>,
        app: &Arc<str>,
        role: Role,
        pulse: &Arc<Pulse>,
        changes: &Changes,
    ) -> Option<Wire> {
        let core = road.core.clone();
        let (sent, arriving) = unbounded_channel();
        let (frames, coming) = unbounded_channel();
        let (last, is_swallowed) = (Mutex::new(Moment::NEVER), AtomicBool::new(false));
        let down = Arc::new(Down { core: core.clone(), frames, last, is_swallowed });
        let watched = Arc::<Watched>::default();
        let far = MemoryFar::new(core.shelf.clone(), app, ear(role, &watched, &down));
        let link = far.link().ok()?;
        let served = Served { core: core.clone(), far, link, app: app.clone(), watched };
        let lost = Arc::<Lost>::default();
        let life = core.life();
        core.spawn(serve(served, life, arriving, down));
        let (changes, pulse) = (changes.clone(), pulse.clone());
        core.spawn(drive(road.clone(), role, coming, changes, pulse, lost.clone()));
        let (last, is_swallowed) = (Mutex::new(Moment::NEVER), AtomicBool::new(false));
        Some(Wire { core, sent, last, is_swallowed, lost })
    }

    pub(super) fn send(&self, command: Command, may_come_twice: bool) {
        if self.core.chance(self.core.weather().swallows) {
            self.is_swallowed.store(true, Ordering::Release);
        }
        if !self.is_swallowed.load(Ordering::Acquire) {
            let due = later(&self.core, &self.last);
            // The server's end may be gone: then no answer comes.
            let _ = self.sent.send(Sent { due, command, may_come_twice });
        }
    }

    pub(super) fn lost(&self) -> &Arc<Lost> {
        &self.lost
    }
}

/// What the server tells this connection, behind what it wrote before.
fn ear(role: Role, watched: &Arc<Watched>, down: &Arc<Down>) -> Changes {
    let (watched, down) = (watched.clone(), down.clone());
    Arc::new(move |change| {
        if role == Role::Untracked {
            return;
        }
        let is_lost = down.core.weather().lawless == Some(Lawless::LosesChanges);
        match change {
            Change::Gap | Change::Another => {
                watched.lock().clear();
                down.send(Frame::Gap);
            }
            Change::Lost => {}
            // Only a cluster has slots.
            #[cfg(feature = "redis")]
            Change::Slots(_) => down.send(Frame::Gap),
            Change::Name(name) => {
                if watched.lock().remove(name) && !(is_lost && down.core.chance(1_000)) {
                    down.send(Frame::Name(name.to_vec()));
                }
            }
        }
    })
}

/// The server's end, up to the end of the server's life or of the connection.
async fn serve(served: Served, life: u64, mut arriving: UnboundedReceiver<Sent>, down: Arc<Down>) {
    let core = served.core.clone();
    let serving = async {
        while let Some(Sent { due, command, may_come_twice }) = arriving.recv().await {
            core.until(due).await;
            if core.life() != life {
                return;
            }
            let weather = core.weather();
            let is_cut = core.chance(weather.cuts);
            if is_cut && core.chance(5_000) {
                return;
            }
            core.shelf.expire();
            let answer = command(&served);
            if is_cut {
                return;
            }
            down.send(Frame::Answer(answer));
            if may_come_twice && core.chance(weather.repeats) {
                again(&served, command, life);
            }
        }
    };
    let mut ended = pin!(core.ended.notified());
    ended.as_mut().enable();
    if core.life() == life {
        tokio::select! {
            biased;
            () = serving => {}
            () = ended => {}
        }
    }
    down.send(Frame::Lost);
}

/// Once more, later, over a connection of nobody's.
fn again(served: &Served, command: Command, life: u64) {
    let (core, app) = (served.core.clone(), served.app.clone());
    let deaf: Changes = Arc::new(|_| {});
    core.clone().spawn(async move {
        core.clock.sleep(core.up_to_ms(3_000)).await;
        let far = MemoryFar::new(core.shelf.clone(), &app, deaf);
        let Ok(link) = far.link() else { return };
        if core.life() == life {
            core.shelf.expire();
            drop(command(&Served { core, far, link, app, watched: Arc::default() }));
        }
    });
}

/// The driver of our end: inline, in wire order.
async fn drive(
    road: Arc<Road>,
    role: Role,
    mut coming: UnboundedReceiver<(Moment, Frame)>,
    changes: Changes,
    pulse: Arc<Pulse>,
    lost: Arc<Lost>,
) {
    while let Some((due, frame)) = coming.recv().await {
        road.core.until(due).await;
        road.runs().await;
        if road.is_dead() {
            return;
        }
        match frame {
            Frame::Name(name) => changes(Change::Name(&name)),
            Frame::Gap => changes(Change::Gap),
            Frame::Answer(answer) => answer(),
            Frame::Lost => {
                pulse.end();
                if role == Role::Tracked {
                    changes(Change::Gap);
                }
                lost.tell();
                return;
            }
        }
    }
}
