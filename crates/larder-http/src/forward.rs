//! The handler is asked, and what it answers is kept, if it may be (RFC 9111 §§3, 4.3).
//!
//! With a lease the request becomes the cache's own question: whether what is stored still holds, or
//! for all of the page. The client's own conditions are then answered from what comes. Without one the
//! request goes as it is, and nothing is stored.
//!
//! What is stored anew beside other variants was looked at after the lease was granted: an end of it in
//! between takes the lease, or shows in its tags, and nothing ended is stored again.

use std::time::{Duration, Instant, SystemTime};

use http::header::{CONTENT_LENGTH, DATE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED, SET_COOKIE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use larder::{Lease, Leased, Lifetime, Loaded, Stored as Kept, Tag};
use tower_service::Service;

use crate::answer::{Question, answer, left};
use crate::body::{BoxError, CachedBody};
use crate::fill::{self, Filling};
use crate::freshness;
use crate::layer::Shared;
use crate::no_vary_search::NoVarySearch;
use crate::pages::{Looked, Place};
use crate::road::InCache;
use crate::rule::{self, Exchange, Storable};
use crate::service::{Going, Visit};
use crate::status::{Fwd, Told};
use crate::stored::{PASS, Page, Stored};
use crate::tags::tags_of;
use crate::validator;
use crate::vary::Selection;

/// After a handler that failed.
const PASS_FAILED: Duration = Duration::from_secs(1);
/// After an answer that could not be stored for its tags: the next one may be.
const PASS_REFUSED: Duration = Duration::from_secs(1);

/// A request as the client sent it, and when the handler was asked.
struct Asked {
    method: Method,
    headers: HeaderMap,
    at: SystemTime,
}

impl Asked {
    fn question(&self) -> Question<'_> {
        Question { method: &self.method, headers: &self.headers }
    }
}

impl Visit {
    /// Asks the handler. Under a lease what it answers is stored.
    pub(crate) async fn forward<S, Q, B>(
        self,
        mut inner: S,
        mut parts: Parts,
        body: Q,
        going: Going,
    ) -> Result<Response<CachedBody<B>>, S::Error>
    where
        S: Service<Request<Q>, Response = Response<B>>,
        B: Body<Error: Into<BoxError>> + Send + 'static,
    {
        let headers = parts.headers.clone();
        let (lease, before) = match going {
            Going::Leading(lease) => {
                // What was not there when the lease was granted may have been ended, and is not to be
                // stored again.
                let before = if lease.replaces() { self.page().await } else { None };
                (Some(lease), before)
            }
            Going::Alone(before) => (None, before),
        };
        let old = before.as_ref().and_then(|page| page.select(self.asking(&headers)));
        let etag = old.filter(|old| !old.made_etag).and_then(|old| old.headers.get(ETAG));
        let last_modified = old.and_then(|old| old.headers.get(LAST_MODIFIED));
        let validating = etag.is_some() || last_modified.is_some();
        if lease.is_some() || validating {
            validator::ask(&mut parts.headers, etag.cloned().as_slice(), last_modified);
        }
        parts.extensions.insert(InCache);
        let at = SystemTime::now();
        let asked = Asked { method: parts.method.clone(), headers, at };
        let answered = inner.call(Request::from_parts(parts, body)).await;
        let failed = match &answered {
            Err(_) => true,
            Ok(response) => is_failure(response.status()),
        };
        if failed && let Some(response) = self.stands_in(&asked).await {
            if let Some(lease) = lease {
                self.failed(lease, before.as_ref());
            }
            return Ok(response);
        }
        let response = match answered {
            Ok(response) => response,
            Err(why) => {
                if let Some(lease) = lease {
                    self.failed(lease, before.as_ref());
                }
                return Err(why);
            }
        };
        if validating && response.status() == StatusCode::NOT_MODIFIED {
            let old = before.as_ref().and_then(|page| page.select(self.asking(&asked.headers)));
            if let Some(old) = old.cloned() {
                return Ok(self.freshened(&asked, lease, before.as_ref(), old, &response));
            }
        }
        Ok(self.keep(&asked, response, lease, before.as_ref()).await)
    }

