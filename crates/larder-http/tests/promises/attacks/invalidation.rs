//! What is ended stays ended, and ends only by who may end it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use larder_http::{Audience, CacheLayer, CacheTags, UserId, purge};
use tokio::sync::Semaphore;

use super::bodies::{Frames, data, scripted};
use super::for_an_hour;
use crate::far::{self, Server};
use crate::support::{App, Calls, each_user, embedded, response, soon, until};

/// What two processes have in common: the truth, and a gate at which handlers wait that have read it.
#[derive(Clone)]
struct Truth {
    version: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl Truth {
    fn new() -> Truth {
        let (version, held) = (Arc::default(), Arc::default());
        Truth { version, held, gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS >> 1)) }
    }

    fn close(&self) {
        self.gate.forget_permits(usize::MAX);
    }

    fn open(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS >> 1);
    }

    /// `GET` reads the truth, and waits at the gate; `POST` changes it.
    async fn answers(self, request: Request) -> Response {
        if request.method() == http::Method::POST {
            let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
            let mut answer = response(&[], format!("changed to {version}"));
            if request.uri().path() == "/elsewhere" {
                answer.headers_mut().insert("location", "/".parse().unwrap());
                answer.headers_mut().insert("cache-group-invalidation", "\"g\"".parse().unwrap());
            }
            return answer;
        }
        let version = self.version.load(Ordering::SeqCst);
        self.held.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.acquire().await);
        self.held.fetch_sub(1, Ordering::SeqCst);
        let fields = [("surrogate-key", "by-field"), ("cache-groups", "\"g\"")];
        let mut answer = response(&fields, format!("version {version}"));
        answer.extensions_mut().insert(CacheTags::new(["by-extension"]));
        answer
    }

    async fn app(&self, server: &Server, audience: Audience) -> App {
        let (truth, rule) = (self.clone(), for_an_hour());
        let handler = move |request| truth.clone().answers(request);
        App::of(far::on(server).await, |layer| layer.rule(rule), audience, handler).await
    }
}

const WAYS: [&str; 8] = [
    "a change of the URL",
    "a change that names it",
    "its URL",
    "tag by-field",
    "tag by-extension",
    "tag group",
    "its user",
    "a change by another user",
];

/// Ends `/` in one of the ways, through `app`; and first makes it untrue.
async fn ends(app: &App, truth: &Truth, way: &str) {
    if !way.starts_with("a change") && way != "tag group" {
        truth.version.fetch_add(1, Ordering::SeqCst);
    }
    let nobody = [("content-length", "0"), ("x-test-user", "u2")];
    let larder = &app.larder;
    match way {
        "a change of the URL" | "a change by another user" => {
            assert_eq!(app.send("POST", "/", &nobody).await.status, 200);
        }
        "a change that names it" | "tag group" => {
            assert_eq!(app.send("POST", "/elsewhere", &nobody).await.status, 200);
        }
        "its URL" => larder.invalidate(app.cache.url("http://app.test/").unwrap()).await.unwrap(),
        "tag by-field" => larder.invalidate_tag("by-field").await.unwrap(),
        "tag by-extension" => larder.invalidate_tag("by-extension").await.unwrap(),
        "its user" => larder.invalidate([app.cache.user(&UserId::new("u1"))]).await.unwrap(),
        other => panic!("{other}"),
    }
}

