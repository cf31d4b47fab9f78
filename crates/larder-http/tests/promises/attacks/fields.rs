//! What of a message is stored, and what selects among what is stored.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use larder_http::{Audience, Rule};

use super::rules;
use crate::far::{self, Server};
use crate::support::{Answer, App, response, until};

/// Attack 11: the version of HTTP is no part of a page's name.
#[tokio::test]
async fn http_1_and_2_share_a_page() {
    for rule in rules() {
        let app = App::public(rule, |request: Request| async move {
            response(&[("cache-control", "public, max-age=60")], request.uri().path().to_owned())
        })
        .await;
        assert_eq!(app.get("/a").await.x_cache(), "MISS");
        assert_eq!(app.get_h2("/a", &[]).await.x_cache(), "HIT");
        assert_eq!(app.get_h2("/b", &[]).await.x_cache(), "MISS");
        assert_eq!(app.get("/b").await.x_cache(), "HIT");
        let old = b"GET /b HTTP/1.0\r\nhost: app.test\r\n\r\n";
        assert_eq!(app.raw(old).await.x_cache(), "HIT");
        // Without a host there is no page.
        assert_eq!(app.raw(b"GET /b HTTP/1.0\r\n\r\n").await.x_cache(), "BYPASS");
        let changed = app.send("POST", "/a", &[("content-length", "0")]).await;
        assert_eq!(changed.status, 200);
        assert_eq!(app.get_h2("/a", &[]).await.x_cache(), "MISS", "ended for both");
    }
}

/// Fields of one connection, some of them only because `Connection` says so.
const OF_THE_CONNECTION: [(&str, &str); 12] = [
    ("connection", "x-listed, close"),
    ("connection", "X-Also-Listed , , keep-alive"),
    ("x-listed", "of-the-hop"),
    ("x-also-listed", "of-the-hop"),
    ("keep-alive", "timeout=5"),
    ("proxy-authenticate", "Basic realm=of-the-hop"),
    ("proxy-authentication-info", "of-the-hop"),
    ("proxy-authorization", "of-the-hop"),
    ("proxy-connection", "of-the-hop"),
    ("te", "of-the-hop"),
    ("trailer", "of-the-hop"),
    ("upgrade", "of-the-hop"),
];

fn has_none_of_the_hop(answer: &Answer) {
    for (name, _) in &OF_THE_CONNECTION[2..] {
        assert!(!answer.has(name), "{name}: {answer:?}");
    }
}

/// Attack 11: what belongs to a connection is not in a page, near or far, nor does a 304 bring it in.
#[tokio::test]
async fn fields_of_the_connection_are_not_stored() {
    let server = Server::start();
    for rule in rules() {
        let app = App::of(
            far::on(&server).await,
            |layer| layer.rule(rule),
            Audience::Public,
            |request: Request| async move {
                let mut fields = OF_THE_CONNECTION.to_vec();
                let says = if request.uri().path() == "/" { "max-age=60" } else { "no-cache" };
                fields.extend([("cache-control", says), ("etag", "\"1\""), ("x-kept", "kept")]);
                let mut answer = response(&fields, "a page");
                if request.headers().contains_key("if-none-match") {
                    *answer.body_mut() = axum::body::Body::empty();
                    *answer.status_mut() = http::StatusCode::NOT_MODIFIED;
                }
                answer
            },
        )
        .await;
        app.get("/").await;
        for hit in [app.get("/").await, app.get_h2("/", &[]).await] {
            assert_eq!((hit.x_cache(), hit.field("x-kept")), ("HIT", "kept"));
            has_none_of_the_hop(&hit);
        }
        app.get("/checked").await;
        for _ in 0..2 {
            let validated = app.get("/checked").await;
            assert!(validated.field("cache-status").contains("304"), "{validated:?}");
            has_none_of_the_hop(&validated);
        }
        until("the page far", async || far::holds(&server, "a page")).await;
        assert!(!far::holds(&server, "of-the-hop"));
        let _: () = server.ask("FLUSHALL");
    }
}

