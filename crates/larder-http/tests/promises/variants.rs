//! A URL has as many pages as its handler makes of what a request says, each with a life of its own.

#![allow(clippy::unwrap_used, reason = "a scene that cannot be set has failed")]

use crate::stage;
use crate::stage::{Origin, step, timed};
use crate::support::{App, embedded, response};
use axum::extract::Request;
use http::header::HeaderName;
use larder::{Lifetime, MINUTE, SECOND};
use larder_http::{Audience, Rule};

/// An app whose handler answers with what the request says in `field`, by which it says it varies.
async fn varying(field: &'static str) -> App {
    let rule = Rule::for_route(Lifetime::fresh_for(MINUTE));
    App::public(rule, move |request: Request| async move {
        let lines = request.headers().get_all(field);
        let said: Vec<_> = lines.iter().map(|line| line.to_str().unwrap()).collect();
        response(&[("vary", field)], said.join("|"))
    })
    .await
}

#[tokio::test]
async fn every_variant_is_kept_beside_the_others() {
    let app = varying("accept-language").await;
    let languages = ["en", "de", "fr"];
    for x_cache in ["MISS", "HIT", "HIT"] {
        for language in languages {
            let answer = app.send("GET", "/a", &[("accept-language", language)]).await;
            assert_eq!((answer.x_cache(), answer.text()), (x_cache, language));
        }
        let answer = app.get("/a").await;
        assert_eq!((answer.x_cache(), answer.text()), (x_cache, ""), "who says nothing");
    }
    assert_eq!(app.calls.count(), 4);
}

#[tokio::test]
async fn a_variant_is_renewed_without_losing_the_others() {
    let origin = Origin::default();
    let app = App::of(timed().await, |layer| layer, Audience::Public, origin.handler()).await;
    let vary = ("vary", "accept-language");
    let (english, german) = ([("accept-language", "en")], [("accept-language", "de")]);
    origin.answers(&[vary, ("cache-control", "max-age=60")], "english");
    app.send("GET", "/a", &english).await;
    origin.answers(&[vary, ("cache-control", "max-age=10"), ("etag", "\"1\"")], "german");
    app.send("GET", "/a", &german).await;
    step(15 * SECOND).await;

    origin.says(stage::of_status(304, &[("cache-control", "max-age=20"), ("etag", "\"1\"")], ""));
    assert_eq!(app.send("GET", "/a", &german).await.text(), "german");
    assert_eq!(app.send("GET", "/a", &english).await.x_cache(), "HIT");
    step(25 * SECOND).await;
    origin.answers(&[vary, ("cache-control", "max-age=10")], "new german");
    assert_eq!(app.send("GET", "/a", &german).await.text(), "new german");
    let other = app.send("GET", "/a", &english).await;
    assert_eq!((other.x_cache(), other.text()), ("HIT", "english"));
    // Its own time still runs out, however often the other is renewed.
    step(25 * SECOND).await;
    origin.answers(&[vary, ("cache-control", "max-age=60")], "new english");
    assert_eq!(app.send("GET", "/a", &english).await.text(), "new english");
}

#[tokio::test]
async fn a_change_ends_all_variants() {
    let app = varying("accept-language").await;
    for language in ["en", "de"] {
        app.send("GET", "/a", &[("accept-language", language)]).await;
    }
    app.send("DELETE", "/a", &[]).await;
    for language in ["en", "de"] {
        let answer = app.send("GET", "/a", &[("accept-language", language)]).await;
        assert_eq!(answer.x_cache(), "MISS");
    }
}

#[tokio::test]
async fn what_means_the_same_is_the_same_variant() {
    for (field, one, other) in [
        ("accept-language", "en, de", "en,de"),
        ("accept-language", "de;q=0.5, en", "en, de;q=0.5"),
        ("accept-language", "EN-gb", "en-GB"),
        ("accept-encoding", "gzip, br", "br,  gzip"),
        ("accept", "text/html;q=1.0", "text/html"),
        ("x-features", "a, b", "a,b"),
    ] {
        let app = varying(field).await;
        app.send("GET", "/a", &[(field, one)]).await;
        let answer = app.send("GET", "/a", &[(field, other)]).await;
        assert_eq!(answer.x_cache(), "HIT", "{field}: {one} and {other}");
    }
}

#[tokio::test]
async fn what_may_mean_something_else_is_another_variant() {
    for (field, one, other) in [
        ("accept-language", "en;q=0.5, de", "en, de;q=0.5"),
        ("accept-encoding", "gzip", "gzip;q=0"),
        ("accept", "text/html;v=A", "text/html;v=a"),
        ("x-features", "a, b", "b, a"),
        ("x-features", "a", "A"),
        ("user-agent", "a,b", "a, b"),
        ("cookie", "a=1", "a=2"),
    ] {
        let app = varying(field).await;
        app.send("GET", "/a", &[(field, one)]).await;
        let answer = app.send("GET", "/a", &[(field, other)]).await;
        assert_eq!((answer.x_cache(), answer.text()), ("MISS", other), "{field}");
    }
}

