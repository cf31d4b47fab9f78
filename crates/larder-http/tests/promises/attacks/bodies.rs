//! Bodies that lie, stop, fail or do not end: the client gets what the handler sent, and nothing wrong is stored,
//! near or far.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use larder_http::{Audience, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::for_an_hour;
use crate::far::{self, Server};
use crate::support::{App, response, soon, until};

/// What a handler sends, frame by frame, and what it says beforehand of how much that will be.
struct Scripted {
    frames: mpsc::UnboundedReceiver<Result<Frame<Bytes>, &'static str>>,
    hint: SizeHint,
}

impl http_body::Body for Scripted {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let frame = self.frames.poll_recv(context);
        assert!(!matches!(frame, Poll::Ready(Some(Err("panic")))), "as the test has it");
        frame
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

pub(crate) type Frames = mpsc::UnboundedSender<Result<Frame<Bytes>, &'static str>>;

pub(crate) fn scripted(hint: SizeHint) -> (Frames, Body) {
    let (send, frames) = mpsc::unbounded_channel();
    (send, Body::new(Scripted { frames, hint }))
}

/// All of a body at once.
fn at_once(frames: impl IntoIterator<Item = Result<Frame<Bytes>, &'static str>>) -> Body {
    let (send, body) = scripted(SizeHint::default());
    frames.into_iter().for_each(|frame| send.send(frame).unwrap());
    body
}

/// The same, with a pause before every frame.
pub(crate) fn in_time(frames: Vec<Result<Frame<Bytes>, &'static str>>) -> Body {
    let (send, body) = scripted(SizeHint::default());
    tokio::spawn(async move {
        for frame in frames {
            tokio::task::yield_now().await;
            let _ = send.send(frame);
        }
    });
    body
}

pub(crate) fn data(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

pub(crate) fn pieces(text: &'static str, many: usize) -> Vec<Result<Frame<Bytes>, &'static str>> {
    (0..many).map(|_| data(text)).collect()
}

fn trailers() -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::trailers(http::HeaderMap::from_iter([(
        http::HeaderName::from_static("x-sum"),
        http::HeaderValue::from_static("1"),
    )])))
}

async fn on_redis<H, F>(server: &Server, handler: H) -> App
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let rule = for_an_hour().body_bytes_max(1000);
    App::of(far::on(server).await, |layer| layer.rule(rule), Audience::Public, handler).await
}

