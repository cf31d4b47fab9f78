//! The rate limit: who is counted, what is told, and what a client cannot forge.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::routing::get;
use http::{HeaderMap, Request, Response, StatusCode};
use larder::structures::{Limit, Rate, RateLimiter, WhenDown};
use larder::{HOUR, Larder, MINUTE, SECOND};
use larder_http::{
    AddressField, ClientAddress, RateLimitBy, RateLimitLayer, RateLimitLayerBuilder, UserId,
    WithoutKey,
};
use tower::ServiceExt;

#[derive(Clone)]
struct Session(&'static str);

async fn limiter(limits: impl IntoIterator<Item = Limit>) -> RateLimiter {
    let larder = Larder::builder("test").open().await.unwrap();
    larder.rate_limiter("http", limits).open().unwrap()
}

fn by_user() -> RateLimitBy {
    RateLimitBy::user(|parts| parts.extensions.get::<Session>().map(|who| UserId::new(who.0)))
}

fn of_peer() -> ClientAddress {
    ClientAddress::of_peer(|parts| {
        parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip())
    })
}

/// An app behind the layer, and how often its handler ran.
fn app(layer: RateLimitLayer) -> (Router, Arc<AtomicUsize>) {
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = ran.clone();
    let handler = move || async move {
        counted.fetch_add(1, Ordering::SeqCst);
        "hello"
    };
    (Router::new().route("/", get(handler)).layer(layer), ran)
}

fn built(builder: RateLimitLayerBuilder, by: RateLimitBy) -> RateLimitLayer {
    builder.by(by).unwrap()
}

fn request() -> Request<Body> {
    Request::get("/").body(Body::empty()).unwrap()
}

async fn asks(app: &Router, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.unwrap()
}

async fn as_user(app: &Router, who: &'static str) -> Response<Body> {
    let mut request = request();
    request.extensions_mut().insert(Session(who));
    asks(app, request).await
}

async fn from(app: &Router, peer: &str, lines: &[(&str, &str)]) -> StatusCode {
    let mut request = request();
    let peer: IpAddr = peer.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer, 4711)));
    for (name, line) in lines {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, line.parse().unwrap());
    }
    asks(app, request).await.status()
}

fn field<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let limiter = limiter([Limit::sliding_log(2, MINUTE)]).await;
    let (app, ran) = app(built(RateLimitLayer::new(&limiter), by_user()));
    for left in ["1", "0"] {
        let answer = as_user(&app, "ann").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(field(answer.headers(), "ratelimit-policy"), "\"default\";q=2;w=60");
        let told = field(answer.headers(), "ratelimit");
        assert!(told.starts_with(&format!("\"default\";r={left};t=")), "{told}");
        assert_eq!(text(answer).await, "hello");
    }
    let answer = as_user(&app, "ann").await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = field(answer.headers(), "retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(field(answer.headers(), "ratelimit"), format!("\"default\";r=0;t={wait}"));
    assert_eq!(field(answer.headers(), "ratelimit-policy"), "\"default\";q=2;w=60");
    assert_eq!(field(answer.headers(), "cache-control"), "no-store");
    assert!(text(answer).await.contains("quota"));
    assert_eq!(ran.load(Ordering::SeqCst), 2, "the handler heard nothing of the third");
    assert_eq!(as_user(&app, "bob").await.status(), StatusCode::OK, "another's quota");
}

