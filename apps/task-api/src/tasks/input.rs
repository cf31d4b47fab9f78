//! From what a client sent to what [`model`](super::model) means: the only place where limits are set.
//!
//! Every limit is told in the answer that refuses, so nobody has to look it up; and in the document, which is
//! made of the same numbers.

use axum::http::StatusCode;
use jiff::civil::Date;
use larder::structures::ItemId;
use serde_json::{Value, json};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{
    AdditionalProperties, KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr, Required};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::model::{NewTask, PageKey, Status, TaskChange, TaskId};
use crate::fields::{Fields, text};
use crate::problem::Problem;

const TITLE_CHARS_MAX: usize = 200;
const DESCRIPTION_CHARS_MAX: usize = 4000;
const PER_PAGE: u32 = 10;
const PER_PAGE_MAX: u32 = 100;
/// How many deeds a page has unless said.
const DEEDS: u32 = 20;
/// Far pages are found by skipping what stands before them, so there is a last one.
const PAGE_MAX: u32 = 10_000;

pub(super) fn new_task(mut fields: Fields) -> Result<NewTask, Problem> {
    let title = fields.require("title", title);
    let description = fields.take("description", or_null(description)).flatten();
    let status = fields.take("status", status).unwrap_or(Status::Todo);
    let due = fields.take("due", or_null(due)).flatten();
    fields.finish()?;
    // `finish` has refused a missing title.
    Ok(NewTask { title: title.unwrap_or_default(), description, status, due })
}

pub(super) fn task_change(mut fields: Fields) -> Result<TaskChange, Problem> {
    let change = TaskChange {
        title: fields.take("title", title),
        description: fields.take("description", or_null(description)),
        status: fields.take("status", status),
        due: fields.take("due", or_null(due)),
    };
    fields.finish()?;
    if change == TaskChange::default() {
        let detail = "names nothing to change: send title, description, status or due";
        return Err(Problem::field(StatusCode::UNPROCESSABLE_ENTITY, "body", detail));
    }
    Ok(change)
}

pub(super) fn page_key(mut fields: Fields) -> Result<PageKey, Problem> {
    let number = fields.take("page", count(PAGE_MAX)).unwrap_or(1);
    let per_page = fields.take("per_page", count(PER_PAGE_MAX)).unwrap_or(PER_PAGE);
    let status = fields.take("status", status);
    fields.finish()?;
    Ok(PageKey { number, per_page, status })
}

/// Before which deed, and how many.
pub(super) fn activity_key(mut fields: Fields) -> Result<(Option<ItemId>, usize), Problem> {
    let before = fields.take("before", before);
    let count = fields.take("per_page", count(PER_PAGE_MAX)).unwrap_or(DEEDS);
    fields.finish()?;
    Ok((before, count as usize))
}

/// How many of the best.
pub(super) fn best(mut fields: Fields) -> Result<usize, Problem> {
    let best = fields.take("best", count(PER_PAGE_MAX)).unwrap_or(PER_PAGE);
    fields.finish()?;
    Ok(best as usize)
}

pub(super) fn task_id(sent: &str) -> Result<TaskId, Problem> {
    TaskId::parse(sent).ok_or_else(|| {
        let detail = "must be a UUID, like 0198f1f0-9d2c-7cc0-8000-000000000000";
        Problem::field(StatusCode::BAD_REQUEST, "id", detail)
    })
}

fn title(value: Value) -> Result<String, String> {
    let title = bounded(value, TITLE_CHARS_MAX)?;
    if title.trim().is_empty() {
        return Err("must not be blank".to_owned());
    }
    if title.chars().any(char::is_control) {
        return Err("must be one line, without control characters".to_owned());
    }
    Ok(title)
}

fn description(value: Value) -> Result<String, String> {
    bounded(value, DESCRIPTION_CHARS_MAX)
}

fn bounded(value: Value, chars_max: usize) -> Result<String, String> {
    let text = text(value)?;
    let chars = text.chars().count();
    if chars > chars_max {
        return Err(format!("may have at most {chars_max} characters, and has {chars}"));
    }
    Ok(text)
}

fn status(value: Value) -> Result<Status, String> {
    let names = Status::ALL.map(Status::as_str).join(", ");
    let known = text(value).ok().and_then(|text| Status::parse(&text));
    known.ok_or_else(|| format!("must be one of {names}"))
}

fn due(value: Value) -> Result<Date, String> {
    let day = text(value).ok().filter(|text| text.len() == "2026-11-03".len());
    let day = day.and_then(|text| text.parse().ok());
    day.ok_or_else(|| "must be a day, like 2026-11-03".to_owned())
}

fn before(value: Value) -> Result<ItemId, String> {
    let id = text(value).ok().and_then(|text| text.parse().ok());
    id.ok_or_else(|| "must be the id of a deed, like 1795680000000-0".to_owned())
}

