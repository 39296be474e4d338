//! What is kept of a key's past, and how it becomes features.

use super::exp;
use super::features::{AGE, CONTEXT, DUE, Features, GAPS, HITS, NEVER, RATES, RETURNED, STAY, TOP, USES, half_log2};

/// The unit of time in which ages are binned: it follows the number of objects the cache holds, so that a model learned at
/// one size serves at another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Bins a cache of accesses spans.
    per_access: f32,
    /// ln 2 over each half-life, per access.
    decay: [f32; 3],
}

impl Scale {
    /// For a cache of about `objects`.
    pub(crate) fn new(objects: f32) -> Self {
        let objects = objects.max(1.0);
        let decay = [1.0, 8.0, 64.0].map(|caches| std::f32::consts::LN_2 / (caches * objects));
        Self { per_access: 16384.0 / objects, decay }
    }

    /// A span of accesses, binned.
    #[inline]
    pub(crate) fn bin(&self, accesses: u32) -> u8 {
        half_log2((accesses as f32 * self.per_access) as u32)
    }

    /// What is left of each rate after so many accesses.
    #[inline]
    fn left(&self, accesses: u32) -> [f32; 3] {
        self.decay.map(|decay| exp(-decay * accesses as f32))
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
        let left = scale.left(gap);
        for (rate, left) in self.rates.iter_mut().zip(left) {
            *rate = (f32::from(*rate) * left + RATE).min(65535.0) as u16;
        }
        self.gaps = [scale.bin(gap), self.gaps[0], self.gaps[1]];
        self.uses = self.uses.saturating_add(1);
        self.context = context;
        self.last = now;
    }

    /// The features now.
    #[inline]
    pub(crate) fn features(&self, now: u32, scale: &Scale) -> Features {
        let age = now.wrapping_sub(self.last);
        let left = scale.left(age);
        let mut bins = [0u8; 16];
        bins[AGE] = scale.bin(age);
        for (place, gap) in GAPS.into_iter().zip(self.gaps) {
            bins[place] = gap;
        }
        bins[USES] = half_log2(u32::from(self.uses));
        bins[HITS] = half_log2(u32::from(self.hits));
        bins[STAY] = scale.bin(now.wrapping_sub(self.stored));
        for ((place, rate), left) in RATES.into_iter().zip(self.rates).zip(left) {
            // In 16ths of a use.
            bins[place] = half_log2((f32::from(rate) * left * (16.0 / RATE)) as u32);
        }
        bins[RETURNED] = u8::from(self.returned) * 4;
        for (place, share) in CONTEXT.into_iter().zip(self.context) {
            bins[place] = share * 2;
        }
        bins[DUE] = (self.gaps[0] + 32).saturating_sub(bins[AGE]).min(TOP + 1);
        Features(bins)
    }
}

/// What goes on around an access: moving shares over the last few.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    shares: [f32; 3],
    gap: u32,
}

/// The weight of the latest access in a moving share.
const LATEST: f32 = 0.06;

impl Default for Context {
    fn default() -> Self {
        Self { shares: [0.5, 0.0, 0.5], gap: 0 }
    }
}

impl Context {
    /// Notes an access: the gap since the key's last use, if it had one, and whether it missed. Returns the shares in 16ths: new keys;
    /// accesses after the same gap as the one before (a scan that repeats); misses.
    #[inline]
    pub(crate) fn note(&mut self, gap: Option<u32>, missed: bool) -> [u8; 3] {
        let share = |share: &mut f32, holds: bool| *share += LATEST * (f32::from(u8::from(holds)) - *share);
        share(&mut self.shares[0], gap.is_none());
        share(&mut self.shares[2], missed);
        if let Some(gap) = gap {
            if self.gap > 0 {
                let ratio = gap as f32 / self.gap as f32;
                share(&mut self.shares[1], ratio > 0.8 && ratio < 1.25);
            }
            self.gap = gap;
        }
        self.shares.map(|share| (share * 15.99) as u8)
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
        history.touch(107, &scale, [3, 0, 15]);
        history.touch(122, &scale, [3, 0, 15]);
        let bins = history.features(125, &scale).0;
        assert_eq!([bins[AGE], bins[GAPS[0]], bins[GAPS[1]], bins[GAPS[2]]], [4, 8, 6, NEVER]);
        assert_eq!([bins[USES], bins[HITS], bins[STAY]], [half_log2(3), 0, half_log2(25)]);
        assert_eq!([bins[CONTEXT[0]], bins[CONTEXT[2]], bins[DUE]], [6, 30, 8 + 32 - 4]);
        // Three uses within far less than a half-life.
        assert_eq!(RATES.map(|place| bins[place]), [half_log2(47); 3]);
    }

    #[test]
    fn a_repeated_scan_is_seen() {
        let mut context = Context::default();
        let shares = (0..100).map(|_| context.note(Some(1000), true)).last();
        assert_eq!(shares, Some([0, 15, 15]));
        let shares = (0..100).map(|_| context.note(None, true)).last();
        assert_eq!(shares, Some([15, 15, 15]));
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
