//! A page whose handler gave it no entity tag gets one made of its bytes, if that is asked for.

use crate::stage::{Origin, Wire, of_status, pipe};
use crate::support::{App, embedded, response};
use larder::{Lifetime, MINUTE};
use larder_http::{Audience, CacheLayerBuilder, Rule};

fn making(layer: CacheLayerBuilder) -> CacheLayerBuilder {
    layer.rule(Rule::for_route(Lifetime::fresh_for(MINUTE))).make_etags()
}

async fn app() -> (App, Origin) {
    let origin = Origin::default();
    let app = App::of(embedded().await, making, Audience::Public, origin.handler()).await;
    (app, origin)
}

#[tokio::test]
async fn a_page_gets_a_strong_tag_that_a_client_can_ask_with() {
    let (app, origin) = app().await;
    origin.answers(&[], "page");
    let miss = app.get("/a").await;
    let etag = miss.field("etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2, "{etag}");
    assert_eq!(app.get("/a").await.field("etag"), etag);
    let answer = app.send("GET", "/a", &[("if-none-match", &etag)]).await;
    assert_eq!((answer.status, answer.x_cache(), answer.text()), (304, "HIT", ""));
}

#[tokio::test]
async fn the_same_bytes_have_the_same_tag_and_others_another() {
    let (app, origin) = app().await;
    let mut etags = Vec::new();
    for (path, body) in [("/a", "page"), ("/b", "page"), ("/c", "other"), ("/d", "")] {
        origin.answers(&[], body);
        etags.push(app.get(path).await.field("etag").to_owned());
    }
    assert_eq!(etags[0], etags[1]);
    assert_ne!(etags[0], etags[2]);
    assert_ne!(etags[0], etags[3]);
}

#[tokio::test]
async fn a_tag_of_the_handler_stays() {
    let (app, origin) = app().await;
    origin.answers(&[("etag", "W/\"its own\"")], "page");
    for x_cache in ["MISS", "HIT"] {
        let answer = app.get("/a").await;
        assert_eq!((answer.x_cache(), answer.field("etag")), (x_cache, "W/\"its own\""));
    }
}

/// Its head leaves before its bytes are known.
#[tokio::test]
async fn a_page_that_comes_in_pieces_has_its_tag_from_the_first_hit_on() {
    let (app, origin) = app().await;
    let (pieces, body) = pipe();
    origin.says(response(&[], body));
    let mut client = Wire::get(app.address, "/a").await;
    client.until("\r\n\r\n").await;
    pieces.send("page");
    drop(pieces);
    assert!(!client.rest().await.has("etag"));
    assert!(app.get("/a").await.has("etag"));
}

#[tokio::test]
async fn only_pages_that_are_stored_and_whole_get_one() {
    let (app, origin) = app().await;
    origin.says(of_status(404, &[], "nothing here"));
    origin.answers(&[("cache-control", "no-store")], "page");
    for path in ["/a", "/b"] {
        let answer = app.get(path).await;
        assert!(!answer.has("etag"), "{answer:?}");
    }
    assert!(!app.get("/a").await.has("etag"));
}

#[tokio::test]
async fn none_is_made_unless_it_is_asked_for() {
    let origin = Origin::default();
    let rule = Rule::for_route(Lifetime::fresh_for(MINUTE));
    let app = App::public(rule, origin.handler()).await;
    origin.answers(&[], "page");
    for x_cache in ["MISS", "HIT"] {
        let answer = app.get("/a").await;
        assert_eq!((answer.x_cache(), answer.has("etag")), (x_cache, false));
    }
}
