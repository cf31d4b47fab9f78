//! Flags and environment, turned into one checked value before anything is started.
//!
//! What cannot be meant ends the process with an error that names the setting. Secrets are never
//! printed: neither in errors, nor in `--help`, nor in what `Debug` shows.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::limits::{Quotas, client_address};
use crate::redis_tls::RedisTls;
use crate::state::ResponseCache;
use crate::tasks::Place;

/// Whether this program was built to speak to MongoDB.
const HAS_MONGODB: bool = cfg!(feature = "mongodb");

/// The shortest secret: as long as what HS256 makes of it.
const SECRET_BYTES_MIN: usize = 32;
/// What makes the demo's database slow enough to see the cache.
const DEMO_DELAY: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(60);
/// The shortest time a client may be given: less would turn away the honest ones.
const CLIENT_WAIT_MIN: Duration = Duration::from_millis(100);

/// A task API whose reads are cached by larder.
#[derive(Parser)]
#[command(
    version,
    after_help = "\
Environment:
  JWT_SECRET  signs and verifies tokens (HS256), 32 bytes or more. With --demo one is drawn if there is none
  RUST_LOG    what is logged to stderr: info unless set; try debug, or task_api=debug"
)]
struct Arguments {
    /// Where to listen. Port 0 takes a free one; what it is, is printed
    #[arg(long, env = "TASK_API_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// The SQLite file to keep tasks in; made if it is not there. Several processes may share it
    #[arg(long, env = "TASK_API_DATABASE", value_name = "FILE")]
    database: Option<PathBuf>,

    /// The MongoDB to keep tasks in, in place of a file: mongodb://user:password@host:27017/tasks.
    /// Needs a program built with `--features mongodb`
    #[arg(long, env = "MONGODB_URL", value_name = "URL", hide_env_values = true)]
    mongodb_url: Option<String>,

    /// What the processes of a fleet share: redis://user:password@host:6379/0, one for each database.
    /// Without it the cache is in this process, which must then be the only one on its database
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    redis_url: Option<String>,

    #[command(flatten)]
    redis_tls: RedisTls,

    /// Keeps whole responses to GET, beside the data that they are made of. Off: the data alone. Writes end both
    /// whatever is set here, so the processes of a fleet may differ
    #[arg(
        long,
        env = "TASK_API_RESPONSE_CACHE",
        value_name = "STATE",
        value_enum,
        default_value = "on"
    )]
    response_cache: ResponseCache,

    /// Makes every database query this much slower, like 50ms or 1s. 0 unless set; 50ms with --demo
    #[arg(long, env = "TASK_API_DATABASE_DELAY", value_name = "TIME", value_parser = time)]
    database_delay: Option<Duration>,

    /// How long a client may take to send the head of a request, like 500ms or 10s; and how long a
    /// connection may be open without one
    #[arg(long, env = "TASK_API_HEAD_WAIT", value_name = "TIME", value_parser = wait, default_value = "10s")]
    head_wait: Duration,

    /// How long a client may take to send the whole body of a request
    #[arg(long, env = "TASK_API_BODY_WAIT", value_name = "TIME", value_parser = wait, default_value = "30s")]
    body_wait: Duration,

    /// How many requests a user may send in a minute, over all processes that share a Redis. 0: any number
    #[arg(long, env = "TASK_API_USER_LIMIT", value_name = "COUNT", default_value_t = 600)]
    user_limit: u32,

    /// How many requests without a valid token may come from one address in a minute. 0: any number
    #[arg(long, env = "TASK_API_ADDRESS_LIMIT", value_name = "COUNT", default_value_t = 60)]
    address_limit: u32,

    /// Proxies before this service, whose X-Forwarded-For is believed: addresses or networks, like
    /// 10.0.0.0/8,2001:db8::1. Name none that clients are in
    #[arg(long, env = "TASK_API_TRUSTED_PROXIES", value_name = "LIST", value_delimiter = ',')]
    trusted_proxies: Vec<String>,

    /// Try it out: two users with tasks, tokens to be had, a slow database (in memory, unless
    /// --database or --mongodb-url names one)
    #[arg(long)]
    demo: bool,
}

/// Where tasks are kept.
pub(crate) enum Source {
    Sqlite(Place),
    /// May hold a password.
    Mongo(String),
}

