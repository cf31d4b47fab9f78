//! Connections: each is served in a task of its own, and none for ever.
//!
//! `axum::serve` is shorter and waits for the head of a request without end, so a client that sends
//! one byte a minute keeps its connection. Here hyper serves them, with a time for the head. HTTP/1.1
//! only: to tell other versions apart, a connection's first bytes would be waited for, without a time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::serve::Listener;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower_layer::Layer;

/// The connections of one listener. Dropped, it ends those that are left.
pub(crate) struct Connections {
    http: http1::Builder,
    router: Router,
    open: JoinSet<()>,
    stop: watch::Sender<()>,
}

impl Connections {
    /// A client has `head_wait` to send the head of a request: the first, and each that follows.
    pub(crate) fn new(router: Router, head_wait: Duration) -> Connections {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(head_wait);
        Connections { http, router, open: JoinSet::new(), stop: watch::Sender::new(()) }
    }

    /// Takes connections in until dropped. What cannot be taken in is tried again, with pauses.
    pub(crate) async fn accept(&mut self, listener: &mut TcpListener) -> Infallible {
        loop {
            tokio::select! {
                (stream, peer) = Listener::accept(listener) => self.serve(stream, peer),
                // So that those that ended are not kept.
                Some(_) = self.open.join_next() => {}
            }
        }
    }

    fn serve(&mut self, stream: TcpStream, peer: SocketAddr) {
        let from = Extension(ConnectInfo(peer));
        let service = TowerToHyperService::new(from.layer(self.router.clone()));
        let serving = self.http.serve_connection(TokioIo::new(stream), service);
        let mut stop = self.stop.subscribe();
        self.open.spawn(async move {
            let mut serving = pin!(serving);
            let served = tokio::select! {
                served = serving.as_mut() => served,
                _ = stop.changed() => {
                    serving.as_mut().graceful_shutdown();
                    serving.await
                }
            };
            if let Err(why) = served {
                tracing::debug!(%why, "a connection ended");
            }
        });
    }

    /// Ends those without a request, and waits until the others have their answers.
    pub(crate) async fn drain(&mut self) {
        self.stop.send_replace(());
        while self.open.join_next().await.is_some() {}
    }

    /// Ends those that are left.
    pub(crate) fn end(&mut self) {
        self.open.abort_all();
    }

    /// How many are left.
    pub(crate) fn left(&self) -> usize {
        self.open.len()
    }
}
