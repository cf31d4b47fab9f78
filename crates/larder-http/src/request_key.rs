//! The name of a stored page: what a router can tell two requests apart by, and never less.
//!
//! Nothing is tidied up. `/a/../b`, `//a`, `%2F`, a trailing dot of the host and a bare `?` may each
//! reach another handler, so each has a name of its own; a page stored twice costs memory, one
//! served in another's place costs a user. Only the host's case goes, which no router sees.
//!
//! What the key leaves out (method, variant, audience) is kept apart elsewhere. Fields that a client
//! sets and a router rarely reads, such as `X-Forwarded-Host`, are no part of it: they are for the
//! layer to refuse or to vary by.

use std::iter;
use std::str::FromStr;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Uri};
use larder::{KeyWriter, Tag, ToKey};

/// What a request's URI says it came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn of(name: &str) -> Option<Scheme> {
        if name.eq_ignore_ascii_case("http") {
            Some(Scheme::Http)
        } else if name.eq_ignore_ascii_case("https") {
            Some(Scheme::Https)
        } else {
            None
        }
    }

    fn default_port(self) -> &'static str {
        match self {
            Scheme::Http => ":80",
            Scheme::Https => ":443",
        }
    }
}

impl ToKey for Scheme {
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        match self {
            Scheme::Http => 0u8.to_key(out),
            Scheme::Https => 1u8.to_key(out),
        }
    }
}

/// Names one stored page. Two requests that any router could tell apart never share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestKey {
    scheme: Scheme,
    host: Box<str>,
    path: Box<str>,
    query: Option<Box<str>>,
    /// Path and query as the layer sees them, where that is not what the client sent: a route is nested,
    /// or the URI was rewritten on the way.
    inner: Option<Box<str>>,
    /// The query as `No-Vary-Search` sees it, in place of the query itself.
    no_vary: Option<String>,
}

impl RequestKey {
    /// `None`: nothing can be named by this request, so nothing is looked up or stored for it.
    ///
    /// That is a host that is missing, said twice or in two ways, or not a host at all; `CONNECT`; `*`.
    pub(crate) fn of(parts: &Parts) -> Option<RequestKey> {
        let uri = asked_for(parts);
        if parts.method == Method::CONNECT || !uri.path().starts_with('/') {
            return None;
        }
        let scheme = match uri.scheme_str() {
            Some(name) => Scheme::of(name)?,
            None => Scheme::Http,
        };
        Some(RequestKey {
            scheme,
            host: host_of(uri, &parts.headers)?,
            path: uri.path().into(),
            query: uri.query().map(Box::from),
            inner: rewritten(uri, &parts.uri),
            no_vary: None,
        })
    }

    /// The query as it was sent; `Some("")` for a bare `?`.
    pub(crate) fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// In lower case, with the port if the client named one.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The same page under another scheme.
    pub(crate) fn under(&self, scheme: Scheme) -> RequestKey {
        RequestKey { scheme, ..self.clone() }
    }

    /// The page that all equivalent queries share; never equal to a page named by a query itself.
    pub(crate) fn without_variance(&self, canonical: String) -> RequestKey {
        RequestKey { query: None, inner: None, no_vary: Some(canonical), ..self.clone() }
    }

    /// Every name under which this URL may be stored: what an invalidation of it has to end.
    ///
    /// Both schemes, because a request in origin form does not say its own and the one that changes a
    /// page may have come by another road than the one that stored it.
    pub(crate) fn all_of(&self) -> impl Iterator<Item = RequestKey> + '_ {
        [Scheme::Http, Scheme::Https].into_iter().map(|scheme| self.under(scheme))
    }

    /// The page that `Location` or `Content-Location` names, read as a client reads it (RFC 3986 §5.2).
    ///
    /// `None` for another host, since nobody may end pages that are not theirs, and for what is no
    /// HTTP address. A default port that one side spells out makes no difference.
    pub(crate) fn same_origin(&self, location: &HeaderValue) -> Option<RequestKey> {
        let location = location.to_str().ok()?.trim_matches([' ', '\t']);
        let reference = location.split_once('#').map_or(location, |(before, _)| before);
        let (scheme, reference) = match split_scheme(reference) {
            Some((name, rest)) => (Scheme::of(name)?, rest.starts_with("//").then_some(rest)?),
            None => (self.scheme, reference),
        };
        let reference = match reference.strip_prefix("//") {
            None => reference,
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                let (host, rest) = rest.split_at_checked(end)?;
                let host = host.to_ascii_lowercase();
                if bare(&host, scheme) != bare(&self.host, self.scheme) {
                    return None;
                }
                return Some(self.at(scheme, &without_dots(absolute(rest)), rest));
            }
        };
        let path = reference.split('?').next().unwrap_or_default();
        let path = if path.starts_with('/') {
            without_dots(path)
        } else if path.is_empty() {
            self.path.to_string()
        } else {
            let folder = self.path.rfind('/').and_then(|last| self.path.get(..=last));
            without_dots(&[folder.unwrap_or("/"), path].concat())
        };
        let mut key = self.at(scheme, &path, reference);
        if reference.is_empty() {
            key.query = self.query.clone();
        }
        Some(key)
    }

    /// All stored pages of this URL that belong to users, whoever they are.
    pub(crate) fn url_tag(&self) -> Tag {
        Tag::from_parts(&("http", &self.host, &self.path, &self.query))
    }

    /// All pages of this path that were stored without what does not count of their queries.
    pub(crate) fn path_tag(&self) -> Tag {
        Tag::from_parts(&("http-path", &self.host, &self.path))
    }

    /// Whether the layer sees another URI than the client sent. Who ends the URL may not know that one.
    pub(crate) fn is_rewritten(&self) -> bool {
        self.inner.is_some()
    }

    /// The bytes of its parts.
    pub(crate) fn len(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
        let no_vary = self.no_vary.as_deref().map_or(0, str::len);
        self.host.len() + self.path.len() + text(&self.query) + text(&self.inner) + no_vary
    }

    /// The rules and the query that name it, if that was cut down.
    pub(crate) fn no_vary(&self) -> Option<&str> {
        self.no_vary.as_deref()
    }

    /// Whether its query was cut down.
    pub(crate) fn is_without_variance(&self) -> bool {
        self.no_vary.is_some()
    }

    fn at(&self, scheme: Scheme, path: &str, reference: &str) -> RequestKey {
        RequestKey {
            scheme,
            host: self.host.clone(),
            path: path.into(),
            query: reference.split_once('?').map(|(_, query)| query.into()),
            inner: None,
            no_vary: None,
        }
    }
}

