//! The program itself, as a process.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::{Client, PATIENCE, signal, until};

/// What all processes of these tests sign with.
pub(crate) const SECRET: &str = "a secret for tests, of more than 32 bytes";

/// A token of `user` that lasts longer than any test.
pub(crate) fn token(user: &str) -> String {
    let exp = jsonwebtoken::get_current_timestamp() + 3600;
    token_of(&json!({ "sub": user, "exp": exp }), SECRET)
}

/// A token of these claims, signed with that secret.
pub(crate) fn token_of(claims: &Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), claims, &key).unwrap()
}

/// One process, listening. Killed when dropped.
pub(crate) struct Service {
    child: Child,
    pub(crate) url: String,
    lines: Receiver<String>,
}

impl Service {
    /// Starts it on a free port, with a secret of the tests', and waits until it listens.
    pub(crate) fn start(words: &[&str]) -> Service {
        Service::run(command(words))
    }

    /// As [`start`](Self::start); what it says on standard error is given by [`said`](Self::said).
    pub(crate) fn start_heard(words: &[&str]) -> Service {
        let mut command = command(words);
        command.stderr(Stdio::piped());
        Service::run(command)
    }

    fn run(mut command: Command) -> Service {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let first = lines.recv_timeout(PATIENCE).unwrap_or_default();
        let Some(url) = first.strip_prefix("listening on ") else {
            let _ = child.kill();
            panic!("it does not say where it listens, but {first:?}");
        };
        Service { url: url.to_owned(), child, lines }
    }

    /// What it prints next.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// As `user` sees it.
    pub(crate) fn client(&self, user: &str) -> Client {
        Client::new(&self.url, Some(token(user)))
    }

    /// As somebody without a token sees it.
    pub(crate) fn stranger(&self) -> Client {
        Client::new(&self.url, None)
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// What it said on standard error, to its end.
    pub(crate) fn said(&mut self) -> String {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }

    pub(crate) fn terminate(&self) {
        signal("TERM", self.child.id());
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        signal("INT", self.child.id());
    }

    /// How it ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        until("the process has ended", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program with settings that it must refuse: gives what it said.
pub(crate) fn refused(words: &[&str], secret: Option<&str>) -> Output {
    let mut command = command(words);
    match secret {
        Some(secret) => command.env("JWT_SECRET", secret),
        None => command.env_remove("JWT_SECRET"),
    };
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = std::time::Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() && std::time::Instant::now() < ended {
        thread::sleep(std::time::Duration::from_millis(10));
    }
    let _ = child.kill();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    Output { status: child.wait().unwrap(), stdout, stderr }
}

/// On a free port, unless `words` say otherwise; with nothing from the environment of whoever tests.
fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_task-api"));
    for name in [
        "MONGODB_URL",
        "REDIS_URL",
        "TASK_API_DATABASE",
        "TASK_API_DATABASE_DELAY",
        "TASK_API_RESPONSE_CACHE",
        "TASK_API_HEAD_WAIT",
        "TASK_API_BODY_WAIT",
        "TASK_API_TRUSTED_PROXIES",
        "REDIS_CA_FILE",
        "REDIS_CERT_FILE",
        "REDIS_KEY_FILE",
    ] {
        command.env_remove(name);
    }
    // Tests ask more than people do; those that are about limits say so.
    command.env("TASK_API_USER_LIMIT", "0").env("TASK_API_ADDRESS_LIMIT", "0");
    command.env("RUST_LOG", "error");
    command.env("TASK_API_LISTEN", "127.0.0.1:0").env("JWT_SECRET", SECRET).args(words);
    command
}
