//! `--demo`: two users with tasks, tokens to be had, and three lines to try.
//!
//! Anyone who can reach a demo can read and write all there is in it: the password is in this file.
//! Nothing here is reachable without `--demo`.

use std::io::{self, Write};
use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Span, Timestamp, tz::TimeZone};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::{NoContext, Uuid};

use crate::docs::answers::OfABody;
use crate::fields::{Body, text};
use crate::problem::Problem;
use crate::session::Sessions;
use crate::state::App;
use crate::tasks::{Status, Task, TaskId, UserId};

const USERS: [&str; 2] = ["ada", "grace"];
const PASSWORD: &str = "demo";
const TASKS_EACH: i64 = 300;

/// How long a token from the route lasts, and one that is printed at the start.
const TOKEN_SECS: u64 = 60 * 60;
const PRINTED_TOKEN_SECS: u64 = 24 * 60 * 60;

const CHALLENGE: &str = r#"Bearer realm="task-api""#;

/// `/auth/token`.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(token))
}

/// Who a user of the demo says he is.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read field by field; its shape is for the document")]
struct Login {
    #[schema(example = "ada")]
    user: String,
    #[schema(example = "demo")]
    password: String,
}

/// A token, in the words of RFC 6749.
#[derive(Serialize, ToSchema)]
struct Given {
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// In so many seconds.
    #[schema(example = 3600)]
    expires_in: u64,
}

/// A token for a user of the demo
#[utoipa::path(
    post, path = "/auth/token", tag = "demo", operation_id = "give_token",
    request_body = Login,
    responses(
        (
            status = 200, description = "The token.", body = Given,
            headers(("Cache-Control" = String, description = "`no-store`"))
        ),
        (
            status = 401, description = "No such user, or a wrong password.",
            body = Problem, content_type = "application/problem+json",
            headers(("WWW-Authenticate" = String, description = "`Bearer realm=\"task-api\"`"))
        ),
        (
            status = 500, description = "The token cannot be signed.",
            body = Problem, content_type = "application/problem+json"
        ),
        OfABody
    )
)]

async fn token(State(app): State<App>, Body(mut fields): Body) -> Result<Response, Problem> {
    let name = fields.require("user", text);
    let password = fields.require("password", text);
    fields.finish()?;
    let known = USERS.into_iter().find(|user| name.as_deref() == Some(*user));
    let user = known.filter(|_| password.as_deref() == Some(PASSWORD)).and_then(UserId::new);
    let Some(user) = user else {
        return Err(Problem::unauthorized("no such user, or a wrong password", CHALLENGE));
    };
    let token = app.sessions.sign(&user, TOKEN_SECS).map_err(|why| Problem::internal(&why))?;
    let body = Given { access_token: token, token_type: "Bearer", expires_in: TOKEN_SECS };
    let unkept = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((unkept, Json(body)).into_response())
}

/// What the demo begins with: a task every two hours, for each of its users.
pub(crate) fn tasks() -> Vec<Task> {
    let users = USERS.into_iter().filter_map(UserId::new);
    users.flat_map(|user| (0..TASKS_EACH).map(move |nth| task(&user, nth))).collect()
}

fn task(user: &UserId, nth: i64) -> Task {
    const VERBS: [&str; 5] = ["Call", "Write to", "Visit", "Thank", "Answer"];
    const WHO: [&str; 7] =
        ["the library", "Charles", "the bank", "Howard", "the printer", "Anne", "the navy"];
    let pick = |from: &[&'static str], step: i64| {
        let at = usize::try_from(nth / step).unwrap_or_default() % from.len();
        from.get(at).copied().unwrap_or_default()
    };
    let age = SignedDuration::from_hours(2 * (TASKS_EACH - nth));
    let created = Timestamp::now() - age;
    let created = Timestamp::from_millisecond(created.as_millisecond()).unwrap_or(created);
    let seconds = u64::try_from(created.as_second()).unwrap_or_default();
    let nanos = u32::try_from(created.subsec_nanosecond()).unwrap_or_default();
    let id = Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanos));
    let status = match nth % 4 {
        0 | 1 => Status::Todo,
        2 => Status::Doing,
        _ => Status::Done,
    };
    let day = TimeZone::UTC.to_datetime(created).date();
    Task {
        id: TaskId(id),
        user: user.clone(),
        title: format!("{} {}", pick(&VERBS, 1), pick(&WHO, 2)),
        description: (nth % 3 == 0).then(|| format!("Task {} of the demo.", nth + 1)),
        status,
        due: (nth % 2 == 0).then(|| day.saturating_add(Span::new().days(30))),
        created,
        updated: created,
    }
}

/// Tokens, and lines that work when they are pasted into a shell.
///
/// # Errors
/// When the tokens cannot be signed, or nobody reads standard output.
pub(crate) fn print(sessions: &Sessions, address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut first = None;
    for user in USERS.into_iter().filter_map(UserId::new) {
        let token = sessions.sign(&user, PRINTED_TOKEN_SECS).map_err(io::Error::other)?;
        writeln!(out, "token of {}: {token}", user.as_str())?;
        first.get_or_insert(token);
    }
    let token = first.unwrap_or_default();
    let tasks = format!("http://{address}/api/v1/tasks");
    let curl = format!("curl -i -w '\\n' -H 'Authorization: Bearer {token}'");
    let json = "-H 'Content-Type: application/json'";
    writeln!(
        out,
        "\nA page of ada's tasks, from the database: X-Cache says MISS, db about 50 ms."
    )?;
    writeln!(out, "{curl} {tasks}")?;
    writeln!(out, "\nThe same again, from the cache: X-Cache says HIT, and there is no db.")?;
    writeln!(out, "{curl} {tasks}")?;
    writeln!(
        out,
        "\nThe API, to read and to try (Authorize takes a token): http://{address}/docs/"
    )?;
    writeln!(out, "\nA new task. Then try the first line again: a MISS, and the task is there.")?;
    writeln!(out, "{curl} {json} -d '{{\"title\": \"buy milk\"}}' {tasks}")?;
    let told = |what: &str| format!("{curl} http://{address}/api/v1/{what}");
    writeln!(out, "\nWhat ada did, newest first; then who closed most tasks this week.")?;
    writeln!(out, "{}", told("activity"))?;
    writeln!(out, "{}", told("leaderboard"))?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_has_hundreds_of_tasks_each_with_its_own_id() {
        let tasks = tasks();
        let mut ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((tasks.len(), ids.len()), (600, 600));
        assert!(tasks.iter().all(|task| !task.title.trim().is_empty()));
    }

    #[test]
    fn the_newest_task_of_the_demo_has_the_greatest_id() {
        let tasks: Vec<_> =
            tasks().into_iter().filter(|task| task.user.as_str() == "ada").collect();
        assert!(tasks.is_sorted_by(|a, b| a.id < b.id && a.created < b.created));
    }
}
