//! What a scene is led by: a handler that says what it is told to, gates, bodies in pieces, a client that
//! reads as far as it likes, and time that is stepped.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a scene that cannot be set has failed"
)]
#![allow(unreachable_pub, reason = "it is a module of each test file, and none of them has a door")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http_body::Frame;
use larder::{Clock, Larder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};

use super::support::{Answer, soon};

/// A handler that answers what it was told to, one after the other, and remembers what it was asked.
#[derive(Clone, Default)]
pub struct Origin(Arc<Inner>);

#[derive(Default)]
struct Inner {
    answers: Mutex<VecDeque<Response>>,
    asked: Mutex<Vec<Parts>>,
}

impl Origin {
    /// Its next answer.
    pub fn says(&self, response: Response) {
        self.0.answers.lock().unwrap().push_back(response);
    }

    /// The next answer, with these fields and this body.
    pub fn answers(&self, fields: &[(&str, &str)], body: &'static str) {
        self.says(super::support::response(fields, body));
    }

    /// The next answer, of this status.
    pub fn fails(&self, status: u16) {
        self.says(of_status(status, &[], "failed"));
    }

    pub fn count(&self) -> usize {
        self.0.asked.lock().unwrap().len()
    }

    /// What the last request said in this field, if it had it.
    pub fn last(&self, name: &str) -> Option<String> {
        let asked = self.0.asked.lock().unwrap();
        let value = asked.last().unwrap().headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    }

    pub fn last_method(&self) -> String {
        self.0.asked.lock().unwrap().last().unwrap().method.to_string()
    }

    /// For [`App::of`](super::support::App::of). A request for which no answer is left cuts the connection.
    pub fn handler(
        &self,
    ) -> impl Fn(Request) -> std::future::Ready<Response> + Clone + Send + Sync + 'static {
        let this = self.clone();
        move |request| {
            this.0.asked.lock().unwrap().push(request.into_parts().0);
            let next = this.0.answers.lock().unwrap().pop_front();
            std::future::ready(next.expect("a request that nobody expected"))
        }
    }
}

/// A response of this status.
pub fn of_status(status: u16, fields: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = super::support::response(fields, body);
    *response.status_mut() = status.try_into().unwrap();
    response
}

/// Holds those who pass until it is opened.
pub struct Gate {
    arrived: watch::Sender<usize>,
    open: Semaphore,
}

impl Gate {
    pub fn closed() -> Arc<Gate> {
        Arc::new(Gate { arrived: watch::Sender::new(0), open: Semaphore::new(0) })
    }

    pub async fn pass(&self) {
        self.arrived.send_modify(|arrived| *arrived += 1);
        self.open.acquire().await.unwrap().forget();
    }

    /// Waits until so many have come, in all.
    pub async fn arrived(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        let reached = arrived.wait_for(|arrived| *arrived >= count);
        soon("someone at the gate", reached).await.unwrap();
    }

    pub fn count(&self) -> usize {
        *self.arrived.borrow()
    }

    pub fn open(&self) {
        self.open.add_permits(Semaphore::MAX_PERMITS >> 1);
    }

    pub fn let_pass(&self, count: usize) {
        self.open.add_permits(count);
    }
}

/// The handler's end of a body that comes in pieces. Dropped, the body ends; see also [`fail`](Self::fail).
pub struct Pipe(mpsc::UnboundedSender<Result<Frame<Bytes>, std::io::Error>>);

struct Pieces(mpsc::UnboundedReceiver<Result<Frame<Bytes>, std::io::Error>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(context)
    }
}

/// A body, and what feeds it.
pub fn pipe() -> (Pipe, Body) {
    let (pieces, body) = mpsc::unbounded_channel();
    (Pipe(pieces), Body::new(Pieces(body)))
}

impl Pipe {
    pub fn send(&self, data: impl Into<Bytes>) {
        self.0.send(Ok(Frame::data(data.into()))).expect("nobody reads this body any more");
    }

    pub fn send_trailer(&self, name: &'static str, value: &'static str) {
        let mut trailers = http::HeaderMap::new();
        trailers.insert(name, value.parse().unwrap());
        self.0.send(Ok(Frame::trailers(trailers))).expect("nobody reads this body any more");
    }

    pub fn fail(self) {
        self.0.send(Err(std::io::Error::other("broken off"))).unwrap();
    }

    /// Waits until nobody reads the body any more.
    pub async fn dropped(&self) {
        soon("a body that is let go", self.0.closed()).await;
    }
}

/// A connection whose client reads as far as it is told.
pub struct Wire {
    connection: TcpStream,
    came: Vec<u8>,
}

impl Wire {
    /// Sends a request, and reads nothing yet.
    pub async fn ask(
        address: SocketAddr,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Wire {
        let mut text =
            format!("{method} {path} HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n");
        for (name, value) in fields {
            text += &format!("{name}: {value}\r\n");
        }
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
        Wire { connection, came: Vec::new() }
    }

    pub async fn get(address: SocketAddr, path: &str) -> Wire {
        Wire::ask(address, "GET", path, &[]).await
    }

    /// Reads until `text` has come.
    pub async fn until(&mut self, text: &str) {
        let reading = async {
            while !self.has(text) {
                let read = self.connection.read_buf(&mut self.came).await.unwrap();
                assert!(read > 0, "the connection ended before {text:?} came");
            }
        };
        soon(text, reading).await;
    }

    pub fn has(&self, text: &str) -> bool {
        self.came.windows(text.len()).any(|part| part == text.as_bytes())
    }

    /// Reads what is still to come.
    pub async fn rest(mut self) -> Answer {
        // A connection that is cut off is a part of what some tests look at.
        let _ = soon("the end", self.connection.read_to_end(&mut self.came)).await;
        Answer::read(&self.came)
    }

    /// What came, as text.
    pub async fn raw_rest(mut self) -> String {
        let _ = soon("the end", self.connection.read_to_end(&mut self.came)).await;
        String::from_utf8_lossy(&self.came).into_owned()
    }

    pub fn hang_up(self) {
        drop(self);
    }
}

/// An embedded larder whose time is [`step`]ped.
pub async fn timed() -> Larder {
    Larder::builder("test").clock(Clock::of_runtime(1)).open().await.unwrap()
}

/// Lets so much time pass at once. Between two steps time runs as always, so that sockets are not in a hurry.
pub async fn step(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}
