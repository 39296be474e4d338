//! Classes of keys that change alike: by prefix, size band and the user's tag.

use std::sync::Arc;

use hashbrown::HashTable;

use super::hours::ClassHours;
use super::notices::Notices;
use super::plan::ClassId;
use super::posterior::Posterior;
use super::prior::{LogRate, Prior};
use super::shared::{ClassPriors, Known};
use super::surge::Surge;
use crate::KeyHash;

/// Classes at most; what would be one more joins its objective's first. Some are kept for objectives that have none yet: under another's, a key
/// would live by what nobody asked for it.
pub(super) const MOST_CLASSES: usize = 4096;
const SPARE: usize = 256;

/// How the keys of a class change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) prior: Prior,
    /// The prior's distribution, backed by all, refreshed now and then.
    pub(super) gamma: Posterior,
    pub(super) log_rate: f64,
    looks: u32,
}

impl Default for Rates {
    fn default() -> Self {
        let prior = Prior::default();
        Self { prior, gamma: prior.gamma(), log_rate: prior.log_rate(), looks: 0 }
    }
}

impl Rates {
    /// Learns from a key's posterior after a look; the distribution follows at every look at first, then now and then.
    pub(super) fn observe(&mut self, key: LogRate, weight: f64, all: Prior) {
        self.prior.observe(key, weight);
        self.looks += 1;
        if self.looks < 64 || self.looks.is_multiple_of(32) {
            self.back_up(all);
        }
    }

    /// Takes over what others know, as far as it is more.
    pub(super) fn adopt(&mut self, known: &Known, all: Prior) {
        if known.informs(self.prior) {
            self.prior = known.prior();
            self.back_up(all);
        }
    }

    fn back_up(&mut self, all: Prior) {
        let backed = self.prior.backed_by(all);
        (self.gamma, self.log_rate) = (backed.gamma(), backed.log_rate());
    }
}

/// What is known of a class.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub(super) name: u64,
    /// What stands before the first `:` or `/` of its keys.
    pub(super) prefix: Box<str>,
    /// Whose objective it falls under.
    pub(super) group: u16,
    pub(super) rates: Rates,
    pub(super) surge: Surge,
    pub(super) hours: ClassHours,
    pub(super) notices: Notices,
    /// Mean logarithm of keys' first gaps between reads, and their number.
    pub(super) log_gap: f64,
    pub(super) gaps: f64,
    /// Keys whose changes say nothing.
    pub(super) flipping: u32,
    /// There have been some.
    pub(super) has_flipped: bool,
}

impl Class {
    pub(super) fn new(name: u64, prefix: &str, group: u16) -> Self {
        Self {
            name,
            prefix: prefix.into(),
            group,
            rates: Rates::default(),
            surge: Surge::default(),
            hours: ClassHours::default(),
            notices: Notices::default(),
            log_gap: 0.0,
            gaps: 0.0,
            flipping: 0,
            has_flipped: false,
        }
    }

    /// Takes over what others know of it, as far as it knows less itself.
    pub(super) fn adopt(&mut self, known: &Known, all: Prior) {
        self.rates.adopt(known, all);
        if self.gaps < 1.0 {
            (self.log_gap, self.gaps) = known.gap();
        }
    }

    /// A key's first gap between reads.
    pub(super) fn first_gap(&mut self, gap: f64) {
        self.gaps = (self.gaps + 1.0).min(500.0);
        self.log_gap += (gap.max(1e-3).ln() - self.log_gap) / self.gaps;
    }
}

/// All classes, found by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Classes {
    index: HashTable<u16>,
    pub(super) all: Vec<Class>,
    /// What others know of classes, for those that come.
    pub(super) shared: Option<Arc<ClassPriors>>,
}

impl Classes {
    /// The class of that name within a group, made if need be.
    pub(super) fn named(&mut self, group: u16, prefix: &str, size: u32, tag: u64) -> ClassId {
        let mut name = KeyHash::mix(u64::from(group) ^ tag.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for byte in prefix.bytes() {
            name = KeyHash::mix(name.0 ^ u64::from(byte).wrapping_add(0x100));
        }
        let band = u64::from(size.max(1).ilog2());
        let name = KeyHash::mix(name.0 ^ band).0;
        if let Some(&at) = self.index.find(name, |&at| self.all[usize::from(at)].name == name) {
            return ClassId(at);
        }
        if self.all.len() >= MOST_CLASSES - SPARE {
            let first = self.all.iter().position(|class| class.group == group);
            if first.is_some() || self.all.len() >= MOST_CLASSES {
                return ClassId(first.unwrap_or(0) as u16);
            }
        }
        let at = self.all.len() as u16;
        let mut class = Class::new(name, prefix, group);
        if let Some(shared) = &self.shared
            && let Some(known) = shared.of(name)
        {
            class.adopt(known, shared.all());
        }
        self.all.push(class);
        let all = &self.all;
        self.index.insert_unique(name, at, |&at| all[usize::from(at)].name);
        ClassId(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_told_apart_by_group_prefix_band_and_tag() {
        let mut classes = Classes::default();
        let one = classes.named(0, "user", 1000, 0);
        assert_eq!(classes.named(0, "user", 600, 0), one, "the same band");
        let others = [
            classes.named(1, "user", 1000, 0),
            classes.named(0, "item", 1000, 0),
            classes.named(0, "user", 9000, 0),
            classes.named(0, "user", 1000, 7),
        ];
        for (at, other) in others.iter().enumerate() {
            assert!(*other != one && !others[..at].contains(other));
        }
    }

    #[test]
    fn their_number_is_bounded() {
        let mut classes = Classes::default();
        (0..10_000).for_each(|tag| _ = classes.named(0, "", 1, tag));
        assert_eq!(classes.all.len(), MOST_CLASSES - SPARE);
        let price = classes.named(1, "price", 1, 0);
        assert_eq!(classes.all[usize::from(price.0)].group, 1, "an objective of its own has room");
        assert_eq!(classes.named(1, "price", 9000, 0), price);
    }
}
