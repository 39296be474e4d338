//! The log's folder: locked by one process, and every file in it there in full or not at all.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind};

/// The folder of a log. The lock lasts as long as this value, or the process.
pub(super) struct Folder {
    path: PathBuf,
    /// Open from the start, so that syncing it needs no descriptor when there is none left.
    handle: File,
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be, and locks it.
    ///
    /// # Errors
    /// `Storage`: it cannot be made or opened, or another process has it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |error| storage(path, error);
        let holders = holders(path);
        fs::create_dir_all(path).map_err(failed)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join("lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::new(
                ErrorKind::Storage,
                format!("{}: another process uses this write-behind log: give each its own folder", path.display()),
            ),
            TryLockError::Error(error) => storage(path, error),
        })?;
        let folder = Self { path: path.to_owned(), handle: File::open(path).map_err(failed)?, _lock: lock };
        for holder in &holders {
            File::open(holder).and_then(|holder| holder.sync_all()).map_err(|error| storage(holder, error))?;
        }
        for leftover in folder.names()?.iter().filter(|name| name.ends_with(".new")) {
            fs::remove_file(folder.path(leftover)).map_err(failed)?;
        }
        folder.sync().map_err(failed)?;
        Ok(folder)
    }

    /// The path of a file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The names of its files, in order.
    pub(super) fn names(&self) -> Result<Vec<String>, Error> {
        names(&self.path)
    }

    /// Makes what was created, renamed and removed in it durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    /// Puts a file in place, durable and in full, or leaves what was there. The file can be written on.
    pub(super) fn publish(&self, name: &str, bytes: &[u8]) -> io::Result<File> {
        let new = self.path(&format!("{name}.new"));
        let written = (|| {
            let mut file = File::options().create(true).truncate(true).write(true).open(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, self.path(name))?;
            self.sync()?;
            Ok(file)
        })();
        if written.is_err() {
            // Best effort: the next start removes it too.
            let _ = fs::remove_file(&new);
        }
        written
    }
}

/// The folders to be synced when `path` is there, lest a power cut takes it: the one it lies in, and those in which folders on the way to
/// it are still to be made.
fn holders(path: &Path) -> Vec<&Path> {
    let steps = || path.ancestors().filter(|step| !step.as_os_str().is_empty());
    let missing = steps().take_while(|step| !step.exists()).count();
    let holders = steps().take(missing.max(1)).filter_map(Path::parent);
    holders.map(|holder| if holder.as_os_str().is_empty() { Path::new(".") } else { holder }).collect()
}

/// The names of a folder's files, in order.
pub(super) fn names(path: &Path) -> Result<Vec<String>, Error> {
    let failed = |error| storage(path, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// The error of a disk, with the file it is about.
pub(super) fn storage(path: &Path, error: io::Error) -> Error {
    Error::caused(ErrorKind::Storage, format!("{}: {error}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_that_gets_a_new_one_is_synced() {
        let root = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "a/b", "a/b/c"].map(|path| root.path().join(path));
        assert_eq!(holders(&c), [&b, &a, root.path()]);
        Folder::open(&c).unwrap();
        assert_eq!(holders(&c), [&b], "a start before may have been cut off");
        assert_eq!(holders(Path::new("no-such-folder")), [Path::new(".")]);
        assert!(holders(Path::new("/")).is_empty());
    }
}
