//! A wire that can be held: between larder and its server, one connection at a time.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// Passes bytes on. What the server says to one of its connections can be held back, in order, and let go.
pub struct Proxy {
    port: u16,
    held: Arc<Held>,
}

#[derive(Default)]
struct Held {
    /// Connections, numbered as they were made, whose replies are held.
    connections: Mutex<Vec<usize>>,
    changed: Condvar,
}

impl Proxy {
    pub fn to(server: &super::Server) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let held = Arc::new(Held::default());
        let (to, hold) = (server.port(), held.clone());
        std::thread::spawn(move || {
            for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let (client_too, server_too) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(client_too, server_too, || {}));
                let hold = hold.clone();
                std::thread::spawn(move || pass(server, client, || hold.wait(number)));
            }
        });
        Proxy { port, held }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// From now on nothing that the server says reaches this connection. Larder's first is the tracked
    /// one, its second the untracked.
    pub fn hold(&self, connection: usize) {
        self.held.connections.lock().unwrap().push(connection);
    }

    pub fn let_go(&self) {
        self.held.connections.lock().unwrap().clear();
        self.held.changed.notify_all();
    }
}

impl Held {
    fn wait(&self, number: usize) {
        let held = self.connections.lock().unwrap();
        drop(self.changed.wait_while(held, |held| held.contains(&number)).unwrap());
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, before: impl Fn()) {
    let _ = to.set_nodelay(true);
    let mut bytes = [0; 16 * 1024];
    while let Ok(length) = from.read(&mut bytes) {
        before();
        if length == 0 || to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
