//! Audits: a small share of hits is checked at the origin, so that the stale rate is measured and not assumed.
//!
//! A hit foreseen to be stale with probability p is drawn with π ∝ √p, the allocation of least variance (Neyman 1934), held
//! within limits so that no weight 1/π dominates; the total is Σ y/π (Horvitz, Thompson 1952). Its interval is the gamma
//! interval for weighted sums of Poisson counts (Fay, Feuer, "Confidence intervals for directly standardized rates",
//! Statistics in Medicine 1997), which holds its level even for a handful of events.

use std::ops::{AddAssign, Sub};

use super::special::{Z_95, chi_square};

/// π is the scale times √(p/ε) within these limits, and at most `MOST`.
const SPREAD: (f64, f64) = (0.35, 4.0);
const MOST: f64 = 0.25;
/// Audits a read until so many stale reads should have been found, and then.
const EAGER: f64 = 0.003;
const STEADY: f64 = 0.001;
const ENOUGH: f64 = 30.0;
/// Audits never cost more than this share of the loads, and a little of the reads where there are hardly any loads.
const OF_LOADS: f64 = 0.05;
const OF_READS: f64 = 0.001;
/// Stale reads the bias of the forecast remembers, and for how many an unbiased one counts; it lies within a range.
const COMPARED: f64 = 300.0;
const SHRINK: f64 = 40.0;
const BIAS: (f64, f64) = (0.5, 3.0);
/// Stale reads that the ratio of what was foreseen of lives to what loads told of them remembers; it lies within a range.
const RECOUNTED: f64 = 5000.0;
const RECOUNT: (f64, f64) = (0.3, 5.0);
/// Reads between adjustments of the scale, and how much of what it is set by outlasts one; it begins as if after so many reads, all of them hits as
/// likely to be stale as the objective allows.
const STEP: u32 = 200;
const KEEP: f64 = 0.97;
const BEGUN: f64 = 200.0;

/// A hit drawn for an audit: to be handed back with what the origin said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Audit {
    /// The probability with which it was drawn.
    pub probability: f64,
    /// The probability with which it was foreseen to be stale, if that was.
    pub stale: Option<f64>,
}

/// What the origin's answer tells of a hit that was drawn: the probability that it was stale, and its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) least: f64,
    pub(super) chance: f64,
    pub(super) most: f64,
}

impl Outcome {
    pub(super) const FRESH: Self = Self { least: 0.0, chance: 0.0, most: 0.0 };
    pub(super) const STALE: Self = Self { least: 1.0, chance: 1.0, most: 1.0 };
}

/// The stale rate as it can be published.
///
/// Under a [grace](super::Freshness::older_than) an audit that finds a change says whether the read was stale only where the evidence has a time of
/// change. Without one the estimate is modelled: how long ago it was is foreseen. Its interval is not: it reaches from the share that was stale for certain to that which had
/// changed at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The estimate, as a share of reads; without bias but for what is modelled.
    pub rate: f64,
    /// The ends of its interval of 95 %.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// Whether the whole interval lies on one side of the objective, so that it is met or is not; else nothing is certifiable yet.
    pub is_certifiable: bool,
    /// Reads that the rate is of, estimated: what it weighs beside another's.
    pub reads: f64,
    /// The share of them whose value had changed, and nobody knows whether they were stale by then: by so much the interval is wider than by chance.
    pub doubtful: f64,
}

/// What audits found so far, as sums: what is counted later less this is what was found in between.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Audited {
    /// Reads of which one could have been drawn.
    pub reads: f64,
    /// Reads that those drawn stood for, estimated: the sum of one over the probability each was drawn with.
    pub drawn: f64,
    /// The same of those of which the origin told whether they were stale.
    pub answered: f64,
    /// Stale ones among them, estimated: each found one weighs as many as it stands for.
    pub stale: f64,
    /// The squares of those weights.
    pub stale_squared: f64,
    /// The same of those that had changed, perhaps too short a time ago to be stale: nobody knows.
    pub doubtful: f64,
    /// The squares of those weights.
    pub doubtful_squared: f64,
    /// Of the doubtful, how many are foreseen to have been stale.
    pub modelled: f64,
    /// The weight that one more could have.
    pub heaviest: f64,
}

impl Audited {
    /// Reads that audits stand for: as many of all as were answered of those drawn. (The ratio of two Horvitz-Thompson totals. All reads less the total
    /// of those never answered would have the same mean, but where none is answered it strays from zero by far more than an audit stands for.)
    pub fn stood_for(&self) -> f64 {
        if self.drawn > 0.0 { self.reads * (self.answered / self.drawn).clamp(0.0, 1.0) } else { self.reads }
    }

