//! Handlers name what their pages are made of, and who changes it ends them, wherever they are.

use crate::support::{App, embedded, response, until};
use crate::{far, stage};
use axum::extract::Request;
use axum::response::Response;
use larder::{Larder, Lifetime, MINUTE, Tag};
use larder_http::{Audience, CacheLayerBuilder, CacheTags, Rule};

fn by_rule(layer: CacheLayerBuilder) -> CacheLayerBuilder {
    layer.rule(Rule::for_route(Lifetime::fresh_for(MINUTE)))
}

/// Names its tags in the way that the path says, by the query.
fn tagging(request: &Request) -> Response {
    let tags = request.uri().query().unwrap_or_default().replace('+', " ");
    match request.uri().path() {
        "/extension" => {
            let mut response = response(&[], "page");
            let tags = tags.split(' ').map(str::to_owned);
            response.extensions_mut().insert(CacheTags::new(tags));
            response
        }
        "/surrogate" => response(&[("surrogate-key", tags.as_str())], "page"),
        "/groups" => response(&[("cache-groups", &format!("\"{tags}\""))], "page"),
        _ => response(&[], "page"),
    }
}

async fn app_over(
    larder: Larder,
    settings: impl FnOnce(CacheLayerBuilder) -> CacheLayerBuilder,
) -> App {
    let handler = |request: Request| async move { tagging(&request) };
    App::of(larder, settings, Audience::Public, handler).await
}

async fn app() -> App {
    app_over(embedded().await, by_rule).await
}

async fn x_cache(app: &App, path: &str) -> String {
    app.get(path).await.x_cache().to_owned()
}

/// Its generation has to be read before the handler runs, and of a tag that only the handler names the process
/// has none the first time.
#[tokio::test]
async fn a_tag_that_only_the_handler_names_is_learned_first_and_stored_then() {
    for path in ["/extension?t", "/surrogate?t", "/groups?t"] {
        let app = app().await;
        for wanted in ["MISS", "MISS", "HIT"] {
            assert_eq!(x_cache(&app, path).await, wanted, "{path}");
        }
    }
}

#[tokio::test]
async fn a_tag_that_another_page_has_taught_is_stored_at_once() {
    let app = app().await;
    app.get("/extension?t").await;
    assert_eq!(x_cache(&app, "/surrogate?t").await, "MISS");
    assert_eq!(x_cache(&app, "/surrogate?t").await, "HIT");
}

#[tokio::test]
async fn a_tag_of_the_layer_is_stored_the_first_time() {
    let settings = |layer: CacheLayerBuilder| {
        by_rule(layer).tagged_by(|parts| [Tag::new(format!("page:{}", parts.uri.path()))])
    };
    let app = app_over(embedded().await, settings).await;
    assert_eq!(x_cache(&app, "/a").await, "MISS");
    assert_eq!(x_cache(&app, "/a").await, "HIT");
    app.get("/b").await;
    app.larder.invalidate_tag("page:/a").await.unwrap();
    assert_eq!(x_cache(&app, "/a").await, "MISS");
    assert_eq!(x_cache(&app, "/b").await, "HIT");
}

#[tokio::test]
async fn each_of_its_tags_ends_a_page() {
    let app = app().await;
    for path in ["/extension?one+two", "/surrogate?one+two"] {
        for tag in ["one", "two"] {
            until("the page to be stored", || async { x_cache(&app, path).await == "HIT" }).await;
            app.larder.invalidate_tag(tag).await.unwrap();
            assert_eq!(x_cache(&app, path).await, "MISS", "{path}, {tag}");
        }
        until("the page to be stored", || async { x_cache(&app, path).await == "HIT" }).await;
        app.larder.invalidate_tag("three").await.unwrap();
        assert_eq!(x_cache(&app, path).await, "HIT", "{path}");
    }
}

