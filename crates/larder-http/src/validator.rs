//! Conditional requests, in both directions (RFC 9110 §§8.8, 13, 14; RFC 9111 §4.3).
//!
//! Towards the client: what a stored response answers to `If-None-Match`, `If-Modified-Since` and
//! `Range`. Towards the handler: how to ask whether a stored response still holds, and what its 304
//! does to it. Deciding whether a stored response may be used at all is not done here.
//!
//! In doubt the answer is the whole response. It is right for every condition, and only longer.

use std::time::{Duration, SystemTime};

use http::header::{
    AGE, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_RANGE, DATE, ETAG, EXPIRES, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use xxhash_rust::xxh3::xxh3_128;

/// What a client gets of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Whole,
    /// 304, without a body.
    NotModified,
    /// 206: the bytes from `first` to `last`, both included, of `total`.
    Part {
        first: u64,
        last: u64,
        total: u64,
    },
    /// 416: nothing of what was asked for is among the `total` bytes.
    Unsatisfiable {
        total: u64,
    },
}

/// Whether the handler has to judge this request: `If-Match` and `If-Unmodified-Since` ask about the
/// page as it is there, not as it was stored (RFC 9111 §4.3.2).
pub(crate) fn passes(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// What a stored response answers to these request fields, in the order of RFC 9110 §13.2.2.
///
/// Only a 200 has parts, and only what succeeded can be not modified. Several ranges, and units other
/// than bytes, get the whole.
pub(crate) fn reply(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    body_len: u64,
    response_time: SystemTime,
) -> Reply {
    let readable = *method == Method::GET || *method == Method::HEAD;
    if !readable || !status.is_success() || status == StatusCode::PARTIAL_CONTENT {
        return Reply::Whole;
    }
    if not_modified(request, stored, response_time) {
        return Reply::NotModified;
    }
    if *method != Method::GET || status != StatusCode::OK || !range_applies(request, stored) {
        return Reply::Whole;
    }
    match only(request, &RANGE) {
        Some(range) => part(range.as_bytes(), body_len).unwrap_or(Reply::Whole),
        None => Reply::Whole,
    }
}

/// Turns `request` into the question whether one of these is still what it would get (RFC 9111 §4.3.1).
///
/// The client's own conditions go, and its range too: its answer is made from what is stored, and a
/// 206 could freshen nothing.
pub(crate) fn ask(
    request: &mut HeaderMap,
    etags: &[HeaderValue],
    last_modified: Option<&HeaderValue>,
) {
    for condition in
        [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE]
    {
        request.remove(condition);
    }
    let mut list: Vec<&[u8]> = Vec::with_capacity(etags.len());
    for etag in etags.iter().map(HeaderValue::as_bytes) {
        if !etag.is_empty() && !list.contains(&etag) {
            list.push(etag);
        }
    }
    // What was a value, joined by commas, is one.
    if !list.is_empty()
        && let Ok(list) = HeaderValue::from_bytes(&list.join(&b", "[..]))
    {
        request.insert(IF_NONE_MATCH, list);
    }
    if let Some(date) = last_modified {
        request.insert(IF_MODIFIED_SINCE, date.clone());
    }
}

/// Whether a 304 with these fields speaks of a stored response with those (RFC 9111 §4.3.4).
///
/// A strong validator has to be met by its like. A 304 without any is believed when only one response
/// was asked about: the RFC wants that one to lack validators too, but many a handler answers with a
/// bare 304, and the question named no other.
pub(crate) fn selects(not_modified: &HeaderMap, stored: &HeaderMap, is_only_one: bool) -> bool {
    let theirs = EntityTag::of(not_modified);
    if let (Some(theirs), Some(ours)) = (theirs, EntityTag::of(stored)) {
        let strong = theirs.is_strong();
        return if strong { theirs.strongly_equals(ours) } else { theirs.weakly_equals(ours) };
    }
    match (date(not_modified, &LAST_MODIFIED), date(stored, &LAST_MODIFIED)) {
        (Some(theirs), Some(ours)) => theirs == ours,
        (Some(_), None) => false,
        (None, _) => theirs.is_none() && is_only_one,
    }
}

/// Takes the fields of a 304, or of a HEAD, into a stored response (RFC 9111 §3.2).
///
/// Each field replaces all stored lines of its name. What describes the stored bytes stays as it was
/// (`Content-Encoding`, `-Length`, `-Range`); what is for one connection or one client never enters.
pub(crate) fn freshen(stored: &mut HeaderMap, with: &HeaderMap) {
    let connection: Vec<&str> = with
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .collect();
    for name in with.keys() {
        let listed = connection.iter().any(|each| each.eq_ignore_ascii_case(name.as_str()));
        if listed || NEVER_FRESHENED.contains(name) || name.as_str().starts_with("proxy-") {
            continue;
        }
        stored.remove(name);
        for value in with.get_all(name) {
            stored.append(name.clone(), value.clone());
        }
    }
}

/// `Age` is ours to count; the others are of the stored bytes, of a connection, or of one client.
const NEVER_FRESHENED: [HeaderName; 11] = [
    AGE,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    SET_COOKIE,
    HeaderName::from_static("keep-alive"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The fields of a 304 made from a stored response (RFC 9110 §15.4.5).
///
/// `Last-Modified` goes along only where no entity tag does: a client has nothing else to ask with.
pub(crate) fn not_modified_fields(stored: &HeaderMap) -> HeaderMap {
    let mut fields = HeaderMap::new();
    let sent = [CONTENT_LOCATION, DATE, ETAG, VARY, CACHE_CONTROL, EXPIRES];
    let last_modified = (!stored.contains_key(ETAG)).then_some(LAST_MODIFIED);
    for name in sent.into_iter().chain(last_modified) {
        for value in stored.get_all(&name) {
            fields.append(name.clone(), value.clone());
        }
    }
    fields
}

/// A strong entity tag of these bytes. Always `Some`: hex in quotes is a field value.
pub(crate) fn etag_of(body: &[u8]) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("\"{:032x}\"", xxh3_128(body))).ok()
}

fn not_modified(request: &HeaderMap, stored: &HeaderMap, response_time: SystemTime) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        return none_match_fails(request, EntityTag::of(stored));
    }
    // A date that cannot be read asks nothing, and neither do two (RFC 9110 §13.1.3).
    date(request, &IF_MODIFIED_SINCE).is_some_and(|since| {
        let modified = date(stored, &LAST_MODIFIED).or_else(|| date(stored, &DATE));
        modified.unwrap_or(response_time) <= since
    })
}

