//! A wire that can be held or cut: between larder and its server, one connection and direction at a time.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// Passes bytes on. What is said on one of its connections can be held back, in order, and let go; or
/// be swallowed, so that either side believes the connection to be good.
pub struct Proxy {
    port: u16,
    wires: Arc<Wires>,
}

/// Who is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What larder says.
    Up,
    /// What the server says.
    Down,
}

#[derive(Default)]
struct Wires {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Connections, numbered as they were made, whose replies are held.
    held: Vec<usize>,
    /// What is said to the server is held, on all of them.
    all_held_up: bool,
    /// Those that swallow, for as long as they live: a stream that lost a part cannot go on.
    swallowing: Vec<(usize, Way)>,
    /// What every connection swallows that is made from now on.
    newcomers: Option<Way>,
    made: usize,
    /// By how many seconds the server's clock seems to be ahead.
    ahead: i64,
}

impl Proxy {
    pub fn to(server: &super::Server) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let wires = Arc::new(Wires::default());
        let (to, between) = (server.port(), wires.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let number = between.connection();
                let (client_too, server_too) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (up, down) = (between.clone(), between.clone());
                std::thread::spawn(move || {
                    pass(client_too, server_too, |_| {
                        up.wait_up();
                        !up.swallows(number, Way::Up)
                    });
                });
                std::thread::spawn(move || {
                    pass(server, client, |bytes| {
                        down.wait(number);
                        move_clock(bytes, down.state.lock().unwrap().ahead);
                        !down.swallows(number, Way::Down)
                    });
                });
            }
        });
        Proxy { port, wires }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// From now on nothing that the server says reaches this connection. Larder's first is the tracked
    /// one, its second the untracked.
    pub fn hold(&self, connection: usize) {
        self.wires.state.lock().unwrap().held.push(connection);
    }

    /// From now on nothing that is said on any connection reaches the server.
    pub fn hold_all_up(&self) {
        self.wires.state.lock().unwrap().all_held_up = true;
    }

    pub fn let_go(&self) {
        let mut state = self.wires.state.lock().unwrap();
        state.all_held_up = false;
        state.held.clear();
        drop(state);
        self.wires.changed.notify_all();
    }

    /// What is said this way on the connection is lost from now on, and it stays open.
    pub fn swallow(&self, connection: usize, way: Way) {
        self.wires.state.lock().unwrap().swallowing.push((connection, way));
    }

    /// The same for all connections there are, and all that are made until [`heal`](Self::heal).
    pub fn swallow_all(&self, way: Way) {
        let mut state = self.wires.state.lock().unwrap();
        let made = state.made;
        state.swallowing.extend((0..made).map(|number| (number, way)));
        state.newcomers = Some(way);
    }

    /// From now on the server's clock seems to be ahead by so many seconds, or behind.
    pub fn clock_is_ahead(&self, seconds: i64) {
        self.wires.state.lock().unwrap().ahead = seconds;
    }

    /// Connections that are made from now on are good ones.
    pub fn heal(&self) {
        self.wires.state.lock().unwrap().newcomers = None;
    }
}

impl Wires {
    fn connection(&self) -> usize {
        let mut state = self.state.lock().unwrap();
        let number = state.made;
        state.made += 1;
        if let Some(way) = state.newcomers {
            state.swallowing.push((number, way));
        }
        number
    }

    fn wait(&self, number: usize) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.held.contains(&number)).unwrap());
    }

    fn wait_up(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.all_held_up).unwrap());
    }

    fn swallows(&self, number: usize, way: Way) -> bool {
        self.state.lock().unwrap().swallowing.contains(&(number, way))
    }
}

/// In an answer to TIME, two numbers of which the first is the seconds since 1970, as long as seconds have ten digits.
fn move_clock(bytes: &mut [u8], ahead: i64) {
    const BEGINS: &[u8] = b"*2\r\n$10\r\n";
    let found = bytes.windows(BEGINS.len()).position(|window| window == BEGINS);
    let Some(at) = found.filter(|_| ahead != 0).map(|at| at + BEGINS.len()) else { return };
    let Some(digits) = bytes.get_mut(at..at + 10) else { return };
    let Ok(seconds) = std::str::from_utf8(digits).unwrap_or_default().parse::<i64>() else {
        return;
    };
    digits.copy_from_slice(format!("{:010}", seconds + ahead).as_bytes());
}

/// Bytes that `passes` refuses are lost.
fn pass(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(&mut [u8]) -> bool) {
    let _ = to.set_nodelay(true);
    let mut bytes = [0; 16 * 1024];
    while let Ok(length) = from.read(&mut bytes) {
        let passes = passes(&mut bytes[..length]);
        if length == 0 || (passes && to.write_all(&bytes[..length]).is_err()) {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
