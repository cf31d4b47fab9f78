//! Redis, kept connected: the only folder that names the client crate, with `far/redis` beside it.
//!
//! [`Supervisor`] keeps one connection of a [`Role`] alive; a [`Line`] is one such connection. What is
//! asked over it is far's business: this folder knows of addresses, credentials, certificates,
//! connections, heartbeats and scripts, and of no entry.

mod address;
pub(crate) mod cluster;
#[cfg(feature = "structures")]
mod commands;
mod connect;
mod credentials;
mod forgotten;
mod reads;
#[cfg(feature = "structures")]
mod reply;
mod script;
mod sentinel;
mod supervisor;
#[cfg(feature = "tls")]
mod tls;
mod whereabouts;
mod wire;

#[cfg(feature = "structures")]
pub(crate) use commands::{Call, Commands, Private, is_unsure};
pub(crate) use connect::{Access, AddressMap, NoConnection, Role, Wishes};
pub(crate) use credentials::Ask;
pub use credentials::Credentials;
pub(crate) use reads::{Answers, string};
#[cfg(feature = "structures")]
pub(crate) use reply::{Reply, odd};
pub(crate) use script::Script;
pub(crate) use sentinel::{Sentinels, Times};
pub(crate) use supervisor::{Line, Pushed, Reading, Supervisor, Terms};
#[cfg(feature = "tls")]
pub use tls::Tls;
pub(crate) use whereabouts::{Fixed, Whereabouts};
