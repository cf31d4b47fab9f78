//! The layer stands anywhere in a stack: around routers, on routes, inside of nests, over other bodies.

#![allow(clippy::unwrap_used, reason = "a scene that cannot be set has failed")]

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::support::{App, Calls, Session, embedded, response};
use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, MatchedPath, OriginalUri, Path, Query, Request};
use axum::response::Response;
use axum::routing::get;
use http_body::Frame;
use larder::{Larder, Lifetime, MINUTE};
use larder_http::{Audience, BoxError, CacheLayer, Rule};

fn layer(larder: &Larder) -> CacheLayer {
    let rule = Rule::for_route(Lifetime::fresh_for(MINUTE));
    CacheLayer::new(larder).rule(rule).audience(Audience::Public).unwrap()
}

/// Serves what `routed` makes of the layer.
async fn app(routed: impl FnOnce(CacheLayer) -> Router) -> App {
    let larder = embedded().await;
    let cache = layer(&larder);
    let router = routed(cache.clone());
    let service = tower::service_fn(move |request: Request| {
        let answer = tower::ServiceExt::oneshot(router.clone(), request);
        async move { Ok::<Response, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    App::serve(larder, cache, Calls::default(), service).await
}

async fn shown(path: Path<String>, matched: MatchedPath, original: OriginalUri) -> String {
    format!("{} by {} as {}", path.0, matched.as_str(), original.0)
}

#[tokio::test]
async fn around_a_router_its_handlers_see_what_they_always_see() {
    let app = app(|cache| Router::new().route("/tasks/{id}", get(shown)).layer(cache)).await;
    for x_cache in ["MISS", "HIT"] {
        let answer = app.get("/tasks/17").await;
        let text = "17 by /tasks/{id} as /tasks/17";
        assert_eq!((answer.x_cache(), answer.text()), (x_cache, text));
    }
    assert_eq!(app.get("/tasks/18").await.text(), "18 by /tasks/{id} as /tasks/18");
}

#[tokio::test]
async fn on_routes_only_what_is_matched_passes_it() {
    let app = app(|cache| {
        let cached = Router::new().route("/tasks/{id}", get(shown)).route_layer(cache);
        cached.route("/plain", get(|| async { "plain" }))
    })
    .await;
    assert_eq!(app.get("/tasks/17").await.x_cache(), "MISS");
    assert_eq!(app.get("/tasks/17").await.x_cache(), "HIT");
    assert!(!app.get("/plain").await.has("x-cache"));
    let missing = app.get("/nowhere").await;
    assert_eq!((missing.status, missing.has("x-cache")), (404, false));
}

/// A nest takes off what it has matched, and the pages of two nests would share their names.
#[tokio::test]
async fn inside_of_nests_pages_go_by_the_whole_path() {
    let app = app(|cache| {
        let inner = |name: &'static str| {
            let seen = move |path: Path<String>, request: Request| async move {
                format!("{name} {} at {}", path.0, request.uri().path())
            };
            Router::new().route("/{id}", get(seen)).layer(cache.clone())
        };
        Router::new().nest("/tasks", inner("task")).nest("/users", inner("user"))
    })
    .await;
    for x_cache in ["MISS", "HIT"] {
        for (path, text) in [("/tasks/17", "task 17 at /17"), ("/users/17", "user 17 at /17")] {
            let answer = app.get(path).await;
            assert_eq!((answer.x_cache(), answer.text()), (x_cache, text));
        }
    }
    // A change is named alike.
    app.send("POST", "/tasks/17", &[("content-length", "0")]).await;
    app.larder.invalidate(app.cache.url("http://app.test/users/17").unwrap()).await.unwrap();
    assert_eq!(app.get("/users/17").await.x_cache(), "MISS");
}

#[tokio::test]
async fn extensions_that_other_layers_left_reach_the_handler() {
    #[derive(Clone)]
    struct Database(&'static str);
    let seen = |Extension(database): Extension<Database>,
                Extension(session): Extension<Session>,
                Query(query): Query<std::collections::HashMap<String, String>>| async move {
        format!("{} {} {}", database.0, session.0, query["page"])
    };
    let app = app(|cache| {
        Router::new().route("/a", get(seen)).layer(cache).layer(Extension(Database("postgres")))
    })
    .await;
    let answer = app.send("GET", "/a?page=2", &[("x-test-user", "ann")]).await;
    assert_eq!((answer.x_cache(), answer.text()), ("MISS", "postgres ann 2"));
}

#[tokio::test]
async fn a_request_and_its_body_pass_unchanged() {
    let app = app(|cache| {
        let echo = |request: Request| async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1000).await.unwrap();
            let kept = parts.headers["x-kept"].to_str().unwrap();
            format!("{} {} {kept} {}", parts.method, parts.uri, String::from_utf8_lossy(&body))
        };
        Router::new().route("/a", axum::routing::any(echo)).layer(cache)
    })
    .await;
    let request = b"PUT /a?q=1 HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\nx-kept: yes\r\ncontent-length: 4\r\n\r\nbody";
    assert_eq!(app.raw(request).await.text(), "PUT /a?q=1 yes body");
}

#[tokio::test]
async fn what_a_handler_leaves_in_its_response_passes_a_miss() {
    #[derive(Clone)]
    struct Note(&'static str);
    let app = app(|cache| {
        let noting = || async {
            let mut response = response(&[], "page");
            response.extensions_mut().insert(Note("for the log"));
            response
        };
        let logging = axum::middleware::map_response(|mut response: Response| async move {
            let note = response.extensions().get::<Note>().map_or("none", |note| note.0);
            response.headers_mut().insert("x-note", note.parse().unwrap());
            response
        });
        Router::new().route("/a", get(noting)).layer(cache).layer(logging)
    })
    .await;
    assert_eq!(app.get("/a").await.field("x-note"), "for the log");
    assert_eq!(app.get("/a").await.field("x-note"), "none", "nobody made this one");
}

/// A body of its own kind, whose data is in two pieces.
struct Halves(Vec<&'static [u8]>);

impl http_body::Body for Halves {
    type Data = bytes::buf::Chain<&'static [u8], &'static [u8]>;
    type Error = std::fmt::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, std::fmt::Error>>> {
        let half = self.0.pop();
        Poll::Ready(half.map(|half| Ok(Frame::data(bytes::Buf::chain(&b"- "[..], half)))))
    }
}

/// What this service fails with, which is neither `Sync` nor an error of `std`.
#[derive(Debug, PartialEq)]
struct Broken(std::cell::Cell<u8>);

#[tokio::test]
async fn any_tower_service_may_be_inside() {
    let larder = embedded().await;
    let cache = layer(&larder);
    let service = tower::service_fn(|request: http::Request<Body>| async move {
        match request.uri().path() {
            "/broken" => Err(Broken(7.into())),
            _ => Ok(http::Response::new(Halves(vec![b"last", b"first "]))),
        }
    });
    let service = tower::Layer::layer(&cache, service);
    let broken = http::Request::get("http://app.test/broken").body(Body::empty()).unwrap();
    let failed = tower::ServiceExt::oneshot(service.clone(), broken).await;
    assert_eq!(failed.err(), Some(Broken(7.into())));

    let served = tower::service_fn(move |request: Request| {
        let answer = tower::ServiceExt::oneshot(service.clone(), request);
        async move { Ok::<_, Infallible>(answer.await.unwrap().map(Body::new)) }
    });
    let app = App::serve(larder, cache, Calls::default(), served).await;
    for x_cache in ["MISS", "HIT"] {
        let answer = app.get("/a").await;
        assert_eq!((answer.x_cache(), answer.text()), (x_cache, "- first - last"));
    }
}

/// A service is called only after it said that it is ready, and it is the one that said so.
#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    struct Polite {
        ready: bool,
    }
    impl Clone for Polite {
        fn clone(&self) -> Polite {
            Polite { ready: false }
        }
    }
    impl tower::Service<Request> for Polite {
        type Response = http::Response<http_body_util::Full<bytes::Bytes>>;
        type Error = BoxError;
        type Future = std::future::Ready<Result<Self::Response, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            self.ready = true;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request) -> Self::Future {
            let ready = std::mem::take(&mut self.ready);
            let body = http_body_util::Full::from("page");
            std::future::ready(if ready {
                Ok(http::Response::new(body))
            } else {
                Err("called before it was ready".into())
            })
        }
    }
    let larder = embedded().await;
    let mut service = tower::Layer::layer(&layer(&larder), Polite { ready: false });
    for path in ["/a", "/b"] {
        let request = http::Request::get(format!("http://app.test{path}"));
        let ready = tower::ServiceExt::<Request>::ready(&mut service).await.unwrap();
        let answer = tower::Service::call(ready, request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.unwrap().headers()["x-cache"], "MISS");
    }
}

/// A layer within a layer, over one larder: the inner one would wait for the page that the outer one is about to store.
#[tokio::test]
async fn a_layer_within_a_layer_does_not_wait_for_it() {
    let app = app(|cache| {
        Router::new().route("/a", get(|| async { "page" }).layer(cache.clone())).layer(cache)
    })
    .await;
    let answer = app.get("/a").await;
    let told: Vec<_> = answer.headers.get_all("cache-status").iter().collect();
    let within = "larder; fwd=bypass; detail=\"cached further out\"";
    assert_eq!(told, [within, "larder; fwd=uri-miss; stored"]);
    let hit = app.get("/a").await;
    let told: Vec<_> = hit.headers.get_all("cache-status").iter().collect();
    assert_eq!(told.len(), 2, "what came from within is kept, and ours stands behind it");
    assert!(told[1].to_str().unwrap().starts_with("larder; hit; ttl="), "{told:?}");
}
