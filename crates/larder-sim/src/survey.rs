//! The first pass over a trace: how many keys and bytes there are, and where each key comes next.

use larder_policy::{Op, Time};
use larder_trace::{Carries, Reader};

use crate::hash::KeySet;
use crate::oracle::{Future, NextAccess};
use crate::progress::{Observer, Stage};
use crate::sample::Sample;
use crate::{BATCH, Error};

/// What a trace holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Survey {
    /// Rows, deletes among them.
    pub rows: u64,
    /// Gets and sets.
    pub requests: u64,
    /// Distinct keys of the gets and sets.
    pub keys: u64,
    /// The sum over distinct keys of the size first seen, each at least 1 as the kernel weighs them.
    pub bytes: u64,
    /// The moment of the first row.
    pub first: Time,
    /// The latest moment.
    pub last: Time,
    /// What the trace declares beside its keys.
    pub carries: Carries,
}

impl Survey {
    /// Reads a whole trace. For each of `lanes` (a sample of its keys, or `None` for all of them) it also finds
    /// every access's successor, in memory of 4 bytes a request and about 30 bytes a key.
    ///
    /// # Errors
    /// The trace cannot be read, or is too long for the successors to be numbered.
    pub fn take(
        reader: &mut dyn Reader,
        lanes: &[Option<Sample>],
        observer: &dyn Observer,
    ) -> Result<(Self, Vec<NextAccess>), Error> {
        let mut survey = Self { carries: reader.carries(), ..Self::default() };
        let mut keys = KeySet::default();
        let mut futures: Vec<Future> = lanes.iter().map(|_| Future::default()).collect();
        let mut batch = Vec::with_capacity(BATCH);
        while reader.read(&mut batch, BATCH)? > 0 {
            if survey.rows == 0 {
                survey.first = batch.first().map_or(Time(0), |request| request.at);
            }
            survey.rows += batch.len() as u64;
            for request in batch.drain(..) {
                survey.last = survey.last.max(request.at);
                let access = request.access();
                if access.op != Op::Delete {
                    survey.requests += 1;
                    if keys.insert(access.key.0) {
                        survey.bytes += u64::from(access.size.max(1));
                    }
                }
                for (lane, future) in lanes.iter().zip(&mut futures) {
                    if lane.is_none_or(|sample| sample.takes(access.key)) {
                        future.push(&access)?;
                    }
                }
            }
            observer.progress(Stage::Survey, survey.rows, reader.progress());
        }
        survey.keys = keys.len() as u64;
        Ok((survey, futures.into_iter().map(Future::finish).collect()))
    }

    /// The mean size of a distinct object in bytes; 0 without keys.
    pub fn mean_size(&self) -> f64 {
        if self.keys == 0 { 0.0 } else { self.bytes as f64 / self.keys as f64 }
    }
}
