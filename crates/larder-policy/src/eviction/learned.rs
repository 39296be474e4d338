//! Learned: of a sample of residents and the newcomer, the one worth least leaves.
//!
//! A survival model ([`crate::learned`]) says how likely an entry is used within each of four spans ahead, whose unit is the time in
//! which as many entries are evicted as fit. An entry's worth is a mean of these probabilities, or, where weights are far apart, the uses
//! expected soon; times what a hit on it gains: 1 for `learned`, its bytes for `learned-bytes`, its load's latency for `learned-cost`,
//! per unit of weight. The model starts from a prior trained offline and learns on from the outcomes of candidates, of low ones most,
//! whether they were kept or not.
//!
//! * Candidates are drawn at random, as in LHD (Beckmann et al., NSDI 2018) and LRB (Song et al., NSDI 2020); the few that were worth
//!   least but could stay come up again at the next eviction, which doubles the sample for a third of its cost.
//! * The newcomer competes: if it is worth least, it is refused. This is the admission policy.
//! * The past of keys that left, the refused included, is remembered in six bytes each.
//! * A hit updates its own entry and nothing else, several hits at a time; the model learns and scores at misses only.

mod draw;
mod ends;
mod explain;
#[cfg(test)]
mod faults;
mod gain;
mod params;
mod rank;
mod share;
mod spread;

use std::sync::Arc;

use super::{Arrival, Eviction, Fate, Removal, Setup};
use crate::dense::Dense;
use crate::learned::features::Features;
use crate::learned::guard::{Guard, Rule, Seen};
use crate::learned::history::{Context, History, Scale};
use crate::learned::labels::Labels;
use crate::learned::memory::Memory;
use crate::learned::prequential::Prequential;
use crate::learned::scorecard::{Measure, Scorecard};
use crate::learned::{Example, Explanation, HORIZONS, Pool, Prior, Scores, Standing};
use crate::slots::SlotVec;
use crate::{Access, KeyHash, Reuse, Rng, Slot, Time};

use self::draw::{draw, list};
pub(crate) use self::params::PARAMS;
use self::{gain::Gain, rank::Candidate, spread::Spread};

/// Turnovers after which the model needs fewer examples, and the share of them that it then needs.
const WARM: f64 = 4.0;
const SETTLED: f64 = 0.5;

/// Hits noted together, so that the processor fetches their entries at the same time.
const HITS: usize = 32;

/// What a hit is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Objective {
    /// As much as any other: the fewest misses.
    Objects,
    /// Its bytes: the fewest bytes missed.
    Bytes,
    /// The latency it saves: the least time spent loading.
    Cost,
}

#[derive(Clone, Copy, Debug, Default)]
struct Resident {
    history: History,
    gain: Gain,
    hash: u32,
}

// docs/learned.md counts them.
const _: () = assert!(size_of::<Resident>() == 24 && size_of::<History>() == 18);

impl Resident {
    fn is_present(&self) -> bool {
        self.gain != Gain::default()
    }
}

/// How long entries stay: accesses per eviction.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    evictions: u64,
    last: u32,
    /// A moving mean; for the first, per resident.
    per_eviction: f32,
}

impl Pace {
    fn note(&mut self, now: u32, objects: f32) {
        let gap = now.wrapping_sub(self.last) as f32;
        self.last = now;
        self.evictions += 1;
        if self.evictions == 1 {
            self.per_eviction = (gap / objects).max(1.0);
        } else {
            let weight = (1.0 / objects).max(2e-4).max(1.0 / (self.evictions as f32 + 16.0));
            self.per_eviction += weight * (gap - self.per_eviction);
        }
    }

    /// The ends of the spans, in accesses.
    fn horizons(&self, objects: f32) -> [f32; HORIZONS.len()] {
        let per_eviction = if self.evictions == 0 { 2.0 } else { self.per_eviction.max(1.0) };
        // Accesses are counted modulo 2^32: a longer span would never end.
        HORIZONS.map(|horizon| (horizon * per_eviction * objects).min((1u32 << 31) as f32))
    }
}

