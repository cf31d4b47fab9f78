//! Objects: what one changes does not undo what another changed, and nothing is read to be written back.

use larder::structures::{FieldReader, FieldWriter, HashObject, Object, Removal, Written};
use larder::{Error, ErrorKind, HOUR, SECOND};
use serde::{Deserialize, Serialize};

use crate::scene::{Scene, on_every_side};
use crate::support::{Cluster, Proxy, Server, Way, until};

on_every_side! {
    a_struct_comes_back_as_it_was,
    what_was_derived_comes_back_too,
    some_fields_are_read_and_changed_without_the_others,
    a_change_is_made_only_if_the_object_is_as_it_should_be,
    numbers_are_counted_and_keep_their_bounds,
    two_who_change_at_once_undo_nothing,
    what_another_version_wrote_stays_and_is_read,
    what_cannot_be_read_is_named,
    an_object_is_forgotten_in_its_time,
    what_is_asked_wrongly_is_refused,
    a_closed_larder_says_so,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum State {
    New,
    Away { since: u64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Profile {
    name: String,
    #[serde(default)]
    visits: i64,
    balance: f64,
    active: bool,
    motto: Option<String>,
    state: State,
    tags: Vec<String>,
}

fn ann() -> Profile {
    Profile {
        name: "Ann \u{1f95b}".into(),
        visits: 3,
        balance: 1.5,
        active: true,
        motto: Some("carpe diem".into()),
        state: State::Away { since: 7 },
        tags: vec!["a".into(), "b".into()],
    }
}

fn open(scene: &Scene) -> Object<Profile> {
    scene.larder.object("profile").serde().unwrap()
}

/// The same, told by hand.
#[derive(Debug, PartialEq)]
struct Point {
    x: i64,
    y: Option<i64>,
}

impl HashObject for Point {
    const FIELDS: &'static [&'static str] = &["x", "y"];

    fn to_fields(&self) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
        let mut out = FieldWriter::new();
        out.put("x", &self.x)?;
        out.put("y", &self.y)?;
        Ok(out.into_fields())
    }

    fn from_fields(fields: &mut FieldReader<'_>) -> Result<Point, Error> {
        Ok(Point { x: fields.take("x")?, y: fields.take("y")? })
    }
}

async fn a_struct_comes_back_as_it_was(scene: &Scene) {
    let profiles = open(scene);
    let mine = profiles.of(&7);
    assert_eq!(mine.get_all().await.unwrap(), None);
    assert!(!mine.exists().await.unwrap());
    mine.set_all(&ann()).await.unwrap();
    assert_eq!(mine.get_all().await.unwrap(), Some(ann()));
    assert!(mine.exists().await.unwrap());
    assert_eq!(profiles.of(&8).get_all().await.unwrap(), None);
    // redis-cli reads what is no compound.
    for name in scene.names() {
        let field = |field: &str| scene.says::<String>("HGET", name.as_bytes(), &[field]).unwrap();
        assert_eq!(field("visits"), "3");
        assert_eq!(field("active"), "true");
        assert_eq!(field("name"), "Ann \u{1f95b}");
    }
    let without = Profile { motto: None, state: State::New, tags: vec![], ..ann() };
    mine.set_all(&without).await.unwrap();
    assert_eq!(mine.get_all().await.unwrap(), Some(without));
    assert_eq!(mine.remove().await.unwrap(), Removal::Removed);
    assert_eq!(mine.remove().await.unwrap(), Removal::NotThere);
    assert_eq!(mine.get_all().await.unwrap(), None);

    let points: Object<Point> = scene.larder.object("points").open().unwrap();
    let point = points.of("a");
    for value in [Point { x: -1, y: Some(2) }, Point { x: 4, y: None }] {
        point.set_all(&value).await.unwrap();
        assert_eq!(point.get_all().await.unwrap(), Some(value));
    }
}

/// The same, by the macro.
#[derive(Clone, Debug, PartialEq, HashObject)]
struct Seat {
    #[field(rename = "r")]
    row: u32,
    #[field(default)]
    visits: i64,
    #[field(with = "json")]
    notes: Vec<String>,
    holder: Option<String>,
}

async fn what_was_derived_comes_back_too(scene: &Scene) {
    let seats: Object<Seat> = scene.larder.object("seat").open().unwrap();
    let mine = seats.of(&(4, "b"));
    let seat = Seat { row: 4, visits: 0, notes: vec!["aisle".into()], holder: Some("Ann".into()) };
    assert_eq!(mine.create(&seat).await.unwrap(), Written::Done);
    assert_eq!(mine.get_all().await.unwrap(), Some(seat.clone()));
    assert_eq!(mine.increment("visits", 2).await.unwrap(), 2);
    for name in scene.names() {
        let field = |field: &str| scene.says::<String>("HGET", name.as_bytes(), &[field]).unwrap();
        assert_eq!((field("r"), field("visits")), ("4".to_owned(), "2".to_owned()));
        assert_eq!(field("notes"), r#"["aisle"]"#);
    }
    let left = Seat { holder: None, visits: 2, ..seat };
    mine.set_all(&left).await.unwrap();
    assert_eq!(mine.get_all().await.unwrap(), Some(left));
}

async fn some_fields_are_read_and_changed_without_the_others(scene: &Scene) {
    let mine = open(scene).of(&7);
    mine.set_all(&ann()).await.unwrap();
    mine.set("name", "Anna").await.unwrap();
    let change = mine.change().set("active", &true).set("active", &false).remove("motto");
    assert_eq!(change.set("tags", &["c"]).send().await.unwrap(), Written::Done);
    assert_eq!(mine.get::<String>("name").await.unwrap().as_deref(), Some("Anna"));
    assert_eq!(mine.get::<String>("motto").await.unwrap(), None);
    let some = mine.get_some(&["active", "motto", "tags"]).await.unwrap();
    assert_eq!(some.take::<bool>("active").unwrap(), Some(false));
    assert_eq!(some.take::<String>("motto").unwrap(), None);
    assert_eq!(some.take::<Vec<String>>("tags").unwrap(), Some(vec!["c".into()]));
    let expected = Profile {
        name: "Anna".into(),
        active: false,
        motto: None,
        tags: vec!["c".into()],
        ..ann()
    };
    assert_eq!(mine.get_all().await.unwrap(), Some(expected));
    mine.change().set("motto", &Some("x")).send().await.unwrap();
    mine.set("motto", &None::<String>).await.unwrap();
    assert_eq!(mine.get::<String>("motto").await.unwrap(), None);
}

async fn a_change_is_made_only_if_the_object_is_as_it_should_be(scene: &Scene) {
    let mine = open(scene).of(&7);
    assert_eq!(mine.replace(&ann()).await.unwrap(), Written::NotThere);
    let change = || mine.change().set("visits", &9);
    assert_eq!(change().if_there().send().await.unwrap(), Written::NotThere);
    assert!(!mine.exists().await.unwrap());
    assert_eq!(mine.create(&ann()).await.unwrap(), Written::Done);
    let other = Profile { visits: 0, ..ann() };
    assert_eq!(mine.create(&other).await.unwrap(), Written::AlreadyThere);
    assert_eq!(change().if_absent().send().await.unwrap(), Written::AlreadyThere);
    assert_eq!(mine.get::<i64>("visits").await.unwrap(), Some(3));
    assert_eq!(mine.replace(&other).await.unwrap(), Written::Done);
    assert_eq!(change().if_there().send().await.unwrap(), Written::Done);
    assert_eq!(mine.get::<i64>("visits").await.unwrap(), Some(9));
    assert_eq!(mine.change().send().await.unwrap(), Written::Done);
}

async fn numbers_are_counted_and_keep_their_bounds(scene: &Scene) {
    let mine = open(scene).of(&7);
    assert_eq!(mine.increment("visits", 5).await.unwrap(), 5);
    assert_eq!(mine.increment("visits", -7).await.unwrap(), -2);
    mine.set("visits", &(i64::MAX - 1)).await.unwrap();
    assert_eq!(mine.increment("visits", 1).await.unwrap(), i64::MAX);
    let why = mine.increment("visits", 1).await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Encode);
    assert!(why.to_string().contains("visits of object.profile"), "{why}");
    assert_eq!(mine.get::<i64>("visits").await.unwrap(), Some(i64::MAX));
    assert_eq!(mine.increment_float("balance", 0.25).await.unwrap(), 0.25);
    assert_eq!(mine.increment_float("balance", 1e3).await.unwrap(), 1000.25);
    assert_eq!(mine.get::<f64>("balance").await.unwrap(), Some(1000.25));
    assert!(mine.increment_float("balance", f64::NAN).await.is_err());
    assert!(mine.increment_float("balance", f64::INFINITY).await.is_err());
    mine.set("name", "Ann").await.unwrap();
    assert_eq!(mine.increment("name", 1).await.unwrap_err().kind(), ErrorKind::Encode);
    assert_eq!(mine.increment_float("name", 1.0).await.unwrap_err().kind(), ErrorKind::Encode);
    assert_eq!(mine.get::<String>("name").await.unwrap().as_deref(), Some("Ann"));
}

async fn two_who_change_at_once_undo_nothing(scene: &Scene) {
    let here = open(scene).of(&7);
    let there: Object<Profile> = scene.another().await.object("profile").serde().unwrap();
    let there = there.of(&7);
    here.set_all(&Profile { visits: 0, ..ann() }).await.unwrap();
    let renaming = tokio::spawn(async move {
        for number in 0..100 {
            there.set("name", &format!("{number}")).await.unwrap();
            there.increment("visits", 1).await.unwrap();
        }
    });
    for number in 0..100 {
        here.set("motto", &format!("{number}")).await.unwrap();
        here.increment("visits", 1).await.unwrap();
    }
    renaming.await.unwrap();
    let all = here.get_all().await.unwrap().unwrap();
    assert_eq!((all.name.as_str(), all.motto.as_deref(), all.visits), ("99", Some("99"), 200));
}

async fn what_another_version_wrote_stays_and_is_read(scene: &Scene) {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Older {
        name: String,
        nick: Option<String>,
        balance: f64,
        active: bool,
        state: State,
        tags: Vec<String>,
    }
    let older: Object<Older> = scene.larder.object("profile").serde().unwrap();
    let nick = Some("annie".to_owned());
    let all = Older {
        name: "Ann".into(),
        nick: nick.clone(),
        balance: 0.0,
        active: false,
        state: State::New,
        tags: vec![],
    };
    older.of(&7).set_all(&all).await.unwrap();
    let mine = open(scene).of(&7);
    let read = mine.get_all().await.unwrap().unwrap();
    assert_eq!((read.name.as_str(), read.visits), ("Ann", 0), "serde's default");
    mine.set_all(&ann()).await.unwrap();
    assert_eq!(
        older.of(&7).get_all().await.unwrap().unwrap().nick,
        nick,
        "it is not ours to remove"
    );
}

async fn what_cannot_be_read_is_named(scene: &Scene) {
    let points: Object<Point> = scene.larder.object("points").open().unwrap();
    #[derive(Serialize, Deserialize)]
    struct Words {
        x: String,
        z: u8,
    }
    let words: Object<Words> = scene.larder.object("points").serde().unwrap();
    words.of(&1).set("x", "secret").await.unwrap();
    let why = points.of(&1).get_all().await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Encode);
    assert!(why.to_string().contains("field x") && why.to_string().contains("points"), "{why}");
    assert!(!why.to_string().contains("secret"), "{why}");
    assert!(points.of(&1).get::<i64>("x").await.is_err());
    words.of(&2).set("z", &1).await.unwrap();
    points.of(&2).set("y", &1).await.unwrap();
    let why = points.of(&2).get_all().await.unwrap_err();
    assert!(why.to_string().contains("field x: it is not there"), "{why}");
}

