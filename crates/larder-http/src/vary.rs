//! Which request fields chose a stored response, and what they said (RFC 9111 §4.1).
//!
//! What a request said may be a secret, a cookie say, and a selection is written far. So it holds
//! the names of the fields and one SHA-256 of all values, and nothing in clear.
//!
//! Values are made alike only where their field's own definition says that they mean the same.
//! Making too little alike stores a page twice; making too much alike serves one to the wrong user.

use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, FROM, HOST,
    HeaderName, ORIGIN, PROXY_AUTHORIZATION, REFERER, USER_AGENT, VARY,
};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What selected a stored response: names of request fields, and a digest of what they said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Selection {
    names: Vec<String>,
    /// `None`: the request said nothing in any of them, as most do where nothing varies.
    digest: Option<[u8; 32]>,
}

impl Selection {
    /// What the `Vary` of a response says about the request that it answers. The fields of `also`
    /// count as if `Vary` named them.
    ///
    /// `None`: no other request may have this response, because `Vary` holds `*` or what is no name.
    pub(crate) fn of(
        vary: &HeaderMap,
        also: &[HeaderName],
        request: &HeaderMap,
    ) -> Option<Selection> {
        let mut names: Vec<String> = also.iter().map(|name| name.as_str().to_owned()).collect();
        for line in vary.get_all(VARY) {
            for member in line.as_bytes().split(|byte| *byte == b',').map(trim) {
                if member.is_empty() {
                    continue;
                }
                if member == b"*" {
                    return None;
                }
                names.push(HeaderName::from_bytes(member).ok()?.as_str().to_owned());
            }
        }
        names.sort_unstable();
        names.dedup();
        let digest = digest(&names, request);
        Some(Selection { names, digest })
    }

    /// Whether these fields were looked at.
    pub(crate) fn covers(&self, fields: &[HeaderName]) -> bool {
        fields.iter().all(|field| self.names.iter().any(|name| name == field.as_str()))
    }

    /// Whether `request` says the same in every field that counts.
    pub(crate) fn matches(&self, request: &HeaderMap) -> bool {
        digest(&self.names, request) == self.digest
    }
}

/// Every part is preceded by its length, every list by its count: no two requests write the same.
fn digest(names: &[String], request: &HeaderMap) -> Option<[u8; 32]> {
    if !names.iter().any(|name| request.contains_key(name.as_str())) {
        return None;
    }
    let mut hash = Sha256::new();
    hash.update(count(names.len()));
    for name in names {
        hash.update(count(name.len()));
        hash.update(name);
        let lines: Vec<&HeaderValue> = request.get_all(name.as_str()).iter().collect();
        if lines.is_empty() {
            hash.update([0]);
            continue;
        }
        let (form, parts) = normal(name, &lines);
        hash.update([form as u8]);
        hash.update(count(parts.len()));
        for part in parts {
            hash.update(count(part.len()));
            hash.update(part);
        }
    }
    Some(hash.finalize().into())
}

fn count(of: usize) -> [u8; 8] {
    (of as u64).to_le_bytes()
}

/// How a value was read. It is hashed too, so that one read in two ways never meets itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Verbatim = 1,
    List = 2,
    Preferences = 3,
}

fn normal(name: &str, lines: &[&HeaderValue]) -> (Form, Vec<Vec<u8>>) {
    let verbatim =
        || (Form::Verbatim, lines.iter().map(|line| trim(line.as_bytes()).to_vec()).collect());
    if name == COOKIE.as_str() {
        // HTTP/2 may send one line for each cookie (RFC 9113 §8.2.3): the same as one line of all.
        let crumbs: Vec<&[u8]> = lines.iter().map(|line| trim(line.as_bytes())).collect();
        return (Form::Verbatim, vec![crumbs.join(&b"; "[..])]);
    }
    if NO_LISTS.iter().any(|each| name == each.as_str()) {
        return verbatim();
    }
    let Some(members) = members(lines) else {
        return verbatim();
    };
    match Accept::of(name).and_then(|accept| accept.preferences(&members)) {
        Some(preferences) => (Form::Preferences, preferences),
        None => (Form::List, members.into_iter().map(<[u8]>::to_vec).collect()),
    }
}

