//! From an address to a connection that has shown what it is.
//!
//! What can only be a mistake (a wrong password, a database that is not there, a server that is too
//! old or no Redis at all) is told apart from what may pass (nobody listening, no answer): the first
//! is an error that says what to do, the second is tried again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{
    AsyncConnectionConfig, ErrorKind as RedisKind, Pipeline, ProtocolVersion, PushInfo,
    RedisConnectionInfo, RedisError, Value, pipe,
};
use tokio::task::AbortHandle;

use super::address::{Address, Place};
use super::credentials::{Ask, Credentials, Login};
use super::forgotten::Forgotten;
use super::script::Script;
use super::wire::{self, Wire};
use crate::clock::{Clock, Moment};
use crate::entry::Incarnation;
use crate::error::{Error, ErrorKind};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The oldest server whose scripts and tracking we rest on.
const OLDEST: (u32, u32) = (7, 0);

/// Where a server that calls itself by one address is to be reached.
pub(crate) type AddressMap = Arc<dyn Fn(&str, u16) -> (String, u16) + Send + Sync>;

/// What the user settled about connections.
#[derive(Clone)]
pub(crate) struct Wishes {
    pub(crate) url: String,
    pub(crate) credentials: Option<Ask>,
    pub(crate) sentinel_credentials: Option<Ask>,
    pub(crate) address_map: Option<AddressMap>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<super::Tls>,
    /// How long a connection may take to be made, and once more to show what it is.
    pub(crate) patience: Duration,
    pub(crate) keepalive: Duration,
}

impl Wishes {
    /// Is the URL one that names sentinels, and not the server?
    pub(crate) fn names_a_cluster(&self) -> bool {
        self.url.starts_with("redis+cluster://") || self.url.starts_with("rediss+cluster://")
    }

    pub(crate) fn names_sentinels(&self) -> bool {
        self.url.starts_with("redis+sentinel://") || self.url.starts_with("rediss+sentinel://")
    }
}

/// Where Redis is, and how we get in. Prints where it is, and nothing else.
#[derive(Clone)]
pub(crate) struct Access {
    whom: Whom,
    address: Address,
    login: Login,
    #[cfg(feature = "tls")]
    tls: Option<Tunnel>,
    patience: Duration,
    keepalive: Duration,
    app: String,
}

/// Whom we mean to find there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Redis,
    Sentinel,
}

/// TLS, ready for use.
#[cfg(feature = "tls")]
#[derive(Clone)]
struct Tunnel {
    connector: tokio_rustls::TlsConnector,
    host: rustls::pki_types::ServerName<'static>,
    shows_certificate: bool,
}

impl Access {
    pub(crate) fn new(wishes: &Wishes, app: &str) -> Result<Access, Error> {
        Access::of(Whom::Redis, Address::parse(&wishes.url)?, wishes, app)
    }

    pub(super) fn of(
        whom: Whom,
        mut address: Address,
        wishes: &Wishes,
        app: &str,
    ) -> Result<Access, Error> {
        let ask = match whom {
            Whom::Redis => &wishes.credentials,
            Whom::Sentinel => &wishes.sentinel_credentials,
        };
        let login = match (ask, address.credentials.take()) {
            (None, in_url) => Login::Fixed(in_url),
            (Some(ask), None) => Login::Asked(ask.clone()),
            (Some(_), Some(_)) => {
                let asked = whom.setting();
                return config(format!(
                    "the redis URL names a user or password, and {asked} is given too: leave one out"
                ));
            }
        };
        #[cfg(not(feature = "tls"))]
        if address.is_tls() {
            return config("rediss:// needs larder's feature `tls`: add it in Cargo.toml");
        }
        Ok(Access {
            #[cfg(feature = "tls")]
            tls: tunnel(&address, wishes.tls.as_ref())?,
            whom,
            address,
            login,
            patience: wishes.patience,
            keepalive: wishes.keepalive,
            app: app.to_owned(),
        })
    }

