//! The engine: reads and loads in, decisions and lifetimes out.

use std::time::Duration;

use hashbrown::HashTable;

use super::audit::{Audit, Audited, Measured};
use super::checkpoint::Checkpoint;
use super::class::{Class, Classes};
use super::evidence::News;
use super::experts::{Expert, Experts, Life};
use super::hours::{ClassHours, Hours, KeyHours, Span};
use super::objective::{Freshness, Goal};
use super::plan::{ClassId, Decision, Evidence, Lifetimes, Loaded, Subject};
use super::prior::{LogRate, Prior};
use super::profile::Profile;
use super::record::{NONE, Record, epoch, seconds};
use super::regression::{Inputs, TOLD};
use super::rule::{self, Hazard};
use super::steering::Look;
use super::surge::Surge;
use crate::{KeyHash, Rng, Time};
use group::{Answer, Group};

/// Looks at the origin before which a starting lifetime, where one is given, is kept to.
const STARTING_LOOKS: u64 = 50;
/// Of a key's evidence, what goes back to its class at each look that [tells](TOLD) something.
const FORGET: f64 = 0.01;
/// Changes a key must have shown before it gets hours of its own.
const CHANGES_FOR_HOURS: u16 = 2;
/// Keys remembered unless said otherwise.
const MOST_KEYS: usize = 1 << 24;
/// Beside a store: for each object that fits, at least, and where their number is not known.
const KEYS_AN_OBJECT: usize = 4;
const LEAST_KEYS: usize = 1 << 14;
const USUAL_KEYS: usize = 1 << 20;

/// Learns how keys change and decides, read by read, what may still be served.
///
/// It holds no value and no clock: every call brings the time, and the same calls with the same seed give the same
/// decisions.
pub struct Engine {
    pub(super) groups: Vec<Group>,
    pub(super) classes: Classes,
    index: HashTable<u32>,
    records: Vec<Record>,
    most_keys: usize,
    /// Where the next is forgotten, once there are so many.
    hand: usize,
    hours: Vec<KeyHours>,
    /// Of keys that were forgotten.
    spare_hours: Vec<u32>,
    pub(super) experts: Experts,
    pub(super) prior: Prior,
    surge: Surge,
    hours_of_all: ClassHours,
    /// By time since the last change (since birth for keys that never did), and by that in units of the key's rate.
    by_change: [Profile; 2],
    by_phase: Profile,
    pub(super) looks: u64,
    /// What it has to tell of keys, where it is steered with others.
    pub(super) untold: Option<Vec<Look>>,
    /// The origin fails: nothing is learned.
    is_frozen: bool,
    rng: Rng,
}

impl Engine {
    /// Keeps to `freshness`.
    pub fn new(freshness: Freshness, seed: u64) -> Self {
        let own = freshness.prefixes.clone().into_iter().map(|(_, own)| Group::new(own));
        let groups: Vec<Group> = std::iter::once(Group::new(freshness)).chain(own).collect();
        Self {
            groups,
            classes: Classes::default(),
            index: HashTable::new(),
            records: Vec::new(),
            most_keys: MOST_KEYS,
            hand: 0,
            hours: Vec::new(),
            spare_hours: Vec::new(),
            experts: Experts::new(Expert::Hedge),
            prior: Prior::default(),
            surge: Surge::default(),
            hours_of_all: ClassHours::default(),
            by_change: Default::default(),
            by_phase: Profile::default(),
            looks: 0,
            untold: None,
            is_frozen: false,
            rng: Rng::new(seed),
        }
    }

    /// With one expert alone instead of the hedge, to see what the hedge is worth.
    #[must_use]
    pub fn with_expert(self, expert: Expert) -> Self {
        Self { experts: Experts::new(expert), ..self }
    }

    /// Remembers at most so many keys; of a few the one unread for longest is forgotten for a new one.
    #[must_use]
    pub fn with_most_keys(self, most: usize) -> Self {
        Self { most_keys: most.clamp(1, MOST_KEYS), ..self }
    }

