//! How the program starts, refuses to start, and stops.

#![allow(clippy::unwrap_used, reason = "a scene that cannot be set has failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

use serde_json::json;
use support::{Directory, PATIENCE, Redis, SECRET, Service, refused, token, until};

mod support;

/// It must not have started, and must have said why, in words and not in a panic.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(output.status.code().is_some_and(|code| code < 100), "{output:?}");
    assert!(text.contains("error: ") && !text.contains("panicked"), "{text}");
    text
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _listener = TcpListener::bind(taken).unwrap();
    let said = said(&refused(&["--demo", "--listen", &taken.to_string()], None));
    assert!(said.contains(&taken.to_string()) && said.contains("taken"), "{said}");
}

#[test]
fn a_missing_or_short_secret_is_refused() {
    let directory = Directory::new();
    let database = directory.database();
    let words = ["--database", &database];
    let missing = refused(&words, None);
    assert!(said(&missing).contains("JWT_SECRET"));
    assert_eq!(missing.status.code(), Some(2));
    for words in [&words[..], &["--demo"]] {
        let said = said(&refused(words, Some("31-bytes-are-not-enough-to-sign")));
        assert!(said.contains("JWT_SECRET") && said.contains("32"), "{said}");
        assert!(!said.contains("31-bytes"), "{said}");
    }
}

#[test]
fn a_database_that_cannot_be_used_is_named() {
    let directory = Directory::new();
    let path = directory.path().join("missing/tasks.db");
    let path = path.to_str().unwrap();
    assert!(said(&refused(&["--database", path], Some(SECRET))).contains(path));
    let text = directory.database();
    std::fs::write(&text, "a text, and long enough to be looked at as if it were a database")
        .unwrap();
    let said = said(&refused(&["--database", &text], Some(SECRET)));
    assert!(said.contains(&text) && said.contains("not a database"), "{said}");
}

#[test]
fn a_wrong_redis_url_is_refused_and_its_password_never_told() {
    let redis = Redis::start_with(Some("right-password"));
    let wrong = redis.url().replace("right-password", "hunter2");
    for url in [wrong.as_str(), "http://:hunter2@localhost", "redis://:hunter2@localhost:99999/0"] {
        let said = said(&refused(&["--demo", "--redis-url", url], None));
        assert!(said.contains("REDIS_URL") && !said.contains("hunter2"), "{said}");
    }
    let _service = Service::start(&["--demo", "--redis-url", &redis.url()]);
}

#[test]
fn it_starts_while_redis_is_away_and_finds_it_later() {
    let mut redis = Redis::start();
    redis.kill();
    let service = Service::start(&["--demo", "--redis-url", &redis.url()]);
    let ada = service.client("ada");
    let path = ada.create("milk");
    assert_eq!((ada.get(&path).status, ada.get(&path).x_cache()), (200, "MISS"));
    assert_eq!(ada.get("/readyz").body["status"], "degraded");
    redis.restart();
    until("hits are there", || ada.get(&path).x_cache() == "HIT");
}

/// A request whose handler runs and waits for `body`: what is to be written to, and read from.
fn half_a_request(service: &Service, body: &str) -> (TcpStream, BufReader<TcpStream>) {
    let mut stream = TcpStream::connect(service.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        token("ada"),
        body.len(),
    )
    .unwrap();
    let mut answer = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    answer.read_line(&mut line).unwrap();
    // Sent when the handler asks for the body: so it runs.
    assert_eq!(line.trim_end(), "HTTP/1.1 100 Continue");
    (stream, answer)
}

/// The client has sent half of its request when the process is told to stop. Nobody new is taken in; it
/// may send the rest, gets its answer, and the task is there after a new start.
#[test]
fn a_running_request_is_answered_before_the_end() {
    let directory = Directory::new();
    let database = directory.database();
    let words = ["--database", &database];
    let mut service = Service::start(&words);
    let body = json!({ "title": "at the last moment" }).to_string();
    let (mut stream, mut answer) = half_a_request(&service, &body);

    service.terminate();
    until("nobody is let in", || TcpStream::connect(service.address()).is_err());
    stream.write_all(body.as_bytes()).unwrap();
    let mut rest = String::new();
    answer.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("HTTP/1.1 201 Created"), "{rest}");
    assert_eq!(service.ended().code(), Some(0));

    let again = Service::start(&words);
    assert_eq!(again.client("ada").titles(""), ["at the last moment"]);
}

/// A request and an invalidation are waited for at the first signal. At the second they are not, and named.
#[test]
fn a_second_signal_stops_at_once_and_says_what_was_not_waited_for() {
    let redis = Redis::start();
    let mut service = Service::start_heard(&["--demo", "--redis-url", &redis.url()]);
    let ada = service.client("ada");
    redis.freeze();
    ada.create("never confirmed");
    let _halves = [half_a_request(&service, "{}"), half_a_request(&service, "{}")];
    service.terminate();
    until("nobody is let in", || TcpStream::connect(service.address()).is_err());
    service.interrupt();
    assert_eq!(service.ended().code(), Some(1));
    let said = service.said();
    let wanted = ["second time", "requests: 2;", "writes: 0;", "confirmed: 2"];
    assert!(wanted.iter().all(|words| said.contains(words)), "{said}");
}

#[test]
fn it_stops_at_once_when_nothing_is_to_be_done() {
    let mut service = Service::start(&["--demo"]);
    let _idle = TcpStream::connect(service.address()).unwrap();
    assert_eq!(service.stranger().get("/healthz").status, 200);
    service.terminate();
    assert_eq!(service.ended().code(), Some(0));
}

/// Pasted into a shell: a MISS that asks the database, a HIT that does not, a new task, and what was told of it.
#[test]
fn the_lines_of_the_demo_work_when_they_are_pasted() {
    let service = Service::start(&["--demo"]);
    let mut lines = Vec::new();
    while lines.len() < 5 {
        let line = service.line();
        if line.starts_with("curl ") {
            lines.push(line);
        }
    }
    let pasted = |line: &str| {
        let shell = Command::new("sh").args(["-c", line]).output();
        String::from_utf8(shell.unwrap().stdout).unwrap().to_ascii_lowercase()
    };
    let [first, second, third] = [0, 1, 2].map(|nth| pasted(&lines[nth]));
    assert!(first.contains("x-cache: miss") && first.contains("db;dur="), "{first}");
    assert!(second.contains("x-cache: hit") && !second.contains("db;dur="), "{second}");
    assert!(third.starts_with("http/1.1 201"), "{third}");
    assert!(pasted(&lines[0]).contains("x-cache: miss"));
    until("what was done is told", || pasted(&lines[3]).contains("\"what\":\"created\""));
    assert!(pasted(&lines[4]).contains("\"week\""));
}