async fn an_object_is_forgotten_in_its_time(scene: &Scene) {
    let mine = open(scene).of(&7);
    assert_eq!(mine.expire_in(HOUR).await.unwrap(), Written::NotThere);
    mine.set_all(&ann()).await.unwrap();
    assert_eq!(mine.expire_in(SECOND / 5).await.unwrap(), Written::Done);
    until("it is forgotten", || async { !mine.exists().await.unwrap() }).await;
    let brief: Object<Profile> =
        scene.larder.object("brief").expire_after(SECOND / 5).serde().unwrap();
    brief.of(&7).increment("visits", 1).await.unwrap();
    until("it is forgotten", || async { !brief.of(&7).exists().await.unwrap() }).await;
    let lasting: Object<Profile> =
        scene.larder.object("lasting").expire_after(HOUR).serde().unwrap();
    lasting.of(&7).set("visits", &1).await.unwrap();
    for name in scene.names() {
        let ms: i64 = scene.says("PTTL", name.as_bytes(), &[]).unwrap();
        assert!(ms > 3_000_000, "{name} expires in {ms} ms");
    }
}

async fn what_is_asked_wrongly_is_refused(scene: &Scene) {
    let config = |why: Error, word: &str| {
        assert_eq!(why.kind(), ErrorKind::Config);
        assert!(why.to_string().contains(word), "{why} lacks {word}");
    };
    let mine = open(scene).of(&7);
    config(mine.get::<u8>("nmae").await.unwrap_err(), "it has name, visits");
    config(mine.set("nmae", &1).await.unwrap_err(), "nmae");
    config(mine.increment("nmae", 1).await.unwrap_err(), "nmae");
    config(mine.change().set("name", "a").remove("x").send().await.unwrap_err(), "\"x\"");
    config(mine.expire_in(std::time::Duration::ZERO).await.unwrap_err(), "expire_in");
    assert!(!mine.exists().await.unwrap());
    config(scene.larder.object("a").serde::<Vec<u8>>().unwrap_err(), "named fields");
    let builder = scene.larder.object("a").expire_after(std::time::Duration::ZERO);
    config(builder.serde::<Profile>().unwrap_err(), "expire_after");
    let large = "x".repeat(2 << 20);
    assert_eq!(mine.set("name", &large).await.unwrap_err().kind(), ErrorKind::Encode);
    let long = open(scene).of(&"x".repeat(2000));
    assert_eq!(long.get_all().await.unwrap_err().kind(), ErrorKind::Key);
}

