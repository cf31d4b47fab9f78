//! A URL, read part by part.
//!
//! Read by hand and not by a URL library, for its errors: each names the part that is wrong, and none
//! repeats a word of the URL, since what stands in the wrong place may well be a password.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use super::credentials::Credentials;
use crate::error::{Error, ErrorKind};

pub(super) const PORT: u16 = 6379;
/// What every error of a URL begins with.
pub(super) const LOOKS: &str = "redis://user:password@host:6379/0";

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp {
        host: String,
        port: u16,
        tls: bool,
    },
    Unix(PathBuf),
    /// Some of a cluster's nodes.
    Cluster {
        nodes: Vec<(String, u16)>,
        tls: bool,
    },
}

/// Where Redis is. Prints without user name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(super) place: Place,
    pub(super) database: u32,
    /// What stood in the URL.
    pub(super) credentials: Option<Credentials>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.database;
        match &self.place {
            Place::Tcp { host, port, tls } => {
                let scheme = if *tls { "rediss" } else { "redis" };
                write!(f, "{scheme}://{}/{database}", Shown(host, *port))
            }
            Place::Cluster { nodes, tls } => {
                f.write_str(if *tls { "rediss+cluster://" } else { "redis+cluster://" })?;
                for (at, (host, port)) in nodes.iter().enumerate() {
                    write!(f, "{}{}", if at > 0 { "," } else { "" }, Shown(host, *port))?;
                }
                Ok(())
            }
            Place::Unix(path) => write!(f, "redis+unix://{}?db={database}", path.display()),
        }
    }
}

struct Shown<'a>(&'a str, u16);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(host, port) = self;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Address, Error> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return wrong("there is no scheme");
        };
        match scheme {
            "redis" => over_tcp(rest, false),
            "rediss" => over_tcp(rest, true),
            "redis+unix" | "unix" => over_unix(rest),
            "redis+cluster" => to_cluster(rest, false),
            "rediss+cluster" => to_cluster(rest, true),
            _ => wrong(
                "the scheme is none of redis, rediss, redis+unix, unix, redis+sentinel, rediss+sentinel, redis+cluster and rediss+cluster",
            ),
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.place, Place::Tcp { tls: true, .. } | Place::Cluster { tls: true, .. })
    }
}

pub(super) fn wrong<T>(what: &str) -> Result<T, Error> {
    let text = format!("a redis URL looks like {LOOKS}; in this one {what}");
    Err(Error::new(ErrorKind::Config, text))
}

fn over_tcp(rest: &str, tls: bool) -> Result<Address, Error> {
    let Parts { hosts, database, credentials } = parts(rest)?;
    let (host, port) = host_and_port(hosts, PORT)?;
    Ok(Address { place: Place::Tcp { host, port, tls }, database, credentials })
}

fn to_cluster(rest: &str, tls: bool) -> Result<Address, Error> {
    let Parts { hosts, database, credentials } = parts(rest)?;
    if database > 0 {
        return wrong("there is a database, and a cluster has none but 0");
    }
    let nodes = hosts.split(',').map(|host| host_and_port(host, PORT)).collect::<Result<_, _>>()?;
    Ok(Address { place: Place::Cluster { nodes, tls }, database, credentials })
}

/// What a URL of a server is made of.
struct Parts<'a> {
    hosts: &'a str,
    database: u32,
    credentials: Option<Credentials>,
}

fn parts(rest: &str) -> Result<Parts<'_>, Error> {
    let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if after.contains('@') {
        return wrong(
            "the user name or password holds a /, ? or #: write it as %2F, %3F or %23, and @ as %40",
        );
    }
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (login, hosts),
        None => ("", authority),
    };
    let (after, fragment) = cut(after, '#');
    match fragment {
        None => {}
        Some("insecure") => {
            return wrong(
                "#insecure asks for TLS without checking whom we talk to, which larder does not do: \
                 give the builder the certificate of your own authority, `.tls(Tls::new().ca_pem(..))`",
            );
        }
        Some(_) => return wrong("there is a # part, which means nothing here"),
    }
    let (path, query) = cut(after, '?');
    for (name, value) in pairs(query) {
        match name {
            "protocol" => protocol(value)?,
            _ => return wrong("the ? part names something else than protocol"),
        }
    }
    let database = database(path.trim_matches('/'))?;
    Ok(Parts { hosts, database, credentials: login_of(login)? })
}

