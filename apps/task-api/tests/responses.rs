//! Whole responses, kept by user and URL beside the data that they are made of.
//!
//! Whether the cache of responses answered is in `Cache-Status`: `hit` says that no handler was asked.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a scene that cannot be set is a failed test"
)]

use serde_json::json;
use support::{Client, Database, Directory, Place, Redis, SECRET, Service, token_of, until};

#[macro_use]
mod support;

const TASKS: &str = "/api/v1/tasks";
/// By this name all processes of a fleet are asked, so that their URLs are the same.
const FLEET: &str = "tasks.example";

over_each_database! {
    a_second_read_is_answered_without_its_handler
    a_write_ends_the_responses_that_show_it_and_no_others
    a_write_ends_data_and_responses_in_the_other_process_too
    a_write_ends_responses_where_its_own_process_keeps_none
    what_one_process_answered_the_other_finds_in_redis
    a_page_kept_for_one_user_is_never_anothers
    who_is_not_known_is_refused_though_the_page_is_kept
    no_field_of_a_client_changes_whose_page_it_is
    what_is_wrong_and_what_is_not_a_users_is_not_kept
    a_path_written_otherwise_never_outlives_a_write
    responses_are_not_kept_where_that_is_turned_off
}

/// One process on an empty database.
fn start(on: Database) -> (Service, Place) {
    let place = on.place();
    (Service::start(&place.and(&[])), place)
}

/// Two on one database and one Redis, told more than that each.
fn fleet(on: Database, more: [&[&str]; 2]) -> (Service, Service, (Redis, Place)) {
    let (redis, place) = (Redis::start(), on.place());
    let url = redis.url();
    let [a, b] = more.map(|more| {
        let words = [&["--redis-url", &url][..], more].concat();
        Service::start(&place.and(&words))
    });
    for service in [&a, &b] {
        let stranger = service.stranger();
        until("it is connected", || stranger.get("/readyz").body["cache"]["connected"] == true);
    }
    (a, b, (redis, place))
}

/// Asks until the response is one that was kept.
fn keep(client: &Client, path: &str) {
    until("the response is kept", || client.get(path).is_kept());
}

/// With no response of before, and no data: only what `Cache-Status` says can tell the first two apart.
fn a_second_read_is_answered_without_its_handler(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    let task = ada.create("milk");
    let nobodys = format!("{TASKS}/{}", uuid::Uuid::now_v7());
    for path in [&task, TASKS, "/api/v1/tasks?status=todo&per_page=3", &nobodys] {
        let first = ada.get(path);
        assert_eq!(first.header("cache-status"), "larder; fwd=uri-miss; stored", "{path}");
        assert_eq!(first.x_cache(), "MISS");
        let second = ada.get(path);
        assert!(second.is_kept(), "{second:?}");
        assert_eq!((second.x_cache(), second.header("server-timing")), ("HIT", ""), "{second:?}");
        assert!(!second.header("age").is_empty());
        assert_eq!((first.status, &first.body), (second.status, &second.body));
        assert_eq!(first.header("content-type"), second.header("content-type"));
    }
    let head = ada.send("HEAD", &task, &[], "");
    assert!(head.status == 200 && head.is_kept(), "{head:?}");
    assert!(!ada.get(&format!("{TASKS}?page=1")).is_kept(), "it is another URL");
}

fn a_write_ends_the_responses_that_show_it_and_no_others(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    let others = ["grace", "a", "ada ", "adam", "ada:1", "Ada"].map(|user| service.client(user));
    let (milk, rye) = (ada.create("milk"), ada.create("rye"));
    let pages = [TASKS, "/api/v1/tasks?page=2", "/api/v1/tasks?status=done"];
    let fill = || {
        pages.iter().copied().chain([milk.as_str(), &rye]).for_each(|path| keep(&ada, path));
        others.iter().for_each(|other| keep(other, TASKS));
    };
    let ended = |paths: &[&str]| {
        for path in paths {
            let answer = ada.get(path);
            assert!(!answer.is_kept() && answer.x_cache() == "MISS", "{path}: {answer:?}");
        }
        let stays = |other: &Client| other.get(TASKS).is_kept();
        assert!(others.iter().all(stays), "what is another's stays");
    };
    fill();
    ada.patch(&milk, &json!({ "title": "oats" }));
    assert!(ada.get(&rye).is_kept(), "another task stays");
    ended(&[&milk, pages[0], pages[1], pages[2]]);
    assert_eq!(ada.get(&milk).body["title"], "oats");

    fill();
    ada.create("salt");
    assert!(ada.get(&milk).is_kept() && ada.get(&rye).is_kept());
    ended(&pages);
    assert_eq!(ada.titles(""), ["salt", "rye", "oats"]);

    fill();
    assert_eq!(ada.delete(&milk).status, 204);
    ended(&[&milk, pages[0]]);
    assert_eq!(ada.get(&milk).status, 404);
}

