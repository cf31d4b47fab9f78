//! What this process has learned of `No-Vary-Search`: which of a path's queries mean the same.
//!
//! Learned from the responses that pass, and used from the next request on. A page that was stored under
//! a query that was cut down says itself by which rules (they are a part of its name), so a process that
//! knows none, or others, asks its handler once more and serves nothing wrong. Bounded; what is
//! forgotten is learned again.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::no_vary_search::NoVarySearch;
use crate::request_key::RequestKey;

const PATHS_MAX: usize = 4096;
/// Of paths and rules that are longer nothing is learned.
const PATH_BYTES_MAX: usize = 1 << 10;
const RULES_BYTES_MAX: usize = 1 << 10;

type HostAndPath = (Box<str>, Box<str>);

#[derive(Default)]
pub(crate) struct KnownQueries {
    /// Locked for a look-up.
    by_path: Mutex<HashMap<HostAndPath, NoVarySearch>>,
}

impl KnownQueries {
    /// The name of the page that all equivalent queries share, where some are.
    pub(crate) fn named(&self, key: RequestKey) -> RequestKey {
        let by_path = self.by_path.lock();
        if by_path.is_empty() {
            return key;
        }
        match by_path.get(&path_of(&key)) {
            // A URL that was rewritten on the way has the query of another.
            Some(known) if !key.is_rewritten() => {
                let canonical = known.canonical(key.query());
                drop(by_path);
                key.without_variance(canonical)
            }
            _ => key,
        }
    }

    /// A response to `asked` says this of queries. True if `asked` was named by just that.
    pub(crate) fn learn(&self, asked: &RequestKey, said: Option<&NoVarySearch>) -> bool {
        let path = path_of(asked);
        if path.0.len() + path.1.len() <= PATH_BYTES_MAX {
            let mut by_path = self.by_path.lock();
            match said {
                None => drop(by_path.remove(&path)),
                Some(said) if by_path.get(&path) == Some(said) => {}
                Some(said) if said.len() > RULES_BYTES_MAX => drop(by_path.remove(&path)),
                Some(said) => {
                    if by_path.len() >= PATHS_MAX
                        && let Some(one) = by_path.keys().next().cloned()
                    {
                        by_path.remove(&one);
                    }
                    by_path.insert(path, said.clone());
                }
            }
        }
        match (asked.no_vary(), said) {
            (None, None) => true,
            (Some(name), Some(said)) => said.names(name),
            // The next request is named by it.
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

fn path_of(key: &RequestKey) -> HostAndPath {
    (key.host().into(), key.path().into())
}