#[tokio::test]
async fn several_limits_are_told_by_their_names() {
    let limits =
        [Limit::token_bucket(Rate::per(1, HOUR), 1), Limit::sliding_counter(1000, 24 * HOUR)];
    let builder = RateLimitLayer::new(&limiter(limits).await).policies(["burst", "daily"]);
    let (app, _) = app(built(builder.problem_json(), by_user()));
    let answer = as_user(&app, "ann").await;
    let policies = "\"burst\";q=1;w=3600, \"daily\";q=1000;w=86400";
    assert_eq!(field(answer.headers(), "ratelimit-policy"), policies);
    let told = field(answer.headers(), "ratelimit");
    assert!(told.starts_with("\"burst\";r=0;t=3600, \"daily\";r=999;t="), "{told}");
    let answer = as_user(&app, "ann").await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(field(answer.headers(), "content-type"), "application/problem+json");
    let told: serde_json::Value = serde_json::from_str(&text(answer).await).unwrap();
    assert_eq!(told["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(told["status"], 429);
    assert_eq!(told["violated-policies"], serde_json::json!(["burst"]));
}

#[tokio::test]
async fn limits_inside_of_limits_are_both_told() {
    let outer =
        built(RateLimitLayer::new(&limiter([Limit::sliding_log(9, HOUR)]).await), by_user());
    let inner = RateLimitLayer::new(&limiter([Limit::sliding_log(5, HOUR)]).await);
    let (app, _) = app(built(inner.policies(["inner"]), by_user()));
    let answer = as_user(&app.layer(outer), "ann").await;
    let told: Vec<_> = answer.headers().get_all("ratelimit-policy").iter().collect();
    assert_eq!(told, ["\"inner\";q=5;w=3600", "\"default\";q=9;w=3600"]);
}

#[tokio::test]
async fn an_address_is_counted_whatever_its_client_writes() {
    let limiter = limiter([Limit::sliding_log(1, HOUR)]).await;
    let address = of_peer().trusting(["10.0.0.0/8"]).unwrap();
    let (app, _) = app(built(RateLimitLayer::new(&limiter), RateLimitBy::address(address)));
    assert_eq!(from(&app, "10.0.0.1", &[("x-forwarded-for", "9.9.9.9")]).await, StatusCode::OK);
    // What it writes itself stands before what the proxy says of it.
    for forged in
        ["1.1.1.1, 9.9.9.9", "10.0.0.7, 9.9.9.9", ", 9.9.9.9", "9.9.9.9:81", "\"x, 9.9.9.9"]
    {
        let status = from(&app, "10.0.0.1", &[("x-forwarded-for", forged)]).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{forged}");
    }
    let lines = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "9.9.9.9")];
    assert_eq!(from(&app, "10.0.0.1", &lines).await, StatusCode::TOO_MANY_REQUESTS);
    let lines = [("forwarded", "for=2.2.2.2"), ("x-forwarded-for", "9.9.9.9")];
    assert_eq!(from(&app, "10.0.0.1", &lines).await, StatusCode::TOO_MANY_REQUESTS);
    // Past the proxy it is itself, and nobody else.
    assert_eq!(
        from(&app, "9.9.9.9", &[("x-forwarded-for", "3.3.3.3")]).await,
        StatusCode::TOO_MANY_REQUESTS
    );
    assert_eq!(from(&app, "10.0.0.1", &[("x-forwarded-for", "3.3.3.3")]).await, StatusCode::OK);
}

