//! What a trace is like: how often, how soon and how widely its keys are asked for.

mod histogram;
mod zipf;

pub use histogram::Histogram;

use larder_policy::{Op, Time};
use larder_trace::Carries;
use serde::Serialize;

use crate::hash::KeyMap;
use crate::progress::{Observer, Stage};
use crate::{BATCH, Error, Source};

/// Windows the course over time is told in.
const WINDOWS: u64 = 100;

/// Popular keys listed.
const TOP: usize = 10;

/// Statistics of a trace. Requests are gets and sets; a delete is counted and otherwise passed over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// The trace's name.
    pub trace: String,
    /// Gets and sets.
    pub requests: u64,
    /// Gets.
    pub gets: u64,
    /// Sets.
    pub sets: u64,
    /// Deletes.
    pub deletes: u64,
    /// Distinct keys.
    pub keys: u64,
    /// Keys requested once: no cache can hit them.
    pub one_hit_wonders: u64,
    /// Bytes of all requests; none where the trace has no sizes.
    pub bytes: Option<u64>,
    /// Bytes of the distinct keys, by the size first seen.
    pub distinct_bytes: Option<u64>,
    /// From the earliest request to the latest, in seconds; none where the trace has no times.
    pub seconds: Option<f64>,
    /// The exponent of the Zipf law nearest to the popularity of the keys requested at least ten times (greatest
    /// likelihood); none with fewer than 100 such keys.
    pub zipf_alpha: Option<f64>,
    /// The keys requested most.
    pub top: Vec<TopKey>,
    /// Keys by how often they were requested.
    pub popularity: Histogram,
    /// Repeated requests by how many rows further on they came than the key's last.
    pub reuse_rows: Histogram,
    /// Repeated requests by microseconds since the key's last; none where the trace has no times.
    pub reuse_time: Option<Histogram>,
    /// Keys by the size in bytes first seen; none where the trace has no sizes.
    pub sizes: Option<Histogram>,
    /// The course over time.
    pub windows: Vec<Window>,
}

/// A popular key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TopKey {
    /// The key's number in the trace; a text for programs, most of which round numbers so large.
    #[serde(serialize_with = "as_text")]
    pub key: u64,
    /// How often it was requested.
    pub requests: u64,
}

fn as_text<S: serde::Serializer>(key: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

/// A hundredth of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Window {
    /// Rows of the trace before it.
    pub start: u64,
    /// Seconds since the trace's first row at its beginning.
    pub seconds: f64,
    /// Gets and sets.
    pub requests: u64,
    /// Distinct keys requested in it: its working set.
    pub keys: u64,
    /// Keys never requested before.
    pub new_keys: u64,
    /// Bytes requested.
    pub bytes: u64,
}

struct Key {
    number: u64,
    last_row: u64,
    last_at: Time,
    requests: u32,
    size: u32,
}

impl Stats {
    /// Reads a trace twice: once to learn its length, once for all the rest, in about 70 bytes a key.
    ///
    /// # Errors
    /// The trace cannot be read.
    pub fn collect(source: &mut Source, observer: &dyn Observer) -> Result<Self, Error> {
        source.make_repeatable()?;
        let rows = count_rows(source, observer)?;
        let mut reader = source.open()?;
        let mut collector = Collector::new(rows, reader.carries());
        let mut batch = Vec::with_capacity(BATCH);
        while reader.read(&mut batch, BATCH)? > 0 {
            batch.drain(..).for_each(|request| collector.record(&request));
            observer.progress(Stage::Replay, collector.rows, reader.progress());
        }
        Ok(collector.finish(source.name()))
    }

    /// The share of keys requested once.
    pub fn one_hit_share(&self) -> f64 {
        crate::experiment::ratio(self.one_hit_wonders, self.keys)
    }
}

fn count_rows(source: &Source, observer: &dyn Observer) -> Result<u64, Error> {
    let mut reader = source.open()?;
    let mut batch = Vec::with_capacity(BATCH);
    let mut rows = 0;
    loop {
        batch.clear();
        match reader.read(&mut batch, BATCH)? {
            0 => return Ok(rows),
            read => rows += read as u64,
        }
        observer.progress(Stage::Survey, rows, reader.progress());
    }
}

struct Collector {
    carries: Carries,
    per_window: u64,
    rows: u64,
    first: Time,
    last: Time,
    /// All times so far are but the rows' numbers, in seconds.
    is_indexed: bool,
    requests: u64,
    keys: KeyMap<Key>,
    gets: u64,
    deletes: u64,
    bytes: u64,
    reuse_rows: Histogram,
    reuse_time: Histogram,
    window: Window,
    windows: Vec<Window>,
}

impl Collector {
    fn new(rows: u64, carries: Carries) -> Self {
        Self {
            carries,
            per_window: rows.div_ceil(WINDOWS).max(1),
            rows: 0,
            first: Time(0),
            last: Time(0),
            is_indexed: true,
            requests: 0,
            keys: KeyMap::default(),
            gets: 0,
            deletes: 0,
            bytes: 0,
            reuse_rows: Histogram::default(),
            reuse_time: Histogram::default(),
            window: Window::default(),
            windows: Vec::new(),
        }
    }

