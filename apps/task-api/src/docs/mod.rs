//! `/docs`: the API as a document (OpenAPI 3.1) and as a page to read and try it on.
//!
//! The document is made of the routes themselves: a route comes into the router together with what is said
//! of it (`routes!`), and there is no other list. So it is of this process: the demo's has the demo's route.
//! What a request may hold is said where it is read (`input.rs`), what an answer is beside its type, and what
//! many answers share in [`answers`]. `tests/docs.rs` holds the document against what is answered.
//!
//! The page is in the program: it asks no other host for anything, and is told not to.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_swagger_ui::Config;

use crate::problem::Problem;

pub(crate) mod answers;

/// Where the document is.
const DOCUMENT: &str = "/docs/openapi.json";
/// Where the page is, and where the files are that it is made of.
const PAGE: &str = "/docs/";
const FILES: &str = "/docs/{file}";

/// The page runs the scripts that came with it, and speaks to this process alone. Its styles are partly in the
/// markup, and its pictures in the styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const ABOUT: &str = "\
A user's tasks, read through a cache: answers that tell of them say in `X-Cache`, `Cache-Status` and \
`Server-Timing` where they came from. Those under `activity` have `X-Cache` alone, always `BYPASS`; a 429 has none.

**Who asks** is in a token: `Authorization: Bearer <JSON Web Token>`, signed with HS256, with the claims `sub` \
(the user: 1 to 128 bytes, no control characters) and `exp`. A user sees his own tasks alone: another's is as one \
that does not exist.

**What is refused** is `application/problem+json` (RFC 9457). Where fields were wrong, `errors` names each of them. \
An unknown path is 404, and another method than those below 405, with `Allow`. What can be read with `GET` can \
be asked for with `HEAD`.";

/// What stands before all paths.
#[derive(OpenApi)]
#[openapi(
    info(title = "task-api", description = ABOUT),
    modifiers(&Token),
    tags(
        (name = "tasks", description = "A user's tasks."),
        (name = "activity", description = "What users did. `/activity` and `/leaderboard` live in Redis alone: without Redis they are 503, and tasks are as ever."),
        (name = "process", description = "Whether the process lives, and can work."),
        (name = "demo", description = "Only with `--demo`."),
    )
)]
pub(crate) struct Api;

struct Token;

impl utoipa::Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("HS256, with the claims `sub` and `exp`."))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The document and its page. They are not in the document.
///
/// # Errors
/// When the document cannot be written as JSON.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(
    document: &utoipa::openapi::OpenApi,
) -> Result<Router<S>, serde_json::Error> {
    let json = Arc::<str>::from(document.to_json()?);
    let shown = Config::from(DOCUMENT)
        .try_it_out_enabled(true)
        .display_request_duration(true)
        // The validator is somebody else's, and would be sent the document.
        .validator_url("none");
    let shown = Arc::new(shown);
    let document = move || {
        let json = json.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], json.to_string()) }
    };
    let index = {
        let shown = shown.clone();
        move |uri: Uri| async move { file("index.html", &uri, shown) }
    };
    let files = move |Path(name): Path<String>, uri: Uri| async move { file(&name, &uri, shown) };
    Ok(Router::new()
        .route(DOCUMENT, get(document))
        .route("/docs", get(|| async { Redirect::permanent(PAGE) }))
        .route(PAGE, get(index))
        .route(FILES, get(files)))
}

/// A file of the page.
fn file(name: &str, uri: &Uri, shown: Arc<Config<'static>>) -> Result<Response, Problem> {
    let found = utoipa_swagger_ui::serve(name, shown).map_err(|why| Problem::internal(&why))?;
    let found = found.ok_or_else(|| Problem::nothing_at(uri))?;
    let kind = HeaderValue::try_from(&found.content_type);
    let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, found.bytes.into_owned()).into_response())
}
