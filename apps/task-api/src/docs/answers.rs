//! What many answers share: their problems, and their headers.

use std::collections::BTreeMap;

use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, OpenApi, PathItem, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use crate::fields::BODY_BYTES_MAX;

type Answers = BTreeMap<String, RefOr<Response>>;

fn problem(description: impl Into<String>) -> ResponseBuilder {
    let content = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
    ResponseBuilder::new().description(description).content("application/problem+json", content)
}

fn header(kind: Type, description: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(kind).build();
    HeaderBuilder::new().schema(schema).description(Some(description)).build()
}

fn answers<const N: usize>(each: [(u16, ResponseBuilder); N]) -> Answers {
    let built =
        |(status, answer): (u16, ResponseBuilder)| (status.to_string(), answer.build().into());
    each.into_iter().map(built).collect()
}

/// Of a route that belongs to users.
pub(crate) struct OfAUser;

impl IntoResponses for OfAUser {
    fn responses() -> Answers {
        of_a_user(
            "The database does not answer, or has too much to do. Whether a write may have been done is in `detail`.",
        )
    }
}

/// Of a route that belongs to users, and tells what lives in Redis alone.
pub(crate) struct OfRedisAlone;

impl IntoResponses for OfRedisAlone {
    fn responses() -> Answers {
        of_a_user(
            "Redis, where this lives, does not answer or has too much to do. Tasks are not affected.",
        )
    }
}

fn of_a_user(busy: &str) -> Answers {
    let challenge = "What to send: `Bearer realm=\"task-api\"`; with `error=\"invalid_token\"` there was a token, and it is refused.";
    let unauthorized = problem("No token, or one that is refused: `detail` says why.")
        .header("WWW-Authenticate", header(Type::String, challenge));
    let failed = problem("Something of the service's own failed. Its log says what.");
    let wait = header(Type::Integer, "After how many seconds to try again.");
    let busy = problem(busy).header("Retry-After", wait);
    answers([(401, unauthorized), (500, failed), (503, busy)])
}

/// Of a request with a body: how it may be refused.
pub(crate) struct OfABody;

impl IntoResponses for OfABody {
    fn responses() -> Answers {
        let unreadable = "The body is no JSON object, or was cut off; or the path or the query is wrong. `errors` names which.";
        let slow = "The body did not come in the time there is for it, 30 s unless set otherwise. The connection is closed.";
        let kind =
            "The body is not said to be `application/json`, or anything that ends in `+json`.";
        let fields = "Fields of the body are missing, wrong or unknown: `errors` names each.";
        answers([
            (400, problem(unreadable)),
            (408, problem(slow).header("Connection", header(Type::String, "`close`"))),
            (413, problem(format!("The body takes more than {BODY_BYTES_MAX} bytes."))),
            (415, problem(kind)),
            (422, problem(fields)),
        ])
    }
}

/// Of a route that takes no parameters, or whose parameters may be wrong.
pub(crate) struct OfAQuery;

impl IntoResponses for OfAQuery {
    fn responses() -> Answers {
        answers([(
            400,
            problem(
                "Something in the path or the query is wrong, given twice or unknown: `errors` names each.",
            ),
        )])
    }
}

/// Of one task.
pub(crate) struct OfATask;

impl IntoResponses for OfATask {
    fn responses() -> Answers {
        answers([(404, problem("The user has no such task. Whether another has it is not told."))])
    }
}

/// Of what is read through the cache of responses, beside its whole.
pub(crate) struct OfAPart;

impl IntoResponses for OfAPart {
    fn responses() -> Answers {
        let answer = |description: &str| ResponseBuilder::new().description(description);
        let range = |description: &str| header(Type::String, description);
        answers([
            (
                206,
                answer("To `Range: bytes=..`: that part of a response that was kept.")
                    .header("Content-Range", range("Which bytes of how many.")),
            ),
            (304, answer("To `If-None-Match` with its `ETag`: nothing has changed.")),
            (
                416,
                answer("To `Range`: the response is shorter.")
                    .header("Content-Range", range("Of how many bytes.")),
            ),
        ])
    }
}

