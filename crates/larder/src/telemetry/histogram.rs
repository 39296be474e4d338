//! A distribution as plain data.

/// How often a time was how long.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Histogram {
    /// The buckets' upper bounds in seconds, ascending; the last bucket has none.
    pub bounds: Vec<f64>,
    /// How often, bucket by bucket: one more than bounds.
    pub counts: Vec<u64>,
    /// All times together, in seconds.
    pub sum: f64,
    /// The median, in seconds; `None` where nothing was noted. All three are straight lines through their bucket.
    pub p50: Option<f64>,
    /// What 95 % are below.
    pub p95: Option<f64>,
    /// What 99 % are below.
    pub p99: Option<f64>,
}

impl Histogram {
    pub(crate) fn new(bounds: Vec<f64>, counts: Vec<u64>, sum: f64) -> Self {
        let mut made = Self { bounds, counts, sum, ..Self::default() };
        [made.p50, made.p95, made.p99] = [0.50, 0.95, 0.99].map(|share| made.quantile(share));
        made
    }

    /// How many times were noted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What a share of the times, from 0 to 1, is below, in seconds: interpolated within its bucket, and the last
    /// bucket's lower end where it lies there. `None` where nothing was noted.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = share.clamp(0.0, 1.0) * self.count() as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (at, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            lower = at.checked_sub(1).map_or(0.0, |at| self.bounds[at]);
            let count = count as f64;
            if below + count >= rank {
                let upper = self.bounds.get(at).copied().unwrap_or(lower);
                return Some(lower + (upper - lower) * ((rank - below) / count));
            }
            below += count;
        }
        (below > 0.0).then_some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_found_within_their_buckets() {
        let histogram = Histogram::new(vec![1.0, 2.0, 4.0], vec![0, 50, 40, 10], 200.0);
        assert_eq!((histogram.quantile(0.0), histogram.p50), (Some(1.0), Some(2.0)));
        assert_eq!((histogram.quantile(0.7), histogram.p95), (Some(3.0), Some(4.0)));
        assert_eq!(histogram.quantile(1.0), Some(4.0));
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(Histogram::new(vec![1.0], vec![0, 0], 0.0).p99, None);
    }
}
