//! How often somebody may ask, as a tower layer over [`RateLimiter`].
//!
//! A request is counted before the handler runs. One that is refused never reaches it, and is answered 429 (RFC
//! 6585) with `Retry-After`. Every answer says how its limits stand, in the fields of
//! draft-ietf-httpapi-ratelimit-headers-11: `RateLimit-Policy: "default";q=100;w=60`, `RateLimit: "default";r=7;t=12`.
//!
//! Who asks is [what the app has verified](RateLimitBy::user), or the [address](ClientAddress) the request came
//! from; never what a client can write itself.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use http::request::Parts;
use larder::structures::RateLimiter;
use sha2::{Digest, Sha256};
use tower_layer::Layer;

use crate::error::Error;
use crate::layer::UserId;

mod answer;
mod client_address;
mod service;

pub use answer::LimitedBody;
pub use client_address::{AddressField, ClientAddress};
pub use service::RateLimitService;

/// What is longer is counted by its digest.
const KEY_BYTES_MAX: usize = 256;

type WhoAsks = Arc<dyn Fn(&Parts) -> Option<UserId> + Send + Sync>;
type CostOf = Arc<dyn Fn(&Parts) -> u32 + Send + Sync>;

/// Who is counted.
#[derive(Clone)]
pub struct RateLimitBy(By);

#[derive(Clone)]
enum By {
    User(WhoAsks),
    Address(ClientAddress),
    UserOrAddress(WhoAsks, ClientAddress),
}

impl RateLimitBy {
    /// Each user. `who` says who asks, out of what the app has *verified*: an extension that its authentication
    /// left, never a header that a client can write. `None`: [`without_key`](RateLimitLayerBuilder::without_key)
    /// decides.
    ///
    /// ```
    /// # #[derive(Clone)] struct Session { user: u64 }
    /// use larder_http::{RateLimitBy, UserId};
    /// let by = RateLimitBy::user(|request| {
    ///     request.extensions.get::<Session>().map(|session| UserId::new(session.user))
    /// });
    /// # let _ = by;
    /// ```
    pub fn user(who: impl Fn(&Parts) -> Option<UserId> + Send + Sync + 'static) -> RateLimitBy {
        RateLimitBy(By::User(Arc::new(who)))
    }

    /// Each client address.
    pub fn address(address: ClientAddress) -> RateLimitBy {
        RateLimitBy(By::Address(address))
    }

    /// Each user, and whoever is none by their address. A user and an address are never counted as one.
    pub fn user_or_address(
        who: impl Fn(&Parts) -> Option<UserId> + Send + Sync + 'static,
        address: ClientAddress,
    ) -> RateLimitBy {
        RateLimitBy(By::UserOrAddress(Arc::new(who), address))
    }

    /// A word before it says which kind it is.
    fn key(&self, parts: &Parts) -> Option<(&'static str, String)> {
        let user = |who: &WhoAsks| {
            let user = who(parts).filter(|user| !user.as_str().is_empty())?;
            Some(("user", shortened(user.as_str())))
        };
        let of = |address: &ClientAddress| Some(("address", address.of(parts)?.to_string()));
        match &self.0 {
            By::User(who) => user(who),
            By::Address(address) => of(address),
            By::UserOrAddress(who, address) => user(who).or_else(|| of(address)),
        }
    }
}

impl fmt::Debug for RateLimitBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            By::User(_) => "User",
            By::Address(_) => "Address",
            By::UserOrAddress(..) => "UserOrAddress",
        })
    }
}

/// A name that is too long for a key would be an error, and a way past the limit.
fn shortened(text: &str) -> String {
    if text.len() <= KEY_BYTES_MAX {
        return text.to_owned();
    }
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// What becomes of a request whose asker is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutKey {
    /// All of them are counted as one asker.
    Shared,
    /// It goes on, and is not counted.
    Pass,
    /// It is refused: 403.
    Refuse,
}

/// In which form a refusal is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Text,
    Problem,
}

/// Settles how the layer behaves; [`by`](Self::by) makes it.
#[must_use]
#[derive(Clone)]
pub struct RateLimitLayerBuilder {
    limiter: RateLimiter,
    names: Option<Vec<String>>,
    without_key: WithoutKey,
    refusal: Refusal,
    cost: CostOf,
}

impl fmt::Debug for RateLimitLayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayerBuilder")
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}

impl RateLimitLayerBuilder {
    /// What the limits are called in the fields, in their order. `default` when there is one, else `limit-1`,
    /// `limit-2` and so on.
    pub fn policies<I>(mut self, names: I) -> RateLimitLayerBuilder
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.names = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// What becomes of a request whose asker is not known: there is no user, or no address that can be believed.
    /// [`WithoutKey::Shared`].
    pub fn without_key(mut self, choice: WithoutKey) -> RateLimitLayerBuilder {
        self.without_key = choice;
        self
    }

