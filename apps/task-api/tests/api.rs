//! What the API does, over HTTP, with the cache in this process, over each database.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a scene that cannot be set is a failed test"
)]

use serde_json::{Value, json};
use support::{Client, Database, Place, Service};

#[macro_use]
mod support;

const TASKS: &str = "/api/v1/tasks";
const NO_TASK: &str = "/api/v1/tasks/0198f1f0-9d2c-7cc0-8000-000000000000";

over_each_database! {
    a_task_is_made_read_changed_and_deleted
    a_page_has_ten_tasks_newest_first
    a_list_may_be_of_one_status
    another_users_task_is_not_found
    the_second_read_is_a_hit_and_asks_no_database
    the_next_read_sees_every_write
    a_write_bypasses_the_cache_and_says_so
    every_wrong_parameter_is_named
    every_wrong_field_is_named
    a_body_that_cannot_be_read_is_refused
    an_unknown_route_or_method_is_a_problem
    who_is_not_known_learns_nothing
    tokens_are_handed_out_in_the_demo_alone
    it_says_that_it_lives_and_that_it_is_ready
}

/// One process on an empty database.
fn start(on: Database) -> (Service, Place) {
    let place = on.place();
    (Service::start(&place.and(&[])), place)
}

fn a_task_is_made_read_changed_and_deleted(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    let sent = json!({
        "title": "buy milk", "description": "two", "status": "doing", "due": "2026-11-30",
    });
    let made = ada.post(TASKS, &sent);
    assert_eq!(made.status, 201);
    let path = made.header("location").to_owned();
    assert_eq!(path, format!("{TASKS}/{}", made.body["id"].as_str().unwrap()));
    for (name, value) in sent.as_object().unwrap() {
        assert_eq!(&made.body[name], value);
    }
    assert_eq!(made.body["user"], "ada");
    assert_eq!(ada.get(&path).body, made.body);

    let changed = ada.patch(&path, &json!({ "status": "done", "due": null }));
    assert_eq!(changed.status, 200);
    assert_eq!((&changed.body["status"], &changed.body["due"]), (&json!("done"), &Value::Null));
    assert_eq!(changed.body["title"], "buy milk");
    assert_eq!(ada.get(&path).body, changed.body);

    let deleted = ada.delete(&path);
    assert_eq!((deleted.status, &deleted.body), (204, &Value::Null));
    for gone in [ada.get(&path), ada.delete(&path), ada.patch(&path, &json!({ "title": "x" }))] {
        assert_eq!((gone.status, gone.named().len()), (404, 0));
    }
    assert_eq!(ada.titles(""), [""; 0]);
}

fn a_page_has_ten_tasks_newest_first(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    let mut titles: Vec<_> = (0..12).map(|nth| format!("task {nth}")).collect();
    titles.iter().for_each(|title| drop(ada.create(title)));
    titles.reverse();
    assert_eq!(ada.titles(""), titles[..10]);
    assert_eq!(ada.titles("?page=2"), titles[10..]);
    assert_eq!(ada.titles("?per_page=5&page=2"), titles[5..10]);
    assert_eq!(ada.titles("?page=10000"), [""; 0]);
    let page = ada.get("/api/v1/tasks?page=2").body;
    assert_eq!(
        (&page["page"], &page["per_page"], &page["total"]),
        (&json!(2), &json!(10), &json!(12))
    );
}

fn a_list_may_be_of_one_status(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    let (milk, _oats) = (ada.create("milk"), ada.create("oats"));
    assert_eq!(ada.titles("?status=done"), [""; 0]);
    ada.patch(&milk, &json!({ "status": "done" }));
    assert_eq!(ada.titles("?status=done"), ["milk"]);
    assert_eq!(ada.titles("?status=todo"), ["oats"]);
}

/// For her it is as if there were none: not to be read, changed, deleted, or counted.
fn another_users_task_is_not_found(on: Database) {
    let (service, _place) = start(on);
    let (ada, grace) = (service.client("ada"), service.client("grace"));
    let path = ada.create("secret");
    for _ in 0..2 {
        // The second time out of the cache.
        assert_eq!(ada.get(&path).status, 200);
        assert_eq!(grace.get(&path).status, 404);
        assert_eq!(grace.get(TASKS).body["total"], 0);
    }
    assert_eq!(grace.patch(&path, &json!({ "title": "mine" })).status, 404);
    assert_eq!(grace.delete(&path).status, 404);
    assert_eq!(ada.get(&path).body["title"], "secret");
}

