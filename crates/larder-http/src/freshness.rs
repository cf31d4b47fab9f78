//! How long a response may be used, and what its age is.
//!
//! RFC 9111 §4.2 in small functions without a clock: every time is an argument. What is said wrongly
//! is read as stale, except an `Age` that is no number, which the RFC wants ignored (§5.1).

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE, EXPIRES, HeaderMap, HeaderValue, LAST_MODIFIED};
use http::{HeaderName, StatusCode};
use serde::{Deserialize, Serialize};

use crate::directive::{Directives, Fields, delta_seconds};
use crate::rule::Heuristic;

/// The longest that a guess may last.
const GUESS_MAX: Duration = larder::DAY;

/// What one response allows, computed once when it is stored or freshened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// The freshness lifetime, its age not taken off.
    pub(crate) fresh_for_ms: u64,
    /// `no-cache`: validated before every use.
    pub(crate) must_validate: bool,
    /// `must-revalidate`, `proxy-revalidate`, `s-maxage`, `no-cache`: never served stale.
    pub(crate) never_stale: bool,
    /// `public`, `s-maxage`, `must-revalidate`: good also for who carries `Authorization` (RFC 9111 §3.5).
    pub(crate) shared: bool,
    pub(crate) stale_while_revalidate_ms: u64,
    pub(crate) stale_if_error_ms: u64,
}

/// What a stored response is good for, at its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Fresh,
    /// Serve it at once, refresh it behind.
    StaleWhileRevalidate,
    Validate,
}

/// For how long a response is fresh, and whether it was said or guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub(crate) time: Duration,
    pub(crate) explicit: bool,
}

impl Terms {
    /// The terms of a response that is fresh for `fresh`, may be stale as long as it says so, and
    /// bears what `said` forbids.
    pub(crate) fn new(
        said: &Directives,
        fresh: Duration,
        stale_while_revalidate: Duration,
        stale_if_error: Duration,
    ) -> Terms {
        let must_validate = said.no_cache == Some(Fields::All);
        // s-maxage means proxy-revalidate as well (RFC 9111 §5.2.2.10).
        let never_stale = must_validate
            || said.must_revalidate
            || said.proxy_revalidate
            || said.s_maxage.is_some();
        Terms {
            fresh_for_ms: as_ms(fresh),
            must_validate,
            never_stale,
            shared: said.is_shared(),
            stale_while_revalidate_ms: as_ms(stale_while_revalidate),
            stale_if_error_ms: as_ms(stale_if_error),
        }
    }

    pub(crate) fn judge(&self, age: Duration) -> Use {
        if self.must_validate {
            Use::Validate
        } else if age < self.fresh() {
            Use::Fresh
        } else if age < self.with_stale(self.stale_while_revalidate_ms) {
            Use::StaleWhileRevalidate
        } else {
            Use::Validate
        }
    }

    /// May it be served because the handler failed?
    pub(crate) fn stands_in(&self, age: Duration) -> bool {
        !self.must_validate && age < self.with_stale(self.stale_if_error_ms)
    }

    /// How long from now it is of any use: to be served, fresh or stale, or to be validated within
    /// `revalidation_window` of the end of its freshness. Zero: do not keep it.
    pub(crate) fn keep_for(&self, age: Duration, revalidation_window: Duration) -> Duration {
        if self.must_validate {
            return revalidation_window;
        }
        let stale_ms = self.stale_while_revalidate_ms.max(self.stale_if_error_ms);
        let served = self.with_stale(stale_ms).saturating_sub(age);
        let fresh = self.fresh().saturating_sub(age);
        served.max(fresh.saturating_add(revalidation_window))
    }

    pub(crate) fn fresh(&self) -> Duration {
        Duration::from_millis(self.fresh_for_ms)
    }

    fn with_stale(&self, stale_ms: u64) -> Duration {
        let stale_ms = if self.never_stale { 0 } else { stale_ms };
        self.fresh().saturating_add(Duration::from_millis(stale_ms))
    }
}

/// One HTTP date, in any of the three forms; case does not matter (RFC 9111 §4.2), all else does.
pub(crate) fn http_date(value: &HeaderValue) -> Option<SystemTime> {
    let mut inside = false;
    let cased = value.to_str().ok()?.chars().map(|letter| {
        let cased = if inside { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() };
        inside = letter.is_ascii_alphabetic();
        cased
    });
    let cased: String = cased.collect();
    let zoned = cased.strip_suffix(" Gmt").map(|date| format!("{date} GMT"));
    httpdate::parse_http_date(zoned.as_deref().unwrap_or(&cased)).ok()
}

/// When the response was made, as it says. Of several lines the oldest, which makes it stale
/// soonest; a line that is no date is as if absent.
pub(crate) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    dates(headers, DATE).min()
}

/// How old a response is when it arrives (RFC 9111 §4.2.3: `corrected_initial_age`).
pub(crate) fn initial_age(
    headers: &HeaderMap,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Duration {
    let apparent = date(headers).map_or(Duration::ZERO, |date| since(response_time, date));
    let corrected = age_value(headers).saturating_add(since(response_time, request_time));
    apparent.max(corrected)
}

/// The freshness lifetime, for a shared cache (RFC 9111 §4.2.1, §4.2.2). `None`: nothing is said of
/// it, and nothing may be guessed.
///
/// `targeted`: `said` was said in a targeted field, beside which `Expires` does not count.
pub(crate) fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    said: &Directives,
    targeted: bool,
    response_time: SystemTime,
    heuristic: Heuristic,
) -> Option<Lifetime> {
    let explicit = said.s_maxage.or(said.max_age).or_else(|| {
        let made = date(headers).unwrap_or(response_time);
        if targeted { None } else { expires_after(headers, made) }
    });
    if let Some(time) = explicit {
        return Some(Lifetime { time, explicit: true });
    }
    if heuristic == Heuristic::Off || !(said.public || cacheable_by_default(status)) {
        return None;
    }
    let unchanged = response_time.duration_since(dates(headers, LAST_MODIFIED).max()?).ok()?;
    Some(Lifetime { time: (unchanged / 10).min(GUESS_MAX), explicit: false })
}

/// May it be stored when nothing is said of its freshness? RFC 9110 §15.1, without 206.
pub(crate) fn cacheable_by_default(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// `Expires` less the date of the response. Of several lines the soonest; one that is no date has
/// already expired (RFC 9111 §5.3).
fn expires_after(headers: &HeaderMap, made: SystemTime) -> Option<Duration> {
    let after = |line| http_date(line).map_or(Duration::ZERO, |expires| since(expires, made));
    headers.get_all(EXPIRES).iter().map(after).min()
}

/// The first member of the first line stands; one that is not all digits is ignored.
fn age_value(headers: &HeaderMap) -> Duration {
    let first =
        headers.get(AGE).and_then(|line| line.as_bytes().split(|byte| *byte == b',').next());
    first.and_then(|member| delta_seconds(member.trim_ascii())).unwrap_or_default()
}

fn dates(headers: &HeaderMap, field: HeaderName) -> impl Iterator<Item = SystemTime> {
    headers.get_all(field).into_iter().filter_map(http_date)
}

/// Zero when the clocks disagree.
fn since(later: SystemTime, earlier: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

fn as_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