    /// The same way in, at another host.
    pub(super) fn at(&self, host: &str, port: u16) -> Result<Access, NoConnection> {
        let mut access = self.clone();
        let tls = self.address.is_tls();
        access.address.place = Place::Tcp { host: host.to_owned(), port, tls };
        #[cfg(feature = "tls")]
        if let Some(tunnel) = &mut access.tls {
            let Ok(name) = rustls::pki_types::ServerName::try_from(host.to_owned()) else {
                return access.wrong("its host is no name a certificate can carry");
            };
            tunnel.host = name;
        }
        Ok(access)
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// The nodes that the URL names, if it is that of a cluster.
    pub(super) fn nodes(&self) -> &[(String, u16)] {
        match &self.address.place {
            Place::Cluster { nodes, .. } => nodes,
            _ => &[],
        }
    }

    /// What a connection is called in `CLIENT LIST`.
    pub(super) fn name(&self, part: &str) -> String {
        format!("larder:{}:{part}", self.app)
    }

    async fn reach(&self) -> Result<Box<dyn Wire>, NoConnection> {
        let away = |why: std::io::Error| NoConnection::Away(format!("{self}: {why}"));
        match &self.address.place {
            Place::Tcp { host, port, .. } => {
                let stream = wire::tcp(host, *port, self.keepalive).await.map_err(away)?;
                #[cfg(feature = "tls")]
                if let Some(tunnel) = &self.tls {
                    let made = tunnel.connector.connect(tunnel.host.clone(), stream).await;
                    return Ok(Box::new(made.map_err(|why| self.no_tunnel(&why))?));
                }
                Ok(Box::new(stream))
            }
            #[cfg(unix)]
            Place::Unix(path) => match tokio::net::UnixStream::connect(path).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(why) if why.kind() == std::io::ErrorKind::PermissionDenied => self.wrong(
                    "this process may not open the socket: check its `unixsocketperm`, and its folder",
                ),
                Err(why) => Err(NoConnection::Away(format!(
                    "{self}: {why}: is redis started, with this path as its `unixsocket`?"
                ))),
            },
            #[cfg(not(unix))]
            Place::Unix(_) => self.wrong("this system has no unix sockets"),
            // Each of its nodes is reached at an address of its own.
            Place::Cluster { .. } => self.wrong("a cluster is not one server"),
        }
    }

    #[cfg(feature = "tls")]
    fn no_tunnel(&self, why: &std::io::Error) -> NoConnection {
        match self.tls_trouble(why) {
            Some(trouble) => trouble,
            None if why.kind() == std::io::ErrorKind::UnexpectedEof => {
                NoConnection::HungUp(self.error(
                    "it closed the connection while TLS was begun: is its port one for TLS?",
                ))
            }
            None => NoConnection::Away(format!("{self}: {why}")),
        }
    }

    #[cfg(feature = "tls")]
    fn tls_trouble(&self, why: &std::io::Error) -> Option<NoConnection> {
        let why: &rustls::Error = why.get_ref()?.downcast_ref()?;
        let shows = self.tls.as_ref().is_some_and(|tunnel| tunnel.shows_certificate);
        Some(match super::tls::explain(why, shows) {
            Some(text) => NoConnection::Wrong(self.error(&text)),
            None => NoConnection::Away(format!("{self}: {why}")),
        })
    }

    fn error(&self, text: &str) -> Error {
        Error::new(ErrorKind::Config, format!("{self}: {text}"))
    }

    fn wrong<T>(&self, text: &str) -> Result<T, NoConnection> {
        Err(NoConnection::Wrong(self.error(text)))
    }

