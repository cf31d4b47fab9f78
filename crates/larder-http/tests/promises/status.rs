//! Every answer says how it came about: `X-Cache` to people, `Cache-Status` to tools.

use crate::stage::{Origin, of_status};
use crate::support;
use crate::support::{Answer, App, each_user, embedded, response};
use axum::extract::Request;
use larder::{Lifetime, MINUTE};
use larder_http::{Audience, Rule};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
/// More than it may be: stale from the beginning.
const OLD: (&str, &str) = ("age", "100");

async fn app(rule: Rule) -> (App, Origin) {
    let origin = Origin::default();
    (App::public(rule, origin.handler()).await, origin)
}

/// `X-Cache`, and what `Cache-Status` says without its numbers.
fn said(answer: &Answer) -> (String, String) {
    let status = answer.field("cache-status");
    let status = status.replace(|letter: char| letter.is_ascii_digit(), "");
    (answer.x_cache().to_owned(), status)
}

#[track_caller]
fn says(answer: &Answer, x_cache: &str, status: &str) {
    assert_eq!(said(answer), (x_cache.to_owned(), format!("larder; {status}")));
}

#[tokio::test]
async fn a_page_that_is_not_there_is_a_miss() {
    let (app, origin) = app(Rule::standard()).await;
    origin.answers(&[FRESH], "page");
    says(&app.get("/a").await, "MISS", "fwd=uri-miss; stored");
}

#[tokio::test]
async fn a_page_that_is_there_is_a_hit() {
    let (app, origin) = app(Rule::standard()).await;
    origin.answers(&[FRESH], "page");
    app.get("/a").await;
    says(&app.get("/a").await, "HIT", "hit; ttl=");
    says(&app.send("HEAD", "/a", &[]).await, "HIT", "hit; ttl=");
    says(&app.send("GET", "/a", &[("range", "bytes=0-0")]).await, "HIT", "hit; ttl=");
}

#[tokio::test]
async fn a_variant_that_is_not_there_is_a_miss_of_its_own_kind() {
    let (app, origin) = app(Rule::standard()).await;
    origin.answers(&[FRESH, ("vary", "accept-language")], "page");
    app.get("/a").await;
    origin.answers(&[FRESH, ("vary", "accept-language")], "other");
    let answer = app.send("GET", "/a", &[("accept-language", "de")]).await;
    says(&answer, "MISS", "fwd=vary-miss; stored");
}

#[tokio::test]
async fn a_stale_page_is_named_as_such_in_every_way_it_can_go() {
    let stale = |more: &str| format!("max-age=10{more}");
    let (app, origin) = app(Rule::standard()).await;

    origin.answers(&[("cache-control", &stale("")), OLD, ("etag", "\"1\"")], "page");
    app.get("/a").await;
    origin.says(of_status(304, &[FRESH, ("etag", "\"1\"")], ""));
    says(&app.get("/a").await, "MISS", "fwd=stale; fwd-status=; ttl=");

    origin.answers(&[("cache-control", &stale("")), OLD, ("etag", "\"1\"")], "page");
    app.get("/b").await;
    origin.answers(&[FRESH, ("etag", "\"2\"")], "page");
    says(&app.get("/b").await, "MISS", "fwd=stale; stored");

    origin.answers(&[("cache-control", &stale(", stale-if-error=1000")), OLD], "page");
    app.get("/c").await;
    origin.fails(500);
    says(&app.get("/c").await, "STALE", "fwd=stale; ttl=-");
    says(&app.get("/c").await, "STALE", "hit; ttl=-");

    origin.answers(&[("cache-control", &stale(", stale-while-revalidate=1000")), OLD], "page");
    app.get("/d").await;
    origin.answers(&[FRESH], "page");
    says(&app.get("/d").await, "STALE", "hit; ttl=-");
}

#[tokio::test]
async fn what_is_not_stored_says_why() {
    for (fields, why) in [
        (&[("cache-control", "no-store")][..], "no-store"),
        (&[("cache-control", "private")], "private"),
        (&[FRESH, ("set-cookie", "a=1")], "set-cookie"),
        (&[FRESH, ("vary", "*")], "vary *"),
        (&[], "not fresh, and no validator"),
        (&[FRESH, OLD], "not fresh, and no validator"),
    ] {
        let (app, origin) = app(Rule::standard()).await;
        origin.answers(fields, "page");
        let answer = app.get("/a").await;
        says(&answer, "MISS", &format!("fwd=uri-miss; detail=\"{why}\""));
    }
}

#[tokio::test]
async fn what_goes_past_the_cache_says_why() {
    let (app, origin) = app(Rule::standard()).await;
    for (method, fields, why) in [
        ("OPTIONS", &[][..], "method"),
        ("QUERY", &[("content-length", "0")], "method"),
        ("GET", &[("x-forwarded-host", "else.test")], "forwarded fields"),
        ("GET", &[("if-match", "\"1\"")], "precondition"),
    ] {
        origin.answers(&[FRESH], "page");
        let answer = app.send(method, "/a", fields).await;
        says(&answer, "BYPASS", &format!("fwd=bypass; detail=\"{why}\""));
    }
    origin.answers(&[], "done");
    let changed = app.send("POST", "/a", &[("content-length", "0")]).await;
    says(&changed, "BYPASS", "fwd=method");
    origin.answers(&[FRESH], "page");
    let body = app.raw(
        b"GET /a HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx",
    );
    says(&body.await, "BYPASS", "fwd=bypass; detail=\"request body\"");
    origin.answers(&[FRESH], "page");
    says(&app.get("/a").await, "MISS", "fwd=uri-miss; stored");
}