    /// The handler failed: for a moment it is left alone, by those for whom something is stored, and the
    /// others do not wait for one another. What is stored stays.
    fn failed(&self, lease: Lease<Page>, before: Option<&Looked>) {
        let page = before.map(|before| Page::clone(before).aged(before.on_page()));
        let page = page.unwrap_or_default().failing_for(PASS_FAILED).passing_for(PASS_FAILED);
        self.shared.store(&self.place, lease, page);
    }

    fn missed(&self, stored: bool, detail: Option<&'static str>) -> Told {
        Told::Miss { fwd: self.fwd, stored, detail }
    }

    /// What is stored, as the answer of a handler that failed: if it may, and if nothing has ended it
    /// meanwhile.
    async fn stands_in<B>(&self, asked: &Asked) -> Option<Response<CachedBody<B>>> {
        let page = self.page().await?;
        let stored = page.select(self.asking(&asked.headers))?;
        let age = stored.age(page.on_page());
        if !stored.terms.stands_in(age) {
            return None;
        }
        let told = match left(stored, age) {
            Ok(left) => Told::Hit { left },
            Err(since) => Told::Stale { since, fwd: Some(Fwd::Stale) },
        };
        Some(answer(asked.question(), stored, age, told))
    }

    /// Keeps the response, if it may be.
    async fn keep<B>(
        &self,
        asked: &Asked,
        response: Response<B>,
        lease: Option<Lease<Page>>,
        before: Option<&Looked>,
    ) -> Response<CachedBody<B>>
    where
        B: Body<Error: Into<BoxError>> + Send + 'static,
    {
        let came = Instant::now();
        let response_time = SystemTime::now();
        let named = self.learn(response.status(), response.headers());
        let Some(lease) = lease else {
            return self.shared.through(response, self.missed(false, None));
        };
        let stored = match named {
            true => self.storable(asked, &response, response_time),
            false => Err("no-vary-search"),
        };
        let stored = match stored {
            Ok(stored) => stored,
            Err(detail) => {
                if is_failure(response.status()) {
                    self.failed(lease, before);
                } else if detail != rule::AUTHORIZATION {
                    self.pass(lease, before, asked);
                }
                return self.shared.through(response, self.missed(false, Some(detail)));
            }
        };
        let filling = Filling {
            shared: self.shared.clone(),
            place: self.place.clone(),
            lease,
            base: self.carried(before, asked),
            stored,
            came,
            bytes_max: self.shared.settings.rule.body_cap(),
        };
        let told = self.missed(true, None);
        fill::fill(filling, asked.question(), response, told, self.missed(false, Some("body")))
            .await
    }

