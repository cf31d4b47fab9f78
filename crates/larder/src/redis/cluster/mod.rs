//! A cluster, as one process keeps it: which node has which slots, and two connections to each master.
//!
//! [`Cluster`] keeps the map. A task of its own asks all nodes for theirs whenever there is reason to: a
//! redirect, a heartbeat that tells of other slots, a connection that came or went. It believes the view of
//! the highest epoch among those that say the cluster works. Each master is a [`Node`](node): the two
//! connections that a single server has, supervised in the same way. What is asked goes by a [`Route`], which
//! sends each command to the node of its slot and follows it where that node sends it.
//!
//! Nobody waits for a node but those who ask it: each is dialled by tasks of its own, and the map is replaced
//! as a whole, never locked while somebody looks into it. Replicas are not asked, save for the map when no
//! master answers. With the process nothing is lost but connections.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ::redis::{Value, from_redis_value_ref, pipe};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

mod lines;
mod node;
mod route;
#[cfg(test)]
mod tests;
mod topology;

pub(crate) use node::Lost;
pub(crate) use route::{Answer, Effort, Question, Route};

use lines::{Lines, Master};
use node::Node;
use topology::{Member, Place, View};

use super::connect::{Access, AddressMap, NoConnection, Role, dial};
use super::supervisor::{Line, Pushed, Terms};
use crate::clock::{Moment, Pauses};
use crate::error::{Error, ErrorKind, FarError};
use crate::key::slot::Slot;
use crate::policy::AfterFailover;

/// Between two looks at a map that is not whole.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const SPACING: Duration = Duration::from_millis(20);
/// Bounds between two looks at one that is, if nothing gives reason to. Heartbeats do.
const PERIOD: u32 = 10;

/// The map, and what keeps it.
pub(crate) struct Cluster {
    access: Access,
    seeds: Vec<Place>,
    map: Option<AddressMap>,
    terms: Terms,
    lost: Lost,
    kick: Arc<Notify>,
    /// Held while nodes are added or removed.
    nodes: Mutex<Vec<Node>>,
    /// Where else the map was said to be known, when last heard.
    known: Mutex<Vec<Place>>,
    lines: watch::Sender<Arc<Lines>>,
    /// What keeps a node from being connected, and will not pass by itself.
    wrong: Arc<Mutex<Option<Error>>>,
    refreshing: Mutex<JoinSet<()>>,
}

/// A view, and a connection of the node that gave it.
type Seen = Vec<View>;

impl Cluster {
    /// Asks any of `seeds` for the map, and connects to all masters. `patience`: how long one connection may
    /// take.
    ///
    /// `terms.whereabouts` and `terms.pushed` are taken for what is common to all nodes.
    pub(crate) async fn open(
        access: Access,
        map: Option<AddressMap>,
        terms: Terms,
        lost: Lost,
        required: bool,
    ) -> Result<Arc<Cluster>, Error> {
        let places = access.nodes().iter();
        let seeds = places.map(|(host, port)| Place { host: host.clone(), port: *port }).collect();
        let cluster = Arc::new(Cluster {
            access,
            seeds,
            map,
            terms,
            lost,
            kick: Arc::new(Notify::new()),
            nodes: Mutex::default(),
            known: Mutex::default(),
            lines: watch::Sender::new(Arc::new(Lines::none())),
            wrong: Arc::default(),
            refreshing: Mutex::default(),
        });
        cluster.first_look(required).await?;
        let refreshing = cluster.clone().refresh_on();
        cluster.refreshing.lock().spawn(refreshing);
        Ok(cluster)
    }

