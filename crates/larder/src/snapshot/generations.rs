//! Snapshots on disk: each is whole or not there, and three are kept, so that a damaged one costs one generation.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use super::writer::failed;
use super::{Kept, Reader, Writer};
use crate::{Error, ErrorKind};

/// How many are kept.
const KEPT: usize = 3;

/// The snapshots of one cache: `FOLDER/NAME.NUMBER.snapshot`, the highest number being the newest. Who writes holds `FOLDER/NAME.lock`, so that
/// an old process and the new one write one after the other.
#[derive(Clone, Debug)]
pub struct Snapshots {
    folder: PathBuf,
    name: String,
    schema: u64,
}

/// A snapshot that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where it lies.
    pub path: PathBuf,
    /// Keys in it.
    pub entries: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// What was found.
#[derive(Debug)]
pub struct Newest {
    /// The newest that can be used, if there is one.
    pub snapshot: Option<Reader<BufReader<File>>>,
    /// Newer ones that cannot.
    pub refused: Vec<Refused>,
}

/// A snapshot that cannot be used.
#[derive(Debug)]
pub struct Refused {
    /// Where it lies.
    pub path: PathBuf,
    /// Why: truncated, damaged, of another schema, of a version to come, not readable.
    pub error: Error,
}

impl Snapshots {
    /// The snapshots of this name in a folder, which is made when the first is written. See [`Writer::new`] for the schema.
    ///
    /// # Errors
    /// `Config`: the name is empty, or leads elsewhere.
    pub fn new(folder: impl Into<PathBuf>, name: impl Into<String>, schema: u64) -> Result<Self, Error> {
        let name = name.into();
        if name.is_empty() || name.contains(['/', '\\', '\0']) {
            let what = format!("{name:?} is no name for a snapshot: give one without slashes");
            return Err(Error::new(ErrorKind::Config, what));
        }
        Ok(Self { folder: folder.into(), name, schema })
    }

    /// Writes a snapshot taken at `taken_at`, in microseconds of Unix time. Only when all of it is on the disk does it get its name,
    /// and only then does the oldest of four go. Blocks on the disk, and on whoever writes already: call it where that is allowed.
    ///
    /// # Errors
    /// `Storage`: the disk is full or refused; the snapshots there were are still there. `BadKey`: a key is too long.
    pub fn write(&self, taken_at: u64, keys: impl IntoIterator<Item = Kept>) -> Result<Written, Error> {
        fs::create_dir_all(&self.folder).map_err(failed)?;
        // One name for all attempts: what a killed process left behind is overwritten. So they come one after the other.
        let turn = self.folder.join(format!("{}.lock", self.name));
        let turn = File::options().create(true).truncate(false).write(true).open(turn).map_err(failed)?;
        turn.lock().map_err(failed)?;
        let temporary = self.folder.join(format!("{}.tmp", self.name));
        let result = self.write_as(&temporary, taken_at, keys);
        if result.is_err() {
            // It may not even be there.
            let _ = fs::remove_file(&temporary);
        }
        drop(turn);
        result
    }

    fn write_as(
        &self,
        temporary: &Path,
        taken_at: u64,
        keys: impl IntoIterator<Item = Kept>,
    ) -> Result<Written, Error> {
        let file = File::create(temporary).map_err(failed)?;
        let mut writer = Writer::new(BufWriter::new(file), self.schema, taken_at)?;
        keys.into_iter().try_for_each(|kept| writer.push(&kept))?;
        let (buffer, entries) = writer.finish()?;
        let file = buffer.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let before = self.numbers()?;
        let path = self.path(before.first().map_or(1, |newest| newest.saturating_add(1)));
        fs::rename(temporary, &path).map_err(failed)?;
        // The name is on the disk once its folder is; where folders cannot be opened, that is the system's business.
        if let Ok(folder) = File::open(&self.folder) {
            folder.sync_all().map_err(failed)?;
        }
        for old in before.iter().skip(KEPT - 1) {
            if let Err(error) = fs::remove_file(self.path(*old)) {
                tracing::warn!(%error, path = %self.path(*old).display(), "an old snapshot stays");
            }
        }
        Ok(Written { path, entries, bytes })
    }

    /// The newest snapshot that is whole and of this schema and a known version. What is newer and is not, is told and passed over.
    ///
    /// # Errors
    /// `Storage`: the folder cannot be read. That there is none is no error.
    pub fn newest(&self) -> Result<Newest, Error> {
        let mut refused = Vec::new();
        for number in self.numbers()? {
            let path = self.path(number);
            let opened = File::open(&path)
                .map_err(|error| Error::caused(ErrorKind::Storage, format!("it cannot be opened: {error}"), error));
            match opened.and_then(|file| Reader::new(BufReader::new(file), self.schema)) {
                Ok(snapshot) => return Ok(Newest { snapshot: Some(snapshot), refused }),
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "a snapshot cannot be used");
                    refused.push(Refused { path, error });
                }
            }
        }
        Ok(Newest { snapshot: None, refused })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{}.{number:010}.snapshot", self.name))
    }

    /// Those there are, the newest first.
    fn numbers(&self) -> Result<Vec<u64>, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                let what = format!("{} cannot be read: {error}", self.folder.display());
                return Err(Error::caused(ErrorKind::Storage, what, error));
            }
        };
        let number = |name: &str| -> Option<u64> {
            let number = name.strip_prefix(&self.name)?.strip_prefix('.')?.strip_suffix(".snapshot")?;
            // Written again it must be the same, or it is somebody else's.
            number.parse().ok().filter(|parsed: &u64| format!("{parsed:010}") == number)
        };
        let mut numbers: Vec<_> = entries.flatten().filter_map(|entry| number(entry.file_name().to_str()?)).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }
}