/// B serves both from its near copies until it hears of the write, which is long before they would end.
fn a_write_ends_data_and_responses_in_the_other_process_too(on: Database) {
    let (a, b, _scene) = fleet(on, [&[], &[]]);
    let [a, b] = [&a, &b].map(|service| service.client("ada").by_name(FLEET));
    let path = a.create("milk");
    for title in ["oats", "rye", "salt"] {
        for path in [path.as_str(), TASKS] {
            keep(&a, path);
            keep(&b, path);
        }
        a.patch(&path, &json!({ "title": title }));
        assert_eq!(a.get(&path).body["title"], title, "where it was written it is seen at once");
        assert_eq!(a.titles(""), [title]);
        until("B shows it", || b.get(&path).body["title"] == title && b.titles("") == [title]);
        // Were data kept that is older than the end of the response, it would come back in the next one.
        keep(&b, &path);
        keep(&b, TASKS);
        assert_eq!(
            (b.get(&path).body["title"].as_str(), b.titles("")),
            (Some(title), vec![title.to_owned()])
        );
    }
}

fn a_write_ends_responses_where_its_own_process_keeps_none(on: Database) {
    let (a, b, _scene) = fleet(on, [&["--response-cache", "off"], &[]]);
    let [a, b] = [&a, &b].map(|service| service.client("ada").by_name(FLEET));
    let path = a.create("milk");
    keep(&b, &path);
    keep(&b, TASKS);
    a.patch(&path, &json!({ "title": "oats" }));
    until("B shows it", || b.get(&path).body["title"] == "oats" && b.titles("") == ["oats"]);
}

/// Redis has 50 ms to answer a read, and on a busy machine it may not: then the test begins anew, with a
/// write.
fn what_one_process_answered_the_other_finds_in_redis(on: Database) {
    let (a, b, _scene) = fleet(on, [&[], &[]]);
    let [a, b] = [&a, &b].map(|service| service.client("ada").by_name(FLEET));
    until("a response is shared", || {
        let path = a.create("milk");
        keep(&a, &path);
        let (kept, found) = (a.get(&path), b.get(&path));
        assert_eq!((kept.status, &kept.body), (found.status, &found.body));
        found.is_kept()
    });
}

/// Ids of which one begins another, and ids made of what a careless key would be put together with. Every
/// user has a page under the same URL, kept, and sees their own; also out of Redis, in another process.
fn a_page_kept_for_one_user_is_never_anothers(on: Database) {
    let (a, b, _scene) = fleet(on, [&[], &[]]);
    let long = "x".repeat(128);
    let users = [
        "a",
        "ad",
        "ada",
        "ada ",
        " ada",
        "Ada",
        "ada/",
        "ada:",
        "ada|1",
        "ada{1}",
        "ada?page=1",
        "ada%2F",
        "ada;3.ada",
        "3.ada",
        "anonymous",
        "null",
        "\u{430}da",
        &long,
        &long[1..],
    ];
    let query = "?page=1";
    let path = format!("{TASKS}{query}");
    for user in users {
        let client = a.client(user).by_name(FLEET);
        client.create(&format!("of {user:?}"));
        keep(&client, &path);
    }
    for user in users {
        for service in [&a, &b] {
            let client = service.client(user).by_name(FLEET);
            assert_eq!(client.titles(query), [format!("of {user:?}")], "{user:?}");
            keep(&client, &path);
            assert_eq!(client.titles(query), [format!("of {user:?}")], "{user:?}");
        }
    }
}

fn who_is_not_known_is_refused_though_the_page_is_kept(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    let path = ada.create("secret");
    let now = jsonwebtoken::get_current_timestamp();
    let good = token_of(&json!({ "sub": "ada", "exp": now + 3600 }), SECRET);
    let bad = [
        None,
        Some(String::new()),
        Some("ada".to_owned()),
        Some(format!("{good}x")),
        Some(token_of(&json!({ "sub": "ada", "exp": now - 60 }), SECRET)),
        Some(token_of(&json!({ "sub": "", "exp": now + 3600 }), SECRET)),
        Some(token_of(&json!({ "exp": now + 3600 }), SECRET)),
        Some(token_of(
            &json!({ "sub": "ada", "exp": now + 3600 }),
            "another secret of over 32 bytes, long",
        )),
    ];
    for path in [path.as_str(), TASKS] {
        keep(&ada, path);
        for token in &bad {
            let answer = Client::new(&service.url, token.clone()).get(path);
            assert_eq!((answer.status, answer.named().len()), (401, 0), "{token:?}");
            assert!(!answer.header("www-authenticate").is_empty());
            assert_eq!((answer.x_cache(), answer.header("cache-status")), ("BYPASS", ""));
        }
        assert!(ada.get(path).is_kept());
    }
}

