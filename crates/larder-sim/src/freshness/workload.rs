//! What is replayed: reads and writes of a trace in order of time, the reads its own or laid over it.

use std::collections::hash_map::Entry;
use std::fmt;
use std::str::FromStr;

use larder_policy::{KeyHash, Op, Rng, Time};

use crate::hash::KeyMap;
use crate::progress::{Observer, Stage};
use crate::{BATCH, Error, Source};

/// Where the reads come from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Reads {
    /// The trace's own.
    #[default]
    AsIs,
    /// In their place, Poisson reads over each key's life in the trace, Zipf over the keys in random order.
    Zipf {
        /// The exponent.
        alpha: f64,
        /// The mean number of reads a key.
        per_key: f64,
    },
}

impl FromStr for Reads {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "as-is" {
            return Ok(Self::AsIs);
        }
        let numbers = text.strip_prefix("zipf:").and_then(|rest| rest.split_once(':'));
        let parsed = numbers.and_then(|(alpha, per_key)| Some((alpha.parse().ok()?, per_key.parse().ok()?)));
        match parsed {
            Some((alpha, per_key)) if (0.0..=10.0).contains(&alpha) && per_key > 0.0 && per_key <= 1e6 => {
                Ok(Self::Zipf { alpha, per_key })
            }
            _ => Err(Error::option(format!(
                "reads '{text}' are neither as-is nor zipf:ALPHA:READS_PER_KEY, such as zipf:0.9:30"
            ))),
        }
    }
}

impl fmt::Display for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsIs => f.write_str("as-is"),
            Self::Zipf { alpha, per_key } => write!(f, "zipf:{alpha}:{per_key}"),
        }
    }
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) at: Time,
    /// The key's number, from 0.
    pub(super) key: u32,
    /// The origin's value changes; else it is read.
    pub(super) is_write: bool,
    /// Of a write: whether the cache is told.
    pub(super) is_noticed: bool,
}

/// A key's facts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) hash: KeyHash,
    /// Of its first row.
    pub(super) size: u32,
    /// Its first and last row; to the end of the trace where nothing but writes tells of any key.
    pub(super) first: Time,
    pub(super) last: Time,
    /// Changes after its first row: what was there before nobody has read.
    pub(super) writes: u32,
    pub(super) reads: u32,
}

/// A trace held in memory, its keys numbered.
#[derive(Debug)]
pub(super) struct Trace {
    rows: Vec<(Time, u32, bool)>,
    keys: Vec<Key>,
}

impl Trace {
    /// Reads all of a source.
    pub(super) fn read(source: &Source, observer: &dyn Observer) -> Result<Self, Error> {
        let mut reader = source.open()?;
        let mut trace = Self { rows: Vec::new(), keys: Vec::new() };
        let (mut has_reads, mut end) = (false, Time(0));
        let mut numbers: KeyMap<u32> = KeyMap::default();
        let mut batch = Vec::new();
        while reader.read(&mut batch, BATCH)? > 0 {
            for request in batch.drain(..) {
                let access = request.access();
                let is_write = access.op != Op::Get;
                let number = match numbers.entry(access.key.0) {
                    Entry::Occupied(number) => {
                        let key = &mut trace.keys[*number.get() as usize];
                        (key.first, key.last) = (key.first.min(access.at), key.last.max(access.at));
                        key.writes += u32::from(is_write);
                        *number.get()
                    }
                    Entry::Vacant(number) => {
                        let (hash, size, at) = (access.key, access.size, access.at);
                        trace.keys.push(Key { hash, size, first: at, last: at, writes: 0, reads: 0 });
                        *number.insert(trace.keys.len() as u32 - 1)
                    }
                };
                has_reads |= !is_write;
                end = end.max(access.at);
                trace.rows.push((access.at, number, is_write));
            }
            observer.progress(Stage::Survey, trace.rows.len() as u64, reader.progress());
        }
        if !has_reads {
            trace.keys.iter_mut().for_each(|key| key.last = end);
        }
        Ok(trace)
    }

    /// Distinct keys.
    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Rows that say a value changed.
    pub(super) fn writes(&self) -> usize {
        self.rows.iter().filter(|row| row.2).count()
    }

    /// The events of a replay. A write that a share of `notices` is drawn for is told to the cache.
    pub(super) fn workload(&self, reads: Reads, notices: f64, seed: u64) -> Workload {
        let mut rng = Rng::new(seed ^ 0x6672_6573_686e_6573);
        let mut keys = self.keys.clone();
        let keeps = |row: &&(Time, u32, bool)| row.2 || reads == Reads::AsIs;
        let event = |&(at, key, is_write): &(Time, u32, bool)| Event {
            at,
            key,
            is_write,
            is_noticed: is_write && rng.unit() < notices,
        };
        let mut events: Vec<Event> = self.rows.iter().filter(keeps).map(event).collect();
        if let Reads::Zipf { alpha, per_key } = reads {
            self.lay_over(alpha, per_key, &mut rng, &mut events);
        }
        // What is written in the same moment is what is read; apart from that the file's order stays.
        events.sort_by_key(|event| (event.at, !event.is_write));
        events.iter().filter(|event| !event.is_write).for_each(|event| keys[event.key as usize].reads += 1);
        let reads = events.iter().filter(|event| !event.is_write).count() as u64;
        Workload { events, keys, reads }
    }

