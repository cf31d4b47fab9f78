//! Nobody gets what was made for another: cookies, credentials, ids.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use larder::{HOUR, Lifetime};
use larder_http::{Audience, Rule, UserId};

use super::{for_an_hour, rules};
use crate::far::{self, Server};
use crate::support::{App, Session, each_user, embedded, response, until};

/// Attack 2: a cookie is one client's. A response that sets one is stored neither near nor far, by either rule.
#[tokio::test]
async fn a_response_that_sets_a_cookie_is_not_stored_near_or_far() {
    let server = Server::start();
    for rule in rules() {
        let number = Arc::new(AtomicUsize::new(0));
        let app = App::of(
            far::on(&server).await,
            |layer| layer.rule(rule),
            Audience::Public,
            move |request| {
                let number = number.fetch_add(1, Ordering::SeqCst);
                async move {
                    let cookie = format!("session=secret{number}; HttpOnly");
                    let fields =
                        [("cache-control", "public, max-age=60"), ("set-cookie", cookie.as_str())];
                    match request.uri().path() {
                        "/plain" => response(&fields[..1], "a plain page"),
                        _ => response(&fields, "a page for one"),
                    }
                }
            },
        )
        .await;
        for number in 0..3 {
            let page = app.get("/").await;
            assert_eq!(page.x_cache(), "MISS");
            assert_eq!(page.field("set-cookie"), format!("session=secret{number}; HttpOnly"));
        }
        let headed = app.send("HEAD", "/", &[]).await;
        assert_eq!(headed.x_cache(), "MISS");
        // Written later, and there: what was to be written before it would be as well.
        app.get("/plain").await;
        until("the plain page far", async || far::holds(&server, "a plain page")).await;
        assert!(!far::holds(&server, "secret") && !far::holds(&server, "for one"));
        let _: () = server.ask("FLUSHALL");
    }
}

/// Attack 2: the owner may have the page without its cookie. Then the cookie goes to whom it was set and to no
/// other, and stands nowhere.
#[tokio::test]
async fn a_stripped_cookie_goes_to_one_client_and_is_stored_nowhere() {
    let server = Server::start();
    let app = App::of(
        far::on(&server).await,
        |layer| layer.rule(for_an_hour().strip_set_cookie()),
        Audience::Public,
        |_| async {
            response(&[("set-cookie", "a=secret"), ("set-cookie", "b=secret")], "the page")
        },
    )
    .await;
    let first = app.get("/").await;
    assert_eq!((first.x_cache(), first.headers.get_all("set-cookie").iter().count()), ("MISS", 2));
    let second = app.get("/").await;
    assert_eq!((second.x_cache(), second.has("set-cookie")), ("HIT", false));
    until("the page far", async || far::holds(&server, "the page")).await;
    assert!(!far::holds(&server, "secret"));
}

/// Attack 2: the 304 that says a stored page still holds sets a cookie. The client that asked gets it; it does
/// not enter the page, by refusal or by policy.
#[tokio::test]
async fn a_cookie_of_a_304_enters_no_page() {
    for rule in [Rule::standard(), Rule::standard().strip_set_cookie()] {
        let server = Server::start();
        let app = App::of(
            far::on(&server).await,
            |layer| layer.rule(rule),
            Audience::Public,
            |request| async move {
                let fields = [("cache-control", "public, no-cache"), ("etag", "\"1\"")];
                if !request.headers().contains_key("if-none-match") {
                    return response(&fields, "the page");
                }
                let mut fields = fields.to_vec();
                if request.uri().query().is_none() {
                    fields.push(("set-cookie", "session=secret"));
                }
                let mut same = response(&fields, "");
                *same.status_mut() = http::StatusCode::NOT_MODIFIED;
                same
            },
        )
        .await;
        app.get("/").await;
        until("the page far", async || far::holds(&server, "the page")).await;
        let asked = app.get("/").await;
        assert_eq!((asked.text(), asked.field("set-cookie")), ("the page", "session=secret"));
        app.get("/?plain").await;
        until("the other page", async || {
            app.get("/?plain").await.field("cache-status").contains("304")
        })
        .await;
        assert!(!far::holds(&server, "secret"));
    }
}

