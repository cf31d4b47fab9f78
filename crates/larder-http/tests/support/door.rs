//! An app whose door tells who came in, and whose answer is still being read.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a scene that cannot be set has failed"
)]
#![allow(unreachable_pub, reason = "it is a module of each test file, and none of them has a door")]

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use larder::Larder;
use larder_http::{Audience, CacheLayer, CacheLayerBuilder};
use tokio::sync::watch;

use super::support::{App, Calls, soon};

#[derive(Clone)]
pub struct Door {
    entered: Arc<watch::Sender<usize>>,
    inside: Arc<watch::Sender<usize>>,
}

impl Door {
    /// Waits until so many requests have come in, in all.
    pub async fn entered(&self, count: usize) {
        let mut entered = self.entered.subscribe();
        let reached = entered.wait_for(|entered| *entered >= count);
        soon("someone at the door", reached).await.unwrap();
    }

    /// Waits until nobody is inside: all answers were read or given up.
    pub async fn empty(&self) {
        let mut inside = self.inside.subscribe();
        let reached = inside.wait_for(|inside| *inside == 0);
        soon("the last one to leave", reached).await.unwrap();
    }

    fn enter(&self) -> Inside {
        self.inside.send_modify(|inside| *inside += 1);
        self.entered.send_modify(|entered| *entered += 1);
        Inside(self.inside.clone())
    }
}

struct Inside(Arc<watch::Sender<usize>>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.send_modify(|inside| *inside -= 1);
    }
}

struct Read<B> {
    body: Pin<Box<B>>,
    _inside: Inside,
}

impl<B: http_body::Body> http_body::Body for Read<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        self.body.as_mut().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// As [`App::of`], with a door.
pub async fn app_with_door<H, F>(
    larder: Larder,
    settings: impl FnOnce(CacheLayerBuilder) -> CacheLayerBuilder,
    audience: Audience,
    handler: H,
) -> (App, Door)
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let door =
        Door { entered: Arc::new(watch::Sender::new(0)), inside: Arc::new(watch::Sender::new(0)) };
    let cache = settings(CacheLayer::new(&larder)).audience(audience).unwrap();
    let handled = tower::service_fn(move |request: Request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let cached = tower::Layer::layer(&cache, handled);
    let at_the_door = door.clone();
    let service = tower::service_fn(move |request: Request| {
        let (cached, inside) = (cached.clone(), at_the_door.enter());
        async move {
            let response = tower::ServiceExt::oneshot(cached, request).await?;
            let read = |body| Body::new(Read { body: Box::pin(body), _inside: inside });
            Ok::<_, Infallible>(response.map(read))
        }
    });
    (App::serve(larder, cache, Calls::default(), service).await, door)
}