    /// Where to look when the login is refused.
    fn look_at(&self) -> &'static str {
        match (&self.login, self.whom, &self.address.place) {
            (Login::Asked(_), Whom::Redis, _) => "what redis_credentials gives",
            (Login::Asked(_), Whom::Sentinel, _) => "what sentinel_credentials gives",
            (Login::Fixed(_), Whom::Sentinel, _) => "sentinel_user= and sentinel_pass= in the URL",
            (Login::Fixed(_), _, Place::Tcp { .. } | Place::Cluster { .. }) => {
                "the URL's user:password@ part"
            }
            (Login::Fixed(_), _, Place::Unix(_)) => "user= and pass= in the URL",
        }
    }

    /// Who has no login where one is asked for, how to give one.
    fn how_to_log_in(&self) -> &'static str {
        match self.whom {
            Whom::Redis => {
                "put one in the URL, redis://user:password@host:port/0, or give redis_credentials"
            }
            Whom::Sentinel => {
                "sentinels have a password of their own: put it in the URL, ?sentinel_pass=.., or give sentinel_credentials"
            }
        }
    }
}

#[cfg(feature = "tls")]
fn tunnel(address: &Address, tls: Option<&super::Tls>) -> Result<Option<Tunnel>, Error> {
    let host = match (&address.place, tls) {
        (Place::Tcp { host, tls: true, .. }, _) => host.clone(),
        (Place::Cluster { nodes, tls: true }, _) => {
            nodes.first().map(|(host, _)| host.clone()).unwrap_or_default()
        }
        (_, None) => return Ok(None),
        (_, Some(_)) => {
            return config("tls is given, and the redis URL does not begin with rediss://");
        }
    };
    let settings = tls.cloned().unwrap_or_default();
    let host = rustls::pki_types::ServerName::try_from(host).map_err(|_| {
        Error::new(
            ErrorKind::Config,
            "the host of the rediss:// URL is no name a certificate can carry",
        )
    })?;
    let connector = tokio_rustls::TlsConnector::from(settings.config()?);
    Ok(Some(Tunnel { connector, host, shows_certificate: settings.has_certificate() }))
}

impl Whom {
    /// The setting that knows who we are to them.
    fn setting(self) -> &'static str {
        match self {
            Whom::Redis => "redis_credentials",
            Whom::Sentinel => "sentinel_credentials",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.whom, &self.address.place) {
            (Whom::Sentinel, Place::Tcp { host, port, .. }) => {
                write!(f, "the sentinel at {host}:{port}")
            }
            _ => self.address.fmt(f),
        }
    }
}

fn config<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::new(ErrorKind::Config, text))
}

/// Why there is no connection.
#[derive(Clone, Debug)]
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

/// Ends the connection's driver with the connection.
pub(crate) struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection that has shown what it is.
pub(crate) struct Dialled {
    pub(crate) connection: MultiplexedConnection,
    pub(crate) driver: Driver,
    /// When the first heartbeat was sent, and what the server's clock said.
    pub(crate) sent: Moment,
    pub(crate) server_ms: u64,
    pub(crate) process: Incarnation,
    /// What the server calls its data from here on; another one after it was a replica.
    pub(crate) history: Option<String>,
    /// False when the server refuses to tell us of changes.
    pub(crate) tracks: bool,
    pub(super) forgotten: Forgotten,
    /// What was answered to what the caller added.
    pub(super) answered: Vec<Value>,
}

/// A connection that was let in, and has shown nothing yet.
pub(super) struct Greeted<'a> {
    pub(super) connection: MultiplexedConnection,
    pub(super) driver: Driver,
    /// Explains what is refused.
    pub(super) refusal: Refusal<'a>,
}

/// Connects and logs in. One round trip.
pub(super) async fn greet<'a>(
    access: &'a Access,
    clock: &Clock,
    pushed: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Result<Greeted<'a>, NoConnection> {
    let login = access.login.now(clock, access.whom.setting()).await;
    let login = login.map_err(|why| NoConnection::Away(format!("{access}: {why}")))?;
    let refusal = Refusal { access, login };
    let settings = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_pipeline_buffer_size(1024)
        .set_push_sender(move |push: PushInfo| -> Result<(), ::redis::aio::SendError> {
            pushed(push);
            Ok(())
        });
    let greeting = greeting(&access.address, refusal.login.as_ref());
    let connecting = async {
        let wire = access.reach().await?;
        let made = MultiplexedConnection::new_with_config(&greeting, wire, settings).await;
        made.map_err(|why| refusal.of(&why))
    };
    let Some(made) = clock.within(access.patience, connecting).await else {
        return Err(silent(access));
    };
    let (connection, driving) = made?;
    let driver = Driver(tokio::spawn(driving).abort_handle());
    Ok(Greeted { connection, driver, refusal })
}