    /// The share of stale reads and its interval, from the share of those surely stale to that of all that may have been, whose ends lie `z` standard deviations of a normal away from it: of two sides 95 % at 1.96.
    /// `None` before the first read.
    pub(crate) fn share(&self, z: f64) -> Option<(f64, f64, f64)> {
        let Self { stale, stale_squared, doubtful, doubtful_squared, heaviest, .. } = *self;
        let reads = self.stood_for();
        if reads <= 0.0 {
            return None;
        }
        let quantile = |total: f64, square: f64, z: f64| {
            if total > 0.0 { square / (2.0 * total) * chi_square(2.0 * total * total / square, z) } else { 0.0 }
        };
        let low = quantile(stale, stale_squared, -z);
        let (most, most_squared) = (stale + doubtful, stale_squared + doubtful_squared);
        let high = quantile(most + heaviest, most_squared + heaviest * heaviest, z);
        let share = |total: f64| (total / reads).clamp(0.0, 1.0);
        Some((share(stale + self.modelled), share(low), share(high)))
    }

    /// The stale rate of which so much was found, under an objective as a share of reads. Of several engines' sums it is the rate of all their reads,
    /// and its interval is narrower than any pooled from theirs. `None` before the first read.
    pub fn measured(&self, objective: f64) -> Option<Measured> {
        let (rate, low, high) = self.share(Z_95)?;
        let is_certifiable = high <= objective || low > objective;
        let reads = self.stood_for();
        Some(Measured { rate, low, high, is_certifiable, reads, doubtful: (self.doubtful / reads).clamp(0.0, 1.0) })
    }
}

impl AddAssign for Audited {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.drawn += other.drawn;
        self.answered += other.answered;
        self.stale += other.stale;
        self.stale_squared += other.stale_squared;
        self.doubtful += other.doubtful;
        self.doubtful_squared += other.doubtful_squared;
        self.modelled += other.modelled;
        self.heaviest = self.heaviest.max(other.heaviest);
    }
}

impl Sub for Audited {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            drawn: self.drawn - before.drawn,
            answered: self.answered - before.answered,
            stale: self.stale - before.stale,
            stale_squared: self.stale_squared - before.stale_squared,
            doubtful: self.doubtful - before.doubtful,
            doubtful_squared: self.doubtful_squared - before.doubtful_squared,
            modelled: self.modelled - before.modelled,
            heaviest: self.heaviest,
        }
    }
}

/// Draws hits and adds up what was found.
#[derive(Clone, Debug)]
pub(super) struct Audits {
    objective: f64,
    scale: f64,
    since_step: u32,
    /// Of late, for the budget; and the sum of √(p/ε) over the hits, estimated from those nearly drawn.
    reads: f64,
    loads: f64,
    spread: f64,
    /// Σ p over audits: stale reads that should have been found.
    foreseen: f64,
    /// Stale reads foreseen and found of late, weighted by 1/π up to a factor.
    compared: (f64, f64),
    /// Stale reads foreseen of lives that ended, and those that loads told of, of late.
    told: (f64, f64),
    /// Another sets the scale: the sums above are of what happened since the two last met.
    follows: bool,
    /// By how much more is found stale than foreseen.
    bias: f64,
    /// What loads tell counts so many times.
    recount: f64,
    /// Over all time.
    all: Audited,
}

impl Audits {
    /// For an objective as a share of reads.
    pub(super) fn new(objective: f64) -> Self {
        Self {
            objective: objective.max(1e-6),
            scale: EAGER,
            since_step: 0,
            reads: 0.0,
            loads: 0.0,
            spread: 0.0,
            foreseen: 0.0,
            compared: (0.0, 0.0),
            told: (0.0, 0.0),
            follows: false,
            bias: 1.0,
            recount: 1.0,
            all: Audited::default(),
        }
    }

    /// From now on sums up what happens for another, who sets the scale.
    pub(super) fn follow(&mut self) {
        self.follows = true;
    }

    /// One that sets the scale for this one.
    pub(super) fn leader(&self) -> Self {
        Self { scale: self.scale, ..Self::new(self.objective) }
    }

