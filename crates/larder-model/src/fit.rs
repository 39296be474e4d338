//! From examples to a prior: a logistic regression for each span, over all cells at once.
//!
//! A cell is a trace at a size. How likely reuse is at all differs from cell to cell by more than any feature says; every cell has
//! an intercept of its own, or those differences would leak into the weights of features. A prior takes the median intercept, and the
//! learner in the cache finds its own within some hundred examples.
//!
//! What is learned is the difference to the cold model, which is LRU: where there are no examples, a prior is LRU too.

use larder_policy::Rng;
use larder_policy::learned::features::WEIGHTS;
use larder_policy::learned::{Example, HORIZONS, Learner, Prior};
use serde::{Deserialize, Serialize};

use crate::ftrl::{Rates, Sparse};
use crate::{Error, ErrorKind};

const SPANS: usize = HORIZONS.len();

/// The place of the intercept among the weights.
const INTERCEPT: usize = WEIGHTS - 1;

/// Examples of one trace at one size.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a> {
    /// The trace: its cells share its weight.
    pub trace: &'a str,
    /// What became of entries.
    pub examples: &'a [Example],
}

/// How to learn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Passes over the examples.
    pub epochs: usize,
    /// Examples a step.
    pub batch: usize,
    /// The numerator of the learning rate.
    pub alpha: f32,
    /// What is added to the root of the squared gradients in its denominator.
    pub beta: f32,
    /// How strongly weights are pulled towards the cold model's, in [0, 1].
    pub l2: f32,
    /// A trace with this many examples weighs 1; one with n weighs the root of the quotient, so that neither the long ones nor
    /// the short ones decide alone.
    pub evened: f64,
    /// The most that one example of a short trace counts.
    pub most_weight: f64,
    /// The seed of the order of examples.
    pub seed: u64,
}

impl Default for Fit {
    fn default() -> Self {
        Self { epochs: 6, batch: 256, alpha: 0.05, beta: 1.0, l2: 1.0, evened: 20_000.0, most_weight: 4.0, seed: 1 }
    }
}

/// What was learned.
#[derive(Clone, Debug)]
pub struct Fitted {
    weights: Vec<[f32; SPANS]>,
    /// By cell.
    intercepts: Vec<[f32; SPANS]>,
}

/// A cell's number beside its example.
#[derive(Clone, Copy)]
struct Row {
    cell: u16,
    example: Example,
}

