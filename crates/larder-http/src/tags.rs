//! The groups that a stored response belongs to, and those that an answer ends.
//!
//! A handler names them where it likes best: with [`CacheTags`] in the extensions of its response, with
//! `Surrogate-Key`, or with `Cache-Groups` (RFC 9875). The first two are tags of the app, the same
//! wherever they are named. A cache group is the business of one origin (§2.1), so its tag holds the
//! origin, and no host ends the pages of another.
//!
//! A response with more tags, or longer ones, than allowed is not stored. To drop those beyond the
//! bound would store a page that its own handler could no longer end.

use http::header::HeaderName;
use http::{Extensions, HeaderMap};
use larder::Tag;

use crate::request_key::{RequestKey, Scheme};
use crate::structured::{self, Bare, Member};

/// The tags of a response, said by its handler: [`Larder::invalidate`](larder::Larder::invalidate) of
/// any of them ends what was stored of it.
///
/// At most 64 for one response, with those of its header fields; a response with more is not stored.
///
/// # Examples
/// ```
/// use larder_http::CacheTags;
///
/// # let task_id = 17;
/// let mut response = http::Response::new("buy milk");
/// response.extensions_mut().insert(CacheTags::new(["tasks".to_owned(), format!("task:{task_id}")]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheTags(Vec<Tag>);

impl CacheTags {
    /// These tags, and no others.
    pub fn new<T: Into<Tag>>(tags: impl IntoIterator<Item = T>) -> CacheTags {
        CacheTags(tags.into_iter().map(Into::into).collect())
    }
}

const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// The fields by which a handler speaks of tags: for caches, not for clients.
pub(crate) const FIELDS: [HeaderName; 3] = [SURROGATE_KEY, CACHE_GROUPS, CACHE_GROUP_INVALIDATION];

const TAGS_MAX: usize = 64;
const TAG_BYTES_MAX: usize = 256;

/// Every tag of a response, each once.
///
/// `Err`: not to be stored, and why.
pub(crate) fn tags_of(
    extensions: &Extensions,
    headers: &HeaderMap,
    key: &RequestKey,
) -> Result<Vec<Tag>, &'static str> {
    let mut tags = Vec::new();
    let mut add = |tag: Tag| {
        if tags.contains(&tag) {
            return Ok(());
        }
        tags.push(tag);
        if tags.len() > TAGS_MAX { Err("too many tags") } else { Ok(()) }
    };
    for tag in extensions.get::<CacheTags>().iter().flat_map(|named| &named.0) {
        add(tag.clone())?;
    }
    for line in headers.get_all(SURROGATE_KEY) {
        let line = std::str::from_utf8(line.as_bytes()).map_err(|_| "unreadable tags")?;
        for name in line.split_ascii_whitespace() {
            add(Tag::new(within_bounds(name)?))?;
        }
    }
    if headers.contains_key(CACHE_GROUPS) {
        // RFC 9651 would have the field ignored; not to store is as right, and loses no invalidation.
        for name in groups(headers, &CACHE_GROUPS).ok_or("unreadable cache groups")? {
            add(group(key.scheme(), key.host(), within_bounds(&name)?))?;
        }
    }
    Ok(tags)
}

/// The groups that the answer to an unsafe request ends (RFC 9875 §3).
///
/// Under both schemes, like [`RequestKey::all_of`]: a request in origin form does not say its own.
pub(crate) fn ended_groups(headers: &HeaderMap, key: &RequestKey) -> Vec<Tag> {
    let mut ended = Vec::new();
    for name in groups(headers, &CACHE_GROUP_INVALIDATION).unwrap_or_default() {
        for scheme in [Scheme::Http, Scheme::Https] {
            let tag = group(scheme, key.host(), &name);
            if !ended.contains(&tag) {
                ended.push(tag);
            }
        }
    }
    ended
}

/// The strings of a list of them. Members of another kind, and parameters, are for later versions of
/// RFC 9875, and ignored.
fn groups(headers: &HeaderMap, field: &HeaderName) -> Option<Vec<String>> {
    let members = structured::list(headers, field)?;
    let strings = members.into_iter().filter_map(|member| match member {
        Member::Item(Bare::String(name)) => Some(name),
        _ => None,
    });
    Some(strings.collect())
}

fn group(scheme: Scheme, host: &str, name: &str) -> Tag {
    Tag::from_parts(&("cache-group", scheme, host, name))
}

fn within_bounds(name: &str) -> Result<&str, &'static str> {
    if name.len() > TAG_BYTES_MAX { Err("a tag is too long") } else { Ok(name) }
}

#[cfg(test)]
mod tests;