    /// Tells the one that sets the scale what happened, and takes over what it has learned. What was found stays here.
    pub(super) fn join(&mut self, leader: &mut Self) {
        leader.reads += self.reads;
        leader.loads += self.loads;
        leader.spread += self.spread;
        leader.foreseen += self.foreseen;
        leader.compare(self.compared);
        leader.tell(self.told);
        leader.since_step += self.since_step;
        while leader.since_step >= STEP {
            leader.step();
        }
        (self.scale, self.bias, self.recount) = (leader.scale, leader.bias, leader.recount);
        (self.reads, self.loads, self.spread, self.foreseen) = (0.0, 0.0, 0.0, 0.0);
        (self.compared, self.told, self.since_step) = ((0.0, 0.0), (0.0, 0.0), 0);
    }

    /// From now on the objective is another; what was found counts on.
    pub(super) fn aim(&mut self, objective: f64) {
        self.objective = objective.max(1e-6);
    }

    /// A read came in.
    #[inline]
    pub(super) fn read(&mut self) {
        self.reads += 1.0;
        self.all.reads += 1.0;
        self.since_step += 1;
        if self.since_step == STEP && !self.follows {
            self.step();
        }
    }

    /// No audit could have been drawn of a read that came in.
    pub(super) fn unread(&mut self) {
        self.all.reads = (self.all.reads - 1.0).max(0.0);
    }

    /// A value was loaded, not for an audit.
    #[inline]
    pub(super) fn loaded(&mut self) {
        self.loads += 1.0;
    }

    /// Draws a hit foreseen to be stale with probability `stale`, `unit` being uniform between 0 and 1.
    /// As likely as the objective allows, if nothing was foreseen.
    #[inline]
    pub(super) fn draw(&mut self, stale: Option<f64>, unit: f64) -> Option<Audit> {
        // Most are out whatever they were foreseen to be.
        let most = self.scale * SPREAD.1;
        if unit >= most {
            return None;
        }
        let root = (stale.unwrap_or(self.objective) / self.objective).sqrt().clamp(SPREAD.0, SPREAD.1);
        self.spread += root / most;
        let probability = (self.scale * root).min(MOST);
        (unit < probability).then_some(Audit { probability, stale })
    }

    /// What the origin said of a hit that was drawn; `compared` is what was foreseen of that, and what was found.
    pub(super) fn found(&mut self, audit: Audit, outcome: Outcome, compared: Option<(f64, f64)>) {
        self.foreseen += audit.stale.unwrap_or(self.objective);
        if !(audit.probability > 0.0 && outcome.chance.is_finite()) {
            return;
        }
        if let Some((foreseen, found)) = compared {
            let relative = self.scale / audit.probability;
            self.compare((foreseen * relative, found * relative));
        }
        let weight = audit.probability.recip();
        let all = &mut self.all;
        all.drawn += weight;
        all.answered += weight;
        all.heaviest = all.heaviest.max(weight);
        let Outcome { least, chance, most } = outcome;
        all.stale += least * weight;
        all.stale_squared += (least * weight).powi(2);
        all.doubtful += (most - least) * weight;
        all.doubtful_squared += ((most - least) * weight).powi(2);
        all.modelled += (chance - least) * weight;
    }

    fn compare(&mut self, more: (f64, f64)) {
        remember(&mut self.compared, more, COMPARED);
        if !self.follows {
            self.bias = ((self.compared.1 + SHRINK) / (self.compared.0 + SHRINK)).clamp(BIAS.0, BIAS.1);
        }
    }

    /// Stale reads of a life of which `foreseen` were charged, and of which its load tells `known`, as they count.
    ///
    /// A load tells only whether there was a change; which of the reads it made stale follows from the forecast, and if that errs within lives, what
    /// loads tell errs for ever in one direction. So it counts by as much more or less as makes up for that, as far as audits are trusted to correct
    /// what is charged: then what loads tell says how stale this life was beside others, and audits how stale they are.
    pub(super) fn recounted(&mut self, foreseen: f64, known: f64) -> f64 {
        let counted = known * self.recount;
        if foreseen.is_finite() && known.is_finite() {
            self.tell((foreseen, known));
        }
        counted
    }

    fn tell(&mut self, more: (f64, f64)) {
        remember(&mut self.told, more, RECOUNTED);
        if !self.follows {
            let compared = self.compared.0.max(self.compared.1);
            let ratio = ((self.told.0 + SHRINK) / (self.told.1 + SHRINK)).clamp(RECOUNT.0, RECOUNT.1);
            self.recount = ratio.powf(compared / (compared + SHRINK));
        }
    }

