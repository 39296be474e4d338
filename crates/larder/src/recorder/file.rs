//! A recording in a file, which stays readable and below its limit.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use larder_trace::{Request, Writer};

use super::Shared;
use super::writer::Target;
use crate::{Error, ErrorKind};

/// What a row takes at most: time 21, key 20, size, lifetime and cost 10 each, `delete`, five commas and the line's end.
const ROW: u64 = 83;
/// What a compressed frame may add to rows that do not compress: headers and 1/128 (zstd states 1/256, zlib less).
const FRAME: u64 = 1024;
/// The CSV's header and the last frame's end.
const ENDS: u64 = 1024;
/// Below so many rows of room the file counts as full: frames of a few rows would waste what is left.
const LEAST_ROWS: u64 = 64;

/// The smallest limit that makes sense.
pub(super) const LEAST_BYTES: u64 = ENDS + FRAME + ROW * 2 * LEAST_ROWS;

pub(super) struct File {
    shared: Arc<Shared>,
    trace: Box<dyn Writer>,
    path: PathBuf,
    most: u64,
    bytes: u64,
}

impl File {
    pub(super) fn new(shared: Arc<Shared>, trace: Box<dyn Writer>, path: PathBuf, most: u64) -> Self {
        Self { shared, trace, path, most, bytes: 0 }
    }
}

impl Target for File {
    const PATIENCE: Duration = Duration::from_secs(1);

    fn frame(&mut self, rows: &[Request]) -> Result<usize, Error> {
        let room = self.most.saturating_sub(self.bytes + ENDS + FRAME) / (ROW + 1);
        if room < LEAST_ROWS {
            tracing::warn!(path = %self.path.display(), most = self.most, "the recording has reached its limit and ends");
            return Ok(0);
        }
        let taken = usize::try_from(room).unwrap_or(usize::MAX).min(rows.len());
        self.trace.write(&rows[..taken]).map_err(unwritten)?;
        self.bytes = self.trace.flush().map_err(unwritten)?;
        self.shared.written.fetch_add(taken as u64, Ordering::Relaxed);
        self.shared.bytes.store(self.bytes, Ordering::Relaxed);
        Ok(taken)
    }

    fn finish(self, so_far: Result<(), Error>) -> Result<(), Error> {
        // After an error there is nothing to end.
        let ended = so_far.and_then(|()| self.trace.finish().map_err(unwritten));
        if let Ok(meta) = std::fs::metadata(&self.path) {
            self.shared.bytes.store(meta.len(), Ordering::Relaxed);
        }
        ended
    }
}

pub(super) fn unwritten(error: larder_trace::Error) -> Error {
    Error::caused(ErrorKind::Storage, format!("the recording: {error}"), error)
}

#[cfg(test)]
mod tests {
    use std::io;

    use larder_policy::Time;
    use larder_trace::{FORMATS, Output};

    use super::super::lanes::Lanes;
    use super::super::writer::{ROWS, run};
    use super::*;

    /// A disk with room for so many bytes.
    struct Disk(usize);

    impl io::Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_ends_the_recording_and_nothing_else() {
        let shared = Arc::new(Shared::new(Lanes::new(1 << 15)));
        let rows = 3 * ROWS as u64;
        for at in 0..rows {
            shared.lanes.push(Request { at: Time(at), key: at, size: 1, ..Request::default() });
        }
        let csv = FORMATS.iter().find(|format| format.name == "larder").and_then(|format| format.create).unwrap();
        let trace = csv(Output::to("disk", Disk(100_000))).unwrap();
        shared.is_open.store(false, Ordering::Release);
        let error = run(&shared, File::new(shared.clone(), trace, "no-such-file".into(), u64::MAX)).unwrap_err();
        assert!(error.to_string().contains("disk"), "{error}");
        let recorded = shared.recorded();
        assert!(recorded.has_failed && !recorded.is_full && recorded.written > 0, "{recorded:?}");
        assert_eq!(recorded.written + recorded.dropped, rows);
    }
}
