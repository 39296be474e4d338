//! The recorder's thread: puts events in the order of their times, and hands them on in frames.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use larder_trace::Request;

use super::Shared;
use crate::Error;

/// Rows a frame, as a rule; they fill a buffer once compressed, so that a frame is one write.
pub(super) const ROWS: usize = 4096;
/// How long events may wait in the queue.
const NAP: Duration = Duration::from_millis(20);

/// Where rows go.
pub(super) trait Target {
    /// How long events may wait for a frame to fill.
    const PATIENCE: Duration;

    /// Takes the first of these rows, and says how many; none once it is full.
    fn frame(&mut self, rows: &[Request]) -> Result<usize, Error>;

    /// Ends what was begun, which went as `so_far` says.
    fn finish(self, so_far: Result<(), Error>) -> Result<(), Error>;
}

/// Runs until the recorder closes or the target is full.
pub(super) fn run<T: Target>(shared: &Shared, mut target: T) -> Result<(), Error> {
    let mut waiting = Vec::new();
    let so_far = hand_on(shared, &mut target, &mut waiting);
    let result = target.finish(so_far);
    shared.is_open.store(false, Ordering::Release);
    shared.lanes.drop_many(waiting.len() as u64);
    if let Err(error) = &result {
        shared.has_failed.store(true, Ordering::Relaxed);
        tracing::warn!(%error, "recording has failed; what was written before is readable");
    }
    shared.has_ended.store(true, Ordering::Release);
    result
}

/// What has been taken from the queue is in `waiting` until it is written.
fn hand_on<T: Target>(shared: &Shared, target: &mut T, waiting: &mut Vec<Request>) -> Result<(), Error> {
    // In the order of their times: those of the last round wait for the stragglers of this one.
    let (mut fresh, mut flushed) = (Vec::new(), Instant::now());
    loop {
        // Before the queue is drained: what was pushed before the close is then in it.
        let closed = !shared.is_open.load(Ordering::Acquire);
        let settled = waiting.last().map(|request| request.at);
        shared.lanes.drain(&mut fresh);
        let busy = fresh.len() >= ROWS;
        waiting.append(&mut fresh);
        // Stable: events of one thread and one microsecond stay in their order.
        waiting.sort_by_key(|request| request.at);
        let mut due = match settled {
            _ if closed => waiting.len(),
            Some(settled) => waiting.partition_point(|request| request.at <= settled),
            None => 0,
        };
        if due >= ROWS || closed || flushed.elapsed() >= T::PATIENCE {
            while due > 0 {
                let taken = target.frame(&waiting[..due.min(ROWS)])?;
                if taken == 0 {
                    shared.is_full.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                waiting.drain(..taken);
                due -= taken;
                flushed = Instant::now();
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
