//! AdaptSize: a newcomer of size s enters with probability e^(−s/c), and c follows a model of the hit ratio.
//!
//! Berger, Sitaraman, Harchol-Balter, "AdaptSize: orchestrating the hot object memory cache in a content delivery
//! network", NSDI 2017: every interval the Markov model (Che's characteristic time, with admission) is evaluated over
//! the keys seen and c is chosen by golden-section search on its logarithm. Deviations: the interval is shorter, for
//! shorter traces; rates are smoothed with weight 0.3 an interval, and keys whose rate falls below 0.03 are forgotten (a
//! single request is after seven intervals). A size is what counts against the capacity: 1 where that is in objects.

use super::Admission;
use crate::eviction::{Arrival, Setup};
use crate::index::Index;
use crate::params::Param;
use crate::rng::Rng;
use crate::{Access, KeyHash, Slot};

pub(super) const PARAMS: &[Param] =
    &[Param { name: "interval", default: 50_000.0, least: 100.0, most: 1e9, about: "requests between adaptations" }];

/// How much of a new interval's rate counts.
const FRESH: f64 = 0.3;
/// Requests an interval.
const FORGET_BELOW: f64 = 0.03;
const SEARCH_STEPS: u32 = 24;
const CHE_STEPS: u32 = 24;

struct Seen {
    key: KeyHash,
    size: f64,
    /// Requests an interval, smoothed; then the count of this interval.
    rate: f64,
    count: u32,
}

pub(crate) struct AdaptSize {
    index: Index,
    seen: Vec<Seen>,
    capacity: f64,
    /// Whether the capacity is in objects, so that each weighs 1.
    counts_objects: bool,
    /// The size admitted with probability 1/e.
    scale: f64,
    interval: u64,
    requests: u64,
    rng: Rng,
}

impl AdaptSize {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        Self {
            index: Index::new(None),
            seen: Vec::new(),
            capacity: setup.capacity as f64,
            counts_objects: setup.objects.is_some(),
            // The paper begins open: everything enters until the first model.
            scale: f64::INFINITY,
            interval: setup.params.value("interval") as u64,
            requests: 0,
            rng: Rng::new(setup.seed),
        }
    }

    #[cold]
    fn adapt(&mut self) {
        self.requests = 0;
        for seen in &mut self.seen {
            seen.rate = (1.0 - FRESH) * seen.rate + FRESH * f64::from(seen.count);
            seen.count = 0;
        }
        self.seen.retain(|seen| seen.rate >= FORGET_BELOW);
        self.index = Index::new(None);
        let seen = &self.seen;
        for (at, key) in seen.iter().map(|seen| seen.key).enumerate() {
            self.index.insert(key.0, Slot(at as u32), |slot| seen[slot.0 as usize].key.0);
        }
        if self.seen.iter().map(|seen| seen.size).sum::<f64>() > self.capacity {
            self.scale =
                golden_section(0.0, self.capacity.max(2.0).log2(), |log| self.modelled_hits(log.exp2())).exp2();
        }
    }

    /// The hits an interval the model expects with admission scale `scale`.
    fn modelled_hits(&self, scale: f64) -> f64 {
        let resident = |seen: &Seen, time: f64| {
            let grown = (seen.rate * time).min(700.0).exp_m1() * (-seen.size / scale).exp();
            grown / (1.0 + grown)
        };
        // The characteristic time fills the cache: bisect on its logarithm.
        let (mut short, mut long) = (-20.0f64, 40.0f64);
        for _ in 0..CHE_STEPS {
            let middle = (short + long) / 2.0;
            let filled: f64 = self.seen.iter().map(|seen| resident(seen, middle.exp2()) * seen.size).sum();
            if filled > self.capacity { long = middle } else { short = middle }
        }
        let time = short.exp2();
        self.seen.iter().map(|seen| resident(seen, time) * seen.rate).sum()
    }
}

/// The argument in [low, high] at which `f`, with one peak, is greatest.
fn golden_section(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    const RATIO: f64 = 0.618_033_988_749_894_9;
    let (mut left, mut right) = (high - RATIO * (high - low), low + RATIO * (high - low));
    let (mut at_left, mut at_right) = (f(left), f(right));
    for _ in 0..SEARCH_STEPS {
        if at_left > at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - RATIO * (high - low);
            at_left = f(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + RATIO * (high - low);
            at_right = f(right);
        }
    }
    (low + high) / 2.0
}

impl Admission for AdaptSize {
    fn record(&mut self, access: &Access, _: bool) {
        let key = access.key;
        match self.index.find(key.0, |slot| self.seen[slot.0 as usize].key == key) {
            Some(slot) => self.seen[slot.0 as usize].count += 1,
            None => {
                let (slot, seen) = (Slot(self.seen.len() as u32), &self.seen);
                self.index.insert(key.0, slot, |slot| seen[slot.0 as usize].key.0);
                let size = if self.counts_objects { 1.0 } else { f64::from(access.size.max(1)) };
                self.seen.push(Seen { key, size, rate: 0.0, count: 1 });
            }
        }
        self.requests += 1;
        if self.requests >= self.interval {
            self.adapt();
        }
    }

    fn admit(&mut self, newcomer: &Arrival, _: Option<KeyHash>) -> bool {
        self.rng.unit() < (-f64::from(newcomer.weight) / self.scale).exp()
    }

    fn on_resize(&mut self, capacity: u64, _: Option<usize>) {
        self.capacity = capacity as f64;
    }

    fn bytes(&self) -> usize {
        self.index.bytes() + self.seen.capacity() * size_of::<Seen>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Capacity, Reuse, Time, params::Params};

    #[test]
    fn golden_section_finds_the_peak() {
        let peak = golden_section(0.0, 30.0, |x| -(x - 17.25).powi(2));
        assert!((peak - 17.25).abs() < 1e-3, "{peak}");
    }

    /// Ten small keys asked for again and again, and large ones asked for once.
    fn adapted(capacity: Capacity) -> AdaptSize {
        let mut params = Params::defaults(PARAMS);
        params.set("adaptsize", "interval", "200").unwrap();
        let setup =
            Setup { capacity: capacity.limit, objects: capacity.most_objects(), seed: 1, params: &params, prior: None };
        let mut policy = AdaptSize::new(&setup);
        for at in 0..1000u64 {
            let (key, size) = if at % 2 == 0 { (at % 20, 1) } else { (1000 + at, 10) };
            policy.record(&Access { size, ..Access::get(KeyHash::mix(key), Time(at)) }, false);
        }
        policy
    }

    #[test]
    fn large_one_hit_wonders_are_kept_out() {
        let mut policy = adapted(Capacity::bytes(12));
        let mut admitted = |weight| {
            let access = Access { size: weight, ..Access::get(KeyHash::mix(1), Time(0)) };
            let newcomer = Arrival { access: &access, weight, ttl: None, reuse: Reuse::UNKNOWN, ghost: None };
            (0..1000).filter(|_| policy.admit(&newcomer, None)).count()
        };
        let (small, large) = (admitted(1), admitted(10));
        assert!(small > 300 && large < 20, "of 1000: {small} small, {large} large");
    }

    #[test]
    fn sizes_are_nothing_where_objects_are_counted() {
        let policy = adapted(Capacity::objects(12));
        assert!(policy.seen.iter().all(|seen| seen.size == 1.0));
    }
}
