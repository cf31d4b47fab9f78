//! A body is on its way as soon as its handler sends it, and is stored only when it came whole.

use crate::door::app_with_door;
use crate::stage::{Origin, Wire, pipe};
use crate::support;
use crate::support::{App, embedded, response};
use axum::body::Body;
use larder::{Lifetime, MINUTE};
use larder_http::{Audience, Rule};

fn for_a_minute() -> Rule {
    Rule::for_route(Lifetime::fresh_for(MINUTE))
}

async fn app(rule: Rule) -> (App, Origin) {
    let origin = Origin::default();
    (App::public(rule, origin.handler()).await, origin)
}

#[tokio::test]
async fn the_first_byte_of_a_miss_leaves_before_the_body_ends() {
    let (app, origin) = app(for_a_minute()).await;
    let (pieces, body) = pipe();
    origin.says(response(&[], body));
    let mut client = Wire::get(app.address, "/a").await;
    pieces.send("first ");
    client.until("first ").await;
    assert!(client.has("x-cache: MISS"));
    pieces.send("last");
    drop(pieces);
    let answer = client.rest().await;
    assert_eq!((answer.text(), answer.whole), ("first last", true));
    let hit = app.get("/a").await;
    assert_eq!((hit.x_cache(), hit.text(), origin.count()), ("HIT", "first last", 1));
}

#[tokio::test]
async fn the_head_of_a_miss_leaves_before_there_is_any_body() {
    let (app, origin) = app(for_a_minute()).await;
    let (pieces, body) = pipe();
    origin.says(response(&[], body));
    let mut client = Wire::get(app.address, "/a").await;
    client.until("\r\n\r\n").await;
    drop(pieces);
    assert!(client.rest().await.whole);
}

/// What was begun is read to its end: the next one has it.
#[tokio::test]
async fn a_body_is_read_on_and_stored_when_its_client_hangs_up() {
    let origin = Origin::default();
    let rule = for_a_minute();
    let (app, door) = app_with_door(
        embedded().await,
        |layer| layer.rule(rule),
        Audience::Public,
        origin.handler(),
    )
    .await;
    let (pieces, body) = pipe();
    origin.says(response(&[], body));
    let mut client = Wire::get(app.address, "/a").await;
    pieces.send("begun, ");
    client.until("begun, ").await;
    client.hang_up();
    door.empty().await;
    pieces.send("ended");
    drop(pieces);
    let hit = app.get("/a").await;
    assert_eq!((hit.x_cache(), hit.text(), origin.count()), ("HIT", "begun, ended", 1));
}

/// It is the handler's pace at which a page is stored, not that of the client who asked first.
#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_up() {
    let (app, origin) = app(for_a_minute().body_bytes_max(8 << 20)).await;
    let (pieces, body) = pipe();
    origin.says(response(&[], body));
    let asleep = Wire::get(app.address, "/a").await;
    support::until("the first to be with the handler", || async { origin.count() == 1 }).await;
    // More than a connection takes that nobody reads.
    for _ in 0..7 {
        pieces.send(vec![b'x'; 1 << 20]);
    }
    drop(pieces);
    let hit = app.get("/a").await;
    assert_eq!((hit.x_cache(), hit.body.len(), hit.whole), ("HIT", 7 << 20, true));
    let late = asleep.rest().await;
    assert_eq!((late.body.len(), late.whole, origin.count()), (7 << 20, true, 1));
}