/// Attack 17: the handler has read the truth and is slow to answer; meanwhile the truth changes and the page is
/// ended, here or in another process. The late answer is stored nowhere, whether a page was there before or not, and
/// whoever asks after the end gets what is true.
#[tokio::test]
async fn a_page_ended_while_it_was_computed_is_not_stored() {
    for audience in [Audience::Public, each_user()] {
        for way in WAYS {
            if way == "its user" && matches!(audience, Audience::Public) {
                continue;
            }
            for ended_here in [true, false] {
                let server = Server::start();
                let truth = Truth::new();
                let here = truth.app(&server, audience.clone()).await;
                let there = truth.app(&server, audience.clone()).await;
                let user = [("x-test-user", "u1")];
                let scene = format!("{way}, {audience:?}, ended here: {ended_here}");
                // The tags are known, and a page is there that was ended: nothing else keeps the next from being stored.
                until("a page", async || here.send("GET", "/", &user).await.x_cache() == "HIT")
                    .await;
                here.larder.invalidate(here.cache.url("http://app.test/").unwrap()).await.unwrap();

                truth.close();
                let calls = here.calls.count();
                let before = here.send("GET", "/", &user);
                let meanwhile = async {
                    until("the handler", async || truth.held.load(Ordering::SeqCst) == 1).await;
                    ends(if ended_here { &here } else { &there }, &truth, way).await;
                    here.larder.sync().await.unwrap();
                    truth.open();
                };
                let (late, ()) = soon(&scene, async { tokio::join!(before, meanwhile) }).await;
                assert_eq!(late.text(), "version 0", "{scene}");
                assert!(here.calls.count() > calls);
                for app in [&here, &there, &here] {
                    let page = app.send("GET", "/", &user).await;
                    assert_eq!(page.text(), "version 1", "{scene}");
                }
                until("the new page", async || {
                    there.send("GET", "/", &user).await.x_cache() == "HIT"
                })
                .await;
            }
        }
    }
}

/// Attack 17: whoever asks after the end does not wait for, and share, an answer from before it.
#[tokio::test]
async fn who_asks_after_the_end_is_not_given_what_was_computed_before() {
    let server = Server::start();
    let truth = Truth::new();
    let here = truth.app(&server, Audience::Public).await;
    truth.close();
    let (before, after) = soon("both", async {
        tokio::join!(here.get("/"), async {
            until("the handler", async || truth.held.load(Ordering::SeqCst) == 1).await;
            ends(&here, &truth, "a change of the URL").await;
            let after = here.get("/");
            let open = async {
                // It may be with the handler, or wait for the first; either way it must not get what that one has.
                tokio::task::yield_now().await;
                truth.open();
            };
            tokio::join!(after, open).0
        })
    })
    .await;
    assert_eq!((before.text(), after.text()), ("version 0", "version 1"));
    assert_eq!(here.get("/").await.text(), "version 1");
}

/// Attack 17: the head was sent, and the body is still coming, when the page is ended.
#[tokio::test]
async fn a_page_ended_while_its_body_came_is_not_stored() {
    let sending: Arc<std::sync::Mutex<Vec<Frames>>> = Arc::default();
    let kept = sending.clone();
    let app = App::public(for_an_hour(), move |_| {
        let (send, body) = scripted(http_body::SizeHint::default());
        kept.lock().unwrap().push(send);
        async move { response(&[], body) }
    })
    .await;
    let ended = async {
        until("the handler", async || sending.lock().unwrap().len() == 1).await;
        let send = sending.lock().unwrap().pop().unwrap();
        send.send(data("old ")).unwrap();
        app.larder.invalidate(app.cache.url("http://app.test/").unwrap()).await.unwrap();
        send.send(data("page")).unwrap();
    };
    let (page, ()) = tokio::join!(app.get("/"), ended);
    assert_eq!((page.text(), page.whole), ("old page", true));
    let again = async {
        until("the handler again", async || sending.lock().unwrap().len() == 1).await;
        let send = sending.lock().unwrap().pop().unwrap();
        send.send(data("new page")).unwrap();
    };
    let (page, ()) = soon("the new page", async { tokio::join!(app.get("/"), again) }).await;
    assert_eq!((page.text(), page.x_cache()), ("new page", "MISS"));
    assert_eq!(app.get("/").await.text(), "new page");
}