    /// How many keys to remember beside a store of at most so many objects, where that is known.
    pub fn keys_beside(objects: Option<usize>) -> usize {
        objects.map_or(USUAL_KEYS, |objects| objects.saturating_mul(KEYS_AN_OBJECT).max(LEAST_KEYS))
    }

    /// Decides on a read; `is_cached` says whether the store still holds the value.
    #[inline]
    pub fn read(&mut self, subject: Subject, now: Time, is_cached: bool) -> Decision {
        let slot = self.slot(subject, now);
        self.read_at(slot, now, is_cached)
    }

    #[inline]
    fn read_at(&mut self, slot: usize, now: Time, is_cached: bool) -> Decision {
        let record = &mut self.records[slot];
        if let Some(gap) = record.reads.read(now, is_cached) {
            self.classes.all[usize::from(record.class.0)].first_gap(gap);
        }
        // Where any value is as good as another a read is no part of the objective, and earns nothing for the others.
        if !record.flips.is_marked() {
            let group = &mut self.groups[usize::from(record.group)];
            group.audits.read();
            // While it starts it decides nothing, and what others serve is no allowance for later.
            if group.suspended.is_none() && !starts(&group.freshness, self.looks) {
                group.controller.read();
            }
        }
        self.decide_on(slot, now)
    }

    /// Decides anew on a read that was heard of, once another cache has brought a value for it.
    pub fn decide(&mut self, subject: Subject, now: Time) -> Decision {
        let slot = self.slot(subject, now);
        self.decide_on(slot, now)
    }

    #[inline]
    fn decide_on(&mut self, slot: usize, now: Time) -> Decision {
        let record = &mut self.records[slot];
        let group = &mut self.groups[usize::from(record.group)];
        if group.suspended.is_some() {
            return self.serve_by_rule(slot, now);
        }
        if let Some(stale) = record.stale(now, group.controller.era()) {
            return serve(record, group, &mut self.rng, stale);
        }
        self.consider(slot, now)
    }

    /// Decides on a read that the last checkpoint does not answer.
    fn consider(&mut self, slot: usize, now: Time) -> Decision {
        let record = &self.records[slot];
        let group = &self.groups[usize::from(record.group)];
        let Some(loaded) = record.held() else { return Decision::Load };
        let age = seconds(loaded, now);
        let freshness = &group.freshness;
        if let Some(ttl) = freshness.by_rule(record.unchanged()) {
            return if age < ttl.as_secs_f64() { Decision::Serve } else { Decision::Load };
        }
        if freshness.goal == Goal::NeverStale {
            return if now < record.cached.lease { Decision::Serve } else { Decision::Load };
        }
        let most = freshness.most.as_secs_f64();
        if age >= most {
            return Decision::Load;
        }
        if let Some(ttl) = freshness.starting
            && starts(freshness, self.looks)
        {
            let is_fresh = age < ttl.as_secs_f64();
            self.groups[usize::from(record.group)].audits.unread();
            return if is_fresh { Decision::Serve } else { Decision::Load };
        }
        let grace = freshness.grace.as_secs_f64();
        let hazard = self.hazard_of(record, age - grace);
        let stale = hazard.stale();
        if record.flips.is_marked() {
            return if stale < group.most_stale { Decision::Serve } else { Decision::Load };
        }
        let (rate, threshold) = (record.reads.rate(), group.controller.threshold());
        let index = self.experts.index(hazard, rate, grace);
        let is_fresh = index < threshold && stale < group.most_stale;
        let record = &mut self.records[slot];
        let group = &mut self.groups[usize::from(record.group)];
        let is_young = age < group.freshness.least.as_secs_f64();
        if !is_fresh && !is_young {
            let ahead = rule::refresh_ahead_pays(stale, threshold, group.freshness.loads_per_wait);
            if !ahead || stale >= group.most_stale {
                return Decision::Load;
            }
            return match serve(record, group, &mut self.rng, stale) {
                Decision::Serve => Decision::ServeAndRefresh,
                audit => audit,
            };
        }
        if is_fresh && grace == 0.0 {
            // Under a constant hazard the index grows at most with the square of the age, the chance with the age.
            let growth = (threshold / index).sqrt().min(group.most_stale / stale);
            let reach = (age * growth).min(most);
            record.cached.checkpoint =
                Checkpoint::new(loaded, hazard, reach, record.cached.logical.into(), group.controller.era());
        }
        serve(record, group, &mut self.rng, stale)
    }

