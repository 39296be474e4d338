//! Why a key stays or leaves: what the model sees of it, what each of that adds, and whom it is compared with.

use super::features::{ACTIVE, AGE, BINS, CONTEXT, COUNT, CROSSES, DUE, FEATURES, Features, GAPS, HITS, NEVER};
use super::features::{RATES, RETURNED, SIDE, STAY, USES, WEIGHTS};
use super::history::Scale;
use super::scorecard::{Measure, Scorecard, unused};
use super::{HORIZONS, Rule, Standing};
use crate::Slot;
use std::fmt;

const SPANS: usize = HORIZONS.len();

/// What the policy would do about a key if it were asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The newcomer would be stored.
    Admitted,
    /// The newcomer would be refused: it is worth less than each candidate.
    Refused,
    /// The resident would stay if room were needed.
    Kept,
    /// The resident would leave if room were needed and it were drawn.
    Evicted,
}

/// A feature's bin in the units people think in: the least value that falls into it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    /// A time, in accesses.
    Accesses(f64),
    /// Uses, which decay in the rates.
    Uses(f64),
    /// A share of the accesses around the last use.
    Share(f64),
    /// The last gap over the age.
    Ratio(f64),
    /// Yes or no.
    Is(bool),
    /// It has not happened, as far as is remembered.
    Never,
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Accesses(number) => write!(f, "{number:.0} accesses"),
            Self::Uses(number) => write!(f, "{number:.1} uses"),
            Self::Share(share) => write!(f, "{:.0} %", share * 100.0),
            Self::Ratio(ratio) => write!(f, "{ratio:.2} ×"),
            Self::Is(true) => f.write_str("yes"),
            Self::Is(false) => f.write_str("no"),
            Self::Never => f.write_str("never"),
        }
    }
}

/// One of the weights whose sum is the logit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Term {
    /// A feature by itself.
    Feature {
        /// Its name.
        name: &'static str,
        /// Its bin.
        bin: u8,
        /// What the bin stands for.
        reading: Reading,
    },
    /// Two features together, in coarser bins.
    Cross {
        /// Their names.
        names: [&'static str; 2],
        /// Their coarser bins.
        bins: [u8; 2],
    },
    /// What holds for every key.
    Intercept,
}

/// A term, and what it adds to the logit of each span of [`HORIZONS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contribution {
    /// The term.
    pub term: Term,
    /// What it adds.
    pub adds: [f32; SPANS],
}

/// A resident it is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunnerUp {
    /// Where it is: [`Shard::resident_at`](crate::Shard::resident_at) has its key.
    pub slot: Slot,
    /// What the rule in force ranks it by.
    pub score: f32,
}

/// A key's place among the candidates of one draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// 1 is the one to leave first.
    pub rank: usize,
    /// Candidates, the key itself among them.
    pub of: usize,
    /// The lowest of the others: it leaves in the key's place, or would be next.
    pub runner_up: Option<RunnerUp>,
}

/// Why a key stays or leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What would be done.
    pub decision: Decision,
    /// Which rule ranks.
    pub rule: Rule,
    /// What the guard has seen; `None` if it is turned off or has not begun.
    pub standing: Option<Standing>,
    /// The ends of the spans, in accesses.
    pub horizons: [f32; SPANS],
    /// What adds up to the logits: every feature, every cross, the intercept.
    pub contributions: [Contribution; ACTIVE],
    /// For each span, the logit of a use within it, given none before.
    pub logits: [f32; SPANS],
    /// The probability of a use within each horizon.
    pub within: [f32; SPANS],
    /// What the model makes of these: a mean of the chances, in [0, 1) but for ties; or, where weights are far
    /// apart, the uses expected soon.
    pub worth: f32,
    /// What a hit gains for each unit of weight.
    pub gain: f32,
    /// What the rule in force ranks by: worth times gain, or for LRU minus the age in accesses, or uses of late times gain.
    pub score: f32,
    /// Its place among candidates; `None` for a newcomer for which there is room.
    pub ranked: Option<Ranked>,
}

/// What the model says of a key; the policy knows the rest.
pub(crate) struct Opinion {
    pub(crate) contributions: [Contribution; ACTIVE],
    pub(crate) logits: [f32; SPANS],
    pub(crate) within: [f32; SPANS],
    pub(crate) worth: f32,
}

impl Opinion {
    pub(crate) fn new(card: &Scorecard, features: &Features, scale: &Scale, measure: Measure) -> Self {
        let logits = card.logits(features);
        let adds = card.contributions(features);
        let contributions = std::array::from_fn(|at| Contribution {
            term: term(usize::from(features.active()[at]), features, scale),
            adds: adds[at].to_array(),
        });
        let within = unused(logits).to_array().map(|unused| 1.0 - unused);
        Self { contributions, logits: logits.to_array(), within, worth: measure.of(logits) }
    }
}

