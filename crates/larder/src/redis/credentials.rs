//! Who we are to Redis, asked anew for each connection.
//!
//! A password that is changed while the service runs is used from the next connection on; those that
//! stand are not logged in again, as Redis does not end them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::source::BoxError;

/// How long whoever knows the credentials may take: it may have to ask a vault.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// A user name and a password. Prints as `Credentials(..)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: Option<String>,
    password: String,
}

impl Credentials {
    /// The password of the server's default user, or of the one named by [`user`](Self::user).
    pub fn password(password: impl Into<String>) -> Credentials {
        Credentials { user: None, password: password.into() }
    }

    /// The name of an ACL user.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>) -> Credentials {
        self.user = Some(name.into());
        self
    }

    pub(super) fn parts(&self) -> (Option<&str>, &str) {
        (self.user.as_deref(), &self.password)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

type Asking = Pin<Box<dyn Future<Output = Result<Credentials, BoxError>> + Send>>;

/// Somebody who knows the credentials of the hour.
pub(crate) type Ask = Arc<dyn Fn() -> Asking + Send + Sync>;

/// Where the credentials come from.
#[derive(Clone)]
pub(super) enum Login {
    Fixed(Option<Credentials>),
    Asked(Ask),
}

impl Login {
    /// Those to be used now, or why there are none. `asked`: the setting that knows them.
    pub(super) async fn now(
        &self,
        clock: &Clock,
        asked: &str,
    ) -> Result<Option<Credentials>, String> {
        let ask = match self {
            Login::Fixed(credentials) => return Ok(credentials.clone()),
            Login::Asked(ask) => ask.clone(),
        };
        // In a task of its own, which ends with this call: if it panics, the connection goes on being tried.
        let mut asking = JoinSet::new();
        asking.spawn(async move { ask().await });
        match clock.within(KNOWN_WITHIN, asking.join_next()).await {
            Some(Some(Ok(Ok(credentials)))) => Ok(Some(credentials)),
            Some(Some(Ok(Err(why)))) => Err(format!("{asked} failed: {why}")),
            Some(_) => Err(format!("{asked} panicked")),
            None => Err(format!("{asked} took longer than {KNOWN_WITHIN:?}")),
        }
    }
}
