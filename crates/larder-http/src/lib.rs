//! An HTTP response cache as a tower layer, over [`larder`]: `GET` answers by user and full URL, shared
//! by a fleet, with no change to the handlers.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use larder::{Larder, Lifetime, MINUTE};
//! # use tower::ServiceExt;
//! # use axum::{Router, routing::get};
//! use larder_http::{Audience, CacheLayer, Rule};
//!
//! let larder = Larder::builder("shop").open().await?; // .redis("redis://..") for a fleet
//! let cache = CacheLayer::new(&larder)
//!     .rule(Rule::for_route(Lifetime::fresh_for(MINUTE)))
//!     .audience(Audience::Public)?;
//! let app: Router = Router::new().route("/prices", get(|| async { "milk: 2" })).layer(cache);
//!
//! # let ask = || http::Request::get("/prices").header("host", "shop.example").body(axum::body::Body::empty());
//! let first = app.clone().oneshot(ask()?).await?;
//! let again = app.oneshot(ask()?).await?;
//! assert_eq!((&first.headers()["x-cache"], &again.headers()["x-cache"]), (&"MISS".parse()?, &"HIT".parse()?));
//! # Ok(()) }
//! ```
//!
//! For pages of users say whose each is: [`Audience::each`]. There is no default, and no field of a
//! request is ever an identity.
//!
//! # The way of a request
//! ```text
//! GET ──> a page is stored, near or far, and fresh? ────────────> served, 0 or 1 trips to Redis
//!           ├─ stale, and may be served while it is refreshed ──> served; one refresh in the fleet behind it
//!           └─ else: one request of the fleet asks the handler ─> streamed as it comes, stored when it ended whole
//!                     (with a stored ETag: "does it still hold?")  others wait for it, and are served what it stored;
//!                                                                 if it cannot be stored they all go at once
//! POST, PUT, DELETE, .. ──> the handler; what is stored of the URL ends before the client hears of it
//! far down ───────────────> the handler
//! ```
//!
//! # What it promises
//! A stored response is an entry of larder like any other: ended by [tags](CacheTags), by
//! [URL or user](purge), or by `larder.invalidate` from anywhere, everywhere; and one that was ended while
//! its handler ran is not stored. [`Rule::standard`] goes by RFC 9111, [`Rule::for_route`] by the owner of
//! the route. `X-Cache` and `Cache-Status` (RFC 9211) say how each answer came about.
//!
//! Left to others: `Vary`-ing on what only the handler knows, parts of pages (a `206` is never stored),
//! `1xx` responses, and requests that change things.

mod answer;
mod background;
mod body;
mod directive;
mod error;
mod fill;
mod forward;
mod freshness;
mod layer;
mod no_vary_search;
mod pages;
pub mod purge;
mod queries;
mod rate_limit;
mod request_key;
mod road;
mod rule;
mod service;
mod status;
mod stored;
mod structured;
mod tags;
mod validator;
mod vary;

pub use body::{BoxError, CachedBody};
pub use error::Error;
pub use layer::{Audience, CacheLayer, CacheLayerBuilder, UserId};
pub use rate_limit::{
    AddressField, ClientAddress, LimitedBody, RateLimitBy, RateLimitLayer, RateLimitLayerBuilder,
    RateLimitService, WithoutKey,
};
pub use rule::{Heuristic, Rule};
pub use service::CacheService;
pub use tags::CacheTags;

/// The example of the page, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/concepts/http-responses.md")]
struct Page;

/// The same, of the limits.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/concepts/http-rate-limits.md")]
struct RateLimitsPage;
