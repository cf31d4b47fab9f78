//! Many ask at once for what is not there: one of them asks the handler, and none waits in vain.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::door::{Door, app_with_door};
use crate::stage::{Gate, Wire, of_status, pipe};
use crate::support::{Answer, App, each_user, embedded, response};
use crate::{far, support};
use axum::extract::Request;
use axum::response::Response;
use larder::{Larder, Lifetime, MINUTE};
use larder_http::{Audience, Rule};

fn for_a_minute() -> Rule {
    Rule::for_route(Lifetime::fresh_for(MINUTE))
}

/// An app whose handler gives its number when it is let, and the door to it.
async fn gated(larder: Larder, gate: &Arc<Gate>) -> (App, Door) {
    let gate = gate.clone();
    let handler = move |_: Request| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            response(&[], format!("from the handler, as number {}", gate.count()))
        }
    };
    app_with_door(larder, |layer| layer.rule(for_a_minute()), Audience::Public, handler).await
}

/// An app whose first request is answered by `first`, with its gate passed, and all others by `second`.
async fn gated_first<F>(
    gate: &Arc<Gate>,
    first: impl Fn() -> F + Clone + Send + Sync + 'static,
) -> (App, Door, Arc<AtomicUsize>)
where
    F: Future<Output = Response> + Send + 'static,
{
    let (gate, calls) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = calls.clone();
    let handler = move |_: Request| {
        let (number, gate, first) =
            (counted.fetch_add(1, Ordering::SeqCst), gate.clone(), first.clone());
        async move {
            if number > 0 {
                return response(&[], "second");
            }
            gate.pass().await;
            first().await
        }
    };
    let rule = for_a_minute();
    let (app, door) =
        app_with_door(embedded().await, |layer| layer.rule(rule), Audience::Public, handler).await;
    (app, door, calls)
}

async fn crowd(app: &App, path: &str, size: usize) -> Vec<Wire> {
    let mut crowd = Vec::new();
    for _ in 0..size {
        crowd.push(Wire::get(app.address, path).await);
    }
    crowd
}

async fn answers(crowd: Vec<Wire>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for client in crowd {
        answers.push(client.rest().await);
    }
    answers
}

#[tokio::test]
async fn fifty_concurrent_misses_ask_the_handler_once() {
    let gate = Gate::closed();
    let (app, door) = gated(embedded().await, &gate).await;
    let crowd = crowd(&app, "/a", 50).await;
    door.entered(50).await;
    gate.open();
    let answers = answers(crowd).await;
    assert!(answers.iter().all(|each| each.text() == "from the handler, as number 1"));
    assert_eq!(gate.count(), 1);
    let collapsed = |each: &&Answer| each.field("cache-status").ends_with("; collapsed");
    assert_eq!(answers.iter().filter(collapsed).count(), 49, "{:?}", answers.last());
}

#[tokio::test]
async fn fifty_concurrent_misses_of_two_processes_ask_the_handler_once() {
    let server = far::Server::start();
    let gate = Gate::closed();
    let (here, door) = gated(far::on(&server).await, &gate).await;
    let (there, other_door) = gated(far::on(&server).await, &gate).await;
    let mut all = crowd(&here, "/a", 25).await;
    all.extend(crowd(&there, "/a", 25).await);
    door.entered(25).await;
    other_door.entered(25).await;
    gate.arrived(1).await;
    gate.open();
    let answers = answers(all).await;
    assert!(answers.iter().all(|each| each.text() == "from the handler, as number 1"));
    assert_eq!(gate.count(), 1);
}

#[tokio::test]
async fn a_leader_that_panics_releases_those_who_wait() {
    let gate = Gate::closed();
    let panics = || async { panic!("the handler of this test panics") };
    let (app, door, calls) = gated_first(&gate, panics).await;
    let leader = Wire::get(app.address, "/a").await;
    gate.arrived(1).await;
    let waiting = crowd(&app, "/a", 5).await;
    door.entered(6).await;
    gate.open();
    assert_eq!(leader.raw_rest().await, "", "its connection is cut");
    assert!(answers(waiting).await.iter().all(|each| each.text() == "second"));
    assert_eq!(calls.load(Ordering::SeqCst), 2, "one of them led the others");
}

