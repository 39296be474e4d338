//! Hindsight for the baselines: the knob at which a rule serves exactly as many stale reads as allowed.

use std::ops::RangeInclusive;
use std::time::Duration;

use larder_policy::Time;

use super::baselines::{Baseline, Rule};

use super::score::{Act, Policy, Score, Store, score};
use super::workload::{Event, Workload};

/// Halvings of the knob's logarithmic range.
const STEPS: u32 = 16;
/// Where the stale rate falls again as the knob rises, halving alone may end below the wrong edge: so many knobs above are looked at, each so many
/// times the one before, and from the highest that will do it is halved so often again.
const LOOKS: i32 = 8;
const WIDER: f64 = 1.3;
const STEPS_AGAIN: u32 = 6;
/// Of few events the stale rate and the loads jump about from knob to knob: knobs all over the range are tried one by one, as many as replay so
/// many events, where that is not too few to find any.
const TRIED: usize = 4_000_000;
const EACH: RangeInclusive<usize> = 400..=4000;
/// Halvings of the share of keys that take the next knob.
const SHARE_STEPS: u32 = 5;
/// Lifetimes a class is tried with.
const GRID: usize = 40;

/// What a rule is run on.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) workload: &'a Workload,
    pub(super) grace: Duration,
    pub(super) most: Duration,
    pub(super) store: &'a Store<'a>,
}

/// A knob, the next one, and the share of the keys that take the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Knobs {
    pub(super) both: (f64, f64),
    pub(super) share: f64,
}

/// One knob for all keys.
fn single(knob: f64) -> Knobs {
    Knobs { both: (knob, knob), share: 0.0 }
}

impl Setting<'_> {
    pub(super) fn run(&self, events: &[Event], reads: u64, policy: &mut dyn Policy) -> Score {
        score(events, reads, &self.workload.keys, self.grace, self.store, policy)
    }

    pub(super) fn run_rule(&self, events: &[Event], reads: u64, rule: &Rule, knobs: Knobs) -> Score {
        self.run(events, reads, &mut Baseline::new(rule, knobs.both, knobs.share, self.workload, self.most))
    }

    /// The knobs that load least on `events` of those found whose stale rate is not above `target`.
    pub(super) fn tune(&self, events: &[Event], reads: u64, rule: &Rule, target: f64) -> Knobs {
        let nearest = self.nearest(events, reads, rule, target);
        let count = (TRIED / events.len().max(1)).min(*EACH.end());
        if count < *EACH.start() {
            return nearest;
        }
        let cost = |knobs: &Knobs| {
            let score = self.run_rule(events, reads, rule, *knobs);
            (score.stale_rate() <= target).then_some(score.loads)
        };
        let (low, high) = rule.range(self.workload.span().max(1.0));
        let each = (0..=count).map(|at| low * (high / low).powf(at as f64 / count as f64)).map(single);
        let found = [nearest].into_iter().chain(each).filter_map(|knobs| Some((cost(&knobs)?, knobs)));
        found.min_by_key(|(loads, _)| *loads).map_or(nearest, |(_, knobs)| knobs)
    }

    /// The knobs whose stale rate on `events` comes nearest below `target`, by halving.
    pub(super) fn nearest(&self, events: &[Event], reads: u64, rule: &Rule, target: f64) -> Knobs {
        let stale = |knobs| self.run_rule(events, reads, rule, knobs).stale_rate();
        let (mut low, mut high) = rule.range(self.workload.span().max(1.0));
        if stale(single(high)) <= target {
            return single(high);
        }
        let top = high;
        let halve = |low: &mut f64, high: &mut f64, steps| {
            for _ in 0..steps {
                let middle = (*low * *high).sqrt();
                *(if stale(single(middle)) <= target { &mut *low } else { &mut *high }) = middle;
            }
        };
        halve(&mut low, &mut high, STEPS);
        let above = (1..=LOOKS).rev().map(|look| low * WIDER.powi(look)).filter(|knob| *knob < top);
        if let Some(knob) = above.into_iter().find(|knob| stale(single(*knob)) <= target) {
            (low, high) = (knob, (knob * WIDER).min(top));
            halve(&mut low, &mut high, STEPS_AGAIN);
        }
        // Reads on a coarse clock make steps: some of the keys take the knob beyond.
        let (mut few, mut many) = (0.0, 1.0);
        for _ in 0..SHARE_STEPS {
            let middle = (few + many) / 2.0;
            if stale(Knobs { both: (low, high), share: middle }) <= target { few = middle } else { many = middle }
        }
        Knobs { both: (low, high), share: few }
    }

    /// The lifetime of each key's class that loads least for a stale rate of `target` (one multiplier over a grid), by key.
    pub(super) fn class_lifetimes(&self, events: &[Event], reads: u64, classes: &[u32], target: f64) -> Vec<f64> {
        let count = classes.iter().max().map_or(1, |&most| most as usize + 1);
        let span = self.workload.span().max(1.0);
        let grid: Vec<f64> =
            (0..GRID).map(|at| span * 2.0 * 1e-8f64.powf(1.0 - at as f64 / (GRID - 1) as f64)).collect();
        // By lifetime, then class: loads and stale reads.
        let costs: Vec<Vec<(f64, f64)>> =
            grid.iter().map(|&ttl| self.class_costs(events, classes, count, ttl)).collect();
        let choose = |price: f64| -> Vec<usize> {
            let cost = |at: usize, class: usize| costs[at][class].0 + price * costs[at][class].1;
            (0..count)
                .map(|class| (0..GRID).min_by(|&a, &b| cost(a, class).total_cmp(&cost(b, class))).unwrap_or(0))
                .collect()
        };
        let stale = |chosen: &[usize]| chosen.iter().enumerate().map(|(class, &at)| costs[at][class].1).sum::<f64>();
        let (mut low, mut high) = (1e-6f64, 1e6f64);
        for _ in 0..50 {
            let middle = (low * high).sqrt();
            if stale(&choose(middle)) > target * reads as f64 { low = middle } else { high = middle }
        }
        let chosen = choose(high);
        classes.iter().map(|&class| grid[chosen[class as usize]]).collect()
    }

    /// Loads and stale reads of each class when everything lives `ttl` seconds; as if nothing were evicted.
    fn class_costs(&self, events: &[Event], classes: &[u32], count: usize, ttl: f64) -> Vec<(f64, f64)> {
        let mut rule = Baseline::new(&Rule::Static, (ttl, ttl), 0.0, self.workload, self.most);
        let mut costs = vec![(0.0, 0.0); count];
        // By key: what is cached, with when it was first outdated.
        let mut cached: Vec<Option<Option<Time>>> = vec![None; classes.len()];
        for event in events {
            let key = event.key as usize;
            let held = &mut cached[key];
            if event.is_write {
                *held = held.filter(|_| !event.is_noticed).map(|outdated| outdated.or(Some(event.at)));
                continue;
            }
            let cost = &mut costs[classes[key] as usize];
            match (rule.read(event.key, event.at, held.is_some()), *held) {
                (Act::Serve, Some(outdated)) => {
                    let is_stale = |at: Time| self.grace.is_zero() || event.at.since(at) > self.grace;
                    cost.1 += f64::from(u8::from(outdated.is_some_and(is_stale)));
                }
                _ => {
                    cost.0 += 1.0;
                    rule.loaded(event.key, event.at, None);
                    *held = Some(None);
                }
            }
        }
        costs
    }
}
