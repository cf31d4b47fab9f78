//! How one gets to Redis, and what one is told when that cannot be.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use larder::{Error, ErrorKind, Larder};
use support::{Ear, Server, World, server::free_port};

async fn refused(url: &str) -> Error {
    let error = Larder::builder("test").redis(url).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error
}

fn says(error: &Error, words: &[&str]) {
    let text = error.to_string();
    words.iter().for_each(|word| assert!(text.contains(word), "no {word:?} in: {text}"));
}

#[tokio::test]
async fn an_url_that_cannot_be_read_is_refused_and_not_repeated() {
    for url in [
        "localhost:6379",
        "http://localhost",
        "redis://",
        "redis://:s3cret@host:port/0",
        "redis://h/x",
    ] {
        let error = refused(url).await;
        says(&error, &["redis://"]);
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn tls_without_its_feature_is_an_error_that_names_it() {
    says(&refused("rediss://localhost").await, &["rediss://", "feature `tls`"]);
}

#[tokio::test]
async fn a_wrong_password_user_or_database_is_named() {
    let server = Server::with(&["--requirepass", "s3cret"]);
    let at = format!("127.0.0.1:{}", server.port());
    for (url, words) in [
        (format!("redis://{at}"), ["password", "redis://user:password"]),
        (format!("redis://:wr0ng@{at}"), ["refuses", "password"]),
        (format!("redis://nobody:wr0ng@{at}"), ["refuses", "user name"]),
        (format!("redis://:s3cret@{at}/99"), ["no database 99", "databases"]),
    ] {
        let error = refused(&url).await;
        says(&error, &words);
        says(&error, &[&at]);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("wr0ng"), "{shown}");
    }
    let larder = Larder::builder("test").redis(format!("redis://:s3cret@{at}/3")).require_far();
    assert!(larder.open().await.unwrap().is_far_up());
}

/// Something listens, and it is a web server.
#[tokio::test]
async fn a_port_that_is_not_redis_is_named() {
    let url = answering(|_, socket| {
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        false
    });
    says(&refused(&url).await, &["does not speak Redis", "port"]);
    let url = answering(|_, _| false);
    says(&refused(&url).await, &["does not speak Redis"]);
}

#[tokio::test]
async fn a_redis_that_is_too_old_is_refused() {
    let url = answering(|command, socket| {
        let reply: &[u8] = match command.first().map(String::as_str) {
            Some("HELLO") => b"%1\r\n+server\r\n+redis\r\n",
            Some("INFO") => b"$21\r\nredis_version:6.2.14\n\r\n",
            Some("TIME") => b"*2\r\n$1\r\n1\r\n$1\r\n1\r\n",
            _ => b"+OK\r\n",
        };
        socket.write_all(reply).is_ok()
    });
    says(&refused(&url).await, &["6.2.14", "7.0"]);
}

/// A server that is none: it hears a command, and `reply` writes what it likes; false: it hangs up.
fn answering(reply: impl Fn(&[String], &mut TcpStream) -> bool + Send + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://127.0.0.1:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let reply = reply.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(socket.try_clone().unwrap());
                while let Some(command) = command(&mut reader) {
                    if !reply(&command, &mut socket) {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// One command in Redis' protocol.
fn command(reader: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let number = |reader: &mut BufReader<TcpStream>| -> Option<usize> {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        line.trim().get(1..)?.parse().ok()
    };
    let words = number(reader)?;
    let word = |_| {
        let mut bytes = vec![0; number(reader)? + 2];
        reader.read_exact(&mut bytes).ok()?;
        bytes.truncate(bytes.len() - 2);
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    (0..words).map(word).collect()
}

/// What the user may not do is named, and it is an error at once: it will not pass by itself.
#[tokio::test]
async fn a_permission_that_is_missing_is_named() {
    let server = Server::start();
    for (without, database) in [("time", 0), ("info", 0), ("script|load", 0), ("select", 1)] {
        let acl = format!("ACL SETUSER app reset on >s3cret ~* &* +@all -{without}");
        let _: String = server.ask(&acl);
        let url = format!("redis://app:s3cret@127.0.0.1:{}/{database}", server.port());
        says(&refused(&url).await, &["permission", without]);
    }
}

/// Two connections for a process, however many come first.
#[tokio::test]
async fn early_callers_do_not_make_a_connection_each() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    for n in 0..200 {
        world.source.set(&format!("k{n}"), "v");
    }
    let reads: Vec<_> = (0..200).map(|n| world.reading(&format!("k{n}"))).collect();
    for read in reads {
        read.await.unwrap().unwrap();
    }
    assert_eq!(server.clients(), 2);
    let info: String = server.ask("INFO stats");
    let made = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    let made: usize = made.unwrap().parse().unwrap();
    assert!(made < 20, "{made} connections were made, most of them this test's own questions");
}

/// The user may not turn tracking on: larder says so and works; what is near ends with the bound, since nobody
/// tells of changes, and who waits for another's load looks again and again.
#[tokio::test]
async fn without_tracking_near_ends_with_the_bound_and_waiters_look_again() {
    let server = Server::start();
    let acl = "ACL SETUSER app on >s3cret ~* &* +@all -client|tracking";
    let _: String = server.ask(acl);
    let url = format!("redis://app:s3cret@127.0.0.1:{}", server.port());
    let (here, there) = (World::on(&url).await, World::on(&url).await);
    let (mut step, load) = support::stepped();
    let loading = here.reading_by("k", load);
    step.begins().await;
    let waiting = there.reading("k");
    there.ear.hears("Wait", 3).await;
    step.answers("one");
    assert_eq!(*loading.await.unwrap().unwrap(), "one");
    assert_eq!(*waiting.await.unwrap().unwrap(), "one");
    assert_eq!(there.has("k").await, "one near");
    here.words.invalidate("k").await.unwrap();
    assert_eq!(here.has("k").await, "nothing", "who ends it knows at once");
    here.source.set("k", "two");
    assert_eq!(*here.read("k").await.unwrap(), "two");
    here.larder.settled().await;
    assert_eq!(there.has("k").await, "two far");
}

/// Redis comes while the service runs: it is found.
#[tokio::test]
async fn a_redis_that_comes_later_is_found() {
    let port = free_port();
    let ear = Ear::default();
    let builder = Larder::builder("test").redis(format!("redis://127.0.0.1:{port}"));
    let larder = builder.observer(ear.observer()).open().await.unwrap();
    assert!(!larder.is_far_up());
    let mut child = std::process::Command::new("redis-server")
        .args(["--port", &port.to_string(), "--save", "", "--bind", "127.0.0.1"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    ear.hears("Connected", 1).await;
    assert!(larder.is_far_up());
    child.kill().unwrap();
    child.wait().unwrap();
}