    /// The last [read](Self::read) of this key was to be loaded, and the origin failed or was slow: its reader got nothing, or an old value in the
    /// emergency, of which nothing can be known. It is no part of the objective, nor of what is measured, and earns nothing for other reads.
    pub fn unserved(&mut self, subject: Subject) {
        let Some(slot) = self.place_of(subject) else { return };
        let record = &self.records[slot];
        if record.flips.is_marked() {
            return;
        }
        let group = &mut self.groups[usize::from(record.group)];
        group.audits.unread();
        if group.suspended.is_none() && !starts(&group.freshness, self.looks) {
            group.controller.unread();
        }
    }

    /// The origin was not asked about a hit drawn for an audit: another load is under way, or it failed.
    pub fn forgo(&mut self, subject: Subject, audit: Audit) {
        let group = &mut self.groups[usize::from(self.classes.all[usize::from(subject.class().0)].group)];
        group.audits.forgone(audit);
        let charged = audit.stale.filter(|_| group.suspended.is_none()).map(|stale| group.charge(stale));
        if let (Some(charged), Some(slot)) = (charged, self.place_of(subject)) {
            self.records[slot].cached.served_stale += charged as f32;
        }
    }

    /// A value was loaded, and is now cached unless a notice came after the load began. It says what the origin had when the load began, even if it
    /// was another cache that asked, and it comes from there only now.
    pub fn loaded(&mut self, subject: Subject, now: Time, load: Loaded) -> Lifetimes {
        let slot = self.slot(subject, now);
        let before = self.records[slot].cached;
        let asked = load.began.min(now);
        let since = before.loaded().unwrap_or(asked);
        let age = seconds(since, asked);
        let group = usize::from(self.records[slot].group);
        let told = self.records[slot].changes.last;
        let flips = &mut self.records[slot].flips;
        let was_marked = flips.is_marked();
        // What comes back from another cache is no second look; an audit is one even in the moment of the load, by a coarse clock.
        let is_audit = load.audit.is_some();
        let is_look = before.loaded().is_none_or(|since| since < asked || (since == asked && is_audit));
        let News { changed, at: exact } =
            if is_look { load.evidence.compare(before.loaded(), told, load.began, now, flips) } else { News::NONE };
        let is_marked = flips.is_marked();
        self.groups[group].tells_times |= load.evidence.time().is_some();
        if is_marked != was_marked {
            let class = &mut self.classes.all[usize::from(self.records[slot].class.0)];
            class.flipping = (class.flipping + u32::from(is_marked)).saturating_sub(u32::from(was_marked));
            class.has_flipped = true;
        }
        if let (Some(changed), false) = (changed, is_marked || self.is_frozen) {
            let foreseen = self.foresee(&self.records[slot], since, age);
            // Reads that come at a constant rate are foreseen to be stale by the square of the age: of those since the question nothing is known.
            let covered = (age / seconds(since, now).max(1e-6)).powi(2);
            let (whole, served) = (foreseen.hazard.stale(), covered * f64::from(before.served_stale));
            let share = if whole > 1e-12 { 1.0 / whole } else { 1.0 };
            // Of what was served, what is now known: nothing was stale if nothing changed, and if something did, each read
            // was stale with the chance that the change came before it.
            let known = if changed { served * share } else { 0.0 };
            self.groups[group].told(served, known);
            if let Some(audit) = load.audit {
                let outdated = exact.map(|at| seconds(at, asked));
                self.groups[group].found(audit, Answer { changed, foreseen: whole, age, outdated });
            }
            self.learn(slot, &foreseen, since, asked, changed, exact);
        } else if let Some(audit) = load.audit {
            // It says nothing: no evidence came, or none that counts.
            self.groups[group].audits.forgone(audit);
        }
        if load.audit.is_none() && is_look {
            self.groups[group].audits.loaded();
        }
        let record = &mut self.records[slot];
        let is_valid = record.cached.noticed <= load.began || record.cached.noticed == Time(0);
        record.load(is_valid.then_some(asked));
        record.cached.lease = load.lease.map_or(Time(0), |lease| load.began.plus(lease));
        if is_look {
            record.cached.served_stale = 0.0;
        }
        record.cached.checkpoint = Checkpoint::NONE;
        match load.evidence {
            // What the next time is compared with: as it was told, even if that is in our future.
            Evidence::ChangedAt(at) if is_look && changed != Some(false) => record.changes.last = at,
            Evidence::DigestAt(_, at) if record.changes.looks == 0 => record.changes.last = at.min(now),
            _ => {}
        }
        let lifetimes = self.lifetimes(slot, subject.size, group);
        self.records[slot].cached.logical = lifetimes.logical.as_secs_f32();
        lifetimes
    }

