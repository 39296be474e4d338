//! What other sizes of the memory would hit and cost, by what the ghosts of other sizes counted lately.

use larder_policy::experiment::{ShardSlice, SizeCurve};
use larder_policy::{Time, Weigh};

use crate::Prices;
use crate::report::{HourlyCost, Size};

/// Slices after which the older half of what is known of other sizes is forgotten.
const WINDOW: u64 = 300;
/// The memory is turned over so many times before other sizes are spoken of: eight times the size fills slowly.
const SETTLED: f64 = 2.0;
const HOUR: f64 = 3600.0;

pub(crate) struct Sizes {
    prices: Prices,
    /// What the capacity is counted in.
    weigh: Weigh,
    /// Of this window and the one before.
    windows: [Window; 2],
    slices: u64,
    turnovers: f64,
    /// When the last slice ended.
    ended: Option<Time>,
}

/// What was counted in a while.
#[derive(Clone, Debug, Default)]
struct Window {
    curve: SizeCurve,
    loads: u64,
    seconds: f64,
}

impl Window {
    fn extend(&mut self, later: &Self) {
        match self.curve.accesses() {
            0 => self.curve = later.curve.clone(),
            _ if later.curve.accesses() > 0 => self.curve.extend(&later.curve),
            _ => {}
        }
        self.loads += later.loads;
        self.seconds += later.seconds;
    }
}

impl Sizes {
    pub(crate) fn new(prices: Prices, weigh: Weigh) -> Self {
        Self { prices, weigh, windows: Default::default(), slices: 0, turnovers: 0.0, ended: None }
    }

    /// Notes a slice, by segment.
    pub(crate) fn note(&mut self, now: Time, counted: &[(ShardSlice, SizeCurve)]) {
        self.slices += 1;
        let turnovers: f64 = counted.iter().map(|(slice, _)| slice.turnovers).sum();
        self.turnovers += turnovers / counted.len().max(1) as f64;
        let (Some(began), true) = (self.ended.replace(now), self.turnovers >= SETTLED) else { return };
        if self.slices.is_multiple_of(WINDOW) {
            self.windows.swap(0, 1);
            self.windows[0] = Window::default();
        }
        let mut slice = Window { seconds: now.since(began).as_secs_f64(), ..Window::default() };
        for (shard, curve) in counted {
            slice.curve.add_shard(curve);
            slice.loads += shard.measures.origin_loads;
        }
        self.windows[0].extend(&slice);
    }

    /// By size, ascending; none while too little is known.
    pub(crate) fn points(&self) -> Vec<Size> {
        let mut window = self.windows[1].clone();
        window.extend(&self.windows[0]);
        if window.curve.accesses() == 0 {
            return Vec::new();
        }
        let loads = if window.seconds > 0.0 { window.loads as f64 / window.seconds * HOUR } else { 0.0 };
        let sizes = window.curve.loads_by_size(loads).into_iter().map(|(point, loads)| Size {
            scale: point.scale,
            reads: window.curve.accesses(),
            hit_ratio: point.hit_ratio,
            loads_an_hour: loads,
            cost: self.prices.hour(point.capacity, self.weigh, loads).map(HourlyCost::of),
        });
        sizes.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use larder_policy::experiment::WhatIf;
    use larder_policy::{Access, Capacity, KeyHash, Policy, PolicySpec};

    use super::*;

    /// Eight keys in turn before four entries: LRU misses all of them unless it has room for all.
    #[test]
    fn costs_by_hand() {
        let lru = |capacity: Capacity| -> Policy { "lru".parse::<PolicySpec>().unwrap().build(capacity, 1) };
        let mut what_if = WhatIf::new(Capacity::objects(4), 1.0, 1, lru).unwrap();
        let prices = Prices { gib_hour: 1.0, load: 0.01, entry_bytes: 1 << 28 };
        let mut sizes = Sizes::new(prices, Weigh::Objects);
        let mut now = Time(0);
        for slice in 0..3 {
            for turn in 0..80u64 {
                what_if.record(&Access::get(KeyHash::mix(turn % 8), now), None);
            }
            // The first slice fills, and is passed over as its length is not known: 10 loads each in 36 s are 1000 an hour.
            let mut shard = ShardSlice::default();
            (shard.turnovers, shard.measures.origin_loads) = (5.0, 10);
            sizes.note(now, &[(shard, what_if.take())]);
            assert_eq!(sizes.points().is_empty(), slice == 0);
            now = now.plus(Duration::from_secs(36));
        }
        let points = sizes.points();
        let told: Vec<_> = points.iter().map(|size| (size.scale, size.hit_ratio, size.loads_an_hour)).collect();
        assert!(points.iter().all(|size| size.reads == 160), "{points:?}");
        // Four entries hit nothing, eight all.
        let expected: Vec<_> = [0.25, 0.5, 1.0].map(|scale| (scale, 0.0, 1000.0)).into();
        assert_eq!(told[..3], expected[..]);
        assert_eq!(told[3..], [2.0, 4.0, 8.0].map(|scale| (scale, 1.0, 0.0)));
        // An entry is a quarter of a GiB: four are 1 an hour, beside 1000 loads of a hundredth.
        let cost = |at: usize| points[at].cost.map(|cost| (cost.memory, cost.loads));
        assert_eq!([cost(2), cost(3), cost(5)], [Some((1.0, 10.0)), Some((2.0, 0.0)), Some((8.0, 0.0))]);
        assert_eq!(Size::cheapest(&points), Some(2.0));
        let free = Sizes { prices: Prices::default(), ..sizes }.points();
        assert!(free.iter().all(|size| size.cost.is_none()) && Size::cheapest(&free).is_none());
    }
}
