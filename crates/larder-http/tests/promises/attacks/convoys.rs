//! Those who ask for the same at once wait for one another only where that is of use.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use larder_http::{Audience, Rule};
use tokio::sync::{Barrier, Semaphore};

use super::bodies::{in_time, pieces};
use super::{for_an_hour, rules};
use crate::far::{self, Server};
use crate::support::{Answer, App, Session, each_user, embedded, response, soon, together, until};

const CROWD: usize = 20;

async fn crowd(app: &App, fields: &[(&str, &str)], many: usize) -> Vec<Answer> {
    let asked = (0..many).map(|_| app.send("GET", "/", fields));
    soon("all of the crowd", together(asked)).await
}

/// What is of no use to others, by name.
fn of_no_use(name: &str) -> Response {
    let cached = ("cache-control", "public, max-age=60");
    match name {
        "no-store" => response(&[("cache-control", "no-store")], "own"),
        "private" => response(&[("cache-control", "private, max-age=60")], "own"),
        "set-cookie" => response(&[cached, ("set-cookie", "a=b")], "own"),
        "vary" => response(&[cached, ("vary", "*")], "own"),
        "large" => response(&[cached], "x".repeat(2000)),
        "slowly-large" => response(&[cached], in_time(pieces("0123456789", 200))),
        failed => {
            let mut answer = response(&[cached], "own");
            *answer.status_mut() = StatusCode::from_bytes(failed.as_bytes()).unwrap();
            answer
        }
    }
}

/// Attack 10: once an answer has shown to be of no use to others, twenty who ask are all with the handler at once:
/// each waits there until all have come.
#[tokio::test]
async fn uncacheable_requests_are_not_queued() {
    let names = [
        "no-store",
        "private",
        "set-cookie",
        "vary",
        "large",
        "slowly-large",
        "500",
        "503",
        "202",
        "206",
    ];
    for name in names {
        let calls = Arc::new(AtomicUsize::new(0));
        let all_came = Arc::new(Barrier::new(CROWD));
        let app = App::public(for_an_hour().body_bytes_max(1000), move |_| {
            let (first, all_came) = (calls.fetch_add(1, Ordering::SeqCst) == 0, all_came.clone());
            async move {
                if !first {
                    all_came.wait().await;
                }
                of_no_use(name)
            }
        })
        .await;
        app.get("/").await;
        for answer in crowd(&app, &[], CROWD).await {
            assert!(answer.whole && answer.x_cache() == "MISS", "{name} {answer:?}");
        }
        assert_eq!(app.calls.count(), 1 + CROWD, "{name}");
    }
}

/// Attack 10: the same when nobody has shown it yet. One is with the handler, the others may wait for that; when it
/// answers, all others are there at once.
#[tokio::test]
async fn those_who_waited_for_what_is_of_no_use_go_at_once() {
    for name in ["no-store", "private", "set-cookie", "slowly-large", "500"] {
        let calls = Arc::new(AtomicUsize::new(0));
        let go = Arc::new(Semaphore::new(0));
        let all_came = Arc::new(Barrier::new(CROWD - 1));
        let app = App::public(for_an_hour().body_bytes_max(1000), {
            let go = go.clone();
            move |_| {
                let first = calls.fetch_add(1, Ordering::SeqCst) == 0;
                let (go, all_came) = (go.clone(), all_came.clone());
                async move {
                    match first {
                        true => go.acquire().await.unwrap().forget(),
                        false => _ = all_came.wait().await,
                    }
                    of_no_use(name)
                }
            }
        })
        .await;
        let (answers, ()) = tokio::join!(crowd(&app, &[], CROWD), async {
            until("the first", async || app.calls.count() == 1).await;
            go.add_permits(1);
        });
        assert!(answers.iter().all(|answer| answer.whole), "{name}");
        assert_eq!(app.calls.count(), CROWD, "{name}");
    }
}

