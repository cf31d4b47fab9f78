//! A client that trickles its body is not waited for without end.
//!
//! The time is that of the whole body, not of a pause in it: one byte every second would keep a
//! request, and whatever its handler holds, for as long as the longest body has bytes.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;

/// For a layer: gives each request's body so long, from when its handler first asks for it.
pub(crate) async fn limited(
    State(wait): State<Duration>,
    request: Request,
    next: Next,
) -> Response {
    next.run(request.map(|sent| Body::new(Limited { sent, wait, end: None }))).await
}

/// Whether reading a body failed because its time was over.
pub(crate) fn is_over(why: &(dyn Error + 'static)) -> bool {
    why.is::<Over>() || why.source().is_some_and(is_over)
}

struct Limited {
    sent: Body,
    wait: Duration,
    /// None until the body is asked for.
    end: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Limited { sent, wait, end } = &mut *self;
        if let Poll::Ready(frame) = Pin::new(sent).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let end = end.get_or_insert_with(|| Box::pin(tokio::time::sleep(*wait)));
        ready!(end.as_mut().poll(cx));
        Poll::Ready(Some(Err(axum::Error::new(Over))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.sent.size_hint()
    }
}

#[derive(Debug)]
struct Over;

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body did not come in time")
    }
}

impl Error for Over {}
