//! Answers made of what is stored (RFC 9111 §4, RFC 9110 §§13 and 14).
//!
//! The body is shared with all who are served it: nothing is copied. A 304 and a 416 have none, a 206 a
//! part, and an answer to `HEAD` only says how long it would be.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING,
};
use http::{Method, Response, StatusCode};

use crate::body::CachedBody;
use crate::status::Told;
use crate::stored::Stored;
use crate::validator::{self, Reply};

/// A question, as far as an answer from what is stored depends on it.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
}

/// `stored`, at this age, as the answer to `question`.
pub(crate) fn answer<B>(
    question: Question<'_>,
    stored: &Stored,
    age: Duration,
    told: Told,
) -> Response<CachedBody<B>> {
    let (method, asked) = (question.method, question.headers);
    let whole = &stored.body;
    let length = whole.len() as u64;
    let reply = validator::reply(
        method,
        asked,
        stored.status(),
        &stored.headers,
        length,
        stored.received(),
    );
    let (status, mut headers, body) = match reply {
        Reply::Whole if method == Method::HEAD => {
            let mut headers = stored.headers.clone();
            if !whole.is_empty() {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            (stored.status(), headers, Bytes::new())
        }
        Reply::Whole => (stored.status(), with_room(&stored.headers), whole.clone()),
        Reply::NotModified => {
            let headers = validator::not_modified_fields(&stored.headers);
            (StatusCode::NOT_MODIFIED, headers, Bytes::new())
        }
        Reply::Part { first, last, total } => {
            let mut headers = stored.headers.clone();
            let body = part(whole, first, last);
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len() as u64));
            says_range(&mut headers, &format!("bytes {first}-{last}/{total}"));
            (StatusCode::PARTIAL_CONTENT, headers, body)
        }
        Reply::Unsatisfiable { total } => {
            let mut headers = stored.headers.clone();
            headers.remove(CONTENT_TYPE);
            headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
            says_range(&mut headers, &format!("bytes */{total}"));
            (StatusCode::RANGE_NOT_SATISFIABLE, headers, Bytes::new())
        }
    };
    headers.remove(TRANSFER_ENCODING);
    headers.insert(AGE, HeaderValue::from(age.as_secs()));
    told.tell(&mut headers);
    let mut response = Response::new(CachedBody::whole(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The same fields, and room for ours: a copy that is exact would grow three times.
fn with_room(stored: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(stored.len() + 4);
    for (name, value) in stored {
        headers.append(name.clone(), value.clone());
    }
    headers
}

fn part(whole: &Bytes, first: u64, last: u64) -> Bytes {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(whole.len());
    let (from, to) = (place(first), place(last.saturating_add(1)));
    if from < to { whole.slice(from..to) } else { Bytes::new() }
}

fn says_range(headers: &mut HeaderMap, range: &str) {
    if let Ok(range) = HeaderValue::try_from(range) {
        headers.insert(CONTENT_RANGE, range);
    }
}

/// What is left of its freshness, or how long it has been stale.
pub(crate) fn left(stored: &Stored, age: Duration) -> Result<Duration, Duration> {
    let fresh = stored.terms.fresh();
    if age < fresh { Ok(fresh - age) } else { Err(age - fresh) }
}