/// Connects, turns tracking on, and makes sure of what is there. Two round trips. `more` adds to what is
/// asked; that its answers are good the caller must see.
pub(crate) async fn dial(
    access: &Access,
    tenure: u64,
    role: Role,
    scripts: &[&Script],
    more: impl FnOnce(&mut Pipeline),
    clock: &Clock,
    pushed: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Result<Dialled, NoConnection> {
    let Greeted { mut connection, driver, refusal } = greet(access, clock, pushed).await?;
    let mut first = pipe();
    first.cmd("INFO").arg("server").arg("replication").cmd("TIME");
    // Not CLIENT SETNAME, which needs a permission that a user may lack.
    let name = match role {
        Role::Tracked => access.name("tracked"),
        Role::Untracked => access.name("untracked"),
    };
    first.cmd("HELLO").arg(3).arg("SETNAME").arg(name);
    if role == Role::Tracked {
        first.cmd("CLIENT").arg("TRACKING").arg("ON").arg("NOLOOP");
        first.cmd("INFO").arg("stats");
        first.cmd("CONFIG").arg("GET").arg("tracking-table-max-keys");
    }
    let before = first.len();
    more(&mut first);
    let added = first.len() - before;
    for script in scripts {
        first.add_command(script.load());
    }
    let sent = clock.now();
    let answers = all(&mut connection, &first);
    let answers = match clock.within(access.patience, answers).await {
        Some(answers) => answers.map_err(|why| refusal.of(&why))?,
        None => return Err(silent(access)),
    };
    // All at once: who mends the rights wants to know of each.
    refusal.rights(&answers)?;
    let mut answers = answers.into_iter();
    let info = info_server(&refusal, answers.next())?;
    check_version(access, &info)?;
    let process = process(&info, tenure, clock);
    let history = history(&info);
    let time = answers.next().map(Value::extract_error).transpose();
    let time = time.map_err(|why| refusal.of(&why))?;
    let server_ms = match time.as_ref().and_then(server_ms) {
        Some(ms) => ms,
        None => return Err(not_redis(access, "it does not tell the time")),
    };
    let _named = answers.next(); // a connection without a name is as good
    let (mut tracks, mut forgotten) = (false, Forgotten::new(None, None));
    if role == Role::Tracked {
        tracks = !matches!(answers.next(), Some(Value::ServerError(_)) | None);
        // Managed servers let nobody ask for their settings.
        let (stats, limit) = (answers.next(), answers.next());
        forgotten = Forgotten::new(stats.as_ref(), limit.as_ref());
    }
    let answered: Vec<Value> = answers.by_ref().take(added).collect();
    let refused = answered.iter().find(|answer| is_forbidden(answer));
    if let Some(why) = refused.and_then(|answer| answer.clone().extract_error().err()) {
        return Err(refusal.of(&why));
    }
    if let Some(refused) = answers.find_map(|answer| answer.extract_error().err()) {
        return Err(refusal.of(&refused));
    }
    Ok(Dialled {
        connection,
        driver,
        sent,
        server_ms,
        process,
        history,
        tracks,
        forgotten,
        answered,
    })
}

/// Who we are and what we want, as the client crate says it.
fn greeting(address: &Address, login: Option<&Credentials>) -> RedisConnectionInfo {
    let greeting = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_db(i64::from(address.database))
        // Our own name says more, and CLIENT SETINFO needs a permission.
        .set_skip_set_lib_name();
    match login.map(Credentials::parts) {
        Some((Some(user), password)) => greeting.set_username(user).set_password(password),
        Some((None, password)) => greeting.set_password(password),
        None => greeting,
    }
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

fn info_server(refusal: &Refusal<'_>, info: Option<Value>) -> Result<String, NoConnection> {
    match info.map(|info| info.extract_error()) {
        Some(Ok(info)) => Ok(::redis::from_redis_value(info).unwrap_or_default()),
        Some(Err(why)) => Err(refusal.of(&why)),
        None => Ok(String::new()),
    }
}

fn field<'t>(info: &'t str, name: &str) -> Option<&'t str> {
    let value = |line: &'t str| line.strip_prefix(name)?.strip_prefix(':');
    info.lines().find_map(value).map(str::trim)
}

