//! The wire between the fleet and its server: forwards, cuts, swallows, and leads to another server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy of its own task; ends with its last handle.
pub(super) struct Wire {
    pub(super) port: u16,
    inside: Arc<Inside>,
    task: tokio::task::JoinHandle<()>,
}

struct Inside {
    leads_to: AtomicU16,
    swallows: AtomicBool,
    cut: watch::Sender<u64>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

impl Wire {
    pub(super) async fn to(port: u16) -> Result<Wire, String> {
        let listener =
            TcpListener::bind("127.0.0.1:0").await.map_err(|why| format!("a proxy: {why}"))?;
        let own = listener.local_addr().map_err(|why| why.to_string())?.port();
        let inside = Arc::new(Inside {
            leads_to: AtomicU16::new(port),
            swallows: AtomicBool::new(false),
            cut: watch::Sender::new(0),
        });
        let task = tokio::spawn(accept(listener, inside.clone()));
        Ok(Wire { port: own, inside, task })
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// New connections go there; those that are open are cut.
    pub(super) fn lead_to(&self, port: u16) {
        self.inside.leads_to.store(port, Ordering::SeqCst);
        self.cut();
    }

    pub(super) fn cut(&self) {
        self.inside.cut.send_modify(|cuts| *cuts += 1);
    }

    /// While it does, nothing that the server says arrives, and no connection notices.
    pub(super) fn swallow(&self, does: bool) {
        self.inside.swallows.store(does, Ordering::SeqCst);
    }
}

async fn accept(listener: TcpListener, inside: Arc<Inside>) {
    while let Ok((client, _)) = listener.accept().await {
        let inside = inside.clone();
        tokio::spawn(async move {
            let mut cut = inside.cut.subscribe();
            tokio::select! {
                biased;
                _ = cut.changed() => {}
                _ = forward(client, &inside) => {}
            }
        });
    }
}

async fn forward(client: TcpStream, inside: &Inside) -> std::io::Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], inside.leads_to.load(Ordering::SeqCst)));
    let server = TcpStream::connect(address).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from_client.read(&mut buffer).await?;
            if read == 0 {
                return Ok::<(), std::io::Error>(());
            }
            to_server.write_all(&buffer[..read]).await?;
        }
    };
    let back = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from_server.read(&mut buffer).await?;
            if read == 0 {
                return Ok::<(), std::io::Error>(());
            }
            if !inside.swallows.load(Ordering::SeqCst) {
                to_client.write_all(&buffer[..read]).await?;
            }
        }
    };
    tokio::select! {
        biased;
        done = there => done,
        done = back => done,
    }
}
