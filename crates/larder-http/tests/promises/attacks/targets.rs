//! What the URL says, to the router and to the name of the page: never less to the second.

use axum::Router;
use axum::extract::{OriginalUri, Request};
use axum::routing::get;
use larder_http::{Audience, CacheLayer, Rule};

use super::{for_an_hour, rules};
use crate::support::{App, Calls, embedded, response};

/// Each reaches a router as it is, and another page than all the others.
const TARGETS: [&str; 36] = [
    "/",
    "//",
    "///",
    "/?",
    "/??",
    "/a",
    "/a/",
    "//a",
    "/a//",
    "/A",
    "/%61",
    "/a?",
    "/a?x",
    "/a?x=",
    "/a?X=",
    "/a?x=1&y=2",
    "/a?y=2&x=1",
    "/a?x=1;y=2",
    "/a%3Fx",
    "/a/../b",
    "/b",
    "/a/./b",
    "/a/b",
    "/a%2Fb",
    "/a%2fb",
    "/a%5Cb",
    "/%2e%2e/b",
    "/%2E%2E/b",
    "/a;x",
    "/a;x/b",
    "/a%00",
    "/a%20",
    "/a+",
    "/a%",
    "/a%0d%0aX:1",
    "/.well-known/",
];

fn head(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")
}

/// An app that says what it was asked for.
async fn saying(rule: Rule) -> App {
    App::public(rule, |request| async move {
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        let page = format!("{} of {host}", request.uri());
        response(&[("cache-control", "public, max-age=60")], page)
    })
    .await
}

/// Attack 6: paths that some server somewhere takes for one another are pages of their own here.
#[tokio::test]
async fn paths_that_a_router_can_tell_apart_share_no_page() {
    for rule in rules() {
        let app = saying(rule).await;
        for round in ["MISS", "HIT"] {
            for target in TARGETS {
                let page = app.raw(head(target, "app.test").as_bytes()).await;
                assert_eq!((page.x_cache(), page.status), (round, 200), "{target}");
                assert_eq!(page.text(), format!("{target} of app.test"));
            }
        }
        assert_eq!(app.calls.count(), TARGETS.len());
    }
}

/// Attack 6: a host is a host to the letter, with its dot, its port and its spelling.
#[tokio::test]
async fn hosts_share_no_page() {
    let hosts = [
        "app.test",
        "app.test.",
        "app.test:80",
        "app.test:443",
        "app.test:8080",
        "www.app.test",
        "app.test.evil",
        "127.0.0.1",
        "[::1]",
        "xn--pp-yia.test",
        "app-test",
    ];
    let app = saying(for_an_hour()).await;
    for round in ["MISS", "HIT"] {
        for host in hosts {
            let page = app.raw(head("/", host).as_bytes()).await;
            assert_eq!((page.x_cache(), page.text()), (round, &*format!("/ of {host}")));
        }
    }
}

/// Attack 6: a request that names two hosts, or none that is one, has no page. Who is asked is for the handler to
/// say.
#[tokio::test]
async fn a_request_without_one_sure_host_goes_past_the_cache() {
    let app = saying(for_an_hour()).await;
    app.get("/").await;
    for (target, host) in [
        ("/", "app.test\r\nhost: evil.test"),
        ("/", "evil.test\r\nhost: app.test"),
        ("/", "user@app.test"),
        ("/", "app.test/a"),
        ("/", ""),
        ("http://app.test/", "evil.test"),
        ("http://evil.test/", "app.test"),
        ("http://app.test@evil.test/", "app.test"),
        ("ftp://app.test/", "app.test"),
    ] {
        for _ in 0..2 {
            let page = app.raw(head(target, host).as_bytes()).await;
            let refused = page.status == 400 && !page.has("x-cache");
            assert!(refused || page.x_cache() == "BYPASS", "{target} {host:?}: {page:?}");
        }
        assert_eq!(app.get("/").await.text(), "/ of app.test");
    }
}

/// Attack 6: the absolute form names the page that the other form names, on its host; and under another scheme
/// another.
#[tokio::test]
async fn the_absolute_form_names_the_same_page() {
    let app = App::public(for_an_hour(), |request| async move {
        response(&[], format!("page {}", request.uri().path()))
    })
    .await;
    app.get("/a").await;
    let told = async |target: &str| {
        let page = app.raw(head(target, "app.test").as_bytes()).await;
        assert_eq!(page.text(), "page /a");
        page.x_cache().to_owned()
    };
    assert_eq!(told("http://app.test/a").await, "HIT");
    assert_eq!(told("HTTP://APP.test/a").await, "HIT");
    assert_eq!(told("https://app.test/a").await, "MISS");
}

