//! Another process: this binary, run again, which obeys what it is told over its standard input, a line a
//! command, and answers with a line each.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Outcome;

pub const FLAG: &str = "--child";

pub struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// One that reads and invalidates; comes back when it is ready.
    pub fn start(url: &str) -> Outcome<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([FLAG, url]);
        Process::of(command)
    }

    /// Whatever runs [`obey`]; comes back when it is ready.
    pub fn of(mut command: Command) -> Outcome<Process> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().ok_or("no standard input")?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let mut process = Process { child, stdin, stdout };
        match process.answer()?.as_str() {
            "ready" => Ok(process),
            other => Err(format!("the other process says {other}").into()),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn say(&mut self, command: &str) -> Outcome<()> {
        writeln!(self.stdin, "{command}")?;
        Ok(self.stdin.flush()?)
    }

    pub fn answer(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            return Err("the other process ended without an answer".into());
        }
        let line = line.trim_end();
        match line.strip_prefix("error ") {
            Some(why) => Err(why.into()),
            None => Ok(line.to_owned()),
        }
    }

    pub fn ask(&mut self, command: &str) -> Outcome<String> {
        self.say(command)?;
        self.answer()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the other process does: `run` for each line, until its owner is gone.
pub fn obey(mut run: impl FnMut(&[&str]) -> Outcome<String>) -> Outcome<()> {
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match run(&words) {
            Ok(answer) => println!("{answer}"),
            Err(why) => println!("error {why}"),
        }
    }
    Ok(())
}
