//! A sentinel of nobody's: it says what it is told to, to whoever asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::sentinel::MASTER;

pub struct FalseSentinel {
    port: u16,
    mind: Arc<Mutex<Mind>>,
}

struct Mind {
    /// Whom it names as master.
    names: u16,
    /// Its fellows: what each calls itself, and its port.
    others: Vec<(String, u16)>,
    heard_by: Vec<TcpStream>,
    asked: usize,
}

impl FalseSentinel {
    pub fn start(names: u16, others: Vec<(String, u16)>) -> FalseSentinel {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mind = Mind { names, others, heard_by: Vec::new(), asked: 0 };
        let mind = Arc::new(Mutex::new(mind));
        let of_all = mind.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let mind = of_all.clone();
                std::thread::spawn(move || serve(&socket, &mind));
            }
        });
        FalseSentinel { port, mind }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How often it was asked who is master.
    pub fn asked(&self) -> usize {
        self.mind.lock().unwrap().asked
    }

    /// Tells everyone who listens that another is master now.
    pub fn announces(&self, old: u16, new: u16) {
        let mut mind = self.mind.lock().unwrap();
        mind.names = new;
        let told = format!("{MASTER} 127.0.0.1 {old} 127.0.0.1 {new}");
        let words = ["message", "+switch-master", &told];
        let push = format!(">3\r\n{}", words.map(bulk).concat());
        mind.heard_by.retain_mut(|socket| socket.write_all(push.as_bytes()).is_ok());
    }
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn map(fields: &[(&str, String)]) -> String {
    let pairs = fields.iter().map(|(name, value)| bulk(name) + &bulk(value));
    format!("%{}\r\n{}", fields.len(), pairs.collect::<String>())
}

fn serve(socket: &TcpStream, mind: &Mutex<Mind>) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    while let Some(words) = command(&mut reader) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut mind = mind.lock().unwrap();
        let answer = match words[..] {
            ["HELLO", ..] => map(&[("proto", "3".to_owned())]),
            ["SENTINEL", "MYID"] => bulk("f".repeat(40).as_str()),
            ["SUBSCRIBE", channel] => {
                mind.heard_by.push(socket.try_clone().unwrap());
                format!(">3\r\n{}{}:1\r\n", bulk("subscribe"), bulk(channel))
            }
            ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", _] => {
                mind.asked += 1;
                format!("*2\r\n{}{}", bulk("127.0.0.1"), bulk(&mind.names.to_string()))
            }
            ["SENTINEL", "MASTER", _] => map(&[
                ("ip", "127.0.0.1".to_owned()),
                ("port", mind.names.to_string()),
                ("role-reported-time", "3600000".to_owned()),
                ("config-epoch", "0".to_owned()),
            ]),
            ["SENTINEL", "SENTINELS", _] => {
                let others = mind.others.iter().map(|(name, port)| {
                    let port = port.to_string();
                    map(&[("runid", name.clone()), ("ip", "127.0.0.1".to_owned()), ("port", port)])
                });
                format!("*{}\r\n{}", others.len(), others.collect::<String>())
            }
            _ => "-ERR it does not know that\r\n".to_owned(),
        };
        drop(mind);
        let mut socket = socket;
        if socket.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// `*2`, `$4`, `PING`, ..
fn command(reader: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let number = |reader: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        line.trim_end().get(1..)?.parse::<usize>().ok()
    };
    let count = number(reader)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; number(reader)? + 2];
        reader.read_exact(&mut word).ok()?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8(word).ok()?);
    }
    Some(words)
}
