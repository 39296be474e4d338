//! What instances of a service tell each other of classes of keys, as bytes: how often keys of a class change, and how often they are read.
//!
//! The bytes, all little-endian: the magic `LARDERC1`; the hash of the prefixes that have objectives of their own, 8, for a class's
//! name holds which of them it falls under; the number of classes, 4; all keys together and then each class, in the order of their names,
//! 28 bytes each: the name, 8 (0 for all together), mean and variance of ln λ, the observations behind them, the mean logarithm of
//! first gaps between reads, and their number, f32 each; last a CRC-32C of all before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::class::{Class, MOST_CLASSES};
use super::objective::Freshness;
use super::prior::{MEMORY, Prior};
use super::steering::Steering;
use crate::artefact::{Reader, bad, crc32c};
use crate::{Error, KeyHash};

const MAGIC: &[u8; 8] = b"LARDERC1";
/// Observations that what others know counts as, at most, so that one's own soon outweigh it.
const TRUST: f64 = 50.0;
/// Who has made so many observations needs nobody else's.
const ENOUGH: f64 = 10.0;
/// Logarithms of rates a second and of seconds, and variances of them, lie within: a nanosecond to longer than the world is old.
const LOG: f32 = 45.0;
const VARIANCE: f32 = 400.0;

/// What is known of one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Known {
    name: u64,
    mean: f32,
    variance: f32,
    seen: f32,
    log_gap: f32,
    gaps: f32,
}

impl Known {
    /// Whether it is of use to somebody who knows `own`.
    pub(super) fn informs(&self, own: Prior) -> bool {
        own.moments().2 < ENOUGH.min(f64::from(self.seen))
    }

    pub(super) fn prior(&self) -> Prior {
        Prior::of(self.mean.into(), self.variance.into(), f64::from(self.seen).min(TRUST))
    }

    /// The mean logarithm of first gaps, and their number.
    pub(super) fn gap(&self) -> (f64, f64) {
        (self.log_gap.into(), f64::from(self.gaps).min(TRUST))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let at = reader.at;
        let name = u64::from_le_bytes(reader.array()?);
        let mut number = || reader.array().map(f32::from_le_bytes);
        let known =
            Self { name, mean: number()?, variance: number()?, seen: number()?, log_gap: number()?, gaps: number()? };
        let Self { mean, variance, seen, log_gap, gaps, .. } = known;
        let is_sound = mean.abs() <= LOG
            && log_gap.abs() <= LOG
            && (0.0..=VARIANCE).contains(&variance)
            && [seen, gaps].iter().all(|count| (0.0..=MEMORY as f32).contains(count));
        if !is_sound {
            return Err(bad(format!("byte {at}: a class holds what no class may hold: {known:?}")));
        }
        Ok(known)
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let Self { name, mean, variance, seen, log_gap, gaps } = self;
        bytes.extend(name.to_le_bytes());
        [mean, variance, seen, log_gap, gaps].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    }
}

/// What is known of classes of keys.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassPriors {
    made_for: u64,
    all: Known,
    /// In the order of their names.
    classes: Vec<Known>,
}

impl ClassPriors {
    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// It is something else, cut short or damaged, was made for other prefixes than `freshness` has, or holds what no class may hold. The
    /// message says which, and at which byte.
    pub fn from_bytes(bytes: &[u8], freshness: &Freshness) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        if reader.take(8)? != MAGIC {
            return Err(bad("byte 0: no classes, whose first bytes are LARDERC1".into()));
        }
        let made_for = u64::from_le_bytes(reader.array()?);
        let count = u32::from_le_bytes(reader.array()?) as usize;
        if count > MOST_CLASSES {
            return Err(bad(format!("byte 16: {count} classes, but there are never more than {MOST_CLASSES}")));
        }
        let all = Known::read(&mut reader)?;
        let classes = (0..count).map(|_| Known::read(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        reader.checksum()?;
        if made_for != prefixes(freshness) {
            return Err(bad(
                "byte 8: made for other prefixes with objectives of their own: give every instance the same".into(),
            ));
        }
        if classes.windows(2).any(|pair| pair[0].name >= pair[1].name) {
            return Err(bad("the classes are not in the order of their names".into()));
        }
        Ok(Self { made_for, all, classes })
    }

    /// The bytes that [`from_bytes`](Self::from_bytes) reads: 52, and 28 a class.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.made_for.to_le_bytes());
        bytes.extend((self.classes.len() as u32).to_le_bytes());
        std::iter::once(&self.all).chain(&self.classes).for_each(|known| known.write(&mut bytes));
        bytes.extend(crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// How many classes it knows.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether it knows no class.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    pub(super) fn of(&self, name: u64) -> Option<&Known> {
        self.classes.binary_search_by_key(&name, |known| known.name).ok().map(|at| &self.classes[at])
    }

    pub(super) fn all(&self) -> Prior {
        self.all.prior()
    }
}

/// Adds up what several engines know.
#[derive(Clone, Debug, Default)]
pub struct ClassPool {
    made_for: u64,
    all: Sum,
    classes: BTreeMap<u64, Sum>,
}

impl ClassPool {
    /// What they know together; `None` if that is nothing.
    pub fn priors(&self) -> Option<ClassPriors> {
        let mut classes: Vec<Known> = self.classes.iter().filter_map(|(&name, sum)| sum.known(name)).collect();
        if classes.len() > MOST_CLASSES {
            classes.sort_by(|one, other| other.seen.total_cmp(&one.seen));
            classes.truncate(MOST_CLASSES);
            classes.sort_by_key(|known| known.name);
        }
        Some(ClassPriors { made_for: self.made_for, all: self.all.known(0)?, classes })
    }
}

/// Moments, each weighted by the observations behind it.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    seen: f64,
    mean: f64,
    square: f64,
    gaps: f64,
    log_gap: f64,
}

