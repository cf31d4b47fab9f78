//! Redis is gone: requests pass to their handlers, and nothing is served that may have ended meanwhile.

use crate::support::{App, response, until};
use crate::{far, stage};
use axum::extract::Request;
use larder::{Lifetime, MINUTE};
use larder_http::{Audience, CacheLayerBuilder, Rule};

fn by_rule(layer: CacheLayerBuilder) -> CacheLayerBuilder {
    layer.rule(Rule::for_route(Lifetime::fresh_for(MINUTE)))
}

async fn app(server: &far::Server) -> App {
    let handler =
        |request: Request| async move { response(&[], format!("page {}", request.uri())) };
    App::of(far::on(server).await, by_rule, Audience::Public, handler).await
}

async fn stored(app: &App, path: &str) {
    until("a page to be stored", || async { app.get(path).await.x_cache() == "HIT" }).await;
}

#[tokio::test]
async fn requests_pass_to_the_handler_while_redis_is_gone_and_hit_again_when_it_is_back() {
    let mut server = far::Server::start();
    let app = app(&server).await;
    stored(&app, "/a").await;

    server.kill();
    until("the loss to be noticed", || async { !app.larder.is_far_up() }).await;
    for number in 0..3 {
        let calls = app.calls.of("/b");
        let answer = app.get("/b").await;
        assert_eq!(
            (answer.status, answer.text(), answer.whole),
            (200, "page /b", true),
            "{number}"
        );
        assert_eq!((answer.x_cache(), app.calls.of("/b")), ("MISS", calls + 1));
    }
    // What was in near cannot be told of its end.
    until("near to be bypassed", || async { app.get("/a").await.x_cache() == "MISS" }).await;

    server.start_again();
    stored(&app, "/b").await;
    stored(&app, "/a").await;
}

/// The page is still there when Redis answers again: what ended it has to be said by then.
#[tokio::test]
async fn a_change_while_redis_hangs_is_answered_and_ends_its_page() {
    let server = far::Server::start();
    let app = app(&server).await;
    stored(&app, "/a").await;
    server.pause();
    let changed = app.send("POST", "/a", &[("content-length", "0")]).await;
    assert_eq!((changed.status, changed.x_cache()), (200, "BYPASS"));
    server.resume();
    assert_eq!(app.get("/a").await.x_cache(), "MISS");
    stored(&app, "/a").await;
}

#[tokio::test]
async fn a_page_begun_while_redis_was_there_ends_whole_without_it() {
    let mut server = far::Server::start();
    let origin = stage::Origin::default();
    let larder = far::on(&server).await;
    let app = App::of(larder, by_rule, Audience::Public, origin.handler()).await;
    let (pieces, body) = stage::pipe();
    origin.says(response(&[], body));
    let mut client = stage::Wire::get(app.address, "/a").await;
    pieces.send("begun, ");
    client.until("begun, ").await;
    server.kill();
    pieces.send("ended");
    drop(pieces);
    let answer = client.rest().await;
    assert_eq!((answer.text(), answer.whole), ("begun, ended", true));
}

#[tokio::test]
async fn what_one_process_stored_is_a_hit_in_another() {
    let server = far::Server::start();
    let (here, there) = (app(&server).await, app(&server).await);
    stored(&here, "/a").await;
    let hit = there.get("/a").await;
    assert_eq!((hit.x_cache(), hit.text(), there.calls.count()), ("HIT", "page /a", 0));
}
