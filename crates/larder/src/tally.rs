//! What the store has counted and measured, summed over its segments.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use larder_policy::KeyHash;
use larder_policy::freshness::Audited;
use larder_policy::learned::{Rule, Scores};

use crate::fetched::Tier;
use crate::key::Key;
use crate::report::{Epochs, ModelReport};
use crate::stats::{Counts, Stats};
use crate::store::Store;
use crate::telemetry::{Telemetry, Timer};

impl<K, V> Store<K, V>
where
    K: Key + Clone,
    V: Clone,
{
    /// A read that had to wait is answered, or ends without an answer.
    pub(crate) fn waited(&self, hash: KeyHash, timer: Timer, tier: Tier) {
        if let Some(took) = timer.took(&self.clock) {
            let mut segment = self.segment(hash);
            segment.telemetry.waited(tier, took);
            if let Some(gauge) = &mut segment.gauge {
                gauge.took(took);
            }
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats {
            counts: Counts::default(),
            entries: 0,
            weight: 0,
            capacity: 0,
            metadata_bytes: self.floors.bytes(),
            stale_rate: None,
        };
        let mut audited = Audited::default();
        for segment in self.lock_all() {
            stats.counts += segment.counts;
            stats.entries += segment.kernel.len();
            stats.weight += segment.kernel.used();
            stats.capacity += segment.kernel.capacity().limit;
            stats.metadata_bytes += segment.bytes();
            if let Some(engine) = &segment.engine {
                audited += engine.audited();
            }
        }
        stats.stale_rate = audited.measured(self.rules.freshness.objective().unwrap_or(1.0)).map(Into::into);
        stats
    }

    /// What audits found so far, by objective: of keys that no prefix has an own one for, then of each prefix that has. Empty where nothing is
    /// foreseen.
    pub(crate) fn audited(&self) -> Vec<Audited> {
        let mut sums = Vec::new();
        for segment in self.lock_all() {
            for (at, audited) in segment.engine.iter().flat_map(|engine| engine.audited_by_objective()).enumerate() {
                if at == sums.len() {
                    sums.push(Audited::default());
                }
                sums[at] += audited;
            }
        }
        sums
    }

    /// How many keys alternate now, by class, where there have been any.
    pub(crate) fn flipping(&self) -> BTreeMap<String, u64> {
        let mut keys = BTreeMap::new();
        for segment in self.lock_all() {
            for (class, count) in segment.engine.iter().flat_map(|engine| engine.flipping()) {
                match keys.get_mut(class) {
                    Some(sum) => *sum += u64::from(count),
                    None => _ = keys.insert(class.to_owned(), u64::from(count)),
                }
            }
        }
        keys
    }

    /// What was measured so far.
    pub(crate) fn telemetry(&self) -> Telemetry {
        self.lock_all().fold(Telemetry::default(), |mut sum, segment| {
            sum += &segment.telemetry;
            sum
        })
    }

    pub(crate) fn epochs(&self) -> Epochs {
        Epochs {
            clears: self.generation.load(Ordering::Relaxed).into(),
            doubts: self.doubts.load(Ordering::Relaxed),
            tags: self.tags.widened(),
        }
    }

    /// How the model stands, where the policy has one.
    pub(crate) fn model(&self) -> Option<ModelReport> {
        let mut scores = Scores::default();
        let mut model = ModelReport::default();
        for mut segment in self.lock_all() {
            segment.kernel.score(&mut scores);
            let Some(standing) = segment.kernel.standing() else { continue };
            model.parts += 1;
            model.on_duty += usize::from(standing.rule == Rule::Learned);
            model.retreats += u64::from(standing.retreats);
        }
        let (loss, loss_to_prior) = (scores.against_base_rate(), scores.against_prior());
        let calibration_error = scores.calibration_error();
        let (drift, drifts) = (scores.drift(), scores.drifts());
        (model.parts > 0).then_some(ModelReport { loss, loss_to_prior, calibration_error, drift, drifts, ..model })
    }
}
