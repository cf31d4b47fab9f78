//! What a sink knows of a write that failed.

use std::error::Error as StdError;
use std::fmt;

use super::BoxError;

/// A [`Sink`](super::Sink)'s error that says more than that it failed: **nothing was written, and nothing will be.**
///
/// After any other error the statement may be committed yet, by a database that is still at it: the key is ended,
/// and loaded without being kept until [`guard_time`](crate::CacheBuilder::guard_time) is over. After this one it can
/// be kept at once.
///
/// It is true of what the database answered and of what it was never asked: a constraint that was violated,
/// a value that is not valid, a row that is not there, a transaction that was rolled back and said so. It is **not** of a
/// time-out, of a connection that broke, of a cancelled query whose end was not awaited. Where you do not know, leave it out:
/// it costs loads; to claim it wrongly costs a stale value, to its lifetime.
///
/// Only the outermost error counts. [`Error::cause`](crate::Error::cause) finds this and what it wraps.
///
/// ```
/// # #[derive(Debug, thiserror::Error)] #[error("the name is taken")] struct Taken;
/// # #[derive(Debug, thiserror::Error)] #[error("database")] enum DbError { Taken(Taken), Lost }
/// use larder::{BoxError, NotWritten};
///
/// fn told(answer: Result<(), DbError>) -> Result<(), BoxError> {
///     match answer {
///         Err(DbError::Taken(why)) => Err(NotWritten::because(why).into()),
///         Err(lost) => Err(lost.into()),
///         Ok(()) => Ok(()),
///     }
/// }
/// # assert!(told(Err(DbError::Taken(Taken))).unwrap_err().is::<NotWritten>());
/// # assert!(!told(Err(DbError::Lost)).unwrap_err().is::<NotWritten>());
/// ```
#[derive(Debug)]
pub struct NotWritten(BoxError);

impl NotWritten {
    /// For this reason: an error of yours, or a text.
    pub fn because(cause: impl Into<BoxError>) -> NotWritten {
        NotWritten(cause.into())
    }
}

impl fmt::Display for NotWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing was written: {}", self.0)
    }
}

impl StdError for NotWritten {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}
