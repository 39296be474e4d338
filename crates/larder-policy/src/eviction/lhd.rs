//! LHD: the resident with the least hit density leaves: expected hits for each unit of space and time it would take.
//!
//! Beckmann, Chen, Cidon, "LHD: improving cache hit rate by maximizing hit density", NSDI 2018. Deviations: ages are
//! counted in steps of the residents/40 and up to 4096 of them (the paper adapts the step twice, early on); classes
//! are those of the last two ages at a hit, without application ids; distributions are refreshed after as many
//! accesses as there are residents.

use super::{Arrival, Eviction, Fate, Removal, Setup};
use crate::dense::Dense;
use crate::params::Param;
use crate::rng::Rng;
use crate::slots::SlotVec;
use crate::{Access, Reuse, Slot};

pub(super) const PARAMS: &[Param] = &[Param {
    name: "samples",
    default: 32.0,
    least: 1.0,
    most: 1024.0,
    about: "residents looked at for each eviction",
}];

const AGES: usize = 4096;
const CLASSES: usize = 16;
/// In place of an age before the first hit: as good as longer than any.
const NEVER_HIT: u32 = 2 * AGES as u32;
/// Steps of age a resident's mean stay is resolved into.
const RESOLUTION: u64 = 40;
/// Densities are refreshed after as many accesses as there are residents, and no sooner than this.
const LEAST_REFRESH: u64 = 2048;
/// A class with fewer events uses the densities of all classes together.
const ENOUGH: f32 = 64.0;
/// What stays of the old counts at a refresh.
const DECAY: f32 = 0.9;
/// The latest newcomers are always looked at: most of them are about to prove worthless.
const RECENT: usize = 8;

#[derive(Clone, Copy)]
struct Resident {
    weight: u32,
    last_use: u64,
    /// Ages, in steps, at the last hit and the one before.
    last_age: u32,
    age_before: u32,
}

/// Events by age for residents whose last ages were alike.
struct Class {
    hits: Vec<f32>,
    evictions: Vec<f32>,
    density: Vec<f32>,
}

/// The residents and the distributions of their ages at hits and evictions.
pub(crate) struct Lhd {
    order: Dense,
    residents: SlotVec<Resident>,
    recent: [Option<Slot>; RECENT],
    recent_at: usize,
    classes: Vec<Class>,
    now: u64,
    step: u64,
    next_refresh: u64,
    samples: u32,
    rng: Rng,
}

impl Lhd {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        Self {
            order: Dense::new(setup.objects),
            residents: SlotVec::new(setup.objects),
            recent: [None; RECENT],
            recent_at: 0,
            classes: first_classes(),
            now: 0,
            step: 1,
            next_refresh: LEAST_REFRESH,
            samples: setup.params.value("samples") as u32,
            rng: Rng::new(setup.seed),
        }
    }

    fn age(&self, resident: Resident) -> usize {
        ((self.now - resident.last_use) / self.step).min(AGES as u64 - 1) as usize
    }

    fn density(&self, slot: Slot) -> f32 {
        let resident = self.residents[slot];
        self.classes[class_of(resident)].density[self.age(resident)] / resident.weight as f32
    }

    fn advance(&mut self) {
        self.now += 1;
        if self.now >= self.next_refresh {
            self.refresh();
        }
    }

    /// Begins anew, with ages in steps that fit so many residents.
    #[cold]
    fn rescale(&mut self, step: u64) {
        self.step = step;
        self.classes = first_classes();
        self.schedule();
    }

    /// Recomputes densities from the events seen, then lets the events fade.
    #[cold]
    fn refresh(&mut self) {
        let mut all = Class::default();
        for class in &self.classes {
            class.hits.iter().zip(&mut all.hits).for_each(|(hits, sum)| *sum += hits);
            class.evictions.iter().zip(&mut all.evictions).for_each(|(evictions, sum)| *sum += evictions);
        }
        all.recompute();
        for class in &mut self.classes {
            if class.hits.iter().chain(&class.evictions).sum::<f32>() < ENOUGH {
                class.density.copy_from_slice(&all.density);
            } else {
                class.recompute();
            }
            class.hits.iter_mut().chain(&mut class.evictions).for_each(|count| *count *= DECAY);
        }
        self.schedule();
    }

    fn schedule(&mut self) {
        self.next_refresh = self.now + (self.order.len() as u64).max(LEAST_REFRESH);
    }
}

/// Before anything is known, the longer unused the less dense, as in LRU; a hit makes denser.
fn first_classes() -> Vec<Class> {
    let density = |class: usize| (0..AGES).map(|age| (class + 1) as f32 / (age + 1) as f32).collect();
    (0..CLASSES).map(|class| Class { density: density(class), ..Class::default() }).collect()
}

impl Default for Class {
    fn default() -> Self {
        Self { hits: vec![0.0; AGES], evictions: vec![0.0; AGES], density: vec![0.0; AGES] }
    }
}

impl Class {
    /// Density at an age: hits yet to come over the time yet to be spent, by those who reach that age.
    fn recompute(&mut self) {
        let (mut hits, mut events, mut lifetime) = (0.0f64, 0.0f64, 0.0f64);
        for age in (0..AGES).rev() {
            hits += f64::from(self.hits[age]);
            events += f64::from(self.hits[age] + self.evictions[age]);
            lifetime += events;
            self.density[age] = if events > 1e-5 { (hits / lifetime) as f32 } else { 0.0 };
        }
    }
}

