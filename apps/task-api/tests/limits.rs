//! How often one may ask, over HTTP: in one process, and over a Redis that two of them share.
//!
//! A minute may end in the middle of a test; then some of what was counted counts no more. So up to the quota all
//! pass, whatever the time is, and within another quota somebody is refused.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a scene that cannot be set is a failed test"
)]

use serde_json::json;
use support::{Answer, Client, Directory, Document, Redis, Service, until};

#[macro_use]
mod support;

const TASKS: &str = "/api/v1/tasks";
const TOKEN: &str = "/api/v1/auth/token";
const QUOTA: usize = 20;

fn start(more: &[&str]) -> (Service, Directory) {
    let directory = Directory::new();
    let file = directory.database();
    let words = [&["--demo", "--database-delay", "0", "--database", &file][..], more].concat();
    (Service::start(&words), directory)
}

/// Asks until it is refused; how often it was not, and the refusal.
fn asks_until_refused(mut ask: impl FnMut() -> Answer) -> (usize, Answer) {
    for passed in 0..=2 * QUOTA {
        let answer = ask();
        if answer.status == 429 {
            return (passed, answer);
        }
    }
    panic!("nobody refuses it");
}

fn guess(client: &Client, headers: &[(&str, &str)]) -> Answer {
    let headers = [&[("content-type", "application/json")][..], headers].concat();
    let answer = client.send("POST", TOKEN, &headers, r#"{"user": "ada", "password": "guess"}"#);
    assert!([401, 429].contains(&answer.status), "{answer:?}");
    answer
}

#[test]
fn a_user_who_asks_too_often_is_refused_and_nobody_else_is() {
    let (service, _directory) = start(&["--user-limit", "20", "--address-limit", "20"]);
    let (ada, grace) = (service.client("ada"), service.client("grace"));
    let first = ada.get(TASKS);
    assert_eq!(first.header("ratelimit-policy"), "\"user\";q=20;w=60");
    assert!(first.header("ratelimit").starts_with("\"user\";r=19;t="), "{first:?}");
    let (passed, refused) = asks_until_refused(|| ada.get(TASKS));
    assert!(passed >= QUOTA - 1, "{passed}");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=120).contains(&wait), "{refused:?}");
    assert!(refused.header("ratelimit").starts_with("\"user\";r=0;t="), "{refused:?}");
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert_eq!(refused.body["violated-policies"], json!(["user"]));
    assert_eq!(refused.header("cache-control"), "no-store");
    // A write is refused before it is done, and what no user asks is not refused.
    assert_eq!(ada.post(TASKS, &json!({ "title": "x" })).status, 429);
    assert_eq!(grace.get(TASKS).status, 200);
    for path in ["/healthz", "/readyz", "/docs/", "/docs/openapi.json"] {
        let answer = ada.get(path);
        assert_eq!((answer.status, answer.header("ratelimit")), (200, ""), "{path}");
    }
}

/// Neither a password nor a token can be guessed by trying, nor a limit be escaped by what a client writes.
#[test]
fn an_address_that_guesses_is_refused_whatever_it_says_of_itself() {
    let (service, _directory) = start(&["--user-limit", "20", "--address-limit", "20"]);
    let stranger = service.stranger();
    let mut nth = 0;
    let (passed, refused) = asks_until_refused(|| {
        nth += 1;
        let forged = format!("203.0.113.{nth}");
        let headers = [("x-forwarded-for", forged.as_str()), ("forwarded", &forged)];
        match nth % 2 {
            0 => guess(&stranger, &headers),
            _ => {
                let client = Client::new(&service.url, Some(format!("no token {nth}")));
                let answer = client.send("GET", TASKS, &headers, "");
                assert!([401, 429].contains(&answer.status), "{answer:?}");
                answer
            }
        }
    });
    assert!(passed >= QUOTA, "{passed}");
    assert_eq!(refused.body["violated-policies"], json!(["address"]));
    assert_eq!(service.client("ada").get(TASKS).status, 200, "a user at that address is another's");
}

#[test]
fn a_trusted_proxy_says_whose_address_it_is() {
    let trusted = ["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8", "--address-limit", "20"];
    let (service, _directory) = start(&trusted);
    let stranger = service.stranger();
    let mut nth = 0;
    // What stands before the address that the proxy saw was written by the client.
    let (passed, _) = asks_until_refused(|| {
        nth += 1;
        guess(
            &stranger,
            &[("x-forwarded-for", &format!("198.51.100.{nth}, 203.0.113.9, 10.1.1.1"))],
        )
    });
    assert!(passed >= QUOTA, "{passed}");
    let other = guess(&stranger, &[("x-forwarded-for", "203.0.113.10")]);
    assert_eq!(other.status, 401, "another client");
}

#[test]
fn the_processes_of_a_fleet_count_together_and_each_for_itself_without_redis() {
    let mut redis = Redis::start();
    let (url, directory) = (redis.url(), Directory::new());
    let file = directory.database();
    let words = ["--redis-url", &url, "--database", &file, "--user-limit", "20"];
    let services = [Service::start(&words), Service::start(&words)];
    for service in &services {
        let stranger = service.stranger();
        until("it is connected", || stranger.get("/readyz").body["cache"]["connected"] == true);
    }
    let [a, b] = services.each_ref().map(|service| service.client("ada"));
    let (passed, _) = asks_until_refused(|| {
        a.get(TASKS);
        b.get(TASKS)
    });
    assert!(passed < QUOTA, "each passed as many as both may: {passed}");
    redis.kill();
    for client in [&a, &b] {
        let (passed, _) = asks_until_refused(|| {
            let answer = client.get(TASKS);
            assert!([200, 429].contains(&answer.status), "{answer:?}");
            answer
        });
        assert!(passed <= 2 * QUOTA);
    }
    let other = services[0].client("grace").get(TASKS);
    assert_eq!(other.status, 200, "{other:?}");
}

/// 429 is told of each operation of the API and of no other, and is as it is told.
#[test]
fn the_document_tells_of_the_limits_that_there_are() {
    let (service, _directory) = start(&["--user-limit", "20"]);
    let document = Document(service.stranger().get("/docs/openapi.json").body);
    for (path, item) in document.0["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let told = &operation["responses"];
            assert_eq!(told["429"].is_object(), path.starts_with("/api/v1/"), "{path}");
            for (status, answer) in told.as_object().unwrap() {
                let named = answer["headers"]["RateLimit"].is_object();
                assert_eq!(named, path.starts_with("/api/v1/"), "{path} {status}");
            }
        }
    }
    let ada = service.client("ada");
    let (_, refused) = asks_until_refused(|| ada.get(TASKS));
    let told = &document.0["paths"][TASKS]["get"]["responses"]["429"];
    let schema = &told["content"]["application/problem+json"]["schema"];
    assert_eq!(document.wrong(&refused.body, schema), [""; 0], "{refused:?}");
    for name in ["Retry-After", "RateLimit", "RateLimit-Policy", "Cache-Control"] {
        assert!(told["headers"][name].is_object() && !refused.header(name).is_empty(), "{name}");
    }

    let (service, _directory) = start(&[]);
    let document = service.stranger().get("/docs/openapi.json").body;
    assert!(document["paths"][TASKS]["get"]["responses"]["429"].is_null());
    assert_eq!(service.client("ada").get(TASKS).header("ratelimit"), "");
}
