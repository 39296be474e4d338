//! Which log this is: when it was made, in microseconds since the Unix epoch. With a sequence it names a write for ever, also where a lost
//! folder was begun anew. Its file is a line of text: the number, and its CRC-32C in hexadecimal.

use std::time::SystemTime;
use std::{fs, io};

use super::folder::{Folder, storage};
use super::{OnDamage, options::way_out};
use crate::{Error, ErrorKind};

const NAME: &str = "identity";

/// The log's identity; a log without one gets it now.
///
/// # Errors
/// `Storage`: it cannot be read or stored, or it is damaged and `on_damage` says to refuse that.
pub(super) fn of(folder: &Folder, on_damage: OnDamage) -> Result<u64, Error> {
    let path = folder.path(NAME);
    match fs::read_to_string(&path) {
        Ok(text) => match (parse(&text), on_damage) {
            (Some(identity), _) => return Ok(identity),
            // Another log from now on: who tells writes apart by it gets those offered again twice.
            (None, OnDamage::SetAside) => {}
            (None, OnDamage::Refuse) => {
                let what = format!("{}: byte 0: damaged; {}", path.display(), way_out());
                return Err(Error::new(ErrorKind::Storage, what));
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(storage(&path, error)),
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
    folder.publish(NAME, format(now).as_bytes()).map_err(|error| storage(&path, error))?;
    Ok(now)
}

fn format(identity: u64) -> String {
    let number = identity.to_string();
    format!("{number} {:08x}\n", crc32c::crc32c(number.as_bytes()))
}

pub(super) fn parse(text: &str) -> Option<u64> {
    let identity = text.split(' ').next()?.parse().ok()?;
    (format(identity) == text).then_some(identity)
}
