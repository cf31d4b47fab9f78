//! What a message says of caching: `Cache-Control`, its targeted kin, and `Pragma`.
//!
//! Reading never fails. What cannot be understood is read as the answer that stores and serves
//! less: a lifetime that is no number is over at once, the smaller of two counts, a list of fields
//! that names none means the whole response, and a quoted string that never ends means `no-store`.

#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, PRAGMA};

use crate::structured::{self, Bare, Member};

/// A larger number of seconds is this one.
const SECONDS_MAX: u64 = 1 << 31;

/// Cache-Control of a response, as its own words. Unknown ones are ignored; names are
/// case-insensitive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: Option<Fields>,
    pub(crate) private: Option<Fields>,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) immutable: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) s_maxage: Option<Duration>,
    pub(crate) stale_while_revalidate: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
}

/// What `no-cache` and `private` are said of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fields {
    /// The whole response.
    All,
    /// These fields of it: the rest may be stored without them.
    Named(Vec<HeaderName>),
}

/// Cache-Control of a request. It is advice that the layer may decline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub(crate) no_cache: bool,
    pub(crate) no_store: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) min_fresh: Option<Duration>,
    /// `Some(None)`: however stale.
    pub(crate) max_stale: Option<Option<Duration>>,
    pub(crate) stale_if_error: Option<Duration>,
}

impl Directives {
    /// Good for everyone, whatever the request's `Authorization` (RFC 9111 §3.5).
    pub(crate) fn is_shared(&self) -> bool {
        self.public || self.s_maxage.is_some() || self.must_revalidate
    }

    pub(crate) fn parse<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> Directives {
        let mut said = Directives::default();
        for line in lines {
            let mut words = Words::of(line);
            for (name, argument) in &mut words {
                said.take(name, &argument);
            }
            if words.torn {
                // A `no-store` may stand in what was swallowed.
                said.no_store = true;
                said.must_understand = false;
                return said;
            }
        }
        said
    }

    /// What stands for this cache, and whether it was said in a targeted field.
    ///
    /// The first of `targets` that is present and a valid dictionary (RFC 8941) stands alone: then
    /// Cache-Control and Expires are not read (RFC 9213 §2.2). One that is empty, broken, or gives
    /// a directive a value of the wrong type is as if it were absent.
    pub(crate) fn of_response(headers: &HeaderMap, targets: &[HeaderName]) -> (Directives, bool) {
        match targets.iter().find_map(|target| Directives::targeted(headers, target)) {
            Some(said) => (said, true),
            None => (Directives::parse(headers.get_all(CACHE_CONTROL)), false),
        }
    }

    fn targeted(headers: &HeaderMap, target: &HeaderName) -> Option<Directives> {
        let members = structured::dictionary(headers, target)?;
        if members.is_empty() {
            return None;
        }
        let mut said = Directives::default();
        for (name, value) in &members {
            said.take_typed(name, value)?;
        }
        Some(said)
    }

    fn take(&mut self, name: &[u8], argument: &Argument<'_>) {
        let name = name.to_ascii_lowercase();
        let bare = matches!(argument, Argument::Missing);
        match name.as_slice() {
            // What forbids counts with any argument, what allows only as it is written in the RFC.
            b"no-store" => self.no_store = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"public" => self.public |= bare,
            b"must-understand" => self.must_understand |= bare,
            b"immutable" => self.immutable |= bare,
            b"no-cache" => widen(&mut self.no_cache, argument.fields()),
            b"private" => widen(&mut self.private, argument.fields()),
            _ => {
                if let Some(time) = self.time(&name) {
                    least(time, argument.seconds());
                }
            }
        }
    }

    /// `None`: the value is not of the directive's type.
    fn take_typed(&mut self, name: &str, value: &Member) -> Option<()> {
        let flag = match name {
            "no-store" => Some(&mut self.no_store),
            "must-revalidate" => Some(&mut self.must_revalidate),
            "proxy-revalidate" => Some(&mut self.proxy_revalidate),
            "public" => Some(&mut self.public),
            "must-understand" => Some(&mut self.must_understand),
            "immutable" => Some(&mut self.immutable),
            _ => None,
        };
        let fields = match name {
            "no-cache" => Some(&mut self.no_cache),
            "private" => Some(&mut self.private),
            _ => None,
        };
        match (flag, fields, value) {
            (Some(flag), _, Member::Item(Bare::Boolean(set))) => *flag = *set,
            (_, Some(fields), Member::Item(Bare::Boolean(set))) => {
                *fields = set.then_some(Fields::All);
            }
            (_, Some(fields), Member::Item(Bare::String(names))) => {
                *fields = Some(Fields::of(names.as_bytes()));
            }
            (Some(_), ..) | (_, Some(_), _) => return None,
            (None, None, value) => {
                if let Some(time) = self.time(name.as_bytes()) {
                    let Member::Item(Bare::Integer(seconds)) = value else { return None };
                    let seconds = u64::try_from(*seconds).unwrap_or(0).min(SECONDS_MAX);
                    *time = Some(Duration::from_secs(seconds));
                }
            }
        }
        Some(())
    }

    fn time(&mut self, name: &[u8]) -> Option<&mut Option<Duration>> {
        match name {
            b"max-age" => Some(&mut self.max_age),
            b"s-maxage" => Some(&mut self.s_maxage),
            b"stale-while-revalidate" => Some(&mut self.stale_while_revalidate),
            b"stale-if-error" => Some(&mut self.stale_if_error),
            _ => None,
        }
    }
}