    /// Until all is connected, or it takes too long.
    async fn first_look(self: &Arc<Self>, required: bool) -> Result<(), Error> {
        let clock = &self.terms.clock;
        let until = clock.now().plus(2 * self.access.patience());
        let mut away = match self.ask_around(&self.seeds).await {
            Ok(views) => {
                self.take(&views);
                None
            }
            Err(NoConnection::Away(why)) => Some(why),
            Err(NoConnection::HungUp(why) | NoConnection::Wrong(why)) => return Err(why),
        };
        let mut pauses = Pauses::new(clock, FIRST_PAUSE, LONGEST_PAUSE);
        while away.is_none() && !self.refresh().await {
            if let Some(why) = self.wrong.lock().take() {
                self.close();
                return Err(why);
            }
            if clock.now() > until {
                away = Some("some of its masters cannot be reached".to_owned());
            }
            pauses.pause().await;
        }
        match away {
            Some(why) if required => {
                self.close();
                let text =
                    format!("cannot reach all of the redis cluster, and it is required: {why}");
                Err(Error::new(ErrorKind::Far, text))
            }
            Some(why) => {
                tracing::warn!(redis = %self.access, %why, "the cluster is not there as a whole: starting without the rest, loaders are asked");
                let why = &why;
                self.terms.observe.tell(crate::observe::Event::Disconnected { why });
                Ok(())
            }
            None => {
                self.check_times().await;
                Ok(())
            }
        }
    }

    /// What a replaced master goes on saying must be too late for us before another takes over.
    async fn check_times(&self) {
        let lines = self.lines();
        let Some(line) = lines.masters.iter().find_map(|master| master.untracked.clone()) else {
            return;
        };
        let mut asked = pipe();
        asked.cmd("CONFIG").arg("GET").arg("cluster-node-timeout");
        // Managed servers let nobody ask.
        let Ok(answers) = line.ask_anyone(&asked, self.access.patience()).await else { return };
        let told: Option<Vec<(String, u64)>> =
            answers.first().and_then(|answer| from_redis_value_ref(answer).ok());
        let Some(ms) = told.and_then(|told| told.first().map(|(_, ms)| *ms)) else { return };
        if self.terms.bound >= Duration::from_millis(ms) {
            tracing::warn!(
                redis = %self.access, bound = ?self.terms.bound, cluster_node_timeout_ms = ms,
                "the bound is not below cluster-node-timeout: a master that was cut off may be believed after another has taken over; lower the bound or raise the time-out"
            );
        }
    }

    async fn refresh_on(self: Arc<Self>) {
        let first = || Pauses::new(&self.terms.clock, FIRST_PAUSE, LONGEST_PAUSE);
        let mut pauses = first();
        loop {
            if self.refresh().await {
                pauses = first();
                // Redirects may come by the thousand, each with a reason to look.
                self.terms.clock.sleep(SPACING).await;
                self.terms.clock.within(PERIOD * self.terms.bound, self.kick.notified()).await;
            } else {
                pauses.pause().await;
            }
        }
    }

    /// Looks at the map anew. True when it is whole.
    async fn refresh(&self) -> bool {
        // Whoever is asked now is asked after these connections were made.
        let made: Vec<(Member, [Option<Arc<Line>>; 2])> = {
            let nodes = self.nodes.lock();
            nodes.iter().map(|node| (node.standing.member.clone(), node.lines())).collect()
        };
        let mut views = self.views(&made).await;
        if believed(&views).is_none() {
            let mut places = self.known.lock().clone();
            places.extend(self.seeds.iter().cloned());
            places.sort();
            places.dedup();
            views.extend(self.ask_around(&places).await.unwrap_or_default());
        }
        for (member, lines) in &made {
            if is_named_master(&views, member) {
                lines.iter().flatten().for_each(|line| line.vouch());
            }
        }
        self.take(&views)
    }