/// Attack 10: two processes on one Redis. What one has learned the other knows.
#[tokio::test]
async fn what_one_process_has_shown_no_process_queues() {
    let server = Server::start();
    let calls = Arc::new(AtomicUsize::new(0));
    let all_came = Arc::new(Barrier::new(2 * CROWD));
    let app = async || {
        let (calls, all_came) = (calls.clone(), all_came.clone());
        let larder = far::on(&server).await;
        let settings = |layer: larder_http::CacheLayerBuilder| layer.rule(for_an_hour());
        App::of(larder, settings, Audience::Public, move |_| {
            let (first, all_came) = (calls.fetch_add(1, Ordering::SeqCst) == 0, all_came.clone());
            async move {
                if !first {
                    all_came.wait().await;
                }
                of_no_use("no-store")
            }
        })
        .await
    };
    let [here, there] = [app().await, app().await];
    here.get("/").await;
    let (ours, theirs) = tokio::join!(crowd(&here, &[], CROWD), crowd(&there, &[], CROWD));
    assert_eq!((ours.len(), theirs.len()), (CROWD, CROWD));
    assert_eq!(calls.load(Ordering::SeqCst), 1 + 2 * CROWD);
}

/// Attack 10: a stampede on what can be stored asks the handler once; on its variants and its users, once for each,
/// and nobody gets what was made for another.
#[tokio::test]
async fn a_stampede_asks_once_for_each_variant_and_user() {
    for (rule, audience) in rules()
        .map(|rule| (rule, Audience::Public))
        .into_iter()
        .chain([(for_an_hour(), each_user())])
    {
        let app = App::of(
            embedded().await,
            |layer| layer.rule(rule),
            audience.clone(),
            |request: Request| {
                let language = request.headers()["accept-language"].to_str().unwrap().to_owned();
                let user = request.extensions().get().map(|Session(user)| user.clone());
                async move {
                    tokio::task::yield_now().await;
                    let fields =
                        [("cache-control", "public, max-age=60"), ("vary", "accept-language")];
                    response(&fields, format!("{user:?} {language}"))
                }
            },
        )
        .await;
        let users: &[&str] =
            if matches!(audience, Audience::Public) { &["u1"] } else { &["u1", "u2"] };
        let kinds: Vec<_> = users
            .iter()
            .flat_map(|user| {
                ["de", "en"].map(|language| [("accept-language", language), ("x-test-user", user)])
            })
            .collect();
        let all = soon("all", together(kinds.iter().map(|kind| crowd(&app, kind, CROWD)))).await;
        for (kind, answers) in kinds.iter().zip(all) {
            for answer in answers {
                assert_eq!(answer.text(), format!("Some(\"{}\") {}", kind[1].1, kind[0].1));
            }
        }
        assert_eq!(app.calls.count(), kinds.len());
    }
}

/// Attack 10: whoever leads panics, or its client hangs up. Those who wait are not left to wait for nobody.
#[tokio::test]
async fn a_leader_that_is_lost_releases_those_who_wait() {
    for way in ["panics", "hangs up"] {
        let calls = Arc::new(AtomicUsize::new(0));
        let go = Arc::new(Semaphore::new(0));
        let app = App::public(Rule::standard(), {
            let go = go.clone();
            move |_| {
                let (first, go) = (calls.fetch_add(1, Ordering::SeqCst) == 0, go.clone());
                async move {
                    if first {
                        drop(go.acquire().await);
                        panic!("as the test has it");
                    }
                    response(&[("cache-control", "public, max-age=60")], "page")
                }
            }
        })
        .await;
        let mut leader = tokio::net::TcpStream::connect(app.address).await.unwrap();
        let head = b"GET / HTTP/1.1\r\nhost: app.test\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut leader, head).await.unwrap();
        until("the leader", async || app.calls.count() == 1).await;
        let (answers, ()) = tokio::join!(crowd(&app, &[], CROWD), async {
            match way {
                "panics" => go.add_permits(1),
                _ => drop(leader),
            }
        });
        assert!(answers.iter().all(|answer| answer.text() == "page"), "{way}");
        assert_eq!(app.calls.count(), 2, "{way}");
    }
}
