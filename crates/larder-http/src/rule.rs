//! What may be stored, for how long, and which of its fields.
//!
//! A [`Rule`] is asked once per response, after the handler answered and before a byte is kept. It
//! decides on fields alone and holds no state. All refusals stand in one function, in the order in
//! which they are told; the reasons end up in `Cache-Status`.

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode};

use crate::directive::{Directives, Fields, RequestDirectives};
use crate::freshness::{self, Terms};

const LARDER_CACHE_CONTROL: HeaderName = HeaderName::from_static("larder-cache-control");
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// A refusal that says nothing of what others are answered.
pub(crate) const AUTHORIZATION: &str = "authorization";
/// Never stored: they belong to the connection (RFC 9110 §7.6.1), are computed anew for every
/// answer, or speak to caches.
const NEVER_STORED: [HeaderName; 16] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::AGE,
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("x-cache"),
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("cache-group-invalidation"),
];

/// Which responses are stored, and how long they may be used.
///
/// Whatever the rule, these are never stored: an answer to anything but GET, one that says
/// `no-store` or `private`, one that sets a cookie (see [`strip_set_cookie`](Self::strip_set_cookie)),
/// one that varies by `*`, a part of a page, and for everyone's use an answer to a request with
/// `Authorization` that does not say it may be shared (RFC 9111 §3.5).
///
/// ```
/// use larder::{HOUR, Lifetime, MINUTE};
/// use larder_http::Rule;
/// let by_the_book = Rule::standard();
/// let by_the_owner = Rule::for_route(Lifetime::fresh_for(5 * MINUTE).stale_for(HOUR));
/// # let _ = (by_the_book, by_the_owner);
/// ```
#[derive(Clone, Debug)]
pub struct Rule {
    basis: Basis,
    own_target: HeaderName,
    cookies: Cookies,
    wishes: Wishes,
    stale_if_error: Duration,
    body_bytes_max: usize,
}

/// Who says how long.
#[derive(Clone, Copy, Debug)]
enum Basis {
    Response(Heuristic),
    Owner(larder::Lifetime),
}

/// What becomes of a response that says nothing of its freshness, but when it was last modified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heuristic {
    /// It is fresh for a tenth of the time it has been unchanged, at most a day (RFC 9111 §4.2.2).
    On,
    /// It is validated before every use.
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cookies {
    Refuse,
    Strip,
}

/// What the directives of a request are to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wishes {
    Ignored,
    Honoured,
}

/// Who will be served from what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Everyone,
    OneUser,
}

/// A request and the response to it, as far as a rule asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) whose: Whose,
    pub(crate) method: &'a Method,
    pub(crate) request: &'a HeaderMap,
    pub(crate) status: StatusCode,
    pub(crate) response: &'a HeaderMap,
    pub(crate) request_time: SystemTime,
    pub(crate) response_time: SystemTime,
}

/// May it be stored?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storable {
    Yes(Terms),
    /// The reason, in words, for the detail of `Cache-Status`.
    No(&'static str),
}

impl Rule {
    /// Stores what the response itself allows a shared cache to store, for as long as it says (RFC
    /// 9111).
    pub fn standard() -> Rule {
        Rule::on(Basis::Response(Heuristic::On))
    }

    /// The owner of the route says how long: fresh for the lifetime's `fresh_for`, and for its
    /// `stale_for` served stale while it is refreshed or when the handler fails.
    ///
    /// Of the response only what forbids still counts: `no-cache` has it validated before every
    /// use, `must-revalidate`, `proxy-revalidate` and `s-maxage` keep it from being served stale,
    /// and statuses that are not cacheable by default (RFC 9110 §15.1) are not stored.
    pub fn for_route(lifetime: larder::Lifetime) -> Rule {
        Rule::on(Basis::Owner(lifetime))
    }

