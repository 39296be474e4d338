//! Curves of any policy from small samples.
//!
//! Miniature simulation: a cache of `rate × capacity` fed the requests of a share `rate` of the keys, picked by hash,
//! misses about as often as the whole (Waldspurger, Saemundsson, Ahmad, Park, "Cache Modeling and Optimization using
//! Miniature Simulations", USENIX ATC 2017). Samples with many or few popular keys are corrected as SHARDS-adj does:
//! the misses are set against the accesses the sample should have had, not those it had.
//!
//! The error is not assumed but measured: each point is simulated on several samples, and the spread of their answers
//! is reported as the standard error of the mean.

use std::num::NonZeroUsize;
use std::ops::Range;

use larder_policy::{Access, Capacity, KeyHash, Op, PolicySpec, Sample, Weigh};
use larder_trace::{Carries, Progress, Reader, Request, Skipped};
use serde::Serialize;

use super::StackDistances;
use crate::cell::{Cell, CellSetup, Lifetimes};
use crate::experiment::ratio;
use crate::progress::Observer;
use crate::replay::{ReplayOptions, replay};
use crate::{Error, LEAST_OBJECTS, Source, Survey};

/// Sampled keys that keep the error of a typical curve near a percentage point.
const KEYS_WANTED: f64 = 8192.0;

/// Objects a small cache needs to behave like a large one: smaller sizes are simulated at higher rates.
const OBJECTS_WANTED: f64 = 64.0;

/// Curves to draw of a trace.
#[derive(Clone, Debug)]
pub struct CurveRun {
    /// The policies.
    pub policies: Vec<PolicySpec>,
    /// How many sizes, spread evenly on a logarithmic scale up to the whole trace.
    pub points: usize,
    /// What an entry weighs.
    pub weigh: Weigh,
    /// The share of keys in a sample, the same at every size. `None` takes about 8192 keys, or all where there are
    /// fewer, and for small sizes as many more as fill a cache of 64 objects.
    pub rate: Option<f64>,
    /// Samples drawn at each size; a rate of 1 needs one.
    pub samples: usize,
    /// The seed of the samples and of the policies' random choices.
    pub seed: u64,
    /// Threads in all; results do not depend on it.
    pub threads: NonZeroUsize,
    /// Whether only gets count.
    pub gets_only: bool,
}

/// The curve of one policy on one trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// The trace's name.
    pub trace: String,
    /// The policy, or `lru` for the exact curve.
    pub policy: String,
    /// Whether every access was seen at every size: by stack distance, or with a rate of 1.
    pub exact: bool,
    /// Counted accesses of the trace.
    pub requests: u64,
    /// By capacity, ascending.
    pub points: Vec<Point>,
    /// The mean absolute difference from the exact curve, where both were computed: of LRU alone.
    pub mean_absolute_error: Option<f64>,
}

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The size, in objects or bytes.
    pub capacity: u64,
    /// The share of counted accesses that miss.
    pub miss_ratio: f64,
    /// The share of the keys simulated.
    pub rate: f64,
    /// How many samples of that share were drawn.
    pub samples: usize,
    /// The standard error of the mean over the samples; none for an exact point or a single sample.
    pub standard_error: Option<f64>,
}