/// Attack 12: `*` among the names, wherever it stands, means that no other request may have this.
#[tokio::test]
async fn vary_by_anything_is_not_stored() {
    let varies: [&[&str]; 9] = [
        &["*"],
        &[" * "],
        &["accept, *"],
        &["*, accept"],
        &["accept,*,cookie"],
        &["accept", "*"],
        &["*", "accept"],
        &["", "*"],
        &[",*,"],
    ];
    for rule in rules() {
        for vary in varies {
            let app = App::public(rule.clone(), move |_| async move {
                let lines = vary.iter().map(|line| ("vary", *line));
                let fields: Vec<_> =
                    [("cache-control", "public, max-age=60")].into_iter().chain(lines).collect();
                response(&fields, "page")
            })
            .await;
            for _ in 0..2 {
                assert_eq!(app.get("/").await.x_cache(), "MISS", "{vary:?}");
            }
        }
    }
}

/// Attack 12: a client makes up values of a field by which a page varies. A few of its variants are kept, the
/// newest; other pages lose nothing.
#[tokio::test]
async fn variants_of_one_url_are_bounded() {
    const MADE_UP: usize = 100;
    for rule in rules() {
        let app = App::public(rule, |request: Request| async move {
            let agent =
                request.headers().get("user-agent").map_or("", |agent| agent.to_str().unwrap());
            let fields = [("cache-control", "public, max-age=60"), ("vary", "user-agent")];
            response(&fields, format!("for {agent}"))
        })
        .await;
        app.get("/other").await;
        for number in 0..MADE_UP {
            let agent = number.to_string();
            let page = app.send("GET", "/", &[("user-agent", &agent)]).await;
            assert_eq!((page.x_cache(), page.text()), ("MISS", &*format!("for {agent}")));
        }
        // From the newest on: who asks for one that is gone pushes out another.
        let mut kept = 0;
        while app
            .send("GET", "/", &[("user-agent", &(MADE_UP - 1 - kept).to_string())])
            .await
            .x_cache()
            == "HIT"
        {
            kept += 1;
        }
        assert!((2..=16).contains(&kept), "{kept} variants");
        assert_eq!(app.get("/other").await.x_cache(), "HIT");
    }
}

/// Everything that is logged, at the lowest level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Attack 12: a page varies by a secret. The secret selects it, and stands in no key, no value and no log.
#[tokio::test]
async fn secrets_that_select_are_nowhere_in_clear() {
    let log = Log::default();
    let writer = log.clone();
    // That of the whole process: a callsite that a thread without a log came by first stays silent on all others.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let server = Server::start();
    let app = App::of(
        far::on(&server).await,
        |layer| layer.rule(Rule::standard()).vary_by([http::HeaderName::from_static("x-key")]),
        Audience::Public,
        |_| async {
            let vary = "Cookie, Authorization, X-Api-Key";
            response(&[("cache-control", "public, max-age=60"), ("vary", vary)], "the page")
        },
    )
    .await;
    let secrets = [
        ("cookie", "session=hunter2"),
        ("authorization", "Bearer hunter2"),
        ("x-api-key", "hunter2"),
        ("x-key", "hunter2"),
    ];
    for secret in secrets {
        assert_eq!(app.send("GET", "/", &[secret]).await.x_cache(), "MISS");
        assert_eq!(app.send("GET", "/", &[secret]).await.x_cache(), "HIT");
        let other = (secret.0, "hunter3");
        assert_eq!(app.send("GET", "/", &[other]).await.x_cache(), "MISS", "{other:?}");
    }
    app.larder.settled().await;
    until("the page far", async || far::holds(&server, "the page")).await;
    for secret in ["hunter2", "hunter3"] {
        assert!(!far::holds(&server, secret));
    }
    // And where things go wrong, which is where logs are written.
    server.hangs_up();
    for secret in secrets {
        let _ = app.send("GET", "/", &[secret]).await;
    }
    app.send("POST", "/", &[("content-length", "0"), secrets[0]]).await;
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(!logged.contains("hunter"), "{logged}");
    assert!(!logged.is_empty());
}