    /// What its head says of storing the response; or why it is not.
    fn storable<B: Body>(
        &self,
        asked: &Asked,
        response: &Response<B>,
        response_time: SystemTime,
    ) -> Result<Stored, &'static str> {
        let headers = response.headers();
        let tags = tags_of(response.extensions(), headers, &self.place.key)?;
        let stored = self.judged(asked, response.status(), headers, response_time)?;
        let cap = self.shared.settings.rule.body_cap() as u64;
        let said = says_length(headers)?.unwrap_or_default();
        if said.max(response.body().size_hint().lower()) > cap {
            return Err("too large");
        }
        Ok(stored.tagged(tags))
    }

    fn judged(
        &self,
        asked: &Asked,
        status: StatusCode,
        headers: &HeaderMap,
        response_time: SystemTime,
    ) -> Result<Stored, &'static str> {
        let exchange = Exchange {
            whose: self.place.whose,
            method: &Method::GET,
            request: &asked.headers,
            status,
            response: headers,
            request_time: asked.at,
            response_time,
        };
        let rule = &self.shared.settings.rule;
        let terms = match rule.judge(&exchange) {
            Storable::Yes(terms) => terms,
            Storable::No(why) => return Err(why),
        };
        let varying = &self.shared.settings.varying;
        let selection = Selection::of(headers, varying, &asked.headers).ok_or("vary *")?;
        let age = freshness::initial_age(headers, asked.at, response_time);
        let fields = self.stored_fields(headers);
        Ok(Stored::new(selection, status, fields, terms, age, response_time))
    }

    /// What of a response's fields goes on to whoever is served it later.
    fn stored_fields(&self, headers: &HeaderMap) -> HeaderMap {
        let mut fields = self.shared.settings.rule.stored_headers(headers);
        self.shared.tidy(&mut fields);
        fields
    }

    /// The handler says that what is stored still holds (RFC 9111 §4.3.4).
    fn freshened<R, B>(
        &self,
        asked: &Asked,
        lease: Option<Lease<Page>>,
        before: Option<&Looked>,
        old: Stored,
        response: &Response<R>,
    ) -> Response<CachedBody<B>> {
        let merged = self.merged(asked, &old, response);
        let serving = merged.as_ref().unwrap_or(&old);
        let age = serving.age(Duration::ZERO);
        let told = match &merged {
            Ok(_) => Told::Validated { left: left(serving, age).unwrap_or_default() },
            Err(why) => self.missed(false, Some(why)),
        };
        let mut answer = answer(asked.question(), serving, age, told);
        // For this client alone, and never stored.
        for cookie in response.headers().get_all(SET_COOKIE) {
            answer.headers_mut().append(SET_COOKIE, cookie.clone());
        }
        match (lease, merged) {
            (None, _) => {}
            (Some(lease), Err(_)) => self.pass(lease, before, asked),
            (Some(lease), Ok(fresh)) => {
                // To write it again would say nothing new, and push it out of every near.
                let idle = fresh.is_never_fresh()
                    && fresh.says_the_same(&old)
                    && before.is_some_and(|before| before.is_passing_on(before.on_page()));
                if !idle {
                    let page = self.carried(before, asked).with_news(fresh);
                    self.shared.store(&self.place, lease, page);
                }
            }
        }
        answer
    }

    /// What is stored, with the fields of a 304 or of an answer to `HEAD`; or why it is not any more.
    fn merged<R>(
        &self,
        asked: &Asked,
        old: &Stored,
        response: &Response<R>,
    ) -> Result<Stored, &'static str> {
        let said = response.headers();
        if !validator::selects(said, &old.headers, true) {
            return Err("another etag");
        }
        let now = SystemTime::now();
        let mut headers = old.headers.clone();
        let mut fields = self.stored_fields(said);
        if !fields.contains_key(DATE)
            && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(now))
        {
            fields.insert(DATE, date);
        }
        validator::freshen(&mut headers, &fields);
        // What would keep the 304 from being stored, were it a whole response.
        let mut judged_by = headers.clone();
        for cookie in said.get_all(SET_COOKIE) {
            judged_by.append(SET_COOKIE, cookie.clone());
        }
        if let Some(age) = said.get(http::header::AGE) {
            judged_by.insert(http::header::AGE, age.clone());
        }
        let tags = tags_of(response.extensions(), said, &self.place.key)?;
        let fresh = self.judged(asked, old.status(), &judged_by, now)?;
        Ok(fresh.tagged(joined(&old.tags, tags)).with_body(old.body.clone()))
    }

    /// `HEAD` to the handler, which may freshen what is stored for `GET`, or end it (RFC 9111 §4.3.5).
    pub(crate) async fn forward_head<S, Q, B>(
        self,
        mut inner: S,
        mut parts: Parts,
        body: Q,
        lease: Option<Lease<Page>>,
    ) -> Result<Response<CachedBody<B>>, S::Error>
    where
        S: Service<Request<Q>, Response = Response<B>>,
    {
        let replaces = lease.as_ref().is_some_and(Lease::replaces);
        let before = if replaces { self.page().await } else { None };
        let (method, headers) = (parts.method.clone(), parts.headers.clone());
        parts.extensions.insert(InCache);
        let asked = Asked { method, headers, at: SystemTime::now() };
        let response = inner.call(Request::from_parts(parts, body)).await?;
        let old = before.as_ref().and_then(|page| page.select(self.asking(&asked.headers)));
        if let (Some(lease), Some(old)) = (lease, old.cloned())
            && response.status() == old.status()
        {
            let page = self.carried(before.as_ref(), &asked);
            match speaks_of(&old, response.headers()) {
                Speaks::Another => self.shared.store(&self.place, lease, page),
                Speaks::This => {
                    if let Ok(fresh) = self.merged(&asked, &old, &response) {
                        self.shared.store(&self.place, lease, page.with_news(fresh));
                    }
                }
                Speaks::Nothing => {} // and the lease is given back
            }
        }
        Ok(self.shared.through(response, self.missed(false, None)))
    }

    /// Whether the page is named as what the response says of its query has it.
    fn learn(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        // An error page says nothing of the page that failed.
        let says = status.is_success() && status != StatusCode::PARTIAL_CONTENT;
        !says || self.shared.queries.learn(&self.place.key, NoVarySearch::of(headers).as_ref())
    }

    /// The other variants of the page, as old as they are now.
    fn carried(&self, before: Option<&Looked>, asked: &Asked) -> Page {
        let Some(before) = before else { return Page::default() };
        Page::clone(before).carried(self.asking(&asked.headers), before.on_page())
    }

    /// Says that those who miss are not to wait for one another.
    fn pass(&self, lease: Lease<Page>, before: Option<&Looked>, asked: &Asked) {
        let asking = self.asking(&asked.headers);
        let said = before.is_some_and(|page| {
            page.is_passing_on(page.on_page()) && page.select(asking).is_none()
        });
        if said {
            return; // and the lease is given back
        }
        let page = self.carried(before, asked).passing_for(PASS);
        self.shared.store(&self.place, lease, page);
    }
}