impl CurveRun {
    /// Draws LRU's exact curve and the policies' sampled ones: one pass to count keys, one to simulate, and one in
    /// between for policies that know the future.
    ///
    /// # Errors
    /// The trace cannot be read, or the rate is out of range.
    pub fn run(&self, source: &mut Source, observer: &dyn Observer) -> Result<(Survey, Vec<Curve>), Error> {
        source.make_repeatable()?;
        let (survey, _) = Survey::take(&mut *source.open()?, &[], observer)?;
        if survey.keys == 0 {
            return Err(Error::option(format!("{} has no key that a cache may hold", source.name())));
        }
        let (lanes, levels) = self.levels(&survey)?;
        let futures = if self.policies.iter().any(|policy| policy.eviction().needs_oracle) {
            Survey::foresee(&mut *source.open()?, &lanes, self.gets_only, observer)?.1
        } else {
            Vec::new()
        };
        let mut cells = Vec::new();
        for policy in &self.policies {
            for Level { size, rate, lanes } in &levels {
                // A cache of no objects is none.
                let limit = ((*size as f64 * rate).round() as u64).max(1);
                for lane in lanes.clone() {
                    cells.push(Cell::new(&CellSetup {
                        policy,
                        capacity: Capacity { limit, weigh: self.weigh },
                        seed: self.seed,
                        lifetimes: Lifetimes::Ignored,
                        gets_only: self.gets_only,
                        future: futures.get(lane),
                        lane,
                    })?);
                }
            }
        }
        let options = ReplayOptions { threads: self.threads, gets_only: self.gets_only, lifetimes: Lifetimes::Ignored };
        let mut reader = source.open()?;
        let sizes: Vec<u64> = levels.iter().map(|level| level.size).collect();
        let mut exact = ExactLru::new(&mut *reader, self.weigh, &sizes, self.gets_only);
        let replayed = replay(&mut exact, &lanes, cells, &options, observer)?;
        let requests = exact.requests;
        let exact = curve(source, "lru", requests, exact.points());

        let mut curves = Vec::new();
        let mut misses = replayed.cells.iter().map(|(tally, _)| tally.misses as f64);
        for policy in &self.policies {
            let point = |level: &Level| {
                let expected = requests as f64 * level.rate;
                let of_samples = misses.by_ref().take(level.lanes.len());
                let estimates: Vec<f64> =
                    of_samples.map(|misses| if expected > 0.0 { misses / expected } else { 0.0 }).collect();
                let (mean, standard_error) = mean_and_error(&estimates);
                let (capacity, miss_ratio) = (level.size, mean.min(1.0));
                Point { capacity, miss_ratio, rate: level.rate, samples: estimates.len(), standard_error }
            };
            let mut curve = curve(source, policy.as_str(), requests, levels.iter().map(point).collect());
            if policy.as_str() == "lru" && curve.exact && self.weigh == Weigh::Objects {
                // It would be the exact curve once more.
                continue;
            }
            if policy.as_str() == "lru" {
                curve.mean_absolute_error = Some(mean_difference(&curve.points, &exact.points));
            }
            curves.push(curve);
        }
        curves.insert(0, exact);
        Ok((survey, curves))
    }

    /// The samples to draw, and which of them simulate which size.
    fn levels(&self, survey: &Survey) -> Result<(Vec<Option<Sample>>, Vec<Level>), Error> {
        let (mut lanes, mut levels): (Vec<Option<Sample>>, Vec<Level>) = (Vec::new(), Vec::new());
        for size in self.sizes(survey) {
            let rate = self.rate.unwrap_or_else(|| self.natural_rate(survey, size));
            if let Some(level) = levels.last().filter(|level| level.rate == rate) {
                levels.push(Level { size, rate, lanes: level.lanes.clone() });
                continue;
            }
            let first = lanes.len();
            let samples = if rate < 1.0 { self.samples.max(1) } else { 1 };
            for sample in 0..samples as u64 {
                lanes.push(Some(Sample::new(rate, sample_seed(self.seed, sample))?));
            }
            levels.push(Level { size, rate, lanes: first..lanes.len() });
        }
        Ok((lanes, levels))
    }

    /// The rate that samples keys enough, doubled until the simulated cache holds objects enough.
    fn natural_rate(&self, survey: &Survey, size: u64) -> f64 {
        let mut rate = (KEYS_WANTED / survey.keys.max(1) as f64).min(1.0);
        let objects = match self.weigh {
            Weigh::Objects => size as f64,
            Weigh::Bytes => size as f64 / survey.mean_size().max(1.0),
        };
        while rate < 1.0 && objects * rate < OBJECTS_WANTED {
            rate = (rate * 2.0).min(1.0);
        }
        rate
    }

