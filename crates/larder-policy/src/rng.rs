//! The kernel's own random numbers: the seed is configuration, so a run can be repeated bit for bit.

/// SplitMix64 (Steele, Lea, Flood 2014): 64 bits of state, passes BigCrush, and never changes under us.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A stream of its own for each seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 uniform bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        crate::KeyHash::mix(self.0).0
    }

    /// A uniform number below `bound`, by multiplication (Lemire 2019, without the rejection: bias below 2^-32 for
    /// bounds below 2^32). 0 when `bound` is 0.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.bits() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// A uniform number in [0, 1).
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // The first outputs of the reference implementation for seed 1234567.
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.bits(), 6_457_827_717_110_365_317);
        assert_eq!(rng.bits(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn below_and_unit_are_uniform() {
        let mut rng = Rng::new(3);
        let mut counts = [0u32; 10];
        let mut sum = 0.0;
        for _ in 0..100_000 {
            counts[rng.below(10) as usize] += 1;
            sum += rng.unit();
        }
        // Five standard deviations of a binomial(100000, 0.1) are 474.
        assert!(counts.iter().all(|&count| count.abs_diff(10_000) < 474), "{counts:?}");
        assert!((sum / 100_000.0 - 0.5).abs() < 0.005);
    }
}
