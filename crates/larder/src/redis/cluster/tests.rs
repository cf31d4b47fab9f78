use std::sync::Arc;

use ::redis::{Value, parse_redis_value, pipe};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::node::{Post, Standing};
use super::topology::{Member, Place, Span, View};
use super::{believed, is_named_master};
use crate::clock::{Clock, SECOND};
use crate::key::slot::{Slot, Slots};
use crate::observe::Observe;
use crate::policy::{AfterFailover, BreakerSettings};
use crate::redis::whereabouts::{Fixed, Spot, Whereabouts};
use crate::redis::{Access, Reading, Role, Terms, Wishes};
use crate::resilience::breaker::Breaker;

fn member(id: &str) -> Member {
    let port = 7000 + u16::from(id.as_bytes()[0]);
    Member { id: id.to_owned(), place: Place { host: "h".to_owned(), port } }
}

/// Masters by their ids, each with as many slots as the others.
fn view(of: &str, epoch: u64, masters: &[&str]) -> View {
    let node = |id: &str| {
        let Member { id, place } = member(id);
        format!("*3\r\n$1\r\n{}\r\n:{}\r\n$1\r\n{id}\r\n", place.host, place.port)
    };
    let share = 16384 / masters.len();
    let spans: String = masters
        .iter()
        .enumerate()
        .map(|(at, id)| {
            let (first, last) = (at * share, at * share + share - 1);
            format!("*3\r\n:{first}\r\n:{last}\r\n{}", node(id))
        })
        .collect();
    let slots = parse(&format!("*{}\r\n{spans}", masters.len()));
    let info = format!("cluster_state:ok\r\ncluster_current_epoch:{epoch}\r\n");
    let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
    View::read(vec![text(&info), text(of), slots], "h").unwrap()
}

fn parse(said: &str) -> Value {
    parse_redis_value(said.as_bytes()).unwrap()
}

/// A master that was cut off has the map as it was, and believes in itself: its own word is none.
#[test]
fn a_master_is_believed_by_the_word_of_another_alone() {
    let old = member("a");
    assert!(!is_named_master(&[view("a", 3, &["a", "b", "c"])], &old), "by itself");
    assert!(is_named_master(&[view("b", 3, &["a", "b", "c"])], &old));
    let after = [view("a", 3, &["a", "b", "c"]), view("b", 4, &["d", "b", "c"])];
    assert_eq!(believed(&after).unwrap().of, "b", "the highest epoch");
    assert!(!is_named_master(&after, &old), "the best word names another");
    let all = [after[0].clone(), after[1].clone(), view("c", 4, &["d", "b", "c"])];
    assert!(is_named_master(&all, &member("b")) && is_named_master(&all, &member("d")));
    assert!(!is_named_master(&[View { is_ok: false, ..after[1].clone() }], &member("c")));
    assert!(is_named_master(&[view("a", 1, &["a"])], &old), "of a single one there is no other");
    let moved = Member { place: Place { port: 1, ..old.place.clone() }, ..old.clone() };
    assert!(!is_named_master(&all, &moved), "at the place where it is said to be");
}

struct Scene {
    post: Post,
    lost: Arc<Mutex<Vec<Slot>>>,
    clock: Clock,
}

/// A node with the first third of the slots.
fn scene(role: Role) -> Scene {
    let clock = Clock::system().unwrap();
    let wishes = Wishes {
        url: "redis://h".to_owned(),
        credentials: None,
        sentinel_credentials: None,
        address_map: None,
        #[cfg(feature = "tls")]
        tls: None,
        patience: SECOND,
        keepalive: SECOND,
    };
    let (access, observe) = (Access::new(&wishes, "app").unwrap(), Observe::new(None));
    let breaker = BreakerSettings::new();
    let breaker = Breaker::new(breaker, SECOND, "h".to_owned(), clock.clone(), observe.clone());
    let terms = Terms {
        whereabouts: Arc::new(Fixed::new(access.clone())),
        app: Arc::from("app"),
        scripts: Arc::new([]),
        reading: Reading::Apart,
        bound: SECOND,
        deadline: SECOND,
        after_failover: AfterFailover::Distrust,
        clock: clock.clone(),
        observe,
        pushed: Arc::new(|_| {}),
        breaker: Arc::new(breaker),
    };
    let lost = Arc::new(Mutex::new(Vec::new()));
    let told = lost.clone();
    let told: super::Lost = Arc::new(move |slots: &Slots| told.lock().extend(slots.iter()));
    let slots = view("a", 1, &["a", "b", "c"]).slots_of("a");
    let kick = Arc::new(Notify::new());
    let standing = Standing::new(member("a"), slots, access, &terms, &told, &kick);
    Scene { post: Post { standing: Arc::new(standing), role }, lost, clock }
}