/// Null is a value of its own: there is none.
fn or_null<T>(
    read: impl FnOnce(Value) -> Result<T, String>,
) -> impl FnOnce(Value) -> Result<Option<T>, String> {
    |value| if value.is_null() { Ok(None) } else { read(value).map(Some) }
}

/// A whole number from 1 to `most`.
fn count(most: u32) -> impl FnOnce(Value) -> Result<u32, String> {
    move |value| {
        let digits = text(value)?;
        let number = digits.parse().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| format!("must be a whole number from 1 to {most}"))
    }
}

impl PartialSchema for NewTask {
    fn schema() -> RefOr<Schema> {
        of_a_body("`todo` unless said.")
            .required("title")
            .description(Some("A task that is to be."))
            .examples([json!({ "title": "buy milk", "due": "2026-11-30" })])
            .into()
    }
}

impl ToSchema for NewTask {}

impl PartialSchema for TaskChange {
    fn schema() -> RefOr<Schema> {
        of_a_body("How far it is.")
            .min_properties(Some(1))
            .description(Some("What is to be changed. What is not named stays as it is."))
            .examples([json!({ "status": "done", "due": null })])
            .into()
    }
}

impl ToSchema for TaskChange {}

/// The fields that both may have. No other is taken.
fn of_a_body(of_status: &str) -> ObjectBuilder {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let or_null = || SchemaType::from_iter([Type::String, Type::Null]);
    let title = text()
        .min_length(Some(1))
        .max_length(Some(TITLE_CHARS_MAX))
        .description(Some("One line: not blank, without control characters."));
    let description = text()
        .schema_type(or_null())
        .max_length(Some(DESCRIPTION_CHARS_MAX))
        .description(Some("Null: there is none."));
    let status =
        text().enum_values(Some(Status::ALL.map(Status::as_str))).description(Some(of_status));
    let due = text()
        .schema_type(or_null())
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Date)))
        .description(Some("The day by which it should be done. Null: there is none."));
    ObjectBuilder::new()
        .property("title", title)
        .property("description", description)
        .property("status", status)
        .property("due", due)
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
}

/// What may stand behind the `?` of a list.
pub(super) struct PageQuery;

impl IntoParams for PageQuery {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let status: RefOr<Schema> = Ref::from_schema_name("Status").into();
        [
            ("page", "Which page. Behind the last there are no tasks.", counted(PAGE_MAX, 1)),
            ("per_page", "How many tasks a page has.", counted(PER_PAGE_MAX, PER_PAGE)),
            ("status", "Only tasks of this status.", status),
        ]
        .map(|(name, about, schema)| query(name, about, schema))
        .into()
    }
}

/// What may stand behind the `?` of a list of deeds.
pub(super) struct ActivityQuery;

impl IntoParams for ActivityQuery {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let id = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[0-9]{1,20}-[0-9]{1,20}$"));
        let about = "Only deeds before this one: the `next` of the page before.";
        vec![
            query("before", about, id.into()),
            query("per_page", "How many deeds a page has.", counted(PER_PAGE_MAX, DEEDS)),
        ]
    }
}

/// What may stand behind the `?` of a leaderboard.
pub(super) struct LeaderboardQuery;

impl IntoParams for LeaderboardQuery {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![query("best", "How many of the best.", counted(PER_PAGE_MAX, PER_PAGE))]
    }
}

fn query(name: &str, about: &str, schema: RefOr<Schema>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(schema))
        .build()
}

/// What [`count`] takes.
fn counted(most: u32, unless_said: u32) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(most))
        .default(Some(unless_said.into()))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_line_of_at_most_200_characters() {
        assert!(title(json!("ä".repeat(200))).is_ok());
        assert!(title(json!("ä".repeat(201))).unwrap_err().contains("200"));
        for wrong in [json!(""), json!("  "), json!("a\nb"), json!(null), json!(7), json!(["a"])] {
            assert!(title(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_due_day_is_a_day_that_exists() {
        assert_eq!(due(json!("2028-02-29")), Ok(jiff::civil::date(2028, 2, 29)));
        for wrong in ["2026-02-29", "2026-11-3", "3.11.2026", "2026-11-03T10:00:00Z", "tomorrow"] {
            assert!(due(json!(wrong)).is_err(), "{wrong}");
        }
        assert!(due(json!(20261103)).is_err());
    }

    #[test]
    fn a_page_number_is_from_1_to_its_bound() {
        assert_eq!(count(100)(json!("1")), Ok(1));
        assert_eq!(count(100)(json!("100")), Ok(100));
        for wrong in ["0", "-1", "101", "1.5", "", " 1", "1e1", "99999999999999999999", "١"] {
            assert!(count(100)(json!(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn null_empties_what_may_be_empty() {
        assert_eq!(or_null(due)(json!(null)), Ok(None));
        assert!(status(json!(null)).is_err());
    }
}
