//! How good what the model says is, as the cache runs: each example is judged by what was said before it was learned from
//! (prequential: Dawid, J. R. Stat. Soc. A 147, 1984). One example in thirteen, which keeps step with nothing, over the last few
//! thousand of these.

use std::ops::AddAssign;

use super::drift::Drift;
use super::scorecard::loss;
use super::{Example, HORIZONS, Prior};

/// Of so many examples one is judged.
const EVERY: u32 = 13;
/// Examples judged until the older half is forgotten.
const WINDOW: u32 = 2048;
/// Bins by what was said, of equal width.
const BINS: usize = 10;
/// Of fewer examples nothing is said: their calibration error is mostly chance.
const FEWEST: u64 = 512;

/// Examples of a kind: how many, and how many of them happened.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    count: u64,
    happened: u64,
}

/// Sums over examples. Those of several models can be added up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scores {
    spans: [Seen; HORIZONS.len()],
    /// By what was said.
    bins: [Seen; BINS],
    /// Probabilities said, summed by bin.
    said: [f64; BINS],
    loss: f64,
    /// Where there is a prior: how many examples, and the losses of the model and of the prior on them.
    compared: u64,
    own: f64,
    prior: f64,
    drift: f64,
    drifts: u64,
}

impl Scores {
    /// How many examples were judged.
    pub fn examples(&self) -> u64 {
        self.spans.iter().map(|seen| seen.count).sum()
    }

    /// The mean of −ln of the probability given to what happened, in nats; `None` of too few.
    pub fn log_loss(&self) -> Option<f64> {
        (self.examples() >= FEWEST).then(|| self.loss / self.examples() as f64)
    }

    /// The model's log-loss as a share of the loss of somebody who knows how often each span brings a use and nothing else (normalised
    /// entropy: He et al., ADKDD 2014). From 1 on the model knows nothing; `None` of too few, or where always the same happens.
    pub fn against_base_rate(&self) -> Option<f64> {
        let base: f64 = self.spans.iter().map(|seen| seen.entropy()).sum();
        (self.examples() >= FEWEST && base > 0.0).then(|| self.loss / base)
    }

    /// The model's log-loss as a share of the loss of the prior it began with or took over last, on the same examples. Below 1, what was
    /// learned here helps; `None` of too few, or without a prior.
    pub fn against_prior(&self) -> Option<f64> {
        (self.compared >= FEWEST && self.prior > 0.0).then(|| self.own / self.prior)
    }

    /// The expected calibration error: the distance between what was said and what happened in each of ten bins, weighted by its examples
    /// (Naeini, Cooper, Hauskrecht, AAAI 2015). `None` of too few.
    pub fn calibration_error(&self) -> Option<f64> {
        let off = |(seen, said): (&Seen, &f64)| (said - seen.happened as f64).abs();
        let sum: f64 = self.bins.iter().zip(&self.said).map(off).sum();
        (self.examples() >= FEWEST).then(|| sum / self.examples() as f64)
    }

    /// How far the model that is worst off is on its way to drift: at 1, when it has gone on foretelling worse than somebody who knows how
    /// often each span brings a use and nothing else, it is set aside and begins anew as LRU.
    pub fn drift(&self) -> f64 {
        self.drift
    }

    /// How often a model drifted, since the start.
    pub fn drifts(&self) -> u64 {
        self.drifts
    }

    /// What the model lost, in nats, is `own`.
    fn note(&mut self, example: &Example, logit: f32, own: f64, prior: Option<f32>) {
        let said = 1.0 / (1.0 + f64::from(-logit).exp());
        let bin = ((said * BINS as f64) as usize).min(BINS - 1);
        for seen in [&mut self.spans[usize::from(example.span)], &mut self.bins[bin]] {
            seen.count += 1;
            seen.happened += u64::from(example.used);
        }
        self.said[bin] += said;
        self.loss += own;
        if let Some(prior) = prior {
            self.compared += 1;
            self.own += own;
            self.prior += f64::from(loss(prior, example.used));
        }
    }
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.happened += other.happened;
    }
}

impl Seen {
    /// The log-loss, summed, of who always says the share that happened.
    fn entropy(self) -> f64 {
        let part = |count: u64| {
            if count == 0 { 0.0 } else { -(count as f64) * (count as f64 / self.count as f64).ln() }
        };
        part(self.happened) + part(self.count - self.happened)
    }
}

impl AddAssign for Scores {
    fn add_assign(&mut self, other: Self) {
        self.spans.iter_mut().zip(other.spans).for_each(|(own, other)| *own += other);
        self.bins.iter_mut().zip(other.bins).for_each(|(own, other)| *own += other);
        self.said.iter_mut().zip(other.said).for_each(|(own, other)| *own += other);
        self.loss += other.loss;
        self.compared += other.compared;
        self.own += other.own;
        self.prior += other.prior;
        self.drift = self.drift.max(other.drift);
        self.drifts += other.drifts;
    }
}

/// The examples judged lately.
#[derive(Clone, Debug)]
pub(crate) struct Prequential {
    now: Scores,
    before: Scores,
    judged: u32,
    /// Examples until one is judged.
    wait: u32,
    drift: Drift,
    drifts: u64,
}

impl Prequential {
    pub(crate) fn new() -> Self {
        let (now, before) = (Scores::default(), Scores::default());
        Self { now, before, judged: 0, wait: EVERY, drift: Drift::new(), drifts: 0 }
    }

