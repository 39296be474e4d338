//! One assignment of shards to arms, from its first slice to its report.

use super::arms::{Arm, Arms};
use super::counts::{BUCKETS, ShardSlice, Weighed, Weighting};
use super::effect::{ByArm, Effect, Gain, Interval, Ratio, Strata, sum_of_variances};
use super::latencies::Latencies;
use super::normal::{student_quantile, upper_quantile, upper_tail};
use super::own::{Groups, OwnGain, Variance, half_width};
use super::permutation::{Comparison, compare};
use super::refusal::{self, Refusal};
use super::sequence::{Settled, Slices, anytime_width};
use crate::freshness::Audited;

/// Times of a shard before its 99th percentile says anything.
const LEAST_TIMES: u64 = 100;
/// Of fewer slices hardly anything is known of how they follow from one another: a guardrail must be this much surer then.
const FEW_SLICES: usize = 20;
const STRICTER: f64 = 5.0;
/// And where it looks at the later half of them.
const LATER: f64 = 20.0;

/// The evidence under one assignment. Assignments never change within a trial.
#[derive(Clone, Debug)]
pub struct Trial {
    arms: Arms,
    /// Turnovers of the treatment's capacity that are passed over.
    burn_in: f64,
    turnovers: f64,
    shards: Vec<Tally>,
    slices: Slices,
    counted: u64,
    hottest: f64,
    /// The share of the keys that ghosts see.
    rate: f64,
    /// Whether sizes and costs are known of all that counts.
    is_weighed: bool,
}

/// Picks the head or the tail.
type Stratum = fn(&Strata) -> Gain;

/// What a shard measured, on what was expected: by its own past, where there is one. `None` where nothing was.
pub(crate) type Measured = fn(&Tally, Option<&Tally>) -> Option<Gain>;

/// What a shard counted over the trial.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    strata: [Strata; 3],
    accesses: Weighed,
    hits: Weighed,
    sampled: u64,
    sketch: [i64; BUCKETS],
    groups: Groups,
    origin_loads: u64,
    audited: Audited,
    latencies: Latencies,
}

/// The share of an arm's answers that were stale, as audits found it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StaleShare {
    /// The estimate.
    pub rate: f64,
    /// Its interval.
    pub interval: Interval,
}

/// What a trial says.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The effect on the hit ratio, by requests.
    pub effect: Effect,
    /// By bytes and by cost, where the host knew the size and cost of all it counted: [`Probe::miss`](super::Probe::miss) does not.
    pub weighed: Option<[Effect; 2]>,
    /// Slices counted after the burn-in.
    pub slices: u64,
    /// Accesses counted after the burn-in.
    pub requests: u64,
    /// How the slices were merged.
    pub settled: Settled,
    /// How often the treatment has turned its capacity over.
    pub turnovers: f64,
    /// So many equally popular keys would tell as much as the sampled ones outside the head.
    pub effective_keys: f64,
    /// The share of the traffic that goes to the head, the hottest keys.
    pub head_share: f64,
    /// Loads of the origin an access, as a ratio to the same before the treatment where that is known.
    pub origin_loads: Option<Comparison>,
    /// The 99th percentile of the latency, likewise.
    pub p99: Option<Comparison>,
    /// How stale the treatment's answers were, where that was measured.
    pub stale: Option<StaleShare>,
    /// And the control's.
    pub control_stale: Option<StaleShare>,
    /// Why nothing may be concluded, if anything.
    pub refusals: Vec<Refusal>,
}

impl Report {
    /// Whether the treatment is better, as far as requests go: `None` where that is open or may not be said.
    pub fn better(&self) -> Option<bool> {
        let interval = self.effect.anytime;
        (self.refusals.is_empty() && interval.excludes_zero()).then_some(interval.low > 0.0)
    }
}

impl Trial {
    /// Before its first slice. With `burn_in`, what comes before the treatment has turned its capacity over twice does not count.
    pub fn new(arms: Arms, burn_in: bool) -> Self {
        let shards = vec![Tally::default(); arms.shards()];
        let burn_in = if burn_in { refusal::BURN_IN } else { 0.0 };
        let (turnovers, slices, counted, hottest, rate) = (0.0, Slices::default(), 0, 0.0, 1.0);
        Self { arms, burn_in, turnovers, shards, slices, counted, hottest, rate, is_weighed: true }
    }

    /// The same trial as if it had only just become warm.
    pub(crate) fn afresh(&self) -> Self {
        Self { turnovers: self.turnovers, ..Self::new(self.arms.clone(), false) }
    }

