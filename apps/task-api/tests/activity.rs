//! What users did, as it is told: in one process, and over a Redis that two of them share.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a scene that cannot be set is a failed test"
)]

use serde_json::{Value, json};
use support::{Answer, Client, Database, Directory, Place, Redis, Service, until, until_in};

#[macro_use]
mod support;

const TASKS: &str = "/api/v1/tasks";
const ACTIVITY: &str = "/api/v1/activity";
const LEADERBOARD: &str = "/api/v1/leaderboard";
const ME: &str = "/api/v1/me";

over_each_database! {
    what_a_user_did_is_told_newest_first
    pages_are_turned_while_more_is_done
    nobody_is_told_what_another_did
    what_is_wrong_with_a_question_is_named
    who_closed_most_this_week_is_told
    a_user_is_told_when_he_was_last_here
    closes_of_two_processes_count_together
    what_a_dead_process_created_is_told_once
    a_creation_that_the_feed_did_not_take_is_told_by_whoever_is_left
    what_one_process_did_the_other_tells
    without_redis_nothing_is_told_and_every_task_is_as_ever
}

fn start(on: Database) -> (Service, Place) {
    let place = on.place();
    (Service::start(&place.and(&[])), place)
}

/// Two processes on one database and one Redis.
fn fleet(on: Database) -> ([Service; 2], Redis, Place) {
    let (redis, place) = (Redis::start(), on.place());
    let url = redis.url();
    let words = place.and(&["--redis-url", &url]);
    let services = [Service::start(&words), Service::start(&words)];
    for service in &services {
        let stranger = service.stranger();
        until("it is connected", || stranger.get("/readyz").body["cache"]["connected"] == true);
    }
    (services, redis, place)
}

/// What Redis tells, as soon as it does: a busy machine may be slow, and a connection may just be coming back.
fn of_redis(client: &Client, path: &str) -> Answer {
    let mut answer = client.get(path);
    until("redis answers", || {
        if answer.status == 503 {
            answer = client.get(path);
        }
        answer.status != 503
    });
    answer
}

/// Each deed as `what title`.
fn told(client: &Client, query: &str) -> Vec<String> {
    let answer = of_redis(client, &format!("{ACTIVITY}{query}"));
    assert_eq!((answer.status, answer.x_cache()), (200, "BYPASS"), "{answer:?}");
    let text = |item: &Value, name: &str| item["deed"][name].as_str().unwrap().to_owned();
    let items = answer.body["items"].as_array().unwrap().iter();
    items.map(|item| format!("{} {}", text(item, "what"), text(item, "title"))).collect()
}

/// Newest first. On a busy machine Redis may take it later than the answer is sent.
fn is_told(client: &Client, what: &[&str]) {
    until("all is told, in this order", || told(client, "") == what);
}

fn what_a_user_did_is_told_newest_first(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    assert_eq!(told(&ada, ""), [""; 0]);
    let path = ada.create("milk");
    is_told(&ada, &["created milk"]);
    ada.patch(&path, &json!({ "title": "oats" }));
    ada.patch(&path, &json!({ "status": "done" }));
    ada.patch(&path, &json!({ "status": "todo" }));
    ada.delete(&path);
    let all = ["deleted oats", "reopened oats", "closed oats", "changed oats", "created milk"];
    assert_eq!(told(&ada, ""), all);
    // What was refused, or found nothing, is no deed.
    ada.delete(&path);
    ada.patch(&path, &json!({ "title": "x" }));
    ada.post(TASKS, &json!({}));
    assert_eq!(told(&ada, ""), all);
}

/// What is done between two pages neither shows a deed twice nor hides one.
fn pages_are_turned_while_more_is_done(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    for nth in 0..5 {
        ada.create(&format!("{nth}"));
    }
    is_told(&ada, &["created 4", "created 3", "created 2", "created 1", "created 0"]);
    let all = told(&ada, "");
    let (mut seen, mut query) = (Vec::new(), "?per_page=2".to_owned());
    loop {
        let page = ada.get(&format!("{ACTIVITY}{query}"));
        seen.extend(told(&ada, &query));
        let Some(next) = page.body["next"].as_str() else { break };
        query = format!("?per_page=2&before={next}");
        let between = format!("between {}", seen.len());
        ada.create(&between);
        until("it is told", || told(&ada, "?per_page=1") == [format!("created {between}")]);
    }
    // The first page was asked for once to turn it, and once to be read: what came between is on neither.
    assert_eq!(seen, all);
}

fn nobody_is_told_what_another_did(on: Database) {
    let (service, _place) = start(on);
    let (ada, others) = (service.client("ada"), ["a", "ada ", "Ada", "ada:1"]);
    ada.create("secret");
    is_told(&ada, &["created secret"]);
    for other in others {
        assert_eq!(told(&service.client(other), ""), [""; 0], "{other}");
    }
    let refused = service.stranger().get(ACTIVITY);
    assert_eq!((refused.status, refused.named().len()), (401, 0));
}