#[tokio::test]
async fn the_standard_field_is_a_choice() {
    let limiter = limiter([Limit::sliding_log(1, HOUR)]).await;
    let address = of_peer().trusting(["10.0.0.0/8"]).unwrap().field(AddressField::Forwarded);
    let (app, _) = app(built(RateLimitLayer::new(&limiter), RateLimitBy::address(address)));
    let said = |line| [("forwarded", line)];
    assert_eq!(from(&app, "10.0.0.1", &said("for=9.9.9.9;proto=https")).await, StatusCode::OK);
    let forged = "for=\"1.1.1.1, for=9.9.9.9";
    assert_eq!(from(&app, "10.0.0.1", &said(forged)).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(from(&app, "10.0.0.1", &said("for=8.8.8.8")).await, StatusCode::OK);
}

#[tokio::test]
async fn a_user_and_an_address_are_never_one() {
    let limiter = limiter([Limit::sliding_log(1, HOUR)]).await;
    let who = |parts: &http::request::Parts| {
        parts.extensions.get::<Session>().map(|who| UserId::new(who.0))
    };
    let by = RateLimitBy::user_or_address(who, of_peer());
    let (app, _) = app(built(RateLimitLayer::new(&limiter), by));
    assert_eq!(as_user(&app, "9.9.9.9").await.status(), StatusCode::OK);
    assert_eq!(from(&app, "9.9.9.9", &[]).await, StatusCode::OK);
    assert_eq!(as_user(&app, "9.9.9.9").await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(from(&app, "9.9.9.9", &[]).await, StatusCode::TOO_MANY_REQUESTS);
    // A name that is too long for a key is counted all the same; two of them are two.
    let (long, longer): (&'static str, &'static str) =
        ("x".repeat(4000).leak(), "x".repeat(4001).leak());
    assert_eq!(as_user(&app, long).await.status(), StatusCode::OK);
    assert_eq!(as_user(&app, long).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(as_user(&app, longer).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn without_a_key_the_choice_decides() {
    for (choice, statuses) in [
        (WithoutKey::Shared, [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS]),
        (WithoutKey::Pass, [StatusCode::OK, StatusCode::OK]),
        (WithoutKey::Refuse, [StatusCode::FORBIDDEN, StatusCode::FORBIDDEN]),
    ] {
        let limiter = limiter([Limit::sliding_log(1, HOUR)]).await;
        let (app, _) = app(built(RateLimitLayer::new(&limiter).without_key(choice), by_user()));
        for status in statuses {
            assert_eq!(asks(&app, request()).await.status(), status, "{choice:?}");
        }
        // An empty id is nobody's.
        assert_eq!(as_user(&app, "").await.status(), statuses[1], "{choice:?}");
        assert_eq!(as_user(&app, "ann").await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_request_may_cost_more_or_nothing() {
    let limiter = limiter([Limit::sliding_log(10, HOUR)]).await;
    let cost = |parts: &http::request::Parts| {
        parts.headers.get("cost").and_then(|cost| cost.to_str().ok()?.parse().ok()).unwrap_or(1)
    };
    let (app, ran) = app(built(RateLimitLayer::new(&limiter).cost(cost), by_user()));
    let asked = |cost: &'static str| {
        let mut request = request();
        request.headers_mut().insert("cost", cost.parse().unwrap());
        request.extensions_mut().insert(Session("ann"));
        asks(&app, request)
    };
    assert!(field(asked("7").await.headers(), "ratelimit").contains("r=3;"));
    assert_eq!(asked("4").await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(asked("0").await.headers().get("ratelimit").is_none());
    assert!(field(asked("3").await.headers(), "ratelimit").contains("r=0;"));
    // What never fits has no time to come back at.
    let never = asked("11").await;
    assert_eq!(never.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(never.headers().get("retry-after").is_none());
    assert_eq!(ran.load(Ordering::SeqCst), 3);
}

/// Nobody listens: what the limiter was told decides, and who asked nothing too much is not told so.
#[tokio::test]
async fn without_redis_the_limiters_choice_decides() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let larder = Larder::builder("test").redis(format!("redis://127.0.0.1:{port}"));
    let larder = larder.open().await.unwrap();
    for (choice, statuses, told) in [
        (WhenDown::Open, [200, 200], false),
        (WhenDown::Closed, [503, 503], false),
        (WhenDown::Local { processes: 1 }, [200, 429], true),
    ] {
        let limiter = larder.rate_limiter("http", [Limit::sliding_log(1, HOUR)]);
        let limiter = limiter.when_down(choice).open().unwrap();
        let (app, _) = app(built(RateLimitLayer::new(&limiter).problem_json(), by_user()));
        for status in statuses {
            let answer = as_user(&app, "ann").await;
            assert_eq!(answer.status(), status, "{choice:?}");
            assert_eq!(answer.headers().contains_key("ratelimit"), told, "{choice:?}");
            assert_eq!(answer.headers().contains_key("retry-after"), status > 400, "{choice:?}");
            if status == 503 {
                assert!(text(answer).await.contains("temporary-reduced-capacity"));
            }
        }
    }
    // A limiter that is closed counts nothing: it is as down.
    let limiter = larder.rate_limiter("http", [Limit::sliding_log(1, HOUR)]);
    let limiter = limiter.when_down(WhenDown::Closed).open().unwrap();
    let _ = larder.close(SECOND).await;
    let (app, _) = app(built(RateLimitLayer::new(&limiter), by_user()));
    assert_eq!(as_user(&app, "ann").await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn settings_that_cannot_be_meant_are_refused() {
    let limiter = limiter([Limit::sliding_log(1, HOUR), Limit::sliding_log(9, 24 * HOUR)]).await;
    for (names, says) in [
        (vec!["one"], "2 limits"),
        (vec!["one", "one"], "called one"),
        (vec!["one", "tw\"o"], "visible ASCII"),
        (vec!["one", ""], "visible ASCII"),
    ] {
        let why = RateLimitLayer::new(&limiter).policies(names).by(by_user()).unwrap_err();
        assert!(why.to_string().contains(says), "{why}");
    }
    let why = of_peer().trusting(["10.0.0.0/99"]).unwrap_err();
    assert!(why.to_string().contains("10.0.0.0/99"), "{why}");
}
