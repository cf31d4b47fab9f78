//! What a client sent, taken apart field by field.
//!
//! [`Fields`] collects every mistake before it answers, so that a client mends them all at once, and
//! each is named. A field nobody asked for is a mistake too: a misspelt `titel` must not be lost
//! in silence. A JSON body comes in as [`Body`], a query as [`Query`].

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use crate::body_wait;
use crate::problem::{FieldError, Problem};

/// The most a body may take, in bytes: the longest task, every character of it escaped.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 10;
/// The most mistakes that are named in one answer.
const NAMED_MAX: usize = 16;
/// The most characters of a field's own name that are repeated in an answer.
const NAME_SHOWN_MAX: usize = 64;

/// Named values, taken out one by one; what was wrong is kept until [`finish`](Self::finish).
pub(crate) struct Fields {
    status: StatusCode,
    sent: Map<String, Value>,
    wrong: Vec<FieldError>,
}

impl Fields {
    fn of_json(body: &[u8]) -> Result<Fields, Problem> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(sent)) => {
                Ok(Fields { status: StatusCode::UNPROCESSABLE_ENTITY, sent, wrong: Vec::new() })
            }
            Ok(_) => Err(Problem::field(StatusCode::BAD_REQUEST, "body", "must be a JSON object")),
            Err(why) => {
                let (line, column) = (why.line(), why.column());
                let detail = format!("is not JSON: look at line {line}, column {column}");
                Err(Problem::field(StatusCode::BAD_REQUEST, "body", detail))
            }
        }
    }

    fn of_pairs(pairs: Vec<(String, String)>) -> Fields {
        let mut fields =
            Fields { status: StatusCode::BAD_REQUEST, sent: Map::new(), wrong: Vec::new() };
        for (name, value) in pairs {
            if fields.sent.contains_key(&name) {
                fields.refuse(&name, "is given twice");
            } else {
                fields.sent.insert(name, Value::String(value));
            }
        }
        fields
    }

    /// The field's value as `read` understands it. None: it was not sent, or it was refused.
    pub(crate) fn take<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Result<T, String>,
    ) -> Option<T> {
        match read(self.sent.remove(name)?) {
            Ok(value) => Some(value),
            Err(detail) => {
                self.refuse(name, detail);
                None
            }
        }
    }

    /// As [`take`](Self::take), for a field that must be there.
    pub(crate) fn require<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Result<T, String>,
    ) -> Option<T> {
        if !self.sent.contains_key(name) {
            self.refuse(name, "is missing");
        }
        self.take(name, read)
    }

    /// Notes a mistake, if there are not too many already.
    fn refuse(&mut self, name: &str, detail: impl Into<String>) {
        if self.wrong.len() >= NAMED_MAX {
            return;
        }
        let field = name.chars().take(NAME_SHOWN_MAX).collect();
        self.wrong.push(FieldError { field, detail: detail.into() });
    }

    /// Says whether all was well. What is left over was not known.
    ///
    /// # Errors
    /// A [`Problem`] that names each field that was refused.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let unknown = std::mem::take(&mut self.sent);
        unknown.keys().for_each(|name| self.refuse(name, "is not known here"));
        if self.wrong.is_empty() {
            return Ok(());
        }
        Err(Problem::fields(self.status, self.wrong))
    }
}

/// A JSON object from the request's body.
pub(crate) struct Body(pub(crate) Fields);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Body, Problem> {
        if !is_json(request.headers()) {
            let detail = "must be application/json, and the body JSON";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Problem::field(status, "content-type", detail));
        }
        let body = Bytes::from_request(request, state).await.map_err(|why| match why.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let detail = format!("may take at most {BODY_BYTES_MAX} bytes");
                Problem::field(StatusCode::PAYLOAD_TOO_LARGE, "body", detail)
            }
            _ if body_wait::is_over(&why) => Problem::too_slow("the body did not come in time"),
            _ => Problem::field(StatusCode::BAD_REQUEST, "body", "was cut off"),
        })?;
        Fields::of_json(&body).map(Body)
    }
}

/// `application/json`, or anything that ends in `+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = sent.and_then(|sent| sent.split(';').next()).unwrap_or_default();
    let media = media.trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

/// The parameters behind the `?`.
pub(crate) struct Query(pub(crate) Fields);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query, Problem> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(pairs)) => Ok(Query(Fields::of_pairs(pairs))),
            Err(_) => Err(Problem::field(StatusCode::BAD_REQUEST, "query", "cannot be read")),
        }
    }
}

/// A route that takes no parameters: any is a mistake, and named.
pub(crate) struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<NoQuery, Problem> {
        let Query(fields) = Query::from_request_parts(parts, state).await?;
        fields.finish().map(|()| NoQuery)
    }
}

/// Text as it was sent.
pub(crate) fn text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err("must be text".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(problem: &Problem) -> Vec<String> {
        let shown = serde_json::to_value(problem).unwrap();
        let errors = shown["errors"].as_array().unwrap();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let mut fields = Fields::of_json(br#"{"title": 7, "titel": "x"}"#).unwrap();
        assert_eq!(fields.require("title", text), None);
        assert_eq!(fields.require("due", text), None);
        assert_eq!(named(&fields.finish().unwrap_err()), ["title", "due", "titel"]);
    }

    #[test]
    fn what_is_no_json_object_is_refused_with_its_place() {
        let refused = |body: &[u8]| Fields::of_json(body).err().unwrap();
        assert_eq!(named(&refused(b"{\"title\": }")), ["body"]);
        assert_eq!(named(&refused(b"[]")), ["body"]);
        assert_eq!(named(&refused(b"")), ["body"]);
        let deep = "[".repeat(100_000);
        assert_eq!(named(&refused(deep.as_bytes())), ["body"]);
    }

    #[test]
    fn a_parameter_given_twice_is_refused() {
        let pair = |value: &str| ("page".to_owned(), value.to_owned());
        let mut fields = Fields::of_pairs(vec![pair("1"), pair("2")]);
        assert_eq!(fields.take("page", text).as_deref(), Some("1"));
        assert_eq!(named(&fields.finish().unwrap_err()), ["page"]);
    }

    #[test]
    fn an_answer_repeats_only_a_part_of_what_was_sent() {
        let body = format!("{{\"{}\": 1}}", "x".repeat(10_000));
        let problem = Fields::of_json(body.as_bytes()).unwrap().finish().unwrap_err();
        assert_eq!(named(&problem), ["x".repeat(NAME_SHOWN_MAX)]);
        let pairs = (0..1000).map(|nth| (format!("x{}", nth % 500), String::new())).collect();
        assert_eq!(named(&Fields::of_pairs(pairs).finish().unwrap_err()).len(), NAMED_MAX);
    }

    #[test]
    fn json_has_several_names() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            is_json(&headers)
        };
        assert!(of("application/json") && of("Application/JSON; charset=utf-8"));
        assert!(of("application/merge-patch+json"));
        assert!(!of("text/plain") && !of("application/x-www-form-urlencoded"));
    }
}
