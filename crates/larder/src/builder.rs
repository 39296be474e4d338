//! From settings to a cache.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use larder_policy::freshness::{Engine, Freshness};
use larder_policy::{Capacity, Policy, PolicySpec, Shard};

use crate::behind::{Behind, Sink};
use crate::cache::{Cache, Inner};
use crate::clock::Clock;
use crate::codec::{Codec, Seal};
use crate::config::Config;
use crate::hash::KeyHasher;
use crate::key::{Key, KeyRules};
use crate::limits::{Limits, LoadLimit};
use crate::listener::{Hear, Listener, RemovalCause};
use crate::loader::Loader;
use crate::prices::Prices;
use crate::proof::judge::Judge;
use crate::proof::{self, Control, Own, Part};
use crate::recorder::Recorder;
use crate::remote::{RemoteStore, Tier, TierConfig, names};
use crate::rules::{Consistency, Refresh, Rules};
use crate::runtime::Home;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::sharing::{Exchange, ModelStore, Sharing};
use crate::stats::Counts;
use crate::store::{Digest, Store, Weigher};
use crate::writes::{Turns, Writes};
use crate::{Error, ErrorKind, bounds};

/// A segment with fewer entries than this learns too little by itself.
const LEAST_SEGMENT: u64 = 4096;
/// By itself; and if told to.
const MOST_SEGMENTS: usize = 64;
const MOST_PARTS: usize = 1024;
/// How often expired entries are let go.
const TICK: Duration = Duration::from_secs(1);

type MakePolicy = Box<dyn Fn(Capacity, u64) -> Policy + Send + Sync>;

/// A cache to be: every setting has a default except the capacity.
///
/// ```
/// use std::time::Duration;
/// use larder::{Cache, Freshness, Refresh};
///
/// let cache: Cache<String, u64> = Cache::builder()
///     .name("prices")
///     .capacity(50_000)
///     .freshness(Freshness::stale_reads(0.01)?.max_ttl(Duration::from_secs(3600)))
///     .digest(|price| *price)
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Builder<K, V> {
    name: String,
    namespace: Option<String>,
    capacity: Option<Capacity>,
    policy: String,
    own_policy: Option<MakePolicy>,
    rules: Rules,
    segments: Option<usize>,
    weigher: Option<Weigher<K, V>>,
    digest: Option<Digest<V>>,
    loader: Option<Arc<dyn Loader<K, V>>>,
    remote: Option<Arc<dyn RemoteStore>>,
    tier: TierConfig,
    seal: Option<Arc<dyn Seal>>,
    lease: Option<Duration>,
    loads: usize,
    load_limit: Option<LoadLimit>,
    key_rules: KeyRules,
    clock: Clock,
    seed: Option<u64>,
    recorder: Option<Arc<Recorder>>,
    hear: Option<Hear<K, V>>,
    codec: Option<Arc<dyn Codec<V>>>,
    writes: Writes,
    control: Control,
    prices: Prices,
    models: Option<Arc<dyn ModelStore>>,
    sharing: Sharing,
}