/// The response that was kept, or where none is, one made of the data that was.
fn the_second_read_is_a_hit_and_asks_no_database(on: Database) {
    for responses in ["on", "off"] {
        let place = on.place();
        let service = Service::start(&place.and(&["--response-cache", responses]));
        let ada = service.client("ada");
        let path = ada.create("milk");
        for path in [path.as_str(), TASKS, "/api/v1/tasks?status=todo", NO_TASK] {
            let (first, second) = (ada.get(path), ada.get(path));
            assert_eq!((first.x_cache(), second.x_cache()), ("MISS", "HIT"), "{path}");
            assert!(first.asked_database() && first.came_from("loaded"), "{first:?}");
            assert!(!second.asked_database(), "{second:?}");
            assert_eq!(
                (second.is_kept(), second.came_from("near")),
                (responses == "on", responses == "off")
            );
            assert_eq!((first.status, first.body), (second.status, second.body));
        }
    }
}

/// A cache in one process has no bound to wait for: the next read sees the write.
fn the_next_read_sees_every_write(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    let pages = ["", "?page=2", "?per_page=1", "?status=todo", "?status=done"];
    let fill = || pages.map(|query| ada.titles(query));
    fill();
    let path = ada.create("milk");
    assert_eq!(fill(), [&["milk"][..], &[], &["milk"], &["milk"], &[]]);
    assert_eq!(ada.get(&path).body["title"], "milk");
    ada.patch(&path, &json!({ "title": "oats", "status": "done" }));
    assert_eq!(fill(), [&["oats"][..], &[], &["oats"], &[], &["oats"]]);
    assert_eq!(ada.get(&path).body["title"], "oats");
    assert_eq!(ada.delete(&path).status, 204);
    assert_eq!(fill(), [&[""; 0]; 5]);
    assert_eq!(ada.get(&path).status, 404);
}

fn a_write_bypasses_the_cache_and_says_so(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    let path = ada.create("milk");
    assert_eq!(ada.patch(&path, &json!({ "title": "oats" })).x_cache(), "BYPASS");
    assert_eq!(ada.delete(&path).x_cache(), "BYPASS");
    assert_eq!(ada.get("/api/v1/tasks?page=x").x_cache(), "BYPASS");
}

fn every_wrong_parameter_is_named(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    let named = |query: &str| {
        let answer = ada.get(&format!("{TASKS}{query}"));
        assert_eq!(answer.status, 400, "{query}");
        answer.named().join(" ")
    };
    for wrong in ["0", "-1", "1.5", "x", "", "10001", "99999999999999999999"] {
        assert_eq!(named(&format!("?page={wrong}")), "page");
    }
    assert_eq!(named("?per_page=101"), "per_page");
    assert_eq!(named("?status=late"), "status");
    assert_eq!(named("?page=1&page=2"), "page");
    assert_eq!(named("?sort=title"), "sort");
    assert_eq!(named("?page=0&per_page=0&sort=x"), "page per_page sort");
    assert_eq!(ada.get(&format!("{NO_TASK}?page=1")).named(), ["page"]);
    for id in ["17", "0198f1f0-9d2c-7cc0-8000-00000000000g", "%FF", "%00", "..%2f..%2fetc"] {
        let answer = ada.get(&format!("{TASKS}/{id}"));
        assert_eq!((answer.status, answer.named()), (400, vec!["id"]), "{id}");
    }
}

fn every_wrong_field_is_named(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    let long = "x".repeat(201);
    for (sent, expected) in [
        (json!({}), "title"),
        (json!({ "title": "" }), "title"),
        (json!({ "title": long }), "title"),
        (json!({ "title": 7 }), "title"),
        (json!({ "title": null }), "title"),
        (json!({ "title": "x", "description": "x".repeat(4001) }), "description"),
        (json!({ "title": "x", "status": "late" }), "status"),
        (json!({ "title": "x", "due": "2026-02-30" }), "due"),
        (json!({ "title": "x", "user": "grace" }), "user"),
        (json!({ "title": "x", "id": "17" }), "id"),
        (json!({ "titel": "x", "status": 1 }), "title status titel"),
    ] {
        let answer = ada.post(TASKS, &sent);
        assert_eq!((answer.status, answer.named().join(" ").as_str()), (422, expected), "{sent}");
    }
    let path = ada.create("milk");
    for (sent, expected) in [
        (json!({}), "body"),
        (json!({ "title": null }), "title"),
        (json!({ "created": 1 }), "created"),
    ] {
        let answer = ada.patch(&path, &sent);
        assert_eq!((answer.status, answer.named()), (422, vec![expected]), "{sent}");
    }
    assert_eq!(ada.titles(""), ["milk"]);
}

