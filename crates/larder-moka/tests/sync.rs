//! The plug-in on a `moka::sync::Cache`, and admission and pre-warming on both of moka's policies.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::RefCell;
use std::convert::Infallible;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

use larder_moka::{Clock, Expiry, Freshness, Held, Key, Plugin, Prewarmed, Refresh, sync};
use larder_policy::Time;
use moka::policy::EvictionPolicy;

/// moka's own hashes have a secret, by which keys share counts in its sketch now and then.
type Fixed = BuildHasherDefault<DefaultHasher>;
type Cache<K = u64> = sync::Cache<K, u64, Fixed>;

fn attach<K: Key + Clone>(plugin: larder_moka::Builder<K, u64>, capacity: u64, policy: EvictionPolicy) -> Cache<K> {
    let plugin = plugin.build().unwrap();
    let moka = moka::sync::Cache::<K, Held<u64>>::builder()
        .max_capacity(capacity)
        .eviction_policy(policy)
        .expire_after(plugin.expiry())
        .build_with_hasher(Fixed::default());
    Cache::attach(moka, plugin)
}

fn policies() -> [EvictionPolicy; 2] {
    [EvictionPolicy::tiny_lfu(), EvictionPolicy::lru()]
}

fn ok(value: u64) -> Result<u64, Infallible> {
    Ok(value)
}

#[test]
fn loads_of_a_key_coalesce() {
    let clock = Clock::manual(Time(1));
    for policy in policies() {
        let freshness = Freshness::fixed_ttl(Duration::from_secs(60));
        let cache = attach(Plugin::builder().freshness(freshness).clock(clock.clone()), 100, policy);
        let loads = Arc::new(AtomicU64::new(0));
        for round in 1..=2 {
            let barrier = Barrier::new(16);
            std::thread::scope(|scope| {
                for _ in 0..16 {
                    scope.spawn(|| {
                        barrier.wait();
                        let loads = loads.clone();
                        let load = move || {
                            loads.fetch_add(1, SeqCst);
                            std::thread::sleep(Duration::from_millis(20));
                            ok(round)
                        };
                        assert_eq!(cache.get_with(&1, load).unwrap(), round);
                    });
                }
            });
            assert_eq!(loads.load(SeqCst), round);
            clock.advance(Duration::from_secs(120));
        }
    }
}

#[test]
fn an_entry_is_renewed_ahead_of_its_end() {
    let clock = Clock::manual(Time(1));
    let freshness = Freshness::fixed_ttl(Duration::from_secs(60));
    let plugin = Plugin::builder().freshness(freshness).refresh(Refresh::Ahead(0.5)).jitter(0.0).clock(clock.clone());
    let cache = attach(plugin, 100, EvictionPolicy::tiny_lfu());
    cache.get_with(&1, || ok(1)).unwrap();
    clock.advance(Duration::from_secs(30));
    assert_eq!(cache.get_with(&1, || ok(2)).unwrap(), 1);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while cache.get(&1) != Some(2) {
        assert!(std::time::Instant::now() < deadline, "it was never renewed");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(cache.stats().counts.refreshes, 1);
}

/// Whoever reads while the origin changes may get what was true when he asked; it must not stay.
#[test]
fn a_load_that_a_change_overtook_never_stays() {
    never_stays(attach(Plugin::builder(), 100, EvictionPolicy::lru()));
    // Of a moka that was built without its expiry.
    never_stays(Cache::attach(
        moka::sync::Cache::builder().max_capacity(100).build_with_hasher(Fixed::default()),
        Plugin::builder().build().unwrap(),
    ));
}

fn never_stays(cache: Cache) {
    let origin: Arc<[AtomicU64]> = (0..4).map(|_| AtomicU64::new(0)).collect();
    for round in 0..300 {
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let (cache, origin) = (&cache, &origin);
                scope.spawn(move || {
                    for step in 0..20 {
                        let key = (thread + step) % 4;
                        let rows = origin.clone();
                        match (thread + step + round) % 3 {
                            0 => {
                                origin[key as usize].fetch_add(1, SeqCst);
                                cache.changed(&key);
                            }
                            _ => drop(cache.get_with(&key, move || ok(rows[key as usize].load(SeqCst))).unwrap()),
                        }
                    }
                });
            }
        });
        for key in 0..4 {
            let now = origin[key as usize].load(SeqCst);
            assert!(cache.get(&key).is_none_or(|value| value == now), "round {round}: what was overtaken stayed");
        }
    }
    assert!(cache.stats().counts.hits > 0);
}