#[tokio::test]
async fn a_leader_whose_client_hangs_up_releases_those_who_wait() {
    let gate = Gate::closed();
    let never = || async { response(&[], "to nobody") };
    let (app, door, calls) = gated_first(&gate, never).await;
    let leader = Wire::get(app.address, "/a").await;
    gate.arrived(1).await;
    let waiting = crowd(&app, "/a", 5).await;
    door.entered(6).await;
    leader.hang_up();
    // The gate stays closed: they are not released by an answer.
    assert!(answers(waiting).await.iter().all(|each| each.text() == "second"));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_leader_whose_body_breaks_off_releases_those_who_wait() {
    let gate = Gate::closed();
    let breaks_off = || async {
        let (pieces, body) = pipe();
        pieces.send("begun");
        pieces.fail();
        response(&[], body)
    };
    let (app, door, _) = gated_first(&gate, breaks_off).await;
    let leader = Wire::get(app.address, "/a").await;
    gate.arrived(1).await;
    let waiting = crowd(&app, "/a", 5).await;
    door.entered(6).await;
    gate.open();
    assert!(!leader.raw_rest().await.ends_with("0\r\n\r\n"), "it must not look whole");
    assert!(answers(waiting).await.iter().all(|each| each.text() == "second"));
}

#[tokio::test]
async fn a_leader_that_fails_releases_those_who_wait() {
    let gate = Gate::closed();
    let fails = || async { of_status(500, &[], "failed") };
    let (app, door, _) = gated_first(&gate, fails).await;
    let leader = Wire::get(app.address, "/a").await;
    gate.arrived(1).await;
    let waiting = crowd(&app, "/a", 5).await;
    door.entered(6).await;
    gate.open();
    assert_eq!(leader.rest().await.status, 500);
    assert!(answers(waiting).await.iter().all(|each| each.text() == "second"));
}

/// Those who wait for a leader cannot know that its answer will be another variant.
#[tokio::test]
async fn one_who_waits_for_another_variant_gets_its_own() {
    let gate = Gate::closed();
    let in_handler = gate.clone();
    let handler = move |request: Request| {
        let gate = in_handler.clone();
        let language = request.headers()["accept-language"].to_str().unwrap().to_owned();
        async move {
            gate.pass().await;
            response(&[("vary", "accept-language")], language)
        }
    };
    let rule = for_a_minute();
    let (app, door) =
        app_with_door(embedded().await, |layer| layer.rule(rule), Audience::Public, handler).await;
    let mut all = Vec::new();
    for number in 0..12 {
        let language = ["en", "de", "fr"][number % 3];
        let fields = [("accept-language", language)];
        all.push((language, Wire::ask(app.address, "GET", "/a", &fields).await));
    }
    door.entered(12).await;
    gate.open();
    for (language, client) in all {
        assert_eq!(client.rest().await.text(), language);
    }
    assert_eq!(gate.count(), 3, "each variant was asked for once");
}

#[tokio::test]
async fn users_do_not_wait_for_one_another() {
    let gate = Gate::closed();
    let in_handler = gate.clone();
    let handler = move |request: Request| {
        let gate = in_handler.clone();
        let user = request.extensions().get::<support::Session>().unwrap().0.clone();
        async move {
            gate.pass().await;
            response(&[], user)
        }
    };
    // Who waits for another here waits until the test has failed.
    let settings = |layer: larder_http::CacheLayerBuilder| {
        layer.rule(for_a_minute()).wait_max(10 * support::NEVER)
    };
    let app = App::of(embedded().await, settings, each_user(), handler).await;
    let ann = Wire::ask(app.address, "GET", "/mine", &[("x-test-user", "ann")]).await;
    gate.arrived(1).await;
    let bob = Wire::ask(app.address, "GET", "/mine", &[("x-test-user", "bob")]).await;
    gate.arrived(2).await;
    gate.open();
    assert_eq!((ann.rest().await.text(), bob.rest().await.text()), ("ann", "bob"));
}

#[tokio::test]
async fn one_who_has_waited_long_enough_asks_the_handler_itself() {
    let gate = Gate::closed();
    let in_handler = gate.clone();
    let handler = move |_: Request| {
        let gate = in_handler.clone();
        async move {
            gate.pass().await;
            response(&[], "answer")
        }
    };
    let settings = |layer: larder_http::CacheLayerBuilder| {
        layer.rule(for_a_minute()).wait_max(Duration::from_millis(20))
    };
    let app = App::of(embedded().await, settings, Audience::Public, handler).await;
    let leader = Wire::get(app.address, "/a").await;
    gate.arrived(1).await;
    let impatient = Wire::get(app.address, "/a").await;
    gate.arrived(2).await;
    gate.open();
    let impatient = impatient.rest().await;
    assert_eq!((impatient.text(), impatient.x_cache()), ("answer", "MISS"));
    leader.rest().await;
    assert_eq!(app.get("/a").await.x_cache(), "HIT", "the leader has stored it");
}
