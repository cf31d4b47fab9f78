//! Structured fields (RFC 9651, before that RFC 8941), as far as the fields we read need them.
//!
//! The whole grammar is checked, since a field with one fault in it has to be ignored as a whole. Kept
//! are only booleans, strings and whole numbers: no field that we read gives another kind a meaning. Parameters are
//! read and dropped for the same reason.

use http::HeaderMap;
use http::header::HeaderName;

/// A member of a list or of a dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Item(Bare),
    Inner(Vec<Bare>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bare {
    Boolean(bool),
    String(String),
    Integer(i64),
    /// A decimal, a date, a token, bytes, or a display string, as it was written.
    Other(String),
}

/// All lines of a list field. `None`: not a list, to be treated as if it were absent.
pub(crate) fn list(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<Member>> {
    let text = joined(headers, name)?;
    let mut reader = Reader { rest: &text };
    let mut members = Vec::new();
    reader.separated(|reader| {
        members.push(reader.member()?);
        Some(())
    })?;
    Some(members)
}

/// All lines of a dictionary field, where the last of equal keys counts.
pub(crate) fn dictionary(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<(String, Member)>> {
    let text = joined(headers, name)?;
    let mut reader = Reader { rest: &text };
    let mut members: Vec<(String, Member)> = Vec::new();
    reader.separated(|reader| {
        let key = reader.key()?;
        let value = if reader.take('=') {
            reader.member()?
        } else {
            reader.parameters()?;
            Member::Item(Bare::Boolean(true))
        };
        match members.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => members.push((key, value)),
        }
        Some(())
    })?;
    Some(members)
}

/// The lines as one (RFC 9651 §4.2). `None` as well where there is none.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut text: Option<String> = None;
    for line in headers.get_all(name) {
        let line = line.to_str().ok()?;
        match &mut text {
            None => text = Some(line.to_owned()),
            Some(text) => {
                text.push_str(", ");
                text.push_str(line);
            }
        }
    }
    text
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// Members between commas, to the end of the text. Nothing at all is an empty list, but a comma
    /// has to be followed by a member.
    fn separated(&mut self, mut member: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.rest = self.rest.trim_matches(' ');
        if self.rest.is_empty() {
            return Some(());
        }
        loop {
            member(self)?;
            self.rest = self.rest.trim_start_matches([' ', '\t']);
            if self.rest.is_empty() {
                return Some(());
            }
            if !self.take(',') {
                return None;
            }
            self.rest = self.rest.trim_start_matches([' ', '\t']);
        }
    }

    fn member(&mut self) -> Option<Member> {
        if !self.take('(') {
            let item = self.bare()?;
            self.parameters()?;
            return Some(Member::Item(item));
        }
        let mut items = Vec::new();
        loop {
            self.spaces();
            if self.take(')') {
                break;
            }
            items.push(self.bare()?);
            self.parameters()?;
            if !self.rest.starts_with([' ', ')']) {
                return None;
            }
        }
        self.parameters()?;
        Some(Member::Inner(items))
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(';') {
            self.spaces();
            self.key()?;
            if self.take('=') {
                self.bare()?;
            }
        }
        Some(())
    }

    fn key(&mut self) -> Option<String> {
        if !self.rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '*') {
            return None;
        }
        let letters = |c: char| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.' | '*')
        };
        Some(self.run(letters).to_owned())
    }

    fn bare(&mut self) -> Option<Bare> {
        let other = |text: &str| Some(Bare::Other(text.to_owned()));
        match self.rest.chars().next()? {
            '"' => self.string().map(Bare::String),
            '?' => match self.run(|c| c == '?' || c.is_ascii_digit()) {
                "?0" => Some(Bare::Boolean(false)),
                "?1" => Some(Bare::Boolean(true)),
                _ => None,
            },
            ':' => {
                let (text, rest) = self.rest.strip_prefix(':')?.split_once(':')?;
                self.rest = rest;
                let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
                text.chars().all(base64).then(|| Bare::Other(text.to_owned()))
            }
            '@' => {
                self.take('@');
                let number = self.number()?;
                if number.contains('.') { None } else { other(number) }
            }
            '%' => {
                self.take('%');
                self.display_string()
            }
            '-' | '0'..='9' => {
                let number = self.number()?;
                number.parse().map_or_else(|_| other(number), |whole| Some(Bare::Integer(whole)))
            }
            c if c.is_ascii_alphabetic() || c == '*' => {
                other(self.run(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c)))
            }
            _ => None,
        }
    }

    /// At most fifteen digits, or twelve and one to three decimals.
    fn number(&mut self) -> Option<&'a str> {
        let text = self.run(|c| c.is_ascii_digit() || matches!(c, '-' | '.'));
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, decimals) = match digits.split_once('.') {
            None => (digits, None),
            Some((whole, decimals)) => (whole, Some(decimals)),
        };
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let right = all_digits(whole)
            && match decimals {
                None => (1..=15).contains(&whole.len()),
                Some(decimals) => {
                    (1..=12).contains(&whole.len())
                        && (1..=3).contains(&decimals.len())
                        && all_digits(decimals)
                }
            };
        right.then_some(text)
    }

    fn string(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.strip_prefix('"')?.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => text.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
                c @ ' '..='~' => text.push(c),
                _ => return None,
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }

    /// `"..."` behind a `%`, with `%` and two hex digits for what is not ASCII. Kept as it is written.
    fn display_string(&mut self) -> Option<Bare> {
        let (text, rest) = self.rest.strip_prefix('"')?.split_once('"')?;
        self.rest = rest;
        let mut pieces = text.split('%');
        pieces.next();
        let hex = |c: &u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        let whole =
            pieces.all(|piece| piece.as_bytes().get(..2).is_some_and(|two| two.iter().all(hex)));
        let printable = |c: char| matches!(c, ' '..='~');
        (whole && text.chars().all(printable)).then(|| Bare::Other(text.to_owned()))
    }

    fn take(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    fn run(&mut self, of: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !of(c)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        run
    }
}

#[cfg(test)]
mod tests;
