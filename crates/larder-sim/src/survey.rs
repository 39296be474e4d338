//! The first pass over a trace: how many keys and bytes there are, and where each key comes next.

use larder_policy::{Op, Time};
use larder_trace::{Carries, Reader, Request};

use crate::hash::KeySet;
use crate::oracle::{Future, NextAccess};
use crate::progress::{Observer, Stage};
use crate::{BATCH, Error};
use larder_policy::Sample;

/// Batches the decoder may be ahead.
const BATCHES_AHEAD: usize = 4;

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
    /// The earliest moment.
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
        Self::foresee(reader, lanes, false, observer)
    }

    /// The same; with `gets_only` it is gets alone that a policy is to foresee.
    pub(crate) fn foresee(
        reader: &mut dyn Reader,
        lanes: &[Option<Sample>],
        gets_only: bool,
        observer: &dyn Observer,
    ) -> Result<(Self, Vec<NextAccess>), Error> {
        let mut count = Count {
            survey: Self { carries: reader.carries(), ..Self::default() },
            keys: KeySet::default(),
            futures: lanes.iter().map(|&lane| (lane, Future::new(gets_only))).collect(),
        };
        // One thread decodes while the other counts: neither does much else in a first pass.
        std::thread::scope(|scope| {
            let (full, counted) = std::sync::mpsc::sync_channel(BATCHES_AHEAD);
            let decoder = scope.spawn(move || {
                loop {
                    let mut batch = Vec::with_capacity(BATCH);
                    let read = reader.read(&mut batch, BATCH)?;
                    // Nobody receives once counting has failed.
                    if read == 0 || full.send((batch, reader.progress())).is_err() {
                        return Ok::<(), Error>(());
                    }
                }
            });
            for (batch, progress) in counted {
                count.batch(&batch)?;
                observer.progress(Stage::Survey, count.survey.rows, progress);
            }
            decoder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        let Count { mut survey, keys, futures } = count;
        survey.keys = keys.len() as u64;
        Ok((survey, futures.into_iter().map(|(_, future)| future.finish()).collect()))
    }

    /// The mean size of a distinct object in bytes; 0 without keys.
    pub fn mean_size(&self) -> f64 {
        if self.keys == 0 { 0.0 } else { self.bytes as f64 / self.keys as f64 }
    }
}
/// A survey under way.
struct Count {
    survey: Survey,
    keys: KeySet,
    futures: Vec<(Option<Sample>, Future)>,
}

impl Count {
    fn batch(&mut self, batch: &[Request]) -> Result<(), Error> {
        let survey = &mut self.survey;
        if survey.rows == 0 {
            survey.first = batch.first().map_or(Time(0), |request| request.at);
        }
        survey.rows += batch.len() as u64;
        for request in batch {
            (survey.first, survey.last) = (survey.first.min(request.at), survey.last.max(request.at));
            let access = request.access();
            if access.op != Op::Delete {
                survey.requests += 1;
                if self.keys.insert(access.key.0) {
                    survey.bytes += u64::from(access.size.max(1));
                }
            }
            for (lane, future) in &mut self.futures {
                if lane.is_none_or(|sample| sample.takes(access.key)) {
                    future.push(&access)?;
                }
            }
        }
        Ok(())
    }
}
