//! What is read, and how fast the rows behind it change.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder_policy::{KeyHash, Op, Rng};
use larder_trace::{Options, Reader};

use crate::failure::Failure;

/// The most requests held in memory; a longer run begins again.
const MOST: u64 = 10_000_000;

/// Rows that change at a rate of their own, whatever their popularity.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) name: &'static str,
    /// Its share of the rows.
    share: f64,
    /// The mean time between two changes of a row, which come independently of each other (a Poisson process).
    pub(super) every: Duration,
}

pub(super) const CLASSES: [Class; 3] = [
    Class { name: "price", share: 0.1, every: Duration::from_secs(5) },
    Class { name: "stock", share: 0.3, every: Duration::from_secs(60) },
    Class { name: "page", share: 0.6, every: Duration::from_secs(3600) },
];

/// A row, as an index.
pub(super) type Row = u32;

/// One request of the trace.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Read(Row),
    /// The service does not tell its caches: staleness is what the demonstration is about.
    Change(Row),
}

/// Requests at hand, and the rows they are about.
#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
    /// Each row's key; its class stands before the colon.
    pub(super) keys: Vec<Arc<str>>,
    /// The rows of each class.
    pub(super) classes: [Vec<Row>; CLASSES.len()],
}

impl Traffic {
    /// The first `most` requests of a trace.
    pub(super) fn read(trace: &Path, most: u64, seed: u64) -> Result<Self, Failure> {
        // A generator's trace is as long and as seeded as this run wants it, unless it says otherwise.
        let text = trace.to_string_lossy();
        let most = most.min(MOST);
        let mut described = text.to_string();
        if described.starts_with("gen:") {
            for (name, value) in [("requests", most), ("seed", seed)] {
                if !described.contains(&format!("{name}=")) {
                    described = with_parameter(&described, name, value);
                }
            }
        }
        let mut reader = larder_trace::open(&*described, &Options { limit: Some(most), ..Options::default() })?;
        let name = if text.starts_with("gen:") { described.clone() } else { reader.name().to_owned() };
        let mut traffic = Self { name, steps: Vec::new(), keys: Vec::new(), classes: Default::default() };
        let mut rows = HashMap::new();
        let mut batch = Vec::new();
        while reader.read(&mut batch, 1 << 14)? > 0 {
            for request in batch.drain(..) {
                let row = *rows.entry(request.key).or_insert_with(|| traffic.add(request.key, seed));
                traffic.steps.push(if request.op == Op::Get { Step::Read(row) } else { Step::Change(row) });
            }
        }
        if !traffic.steps.iter().any(|step| matches!(step, Step::Read(_))) {
            return Err(Failure::Failed(format!("{text} has no reads")));
        }
        Ok(traffic)
    }

    fn add(&mut self, key: u64, seed: u64) -> Row {
        let row = self.keys.len() as Row;
        let class = class_of(KeyHash::mix(key ^ seed));
        self.keys.push(format!("{}:{key}", CLASSES[class].name).into());
        self.classes[class].push(row);
        row
    }

    /// Each row's class, as its place in [`CLASSES`].
    pub(super) fn class_of_rows(&self) -> Vec<usize> {
        let mut of_rows = vec![0; self.keys.len()];
        for (class, rows) in self.classes.iter().enumerate() {
            rows.iter().for_each(|&row| of_rows[row as usize] = class);
        }
        of_rows
    }

    /// How often each row is read at so many requests a second, and how often it changes, both a second.
    pub(super) fn rates(&self, requests_a_second: f64) -> Vec<(f64, f64)> {
        let each = requests_a_second / self.steps.len() as f64;
        let of_class = |class: usize| 1.0 / CLASSES[class].every.as_secs_f64();
        let mut rates: Vec<_> = self.class_of_rows().into_iter().map(|class| (0.0, of_class(class))).collect();
        for step in &self.steps {
            match *step {
                Step::Read(row) => rates[row as usize].0 += each,
                Step::Change(row) => rates[row as usize].1 += each,
            }
        }
        rates
    }
}

fn class_of(hash: KeyHash) -> usize {
    let mut share = hash.0 as f64 / u64::MAX as f64;
    let found = CLASSES.iter().position(|class| {
        share -= class.share;
        share < 0.0
    });
    found.unwrap_or(CLASSES.len() - 1)
}

