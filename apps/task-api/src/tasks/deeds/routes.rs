//! `/activity`, a user's own deeds; `/leaderboard`, who closed most; `/me`, what is known of who asks.
//!
//! No response here is kept: what is told is read where it lives.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use larder::structures::{ItemId, Standing};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::input::{self, ActivityQuery, LeaderboardQuery};
use super::super::model::UserId;
use super::{Deed, not_told};
use crate::docs::answers::{OfAQuery, OfAUser, OfRedisAlone};
use crate::fields::{NoQuery, Query};
use crate::problem::Problem;
use crate::session::Session;
use crate::state::App;

/// A page of what the user did.
#[derive(Serialize, ToSchema)]
pub(crate) struct Activity {
    /// Newest first.
    items: Vec<Told>,
    /// Send it as `before` for the next page. Null: there is nothing older.
    #[schema(required, example = "1795680000000-0")]
    next: Option<String>,
}

/// One deed, and its place.
#[derive(Serialize, ToSchema)]
pub(crate) struct Told {
    /// Greater for later deeds.
    #[schema(example = "1795680000000-0")]
    id: String,
    deed: Deed,
}

/// What the user did to his tasks, newest first
///
/// The last 200 deeds, for 30 days after the last. A deed is told before its request is answered. Where Redis did not
/// take it in time, a creation is told as soon as it does, so perhaps after changes of the task, and another deed is not.
#[utoipa::path(
    get, path = "/activity", tag = "activity", operation_id = "list_activity",
    security(("token" = [])),
    params(ActivityQuery),
    responses((status = 200, description = "The page.", body = Activity), OfAQuery, OfRedisAlone)
)]
pub(crate) async fn activity(
    State(app): State<App>,
    session: Session,
    Query(fields): Query,
) -> Result<Json<Activity>, Problem> {
    let (before, count) = input::activity_key(fields)?;
    let page = app.tasks.deeds().page(&session.user, before, count).await;
    let page = page.map_err(|why| not_told(&why))?;
    let items = page.items.into_iter();
    let items = items.map(|item| Told { id: item.id.to_string(), deed: item.value }).collect();
    Ok(Json(Activity { items, next: page.next.as_ref().map(ItemId::to_string) }))
}

/// Who closed most tasks this week.
#[derive(Serialize, ToSchema)]
pub(crate) struct Closed {
    /// The week, as ISO 8601 counts them, in UTC.
    #[schema(example = "2026-W48")]
    week: String,
    /// The best first. Of two who closed as many, who had so many first.
    best: Vec<Place>,
    /// The user's own. Null: nothing closed.
    #[schema(required)]
    you: Option<Place>,
}

/// A user's place.
#[derive(Serialize, ToSchema)]
pub(crate) struct Place {
    /// From 1. No two share one.
    #[schema(minimum = 1, example = 1)]
    rank: u64,
    user: UserId,
    /// How many tasks: those that were opened again are taken back, so it may be less than none.
    #[schema(example = 12)]
    closed: i64,
}

impl From<Standing<UserId>> for Place {
    fn from(standing: Standing<UserId>) -> Place {
        Place { rank: standing.rank, user: standing.member, closed: standing.score }
    }
}

/// Who closed most tasks this week, and where the user stands
///
/// It names users to each other. A new week begins on Monday, 00:00 UTC.
#[utoipa::path(
    get, path = "/leaderboard", tag = "activity", operation_id = "read_leaderboard",
    security(("token" = [])),
    params(LeaderboardQuery),
    responses((status = 200, description = "The board.", body = Closed), OfAQuery, OfRedisAlone)
)]
pub(crate) async fn leaderboard(
    State(app): State<App>,
    session: Session,
    Query(fields): Query,
) -> Result<Json<Closed>, Problem> {
    let best = input::best(fields)?;
    let week = app.tasks.deeds().week(&session.user, best).await.map_err(|why| not_told(&why))?;
    let best = week.best.into_iter().map(Place::from).collect();
    Ok(Json(Closed { week: week.name, best, you: week.own.map(Place::from) }))
}

/// What is known of a user.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    user: UserId,
    /// When he was last here, to a minute: at this request or before. Null: this is the first time.
    #[schema(required, value_type = Option<String>, format = DateTime, example = "2026-11-26T08:00:00Z")]
    last_seen: Option<Timestamp>,
}

/// Who asks, and when he was last here
#[utoipa::path(
    get, path = "/me", tag = "activity", operation_id = "read_me", security(("token" = [])),
    responses((status = 200, description = "The user.", body = Me), OfAQuery, OfAUser)
)]
pub(crate) async fn me(
    State(app): State<App>,
    session: Session,
    _: NoQuery,
) -> Result<Json<Me>, Problem> {
    let last_seen = app.tasks.seen().last(&session.user).await?;
    Ok(Json(Me { user: session.user, last_seen }))
}
