//! The floors: what somebody would write who needs this one thing and nothing else.
//!
//! Near: `quick_cache` under a name made of namespace and key, one look at the clock, one generation compared.
//!
//! Far: all reads that wait go out as one MGET on a socket of our own, and their answers are cut from the one
//! buffer that came back. No lifetimes, no tags, no coherence, no reconnect.

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use quick_cache::sync::Cache;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use xxhash_rust::xxh3::xxh3_64;

use super::{Far, LIFETIME, Near, own};
use crate::Outcome;
use crate::workload::Payload;

/// Near, with no more than a hit of larder's must check.
pub struct Least {
    cache: Cache<Box<[u8]>, Kept>,
    generation: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Kept {
    value: Arc<Payload>,
    fresh_until: u64,
    generation: u64,
}

const PREFIX: &[u8] = b"bench:near:1:v:{.";

impl Least {
    pub fn new(room: usize) -> Least {
        Least { cache: Cache::new(room), generation: Arc::new(AtomicU64::new(1)) }
    }

    fn get(&self, key: &str) -> Option<Arc<Payload>> {
        let mut name = [0; 96];
        let length = PREFIX.len() + key.len() + 1;
        let name = name.get_mut(..length)?;
        name[..PREFIX.len()].copy_from_slice(PREFIX);
        name[PREFIX.len()..length - 1].copy_from_slice(key.as_bytes());
        name[length - 1] = b'}';
        let kept = self.cache.get(&*name)?;
        let is_current = kept.generation == self.generation.load(Ordering::Acquire);
        (is_current && now() < kept.fresh_until).then_some(kept.value)
    }
}

/// On the clock that counts suspend, as larder does.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Near for Least {
    fn name(&self) -> &'static str {
        "floor, by hand"
    }

    fn hit(&self) -> &'static str {
        "lifetime, one generation"
    }

    fn fill(&self, keys: &[String], value: &Payload) -> Outcome<()> {
        let fresh_until = now() + LIFETIME.as_nanos() as u64;
        for key in keys {
            let name = [PREFIX, key.as_bytes(), b"}"].concat();
            self.cache.insert(name.into(), Kept { value: own(value), fresh_until, generation: 1 });
        }
        Ok(())
    }

    fn hits(&self, keys: &[String], order: &[u32]) -> usize {
        let mut found = 0;
        for at in order {
            let value = self.get(&keys[*at as usize]);
            found += usize::from(black_box(value).is_some());
        }
        found
    }
}

struct Asked {
    key: String,
    answer: oneshot::Sender<Bytes>,
}

/// The handle; the socket belongs to a task that ends with the last of them.
#[derive(Clone)]
pub struct Floor(Arc<mpsc::UnboundedSender<Asked>>);

impl Floor {
    pub async fn connect(port: u16) -> Outcome<Floor> {
        let socket = TcpStream::connect(("127.0.0.1", port)).await?;
        socket.set_nodelay(true)?;
        let (ask, asked) = mpsc::unbounded_channel();
        tokio::spawn(drive(socket, asked));
        Ok(Floor(Arc::new(ask)))
    }

    async fn get(&self, key: &str) -> Outcome<Bytes> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { key: key.to_owned(), answer };
        self.0.send(asked).map_err(|_| "the connection has ended")?;
        Ok(answered.await?)
    }
}

/// The bytes, unlooked at.
#[derive(Clone)]
pub struct Raw(pub Floor);

impl Far for Raw {
    async fn hit(&self, key: &str) -> Outcome<usize> {
        Ok(self.0.get(key).await?.len())
    }
}

/// The least that must be checked: that the bytes are whole, and of this key. Then decoded.
#[derive(Clone)]
pub struct Checked(pub Floor);

/// What [`Checked`] reads: a checksum over the rest, the key's length, the key, the payload.
pub fn sealed(key: &str, payload: &[u8]) -> Vec<u8> {
    let mut rest = vec![key.len() as u8];
    rest.extend_from_slice(key.as_bytes());
    rest.extend_from_slice(payload);
    let mut bytes = xxh3_64(&rest).to_le_bytes().to_vec();
    bytes.extend_from_slice(&rest);
    bytes
}

impl Far for Checked {
    async fn hit(&self, key: &str) -> Outcome<usize> {
        let bytes = self.0.get(key).await?;
        let (sum, rest) = bytes.split_at_checked(8).ok_or("too short")?;
        let (length, after) = rest.split_first().ok_or("too short")?;
        let (name, payload) = after.split_at_checked(*length as usize).ok_or("too short")?;
        if xxh3_64(rest).to_le_bytes() != sum || name != key.as_bytes() {
            return Err("not what was stored".into());
        }
        Ok(rmp_serde::from_slice::<Payload>(payload)?.body.len())
    }
}

async fn drive(mut socket: TcpStream, mut asked: mpsc::UnboundedReceiver<Asked>) -> io::Result<()> {
    let (mut waiting, mut out) = (Vec::with_capacity(512), Vec::with_capacity(1 << 16));
    let mut buffer = BytesMut::with_capacity(1 << 20);
    while asked.recv_many(&mut waiting, 512).await > 0 {
        out.clear();
        let head = format!("*{}\r\n$4\r\nMGET\r\n", waiting.len() + 1);
        out.extend_from_slice(head.as_bytes());
        for Asked { key, .. } in &waiting {
            out.extend_from_slice(format!("${}\r\n", key.len()).as_bytes());
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        socket.write_all(&out).await?;
        number(&mut socket, &mut buffer, b'*').await?;
        for Asked { answer, .. } in waiting.drain(..) {
            let length = number(&mut socket, &mut buffer, b'$').await?;
            let length = usize::try_from(length).map_err(|_| io::ErrorKind::NotFound)?;
            while buffer.len() < length + 2 {
                more(&mut socket, &mut buffer).await?;
            }
            let bytes = buffer.split_to(length).freeze();
            buffer.advance(2);
            let _ = answer.send(bytes);
        }
    }
    Ok(())
}

/// The number on the line that comes next, which must begin with `mark`.
async fn number(socket: &mut TcpStream, buffer: &mut BytesMut, mark: u8) -> io::Result<i64> {
    loop {
        if let Some(end) = buffer.iter().take(32).position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end + 1);
            let digits = line.strip_prefix(&[mark]).and_then(|line| line.strip_suffix(b"\r\n"));
            let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
            let number = digits.and_then(|digits| digits.parse().ok());
            return number.ok_or_else(|| io::ErrorKind::InvalidData.into());
        }
        more(socket, buffer).await?;
    }
}

async fn more(socket: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<()> {
    buffer.reserve(1 << 16);
    match socket.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
