//! A part of a page, or the word that it is still the same, is never taken for the page.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use larder_http::Rule;

use super::{for_an_hour, rules};
use crate::support::{App, response};

const PAGE: &str = "0123456789";

/// A handler that answers `Range` by the first five, whatever was asked for.
async fn in_parts(request: Request) -> Response {
    let fields = [
        ("cache-control", "public, max-age=60"),
        ("etag", "\"1\""),
        ("content-range", "bytes 0-4/10"),
    ];
    if request.headers().contains_key("range") || request.uri().path() == "/always" {
        let mut part = response(&fields, "01234");
        *part.status_mut() = StatusCode::PARTIAL_CONTENT;
        return part;
    }
    response(&fields[..2], PAGE)
}

/// Attack 13: a part is asked for before the page is stored, and after. The page is whole for all who want it.
#[tokio::test]
async fn a_part_is_never_a_page() {
    for rule in rules() {
        let app = App::public(rule, in_parts).await;
        for _ in 0..2 {
            let part = app.send("GET", "/", &[("range", "bytes=0-4")]).await;
            assert_eq!((part.status, part.x_cache(), part.text()), (206, "MISS", "01234"));
        }
        for told in ["MISS", "HIT"] {
            let page = app.get("/").await;
            assert_eq!((page.status, page.x_cache(), page.text()), (200, told, PAGE));
            assert!(!page.has("content-range"));
        }
        let part = app.send("GET", "/", &[("range", "bytes=7-")]).await;
        assert_eq!((part.status, part.x_cache(), part.text()), (206, "HIT", "789"));
        assert_eq!(part.field("content-range"), "bytes 7-9/10");
        let outside = app.send("GET", "/", &[("range", "bytes=10-")]).await;
        assert_eq!((outside.status, outside.text()), (416, ""));
        let page = app.get("/").await;
        assert_eq!((page.status, page.text(), page.has("content-range")), (200, PAGE, false));
    }
}

/// Attack 13: what nobody can answer in part is answered whole, from the page.
#[tokio::test]
async fn strange_ranges_get_the_whole_page() {
    let app = App::public(for_an_hour(), in_parts).await;
    app.get("/").await;
    for range in [
        "bytes=0-1,3-4",
        "bytes=0-,0-,0-,0-,0-",
        "lines=0-1",
        "bytes=a-b",
        "bytes=4-1",
        "bytes=-",
        "bytes",
        "",
    ] {
        let page = app.send("GET", "/", &[("range", range)]).await;
        assert_eq!((page.status, page.x_cache(), page.text()), (200, "HIT", PAGE), "{range}");
    }
    // Of another version: a part of it must not be joined to what the client has.
    for other in ["\"0\"", "W/\"1\"", "Thu, 01 Jan 1970 00:00:00 GMT"] {
        let fields = [("range", "bytes=0-4"), ("if-range", other)];
        let page = app.send("GET", "/", &fields).await;
        assert_eq!((page.status, page.text()), (200, PAGE), "{other}");
    }
    let same = app.send("GET", "/", &[("range", "bytes=0-4"), ("if-range", "\"1\"")]).await;
    assert_eq!((same.status, same.text()), (206, "01234"));
    let head = app.send("HEAD", "/", &[("range", "bytes=0-4")]).await;
    assert_eq!((head.status, head.field("content-length")), (200, "10"));
    assert_eq!(app.calls.count(), 1);
}

/// Attack 13: a handler answers in part what was asked for whole. It is handed on, and not stored.
#[tokio::test]
async fn a_part_that_nobody_asked_for_is_not_stored() {
    for rule in rules() {
        let app = App::public(rule, in_parts).await;
        for _ in 0..2 {
            let part = app.get("/always").await;
            assert_eq!((part.status, part.x_cache(), part.text()), (206, "MISS", "01234"));
        }
    }
}

