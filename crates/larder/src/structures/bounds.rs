//! Settings, held against their bounds.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::clock::DAY;
use crate::error::{Error, ErrorKind};
use crate::key::Shape;

const LONGEST: Duration = Duration::from_secs(10 * 365 * DAY.as_secs());

/// # Errors
/// `Config` when it is not within its bounds.
pub(super) fn check<T: PartialOrd + fmt::Display>(
    shape: &Shape,
    setting: &str,
    given: T,
    bounds: RangeInclusive<T>,
) -> Result<(), Error> {
    if bounds.contains(&given) {
        return Ok(());
    }
    let (least, most) = bounds.into_inner();
    let text = format!("{shape}: {setting} is {given}; it is from {least} to {most}");
    Err(Error::new(ErrorKind::Config, text))
}

/// # Errors
/// `Config` unless it is from a millisecond to ten years.
pub(super) fn check_time(shape: &Shape, setting: &str, given: Duration) -> Result<(), Error> {
    if (Duration::from_millis(1)..=LONGEST).contains(&given) {
        return Ok(());
    }
    let text = format!("{shape}: {setting} is {given:?}; it is from a millisecond to ten years");
    Err(Error::new(ErrorKind::Config, text))
}

/// In milliseconds, as Redis counts; 0 for never.
pub(super) fn ms(time: impl Into<Option<Duration>>) -> u64 {
    time.into().map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
