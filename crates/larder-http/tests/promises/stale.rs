//! What is stale is served while it is refreshed, or when the handler fails, and only where it may be.

use std::convert::Infallible;
use std::time::Duration;

use crate::stage;
use crate::stage::{Gate, Origin, of_status, step, timed};
use crate::support::{App, Calls, response, until};
use axum::extract::Request;
use axum::response::Response;
use larder::{Lifetime, MINUTE, SECOND};
use larder_http::{Audience, CacheLayer, Rule};

async fn app(rule: Rule) -> (App, Origin) {
    let origin = Origin::default();
    let larder = timed().await;
    let app = App::of(larder, |layer| layer.rule(rule), Audience::Public, origin.handler()).await;
    (app, origin)
}

const WHILE_REFRESHED: (&str, &str) = ("cache-control", "max-age=10, stale-while-revalidate=60");
const IF_ERROR: (&str, &str) = ("cache-control", "max-age=10, stale-if-error=60");

#[tokio::test]
async fn a_stale_page_is_served_at_once_and_refreshed_once_behind() {
    let gate = Gate::closed();
    let in_handler = gate.clone();
    let handler = move |_: Request| {
        let gate = in_handler.clone();
        async move {
            gate.pass().await;
            response(&[WHILE_REFRESHED], format!("edition {}", gate.count()))
        }
    };
    let app = App::of(timed().await, |layer| layer, Audience::Public, handler).await;
    gate.let_pass(1);
    assert_eq!(app.get("/a").await.text(), "edition 1");
    step(15 * SECOND).await;
    for _ in 0..5 {
        let stale = app.get("/a").await;
        assert_eq!((stale.x_cache(), stale.text()), ("STALE", "edition 1"));
        assert!(stale.field("cache-status").starts_with("larder; hit; ttl=-"), "{stale:?}");
    }
    gate.arrived(2).await;
    assert_eq!(gate.count(), 2, "five who were served stale refresh it once");
    gate.open();
    until("the new edition", || async { app.get("/a").await.text() == "edition 2" }).await;
    assert_eq!((app.get("/a").await.x_cache(), gate.count()), ("HIT", 2));
}

#[tokio::test]
async fn beyond_its_time_a_stale_page_is_not_served_but_waited_for() {
    let (app, origin) = app(Rule::standard()).await;
    origin.answers(&[WHILE_REFRESHED], "old");
    app.get("/a").await;
    step(71 * SECOND).await;
    origin.answers(&[WHILE_REFRESHED], "new");
    let answer = app.get("/a").await;
    assert_eq!((answer.x_cache(), answer.text()), ("MISS", "new"));
}

#[tokio::test]
async fn the_owner_of_a_route_says_how_long_it_may_be_stale() {
    let lifetime = Lifetime::fresh_for(10 * SECOND).stale_for(MINUTE);
    let (app, origin) = app(Rule::for_route(lifetime)).await;
    origin.answers(&[], "old");
    app.get("/a").await;
    step(30 * SECOND).await;
    origin.answers(&[], "new");
    assert_eq!(app.get("/a").await.text(), "old");
    until("the new one", || async { app.get("/a").await.text() == "new" }).await;
    step(71 * SECOND).await;
    origin.answers(&[], "newest");
    assert_eq!(app.get("/a").await.text(), "newest");
}

