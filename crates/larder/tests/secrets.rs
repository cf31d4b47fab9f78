//! No password, no key and no certificate is in a log, an error, or what a type prints of itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use larder::{Credentials, Larder, SECOND};
use support::{PATIENT, Server, Source, World, until};

/// Each with what it is in a URL.
const SECRETS: [(&str, &str); 3] = [
    ("hunter2", "hunter2"),
    ("corr@ct/h0rse", "corr%40ct%2Fh0rse"),
    ("tr0ub4dor&3", "tr0ub4dor&3"),
];

/// All that is logged in this test binary, at the lowest level, of every crate.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin() -> Log {
        let log = Log::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

fn tells_nothing(text: &str) {
    for (secret, in_url) in SECRETS {
        assert!(!text.contains(secret) && !text.contains(in_url), "{text}");
    }
}

/// One test, since a process has one log: every way of having a secret, and every way of being refused for it.
#[tokio::test]
async fn secrets_are_in_no_log_no_error_and_no_print() {
    let log = Log::begin();
    let mut shown = Vec::new();
    let server = Server::start();
    let port = server.port();
    for (secret, in_url) in SECRETS {
        // In the URL, right; then changed under our feet, and refused for as long as it is wrong.
        let _: String = server.ask(&format!("ACL SETUSER app reset on >{secret} ~* &* +@all"));
        let builder =
            Larder::builder("test").redis(format!("redis://app:{in_url}@127.0.0.1:{port}"));
        shown.push(format!("{builder:?} {builder:#?}"));
        let builder = builder.far_deadline(PATIENT).connect_deadline(PATIENT);
        let world = World::of(builder, &Source::default()).await;
        shown.push(format!("{:?} {:?} {:?}", world.larder, world.words, world.larder.stats()));
        let _: String = server.ask("ACL SETUSER app resetpass >another");
        server.hangs_up();
        world.ear.hears("Disconnected", 1).await;
        let before = server.connections();
        until("further tries", || async { server.connections() > before + 6 }).await;
        shown.push(format!("{:?}", world.words.invalidate("k").await.unwrap_err()));
        shown.push(format!("{:?}", world.larder.sync().await.unwrap_err()));
        shown.extend(world.ear.all());
        assert!(world.larder.close(SECOND).await > 0, "the end above was never confirmed");
        // In the URL, wrong; or in the wrong place.
        for url in [
            format!("redis://app:{in_url}@127.0.0.1:{port}"),
            format!("redis://nobody:{in_url}@127.0.0.1:{port}"),
            format!("redis://app:{in_url}@127.0.0.1:{port}/99"),
            format!("redis://app:{in_url}"),
            format!("redis://app:{secret}@127.0.0.1:port"),
            format!("redis://127.0.0.1/{secret}"),
            format!("redis://127.0.0.1:{port}?password={secret}"),
            format!("redis://127.0.0.1:{port}#{secret}"),
            format!("redis+unix:///no/such/socket?user=app&pass={in_url}"),
            format!("redis+unix:///no/such/socket?user=app&{in_url}"),
            format!("redis+sentinel://app:{in_url}@127.0.0.1:{port}/main?sentinel_pass={in_url}"),
            format!(
                "redis+sentinel://127.0.0.1:{port}/main?sentinel_user=app&sentinel_pass={in_url}"
            ),
            format!("redis+sentinel://127.0.0.1:{port}/main/{secret}"),
            format!("redis+sentinel://127.0.0.1:{port}/main?{secret}"),
            format!("{secret}://127.0.0.1"),
            secret.to_owned(),
        ] {
            let error = Larder::builder("test").redis(url).require_far().open().await.unwrap_err();
            shown.push(format!("{error} {error:?}"));
        }
        // Given by whoever knows it.
        let credentials = Credentials::password(secret).user("app");
        shown.push(format!("{credentials:?} {credentials:#?}"));
        let given = move || {
            let credentials = credentials.clone();
            async move { Ok::<_, std::io::Error>(credentials) }
        };
        let builder = Larder::builder("test").redis(server.url()).redis_credentials(given.clone());
        shown.push(format!("{builder:?}"));
        let error = builder.open().await.unwrap_err();
        shown.push(format!("{error} {error:?}"));
        // A server that says what it was told.
        for says in [
            "-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'app' '{}'\r\n",
            "-ERR what is {} to me\r\n",
            "-LOADING {}\r\n",
            "-NOPERM {}\r\n",
            "-DENIED {}\r\n",
        ] {
            let url = parrot(says.replace("{}", secret));
            let builder =
                Larder::builder("test").redis(url.clone()).redis_credentials(given.clone());
            let error = builder.require_far().open().await.unwrap_err();
            shown.push(format!("{error} {error:?}"));
            let sentinel = url.replace("redis:", "redis+sentinel:") + "/main";
            let builder = Larder::builder("test").redis(url).redis_credentials(given.clone());
            let _ = builder.open().await;
            let builder = Larder::builder("test").redis(sentinel).require_far();
            let error = builder.sentinel_credentials(given.clone()).open().await.unwrap_err();
            shown.push(format!("{error} {error:?}"));
        }
        // And one that was cut short, as servers do: the beginning is most of it.
        let begins = &secret[..secret.len() - 1];
        let url =
            parrot(format!("-ERR no, with args beginning with: '3' 'AUTH' 'app' '{begins}\r\n"));
        let builder = Larder::builder("test").redis(url).redis_credentials(given);
        let error = builder.require_far().open().await.unwrap_err();
        assert!(!error.to_string().contains(begins), "{error}");
    }
    shown.iter().for_each(|text| tells_nothing(text));
    let text = log.text();
    assert!(text.contains("refuses the user name or password"), "it is being listened: {text}");
    tells_nothing(&text);
}

/// Keys are as secret as passwords.
#[cfg(feature = "tls")]
#[test]
fn keys_and_certificates_are_not_printed() {
    let paper = support::Authority::new().issues(&["127.0.0.1"]);
    let tls = larder::Tls::new()
        .ca_pem(paper.certificate.as_bytes())
        .client_certificate_pem(paper.certificate.as_bytes())
        .client_key_pem(paper.key.as_bytes());
    let builder = Larder::builder("test").redis("rediss://127.0.0.1:1").tls(tls.clone());
    for shown in [format!("{tls:?}"), format!("{tls:#?}"), format!("{builder:?}")] {
        assert!(!shown.contains("BEGIN") && !shown.contains("45"), "{shown}");
    }
}

/// A server that answers everything with the same words.
fn parrot(words: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let words = words.clone();
            std::thread::spawn(move || {
                let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
                while lines.next().is_some_and(|line| line.is_ok()) {
                    if socket.write_all(words.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}