async fn a_closed_larder_says_so(scene: &Scene) {
    let mine = open(scene).of(&7);
    let _ = scene.larder.close(SECOND).await;
    assert_eq!(mine.get_all().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(mine.increment("visits", 1).await.unwrap_err().kind(), ErrorKind::Closed);
}

/// The reply is lost: nobody knows whether it was written, and a change can be made again.
#[tokio::test]
async fn a_lost_reply_is_unconfirmed() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let builder = larder::Larder::builder("app").redis(proxy.url()).require_far();
    let larder = builder.invalidate_deadline(SECOND).open().await.unwrap();
    let mine = larder.object("profile").serde::<Profile>().unwrap().of(&7);
    mine.set_all(&ann()).await.unwrap();
    proxy.swallow_all(Way::Down);
    let why = mine.set("name", "Anna").await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Unconfirmed, "{why}");
    proxy.heal();
    until("it is written", || async { mine.set("name", "Anna").await.is_ok() }).await;
    assert_eq!(mine.get_all().await.unwrap().unwrap().name, "Anna");
}

/// A server that is killed comes back empty, or with what its log has.
#[tokio::test]
async fn an_object_outlives_a_server_that_keeps_a_log() {
    for (settings, left) in
        [(vec![], None), (vec!["--appendonly", "yes", "--appendfsync", "always"], Some(ann()))]
    {
        let mut server = Server::with(&settings);
        let builder = larder::Larder::builder("app").redis(server.url()).require_far();
        let larder = builder.open().await.unwrap();
        let mine = larder.object("profile").serde::<Profile>().unwrap().of(&7);
        mine.set_all(&ann()).await.unwrap();
        server.kill();
        until("it is gone", || async { mine.exists().await.is_err() }).await;
        server.start_again();
        until("it is back", || async { mine.exists().await.is_ok() }).await;
        assert_eq!(mine.get_all().await.unwrap(), left, "{settings:?}");
        mine.set_all(&ann()).await.unwrap();
    }
}

