//! A response as it is kept, and the page that holds all variants of one URL.
//!
//! One page is one entry of larder: it is stored under one lease, and ends as a whole. Its variants are
//! bounded: a client that varies a field in which the handler varies pushes out other variants of this
//! URL, and nothing else.
//!
//! A page can say that answers to this URL were of no use to others ([`Page::is_passing`]): then those
//! who miss do not wait for one another. Ages are counted on from where they stood when the page was
//! stored.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use larder::Tag;
use serde::{Deserialize, Serialize};

use crate::directive::RequestDirectives;
use crate::freshness::{Terms, Use};
use crate::rule::Whose;
use crate::vary::Selection;

/// As many variants of one URL are kept.
const VARIANTS_MAX: usize = 8;
/// As many tags has one page, all variants together: an entry of larder has 255 at the most.
const TAGS_MAX: usize = 200;
/// For so long those who miss go in parallel, where the last answer was of no use to others.
pub(crate) const PASS: Duration = Duration::from_secs(10);
/// How much longer than it may be served a response is kept, to be validated.
const VALIDATED_WITHIN: Duration = Duration::from_secs(60 * 60);
/// What larder keeps an entry for at the most, and at the least.
const KEPT_MOST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const KEPT_LEAST: Duration = Duration::from_millis(1);

/// What is stored of one URL, for everyone or for one user.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Page {
    /// The newest first.
    variants: Vec<Stored>,
    /// From when it was stored: for so long those who miss go in parallel.
    pass_ms: u64,
    /// Likewise: for so long what may stand in for a handler that fails does.
    failing_ms: u64,
}

/// One response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) selection: Selection,
    #[serde(with = "fields")]
    pub(crate) headers: HeaderMap,
    status: u16,
    pub(crate) body: Bytes,
    /// Its ETag is ours: the handler knows nothing of it.
    pub(crate) made_etag: bool,
    pub(crate) terms: Terms,
    /// What its handler named.
    pub(crate) tags: Vec<Tag>,
    /// When its page was stored.
    age_ms: u64,
    /// When it came from the handler, since 1970.
    received_ms: u64,
}

/// Who asks, as far as that decides what they may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    pub(crate) whose: Whose,
    pub(crate) headers: &'a HeaderMap,
    /// What it asks for in `Cache-Control`, if that is heard.
    pub(crate) wishes: &'a RequestDirectives,
    /// The fields that must have selected what it is served.
    pub(crate) varying: &'a [HeaderName],
}

impl Stored {
    pub(crate) fn new(
        selection: Selection,
        status: StatusCode,
        headers: HeaderMap,
        terms: Terms,
        age: Duration,
        received: SystemTime,
    ) -> Stored {
        let received = received.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Stored {
            selection,
            headers,
            status: status.as_u16(),
            body: Bytes::new(),
            made_etag: false,
            terms,
            tags: Vec::new(),
            age_ms: ms(age),
            received_ms: ms(received),
        }
    }

    /// What its handler named.
    pub(crate) fn tagged(self, tags: Vec<Tag>) -> Stored {
        Stored { tags, ..self }
    }

    pub(crate) fn with_body(self, body: Bytes) -> Stored {
        Stored { body, ..self }
    }

    pub(crate) fn older_by(mut self, time: Duration) -> Stored {
        self.age_ms = ms(self.age(time));
        self
    }

    /// What is stored far may be of any number.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK)
    }

    pub(crate) fn received(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.received_ms)
    }

    /// Its age (RFC 9111 §4.2.3), `on_page` after its page was stored.
    pub(crate) fn age(&self, on_page: Duration) -> Duration {
        Duration::from_millis(self.age_ms).saturating_add(on_page)
    }

    /// It has to be validated before every use, from the first on.
    pub(crate) fn is_never_fresh(&self) -> bool {
        self.terms.judge(self.age(Duration::ZERO)) == Use::Validate
    }

    /// Does the other say the same, but for when it was said?
    pub(crate) fn says_the_same(&self, other: &Stored) -> bool {
        let undated = |stored: &Stored| {
            let mut headers = stored.headers.clone();
            headers.remove(http::header::DATE);
            headers
        };
        self.terms == other.terms && undated(self) == undated(other)
    }

    fn keep_for(&self, on_page: Duration) -> Duration {
        let validated = match self.headers.contains_key(http::header::ETAG)
            || self.headers.contains_key(http::header::LAST_MODIFIED)
        {
            true => VALIDATED_WITHIN,
            false => Duration::ZERO,
        };
        self.terms.keep_for(self.age(on_page), validated)
    }

    /// What it is good for, to this request.
    pub(crate) fn judge(&self, wishes: &RequestDirectives, on_page: Duration) -> Use {
        let (age, fresh) = (self.age(on_page), self.terms.fresh());
        let usable = self.terms.judge(age);
        let too_old = wishes.max_age.is_some_and(|most| age > most);
        let too_near = wishes.min_fresh.is_some_and(|least| fresh.saturating_sub(age) < least);
        if wishes.no_cache || too_old || too_near {
            return Use::Validate;
        }
        let may_be_stale = wishes.max_stale.is_some_and(|most| {
            !self.terms.never_stale && most.is_none_or(|most| age.saturating_sub(fresh) <= most)
        });
        if usable == Use::Validate && may_be_stale { Use::Fresh } else { usable }
    }

    /// May this request have it at all? What was stored without `Authorization` stands in for no 401.
    fn is_for(&self, asking: Asking<'_>) -> bool {
        let authorized = asking.headers.contains_key(http::header::AUTHORIZATION);
        let shared = asking.whose == Whose::OneUser || !authorized || self.terms.shared;
        shared && self.selection.covers(asking.varying) && self.selection.matches(asking.headers)
    }
}

