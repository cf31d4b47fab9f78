//! Writes down which source the scenes are played over: larder's own, and one copy for each known fault.
//!
//! A copy is the file as it stands, with one place made wrong, and the scenes appended as a child module, so
//! that they see what is private there.

mod wrong;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use wrong::{WRONG, Wrong};

/// The files that are copied, and the scenes that come with each.
const ROOMS: [(&str, &[&str]); 2] =
    [("near/mod.rs", &["near", "generations"]), ("coordination/flight.rs", &["flights"])];
/// Beside near's door.
const NEAR: [&str; 5] = ["absent", "bypass", "coherence", "generations", "kept"];

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let src = here.join("../crates/larder/src").canonicalize()?;
    let house = House { here, src, out };
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed={}", house.src.display());
    let mut rooms = house.copy("sound", "Larder as it stands.", None)?;
    let mut names = BTreeSet::new();
    for wrong in WRONG {
        assert!(names.insert(wrong.name), "two are called {}", wrong.name);
        rooms += &house.copy(wrong.name, wrong.why, Some(wrong))?;
    }
    fs::write(house.out.join("rooms.rs"), rooms)
}

struct House {
    here: PathBuf,
    src: PathBuf,
    out: PathBuf,
}

impl House {
    /// The text of a module with larder's rooms, wrong in the one place.
    fn copy(&self, name: &str, why: &str, wrong: Option<&Wrong>) -> io::Result<String> {
        let mut text = format!("/// {why}\n#[allow(unused)]\npub mod {name} {{\n");
        let mut is_made = false;
        for (door, scenes) in ROOMS {
            let room = if door.starts_with("near/") { "near" } else { "flight" };
            let files = NEAR.map(|part| format!("near/{part}.rs"));
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            let files = if room == "near" { &files[..] } else { &[] };
            if wrong.is_some_and(|wrong| wrong.file != door && !files.contains(&wrong.file)) {
                continue; // it would be the same once more
            }
            for file in files.iter().copied().chain([door]) {
                let mut code = fs::read_to_string(self.src.join(file))?;
                if let Some(wrong) = wrong.filter(|wrong| wrong.file == file) {
                    code = made_wrong(&code, wrong);
                    is_made = true;
                }
                if file == door {
                    for scene in scenes {
                        let path = self.here.join(format!("src/scenes/{scene}.rs"));
                        code += &format!("\n#[path = {path:?}]\npub mod {scene}_scenes;\n");
                    }
                }
                write(&self.out.join(name).join(file), &code)?;
            }
            let path = self.out.join(name).join(door);
            text += &format!("    #[path = {path:?}]\n    pub mod {room};\n");
        }
        assert!(is_made || wrong.is_none(), "{name}: no such file is copied");
        Ok(text + "}\n")
    }
}

/// Larder has moved on when this fails: look whether the fault can still be made, and say how.
fn made_wrong(code: &str, wrong: &Wrong) -> String {
    let Wrong { name, file, right, instead, .. } = wrong;
    let found = code.matches(right).count();
    assert_eq!(found, 1, "build/wrong.rs, {name}: {file} has this {found} times:\n{right}");
    code.replacen(right, instead, 1)
}

fn write(path: &Path, code: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, code)
}