impl Fit {
    /// Learns from all cells together. The same cells and settings give the same bits.
    ///
    /// # Errors
    /// There are no examples, an example is of a span the schema does not have, there are more than 65,536 cells, or a setting is
    /// out of range.
    pub fn run(&self, cells: &[Cell<'_>]) -> Result<Fitted, Error> {
        let mut rows = rows(cells)?;
        let weights = self.weights_of(cells);
        let cold: Vec<[f32; SPANS]> = Learner::new(None, 0.0).weights().collect();
        let rates = Rates { alpha: self.alpha, beta: self.beta, l2: self.l2 };
        // The features' weights, and behind them the cells' intercepts.
        let width = INTERCEPT + cells.len();
        let mut spans = Vec::new();
        for _ in 0..SPANS {
            spans.push(Sparse::new(width, self.batch, rates)?);
        }
        let mut rng = Rng::new(self.seed);
        for _ in 0..self.epochs {
            shuffle(&mut rows, &mut rng);
            for Row { cell, example } in &rows {
                let span = usize::from(example.span);
                let cell = usize::from(*cell);
                let mut places = example.features.active().map(usize::from);
                let offset: f32 = places.iter().map(|&place| cold[place][span]).sum();
                let last = places.len() - 1;
                places[last] = INTERCEPT + cell;
                let said = logistic(offset + spans[span].score(places.iter().copied()));
                let gradient = (said - f32::from(u8::from(example.used))) * weights[cell];
                spans[span].push(places.iter().copied(), gradient);
            }
            // The last batches are not full.
            spans.iter_mut().for_each(Sparse::step);
        }
        let learned = |place: usize| std::array::from_fn(|span| spans[span].weights()[place]);
        let sum = |cold: [f32; SPANS], more: [f32; SPANS]| std::array::from_fn(|span| cold[span] + more[span]);
        let weights = (0..INTERCEPT).map(|place| sum(cold[place], learned(place))).collect();
        let intercepts = (0..cells.len()).map(|cell| sum(cold[INTERCEPT], learned(INTERCEPT + cell))).collect();
        Ok(Fitted { weights, intercepts })
    }

    /// What each cell's examples count.
    fn weights_of(&self, cells: &[Cell<'_>]) -> Vec<f32> {
        let of_trace = |trace: &str| -> usize {
            cells.iter().filter(|cell| cell.trace == trace).map(|cell| cell.examples.len()).sum()
        };
        let weight = |cell: &Cell<'_>| (self.evened / of_trace(cell.trace).max(1) as f64).sqrt().min(self.most_weight);
        cells.iter().map(|cell| weight(cell) as f32).collect()
    }
}

impl Fitted {
    /// The probability it gives to an example of a cell it learned from, with that cell's intercept.
    pub fn probability(&self, cell: usize, example: &Example) -> f32 {
        let span = usize::from(example.span);
        let active = example.features.active();
        let features = active[..active.len() - 1].iter().map(|&place| self.weights[usize::from(place)][span]);
        logistic(features.sum::<f32>() + self.intercepts[cell][span])
    }

    /// The prior: the weights, the median intercept, and how sure of them the learner in the cache is to be.
    ///
    /// # Errors
    /// The sureness is not positive.
    pub fn prior(&self, sureness: f32, metadata: String) -> Result<Prior, Error> {
        let intercept = std::array::from_fn(|span| median(self.intercepts.iter().map(|cell| cell[span])));
        // Far beyond what the data can say; the artefact's format has a bound.
        let bounded = |weight: f32| weight.clamp(-19.0, 19.0);
        let weights: Vec<f32> = self.weights.iter().chain([&intercept]).flatten().copied().map(bounded).collect();
        Ok(Prior::new(&weights, sureness, metadata)?)
    }
}

fn rows(cells: &[Cell<'_>]) -> Result<Vec<Row>, Error> {
    let bad = |message: &str| Error::new(ErrorKind::BadExamples, message);
    let mut rows = Vec::with_capacity(cells.iter().map(|cell| cell.examples.len()).sum());
    for (number, cell) in cells.iter().enumerate() {
        let number = u16::try_from(number).map_err(|_| bad("more than 65,536 cells"))?;
        if cell.examples.iter().any(|example| usize::from(example.span) >= SPANS) {
            return Err(bad("an example is of a span the model does not have"));
        }
        rows.extend(cell.examples.iter().map(|&example| Row { cell: number, example }));
    }
    if rows.is_empty() {
        return Err(bad("no examples: the cache was never full, or there are no requests"));
    }
    Ok(rows)
}

/// Fisher and Yates, in Durstenfeld's form.
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for last in (1..items.len()).rev() {
        // More rows than a u32 counts do not fit into memory.
        items.swap(last, rng.below(last as u32 + 1) as usize);
    }
}

fn median(values: impl Iterator<Item = f32>) -> f32 {
    let mut values: Vec<f32> = values.collect();
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The logistic function: the same bits on every machine, which the standard library's exponential does not promise.
pub(crate) fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{Score, served};
    use larder_policy::learned::Features;
    use larder_policy::{Access, Capacity, KeyHash, Lookup, PolicySpec, Shard, Time, Work};

    const AGE: usize = 0;
    const USES: usize = 4;

    fn some(age: u8, uses: u8, span: u8, used: bool) -> Example {
        let mut bins = [0; 16];
        (bins[AGE], bins[USES]) = (age, uses);
        Example { features: Features(bins), span, used }
    }

    /// Examples whose chance falls with age, from a place where reuse is `more` likely at all, in logits.
    fn cell(seed: u64, more: f64, count: usize) -> Vec<Example> {
        let mut rng = Rng::new(seed);
        let example = |_| {
            let (age, span) = (rng.below(40) as u8, rng.below(4) as u8);
            let chance = f64::from(logistic((more + 2.0 - 0.1 * f64::from(age)) as f32));
            some(age, 3, span, rng.unit() < chance)
        };
        (0..count).map(example).collect()
    }

    #[test]
    fn a_cells_own_rate_stays_out_of_the_features() {
        // Where reuse is rare, keys have many uses: without intercepts of their own the uses would seem to matter.
        let often = cell(1, 2.0, 30_000);
        let mut seldom = cell(2, -2.0, 30_000);
        seldom.iter_mut().for_each(|example| example.features.0[USES] = 9);
        let cells = [Cell { trace: "often", examples: &often }, Cell { trace: "seldom", examples: &seldom }];
        let fitted = Fit { epochs: 20, ..Fit::default() }.run(&cells).unwrap();
        let span = 1;
        let apart = fitted.intercepts[0][span] - fitted.intercepts[1][span];
        let by_age = |age: u8| fitted.probability(0, &some(age, 3, span as u8, true));
        assert!(apart > 1.0, "{apart}");
        for age in [2, 20, 38] {
            let truth = logistic(4.0 - 0.1 * f32::from(age));
            assert!((by_age(age) - truth).abs() < 0.05, "{age}: {} {truth}", by_age(age));
        }
    }

    #[test]
    fn where_there_are_no_examples_the_prior_is_lru() {
        let examples = vec![some(10, 3, 0, true); 1000];
        let prior = Fit::default().run(&[Cell { trace: "a", examples: &examples }]).unwrap().prior(30.0, String::new());
        let (prior, cold) = (prior.unwrap(), Learner::new(None, 0.0));
        let learner = Learner::new(Some(&prior), 0.0);
        let drop = |learner: &Learner, from: u8, to: u8| {
            learner.logits(&some(from, 3, 0, true).features)[3] - learner.logits(&some(to, 3, 0, true).features)[3]
        };
        assert!((drop(&learner, 50, 60) - drop(&cold, 50, 60)).abs() < 1e-3);
        assert!(drop(&cold, 50, 60) > 0.1);
    }

    #[test]
    fn the_same_examples_give_the_same_bytes() {
        let (one, other) = (cell(1, 0.0, 5000), cell(2, 1.0, 3000));
        let cells = [Cell { trace: "a", examples: &one }, Cell { trace: "b", examples: &other }];
        let bytes = |fit: Fit| fit.run(&cells).unwrap().prior(30.0, String::new()).unwrap().to_bytes();
        assert_eq!(bytes(Fit::default()), bytes(Fit::default()));
        assert_ne!(bytes(Fit::default()), bytes(Fit { seed: 2, ..Fit::default() }));
    }

    #[test]
    fn long_and_short_traces_weigh_alike() {
        let (long, short) = (cell(1, 0.0, 40_000), cell(2, 0.0, 100));
        let cells = [Cell { trace: "long", examples: &long }, Cell { trace: "short", examples: &short }];
        assert_eq!(Fit::default().weights_of(&cells), [0.5f32.sqrt(), 4.0]);
    }

    #[test]
    fn nonsense_is_refused() {
        let kind = |examples: &[Example]| Fit::default().run(&[Cell { trace: "a", examples }]).unwrap_err().kind();
        assert_eq!(kind(&[]), ErrorKind::BadExamples);
        assert_eq!(kind(&[some(1, 1, 4, true)]), ErrorKind::BadExamples);
        let fit = Fit { alpha: -1.0, ..Fit::default() };
        let error = fit.run(&[Cell { trace: "a", examples: &[some(1, 1, 0, true)] }]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadOption);
        let fitted = Fit::default().run(&[Cell { trace: "a", examples: &[some(1, 1, 0, true)] }]).unwrap();
        assert_eq!(fitted.prior(0.0, String::new()).unwrap_err().kind(), ErrorKind::BadModel);
    }

    /// What a cold cache learns from: popular keys, new ones, and a scan that comes back.
    fn stream() -> Vec<Example> {
        let capacity = Capacity::objects(400);
        let spec: PolicySpec = "learned:prior=0".parse().unwrap();
        let mut shard: Shard<()> = Shard::new(capacity, spec.build(capacity, 1));
        shard.record_examples();
        let (mut rng, mut work, mut evicted) = (Rng::new(7), Work::default(), Vec::new());
        for row in 0..60_000u64 {
            let key = match row % 5 {
                0 => 1_000_000 + row,
                1 => 10_000 + row / 5 % 3000,
                _ => (rng.unit() * rng.unit() * rng.unit() * 4000.0) as u64,
            };
            let access = Access::get(KeyHash::mix(key), Time(row));
            if let Lookup::Miss(miss) = shard.lookup(&access) {
                let plan = shard.plan(&access, miss, None);
                shard.insert(&access, (), &plan, &mut evicted);
                evicted.clear();
            }
        }
        shard.tick(Time(60_000), &mut work);
        work.examples
    }

    #[test]
    fn the_kernels_learner_and_linfas_agree() {
        let stream = stream();
        assert!(stream.len() > 30_000, "{}", stream.len());
        let rate = 0.08;
        let kernel: Score = served(None, rate, &stream).collect();

        let cold: Vec<[f32; SPANS]> = Learner::new(None, 0.0).weights().collect();
        let rates = Rates { alpha: rate, beta: 1.0, l2: 0.0 };
        // A step every few examples: the kernel learns at each, linfa works through all weights at each step.
        const BATCH: usize = 8;
        let mut spans: Vec<Sparse> = (0..SPANS).map(|_| Sparse::new(WEIGHTS, BATCH, rates).unwrap()).collect();
        let linfa: Score = stream
            .iter()
            .map(|example| {
                let (span, places) = (usize::from(example.span), example.features.active().map(usize::from));
                let offset: f32 = places.iter().map(|&place| cold[place][span]).sum();
                let said = logistic(offset + spans[span].score(places.iter().copied()));
                spans[span].push(places.iter().copied(), said - f32::from(u8::from(example.used)));
                (said, example.used)
            })
            .collect();
        assert!((kernel.log_loss / linfa.log_loss - 1.0).abs() < 0.01, "{} {}", kernel.log_loss, linfa.log_loss);
        // Both have learned: always saying the base rate loses more.
        let unlearned: Score = stream.iter().map(|example| (kernel.base_rate as f32, example.used)).collect();
        assert!(kernel.log_loss < unlearned.log_loss * 0.9, "{} {}", kernel.log_loss, unlearned.log_loss);
    }
}
