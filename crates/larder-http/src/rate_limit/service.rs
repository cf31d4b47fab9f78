//! A request through the layer: who, may they, and then the handler or a refusal.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use larder::structures::{Verdict, WhenDown};
use tower_service::Service;

use super::answer::{self, LimitedBody, Why};
use super::{Shared, WithoutKey};

/// What [`RateLimitLayer`](super::RateLimitLayer) makes of a service.
#[derive(Clone)]
pub struct RateLimitService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> fmt::Debug for RateLimitService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitService").finish_non_exhaustive()
    }
}

impl<S> RateLimitService<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> RateLimitService<S> {
        RateLimitService { inner, shared }
    }
}

impl<S, B, R> Service<Request<B>> for RateLimitService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<LimitedBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was polled ready goes with the request; its clone stays.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let shared = self.shared.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            match shared.judge(&parts).await {
                Judged::Refused(why) => Ok(answer::refusal(&shared, &why)),
                Judged::Allowed(verdict) => {
                    let response = inner.call(Request::from_parts(parts, body)).await?;
                    let mut response = response.map(LimitedBody::passed);
                    if let Some(verdict) = verdict {
                        answer::tell(&shared, &verdict, response.headers_mut());
                    }
                    Ok(response)
                }
            }
        })
    }
}

enum Judged {
    /// With what there is to tell of it.
    Allowed(Option<Verdict>),
    Refused(Why),
}

impl Shared {
    async fn judge(&self, parts: &Parts) -> Judged {
        let cost = (self.cost)(parts);
        if cost == 0 {
            return Judged::Allowed(None);
        }
        let key = match (self.by.key(parts), self.without_key) {
            (Some(key), _) => key,
            (None, WithoutKey::Shared) => ("unknown", String::new()),
            (None, WithoutKey::Pass) => return Judged::Allowed(None),
            (None, WithoutKey::Refuse) => return Judged::Refused(Why::Unknown),
        };
        match self.limiter.check_n(&key, cost).await {
            Ok(verdict) if verdict.allowed => Judged::Allowed(Some(verdict)),
            Ok(verdict) => Judged::Refused(Why::Limited(verdict)),
            Err(why) => {
                tracing::warn!(%why, "a request could not be counted");
                match self.limiter.when_down() {
                    WhenDown::Closed => Judged::Refused(Why::Failed),
                    _ => Judged::Allowed(None),
                }
            }
        }
    }
}
