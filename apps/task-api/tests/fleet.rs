//! Two processes, one database, one Redis: what one of them does, the other knows.
//!
//! Redis is real, and is killed, frozen and started again in the middle.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a scene that cannot be set is a failed test"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;
use support::{Client, Database, Place, Redis, Service, until};

#[macro_use]
mod support;

const TASKS: &str = "/api/v1/tasks";

struct Fleet {
    a: Service,
    b: Service,
    redis: Redis,
    _place: Place,
}

over_each_database! {
    a_write_in_one_process_is_seen_by_the_other
    what_one_process_loaded_the_other_finds_in_redis
    users_never_see_each_others_tasks
    nobody_gets_an_error_when_redis_dies
    a_commit_holds_while_redis_hangs_and_is_seen_when_it_is_back
    every_key_has_a_known_form_and_an_end
    two_demos_may_begin_at_once_on_one_database
}

fn start(on: Database) -> Fleet {
    start_with(on, &[])
}

/// Where no response is kept, each answer says where its data came from.
fn start_without_responses(on: Database) -> Fleet {
    start_with(on, &["--response-cache", "off"])
}

fn start_with(on: Database, more: &[&str]) -> Fleet {
    let (redis, place) = (Redis::start(), on.place());
    let url = redis.url();
    let words = place.and(&[&["--redis-url", &url][..], more].concat());
    let (a, b) = (Service::start(&words), Service::start(&words));
    let fleet = Fleet { a, b, redis, _place: place };
    until("both are connected", || fleet.connected() == [true, true]);
    fleet
}

/// Stops those who ask without pause, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Fleet {
    fn clients(&self, user: &str) -> [Client; 2] {
        [self.a.client(user), self.b.client(user)]
    }

    fn connected(&self) -> [bool; 2] {
        [&self.a, &self.b].map(|service| {
            let ready = service.stranger().get("/readyz");
            assert_eq!(ready.status, 200, "the service works without redis");
            let connected = ready.body["cache"]["connected"] == true;
            let status = if connected { "ready" } else { "degraded" };
            assert_eq!(ready.body["status"], status);
            connected
        })
    }
}

/// B holds the task and its page near. A's write ends both there; until then B may serve the old
/// ones, no longer than the bound, which is far less than they would live.
fn a_write_in_one_process_is_seen_by_the_other(on: Database) {
    let fleet = start_without_responses(on);
    let [a, b] = fleet.clients("ada");
    let path = a.create("milk");
    until("B has it", || b.titles("") == ["milk"]);
    until("B holds it near", || b.get(&path).came_from("near") && b.get(TASKS).came_from("near"));

    a.patch(&path, &json!({ "title": "oats" }));
    until("B has the new title", || b.get(&path).body["title"] == "oats");
    until("B has it on its page", || b.titles("") == ["oats"]);

    let second = b.create("rye");
    until("A has the new task", || a.titles("") == ["rye", "oats"]);
    assert_eq!(a.delete(&path).status, 204);
    until("B has it no more", || b.get(&path).status == 404 && b.titles("") == ["rye"]);
    assert_eq!(b.get(&second).status, 200);
}

/// Redis has 50 ms to answer a read, and on a busy machine it may not: then B asks the database as well,
/// and the test begins anew with a write, which ends what was kept.
fn what_one_process_loaded_the_other_finds_in_redis(on: Database) {
    let fleet = start_without_responses(on);
    let [a, b] = fleet.clients("ada");
    let was_shared = |path: &str| {
        let (first, second) = (a.get(path), b.get(path));
        assert_eq!(first.x_cache(), "MISS");
        if !second.came_from("far") {
            return false;
        }
        assert_eq!((first.status, &first.body), (second.status, &second.body));
        assert!(second.x_cache() == "HIT" && !second.asked_database(), "{second:?}");
        true
    };
    until("a task is shared", || was_shared(&a.create("milk")));
    for page in [TASKS, "/api/v1/tasks?status=todo&per_page=3"] {
        until("a page is shared", || !a.create("oats").is_empty() && was_shared(page));
    }
    until("that there is none is shared", || {
        was_shared(&format!("{TASKS}/{}", uuid::Uuid::now_v7()))
    });
}

/// The same page of both users, in both processes, out of every corner of the cache.
fn users_never_see_each_others_tasks(on: Database) {
    let fleet = start(on);
    let ([ada_a, ada_b], [grace_a, grace_b]) = (fleet.clients("ada"), fleet.clients("grace"));
    let (hers, other) = (ada_a.create("ada's"), grace_b.create("grace's"));
    for _ in 0..3 {
        for (ada, grace) in [(&ada_a, &grace_a), (&ada_b, &grace_b)] {
            assert_eq!(ada.titles(""), ["ada's"]);
            assert_eq!(grace.titles(""), ["grace's"]);
            assert_eq!((ada.get(&hers).status, grace.get(&hers).status), (200, 404));
            assert_eq!((ada.get(&other).status, grace.get(&other).status), (404, 200));
        }
    }
}

