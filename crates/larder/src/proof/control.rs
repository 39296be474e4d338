//! What a cache's policy is measured against.

use std::time::Duration;

use larder_policy::experiment::Settings;
use larder_policy::freshness::Freshness;

/// What a cache's policy is measured against, and how it comes into service.
///
/// Ghosts of the control, which hold keys and no values, stand beside every segment and see a sample of its keys. Of entries that
/// are counted they cost some 20 bytes each (docs/stores.md). Where bytes are limited, entries are taken for a kilobyte: of smaller ones more are seen, and
/// of 64 bytes in small caches all, for some 400 bytes each, which [`Stats::metadata_bytes`](crate::Stats::metadata_bytes) counts. With many
/// small entries, [`none`](Self::none) saves that. What the policy gains over them is in [`Cache::report`](crate::Cache::report). Where it surely loses, it is
/// rolled back: the control takes over, the entries stay.
///
/// ```
/// use larder::{Cache, Control};
///
/// // On from the start, but for one part in eight of the memory, which the control keeps for ever.
/// let shadow = Control::beside("lru").holdout(0.125);
/// // 5 %, 25 %, 50 % of the memory, each step only if the one before did no harm; all of it once it has surely won.
/// let careful = Control::beside("lru").ramped();
/// let cache: Cache<u64, String> = Cache::builder().capacity(100_000).control(careful).build()?;
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    pub(crate) against: Against,
    /// How long the control's values live, where that is tried too.
    pub(crate) ttl: Option<Duration>,
    /// What its values live by otherwise, where that is tried.
    pub(crate) freshness: Option<Freshness>,
    pub(crate) slice: Duration,
    pub(crate) settings: Settings,
}

/// Whom a cache's policy is measured against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Against {
    /// W-TinyLFU, where the cache's own policy learns; whoever chose a classical one keeps it.
    Auto,
    /// Nobody.
    Nothing,
    /// A policy.
    Policy(String),
}

impl Against {
    /// Whom, for a policy that learns or does not.
    pub(crate) fn policy(&self, learns: bool) -> Option<&str> {
        match self {
            Self::Auto => learns.then_some("wtinylfu"),
            Self::Nothing => None,
            Self::Policy(policy) => Some(policy),
        }
    }
}

impl Control {
    /// Measured against a policy, any that `larder policies` lists. The cache's own is on from the start.
    pub fn beside(policy: impl Into<String>) -> Self {
        let settings = Settings { adopted: true, holdout: 0.0, ..Settings::new(1, 0) };
        Self {
            against: Against::Policy(policy.into()),
            ttl: None,
            freshness: None,
            slice: Duration::from_secs(1),
            settings,
        }
    }

    /// Nothing is measured.
    pub fn none() -> Self {
        Self { against: Against::Nothing, ..Self::default() }
    }

    /// The share of the memory that the control keeps whatever comes, so that the arms can be compared; none unless said otherwise. An arm needs 8 parts
    /// for that, which of the 64 that such a cache has, unless [`segments`](crate::Builder::segments) says otherwise, are 0.125. With fewer nothing is
    /// concluded from the arms: a warning says so when the cache is built, and the report after that.
    #[must_use]
    pub fn holdout(mut self, share: f64) -> Self {
        self.settings.holdout = share;
        self
    }

    /// The cache's own policy comes into service step by step, each only if the one before did no harm, and has all but the hold-out once it
    /// has surely won.
    #[must_use]
    pub fn ramped(mut self) -> Self {
        self.settings.adopted = false;
        self
    }

    /// The control's values live so long, and the cache's lifetimes, which keep to a share of stale reads, are on trial: they win by fewer loads
    /// of the origin or by keeping to the share where the control does not, and are rolled back where they are surely staler than
    /// [`Guardrails::stale`](super::Guardrails::stale), a fifth over the objective unless told otherwise. To try
    /// lifetimes alone, the control's policy is the cache's own.
    ///
    /// ```
    /// use std::time::Duration;
    /// use larder::{Cache, Control, Freshness};
    ///
    /// // Today everything lives five minutes. Is 1 % of stale reads to be had with fewer loads?
    /// let today = Control::beside("learned").ttl(Duration::from_secs(300)).ramped();
    /// let cache: Cache<u64, String> =
    ///     Cache::builder().capacity(100_000).freshness(Freshness::stale_reads(0.01)?).control(today).build()?;
    /// # Ok::<(), larder::Error>(())
    /// ```
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The control's values live by this objective or rule, such as [`Freshness::share_of_age`], and the cache's own is on trial, as with [`ttl`](Self::ttl): it wins by fewer loads or by being fresh
    /// enough where the control is not. Each part of the memory steers for the objective of its arm by what it has seen of its own keys; where
    /// it changes sides, what it knows of them stays. If the cache is to be fresher than its control, loads may double before it is rolled
    /// back, unless [`Guardrails::origin_loads`](super::Guardrails::origin_loads) was set.
    ///
    /// ```
    /// use larder::{Cache, Control, Freshness};
    ///
    /// // Today 1 % of the reads may be stale. How many loads would 5 % save?
    /// let today = Control::beside("learned").freshness(Freshness::stale_reads(0.01)?).ramped();
    /// let cache: Cache<u64, String> =
    ///     Cache::builder().capacity(100_000).freshness(Freshness::stale_reads(0.05)?).control(today).build()?;
    /// # Ok::<(), larder::Error>(())
    /// ```
    #[must_use]
    pub fn freshness(self, freshness: Freshness) -> Self {
        Self { freshness: Some(freshness), ..self }
    }

    /// How often what was counted is looked at, from 1 ms to a day; once a second unless said otherwise.
    #[must_use]
    pub fn slice(self, every: Duration) -> Self {
        Self { slice: every, ..self }
    }

    /// Anything else of how the experiment is run. The number of shards and the seed are the cache's.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Segments that arms need, where arms are compared: of a few, chance may always have drawn what was found.
    pub(crate) fn segments(&self) -> Option<usize> {
        (!self.settings.adopted || self.settings.holdout > 0.0).then_some(64)
    }
}

/// A policy that learns stands beside W-TinyLFU, the best of those that learn nothing where many services are; any other beside nobody.
impl Default for Control {
    fn default() -> Self {
        Self { against: Against::Auto, ..Self::beside("") }
    }
}
