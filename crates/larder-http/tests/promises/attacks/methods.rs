//! A page is what `GET` was answered, and only that.

use http::StatusCode;

use super::{for_an_hour, rules};
use crate::support::{App, response};

/// Attack 7: `HEAD` before `GET`: the page that follows has its body. After it: answered from the page, with the
/// length and without the bytes.
#[tokio::test]
async fn head_never_fills_get_and_get_may_answer_head() {
    for rule in rules() {
        let app = App::public(rule, |request| async move {
            let fields =
                [("cache-control", "public, max-age=60"), ("x-method", request.method().as_str())];
            // A handler that answers all alike, and one that takes HEAD at its word.
            match (request.method().as_str(), request.uri().path()) {
                ("HEAD", "/empty") => response(&fields, ""),
                _ => response(&fields, "the page"),
            }
        })
        .await;
        for path in ["/alike", "/empty"] {
            for _ in 0..2 {
                let head = app.send("HEAD", path, &[]).await;
                assert_eq!((head.x_cache(), head.field("x-method")), ("MISS", "HEAD"));
                assert!(head.body.is_empty());
            }
            let page = app.get(path).await;
            assert_eq!((page.x_cache(), page.text()), ("MISS", "the page"));
            let head = app.send("HEAD", path, &[]).await;
            assert_eq!((head.x_cache(), head.field("x-method")), ("HIT", "GET"));
            assert_eq!((head.field("content-length"), head.body.len()), ("8", 0));
            let page = app.get(path).await;
            assert_eq!((page.x_cache(), page.text()), ("HIT", "the page"));
        }
    }
}

/// Attack 7: `HEAD` of a page that has to be validated shows it to be another: the old one is not served again,
/// and no empty one in its place.
#[tokio::test]
async fn head_that_shows_another_page_ends_the_stored_one() {
    let app = App::public(larder_http::Rule::standard(), |request| async move {
        let is_head = request.method() == http::Method::HEAD;
        let etag = if is_head { "\"2\"" } else { "\"1\"" };
        response(
            &[("cache-control", "public, no-cache"), ("etag", etag)],
            if is_head { "" } else { "page" },
        )
    })
    .await;
    app.get("/").await;
    let head = app.send("HEAD", "/", &[]).await;
    assert_eq!((head.field("etag"), head.x_cache()), ("\"2\"", "MISS"));
    let page = app.get("/").await;
    assert_eq!((page.text(), page.field("etag"), page.x_cache()), ("page", "\"1\"", "MISS"));
    assert!(page.field("cache-status").contains("uri-miss"), "{page:?}");
}

/// Attack 8: each is run again, whatever its answer says of storing it, and its answer is not that of `GET`.
#[tokio::test]
async fn what_changes_things_is_never_replayed() {
    for rule in rules() {
        let app = App::public(rule, |request| async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1000).await.unwrap();
            let page = format!("{} {}", head.method, String::from_utf8_lossy(&body));
            let fields =
                [("cache-control", "public, max-age=60"), ("content-location", head.uri.path())];
            response(&fields, page)
        })
        .await;
        for method in ["POST", "PUT", "PATCH", "DELETE", "QUERY", "REPORT", "get", "OPTIONS"] {
            for (number, body) in ["a", "a", "b"].iter().enumerate() {
                let path = format!("/{method}");
                let request = format!(
                    "{method} {path} HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\ncontent-length: 1\r\n\r\n{body}"
                );
                let answer = app.raw(request.as_bytes()).await;
                assert_eq!(
                    (answer.x_cache(), answer.text()),
                    ("BYPASS", &*format!("{method} {body}"))
                );
                assert_eq!(app.calls.of(&path), number + 1);
            }
            let path = format!("/{method}");
            assert_eq!(app.get(&path).await.text(), "GET ");
            let again = app.send(method, &path, &[("content-length", "0")]).await;
            assert_eq!(again.text(), format!("{method} "), "nor is it answered by the page");
        }
    }
}

/// Attack 8: what changed a page ends it; what is safe or has failed leaves it.
#[tokio::test]
async fn only_a_change_that_succeeded_ends_the_page() {
    let app = App::public(for_an_hour(), |request| async move {
        let mut answer = response(&[], "page");
        if request.headers().contains_key("x-fail") {
            *answer.status_mut() = StatusCode::FORBIDDEN;
        }
        answer
    })
    .await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "REPORT"] {
        app.get("/").await;
        app.send(method, "/", &[("x-fail", "1"), ("content-length", "0")]).await;
        assert_eq!(app.get("/").await.x_cache(), "HIT", "{method} that failed");
        app.send(method, "/", &[("content-length", "0")]).await;
        assert_eq!(app.get("/").await.x_cache(), "MISS", "{method}");
    }
    for method in ["QUERY", "OPTIONS", "TRACE", "HEAD"] {
        app.send(method, "/", &[]).await;
        assert_eq!(app.get("/").await.x_cache(), "HIT", "{method}");
    }
}