#[tokio::test]
async fn lines_of_a_list_are_one_list() {
    let app = varying("x-features").await;
    app.send("GET", "/a", &[("x-features", "a"), ("x-features", "b")]).await;
    assert_eq!(app.send("GET", "/a", &[("x-features", "a, b")]).await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_field_of_which_vary_says_nothing_makes_no_variant() {
    let app = varying("accept-language").await;
    app.send("GET", "/a", &[("accept-encoding", "gzip")]).await;
    assert_eq!(app.send("GET", "/a", &[("accept-encoding", "br")]).await.x_cache(), "HIT");
}

/// Handlers forget to say it, and what they answer to one site is then allowed to another.
#[tokio::test]
async fn the_origin_of_a_request_always_selects() {
    let app = varying("accept-language").await;
    app.send("GET", "/a", &[("origin", "https://one.test")]).await;
    for (fields, x_cache) in [
        (&[("origin", "https://other.test")][..], "MISS"),
        (&[][..], "MISS"),
        (&[("origin", "https://one.test")][..], "HIT"),
    ] {
        assert_eq!(app.send("GET", "/a", fields).await.x_cache(), x_cache);
    }
}

#[tokio::test]
async fn the_layer_may_vary_by_what_the_handler_does_not_say() {
    let tenant = HeaderName::from_static("x-tenant");
    let settings = |layer: larder_http::CacheLayerBuilder| {
        layer.rule(Rule::for_route(Lifetime::fresh_for(MINUTE))).vary_by([tenant])
    };
    let handler = |request: Request| async move {
        let tenant = request.headers()["x-tenant"].to_str().unwrap().to_owned();
        response(&[], tenant)
    };
    let app = App::of(embedded().await, settings, Audience::Public, handler).await;
    for x_cache in ["MISS", "HIT"] {
        for tenant in ["one", "other"] {
            let answer = app.send("GET", "/a", &[("x-tenant", tenant)]).await;
            assert_eq!((answer.x_cache(), answer.text()), (x_cache, tenant));
        }
    }
}

#[tokio::test]
async fn too_many_variants_push_out_the_oldest_of_their_own_url() {
    let app = varying("user-agent").await;
    app.send("GET", "/b", &[("user-agent", "0")]).await;
    for number in 0..9 {
        app.send("GET", "/a", &[("user-agent", &number.to_string())]).await;
    }
    let x_cache = |path, agent| {
        let app = &app;
        async move { app.send("GET", path, &[("user-agent", agent)]).await.x_cache().to_owned() }
    };
    assert_eq!(x_cache("/a", "8").await, "HIT");
    assert_eq!(x_cache("/a", "1").await, "HIT");
    assert_eq!(x_cache("/a", "0").await, "MISS", "the ninth took its place");
    assert_eq!(x_cache("/b", "0").await, "HIT", "another URL");
}

/// A page is written anew whenever a variant joins it. The others do not grow younger by that.
#[tokio::test]
async fn a_variant_grows_older_while_others_join() {
    let origin = Origin::default();
    let varies = [("vary", "accept-language"), ("cache-control", "max-age=10")];
    let app = App::of(timed().await, |layer| layer, Audience::Public, origin.handler()).await;
    for language in ["en", "de", "fr"] {
        origin.answers(&varies, "page");
        app.send("GET", "/a", &[("accept-language", language)]).await;
        step(4 * SECOND).await;
    }
    origin.answers(&varies, "newer");
    let answer = app.send("GET", "/a", &[("accept-language", "en")]).await;
    assert_eq!((answer.x_cache(), answer.text()), ("MISS", "newer"));
    assert_eq!(app.send("GET", "/a", &[("accept-language", "fr")]).await.x_cache(), "HIT");
}

/// A leak is mended by saying what the page varies by. What was stored before says nothing of that, and is served to nobody.
#[tokio::test]
async fn what_was_stored_before_the_layer_varied_is_not_served() {
    let larder = embedded().await;
    let handler = |_: Request| async { response(&[("cache-control", "max-age=60")], "page") };
    let before = App::of(larder.clone(), |layer| layer, Audience::Public, handler).await;
    before.get("/a").await;
    assert_eq!(before.get("/a").await.x_cache(), "HIT");
    let tenant = HeaderName::from_static("x-tenant");
    let settings = |layer: larder_http::CacheLayerBuilder| layer.vary_by([tenant]);
    let after = App::of(larder, settings, Audience::Public, handler).await;
    assert_eq!(after.send("GET", "/a", &[("x-tenant", "7")]).await.x_cache(), "MISS");
    assert_eq!(after.send("GET", "/a", &[("x-tenant", "7")]).await.x_cache(), "HIT");
    assert_eq!(after.send("GET", "/a", &[("x-tenant", "8")]).await.x_cache(), "MISS");
}
