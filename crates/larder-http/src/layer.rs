//! How the layer is made: whose responses, by which rule, over which larder.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::header::{HeaderName, ORIGIN};
use http::request::Parts;
use larder::{Larder, Tag};
use tower_layer::Layer;

use crate::background::Background;
use crate::error::Error;
use crate::pages::{BODY_BYTES_MOST, Pages};
use crate::queries::KnownQueries;
use crate::rule::Rule;
use crate::service::CacheService;

/// Request fields by which frameworks let a client say what else it asked for. A handler that reads one
/// of them answers something else than the URL says, so such a request goes past the cache.
const BYPASSING: [HeaderName; 12] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-original-host"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
];

/// A user, as the app knows them: an id, never a name that may be given to another.
///
/// Two ids are the same user only if they are the same text. An empty one is nobody's: a request that
/// has it is not cached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserId(String);

impl UserId {
    /// The user of this id.
    pub fn new(id: impl fmt::Display) -> UserId {
        UserId(id.to_string())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

type WhoAsks = Arc<dyn Fn(&Parts) -> Option<UserId> + Send + Sync>;
type TagsOf = Arc<dyn Fn(&Parts) -> Vec<Tag> + Send + Sync>;

/// Whose responses they are.
#[derive(Clone)]
pub enum Audience {
    /// Everyone's: no response may depend on who asks.
    Public,
    /// Each user's own, see [`each`](Audience::each).
    Each(WhoAsks),
}

impl Audience {
    /// Each user's own. `who` says who asks, out of what the app has *verified*: an extension that its
    /// authentication left, never a header that a client can write. `None`: the request is neither
    /// answered from the cache nor is its response stored.
    ///
    /// ```
    /// # #[derive(Clone)] struct Session { user: u64 }
    /// use larder_http::{Audience, UserId};
    /// let audience = Audience::each(|request| {
    ///     request.extensions.get::<Session>().map(|session| UserId::new(session.user))
    /// });
    /// # let _ = audience;
    /// ```
    pub fn each(who: impl Fn(&Parts) -> Option<UserId> + Send + Sync + 'static) -> Audience {
        Audience::Each(Arc::new(who))
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Audience::Public => "Public",
            Audience::Each(_) => "Each",
        })
    }
}

/// Whether the fields by which a handler names tags go on to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TagFields {
    Stripped,
    Kept,
}

/// Settles how the layer behaves; [`audience`](Self::audience) makes it.
#[must_use]
#[derive(Clone)]
pub struct CacheLayerBuilder {
    larder: Larder,
    pub(crate) rule: Rule,
    pub(crate) bypassing: Vec<HeaderName>,
    pub(crate) varying: Vec<HeaderName>,
    pub(crate) tags: Option<TagsOf>,
    pub(crate) tag_fields: TagFields,
    pub(crate) makes_etags: bool,
    pub(crate) wait_max: Duration,
}

impl fmt::Debug for CacheLayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayerBuilder").field("rule", &self.rule).finish_non_exhaustive()
    }
}

impl CacheLayerBuilder {
    /// Which responses are stored, and for how long. [`Rule::standard`] unless told.
    pub fn rule(mut self, rule: Rule) -> CacheLayerBuilder {
        self.rule = rule;
        self
    }

    /// Request fields whose presence sends a request past the cache, instead of those that stand by
    /// default: `Forwarded`, `X-Forwarded-Host`, `-Proto`, `-Scheme`, `-Port`, `-Prefix`,
    /// `X-Original-URL`, `X-Rewrite-URL`, `X-Original-Host`, and those that override the method.
    ///
    /// Behind a proxy of yours that sets some of them on every request, [`trust`](Self::trust) those; and if
    /// a handler reads one, [`vary_by`](Self::vary_by) it as well.
    pub fn bypass_on(mut self, fields: impl IntoIterator<Item = HeaderName>) -> CacheLayerBuilder {
        self.bypassing = fields.into_iter().collect();
        self
    }

    /// Fields that a proxy of yours sets on every request, and that no handler reads: they do not send a
    /// request past the cache.
    pub fn trust(mut self, fields: impl IntoIterator<Item = HeaderName>) -> CacheLayerBuilder {
        for field in fields {
            self.bypassing.retain(|name| *name != field);
        }
        self
    }

