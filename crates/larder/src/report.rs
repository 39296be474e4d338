//! A cache at a moment, for metrics, dashboards and people: plain data.

use std::collections::BTreeMap;

use larder_policy::experiment::{self, Comparison, Interval};

use crate::Prices;
use crate::behind;
use crate::prewarm::Usefulness;
use crate::recorder::Recorded;
use crate::remote::{ServerFigures, Tier};
use crate::stats::{Counts, StaleRate};
use crate::telemetry::{Ages, Histogram, Latency};

/// What [`Cache::report`](crate::Cache::report) says. Durations are in seconds, shares from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// The cache's name.
    pub name: String,
    /// When this was so, in milliseconds since the Unix epoch.
    pub at: u64,
    /// Seconds since the cache was built.
    pub uptime: f64,
    /// The policy that keeps, as it was given.
    pub policy: String,
    /// What happened since the cache was built.
    pub counts: Counts,
    /// Entries resident.
    pub entries: usize,
    /// Their weight.
    pub weight: u64,
    /// The greatest weight there may be.
    pub capacity: u64,
    /// Whether weights are bytes; entries otherwise.
    pub is_in_bytes: bool,
    /// Bytes held beside keys and values.
    pub metadata_bytes: usize,
    /// How stale answers may be, and are.
    pub freshness: FreshnessReport,
    /// How long reads took, by the tier that answered.
    pub latency: Latency,
    /// How old entries are.
    pub ages: Ages,
    /// How long entries had been resident when they made room for others, renewals included; to the 16 ms.
    pub residence: Histogram,
    /// For how long entries were taken to be fresh when they came.
    pub ttls: Histogram,
    /// How long the origin took to answer a load.
    pub loads: Histogram,
    /// What made everything void or doubtful.
    pub epochs: Epochs,
    /// What became of the keys that were warmed.
    pub warmed: Usefulness,
    /// The model that ranks entries; `None` under policies without one.
    pub model: Option<ModelReport>,
    /// What instances share of what they learned; `None` where they share nothing.
    pub sharing: Option<SharingReport>,
    /// What memory and loads cost; `None` where nothing was given a price.
    pub prices: Option<Prices>,
    /// The policy beside its control; `None` where nothing is measured.
    pub control: Option<ControlReport>,
    /// The remote tier; `None` where there is none.
    pub remote: Option<RemoteReport>,
    /// The write-behind log; `None` where there is none.
    pub behind: Option<BehindReport>,
    /// What became of the events that are recorded; `None` where nothing is. Caches that share a recorder tell the same.
    pub recorder: Option<Recorded>,
}

/// How stale answers may be, and are.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FreshnessReport {
    /// The share of reads that may be stale, where that is the objective.
    pub objective: Option<f64>,
    /// The lifetime of everything, where that is the rule.
    pub ttl: Option<f64>,
    /// What was measured by asking the origin about a sample of hits, since the cache was built: of keys that no prefix has an objective for.
    pub measured: Option<StaleRate>,
    /// The same of the last hour.
    pub recent: Option<StaleRate>,
    /// Keys with an objective of their own.
    pub prefixes: Vec<PrefixReport>,
    /// Keys whose values alternate, so that any is as good as another: their reads are no part of the objective. By class, where there have been any.
    pub flipping: Vec<FlippingReport>,
}

/// Keys of a class whose values alternate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FlippingReport {
    /// What stands before the first `:` or `/` of the keys; empty where there is neither.
    pub class: String,
    /// How many there are now.
    pub keys: u64,
}

/// How stale answers about keys with a prefix may be, and are.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PrefixReport {
    /// How the keys begin.
    pub prefix: String,
    /// The share of reads that may be stale.
    pub objective: f64,
    /// What was measured since the cache was built.
    pub measured: Option<StaleRate>,
    /// What was measured in the last hour.
    pub recent: Option<StaleRate>,
}

/// What made everything void or doubtful, as times it happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Epochs {
    /// Everything was cleared, here or by another process.
    pub clears: u64,
    /// Messages of other processes may have been lost.
    pub doubts: u64,
    /// So many tags were removed that all values with tags, whichever, became void up to some moment.
    pub tags: u64,
}

