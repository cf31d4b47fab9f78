//! A URL that names sentinels, and the master they watch.

use crate::error::{Error, ErrorKind};
use crate::redis::address::{
    self, Address, LOOKS, Place, cut, database, decoded, host_and_port, login_of, pairs, protocol,
    who,
};

/// Where a sentinel listens unless it says otherwise.
const PORT: u16 = 26379;

/// Who is asked, and for which master.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) sentinels: Vec<(String, u16)>,
    pub(super) master: String,
    /// The way into the master, with the place of a sentinel where its own is to stand.
    pub(super) way: Address,
    /// The way into the first sentinel.
    pub(super) to_sentinels: Address,
}

impl Asked {
    pub(super) fn parse(url: &str) -> Result<Asked, Error> {
        read(url).map_err(|why| {
            let looks = "redis+sentinel://user:password@host:26379,host:26379/master-name/0";
            Error::new(ErrorKind::Config, why.to_string().replace(LOOKS, looks))
        })
    }
}

fn read(url: &str) -> Result<Asked, Error> {
    let (tls, rest) = match url.split_once("://") {
        Some(("redis+sentinel", rest)) => (false, rest),
        Some(("rediss+sentinel", rest)) => (true, rest),
        _ => return address::wrong("the scheme is neither redis+sentinel nor rediss+sentinel"),
    };
    let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if after.contains('@') {
        return address::wrong(
            "the user name or password holds a /, ? or #: write it as %2F, %3F or %23, and @ as %40",
        );
    }
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let hosts = hosts.split(',').map(|host| host_and_port(host, PORT));
    let sentinels = hosts.collect::<Result<Vec<_>, Error>>()?;
    let (after, fragment) = cut(after, '#');
    if fragment.is_some() {
        return address::wrong("there is a # part, which means nothing here");
    }
    let (path, query) = cut(after, '?');
    let (master, number) = cut(path.trim_matches('/'), '/');
    let (mut user, mut password) = (None, None);
    for (name, value) in pairs(query) {
        match name {
            "sentinel_user" => user = Some(decoded("user name", value)?),
            "sentinel_pass" => password = Some(decoded("password", value)?),
            "protocol" => protocol(value)?,
            _ => {
                return address::wrong(
                    "the ? part names something else than sentinel_user, sentinel_pass and protocol; & in a password is %26",
                );
            }
        }
    }
    let Some((host, port)) = sentinels.first().cloned() else {
        return address::wrong("there is no host");
    };
    let place = Place::Tcp { host, port, tls };
    Ok(Asked {
        master: master_name(master)?,
        way: Address {
            place: place.clone(),
            database: database(number.unwrap_or_default())?,
            credentials: login_of(login)?,
        },
        to_sentinels: Address { place, database: 0, credentials: who(user, password) },
        sentinels,
    })
}

/// Of the characters that sentinels allow.
fn master_name(text: &str) -> Result<String, Error> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.is_empty() {
        return address::wrong("there is no name of a master behind the hosts");
    }
    if !text.chars().all(known) {
        return address::wrong(
            "the name of the master holds something else than A-Z a-z 0-9 . - _",
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::Credentials;

    #[test]
    fn every_part_is_read() {
        let asked = Asked::parse(
            "rediss+sentinel://app:p%40@a:1,[::1]:2,c/my-master.1/3?sentinel_user=s&sentinel_pass=q%26",
        )
        .unwrap();
        let at = |host: &str, port| (host.to_owned(), port);
        assert_eq!(asked.sentinels, [at("a", 1), at("::1", 2), at("c", 26379)]);
        assert_eq!(asked.master, "my-master.1");
        assert_eq!(asked.way.database, 3);
        assert!(asked.way.is_tls() && asked.to_sentinels.is_tls());
        assert_eq!(asked.way.credentials, Some(Credentials::password("p@").user("app")));
        assert_eq!(asked.to_sentinels.credentials, Some(Credentials::password("q&").user("s")));
        let short = Asked::parse("redis+sentinel://h/m").unwrap();
        assert_eq!((short.way.database, short.way.credentials.clone()), (0, None));
        assert_eq!(short.sentinels, [at("h", 26379)]);
        assert!(!short.way.is_tls());
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_is_repeated() {
        for (url, named) in [
            ("redis+sentinel://", "no host"),
            ("redis+sentinel://h", "no name of a master"),
            ("redis+sentinel://h/?sentinel_pass=hunter2", "no name of a master"),
            ("redis+sentinel://h,/m", "no host"),
            ("redis+sentinel://u:hunter2/m", "the port"),
            ("redis+sentinel://h:0/m", "the port"),
            ("redis+sentinel://h/hun ter2", "the name of the master"),
            ("redis+sentinel://h/m/hunter2", "the database"),
            ("redis+sentinel://h/m/0/hunter2", "the database"),
            ("redis+sentinel://:hunter2/x@h/m", "%2F"),
            ("redis+sentinel://h/m?pass=hunter2", "the ? part"),
            ("redis+sentinel://h/m?sentinel_pass=hunter2%", "password holds a %"),
            ("rediss+sentinel://h/m#hunter2", "a # part"),
        ] {
            let why = Asked::parse(url).expect_err(url);
            assert_eq!(why.kind(), ErrorKind::Config);
            let text = format!("{why} {why:?}");
            assert!(text.contains(named), "no {named:?} for {url}: {text}");
            assert!(text.contains("redis+sentinel://user:password@host:26379"), "{text}");
            assert!(!text.contains("hunter2") && !text.contains("ter2"), "{text}");
        }
    }
}
