//! The floors of the house: who may name whom, and what may be named in one place only.
//!
//! Reads `src/` as text. Comments, literals and test code are blanked first; what is left is searched
//! for paths (`a::b`, grouped imports opened up), and each path is held against the tables below.
//! Every check is shown a planted fault of its own, or nobody would know that it can fail.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its scene has failed")]

use std::fs;
use std::path::Path;

/// From the roof to the ground. A room names rooms on lower floors, and itself: nothing looks up, and
/// neighbours on one floor do not meet. Between the handle and the typed face the one arrow runs
/// `cache` → `larder`: a view holds the handle, and the handle knows no types.
const FLOORS: &[&[&str]] = &[
    &["lib"],
    &["cache"],
    &["larder"],
    &["strategy"],
    &["invalidation"],
    &["coordination"],
    &["near", "far", "structures"],
    &["redis"],
    &["resilience"],
    &["entry", "source"],
    &["observe"],
    &["policy", "pulse"],
    &["key"],
    &["clock"],
    &["error", "sync"],
];

/// Ways down that are walled up all the same: a room, and the path it must not name.
const WALLS: &[(&str, &str)] = &[("cache", "structures"), ("redis", "entry::Entry")];

const LINES_MAX: usize = 700;

/// Words that are at home in some files only. `rand::` asks for something behind it, so that a
/// variable of that name is none of our business; a macro is written with its `!`.
struct Rule {
    words: &'static [&'static str],
    may: fn(&str) -> bool,
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        words: &["Instant::now", "SystemTime::now", "tokio::time", "rustix::time", "thread::sleep"],
        may: |file| file == "clock.rs",
        why: "time comes from the clock",
    },
    Rule {
        words: &["getrandom", "rand::", "fastrand", "RandomState"],
        may: |file| file == "clock.rs",
        why: "chance comes from the clock's seed",
    },
    Rule {
        words: &["println!", "print!", "eprintln!", "eprint!", "dbg!", "std::env"],
        may: |_| false,
        why: "the library never prints and never reads the environment",
    },
    Rule {
        words: &["await", "async"],
        may: |file| !["near", "key", "policy", "entry", "error"].contains(&room_of(file)),
        why: "this room never awaits",
    },
];

#[test]
fn the_house_stands_as_drawn() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&src, "", &mut files);
    assert!(files.len() > 10, "only {} files were found under {}", files.len(), src.display());
    let found: Vec<String> = files.iter().flat_map(|(file, text)| faults(file, text)).collect();
    assert!(found.is_empty(), "{} faults in the house:\n{}", found.len(), found.join("\n"));
}

/// Every `.rs` file under `folder` with its text, named by its path from `src/`.
fn walk(folder: &Path, name: &str, files: &mut Vec<(String, String)>) {
    for child in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let file = format!("{name}{}", child.file_name().to_string_lossy());
        if child.path().is_dir() {
            walk(&child.path(), &format!("{file}/"), files);
        } else if file.ends_with(".rs") {
            files.push((file, fs::read_to_string(child.path()).unwrap()));
        }
    }
}

/// All that is wrong with one file.
fn faults(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        found.push(format!("{file}: {lines} lines, look for the second subject"));
    }
    if floor_of(room_of(file)).is_none() {
        found.push(format!("{file}: this room stands on no floor, say where in FLOORS"));
    }
    if file == "tests.rs" || file.ends_with("/tests.rs") {
        return found;
    }
    let code = bare(text);
    let own_redis = code.iter().collect::<String>().contains("mod redis;");
    for (at, path) in paths(&code) {
        let arrow = arrow_fault(file, &path);
        let word = word_fault(file, &path);
        let client = client_fault(file, &path, own_redis);
        for fault in [arrow, word, client].into_iter().flatten() {
            let line = 1 + code[..at].iter().filter(|c| **c == '\n').count();
            found.push(format!("{file}:{line}: {}: {fault}", path.join("::")));
        }
    }
    found
}

