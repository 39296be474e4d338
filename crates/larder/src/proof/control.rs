//! What a cache's policy is measured against.

use std::time::Duration;

use larder_policy::experiment::Settings;

/// What a cache's policy is measured against, and how it comes into service.
///
/// Ghosts of the control, which hold keys and no values, stand beside every segment and see a sample of its keys. They cost a few bytes and
/// nanoseconds; what the policy gains over them is in [`Cache::report`](crate::Cache::report). Where it surely loses, it is
/// rolled back: the control takes over, the entries stay.
///
/// ```
/// use larder::{Cache, Control};
///
/// // On from the start, but for one part in twenty of the memory, which the control keeps for ever.
/// let shadow = Control::beside("lru").holdout(0.05);
/// // 5 %, 25 %, 50 % of the memory, each step only if the one before did no harm; all of it once it has surely won.
/// let careful = Control::beside("lru").ramped();
/// let cache: Cache<u64, String> = Cache::builder().capacity(100_000).control(careful).build()?;
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    pub(crate) against: Against,
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
        Self { against: Against::Policy(policy.into()), slice: Duration::from_secs(1), settings }
    }

    /// Nothing is measured.
    pub fn none() -> Self {
        Self { against: Against::Nothing, ..Self::default() }
    }

    /// The share of the memory that the control keeps whatever comes, so that the arms can be compared; none unless said otherwise.
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

    /// How often what was counted is looked at; once a second unless said otherwise.
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

    /// Segments that arms need, where arms are compared.
    pub(crate) fn segments(&self) -> Option<usize> {
        (!self.settings.adopted).then_some(64)
    }
}

/// A policy that learns stands beside W-TinyLFU, the best of those that learn nothing where many services are; any other beside nobody.
impl Default for Control {
    fn default() -> Self {
        Self { against: Against::Auto, ..Self::beside("") }
    }
}
