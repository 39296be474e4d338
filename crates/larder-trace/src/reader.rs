//! What every format's reader and every generator offers.

use crate::{Error, Progress, Request};

/// A stream of requests in batches, so that decoding stays fast and one pass can feed many policies.
pub trait Reader: Send {
    /// Appends up to `max` requests to `batch` and returns how many; 0 means the trace has ended.
    ///
    /// # Errors
    /// A bad row beyond what [`Options::skip_bad`](crate::Options::skip_bad) allows, a damaged archive, or the
    /// operating system's refusal. Requests appended before the error are good; a reader is not to be used after it.
    fn read(&mut self, batch: &mut Vec<Request>, max: usize) -> Result<usize, Error>;

    /// What the requests of this trace carry beside their keys.
    fn carries(&self) -> Carries;

    /// What was passed over so far.
    fn skipped(&self) -> Skipped;

    /// How far the reader is, for a progress bar.
    fn progress(&self) -> Progress;

    /// Which columns or fields were taken for what, such as `key=url, time=ts (ms)`, where a format maps them.
    fn mapping(&self) -> Option<String> {
        None
    }
}

/// What a trace declares beside its keys. What it does not carry has [`Request`]'s neutral value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carries {
    /// Real times; without them a request's time is its index in seconds.
    pub times: bool,
    /// Sizes in bytes.
    pub sizes: bool,
    /// Sets or deletes beside gets.
    pub ops: bool,
    /// Lifetimes.
    pub ttls: bool,
    /// Costs of loads.
    pub costs: bool,
    /// The format always has times and sizes, and whether they are real was judged by the first rows.
    pub judged: bool,
}

impl Carries {
    /// Keys alone.
    pub const KEYS: Self = Self { times: false, sizes: false, ops: false, ttls: false, costs: false, judged: false };
    /// Everything a [`Request`] holds.
    pub const ALL: Self = Self { times: true, sizes: true, ops: true, ttls: true, costs: true, judged: false };
}

/// What a reader passed over or had to guess.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Rows that broke their format.
    pub bad: u64,
    /// The first few of those, as their errors read.
    pub first: Vec<String>,
    /// Good rows that are no cache request: comments, other commands, failed responses.
    pub other: u64,
    /// Requests whose size neither their row nor an earlier one of their key tells.
    pub guessed_sizes: u64,
    /// Requests whose size, lifetime or cost is more than a [`Request`] holds: 2³² − 1 stands in its place.
    pub cut: u64,
}

impl Skipped {
    /// Errors kept as text; the rest are only counted.
    pub const KEPT: usize = 5;

    /// Counts `error` unless `allowed` are counted already.
    pub(crate) fn bad(&mut self, error: Error, allowed: u64) -> Result<(), Error> {
        if self.bad >= allowed {
            return Err(error);
        }
        self.bad += 1;
        if self.first.len() < Self::KEPT {
            self.first.push(error.to_string());
        }
        Ok(())
    }
}
