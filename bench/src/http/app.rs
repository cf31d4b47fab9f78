//! Our own servers: the handler alone, and the handler behind the layer. This binary, run again.
//!
//! One thread serves. It is not the one that waits for what its owner asks on the standard input:
//!
//! ```text
//! port       -> PORT
//! handled    -> how often the handler was asked
//! ```

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use larder::{HOUR, Larder, Lifetime};
use larder_http::{Audience, CacheLayer, Rule};

use super::cores::{Side, hold};
use super::{PATH, Server};
use crate::process::{self, Process};
use crate::workload::text;
use crate::{Outcome, counted};

pub const FLAG: &str = "--serve";

/// How often the serving thread has allocated; past the layer.
const ALLOCATIONS: &str = "/allocations";

/// What a page weighs.
pub const BODY_BYTES: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Static,
    Layer,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Static => "static",
            Kind::Layer => "layer",
        }
    }
}

/// One of them, in a process of its own.
pub struct App {
    process: Process,
    port: u16,
}

impl App {
    pub fn start(kind: Kind) -> Outcome<App> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([FLAG, kind.as_str()]);
        hold(&mut command, Side::Server)?;
        let mut process = Process::of(command)?;
        let port = process.ask("port")?.parse()?;
        Ok(App { process, port })
    }

    /// How often its handler was asked.
    pub fn handled(&mut self) -> Outcome<u64> {
        Ok(self.process.ask("handled")?.parse()?)
    }

    /// How often it has allocated.
    pub fn allocations(&self) -> Outcome<u64> {
        Ok(super::get(self.port, ALLOCATIONS)?.body.parse()?)
    }
}

impl Server for App {
    fn port(&self) -> u16 {
        self.port
    }

    fn id(&self) -> u32 {
        self.process.id()
    }
}

/// As `main` runs it.
pub fn obey(kind: &str) -> Outcome<()> {
    let kind = [Kind::Static, Kind::Layer].into_iter().find(|one| one.as_str() == kind);
    let kind = kind.ok_or("serve what?")?;
    let handled = Arc::new(AtomicU64::new(0));
    let (told, tell) = channel();
    let counter = handled.clone();
    std::thread::spawn(move || {
        if let Err(why) = serve(kind, counter, &told) {
            let _ = told.send(Err(why));
        }
    });
    let port = tell.recv()??;
    process::obey(|words| match words {
        ["port"] => Ok(port.to_string()),
        ["handled"] => Ok(handled.load(Ordering::Relaxed).to_string()),
        _ => Err(format!("unknown command {words:?}").into()),
    })
}

fn serve(kind: Kind, handled: Arc<AtomicU64>, told: &Sender<Outcome<u16>>) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut app = Router::new().route(PATH, handler(handled));
        if kind == Kind::Layer {
            let larder = Larder::builder("bench").open().await?;
            let rule = Rule::for_route(Lifetime::fresh_for(HOUR));
            app = app.layer(CacheLayer::new(&larder).rule(rule).audience(Audience::Public)?);
        }
        let app = app.route(ALLOCATIONS, get(async || counted::calls().to_string()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let _ = told.send(Ok(listener.local_addr()?.port()));
        Ok(axum::serve(listener, app).await?)
    })
}

/// A page that costs nothing to make.
fn handler(handled: Arc<AtomicU64>) -> axum::routing::MethodRouter {
    let page = Bytes::from(text(BODY_BYTES));
    get(async move || {
        handled.fetch_add(1, Ordering::Relaxed);
        let fields = [
            (CONTENT_TYPE, "text/plain; charset=utf-8"),
            (CACHE_CONTROL, "public, max-age=86400"),
            (ETAG, "\"page-1\""),
        ];
        (fields, page).into_response()
    })
}
