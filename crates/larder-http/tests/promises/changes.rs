//! A request that changes things ends what was stored of what it changed, and nothing else.

#![allow(clippy::unwrap_used, reason = "a scene that cannot be set has failed")]

use crate::door::app_with_door;
use crate::stage::{Gate, Wire};
use crate::support::{App, each_user, embedded, response, until};
use axum::extract::Request;
use axum::response::Response;
use larder::{Lifetime, MINUTE};
use larder_http::{Audience, Rule};

const CHANGE: [(&str, &str); 1] = [("content-length", "0")];

fn for_a_minute() -> Rule {
    Rule::for_route(Lifetime::fresh_for(MINUTE))
}

/// An app whose changes are answered as they ask to be: `x-status`, and the fields that they name.
async fn app() -> App {
    App::public(for_a_minute(), |request| async move { obliging(&request) }).await
}

fn obliging(request: &Request) -> Response {
    let asked = |name: &str| Some(request.headers().get(name)?.to_str().unwrap().to_owned());
    let mut response = response(&[], "page");
    for name in ["location", "content-location", "cache-groups", "cache-group-invalidation"] {
        if let Some(value) = asked(&format!("x-{name}")) {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
    }
    if let Some(status) = asked("x-status") {
        *response.status_mut() = status.parse().unwrap();
    }
    response
}

async fn change(app: &App, method: &str, path: &str, fields: &[(&str, &str)]) {
    let fields = [&CHANGE[..], fields].concat();
    assert_eq!(app.send(method, path, &fields).await.x_cache(), "BYPASS");
}

/// Whether it was stored: asked once, it is from then on.
async fn is_stored(app: &App, path: &str) -> bool {
    app.get(path).await.x_cache() == "HIT"
}

#[tokio::test]
async fn whatever_is_not_safe_ends_the_page_of_its_url() {
    let app = app().await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "PROPPATCH", "BREW"] {
        app.get("/a").await;
        app.get("/b").await;
        change(&app, method, "/a", &[]).await;
        assert!(!is_stored(&app, "/a").await, "{method}");
        assert!(is_stored(&app, "/b").await, "{method}");
    }
}

#[tokio::test]
async fn whatever_is_safe_ends_nothing() {
    let app = app().await;
    app.get("/a").await;
    for method in ["OPTIONS", "TRACE", "QUERY"] {
        change(&app, method, "/a", &[("x-location", "/a")]).await;
        assert!(is_stored(&app, "/a").await, "{method}");
    }
    app.send("GET", "/b", &[("x-location", "/a"), ("x-cache-group-invalidation", "\"g\"")]).await;
    assert!(is_stored(&app, "/a").await);
}

#[tokio::test]
async fn a_change_that_failed_ends_nothing() {
    let app = app().await;
    app.get("/a").await;
    for status in ["400", "401", "404", "409", "500", "503"] {
        change(&app, "POST", "/a", &[("x-status", status)]).await;
        change(&app, "POST", "/c", &[("x-status", status), ("x-location", "/a")]).await;
        assert!(is_stored(&app, "/a").await, "{status}");
    }
}

#[tokio::test]
async fn a_change_that_sends_on_has_succeeded() {
    let app = app().await;
    for status in ["201", "204", "303"] {
        app.get("/a").await;
        change(&app, "POST", "/a", &[("x-status", status)]).await;
        assert!(!is_stored(&app, "/a").await, "{status}");
    }
}

#[tokio::test]
async fn what_a_change_says_it_touched_ends_too() {
    let app = app().await;
    for field in ["x-location", "x-content-location"] {
        for named in
            ["/list/17?x=1", "17?x=1", "http://app.test/list/17?x=1", "//app.test/list/17?x=1"]
        {
            app.get("/list/17?x=1").await;
            app.get("/list/17").await;
            change(&app, "POST", "/list/", &[(field, named)]).await;
            assert!(!is_stored(&app, "/list/17?x=1").await, "{field}: {named}");
            assert!(is_stored(&app, "/list/17").await, "{field}: {named}");
        }
    }
}