#[tokio::test]
async fn a_request_of_nobody_says_so() {
    let handler = |_: Request| async { response(&[FRESH], "page") };
    let app = App::of(embedded().await, |layer| layer, each_user(), handler).await;
    says(&app.get("/a").await, "BYPASS", "fwd=bypass; detail=\"no user\"");
    let ann = app.send("GET", "/a", &[("x-test-user", "ann")]).await;
    says(&ann, "MISS", "fwd=uri-miss; stored");
}

#[tokio::test]
async fn what_a_request_asks_for_is_named_where_it_is_heard() {
    let (app, origin) = app(Rule::standard().honour_request_directives()).await;
    let nothing = app.send("GET", "/a", &[("cache-control", "only-if-cached")]).await;
    assert_eq!(nothing.status, 504);
    says(&nothing, "MISS", "fwd=request; detail=\"only-if-cached\"");
    origin.answers(&[FRESH], "page");
    app.get("/a").await;
    let cached = app.send("GET", "/a", &[("cache-control", "only-if-cached")]).await;
    says(&cached, "HIT", "hit; ttl=");
    origin.answers(&[FRESH], "page");
    let anew = app.send("GET", "/a", &[("cache-control", "no-cache")]).await;
    says(&anew, "MISS", "fwd=request; stored");
}

#[tokio::test]
async fn what_a_request_asks_for_is_not_heard_unless_told() {
    let (app, origin) = app(Rule::standard()).await;
    origin.answers(&[FRESH], "page");
    app.get("/a").await;
    for asked in ["no-cache", "no-store", "max-age=0", "min-fresh=1000"] {
        let answer = app.send("GET", "/a", &[("cache-control", asked)]).await;
        assert_eq!(answer.x_cache(), "HIT", "{asked}");
    }
    assert_eq!(app.send("GET", "/a", &[("pragma", "no-cache")]).await.x_cache(), "HIT");
}

/// It says what another cache did, behind the handler: on this way through, and not of later hits.
#[tokio::test]
async fn an_x_cache_of_the_handler_is_kept_on_its_way_and_never_stored() {
    for rule in [Rule::standard(), Rule::for_route(Lifetime::fresh_for(MINUTE))] {
        let (app, origin) = app(rule).await;
        origin.answers(&[FRESH, ("x-cache", "Hit from elsewhere")], "page");
        let miss = app.get("/a").await;
        assert_eq!(miss.x_cache(), "Hit from elsewhere");
        assert!(miss.field("cache-status").starts_with("larder; fwd=uri-miss"), "{miss:?}");
        let hit = app.get("/a").await;
        assert_eq!(hit.x_cache(), "HIT");
        assert_eq!(hit.headers.get_all("x-cache").iter().count(), 1);
    }
}

#[tokio::test]
async fn caches_append_to_the_status_of_those_behind_them() {
    let (app, origin) = app(Rule::standard()).await;
    origin.answers(&[FRESH, ("cache-status", "origin; hit")], "page");
    for ours in ["larder; fwd=uri-miss; stored", "larder; hit; ttl="] {
        let answer = app.get("/a").await;
        let lines: Vec<_> = answer.headers.get_all("cache-status").iter().collect();
        assert_eq!((lines.len(), lines[0].to_str().unwrap()), (2, "origin; hit"));
        assert!(lines[1].to_str().unwrap().starts_with(ours), "{lines:?}");
    }
}

/// How long the handler took for one answer says nothing of the next.
#[tokio::test]
async fn the_timing_of_a_handler_is_not_stored_under_its_owners_rule() {
    let timing = ("server-timing", "db;dur=53");
    let (by_owner, origin) = app(Rule::for_route(Lifetime::fresh_for(MINUTE))).await;
    origin.answers(&[timing], "page");
    assert_eq!(by_owner.get("/a").await.field("server-timing"), timing.1);
    let hit = by_owner.get("/a").await;
    assert_eq!((hit.x_cache(), hit.has("server-timing")), ("HIT", false));

    let (by_the_book, origin) = app(Rule::standard()).await;
    origin.answers(&[FRESH, timing], "page");
    by_the_book.get("/a").await;
    let hit = by_the_book.get("/a").await;
    assert_eq!((hit.x_cache(), hit.field("server-timing")), ("HIT", timing.1));
}

#[tokio::test]
async fn an_app_may_have_several_layers_and_each_says_its_own() {
    let rule = Rule::for_route(Lifetime::fresh_for(MINUTE));
    let larder = embedded().await;
    let layer = |larder| {
        let layer = larder_http::CacheLayer::new(larder).rule(rule.clone());
        layer.audience(Audience::Public).unwrap()
    };
    let (inner, outer) = (layer(&embedded().await), layer(&larder));
    let handler = tower::service_fn(|_: Request| async {
        Ok::<_, std::convert::Infallible>(response(&[], "page"))
    });
    let service = tower::Layer::layer(&outer, tower::Layer::layer(&inner, handler));
    let app = App::serve(larder, outer, support::Calls::default(), service).await;
    let miss = app.get("/a").await;
    assert_eq!(miss.headers.get_all("cache-status").iter().count(), 2);
    assert_eq!(app.get("/a").await.x_cache(), "HIT");
}