    /// A hit was drawn and nobody asked the origin, or it told nothing that could be compared: nothing is known of the reads it stood for.
    pub(super) fn forgone(&mut self, audit: Audit) {
        if audit.probability > 0.0 {
            self.all.drawn += 1.0 / audit.probability;
        }
    }

    /// By how much more audits find stale than the forecast says, shrunk to 1 while they have found little.
    pub(super) fn bias(&self) -> f64 {
        self.bias
    }

    /// What was found since the start.
    pub(super) fn audited(&self) -> Audited {
        let heaviest = if self.all.heaviest > 0.0 { self.all.heaviest } else { 1.0 / (self.scale * SPREAD.0) };
        Audited { heaviest, ..self.all }
    }

    /// The stale rate since the start. `None` before the first read.
    pub(super) fn measured(&self) -> Option<Measured> {
        self.audited().measured(self.objective)
    }

    #[cold]
    fn step(&mut self) {
        self.since_step -= STEP;
        let share = STEADY + (EAGER - STEADY) * (1.0 - self.foreseen / ENOUGH).clamp(0.0, 1.0);
        let budget = share.min(OF_READS + OF_LOADS * self.loads / self.reads);
        // As many hits as of late, as likely to be stale, would then make as many audits as the budget has.
        self.scale = (budget * (self.reads + BEGUN) / (self.spread + BEGUN)).clamp(1e-6, 0.1);
        for sum in [&mut self.reads, &mut self.loads, &mut self.spread] {
            *sum *= KEEP;
        }
    }
}

