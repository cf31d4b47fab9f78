//! Every error a client sees: `application/problem+json`, RFC 9457.
//!
//! A [`Problem`] says what the client can do about it, and names the fields that stood in the way. What
//! only the operator can mend (the database's own words, an address) goes to the log, never into it.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The most characters of a path that are repeated in an answer.
const PATH_SHOWN_MAX: usize = 200;

/// What `type` is when fields are named in `errors`; everything else is told by its status alone.
const INVALID: &str = "urn:task-api:invalid-fields";

/// What went wrong, and what to do about it (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// `urn:task-api:invalid-fields` where `errors` names fields, else `about:blank`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// What the status is called.
    title: &'static str,
    /// The status of the answer.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16, minimum = 400, maximum = 599)]
    status: StatusCode,
    /// For people.
    detail: String,
    /// Each field that is wrong: of the body, the query or the path. Absent where it is no field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What is wrong with one field.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) detail: String,
}

impl Problem {
    /// `detail` is read by people who do not know this program.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// Names each field that is wrong.
    pub(crate) fn fields(status: StatusCode, errors: Vec<FieldError>) -> Problem {
        let named: Vec<String> =
            errors.iter().map(|wrong| format!("{}: {}", wrong.field, wrong.detail)).collect();
        Problem { kind: INVALID, errors, ..Problem::new(status, named.join("; ")) }
    }

    /// As [`fields`](Self::fields), for one.
    pub(crate) fn field(status: StatusCode, field: &str, detail: impl Into<String>) -> Problem {
        let error = FieldError { field: field.to_owned(), detail: detail.into() };
        Problem::fields(status, vec![error])
    }

    /// There is no such route.
    pub(crate) fn nothing_at(uri: &Uri) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", shown(uri)))
    }

    /// Nobody, or nobody we believe: what to send is in `WWW-Authenticate`.
    pub(crate) fn unauthorized(detail: impl Into<String>, challenge: &'static str) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, detail)
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// Too much to do just now: the same request will pass in a moment.
    pub(crate) fn busy(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// The client took too long to send its request. What it may still send is not waited for, so the
    /// connection ends with this answer.
    pub(crate) fn too_slow(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
            .with(header::CONNECTION, HeaderValue::from_static("close"))
    }

    /// Something of ours failed. The client learns only that; `why` is logged.
    pub(crate) fn internal(why: &dyn std::fmt::Display) -> Problem {
        tracing::error!(%why, "a request failed");
        let detail = "the service could not do this; the operator can find the reason in its log";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers);
        response
    }
}

/// A path as it is repeated to who sent it: not without end.
pub(crate) fn shown(uri: &Uri) -> String {
    uri.path().chars().take(PATH_SHOWN_MAX).collect()
}

fn as_number<S: serde::Serializer>(status: &StatusCode, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_u16(status.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(problem: &Problem) -> serde_json::Value {
        serde_json::to_value(problem).unwrap()
    }

    #[test]
    fn a_problem_has_the_members_of_rfc_9457() {
        let shown = shown(&Problem::new(StatusCode::NOT_FOUND, "no such task"));
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Not Found", "status": 404, "detail": "no such task",
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_wrong_field_is_named_for_programs_and_for_people() {
        let shown = shown(&Problem::field(StatusCode::BAD_REQUEST, "page", "must be 1 or more"));
        assert_eq!(shown["errors"][0]["field"], "page");
        assert_eq!(shown["detail"], "page: must be 1 or more");
        assert_eq!(shown["type"], INVALID);
    }

    #[test]
    fn what_failed_inside_is_not_told_outside() {
        let shown = shown(&Problem::internal(&"disk I/O error at block 17")).to_string();
        assert!(!shown.contains("17"), "{shown}");
    }

    #[test]
    fn a_problem_is_sent_as_problem_json_with_its_headers() {
        let response = Problem::unauthorized("no token", "Bearer").into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
}
