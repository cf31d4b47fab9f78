//! FerretDB, built from our own few lines of Go.
//!
//! The program is kept under a name that follows from its sources, so a change builds it anew, and
//! otherwise it is there already. Nothing of it depends on a C compiler.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use super::kept;
use crate::tools::{command, output, root};

const OLDEST_GO: (u32, u32) = (1, 22);
const SOURCES: [&str; 3] = ["go.mod", "go.sum", "main.go"];

/// The program, built if it has to be; None without Go.
pub(super) fn program() -> Result<Option<PathBuf>, String> {
    let folder = root().join("xtask/ferretdb");
    let program = kept("ferretdb")?.join(format!(
        "ferretdb-{:016x}{}",
        fingerprint()?,
        env::consts::EXE_SUFFIX
    ));
    if program.is_file() {
        return Ok(Some(program));
    }
    let Some(told) = output(command("go", "version")) else { return Ok(None) };
    if version(&told).is_none_or(|version| version < OLDEST_GO) {
        return Err(format!("{} is too old to build FerretDB: 1.22 or newer", told.trim()));
    }
    println!("test: building FerretDB with Go: minutes the first time ...");
    let began = Instant::now();
    // Built under another name first: a build that is broken off leaves nothing that looks finished.
    let half = program.with_extension(format!("half-{}", std::process::id()));
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"]).arg(&half).arg(".");
    go.current_dir(folder).env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=readonly");
    // What it downloads is no news; what it says when it fails is.
    match go.output() {
        Ok(built) if built.status.success() => {}
        Ok(built) => {
            let said = String::from_utf8_lossy(&built.stderr);
            let last = said.trim().lines().last().unwrap_or_default();
            return Err(format!("FerretDB cannot be built: `go build`: {last}"));
        }
        Err(why) => return Err(format!("cannot start `go build`: {why}")),
    }
    fs::rename(&half, &program).map_err(|why| format!("cannot keep FerretDB: {why}"))?;
    println!("test: built FerretDB in {:.0} s", began.elapsed().as_secs_f32());
    Ok(Some(program))
}

/// FNV-1a over the sources.
fn fingerprint() -> Result<u64, String> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for name in SOURCES {
        let source = fs::read(root().join("xtask/ferretdb").join(name));
        let source = source.map_err(|why| format!("cannot read xtask/ferretdb/{name}: {why}"))?;
        for byte in source {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    Ok(hash)
}

/// From `go version go1.26.8 linux/amd64`.
fn version(told: &str) -> Option<(u32, u32)> {
    let shown = told.split_whitespace().find_map(|word| word.strip_prefix("go1."))?;
    let minor = shown.split(|letter: char| !letter.is_ascii_digit()).next()?;
    Some((1, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_go_prints_it() {
        assert_eq!(version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(version("go version go1.22rc1 darwin/arm64"), Some((1, 22)));
        assert_eq!(version("gccgo"), None);
    }

    #[test]
    fn the_sources_have_a_fingerprint() {
        assert_eq!(fingerprint(), fingerprint());
        assert_ne!(fingerprint(), Ok(0xcbf2_9ce4_8422_2325));
    }
}
