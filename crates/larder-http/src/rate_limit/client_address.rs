//! The address a request came from, past the proxies that are trusted, and no further.
//!
//! Each proxy appends to a list who asked it. So the list is read from its end: whoever a trusted proxy names is
//! believed to have asked it, and if that is a trusted proxy too, so is whoever stands before. The first that is
//! not trusted is the client. What stands further to the left the client may have written itself.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use http::header::FORWARDED;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use crate::error::Error;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whoever passes by more proxies is nobody we know.
const HOPS_MAX: usize = 32;

type PeerOf = Arc<dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync>;

/// In which field the trusted proxies say who asked them. The other one is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressField {
    /// `X-Forwarded-For: 203.0.113.7, 10.0.0.2`.
    XForwardedFor,
    /// `Forwarded: for=203.0.113.7;proto=https, for="[2001:db8::1]:4711"` (RFC 7239).
    Forwarded,
}

/// How the address of a client is found. Addresses of one IPv6 network of 64 bits are one client, unless told
/// otherwise: whoever has one has them all.
#[derive(Clone)]
pub struct ClientAddress {
    peer: PeerOf,
    trusted: Vec<Network>,
    field: AddressField,
    ipv6_bits: u8,
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAddress")
            .field("trusted", &self.trusted)
            .field("field", &self.field)
            .finish_non_exhaustive()
    }
}

impl ClientAddress {
    /// `peer` says who the connection is with: for axum what
    /// `into_make_service_with_connect_info::<SocketAddr>()` leaves.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use axum::extract::ConnectInfo;
    /// use larder_http::ClientAddress;
    ///
    /// let address = ClientAddress::of_peer(|request| {
    ///     request.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip())
    /// });
    /// let address = address.trusting(["10.0.0.0/8", "2001:db8::/32"])?;
    /// # let _ = address;
    /// # Ok::<_, larder_http::Error>(())
    /// ```
    ///
    /// Nobody is trusted unless told: the peer is the client, whatever the request says.
    pub fn of_peer(
        peer: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> ClientAddress {
        ClientAddress {
            peer: Arc::new(peer),
            trusted: Vec::new(),
            field: AddressField::XForwardedFor,
            ipv6_bits: 64,
        }
    }

    /// Proxies whose word counts, as addresses or networks: `10.1.2.3`, `10.0.0.0/8`, `2001:db8::/32`. Name no
    /// network that clients are in: whoever is in it can be anybody.
    ///
    /// # Errors
    /// What is no network.
    pub fn trusting<I>(mut self, proxies: I) -> Result<ClientAddress, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        for proxy in proxies {
            self.trusted.push(proxy.as_ref().parse()?);
        }
        Ok(self)
    }

    /// The field that the trusted proxies write. [`AddressField::XForwardedFor`]. They must append to it, or replace
    /// it: one that passes on what a client wrote, without a word of its own, makes clients anybody.
    #[must_use]
    pub fn field(mut self, field: AddressField) -> ClientAddress {
        self.field = field;
        self
    }

    /// How many bits of an IPv6 address are one client. 64; from 32 to 128.
    ///
    /// # Errors
    /// A number out of these bounds.
    pub fn ipv6_bits(mut self, bits: u8) -> Result<ClientAddress, Error> {
        if !(32..=128).contains(&bits) {
            return Err(Error::new(format!("ipv6_bits is from 32 to 128, not {bits}")));
        }
        self.ipv6_bits = bits;
        Ok(self)
    }

    /// Who asks; `None` when nobody who is trusted says it.
    pub(super) fn of(&self, parts: &Parts) -> Option<IpAddr> {
        let peer = (self.peer)(parts)?.to_canonical();
        if !self.trusts(peer) {
            return Some(self.grouped(peer));
        }
        let mut last = peer;
        for (hop, named) in self.named(&parts.headers).enumerate() {
            // Not an address: whoever it is, a trusted proxy does not know or does not say.
            let named = named.filter(|_| hop < HOPS_MAX)?.to_canonical();
            last = named;
            if !self.trusts(named) {
                break;
            }
        }
        Some(self.grouped(last))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.has(address))
    }

    fn grouped(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(u32::from(128 - self.ipv6_bits)).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        }
    }

    /// Those named in the field, the last one first; `None` for what is no address.
    fn named<'a>(&self, headers: &'a HeaderMap) -> Box<dyn Iterator<Item = Option<IpAddr>> + 'a> {
        let lines = |name: HeaderName| {
            let mut lines: Vec<&[u8]> =
                headers.get_all(name).iter().map(|line| line.as_bytes()).collect();
            lines.reverse();
            lines.into_iter()
        };
        match self.field {
            AddressField::XForwardedFor => {
                let each =
                    lines(X_FORWARDED_FOR).flat_map(|line| line.rsplit(|byte| *byte == b','));
                Box::new(each.map(|member| address_of(std::str::from_utf8(member).ok()?.trim())))
            }
            AddressField::Forwarded => {
                Box::new(lines(FORWARDED).flat_map(elements_from_the_end).map(for_of))
            }
        }
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address_of(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port = port.strip_prefix(':').unwrap_or(if port.is_empty() { "0" } else { "no" });
        return is_port(port).then(|| Ipv6Addr::from_str(address).ok().map(IpAddr::V6))?;
    }
    if let Ok(address) = IpAddr::from_str(text) {
        return Some(address);
    }
    let (address, port) = text.split_once(':')?;
    is_port(port).then(|| Ipv4Addr::from_str(address).ok().map(IpAddr::V4))?
}

/// A number, or one that is hidden (RFC 7239 §6.2).
fn is_port(text: &str) -> bool {
    let hidden = text.strip_prefix('_').is_some_and(|rest| !rest.is_empty());
    hidden || (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What stands between commas, the last first. Quotes are counted from the end too: so what a client began and did
/// not close can swallow nothing that a proxy wrote behind it.
fn elements_from_the_end(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let mut quoted = false;
        let comma = line.iter().rposition(|byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        });
        rest = comma.and_then(|at| line.get(..at));
        line.get(comma.map_or(0, |at| at + 1)..)
    })
}

/// The one `for` of an element.
fn for_of(element: &[u8]) -> Option<IpAddr> {
    let element = std::str::from_utf8(element).ok()?;
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = pair.trim().split_once('=')?;
        if name.eq_ignore_ascii_case("for") {
            let value = match value.strip_prefix('"') {
                Some(quoted) => quoted.strip_suffix('"')?,
                None => value,
            };
            // Said twice it is not said.
            if found.replace(value).is_some() {
                return None;
            }
        }
    }
    address_of(found?)
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let alike = |one: u128, other: u128, all: u32| {
            (one ^ other).checked_shr(all - u32::from(self.bits)).unwrap_or(0) == 0
        };
        match (self.address, address) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                alike(one.to_bits().into(), other.to_bits().into(), 32)
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => alike(one.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Network, Error> {
        let wrong = || Error::new(format!("{text:?} is no address and no network like 10.0.0.0/8"));
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address = IpAddr::from_str(address.trim()).map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.trim().parse().map_err(|_| wrong())?,
            None => most,
        };
        if bits > most {
            return Err(wrong());
        }
        Ok(Network { address, bits })
    }
}

#[cfg(test)]
mod tests;