fn a_body_that_cannot_be_read_is_refused(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    let json = [("content-type", "application/json")];
    for body in ["{\"title\": ", "[]", "7", "nonsense", "{\"title\": \"\\ud800\"}"] {
        let answer = ada.send("POST", TASKS, &json, body);
        assert_eq!((answer.status, answer.named()), (400, vec!["body"]), "{body}");
    }
    let deep = "[".repeat(60_000);
    assert_eq!(ada.send("POST", TASKS, &json, &deep).status, 400);
    let large = format!("{{\"title\": \"{}\"}}", "x".repeat(70_000));
    let answer = ada.send("POST", TASKS, &json, &large);
    assert_eq!((answer.status, answer.named()), (413, vec!["body"]));
    for headers in [&[("content-type", "text/plain")][..], &[("x-none", "")]] {
        let answer = ada.send("POST", TASKS, headers, "{\"title\": \"x\"}");
        assert_eq!((answer.status, answer.named()), (415, vec!["content-type"]));
    }
    assert_eq!(ada.titles(""), [""; 0]);
}

fn an_unknown_route_or_method_is_a_problem(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    for path in ["/", "/api", "/api/v1", "/api/v1/tasks/", "/api/v2/tasks", "/api/v1/auth/token"] {
        let answer = ada.get(path);
        assert_eq!((answer.status, answer.named().len()), (404, 0), "{path}");
    }
    for (path, allowed) in
        [(TASKS, "GET,HEAD,POST"), (NO_TASK, "GET,HEAD,PATCH,DELETE"), ("/healthz", "GET,HEAD")]
    {
        // Which methods there are is no secret.
        for client in [&ada, &service.stranger()] {
            let answer = client.send("PUT", path, &[], "");
            assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{path}");
            assert_eq!(answer.named().len(), 0);
        }
    }
}

fn who_is_not_known_learns_nothing(on: Database) {
    let (service, _place) = start(on);
    let stranger = service.stranger();
    for answer in [
        stranger.get(TASKS),
        stranger.get("/api/v1/tasks?page=x"),
        stranger.get("/api/v1/tasks/17"),
        stranger.post(TASKS, &json!({})),
        stranger.delete(NO_TASK),
    ] {
        assert_eq!((answer.status, answer.named().len()), (401, 0));
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"task-api\"");
    }
    let forged = Client::new(&service.url, Some(format!("{}x", support::token("ada"))));
    let answer = forged.get(TASKS);
    assert_eq!((answer.status, answer.named().len()), (401, 0));
    assert!(answer.header("www-authenticate").contains("invalid_token"));
    let basic = [("authorization", "Basic YWRhOmRlbW8=")];
    assert_eq!(stranger.send("GET", TASKS, &basic, "").status, 401);
}

fn tokens_are_handed_out_in_the_demo_alone(on: Database) {
    let (service, _place) = start(on);
    let demo_place = on.place();
    let demo = Service::start(&demo_place.and(&["--demo"]));
    let route = "/api/v1/auth/token";
    let asked = json!({ "user": "ada", "password": "demo" });
    assert_eq!(service.stranger().post(route, &asked).status, 404);

    let stranger = demo.stranger();
    let given = stranger.post(route, &asked);
    assert_eq!((given.status, &given.body["token_type"]), (200, &json!("Bearer")));
    assert!(given.body["expires_in"].as_u64().unwrap() > 0);
    let token = given.body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(Client::new(&demo.url, Some(token)).get(TASKS).body["total"], 300);

    for (user, password) in [("eve", "demo"), ("ada", "guess"), ("", "")] {
        let answer = stranger.post(route, &json!({ "user": user, "password": password }));
        assert_eq!((answer.status, answer.named().len()), (401, 0));
        assert!(!answer.header("www-authenticate").is_empty());
    }
    let answer = stranger.post(route, &json!({ "user": "ada", "pin": 1 }));
    assert_eq!((answer.status, answer.named()), (422, vec!["password", "pin"]));
    assert_eq!(stranger.get(route).status, 405);
}

fn it_says_that_it_lives_and_that_it_is_ready(on: Database) {
    let (service, _place) = start(on);
    let stranger = service.stranger();
    assert_eq!(stranger.get("/healthz").body, json!({ "status": "alive" }));
    let ready = stranger.get("/readyz");
    assert_eq!(ready.status, 200);
    let cache = json!({ "far": "embedded", "connected": true, "unconfirmed": 0 });
    assert_eq!(ready.body, json!({ "status": "ready", "database": "connected", "cache": cache }));
}
