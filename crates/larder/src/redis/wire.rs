//! The bytes below: a socket to where Redis listens, with TLS around it if the address says so.
//!
//! Opened here and not by the client crate, so that one set of certificates, checked when the handle
//! was opened, serves every connection.

use std::io;
use std::time::Duration;

use ::redis::io::tcp::socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

/// A way to and from a server.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

pub(super) async fn tcp(host: &str, port: u16, keepalive: Duration) -> io::Result<TcpStream> {
    let stream = first(host, port).await?;
    // Small commands must not wait for one another's acknowledgement.
    stream.set_nodelay(true)?;
    let probes = TcpKeepalive::new().with_time(keepalive);
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    let probes = probes.with_interval((keepalive / 3).max(Duration::from_secs(1)));
    SockRef::from(&stream).set_tcp_keepalive(&probes)?;
    Ok(stream)
}

/// All the addresses of a name are tried at once: one that swallows packets must not use up the time.
async fn first(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut tries = JoinSet::new();
    for address in lookup_host((host, port)).await? {
        tries.spawn(TcpStream::connect(address));
    }
    let mut answer = Err(io::Error::other("its name has no address"));
    while let Some(tried) = tries.join_next().await {
        match tried {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(why)) => answer = Err(why),
            Err(_) => {} // the runtime is going down
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_sends_at_once_and_is_probed_when_it_is_silent() -> io::Result<()> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let stream = tcp("127.0.0.1", port, Duration::from_secs(17)).await?;
        assert!(stream.nodelay()?);
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive()?);
        assert_eq!(socket.tcp_keepalive_time()?, Duration::from_secs(17));
        Ok(())
    }
}
