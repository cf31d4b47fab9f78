//! Guards around a call that may be slow or fail.
//!
//! [`breaker`] leaves a far side alone that only costs time.

pub(crate) mod breaker;