/// Attack 2: the refresh behind a stale answer is answered with a cookie, which nobody asked for and nobody gets.
#[tokio::test]
async fn a_cookie_of_a_background_refresh_is_nobodys() {
    let server = Server::start();
    let calls = Arc::new(AtomicUsize::new(0));
    let app = App::of(
        far::on(&server).await,
        |layer| layer.rule(Rule::standard()),
        Audience::Public,
        move |_| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            async move {
                let stale = "public, max-age=60, stale-while-revalidate=1000";
                let mut fields = vec![("cache-control", stale), ("age", "100")];
                if call == 1 {
                    fields.push(("set-cookie", "session=secret"));
                }
                response(&fields, format!("page {call}"))
            }
        },
    )
    .await;
    app.get("/").await;
    let stale = app.get("/").await;
    assert_eq!((stale.x_cache(), stale.text()), ("STALE", "page 0"));
    until("the refresh", async || app.calls.count() >= 2).await;
    until("a page after the refresh", async || {
        let page = app.get("/").await;
        assert!(!page.has("set-cookie") && page.text() != "page 1", "{page:?}");
        page.text() != "page 0"
    })
    .await;
    assert!(!far::holds(&server, "secret") && !far::holds(&server, "page 1"));
}

/// What the answers to three requests with `Authorization` say, and what one without it then finds.
async fn with_authorization(rule: Rule, says: &'static str, audience: Audience) -> Vec<String> {
    let app = App::of(
        embedded().await,
        |layer| layer.rule(rule),
        audience,
        move |_| async move { response(&[("cache-control", says)], "page") },
    )
    .await;
    let authorized = [("authorization", "Bearer a"), ("x-test-user", "u1")];
    let mut told = Vec::new();
    for fields in [&authorized[..], &authorized[..], &authorized[1..]] {
        told.push(app.send("GET", "/", fields).await.x_cache().to_owned());
    }
    told
}

/// Attack 3: what answers a request with `Authorization` is for whoever sent it, unless the handler says that it
/// is for all; by either rule, for everyone. What the owner of a route stores for a user is for that user.
#[tokio::test]
async fn an_answer_to_authorization_is_stored_only_when_it_says_it_is_for_all() {
    for rule in rules() {
        for says in ["max-age=60", "max-age=60, immutable", "max-age=60, proxy-revalidate"] {
            let told = with_authorization(rule.clone(), says, Audience::Public).await;
            // The last asks without: it shares nothing with the others.
            assert_eq!(told, ["MISS", "MISS", "MISS"], "{says} {rule:?}");
        }
        for says in ["public, max-age=60", "s-maxage=60", "max-age=60, must-revalidate"] {
            let told = with_authorization(rule.clone(), says, Audience::Public).await;
            assert_eq!(told, ["MISS", "HIT", "HIT"], "{says} {rule:?}");
        }
    }
    let told = with_authorization(Rule::standard(), "max-age=60", each_user()).await;
    assert_eq!(told, ["MISS", "MISS", "MISS"], "the standard knows no users");
    let told = with_authorization(for_an_hour(), "max-age=60", each_user()).await;
    assert_eq!(told, ["MISS", "HIT", "HIT"], "the owner does");
}

/// Attack 3: what an anonymous client was served does not stand in for the 401 of a bad credential.
#[tokio::test]
async fn an_anonymous_page_is_not_served_to_who_carries_authorization() {
    for rule in rules() {
        let app = App::public(rule, |request| async move {
            let mut answer = response(&[("cache-control", "max-age=60")], "page");
            if request.headers().contains_key("authorization") {
                *answer.status_mut() = http::StatusCode::UNAUTHORIZED;
            }
            answer
        })
        .await;
        assert_eq!(app.get("/").await.x_cache(), "MISS");
        for _ in 0..2 {
            let refused = app.send("GET", "/", &[("authorization", "Bearer forged")]).await;
            assert_eq!((refused.status, refused.x_cache()), (401, "MISS"));
            let headed = app.send("HEAD", "/", &[("authorization", "Bearer forged")]).await;
            assert_eq!(headed.status, 401);
            let anonymous = app.get("/").await;
            assert_eq!((anonymous.status, anonymous.x_cache()), (200, "HIT"), "and stays");
        }
    }
}

/// Attack 3: a route of users never falls back to what is stored for everyone, nor gives to it, on one larder.
#[tokio::test]
async fn a_route_of_users_and_one_of_everyone_share_nothing() {
    let larder = embedded().await;
    let of = async |audience, page: &'static str| {
        let settings = |layer: larder_http::CacheLayerBuilder| layer.rule(for_an_hour());
        App::of(larder.clone(), settings, audience, move |_| async move { response(&[], page) })
            .await
    };
    let everyone = of(Audience::Public, "everyone's").await;
    let own = of(each_user(), "one's own").await;
    for expected in ["MISS", "HIT"] {
        let page = everyone.get("/").await;
        assert_eq!((page.x_cache(), page.text()), (expected, "everyone's"));
        let page = own.send("GET", "/", &[("x-test-user", "u1")]).await;
        assert_eq!((page.x_cache(), page.text()), (expected, "one's own"));
        let page = own.get("/").await;
        assert_eq!((page.x_cache(), page.text()), ("BYPASS", "one's own"), "nobody known asks");
    }
}

