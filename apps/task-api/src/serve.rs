//! Listening, and stopping.
//!
//! At SIGTERM or Ctrl-C no more connections are taken, requests that are under way are answered, then
//! the cache and the database are closed, in this order: an invalidation needs the cache, and a
//! write the database. Each step is bounded, so the process ends whatever hangs. A second signal is for
//! whoever does not want to wait even for that.

use std::io::{self, Write};
use std::time::Duration;

use tokio::net::TcpListener;

use crate::app::router;
use crate::connections::Connections;
use crate::state::App;

/// How long requests may take to end once the process was told to.
const REQUESTS_WAIT: Duration = Duration::from_secs(10);
/// How long writes, and then invalidations, may take after that.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Serves until the first signal, then closes everything; at the second it closes nothing more.
///
/// # Errors
/// At a second signal: what was not waited for.
pub(crate) async fn serve(
    mut listener: TcpListener,
    app: App,
    head_wait: Duration,
    mut signals: Signals,
) -> Result<(), String> {
    let tasks = app.tasks.clone();
    let router = router(app).map_err(|why| format!("cannot write the API's document: {why}"))?;
    let mut connections = Connections::new(router, head_wait);
    tokio::select! {
        never = connections.accept(&mut listener) => match never {},
        () = signals.next() => tracing::info!("stopping; a second signal stops at once"),
    }
    drop(listener);
    let closing = async {
        if tokio::time::timeout(REQUESTS_WAIT, connections.drain()).await.is_err() {
            tracing::warn!("some requests did not end in time");
            connections.end();
        }
        tasks.close(CLOSE_WAIT).await;
    };
    tokio::select! {
        () = closing => return Ok(()),
        () = signals.next() => {}
    }
    let (requests, writes) = (connections.left(), tasks.writes_under_way());
    Err(format!(
        "told to stop a second time, so these were not waited for: requests: {requests}; writes: {writes}; \
         invalidations that Redis has not confirmed: {}",
        tasks.unconfirmed_waiting()
    ))
}

/// SIGTERM and Ctrl-C, listened for from [`signals`] on.
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

/// Listens for the signals from now on.
///
/// # Errors
/// When the system does not let us listen.
#[cfg(unix)]
pub(crate) fn signals() -> io::Result<Signals> {
    use tokio::signal::unix::{SignalKind, signal};
    let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
    Ok(Signals { terminate: signal(terminate)?, interrupt: signal(interrupt)? })
}

/// Listens for Ctrl-C.
#[cfg(not(unix))]
pub(crate) fn signals() -> io::Result<Signals> {
    Ok(Signals {})
}

impl Signals {
    /// Comes back with the next of them.
    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        // An error here means that there is no Ctrl-C to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Tells on standard output where we listen: the one line that programs read.
pub(crate) fn announce(listener: &TcpListener) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on http://{}", listener.local_addr()?)?;
    out.flush()
}