/// RFC 9110 §13.1.2: `*` alone, or any tag of the list that weakly equals ours.
fn none_match_fails(request: &HeaderMap, ours: Option<EntityTag<'_>>) -> bool {
    if only(request, &IF_NONE_MATCH).is_some_and(|line| trim(line.as_bytes()) == b"*") {
        return true;
    }
    let Some(ours) = ours else {
        return false;
    };
    request.get_all(IF_NONE_MATCH).iter().any(|line| {
        let mut rest = line.as_bytes();
        while let Some((tag, after)) = EntityTag::next(rest) {
            if tag.weakly_equals(ours) {
                return true;
            }
            rest = after;
        }
        false
    })
}

/// Whether `If-Range` lets a range apply: it is absent, or strongly names what is stored (RFC 9110
/// §13.1.5). A weak match would join bytes of one representation to those of another.
fn range_applies(request: &HeaderMap, stored: &HeaderMap) -> bool {
    if !request.contains_key(IF_RANGE) {
        return true;
    }
    let Some(condition) = only(request, &IF_RANGE) else {
        return false;
    };
    if condition.as_bytes().contains(&b'"') {
        return match (EntityTag::one(condition), EntityTag::of(stored)) {
            (Some(theirs), Some(ours)) => theirs.strongly_equals(ours),
            _ => false,
        };
    }
    let (Some(theirs), Some(ours)) = (date(request, &IF_RANGE), date(stored, &LAST_MODIFIED))
    else {
        return false;
    };
    // A second in which it was still being changed proves nothing (RFC 9110 §8.8.2.2).
    let settled = date(stored, &DATE).and_then(|sent| sent.duration_since(ours).ok());
    theirs == ours && settled.is_some_and(|for_long| for_long >= Duration::from_secs(1))
}

/// One range of bytes (RFC 9110 §14.1.2). `None`: not one that we answer in part.
fn part(range: &[u8], total: u64) -> Option<Reply> {
    let text = std::str::from_utf8(trim(range)).ok()?;
    let (unit, spec) = text.split_once('=')?;
    let (first, last) = spec.split_once('-')?;
    let (first, last) = (first.trim_start_matches([' ', '\t']), last.trim_end_matches([' ', '\t']));
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    if first.is_empty() {
        let wanted = number(last)?;
        return match (wanted, total) {
            (0, _) => Some(Reply::Unsatisfiable { total }),
            // All of nothing: there is no way to say so in a Content-Range.
            (_, 0) => None,
            _ => Some(Reply::Part { first: total.saturating_sub(wanted), last: total - 1, total }),
        };
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    if first >= total {
        return Some(Reply::Unsatisfiable { total });
    }
    Some(Reply::Part { first, last: last.min(total - 1), total })
}

/// Digits and nothing else; more than a `u64` holds is as much as it holds.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The one line of this field; several contradict each other.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(only(headers, name)?.to_str().ok()?.trim()).ok()
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// RFC 9110 §8.8.3, and what some send without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EntityTag<'a> {
    weak: bool,
    quoted: bool,
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    fn of(headers: &'a HeaderMap) -> Option<EntityTag<'a>> {
        EntityTag::one(only(headers, &ETAG)?)
    }

    /// A value that is one tag and nothing else.
    fn one(value: &'a HeaderValue) -> Option<EntityTag<'a>> {
        let (tag, rest) = EntityTag::next(value.as_bytes())?;
        trim(rest).is_empty().then_some(tag)
    }

    /// The next tag of a list, and what follows it. Inside the quotes a comma is part of the tag, and
    /// so is a backslash: there is no escape.
    fn next(list: &'a [u8]) -> Option<(EntityTag<'a>, &'a [u8])> {
        let start = list.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let (_, list) = list.split_at_checked(start)?;
        let (weak, rest) = match list {
            [b'W' | b'w', b'/', rest @ ..] => (true, rest),
            _ => (false, list),
        };
        if let [b'"', inside @ ..] = rest
            && let Some(end) = inside.iter().position(|byte| *byte == b'"')
        {
            let (opaque, after) = inside.split_at_checked(end)?;
            let after = after.split_first().map_or(after, |(_, after)| after);
            return Some((EntityTag { weak, quoted: true, opaque }, after));
        }
        let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
        let (opaque, after) = rest.split_at_checked(end)?;
        Some((EntityTag { weak, quoted: false, opaque: trim(opaque) }, after))
    }

    fn weakly_equals(self, other: EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// A tag without quotes is no tag of the RFC: it may mean anything, so it is never strong.
    fn is_strong(self) -> bool {
        !self.weak && self.quoted
    }

    fn strongly_equals(self, other: EntityTag<'_>) -> bool {
        self.is_strong() && other.is_strong() && self.opaque == other.opaque
    }
}

#[cfg(test)]
mod tests;
