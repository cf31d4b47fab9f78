//! The scene of every test here: the real program, as one or more processes, and a Redis of its own.
//!
//! Everything started is ended when its value is dropped; everything written is in a directory that is
//! removed with it. Nothing listens on a port that was chosen beforehand.

#![allow(dead_code, unused_imports, unused_macros, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a scene that cannot be set is a failed test"
)]

mod client;
#[cfg(feature = "mongodb")]
mod mongo;
mod redis;
mod schema;
mod service;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use client::{Answer, Client};
pub(crate) use redis::Redis;
pub(crate) use schema::Document;
pub(crate) use service::{SECRET, Service, refused, token, token_of};

/// How long anything may take before a test gives up on it. No test waits this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until the answer is yes. `what` is what was waited for.
pub(crate) fn until(what: &str, is_so: impl FnMut() -> bool) {
    until_in(PATIENCE.as_secs(), what, is_so);
}

/// The same for what may take so many seconds.
pub(crate) fn until_in(secs: u64, what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(secs), "waited in vain until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Where the processes of a test keep their tasks.
#[derive(Clone, Copy)]
pub(crate) enum Database {
    Sqlite,
    #[cfg(feature = "mongodb")]
    Mongo,
}

/// An empty database of the test's own, gone with it.
pub(crate) struct Place {
    words: [String; 2],
    _directory: Option<Directory>,
    #[cfg(feature = "mongodb")]
    _mongo: Option<mongo::Mongo>,
}

impl Database {
    pub(crate) fn place(self) -> Place {
        match self {
            Database::Sqlite => {
                let directory = Directory::new();
                Place {
                    words: ["--database".to_owned(), directory.database()],
                    _directory: Some(directory),
                    #[cfg(feature = "mongodb")]
                    _mongo: None,
                }
            }
            #[cfg(feature = "mongodb")]
            Database::Mongo => {
                let mongo = mongo::Mongo::new();
                let words = ["--mongodb-url".to_owned(), mongo.url.clone()];
                Place { words, _directory: None, _mongo: Some(mongo) }
            }
        }
    }
}

impl Place {
    /// What a process must be told, and more.
    pub(crate) fn and<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        self.words.iter().map(String::as_str).chain(more.iter().copied()).collect()
    }
}

/// Runs each scene over SQLite, and over MongoDB where the program can.
macro_rules! over_each_database {
    ($($scene:ident)*) => {
        mod on_sqlite {
            $(#[test]
            fn $scene() {
                super::$scene(super::Database::Sqlite);
            })*
        }

        #[cfg(feature = "mongodb")]
        mod on_mongodb {
            $(#[test]
            fn $scene() {
                super::$scene(super::Database::Mongo);
            })*
        }
    };
}

/// A directory of the test's own.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Directory {
        let path = std::env::temp_dir().join(format!("task-api-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the tasks of this test are kept.
    pub(crate) fn database(&self) -> String {
        self.0.join("tasks.db").to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Sends a signal, by its name.
pub(crate) fn signal(name: &str, process: u32) {
    let words = [format!("-{name}"), process.to_string()];
    let sent = std::process::Command::new("kill").args(words).status().unwrap();
    assert!(sent.success());
}
