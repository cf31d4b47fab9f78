//! Whom we trust, and how we prove who we are.
//!
//! All that can be wrong with certificates and keys shows when the handle is opened, not at some later
//! connection. The cryptography is chosen here and nowhere else: no choice of the process is asked for,
//! or made for it.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use crate::error::{Error, ErrorKind};

/// What a `rediss://` connection trusts, and shows of itself. All in PEM, as bytes; the server's
/// certificate is always checked, for its authority, its dates and the URL's host.
///
/// Without any setting the authorities that the operating system trusts are trusted, as read when the
/// handle is opened.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use larder::{Larder, Tls};
///
/// let tls = Tls::new()
///     .ca_pem(std::fs::read("ca.pem")?) // your own authority
///     .client_certificate_pem(std::fs::read("larder.pem")?) // if the server asks for one
///     .client_key_pem(std::fs::read("larder.key")?);
/// let larder = Larder::builder("shop").redis("rediss://redis.internal:6379").tls(tls).open().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Tls {
    ca: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl Tls {
    /// Trusts what the operating system trusts.
    pub fn new() -> Tls {
        Tls::default()
    }

    /// The certificates of your own authority, one or more. They are trusted **instead** of those of the
    /// operating system.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Tls {
        self.ca = Some(pem.into());
        self
    }

    /// Our own certificate, and those between it and its authority, for a server that asks for one
    /// (`tls-auth-clients`). Needs [`client_key_pem`](Self::client_key_pem).
    pub fn client_certificate_pem(mut self, pem: impl Into<Vec<u8>>) -> Tls {
        self.certificate = Some(pem.into());
        self
    }

    /// The private key of our own certificate, not encrypted.
    pub fn client_key_pem(mut self, pem: impl Into<Vec<u8>>) -> Tls {
        self.key = Some(pem.into());
        self
    }

    pub(super) fn has_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// Everything checked that can be checked without a server.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(self.roots()?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|why| wrong("ca_pem", &format!("it cannot be used: {why}")))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|why| Error::new(ErrorKind::Config, format!("tls cannot be used: {why}")))?
            .with_webpki_verifier(verifier);
        let (certificate, key) = match (&self.certificate, &self.key) {
            (None, None) => return Ok(Arc::new(config.with_no_client_auth())),
            (Some(_), None) => {
                return Err(wrong("client_certificate_pem", "it needs a client_key_pem"));
            }
            (None, Some(_)) => {
                return Err(wrong("client_key_pem", "it needs a client_certificate_pem"));
            }
            (Some(certificate), Some(key)) => (certificate, key),
        };
        let certificates = certificates("client_certificate_pem", certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
            wrong(
                "client_key_pem",
                "there is no private key in it; an encrypted one cannot be read",
            )
        })?;
        let config = config.with_client_auth_cert(certificates, key).map_err(|why| {
            let text = match why {
                rustls::Error::InconsistentKeys(_) => {
                    "it is not the key of client_certificate_pem's first certificate"
                }
                rustls::Error::InvalidCertificate(_) => {
                    return wrong("client_certificate_pem", "its first certificate cannot be read");
                }
                _ => "it is of a kind that is not known; RSA, ECDSA on P-256 and P-384, and Ed25519 are",
            };
            wrong("client_key_pem", text)
        })?;
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        if let Some(pem) = &self.ca {
            for certificate in certificates("ca_pem", pem)? {
                let added = roots.add(certificate);
                added.map_err(|_| wrong("ca_pem", "one of its certificates cannot be read"))?;
            }
            return Ok(roots);
        }
        let found = rustls_native_certs::load_native_certs();
        // One that cannot be read is no reason to trust none.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(Error::new(
                ErrorKind::Config,
                "rediss:// finds no authority that this system trusts: install its ca-certificates, \
                 or give the builder your own, `.tls(Tls::new().ca_pem(..))`",
            ));
        }
        Ok(roots)
    }
}

/// What was given, without a byte of it.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca_pem", &self.ca.is_some())
            .field("client_certificate_pem", &self.certificate.is_some())
            .field("client_key_pem", &self.key.is_some())
            .finish()
    }
}

fn wrong(setting: &str, what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("Tls::{setting}: {what}"))
}

fn certificates(setting: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|_| wrong(setting, "it is not well-formed PEM"))?;
    if read.is_empty() {
        return Err(wrong(setting, "there is no certificate in it"));
    }
    Ok(read)
}

/// What stood in the way, and what to do, when it will not pass by itself.
pub(super) fn explain(why: &rustls::Error, shows_certificate: bool) -> Option<String> {
    use rustls::Error as Tls;
    Some(match why {
        Tls::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => {
                "its certificate is of an authority that is not trusted: give it as Tls::ca_pem"
                    .into()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another host: check the URL's host".into()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired: renew it, or set this machine's clock".into()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet: set the clock, here or where it was made".into()
            }
            other => format!("its certificate is refused: {other}"),
        },
        Tls::AlertReceived(AlertDescription::CertificateRequired) => asks(shows_certificate),
        Tls::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => {
            "it refuses our certificate: check Tls::client_certificate_pem and its authority".into()
        }
        // Servers with TLS 1.2 alone say no more.
        Tls::AlertReceived(AlertDescription::HandshakeFailure) => asks(shows_certificate),
        Tls::AlertReceived(AlertDescription::ProtocolVersion) | Tls::PeerIncompatible(_) => {
            "it has no version of TLS in common with us: 1.2 or 1.3".into()
        }
        Tls::InvalidMessage(_) => "it does not speak TLS: use redis://, or its TLS port".into(),
        _ => return None,
    })
}

pub(super) fn asks(shows_certificate: bool) -> String {
    match shows_certificate {
        false => {
            "it asks for a client certificate: give Tls::client_certificate_pem and client_key_pem"
        }
        true => "it refuses our certificate: check Tls::client_certificate_pem and its authority",
    }
    .into()
}
