//! What a client says beside the URL must not change the page of others.

use http::HeaderName;
use larder_http::Audience;

use super::{for_an_hour, rules};
use crate::support::{App, embedded, response};

/// A handler that puts into its page whatever it was sent.
fn echo(request: &axum::extract::Request) -> String {
    let mut page = format!("at {}", request.uri().path());
    for (name, value) in request.headers() {
        if !["host", "connection"].contains(&name.as_str()) {
            page += &format!(" {name}={}", value.to_str().unwrap());
        }
    }
    page
}

async fn echoing(rule: larder_http::Rule) -> App {
    App::public(rule, |request| async move {
        response(&[("cache-control", "public, max-age=60")], echo(&request))
    })
    .await
}

const BYPASSING: [&str; 12] = [
    "Forwarded",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Scheme",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Original-Host",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Method-Override",
];

/// Attack 1: a field from which frameworks make links, hosts or methods is sent before and after the page is
/// stored. Who sends it gets the handler's own answer; the page of all others knows nothing of it.
#[tokio::test]
async fn a_field_that_forges_the_url_goes_past_the_cache() {
    for rule in rules() {
        let app = echoing(rule).await;
        for (number, name) in BYPASSING.iter().enumerate() {
            let path = format!("/{number}");
            let forged = app.send("GET", &path, &[(name, "evil")]).await;
            assert_eq!(forged.x_cache(), "BYPASS", "{name}");
            let first = app.get(&path).await;
            assert_eq!((first.x_cache(), first.text()), ("MISS", &*format!("at {path}")), "{name}");
            let forged = app.send("GET", &path, &[(name, "evil")]).await;
            assert!(forged.text().contains("=evil"), "{forged:?}");
            // Said empty, it is said.
            let forged = app.send("GET", &path, &[(name, "")]).await;
            assert_eq!(forged.x_cache(), "BYPASS", "{name}");
            let others = app.get(&path).await;
            assert_eq!((others.x_cache(), others.text()), ("HIT", &*format!("at {path}")));
            let headed = app.send("HEAD", &path, &[(name, "evil")]).await;
            assert_eq!(headed.x_cache(), "BYPASS", "{name}");
        }
    }
}

/// Attack 1: a page that allows a foreign `Origin` is not served to another origin, nor to none.
#[tokio::test]
async fn an_origin_has_its_own_page() {
    for rule in rules() {
        let app = echoing(rule).await;
        let origins = ["https://evil.test", "https://good.test", "null"];
        for round in ["MISS", "HIT"] {
            for origin in origins {
                let page = app.send("GET", "/", &[("Origin", origin)]).await;
                assert_eq!(page.x_cache(), round);
                assert_eq!(page.text(), format!("at / origin={origin}"));
            }
            let page = app.get("/").await;
            assert_eq!((page.x_cache(), page.text()), (round, "at /"));
        }
    }
}

/// Attack 1: what the app's own proxy sets may be made a part of what selects a page, or of what goes past it.
#[tokio::test]
async fn the_app_may_key_by_a_field_or_let_it_bypass() {
    let tenant = HeaderName::from_static("x-tenant");
    let forwarded = HeaderName::from_static("x-forwarded-host");
    let keyed = App::of(
        embedded().await,
        |layer| layer.rule(for_an_hour()).bypass_on([tenant.clone()]).vary_by([forwarded.clone()]),
        Audience::Public,
        |request| async move { response(&[], echo(&request)) },
    )
    .await;
    for round in ["MISS", "HIT"] {
        for host in ["one.test", "two.test"] {
            let page = keyed.send("GET", "/", &[("x-forwarded-host", host)]).await;
            assert_eq!(page.x_cache(), round);
            assert_eq!(page.text(), format!("at / x-forwarded-host={host}"));
        }
        let page = keyed.send("GET", "/", &[("x-tenant", "a")]).await;
        assert_eq!((page.x_cache(), page.text()), ("BYPASS", "at / x-tenant=a"));
        assert_eq!(keyed.get("/").await.text(), "at /");
    }
}

/// Attack 1: a body on `GET`, however it is framed, reaches the handler and changes nobody's page.
#[tokio::test]
async fn a_get_with_a_body_goes_past_the_cache() {
    let bodies = [
        "content-length: 4\r\n\r\nevil",
        "transfer-encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        // Nothing in it, but the handler can tell.
        "transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    for rule in rules() {
        let app = App::public(rule, |request: axum::extract::Request| async move {
            let bytes = axum::body::to_bytes(request.into_body(), 1000).await.unwrap();
            let page = format!("said {}", String::from_utf8_lossy(&bytes));
            response(&[("cache-control", "public, max-age=60")], page)
        })
        .await;
        for (number, body) in bodies.iter().enumerate() {
            let head = format!("GET /{number} HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n");
            let said = if body.contains("evil") { "said evil" } else { "said " };
            for round in ["MISS", "HIT"] {
                let fat = app.raw(format!("{head}{body}").as_bytes()).await;
                assert_eq!((fat.x_cache(), fat.text()), ("BYPASS", said), "{body}");
                let plain = app.get(&format!("/{number}")).await;
                assert_eq!((plain.x_cache(), plain.text()), (round, "said "), "{body}");
            }
        }
        let none = app.send("GET", "/0", &[("content-length", "0")]).await;
        assert_eq!(none.x_cache(), "HIT", "a length of nothing is no body");
    }
}

/// Attack 1: what a client says of caching does not push the load on the handler, nor bring out what is stale.
#[tokio::test]
async fn a_client_cannot_bust_the_cache() {
    let app = echoing(for_an_hour()).await;
    app.get("/").await;
    for (name, value) in [
        ("cache-control", "no-cache"),
        ("cache-control", "no-store"),
        ("cache-control", "max-age=0"),
        ("cache-control", "max-stale=1000"),
        ("cache-control", "only-if-cached"),
        ("pragma", "no-cache"),
        ("surrogate-key", "x"),
        ("x-cache", "MISS"),
        ("user-agent", "another"),
        ("cookie", "session=1"),
    ] {
        let page = app.send("GET", "/", &[(name, value)]).await;
        assert_eq!((page.x_cache(), page.text()), ("HIT", "at /"), "{name}: {value}");
    }
    assert_eq!(app.calls.count(), 1);
}
