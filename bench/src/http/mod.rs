//! Servers of one page, and who asks them.
//!
//! Each is a process of its own, so that its processor time is what the kernel counted for it, its
//! children included, and each is held to one core; who asks has the others. The page comes from one
//! handler ([`app`]): alone, behind the layer in the same process, or behind a [`proxy`] that keeps it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::Outcome;

pub mod app;
pub mod cores;
pub mod program;
pub mod proxy;
pub mod wrk;

/// Where every server has the page.
pub const PATH: &str = "/page";

/// A server of the page.
pub trait Server {
    fn port(&self) -> u16;

    /// The process that it is; its children count as well.
    fn id(&self) -> u32;
}

/// What a server answered.
pub struct Answer {
    head: String,
    pub body: String,
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        self.head.starts_with("HTTP/1.1 200 ")
    }

    /// The first field of this name, in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }
}

/// One request, on a connection of its own.
pub fn get(port: u16, path: &str) -> Outcome<Answer> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let host = format!("127.0.0.1:{port}");
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let (head, body) =
        answer.split_once("\r\n\r\n").ok_or("an answer without an end of its head")?;
    Ok(Answer { head: head.to_owned(), body: body.to_owned() })
}

/// Which of these cannot be run, since PATH has none of the name.
pub fn missing<'a>(programs: &[&'a str]) -> Vec<&'a str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |name: &str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    programs.iter().copied().filter(|name| !has(name)).collect()
}

/// The first word that looks like a version, of what `program` says of itself on either of its outputs.
pub fn version(program: &str, flag: &str) -> String {
    let Ok(said) = Command::new(program).arg(flag).output() else { return "?".to_owned() };
    let text = [said.stdout, said.stderr].concat();
    version_in(&String::from_utf8_lossy(&text)).unwrap_or("?").to_owned()
}

fn version_in(text: &str) -> Option<&str> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    words.map(|word| word.trim_matches('.')).find(|word| word.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_a_program_says() {
        assert_eq!(version_in("nginx version: nginx/1.22.1"), Some("1.22.1"));
        assert_eq!(version_in("varnishd (varnish-7.1.1 revision 7cee1c)"), Some("7.1.1"));
        assert_eq!(version_in("wrk debian/4.1.0-3 [epoll] (C) 2012"), Some("4.1.0"));
        assert_eq!(version_in("none"), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(&["sh", "no-such-program"]), ["no-such-program"]);
    }

    #[test]
    fn a_field_is_found_whatever_its_case() {
        let head = "HTTP/1.1 200 OK\r\nX-Cache: HIT\r\nAge: 3".to_owned();
        let answer = Answer { head, body: String::new() };
        assert!(answer.is_ok());
        assert_eq!(answer.field("x-cache"), Some("HIT"));
        assert_eq!(answer.field("etag"), None);
    }
}
