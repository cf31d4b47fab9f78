//! What can be wrong with how the layer is set up. A request never fails by the cache.

use std::fmt;

/// Settings that cannot be meant.
#[derive(Clone, Debug)]
pub struct Error {
    text: String,
    cause: Option<larder::Error>,
}

impl Error {
    pub(crate) fn new(text: String) -> Error {
        Error { text, cause: None }
    }
}

impl From<larder::Error> for Error {
    fn from(cause: larder::Error) -> Error {
        Error { text: "cannot open the caches of the HTTP layer".to_owned(), cause: Some(cause) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}