/// What a server calls the history of its data (`master_replid`): drawn anew when a replica becomes a master.
/// `info`: the answer to `INFO replication`, with other parts or without.
pub(super) fn history(info: &str) -> Option<String> {
    field(info, "master_replid").map(str::to_owned)
}

/// A hash of the id that the server process drew when it started, of what it calls the history of its data, and of
/// which of its times as master this is: the same process may have been another's replica in between, and
/// have its data. Where none is told every connection counts as one to another process: cold after each
/// reconnect, and never wrong.
fn process(info: &str, tenure: u64, clock: &Clock) -> Incarnation {
    let id = match field(info, "run_id") {
        Some(id) if !id.is_empty() => {
            let both = [id, field(info, "master_replid").unwrap_or_default()].join(" ");
            xxh3_64_with_seed(both.as_bytes(), tenure)
        }
        _ => xxh3_64(&clock.nonce()),
    };
    id.max(1) // 0 is nobody's
}

fn check_version(access: &Access, info: &str) -> Result<(), NoConnection> {
    let Some(found) = field(info, "redis_version") else {
        return Err(not_redis(access, "it does not tell its version"));
    };
    let mut parts = found.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version >= OLDEST {
        return Ok(());
    }
    let text =
        format!("{access} is Redis {found}, and larder needs 7.0 or newer: upgrade the server");
    Err(NoConnection::Wrong(Error::new(ErrorKind::Config, text)))
}

fn is_forbidden(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(why) if why.code() == "NOPERM")
}

pub(super) fn silent(access: &Access) -> NoConnection {
    let hint = if access.address.is_tls() { "; so is a port that is not one for TLS" } else { "" };
    NoConnection::Away(format!("{access} is silent for {:?}{hint}", access.patience))
}

fn not_redis(access: &Access, why: &str) -> NoConnection {
    let hint = match access.address.place {
        Place::Tcp { tls: false, .. } => "check host and port; a port for TLS needs rediss://",
        Place::Tcp { tls: true, .. } | Place::Cluster { .. } => "check host and port",
        Place::Unix(_) => "check the path",
    };
    let text = format!("{access} does not speak Redis' protocol ({why}): {hint}");
    NoConnection::Wrong(Error::new(ErrorKind::Config, text))
}

/// A server's refusal, in our words: some servers repeat in theirs what they were sent, and that is
/// where the password was.
pub(super) struct Refusal<'a> {
    pub(super) access: &'a Access,
    login: Option<Credentials>,
}