const IDS: [&str; 40] = [
    "anonymous",
    "null",
    "None",
    "0",
    "00",
    "u",
    "u1",
    "u10",
    "u1:",
    ":u1",
    "u1:u1",
    "u1,u2",
    "u1 ",
    " u1",
    "U1",
    "u1\0",
    "\0",
    "u1\0u2",
    "u1\n",
    "\n",
    "u1\r\n",
    "u1\r\nset-cookie: a=b",
    "{u1}",
    "u1}",
    "}{",
    "*",
    "u1*",
    "u1%00",
    "%75%31",
    "../u1",
    "u1/",
    "/u1",
    "u1#",
    "u1?a=b",
    "\u{ff55}\u{ff11}",
    "\u{443}1",
    "\u{e9}",
    "e\u{301}",
    "\u{202e}1u",
    "u1\u{200b}",
];

/// Over the wire an id is written in hex: what the app has verified may hold anything.
fn written(id: &str) -> String {
    id.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn read(hex: &str) -> String {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    String::from_utf8((0..hex.len()).step_by(2).map(byte).collect()).unwrap()
}

fn hostile_users() -> Audience {
    Audience::each(|parts| {
        parts.extensions.get::<Session>().map(|session| UserId::new(read(&session.0)))
    })
}

async fn of_hostile_users(server: &Server) -> App {
    App::of(
        far::on(server).await,
        |layer| layer.rule(for_an_hour()),
        hostile_users(),
        |request| async move {
            let Session(user) = request.extensions().get().cloned().unwrap();
            response(&[], format!("{user} {}", request.uri().path()))
        },
    )
    .await
}

/// Attack 4: ids that look like one another, hold delimiters or control characters, or are the beginning of
/// another share no page, near or far; and to end one user's pages ends no other's.
#[tokio::test]
async fn ids_of_users_are_told_apart_byte_by_byte() {
    assert_eq!(IDS.iter().collect::<HashSet<_>>().len(), IDS.len());
    let server = Server::start();
    let [here, there] = [of_hostile_users(&server).await, of_hostile_users(&server).await];
    let all_are = async |app: &App, told: &str, but: Option<&str>| {
        for id in IDS {
            let id = written(id);
            let page = app.send("GET", "/a", &[("x-test-user", &id)]).await;
            let told = if but == Some(&id) { "MISS" } else { told };
            assert_eq!(
                (page.x_cache(), page.text()),
                (told, &*format!("{id} /a")),
                "{:?}",
                read(&id)
            );
        }
    };
    all_are(&here, "MISS", None).await;
    all_are(&here, "HIT", None).await;
    here.larder.settled().await;
    all_are(&there, "HIT", None).await;
    for id in IDS {
        here.larder.invalidate([here.cache.user(&UserId::new(id))]).await.unwrap();
        all_are(&here, "HIT", Some(&written(id))).await;
    }
}

/// Attack 4: where an id ends and a path begins is no matter of how they are spelled.
#[tokio::test]
async fn an_id_cannot_reach_into_the_path() {
    let server = Server::start();
    let app = of_hostile_users(&server).await;
    for round in ["MISS", "HIT"] {
        for (id, path) in [("u", "/a/b"), ("u/a", "/b"), ("u/a/b", "/"), ("u:", "/a"), ("u", "/:a")]
        {
            let id = written(id);
            let page = app.send("GET", path, &[("x-test-user", &id)]).await;
            assert_eq!((page.x_cache(), page.text()), (round, &*format!("{id} {path}")));
        }
    }
}

/// Attack 4: an empty id is nobody's, like none at all: not looked up, not stored, and no user's page is his.
#[tokio::test]
async fn an_empty_id_and_none_are_not_cached() {
    let app = App::of(
        embedded().await,
        |layer| layer.rule(Rule::for_route(Lifetime::fresh_for(HOUR))),
        each_user(),
        |request| async move {
            let user = request.extensions().get().map(|Session(user)| user.clone());
            response(&[], format!("{user:?}"))
        },
    )
    .await;
    app.send("GET", "/", &[("x-test-user", "u1")]).await;
    for _ in 0..2 {
        let empty = app.send("GET", "/", &[("x-test-user", "")]).await;
        assert_eq!((empty.x_cache(), empty.text()), ("BYPASS", "Some(\"\")"));
        let none = app.get("/").await;
        assert_eq!((none.x_cache(), none.text()), ("BYPASS", "None"));
        // A client's own claim is no identity.
        let claims = app.send("GET", "/", &[("x-user-id", "u1"), ("cookie", "user=u1")]).await;
        assert_eq!((claims.x_cache(), claims.text()), ("BYPASS", "None"));
    }
}