/// Long last ages fall into low classes, and a newcomer into the lowest.
fn class_of(resident: Resident) -> usize {
    let age = resident.last_age + resident.age_before;
    if age == 0 {
        return CLASSES - 1;
    }
    let halvings = (AGES as u32 / age).checked_ilog2().map_or(0, |log| log + 1);
    (halvings as usize).min(CLASSES - 2)
}

impl Eviction for Lhd {
    fn on_arrive(&mut self, _: &Arrival) {
        self.advance();
    }

    fn victim(&mut self, _: Option<&Arrival>) -> Option<Slot> {
        // Densities matter from the first eviction on: by then the number of residents is known.
        let step = (self.order.len() as u64 / RESOLUTION).max(1);
        if step > 2 * self.step || 2 * step < self.step {
            self.rescale(step);
        }
        let mut worst = self.order.draw(&mut self.rng)?;
        let mut least = self.density(worst);
        for sample in 1..self.samples as usize + RECENT {
            let slot = match self.recent.get(sample - 1) {
                Some(&recent) => recent,
                None => self.order.draw(&mut self.rng),
            };
            let Some(slot) = slot else { continue };
            let density = self.density(slot);
            if density < least {
                (worst, least) = (slot, density);
            }
        }
        Some(worst)
    }

    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        self.order.push(slot);
        let resident = Resident { weight: newcomer.weight, last_use: self.now, last_age: 0, age_before: NEVER_HIT };
        self.residents.put(slot, resident);
        self.recent[self.recent_at] = Some(slot);
        self.recent_at = (self.recent_at + 1) % RECENT;
    }

    fn on_hit(&mut self, slot: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        self.advance();
        let resident = self.residents[slot];
        let age = self.age(resident);
        self.classes[class_of(resident)].hits[age] += 1.0;
        let changed = &mut self.residents[slot];
        (changed.last_use, changed.last_age, changed.age_before) = (self.now, age as u32, resident.last_age);
        None
    }

    fn on_reweigh(&mut self, slot: Slot, _: u32, to: u32) {
        self.residents[slot].weight = to;
    }

    fn on_remove(&mut self, slot: Slot, why: Removal) -> Fate {
        if why == Removal::Evicted {
            let resident = self.residents[slot];
            let age = self.age(resident);
            self.classes[class_of(resident)].evictions[age] += 1.0;
        }
        self.order.remove(slot);
        for recent in &mut self.recent {
            *recent = recent.filter(|&other| other != slot);
        }
        Fate::Gone
    }

    fn on_resize(&mut self, _: u64, objects: Option<usize>) {
        self.order.set_limit(objects);
        self.residents.set_limit(objects);
    }

    fn bytes(&self) -> usize {
        let tables = self.classes.len() * 3 * AGES * size_of::<f32>();
        self.order.bytes() + self.residents.bytes() + tables
    }

    fn validate(&self, residents: usize, _: usize) {
        self.order.validate();
        assert_eq!(self.order.len(), residents);
        assert!(self.recent.iter().flatten().all(|&slot| self.order.contains(slot)), "a newcomer has left");
        assert!(self.classes.iter().flat_map(|class| &class.density).all(|density| density.is_finite()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Cache;

    #[test]
    fn the_heavy_are_less_dense() {
        // Everybody is looked at. c has waited longest, but B takes five times the space.
        assert_eq!(Cache::bytes("lhd:samples=1024", 7).read("cBde"), "B");
    }

    #[test]
    fn a_hit_makes_denser_than_newcomers() {
        // LRU would let `a` go.
        assert_eq!(Cache::objects("lhd:samples=1024", 3).read("aabcd"), "b");
    }

    #[test]
    fn classes_follow_the_last_two_ages() {
        let resident = |last_age, age_before| Resident { weight: 1, last_use: 0, last_age, age_before };
        assert_eq!(class_of(resident(0, NEVER_HIT)), 0, "a newcomer");
        assert_eq!(class_of(resident(AGES as u32 - 1, AGES as u32 - 1)), 0);
        assert_eq!(class_of(resident(1000, 1000)), 2);
        assert_eq!(class_of(resident(0, 1)), 13);
        assert_eq!(class_of(resident(0, 0)), CLASSES - 1);
    }

    #[test]
    fn density_is_hits_over_time() {
        let mut class = Class::default();
        // One hit at age 1, one eviction at age 2: two reach ages 0 and 1, one reaches age 2.
        (class.hits[1], class.evictions[2]) = (1.0, 1.0);
        class.recompute();
        assert_eq!(class.density[..4], [1.0 / 5.0, 1.0 / 3.0, 0.0, 0.0]);
    }

    #[test]
    fn counts_fade_and_rare_classes_share_theirs() {
        let params = crate::Params::defaults(PARAMS);
        let mut policy = Lhd::new(&Setup { capacity: 10, objects: Some(10), seed: 1, params: &params, prior: None });
        policy.classes[3].hits[1] = 2.0 * ENOUGH;
        policy.classes[5].evictions[2] = 1.0;
        policy.refresh();
        assert_eq!((policy.classes[3].hits[1], policy.classes[5].evictions[2]), (2.0 * ENOUGH * DECAY, DECAY));
        assert_eq!(policy.classes[5].density, policy.classes[0].density, "too rare to tell");
        assert_ne!(policy.classes[3].density, policy.classes[0].density);
    }
}
