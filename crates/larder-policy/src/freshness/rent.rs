//! Memory rent: how long an entry that nobody reads may stay.
//!
//! With n reads over a total of g seconds between them, the rate of the next one given τ idle seconds is (n + 1)/(g + τ),
//! the mean of a Gamma posterior. A read saves a load; bytes cost rent. The physical lifetime ends where the rate no
//! longer pays: τ* = (n + 1)/(rent·bytes) − g. Freshness is the logical lifetime and lives in the envelope.

use std::time::Duration;

use super::objective::Freshness;
use super::record::Reads;

/// Where memory costs, a value leaves after so many times the lifetime foreseen for it: a read decides anew, and may still
/// serve it somewhat later.
const EXPIRED: u32 = 3;

/// Idle seconds after which an entry of `bytes` no longer pays, `rent` being loads a byte and second; without rent,
/// infinite.
fn idle_lifetime(reads: f64, between: f64, bytes: f64, rent: f64) -> f64 {
    let cost = rent * bytes;
    if cost > 0.0 { ((reads + 1.0) / cost - between).max(0.0) } else { f64::INFINITY }
}

/// For how long an entry that nobody reads is worth its memory.
pub(super) fn idle_worth(reads: &Reads, size: u32, freshness: &Freshness) -> Duration {
    let count = f64::from(reads.count);
    let idle = idle_lifetime(count, count / reads.rate(), f64::from(size), freshness.rent);
    Duration::try_from_secs_f64(idle).unwrap_or(Duration::MAX)
}

/// The end of a physical lifetime, read or not: the hard maximum, and where memory costs, a while after the value is too old
/// to be served.
pub(super) fn ends_by(freshness: &Freshness, logical: Duration) -> Duration {
    if freshness.rent > 0.0 { logical.saturating_mul(EXPIRED).min(freshness.most) } else { freshness.most }
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