#[tokio::test]
async fn a_body_over_the_cap_passes_whole_and_is_not_stored() {
    let (app, origin) = app(for_a_minute().body_bytes_max(10)).await;
    for _ in 0..2 {
        let (pieces, body) = pipe();
        origin.says(response(&[], body));
        let mut client = Wire::get(app.address, "/a").await;
        pieces.send("0123");
        client.until("0123").await;
        for more in ["4567", "89ab", "cdef"] {
            pieces.send(more);
            client.until(more).await;
        }
        drop(pieces);
        let answer = client.rest().await;
        assert_eq!((answer.text(), answer.whole), ("0123456789abcdef", true));
        assert_eq!(answer.x_cache(), "MISS");
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_body_that_says_it_is_over_the_cap_is_not_even_begun_to_be_kept() {
    let (app, origin) = app(for_a_minute().body_bytes_max(10)).await;
    for _ in 0..2 {
        origin.answers(&[], "0123456789a");
        let answer = app.get("/a").await;
        assert_eq!((answer.text(), answer.whole), ("0123456789a", true));
        assert!(answer.field("cache-status").ends_with("detail=\"too large\""), "{answer:?}");
    }
    origin.answers(&[], "0123456789");
    app.get("/b").await;
    assert_eq!(app.get("/b").await.x_cache(), "HIT", "exactly as large as is kept");
}

/// One who waits for a page that turns out too large is not kept waiting to its end.
#[tokio::test]
async fn those_who_wait_are_let_go_as_soon_as_a_body_is_over_the_cap() {
    let (app, origin) = app(for_a_minute().body_bytes_max(10)).await;
    let (pieces, body) = pipe();
    origin.says(response(&[], body));
    origin.answers(&[], "short");
    let mut first = Wire::get(app.address, "/a").await;
    pieces.send("0123456789");
    first.until("0123456789").await;
    let waiting = Wire::get(app.address, "/a").await;
    pieces.send("and more");
    assert_eq!(waiting.rest().await.text(), "short");
    drop(pieces);
    assert_eq!(first.rest().await.text(), "0123456789and more");
}

#[tokio::test]
async fn trailers_reach_the_client_and_forbid_storing() {
    let (app, origin) = app(for_a_minute()).await;
    for in_pieces in [false, true] {
        let (pieces, body) = pipe();
        pieces.send("body");
        let fields = [("trailer", "x-checksum")];
        origin.says(response(&fields, body));
        if !in_pieces {
            pieces.send_trailer("x-checksum", "17");
        }
        let mut client = Wire::ask(app.address, "GET", "/a", &[("te", "trailers")]).await;
        client.until("body").await;
        if in_pieces {
            pieces.send_trailer("x-checksum", "17");
        }
        drop(pieces);
        let text = client.raw_rest().await;
        assert!(text.contains("x-checksum: 17"), "{text}");
        assert!(text.contains("x-cache: MISS"), "{text}");
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_broken_off_for_the_client_and_not_stored() {
    let (app, origin) = app(for_a_minute()).await;
    let (pieces, body) = pipe();
    origin.says(response(&[], body));
    let mut client = Wire::get(app.address, "/a").await;
    pieces.send("begun");
    client.until("begun").await;
    pieces.fail();
    let broken = client.rest().await;
    assert_eq!((broken.text(), broken.whole), ("begun", false));
    origin.answers(&[], "whole");
    let next = app.get("/a").await;
    assert_eq!((next.x_cache(), next.text()), ("MISS", "whole"));
}

#[tokio::test]
async fn what_may_not_be_stored_is_never_collected() {
    let (app, origin) = app(Rule::standard()).await;
    let (pieces, body) = pipe();
    origin.says(response(&[("cache-control", "no-store, max-age=60")], body));
    let mut client = Wire::get(app.address, "/a").await;
    pieces.send("first");
    client.until("first").await;
    client.hang_up();
    // Nobody reads it on: the handler sees its client leave.
    pieces.dropped().await;
}

#[tokio::test]
async fn a_hit_has_the_length_that_a_stream_did_not_say() {
    let (app, origin) = app(for_a_minute()).await;
    let (pieces, body) = pipe();
    pieces.send("all ");
    pieces.send("of it");
    drop(pieces);
    origin.says(response(&[], body));
    app.get("/a").await;
    let hit = app.get("/a").await;
    assert_eq!((hit.x_cache(), hit.field("content-length"), hit.text()), ("HIT", "9", "all of it"));
    origin.says(response(&[], Body::empty()));
    app.get("/empty").await;
    let hit = app.get("/empty").await;
    assert_eq!((hit.x_cache(), hit.text(), hit.whole), ("HIT", "", true));
}
