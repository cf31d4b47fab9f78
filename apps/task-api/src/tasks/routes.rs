//! HTTP in, HTTP out.
//!
//! [`verified`] stands before each route: who is not known learns nothing, not even what was wrong with
//! the rest of the request. Everything a client can get wrong is a [`Problem`]. Every answer says in
//! `X-Cache` whether it came from the cache. Inside of `verified` and before the handlers that read stands the
//! cache of their [responses](super::responses); the handlers know nothing of it.

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::cached::Way;
use super::deeds::routes as deeds;
use super::input;
use super::input::PageQuery;
use super::model::{NewTask, Page, Task, TaskChange, TaskId};
use super::repository::RepositoryError;
use super::responses::Responses;
use crate::docs::answers::{self, OfABody, OfAPart, OfAQuery, OfATask, OfAUser};
use crate::fields::{Body, NoQuery, Query};
use crate::problem::Problem;
use crate::session::{Session, verified};
use crate::state::{App, ResponseCache};

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// All that belongs to users: `/tasks` and all below, and what is told of what they did.
pub(crate) fn routes(app: &App) -> OpenApiRouter<App> {
    let verified = from_fn_with_state(app.clone(), verified);
    let of_users =
        |routes: UtoipaMethodRouter<App>| routes.map(|to| to.route_layer(verified.clone()));
    let list = routes!(list).map(|list| kept(app, list, Responses::of_pages));
    let find = routes!(find).map(|find| kept(app, find, Responses::of_task));
    let mut routes = OpenApiRouter::new()
        .routes(of_users(list))
        .routes(of_users(routes!(create)))
        .routes(of_users(find))
        .routes(of_users(routes!(change, remove)))
        .routes(of_users(routes!(deeds::activity)))
        .routes(of_users(routes!(deeds::leaderboard)))
        .routes(of_users(routes!(deeds::me)))
        .layer(map_response(bypassed));
    answers::with_headers_of_the_cache(routes.get_openapi_mut());
    routes
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

/// A page of the user's tasks, newest first
#[utoipa::path(
    get, path = "/tasks", tag = "tasks", operation_id = "list_tasks", security(("token" = [])),
    params(PageQuery),
    responses((status = 200, description = "The page.", body = Page), OfAPart, OfAQuery, OfAUser)
)]
async fn list(
    State(app): State<App>,
    session: Session,
    Query(fields): Query,
) -> Result<Response, Problem> {
    let key = input::page_key(fields)?;
    let page = app.tasks.page(&session.user, key).await?;
    Ok((told(&page.way), Json(&*page.value)).into_response())
}

/// One of the user's tasks
#[utoipa::path(
    get, path = "/tasks/{id}", tag = "tasks", operation_id = "find_task", security(("token" = [])),
    params(("id" = TaskId, Path, description = "The task.")),
    responses(
        (status = 200, description = "The task.", body = Task),
        OfAPart, OfAQuery, OfATask, OfAUser
    )
)]
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

/// Makes a task
#[utoipa::path(
    post, path = "/tasks", tag = "tasks", operation_id = "create_task", security(("token" = [])),
    request_body = NewTask,
    responses(
        (
            status = 201, description = "The task, as it is now.", body = Task,
            headers(("Location" = String, description = "Its path."))
        ),
        OfABody, OfAUser
    )
)]
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

/// Changes the fields that are named
#[utoipa::path(
    patch, path = "/tasks/{id}", tag = "tasks", operation_id = "change_task",
    security(("token" = [])),
    params(("id" = TaskId, Path, description = "The task.")),
    request_body = TaskChange,
    responses((status = 200, description = "The task, as it is now.", body = Task), OfABody, OfATask, OfAUser)
)]
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

/// Deletes a task
#[utoipa::path(
    delete, path = "/tasks/{id}", tag = "tasks", operation_id = "delete_task",
    security(("token" = [])),
    params(("id" = TaskId, Path, description = "The task.")),
    responses((status = 204, description = "It is no more."), OfAQuery, OfATask, OfAUser)
)]
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