/// Names the headers of all answers of these paths that tell of the cache.
pub(crate) fn with_headers_of_the_cache(document: &mut OpenApi) {
    for path in document.paths.paths.values_mut() {
        let PathItem { get, post, patch, delete, .. } = path;
        for operation in [post, patch, delete].into_iter().flatten() {
            operation
                .responses
                .responses
                .values_mut()
                .for_each(|answer| extend(answer, &[X_CACHE]));
        }
        for (status, answer) in get.iter_mut().flat_map(|get| {
            // What answers conditions is what is kept.
            let is_kept = get.responses.responses.contains_key("304");
            let all = get.responses.responses.iter_mut();
            all.map(move |(status, answer)| (if is_kept { status.as_str() } else { "401" }, answer))
        }) {
            match status {
                "200" | "206" | "304" | "416" => extend(answer, &OF_READS),
                "404" => extend(answer, &OF_READS[..4]),
                // Who is not let in does not come as far as the cache.
                "401" => extend(answer, &OF_READS[..1]),
                _ => extend(answer, &OF_READS[..2]),
            }
        }
    }
}

/// Names 429, and the headers that tell how the limits stand. Harmless to repeat.
pub(crate) fn with_limits(document: &mut OpenApi) {
    let limits = [
        (
            "RateLimit-Policy",
            "How often one may ask, `q` times in `w` seconds: `\"user\";q=600;w=60`, or `\"address\"` without a token that is believed. The form is that of draft-ietf-httpapi-ratelimit-headers.",
        ),
        (
            "RateLimit",
            "How much of that is left, and in how many seconds all of it is there again: `\"user\";r=599;t=60`.",
        ),
    ];
    let limits = || limits.map(|(name, about)| (name.to_owned(), header(Type::String, about)));
    for path in document.paths.paths.values_mut() {
        let PathItem { get, post, patch, delete, .. } = path;
        for operation in [get, post, patch, delete].into_iter().flatten() {
            let content = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Limited"))));
            let wait = "After how many seconds the same may be asked again.";
            let limited = ResponseBuilder::new()
                .description("Asked too often in the last minute.")
                .content("application/problem+json", content)
                .header("Retry-After", header(Type::Integer, wait))
                .header("Cache-Control", header(Type::String, "`no-store`"));
            let all = &mut operation.responses.responses;
            all.insert("429".to_owned(), limited.build().into());
            for answer in all.values_mut() {
                if let RefOr::T(answer) = answer {
                    answer.headers.extend(limits());
                }
            }
        }
    }
    let components = document.components.get_or_insert_default();
    components.schemas.insert("Limited".to_owned(), Limited::schema());
}

/// What is asked too often: a problem of the rate limit's own type.
#[derive(ToSchema)]
#[allow(dead_code, reason = "written by the layer that refuses; its shape is for the document")]
struct Limited {
    #[schema(example = "https://iana.org/assignments/http-problem-types#quota-exceeded")]
    r#type: String,
    title: String,
    #[schema(minimum = 429, maximum = 429)]
    status: u16,
    /// Which limits refuse it.
    #[schema(rename = "violated-policies", example = json!(["user"]))]
    violated_policies: Vec<String>,
}

/// A header that tells of the cache.
type Telling = (&'static str, Type, &'static str);

const X_CACHE: Telling = (
    "X-Cache",
    Type::String,
    "`HIT`: out of the cache. `MISS`: the database was asked. `BYPASS`: a write, a refusal, or what does not tell of tasks (`/activity`, `/leaderboard`, `/me`).",
);
const OF_READS: [Telling; 5] = [
    X_CACHE,
    (
        "Cache-Status",
        Type::String,
        "RFC 9211, of the cache of responses: `larder; hit; ttl=29`, or why it was none. Absent while that cache is off.",
    ),
    (
        "Server-Timing",
        Type::String,
        "Where the data came from, and how long that took in milliseconds: `cache;desc=\"loaded\";dur=50.31, db;dur=50.12`. Absent where the whole response was kept.",
    ),
    (
        "Age",
        Type::Integer,
        "How many seconds ago the response was made. Absent where it was made for this request.",
    ),
    (
        "ETag",
        Type::String,
        "Names this very response: send it back in `If-None-Match`. Absent while that cache is off.",
    ),
];

fn extend(answer: &mut RefOr<Response>, by: &[Telling]) {
    let RefOr::T(answer) = answer else { return };
    for (name, kind, about) in by {
        answer.headers.insert((*name).to_owned(), header(kind.clone(), about));
    }
}