async fn only_admins(request: Request, next: Next) -> Response {
    match request.headers().get("authorization").is_some_and(|word| word == "Bearer admin") {
        true => next.run(request).await,
        false => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn routed(with_purge: bool) -> App {
    let larder = embedded().await;
    let cache = CacheLayer::new(&larder).rule(for_an_hour()).audience(Audience::Public).unwrap();
    let mut router = Router::new().route("/", get(|| async { "page" })).layer(cache.clone());
    if with_purge {
        let guarded = purge::router(&cache).layer(axum::middleware::from_fn(only_admins));
        router = router.nest("/admin", guarded);
    }
    App::serve(larder, cache, Calls::default(), router).await
}

/// Attack 18: nothing that a client sends ends a page, unless the app has mounted what does.
#[tokio::test]
async fn nothing_that_a_client_sends_purges() {
    for with_purge in [false, true] {
        let app = routed(with_purge).await;
        app.get("/").await;
        let body = r#"{"urls":["http://app.test/"]}"#;
        for (method, path) in [
            ("PURGE", "/"),
            ("BAN", "/"),
            ("REFRESH", "/"),
            ("DELETE", "/"),
            ("POST", "/"),
            ("PURGE", "*"),
            ("POST", "/purge"),
            ("POST", "/admin/purge"),
            ("GET", "/admin/purge"),
            ("PURGE", "/admin/purge"),
            ("POST", "/admin//purge"),
            ("POST", "//admin/purge"),
            ("POST", "/admin/purge/"),
        ] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let answer = app.raw(request.as_bytes()).await;
            assert!(answer.status >= 400, "{method} {path} {answer:?}");
            assert_eq!(app.get("/").await.x_cache(), "HIT", "{method} {path}");
        }
        for (name, value) in [
            ("x-purge", "1"),
            ("x-purge-method", "default"),
            ("cache-group-invalidation", "\"g\""),
            ("x-ban-url", "."),
            ("x-cache-flush", "true"),
            ("location", "/"),
            ("content-location", "/"),
        ] {
            assert_eq!(app.send("GET", "/", &[(name, value)]).await.x_cache(), "HIT", "{name}");
        }
    }
}

/// Attack 18: the router purges for whom the app lets through.
#[tokio::test]
async fn the_router_purges_behind_the_apps_own_door() {
    let app = routed(true).await;
    let purges = async |who: &str, body: &str| {
        let request = format!(
            "POST /admin/purge HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\nauthorization: {who}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        app.raw(request.as_bytes()).await.status
    };
    let all = r#"{"urls":["http://app.test/"]}"#;
    app.get("/").await;
    assert_eq!(purges("Bearer forged", all).await, 401);
    assert_eq!(app.get("/").await.x_cache(), "HIT");
    for unclear in [
        "",
        "{}",
        "[]",
        r#"{"urls":["/"]}"#,
        r#"{"urls":["http://app.test/","no"]}"#,
        r#"{"all":true}"#,
    ] {
        assert_eq!(purges("Bearer admin", unclear).await, 400, "{unclear}");
    }
    assert_eq!(app.get("/").await.x_cache(), "HIT", "nothing was ended by half");
    assert_eq!(purges("Bearer admin", all).await, 200);
    assert_eq!(app.get("/").await.x_cache(), "MISS");
}

/// Attack 18: a handler that a client made to name another host ends nothing there.
#[tokio::test]
async fn a_change_ends_no_page_of_another_host() {
    let app = App::public(for_an_hour(), |request| async move {
        let mut answer = response(&[("cache-groups", "\"g\"")], "page");
        if let Some(to) = request.headers().get("x-to") {
            answer.headers_mut().insert("location", to.clone());
            answer.headers_mut().insert("content-location", to.clone());
            answer.headers_mut().insert("cache-group-invalidation", "\"g\"".parse().unwrap());
        }
        answer
    })
    .await;
    until("a page", async || app.get("/a").await.x_cache() == "HIT").await;
    for to in ["http://app.test/a", "//app.test/a", "http://app.test:80/a", "http://x@app.test/a"] {
        let fields = [("host", "evil.test"), ("x-to", to), ("content-length", "0")];
        assert_eq!(app.send("POST", "/", &fields).await.status, 200);
        assert_eq!(app.get("/a").await.x_cache(), "HIT", "{to}");
    }
}