impl Shared {
    /// Stores a page behind the answer's back. Whoever asks meanwhile waits for that.
    pub(crate) fn store(&self, place: &Place, lease: Lease<Page>, page: Page) {
        let Some(background) = self.background.upgrade() else { return };
        let place = place.clone();
        background.spawn(async move {
            let learns = !page.tags().is_empty();
            if lease.store(loaded(page)).await == Kept::Stored || !learns {
                return;
            }
            // A tag that is new to this process, perhaps, as the next one's will be: nobody is to wait.
            let again = place.cache.try_lease_unless(&place.key, |_| true).await;
            if let Ok(Some(Leased::Held(lease))) = again {
                let _ = lease.store(loaded(Page::default().passing_for(PASS_REFUSED))).await;
            }
        });
    }
}

fn loaded(page: Page) -> Loaded<Page> {
    let lifetime = Lifetime::fresh_for(page.keep_for()).jitter(0.0);
    let tags = page.tags();
    tags.into_iter().fold(Loaded::new(page).lifetime(lifetime), Loaded::tag)
}

fn joined(old: &[Tag], new: Vec<Tag>) -> Vec<Tag> {
    let mut all = old.to_vec();
    all.extend(new.into_iter().filter(|tag| !old.contains(tag)));
    all
}

/// RFC 5861 §4: what counts as an error.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// The length that it says it has. `Err`: it says two, or what is no number (RFC 9110 §8.6).
pub(crate) fn says_length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let digits = line.to_str().ok().filter(|line| line.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|digits| digits.parse().ok()), lines.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err("content-length"),
    }
}

/// What an answer to `HEAD` speaks of.
enum Speaks {
    This,
    Another,
    /// It has nothing to tell by.
    Nothing,
}

fn speaks_of(old: &Stored, head: &HeaderMap) -> Speaks {
    let pairs = [ETAG, LAST_MODIFIED].map(|name| (old.headers.get(&name), head.get(&name)));
    let differs = pairs.iter().any(|(old, new)| new.is_some() && old != new);
    let length = match says_length(head) {
        Ok(said) => said.is_some_and(|length| length != old.body.len() as u64),
        Err(_) => true,
    };
    if differs || length {
        return Speaks::Another;
    }
    let agrees = pairs.iter().any(|(old, new)| new.is_some() && old == new);
    if agrees { Speaks::This } else { Speaks::Nothing }
}
