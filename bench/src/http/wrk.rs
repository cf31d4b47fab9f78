//! `wrk`: one thread, 64 connections, each of which asks again as soon as it is answered.

use std::process::{Command, Stdio};

use super::cores::{Side, hold};
use super::{PATH, Server};
use crate::Outcome;

/// What it says it did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    pub requests: f64,
    pub per_second: f64,
}

/// Asks `server` for the page, for so long.
///
/// # Errors
/// When any answer was no success, or any connection failed.
pub fn run(server: &dyn Server, seconds: u64) -> Outcome<Load> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c64", &format!("-d{seconds}s")]);
    command.arg(format!("http://127.0.0.1:{}{PATH}", server.port())).stdin(Stdio::null());
    hold(&mut command, Side::Asker)?;
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("wrk ended with {}: {said}{why}", output.status).into());
    }
    load(&said)
}

fn load(said: &str) -> Outcome<Load> {
    for trouble in ["Non-2xx", "Socket errors"] {
        if let Some(line) = said.lines().find(|line| line.trim_start().starts_with(trouble)) {
            return Err(format!("wrk says: {}", line.trim()).into());
        }
    }
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let line = |with: &str| said.lines().find(|line| line.contains(with)).map(words);
    let requests = line(" requests in ").and_then(|words| words.first()?.parse().ok());
    let per_second = line("Requests/sec:").and_then(|words| words.last()?.parse().ok());
    match (requests, per_second) {
        (Some(requests), Some(per_second)) => Ok(Load { requests, per_second }),
        _ => Err(format!("wrk says nothing of its requests: {said}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
Running 1s test @ http://127.0.0.1:1/page
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   688.31us  126.27us   4.11ms   92.44%
    Req/Sec    93.33k     3.27k   97.72k    80.00%
  92829 requests in 1.00s, 112.34MB read
Requests/sec:  92800.25
Transfer/sec:    112.31MB
";

    #[test]
    fn what_wrk_says_is_read() {
        let load = load(SAID).ok();
        assert_eq!(load, Some(Load { requests: 92829.0, per_second: 92800.25 }));
    }

    #[test]
    fn an_answer_that_was_no_success_spoils_the_round() {
        let said = format!("{SAID}  Non-2xx or 3xx responses: 3\n");
        assert!(load(&said).is_err_and(|why| why.to_string().ends_with("responses: 3")));
        let said = format!("{SAID}  Socket errors: connect 0, read 1, write 0, timeout 0\n");
        assert!(load(&said).is_err());
    }
}
