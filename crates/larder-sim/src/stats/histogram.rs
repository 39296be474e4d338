//! Counts by order of magnitude.

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

/// How many values fall between powers of two, with their exact mean and greatest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// `buckets[0]` counts zeros, `buckets[i]` the values from `2^(i-1)` to `2^i - 1`.
    buckets: Vec<u64>,
    total: u64,
    sum: u128,
    most: u64,
}

impl Histogram {
    /// Counts a value.
    #[inline]
    pub fn add(&mut self, value: u64) {
        let bucket = value.checked_ilog2().map_or(0, |log| log as usize + 1);
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.total += 1;
        self.sum += u128::from(value);
        self.most = self.most.max(value);
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Their mean; 0 of none.
    pub fn mean(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.sum as f64 / self.total as f64 }
    }

    /// The greatest of them.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// The least and greatest value of each bucket with its count, ascending, from the first to the last that is not
    /// empty.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let first = self.buckets.iter().position(|&count| count > 0).unwrap_or(0);
        self.buckets.iter().enumerate().skip(first).map(|(at, &count)| {
            let (least, most) = bounds(at);
            (least, most, count)
        })
    }

    /// The greatest value of the bucket that holds the `share`-quantile: at most twice the quantile.
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut below = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            below += count;
            if below >= wanted {
                return bounds(at).1.min(self.most);
            }
        }
        self.most
    }
}

fn bounds(bucket: usize) -> (u64, u64) {
    match bucket {
        0 => (0, 0),
        _ => (1 << (bucket - 1), u64::MAX >> (64 - bucket)),
    }
}

/// As a list of buckets: `{"from": …, "to": …, "count": …}`.
impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Bucket {
            from: u64,
            to: u64,
            count: u64,
        }
        let mut list = serializer.serialize_seq(None)?;
        for (from, to, count) in self.buckets() {
            list.serialize_element(&Bucket { from, to, count })?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_powers_of_two() {
        let mut histogram = Histogram::default();
        for value in [0, 1, 2, 3, 4, 7, 8, 1000, u64::MAX] {
            histogram.add(value);
        }
        let full: Vec<_> = histogram.buckets().filter(|&(.., count)| count > 0).collect();
        assert_eq!(
            full,
            [(0, 0, 1), (1, 1, 1), (2, 3, 2), (4, 7, 2), (8, 15, 1), (512, 1023, 1), (1 << 63, u64::MAX, 1)]
        );
        assert_eq!((histogram.total(), histogram.most()), (9, u64::MAX));
        assert_eq!((histogram.quantile(0.5), histogram.quantile(0.0)), (7, 0));
    }
}