    /// Tells a refusal as `application/problem+json` (RFC 9457), of the types that the draft registers, with
    /// the policies that were violated. Unless told as a line of text.
    pub fn problem_json(mut self) -> RateLimitLayerBuilder {
        self.refusal = Refusal::Problem;
        self
    }

    /// What a request costs. 1 unless told; one that costs 0 is not counted.
    pub fn cost(
        mut self,
        cost: impl Fn(&Parts) -> u32 + Send + Sync + 'static,
    ) -> RateLimitLayerBuilder {
        self.cost = Arc::new(cost);
        self
    }

    /// Who is counted: there is no default, since each fits some services and opens others.
    ///
    /// # Errors
    /// Policies that are not as many as the limits, are called alike, or are not 1 to 64 visible ASCII characters
    /// without `"` and `\`.
    pub fn by(self, by: RateLimitBy) -> Result<RateLimitLayer, Error> {
        let limits = self.limiter.limits();
        let names = match self.names {
            Some(names) => names,
            None if limits.len() == 1 => vec!["default".to_owned()],
            None => (1..=limits.len()).map(|number| format!("limit-{number}")).collect(),
        };
        if names.len() != limits.len() {
            let (given, wanted) = (names.len(), limits.len());
            let text = format!("{given} policies are named, and the limiter has {wanted} limits");
            return Err(Error::new(text));
        }
        for (at, name) in names.iter().enumerate() {
            let visible = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
            if !(1..=64).contains(&name.len()) || !name.bytes().all(visible) {
                let text =
                    "a policy is called by 1 to 64 visible ASCII characters without \" and \\";
                return Err(Error::new(format!("{text}, not {name:?}")));
            }
            if names.iter().take(at).any(|other| other == name) {
                return Err(Error::new(format!("two policies are called {name}")));
            }
        }
        let policies = answer::policies(&names, limits);
        let policies = HeaderValue::from_str(&policies)
            .map_err(|_| Error::new(format!("no field can say: {policies}")))?;
        let RateLimitLayerBuilder { limiter, without_key, refusal, cost, .. } = self;
        let shared = Shared { limiter, names, policies, without_key, refusal, cost, by };
        Ok(RateLimitLayer { shared: Arc::new(shared) })
    }
}

/// What all clones of a layer and of its services have in common.
struct Shared {
    limiter: RateLimiter,
    names: Vec<String>,
    /// The field `RateLimit-Policy`: it is always the same.
    policies: HeaderValue,
    without_key: WithoutKey,
    refusal: Refusal,
    cost: CostOf,
    by: RateLimitBy,
}

/// The rate limit, as a tower layer. Cheap to clone.
///
/// ```
/// # #[derive(Clone)] struct Session { user: u64 }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use larder::structures::{Limit, Rate};
/// use larder_http::{RateLimitBy, RateLimitLayer, UserId};
///
/// let larder = larder::Larder::builder("shop").open().await?;
/// let limits = [Limit::token_bucket(Rate::per_second(10), 50)];
/// let limiter = larder.rate_limiter("http", limits).open()?;
/// let layer = RateLimitLayer::new(&limiter).problem_json().by(RateLimitBy::user(|request| {
///     request.extensions.get::<Session>().map(|session| UserId::new(session.user))
/// }))?;
/// # let _ = layer;
/// # Ok(()) }
/// ```
///
/// Put it inside of what tells it who asks, and around the [response cache](crate::CacheLayer): of axum's layers, the
/// one added last runs first.
///
/// # Cost
/// One round trip to Redis for each request that is counted.
///
/// # When Redis does not judge
/// The limiter's own choice decides. What [`WhenDown::Closed`](larder::structures::WhenDown) refuses is answered 503
/// with `Retry-After`, since nobody asked too much; and when nobody judged, no field says how limits stand.
/// A limiter that fails (it was closed; another's data lies under its name) lets requests pass and is logged, but
/// answers 503 where the choice is `Closed`.
#[derive(Clone)]
pub struct RateLimitLayer {
    shared: Arc<Shared>,
}

impl fmt::Debug for RateLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("limiter", &self.shared.limiter)
            .field("by", &self.shared.by)
            .finish_non_exhaustive()
    }
}

impl RateLimitLayer {
    /// A layer that asks `limiter`.
    #[allow(clippy::new_ret_no_self, reason = "who is counted is required, and comes last")]
    pub fn new(limiter: &RateLimiter) -> RateLimitLayerBuilder {
        RateLimitLayerBuilder {
            limiter: limiter.clone(),
            names: None,
            without_key: WithoutKey::Shared,
            refusal: Refusal::Text,
            cost: Arc::new(|_| 1),
        }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> RateLimitService<S> {
        RateLimitService::new(inner, self.shared.clone())
    }
}