fn room_of(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

fn arrow_fault(file: &str, path: &[String]) -> Option<String> {
    let path = from_the_root(file, path)?;
    let (from, to) = (room_of(file), path.first()?.as_str());
    if from == to || from == "lib" {
        return None;
    }
    let Some(lower) = floor_of(to) else {
        return Some("comes through the front door, name the module that owns it".into());
    };
    if floor_of(from).is_some_and(|upper| lower <= upper) {
        return Some(format!("{from} does not stand above {to}"));
    }
    let named = format!("{}::", path.join("::"));
    let wall =
        |(room, way): &&(&str, &str)| *room == from && named.starts_with(&format!("{way}::"));
    WALLS.iter().find(wall).map(|(room, way)| format!("{room} never names {way}"))
}

/// `path` counted from the crate's root, if that is what it names.
fn from_the_root(file: &str, path: &[String]) -> Option<Vec<String>> {
    let mut module: Vec<String> = file.trim_end_matches(".rs").split('/').map(Into::into).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    let supers = path.iter().take_while(|part| *part == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "super" => {
            module.truncate(module.len().saturating_sub(supers));
            module.extend_from_slice(&path[supers..]);
            Some(module)
        }
        _ => None,
    }
}

fn word_fault(file: &str, path: &[String]) -> Option<String> {
    let says = |word: &&str| -> bool {
        let parts: Vec<&str> = word.split("::").collect();
        let is = |(part, said): (&&str, &String)| part.is_empty() || part == said;
        path.windows(parts.len()).any(|said| parts.iter().zip(said).all(is))
    };
    let rule = RULES.iter().find(|rule| !(rule.may)(file) && rule.words.iter().any(says))?;
    Some(rule.why.into())
}

/// The Redis client is named in two folders; elsewhere `redis::` may only be a module of the file's own.
fn client_fault(file: &str, path: &[String], own_redis: bool) -> Option<String> {
    let at_home = file.starts_with("redis/") || file.starts_with("far/redis/");
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let named = matches!(path[..], ["", "redis", ..])
        || (path.len() > 1 && path[0] == "redis" && !own_redis);
    (named && !at_home).then(|| "only redis/ and far/redis/ name the client".into())
}

/// `text` with comments, literals and `#[cfg(test)]` items turned to blanks, every line in its place.
fn bare(text: &str) -> Vec<char> {
    let mut code: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < code.len() {
        let end = end_of_literal(&code[at..]).map_or(at, |length| (at + length).min(code.len()));
        blank(&mut code[at..end]);
        at = end.max(at + 1);
    }
    let mark: Vec<char> = "#[cfg(test)]".chars().collect();
    while let Some(at) = code.windows(mark.len()).position(|window| window == mark) {
        let end = at + end_of_item(&code[at..]);
        blank(&mut code[at..end]);
    }
    code
}

fn blank(code: &mut [char]) {
    code.iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
}

/// The length of the comment, string or character that `code` begins with, if it begins with one.
fn end_of_literal(code: &[char]) -> Option<usize> {
    let hashes = code.iter().skip(1).take_while(|c| **c == '#').count();
    match code {
        ['/', '/', ..] => code.iter().position(|c| *c == '\n').or(Some(code.len())),
        ['/', '*', ..] => {
            let mut depth = 0;
            for at in 0..code.len() {
                match code[at..] {
                    ['/', '*', ..] => depth += 1,
                    ['*', '/', ..] if depth == 1 => return Some(at + 2),
                    ['*', '/', ..] => depth -= 1,
                    _ => {}
                }
            }
            Some(code.len())
        }
        ['r', ..] if code.get(hashes + 1) == Some(&'"') => {
            let close: Vec<char> = format!("\"{}", "#".repeat(hashes)).chars().collect();
            let inner = &code[hashes + 2..];
            let length = inner.windows(close.len()).position(|window| window == close)?;
            Some(hashes + 2 + length + close.len())
        }
        ['"', ..] => end_of_quoted(code, '"'),
        ['\'', '\\', ..] => end_of_quoted(code, '\''),
        ['\'', _, '\'', ..] => Some(3), // anything else behind a `'` is a lifetime
        _ => None,
    }
}

fn end_of_quoted(code: &[char], quote: char) -> Option<usize> {
    let mut at = 1;
    while at < code.len() && code[at] != quote {
        at += if code[at] == '\\' { 2 } else { 1 };
    }
    Some(at + 1)
}

/// The length of the item `code` begins with, its attributes included.
fn end_of_item(code: &[char]) -> usize {
    let mut depth = 0;
    for (at, c) in code.iter().enumerate() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        // Below zero: a field, and the struct around it ends here.
        if depth < 0 || (depth == 0 && matches!(c, ';' | '}')) {
            return at + 1;
        }
    }
    code.len()
}

