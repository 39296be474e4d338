//! The one lifetime for all that keeps an objective, found from rates nobody knows in production.

use std::time::Duration;

/// No lifetime is longer.
const LONGEST: f64 = 24.0 * 3600.0;

/// The share of reads that are stale when every value lives `ttl` seconds from its load. A row read `r` and changed `c` times a
/// second, both at random, is loaded once in `ttl + 1/r` seconds; of the reads between, `r·(ttl − (1 − e^(−c·ttl))/c)` are stale.
fn stale_share(rates: &[(f64, f64)], ttl: f64) -> f64 {
    let (mut stale, mut all) = (0.0, 0.0);
    for &(reads, changes) in rates.iter().filter(|(reads, _)| *reads > 0.0) {
        let outdated = if changes > 0.0 { ttl + (-changes * ttl).exp_m1() / changes } else { 0.0 };
        stale += reads * outdated / (ttl + 1.0 / reads);
        all += reads;
    }
    if all > 0.0 { stale / all } else { 0.0 }
}

/// The longest lifetime that keeps the stale share at the objective. `rates` are each row's reads and changes a second.
pub(super) fn ttl_for(objective: f64, rates: &[(f64, f64)]) -> Duration {
    let (mut low, mut high) = (0.0f64, LONGEST);
    // The share grows with the lifetime; 60 halvings are as exact as an f64 of seconds needs.
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if stale_share(rates, middle) > objective { high = middle } else { low = middle }
    }
    Duration::from_micros((low * 1e6) as u64).max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_policy::Rng;

    #[test]
    fn the_share_foreseen_is_the_share_a_simulation_sees() {
        let rates = [(20.0, 0.1), (1.0, 0.5), (0.2, 0.02)];
        for ttl in [0.5, 3.0, 20.0] {
            let (mut stale, mut reads) = (0.0, 0.0);
            for (at, &(read, change)) in rates.iter().enumerate() {
                let mut rng = Rng::new(at as u64 + 1);
                let mut wait = |rate: f64| -(1.0 - rng.unit()).ln() / rate;
                let (mut now, mut loaded, mut changed) = (0.0, f64::NEG_INFINITY, f64::NEG_INFINITY);
                let mut next = wait(change);
                while now < 100_000.0 {
                    now += wait(read);
                    while next <= now {
                        changed = next;
                        next += wait(change);
                    }
                    if now - loaded >= ttl {
                        loaded = now;
                    }
                    reads += 1.0;
                    stale += if changed > loaded { 1.0 } else { 0.0 };
                }
            }
            let (seen, foreseen) = (stale / reads, stale_share(&rates, ttl));
            assert!((seen - foreseen).abs() < 0.02 * foreseen + 0.001, "{ttl} s: {seen} seen, {foreseen} foreseen");
        }
    }

    #[test]
    fn the_lifetime_keeps_the_objective() {
        let rates = [(20.0, 0.1), (1.0, 0.5), (0.2, 0.02)];
        for objective in [0.001, 0.01, 0.1] {
            let ttl = ttl_for(objective, &rates);
            assert!((stale_share(&rates, ttl.as_secs_f64()) / objective - 1.0).abs() < 1e-2, "{ttl:?}");
        }
        assert_eq!(ttl_for(0.01, &[(5.0, 0.0)]).as_secs_f64().round(), LONGEST);
        assert_eq!(ttl_for(0.01, &[]).as_secs_f64().round(), LONGEST);
    }
}