/// The policy.
pub(crate) struct Learned {
    objective: Objective,
    residents: SlotVec<Resident>,
    present: usize,
    /// While they are few for their slots.
    listed: Option<Dense>,
    limit: u64,
    /// The most residents, where it is known.
    objects: Option<usize>,
    /// Hits not noted yet, in their order, with their weights: everything else waits until they are.
    hits: Vec<(Slot, u32)>,
    arriving: Option<Resident>,
    /// Low candidates of the last evictions, lowest first.
    kept: Vec<Candidate>,
    /// Room for the candidates of one eviction.
    drawn: Vec<Candidate>,
    memory: Memory,
    /// Residents the memory was made for.
    remembered: usize,
    labels: Labels,
    card: Scorecard,
    rate: f32,
    /// What it began with or took over last, if it is to know anything beforehand.
    prior: Option<Arc<Prior>>,
    record: Prequential,
    context: Context,
    scale: Scale,
    /// Objects the scale was made for.
    scaled: f32,
    pace: Pace,
    /// Evictions when what arrives was last followed.
    followed: u64,
    /// Arrivals and their weight, to guess how many will fit.
    arrived: (u64, u64),
    weights: Spread,
    measure: Measure,
    now: u32,
    /// The time of the last access; those that wait to be noted are taken to be as late.
    at: Time,
    rng: Rng,
    samples: u32,
    focus: u32,
    keep: usize,
    refuses: bool,
    ghosts: f64,
    /// `None` if it is turned off, `Some(None)` until it is known how many objects fit.
    guard: Option<Option<Guard>>,
    examples: Option<Vec<Example>>,
}

impl Learned {
    pub(crate) fn new(setup: &Setup<'_>, objective: Objective) -> Self {
        let value = |name| setup.params.value(name);
        let prior = setup.prior.cloned().or_else(Prior::shared_general).filter(|_| value("prior") > 0.0);
        let objects = setup.objects.map_or(1024.0, |objects| objects as f32);
        Self {
            objective,
            residents: SlotVec::new(setup.objects),
            present: 0,
            listed: None,
            limit: setup.capacity,
            objects: setup.objects,
            hits: Vec::with_capacity(HITS),
            arriving: None,
            kept: Vec::new(),
            drawn: Vec::new(),
            memory: Memory::new(),
            remembered: 0,
            labels: Labels::new(value("labels") as usize),
            card: Scorecard::new(prior.as_deref(), value("rate") as f32),
            rate: value("rate") as f32,
            prior,
            record: Prequential::new(),
            context: Context::default(),
            scale: Scale::new(objects),
            scaled: objects.max(1.0),
            pace: Pace::default(),
            followed: 0,
            arrived: (0, 0),
            weights: Spread::default(),
            measure: Measure::Chance,
            now: 0,
            at: Time(0),
            rng: Rng::new(setup.seed),
            samples: value("samples") as u32,
            focus: value("focus") as u32,
            keep: value("kept") as usize,
            refuses: value("refuse") > 0.0,
            guard: (value("guard") > 0.0).then(|| {
                setup.objects.map(|objects| Guard::new(objects as f32, setup.capacity, objective == Objective::Objects))
            }),
            ghosts: value("ghosts"),
            examples: None,
        }
    }

    /// How many objects fit: known, or judged by the residents once evictions begin, or guessed from the weights so far.
    fn fitting(&self) -> f32 {
        match self.objects {
            Some(objects) => objects as f32,
            None if self.pace.evictions > 0 => self.present as f32,
            None => (self.limit as f64 * self.arrived.0 as f64 / self.arrived.1.max(1) as f64) as f32,
        }
        .max(1.0)
    }

    /// Keeps the unit of time near the number of objects that fit.
    fn rescale(&mut self) {
        let objects = self.fitting();
        if objects > self.scaled * 1.5 || objects * 1.5 < self.scaled {
            (self.scaled, self.scale) = (objects, Scale::new(objects));
            self.memory.rescale(objects, self.now);
        }
    }

    /// Follows the weights of what arrives.
    fn follow(&mut self) {
        self.rescale();
        self.choose_measure();
        // Where nobody had to leave, as after a night in which all ended, more would fit than there are.
        if self.pace.evictions > std::mem::replace(&mut self.followed, self.pace.evictions) {
            self.choose_guard();
        }
    }

