//! What is kept of a key's past, and how it becomes features.

use wide::f32x4;

use super::features::{AGE, CONTEXT, DUE, Features, GAPS, HITS, NEVER, RATES, RETURNED, STAY, TOP, USES};
use super::lanes::{compact, exp, expand, half_log2};

/// The unit of time in which ages are binned: it follows the number of objects the cache holds, so that a model learned at
/// one size serves at another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Bins a cache of accesses spans.
    per_access: f32,
    /// Minus ln 2 over each half-life, per access; the fourth lane is idle.
    decay: f32x4,
    /// Accesses from one use to the next within which both count as one.
    burst: u32,
}

/// Caches of accesses that a burst takes. Uses this close say nothing of the next one after them (the correlated references of LRU-K,
/// O'Neil et al., SIGMOD 1993), and most hits of skewed traffic are among them: they cost a comparison.
const BURST: f32 = 1.0 / 256.0;

impl Scale {
    /// For a cache of about `objects`.
    pub(crate) fn new(objects: f32) -> Self {
        let objects = objects.max(1.0);
        let decay = [1.0, 8.0, 64.0, f32::INFINITY].map(|caches| -std::f32::consts::LN_2 / (caches * objects));
        Self { per_access: 16384.0 / objects, decay: f32x4::new(decay), burst: (objects * BURST) as u32 }
    }

    /// Units of an age's bins in an access.
    pub(crate) fn per_access(&self) -> f64 {
        f64::from(self.per_access)
    }

