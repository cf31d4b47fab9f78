//! The way of a request, from the door to the handler and back.
//!
//! Read top to bottom it is the order in which things happen: is it for the cache at all; what is
//! stored; is that fresh; who asks the handler. Requests that miss the same page wait for one of them,
//! in this process or another, by larder's lease. Whoever holds it goes on in [`forward`](crate::forward).
//!
//! A request that is dropped gives its lease back, and the next one leads. Far down, or a page that
//! cannot be named: the handler answers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, CONTENT_LOCATION, HeaderMap, LOCATION, RANGE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use larder::{Lease, Leased};
use tower_service::Service;

use crate::answer::{Question, answer, left};
use crate::background::Background;
use crate::body::{BoxError, CachedBody};
use crate::directive::RequestDirectives;
use crate::freshness::Use;
use crate::layer::{Shared, TagFields};
use crate::pages::{LOAD_MAX, Looked, Place, Seen};
use crate::request_key::RequestKey;
use crate::road::{InCache, Road};
use crate::rule::Whose;
use crate::status::{Fwd, Told};
use crate::stored::{Asking, Page};
use crate::tags;

/// For as many answers that are not its own a request waits.
const OTHERS_MAX: usize = 4;
/// How long a page is left alone that another process is refreshing.
const REST: Duration = Duration::from_secs(1);

/// A service whose answers come from the cache where they may.
#[derive(Clone, Debug)]
pub struct CacheService<S> {
    inner: S,
    shared: SharedPart,
}

/// All that is not the inner service.
#[derive(Clone)]
struct SharedPart(Arc<Shared>, Arc<Background>);

impl std::fmt::Debug for SharedPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("rule", &self.0.settings.rule).finish_non_exhaustive()
    }
}

impl<S> CacheService<S> {
    pub(crate) fn new(
        inner: S,
        shared: Arc<Shared>,
        background: Arc<Background>,
    ) -> CacheService<S> {
        CacheService { inner, shared: SharedPart(shared, background) }
    }
}

impl<S, Q, B> Service<Request<Q>> for CacheService<S>
where
    S: Service<Request<Q>, Response = Response<B>, Future: Send, Error: Send>
        + Clone
        + Send
        + 'static,
    Q: Body + Send + 'static,
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<CachedBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let SharedPart(shared, background) = &self.shared;
        let (parts, body) = request.into_parts();
        let way = match shared.road(&parts, !body.is_end_stream()) {
            Road::Around(detail) => Way::Around(detail),
            Road::Change(key) => Way::Change(key),
            Road::Page(place) => {
                let wishes = shared.settings.rule.wishes(&parts.headers);
                let visit = Visit { shared: shared.clone(), place, wishes, fwd: Fwd::UriMiss };
                // Most answers need no more than this: nothing to wait for, and no room for it.
                match visit.near(&parts) {
                    Some(response) => return Box::pin(std::future::ready(Ok(response))),
                    None => Way::Page(visit),
                }
            }
        };
        let (shared, background) = (shared.clone(), background.clone());
        // The one that was polled ready goes; its clone stays.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            // For as long as this request is under way, so is what it leaves to be done.
            let _background = background;
            answered(shared, inner, way, parts, body).await
        })
    }
}

/// What stands behind the layer.
trait Handler<Q, B>:
    Service<Request<Q>, Response = Response<B>, Future: Send, Error: Send> + Clone + Send + 'static
{
}

impl<S, Q, B> Handler<Q, B> for S where
    S: Service<Request<Q>, Response = Response<B>, Future: Send, Error: Send>
        + Clone
        + Send
        + 'static
{
}

/// Which way a request goes, with what it takes along.
enum Way {
    Around(&'static str),
    Change(Option<RequestKey>),
    Page(Visit),
}

async fn answered<S, Q, B>(
    shared: Arc<Shared>,
    mut inner: S,
    way: Way,
    mut parts: Parts,
    body: Q,
) -> Result<Response<CachedBody<B>>, S::Error>
where
    S: Handler<Q, B>,
    Q: Body + Send + 'static,
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    match way {
        Way::Around(detail) => {
            let response = inner.call(Request::from_parts(parts, body)).await?;
            Ok(shared.through(response, Told::Bypass { detail }))
        }
        Way::Change(key) => {
            parts.extensions.insert(InCache);
            let mut ending = Ending { shared: shared.clone(), key };
            let response = inner.call(Request::from_parts(parts, body)).await?;
            ending.is_over(response.status(), response.headers().clone()).await;
            Ok(shared.through(response, Told::Method))
        }
        Way::Page(visit) => visit.answered(inner, parts, body).await,
    }
}

