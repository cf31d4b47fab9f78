//! A certificate authority of the test's own, and a server that shows what it issued.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};

use super::Server;

static AUTHORITIES: AtomicUsize = AtomicUsize::new(0);

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

/// A certificate and its key, in PEM.
pub struct Paper {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let number = AUTHORITIES.fetch_add(1, Ordering::Relaxed);
        let name = format!("larder authority {number}");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = format!("larder-authority-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        Authority { issuer, folder }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these hosts.
    pub fn issues(&self, hosts: &[&str]) -> Paper {
        self.issues_until(hosts, 4000)
    }

    /// Valid to the beginning of that year.
    pub fn issues_until(&self, hosts: &[&str], year: i32) -> Paper {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Paper { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// The files of its own certificate, of `paper`, and of that one's key.
    pub fn files(&self, paper: &Paper) -> [String; 3] {
        let write = |name: &str, text: &str| {
            let path = self.folder.join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let ca = write("ca.pem", &self.pem());
        [ca, write("server.pem", &paper.certificate), write("server.key", &paper.key)]
    }

    /// A server that shows `paper` on a port for TLS, and listens on its plain one too.
    pub fn server(&self, paper: &Paper, more: &[&str]) -> Server {
        let [ca, certificate, key] = self.files(paper);
        let mut settings = vec!["--tls-port", "{free}", "--tls-ca-cert-file", &ca];
        settings.extend(["--tls-cert-file", &certificate, "--tls-key-file", &key]);
        settings.extend(more);
        Server::with(&settings)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
