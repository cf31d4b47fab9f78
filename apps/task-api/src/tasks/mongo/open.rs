//! From a URL to a database that answers and has its indexes.
//!
//! Several processes may do this at the same time: an index that is there already is left alone.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::{
    Acknowledgment, ClientOptions, DatabaseOptions, IndexOptions, ReadConcern, ReadPreference,
    SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Database, IndexModel};

use super::words;

/// The collections.
pub(super) const TASKS: &str = "tasks";
pub(super) const USERS: &str = "users";
/// The database, if the URL names none.
const DATABASE: &str = "tasks";
/// How long a server is looked for, or a connection tried, unless the URL says so.
const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// How long the names of servers, and then the indexes, may take at the start.
const OPEN_WAIT: Duration = Duration::from_secs(30);

pub(super) async fn open(url: &str) -> Result<(Client, Database), String> {
    let options = options(url).await?;
    let servers = options.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let name = options.default_database.clone().unwrap_or_else(|| DATABASE.to_owned());
    let cannot =
        |why: &dyn std::fmt::Display| format!("cannot use database {name} on {servers}: {why}");

    let client = Client::with_options(options).map_err(|why| cannot(&words(&why)))?;
    let database = client.database_with_options(&name, told());
    let tasks = database.collection::<Document>(TASKS);
    let made = async {
        // One by one: FerretDB 1.x falls over two at once that are there already.
        for index in indexes() {
            tasks.create_index(index).await?;
        }
        Ok::<_, mongodb::error::Error>(())
    };
    match tokio::time::timeout(OPEN_WAIT, made).await {
        Ok(Ok(())) => Ok((client, database)),
        Ok(Err(why)) => Err(cannot(&words(&why))),
        Err(_) => Err(cannot(&format!("its indexes are not there after {OPEN_WAIT:?}"))),
    }
}

async fn options(url: &str) -> Result<ClientOptions, String> {
    let parsed = match tokio::time::timeout(OPEN_WAIT, ClientOptions::parse(url)).await {
        Ok(parsed) => parsed.map_err(|why| without_secrets(url, words(&why)))?,
        Err(_) => return Err("the names of its servers cannot be looked up in time".to_owned()),
    };
    let mut options = parsed;
    options.app_name.get_or_insert_with(|| "task-api".to_owned());
    options.connect_timeout.get_or_insert(CONNECT_WAIT);
    options.server_selection_timeout.get_or_insert(CONNECT_WAIT);
    Ok(options)
}

/// The driver repeats what it cannot read, and that may be a part of the password: one that holds a
/// `/` or a `@` as it is ends where the URL's next part begins.
fn without_secrets(url: &str, why: String) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    // Without an `@` a host may have been forgotten: then what looks like a port is the password.
    let named = rest.rsplit_once('@').map_or(rest, |(named, _)| named);
    let named = named.split_once(':').map(|(_, password)| password).unwrap_or_default();
    let options = url.split_once('?').map(|(_, options)| options).unwrap_or_default();
    let is_secret = |option: &&str| {
        let option = option.to_ascii_lowercase();
        option.contains("password") || option.starts_with("authmechanismproperties")
    };
    let options = options.split('&').filter(is_secret).filter_map(|option| option.split_once('='));
    let secrets = options.map(|(_, secret)| secret).chain([named]);
    let mut parts =
        secrets.flat_map(|secret| secret.split([':', '/', '?', '#', '@', '&', '=', ',']));
    if parts.any(|part| !part.is_empty() && why.contains(part)) {
        return "it is no URL of MongoDB: mongodb://user:password@host:27017/tasks, with special \
                characters of name and password as %40 for @, %2F for /, %3A for :"
            .to_owned();
    }
    why
}

/// What a cache needs of its source, whatever the URL says.
fn told() -> DatabaseOptions {
    let majority = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    DatabaseOptions::builder()
        .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        .read_concern(ReadConcern::majority())
        .write_concern(majority)
        .build()
}

/// Each walks a user's tasks, newest first: all of them, or those of one status.
pub(super) fn indexes() -> [IndexModel; 2] {
    let named = |name: &str, keys: Document| {
        let options = IndexOptions::builder().name(name.to_owned()).build();
        IndexModel::builder().keys(keys).options(options).build()
    };
    [
        named("tasks_by_user", doc! { "user": 1, "_id": -1 }),
        named("tasks_by_status", doc! { "user": 1, "status": 1, "_id": -1 }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_that_cannot_be_read_is_refused_without_its_password() {
        for url in [
            "mongodb://ada:hunter2/x@host/tasks",
            "mongodb://ada:hunter2@ho@st/tasks",
            "mongodb://ada:hunter2%zz@host/tasks",
            "mongodb://ada:hunter2?@host",
            "mongodb://ada:hun:hunter2@host:port/tasks",
            "mongodb://ada:hunter2@host:99999/tasks",
            "mongodb://ada:hunter2@host/tasks?maxPoolSize=many",
            "mongodb://ada:hunter2",
            "mongodb://host/?tlsCertificateKeyFilePassword=hunter2",
            "mongodb://host/?authMechanism=MONGODB-AWS&authMechanismProperties=hunter2",
            "mongodb://ada:hunter2@/tasks",
            "http://ada:hunter2@host/tasks",
            "ada:hunter2@host",
            "hunter2",
            "",
        ] {
            let why = options(url).await.err();
            let why = why.unwrap_or_else(|| panic!("{url} is taken"));
            assert!(!why.contains("hunter2") && !why.is_empty(), "{url}: {why}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_url_is_told() {
        let why = options("mongodb://host/tasks?maxPoolSize=0").await.err().unwrap();
        assert!(why.contains("maxPoolSize"), "{why}");
    }

    #[tokio::test]
    async fn a_time_that_the_url_names_is_taken() {
        let options = options("mongodb://host/?serverSelectionTimeoutMS=700").await.unwrap();
        assert_eq!(options.server_selection_timeout, Some(Duration::from_millis(700)));
        assert_eq!(options.connect_timeout, Some(CONNECT_WAIT));
    }
}