#[tokio::test]
async fn a_refresh_that_may_not_be_stored_ends_what_was() {
    let (app, origin) = app(Rule::standard()).await;
    origin.answers(&[WHILE_REFRESHED], "public");
    app.get("/a").await;
    step(15 * SECOND).await;
    origin.answers(&[("cache-control", "private")], "for one user");
    assert_eq!(app.get("/a").await.text(), "public");
    // The refresh ends it; whoever comes then has an answer of its own, and no other's.
    until("the refresh", || async { origin.count() == 2 }).await;
    let answered = || async {
        origin.answers(&[("cache-control", "private")], "for another");
        app.get("/a").await.text() == "for another"
    };
    until("an answer of its own", answered).await;
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_what_is_stored() {
    let (app, origin) = app(Rule::standard()).await;
    let both = ("cache-control", "max-age=10, stale-while-revalidate=60, stale-if-error=60");
    origin.answers(&[both], "old");
    app.get("/a").await;
    step(15 * SECOND).await;
    origin.fails(503);
    assert_eq!(app.get("/a").await.text(), "old");
    until("the refresh", || async { origin.count() == 2 }).await;
    assert_eq!(app.get("/a").await.text(), "old");
}

#[tokio::test]
async fn a_stale_page_stands_in_for_a_handler_that_answers_5xx() {
    for status in [500, 502, 503, 504] {
        let (app, origin) = app(Rule::standard()).await;
        origin.answers(&[IF_ERROR], "old");
        app.get("/a").await;
        step(15 * SECOND).await;
        origin.fails(status);
        let answer = app.get("/a").await;
        assert_eq!((answer.status, answer.x_cache(), answer.text()), (200, "STALE", "old"));
        let status = answer.field("cache-status");
        assert!(status.starts_with("larder; fwd=stale; ttl=-"), "{status}");
        assert_eq!(origin.count(), 2, "it was asked first");
    }
}

#[tokio::test]
async fn what_is_no_failure_is_passed_on() {
    for status in [404, 410, 501] {
        let (app, origin) = app(Rule::standard()).await;
        origin.answers(&[IF_ERROR], "old");
        app.get("/a").await;
        step(15 * SECOND).await;
        origin.fails(status);
        assert_eq!(app.get("/a").await.status, status);
    }
}

#[tokio::test]
async fn beyond_its_time_a_failure_is_passed_on() {
    let (app, origin) = app(Rule::standard()).await;
    origin.answers(&[IF_ERROR], "old");
    app.get("/a").await;
    step(71 * SECOND).await;
    origin.fails(500);
    assert_eq!(app.get("/a").await.status, 500);
}

#[tokio::test]
async fn the_rule_may_say_that_pages_stand_in_where_they_do_not() {
    let (app, origin) = app(Rule::standard().stale_if_error(MINUTE)).await;
    for (path, said) in [("/a", "max-age=10"), ("/b", "max-age=10, must-revalidate")] {
        origin.answers(&[("cache-control", said)], "old");
        app.get(path).await;
    }
    step(15 * SECOND).await;
    origin.fails(500);
    assert_eq!(app.get("/a").await.text(), "old");
    origin.fails(500);
    assert_eq!(app.get("/b").await.status, 500, "never what forbids it");
}

/// A tower service may fail without an answer. What is stale stands in for that too.
#[tokio::test]
async fn a_stale_page_stands_in_for_a_service_that_fails() {
    let larder = timed().await;
    let cache = CacheLayer::new(&larder).audience(Audience::Public).unwrap();
    let fails = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let failing = fails.clone();
    let service = tower::service_fn(move |_: Request| {
        let fails = failing.load(std::sync::atomic::Ordering::SeqCst);
        let answer = || response(&[IF_ERROR], "old");
        std::future::ready(if fails { Err("no connection") } else { Ok(answer()) })
    });
    let service = tower::Layer::layer(&cache, service);
    let service = tower::service_fn(move |request: Request| {
        let answer = tower::ServiceExt::oneshot(service.clone(), request);
        async move {
            Ok::<Response, Infallible>(match answer.await {
                Ok(answer) => answer.map(axum::body::Body::new),
                Err(why) => of_status(502, &[], why),
            })
        }
    });
    let app = App::serve(larder, cache, Calls::default(), service).await;
    app.get("/a").await;
    step(15 * SECOND).await;
    fails.store(true, std::sync::atomic::Ordering::SeqCst);
    let answer = app.get("/a").await;
    assert_eq!((answer.status, answer.x_cache(), answer.text()), (200, "STALE", "old"));
    let failure = app.get("/other").await;
    assert_eq!((failure.status, failure.text()), (502, "no connection"));
}

/// A change is no failure: what it has ended stands in for nothing.
#[tokio::test]
async fn what_was_ended_while_the_handler_failed_does_not_stand_in() {
    let gate = Gate::closed();
    let in_handler = gate.clone();
    let handler = move |_: Request| {
        let gate = in_handler.clone();
        async move {
            gate.pass().await;
            match gate.count() {
                1 => response(&[IF_ERROR], "old"),
                _ => of_status(500, &[], "failed"),
            }
        }
    };
    let app = App::of(timed().await, |layer| layer, Audience::Public, handler).await;
    gate.let_pass(1);
    app.get("/a").await;
    step(15 * SECOND).await;
    let client = stage::Wire::get(app.address, "/a").await;
    gate.arrived(2).await;
    app.larder.invalidate(app.cache.url("http://app.test/a").unwrap()).await.unwrap();
    gate.open();
    assert_eq!(client.rest().await.status, 500);
}

#[tokio::test]
async fn what_must_be_validated_is_never_served_stale() {
    let (app, origin) = app(Rule::standard()).await;
    let may = "max-age=10, stale-while-revalidate=60, stale-if-error=60";
    for (number, forbids) in
        ["must-revalidate", "proxy-revalidate", "s-maxage=10", "no-cache"].into_iter().enumerate()
    {
        let (path, said) = (format!("/{number}"), format!("{may}, {forbids}"));
        let fields = [("cache-control", said.as_str()), ("etag", "\"1\"")];
        origin.answers(&fields, "old");
        app.get(&path).await;
        step(15 * SECOND).await;
        origin.fails(500);
        let answer = app.get(&path).await;
        assert_eq!((answer.status, answer.text()), (500, "failed"), "{forbids}");
    }
}

#[tokio::test]
async fn a_handler_that_failed_is_left_alone_for_a_moment() {
    let (app, origin) = app(Rule::standard()).await;
    origin.answers(&[IF_ERROR], "old");
    app.get("/a").await;
    step(15 * SECOND).await;
    origin.fails(500);
    for _ in 0..5 {
        let answer = app.get("/a").await;
        assert_eq!((answer.x_cache(), answer.text()), ("STALE", "old"));
    }
    assert_eq!(origin.count(), 2, "it was asked once");
    step(Duration::from_millis(1100)).await;
    origin.answers(&[IF_ERROR], "new");
    assert_eq!(app.get("/a").await.text(), "new", "and is asked again");
}

/// Each time that a page stands in it is written anew, as old as it is. It once grew no older by that, and stood in for ever.
#[tokio::test]
async fn a_page_that_stands_in_grows_older() {
    let (app, origin) = app(Rule::standard()).await;
    origin.answers(&[IF_ERROR], "old");
    app.get("/a").await;
    step(15 * SECOND).await;
    for _ in 0..3 {
        origin.fails(503);
        assert_eq!(app.get("/a").await.x_cache(), "STALE");
        step(19 * SECOND).await;
    }
    origin.fails(503);
    assert_eq!(app.get("/a").await.status, 503);
}
