//! The relative links of our Markdown pages lead somewhere.
//!
//! Addresses of other sites are left alone, and so are paths of Rust items, which rustdoc checks
//! where a page is taken into the API docs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::tools::root;

pub(crate) fn check() -> Result<(), String> {
    let root = root();
    let mut pages = Vec::new();
    collect(&root, &mut pages)?;
    let mut broken = Vec::new();
    let mut links = 0;
    for page in &pages {
        let text = fs::read_to_string(page).map_err(|cause| cannot_read(page, &cause))?;
        let shown = page.strip_prefix(&root).unwrap_or(page).display();
        for (line, target) in relative_links(&text) {
            links += 1;
            if !page.with_file_name("").join(&target).exists() {
                broken.push(format!("{shown}:{line}: {target} does not exist"));
            }
        }
    }
    println!("{links} relative links in {} pages", pages.len());
    if broken.is_empty() { Ok(()) } else { Err(format!("\n{}", broken.join("\n"))) }
}

/// Every page under `folder`, except in what is built or hidden.
fn collect(folder: &Path, pages: &mut Vec<PathBuf>) -> Result<(), String> {
    for child in fs::read_dir(folder).map_err(|cause| cannot_read(folder, &cause))? {
        let path = child.map_err(|cause| cannot_read(folder, &cause))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, pages)?;
        } else if name.ends_with(".md") {
            pages.push(path);
        }
    }
    Ok(())
}

fn cannot_read(path: &Path, cause: &std::io::Error) -> String {
    format!("cannot read {}: {cause}", path.display())
}

/// The targets of `[text](target)` and `[name]: target` that name a file, with their lines.
fn relative_links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // Every second part between backticks is code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let named = prose.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        for target in inline.chain(named.map(|(_, target)| target)) {
            // A title may stand behind the target, a heading may be named in it.
            let target = target.split([' ', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains(':') {
                found.push((index + 1, target.into()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::relative_links;

    #[test]
    fn only_links_that_name_a_file_are_followed() {
        let text = "# A page\nSee [one](docs/one.md) and [two](two.md#part \"title\"), [three][3].\n\
                    `[code](no.md)` [`name`](named.md) [up](#a-page) [site](https://example.org/a.md)\n\
                    ```text\n[fenced](no.md)\n```\n[item](crate::near) [3]\n[3]: three.md";
        let found = relative_links(text);
        let found: Vec<_> = found.iter().map(|(line, target)| (*line, target.as_str())).collect();
        assert_eq!(found, [(2, "docs/one.md"), (2, "two.md"), (3, "named.md"), (8, "three.md")]);
    }
}