impl Sum {
    fn add(&mut self, prior: Prior, log_gap: f64, gaps: f64) {
        let (mean, variance, seen) = prior.moments();
        self.seen += seen;
        self.mean += seen * mean;
        self.square += seen * (variance + mean * mean);
        self.gaps += gaps;
        self.log_gap += gaps * log_gap;
    }

    /// The moments of the mixture, if there is anything to tell and it is within what may be told.
    fn known(&self, name: u64) -> Option<Known> {
        let mean = self.mean / self.seen;
        let variance = (self.square / self.seen - mean * mean).max(0.0);
        let log_gap = if self.gaps > 0.0 { self.log_gap / self.gaps } else { 0.0 };
        let is_sound = self.seen >= 1.0 && (mean + variance + log_gap).is_finite();
        let log = |number: f64| (number as f32).clamp(-LOG, LOG);
        is_sound.then(|| Known {
            name,
            mean: log(mean),
            variance: (variance as f32).min(VARIANCE),
            seen: self.seen.min(MEMORY) as f32,
            log_gap: log(log_gap),
            gaps: self.gaps.min(MEMORY) as f32,
        })
    }
}

/// A hash of the prefixes with objectives of their own, in their order.
fn prefixes(freshness: &Freshness) -> u64 {
    let bytes = freshness.prefixes.iter().flat_map(|(prefix, _)| prefix.bytes().chain([0]));
    bytes.fold(0, |hash, byte| KeyHash::mix(hash ^ u64::from(byte).wrapping_add(0x100)).0)
}

impl super::Engine {
    /// Adds what is known of classes to what others know. How they change is added by what this engine is steered by, if it is.
    pub fn pool(&self, pool: &mut ClassPool) {
        pool.made_for = prefixes(&self.groups[0].freshness);
        let own = |prior: Prior| if self.untold.is_none() { prior } else { Prior::default() };
        pool.all.add(own(self.prior), 0.0, 0.0);
        for Class { name, rates, log_gap, gaps, .. } in &self.classes.all {
            pool.classes.entry(*name).or_default().add(own(rates.prior), *log_gap, *gaps);
        }
    }

    /// Takes over what others know of classes, those to come included, as far as it is more than what was seen here.
    pub fn adopt(&mut self, priors: &Arc<ClassPriors>) {
        if priors.all.informs(self.prior) {
            self.prior = priors.all();
        }
        let all = self.prior;
        for class in &mut self.classes.all {
            if let Some(known) = priors.of(class.name) {
                class.adopt(known, all);
            }
        }
        self.classes.shared = Some(priors.clone());
    }
}

impl Steering {
    /// Adds what is known of classes to what others know.
    pub fn pool(&self, pool: &mut ClassPool) {
        pool.all.add(self.prior, 0.0, 0.0);
        for (name, rates) in &self.rates {
            pool.classes.entry(*name).or_default().add(rates.prior, 0.0, 0.0);
        }
    }

    /// Takes over what others know of classes, as far as it is more than what was seen here.
    pub fn adopt(&mut self, priors: &Arc<ClassPriors>) {
        if priors.all.informs(self.prior) {
            self.prior = priors.all();
        }
        for (&name, rates) in &mut self.rates {
            if let Some(known) = priors.of(name) {
                rates.adopt(known, self.prior);
            }
        }
        self.known = Some(priors.clone());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Decision, Engine, Evidence, Loaded};
    use super::*;
    use crate::Time;

    fn objective() -> Freshness {
        Freshness::stale_reads(0.01).unwrap()
    }

