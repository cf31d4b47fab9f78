//! Every statement, each a straight function that runs on the database's thread.
//!
//! What reads and then writes takes the write lock first (`Immediate`): were it to begin as a reader,
//! another process could commit between its two halves, and its commit would fail.

use jiff::{Timestamp, civil::Date};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::tasks::model::{Changed, Page, PageKey, Status, Task, TaskChange, TaskId, UserId, now};

const COLUMNS: &str = "user, id, title, description, status, due, created_ms, updated_ms";

pub(super) fn create(connection: &Connection, task: &Task) -> rusqlite::Result<()> {
    insert(connection, task)
}

pub(super) fn find(
    connection: &Connection,
    user: &UserId,
    id: TaskId,
) -> rusqlite::Result<Option<Task>> {
    let query = format!("SELECT {COLUMNS} FROM tasks WHERE user = ?1 AND id = ?2");
    let mut statement = connection.prepare_cached(&query)?;
    statement.query_row(params![user.as_str(), id.to_string()], task).optional()
}

/// Rows and total are of the same moment: both are read in one transaction.
pub(super) fn page(
    connection: &mut Connection,
    user: &UserId,
    key: PageKey,
) -> rusqlite::Result<Page> {
    let from = match key.status {
        None => "tasks WHERE user = ?1 AND ?2 IS NULL",
        // Said outright: without statistics SQLite prefers to read all of a user's tasks.
        Some(_) => "tasks INDEXED BY tasks_by_status WHERE user = ?1 AND status = ?2",
    };
    let rows = format!("SELECT {COLUMNS} FROM {from} ORDER BY id DESC LIMIT ?3 OFFSET ?4");
    let count = format!("SELECT count(*) FROM {from}");
    let status = key.status.map(Status::as_str);
    let skipped = i64::from(key.number.saturating_sub(1)) * i64::from(key.per_page);

    let moment = connection.transaction()?;
    let tasks = moment
        .prepare_cached(&rows)?
        .query_map(params![user.as_str(), status, key.per_page, skipped], task)?
        .collect::<rusqlite::Result<Vec<Task>>>()?;
    let total = moment
        .prepare_cached(&count)?
        .query_row(params![user.as_str(), status], |row| row.get::<_, i64>(0))?;
    moment.commit()?;
    let total = u64::try_from(total).unwrap_or_default();
    Ok(Page { tasks, page: key.number, per_page: key.per_page, total })
}

pub(super) fn update(
    connection: &mut Connection,
    user: &UserId,
    id: TaskId,
    change: TaskChange,
) -> rusqlite::Result<Option<Changed>> {
    let step = immediate(connection)?;
    let Some(mut task) = find(&step, user, id)? else { return Ok(None) };
    let was = task.status;
    change.apply(&mut task, now());
    step.prepare_cached(
        "UPDATE tasks SET title = ?3, description = ?4, status = ?5, due = ?6, updated_ms = ?7
         WHERE user = ?1 AND id = ?2",
    )?
    .execute(params![
        user.as_str(),
        id.to_string(),
        task.title,
        task.description,
        task.status.as_str(),
        task.due.map(|day| day.to_string()),
        task.updated.as_millisecond(),
    ])?;
    step.commit()?;
    Ok(Some(Changed { task, was }))
}

pub(super) fn delete(
    connection: &Connection,
    user: &UserId,
    id: TaskId,
) -> rusqlite::Result<Option<Task>> {
    let query = format!("DELETE FROM tasks WHERE user = ?1 AND id = ?2 RETURNING {COLUMNS}");
    let mut statement = connection.prepare_cached(&query)?;
    statement.query_row(params![user.as_str(), id.to_string()], task).optional()
}

pub(super) fn saw(
    connection: &mut Connection,
    users: &[(UserId, Timestamp)],
) -> rusqlite::Result<()> {
    let step = immediate(connection)?;
    for (user, at) in users {
        step.prepare_cached(
            "INSERT INTO users (user, last_seen_ms) VALUES (?1, ?2)
             ON CONFLICT (user) DO UPDATE SET last_seen_ms = max(last_seen_ms, excluded.last_seen_ms)",
        )?
        .execute(params![user.as_str(), at.as_millisecond()])?;
    }
    step.commit()
}

pub(super) fn last_seen(
    connection: &Connection,
    user: &UserId,
) -> rusqlite::Result<Option<Timestamp>> {
    let mut statement =
        connection.prepare_cached("SELECT last_seen_ms FROM users WHERE user = ?1")?;
    statement.query_row(params![user.as_str()], |row| moment(row, 0)).optional()
}

pub(super) fn seed(connection: &mut Connection, tasks: &[Task]) -> rusqlite::Result<bool> {
    let step = immediate(connection)?;
    let some = step.query_row("SELECT EXISTS (SELECT 1 FROM tasks)", [], |row| row.get(0))?;
    if some {
        return Ok(false);
    }
    tasks.iter().try_for_each(|task| insert(&step, task))?;
    step.commit()?;
    Ok(true)
}

pub(super) fn ping(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM tasks)", [], |_| Ok(()))
}

fn immediate(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn insert(connection: &Connection, task: &Task) -> rusqlite::Result<()> {
    let query = format!("INSERT INTO tasks ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    connection.prepare_cached(&query)?.execute(params![
        task.user.as_str(),
        task.id.to_string(),
        task.title,
        task.description,
        task.status.as_str(),
        task.due.map(|day| day.to_string()),
        task.created.as_millisecond(),
        task.updated.as_millisecond(),
    ])?;
    Ok(())
}

/// A row, in the order of [`COLUMNS`].
fn task(row: &Row<'_>) -> rusqlite::Result<Task> {
    let due: Option<String> = row.get(5)?;
    Ok(Task {
        user: read(row, 0, UserId::new)?,
        id: read(row, 1, TaskId::parse)?,
        title: row.get(2)?,
        description: row.get(3)?,
        status: read(row, 4, Status::parse)?,
        due: due.map(|_| read(row, 5, |day| day.parse::<Date>().ok())).transpose()?,
        created: moment(row, 6)?,
        updated: moment(row, 7)?,
    })
}

/// A text that means something: what another program wrote there is an error that names the column.
fn read<T>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    parse(text).ok_or_else(|| unreadable(column, Type::Text))
}

fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_millisecond(row.get(column)?).map_err(|_| unreadable(column, Type::Integer))
}

fn unreadable(column: usize, found: Type) -> rusqlite::Error {
    let name = COLUMNS.split(", ").nth(column).unwrap_or_default();
    let why = format!("{name} holds something that this program did not write");
    rusqlite::Error::FromSqlConversionFailure(column, found, why.into())
}