/// All that comes over a connection of its own, which stays open as long as the server keeps it.
async fn heard(app: &App, path: &str) -> String {
    let mut connection = TcpStream::connect(app.address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut came = Vec::new();
    let _ = soon("the end", connection.read_to_end(&mut came)).await;
    String::from_utf8(came).unwrap()
}

/// Nothing of `path` is near, and no text of it far.
async fn nothing_is_stored(server: &Server, app: &App, path: &str, text: &str) {
    let asked = app.calls.of(path);
    for more in 1..3 {
        heard(app, path).await;
        assert_eq!(app.calls.of(path), asked + more, "{path}");
    }
    // Written later, and there: what was to be written before it would be as well.
    app.get("/good").await;
    until("a good page far", async || far::holds(server, "a good page")).await;
    assert!(!far::holds(server, text), "{path}");
}

/// Attack 9: a body that does not end as it should, at once or in time: with an error, short of what was said, or
/// past it.
#[tokio::test]
async fn what_did_not_end_whole_is_not_stored() {
    let server = Server::start();
    let app = on_redis(&server, |request| async move {
        let bad = vec![data("bad "), data("page"), Err("torn")];
        let whole = || at_once([data("bad "), data("page")]);
        match request.uri().path() {
            "/torn" => response(&[], at_once(bad)),
            "/torn-in-time" => response(&[], in_time(bad)),
            "/torn-at-length" => response(&[("content-length", "80")], in_time(bad)),
            "/short" => response(&[("content-length", "80")], whole()),
            "/short-in-time" => {
                response(&[("content-length", "80")], in_time(vec![data("bad "), data("page")]))
            }
            "/good" => response(&[], "a good page"),
            other => panic!("{other}"),
        }
    })
    .await;
    for path in ["/torn", "/torn-in-time", "/torn-at-length", "/short", "/short-in-time"] {
        let came = heard(&app, path).await;
        // A chunked body has its last chunk, one of a said length that many bytes; neither came.
        assert!(!came.ends_with("\r\n0\r\n\r\n"), "{path}: {came}");
        let body = came.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(body.len() < 80 && !body.contains("HTTP"), "{path}: {came}");
        nothing_is_stored(&server, &app, path, "bad ").await;
    }
}

/// Attack 9: a handler whose body panics, while it is read on behind the answer.
#[tokio::test]
async fn a_body_that_panics_is_cut_off_and_not_stored() {
    let server = Server::start();
    let app = on_redis(&server, |request| async move {
        match request.uri().path() {
            "/good" => response(&[], "a good page"),
            _ => response(&[], in_time(vec![data("bad page"), Err("panic")])),
        }
    })
    .await;
    let cut = app.get("/").await;
    assert!(!cut.whole, "{cut:?}");
    nothing_is_stored(&server, &app, "/", "bad ").await;
}

/// Attack 9: a body is longer than said. A client hears no more than was said, and that is not the page either.
#[tokio::test]
async fn what_is_longer_than_said_is_not_stored() {
    let server = Server::start();
    let app = on_redis(&server, |request| async move {
        let bad = || vec![data("bad "), data("page")];
        match request.uri().path() {
            "/long" => response(&[("content-length", "4")], at_once(bad())),
            "/long-in-time" => response(&[("content-length", "4")], in_time(bad())),
            "/nothing" => response(&[("content-length", "0")], at_once(bad())),
            _ => response(&[], "a good page"),
        }
    })
    .await;
    for path in ["/long", "/long-in-time", "/nothing"] {
        nothing_is_stored(&server, &app, path, "bad ").await;
    }
}

/// Attack 9: what a body says of its size is believed for nothing but the way around: the bytes that came count.
#[tokio::test]
async fn a_size_hint_that_lies_changes_no_page() {
    let server = Server::start();
    let app = on_redis(&server, |request| async move {
        let mut hint = SizeHint::default();
        match request.uri().path() {
            "/too-little" => hint.set_upper(3),
            "/too-much" => hint.set_lower(100),
            "/beyond" => hint.set_lower(5000),
            _ => return response(&[], "a good page"),
        }
        let (send, body) = scripted(hint);
        send.send(data("the page")).unwrap();
        response(&[], body)
    })
    .await;
    for (path, then) in [("/too-little", "HIT"), ("/too-much", "HIT"), ("/beyond", "MISS")] {
        for told in ["MISS", then, then] {
            let page = app.get(path).await;
            assert_eq!(
                (page.x_cache(), page.text(), page.whole),
                (told, "the page", true),
                "{path}"
            );
        }
    }
}

/// Attack 9: two lengths are none, and what is no number is no length.
#[tokio::test]
async fn a_response_of_unclear_length_is_not_stored() {
    for lengths in
        [&["8", "80"][..], &["80", "8"], &["8", "8"], &["8, 80"], &["+8"], &["8.0"], &["-1"], &[""]]
    {
        let app = App::public(for_an_hour(), move |_| async move {
            let fields: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
            response(&fields, at_once([data("the page")]))
        })
        .await;
        for asked in 1..3 {
            let came = heard(&app, "/").await;
            assert!(came.is_empty() || came.ends_with("\r\n\r\nthe page"), "{came}");
            assert_eq!(app.calls.count(), asked, "{lengths:?}");
        }
    }
}

/// Attack 9: a handler said one length and sent another, all at once. The layer, which had the bytes, told the server
/// how many they are; the server believed it, wrote the handler's number, and the next response on the connection was
/// read as what was missing, or began with what was too much. Now the layer claims nothing, and the server keeps to the
/// length that was said, or ends the connection.
#[tokio::test]
async fn a_lie_about_length_does_not_reach_the_next_response() {
    for (said, is_kept) in [("4", true), ("80", false)] {
        let app = App::public(for_an_hour(), move |request: Request| async move {
            match request.uri().path() {
                "/lie" => {
                    response(&[("content-length", said)], at_once([data("bad "), data("page")]))
                }
                _ => response(&[], "a good page"),
            }
        })
        .await;
        let mut connection = TcpStream::connect(app.address).await.unwrap();
        let both = b"GET /lie HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        connection.write_all(both).await.unwrap();
        let mut came = Vec::new();
        let _ = soon("the end", connection.read_to_end(&mut came)).await;
        let came = String::from_utf8(came).unwrap();
        match is_kept {
            true => assert!(came.contains("\r\n\r\nbad HTTP/1.1 200"), "{came}"),
            false => assert!(!came.contains("a good page"), "{came}"),
        }
    }
}

/// Attack 9: a response that can have no body says of a length what it likes.
#[tokio::test]
async fn a_response_without_a_body_is_served_without_one() {
    for fields in [&[][..], &[("content-length", "0")], &[("content-length", "5")]] {
        let app = App::public(for_an_hour(), move |_| async move {
            let mut answer = response(fields, "");
            *answer.status_mut() = http::StatusCode::NO_CONTENT;
            answer
        })
        .await;
        let first = heard(&app, "/").await;
        let second = heard(&app, "/").await;
        for came in [first, second] {
            assert!(came.starts_with("HTTP/1.1 204") && came.ends_with("\r\n\r\n"), "{came}");
        }
    }
}

/// Attack 9: over the cap, at once, in time, or by what it says. It passes through whole, and nobody keeps it.
#[tokio::test]
async fn what_is_over_the_cap_passes_whole_and_is_not_stored() {
    let server = Server::start();
    let app = on_redis(&server, |request| async move {
        let large = || pieces("large ", 200);
        match request.uri().path() {
            "/at-once" => response(&[], at_once(large())),
            "/in-time" => response(&[], in_time(large())),
            "/said" => response(&[("content-length", "1200")], in_time(large())),
            "/just" => response(&[], in_time(pieces("0123456789", 100))),
            "/over" => response(&[], in_time(pieces("0123456789", 101))),
            _ => response(&[], "a good page"),
        }
    })
    .await;
    for path in ["/at-once", "/in-time", "/said"] {
        let page = app.get(path).await;
        assert_eq!((page.text(), page.whole), (&*"large ".repeat(200), true), "{path}");
        nothing_is_stored(&server, &app, path, "large large").await;
    }
    for (path, length, then) in [("/just", 1000, "HIT"), ("/over", 1010, "MISS")] {
        assert_eq!(app.get(path).await.body.len(), length);
        let again = app.get(path).await;
        assert_eq!((again.x_cache(), again.body.len(), again.whole), (then, length, true));
    }
}

/// Attack 9: trailers would be lost. They reach the client, and what has them is not stored.
#[tokio::test]
async fn trailers_pass_and_forbid_storing() {
    let server = Server::start();
    let app = on_redis(&server, |request| async move {
        let fields = [("trailer", "x-sum")];
        match request.uri().path() {
            "/at-once" => response(&fields, at_once([data("with sum"), trailers()])),
            "/in-time" => response(&fields, in_time(vec![data("with sum"), trailers()])),
            _ => response(&[], "a good page"),
        }
    })
    .await;
    for path in ["/at-once", "/in-time"] {
        let mut connection = TcpStream::connect(app.address).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: app.test\r\nte: trailers\r\nconnection: te, close\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut came = String::new();
        soon("an answer", connection.read_to_string(&mut came)).await.unwrap();
        assert!(came.contains("with sum") && came.ends_with("0\r\nx-sum: 1\r\n\r\n"), "{came}");
        nothing_is_stored(&server, &app, path, "with sum").await;
    }
}

/// A handler whose body the test sends by hand.
async fn by_hand(rule: Rule) -> (App, std::sync::Arc<std::sync::Mutex<Vec<Frames>>>) {
    let sending = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let app = App::public(rule, {
        let sending = sending.clone();
        move |_| {
            let (send, body) = scripted(SizeHint::default());
            sending.lock().unwrap().push(send);
            async move { response(&[], body) }
        }
    })
    .await;
    (app, sending)
}

async fn asks(app: &App) -> TcpStream {
    let mut connection = TcpStream::connect(app.address).await.unwrap();
    let head = b"GET / HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n";
    connection.write_all(head).await.unwrap();
    connection
}

async fn hears(connection: &mut TcpStream, text: &str) -> String {
    let mut came = Vec::new();
    let mut some = [0; 1024];
    while !String::from_utf8_lossy(&came).contains(text) {
        let read = soon(text, connection.read(&mut some)).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&came));
        came.extend_from_slice(&some[..read]);
    }
    String::from_utf8_lossy(&came).into_owned()
}