    /// Sizes from the least sensible one to the whole trace, evenly on a logarithmic scale.
    fn sizes(&self, survey: &Survey) -> Vec<u64> {
        let (least, most) = match self.weigh {
            Weigh::Objects => (LEAST_OBJECTS as f64, survey.keys as f64),
            Weigh::Bytes => (LEAST_OBJECTS as f64 * survey.mean_size(), survey.bytes as f64),
        };
        let (least, steps) = (least.max(1.0).min(most.max(1.0)), self.points.max(2) - 1);
        let size = |step| least * (most.max(1.0) / least).powf(step as f64 / steps as f64);
        let mut sizes: Vec<u64> = (0..=steps).map(|step| size(step).round() as u64).collect();
        sizes.dedup();
        sizes
    }
}

/// The seed of a sample: no two seeds of a run share any.
fn sample_seed(seed: u64, sample: u64) -> u64 {
    KeyHash::mix(seed).0.wrapping_add(sample)
}

/// A size, the rate it is simulated at, and the lanes of its samples.
struct Level {
    size: u64,
    rate: f64,
    lanes: Range<usize>,
}

fn curve(source: &Source, policy: &str, requests: u64, points: Vec<Point>) -> Curve {
    Curve {
        trace: source.name().to_owned(),
        policy: policy.to_owned(),
        exact: points.iter().all(|point| point.rate >= 1.0),
        requests,
        points,
        mean_absolute_error: None,
    }
}

/// The mean, and the standard error of it where there are several values.
fn mean_and_error(values: &[f64]) -> (f64, Option<f64>) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count.max(1.0);
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    (mean, (values.len() > 1).then(|| (variance / count).sqrt()))
}

fn mean_difference(points: &[Point], exact: &[Point]) -> f64 {
    let differences = points.iter().zip(exact).map(|(point, exact)| (point.miss_ratio - exact.miss_ratio).abs());
    differences.sum::<f64>() / points.len().max(1) as f64
}

/// Passes a trace on and measures LRU's stack distances on its way.
struct ExactLru<'a> {
    reader: &'a mut dyn Reader,
    stack: StackDistances,
    sizes: &'a [u64],
    gets_only: bool,
    requests: u64,
    /// `hits[i]` of the accesses hit from `sizes[i]` on, and not at smaller sizes.
    hits: Vec<u64>,
}

impl<'a> ExactLru<'a> {
    fn new(reader: &'a mut dyn Reader, weigh: Weigh, sizes: &'a [u64], gets_only: bool) -> Self {
        let hits = vec![0; sizes.len() + 1];
        Self { reader, stack: StackDistances::new(weigh), sizes, gets_only, requests: 0, hits }
    }

    fn record(&mut self, access: &Access) {
        let distance = self.stack.access(access);
        if access.op == Op::Delete || (access.op == Op::Set && self.gets_only) {
            return;
        }
        self.requests += 1;
        if let Some(distance) = distance {
            self.hits[self.sizes.partition_point(|&size| size < distance)] += 1;
        }
    }

    fn points(&self) -> Vec<Point> {
        let mut hits = 0;
        let point = |(&capacity, more): (&u64, &u64)| {
            hits += more;
            let miss_ratio = ratio(self.requests - hits, self.requests);
            Point { capacity, miss_ratio, rate: 1.0, samples: 1, standard_error: None }
        };
        self.sizes.iter().zip(&self.hits).map(point).collect()
    }
}

