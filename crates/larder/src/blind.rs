//! An objective without evidence: loads that say nothing of changes teach nothing, and nothing is measured. That is said once.

use std::sync::atomic::{AtomicU32, Ordering};

use larder_policy::freshness::Evidence;

/// Loads without any evidence, from the first on, after which it is said.
const LOADS: u32 = 100;

/// Counts loads until one brings evidence.
#[derive(Debug, Default)]
pub(crate) struct Blind(AtomicU32);

impl Blind {
    /// Hears of a load; whether it is now to be said that none so far brought any evidence. `true` once at most.
    pub(crate) fn hears(&self, evidence: Evidence) -> bool {
        let known = self.0.load(Ordering::Relaxed);
        if known >= LOADS {
            return false;
        }
        if evidence != Evidence::Unknown {
            self.0.store(LOADS, Ordering::Relaxed);
            return false;
        }
        self.0.fetch_add(1, Ordering::Relaxed) + 1 == LOADS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_and_only_where_nothing_ever_told() {
        let said = |evidence: fn(u32) -> Evidence| {
            let blind = Blind::default();
            (0..1000).filter(|&load| blind.hears(evidence(load))).collect::<Vec<_>>()
        };
        assert_eq!(said(|_| Evidence::Unknown), [LOADS - 1]);
        assert!(said(|load| if load == 50 { Evidence::Digest(1) } else { Evidence::Unknown }).is_empty());
    }
}
