//! Which way a request goes: to the stored pages, past them, or to change what they show.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method};

use crate::layer::{Audience, Shared};
use crate::pages::Place;
use crate::request_key::RequestKey;
use crate::validator;

/// Left on a request that has come through a layer: one further in would wait for what the one further
/// out has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InCache;

/// Which way a request goes.
pub(crate) enum Road {
    /// It may be answered from a page.
    Page(Place),
    /// To the handler and back.
    Around(&'static str),
    /// To the handler; what is stored of its URL ends if it succeeds (RFC 9111 §4.4).
    Change(Option<RequestKey>),
}

impl Shared {
    /// `has_body`: more is to come than the parts.
    pub(crate) fn road(&self, parts: &Parts, has_body: bool) -> Road {
        if parts.extensions.get::<InCache>().is_some() {
            return Road::Around("cached further out");
        }
        match parts.method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS | Method::TRACE | Method::CONNECT => return Road::Around("method"),
            // Safe (RFC 9110 §9.2.1 as amended by the QUERY draft): it changes nothing.
            ref method if method.as_str() == "QUERY" => return Road::Around("method"),
            _ => return Road::Change(RequestKey::of(parts)),
        }
        if has_body || says_body(parts) {
            return Road::Around("request body");
        }
        if parts.headers.contains_key(UPGRADE) {
            return Road::Around("upgrade");
        }
        if self.settings.bypassing.iter().any(|name| parts.headers.contains_key(name)) {
            return Road::Around("forwarded fields");
        }
        if validator::passes(&parts.headers) {
            return Road::Around("precondition");
        }
        let Some(key) = RequestKey::of(parts) else { return Road::Around("no usable host") };
        let key = self.queries.named(key);
        let mut place = match &self.audience {
            Audience::Public => self.pages.of_everyone(key),
            Audience::Each(who) => match who(parts) {
                Some(user) if !user.as_str().is_empty() => self.pages.of_user(user, key),
                _ => return Road::Around("no user"),
            },
        };
        if let Some(tags) = &self.settings.tags {
            place.cache = place.cache.tagged(tags(parts));
        }
        Road::Page(place)
    }
}

fn says_body(parts: &Parts) -> bool {
    let empty = HeaderValue::from_static("0");
    parts.headers.contains_key(TRANSFER_ENCODING)
        || parts.headers.get_all(CONTENT_LENGTH).iter().any(|length| length != empty)
}
