//! The log: appends go to the newest segment, and segments the sink has in full are deleted.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::folder::{Folder, names, storage};
use super::recover::{Recovered, Segment, recover};
use super::scan::Scan;
use super::{Fsync, Options, Write, checkpoint, identity, record, segment};
use crate::remote::Name;
use crate::{Error, ErrorKind};

/// An encoding buffer larger than this is not kept.
const BUFFER_KEPT: usize = 4 << 20;

/// An open log. Its calls block.
pub(super) struct Log {
    folder: Folder,
    identity: u64,
    segment_bytes: u64,
    fsync: Fsync,
    segments: VecDeque<Segment>,
    /// The newest segment, once this process has made one: what an earlier process wrote is not written on.
    active: Option<Active>,
    /// The sequence of the next write.
    next: u64,
    /// The last sequence that is surely on the disk.
    durable: u64,
    /// The sink has everything up to here.
    acked: u64,
    /// What the checkpoint says.
    checkpointed: u64,
    /// Of what was recovered, the last write and the last sequence that is taken: there may be none in between.
    recovered: (u64, u64),
    buffer: Vec<u8>,
}

struct Active {
    file: File,
    salt: u32,
    /// Bytes of acknowledged records, with the header. Behind them lies what a failed write left.
    good: u64,
    /// A write or a sync failed: the file must be cut to `good` before anything else is written.
    broken: bool,
}

impl Log {
    /// Opens the log in `path`, or makes one.
    ///
    /// # Errors
    /// `Storage`: another process has it, it cannot be read, or it is damaged.
    pub(super) fn open(path: &Path, options: &Options) -> Result<(Self, Recovered), Error> {
        let folder = Folder::open(path)?;
        let identity = identity::of(&folder, options.on_damage)?;
        let acked = checkpoint::read(&folder, options.on_damage)?;
        let mut recovered = recover(&folder, acked, options.on_damage)?;
        let last = recovered.writes.last().map_or(acked, |write| write.sequence);
        let mut log = Self {
            folder,
            identity,
            segment_bytes: options.segment_bytes,
            fsync: options.fsync,
            segments: std::mem::take(&mut recovered.segments),
            active: None,
            next: recovered.next,
            durable: recovered.next - 1,
            acked,
            checkpointed: acked,
            recovered: (last, recovered.next - 1),
            buffer: Vec::new(),
        };
        log.acknowledge(acked);
        if let Err(error) = log.tidy() {
            tracing::warn!(%error, "write-behind: a finished segment cannot be removed; tried again later");
        }
        Ok((log, recovered))
    }

    /// When it was made, in microseconds since the Unix epoch: which log it is.
    pub(super) fn identity(&self) -> u64 {
        self.identity
    }

    /// Appends writes and says which sequence the first has. They are durable, as far as [`Fsync`] goes.
    ///
    /// # Errors
    /// `Storage`: none of them is in the log. The next call tries again.
    pub(super) fn append(&mut self, writes: &[(&Name, Option<&Bytes>)]) -> Result<u64, Error> {
        let bytes: usize =
            writes.iter().map(|(name, value)| record::length(name.len(), value.map_or(0, |v| v.len()))).sum();
        self.make_room(bytes as u64)?;
        let path = self.newest();
        let Some(active) = &mut self.active else {
            return Err(Error::new(ErrorKind::Storage, "write-behind: there is no segment to write to"));
        };
        self.buffer.clear();
        for (sequence, (name, value)) in (self.next..).zip(writes) {
            record::encode(&mut self.buffer, active.salt, sequence, self.durable, name, value.map(|value| &**value));
        }
        let written = active.write(&self.buffer, self.fsync);
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
        written.map_err(|error| storage(&path, error))?;
        let first = self.next;
        self.next += writes.len() as u64;
        if self.fsync == Fsync::Always {
            self.durable = self.next - 1;
        }
        Ok(first)
    }

    /// Makes everything appended durable, whatever [`Fsync`] says, and says up to which sequence it is.
    ///
    /// # Errors
    /// `Storage`: the disk does not take it.
    pub(super) fn sync(&mut self) -> Result<u64, Error> {
        if self.durable + 1 < self.next {
            let path = self.newest();
            if let Some(active) = &self.active {
                active.file.sync_data().map_err(|error| storage(&path, error))?;
            }
            self.durable = self.next - 1;
        }
        Ok(self.durable)
    }

    /// The last sequence that a power cut cannot take.
    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    /// The sink has everything up to `sequence`.
    pub(super) fn acknowledge(&mut self, sequence: u64) {
        let (last, taken) = self.recovered;
        self.acked = self.acked.max(sequence);
        if self.acked >= last {
            self.acked = self.acked.max(taken);
        }
    }

    /// Whether [`checkpoint`](Self::checkpoint) has anything to store.
    pub(super) fn is_behind(&self) -> bool {
        self.checkpointed < self.acked
    }

