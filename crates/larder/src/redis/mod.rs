//! Redis, kept connected: the only folder that names the client crate, with `far/redis` beside it.
//!
//! [`Supervisor`] keeps one connection of a [`Role`] alive; a [`Line`] is one such connection. What is
//! asked over it is far's business: this folder knows of addresses, connections, heartbeats and
//! scripts, and of no entry.

mod connect;
mod forgotten;
mod reads;
mod script;
mod supervisor;

pub(crate) use connect::{Address, NoConnection, Role};
pub(crate) use reads::Names;
pub(crate) use script::Script;
pub(crate) use supervisor::{Line, Pushed, Supervisor, Terms};
