//! A caching reverse proxy: `--listen 127.0.0.1:8080 --origin http://127.0.0.1:8000 [--redis URL]`.
//!
//! All of its caching is the layer's: RFC 9111, for everyone. What is here is what a proxy is besides:
//! fields that belong to a connection go no further, and an origin that cannot be reached is a 502, or
//! what is stored, if that may stand in. Nothing is asked twice. For trying the cache, not for the open
//! Internet: it forwards no upgrades and speaks HTTP/1.1 and, in clear, HTTP/2.
#![allow(clippy::print_stderr, reason = "a command says where it listens")]

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri, Version};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use larder::Larder;
use larder_http::{Audience, CacheLayer, Rule};
use tower::{Layer, Service};

type BoxError = Box<dyn Error + Send + Sync>;

/// What the command line says.
struct Settings {
    listen: SocketAddr,
    origin: Authority,
    redis: Option<String>,
}

impl Settings {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Settings, BoxError> {
        let (mut listen, mut origin, mut redis) = (None, None, None);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} lacks its value"))?;
            match name.as_str() {
                "--listen" => listen = Some(value.parse().map_err(|why| format!("{name}: {why}"))?),
                "--origin" => {
                    let uri: Uri = value.parse().map_err(|why| format!("{name}: {why}"))?;
                    if uri.scheme() != Some(&Scheme::HTTP) {
                        return Err(format!("{name}: {value} is not an http:// address").into());
                    }
                    origin = uri.into_parts().authority;
                }
                "--redis" => redis = Some(value),
                _ => return Err(format!("{name} is not known").into()),
            }
        }
        let listen = listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
        let origin = origin.ok_or("--origin http://HOST:PORT is needed")?;
        Ok(Settings { listen, origin, redis })
    }
}

#[allow(clippy::print_stderr, reason = "it says where it listens")]
#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let Settings { listen, origin, redis } = Settings::read(std::env::args().skip(1))?;
    let mut larder = Larder::builder("reverse-proxy");
    if let Some(url) = redis {
        larder = larder.redis(url);
    }
    let larder = larder.open().await?;
    let rule = Rule::standard().stale_if_error(Duration::from_secs(60));
    let cache = CacheLayer::new(&larder).rule(rule).audience(Audience::Public)?;
    let proxy = cache.layer(Forward { client: client(), origin });

    let listener = tokio::net::TcpListener::bind(listen).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    loop {
        let (connection, _) = listener.accept().await?;
        let _ = connection.set_nodelay(true);
        let service = TowerToHyperService::new(proxy.clone());
        tokio::spawn(async move {
            let http = auto::Builder::new(TokioExecutor::new());
            // A client that goes away is no news.
            let _ = http.serve_connection(TokioIo::new(connection), service).await;
        });
    }
}

fn client() -> Client<HttpConnector, Incoming> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let mut client = Client::builder(TokioExecutor::new());
    client.pool_idle_timeout(Duration::from_secs(2));
    client.retry_canceled_requests(false);
    client.build(connector)
}

/// Hands each request to the origin.
#[derive(Clone)]
struct Forward {
    client: Client<HttpConnector, Incoming>,
    origin: Authority,
}

impl Service<Request<Incoming>> for Forward {
    type Response = Response<Either<Incoming, Full<Bytes>>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let (client, origin) = (self.client.clone(), self.origin.clone());
        Box::pin(async move {
            Ok(match client.request(towards(request, origin)).await {
                Ok(response) => back(response).map(Either::Left),
                Err(_) => bad_gateway().map(Either::Right),
            })
        })
    }
}

fn towards(request: Request<Incoming>, origin: Authority) -> Request<Incoming> {
    let (mut parts, body) = request.into_parts();
    if !parts.headers.contains_key(header::HOST)
        && let Some(host) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(host.as_str())
    {
        parts.headers.insert(header::HOST, host);
    }
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(origin);
    uri.path_and_query =
        Some(parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    parts.uri = Uri::from_parts(uri).unwrap_or_default();
    parts.version = Version::HTTP_11;
    keep_end_to_end(&mut parts.headers);
    Request::from_parts(parts, body)
}

fn back(response: Response<Incoming>) -> Response<Incoming> {
    let (mut parts, body) = response.into_parts();
    parts.version = Version::HTTP_11;
    keep_end_to_end(&mut parts.headers);
    Response::from_parts(parts, body)
}

/// Takes off what belongs to one connection (RFC 9110 §7.6.1).
fn keep_end_to_end(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    let always =
        ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];
    for name in always {
        headers.remove(name);
    }
    for name in listed {
        headers.remove(name);
    }
}

fn bad_gateway() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("the origin did not answer\n"));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