    /// An engine that has seen keys of `fast` change at every load, a second after the other, and keys of `slow` never, in an hour.
    fn experienced(seed: u64) -> Engine {
        let mut engine = Engine::new(objective(), seed);
        for key in 0..40u64 {
            let pairs = [("fast", 1_000_000, key), ("slow", 3_600_000_000, 1000 + key)];
            for (prefix, every, key) in pairs {
                for load in 1..20u64 {
                    let page = engine.subject(KeyHash::mix(key), &format!("{prefix}:{key}"), 100, 0);
                    let now = Time(load * every);
                    engine.read(page, now, true);
                    let digest = if prefix == "fast" { load } else { 0 };
                    engine.loaded(page, now, Loaded::new(now, Evidence::Digest(digest)));
                }
            }
        }
        engine
    }

    fn priors(engines: &[Engine]) -> ClassPriors {
        let mut pool = ClassPool::default();
        engines.iter().for_each(|engine| engine.pool(&mut pool));
        pool.priors().unwrap()
    }

    fn lifetime(engine: &mut Engine, prefix: &str) -> f64 {
        let page = engine.subject(KeyHash::mix(77_777), &format!("{prefix}:new"), 100, 0);
        let now = Time(9_000_000_000);
        assert_eq!(engine.read(page, now, false), Decision::Load);
        engine.loaded(page, now, Loaded::new(now, Evidence::Digest(1))).logical.as_secs_f64()
    }

    #[test]
    fn a_fresh_engine_knows_the_classes_of_another() {
        let told = Arc::new(priors(&[experienced(1), experienced(2)]));
        assert_eq!(told.len(), 2);
        let told = Arc::new(ClassPriors::from_bytes(&told.to_bytes(), &objective()).unwrap());
        let [fast, slow] = ["fast", "slow"].map(|prefix| {
            let mut engine = Engine::new(objective(), 3);
            engine.adopt(&told);
            lifetime(&mut engine, prefix)
        });
        let unknown = lifetime(&mut Engine::new(objective(), 3), "fast");
        assert!(fast * 100.0 < slow.min(unknown), "{fast} {slow} {unknown}");
        // Told late, it knows as much of a class it has met and of one it has not.
        let mut late = Engine::new(objective(), 3);
        late.subject(KeyHash::mix(5), "fast:5", 100, 0);
        late.adopt(&told);
        assert!((lifetime(&mut late, "fast") / fast - 1.0).abs() < 0.01);
    }

    #[test]
    fn who_knows_a_class_is_told_nothing_of_it() {
        let mut engine = experienced(1);
        let before = priors(std::slice::from_ref(&engine));
        let mut others = before.clone();
        others.classes.iter_mut().for_each(|known| known.mean = 5.0);
        engine.adopt(&Arc::new(others));
        assert_eq!(priors(&[engine]), before);
    }

    #[test]
    fn nothing_seen_is_nothing_to_tell() {
        let mut pool = ClassPool::default();
        Engine::new(objective(), 1).pool(&mut pool);
        assert!(pool.priors().is_none());
    }

    #[test]
    fn what_was_made_for_others_or_holds_nonsense_is_refused() {
        let told = priors(&[experienced(1)]);
        let refused =
            |bytes: &[u8], freshness: &Freshness| ClassPriors::from_bytes(bytes, freshness).unwrap_err().to_string();
        let prefixed = objective().with_prefix("price:", objective());
        assert!(refused(&told.to_bytes(), &prefixed).contains("prefixes"));
        for nonsense in [f32::NAN, f32::INFINITY, 46.0, -46.0] {
            let mut other = told.clone();
            other.classes[1].mean = nonsense;
            assert!(refused(&other.to_bytes(), &objective()).contains("byte 76"));
        }
        let mut other = told.clone();
        other.classes[0].seen = -1.0;
        assert!(refused(&other.to_bytes(), &objective()).contains("no class may hold"));
        let mut other = told;
        other.classes.swap(0, 1);
        assert!(refused(&other.to_bytes(), &objective()).contains("order"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_damage_and_every_cut_is_refused(at in any::<usize>(), flip in 1u8..) {
            let bytes = priors(&[experienced(1)]).to_bytes();
            let at = at % bytes.len();
            prop_assert!(ClassPriors::from_bytes(&bytes[..at], &objective()).is_err());
            let mut bytes = bytes;
            bytes[at] ^= flip;
            prop_assert!(ClassPriors::from_bytes(&bytes, &objective()).is_err(), "byte {at} ^ {flip}");
        }

        #[test]
        fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(ClassPriors::from_bytes(&bytes, &objective()).is_err());
        }
    }
}