/// What the process was told, checked.
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) source: Source,
    /// May hold a password.
    pub(crate) redis_url: Option<String>,
    pub(crate) redis_tls: RedisTls,
    pub(crate) secret: Secret,
    pub(crate) response_cache: ResponseCache,
    pub(crate) database_delay: Duration,
    /// How long clients may take for a head, and for a body.
    pub(crate) head_wait: Duration,
    pub(crate) body_wait: Duration,
    pub(crate) quotas: Quotas,
    pub(crate) demo: bool,
    /// What all keys in Redis begin with.
    pub(crate) app_name: String,
}

impl Settings {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    /// One that says which setting is wrong and why; `exit` prints it.
    pub(crate) fn read() -> Result<Settings, clap::Error> {
        Settings::of(Arguments::try_parse()?, std::env::var_os("JWT_SECRET"))
    }

    fn of(arguments: Arguments, secret: Option<OsString>) -> Result<Settings, clap::Error> {
        let Arguments {
            listen,
            database,
            mongodb_url,
            redis_url,
            redis_tls,
            response_cache,
            database_delay,
            head_wait,
            body_wait,
            user_limit,
            address_limit,
            trusted_proxies,
            demo,
        } = arguments;
        let quotas = quotas(user_limit, address_limit, trusted_proxies)?;
        // A misspelt variable must not turn a fleet into processes that know nothing of each other.
        if redis_url.as_ref().is_some_and(|url| url.is_empty()) {
            let text = "REDIS_URL (--redis-url) is empty: give an address, or unset it";
            return Err(refusal(text));
        }
        redis_tls.check(redis_url.as_deref()).map_err(refusal)?;
        let secret = match secret {
            Some(secret) => {
                let secret = secret.to_str().and_then(Secret::new);
                secret.ok_or_else(|| {
                    let text = format!(
                        "JWT_SECRET must be {SECRET_BYTES_MIN} bytes of UTF-8 or more: try `openssl rand -base64 48`"
                    );
                    refusal(text)
                })?
            }
            None if demo => Secret(random(SECRET_BYTES_MIN)?),
            None => {
                let text = format!(
                    "JWT_SECRET is not set: it signs and verifies tokens, {SECRET_BYTES_MIN} bytes or more"
                );
                return Err(refusal(text));
            }
        };
        let source = source(database, mongodb_url, demo)?;
        // A database in memory begins anew with each process. Under a name that was used before, Redis
        // would still have pages of tasks that are no more.
        let app_name = match source {
            Source::Sqlite(Place::Memory) => format!("todo-demo-{}", random(6)?),
            Source::Sqlite(Place::File(_)) | Source::Mongo(_) => "todo".to_owned(),
        };
        let database_delay =
            database_delay.unwrap_or(if demo { DEMO_DELAY } else { Duration::ZERO });
        Ok(Settings {
            listen,
            source,
            redis_url,
            redis_tls,
            secret,
            response_cache,
            database_delay,
            head_wait,
            body_wait,
            quotas,
            demo,
            app_name,
        })
    }
}

/// The one place that was named, or memory for a demo without any.
fn source(
    database: Option<PathBuf>,
    mongodb_url: Option<String>,
    demo: bool,
) -> Result<Source, clap::Error> {
    match (database, mongodb_url) {
        (Some(_), Some(_)) => Err(refusal(
            "--database (TASK_API_DATABASE) and --mongodb-url (MONGODB_URL) are both given: tasks are kept in one place, so leave one out",
        )),
        (Some(file), None) if is_no_file(&file) => Err(refusal(
            "--database names a file; for a database in memory leave it out, with --demo",
        )),
        (Some(file), None) => Ok(Source::Sqlite(Place::File(file))),
        (None, Some(_)) if !HAS_MONGODB => Err(refusal(
            "MONGODB_URL (--mongodb-url) needs MongoDB, and this program was built without: build it with `cargo build --release -p task-api --features mongodb`",
        )),
        (None, Some(url)) if url.is_empty() => {
            Err(refusal("MONGODB_URL (--mongodb-url) is empty: give an address, or unset it"))
        }
        (None, Some(url)) => Ok(Source::Mongo(url)),
        (None, None) if demo => Ok(Source::Sqlite(Place::Memory)),
        (None, None) => Err(refusal(
            "--database is missing: name a file to keep tasks in, or a MongoDB with --mongodb-url, or begin with --demo",
        )),
    }
}

/// The most that one may be allowed in a minute.
const QUOTA_MAX: u32 = 10_000_000;

fn quotas(user: u32, address: u32, trusted: Vec<String>) -> Result<Quotas, clap::Error> {
    for (name, quota) in [
        ("--user-limit (TASK_API_USER_LIMIT)", user),
        ("--address-limit (TASK_API_ADDRESS_LIMIT)", address),
    ] {
        if quota > QUOTA_MAX {
            return Err(refusal(format!("{name} is at most {QUOTA_MAX}, not {quota}")));
        }
    }
    let quotas = Quotas { user, address, trusted };
    let named = "--trusted-proxies (TASK_API_TRUSTED_PROXIES)";
    client_address(&quotas).map_err(|why| refusal(format!("{named}: {why}")))?;
    Ok(quotas)
}

