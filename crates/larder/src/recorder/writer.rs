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
    let result = file.run(path).and_then(|()| file.trace.finish());
    if let Ok(meta) = std::fs::metadata(path) {
        shared.bytes.store(meta.len(), Ordering::Relaxed);
    }
    shared.is_open.store(false, Ordering::Release);
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
    fn run(&mut self, path: &Path) -> Result<(), Error> {
        // In the order of their times: those of the last round wait for the stragglers of this one.
        let (mut waiting, mut fresh): (Vec<Request>, Vec<Request>) = Default::default();
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
            if is_due && due > 0 {
                let written = self.write(&waiting[..due])?;
                waiting.drain(..written);
                if written < due {
                    self.shared.is_open.store(false, Ordering::Release);
                    self.shared.is_full.store(true, Ordering::Relaxed);
                    self.shared.lanes.drop_many(waiting.len() as u64);
                    tracing::warn!(path = %path.display(), most = self.most, "the recording has reached its limit and ends");
                    return Ok(());
                }
            }
            if closed {
                return Ok(());
            }
            if !busy {
                std::thread::park_timeout(NAP);
            }
        }
    }

    /// Writes as many as the limit allows, in frames, and returns how many.
    fn write(&mut self, requests: &[Request]) -> Result<usize, Error> {
        let mut done = 0;
        while done < requests.len() {
            let room = self.most.saturating_sub(self.bytes + ENDS + FRAME) / (ROW + 1);
            if room < LEAST_ROWS {
                break;
            }
            let rows = (requests.len() - done).min(ROWS).min(usize::try_from(room).unwrap_or(ROWS));
            self.trace.write(&requests[done..done + rows])?;
            self.bytes = self.trace.flush()?;
            done += rows;
            self.shared.written.fetch_add(rows as u64, Ordering::Relaxed);
            self.shared.bytes.store(self.bytes, Ordering::Relaxed);
        }
        self.flushed = Instant::now();
        Ok(done)
    }
}
