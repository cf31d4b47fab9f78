//! One load per process, then one per fleet.
//!
//! A [`flight`] gathers the callers of this process who miss the same key; a [`lease`] makes it one
//! flight of the whole fleet that loads. Both end with their last caller.

pub(crate) mod flight;
pub(crate) mod lease;