    fn rule(&self) -> Rule {
        self.guard.as_ref().and_then(Option::as_ref).map_or(Rule::Learned, Guard::rule)
    }

    /// Whether a hit gains about as much on each entry for its weight. Near the border, what the guard was made for stays.
    fn is_even(&self) -> bool {
        let was_even = self.guard.as_ref().and_then(Option::as_ref).is_none_or(Guard::is_even);
        let weights_are_even = if was_even { !self.weights.is_wide() } else { self.weights.is_narrow() };
        match self.objective {
            Objective::Objects => self.objects.is_some() || weights_are_even,
            Objective::Bytes => self.objects.is_none(),
            Objective::Cost => false,
        }
    }

    /// By how far the weights are apart; who was scored by the other measure is scored anew.
    fn choose_measure(&mut self) {
        let is_wide = self.objects.is_none() && self.objective != Objective::Bytes && self.weights.is_wide();
        let measure = if is_wide { Measure::Rate } else { Measure::Chance };
        if measure != std::mem::replace(&mut self.measure, measure) {
            self.kept.clear();
        }
    }

    /// Once evictions have begun: a guard for what the cache is, if there is none, or one for what it was.
    fn choose_guard(&mut self) {
        let (objects, limit, is_even) = (self.fitting(), self.limit, self.is_even());
        match &mut self.guard {
            Some(Some(guard)) if guard.is_even() == is_even && guard.is_made_for(objects, limit) => guard.resize(limit),
            Some(Some(guard)) => *guard = guard.anew(objects, limit, is_even),
            Some(guard) if self.pace.evictions > 0 => *guard = Some(Guard::new(objects, limit, is_even)),
            _ => {}
        }
    }

    #[inline]
    fn note_hits(&mut self) {
        if !self.hits.is_empty() {
            self.note_all();
        }
    }

    #[inline(never)]
    fn note_all(&mut self) {
        let mut hits = std::mem::take(&mut self.hits);
        // The guard asks for nothing but hashes, so that this reads all the entries at once.
        if let Some(Some(guard)) = &mut self.guard {
            for &(slot, weight) in &hits {
                let Resident { hash, gain, .. } = self.residents[slot];
                guard.hit(Seen { hash, weight, gain: gain.times(weight), at: self.at });
            }
        }
        // In registers while they change with each hit.
        let (mut now, mut context, scale) = (self.now, self.context, self.scale);
        for &(slot, _) in &hits {
            now = now.wrapping_add(1);
            let Resident { history, hash, .. } = &mut self.residents[slot];
            let gap = now.wrapping_sub(history.last);
            let shares = context.note(Some(gap), false);
            if scale.is_same_use(gap) && !history.is_watched() {
                continue;
            }
            history.touch(now, &scale, shares);
            history.hits = history.hits.saturating_add(1);
            if history.is_watched() {
                history.set_watched(false);
                self.labels.on_use(*hash, now, self.at);
            }
        }
        (self.now, self.context) = (now, context);
        hits.clear();
        self.hits = hits;
    }

    fn learn(&mut self) {
        let horizons = self.pace.horizons(self.fitting());
        let Self { card, examples, record, prior, .. } = self;
        self.labels.settle(self.now, horizons, |example| {
            let said = card.learn(&example.features, usize::from(example.span), example.used);
            record.note(&example, said, prior.as_deref());
            if let Some(examples) = examples {
                examples.push(example);
            }
        });
        // At a rate of 0 the prior is to be kept as it is.
        if self.rate > 0.0 && self.record.drifts() {
            self.step_back();
        }
    }

    /// The share of evictions at which a candidate is watched: as many wait as there is room for, over the longest span.
    fn watching(&mut self) -> bool {
        let share = (self.labels.most() as f64 / 2.0 / self.present.max(1) as f64).min(1.0);
        let young = WARM * self.present as f64 / self.pace.evictions.max(1) as f64;
        let share = share * young.clamp(SETTLED, 1.0);
        share >= 1.0 || self.rng.unit() < share
    }

    fn watch(&mut self, slot: Slot, features: Features) {
        let resident = &mut self.residents[slot];
        resident.history.set_watched(self.labels.watch(resident.hash, self.now, features));
    }

