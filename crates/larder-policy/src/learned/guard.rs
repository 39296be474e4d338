//! The guard: a small LRU beside the cache, on a share of the keys, that tells when LRU would do better.
//!
//! It holds keys chosen by hash, and as many of them as the cache would hold of the same keys (a miniature simulation: Waldspurger
//! et al., ATC 2017). Each access to such a key is a trial for both. Where only one of the two hit, the trial tells them apart; if
//! the cache has lost too many of these (McNemar's test, at five standard deviations, since it is looked at after each trial) and its misses are more than 1 % above
//! LRU's, it ranks by age for a while, then tries again. Each time it fails, the while doubles; where it fails grossly, it grows eightfold; once the
//! model leads by as much and as surely, it is forgiven. A model whose scores are not finite steps back at once.
//! A guard that cannot judge, as keys chosen to collide never half fill its LRU, does not let the model rank either.

use std::time::Duration;

use crate::eviction::LruShard;
use crate::{Access, Capacity, KeyHash, Plan, Reuse, Time, Verdict, Weigh};

/// How residents are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// By the model.
    #[default]
    Learned,
    /// By the time since their last use, as LRU.
    Lru,
}

/// What the guard has seen since its last change of mind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// How residents are ranked now.
    pub rule: Rule,
    /// Accesses to sampled keys, fading with a half-life of some turnovers.
    pub trials: f64,
    /// Those the cache missed.
    pub misses: f64,
    /// Those the small LRU missed.
    pub lru_misses: f64,
    /// How often the model had to step back.
    pub retreats: u32,
}

/// Objects the small LRU holds, at least, if the cache holds as many.
const OBJECTS: f32 = 512.0;
/// Turnovers of the small LRU until a trial counts half; of a cache smaller than that, so many trials as if it were not, as fewer
/// would never make sure of one or two losses in a hundred.
const HALF_LIFE: f64 = 16.0;
/// Turnovers of the first retreat.
const RETREAT: u64 = 2;
/// Standard deviations, and the share of LRU's misses, that the cache may be worse.
const SURE: f64 = 5.0;
const MARGIN: f64 = 0.01;
/// Trials lost for each one won, above which the failure is gross.
const GROSS: f64 = 2.0;
/// Doublings of the while that a gross failure counts for.
const GROSS_DOUBLINGS: u32 = 3;
/// Caches of misses in which an honest sample of the keys fills the small LRU, or nearly, where there are hardly more keys than the cache holds.
const BLIND: f32 = 2.0;

pub(crate) struct Guard {
    shadow: LruShard,
    /// A key is sampled if these bits of its hash are 0.
    mask: u32,
    standing: Standing,
    /// Trials that only the cache lost, or only LRU, fading alike.
    lost: f64,
    won: f64,
    fade: f64,
    objects: u64,
    /// Trials left until the model is tried again.
    away: u64,
    /// How often the while has doubled.
    doubled: u32,
    evicted: Vec<crate::Evicted<()>>,
    full: bool,
    /// Misses of the cache until the small LRU should be full.
    patience: u64,
    /// The cache's limit it was made for.
    made_for: u64,
}

impl Guard {
    /// Beside a cache of about `objects` and of `limit` units of weight.
    pub(crate) fn new(objects: f32, limit: u64) -> Self {
        let patience = (BLIND * objects.max(8.0)) as u64;
        let share = (objects / OBJECTS).max(1.0).log2().floor().exp2();
        let objects = (objects / share).max(1.0);
        // In units of weight; the small LRU's own objects weigh what they weigh in the cache.
        let capacity = Capacity { limit: ((limit as f64 / f64::from(share)) as u64).max(1), weigh: Weigh::Bytes };
        Self {
            shadow: LruShard::lru(capacity),
            mask: share as u32 - 1,
            standing: Standing::default(),
            lost: 0.0,
            won: 0.0,
            fade: 0.5f64.powf(1.0 / (HALF_LIFE * f64::from(objects.max(OBJECTS)))),
            objects: objects as u64,
            away: 0,
            doubled: 0,
            evicted: Vec::new(),
            full: false,
            patience,
            made_for: limit,
        }
    }

