//! The way to the sentinels and past them: who is asked, who is believed, and what one is told when a
//! login, a name or a port is wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::{Credentials, Error, ErrorKind, Larder, LarderBuilder, SECOND};
use support::sentinel::{MASTER, ended, is_near};
use support::{FalseSentinel, Fleet, PATIENT, Server, Source, World, soon, until};

const BOUND: Duration = Duration::from_millis(500);

fn builder(url: &str) -> LarderBuilder {
    Larder::builder("test").redis(url).bound(BOUND).far_deadline(PATIENT).connect_deadline(PATIENT)
}

async fn world(url: &str) -> World {
    World::of(builder(url).require_far(), &Source::default()).await
}

async fn refused(builder: LarderBuilder, words: &[&str]) -> Error {
    let error = builder.open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let text = error.to_string();
    words.iter().for_each(|word| assert!(text.contains(word), "no {word:?} in: {text}"));
    error
}

/// The line that people copy from docs/running-it.md that begins so, with our password.
fn documented(begins: &str) -> String {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/running-it.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let rule = docs.lines().find(|line| line.starts_with(begins)).unwrap();
    rule.replace(" on >password", " reset on >s3cret").replace("~todo:*", "~test:*")
}

/// One sentinel with a view of its own changes nothing, whatever it says and whenever. Nobody dials whom it
/// alone names.
#[tokio::test]
async fn a_sentinel_that_nobody_agrees_with_is_not_followed() {
    let fleet = Fleet::start().await;
    let (master, other) = (fleet.nodes[0].port(), Server::start());
    let name = |number: usize| fleet.sentinels[number].ask::<String>("SENTINEL MYID");
    let others = (0..3).map(|number| (name(number), fleet.sentinels[number].port)).collect();
    let liar = FalseSentinel::start(other.port(), others);
    let before = other.connections();
    // It is the only one that we are told of.
    let url = format!("redis+sentinel://127.0.0.1:{}/{MASTER}", liar.port());
    let world = world(&url).await;
    world.source.set("k", "v");
    world.read("k").await.unwrap();
    assert_eq!(fleet.nodes[0].larders().len(), 2);
    liar.announces(master, other.port());
    // It may end connections, near with them. They are made again where the others point.
    world.ear.hears("another is master", 1).await;
    world.ear.hears("Connected { again: true }", 1).await;
    ended(&world, "k").await;
    world.source.set("k", "w");
    is_near(&world, "k", "w").await;
    let asked = liar.asked();
    until("it is asked on", || async { liar.asked() > asked + 4 }).await;
    assert_eq!(world.ear.count("another is master"), 1, "nobody minds what it answers");
    assert_eq!(other.connections(), before + 1, "and that is ours, to ask this");
}

#[tokio::test]
async fn a_sentinel_with_two_names_is_asked_once() {
    let fleet = Fleet::start().await;
    let [a, b, _] = &fleet.sentinels[..] else { panic!("there are three") };
    let (a_port, b_port) = (a.port, b.port);
    let hosts = format!("localhost:{a_port},127.0.0.1:{a_port},localhost:{b_port}");
    let world = world(&format!("redis+sentinel://{hosts}/{MASTER}")).await;
    let named = |sentinel: &support::sentinel::Sentinel| {
        let clients: String = sentinel.ask("CLIENT LIST");
        clients.matches("name=larder:test:sentinel").count()
    };
    until("all are asked", || async { fleet.sentinels.iter().all(|one| named(one) == 1) }).await;
    // One that goes, and comes by another name.
    let _: i64 = a.ask("CLIENT KILL TYPE pubsub");
    until("it is asked again", || async { named(a) == 1 }).await;
    ended(&world, "k").await;
}

