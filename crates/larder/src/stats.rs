//! What a cache has done so far, in numbers.

use std::ops::{AddAssign, Sub};

use larder_policy::freshness::Measured;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Numbers of things that happened, each since the cache was built.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub struct Counts { $($(#[$doc])* pub $name: u64,)* }

        impl Counts {
            /// Names and values, for metrics.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }

        impl AddAssign for Counts {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        /// What was counted since; nothing where a count was taken back meanwhile.
        impl Sub for Counts {
            type Output = Self;

            fn sub(self, earlier: Self) -> Self {
                Self { $($name: self.$name.saturating_sub(earlier.$name),)* }
            }
        }
    };
}

counts! {
    /// Reads served from memory.
    hits,
    /// Reads that memory could not serve, or only as an emergency.
    misses,
    /// Of the misses, those that the remote tier served.
    remote_hits,
    /// Reads that the remote tier could not serve: it had nothing usable, or could not be asked.
    remote_misses,
    /// Reads served beyond their time because the origin failed or was slow.
    stale,
    /// Loads from the origin that brought something, or that there is nothing.
    loads,
    /// Of these, the ones that there is nothing.
    absent,
    /// Loads that failed.
    load_errors,
    /// Microseconds that loads took, in all.
    load_micros,
    /// Readers that waited for somebody else's load.
    coalesced,
    /// Loads of entries still served, to renew them ahead of their end.
    refreshes,
    /// Hits checked at the origin to measure the stale rate.
    audits,
    /// Answers of loads not kept, for the key was written or invalidated meanwhile, or could have been unnoticed.
    fenced,
    /// Values not kept, for a newer version was there.
    outrun,
    /// Values that the policy did not let in.
    refused,
    /// Of these, values that weigh more than a segment's share of the capacity.
    too_heavy,
    /// Newcomers that it let in.
    admitted,
    /// Residents that a load or a write replaced.
    renewed,
    /// Entries that left to make room.
    evicted,
    /// Entries that left at their end.
    expired,
    /// Entries that left because their key was removed or reported as changed, or written with a value too heavy to be kept.
    removed,
    /// Entries that left because everything was cleared.
    cleared,
    /// Values written by the service.
    writes,
    /// Keys removed or reported as changed.
    removals,
    /// Keys that other processes reported as changed.
    heard,
}

impl Counts {
    /// Reads in all.
    pub fn reads(&self) -> u64 {
        self.hits + self.misses
    }

    /// The share of reads served from memory; 0 before the first.
    pub fn hit_ratio(&self) -> f64 {
        let reads = self.reads();
        if reads == 0 { 0.0 } else { self.hits as f64 / reads as f64 }
    }
}

/// A cache at a moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// What happened so far.
    pub counts: Counts,
    /// Entries resident.
    pub entries: usize,
    /// Their weight.
    pub weight: u64,
    /// The greatest weight there may be.
    pub capacity: u64,
    /// Bytes held beside keys and values.
    pub metadata_bytes: usize,
    /// The stale rate of the reads served, measured by audits: the estimate and the ends of its 95 % interval. Reads answered beyond their time
    /// because the origin failed or was slow are no part of it, as nobody can say whether they were stale: [`Counts::stale`] has their number. `None` without a stale-rate
    /// objective or before the first read.
    pub stale_rate: Option<StaleRate>,
}

/// A stale rate that was measured.
///
/// Where the objective bears values outdated for a while (`older_than`), an audit tells how long a changed value had been outdated only where the
/// evidence has a time of change ([`crate::Fetched::changed_at`]). Without one the estimate is modelled in this point, and the interval reaches from what was stale for certain
/// to all that had changed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StaleRate {
    /// The estimate, as a share of reads; without bias but for what is modelled.
    pub rate: f64,
    /// The lower end of its interval of 95 %.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Whether the whole interval lies on one side of the objective, so that it is met or is not.
    pub is_certifiable: bool,
    /// Reads that the rate is of, estimated: what it weighs beside another's.
    pub reads: f64,
    /// The share of them whose value had changed, and nobody knows whether they were stale by then.
    pub doubtful: f64,
}

impl StaleRate {
    /// Of several processes: rates weighted by reads, and the half-widths of independent intervals added in quadrature. What is doubtful is unknown
    /// in each alike and does not average out: half-widths that hold some are added as they are. `None` where nothing was read.
    pub fn pooled(parts: &[Self]) -> Option<Self> {
        let reads: f64 = parts.iter().map(|part| part.reads).sum();
        if reads <= 0.0 {
            return None;
        }
        let mean = |of: fn(&Self) -> f64| parts.iter().map(|part| of(part) * part.reads / reads).sum::<f64>();
        let width = |of: fn(&Self) -> f64| {
            let (mut bounds, mut squares) = (0.0, 0.0);
            for part in parts {
                let width = of(part) * part.reads / reads;
                if part.doubtful > 0.0 { bounds += width } else { squares += width * width }
            }
            bounds + squares.sqrt()
        };
        let rate = mean(|part| part.rate);
        Some(Self {
            rate,
            low: (rate - width(|part| part.rate - part.low)).max(0.0),
            high: (rate + width(|part| part.high - part.rate)).min(1.0),
            is_certifiable: parts.iter().all(|part| part.is_certifiable),
            reads,
            doubtful: mean(|part| part.doubtful),
        })
    }
}

impl From<Measured> for StaleRate {
    fn from(Measured { rate, low, high, is_certifiable, reads, doubtful }: Measured) -> Self {
        Self { rate, low, high, is_certifiable, reads, doubtful }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(rate: f64, reads: f64) -> StaleRate {
        StaleRate { rate, low: rate - 0.04, high: rate + 0.04, is_certifiable: true, reads, doubtful: 0.0 }
    }

    #[test]
    fn parts_are_pooled_by_their_reads() {
        assert_eq!(StaleRate::pooled(&[part(0.1, 0.0)]), None);
        let one = StaleRate::pooled(&[part(0.1, 5.0)]).unwrap();
        assert!((one.low - 0.06).abs() < 1e-12 && (one.high - 0.14).abs() < 1e-12);
        let two = StaleRate::pooled(&[part(0.1, 30.0), part(0.3, 10.0)]).unwrap();
        assert!((two.rate - 0.15).abs() < 1e-12);
        // √(0.75² + 0.25²) × 0.04
        assert!((two.high - two.rate - 0.031_622_776).abs() < 1e-6 && two.is_certifiable);
    }

    #[test]
    fn what_nobody_knows_does_not_average_out() {
        let doubtful = StaleRate { doubtful: 0.23, low: 0.0, high: 0.23, ..part(0.0025, 10.0) };
        let many = StaleRate::pooled(&[doubtful; 16]).unwrap();
        assert!(many.low.abs() < 1e-12 && (many.high - 0.23).abs() < 1e-12 && many.reads == 160.0, "{many:?}");
        // Beside one that knows: half of the bound, and half of the error.
        let both = StaleRate::pooled(&[doubtful, part(0.1, 10.0)]).unwrap();
        assert!((both.high - both.rate - 0.5 * (0.2275 + 0.04)).abs() < 1e-12, "{both:?}");
    }
}