    /// Whether a cache of `limit` is about as large as the one it was made for.
    pub(crate) fn is_made_for(&self, limit: u64) -> bool {
        limit / 2 <= self.made_for && self.made_for / 2 <= limit
    }

    /// The cache's limit is another one, though not much.
    pub(crate) fn resize(&mut self, limit: u64) {
        let share = u64::from(self.mask) + 1;
        self.shadow.resize((limit / share).max(1), &mut self.evicted);
        self.evicted.clear();
    }

    #[inline]
    pub(crate) fn rule(&self) -> Rule {
        self.standing.rule
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// Notes an access of the cache.
    #[inline]
    pub(crate) fn note(&mut self, hash: u32, weight: u32, missed: bool) {
        if missed && !self.full {
            self.wait();
        }
        if hash & self.mask == 0 {
            self.trial(hash, weight, missed);
        }
    }

    /// One more miss of the cache while the small LRU cannot tell anything.
    fn wait(&mut self) {
        self.patience = self.patience.saturating_sub(1);
        if self.patience == 0 && self.away == 0 {
            // A sample that hardly fits tells nothing against the model: beside as many keys as just do not fit, LRU is the worst there is.
            let hardly_fits = self.shadow.used() > self.shadow.capacity().limit / 2;
            self.standing.rule = if hardly_fits { Rule::Learned } else { Rule::Lru };
        }
    }

    /// A key was removed, or its time had passed: for the small LRU too.
    pub(crate) fn remove(&mut self, hash: u32) {
        if hash & self.mask == 0 {
            self.shadow.remove(KeyHash::mix(u64::from(hash)));
        }
    }

    #[inline(never)]
    fn trial(&mut self, hash: u32, weight: u32, missed: bool) {
        let access = Access { size: weight, ..Access::get(KeyHash::mix(u64::from(hash)), Time(0)) };
        let lru_missed = !self.shadow.lookup(&access).is_hit();
        if lru_missed {
            let plan = Plan { verdict: Verdict::Store, ttl: None::<Duration>, reuse: Reuse::UNKNOWN };
            self.shadow.insert(&access, (), &plan, &mut self.evicted);
            // Before it has evicted, it has not been full, and knows less than the cache.
            if !self.full && !self.evicted.is_empty() {
                self.full = true;
                self.standing.rule = Rule::Learned;
            }
            self.evicted.clear();
        }
        if !self.full {
            return;
        }
        let Self { standing, fade, .. } = self;
        for count in
            [&mut standing.trials, &mut standing.misses, &mut standing.lru_misses, &mut self.lost, &mut self.won]
        {
            *count *= *fade;
        }
        standing.trials += 1.0;
        standing.misses += f64::from(u8::from(missed));
        standing.lru_misses += f64::from(u8::from(lru_missed));
        self.lost += f64::from(u8::from(missed && !lru_missed));
        self.won += f64::from(u8::from(!missed && lru_missed));
        match standing.rule {
            Rule::Learned => {
                let behind = self.lost - self.won;
                let sure = behind.abs() > SURE * (self.lost + self.won).sqrt();
                if sure && behind > MARGIN * standing.lru_misses {
                    self.retreat();
                } else if sure && -behind > MARGIN * standing.lru_misses {
                    self.doubled = 0;
                }
            }
            Rule::Lru => {
                self.away = self.away.saturating_sub(1);
                if self.away == 0 {
                    self.change(Rule::Learned);
                }
            }
        }
    }

    /// The model ranks no more, for a while.
    pub(crate) fn retreat(&mut self) {
        self.away = (RETREAT * self.objects) << self.doubled.min(12);
        self.doubled += if self.lost > GROSS * self.won { GROSS_DOUBLINGS } else { 1 };
        self.change(Rule::Lru);
        self.standing.retreats += 1;
    }

    fn change(&mut self, rule: Rule) {
        self.standing = Standing { rule, retreats: self.standing.retreats, ..Standing::default() };
        (self.lost, self.won) = (0.0, 0.0);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.shadow.metadata_bytes()
    }

    pub(crate) fn validate(&self) {
        self.shadow.validate();
        assert!(self.lost >= 0.0 && self.won >= 0.0 && self.standing.misses <= self.standing.trials + 1e-6);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    /// Zipf-like keys, all small numbers.
    fn key(rng: &mut Rng) -> u32 {
        (500.0 * rng.unit().powi(3)) as u32 * 0x10_001
    }

    #[test]
    fn a_cache_that_is_lru_keeps_its_model() {
        let mut guard = Guard::new(100.0, 100);
        let mut cache = LruShard::lru(Capacity::objects(100));
        let (mut rng, mut out) = (Rng::new(3), Vec::new());
        for _ in 0..50_000 {
            let hash = key(&mut rng);
            let access = Access::get(KeyHash::mix(u64::from(hash)), Time(0));
            let missed = !cache.lookup(&access).is_hit();
            if missed {
                let plan = Plan { verdict: Verdict::Store, ttl: None, reuse: Reuse::UNKNOWN };
                cache.insert(&access, (), &plan, &mut out);
            }
            guard.note(hash, 1, missed);
        }
        let standing = guard.standing();
        assert_eq!((standing.rule, standing.retreats), (Rule::Learned, 0));
        assert!(standing.trials > 1000.0 && standing.misses == standing.lru_misses, "{standing:?}");
        guard.validate();
    }

    #[test]
    fn a_cache_that_misses_more_steps_back_ever_longer_and_tries_again() {
        let mut guard = Guard::new(100.0, 100);
        let mut rng = Rng::new(3);
        let mut retreats = Vec::new();
        for step in 0..200_000 {
            let before = guard.standing().retreats;
            guard.note(key(&mut rng), 1, rng.below(4) > 0);
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
            let mut guard = Guard::new(objects, objects as u64);
            (0..objects as u32 / 2 * 3).for_each(|_| guard.note(hash, 1, true));
            assert_eq!(guard.rule(), Rule::Learned);
            (0..objects as u32).for_each(|_| guard.note(hash, 1, true));
            assert_eq!((guard.rule(), guard.standing().retreats), (Rule::Lru, 0));
        }
    }

    /// Of a loop that is hardly longer, the sample may be shorter than the small LRU.
    #[test]
    fn a_guard_beside_hardly_more_keys_than_fit_lets_the_model_rank() {
        let mut guard = Guard::new(10_000.0, 10_000);
        let keys = |share: u32| (0..10_200u32).map(move |key| key << 4 | u32::from(key % 17 > share));
        for _ in 0..200 {
            // Of 625 that fit 600.
            keys(0).for_each(|key| guard.note(key, 1, key % 40 == 0));
        }
        assert!(guard.shadow.len() < 625 && guard.patience == 0, "{} are sampled", guard.shadow.len());
        assert_eq!((guard.rule(), guard.standing().retreats), (Rule::Learned, 0));
    }

    #[test]
    fn gross_failures_keep_the_model_away_for_longer() {
        let retreats = |won: u32| {
            let mut guard = Guard::new(100.0, 100);
            let mut rng = Rng::new(3);
            let steps = (0..200_000u32).filter(|&step| {
                let before = guard.standing().retreats;
                match rng.below(100) {
                    0..30 => guard.note(step % 20, 1, true),
                    roll if roll < 30 + won => guard.note(step + 20, 1, false),
                    _ => guard.note(step % 20, 1, false),
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
    fn a_large_cache_is_sampled() {
        let mut guard = Guard::new(100_000.0, 100_000);
        (0..1_000_000u32).for_each(|key| guard.note(KeyHash::mix(u64::from(key)).0 as u32, 1, true));
        assert!(guard.bytes() < 100_000, "{}", guard.bytes());
        assert!(guard.standing().trials > 1000.0);
        guard.validate();
    }
}
