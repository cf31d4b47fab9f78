//! Folders for a server's data, under the target folder.
//!
//! Each is locked by the process that made it, and the lock goes with that process, however it ends. So
//! what a killed one left behind can be told from what is in use, and whoever comes next sweeps it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use super::kept;

/// A folder of our own, removed when dropped.
pub(super) struct Data {
    folder: PathBuf,
    /// Where the server's files go: a new, empty folder.
    pub(super) path: PathBuf,
    _claim: File,
}

impl Data {
    pub(super) fn new() -> Result<Data, String> {
        let made = Data::within(&kept("mongodb-data")?);
        made.map_err(|why| format!("cannot make a folder for data: {why}"))
    }

    fn within(all: &Path) -> io::Result<Data> {
        // Held to the end: nobody may sweep a folder between its making and its lock.
        let door = File::create(all.join("lock"))?;
        door.lock()?;
        sweep(all)?;
        let mut nth = 0;
        let folder = loop {
            let folder = all.join(format!("{}-{nth}", process::id()));
            if !folder.exists() {
                break folder;
            }
            nth += 1;
        };
        let path = folder.join("data");
        fs::create_dir_all(&path)?;
        let claim = File::create(in_use(&folder))?;
        claim.lock()?;
        Ok(Data { folder, path, _claim: claim })
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn in_use(folder: &Path) -> PathBuf {
    folder.join("in-use")
}

fn sweep(all: &Path) -> io::Result<()> {
    for entry in fs::read_dir(all)? {
        let folder = entry?.path();
        // Without a file to lock it is half made or half removed, by a process that is gone.
        let left = match File::options().write(true).open(in_use(&folder)) {
            Ok(claim) => claim.try_lock().is_ok(),
            Err(_) => folder.is_dir(),
        };
        if left {
            // What cannot be removed now is tried again by the next.
            let _ = fs::remove_dir_all(&folder);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    #[test]
    fn what_is_in_use_stays_and_what_was_left_behind_is_swept() {
        let all = env::temp_dir().join(format!("larder-data-test-{}", process::id()));
        fs::create_dir_all(&all).unwrap();
        let used = Data::within(&all).unwrap();
        // As two killed processes leave them, one of them early.
        let left = [all.join("1-0"), all.join("2-0")];
        left.iter().for_each(|folder| fs::create_dir_all(folder.join("data")).unwrap());
        File::create(in_use(&left[0])).unwrap();

        let next = Data::within(&all).unwrap();
        assert!(used.path.is_dir() && next.path.is_dir() && used.path != next.path);
        assert!(left.iter().all(|folder| !folder.exists()));
        let gone = next.folder.clone();
        drop(next);
        assert!(!gone.exists() && used.path.is_dir());
        drop(used);
        fs::remove_dir_all(&all).unwrap();
    }
}
