//! What several engines know and do together: the parts of a cache keep its objective by one threshold, and learn in common how classes of keys
//! change. Each alone would see too few reads and looks to find out in good time, and would be careful for as long.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use super::audit::Audits;
use super::class::Rates;
use super::controller::Controller;
use super::experts::Experts;
use super::plan::ClassId;
use super::prior::{LogRate, Prior};
use super::regression::Inputs;
use super::shared::ClassPriors;

/// Steers those engines that [join](Engine::join) it.
#[derive(Debug, Default)]
pub struct Steering {
    /// One for each objective that a group of keys has had.
    leaders: Vec<(usize, Controller, Audits)>,
    pub(super) prior: Prior,
    /// Of each class, by its name.
    pub(super) rates: BTreeMap<u64, Rates>,
    /// What others know of classes, for those that come.
    pub(super) known: Option<Arc<ClassPriors>>,
    experts: Option<Experts>,
    looks: u64,
}

/// A look at the origin at the end of a life, and what it left known of the key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) class: ClassId,
    pub(super) rate: LogRate,
    pub(super) weight: f64,
    /// Changes of the key seen before.
    pub(super) seen: u16,
    /// What the experts saw of the life, and its seconds.
    pub(super) inputs: Inputs,
    pub(super) age: f64,
    pub(super) changed: bool,
}

impl Engine {
    /// Steers no more by itself: it keeps to the threshold of whatever it [joins](Self::join), as often as it is [due](Self::is_due) and at each
    /// load.
    #[must_use]
    pub fn following(mut self) -> Self {
        for group in &mut self.groups {
            group.controller.follow();
            group.audits.follow();
        }
        self.untold = Some(Vec::new());
        self
    }

    /// Whether so much was read since it last joined that it should again.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.groups.iter().any(|group| group.controller.is_due())
    }

    /// Tells what was served and seen since it last joined, and takes over the thresholds; and what others saw of `class`, if one is to be loaded.
    /// Engines that join the same steering have the same objectives for the same prefixes, or at times another rule or objective: each of these
    /// is steered by itself.
    pub fn join(&mut self, steering: &mut Steering, class: Option<ClassId>) {
        for (at, group) in self.groups.iter_mut().enumerate() {
            let objective = group.controller.objective();
            let leaders = &mut steering.leaders;
            let known = leaders.iter().position(|(group, leader, _)| *group == at && leader.objective() == objective);
            let known = known.unwrap_or_else(|| {
                leaders.push((at, group.controller.leader(leaders.len()), group.audits.leader()));
                leaders.len() - 1
            });
            let (_, controller, audits) = &mut leaders[known];
            group.controller.join(controller);
            group.audits.join(audits);
        }
        let experts = steering.experts.get_or_insert_with(|| self.experts.clone());
        for look in self.untold.iter().flatten() {
            experts.observe(look.seen, &look.inputs, look.age, look.changed);
        }
        self.experts.follow(experts);
        for Look { class, rate, weight, .. } in self.untold.iter_mut().flat_map(|untold| untold.drain(..)) {
            steering.looks += 1;
            steering.prior.observe(rate, weight);
            let name = self.classes.all[usize::from(class.0)].name;
            let all = steering.prior;
            steering.rates_of(name).observe(rate, weight, all);
        }
        if let Some(class) = class {
            let class = &mut self.classes.all[usize::from(class.0)];
            class.rates = *steering.rates_of(class.name);
            (self.prior, self.looks) = (steering.prior, steering.looks);
        }
    }
}

impl Steering {
    fn rates_of(&mut self, class: u64) -> &mut Rates {
        self.rates.entry(class).or_insert_with(|| {
            let mut rates = Rates::default();
            if let Some(known) = self.known.as_ref().and_then(|known| known.of(class)) {
                rates.adopt(known, self.prior);
            }
            rates
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::freshness::{Evidence, Freshness, Loaded};
    use crate::{KeyHash, Rng, Time};

    /// Of 20,000 reads, how many 16 engines load, and how many they serve stale, under an objective of 2 %.
    fn run(together: bool) -> (u32, u32) {
        const KEYS: usize = 800;
        let mut steering = Steering::default();
        let new = |seed| Engine::new(Freshness::stale_reads(0.02).unwrap(), seed);
        let mut engines: Vec<_> =
            (0..16).map(|seed| if together { new(seed).following() } else { new(seed) }).collect();
        let mut rng = Rng::new(1);
        // Each key's version at the origin and here, and when it changes next.
        let mut keys = [(1u64, 0u64, 0u64); KEYS];
        let (mut loads, mut stale) = (0, 0);
        for second in 1..=20_000 {
            let now = Time(second * 1_000_000);
            let key = rng.below(KEYS as u32) as usize;
            let (version, held, next) = &mut keys[key];
            while *next < second {
                *version += 1;
                *next += 1 + (-rng.unit().ln() * [2_000.0, 50_000.0][key % 2]) as u64;
            }
            let engine = &mut engines[key % 16];
            let subject = engine.subject(KeyHash::mix(key as u64), "", 1, 0);
            if together && (engine.is_due() || *held == 0) {
                engine.join(&mut steering, Some(subject.class()));
            }
            let is_served = engine.read(subject, now, *held > 0).is_served();
            if is_served {
                stale += u32::from(*held < *version);
            } else {
                loads += 1;
                *held = *version;
                if together {
                    engine.join(&mut steering, Some(subject.class()));
                }
                engine.loaded(subject, now, Loaded::new(now, Evidence::Digest(*version)));
            }
        }
        (loads, stale)
    }

    #[test]
    fn together_they_find_the_threshold_sooner() {
        let (alone, together) = (run(false), run(true));
        assert!(together.0 < alone.0, "loads together {together:?}, alone {alone:?}");
        assert!((200..480).contains(&together.1), "400 may be stale: {together:?}, alone {alone:?}");
        assert!(alone.1 < together.1, "each alone is careful: {alone:?}, together {together:?}");
    }

    #[test]
    fn another_objective_is_steered_by_itself() {
        let freshness = |share| Freshness::stale_reads(share).unwrap();
        let mut steering = Steering::default();
        let mut engines = [0.01, 0.01].map(|share| Engine::new(freshness(share), 1).following());
        engines.iter_mut().for_each(|engine| engine.join(&mut steering, None));
        assert_eq!(steering.leaders.len(), 1);
        engines[1].keep_to(&freshness(0.1));
        for at in 0..10_000 {
            let subject = engines[1].subject(KeyHash(at), "", 1, 0);
            engines[1].read(subject, Time(at), false);
            engines[1].join(&mut steering, None);
        }
        engines[0].join(&mut steering, None);
        let [strict, loose] = [0, 1].map(|at: usize| engines[at].groups[0].controller.threshold());
        let eras = [0, 1].map(|at: usize| engines[at].groups[0].controller.era());
        assert_ne!(eras[0], eras[1], "what one allowed is not what the other allows");
        assert!(strict < 0.03 && loose > 0.2, "{strict} {loose}");
        engines[1].keep_to(&freshness(0.01));
        engines[1].join(&mut steering, None);
        assert_eq!(engines[1].groups[0].controller.threshold(), strict);
        assert_eq!(steering.leaders.len(), 2);
    }
}
