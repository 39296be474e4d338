//! Which shard belongs to which arm.

use crate::KeyHash;

/// A side of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arm {
    /// The policy that stands.
    Control,
    /// The policy on trial.
    Treatment,
}

/// An assignment of shards to arms by keyed hash: random, the same for the same seed, and nested, so that a larger treatment arm holds every
/// shard of a smaller one. The hold-out does not depend on the seed: its shards are never treated, whatever comes.
#[derive(Clone, Debug)]
pub struct Arms {
    /// Shards that may be treated, in the order in which they are.
    order: Vec<usize>,
    treated: Vec<bool>,
}

/// The hold-out's own seed.
const HOLD_OUT: u64 = 0x686f_6c64_2d6f_7574;

impl Arms {
    /// All shards in the control arm; `holdout` is the share of them that stays there.
    pub fn new(shards: usize, holdout: f64, seed: u64) -> Self {
        let ranked = |seed: u64| {
            let mut order: Vec<usize> = (0..shards).collect();
            order.sort_by_key(|&shard| (KeyHash::mix(shard as u64 ^ KeyHash::mix(seed).0).0, shard));
            order
        };
        let held = ranked(HOLD_OUT);
        let held = &held[..(shards as f64 * holdout.clamp(0.0, 1.0)).ceil() as usize];
        let order = ranked(seed).into_iter().filter(|shard| !held.contains(shard)).collect();
        Self { order, treated: vec![false; shards] }
    }

    /// Treats a share of all shards: at least one if it is above 0, and never the hold-out. Returns the shards that changed sides.
    pub fn treat(&mut self, share: f64) -> Vec<usize> {
        let wanted = (self.treated.len() as f64 * share.clamp(0.0, 1.0)).round() as usize;
        let wanted = wanted.max(usize::from(share > 0.0)).min(self.order.len());
        let mut changed = Vec::new();
        for (rank, &shard) in self.order.iter().enumerate() {
            if std::mem::replace(&mut self.treated[shard], rank < wanted) != (rank < wanted) {
                changed.push(shard);
            }
        }
        changed
    }

    /// The arm of a shard; of one that there is not, the control.
    pub fn arm(&self, shard: usize) -> Arm {
        if self.treated.get(shard).copied().unwrap_or(false) { Arm::Treatment } else { Arm::Control }
    }

    /// How many shards an arm has.
    pub fn count(&self, arm: Arm) -> usize {
        (0..self.treated.len()).filter(|&shard| self.arm(shard) == arm).count()
    }

    /// Whether all shards are in the hold-out.
    pub(crate) fn is_held(&self) -> bool {
        self.order.is_empty()
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.treated.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_arm_holds_the_smaller_and_never_the_hold_out() {
        let mut arms = Arms::new(64, 0.05, 1);
        let (mut seen, mut before) = (Vec::new(), Vec::new());
        for (share, count) in [(0.01, 1), (0.05, 3), (0.25, 16), (0.5, 32), (1.0, 60)] {
            seen.extend(arms.treat(share));
            assert_eq!((seen.len(), arms.count(Arm::Treatment), arms.count(Arm::Control)), (count, count, 64 - count));
            assert!(before.iter().all(|&shard| arms.arm(shard) == Arm::Treatment));
            before.clone_from(&seen);
        }
        assert_eq!(arms.treat(0.0).len(), 60);
        let mut other = Arms::new(64, 0.05, 2);
        arms.treat(1.0);
        other.treat(1.0);
        assert!((0..64).all(|shard| arms.arm(shard) == other.arm(shard)), "the hold-out is permanent");
        arms.treat(0.5);
        other.treat(0.5);
        let both = (0..64).filter(|&shard| arms.arm(shard) == Arm::Treatment && other.arm(shard) == Arm::Treatment);
        // Half of half on average; five standard deviations of the hypergeometric are 10.
        assert!(both.count().abs_diff(17) < 10);
    }
}
