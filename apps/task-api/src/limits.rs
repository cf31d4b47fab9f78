//! How often one may ask: each user, and each address that sends no token we believe.
//!
//! Counted for the whole fleet, in Redis, over a minute that slides. A request whose token is verified counts for
//! its user, and for no address: users behind one proxy do not share a limit. Every other counts for the address it
//! comes from, so that neither tokens nor the demo's password can be guessed by trying. Whose address it is
//! the peer says, and where that is a proxy that was named as trusted, the proxy. What is refused is 429 with
//! `Retry-After`; every answer says in `RateLimit` how much is left.
//!
//! Without Redis, and while it does not answer, each process counts for itself: a fleet of ten then allows ten times
//! as much, and nobody is refused because of Redis.
//!
//! Whether the process lives and can work is asked without a limit, and so is the document.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use larder::structures::{Limit, WhenDown};
use larder::{Larder, MINUTE};
use larder_http::{ClientAddress, RateLimitBy, RateLimitLayer, UserId};

use crate::session::Session;

/// How often one may ask in a minute. 0: as often as one likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quotas {
    /// Each user.
    pub(crate) user: u32,
    /// Each address, without a token that is believed.
    pub(crate) address: u32,
    /// Proxies whose word for an address is taken, as addresses or networks.
    pub(crate) trusted: Vec<String>,
}

/// The layers, of which each counts what the other does not. None: without limit.
#[derive(Clone)]
pub(crate) struct Limits {
    pub(crate) user: Option<RateLimitLayer>,
    pub(crate) address: Option<RateLimitLayer>,
}

impl Limits {
    /// # Errors
    /// If a trusted proxy is no address or network.
    pub(crate) fn open(larder: &Larder, quotas: &Quotas) -> Result<Limits, larder_http::Error> {
        let address = client_address(quotas)?;
        let limiter = |name: &str, quota: u32| {
            let limits = [Limit::sliding_counter(quota, MINUTE)];
            larder.rate_limiter(name, limits).when_down(WhenDown::Local { processes: 1 }).open()
        };
        let user = match quotas.user {
            0 => None,
            quota => {
                let layer = RateLimitLayer::new(&limiter("users", quota)?).policies(["user"]);
                let who =
                    |request: &Parts| session(request).map(|it| UserId::new(it.user.as_str()));
                let cost = |request: &Parts| u32::from(session(request).is_some());
                Some(layer.problem_json().cost(cost).by(RateLimitBy::user(who))?)
            }
        };
        let address = match quotas.address {
            0 => None,
            quota => {
                let layer =
                    RateLimitLayer::new(&limiter("addresses", quota)?).policies(["address"]);
                let cost = |request: &Parts| u32::from(session(request).is_none());
                Some(layer.problem_json().cost(cost).by(RateLimitBy::address(address))?)
            }
        };
        Ok(Limits { user, address })
    }
}

/// How the address of a client is found.
///
/// # Errors
/// What is no address or network.
pub(crate) fn client_address(quotas: &Quotas) -> Result<ClientAddress, larder_http::Error> {
    let peer = |request: &Parts| {
        request.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip())
    };
    ClientAddress::of_peer(peer).trusting(&quotas.trusted)
}

fn session(request: &Parts) -> Option<&Session> {
    request.extensions.get()
}