fn what_is_wrong_with_a_question_is_named(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    for (query, named) in [
        ("?per_page=0", "per_page"),
        ("?per_page=101", "per_page"),
        ("?before=1", "before"),
        ("?before=", "before"),
        ("?before=a-b", "before"),
        ("?page=1", "page"),
    ] {
        let answer = ada.get(&format!("{ACTIVITY}{query}"));
        assert_eq!((answer.status, answer.named()), (400, vec![named]), "{query}");
    }
}

/// The best, as `rank user closed`, and the same of who asks.
fn board(client: &Client, query: &str) -> (Vec<String>, String) {
    let answer = of_redis(client, &format!("{LEADERBOARD}{query}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let place = |place: &Value| match place.as_object() {
        Some(place) => {
            format!("{} {} {}", place["rank"], place["user"].as_str().unwrap(), place["closed"])
        }
        None => String::new(),
    };
    let best = answer.body["best"].as_array().unwrap().iter().map(place).collect();
    (best, place(&answer.body["you"]))
}

fn close(client: &Client, times: usize) -> Vec<String> {
    let tasks: Vec<String> = (0..times).map(|nth| client.create(&format!("{nth}"))).collect();
    for task in &tasks {
        assert_eq!(client.patch(task, &json!({ "status": "done" })).status, 200);
    }
    tasks
}

fn who_closed_most_this_week_is_told(on: Database) {
    let (service, _place) = start(on);
    let [ada, bob, eve] = ["ada", "bob", "eve"].map(|user| service.client(user));
    assert_eq!(board(&ada, ""), (vec![], String::new()));
    let tasks = close(&ada, 2);
    close(&bob, 3);
    // Done already, renamed, created done, deleted: no close.
    ada.patch(&tasks[0], &json!({ "status": "done", "title": "x" }));
    ada.post(TASKS, &json!({ "title": "y", "status": "done" }));
    assert_eq!(board(&ada, ""), (vec!["1 bob 3".into(), "2 ada 2".into()], "2 ada 2".into()));
    assert_eq!(board(&bob, "?best=1"), (vec!["1 bob 3".into()], "1 bob 3".into()));
    assert_eq!(board(&eve, "").1, "");
    ada.delete(&tasks[0]);
    ada.patch(&tasks[1], &json!({ "status": "doing" }));
    assert_eq!(board(&ada, "").1, "2 ada 1");
    let week = ada.get(LEADERBOARD).body["week"].as_str().unwrap().to_owned();
    let today = jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date().iso_week_date();
    // The week may have begun between the two questions.
    let weeks =
        [today, today.yesterday().unwrap()].map(|day| format!("{}-W{:02}", day.year(), day.week()));
    assert!(weeks.contains(&week), "{week} is none of {weeks:?}");
    for (query, named) in [("?best=0", "best"), ("?best=101", "best"), ("?top=1", "top")] {
        let answer = ada.get(&format!("{LEADERBOARD}{query}"));
        assert_eq!((answer.status, answer.named()), (400, vec![named]), "{query}");
    }
}

fn a_user_is_told_when_he_was_last_here(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    let begun = jiff::Timestamp::now();
    let mut me = ada.get(ME);
    assert_eq!((me.status, &me.body["user"]), (200, &json!("ada")), "{me:?}");
    until("he was here", || {
        me = ada.get(ME);
        me.body["last_seen"].is_string()
    });
    let seen: jiff::Timestamp = me.body["last_seen"].as_str().unwrap().parse().unwrap();
    assert!(seen.as_second() >= begun.as_second() && seen <= jiff::Timestamp::now(), "{seen}");
    // Another never was.
    assert!(service.client("grace").get(ME).body["user"] == "grace");
    assert_eq!(ada.get(&format!("{ME}?x=1")).named(), ["x"]);
    assert_eq!(service.stranger().get(ME).status, 401);
}

fn closes_of_two_processes_count_together(on: Database) {
    let ([a, b], _redis, _place) = fleet(on);
    let (on_a, on_b) = (a.client("ada"), b.client("ada"));
    close(&on_a, 2);
    close(&on_b, 3);
    close(&a.client("bob"), 1);
    let expected = (vec!["1 ada 5".to_owned(), "2 bob 1".to_owned()], "1 ada 5".to_owned());
    assert_eq!((board(&on_a, ""), board(&on_b, "")), (expected.clone(), expected));
}

/// One process of two dies the moment after it answered. What it told stands, in order; what was announced and
/// is worked on by the other stands there already, and is not told twice.
fn what_a_dead_process_created_is_told_once(on: Database) {
    let ([a, b], redis, _place) = fleet(on);
    for nth in 0..20 {
        a.client("ada").create(&format!("{nth}"));
    }
    drop(a);
    let ada = b.client("ada");
    let created: Vec<String> = (0..20).rev().map(|nth| format!("created {nth}")).collect();
    assert_eq!(told(&ada, "?per_page=100"), created);
    // What A had taken comes back when A has been silent for half a minute.
    until_in(90, "no announcement is left", || {
        let jobs = redis.keys().into_iter().find(|(name, _)| name.contains(":queue.created:jobs:"));
        jobs.is_none_or(|(name, _)| redis.ask::<u64>(&["XLEN", &name]) == 0)
    });
    assert_eq!(told(&ada, "?per_page=100"), created);
}

/// Something else stands where the feed should be while a task is created, and its process dies after the
/// answer. The announcement is in the queue: the other process tells it when the feed is there again.
fn a_creation_that_the_feed_did_not_take_is_told_by_whoever_is_left(on: Database) {
    let ([a, b], redis, _place) = fleet(on);
    a.client("ada").create("first");
    let ada = b.client("ada");
    is_told(&ada, &["created first"]);
    let feed = redis.keys().into_iter().map(|(name, _)| name);
    let feed = feed.into_iter().find(|name| name.contains(":feed.activity:items:")).unwrap();
    redis.ask::<()>(&["RENAME", &feed, "aside"]);
    redis.ask::<()>(&["SET", &feed, "no feed"]);
    a.client("ada").create("second");
    drop(a);
    assert_eq!(redis.ask::<String>(&["GET", &feed]), "no feed");
    redis.ask::<()>(&["RENAME", "aside", &feed]);
    until_in(90, "it is told", || told(&ada, "") == ["created second", "created first"]);
}

/// Two moments of one user, by two processes: the database has the later one, soon after.
#[test]
fn when_a_user_was_here_is_in_the_database_soon() {
    let (redis, directory) = (Redis::start(), Directory::new());
    let (url, file) = (redis.url(), directory.database());
    let words = ["--redis-url", &url, "--database", &file];
    let [a, b] = [(); 2].map(|()| Service::start(&words));
    let database = rusqlite::Connection::open(&file).unwrap();
    let noted = |user: &str| {
        let query = "SELECT last_seen_ms FROM users WHERE user = ?1";
        database.query_row(query, [user], |row| row.get::<_, i64>(0)).ok()
    };
    let mut before = None;
    for service in [&a, &b] {
        let asked = jiff::Timestamp::now().as_millisecond();
        service.client("ada").get(TASKS);
        until("it is in the database", || noted("ada") > before);
        before = noted("ada");
        assert!(before.is_some_and(|ms| ms >= asked), "{before:?} is before {asked}");
    }
    assert_eq!(noted("grace"), None);
}

/// What may be thrown away must not wait there for the database. That is no reason not to serve.
#[test]
fn a_redis_that_evicts_everything_is_no_place_for_notes_and_serves_all_else() {
    let (redis, directory) = (Redis::start(), Directory::new());
    redis.set("maxmemory-policy", "allkeys-lru");
    let (url, file) = (redis.url(), directory.database());
    let service = Service::start(&["--redis-url", &url, "--database", &file]);
    let ada = service.client("ada");
    ada.create("milk");
    is_told(&ada, &["created milk"]);
    for _ in 0..3 {
        assert_eq!((ada.get(ME).status, &ada.get(ME).body["last_seen"]), (200, &Value::Null));
    }
    assert!(redis.keys().iter().all(|(name, _)| !name.starts_with("todo:seen:")));
}

fn what_one_process_did_the_other_tells(on: Database) {
    let ([a, b], _redis, _place) = fleet(on);
    let path = a.client("ada").create("milk");
    b.client("ada").patch(&path, &json!({ "status": "done" }));
    for service in [&a, &b] {
        is_told(&service.client("ada"), &["closed milk", "created milk"]);
    }
}

fn without_redis_nothing_is_told_and_every_task_is_as_ever(on: Database) {
    let ([a, b], mut redis, _place) = fleet(on);
    let ada = a.client("ada");
    ada.create("before");
    is_told(&ada, &["created before"]);
    redis.kill();
    let path = ada.create("in between");
    assert_eq!(ada.patch(&path, &json!({ "status": "done" })).status, 200);
    assert_eq!(b.client("ada").titles(""), ["in between", "before"]);
    for service in [&a, &b] {
        let answer = service.client("ada").get(ACTIVITY);
        assert_eq!((answer.status, answer.named().len()), (503, 0), "{answer:?}");
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(service.client("ada").get(LEADERBOARD).status, 503);
        assert_eq!(service.client("ada").get(ME).status, 200, "the database says");
    }
    redis.restart();
    until("it tells again", || ada.get(ACTIVITY).status == 200);
    ada.patch(&path, &json!({ "title": "after" }));
    until("what is done now is told", || {
        ada.patch(&path, &json!({ "title": "after" }));
        told(&b.client("ada"), "").contains(&"changed after".to_owned())
    });
}
