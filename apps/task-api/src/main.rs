//! A task API whose reads are cached by larder: the service people copy from.
//!
//! Reads settings, connects, serves, stops cleanly. All that knows of the cache is in
//! `tasks/cached.rs` and `tasks/responses.rs`, and the few lines here that open it.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use larder::Larder;
use tokio::net::TcpListener;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::limits::Limits;
use crate::session::Sessions;
use crate::settings::{Settings, Source};
use crate::state::{App, Far};
use crate::tasks::{CachedTasks, Delayed, Repository, Sqlite};

mod app;
mod body_wait;
mod connections;
mod demo;
mod docs;
mod fields;
mod limits;
mod problem;
mod redis_tls;
mod serve;
mod session;
mod settings;
mod state;
mod tasks;

fn main() -> ExitCode {
    let settings = match Settings::read() {
        Ok(settings) => settings,
        Err(why) => why.exit(),
    };
    log();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ran = match runtime {
        Ok(runtime) => {
            let ran = runtime.block_on(run(settings));
            // What had to be waited for was.
            runtime.shutdown_background();
            ran
        }
        Err(why) => Err(format!("cannot start: {why}")),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Where stderr is closed there is nobody to tell.
            let _ = writeln!(io::stderr(), "error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// To standard error. `RUST_LOG` says what: `debug`, or `task_api=debug,larder=info`.
fn log() {
    let told = std::env::var("RUST_LOG").ok().map(|told| told.parse::<Targets>());
    let (targets, unread) = match told {
        Some(Ok(targets)) => (targets, None),
        Some(Err(why)) => (Targets::new().with_default(LevelFilter::INFO), Some(why)),
        None => (Targets::new().with_default(LevelFilter::INFO), None),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(targets).init();
    if let Some(why) = unread {
        tracing::warn!(%why, "RUST_LOG cannot be read; logging at info");
    }
}

async fn run(settings: Settings) -> Result<(), String> {
    let signals = serve::signals().map_err(|why| format!("cannot listen for signals: {why}"))?;
    let listen = settings.listen;
    let listener = TcpListener::bind(listen).await.map_err(|why| match why.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot listen on {listen}: the port is taken; choose another with --listen, or port 0 for a free one"
        ),
        _ => format!("cannot listen on {listen} (--listen): {why}"),
    })?;
    let app = open(&settings).await?;
    if settings.demo {
        let seeded = app.tasks.seed(demo::tasks()).await.map_err(|why| why.to_string())?;
        tracing::info!(seeded, "demo");
    }
    if let Err(why) = tell(&settings, &app, &listener) {
        // Nobody reads standard output: no reason not to serve.
        tracing::warn!(%why, "cannot tell on standard output where we listen");
    }
    serve::serve(listener, app, settings.head_wait, signals).await
}

/// Connects to the database and to what the cache shares.
async fn open(settings: &Settings) -> Result<App, String> {
    let source = Delayed::wrap(connect(&settings.source).await?, settings.database_delay);

    let mut larder = Larder::builder(&settings.app_name);
    let mut far = Far::Embedded;
    if let Some(url) = &settings.redis_url {
        (larder, far) = (settings.redis_tls.apply(larder.redis(url))?, Far::Redis);
    }
    let larder = larder.open().await.map_err(|why| settings.redis_tls.named(&why.to_string()))?;
    let limits = Limits::open(&larder, &settings.quotas).map_err(|why| why.to_string())?;
    let tasks = CachedTasks::open(source, larder).await.map_err(|why| why.to_string())?;
    let sessions = Arc::new(Sessions::new(&settings.secret));
    Ok(App {
        sessions,
        tasks,
        limits,
        response_cache: settings.response_cache,
        far,
        body_wait: settings.body_wait,
        demo: settings.demo,
    })
}

async fn connect(source: &Source) -> Result<Arc<dyn Repository>, String> {
    match source {
        Source::Sqlite(place) => Ok(Arc::new(Sqlite::open(place.clone()).await?)),
        Source::Mongo(url) => {
            mongo(url).await.map_err(|why| format!("MONGODB_URL (--mongodb-url): {why}"))
        }
    }
}

#[cfg(feature = "mongodb")]
async fn mongo(url: &str) -> Result<Arc<dyn Repository>, String> {
    Ok(Arc::new(tasks::Mongo::open(url).await?))
}

/// Settings refuse the URL before it comes here.
#[cfg(not(feature = "mongodb"))]
async fn mongo(_url: &str) -> Result<Arc<dyn Repository>, String> {
    Err("this program was built without MongoDB".to_owned())
}

fn tell(settings: &Settings, app: &App, listener: &TcpListener) -> io::Result<()> {
    serve::announce(listener)?;
    if settings.demo {
        demo::print(&app.sessions, listener.local_addr()?)?;
    }
    Ok(())
}