/// Evicted, another's key under our name, memory that is full: told, and nothing half done.
#[tokio::test]
async fn eviction_another_type_and_full_memory_are_told() {
    let scene = Scene::on(Server::start()).await;
    let mine = open(&scene).of(&7);
    mine.set_all(&ann()).await.unwrap();
    let name = scene.names().remove(0);
    let _: Option<String> = scene.says("CONFIG", b"SET", &["maxmemory", "1"]);
    let why = mine.set("name", "Anna").await.unwrap_err();
    assert!(why.kind() == ErrorKind::Far && why.to_string().contains("OOM"), "{why}");
    assert!(mine.increment("visits", 1).await.is_err());
    assert_eq!(mine.get_all().await.unwrap(), Some(ann()));
    assert_eq!(mine.change().remove("motto").send().await.unwrap(), Written::Done);
    let _: Option<String> = scene.says("CONFIG", b"SET", &["maxmemory", "0"]);
    assert_eq!(scene.says::<usize>("DEL", name.as_bytes(), &[]), Some(1));
    assert_eq!(mine.get_all().await.unwrap(), None, "evicted");
    let _: Option<String> = scene.says("SET", name.as_bytes(), &["text"]);
    let get = mine.get_all().await.unwrap_err();
    let set = mine.set_all(&ann()).await.unwrap_err();
    let counted = mine.increment("visits", 1).await.unwrap_err();
    for why in [get, set, counted] {
        assert!(why.kind() == ErrorKind::Far && why.to_string().contains("WRONGTYPE"), "{why}");
    }
    assert_eq!(mine.remove().await.unwrap(), Removal::Removed);
    mine.set_all(&ann()).await.unwrap();
}

