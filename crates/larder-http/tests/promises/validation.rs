//! Whether a page still holds is asked in both directions: by clients of what is stored, and by the cache of
//! its handler.

use crate::stage::{Origin, of_status};
use crate::support::{App, embedded, until};
use crate::{far, stage};
use larder::{Larder, Lifetime, MINUTE};
use larder_http::{Audience, Rule};

/// Stored and stale at once: its age is more than it may be.
const STALE: [(&str, &str); 2] = [("cache-control", "max-age=10"), ("age", "20")];
const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const YESTERDAY: &str = "Tue, 24 Nov 2020 10:00:00 GMT";

async fn app() -> (App, Origin) {
    app_over(embedded().await).await
}

async fn app_over(larder: Larder) -> (App, Origin) {
    let origin = Origin::default();
    let app = App::of(larder, |layer| layer, Audience::Public, origin.handler()).await;
    (app, origin)
}

fn and<'a>(fields: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [fields, more].concat()
}

#[tokio::test]
async fn a_client_that_has_what_is_stored_is_told_so() {
    let (app, origin) = app().await;
    let fields =
        [FRESH, ("etag", "\"1\""), ("content-type", "text/plain"), ("vary", "accept-language")];
    origin.answers(&fields, "page");
    app.get("/a").await;
    for asked in ["\"1\"", "W/\"1\"", "\"0\", \"1\"", "*"] {
        let answer = app.send("GET", "/a", &[("if-none-match", asked)]).await;
        assert_eq!((answer.status, answer.x_cache(), answer.text()), (304, "HIT", ""), "{asked}");
        assert_eq!(answer.field("etag"), "\"1\"");
        assert_eq!(answer.field("cache-control"), "max-age=60");
        assert_eq!(answer.field("vary"), "accept-language");
        assert!(!answer.has("content-length") && !answer.has("content-type"), "{answer:?}");
    }
    for asked in ["\"2\"", "\"2\", W/\"3\""] {
        let answer = app.send("GET", "/a", &[("if-none-match", asked)]).await;
        assert_eq!((answer.status, answer.x_cache(), answer.text()), (200, "HIT", "page"));
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_client_may_ask_by_date_too() {
    let (app, origin) = app().await;
    origin.answers(&[FRESH, ("last-modified", YESTERDAY)], "page");
    app.get("/a").await;
    for (asked, status) in [
        (YESTERDAY, 304),
        ("Wed, 25 Nov 2020 10:00:00 GMT", 304),
        ("Mon, 23 Nov 2020 10:00:00 GMT", 200),
        ("yesterday", 200),
    ] {
        let answer = app.send("GET", "/a", &[("if-modified-since", asked)]).await;
        assert_eq!((answer.status, answer.x_cache()), (status, "HIT"), "{asked}");
    }
    // An entity tag comes before a date.
    let both = [("if-none-match", "\"1\""), ("if-modified-since", YESTERDAY)];
    assert_eq!(app.send("GET", "/a", &both).await.status, 200);
}

#[tokio::test]
async fn a_head_is_answered_from_the_page() {
    let (app, origin) = app().await;
    origin.answers(&[FRESH, ("etag", "\"1\"")], "page");
    app.get("/a").await;
    let head = app.send("HEAD", "/a", &[]).await;
    assert_eq!((head.status, head.x_cache(), head.field("content-length")), (200, "HIT", "4"));
    assert!(head.body.is_empty());
    let head = app.send("HEAD", "/a", &[("if-none-match", "\"1\"")]).await;
    assert_eq!((head.status, head.x_cache()), (304, "HIT"));
}

#[tokio::test]
async fn the_handler_is_asked_whether_a_stale_page_still_holds() {
    let (app, origin) = app().await;
    origin.answers(&and(&STALE, &[("etag", "\"1\""), ("last-modified", YESTERDAY)]), "page");
    app.get("/a").await;
    origin.says(of_status(304, &[FRESH, ("etag", "\"1\"")], ""));
    let answer = app.get("/a").await;
    assert_eq!(origin.last("if-none-match").as_deref(), Some("\"1\""));
    assert_eq!(origin.last("if-modified-since").as_deref(), Some(YESTERDAY));
    assert_eq!((answer.status, answer.x_cache(), answer.text()), (200, "MISS", "page"));
    let status = answer.field("cache-status");
    assert!(status.starts_with("larder; fwd=stale; fwd-status=304; ttl="), "{status}");
    let hit = app.get("/a").await;
    assert_eq!((hit.x_cache(), hit.text(), origin.count()), ("HIT", "page", 2));
}

#[tokio::test]
async fn a_page_that_has_changed_takes_the_place_of_the_old() {
    let (app, origin) = app().await;
    origin.answers(&and(&STALE, &[("etag", "\"1\"")]), "old");
    app.get("/a").await;
    origin.answers(&[FRESH, ("etag", "\"2\"")], "new");
    assert_eq!(app.get("/a").await.text(), "new");
    let hit = app.get("/a").await;
    assert_eq!((hit.x_cache(), hit.text(), hit.field("etag")), ("HIT", "new", "\"2\""));
}

#[tokio::test]
async fn what_says_no_cache_is_validated_before_every_use() {
    let (app, origin) = app().await;
    let said = [("cache-control", "no-cache, max-age=60"), ("etag", "\"1\"")];
    origin.answers(&said, "page");
    app.get("/a").await;
    for _ in 0..3 {
        origin.says(of_status(304, &said, ""));
        let answer = app.get("/a").await;
        assert_eq!((answer.status, answer.text()), (200, "page"));
        assert_eq!(origin.last("if-none-match").as_deref(), Some("\"1\""));
    }
    assert_eq!(origin.count(), 4);
}

/// RFC 9111 §4.3.4: what the 304 says of the page counts from now on, but not of its bytes.
#[tokio::test]
async fn the_fields_of_a_304_are_taken_into_the_page() {
    let (app, origin) = app().await;
    let page = and(&STALE, &[("etag", "\"1\""), ("x-kept", "old"), ("x-renewed", "old")]);
    origin.answers(&and(&page, &[("content-type", "text/plain")]), "page");
    app.get("/a").await;
    let said = [
        FRESH,
        ("etag", "\"1\""),
        ("x-renewed", "new"),
        ("x-renewed", "and newer"),
        ("x-added", "new"),
        ("content-encoding", "gzip"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
    ];
    origin.says(of_status(304, &said, ""));
    app.get("/a").await;
    let hit = app.get("/a").await;
    assert_eq!((hit.x_cache(), hit.text(), hit.field("content-length")), ("HIT", "page", "4"));
    let renewed: Vec<_> = hit.headers.get_all("x-renewed").iter().collect();
    assert_eq!(renewed, ["new", "and newer"]);
    assert_eq!((hit.field("x-kept"), hit.field("x-added")), ("old", "new"));
    assert_eq!(
        (hit.field("cache-control"), hit.field("content-type")),
        ("max-age=60", "text/plain")
    );
    assert!(!hit.has("content-encoding") && !hit.has("x-hop"), "{hit:?}");
}

#[tokio::test]
async fn a_304_freshens_the_page_for_the_whole_fleet() {
    let server = far::Server::start();
    let (here, origin) = app_over(far::on(&server).await).await;
    let (there, other_origin) = app_over(far::on(&server).await).await;
    origin.answers(&and(&STALE, &[("etag", "\"1\""), ("x-edition", "1")]), "page");
    here.get("/a").await;
    // The other process knows the page too, as it was.
    other_origin.says(of_status(304, &and(&STALE, &[("etag", "\"1\"")]), ""));
    until("the page in the other process", || async {
        let answer = there.get("/a").await;
        answer.field("cache-status").contains("fwd-status=304")
    })
    .await;
    origin.says(of_status(304, &[FRESH, ("etag", "\"1\""), ("x-edition", "2")], ""));
    here.get("/a").await;
    let hit = there.get("/a").await;
    assert_eq!((hit.x_cache(), hit.text(), hit.field("x-edition")), ("HIT", "page", "2"));
    assert_eq!((origin.count(), other_origin.count()), (2, 1));
}

/// The client's condition is between it and the cache: the handler is asked for all of the page, which others
/// can have as well.
#[tokio::test]
async fn the_condition_of_a_client_that_misses_is_answered_by_the_cache() {
    let (app, origin) = app().await;
    for field in [("if-none-match", "\"1\""), ("if-modified-since", YESTERDAY)] {
        let path = format!("/{}", field.0);
        origin.answers(&[FRESH, ("etag", "\"1\""), ("last-modified", YESTERDAY)], "page");
        let answer = app.send("GET", &path, &[field]).await;
        assert_eq!((answer.status, answer.x_cache(), answer.text()), (304, "MISS", ""));
        assert!(!answer.has("content-length"), "{answer:?}");
        assert_eq!(origin.last(field.0), None, "the handler is asked for all of it");
        let hit = app.get(&path).await;
        assert_eq!((hit.status, hit.x_cache(), hit.text()), (200, "HIT", "page"));
    }
}

#[tokio::test]
async fn a_client_with_an_older_page_gets_the_new_one_while_the_cache_asks_for_its_own() {
    let (app, origin) = app().await;
    origin.answers(&and(&STALE, &[("etag", "\"2\"")]), "two");
    app.get("/a").await;
    origin.says(of_status(304, &[FRESH, ("etag", "\"2\"")], ""));
    let answer = app.send("GET", "/a", &[("if-none-match", "\"1\"")]).await;
    assert_eq!(origin.last("if-none-match").as_deref(), Some("\"2\""));
    assert_eq!((answer.status, answer.text()), (200, "two"));
}

#[tokio::test]
async fn a_client_with_the_page_gets_a_304_when_the_handler_confirms_it() {
    let (app, origin) = app().await;
    origin.answers(&and(&STALE, &[("etag", "\"1\"")]), "page");
    app.get("/a").await;
    origin.says(of_status(304, &[FRESH, ("etag", "\"1\"")], ""));
    let answer = app.send("GET", "/a", &[("if-none-match", "\"1\"")]).await;
    assert_eq!((answer.status, answer.text()), (304, ""));
    assert_eq!(app.get("/a").await.text(), "page");
}

/// `If-Match` asks about the page as it is with the handler.
#[tokio::test]
async fn conditions_on_the_truth_go_to_the_handler() {
    let (app, origin) = app().await;
    origin.answers(&[FRESH, ("etag", "\"1\"")], "page");
    app.get("/a").await;
    for field in [("if-match", "\"1\""), ("if-unmodified-since", YESTERDAY)] {
        origin.says(of_status(412, &[], ""));
        let answer = app.send("GET", "/a", &[field]).await;
        assert_eq!((answer.status, answer.x_cache()), (412, "BYPASS"));
        assert_eq!(origin.last(field.0).as_deref(), Some(field.1));
    }
    assert_eq!(app.get("/a").await.x_cache(), "HIT");
}

/// RFC 9111 §4.3.5.
#[tokio::test]
async fn the_answer_to_a_head_freshens_the_page_that_it_speaks_of() {
    let (app, origin) = app().await;
    origin.answers(&and(&STALE, &[("etag", "\"1\""), ("x-edition", "1")]), "page");
    app.get("/a").await;
    origin.answers(&[FRESH, ("etag", "\"1\""), ("x-edition", "2"), ("content-length", "4")], "");
    let head = app.send("HEAD", "/a", &[]).await;
    assert_eq!((head.status, head.x_cache()), (200, "MISS"));
    assert_eq!(origin.last_method(), "HEAD");
    until("the page to be fresh", || async {
        let answer = app.send("GET", "/a", &[("if-none-match", "\"1\"")]).await;
        answer.x_cache() == "HIT"
    })
    .await;
    let hit = app.get("/a").await;
    assert_eq!((hit.x_cache(), hit.text(), hit.field("x-edition")), ("HIT", "page", "2"));
}

#[tokio::test]
async fn the_answer_to_a_head_ends_the_page_of_which_it_does_not_speak() {
    for other in [("etag", "\"2\""), ("content-length", "5"), ("last-modified", YESTERDAY)] {
        let (app, origin) = app().await;
        origin.answers(&and(&STALE, &[("etag", "\"1\"")]), "page");
        app.get("/a").await;
        origin.answers(&[FRESH, other], "");
        app.send("HEAD", "/a", &[]).await;
        origin.answers(&[FRESH], "new");
        let next = app.get("/a").await;
        assert_eq!(next.text(), "new", "{other:?}");
        assert_eq!(origin.last("if-none-match"), None, "nothing is left to ask about");
    }
}

#[tokio::test]
async fn a_head_stores_no_page() {
    let (app, origin) = app().await;
    origin.answers(&[FRESH, ("content-length", "4")], "");
    app.send("HEAD", "/a", &[]).await;
    origin.answers(&[FRESH], "page");
    let answer = app.get("/a").await;
    assert_eq!((answer.x_cache(), answer.text()), ("MISS", "page"));
}

/// The owner's time runs anew when the handler confirms the page.
#[tokio::test]
async fn under_an_owners_rule_a_confirmed_page_is_fresh_for_its_whole_time_again() {
    let origin = Origin::default();
    let rule = Rule::for_route(Lifetime::fresh_for(MINUTE));
    let larder = stage::timed().await;
    let app = App::of(larder, |layer| layer.rule(rule), Audience::Public, origin.handler()).await;
    let etag = [("etag", "\"1\"")];
    origin.answers(&etag, "page");
    app.get("/a").await;
    stage::step(2 * MINUTE).await;
    origin.says(of_status(304, &etag, ""));
    assert_eq!(app.get("/a").await.text(), "page");
    stage::step(MINUTE / 2).await;
    assert_eq!(app.get("/a").await.x_cache(), "HIT");
}

/// A page that has to be validated each time is no use to those who wait for it: they ask at once, each for itself. They
/// once asked one after the other.
#[tokio::test]
async fn those_who_validate_do_not_queue() {
    let crowd = 10;
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let all_came = std::sync::Arc::new(tokio::sync::Barrier::new(crowd));
    let handler = move |request: axum::extract::Request| {
        let first = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        let all_came = all_came.clone();
        async move {
            if first {
                let fields = [("etag", "\"1\""), ("cache-control", "no-cache")];
                return crate::support::response(&fields, "page");
            }
            all_came.wait().await;
            assert_eq!(request.headers()["if-none-match"], "\"1\"");
            stage::of_status(304, &[("etag", "\"1\"")], "")
        }
    };
    // Whoever waits for another waits for longer than this test does.
    let settings =
        |layer: larder_http::CacheLayerBuilder| layer.wait_max(2 * crate::support::NEVER);
    let app = App::of(embedded().await, settings, Audience::Public, handler).await;
    app.get("/a").await;
    let asking = (0..crowd).map(|_| app.get("/a"));
    let all = crate::support::soon("all who validate", crate::support::together(asking)).await;
    for answer in all {
        assert_eq!((answer.status, answer.text()), (200, "page"));
    }
}

/// `HEAD` answered without a validator tells nothing of the page: it does not grow younger by it, nor does it end.
#[tokio::test]
async fn a_head_without_validators_leaves_the_page() {
    let origin = stage::Origin::default();
    let (larder, rule) = (stage::timed().await, larder_http::Rule::standard());
    let rule = rule.stale_if_error(60 * larder::SECOND);
    let audience = larder_http::Audience::Public;
    let app = App::of(larder, |layer| layer.rule(rule), audience, origin.handler()).await;
    origin.answers(&[("cache-control", "max-age=10")], "old");
    app.get("/a").await;
    stage::step(15 * larder::SECOND).await;
    origin.answers(&[("cache-control", "max-age=10")], "");
    assert_eq!(app.send("HEAD", "/a", &[]).await.x_cache(), "MISS");
    origin.fails(503);
    let answer = app.get("/a").await;
    assert_eq!((answer.x_cache(), answer.text(), origin.count()), ("STALE", "old", 3));
}
