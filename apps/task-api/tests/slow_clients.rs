//! Clients that take their time: none of them keeps its connection.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use support::{PATIENCE, Service, token, until};

mod support;

/// It neither sends anything nor hangs up, or stops in the middle of a head, or trickles on; also after an
/// answer. However it does it, the connection is closed.
#[test]
fn a_client_that_trickles_the_head_of_its_request_is_cut_off() {
    let service = Service::start(&["--demo", "--head-wait", "300ms"]);
    let whole = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    for (begin, trickle) in [("", ""), ("GET /hea", ""), ("GET / HTTP/1.1\r\n", "x"), (whole, "")] {
        let answer = trickled(&service, begin, trickle);
        assert_eq!(answer.contains("200 OK"), begin == whole, "{answer}");
    }
    assert_eq!(service.stranger().get("/healthz").status, 200);
}

/// It says how long its body is and does not send it all, or sends it so slowly that no pause is long.
#[test]
fn a_client_that_trickles_its_body_is_told_that_it_is_late() {
    let service = Service::start(&["--demo", "--body-wait", "300ms"]);
    let head = |length: &str| {
        format!(
            "POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\n{length}\r\n\r\n",
            token("ada"),
        )
    };
    let (counted, chunked) = ("Content-Length: 60000", "Transfer-Encoding: chunked");
    for (length, trickle) in [(counted, ""), (counted, " "), (chunked, "1\r\n \r\n")] {
        let answer = trickled(&service, &head(length), trickle);
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout"), "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
        assert!(answer.contains("in time"), "{answer}");
    }
}

/// Sends `begin`, then `trickle` again and again until the service closes the connection: gives what it
/// answered.
fn trickled(service: &Service, begin: &str, trickle: &str) -> String {
    let mut stream = TcpStream::connect(service.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answers = stream.try_clone().unwrap();
    let reading = thread::spawn(move || {
        let (mut answer, mut read) = (Vec::new(), [0; 1024]);
        loop {
            match answers.read(&mut read) {
                Ok(0) => break,
                Ok(length) => answer.extend_from_slice(&read[..length]),
                // What we sent after the service had closed is answered so.
                Err(why) if why.kind() == ErrorKind::ConnectionReset => break,
                Err(why) => panic!("it was not closed: {why}"),
            }
        }
        String::from_utf8(answer).unwrap()
    });
    stream.write_all(begin.as_bytes()).unwrap();
    until("the service closes the connection", || {
        // An error: it has.
        let _ = stream.write_all(trickle.as_bytes());
        reading.is_finished()
    });
    reading.join().unwrap()
}
