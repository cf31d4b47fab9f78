//! Pages are ended by hand through a router that the app mounts where only those come who may.

#![allow(clippy::unwrap_used, reason = "a scene that cannot be set has failed")]

use std::convert::Infallible;

use crate::far;
use crate::support::{Answer, App, Calls, each_user, embedded, response, until};
use axum::Router;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use larder::{Larder, Lifetime, MINUTE, Tag};
use larder_http::{Audience, CacheLayer, Rule};

async fn only_admins(request: Request, next: Next) -> Response {
    match request.headers().get("authorization") {
        Some(secret) if secret == "Bearer admin" => next.run(request).await,
        _ => http::StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// An app whose pages are cached, and whose `/admin/purge` ends them.
async fn app_of(larder: Larder, audience: Audience) -> App {
    let rule = Rule::for_route(Lifetime::fresh_for(MINUTE));
    let tagged = |parts: &http::request::Parts| [Tag::new(format!("by-tag:{}", parts.uri.path()))];
    let cache = CacheLayer::new(&larder).rule(rule).tagged_by(tagged).audience(audience).unwrap();
    let admin = larder_http::purge::router(&cache).layer(axum::middleware::from_fn(only_admins));
    let page = |request: Request| async move { response(&[], request.uri().to_string()) };
    let pages = Router::new().fallback(page).layer(cache.clone());
    let router = Router::new().nest("/admin", admin).fallback_service(pages);
    let service = tower::service_fn(move |request: Request| {
        let answer = tower::ServiceExt::oneshot(router.clone(), request);
        async move { Ok::<Response, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    App::serve(larder, cache, Calls::default(), service).await
}

async fn app() -> App {
    app_of(embedded().await, Audience::Public).await
}

async fn post(app: &App, who: &str, body: &str) -> Answer {
    let request = format!(
        "POST /admin/purge HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\nauthorization: Bearer {who}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    app.raw(request.as_bytes()).await
}

async fn purge(app: &App, body: &str) -> (u16, serde_json::Value) {
    let answer = post(app, "admin", body).await;
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

async fn is_stored(app: &App, path: &str) -> bool {
    app.get(path).await.x_cache() == "HIT"
}

#[tokio::test]
async fn a_url_that_is_purged_ends_and_no_other() {
    let app = app().await;
    for path in ["/a?x=1", "/a", "/b"] {
        app.get(path).await;
    }
    let answer = purge(&app, r#"{"urls": ["https://app.test/a?x=1"]}"#).await;
    assert_eq!(answer, (200, serde_json::json!({"purged": 1})));
    assert!(!is_stored(&app, "/a?x=1").await);
    assert!(is_stored(&app, "/a").await && is_stored(&app, "/b").await);
    purge(&app, r#"{"urls": ["http://other.test/b"]}"#).await;
    assert!(is_stored(&app, "/b").await, "it is another host's");
}

#[tokio::test]
async fn a_tag_that_is_purged_ends_its_pages() {
    let app = app().await;
    for path in ["/a?x=1", "/a", "/b"] {
        app.get(path).await;
    }
    let answer = purge(&app, r#"{"tags": ["by-tag:/a"]}"#).await;
    assert_eq!(answer, (200, serde_json::json!({"purged": 1})));
    assert!(!is_stored(&app, "/a?x=1").await && !is_stored(&app, "/a").await);
    assert!(is_stored(&app, "/b").await);
}

#[tokio::test]
async fn a_user_that_is_purged_loses_all_pages_and_no_other_user_does() {
    let app = app_of(embedded().await, each_user()).await;
    let x_cache = |user, path| {
        let app = &app;
        async move { app.send("GET", path, &[("x-test-user", user)]).await.x_cache().to_owned() }
    };
    for (user, path) in [("ann", "/a"), ("ann", "/b"), ("bob", "/a"), ("anna", "/a")] {
        assert_eq!(x_cache(user, path).await, "MISS");
    }
    let answer = purge(&app, r#"{"users": ["ann"]}"#).await;
    assert_eq!(answer, (200, serde_json::json!({"purged": 1})));
    for (user, path, wanted) in
        [("ann", "/a", "MISS"), ("ann", "/b", "MISS"), ("bob", "/a", "HIT"), ("anna", "/a", "HIT")]
    {
        assert_eq!(x_cache(user, path).await, wanted, "{user} {path}");
    }
    // A URL ends for all of them.
    let answer = purge(&app, r#"{"urls": ["http://app.test/a"]}"#).await;
    assert_eq!(answer.0, 200);
    for (user, wanted) in [("ann", "MISS"), ("bob", "MISS"), ("anna", "MISS")] {
        assert_eq!(x_cache(user, "/a").await, wanted, "{user}");
    }
    assert_eq!(x_cache("ann", "/b").await, "HIT");
}

#[tokio::test]
async fn all_that_is_named_ends_at_once() {
    let app = app().await;
    for path in ["/a", "/b", "/c"] {
        app.get(path).await;
    }
    let named = r#"{"urls": ["http://app.test/a"], "tags": ["by-tag:/b"], "users": ["ann"]}"#;
    assert_eq!(purge(&app, named).await, (200, serde_json::json!({"purged": 3})));
    assert!(!is_stored(&app, "/a").await && !is_stored(&app, "/b").await);
    assert!(is_stored(&app, "/c").await);
}

#[tokio::test]
async fn who_may_not_purge_ends_nothing() {
    let app = app().await;
    app.get("/a").await;
    for who in ["", "user", "Admin"] {
        let refused = post(&app, who, r#"{"urls": ["http://app.test/a"]}"#).await;
        assert_eq!(refused.status, 401);
        assert!(is_stored(&app, "/a").await);
    }
}

/// What other caches take for an order is a request like any other here.
#[tokio::test]
async fn nothing_that_a_plain_client_sends_purges() {
    let handler = |request: Request| async move {
        let method = request.method().as_str();
        let mut response = response(&[], "page");
        if !["GET", "HEAD"].contains(&method) {
            *response.status_mut() = http::StatusCode::METHOD_NOT_ALLOWED;
        }
        response
    };
    let rule = Rule::for_route(Lifetime::fresh_for(MINUTE));
    let app = App::public(rule, handler).await;
    app.get("/a").await;
    for method in ["PURGE", "BAN", "INVALIDATE", "REFRESH"] {
        assert_eq!(app.send(method, "/a", &[]).await.status, 405);
        assert!(is_stored(&app, "/a").await, "{method}");
    }
    for field in ["x-purge", "purge", "x-cache-purge", "surrogate-key", "cache-group-invalidation"]
    {
        app.send("GET", "/a", &[(field, "\"/a\"")]).await;
        assert!(is_stored(&app, "/a").await, "{field}");
    }
    for fields in [("cache-control", "no-cache"), ("pragma", "no-cache")] {
        assert_eq!(app.send("GET", "/a", &[fields]).await.x_cache(), "HIT");
    }
    assert_eq!(app.send("POST", "/purge", &[("content-length", "0")]).await.status, 405);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_and_ends_nothing() {
    let app = app().await;
    app.get("/a").await;
    let many = vec!["t"; 1025];
    let too_many = serde_json::json!({ "tags": many }).to_string();
    let whole_url = r#""http://app.test/a""#;
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"urls": []}"#,
        r#"{"urls": "http://app.test/a"}"#,
        r#"{"url": ["http://app.test/a"]}"#,
        &format!(r#"{{"urls": [{whole_url}, "/a"]}}"#),
        &format!(r#"{{"urls": [{whole_url}, "app.test/a"]}}"#),
        &format!(r#"{{"urls": [{whole_url}, "ftp://app.test/a"]}}"#),
        &format!(r#"{{"urls": [{whole_url}, "no url"]}}"#),
        &format!(r#"{{"urls": [{whole_url}, "http://you@app.test/a"]}}"#),
        &too_many,
    ] {
        let (status, said) = purge(&app, body).await;
        assert_eq!(status, 400, "{body}");
        assert!(said["error"].as_str().is_some_and(|why| !why.is_empty()), "{said}");
        assert!(is_stored(&app, "/a").await, "{body}");
    }
}

#[tokio::test]
async fn a_purge_reaches_every_process() {
    let server = far::Server::start();
    let here = app_of(far::on(&server).await, Audience::Public).await;
    let there = app_of(far::on(&server).await, Audience::Public).await;
    for app in [&here, &there] {
        until("the page in both", || is_stored(app, "/a")).await;
    }
    assert_eq!(purge(&here, r#"{"urls": ["http://app.test/a"]}"#).await.0, 200);
    there.larder.sync().await.unwrap();
    assert!(!is_stored(&there, "/a").await);
}

#[tokio::test]
async fn a_purge_that_redis_has_not_confirmed_says_so_and_holds_here() {
    let mut server = far::Server::start();
    let app = app_of(far::on(&server).await, Audience::Public).await;
    until("the page", || is_stored(&app, "/a")).await;
    server.kill();
    let (status, said) = purge(&app, r#"{"urls": ["http://app.test/a"]}"#).await;
    assert_eq!(status, 503, "{said}");
    assert!(said["error"].is_string() && said.get("purged").is_none(), "{said}");
    assert!(!is_stored(&app, "/a").await);
    server.start_again();
    until("the page again", || is_stored(&app, "/a")).await;
}