/// Adds to two sums, of which the greater is at most `most`: beyond, both shrink.
pub(super) fn remember(sums: &mut (f64, f64), more: (f64, f64), most: f64) {
    let (one, other) = (sums.0 + more.0, sums.1 + more.1);
    let keep = (most / one.max(other)).min(1.0);
    *sums = (one * keep, other * keep);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    fn outcome(stale: f64) -> Outcome {
        if stale > 0.0 { Outcome::STALE } else { Outcome::FRESH }
    }

    /// Hits whose chances of being stale vary a hundredfold, audited; returns the truth and what was measured.
    fn run(seed: u64, reads: usize) -> (f64, Measured) {
        let mut rng = Rng::new(seed);
        let mut audits = Audits::new(0.01);
        let mut stale_reads = 0.0;
        for at in 0..reads {
            audits.read();
            if at % 10 == 0 {
                audits.loaded();
            }
            let foreseen = 0.03 * rng.unit().powi(3);
            // The model errs by a half.
            let stale = f64::from(u8::from(rng.unit() < 1.5 * foreseen));
            stale_reads += stale;
            if let Some(audit) = audits.draw(Some(foreseen), rng.unit()) {
                audits.found(audit, outcome(stale), Some((foreseen, stale)));
            }
        }
        (stale_reads / reads as f64, audits.measured().unwrap())
    }

    #[test]
    fn what_was_drawn_and_not_asked_leaves_the_rate_unbiased() {
        let mut rng = crate::Rng::new(1);
        let mut audits = Audits::new(0.05);
        for _ in 0..2_000_000 {
            audits.read();
            audits.loaded();
            let (stale, unit) = (if rng.unit() < 0.5 { 0.02 } else { 0.08 }, rng.unit());
            let Some(audit) = audits.draw(Some(stale), unit) else { continue };
            // Half of them are never asked.
            if rng.unit() < 0.5 {
                audits.forgone(audit);
            } else {
                audits.found(audit, outcome(f64::from(u8::from(rng.unit() < stale))), None);
            }
        }
        let measured = audits.measured().unwrap();
        assert!(measured.low < 0.05 && 0.05 < measured.high, "{measured:?}");
        assert!(measured.high - measured.low < 0.03, "{measured:?}");
    }

    #[test]
    fn the_interval_covers_the_truth() {
        let covered = (0..200).filter(|&seed| {
            let (truth, measured) = run(seed, 50_000);
            (measured.low..=measured.high).contains(&truth)
        });
        assert!(covered.count() >= 188);
    }

    #[test]
    fn it_is_unbiased_whatever_the_model() {
        let runs: Vec<_> = (0..100).map(|seed| run(seed, 100_000)).collect();
        let mean = |of: fn(&(f64, Measured)) -> f64| runs.iter().map(of).sum::<f64>() / 100.0;
        let (truth, found) = (mean(|run| run.0), mean(|run| run.1.rate));
        assert!((found / truth - 1.0).abs() < 0.06, "{found} {truth}");
    }

    /// Of a million reads, by how many times more were stale than by what was charged for them and what loads told, if these tell of 0.6 times as many.
    fn account(audits_answer: bool) -> f64 {
        let mut rng = Rng::new(5);
        let mut audits = Audits::new(0.01);
        let (mut stale_reads, mut account) = (0.0, 0.0);
        for _ in 0..100_000 {
            let mut charged = 0.0;
            let life = 0.02 * rng.unit();
            for _ in 0..10 {
                audits.read();
                stale_reads += f64::from(u8::from(rng.unit() < life));
                charged += life * audits.bias();
            }
            if audits_answer {
                let audit = Audit { probability: audits.scale, stale: Some(life) };
                let stale = f64::from(u8::from(rng.unit() < life));
                audits.found(audit, outcome(stale), Some((life, stale)));
            }
            audits.loaded();
            let told = if rng.unit() < life { 0.6 * charged / life } else { 0.0 };
            account += audits.recounted(charged, told);
        }
        stale_reads / account
    }

    #[test]
    fn loads_that_tell_of_too_few_are_recounted_once_audits_know_better() {
        let (audited, unaudited) = (account(true), account(false));
        assert!((0.9..1.2).contains(&audited), "{audited}");
        assert!((1.5..1.8).contains(&unaudited), "{unaudited}");
    }

    #[test]
    fn audits_keep_to_their_budget() {
        let mut rng = Rng::new(3);
        let mut audits = Audits::new(0.01);
        let mut drawn = 0;
        for _ in 0..1_000_000 {
            audits.read();
            if let Some(audit) = audits.draw(Some(0.01), rng.unit()) {
                drawn += 1;
                audits.found(audit, Outcome::FRESH, None);
            }
        }
        // Without loads: the little that reads allow.
        assert!((900..1200).contains(&drawn), "{drawn}");
    }

    #[test]
    fn a_budget_is_spent_evenly() {
        let mut rng = Rng::new(4);
        let mut audits = Audits::new(0.01);
        let mut drawn = [0.0; 200];
        for at in 0..1_000_000 {
            audits.read();
            // Hits of all kinds: one read in twenty, and then nearly all.
            if (at % 20 > 0) == (at < 500_000) {
                audits.loaded();
            } else if let Some(audit) = audits.draw(Some(0.1 * rng.unit().powi(4)), rng.unit()) {
                drawn[at / 5000] += 1.0;
                audits.found(audit, Outcome::FRESH, None);
            }
        }
        // But for the 5000 reads of the change; by chance alone the variance is the mean.
        let steady = &drawn[101..];
        let mean = steady.iter().sum::<f64>() / 99.0;
        let variance = steady.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 98.0;
        assert!((3.5..6.5).contains(&mean) && variance < 1.4 * mean, "{mean} {variance}");
    }

    #[test]
    fn little_evidence_is_not_certifiable() {
        assert_eq!(Audits::new(0.01).measured(), None);
        let (_, early) = run(1, 500);
        assert!(!early.is_certifiable && early.high > 0.01);
    }

    #[test]
    fn certifiable_is_what_is_decided() {
        // Found in equal parts above and below: however narrow the interval, it says neither.
        let straddling =
            Audited { reads: 1e6, stale: 10_000.0, stale_squared: 1e6, heaviest: 100.0, ..Audited::default() };
        let measured = straddling.measured(0.01).unwrap();
        assert!(measured.high - measured.low < 0.01 && measured.low < 0.01 && measured.high > 0.01, "{measured:?}");
        assert!(!measured.is_certifiable);
        assert!(
            straddling.measured(0.02).unwrap().is_certifiable && straddling.measured(0.005).unwrap().is_certifiable
        );
    }

    #[test]
    fn what_nobody_knows_widens_the_interval_and_not_the_claim() {
        let known = Audited { reads: 1e6, heaviest: 100.0, ..Audited::default() };
        let doubtful = Audited { doubtful: 20_000.0, doubtful_squared: 2e6, modelled: 5000.0, ..known };
        let (before, after) = (known.measured(0.01).unwrap(), doubtful.measured(0.01).unwrap());
        assert!(before.is_certifiable && before.high < 0.01);
        assert!(
            (after.rate - 0.005).abs() < 1e-12 && after.low == 0.0 && after.high > 0.02 && !after.is_certifiable,
            "{after:?}"
        );
        assert_eq!((after.reads, after.doubtful, before.doubtful), (1e6, 0.02, 0.0));
    }
}
