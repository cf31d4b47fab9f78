//! What an answer says of how it came about: `X-Cache` for people, `Cache-Status` (RFC 9211) for tools.
//!
//! Neither says anything of others: no key, no user, no value. What came from the handler stands first
//! in `Cache-Status`, as the RFC has it: caches append. An `X-Cache` that the handler set is kept.

use std::fmt::Write as _;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How an answer came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// From what is stored, and fresh for so much longer.
    Hit { left: Duration },
    /// From what another request, which ran beside this one, has stored.
    Collapsed { fwd: Fwd, left: Duration },
    /// From what is stored, stale for so long: it is refreshed behind, or the handler failed.
    Stale { since: Duration, fwd: Option<Fwd> },
    /// From the handler.
    Miss { fwd: Fwd, stored: bool, detail: Option<&'static str> },
    /// From what is stored, after the handler was asked whether it still holds.
    Validated { left: Duration },
    /// Past the cache.
    Bypass { detail: &'static str },
    /// It changes things.
    Method,
}

/// Why a request went to the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fwd {
    UriMiss,
    VaryMiss,
    Stale,
    Request,
}

impl Fwd {
    fn as_str(self) -> &'static str {
        match self {
            Fwd::UriMiss => "uri-miss",
            Fwd::VaryMiss => "vary-miss",
            Fwd::Stale => "stale",
            Fwd::Request => "request",
        }
    }
}

impl Told {
    fn for_people(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Told::Hit { .. } | Told::Collapsed { .. } => "HIT",
            Told::Stale { .. } => "STALE",
            Told::Miss { .. } | Told::Validated { .. } => "MISS",
            Told::Bypass { .. } | Told::Method => "BYPASS",
        })
    }

    fn for_tools(self) -> String {
        // Room for most: a hit says this each time.
        let mut text = String::with_capacity(64);
        text.push_str("larder");
        // Writing to a String does not fail.
        let _ = match self {
            Told::Hit { left } => write!(text, "; hit; ttl={}", left.as_secs()),
            Told::Collapsed { fwd, left } => {
                write!(text, "; fwd={}; ttl={}; collapsed", fwd.as_str(), left.as_secs())
            }
            Told::Stale { since, fwd: None } => write!(text, "; hit; ttl=-{}", since.as_secs()),
            Told::Stale { since, fwd: Some(fwd) } => {
                write!(text, "; fwd={}; ttl=-{}", fwd.as_str(), since.as_secs())
            }
            Told::Validated { left } => {
                write!(text, "; fwd=stale; fwd-status=304; ttl={}", left.as_secs())
            }
            Told::Miss { fwd, stored, detail } => {
                let stored = if stored { "; stored" } else { "" };
                let _ = write!(text, "; fwd={}{stored}", fwd.as_str());
                detail.map_or(Ok(()), |detail| write!(text, "; detail=\"{detail}\""))
            }
            Told::Bypass { detail } => write!(text, "; fwd=bypass; detail=\"{detail}\""),
            Told::Method => write!(text, "; fwd=method"),
        };
        text
    }

    /// Says it in the header of the answer.
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
        if !headers.contains_key(X_CACHE) {
            headers.insert(X_CACHE, self.for_people());
        }
        if let Ok(value) = HeaderValue::try_from(self.for_tools()) {
            headers.append(CACHE_STATUS, value);
        }
    }
}
