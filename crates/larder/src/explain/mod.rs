//! Why a key stays, leaves, or lives so long: what the policy and the freshness engine know of it, as plain data and in words.

mod search;
mod words;

use std::borrow::Borrow;

use crate::decisions::{Decided, Label};
use crate::{Cache, Key};

/// Decisions told at most.
const MOST: usize = 500;

/// A decision about a key, as [`Cache::decisions`] tells it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Logged {
    /// When, in milliseconds since the Unix epoch.
    pub at: u64,
    /// About whom.
    pub key: Label,
    /// What was decided.
    pub what: Decided,
    /// Of who was admitted, who left for it; of who was evicted, for whom.
    pub other: Option<Label>,
    /// The lifetime of what was admitted, the age of what left or is loaded anew, in seconds.
    pub seconds: f32,
}

/// A resident that is read often.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Hot {
    /// Who it is.
    pub key: Label,
    /// Reads a second, the mean of the last hour or so, from a sample.
    pub reads: f32,
    /// For how long the value was expected to be served when it was loaded, in seconds.
    pub lifetime: f64,
    /// Seconds since it was loaded.
    pub age: f64,
    /// Its weight.
    pub size: u32,
}

/// What is known of a key, as [`Cache::explain`] tells it.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Explained {
    /// Who it is.
    pub key: Label,
    /// Whether memory holds it.
    pub is_resident: bool,
    /// The eviction policy of its part of the memory.
    pub policy: String,
    /// Whether that is the cache's own, `policy`, or its `control`; `None` where there is no control.
    pub arm: Option<&'static str>,
    /// The same, in words, most important first.
    pub words: Vec<String>,
    /// Why it stays or leaves; `None` unless the policy is a learned one, or if the key is unknown.
    pub score: Option<Score>,
    /// Why it lives so long; `None` if memory does not hold it.
    pub lifetime: Option<Lifetime>,
    /// What was last decided about it, newest first, if it is one of the keys that are followed.
    pub decisions: Vec<Logged>,
}

/// Why a key stays or leaves.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Score {
    /// `admitted`, `refused`, `kept` or `evicted`: what would be done now, if it arrived or room were needed.
    pub decision: &'static str,
    /// Which rule ranks: `learned`, or `lru` where the guard has stepped back to it.
    pub rule: &'static str,
    /// The model: `general` or `shared`, and the checksum of what it began from or took over last.
    pub model: String,
    /// What the rule ranks by.
    pub score: f32,
    /// What the model makes of the probabilities of use.
    pub worth: f32,
    /// What a hit gains for each unit of weight.
    pub gain: f32,
    /// The ends of the spans, in accesses.
    pub horizons: Vec<f32>,
    /// The probability of a use within each.
    pub within: Vec<f32>,
    /// For each span, the logit of a use in it: the sum of the contributions.
    pub logits: Vec<f32>,
    /// What adds up to the logits.
    pub contributions: Vec<Contribution>,
    /// 1 is the one to leave first.
    pub rank: Option<usize>,
    /// Of so many candidates.
    pub of: Option<usize>,
    /// The one that leaves in its place, or would be next.
    pub runner_up: Option<RunnerUp>,
}

/// One of the terms whose sum is the logit.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Contribution {
    /// A feature, two together, or the intercept.
    pub name: String,
    /// What the feature is here.
    pub value: String,
    /// What it adds to the logit of each span.
    pub adds: Vec<f32>,
}

/// The candidate it is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RunnerUp {
    /// Who it is.
    pub key: Label,
    /// What the rule ranks it by.
    pub score: f32,
}

/// Why a value lives so long. Durations in seconds.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Lifetime {
    /// Since it was loaded.
    pub age: f64,
    /// For how long it was expected to be served when it was loaded.
    pub lifetime: f64,
    /// Whether the lifetime was learned; given otherwise.
    pub is_learned: bool,
    /// Reads a second.
    pub reads: f64,
    /// What the lifetime was learned from.
    pub evidence: Option<Evidence>,
}

/// What a lifetime is learned from.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Evidence {
    /// Looks at the origin that told whether the value had changed.
    pub looks: u16,
    /// Changes found.
    pub changes: u16,
    /// Changes a second that are expected.
    pub rate: f64,
    /// As surely as if so many changes had been seen.
    pub shape: f64,
    /// Whether its values alternate, so that its changes say nothing.
    pub is_flipping: bool,
    /// The probability that it is stale now.
    pub stale: Option<f64>,
    /// What a further read costs the objective for each load it saves.
    pub index: Option<f64>,
    /// It is served while its index is below this.
    pub threshold: Option<f64>,
}

impl<K, V> Cache<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    /// Why a key stays, leaves, or lives so long. This is no access.
    pub fn explain<Q>(&self, key: &Q) -> Explained
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let store = &self.inner.store;
        store.told(store.hasher.hash(key), &self.inner.policy)
    }

    /// As [`explain`](Self::explain), of the key of this text or label. Where keys are not hashed by their texts, all residents are
    /// looked through, a part of the memory at a time.
    pub fn explain_text(&self, key: &str) -> Explained {
        let store = &self.inner.store;
        match store.find(key) {
            Some(hash) => store.told(hash, &self.inner.policy),
            None => Explained::unknown(store.hasher.label(store.hasher.hash_text(key)), &self.inner.policy),
        }
    }

    /// The residents that are read most often, at most so many, most read first. All residents are looked through.
    pub fn most_read(&self, most: usize) -> Vec<Hot> {
        self.inner.store.hot(self.inner.built_at, most)
    }

    /// The last decisions about keys, newest first: of all keys where memory is small, else of a sample of them.
    pub fn decisions(&self) -> Vec<Logged> {
        let mut logged = self.inner.store.logged(None);
        logged.truncate(MOST);
        logged
    }
}
