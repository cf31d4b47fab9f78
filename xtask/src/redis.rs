//! A Redis to test against: the programs, not a server. Tests start their own on free ports.

use std::path::Path;

use crate::tools::{command, output, run};

const OLDEST: (u32, u32) = (7, 0);

const HOW: &str = "\
install Redis 7.0 or newer, then try again:
  Debian, Ubuntu   sudo apt-get update && sudo apt-get install -y redis-server
  Fedora           sudo dnf install redis
  macOS            brew install redis
  anything else    redis-server and redis-cli, built from source, on PATH";

/// Why there is nothing to test against.
enum Lack {
    Missing(&'static str),
    Old(String),
}

/// Makes sure of `redis-server` and `redis-cli`, installing them where that needs no question.
pub(crate) fn ensure() -> Result<(), String> {
    let lack = match find() {
        Ok(version) => {
            println!("test: redis-server {version}");
            return Ok(());
        }
        Err(lack) => lack,
    };
    // A package that is there and too old would only be installed again.
    let Some(before) = by_apt().filter(|_| matches!(lack, Lack::Missing(_))) else {
        return Err(told(&lack));
    };
    println!("test: {}, so apt-get installs it", what(&lack));
    // The package starts a server on its usual port; no test looks at it.
    let apt = |words: &str| {
        let words = format!("{before} env DEBIAN_FRONTEND=noninteractive apt-get {words}");
        let (program, words) = words.trim().split_once(' ').unwrap_or((&words, ""));
        run(command(program, words))
    };
    let installed = apt("update -q").and_then(|()| apt("install -q -y redis-server"));
    installed.map_err(|message| format!("{message}\n{HOW}"))?;
    match find() {
        Ok(version) => println!("test: redis-server {version}"),
        Err(lack) => return Err(format!("after apt-get: {}", told(&lack))),
    }
    Ok(())
}

fn find() -> Result<String, Lack> {
    let server = output(command("redis-server", "--version"));
    let server = server.ok_or(Lack::Missing("redis-server"))?;
    output(command("redis-cli", "--version")).ok_or(Lack::Missing("redis-cli"))?;
    match version(&server) {
        Some((shown, number)) if number >= OLDEST => Ok(shown.into()),
        Some((shown, _)) => Err(Lack::Old(shown.into())),
        None => Err(Lack::Old(server.trim().into())),
    }
}

/// From `Redis server v=7.0.15 sha=..`, as it stands there and as numbers.
fn version(text: &str) -> Option<(&str, (u32, u32))> {
    let shown = text.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    let mut parts = shown.split('.').map(str::parse);
    Some((shown, (parts.next()?.ok()?, parts.next()?.ok()?)))
}

/// What has to stand before `apt-get`: nothing for root, sudo if it asks for no password.
fn by_apt() -> Option<&'static str> {
    if !Path::new("/etc/debian_version").exists() {
        return None;
    }
    if output(command("id", "-u")).is_some_and(|id| id.trim() == "0") {
        return Some("");
    }
    output(command("sudo", "-n true")).map(|_| "sudo -n")
}

fn what(lack: &Lack) -> String {
    match lack {
        Lack::Missing(program) => format!("cannot run {program}: it is not on PATH"),
        Lack::Old(version) => format!("cannot test with redis-server {version}: too old"),
    }
}

fn told(lack: &Lack) -> String {
    format!("{}\n{HOW}", what(lack))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_the_server_prints_it() {
        let told = version("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64");
        assert_eq!(told, Some(("7.0.15", (7, 0))));
        assert_eq!(
            version("Valkey server v=8.1.0 bits=64").map(|(_, number)| number),
            Some((8, 1))
        );
        assert_eq!(version("something else"), None);
    }

    #[test]
    fn what_is_missing_is_named_with_how_to_get_it() {
        let message = told(&Lack::Missing("redis-cli"));
        assert!(
            message.contains("redis-cli") && message.contains("brew install redis"),
            "{message}"
        );
        let message = told(&Lack::Old("6.2.7".into()));
        assert!(message.contains("6.2.7") && message.contains("apt-get"), "{message}");
    }
}
