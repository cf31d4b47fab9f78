//! Redis over TLS: the files are read, used, and named when something is wrong with them.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use support::{Directory, Redis, SECRET, Service, refused};

mod support;

/// An authority, and what it issued to the server and to us, as files.
struct Papers(Directory);

impl Papers {
    fn new() -> Papers {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "an authority of a test");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let papers = Papers(Directory::new());
        papers.write("ca.pem", &authority.pem());
        for (name, host) in [("server", "127.0.0.1"), ("ours", "task-api.example")] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new([host.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            papers.write(&format!("{name}.pem"), &certificate.pem());
            papers.write(&format!("{name}.key"), &key.serialize_pem());
        }
        papers
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The settings that name these files.
    fn settings(&self, url: &str, [ca, cert, key]: [&str; 3]) -> Vec<String> {
        let mut words = vec!["--demo".to_owned(), format!("--redis-url={url}")];
        for (flag, name) in [("ca", ca), ("cert", cert), ("key", key)] {
            words.push(format!("--redis-{flag}-file={}", self.path(name)));
        }
        words
    }
}

fn words(settings: &[String]) -> Vec<&str> {
    settings.iter().map(String::as_str).collect()
}

/// The server asks for our certificate, and is of an authority that no system trusts: all three files are
/// needed, and what A loads comes to B by way of Redis.
#[test]
fn it_reads_through_a_redis_that_is_reached_over_tls() {
    let papers = Papers::new();
    let redis = Redis::start_over_tls(papers.0.path());
    let url = redis.tls_url();
    let mut settings = papers.settings(&url, ["ca.pem", "ours.pem", "ours.key"]);
    settings.push(format!("--database={}", papers.0.database()));
    let [a, b] = [(); 2].map(|()| Service::start(&words(&settings)));
    let ready = a.stranger().get("/readyz").body;
    assert_eq!((&ready["status"], &ready["cache"]["far"]), (&"ready".into(), &"redis".into()));
    let path = a.client("ada").create("milk");
    assert!(a.client("ada").get(&path).came_from("loaded"));
    assert!(b.client("ada").get(&path).came_from("far"));

    let without = refused(&["--demo", &format!("--redis-url={url}")], Some(SECRET));
    let said = String::from_utf8(without.stderr).unwrap();
    assert!(!without.status.success() && said.contains("REDIS_URL"), "{said}");
    assert!(said.contains("not trusted: give it as REDIS_CA_FILE"), "{said}");
}

#[test]
fn a_file_that_is_missing_or_wrong_is_named_with_its_setting() {
    let papers = Papers::new();
    papers.write("text.pem", "hunter2");
    let (good, url) = (["ca.pem", "ours.pem", "ours.key"], "rediss://127.0.0.1:1/0");
    let settings = ["REDIS_CA_FILE", "REDIS_CERT_FILE", "REDIS_KEY_FILE"];
    for (nth, setting) in settings.iter().enumerate() {
        for (wrong, why) in [("missing.pem", "cannot read"), ("text.pem", "in it")] {
            let mut files = good;
            files[nth] = wrong;
            let output = refused(&words(&papers.settings(url, files)), Some(SECRET));
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
            assert!(said.contains(setting) && said.contains(&papers.path(wrong)), "{said}");
            assert!(said.contains(why) && !said.contains("hunter2"), "{said}");
        }
    }
}
