//! The guard: a small classical cache beside the learned one, on a share of the keys, that tells when it would do better: LRU, or GDSF
//! where a hit gains more on some entries than on others for their weight.
//!
//! It holds keys chosen by hash, and as many of them as the cache would hold of the same keys (a miniature simulation: Waldspurger
//! et al., ATC 2017). Each access to such a key is a trial for both, and counts by what a hit gains.
//! Where only one of the two hit, the trial tells them apart; if the cache has lost too many of these (McNemar's test, at five standard
//! deviations, since it is looked at after each trial) and its misses are more than 1 % above the other's, it ranks classically for a
//! while, then tries again. Each time it fails, the while doubles; where it fails grossly, it grows eightfold; once the model leads by
//! as much and as surely, it is forgiven. A model whose scores are not finite steps back at once.
//! A guard that cannot judge, as keys chosen to collide never half fill its cache, does not let the model rank either.

use std::time::Duration;

use crate::eviction::{GdsfShard, LruShard};
use crate::{Access, Capacity, Evicted, Inserted, KeyHash, Plan, Refusal, Reuse, Time, Verdict, Weigh, Work};

/// How residents are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// By the model.
    #[default]
    Learned,
    /// By the time since their last use, as LRU.
    Lru,
    /// By their uses of late, times what a hit gains for their weight: near GDSF.
    Frequency,
}

/// What the guard has seen since its last change of mind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// How residents are ranked now.
    pub rule: Rule,
    /// Accesses to sampled keys, each counted by what a hit gains beside the mean; fading with a half-life of some turnovers.
    pub trials: f64,
    /// Those the cache missed.
    pub misses: f64,
    /// Those the small classical cache missed.
    pub classic_misses: f64,
    /// How often the model had to step back.
    pub retreats: u32,
}

/// Objects the small cache holds, at least, if the cache holds as many.
const OBJECTS: f32 = 512.0;
/// Turnovers of the small cache until a trial counts half; of a cache smaller than that, so many trials as if it were not, as fewer
/// would never make sure of one or two losses in a hundred.
const HALF_LIFE: f64 = 16.0;
/// Turnovers of the first retreat.
const RETREAT: u64 = 2;
/// Standard deviations, and the share of the classical misses, that the cache may be worse.
const SURE: f64 = 5.0;
const MARGIN: f64 = 0.01;
/// Trials lost for each one won, above which the failure is gross.
const GROSS: f64 = 2.0;
/// Doublings of the while that a gross failure counts for.
const GROSS_DOUBLINGS: u32 = 3;
/// Caches of misses in which an honest sample of the keys fills the small cache, or nearly, where there are hardly more keys than the cache holds.
const BLIND: f32 = 2.0;
/// A cache is another one when it holds so many times as many objects.
const OTHER: f32 = 4.0;

pub(crate) struct Guard {
    shadow: Shadow,
    /// A key is sampled if these bits of its hash are 0.
    mask: u32,
    standing: Standing,
    /// Trials that only the cache lost, or only the other, and the squares of what they count, fading alike.
    lost: f64,
    won: f64,
    squares: f64,
    /// What hits gained in all trials, and how many these were, fading alike: their mean is what a trial is measured by.
    gained: (f64, f64),
    fade: f64,
    objects: u64,
    /// Trials left until the model is tried again.
    away: u64,
    /// How often the while has doubled.
    doubled: u32,
    evicted: Vec<Evicted<()>>,
    full: bool,
    /// Misses of the cache until the small one should be full.
    patience: u64,
    /// The cache's objects and limit it was made for.
    made_for: (f32, u64),
    /// Room for what left the small cache by itself.
    work: Work<()>,
}

/// An access of the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) hash: u32,
    pub(crate) weight: u32,
    /// What a hit gains.
    pub(crate) gain: f32,
    pub(crate) at: Time,
}

/// The small cache.
enum Shadow {
    Lru(LruShard),
    Gdsf(GdsfShard),
}

macro_rules! shadow {
    ($shadow:expr, $shard:ident => $what:expr) => {
        match $shadow {
            Shadow::Lru($shard) => $what,
            Shadow::Gdsf($shard) => $what,
        }
    };
}

