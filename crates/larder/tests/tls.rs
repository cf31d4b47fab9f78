//! `rediss://`: who is trusted, who is shown what, and what one is told when that does not fit.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use larder::{Error, ErrorKind, Larder, LarderBuilder, Tls};
use support::{Authority, PATIENT, Server, Source, World};

fn over_tls(server: &Server, tls: Tls) -> LarderBuilder {
    at(format!("rediss://127.0.0.1:{}/0", server.tls_port())).tls(tls)
}

fn at(url: String) -> LarderBuilder {
    let builder = Larder::builder("test").redis(url).require_far();
    builder.far_deadline(PATIENT).connect_deadline(PATIENT)
}

async fn refused(builder: LarderBuilder, words: &[&str]) -> Error {
    let error = builder.open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let text = error.to_string();
    words.iter().for_each(|word| assert!(text.contains(word), "no {word:?} in: {text}"));
    error
}

/// All of it goes over TLS: a value loaded here is found there, its end is pushed, and a connection that is lost
/// is made again.
#[tokio::test]
async fn values_and_changes_travel_over_tls() {
    let authority = Authority::new();
    let paper = authority.issues(&["127.0.0.1", "localhost"]);
    let server = authority.server(&paper, &["--tls-auth-clients", "no"]);
    let source = Source::default();
    let tls = || Tls::new().ca_pem(authority.pem());
    let here = World::of(over_tls(&server, tls()), &source).await;
    let by_name = at(format!("rediss://localhost:{}", server.tls_port()));
    let there = World::of(by_name.tls(tls()), &source).await;
    for round in 1..=2 {
        source.set("k", "one");
        here.read("k").await.unwrap();
        assert_eq!(there.has("k").await, "one far");
        assert_eq!(there.has("k").await, "one near");
        source.set("k", "two");
        here.words.invalidate("k").await.unwrap();
        there.larder.sync().await.unwrap();
        assert_eq!(there.has("k").await, "nothing", "the change was pushed");
        let larders = server.larders();
        assert_eq!(larders.len(), 4);
        assert_eq!(larders.iter().filter(|line| line.contains("flags=t")).count(), 2);
        server.hangs_up();
        for world in [&here, &there] {
            world.ear.hears("Connected { again: true }", round).await;
            let back = || async { world.words.invalidate("another").await.is_ok() };
            support::until("the other connection is back", back).await;
        }
    }
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_is_refused() {
    let (authority, another) = (Authority::new(), Authority::new());
    let server = authority.server(&authority.issues(&["127.0.0.1"]), &["--tls-auth-clients", "no"]);
    let tls = Tls::new().ca_pem(another.pem());
    let words = ["rediss://127.0.0.1", "authority", "not trusted", "ca_pem"];
    refused(over_tls(&server, tls), &words).await;
    let both = format!("{}\n{}", another.pem(), authority.pem());
    over_tls(&server, Tls::new().ca_pem(both)).open().await.unwrap();
}

#[tokio::test]
async fn a_certificate_for_another_host_or_of_another_year_is_refused() {
    let authority = Authority::new();
    let tls = || Tls::new().ca_pem(authority.pem());
    let server =
        authority.server(&authority.issues(&["redis.example"]), &["--tls-auth-clients", "no"]);
    refused(over_tls(&server, tls()), &["another host"]).await;
    let server = authority
        .server(&authority.issues_until(&["127.0.0.1"], 2001), &["--tls-auth-clients", "no"]);
    refused(over_tls(&server, tls()), &["has expired"]).await;
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_shown_our_certificate() {
    let (authority, another) = (Authority::new(), Authority::new());
    let paper = authority.issues(&["127.0.0.1"]);
    for versions in ["TLSv1.2", "TLSv1.3"] {
        let server =
            authority.server(&paper, &["--tls-auth-clients", "yes", "--tls-protocols", versions]);
        let tls = || Tls::new().ca_pem(authority.pem());
        let shown = |by: &Authority| {
            let ours = by.issues(&["larder.example"]);
            tls().client_certificate_pem(ours.certificate).client_key_pem(ours.key)
        };
        let larder = over_tls(&server, shown(&authority)).open().await.unwrap();
        assert!(larder.is_far_up());
        refused(over_tls(&server, tls()), &["client certificate", "client_certificate_pem"]).await;
        refused(over_tls(&server, shown(&another)), &["refuses our certificate"]).await;
    }
}

/// Named at once, by the setting it was given to; and never a byte of it.
#[tokio::test]
async fn what_is_wrong_with_a_certificate_or_key_is_named() {
    let authority = Authority::new();
    let (paper, another) = (authority.issues(&["a"]), authority.issues(&["b"]));
    let (certificate, key) = (paper.certificate.as_str(), paper.key.as_str());
    let broken = "-----BEGIN CERTIFICATE-----\nhunter2\n";
    let rubbish = "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n";
    let tls = || Tls::new().ca_pem(authority.pem());
    for (tls, setting, what) in [
        (Tls::new().ca_pem("hunter2"), "ca_pem", "no certificate"),
        (Tls::new().ca_pem(""), "ca_pem", "no certificate"),
        (Tls::new().ca_pem(broken), "ca_pem", "well-formed"),
        (Tls::new().ca_pem(rubbish), "ca_pem", "cannot be read"),
        (Tls::new().ca_pem(key), "ca_pem", "no certificate"),
        (tls().client_certificate_pem(certificate), "client_certificate_pem", "client_key_pem"),
        (tls().client_key_pem(key), "client_key_pem", "client_certificate_pem"),
        (
            tls().client_certificate_pem(key).client_key_pem(key),
            "client_certificate_pem",
            "no certificate",
        ),
        (
            tls().client_certificate_pem(rubbish).client_key_pem(key),
            "client_certificate_pem",
            "cannot be read",
        ),
        (
            tls().client_certificate_pem(certificate).client_key_pem(certificate),
            "client_key_pem",
            "no private key",
        ),
        (
            tls().client_certificate_pem(certificate).client_key_pem(another.key),
            "client_key_pem",
            "not the key of",
        ),
    ] {
        let shown = format!("{tls:?}");
        let builder = at("rediss://127.0.0.1:1".to_owned()).tls(tls);
        let error = refused(builder, &[&format!("Tls::{setting}"), what]).await;
        let shown = format!("{shown} {error} {error:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("aHVud"), "{shown}");
    }
}

#[tokio::test]
async fn plain_and_tls_are_not_taken_for_one_another() {
    let authority = Authority::new();
    let server = authority.server(&authority.issues(&["127.0.0.1"]), &["--tls-auth-clients", "no"]);
    refused(at(format!("redis://127.0.0.1:{}", server.tls_port())), &["rediss://"]).await;
    let tls = || Tls::new().ca_pem(authority.pem());
    refused(at(server.url()).tls(tls()), &["tls", "rediss://"]).await;
    refused(Larder::builder("test").tls(tls()), &["tls", "rediss://"]).await;
    refused(at("rediss://127.0.0.1:1#insecure".into()), &["#insecure", "ca_pem"]).await;
    let wrong_port = at(format!("rediss://127.0.0.1:{}", server.port())).tls(tls());
    let wrong_port = wrong_port.connect_deadline(std::time::Duration::from_millis(200));
    let error = wrong_port.open().await.unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
}

/// A server whose certificate was renewed by an authority that is not trusted is not talked to any more; the source
/// is asked.
#[tokio::test]
async fn a_certificate_that_is_changed_for_a_wrong_one_is_refused_at_the_next_connection() {
    let (authority, another) = (Authority::new(), Authority::new());
    let server = authority.server(&authority.issues(&["127.0.0.1"]), &["--tls-auth-clients", "no"]);
    let source = Source::default();
    let tls = Tls::new().ca_pem(authority.pem());
    let world = World::of(over_tls(&server, tls), &source).await;
    source.set("k", "one");
    world.read("k").await.unwrap();
    let paper = another.issues(&["127.0.0.1"]);
    std::fs::write(authority.folder().join("server.key"), paper.key).unwrap();
    std::fs::write(authority.folder().join("server.pem"), paper.certificate).unwrap();
    let file = authority.folder().join("server.pem").display().to_string();
    let key = authority.folder().join("server.key").display().to_string();
    let _: () = server.ask(&format!("CONFIG SET tls-cert-file {file} tls-key-file {key}"));
    server.hangs_up();
    world.ear.hears("Disconnected", 1).await;
    let before = server.connections();
    support::until("further tries", || async { server.connections() > before + 10 }).await;
    assert!(!world.larder.is_far_up());
    source.set("k", "two");
    assert_eq!(*world.read("k").await.unwrap(), "two");
}
