//! From an address to a connection that has shown what it is.
//!
//! What can only be a mistake (a wrong password, a database that is not there, a server that is too
//! old or no Redis at all) is told apart from what may pass (nobody listening, no answer): the first
//! is an error that says what to do, the second is tried again.

use std::fmt;
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::io::tcp::TcpSettings;
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind as RedisKind, IntoConnectionInfo,
    Pipeline, ProtocolVersion, PushInfo, RedisError, Value, pipe,
};

use super::forgotten::Forgotten;
use super::script::Script;
use crate::clock::{Clock, Moment};
use crate::error::{Error, ErrorKind};

/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// The oldest server whose scripts and tracking we rest on.
const OLDEST: (u32, u32) = (7, 0);

/// Where Redis is. Prints without its password.
#[derive(Clone)]
pub(crate) struct Address {
    info: ConnectionInfo,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Address, Error> {
        // The URL itself may carry a password: never part of the message.
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        match scheme {
            "redis" => {}
            "rediss" => {
                return config(
                    "a redis URL with rediss:// needs TLS, which this version does not have; use redis://",
                );
            }
            "" => {
                return config(
                    "a redis URL looks like redis://user:password@host:6379/0; this one has no scheme",
                );
            }
            other => {
                return config(format!(
                    "a redis URL looks like redis://user:password@host:6379/0; {other}:// is not known"
                ));
            }
        }
        let info = match url.into_connection_info() {
            Ok(info) => info,
            Err(why) => {
                return config(format!(
                    "a redis URL looks like redis://user:password@host:6379/0; this one cannot be read: {}",
                    why.category()
                ));
            }
        };
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        // Small commands must not wait for one another's acknowledgement.
        let tcp = TcpSettings::default().set_nodelay(true);
        Ok(Address { info: info.set_redis_settings(settings).set_tcp_settings(tcp) })
    }

    fn database(&self) -> i64 {
        self.info.redis_settings().db()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redis://{}/{}", self.info.addr(), self.database())
    }
}

fn config<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::new(ErrorKind::Config, text))
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NoConnection {
    /// It may pass: try again.
    Away(String),
    /// It hung up without a word: no Redis, or one that is just being started behind a proxy.
    HungUp(Error),
    /// It will not pass by itself.
    Wrong(Error),
}

/// What a new connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It reads, and hears of changes to what it read.
    Tracked,
    /// It ends entries; the changes come back to us on the other.
    Untracked,
}

/// A connection that has shown what it is.
pub(crate) struct Dialled {
    pub(crate) connection: MultiplexedConnection,
    /// When the first heartbeat was sent, and what the server's clock said.
    pub(crate) sent: Moment,
    pub(crate) server_ms: u64,
    /// False when the server refuses to tell us of changes.
    pub(crate) tracks: bool,
    pub(super) forgotten: Forgotten,
}

