//! What is told: the fields on every answer, and a refusal.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use larder::structures::{Judge, Limit, LimitStanding, Verdict, Wait};
use pin_project_lite::pin_project;

use super::{Refusal, Shared};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

const PROBLEMS: &str = "https://iana.org/assignments/http-problem-types#";

/// Why a request is refused.
pub(super) enum Why {
    Limited(Verdict),
    /// Nobody knows who asks.
    Unknown,
    /// It could not be counted, and what is not counted is not allowed.
    Failed,
}

/// `"default";q=100;w=60`, for each. What is shorter than a second is no window the field can tell.
pub(super) fn policies(names: &[String], limits: &[Limit]) -> String {
    let policy = |(name, limit): (&String, &Limit)| {
        let window = limit.window();
        let told = format!("\"{name}\";q={}", limit.quota());
        match window >= Duration::from_secs(1) {
            true => format!("{told};w={}", seconds(window)),
            false => told,
        }
    };
    names.iter().zip(limits).map(policy).collect::<Vec<_>>().join(", ")
}

/// How the limits stand, onto an answer. Beside what an inner layer told of limits of its own.
pub(super) fn tell(shared: &Shared, verdict: &Verdict, headers: &mut HeaderMap) {
    if verdict.judge == Judge::Nobody {
        return;
    }
    headers.append(RATE_LIMIT_POLICY, shared.policies.clone());
    let standing = |(name, one): (&String, &LimitStanding)| {
        // `t` is the time in which no more than `r` is to be had: until more is, for who was refused, in which
        // Retry-After agrees; and until all is, for the others, who do not press by it.
        let time = match one.wait {
            Wait::For(time) if !verdict.allowed => time,
            _ => one.reset_after,
        };
        format!("\"{name}\";r={};t={}", one.remaining, seconds(time))
    };
    let each = shared.names.iter().zip(&verdict.standings).map(standing);
    let each: Vec<String> = each.collect();
    if let Ok(value) = HeaderValue::from_str(&each.join(", ")) {
        headers.append(RATE_LIMIT, value);
    }
}

pub(super) fn refusal<R>(shared: &Shared, why: &Why) -> Response<LimitedBody<R>> {
    let (status, problem, title) = match why {
        Why::Limited(verdict) if verdict.judge != Judge::Nobody => (
            StatusCode::TOO_MANY_REQUESTS,
            Some("quota-exceeded"),
            "Request cannot be satisfied as assigned quota has been exceeded",
        ),
        Why::Limited(_) | Why::Failed => (
            StatusCode::SERVICE_UNAVAILABLE,
            Some("temporary-reduced-capacity"),
            "Request cannot be satisfied due to temporary server capacity constraints",
        ),
        Why::Unknown => (StatusCode::FORBIDDEN, None, "Request does not say who asks"),
    };
    let (kind, body) = match shared.refusal {
        Refusal::Text => ("text/plain; charset=utf-8", format!("{title}\n")),
        Refusal::Problem => {
            let kind = problem.map_or("about:blank".to_owned(), |name| format!("{PROBLEMS}{name}"));
            // Names have neither quotes nor backslashes.
            let violated = match why {
                Why::Limited(verdict) => violated(shared, verdict),
                _ => Vec::new(),
            };
            let violated = match violated.is_empty() {
                true => String::new(),
                false => format!(",\"violated-policies\":[{}]", violated.join(",")),
            };
            let status = status.as_u16();
            let body = format!(
                "{{\"type\":\"{kind}\",\"title\":\"{title}\",\"status\":{status}{violated}}}"
            );
            ("application/problem+json", body)
        }
    };
    let mut response = Response::new(LimitedBody::own(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // A 429 must not be stored (RFC 6585); nor is the rest anybody else's.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match why {
        Why::Limited(verdict) => {
            if let Some(time) = verdict.retry_after {
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds(time).max(1)));
            }
            tell(shared, verdict, headers);
        }
        Why::Failed => drop(headers.insert(RETRY_AFTER, HeaderValue::from(1))),
        Why::Unknown => {}
    }
    response
}

/// The policies that refused, in quotes.
fn violated(shared: &Shared, verdict: &Verdict) -> Vec<String> {
    let all = shared.names.iter().zip(&verdict.standings);
    let refused = all.filter(|(_, one)| one.wait != Wait::Not && verdict.judge != Judge::Nobody);
    refused.map(|(name, _)| format!("\"{name}\"")).collect()
}

/// Whole seconds, rounded up: who waits as long is never early.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

pin_project! {
    /// The body of an answer that went through [`RateLimitLayer`](crate::RateLimitLayer): the handler's, or a
    /// refusal's.
    #[derive(Debug)]
    pub struct LimitedBody<R> {
        #[pin]
        kind: Kind<R>,
    }
}

pin_project! {
    #[project = KindProjected]
    #[derive(Debug)]
    enum Kind<R> {
        Passed { #[pin] body: R },
        Own { bytes: Option<Bytes> },
    }
}

impl<R> LimitedBody<R> {
    pub(super) fn passed(body: R) -> LimitedBody<R> {
        LimitedBody { kind: Kind::Passed { body } }
    }

    fn own(text: String) -> LimitedBody<R> {
        LimitedBody { kind: Kind::Own { bytes: Some(text.into()) } }
    }
}

impl<R: Body<Data = Bytes>> Body for LimitedBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        match self.project().kind.project() {
            KindProjected::Passed { body } => body.poll_frame(context),
            KindProjected::Own { bytes } => Poll::Ready(bytes.take().map(Frame::data).map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Passed { body } => body.is_end_stream(),
            Kind::Own { bytes } => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Passed { body } => body.size_hint(),
            Kind::Own { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}