    /// An example, with the logit the model had said.
    #[inline(always)]
    pub(crate) fn note(&mut self, example: &Example, logit: f32, prior: Option<&Prior>) {
        self.wait -= 1;
        if self.wait == 0 {
            self.judge(example, logit, prior);
        }
    }

    #[cold]
    #[inline(never)]
    fn judge(&mut self, example: &Example, logit: f32, prior: Option<&Prior>) {
        self.wait = EVERY;
        let span = usize::from(example.span);
        let prior = prior.map(|prior| prior.logit(&example.features, span));
        if !logit.is_finite() {
            self.drift.note(span, example.used, f64::INFINITY);
            return;
        }
        let lost = f64::from(loss(logit, example.used));
        self.drift.note(span, example.used, lost);
        self.now.note(example, logit, lost, prior);
        self.judged += 1;
        if self.judged == WINDOW {
            self.judged = 0;
            self.before = std::mem::take(&mut self.now);
        }
    }

    /// Whether the model has lost touch with the traffic.
    #[inline]
    pub(crate) fn drifts(&self) -> bool {
        self.drift.level() >= 1.0
    }

    /// The model is another one: what the one before said is forgotten, but for how often one drifted.
    pub(crate) fn restart(&mut self) {
        *self = Self { drifts: self.drifts + u64::from(self.drifts()), ..Self::new() };
    }

    pub(crate) fn scores(&self) -> Scores {
        let mut scores = self.before;
        scores += self.now;
        (scores.drift, scores.drifts) = (self.drift.level(), self.drifts);
        scores
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;
    use crate::learned::Features;
    use crate::learned::features::WEIGHTS;

    /// Of a use with probability `truth`, where the model says `said`.
    fn scores(truth: f64, said: f64, prior: Option<&Prior>) -> Scores {
        let mut record = Prequential::new();
        let mut rng = Rng::new(3);
        let logit = (said / (1.0 - said)).ln() as f32;
        for step in 0..200_000u32 {
            let (span, used) = ((step % 4) as u8, rng.unit() < truth);
            record.note(&Example { features: Features::default(), span, used }, logit, prior);
        }
        record.scores()
    }

    #[test]
    fn who_says_the_truth_is_calibrated_and_no_better_than_the_base_rate() {
        let scores = scores(0.3, 0.3, None);
        assert!((2048..4096).contains(&scores.examples()), "{}", scores.examples());
        let entropy = -(0.3f64.ln() * 0.3 + 0.7f64.ln() * 0.7);
        assert!((scores.log_loss().unwrap() - entropy).abs() < 0.02);
        assert!((scores.against_base_rate().unwrap() - 1.0).abs() < 0.01);
        assert!(scores.calibration_error().unwrap() < 0.03);
        assert_eq!(scores.against_prior(), None);
    }

    #[test]
    fn who_does_not_is_told_by_how_much() {
        // Weights of 0: one to one.
        let prior = Prior::new(&[0.0; WEIGHTS * HORIZONS.len()], 30.0, "").unwrap();
        let scores = scores(0.3, 0.9, Some(&prior));
        assert!((scores.calibration_error().unwrap() - 0.6).abs() < 0.03);
        let loss = -(0.9f64.ln() * 0.3 + 0.1f64.ln() * 0.7);
        assert!((scores.against_prior().unwrap() - loss / 2f64.ln()).abs() < 0.1);
        assert!(scores.against_base_rate().unwrap() > 2.0);
    }

    #[test]
    fn of_few_nothing_is_said_and_those_of_parts_add_up() {
        let mut record = Prequential::new();
        let example = Example { features: Features::default(), span: 0, used: true };
        (0..13 * 300).for_each(|_| record.note(&example, 1.0, None));
        let few = record.scores();
        assert_eq!((few.examples(), few.log_loss(), few.calibration_error()), (300, None, None));
        let mut both = few;
        both += few;
        assert!((both.log_loss().unwrap() - (1.0 + (-1f64).exp()).ln()).abs() < 1e-3);
        assert_eq!(both.against_base_rate(), None, "always the same happened");
    }

    #[test]
    fn a_logit_out_of_reach_breaks_nothing() {
        let mut record = Prequential::new();
        for logit in [f32::MAX, f32::MIN, 90.0, -90.0] {
            let example = Example { features: Features::default(), span: 3, used: logit < 0.0 };
            (0..13 * 200).for_each(|_| record.note(&example, logit, None));
        }
        assert!(record.scores().calibration_error().unwrap().is_finite());
    }

    #[test]
    fn a_logit_that_is_no_number_spoils_no_score_and_is_drift() {
        let mut record = Prequential::new();
        let example = |used| Example { features: Features::default(), span: 1, used };
        (0..13 * 600).for_each(|at| record.note(&example(at % 2 == 0), 0.0, None));
        assert!(!record.drifts());
        (0..13 * 60).for_each(|at| record.note(&example(true), [f32::NAN, f32::INFINITY][at % 2], None));
        let scores = record.scores();
        assert_eq!((scores.examples(), scores.drifts()), (600, 0));
        assert!((scores.log_loss().unwrap() - 2f64.ln()).abs() < 1e-3);
        assert!(record.drifts() && scores.drift() >= 1.0);
        record.restart();
        let scores = record.scores();
        assert_eq!((scores.examples(), scores.drift(), scores.drifts()), (0, 0.0, 1));
    }
}