    fn on(basis: Basis) -> Rule {
        Rule {
            basis,
            own_target: LARDER_CACHE_CONTROL,
            cookies: Cookies::Refuse,
            wishes: Wishes::Ignored,
            stale_if_error: Duration::ZERO,
            body_bytes_max: 1 << 20,
        }
    }

    /// The response field that speaks to this cache alone (RFC 9213), `Larder-Cache-Control` unless
    /// told. It comes before `CDN-Cache-Control`, which comes before `Cache-Control`; the first that
    /// is there and well-formed stands alone.
    #[must_use]
    pub fn targeted_by(mut self, field: HeaderName) -> Rule {
        self.own_target = field;
        self
    }

    /// Whether freshness may be guessed; on unless told. Without effect under
    /// [`for_route`](Self::for_route), where nothing is guessed.
    #[must_use]
    pub fn heuristic(mut self, heuristic: Heuristic) -> Rule {
        if let Basis::Response(set) = &mut self.basis {
            *set = heuristic;
        }
        self
    }

    /// Stores a response that sets a cookie, without the `Set-Cookie`. Unless told it is not stored.
    ///
    /// For routes behind a layer that sets a cookie on every answer. Be sure that the rest of the
    /// response does not depend on it.
    #[must_use]
    pub fn strip_set_cookie(mut self) -> Rule {
        self.cookies = Cookies::Strip;
        self
    }

    /// Honours what a request says in `Cache-Control`. Ignored unless told: the origin is here, and
    /// a client that may pass by the cache may put its load on the handler.
    #[must_use]
    pub fn honour_request_directives(mut self) -> Rule {
        self.wishes = Wishes::Honoured;
        self
    }

    /// For how long beyond its freshness a response stands in when the handler fails, where the
    /// response itself does not say (`stale-if-error`, RFC 5861 §4). Not at all unless told; never what
    /// forbids it (RFC 9111 §4.2.4). Without effect under [`for_route`](Self::for_route), whose
    /// lifetime says it.
    #[must_use]
    pub fn stale_if_error(mut self, time: Duration) -> Rule {
        self.stale_if_error = time;
        self
    }

