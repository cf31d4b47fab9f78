//! A part of a page is made from the whole that is stored, and is never taken for it.

use crate::stage::{Origin, of_status};
use crate::support::{Answer, App};
use larder_http::Rule;

const STORED: (&str, &str) = ("cache-control", "max-age=60");

async fn app() -> (App, Origin) {
    let origin = Origin::default();
    (App::public(Rule::standard(), origin.handler()).await, origin)
}

async fn range(app: &App, range: &str, more: &[(&str, &str)]) -> Answer {
    let mut fields = vec![("range", range)];
    fields.extend(more);
    app.send("GET", "/a", &fields).await
}

#[tokio::test]
async fn a_part_is_cut_from_the_stored_whole() {
    let (app, origin) = app().await;
    origin.answers(&[STORED, ("content-type", "text/plain")], "0123456789");
    app.get("/a").await;
    for (asked, said, body) in [
        ("bytes=0-3", "bytes 0-3/10", "0123"),
        ("bytes=4-", "bytes 4-9/10", "456789"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=8-99", "bytes 8-9/10", "89"),
    ] {
        let part = range(&app, asked, &[]).await;
        assert_eq!((part.status, part.x_cache(), part.text()), (206, "HIT", body), "{asked}");
        assert_eq!(part.field("content-range"), said);
        assert_eq!(part.field("content-length"), body.len().to_string());
        assert_eq!(part.field("content-type"), "text/plain");
    }
    let whole = app.get("/a").await;
    assert_eq!((whole.status, whole.text(), origin.count()), (200, "0123456789", 1));
}

#[tokio::test]
async fn a_range_outside_of_the_page_is_refused() {
    let (app, origin) = app().await;
    origin.answers(&[STORED], "0123456789");
    app.get("/a").await;
    let refused = range(&app, "bytes=10-", &[]).await;
    assert_eq!((refused.status, refused.text()), (416, ""));
    assert_eq!(refused.field("content-range"), "bytes */10");
}

#[tokio::test]
async fn several_ranges_and_other_units_get_the_whole() {
    let (app, origin) = app().await;
    origin.answers(&[STORED], "0123456789");
    app.get("/a").await;
    for asked in ["bytes=0-1,4-5", "lines=1-2", "bytes=5-3", "bytes=a-b"] {
        let whole = range(&app, asked, &[]).await;
        assert_eq!((whole.status, whole.text()), (200, "0123456789"), "{asked}");
        assert!(!whole.has("content-range"));
    }
}

#[tokio::test]
async fn a_part_of_another_edition_is_not_asked_for() {
    let (app, origin) = app().await;
    let dates = [
        ("last-modified", "Tue, 01 Sep 2026 10:00:00 GMT"),
        ("date", "Tue, 01 Sep 2026 11:00:00 GMT"),
        ("cache-control", "max-age=2000000000"),
    ];
    let mut fields = vec![("etag", "\"now\"")];
    fields.extend(dates);
    origin.answers(&fields, "0123456789");
    app.get("/a").await;
    for (condition, status) in [
        ("\"now\"", 206),
        ("Tue, 01 Sep 2026 10:00:00 GMT", 206),
        ("\"then\"", 200),
        ("W/\"now\"", 200),
        ("Tue, 01 Sep 2026 10:00:01 GMT", 200),
    ] {
        let answer = range(&app, "bytes=0-3", &[("if-range", condition)]).await;
        assert_eq!((answer.status, answer.x_cache()), (status, "HIT"), "{condition}");
    }
}

/// What the handler cuts is its own affair: it passes as it is, and the page is still not there.
#[tokio::test]
async fn a_range_that_misses_is_the_handlers_to_cut_and_is_not_stored() {
    let (app, origin) = app().await;
    let fields = [STORED, ("content-range", "bytes 0-3/10")];
    origin.says(of_status(206, &fields, "0123"));
    let part = range(&app, "bytes=0-3", &[("if-range", "\"x\"")]).await;
    assert_eq!((part.status, part.x_cache(), part.text()), (206, "MISS", "0123"));
    assert_eq!(origin.last("range").as_deref(), Some("bytes=0-3"));
    assert_eq!(origin.last("if-range").as_deref(), Some("\"x\""));
    origin.answers(&[STORED], "0123456789");
    let whole = app.get("/a").await;
    assert_eq!((whole.status, whole.x_cache(), whole.text()), (200, "MISS", "0123456789"));
}

/// Some handlers answer 206 to who asked for no part. That is not the page either.
#[tokio::test]
async fn a_part_that_nobody_asked_for_is_not_stored() {
    let (app, origin) = app().await;
    for _ in 0..2 {
        let fields = [STORED, ("content-range", "bytes 0-3/10")];
        origin.says(of_status(206, &fields, "0123"));
        assert_eq!(app.get("/a").await.x_cache(), "MISS");
    }
}

#[tokio::test]
async fn head_has_no_parts() {
    let (app, origin) = app().await;
    origin.answers(&[STORED], "0123456789");
    app.get("/a").await;
    let head = app.send("HEAD", "/a", &[("range", "bytes=0-3")]).await;
    assert_eq!((head.status, head.x_cache(), head.field("content-length")), (200, "HIT", "10"));
    assert!(head.body.is_empty());
}