    /// A key is read from its first row to its last.
    fn lay_over(&self, alpha: f64, per_key: f64, rng: &mut Rng, events: &mut Vec<Event>) {
        let count = self.keys.len();
        let mut order: Vec<u32> = (0..count as u32).collect();
        for at in (1..count).rev() {
            order.swap(at, rng.below(at as u32 + 1) as usize);
        }
        let weight = |rank: usize| ((rank + 1) as f64).powf(-alpha);
        let total: f64 = (0..count).map(weight).sum();
        for (rank, &number) in order.iter().enumerate() {
            let key = &self.keys[number as usize];
            let span = key.last.0.saturating_sub(key.first.0) as f64;
            let mean = span / (per_key * count as f64 * weight(rank) / total);
            let mut at = 0.0;
            loop {
                at -= mean * (1.0 - rng.unit()).ln();
                if at >= span || mean <= 0.0 {
                    break;
                }
                events.push(Event {
                    at: Time(key.first.0 + at as u64),
                    key: number,
                    is_write: false,
                    is_noticed: false,
                });
            }
        }
    }
}

/// Events in order, with what their keys are.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) events: Vec<Event>,
    pub(super) keys: Vec<Key>,
    pub(super) reads: u64,
}

impl Workload {
    /// Seconds from the first event to the last.
    pub(super) fn span(&self) -> f64 {
        match (self.events.first(), self.events.last()) {
            (Some(first), Some(last)) => (last.at.0 - first.at.0) as f64 * 1e-6,
            _ => 0.0,
        }
    }

    /// The events up to a share of the reads, and how many reads that is.
    pub(super) fn head(&self, share: f64) -> (&[Event], u64) {
        let wanted = (self.reads as f64 * share) as u64;
        let mut reads = 0;
        let end = self.events.iter().position(|event| {
            reads += u64::from(!event.is_write);
            reads > wanted
        });
        (&self.events[..end.unwrap_or(self.events.len())], wanted.min(self.reads))
    }
}

#[cfg(test)]
mod tests {
    use larder_trace::Request;

    use super::*;

    fn trace(rows: &[(u64, u64, Op)]) -> Trace {
        let request = |&(at, key, op): &(u64, u64, Op)| Request {
            at: Time(at * 1_000_000),
            key,
            op,
            size: 1,
            ..Request::default()
        };
        let rows: Vec<Request> = rows.iter().map(request).collect();
        Trace::read(&Source::requests("t", rows), &()).unwrap()
    }

    #[test]
    fn writes_come_before_reads_of_the_same_moment() {
        let workload = trace(&[(0, 1, Op::Get), (5, 1, Op::Get), (5, 1, Op::Set)]).workload(Reads::AsIs, 0.0, 1);
        assert_eq!(workload.events.iter().map(|event| event.is_write).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(workload.reads, 2);
    }

    #[test]
    fn reads_of_the_same_moment_keep_their_order() {
        let rows = [(0, 1, Op::Get), (1, 2, Op::Get), (5, 2, Op::Get), (5, 1, Op::Get), (5, 2, Op::Get)];
        let workload = trace(&rows).workload(Reads::AsIs, 0.0, 1);
        assert_eq!(workload.events.iter().map(|event| event.key).collect::<Vec<_>>(), [0, 1, 1, 0, 1]);
    }

    #[test]
    fn reads_laid_over_stay_within_the_keys_life_and_keep_their_number() {
        let rows: Vec<_> = (0..100)
            .flat_map(|key| [(key, key, Op::Get), (1000 + key, key, Op::Set), (2000 + 10 * key, key, Op::Get)])
            .collect();
        let workload = trace(&rows).workload(Reads::Zipf { alpha: 0.9, per_key: 50.0 }, 0.0, 1);
        // A Poisson number with mean 5000: five standard deviations are 354.
        assert!(workload.reads.abs_diff(5000) < 354, "{}", workload.reads);
        for event in &workload.events {
            let key = &workload.keys[event.key as usize];
            assert!(key.first <= event.at && event.at <= key.last);
        }
        let most = workload.keys.iter().map(|key| key.reads).max().unwrap();
        assert!(most > 500, "the most popular has {most}");
        let again = trace(&rows).workload(Reads::Zipf { alpha: 0.9, per_key: 50.0 }, 0.0, 1);
        assert_eq!(workload.events, again.events);
    }

    #[test]
    fn where_nothing_is_read_keys_live_to_the_end_and_the_first_write_is_no_change() {
        let rows = [(0, 1, Op::Set), (10, 2, Op::Set), (500, 1, Op::Set), (1000, 3, Op::Set)];
        let of = |trace: Trace| trace.keys.iter().map(|key| (key.last.0 / 1_000_000, key.writes)).collect::<Vec<_>>();
        assert_eq!(of(trace(&rows)), [(1000, 1), (1000, 0), (1000, 0)]);
        let read = [&rows[..], &[(2000, 4, Op::Get)]].concat();
        assert_eq!(of(trace(&read)), [(500, 1), (10, 0), (1000, 0), (2000, 0)]);
    }

    #[test]
    fn a_share_of_the_writes_is_noticed() {
        let rows: Vec<_> = (0..10_000).map(|at| (at, 1, Op::Set)).collect();
        let noticed = trace(&rows).workload(Reads::AsIs, 0.3, 1).events.iter().filter(|event| event.is_noticed).count();
        assert!(noticed.abs_diff(3000) < 230, "{noticed}");
    }

    #[test]
    fn texts_of_reads() {
        assert_eq!("as-is".parse::<Reads>().unwrap(), Reads::AsIs);
        let zipf: Reads = "zipf:0.9:30".parse().unwrap();
        assert_eq!(zipf.to_string().parse::<Reads>().unwrap(), zipf);
        for text in ["", "zipf", "zipf:0.9", "zipf:a:3", "zipf:0.9:0", "zipf:-1:3", "zipf:nan:3", "zipf:1:inf"] {
            assert!(text.parse::<Reads>().is_err(), "{text}");
        }
    }
}
