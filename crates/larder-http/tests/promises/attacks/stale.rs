//! What is stale is served where that is allowed, and nowhere else; however much goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use larder::{HOUR, Larder, Lifetime};
use larder_http::{Audience, Rule};

use crate::far::{self, Server};
use crate::support::{App, embedded, response, until};

/// Each forbids that what is stale is served (RFC 9111 §4.2.4).
const FORBIDDING: [&str; 7] = [
    "max-age=60, must-revalidate",
    "max-age=60, proxy-revalidate",
    "s-maxage=60",
    "max-age=60, s-maxage=60",
    "max-age=60, no-cache",
    "max-age=60, Must-Revalidate",
    "max-age=60, no-cache, public",
];

/// A handler that answers once, a page that is stale at once, and fails from then on.
fn failing(says: &str) -> impl Fn(Request) -> Answering + Clone + Send + Sync + 'static {
    let calls = Arc::new(AtomicUsize::new(0));
    let says = format!("{says}, stale-while-revalidate=1000, stale-if-error=1000");
    move |_| {
        let mut answer =
            response(&[("cache-control", &says), ("age", "100"), ("etag", "\"1\"")], "page");
        if calls.fetch_add(1, Ordering::SeqCst) > 0 {
            answer = response(&[], "failed");
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        std::future::ready(answer)
    }
}

type Answering = std::future::Ready<Response>;

async fn of(larder: Larder, rule: Rule, says: &str) -> App {
    App::of(larder, |layer| layer.rule(rule), Audience::Public, failing(says)).await
}

/// Whoever asks while the handler fails is told so, again and again.
async fn is_told_of_the_failure(app: &App, says: &str) {
    for fields in
        [&[][..], &[("cache-control", "max-stale")], &[("cache-control", "max-stale=1000")]]
    {
        for method in ["GET", "HEAD", "GET"] {
            let answer = app.send(method, "/", fields).await;
            assert_eq!((answer.status, answer.x_cache()), (503, "MISS"), "{says} {fields:?}");
        }
    }
}

/// Attack 16: with all that allows staleness said beside it, in the response, by the rule and by the client, what
/// forbids it wins; when the handler fails, and behind an answer.
#[tokio::test]
async fn nothing_stale_is_served_against_what_forbids_it() {
    let rule = Rule::standard().stale_if_error(HOUR).honour_request_directives();
    for says in FORBIDDING {
        let app = of(embedded().await, rule.clone(), says).await;
        assert_eq!(app.get("/").await.text(), "page");
        is_told_of_the_failure(&app, says).await;
    }
    let app = of(embedded().await, rule, "max-age=60").await;
    app.get("/").await;
    assert_eq!(app.get("/").await.x_cache(), "STALE", "where nothing forbids it");
}

/// Attack 16: the same under the time that the owner of a route gives.
#[tokio::test]
async fn the_owner_of_a_route_does_not_overrule_what_forbids_staleness() {
    let short = Rule::for_route(Lifetime::fresh_for(Duration::from_millis(1)).stale_for(HOUR));
    for says in FORBIDDING {
        let app = of(embedded().await, short.clone().honour_request_directives(), says).await;
        assert_eq!(app.get("/").await.text(), "page");
        until("its end", async || app.get("/").await.x_cache() != "HIT").await;
        is_told_of_the_failure(&app, says).await;
    }
    let app = of(embedded().await, short, "max-age=60").await;
    app.get("/").await;
    until("staleness, where nothing forbids it", async || app.get("/").await.x_cache() == "STALE")
        .await;
}

/// Attack 16: Redis is gone, with and without its connections. The handler is asked for all that is stale, and its
/// failure is told.
#[tokio::test]
async fn nothing_stale_is_served_when_redis_is_down() {
    let rule = Rule::standard().stale_if_error(HOUR).honour_request_directives();
    for way in ["killed", "hanging"] {
        let mut server = Server::start();
        let quick = Duration::from_millis(50);
        for says in FORBIDDING {
            let larder = Larder::builder("test").redis(server.url()).far_deadline(quick);
            let app = of(larder.require_far().open().await.unwrap(), rule.clone(), says).await;
            assert_eq!(app.get("/").await.text(), "page", "{says}");
            app.larder.settled().await;
            match way {
                "killed" => server.kill(),
                _ => server.pause(),
            }
            is_told_of_the_failure(&app, says).await;
            match way {
                "killed" => server.start_again(),
                _ => server.resume(),
            }
            until("Redis", async || app.larder.is_far_up()).await;
            is_told_of_the_failure(&app, says).await;
            let _: () = server.ask("FLUSHALL");
        }
    }
}

/// Attack 16: with Redis down and the handler well, requests are answered, by the handler where it has to be asked.
#[tokio::test]
async fn the_handler_answers_when_redis_is_down() {
    let mut server = Server::start();
    let larder = far::on(&server).await;
    let app = App::of(
        larder,
        |layer| layer.rule(Rule::standard()),
        Audience::Public,
        |_| async {
            response(&[("cache-control", "max-age=60, must-revalidate"), ("age", "100")], "page")
        },
    )
    .await;
    server.kill();
    for number in 1..4 {
        let page = app.get("/").await;
        assert_eq!((page.text(), page.x_cache(), app.calls.count()), ("page", "MISS", number));
    }
}
