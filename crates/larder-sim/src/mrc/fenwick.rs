//! Prefix sums that change (Fenwick, "A New Data Structure for Cumulative Frequency Tables", 1994).

/// Weights at positions `0..len`, with sums of prefixes in logarithmic time.
#[derive(Clone, Debug)]
pub(super) struct Fenwick {
    /// `tree[i]` covers the positions up to `i` whose number is the lowest set bit of `i + 1`.
    tree: Vec<u64>,
}

impl Fenwick {
    pub(super) fn new(len: usize) -> Self {
        Self { tree: vec![0; len] }
    }

    pub(super) fn len(&self) -> usize {
        self.tree.len()
    }

    /// Adds `weight` at `position`; removing is adding the two's complement.
    #[inline]
    pub(super) fn add(&mut self, position: usize, weight: u64) {
        let mut at = position;
        while at < self.tree.len() {
            self.tree[at] = self.tree[at].wrapping_add(weight);
            at |= at + 1;
        }
    }

    #[inline]
    pub(super) fn remove(&mut self, position: usize, weight: u64) {
        self.add(position, weight.wrapping_neg());
    }

    /// The sum of the weights before `position`.
    #[inline]
    pub(super) fn before(&self, position: usize) -> u64 {
        let (mut sum, mut at) = (0u64, position);
        while at > 0 {
            sum = sum.wrapping_add(self.tree[at - 1]);
            at &= at - 1;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_summing(steps in prop::collection::vec((0usize..50, 0u64..1000), 0..100)) {
            let mut tree = Fenwick::new(50);
            let mut plain = [0u64; 50];
            for (position, weight) in steps {
                tree.remove(position, plain[position]);
                tree.add(position, weight);
                plain[position] = weight;
                for end in 0..=50 {
                    prop_assert_eq!(tree.before(end), plain[..end].iter().sum::<u64>());
                }
            }
        }
    }
}
