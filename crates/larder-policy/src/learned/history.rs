//! What is kept of a key's past, and how it becomes features.

use wide::f32x4;

use super::features::{AGE, CONTEXT, DUE, Features, GAPS, HITS, NEVER, RATES, RETURNED, STAY, TOP, USES};
use super::lanes::{exp, half_log2};

/// The unit of time in which ages are binned: it follows the number of objects the cache holds, so that a model learned at
/// one size serves at another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Bins a cache of accesses spans.
    per_access: f32,
    /// Minus ln 2 over each half-life, per access; the fourth lane is idle.
    decay: f32x4,
}

impl Scale {
    /// For a cache of about `objects`.
    pub(crate) fn new(objects: f32) -> Self {
        let objects = objects.max(1.0);
        let decay = [1.0, 8.0, 64.0, f32::INFINITY].map(|caches| -std::f32::consts::LN_2 / (caches * objects));
        Self { per_access: 16384.0 / objects, decay: f32x4::new(decay) }
    }

    /// Units of an age's bins in an access.
    pub(crate) fn per_access(&self) -> f64 {
        f64::from(self.per_access)
    }

    /// A span of accesses, binned.
    #[inline]
    fn bin(&self, accesses: u32) -> u8 {
        half_log2(f32x4::splat(accesses as f32 * self.per_access))[0]
    }

    /// What is left of each rate after so many accesses.
    #[inline(always)]
    fn left(&self, accesses: u32) -> f32x4 {
        exp(self.decay * f32x4::splat(accesses as f32))
    }
}

/// Rates are kept in 64ths: up to 1023 uses within the half-life, far above what is ever in danger.
const RATE: f32 = 64.0;

/// A key's past. Moments are counted in accesses and wrap, which only misdates what is four billion accesses old.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct History {
    /// When it was last used.
    pub(crate) last: u32,
    /// When it was stored.
    pub(crate) stored: u32,
    /// Decayed uses at `last`, in 64ths.
    pub(crate) rates: [u16; 3],
    /// Binned gaps between uses, the latest first.
    pub(crate) gaps: [u8; 3],
    pub(crate) uses: u8,
    pub(crate) hits: u8,
    pub(crate) context: [u8; 3],
    pub(crate) returned: bool,
    /// Whether an example waits for its next use.
    pub(crate) watched: bool,
}

impl History {
    /// The first use.
    pub(crate) fn first(now: u32, context: [u8; 3]) -> Self {
        let rates = [RATE as u16; 3];
        Self { last: now, stored: now, rates, gaps: [NEVER; 3], uses: 1, context, ..Self::default() }
    }

    /// One more use, in a cache or outside.
    #[inline]
    pub(crate) fn touch(&mut self, now: u32, scale: &Scale, context: [u8; 3]) {
        let gap = now.wrapping_sub(self.last);
        let rates = self.rates() * scale.left(gap) + f32x4::splat(RATE);
        let [rate1, rate8, rate64, _] = rates.fast_min(f32x4::splat(65535.0)).to_array();
        self.rates = [rate1 as u16, rate8 as u16, rate64 as u16];
        self.gaps = [scale.bin(gap), self.gaps[0], self.gaps[1]];
        self.uses = self.uses.saturating_add(1);
        self.context = context;
        self.last = now;
    }

    /// The features now.
    #[inline]
    pub(crate) fn features(&self, now: u32, scale: &Scale) -> Features {
        let age = now.wrapping_sub(self.last);
        let stay = now.wrapping_sub(self.stored);
        let times = f32x4::new([age as f32, stay as f32, f32::from(self.uses), f32::from(self.hits)]);
        let [age_bin, stay_bin, uses, hits] =
            half_log2(times * f32x4::new([scale.per_access, scale.per_access, 1.0, 1.0]));
        // In 16ths of a use.
        let [rate1, rate8, rate64, _] = half_log2(self.rates() * scale.left(age) * f32x4::splat(16.0 / RATE));
        let mut bins = [0u8; 16];
        bins[AGE] = age_bin;
        [bins[GAPS[0]], bins[GAPS[1]], bins[GAPS[2]]] = self.gaps;
        [bins[USES], bins[HITS], bins[STAY]] = [uses, hits, stay_bin];
        [bins[RATES[0]], bins[RATES[1]], bins[RATES[2]]] = [rate1, rate8, rate64];
        bins[RETURNED] = u8::from(self.returned) * 4;
        [bins[CONTEXT[0]], bins[CONTEXT[1]], bins[CONTEXT[2]]] = self.context;
        bins[DUE] = (self.gaps[0] + 32).saturating_sub(bins[AGE]).min(TOP + 1);
        Features(bins)
    }

