//! The router.
//!
//! Whatever comes in is answered as JSON: an unknown route, a wrong method and a body without end
//! are [`Problem`]s like any other.

use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::body_wait;
use crate::demo;
use crate::fields::BODY_BYTES_MAX;
use crate::problem::Problem;
use crate::state::{App, Far};
use crate::tasks;

/// How long the database may take to show that it lives.
const PING_WAIT: Duration = Duration::from_secs(1);

/// The most characters of a path that are repeated in an answer.
const PATH_SHOWN_MAX: usize = 200;

pub(crate) fn router(app: App) -> Router {
    let mut api = tasks::routes(&app);
    if app.demo {
        api = api.merge(demo::routes());
    }
    Router::new()
        .nest("/api/v1", api)
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(app.body_wait, body_wait::limited))
        .layer(from_fn(logged))
        .with_state(app)
}

/// The process lives. Asks nobody: a database that is down is no reason to start it anew.
async fn alive() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "alive" }))
}

#[derive(Serialize)]
struct Ready {
    /// `degraded`: it works, and every read asks the database.
    status: &'static str,
    database: &'static str,
    cache: CacheState,
}

#[derive(Serialize)]
struct CacheState {
    far: Far,
    connected: bool,
    /// Invalidations that wait for confirmation now, of commits that were answered.
    unconfirmed: u64,
}

/// The process can do its work: its database answers.
async fn ready(State(app): State<App>) -> Result<Json<Ready>, Problem> {
    match tokio::time::timeout(PING_WAIT, app.tasks.ping()).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            tracing::warn!(%why, "not ready");
            return Err(Problem::busy("the database does not answer"));
        }
        Err(_) => return Err(Problem::busy("the database does not answer in time")),
    }
    let connected = app.tasks.is_far_up();
    let status = if connected { "ready" } else { "degraded" };
    let cache =
        CacheState { far: app.far, connected, unconfirmed: app.tasks.unconfirmed_waiting() };
    Ok(Json(Ready { status, database: "connected", cache }))
}

async fn unknown_route(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", shown(&uri)))
}

/// Which methods there are is in the `Allow` header, which axum adds.
async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}: see the Allow header", shown(&uri));
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// A path as it is repeated to who sent it: not without end.
fn shown(uri: &Uri) -> String {
    uri.path().chars().take(PATH_SHOWN_MAX).collect()
}

/// One line for each request. No header and no query goes into it: they may hold secrets.
async fn logged(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let began = Instant::now();
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), began.elapsed());
    tracing::debug!(%method, path, status, ?took, "answered");
    response
}
