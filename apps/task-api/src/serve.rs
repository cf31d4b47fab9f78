//! Listening, and stopping.
//!
//! At SIGTERM or Ctrl-C no more connections are taken, requests that are under way are answered, then
//! the cache and the database are closed, in this order: an invalidation needs the cache, and a
//! write the database. Each step is bounded, so the process ends whatever hangs.

use std::future::Future;
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

/// Serves until `stop` ends, then closes everything.
pub(crate) async fn serve(
    mut listener: TcpListener,
    app: App,
    head_wait: Duration,
    stop: impl Future<Output = ()>,
) {
    let tasks = app.tasks.clone();
    let mut connections = Connections::new(router(app), head_wait);
    tokio::select! {
        never = connections.accept(&mut listener) => match never {},
        () = stop => tracing::info!("stopping"),
    }
    drop(listener);
    if tokio::time::timeout(REQUESTS_WAIT, connections.drain()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    drop(connections);
    tasks.close(CLOSE_WAIT).await;
}

/// Listens for the signals from now on; what is returned ends with the first of them.
///
/// # Errors
/// When the system does not let us listen.
#[cfg(unix)]
pub(crate) fn signals() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Listens for Ctrl-C.
#[cfg(not(unix))]
pub(crate) fn signals() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    Ok(async {
        // An error here means that there is no Ctrl-C to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// Tells on standard output where we listen: the one line that programs read.
pub(crate) fn announce(listener: &TcpListener) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on http://{}", listener.local_addr()?)?;
    out.flush()
}