    /// Whether a use so many accesses after the last one is part of it.
    #[inline(always)]
    pub(crate) fn is_same_use(&self, gap: u32) -> bool {
        gap < self.burst
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
pub(crate) const RATE: f32 = 64.0;

/// A key's past. Moments are counted in accesses and wrap, which only misdates what is four billion accesses old. Packed to 18 bytes, so
/// that a resident takes 24.
#[derive(Clone, Copy, Debug, Default)]
#[repr(Rust, packed(2))]
pub(crate) struct History {
    /// When it was last used.
    pub(crate) last: u32,
    /// Three binned gaps between uses, the latest lowest; above them what went on around the last use; above that the flags.
    marks: u32,
    /// At the last use, accesses since it was stored, by [`compact`].
    stayed: u16,
    /// Decayed uses at `last`, in 64ths.
    pub(crate) rates: [u16; 3],
    pub(crate) uses: u8,
    pub(crate) hits: u8,
}

/// Bits of a gap, and of all three.
const GAP: u32 = 6;
const GAPS_MASK: u32 = (1 << (3 * GAP)) - 1;
/// Where the shares of [`Context`] lie, which take four bits each.
const CONTEXT_AT: u32 = 3 * GAP;
const CONTEXT_MASK: u32 = 0xfff << CONTEXT_AT;
const RETURNED_MARK: u32 = 1 << 30;
const WATCHED_MARK: u32 = 1 << 31;

impl History {
    /// The first use.
    pub(crate) fn first(now: u32, context: [u8; 3]) -> Self {
        let marks = GAPS_MASK | context_marks(context);
        Self { last: now, marks, rates: [RATE as u16; 3], uses: 1, ..Self::default() }
    }

    /// What is remembered of a key that left: it is back once it is used.
    pub(crate) fn remembered(last: u32, gaps: [u8; 3], uses: u8, rates: [u16; 3]) -> Self {
        let [gap1, gap2, gap3] = gaps.map(|gap| u32::from(gap.min(NEVER)));
        let marks = gap1 | gap2 << GAP | gap3 << (2 * GAP) | RETURNED_MARK;
        Self { last, marks, rates, uses, ..Self::default() }
    }

    /// Binned gaps between uses, the latest first.
    pub(crate) fn gaps(&self) -> [u8; 3] {
        [0, 1, 2].map(|at| (self.marks >> (at * GAP)) as u8 & NEVER)
    }

    /// Whether an example waits for its next use.
    pub(crate) fn is_watched(&self) -> bool {
        self.marks & WATCHED_MARK != 0
    }

    pub(crate) fn set_watched(&mut self, watched: bool) {
        self.marks = self.marks & !WATCHED_MARK | if watched { WATCHED_MARK } else { 0 };
    }

    /// It is stored, at its last use.
    pub(crate) fn store(&mut self) {
        self.stayed = 0;
    }

    /// One more use, in a cache or outside.
    #[inline]
    pub(crate) fn touch(&mut self, now: u32, scale: &Scale, context: [u8; 3]) {
        let gap = now.wrapping_sub(self.last);
        let rates = self.rates() * scale.left(gap) + f32x4::splat(RATE);
        let [rate1, rate8, rate64, _] = rates.fast_min(f32x4::splat(65535.0)).fast_trunc_int().to_array();
        self.rates = [rate1 as u16, rate8 as u16, rate64 as u16];
        let gaps = (self.marks << GAP | u32::from(scale.bin(gap))) & GAPS_MASK;
        self.marks = self.marks & !(GAPS_MASK | CONTEXT_MASK) | gaps | context_marks(context);
        self.stayed = compact(expand(self.stayed) + gap as f32);
        self.uses = self.uses.saturating_add(1);
        self.last = now;
    }

    /// The features now.
    #[inline]
    pub(crate) fn features(&self, now: u32, scale: &Scale) -> Features {
        let age = now.wrapping_sub(self.last) as f32;
        let times = f32x4::new([age, age + expand(self.stayed), f32::from(self.uses), f32::from(self.hits)]);
        let [age_bin, stay_bin, uses, hits] =
            half_log2(times * f32x4::new([scale.per_access, scale.per_access, 1.0, 1.0]));
        // In 16ths of a use.
        let left = scale.left(now.wrapping_sub(self.last));
        let [rate1, rate8, rate64, _] = half_log2(self.rates() * left * f32x4::splat(16.0 / RATE));
        let mut bins = [0u8; 16];
        let gaps = self.gaps();
        bins[AGE] = age_bin;
        [bins[GAPS[0]], bins[GAPS[1]], bins[GAPS[2]]] = gaps;
        [bins[USES], bins[HITS], bins[STAY]] = [uses, hits, stay_bin];
        [bins[RATES[0]], bins[RATES[1]], bins[RATES[2]]] = [rate1, rate8, rate64];
        bins[RETURNED] = if self.marks & RETURNED_MARK != 0 { 4 } else { 0 };
        // In steps of two.
        let share = |at: u32| (self.marks >> (CONTEXT_AT + 4 * at)) as u8 % 16 * 2;
        [bins[CONTEXT[0]], bins[CONTEXT[1]], bins[CONTEXT[2]]] = [share(0), share(1), share(2)];
        bins[DUE] = (gaps[0] + 32).saturating_sub(bins[AGE]).min(TOP + 1);
        Features(bins)
    }

    #[inline(always)]
    fn rates(&self) -> f32x4 {
        let [rate1, rate8, rate64] = self.rates;
        f32x4::new([f32::from(rate1), f32::from(rate8), f32::from(rate64), 0.0])
    }
}

#[inline(always)]
fn context_marks([new, rhythm, missed]: [u8; 3]) -> u32 {
    (u32::from(new) | u32::from(rhythm) << 4 | u32::from(missed) << 8) << CONTEXT_AT
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
    /// Notes an access: the gap since the key's last use, if it had one, and whether it missed. Returns the shares in 16ths: new keys;
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
        self.shares.map(|share| (share >> 12) as u8 & 15)
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
        assert_eq!([bins[USES], bins[HITS], bins[STAY]], [4, 0, 9]);
        assert_eq!([bins[CONTEXT[0]], bins[CONTEXT[2]], bins[DUE]], [6, 30, 8 + 32 - 4]);
        // Three uses within far less than a half-life.
        assert_eq!(RATES.map(|place| bins[place]), [11; 3]);
    }

    #[test]
    fn a_burst_takes_a_256th_of_a_cache() {
        let scale = Scale::new(2560.0);
        assert_eq!([0, 9, 10, 5000].map(|gap| scale.is_same_use(gap)), [true, true, false, false]);
        assert!(!Scale::new(255.0).is_same_use(0), "too small for bursts");
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
            for (rate, truth) in { history.rates }.into_iter().zip(truth) {
                prop_assert!((f64::from(rate) / 64.0 - truth).abs() < 0.02 * truth + 0.3, "{rate} {truth}");
            }
        }
    }
}
