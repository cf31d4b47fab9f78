//! Guards around a call that may be slow or fail.
//!
//! [`breaker`] leaves a far side alone that only costs time; [`behind`] bounds what goes on without its caller.

pub(crate) mod behind;
#[cfg(feature = "redis")]
pub(crate) mod breaker;