/// RFC 9111 §4.4: nobody ends the pages of others.
#[tokio::test]
async fn a_change_ends_no_page_of_another_host() {
    let app = app().await;
    let other = [("host", "other.test")];
    app.send("GET", "/a", &other).await;
    change(&app, "POST", "/a", &[("x-location", "http://other.test/a")]).await;
    change(&app, "POST", "/b", &[("x-content-location", "//other.test/a")]).await;
    assert_eq!(app.send("GET", "/a", &other).await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_change_by_one_user_ends_the_pages_of_all() {
    let handler = |request: Request| async move { obliging(&request) };
    let rule = for_a_minute();
    let app = App::of(embedded().await, |layer| layer.rule(rule), each_user(), handler).await;
    for user in ["ann", "bob"] {
        app.send("GET", "/a", &[("x-test-user", user)]).await;
        app.send("GET", "/b", &[("x-test-user", user)]).await;
    }
    change(&app, "POST", "/a", &[("x-test-user", "ann")]).await;
    for user in ["ann", "bob"] {
        assert_eq!(app.send("GET", "/a", &[("x-test-user", user)]).await.x_cache(), "MISS");
        assert_eq!(app.send("GET", "/b", &[("x-test-user", user)]).await.x_cache(), "HIT");
    }
    // Whoever is nobody to the cache may change things nevertheless.
    change(&app, "POST", "/b", &[]).await;
    assert_eq!(app.send("GET", "/b", &[("x-test-user", "bob")]).await.x_cache(), "MISS");
}

/// The handler has committed, and its client does not wait to hear of it.
#[tokio::test]
async fn a_client_that_hangs_up_does_not_undo_a_change() {
    let gate = Gate::closed();
    let in_handler = gate.clone();
    let handler = move |request: Request| {
        let gate = in_handler.clone();
        async move {
            if request.method() == "POST" {
                gate.pass().await;
            }
            response(&[], "page")
        }
    };
    let rule = for_a_minute();
    let (app, door) =
        app_with_door(embedded().await, |layer| layer.rule(rule), Audience::Public, handler).await;
    app.get("/a").await;
    app.get("/b").await;
    let client = Wire::ask(app.address, "POST", "/a", &CHANGE).await;
    gate.arrived(1).await;
    assert!(is_stored(&app, "/a").await, "not before the handler is done with it");
    client.hang_up();
    door.empty().await;
    until("the page to end", || async { !is_stored(&app, "/a").await }).await;
    assert!(is_stored(&app, "/b").await);
}

#[tokio::test]
async fn a_handler_that_panics_may_have_committed() {
    let handler = |request: Request| async move {
        assert_eq!(request.method(), "GET", "the handler of this test panics");
        response(&[], "page")
    };
    let app = App::public(for_a_minute(), handler).await;
    app.get("/a").await;
    let broken = Wire::ask(app.address, "POST", "/a", &CHANGE).await;
    assert_eq!(broken.raw_rest().await, "");
    until("the page to end", || async { !is_stored(&app, "/a").await }).await;
}

/// A page that is being made while it is changed is the old one.
#[tokio::test]
async fn a_page_that_was_on_its_way_during_a_change_is_not_stored() {
    let gate = Gate::closed();
    let in_handler = gate.clone();
    let handler = move |request: Request| {
        let gate = in_handler.clone();
        async move {
            if request.method() == "GET" {
                gate.pass().await;
            }
            response(&[], format!("edition {}", gate.count()))
        }
    };
    let app = App::public(for_a_minute(), handler).await;
    let reader = Wire::get(app.address, "/a").await;
    gate.arrived(1).await;
    change(&app, "PUT", "/a", &[]).await;
    gate.open();
    assert_eq!(reader.rest().await.text(), "edition 1");
    let next = app.get("/a").await;
    assert_eq!((next.x_cache(), next.text()), ("MISS", "edition 2"));
}

/// RFC 9875 §3.
#[tokio::test]
async fn a_change_ends_the_groups_that_it_names() {
    let app = app().await;
    let (both, one) = ([("x-cache-groups", "\"g\", \"h\"")], [("x-cache-groups", "\"h\"")]);
    let other_host = [("x-cache-groups", "\"g\""), ("host", "other.test")];
    // A group is known to the process from the first response on, and stored with the second.
    for _ in 0..2 {
        app.send("GET", "/a", &both).await;
        app.send("GET", "/b", &one).await;
        app.send("GET", "/a", &other_host).await;
    }
    change(&app, "POST", "/c", &[("x-cache-group-invalidation", "\"g\"")]).await;
    assert!(is_stored(&app, "/b").await);
    assert_eq!(app.send("GET", "/a", &other_host).await.x_cache(), "HIT", "of one host alone");
    assert!(!is_stored(&app, "/a").await);
}

#[tokio::test]
async fn a_change_that_failed_ends_no_group() {
    let app = app().await;
    for _ in 0..2 {
        app.send("GET", "/a", &[("x-cache-groups", "\"g\"")]).await;
    }
    let said = [("x-cache-group-invalidation", "\"g\""), ("x-status", "403")];
    change(&app, "POST", "/c", &said).await;
    assert!(is_stored(&app, "/a").await);
}

#[tokio::test]
async fn what_is_past_the_cache_may_change_things_too() {
    let app = app().await;
    app.get("/a").await;
    change(&app, "POST", "/a", &[("x-forwarded-host", "else.test")]).await;
    assert!(!is_stored(&app, "/a").await);
}

/// A URL that is too long for a key: nothing is stored of it, and to end it is to end nothing. That once kept all that its
/// change named beside it from being ended, and any client can send one.
#[tokio::test]
async fn a_change_of_an_endless_url_ends_what_it_names() {
    let app = app().await;
    app.get("/tasks").await;
    assert_eq!(app.get("/tasks").await.x_cache(), "HIT");
    let endless = format!("/tasks?{}", "x".repeat(9000));
    change(&app, "POST", &endless, &[("x-location", "/tasks")]).await;
    assert_eq!(app.get("/tasks").await.x_cache(), "MISS");
}