impl<K, V> Builder<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        let Config { name, capacity, policy, control, prices, rules, segments, loads, key_rules, tier, lease, sharing } =
            Config::default();
        Self {
            name,
            namespace: None,
            capacity,
            policy,
            own_policy: None,
            rules,
            segments,
            weigher: None,
            digest: None,
            loader: None,
            remote: None,
            tier,
            seal: None,
            lease,
            loads,
            load_limit: None,
            key_rules,
            clock: Clock::default(),
            seed: None,
            recorder: None,
            hear: None,
            codec: None,
            writes: Writes::Nowhere,
            control,
            prices,
            models: None,
            sharing,
        }
    }

    /// All that is plain data at once, such as [`Config::from_toml`] reads it. A capacity in bytes needs
    /// [`weigh`](Self::weigh) too.
    #[must_use]
    pub fn config(self, config: Config) -> Self {
        let Config { name, capacity, policy, control, prices, rules, segments, loads, key_rules, tier, lease, sharing } =
            config;
        Self {
            name,
            capacity,
            policy,
            control,
            prices,
            rules,
            segments,
            loads,
            key_rules,
            tier,
            lease,
            sharing,
            ..self
        }
    }

    /// The settings in the table `[cache]` of a TOML document.
    ///
    /// # Errors
    /// As [`Config::from_toml`].
    #[cfg(feature = "config")]
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        Ok(Self::new().config(Config::from_toml(text, "cache")?))
    }

    /// What it is called in metrics and traces, and its keys' namespace in the remote tier: letters, digits, `.`, `_` and `-`. Two
    /// caches of one name in a process mix in its metrics.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Its keys' namespace in the remote tier and the sink, where that is not its name: caches of one namespace share entries.
    #[must_use]
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), ..self }
    }

    /// Its name is its keys' namespace, whatever was said before.
    pub(crate) fn apart(self, name: String) -> Self {
        Self { namespace: None, ..self.name(name) }
    }

    /// At most so many entries, up to 2⁵⁰.
    #[must_use]
    pub fn capacity(self, entries: u64) -> Self {
        Self { capacity: Some(Capacity::objects(entries)), ..self }
    }

    /// At most so many bytes, up to a PiB, an entry's being what [`weigh`](Self::weigh) says. An entry that weighs more than one of the
    /// [segments](Self::segments) holds is not kept.
    #[must_use]
    pub fn capacity_bytes(self, bytes: u64, weigh: impl Fn(&K, &V) -> u32 + Send + Sync + 'static) -> Self {
        Self { capacity: Some(Capacity::bytes(bytes)), ..self }.weigh(weigh)
    }

    /// What an entry weighs where the capacity is in bytes: key and value, as the allocator sees them. That the origin has no such value weighs as
    /// much as the key's text and an entry's own bytes.
    #[must_use]
    pub fn weigh(self, weigh: impl Fn(&K, &V) -> u32 + Send + Sync + 'static) -> Self {
        Self { weigher: Some(Arc::new(weigh)), ..self }
    }

    /// Who is kept: `learned` unless said otherwise, or any other policy `larder policies` lists, with its parameters. In a full cache
    /// `learned` refuses a newcomer that is worth less than all who could leave for it, whether it was loaded or written;
    /// `learned:refuse=0` lets everybody in, as `lru` does.
    #[must_use]
    pub fn policy(self, policy: impl Into<String>) -> Self {
        Self { policy: policy.into(), ..self }
    }

    /// Who is kept, by a policy of your own, made for each segment's capacity and seed. Lifetimes stay the cache's.
    #[must_use]
    pub fn policy_with(self, make: impl Fn(Capacity, u64) -> Policy + Send + Sync + 'static) -> Self {
        Self { own_policy: Some(Box::new(make)), ..self }
    }

    /// What the policy is measured against, and how it comes into service: a policy that learns stands beside W-TinyLFU from the start unless said
    /// otherwise, any other beside nobody.
    #[must_use]
    pub fn control(self, control: Control) -> Self {
        Self { control, ..self }
    }

    /// What memory and loads cost: [what other sizes would hit](crate::report::ControlReport::sizes) is then also told in money.
    #[must_use]
    pub fn prices(self, prices: Prices) -> Self {
        Self { prices, ..self }
    }

    /// How stale an answer may be. A lifetime of five minutes for everything unless said otherwise; with
    /// [`Freshness::stale_reads`] every key's lifetime is learned, which needs evidence: a [`digest`](Self::digest), versions, or
    /// times of change from the loader.
    #[must_use]
    pub fn freshness(mut self, freshness: Freshness) -> Self {
        self.rules.freshness = freshness;
        self
    }

    /// How to see whether the origin's value changed: a number that differs where values differ.
    #[must_use]
    pub fn digest(self, digest: impl Fn(&V) -> u64 + Send + Sync + 'static) -> Self {
        Self { digest: Some(Arc::new(digest)), ..self }
    }

    /// As [`digest`](Self::digest), by the value's `Hash`.
    #[must_use]
    pub fn digest_by_hash(self) -> Self
    where
        V: Hash,
    {
        self.digest(|value| {
            // The same in every process, and good enough to tell two values apart.
            let mut hasher = xxhash_rust::xxh3::Xxh3::new();
            value.hash(&mut hasher);
            hasher.finish()
        })
    }

    /// The origin, for [`Cache::load`] and for renewals that no reader's own loader is at hand for.
    #[must_use]
    pub fn loader(self, loader: impl Loader<K, V>) -> Self {
        Self { loader: Some(Arc::new(loader)), ..self }
    }

    /// How values become bytes, for a remote tier and for writes.
    #[must_use]
    pub fn codec(self, codec: impl Codec<V>) -> Self {
        Self { codec: Some(Arc::new(codec)), ..self }
    }

    /// A second tier that processes share, and how values become bytes there.
    #[must_use]
    pub fn remote(self, store: impl RemoteStore, codec: impl Codec<V>) -> Self {
        Self { remote: Some(Arc::new(store)), ..self }.codec(codec)
    }

    /// Where instances of one service, which are those of one [namespace](Self::namespace), share what they learned; the store of the second
    /// tier serves. Each takes over what another published, as far as it has not learned better itself; one of them at a time publishes.
    #[must_use]
    pub fn share_models(self, store: impl ModelStore) -> Self {
        Self { models: Some(Arc::new(store)), ..self }
    }

    /// How often instances look for what others learned, and publish.
    #[must_use]
    pub fn sharing(self, sharing: Sharing) -> Self {
        Self { sharing, ..self }
    }

    /// Where [`Cache::put`] writes to before it returns; needs a [`codec`](Self::codec).
    #[must_use]
    pub fn write_through(self, sink: impl Sink) -> Self {
        Self { writes: Writes::Through(Arc::new(sink)), ..self }
    }

    /// The log from which what [`Cache::put`] writes reaches the origin later; needs a [`codec`](Self::codec), whose
    /// bytes it keeps as they are: a [seal](Self::seal) is for the remote tier.
    #[must_use]
    pub fn write_behind(self, log: Behind) -> Self {
        Self { writes: Writes::Behind(log), ..self }
    }

    /// Records what the service asks for, to be replayed later. Who holds the recorder too can end it and see what it has.
    #[must_use]
    pub fn recorder(self, recorder: Arc<Recorder>) -> Self {
        Self { recorder: Some(recorder), ..self }
    }

    /// Calls `hear` for each value that memory lets go of, and for each that was loaded or written and is not kept: once for each. Not for
    /// those that are there when the cache is dropped, nor for the answer that the origin has none.
    ///
    /// It is called after the fact and outside of every lock, on the thread that made the value leave: a load's, a writer's, or that of the
    /// cache's own task, which lets go of what has expired about once a second. They wait for it: what takes long belongs into a queue. It may use the
    /// cache; an insert of its own makes others leave, of which it hears in turn. If it panics, that is logged and nothing else.
    ///
    /// Where several threads change a key at once, it may hear in another order than it happened; by then the key may be back. A value
    /// whose tag was removed is told of when it leaves memory, which may be as late as its end.
    ///
    /// ```
    /// # use std::sync::mpsc::channel;
    /// use larder::{Cache, RemovalCause};
    ///
    /// let (tell, told) = channel();
    /// let cache: Cache<u64, String> = Cache::builder()
    ///     .capacity(1000)
    ///     .on_removal(move |key: &u64, value: &String, why| _ = tell.send((*key, value.clone(), why)))
    ///     .build()?;
    /// cache.blocking().insert(1, "one".into())?;
    /// cache.blocking().remove(&1)?;
    /// assert_eq!(told.recv(), Ok((1, "one".into(), RemovalCause::Removed)));
    /// # Ok::<(), larder::Error>(())
    /// ```
    #[must_use]
    pub fn on_removal(self, hear: impl Fn(&K, &V, RemovalCause) + Send + Sync + 'static) -> Self {
        Self { hear: Some(Box::new(hear)), ..self }
    }

    /// How the remote tier is used: deadline, breaker, queues, schema version, compression.
    #[must_use]
    pub fn tier(self, tier: TierConfig) -> Self {
        Self { tier, ..self }
    }

    /// Encrypts values before they go to the remote tier. A [write-behind](Self::write_behind) log has them as the codec makes them, in its
    /// folder and for its sink.
    #[must_use]
    pub fn seal(self, seal: impl Seal) -> Self {
        Self { seal: Some(Arc::new(seal)), ..self }
    }

    /// Of all processes that miss a key, or find its value too old, one loads; the others wait for it, at most so long, from 1 ms to a day. Costs
    /// a round trip a load. [Bulk loads](crate::Cache::get_many_with) take no part: they neither hold leases nor wait.
    #[must_use]
    pub fn lease(self, most: Duration) -> Self {
        Self { lease: Some(most), ..self }
    }

    /// At most so many loads at once, from one to a million; 1024 unless said otherwise. Half of them at most load ahead of readers.
    ///
    /// A loader may read the cache: where there is no room for a load that a load waits for, it begins all the same, beyond the limit, as else
    /// neither would end. So it is among all caches of a [shared limit](Self::load_limit). It is known by the task: what a loader spawns, and waits
    /// for, takes its turn as any other load, and a loader that waits for more of them than there is room for waits until it is given up; so do
    /// caches under limits of their own whose loaders read one another in a circle.
    #[must_use]
    pub fn loads(self, most: usize) -> Self {
        Self { loads: most, ..self }
    }

    /// A limit on loads that this cache shares with others.
    #[must_use]
    pub fn load_limit(self, limit: LoadLimit) -> Self {
        Self { load_limit: Some(limit), ..self }
    }

    /// When entries are loaded ahead of their end.
    #[must_use]
    pub fn refresh(mut self, refresh: Refresh) -> Self {
        self.rules.refresh = refresh;
        self
    }

    /// What reads see after writes.
    #[must_use]
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.rules.consistency = consistency;
        self
    }

    /// For how long after its time a value may be served while the origin fails or is slow: an hour unless said otherwise.
    /// [`Cache::find_with`] says of an answer whether it is stale, [`Cache::get_with`] does not; zero serves none.
    /// A value with a lifetime of [its own](crate::Options::ttl) is not served beyond that.
    #[must_use]
    pub fn stale_if_error(mut self, longest: Duration) -> Self {
        self.rules.stale_if_error = longest;
        self
    }

    /// A reader with a stale value at hand waits no longer than `soft`, one without no longer than `hard`.
    #[must_use]
    pub fn timeouts(mut self, soft: Option<Duration>, hard: Duration) -> Self {
        (self.rules.soft_timeout, self.rules.hard_timeout) = (soft, hard);
        self
    }

    /// All of a cache's behaviour at once.
    #[must_use]
    pub fn rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// Which texts are accepted as keys of the remote tier.
    #[must_use]
    pub fn key_rules(self, key_rules: KeyRules) -> Self {
        Self { key_rules, ..self }
    }

    /// In how many parts the memory is locked, each with its share of the capacity; a power of two up to 1024, and no more than the capacity. By the
    /// number of processors unless said otherwise, and at least 64 where a [`Control`] keeps some of them.
    #[must_use]
    pub fn segments(self, segments: usize) -> Self {
        Self { segments: Some(segments), ..self }
    }

    /// Another clock, for tests.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Makes hashes and random choices repeatable, for tests: whoever knows the seed can flood the cache.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// The cache. Its tasks run in the tokio runtime this is called in, or in a small one of its own. It loads nothing any more once that runtime
    /// has ended: one that is to outlive it, as in a `static`, is built outside of any. Reads may be awaited under any executor; what a remote
    /// tier, a log or a sink is told, in a tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], saying which setting is wrong.
    pub fn build(self) -> Result<Cache<K, V>, Error> {
        let wrong = |what: String| Error::new(ErrorKind::Config, what);
        let capacity = self.capacity.ok_or_else(|| wrong("no capacity is given: call Builder::capacity".into()))?;
        if capacity.most_objects().is_none() && self.weigher.is_none() {
            return Err(wrong("a capacity in bytes needs to know what entries weigh: call Builder::weigh".into()));
        }
        let namespace = self.namespace.unwrap_or_else(|| self.name.clone());
        if let Some(bad) = [&self.name, &namespace].into_iter().find(|name| !names::is_namespace(name)) {
            return Err(wrong(format!("a cache cannot be called '{bad}': letters, digits, '.', '_', '-'")));
        }
        self.rules.check()?;
        bounds::check("capacity", capacity.limit, 0, bounds::MOST_CAPACITY)?;
        bounds::check("key_bytes", self.key_rules.max_bytes, 1, names::MAX_BYTES - names::MOST_BEFORE_KEY)?;
        bounds::check("loads", self.loads, 1, bounds::MOST_AT_ONCE)?;
        if let Some(most) = self.lease {
            bounds::waits("remote tier", &[("lease", most)])?;
        }
        let prices = self.prices.checked(capacity)?;
        let spec: PolicySpec = self.policy.parse()?;
        proof::refuse_oracle(&spec)?;
        let count = match self.segments {
            Some(count) if count.is_power_of_two() => {
                bounds::check("segments", count, 1, MOST_PARTS)?;
                count
            }
            Some(count) => return Err(wrong(format!("{count} segments: their number must be a power of two"))),
            None => self.control.segments().unwrap_or(0).max(default_segments(capacity)),
        };
        // One of nothing at all keeps nothing, and is told so by a test or to switch it off.
        if capacity.limit > 0 && capacity.limit < count as u64 {
            let what = "some would keep nothing: give fewer segments or more capacity";
            return Err(wrong(format!("a capacity of {} in {count} segments: {what}", capacity.limit)));
        }
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let learns = self.own_policy.is_none() && spec.eviction().learns;
        let own = self.own_policy;
        let name = own.is_none().then(|| self.policy.clone());
        let make = move |capacity: Capacity, seed: u64| {
            own.as_ref().map_or_else(|| spec.build(capacity, seed), |make| make(capacity, seed))
        };
        let own = Own { make, name, learns, freshness: self.rules.freshness.clone(), prices };
        let (parts, judge) = proof::parts(capacity, count, seed, own, &self.control)?;
        if let Some(why) = judge.as_ref().and_then(Judge::too_small) {
            tracing::warn!(cache = %self.name, %why, "the control's hold-out is too small: nothing will be concluded from the arms");
        }
        let freshness = Some(self.rules.freshness.clone()).filter(|freshness| freshness.fixed().is_none());
        // Lifetimes on trial are compared part by part: each is to stand for itself.
        let is_steered_together = parts.len() > 1 && parts.iter().all(|part| part.lifetimes.is_none());
        let steering = is_steered_together.then(Default::default);
        let segments = parts.into_iter().map(move |Part { capacity, policy, gauge, arm, lifetimes, seed }| {
            // Where bytes are limited, of a kilobyte each: not a million for each part.
            let objects = capacity.most_objects().unwrap_or((capacity.limit / 1024) as usize);
            let most_keys = Engine::keys_beside(Some(objects));
            let engine = freshness.clone().map(|freshness| {
                let mut engine = Engine::new(freshness, seed).with_most_keys(most_keys);
                lifetimes.iter().for_each(|lifetimes| engine.live_by(lifetimes));
                if is_steered_together { engine.following() } else { engine }
            });
            let mut segment = Segment::new(Shard::new(capacity, policy), engine, gauge, seed);
            segment.steering.clone_from(&steering);
            segment.turns.change(arm, Counts::default());
            segment
        });
        let built_at = self.clock.now();
        let is_named = self.remote.is_some() || matches!(self.writes, Writes::Behind(_));
        let hasher = KeyHasher::new(self.seed, is_named);
        let store = Store::new(segments, hasher, self.clock, self.rules, self.weigher, self.digest, self.recorder)
            .judged(judge)
            .heard_by(self.hear.map(|hear| Listener::new(self.name.clone(), hear)));
        let runtime = Home::find()?;
        let needs_codec = || wrong("no codec is given: call Builder::codec".into());
        if !matches!(self.writes, Writes::Nowhere) && self.codec.is_none() {
            return Err(needs_codec());
        }
        let shared = match self.remote {
            Some(remote) => Some(Shared {
                tier: {
                    // What its tasks tell is told of this cache.
                    let _of = tracing::info_span!("remote", cache = %self.name).entered();
                    Arc::new(Tier::new(remote, self.tier, runtime.handle())?)
                },
                codec: self.codec.clone().ok_or_else(needs_codec)?,
                seal: self.seal,
                namespace: namespace.clone(),
                lease: self.lease,
            }),
            None => None,
        };
        let sharing = self.models.map(|models| Exchange::new(models, self.sharing, &namespace)).transpose()?;
        let patience = store.rules.hard_timeout.min(store.rules.load_timeout);
        let limits = Limits::new(self.loads, self.load_limit, patience);
        let inner = Arc::new(Inner {
            name: self.name,
            namespace,
            store,
            shared,
            sharing: sharing.map(Arc::new),
            loader: self.loader,
            codec: self.codec,
            turns: Turns::new(&self.writes),
            writes: self.writes,
            limits,
            key_rules: self.key_rules,
            is_closed: false.into(),
            hours: OnceLock::new(),
            runtime,
            policy: self.policy,
            prices,
            weigh: capacity.weigh,
            built_at,
            recent: Default::default(),
        });
        crate::writes::heed(&inner);
        crate::upkeep::start(&inner, TICK);
        Ok(Cache { inner })
    }
}

/// Several for each processor, so that two threads seldom want the same one, as long as each is large enough to learn.
fn default_segments(capacity: Capacity) -> usize {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let by_threads = (4 * threads).next_power_of_two();
    let by_size = match capacity.most_objects() {
        Some(entries) => (entries as u64 / LEAST_SEGMENT).max(1),
        // Entries of a kilobyte, for want of anything better.
        None => (capacity.limit / 1024 / LEAST_SEGMENT).max(1),
    };
    let by_size = 1usize << by_size.ilog2();
    by_threads.min(by_size).min(MOST_SEGMENTS)
}
