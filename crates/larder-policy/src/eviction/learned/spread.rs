//! How far the weights of what arrives are apart.

/// Weights are apart if the standard deviation of their base-2 logarithms is above this: by a factor of two either way.
const APART: f32 = 1.0;
/// Arrivals after which what was seen counts half.
const SEEN: f32 = 16384.0;

/// Sums over the logarithms of weights.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    count: f32,
    sum: f32,
    squares: f32,
}

impl Spread {
    #[inline]
    pub(super) fn note(&mut self, weight: u32) {
        if self.count >= SEEN {
            (self.count, self.sum, self.squares) = (self.count / 2.0, self.sum / 2.0, self.squares / 2.0);
        }
        // A float's bits are its logarithm, but for less than a tenth.
        let log = ((weight.max(1) as f32).to_bits() - 1.0f32.to_bits()) as f32 / (1u32 << 23) as f32;
        self.count += 1.0;
        self.sum += log;
        self.squares += log * log;
    }

    pub(super) fn is_wide(&self) -> bool {
        self.variance() > APART * APART
    }

    /// By a margin no longer wide: what was chosen for wide ones is not undone at each swing.
    pub(super) fn is_narrow(&self) -> bool {
        self.variance() < APART * APART / 2.0
    }

    fn variance(&self) -> f32 {
        let mean = self.sum / self.count.max(1.0);
        self.squares / self.count.max(1.0) - mean * mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    #[test]
    fn it_tells_weights_that_are_much_alike_from_those_that_are_not_and_follows_them() {
        let (mut spread, mut rng) = (Spread::default(), Rng::new(5));
        assert!(!spread.is_wide());
        let mut note = |spread: &mut Spread, doublings: f64| {
            (0..100_000).for_each(|_| spread.note((1e4 * (doublings * (rng.unit() - 0.5)).exp2()) as u32));
            spread.is_wide()
        };
        // The standard deviation of an even spread is its width over √12.
        assert!(
            !note(&mut spread, 0.0) && !note(&mut spread, 3.0) && note(&mut spread, 4.0) && note(&mut spread, 12.0)
        );
        // No longer wide, and not yet narrow.
        assert!(!note(&mut spread, 3.0) && !spread.is_narrow());
        assert!(!note(&mut spread, 2.0) && spread.is_narrow());
        spread.note(0);
        spread.note(u32::MAX);
        assert!(!spread.is_wide());
    }
}