    /// The origin's value changed: a write notice, an invalidation, or the caller's own write. What is cached is no longer
    /// served.
    pub fn changed(&mut self, subject: Subject, now: Time) {
        let Some(slot) = self.place_of(subject) else { return };
        let class = usize::from(self.records[slot].class.0);
        if let (Some(loaded), false) = (self.records[slot].cached.loaded(), self.is_frozen) {
            let age = seconds(loaded, now);
            let foreseen = self.foresee(&self.records[slot], loaded, age);
            let h = foreseen.life.multiplier();
            let class = &mut self.classes.all[class];
            class.notices.noticed(foreseen.hazard.expected);
            let share = class.notices.share();
            let record = &mut self.records[slot];
            record.changes.rate.changed_at(age, h * share);
            record.changes.seen = record.changes.seen.saturating_add(1);
        }
        let record = &mut self.records[slot];
        record.changes.last = record.changes.last.max(now);
        record.cached.noticed = now;
        record.load(None);
    }

    /// The origin did not answer. Serves what is cached up to the hard maximum; until [`recovered`](Self::recovered) nothing
    /// is learned.
    pub fn failed(&mut self, subject: Subject, now: Time) -> Decision {
        self.is_frozen = true;
        let held = self.place_of(subject).and_then(|slot| self.records[slot].held());
        match held {
            Some(loaded) if now.since(loaded) < self.most(subject) => Decision::Serve,
            _ => Decision::Load,
        }
    }

    /// The hard maximum of the age of a value that is served for want of another; 0 where none may be stale.
    pub fn most(&self, subject: Subject) -> Duration {
        let class = &self.classes.all[usize::from(subject.class().0)];
        self.groups[usize::from(class.group)].freshness.most_old_here()
    }

    /// The origin answers again.
    pub fn recovered(&mut self) {
        self.is_frozen = false;
    }

    /// The stale rate measured under the objective of `subject`, with its interval. `None` before the first read.
    pub fn measured(&self, class: Option<ClassId>) -> Option<Measured> {
        let group = class.map_or(0, |class| self.classes.all[usize::from(class.0)].group);
        self.groups[usize::from(group)].audits.measured()
    }

    /// What audits found under the objective of keys that no prefix has an own one for.
    pub fn audited(&self) -> Audited {
        self.groups[0].audits.audited()
    }

    /// The same under each objective: first of those keys, then of each prefix that has an objective of its own, in the order of
    /// [`Freshness::by_prefix`].
    pub fn audited_by_objective(&self) -> impl Iterator<Item = Audited> {
        self.groups.iter().map(|group| group.audits.audited())
    }