/// Who guards what: the URL's login is the master's, the sentinels have their own.
#[tokio::test]
async fn a_wrong_login_of_a_sentinel_and_one_of_the_master_are_told_apart() {
    let fleet = Fleet::start().await;
    for sentinel in &fleet.sentinels {
        let _: String = sentinel.ask(&documented("ACL SETUSER watcher on "));
    }
    for node in &fleet.nodes {
        let _: String = node.ask(&documented("ACL SETUSER larder on "));
        let _: String = node.ask("ACL SETUSER larder +role");
    }
    let at = format!("127.0.0.1:{}", fleet.sentinels[0].port);
    let master = format!("127.0.0.1:{}", fleet.nodes[0].port());
    let url = |login: &str, query: &str| format!("redis+sentinel://{login}@{at}/{MASTER}?{query}");
    let watcher = "sentinel_user=watcher&sentinel_pass=s3cret";
    let words = ["the sentinel at", &at, "refuses the user name", "sentinel_pass="];
    let error = refused(
        builder(&url("larder:s3cret", "sentinel_user=watcher&sentinel_pass=wr0ng")),
        &words,
    );
    let shown = error.await.to_string();
    assert!(!shown.contains("wr0ng") && !shown.contains("s3cret"), "{shown}");
    let words = [&*format!("redis://{master}"), "refuses the user name", "user:password@ part"];
    let error = refused(builder(&url("larder:wr0ng", watcher)), &words).await.to_string();
    assert!(!error.contains("wr0ng") && !error.contains("s3cret"), "{error}");
    // Both right, with no more rights than the docs ask for.
    let world = world(&url("larder:s3cret", watcher)).await;
    world.source.set("k", "v");
    world.read("k").await.unwrap();
    ended(&world, "k").await;
    for server in &fleet.nodes {
        let refusals = server.refusals();
        let harmless = |one: &&String| one.contains("config|get") || one.starts_with("auth");
        assert_eq!(refusals.iter().filter(|one| !harmless(one)).count(), 0, "{refusals:?}");
    }
    // Given by whoever knows them, and refused when the URL says it too.
    let knows = |password: &'static str| {
        move || async move { Ok::<_, std::io::Error>(Credentials::password(password).user("watcher")) }
    };
    let given = builder(&url("larder:s3cret", "")).sentinel_credentials(knows("s3cret"));
    assert!(given.require_far().open().await.unwrap().is_far_up());
    let given = builder(&url("larder:s3cret", "")).sentinel_credentials(knows("wr0ng"));
    refused(given, &["the sentinel at", "sentinel_credentials"]).await;
    let given = builder(&url("larder:s3cret", watcher)).sentinel_credentials(knows("s3cret"));
    refused(given, &["leave one out", "sentinel_credentials"]).await;
    // A right is missing.
    let _: String = fleet.nodes[0].ask("ACL SETUSER larder -role");
    refused(builder(&url("larder:s3cret", watcher)), &["lacks a permission", "role"]).await;
    let _: String = fleet.sentinels[0].ask("ACL SETUSER watcher -sentinel|master");
    for sentinel in &fleet.sentinels[1..] {
        sentinel.pause();
    }
    refused(builder(&url("larder:s3cret", watcher)), &["the sentinel at", "lacks a permission"])
        .await;
}

#[tokio::test]
async fn what_is_no_sentinel_and_a_name_that_nobody_knows_are_named() {
    let fleet = Fleet::start().await;
    let port = fleet.sentinels[0].port;
    let url = format!("redis+sentinel://127.0.0.1:{port}/another");
    refused(builder(&url), &["the sentinel at", "no master named another", "URL"]).await;
    let url = format!("redis+sentinel://127.0.0.1:{}/{MASTER}", fleet.nodes[0].port());
    refused(builder(&url), &["no sentinel", "26379"]).await;
    let guarded = Server::with(&["--requirepass", "s3cret"]);
    let url = format!("redis+sentinel://127.0.0.1:{}/{MASTER}", guarded.port());
    refused(builder(&url), &["asks for a password", "sentinel_pass="]).await;
    refused(builder("redis+sentinel://127.0.0.1/"), &["no name of a master"]).await;
    // Nobody there: it may pass.
    let url = format!("redis+sentinel://127.0.0.1:{}/{MASTER}", support::server::free_port());
    let builder = || builder(&url).connect_deadline(SECOND);
    let error = builder().require_far().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Far, "{error}");
    assert!(error.to_string().contains("0 of 1 sentinels answer"), "{error}");
    let larder = builder().open().await.unwrap();
    assert!(!larder.is_far_up());
    assert_eq!(soon("its end", larder.close(SECOND)).await, 0);
}