    /// The views of all nodes that answer soon.
    async fn views(&self, made: &[(Member, [Option<Arc<Line>>; 2])]) -> Seen {
        let soon = (self.terms.bound / 4).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        let asking = made.iter().filter_map(|(member, [tracked, untracked])| {
            let line = tracked.clone().or(untracked.clone())?;
            let host = member.place.host.clone();
            let asking = async move {
                let mut asked = pipe();
                View::ask(&mut asked);
                let answers = line.ask_anyone(&asked, soon).await.ok()?;
                View::read(answers, &host).ok()
            };
            Some(Box::pin(asking) as Waiting<'_, Option<View>>)
        });
        all_of(asking.collect()).await.into_iter().flatten().collect()
    }

    /// The views of those that answer at these places, over connections of their own.
    async fn ask_around(&self, places: &[Place]) -> Result<Seen, NoConnection> {
        let asking = places
            .iter()
            .map(|place| Box::pin(self.ask_at(place)) as Waiting<'_, Result<View, NoConnection>>);
        let (mut views, mut why) = (Vec::new(), None);
        for answer in all_of(asking.collect()).await {
            match answer {
                Ok(view) => views.push(view),
                // What will not pass is worth telling.
                Err(no) => match (&why, &no) {
                    (None, _) | (Some(NoConnection::Away(_)), _) => why = Some(no),
                    _ => {}
                },
            }
        }
        match why {
            Some(why) if views.is_empty() => Err(why),
            _ => Ok(views),
        }
    }

    async fn ask_at(&self, place: &Place) -> Result<View, NoConnection> {
        let access = self.reached(place)?;
        let (clock, shown) = (&self.terms.clock, access.to_string());
        let dialled = dial(&access, 0, Role::Untracked, &[], View::ask, clock, |_| {}).await?;
        let answers = dialled.answered;
        let away = |why: String| NoConnection::Away(format!("{shown}: {why}"));
        if let Some(Value::ServerError(why)) = answers.first() {
            let text = match (why.code(), why.details()) {
                ("NOPERM", _) => {
                    "the user lacks a permission: grant +cluster|info +cluster|myid +cluster|slots"
                }
                (_, Some(said)) if said.contains("cluster support disabled") => {
                    "it is no node of a cluster: begin the URL with redis:// or rediss://"
                }
                _ => return Err(away("it does not tell of its cluster".to_owned())),
            };
            let text = format!("{shown}: {text}");
            return Err(NoConnection::Wrong(Error::new(ErrorKind::Config, text)));
        }
        View::read(answers, &place.host).map_err(away)
    }

    /// Where a node that is said to be at a place is reached.
    fn reached(&self, place: &Place) -> Result<Access, NoConnection> {
        match &self.map {
            Some(map) => {
                let (host, port) = map(&place.host, place.port);
                self.access.at(&host, port)
            }
            None => self.access.at(&place.host, place.port),
        }
    }

    /// Makes the map what the best of these views says. True when it is whole.
    fn take(&self, views: &[View]) -> bool {
        let mut nodes = self.nodes.lock();
        if self.lines.borrow().is_closed {
            return true; // nobody looks any more
        }
        let Some(view) = believed(views) else {
            let mut lines = Lines::clone(&self.lines.borrow());
            renew(&mut lines.masters, &nodes, self.terms.clock.now());
            self.lines.send_replace(Arc::new(lines));
            return false;
        };
        let masters: Vec<&Member> = view.spans.iter().fold(Vec::new(), |mut all, span| {
            if !all.contains(&&span.master) {
                all.push(&span.master);
            }
            all
        });
        let before = nodes.len();
        nodes.retain_mut(|node| {
            let stays = masters.contains(&&node.standing.member);
            if !stays {
                node.end();
            }
            stays
        });
        if nodes.len() < before && self.terms.after_failover == AfterFailover::Accept {
            // Whoever took over from it may not have heard of our latest ends.
            (self.terms.pushed)(Pushed::Another);
        }
        for member in &masters {
            let slots = view.slots_of(&member.id);
            match nodes.iter().find(|node| node.standing.member == **member) {
                Some(node) => node.standing.expect(slots),
                None => match self.reached(&member.place) {
                    Ok(access) => nodes.push(Node::start(
                        Member::clone(member),
                        slots,
                        access,
                        &self.terms,
                        &self.lost,
                        &self.kick,
                        &self.wrong,
                    )),
                    Err(NoConnection::Wrong(why) | NoConnection::HungUp(why)) => {
                        *self.wrong.lock() = Some(why);
                    }
                    Err(NoConnection::Away(_)) => {}
                },
            }
        }
        let replicas = view.spans.iter().flat_map(|span| &span.replicas);
        let places = masters.iter().copied().chain(replicas).map(|member| member.place.clone());
        *self.known.lock() = places.collect();
        let mut lines = Lines::none();
        lines.masters = nodes.iter().map(master_of).collect();
        renew(&mut lines.masters, &nodes, self.terms.clock.now());
        for span in &view.spans {
            span.slots().for_each(|slot| {
                lines.give(slot, &span.master.place);
            });
        }
        let is_whole = lines.is_whole();
        self.lines.send_replace(Arc::new(lines));
        is_whole
    }

    fn lines(&self) -> Arc<Lines> {
        self.lines.borrow().clone()
    }

    /// A node says that a slot is another's.
    fn moved(&self, slot: Slot, to: &Place) {
        self.lines.send_if_modified(|lines| {
            let is_there = |master: &Master| master.standing.member.place == *to;
            if lines.master(slot).is_some_and(is_there) || lines.at(to).is_none() {
                return false;
            }
            Arc::make_mut(lines).give(slot, to)
        });
        self.kick.notify_one();
    }

    /// The road for what is asked over connections of one role.
    pub(crate) fn route(self: &Arc<Self>, role: Role) -> Result<Route, FarError> {
        let lines = self.lines();
        if lines.is_closed {
            return Err(FarError::Closed);
        }
        let now = self.terms.clock.now();
        if !lines.masters.iter().any(|master| master.line(role).is_some_and(|l| l.is_usable(now))) {
            return Err(FarError::Away);
        }
        Ok(Route::new(self.clone(), lines, role))
    }

    /// Ends once some master takes ends of entries.
    pub(crate) async fn is_back(&self) {
        let mut lines = self.lines.subscribe();
        let now = || self.terms.clock.now();
        let up = |lines: &Arc<Lines>| {
            lines.masters.iter().any(|m| m.untracked.as_ref().is_some_and(|l| l.is_usable(now())))
        };
        // The sender lives as long as `self`.
        let _ = lines.wait_for(up).await;
    }

    /// For good: nothing is asked any more.
    pub(crate) fn close(&self) {
        self.refreshing.lock().abort_all();
        let mut nodes = self.nodes.lock();
        self.lines.send_replace(Arc::new(Lines::closed()));
        nodes.iter_mut().for_each(Node::end);
        nodes.clear();
    }

    pub(crate) fn app(&self) -> &str {
        &self.terms.app
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.terms.deadline
    }
}

fn master_of(node: &Node) -> Master {
    Master { standing: node.standing.clone(), tracked: None, untracked: None }
}

/// The connections that are believed now.
fn renew(masters: &mut [Master], nodes: &[Node], now: Moment) {
    for master in masters {
        let same = |node: &&Node| Arc::ptr_eq(&node.standing, &master.standing);
        let lines = nodes.iter().find(same).map(Node::lines).unwrap_or_default();
        let [tracked, untracked] = lines.map(|line| line.filter(|line| line.is_usable(now)));
        (master.tracked, master.untracked) = (tracked, untracked);
    }
}

/// The best of what was said: of the highest epoch, by one who thinks that the cluster works.
fn believed(views: &[View]) -> Option<&View> {
    views.iter().filter(|view| view.is_ok && !view.spans.is_empty()).max_by_key(|view| view.epoch)
}

/// Whether a node is master by the best word there is and by that of another node; of a single master there
/// is no other.
fn is_named_master(views: &[View], member: &Member) -> bool {
    let names = |view: &View| view.spans.iter().any(|span| span.master == *member);
    let Some(best) = believed(views) else { return false };
    let alone = best.spans.iter().all(|span| span.master == *member);
    let other = views.iter().any(|view| view.is_ok && view.of != member.id && names(view));
    names(best) && (other || alone)
}

/// An answer that is to come.
pub(crate) type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// All answers, in order; none waits for another.
pub(crate) async fn all_of<T>(mut waiting: Vec<Waiting<'_, T>>) -> Vec<T> {
    let mut answers: Vec<Option<T>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut left = false;
        for (waiting, answer) in waiting.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match waiting.as_mut().poll(context) {
                    Poll::Ready(ready) => *answer = Some(ready),
                    Poll::Pending => left = true,
                }
            }
        }
        if left { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    answers.into_iter().flatten().collect()
}