/// The same while what the load brought is on its way into moka, which weighs it.
#[test]
fn whoever_asks_after_a_change_does_not_join_a_load_on_its_way_in() {
    let (weighs, go) = (Barrier::new(2), Barrier::new(2));
    let (weighs, go) = (Arc::new(weighs), Arc::new(go));
    let (weighing, gone) = (weighs.clone(), go.clone());
    let weigher = move |_: &u64, held: &Held<u64>| {
        if **held == 1 {
            weighing.wait();
            gone.wait();
        }
        1
    };
    let plugin = Plugin::builder().build().unwrap();
    let moka = moka::sync::Cache::builder()
        .max_capacity(100)
        .weigher(weigher)
        .expire_after(plugin.expiry())
        .build_with_hasher(Fixed::default());
    let cache = Cache::attach(moka, plugin);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| cache.get_with(&1, || ok(1)).unwrap());
        weighs.wait();
        cache.changed(&1);
        let after = scope.spawn(|| cache.get_with(&1, || ok(2)).unwrap());
        // Time enough for him to find the load under way; whoever is late has nothing to join.
        std::thread::sleep(Duration::from_millis(50));
        go.wait();
        assert_eq!((first.join().unwrap(), after.join().unwrap()), (1, 2));
    });
    assert_eq!(cache.get(&1), Some(2));
}

/// A change comes while a write is on its way into a moka that was built without its expiry: when its value is weighed.
#[test]
fn a_write_that_a_change_overtook_never_stays() {
    let cache = Arc::new(OnceLock::<Cache>::new());
    let own = cache.clone();
    let weigher = move |key: &u64, _: &Held<u64>| {
        own.get().unwrap().changed(key);
        1
    };
    let moka = moka::sync::Cache::builder().max_capacity(100).weigher(weigher).build_with_hasher(Fixed::default());
    let cache = cache.get_or_init(|| Cache::attach(moka, Plugin::builder().build().unwrap()));
    cache.insert(1, 1);
    assert_eq!(cache.get(&1), None);
}

/// A full cache whose residents are asked for often.
fn hot(policy: EvictionPolicy) -> Cache {
    let cache = attach(Plugin::builder(), 1000, policy);
    for round in 0..6 {
        for key in 0..1000 {
            cache.get_with(&key, move || ok(round)).unwrap();
        }
        cache.moka().run_pending_tasks();
    }
    assert_eq!(cache.moka().entry_count(), 1000);
    cache
}

#[test]
fn what_is_prewarmed_is_kept() {
    let newcomers = || (5000..5200).map(|key| (key, key));
    let plain = hot(EvictionPolicy::tiny_lfu());
    for (key, value) in newcomers() {
        plain.insert(key, value);
    }
    plain.moka().run_pending_tasks();
    let kept = newcomers().filter(|(key, _)| plain.moka().contains_key(key)).count();
    // A stranger may share the counts of a known key.
    assert!(kept <= 5, "moka refuses strangers, and kept {kept}");
    for policy in policies() {
        let cache = hot(policy);
        assert_eq!(cache.prewarm(newcomers()), Prewarmed { offered: 200, kept: 200 });
        assert!(newcomers().all(|(key, value)| cache.get(&key) == Some(value)));
        assert_eq!(cache.prewarm([]), Prewarmed::default());
    }
}

#[test]
fn what_was_written_while_keys_are_warmed_is_not_undone() {
    let cache = attach(Plugin::builder().seed(1), 1000, EvictionPolicy::lru());
    let offered = (0..100_u64).map(|key| {
        // Whoever offers them has read the keys before, and the service writes the one before.
        if let Some(before) = key.checked_sub(1) {
            cache.changed(&before);
        }
        (key, key)
    });
    let warmed = cache.prewarm(offered);
    assert!(warmed.offered == 100 && warmed.kept >= 1, "{warmed:?}");
    assert!((0..99).all(|key| cache.get(&key).is_none()));
}

#[test]
fn what_does_not_fit_is_reported_as_not_kept() {
    let cache = hot(EvictionPolicy::lru());
    let warmed = cache.prewarm((5000..8000).map(|key| (key, key)));
    assert_eq!(warmed.offered, 3000);
    assert!(warmed.kept <= 1000 && warmed.kept > 900, "{warmed:?}");
}

/// A key whose hash says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Same(u64);

impl Hash for Same {
    fn hash<H: Hasher>(&self, state: &mut H) {
        0u64.hash(state);
    }
}

impl Key for Same {
    fn text(&self) -> std::borrow::Cow<'_, str> {
        self.0.to_string().into()
    }
}

#[test]
fn keys_of_one_hash_do_not_share_a_value() {
    let clock = Clock::manual(Time(1));
    let freshness = Freshness::stale_reads(0.01).unwrap();
    let plugin = Plugin::builder().freshness(freshness).digest(|value| *value).admission("learned");
    let cache = attach(plugin.clock(clock.clone()), 100, EvictionPolicy::lru());
    for _ in 0..100 {
        for key in 0..20 {
            assert_eq!(cache.get_with(&Same(key), move || ok(key)).unwrap(), key);
            clock.advance(Duration::from_millis(10));
        }
        cache.changed(&Same(7));
        assert_eq!(cache.get(&Same(7)), None);
    }
}