/// Neither what a proxy may have set, nor what a client makes up.
fn no_field_of_a_client_changes_whose_page_it_is(on: Database) {
    let (service, _place) = start(on);
    let (ada, grace) = (service.client("ada"), service.client("grace"));
    ada.create("ada's");
    grace.create("grace's");
    keep(&ada, TASKS);
    keep(&grace, TASKS);
    for (name, value) in [
        ("x-user", "grace"),
        ("x-forwarded-user", "grace"),
        ("cookie", "user=grace"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "elsewhere"),
        ("forwarded", "host=elsewhere"),
        ("x-original-url", "/healthz"),
        ("x-http-method-override", "DELETE"),
        ("cache-control", "no-cache"),
    ] {
        let answer = ada.send("GET", TASKS, &[(name, value)], "");
        assert!(answer.is_kept() && answer.titles() == ["ada's"], "{name}: {answer:?}");
    }
    assert_eq!((ada.titles(""), grace.titles("")), (vec!["ada's".into()], vec!["grace's".into()]));
}

fn what_is_wrong_and_what_is_not_a_users_is_not_kept(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    for path in ["/api/v1/tasks?page=x", "/api/v1/tasks/17"] {
        for _ in 0..2 {
            let answer = ada.get(path);
            assert_eq!((answer.status, answer.x_cache()), (400, "BYPASS"), "{path}");
            assert!(!answer.is_kept());
        }
    }
    for path in ["/healthz", "/readyz", "/nothing"] {
        for _ in 0..2 {
            assert_eq!(ada.get(path).header("cache-status"), "", "{path}");
        }
    }
}

/// `%30` is `0` to the handler. Such a response is not kept, for its tag could not be told; one whose id is in
/// capitals is, under the tag of the task.
fn a_path_written_otherwise_never_outlives_a_write(on: Database) {
    let (service, _place) = start(on);
    let ada = service.client("ada");
    let path = ada.create("milk");
    let (begin, id) = path.rsplit_once('/').unwrap();
    let encoded = format!("{begin}/%{:X}{}", id.as_bytes()[0], &id[1..]);
    let capital = format!("{begin}/{}", id.to_ascii_uppercase());
    keep(&ada, &capital);
    for path in [&encoded, &encoded] {
        let answer = ada.get(path);
        assert_eq!((answer.status, &answer.body["title"]), (200, &json!("milk")));
        assert!(
            !answer.is_kept() && answer.header("cache-status").contains("fwd=bypass"),
            "{answer:?}"
        );
    }
    ada.patch(&path, &json!({ "title": "oats" }));
    for path in [&path, &encoded, &capital] {
        assert_eq!(ada.get(path).body["title"], "oats", "{path}");
    }
}

fn responses_are_not_kept_where_that_is_turned_off(on: Database) {
    let place = on.place();
    let service = Service::start(&place.and(&["--response-cache", "off"]));
    let ada = service.client("ada");
    let path = ada.create("milk");
    for path in [path.as_str(), TASKS] {
        let (first, second) = (ada.get(path), ada.get(path));
        assert_eq!((first.x_cache(), second.x_cache()), ("MISS", "HIT"));
        assert!(second.came_from("near") && second.header("cache-status").is_empty(), "{second:?}");
    }
}

/// A demo on a database that was emptied: what Redis knows of the one before is not shown.
#[test]
fn a_seed_ends_the_responses_of_an_older_database() {
    let (redis, directory) = (Redis::start(), Directory::new());
    let url = redis.url();
    let old = directory.path().join("old.db").to_str().unwrap().to_owned();
    let words = ["--redis-url", &url, "--database"];
    let before = Service::start(&[&words[..], &[old.as_str()]].concat());
    let ada = before.client("ada").by_name(FLEET);
    let path = ada.create("of the old database");
    keep(&ada, &path);
    keep(&ada, TASKS);
    drop(before);
    let new = directory.database();
    let demo = Service::start(&[&words[..], &[new.as_str(), "--demo"]].concat());
    let ada = demo.client("ada").by_name(FLEET);
    assert_eq!((ada.get(&path).status, &ada.get(TASKS).body["total"]), (404, &json!(300)));
}