/// Fields in which a comma is a letter like any other.
const NO_LISTS: [HeaderName; 7] =
    [AUTHORIZATION, FROM, HOST, ORIGIN, PROXY_AUTHORIZATION, REFERER, USER_AGENT];

/// The members of a list over all its lines, without the blanks around them. Empty ones stay: they
/// mean nothing by RFC 9110 §5.6.1, but who reads an unknown field may think otherwise.
///
/// `None` if a quoted string does not end.
fn members<'a>(lines: &[&'a HeaderValue]) -> Option<Vec<&'a [u8]>> {
    let mut members = Vec::new();
    for line in lines {
        members.extend(split(line.as_bytes(), b',')?);
    }
    Some(members)
}

/// Splits outside of quoted strings.
fn split(text: &[u8], at: u8) -> Option<Vec<&[u8]>> {
    let mut quoted = false;
    let mut escaped = false;
    let parts = text.split(|byte| {
        match (quoted, escaped, *byte) {
            (true, true, _) => escaped = false,
            (true, false, b'\\') => escaped = true,
            (_, _, b'"') => quoted = !quoted,
            _ => {}
        }
        !quoted && *byte == at
    });
    let parts = parts.map(trim).collect();
    (!quoted).then_some(parts)
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The fields that say what a client likes best (RFC 9110 §12.5).
#[derive(Clone, Copy)]
enum Accept {
    /// Names of media types and of parameters have no case; values of parameters may.
    MediaTypes,
    /// Nothing in it has a case.
    Names,
}

impl Accept {
    fn of(name: &str) -> Option<Accept> {
        if name == ACCEPT.as_str() {
            return Some(Accept::MediaTypes);
        }
        let names = [ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE];
        names.iter().any(|each| name == each.as_str()).then_some(Accept::Names)
    }

    /// The members by falling weight, those of one weight by name: their order says nothing.
    ///
    /// `None` for a member that is not as the RFC has it. Who knows what the handler makes of it.
    fn preferences(self, members: &[&[u8]]) -> Option<Vec<Vec<u8>>> {
        let members = members.iter().filter(|member| !member.is_empty());
        let mut weighed = members.map(|member| self.weigh(member)).collect::<Option<Vec<_>>>()?;
        weighed.sort_unstable_by(|(one, its), (other, theirs)| {
            other.cmp(one).then_with(|| its.cmp(theirs))
        });
        let written = weighed.into_iter().map(|(weight, mut name)| {
            name.extend_from_slice(format!(";q={weight}").as_bytes());
            name
        });
        Some(written.collect())
    }

    fn weigh(self, member: &[u8]) -> Option<(u16, Vec<u8>)> {
        let mut parts = split(member, b';')?;
        let mut weight = 1000;
        if let Some((last, before)) = parts.split_last()
            && !before.is_empty()
            && let [b'q' | b'Q', b'=', number @ ..] = *last
        {
            weight = thousandths(number)?;
            parts.pop();
        }
        let mut name = Vec::with_capacity(member.len());
        for (at, part) in parts.iter().enumerate() {
            // A weight that is not the last part: what follows it belongs to no definition in force.
            if at > 0 && matches!(part, [b'q' | b'Q', b'=' | b' ' | b'\t', ..]) {
                return None;
            }
            if at > 0 {
                name.push(b';');
            }
            let value = match self {
                Accept::MediaTypes => {
                    part.iter().position(|byte| *byte == b'=').unwrap_or(part.len())
                }
                Accept::Names => part.len(),
            };
            let (folded, as_is) = part.split_at_checked(value)?;
            name.extend(folded.to_ascii_lowercase());
            name.extend_from_slice(as_is);
        }
        Some((weight, name))
    }
}

/// A weight of RFC 9110 §12.4.2: from 0 to 1, with at most three decimals.
fn thousandths(number: &[u8]) -> Option<u16> {
    let (whole, decimals) = match number {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut weight = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    let mut unit = 100;
    for digit in decimals {
        weight += u16::from(digit.is_ascii_digit().then(|| digit - b'0')?) * unit;
        unit /= 10;
    }
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests;
