//! What the tests in this folder share: an app behind the layer on a real socket, and clients that say exactly what
//! they are told to.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a scene that cannot be set has failed"
)]
#![allow(unreachable_pub, reason = "it is a module of each test file, and none of them has a door")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use larder::Larder;
use larder_http::{Audience, CacheLayer, CacheLayerBuilder, Rule, UserId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing that a test waits for takes this long, unless it never comes.
pub const NEVER: Duration = Duration::from_secs(60);

/// Waits for `future`, and fails with `what` when it does not come.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(NEVER, future).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited in vain for: {what}"),
    }
}

/// All of them at once.
pub async fn together<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (one, done) in &mut all {
            if done.is_none() {
                match one.as_mut().poll(context) {
                    std::task::Poll::Ready(answer) => *done = Some(answer),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    all.into_iter().filter_map(|(_, done)| done).collect()
}

/// Asks again and again until `is` holds.
pub async fn until<F, Asked>(what: &str, mut is: F)
where
    F: FnMut() -> Asked,
    Asked: Future<Output = bool>,
{
    soon(what, async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Who asks, as the app's authentication has verified it.
#[derive(Clone, Debug)]
pub struct Session(pub String);

/// An audience of users, by the extension that [`App::serve`] makes of the test's `x-test-user`.
pub fn each_user() -> Audience {
    Audience::each(|parts| parts.extensions.get::<Session>().map(|session| UserId::new(&session.0)))
}

/// Counts how often the handler was asked, in all and by path.
#[derive(Clone, Default)]
pub struct Calls(Arc<(AtomicUsize, Mutex<HashMap<String, usize>>)>);

impl Calls {
    pub fn count(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    pub fn of(&self, path: &str) -> usize {
        self.0.1.lock().unwrap().get(path).copied().unwrap_or_default()
    }

    fn note(&self, path: &str) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
        *self.0.1.lock().unwrap().entry(path.to_owned()).or_default() += 1;
    }
}

/// An app behind the layer, served over HTTP/1.1 and HTTP/2 on a port of its own.
pub struct App {
    pub larder: Larder,
    pub cache: CacheLayer,
    pub calls: Calls,
    pub address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for App {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl App {
    /// `handler` behind a layer by `rule`, for everyone, embedded.
    pub async fn public<H, F>(rule: Rule, handler: H) -> App
    where
        H: Fn(Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        App::of(embedded().await, |layer| layer.rule(rule), Audience::Public, handler).await
    }

    /// The same, with its own larder, settings and audience.
    pub async fn of<H, F>(
        larder: Larder,
        settings: impl FnOnce(CacheLayerBuilder) -> CacheLayerBuilder,
        audience: Audience,
        handler: H,
    ) -> App
    where
        H: Fn(Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let cache = settings(CacheLayer::new(&larder)).audience(audience).unwrap();
        let calls = Calls::default();
        let counted = {
            let calls = calls.clone();
            tower::service_fn(move |request: Request| {
                calls.note(request.uri().path());
                let answer = handler(request);
                async move { Ok::<_, Infallible>(answer.await) }
            })
        };
        let service = tower::Layer::layer(&cache, counted);
        App::serve(larder, cache, calls, service).await
    }

    /// Serves what was layered by the test itself. A request's `x-test-user` becomes its [`Session`].
    pub async fn serve<S, B>(larder: Larder, cache: CacheLayer, calls: Calls, service: S) -> App
    where
        S: tower::Service<Request, Response = Response<B>, Error = Infallible, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        B: http_body::Body<Data: Send, Error: Into<larder_http::BoxError>> + Send + 'static,
    {
        let service = tower::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let mut request = request.map(Body::new);
            if let Some(user) = request.headers_mut().remove("x-test-user") {
                let user = String::from_utf8_lossy(user.as_bytes()).into_owned();
                request.extensions_mut().insert(Session(user));
            }
            tower::ServiceExt::oneshot(service.clone(), request)
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(service.clone());
                open.spawn(async move {
                    let http = auto::Builder::new(TokioExecutor::new());
                    let io = TokioIo::new(connection);
                    let _ = http.serve_connection_with_upgrades(io, service).await;
                });
            }
        });
        App { larder, cache, calls, address, serving }
    }

    /// `GET path`, over a connection of its own.
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[]).await
    }

    /// One request with these fields, over a connection of its own.
    pub async fn send(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text += "host: app.test\r\n";
        }
        for (name, value) in fields {
            text += &format!("{name}: {value}\r\n");
        }
        self.raw(format!("{text}\r\n").as_bytes()).await
    }

    /// These bytes, and what came back before the connection was closed.
    pub async fn raw(&self, bytes: &[u8]) -> Answer {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        connection.write_all(bytes).await.unwrap();
        let mut came = Vec::new();
        // A connection that is cut off is a part of what some tests look at.
        let _ = soon("an answer", connection.read_to_end(&mut came)).await;
        Answer::read(&came)
    }

    /// The same over HTTP/2, in clear.
    pub async fn get_h2(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let connection = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, driver) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(connection))
                .await
                .unwrap();
        let driver = tokio::spawn(driver);
        let mut request = http::Request::get(format!("http://app.test{path}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        let response = soon("an answer", sender.send_request(request)).await.unwrap();
        let (head, body) = response.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
        driver.abort();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.to_vec(),
            whole: true,
        }
    }
}

pub async fn embedded() -> Larder {
    Larder::builder("test").open().await.unwrap()
}

/// A response as it was on the wire.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
    /// It ended as its framing said.
    pub whole: bool,
}

impl Answer {
    /// The value of a field, or nothing.
    pub fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    pub fn x_cache(&self) -> &str {
        self.field("x-cache")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Reads the final response out of what came over a connection; interim ones are passed over.
    pub fn read(came: &[u8]) -> Answer {
        let Some(end) = came.windows(4).position(|four| four == b"\r\n\r\n") else {
            panic!("no response: {:?}", String::from_utf8_lossy(came));
        };
        let head = std::str::from_utf8(&came[..end]).unwrap();
        let rest = &came[end + 4..];
        let mut lines = head.split("\r\n");
        let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        if (100..200).contains(&status) && status != 101 {
            return Answer::read(rest);
        }
        let mut headers = http::HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').unwrap();
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, value.trim().parse().unwrap());
        }
        let (body, whole) = if headers.contains_key("transfer-encoding") {
            unchunked(rest)
        } else {
            let said = headers.get("content-length").map(|said| said.to_str().unwrap());
            let said = said.map(|said| said.parse::<usize>().unwrap());
            (rest.to_vec(), said.is_none_or(|said| said == rest.len()))
        };
        Answer { status, headers, body, whole }
    }
}

/// The data of a chunked body, and whether its last chunk came.
fn unchunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else {
            return (body, false);
        };
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
        rest = &rest[end + 2..];
        if size == 0 {
            return (body, true);
        }
        if rest.len() < size + 2 {
            body.extend_from_slice(&rest[..rest.len().min(size)]);
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

/// A response with these fields and this body.
pub fn response(fields: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    for (name, value) in fields {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}
