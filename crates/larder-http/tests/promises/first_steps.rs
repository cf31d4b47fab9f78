//! The thin path: a miss, a hit, and a change in between.

use crate::support::{App, response};
use larder::{Lifetime, MINUTE};
use larder_http::Rule;

#[tokio::test]
async fn a_page_is_answered_by_its_handler_once_and_ends_when_it_is_changed() {
    let rule = Rule::for_route(Lifetime::fresh_for(MINUTE));
    let app =
        App::public(
            rule,
            |request| async move { response(&[], format!("page {}", request.uri())) },
        )
        .await;
    let miss = app.get("/a?x=1").await;
    assert_eq!((miss.x_cache(), miss.text()), ("MISS", "page /a?x=1"));
    let hit = app.get("/a?x=1").await;
    assert_eq!((hit.x_cache(), hit.text(), app.calls.count()), ("HIT", "page /a?x=1", 1));
    assert!(hit.field("cache-status").starts_with("larder; hit; ttl="), "{hit:?}");
    assert_eq!(app.get_h2("/a?x=1", &[]).await.x_cache(), "HIT");
    assert_eq!(app.get("/a?x=2").await.x_cache(), "MISS", "another page");

    let changed = app.send("POST", "/a?x=1", &[("content-length", "0")]).await;
    assert_eq!((changed.status, changed.x_cache()), (200, "BYPASS"));
    assert_eq!(app.get("/a?x=1").await.x_cache(), "MISS");
    assert_eq!(app.get("/a?x=2").await.x_cache(), "HIT");
}