    /// Adds a slice, with what each shard counted, by shard. One without accesses does not count.
    pub fn push(&mut self, slice: &[ShardSlice]) {
        let burning = self.turnovers < self.burn_in;
        let treated = || (0..).zip(slice).filter(|(shard, _)| self.arms.arm(*shard) == Arm::Treatment);
        self.turnovers += treated().map(|(_, slice)| slice.turnovers).sum::<f64>() / treated().count().max(1) as f64;
        let requests: u64 = slice.iter().map(|slice| slice.accesses.requests).sum();
        // Where nobody asked nothing was seen: counted, a quiet night would look like many slices that agree.
        if burning || requests == 0 {
            return;
        }
        self.counted += 1;
        let mut sums = [ByArm::default(); 3];
        self.hottest = 0.0;
        for (shard, (tally, slice)) in self.shards.iter_mut().zip(slice).enumerate() {
            for (at, weighting) in Weighting::ALL.into_iter().enumerate() {
                let strata = Strata::of(slice, weighting);
                match self.arms.arm(shard) {
                    Arm::Treatment => sums[at].treatment.add(&strata),
                    Arm::Control => sums[at].control.add(&strata),
                }
                tally.strata[at].add(&strata);
            }
            tally.add(slice);
            self.rate = slice.rate;
            self.is_weighed &= slice.is_weighed;
            let share = slice.accesses.requests as f64 / requests as f64;
            self.hottest = self.hottest.max(slice.hottest * share);
        }
        self.slices.push(&sums);
    }

    /// Slices counted after the burn-in.
    pub fn counted(&self) -> u64 {
        self.counted
    }

    /// Whether the burn-in is over.
    pub fn is_warm(&self) -> bool {
        self.turnovers >= self.burn_in
    }

    /// What is known so far: intervals of level 1 − `alpha`, the anytime ones narrowest after `horizon` slices. `before` is a trial of the
    /// same shards before the treatment: their own past makes them comparable.
    pub fn report(&self, alpha: f64, horizon: u64, before: Option<&Self>) -> Report {
        Report {
            origin_loads: self.compare_by(before, 0.0, Tally::loads),
            p99: self.compare_by(before, 0.0, Tally::p99),
            ..self.findings(alpha, horizon, before)
        }
    }

    /// The report without what takes permutations to know: cheap enough for each slice.
    pub(crate) fn findings(&self, alpha: f64, horizon: u64, before: Option<&Self>) -> Report {
        let settled = self.slices.settle(0);
        let mut refusals = self.refuse_arms(before);
        self.refuse_scant(self.turnovers, settled, &mut refusals);
        refusals.extend(self.biased(alpha, horizon));
        let totals = self.slices.total();
        let effect = |at: usize| self.effect(at, &totals[at], alpha, horizon);
        Report {
            effect: effect(0),
            weighed: self.is_weighed.then(|| [effect(1), effect(2)]),
            slices: self.counted,
            requests: self.shards.iter().map(|tally| tally.accesses.requests).sum(),
            settled,
            turnovers: self.turnovers,
            effective_keys: self.effective_keys(),
            head_share: totals[0].head_share(),
            origin_loads: None,
            p99: None,
            stale: self.stale_share(Arm::Treatment, alpha / 2.0),
            control_stale: self.stale_share(Arm::Control, alpha / 2.0),
            refusals,
        }
    }

    /// What the treated shards gain over their own ghosts, whatever the others do, and why that says nothing yet, if anything.
    pub(crate) fn own_gain(&self, alpha: f64, horizon: u64) -> (OwnGain, Vec<Refusal>) {
        let settled = self.slices.settle_treated();
        // Shards also differ because their keys do, which makes the interval too wide rather than too narrow.
        let shards = self.tail_gain(Arm::Treatment);
        let half = half_width(settled, self.by_sample((shards.variance, shards.df())), alpha, horizon);
        let estimate = self.slices.total()[0].treated().ratio();
        let gain = OwnGain {
            estimate,
            hit_ratio: self.hit_ratio(Arm::Treatment, Weighting::Requests),
            anytime: Interval::around(estimate, half),
            settled,
            counted: self.counted,
        };
        let mut refusals = Vec::new();
        self.refuse_scant(self.turnovers, settled, &mut refusals);
        (gain, refusals)
    }

