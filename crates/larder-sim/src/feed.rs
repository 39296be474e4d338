//! From a reader's requests to the batches the cells run: decoded and converted once, whatever the number of cells.

use larder_policy::{Access, Op};
use larder_trace::{Reader, Request};

use crate::progress::{Observer, Stage};
use crate::series::Series;
use crate::{BATCH, Error};
use larder_policy::Sample;

/// Consecutive accesses of one lane.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) accesses: Vec<Access>,
    /// The lifetime in seconds the trace gives each access, 0 for none; empty where nobody asks.
    pub(crate) lifetimes: Vec<u32>,
}

/// What a lane carried in all.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Counted accesses: gets and sets, or gets alone.
    pub requests: u64,
    /// Gets.
    pub gets: u64,
    /// Bytes of the counted accesses.
    pub bytes: u64,
    /// Counted accesses over the course of the trace.
    pub series: Series,
}

/// Reads a trace and deals it out to lanes: all of it, or a sample of its keys.
pub(crate) struct Feed<'a> {
    reader: &'a mut dyn Reader,
    lanes: &'a [Option<Sample>],
    gets_only: bool,
    keep_lifetimes: bool,
    observer: &'a dyn Observer,
    requests: Vec<Request>,
    pub(crate) rows: u64,
    pub(crate) totals: Vec<Totals>,
}

impl<'a> Feed<'a> {
    pub(crate) fn new(
        reader: &'a mut dyn Reader,
        lanes: &'a [Option<Sample>],
        gets_only: bool,
        keep_lifetimes: bool,
        observer: &'a dyn Observer,
    ) -> Self {
        let totals = vec![Totals::default(); lanes.len()];
        let requests = Vec::with_capacity(BATCH);
        Self { reader, lanes, gets_only, keep_lifetimes, observer, requests, rows: 0, totals }
    }

    /// The next batch of each lane; none at the end of the trace.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<Batch>>, Error> {
        self.requests.clear();
        while self.requests.len() < BATCH {
            let room = BATCH - self.requests.len();
            if self.reader.read(&mut self.requests, room)? == 0 {
                break;
            }
        }
        if self.requests.is_empty() {
            return Ok(None);
        }
        self.rows += self.requests.len() as u64;
        let batches = self.lanes.iter().map(|lane| self.batch(*lane)).collect::<Vec<_>>();
        for (totals, batch) in self.totals.iter_mut().zip(&batches) {
            totals.add(batch, self.gets_only);
        }
        self.observer.progress(Stage::Replay, self.rows, self.reader.progress());
        Ok(Some(batches))
    }

    fn batch(&self, lane: Option<Sample>) -> Batch {
        let mut batch = Batch::default();
        match lane {
            None => batch.accesses.extend(self.requests.iter().map(Request::access)),
            Some(sample) => batch
                .accesses
                .extend(self.requests.iter().map(Request::access).filter(|access| sample.takes(access.key))),
        }
        if self.keep_lifetimes {
            let taken = |request: &&Request| lane.is_none_or(|sample| sample.takes(request.access().key));
            batch.lifetimes.extend(self.requests.iter().filter(taken).map(|request| request.ttl));
        }
        batch
    }
}

impl Totals {
    fn add(&mut self, batch: &Batch, gets_only: bool) {
        let mut rest = &batch.accesses[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.series.room()));
            let mut counted = 0;
            for access in now {
                let counts = access.op == Op::Get || (access.op == Op::Set && !gets_only);
                counted += u64::from(counts);
                self.bytes += if counts { u64::from(access.size) } else { 0 };
                self.gets += u64::from(access.op == Op::Get);
            }
            self.requests += counted;
            self.series.push(now.len(), counted);
            rest = later;
        }
    }
}
