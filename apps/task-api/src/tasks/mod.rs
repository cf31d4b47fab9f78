//! Tasks: what they are, where their truth lives, how they are cached, how they are asked for.
//!
//! ```text
//! responses? ──> routes ──> cached ──> repository ──> delayed? ──> sqlite or mongo
//!     │            │          │
//! larder-http    input      larder <── deeds
//! ```
//! A request comes in at [`mod@routes`] and goes down once. Everyone speaks of [`model`]'s plain values.

mod cached;
#[cfg(test)]
mod contract;
mod deeds;
mod delayed;
mod input;
mod model;
#[cfg(feature = "mongodb")]
mod mongo;
mod repository;
mod responses;
mod routes;
mod seen;
mod sqlite;

pub(crate) use cached::CachedTasks;
pub(crate) use delayed::Delayed;
pub(crate) use model::{Status, Task, TaskId, UserId};
#[cfg(feature = "mongodb")]
pub(crate) use mongo::Mongo;
pub(crate) use repository::Repository;
pub(crate) use routes::routes;
pub(crate) use sqlite::{Place, Sqlite};