impl Reader for ExactLru<'_> {
    fn read(&mut self, batch: &mut Vec<Request>, max: usize) -> Result<usize, larder_trace::Error> {
        let start = batch.len();
        let read = self.reader.read(batch, max)?;
        for request in &batch[start..] {
            self.record(&request.access());
        }
        Ok(read)
    }

    fn carries(&self) -> Carries {
        self.reader.carries()
    }

    fn skipped(&self) -> Skipped {
        self.reader.skipped()
    }

    fn progress(&self) -> Progress {
        self.reader.progress()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate: Option<f64>, policies: &[&str]) -> (Survey, Vec<Curve>) {
        let mut source = Source::trace("gen:zipf:requests=300_000/keys=50_000/alpha=0.8/seed=3", Default::default());
        let run = CurveRun {
            policies: policies.iter().map(|policy| policy.parse().unwrap()).collect(),
            points: 12,
            weigh: Weigh::Objects,
            rate,
            samples: 4,
            seed: 1,
            threads: NonZeroUsize::new(2).unwrap(),
            gets_only: false,
        };
        run.run(&mut source, &()).unwrap()
    }

    #[test]
    fn samples_come_near_the_exact_curve() {
        let (survey, curves) = run(Some(0.1), &["lru", "fifo"]);
        let [exact, sampled, fifo] = &curves[..] else { panic!("{curves:?}") };
        assert!(exact.exact && !sampled.exact && !fifo.exact);
        assert_eq!(exact.points.last().unwrap().capacity, survey.keys);
        // At the size of the whole trace only first accesses miss.
        assert_eq!(exact.points.last().unwrap().miss_ratio, survey.keys as f64 / survey.requests as f64);
        assert!(exact.points.windows(2).all(|pair| pair[0].miss_ratio >= pair[1].miss_ratio));
        assert!(sampled.mean_absolute_error.unwrap() < 0.02, "{:?}", sampled.mean_absolute_error);
        // The error is large where a small cache simulates few objects, and says so.
        for (point, exact) in sampled.points.iter().zip(&exact.points) {
            let error = point.standard_error.unwrap();
            let off = (point.miss_ratio - exact.miss_ratio).abs();
            assert!(off < 5.0 * error + 0.01, "{point:?} is {off} off");
            assert!(point.capacity < 1000 || error < 0.02, "{point:?}");
        }
    }

    #[test]
    fn the_whole_is_exact() {
        let (_, curves) = run(Some(1.0), &["lru", "fifo"]);
        assert_eq!(curves.len(), 2, "LRU is drawn once");
        assert!(curves.iter().all(|curve| curve.exact && curve.points.iter().all(|point| point.samples == 1)));
    }

    #[test]
    fn small_sizes_are_sampled_more() {
        let (_, curves) = run(None, &["lru"]);
        let points = &curves[1].points;
        assert!(points.windows(2).all(|pair| pair[0].rate >= pair[1].rate), "{points:?}");
        assert!(points.iter().all(|point| point.rate == 1.0 || point.capacity as f64 * point.rate >= OBJECTS_WANTED));
        assert!(points.last().unwrap().rate < 0.5);
        assert!(curves[1].mean_absolute_error.unwrap() < 0.01, "{:?}", curves[1].mean_absolute_error);
    }

    #[test]
    fn policies_that_know_the_future_are_sampled_too() {
        let (_, curves) = run(None, &["lru", "belady"]);
        let [_, lru, belady] = &curves[..] else { panic!("{curves:?}") };
        assert!(lru.points.iter().zip(&belady.points).all(|(lru, best)| best.miss_ratio <= lru.miss_ratio + 1e-9));
    }

    #[test]
    fn seeds_next_to_each_other_share_no_sample() {
        let mut seeds: Vec<u64> =
            (0..20).flat_map(|seed| (0..16).map(move |sample| sample_seed(seed, sample))).collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 320);
    }

    #[test]
    fn the_error_is_that_of_a_mean() {
        assert_eq!(mean_and_error(&[0.5]), (0.5, None));
        let (mean, error) = mean_and_error(&[0.4, 0.5, 0.6]);
        assert!((mean - 0.5).abs() < 1e-12);
        assert!((error.unwrap() - 0.1 / 3f64.sqrt()).abs() < 1e-12);
    }
}