/// Half of the requests go to a working set somewhat larger than the cache, half to keys that never come again. The hit ratio.
fn one_hit_wonders(admission: bool, policy: EvictionPolicy) -> (f64, u64) {
    let clock = Clock::manual(Time(1));
    let plugin = Plugin::builder().clock(clock.clone()).seed(1);
    let plugin = if admission { plugin.admission("learned") } else { plugin };
    let cache = attach(plugin, 400, policy);
    let mut random = fastrand::Rng::with_seed(7);
    for at in 0..100_000 {
        let key = if random.bool() { random.u64(..500) } else { 1000 + at };
        cache.get_with(&key, move || ok(key)).unwrap();
        clock.advance(Duration::from_micros(10));
    }
    let stats = cache.stats();
    assert_eq!(stats.unheard, 0, "one thread that misses loses nothing");
    (stats.counts.hit_ratio(), stats.counts.refused)
}

#[test]
fn admission_keeps_out_one_hit_wonders() {
    let (alone, refused) = one_hit_wonders(false, EvictionPolicy::lru());
    assert_eq!(refused, 0);
    let (learned, refused) = one_hit_wonders(true, EvictionPolicy::lru());
    assert!(refused > 20_000, "{refused} refused");
    assert!(learned > alone + 0.03, "hit ratio {alone} without and {learned} with admission");
    let (alone, _) = one_hit_wonders(false, EvictionPolicy::tiny_lfu());
    let (learned, _) = one_hit_wonders(true, EvictionPolicy::tiny_lfu());
    assert!(learned > alone - 0.01, "TinyLFU: {alone} without and {learned} with admission");
}

#[test]
fn only_what_moka_can_do_is_claimed() {
    let can = attach(Plugin::<u64, u64>::builder(), 10, EvictionPolicy::lru()).capabilities();
    assert!(can.ttl && can.refresh && can.prewarm);
    assert!(!can.admission && !can.eviction && !can.negative);
    let builder = || Plugin::<u64, u64>::builder().admission("learned");
    assert!(attach(builder(), 10, EvictionPolicy::lru()).capabilities().admission);
    // Without a bound there is nothing to decide.
    let plugin = builder().build().unwrap();
    let unbounded = moka::sync::Cache::builder().expire_after(plugin.expiry()).build();
    assert!(!sync::Cache::attach(unbounded, plugin).capabilities().admission);
}

/// Has moka wait where a value is in its table already, and its end is not.
struct Slow {
    expiry: Expiry,
    stored: Arc<Barrier>,
}

impl moka::Expiry<u64, Held<u64>> for Slow {
    fn expire_after_create(&self, key: &u64, held: &Held<u64>, now: Instant) -> Option<Duration> {
        if **held == 1 {
            self.stored.wait();
            self.stored.wait();
        }
        self.expiry.expire_after_create(key, held, now)
    }
}

#[test]
fn what_a_change_overtook_is_not_read_on_its_way_in() {
    let (weighed, stored) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let own = weighed.clone();
    // What may be kept is weighed.
    let plugin = Plugin::<u64, u64>::builder().weigh(move |_, value| {
        if *value == 1 {
            own.wait();
            own.wait();
        }
        1
    });
    let plugin = plugin.build().unwrap();
    let expiry = Slow { expiry: plugin.expiry(), stored: stored.clone() };
    let moka = moka::sync::Cache::builder().max_capacity(10).expire_after(expiry).build();
    let cache = sync::Cache::attach(moka, plugin);
    std::thread::scope(|scope| {
        let before = scope.spawn(|| cache.get_with(&7, || ok(1)).unwrap());
        weighed.wait();
        cache.changed(&7);
        weighed.wait();
        stored.wait();
        let seen = cache.get(&7);
        let after = scope.spawn(|| cache.get_with(&7, || ok(2)).unwrap());
        std::thread::sleep(Duration::from_millis(50));
        stored.wait();
        assert_eq!((seen, before.join().unwrap(), after.join().unwrap()), (None, 1, 2));
    });
}

/// After how many more clones of a value what happens.
type Due = (u32, Box<dyn FnOnce()>);

thread_local! {
    static AT_CLONE: RefCell<Option<Due>> = const { RefCell::new(None) };
}

/// A value in whose clones, of which moka makes one whenever it hands it out, something may happen.
struct Told(u64);

impl Clone for Told {
    fn clone(&self) -> Self {
        let due = AT_CLONE.with_borrow_mut(|at| match at {
            Some((0, _)) => at.take(),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        });
        due.into_iter().for_each(|(_, happens)| happens());
        Self(self.0)
    }
}

#[test]
fn what_a_change_overtook_is_not_put_back_where_a_load_fails() {
    for clones in 0..12 {
        let clock = Clock::manual(Time(1));
        let plugin = Plugin::<u64, Told>::builder().clock(clock.clone()).build().unwrap();
        let moka = moka::sync::Cache::builder().max_capacity(10).expire_after(plugin.expiry()).build();
        let cache = sync::Cache::attach(moka, plugin);
        cache.get_with(&7, || Ok::<_, Infallible>(Told(1))).unwrap();
        clock.advance(Duration::from_secs(600));
        let own = cache.clone();
        AT_CLONE.set(Some((clones, Box::new(move || own.changed(&7)))));
        // Whether it is served the old value yet is a matter of when it asked.
        let _ = cache.get_with(&7, || Err::<Told, _>("the origin is down"));
        if AT_CLONE.take().is_none() {
            assert!(cache.get(&7).is_none(), "after {clones} clones");
        }
    }
}