/// Attack 9: a slow body. Its first bytes are with the client while the handler still has the rest, and the page is
/// there when it ended.
#[tokio::test]
async fn the_first_byte_of_a_slow_body_does_not_wait_for_the_last() {
    let (app, sending) = by_hand(for_an_hour()).await;
    let mut client = asks(&app).await;
    until("the handler", async || sending.lock().unwrap().len() == 1).await;
    let send = sending.lock().unwrap().pop().unwrap();
    send.send(data("first ")).unwrap();
    hears(&mut client, "first ").await;
    send.send(data("last")).unwrap();
    drop(send);
    hears(&mut client, "0\r\n\r\n").await;
    let page = app.get("/").await;
    assert_eq!((page.x_cache(), page.text()), ("HIT", "first last"));
}

/// Attack 9: the client hangs up in the middle. What those who wait for the page get is whole, or none of it.
#[tokio::test]
async fn a_client_that_hangs_up_leaves_no_half_page() {
    let (app, sending) = by_hand(for_an_hour()).await;
    let mut client = asks(&app).await;
    until("the handler", async || sending.lock().unwrap().len() == 1).await;
    let send = sending.lock().unwrap().pop().unwrap();
    send.send(data("first ")).unwrap();
    hears(&mut client, "first ").await;
    drop(client);
    let waits = tokio::spawn({
        let mut client = asks(&app).await;
        async move { hears(&mut client, "last").await }
    });
    let _ = send.send(data("last"));
    drop(send);
    // Either is right: the page was read to its end, or the handler is asked again.
    let answer = async {
        tokio::pin!(waits);
        loop {
            tokio::select! {
                heard = &mut waits => return heard.unwrap(),
                () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {
                    if let Some(send) = sending.lock().unwrap().pop() {
                        send.send(data("first ")).unwrap();
                        send.send(data("last")).unwrap();
                    }
                }
            }
        }
    };
    let heard = soon("the one who waited", answer).await;
    assert!(heard.contains("first "), "{heard}");
    assert_eq!(app.get("/").await.text(), "first last");
}