    /// Request fields that select the response, besides those that its `Vary` names. `Origin` always
    /// does.
    pub fn vary_by(mut self, fields: impl IntoIterator<Item = HeaderName>) -> CacheLayerBuilder {
        self.varying.extend(fields);
        self
    }

    /// Tags that follow from the request's URL, known before the handler runs: with these a response is
    /// stored the first time. (A tag that only the handler names, and that this process has not seen
    /// before, keeps the first response that has it from being stored.)
    pub fn tagged_by<T, I>(
        mut self,
        tags: impl Fn(&Parts) -> T + Send + Sync + 'static,
    ) -> CacheLayerBuilder
    where
        T: IntoIterator<Item = I>,
        I: Into<Tag>,
    {
        self.tags = Some(Arc::new(move |parts| tags(parts).into_iter().map(Into::into).collect()));
        self
    }

    /// Lets `Surrogate-Key`, `Cache-Groups` and `Cache-Group-Invalidation` go on to the client, for a
    /// cache in front of this one. Taken off unless told.
    pub fn keep_tag_fields(mut self) -> CacheLayerBuilder {
        self.tag_fields = TagFields::Kept;
        self
    }

    /// Gives a stored response that has no `ETag` a strong one, made of its bytes.
    pub fn make_etags(mut self) -> CacheLayerBuilder {
        self.makes_etags = true;
        self
    }

    /// How long a request waits for another that asks for the same, before it goes to the handler on
    /// its own. 10 seconds.
    pub fn wait_max(mut self, time: Duration) -> CacheLayerBuilder {
        self.wait_max = time;
        self
    }

    /// Whose the responses are: there is no default, so nobody's page is another's by oversight.
    ///
    /// # Errors
    /// A body size that cannot be meant, or a cache of the app's own that is called `http` or
    /// `http-user`.
    pub fn audience(self, audience: Audience) -> Result<CacheLayer, Error> {
        if self.rule.body_cap() == 0 || self.rule.body_cap() > BODY_BYTES_MOST {
            let cap = self.rule.body_cap();
            let text = format!("body_bytes_max is from 1 to {BODY_BYTES_MOST}, not {cap}");
            return Err(Error::new(text));
        }
        let pages = Pages::open(&self.larder)?;
        let background = Arc::new(Background::new());
        let shared = Shared {
            pages,
            audience,
            settings: self,
            queries: KnownQueries::default(),
            background: Arc::downgrade(&background),
        };
        Ok(CacheLayer { shared: Arc::new(shared), background })
    }
}

/// What all clones of a layer and of its services have in common.
pub(crate) struct Shared {
    pub(crate) pages: Pages,
    pub(crate) audience: Audience,
    pub(crate) settings: CacheLayerBuilder,
    pub(crate) queries: KnownQueries,
    /// Of the services, and not of what runs in it.
    pub(crate) background: Weak<Background>,
}

/// The response cache, as a tower layer. Cheap to clone.
///
/// Made by [`CacheLayer::new`]. Put it around what it is to cache and inside of what tells it who asks:
/// of axum's layers, the one added last runs first.
#[derive(Clone)]
pub struct CacheLayer {
    shared: Arc<Shared>,
    background: Arc<Background>,
}

impl fmt::Debug for CacheLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (settings, audience) = (&self.shared.settings, &self.shared.audience);
        let mut shown = f.debug_struct("CacheLayer");
        shown.field("rule", &settings.rule).field("audience", audience).finish_non_exhaustive()
    }
}

impl CacheLayer {
    /// A layer that stores in `larder`, near and far.
    #[allow(clippy::new_ret_no_self, reason = "an audience is required, and comes last")]
    pub fn new(larder: &Larder) -> CacheLayerBuilder {
        CacheLayerBuilder {
            larder: larder.clone(),
            rule: Rule::standard(),
            bypassing: BYPASSING.to_vec(),
            varying: vec![ORIGIN],
            tags: None,
            tag_fields: TagFields::Stripped,
            makes_etags: false,
            wait_max: Duration::from_secs(10),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = CacheService<S>;

    fn layer(&self, inner: S) -> CacheService<S> {
        CacheService::new(inner, self.shared.clone(), self.background.clone())
    }
}