/// What a place of the scorecard stands for.
fn term(place: usize, features: &Features, scale: &Scale) -> Term {
    if place == WEIGHTS - 1 {
        return Term::Intercept;
    }
    match place.checked_sub(COUNT * BINS) {
        None => {
            let feature = place / BINS;
            let bin = (place % BINS) as u8;
            Term::Feature { name: FEATURES[feature].name, bin, reading: reading(feature, bin, features, scale) }
        }
        Some(place) => {
            let (left, right) = CROSSES[place / (SIDE * SIDE)];
            let cell = place % (SIDE * SIDE);
            let bins = [(cell / SIDE) as u8, (cell % SIDE) as u8];
            Term::Cross { names: [FEATURES[left].name, FEATURES[right].name], bins }
        }
    }
}

/// The least value in a bin of a feature, given by its place in [`FEATURES`], for a cache that holds about `objects`. With one object
/// times are told in caches of accesses: as multiples of the objects a cache holds.
pub fn least(feature: usize, bin: u8, objects: f32) -> Reading {
    reading(feature, bin, &Features::default(), &Scale::new(objects))
}

/// The least value in a bin.
fn reading(feature: usize, bin: u8, features: &Features, scale: &Scale) -> Reading {
    // The least number of a bin of half powers of two.
    let least = (1.0 + 0.5 * f64::from(bin & 1)) * f64::from(bin / 2).exp2() - 1.0;
    match feature {
        AGE | STAY => Reading::Accesses(least / scale.per_access()),
        _ if GAPS.contains(&feature) && bin == NEVER => Reading::Never,
        _ if GAPS.contains(&feature) => Reading::Accesses(least / scale.per_access()),
        USES | HITS => Reading::Uses(least),
        _ if RATES.contains(&feature) => Reading::Uses(least / 16.0),
        RETURNED => Reading::Is(bin > 0),
        _ if CONTEXT.contains(&feature) => Reading::Share(f64::from(bin / 2) / 16.0),
        DUE if features.0[GAPS[0]] == NEVER => Reading::Never,
        // Both in half powers of two, 32 apart where they are equal.
        _ => Reading::Ratio(((f64::from(bin) - 32.0) / 2.0).exp2()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learned::Prior;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn contributions_sum_to_the_logits(bytes in any::<[u8; 16]>()) {
            let card = Scorecard::new(Prior::general().ok().as_ref(), 0.1);
            let opinion = Opinion::new(&card, &Features(bytes), &Scale::new(1000.0), Measure::Chance);
            for span in 0..SPANS {
                let adds = opinion.contributions.map(|contribution| f64::from(contribution.adds[span]));
                let (sum, size) = (adds.iter().sum::<f64>(), adds.iter().map(|add| add.abs()).sum::<f64>());
                prop_assert!((sum - f64::from(opinion.logits[span])).abs() <= 1e-6 * size, "{sum} {opinion:?}", opinion = opinion.logits);
            }
            prop_assert!(opinion.within.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert_eq!(opinion.contributions[ACTIVE - 1].term, Term::Intercept);
        }

        #[test]
        fn a_reading_is_no_more_than_what_was_binned(age in 0u32..1_000_000) {
            let scale = Scale::new(1000.0);
            let history = crate::learned::history::History::first(0, [0; 3]);
            let features = history.features(age, &scale);
            let Reading::Accesses(least) = reading(AGE, features.0[AGE], &features, &scale) else { panic!() };
            prop_assert!(least <= f64::from(age) + 1e-3 && f64::from(age) <= least * 1.5 + 1.0, "{least}");
        }
    }

    #[test]
    fn bins_are_told_by_their_least_value() {
        assert_eq!(least(AGE, 28, 1.0), Reading::Accesses(16383.0 / 16384.0));
        assert_eq!(least(AGE, 28, 500.0), reading(AGE, 28, &Features::default(), &Scale::new(500.0)));
        assert_eq!(least(GAPS[1], NEVER, 1.0), Reading::Never);
        assert_eq!(least(DUE, 34, 1.0), Reading::Ratio(2.0));
    }

    #[test]
    fn terms_are_named() {
        let features = Features([8; 16]);
        let terms = features.active().map(|place| term(usize::from(place), &features, &Scale::new(16384.0)));
        assert_eq!(terms[AGE], Term::Feature { name: "age", bin: 8, reading: Reading::Accesses(15.0) });
        assert_eq!(terms[RETURNED], Term::Feature { name: "returned", bin: 8, reading: Reading::Is(true) });
        assert_eq!(terms[COUNT], Term::Cross { names: ["age", "gap1"], bins: [2, 2] });
    }
}