/// Each part says where it ends, and each is always written: different keys never write the same.
impl ToKey for RequestKey {
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        (self.scheme, &self.host, &self.path, &self.query, &self.inner, &self.no_vary).to_key(out);
    }
}

/// The URI as the client sent it. A router that nests another takes off what it has matched, and two
/// nested routes would share a page.
fn asked_for(parts: &Parts) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = parts.extensions.get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    &parts.uri
}

/// What the layer sees, if it is not what was asked for.
fn rewritten(asked: &Uri, seen: &Uri) -> Option<Box<str>> {
    let differs = asked.path() != seen.path() || asked.query() != seen.query();
    differs.then(|| seen.path_and_query().map_or("", |seen| seen.as_str()).into())
}

/// The one host that the request names, if all who read it would read the same.
///
/// RFC 9112 §3.2.2 lets the URI win over the field. A handler that reads the field would then answer
/// for one host and be stored under another, so the two must agree.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Option<Box<str>> {
    let mut lines = headers.get_all(HOST).iter();
    let field = match (lines.next(), lines.next()) {
        (None, _) => None,
        (Some(line), None) => Some(host_name(line.to_str().ok()?)?),
        (Some(_), Some(_)) => return None,
    };
    let authority = match uri.authority() {
        Some(authority) => Some(host_name(authority.as_str())?),
        None => None,
    };
    match (authority, field) {
        (Some(authority), Some(field)) if authority != field => None,
        (Some(host), _) | (None, Some(host)) => Some(host),
        (None, None) => None,
    }
}

fn host_name(text: &str) -> Option<Box<str>> {
    // The usual ones need no parser, nor what that copies.
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    let (name, port) = text.split_once(':').unwrap_or((text, "0"));
    let usual =
        |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    if !name.is_empty() && name.bytes().all(plain) && usual(port) {
        return Some(text.into());
    }
    let authority = Authority::from_str(text).ok()?;
    let usable = !authority.host().is_empty() && !text.contains('@');
    usable.then(|| text.to_ascii_lowercase().into_boxed_str())
}

/// A host without the port that its scheme has anyway.
fn bare(host: &str, scheme: Scheme) -> &str {
    host.strip_suffix(scheme.default_port()).or_else(|| host.strip_suffix(':')).unwrap_or(host)
}

/// `scheme` and what follows the colon (RFC 3986 §3.1).
fn split_scheme(reference: &str) -> Option<(&str, &str)> {
    let (name, rest) = reference.split_once(':')?;
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(letters);
    named.then_some((name, rest))
}

/// The path of what follows an authority, where an empty one means `/`.
fn absolute(after_host: &str) -> &str {
    match after_host.split('?').next() {
        None | Some("") => "/",
        Some(path) => path,
    }
}

/// RFC 3986 §5.2.4, for a path that begins with `/`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments = path.strip_prefix('/').unwrap_or(path).split('/');
    let mut ends_in_folder = false;
    for segment in segments {
        ends_in_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    if ends_in_folder {
        kept.push("");
    }
    let parts = kept.iter().flat_map(|segment| iter::once("/").chain(iter::once(*segment)));
    let tidy: String = parts.collect();
    if tidy.is_empty() { "/".into() } else { tidy }
}

#[cfg(test)]
mod tests;
