//! The files that a connection to Redis over TLS needs, from their settings to larder.

use std::path::PathBuf;

use clap::Args;
#[cfg(feature = "tls")]
use larder::{LarderBuilder, Tls};

/// Whether this program was built to speak TLS to Redis.
const HAS_TLS: bool = cfg!(feature = "tls");

const CA: &str = "REDIS_CA_FILE (--redis-ca-file)";
const CERT: &str = "REDIS_CERT_FILE (--redis-cert-file)";
const KEY: &str = "REDIS_KEY_FILE (--redis-key-file)";

/// PEM files. Nothing of what is in them is ever printed.
#[derive(Args)]
pub(crate) struct RedisTls {
    /// For a rediss:// URL: the authority that Redis' certificate is of, in PEM, in place of those the
    /// system trusts. This and the next two need a program built with `--features tls`
    #[arg(long = "redis-ca-file", env = "REDIS_CA_FILE", value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Our own certificate, in PEM, if Redis asks for one
    #[arg(long = "redis-cert-file", env = "REDIS_CERT_FILE", value_name = "FILE")]
    cert: Option<PathBuf>,

    /// The private key of our own certificate, in PEM, not encrypted
    #[arg(long = "redis-key-file", env = "REDIS_KEY_FILE", value_name = "FILE")]
    key: Option<PathBuf>,
}

impl RedisTls {
    /// Each with the name larder has for it.
    fn all(&self) -> [(&'static str, &'static str, Option<&PathBuf>); 3] {
        [
            (CA, "ca_pem", self.ca.as_ref()),
            (CERT, "client_certificate_pem", self.cert.as_ref()),
            (KEY, "client_key_pem", self.key.as_ref()),
        ]
    }

    /// Those that were given.
    fn given(&self) -> impl Iterator<Item = (&'static str, &'static str, &PathBuf)> {
        self.all().into_iter().filter_map(|(name, larders, file)| Some((name, larders, file?)))
    }

    /// Looks at what can be wrong before a file is read.
    ///
    /// # Errors
    /// What does not fit, and to what.
    pub(crate) fn check(&self, redis_url: Option<&str>) -> Result<(), String> {
        let is_tls =
            redis_url.is_some_and(|url| url.starts_with("rediss:") || url.starts_with("rediss+"));
        let given = self.given().next().map(|(name, ..)| name);
        if let (false, Some(name)) = (HAS_TLS, given.or(is_tls.then_some("rediss:// in REDIS_URL")))
        {
            return Err(format!(
                "{name} needs TLS, and this program was built without: build it with `cargo build --release -p task-api --features tls`"
            ));
        }
        match (given, &self.cert, &self.key) {
            (Some(name), ..) if !is_tls => {
                Err(format!("{name} is for TLS: REDIS_URL (--redis-url) must begin with rediss://"))
            }
            (_, Some(_), None) => Err(format!("{CERT} needs its private key: give {KEY} too")),
            (_, None, Some(_)) => Err(format!("{KEY} needs its certificate: give {CERT} too")),
            _ => Ok(()),
        }
    }

    /// Reads the files.
    ///
    /// # Errors
    /// Which setting names a file that cannot be read, which file, and why.
    #[cfg(feature = "tls")]
    pub(crate) fn apply(&self, larder: LarderBuilder) -> Result<LarderBuilder, String> {
        let mut tls = Tls::new();
        for (name, larders, file) in self.given() {
            let pem = std::fs::read(file)
                .map_err(|why| format!("{name}: cannot read {}: {why}", file.display()))?;
            tls = match larders {
                "ca_pem" => tls.ca_pem(pem),
                "client_certificate_pem" => tls.client_certificate_pem(pem),
                _ => tls.client_key_pem(pem),
            };
        }
        Ok(if self.given().next().is_some() { larder.tls(tls) } else { larder })
    }

    /// [`check`](Self::check) refuses them before they come here.
    #[cfg(not(feature = "tls"))]
    #[allow(clippy::unnecessary_wraps, reason = "as with the feature")]
    pub(crate) fn apply(
        &self,
        larder: larder::LarderBuilder,
    ) -> Result<larder::LarderBuilder, String> {
        Ok(larder)
    }

    /// What larder says of the files, with the names that whoever started us knows. Larder names the
    /// method that a file was given to.
    pub(crate) fn named(&self, why: &str) -> String {
        for (name, larders, file) in self.given() {
            if let Some(what) = why.split_once(&format!("Tls::{larders}: ")).map(|(_, what)| what) {
                return format!("{name}: {}: {what}", file.display());
            }
        }
        let mut why = why.to_owned();
        for (name, larders, _) in self.all() {
            why = why.replace(&format!("Tls::{larders}"), name);
        }
        format!("REDIS_URL (--redis-url): {why}")
    }
}
