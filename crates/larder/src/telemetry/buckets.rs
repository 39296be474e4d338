//! How often a time was how long, by powers of two: one increment to note it.

use std::ops::AddAssign;
use std::time::Duration;

use super::Histogram;

const BUCKETS: usize = 32;

/// The first bucket takes what is below `2^FROM` nanoseconds, each further one what is below twice as much, the last all
/// the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Buckets<const FROM: u32> {
    counts: [u64; BUCKETS],
    /// In seconds.
    sum: f64,
}

impl<const FROM: u32> Buckets<FROM> {
    pub(crate) fn add(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let at = (u64::BITS - nanos.leading_zeros()).saturating_sub(FROM) as usize;
        self.counts[at.min(BUCKETS - 1)] += 1;
        self.sum += time.as_secs_f64();
    }

    /// For whoever reads it.
    pub(crate) fn histogram(&self) -> Histogram {
        let bounds = (FROM..FROM + BUCKETS as u32 - 1).map(|power| 2_f64.powi(power as i32) / 1e9).collect();
        Histogram::new(bounds, self.counts.to_vec(), self.sum)
    }
}

impl<const FROM: u32> AddAssign<&Self> for Buckets<FROM> {
    fn add_assign(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(own, other)| *own += other);
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_its_bucket() {
        let mut buckets = Buckets::<6>::default();
        let times = [0, 63, 64, 127, 128, u64::MAX];
        times.iter().for_each(|&nanos| buckets.add(Duration::from_nanos(nanos)));
        buckets.add(Duration::MAX);
        let twice = { buckets };
        buckets += &twice;
        let histogram = buckets.histogram();
        assert_eq!(&histogram.counts[..4], [4, 4, 2, 0]);
        assert_eq!((histogram.counts[31], histogram.count()), (4, 14));
        assert_eq!((histogram.bounds[0], histogram.bounds.len()), (64e-9, 31));
    }
}