/// A generator's description with one more parameter of the whole: before a mix's parts.
fn with_parameter(described: &str, name: &str, value: u64) -> String {
    let (whole, parts) = described.split_once("/+").map_or((described, None), |(whole, parts)| (whole, Some(parts)));
    let mark = if whole.matches(':').count() > 1 { '/' } else { ':' };
    let parts = parts.map(|parts| format!("/+{parts}")).unwrap_or_default();
    format!("{whole}{mark}{name}={value}{parts}")
}

/// When rows change and which: one stream of all classes together.
pub(super) struct Changes<'a> {
    classes: &'a [Vec<Row>; CLASSES.len()],
    rng: Rng,
    /// Seconds since the start of the next change.
    at: f64,
}

impl<'a> Changes<'a> {
    pub(super) fn new(traffic: &'a Traffic, seed: u64) -> Self {
        let mut changes = Self { classes: &traffic.classes, rng: Rng::new(seed), at: 0.0 };
        changes.advance();
        changes
    }

    /// The next row that has changed until `seconds` since the start.
    pub(super) fn until(&mut self, seconds: f64) -> Option<Row> {
        if self.at > seconds {
            return None;
        }
        let mut share = self.rng.unit() * self.total();
        let mut chosen = None;
        for (class, rows) in self.rates() {
            if !rows.is_empty() {
                chosen = Some(rows);
            }
            share -= class;
            if share < 0.0 {
                break;
            }
        }
        let row = chosen.map(|rows| rows[self.rng.below(rows.len() as u32) as usize]);
        self.advance();
        row
    }

    fn advance(&mut self) {
        self.at += -(1.0 - self.rng.unit()).ln() / self.total();
    }

    fn total(&self) -> f64 {
        self.rates().map(|(rate, _)| rate).sum()
    }

    /// Changes a second of each class, with its rows.
    fn rates(&self) -> impl Iterator<Item = (f64, &'a Vec<Row>)> + use<'a> {
        CLASSES.iter().zip(self.classes).map(|(class, rows)| (rows.len() as f64 / class.every.as_secs_f64(), rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_change_at_the_rate_of_their_class() {
        let traffic = Traffic::read(Path::new("gen:uniform:keys=2000"), 50_000, 7).unwrap();
        let mut changes = Changes::new(&traffic, 7);
        let of_rows = traffic.class_of_rows();
        let mut counts = [0u32; CLASSES.len()];
        while let Some(row) = changes.until(1000.0) {
            counts[of_rows[row as usize]] += 1;
        }
        for ((class, rows), count) in CLASSES.iter().zip(&traffic.classes).zip(counts) {
            let share = rows.len() as f64 / traffic.keys.len() as f64;
            assert!((share - class.share).abs() < 0.05, "{}: {share} of the rows", class.name);
            let expected = 1000.0 * rows.len() as f64 / class.every.as_secs_f64();
            let error = (f64::from(count) - expected).abs();
            assert!(error < 5.0 * expected.sqrt(), "{}: {count} changes, {expected} expected", class.name);
        }
    }

    #[test]
    fn the_rates_of_reads_and_sets_are_those_of_the_trace() {
        let traffic = Traffic::read(Path::new("gen:zipf:keys=100/reads=0.8"), 10_000, 3).unwrap();
        let rates = traffic.rates(500.0);
        let reads: f64 = rates.iter().map(|(reads, _)| reads).sum();
        let changes: f64 = rates.iter().map(|(_, changes)| changes).sum();
        let by_class: f64 = CLASSES
            .iter()
            .zip(&traffic.classes)
            .map(|(class, rows)| rows.len() as f64 / class.every.as_secs_f64())
            .sum();
        assert!((reads - 400.0).abs() < 15.0, "{reads}");
        assert!((reads + changes - by_class - 500.0).abs() < 1e-6, "{reads} {changes} {by_class}");
    }

    #[test]
    fn a_generator_gets_the_length_and_seed_of_the_run() {
        assert_eq!(with_parameter("gen:zipf", "seed", 3), "gen:zipf:seed=3");
        assert_eq!(with_parameter("gen:zipf:keys=5", "seed", 3), "gen:zipf:keys=5/seed=3");
        let mix = "gen:mix:rate=10/+3*zipf/alpha=0.9/+1*scan";
        assert_eq!(with_parameter(mix, "seed", 3), "gen:mix:rate=10/seed=3/+3*zipf/alpha=0.9/+1*scan");
        let read = |seed| Traffic::read(Path::new(mix), 1000, seed).unwrap().keys;
        assert_eq!(read(1), read(1));
        assert_ne!(read(1), read(2));
        assert!(matches!(Traffic::read(Path::new("gen:zipf:reads=0"), 100, 1), Err(Failure::Failed(_))));
    }
}
