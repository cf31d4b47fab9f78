//! What the figures belong to: the machine, the versions, the day.

use std::fmt::Write;
use std::process::Command;

/// Those whose versions the report gives: what is measured, and what it stands on.
const CRATES: &[&str] = &[
    "quick_cache",
    "foyer",
    "cached",
    "moka",
    "cachet",
    "hitbox",
    "redis",
    "tokio",
    "axum",
    "hyper",
    "rmp-serde",
    "serde_json",
    "postcard",
];

/// The lock that this was built with.
const LOCK: &str = include_str!("../Cargo.lock");

/// As a list.
pub fn describe() -> String {
    let cpu = read("/proc/cpuinfo");
    let memory = read("/proc/meminfo");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field(&memory, "MemTotal").trim_end_matches(" kB").parse::<f64>();
    let memory = memory.map_or("?".to_owned(), |kib| format!("{:.0} GiB", kib / (1 << 20) as f64));
    let mut text = String::new();
    let mut line = |name: &str, what: &str| {
        let _ = writeln!(text, "- {name}: {what}");
    };
    line("day", &said("date", &["-u", "+%F"]));
    line("processor", &format!("{}, {cores} cores, {memory}", field(&cpu, "model name")));
    line("system", &said("uname", &["-srm"]));
    line("compiler", &said("rustc", &["-V"]));
    let server = said("redis-server", &["--version"]);
    let server = server.split_whitespace().find_map(|word| word.strip_prefix("v="));
    line("redis-server", server.unwrap_or("?"));
    line("load when it began", read("/proc/loadavg").split(' ').next().unwrap_or("?"));
    let versions = CRATES.iter().map(|name| format!("{name} {}", version(LOCK, name)));
    line("versions", &versions.collect::<Vec<_>>().join(", "));
    text
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or("?", |rest| rest.trim_start_matches([' ', '\t', ':']))
}

fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| "?".to_owned())
}

/// Of a package, as a lock gives it; all of them, where there are several.
fn version(lock: &str, name: &str) -> String {
    let mut lines = lock.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line == format!("name = \"{name}\"") {
            let version = lines.next().and_then(|line| line.strip_prefix("version = \""));
            found.extend(version.map(|version| version.trim_end_matches('"')));
        }
    }
    if found.is_empty() { "?".to_owned() } else { found.join(" and ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_a_lock() {
        let lock = "[[package]]\nname = \"moka\"\nversion = \"0.12.16\"\n\n[[package]]\nname = \"moka-x\"\nversion = \"9.0.0\"\n";
        assert_eq!(version(lock, "moka"), "0.12.16");
        assert_eq!(version(lock, "other"), "?");
        assert!(CRATES.iter().all(|name| version(LOCK, name) != "?"));
    }
}
