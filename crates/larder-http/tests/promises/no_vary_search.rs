//! Queries of which the handler says that they mean the same share a page.

use crate::support::{App, response};
use crate::{far, stage, support};
use axum::extract::Request;
use larder::{Lifetime, MINUTE};
use larder_http::{Audience, Rule};

/// An app whose handler says this of its queries.
async fn saying(no_vary_search: &'static str) -> App {
    let rule = Rule::for_route(Lifetime::fresh_for(MINUTE));
    App::public(rule, move |request: Request| async move {
        let page = request.uri().to_string();
        response(&[("no-vary-search", no_vary_search)], page)
    })
    .await
}

/// Asks once, so that the process learns what the handler says, and once more to store.
async fn stored(app: &App, path: &str) {
    let learned = app.get(path).await;
    assert!(learned.field("cache-status").ends_with("detail=\"no-vary-search\""), "{learned:?}");
    assert_eq!(app.get(path).await.x_cache(), "MISS");
}

async fn x_cache(app: &App, path: &str) -> String {
    app.get(path).await.x_cache().to_owned()
}

#[tokio::test]
async fn parameters_that_do_not_count_share_a_page() {
    let app = saying("params=(\"utm\")").await;
    stored(&app, "/a?q=1&utm=x").await;
    for same in ["/a?q=1&utm=y", "/a?q=1", "/a?utm=x&q=1&utm=z", "/a?q=1&utm", "/a?%71=1"] {
        assert_eq!(x_cache(&app, same).await, "HIT", "{same}");
    }
    for other in ["/a?q=2&utm=x", "/a?utm=x", "/a?q=1&r=1", "/b?q=1"] {
        assert_eq!(x_cache(&app, other).await, "MISS", "{other}");
    }
}

#[tokio::test]
async fn all_parameters_but_some_may_not_count() {
    let app = saying("params, except=(\"q\")").await;
    stored(&app, "/a?q=1&utm=x").await;
    assert_eq!(x_cache(&app, "/a?more=1&q=1").await, "HIT");
    assert_eq!(x_cache(&app, "/a?more=1&q=2").await, "MISS");
}

#[tokio::test]
async fn the_order_of_parameters_counts_unless_it_is_said_not_to() {
    let app = saying("key-order").await;
    stored(&app, "/a?q=1&r=2").await;
    assert_eq!(x_cache(&app, "/a?r=2&q=1").await, "HIT");
    assert_eq!(x_cache(&app, "/a?r=1&q=2").await, "MISS");
    let app = saying("params=(\"utm\")").await;
    stored(&app, "/a?q=1&r=2").await;
    assert_eq!(x_cache(&app, "/a?r=2&q=1").await, "MISS");
}

#[tokio::test]
async fn what_cannot_be_understood_lets_all_of_the_query_count() {
    for said in ["params=(utm)", "params=1", "?0", "except=(\"q\")", "key-order=1"] {
        let app = saying(said).await;
        assert_eq!(x_cache(&app, "/a?q=1&utm=x").await, "MISS");
        assert_eq!(x_cache(&app, "/a?q=1&utm=y").await, "MISS", "{said}");
        assert_eq!(x_cache(&app, "/a?q=1&utm=x").await, "HIT", "{said}");
    }
}

#[tokio::test]
async fn a_change_of_one_query_ends_the_page_that_all_share() {
    let app = saying("params=(\"utm\")").await;
    stored(&app, "/a?q=1&utm=x").await;
    app.send("POST", "/a?q=1&utm=other", &[("content-length", "0")]).await;
    assert_eq!(x_cache(&app, "/a?q=1&utm=x").await, "MISS");
    assert_eq!(x_cache(&app, "/a?q=1&utm=y").await, "HIT");
    app.larder.invalidate(app.cache.url("http://app.test/a?q=1").unwrap()).await.unwrap();
    assert_eq!(x_cache(&app, "/a?q=1&utm=x").await, "MISS");
}

/// The one that changes a page may never have seen what its handler says of queries.
#[tokio::test]
async fn a_change_in_a_process_that_has_learned_nothing_ends_the_page_too() {
    let server = far::Server::start();
    let handler = |request: Request| async move {
        response(&[("no-vary-search", "params=(\"utm\")")], request.uri().to_string())
    };
    let by_rule = |layer: larder_http::CacheLayerBuilder| {
        layer.rule(Rule::for_route(Lifetime::fresh_for(MINUTE)))
    };
    let larder = far::on(&server).await;
    let here = App::of(larder, by_rule, Audience::Public, handler).await;
    let larder = far::on(&server).await;
    let there = App::of(larder, by_rule, Audience::Public, handler).await;
    let is_hit = || async { x_cache(&here, "/a?q=1&utm=x").await == "HIT" };
    support::until("the page to be stored", is_hit).await;
    there.send("POST", "/a?q=1", &[("content-length", "0")]).await;
    here.larder.sync().await.unwrap();
    assert_eq!(x_cache(&here, "/a?q=1&utm=x").await, "MISS");
}

/// What a process learned is no longer so: the handler's last word counts.
#[tokio::test]
async fn a_handler_may_say_something_else() {
    let origin = stage::Origin::default();
    let rule = Rule::for_route(Lifetime::fresh_for(MINUTE));
    let app = App::public(rule, origin.handler()).await;
    let said = ("no-vary-search", "params=(\"utm\")");
    for (path, fields, body, x_cache) in [
        ("/a?utm=1", &[said][..], "learned", "MISS"),
        ("/a?utm=1", &[said], "shared", "MISS"),
        ("/a?utm=2", &[], "shared", "HIT"),
        // Another page of the path, and the handler says nothing any more.
        ("/a?q=1", &[], "forgotten", "MISS"),
        ("/a?utm=2", &[], "two", "MISS"),
        ("/a?utm=1", &[], "one", "MISS"),
        ("/a?utm=2", &[], "two", "HIT"),
    ] {
        if x_cache == "MISS" {
            origin.answers(fields, body);
        }
        let answer = app.get(path).await;
        assert_eq!((answer.x_cache(), answer.text()), (x_cache, body), "{path}");
    }
}

/// A page that was stored before its path was known to ignore parts of a query: a change of just that URL ends it, also
/// when it is known by now. Another process, which has not learned it, would serve it on.
#[tokio::test]
async fn a_change_ends_what_was_stored_before_anything_was_learned() {
    let larder = support::embedded().await;
    let handler = |request: Request| async move {
        let fields = [("no-vary-search", "params=(\"x\")")];
        let says = request.uri().query() == Some("x=2");
        response(if says { &fields[..] } else { &[] }, "page")
    };
    let rule = || Rule::for_route(Lifetime::fresh_for(MINUTE));
    let app = || App::of(larder.clone(), |layer| layer.rule(rule()), Audience::Public, handler);
    let (here, there) = (app().await, app().await);
    here.get("/a?x=1").await;
    assert_eq!(there.get("/a?x=1").await.x_cache(), "HIT");
    here.get("/a?x=2").await;
    here.send("POST", "/a?x=1", &[("content-length", "0")]).await;
    assert_eq!(there.get("/a?x=1").await.x_cache(), "MISS");
}
