//! What the handlers share.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use utoipa::ToSchema;

use crate::limits::Limits;
use crate::session::Sessions;
use crate::tasks::CachedTasks;

/// What every handler may use. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) tasks: CachedTasks,
    pub(crate) limits: Limits,
    /// Whether responses are cached beside the data that they are made of.
    pub(crate) response_cache: ResponseCache,
    /// Where the cache's shared side is.
    pub(crate) far: Far,
    /// How long a client may take to send a whole body.
    pub(crate) body_wait: Duration,
    /// Whether tokens are handed out to the demo's users.
    pub(crate) demo: bool,
}

/// Whether responses are cached beside the data that they are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResponseCache {
    On,
    Off,
}

/// Where the cache's shared side is.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Far {
    Redis,
    Embedded,
}