impl Guard {
    /// Beside a cache of about `objects` and of `limit` units of weight, in which each hit gains as much for its weight, or does not.
    pub(crate) fn new(objects: f32, limit: u64, is_even: bool) -> Self {
        let (made_for, patience) = ((objects, limit), (BLIND * objects.max(8.0)) as u64);
        let share = (objects / OBJECTS).max(1.0).log2().floor().exp2();
        let objects = (objects / share).max(1.0);
        // In units of weight; the small cache's own objects weigh what they weigh in the cache.
        let capacity = Capacity { limit: ((limit as f64 / f64::from(share)) as u64).max(1), weigh: Weigh::Bytes };
        Self {
            shadow: if is_even {
                Shadow::Lru(LruShard::lru(capacity))
            } else {
                Shadow::Gdsf(GdsfShard::gdsf(capacity))
            },
            mask: share as u32 - 1,
            standing: Standing::default(),
            lost: 0.0,
            won: 0.0,
            squares: 0.0,
            gained: (0.0, 0.0),
            fade: 0.5f64.powf(1.0 / (HALF_LIFE * f64::from(objects.max(OBJECTS)))),
            objects: objects as u64,
            away: 0,
            doubled: 0,
            evicted: Vec::new(),
            full: false,
            patience,
            made_for,
            work: Work::default(),
        }
    }

    /// Another in its place, for what the cache has become.
    pub(crate) fn anew(&self, objects: f32, limit: u64, is_even: bool) -> Self {
        let retreats = self.standing.retreats;
        let guard = Self::new(objects, limit, is_even);
        Self { standing: Standing { retreats, ..guard.standing }, ..guard }
    }

    /// Whether each hit is taken to gain as much for its weight.
    pub(crate) fn is_even(&self) -> bool {
        matches!(self.shadow, Shadow::Lru(_))
    }

    /// Whether a cache of about `objects` and of `limit` is much like the one it was made for: of fewer objects its own would be too few, of
    /// more too many.
    pub(crate) fn is_made_for(&self, objects: f32, limit: u64) -> bool {
        let (its_objects, its_limit) = self.made_for;
        let is_near = objects <= OTHER * its_objects && its_objects <= OTHER * objects;
        is_near && limit / 2 <= its_limit && its_limit / 2 <= limit
    }

    /// The cache's limit is another one, though not much.
    pub(crate) fn resize(&mut self, limit: u64) {
        let share = u64::from(self.mask) + 1;
        let limit = (limit / share).max(1);
        shadow!(&mut self.shadow, shard => if shard.capacity().limit != limit { shard.resize(limit, &mut self.evicted) });
        self.evicted.clear();
    }

