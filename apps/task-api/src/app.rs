//! The router.
//!
//! Whatever comes in is answered as JSON: an unknown route, a wrong method and a body without end
//! are [`Problem`]s like any other.

use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::{Json, Router};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body_wait;
use crate::demo;
use crate::docs::{self, answers};
use crate::fields::BODY_BYTES_MAX;
use crate::problem::{Problem, shown};
use crate::session::identified;
use crate::state::{App, Far};
use crate::tasks;

/// How long the database may take to show that it lives.
const PING_WAIT: Duration = Duration::from_secs(1);

/// # Errors
/// When the routes' own document cannot be written.
pub(crate) fn router(app: App) -> Result<Router, serde_json::Error> {
    let (routes, document) = routes(&app).split_for_parts();
    let router = routes
        .merge(docs::routes(&document)?)
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(app.body_wait, body_wait::limited))
        .layer(from_fn(logged))
        .with_state(app);
    Ok(router)
}

/// All that the document tells of.
fn routes(app: &App) -> OpenApiRouter<App> {
    let mut api = tasks::routes(app);
    if app.demo {
        api = api.merge(demo::routes());
    }
    // Of these layers the last runs first: who asks, then how often.
    if let Some(user) = &app.limits.user {
        answers::with_limits(api.get_openapi_mut());
        api = api.layer(user.clone());
    }
    if let Some(address) = &app.limits.address {
        answers::with_limits(api.get_openapi_mut());
        api = api.layer(address.clone());
    }
    let api = api.layer(from_fn_with_state(app.clone(), identified));
    OpenApiRouter::with_openapi(docs::Api::openapi())
        .nest("/api/v1", api)
        .routes(routes!(alive))
        .routes(routes!(ready))
}

#[derive(Serialize, ToSchema)]
struct Alive {
    #[schema(example = "alive")]
    status: &'static str,
}

/// The process lives
///
/// Asks nobody: a database that is down is no reason to start it anew.
#[utoipa::path(
    get, path = "/healthz", tag = "process", operation_id = "is_alive",
    responses((status = 200, description = "It lives.", body = Alive))
)]
async fn alive() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

#[derive(Serialize, ToSchema)]
struct Ready {
    /// `ready`, or `degraded`: it works, and every read asks the database.
    #[schema(example = "ready")]
    status: &'static str,
    #[schema(example = "connected")]
    database: &'static str,
    cache: CacheState,
}

/// The cache, as this process sees it.
#[derive(Serialize, ToSchema)]
struct CacheState {
    far: Far,
    /// Whether what the processes share is connected.
    connected: bool,
    /// Invalidations that wait for confirmation now, of commits that were answered.
    unconfirmed: u64,
}

/// The process can do its work
///
/// Its database answers. Without Redis it is `degraded`, and ready all the same.
#[utoipa::path(
    get, path = "/readyz", tag = "process", operation_id = "is_ready",
    responses(
        (status = 200, description = "It can.", body = Ready),
        (
            status = 503, description = "The database does not answer.",
            body = Problem, content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "After how many seconds to try again."))
        ),
    )
)]
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
    Problem::nothing_at(&uri)
}

/// Which methods there are is in the `Allow` header, which axum adds.
async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}: see the Allow header", shown(&uri));
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use larder::Larder;

    use super::*;
    use crate::limits::{Limits, Quotas};
    use crate::session::Sessions;
    use crate::settings::Secret;
    use crate::state::ResponseCache;
    use crate::tasks::{CachedTasks, Place, Sqlite};

    async fn app(demo: bool) -> App {
        let source = Arc::new(Sqlite::open(Place::Memory).await.unwrap());
        let larder = Larder::builder("test").open().await.unwrap();
        let quotas = Quotas { user: 5, address: 5, trusted: Vec::new() };
        App {
            limits: Limits::open(&larder, &quotas).unwrap(),
            sessions: Arc::new(Sessions::new(&Secret::new(&"x".repeat(32)).unwrap())),
            tasks: CachedTasks::open(source, larder).await.unwrap(),
            response_cache: ResponseCache::On,
            far: Far::Embedded,
            body_wait: PING_WAIT,
            demo,
        }
    }

    /// The paths that a router knows. It tells them to nobody but who debugs it.
    fn paths(router: &Router) -> BTreeSet<String> {
        let told = format!("{router:?}");
        // Among much else: `RouteId(1): "/tasks/{id}"`. What answers at no route is told of as `/` and below.
        let named = told.split("RouteId(").filter_map(|route| {
            let (_, path) = route.split_once("): \"")?;
            path.split('"').next().map(str::to_owned)
        });
        named.filter(|path| path != "/" && !path.contains("__private")).collect()
    }

    /// A route that were added beside `routes!` would be in nobody's document.
    #[tokio::test]
    async fn each_route_is_in_the_document_and_nothing_else_is() {
        for demo in [false, true] {
            let app = app(demo).await;
            let (_, document) = routes(&app).split_for_parts();
            let told: BTreeSet<String> = document.paths.paths.keys().cloned().collect();
            let mut known = paths(&router(app).unwrap());
            for its_own in ["/docs", "/docs/", "/docs/{file}", "/docs/openapi.json"] {
                assert!(known.remove(its_own), "{its_own}");
            }
            assert_eq!(told, known);
            assert!(told.len() >= 7 && told.contains("/api/v1/auth/token") == demo);
        }
    }
}
