//! One pass over a trace that feeds many cells, on any number of threads.
//!
//! There is no thread for decoding and none for a cell: every worker does what is due next. While the window of
//! decoded batches has room, that is to decode one more; otherwise it is to run the idle cell furthest behind through
//! the next few batches. So slow policies and slow formats balance by themselves, a cell's metadata stays in a
//! core's cache for several batches, and memory is bounded by the window. A cell sees every batch in order whoever
//! runs it: results do not depend on the number of threads.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use larder_trace::Reader;

use crate::Error;
use crate::cell::{Cell, Lifetimes, Tally};
use crate::feed::{Batch, Feed, Totals};
use crate::progress::Observer;
use larder_policy::Sample;

/// Decoded batches kept, half a megabyte each for a lane of the whole trace.
const WINDOW: usize = 16;

/// Batches a cell runs in a row: few enough that the others can go on while a slow one holds the window back.
const RUN: usize = 4;

/// How to replay.
#[derive(Clone, Copy, Debug)]
pub struct ReplayOptions {
    /// Threads in all, decoding included.
    pub threads: NonZeroUsize,
    /// Whether only gets count in the totals.
    pub gets_only: bool,
    /// What becomes of lifetimes.
    pub lifetimes: Lifetimes,
}

/// What a pass counted.
#[derive(Debug)]
pub struct Replayed {
    /// Rows read.
    pub rows: u64,
    /// By lane.
    pub totals: Vec<Totals>,
    /// By cell, in the order given, with the bytes of metadata each held at the end.
    pub cells: Vec<(Tally, u64)>,
}

/// Replays all that `reader` has through every cell, each fed from its lane of `lanes`: a sample of the keys, or
/// `None` for all of them.
///
/// # Errors
/// The trace cannot be read to its end.
pub fn replay(
    reader: &mut dyn Reader,
    lanes: &[Option<Sample>],
    cells: Vec<Cell>,
    options: &ReplayOptions,
    observer: &dyn Observer,
) -> Result<Replayed, Error> {
    let keep_lifetimes = options.lifetimes == Lifetimes::Given;
    let feed = Feed::new(reader, lanes, options.gets_only, keep_lifetimes, observer);
    // There is never more to do at once than to run each cell and to decode.
    let workers = options.threads.get().min(cells.len() + 1);
    let board = Board::new(feed, cells);
    thread::scope(|scope| {
        // This thread works too.
        for _ in 1..workers {
            scope.spawn(|| board.work());
        }
        board.work();
    });
    board.finish()
}

/// What is due, shared by the workers.
struct Board<'a> {
    state: Mutex<State<'a>>,
    changed: Condvar,
}

struct State<'a> {
    /// `None` while a worker decodes.
    feed: Option<Feed<'a>>,
    window: VecDeque<Arc<Vec<Batch>>>,
    /// The number of the window's first batch.
    first: u64,
    /// No more batches will come: the trace has ended or failed.
    ended: bool,
    /// A worker panicked or the trace failed: nobody need go on.
    stopped: bool,
    error: Option<Error>,
    seats: Vec<Seat>,
}

struct Seat {
    /// `None` while a worker runs it.
    cell: Option<Box<Cell>>,
    /// The number of the next batch it is to see.
    next: u64,
}

enum Job<'a> {
    Decode(Feed<'a>),
    Run { seat: usize, cell: Box<Cell>, batches: Vec<Arc<Vec<Batch>>> },
}

impl<'a> Board<'a> {
    fn new(feed: Feed<'a>, cells: Vec<Cell>) -> Self {
        let seats = cells.into_iter().map(|cell| Seat { cell: Some(Box::new(cell)), next: 0 }).collect();
        let state = State {
            feed: Some(feed),
            window: VecDeque::new(),
            first: 0,
            ended: false,
            stopped: false,
            error: None,
            seats,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Does what is due until nothing is left.
    fn work(&self) {
        let _stop = StopOnPanic(self);
        while let Some(job) = self.await_job() {
            match job {
                Job::Decode(mut feed) => {
                    let batches = feed.next();
                    self.lock().decoded(feed, batches);
                }
                Job::Run { seat, mut cell, batches } => {
                    for batch in &batches {
                        cell.run(&batch[cell.lane]);
                    }
                    self.lock().ran(seat, cell, batches.len() as u64);
                }
            }
            self.changed.notify_all();
        }
    }

    fn await_job(&self) -> Option<Job<'a>> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.take_job() {
                return Some(job);
            }
            if state.is_done() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish(self) -> Result<Replayed, Error> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = state.error {
            return Err(error);
        }
        let cells = state.seats.into_iter().filter_map(|seat| seat.cell).map(|cell| cell.finish()).collect();
        let (rows, totals) = state.feed.map_or_else(Default::default, |feed| (feed.rows, feed.totals));
        Ok(Replayed { rows, totals, cells })
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        // A worker never panics while it holds the lock; if one did, `stopped` would end the others.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> State<'a> {
    fn take_job(&mut self) -> Option<Job<'a>> {
        if self.stopped {
            return None;
        }
        if !self.ended
            && self.window.len() < WINDOW
            && let Some(feed) = self.feed.take()
        {
            return Some(Job::Decode(feed));
        }
        let end = self.first + self.window.len() as u64;
        let due = self.seats.iter_mut().enumerate().filter(|(_, seat)| seat.next < end && seat.cell.is_some());
        let (seat, Seat { cell, next }) = due.min_by_key(|(_, seat)| seat.next)?;
        let batches = self.window.range((*next - self.first) as usize..).take(RUN).cloned().collect();
        Some(Job::Run { seat, cell: cell.take()?, batches })
    }

    fn is_done(&self) -> bool {
        let end = self.first + self.window.len() as u64;
        self.stopped || (self.ended && self.seats.iter().all(|seat| seat.next == end && seat.cell.is_some()))
    }

    fn decoded(&mut self, feed: Feed<'a>, batches: Result<Option<Vec<Batch>>, Error>) {
        self.feed = Some(feed);
        match batches {
            Ok(Some(batches)) => self.window.push_back(Arc::new(batches)),
            Ok(None) => self.ended = true,
            Err(error) => (self.stopped, self.error) = (true, Some(error)),
        }
        self.trim();
    }

    fn ran(&mut self, seat: usize, cell: Box<Cell>, batches: u64) {
        let seat = &mut self.seats[seat];
        seat.cell = Some(cell);
        seat.next += batches;
        self.trim();
    }

    /// Drops the batches every cell has seen.
    fn trim(&mut self) {
        let end = self.first + self.window.len() as u64;
        let seen = self.seats.iter().map(|seat| seat.next).min().unwrap_or(end);
        self.window.drain(..(seen - self.first) as usize);
        self.first = seen;
    }
}

/// Keeps the other workers from waiting for one that panicked.
struct StopOnPanic<'a, 'b>(&'a Board<'b>);

impl Drop for StopOnPanic<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().stopped = true;
            self.0.changed.notify_all();
        }
    }
}