    /// What the treated shards gain at most on their own traffic, surely at level 1 − `alpha` at all times: other shards are not spoken of, so that
    /// a few shards tell as soon as many.
    pub(crate) fn own_gain_at_most(&self, alpha: f64, horizon: u64) -> f64 {
        let sample = self.by_sample(self.by_ghosts());
        let at_most = |slices: &Slices, alpha: f64| {
            let settled = slices.settle_own().cautious();
            // What harms much is sure of little evidence at any level.
            let alpha = if settled.slices < FEW_SLICES { alpha / STRICTER } else { alpha };
            // One-sided: each tail of the interval has half.
            slices.total()[0].own_effect() + half_width(settled, sample, 2.0 * alpha, horizon)
        };
        let whole = at_most(&self.slices, alpha);
        // Harm grows as a cache fills, and what was before it makes the slices differ: the later half of them may be surer than all.
        self.slices.later_half().map_or(whole, |later| whole.min(at_most(&later, alpha / LATER)))
    }

    /// The gain of an arm's sampled keys outside the head, by shard.
    fn tail_gain(&self, arm: Arm) -> Ratio {
        let shards = self.shards.iter().enumerate().filter(|(shard, _)| self.arms.arm(*shard) == arm);
        Ratio::of(shards.map(|(_, tally)| tally.groups.whole()))
    }

    /// What another sample of the keys might say else, by groups of the treated shards' keys and by shards. Where ghosts see all keys there is no other.
    fn by_sample(&self, shards: Variance) -> [Variance; 2] {
        if self.rate >= 1.0 {
            return [(0.0, 1.0); 2];
        }
        let treated = self.shards.iter().enumerate().filter(|(shard, _)| self.arms.arm(*shard) == Arm::Treatment);
        let groups = Ratio::of(treated.flat_map(|(_, tally)| tally.groups.gains()));
        [(groups.variance, groups.df()), shards]
    }

    /// How far ghosts are off in the arms' difference. Those of both arms are off alike, and the arm with more shards tells by how much: a few
    /// treated shards alone would never be sure. A single shard tells nothing.
    fn by_ghosts(&self) -> Variance {
        let arms = [Arm::Treatment, Arm::Control].map(|arm| self.tail_gain(arm));
        let more = if arms[0].clusters > arms[1].clusters { arms[0] } else { arms[1] };
        if more.clusters < 2 {
            return (0.0, 1.0);
        }
        let of_one = more.variance * more.clusters as f64;
        let sampled = arms.iter().filter(|arm| arm.clusters > 0);
        (sampled.map(|arm| of_one / arm.clusters as f64).sum(), more.df())
    }

    /// Compares what shards measured between the arms, each beside its own past where that is known of most. What is 0 in all of them was not counted by
    /// the host. Shards left out for their past are so whichever arm they are in.
    pub(crate) fn compare_by(&self, before: Option<&Self>, margin: f64, measured: Measured) -> Option<Comparison> {
        self.shards.iter().filter_map(|tally| measured(tally, None)).find(|gain| gain.hits > 0.0)?;
        let is_known = |tally: &&Tally| measured(tally, None).is_some_and(|gain| gain.hits > 0.0);
        let before = before.filter(|before| before.shards.iter().filter(is_known).count() * 2 > self.shards.len());
        let of = |arm: Arm| -> Vec<Gain> {
            let shards = (0..self.shards.len()).filter(|&shard| self.arms.arm(shard) == arm);
            shards
                .filter_map(|shard| measured(&self.shards[shard], before.map(|before| &before.shards[shard])))
                .collect()
        };
        compare(&of(Arm::Treatment), &of(Arm::Control), margin, self.counted)
    }

    /// The share of an arm's answers that were stale, with an interval of which each end is passed with a probability of `tail`: the wider of what
    /// audits allow, each on its own, and of how much shards differ.
    pub(crate) fn stale_share(&self, arm: Arm, tail: f64) -> Option<StaleShare> {
        let shards = self.shards.iter().enumerate().filter(|(shard, _)| self.arms.arm(*shard) == arm);
        let audited: Vec<Audited> = shards.map(|(_, tally)| tally.audited).collect();
        let all = audited.iter().fold(Audited::default(), |mut sum, &one| {
            sum += one;
            sum
        });
        let (rate, low, high) = all.share(upper_quantile(tail))?;
        let ratio = Ratio::of(audited.iter().map(|one| Gain { hits: one.stale, size: one.stood_for() }));
        // How much shards differ a single one does not tell.
        let half = match ratio.clusters {
            0 | 1 => 0.0,
            many => student_quantile(tail, many as f64 - 1.0) * ratio.variance.sqrt(),
        };
        let interval = Interval { low: low.min(rate - half).max(0.0), high: high.max(rate + half).min(1.0) };
        Some(StaleShare { rate, interval })
    }

