//! From rules to something a moka cache can be attached to.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use larder::bounds::MOST_CAPACITY;
use larder::{Clock, Error, ErrorKind, Freshness, Key, Refresh, Rules};
use larder_policy::freshness::Engine;
use larder_policy::{Capacity, PolicySpec};

use crate::core::{Core, Digest, Setup, Weigher};
use crate::expiry::Expiry;
use crate::fences::Fences;

/// More entries than this are not expected without a weigher.
const MOST_OBJECTS: u64 = 1 << 26;
/// So many are expected then.
const BYTES_OBJECTS: u64 = 1 << 20;

/// What looks after one moka cache: build it, give its [`expiry`](Self::expiry) to the moka builder, and attach the cache with
/// [`future::Cache::attach`](crate::future::Cache::attach) or [`sync::Cache::attach`](crate::sync::Cache::attach).
///
/// ```
/// use larder_moka::{Freshness, Held, Plugin, sync};
///
/// let plugin = Plugin::builder().freshness(Freshness::stale_reads(0.01)?).digest_by_hash().build()?;
/// let moka: moka::sync::Cache<u64, Held<String>> =
///     moka::sync::Cache::builder().max_capacity(10_000).expire_after(plugin.expiry()).build();
/// let users = sync::Cache::attach(moka, plugin);
/// let ada = users.get_with(&1, || Ok::<_, std::io::Error>("Ada".to_owned()))?;
/// assert_eq!(users.get(&1), Some(ada));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Plugin<K, V> {
    rules: Rules,
    admission: Option<PolicySpec>,
    digest: Option<Digest<V>>,
    weigher: Option<Weigher<K, V>>,
    clock: Clock,
    seed: Option<u64>,
    fences: Arc<Fences>,
}

impl<K: Key + Clone, V> Plugin<K, V> {
    /// A plug-in to be.
    pub fn builder() -> Builder<K, V> {
        Builder {
            rules: Rules::default(),
            admission: None,
            digest: None,
            weigher: None,
            clock: Clock::system(),
            seed: None,
        }
    }

    /// For moka's builder: `moka::future::Cache::builder().expire_after(plugin.expiry())`. Without it, what is too old is not
    /// served either, but keeps its memory until moka evicts it.
    pub fn expiry(&self) -> Expiry {
        Expiry {
            fences: self.fences.clone(),
            most: self.rules.freshness.most(),
            stale_if_error: self.rules.stale_if_error,
            learns: self.rules.freshness.fixed().is_none(),
            clock: self.clock.clone(),
        }
    }

    /// For a cache that holds at most `capacity`: none decides on admission where moka has no bound.
    pub(crate) fn into_core(self, capacity: Option<u64>) -> Core<K, V> {
        let Self { rules, admission, digest, weigher, clock, seed, fences } = self;
        let capacity = capacity.map(|limit| limit.min(MOST_CAPACITY)).map(|limit| match weigher {
            Some(_) => Capacity::bytes(limit),
            None => Capacity::objects(objects_of(limit)),
        });
        let objects = capacity.and_then(Capacity::most_objects);
        let most_keys = Engine::keys_beside(objects);
        let admission = admission.zip(capacity);
        Core::new(Setup { rules, most_keys, admission, digest, weigher, clock, seed, fences })
    }
}

/// A plug-in to be: every setting has a default.
pub struct Builder<K, V> {
    rules: Rules,
    admission: Option<String>,
    digest: Option<Digest<V>>,
    weigher: Option<Weigher<K, V>>,
    clock: Clock,
    seed: Option<u64>,
}

impl<K: Key + Clone, V> Builder<K, V> {
    /// How stale an answer may be; a lifetime of five minutes for everything unless said otherwise. With
    /// [`Freshness::stale_reads`] lifetimes are learned, which needs evidence: a [`digest`](Self::digest), or versions or times of
    /// change from the loader ([`Fetched`](larder::Fetched)).
    #[must_use]
    pub fn freshness(mut self, freshness: Freshness) -> Self {
        self.rules.freshness = freshness;
        self
    }

    /// How to see whether the origin's value changed: a number that differs where values differ.
    #[must_use]
    pub fn digest(self, digest: impl Fn(&V) -> u64 + Send + Sync + 'static) -> Self {
        Self { digest: Some(Box::new(digest)), ..self }
    }