    /// How many keys there are now whose changes say nothing, by what stands before the first `:` or `/` of such keys; where there have been any. A
    /// prefix may come more than once.
    pub fn flipping(&self) -> impl Iterator<Item = (&str, u32)> {
        let classes = self.classes.all.iter().filter(|class| class.has_flipped);
        classes.map(|class| (&*class.prefix, class.flipping))
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.index.allocation_size()
            + self.records.capacity() * size_of::<Record>()
            + self.hours.capacity() * size_of::<KeyHours>()
            + self.spare_hours.capacity() * size_of::<u32>()
            + self.classes.all.capacity() * size_of::<Class>()
    }

    pub(super) fn record(&self, key: KeyHash) -> Option<&Record> {
        self.find(key).map(|slot| &self.records[slot])
    }

    pub(super) fn group(&self, record: &Record) -> &Group {
        &self.groups[usize::from(record.group)]
    }

    /// What its rate is to be multiplied with over the life of the value cached until now, or one that begins now.
    pub(super) fn multiplier(&self, record: &Record, now: Time) -> f64 {
        let loaded = record.cached.loaded().unwrap_or(now);
        self.life(record, loaded, seconds(loaded, now).max(1.0)).multiplier()
    }

    pub(super) fn index_of(&self, hazard: Hazard, rate: f64, grace: f64) -> f64 {
        self.experts.index(hazard, rate, grace)
    }

    /// What is expected of the value now cached within `age` seconds of its load.
    pub(super) fn hazard_of(&self, record: &Record, age: f64) -> Hazard {
        if age.is_nan() || age <= 0.0 {
            return Hazard { expected: 0.0, age: 0.0 };
        }
        self.foresee(record, record.cached.loaded().unwrap_or(record.reads.last), age).hazard
    }

    /// What the experts say of the life of `age` seconds from `loaded`.
    fn foresee(&self, record: &Record, loaded: Time, age: f64) -> Foreseen {
        let life = self.life(record, loaded, age);
        let seen = record.changes.seen;
        let logs = life.logs();
        let (change, phase) = logs.places();
        let by_change = self.by_change[usize::from(seen > 0)].log(change);
        let by_phase = if seen > 1 { self.by_phase.log(phase) } else { 0.0 };
        let inputs = life.inputs(&logs, by_change, by_phase);
        Foreseen { life, places: (change, phase), inputs, hazard: self.experts.hazard(seen, &inputs, age) }
    }

    fn life(&self, record: &Record, loaded: Time, age: f64) -> Life {
        let class = &self.classes.all[usize::from(record.class.0)];
        let changes = &record.changes;
        let span = Span::new(epoch(loaded), epoch(loaded) + age);
        let marked = record.flips.is_marked();
        let rate = if marked { class.rates.gamma } else { changes.rate };
        Life {
            age,
            span,
            alpha: rate.alpha(),
            beta: rate.beta(),
            since_change: seconds(changes.last, loaded),
            since_birth: seconds(changes.born, loaded),
            hours_of_class: self.hours_of_all.mean(&span) * class.hours.mean(&span),
            hours_of_key: self.hours.get(changes.hours as usize).map_or(1.0, |hours| hours.mean(&span)),
            surge: class.surge.ratio(self.surge.ratio_of_all()),
            noticed: class.notices.share(),
            class_rate: class.rates.log_rate,
            reads: record.reads.rate(),
        }
    }

