//! The recorder's thread: puts events in the order of their times, and keeps the file readable and below its limit.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use larder_trace::{Error, Request, Writer};

use super::Shared;

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

/// Rows a frame, as a rule; they fill a buffer once compressed, so that a frame is one write.
const ROWS: usize = 4096;
/// How long events may wait, in the queue and in a frame.
const NAP: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs until the recorder closes or the file is full.
pub(super) fn run(shared: &Shared, trace: Box<dyn Writer>, most: u64, path: &Path) -> Result<(), Error> {
    let mut file = File { shared, trace, most, bytes: 0, flushed: Instant::now() };
    let mut waiting = Vec::new();
    let result = file.run(&mut waiting, path).and_then(|()| file.trace.finish());
    if let Ok(meta) = std::fs::metadata(path) {
        shared.bytes.store(meta.len(), Ordering::Relaxed);
    }
    shared.is_open.store(false, Ordering::Release);
    shared.lanes.drop_many(waiting.len() as u64);
    if let Err(error) = &result {
        shared.has_failed.store(true, Ordering::Relaxed);
        tracing::warn!(%error, "recording has failed; what was written before is readable");
    }
    shared.has_ended.store(true, Ordering::Release);
    result
}

struct File<'a> {
    shared: &'a Shared,
    trace: Box<dyn Writer>,
    most: u64,
    bytes: u64,
    flushed: Instant,
}

impl File<'_> {
    /// What has been taken from the queue is in `waiting` until it is written.
    fn run(&mut self, waiting: &mut Vec<Request>, path: &Path) -> Result<(), Error> {
        // In the order of their times: those of the last round wait for the stragglers of this one.
        let mut fresh = Vec::new();
        loop {
            // Before the queue is drained: what was pushed before the close is then in it.
            let closed = !self.shared.is_open.load(Ordering::Acquire);
            let settled = waiting.last().map(|request| request.at);
            self.shared.lanes.drain(&mut fresh);
            let busy = fresh.len() >= ROWS;
            waiting.append(&mut fresh);
            // Stable: events of one thread and one microsecond stay in their order.
            waiting.sort_by_key(|request| request.at);
            let due = match settled {
                _ if closed => waiting.len(),
                Some(settled) => waiting.partition_point(|request| request.at <= settled),
                None => 0,
            };
            let is_due = due >= ROWS || closed || self.flushed.elapsed() >= PATIENCE;
            if is_due && !self.write(waiting, due)? {
                self.shared.is_open.store(false, Ordering::Release);
                self.shared.is_full.store(true, Ordering::Relaxed);
                tracing::warn!(path = %path.display(), most = self.most, "the recording has reached its limit and ends");
                return Ok(());
            }
            if closed {
                return Ok(());
            }
            if !busy {
                std::thread::park_timeout(NAP);
            }
        }
    }

    /// Writes the first `due` in frames and takes them out; says whether the limit allowed it.
    fn write(&mut self, waiting: &mut Vec<Request>, due: usize) -> Result<bool, Error> {
        let mut left = due;
        while left > 0 {
            let room = self.most.saturating_sub(self.bytes + ENDS + FRAME) / (ROW + 1);
            if room < LEAST_ROWS {
                return Ok(false);
            }
            let rows = left.min(ROWS).min(usize::try_from(room).unwrap_or(ROWS));
            self.trace.write(&waiting[..rows])?;
            self.bytes = self.trace.flush()?;
            waiting.drain(..rows);
            left -= rows;
            self.flushed = Instant::now();
            self.shared.written.fetch_add(rows as u64, Ordering::Relaxed);
            self.shared.bytes.store(self.bytes, Ordering::Relaxed);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use larder_policy::Time;
    use larder_trace::{FORMATS, Output};

    use super::super::lanes::Lanes;
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
        let shared = Shared::new(Lanes::new(1 << 15));
        let rows = 3 * ROWS as u64;
        for at in 0..rows {
            shared.lanes.push(Request { at: Time(at), key: at, size: 1, ..Request::default() });
        }
        let csv = FORMATS.iter().find(|format| format.name == "larder").and_then(|format| format.create).unwrap();
        let trace = csv(Output::to("disk", Disk(100_000))).unwrap();
        shared.is_open.store(false, Ordering::Release);
        let error = run(&shared, trace, u64::MAX, Path::new("no-such-file")).unwrap_err();
        assert!(error.to_string().contains("disk"), "{error}");
        let recorded = shared.recorded();
        assert!(recorded.has_failed && !recorded.is_full && recorded.written > 0, "{recorded:?}");
        assert_eq!(recorded.written + recorded.dropped, rows);
    }
}
