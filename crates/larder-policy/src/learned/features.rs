//! The past of a key as small numbers: the schema that history, model, artefact and documentation share.

use super::HORIZONS;

/// A feature: what the model looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub about: &'static str,
}

const fn feature(name: &'static str, about: &'static str) -> Feature {
    Feature { name, about }
}

/// How many features there are.
pub const COUNT: usize = 15;

/// Every feature, in the order of [`Features`]. Times are counted in accesses, in units of 1/16384 of the cache's objects, and binned
/// at half powers of two; counts are binned alike.
pub const FEATURES: [Feature; COUNT] = [
    feature("age", "accesses since the last use"),
    feature("gap1", "between the last two uses"),
    feature("gap2", "between the two uses before"),
    feature("gap3", "between the two uses before those"),
    feature("uses", "how often it was used, as far as remembered"),
    feature("hits", "how often it was used since it was stored"),
    feature("stay", "accesses since it was stored"),
    feature("rate1", "uses, decayed with a half-life of one cache of accesses"),
    feature("rate8", "uses, decayed with a half-life of eight"),
    feature("rate64", "uses, decayed with a half-life of sixty-four"),
    feature("returned", "whether it was evicted, and came back"),
    feature("newness", "share of new keys among the accesses around its last use"),
    feature("rhythm", "share of accesses around its last use that came after the same gap as the one before"),
    feature("misses", "share of misses around its last use"),
    feature("due", "the last gap over the age"),
];

pub(crate) const AGE: usize = 0;
pub(crate) const GAPS: [usize; 3] = [1, 2, 3];
pub(crate) const USES: usize = 4;
pub(crate) const HITS: usize = 5;
pub(crate) const STAY: usize = 6;
pub(crate) const RATES: [usize; 3] = [7, 8, 9];
pub(crate) const RETURNED: usize = 10;
pub(crate) const CONTEXT: [usize; 3] = [11, 12, 13];
pub(crate) const DUE: usize = 14;

/// Bins of a feature.
pub const BINS: usize = 64;
/// The bin of a gap that was never seen.
pub(crate) const NEVER: u8 = 63;
/// The highest bin of a number.
pub(crate) const TOP: u8 = 62;

/// Pairs of features that have weights of their own, each in 16 × 16 coarser bins.
pub const CROSSES: [(usize, usize); 7] =
    [(AGE, GAPS[0]), (AGE, USES), (AGE, RATES[1]), (GAPS[0], GAPS[1]), (AGE, HITS), (RATES[0], RATES[2]), (AGE, STAY)];

pub(crate) const SIDE: usize = 16;

/// How many weights a span has: each feature's bins, each cross's cells, and the intercept, which is the last.
pub const WEIGHTS: usize = COUNT * BINS + CROSSES.len() * SIDE * SIDE + 1;

/// How many weights take part in one score.
pub const ACTIVE: usize = COUNT + CROSSES.len() + 1;

/// The features of a key at one moment: a bin below 64 for each, and one byte to spare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(pub [u8; 16]);

impl Features {
    /// Uses, decayed with a half-life of eight caches of accesses, to half a power of two; one more, in 16ths.
    pub(crate) fn uses_of_late(&self) -> f32 {
        // A bin is a float's exponent and the first bit of its fraction.
        f32::from_bits(1.0f32.to_bits() + (u32::from(self.0[RATES[1]] & 63) << 22))
    }

    /// The weights that take part, as places in a table of [`WEIGHTS`]: a bin of each feature, a cell of each cross, the
    /// intercept.
    pub fn active(&self) -> [u16; ACTIVE] {
        let mut active = [(WEIGHTS - 1) as u16; ACTIVE];
        let mut next = active.iter_mut();
        self.for_each_active(|place| {
            if let Some(next) = next.next() {
                *next = place as u16;
            }
        });
        active
    }

    /// The same but for the intercept, one by one, so that sums need no table of them.
    #[inline(always)]
    pub(crate) fn for_each_active(&self, mut each: impl FnMut(usize)) {
        for place in 0..COUNT {
            each(place * BINS + usize::from(self.0[place] & 63));
        }
        for (number, (left, right)) in CROSSES.into_iter().enumerate() {
            let cell = usize::from(self.0[left] & 60) * (SIDE / 4) + usize::from((self.0[right] & 63) >> 2);
            each(COUNT * BINS + number * SIDE * SIDE + cell);
        }
    }
}

/// What became of an entry: training data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// What was known.
    pub features: Features,
    /// Which span of [`HORIZONS`] the outcome is about; the entry was not used in the spans before.
    pub span: u8,
    /// Whether it was used within the span.
    pub used: bool,
}

/// A hash of the schema (FNV-1a, 64 bits): names, bins, crosses and horizons. A model made for another schema is refused.
pub fn schema() -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for feature in &FEATURES {
        feature.name.bytes().chain([0]).for_each(&mut eat);
    }
    for (left, right) in CROSSES {
        [left as u8, right as u8].into_iter().for_each(&mut eat);
    }
    HORIZONS.iter().flat_map(|span| span.to_bits().to_le_bytes()).chain([BINS as u8, SIDE as u8]).for_each(&mut eat);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn active_weights_are_distinct_and_in_range(bytes in any::<[u8; 16]>()) {
            let active = Features(bytes).active();
            prop_assert!(active.iter().all(|&place| usize::from(place) < WEIGHTS));
            prop_assert!(active.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