    /// The control's gain over its own ghosts, where that is surely too much for them to stand for it.
    pub(crate) fn biased(&self, alpha: f64, horizon: u64) -> Option<Refusal> {
        let total = self.slices.total()[0];
        let variances = weighed_strata(&total).map(|(weight, stratum)| {
            let ratio = self.ratio(0, Arm::Control, stratum);
            (weight * weight * ratio.variance, ratio.df())
        });
        let (variance, df) = sum_of_variances(&variances);
        let half = half_of_arms(self.slices.settle_bias(), (variance.sqrt(), df), alpha, horizon);
        let gain = total.bias();
        (gain.abs() - half > refusal::BIASED).then_some(Refusal::Biased { gain })
    }

    /// An arm's gain in a stratum over its shards. `at` is the place of the weighting.
    fn ratio(&self, at: usize, arm: Arm, stratum: Stratum) -> Ratio {
        let shards = self.shards.iter().enumerate().filter(|(shard, _)| self.arms.arm(*shard) == arm);
        Ratio::of(shards.map(|(_, tally)| stratum(&tally.strata[at])))
    }

    fn effect(&self, at: usize, total: &ByArm, alpha: f64, horizon: u64) -> Effect {
        let variances = weighed_strata(total).map(|(weight, stratum)| {
            let [treatment, control] = [Arm::Treatment, Arm::Control].map(|arm| self.ratio(at, arm, stratum));
            let of = |one: Ratio, other: Ratio| {
                let (variance, df) = one.variance_beside(other);
                (weight * weight * variance, df)
            };
            [of(treatment, control), of(control, treatment)]
        });
        let (variance, by_shards) = sum_of_variances(variances.as_flattened());
        let shard_error = variance.sqrt();
        let settled = self.slices.settle(at);
        let (estimate, slice_error) = (total.effect(), settled.standard_error);
        let half = half_of_arms(settled, (shard_error, by_shards), alpha, horizon);
        let weighting = Weighting::ALL[at];
        Effect {
            weighting,
            estimate,
            bias: total.bias(),
            treatment: self.hit_ratio(Arm::Treatment, weighting),
            control: self.hit_ratio(Arm::Control, weighting),
            shard_error,
            slice_error,
            fixed: Interval::around(estimate, shard_error * student_quantile(alpha / 2.0, by_shards)),
            anytime: Interval::around(estimate, half),
        }
    }

    fn hit_ratio(&self, arm: Arm, weighting: Weighting) -> f64 {
        let (mut hits, mut accesses) = (0.0, 0.0);
        for (_, tally) in self.shards.iter().enumerate().filter(|(shard, _)| self.arms.arm(*shard) == arm) {
            hits += tally.hits.by(weighting);
            accesses += tally.accesses.by(weighting);
        }
        if accesses > 0.0 { hits / accesses } else { 0.0 }
    }

    /// (Σn)²/Σn² over the sampled keys outside the head.
    fn effective_keys(&self) -> f64 {
        let sampled: f64 = self.shards.iter().map(|tally| tally.sampled as f64).sum();
        let squares: f64 = self.shards.iter().flat_map(|tally| tally.sketch).map(|count| (count as f64).powi(2)).sum();
        if squares > 0.0 { sampled * sampled / squares } else { 0.0 }
    }

    /// The probability of such a change in the arms' shares of traffic since `before`, if the shards changed at random.
    fn mismatch(&self, before: &Self) -> Option<f64> {
        let requests = |trial: &Self| trial.shards.iter().map(|tally| tally.accesses.requests as f64).sum::<f64>();
        let (now, past) = (requests(self), requests(before));
        let treated = self.arms.count(Arm::Treatment) as f64;
        let shards = self.shards.len() as f64;
        if now == 0.0 || past == 0.0 || treated == 0.0 || treated == shards {
            return None;
        }
        let change =
            |(tally, old): (&Tally, &Tally)| tally.accesses.requests as f64 / now - old.accesses.requests as f64 / past;
        let changes: Vec<f64> = self.shards.iter().zip(&before.shards).map(change).collect();
        let arm = changes.iter().enumerate().filter(|(shard, _)| self.arms.arm(*shard) == Arm::Treatment);
        let moved: f64 = arm.map(|(_, change)| change).sum();
        let variance = changes.iter().map(|change| change * change).sum::<f64>() / (shards - 1.0);
        // Of a sum over a draw without replacement.
        let error = (treated * (shards - treated) / shards * variance).sqrt();
        (error > 0.0).then(|| 2.0 * upper_tail(moved.abs() / error))
    }