fn over_unix(rest: &str) -> Result<Address, Error> {
    let (rest, fragment) = cut(rest, '#');
    if fragment.is_some() {
        return wrong("there is a # part, which means nothing here; # in a password is %23");
    }
    let (path, query) = cut(rest, '?');
    if !path.starts_with('/') {
        return wrong(
            "the path of the unix socket is not absolute: redis+unix:///run/redis.sock?db=0&user=..&pass=..",
        );
    }
    if path.ends_with('/') {
        return wrong("the path is that of a folder, not of a unix socket in it");
    }
    let path = PathBuf::from(decoded("path", path)?);
    if !can_be_a_socket(&path) {
        return wrong("the path cannot be that of a unix socket on this system");
    }
    let (mut db, mut user, mut pass) = (0, None, None);
    for (name, value) in pairs(query) {
        match name {
            "db" => db = database(value)?,
            "user" => user = Some(decoded("user name", value)?),
            "pass" => pass = Some(decoded("password", value)?),
            "protocol" => protocol(value)?,
            _ => {
                return wrong(
                    "the ? part names something else than db, user, pass and protocol; & in a password is %26",
                );
            }
        }
    }
    Ok(Address { place: Place::Unix(path), database: db, credentials: who(user, pass) })
}

#[cfg(unix)]
fn can_be_a_socket(path: &std::path::Path) -> bool {
    std::os::unix::net::SocketAddr::from_pathname(path).is_ok()
}

#[cfg(not(unix))]
fn can_be_a_socket(_: &std::path::Path) -> bool {
    false
}

/// `text` up to the first `at`, and what follows it.
pub(super) fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, behind)) => (before, Some(behind)),
        None => (text, None),
    }
}

pub(super) fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// URLs of other clients carry it; there is only one that we can speak.
pub(super) fn protocol(value: &str) -> Result<(), Error> {
    match value {
        "3" | "resp3" => Ok(()),
        _ => wrong("the protocol is not resp3, the only one larder speaks"),
    }
}

pub(super) fn database(text: &str) -> Result<u32, Error> {
    if text.is_empty() {
        return Ok(0);
    }
    match text.parse() {
        Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => wrong("the database is not a number from 0 to 4294967295"),
    }
}