impl Scene {
    async fn spot(&self) -> Spot {
        self.post.spot().await.unwrap()
    }

    fn judge(&self, spot: &Spot, probe: &str, masters: &[&str]) -> Result<(), String> {
        let View { spans, .. } = view("a", 1, masters);
        let slots = spans.iter().map(Span::answer).collect();
        self.post.judge(spot, self.clock.now(), &[parse(probe), Value::Array(slots)])
    }
}

const THERE: &str = ":0\r\n";
const ELSEWHERE: [&str; 2] = ["-MOVED 1 h:1\r\n", "-ASK 1 h:1\r\n"];

#[tokio::test]
async fn a_connection_is_good_while_its_node_is_a_master_in_a_cluster_that_works() {
    let scene = scene(Role::Tracked);
    let spot = scene.spot().await;
    let masters = ["a", "b", "c"];
    assert_eq!(scene.judge(&spot, THERE, &masters), Ok(()));
    for elsewhere in ELSEWHERE {
        assert_eq!(scene.judge(&spot, elsewhere, &masters), Ok(()), "one slot is not all of them");
    }
    for refused in ["-CLUSTERDOWN The cluster is down\r\n", "-LOADING\r\n", "-NOPERM no\r\n"] {
        assert!(scene.judge(&spot, refused, &masters).is_err(), "{refused}");
    }
    assert!(scene.judge(&spot, THERE, &["d", "b", "c"]).is_err(), "a replica took its place");
    assert!(scene.post.judge(&spot, scene.clock.now(), &[]).is_err());
}

/// Its own heartbeats carry a connection on, and never make it a good one.
#[tokio::test]
async fn no_heartbeat_vouches_for_its_own_node() {
    let scene = scene(Role::Untracked);
    let (spot, masters) = (scene.spot().await, ["a", "b", "c"]);
    assert_eq!(scene.judge(&spot, THERE, &masters), Ok(()));
    assert!(!spot.vouched.covers(scene.clock.now()));
    spot.vouched.covers_until(scene.clock.now().plus(SECOND / 1000));
    assert_eq!(scene.judge(&spot, THERE, &masters), Ok(()));
    assert!(
        spot.vouched.covers(scene.clock.now().plus(SECOND / 2)),
        "as far as a heartbeat reaches"
    );
    assert!(!spot.vouched.covers(scene.clock.now().plus(SECOND)));
    assert!(!scene.spot().await.vouched.covers(scene.clock.now()), "nor is the next one");
}

/// Redis tells of no key that goes with its slot.
#[tokio::test]
async fn what_was_asked_for_in_a_slot_that_is_lost_is_told_as_lost_once() {
    let (scene, beside) = (scene(Role::Tracked), scene(Role::Untracked));
    let numbered = |number| Slot::numbered(number).unwrap();
    for scene in [&scene, &beside] {
        scene.post.standing.hears_of(numbered(1), false);
        scene.post.standing.hears_of(numbered(5000), false);
        scene.post.standing.hears_of(numbered(9000), true);
        let spot = scene.spot().await;
        scene.judge(&spot, THERE, &["a", "b", "c"]).unwrap();
        assert_eq!(*scene.lost.lock(), [], "all its own, and one that was on its way");
        for _ in 0..2 {
            scene.judge(&spot, THERE, &["a", "b", "c", "d"]).unwrap();
        }
    }
    assert_eq!(*scene.lost.lock(), [numbered(5000)]);
    assert_eq!(*beside.lost.lock(), [], "nothing is read over the other connection");
}

/// A user that may touch the app's names alone may ask for it, and whichever slot it is in, it is none of them.
#[tokio::test]
async fn the_key_that_is_asked_for_is_in_a_slot_of_the_node() {
    let scene = scene(Role::Tracked);
    let spot = scene.spot().await;
    for masters in [&["a", "b", "c"][..], &["b", "a", "c"], &["b", "c", "a"], &["a", "b", "c"]] {
        scene.judge(&spot, ELSEWHERE[0], masters).unwrap();
        let mut asked = pipe();
        scene.post.ask(&mut asked);
        let said = String::from_utf8(asked.get_packed_pipeline()).unwrap();
        let name = said.lines().find(|line| line.starts_with("app:")).unwrap();
        let slot = Slot::of(name.as_bytes());
        assert!(view("a", 1, masters).slots_of("a").has(slot), "{name} with {masters:?}");
        assert_eq!(crate::key::parse(name.as_bytes()), crate::key::Named::Other);
    }
}