#[tokio::test]
async fn a_tag_ends_its_pages_in_every_process() {
    let server = far::Server::start();
    let here = app_over(far::on(&server).await, by_rule).await;
    let there = app_over(far::on(&server).await, by_rule).await;
    for path in ["/surrogate?t", "/extension?t"] {
        for app in [&here, &there] {
            until("the page in both", || async { x_cache(app, path).await == "HIT" }).await;
        }
    }
    here.larder.invalidate_tag("t").await.unwrap();
    there.larder.sync().await.unwrap();
    for app in [&there, &here] {
        for path in ["/surrogate?t", "/extension?t"] {
            // Who is first stores it, and the other finds that.
            app.get(path).await;
        }
    }
    let calls = |path| here.calls.of(path) + there.calls.of(path);
    assert!(calls("/surrogate") >= 3, "it was made anew: {}", calls("/surrogate"));
}

#[tokio::test]
async fn a_page_that_was_on_its_way_when_its_tag_ended_is_not_stored() {
    let gate = stage::Gate::closed();
    let in_handler = gate.clone();
    let handler = move |_: Request| {
        let gate = in_handler.clone();
        async move {
            gate.pass().await;
            response(&[("surrogate-key", "t")], format!("edition {}", gate.count()))
        }
    };
    let app = App::of(embedded().await, by_rule, Audience::Public, handler).await;
    // The process learns the tag.
    gate.let_pass(1);
    app.get("/other").await;
    let reader = stage::Wire::get(app.address, "/a").await;
    gate.arrived(2).await;
    app.larder.invalidate_tag("t").await.unwrap();
    gate.open();
    assert_eq!(reader.rest().await.text(), "edition 2");
    let next = app.get("/a").await;
    assert_eq!((next.x_cache(), next.text()), ("MISS", "edition 3"));
    assert_eq!(app.get("/a").await.x_cache(), "HIT");
}

#[tokio::test]
async fn the_fields_that_name_tags_are_not_for_clients() {
    let app = app().await;
    for path in ["/surrogate?t", "/groups?t"] {
        for wanted in ["MISS", "MISS", "HIT"] {
            let answer = app.get(path).await;
            assert_eq!(answer.x_cache(), wanted);
            assert!(!answer.has("surrogate-key") && !answer.has("cache-groups"), "{answer:?}");
        }
    }
    let changed = app.send("POST", "/surrogate?t", &[("content-length", "0")]).await;
    assert!(!changed.has("surrogate-key"), "{changed:?}");
}

/// For a cache in front of this one, which has to learn them from a hit as well.
#[tokio::test]
async fn the_fields_that_name_tags_go_on_where_they_are_asked_for() {
    let settings = |layer| by_rule(layer).keep_tag_fields();
    let app = app_over(embedded().await, settings).await;
    for (path, field, value) in
        [("/surrogate?t", "surrogate-key", "t"), ("/groups?t", "cache-groups", "\"t\"")]
    {
        for wanted in ["MISS", "MISS", "HIT"] {
            let answer = app.get(path).await;
            assert_eq!((answer.x_cache(), answer.field(field)), (wanted, value), "{path}");
        }
    }
}

#[tokio::test]
async fn a_page_with_more_tags_than_are_kept_is_not_stored() {
    let app = app().await;
    let tags = |count: usize| (0..count).map(|tag| format!("t{tag}")).collect::<Vec<_>>().join("+");
    for path in ["/surrogate", "/extension"] {
        let too_many = format!("{path}?{}", tags(65));
        for _ in 0..3 {
            let answer = app.get(&too_many).await;
            assert_eq!((answer.status, answer.text(), answer.x_cache()), (200, "page", "MISS"));
            assert!(answer.field("cache-status").ends_with("\"too many tags\""), "{answer:?}");
        }
        let as_many = format!("{path}?{}", tags(64));
        until("the page", || async { x_cache(&app, &as_many).await == "HIT" }).await;
    }
    let too_long = format!("/surrogate?{}", "t".repeat(257));
    for _ in 0..3 {
        let answer = app.get(&too_long).await;
        assert!(answer.field("cache-status").ends_with("\"a tag is too long\""), "{answer:?}");
    }
}
