//! How steep a popularity is.

/// Below this many requests, a key's rank is a matter of luck.
const LEAST_REQUESTS: u64 = 10;

/// Fewer keys than this make no law.
const LEAST_KEYS: usize = 100;

/// Exponents looked among.
const RANGE: (f64, f64) = (0.0, 4.0);

/// The exponent under which the counts, descending, are most likely: each request of the first `n` ranks falls on
/// rank `r` with a probability proportional to `r^-alpha`.
///
/// The likelihood's derivative is the difference of the mean `ln r` expected and seen; it falls in alpha, so
/// bisection finds its zero.
pub(super) fn exponent(counts: impl Iterator<Item = u64>) -> Option<f64> {
    let (mut ranks, mut requests, mut logs) = (0usize, 0.0, 0.0);
    for count in counts.take_while(|&count| count >= LEAST_REQUESTS) {
        ranks += 1;
        requests += count as f64;
        logs += count as f64 * (ranks as f64).ln();
    }
    if ranks < LEAST_KEYS {
        return None;
    }
    let seen = logs / requests;
    let steps = steps(ranks);
    let (mut low, mut high) = RANGE;
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if mean_log_rank(&steps, middle) > seen { low = middle } else { high = middle }
    }
    Some(low)
}

/// The ranks up to `n` as runs of (log of the rank in the middle, length): single at first, then growing by a
/// hundredth, so that a million keys cost no more than a thousand.
fn steps(n: usize) -> Vec<(f64, f64)> {
    let (mut steps, mut first) = (Vec::new(), 1);
    while first <= n {
        let last = (first + first / 100).min(n);
        steps.push((f64::midpoint(first as f64, last as f64).ln(), (last - first + 1) as f64));
        first = last + 1;
    }
    steps
}

fn mean_log_rank(steps: &[(f64, f64)], alpha: f64) -> f64 {
    let (sum, weight) = steps.iter().fold((0.0, 0.0), |(sum, weight), (log, length)| {
        let mass = length * (-alpha * log).exp();
        (sum + mass * log, weight + mass)
    });
    sum / weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_exponent_of_a_law() {
        for alpha in [0.5, 0.8, 1.0, 1.4] {
            let counts = (1..200_000).map(|rank| (1e7 * f64::from(rank).powf(-alpha)) as u64);
            let found = exponent(counts).unwrap();
            assert!((found - alpha).abs() < 0.02, "{found} for {alpha}");
        }
    }

    #[test]
    fn few_keys_make_no_law() {
        assert_eq!(exponent([1000; 99].into_iter()), None);
        assert_eq!(exponent([9; 1000].into_iter()), None);
        assert!(exponent([50; 1000].into_iter()).unwrap() < 1e-3, "equal popularity is an exponent of 0");
    }
}