/// What tokens are signed with.
pub(crate) struct Secret(String);

impl Secret {
    /// None if it is too short to be one.
    pub(crate) fn new(secret: &str) -> Option<Secret> {
        (secret.len() >= SECRET_BYTES_MIN).then(|| Secret(secret.to_owned()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn refusal(text: impl fmt::Display) -> clap::Error {
    Arguments::command().error(ErrorKind::ValueValidation, text)
}

/// So many random bytes, as hexadecimal digits.
fn random(bytes: usize) -> Result<String, clap::Error> {
    let mut drawn = vec![0; bytes];
    getrandom::fill(&mut drawn)
        .map_err(|why| refusal(format!("the system gives no random numbers: {why}")))?;
    Ok(drawn.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn time(text: &str) -> Result<Duration, String> {
    let (number, unit_ms) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').unwrap_or(text), 1000),
    };
    let has_unit = number.len() < text.len();
    let time = number.parse::<u64>().ok().filter(|number| has_unit || *number == 0);
    let time = time.map(|number| Duration::from_millis(number.saturating_mul(unit_ms)));
    time.filter(|time| *time <= DELAY_MAX)
        .ok_or_else(|| format!("a time is written 50ms or 2s, and is at most {DELAY_MAX:?}"))
}

/// A time that is long enough for somebody to do something in it.
fn wait(text: &str) -> Result<Duration, String> {
    let long_enough = Some(time(text)?).filter(|wait| *wait >= CLIENT_WAIT_MIN);
    long_enough.ok_or_else(|| format!("clients need {CLIENT_WAIT_MIN:?} at least"))
}

/// SQLite's own names for a database in memory, and its URIs.
fn is_no_file(path: &std::path::Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    name.starts_with(b":") || name.starts_with(b"file:")
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;
    use clap::builder::Resettable;

    use super::*;

    const LONG: &str = "a secret of more than thirty-two bytes";

    fn read(line: &str, secret: Option<&str>) -> Result<Settings, String> {
        let words = std::iter::once("task-api").chain(line.split_whitespace());
        // Not from the environment of whoever tests.
        let command = Arguments::command().mut_args(|arg| arg.env(Resettable::Reset));
        let arguments = command.try_get_matches_from(words);
        let arguments = arguments.and_then(|matches| Arguments::from_arg_matches(&matches));
        let arguments = arguments.map_err(|why| why.to_string())?;
        Settings::of(arguments, secret.map(OsString::from)).map_err(|why| why.to_string())
    }

    fn refused(line: &str, secret: Option<&str>) -> String {
        read(line, secret).err().unwrap()
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert!(refused("", Some(LONG)).contains("--database"));
        assert!(refused("--database t.db", None).contains("JWT_SECRET is not set"));
        assert!(refused("--database t.db", Some("short")).contains("JWT_SECRET must be 32"));
        assert!(refused("--demo", Some("short")).contains("JWT_SECRET"));
        assert!(refused("--demo --listen nowhere", None).contains("--listen"));
        assert!(refused("--demo --redis-url=", None).contains("REDIS_URL"));
        for delay in ["50", "-1ms", "soon", "61s", "99999999999999999999s", "s"] {
            assert!(refused(&format!("--demo --database-delay={delay}"), None).contains("50ms"));
        }
        for setting in ["--head-wait", "--body-wait"] {
            for (wait, why) in [("0", "100ms"), ("99ms", "100ms"), ("61s", "60s"), ("x", "2s")] {
                let said = refused(&format!("--demo {setting}={wait}"), None);
                assert!(said.contains(setting) && said.contains(why), "{said}");
            }
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert!(!refused("--demo", Some("hunter2")).contains("hunter2"));
        assert_eq!(format!("{:?}", Secret::new(LONG).unwrap()), "Secret(..)");
    }

    #[test]
    fn a_demo_needs_nothing_and_takes_everything() {
        let settings = read("--demo", None).unwrap();
        assert!(matches!(settings.source, Source::Sqlite(Place::Memory)));
        assert_eq!(settings.database_delay, DEMO_DELAY);
        let line = "--demo --database t.db --redis-url redis://h/0 --database-delay 0";
        let settings = read(line, Some(LONG)).unwrap();
        assert!(matches!(settings.source, Source::Sqlite(Place::File(_))));
        assert_eq!(settings.database_delay, Duration::ZERO);
        assert_eq!(settings.app_name, "todo");
        assert_eq!(settings.secret.as_bytes(), LONG.as_bytes());
    }

    #[test]
    fn responses_are_cached_unless_it_is_turned_off() {
        let set = |line: &str| read(line, None).unwrap().response_cache;
        assert_eq!(set("--demo"), ResponseCache::On);
        assert_eq!(set("--demo --response-cache off"), ResponseCache::Off);
        let said = refused("--demo --response-cache=", None);
        assert!(said.contains("--response-cache") && said.contains("off"), "{said}");
    }

    #[test]
    fn limits_have_defaults_and_bounds_and_trust_nobody_unless_told() {
        let set = |line: &str| read(line, None).unwrap().quotas;
        let quotas = set("--demo");
        assert_eq!((quotas.user, quotas.address, quotas.trusted.len()), (600, 60, 0));
        let quotas =
            set("--demo --user-limit 5 --address-limit 0 --trusted-proxies 10.0.0.0/8,::1");
        assert_eq!((quotas.user, quotas.address), (5, 0));
        assert_eq!(quotas.trusted, ["10.0.0.0/8", "::1"]);
        for (line, named) in [
            ("--user-limit=-1", "--user-limit"),
            ("--user-limit 10000001", "TASK_API_USER_LIMIT"),
            ("--address-limit many", "--address-limit"),
            ("--trusted-proxies proxy.example", "TASK_API_TRUSTED_PROXIES"),
            ("--trusted-proxies 10.0.0.0/33", "TASK_API_TRUSTED_PROXIES"),
        ] {
            let said = refused(&format!("--demo {line}"), None);
            assert!(said.contains(named), "{line}: {said}");
        }
    }

    #[test]
    fn what_tls_needs_is_said_before_a_file_is_read() {
        let url = "--redis-url=rediss://:hunter2@host";
        if !cfg!(feature = "tls") {
            for line in [url, "--redis-ca-file ca.pem", "--redis-key-file key.pem"] {
                let said = refused(&format!("--demo {line}"), None);
                assert!(said.contains("--features tls") && !said.contains("hunter2"), "{said}");
            }
            return;
        }
        let ca = "--redis-ca-file ca.pem";
        for line in [ca.to_owned(), format!("{ca} --redis-url=redis://:hunter2@host")] {
            let said = refused(&format!("--demo {line}"), None);
            assert!(said.contains("REDIS_CA_FILE") && said.contains("rediss://"), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        for line in ["--redis-cert-file c.pem", "--redis-key-file k.pem"] {
            let said = refused(&format!("--demo {url} {line}"), None);
            assert!(said.contains("REDIS_CERT_FILE") && said.contains("REDIS_KEY_FILE"), "{said}");
        }
        let all = "--redis-cert-file c.pem --redis-key-file k.pem";
        assert!(read(&format!("--demo {url} {ca} {all}"), None).is_ok());
    }

    /// They would be in memory under the name of a file's, and two processes' pages would mix.
    #[test]
    fn what_sqlite_takes_for_memory_is_no_file() {
        for name in [":memory:", "file::memory:", "file:tasks.db"] {
            let why = read(&format!("--demo --database {name}"), None).err().unwrap().to_string();
            assert!(why.contains("--database names a file"), "{why}");
        }
    }

    #[test]
    fn tasks_are_kept_in_one_place() {
        let url = "--mongodb-url=mongodb://ada:hunter2@host/tasks";
        let both = refused(&format!("--database t.db {url}"), Some(LONG));
        assert!(both.contains("--database") && both.contains("MONGODB_URL"), "{both}");
        assert!(!both.contains("hunter2"), "{both}");
        match read(url, Some(LONG)) {
            Ok(settings) => {
                assert!(HAS_MONGODB && matches!(settings.source, Source::Mongo(_)));
                assert_eq!(settings.app_name, "todo");
                assert!(refused("--demo --mongodb-url=", None).contains("MONGODB_URL"));
            }
            Err(why) => {
                assert!(!HAS_MONGODB && why.contains("--features mongodb"), "{why}");
                assert!(!why.contains("hunter2"), "{why}");
            }
        }
    }

    /// Two demos in memory on one Redis must not serve each other's pages.
    #[test]
    fn a_database_in_memory_has_a_name_of_its_own() {
        let name = || read("--demo", None).unwrap().app_name;
        assert_ne!(name(), name());
        assert!(name().starts_with("todo-demo-"));
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