    /// The weights are of no use, being no numbers or worse than the base rate: the model starts anew as LRU, and does not rank for a while.
    #[cold]
    fn step_back(&mut self) {
        self.card = Scorecard::new(None, self.rate);
        self.record.restart();
        self.kept.clear();
        if let Some(Some(guard)) = &mut self.guard {
            guard.retreat();
        }
    }

    fn remember(&mut self, resident: &Resident) {
        if self.ghosts == 0.0 {
            return;
        }
        if self.present >= self.remembered * 2 || self.remembered == 0 {
            self.remembered = self.present.max(8);
            self.memory.grow((self.remembered as f64 * self.ghosts) as usize, self.scaled);
        }
        self.memory.put(resident.hash, &resident.history, self.now);
    }
}

/// The part of a key's hash that the policy keeps; the shard's index takes from the other end.
fn short(key: KeyHash) -> u32 {
    (key.0 >> 16) as u32
}

impl Eviction for Learned {
    fn on_arrive(&mut self, newcomer: &Arrival) {
        self.note_hits();
        self.now = self.now.wrapping_add(1);
        self.at = newcomer.access.at;
        if let Some(refused) = self.arriving.take() {
            self.remember(&refused);
        }
        let hash = short(newcomer.access.key);
        let gain = Gain::new(self.objective, newcomer.access, newcomer.weight);
        if let Some(Some(guard)) = &mut self.guard {
            let Arrival { weight, ttl, .. } = *newcomer;
            guard.miss(Seen { hash, weight, gain: gain.times(weight), at: self.at }, ttl);
        }
        let past = self.memory.take(hash, self.now);
        self.labels.on_use(hash, self.now, self.at);
        self.learn();
        let gap = past.map(|past| self.now.wrapping_sub(past.last));
        let context = self.context.note(gap, true);
        let history = match past {
            Some(mut past) => {
                past.touch(self.now, &self.scale, context);
                past.store();
                past
            }
            None => History::first(self.now, context),
        };
        self.arriving = Some(Resident { history, hash, gain });
        if self.objects.is_none() {
            self.arrived.0 += 1;
            self.arrived.1 += u64::from(newcomer.weight);
            self.weights.note(newcomer.weight);
            if self.arrived.0.is_power_of_two() || self.arrived.0.is_multiple_of(1024) {
                self.follow();
            }
        }
    }