/// `otherwise`: the port where none is named.
pub(super) fn host_and_port(text: &str, otherwise: u16) -> Result<(String, u16), Error> {
    if text.is_empty() {
        return wrong("there is no host");
    }
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => (host, port),
        Some(_) => return wrong("the host in brackets is not an IPv6 address"),
        None if text.matches(':').count() > 1 => {
            return wrong(
                "the host holds more than one colon: an IPv6 address stands in brackets, and a password before an @",
            );
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(known) {
        return wrong("the host is neither a name nor an address");
    }
    let port = match port.strip_prefix(':').map(str::parse) {
        None if port.is_empty() => otherwise,
        Some(Ok(port)) if port > 0 => port,
        _ => return wrong("the port is not a number from 1 to 65535"),
    };
    Ok((host.to_owned(), port))
}

pub(super) fn login_of(text: &str) -> Result<Option<Credentials>, Error> {
    let (user, password) = cut(text, ':');
    let user = decoded("user name", user)?;
    let password = password.map(|password| decoded("password", password)).transpose()?;
    Ok(who(Some(user), password))
}

/// A user without a password says who it is all the same: it may have none, and must not pass for the
/// server's default user.
pub(super) fn who(user: Option<String>, password: Option<String>) -> Option<Credentials> {
    let user = user.filter(|user| !user.is_empty());
    let password = password.unwrap_or_default();
    match user {
        Some(user) => Some(Credentials::password(password).user(user)),
        None if password.is_empty() => None,
        None => Some(Credentials::password(password)),
    }
}

pub(super) fn decoded(part: &str, text: &str) -> Result<String, Error> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (Some(high), Some(low)) = (digit(rest.first()), digit(rest.get(1))) else {
            return wrong(&format!(
                "the {part} holds a % that begins no percent-encoding: write it as %25"
            ));
        };
        bytes.extend(u8::try_from(high * 16 + low));
        rest = rest.get(2..).unwrap_or_default();
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(_) => wrong(&format!("the {part} is not UTF-8 once its percent-encoding is undone")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Address {
        Address::parse(url).unwrap_or_else(|why| panic!("{url}: {why}"))
    }

    #[test]
    fn every_part_is_read() {
        let tcp = |host: &str, port, tls| Place::Tcp { host: host.to_owned(), port, tls };
        let cluster = |nodes: &[(&str, u16)], tls| {
            let nodes = nodes.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect();
            Place::Cluster { nodes, tls }
        };
        let user = |name: &str, password: &str| Some(Credentials::password(password).user(name));
        for (url, place, database, credentials) in [
            ("redis://h", tcp("h", 6379, false), 0, None),
            ("rediss://h.example:7000/", tcp("h.example", 7000, true), 0, None),
            ("redis://10.0.0.1/3?protocol=resp3", tcp("10.0.0.1", 6379, false), 3, None),
            ("redis://[::1]:7/15", tcp("::1", 7, false), 15, None),
            ("redis://:p@h", tcp("h", 6379, false), 0, Some(Credentials::password("p"))),
            ("redis://u:p%40%2f@h/1", tcp("h", 6379, false), 1, user("u", "p@/")),
            ("redis://u:p@q@h", tcp("h", 6379, false), 0, user("u", "p@q")),
            ("redis://u@h", tcp("h", 6379, false), 0, user("u", "")),
            ("redis://@h", tcp("h", 6379, false), 0, None),
            (
                "redis+cluster://h,[::1]:7,i:8/0",
                cluster(&[("h", 6379), ("::1", 7), ("i", 8)], false),
                0,
                None,
            ),
            ("rediss+cluster://u:p@h/", cluster(&[("h", 6379)], true), 0, user("u", "p")),
            ("redis+unix:///run/r%20s", Place::Unix("/run/r s".into()), 0, None),
            ("unix:///r?db=2&user=u&pass=a%26+b", Place::Unix("/r".into()), 2, user("u", "a&+b")),
        ] {
            assert_eq!(read(url), Address { place, database, credentials }, "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_is_repeated() {
        let long = format!("redis+unix:///{}?pass=hunter2", "x".repeat(300));
        for (url, named) in [
            ("hunter2", "scheme"),
            ("hunter2://h", "scheme"),
            ("redis://", "no host"),
            ("redis://:hunter2@", "no host"),
            ("redis://u:hunter2", "the port"),
            ("redis://u:hunter2:6379", "colon"),
            ("redis://h:0", "the port"),
            ("redis://h:65536", "the port"),
            ("redis://h:", "the port"),
            ("redis://[hunter2]", "brackets"),
            ("redis://[::1]hunter2", "the port"),
            ("redis://hun ter2", "the host"),
            ("redis://h/hunter2", "the database"),
            ("redis://h/-1", "the database"),
            ("redis://h/+1", "the database"),
            ("redis://h/99999999999", "the database is not a number from 0 to 4294967295"),
            ("redis://h/0/hunter2", "the database"),
            ("redis:///0", "no host"),
            ("redis:hunter2", "scheme"),
            ("://hunter2", "scheme"),
            ("redis://:hunter2/x@h", "%2F"),
            ("redis://:x#hunter2@h", "%23"),
            ("redis://:hunter2%@h", "password holds a %"),
            ("redis://:%zzhunter2@h", "password holds a %"),
            ("redis://:hunter2%ff@h", "password is not UTF-8"),
            ("redis://hunter2%f:x@h", "user name holds a %"),
            ("redis://h?pass=hunter2", "the ? part"),
            ("redis://h?protocol=hunter2", "the protocol"),
            ("redis://h/0#hunter2", "the # part"),
            ("rediss://:hunter2@h#insecure", "#insecure"),
            ("redis+cluster://:hunter2@h,", "no host"),
            ("redis+cluster://h,:hunter2@i,j:x", "the port"),
            ("redis+cluster://:hunter2@h/1", "a database"),
            ("redis+unix://hunter2", "the path"),
            ("redis+unix:///r%zz?pass=hunter2", "the path holds a %"),
            ("redis+unix:///r%00?pass=hunter2", "the path cannot be"),
            ("redis+unix:///?pass=hunter2", "the path is that of a folder"),
            ("unix:///hunter2/?db=1", "the path is that of a folder"),
            ("unix:///r?user=hunter2%", "user name holds a %"),
            ("unix:///r?pass=hunter2%", "password holds a %"),
            ("unix:///r?protocol=hunter2", "the protocol"),
            ("redis+unix:///r?db=hunter2", "the database"),
            ("redis+unix:///r?pass=x&hunter2", "the ? part"),
            ("redis+unix:///r?pass=x#hunter2", "a # part"),
            (&long, "the path"),
        ] {
            let why = Address::parse(url).expect_err(url);
            assert_eq!(why.kind(), ErrorKind::Config);
            let text = format!("{why} {why:?}");
            let named = named.replace("the # part", "a # part");
            assert!(text.contains(&named), "no {named:?} for {url}: {text}");
            assert!(!text.contains("hunter2") && !text.contains("unter2"), "{text}");
        }
    }

    #[test]
    fn it_prints_where_and_not_who() {
        for (url, shown) in [
            ("redis://u:hunter2@h/3", "redis://h:6379/3"),
            ("rediss://:hunter2@[::1]:7", "rediss://[::1]:7/0"),
            ("unix:///r?pass=hunter2&db=1", "redis+unix:///r?db=1"),
            ("rediss+cluster://u:hunter2@h,[::1]:7", "rediss+cluster://h:6379,[::1]:7"),
        ] {
            let address = read(url);
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("hunter2"));
        }
    }
}
