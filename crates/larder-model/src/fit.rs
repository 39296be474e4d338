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
