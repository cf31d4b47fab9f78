//! What can go wrong, in the words of someone who must act on it.
//!
//! One opaque [`Error`]: its [`kind`](Error::kind) says what to do, its text says what was tried and
//! what stood in the way. Waiters of one load share its cause. A miss, a lease lost to another
//! process, or a far side that is down while reading are answers, not errors.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What a loader or a client may fail with.
pub(crate) type Cause = Arc<dyn StdError + Send + Sync>;

/// Why a call failed. Cheap to clone.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    text: String,
    key: Option<String>,
    cause: Option<Cause>,
}

/// What a caller can do about an [`Error`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The source failed, here or in the process that was loading for all: tell the user.
    Source,
    /// The shared side failed or timed out: the call can be tried again.
    Far,
    /// Redis has not confirmed the change: an invalidation is queued and retried, and near is
    /// bypassed for the key until then; a put may have landed, or may land later; a write through the
    /// cache is done, and only what is older is not known to be gone.
    Unconfirmed,
    /// The key cannot be used: too long, or not a name. Mend the caller.
    Key,
    /// A setting is wrong. Mend it; nothing was started.
    Config,
    /// The value cannot be turned into bytes. Mend the type.
    Encode,
    /// The loader took longer than `max_load` and was stopped; or the sink took longer than `guard_time`, and
    /// whether it wrote is not known.
    Deadline,
    /// The loader or the sink panicked; the process goes on.
    Panicked,
    /// A bound was reached (too many loads of a cache, too many unconfirmed invalidations): try again later.
    Overloaded,
    /// `close` was called.
    Closed,
}

impl ErrorKind {
    /// The name that travels in a failed load's record, so that other processes can tell.
    pub(crate) fn code(self) -> &'static str {
        match self {
            ErrorKind::Source => "source",
            ErrorKind::Far => "far",
            ErrorKind::Unconfirmed => "unconfirmed",
            ErrorKind::Key => "key",
            ErrorKind::Config => "config",
            ErrorKind::Encode => "encode",
            ErrorKind::Deadline => "deadline",
            ErrorKind::Panicked => "panicked",
            ErrorKind::Overloaded => "overloaded",
            ErrorKind::Closed => "closed",
        }
    }

    /// The kind another process' code stands for; what is not known is a failed source.
    pub(crate) fn from_code(code: &[u8]) -> ErrorKind {
        match code {
            b"deadline" => ErrorKind::Deadline,
            b"panicked" => ErrorKind::Panicked,
            b"encode" => ErrorKind::Encode,
            _ => ErrorKind::Source,
        }
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Error {
        Error(Arc::new(Inner { kind, text: text.into(), key: None, cause: None }))
    }

    pub(crate) fn because(self, cause: impl StdError + Send + Sync + 'static) -> Error {
        self.caused_by(Arc::new(cause))
    }

    pub(crate) fn caused_by(self, cause: Cause) -> Error {
        let Inner { kind, text, key, .. } = &*self.0;
        let (text, key) = (text.clone(), key.clone());
        Error(Arc::new(Inner { kind: *kind, text, key, cause: Some(cause) }))
    }

    pub(crate) fn at(self, key: impl fmt::Display) -> Error {
        let Inner { kind, text, cause, .. } = &*self.0;
        let (text, cause) = (text.clone(), cause.clone());
        Error(Arc::new(Inner { kind: *kind, text, key: Some(key.to_string()), cause }))
    }

    /// What can be done about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The key it happened to, as people read it: `tasks:v1:{..}`.
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// The loader's own error, when it is a `T` and the load ran in this process.
    ///
    /// A failure in another process carries only its code, so this is `None` there.
    pub fn cause<T: StdError + 'static>(&self) -> Option<&T> {
        let mut cause: Option<&(dyn StdError + 'static)> = match &self.0.cause {
            Some(cause) => Some(cause.as_ref()),
            None => None,
        };
        while let Some(this) = cause {
            if let Some(found) = this.downcast_ref() {
                return Some(found);
            }
            cause = this.source();
        }
        None
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)?;
        if let Some(key) = &self.0.key {
            write!(f, " ({key})")?;
        }
        if let Some(cause) = &self.0.cause {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The cause is part of the text already; this is for those who walk down to its type.
        match &self.0.cause {
            Some(cause) => Some(cause.as_ref()),
            None => None,
        }
    }
}

/// Why the shared side did not do what was asked: an answer to the read path, rarely an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FarError {
    /// There is no connection: nothing was sent.
    Away,
    /// The handle was closed: nothing was sent, and nothing will be.
    Closed,
    /// The breaker is open: nothing was sent.
    TurnedAway,
    /// Too many calls are under way: nothing was sent.
    Crowded,
    /// No answer in time: it may have happened.
    Slow,
    /// The connection broke: it may have happened.
    Broken(String),
    /// It answered that it would not: nothing happened.
    Refused(String),
    /// It answered, and nobody vouches for it being master: it may have happened where nobody looks.
    Unvouched,
}

impl FarError {
    /// For a call that has no other answer to give.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            FarError::Closed => ErrorKind::Closed,
            _ => ErrorKind::Far,
        }
    }
}

impl fmt::Display for FarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FarError::Away => f.write_str("not connected"),
            FarError::Closed => f.write_str("larder was closed"),
            FarError::TurnedAway => f.write_str("not asked: its breaker is open"),
            FarError::Crowded => f.write_str("not asked: too many calls wait for an answer"),
            FarError::Slow => f.write_str("no answer in time"),
            FarError::Broken(why) => write!(f, "connection broken: {why}"),
            FarError::Refused(why) => write!(f, "refused: {why}"),
            FarError::Unvouched => f.write_str("nobody vouches for this server being the master"),
        }
    }
}

impl std::error::Error for FarError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_where_and_why_and_gives_its_cause_back() {
        let io = std::io::Error::other("disk on fire");
        let error = Error::new(ErrorKind::Source, "cannot load").at("tasks:v1:{17}").because(io);
        assert_eq!(error.to_string(), "cannot load (tasks:v1:{17}): disk on fire");
        assert_eq!(error.key(), Some("tasks:v1:{17}"));
        assert!(error.cause::<std::io::Error>().is_some());
        assert!(error.cause::<std::fmt::Error>().is_none());
    }
}
