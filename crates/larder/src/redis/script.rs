//! A Lua file, sent by its digest.

use std::sync::OnceLock;

use ::redis::{Cmd, cmd};

/// One script; the server keeps it under its digest once it has been loaded.
pub(crate) struct Script {
    text: &'static str,
    digest: OnceLock<String>,
}

impl Script {
    pub(crate) const fn new(text: &'static str) -> Script {
        Script { text, digest: OnceLock::new() }
    }

    /// The call; more keys and arguments may be added with `arg`, keys first.
    pub(crate) fn call(&self, keys: &[&[u8]]) -> Cmd {
        let digest =
            self.digest.get_or_init(|| ::redis::Script::new(self.text).get_hash().to_owned());
        let mut call = cmd("EVALSHA");
        call.arg(digest).arg(keys.len()).arg(keys);
        call
    }

    /// Gives the server the text.
    pub(crate) fn load(&self) -> Cmd {
        let mut load = cmd("SCRIPT");
        load.arg("LOAD").arg(self.text);
        load
    }
}
