//! Memory rent: how long an entry that nobody reads may stay.
//!
//! With n reads over a total of g seconds between them, the rate of the next one given τ idle seconds is (n + 1)/(g + τ),
//! the mean of a Gamma posterior. A read saves a load; bytes cost rent. The physical lifetime ends where the rate no
//! longer pays: τ* = (n + 1)/(rent·bytes) − g. Freshness is the logical lifetime and lives in the envelope.

/// Idle seconds after which an entry of `bytes` no longer pays, `rent` being loads a byte and second; without rent,
/// infinite.
pub(super) fn idle_lifetime(reads: f64, between: f64, bytes: f64, rent: f64) -> f64 {
    let cost = rent * bytes;
    if cost > 0.0 { ((reads + 1.0) / cost - between).max(0.0) } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_pays_until_then_and_not_after() {
        let (reads, between, bytes, rent) = (4.0, 100.0, 50.0, 1e-4);
        let lifetime = idle_lifetime(reads, between, bytes, rent);
        let gain = |idle: f64| (reads + 1.0) / (between + idle) - rent * bytes;
        assert!(gain(lifetime - 1.0) > 0.0 && gain(lifetime + 1.0) < 0.0);
    }

    #[test]
    fn extremes() {
        assert_eq!(idle_lifetime(1.0, 1.0, 1.0, 0.0), f64::INFINITY);
        assert_eq!(idle_lifetime(1.0, 1.0, 0.0, 1.0), f64::INFINITY);
        assert_eq!(idle_lifetime(0.0, 1e9, 1e9, 1.0), 0.0);
        assert_eq!(idle_lifetime(1.0, 1.0, f64::NAN, 1.0), f64::INFINITY);
    }
}