/// One request for a page.
pub(crate) struct Visit {
    pub(crate) shared: Arc<Shared>,
    pub(crate) place: Place,
    pub(crate) wishes: RequestDirectives,
    /// Why it goes to the handler.
    pub(crate) fwd: Fwd,
}

/// How a request goes to the handler.
pub(crate) enum Going {
    /// What the handler answers is stored.
    Leading(Lease<Page>),
    /// For itself alone, with what is stored to be validated, if there is something.
    Alone(Option<Looked>),
}

/// What a request that misses has to go on with.
enum Right {
    /// It is to store what the handler answers.
    Ours(Lease<Page>),
    /// Another has stored what answers it.
    Found(Looked),
    /// Neither: it asks the handler for itself.
    Alone,
}

impl Visit {
    pub(crate) fn asking<'a>(&'a self, headers: &'a HeaderMap) -> Asking<'a> {
        Asking {
            whose: self.place.whose,
            headers,
            wishes: &self.wishes,
            varying: &self.shared.settings.varying,
        }
    }

    async fn answered<S, Q, B>(
        self,
        inner: S,
        parts: Parts,
        body: Q,
    ) -> Result<Response<CachedBody<B>>, S::Error>
    where
        S: Handler<Q, B>,
        Q: Body + Send + 'static,
        B: Body<Error: Into<BoxError>> + Send + 'static,
    {
        let page = self.page().await;
        match page.as_ref().and_then(|page| self.at_once(page, &parts)) {
            Some((response, Use::StaleWhileRevalidate)) => {
                self.refresh(inner, parts, body);
                Ok(response)
            }
            Some((response, _)) => Ok(response),
            // Boxed: a hit would else make room for all that a miss may wait for.
            None => Box::pin(self.missing(page, inner, parts, body)).await,
        }
    }

    /// Nothing that is stored answers it as it is.
    async fn missing<S, Q, B>(
        mut self,
        page: Option<Looked>,
        inner: S,
        parts: Parts,
        body: Q,
    ) -> Result<Response<CachedBody<B>>, S::Error>
    where
        S: Handler<Q, B>,
        Q: Body + Send + 'static,
        B: Body<Error: Into<BoxError>> + Send + 'static,
    {
        let mut is_stored = false;
        if let Some(page) = &page {
            is_stored = page.select(self.asking(&parts.headers)).is_some();
            self.fwd = match is_stored {
                true if self.wishes == RequestDirectives::default() => Fwd::Stale,
                true => Fwd::Request,
                false if page.has_variants() => Fwd::VaryMiss,
                false => Fwd::UriMiss,
            };
        }
        if self.wishes.only_if_cached {
            return Ok(self.nothing_cached());
        }
        if parts.method == Method::HEAD {
            let lease = if is_stored { self.lease_if_free(&parts.headers).await } else { None };
            return self.forward_head(inner, parts, body, lease).await;
        }
        let going = if parts.headers.contains_key(RANGE) {
            Going::Alone(None)
        } else {
            match self.right(&parts.headers, page.as_ref()).await {
                Right::Ours(lease) => Going::Leading(lease),
                Right::Found(page) => match self.collapsed(&page, &parts) {
                    Some(response) => return Ok(response),
                    None => Going::Alone(Some(page)),
                },
                Right::Alone => Going::Alone(page),
            }
        };
        self.forward(inner, parts, body, going).await
    }

    /// What is stored, near or far.
    pub(crate) async fn page(&self) -> Option<Looked> {
        match self.place.cache.get(&self.place.key).await {
            Ok(page) => page.map(Looked::now),
            Err(why) => {
                tracing::debug!(%why, "no page can have this name");
                None
            }
        }
    }

    /// The answer, if one is near that may be served as it is.
    fn near<B>(&self, parts: &Parts) -> Option<Response<CachedBody<B>>> {
        let page = Looked::now(self.place.cache.get_near(&self.place.key)?);
        match self.at_once(&page, parts)? {
            // Whoever is served it starts a refresh.
            (_, Use::StaleWhileRevalidate) => None,
            (response, _) => Some(response),
        }
    }

