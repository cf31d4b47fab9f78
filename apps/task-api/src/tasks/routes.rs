//! HTTP in, HTTP out.
//!
//! [`verified`] stands before each route: who is not known learns nothing, not even what was wrong with
//! the rest of the request. Everything a client can get wrong is a [`Problem`]. Every answer says in
//! `X-Cache` whether it came from the cache. Inside of `verified` and before the handlers that read stands the
//! cache of their [responses](super::responses); the handlers know nothing of it.

use axum::Json;
use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use super::cached::Way;
use super::input;
use super::model::TaskId;
use super::repository::RepositoryError;
use super::responses::Responses;
use crate::fields::{Body, NoQuery, Query};
use crate::problem::Problem;
use crate::session::{Session, verified};
use crate::state::{App, ResponseCache};

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// `/tasks` and all below.
pub(crate) fn routes(app: &App) -> Router<App> {
    let verified = from_fn_with_state(app.clone(), verified);
    let (list, find) =
        (kept(app, get(list), Responses::of_pages), kept(app, get(find), Responses::of_task));
    Router::new()
        .route("/tasks", list.post(create).route_layer(verified.clone()))
        .route("/tasks/{id}", find.patch(change).delete(remove).route_layer(verified))
        .layer(map_response(bypassed))
}

/// A route that reads, behind the cache of its responses unless that is turned off.
fn kept(
    app: &App,
    route: MethodRouter<App>,
    by: fn(&Responses, MethodRouter<App>) -> MethodRouter<App>,
) -> MethodRouter<App> {
    match app.response_cache {
        // The handler's word first: of what it refuses to look for, the cache of responses would say MISS.
        ResponseCache::On => by(app.tasks.responses(), route.route_layer(map_response(bypassed))),
        ResponseCache::Off => route,
    }
}

async fn list(
    State(app): State<App>,
    session: Session,
    Query(fields): Query,
) -> Result<Response, Problem> {
    let key = input::page_key(fields)?;
    let page = app.tasks.page(&session.user, key).await?;
    Ok((told(&page.way), Json(&*page.value)).into_response())
}

async fn find(
    State(app): State<App>,
    session: Session,
    Id(id): Id,
    _: NoQuery,
) -> Result<Response, Problem> {
    let task = app.tasks.find(&session.user, id).await?;
    let way = told(&task.way);
    Ok(match task.value {
        Some(task) => (way, Json(&*task)).into_response(),
        None => (way, no_such_task(id)).into_response(),
    })
}

async fn create(
    State(app): State<App>,
    session: Session,
    _: NoQuery,
    Body(fields): Body,
) -> Result<Response, Problem> {
    let new = input::new_task(fields)?;
    let task = app.tasks.create(&session.user, new).await?;
    let location = [(header::LOCATION, format!("/api/v1/tasks/{}", task.id))];
    Ok((StatusCode::CREATED, location, Json(task)).into_response())
}

async fn change(
    State(app): State<App>,
    session: Session,
    Id(id): Id,
    _: NoQuery,
    Body(fields): Body,
) -> Result<Response, Problem> {
    let change = input::task_change(fields)?;
    let task = app.tasks.update(&session.user, id, change).await?;
    task.map(|task| Json(task).into_response()).ok_or_else(|| no_such_task(id))
}

async fn remove(
    State(app): State<App>,
    session: Session,
    Id(id): Id,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    let was_there = app.tasks.delete(&session.user, id).await?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(no_such_task(id)) }
}

/// The same whether nobody has it or somebody else: who may not see a task learns nothing of it.
fn no_such_task(id: TaskId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("you have no task {id}"))
}

impl From<RepositoryError> for Problem {
    fn from(why: RepositoryError) -> Problem {
        match why {
            RepositoryError::Busy => Problem::busy("too much to do just now: try again"),
            RepositoryError::Closed => Problem::busy("the service is stopping: try again"),
            RepositoryError::Away(why) => {
                tracing::error!(%why, "the database is away");
                Problem::busy("the database does not answer: try again; a write may have been done")
            }
            RepositoryError::Failed(why) => Problem::internal(&why),
        }
    }
}

/// The id in the path.
struct Id(TaskId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Id, Problem> {
        // What is not UTF-8 is no id either.
        let sent = Path::<String>::from_request_parts(parts, state).await;
        let sent = sent.map(|Path(sent)| sent).unwrap_or_default();
        input::task_id(&sent).map(Id)
    }
}

/// Where an answer came from, as headers.
fn told(way: &Way) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(X_CACHE, HeaderValue::from_static(way.x_cache()));
    if let Ok(timing) = HeaderValue::try_from(way.server_timing()) {
        headers.insert(SERVER_TIMING, timing);
    }
    headers
}

/// What did not come through the cache says so.
async fn bypassed(mut response: Response) -> Response {
    response.headers_mut().entry(X_CACHE).or_insert(HeaderValue::from_static("BYPASS"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_database_asks_for_another_try() {
        let away = RepositoryError::Away("connection refused".into());
        for why in [RepositoryError::Busy, RepositoryError::Closed, away] {
            let response = Problem::from(why).into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        }
        let failed = Problem::from(RepositoryError::Failed("disk".into())).into_response();
        assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