impl Fields {
    /// A list that names none, or something that is no field, is said of the whole response.
    fn of(list: &[u8]) -> Fields {
        let names = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let names: Result<Vec<_>, _> =
            names.filter(|name| !name.is_empty()).map(HeaderName::from_bytes).collect();
        match names {
            Ok(names) if !names.is_empty() => Fields::Named(names),
            _ => Fields::All,
        }
    }
}

impl RequestDirectives {
    pub(crate) fn of(headers: &HeaderMap) -> RequestDirectives {
        let mut said = RequestDirectives::default();
        if !headers.contains_key(CACHE_CONTROL) {
            let pragma = headers.get_all(PRAGMA).iter().flat_map(Words::of);
            said.no_cache =
                pragma.into_iter().any(|(name, _)| name.eq_ignore_ascii_case(b"no-cache"));
            return said;
        }
        for (name, argument) in headers.get_all(CACHE_CONTROL).iter().flat_map(Words::of) {
            said.take(name, &argument);
        }
        said
    }

    fn take(&mut self, name: &[u8], argument: &Argument<'_>) {
        match name.to_ascii_lowercase().as_slice() {
            b"no-cache" => self.no_cache = true,
            b"no-store" => self.no_store = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => least(&mut self.max_age, argument.seconds()),
            b"stale-if-error" => least(&mut self.stale_if_error, argument.seconds()),
            b"min-fresh" => self.min_fresh = self.min_fresh.max(Some(argument.seconds())),
            b"max-stale" => {
                let asked = match argument {
                    Argument::Missing => None,
                    _ => Some(argument.seconds()),
                };
                self.max_stale = Some(match (self.max_stale, asked) {
                    (Some(Some(before)), Some(asked)) => Some(before.min(asked)),
                    (Some(before), asked) => before.or(asked),
                    (None, asked) => asked,
                });
            }
            _ => {}
        }
    }
}

/// What stands behind a directive's `=`.
#[derive(Debug, PartialEq, Eq)]
enum Argument<'a> {
    Missing,
    Text(Cow<'a, [u8]>),
    /// Not in the grammar: spaces around the `=`, nothing behind it, more behind a quoted string.
    Garbage,
}

impl Argument<'_> {
    /// Digits only; anything else is over at once.
    fn seconds(&self) -> Duration {
        match self {
            Argument::Text(text) => delta_seconds(text).unwrap_or_default(),
            Argument::Missing | Argument::Garbage => Duration::ZERO,
        }
    }

    fn fields(&self) -> Fields {
        match self {
            Argument::Text(list) => Fields::of(list),
            Argument::Missing | Argument::Garbage => Fields::All,
        }
    }
}

/// The directives of one line. A comma in a quoted string parts nothing.
struct Words<'a> {
    rest: &'a [u8],
    /// A quoted string had no end.
    torn: bool,
}

impl<'a> Words<'a> {
    fn of(line: &'a HeaderValue) -> Words<'a> {
        Words { rest: line.as_bytes(), torn: false }
    }

    /// Takes all before the next of `ends`.
    fn until(&mut self, ends: &[u8]) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| ends.contains(byte));
        let (taken, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// The rest of a quoted string whose first quote was taken.
    fn quoted(&mut self) -> Cow<'a, [u8]> {
        let start = self.rest;
        let mut plain = Vec::new();
        let mut escapes = false;
        while let Some((byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match (byte, rest.split_first()) {
                (b'"', _) if escapes => return Cow::Owned(plain),
                (b'"', _) => return Cow::Borrowed(start.get(..plain.len()).unwrap_or_default()),
                (b'\\', Some((escaped, rest))) => {
                    escapes = true;
                    plain.push(*escaped);
                    self.rest = rest;
                }
                (byte, _) => plain.push(*byte),
            }
        }
        self.torn = true;
        Cow::Owned(plain)
    }

    fn argument(&mut self, name_is_tight: bool) -> Argument<'a> {
        let Some(behind) = self.rest.strip_prefix(b"=") else { return Argument::Missing };
        self.rest = behind.trim_ascii_start();
        let tight = name_is_tight && self.rest.len() == behind.len();
        let (text, more) = match self.rest.strip_prefix(b"\"") {
            Some(rest) => {
                self.rest = rest;
                let text = self.quoted();
                (text, self.until(b",").trim_ascii())
            }
            None => (Cow::Borrowed(self.until(b",").trim_ascii_end()), &b""[..]),
        };
        if tight && more.is_empty() { Argument::Text(text) } else { Argument::Garbage }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = (&'a [u8], Argument<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let empty = |byte: &u8| *byte == b',' || byte.is_ascii_whitespace();
        while let Some((_, rest)) = self.rest.split_first().filter(|(byte, _)| empty(byte)) {
            self.rest = rest;
        }
        if self.rest.is_empty() {
            return None;
        }
        let written = self.until(b",=");
        let name = written.trim_ascii_end();
        Some((name, self.argument(name.len() == written.len())))
    }
}

/// RFC 9111 §1.2.2: digits and nothing else; however many, at most 2^31.
pub(crate) fn delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| {
        sum.saturating_mul(10).saturating_add(u64::from(digit.wrapping_sub(b'0')))
    };
    Some(Duration::from_secs(text.iter().fold(0, add).min(SECONDS_MAX)))
}

/// The smaller of two counts (RFC 9111 §4.2.1 leaves the choice).
fn least(time: &mut Option<Duration>, said: Duration) {
    *time = Some(time.map_or(said, |before| before.min(said)));
}

fn widen(fields: &mut Option<Fields>, said: Fields) {
    *fields = Some(match (fields.take(), said) {
        (Some(Fields::Named(mut before)), Fields::Named(said)) => {
            before.extend(said);
            Fields::Named(before)
        }
        (Some(Fields::All), _) => Fields::All,
        (_, said) => said,
    });
}