/// Every path in `code` and where it begins: single words too, `::a` with an empty first part.
fn paths(code: &[char]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        if !is_word(code[at]) {
            at += 1;
            continue;
        }
        let before = &code[..at];
        let global = before.ends_with(&[':', ':'])
            && !before.iter().rev().nth(2).is_some_and(|c| is_word(*c) || *c == '>');
        let path = if global { vec![String::new()] } else { Vec::new() };
        at = read_path(code, at, path, &mut found);
    }
    found
}

/// Reads on from `at`, where `path` has led so far, and returns where the path ends.
fn read_path(
    code: &[char],
    at: usize,
    mut path: Vec<String>,
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let skip = |at: usize| at + code[at..].iter().take_while(|c| c.is_whitespace()).count();
    let word = |at: usize| code[at..].iter().take_while(|c| is_word(**c)).collect::<String>();
    let begin = skip(at);
    if code.get(begin) == Some(&'{') && !path.is_empty() {
        let mut at = skip(begin + 1);
        while at < code.len() && code[at] != '}' {
            at = skip(read_path(code, at, path.clone(), found).max(at + 1));
            if word(at) == "as" {
                at = skip(at + 2); // the other name
                at = skip(at + word(at).chars().count());
            }
        }
        return at + 1;
    }
    let star = code.get(begin) == Some(&'*') && !path.is_empty();
    let mut part = if star { "*".into() } else { word(begin) };
    let end = begin + part.chars().count();
    match code.get(end..) {
        _ if part.is_empty() => return end,
        Some([':', ':', next, ..]) if *next != '<' => {
            path.push(part);
            return read_path(code, end + 2, path, found);
        }
        Some(['!', next, ..]) if *next != '=' => part.push('!'),
        _ => {}
    }
    path.push(part);
    found.push((begin, path));
    end
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

mod planted {
    use super::faults;

    /// The lines on which `text`, standing in `file`, is found at fault.
    fn lines(file: &str, text: &str) -> Vec<usize> {
        let line = |fault: String| fault.split(':').nth(1).unwrap().parse().unwrap();
        faults(file, text).into_iter().map(line).collect()
    }

    #[test]
    fn a_climbing_import_is_found() {
        assert_eq!(lines("near/mod.rs", "use crate::key::Key;\nuse crate::cache::Cache;"), [2]);
        assert_eq!(lines("near/mod.rs", "let one = <T as crate::strategy::Way>::one();"), [1]);
        assert_eq!(lines("larder.rs", "fn open(cache: &crate::cache::Cache) {}"), [1]);
        assert_eq!(lines("error.rs", "use crate::key::Key;"), [1]);
        assert_eq!(lines("cache/mod.rs", "use crate::larder::Larder;"), [0; 0]);
        assert_eq!(lines("lib.rs", "pub use crate::cache::Cache;"), [0; 0]);
    }

    #[test]
    fn a_climb_is_found_inside_a_grouped_import() {
        let text =
            "use crate::{\n    entry::{Entry, Held as Kept},\n    strategy::{self, Tiers},\n};";
        assert_eq!(lines("far/mod.rs", text), [3, 3]);
    }

    #[test]
    fn a_climb_is_found_behind_super() {
        assert_eq!(lines("near/weight.rs", "use super::Near;\nuse super::super::far::Far;"), [2]);
        assert_eq!(lines("near/mod.rs", "use super::far::Far;\npub(super) fn ours() {}"), [1]);
    }

    #[test]
    fn rooms_that_never_meet_are_found_together() {
        assert_eq!(lines("near/mod.rs", "use crate::far::Far;"), [1]);
        assert_eq!(lines("far/mod.rs", "use crate::near::Near;"), [1]);
        assert_eq!(lines("cache/mod.rs", "use crate::structures::Feed;"), [1]);
        assert_eq!(lines("structures/feed.rs", "use crate::cache::Cache;"), [1]);
        assert_eq!(lines("redis/mod.rs", "use crate::entry::{Ended, Entry};"), [1]);
        assert_eq!(lines("far/redis/mod.rs", "use crate::redis::Redis;"), [0; 0]);
    }

    #[test]
    fn a_name_through_the_front_door_and_a_room_on_no_floor_are_found() {
        assert_eq!(lines("near/mod.rs", "use crate::Larder;\nuse crate::*;"), [1, 2]);
        assert_eq!(faults("util.rs", "").len(), 1);
    }

    #[test]
    fn time_and_chance_outside_the_clock_are_found() {
        let text = "let now = Instant::now();\nuse tokio::{sync, time};\nlet seed = rand::random();\n\
                    use std::collections::hash_map::RandomState;\ntokio::time::sleep(wait);";
        assert_eq!(lines("observe/mod.rs", text), [1, 2, 3, 4, 5]);
        assert_eq!(lines("clock.rs", text), [0; 0]);
        assert_eq!(
            lines("observe/mod.rs", "let rand = operand::of(tokio::timer, instant.now());"),
            [0; 0]
        );
    }

    #[test]
    fn printing_reading_the_environment_and_awaiting_in_near_are_found() {
        let text = "println!();\nuse std::{env, fs};\nif print != 1 { far.get().await }";
        assert_eq!(lines("far/mod.rs", text), [1, 2]);
        assert_eq!(lines("near/mod.rs", text), [1, 2, 3]);
    }

    #[test]
    fn the_client_outside_its_folders_is_found() {
        assert_eq!(lines("far/mod.rs", "use ::redis::Value;\nfn f(v: redis::Value) {}"), [1, 2]);
        assert_eq!(
            lines("far/mod.rs", "mod redis;\npub use redis::RedisFar;\nuse ::redis::Cmd;"),
            [3]
        );
        assert_eq!(lines("redis/connect.rs", "use ::redis::Client;"), [0; 0]);
    }

    #[test]
    fn comments_literals_and_test_code_are_not_held_against_a_file() {
        let text = r##"//! See [`cache`](crate::cache).
            /* crate::cache /* nested */ crate::cache */
            const TEXT: &str = "\"crate::cache"; const RAW: &str = r#""crate::cache""#;
            fn one<'a>(quote: char) -> bool { quote == '"' || quote == '\'' }
            #[cfg(test)]
            mod tests { use crate::cache::Cache; mod deep {} fn now() { Instant::now(); } }
            #[cfg(test)]
            use crate::{cache::Cache, larder};
            use crate::strategy;"##;
        assert_eq!(lines("near/mod.rs", text), [9]);
        assert_eq!(lines("near/tests.rs", "use crate::cache::Cache;"), [0; 0]);
    }

    #[test]
    fn a_file_one_scrolls_through_for_minutes_is_found() {
        assert_eq!(faults("near/mod.rs", &"\n".repeat(700)).len(), 0);
        assert_eq!(faults("near/tests.rs", &"\n".repeat(701)).len(), 1);
    }
}

/// A page that is not listed in a crate's `lib.rs` has examples that nobody compiles.
#[test]
fn every_page_with_examples_is_run_as_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = ["src/lib.rs", "../larder-http/src/lib.rs"];
    let listed = listed.map(|door| fs::read_to_string(root.join(door)).unwrap()).concat();
    let mut pages = vec![root.join("../../README.md")];
    for folder in ["../../docs", "../../docs/concepts"] {
        pages.extend(fs::read_dir(root.join(folder)).unwrap().map(|page| page.unwrap().path()));
    }
    pages.retain(|page| fs::read_to_string(page).is_ok_and(|text| text.contains("```rust")));
    assert!(pages.len() > 8, "the pages are elsewhere: {pages:?}");
    for page in pages {
        let name = page.strip_prefix(root.join("../..")).unwrap();
        assert!(listed.contains(&format!("/{}\"", name.display())), "{} is not", name.display());
    }
}
