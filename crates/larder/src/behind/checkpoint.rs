//! The checkpoint: up to which sequence the sink has everything. Without it, or with an old one, the sink is offered again
//! what it has already.
//!
//! ```text
//! magic 8 | version 4 | sequence 8 | crc 4
//! ```

use std::fs;
use std::io::{self, Write as _};

use super::folder::{Folder, storage};
use super::{OnDamage, options::way_out, record};
use crate::{Error, ErrorKind};

const NAME: &str = "checkpoint";
const MAGIC: &[u8; 8] = b"LARDERCP";
const VERSION: u32 = 1;

/// The sequence of the stored checkpoint, 0 if there is none.
///
/// # Errors
/// `Storage`: it cannot be read, or it is damaged and `on_damage` says to refuse that.
pub(super) fn read(folder: &Folder, on_damage: OnDamage) -> Result<u64, Error> {
    let path = folder.path(NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(storage(&path, error)),
    };
    match (parse(&bytes), on_damage) {
        (Some(sequence), _) => Ok(sequence),
        // Everything that is still in the log is offered again, which does no harm.
        (None, OnDamage::SetAside) => Ok(0),
        (None, OnDamage::Refuse) => {
            Err(Error::new(ErrorKind::Storage, format!("{}: byte 0: damaged; {}", path.display(), way_out())))
        }
    }
}

/// Stores it, durable. A full disk has no room for a new file, and without a checkpoint no finished segment could be deleted: it would stay
/// full. There the old one is written over, which lies in one sector: a disk writes that in full or not at all.
pub(super) fn write(folder: &Folder, sequence: u64) -> io::Result<()> {
    let bytes = format(sequence);
    match folder.publish(NAME, &bytes) {
        Err(full) if matches!(full.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            let mut old = fs::File::options().write(true).open(folder.path(NAME)).map_err(|_| full)?;
            old.write_all(&bytes)?;
            old.sync_data()
        }
        published => published.map(drop),
    }
}

fn format(sequence: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

pub(super) fn parse(bytes: &[u8]) -> Option<u64> {
    let sequence = u64::from_le_bytes(bytes.get(12..20)?.try_into().ok()?);
    (sequence <= record::LAST && format(sequence) == bytes).then_some(sequence)
}