/// Connects, turns tracking on, and makes sure of what is there. Two round trips.
pub(crate) async fn dial(
    address: &Address,
    role: Role,
    scripts: &[&Script],
    clock: &Clock,
    pushed: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Result<Dialled, NoConnection> {
    let client = Client::open(address.info.clone()).map_err(|why| refine(address, &why))?;
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(1024)
        .set_push_sender(move |push: PushInfo| -> Result<(), ::redis::aio::SendError> {
            pushed(push);
            Ok(())
        });
    let connecting = client.get_multiplexed_async_connection_with_config(&settings);
    let mut connection = match clock.within(2 * CONNECT_WITHIN, connecting).await {
        Some(made) => made.map_err(|why| refine(address, &why))?,
        None => return Err(silent(address)),
    };
    let mut first = pipe();
    first.cmd("INFO").arg("server").cmd("TIME");
    if role == Role::Tracked {
        first.cmd("CLIENT").arg("TRACKING").arg("ON").arg("NOLOOP");
        first.cmd("INFO").arg("stats");
        first.cmd("CONFIG").arg("GET").arg("tracking-table-max-keys");
    }
    for script in scripts {
        first.add_command(script.load());
    }
    let sent = clock.now();
    let answers = all(&mut connection, &first);
    let answers = match clock.within(CONNECT_WITHIN, answers).await {
        Some(answers) => answers.map_err(|why| refine(address, &why))?,
        None => return Err(silent(address)),
    };
    let mut answers = answers.into_iter();
    check_version(address, answers.next())?;
    let time = answers.next().map(Value::extract_error).transpose();
    let time = time.map_err(|why| refine(address, &why))?;
    let server_ms = match time.as_ref().and_then(server_ms) {
        Some(ms) => ms,
        None => return Err(not_redis(address, "it does not tell the time")),
    };
    let (mut tracks, mut forgotten) = (false, Forgotten::new(None, None));
    if role == Role::Tracked {
        tracks = !matches!(answers.next(), Some(Value::ServerError(_)) | None);
        // Managed servers let nobody ask for their settings.
        let (stats, limit) = (answers.next(), answers.next());
        forgotten = Forgotten::new(stats.as_ref(), limit.as_ref());
    }
    if let Some(refusal) = answers.find_map(|answer| answer.extract_error().err()) {
        return Err(refine(address, &refusal));
    }
    Ok(Dialled { connection, sent, server_ms, tracks, forgotten })
}

/// All answers of a pipeline; a refusal is an answer.
pub(crate) async fn all(
    connection: &mut MultiplexedConnection,
    pipeline: &Pipeline,
) -> Result<Vec<Value>, RedisError> {
    connection.req_packed_commands(pipeline, 0, pipeline.len()).await
}

/// The answer to TIME, in milliseconds.
pub(crate) fn server_ms(answer: &Value) -> Option<u64> {
    let (secs, micros): (u64, u64) = ::redis::from_redis_value_ref(answer).ok()?;
    secs.checked_mul(1000)?.checked_add(micros / 1000)
}

fn check_version(address: &Address, info: Option<Value>) -> Result<(), NoConnection> {
    let text: String = match info.map(|info| info.extract_error()) {
        Some(Ok(info)) => ::redis::from_redis_value(info).unwrap_or_default(),
        Some(Err(why)) => return Err(refine(address, &why)),
        None => String::new(),
    };
    let found = text.lines().find_map(|line| line.strip_prefix("redis_version:"));
    let Some(found) = found else {
        return Err(not_redis(address, "it does not tell its version"));
    };
    let mut parts = found.trim().split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version >= OLDEST {
        return Ok(());
    }
    let text = format!(
        "{address} is Redis {}, and larder needs 7.0 or newer: upgrade the server",
        found.trim()
    );
    Err(NoConnection::Wrong(Error::new(ErrorKind::Config, text)))
}

fn silent(address: &Address) -> NoConnection {
    NoConnection::Away(format!("{address} does not answer"))
}

fn not_redis(address: &Address, why: &str) -> NoConnection {
    let text = format!("{address} does not speak Redis' protocol ({why}): check host and port");
    NoConnection::Wrong(Error::new(ErrorKind::Config, text))
}

fn refine(address: &Address, why: &RedisError) -> NoConnection {
    let wrong = |text: String| NoConnection::Wrong(Error::new(ErrorKind::Config, text));
    let text = why.to_string();
    let said = why.detail().unwrap_or_default();
    match why.code().unwrap_or_default() {
        "WRONGPASS" => {
            return wrong(format!(
                "{address} refuses the user name or password: check the URL's user:password@ part"
            ));
        }
        "NOAUTH" => {
            return wrong(format!(
                "{address} asks for a password: put one in the URL, redis://user:password@host:port/0"
            ));
        }
        "DENIED" => {
            return wrong(format!(
                "{address} is in protected mode and takes no one from outside its own machine: {said}"
            ));
        }
        "NOPERM" => return wrong(format!("{address}: the user lacks a permission: {said}")),
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY" => return NoConnection::Away(text),
        _ => {}
    }
    // Of a refused SELECT the client keeps the words and not the code.
    if text.contains("permissions to run") {
        return wrong(format!("{address}: the user lacks a permission: {said}"));
    }
    if text.contains("DB index") || text.contains("invalid DB") {
        let db = address.database();
        return wrong(format!(
            "{address} has no database {db}: choose one below its `databases` setting (16 unless set)"
        ));
    }
    match why.kind() {
        RedisKind::AuthenticationFailed => wrong(format!(
            "{address} refuses the user name or password: check the URL's user:password@ part"
        )),
        RedisKind::RESP3NotSupported => {
            wrong(format!("{address} does not know RESP3: larder needs Redis 7.0 or newer"))
        }
        RedisKind::Parse | RedisKind::UnexpectedReturnType => {
            not_redis(address, "its answer cannot be read")
        }
        RedisKind::InvalidClientConfig => wrong(format!("{address} cannot be used: {text}")),
        RedisKind::Io
            if !why.is_connection_refusal() && !why.is_timeout() && why.is_connection_dropped() =>
        {
            match not_redis(address, "it closed the connection without an answer") {
                NoConnection::Wrong(why) => NoConnection::HungUp(why),
                other => other,
            }
        }
        _ => NoConnection::Away(format!("{address}: {text}")),
    }
}