impl Page {
    /// What is stored for this request: the newest, if several were selected alike.
    pub(crate) fn select(&self, asking: Asking<'_>) -> Option<&Stored> {
        self.variants.iter().find(|stored| stored.is_for(asking))
    }

    pub(crate) fn has_variants(&self) -> bool {
        !self.variants.is_empty()
    }

    /// Whether those who miss need not wait for one another, `on_page` after it was stored.
    pub(crate) fn is_passing(&self, on_page: Duration) -> bool {
        ms(on_page) < self.pass_ms
    }

    /// Whether it says so for a while yet.
    pub(crate) fn is_passing_on(&self, on_page: Duration) -> bool {
        ms(on_page) < self.pass_ms / 2
    }

    /// What stands in for the handler, which failed a moment ago.
    pub(crate) fn stand_in(&self, asking: Asking<'_>, on_page: Duration) -> Option<&Stored> {
        if ms(on_page) >= self.failing_ms {
            return None;
        }
        self.select(asking).filter(|stored| stored.terms.stands_in(stored.age(on_page)))
    }

    /// Can this request be answered from it, without the handler?
    fn serves(&self, asking: Asking<'_>, on_page: Duration) -> bool {
        let fresh = |stored: &Stored| stored.judge(asking.wishes, on_page) == Use::Fresh;
        self.select(asking).is_some_and(fresh)
    }

    /// The same, or by what stands in for a handler that fails.
    pub(crate) fn answers(&self, asking: Asking<'_>, on_page: Duration) -> bool {
        self.serves(asking, on_page) || self.stand_in(asking, on_page).is_some()
    }

    /// Itself, to be stored anew `on_page` after it was stored: without what is of no more use, and
    /// without what this request would be served.
    pub(crate) fn carried(mut self, asking: Asking<'_>, on_page: Duration) -> Page {
        self.variants.retain(|stored| !stored.is_for(asking));
        self.aged(on_page)
    }

    /// The same, with what this request would be served.
    pub(crate) fn aged(mut self, on_page: Duration) -> Page {
        self.variants.retain(|stored| !stored.keep_for(on_page).is_zero());
        (self.pass_ms, self.failing_ms) = (0, 0);
        self.later(on_page)
    }

    /// With a newer variant.
    fn with(mut self, stored: Stored) -> Page {
        self.variants.insert(0, stored);
        self.variants.truncate(VARIANTS_MAX);
        while self.variants.len() > 1 && self.tags().len() > TAGS_MAX {
            self.variants.pop();
        }
        self
    }

    /// The same, and what has to be validated each time is waited for by nobody.
    pub(crate) fn with_news(self, stored: Stored) -> Page {
        let never_fresh = stored.is_never_fresh();
        let page = self.with(stored);
        if never_fresh { page.passing_for(PASS) } else { page }
    }

    /// The same page, stored so much later.
    pub(crate) fn later(mut self, by: Duration) -> Page {
        for stored in &mut self.variants {
            stored.age_ms = ms(stored.age(by));
        }
        self
    }

    /// Saying, for a while from now, that those who miss are not to wait.
    pub(crate) fn passing_for(mut self, time: Duration) -> Page {
        self.pass_ms = ms(time);
        self
    }

    /// Saying, for a while from now, that the handler fails.
    pub(crate) fn failing_for(mut self, time: Duration) -> Page {
        self.failing_ms = ms(time);
        self
    }

    /// How long it is of use, from when it is stored.
    pub(crate) fn keep_for(&self) -> Duration {
        let variants = self.variants.iter().map(|stored| stored.keep_for(Duration::ZERO));
        let longest = variants.max().unwrap_or_default().max(Duration::from_millis(self.pass_ms));
        longest.clamp(KEPT_LEAST, KEPT_MOST)
    }

    /// All that its variants carry, each once.
    pub(crate) fn tags(&self) -> Vec<Tag> {
        let mut tags: Vec<Tag> = Vec::new();
        for tag in self.variants.iter().flat_map(|stored| &stored.tags) {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        tags
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Header fields, in their order, values as bytes.
mod fields {
    use bytes::Bytes;
    use http::header::{HeaderMap, HeaderName, HeaderValue};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    /// A value, as bytes and not as a list of numbers.
    struct Value<'a>(&'a HeaderValue);

    impl serde::Serialize for Value<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0.as_bytes())
        }
    }

    pub(super) fn serialize<S: Serializer>(
        fields: &HeaderMap,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(fields.iter().map(|(name, value)| (name.as_str(), Value(value))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<HeaderMap, D::Error> {
        let list: Vec<(String, Bytes)> = Deserialize::deserialize(deserializer)?;
        let mut fields = HeaderMap::try_with_capacity(list.len()).map_err(D::Error::custom)?;
        for (name, value) in list {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(D::Error::custom)?;
            let value = HeaderValue::from_maybe_shared(value).map_err(D::Error::custom)?;
            fields.try_append(name, value).map_err(D::Error::custom)?;
        }
        Ok(fields)
    }
}
