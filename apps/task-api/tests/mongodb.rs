//! How the program gets on with a MongoDB that comes and goes.
//!
//! The server is not ours to stop, so the way to it is: a relay that is cut and mended.

#![cfg(feature = "mongodb")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a scene that cannot be set is a failed test"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;
use support::{Database, SECRET, Service, refused, until};

mod support;

const TASKS: &str = "/api/v1/tasks";

/// A way to the server. It takes nobody while it is cut.
struct Relay {
    address: SocketAddr,
    way: Arc<Mutex<Way>>,
}

struct Way {
    is_cut: bool,
    is_frozen: bool,
    streams: Vec<TcpStream>,
}

impl Relay {
    fn to(server: &str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let way =
            Arc::new(Mutex::new(Way { is_cut: false, is_frozen: false, streams: Vec::new() }));
        let (server, relayed) = (server.to_owned(), way.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut way = relayed.lock().unwrap();
                let Ok(server) = TcpStream::connect(&server) else { continue };
                if way.is_cut {
                    continue;
                }
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    way.streams.push(from.try_clone().unwrap());
                    let way = relayed.clone();
                    thread::spawn(move || {
                        let mut bytes = [0; 4096];
                        while let Ok(read @ 1..) = from.read(&mut bytes) {
                            // It has its connections, and answers nothing.
                            until("it is thawed or cut", || !way.lock().unwrap().is_frozen);
                            if to.write_all(&bytes[..read]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Relay { address, way }
    }

    fn freeze(&self) {
        self.way.lock().unwrap().is_frozen = true;
    }

    fn cut(&self) {
        let mut way = self.way.lock().unwrap();
        (way.is_cut, way.is_frozen) = (true, false);
        for stream in way.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.way.lock().unwrap().is_cut = false;
    }
}

#[test]
fn a_mongodb_that_is_not_there_is_named_and_its_password_never_told() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("mongodb://ada:hunter2@{address}/tasks");
    for url in [url.as_str(), "mongodb://ada:hunter2/x@host/tasks", "redis://:hunter2@host"] {
        let output = refused(&["--mongodb-url", url], Some(SECRET));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
        assert!(said.contains("MONGODB_URL") && !said.contains("panicked"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

mod on_mongodb {
    use super::*;

    /// First it hangs, then it is gone. Requests are told to come again, sooner than the tests' client gives
    /// up, and pass when it is back.
    #[test]
    fn while_it_is_away_the_service_says_so_and_then_goes_on() {
        let place = Database::Mongo.place();
        let [_, url] = place.and(&[])[..] else { panic!("one setting") };
        let begin = url.find("://").unwrap() + 3;
        let begin = url.rfind('@').map_or(begin, |at| at + 1);
        let end = url[begin..].find('/').unwrap() + begin;
        let server = &url[begin..end];
        assert!(
            url.starts_with("mongodb://") && !server.contains(','),
            "needs one server, by name"
        );
        let relay = Relay::to(server);
        let joint = if url.contains('?') { '&' } else { '?' };
        let url = format!(
            "{}{}{}{joint}directConnection=true",
            &url[..begin],
            relay.address,
            &url[end..]
        );
        let service = Service::start(&["--mongodb-url", &url]);
        let ada = service.client("ada");
        let path = ada.create("milk");
        assert_eq!(ada.get(&path).status, 200);

        for away in [Relay::freeze, Relay::cut] {
            away(&relay);
            let oats = json!({ "title": "oats" });
            for answer in [ada.get("/readyz"), ada.get(TASKS), ada.post(TASKS, &oats)] {
                assert_eq!((answer.status, answer.named().len()), (503, 0), "{answer:?}");
                assert_eq!(answer.header("retry-after"), "1");
            }
            assert_eq!(ada.get("/healthz").status, 200);
        }

        relay.mend();
        until("it is ready again", || ada.get("/readyz").status == 200);
        until("pages are read again", || ada.get(TASKS).status == 200);
        ada.create("rye");
        assert_eq!(ada.titles("")[0], "rye");
    }
}