/// What is logged on this thread while it is alive.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Another may be made master before we have given up the one that hangs.
#[tokio::test]
async fn settings_that_are_too_slow_for_the_sentinels_are_told_once() {
    let fleet = Fleet::start().await; // down-after-milliseconds is 1000
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _listening = tracing::subscriber::set_default(subscriber);
    let builder = || Larder::builder("test").redis(fleet.url()).require_far();
    let quick = builder().bound(BOUND).invalidate_deadline(BOUND).open().await.unwrap();
    assert!(!said(&log).contains("down-after"), "{}", said(&log));
    assert_eq!(quick.close(SECOND).await, 0);
    let slow = [builder().bound(2 * SECOND), builder().bound(BOUND).invalidate_deadline(SECOND)];
    for (number, slow) in slow.into_iter().enumerate() {
        let larder = slow.open().await.unwrap();
        until("it is in use", || async { larder.sync().await.is_ok() }).await;
        assert_eq!(
            said(&log).matches("shorter than the sentinels' down-after").count(),
            number + 1
        );
    }
}

fn said(log: &Log) -> String {
    String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned()
}

/// Sentinels and master over TLS, each with a certificate of ours asked for, and all of them by addresses other than
/// those they are known by.
#[cfg(feature = "tls")]
#[tokio::test]
async fn over_tls_and_by_other_addresses_a_failover_is_followed() {
    use std::collections::HashMap;
    use support::Authority;

    let authority = Authority::new();
    let [ca, certificate, key] = authority.files(&authority.issues(&["127.0.0.1"]));
    let words = ["--tls-port", "{free}", "--tls-ca-cert-file", &ca];
    let more = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
    let settings = support::sentinel::Settings {
        node: words.iter().chain(&more).map(|word| (*word).to_owned()).collect(),
        sentinel: vec![
            "tls-port {tls}".to_owned(),
            format!("tls-ca-cert-file {ca}"),
            format!("tls-cert-file {certificate}"),
            format!("tls-key-file {key}"),
        ],
    };
    let fleet = Fleet::with(&settings).await;
    let mut ports: HashMap<u16, u16> =
        fleet.nodes.iter().map(|node| (node.port(), node.tls_port())).collect();
    ports.extend(fleet.sentinels.iter().map(|one| (one.port, one.tls_port)));
    let paper = authority.issues(&["larder"]);
    let tls = || {
        let tls = larder::Tls::new().ca_pem(authority.pem());
        tls.client_certificate_pem(paper.certificate.as_bytes())
            .client_key_pem(paper.key.as_bytes())
    };
    let url = format!("rediss+sentinel://127.0.0.1:{}/{MASTER}", fleet.sentinels[0].port);
    let mapped = builder(&url).tls(tls()).redis_address_map(move |host, port| {
        (host.to_owned(), ports.get(&port).copied().unwrap_or(port))
    });
    let world = World::of(mapped.require_far(), &Source::default()).await;
    world.source.set("k", "v");
    world.read("k").await.unwrap();
    let over_tls = |node: &Server| {
        let port = format!("laddr=127.0.0.1:{}", node.tls_port());
        let list: String = node.ask("CLIENT LIST");
        list.lines().filter(|one| one.contains(&port) && one.contains("name=larder:")).count()
    };
    assert_eq!(over_tls(&fleet.nodes[0]), 2);
    let old = fleet.nodes[0].port();
    fleet.fail_over();
    let new = fleet.named_after(0, old).await;
    world.ear.hears("another is master", 1).await;
    ended(&world, "k").await;
    assert_eq!(over_tls(fleet.node(new)), 2);
    // Without TLS in the URL, and with nobody to trust.
    let plain = url.replace("rediss", "redis");
    refused(builder(&plain).tls(tls()), &["rediss"]).await;
    let port = fleet.sentinels[0].tls_port;
    let at = url.replace(&fleet.sentinels[0].port.to_string(), &port.to_string());
    let stranger = builder(&at).tls(larder::Tls::new().ca_pem(Authority::new().pem()));
    refused(stranger, &["the sentinel at", "authority that is not trusted"]).await;
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn tls_without_its_feature_is_an_error_that_names_it() {
    refused(builder("rediss+sentinel://localhost/m"), &["rediss", "feature `tls`"]).await;
}