    fn victim(&mut self, newcomer: Option<&Arrival>) -> Option<Slot> {
        self.note_hits();
        self.pace.note(self.now, self.fitting());
        if matches!(self.guard, Some(None)) {
            self.choose_guard();
        }
        let least = self.least()?;
        if let Some(mut arriving) = self.arriving
            && let Some(newcomer) = newcomer
        {
            let features = arriving.history.features(self.now, &self.scale);
            if self.rng.below(2) == 0 && self.watching() {
                arriving.history.set_watched(self.labels.watch(arriving.hash, self.now, features));
                self.arriving = Some(arriving);
            }
            if self.refuses && self.newcomer_worth(&features, arriving.gain).is_some_and(|worth| worth < least.worth) {
                self.kept.insert(0, least);
                if let Some(ttl) = newcomer.ttl {
                    self.labels.end_at(arriving.hash, self.at.plus(ttl));
                }
                return None;
            }
        }
        Some(least.slot)
    }

    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        let Some(resident) = self.arriving.take() else {
            debug_assert!(false, "{newcomer:?} did not arrive");
            return;
        };
        self.residents.put(slot, resident);
        self.present += 1;
        if let Some(listed) = &mut self.listed {
            listed.push(slot);
            list(&mut self.listed, &self.residents, self.present);
        }
        // The first fill is a chance to learn before the first eviction.
        if self.pace.evictions == 0 && self.present > 16 && self.watching() {
            if let Some(other) =
                draw(&self.residents, self.listed.as_ref(), &mut self.rng).filter(|&other| other != slot)
            {
                self.watch(other, self.residents[other].history.features(self.now, &self.scale));
            }
            if self.rng.below(2) == 0 {
                self.watch(slot, resident.history.features(self.now, &self.scale));
            }
        }
    }

    fn on_hit(&mut self, slot: Slot, access: &Access, _: Reuse) -> Option<Slot> {
        self.at = access.at;
        // Where the number of objects is limited, each weighs 1.
        self.hits.push((slot, if self.objects.is_some() { 1 } else { access.size.max(1) }));
        if self.hits.len() == HITS {
            self.note_all();
        }
        None
    }

    fn on_outdated(&mut self, slot: Slot, access: &Access) -> Option<Slot> {
        self.outdated(slot, access);
        None
    }

    fn on_reweigh(&mut self, slot: Slot, from: u32, to: u32) {
        // They gained what it gained.
        self.note_hits();
        let resident = &mut self.residents[slot];
        resident.gain = resident.gain.reweighed(self.objective, from, to);
        let Resident { hash, gain, .. } = *resident;
        if let Some(Some(guard)) = &mut self.guard {
            guard.reweigh(Seen { hash, weight: to, gain: gain.times(to), at: self.at });
        }
        self.reconsider(slot);
    }

    fn on_renew(&mut self, slot: Slot, expiry: Option<Time>) {
        if let (Some(Some(guard)), Some(expiry)) = (&mut self.guard, expiry) {
            guard.renew(self.residents[slot].hash, expiry);
        }
    }

    fn on_cut_short(&mut self, slot: Slot, expiry: Time) {
        self.cut_short(slot, expiry);
    }

    fn on_absent(&mut self, key: KeyHash) {
        self.note_hits();
        self.end(short(key));
    }

    fn on_remove(&mut self, slot: Slot, why: Removal) -> Fate {
        self.note_hits();
        let resident = std::mem::take(&mut self.residents[slot]);
        if why != Removal::Evicted {
            self.end(resident.hash);
        }
        self.present -= 1;
        match &mut self.listed {
            Some(listed) => listed.remove(slot),
            None => list(&mut self.listed, &self.residents, self.present),
        }
        self.remember(&resident);
        Fate::Gone
    }

    fn on_resize(&mut self, capacity: u64, objects: Option<usize>) {
        self.note_hits();
        self.limit = capacity;
        self.objects = objects;
        self.residents.set_limit(objects);
        self.rescale();
        self.choose_measure();
        self.choose_guard();
    }

    fn record_examples(&mut self) {
        self.examples.get_or_insert_default();
    }

    fn take_examples(&mut self, out: &mut Vec<Example>) {
        if let Some(examples) = &mut self.examples {
            out.append(examples);
        }
    }

    fn explain(&mut self, access: &Arrival, resident: Option<Slot>, room: bool) -> Option<Explanation> {
        self.note_hits();
        Some(self.explanation(access, resident, room))
    }

    fn standing(&mut self) -> Option<Standing> {
        self.note_hits();
        self.guard.as_ref().and_then(Option::as_ref).map(Guard::standing)
    }

    fn score(&self, scores: &mut Scores) {
        *scores += self.record.scores();
    }

    fn pool(&mut self, pool: &mut Pool) {
        self.add_to(pool);
    }

    fn adopt(&mut self, prior: &Arc<Prior>) {
        self.take_over(prior);
    }

    fn bytes(&self) -> usize {
        let hits = self.hits.capacity() * size_of::<(Slot, u32)>();
        let lists = hits + (self.kept.capacity() + self.drawn.capacity()) * size_of::<Candidate>();
        let guard = self.guard.as_ref().and_then(Option::as_ref).map_or(0, Guard::bytes);
        let examples = self.examples.as_ref().map_or(0, |examples| examples.capacity() * size_of::<Example>());
        self.residents.bytes()
            + self.listed.as_ref().map_or(0, Dense::bytes)
            + self.memory.bytes()
            + self.labels.bytes()
            + self.card.bytes()
            + guard
            + lists
            + examples
    }

    fn validate(&self, residents: usize, _: usize) {
        let present = self.residents.iter().filter(|resident| resident.is_present()).count();
        assert_eq!((present, self.present), (residents, residents), "residents are miscounted");
        if let Some(listed) = &self.listed {
            assert_eq!(listed.len(), present, "residents are listed wrongly");
            listed.validate();
        }
        self.labels.validate();
        self.card.validate();
        if let Some(Some(guard)) = &self.guard {
            guard.validate();
        }
    }
}