    /// As [`digest`](Self::digest), by the value's `Hash`.
    #[must_use]
    pub fn digest_by_hash(self) -> Self
    where
        V: Hash,
    {
        // Compared within this process alone.
        let hasher = ahash::RandomState::new();
        self.digest(move |value| {
            let mut state = std::hash::BuildHasher::build_hasher(&hasher);
            value.hash(&mut state);
            state.finish()
        })
    }

    /// With a fixed lifetime, when entries are loaded ahead of their end. [`Refresh::Early`] draws once a load, not once a read.
    /// With a stale-rate objective the engine decides instead: see [`Freshness::refresh_ahead`].
    #[must_use]
    pub fn refresh(mut self, refresh: Refresh) -> Self {
        self.rules.refresh = refresh;
        self
    }

    /// The share by which fixed lifetimes are shortened at random, so that what was loaded together does not end together; 0.1
    /// unless said otherwise.
    #[must_use]
    pub fn jitter(mut self, share: f64) -> Self {
        self.rules.jitter = share;
        self
    }

    /// For how long after its time a value may be served while the origin fails; an hour unless said otherwise. A value with a lifetime of
    /// [its own](larder::Options::ttl) is not served beyond that.
    #[must_use]
    pub fn stale_if_error(mut self, longest: Duration) -> Self {
        self.rules.stale_if_error = longest;
        self
    }

    /// After a failed load, for how long a stale value is served without trying again; a second unless said otherwise.
    #[must_use]
    pub fn error_pause(mut self, pause: Duration) -> Self {
        self.rules.error_pause = pause;
        self
    }

    /// Lets a policy of larder's, such as `learned`, decide which loaded values moka is given at all. moka then decides by itself
    /// who leaves, and with its TinyLFU also whether a newcomer stays. Whether that gains anything depends on the traffic: see
    /// `docs/moka.md`. Off unless said otherwise.
    #[must_use]
    pub fn admission(self, policy: impl Into<String>) -> Self {
        Self { admission: Some(policy.into()), ..self }
    }

    /// What entries weigh, where moka has a weigher: the same, for moka does not tell. Without it, a `max_capacity` in bytes would be
    /// taken for a number of entries; one above 2²⁶ is not, and a warning says so.
    #[must_use]
    pub fn weigh(self, weigh: impl Fn(&K, &V) -> u32 + Send + Sync + 'static) -> Self {
        Self { weigher: Some(Box::new(weigh)), ..self }
    }

    /// Another clock, for tests and replays. moka goes on by its own.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Makes hashes and random choices repeatable, for tests: whoever knows the seed can flood the directory.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// The plug-in.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], saying which setting is wrong.
    pub fn build(self) -> Result<Plugin<K, V>, Error> {
        let Self { rules, admission, digest, weigher, clock, seed } = self;
        rules.check()?;
        let admission = admission.map(|policy| parse(&policy)).transpose()?;
        Ok(Plugin { rules, admission, digest, weigher, clock, seed, fences: Arc::new(Fences::new()) })
    }
}

/// How many entries moka may hold where no weigher is known. Larger numbers are bytes, most likely, and remembering four keys for each of
/// them would remember all keys there ever were.
fn objects_of(limit: u64) -> u64 {
    if limit <= MOST_OBJECTS {
        return limit;
    }
    tracing::warn!(limit, "taken for bytes: what entries weigh is for the plug-in's builder to say too, by `weigh`");
    BYTES_OBJECTS
}

fn parse(policy: &str) -> Result<PolicySpec, Error> {
    let spec: PolicySpec = policy.parse()?;
    if spec.eviction().needs_oracle {
        let what = format!("the policy '{policy}' knows the future and serves replays alone");
        return Err(Error::new(ErrorKind::Config, what));
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capacity_of_bytes_is_not_taken_for_objects() {
        assert_eq!(objects_of(10_000_000), 10_000_000);
        assert_eq!(objects_of(256 << 20), 1 << 20);
    }

    #[test]
    fn wrong_settings_are_named() {
        let refused = |builder: Builder<u64, u64>| builder.build().err().unwrap();
        let plain = Plugin::<u64, u64>::builder;
        for (builder, word) in [
            (plain().jitter(1.0), "jitter"),
            (plain().jitter(f64::NAN), "jitter"),
            (plain().refresh(Refresh::Ahead(0.0)), "ahead"),
            (plain().refresh(Refresh::Early(f64::INFINITY)), "β"),
            (plain().admission("belady"), "future"),
            (plain().admission("no such"), "no such"),
        ] {
            let error = refused(builder);
            assert!(error.kind() == ErrorKind::Config && error.to_string().contains(word), "{error}");
        }
        assert!(plain().build().is_ok());
    }
}
