//! What answers say of the cache, and what is none of its business.

use axum::extract::Request;
use http::StatusCode;
use larder_http::{Audience, CacheLayer, purge};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::for_an_hour;
use crate::support::{Answer, App, Calls, Session, each_user, embedded, response, soon};

fn is_silent(answer: &Answer, secrets: &[&str]) {
    let shown =
        format!("{} {:?} {}", answer.status, answer.headers, String::from_utf8_lossy(&answer.body));
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}

/// Attack 20: what one user asked for, and who that is, is in no answer to another: neither hit nor miss, refusal nor
/// failure.
#[tokio::test]
async fn no_answer_speaks_of_other_users() {
    let larder = embedded().await;
    let rule = for_an_hour().honour_request_directives();
    let app = App::of(
        larder,
        |layer| layer.rule(rule).make_etags(),
        each_user(),
        |request: Request| async move {
            let user = format!("page of {:?}", request.extensions().get::<Session>());
            let mut answer =
                response(&[("surrogate-key", "tag-of-u1"), ("vary", "x-secret")], user);
            if request.uri().path() == "/failing" {
                *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            answer
        },
    )
    .await;
    let secrets =
        ["user-one", "secret-path", "secret-query", "secret-field", "tag-of-u1", "http-user"];
    for path in ["/secret-path?secret-query", "/", "/failing"] {
        for _ in 0..2 {
            // His own name is on his page.
            let fields = [("x-test-user", "user-one"), ("x-secret", "secret-field")];
            is_silent(&app.send("GET", path, &fields).await, &secrets[1..]);
            is_silent(&app.send("GET", path, &fields[..1]).await, &secrets[1..]);
        }
    }
    for who in [&[("x-test-user", "user-two")][..], &[]] {
        for path in ["/", "/other", "/failing"] {
            for (name, value) in [
                ("accept", "*/*"),
                ("cache-control", "only-if-cached"),
                ("cache-control", "no-cache"),
                ("range", "bytes=0-1"),
                ("range", "bytes=100-"),
                ("if-none-match", "*"),
                ("if-match", "*"),
                ("x-forwarded-host", "a"),
            ] {
                let fields = [who, &[(name, value)]].concat();
                for method in ["GET", "HEAD", "POST", "PURGE", "OPTIONS"] {
                    let fields = [&fields[..], &[("content-length", "0")]].concat();
                    is_silent(&app.send(method, path, &fields).await, &secrets);
                }
            }
        }
    }
}

/// Attack 20: what the layer prints of itself, and the errors of the router that purges, show no page and no user.
#[tokio::test]
async fn no_print_and_no_error_speaks_of_users() {
    let larder = embedded().await;
    let cache = CacheLayer::new(&larder).rule(for_an_hour()).audience(each_user()).unwrap();
    let page = axum::routing::get(|| async { "page" });
    let router = axum::Router::new().route("/", page).layer(cache.clone());
    let router = router.merge(purge::router(&cache));
    let app = App::serve(larder, cache, Calls::default(), router).await;
    for _ in 0..2 {
        app.send("GET", "/", &[("x-test-user", "user-one")]).await;
    }
    let printed = format!("{:?} {:?}", app.cache, tower::Layer::layer(&app.cache, ()));
    assert!(!printed.contains("user-one"), "{printed}");
    for body in [r#"{"users":["user-two"]}"#, r#"{"users":"user-two"}"#, r#"{"urls":["/"]}"#, "{"] {
        let request = format!(
            "POST /purge HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        is_silent(&app.raw(request.as_bytes()).await, &["user-one", "app.test"]);
    }
}

/// Attack 20: a connection that becomes something else is handed through, both ways, and nothing of it is stored.
#[tokio::test]
async fn an_upgrade_passes() {
    let app = App::public(for_an_hour(), |mut request: Request| async move {
        let mut answer = response(&[("connection", "upgrade"), ("upgrade", "echo")], "");
        if request.headers().contains_key("upgrade") {
            *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let upgrading = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut echo = hyper_util::rt::TokioIo::new(upgrading.await.unwrap());
                let mut some = [0; 5];
                echo.read_exact(&mut some).await.unwrap();
                echo.write_all(&some).await.unwrap();
            });
        }
        answer
    })
    .await;
    app.get("/").await;
    for _ in 0..2 {
        let mut connection = TcpStream::connect(app.address).await.unwrap();
        let head =
            b"GET / HTTP/1.1\r\nhost: app.test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        connection.write_all(head).await.unwrap();
        let mut came = Vec::new();
        while !came.ends_with(b"\r\n\r\n") {
            came.push(soon("the head", connection.read_u8()).await.unwrap());
        }
        let came = String::from_utf8(came).unwrap();
        assert!(came.starts_with("HTTP/1.1 101") && came.contains("BYPASS"), "{came}");
        connection.write_all(b"hello").await.unwrap();
        let mut back = String::new();
        soon("the echo", connection.read_to_string(&mut back)).await.unwrap();
        assert_eq!(back, "hello");
    }
    assert_eq!(app.get("/").await.x_cache(), "HIT", "the page that is no upgrade");
}

/// Attack 20: `CONNECT` reaches the handler, and so does all that is neither asked of a page nor changes one.
#[tokio::test]
async fn connect_passes() {
    let app = App::of(
        embedded().await,
        |layer| layer.rule(for_an_hour()),
        Audience::Public,
        |request: Request| async move {
            let mut answer = response(&[], "");
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            answer.headers_mut().insert("x-asked", request.uri().to_string().parse().unwrap());
            answer
        },
    )
    .await;
    for number in 1..3 {
        let connect = app
            .raw(
                b"CONNECT app.test:443 HTTP/1.1\r\nhost: app.test:443\r\nconnection: close\r\n\r\n",
            )
            .await;
        assert_eq!((connect.status, connect.x_cache()), (502, "BYPASS"));
        assert_eq!((connect.field("x-asked"), app.calls.count()), ("app.test:443", number));
    }
    let server =
        app.raw(b"OPTIONS * HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n").await;
    assert_eq!((server.status, server.x_cache(), server.field("x-asked")), (502, "BYPASS", "*"));
}

/// Attack 20: a client that waits to be told to go on is told, by the handler that reads its body.
#[tokio::test]
async fn a_100_passes() {
    let app = App::public(for_an_hour(), |request: Request| async move {
        let body = axum::body::to_bytes(request.into_body(), 1000).await.unwrap();
        response(&[], body)
    })
    .await;
    let mut connection = TcpStream::connect(app.address).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    connection.write_all(head).await.unwrap();
    let mut interim = Vec::new();
    while !interim.ends_with(b"\r\n\r\n") {
        interim.push(soon("to be told to go on", connection.read_u8()).await.unwrap());
    }
    assert!(interim.starts_with(b"HTTP/1.1 100"));
    connection.write_all(b"hello").await.unwrap();
    let mut answer = String::new();
    soon("the answer", connection.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
}
