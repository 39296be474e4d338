//! Zipf's law by rejection-inversion (Hörmann & Derflinger 1996): constant time and no table, whatever the number of
//! keys. Transcendentals come from `libm`, so that a seed gives the same trace on every machine.

use larder_policy::Rng;

/// Ranks from 1 to `n`, rank `k` with a probability in proportion to `k^-alpha`.
pub(crate) struct Zipf {
    n: f64,
    alpha: f64,
    /// The integral of the hat over the first rank's left edge, and over the last one's right.
    first: f64,
    last: f64,
    /// Within this distance of a rank nothing is rejected.
    sure: f64,
}

impl Zipf {
    /// `n` at least 1, `alpha` at least 0.
    pub(crate) fn new(n: u64, alpha: f64) -> Self {
        let mut zipf = Self { n: n as f64, alpha, first: 0.0, last: 0.0, sure: 0.0 };
        zipf.first = zipf.integral(1.5) - 1.0;
        zipf.last = zipf.integral(zipf.n + 0.5);
        zipf.sure = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.hat(2.0));
        zipf
    }

    pub(crate) fn sample(&self, rng: &mut Rng) -> u64 {
        loop {
            let u = self.last + rng.unit() * (self.first - self.last);
            let x = self.inverse(u);
            let k = libm::round(x).clamp(1.0, self.n);
            if k - x <= self.sure || u >= self.integral(k + 0.5) - self.hat(k) {
                return k as u64;
            }
        }
    }

    /// `x^-alpha`.
    fn hat(&self, x: f64) -> f64 {
        libm::exp(-self.alpha * libm::log(x))
    }

    /// The hat's integral from 1 to `x`; the form holds near `alpha` = 1, too.
    fn integral(&self, x: f64) -> f64 {
        let log = libm::log(x);
        let t = (1.0 - self.alpha) * log;
        let ratio = if t.abs() > 1e-8 { libm::expm1(t) / t } else { 1.0 + t / 2.0 };
        ratio * log
    }

    fn inverse(&self, u: f64) -> f64 {
        // Rounding must not push the argument below the logarithm's pole.
        let t = (u * (1.0 - self.alpha)).max(-1.0);
        let ratio = if t.abs() > 1e-8 { libm::log1p(t) / t } else { 1.0 - t / 2.0 };
        libm::exp(ratio * u)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts against the exact law, within five standard deviations of each rank.
    #[test]
    fn follows_the_law() {
        const KEYS: u64 = 50;
        const SAMPLES: u64 = 200_000;
        for alpha in [0.0, 0.3, 0.9, 1.0, 1.00001, 1.6, 2.7] {
            let (zipf, mut rng) = (Zipf::new(KEYS, alpha), Rng::new(7));
            let mut counts = vec![0u64; KEYS as usize];
            (0..SAMPLES).for_each(|_| counts[zipf.sample(&mut rng) as usize - 1] += 1);
            let weights: Vec<f64> = (1..=KEYS).map(|k| (k as f64).powf(-alpha)).collect();
            let total: f64 = weights.iter().sum();
            for (rank, (count, weight)) in counts.iter().zip(&weights).enumerate() {
                let expected = SAMPLES as f64 * weight / total;
                let off = (*count as f64 - expected).abs();
                assert!(off < 5.0 * expected.sqrt() + 1.0, "alpha {alpha}, rank {}: {count}, not {expected}", rank + 1);
            }
        }
    }

    #[test]
    fn one_key_and_many_keys() {
        let mut rng = Rng::new(1);
        assert_eq!(Zipf::new(1, 0.9).sample(&mut rng), 1);
        let many = Zipf::new(10_000_000, 0.8);
        assert!((0..10_000).all(|_| (1..=10_000_000).contains(&many.sample(&mut rng))));
    }
}