    fn record(&mut self, request: &larder_trace::Request) {
        let row = self.rows;
        self.rows += 1;
        if row == 0 {
            self.first = request.at;
        }
        (self.first, self.last) = (self.first.min(request.at), self.last.max(request.at));
        self.is_indexed &= request.at.0.checked_sub(self.first.0) == row.checked_mul(1_000_000);
        if row > 0 && row.is_multiple_of(self.per_window) {
            let seconds = request.at.since(self.first).as_secs_f64();
            self.windows.push(std::mem::replace(&mut self.window, Window { start: row, seconds, ..Window::default() }));
        }
        if request.op == Op::Delete {
            self.deletes += 1;
            return;
        }
        self.gets += u64::from(request.op == Op::Get);
        self.bytes += u64::from(request.size);
        let window = &mut self.window;
        window.requests += 1;
        window.bytes += u64::from(request.size);
        self.requests += 1;
        let fresh = || Key { number: request.key, last_row: row, last_at: request.at, requests: 0, size: request.size };
        let key = self.keys.entry(request.access().key.0).or_insert_with(fresh);
        if key.requests == 0 {
            window.new_keys += 1;
            window.keys += 1;
        } else {
            window.keys += u64::from(key.last_row < window.start);
            self.reuse_rows.add(row - key.last_row);
            let micros = request.at.since(key.last_at).as_micros();
            self.reuse_time.add(u64::try_from(micros).unwrap_or(u64::MAX));
        }
        key.requests = key.requests.saturating_add(1);
        (key.last_row, key.last_at) = (row, request.at);
    }

    fn finish(mut self, trace: &str) -> Stats {
        if self.rows > 0 {
            self.windows.push(self.window);
        }
        let mut counts: Vec<(u32, u64)> = self.keys.values().map(|key| (key.requests, key.number)).collect();
        // Ties in order of the number, so that the same trace gives the same list.
        counts.sort_unstable_by_key(|&(requests, number)| (std::cmp::Reverse(requests), number));
        let mut popularity = Histogram::default();
        let mut sizes = Histogram::default();
        for key in self.keys.values() {
            popularity.add(u64::from(key.requests));
            sizes.add(u64::from(key.size));
        }
        let distinct_bytes = self.keys.values().map(|key| u64::from(key.size)).sum();
        // Where the first rows alone were judged, all of them know better.
        let Carries { times, sizes: sized, judged, .. } = self.carries;
        let times = times || judged && !self.is_indexed;
        let sized = sized || judged && self.bytes > self.requests;
        Stats {
            trace: trace.to_owned(),
            requests: self.requests,
            gets: self.gets,
            sets: self.requests - self.gets,
            deletes: self.deletes,
            keys: counts.len() as u64,
            one_hit_wonders: counts.iter().filter(|(requests, _)| *requests == 1).count() as u64,
            bytes: sized.then_some(self.bytes),
            distinct_bytes: sized.then_some(distinct_bytes),
            seconds: times.then(|| self.last.since(self.first).as_secs_f64()),
            zipf_alpha: zipf::exponent(counts.iter().map(|(requests, _)| u64::from(*requests))),
            top: counts.iter().take(TOP).map(|&(n, key)| TopKey { key, requests: u64::from(n) }).collect(),
            popularity,
            reuse_rows: self.reuse_rows,
            reuse_time: times.then_some(self.reuse_time),
            sizes: sized.then_some(sizes),
            windows: self.windows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_trace::Request;

    #[test]
    fn counts_by_hand() {
        let row =
            |seconds: u64, key, op| Request { at: Time(seconds * 1_000_000), key, size: 100, op, ..Request::default() };
        let rows =
            [row(0, 1, Op::Get), row(1, 2, Op::Set), row(4, 1, Op::Get), row(5, 3, Op::Delete), row(9, 1, Op::Get)];
        let stats = Stats::collect(&mut Source::requests("t", rows), &()).unwrap();
        assert_eq!((stats.requests, stats.gets, stats.sets, stats.deletes), (4, 3, 1, 1));
        assert_eq!((stats.keys, stats.one_hit_wonders), (2, 1));
        assert_eq!((stats.bytes, stats.distinct_bytes, stats.seconds), (Some(400), Some(200), Some(9.0)));
        assert_eq!(stats.top, [TopKey { key: 1, requests: 3 }, TopKey { key: 2, requests: 1 }]);
        assert_eq!((stats.reuse_rows.total(), stats.reuse_rows.mean()), (2, 2.0));
        assert_eq!(stats.reuse_time.as_ref().map(Histogram::most), Some(5_000_000));
        assert_eq!(stats.zipf_alpha, None);
    }

    #[test]
    fn the_span_is_from_the_earliest_row_to_the_latest() {
        let rows: Vec<_> = [50, 90, 10].map(|at| Request { at: Time(at * 1_000_000), ..Request::default() }).into();
        let stats = Stats::collect(&mut Source::requests("t", rows.clone()), &()).unwrap();
        assert_eq!(stats.seconds, Some(80.0));
        let (survey, _) = crate::Survey::take(&mut *Source::requests("t", rows).open().unwrap(), &[], &()).unwrap();
        assert_eq!((survey.first, survey.last), (Time(10_000_000), Time(90_000_000)));
    }

    #[test]
    fn windows_hold_the_working_set() {
        let rows: Vec<_> = (0..100_000u64).map(|row| Request { key: row % 700, ..Request::default() }).collect();
        let stats = Stats::collect(&mut Source::requests("loop", rows), &()).unwrap();
        assert_eq!(stats.windows.len(), 100);
        assert!(stats.windows.iter().all(|window| window.keys == 700 && window.requests == 1000));
        assert_eq!(stats.windows.iter().map(|window| window.new_keys).sum::<u64>(), 700);
    }

    #[test]
    fn finds_the_exponent_of_generated_traffic() {
        for alpha in [0.7, 0.9, 1.1] {
            let trace = format!("gen:zipf:requests=1_000_000/keys=20_000/alpha={alpha}");
            let stats = Stats::collect(&mut Source::trace(trace, larder_trace::Options::default()), &()).unwrap();
            let found = stats.zipf_alpha.unwrap();
            assert!((found - alpha).abs() < 0.05, "{found} for {alpha}");
        }
    }
}