impl Refusal<'_> {
    fn without_secrets<'t>(&self, said: &'t str) -> &'t str {
        let said = said.split_once("with args beginning").map_or(said, |(before, _)| before);
        match self.login.as_ref().map(Credentials::parts) {
            Some((_, password)) if !password.is_empty() && said.contains(password) => {
                "(not repeated)"
            }
            _ => said,
        }
    }

    /// The commands that the user may not run and without which nothing works, if there are several.
    fn rights(&self, answers: &[Value]) -> Result<(), NoConnection> {
        let refused = answers.iter().filter_map(|answer| match answer {
            Value::ServerError(why) if why.code() == "NOPERM" => why.details(),
            _ => None,
        });
        // What is asked for and done without.
        let needed = refused.filter(|said| !said.contains("client|") && !said.contains("config|"));
        let mut said: Vec<&str> = needed.map(|said| self.without_secrets(said)).collect();
        said.dedup();
        if said.len() < 2 {
            return Ok(()); // the one is met where its answer is read
        }
        let text = format!("{}: the user lacks permissions: {}", self.access, said.join("; "));
        Err(NoConnection::Wrong(Error::new(ErrorKind::Config, text)))
    }

    pub(super) fn of(&self, why: &RedisError) -> NoConnection {
        let access = self.access;
        let wrong = |text: String| NoConnection::Wrong(Error::new(ErrorKind::Config, text));
        let text = why.to_string();
        let shown = self.without_secrets(&text);
        let said = self.without_secrets(why.detail().unwrap_or_default());
        let no_login = || {
            wrong(format!("{access} refuses the user name or password: check {}", access.look_at()))
        };
        match why.code().unwrap_or_default() {
            "WRONGPASS" => return no_login(),
            "NOAUTH" => {
                return wrong(format!("{access} asks for a password: {}", access.how_to_log_in()));
            }
            "DENIED" => {
                return wrong(format!(
                    "{access} is in protected mode and takes no one from outside its own machine: {said}"
                ));
            }
            "NOPERM" => return wrong(format!("{access}: the user lacks a permission: {said}")),
            "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY" => {
                return NoConnection::Away(format!("{access}: {shown}"));
            }
            _ => {}
        }
        // Of a refused SELECT the client keeps the words and not the code.
        if text.contains("permissions to run") {
            return wrong(format!("{access}: the user lacks a permission: {said}"));
        }
        if text.contains("DB index") || text.contains("invalid DB") {
            let database = access.address.database;
            return wrong(format!(
                "{access} has no database {database}: choose one below its `databases` setting (16 unless set)"
            ));
        }
        #[cfg(feature = "tls")]
        if let Some(trouble) = io_cause(why).and_then(|why| access.tls_trouble(why)) {
            return trouble;
        }
        match why.kind() {
            RedisKind::AuthenticationFailed => no_login(),
            RedisKind::RESP3NotSupported => {
                wrong(format!("{access} does not know RESP3: larder needs Redis 7.0 or newer"))
            }
            RedisKind::Parse | RedisKind::UnexpectedReturnType => {
                not_redis(access, "its answer cannot be read")
            }
            RedisKind::InvalidClientConfig => wrong(format!("{access} cannot be used: {shown}")),
            RedisKind::Io
                if !why.is_connection_refusal()
                    && !why.is_timeout()
                    && why.is_connection_dropped() =>
            {
                NoConnection::HungUp(hung_up(access))
            }
            _ => NoConnection::Away(format!("{access}: {shown}")),
        }
    }
}

fn hung_up(access: &Access) -> Error {
    // With TLS 1.3 a server looks at our certificate when we think that all is well. What it says of it
    // may be lost when it hangs up.
    #[cfg(feature = "tls")]
    if let Some(tunnel) = &access.tls {
        let asks = super::tls::asks(tunnel.shows_certificate);
        return access
            .error(&format!("it closed the connection without an answer; perhaps {asks}"));
    }
    match not_redis(access, "it closed the connection without an answer") {
        NoConnection::Wrong(why) | NoConnection::HungUp(why) => why,
        NoConnection::Away(text) => Error::new(ErrorKind::Config, text),
    }
}

/// What the socket said. The client crate hands it out wrapped once more.
#[cfg(feature = "tls")]
fn io_cause(why: &RedisError) -> Option<&std::io::Error> {
    type Wrapped = std::sync::Arc<dyn std::error::Error + Send + Sync>;
    let cause = std::error::Error::source(why)?;
    match cause.downcast_ref::<Wrapped>() {
        Some(cause) => cause.downcast_ref(),
        None => cause.downcast_ref(),
    }
}
