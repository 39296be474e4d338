//! linfa's FTRL-proximal (McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013), fed sparse rows.
//!
//! linfa takes dense rows; ours have about twenty ones among thousands of columns. A batch enters its step only by the sum of its
//! rows' gradients, so that sum is gathered sparsely and handed over as a batch of one row: a row that holds the sum, with a
//! probability of 1 for an outcome that did not happen. The step is linfa's to the bit, without the dense products.

use linfa::DatasetBase;
use linfa::ParamGuard;
use linfa::dataset::Pr;
use linfa_ftrl::{Ftrl, FtrlParams};
use ndarray::{Array1, Array2, array};

use crate::{Error, ErrorKind};

/// linfa starts a model at random; this start is 0.
#[derive(Clone, Debug)]
struct Zeros;

impl rand_core::RngCore for Zeros {
    fn next_u32(&mut self) -> u32 {
        0
    }

    fn next_u64(&mut self) -> u64 {
        0
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

/// A linear model under training.
pub(crate) struct Sparse {
    model: Ftrl<f32>,
    weights: Array1<f32>,
    /// The sum of the batch's gradients, as one row.
    gradient: DatasetBase<Array2<f32>, Array1<bool>>,
    rows: usize,
    batch: usize,
}

/// The learning rate's numerator and its offset, and the pull of the weights towards 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) alpha: f32,
    pub(crate) beta: f32,
    pub(crate) l2: f32,
}

impl Sparse {
    pub(crate) fn new(width: usize, batch: usize, rates: Rates) -> Result<Self, Error> {
        let params = FtrlParams::new(rates.alpha, rates.beta, 0.0, rates.l2, Zeros);
        let params = params.check().map_err(|wrong| Error::new(ErrorKind::BadOption, wrong.to_string()))?;
        let model = Ftrl::new(params, width);
        let weights = model.get_weights();
        let gradient = DatasetBase::new(Array2::zeros((1, width)), array![false]);
        Ok(Self { model, weights, gradient, rows: 0, batch: batch.max(1) })
    }

    /// The weighted sum of the columns that are 1.
    pub(crate) fn score(&self, columns: impl Iterator<Item = usize>) -> f32 {
        columns.map(|column| self.weights[column]).sum()
    }

    /// Adds a row whose `columns` are 1; `gradient` is its loss's derivative by its score.
    pub(crate) fn push(&mut self, columns: impl Iterator<Item = usize>, gradient: f32) {
        columns.for_each(|column| self.gradient.records[(0, column)] += gradient);
        self.rows += 1;
        if self.rows >= self.batch {
            self.step();
        }
    }

    /// Learns from the rows since the last step.
    pub(crate) fn step(&mut self) {
        if self.rows == 0 {
            return;
        }
        self.model.update(&self.gradient, array![Pr::new(1.0)].view());
        self.weights = self.model.get_weights();
        self.gradient.records.fill(0.0);
        self.rows = 0;
    }

    pub(crate) fn weights(&self) -> &Array1<f32> {
        &self.weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::logistic;
    use larder_policy::Rng;
    use linfa::traits::FitWith;

    const WIDTH: usize = 12;

    /// Rows with three ones each, and outcomes that depend on the first.
    fn rows(count: usize) -> Vec<([usize; 3], bool)> {
        let mut rng = Rng::new(3);
        let row = |_| {
            let columns = [rng.below(4) as usize, 4 + rng.below(4) as usize, 8 + rng.below(4) as usize];
            (columns, rng.unit() < [0.1, 0.4, 0.6, 0.9][columns[0]])
        };
        (0..count).map(row).collect()
    }

    #[test]
    fn the_steps_are_those_of_linfa_on_dense_rows() {
        let rates = Rates { alpha: 0.3, beta: 1.0, l2: 0.5 };
        let mut sparse = Sparse::new(WIDTH, 64, rates).unwrap();
        let params = FtrlParams::new(rates.alpha, rates.beta, 0.0, rates.l2, Zeros).check().unwrap();
        let mut dense: Option<Ftrl<f32>> = None;
        for batch in rows(64 * 40).chunks(64) {
            let mut records = Array2::zeros((64, WIDTH));
            for (at, (columns, used)) in batch.iter().enumerate() {
                let probability = logistic(sparse.score(columns.iter().copied()));
                // linfa clips a score at ±35, which these never reach.
                sparse.push(columns.iter().copied(), probability - f32::from(u8::from(*used)));
                columns.iter().for_each(|&column| records[(at, column)] = 1.0);
            }
            let targets: Array1<bool> = batch.iter().map(|row| row.1).collect();
            dense = Some(params.fit_with(dense, &DatasetBase::new(records, targets)).unwrap());
        }
        let dense = dense.unwrap().get_weights();
        let most = sparse.weights().iter().zip(&dense).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
        assert!(most < 1e-4, "{most}: {:?} {dense:?}", sparse.weights());
        assert!(dense[3] - dense[0] > 2.0, "{dense:?}");
    }

    #[test]
    fn nonsense_is_refused() {
        for rates in [Rates { alpha: f32::NAN, beta: 1.0, l2: 0.0 }, Rates { alpha: 0.1, beta: 1.0, l2: 2.0 }] {
            assert_eq!(Sparse::new(3, 1, rates).err().unwrap().kind(), ErrorKind::BadOption);
        }
    }
}
