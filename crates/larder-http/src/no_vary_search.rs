//! Which differences between queries a handler says make no difference: `No-Vary-Search`
//! (draft-ietf-httpbis-no-vary-search).
//!
//! The field is believed or not as a whole. Whatever in it is unclear makes the query count as it was
//! sent, which costs hits and is never wrong.
//!
//! In one point less is taken to be equal than the draft allows: bytes that are no UTF-8 stay
//! different from each other, since not every handler reads them all as the same mark.

use std::fmt::Write;

use http::HeaderMap;
use http::header::HeaderName;
use serde::{Deserialize, Serialize};

use crate::structured::{self, Bare, Member};

const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");

/// What of a query does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NoVarySearch {
    /// Whether the order of differently named parameters does not count.
    key_order: bool,
    params: Params,
}

/// The parameters that do not count, by their decoded names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Params {
    None,
    All,
    Except(Vec<Vec<u8>>),
    Named(Vec<Vec<u8>>),
}

impl NoVarySearch {
    /// What a response says, if it says something: `None` for a field that is absent, not to be
    /// understood, or says that all of the query counts as it stands.
    pub(crate) fn of(headers: &HeaderMap) -> Option<NoVarySearch> {
        let said = structured::dictionary(headers, &NO_VARY_SEARCH)?;
        let entry = |name: &str| said.iter().find(|(key, _)| key == name).map(|(_, member)| member);
        let key_order = match entry("key-order") {
            None => false,
            Some(Member::Item(Bare::Boolean(ignored))) => *ignored,
            Some(_) => return None,
        };
        let params = match entry("params") {
            None | Some(Member::Item(Bare::Boolean(false))) => Params::None,
            Some(Member::Item(Bare::Boolean(true))) => Params::All,
            Some(Member::Inner(list)) => Params::Named(names(list)?),
            Some(_) => return None,
        };
        let params = match (entry("except"), params) {
            (None, params) => params,
            (Some(Member::Inner(list)), Params::All) => Params::Except(names(list)?),
            (Some(_), _) => return None,
        };
        let params = match params {
            Params::Named(names) if names.is_empty() => Params::None,
            Params::Except(names) if names.is_empty() => Params::All,
            params => params,
        };
        let default = !key_order && params == Params::None;
        (!default).then_some(NoVarySearch { key_order, params })
    }

    /// The query without what does not count: equal for two queries exactly when they are equivalent.
    ///
    /// It begins with the rules themselves. A page stored under one set of rules must not be found by
    /// a query that was cut down by another.
    pub(crate) fn canonical(&self, query: Option<&str>) -> String {
        let mut pairs = pairs(query.unwrap_or_default());
        pairs.retain(|(name, _)| self.counts(name));
        if self.key_order {
            // A stable sort: the order of values of one name still counts.
            pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        let mut text = self.rules();
        for (at, (name, value)) in pairs.iter().enumerate() {
            text.push(if at == 0 { '?' } else { '&' });
            encode(name, &mut text);
            text.push('=');
            encode(value, &mut text);
        }
        text
    }

    fn counts(&self, name: &Vec<u8>) -> bool {
        match &self.params {
            Params::None => true,
            Params::All => false,
            Params::Except(names) => names.contains(name),
            Params::Named(names) => !names.contains(name),
        }
    }

    /// Whether `canonical` was made by these rules.
    pub(crate) fn names(&self, canonical: &str) -> bool {
        let rest = canonical.strip_prefix(self.rules().as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('?'))
    }

    /// The bytes of its names.
    pub(crate) fn len(&self) -> usize {
        match &self.params {
            Params::None | Params::All => 0,
            Params::Except(names) | Params::Named(names) => names.iter().map(Vec::len).sum(),
        }
    }

    fn rules(&self) -> String {
        let order = if self.key_order { "order " } else { "" };
        let (kind, names) = match &self.params {
            Params::None => ("none", &[][..]),
            Params::All => ("all", &[][..]),
            Params::Except(names) => ("except", &names[..]),
            Params::Named(names) => ("named", &names[..]),
        };
        let mut text = [order, kind].concat();
        for name in names {
            text.push(' ');
            encode(name, &mut text);
        }
        text
    }
}

/// Decoded, in order, each once: equal rules are equal however they are written.
fn names(list: &[Bare]) -> Option<Vec<Vec<u8>>> {
    let name = |item: &Bare| match item {
        Bare::String(text) => Some(decode(text)),
        _ => None,
    };
    let mut names = list.iter().map(name).collect::<Option<Vec<_>>>()?;
    names.sort_unstable();
    names.dedup();
    Some(names)
}

/// The parser of `application/x-www-form-urlencoded`.
fn pairs(query: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (decode(name), decode(value))
    };
    query.split('&').filter(|text| !text.is_empty()).map(pair).collect()
}

/// `+` is a space, `%` and two hex digits a byte; any other `%` is itself.
fn decode(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        let decoded = match (byte, after) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            (byte, _) => *byte,
        };
        bytes.push(decoded);
    }
    bytes
}

/// One way to write each: what is not a letter or a digit becomes `%` and two hex digits.
fn encode(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(*byte));
        } else {
            // Writing to a string never fails.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests;