    #[inline(always)]
    fn rates(&self) -> f32x4 {
        f32x4::new([f32::from(self.rates[0]), f32::from(self.rates[1]), f32::from(self.rates[2]), 0.0])
    }
}

/// What goes on around an access: moving shares over the last few.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// In 65536ths: new keys; accesses after the same gap as the one before; misses.
    shares: [u32; 3],
    gap: u32,
}

/// The latest access counts 1 in 2 to this power in a moving share.
const LATEST: u32 = 4;
const WHOLE: u32 = 1 << 16;

impl Default for Context {
    fn default() -> Self {
        Self { shares: [WHOLE / 2, 0, WHOLE / 2], gap: 0 }
    }
}

impl Context {
    /// Notes an access: the gap since the key's last use, if it had one, and whether it missed. Returns the shares in 32nds: new keys;
    /// accesses after the same gap as the one before (a scan that repeats); misses.
    #[inline(always)]
    pub(crate) fn note(&mut self, gap: Option<u32>, missed: bool) -> [u8; 3] {
        // Whole numbers: a hit waits for the one before it, and floats would take three times as long.
        let share = |share: &mut u32, holds: bool| {
            *share = *share - (*share >> LATEST) + if holds { (WHOLE - 1) >> LATEST } else { 0 };
        };
        share(&mut self.shares[0], gap.is_none());
        share(&mut self.shares[2], missed);
        if let Some(gap) = gap {
            if self.gap > 0 {
                // Within a quarter of the one before.
                let (now, before) = (u64::from(gap), u64::from(self.gap));
                share(&mut self.shares[1], 5 * now > 4 * before && 4 * now < 5 * before);
            }
            self.gap = gap;
        }
        // In steps of two.
        self.shares.map(|share| ((share >> 12) as u8 & 15) * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_history_says_what_happened() {
        let scale = Scale::new(16384.0);
        let mut history = History::first(100, [0; 3]);
        assert_eq!(history.features(100, &scale).0[GAPS[0]], NEVER);
        history.touch(107, &scale, [6, 0, 30]);
        history.touch(122, &scale, [6, 0, 30]);
        let bins = history.features(125, &scale).0;
        assert_eq!([bins[AGE], bins[GAPS[0]], bins[GAPS[1]], bins[GAPS[2]]], [4, 8, 6, NEVER]);
        assert_eq!([bins[USES], bins[HITS], bins[STAY]], [4, 0, 9]);
        assert_eq!([bins[CONTEXT[0]], bins[CONTEXT[2]], bins[DUE]], [6, 30, 8 + 32 - 4]);
        // Three uses within far less than a half-life.
        assert_eq!(RATES.map(|place| bins[place]), [11; 3]);
    }

    #[test]
    fn a_repeated_scan_is_seen() {
        let mut context = Context::default();
        let shares = (0..100).map(|_| context.note(Some(1000), true)).last();
        assert_eq!(shares, Some([0, 30, 30]));
        let shares = (0..100).map(|_| context.note(None, true)).last();
        assert_eq!(shares, Some([30, 30, 30]));
    }

    proptest! {
        #[test]
        fn bins_stay_below_64(
            objects in prop_oneof![0.0f32..1e9, Just(f32::NAN), Just(f32::INFINITY)],
            steps in prop::collection::vec((any::<u32>(), any::<bool>()), 1..50),
        ) {
            let scale = Scale::new(objects);
            let mut context = Context::default();
            let mut now = 7u32;
            let mut history = History::first(now, [0; 3]);
            for (gap, missed) in steps {
                now = now.wrapping_add(gap);
                let shares = context.note(Some(gap), missed);
                prop_assert!(history.features(now, &scale).0.iter().all(|&bin| bin < 64));
                history.touch(now, &scale, shares);
            }
            prop_assert!(history.features(now, &scale).0.iter().all(|&bin| bin < 64));
        }

        #[test]
        fn rates_decay_as_they_should(gaps in prop::collection::vec(0u32..500, 1..20)) {
            let scale = Scale::new(1000.0);
            let mut history = History::first(0, [0; 3]);
            let (mut now, mut truth) = (0, [1.0f64; 3]);
            for gap in gaps {
                now += gap;
                history.touch(now, &scale, [0; 3]);
                for (rate, caches) in truth.iter_mut().zip([1.0, 8.0, 64.0]) {
                    *rate = *rate * 0.5f64.powf(f64::from(gap) / (caches * 1000.0)) + 1.0;
                }
            }
            for (rate, truth) in history.rates.iter().zip(truth) {
                prop_assert!((f64::from(*rate) / 64.0 - truth).abs() < 0.02 * truth + 0.3, "{rate} {truth}");
            }
        }
    }
}