/// Redis dies while both processes are asked without pause. Nobody notices but the database; when
/// Redis is back, so are the hits.
fn nobody_gets_an_error_when_redis_dies(on: Database) {
    let mut fleet = start(on);
    let path = fleet.a.client("ada").create("milk");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let askers = [&fleet.a, &fleet.b].map(|service| {
            let (ada, grace) = (service.client("ada"), service.client("grace"));
            let (stop, path) = (&stop, &path);
            scope.spawn(move || {
                let mut answers = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    answers.push(ada.get(path).status);
                    answers.push(ada.get(TASKS).status);
                    answers.push(grace.post(TASKS, &json!({ "title": "rye" })).status);
                    answers.push(grace.get(TASKS).status);
                }
                answers
            })
        });
        let stop = Stop(&stop);
        let redis = &mut fleet.redis;
        let ready = [fleet.a.stranger(), fleet.b.stranger()];
        let connected = |wanted: bool| {
            let is = |one: &Client| one.get("/readyz").body["cache"]["connected"] == wanted;
            ready.iter().all(is)
        };
        redis.kill();
        until("both know that redis is gone", || connected(false));
        let [a, b] = [&fleet.a, &fleet.b].map(|service| service.client("ada"));
        assert_eq!((a.get(&path).x_cache(), b.get(&path).x_cache()), ("MISS", "MISS"));
        redis.restart();
        until("both are connected again", || connected(true));
        until("hits are back", || {
            a.get(&path).x_cache() == "HIT" && b.get(&path).x_cache() == "HIT"
        });
        drop(stop);
        for asker in askers {
            let answers = asker.join().unwrap();
            assert!(answers.iter().all(|status| [200, 201].contains(status)), "{answers:?}");
        }
    });
    assert_eq!(fleet.connected(), [true, true]);
}

/// Redis hangs, and so nobody can tell whether an invalidation arrived. The commit holds, so the
/// client is told so; the invalidation is sent again until it is confirmed.
fn a_commit_holds_while_redis_hangs_and_is_seen_when_it_is_back(on: Database) {
    let fleet = start(on);
    let [a, b] = fleet.clients("ada");
    let path = a.create("milk");
    until("B holds it", || b.get(&path).is_kept());
    fleet.redis.freeze();
    let changed = a.patch(&path, &json!({ "title": "oats" }));
    assert_eq!((changed.status, &changed.body["title"]), (200, &json!("oats")));
    let unconfirmed = || a.get("/readyz").body["cache"]["unconfirmed"].as_u64();
    assert_eq!(unconfirmed(), Some(2), "the task, and its user's pages");
    assert_eq!(a.get(&path).body["title"], "oats");
    fleet.redis.thaw();
    until("both serve the new title from the cache", || {
        [&a, &b].iter().all(|client| {
            let answer = client.get(&path);
            answer.body["title"] == "oats" && answer.x_cache() == "HIT"
        })
    });
    until("A waits for no confirmation any more", || unconfirmed() == Some(0));
}

/// Nothing is left in Redis for ever, and nothing under a name that larder does not document.
fn every_key_has_a_known_form_and_an_end(on: Database) {
    let fleet = start(on);
    let [a, b] = fleet.clients("ada");
    let path = a.create("milk");
    let forms = [
        "todo:tasks:1:v:{.",
        "todo:pages:1:v:{.",
        "todo:http-user:1:v:{.",
        "todo:t:{.",
        "todo:s:feed.activity:items:{.",
    ];
    let more = [
        "todo:tasks:1:l:{.",
        "todo:pages:1:l:{.",
        "todo:http-user:1:l:{.",
        "todo:s:feed.activity:",
        "todo:s:board.closed:",
        "todo:seen:",
    ];
    // What waits to be done, and who does it: there until it is done.
    let without_end = ["todo:s:queue.created:", "todo:seen:"];
    let mut keys = Vec::new();
    until("there is a key of each form", || {
        b.patch(&path, &json!({ "status": "done" }));
        for client in [&a, &b] {
            client.get(&path);
            client.get("/api/v1/tasks?status=done&page=2");
            client.get("/api/v1/tasks/0198f1f0-9d2c-7cc0-8000-000000000000");
        }
        keys = fleet.redis.keys();
        forms.iter().all(|form| keys.iter().any(|(name, _)| name.starts_with(form)))
    });
    for (name, ms) in &keys {
        let is_of = |forms: &[&str]| forms.iter().any(|form| name.starts_with(form));
        // -2: it ended between the two questions.
        let ends = *ms > 0 || *ms == -2;
        let known = is_of(&forms) || is_of(&more);
        assert!((known && ends) || is_of(&without_end), "{name}: {ms}");
    }
}

/// Both find an empty database at the same moment. One of them fills it; a token from one is good for the
/// other.
fn two_demos_may_begin_at_once_on_one_database(on: Database) {
    let (redis, place) = (Redis::start(), on.place());
    let url = redis.url();
    let words = place.and(&["--demo", "--redis-url", &url]);
    let (a, b) = thread::scope(|scope| {
        let [a, b] = [(); 2].map(|()| scope.spawn(|| Service::start(&words)));
        (a.join().unwrap(), b.join().unwrap())
    });
    let asked = json!({ "user": "grace", "password": "demo" });
    let given = a.stranger().post("/api/v1/auth/token", &asked).body;
    let grace = Client::new(&b.url, Some(given["access_token"].as_str().unwrap().to_owned()));
    assert_eq!(grace.get(TASKS).body["total"], 300);
    assert_eq!(a.client("ada").get(TASKS).body["total"], 300);
}

/// Each has a database of its own, in memory: pages of the one would be lies in the other.
#[test]
fn demos_in_memory_share_nothing_in_redis() {
    let redis = Redis::start();
    let url = redis.url();
    let [a, b] = [(); 2].map(|()| Service::start(&["--demo", "--redis-url", &url]));
    let path = a.client("ada").create("only in A");
    assert_eq!(a.client("ada").titles("")[0], "only in A");
    assert_eq!(a.client("ada").get(&path).status, 200);
    assert_ne!(b.client("ada").titles("")[0], "only in A");
    assert_eq!(b.client("ada").get(&path).status, 404);
    let keys = redis.keys();
    assert!(!keys.is_empty() && keys.iter().all(|(name, _)| name.starts_with("todo-demo-")));
}