    /// The answer, if one is stored that may be served as it is.
    fn at_once<B>(&self, page: &Looked, parts: &Parts) -> Option<(Response<CachedBody<B>>, Use)> {
        let (on_page, asking) = (page.on_page(), self.asking(&parts.headers));
        let stored = page.select(asking)?;
        let age = stored.age(on_page);
        let usable = stored.judge(&self.wishes, on_page);
        let told = match (usable, left(stored, age)) {
            (Use::Fresh, Ok(left)) => Told::Hit { left },
            (Use::Fresh | Use::StaleWhileRevalidate, Err(since)) => {
                Told::Stale { since, fwd: None }
            }
            (Use::StaleWhileRevalidate, Ok(_)) => Told::Stale { since: Duration::ZERO, fwd: None },
            (Use::Validate, left) => {
                page.stand_in(asking, on_page)?;
                Told::Stale { since: left.err().unwrap_or_default(), fwd: None }
            }
        };
        let question = Question { method: &parts.method, headers: &parts.headers };
        Some((answer(question, stored, age, told), usable))
    }

    /// The answer, out of what another request has stored while this one waited.
    fn collapsed<B>(&self, page: &Looked, parts: &Parts) -> Option<Response<CachedBody<B>>> {
        let (on_page, asking) = (page.on_page(), self.asking(&parts.headers));
        if !page.answers(asking, on_page) {
            return None;
        }
        let stored = page.select(asking)?;
        let age = stored.age(on_page);
        let told = match left(stored, age) {
            Ok(left) => Told::Collapsed { fwd: self.fwd, left },
            Err(since) => Told::Stale { since, fwd: Some(Fwd::Stale) },
        };
        let question = Question { method: &parts.method, headers: &parts.headers };
        Some(answer(question, stored, age, told))
    }

    /// Waits for another that asks for the same, or gets the right to store.
    ///
    /// It waits for a few answers: while what they stored is not for this request, it is other variants that
    /// are asked for, and one of those who wait is the next to lead. Then, or if an answer could not be
    /// stored at all, nobody waits any more.
    async fn right(&self, headers: &HeaderMap, page: Option<&Looked>) -> Right {
        let rounds = if self.may_wait(headers, page) { OTHERS_MAX } else { 0 };
        for _ in 0..rounds {
            let (serves, began) = (self.serves(headers), Instant::now());
            let good = move |page: &Seen| {
                serves(page) || page.is_passing(page.age()) || page.age() < began.elapsed()
            };
            let leased = self.place.cache.lease_unless(&self.place.key, good);
            match tokio::time::timeout(self.shared.settings.wait_max, leased).await {
                Ok(Ok(Leased::Held(lease))) if lease.is_held() => return Right::Ours(lease),
                Ok(Ok(Leased::Found(page))) if self.serves(headers)(&page) => {
                    return Right::Found(Looked::now(page));
                }
                Ok(Ok(Leased::Found(page))) if page.is_passing(page.age()) => break,
                Ok(Ok(Leased::Found(_))) => {}
                Ok(Ok(Leased::Held(_) | Leased::Nothing) | Err(_)) | Err(_) => return Right::Alone,
            }
        }
        // Nobody waits for anybody. Whoever happens to get the lease stores, should the handler now
        // answer what can be.
        let leased = self.place.cache.try_lease_unless(&self.place.key, self.serves(headers)).await;
        match leased {
            Ok(Some(Leased::Held(lease))) => Right::Ours(lease),
            Ok(Some(Leased::Found(page))) => Right::Found(Looked::now(page)),
            Ok(Some(Leased::Nothing) | None) | Err(_) => Right::Alone,
        }
    }

    /// Is it likely that another's answer will do?
    fn may_wait(&self, headers: &HeaderMap, page: Option<&Looked>) -> bool {
        if page.is_some_and(|page| page.is_passing(page.on_page())) {
            return false;
        }
        // What answers `Authorization` is seldom for others (RFC 9111 §3.5), unless it was before.
        let own = self.place.whose == Whose::OneUser || !headers.contains_key(AUTHORIZATION);
        own || page.is_some_and(|page| page.select(self.asking(headers)).is_some())
    }

    async fn lease_if_free(&self, headers: &HeaderMap) -> Option<Lease<Page>> {
        let serves = self.serves(headers);
        match self.place.cache.try_lease_unless(&self.place.key, serves).await {
            Ok(Some(Leased::Held(lease))) => Some(lease),
            _ => None,
        }
    }

