//! How a database is opened, and its tables made.
//!
//! Two processes may do this to one file at the same time. The tables are made inside one exclusive
//! transaction that first looks whether they are there, so one makes them and the other finds
//! them. The change to WAL mode knows no waiting in SQLite, so it is tried again here.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::Place;

/// Which tables this program knows; kept in the file as `user_version`. To change them, add a step to
/// [`migrate`] and count this up.
const VERSION: i64 = 2;

/// `user, id` is the primary key: one b-tree finds a user's task and walks a user's tasks in order.
/// The index does the same within one status.
const TABLES: &str = "
    CREATE TABLE tasks (
        user        TEXT NOT NULL,
        id          TEXT NOT NULL,
        title       TEXT NOT NULL,
        description TEXT,
        status      TEXT NOT NULL CHECK (status IN ('todo', 'doing', 'done')),
        due         TEXT,
        created_ms  INTEGER NOT NULL,
        updated_ms  INTEGER NOT NULL,
        PRIMARY KEY (user, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tasks_by_status ON tasks (user, status, id);
";

/// Since version 2.
const USERS: &str = "
    CREATE TABLE users (
        user         TEXT NOT NULL PRIMARY KEY,
        last_seen_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// # Errors
/// In words for the operator, with the file's name.
pub(super) fn open(place: &Place, lock_wait: Duration) -> Result<Connection, String> {
    let named = match place {
        Place::File(path) => format!("database {}", path.display()),
        Place::Memory => "database in memory".to_owned(),
    };
    let opened = match place {
        Place::File(path) => Connection::open(path),
        Place::Memory => Connection::open_in_memory(),
    };
    let cannot = |why: rusqlite::Error| format!("cannot open {named}: {why}");
    let mut connection = opened.map_err(cannot)?;
    settle(&connection, lock_wait).map_err(cannot)?;
    match migrate(&mut connection).map_err(cannot)? {
        VERSION => Ok(connection),
        newer => Err(format!(
            "cannot open {named}: it has version {newer}, and this program knows {VERSION}"
        )),
    }
}

fn settle(connection: &Connection, lock_wait: Duration) -> rusqlite::Result<()> {
    connection.busy_timeout(lock_wait)?;
    let until = Instant::now() + lock_wait;
    while let Err(why) = connection.pragma_update(None, "journal_mode", "WAL") {
        if why.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) || Instant::now() >= until {
            return Err(why);
        }
        thread::sleep(Duration::from_millis(10));
    }
    // An answer holds even when the machine loses power the moment after: what a client was told, and
    // a cache may show, is on disk.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Functions and views in the file itself are not to be trusted with anything.
    connection.pragma_update(None, "trusted_schema", "OFF")
}

/// Brings the tables up to date; gives the version the file then has.
fn migrate(connection: &mut Connection) -> rusqlite::Result<i64> {
    let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut version = step.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        step.execute_batch(TABLES)?;
        version = 1;
    }
    if version == 1 {
        step.execute_batch(USERS)?;
        version = 2;
    }
    if version == VERSION {
        step.pragma_update(None, "user_version", version)?;
    }
    step.commit()?;
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(connection: &Connection, query: &str) -> String {
        let query = format!("EXPLAIN QUERY PLAN {query}");
        let mut statement = connection.prepare(&query).unwrap();
        let steps = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
        steps.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("; ")
    }

    #[test]
    fn pages_are_read_from_an_index_and_never_sorted() {
        let connection = open(&Place::Memory, Duration::ZERO).unwrap();
        let whole = "SELECT * FROM tasks WHERE user = 'ada' ORDER BY id DESC LIMIT 10 OFFSET 20";
        let of_one = "SELECT * FROM tasks INDEXED BY tasks_by_status WHERE user = 'ada' AND status = 'done' ORDER BY id DESC LIMIT 10";
        for (query, index) in [(whole, "PRIMARY KEY"), (of_one, "tasks_by_status")] {
            let plan = plan(&connection, query);
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan}");
        }
    }

    /// A file that the program of before has made has no table of users.
    #[test]
    fn an_older_database_is_brought_up_to_date() {
        let directory = std::env::temp_dir().join(format!("task-api-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&directory).unwrap();
        let file = directory.join("tasks.db");
        let old = Connection::open(&file).unwrap();
        old.execute_batch(TABLES).unwrap();
        old.execute_batch(
            "INSERT INTO tasks VALUES ('ada', 'x', 'milk', NULL, 'todo', NULL, 1, 1)",
        )
        .unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        for _ in 0..2 {
            let connection = open(&Place::File(file.clone()), LOCK).unwrap();
            let count = |query: &str| connection.query_row(query, [], |row| row.get::<_, i64>(0));
            assert_eq!(count("SELECT count(*) FROM tasks"), Ok(1));
            assert_eq!(count("SELECT count(*) FROM users"), Ok(0));
            assert_eq!(count("PRAGMA user_version"), Ok(VERSION));
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_newer_database_is_refused() {
        let directory = std::env::temp_dir().join(format!("task-api-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&directory).unwrap();
        let file = directory.join("tasks.db");
        let place = Place::File(file.clone());
        let connection = open(&place, LOCK).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        let why = open(&place, LOCK).unwrap_err();
        assert!(why.contains("version 99") && why.contains("tasks.db"), "{why}");
        std::fs::write(&file, "this is a text file, long enough to be looked at as a database")
            .unwrap();
        assert!(open(&place, LOCK).unwrap_err().contains("not a database"));
        std::fs::remove_dir_all(directory).unwrap();
    }

    const LOCK: Duration = Duration::from_secs(5);

    /// Eight threads, each as a process of its own, open a file that is not there yet.
    #[test]
    fn many_may_make_the_tables_at_once() {
        let directory = std::env::temp_dir().join(format!("task-api-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&directory).unwrap();
        let place = Place::File(directory.join("tasks.db"));
        thread::scope(|scope| {
            let open = || open(&place, 4 * LOCK).map(drop);
            let openers: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            for opener in openers {
                opener.join().unwrap().unwrap();
            }
        });
        std::fs::remove_dir_all(directory).unwrap();
    }
}