    /// Why the arms cannot be compared, whatever is compared.
    pub fn refuse_arms(&self, before: Option<&Self>) -> Vec<Refusal> {
        let few = [Arm::Treatment, Arm::Control].into_iter().filter_map(|arm| {
            let shards = self.arms.count(arm);
            (shards < refusal::LEAST_SHARDS).then_some(Refusal::FewShards { arm, shards })
        });
        let mismatch = before.and_then(|before| self.mismatch(before)).filter(|&p| p < refusal::MISMATCH);
        few.chain(mismatch.map(|p| Refusal::Mismatch { p })).collect()
    }

    /// Adds what makes the evidence too scant for any conclusion.
    fn refuse_scant(&self, turnovers: f64, settled: Settled, refusals: &mut Vec<Refusal>) {
        if turnovers < refusal::BURN_IN {
            refusals.push(Refusal::BurningIn { turnovers });
        }
        if settled.slices < refusal::LEAST_SLICES {
            refusals.push(Refusal::FewSlices { slices: settled.slices });
        }
        let effective = self.effective_keys();
        if self.counted > 0 && effective < refusal::LEAST_KEYS {
            refusals.push(Refusal::FewKeys { effective });
        }
        if self.hottest > refusal::DOMINANT {
            refusals.push(Refusal::DominantKey { share: self.hottest });
        }
        if settled.lag1 > refusal::CORRELATED {
            refusals.push(Refusal::Autocorrelated { lag1: settled.lag1 });
        }
    }
}

/// The tail and the head, with their weights.
fn weighed_strata(total: &ByArm) -> [(f64, Stratum); 2] {
    let weights = total.weights();
    [(weights.tail, |strata| strata.tail), (weights.head, |strata| strata.head)]
}

/// Half an interval of what the arms say, looked at any time: slices show what changes with time, shards what a split biases in all slices alike.
fn half_of_arms(settled: Settled, (shard_error, df): (f64, f64), alpha: f64, horizon: u64) -> f64 {
    let slices = settled.slices as f64;
    let horizon = horizon as f64 / settled.width as f64;
    let width = |df| anytime_width(slices, horizon, alpha, df);
    (settled.standard_error * width((slices - 1.0).max(1.0))).max(shard_error * width(df))
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            strata: [Strata::default(); 3],
            accesses: Weighed::default(),
            hits: Weighed::default(),
            sampled: 0,
            sketch: [0; BUCKETS],
            groups: Groups::default(),
            origin_loads: 0,
            audited: Audited::default(),
            latencies: Latencies::default(),
        }
    }
}

impl Tally {
    fn add(&mut self, slice: &ShardSlice) {
        self.accesses += slice.accesses;
        self.hits += slice.hits;
        self.sampled += slice.tail.accesses.requests;
        self.groups.add(slice);
        self.sketch.iter_mut().zip(slice.sketch).for_each(|(sum, count)| *sum += count);
        let measures = &slice.measures;
        self.origin_loads += measures.origin_loads;
        self.audited += measures.audited;
        self.latencies += &measures.latencies;
    }

    /// Loads, on accesses or on as many loads as the past had for so many accesses.
    ///
    /// 0 is a value like any other: a treatment that saves all loads of some shards would else be judged by those where it saved the least.
    pub(crate) fn loads(&self, past: Option<&Self>) -> Option<Gain> {
        let of = |tally: &Self| Gain { hits: tally.origin_loads as f64, size: tally.accesses.requests as f64 };
        let Gain { hits, size } = of(self);
        let size = size * past.map_or(1.0, |past| of(past).ratio());
        (size > 0.0).then_some(Gain { hits, size })
    }

    /// The 99th percentile, in which a shard counts for no more than another.
    pub(crate) fn p99(&self, past: Option<&Self>) -> Option<Gain> {
        let of = |tally: &Self| tally.latencies.quantile(0.99).filter(|_| tally.latencies.count() >= LEAST_TIMES);
        let expected = past.map_or(Some(1.0), of).filter(|&past| past > 0.0)?;
        Some(Gain { hits: of(self)? / expected, size: 1.0 })
    }
}