    /// Learns from a look at the origin at the end of a life that was foreseen so.
    fn learn(
        &mut self,
        slot: usize,
        foreseen: &Foreseen,
        loaded: Time,
        ended: Time,
        changed: bool,
        exact: Option<Time>,
    ) {
        let Foreseen { life, places: (change, phase), inputs, hazard: Hazard { expected, age } } = *foreseen;
        if age <= 0.0 {
            return;
        }
        self.looks += 1;
        let h = life.multiplier();
        let record = &mut self.records[slot];
        let class = &mut self.classes.all[usize::from(record.class.0)];
        let seen = record.changes.seen;
        if self.untold.is_none() {
            self.experts.observe(seen, &inputs, age, changed);
        }
        self.by_change[usize::from(record.changes.seen > 0)].observe(change, expected, changed);
        if record.changes.seen > 1 {
            self.by_phase.observe(phase, expected, changed);
        }
        let of_all = self.surge.ratio_of_all();
        class.surge.observe(expected, life.surge, changed);
        self.surge.observe_all(expected / life.surge * of_all, of_all, changed);
        self.hours_of_all.observe(&life.span, expected, changed);
        class.hours.observe(&life.span, expected, changed);
        if let Some(hours) = self.hours.get_mut(record.changes.hours as usize) {
            hours.observe(&life.span, expected, changed);
        }
        class.notices.looked(expected, changed);
        let changes = &mut record.changes;
        changes.looks = changes.looks.saturating_add(1);
        changes.rate.forget(class.rates.gamma, FORGET * (expected / TOLD).min(1.0));
        let noticed = class.notices.share();
        match (changed, exact) {
            (false, _) => changes.rate.unchanged(age, h),
            (true, None) => {
                changes.rate.unchanged(age, h * noticed);
                changes.rate.changed(age, h * (1.0 - noticed));
            }
            (true, Some(at)) => {
                changes.rate.unchanged(age, h * noticed);
                changes.rate.changed_at(seconds(at, ended), h * (1.0 - noticed));
            }
        }
        if changed {
            changes.seen = changes.seen.saturating_add(1);
            // Somewhere within the life: its middle is the least surprising.
            let middle = Time(loaded.0 + ended.0.saturating_sub(loaded.0) / 2);
            changes.last = exact.unwrap_or(middle);
            if changes.seen >= CHANGES_FOR_HOURS && changes.hours == NONE {
                changes.hours = hours_of_key(&mut self.hours, &mut self.spare_hours);
            }
        }
        let weight = if changes.looks <= 4 { 1.0 } else { 4.0 / f64::from(changes.looks) };
        let rate = LogRate::from(changes.rate);
        self.prior.observe(rate, weight);
        class.rates.observe(rate, weight, self.prior);
        if let Some(untold) = &mut self.untold {
            untold.push(Look { class: record.class, rate, weight, seen, inputs, age, changed });
        }
    }
}

/// Whether a starting lifetime is still kept to after so many looks at the origin.
fn starts(freshness: &Freshness, looks: u64) -> bool {
    freshness.starting.is_some() && looks < STARTING_LOOKS
}

/// A profile of its own for a key, in the place of one that was forgotten, if there is one.
fn hours_of_key(hours: &mut Vec<KeyHours>, spare: &mut Vec<u32>) -> u32 {
    if let Some(at) = spare.pop() {
        hours[at as usize] = KeyHours::default();
        return at;
    }
    if hours.len() >= NONE as usize {
        return NONE;
    }
    hours.push(KeyHours::default());
    hours.len() as u32 - 1
}

/// A life with what the experts make of it.
struct Foreseen {
    life: Life,
    /// Where it lies in the profiles.
    places: (f64, f64),
    inputs: Inputs,
    hazard: Hazard,
}

/// Serves a value that is stale with probability `stale`: charges the budget, and draws for an audit.
#[inline]
fn serve(record: &mut Record, group: &mut Group, rng: &mut Rng, stale: f64) -> Decision {
    let charged = group.charge(stale);
    group.controller.served(charged);
    if let Some(audit) = group.audits.draw(Some(stale), rng.unit()) {
        return Decision::Audit(audit);
    }
    record.cached.served_stale += charged as f32;
    Decision::Serve
}

mod group;
mod lives;
mod other;
mod passive;
mod subjects;
#[cfg(test)]
mod tests;
