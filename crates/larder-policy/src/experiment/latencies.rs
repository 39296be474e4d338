//! How long a shard's reads took, closely enough for a quantile to be compared: eight buckets an octave.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

/// Buckets an octave, as a power of two.
const PART: u32 = 3;
/// What is below 2^FROM nanoseconds has one bucket, what is above 2^(FROM + OCTAVES) the last: from 64 ns to 69 s.
const FROM: u32 = 6;
const OCTAVES: usize = 30;
const BUCKETS: usize = 1 + (OCTAVES << PART);

/// A distribution of times.
#[derive(Clone, PartialEq, Eq)]
pub struct Latencies([u32; BUCKETS]);

impl Latencies {
    /// Notes a time.
    pub fn add(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let count = &mut self.0[bucket(nanos)];
        *count = count.saturating_add(1);
    }

    /// How many times were noted.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|&count| u64::from(count)).sum()
    }

    /// What a share of the times, from 0 to 1, is below, in seconds: a straight line through its bucket. `None` where nothing was noted.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = share.clamp(0.0, 1.0) * self.count() as f64;
        let mut below = 0.0;
        let counts = self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        for (at, count) in counts.map(|(at, &count)| (at, f64::from(count))) {
            if below + count >= rank {
                let (low, high) = (bound(at), bound(at + 1));
                return Some((low + (high - low) * (rank - below) / count) / 1e9);
            }
            below += count;
        }
        None
    }
}

/// The bucket of a time in nanoseconds: the octave, and the three bits below its highest.
fn bucket(nanos: u64) -> usize {
    let Some(octave) = nanos.checked_ilog2().and_then(|octave| octave.checked_sub(FROM)) else { return 0 };
    let part = (nanos >> (octave + FROM - PART)) as usize & ((1 << PART) - 1);
    (1 + ((octave as usize) << PART) + part).min(BUCKETS - 1)
}

/// The lower bound of a bucket, in nanoseconds.
fn bound(at: usize) -> f64 {
    let Some(at) = at.checked_sub(1) else { return 0.0 };
    let (octave, part) = (at >> PART, at & ((1 << PART) - 1));
    2f64.powi(FROM as i32 + octave as i32) * (1.0 + part as f64 / f64::from(1 << PART))
}

impl Default for Latencies {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Latencies({} times, p99 {:?})", self.count(), self.quantile(0.99))
    }
}

impl AddAssign<&Self> for Latencies {
    fn add_assign(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own = own.saturating_add(*other));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    #[test]
    fn every_time_lies_within_its_bucket() {
        for nanos in (0..200).chain((6..36).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1])) {
            let at = bucket(nanos);
            assert!(bound(at) <= nanos as f64 && (nanos as f64) < bound(at + 1), "{nanos}");
        }
        assert_eq!((bucket(u64::MAX), bucket(1 << 36)), (BUCKETS - 1, BUCKETS - 1));
    }

    #[test]
    fn quantiles_are_within_an_eighth_of_an_octave() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.5), None);
        let mut rng = Rng::new(1);
        let mut times: Vec<u64> = (0..5000).map(|_| (100.0 / (1e-4 + rng.unit())) as u64).collect();
        times.iter().for_each(|&nanos| latencies.add(Duration::from_nanos(nanos)));
        times.sort_unstable();
        for share in [0.1, 0.5, 0.9, 0.99] {
            let exact = times[(share * 5000.0) as usize] as f64 / 1e9;
            let found = latencies.quantile(share).unwrap();
            assert!((found / exact - 1.0).abs() < 0.09, "{share}: {found} {exact}");
        }
        let twice = latencies.clone();
        latencies += &twice;
        assert_eq!((latencies.count(), latencies.quantile(0.9)), (10_000, twice.quantile(0.9)));
    }
}