/// A slot on its way to another node while an object is counted in: every sum that was given is one more.
#[tokio::test]
async fn a_slot_moves_under_increments() {
    let scene = Scene::on_cluster(Cluster::of_masters()).await;
    let crate::scene::Place::Cluster(cluster) = &scene.place else { panic!() };
    let mine = open(&scene).of(&7);
    mine.set_all(&Profile { visits: 0, ..ann() }).await.unwrap();
    let slot = cluster.slot(scene.names()[0].as_bytes());
    let from = cluster.master_of(slot);
    let to = (from + 1) % 3;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let counting = tokio::spawn({
        let mine = mine.clone();
        async move {
            let mut sum = 0;
            while !*stopped.borrow() {
                if let Ok(now) = mine.increment("visits", 1).await {
                    assert_eq!(now, sum + 1);
                    sum = now;
                }
            }
            sum
        }
    });
    let visits = || async { mine.get::<i64>("visits").await.ok().flatten().unwrap_or(0) };
    until("it counts", || async { visits().await > 20 }).await;
    cluster.begin_to_move(slot, from, to);
    while cluster.move_keys(slot, from, to, 100) > 0 {}
    cluster.end_move(slot, from, to);
    let before = visits().await;
    until("it counts on", || async { visits().await > before + 20 }).await;
    stop.send(true).unwrap();
    assert_eq!(counting.await.unwrap(), visits().await);
    assert_eq!(mine.get_all().await.unwrap().unwrap().name, ann().name);
}