/// A router that is nested at two places, each of which takes off its prefix, within one layer.
async fn nested(cache: &CacheLayer) -> Router {
    let page = async |original: OriginalUri, request: Request| {
        format!("{} as {}", original.0, request.uri())
    };
    let inner = Router::new().route("/page", get(page)).route("/", get(page)).layer(cache.clone());
    let deep = Router::new().nest("/x", inner.clone()).nest("/y", inner.clone());
    Router::new().nest("/one", inner.clone()).nest("/two", inner).nest("/deep", deep)
}

/// Attack 6: the layer stands within what is nested twice, and sees only what is left of the path. The two places
/// share no page.
#[tokio::test]
async fn nested_routers_share_no_page() {
    let larder = embedded().await;
    let cache = CacheLayer::new(&larder).rule(for_an_hour()).audience(Audience::Public).unwrap();
    let router = nested(&cache).await;
    let app = App::serve(larder, cache, Calls::default(), router).await;
    for round in ["MISS", "HIT"] {
        for (path, inner) in [
            ("/one/page", "/page"),
            ("/two/page", "/page"),
            ("/deep/x/page", "/page"),
            ("/deep/y/page", "/page"),
            ("/one/page?x", "/page?x"),
            ("/one", "/"),
            ("/two", "/"),
        ] {
            let page = app.get(path).await;
            assert_eq!((page.x_cache(), page.text()), (round, &*format!("{path} as {inner}")));
        }
    }
    // And each ends as it is named from outside.
    app.larder.invalidate(app.cache.url("http://app.test/one/page").unwrap()).await.unwrap();
    assert_eq!(app.get("/one/page").await.x_cache(), "MISS");
    assert_eq!(app.get("/two/page").await.x_cache(), "HIT");
}

/// Attack 6: between the outer router and the layer the request was given another URL, by what a client said. The page
/// was stored under the URL that the outer router had seen, and served to all who came by it, in the first one's
/// language. Now a request that was rewritten on the way goes past the cache.
#[tokio::test]
async fn what_was_rewritten_on_the_way_shares_no_page() {
    let larder = embedded().await;
    let cache = CacheLayer::new(&larder).rule(for_an_hour()).audience(Audience::Public).unwrap();
    let inner = Router::new()
        .route("/{language}/page", get(|request: Request| async move { request.uri().to_string() }))
        .layer(cache.clone());
    let rewritten = tower::service_fn(move |mut request: Request| {
        let language = request.headers()["accept-language"].to_str().unwrap();
        *request.uri_mut() = format!("/{language}{}", request.uri()).parse().unwrap();
        tower::ServiceExt::oneshot(inner.clone(), request)
    });
    let router = Router::new().fallback_service(rewritten);
    let app = App::serve(larder, cache, Calls::default(), router).await;
    for _ in 0..2 {
        for language in ["de", "en"] {
            let page = app.send("GET", "/page", &[("accept-language", language)]).await;
            assert_eq!(page.text(), format!("/{language}/page"));
        }
    }
}

/// Attack 14: a path that ends like a picture is no picture. By the book nothing is stored that does not say so,
/// and what a page of one user says is kept, whatever it is called.
#[tokio::test]
async fn nothing_is_stored_because_of_its_suffix() {
    let deceptions = [
        "/account/nonexistent.css",
        "/account.css",
        "/account;a.css",
        "/account%2Fa.js",
        "/account%00.png",
        "/account%3F.ico",
        "/account/..%2fa.jpg",
        "/account?a.css",
        "/account%0A.svg",
        "/static/..%2faccount",
        "/static/../account",
        "/robots.txt",
        "/favicon.ico",
    ];
    for says in
        [&[][..], &[("cache-control", "private, max-age=60")], &[("cache-control", "no-store")]]
    {
        for rule in rules() {
            let is_told_to = says.is_empty() && format!("{rule:?}").contains("Owner");
            if is_told_to {
                continue; // the owner of a route says that all of it is to be stored
            }
            let fields = [says, &[("content-type", "text/css")]].concat();
            let app = App::public(rule, move |request: Request| {
                let fields = fields.clone();
                async move {
                    let who = request
                        .headers()
                        .get("cookie")
                        .map_or("nobody", |who| who.to_str().unwrap());
                    response(&fields, who.to_owned())
                }
            })
            .await;
            for path in deceptions {
                let victim = app.send("GET", path, &[("cookie", "victim")]).await;
                assert_eq!((victim.x_cache(), victim.text()), ("MISS", "victim"), "{path}");
                let thief = app.get(path).await;
                assert_eq!((thief.x_cache(), thief.text()), ("MISS", "nobody"), "{path}");
            }
        }
    }
}