/// The model of a learned policy, which each part of the memory has to itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ModelReport {
    /// Parts of the memory that have a model.
    pub parts: usize,
    /// Parts where it ranks; in the others LRU did better, and ranks for a while.
    pub on_duty: usize,
    /// How often it had to step back.
    pub retreats: u64,
    /// The log-loss of what it said lately, each time before it learned what happened, as a share of that of somebody who knows how
    /// often entries are read and nothing else: from 1 on it knows nothing. `None` until enough was said, as the next two.
    pub loss: Option<f64>,
    /// The same as a share of the loss of the model it began with or took over last: below 1, what it learned here helps.
    pub loss_to_prior: Option<f64>,
    /// How far its probabilities are off, on average (expected calibration error).
    pub calibration_error: Option<f64>,
    /// How far the part that is worst off is on its way to drift: at 1 its model has gone on foretelling worse than that somebody who knows
    /// nothing else, is set aside, and begins anew as LRU.
    pub drift: f64,
    /// How often that happened.
    pub drifts: u64,
}

/// What instances of the service share of what they learned.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SharingReport {
    /// The shared generation in use here; `None` before the first.
    pub generation: Option<u64>,
    /// The hash by which its content is told, in hex.
    pub fingerprint: Option<String>,
    /// Seconds since it was published.
    pub age: Option<f64>,
    /// Whether this instance is the one that publishes.
    pub leads: bool,
    /// Generations taken over from others.
    pub adopted: u64,
    /// Generations that the gate refused: damaged, of another version, made for other settings.
    pub refused: u64,
    /// Rounds that failed: the store could not be reached or did not answer.
    pub failed: u64,
    /// Generations published.
    pub published: u64,
    /// Times another instance had taken over before this one published: nothing was overwritten.
    pub outrun: u64,
}

/// A policy beside its control.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ControlReport {
    /// The control policy.
    pub policy: String,
    /// How long the control's values live, in seconds, where lifetimes are on trial beside one for all.
    pub ttl: Option<f64>,
    /// For what share of the time it had gone unchanged a value of the control's lives, where lifetimes are on trial beside that.
    pub age_share: Option<f64>,
    /// The share of the control's answers that may be stale, where one objective is on trial beside another.
    pub objective: Option<f64>,
    /// Where the experiment is: `baseline`, `ramping`, `adopted` or `cooling-down`.
    pub state: &'static str,
    /// Seconds until a cool-down ends.
    pub resumes_in: Option<f64>,
    /// Parts of the memory that the policy on trial runs, and all parts.
    pub treated: usize,
    /// How many parts there are.
    pub parts: usize,
    /// Of the cache's counts, those of parts while the control decided there; the others are the policy's.
    pub counts: Counts,
    /// How often the policy was rolled back.
    pub rollbacks: u32,
    /// Why it last was, in words.
    pub last_breach: Option<String>,
    /// The hit ratio of the parts that run the policy.
    pub hit_ratio: f64,
    /// What the control would have hit in their place.
    pub control_hit_ratio: f64,
    /// The gain in hit ratio: what the policy hit more than its control would have, over all that counts. The next two are where it lies, at all
    /// times with 95 %.
    pub gain: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// For how many seconds it has been counted: since the policy last changed sides anywhere, and the memory was turned over twice; and anew once it has
    /// settled where it stays. `None` before that: nothing counts yet, and the shares above are 0.
    pub counted_for: Option<f64>,
    /// Slices that count.
    pub slices: u64,
    /// Accesses that count.
    pub requests: u64,
    /// How often the memory was turned over.
    pub turnovers: f64,
    /// So many equally popular keys would tell as much.
    pub effective_keys: f64,
    /// Why nothing may be concluded, in words; empty where something may.
    pub refusals: Vec<String>,
    /// The arms beside each other, where some parts run the policy and others its control.
    pub arms: Option<ArmsReport>,
    /// What the control would hit with more memory, or less, ascending; with [prices](crate::Builder::prices) also what that would cost.
    pub sizes: Vec<Size>,
    /// The size among them that costs least, as a multiple of the capacity; `None` without prices.
    pub cheapest: Option<f64>,
}

