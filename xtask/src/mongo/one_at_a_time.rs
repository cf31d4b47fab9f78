//! What MongoDB promises and FerretDB 1.x on SQLite does not: that one document is found and changed in
//! one step.
//!
//! FerretDB reads the document, changes it, and writes it as a whole; of two changes at once one is
//! lost. So its clients come through here, where the next question is passed on when the last one
//! is answered.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::wire::{message, wants_answer};

/// Listens on a free port for clients of `server`, as long as this process lives.
pub(super) fn relay(server: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let turn = Arc::new(Mutex::new(()));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let turn = turn.clone();
            // A client or server that hangs up ends both sides.
            thread::spawn(move || pass(client, server, &turn));
        }
    });
    Ok(address)
}

fn pass(mut client: TcpStream, server: SocketAddr, turn: &Mutex<()>) -> io::Result<()> {
    let mut server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    loop {
        let question = message(&mut client)?;
        let answer = {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            server.write_all(&question)?;
            if !wants_answer(&question) {
                continue;
            }
            message(&mut server)?
        };
        client.write_all(&answer)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server answers the first client only when it is told to; until then it must not hear of the
    /// second, however long that one has been waiting.
    #[test]
    fn the_second_question_waits_for_the_first_answer() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let through = relay(server.local_addr().unwrap()).unwrap();
        let question = |nth: u8| {
            let mut bytes = 17_i32.to_le_bytes().to_vec();
            bytes.extend([0; 12]);
            bytes.push(nth);
            bytes
        };
        let mut clients = [1, 2].map(|nth| {
            let mut client = TcpStream::connect(through).unwrap();
            client.write_all(&question(nth)).unwrap();
            client
        });
        let mut servers = [(); 2].map(|()| server.accept().unwrap().0);
        servers.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
        let waiting = |servers: &[TcpStream; 2]| -> Vec<usize> {
            let asked = |stream: &TcpStream| stream.peek(&mut [0; 1]).is_ok_and(|bytes| bytes == 1);
            (0..2).filter(|nth| asked(&servers[*nth])).collect()
        };
        let mut heard = Vec::new();
        while heard.len() < 2 {
            let Some(nth) = waiting(&servers).first().copied() else {
                thread::yield_now();
                continue;
            };
            for _ in 0..50 {
                assert_eq!(waiting(&servers), [nth], "both were passed on");
                thread::sleep(std::time::Duration::from_millis(1));
            }
            let stream = &mut servers[nth];
            stream.set_nonblocking(false).unwrap();
            let sent = message(stream).unwrap();
            stream.set_nonblocking(true).unwrap();
            heard.push(sent[16]);
            stream.write_all(&sent).unwrap();
        }
        heard.sort_unstable();
        assert_eq!(heard, [1, 2]);
        for (client, nth) in clients.iter_mut().zip([1, 2]) {
            assert_eq!(message(client).unwrap()[16], nth);
        }
    }
}