    #[inline]
    pub(crate) fn rule(&self) -> Rule {
        self.standing.rule
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// The rule that ranks while the model does not.
    fn classic(&self) -> Rule {
        match self.shadow {
            Shadow::Lru(_) => Rule::Lru,
            Shadow::Gdsf(_) => Rule::Frequency,
        }
    }

    /// The cache hit.
    #[inline]
    pub(crate) fn hit(&mut self, seen: Seen) {
        if self.samples(seen.hash) {
            self.trial(seen, None, false);
        }
    }

    /// The cache missed; what comes will live for `ttl`.
    #[inline]
    pub(crate) fn miss(&mut self, seen: Seen, ttl: Option<Duration>) {
        if !self.full {
            self.wait();
        }
        if self.samples(seen.hash) {
            self.trial(seen, ttl, true);
        }
    }

    #[inline]
    fn samples(&self, hash: u32) -> bool {
        hash & self.mask == 0
    }

    /// One more miss of the cache while the small one cannot tell anything.
    fn wait(&mut self) {
        self.patience = self.patience.saturating_sub(1);
        if self.patience == 0 && self.away == 0 {
            // A sample that hardly fits tells nothing against the model: beside as many keys as just do not fit, LRU is the worst there is.
            let hardly_fits = shadow!(&self.shadow, shard => shard.used() > shard.capacity().limit / 2);
            self.standing.rule = if hardly_fits { Rule::Learned } else { self.classic() };
        }
    }

    /// A key was removed, or its time had passed: for the small cache too.
    pub(crate) fn remove(&mut self, hash: u32) {
        if self.samples(hash) {
            shadow!(&mut self.shadow, shard => shard.remove(key(hash)));
        }
    }

    /// A resident of the cache lives until then: in the small cache too.
    pub(crate) fn renew(&mut self, hash: u32, expiry: Time) {
        if self.samples(hash) {
            shadow!(&mut self.shadow, shard => shard.expire_at(key(hash), expiry));
        }
    }

    /// A resident of the cache weighs something else: in the small cache too.
    pub(crate) fn reweigh(&mut self, seen: Seen) {
        if self.samples(seen.hash) {
            let access = seen.access();
            shadow!(&mut self.shadow, shard => shard.reweigh(&access, &mut self.evicted));
            self.evicted.clear();
        }
    }

    #[inline(never)]
    fn trial(&mut self, seen: Seen, ttl: Option<Duration>, missed: bool) {
        let (access, gain) = (seen.access(), seen.gain);
        let other_missed = shadow!(&mut self.shadow, shard => !shard.lookup(&access).is_hit());
        if other_missed {
            let plan = Plan { verdict: Verdict::Store, ttl, reuse: Reuse::UNKNOWN };
            let inserted = shadow!(&mut self.shadow, shard => {
                // What has ended makes room, as it does in the cache.
                shard.tick(seen.at, &mut self.work);
                shard.insert(&access, (), &plan, &mut self.evicted)
            });
            self.work.expired.clear();
            // Before it has had to choose, it has not been full, and knows less than the cache.
            let chose = !self.evicted.is_empty() || matches!(inserted, Inserted::Refused((), Refusal::Outranked));
            if !self.full && chose {
                self.full = true;
                self.standing.rule = Rule::Learned;
            }
            self.evicted.clear();
        }
        if !self.full {
            return;
        }
        let counts = self.measure(gain);
        let Self { standing, fade, .. } = self;
        for count in [
            &mut standing.trials,
            &mut standing.misses,
            &mut standing.classic_misses,
            &mut self.lost,
            &mut self.won,
            &mut self.squares,
        ] {
            *count *= *fade;
        }
        standing.trials += counts;
        let if_so = |so: bool| if so { counts } else { 0.0 };
        standing.misses += if_so(missed);
        standing.classic_misses += if_so(other_missed);
        self.lost += if_so(missed && !other_missed);
        self.won += if_so(!missed && other_missed);
        self.squares += counts * if_so(missed != other_missed);
        match standing.rule {
            Rule::Learned => {
                let behind = self.lost - self.won;
                let sure = behind.abs() > SURE * self.squares.sqrt();
                if sure && behind > MARGIN * standing.classic_misses {
                    self.retreat();
                } else if sure && -behind > MARGIN * standing.classic_misses {
                    self.doubled = 0;
                }
            }
            Rule::Lru | Rule::Frequency => {
                self.away = self.away.saturating_sub(1);
                if self.away == 0 {
                    self.change(Rule::Learned);
                }
            }
        }
    }

    /// What a trial counts: its gain over the mean of all.
    fn measure(&mut self, gain: f32) -> f64 {
        let (gain, (sum, trials)) = (f64::from(gain), &mut self.gained);
        (*sum, *trials) = (*sum * self.fade + gain, *trials * self.fade + 1.0);
        gain * *trials / *sum
    }

    /// The model ranks no more, for a while.
    pub(crate) fn retreat(&mut self) {
        self.away = (RETREAT * self.objects) << self.doubled.min(12);
        self.doubled += if self.lost > GROSS * self.won { GROSS_DOUBLINGS } else { 1 };
        self.change(self.classic());
        self.standing.retreats += 1;
    }

    fn change(&mut self, rule: Rule) {
        self.standing = Standing { rule, retreats: self.standing.retreats, ..Standing::default() };
        (self.lost, self.won, self.squares) = (0.0, 0.0, 0.0);
    }

    pub(crate) fn bytes(&self) -> usize {
        shadow!(&self.shadow, shard => shard.metadata_bytes())
    }

    pub(crate) fn validate(&self) {
        shadow!(&self.shadow, shard => shard.validate());
        assert!(self.lost >= 0.0 && self.won >= 0.0 && self.standing.misses <= self.standing.trials + 1e-6);
    }
}

impl Seen {
    fn access(&self) -> Access {
        let cost = self.gain.round().max(1.0) as u32;
        Access { size: self.weight, cost, ..Access::get(key(self.hash), self.at) }
    }
}

/// A key of the small cache.
fn key(hash: u32) -> KeyHash {
    KeyHash::mix(u64::from(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    impl Guard {
        fn note(&mut self, hash: u32, weight: u32, gain: f32, missed: bool) {
            let seen = Seen { hash, weight, gain, at: Time(0) };
            if missed { self.miss(seen, None) } else { self.hit(seen) }
        }
    }

    /// Zipf-like keys, all small numbers.
    fn any(rng: &mut Rng) -> u32 {
        (500.0 * rng.unit().powi(3)) as u32 * 0x10_001
    }

    #[test]
    fn a_cache_that_is_lru_keeps_its_model() {
        let mut guard = Guard::new(100.0, 100, true);
        let mut cache = LruShard::lru(Capacity::objects(100));
        let (mut rng, mut out) = (Rng::new(3), Vec::new());
        for _ in 0..50_000 {
            let hash = any(&mut rng);
            let access = Access::get(KeyHash::mix(u64::from(hash)), Time(0));
            let missed = !cache.lookup(&access).is_hit();
            if missed {
                let plan = Plan { verdict: Verdict::Store, ttl: None, reuse: Reuse::UNKNOWN };
                cache.insert(&access, (), &plan, &mut out);
            }
            guard.note(hash, 1, 1.0, missed);
        }
        let standing = guard.standing();
        assert_eq!((standing.rule, standing.retreats), (Rule::Learned, 0));
        assert!(standing.trials > 1000.0 && standing.misses == standing.classic_misses, "{standing:?}");
        guard.validate();
    }

    #[test]
    fn a_cache_that_misses_more_steps_back_ever_longer_and_tries_again() {
        let mut guard = Guard::new(100.0, 100, true);
        let mut rng = Rng::new(3);
        let mut retreats = Vec::new();
        for step in 0..200_000 {
            let before = guard.standing().retreats;
            guard.note(any(&mut rng), 1, 1.0, rng.below(4) > 0);
            if guard.standing().retreats > before {
                retreats.push(step);
            }
        }
        let pauses: Vec<_> = retreats.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.len() >= 4 && pauses.windows(2).all(|pair| pair[1] > pair[0]), "{pauses:?}");
    }

    #[test]
    fn a_guard_that_cannot_judge_does_not_let_the_model_rank() {
        // All keys one, or none of them sampled.
        for (objects, hash) in [(100.0, 0), (100_000.0, 1)] {
            let mut guard = Guard::new(objects, objects as u64, true);
            (0..objects as u32 / 2 * 3).for_each(|_| guard.note(hash, 1, 1.0, true));
            assert_eq!(guard.rule(), Rule::Learned);
            (0..objects as u32).for_each(|_| guard.note(hash, 1, 1.0, true));
            assert_eq!((guard.rule(), guard.standing().retreats), (Rule::Lru, 0));
        }
    }

    /// Of a loop that is hardly longer, the sample may be shorter than the small LRU.
    #[test]
    fn a_guard_beside_hardly_more_keys_than_fit_lets_the_model_rank() {
        let mut guard = Guard::new(10_000.0, 10_000, true);
        let keys = |share: u32| (0..10_200u32).map(move |key| key << 4 | u32::from(key % 17 > share));
        for _ in 0..200 {
            // Of 625 that fit 600.
            keys(0).for_each(|key| guard.note(key, 1, 1.0, key % 40 == 0));
        }
        assert!(
            shadow!(&guard.shadow, shard => shard.len()) < 625 && guard.patience == 0,
            "{} are sampled",
            shadow!(&guard.shadow, shard => shard.len())
        );
        assert_eq!((guard.rule(), guard.standing().retreats), (Rule::Learned, 0));
    }

    /// A cache that holds what is dear and nothing else.
    #[test]
    fn a_trial_counts_by_what_a_hit_gains() {
        let retreats = |dear: f32| {
            let mut guard = Guard::new(100.0, 100, false);
            let mut rng = Rng::new(3);
            for _ in 0..50_000 {
                let hash = any(&mut rng);
                let is_dear = (hash / 0x10_001).is_multiple_of(3);
                guard.note(hash, 1, if is_dear { dear } else { 1.0 }, !is_dear);
            }
            guard.validate();
            guard.standing().retreats
        };
        // Where all gain alike it is far behind what GDSF hits.
        assert!(retreats(1.0) > 0);
        assert_eq!(retreats(100.0), 0);
    }

    #[test]
    fn where_gains_differ_the_other_rule_is_by_frequency() {
        let mut guard = Guard::new(100.0, 100, false);
        let mut rng = Rng::new(3);
        let rules: Vec<Rule> = (0..50_000)
            .map(|_| {
                guard.note(any(&mut rng), 1, 1.0, rng.below(4) > 0);
                guard.rule()
            })
            .collect();
        assert!(rules.contains(&Rule::Frequency) && !rules.contains(&Rule::Lru));
    }

    #[test]
    fn gross_failures_keep_the_model_away_for_longer() {
        let retreats = |won: u32| {
            let mut guard = Guard::new(100.0, 100, true);
            let mut rng = Rng::new(3);
            let steps = (0..200_000u32).filter(|&step| {
                let before = guard.standing().retreats;
                match rng.below(100) {
                    0..30 => guard.note(step % 20, 1, 1.0, true),
                    roll if roll < 30 + won => guard.note(step + 20, 1, 1.0, false),
                    _ => guard.note(step % 20, 1, 1.0, false),
                }
                guard.standing().retreats > before
            });
            steps.take(3).map(i64::from).collect::<Vec<_>>()
        };
        // The first retreat lasts 200 trials, the second 1600 or 400.
        let growth = |at: Vec<i64>| (at[2] - at[1]) - (at[1] - at[0]);
        let (gross, slight) = (growth(retreats(5)), growth(retreats(20)));
        assert!(gross > 1000 && slight < 1000, "{gross} {slight}");
    }

    #[test]
    fn what_ends_in_the_cache_ends_in_the_small_one() {
        let mut guard = Guard::new(100.0, 100, true);
        let seen = |hash, at| Seen { hash, weight: 1, gain: 1.0, at: Time(at) };
        let ttl = Some(Duration::from_micros(1000));
        (0..150).for_each(|hash| guard.miss(seen(hash, 0), None));
        for round in 1..2000 {
            // Refused each time, read again once it would have ended, and renewed until then.
            guard.miss(seen(200, round * 2000), ttl);
            guard.miss(seen(201, round * 2000), ttl);
            guard.renew(201, Time(round * 2000 + 1500));
            guard.hit(seen(201, round * 2000 + 1200));
        }
        let standing = guard.standing();
        assert_eq!((standing.rule, standing.retreats), (Rule::Learned, 0));
        assert!(standing.misses == standing.classic_misses && guard.won == 0.0, "{standing:?}");
        guard.validate();
    }

    #[test]
    fn what_grows_in_the_cache_grows_in_the_small_one() {
        let mut guard = Guard::new(100.0, 1000, true);
        let seen = |hash, weight| Seen { hash, weight, gain: 1.0, at: Time(0) };
        (0..100).for_each(|hash| guard.miss(seen(hash, 10), None));
        let held = |guard: &Guard| shadow!(&guard.shadow, shard => (shard.len(), shard.used()));
        assert_eq!(held(&guard), (100, 1000));
        (90..100).for_each(|hash| guard.reweigh(seen(hash, 50)));
        assert_eq!(held(&guard), (60, 1000));
        guard.reweigh(seen(99, 2000));
        guard.reweigh(seen(1000, 7));
        assert_eq!(held(&guard), (59, 950));
        guard.validate();
    }

    #[test]
    fn a_large_cache_is_sampled() {
        let mut guard = Guard::new(100_000.0, 100_000, true);
        (0..1_000_000u32).for_each(|key| guard.note(KeyHash::mix(u64::from(key)).0 as u32, 1, 1.0, true));
        assert!(guard.bytes() < 100_000, "{}", guard.bytes());
        assert!(guard.standing().trials > 1000.0);
        guard.validate();
    }
}