    /// The largest body that is stored, 1 MiB unless told. A larger one passes through whole.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: usize) -> Rule {
        self.body_bytes_max = bytes;
        self
    }

    pub(crate) fn body_cap(&self) -> usize {
        self.body_bytes_max
    }

    /// What the request asks for, as far as it is heard.
    pub(crate) fn wishes(&self, request: &HeaderMap) -> RequestDirectives {
        match self.wishes {
            Wishes::Ignored => RequestDirectives::default(),
            Wishes::Honoured => RequestDirectives::of(request),
        }
    }

    pub(crate) fn judge(&self, exchange: &Exchange<'_>) -> Storable {
        let (said, targeted) = self.said(exchange.response);
        if let Some(reason) = self.refusal(exchange, &said) {
            return Storable::No(reason);
        }
        let Exchange { response, request_time, response_time, .. } = *exchange;
        let age = freshness::initial_age(response, request_time, response_time);
        let terms = match self.basis {
            Basis::Owner(lifetime) => owner_terms(lifetime, &said, age),
            Basis::Response(heuristic) => {
                match self.response_terms(exchange, &said, targeted, heuristic) {
                    Some(terms) => terms,
                    None => return Storable::No("nothing said of freshness"),
                }
            }
        };
        let can_be_validated =
            response.contains_key(header::ETAG) || response.contains_key(header::LAST_MODIFIED);
        if !can_be_validated && terms.keep_for(age, Duration::ZERO).is_zero() {
            return Storable::No("not fresh, and no validator");
        }
        Storable::Yes(terms)
    }

    /// Why it is not stored whatever its freshness (RFC 9111 §3, §3.5).
    fn refusal(&self, exchange: &Exchange<'_>, said: &Directives) -> Option<&'static str> {
        let Exchange { whose, method, request, status, response, .. } = *exchange;
        if method != Method::GET {
            return Some("method");
        }
        // 206 is a part, 304 and 412 answer a condition, 416 a range: none is the page.
        if status.as_u16() < 200 || matches!(status.as_u16(), 206 | 304 | 412 | 416) {
            return Some("status");
        }
        if matches!(self.basis, Basis::Owner(_)) && !freshness::cacheable_by_default(status) {
            return Some("status");
        }
        if said.must_understand && !understood(status) {
            return Some("must-understand");
        }
        if said.no_store && !said.must_understand {
            return Some("no-store");
        }
        if said.private == Some(Fields::All) {
            return Some("private");
        }
        if self.cookies == Cookies::Refuse && response.contains_key(header::SET_COOKIE) {
            return Some("set-cookie");
        }
        if varies_by_anything(response) {
            return Some("vary *");
        }
        // What the owner of the route stores for one user is served to that user alone.
        let own = matches!(self.basis, Basis::Owner(_)) && whose == Whose::OneUser;
        if request.contains_key(header::AUTHORIZATION) && !said.is_shared() && !own {
            return Some(AUTHORIZATION);
        }
        if self.wishes(request).no_store {
            return Some("request no-store");
        }
        None
    }

    /// The header fields as they are stored.
    pub(crate) fn stored_headers(&self, response: &HeaderMap) -> HeaderMap {
        let (said, _) = self.said(response);
        let mut stored = response.clone();
        for name in listed(response.get_all(header::CONNECTION)) {
            stored.remove(name);
        }
        for fields in [said.no_cache, said.private].into_iter().flatten() {
            let Fields::Named(names) = fields else { continue };
            for name in names {
                stored.remove(name);
            }
        }
        for name in NEVER_STORED {
            stored.remove(name);
        }
        if matches!(self.basis, Basis::Owner(_)) {
            stored.remove(SERVER_TIMING);
        }
        // Where cookies are refused, one may still come with the 304 that freshens a stored response.
        stored.remove(header::SET_COOKIE);
        stored
    }

    /// `None`: neither the response nor its status allows it to be stored.
    fn response_terms(
        &self,
        exchange: &Exchange<'_>,
        said: &Directives,
        targeted: bool,
        heuristic: Heuristic,
    ) -> Option<Terms> {
        let Exchange { status, response, response_time, .. } = *exchange;
        let lifetime =
            freshness::lifetime(status, response, said, targeted, response_time, heuristic);
        let spoken = said.public || lifetime.is_some_and(|lifetime| lifetime.explicit);
        if !spoken && !freshness::cacheable_by_default(status) {
            return None;
        }
        Some(Terms::new(
            said,
            lifetime.map(|lifetime| lifetime.time).unwrap_or_default(),
            said.stale_while_revalidate.unwrap_or_default(),
            said.stale_if_error.unwrap_or(self.stale_if_error),
        ))
    }

    fn said(&self, response: &HeaderMap) -> (Directives, bool) {
        Directives::of_response(response, &[self.own_target.clone(), CDN_CACHE_CONTROL])
    }
}

/// The owner's time runs from now, however old the response says it is.
fn owner_terms(lifetime: larder::Lifetime, said: &Directives, age: Duration) -> Terms {
    let fresh = lifetime.fresh().saturating_add(age);
    Terms::new(said, fresh, lifetime.stale(), lifetime.stale())
}

/// The statuses whose meaning for a cache we know: those of RFC 9110 §15.
fn understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

fn varies_by_anything(response: &HeaderMap) -> bool {
    let lines = response.get_all(header::VARY).iter();
    let mut members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members.any(|member| member.trim_ascii() == b"*")
}

/// The field names in a list of them; what is none is left out.
fn listed<'a>(
    lines: impl IntoIterator<Item = &'a http::HeaderValue>,
) -> impl Iterator<Item = HeaderName> {
    let members = lines.into_iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members.filter_map(|member| HeaderName::from_bytes(member.trim_ascii()).ok())
}