/// Parts of the memory that run the policy beside others that run its control.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ArmsReport {
    /// The real hit ratio of the parts that run the policy.
    pub hit_ratio: f64,
    /// That of the others.
    pub control_hit_ratio: f64,
    /// What the hit ratio of all traffic would gain: each part's hits less its ghost's, in one arm and in the other.
    pub effect: f64,
    /// Where it lies, at all times with 95 %.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Loads of the origin a read.
    pub origin_loads: Option<Difference>,
    /// The 99th percentile of a read's time.
    pub p99: Option<Difference>,
    /// The share of the policy's answers that were stale, as audits found it, with 95 % for who looks once.
    pub stale: Option<ArmStale>,
    /// And the control's.
    pub control_stale: Option<ArmStale>,
    /// Why nothing may be concluded from it, in words.
    pub refusals: Vec<String>,
}

/// The share of an arm's answers that were stale.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ArmStale {
    /// The estimate.
    pub rate: f64,
    /// Where it lies, with 95 % for who looks once.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Whether the whole interval lies on one side of the share that may be stale.
    pub is_certifiable: bool,
}

/// By how much more of something an arm has than the control.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Difference {
    /// As a share of the control's: 0.1 is a tenth more.
    pub change: f64,
    /// Where it lies, with 95 % for who looks once: the changes that a permutation of the arms does not reject, which holds where few parts have most of
    /// the loads, too. `None` where an arm has too few parts for that.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
    /// The probability of so much more by chance, if there were no difference.
    pub p_more: f64,
    /// And of so much less.
    pub p_less: f64,
}

impl Difference {
    pub(crate) fn of(comparison: &Comparison, alpha: f64) -> Option<Self> {
        let Comparison { p_more, p_less, .. } = *comparison;
        let (low, high) = comparison.change_within(alpha).map(|Interval { low, high }| (low, high)).unzip();
        Some(Self { change: comparison.change()?, low, high, p_more, p_less })
    }
}

/// What another size would hit, and cost.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Size {
    /// The size as a multiple of the capacity.
    pub scale: f64,
    /// Reads that this is told from: those of the last minutes.
    pub reads: u64,
    /// The hit ratio of the control there.
    pub hit_ratio: f64,
    /// Loads of the origin an hour: those of the size there is, as many times more as the control misses more.
    pub loads_an_hour: f64,
    /// What that costs; `None` without [prices](crate::Builder::prices).
    pub cost: Option<HourlyCost>,
}

impl Size {
    /// The size that costs least, as a multiple of the capacity; of equals the smallest.
    pub(crate) fn cheapest(sizes: &[Self]) -> Option<f64> {
        let priced = sizes.iter().filter_map(|size| Some((size.scale, size.cost?.total)));
        priced.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(scale, _)| scale)
    }
}

/// What an hour costs, in the currency of the prices.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HourlyCost {
    /// Its memory: the capacity, without what lies beside keys and values.
    pub memory: f64,
    /// Its loads of the origin.
    pub loads: f64,
    /// Both.
    pub total: f64,
}

impl HourlyCost {
    pub(crate) fn of(cost: experiment::HourlyCost) -> Self {
        Self { memory: cost.memory, loads: cost.loads, total: cost.total() }
    }
}

/// How the remote tier is.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RemoteReport {
    /// Whether calls go through: `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// Calls under way.
    pub in_flight: usize,
    /// Fills that wait or are being sent.
    pub queued: usize,
    /// Invalidations that are not done yet.
    pub pending: usize,
    /// What happened, by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// What the server last said about itself, where the store asks it.
    pub server: Option<ServerFigures>,
}

impl RemoteReport {
    pub(crate) fn of(tier: &Tier) -> Self {
        let state = tier.state();
        let counts = tier.counts().iter().collect();
        Self {
            breaker: state.breaker.name(),
            in_flight: state.in_flight,
            queued: state.queued,
            pending: state.pending,
            counts,
            server: tier.server_figures(),
        }
    }
}

/// How a write-behind log is.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BehindReport {
    /// Writes the sink does not have yet.
    pub pending: u64,
    /// Bytes of these, as they lie in the log.
    pub pending_bytes: u64,
    /// How long the oldest of these has waited, in seconds; `None` where none waits.
    pub oldest: Option<f64>,
    /// What happened since the log was opened, by name.
    pub counts: BTreeMap<&'static str, u64>,
}

impl BehindReport {
    pub(crate) fn of(stats: &behind::Stats) -> Self {
        Self {
            pending: stats.pending_writes,
            pending_bytes: stats.pending_bytes,
            oldest: stats.oldest_pending.map(|oldest| oldest.as_secs_f64()),
            counts: stats.iter().collect(),
        }
    }
}