/// A page in two languages, each with its tag, that hears conditions; one that has to be validated.
async fn in_languages(request: Request) -> Response {
    let said = |name| request.headers().get(name).map_or("", |value| value.to_str().unwrap());
    let language = said("accept-language");
    let etag = format!("\"{}-{language}\"", request.uri().path());
    let freshness = if request.uri().path() == "/checked" { "no-cache" } else { "max-age=60" };
    let control = format!("public, {freshness}");
    let fields = [("cache-control", &*control), ("etag", &*etag), ("vary", "accept-language")];
    let mut answer = response(&fields, format!("page {} {language}", request.uri().path()));
    if said("if-none-match") == etag {
        answer = response(&fields, "");
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    answer
}

/// Attack 15: lists, weak tags and `*` are compared as the RFC has it, and a 304 has no body and says of none.
#[tokio::test]
async fn a_stored_page_answers_conditions() {
    let app = App::public(Rule::standard(), in_languages).await;
    app.get("/a").await;
    for (condition, is_same) in [
        ("\"/a-\"", true),
        ("W/\"/a-\"", true),
        ("\"x\", \"/a-\"", true),
        ("\"x,\"  ,  W/\"/a-\"", true),
        ("*", true),
        ("\"x\"", false),
        ("\"/a\"", false),
        ("\"/A-\"", false),
        ("\"*\"", false),
        ("\"x, \"/a-x\"", false),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = app.send(method, "/a", &[("if-none-match", condition)]).await;
            let status = if is_same { 304 } else { 200 };
            assert_eq!((answer.status, answer.x_cache()), (status, "HIT"), "{condition}");
            if is_same {
                assert!(answer.body.is_empty());
                assert!(!answer.has("content-length") && !answer.has("transfer-encoding"));
                assert_eq!(answer.field("etag"), "\"/a-\"");
            }
        }
    }
    assert_eq!(app.get("/a").await.text(), "page /a ");
    assert_eq!(app.calls.count(), 1);
}

/// Attack 15: the condition comes with the request that fills the page. The client has its 304, and the page is
/// stored whole.
#[tokio::test]
async fn a_304_to_the_first_client_is_no_page() {
    for rule in rules() {
        let app = App::public(rule, in_languages).await;
        let first = app.send("GET", "/a", &[("if-none-match", "\"/a-\"")]).await;
        assert_eq!((first.status, first.x_cache(), first.body.len()), (304, "MISS", 0));
        let page = app.get("/a").await;
        assert_eq!((page.status, page.x_cache(), page.text()), (200, "HIT", "page /a "));
    }
}

/// Attack 15: a tag belongs to its URL and its variant. That of another gets the page, and is not what the handler
/// is asked by.
#[tokio::test]
async fn a_tag_of_another_page_or_variant_is_not_modified_by_nobody() {
    let app = App::public(Rule::standard(), in_languages).await;
    for path in ["/a", "/b", "/checked"] {
        for _ in 0..2 {
            for language in ["de", "en"] {
                let page = app.send("GET", path, &[("accept-language", language)]).await;
                assert_eq!((page.status, page.text()), (200, &*format!("page {path} {language}")));
                for other in ["\"/a-de\"", "\"/b-en\"", "\"/checked-de\"", "\"/checked-en\""] {
                    let fields = [("accept-language", language), ("if-none-match", other)];
                    let answer = app.send("GET", path, &fields).await;
                    let own = format!("\"{path}-{language}\"");
                    assert_eq!(
                        answer.status,
                        if other == own { 304 } else { 200 },
                        "{path} {fields:?}"
                    );
                    assert_eq!(answer.field("etag"), own);
                }
            }
        }
    }
}

/// Attack 15: conditions about the page as it is with the handler are the handler's to judge.
#[tokio::test]
async fn preconditions_go_to_the_handler() {
    let app = App::public(for_an_hour(), in_languages).await;
    app.get("/a").await;
    let date = "Thu, 01 Jan 1970 00:00:00 GMT";
    for (name, value) in [("if-match", "\"x\""), ("if-unmodified-since", date)] {
        assert_eq!(app.send("GET", "/a", &[(name, value)]).await.x_cache(), "BYPASS");
    }
}

/// Attack 15: a handler that was asked nothing says 304. It goes to that client, and is not stored as a page.
#[tokio::test]
async fn a_304_out_of_nowhere_is_not_stored() {
    for rule in rules() {
        let app = App::public(rule, |_| async {
            let mut answer = response(&[("cache-control", "public, max-age=60")], "");
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            answer
        })
        .await;
        for _ in 0..2 {
            let answer = app.get("/").await;
            assert_eq!((answer.status, answer.x_cache()), (304, "MISS"));
        }
    }
}
