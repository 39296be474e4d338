//! Reading a log again: what a crash cut off is cut off the file, and anything else that is wrong is an error.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::folder::{Folder, storage};
use super::options::way_out;
use super::record::{self, Flaw, Record};
use super::scan::Scan;
use super::{OnDamage, Write, segment};
use crate::{Error, ErrorKind};

/// A segment on disk; it holds the sequences up to the next one's first.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    /// Not all of it could be read.
    pub(super) damaged: bool,
}

/// What a log holds.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// What the sink may not have, in order.
    pub(super) writes: Vec<Write>,
    pub(super) segments: VecDeque<Segment>,
    /// The sequence of the next write.
    pub(super) next: u64,
    /// Bytes of writes that were never acknowledged, cut off.
    pub(super) torn_bytes: u64,
    /// Acknowledged writes that could not be read; only with [`OnDamage::SetAside`]. Where nobody can tell, as many as may be.
    pub(super) lost: u64,
}

/// Reads the log, given the sequence up to which the sink has everything.
///
/// # Errors
/// `Storage`: it cannot be read, or it is damaged and `on_damage` says to refuse that.
pub(super) fn recover(folder: &Folder, acked: u64, on_damage: OnDamage) -> Result<Recovered, Error> {
    let names = folder.names()?;
    let firsts: Vec<u64> = names.iter().filter_map(|name| segment::first_of(name, "log")).collect();
    let next = firsts.first().copied().unwrap_or(u64::MAX).min(acked + 1);
    let mut reader = Reader::new(on_damage, acked, next);
    for (index, &first) in firsts.iter().enumerate() {
        reader.segment(&folder.path(&segment::name(first, "log")), first, firsts.get(index + 1).copied())?;
    }
    if let Some(&newest) = firsts.last() {
        // What was read may not be on the disk yet; a power cut must not take it once the sink has it.
        let path = folder.path(&segment::name(newest, "log"));
        File::open(&path).and_then(|file| file.sync_all()).map_err(|error| storage(&path, error))?;
    }
    // Sequences below a segment's first are taken, even if nothing of them is left.
    reader.found.next = reader.next.max(firsts.last().copied().unwrap_or(0)).max(acked + 1);
    Ok(reader.found)
}

struct Reader {
    on_damage: OnDamage,
    acked: u64,
    /// The sequence that comes next, if none is missing.
    next: u64,
    found: Recovered,
}

/// What one segment's bytes hold, the sink having nothing; none if they are refused.
#[cfg(feature = "fuzzing")]
pub(super) fn recover_bytes(
    bytes: &[u8],
    first: u64,
    following: Option<u64>,
    on_damage: OnDamage,
) -> Option<Recovered> {
    let mut reader = Reader::new(on_damage, 0, first.min(1));
    reader.read(Path::new("bytes"), bytes, first, following).ok()?;
    reader.found.next = reader.next;
    Some(reader.found)
}

impl Reader {
    fn new(on_damage: OnDamage, acked: u64, next: u64) -> Self {
        Self { on_damage, acked, next, found: Recovered::default() }
    }

    /// `following`: the first sequence of the segment after this one.
    fn segment(&mut self, path: &Path, first: u64, following: Option<u64>) -> Result<(), Error> {
        let bytes = fs::read(path).map_err(|error| storage(path, error))?;
        match self.read(path, &bytes, first, following)? {
            Some(at) => self.cut(path, at, bytes.len()),
            None => Ok(()),
        }
    }

    /// Takes what the segment's bytes hold. Where they end, if a crash tore them there.
    fn read(&mut self, path: &Path, bytes: &[u8], first: u64, following: Option<u64>) -> Result<Option<usize>, Error> {
        self.found.segments.push_back(Segment { first, damaged: false });
        if first > self.next {
            self.missing(path, 0, first, "the segment before it is missing or incomplete")?;
        }
        let salt = match segment::check(bytes, first) {
            Ok(salt) => salt,
            Err(why) => {
                self.missing(path, 0, following.unwrap_or(self.beyond(bytes.len())), &why)?;
                return Ok(None);
            }
        };
        let scan = Scan::new(bytes, salt);
        let mut at = segment::HEADER;
        loop {
            match scan.decode(at) {
                Ok(None) => return Ok(None),
                Ok(Some(record)) if record.sequence == self.next => {
                    at = record.end;
                    self.take(&record);
                }
                Ok(Some(record)) if record.sequence > self.next => {
                    self.missing(path, at, record.sequence, "writes before this one are missing")?;
                }
                Ok(Some(record)) => {
                    self.damage(path, at, "this write was there already")?;
                    at = record.end;
                }
                Err(flaw) => {
                    let after = scan.find(at + 1).filter(|(_, after)| after.sequence >= self.next);
                    let acknowledged = after.as_ref().is_some_and(|(_, after)| after.durable >= self.next);
                    if following.is_none() && flaw == Flaw::Torn && !acknowledged {
                        return Ok(Some(at));
                    }
                    let until = after.as_ref().map(|(_, after)| after.sequence).or(following);
                    self.missing(path, at, until.unwrap_or(self.beyond(bytes.len() - at)), "damaged")?;
                    match after {
                        Some((next_at, _)) => at = next_at,
                        None => return Ok(None),
                    }
                }
            }
        }
    }

    fn take(&mut self, record: &Record<'_>) {
        self.next = record.sequence + 1;
        if record.sequence > self.acked {
            self.found.writes.push(Write {
                sequence: record.sequence,
                name: Arc::from(record.name),
                value: record.value.map(Bytes::copy_from_slice),
            });
        }
    }

    /// The writes from the next one to before `until` are not there. That is harmless if the sink has them.
    fn missing(&mut self, path: &Path, at: usize, until: u64, why: &str) -> Result<(), Error> {
        let lost = until.saturating_sub(self.next.max(self.acked + 1));
        if lost > 0 {
            self.damage(path, at, why)?;
        }
        self.found.lost += lost;
        self.next = self.next.max(until);
        Ok(())
    }

    /// The first sequence that cannot have lain in so many bytes. One used twice could pass a sink by.
    fn beyond(&self, bytes: usize) -> u64 {
        self.next + (bytes / record::HEADER) as u64 + 1
    }

    fn damage(&mut self, path: &Path, at: usize, why: &str) -> Result<(), Error> {
        if self.on_damage == OnDamage::Refuse {
            let what =
                format!("{}: byte {at}: {why}: acknowledged writes cannot be read; {}", path.display(), way_out());
            return Err(Error::new(ErrorKind::Storage, what));
        }
        tracing::error!(path = %path.display(), at, why, "write-behind: acknowledged writes cannot be read");
        if let Some(segment) = self.found.segments.back_mut() {
            segment.damaged = true;
        }
        Ok(())
    }

    /// Takes off what a crash left of writes that were never acknowledged.
    fn cut(&mut self, path: &Path, at: usize, length: usize) -> Result<(), Error> {
        self.found.torn_bytes += (length - at) as u64;
        let file = File::options().write(true).open(path).map_err(|error| storage(path, error))?;
        file.set_len(at as u64).map_err(|error| storage(path, error))
    }
}