    /// Whether a checkpoint would let a segment be deleted.
    pub(super) fn is_wasteful(&self) -> bool {
        self.segments.get(1).is_some_and(|second| second.first <= self.acked + 1)
    }

    /// Stores what the sink has, and deletes the segments that hold nothing else.
    ///
    /// # Errors
    /// `Storage`: it is not stored, and after a crash the sink would be offered more again; or a segment cannot be deleted.
    pub(super) fn checkpoint(&mut self) -> Result<(), Error> {
        if self.is_behind() {
            let stored = checkpoint::write(&self.folder, self.acked);
            stored.map_err(|error| storage(&self.folder.path("checkpoint"), error))?;
            self.checkpointed = self.acked;
        }
        self.tidy()
    }

    /// Keeps writes that the sink refuses, durable, in a file of their own.
    ///
    /// # Errors
    /// `Storage`: they are not kept.
    pub(super) fn park(&self, writes: &[Write]) -> Result<(), Error> {
        let Some(first) = writes.first() else { return Ok(()) };
        let name = segment::name(first.sequence, "dead");
        let kept = self.folder.publish(&name, &segment::of(writes));
        kept.map(drop).map_err(|error| storage(&self.folder.path(&name), error))
    }

    /// Deletes segments of which the checkpoint says that the sink has all. The newest stays: its name holds the sequence.
    fn tidy(&mut self) -> Result<(), Error> {
        while self.segments.get(1).is_some_and(|second| second.first <= self.checkpointed + 1) {
            let Some(Segment { first, damaged }) = self.segments.front() else { break };
            let path = self.folder.path(&segment::name(*first, "log"));
            let gone = match damaged {
                true => fs::rename(&path, self.folder.path(&segment::name(*first, "damaged"))),
                false => fs::remove_file(&path),
            };
            gone.map_err(|error| storage(&path, error))?;
            self.segments.pop_front();
        }
        Ok(())
    }

    /// Sees to it that there is a segment whose end can be written on, and begins the next one if this one is full.
    fn make_room(&mut self, bytes: u64) -> Result<(), Error> {
        let path = self.newest();
        if let Some(active) = &mut self.active {
            active.repair().map_err(|error| storage(&path, error))?;
            if active.good == segment::HEADER as u64 || active.good + bytes <= self.segment_bytes {
                return Ok(());
            }
        }
        // Whatever comes after a segment's end says that the segment is whole.
        self.sync()?;
        // The segment before is not written on again, even if this fails: a file with the new name may be there by then.
        self.active = None;
        let (name, salt) = (segment::name(self.next, "log"), segment::salt());
        let made = self.folder.publish(&name, &segment::header(self.next, salt));
        let file = made.map_err(|error| storage(&self.folder.path(&name), error))?;
        self.active = Some(Active { file, salt, good: segment::HEADER as u64, broken: false });
        if self.segments.back().is_none_or(|newest| newest.first < self.next) {
            self.segments.push_back(Segment { first: self.next, damaged: false });
        }
        Ok(())
    }

    fn newest(&self) -> PathBuf {
        self.folder.path(&segment::name(self.segments.back().map_or(0, |segment| segment.first), "log"))
    }
}

impl Active {
    fn write(&mut self, bytes: &[u8], fsync: Fsync) -> io::Result<()> {
        // After a failed sync nobody knows what the disk has: it counts as not written, and is written again.
        self.broken = true;
        self.file.write_all(bytes)?;
        if fsync == Fsync::Always {
            self.file.sync_data()?;
        }
        self.broken = false;
        self.good += bytes.len() as u64;
        Ok(())
    }

    fn repair(&mut self) -> io::Result<()> {
        if self.broken {
            self.file.set_len(self.good)?;
            self.file.seek(SeekFrom::Start(self.good))?;
            self.file.sync_all()?;
            self.broken = false;
        }
        Ok(())
    }
}

/// What [`Log::park`] kept.
pub(super) fn dead_letters(path: &Path) -> Result<Vec<Write>, Error> {
    let mut writes = Vec::new();
    for name in names(path)? {
        let Some(first) = segment::first_of(&name, "dead") else { continue };
        let file = path.join(&name);
        let bytes = fs::read(&file).map_err(|error| storage(&file, error))?;
        let damaged =
            |at: usize, why: &str| Error::new(ErrorKind::Storage, format!("{}: byte {at}: {why}", file.display()));
        let salt = segment::check(&bytes, first).map_err(|why| damaged(0, &why))?;
        let (scan, mut at) = (Scan::new(&bytes, salt), segment::HEADER);
        while let Some(record) = scan.decode(at).map_err(|_| damaged(at, "damaged"))? {
            at = record.end;
            let value = record.value.map(Bytes::copy_from_slice);
            writes.push(Write { sequence: record.sequence, name: record.name.into(), value });
        }
    }
    // After a crash the same write may have been refused again, among others.
    writes.sort_by_key(|write| write.sequence);
    writes.dedup_by_key(|write| write.sequence);
    Ok(writes)
}