    /// Whether a page answers this request without the handler.
    fn serves(&self, headers: &HeaderMap) -> impl Fn(&Seen) -> bool + Send + Sync + 'static {
        let (shared, whose) = (self.shared.clone(), self.place.whose);
        let (headers, wishes) = (headers.clone(), self.wishes.clone());
        move |page| {
            let varying = &shared.settings.varying[..];
            let asking = Asking { whose, headers: &headers, wishes: &wishes, varying };
            page.answers(asking, page.age())
        }
    }

    /// Asks the handler behind the client's back, which has its answer.
    fn refresh<S, Q, B>(self, inner: S, mut parts: Parts, body: Q)
    where
        S: Handler<Q, B>,
        Q: Body + Send + 'static,
        B: Body<Error: Into<BoxError>> + Send + 'static,
    {
        let Some(background) = self.shared.background.upgrade() else { return };
        let Some(refreshing) = background.refresh(&self.place) else { return };
        let task = async move {
            parts.method = Method::GET;
            match self.lease_if_free(&parts.headers).await {
                // What is stored goes on being read when the answer is dropped.
                Some(lease) => {
                    let forwarding = self.forward(inner, parts, body, Going::Leading(lease));
                    drop(tokio::time::timeout(LOAD_MAX, forwarding).await);
                }
                None => {
                    drop((inner, parts, body));
                    tokio::time::sleep(REST).await;
                }
            }
            drop(refreshing);
        };
        background.spawn(task);
    }

    /// RFC 9111 §5.2.1.7.
    fn nothing_cached<B>(&self) -> Response<CachedBody<B>> {
        let mut response = Response::new(CachedBody::whole(bytes::Bytes::new()));
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        let told = Told::Miss { fwd: Fwd::Request, stored: false, detail: Some("only-if-cached") };
        told.tell(response.headers_mut());
        response
    }
}

impl Shared {
    /// The handler's response, as it goes to the client.
    pub(crate) fn through<B>(&self, response: Response<B>, told: Told) -> Response<CachedBody<B>> {
        let (mut head, body) = response.into_parts();
        self.tidy(&mut head.headers);
        told.tell(&mut head.headers);
        Response::from_parts(head, CachedBody::through(body))
    }

    /// Takes off what is for us alone.
    pub(crate) fn tidy(&self, headers: &mut HeaderMap) {
        if self.settings.tag_fields == TagFields::Stripped {
            for field in tags::FIELDS {
                headers.remove(field);
            }
        }
    }
}

/// A request that changes things is with its handler. If that succeeds, and also if nobody waits for it any
/// more, what is stored of its URL ends: a client that hangs up does not undo what was committed.
struct Ending {
    shared: Arc<Shared>,
    /// `None` once there is nothing to end.
    key: Option<RequestKey>,
}

impl Ending {
    /// The handler has answered: if it succeeded, pages end before the client hears of it.
    async fn is_over(&mut self, status: StatusCode, headers: HeaderMap) {
        let Some(key) = self.key.take() else { return };
        if !status.is_success() && !status.is_redirection() {
            return;
        }
        let mut targets = self.shared.pages.of_url(&key);
        for named in [LOCATION, CONTENT_LOCATION] {
            let elsewhere = headers.get(named).and_then(|named| key.same_origin(named));
            if let Some(elsewhere) = elsewhere.filter(|elsewhere| *elsewhere != key) {
                targets.extend(self.shared.pages.of_url(&elsewhere));
            }
        }
        targets.extend(tags::ended_groups(&headers, &key).into_iter().map(Into::into));
        let (tell, told) = tokio::sync::oneshot::channel();
        self.shared.end(targets, Some(tell));
        let _ = told.await;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.shared.end(self.shared.pages.of_url(&key), None);
        }
    }
}

impl Shared {
    /// Ends pages in a task of its own: sent to the end, whoever waits for it.
    fn end(
        self: &Arc<Self>,
        targets: Vec<larder::Target>,
        tell: Option<tokio::sync::oneshot::Sender<()>>,
    ) {
        let shared = self.clone();
        // Dropped outside of any runtime: nothing runs any more that could serve them.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(why) = shared.pages.end(targets).await {
                tracing::warn!(%why, "the pages of a URL that was changed are not confirmed to be ended");
            }
            drop(tell);
        });
    }
}
