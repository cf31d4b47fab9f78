//! Servers that end when we do, also when we are killed.
//!
//! Nothing of ours runs then, but the pipe to a child's standard input is closed for us. A program that
//! does not look at its input gets a shell that does. Without a shell, on Windows, it stays behind.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The watcher goes first when the server ends by itself: its id may then be another's.
const WATCHED: &str = r#"
exec 3<&0
"$@" 3<&- &
server=$!
{ cat <&3; kill -9 "$server"; } >/dev/null 2>&1 &
exec 3<&-
wait "$server"
status=$?
kill $! 2>/dev/null
exit $status
"#;

/// How long a child may take to end once its input has.
const END_WAIT: Duration = Duration::from_secs(5);

/// `server`, as a child that ends with its standard input.
pub(super) fn tied(server: &Command) -> Command {
    let mut tied = if cfg!(unix) {
        let mut shell = Command::new("sh");
        shell.args(["-c", WATCHED, "sh"]).arg(server.get_program());
        shell
    } else {
        Command::new(server.get_program())
    };
    tied.args(server.get_args()).stdin(Stdio::piped());
    if let Some(folder) = server.get_current_dir() {
        tied.current_dir(folder);
    }
    tied
}

/// By its input, so that a shell takes its server along; then by force.
pub(super) fn end(child: &mut Child) {
    drop(child.stdin.take());
    let began = Instant::now();
    while cfg!(unix) && began.elapsed() < END_WAIT {
        if let Ok(Some(_)) = child.try_wait() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::{BufRead, BufReader, Read};

    use super::*;

    /// It would hold its output open for as long as it lives.
    #[test]
    fn a_server_ends_with_its_input() {
        let mut server = Command::new("sh");
        server.args(["-c", "echo up; exec sleep 600"]);
        let mut tied = tied(&server);
        let mut child = tied.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!((line.as_str(), child.try_wait().unwrap()), ("up\n", None));
        drop(child.stdin.take());
        assert_eq!(out.read_to_string(&mut line).unwrap(), 0);
        assert_eq!(child.wait().unwrap().code(), Some(128 + 9));
    }

    #[test]
    fn a_server_that_ends_by_itself_says_how() {
        let mut server = Command::new("sh");
        server.args(["-c", "exit 7"]);
        let mut child = tied(&server).spawn().unwrap();
        let _held = child.stdin.take(); // `wait` would close it, and so end the server
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }
}
